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

Show = Callable[[RunRecord], None]


class Follower:
    """Shows one run in a log view and through `show`; `stop` lets go of the view, the run goes on."""

    def __init__(self, run: Run, log: LogView, show: Show, then: Callable[[Run], None]) -> None:
        self.run = run
        self._log = log
        self._show = show
        self._then = then
        self._left = threading.Event()
        self.thread = threading.Thread(target=self._body, name=f"aci-form-{run.run_id}", daemon=True)

    def start(self) -> Follower:
        self.thread.start()
        return self

    def stop(self) -> None:
        """The view belongs to another run from now on."""
        self._left.set()

    def _body(self) -> None:
        record, log, events = self.run.subscribe()
        shown: object = None
        due = 0.0
        try:
            self._log.feed(log)
            for now, event in self.run.follow(events):
                if self._left.is_set():
                    break
                record = now
                self._take(event)
                state = (record.state, record.phase, record.group)
                if state != shown or time.monotonic() >= due:
                    due = time.monotonic() + max(EVERY_S, self._log.refresh(record.log_path) / BYTES_PER_S)
                    self._show(record)
                    shown = state
        finally:
            self.run.unsubscribe(events)
        self.run.wait()
        self._say_end()
        self._then(self.run)
        self.run.wait_gone()
        self._say_end()

    def _take(self, event: ev.Event | None) -> None:
        if isinstance(event, ev.TextReceived):
            self._log.feed(event.data)
        elif isinstance(event, ev.GapFound):
            self._log.feed(f"{gap_line(event.lines)}\n".encode())

    def _say_end(self) -> None:
        if not self._left.is_set():
            self._log.feed(b"", True)
            self._log.refresh(self.run.record.log_path)
            self._show(self.run.record)
