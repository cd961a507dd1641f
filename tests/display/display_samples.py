"""Records for the tests and for the picture: one run at each point of its life, made by the real fold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from aci_notebook import events as ev
from aci_notebook.record import RunRecord, fold
from aci_notebook.snapshot import PlatformEvent
from aci_notebook.spec import RunSpec

T0 = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def new(name: str = "fit-model", *, target: str = "azure", **spec: Any) -> RunRecord:
    wanted = {"image": "python:3.12-slim", "cpu": 2.0, "memory_gb": 4.0, "code": "print(1)", **spec}
    return RunRecord(
        run_id="k7f3a2",
        name=name,
        target=target,
        created_at=T0,
        spec=RunSpec(**wanted),
        location="westeurope" if target == "azure" else "",
        runtime="" if target == "azure" else "process",
        log_path="/home/ada/.local/share/aci-notebook/logs/k7f3a2.log",
    )


def after(record: RunRecord, *events: ev.Event) -> RunRecord:
    for event in events:
        record = fold(record, event)
    return record


def created(record: RunRecord) -> RunRecord:
    return after(record, ev.CreateRequested(at(0)), ev.CreateAccepted(at(1)))


def pulling(record: RunRecord) -> RunRecord:
    note = PlatformEvent("Pulling", 'pulling image "python:3.12-slim"', "Normal", 1, at(2), at(2))
    return after(created(record), ev.PhaseEntered(at(2), "pulling", at(2)), ev.PlatformNoted(at(2), note))


def running(record: RunRecord) -> RunRecord:
    return after(pulling(record), ev.PhaseEntered(at(14), "starting", at(14)), ev.PhaseEntered(at(18), "running", at(18)))


def ended(record: RunRecord, seconds: float, kind: ev.OutcomeKind = "succeeded", *, start: bool = True, **outcome: Any) -> RunRecord:
    before = running(record) if start else record
    return after(before, ev.Ended(at(seconds), ev.Outcome(kind, **outcome)), ev.DeleteRequested(at(seconds)))
