"""The life of a run: create, follow, collect, delete. One function, `drive`, called by a thread of `runs`.

It asks a `Backend` (who answers create, get, logs, delete), tells everything that happens to `emit`, and takes one thing from outside: the
`Wish` to end. It knows no notebook, no SDK and no thread; time comes from a `Clock`. The promises (`design` §6), in the order of the code:

* the name is chosen and the record is on disk before the PUT; a name the person chose is looked up first, never overwritten;
* after any create error the group is looked for before anything is concluded: it may exist and cost money;
* the closing frame or the container's state decides the end; a failed request never does;
* after a verdict by state the log is read once more, whole, before anything is deleted;
* the deletion is in `finally`, starts whatever happened, is verified by a 404, and is named as unverified where it could not be;
* a wish to end is seen between any two requests and during every wait.

`drive` is a plain function with an event sink, not a generator: a generator held by somebody's traceback is not closed, and an
unclosed run is a billed one. A `finally` in a plain function always runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, assert_never

from . import events as ev
from .errors import (
    AciError,
    AuthError,
    CapacityError,
    ImagePullError,
    NameTaken,
    QuotaError,
    ServiceError,
    Transient,
)
from .logs import Chunk, Gap, House, Item, LogCursor, Progress, Text
from .pace import Budget, Pace
from .parcels import Lost, Parcel, Parcels
from .payload import RUN_TAG, GroupPlan
from .record import RunRecord
from .snapshot import GroupSnapshot
from .transitions import later, observe, pull_trouble, verdict_of_frame, verdict_of_state

VERIFY_FOR_S = 60.0
DELETE_FOR_S = 120.0
COLLECT_FOR_S = 60.0
RETRY_LEAST_S, RETRY_MOST_S = 0.5, 20.0
MISSING_LOOKS = 3
STATE_EVERY = 3
GRACE_S = 60.0


class Attachment(Protocol):
    """An open attach websocket."""

    def receive(self, timeout_s: float) -> str | None:
        """Text that arrived within the time, "" for none, None when the other side closed."""

    def close(self) -> None: ...


class Backend(Protocol):
    """Who answers for container groups: `aci.py`, or a test's double. Errors are ours: Transient may pass, all others are final."""

    def create(self, plan: GroupPlan) -> GroupSnapshot: ...

    def get(self, name: str) -> GroupSnapshot | None:
        """The group, or None where there is none (404)."""

    def logs(self, name: str, container: str, tail: int | None) -> str | None:
        """The last `tail` lines with time stamps; None while there is no log."""

    def attach(self, name: str, container: str) -> Attachment | None:
        """The live output, or None where the websocket cannot be had (`aci-facts` T26)."""

    def delete(self, name: str, on_sent: Callable[[], None] | None = None) -> None:
        """Deletes; a missing group is fine. `on_sent` is called once the request is on the wire."""

    def remaining_reads(self) -> int | None:
        """Reads left for this principal, as the service last said."""


class Clock(Protocol):
    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None:
        """Waits in a deletion, which no wish cuts short."""


class Wish(Protocol):
    """A wish to end the run: `kind` is "", "cancel" or "detach"."""

    @property
    def kind(self) -> str: ...

    def wait(self, timeout_s: float) -> bool:
        """Waits; True at once when there is a wish."""


class _WishMet(Exception):
    """Leaves the follow loop because of a wish."""


class _Refused(Exception):
    """The group could not be created; carries the outcome."""

    def __init__(self, outcome: ev.Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


Emit = Callable[[ev.Event], RunRecord]
Tell = Callable[[ev.Event], object]

_KINDS: tuple[tuple[type[AciError], ev.OutcomeKind], ...] = (
    (ImagePullError, "pull_failed"),
    (QuotaError, "quota"),
    (CapacityError, "capacity"),
    (AuthError, "auth"),
    (NameTaken, "name_taken"),
    (Transient, "unreachable"),
    (ServiceError, "refused"),
)


def outcome_of_error(error: AciError) -> ev.Outcome:
    """The outcome of a run that this error ended."""
    kind: ev.OutcomeKind = next((kind for cls, kind in _KINDS if isinstance(error, cls)), "error")
    return ev.Outcome(kind, reason=error.message, hint=error.hint, complete=False, status=error.status, code=error.code)


@dataclass(frozen=True, slots=True)
class Course:
    """How a run is driven: `adopt` follows an existing group, `foreground` is what a cell waits for."""

    adopt: bool = False
    foreground: bool = True
    attach: bool = True


def drive(
    record: RunRecord, plan: GroupPlan | None, backend: Backend, clock: Clock, wish: Wish, emit: Emit, budget: Budget, course: Course
) -> None:
    """Drives one run to its end and its group out of the world. Returns when both are done; raises nothing but bugs.

    `plan` is None exactly when `course.adopt`.
    """
    _Driver(record, plan, backend, clock, wish, emit, budget, course).drive()


class _Driver:
    def __init__(
        self,
        record: RunRecord,
        plan: GroupPlan | None,
        backend: Backend,
        clock: Clock,
        wish: Wish,
        emit: Emit,
        budget: Budget,
        course: Course,
    ) -> None:
        self.record = record
        self.plan = plan
        self.backend = backend
        self.clock = clock
        self.wish = wish
        self._emit = emit
        self.budget = budget
        self.course = course
        self.name = record.name
        self.spec = record.spec
        self.born = clock.monotonic()
        self.cursor = LogCursor(framed=record.spec.has_runner)
        self.parcels = Parcels()
        self.pace = Pace(self.born)
        self.snapshot: GroupSnapshot | None = None
        self.attachment: Attachment | None = None
        self.attach_tried = False
        self.framed_yet = False
        self.missing = 0
        self.failures = 0
        self.polls = 0

    def emit(self, event: ev.Event) -> None:
        self.record = self._emit(event)

    # -- the whole ------------------------------------------------------------------------------------------------

    def drive(self) -> None:
        outcome: ev.Outcome | None = None
        try:
            if self.course.adopt:
                self.emit(ev.Adopted(self.clock.now()))
            else:
                self._create()
            outcome = self._follow()
        except _Refused as refused:
            outcome = refused.outcome
        except _WishMet:
            outcome = None if self.wish.kind == "detach" else ev.Outcome("cancelled", reason=self.record.cancel_reason or "cancelled")
        except AciError as error:
            outcome = outcome_of_error(error)
        except BaseException as error:
            outcome = ev.Outcome("error", reason=f"{type(error).__name__}: {error}", complete=False)
            raise
        finally:
            self._close_attachment()
            if outcome is None:
                self.emit(ev.Detached(self.clock.now()))
            else:
                self._leave(outcome)

    def _leave(self, outcome: ev.Outcome) -> None:
        """Says the end and removes the group, in this order; the group goes whatever display or disk say to the end."""
        kept = self.spec.keep == "always" or (self.spec.keep == "failed" and not outcome.succeeded)
        kept = kept and outcome.kind != "cancelled" and self.record.group == "alive"
        try:
            self.emit(ev.Ended(self.clock.now(), outcome))
        finally:
            if kept:
                self.emit(ev.GroupKept(self.clock.now()))
            elif self.record.group in {"asked", "alive", "deleting"}:
                remove(self.backend, self.clock, self.name, self.record.run_id, self.emit, sure=self.record.group != "asked")

    # -- create ---------------------------------------------------------------------------------------------------

    def _create(self) -> None:
        plan = self.plan
        assert plan is not None
        self._check_wish()
        if self.spec.name is not None:
            self._refuse_taken_name()
        deadline = self.born + self.spec.start_timeout_s
        self.emit(ev.CreateRequested(self.clock.now()))
        while True:
            self._check_wish()
            try:
                made = self.backend.create(plan)
            except Transient as error:
                found = self._look(deadline)
                if found is not None and found.tags.get(RUN_TAG) == self.record.run_id:
                    made = found
                else:
                    self._ride_out("create", error, deadline)
                    continue
            except AciError as error:
                raise _Refused(outcome_of_error(error)) from error
            self._recovered()
            self.emit(ev.CreateAccepted(self.clock.now(), made.location))
            self._see(made)
            return

    def _refuse_taken_name(self) -> None:
        deadline = self.born + self.spec.start_timeout_s
        found = self._look(deadline)
        if found is not None and found.tags.get(RUN_TAG) != self.record.run_id:
            owner = found.tags.get(RUN_TAG)
            whose = f"run {owner}" if owner else "somebody else"
            error = NameTaken(
                f"a container group {self.name} exists already (of {whose})",
                hint="choose another --name, or leave --name out: every run then gets a name of its own",
            )
            raise _Refused(outcome_of_error(error))

    def _look(self, deadline: float) -> GroupSnapshot | None:
        """One sure answer to whether the group exists, within the deadline."""
        while True:
            self._check_wish()
            try:
                found = self.backend.get(self.name)
            except Transient as error:
                self._ride_out("look", error, deadline)
                continue
            self._recovered()
            return found

    # -- follow ---------------------------------------------------------------------------------------------------

    def _follow(self) -> ev.Outcome:
        while True:
            self._check_wish()
            self._check_deadlines()
            verdict = self._step()
            if verdict is not None:
                return verdict
            if not self.cursor.hungry:
                self._pause(self.pace.interval_s(self.clock.monotonic()))
            verdict = self._closing_verdict()
            if verdict is not None:
                return verdict

    def _step(self) -> ev.Outcome | None:
        """One look at the run: at its log, or at its state while there is no log, and now and then in doubt."""
        self.polls += 1
        running = later("starting", self.record.phase) or self.framed_yet
        doubt = running and not self.cursor.hungry and self.polls % STATE_EVERY == 0 and not self.pace.flowing
        if not running or doubt or not self.spec.has_runner:
            verdict = self._read_state()
            if verdict is not None:
                return self._collect(verdict)
            running = later("starting", self.record.phase)
            if not running or doubt:
                return None
        if self.course.attach and not self.attach_tried:
            self._attach()
        self._read_logs()
        return self._closing_verdict()

    def _closing_verdict(self) -> ev.Outcome | None:
        closing = self.cursor.closing
        if closing is None:
            return None
        self._lose_unfinished()
        return self._with_outputs(verdict_of_frame(closing.values, complete=self.record.gaps == 0))

    def _read_state(self) -> ev.Outcome | None:
        try:
            self._spend()
            found = self.backend.get(self.name)
        except (Transient, AuthError) as error:
            self._trouble("get", error)
            return None
        self._recovered()
        self.pace.took(fresh=False)
        if found is None:
            self.missing += 1
            if self.missing >= MISSING_LOOKS:
                return ev.Outcome("lost", reason="the container group is gone: somebody else deleted it", complete=False)
            return None
        self.missing = 0
        self._see(found)
        trouble = pull_trouble(found)
        if trouble is not None and not later("starting", self.record.phase):
            hint = "check the name and the tag of --image, and whether its registry needs a credential"
            return ev.Outcome("pull_failed", reason=trouble.message, hint=hint, complete=False)
        return verdict_of_state(found)

    def _see(self, found: GroupSnapshot) -> None:
        for event in observe(self.snapshot, found, self.record.phase, self.clock.now()):
            self.emit(event)
        self.snapshot = found

    def _read_logs(self) -> None:
        try:
            self._spend()
            content = self.backend.logs(self.name, self.name, self.cursor.tail())
        except (Transient, AuthError) as error:
            self._trouble("logs", error)
            return
        self._recovered()
        was_hungry = self.cursor.hungry
        before = self.cursor.next_number
        items = self.cursor.read(content)
        if was_hungry and self.cursor.waiting and not self.cursor.hungry:
            items += self.cursor.give_up()
        self.pace.took(fresh=bool(items) or self.cursor.next_number != before)
        self._tell(items)

    def _tell(self, items: list[Item]) -> None:
        now = self.clock.now()
        text = bytearray()

        def flush() -> None:
            if text:
                self.emit(ev.TextReceived(now, bytes(text)))
                text.clear()

        for item in items:
            if isinstance(item, Text) and not item.traceback:
                self.framed_yet = True
                text += item.data
                continue
            flush()
            self._tell_one(item, now)
        flush()

    def _tell_one(self, item: Item, now: datetime) -> None:
        match item:
            case Text():
                self.emit(ev.TextReceived(now, item.data, traceback=item.traceback))
            case Progress():
                self.emit(ev.ProgressReceived(now, item.text))
            case Gap():
                self.emit(ev.GapFound(now, item.lines))
            case House():
                self.framed_yet = True
                self.emit(ev.HouseSaid(now, item.word, item.values))
                self._arrive(self.parcels.take(item), now)
            case Chunk():
                self._arrive(self.parcels.take(item), now)
            case _:
                assert_never(item)

    def _arrive(self, done: Parcel | Lost | None, now: datetime) -> None:
        match done:
            case None:
                return
            case Parcel():
                self.emit(ev.ObjectArrived(now, done.name, done.kind, done.type_name, done.data))
            case Lost():
                self.emit(ev.ObjectSkipped(now, done.name, done.reason))
            case _:
                assert_never(done)

    def _lose_unfinished(self) -> None:
        for lost in self.parcels.unfinished():
            self.emit(ev.ObjectSkipped(self.clock.now(), lost.name, lost.reason))

    def _with_outputs(self, outcome: ev.Outcome) -> ev.Outcome:
        """A success without a variable that was asked for is none."""
        if not outcome.succeeded:
            return outcome
        skipped = [home for home in self.record.homes if home.reason and home.name.startswith(("var:", "path:"))]
        if not skipped:
            return outcome
        words = "; ".join(f"{home.name.split(':', 1)[1]}: {home.reason}" for home in skipped)
        return replace(outcome, kind="output_missing", reason=words, hint="the program itself succeeded; the other outputs are here")

    # -- collect --------------------------------------------------------------------------------------------------

    def _collect(self, verdict: ev.Outcome) -> ev.Outcome:
        """The state says that it is over: the log is read once more, whole, before the group may go."""
        if verdict.kind in {"lost", "pull_failed"}:
            self._tell(self.cursor.give_up())
            return verdict
        if later(self.record.phase, "collecting"):
            now = self.clock.now()
            self.emit(ev.PhaseEntered(now, "collecting", now))
        deadline = self.clock.monotonic() + COLLECT_FOR_S
        whole = False
        while not whole and not self.cursor.complete and self.clock.monotonic() < deadline:
            self._check_wish()
            asked = self.cursor.tail()
            try:
                content = self.backend.logs(self.name, self.name, asked)
            except (Transient, AuthError) as error:
                self._trouble("logs", error)
                self.wish.wait(RETRY_LEAST_S)
                continue
            self._tell(self.cursor.read(content))
            whole = not self.cursor.hungry
        self._recovered()
        self._tell(self.cursor.give_up())
        said = self._closing_verdict()
        if said is not None:
            return said
        self._lose_unfinished()
        return replace(verdict, complete=whole and not self.spec.has_runner and self.record.gaps == 0)

    # -- waiting, trouble, wishes ---------------------------------------------------------------------------------

    def _attach(self) -> None:
        self.attach_tried = True
        self.attachment = self.backend.attach(self.name, self.name)
        self.pace.attached = self.attachment is not None

    def _close_attachment(self) -> None:
        if self.attachment is not None:
            self.attachment.close()
            self.attachment = None
            self.pace.attached = False

    def _pause(self, seconds: float) -> None:
        """Waits for the next read; text from the websocket is told as it comes and a closed one ends the wait."""
        until = self.clock.monotonic() + seconds
        while (left := until - self.clock.monotonic()) > 0:
            if self.attachment is None:
                if self.wish.wait(left):
                    self._check_wish()
                return
            heard = self.attachment.receive(min(left, 0.2))
            if self.wish.kind:
                self._check_wish()
            if heard is None:
                self._close_attachment()
                return
            if heard:
                self._tell(self.cursor.heard(heard))
                if self.cursor.closing is not None or self.cursor.waiting:
                    return

    def _spend(self) -> None:
        left = self.backend.remaining_reads()
        if left is not None:
            self.budget.remaining(left)
        delay = self.budget.delay_s(self.clock.monotonic(), foreground=self.course.foreground)
        if delay > 0 and self.wish.wait(delay):
            self._check_wish()

    def _trouble(self, request: str, error: AciError) -> float:
        """Notes a failed request; the seconds to wait before the next one."""
        self.failures += 1
        asked = error.retry_after_s if isinstance(error, Transient) else None
        wait = asked if asked is not None else min(RETRY_MOST_S, RETRY_LEAST_S * 2 ** min(self.failures - 1, 8))
        self.emit(ev.TroubleMet(self.clock.now(), request, error.message, wait))
        if self.wish.wait(wait if self.failures > 1 or asked is not None else 0.05):
            self._check_wish()
        return wait

    def _ride_out(self, request: str, error: AciError, deadline: float) -> None:
        self._trouble(request, error)
        if self.clock.monotonic() >= deadline:
            raise error

    def _recovered(self) -> None:
        if self.failures:
            self.failures = 0
            self.emit(ev.TroublePassed(self.clock.now()))

    def _check_wish(self) -> None:
        if self.wish.kind:
            raise _WishMet

    def _check_deadlines(self) -> None:
        age = self.clock.monotonic() - self.born
        if not later("starting", self.record.phase) and not self.framed_yet:
            if age > self.spec.start_timeout_s:
                last = self.record.platform_events[-1].message if self.record.platform_events else "the service said no reason"
                outcome = ev.Outcome(
                    "start_timeout",
                    reason=f"the container did not start within {self.spec.start_timeout_s:.0f} s; last word: {last}",
                    hint="wait longer with --start-timeout, or try another --location or a smaller size",
                    complete=False,
                )
                raise _Refused(outcome)
        elif self.course.adopt:
            return
        elif age > self.spec.start_timeout_s + self.spec.timeout_s + GRACE_S:
            raise _Refused(ev.Outcome("timeout", reason="the time given by --timeout was used up", hint="--timeout", complete=False))


def remove(backend: Backend, clock: Clock, name: str, run_id: str, emit: Tell, *, sure: bool = True) -> bool:
    """Deletes the group and verifies that it is gone; True when a GET said so. Needs no wish and obeys none.

    `sure=False`: it is not known whether the group was ever made, or by whom: it is looked at first, and left alone where its tag is
    another run's.
    """
    deadline = clock.monotonic() + DELETE_FOR_S
    step = _Backoff(clock)
    if not sure:
        exists = _exists(backend, clock, name, run_id, step, deadline)
        if exists is None:
            emit(ev.DeleteUnverified(clock.now(), "the service did not say whether the group exists"))
            return False
        if not exists:
            emit(ev.DeleteVerified(clock.now()))
            return True
    reason = "the service did not answer"

    def on_sent() -> None:
        emit(ev.DeleteRequested(clock.now()))

    while clock.monotonic() < deadline:
        try:
            backend.delete(name, on_sent)
        except (Transient, AuthError) as error:
            reason = error.message
            step.wait(error)
        except AciError as error:
            reason = error.message
            break
        else:
            return _verify(backend, clock, name, run_id, emit, step)
    emit(ev.DeleteUnverified(clock.now(), reason))
    return False


def _exists(backend: Backend, clock: Clock, name: str, run_id: str, step: _Backoff, deadline: float) -> bool | None:
    """Whether the group exists and is this run's; None where the service gave no answer in time."""
    while clock.monotonic() < deadline:
        try:
            found = backend.get(name)
        except (Transient, AuthError) as error:
            step.wait(error)
            continue
        return found is not None and found.tags.get(RUN_TAG) == run_id
    return None


def _verify(backend: Backend, clock: Clock, name: str, run_id: str, emit: Tell, step: _Backoff) -> bool:
    deadline = clock.monotonic() + VERIFY_FOR_S
    again_at = clock.monotonic() + VERIFY_FOR_S / 4
    reason = "it still answers"
    while clock.monotonic() < deadline:
        try:
            found = backend.get(name)
            if found is None or found.tags.get(RUN_TAG, run_id) != run_id:
                emit(ev.DeleteVerified(clock.now()))
                return True
            if clock.monotonic() > again_at:
                again_at = deadline
                backend.delete(name)
        except (Transient, AuthError) as error:
            reason = error.message
        step.wait(None)
    emit(ev.DeleteUnverified(clock.now(), reason))
    return False


class _Backoff:
    """Waits between tries of a deletion: nobody's wish shortens them, the service's own words lengthen them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.tries = 0

    def wait(self, error: AciError | None) -> None:
        asked = error.retry_after_s if isinstance(error, Transient) else None
        seconds = asked if asked is not None else min(5.0, 0.1 * 2 ** min(self.tries, 6))
        self.tries += 1
        self.clock.sleep(min(seconds, 30.0))
