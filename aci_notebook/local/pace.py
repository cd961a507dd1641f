"""How slowly the service shows what happens: at once, after n reads, or after seconds (aci-facts §2.5, T29).

The process behind a container is as fast as it is; a pace only delays a stage of the group: `pulling`, `starting`,
`ending` (the lag between a process's exit and its state) and `deleting`. Default: at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal, assert_never

from .clock import Clock

Stage = Literal["pulling", "starting", "ending", "deleting"]


@dataclass(frozen=True)
class AtOnce:
    """No delay of our own."""


@dataclass(frozen=True)
class AfterReads:
    """Each stage ends with the n-th GET (of the group, its operation or a list) since it began."""

    reads: int


@dataclass(frozen=True)
class AfterSeconds:
    """Each stage takes its seconds."""

    pulling_s: float = 0.0
    starting_s: float = 0.0
    end_lag_s: float = 0.0
    delete_s: float = 0.0


Lag = AtOnce | AfterReads | AfterSeconds

RECORDED = AfterSeconds(pulling_s=6.0, starting_s=11.0, end_lag_s=4.5, delete_s=4.0)
"""A small public image in 2023 (aci-facts §2.5, §4)."""


class ReadGate:
    """Counts the reads of one group and lets a stage pass after enough of them."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def count_read(self) -> None:
        """One GET was answered."""
        self._waiting = [(left - 1, future) for left, future in self._waiting if not future.done()]
        for left, future in self._waiting:
            if left <= 0:
                future.set_result(None)

    async def after(self, reads: int) -> None:
        """Return once `reads` more reads were counted."""
        if reads > 0:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((reads, future))
            await future


class Pace:
    """The lag in force for all groups; changing it affects stages that begin afterwards."""

    def __init__(self, clock: Clock, lag: Lag) -> None:
        self._clock = clock
        self.lag: Lag = lag

    async def pass_stage(self, stage: Stage, gate: ReadGate) -> None:
        """Return when `stage` may end."""
        match self.lag:
            case AtOnce():
                return
            case AfterReads(reads):
                if stage != "deleting":  # nobody reads while waiting for the answer to a DELETE
                    await gate.after(reads)
            case AfterSeconds(pulling_s, starting_s, end_lag_s, delete_s):
                seconds = {"pulling": pulling_s, "starting": starting_s, "ending": end_lag_s, "deleting": delete_s}
                await self._clock.sleep(seconds[stage])
            case unknown:
                assert_never(unknown)
