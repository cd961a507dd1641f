"""The attach websocket: text as the container writes it (`aci-facts` §6). An extra, never a need (T26)."""

from __future__ import annotations

import websocket

ATTACH_TIMEOUT_S = 4


class Attachment:
    """An open attach websocket; satisfies `stage.Attachment`."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket = socket

    @classmethod
    def open(cls, uri: str, password: str, *, loopback: bool) -> Attachment | None:
        """Connected, or None where port 19390 is blocked (T26)."""
        try:
            socket = websocket.create_connection(
                uri,
                timeout=ATTACH_TIMEOUT_S,
                header=[f"Authorization: {password}"],
                suppress_origin=True,
                http_no_proxy=["*"] if loopback else None,
            )
        except (OSError, websocket.WebSocketException):
            return None
        return cls(socket)

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
        self._socket.close(timeout=0)
