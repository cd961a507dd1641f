"""One started container of an engine, as the groups see it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..logwindow import Spool
from .attempt import UNKNOWN_EXIT, Attempt
from .engine_client import Engine, EngineFailed
from .engine_terminal import EngineTerminal
from .protocol import Exit
from .supervise import write_json

Do = Callable[..., Awaitable[Any]]


class EngineContainer:
    """Implements `protocol.Handle`. `on_killed` is told after a graceful end, which comes to all of a group together."""

    def __init__(
        self, engine: Engine, do: Do, folder: Path, attempt: Attempt, started_at: str, on_killed: Callable[[], Awaitable[None]]
    ) -> None:
        self.container_id = (folder / "container").read_text()
        self._engine = engine
        self._do = do
        self._folder = folder
        self._attempt = attempt
        self._started_at = instant(started_at) or attempt.started_at
        self._on_killed = on_killed
        self._spool = Spool(folder)
        self._terminals: set[EngineTerminal] = set()
        self._end = asyncio.ensure_future(self._see_the_end())

    @property
    def started_at(self) -> datetime:
        return self._started_at

    @property
    def spool(self) -> Spool:
        return self._spool

    @property
    def ended(self) -> bool:
        return self._end.done()

    async def wait(self) -> Exit:
        return await asyncio.shield(self._end)

    async def kill(self, *, graceful: bool) -> None:
        await self._close_terminals()
        if graceful:
            await self._attempt.kill(graceful=True)
        elif not self.ended:
            with contextlib.suppress(EngineFailed):  # it ended by itself, or the engine is away: then its minder has to go
                await self._do(self._engine.call, "kill", self.container_id)
                await self.wait()
            await self._attempt.kill(graceful=False)
        await self.wait()
        await self._on_killed() if graceful else None

    async def open_terminal(self, command: str, rows: int, cols: int) -> EngineTerminal:
        terminal = EngineTerminal(self._engine, self._do, self.container_id, self._terminals.discard)
        await terminal.open(command, rows, cols)
        self._terminals.add(terminal)
        return terminal

    async def _close_terminals(self) -> None:
        await asyncio.gather(*(terminal.close() for terminal in tuple(self._terminals)))

    async def _see_the_end(self) -> Exit:
        await self._attempt.wait()
        ended = self._recorded()
        if ended is None:  # its minder died without a last word: the container ends with it
            ended = await self._do(self._bury)
            write_json(self._folder / "ended.json", ended)
        await self._close_terminals()
        at = instant(ended["finished_at"]) or datetime.fromtimestamp(self._folder.stat().st_mtime, UTC)
        # an engine may note the start of a container that ended at once after its end
        return Exit(ended["exit_code"], max(at, self._started_at), ended["oom_killed"])

    def _recorded(self) -> dict[str, Any] | None:
        try:
            ended: dict[str, Any] = json.loads((self._folder / "ended.json").read_bytes())
        except FileNotFoundError:
            return None
        return ended

    def _bury(self) -> dict[str, Any]:
        """End the container if it runs, and say what the engine knows of its end; then remove it."""
        ended: dict[str, Any] = {"exit_code": UNKNOWN_EXIT, "oom_killed": False, "finished_at": ""}
        try:
            with contextlib.suppress(EngineFailed):  # not running any more
                self._engine.call("kill", self.container_id)
                self._engine.call("wait", self.container_id)
            state = self._engine.call("inspect_container", self.container_id)["State"]
            ended = {"exit_code": state["ExitCode"], "oom_killed": state["OOMKilled"], "finished_at": state["FinishedAt"]}
            self._engine.remove(self.container_id)
        except EngineFailed:
            return ended
        return ended


def instant(text: str) -> datetime | None:
    """An engine's time (nanoseconds, or none at all) to the microsecond."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    if found is None or text.startswith("0001-"):
        return None
    zone = "+00:00" if found[3] == "Z" else found[3]
    return datetime.fromisoformat(f"{found[1]}{(found[2] or '.0')[:7].ljust(7, '0')}{zone}").astimezone(UTC)
