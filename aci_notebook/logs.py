"""Successive reads of a container's log → exactly the new text, each line once.

The service has no cursor: a read is the last N lines of a window that slides (`aci-facts` §5). Two ways to follow it:

**Framed** logs come from our runner: every line carries a number and a mark, so any read from any source (log call, attach
websocket, another kernel) merges by number, and what is missing is known exactly. The frames:

    NUMBER MARK [SPACE PAYLOAD]         NUMBER is at least six wide, starts at 1, rises by one

    |  text, a newline follows           +  text, no newline follows        \\  text with escapes (\\\\ \\n \\r \\xNN)
    !  text of the remote traceback      ~  present look of a progress bar   >  piece of an object going home
    #  a house line: WORD key=value …    (start, phase, install, retry, object, skip, warn, again, end)

The runner's contract is written at the top of `runner/runner.py`; both sides are tested against each other, never share code.

**Raw** logs (a run without a runner) are followed by the time stamps the service puts before each line, and by overlap where it
has none. What the window lost is reported as a gap.

Rules. The first line of a window may be cut: it counts only if the next line continues its number (framed), or if it has a
whole time stamp (raw). Lines are split at newline characters alone. A read may be empty, null or older than the last one;
nothing is concluded from that. Items come out in order; what is missing in the middle holds later lines back until it
is filled or `give_up()` says that it will not come. A container that was restarted in place prints its log again with the same
numbers; one that lost its state folder and starts anew begins at 1 with another `start` line, and the cursor begins anew.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) ?")
FRAME = re.compile(r" *(\d{1,15})([|+\\!~>#])(?: (.*))?$", re.DOTALL)
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
        case [name, place, data] if re.fullmatch(r"\d+/\d+", place):
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


@dataclass(frozen=True, slots=True)
class _Line:
    stamp: str
    number: int
    mark: str
    payload: str


class LogCursor:
    """Follows one container's log. Feed it with `read` (log call) and `heard` (attach); both return what is new, in order.

    `framed=False` for a container without our runner. `tail()` says how many lines to ask for next; `hungry` says that the last
    answer did not reach back to what is known, so the next read (with a longer tail) should not wait.
    """

    FIRST_TAIL = 200
    MOST_TAIL = 100_000

    def __init__(self, *, framed: bool = True) -> None:
        self.framed = framed
        self.next_number = 1
        self.closing: House | None = None
        self.foreign: list[str] = []
        self._pending: dict[int, _Line] = {}
        self.hungry = False
        self._tail: int | None = self.FIRST_TAIL
        self._raw = _RawFollower()
        self._heard = ""
        self._heard_lines = 0
        self._last_stamp = ""
        self._first_payload: str | None = None

    # -- what to ask for ------------------------------------------------------------------------------------------

    def tail(self) -> int | None:
        """Lines to ask for in the next read; None = all the service holds."""
        return self._tail

    @property
    def waiting(self) -> bool:
        """True while later lines are held back because earlier ones are missing."""
        return bool(self._pending)

    @property
    def complete(self) -> bool:
        """True when the closing frame and every line before it have come out."""
        return self.closing is not None and not self._pending

    # -- feeding --------------------------------------------------------------------------------------------------

    def read(self, content: str | None) -> list[Item]:
        """What is new in the answer of a log call (with time stamps); null and empty content say nothing."""
        if not content:
            return []
        asked = self._tail
        if not self.framed:
            items, overlapped = self._raw.read(content, asked)
            self._adapt(content.count("\n"), overlapped, len(items))
            return items
        lines = self._lines(content)
        if self._restarted(lines):
            self._tail, self.hungry = None, asked is not None
            if asked is not None:
                return []
        before = self.next_number
        items = self._merge(lines)
        self._adapt(len(lines), not self._pending, self.next_number - before)
        return items

    def heard(self, text: str) -> list[Item]:
        """What is new in text that the attach websocket sent; cut anywhere, no time stamps."""
        self._heard += text
        *whole, self._heard = self._heard.split("\n")
        if len(self._heard) > 1 << 20:
            self._heard = ""
        if not whole:
            return []
        if not self.framed:
            return []
        first = self._heard_lines == 0
        self._heard_lines += len(whole)
        return self._merge(self._lines("\n".join(whole) + "\n", cut_first=first))

    def give_up(self) -> list[Item]:
        """Everything that came, with a Gap wherever lines are missing: the service no longer holds them."""
        items: list[Item] = []
        while self._pending:
            lowest = min(self._pending)
            if lowest > self.next_number:
                items.append(Gap(lowest - self.next_number))
                self.next_number = lowest
            items.extend(self._drain())
        return items

    # -- framed ---------------------------------------------------------------------------------------------------

    def _lines(self, content: str, *, cut_first: bool = True) -> list[_Line]:
        texts = content.split("\n")
        unfinished = texts.pop()  # "" where the content ends with a newline; else a line still being written
        if unfinished and not texts:
            return []
        lines: list[_Line] = []
        for text in texts:
            line = _frame(text)
            if line is None:
                self._foreign(text)
            else:
                lines.append(line)
        if cut_first and len(texts) > 1 and lines:
            suspect = _frame(texts[0])
            second = _frame(texts[1])
            if suspect is not None and (second is None or second.number != suspect.number + 1):
                lines = lines[1:]
        return lines

    def _restarted(self, lines: list[_Line]) -> bool:
        """True where old numbers come with new stamps: the container printed again; a look at line 1 tells what it is."""
        known = [line for line in lines if line.number < self.next_number and line.stamp]
        return bool(known) and bool(self._last_stamp) and max(line.stamp for line in known) > self._last_stamp

    def _foreign(self, text: str) -> None:
        if len(self.foreign) < 200 and text.strip() and text not in self.foreign:
            self.foreign.append(text)

    def _merge(self, lines: list[_Line]) -> list[Item]:
        items: list[Item] = []
        for line in lines:
            if line.number == 1 and self._begin(line.payload):
                items.append(House("anew", {}))
            if line.number >= self.next_number and line.number not in self._pending:
                self._pending[line.number] = line
            elif line.stamp > self._last_stamp:
                self._last_stamp = line.stamp
        return [*items, *self._drain()]

    def _begin(self, payload: str) -> bool:
        """Notes line 1; True where it is another one than before: the container began anew."""
        anew = self._first_payload not in (None, payload)
        self._first_payload = payload
        if anew:
            self.next_number = 1
            self.closing = None
            self._pending.clear()
        return anew

    def _drain(self) -> Iterator[Item]:
        while (line := self._pending.pop(self.next_number, None)) is not None:
            self.next_number += 1
            self._last_stamp = max(self._last_stamp, line.stamp)
            item = decode(line.mark, line.payload)
            if isinstance(item, House) and item.word == "end":
                self.closing = item
            yield item

    # -- how much to ask for --------------------------------------------------------------------------------------

    def _adapt(self, lines: int, overlapped: bool, fresh: int) -> None:
        """Grow when a read did not reach back to what is known; shrink slowly to what such reads need."""
        if not overlapped:
            self.hungry = self._tail is not None
            self._tail = None if self._tail is None or self._tail * 8 > self.MOST_TAIL else self._tail * 8
        else:
            self.hungry = False
            wanted = max(self.FIRST_TAIL, 2 * fresh)
            current = self._tail if self._tail is not None else max(lines, 1)
            self._tail = min(self.MOST_TAIL, max(wanted, current // 2))


def _frame(text: str) -> _Line | None:
    stamp = STAMP.match(text)
    rest = text[stamp.end() :] if stamp else text
    found = FRAME.match(rest)
    if found is None:
        return None
    return _Line(stamp.group(1) if stamp else "", int(found.group(1)), found.group(2), found.group(3) or "")


def _unstamped(text: str) -> str:
    stamp = STAMP.match(text)
    return text[stamp.end() :] if stamp else text


class _RawFollower:
    """Follows a log without numbers by (stamp, text) pairs; equal stamps may occur, so a position is a whole pair."""

    KEEP = 5_000

    def __init__(self) -> None:
        self._known: list[str] = []
        self._partial = ""

    def read(self, content: str, asked: int | None) -> tuple[list[Item], bool]:
        lines = content.split("\n")
        partial = lines.pop()
        if lines and asked is not None and len(lines) >= asked and not STAMP.match(lines[0]):
            lines = lines[1:]
        if not self._known:
            start, overlapped = 0, True
        else:
            start, overlapped = self._overlap(lines)
        fresh = lines[start:]
        items: list[Item] = []
        if not overlapped:
            if asked is not None:
                return [], False
            items.append(Gap(None))
        for line in fresh:
            text = _unstamped(line)
            if self._partial:
                text, self._partial = text.removeprefix(self._partial), ""
            items.append(Text(text.encode("utf-8", "surrogatepass") + b"\n"))
        shown = _unstamped(partial)
        if shown.startswith(self._partial) and len(shown) > len(self._partial):
            items.append(Text(shown[len(self._partial) :].encode("utf-8", "surrogatepass")))
            self._partial = shown
        self._known = (self._known + fresh)[-self.KEEP :]
        return items, True

    def _overlap(self, lines: list[str]) -> tuple[int, bool]:
        """Where the unknown lines begin, and whether the read reaches back to what is known."""
        for size in range(min(len(self._known), len(lines)), 0, -1):
            if lines[:size] == self._known[-size:]:
                return size, True
        last = self._known[-1]
        for place in range(len(lines) - 1, -1, -1):
            depth = min(place + 1, len(self._known))
            if lines[place] == last and lines[place + 1 - depth : place + 1] == self._known[-depth:]:
                return place + 1, True
        return 0, False
