"""Following a log without numbers (a run without our runner), by the time stamps the service puts before each line. Pure.

Stamps rise, but several lines may share one. So what is new is: every line with a later stamp than the last one known, and of the lines
that share the last known stamp those beyond the known ones. A read whose lines are all later than what is known does not
reach back to it: a longer read is asked for, and if that was the whole log, something may be lost, nobody knows how much.
Older reads than the last one bring nothing and harm nothing. Where the service gives no stamps, all lines share one.
"""

from __future__ import annotations

from .frames import STAMP, Gap, Item, Text

KEEP = 5_000
WINDOW_BYTES = 3_900_000  # a first reading of about the service's window may have lost its beginning

Pair = tuple[str, str]


class RawFollower:
    """The position in one container's log."""

    def __init__(self) -> None:
        self._known: list[Pair] = []
        self._partial = ""

    def read(self, content: str, asked: int | None) -> tuple[list[Item], int, bool]:
        """(what is new, how many whole lines of it, whether the read reaches back to what is known).

        `asked` is None where this is all the service holds.
        """
        *texts, last = content.split("\n")
        pairs = self._pairs(texts)
        new = self._new_of(pairs, full=asked is not None)
        items: list[Item] = []
        if new is None:
            if asked is not None:
                return [], 0, False
            self._partial = ""
            items.append(Gap(None))
            new = pairs
        elif not self._known and len(content.encode("utf-8", "surrogatepass")) >= WINDOW_BYTES:
            items.append(Gap(None))
        stamp = STAMP.match(last)
        items += self._texts(new, last[stamp.end() :] if stamp else last)
        self._known = (self._known + new)[-KEEP:]
        return items, len(new), True

    def _pairs(self, texts: list[str]) -> list[Pair]:
        stamps = [STAMP.match(text) for text in texts]
        if texts and stamps[0] is None and any(stamps):
            texts, stamps = texts[1:], stamps[1:]  # cut in its stamp: it was known, or is lost
        pairs: list[Pair] = []
        before = self._known[-1][0] if self._known else ""
        for text, stamp in zip(texts, stamps, strict=True):
            before = stamp.group(1) if stamp else before
            pairs.append((before, text[stamp.end() :] if stamp else text))
        return pairs

    def _new_of(self, pairs: list[Pair], *, full: bool) -> list[Pair] | None:
        """The unknown lines, or None where the read does not reach back to what is known. `full`: the log may have more before it."""
        if not self._known:
            return None if full else pairs
        last = self._known[-1][0]
        before = [pair for pair in pairs if pair[0] < last]
        same = [pair[1] for pair in pairs if pair[0] == last]
        after = [pair for pair in pairs if pair[0] > last]
        if not same:
            return after if before or not after else None
        if not before and full:
            return None  # the tail begins among lines of one stamp: which of them is not to be told
        known = [pair[1] for pair in self._known if pair[0] == last]
        if before:
            return [(last, text) for text in same[len(known) :]] + after
        for place in range(len(known)):  # where in what is known this read begins; an older read may end there too
            size = min(len(same), len(known) - place)
            if _same_texts(known[place : place + size], same[:size]):
                return [(last, text) for text in same[size:]] + after
        return None

    def _texts(self, new: list[Pair], open_line: str) -> list[Item]:
        items: list[Item] = []
        for _, text in new:
            shown, self._partial = self._partial, ""
            rest = text.removeprefix(shown)
            items.append(Text(rest.encode("utf-8", "surrogatepass") + b"\n"))
        if open_line.startswith(self._partial) and len(open_line) > len(self._partial):
            items.append(Text(open_line[len(self._partial) :].encode("utf-8", "surrogatepass")))
            self._partial = open_line
        return items


def _same_texts(known: list[str], read: list[str]) -> bool:
    """Whether these are the same lines; the first one read may have lost its beginning."""
    return known[1:] == read[1:] and known[0].endswith(read[0])
