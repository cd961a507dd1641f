"""SIGKILL at nasty moments: whatever was answered is true for the next server, and no process is forgotten."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from aci_notebook.local.runtimes.attempt import Attempt, Launch, Watch

from .conftest import Server, processes_of, shell

FOR_EVER = "echo $$ $MARK; sleep 300"


def state_of(server: Server, name: str) -> Any:
    return server.get(name)["properties"]["containers"][0]["properties"].get("instanceView", {}).get("currentState", {})


def operation_of(server: Server, answer: Any) -> Any:
    """The operation of an answer, asked of `server` (the address may have changed since)."""
    path = answer.headers["azure-asyncoperation"].partition("/subscriptions/")[2]
    found = server.raw("GET", f"/subscriptions/{path}")
    assert found.status == 200, found.text
    return found.json


def until_operation(server: Server, name: str, answer: Any) -> Any:
    server.until(name, lambda _: operation_of(server, answer)["status"] != "Pending")
    return operation_of(server, answer)


@pytest.mark.parametrize("verb", ["restart", "start"])
def test_killed_right_after_a_restart_or_start_was_answered(serve: Any, name: str, tmp_path: Path, verb: str) -> None:
    first: Server = serve("--runtime", "process")
    first.put(name, shell(FOR_EVER))
    first.until_state(name, "Running")
    before = state_of(first, name)["startTime"]
    if verb == "start":
        assert first.call("POST", f"{first.group(name)}/stop").status == 204
    first.control("POST", "time", {"mode": "reads", "n": 1000})
    answer = first.call("POST", f"{first.group(name)}/{verb}")
    assert answer.status == 204
    first.kill()
    second: Server = serve("--runtime", "process")
    assert until_operation(second, name, answer)["status"] == "Succeeded"
    assert state_of(second, name)["state"] == "Running"
    assert state_of(second, name)["startTime"] > before
    assert len([line for line in processes_of(tmp_path) if "supervise" in line]) == 1


def test_killed_while_a_restarted_group_pulls(serve: Any, name: str) -> None:
    """The old state is still shown then, although nothing runs any more."""
    first: Server = serve("--runtime", "process")
    first.put(name, shell(FOR_EVER))
    first.until_state(name, "Running")
    first.control("POST", "time", {"mode": "reads", "n": 1000})
    answer = first.call("POST", f"{first.group(name)}/restart")
    first.until(
        name, lambda _: [e for e in operation_of(first, answer)["properties"]["events"] if e["name"] == "Pulling" and e["count"] == 2]
    )
    first.kill()
    second: Server = serve("--runtime", "process")
    assert until_operation(second, name, answer)["status"] == "Succeeded"


def test_killed_right_after_an_update_was_answered(serve: Any, name: str, tmp_path: Path) -> None:
    first: Server = serve("--runtime", "process")
    first.put(name, shell(FOR_EVER, environmentVariables=[{"name": "MARK", "value": "old"}]))
    first.until_state(name, "Running")
    first.control("POST", "time", {"mode": "reads", "n": 1000})
    answer = first.put(name, shell(FOR_EVER, environmentVariables=[{"name": "MARK", "value": "new"}]))
    assert answer.status == 200
    first.kill()
    second: Server = serve("--runtime", "process")
    assert until_operation(second, name, answer)["status"] == "Succeeded"
    second.until(name, lambda _: second.logs(name).endswith("new\n"))
    assert len([line for line in processes_of(tmp_path) if "supervise" in line]) == 1


def test_killed_in_the_middle_of_a_delete(serve: Any, name: str, tmp_path: Path) -> None:
    first: Server = serve("--runtime", "process")
    first.put(name, shell(FOR_EVER))
    first.until_state(name, "Running")
    first.control("POST", "time", {"mode": "seconds", "delete_s": 60})

    def delete() -> None:
        with pytest.raises((OSError, http.client.HTTPException)):
            first.call("DELETE", first.group(name))

    caller = threading.Thread(target=delete)
    caller.start()
    record = next(first.state_dir.glob("groups/*/group.json"))
    first.until(name, lambda _: json.loads(record.read_text())["deleting"])
    first.kill()
    caller.join(10)
    second: Server = serve("--runtime", "process")
    assert second.call("GET", second.group(name)).status == 404
    assert [line for line in processes_of(tmp_path) if "supervise" in line] == []
    assert second.control("GET", "stats").json["deleted"] == 1


@pytest.mark.parametrize("delay_ms", [0, 30, 70])
def test_killed_while_groups_are_made_and_their_guardians_start(serve: Any, name: str, tmp_path: Path, delay_ms: int) -> None:
    """Whatever was answered with 201 ends as it should, whatever was not is either whole or not there."""
    first: Server = serve("--runtime", "process")
    answered: list[str] = []

    def put(n: int) -> None:
        try:
            if first.put(f"{name}-{n}", shell("echo once; exit 3")).status == 201:
                answered.append(f"{name}-{n}")
        except (OSError, http.client.HTTPException):
            return  # the server died before it answered

    callers = [threading.Thread(target=put, args=(n,)) for n in range(6)]
    for caller in callers:
        caller.start()
    threading.Event().wait(delay_ms / 1000)
    first.kill()
    for caller in callers:
        caller.join(10)
    second: Server = serve("--runtime", "process")
    listed = [group["name"] for group in second.call("GET", second.group("x").rpartition("/")[0]).json["value"]]
    assert set(answered) <= set(listed)
    for group in listed:
        second.until_state(group, "Failed")
        assert state_of(second, group)["exitCode"] == 3
        assert second.logs(group) == "once\n"
    stats = second.control("GET", "stats").json
    assert stats["created"] - stats["deleted"] == len(listed)


def test_killed_before_it_could_say_that_a_process_runs(serve: Any, name: str, tmp_path: Path) -> None:
    """The next server finds the process that was being started, and starts no second one."""
    first: Server = serve("--runtime", "process")
    tally = tmp_path / "tally"
    first.put(name, shell(f"echo run >> {tally}; echo once; sleep 1; exit 3"))
    first.until(name, lambda _: tally.exists())
    first.until_state(name, "Running")
    first.kill()
    path = next(first.state_dir.glob("groups/*/group.json"))
    record = json.loads(path.read_text())
    (life,) = record["lives"].values()
    life |= {"phase": "starting", "starting": life["attempt"], "attempt": "", "current": None}
    record["operation"] |= {"outcome": "Pending"}
    path.write_text(json.dumps(record))
    second: Server = serve("--runtime", "process")
    second.until_state(name, "Failed")
    assert tally.read_text() == "run\n"
    assert second.logs(name) == "once\n"
    assert state_of(second, name)["exitCode"] == 3
    assert second.get(name)["properties"]["containers"][0]["properties"]["instanceView"]["restartCount"] == 0


@pytest.mark.parametrize("damage", ["half", "other version", "no object"])
def test_a_damaged_record_keeps_no_server_out_and_hides_no_process(serve: Any, name: str, tmp_path: Path, damage: str) -> None:
    first: Server = serve("--runtime", "process")
    first.put(name, shell(FOR_EVER))
    first.until_state(name, "Running")
    first.kill()
    record = next(first.state_dir.glob("groups/*/group.json"))
    text = record.read_text()
    record.write_text({"half": text[: len(text) // 2], "other version": text.replace('"lives"', '"souls"'), "no object": "7"}[damage])
    second: Server = serve("--runtime", "process")
    assert second.call("GET", second.group(name)).status == 404
    assert [line for line in processes_of(tmp_path) if "supervise" in line] == []
    assert list(second.state_dir.glob("groups/*")) == []


def test_a_guardian_that_gives_up_while_it_is_looked_for(tmp_path: Path) -> None:
    """It comes up late, finds itself written off and goes: nobody may wait a minute for it, or fail because of it."""
    os.mkfifo(tmp_path / "alive", 0o600)
    guardian = os.open(tmp_path / "alive", os.O_RDWR | os.O_NONBLOCK)

    async def look() -> Attempt | None:
        asyncio.get_running_loop().call_later(0.3, os.close, guardian)
        return await asyncio.wait_for(Attempt.find(tmp_path, Launch((), {}, tmp_path)), 10)

    assert asyncio.run(look()) is None
    assert (tmp_path / "abandoned").exists()


def test_only_one_of_a_late_guardian_and_a_new_server_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guardian that opens its FIFO at the worst moment is either heard, or has seen that it was written off."""
    os.mkfifo(tmp_path / "alive", 0o600)
    seen: list[bool] = []
    lives = Attempt._guardian_lives

    def look_then_come_up(attempt: Attempt) -> bool:
        alive = lives(attempt)
        seen.append((tmp_path / "abandoned").exists())
        return alive

    monkeypatch.setattr(Attempt, "_guardian_lives", look_then_come_up)
    assert asyncio.run(Attempt.find(tmp_path, Launch((), {}, tmp_path))) is None
    assert seen[0], "looked for a guardian before it was told to stay away"


def test_the_body_of_an_update_is_in_the_answer(process: Server, name: str) -> None:
    process.put(name, shell("sleep 60"))
    process.until_state(name, "Running")
    changed = {**shell("sleep 61"), "tags": {"a": "b"}}
    answer = process.put(name, changed)
    assert answer.json["tags"] == {"a": "b"}
    assert answer.json["properties"]["containers"][0]["properties"]["command"][2] == "sleep 61"
    assert answer.json["properties"]["provisioningState"] == "Updating"


@pytest.mark.parametrize("turns", range(6))
def test_a_start_that_is_given_up_just_when_it_succeeds_leaves_no_container(tmp_path: Path, turns: int) -> None:
    """A group deleted at that moment was deleted when its program had ended, and no sooner."""
    (tmp_path / "presence").touch()
    (tmp_path / "attempt").mkdir()
    launch = Launch((sys.executable, "-c", "import time; time.sleep(60)"), {}, tmp_path)

    handles: list[Attempt] = []

    async def live() -> None:
        handles.append(await Attempt.begin(tmp_path / "attempt", launch, Watch(tmp_path / "presence", 60)))
        await handles[0].wait()

    async def give_up() -> bool:
        begun = asyncio.create_task(live())
        while not (tmp_path / "attempt" / "alive").exists():
            await asyncio.sleep(0)
        deadline = time.monotonic() + 20
        handed_over = False
        while not (tmp_path / "attempt" / "started.json").exists():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01) if not handed_over else time.sleep(0.001)
            handed_over = (tmp_path / "attempt" / "text-0").exists()  # from here on the loop stands still: what comes, comes at once
        for _ in range(turns):
            await asyncio.sleep(0)
        begun.cancel()
        await asyncio.wait({begun}, timeout=20)
        heard = begun.cancelled()
        for handle in handles:
            await handle.kill(graceful=False)
        return heard

    assert asyncio.run(give_up())
    child = json.loads((tmp_path / "attempt" / "started.json").read_text())["child"]
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
