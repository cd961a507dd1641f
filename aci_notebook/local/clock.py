"""Time, as something handed in: the machine's own, or one that a test holds and advances (simulated runtime only)."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the groups know of time."""

    def now(self) -> datetime:
        """The instant, aware, in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed."""


class MachineClock:
    """The machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SteppedClock:
    """The machine's time plus what `advance` added; `freeze` leaves `advance` as the only way forward."""

    def __init__(self) -> None:
        self._offset = timedelta()
        self._frozen_at: datetime | None = None
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        return (self._frozen_at or datetime.now(UTC)) + self._offset

    def freeze(self) -> None:
        """Hold time where it is."""
        self._frozen_at = self._frozen_at or datetime.now(UTC)

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`; those whose sleep ends by then wake in the order of their instants."""
        self._offset += timedelta(seconds=seconds)
        self._wake()

    async def sleep(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        due_at = self.now() + timedelta(seconds=seconds)
        heapq.heappush(self._sleepers, (due_at, next(self._order), future))
        timer = None if self._frozen_at else loop.call_later(seconds, self._wake)
        self._wake()
        try:
            await future
        finally:
            if timer:
                timer.cancel()

    def _wake(self) -> None:
        while self._sleepers and self._sleepers[0][0] <= self.now():
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)
