"""The table of phases, pair by pair; what snapshots and frames mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import get_args

import pytest

from aci_notebook.errors import InternalError
from aci_notebook.events import OutcomeKind, Phase, PhaseEntered, PlatformNoted, RestartSeen
from aci_notebook.failures import _CLASSES, failure
from aci_notebook.record import RunRecord
from aci_notebook.snapshot import ContainerSnapshot, GroupSnapshot, PlatformEvent
from aci_notebook.spec import RunSpec
from aci_notebook.transitions import PHASES, enter, later, observe, pull_trouble, verdict_of_frame, verdict_of_state

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize(("current", "target"), list(product(PHASES, PHASES)))
def test_every_pair_of_phases(current: Phase, target: Phase) -> None:
    if PHASES.index(target) > PHASES.index(current):
        assert enter(current, target) == target
        assert later(current, target)
    else:
        assert not later(current, target)
        with pytest.raises(InternalError):
            enter(current, target)


def group(
    state: str | None = None, code: int | None = None, detail: str = "", group_state: str | None = None, **more: object
) -> GroupSnapshot:
    containers = (ContainerSnapshot("c", state=state, exit_code=code, detail_status=detail, **more),) if state else ()  # type: ignore[arg-type]
    return GroupSnapshot("c", group_state=group_state, provisioning_state="Succeeded", containers=containers)


def test_a_container_that_could_not_be_started_says_the_services_words() -> None:
    words = "Error: Failed to start container c, Error response: to create containerd task: exec: no such file"
    unstarted = PlatformEvent("Failed", words, "Warning", 1, NOW, NOW)
    verdict = verdict_of_state(group("Terminated", 128, "Error", "Failed", events=(unstarted,)))
    assert verdict is not None
    assert (verdict.kind, verdict.exit_code) == ("refused", 128)
    assert verdict.reason == "the container could not be started: to create containerd task: exec: no such file"
    assert "--image" in verdict.hint
    started = PlatformEvent("Started", "Started container", "Normal", 1, NOW + timedelta(seconds=9), NOW + timedelta(seconds=9))
    later_end = verdict_of_state(group("Terminated", 1, "Error", "Failed", events=(started, unstarted)))
    assert later_end is not None
    assert (later_end.kind, later_end.reason) == ("failed", "exit code 1")


@pytest.mark.parametrize(
    ("snapshot", "kind"),
    [
        (group(), None),
        (group("Waiting"), None),
        (group("Waiting", detail="CrashLoopBackOff: Back-off restarting failed", group_state="Running"), None),
        (group("Running", group_state="Running"), None),
        (group("Terminated", 0, "Completed", "Running"), "succeeded"),
        (group("Terminated", 2, "Error", "Failed"), "failed"),
        (group("Terminated", 137, "", "Failed"), "oom"),
        (group("Terminated", 7147, ""), "evicted"),
        (group("Terminated", 7148, ""), "evicted"),
        (group("Terminated", None, "Container stopped per client request", "Stopped"), "stopped"),
        (group(group_state="Stopped"), "stopped"),
        (group(group_state="Succeeded"), None),
        (group("SomethingNew", group_state="Repairing"), None),
    ],
)
def test_the_state_decides(snapshot: GroupSnapshot, kind: str | None) -> None:
    verdict = verdict_of_state(snapshot)
    assert (verdict.kind if verdict else None) == kind


def test_provisioning_succeeded_says_nothing() -> None:
    assert verdict_of_state(GroupSnapshot("c", provisioning_state="Succeeded", group_state="Running")) is None


def test_observe_tells_each_event_once_and_again_when_it_repeats() -> None:
    pulling = PlatformEvent("Pulling", "x", first_at=NOW)
    before = GroupSnapshot("c", events=(pulling,))
    again = GroupSnapshot("c", events=(PlatformEvent("Pulling", "x", count=2, first_at=NOW),))
    assert [type(item) for item in observe(None, before, "queued", NOW)] == [PlatformNoted, PhaseEntered]
    assert observe(before, before, "pulling", NOW) == []
    assert [type(item) for item in observe(before, again, "pulling", NOW)] == [PlatformNoted]


def test_observe_tells_a_restart() -> None:
    before, after = group("Running", restart_count=0), group("Running", restart_count=1)
    assert RestartSeen(NOW, 1) in observe(before, after, "running", NOW)


def test_a_pull_is_given_up_on_a_final_word_or_a_third_failure() -> None:
    def failed(message: str, count: int = 1) -> GroupSnapshot:
        return GroupSnapshot("c", events=(PlatformEvent("Failed", message, "Warning", count),))

    assert pull_trouble(failed('Failed to pull image "x": manifest unknown'))
    assert not pull_trouble(failed('Failed to pull image "x": timeout'))
    assert pull_trouble(failed('Failed to pull image "x": timeout', 3))


@pytest.mark.parametrize("values", [{}, {"outcome": "failed", "exit": "no number", "cpu_s": "x"}])
def test_a_strange_frame_breaks_nothing(values: dict[str, str]) -> None:
    assert verdict_of_frame(values, complete=True).exit_code is None


@pytest.mark.parametrize("kind", [kind for kind in get_args(OutcomeKind) if kind not in {"succeeded", "cancelled"}])
def test_every_outcome_has_its_exception(kind: OutcomeKind) -> None:
    from dataclasses import replace

    from aci_notebook.events import Outcome

    record = RunRecord("r", "aci-r", "local", NOW, RunSpec("x", code="1"))
    error = failure(replace(record, outcome=Outcome(kind, reason="because", hint="do this")))
    assert type(error) is _CLASSES[kind]
    assert "aci-r" in str(error)
    assert "do this" in str(error)
