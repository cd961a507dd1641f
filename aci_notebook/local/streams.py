"""Exec and attach over websockets (aci-facts §6, A16).

exec: the first frame is the password, then keystrokes up and terminal output down; nothing tells the exit code.
attach: the password comes in the Authorization header of the upgrade; output is sent as text from now on; read-only.
"""

from __future__ import annotations

import asyncio
import codecs
from typing import Any
from urllib.parse import parse_qs

import tornado.web
import tornado.websocket

from .app import check_caller
from .errors import ServiceError
from .runtimes.protocol import Handle, StartFailed, Terminal
from .sessions import Session, Sessions

FOLLOW_S = 0.05  # how often an attached log is looked at
FIRST_FRAME_S = 30.0
BLOCK_BYTES = 64 * 1024


class Stream(tornado.websocket.WebSocketHandler):
    """What both kinds share: the caller's checks, and a task that ends with the connection."""

    def initialize(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._work: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        try:
            check_caller({name.lower(): value for name, value in self.request.headers.items()})
        except ServiceError as error:
            self.set_status(error.status)
            self.finish({"error": {"code": error.code, "message": error.message}})

    def check_origin(self, origin: str) -> bool:
        return True  # `prepare` has looked at it

    def _begin(self, work: Any) -> None:
        self._work = asyncio.create_task(work)

    def on_close(self) -> None:
        if self._work is not None:
            self._work.cancel()

    async def _send(self, text: str) -> None:
        if text:
            await self.write_message(text)

    def refuse(self, status: int) -> None:
        self.set_status(status)
        self.finish()


class ExecStream(Stream):
    """The terminal of an exec session."""

    _session: Session
    _terminal: Terminal | None = None
    _typed_early = b""

    async def get(self, session_id: str) -> None:
        session = self._sessions.take("exec", session_id)
        if session is None:
            self.refuse(404)
            return
        self._session = session
        await super().get(session_id)

    def open(self, *args: str, **kwargs: str) -> None:
        self._timer = asyncio.get_running_loop().call_later(FIRST_FRAME_S, self.close, 1008, "no password")

    async def on_message(self, message: str | bytes) -> None:
        data = message.encode() if isinstance(message, str) else message
        if self._terminal is not None:
            self._terminal.write(data)
            return
        if self._work is not None:  # the terminal is being opened: a script types faster than that
            self._typed_early = (self._typed_early + data)[:BLOCK_BYTES]
            return
        self._timer.cancel()
        if not self._session.admits(data.decode("utf-8", "replace")):
            self.close(1008, "wrong password")
            return
        self._begin(self._serve())

    async def _serve(self) -> None:
        size = parse_qs(self.request.query)
        rows, cols = (_whole(size.get(name, [""])[0], default) for name, default in (("rows", 24), ("cols", 80)))
        try:
            self._terminal = await self._session.handle.open_terminal(self._session.command, rows, cols)
        except StartFailed as error:
            self.close(1011, str(error)[:120])
            return
        if self._typed_early:
            self._terminal.write(self._typed_early)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        try:
            while data := await self._terminal.read():
                await self._send(decoder.decode(data))
        except tornado.websocket.WebSocketClosedError:
            pass
        finally:
            await self._terminal.close()
            self.close(1000)

    def on_close(self) -> None:
        self._timer.cancel()
        super().on_close()


class AttachStream(Stream):
    """The output of a container, as it comes."""

    async def get(self, session_id: str) -> None:
        session = self._sessions.take("attach", session_id)
        if session is None:
            self.refuse(404)
        elif not session.admits(self.request.headers.get("Authorization", "")):
            self.refuse(401)
        else:
            self._handle = session.handle
            await super().get(session_id)

    def open(self, *args: str, **kwargs: str) -> None:
        self._begin(self._serve(self._handle))

    async def _serve(self, handle: Handle) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        ended = asyncio.create_task(handle.wait())
        at = handle.spool.size()
        try:
            over = False
            while not over:
                over = bool(await asyncio.wait({ended}, timeout=FOLLOW_S) and ended.done())
                size = handle.spool.size()
                while at < size:
                    data = handle.spool.read(at, min(size, at + BLOCK_BYTES))
                    at = at + len(data) if data else size
                    await self._send(decoder.decode(data))
        except tornado.websocket.WebSocketClosedError:
            pass
        finally:
            ended.cancel()
            self.close(1000)


def _whole(text: str, default: int) -> int:
    return min(int(text), 10000) if text.isascii() and text.isdigit() and text.strip("0") and len(text) < 9 else default
