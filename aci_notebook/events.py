"""What can happen to a run: a closed union of frozen events. `record.fold` and the consumers match on it exhaustively.

Every event carries `at`, an aware UTC instant given by the engine's clock. Add a class here, to `Event`, and to `record.fold`
(mypy's `assert_never` there finds what is missing).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from .snapshot import PlatformEvent

Phase = Literal["queued", "pulling", "starting", "installing", "running", "collecting", "ended"]
OutcomeKind = Literal[
    "succeeded", "failed", "oom", "timeout", "install_failed", "no_interpreter", "output_missing",
    "pull_failed", "start_timeout", "quota", "capacity", "refused", "auth", "name_taken",
    "evicted", "restarted", "stopped", "lost", "late", "cancelled", "unreachable", "error",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `exit_code` None: not said. `complete`: every line of the program's output is here."""

    kind: OutcomeKind
    exit_code: int | None = None
    reason: str = ""
    hint: str = ""
    signal: str = ""
    complete: bool = True
    peak_memory_bytes: int | None = None
    cpu_s: float | None = None
    install_s: float | None = None
    log_lines: int | None = None
    log_bytes: int | None = None
    status: int | None = None
    code: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.kind == "succeeded"


@dataclass(frozen=True, slots=True)
class CreateRequested:
    """The PUT is about to be sent; the record is on disk."""

    at: datetime


@dataclass(frozen=True, slots=True)
class CreateAccepted:
    """The service has the group: from here on it may cost money."""

    at: datetime
    location: str = ""


@dataclass(frozen=True, slots=True)
class Adopted:
    """Another kernel's run is followed from here."""

    at: datetime


@dataclass(frozen=True, slots=True)
class PhaseEntered:
    """The run is now in `phase`, since `since` (the service's own time where it said one, else `at`)."""

    at: datetime
    phase: Phase
    since: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PlatformNoted:
    """A platform event not seen before, or one that occurred again."""

    at: datetime
    event: PlatformEvent


@dataclass(frozen=True, slots=True)
class RestartSeen:
    """The platform restarted the container; the runner does not run the job again unless retries were asked for."""

    at: datetime
    count: int


@dataclass(frozen=True, slots=True)
class TextReceived:
    """Program output, exact bytes in order. `traceback`: lines that the raised exception shows."""

    at: datetime
    data: bytes = field(repr=False)
    traceback: bool = False


@dataclass(frozen=True, slots=True)
class ProgressReceived:
    """The present look of a progress bar."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class GapFound:
    """Output the service no longer holds; `lines` None: not even their number is known."""

    at: datetime
    lines: int | None


@dataclass(frozen=True, slots=True)
class HouseSaid:
    """A line of the runner (start, phase, install, retry, object, skip, warn, again, end)."""

    at: datetime
    word: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class ObjectArrived:
    """An object is home: `error`, `value`, `figure-N`, `var:NAME`, `path:P`."""

    at: datetime
    name: str
    kind: str
    type_name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ObjectSkipped:
    """An object that stayed in the container, and why."""

    at: datetime
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class TroubleMet:
    """A request failed and is tried again: nothing is concluded from it."""

    at: datetime
    request: str
    reason: str
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class TroublePassed:
    """The service answers again."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the person should know."""

    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """The person's wish to end the run."""

    at: datetime
    reason: str = "interrupted"


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over; the group may still be on its way out."""

    at: datetime
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Detached:
    """Nobody here follows the run any more; it goes on, bounded by its time-out."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GroupKept:
    """The group stays, because --keep says so."""

    at: datetime


@dataclass(frozen=True, slots=True)
class DeleteRequested:
    """The DELETE is on the wire."""

    at: datetime


@dataclass(frozen=True, slots=True)
class DeleteVerified:
    """A GET answered 404: the group is gone."""

    at: datetime


@dataclass(frozen=True, slots=True)
class DeleteUnverified:
    """The group may still exist and cost money; the next session looks again, and so does `%aci gc`."""

    at: datetime
    reason: str


Event = (
    CreateRequested
    | CreateAccepted
    | Adopted
    | PhaseEntered
    | PlatformNoted
    | RestartSeen
    | TextReceived
    | ProgressReceived
    | GapFound
    | HouseSaid
    | ObjectArrived
    | ObjectSkipped
    | TroubleMet
    | TroublePassed
    | Warned
    | CancelRequested
    | Ended
    | Detached
    | GroupKept
    | DeleteRequested
    | DeleteVerified
    | DeleteUnverified
)
