"""One control per field of the table: a label, a widget of the kind that `Field.control` names, and a place for what is wrong with it.

A control gives the value in the form in which `fields.check` takes it, and None where it says what would hold anyway, so that the
equivalent cell stays short. Its label is the option's own word and its tooltip the table's help: who has used the form knows the line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as w

from ..display.html import el, to_html, visible
from ..errors import OptionError
from ..fields import FIELDS, Field, check
from ..line import parse

Changed = Callable[[], None]


def label_of(field: Field) -> str:
    """The option's own word: `memory` for `--memory`."""
    return field.option.lstrip("-")


def help_of(field: Field) -> str:
    """The table's help, default and limits in one line."""
    notes = [field.help, f"default {field.default_text}" if field.default_text else "", field.limits]
    return f"{', '.join(field.flags)}: " + "; ".join(note for note in notes if note)


def named(widget: w.Widget, name: str) -> w.Widget:
    """The widget with a name that is heard and not seen: a tooltip names no text box, for ipywidgets puts an empty label before it."""
    widget.description = name
    return widget.add_class("aci-quiet-label")


class Control:
    """A labelled control; subclasses say how the value is shown and read."""

    def __init__(self, field: Field, changed: Changed, default: Any = None) -> None:
        self.field = field
        self.default = field.default if default is None else default
        self._changed = changed
        self.problem = w.HTML().add_class("aci-problem")
        self.widget = w.VBox([self.made(), self.problem]).add_class("aci-field")

    def made(self) -> w.Widget:
        """The widget that shows the value."""
        raise NotImplementedError

    def value(self) -> Any:
        """What is given, or None where that is the default."""
        raise NotImplementedError

    def put(self, value: Any) -> None:
        """Shows this value; None is the default."""
        raise NotImplementedError

    def offer(self, choices: Sequence[Any]) -> None:
        """Values to choose from, where the control can show some."""

    def check(self) -> bool:
        """Whether the value is right; says beside the control what is not."""
        try:
            check({self.field.name: self.value()})
        except OptionError as error:
            self.say(str(error))
            return False
        self.say("")
        return True

    def say(self, problem: str) -> None:
        """Shows what is wrong, or nothing."""
        markup = _lines(problem)
        if self.problem.value != markup:
            self.problem.value = markup

    def touched(self, _change: Any = None) -> None:
        """Something in the control changed."""
        self.check()
        self._changed()

    def watched(self, widget: w.Widget) -> w.Widget:
        widget.observe(self.touched, names="value")
        return widget


class TextControl(Control):
    """Any text, with values to choose from where there are some."""

    def made(self) -> w.Widget:
        kernel = f"{sys.version_info[0]}.{sys.version_info[1]}"
        placeholder = (
            self.field.default_text.replace("<this kernel's minor>", kernel)
            if self.default in (None, self.field.default)
            else str(self.default)
        )
        self.entry = w.Combobox(
            description=label_of(self.field),
            placeholder=placeholder or self.field.metavar,
            tooltip=help_of(self.field),
            ensure_option=False,
        )
        return self.watched(self.entry)

    def value(self) -> Any:
        return self.entry.value.strip() or None

    def put(self, value: Any) -> None:
        parts = [value] if isinstance(value, str | int | float) or value is None else value
        self.entry.value = " ".join(f"{part:g}" if isinstance(part, float) else str(part) for part in parts if part is not None)

    def offer(self, choices: Sequence[Any]) -> None:
        self.entry.options = tuple(str(choice) for choice in choices)


class NumberControl(Control):
    """A number with its unit, and buttons for the usual ones."""

    def made(self) -> w.Widget:
        start = _number(self.default)
        self.entry = w.FloatText(
            value=start, description=label_of(self.field), tooltip=help_of(self.field), continuous_update=True
        ).add_class("aci-number")
        presets = [
            w.Button(description=f"{preset:g}", tooltip=f"{label_of(self.field)} {preset:g} {self.field.unit}")
            for preset in self.field.presets
        ]
        for button, preset in zip(presets, self.field.presets, strict=True):
            button.on_click(lambda _, preset=preset: setattr(self.entry, "value", float(preset)))
        unit = w.Label(self.field.unit).add_class("aci-unit")
        return w.HBox([self.watched(self.entry), unit, *presets]).add_class("aci-presets")

    def value(self) -> Any:
        given = self.entry.value
        return None if given == _number(self.default) else int(given) if given.is_integer() else given

    def put(self, value: Any) -> None:
        self.entry.value = _number(self.default if value is None else value)


def _number(value: Any) -> float:
    return float(value) if value not in (None, "") else 0.0


class ChoiceControl(Control):
    """One of a few."""

    def made(self) -> w.Widget:
        self.entry = w.Dropdown(
            options=self.field.choices, value=str(self.default), description=label_of(self.field), tooltip=help_of(self.field)
        )
        return self.watched(self.entry)

    def value(self) -> Any:
        return None if self.entry.value == self.default else self.entry.value

    def put(self, value: Any) -> None:
        self.entry.value = str(self.default if value is None else value)


class CheckControl(Control):
    """Yes or no."""

    def made(self) -> w.Widget:
        self.entry = w.Checkbox(
            value=bool(self.default), description=f"{label_of(self.field)}: {self.field.help}", tooltip=help_of(self.field), indent=False
        )
        return self.watched(self.entry)

    def value(self) -> Any:
        return None if self.entry.value == bool(self.default) else self.entry.value

    def put(self, value: Any) -> None:
        self.entry.value = bool(self.default if value is None else value)


class NamesControl(Control):
    """Names of variables: a text, and a list of what there is to choose from."""

    def made(self) -> w.Widget:
        self.entry = w.Text(description=label_of(self.field), placeholder=self.field.metavar, tooltip=help_of(self.field))
        self.chooser = named(w.SelectMultiple(options=(), rows=4), f"choose what to add to {label_of(self.field)}").add_class("aci-chooser")
        self.chooser.observe(self._chosen, names="value")
        self.chooser.layout.display = "none"
        self._offered: tuple[tuple[str, str], ...] = ()
        self._marking = False  # the list follows the text just now, not the person
        return w.VBox([self.watched(self.entry), self.chooser])

    def _chosen(self, change: Any) -> None:
        if self._marking:
            return
        taken, given = set(change["new"]), set(change["old"])
        kept = [part for part in self._parts() if part not in given - taken]
        self.entry.value = ",".join(dict.fromkeys([*kept, *(name for name in change["new"] if name not in kept)]))

    def touched(self, _change: Any = None) -> None:
        self._mark()
        super().touched()

    def _mark(self) -> None:
        """Chosen in the list is what the text says: a name that was typed away can be clicked again."""
        known = {name for _, name in self._offered}
        self._marking = True
        self.chooser.value = tuple(part for part in self._parts() if part in known)
        self._marking = False

    def _parts(self) -> list[str]:
        return [part.strip() for part in self.entry.value.split(",") if part.strip()]

    def value(self) -> Any:
        return self.entry.value.strip() or None

    def put(self, value: Any) -> None:
        self.entry.value = value if isinstance(value, str) else ",".join(value or ())

    def offer(self, choices: Sequence[Any]) -> None:
        """`choices`: (label, name) pairs."""
        offered = tuple(choices)
        if offered == self._offered:
            return
        self._offered = offered
        with self.chooser.hold_sync():
            self._marking = True
            self.chooser.options = offered
            self._mark()
            self.chooser.rows = max(2, min(5, len(offered)))
        self.chooser.layout.display = "" if offered else "none"


class OthersControl:
    """Every option that has no control, as one writes it in a line: `--retries 2 --registry …`."""

    def __init__(self, changed: Changed, evaluate: Callable[[str], Any]) -> None:
        self._changed = changed
        self._evaluate = evaluate
        self._table = tuple(field for field in FIELDS if field.control == "none" and field.of != "call")
        known = " ".join(field.option for field in self._table)
        self.entry = w.Text(description="others", placeholder="--retries 2 …", tooltip=f"options without a field of their own: {known}")
        self.problem = w.HTML().add_class("aci-problem")
        self.entry.observe(self.touched, names="value")
        self.widget = w.VBox([self.entry, self.problem]).add_class("aci-field")

    def touched(self, _change: Any = None) -> None:
        self.check()
        self._changed()

    def values(self) -> dict[str, Any]:
        """The options' values as the line gives them. Raises OptionError."""
        found = parse(self.entry.value, self._evaluate)
        options = {field.name: field for field in FIELDS}
        for name in found.values:
            field = options[name]
            if field not in self._table:
                rule = "is about a cell's own output, or a button here" if field.of == "call" else "has a field of its own in this form"
                raise OptionError(field.option, None, rule, f"here belong {' '.join(item.option for item in self._table)}")
        if found.wants_help or found.command:
            word = "--help" if found.wants_help else "--"
            raise OptionError(word, None, "has no place in this form", "%%aci --help lists the options; a command is for %aci run")
        return dict(found.values)

    def put(self, text: str) -> None:
        self.entry.value = text

    def check(self) -> bool:
        """Whether these are options with right values; says beside the text what is not."""
        try:
            check(self.values())
        except OptionError as error:
            self.problem.value = _lines(str(error))
            return False
        self.problem.value = ""
        return True


def _lines(problem: str) -> str:
    return to_html(*[el("div", {}, line) for line in visible(problem).split("\n") if line])
