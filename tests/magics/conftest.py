"""A real IPython shell on a real local ACI: one home and one server for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from shells import Cell, Run, close_sessions, end_server, settle

from aci_notebook import localserver, session

NAMES = [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "AZURE_"))]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    for name in NAMES:
        patch.delenv(name)
    patch.setenv("ACI_NOTEBOOK_HOME", str(folder))
    yield folder
    settle()
    close_sessions()
    end_server(folder)
    patch.undo()


@pytest.fixture(scope="module")
def the_shell(home: Path) -> Iterator[InteractiveShell]:
    shell = InteractiveShell.instance()
    shell.colors = "nocolor"
    shell.run_line_magic("load_ext", "aci_notebook")
    yield shell
    shell.run_line_magic("unload_ext", "aci_notebook")
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(the_shell: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """The shell without variables and in an empty folder; after the test no run, and no setting of it, is left."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACI_NOTEBOOK_UI", "text")
    before = set(the_shell.user_ns)
    yield the_shell
    settle()
    for name in set(the_shell.user_ns) - before:
        del the_shell.user_ns[name]
    magics = the_shell.magics_manager.registry["AciMagics"]
    for name in magics.trait_names(config=True):
        setattr(magics, name, None)


@pytest.fixture
def run(shell: InteractiveShell) -> Run:
    """Runs a cell."""
    return lambda text: Cell(shell, text)


@pytest.fixture
def server(shell: InteractiveShell) -> localserver.LocalServer:
    """The local ACI's control surface."""
    return session.connect("local").local_server()


@pytest.fixture
def resource(server: localserver.LocalServer) -> Callable[[str], dict[str, Any]]:
    """The resource of a group as a GET shows it."""

    def get(name: str) -> dict[str, Any]:
        place = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers/Microsoft.ContainerInstance"
        found: dict[str, Any] = server.ask(f"{place}/containerGroups/{name}?api-version=2023-05-01")
        return found

    return get


@pytest.fixture
def creates(server: localserver.LocalServer) -> Callable[[], int]:
    """How many creates the local ACI has seen."""
    return lambda: int(server.ask("/_aci/stats")["requests"].get("create", 0))
