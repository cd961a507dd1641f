"""When to ask next: the interval of one run's reader, and the budget that all runs of a kernel share. Pure, times are passed in.

A poll costs a request of the principal's (`aci-facts` §8: 12,000 reads an hour on the old model), so the pace follows what there is to
learn: the first looks come quickly, because a local or short job is over soon; text that flows is read every `FLOWING_S`; a quiet run
is asked every 5 % of its age, between 1 and 10 s; with an attach websocket the text comes by itself, and the polls only check it. A
quiet runner gives signs of life; the state is worth a read where one is overdue.
Reads of the log and of the state count together. A run that prints is kept at 30 reads a minute: quick looks are saved up again.
"""

from __future__ import annotations

import threading
from collections import deque

FIRST_LOOKS_S = (0.05, 0.1, 0.2, 0.4, 0.8)
FLOWING_S, FLOWING_MOST_S = 2.0, 3.0
FLOWING_PER_MINUTE = 30
MUCH, MUCH_EVERY_S, MUCH_READS = 300_000, 1.0, 20  # an answer of so many characters: the window slides, so the next reads come sooner
QUIET_SHARE = 0.05
QUIET_LEAST_S, QUIET_MOST_S = 1.0, 10.0
ATTACHED_S = 10.0
ALIVE_LEAST_S, ALIVE_MOST_S, ALIVE_SHARE, ALIVE_LATE_S = 2.0, 60.0, 0.25, 1.0  # the runner's `# alive`, and how late it may be read


class Pace:
    """The interval to the next read of one run. Tell it what each read brought."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.attached = False
        self.flowing = False
        self._looks = 0
        self._much = False
        self._asked: deque[float] = deque(maxlen=FLOWING_PER_MINUTE)

    def asks(self, now: float) -> None:
        """A read of the log or of the state is made."""
        self._asked.append(now)
        self._looks += 1

    def took(self, *, fresh: bool, size: int = 0) -> None:
        """A read of the log was answered; `fresh`: it brought text; `size`: of the whole answer."""
        self.flowing = fresh
        self._much = fresh and size > MUCH

    def hurry(self) -> None:
        """The program has just begun: it may be over in a moment."""
        self._looks = min(self._looks, 1)

    def interval_s(self, now: float) -> float:
        """Seconds until the next read."""
        if self.attached:
            return ATTACHED_S
        if self._looks < len(FIRST_LOOKS_S):
            return FIRST_LOOKS_S[self._looks]
        if self.flowing:
            if self._much and self._recent(now) < MUCH_READS:
                return MUCH_EVERY_S
            return max(FLOWING_S, min(FLOWING_MOST_S, self._spread(now)))
        return min(QUIET_MOST_S, max(QUIET_LEAST_S, QUIET_SHARE * (now - self.started)))

    def overdue_s(self, now: float, news_at: float) -> float:
        """How long after its last news a silent runner's container is in doubt: what its contract says, and what reading it takes."""
        beat = (news_at - self.started) * ALIVE_SHARE / (1 - ALIVE_SHARE)
        return max(ALIVE_LEAST_S, min(ALIVE_MOST_S, beat)) + ALIVE_LATE_S + 2 * self.interval_s(now)

    def _recent(self, now: float) -> int:
        return sum(now - at < 60 for at in self._asked)

    def _spread(self, now: float) -> float:
        """What is left of the last minute, over the reads that are left of it."""
        recent = [at for at in self._asked if now - at < 60]
        left = FLOWING_PER_MINUTE - len(recent)
        return (60 - (now - recent[0])) / max(1, left) if recent else 0.0


class Budget:
    """Reads per hour that the runs of this kernel share: a bucket that refills; whoever finds it empty waits for the refill.

    The run that a cell waits for is served from a reserve of its own, so that background runs never slow it down. `remaining` takes
    what the service says is left for this principal, and keeps half of it for other kernels.
    """

    BURST = 300
    RESERVED_SHARE = 0.2

    def __init__(self, per_hour: float = 11_000.0) -> None:
        self._reserve_rate = per_hour / 3600.0 * self.RESERVED_SHARE
        self._rate = per_hour / 3600.0 - self._reserve_rate
        self._tokens = float(self.BURST)
        self._reserve = float(self.BURST)
        self._at: float | None = None
        self._lock = threading.Lock()

    def delay_s(self, now: float, *, foreground: bool) -> float:
        """Takes one read; the seconds to wait before making it."""
        with self._lock:
            self._refill(now)
            if foreground and self._reserve >= 1:
                self._reserve -= 1
                return 0.0
            self._tokens -= 1
            return 0.0 if self._tokens >= 0 else -self._tokens / self._rate

    def remaining(self, count: int) -> None:
        """What the service's own header says is left: no more than half of it is spent in one burst."""
        with self._lock:
            self._tokens = min(self._tokens, count / 2)

    def _refill(self, now: float) -> None:
        passed = max(0.0, now - self._at) if self._at is not None else 0.0
        self._at = now
        self._tokens = min(self.BURST, self._tokens + passed * self._rate)
        self._reserve = min(self.BURST, self._reserve + passed * self._reserve_rate)
