"""Controls of options that are given any number of times: a row for each. And which control each kind of field has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ipywidgets as w

from ..errors import OptionError
from ..fields import Field
from .controls import Changed, CheckControl, ChoiceControl, Control, NamesControl, NumberControl, TextControl, help_of, label_of, named

KINDS_OF_PLACE = ("env", "file")


class RowsControl(Control):
    """Any number of rows; each is one time that the option is given. `K=V` options have two boxes a row, others one."""

    def made(self) -> w.Widget:
        self.pairs = self.field.metavar.startswith("K=V")
        self.rows = w.VBox([]).add_class("aci-rows")
        add = w.Button(description="+ add", tooltip=f"one more {label_of(self.field)}: {self.field.help}")
        add.on_click(lambda _: self.add())
        head = w.HBox([w.Label(label_of(self.field), tooltip=help_of(self.field)), add]).add_class("aci-rows-head")
        return w.VBox([head, self.rows])

    def add(self, text: str = "") -> None:
        """One more row."""
        entries = self.entries(text)
        away = w.Button(description="×", tooltip=f"remove this {label_of(self.field)}").add_class("aci-away")
        row = w.HBox([*map(self.watched, entries), away]).add_class("aci-row")
        away.on_click(lambda _: self._remove(row))
        self.rows.children = (*self.rows.children, row)

    def entries(self, text: str) -> list[w.Widget]:
        word = label_of(self.field)
        if not self.pairs:
            return [named(w.Text(value=text, placeholder=self.field.metavar), word)]
        name, _, content = text.partition("=")
        blank = "value; empty: this kernel's" if self.field.metavar.endswith("|K") else "value"
        return [
            named(w.Text(value=name, placeholder="NAME"), f"name of the {word}").add_class("aci-key"),
            named(w.Text(value=content, placeholder=blank), f"value of the {word}"),
        ]

    def _remove(self, row: w.Widget) -> None:
        self.rows.children = tuple(child for child in self.rows.children if child is not row)
        row.close()
        self.touched()

    def texts(self) -> list[str]:
        """The rows that are filled in, as the option's text."""
        rows = [[child.value.strip() for child in row.children[:-1]] for row in self.rows.children]
        return [text for text in map(self.joined, rows) if text]

    def joined(self, parts: list[str]) -> str:
        if self.pairs and parts[0] and not parts[1] and self.field.metavar.endswith("|K"):
            return parts[0]
        return "=".join(parts) if any(parts) else ""

    def value(self) -> Any:
        return self.texts() or None

    def put(self, value: Any) -> None:
        for row in self.rows.children:
            row.close()
        self.rows.children = ()
        pairs: Iterable[Any] = [f"{name}={content}" for name, content in value.items()] if isinstance(value, Mapping) else value or ()
        for text in pairs:
            self.add(str(text))
        self.touched()


class SecretsControl(RowsControl):
    """Secrets by their place: the name in the container, and the variable of this kernel or the file that holds the value."""

    def entries(self, text: str) -> list[w.Widget]:
        name, _, source = text.partition("=")
        kind, _, place = source.partition(":")
        return [
            named(w.Text(value=name, placeholder="NAME"), "name of the secret in the container").add_class("aci-key"),
            named(
                w.Dropdown(options=KINDS_OF_PLACE, value=kind if kind in KINDS_OF_PLACE else "env"), "where the secret's value is"
            ).add_class("aci-kind"),
            named(w.Text(value=place, placeholder="variable or path"), "the variable's name, or the file's path; empty: as the name"),
        ]

    def joined(self, parts: list[str]) -> str:
        name, kind, place = parts
        if not name and not place:
            return ""
        return name if kind == "env" and place in ("", name) else f"{name}={kind}:{place}"

    def check(self) -> bool:
        """Also whether there is something at each place: a secret pasted here is no place, and must not get into the cell."""
        if not super().check():
            return False
        for row in self.rows.children:
            name, kind, place = (child.value.strip() for child in row.children[:-1])
            there = Path(place).expanduser().is_file() if kind == "file" else bool(os.environ.get(place or name))
            if name and not there:
                rule = "names no file" if kind == "file" else "names no variable of this kernel's environment"
                remedy = f"os.environ[{name!r}] = …, or a file's path; never the secret itself"
                self.say(str(OptionError(self.field.option, f"{name}={kind}:…", rule, remedy)))
                return False
        return True


KINDS: Mapping[str, type[Control]] = {
    "text": TextControl,
    "number": NumberControl,
    "choice": ChoiceControl,
    "check": CheckControl,
    "rows": RowsControl,
    "secrets": SecretsControl,
    "names": NamesControl,
}


def control_of(field: Field, changed: Changed, default: Any = None) -> Control:
    """The control of a field."""
    return KINDS[field.control](field, changed, default)
