"""What a run's life is played on: who answers, the clock, the wish to end, and how a failed request is ridden out.

`Stage` is what creating and following share. A failed request concludes nothing: it is told, and the next request waits for what the
service asked for, or for a growing while. The wish to end is looked at between any two requests and during every wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from . import events as ev
from .errors import AciError, AuthError, CapacityError, ImagePullError, NameTaken, QuotaError, ServiceError, Transient
from .payload import GroupPlan
from .record import RunRecord
from .snapshot import GroupSnapshot

RETRY_LEAST_S, RETRY_MOST_S = 0.5, 20.0
LONGEST_DEAF_S = 0.5
FIRST_RETRY_S = 0.05


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


class WishMet(Exception):
    """Leaves whatever is under way because of a wish."""


class Refused(Exception):
    """The run is over before its container said so; carries the outcome."""

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


class Stage:
    """One run with everything around it; `record` is always the latest."""

    def __init__(self, record: RunRecord, backend: Backend, clock: Clock, wish: Wish, emit: Emit) -> None:
        self.record = record
        self.backend = backend
        self.clock = clock
        self.wish = wish
        self.born = clock.monotonic()
        self.last_trouble: AciError | None = None
        self.only_cancel = False
        self._emit = emit
        self._failures = 0
        self._not_before = self.born

    def emit(self, event: ev.Event) -> None:
        """Tells what happened."""
        self.record = self._emit(event)

    def age_s(self) -> float:
        return self.clock.monotonic() - self.born

    def check_wish(self) -> None:
        """Raises WishMet where there is a wish; while a group is being made (`only_cancel`), only for the wish to cancel."""
        if self.wish.kind and not (self.only_cancel and self.wish.kind == "detach"):
            raise WishMet

    def pause(self, seconds: float) -> None:
        """Waits; raises WishMet at once when there is a wish."""
        if seconds <= 0:
            return
        if self.wish.wait(seconds):
            self.check_wish()
            self.clock.sleep(min(seconds, LONGEST_DEAF_S))

    def trouble(self, request: str, error: AciError) -> None:
        """Tells of a failed request and puts the next one off."""
        self._failures += 1
        self.last_trouble = error
        asked = error.retry_after_s if isinstance(error, Transient) else None
        grown = FIRST_RETRY_S if self._failures == 1 else min(RETRY_MOST_S, RETRY_LEAST_S * 2 ** min(self._failures - 2, 8))
        wait = grown if asked is None else asked
        self._not_before = self.clock.monotonic() + wait
        self.emit(ev.TroubleMet(self.clock.now(), request, error.message, wait))

    def put_off_s(self) -> float:
        """Seconds until the next request may be made."""
        return max(0.0, self._not_before - self.clock.monotonic())

    def ride_out(self, request: str, error: AciError, deadline: float) -> None:
        """Tells of a failed request and waits for the next try; raises the error when the deadline has passed."""
        self.trouble(request, error)
        self.pause(self.put_off_s())
        if self.clock.monotonic() >= deadline:
            raise error

    def recovered(self) -> None:
        """A request was answered."""
        self.last_trouble = None
        if self._failures:
            self._failures = 0
            self.emit(ev.TroublePassed(self.clock.now()))
