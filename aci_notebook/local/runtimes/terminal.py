"""A program behind a real terminal, for exec sessions (aci-facts §6, A16)."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping
from pathlib import Path

from . import images, terminal_child

READ_BYTES = 64 * 1024
MOST_CHUNKS = 16  # read ahead of a client that is slower than the program
MOST_UNSENT = 1024 * 1024  # typed ahead of a program that does not read; a real terminal drops what is beyond, too


class PtyTerminal:
    """One interactive process; implements `protocol.Terminal`. Leads a session of its own, which ends with it."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, on_close: Callable[[PtyTerminal], None]) -> None:
        self._process = process
        self._master = master
        self._on_close = on_close
        self._closed = False
        self._is_paused = False
        self._unsent = b""
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        asyncio.get_running_loop().add_reader(master, self._on_output)

    @classmethod
    def open(
        cls,
        command: str,
        rows: int,
        cols: int,
        environment: Mapping[str, str],
        working_directory: Path,
        on_close: Callable[[PtyTerminal], None],
    ) -> PtyTerminal:
        """Run `command`, one program without arguments, in a terminal of that size."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        os.set_blocking(master, False)
        try:
            process = subprocess.Popen(  # noqa: S603 - exec runs what it is asked to
                [sys.executable, "-I", "-S", terminal_child.__file__, os.ttyname(slave), command],
                stdin=subprocess.DEVNULL,
                stdout=slave,
                stderr=slave,
                env={"TERM": "xterm", **images.for_interpreter(os.environ), **environment},
                cwd=working_directory,
                start_new_session=True,
            )
        finally:
            os.close(slave)
        return cls(process, master, on_close)

    async def read(self) -> bytes:
        chunk = await self._chunks.get()
        if self._is_paused and not self._closed:
            self._is_paused = False
            asyncio.get_running_loop().add_reader(self._master, self._on_output)
        return chunk

    def write(self, data: bytes) -> None:
        self._unsent += data[: MOST_UNSENT - len(self._unsent)]
        self._flush()

    def hang_up(self) -> None:
        """Kill the whole session; `read` then returns the end."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.hang_up()
        self._stop_listening()
        self._chunks.put_nowait(b"")
        os.close(self._master)
        self._on_close(self)
        await asyncio.to_thread(self._process.wait)

    def _on_output(self) -> None:
        try:
            data = os.read(self._master, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last process of the session has closed the terminal
            data = b""
        self._chunks.put_nowait(data)
        if not data:
            self._stop_listening()
        elif self._chunks.qsize() >= MOST_CHUNKS:
            self._is_paused = True
            asyncio.get_running_loop().remove_reader(self._master)

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._unsent = self._unsent[os.write(self._master, self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:  # the process is gone: nobody reads any more
            self._unsent = b""
        if self._unsent:
            loop.add_writer(self._master, self._flush)
        else:
            loop.remove_writer(self._master)

    def _stop_listening(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._master)
        loop.remove_writer(self._master)
