"""Whether the kernel can listen: what the form says while a cell runs, and which clicks are not meant: made while an
earlier one waited, or the second half of a double click.

A kernel handles one message at a time (`notebook-facts` §2.6): a click made while a cell runs is handled after it. IPython tells when a
cell begins and ends; a cell of a moment is not worth a word, so the note comes after `SAID_AFTER_S`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

SAID_AFTER_S = 0.5
SECOND_CLICK = timedelta(seconds=0.5)


class Busy:
    """Calls `wait` when a cell has run for a moment, and `free` when one is over."""

    def __init__(self, shell: InteractiveShell, wait: Callable[[], None], free: Callable[[], None]) -> None:
        self._shell = shell
        self._wait = wait
        self._free = free
        self._timer: threading.Timer | None = None
        self._handled_at = datetime.min.replace(tzinfo=UTC)
        self._clicked_at = datetime.min.replace(tzinfo=UTC)
        self._apart = timedelta.max
        shell.events.register("pre_run_cell", self._began)
        shell.events.register("post_run_cell", self._over)

    def heard(self) -> datetime | None:
        """When the message handled now was sent, by this machine's clock; None where that is not known.

        The browser's clock may be another one: the quickest message so far says how far apart they are.
        """
        sent = self._sent()
        if sent is None:
            return None
        self._apart = min(self._apart, datetime.now(UTC) - sent)
        return sent + self._apart

    def _sent(self) -> datetime | None:
        """The same by the browser's clock."""
        kernel: Any = getattr(self._shell, "kernel", None)
        header = kernel.get_parent().get("header", {}) if kernel is not None else {}
        sent = header.get("date")
        aware = isinstance(sent, datetime) and sent.tzinfo is not None
        return sent if header.get("msg_type") == "comm_msg" and aware else None

    def fresh(self) -> bool:
        """Whether the click handled now was made after the last one had been handled, and is no double click's second half."""
        sent, clicked_at = self.heard(), self._sent()
        fresh = sent is None or clicked_at is None or (sent >= self._handled_at and clicked_at >= self._clicked_at + SECOND_CLICK)
        self._clicked_at = clicked_at or self._clicked_at
        return fresh

    def handled(self) -> None:
        """The click is handled: one that was made until now waited for it."""
        self._handled_at = datetime.now(UTC)

    def _began(self, *_: Any) -> None:
        self._timer = threading.Timer(SAID_AFTER_S, self._wait)
        self._timer.daemon = True
        self._timer.start()

    def _over(self, *_: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._free()

    def close(self) -> None:
        """Hears nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        for name, call in (("pre_run_cell", self._began), ("post_run_cell", self._over)):
            if call in self._shell.events.callbacks[name]:
                self._shell.events.unregister(name, call)
