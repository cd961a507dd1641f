"""One line of the runner's log → what it means. Pure; the runner's contract is written at the top of `runner/runner.py`.

    NUMBER MARK [SPACE PAYLOAD]         NUMBER is at least six wide, starts at 1, rises by one

    |  text, a newline follows           +  text, no newline follows        \\  text with escapes (\\\\ \\n \\r \\xNN)
    !  text of the remote traceback      ~  present look of a progress bar   >  piece of an object going home
    #  a house line: WORD key=value …    (start, phase, install, retry, alive, object, skip, warn, again, end)

Both sides are tested against each other, never share code.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) ?")
FRAME = re.compile(r"( *(\d{1,15}))([|+\\!~>#])(?: (.*))?$", re.DOTALL)
NUMBER_WIDTH = 6
_ESCAPE = re.compile(rb"\\(\\|n|r|x[0-9a-fA-F]{2})")


@dataclass(frozen=True, slots=True)
class Text:
    """Program output: exact bytes, newlines included. `traceback` marks lines that the raised exception shows."""

    data: bytes
    traceback: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """The present look of a line that the program rewrites (a bar); transient."""

    text: str


@dataclass(frozen=True, slots=True)
class House:
    """A line of the runner itself: a word and its values."""

    word: str
    values: dict[str, str]

    def number(self, key: str, default: float | None = None) -> float | None:
        """A value as a number, or the default when it is missing or no number."""
        try:
            return float(self.values[key])
        except (KeyError, ValueError):
            return default


@dataclass(frozen=True, slots=True)
class Chunk:
    """Piece `index` of `total` of an object on its way home, base64."""

    name: str
    index: int
    total: int
    data: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Lines that the service no longer holds; `lines` is None where even their number is unknown (raw logs)."""

    lines: int | None


Item = Text | Progress | House | Chunk | Gap


@dataclass(frozen=True, slots=True)
class Line:
    """One numbered line as it was read. `stamp` is empty where it came without one; `width` is that of its number."""

    stamp: str
    number: int
    mark: str
    payload: str
    width: int = NUMBER_WIDTH


def line_of(text: str) -> Line | None:
    """The numbered line in this text, or None where it is none of the runner's."""
    stamp = STAMP.match(text)
    found = FRAME.match(text[stamp.end() :] if stamp else text)
    if found is None:
        return None
    return Line(stamp.group(1) if stamp else "", int(found.group(2)), found.group(3), found.group(4) or "", len(found.group(1)))


def unescape(payload: str) -> bytes:
    """The bytes of an escaped payload."""
    single = {b"\\": b"\\", b"n": b"\n", b"r": b"\r"}

    def one(match: re.Match[bytes]) -> bytes:
        code = match.group(1)
        return single[code] if code in single else bytes([int(code[1:], 16)])

    return _ESCAPE.sub(one, payload.encode("utf-8", "surrogatepass"))


def decode(mark: str, payload: str) -> Item:
    """One frame's meaning. A malformed house line or piece is kept as a House line `unreadable`, never dropped."""
    match mark:
        case "|":
            return Text(payload.encode("utf-8", "surrogatepass") + b"\n")
        case "+":
            return Text(payload.encode("utf-8", "surrogatepass"))
        case "\\":
            return Text(unescape(payload))
        case "!":
            return Text(payload.encode("utf-8", "surrogatepass") + b"\n", traceback=True)
        case "~":
            return Progress(payload)
        case ">":
            return _chunk(payload)
        case _:
            return _house(payload)


def _chunk(payload: str) -> Item:
    parts = payload.split(" ")
    match parts:
        case [name, place, data] if re.fullmatch(r"\d{1,9}/\d{1,9}", place):
            index, total = place.split("/")
            return Chunk(name, int(index), int(total), data)
        case _:
            return House("unreadable", {"text": payload[:200]})


def _house(payload: str) -> Item:
    try:
        words = shlex.split(payload)
    except ValueError:
        return House("unreadable", {"text": payload[:200]})
    if not words:
        return House("unreadable", {"text": ""})
    values = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    return House(words[0], values)
