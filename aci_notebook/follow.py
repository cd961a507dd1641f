"""Following a run until it is over: one reader, of its log where there is one, of its state while there is none or in doubt.

The closing frame of the runner decides the end, or the container's state; a failed or missing read never does. Where the attach
websocket can be had, text comes by itself and the polls only check it; lines from either source are merged by number. After a
verdict by state the log is read once more, whole: then what the service still holds is here, and what it lost is told as a gap.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from . import events as ev
from .errors import AuthError, Transient
from .logs import Chunk, Gap, House, Item, LogCursor, Progress, Text
from .pace import Budget, Pace
from .parcels import Lost, Parcel, Parcels
from .snapshot import GroupSnapshot
from .stage import Attachment, Course, Refused, Stage
from .transitions import later, observe, pull_trouble, verdict_of_frame, verdict_of_state

COLLECT_FOR_S = 60.0
MISSING_LOOKS = 3
MISSING_AGE_S = 30.0
STATE_EVERY = 3
GRACE_S = 60.0
HEAR_SLICE_S = 0.2


class Follower:
    """Follows one run. `follow` returns how it ended; raises WishMet for a wish, Refused for a deadline."""

    def __init__(self, stage: Stage, budget: Budget, course: Course) -> None:
        self.stage = stage
        self.budget = budget
        self.course = course
        self.spec = stage.record.spec
        self.name = stage.record.name
        self.cursor = LogCursor(framed=self.spec.has_runner)
        self.parcels = Parcels()
        self.pace = Pace(stage.born)
        self._snapshot: GroupSnapshot | None = None
        self._attachment: Attachment | None = None
        self._attach_tried = False
        self._framed_yet = False
        self._doubt = False
        self._missing = 0
        self._polls = 0

    def follow(self) -> ev.Outcome:
        """The outcome of the run, when everything the service holds of it is here."""
        try:
            while True:
                self.stage.check_wish()
                self._check_deadlines()
                verdict = self._step() or self._closing_verdict()
                if verdict is not None:
                    return verdict
                if not self.cursor.hungry:
                    self._pause(self.pace.interval_s(self.stage.clock.monotonic()))
                else:
                    self.stage.pause(self.stage.put_off_s())
                verdict = self._closing_verdict()
                if verdict is not None:
                    return verdict
        finally:
            self._close_attachment()

    def see(self, found: GroupSnapshot) -> None:
        """Tells what a snapshot shows that the one before did not."""
        for event in observe(self._snapshot, found, self.stage.record.phase, self.stage.clock.now()):
            self.stage.emit(event)
        self._snapshot = found

    # -- one look -------------------------------------------------------------------------------------------------

    @property
    def _running(self) -> bool:
        return self._framed_yet or self.stage.record.phase in {"installing", "running", "collecting"}

    def _step(self) -> ev.Outcome | None:
        self._polls += 1
        quiet_turn = self._polls % STATE_EVERY == 0 and not self.pace.flowing and not self.cursor.hungry
        doubt = self._doubt or (self._running and quiet_turn)
        if not self._running or (doubt and not self._doubt) or not self.spec.has_runner:
            verdict = self._read_state()
            if verdict is not None:
                return self._collect(verdict)
            if not self._running or (doubt and self.spec.has_runner):
                return None
        if self.course.attach and self.spec.has_runner and not self._attach_tried:
            self._attach()
        self._read_logs()
        if self._doubt and self.cursor.closing is None:
            self._doubt = False
            verdict = self._read_state()
            return self._collect(verdict) if verdict is not None else None
        return None

    def _closing_verdict(self) -> ev.Outcome | None:
        closing = self.cursor.closing
        if closing is None:
            return None
        self._lose_unfinished()
        return self._with_outputs(verdict_of_frame(closing.values, complete=self.stage.record.gaps == 0))

    def _read_state(self) -> ev.Outcome | None:
        try:
            self._spend()
            found = self.stage.backend.get(self.name)
        except (Transient, AuthError) as error:
            self.stage.trouble("get", error)
            return None
        self.stage.recovered()
        self.pace.took(fresh=False)
        if found is None:
            return self._missed()
        self._missing = 0
        self.see(found)
        trouble = pull_trouble(found)
        if trouble is not None and not self._running:
            hint = "check the name and the tag of --image, and whether its registry needs a credential"
            return ev.Outcome("pull_failed", reason=trouble.message, hint=hint, complete=False)
        return verdict_of_state(found)

    def _missed(self) -> ev.Outcome | None:
        """A 404: believed after a few, and right after a create only after a while (the service is eventually consistent)."""
        self._missing += 1
        if self._missing < MISSING_LOOKS or (self._snapshot is None and self.stage.age_s() < MISSING_AGE_S):
            return None
        return ev.Outcome("lost", reason="the container group is gone: somebody else deleted it", hint="run the cell again", complete=False)

    def _read_logs(self) -> None:
        try:
            self._spend()
            content = self.stage.backend.logs(self.name, self.name, self.cursor.tail())
        except (Transient, AuthError) as error:
            self.stage.trouble("logs", error)
            return
        self.stage.recovered()
        was_hungry, before = self.cursor.hungry, self.cursor.next_number
        items = self.cursor.read(content)
        if was_hungry and self.cursor.waiting and not self.cursor.hungry:
            items += self.cursor.give_up()
        self.pace.took(fresh=bool(items) or self.cursor.next_number != before)
        self._tell(items)

    # -- telling --------------------------------------------------------------------------------------------------

    def _tell(self, items: list[Item]) -> None:
        now = self.stage.clock.now()
        text = bytearray()

        def flush() -> None:
            if text:
                self.stage.emit(ev.TextReceived(now, bytes(text)))
                text.clear()

        for item in items:
            if isinstance(item, Text) and not item.traceback:
                self._framed_yet = True
                text += item.data
                continue
            flush()
            self._tell_one(item, now)
        flush()

    def _tell_one(self, item: Item, now: datetime) -> None:
        match item:
            case Text():
                self.stage.emit(ev.TextReceived(now, item.data, traceback=item.traceback))
            case Progress():
                self.stage.emit(ev.ProgressReceived(now, item.text))
            case Gap():
                self.stage.emit(ev.GapFound(now, item.lines))
            case House():
                self._framed_yet = True
                self.stage.emit(ev.HouseSaid(now, item.word, item.values))
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
                self.stage.emit(ev.ObjectArrived(now, done.name, done.kind, done.type_name, done.data))
            case Lost():
                self.stage.emit(ev.ObjectSkipped(now, done.name, done.reason))
            case _:
                assert_never(done)

    def _lose_unfinished(self) -> None:
        for lost in self.parcels.unfinished():
            self.stage.emit(ev.ObjectSkipped(self.stage.clock.now(), lost.name, lost.reason))

    def _with_outputs(self, outcome: ev.Outcome) -> ev.Outcome:
        """A success without a variable that was asked for is none."""
        skipped = [home for home in self.stage.record.homes if home.reason and home.name.startswith(("var:", "path:"))]
        if not outcome.succeeded or not skipped:
            return outcome
        words = "; ".join(f"{home.name.split(':', 1)[1]}: {home.reason}" for home in skipped)
        return replace(outcome, kind="output_missing", reason=words, hint="the program itself succeeded; the other outputs are here")

    # -- the end by state -----------------------------------------------------------------------------------------

    def _collect(self, verdict: ev.Outcome) -> ev.Outcome:
        """The state says that it is over: the log is read once more, whole, before the group may go."""
        if verdict.kind in {"lost", "pull_failed"}:
            self._tell(self.cursor.give_up())
            return verdict
        stage = self.stage
        if later(stage.record.phase, "collecting"):
            now = stage.clock.now()
            stage.emit(ev.PhaseEntered(now, "collecting", now))
        deadline = stage.clock.monotonic() + COLLECT_FOR_S
        whole = False
        while not whole and not self.cursor.complete and stage.clock.monotonic() < deadline:
            stage.check_wish()
            try:
                content = stage.backend.logs(self.name, self.name, self.cursor.tail())
            except (Transient, AuthError) as error:
                stage.trouble("logs", error)
                stage.pause(stage.put_off_s())
                continue
            stage.recovered()
            self._tell(self.cursor.read(content))
            whole = not self.cursor.hungry
        self._tell(self.cursor.give_up())
        said = self._closing_verdict()
        if said is not None:
            return said
        self._lose_unfinished()
        return replace(verdict, complete=whole and not self.spec.has_runner and stage.record.gaps == 0)

    # -- waiting --------------------------------------------------------------------------------------------------

    def _attach(self) -> None:
        self._attach_tried = True
        self._attachment = self.stage.backend.attach(self.name, self.name)
        self.pace.attached = self._attachment is not None

    def _close_attachment(self) -> None:
        if self._attachment is not None:
            self._attachment.close()
            self._attachment = None
            self.pace.attached = False

    def _pause(self, seconds: float) -> None:
        """Waits for the next read. Text from the websocket is told as it comes; its end, a gap or the closing frame end the wait."""
        clock = self.stage.clock
        until = clock.monotonic() + max(seconds, self.stage.put_off_s())
        while (left := until - clock.monotonic()) > 0:
            if self._attachment is None:
                self.stage.pause(left)
                return
            heard = self._attachment.receive(min(left, HEAR_SLICE_S))
            self.stage.check_wish()
            if heard is None:
                self._close_attachment()
                self._doubt = True
                return
            if heard:
                self._tell(self.cursor.heard(heard))
                if self.cursor.closing is not None or (self.cursor.waiting and not self.stage.put_off_s()):
                    return

    def _spend(self) -> None:
        remaining = self.stage.backend.remaining_reads()
        if remaining is not None:
            self.budget.remaining(remaining)
        self.stage.pause(self.budget.delay_s(self.stage.clock.monotonic(), foreground=self.course.foreground))

    def _check_deadlines(self) -> None:
        record, age = self.stage.record, self.stage.age_s()
        if not self._running:
            if age > self.spec.start_timeout_s:
                last = record.platform_events[-1].message if record.platform_events else record.trouble or "the service said no reason"
                reason = f"the container did not start within {self.spec.start_timeout_s:g} s; last word: {last}"
                hint = "wait longer with --start-timeout, or try another --location or a smaller size"
                raise Refused(ev.Outcome("start_timeout", reason=reason, hint=hint, complete=False))
        elif age > self.spec.start_timeout_s + self.spec.timeout_s + GRACE_S:
            raise Refused(
                ev.Outcome("timeout", reason="the time given by --timeout was used up", hint="give it more: --timeout", complete=False)
            )
