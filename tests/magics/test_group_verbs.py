"""start, restart and update on groups that exist: stopped ones, kept ones, and those that somebody else made."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from shells import Run

from aci_notebook import session
from aci_notebook.errors import OptionError, RunNotFound

GROUPS = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers/Microsoft.ContainerInstance/containerGroups"
Resource = Callable[[str], dict[str, Any]]
Foreign = Callable[[str], str]


@pytest.fixture
def foreign(server: Any, resource: Resource) -> Iterator[Foreign]:
    """Makes a group as another tool would: without a tag of ours, its container under a name of its own."""
    made: list[str] = []

    def make(name: str) -> str:
        container = {
            "image": "alpine",
            "command": ["/bin/sh", "-c", "echo began; while :; do sleep 0.2; done"],
            "resources": {"requests": {"cpu": 1, "memoryInGB": 1}},
        }
        body = {
            "location": "westeurope",
            "properties": {"osType": "Linux", "restartPolicy": "Always", "containers": [{"name": "service", "properties": container}]},
        }
        server.ask(f"{GROUPS}/{name}?api-version=2023-05-01", body, "PUT")
        made.append(name)
        until(lambda: state(resource(name)) == "Running")
        return name

    yield make
    for name in made:
        session.connect("local").backend().delete(name)


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def state(found: dict[str, Any]) -> str:
    return str(found["properties"]["instanceView"]["state"])


def began(found: dict[str, Any]) -> str:
    """When the container began last; empty while it does not run."""
    view = found["properties"]["containers"][0]["properties"].get("instanceView") or {}
    return str((view.get("currentState") or {}).get("startTime") or "")


def began_a_while_ago(found: Resource, name: str) -> str:
    """When the container began, once the next begin is told as another time: they are whole seconds."""
    first = began(found(name))
    until(lambda: datetime.now(UTC) > datetime.fromisoformat(first) + timedelta(seconds=1))
    return first


@pytest.fixture
def seen(server: Any) -> Callable[[str], int]:
    """How many requests of a kind the local ACI has seen."""
    return lambda kind: int(server.ask("/_aci/stats")["requests"].get(kind, 0))


@pytest.mark.parametrize("word", ["others-service", "others-s"])
def test_start_a_stopped_group_of_somebody_else(
    run: Run, foreign: Foreign, resource: Resource, seen: Callable[[str], int], word: str
) -> None:
    name = foreign("others-service")
    first = began_a_while_ago(resource, name)
    session.connect("local").backend().stop(name)
    until(lambda: state(resource(name)) == "Stopped")
    starts = seen("start")
    assert f"container group {name} is starting" in run(f"%aci start {word}").check().stdout
    assert seen("start") == starts + 1
    until(lambda: state(resource(name)) == "Running" and began(resource(name)) > first)
    assert run(f"%aci exec {word} -- echo hello").check().value.output == "hello\n"


@pytest.mark.parametrize("word", ["others-service", "others-s"])
def test_restart_a_group_of_somebody_else(run: Run, foreign: Foreign, resource: Resource, seen: Callable[[str], int], word: str) -> None:
    name = foreign("others-service")
    first, restarts = began_a_while_ago(resource, name), seen("restart")
    assert f"container group {name} is restarting" in run(f"%aci restart {word}").check().stdout
    assert seen("restart") == restarts + 1
    until(lambda: began(resource(name)) > first)
    until(lambda: state(resource(name)) == "Running")
    table = run("%aci ps -a").check().value
    assert table.loc[table["name"] == name, "group_state"].tolist() == ["Running"]
    assert table.loc[table["name"] == name, "run_id"].isna().all()
    assert name not in set(run("%aci ps").check().value["name"])


def test_update_a_group_of_somebody_else(run: Run, foreign: Foreign, resource: Resource) -> None:
    name = foreign("others-service")
    run("%aci update others-s --tag team=blue -e A=1 -- sh -c 'sleep 60'").check()
    found = resource(name)
    assert found["tags"] == {"team": "blue"}
    container = found["properties"]["containers"][0]
    assert container["name"] == "service"
    assert container["properties"]["command"] == ["sh", "-c", "sleep 60"]
    assert {item["name"]: item["value"] for item in container["properties"]["environmentVariables"]} == {"A": "1"}


def test_a_kept_run_of_an_image_by_name_id_prefix_and_last(run: Run, resource: Resource, seen: Callable[[str], int]) -> None:
    run("%aci run --image alpine --name kept-image --keep always -q --as kept").check()
    run_id = run("kept.run_id").check().value
    try:
        for count, word in enumerate(["kept-image", run_id, "kept-i", "last"], 1):
            run(f"%aci update {word} --tag seen={count}").check()
            assert resource("kept-image")["tags"]["seen"] == str(count)
            before, asked = began_a_while_ago(resource, "kept-image"), seen("start")
            run(f"%aci start {word}").check()
            assert seen("start") == asked + 1
            until(lambda before=before: began(resource("kept-image")) > before)
            until(lambda: state(resource("kept-image")) == "Succeeded")
            assert "%aci start kept-image" in str(run(f"%aci restart {word}").error)
    finally:
        run(f"%aci rm {run_id}").check()


def test_a_group_in_transition_is_asked_again(
    run: Run, foreign: Foreign, resource: Resource, server: Any, seen: Callable[[str], int]
) -> None:
    name = foreign("others-service")
    first, restarts = began_a_while_ago(resource, name), seen("restart")
    not_now = {"status": 409, "code": "ContainerGroupTransitioning", "message": "still transitioning, please retry later"}
    server.ask("/_aci/faults", {"on": "restart", "times": 1, "do": not_now})
    run(f"%aci restart {name}").check()
    assert seen("restart") == restarts + 2
    until(lambda: began(resource(name)) > first)


def test_what_runs_already_is_not_started(run: Run, foreign: Foreign, seen: Callable[[str], int]) -> None:
    starts = seen("start")
    name = foreign("others-service")
    assert "is running already" in run(f"%aci start {name}").check().stdout
    assert seen("start") == starts


def test_a_whole_name_goes_before_the_beginning_of_another(run: Run, foreign: Foreign, seen: Callable[[str], int]) -> None:
    run("%aci run --image alpine --name twin-of-a-run --keep always -q").check()
    foreign("twin")
    try:
        assert "container group twin is restarting" in run("%aci restart twin").check().stdout
        assert "container group twin-of-a-run is starting" in run("%aci start twin-").check().stdout
    finally:
        run("%aci rm twin-of-a-run").check()


def test_a_name_that_somebody_else_has_taken_is_theirs(run: Run, foreign: Foreign) -> None:
    """A cell ran under this name once; the group that has it now is no cell's, so it may be restarted."""
    run("%%aci -q --name passed-on --as cell\n1").check()
    run("cell.wait_gone(20)").check()
    foreign("passed-on")
    assert "container group passed-on is restarting" in run("%aci restart passed-on").check().stdout
    assert "run" not in run("%aci inspect passed-on").check().value


def test_what_cannot_be_started(run: Run, foreign: Foreign) -> None:
    foreign("double-one")
    foreign("double-two")
    assert "more than one group" in str(run("%aci start double").error)
    for verb in ("start", "restart", "update"):
        failed = run(f"%aci {verb} nothing-like-it").error
        assert isinstance(failed, RunNotFound)
        assert "%aci ps -a" in str(failed) or "did you mean" in str(failed)
    run("%aci run -q --image alpine --name gone-image --as gone").check()
    run("gone.wait_gone(20)").check()
    for verb in ("start gone-image", "restart gone-image", "update gone-image --tag a=b"):
        failed = run(f"%aci {verb}").error
        assert isinstance(failed, RunNotFound | OptionError), verb
        assert "gone-image" in str(failed)
        assert "%aci rerun " in str(failed), verb
