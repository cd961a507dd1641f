"""The form: controls from the field table on the left; the equivalent cell, the resource, the cost and warnings beside them; below, the
run that it started. `launcher()` makes one.

Rules:
* The kernel's thread only reads the controls and the notebook's variables. Whatever may wait for a service happens in a thread and
  comes back as traits; nothing prints.
* A button cannot answer while a cell runs: the kernel reads its messages one after the other. The form says so when that lasts longer
  than a moment, and a second click that was made while the first one waited starts nothing.
* What goes wrong in a callback is shown in the form; ipywidgets would send it to a log that nobody reads.
* What the log view shows is changed, and fed from a file, by one thread at a time: it holds `viewing`.
* There is one live form in a kernel: a new one retires the old one, whose last state stays.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from ..display.frontend import reason
from ..display.html import el, style_sheet, terminal_nodes, to_html
from ..display.render import header_html, spoken_html
from ..errors import AciError, RunCancelled
from ..fields import FIELDS
from ..record import RunRecord
from ..runs import Run
from ..watch import estimator
from . import guide
from .busy import Busy
from .cell import values_of, words_of
from .controls import Control, OthersControl, named
from .door import Door, Preview, assigned_names
from .follow import Follower
from .logview import LogView
from .panel import CANCELLED, Panel
from .rows import control_of

if TYPE_CHECKING:
    from ..magics import AciMagics

TITLES = {"container": "Container", "data": "Variables", "where": "Where", "life": "Life", "shown": "Shown"}
OPEN_GROUPS = ("container", "data")


def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    """A callback whose errors are shown in the form's message area."""

    @functools.wraps(call)
    def safely(self: Launcher, *args: Any, **options: Any) -> None:
        try:
            call(self, *args, **options)
        except (AciError, RunCancelled) as error:
            self.say(str(error), bad=True)
        except Exception as error:  # noqa: BLE001  # a callback's exception would vanish into a log
            self.say(f"the form failed: {reason(error)}", bad=True)

    return safely


class Launcher:
    """The form and the panel. Shown by being the last value of a cell; `widget` is the whole of it, `cell` the equivalent cell's text."""

    def __init__(self, magics: AciMagics) -> None:
        self.door = Door(magics)
        self.run: Run | None = None
        self._follower: Follower | None = None
        self.viewing = threading.RLock()
        self._estimate = estimator(self.door.house().folder)
        self._loading = self._resting = False
        self._beginning = self._unwanted = False  # a run is asked for and not there yet; Cancel was pressed meanwhile
        self.busy = Busy(magics.ipython, self.note_wait, self.note_free)
        self.preview = Preview("")
        self.controls = self._made_controls()
        self.others = OthersControl(self.changed, magics.evaluate)
        self._make_sides()
        self._make_run_area()
        self.panel = Panel(self.door, self)
        self.widget = self._arranged()
        self.refresh_choices()
        self.refresh()
        self.panel.start()

    # -- building -------------------------------------------------------------------------------------------------

    def _made_controls(self) -> dict[str, Control]:
        defaults = self.door.defaults()
        shown = [field for field in FIELDS if field.control != "none"]
        return {field.name: control_of(field, self.changed, defaults.get(field.name)) for field in shown}

    def _make_sides(self) -> None:
        self.code = named(w.Textarea(placeholder="the program that runs in the container", rows=9), "program").add_class("aci-code")
        self.code.observe(lambda _: self.changed(), names="value")
        self.cell_view = named(w.Textarea(rows=9), "the equivalent cell, to copy").add_class("aci-code")
        self.resource_view = named(w.Textarea(rows=9), "the container group as YAML, to copy").add_class("aci-code")
        self.facts = w.HTML().add_class("aci-facts-line")
        self.side = w.Tab([self.cell_view, self.resource_view], titles=("Cell", "Resource"))

    def _make_run_area(self) -> None:
        self.run_button = w.Button(description="Run", button_style="primary", tooltip="start, and follow it here")
        self.detach_button = w.Button(description="Run detached", tooltip="start in the background; the form stays free")
        self.dry_button = w.Button(description="Dry run", tooltip="show what would be sent; send nothing")
        self.cancel_button = w.Button(description="Cancel", tooltip="end the run; its container group is deleted", disabled=True)
        self.run_button.on_click(lambda _: self.start())
        self.detach_button.on_click(lambda _: self.start(detached=True))
        self.dry_button.on_click(lambda _: self.dry_run())
        self.cancel_button.on_click(lambda _: self.cancel())
        self.message = w.HTML().add_class("aci-message")
        self.waiting = w.HTML().add_class("aci-waiting")
        self.spoken = w.HTML().add_class("aci-spoken")
        self.header = w.HTML().add_class("aci-header")
        self.log = LogView()
        self.results = w.VBox([])

    def _arranged(self) -> w.Widget:
        sections: dict[str, list[w.Widget]] = {}
        for control in self.controls.values():
            sections.setdefault(control.field.group, []).append(control.widget)
        sections.setdefault("life", []).append(self.others.widget)
        boxes = {group: w.VBox(parts).add_class("aci-section") for group, parts in sections.items()}
        folded = [part for group, box in boxes.items() if group not in OPEN_GROUPS for part in (_fold(TITLES[group]), box)]
        fields = w.VBox([*(boxes[group] for group in OPEN_GROUPS), *folded]).add_class("aci-fields")
        right = w.VBox([w.Label("Program"), self.code, self.side, self.facts]).add_class("aci-right")
        buttons = w.HBox([self.run_button, self.detach_button, self.dry_button, self.cancel_button, self.waiting]).add_class("aci-buttons")
        form = w.HBox([fields, right]).add_class("aci-form")
        shown = w.VBox([self.spoken, self.header, self.log.widget, self.results]).add_class("aci-shown")
        style = w.HTML(to_html(style_sheet(guide.css()))).add_class("aci-style")
        return w.VBox([style, form, buttons, self.message, shown, self.panel.widget]).add_class("aci-launcher")

    # -- what is typed --------------------------------------------------------------------------------------------

    def values(self) -> dict[str, Any]:
        """What the controls give, defaults left out."""
        given = {**self.others.values(), **{name: control.value() for name, control in self.controls.items()}}
        return {name: value for name, value in given.items() if value is not None}

    def checked(self) -> bool:
        """Whether each control's value is right; each says what is not."""
        right = [control.check() for control in self.controls.values()]
        return self.others.check() and all(right)

    @property
    def cell(self) -> str:
        """The equivalent cell."""
        return self.preview.cell

    def changed(self) -> None:
        """A control has another value."""
        self.busy.heard()
        if not self._loading:
            self.refresh()

    @guarded
    def refresh(self) -> None:
        """The right side, from what the controls say now. A dry run's text stays until something else would be sent."""
        before = self.preview
        if not self.checked():
            self.preview = Preview(self.preview.cell, error="see the marked fields")
        else:
            self.preview = self.door.preview(self.values(), self.code.value)
        if not self._resting:
            self.door.magics.form_cell = self.preview.cell
        self._offer_outputs()
        _set(self.cell_view, self.preview.cell)
        if self.preview != before:
            _set(self.resource_view, self.preview.resource or f"# {self.preview.error}")
        error = self.preview.error if self.preview.option != "code" else ""
        self.facts.value = guide.facts_html(self.preview.estimate, self.preview.warnings, error)

    @guarded
    def refresh_choices(self) -> None:
        """Variables, images, regions: what there is to choose from now."""
        for name, control in self.controls.items():
            if name == "inputs":
                control.offer([(item.label, item.name) for item in self.door.variables()])
            elif control.field.control == "text":
                control.offer(self.door.suggestions(name))

    def _offer_outputs(self) -> None:
        if "outputs" in self.controls:
            self.controls["outputs"].offer([(name, name) for name in assigned_names(self.code.value)])

    def load(self, record: RunRecord) -> None:
        """Put a former run's options and program into the form."""
        values = values_of(record.spec)
        self._loading = True
        try:
            for name, control in self.controls.items():
                control.put(values.pop(name, None))
            self.others.put(" ".join(words_of(values)))
            self.code.value = record.spec.code or ""
        finally:
            self._loading = False
        self.refresh()

    # -- running --------------------------------------------------------------------------------------------------

    @guarded
    def start(self, detached: bool = False) -> None:
        """Begins a run with what the form says; the service is spoken to in a thread."""
        if not self.busy.fresh():
            self.say("a second click beside the first: nothing was started for it")
            return
        try:
            session, spec = self.door.prepare(self.values(), self.code.value)
        finally:
            self.busy.handled()
        self._beginning, self._unwanted = not detached, False
        if not detached:
            self._lock_run(True)
        place = session.first_word(spec)
        self.say(f"{place}\nstarting …")

        def begin() -> None:
            try:
                run = session.submit(spec, foreground=not detached)
                self.panel.choose(run.run_id)
                self.say(f"{place}\n{run.name} runs in the background; the list below follows it" if detached else place)
                if detached:
                    run.add_done_callback(self.bring_home)
                else:
                    self.follow(run)
            except BaseException:
                self._lock_run(self._following())
                raise
            finally:
                self._beginning = False
            if self._unwanted:
                run.cancel(CANCELLED)

        self.in_thread(begin)

    def follow(self, run: Run) -> None:
        """Show that run in the form from now on."""
        with self.viewing:
            self.unfollow()
            self._lock_run(not run.done())
            self.panel.leave_log()
            self.run = run
            self.log.clear()
            self._follower = Follower(run, self.log, self.show, self.bring_home).start()

    def unfollow(self) -> None:
        """The form shows something else; the run goes on, and its results are not below another's log."""
        if self._follower is not None:
            self._follower.stop()
            self._follower = None
        self.run = None
        self.results.children = ()
        self._lock_run(False)

    def _following(self) -> bool:
        """Whether a run of this form is under way."""
        return self.run is not None and not self.run.done()

    @guarded
    def attempt(self, action: Callable[[], None]) -> None:
        """Does it, and shows here what goes wrong."""
        action()

    def in_thread(self, action: Callable[[], None]) -> None:
        """What may wait for the service, in a thread of its own."""
        threading.Thread(target=self.attempt, args=(action,), name="aci-form-ask", daemon=True).start()

    def show(self, record: RunRecord, mine: bool = True) -> None:
        """The record in the state line and the buttons. Called by the follower's thread; `mine`: driven by this kernel."""
        now = datetime.now(UTC)
        over = record.outcome is not None
        _set(self.spoken, spoken_html(record, now))
        _set(self.header, header_html(record, now, False, estimate=self._estimate(record, now), background=not over, spoken=False))
        if mine:
            self._lock_run(not over)
        if over:
            self.panel.refresh()

    def _lock_run(self, running: bool) -> None:
        self.run_button.disabled = running
        self.cancel_button.disabled = not running

    @guarded
    def cancel(self) -> None:
        """The wish that the run ends; its group is deleted."""
        if self._beginning:
            self._unwanted = True
            self.say("cancelled: the run ends as soon as it has begun")
        elif self.run is None or not self.run.cancel(CANCELLED):
            self.say("nothing runs in this form")

    @guarded
    def dry_run(self) -> None:
        """What would be sent, with the variables in it."""
        from ..preview import text

        session, spec = self.door.prepare(self.values(), self.code.value)
        _set(self.resource_view, text(session, spec))
        self.side.selected_index = 1
        self.say("dry run: nothing was sent; the whole resource is in the tab Resource")

    def bring_home(self, run: Run) -> None:
        """Value, figures and variables of a run that is over. Called by the follower's thread."""
        parts: list[w.Widget] = []
        value = run.object("value")
        if value is not None:
            parts.append(w.HTML(guide.value_html(value.data)))
        parts += [w.Image(value=item.data, format="png") for name, item in run.objects().items() if name.startswith("figure-")]
        if run is self.run:
            self.results.children = tuple(parts)
        outcome = run.record.outcome
        if outcome is not None and outcome.kind in {"succeeded", "output_missing"}:
            found, unreadable = run.read()
            self.door.magics.bind(found)
            told = [f"set in this notebook: {', '.join(found)}"] if found else []
            if unreadable is not None:
                told.append(str(unreadable))
            if told:
                self.say("\n".join(told), bad=unreadable is not None)

    # -- saying ---------------------------------------------------------------------------------------------------

    def say(self, text: str, bad: bool = False) -> None:
        """One message, in place of the one before."""
        lines = [el("div", {}, *terminal_nodes(line)) for line in text.split("\n") if line]
        kind = "aci-note aci-bad" if bad else "aci-note"
        self.message.value = (
            to_html(
                el("div", {"class": f"aci-run {'aci-bad' if bad else 'aci-off'}", "role": "status"}, el("div", {"class": kind}, *lines))
            )
            if lines
            else ""
        )

    def note_wait(self) -> None:
        """A cell has been running for a while: buttons wait for it."""
        self.waiting.value = to_html(el("span", {"role": "status"}, "a cell is running: the buttons answer when it is done"))

    def note_free(self) -> None:
        """The kernel listens again."""
        self.waiting.value = ""
        self.refresh_choices()
        self.refresh()  # the cell may have made what was missing: a variable, a file, a secret

    def close(self) -> None:
        """Stops what refreshes the form; runs go on."""
        self.busy.close()
        self.panel.close()
        if self._follower is not None:
            self._follower.stop()

    def retire(self, why: str) -> None:
        """The form rests, and says why."""
        self.close()
        self._resting = True
        for button in (self.run_button, self.detach_button, self.dry_button, self.cancel_button):
            button.disabled = True
        self.panel.rest()
        self.say(f"{why}: this form shows what it showed last")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        found = self.widget._repr_mimebundle_(include=include, exclude=exclude)
        data, metadata = found if isinstance(found, tuple) else (found, {})
        return {**data, "text/plain": guide.text()}, metadata


def _fold(title: str) -> w.Widget:
    """Shows and hides the section after it, by style alone: also while the kernel is busy. An Accordion's titles take no focus."""
    return w.ToggleButton(description=title, tooltip=f"show or hide the options of {title}").add_class("aci-fold")


def _set(widget: w.Widget, text: str) -> None:
    if widget.value != text:
        widget.value = text
