"""Field values as the text of a cell: `cell_text` writes what `line.parse` reads back, `values_of` says what a spec was asked for. Pure.

A word is quoted where the line's own rules would take it apart or replace something in it: single quotes keep everything as it is; a
single quote or a line end inside them is written in a double-quoted piece, where `{chr(10)}` is expanded. Options that are never
expanded (`line.UNEXPANDED`) cannot hold a line end; nothing that passes their parsers does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import OptionError
from ..fields import BY_NAME, FIELDS, Field
from ..spec import RunSpec

_SAFE = re.compile(r"[^\s\"'{}$]+")


def cell_text(values: Mapping[str, Any], code: str) -> str:
    """The `%%aci` cell with these values (as the form gives them) and this program."""
    words = ["%%aci", *words_of(values)]
    return " ".join(words) + "\n" + code


def words_of(values: Mapping[str, Any]) -> Iterator[str]:
    """The options as words of the line, in the table's order."""
    for field in FIELDS:
        value = values.get(field.name)
        if value is None or value is False:
            continue
        if field.switch:
            yield field.option
            continue
        for text in texts_of(field, value):
            yield f"{field.option}={quoted(text)}" if text.startswith("-") else f"{field.option} {quoted(text)}"


def texts_of(field: Field, value: Any) -> list[str]:
    """One value as the texts that follow its flag, one for each time it is given."""
    if isinstance(value, Mapping):
        return [name if content is None else f"{name}={content}" for name, content in value.items()]
    if isinstance(value, str | int | float):
        return [f"{value:g}" if isinstance(value, float) else str(value)]
    parts = [str(part) for part in value]
    return [",".join(parts)] if field.control == "names" and parts else parts


def quoted(text: str) -> str:
    """The text as one word of a magic's line."""
    if _SAFE.fullmatch(text):
        return text
    pieces = re.split(r"(['\n\r])", text)
    written = [_special(piece) if piece in ("'", "\n", "\r") else f"'{piece}'" for piece in pieces if piece]
    return "".join(written) or "''"


def _special(char: str) -> str:
    return '"\'"' if char == "'" else f'"{{chr({ord(char)})}}"'


def values_of(spec: RunSpec) -> dict[str, Any]:
    """The field values that ask for this spec again, defaults left out. Values of secrets and inputs are not among them.

    Raises OptionError for what cannot be written down again.
    """
    given: dict[str, Any] = {
        "secrets": [f"{secret.name}={secret.source}" for secret in spec.secrets],
        "inputs": [item.name for item in spec.inputs],
        "outputs": [*spec.outputs, *spec.output_paths],
    }
    for field in FIELDS:
        if field.of == "spec" and field.name not in given:
            value = getattr(spec, field.name, None)
            given[field.name] = list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
    if spec.implied:
        given.pop("image", None)  # the default image again, and with it the packages of the cell's imports
    found = {name: value for name, value in given.items() if value not in (None, [], {}, "") and value != BY_NAME[name].default}
    for name, value in found.items():
        if isinstance(value, list) and not all(isinstance(part, str) for part in value):
            raise OptionError(BY_NAME[name].option, None, "cannot be put into the form again", "%aci rerun RUN runs it again as it was")
    return found
