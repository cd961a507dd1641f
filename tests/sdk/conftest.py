"""The real SDK over the socket to a real local ACI, process runtime; one home and one server for all these tests."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aci_notebook.localserver import LocalServer
from aci_notebook.session import Session, connect, house

DEAD_PROXY = "http://127.0.0.1:9"


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):  # it may go between the two questions
        return True


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    before = {name: os.environ.get(name) for name in ("ACI_NOTEBOOK_HOME", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY")}
    os.environ["ACI_NOTEBOOK_HOME"] = str(folder)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"):
        os.environ[name] = DEAD_PROXY
    yield folder
    house().store.close()
    house().presence.release()
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[LocalServer]:
    found = connect("local").local_server()
    yield found
    os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while not _gone(found.pid) and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.fixture
def session(server: LocalServer) -> Iterator[Session]:
    """A session; after each test no fault is left and no group."""
    found = connect("local")
    yield found
    server.ask("/_aci/faults", method="DELETE")
    for run in found.house.runs.all():
        run.cancel("the test is over")
        assert run.wait_gone(20)
    stats = server.ask("/_aci/stats")
    assert stats["created"] == stats["deleted"]
