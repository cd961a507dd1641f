"""Everything known about a run now: `RunRecord`, and `fold`, the one way in which events become it.

The display and the history read the same record, so they cannot disagree. The record holds no secret: of an environment it
keeps names, of secrets names and places, and `redact` masks values that reach it in texts. It holds no output either; that is in
the log file, whose path it names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, assert_never

from . import events as ev
from .events import Event, Outcome, Phase
from .snapshot import PlatformEvent
from .spec import RunSpec
from .transitions import later

State = Literal["queued", "pulling", "starting", "installing", "running", "collecting", "cancelling", "ended", "detached"]
GroupState = Literal["unborn", "asked", "alive", "deleting", "gone", "kept", "unverified"]
KEPT_PLATFORM_EVENTS = 50
BEGAN_ANEW = "the container lost its state and began anew"


@dataclass(frozen=True, slots=True)
class Home:
    """An object that came home or stayed: its name, kind, type and size, or the reason."""

    name: str
    kind: str = ""
    type_name: str = ""
    size_bytes: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run, as far as it is known. Times are aware UTC; durations are seconds."""

    run_id: str
    name: str
    target: str
    created_at: datetime
    spec: RunSpec
    location: str = ""
    resource_group: str = ""
    subscription_id: str = ""
    profile: str = ""
    notebook: str = ""
    kernel: str = ""
    host: str = ""
    runtime: str = ""
    log_path: str = ""
    phase: Phase = "queued"
    phases: tuple[tuple[Phase, datetime], ...] = ()
    detail: str = ""
    group: GroupState = "unborn"
    platform_events: tuple[PlatformEvent, ...] = ()
    progress: str = ""
    install: str = ""
    trouble: str = ""
    warnings: tuple[str, ...] = ()
    homes: tuple[Home, ...] = ()
    restarts: int = 0
    attempts: int = 1
    lines: int = 0
    bytes: int = 0
    lost_lines: int = 0
    gaps: int = 0
    cancel_reason: str = ""
    detached: bool = False
    outcome: Outcome | None = None
    ended_at: datetime | None = None
    deleted_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def state(self) -> State:
        """One word for people: the phase, or what overrides it."""
        if self.outcome is not None:
            return "ended"
        if self.cancel_reason:
            return "cancelling"
        return "detached" if self.detached else self.phase

    def since(self, phase: Phase) -> datetime | None:
        """When the run entered that phase, or None."""
        return next((at for name, at in self.phases if name == phase), None)

    def spans(self, now: datetime) -> tuple[tuple[Phase, float], ...]:
        """(phase, seconds in it) for each phase so far; the last one runs until the end, or `now`."""
        end = self.ended_at or now
        marks = [*self.phases, ("ended", end)]
        return tuple(
            (phase, max(0.0, (marks[place + 1][1] - at).total_seconds()))
            for place, (phase, at) in enumerate(self.phases)
            if phase != "ended"
        )


def _phase(record: RunRecord, phase: Phase, since: datetime) -> RunRecord:
    """Entering a phase; times of different clocks are kept in order."""
    last = record.phases[-1][1] if record.phases else record.created_at
    return replace(record, phase=phase, phases=(*record.phases, (phase, max(since, last))), detail="")


INSTALL_LINES = 20
_HOUSE_PHASES: Mapping[str, Phase] = {"install": "installing", "run": "running", "collect": "collecting"}


def fold(record: RunRecord, event: Event) -> RunRecord:
    """The record after the event."""
    return replace(_fold(record, event), updated_at=event.at)


def _fold(record: RunRecord, event: Event) -> RunRecord:
    match event:
        case ev.CreateRequested():
            return replace(_phase(record, "queued", event.at) if not record.phases else record, group="asked")
        case ev.CreateAccepted():
            return replace(record, group="alive", location=event.location or record.location)
        case ev.Adopted():
            return replace(record, group="alive", detached=False)
        case ev.PhaseEntered():
            moved = _phase(record, event.phase, event.since) if later(record.phase, event.phase) else record
            return replace(moved, detail=event.detail)
        case ev.PlatformNoted():
            return replace(record, platform_events=(*record.platform_events, event.event)[-KEPT_PLATFORM_EVENTS:])
        case ev.RestartSeen():
            return replace(record, restarts=event.count)
        case ev.TextReceived():
            return replace(record, lines=record.lines + event.data.count(b"\n"), bytes=record.bytes + len(event.data))
        case ev.ProgressReceived():
            return replace(record, progress=event.text)
        case ev.GapFound():
            return replace(record, gaps=record.gaps + 1, lost_lines=record.lost_lines + (event.lines or 0))
        case ev.HouseSaid():
            return _house(record, event)
        case ev.ObjectArrived():
            home = Home(event.name, event.kind, event.type_name, len(event.data))
            return replace(record, homes=(*record.homes, home))
        case ev.ObjectSkipped():
            return replace(record, homes=(*record.homes, Home(event.name, reason=event.reason)))
        case ev.TroubleMet():
            return replace(record, trouble=f"{event.request}: {event.reason}")
        case ev.TroublePassed():
            return replace(record, trouble="")
        case ev.Warned():
            return replace(record, warnings=(*record.warnings, event.text))
        case ev.CancelRequested():
            return record if record.outcome else replace(record, cancel_reason=event.reason)
        case ev.Ended():
            ended = _phase(record, "ended", event.at) if record.phase != "ended" else record
            return replace(ended, outcome=event.outcome, ended_at=event.at, trouble="", progress="")
        case ev.Detached():
            return replace(record, detached=True)
        case ev.GroupKept():
            return replace(record, group="kept")
        case ev.DeleteRequested():
            return replace(record, group="deleting")
        case ev.DeleteVerified():
            return replace(record, group="gone", deleted_at=event.at)
        case ev.DeleteUnverified():
            text = f"the container group {record.name} may still exist: {event.reason}. %aci gc looks again and deletes it"
            return replace(record, group="unverified", warnings=(*record.warnings, text))
        case _:
            assert_never(event)


def _house(record: RunRecord, event: ev.HouseSaid) -> RunRecord:
    match event.word:
        case "phase":
            phase = _HOUSE_PHASES.get(event.values.get("name", ""))
            if phase == "running" and record.warnings[-1:] == (BEGAN_ANEW,):
                text = f"{BEGAN_ANEW}: the program runs again from its beginning"
                return replace(record, warnings=(*record.warnings[:-1], text))
            return _phase(record, phase, event.at) if phase and later(record.phase, phase) else record
        case "start":
            return _phase(record, "starting", event.at) if later(record.phase, "starting") else record
        case "install":
            lines = [*record.install.splitlines(), event.values.get("line", "")]
            return replace(record, install="\n".join(lines[-INSTALL_LINES:]))
        case "retry":
            return replace(record, attempts=record.attempts + 1)
        case "anew":
            return replace(record, attempts=record.attempts + 1, warnings=(*record.warnings, BEGAN_ANEW))
        case "warn":
            return replace(record, warnings=(*record.warnings, event.values.get("text", "")))
        case _:
            return record


def redact(text: str, values: Iterable[str]) -> str:
    """The text with each secret value (6 characters and more) masked, longest first."""
    for value in sorted({value for value in values if len(value) >= 6}, key=len, reverse=True):
        text = text.replace(value, "******")
    return text
