"""The output of a run in the browser: its last `LINES_SHOWN` lines, with their colours, in blocks that are sent once.

A log of 200,000 lines is a file; what a browser needs is its end. The lines are cut into blocks of `BLOCK_LINES`, each one widget. A full
block is never sent again, so a refresh costs what is new and not the whole view. A list of widgets whose front is cut is drawn anew by the
browser, whole; so the oldest block is emptied in its place, and the empty ones are cut off once there are as many as full ones. A colour
goes on from block to block, as in a terminal: `_pen` is how the last full block left it. The view keeps to its end by style alone
(`flex-direction: column-reverse`), so who has scrolled up stays where she reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import ipywidgets as w

from ..display.html import Pen, el, terminal_nodes, to_html
from ..display.stream import Lines

LINES_SHOWN = 5_000
BLOCK_LINES = 250
BLOCKS = LINES_SHOWN // BLOCK_LINES
TAIL_BYTES = 2_000_000
READ_BYTES = 1 << 20


class LogView:
    """A scrolling pane. `feed` takes bytes and is cheap; `refresh` sends what is new. One thread at a time uses it."""

    def __init__(self) -> None:
        self._blocks = w.VBox([]).add_class("aci-log-blocks")
        self._note = w.HTML().add_class("aci-log-note")
        pane = w.Box([self._blocks]).add_class("aci-log").add_class("aci-run")
        self.widget = w.VBox([self._note, pane]).add_class("aci-log-view")
        self.clear()

    def clear(self) -> None:
        """Nothing to see."""
        self._lines = Lines()
        self._waiting: deque[str] = deque(maxlen=LINES_SHOWN)
        self._open: list[str] = []
        self._pen = Pen()
        self._empty = 0
        self._partial = ""
        self._total = 0
        self._path = ""
        for block in self._blocks.children:
            block.close()
        self._blocks.children = ()
        self._note.value = ""

    @property
    def total(self) -> int:
        """How many lines have come."""
        return self._total

    def feed(self, data: bytes, final: bool = False) -> None:
        """Take output."""
        new = self._lines.feed(data, final)
        self._total += len(new)
        surplus = len(self._waiting) + len(new) - LINES_SHOWN
        if surplus > 0:
            self._pass_over(chain(self._open, islice(chain(self._waiting, new), surplus)))
            self._open = []
        self._waiting.extend(new)

    def _pass_over(self, lines: Iterable[str]) -> None:
        """Lines that nobody will see; their colours go on after them."""
        for line in lines:
            if "\x1b" in line:
                terminal_nodes(line, self._pen)

    def open_file(self, path: Path) -> int:
        """Show the end of a log file; returns how many bytes of it are read."""
        self.clear()
        self._path = str(path)
        if not path.exists():
            return 0
        with path.open("rb") as file:
            whole = file.seek(0, 2)
            file.seek(0)
            skipped = sum(
                file.read(min(READ_BYTES, whole - TAIL_BYTES - place)).count(b"\n") for place in range(0, whole - TAIL_BYTES, READ_BYTES)
            )
            data = file.read()
            read = file.tell()
        if whole > TAIL_BYTES:
            skipped += 1
            data = data[data.find(b"\n") + 1 :]
        self.feed(data)
        self._total += skipped
        self.refresh()
        return read

    def refresh(self, log_path: str = "") -> int:
        """Send what is new; returns about how many bytes that were."""
        self._path = log_path or self._path
        partial = self._lines.partial()
        if not self._waiting and partial == self._partial:
            return 0
        self._partial = partial
        return self._send(partial)

    def _send(self, partial: str) -> int:
        lines = [*self._open, *self._waiting]
        self._waiting.clear()
        chunks = [lines[start : start + BLOCK_LINES] for start in range(0, len(lines) + 1, BLOCK_LINES)]
        self._open = chunks[-1]
        anew = len(chunks) > BLOCKS
        self._pass_over(chain.from_iterable(chunks[:-BLOCKS]))
        marked = [_markup(chunk, self._pen) for chunk in chunks[-BLOCKS:-1]]
        marked.append(_markup([*self._open, partial] if partial else self._open, replace(self._pen)))
        blocks = list(self._blocks.children)
        if blocks and not anew:
            blocks[-1].value = marked[0]
        self._append([w.HTML(markup) for markup in (marked if anew or not blocks else marked[1:])], anew)
        self._say()
        return sum(map(len, marked))

    def _append(self, made: list[w.HTML], anew: bool) -> None:
        """Adds blocks; what is too many at the front is emptied, or goes."""
        blocks = [*self._blocks.children, *made]
        surplus = max(0, len(blocks) - (len(made) if anew else BLOCKS))
        cut = surplus if anew or surplus >= BLOCKS else 0
        if made:
            self._blocks.children = tuple(blocks[cut:])
        for block in blocks[:cut]:
            block.close()
        for block in blocks[max(cut, self._empty) : surplus]:
            block.value = ""
        self._empty = surplus - cut

    def _say(self) -> None:
        where = f", all of them in {self._path}" if self._path else ""
        text = f"the last {LINES_SHOWN:,} of {self._total:,} lines{where}" if self._total > LINES_SHOWN else ""
        self._note.value = to_html(el("div", {}, text)) if text else ""


def _markup(lines: list[str], pen: Pen) -> str:
    return to_html(el("pre", {"class": "aci-output"}, *terminal_nodes("\n".join(lines), pen))) if lines else ""
