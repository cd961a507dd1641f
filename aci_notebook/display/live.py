"""The views that put a run under a cell: one for a cell that waits, one for a run in the background.

A view is told what happened (`consume`, `update`) and that time passed (`tick`); it holds no thread and asks nobody. The header is one
display that is updated: at once when the state changes, else at most four times a second, and not when it would look the same;
its last state is always sent, and without the stop button. The output goes to stdout as `stream.CellStream` doses it. Only the
thread that owns the cell drives a `CellView`, because prints land in the cell that runs now (`notebook-facts` §2.6); a
`DetachedView` never prints after `open`, it only updates its display, from any one thread at a time.

Without a kernel (a terminal IPython, a plain Python) every update would print again, so there the header is one plain line per
state, or on a terminal one line that is repainted instead.

A display must not end a run: what fails here is caught once, stays visible with its reason, and plain lines follow.
"""

from __future__ import annotations

import base64
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ..events import Event, GapFound, TextReceived
from ..record import RunRecord
from . import render
from .frontend import UI, Display, chosen_ui, front_end, front_end_display, reason, start_timer
from .header import Spending, not_shown
from .html import clean_line
from .numbers import count, size
from .stream import WRITE_BYTES, CellStream, Lines

Now = Callable[[], datetime]
Monotonic = Callable[[], float]
Estimator = Callable[[RunRecord, datetime], Spending | None]
Later = Callable[[float, Callable[[], None]], None]

HEADER_EVERY_S = 0.25
DETACHED_LINES = 20
VALUE_TYPES = ("text/plain", "text/html", "text/markdown", "text/latex", "image/png", "image/jpeg", "image/svg+xml", "application/json")


def utc_now() -> datetime:
    return datetime.now(UTC)


class CellView:
    """One run's header and output under the cell that waits for it."""

    def __init__(
        self,
        record: RunRecord,
        *,
        estimate: Estimator | None = None,
        quiet: bool = False,
        tail: int | None = None,
        timestamps: bool = False,
        lines_max: int = 2_000,
        ui: UI = "auto",
        show_traceback: bool = False,
        now: Now = utc_now,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._record = record
        self._estimate = estimate
        self._show_traceback = show_traceback
        self._now = now
        self._monotonic = monotonic
        self._ui = chosen_ui(ui, quiet)
        self._rich = self._ui == "html" or (self._ui == "quiet" and front_end() == "html")
        self._stream = CellStream(lines_max=lines_max, tail=tail, timestamps=timestamps)
        self._announce_holding = tail is None
        self._header = Display(record.run_id)
        self._held = Display(record.run_id)
        self._shown_at = float("-inf")
        self._key: object = None
        self._line_start = True
        self._painted = False
        self.failure = ""

    def open(self, record: RunRecord) -> None:
        """Show the header for the first time."""
        self._record = record
        self._guard(self._refresh, True)

    def consume(self, record: RunRecord, event: Event) -> None:
        """Show what an event changed; `record` is the one after it."""
        self._record = record
        self._guard(self._take, event)
        self._guard(self._refresh, False)

    def tick(self, record: RunRecord) -> None:
        """Let the clocks go on, and write what waits."""
        self._record = record
        self._guard(self._refresh, False)

    def close(self, record: RunRecord) -> None:
        """Write everything that was held, and send the last state, without the stop button. May be called again."""
        self._record = record
        self._guard(self._finish)

    def settle(self, record: RunRecord) -> None:
        """After `close`: the last words on the container group, in the header alone; never prints, so any thread may call it."""
        self._record = record
        if self._ui != "html" or not self._header.opened:
            return
        try:
            self._header.show(self._bundle(live=False), always=True)
        except Exception as error:  # noqa: BLE001 - as in `_guard`, but a print would land in somebody else's cell
            self.failure = self.failure or reason(error)

    def show_value(self, bundle: dict[str, Any]) -> None:
        """Show the value of the body's last expression, after all output so far."""
        self._guard(self._drain)
        self._guard(self._show_bundle, bundle)

    def show_figure(self, png: bytes) -> None:
        """Show a figure, after all output so far."""
        self._guard(self._drain)
        self._guard(self._show_bundle, {"image/png": png, "text/plain": f"<figure, PNG, {size(len(png))}>"})

    # --- what is shown

    def _take(self, event: Event) -> None:
        if isinstance(event, TextReceived) and (self._show_traceback or not event.traceback):
            self._stream.feed(event.data, event.at, self._monotonic())
        elif isinstance(event, GapFound):
            self._stream.say(gap_line(event.lines), event.at)

    def _refresh(self, first: bool) -> None:
        mono = self._monotonic()
        record = self._record
        key = (record.state, record.phase, record.outcome, record.group)
        urgent = first or key != self._key
        if self._ui == "text" and urgent and record.outcome is None and (record.state, record.phase) != _head(self._key):
            self._write(self._stream.flush(mono))
            if not self._can_paint():
                self._print_line(self._status())
        self._key = key
        self._write(self._stream.due(mono))
        if not urgent and mono - self._shown_at < HEADER_EVERY_S:
            return
        self._shown_at = mono
        if self._ui == "html":
            self._header.show(self._bundle(live=True))
        if self._stream.holding and self._stream.held and self._ui == "html":
            self._write(self._stream.flush(mono))
            self._end_line()
            self._held.show(self._held_bundle())
        elif self._stream.holding and self._ui == "text" and self._announce_holding:
            self._announce_holding = False
            self._write(self._stream.flush(mono))
            self._print_line(f"… more output than a cell should hold; its last lines follow at the end{self._where()}")
        if self._ui == "text":
            self._paint()

    def _finish(self) -> None:
        self._drain()
        if self._ui == "html":
            self._shown_at = self._monotonic()
            self._header.show(self._bundle(live=False), always=True)
        elif self._ui == "text":
            self._print_line(render.header_text(self._record, self._now(), live=False, estimate=self._estimated()))
        else:
            for said in not_shown(self._record):  # which no header says
                self._print_line(said)

    def _drain(self) -> None:
        """Write all output, the held lines too."""
        mono = self._monotonic()
        self._stream.feed(b"", self._now(), mono, final=True)
        self._write(self._stream.flush(mono))
        if self._held.opened and self._stream.held:
            last = self._stream.lines_seen
            begin = last - self._stream.held + 1
            caption = f"… lines {begin:,} to {last:,} of the output:"
            self._held.show({"text/plain": caption, "text/html": render.caption_html(caption)})
        elif self._stream.held:
            self._end_line()
        text = self._stream.release(self._now(), mono, self._record.log_path)
        for start in range(0, len(text), WRITE_BYTES):
            self._write(text[start : start + WRITE_BYTES])
        self._end_line()

    def _show_bundle(self, bundle: dict[str, Any]) -> None:
        known = {kind: bundle[kind] for kind in VALUE_TYPES if kind in bundle}
        if "text/plain" in known:
            known["text/plain"] = "\n".join(clean_line(line) for line in str(known["text/plain"]).split("\n"))
        if not self._rich:
            self._print_line(known.get("text/plain", f"<{', '.join(known)}>"))
            return
        display = front_end_display()
        shown = {kind: base64.b64encode(data).decode() if isinstance(data, bytes) else data for kind, data in known.items()}
        display(shown, raw=True)

    def _bundle(self, *, live: bool) -> dict[str, Any]:
        return render.mimebundle(self._record, self._now(), live, estimate=self._estimated())

    def _held_bundle(self) -> dict[str, Any]:
        lines, total, path = self._stream.latest(), self._stream.lines_seen, self._record.log_path
        text = "\n".join([render.held_text(total, path), *lines])
        return {"text/plain": text, "text/html": render.held_html(lines, total, path)}

    def _estimated(self) -> Spending | None:
        return self._estimate(self._record, self._now()) if self._estimate is not None else None

    def _status(self) -> str:
        return render.status_line(self._record, self._now(), self._estimated())

    def _where(self) -> str:
        return f", all of them are in {self._record.log_path}" if self._record.log_path else ""

    # --- stdout

    def _write(self, text: str) -> None:
        if not text:
            return
        self._unpaint()
        sys.stdout.write(text)
        sys.stdout.flush()
        self._line_start = text.endswith(("\n", "\n\x1b[0m"))

    def _end_line(self) -> None:
        if not self._line_start:
            self._write("\n")

    def _print_line(self, text: str) -> None:
        self._end_line()
        self._write(text + "\n")

    def _can_paint(self) -> bool:
        """On a terminal, and not in the middle of a line of output."""
        return self._line_start and sys.stdout.isatty()

    def _paint(self) -> None:
        """The status in the terminal's last line, which the next write takes away."""
        if self._can_paint() and self._record.outcome is None:
            width = max(20, shutil.get_terminal_size().columns - 1)
            sys.stdout.write("\r\x1b[K" + self._status()[:width])
            sys.stdout.flush()
            self._painted = True

    def _unpaint(self) -> None:
        if self._painted:
            self._painted = False
            sys.stdout.write("\r\x1b[K")

    # --- failures

    def _guard(self, action: Callable[..., None], *args: Any) -> None:
        try:
            action(*args)
        except Exception as error:  # noqa: BLE001 - whatever a front end or our own drawing does, the run goes on
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Once: say why, go on in plain text. Where even that fails, the run goes on unseen; `failure` has the reason."""
        again = bool(self.failure)
        why = reason(error)
        self.failure = self.failure or why
        try:
            if not again:
                was_open = self._header.opened
                self._ui = "text" if self._ui == "html" else self._ui
                self._rich = False
                self._print_line(f"the display of {self._record.name} failed ({why}); plain text from here on")
                if was_open:
                    self._header.show(render.failure_bundle(self._record, why))
            self._write(self._stream.flush(self._monotonic()))
            if self._record.outcome is not None:
                self._print_line(f"{self._record.name}: {self._record.outcome.kind}")
        except Exception:  # noqa: BLE001 - there is nothing left to say it with
            self.failure = self.failure or why


def _head(key: object) -> object:
    """State and phase of a key."""
    return key[:2] if isinstance(key, tuple) else None


def gap_line(lines: int | None) -> str:
    """The line in the output where some is missing."""
    what = count(lines, "line") if lines else "an unknown number of lines"
    return f"… {what} missing here: the service no longer held them …"


class DetachedView:
    """One display for a run in the background: header and last lines. After `open` it never prints."""

    def __init__(
        self,
        record: RunRecord,
        *,
        estimate: Estimator | None = None,
        quiet: bool = False,
        ui: UI = "auto",
        now: Now = utc_now,
        monotonic: Monotonic = time.monotonic,
        later: Later = start_timer,
    ) -> None:
        self._record = record
        self._estimate = estimate
        self._ui = chosen_ui(ui, quiet)
        self._now = now
        self._monotonic = monotonic
        self._later = later
        self._lock = threading.Lock()
        self._display = Display(record.run_id)
        self._lines = Lines()
        self._latest: deque[str] = deque(maxlen=DETACHED_LINES)
        self._shown_at = float("-inf")
        self._key: object = None
        self._pending = False
        self.failure = ""

    def open(self, record: RunRecord) -> None:
        """The first display, in the cell that started the run; without a kernel, its one line."""
        with self._lock:
            self._record = record
            if self._ui == "text":
                line = f"{render.status_line(record, self._now())}  in the background; %aci attach {record.name} follows it"
                print(line)  # noqa: T201 - the one line of this view, in the cell that started the run
                return
            self._show()

    def update(self, record: RunRecord, event: Event) -> None:
        """Show what an event changed: at once when the state did, else soon."""
        with self._lock:
            self._record = record
            if isinstance(event, TextReceived):
                self._latest.extend(self._lines.feed(event.data))
            elif isinstance(event, GapFound):
                self._latest.append(gap_line(event.lines))
            self._show_soon()

    def tick(self, record: RunRecord) -> None:
        """Let the clocks go on."""
        with self._lock:
            self._record = record
            self._show_soon()

    def close(self, record: RunRecord) -> None:
        """The last state, whatever was shown when."""
        with self._lock:
            self._record = record
            self._latest.extend(self._lines.feed(b"", True))
            self._show()

    def _show_soon(self) -> None:
        """A view that was updated too recently is updated by a timer, so that the last lines do not wait for the next event."""
        record = self._record
        key = (record.state, record.phase, record.outcome, record.group)
        wait_s = HEADER_EVERY_S - (self._monotonic() - self._shown_at)
        if key != self._key or wait_s <= 0:
            self._show()
        elif not self._pending and self._display.opened:
            self._pending = True
            self._later(wait_s, self._catch_up)

    def _catch_up(self) -> None:
        with self._lock:
            if self._pending:
                self._show()

    def _show(self) -> None:
        record = self._record
        self._pending = False
        self._shown_at = self._monotonic()
        self._key = (record.state, record.phase, record.outcome, record.group)
        if self._ui != "html" or self.failure:
            return
        try:
            now = self._now()
            estimate = self._estimate(record, now) if self._estimate is not None else None
            background = record.outcome is None and not record.detached
            lines = tuple(self._latest)
            self._display.show(render.mimebundle(record, now, False, estimate=estimate, background=background, log_lines=lines))
        except Exception as error:  # noqa: BLE001 - a background run does not end because its picture failed
            self.failure = reason(error)
            try:
                self._display.show(render.failure_bundle(record, self.failure))
            except Exception:  # noqa: BLE001 - nothing left to say it with; `failure` has the reason
                return
