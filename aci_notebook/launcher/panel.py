"""All runs, of this kernel and of others, from the history: one list that follows the history's file, and what can be done with a run.

Azure is not asked: every kernel writes its transitions into the history, so a changed file is the news. A run whose kernel lives is
followed from its log file; one whose kernel is gone can be attached, that is, adopted by this kernel.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from ..display.header import OUTCOMES, STATES
from ..display.html import el, shortened, to_html, visible
from ..display.numbers import clock, duration
from ..record import RunRecord
from ..runs import Run
from .controls import named
from .door import Door

if TYPE_CHECKING:
    from .form import Launcher

LOOK_EVERY_S = 0.5
RUNS_SHOWN = 50
WIDTHS = (17, 28, 9, 22, 14)
CANCELLED = "cancelled in the launcher"


class Panel:
    """The list and its buttons. `start` begins to follow the history, `close` ends it."""

    def __init__(self, door: Door, form: Launcher) -> None:
        self._door = door
        self._form = form
        self._over = threading.Event()
        self._turn = threading.Lock()
        self._records: dict[str, RunRecord] = {}
        self._log_of: tuple[Path, int] | None = None
        self._watched: RunRecord | None = None
        self.list = named(w.Select(options=(), rows=3), "runs, newest first").add_class("aci-runs")
        self.list.observe(lambda _: self._enable(), names="value")
        self.buttons = {name: w.Button(description=name, tooltip=tip, disabled=True) for name, tip in _BUTTONS.items()}
        for name, button in self.buttons.items():
            button.on_click(lambda _, name=name: self.act(name))
        self.steps = {step: w.Button(description=name, tooltip=tip, disabled=True) for step, (name, tip) in _STEPS.items()}
        for step, button in self.steps.items():
            button.on_click(lambda _, step=step: self.step(step))
        self.chosen = w.HTML().add_class("aci-spoken")
        head = w.HBox([w.Label("Runs"), *self.steps.values(), *self.buttons.values(), self.chosen]).add_class("aci-buttons")
        self.widget = w.VBox([head, self.list]).add_class("aci-panel")

    def start(self) -> None:
        self.refresh()
        threading.Thread(target=self._follow, name="aci-form-panel", daemon=True).start()

    def close(self) -> None:
        self._over.set()

    def rest(self) -> None:
        """No list to choose from any more."""
        with self._turn:
            self.close()
            self._records = {}
            self.list.disabled = True
            self._enable()

    # -- the list -------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        seen: object = None
        while not self._over.wait(LOOK_EVERY_S):
            now = (self._stamp(), int(time.monotonic()) if any(item.outcome is None for item in self._records.values()) else 0)
            if now != seen:
                seen = now
                self._form.attempt(self.refresh)
            self._form.attempt(self._follow_log)
            self._form.attempt(self._follow_state)

    def _stamp(self) -> tuple[Any, ...]:
        path = self._door.house().store.path
        return tuple(_identity(path.with_name(path.name + tail)) for tail in ("", "-wal"))

    def refresh(self) -> None:
        """The list as the history is now; the choice stays."""
        with self._turn:
            if not self._over.is_set():
                self._refresh()

    def _refresh(self) -> None:
        records = self._shown()
        now = datetime.now(UTC)
        self._records = {record.run_id: record for record in records}
        options = tuple((_line(record, now, self._mine(record)), record.run_id) for record in records)
        if options != self.list.options:
            chosen = self.list.value
            with self.list.hold_sync():
                self.list.options = options
                self.list.value = chosen if chosen in self._records else next(iter(self._records), None)
                self.list.rows = min(8, max(3, len(options)))
        self._enable()

    def _shown(self) -> list[RunRecord]:
        """The newest runs, and all that are not over, however old; newest first."""
        store = self._door.house().store
        found = {record.run_id: record for record in (*store.records(limit=RUNS_SHOWN), *store.unfinished())}
        return sorted(found.values(), key=lambda record: record.created_at, reverse=True)

    def step(self, by: int) -> None:
        """The choice one run further. A list's own arrow keys move JupyterLab's cells instead (ipywidgets issue 3912)."""
        known = list(self._records)
        if self.list.value in known:
            self.list.value = known[max(0, min(len(known) - 1, known.index(self.list.value) + by))]
            line = next(label for label, run_id in self.list.options if run_id == self.list.value)
            self.chosen.value = to_html(el("span", {"role": "status"}, " ".join(line.split())))

    def choose(self, run_id: str) -> None:
        """That run is the chosen one from now on."""
        self.refresh()
        if run_id in self._records:
            self.list.value = run_id

    def _mine(self, record: RunRecord) -> Run | None:
        """This kernel's handle of a run, unless it left the run alone."""
        mine = self._door.house().runs.get(record.run_id)
        return mine if mine is not None and (mine.running() or not mine.record.detached) else None

    def _lives_elsewhere(self, record: RunRecord) -> bool:
        presence = self._door.house().presence
        return record.outcome is None and record.kernel != presence.id and presence.alive(record.kernel)

    def _enable(self) -> None:
        record = self._records.get(self.list.value)
        over = record is None or record.outcome is not None
        able = {
            "Attach": record is not None and not over,
            "Log": record is not None,
            "Cancel": record is not None and not over,
            "Rerun": record is not None and record.spec.code is not None,
            "Delete": record is not None and record.group not in ("gone", "unborn"),
        }
        for name, button in self.buttons.items():
            button.disabled = not able[name]
        for button in self.steps.values():
            button.disabled = record is None

    # -- what can be done -----------------------------------------------------------------------------------------

    def act(self, name: str) -> None:
        """One button, for the run that is chosen."""
        record = self._records.get(self.list.value)
        if record is None:
            return
        self._form.attempt(lambda: getattr(self, name.lower())(record))

    def attach(self, record: RunRecord) -> None:
        """Follow the run in the form: as it is driven here, from its file while its kernel lives, else adopted."""
        mine = self._mine(record)
        if mine is not None:
            self._form.follow(mine)
        elif self._lives_elsewhere(record):
            self.log(record)
            self._form.say(f"{record.name} belongs to another kernel that lives; its log is followed here")
        else:
            self._form.in_thread(lambda: self._form.follow(self._door.magics.session_of(record).adopt(record)))

    def log(self, record: RunRecord) -> None:
        """The end of the log file; it is followed as it grows, and so is the run's state."""
        mine = self._mine(record)
        if mine is not None and mine.running():
            self._form.follow(mine)
            return
        with self._form.viewing:
            self._form.unfollow()
            self._form.show(record, mine=False)
            path = Path(record.log_path)
            self._log_of = (path, self._form.log.open_file(path))
            self._watched = record

    def leave_log(self) -> None:
        """The log view shows something else now."""
        self._log_of = self._watched = None

    def _follow_state(self) -> None:
        """The header of a run that is driven elsewhere, as the history has it; the clock goes on until it is over."""
        with self._form.viewing:
            before = self._watched
            now = self._records.get(before.run_id) if before is not None else None
            if now is not None and (now != before or now.outcome is None):
                self._watched = now
                self._form.show(now, mine=False)

    def _follow_log(self) -> None:
        with self._form.viewing:
            if self._log_of is None:
                return
            path, place = self._log_of
            size = path.stat().st_size if path.exists() else place
            if size > place:
                with path.open("rb") as file:
                    file.seek(place)
                    data = file.read(size - place)
                self._form.log.feed(data)
                self._form.log.refresh(str(path))
                self._log_of = (path, place + len(data))

    def cancel(self, record: RunRecord) -> None:
        """End the run; where another kernel drives it, its group is deleted from here."""
        mine = self._mine(record)
        if mine is None or not mine.cancel(CANCELLED):
            self.delete(record)

    def delete(self, record: RunRecord) -> None:
        """Delete the container group, running or kept."""
        from ..sweep import delete_group

        mine = self._mine(record)
        if mine is not None and mine.cancel("deleted in the launcher"):
            return

        def body() -> None:
            gone = delete_group(self._door.magics.session_of(record), record)
            self._form.say(f"container group {record.name} {'is gone' if gone else 'may still exist: %aci gc looks again'}", bad=not gone)

        self._form.in_thread(body)

    def rerun(self, record: RunRecord) -> None:
        """The same again, through the form, so that what is sent can be read there. Values of the environment are not kept on disk."""
        self._form.load(record)
        hidden = [name for name, value in record.spec.env.items() if not value]
        if hidden:
            self._form.say(f"the values of {', '.join(hidden)} are not in the history: fill them in, then Run")
            return
        self._form.start()


_BUTTONS = {
    "Attach": "follow the chosen run here; adopt it if its kernel is gone",
    "Log": "show the end of its log",
    "Cancel": "end the chosen run; its container group is deleted",
    "Rerun": "put its options and program into the form, and run it again",
    "Delete": "delete its container group, running or kept",
}


_STEPS = {-1: ("↑ newer", "choose the next newer run"), 1: ("↓ older", "choose the next older run")}


def _line(record: RunRecord, now: datetime, mine: Run | None) -> str:
    """One run as one line of fixed columns; no-break spaces, since a list collapses ordinary ones."""
    if record.outcome is not None:
        symbol, word, _ = OUTCOMES.get(record.outcome.kind, ("✗", record.outcome.kind, "bad"))
        took = duration(max(0.0, ((record.ended_at or now) - record.created_at).total_seconds()))
    else:
        symbol, word = STATES.get(record.state, ("○",))[0], record.state
        took = clock((now - record.created_at).total_seconds())
    group = {"deleting": "group being deleted", "kept": "group kept", "unverified": "group unverified"}.get(record.group, "")
    place = "LOCAL" if record.target == "local" else record.location
    who = "this kernel" if mine is not None else record.notebook or "another kernel"
    columns = [f"{symbol} {word}", record.name, took, record.spec.image, who]
    cut = (_cut, *[shortened] * (len(WIDTHS) - 1))
    shown = [(" ".join(visible(text).split()), width, brief) for text, width, brief in zip(columns, WIDTHS, cut, strict=True)]
    fixed = "".join(brief(text, width).ljust(width + 1) for text, width, brief in shown)
    return " ".join(part for part in (fixed + place, group) if part).replace(" ", "\u00a0")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
