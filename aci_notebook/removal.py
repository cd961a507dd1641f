"""A container group leaves the world: deleted, and verified by a GET that answers 404.

Needs no wish and obeys none: whatever ended the run, this goes on. What could not be verified is told as such, with the reason; the history
keeps it, and the next session looks again.
"""

from __future__ import annotations

from . import events as ev
from .errors import AciError, AuthError, Transient
from .payload import RUN_TAG, other_run
from .stage import Backend, Clock, Tell

VERIFY_FOR_S = 60.0
DELETE_FOR_S = 120.0
LONGEST_ASKED_S = 900.0


def remove(backend: Backend, clock: Clock, name: str, run_id: str, emit: Tell, *, sure: bool = True, made: bool = False) -> bool:
    """Deletes the group and verifies that it is gone; True when a GET said so. Needs no wish and obeys none.

    `sure=False`: it is not known whether the group of that name is this run's: it is looked at first, and left alone where its tag is
    another run's, or where it has none and it is not known that this run `made` one.
    """
    deadline = clock.monotonic() + DELETE_FOR_S
    step = _Backoff(clock)
    if not sure:
        exists = _exists(backend, clock, name, run_id, step, deadline, untagged=made)
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
            deadline = max(deadline, step.wait(error))
        except AciError as error:
            reason = error.message
            break
        else:
            return _verify(backend, clock, name, run_id, emit, step)
    emit(ev.DeleteUnverified(clock.now(), reason))
    return False


def _exists(backend: Backend, clock: Clock, name: str, run_id: str, step: _Backoff, deadline: float, *, untagged: bool) -> bool | None:
    """Whether the group exists and is this run's (`untagged`: also one without our tag); None where no answer came in time."""
    while clock.monotonic() < deadline:
        try:
            found = backend.get(name)
        except (Transient, AuthError) as error:
            deadline = max(deadline, step.wait(error))
            continue
        except AciError:
            return None
        return found is not None and found.tags.get(RUN_TAG, run_id if untagged else "") == run_id
    return None


def _verify(backend: Backend, clock: Clock, name: str, run_id: str, emit: Tell, step: _Backoff) -> bool:
    deadline = clock.monotonic() + VERIFY_FOR_S
    again_at = clock.monotonic() + VERIFY_FOR_S / 4
    reason = "it still answers"
    while clock.monotonic() < deadline:
        try:
            found = backend.get(name)
            if found is None or other_run(found.tags, run_id):
                emit(ev.DeleteVerified(clock.now()))
                return True
            if clock.monotonic() > again_at:
                again_at = deadline
                backend.delete(name)
        except AciError as error:
            reason = error.message
            deadline = max(deadline, step.wait(error))
            continue
        step.wait(None)
    emit(ev.DeleteUnverified(clock.now(), reason))
    return False


class _Backoff:
    """Waits between tries of a deletion: nobody's wish shortens them, the service's own words lengthen them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.tries = 0

    def wait(self, error: AciError | None) -> float:
        """Waits; returns when a deadline should be at the earliest, because the service itself asked for the wait."""
        asked = error.retry_after_s if isinstance(error, Transient) else None
        seconds = min(LONGEST_ASKED_S, asked) if asked is not None else min(5.0, 0.1 * 2 ** min(self.tries, 6))
        self.tries += 1
        self.clock.sleep(seconds)
        return self.clock.monotonic() + 5.0 if asked is not None else 0.0
