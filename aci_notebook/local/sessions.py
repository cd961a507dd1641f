"""Exec and attach sessions: made by a POST, used once by a websocket (aci-facts §6, A16)."""

from __future__ import annotations

import secrets
import string
import uuid
from dataclasses import dataclass, field

from .runtimes.protocol import Handle

ODD = string.ascii_letters + string.digits + "[]<>(){}*+-_=!#%&"


@dataclass(frozen=True)
class Session:
    """A permission to connect once."""

    kind: str  # exec or attach
    handle: Handle
    command: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    password: str = field(default_factory=lambda: "".join(secrets.choice(ODD) for _ in range(32)), repr=False)

    def admits(self, password: str) -> bool:
        return secrets.compare_digest(self.password.encode(), password.encode("utf-8", "replace"))


class Sessions:
    """The sessions nobody has connected to yet; the oldest are forgotten beyond `MOST`."""

    MOST = 1000

    def __init__(self) -> None:
        self._open: dict[str, Session] = {}

    def add(self, session: Session) -> Session:
        self._open[session.id] = session
        while len(self._open) > self.MOST:
            del self._open[next(iter(self._open))]
        return session

    def take(self, kind: str, session_id: str) -> Session | None:
        """The session, which is used up; None if there is none of that kind."""
        session = self._open.get(session_id)
        if session is None or session.kind != kind:
            return None
        return self._open.pop(session_id)
