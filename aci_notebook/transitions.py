"""Phases of a run, their table, and what two snapshots or a closing frame mean. Pure: no clock, no I/O.

    queued → pulling → starting → installing → running → collecting → ended

A phase may be skipped (a short job is over before anybody looked), never entered twice: `FORWARD` is the table, `enter` the only
way through it. Three sources say where a run is: the group's snapshots (platform events and container states), the
runner's house lines, and the end. They may disagree, because the service's state lags the process by 4–5 s (`aci-facts` T29): the
later phase wins.

The end is decided by the closing frame, or by the container's state; never by provisioningState (T3), never because a log
read failed. `verdict_of_frame` and `verdict_of_state` are the two tables for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from .errors import InternalError
from .events import Event, Outcome, OutcomeKind, Phase, PhaseEntered, PlatformNoted, RestartSeen
from .snapshot import ContainerSnapshot, GroupSnapshot, PlatformEvent

PHASES: tuple[Phase, ...] = ("queued", "pulling", "starting", "installing", "running", "collecting", "ended")
FORWARD: Mapping[Phase, frozenset[Phase]] = {phase: frozenset(PHASES[place + 1 :]) for place, phase in enumerate(PHASES)}

GRACEFUL_PLATFORM_END, FORCED_PLATFORM_END = 7147, 7148
OOM_EXIT_CODE = 137


def enter(current: Phase, target: Phase) -> Phase:
    """`target`, if the table allows it from `current`; InternalError otherwise, and nothing has changed."""
    if target not in FORWARD[current]:
        raise InternalError(f"a run cannot go from {current} to {target}")
    return target


def later(current: Phase, target: Phase) -> bool:
    """Whether `target` may follow `current`."""
    return target in FORWARD[current]


def observe(before: GroupSnapshot | None, after: GroupSnapshot, phase: Phase, at: datetime, *, runner: bool = False) -> list[Event]:
    """What changed between two answers: phases entered, platform events new or repeated, restarts.

    A container that runs our `runner` is starting until the runner says what it does: install, or the program.
    """
    known = {(event.name, event.message): event.count for event in before.all_events()} if before else {}
    events: list[Event] = [
        PlatformNoted(at, event) for event in after.all_events() if event.count > known.get((event.name, event.message), 0)
    ]
    container = after.container()
    target = _phase_of(after, container, "starting" if runner else "running")
    if target is not None and later(phase, target):
        events.append(PhaseEntered(at, target, _since(after, container, target) or at, _waiting_reason(container)))
    old = before.container() if before else None
    restarts = container.restart_count if container else 0
    if restarts > (old.restart_count if old else 0):
        events.append(RestartSeen(at, restarts))
    return events


def _phase_of(group: GroupSnapshot, container: ContainerSnapshot | None, begun: Phase) -> Phase | None:
    names = {event.name for event in group.all_events()}
    if container is not None and container.state in {"Running", "Terminated"}:
        return begun
    if "Started" in names or "Pulled" in names:
        return "starting"
    if "Pulling" in names:
        return "pulling"
    return None


def _since(group: GroupSnapshot, container: ContainerSnapshot | None, phase: Phase) -> datetime | None:
    if phase == "running" and container is not None:
        return container.started_at
    wanted = {"pulling": "Pulling", "starting": "Pulled"}.get(phase)
    return next((event.first_at for event in group.all_events() if event.name == wanted), None)


def _waiting_reason(container: ContainerSnapshot | None) -> str:
    return (container.detail_status or "") if container is not None and container.state == "Waiting" else ""


_FRAME_KINDS: Mapping[str, OutcomeKind] = {
    "succeeded": "succeeded",
    "failed": "failed",
    "signal": "failed",
    "oom": "oom",
    "timeout": "timeout",
    "install_failed": "install_failed",
    "no_interpreter": "no_interpreter",
    "restarted": "restarted",
    "late": "late",
    "terminated": "stopped",
}


def verdict_of_frame(values: Mapping[str, str], *, complete: bool) -> Outcome:
    """The outcome that the runner's closing frame states."""
    said = values.get("outcome", "")
    kind = _FRAME_KINDS.get(said, "error")
    signal = values.get("signal", "")
    return Outcome(
        kind=kind,
        exit_code=_whole(values.get("exit")),
        reason=_FRAME_REASONS.get(kind) or (f"killed by {signal}" if signal else ""),
        hint=HINTS.get(kind, ""),
        signal=signal,
        complete=complete,
        peak_memory_bytes=_whole(values.get("peak_memory_bytes")),
        cpu_s=_real(values.get("cpu_s")),
        install_s=_real(values.get("install_s")),
        log_lines=_whole(values.get("lines")),
        log_bytes=_whole(values.get("bytes")),
    )


_FRAME_REASONS: Mapping[OutcomeKind, str] = {
    "oom": "the container ran out of memory",
    "timeout": "the time given by --timeout was used up",
    "install_failed": "pip could not install what the cell asked for",
    "no_interpreter": "the image has no interpreter for this cell",
    "restarted": "the platform restarted the container while the program ran; it was not run a second time",
    "late": "the container started later than this run may start; the program was not run",
    "stopped": "the container was stopped from outside",
    "error": "the runner ended in a way this version does not know",
}
HINTS: Mapping[OutcomeKind, str] = {
    "oom": "give it more: --memory",
    "timeout": "give it more: --timeout",
    "install_failed": "correct --pip, -r or the cell's # /// script block; the container needs a way to the package index",
    "no_interpreter": "choose another --image, or --lang for another interpreter",
    "restarted": "run the cell again; --retries N makes a restart run the program again by itself",
    "late": "run the cell again",
}
UNSTARTED_HINT = "choose another --image: it must be for linux/amd64, and have /bin/sh for a cell, and the program that is asked for"


def verdict_of_state(group: GroupSnapshot, container_name: str | None = None) -> Outcome | None:
    """The outcome that a snapshot states, or None while the container may still run.

    A container that a stop request ended says no exit code (T2); a group that is Stopped says no container state at all.
    """
    container = group.container(container_name)
    state = container.state if container else None
    if state == "Terminated" and container is not None:
        detail = container.detail_status or ""
        code = container.exit_code
        if code is None or "per client request" in detail:
            return Outcome("stopped", code, "the container group was stopped by somebody else", complete=False)
        if code in {GRACEFUL_PLATFORM_END, FORCED_PLATFORM_END}:
            return Outcome("evicted", code, "the platform ended the container", "run the cell again", complete=False)
        if code == OOM_EXIT_CODE:
            return Outcome("oom", code, "the container was killed, most likely for using too much memory", HINTS["oom"], complete=False)
        if code == 0:
            return Outcome("succeeded", 0, complete=False)
        unstarted = _start_trouble(group)
        if unstarted:
            return Outcome("refused", code, f"the container could not be started: {unstarted}", UNSTARTED_HINT, complete=False)
        return Outcome("failed", code, f"exit code {code}", complete=False)
    if group.group_state == "Stopped":
        return Outcome("stopped", None, "the container group was stopped by somebody else", complete=False)
    return None


def lost(name: str, other: str = "") -> Outcome:
    """The outcome of a run whose group is not there any more, or is that of an `other` run by now."""
    if not other:
        return Outcome("lost", reason="the container group is gone: somebody else deleted it", hint="run the cell again", complete=False)
    reason = f"run {other} took the name {name}, and the container of this one is gone"
    return Outcome("lost", reason=reason, hint="leave --name out: every run then has a name of its own", complete=False)


_PULL_FINAL = ("not found", "manifest unknown", "unauthorized", "denied", "invalid reference", "no such host", "does not exist")


def pull_trouble(group: GroupSnapshot) -> PlatformEvent | None:
    """The event that says this image will not come: the registry's final word, or a third failure."""
    for event in reversed(group.all_events()):
        if event.name in {"Failed", "BackOff"} and "pull" in event.message.lower() + event.name.lower():
            text = event.message.lower()
            if event.name == "Failed" and (event.count >= 3 or any(words in text for words in _PULL_FINAL)):
                return event
    return None


def _start_trouble(group: GroupSnapshot) -> str:
    """The service's words on a container that could not be started, if that is the last it says of it (aci-facts §2.4)."""
    for event in reversed(group.all_events()):
        if event.name == "Started":
            return ""
        if event.name == "Failed" and "failed to start container" in event.message.lower():
            return event.message.partition("Error response: ")[2] or event.message
    return ""


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.lstrip("-").isdigit() else None


def _real(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
