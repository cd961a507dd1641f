"""What can become of a container, and what the service says about it (aci-facts §3.1, §3.2; A7–A9).

A container's life is a frozen value; `step(life, happening)` gives the next one. Which happening is legal in which
phase is one table, `TRANSITIONS`; anything else raises `IllegalStep` and changes nothing. To add a happening: a
dataclass here, its rows in the table, its arm in `step`. No clock, no I/O: every instant is handed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import assert_never

STOPPED_DETAIL = "Container stopped per client request"
BACK_OFF_DETAIL = "CrashLoopBackOff: Back-off restarting failed"


class Phase(Enum):
    """Where a container is; finer than what the service shows."""

    ACCEPTED = "accepted"
    PULLING = "pulling"
    PULL_FAILED = "pull failed"
    STARTING = "starting"
    RUNNING = "running"
    TERMINATED = "terminated"
    BACKING_OFF = "backing off"
    STOPPED = "stopped"


@dataclass(frozen=True)
class PlatformEvent:
    """An entry of an instance view's events; repeats of name and message are folded into `count`."""

    name: str
    message: str
    kind: str
    first_at: datetime
    last_at: datetime
    count: int = 1


@dataclass(frozen=True)
class StateView:
    """A `currentState` or `previousState` as the service shows it; None means that the key is absent."""

    state: str
    detail: str
    started_at: datetime | None = None
    exit_code: int | None = None
    finished_at: datetime | None = None
    exact: bool = False  # finishTime with all 7 decimals, as after a stop


@dataclass(frozen=True)
class Life:
    """Everything said about one container so far. `attempt` is the runtime's name for the process it last started, `starting` for
    one that it was told to start: written down before, so that a server killed in between starts no second one."""

    phase: Phase = Phase.ACCEPTED
    current: StateView | None = None
    previous: StateView | None = None
    restarts: int = 0
    events: tuple[PlatformEvent, ...] = ()
    attempt: str = ""
    starting: str = ""


@dataclass(frozen=True)
class PullBegan:
    at: datetime
    image: str


@dataclass(frozen=True)
class PullEnded:
    at: datetime
    image: str


@dataclass(frozen=True)
class PullBroke:
    at: datetime
    image: str
    reason: str


@dataclass(frozen=True)
class Starting:
    """The runtime is about to start a process under this name."""

    attempt: str


@dataclass(frozen=True)
class Started:
    at: datetime
    attempt: str


@dataclass(frozen=True)
class StartBroke:
    at: datetime
    container: str
    reason: str
    exit_code: int


@dataclass(frozen=True)
class Ended:
    """The process is gone. `detail` overrides `Completed`/`Error`; `killing` is the platform's message about it."""

    at: datetime
    exit_code: int
    detail: str = ""
    killing: str = ""


@dataclass(frozen=True)
class BackedOff:
    at: datetime


@dataclass(frozen=True)
class Restarting:
    """The restart policy, or the platform, is about to start the container again in place: counted."""

    at: datetime


@dataclass(frozen=True)
class StopRequested:
    """The stop operation has ended the container."""

    at: datetime


@dataclass(frozen=True)
class Redeployed:
    """Begins again from the image, not counted as a restart (aci-facts §3.1).

    A restart or update goes on showing the old state until the new process runs; a start has no state at first.
    """

    at: datetime
    keeps_view: bool
    killing: str = ""


Happening = (
    PullBegan | PullEnded | PullBroke | Starting | Started | StartBroke | Ended | BackedOff | Restarting | StopRequested | Redeployed
)

TRANSITIONS: dict[tuple[Phase, type[Happening]], Phase] = {
    (Phase.ACCEPTED, PullBegan): Phase.PULLING,
    (Phase.PULL_FAILED, PullBegan): Phase.PULLING,
    (Phase.PULLING, PullEnded): Phase.STARTING,
    (Phase.PULLING, PullBroke): Phase.PULL_FAILED,
    (Phase.STARTING, Starting): Phase.STARTING,
    (Phase.STARTING, Started): Phase.RUNNING,
    (Phase.STARTING, StartBroke): Phase.TERMINATED,
    (Phase.RUNNING, Ended): Phase.TERMINATED,
    (Phase.TERMINATED, BackedOff): Phase.BACKING_OFF,
    (Phase.TERMINATED, Restarting): Phase.STARTING,
    (Phase.BACKING_OFF, Restarting): Phase.STARTING,
    **{(phase, StopRequested): Phase.STOPPED for phase in Phase},
    **{(phase, Redeployed): Phase.ACCEPTED for phase in Phase},
}


class IllegalStep(Exception):
    """A happening that the container's phase does not allow."""


def step(life: Life, happening: Happening) -> Life:
    """The life after `happening`; raises `IllegalStep` if `TRANSITIONS` has no such row."""
    phase = TRANSITIONS.get((life.phase, type(happening)))
    if phase is None:
        raise IllegalStep(f"{type(happening).__name__} while {life.phase.value}")
    life = replace(life, phase=phase)
    match happening:
        case PullBegan(at, image):
            life = replace(life, current=life.current or StateView("Waiting", ""))
            return _with_event(life, at, "Pulling", f'pulling image "{image}"')
        case PullEnded(at, image):
            return _with_event(life, at, "Pulled", f'Successfully pulled image "{image}"')
        case PullBroke(at, image, reason):
            life = _with_event(life, at, "Failed", f'Failed to pull image "{image}": {reason}', "Warning")
            return _with_event(life, at, "BackOff", f'Back-off pulling image "{image}"')
        case Starting(attempt):
            return replace(life, starting=attempt)
        case Started(at, attempt):
            life = replace(life, current=StateView("Running", "", started_at=at), attempt=attempt, starting="")
            return _with_event(life, at, "Started", "Started container")
        case StartBroke(at, container, reason, exit_code):
            life = replace(life, current=StateView("Terminated", "Error", at, exit_code, at), starting="")
            text = f"Error: Failed to start container {container}, Error response: to create containerd task: {reason}"
            return _with_event(life, at, "Failed", text, "Warning")
        case Ended(at, exit_code, detail, killing):
            started_at = life.current.started_at if life.current else None
            detail = detail or ("Completed" if exit_code == 0 else "Error")
            life = replace(life, current=StateView("Terminated", detail, started_at, exit_code, at))
            return _with_event(life, at, "Killing", killing) if killing else life
        case BackedOff():
            return replace(life, current=StateView("Waiting", BACK_OFF_DETAIL), previous=life.current)
        case Restarting():
            ended = life.current if life.current and life.current.state == "Terminated" else life.previous
            waiting = StateView("Waiting", "")
            return replace(life, current=waiting, previous=ended, restarts=life.restarts + 1)
        case StopRequested(at):
            running = life.current if life.current and life.current.state == "Running" else life.previous
            stopped = StateView("Terminated", STOPPED_DETAIL, finished_at=at, exact=True)
            return replace(life, current=stopped, previous=running)
        case Redeployed(at, keeps_view, killing):
            life = replace(life, restarts=0, attempt="", starting="", previous=None, current=life.current if keeps_view else None)
            return _with_event(life, at, "Killing", killing) if killing else life
        case _:
            assert_never(happening)


def _with_event(life: Life, at: datetime, name: str, message: str, kind: str = "Normal") -> Life:
    return replace(life, events=fold(life.events, PlatformEvent(name, message, kind, at, at)))


def fold(events: tuple[PlatformEvent, ...], new: PlatformEvent) -> tuple[PlatformEvent, ...]:
    """`events` with `new`; the same name and message again counts up and moves `last_at` (aci-facts §3.2)."""
    for index, old in enumerate(events):
        if (old.name, old.message) == (new.name, new.message):
            again = replace(old, count=old.count + 1, last_at=new.last_at)
            return (*events[:index], again, *events[index + 1 :])
    return (*events, new)


def wants_restart(restart_policy: str, exit_code: int) -> bool:
    """Whether the policy starts a container again that ended with `exit_code` (A28)."""
    return restart_policy == "Always" or (restart_policy == "OnFailure" and exit_code != 0)


def group_state(restart_policy: str, inits: Iterable[Life], mains: Iterable[Life], *, stopped: bool) -> str:
    """The group's `instanceView.state`: Pending until every container has started once, then Running until all have
    ended for good (several containers: aci-facts §3.1, inferred). An init container that failed for good fails all."""
    if stopped:
        return "Stopped"
    inits, mains = tuple(inits), tuple(mains)
    if any(_ended_for_good(restart_policy, life) and exit_code(life) for life in inits):
        return "Failed"
    if not all(has_run(life) for life in mains):
        return "Pending"
    if not all(_ended_for_good(restart_policy, life) for life in mains):
        return "Running"
    return "Failed" if any(exit_code(life) for life in mains) else "Succeeded"


def has_run(life: Life) -> bool:
    """Whether the container was up since its last deployment (also when it waits to be restarted)."""
    return life.current is not None and (life.current.state != "Waiting" or life.restarts > 0 or bool(life.previous))


def started_since(life: Life, at: datetime) -> bool:
    """Whether the process that the life tells of last was started at `at` or later."""
    started = [view.started_at for view in (life.current, life.previous) if view and view.started_at]
    return bool(started) and started[0] >= at


def exit_code(life: Life) -> int:
    """The exit code of a terminated container; 0 while there is none."""
    return (life.current and life.current.exit_code) or 0


def _ended_for_good(restart_policy: str, life: Life) -> bool:
    return life.phase is Phase.TERMINATED and not wants_restart(restart_policy, exit_code(life))
