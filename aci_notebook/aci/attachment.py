"""The attach websocket: text as the container writes it (`aci-facts` §6). An extra, never a need (T26)."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import websocket

ATTACH_TIMEOUT_S = 4


def _connected(uri: str) -> socket.socket:
    """A socket to the local ACI: given none, the library would go through HTTP_PROXY, whatever it is told (seen with 1.9)."""
    place = urlsplit(uri)
    return socket.create_connection((place.hostname, place.port), timeout=ATTACH_TIMEOUT_S)


class Attachment:
    """An open attach websocket; satisfies `stage.Attachment`."""

    def __init__(self, opened: websocket.WebSocket) -> None:
        self._socket = opened

    @classmethod
    def open(cls, uri: str, password: str, *, loopback: bool) -> Attachment | None:
        """Connected, or None where port 19390 is blocked (T26)."""
        options: dict[str, Any] = {"timeout": ATTACH_TIMEOUT_S, "header": [f"Authorization: {password}"], "suppress_origin": True}
        try:
            if loopback:
                options["socket"] = _connected(uri)
            return cls(websocket.create_connection(uri, **options))
        except (OSError, ValueError, websocket.WebSocketException):
            if "socket" in options:
                options["socket"].close()
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
        try:
            self._socket.close(timeout=0)
        except (OSError, websocket.WebSocketException):
            pass  # the other side was faster
        finally:
            self._socket.shutdown()  # type: ignore[no-untyped-call]  # `close` leaves the socket open where the other side closed first
