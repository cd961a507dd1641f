"""A shell, a home and a local ACI of our own; the form without a browser: its traits are set as the browser would set them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from waiting import Until

from aci_notebook.launcher.form import Launcher
from aci_notebook.magics import AciMagics


@pytest.fixture(scope="session")
def home(new_home: Callable[[], Path]) -> Path:
    return new_home()


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> InteractiveShell:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        return InteractiveShell()


@pytest.fixture
def magics(shell: InteractiveShell, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[AciMagics]:
    monkeypatch.setenv("ACI_NOTEBOOK_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    before = dict(shell.user_ns)
    yield AciMagics(shell)
    shell.user_ns.clear()
    shell.user_ns.update(before)


@pytest.fixture
def form(magics: AciMagics, caplog: pytest.LogCaptureFixture) -> Iterator[Launcher]:
    made = Launcher(magics)
    yield made
    assert not caplog.records, "an exception vanished into a log"
    made.close()
    if made.run is not None:
        made.run.cancel("the test is over")
        made.run.wait_gone(20)


@pytest.fixture
def until() -> Until:
    def wait(true: Callable[[], Any], within_s: float = 20.0) -> Any:
        deadline = time.monotonic() + within_s
        while not (found := true()):
            assert time.monotonic() < deadline, f"not within {within_s} s"
            time.sleep(0.02)
        return found

    return wait
