"""Reading and showing JSON by a table of shapes (see `surface`).

`parse` turns a request body into its canonical form (known members only, canonical letter case, numbers as floats
where the service answers floats); `echo` turns that into what the service shows (aci-facts §2.3, A3, A4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import invalid

LARGEST = 2**53  # no number of this API is larger, and no float below it loses whole numbers
DEEPEST = 32
Json = Any  # a JSON value: the wire's own shape, checked by `parse`


@dataclass(frozen=True)
class Text:
    """A string; with `one_of`, one of these in any letter case, echoed as the service spells it."""

    one_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Number:
    """A number that comes back as a float."""


@dataclass(frozen=True)
class Whole:
    """An integer."""


@dataclass(frozen=True)
class Flag:
    """true or false."""


@dataclass(frozen=True)
class Anything:
    """Any JSON, echoed as sent."""


@dataclass(frozen=True)
class Secret:
    """Accepted, needed, never echoed; checked as `kind`."""

    kind: Text | Anything


@dataclass(frozen=True)
class SecretMap:
    """Name → text; comes back as an empty object: names are dropped as well as contents."""


@dataclass(frozen=True)
class TextMap:
    """Name → text, echoed as sent."""


@dataclass(frozen=True)
class Refused:
    """Known, honoured by no runtime: accepted only if it holds nothing (a body that was read may be put again)."""

    what: str


@dataclass(frozen=True)
class Listed:
    """A list of one kind of thing."""

    of: Shape


@dataclass(frozen=True)
class Fields:
    """An object with known members, in the order in which the service shows them."""

    members: Mapping[str, Shape]


Shape = Text | Number | Whole | Flag | Anything | Secret | SecretMap | TextMap | Refused | Listed | Fields


def parse(shape: Shape, value: Json, path: str) -> Json:
    """The canonical form of `value`; raises a 400 that names the member (never its value) when it does not fit."""
    match shape:
        case Secret():
            return parse(shape.kind, value, path)
        case Anything():
            if _is_deeper(value, DEEPEST):
                raise _misfit(path, "less deeply nested")
            if _holds_infinity(value):
                raise _misfit(path, "free of numbers that are too large")
            return value
        case Text(one_of):
            return _text(one_of, _expect(value, str, "a string", path), path)
        case Number():
            return float(_number(value, "a number", path))
        case Whole():
            if _number(value, "an integer", path) != int(value):
                raise _misfit(path, "an integer")
            return int(value)
        case Flag():
            return _expect(value, bool, "true or false", path)
        case SecretMap() | TextMap():
            pairs = _expect(value, dict, "an object of strings", path)
            return {name: _expect(text, str, "a string", f"{path}['{name}']") for name, text in pairs.items()}
        case Refused(what):
            if _is_deeper(value, DEEPEST) or _holds_anything(value):
                raise invalid("not on this runtime", f"{what} ('{path}') cannot be honoured by this local ACI.")
            return value
        case Listed(of):
            items = _expect(value, list, "an array", path)
            return [parse(of, item, f"{path}[{index}]") for index, item in enumerate(items)]
        case Fields(members):
            return _parse_fields(members, _expect(value, dict, "an object", path), path)


def _parse_fields(members: Mapping[str, Shape], given: dict[str, Json], path: str) -> Json:
    """Known members in the service's order; letter case does not matter, null means not sent, unknown is ignored."""
    sent = {name.lower(): value for name, value in given.items() if value is not None}
    parsed = {
        name: parse(shape, sent[name.lower()], f"{path}.{name}" if path else name)
        for name, shape in members.items()
        if name.lower() in sent
    }
    return {name: value for name, value in parsed.items() if not isinstance(members[name], Refused)}


def _holds_anything(value: Json) -> bool:
    """Whether anything but empty objects and arrays is in `value`."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return children is None or any(_holds_anything(child) for child in children)


def _text(one_of: tuple[str, ...], value: str, path: str) -> str:
    if not one_of:
        return value
    for known in one_of:
        if known.lower() == value.lower():
            return known
    raise invalid("bad value", f"The value '{value[:64]}' of '{path}' is not one of '{','.join(one_of)}'.")


def _is_deeper(value: Json, levels: int) -> bool:
    """Whether `value` is nested beyond `levels`: what could be read might not be written back."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_deeper(child, levels - 1) for child in children)


def _holds_infinity(value: Json) -> bool:
    """Whether a number in `value` was too large to be read (`1e999`): no JSON could show it."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (isinstance(value, float) and math.isinf(value)) or any(_holds_infinity(child) for child in children)


def _number(value: Json, wanted: str, path: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > LARGEST:
        raise _misfit(path, wanted)
    return value


def _expect(value: Json, kind: type, wanted: str, path: str) -> Json:
    if not isinstance(value, kind):
        raise _misfit(path, wanted)
    return value


def _misfit(path: str, wanted: str) -> Exception:
    return invalid("bad value", f"The request content was invalid: '{path or 'the body'}' must be {wanted}.")


def echo(shape: Shape, value: Json) -> Json:
    """What the service shows of a canonical value: everything but secrets."""
    match shape:
        case SecretMap():
            return {}
        case Listed(of):
            return [echo(of, item) for item in value]
        case Fields(members):
            return {name: echo(members[name], item) for name, item in value.items() if not isinstance(members[name], Secret)}
        case _:
            return value
