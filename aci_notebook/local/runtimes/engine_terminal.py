"""A program in a running engine container, behind the engine's own terminal (aci-facts §6, A16)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from .engine_client import Engine, EngineFailed
from .engine_wire import message_of, split, tls_of
from .protocol import StartFailed

READ_BYTES = 64 * 1024
RESIZE_TRIES = 40
RESIZE_PAUSE_S = 0.05  # Podman refuses a size until the program runs, and says nothing when it does

Do = Callable[..., Awaitable[Any]]


class EngineTerminal:
    """Implements `protocol.Terminal`."""

    def __init__(self, engine: Engine, do: Do, container_id: str, on_close: Callable[[EngineTerminal], None]) -> None:
        self._engine = engine
        self._do = do
        self._container_id = container_id
        self._on_close = on_close
        self._exec_id = ""
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._closed = False

    async def open(self, command: str, rows: int, cols: int) -> None:
        """Start the program; raises `StartFailed`."""
        try:
            made = await self._do(
                self._engine.call, "exec_create", self._container_id, [command], stdin=True, tty=True, environment={"TERM": "xterm"}
            )
            self._exec_id = made["Id"]
            await self._connect()
            await self._resize(rows, cols)
        except (EngineFailed, OSError, asyncio.IncompleteReadError) as error:
            raise StartFailed(str(error)) from error

    async def _connect(self) -> None:
        path, host, port = split(self._engine.address)
        if path:
            self._reader, self._writer = await asyncio.open_unix_connection(path)
        else:
            self._reader, self._writer = await asyncio.open_connection(host, port, ssl=tls_of(self._engine.certs))
        body = json.dumps({"Detach": False, "Tty": True}).encode()
        head = (
            f"POST /exec/{self._exec_id}/start HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        status = int(answer.split(b" ", 2)[1])
        if status >= 400:
            self._writer.close()
            raise EngineFailed(message_of(await self._reader.read(READ_BYTES)), status)

    async def _resize(self, rows: int, cols: int) -> None:
        for _ in range(RESIZE_TRIES):
            try:
                await self._do(self._engine.call, "exec_resize", self._exec_id, height=rows, width=cols)
            except EngineFailed:
                if self._reader.at_eof():  # it has ended already: what it said is still to be read
                    return
                await asyncio.sleep(RESIZE_PAUSE_S)
            else:
                return

    async def read(self) -> bytes:
        try:
            return await self._reader.read(READ_BYTES)
        except OSError:
            return b""

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._on_close(self)
        await self._end_program()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _end_program(self) -> None:
        """An engine lets an exec'd program run on when its terminal goes: end it by its process id if that is ours to use."""
        try:
            told = await self._do(self._engine.call, "exec_inspect", self._exec_id)
        except EngineFailed:
            return
        if not told.get("Running"):
            return
        pid = int(told.get("Pid") or 0)
        if pid and _is_in_container(pid, self._container_id):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(os.getpgid(pid), signal.SIGKILL)
        else:
            with contextlib.suppress(OSError):
                self._writer.write(b"\x03\x04")  # Ctrl-C, Ctrl-D: what a person would type
                await self._writer.drain()


def _is_in_container(pid: int, container_id: str) -> bool:
    """Whether the process is of this machine and of that container (an engine in a virtual machine has other ids)."""
    try:
        return container_id in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False
