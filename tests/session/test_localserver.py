"""The local ACI as a neighbour: started once, found again, replaced when old, and alive whatever the kernel does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager

from aci_notebook import localserver
from aci_notebook.errors import ServiceError


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    found = localserver.running(tmp_path)
    if found is not None:
        localserver.stop(found, tmp_path / "local")


def test_one_server_for_all_who_ask(home: Path) -> None:
    ask = "import sys, pathlib; from aci_notebook import localserver; print(localserver.ensure(pathlib.Path(sys.argv[1])).pid)"
    askers = [subprocess.Popen([sys.executable, "-c", ask, str(home)], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    pids = {asker.communicate(timeout=60)[0].strip() for asker in askers}
    assert len(pids) == 1
    assert str(localserver.ensure(home).pid) in pids


def test_an_idle_server_of_another_version_is_replaced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = localserver.ensure(home)
    monkeypatch.setattr(localserver, "digest", lambda: "another")
    assert localserver.ensure(home).pid != first.pid


def test_the_token_is_for_its_owner_alone(home: Path) -> None:
    server = localserver.ensure(home)
    assert server.token not in repr(server)
    for name in ("token", "server.json", "server.log"):
        assert (home / "local" / name).stat().st_mode & 0o077 == 0, name


def test_a_server_that_cannot_start_says_why(home: Path) -> None:
    with pytest.raises(ServiceError, match="did not start") as caught:
        localserver.ensure(home, runtime="none-such")
    assert "none-such" in str(caught.value)
    assert "server.log" in caught.value.hint


def test_it_ends_itself_when_idle(home: Path) -> None:
    server = localserver.ensure(home, idle_s=0.3)
    deadline = time.monotonic() + 20
    while alive(server.pid):  # asking it would be activity
        assert time.monotonic() < deadline, f"server {server.pid} is still there"
        time.sleep(0.05)
    assert localserver.running(home) is None


def test_it_survives_interrupt_restart_and_shutdown_of_the_kernel(home: Path) -> None:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env={**os.environ, "ACI_NOTEBOOK_HOME": str(home)})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        reply = client.execute_interactive(
            "%load_ext aci_notebook\n%aci run -q --image alpine -- echo up", timeout=60, output_hook=lambda _: None
        )
        assert reply["content"]["status"] == "ok"
        pid = json.loads((home / "local" / "server.json").read_text())["pid"]
        manager.interrupt_kernel()
        assert alive(pid)
        manager.restart_kernel(now=False)
        client.wait_for_ready(timeout=60)
        assert alive(pid)
        os.kill(manager.provisioner.process.pid, signal.SIGKILL)
        assert alive(pid)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert alive(pid)
    found = localserver.running(home)
    assert found is not None
    assert found.pid == pid


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
