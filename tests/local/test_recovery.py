"""Killed hard and started again, alone in its folder, and ending by itself (issue 3.10; design §7)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aci_notebook.local.__main__ import default_state_dir, parse
from aci_notebook.local.pace import RECORDED, AtOnce
from aci_notebook.local.server import digest

from .conftest import Server, body, container, processes_of, shell


def view(server: Server, name: str) -> Any:
    return server.get(name)["properties"]["containers"][0]["properties"]["instanceView"]


def test_what_runs_still_runs_and_what_died_is_terminated(serve: Any, name: str) -> None:
    first: Server = serve("--runtime", "process")
    go = first.state_dir / "go"
    first.put(f"{name}-runs", shell(f"echo before; while [ ! -e {go} ]; do sleep 0.02; done; echo after; exit 4"))
    first.put(f"{name}-ends", shell(f"while [ ! -e {go}-early ]; do sleep 0.02; done; echo bye; exit 5"))
    first.put(f"{name}-dies", shell("echo $$; sleep 300"))
    for suffix in ("runs", "ends", "dies"):
        first.until_state(f"{name}-{suffix}", "Running")
    first.until(f"{name}-dies", lambda _: first.logs(f"{name}-dies").endswith("\n"))
    started = view(first, f"{name}-runs")["currentState"]["startTime"]
    doomed = int(first.logs(f"{name}-dies"))
    first.kill()
    (first.state_dir / "go-early").touch()
    os.kill(int(Path(f"/proc/{doomed}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
    while Path(f"/proc/{doomed}").exists() and "Z" not in Path(f"/proc/{doomed}/stat").read_text().split()[2]:
        time.sleep(0.01)

    second: Server = serve("--runtime", "process")
    assert second.token == first.token
    running = view(second, f"{name}-runs")
    assert running["currentState"] == {"state": "Running", "startTime": started, "detailStatus": ""}
    assert running["restartCount"] == 0
    assert second.logs(f"{name}-runs") == "before\n"
    second.until_state(f"{name}-ends", "Failed")
    assert view(second, f"{name}-ends")["currentState"]["exitCode"] == 5
    assert second.logs(f"{name}-ends") == "bye\n"
    second.until_state(f"{name}-dies", "Failed")
    assert view(second, f"{name}-dies")["currentState"]["exitCode"] == 137
    go.touch()
    second.until_state(f"{name}-runs", "Failed")
    assert view(second, f"{name}-runs")["currentState"]["exitCode"] == 4
    assert second.logs(f"{name}-runs") == "before\nafter\n"
    for suffix in ("runs", "ends", "dies"):
        assert second.call("DELETE", second.group(f"{name}-{suffix}")).status == 200


def test_stopped_tagged_and_ended_groups_are_as_they_were(serve: Any, name: str) -> None:
    first: Server = serve("--runtime", "process")
    first.put(f"{name}-stopped", shell("sleep 300"))
    first.until_state(f"{name}-stopped", "Running")
    first.call("POST", f"{first.group(f'{name}-stopped')}/stop")
    first.put(f"{name}-ended", shell("echo x"))
    first.until_state(f"{name}-ended", "Succeeded")
    first.call("PATCH", first.group(f"{name}-ended"), {"tags": {"a": "b"}})
    before = [first.get(f"{name}-{suffix}") for suffix in ("stopped", "ended")]
    first.kill()
    second: Server = serve("--runtime", "process")
    assert [second.get(f"{name}-{suffix}") for suffix in ("stopped", "ended")] == before
    assert second.logs(f"{name}-ended") == "x\n"
    assert second.call("POST", f"{second.group(f'{name}-stopped')}/start").status == 204
    second.until_state(f"{name}-stopped", "Running")


def test_restart_policies_go_on_after_a_kill(serve: Any, name: str) -> None:
    first: Server = serve("--runtime", "process")
    stop = first.state_dir / "stop"
    first.put(name, shell(f"while [ ! -e {stop} ]; do sleep 0.02; done; rm {stop}; exit 1", policy="OnFailure"))
    first.until_state(name, "Running")
    first.kill()
    stop.touch()
    second: Server = serve("--runtime", "process")
    second.until(name, lambda _: view(second, name)["restartCount"] == 1 and view(second, name)["currentState"])
    assert view(second, name)["previousState"]["exitCode"] == 1


def test_a_deployment_in_progress_is_taken_up(serve: Any, name: str) -> None:
    first: Server = serve("--runtime", "process")
    first.control("POST", "time", {"mode": "reads", "n": 1000})
    first.put(name, shell("echo done"))
    first.kill()
    second: Server = serve("--runtime", "process")
    second.until_state(name, "Succeeded")
    assert second.logs(name) == "done\n"


def test_containers_end_by_themselves_when_no_server_comes_back(serve: Any, name: str, tmp_path: Path) -> None:
    server: Server = serve("--runtime", "process", "--idle-timeout", "1")
    server.put(name, shell("echo /x; sleep 300"))
    server.until_state(name, "Running")
    assert processes_of(tmp_path)
    server.kill()
    deadline = time.monotonic() + 20
    while processes_of(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_clean_end_takes_the_containers_with_it(serve: Any, name: str, tmp_path: Path) -> None:
    server: Server = serve("--runtime", "process")
    server.put(name, shell("echo up; sleep 300", policy="Always"))
    server.until_state(name, "Running")
    assert server.end() == 0
    assert processes_of(tmp_path) == []
    assert not (server.state_dir / "server.json").exists()


def test_two_servers_on_one_folder_refuse_each_other(serve: Any) -> None:
    first: Server = serve("--runtime", "simulated")
    second = subprocess.run(
        [sys.executable, "-m", "aci_notebook.local", "--state-dir", str(first.state_dir)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert second.returncode == 3
    assert second.stdout == ""
    assert len(second.stderr.splitlines()) == 1
    assert first.url in second.stderr
    assert first.raw("GET", "/_aci/health").status == 200


def test_the_announcement(serve: Any) -> None:
    server: Server = serve("--runtime", "simulated")
    announced = json.loads((server.state_dir / "server.json").read_text())
    health = server.raw("GET", "/_aci/health", headers={}).json
    assert set(announced) == {"url", "pid", "version", "digest", "runtime", "started_at"}
    assert announced["url"] == server.url
    assert (announced["pid"], announced["digest"], announced["runtime"]) == (server.process.pid, digest(), "simulated")
    assert health["digest"] == announced["digest"]
    assert health["state_dir"] == str(server.state_dir)
    assert server.end() == 0


def test_an_idle_server_ends_by_itself_but_not_while_a_group_lives(serve: Any, name: str) -> None:
    server: Server = serve("--runtime", "process", "--idle-timeout", "0.5")
    flag = server.state_dir / "flag"
    server.put(name, body(container(command=["sh", "-c", f"while [ ! -e {flag} ]; do sleep 0.02; done"])))
    server.until_state(name, "Running")
    time.sleep(1.2)
    assert server.process.poll() is None
    assert server.raw("GET", "/_aci/health").json["groups_alive"] == 1
    flag.touch()
    assert server.process.wait(15) == 0


def test_a_group_deleted_while_it_restarts_is_gone(serve: Any, name: str) -> None:
    server: Server = serve("--runtime", "process")
    server.put(name, shell("trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.02; done"))
    server.until_state(name, "Running")
    assert server.call("POST", f"{server.group(name)}/restart").status == 204
    assert server.call("DELETE", server.group(name)).status == 200
    assert server.call("GET", server.group(name)).status == 404
    time.sleep(0.5)
    assert list((server.state_dir / "groups").iterdir()) == []


def test_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACI_NOTEBOOK_HOME", str(tmp_path))
    settings = parse([])
    assert settings.state_dir == tmp_path / "local"
    assert (settings.port, settings.runtime, settings.any_token, settings.idle_timeout_s) == (0, "auto", False, 900)
    assert settings.lag == AtOnce()
    assert parse(["--lag", "recorded", "--idle-timeout", "0"]).lag == RECORDED
    monkeypatch.delenv("ACI_NOTEBOOK_HOME")
    assert default_state_dir().name == "local"
    with pytest.raises(SystemExit):
        parse(["--runtime", "magic"])


def test_help() -> None:
    shown = subprocess.run([sys.executable, "-m", "aci_notebook.local", "--help"], capture_output=True, text=True)
    assert shown.returncode == 0
    for word in ("--state-dir", "--any-token", "--idle-timeout", "--runtime", "exits with code 3"):
        assert word in shown.stdout
