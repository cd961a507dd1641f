"""The log view: the end of any output, sent once, in order, harmless."""

from __future__ import annotations

import re
import time
from html import unescape
from pathlib import Path

from aci_notebook.launcher.logview import BLOCK_LINES, BLOCKS, LINES_SHOWN, LogView

ORDINARY = b"some output of a program, of an ordinary length, in a line of text"


def shown(view: LogView) -> list[str]:
    """The lines as they stand in the blocks."""
    blocks = [re.sub(r"<[^>]*>", "", block.value) for block in view._blocks.children]
    return [line for block in blocks for line in unescape(block).split("\n") if block]


def test_lines_arrive_whole_and_in_order_in_any_pieces() -> None:
    view = LogView()
    text = "".join(f"line {n}\n" for n in range(1_000)).encode()
    for start in range(0, len(text), 37):
        view.feed(text[start : start + 37])
        if start % 5 == 0:
            view.refresh()
    view.refresh()
    assert shown(view) == [f"line {n}" for n in range(1_000)]
    assert view.total == 1_000


def test_an_unfinished_line_is_seen_and_then_completed() -> None:
    view = LogView()
    view.feed(b"waiting ...")
    view.refresh()
    assert shown(view) == ["waiting ..."]
    view.feed(b" done\nnext\n")
    view.refresh()
    assert shown(view) == ["waiting ... done", "next"]


def test_200_000_lines_cost_what_is_new() -> None:
    view = LogView()
    sent, started = 0, time.process_time()
    slowest = 0.0
    for n in range(400):
        view.feed(b"".join(b"%06d %s\n" % (500 * n + m, ORDINARY) for m in range(500)))
        began = time.process_time()
        sent += view.refresh()
        slowest = max(slowest, time.process_time() - began)
    used = time.process_time() - started
    lines = shown(view)
    assert view.total == 200_000
    assert LINES_SHOWN - 2 * BLOCK_LINES <= len(lines) <= LINES_SHOWN
    assert lines == [f"{n:06d} {ORDINARY.decode()}" for n in range(200_000 - len(lines), 200_000)]
    assert len(view._blocks.children) <= BLOCKS
    assert "the last 5,000 of 200,000 lines" in view._note.value
    assert sent < 2 * 200_000 * 80, f"{sent} bytes were sent for 16 MB of output"
    assert used < 8, f"{used:.1f} s of CPU for 200,000 lines"
    assert slowest < 0.5


def test_a_burst_between_two_refreshes_sends_only_its_end() -> None:
    view = LogView()
    view.feed(b"first\n")
    view.refresh()
    view.feed(b"".join(b"%d\n" % n for n in range(100_000)))
    sent = view.refresh()
    lines = shown(view)
    assert lines == [str(n) for n in range(100_000 - len(lines), 100_000)]
    assert len(lines) > LINES_SHOWN - BLOCK_LINES - 1
    assert sent < 100_000


def test_colours_are_kept_and_markup_and_cursor_tricks_are_text() -> None:
    view = LogView()
    view.feed(b"\x1b[32mgreen\x1b[0m <script>alert(1)</script>\x1b[2J</pre></style>\n")
    view.refresh()
    (block,) = view._blocks.children
    assert '<span class="aci-ink-2">green</span>' in block.value
    assert "<script" not in block.value
    assert "\x1b" not in block.value
    assert shown(view) == ["green <script>alert(1)</script></pre></style>"]


def test_a_large_file_is_opened_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    with path.open("wb") as file:
        file.writelines(b"%06d %s\n" % (n, b"x" * 60) for n in range(200_000))
    view = LogView()
    began = time.process_time()
    assert view.open_file(path) == path.stat().st_size
    assert time.process_time() - began < 1.5
    assert view.total == 200_000
    assert shown(view)[-1].startswith("199999 ")
    assert str(path) in unescape(view._note.value)


def test_a_missing_file_is_empty(tmp_path: Path) -> None:
    view = LogView()
    assert view.open_file(tmp_path / "none.log") == 0
    assert shown(view) == []
