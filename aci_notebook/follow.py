"""Following a run until it is over: one reader, of its log where there is one, of its state while there is none or in doubt.

The closing frame of the runner decides the end, or the container's state; a failed or missing read never does. Where the attach
websocket can be had, text comes by itself and the polls only check it; lines from either source are merged by number. How a run
without a closing frame ends, and what is read then, is in `ending`.
"""

from __future__ import annotations

from . import events as ev
from .ending import Ending
from .errors import AuthError, Transient
from .logs import House, Item, LogCursor
from .pace import FLOWING_S, Budget, Pace
from .payload import other_run
from .snapshot import GroupSnapshot
from .stage import Attachment, Course, Refused, Stage, outcome_of_error
from .telling import Teller
from .transitions import HINTS, lost, observe, pull_trouble, verdict_of_state

MISSING_LOOKS, MISSING_EVERY_S = 3, 0.5
MISSING_AFTER_CREATE_S = 30.0
EMPTY_LOOKS, EMPTY_EVERY_S = 12, 0.5
STATE_EVERY_FRAMED, STATE_EVERY_RAW = 6, 5
GRACE_S = 60.0
HEAR_SLICE_S = 0.2
TWICE = "the platform began the container anew while the program ran; what had begun a second time was ended"


class Follower:
    """Follows one run. `follow` returns how it ended; raises WishMet for a wish, Refused for a deadline or a second run."""

    def __init__(self, stage: Stage, budget: Budget, course: Course) -> None:
        self.stage = stage
        self.budget = budget
        self.course = course
        self.spec = stage.record.spec
        self.name = stage.record.name
        self.cursor = LogCursor(framed=self.spec.has_runner, run_id=stage.record.run_id)
        self.teller = Teller(stage)
        self.pace = Pace(stage.born)
        self.ending = Ending(self)
        self._snapshot: GroupSnapshot | None = None
        self._begun = False
        self._answered = course.adopt
        self._attachment: Attachment | None = None
        self._attach_tried = False
        self._doubt = False
        self._had_log = False
        self._logs_since_state = 0
        self._empty_in_a_row = 0
        self._missing = 0
        self._read_at = self._news_at = stage.born

    def follow(self) -> ev.Outcome:
        """The outcome of the run, when everything the service holds of it is here."""
        try:
            while True:
                self.stage.check_wish()
                self._check_deadlines()
                verdict = self._look() or self.ending.by_frame()
                if verdict is not None:
                    return verdict
                self._pause(0.0 if self.cursor.hungry else self._interval_s())
                verdict = self.ending.by_frame()
                if verdict is not None:
                    return verdict
        finally:
            self._close_attachment()

    def see(self, found: GroupSnapshot) -> None:
        """Tells what a snapshot shows that the one before did not."""
        for event in observe(self._snapshot, found, self.stage.record.phase, self.stage.clock.now(), runner=self.spec.has_runner):
            self.stage.emit(event)
        self._snapshot = found
        container = found.container()
        self._begun = self._begun or (container is not None and container.state in {"Running", "Terminated"})

    def has_begun(self) -> bool:
        """Whether the container is known to have begun."""
        return self._begun or self.teller.framed

    # -- one look -------------------------------------------------------------------------------------------------

    def _look(self) -> ev.Outcome | None:
        """One read, or two: of the state where it is due, else of the log; of the state too where the log raised doubt."""
        if not self.has_begun():
            verdict = self._read_state()
            if verdict is not None or not self.has_begun():
                return self._ended(verdict)
            self.pace.hurry()
        elif self._state_is_due():
            return self._ended(self._read_state())
        if self.course.attach and self.spec.has_runner and not self._attach_tried:
            self._attach()
        self._read_logs()
        if self._doubt and self.cursor.closing is None:
            return self._ended(self._read_state())
        return None

    def _ended(self, verdict: ev.Outcome | None) -> ev.Outcome | None:
        return None if verdict is None else self.ending.by_state(verdict)

    def _state_is_due(self) -> bool:
        if self._missing or self._doubt:
            return True
        if self.cursor.hungry:
            return False
        if not self._had_log:
            return self._logs_since_state >= 1
        if self.spec.has_runner:
            silent = self._read_at - self._news_at > self.pace.overdue_s(self._read_at, self._news_at)
            return silent and self._logs_since_state >= STATE_EVERY_FRAMED
        return self._logs_since_state >= (STATE_EVERY_RAW if self.pace.flowing else 1)

    def _read_state(self) -> ev.Outcome | None:
        try:
            self._spend()
            found = self.stage.backend.get(self.name)
        except (Transient, AuthError) as error:
            self.stage.trouble("get", error)
            return None
        self.stage.recovered()
        self._doubt, self._logs_since_state = False, 0
        if found is None or other_run(found.tags, self.stage.record.run_id):
            return self._missed(found)
        self._missing, self._answered = 0, True
        self.see(found)
        trouble = pull_trouble(found)
        if trouble is not None and not self.has_begun():
            hint = "check the name and the tag of --image, and whether its registry needs a credential"
            return ev.Outcome("pull_failed", reason=trouble.message, hint=hint, complete=False)
        return verdict_of_state(found)

    def _missed(self, found: GroupSnapshot | None) -> ev.Outcome | None:
        """A 404, or a group of that name that is another run's: believed after a few, and right after a create only after a while (the
        service is eventually consistent)."""
        self._missing += 1
        if self._missing < MISSING_LOOKS or (not self._answered and self.stage.age_s() < MISSING_AFTER_CREATE_S):
            return None
        return lost(self.name, other_run(found.tags, self.stage.record.run_id) if found else "")

    def _read_logs(self) -> None:
        try:
            self._spend()
            content = self.stage.backend.logs(self.name, self.name, self.cursor.tail())
        except (Transient, AuthError) as error:
            self.stage.trouble("logs", error)
            return
        self.stage.recovered()
        self._read_at = self.stage.clock.monotonic()
        self._logs_since_state += 1
        self._empty_in_a_row = 0 if content else self._empty_in_a_row + 1
        if self._had_log and self._empty_in_a_row in {1, 4, 16}:
            self._doubt = True  # a log that was there is not: the group may be stopped or gone
        self._had_log = self._had_log or bool(content)
        items = self._take(self.cursor.read(content))
        self._doubt = self._doubt or self.cursor.alien
        if content:
            self.pace.took(fresh=any(_speaks(item) for item in items), size=len(content))

    def _take(self, items: list[Item]) -> list[Item]:
        """Tells what is new. A container that began anew, its mark lost, runs the program a second time: without --retries it is ended."""
        if items:
            self._news_at = self.stage.clock.monotonic()
        anew = next((place for place, item in enumerate(items) if isinstance(item, House) and item.word == "anew"), None)
        if anew is not None and not self.spec.retries:
            self.teller.tell(items[: anew + 1])
            raise Refused(ev.Outcome("restarted", reason=TWICE, hint=HINTS["restarted"], complete=False))
        self.teller.tell(items)
        return items

    def _spend(self) -> None:
        remaining = self.stage.backend.remaining_reads()
        if remaining is not None:
            self.budget.remaining(remaining)
        self.stage.pause(self.budget.delay_s(self.stage.clock.monotonic(), foreground=self.course.foreground))
        self.pace.asks(self.stage.clock.monotonic())

    # -- waiting --------------------------------------------------------------------------------------------------

    def _interval_s(self) -> float:
        if self._missing:
            return MISSING_EVERY_S
        if self._had_log and 0 < self._empty_in_a_row <= EMPTY_LOOKS:
            return EMPTY_EVERY_S
        return self.pace.interval_s(self.stage.clock.monotonic())

    def _attach(self) -> None:
        self._attach_tried = True
        self._attachment = self.stage.backend.attach(self.name, self.name)
        self.pace.attached = self._attachment is not None

    def _close_attachment(self) -> None:
        if self._attachment is not None:
            self._attachment.close()
            self._attachment = None
            self.pace.attached = False
            self.cursor.deaf()

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
                self._doubt = self.cursor.closing is None
                until = clock.monotonic() + self.stage.put_off_s()
                continue
            self._take(self.cursor.heard(heard))
            if self.cursor.closing is not None:
                return
            if self.cursor.waiting:
                until = min(until, max(self._read_at + FLOWING_S, clock.monotonic() + self.stage.put_off_s()))

    def _check_deadlines(self) -> None:
        record, age = self.stage.record, self.stage.age_s()
        if not self.has_begun():
            if age > self.spec.start_timeout_s:
                self._give_up_for_trouble()
                last = record.platform_events[-1].message if record.platform_events else "the service said no reason"
                reason = f"the container did not start within {self.spec.start_timeout_s:g} s; last word: {last}"
                hint = "wait longer with --start-timeout, or try another --location or a smaller size"
                raise Refused(ev.Outcome("start_timeout", reason=reason, hint=hint, complete=False))
        elif age > self.spec.start_timeout_s + self.spec.timeout_s + GRACE_S:
            self._give_up_for_trouble()
            raise Refused(
                ev.Outcome("timeout", reason="the time given by --timeout was used up", hint="give it more: --timeout", complete=False)
            )

    def _give_up_for_trouble(self) -> None:
        """The deadline has passed while the service did not answer: that is the reason, not the deadline."""
        if self.stage.last_trouble is not None:
            raise Refused(outcome_of_error(self.stage.last_trouble))


def _speaks(item: Item) -> bool:
    """Whether the item is news of the job; a sign of life of a silent one is none."""
    return not (isinstance(item, House) and item.word == "alive")
