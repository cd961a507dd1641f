"""States, events, restart policies and what the platform does (A7–A9, A28–A30; aci-facts §3)."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from .conftest import Server, body, container


def view(group: Any, index: int = 0) -> Any:
    return group["properties"]["containers"][index]["properties"]["instanceView"]


def state(group: Any) -> Any:
    return view(group)["currentState"]


def test_a07_a_job_that_succeeds(simulated: Server, name: str) -> None:
    simulated.put(name, body())
    group = simulated.until_state(name, "Succeeded")
    shown = state(group)
    assert list(shown) == ["state", "startTime", "exitCode", "finishTime", "detailStatus"]
    assert (shown["state"], shown["exitCode"], shown["detailStatus"]) == ("Terminated", 0, "Completed")
    assert re.fullmatch(r"[\dT:-]{19}(\.\d{1,3})?Z", shown["startTime"])
    assert view(group)["restartCount"] == 0
    assert "previousState" not in view(group)
    assert group["properties"]["instanceView"]["events"] == []


def test_a07_a_job_that_fails(simulated: Server, name: str) -> None:
    simulated.script(name, [{"exit": 2}])
    simulated.put(name, body())
    shown = state(simulated.until_state(name, "Failed"))
    assert (shown["state"], shown["exitCode"], shown["detailStatus"]) == ("Terminated", 2, "Error")


def test_a07_waiting_before_the_start(simulated: Server, name: str) -> None:
    simulated.control("POST", "time", {"mode": "reads", "n": 3})
    simulated.put(name, body())
    group = simulated.get(name)
    assert state(group) == {"state": "Waiting", "detailStatus": ""}
    assert group["properties"]["instanceView"]["state"] == "Pending"
    assert group["properties"]["provisioningState"] == "Pending"


def test_a08_running_has_neither_exit_code_nor_finish_time(simulated: Server, name: str) -> None:
    simulated.script(name, [])
    simulated.put(name, body())
    shown = state(simulated.until_state(name, "Running"))
    assert set(shown) == {"state", "startTime", "detailStatus"}
    assert (shown["state"], shown["detailStatus"]) == ("Running", "")


def test_a08_stopped_by_request_has_neither_exit_code_nor_start_time(simulated: Server, name: str) -> None:
    simulated.script(name, [])
    simulated.put(name, body())
    simulated.until_state(name, "Running")
    simulated.call("POST", f"{simulated.group(name)}/stop")
    group = simulated.get(name)
    shown = state(group)
    assert set(shown) == {"state", "finishTime", "detailStatus"}
    assert (shown["state"], shown["detailStatus"]) == ("Terminated", "Container stopped per client request")
    assert re.fullmatch(r"[\dT:-]{19}\.\d{7}Z", shown["finishTime"])
    assert view(group)["previousState"]["state"] == "Running"
    assert group["properties"]["instanceView"] == {"events": [], "state": "Stopped"}
    assert group["properties"]["provisioningState"] == "Succeeded"


def test_a09_events_have_the_recorded_shape(simulated: Server, name: str) -> None:
    simulated.put(name, body())
    events = view(simulated.until_state(name, "Succeeded"))["events"]
    assert [event["name"] for event in events] == ["Pulling", "Pulled", "Started", "Killing"]
    digest = r"alpine@sha256:[0-9a-f]{64}"
    patterns = [rf'pulling image "{digest}"', rf'Successfully pulled image "{digest}"', "Started container"]
    for event, pattern in zip(events, [*patterns, r"Killing container with id [0-9a-f]{64}\."], strict=True):
        assert re.fullmatch(pattern, event["message"])
        assert list(event) == ["count", "firstTimestamp", "lastTimestamp", "name", "message", "type"]
        assert (event["count"], event["type"]) == (1, "Normal")
        assert re.fullmatch(r"[\dT:-]{19}Z", event["firstTimestamp"])


def test_a09_regions_without_events(simulated: Server, name: str) -> None:
    simulated.control("POST", "limits", {"events": False})
    simulated.put(name, body())
    assert "events" not in view(simulated.until_state(name, "Succeeded"))


def test_a09_repeats_are_folded(simulated: Server, name: str) -> None:
    simulated.script(name, [{"exit": 1}], [{"exit": 0}])
    simulated.put(name, body(restartPolicy="OnFailure"))
    group = simulated.until_state(name, "Succeeded")
    counts = {event["name"]: event["count"] for event in view(group)["events"]}
    assert counts == {"Pulling": 1, "Pulled": 1, "Started": 2, "Killing": 2}


def test_a28_always_restarts_and_backs_off(serve: Any, name: str) -> None:
    server = serve("--runtime", "simulated")
    server.control("POST", "time", {"flow": "frozen"})
    server.script(name, [{"after_s": 1, "exit": 0}])
    server.put(name, body(restartPolicy="Always"))
    server.until_state(name, "Running")
    server.control("POST", "time", {"advance_s": 1})
    group = server.until(name, lambda group: view(group)["restartCount"] == 1)
    assert state(group)["state"] == "Running"
    assert view(group)["previousState"]["state"] == "Terminated"
    assert (view(group)["previousState"]["exitCode"], view(group)["previousState"]["detailStatus"]) == (0, "Completed")
    assert group["properties"]["instanceView"]["state"] == "Running"
    server.control("POST", "time", {"advance_s": 1})
    group = server.until(name, lambda group: state(group)["state"] == "Waiting")
    assert state(group) == {"state": "Waiting", "detailStatus": "CrashLoopBackOff: Back-off restarting failed"}
    assert group["properties"]["instanceView"]["state"] == "Running"
    assert group["properties"]["provisioningState"] == "Succeeded"
    server.control("POST", "time", {"advance_s": 1})
    assert view(server.until(name, lambda group: view(group)["restartCount"] == 2))["restartCount"] == 2


def test_a28_on_failure_restarts_until_it_succeeds(simulated: Server, name: str) -> None:
    simulated.script(name, [{"exit": 3}], [{"exit": 0}])
    simulated.put(name, body(restartPolicy="OnFailure"))
    shown = view(simulated.until_state(name, "Succeeded"))
    assert shown["restartCount"] == 1
    assert shown["previousState"]["exitCode"] == 3
    assert shown["currentState"]["exitCode"] == 0


def test_a28_never_does_not_restart_unless_the_platform_does(simulated: Server, name: str) -> None:
    simulated.script(name, [{"exit": 3}], [])
    simulated.put(name, body())
    simulated.until_state(name, "Failed")
    simulated.control("POST", f"groups/{name}/happen", {"event": "platform_restart"})
    shown = view(simulated.until_state(name, "Running"))
    assert shown["restartCount"] == 1
    assert shown["previousState"]["exitCode"] == 3


def test_a28_the_platform_restarts_a_running_container(simulated: Server, name: str) -> None:
    simulated.script(name, [])
    simulated.put(name, body())
    simulated.until_state(name, "Running")
    simulated.control("POST", f"groups/{name}/happen", {"event": "platform_restart"})
    shown = view(simulated.until(name, lambda group: view(group)["restartCount"] == 1))
    assert shown["previousState"]["exitCode"] == 7147
    assert "Killing container main (platform initiated)." in [event["message"] for event in shown["events"]]


def test_a28_the_platform_kills(simulated: Server, name: str) -> None:
    simulated.script(name, [])
    simulated.put(name, body())
    simulated.until_state(name, "Running")
    simulated.control("POST", f"groups/{name}/happen", {"event": "platform_kill"})
    shown = view(simulated.until_state(name, "Failed"))
    assert shown["currentState"]["exitCode"] == 7147
    assert shown["events"][-1]["name"] == "Killing"


def test_a28_an_evicted_spot_group_comes_back_by_itself(simulated: Server, name: str) -> None:
    simulated.script(name, [])
    simulated.put(name, body(priority="Spot"))
    before = state(simulated.until_state(name, "Running"))
    simulated.control("POST", f"groups/{name}/happen", {"event": "evict"})
    group = simulated.until(name, lambda group: state(group)["startTime"] != before["startTime"])
    assert state(group)["state"] == "Running"
    assert group["properties"]["priority"] == "Spot"


def test_a29_provisioning_gives_up_while_the_group_goes_on_trying(serve: Any, name: str) -> None:
    server = serve("--runtime", "simulated")
    server.control("POST", "time", {"flow": "frozen"})
    server.script(name, [], pull_failures=1000)
    server.put(name, body())
    group = server.until(name, lambda group: "Failed" in [event["name"] for event in view(group)["events"]])
    assert state(group)["state"] == "Waiting"
    assert [(event["name"], event["type"]) for event in view(group)["events"]] == [
        ("Pulling", "Normal"),
        ("Failed", "Warning"),
        ("BackOff", "Normal"),
    ]
    server.control("POST", "time", {"advance_s": 1800})
    group = server.until(name, lambda group: group["properties"]["provisioningState"] == "Failed")
    assert group["properties"]["instanceView"]["state"] == "Pending"
    assert state(group)["state"] == "Waiting"


def test_a30_out_of_memory_is_exit_137(simulated: Server, name: str) -> None:
    simulated.script(name, [])
    simulated.put(name, body())
    simulated.until_state(name, "Running")
    simulated.control("POST", f"groups/{name}/happen", {"event": "oom"})
    assert state(simulated.until_state(name, "Failed"))["exitCode"] == 137


def test_a_mount_that_fails_shows_in_the_groups_events(simulated: Server, name: str) -> None:
    simulated.script(name, [], mount_failures=1000)
    simulated.put(name, body())
    group = simulated.until(name, lambda group: group["properties"]["instanceView"]["events"])
    assert group["properties"]["instanceView"]["events"][0]["name"] == "FailedMount"
    assert group["properties"]["instanceView"]["state"] == "Pending"
    assert state(group)["state"] == "Waiting"


def test_init_containers_run_first_and_can_fail_the_group(simulated: Server, name: str) -> None:
    init = {"name": "first", "properties": {"image": "alpine"}}
    simulated.script(name, [{"exit": 4}], container="first")
    simulated.put(name, body(initContainers=[init]))
    group = simulated.until(name, lambda group: group["properties"]["instanceView"]["state"] == "Failed")
    assert group["properties"]["initContainers"][0]["properties"]["instanceView"]["currentState"]["exitCode"] == 4
    assert state(group)["state"] == "Waiting"


def test_a_group_runs_while_one_container_runs(simulated: Server, name: str) -> None:
    simulated.script(name, [], container="long")
    simulated.put(name, body(container("short"), container("long")))
    simulated.until_state(name, "Running")
    group = simulated.until(name, lambda group: view(group, 0)["currentState"]["state"] == "Terminated")
    assert group["properties"]["instanceView"]["state"] == "Running"
    assert view(group, 1)["currentState"]["state"] == "Running"


def test_the_end_lags_when_told_to(simulated: Server, name: str) -> None:
    simulated.control("POST", "time", {"mode": "seconds", "end_lag_s": 0.3})
    began = time.monotonic()
    simulated.put(name, body())
    shown = state(simulated.until_state(name, "Succeeded"))
    assert time.monotonic() - began >= 0.3
    assert shown["finishTime"] > shown["startTime"]


@pytest.mark.parametrize("order", [{}, {"event": "nonsense"}, {"event": 3}, {"event": "oom", "lose_emptydir": 1}])
def test_happenings_that_make_no_sense_are_refused(simulated: Server, name: str, order: Any) -> None:
    simulated.put(name, body())
    simulated.until_state(name, "Succeeded")
    assert simulated.raw("POST", f"/_aci/groups/{name}/happen", json.dumps(order).encode()).status == 400
