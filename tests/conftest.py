"""What holds for every test: settings of the person who runs them stay out, and the local ACI runs processes, not an engine by chance."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

for name in [name for name in os.environ if name.startswith("ACI_NOTEBOOK_") and name != "ACI_NOTEBOOK_HOME"]:
    del os.environ[name]
os.environ["ACI_NOTEBOOK_LOCAL_RUNTIME"] = "process"

CHROMIUM = Path("/usr/bin/chromium")
QUIET = ("gpu", "quic", "background-networking", "component-update", "sync")


@pytest.fixture(scope="session")
def new_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """Makes data folders; the local ACI that a test started in one ends with the session."""
    made: list[Path] = []

    def make() -> Path:
        made.append(tmp_path_factory.mktemp("home"))
        return made[-1]

    yield make
    for told in (folder / "local" / "server.json" for folder in made):
        if told.exists():
            os.kill(json.loads(told.read_text("utf-8"))["pid"], signal.SIGTERM)


@pytest.fixture(scope="session")
def one_browser() -> Iterator[Any]:
    """Chromium for all browser tests of the session: Playwright drives one at a time in one process."""
    play = pytest.importorskip("playwright.sync_api", reason="package playwright is missing")
    if not CHROMIUM.exists():
        pytest.skip("Chromium is missing: apt-get install chromium fonts-dejavu-core")
    with play.sync_playwright() as running:
        arguments = ["--no-sandbox", "--no-first-run", *(f"--disable-{word}" for word in QUIET)]
        started = running.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield started
        started.close()
