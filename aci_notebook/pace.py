"""When to ask next: the interval of one run's reader, and the budget that all runs of a kernel share. Pure, times are passed in.

A poll costs a request of the principal's (`aci-facts` §8: 12,000 reads an hour on the old model), so the pace follows what there is to
learn: the first looks come quickly, because a local or short job is over soon; text that flows is read every `FLOWING_S`; a quiet run
is asked every 5 % of its age, between 1 and 10 s; with an attach websocket the text comes by itself, and the polls only check it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

FIRST_LOOKS_S = (0.05, 0.1, 0.2, 0.4, 0.8)
FLOWING_S = 2.0
QUIET_SHARE = 0.05
QUIET_LEAST_S, QUIET_MOST_S = 1.0, 10.0
ATTACHED_S = 10.0


@dataclass(slots=True)
class Pace:
    """The interval to the next read of one run. Tell it what each read brought."""

    started: float
    attached: bool = False
    flowing: bool = False
    _reads: int = 0

    def took(self, *, fresh: bool) -> None:
        """A read was made; `fresh`: it brought text."""
        self._reads += 1
        self.flowing = fresh

    def interval_s(self, now: float) -> float:
        """Seconds until the next read."""
        if self.attached:
            return ATTACHED_S
        if self._reads < len(FIRST_LOOKS_S):
            return FIRST_LOOKS_S[self._reads]
        if self.flowing:
            return FLOWING_S
        return min(QUIET_MOST_S, max(QUIET_LEAST_S, QUIET_SHARE * (now - self.started)))


class Budget:
    """Reads per hour that the runs of this kernel share: a bucket that refills; whoever finds it empty waits for the refill.

    The run that a cell waits for is served from a reserve of its own, so that background runs never slow it down. `remaining` takes
    what the service says is left for this principal, and keeps a share of it for other kernels.
    """

    BURST = 300

    def __init__(self, per_hour: float = 11_000.0) -> None:
        self._rate = per_hour / 3600.0
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
        self._tokens = min(self.BURST, self._tokens + passed * self._rate * 0.8)
        self._reserve = min(self.BURST, self._reserve + passed * self._rate * 0.2)
