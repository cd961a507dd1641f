"""A service and a clock for the engine, in one object: nothing sleeps, waiting moves the time on, and everything asked is noted.

A program is a list of (second, frame) counted from the container's start; the world shows at any moment what would be there then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aci_notebook.errors import AciError, Transient
from aci_notebook.events import Event, Outcome
from aci_notebook.lifecycle import drive
from aci_notebook.pace import Budget
from aci_notebook.payload import RUN_TAG, GroupPlan
from aci_notebook.record import RunRecord, fold
from aci_notebook.snapshot import ContainerSnapshot, GroupSnapshot, PlatformEvent
from aci_notebook.spec import RunSpec
from aci_notebook.stage import Course

BEGIN = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
READS = ("get", "logs")


def transient(message: str = "the server is busy", retry_after_s: float | None = None, status: int = 500) -> Transient:
    error = Transient(message, status=status)
    error.retry_after_s = retry_after_s
    return error


def frames(
    texts: Sequence[tuple[float, str]], *, end_at: float | None = None, end: str = "outcome=succeeded exit=0", alive_until: float = 0.0
) -> list[tuple[float, str]]:
    """Numbered frames of a program that prints these texts; a start line first, the closing frame at `end_at`, signs of life until then
    or until `alive_until`."""
    lines = [(0.0, "# start run=r1 at=1"), (0.0, "# phase name=run"), *((at, f"| {text}" if text else "|") for at, text in texts)]
    lines = _with_signs_of_life(lines, alive_until if end_at is None else end_at)
    if end_at is not None:
        lines.append((end_at, f"# end {end}"))
    return [(at, f"{number:>6}{rest}") for number, (at, rest) in enumerate(lines, 1)]


def _with_signs_of_life(lines: list[tuple[float, str]], until: float) -> list[tuple[float, str]]:
    """After max(2, min(60, a quarter of the age)) seconds of silence the runner says that the job goes on."""
    found: list[tuple[float, str]] = []
    for line, (next_at, _) in zip(lines, [*lines[1:], (until, "")], strict=True):
        found.append(line)
        at = line[0]
        while (at := at + max(2.0, min(60.0, at / 3))) < next_at:  # from the last frame at T, a quarter of the age is reached at 4/3 T
            found.append((at, f"# alive wall_s={at:.0f}"))
    return found


class Stuck(Exception):
    """The engine ran on without end: a test's error, not the engine's."""


@dataclass
class World:
    """Backend, clock and wish."""

    program: list[tuple[float, str]] = field(default_factory=list)
    start_s: float = 2.0
    pulling_s: float = 0.5
    limit_s: float = 100_000.0
    stamps: bool = True
    websocket: bool = False
    terminated: tuple[float, int | None, str] | None = None  # seconds after the start, exit code, detail
    delete_shows_for_s: float = 0.0
    t: float = 0.0
    kind: str = ""
    created_at: float | None = None
    gone_at: float | None = None
    faults: dict[str, list[AciError | str | None]] = field(default_factory=dict)
    fault_when: Callable[[str, float], AciError | str | None] = lambda kind, t: None
    asked: list[tuple[str, float]] = field(default_factory=list)
    tails: list[int | None] = field(default_factory=list)
    deletes: int = 0
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    window_bytes: int = 4 << 20
    restarts: int = 0
    group_state: str | None = None
    reads_left: int | None = None
    websocket_ends: float = 1e12

    # -- clock and wish -------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.t)

    def monotonic(self) -> float:
        return self.t

    def sleep(self, seconds: float) -> None:
        self.move(seconds)

    def wait(self, seconds: float) -> bool:
        """The wish's wait: ends early where something that is due sets the wish."""
        until = self.t + seconds
        while not self.kind and self.t < until:
            due = min((at for at, _ in self.later), default=until)
            self.move(max(0.0, min(due, until) - self.t))
        return bool(self.kind)

    def move(self, seconds: float) -> None:
        self.t += seconds
        if self.t > self.limit_s:
            raise Stuck
        for item in sorted(item for item in self.later if item[0] <= self.t):
            self.later.remove(item)
            item[1]()

    def at(self, seconds: float, call: Callable[[], None]) -> None:
        self.later.append((seconds, call))

    def want(self, kind: str) -> None:
        self.kind = kind

    # -- backend --------------------------------------------------------------------------------------------------

    def _ask(self, kind: str) -> str | None:
        self.asked.append((kind, self.t))
        self.move(0.01)
        queue = self.faults.get(kind, [])
        fault = queue.pop(0) if queue else self.fault_when(kind, self.t)
        if isinstance(fault, AciError):
            raise fault
        return fault

    @property
    def exists(self) -> bool:
        return self.created_at is not None and (self.gone_at is None or self.t < self.gone_at)

    def create(self, plan: GroupPlan) -> GroupSnapshot:
        self.asked.append(("create", self.t))
        self.move(0.01)
        queue = self.faults.get("create", [])
        fault = queue.pop(0) if queue else None
        if isinstance(fault, AciError) and fault.code != "lost-answer":
            raise fault
        if self.created_at is None:
            self.created_at = self.t
            self.tags = dict(plan.tags)
        if isinstance(fault, AciError):
            raise fault
        return GroupSnapshot(plan.name, provisioning_state="Pending", group_state="Pending", tags=self.tags)

    def get(self, name: str) -> GroupSnapshot | None:
        fault = self._ask("get")
        if fault == "404" or not self.exists:
            return None
        return self.snapshot(name)

    def snapshot(self, name: str) -> GroupSnapshot:
        assert self.created_at is not None
        age = self.t - self.created_at
        events = [PlatformEvent("Pulling", "pulling image", first_at=self.now())] if age >= self.pulling_s else []
        begun = self.created_at + self.start_s
        state, code, detail = ("Running", None, "") if self.t >= begun else ("Waiting", None, "")
        if self.terminated is not None and self.t >= begun + self.terminated[0]:
            state, code, detail = "Terminated", self.terminated[1], self.terminated[2]
        container = ContainerSnapshot(name, state=state, exit_code=code, detail_status=detail, restart_count=self.restarts)
        group_state = self.group_state or ("Running" if state == "Running" else "Pending")
        return GroupSnapshot(name, "westeurope", "Succeeded", group_state, (container,), tuple(events), tags=self.tags)

    def logs(self, name: str, container: str, tail: int | None) -> str | None:
        self.tails.append(tail)
        fault = self._ask("logs")
        if fault == "null" or not self.exists or self.created_at is None or self.t < self.created_at + self.start_s:
            return None
        return self.text(tail)

    def text(self, tail: int | None) -> str:
        begun = (self.created_at or 0.0) + self.start_s
        shown = [(at, line) for at, line in self.program if begun + at <= self.t]
        size, kept = 0, []
        for at, line in reversed(shown):
            size += len(line) + 1
            if size > self.window_bytes:
                break
            kept.append((at, line))
        kept.reverse()
        kept = kept if tail is None else kept[-tail:]
        if not self.stamps:
            return "".join(line + "\n" for _, line in kept)
        return "".join((BEGIN + timedelta(seconds=begun + at)).strftime("%Y-%m-%dT%H:%M:%S.%f0Z ") + line + "\n" for at, line in kept)

    def attach(self, name: str, container: str) -> Websocket | None:
        self.asked.append(("attach", self.t))
        return Websocket(self) if self.websocket else None

    def delete(self, name: str, on_sent: Callable[[], None] | None = None) -> None:
        fault = self._ask("delete")
        if on_sent is not None:
            on_sent()
        self.deletes += 1
        if fault != "ignored" and self.exists:
            self.gone_at = self.t + self.delete_shows_for_s

    def remaining_reads(self) -> int | None:
        return self.reads_left

    # -- counting -------------------------------------------------------------------------------------------------

    def count(self, *kinds: str, since: float = 0.0, until: float = 1e12) -> int:
        return sum(kind in kinds and since <= at < until for kind, at in self.asked)

    def most_in_a_minute(self, since: float = 0.0, until: float = 1e12) -> int:
        """The most reads in any 60 seconds between `since` and `until`."""
        times = [at for kind, at in self.asked if kind in READS and since <= at < until]
        return max((sum(begin <= at < begin + 60 for at in times) for begin in times), default=0)


class Websocket:
    """The attach websocket of a world: what is printed while it is open."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.since = world.t
        self.closed = False

    def receive(self, timeout_s: float) -> str | None:
        world = self.world
        begun = (world.created_at or 0.0) + world.start_s
        until = world.t + timeout_s
        if self.since >= world.websocket_ends:
            return None
        due = [begun + at for at, _ in world.program if self.since < begun + at <= until]
        world.move((min(due) if due else until) - world.t)
        text = "".join(line + "\n" for at, line in world.program if self.since < begun + at <= world.t)
        self.since = world.t
        return text

    def close(self) -> None:
        self.closed = True


@dataclass
class Played:
    """What one drive told."""

    record: RunRecord
    events: list[Event]

    @property
    def outcome(self) -> Outcome:
        assert self.record.outcome is not None
        return self.record.outcome

    @property
    def text(self) -> str:
        return b"".join(getattr(event, "data", b"") for event in self.events if type(event).__name__ == "TextReceived").decode()

    def kinds(self) -> Counter[str]:
        return Counter(type(event).__name__ for event in self.events)


def spec_of(**changes: object) -> RunSpec:
    return RunSpec(**{"image": "python:3.11-slim", "code": "pass", "timeout_s": 3600.0, **changes})  # type: ignore[arg-type]


def play(
    world: World,
    *,
    course: Course | None = None,
    budget: Budget | None = None,
    listener: Callable[[RunRecord, Event], None] = lambda record, event: None,
    record: RunRecord | None = None,
    **changes: object,
) -> Played:
    """Drives one run in that world, to its end."""
    spec = spec_of(**changes)
    record = record or RunRecord("r1", "aci-r1", "local", world.now(), spec)
    plan = None
    if course is None or not course.adopt:
        plan = GroupPlan("aci-r1", "aci-r1", spec.image, 1, 1.5, "westeurope", tags={RUN_TAG: "r1"})
    events: list[Event] = []
    latest = record

    def emit(event: Event) -> RunRecord:
        nonlocal latest
        latest = fold(latest, event)
        events.append(event)
        listener(latest, event)
        return latest

    drive(record, plan, world, world, world, emit, budget or Budget(), course or Course())
    return Played(latest, events)
