#!/usr/bin/env python3
r"""The runner: runs one job in a container, and prints a log from which every line can be proved to have arrived.

It travels alone, as a file in a secret volume, into an image that knows nothing of us: one file, the standard library,
Python 3.8 and newer, any user, nothing writable but STATE. `runner.py STATE` is the parent; `runner.py STATE --child`
is the bootstrap of a Python body. Its settings, job.json, lie beside it (DEFAULTS below lists them).

THE LOG. Every line that leaves is a frame, so nothing the program prints can be taken for ours:

    NUMBER MARK [SPACE PAYLOAD] NEWLINE           NUMBER from 1, +1 each, the same again in a replay
    |  text, a newline follows it                 +  text, no newline follows
    \  text with escapes (\\ \n \r \xNN)          ~  the present look of a line rewritten by carriage returns
    !  a line of the remote traceback             >  NAME I/N BASE64, a piece of an object
    #  WORD key=value ..., a house line, quoted as a shell would: start phase install retry alive object skip warn again end

Text is exact: unescaped and joined, `|` `+` `\` give the program's bytes, however it wrote them. `\` is used where a
piece is not UTF-8 or holds a control character other than TAB and ESC, or something that str.splitlines takes for the
end of a line. Long lines are cut at 4000 bytes, between characters. An open line leaves after 0.2 s of quiet, or when
it has waited a second. The one exception to exactness is the bar: a line with a carriage return that is not its end
is kept as a terminal would show it, seen in `~` frames at most once a second, and printed once, as text, when it ends.
If its beginning had already left, its final look is preceded by one carriage return. Bars over several lines (cursor
up) are not understood. Empty payloads have no space before them.

HOW IT FLOWS. Program -> one pipe -> Watch -> Text -> Log: spool file -> writer thread -> fd 1. Only the main thread
numbers, only the writer writes. The writer paces itself (burst, then rate; each frame costs its length and 32 bytes),
because the service keeps a window of the last megabytes and no cursor; the spool takes what must wait, so the job is
never blocked, and memory stays small. Pacing ends at SIGTERM, and at timeout_s + linger_s: a bill is bounded. With no
space left for the spool, text is lost, counted and reported; house lines are kept in memory; numbers stay whole.

A job that says nothing is not taken for dead: after max(2, min(60, a quarter of the runner's age)) seconds in which no
frame was printed, while a child runs, `# alive wall_s=` is. A reader that misses it has a reason to ask for the state.

HOW A JOB ENDS. By its child's exit, not by the end of the pipe, which a grandchild may hold: the pipe is drained for
at most 2 s, then the rest of the process group is ended. The container's exit code is the job's; a signal is 128 + n.

    outcome         exit    when
    succeeded       0
    failed          1..255  the program's exit code (126: the runner itself could not begin or broke, a warn says why)
    signal          128+n   it was killed; signal=NAME
    oom             137     by SIGKILL, or with exit code 137, and the kernel counts an out-of-memory kill; or by
                            SIGKILL at 93 % of memory_gb (the largest process, or the container's cgroup if it is ours)
    timeout         124     timeout_s from the runner's start, installation included: SIGTERM, 5 s, SIGKILL
    terminated      143     SIGTERM, SIGINT or SIGHUP from outside: forwarded, 5 s or a second one, SIGKILL; no linger.
                            A job that had already ended keeps its own outcome
    install_failed  125     pip's words are in `# install` lines
    no_interpreter  127     the command is not in the image, or cannot be executed
    late            75      start_by has passed and there is no mark: an emptyDir was lost, do not run twice
    restarted       0       the platform started the container again: not run again

RESTARTED IN PLACE. STATE/started (one line for each attempt: number, time) is on the disk before a child starts.
STATE/spool is written out again from its first frame; if the closing frame is in it, that is all. Otherwise `# again`
follows with the next number and, unless retries are left, `# end outcome=restarted`; a retry gets what remains of
timeout_s. A mark without a whole line counts as an attempt: in doubt a job does not run twice. lines= and bytes= of
the closing frame count the text of the whole spool, of all attempts together.

GOING HOME. A Python body's results are packed by the child into STATE/out and printed by the parent after the
program's text: tracebacks first (of every attempt), then, of the last attempt, the objects: error, value, var:NAME,
path:P, figure-N. sha256= and bytes= are of the raw object, encoded= counts its base64; NAME has spaces, percent signs
and control characters %-encoded. Objects share one limit; what does not fit is a `# skip`, and the rest goes on;
figures come last because nobody asked for them by name. Variables go home only from success, figures and error also
from failure, paths from everything except terminated and what never ran. Fields of a shape in `error` beyond the
contract: each entry of "chain" has "link": "cause" or "context"; the exception itself has "bases": its classes
that every Python has, nearest first.

SECRETS. The values of the variables named in `mask` (6 characters and more; also without surrounding white space) are
replaced in text, house lines, tracebacks, error and value, also across the borders of chunks: an end that could begin
a secret is held back, even from the flush of an open line, until it is decided. Objects that were asked for by name
go home as they are. A program that encodes a secret before it prints it is beyond us.

WHEN YOU TOUCH IT. A new frame or field: here, in logs.py on the other side, in tests/runner/running.py, and where it
is simple in runner.sh. A new outcome: the table above and the client's. Anything that reads /proc or cgroups must be
optional: the local ACI runs this on macOS too.
"""

from __future__ import annotations

import ast
import base64
import codecs
import errno
import fcntl
import hashlib
import json
import linecache
import os
import pickle
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import traceback
import types
import zlib
from typing import IO, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, cast

VERSION = 1
HERE = os.path.dirname(os.path.abspath(__file__))
CELL = "<cell>"

CUT = 4000  # bytes of payload in one frame: a log line of Azure is safe at this length
RAW_CUT = 1000  # bytes of a piece that may have to be escaped: four characters each at worst
QUIET_S = 0.2  # a partial line leaves after this long without another byte ...
PATIENCE_S = 1.0  # ... or when its first byte has waited so long; also the shortest time between two looks of a bar
READ_BYTES = 1 << 18
PIPE_BYTES = 1 << 20
WRITE_BYTES = 1 << 14
FRAME_COST = 32  # what the service adds to a line: a time stamp and an envelope
ALIVE_LEAST_S, ALIVE_MOST_S, ALIVE_SHARE = 2.0, 60.0, 0.25
DRAIN_S = 2.0
GROUP_GRACE_S = 0.5
STOP_GRACE_S = 5.0

EXIT_LATE, EXIT_INSTALL, EXIT_BROKEN, EXIT_MISSING = 75, 125, 126, 127
ASKED = {"timeout": 124, "terminated": 143}


# ── masking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Masker:
    """Replaces secrets in a stream of bytes, also where a secret is cut by the border of two chunks."""

    def __init__(self, names: List[str]) -> None:
        found: set[bytes] = set()
        for name in names:
            value = os.environb.get(name.encode(), b"")
            found.update(form for form in (value, value.strip()) if len(form) >= 6)
        self.secrets = sorted(found, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self.secrets)))
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what is safe to show; the rest, a possible beginning of a secret, is held until it is known."""
        if not self.secrets:
            return data
        data = self._held + data
        hold = self._hold_from(data, 0)
        shown, at = [], 0
        if any(secret in data for secret in self.secrets):
            for match in self._pattern.finditer(data):
                if match.start() >= hold:
                    break
                shown += [data[at : match.start()], b"******"]
                at = match.end()
            if at > hold:  # the last match took the beginning of what was to be held
                hold = self._hold_from(data, at)
        self._held = data[hold:]
        return b"".join(shown) + data[at:hold]

    def close(self) -> bytes:
        """Return what was held: no secret can be completed any more."""
        held, self._held = self._held, b""
        return self.mask(held)

    def mask(self, data: bytes) -> bytes:
        """Return the masked form of a complete text."""
        return self._pattern.sub(b"******", data) if self.secrets else data

    def text(self, text: str) -> str:
        """Return the masked form of a complete text."""
        if not self.secrets:
            return text
        return self.mask(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def _hold_from(self, data: bytes, start: int) -> int:
        """Where the longest end of data (not before start) begins that a secret could begin with."""
        longest = len(self.secrets[0]) - 1
        for at in range(max(start, len(data) - longest), len(data)):
            end = data[at:]
            if any(len(secret) > len(end) and secret.startswith(end) for secret in self.secrets):
                return at
        return len(data)


# ── bytes → pieces ───────────────────────────────────────────────────────────────────────────────────────────────────

_CONTROLS = bytes(set(range(32)) - set(b"\t\n\x1b") | {127})
_SEPARATORS = re.compile(b"\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")  # C1 controls, and what str.splitlines takes for an end


def is_clean(data: bytes) -> bool:
    """Whether data (lines or a piece of one) may stand in a log as it is: UTF-8 without control characters."""
    if len(data.translate(None, _CONTROLS)) != len(data):
        return False
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return _SEPARATORS.search(data) is None


_ESCAPES = {
    ord(char): "".join("\\x%02x" % byte for byte in char.encode("utf-8", "surrogateescape"))
    for group in (range(9), range(11, 27), range(28, 32), range(127, 160), (0x2028, 0x2029), range(0xDC80, 0xDD00))
    for char in map(chr, group)
}
_ESCAPES.update({ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r"})
_BLANKS = {odd: " " for odd in _ESCAPES if odd != ord("\\")}


def escape(data: bytes) -> bytes:
    """Return the payload of a frame with escapes: exact for any bytes."""
    return data.decode("utf-8", "surrogateescape").translate(_ESCAPES).encode("utf-8")


def cut_before(data: bytes, start: int, limit: int) -> int:
    """Return where a piece of at most limit bytes from start ends without cutting a character."""
    end = start + limit
    if end >= len(data):
        return len(data)
    for back in range(4):
        if data[end - back] & 0xC0 != 0x80:
            return end - back
    return end


def whole_characters(data: bytes) -> int:
    """Return the length of data without an unfinished UTF-8 character at its end."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        need = 2 if byte >> 5 == 6 else 3 if byte >> 4 == 14 else 4 if byte >> 3 == 30 else 1
        return len(data) - back if need > back else len(data)
    return len(data)


_TOKENS = re.compile("\x1b\\[([0-?]*)[ -/]*([@-~])|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b[^\\[\\]]?|\x08|[^\x1b\x08]+|\x1b")


def overlay(base: str, new: str) -> str:
    """Return how a terminal line that shows base looks after new was written from its first column."""
    if "\x1b" not in new and "\x08" not in new and "\x1b" not in base:
        return new + base[len(new) :]
    cells: List[Tuple[str, str]] = []
    for text in (base, new):
        column, style = 0, ""
        for token in _TOKENS.finditer(text):
            word, number, final = token.group(), token.group(1), token.group(2)
            count = int(number) if number and number.isdigit() else 0
            if word == "\x08":
                column = max(0, column - 1)
            elif final == "m":
                style = "" if count == 0 and number in ("", "0") else (style + word)[-64:]
            elif final == "K":
                cells = cells[:column] if count == 0 else [("", " ")] * column + cells[column:] if count == 1 else []
            elif final == "G":
                column = min(max(count, 1) - 1, CUT)
            elif final in ("C", "D"):
                column = min(max(0, column + max(count, 1) * (1 if final == "C" else -1)), CUT)
            elif word[0] != "\x1b":
                cells += [("", " ")] * (column - len(cells))
                cells[column : column + len(word)] = [(style, char) for char in word]
                column += len(word)
    shown, style = [], ""
    for wanted, char in cells:
        if wanted != style:
            shown.append(("\x1b[0m" if style else "") + wanted)
            style = wanted
        shown.append(char)
    return "".join(shown) + ("\x1b[0m" if style else "")


class Bar:
    """One line of the program that it rewrites with carriage returns; only the present look is kept."""

    def __init__(self, shown: bytes) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._base = ""  # the line as it stood at the last carriage return
        self._new = shown.decode("utf-8", "surrogateescape")  # what was written since, from the first column
        self.last = ""  # the look printed last
        self.touched = True  # written on since

    def add(self, data: bytes, final: bool = False) -> None:
        """Write on the line."""
        self.touched = True
        parts = (self._new + self._decode(data, final)).split("\r")
        self._new = parts.pop()
        if any("\x1b" in part or "\x08" in part for part in parts):
            parts = parts[-50:]  # hundreds of coloured looks in one chunk: the last ones decide
        for part in parts:
            self._base = overlay(self._base, part)[: 4 * CUT]

    @property
    def overgrown(self) -> bool:
        """Whether this is no bar any more but a very long line."""
        return len(self._new) > 2 * CUT

    def look(self) -> str:
        """Return the line as a terminal shows it now."""
        return overlay(self._base, self._new).rstrip(" ")


# ── the log ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Log:
    """Numbered frames: appended to the spool by the main thread, written to fd 1 in their own time by another."""

    _FRAME = re.compile(rb" *(\d+)([|+\\~!>#])(?: (.*))?")

    def __init__(self, path: str, masker: Masker, job: Dict[str, Any], drained: Callable[[], None]) -> None:
        self.masker = masker
        self.number = self.lines = self.bytes = 0
        self.last = b""  # the last house line
        self.began = self.spoke_at = time.monotonic()
        self.ended = False  # whether the closing frame is printed
        self.lost_bytes = 0  # text that found no space left on the disk
        self._batch: List[bytes] = []
        self._committed = (0, 0, 0)
        self._tail: List[bytes] = []  # frames that found no space: house lines only, kept in memory
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = 0
        self._recover()
        self._burst, self._rate = float(job["burst_bytes"]), max(1.0, float(job["rate_bytes_s"]))
        self._grown = threading.Condition()
        self._hurry = threading.Event()
        self._closing = False
        self._on_drained = drained
        self.drained = threading.Event()
        self._thread = threading.Thread(target=self._write_out, name="writer", daemon=True)

    def start(self) -> None:
        """Begin to write out, from the spool's first frame: after a restart that is the replay."""
        self._thread.start()

    # the main thread's side

    def text(self, data: bytes, newline: bool) -> None:
        """Print a piece of program text that is one line or a part of one."""
        if not data and not newline:
            return
        self.bytes += len(data) + newline
        self.lines += newline
        if len(data) <= CUT and is_clean(data):
            self._frame(b"|" if newline else b"+", data)
            return
        at = 0
        while True:
            end = cut_before(data, at, CUT)
            if not is_clean(data[at:end]):
                end = cut_before(data, at, RAW_CUT)
            piece, at = data[at:end], end
            last = newline and at == len(data)
            if is_clean(piece):
                self._frame(b"|" if last else b"+", piece)
            else:
                self._frame(b"\\", escape(piece + (b"\n" if last else b"")))
            if at == len(data):
                return

    def lines_of(self, block: bytes) -> None:
        """Print whole lines: the fast way where all are plain, which is nearly always."""
        lines = block.split(b"\n")
        lines.pop()
        if is_clean(block) and (len(block) <= CUT or max(map(len, lines)) <= CUT):
            first = self.number + 1
            self._batch += [b"%6d| %s\n" % numbered if numbered[1] else b"%6d|\n" % numbered[0] for numbered in enumerate(lines, first)]
            self.number += len(lines)
            self.lines += len(lines)
            self.bytes += len(block)
        else:
            for line in lines:
                self.text(line, True)

    def look(self, look: str) -> None:
        """Print the present look of a bar."""
        payload = look.encode("utf-8", "replace").translate(None, _CONTROLS + b"\n")
        self._frame(b"~", _SEPARATORS.sub(b"?", payload[: cut_before(payload, 0, CUT)]))

    def trace(self, text: str) -> None:
        """Print a traceback."""
        for line in text.encode("utf-8", "replace").splitlines():
            payload = line if is_clean(line) else escape(line)
            payload = payload[: cut_before(payload, 0, CUT)]
            self.bytes += len(payload) + 1
            self.lines += 1
            self._frame(b"!", payload)
        self.flush()

    def piece(self, name: str, index: int, total: int, data: bytes) -> None:
        """Print a piece of an object."""
        self._frame(b">", b"%s %d/%d %s" % (name.encode("utf-8", "replace"), index, total, data))

    def house(self, word: str, **fields: Any) -> None:
        """Print a line of our own. Values are masked and quoted; control characters become spaces."""
        self.flush()
        parts = [word]
        for name, value in fields.items():
            if value is None:
                continue
            text = self.masker.text(str(value)).translate(_BLANKS)
            parts.append(f"{name}={shlex.quote(text[:2000])}" if text else f"{name}=")
        self._frame(b"#", " ".join(parts).encode("utf-8", "replace"))
        self.last = self._batch[-1]
        self.flush(keep=True)

    def keep_alive(self, now: float) -> None:
        """Say that the job goes on, when nothing was said for a while."""
        if now - self.spoke_at >= max(ALIVE_LEAST_S, min(ALIVE_MOST_S, ALIVE_SHARE * (now - self.began))):
            self.house("alive", wall_s=f"{now - self.began:.0f}")

    def flush(self, keep: bool = False) -> None:
        """Append what was printed to the spool. Without space for it, text is lost and counted, house lines are kept."""
        if not self._batch:
            return
        self.spoke_at = time.monotonic()
        data, frames, self._batch = b"".join(self._batch), self._batch, []
        fits = not self._tail and not self.lost_bytes and self._append(data)
        if not fits and keep:
            self._tail += frames
        elif not fits:
            lost = self.bytes - self._committed[2]
            self.number, self.lines, self.bytes = self._committed
            self.lost_bytes += max(lost, 1)
        self._committed = (self.number, self.lines, self.bytes)
        with self._grown:
            self._grown.notify()

    def sync(self) -> None:
        """Put the spool on the disk itself."""
        try:
            os.fsync(self._fd)
        except OSError:
            pass

    def close(self) -> None:
        """Say that nothing more comes: the writer ends after the last frame and sets `drained`."""
        self.flush()
        with self._grown:
            self._closing = True
            self._grown.notify()

    def hurry(self) -> None:
        """End the pacing."""
        self._hurry.set()

    def _frame(self, mark: bytes, payload: bytes) -> None:
        self.number += 1
        self._batch.append(b"%6d%s %s\n" % (self.number, mark, payload) if payload else b"%6d%s\n" % (self.number, mark))

    def _append(self, data: bytes) -> bool:
        view, start = memoryview(data), self._size
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, start)
            return False
        with self._grown:
            self._size += len(data)
        return True

    def _recover(self) -> None:
        """Count what an earlier runner printed, and cut a torn last frame."""
        with open(self._fd, "rb", closefd=False) as spool:
            for line in spool:
                frame = self._FRAME.match(line)
                if not line.endswith(b"\n") or frame is None:
                    break
                self._size += len(line)
                self.number, mark, payload = int(frame.group(1)), frame.group(2), frame.group(3) or b""
                self.ended = mark == b"#" and payload.startswith(b"end ")
                if mark in b"|!":
                    self.bytes, self.lines = self.bytes + len(payload) + 1, self.lines + 1
                elif mark == b"+":
                    self.bytes += len(payload)
                elif mark == b"\\":
                    short = re.sub(rb"\\x..|\\\\|\\r", b".", payload)
                    newlines = short.count(b"\\n")
                    self.bytes, self.lines = self.bytes + len(short) - newlines, self.lines + newlines
        os.ftruncate(self._fd, self._size)
        self._committed = (self.number, self.lines, self.bytes)

    # the writer's side

    def _write_out(self) -> None:
        at, tokens, then, writable = 0, self._burst, time.monotonic(), True
        while True:
            with self._grown:
                while at >= self._size and not self._closing:
                    self._grown.wait()
                if at >= self._size:
                    break
                size = min(WRITE_BYTES, self._size - at)
            chunk = os.pread(self._fd, size, at)
            chunk = chunk[: chunk.rfind(b"\n") + 1] or chunk
            now = time.monotonic()
            tokens, then = min(self._burst, tokens + (now - then) * self._rate), now
            if tokens < 0:
                self._hurry.wait(-tokens / self._rate)
            tokens -= len(chunk) + FRAME_COST * chunk.count(b"\n")
            writable = writable and self._put(chunk)
            at += len(chunk)
        if writable and self._tail:
            self._put(b"".join(self._tail))
        self.drained.set()
        self._on_drained()

    @staticmethod
    def _put(chunk: bytes) -> bool:
        view = memoryview(chunk)
        while view:
            try:
                view = view[os.write(1, view) :]
            except BlockingIOError:
                with selectors.DefaultSelector() as full:
                    full.register(1, selectors.EVENT_WRITE)
                    full.select(1.0)
            except OSError:  # nobody reads any more: the job goes on, the spool has everything
                return False
        return True


class Text:
    """The program's bytes as they come, in any chunking, on their way to frames."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._rest = b""  # the end of what came that has not left
        self._shown = b""  # the beginning of the present line, if it has left already
        self._bar: Optional[Bar] = None
        self._first_at = self._last_at = 0.0
        self._looked_at = -PATIENCE_S

    def feed(self, data: bytes, now: float) -> None:
        """Take what the program wrote."""
        self._take(self._log.masker.feed(data), now)

    def _take(self, data: bytes, now: float) -> None:
        if not data:
            return
        if not self._rest:
            self._first_at = now
        self._last_at = now
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        block, self._rest = data[:end], data[end:]
        if block:
            self._first_at = now
            self._block(block)
        if self._rest:
            self._unfinished(now)
        self._log.flush()

    def due_at(self) -> Optional[float]:
        """Return when tick has something to do."""
        if self._bar is not None:
            return self._looked_at + PATIENCE_S if self._bar.touched else None
        if self._rest:
            return min(self._last_at + QUIET_S, self._first_at + PATIENCE_S)
        return None

    def tick(self, now: float) -> None:
        """Print what has waited long enough."""
        due = self.due_at()
        if due is None or now < due:
            return
        if self._bar is None and self._rest.endswith(b"\r"):
            self._begin_bar(self._rest)
        if self._bar is not None:
            self._look(now)
        else:
            end = whole_characters(self._rest)
            self._partial(end)
            self._first_at = self._last_at = now + (3600.0 if self._rest else 0.0)
        self._log.flush()

    def close(self, now: float) -> None:
        """Take the end of the program's output."""
        self._take(self._log.masker.close(), now)
        data, self._rest = self._rest, b""
        if self._bar is None and b"\r" in data[:-1]:
            self._begin_bar(data)
            data = b""
        if self._bar is not None:
            self._end_bar(data, newline=False)
        else:
            self._log.text(data, False)
        self._log.flush()

    def _block(self, block: bytes) -> None:
        if self._bar is None and b"\r" not in block:
            self._log.lines_of(block)
        else:
            for line in block.split(b"\n")[:-1]:
                if self._bar is None and line.find(b"\r", 0, -1) >= 0:
                    self._bar = Bar(self._shown)
                if self._bar is not None:
                    self._end_bar(line, newline=True)
                else:
                    self._log.text(line, True)
                self._shown = b""
        self._shown = b""

    def _unfinished(self, now: float) -> None:
        if self._bar is not None:
            self._bar.add(self._rest)
            self._rest = b""
        elif b"\r" in self._rest[:-1]:
            self._begin_bar(self._rest)
        elif len(self._rest) > CUT:
            at = 0
            while len(self._rest) - at > CUT:
                end = cut_before(self._rest, at, CUT)
                self._log.text(self._rest[at:end], False)
                at = end
            self._shown = (self._shown + self._rest[:at])[:CUT]
            self._rest = self._rest[at:]
        if self._bar is not None:
            if self._bar.overgrown:
                self._end_bar(b"", newline=False)
            elif now >= self._looked_at + PATIENCE_S:
                self._look(now)

    def _partial(self, end: int) -> None:
        self._log.text(self._rest[:end], False)
        self._shown = (self._shown + self._rest[:end])[:CUT]
        self._rest = self._rest[end:]

    def _begin_bar(self, data: bytes) -> None:
        self._bar = Bar(self._shown)
        self._bar.add(data)
        self._rest = b""

    def _look(self, now: float) -> None:
        assert self._bar is not None
        look, self._bar.touched = self._bar.look(), False
        if look != self._bar.last:
            self._bar.last, self._looked_at = look, now
            self._log.look(look)

    def _end_bar(self, data: bytes, newline: bool) -> None:
        assert self._bar is not None
        self._bar.add(data[:-1] if newline and data.endswith(b"\r") else data, final=True)
        look = self._bar.look().encode("utf-8", "surrogateescape")
        # A beginning that had left before the first carriage return came cannot be taken back: overwrite it.
        self._log.text((b"\r" if self._shown else b"") + look, newline)
        self._bar = None
        self._shown = b"" if newline else look[:CUT]


# ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Ended(NamedTuple):
    """How a child ended: its exit code or minus its signal, and what it used."""

    code: int
    peak_bytes: int
    cpu_s: float


class PipWords:
    """What of pip's output people want to see: its errors and the line of success."""

    def __init__(self) -> None:
        self.text = b""

    def feed(self, data: bytes, now: float) -> None:
        """Take a chunk; the end of a very long output is enough."""
        self.text = (self.text + data)[-(1 << 18) :]

    def due_at(self) -> Optional[float]:
        """Nothing waits here."""
        return None

    def tick(self, now: float) -> None:
        """Nothing waits here."""

    def close(self, now: float) -> None:
        """Nothing waits here."""

    def lines(self, failed: bool) -> List[str]:
        """Return the lines that matter: of a failure without any error line the last ten."""
        every = [line.rstrip() for line in self.text.decode("utf-8", "replace").split("\n") if line.strip()]
        words = ("error:", "fatal:", "no module named") if failed else ("successfully installed",)
        chosen = [line for line in every if line.lower().lstrip(" ×╰─>|").startswith(words)]
        unreached = [line for line in every if failed and line.startswith("WARNING: Retrying")][-1:]  # its cause; the errors say "no match"
        return [*unreached, *chosen[-19:]] or (every[-10:] if failed else [])


class Signals:
    """The signals of this process as a file that a selector can wait for."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        for end in (self.reader, self.writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)
        self.stop: List[int] = []  # signals that ask for the end, in order
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda got, frame: self.stop.append(got))
        signal.signal(signal.SIGCHLD, lambda got, frame: None)

    def wake(self) -> None:
        """End a wait from another thread."""
        try:
            os.write(self.writer, b"\0")
        except BlockingIOError:
            pass

    def clear(self) -> None:
        """Forget what woke us."""
        try:
            while os.read(self.reader, 4096):
                pass
        except BlockingIOError:
            pass


class Watch:
    """One child from start to end: its output goes to the sink, its group gets the signals, nothing of it stays."""

    def __init__(
        self, argv: List[str], env: Dict[str, str], sink: Any, signals: Signals, deadline: float, beat: Callable[[float], None]
    ) -> None:
        self._sink, self._signals, self._deadline, self._beat = sink, signals, deadline, beat
        self._pipe, write_end = os.pipe()
        os.set_blocking(self._pipe, False)
        if sys.platform.startswith("linux"):
            try:
                fcntl.fcntl(write_end, 1031, PIPE_BYTES)  # F_SETPIPE_SZ: a bigger pipe is comfort, not need
            except OSError:
                pass
        try:
            self._child = subprocess.Popen(
                argv, env=env, stdin=subprocess.DEVNULL, stdout=write_end, stderr=write_end, start_new_session=True
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(write_end)
        self.asked: Optional[str] = None  # why we asked it to end, if we did: "terminated" or "timeout"
        self.left_over = False
        self._open = True
        self._ended: Optional[Ended] = None
        self._ended_at = self._read_at = 0.0
        self._kill_at = 0.0

    def run(self) -> Ended:
        """Return how the child ended, after its output was drained and its group ended."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._signals.reader, selectors.EVENT_READ)
            selector.register(self._pipe, selectors.EVENT_READ)
            while self._ended is None or (self._open and time.monotonic() < self._ended_at + DRAIN_S):
                for key, _ in selector.select(self._wait_s()):
                    if key.fd == self._pipe and not self._read():
                        selector.unregister(self._pipe)
                now = time.monotonic()
                self._signals.clear()
                self._reap()
                self._ask_to_end(now)
                self._sink.tick(now)
                self._beat(now)
        self._end_group()
        for _ in range(PIPE_BYTES // READ_BYTES):  # last words of the rest of the group
            if not self._open or not self._read():
                break
        os.close(self._pipe)
        self._sink.close(time.monotonic())
        return self._ended

    def _wait_s(self) -> float:
        if self._ended is not None:
            times = [self._ended_at + DRAIN_S, self._sink.due_at()]
        else:
            times = [self._kill_at if self.asked else self._deadline, self._sink.due_at()]
        soonest = min((at for at in times if at is not None), default=float("inf")) - time.monotonic()
        return max(0.0, min(soonest, 1.0))

    def _read(self) -> bool:
        try:
            data = os.read(self._pipe, READ_BYTES)
        except BlockingIOError:
            return True
        if not data:
            self._open = False
            return False
        now = time.monotonic()
        self._sink.feed(data, now)
        if len(data) < 8192 and now - self._read_at < 0.02:
            time.sleep(0.005)  # text flows in small pieces: let some of them come together
        self._read_at = now
        return True

    def _reap(self) -> None:
        """Take the end of our child, and of orphans that became ours because we are process 1."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._child.pid and self._ended is None:
                code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                self._child.returncode = code
                peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
                self._ended = Ended(code, peak, usage.ru_utime + usage.ru_stime)
                self._ended_at = time.monotonic()

    def _ask_to_end(self, now: float) -> None:
        """Forward a request to end, keep the time limit, and insist after the grace."""
        stop = self._signals.stop
        if self._ended is not None:
            return
        if not self.asked and (stop or now >= self._deadline):
            self.asked = "terminated" if stop else "timeout"
            self._signal_group(stop[0] if stop else signal.SIGTERM)
            self._kill_at = now + STOP_GRACE_S
        elif self.asked and (now >= self._kill_at or len(stop) > 1):
            self._signal_group(signal.SIGKILL)
            self._kill_at = now + STOP_GRACE_S

    def _signal_group(self, number: int) -> bool:
        try:
            os.killpg(self._child.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS says the second of a group of zombies
            return False
        return True

    def _end_group(self) -> None:
        number, until = signal.SIGTERM, time.monotonic() + 0.05
        while self._signal_group(0) and time.monotonic() < until:  # the system may still be burying them
            time.sleep(0.005)
            self._reap()
        until = time.monotonic() + GROUP_GRACE_S
        while self._signal_group(number if not self.left_over else 0):
            self.left_over = True
            if time.monotonic() >= until:
                self._signal_group(signal.SIGKILL)
                self._reap()
                break
            time.sleep(0.01)
            self._reap()


def oom_kills() -> int:
    """Return a counter that grows when the kernel kills for want of memory (cgroup 2, cgroup 1, the whole system)."""
    total = 0
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control", "/proc/vmstat"):
        try:
            with open(path, "rb") as counters:
                found = re.search(rb"^oom_kill (\d+)$", counters.read(), re.M)
        except OSError:
            continue
        total += int(found.group(1)) if found else 0
    return total


def peak_memory(child_bytes: int, memory_gb: Optional[float]) -> int:
    """Return the most memory the job held: the container's own count where there is one, else the largest process."""
    for peak, limit in (("memory.peak", "memory.max"), ("memory/memory.max_usage_in_bytes", "memory/memory.limit_in_bytes")):
        try:
            with open("/sys/fs/cgroup/" + limit, encoding="ascii") as file:
                ours = memory_gb is not None and int(file.read()) <= memory_gb * 1.25 * 2**30
            if ours:  # another limit means a cgroup that others share
                with open("/sys/fs/cgroup/" + peak, encoding="ascii") as file:
                    return max(child_bytes, int(file.read()))
        except (OSError, ValueError):
            continue
    return child_bytes


# ── what goes home ───────────────────────────────────────────────────────────────────────────────────────────────────


class TooLarge(Exception):
    """An object does not fit the limit."""


class Packer:
    """A file to write an object into: compressed at once, counted, and refused as soon as it cannot fit."""

    def __init__(self, path: str, limit: int) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by close
        self._limit = limit
        self._zip = zlib.compressobj(6)
        self._sha = hashlib.sha256()
        self.raw = self.packed = 0

    def write(self, data: Any) -> int:
        """Take bytes (or a buffer)."""
        view = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
        for at in range(0, len(view), 1 << 20):  # a gigabyte is refused after its first megabytes
            part = view[at : at + (1 << 20)]
            self.raw += len(part)
            self._sha.update(part)
            self._store(self._zip.compress(part))
        return len(view)

    def close(self) -> None:
        """Finish the file."""
        try:
            self._store(self._zip.flush())
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Give the file up."""
        self._file.close()
        os.unlink(self._file.name)

    def facts(self) -> Dict[str, Any]:
        """Return what the index and the log say about the object."""
        return {"file": os.path.basename(self._file.name), "bytes": self.raw, "sha256": self._sha.hexdigest()}

    def _store(self, data: bytes) -> None:
        self.packed += len(data)
        if encoded_size(self.packed) > self._limit:
            raise TooLarge
        self._file.write(data)


def encoded_size(packed: int) -> int:
    """Return the length in base64."""
    return (packed + 2) // 3 * 4


class Results:
    """The folder STATE/out: packed objects, and an index of them in the order they were made."""

    def __init__(self, state: str, limit: int) -> None:
        self.folder = os.path.join(state, "out")
        self._limit = limit
        self._count = 0

    def skip(self, name: str, reason: str) -> None:
        """Note an object that cannot go home, and why."""
        self._note({"skip": name, "reason": reason})

    def add(self, name: str, kind: str, type_name: str, write: Callable[[IO[bytes]], None], failed: str) -> None:
        """Pack what write writes; any trouble becomes a skip with its words."""
        self._count += 1
        packer = Packer(os.path.join(self.folder, f"{os.getpid()}-{self._count}"), self._limit)
        try:
            write(cast("IO[bytes]", packer))
            packer.close()
        except TooLarge:
            packer.abandon()
            self.skip(name, f"too large: more than {self._limit:,} bytes encoded ({packer.raw:,} bytes and counting)")
        except Exception as error:  # noqa: BLE001 - the user's own __reduce__ may raise anything
            packer.abandon()
            self.skip(name, f"{failed}: {type(error).__name__}: {error}")
        else:
            self._note({"name": name, "kind": kind, "type": type_name, **packer.facts()})

    def add_json(self, name: str, value: Any, type_name: str) -> None:
        """Pack a JSON document."""
        data = json.dumps(value).encode("utf-8", "replace")
        self.add(name, "json", type_name, lambda file: cast(None, file.write(data)), "not JSON")

    def add_path(self, asked: str) -> None:
        """Pack a file or a folder as tar.gz."""
        name = "path:" + asked
        if not os.path.lexists(asked):
            self.skip(name, f"not there: {os.path.join(os.getcwd(), asked)}")
            return
        inside = os.path.normpath(asked)
        inside = os.path.basename(inside) if os.path.isabs(inside) or inside.startswith("..") else inside

        def anonymous(member: tarfile.TarInfo) -> Optional[tarfile.TarInfo]:
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            return member if member.isfile() or member.isdir() or member.issym() or member.islnk() else None

        def write(file: IO[bytes]) -> None:
            with tarfile.open(fileobj=file, mode="w|gz") as tar:
                tar.add(asked, arcname=inside, filter=anonymous)

        self.add(name, "tar.gz", "dir" if os.path.isdir(asked) else "file", write, "could not be read")

    def entries(self) -> List[Dict[str, Any]]:
        """Return the index."""
        try:
            with open(os.path.join(self.folder, "index"), encoding="utf-8") as index:
                return [json.loads(line) for line in index if line.endswith("\n")]
        except FileNotFoundError:
            return []

    def _note(self, entry: Dict[str, Any]) -> None:
        with open(os.path.join(self.folder, "index"), "a", encoding="utf-8") as index:
            index.write(json.dumps(entry) + "\n")


# ── the runner ───────────────────────────────────────────────────────────────────────────────────────────────────────

DEFAULTS: Dict[str, Any] = {
    "run": "", "language": "argv", "argv": [], "inputs": [], "outputs": [], "function": False, "paths": [], "requirements": [],
    "timeout_s": 86400, "start_by": None, "retries": 0, "linger_s": 600, "burst_bytes": 2_000_000,
    "rate_bytes_s": 1_000_000, "mask": [], "memory_gb": None, "objects_limit_bytes": 1_000_000,
    "display_limit_bytes": 262_144, "python": "",
}  # fmt: skip


def read_job() -> Dict[str, Any]:
    """Return the settings that travelled with us, completed."""
    with open(os.path.join(HERE, "job.json"), encoding="utf-8") as file:
        job = json.load(file)
    return {**DEFAULTS, **{name: value for name, value in job.items() if value is not None}}


def now_text() -> str:
    """Return the present instant in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def exit_code(code: int) -> int:
    """Return what a shell would say of a child's end."""
    return code if code >= 0 else 128 - code


class Runner:
    """The parent: prepares, runs the attempts, brings things home, writes the closing frame, lingers."""

    def __init__(self, state: str) -> None:
        self.began = time.monotonic()
        self.state = os.path.abspath(state)
        self.job = read_job()
        self.signals = Signals()
        self.masker = Masker(self.job["mask"])
        self.log = Log(self.path("spool"), self.masker, self.job, self.signals.wake)
        self.deadline = self.began + float(self.job["timeout_s"])
        self.results = Results(self.state, int(self.job["objects_limit_bytes"]))
        self.env = self.child_env()
        self.attempt = 1
        self.cpu_s, self.peak_bytes, self.install_s = 0.0, 0, 0.0
        self.signal_name: Optional[str] = None

    def path(self, name: str) -> str:
        """Return a path in the state folder."""
        return os.path.join(self.state, name)

    def run(self) -> int:
        """Do everything; return the container's exit code."""
        self.log.start()
        if self.log.ended or os.path.exists(self.path("end")):
            return self.linger(0)
        try:
            return self.end(*self.outcome())
        except Exception as error:  # noqa: BLE001 - our own bug, or no space left: the log must end all the same
            for line in traceback.format_exc().splitlines()[-6:]:
                self.log.house("warn", text=f"runner: {line}")
            self.log.house("warn", text=f"the runner itself failed: {type(error).__name__}: {error}")
            return self.end("failed", EXIT_BROKEN)

    def outcome(self) -> Tuple[str, int]:
        """Decide whether the job may run, and run it; return outcome and exit code."""
        again = os.path.exists(self.path("started"))
        if not again and self.job["start_by"] is not None and time.time() > float(self.job["start_by"]):
            self.say_start()
            return "late", EXIT_LATE
        allowed = not again or self.take_up()
        if allowed:
            self.mark()
        if again:
            self.log.house("again", run=self.job["run"], attempt=self.attempt, at=now_text())
        else:
            self.say_start()
        return self.work() if allowed else ("restarted", 0)

    def say_start(self) -> None:
        """Print the first line of all."""
        python = ".".join(map(str, sys.version_info[:3]))
        self.log.house(
            "start", run=self.job["run"], attempt=self.attempt, runner=VERSION, at=now_text(), python=python,
            pid=os.getpid(),
        )  # fmt: skip

    def take_up(self) -> bool:
        """After a restart in place: whether the job may run once more. Counts the attempts of earlier runners."""
        with open(self.path("started"), encoding="ascii") as file:
            marks = [line.split() for line in file if line.endswith("\n")]
        self.attempt = max(1, len(marks))
        if self.attempt > int(self.job["retries"]):
            return False
        if marks:  # the time limit counts from the first start, as far as the clock can be believed
            spent = time.time() - float(marks[0][1])
            self.deadline -= min(max(0.0, spent), float(self.job["timeout_s"]))
        self.attempt += 1
        return True

    def mark(self) -> None:
        """Note durably that an attempt starts, before it does."""
        flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if self.attempt == 1 else os.O_APPEND)
        durable(self.path("started"), flags, f"{self.attempt} {time.time():.3f}\n".encode())

    def child_env(self) -> Dict[str, str]:
        """Return the job's environment: the container's, and what makes an unbuffered, headless program."""
        env = dict(os.environ, PYTHONUNBUFFERED="1")
        env.setdefault("PYTHONIOENCODING", "utf-8")
        env.setdefault("MPLBACKEND", "agg")
        if not env.get("HOME"):
            env["HOME"] = self.folder("home")
        if not any(os.access(env.get(name) or "/tmp", os.W_OK) for name in ("TMPDIR", "TMP")):
            env["TMPDIR"] = self.folder("tmp")
        return env

    def folder(self, name: str) -> str:
        """Return a folder of the state folder that exists."""
        os.makedirs(self.path(name), exist_ok=True)
        return self.path(name)

    # the job

    def work(self) -> Tuple[str, int]:
        """Install, run, retry, collect; return outcome and exit code."""
        if self.job["requirements"]:
            failed = self.install()
            if failed:
                return failed
        while True:
            shutil.rmtree(self.path("out"), ignore_errors=True)
            self.folder("out")
            outcome, code = self.run_once()
            if outcome not in ("failed", "signal", "oom") or self.attempt > int(self.job["retries"]) or self.signals.stop:
                break
            self.attempt += 1
            self.mark()
            self.log.house("retry", attempt=self.attempt, after_exit=code)
        if outcome not in ("terminated", "no_interpreter"):
            self.collect()
        return outcome, code

    def run_once(self) -> Tuple[str, int]:
        """Run the program once; return outcome and exit code."""
        self.log.house("phase", name="run")
        kills = oom_kills()
        try:
            watch = self.watch(self.command(), self.env, Text(self.log))
        except (OSError, ValueError) as error:
            self.log.house("warn", text=f"cannot start {self.job['argv'][:1]}: {error}")
            return "no_interpreter", EXIT_MISSING
        ended = watch.run()
        self.cpu_s += ended.cpu_s
        self.peak_bytes = max(self.peak_bytes, ended.peak_bytes)
        if watch.left_over:
            self.log.house("warn", text="the program left processes behind in its group: ended")
        try:
            with open(self.path("out/traceback"), encoding="utf-8", errors="replace") as file:
                self.log.trace(file.read())
        except FileNotFoundError:
            pass
        return self.judge(watch, ended, kills)

    def watch(self, argv: List[str], env: Dict[str, str], sink: Any) -> Watch:
        """Start a child; a script without a first line that names its interpreter goes to sh, as in a shell."""
        try:
            return Watch(argv, env, sink, self.signals, self.deadline, self.log.keep_alive)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            return Watch(["/bin/sh", *argv], env, sink, self.signals, self.deadline, self.log.keep_alive)

    def judge(self, watch: Watch, ended: Ended, kills: int) -> Tuple[str, int]:
        """Return outcome and exit code of a child that ended."""
        code = exit_code(ended.code)
        self.signal_name = signal_name(-ended.code) if ended.code < 0 else None
        if watch.asked:
            return watch.asked, ASKED[watch.asked]
        if code == 0:
            return "succeeded", 0
        limit = self.job["memory_gb"]
        near = limit is not None and peak_memory(ended.peak_bytes, limit) >= 0.93e9 * float(limit)
        if (code == 137 and oom_kills() > kills) or (ended.code == -signal.SIGKILL and near):
            return "oom", 137
        return ("signal" if ended.code < 0 else "failed"), code

    def command(self) -> List[str]:
        """Return the job's command line; the body as an executable file of its own where it is asked for."""
        if self.job["language"] == "python":
            return [sys.executable, "-u", os.path.abspath(__file__), self.state, "--child"]
        argv = list(self.job["argv"])
        if "{body}" in argv:
            body = self.path("body")
            with open(os.path.join(HERE, "body"), "rb") as source:
                durable(body, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, source.read(), 0o700)
            argv = [body if item == "{body}" else item for item in argv]
        return argv

    def install(self) -> Optional[Tuple[str, int]]:
        """Install the requirements for the child; return outcome and exit code of a failure."""
        began = time.monotonic()
        asked = [part for item in self.job["requirements"] for part in (shlex.split(item) if item[:1] == "-" else [item])]
        self.log.house("phase", name="install", requirements=" ".join(self.job["requirements"]))
        where = "python {}.{} {} {}".format(*sys.version_info[:2], sys.platform, os.uname().machine)
        key = hashlib.sha256("\n".join([*sorted(self.job["requirements"]), where]).encode()).hexdigest()
        layers = os.environ.get("ACI_NOTEBOOK_LAYERS", "")
        target = os.path.join(layers, key)
        if not layers or not (os.path.isdir(target) or (os.path.isdir(layers) and os.access(layers, os.W_OK))):
            target = self.path("site")
        if os.path.isdir(target):
            self.log.house("install", line="already here: reused")
        else:
            failed = self.pip(asked, target)
            if failed:
                return failed
        self.install_s = time.monotonic() - began
        for name, front in (("PYTHONPATH", target), ("PATH", os.path.join(target, "bin"))):
            self.env[name] = os.pathsep.join(filter(None, (front, self.env.get(name, ""))))
        return None

    def pip(self, asked: List[str], target: str) -> Optional[Tuple[str, int]]:
        """Fill the folder target, beside it first: what has the name is complete."""
        beside = f"{target}.{os.getpid()}-{time.time_ns()}"
        words = PipWords()
        env = dict(self.env, PIP_ROOT_USER_ACTION="ignore", PYTHONWARNINGS="ignore")
        argv = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        argv += ["--progress-bar", "off", "--no-warn-script-location", "--target", beside, *asked]
        began = time.monotonic()
        watch = self.watch(argv, env, words)
        ended = watch.run()
        self.cpu_s += ended.cpu_s
        for line in words.lines(failed=ended.code != 0):
            self.log.house("install", line=line)
        if ended.code == 0:
            try:
                os.makedirs(beside, exist_ok=True)
                os.rename(beside, target)
            except OSError:  # another runner was faster
                if not os.path.isdir(target):
                    raise
        shutil.rmtree(beside, ignore_errors=True)
        self.install_s = time.monotonic() - began
        if watch.asked:
            return watch.asked, ASKED[watch.asked]
        return ("install_failed", EXIT_INSTALL) if ended.code else None

    # the way home

    def collect(self) -> None:
        """Print the objects that fit together, what was asked for by name before pictures nobody asked for."""
        for asked in self.job["paths"]:
            self.results.add_path(asked)
        entries = self.results.entries()
        if not entries:
            return
        self.log.house("phase", name="collect")
        limit = int(self.job["objects_limit_bytes"])
        left = limit
        for entry in sorted(entries, key=lambda entry: str(entry.get("name", "")).startswith("figure-")):
            if "skip" in entry:
                self.log.house("skip", name=object_name(entry["skip"]), reason=entry["reason"])
                continue
            with open(os.path.join(self.results.folder, entry["file"]), "rb") as file:
                data = base64.b64encode(file.read())
            name = object_name(entry["name"])
            if len(data) > left:
                reason = f"too large: {len(data):,} bytes encoded, {left:,} of {limit:,} are left"
                self.log.house("skip", name=name, reason=reason)
                continue
            left -= len(data)
            chunks = [data[at : at + CUT] for at in range(0, len(data), CUT)]
            self.log.house(
                "object", name=name, bytes=entry["bytes"], encoded=len(data), sha256=entry["sha256"],
                kind=entry["kind"], type=entry["type"], chunks=len(chunks),
            )  # fmt: skip
            for index, chunk in enumerate(chunks, 1):
                self.log.piece(name, index, len(chunks), chunk)
            self.log.flush(keep=True)

    def end(self, outcome: str, code: int) -> int:
        """Print the closing frame, keep it, and linger."""
        if self.log.lost_bytes:
            self.log.house("warn", text=f"{self.log.lost_bytes} bytes of text are lost: no space left in the state folder")
        known = outcome not in ("late", "restarted")
        self.log.house(
            "end", exit=code, signal=self.signal_name, outcome=outcome, lines=self.log.lines, bytes=self.log.bytes,
            peak_memory_bytes=peak_memory(self.peak_bytes, self.job["memory_gb"]) if known else None,
            cpu_s=f"{self.cpu_s:.2f}" if known else None, wall_s=f"{time.monotonic() - self.began:.2f}",
            install_s=f"{self.install_s:.2f}", frames=self.log.number + 1,
        )  # fmt: skip
        self.log.sync()
        try:
            durable(self.path("end"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, self.log.last)
        except OSError:
            pass  # no space: the spool or the log itself has it
        return self.linger(code)

    def linger(self, code: int) -> int:
        """Wait until everything is written out and then for the last reader, at most as long as is paid for."""
        self.log.close()
        bill = self.began + float(self.job["timeout_s"]) + float(self.job["linger_s"])  # no pacing beyond
        with selectors.DefaultSelector() as selector:
            selector.register(self.signals.reader, selectors.EVENT_READ)
            until = None
            while until is None or (time.monotonic() < until and not self.signals.stop):
                if self.signals.stop or time.monotonic() > bill:
                    self.log.hurry()
                if self.log.drained.is_set() and until is None:
                    until = time.monotonic() + float(self.job["linger_s"])
                    continue
                if until is None and self.signals.stop and not self.log.drained.wait(STOP_GRACE_S):
                    break  # nobody takes what we write
                left = (until if until is not None else bill + 1) - time.monotonic()
                selector.select(max(0.0, min(left, 30.0)))
                self.signals.clear()
                bury()
        return code


def bury() -> None:
    """Take the ends of orphans: nobody else does if we are process 1."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def durable(path: str, flags: int, data: bytes, mode: int = 0o600) -> None:
    """Write a small file so that it outlives a crash."""
    file = os.open(path, flags, mode)
    try:
        os.write(file, data)
        os.fsync(file)
    finally:
        os.close(file)


def signal_name(number: int) -> str:
    """Return SIGKILL for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def object_name(name: str) -> str:
    """Return a name without spaces: spaces, percent signs and control characters as in an address."""
    return re.sub(r"[\s%\x00-\x1f]", lambda m: "".join(f"%{byte:02X}" for byte in m.group().encode()), name)


# ── the child: a Python body ─────────────────────────────────────────────────────────────────────────────────────────

_VALUE = "__aci_value__"
_MIMES = {
    "text/html": "_repr_html_", "text/markdown": "_repr_markdown_", "text/latex": "_repr_latex_",
    "image/svg+xml": "_repr_svg_", "image/png": "_repr_png_", "image/jpeg": "_repr_jpeg_",
    "application/json": "_repr_json_",
}  # fmt: skip


class Body:
    """The bootstrap of a Python body: this process becomes the program."""

    def __init__(self, state: str) -> None:
        self.job = read_job()
        self.masker = Masker(self.job["mask"])
        self.results = Results(os.path.abspath(state), int(self.job["objects_limit_bytes"]))
        self.display_limit = int(self.job["display_limit_bytes"])
        self.module = types.ModuleType("__main__")
        self.module.__dict__["__builtins__"] = __builtins__

    def run(self) -> int:
        """Run the body, put its results into the state folder, return the exit code."""
        self.settle_in()
        own = os.getpid()
        value = None
        try:
            self.load_inputs()
            with open(os.path.join(HERE, "body"), "rb") as file:
                value = execute(file.read().decode("utf-8-sig"), self.module.__dict__)
            code = 0
        except SystemExit as stop:
            code = self.exit_status(stop)
        except BaseException as error:  # noqa: BLE001 - whatever the program raises is its result
            if os.getpid() != own or not self.attempted("error", self.error, error):
                traceback.print_exc()
            code = 130 if isinstance(error, KeyboardInterrupt) else 1
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):  # the program closed or replaced it
                pass
        if os.getpid() != own:  # the program has forked, and this is its child
            return code
        if code == 0:
            if value is not None:
                self.attempted("value", self.value, value)
            self.outputs()
        self.attempted("figures", self.figures)
        return code

    def attempted(self, name: str, step: Callable[..., None], *arguments: Any) -> bool:
        """Take a step that calls the user's own methods; whether it went well."""
        try:
            step(*arguments)
        except Exception as error:  # noqa: BLE001 - they may raise anything
            self.results.skip(name, f"{type(error).__name__} on the way home: {error!r:.500}")
            return False
        return True

    def settle_in(self) -> None:
        """Take the place of a script that was started in the working directory."""
        import faulthandler
        import warnings

        try:
            faulthandler.enable()  # a crash in native code says where
        except (AttributeError, ValueError, OSError):
            pass
        warnings.filterwarnings("ignore", message=".*non-interactive, and thus cannot be shown")  # pyplot.show()
        keep_alive.append(sys.modules["__main__"])
        sys.modules["__main__"] = self.module
        sys.argv = [CELL]
        if sys.path and os.path.abspath(sys.path[0]) == HERE:
            sys.path[0] = ""
        carried = os.path.join(HERE, "cloudpickle.zip")
        if os.path.exists(carried):
            sys.path.append(carried)

    def load_inputs(self) -> None:
        """Put the inputs into the program's namespace."""
        for item in self.job["inputs"]:
            try:
                with open(os.path.join(HERE, item["file"]), "rb") as file:
                    data = file.read()
                if CODE in data:
                    self.refuse_code("it", self.job["python"], "define it inside the cell, or ship plain data")
                self.module.__dict__[item["name"]] = pickle.loads(data)
            except Exception as error:
                raise RuntimeError(f"the input {item['name']!r} cannot be loaded in this image: {error}") from error

    def refuse_code(self, what: str, made_by: str, remedy: str) -> None:
        """Raise where code would pass between minor versions of Python: running it may crash the interpreter."""
        here, there = "{}.{}".format(*sys.version_info[:2]), self.job["python"]
        if there and there != here:
            other = here if made_by == there else there
            raise TypeError(
                f"{what} has code of Python {made_by} in it, and it would run in Python {other}: "
                f"data passes between versions, code does not; {remedy}, or use --image python:{there}-slim"
            )

    @staticmethod
    def exit_status(stop: SystemExit) -> int:
        """Return the exit code as Python would; a text goes to stderr."""
        if stop.code is None:
            return 0
        if isinstance(stop.code, int):
            return stop.code & 0xFF
        print(stop.code, file=sys.stderr)
        return 1

    def error(self, error: BaseException) -> None:
        """Note an exception: as text for the log and as data for the notebook."""
        own_frames_off(error, calls=bool(self.job["function"]))
        text = self.masker.text("".join(traceback.format_exception(type(error), error, error.__traceback__)))
        if len(text) > 65536:
            text = text[:16384] + "\n  [... the middle is left out ...]\n" + text[-49152:]
        with open(os.path.join(self.results.folder, "traceback"), "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        shape = self.shape(error)
        chain: List[Dict[str, Any]] = []
        seen = {id(error)}
        at: Optional[BaseException] = error
        while at is not None and len(chain) < 20:
            at, link = (at.__cause__, "cause") if at.__cause__ is not None or at.__suppress_context__ else (at.__context__, "context")
            if at is None or id(at) in seen:
                break
            seen.add(id(at))
            chain.append({**self.shape(at), "link": link})
        bases = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
        shape.update(traceback=text, pickle=self.pickled(error), chain=chain, bases=bases)
        self.results.add_json("error", masked(shape, self.masker), type(error).__name__)

    def shape(self, error: BaseException) -> Dict[str, Any]:
        """Return one exception of a chain as data."""
        frames = [
            {"file": frame.filename, "line": frame.lineno, "name": frame.name, "source": frame.line or ""}
            for frame in traceback.extract_tb(error.__traceback__)
        ]
        if isinstance(error, SyntaxError) and error.filename == CELL:
            source = (error.text or "").strip()
            frames.append({"file": CELL, "line": error.lineno, "name": "<module>", "source": source})
        if len(frames) > 100:
            frames = frames[:30] + frames[-70:]
        try:
            message = str(error)
        except Exception:  # noqa: BLE001 - the user's own __str__
            message = "<its text could not be made>"
        kind = type(error)
        return {
            "type": kind.__qualname__, "module": kind.__module__, "message": message[:65536], "frames": frames,
            "notes": [str(note) for note in getattr(error, "__notes__", None) or []], "traceback": "", "pickle": None,
            "chain": [],
        }  # fmt: skip

    def pickled(self, error: BaseException) -> Optional[str]:
        """Return the exception itself in base64, if it survives the way and holds no secret."""
        try:
            data = dumps(error)
            if CODE in data:
                self.refuse_code("it", "{}.{}".format(*sys.version_info[:2]), "its words go home")
            pickle.loads(data)
        except Exception:  # noqa: BLE001 - many exceptions cannot be pickled
            return None
        if len(data) > 65536 or self.masker.mask(data) != data:
            return None
        return base64.b64encode(data).decode("ascii")

    def value(self, value: Any) -> None:
        """Note the last expression's value in the forms that a notebook can show."""
        bundle: Dict[str, Any] = {}
        try:
            bundle["text/plain"] = plain(value)
        except Exception as error:  # noqa: BLE001 - the user's own __repr__
            self.results.skip("value", f"its text could not be made: {type(error).__name__}: {error}")
            return
        if not isinstance(value, type):
            bundle.update((mime, part) for mime, part in self.rich(value) if part is not None)
        for mime, part in list(bundle.items()):
            if not mime.startswith("image/") or (isinstance(part, str) and mime == "image/svg+xml"):
                part = masked(part, self.masker)
            bundle[mime] = part
            size = len(part if isinstance(part, str) else json.dumps(part))
            if size > self.display_limit:
                del bundle[mime]
                self.results.skip(f"value:{mime}", f"too large to show: {size:,} bytes, limit {self.display_limit:,}")
                if mime == "text/plain":
                    bundle[mime] = f"{str(part)[:2000]} … ({size:,} characters)"
        self.results.add_json("value", bundle, type(value).__name__)

    def rich(self, value: Any) -> Iterator[Tuple[str, Any]]:
        """Yield what the value's own display methods say; a method that fails is left out."""
        kind = type(value)
        try:
            if getattr(kind, "_repr_mimebundle_", None) is not None:
                bundle = value._repr_mimebundle_(include=None, exclude=None)
                bundle = bundle[0] if isinstance(bundle, tuple) else bundle or {}
                yield from [(str(mime), portable(part)) for mime, part in bundle.items()]
        except Exception as error:  # noqa: BLE001 - the user's own method
            self.results.skip("value:_repr_mimebundle_", f"{type(error).__name__}: {error}")
        for mime, name in _MIMES.items():
            try:
                if getattr(kind, name, None) is not None:
                    part = getattr(value, name)()
                    yield mime, portable(part[0] if isinstance(part, tuple) else part)
            except Exception as error:  # noqa: BLE001 - the user's own method
                self.results.skip(f"value:{mime}", f"{type(error).__name__}: {error}")

    def figures(self) -> None:
        """Note the figures that pyplot holds open."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        for index, number in enumerate(pyplot.get_fignums()):
            name = f"figure-{index}"

            def write(file: IO[bytes], number: int = number) -> None:
                pyplot.figure(number).savefig(file, format="png", bbox_inches="tight")

            self.results.add(name, "png", "Figure", write, "could not be drawn")

    def outputs(self) -> None:
        """Note the variables that were asked for, by value."""
        for name in self.job["outputs"]:
            if name not in self.module.__dict__:
                self.results.skip("var:" + name, "the program has no variable of this name")
                continue
            value = self.module.__dict__[name]

            def write(file: IO[bytes], value: Any = value) -> None:
                watched = CodeWatch(file)
                pickler().dump(value, watched, protocol=min(5, pickle.HIGHEST_PROTOCOL))
                if watched.found:
                    self.refuse_code("it", "{}.{}".format(*sys.version_info[:2]), "bring plain data home")

            self.results.add("var:" + name, "pickle", type(value).__name__, write, "cannot be pickled")


CODE = b"cloudpickle.cloudpickle"  # stands in every pickle that carries functions or classes by value


class CodeWatch:
    """What a pickle is written to: passes it on, and notices code in it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._tail = b""
        self.found = False

    def write(self, data: Any) -> int:
        seen = self._tail + bytes(data)
        self.found = self.found or CODE in seen
        self._tail = seen[-len(CODE) :]
        return self._file.write(data)


keep_alive: List[types.ModuleType] = []  # the bootstrap's own module, whose place in sys.modules the program takes


def execute(source: str, namespace: Dict[str, Any]) -> Any:
    """Run source as a notebook cell does; return its last expression's value."""
    lines = [line + "\n" for line in source.split("\n")]
    linecache.cache[CELL] = (len(source), None, lines, CELL)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = cast(ast.Module, compile(source, CELL, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True))
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr) and not is_silenced(source):
        target = ast.Name(id=_VALUE, ctx=ast.Store())
        tree.body[-1] = ast.copy_location(ast.Assign(targets=[target], value=last.value), last)
        ast.fix_missing_locations(tree)
    code = compile(tree, CELL, "exec", flags, dont_inherit=True)
    if code.co_flags & 0x80:  # inspect.CO_COROUTINE: the body awaits
        import asyncio

        asyncio.run(eval(code, namespace))
    else:
        exec(code, namespace)
    return namespace.pop(_VALUE, None)


def is_silenced(source: str) -> bool:
    """Whether the program's last sign is a semicolon."""
    import io
    import tokenize

    last = ""
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type in (tokenize.OP, tokenize.NAME, tokenize.NUMBER, tokenize.STRING):
                last = token.string
            elif token.type not in (
                tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER, tokenize.DEDENT,
            ):  # fmt: skip
                last = ""
    except (tokenize.TokenError, SyntaxError):
        return False
    return last == ";"


def own_frames_off(error: BaseException, *, calls: bool = False) -> None:
    """Take the bootstrap's frames (and asyncio's below a body that awaits) off an exception and its chain.

    A body that calls a function of somebody else's is a frame of ours too.
    """
    seen = set()
    queue: List[Optional[BaseException]] = [error]
    while queue:
        at = queue.pop()
        if at is None or id(at) in seen:
            continue
        seen.add(id(at))
        queue += [at.__cause__, at.__context__]
        own = os.path.abspath(__file__)
        tail = at.__traceback__
        entries = []
        while tail is not None:
            entries.append(tail)
            tail = tail.tb_next
        files = [entry.tb_frame.f_code.co_filename for entry in entries]
        if own in files:
            first = files.index(CELL) + calls if CELL in files else len(files) - files[::-1].index(own)
            at.__traceback__ = entries[first] if first < len(entries) else None


def portable(part: Any) -> Any:
    """Return a display part as JSON can carry it."""
    if isinstance(part, (bytes, bytearray)):
        return base64.b64encode(part).decode("ascii")
    return str(part) if isinstance(part, str) else json.loads(json.dumps(part, default=str))


def masked(value: Any, masker: Masker) -> Any:
    """Return a JSON value with every text in it masked."""
    if isinstance(value, str):
        return masker.text(value)
    if isinstance(value, dict):
        return {masked(key, masker): masked(item, masker) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item, masker) for item in value]
    return value


def plain(value: Any) -> str:
    """Return the text of a value: containers over several lines, very long ones shortened."""
    if type(value) not in (list, tuple, set, dict):
        return repr(value)
    import itertools
    import pprint

    if len(value) > 1000:
        items = value.items() if isinstance(value, dict) else value
        head = type(value)(itertools.islice(items, 1000))
        return f"{pprint.pformat(head, width=79, compact=True, sort_dicts=False)[:-1]},\n ... ({len(value):,} items)"
    return pprint.pformat(value, width=79, compact=True, sort_dicts=False)


def pickler() -> Any:
    """Return cloudpickle if the image has it or it travelled with us, else pickle."""
    try:
        import cloudpickle
    except ImportError:
        return pickle
    return cloudpickle


def dumps(value: Any) -> bytes:
    """Return a value pickled, by value if possible."""
    return cast(bytes, pickler().dumps(value))


def main(arguments: List[str]) -> int:
    """`runner.py STATE` is the parent, `runner.py STATE --child` the bootstrap of a Python body."""
    if arguments[1:] == ["--child"]:
        return Body(arguments[0]).run()
    try:
        runner = Runner(arguments[0])
    except (OSError, ValueError, KeyError) as error:
        text = shlex.quote(f"the runner cannot begin: {type(error).__name__}: {error}".replace("\n", " "))
        print(f"     1# start run= attempt=1 runner={VERSION} at={now_text()}\n     2# warn text={text}")
        print(f"     3# end exit={EXIT_BROKEN} outcome=failed lines=0 bytes=0 frames=3", flush=True)
        return EXIT_BROKEN
    return runner.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
