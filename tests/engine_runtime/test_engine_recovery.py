"""What an engine's containers do when servers, guardians or engines go, and what the next server says of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local.conftest import Server, body, processes_of

from .conftest import FOREVER, box, current, ended
from .podman import Podman

pytestmark = pytest.mark.engine
TICKING = "trap 'exit 0' TERM; n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.1; done"


def _until(reached: Callable[[], Any], limit_s: float = 30) -> Any:
    deadline = time.monotonic() + limit_s
    while not (found := reached()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_what_runs_is_still_run_after_a_hard_kill(serve: Callable[..., Server], podman: Podman) -> None:
    first = serve()
    first.put("runs", body(box(script=TICKING), box("other", FOREVER)))
    first.until("runs", lambda _: _running(first, "runs") and "tick 3\n" in first.logs("runs"))
    view = first.get("runs")["properties"]["containers"][0]["properties"]["instanceView"]
    first.kill()
    seen = len(podman.containers(first.state_dir))
    assert seen == 3
    second = serve()
    again = second.get("runs")["properties"]["containers"][0]["properties"]["instanceView"]
    assert again == view
    ticks = int(second.logs("runs").split()[-1])
    second.until("runs", lambda _: int(second.logs("runs").split()[-1]) > ticks)
    lines = second.logs("runs").splitlines()
    assert lines == [f"tick {n}" for n in range(1, len(lines) + 1)]  # nothing lost while no server was there
    assert second.call("DELETE", second.group("runs")).status == 200
    assert podman.containers(first.state_dir) == []


def _running(server: Server, name: str) -> bool:
    return server.get(name)["properties"]["instanceView"]["state"] == "Running"


def test_what_ended_meanwhile_is_told_as_it_was(serve: Callable[..., Server], podman: Podman) -> None:
    first = serve()
    first.put("ends", body(box(script="echo begins; sleep 1; echo ends; exit 5")))
    first.until("ends", lambda _: _running(first, "ends"))
    first.kill()
    _until(lambda: podman.containers(first.state_dir) == [])
    second = serve()
    assert current(ended(second, "ends"))["exitCode"] == 5
    assert second.logs("ends") == "begins\nends\n"


def test_containers_end_by_themselves_when_no_server_comes_back(serve: Callable[..., Server], podman: Podman, tmp_path: Path) -> None:
    server = serve("--idle-timeout", "6")
    server.put("lonely", body(box(script=FOREVER), box("other", FOREVER)))
    server.until("lonely", lambda _: _running(server, "lonely"))
    server.kill()
    assert len(podman.containers(server.state_dir)) == 3
    _until(lambda: podman.containers(server.state_dir) == [], 40)
    _until(lambda: processes_of(tmp_path) == [])


def test_a_server_that_is_ended_ends_its_containers(serve: Callable[..., Server], podman: Podman) -> None:
    first = serve()
    first.put("told", body(box(script="trap 'echo bye; exit 4' TERM; echo up; while :; do sleep 0.05; done"), box("other", "true")))
    first.until("told", lambda _: _running(first, "told") and first.logs("told") == "up\n")
    assert first.end() == 0
    assert podman.containers(first.state_dir) == []
    second = serve()
    assert current(ended(second, "told"))["exitCode"] == 4
    assert second.logs("told") == "up\nbye\n"


def test_a_container_dies_with_its_guardian(serve: Callable[..., Server], podman: Podman) -> None:
    server = serve()
    server.put("guarded", body(box(script=FOREVER)))
    server.until("guarded", lambda _: _running(server, "guarded"))
    (folder,) = server.state_dir.glob("groups/*/attempts/*")
    for process in Path("/proc").glob("[0-9]*"):
        words = _command_line(process)
        if "supervise.py" in words and str(folder) in words:
            os.kill(int(process.name), signal.SIGKILL)
    assert current(ended(server, "guarded"))["exitCode"] == 137
    assert podman.containers(server.state_dir) == []


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().decode().replace("\0", " ")
    except OSError:
        return ""


def test_an_engine_that_restarts_takes_no_container_with_it(serve: Callable[..., Server], podman: Podman) -> None:
    server = serve()
    server.put("stays", body(box(script=TICKING + " & sleep 3; kill $!; exit 6")))
    server.until("stays", lambda _: _running(server, "stays") and "tick 3\n" in server.logs("stays"))
    podman.restart()
    assert current(ended(server, "stays"))["exitCode"] == 6
    assert podman.containers(server.state_dir) == []


def test_what_a_killed_server_left_half_made_is_swept(serve: Callable[..., Server], podman: Podman) -> None:
    server = serve()
    server.kill()
    labels = ("--label", f"aci-notebook.state={server.state_dir}", "--label", "aci-notebook.group=gone")
    podman.run("run", "--detach", *labels, "localhost/busybox", "sleep", "600")
    assert len(podman.containers(server.state_dir)) == 1
    serve()
    assert podman.containers(server.state_dir) == []


def test_without_an_engine_the_server_says_where_it_looked(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aci_notebook.local", "--runtime", "engine", "--state-dir", str(tmp_path)]
    address = f"unix://{tmp_path}/none.sock"
    done = subprocess.run(command, env={**os.environ, "DOCKER_HOST": address}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 4
    assert "no container engine answers" in done.stderr
    assert address in done.stderr


def test_auto_takes_the_engine_where_one_answers(podman: Podman, tmp_path: Path) -> None:
    from local.conftest import start

    server = start(tmp_path, environment=podman.environment)
    assert "engine" in (tmp_path / "server.json").read_text()
    assert server.end() == 0


def test_an_engine_behind_tcp_publishes_ports_on_this_machine(podman: Podman, tmp_path: Path) -> None:
    """As with an engine in a virtual machine, whose containers have addresses that mean nothing here."""
    from local.conftest import start

    port = _free_port()
    address = f"tcp://127.0.0.1:{port + 1000}"
    with podman.serving(address):
        server = start(tmp_path, "--runtime", "engine", environment={"DOCKER_HOST": address})
        try:
            ports = [{"port": port}]
            web = box(script=f"echo over tcp > /tmp/x; trap 'exit 0' TERM; httpd -f -p {port} -h /tmp & wait", ports=ports)
            assert server.put("tcp", body(web, ipAddress={"type": "Public", "ports": ports})).status == 201
            group = server.until_state("tcp", "Running")
            assert group["properties"]["ipAddress"]["ip"] == "127.0.0.1"
            assert _until(lambda: _fetched(f"http://127.0.0.1:{port}/x")) == b"over tcp\n"
            assert server.call("DELETE", server.group("tcp")).status == 200
        finally:
            assert server.end() == 0
    assert podman.containers(tmp_path) == []


def _free_port() -> int:
    """A free one that ACI allows: it reserves those that systems give out (aci-facts §8)."""
    for port in range(38080, 38999):
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def _fetched(url: str) -> bytes:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
            return bytes(answer.read())
    except OSError:
        return b""
