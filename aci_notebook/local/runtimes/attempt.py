"""The server's side of one guardian process (`supervise`): starting it, finding it again, waiting, ending."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .. import inferred
from ..logwindow import Spool
from . import images, supervise
from .protocol import Exit, StartFailed
from .terminal import PtyTerminal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START_LIMIT_S = 60.0  # for the guardian itself to come up on a very busy machine
UNKNOWN_EXIT = 137  # the guardian was killed together with its container: nobody saw another code


def instant(ticks: int) -> datetime:
    """100 ns ticks since 1970 as a time, exact to the microsecond."""
    return EPOCH + timedelta(microseconds=ticks // 10)


@dataclass(frozen=True)
class Launch:
    """What to run: everything the process will know of the world."""

    argv: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)
    working_directory: Path
    grace_s: float = inferred.STOP_GRACE_S  # between SIGTERM and SIGKILL


@dataclass(frozen=True)
class Watch:
    """How a guardian knows that a server is there: the lock file the server holds, and how long it may be missing."""

    presence: Path
    orphan_s: float


class Attempt:
    """One started container of the process runtime; implements `protocol.Handle`.

    The guardian holds the FIFO `alive` open for as long as it lives, and writes a byte when there is something to see.
    That works alike for a guardian of ours and for one that an earlier server left; a process id alone would not.
    """

    def __init__(self, folder: Path, launch: Launch) -> None:
        self._folder = folder
        self._launch = launch
        self._process: subprocess.Popen[bytes] | None = None
        self._terminals: set[PtyTerminal] = set()
        self._spool = Spool(folder)
        self._started: dict[str, Any] | None = None
        self._exit: dict[str, Any] | None = None
        self._news = asyncio.Event()
        self._over = asyncio.Event()
        self._reaping: asyncio.Future[None] | None = None
        self._fifo = os.open(folder / "alive", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    @classmethod
    async def begin(cls, folder: Path, launch: Launch, watch: Watch) -> Attempt:
        """Start a guardian in the (empty) folder; returns once the command runs; raises `StartFailed`."""
        os.mkfifo(folder / "alive", 0o600)
        attempt = cls(folder, launch)
        order = {
            "argv": launch.argv,
            "env": launch.environment,
            "cwd": str(launch.working_directory),
            "grace_s": launch.grace_s,
            "presence": str(watch.presence),
            "orphan_s": watch.orphan_s,
        }
        attempt._process = subprocess.Popen(  # noqa: S603 - our own file; forking does not wait for it
            [sys.executable, "-I", "-S", supervise.__file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=images.for_interpreter(os.environ),
            start_new_session=True,
        )
        asyncio.get_running_loop().add_reader(attempt._fifo, attempt._on_news)
        try:
            await asyncio.to_thread(_hand_over, attempt._process, json.dumps(order).encode())
            await attempt._until_started()
        except BaseException:
            attempt._process.send_signal(signal.SIGUSR1)  # ends its container too, if it has got that far
            await attempt._close()
            raise
        if attempt._exit is not None and "failed" in attempt._exit:
            await attempt._close()
            raise StartFailed(attempt._exit["failed"])
        return attempt

    @classmethod
    async def find(cls, folder: Path, launch: Launch) -> Attempt | None:
        """The attempt that an earlier server began in `folder`; None if its command was never started."""
        if not (folder / "alive").exists():
            return None
        attempt = cls(folder, launch)
        asyncio.get_running_loop().add_reader(attempt._fifo, attempt._on_news)
        attempt._look()
        if attempt._started is None:  # said before looking: a guardian that comes up late either sees it or is seen
            (folder / "abandoned").touch(mode=0o600)
        if attempt._guardian_lives():
            await attempt._until_started()
        else:
            attempt._look()
            attempt._end_orphans()
            attempt._settle()
        return attempt if attempt._started else None

    @property
    def started_at(self) -> datetime:
        assert self._started is not None
        return instant(self._started["started_at"])

    @property
    def spool(self) -> Spool:
        return self._spool

    async def wait(self) -> Exit:
        await self._over.wait()
        if self._exit is None:
            return Exit(UNKNOWN_EXIT, datetime.fromtimestamp(self._folder.stat().st_mtime, UTC))
        return Exit(self._exit["exit_code"], instant(self._exit["finished_at"]))

    async def kill(self, *, graceful: bool) -> None:
        await asyncio.gather(*(terminal.close() for terminal in tuple(self._terminals)))
        if not self._over.is_set() and self._started is not None:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
                os.kill(self._started["pid"], signal.SIGTERM if graceful else signal.SIGUSR1)
            await self._over.wait()
        await self._close()

    async def open_terminal(self, command: str, rows: int, cols: int) -> PtyTerminal:
        if self._over.is_set():
            raise StartFailed("the container has ended")
        terminal = PtyTerminal.open(command, rows, cols, self._launch.environment, self._launch.working_directory, self._terminals.discard)
        self._terminals.add(terminal)
        return terminal

    async def _until_started(self) -> None:
        deadline = asyncio.get_running_loop().time() + START_LIMIT_S
        while self._started is None and self._exit is None and not self._over.is_set():
            died = self._process is not None and self._process.poll() is not None
            self._look()
            if self._started is None and self._exit is None:
                if died or asyncio.get_running_loop().time() > deadline:
                    raise StartFailed("the process that guards the container did not come up")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.25):  # Python 3.11's wait_for forgets to be cancelled when the news come just then
                        await self._news.wait()
                self._news.clear()

    def _guardian_lives(self) -> bool:
        try:
            return os.read(self._fifo, 64) != b""
        except BlockingIOError:
            return True

    def _on_news(self) -> None:
        lives = self._guardian_lives()
        self._look()
        self._news.set()
        if self._exit is not None:
            self._settle()
        elif not lives:
            self._end_orphans()
            self._settle()

    def _look(self) -> None:
        """Read what the guardian has written by now; the exit first, since it is written last."""
        self._exit = self._exit or _read_json(self._folder / "exit.json")
        self._started = self._started or _read_json(self._folder / "started.json")

    def _end_orphans(self) -> None:
        """The guardian is dead and said no last word: its container dies with it, its process group is ours to end."""
        if self._started is not None and self._exit is None and _leads_its_session(self._started):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._started["child"], signal.SIGKILL)

    def _settle(self) -> None:
        """It is over: stop listening, tell everybody, end what was opened beside it."""
        if not self._over.is_set():
            asyncio.get_running_loop().remove_reader(self._fifo)
            os.close(self._fifo)
            self._over.set()
            self._reaping = asyncio.ensure_future(self._reap())
            for terminal in tuple(self._terminals):
                terminal.hang_up()

    async def _close(self) -> None:
        self._settle()
        assert self._reaping is not None
        await asyncio.shield(self._reaping)

    async def _reap(self) -> None:
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)


def _hand_over(process: subprocess.Popen[bytes], order: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:  # it died: noticed by `_until_started`
        pipe.write(order)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return content


def _leads_its_session(started: dict[str, Any]) -> bool:
    """Whether the recorded child is still the process it was: it leads its own group, and began before the record."""
    child: int = started["child"]
    try:
        return os.getpgid(child) == child == os.getsid(child)
    except ProcessLookupError:
        return False
