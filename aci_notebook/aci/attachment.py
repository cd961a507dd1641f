"""The attach websocket: text as the container writes it (`aci-facts` §6). An extra, never a need (T26)."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import websocket

ATTACH_TIMEOUT_S = 4


def open_websocket(uri: str, *, loopback: bool, timeout_s: float, header: Sequence[str] = ()) -> websocket.WebSocket:
    """A websocket, connected; OSError, ValueError or WebSocketException where it cannot be.

    To the local ACI with a socket of our own: given none, the library goes through HTTP_PROXY whatever it is told (seen with 1.9).
    """
    options: dict[str, Any] = {"timeout": timeout_s, "header": list(header), "suppress_origin": True}
    if not loopback:
        return websocket.create_connection(uri, **options)
    place = urlsplit(uri)
    own = socket.create_connection((place.hostname, place.port), timeout=timeout_s)
    try:
        return websocket.create_connection(uri, socket=own, **options)
    except BaseException:
        own.close()
        raise


def close_websocket(opened: websocket.WebSocket) -> None:
    """Closes it for good: the library's own `close` leaves the socket open where the other side closed first."""
    try:
        opened.close(timeout=0)
    except (OSError, websocket.WebSocketException):
        pass  # the other side was faster
    finally:
        opened.shutdown()  # type: ignore[no-untyped-call]


class Attachment:
    """An open attach websocket; satisfies `stage.Attachment`."""

    def __init__(self, opened: websocket.WebSocket) -> None:
        self._socket = opened

    @classmethod
    def open(cls, uri: str, password: str, *, loopback: bool) -> Attachment | None:
        """Connected, or None where port 19390 is blocked (T26)."""
        try:
            return cls(open_websocket(uri, loopback=loopback, timeout_s=ATTACH_TIMEOUT_S, header=[f"Authorization: {password}"]))
        except (OSError, ValueError, websocket.WebSocketException):
            return None

    def receive(self, timeout_s: float) -> str | None:
        self._socket.settimeout(max(timeout_s, 0.001))
        try:
            data = self._socket.recv()
        except websocket.WebSocketTimeoutException:
            return ""
        except (OSError, websocket.WebSocketException):
            return None
        if not data and not self._socket.connected:
            return None
        return data if isinstance(data, str) else data.decode("utf-8", "replace")

    def close(self) -> None:
        close_websocket(self._socket)
