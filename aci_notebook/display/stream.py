"""Which lines of a program's output go under its cell, and when. Pure: the caller gives bytes and clock readings, and gets text to write.

A notebook is not a log file: it is saved, mailed and opened on a train, and the server between kernel and browser drops messages
beyond 1,000 a second or 1 MB/s. So the cell keeps at most `lines_max` lines (and `BYTES_MAX` bytes): the first half goes out
live; what comes after it is held in a ring of the same size, and `release` gives it back at the end behind one line that says
how many were left out and where they are. While lines are held, `latest` has the newest ones for a live display. With `tail=N`
nothing goes out live and the ring holds N lines.

Lines are completed before they are written, since only a complete line can be cleaned of carriage returns and escape sequences; an
unfinished line is written after `PARTIAL_AFTER_S`, so that a row of dots is seen to grow. A line over `LINE_CHARS_MAX` is cut, and
says how large it was. Text is written in batches: at once when the last write is `WRITE_EVERY_S` ago or `WRITE_BYTES` wait.
"""

from __future__ import annotations

import codecs
from collections import deque
from datetime import UTC, datetime

from .html import clean_line, is_plain, without_unfinished_escape

LINE_CHARS_MAX = 2_000
RAW_CHARS_MAX = 4 * LINE_CHARS_MAX
BYTES_MAX = 1_000_000
WRITE_EVERY_S = 0.1
WRITE_BYTES = 64 * 1024
PARTIAL_AFTER_S = 0.3
LATEST_LINES = 10


class Lines:
    """Bytes in any pieces → complete, clean, bounded lines. Holds at most RAW_CHARS_MAX characters of an unfinished one."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._cut_chars = 0

    def feed(self, data: bytes, final: bool = False) -> list[str]:
        """The lines that these bytes complete, without their ends; with `final`, the unfinished one too."""
        *whole, last = self._decoder.decode(data, final).split("\n")
        done: list[str] = []
        for line in whole:
            if not self._held and not self._cut_chars and len(line) <= LINE_CHARS_MAX and is_plain(line):
                done.append(line)
            else:
                self._extend(line)
                done.append(self._take())
        self._extend(last)
        if final and (self._held or self._cut_chars):
            done.append(self._take())
        return done

    def partial(self) -> str:
        """The unfinished line as far as it can be shown."""
        held = without_unfinished_escape(self._held)
        return _shortened(clean_line(held), 0) if held else ""

    def _extend(self, text: str) -> None:
        body = text.rstrip("\r")
        rewritten = body.rfind("\r")
        if rewritten >= 0 or (body and self._held.endswith("\r")):
            text, self._held, self._cut_chars = text[rewritten + 1 :], "", 0
        room = max(0, RAW_CHARS_MAX - len(self._held))
        self._held += text[:room]
        self._cut_chars += max(0, len(text) - room)

    def _take(self) -> str:
        line = _shortened(clean_line(self._held.removesuffix("\r")), self._cut_chars)
        self._held, self._cut_chars = "", 0
        return line


def _shortened(line: str, cut_chars: int) -> str:
    if len(line) <= LINE_CHARS_MAX and not cut_chars:
        return line
    reset = "\x1b[0m" if "\x1b" in line else ""
    return f"{without_unfinished_escape(line[:LINE_CHARS_MAX])}{reset} … (a line of {_count(len(line) + cut_chars)} characters)"


def _count(number: int) -> str:
    return f"{number:,}"


class CellStream:
    """The text of one run on its way into one cell."""

    def __init__(self, *, lines_max: int = 2_000, tail: int | None = None, timestamps: bool = False, bytes_max: int = BYTES_MAX) -> None:
        self._lines = Lines()
        self._timestamps = timestamps
        self._room_lines = max(1, lines_max // 2) if tail is None else 0
        self._room_bytes = bytes_max // 2 if tail is None else 0
        self._ring_lines = max(1, lines_max - lines_max // 2) if tail is None else max(0, tail)
        self._ring_bytes = bytes_max // 2
        self._ring: deque[str] = deque()
        self._ring_size = 0
        self._waiting: list[str] = []
        self._waiting_size = 0
        self._written_at = float("-inf")
        self._fed_at = float("-inf")
        self._open = ""
        self._coloured = False
        self.left_out = 0
        self.lines_seen = 0
        self.holding = tail is not None

    @property
    def held(self) -> int:
        """How many lines wait for `release`."""
        return len(self._ring)

    def latest(self, count: int = LATEST_LINES) -> list[str]:
        """The newest held lines, oldest first."""
        return [self._ring[place] for place in range(max(0, len(self._ring) - count), len(self._ring))]

    def feed(self, data: bytes, at: datetime, mono: float, final: bool = False) -> None:
        """Take program output."""
        for line in self._lines.feed(data, final):
            self._take(line, at)
        if data:
            self._fed_at = mono

    def say(self, text: str, at: datetime) -> None:
        """Take a line of our own, at this place of the output."""
        for line in self._lines.feed(b"", True):
            self._take(line, at)
        self._take(("\x1b[0m" if self._coloured else "") + text, None)

    def due(self, mono: float) -> str:
        """What should be written now: nothing, or a batch."""
        if mono - self._fed_at >= PARTIAL_AFTER_S:
            self._emit_partial()
        if not self._waiting or (mono - self._written_at < WRITE_EVERY_S and self._waiting_size < WRITE_BYTES):
            return ""
        return self._batch(mono)

    def flush(self, mono: float) -> str:
        """All that may be written, regardless of the clock."""
        return self._batch(mono) if self._waiting else ""

    def release(self, at: datetime, mono: float, log_path: str) -> str:
        """The end: the unfinished line, and what was held behind the line that says what is missing."""
        self.feed(b"", at, mono, final=True)
        parts = [self.flush(mono)]
        if self._ring:
            if self.left_out:
                parts.append(left_out_line(self.left_out, log_path) + "\n")
            parts.extend(line + "\n" for line in self._ring)
            self._ring.clear()
            self._ring_size = 0
        text = "".join(parts)
        if self._coloured and text:
            text += "\x1b[0m"
        return text

    def _take(self, line: str, at: datetime | None) -> None:
        self.lines_seen += 1
        if self._timestamps and at is not None:
            line = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z {line}"
        size = len(line) + 1 if line.isascii() else len(line.encode()) + 1
        if "\x1b" in line:
            self._coloured = True
        if not self.holding and self._room_lines > 0 and size <= self._room_bytes:
            self._room_lines -= 1
            self._room_bytes -= size
            self._emit(self._rest(line) + "\n")
            return
        if self._open:
            self._emit("\n")
            self._open = ""
        self.holding = True
        self._ring.append(line)
        self._ring_size += size
        while self._ring and (len(self._ring) > self._ring_lines or self._ring_size > self._ring_bytes):
            gone = self._ring.popleft()
            self._ring_size -= len(gone) + 1 if gone.isascii() else len(gone.encode()) + 1
            self.left_out += 1

    def _rest(self, line: str) -> str:
        """What is still to be written of a line that was begun unfinished; rewritten lines start anew."""
        begun, self._open = self._open, ""
        if not begun:
            return line
        return line[len(begun) :] if line.startswith(begun) else "\n" + line

    def _emit_partial(self) -> None:
        if self.holding or self._timestamps or self._room_lines <= 0:
            return
        line = self._lines.partial()
        if line and line != self._open and line.startswith(self._open):
            self._emit(line[len(self._open) :])
            self._open = line

    def _emit(self, text: str) -> None:
        self._waiting.append(text)
        self._waiting_size += len(text)

    def _batch(self, mono: float) -> str:
        text = "".join(self._waiting)
        self._waiting.clear()
        self._waiting_size = 0
        self._written_at = mono
        return text


def left_out_line(count: int, log_path: str) -> str:
    """The line that stands where lines are missing."""
    where = f", whole log: {log_path}" if log_path else ""
    return f"… {_count(count)} {'line' if count == 1 else 'lines'} left out here{where} …"
