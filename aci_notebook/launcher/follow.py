"""From a run to the form, in a thread of its own: events become traits, at most `EVERY_S` apart, and slower where the log is large.

The kernel's thread is never kept waiting and nothing is printed: a print would land in whichever cell runs now. The follower ends with
its run; its last act is the final state, once the group's deletion has been verified or named as unverified.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .. import events as ev
from ..display.live import gap_line
from ..record import RunRecord
from ..runs import Run
from .logview import LogView

EVERY_S = 0.25
BYTES_PER_S = 1_500_000
LEAVE_S = 0.5

Show = Callable[[RunRecord], None]


class Follower:
    """Shows one run in a log view and through `show`, then calls `then`; `stop` lets go of the view, the run goes on."""

    def __init__(self, run: Run, log: LogView, show: Show, then: Callable[[Run], None]) -> None:
        self.run = run
        self._log = log
        self._show = show
        self._then = then
        self._turn = threading.Lock()
        self._left = False
        self._shown: object = None
        self._due = 0.0
        self._thread = threading.Thread(target=self._body, name=f"aci-form-{run.run_id}", daemon=True)

    def start(self) -> Follower:
        self._thread.start()
        return self

    def stop(self) -> None:
        """The view belongs to another run when this returns; the thread stays with its run until that ends."""
        with self._turn:
            self._left = True

    def _body(self) -> None:
        _, log, events = self.run.subscribe()
        try:
            self._take(self.run.record, ev.TextReceived(self.run.record.created_at, log))
            for record, event in self.run.follow(events):
                if not self._take(record, event):
                    break
        finally:
            self.run.unsubscribe(events)
        self.run.wait()
        self._say_end()
        self._then(self.run)
        self.run.wait_gone()
        self._say_end()

    def _take(self, record: RunRecord, event: ev.Event | None) -> bool:
        """Shows what happened, now or soon; False when the view belongs to another run."""
        with self._turn:
            if self._left:
                return False
            if isinstance(event, ev.TextReceived):
                self._log.feed(event.data)
            elif isinstance(event, ev.GapFound):
                self._log.feed(f"{gap_line(event.lines)}\n".encode())
            state = (record.state, record.phase, record.group)
            if state != self._shown or time.monotonic() >= self._due:
                sent = self._log.refresh(record.log_path)
                self._due = time.monotonic() + max(EVERY_S, sent / BYTES_PER_S)
                self._show(record)
                self._shown = state
            return True

    def _say_end(self) -> None:
        with self._turn:
            if not self._left:
                self._log.feed(b"", True)
                self._log.refresh(self.run.record.log_path)
                self._show(self.run.record)
