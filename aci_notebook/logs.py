"""Successive reads of a container's log → exactly the new text, each line once. Pure.

The service has no cursor: a read is the last N lines of a window that slides (`aci-facts` §5). Logs of our runner carry a number
on each line (`frames`), so any read from any source (log call, attach websocket, another kernel) merges by number, and what is missing
is known exactly. Logs of a run without a runner are followed by their time stamps (`rawlog`).

Rules. The first line of a window may be cut: it counts only if its number is written in full and the next line continues
it. A read counts if it overlaps with what is known, or is the whole log. Lines are split at newline characters alone. A read may
be empty, null or older than the last one; nothing is concluded from that. Items come out in order; what is missing in the
middle holds later lines back until it is filled, or until two whole readings in a row begin behind it: then it has left the
window, and a Gap says how many lines that were. (Two, because a container that just ended shows 16 KB, and prints everything again
when the platform restarts it.)

A container that was restarted in place prints its log again with the same numbers; one that lost its state folder begins at 1 with
another `start` line. Either is noticed by old numbers that come with later stamps than the newest line seen, or with other texts: then
the whole log is read, and line 1 (or, where it has left the window, the texts) tells which it is. Numbers begin anew in the second case.

A group's name may pass to another run. A log whose `start` line names another run is not ours: nothing of it is taken (`alien`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from zlib import crc32

from .frames import NUMBER_WIDTH, Chunk, Gap, House, Item, Line, Progress, Text, decode, line_of
from .rawlog import RawFollower

__all__ = ["Chunk", "Gap", "House", "Item", "LogCursor", "Progress", "Text"]

_START = re.compile(r"start run=(\S+)")
KEPT_DIGESTS = 4_000
LOW_READS = 3


class LogCursor:
    """Follows one container's log. Feed it with `read` (log call) and `heard` (attach); both return what is new, in order.

    `framed=False` for a container without our runner; `run_id` is the run whose log this is. `tail()` says how many lines to ask for
    next; `hungry` says that the last answer did not reach back to what is known, so the next read (with a longer tail) should not wait.
    """

    FIRST_TAIL = 200
    MOST_TAIL = 100_000

    def __init__(self, *, framed: bool = True, run_id: str = "") -> None:
        self.framed = framed
        self.run_id = run_id
        self.alien = False
        self.next_number = 1
        self.closing: House | None = None
        self.foreign: list[str] = []
        self.hungry = False
        self._tail: int | None = self.FIRST_TAIL
        self._raw = RawFollower()
        self._pending: dict[int, Line] = {}
        self._unproven: list[Line] = []
        self._first: str | None = None
        self._begun_stamp = ""
        self._seen: tuple[int, str] = (0, "")
        self._digests: dict[int, int] = {}
        self._behind = False
        self._low_reads, self._low_limit = 0, LOW_READS
        self._heard = ""
        self._heard_any = False
        self._heard_run: tuple[int, int] | None = None

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
        asked, self.hungry = self._tail, False
        if not content:
            return []
        if asked is not None and content.count("\n") + (not content.endswith("\n")) < asked:
            asked = None  # fewer lines than were asked for: this is all the service holds
        if not self.framed:
            items, fresh, reached = self._raw.read(content, asked)
            self._adapt(content.count("\n"), fresh, None if reached else self.MOST_TAIL)
            return items
        lines = self._lines(content)
        if not lines or lines[-1].stamp < self._begun_stamp or self._of_another(lines):
            return []
        if self._printed_again(lines):
            if asked is not None:
                self._tail, self.hungry = None, True
                return []
            items = self._print_anew(lines)
        else:
            items = []
        before = self.next_number
        beyond = lines[0].number - max(1, before - 1)
        if beyond > 0 and asked is not None:
            self._unproven = lines
            self._adapt(len(lines), 0, len(lines) + beyond)
            return []
        self._unproven = []
        items += self._merge(lines)
        self._note(lines[-1])
        if lines[0].number > self.next_number:
            items += self._lose(lines[0].number)
            self._tail = None
        else:
            self._behind = False
            self._adapt(len(lines), self.next_number - before, None)
        return items

    def heard(self, text: str) -> list[Item]:
        """What is new in text that the attach websocket sent; cut anywhere, no time stamps."""
        *whole, self._heard = (self._heard + text).split("\n")
        if len(self._heard) > 1 << 20:
            self._heard = ""
        if not whole or not self.framed:
            return []
        lines = self._lines("\n".join(whole) + "\n", cut_first=not self._heard_any)
        self._heard_any = True
        if self._of_another(lines):
            return []
        for line in lines:
            begin, last = self._heard_run or (line.number, line.number - 1)
            self._heard_run = (begin if line.number == last + 1 else line.number, line.number)
        return self._merge(lines)

    def deaf(self) -> None:
        """The attach websocket has closed: what it did not say must come from reads."""
        self._heard, self._heard_any, self._heard_run = "", False, None

    def give_up(self) -> list[Item]:
        """Everything that came, with a Gap wherever lines are missing: the service no longer holds them."""
        unproven, self._unproven = self._unproven, []
        items = self._merge(unproven)
        while self._pending:
            items += self._skip_to(min(self._pending))
        return items

    # -- reading lines --------------------------------------------------------------------------------------------

    def _lines(self, content: str, *, cut_first: bool = True) -> list[Line]:
        texts = content.split("\n")
        texts.pop()  # "" where the content ends with a newline; else a line still being written
        lines: list[Line] = []
        for place, text in enumerate(texts):
            line = line_of(text)
            if line is None:
                self._keep_foreign(text)
            elif place or not cut_first or self._counts(line, texts[1] if len(texts) > 1 else None):
                lines.append(line)
        return lines

    def _counts(self, first: Line, second: str | None) -> bool:
        """Whether the first line of a window is a whole one."""
        if first.width < NUMBER_WIDTH:
            return False
        if second is None:
            return first.number <= self.next_number
        follower = line_of(second)
        return follower is not None and follower.number == first.number + 1

    def _of_another(self, lines: list[Line]) -> bool:
        """Whether these lines are another run's, by the last `start` line seen; what waits for earlier lines may be its too."""
        for line in lines:
            if line.number == 1 and self.run_id and (said := _START.match(line.payload)):
                self.alien = said.group(1) != self.run_id
        if self.alien:
            self._pending.clear()
            self._unproven = []
        return self.alien

    def _keep_foreign(self, text: str) -> None:
        if len(self.foreign) < 200 and text.strip() and text not in self.foreign:
            self.foreign.append(text)

    # -- a log that is printed again ------------------------------------------------------------------------------

    def _printed_again(self, lines: list[Line]) -> bool:
        """True where old numbers come with later stamps than the newest line seen, or with other texts, or for long alone."""
        number, stamp = self._seen
        if stamp and any(line.number <= number and line.stamp > stamp for line in lines):
            return True
        if self._differs(lines):
            return True
        if lines[-1].number >= self.next_number - 1:
            self._low_reads, self._low_limit = 0, LOW_READS
            return False
        self._low_reads += 1
        if self._low_reads < self._low_limit:
            return False
        self._low_reads, self._low_limit = 0, self._low_limit * 2
        return lines[0].number != 1

    def _print_anew(self, lines: list[Line]) -> list[Item]:
        """Takes a whole reading of a log that is printed again as the present one."""
        self._begun_stamp = lines[0].stamp
        self._seen = (lines[-1].number, lines[-1].stamp)
        self._unproven = []
        if lines[0].number == 1 or not self._differs(lines):
            return []
        return self._start_over(None)

    def _differs(self, lines: list[Line]) -> bool:
        return any(line.number in self._digests and self._digests[line.number] != _digest(line) for line in lines)

    def _start_over(self, first: str | None) -> list[Item]:
        items = self.give_up()
        self.next_number, self.closing, self._first = 1, None, first
        self._digests.clear()
        return [*items, House("anew", {})]

    def _note(self, last: Line) -> None:
        if last.stamp >= self._seen[1]:
            self._seen = (last.number, last.stamp)

    # -- merging --------------------------------------------------------------------------------------------------

    def _merge(self, lines: list[Line]) -> list[Item]:
        items: list[Item] = []
        for line in lines:
            if line.number == 1:
                items += self._begin(line)
            if line.number >= self.next_number:
                self._pending.setdefault(line.number, line)
        return [*items, *self._drain()]

    def _begin(self, line: Line) -> list[Item]:
        """Notes line 1; where it is another one than before, the container began anew."""
        if self._first is None and self.next_number > 1 and self._digests.get(1, _digest(line)) == _digest(line):
            self._first = line.payload
        if self._first in (None, line.payload):
            self._first = line.payload
            return []
        items = [*self._drain(), *self._start_over(line.payload)]
        self._begun_stamp = line.stamp
        return items

    def _drain(self) -> Iterator[Item]:
        while (line := self._pending.pop(self.next_number, None)) is not None:
            self._remember(line)
            self.next_number += 1
            item = decode(line.mark, line.payload)
            if isinstance(item, House) and item.word == "end":
                self.closing = item
            yield item

    def _remember(self, line: Line) -> None:
        self._digests[line.number] = _digest(line)
        if len(self._digests) > 2 * KEPT_DIGESTS:
            self._digests = {number: self._digests[number] for number in sorted(self._digests)[-KEPT_DIGESTS:]}

    # -- what is lost ---------------------------------------------------------------------------------------------

    def _lose(self, low: int) -> list[Item]:
        """A whole reading begins at `low`: what is missing before it has left the window, if the next one says so too.

        What the websocket is in the middle of saying is not lost: it arrives.
        """
        confirmed, self._behind = self._behind, True
        limit = min(low, self._heard_run[0]) if self._heard_run else low
        items: list[Item] = []
        while confirmed and self.next_number < limit:
            items += self._skip_to(min([limit, *self._pending]))
        return items

    def _skip_to(self, number: int) -> list[Item]:
        items: list[Item] = []
        if number > self.next_number:
            items.append(Gap(number - self.next_number))
            self.next_number = number
        return [*items, *self._drain()]

    # -- how much to ask for --------------------------------------------------------------------------------------

    def _adapt(self, lines: int, fresh: int, needed: int | None) -> None:
        """Ask for what a read lacked at once; else shrink slowly to what such reads need."""
        if needed is not None:
            self.hungry = self._tail is not None
            wanted = needed + needed // 4 + self.FIRST_TAIL
            self._tail = None if wanted > self.MOST_TAIL else wanted
            return
        current = self._tail if self._tail is not None else max(lines, 1)
        self._tail = min(self.MOST_TAIL, max(self.FIRST_TAIL, 2 * fresh, current // 2))


def _digest(line: Line) -> int:
    return crc32(f"{line.mark}{line.payload}".encode("utf-8", "surrogatepass"))
