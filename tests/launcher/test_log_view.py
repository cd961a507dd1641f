"""The log view: the end of any output, sent once, in order, harmless."""

from __future__ import annotations

import io
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from aci_notebook.launcher.logview import BLOCK_LINES, BLOCKS, LINES_SHOWN, TAIL_BYTES, LogView

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
    sent = []
    for n in range(400):
        data = b"".join(b"%06d %s\n" % (500 * n + m, ORDINARY) for m in range(500))
        view.feed(data)
        sent.append(view.refresh())
    lines = shown(view)
    assert view.total == 200_000
    assert LINES_SHOWN - 2 * BLOCK_LINES <= len(lines) <= LINES_SHOWN
    assert lines == [f"{n:06d} {ORDINARY.decode()}" for n in range(200_000 - len(lines), 200_000)]
    assert len([block for block in view._blocks.children if block.value]) <= BLOCKS
    assert "the last 5,000 of 200,000 lines" in view._note.value
    assert sum(sent) < 2 * 200_000 * 80, f"{sum(sent)} bytes were sent for 16 MB of output"
    assert max(sent[200:]) <= max(sent[:20]), "a piece must not cost more, the longer the log"


def test_the_front_is_cut_seldom_since_the_browser_draws_the_rest_anew_then() -> None:
    view, cuts = LogView(), 0
    for n in range(100 * BLOCK_LINES):
        view.feed(b"%d\n" % n)
        if n % 50 == 49:
            before = view._blocks.children[:1]
            view.refresh()
            cuts += before != view._blocks.children[:1]
        assert len(view._blocks.children) <= 2 * BLOCKS
    lines = shown(view)
    assert lines == [str(n) for n in range(100 * BLOCK_LINES - len(lines), 100 * BLOCK_LINES)]
    assert LINES_SHOWN - BLOCK_LINES <= len(lines) <= LINES_SHOWN
    assert cuts <= 1 + 80 // BLOCKS, "of 80 blocks too many"


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


@pytest.mark.parametrize("lines", [BLOCK_LINES - 2, BLOCK_LINES, 3 * BLOCK_LINES, LINES_SHOWN, 3 * LINES_SHOWN])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_colour_goes_on_from_block_to_block(lines: int, at_once: bool) -> None:
    view = LogView()
    view.feed(b"before\n\x1b[31m\n")
    view.refresh()
    pieces = [b"line\n" * lines] if at_once else [b"line\n" * 7] * (lines // 7)
    for piece in pieces:
        view.feed(piece)
        view.refresh()
    view.feed(b"red\x1b[0m plain")
    view.refresh()
    view.refresh()
    last = view._blocks.children[-1].value
    assert re.search(r'<span class="aci-ink-1">[^<]*red</span> plain', last), last[-200:]
    whole = [block.value for block in view._blocks.children if "before" not in block.value and block.value]
    assert all(value.partition(">")[2].startswith('<span class="aci-ink-1">') for value in whole)


def test_what_is_written_while_a_file_is_opened_is_read_once(tmp_path: Path) -> None:
    class Growing(type(tmp_path)):  # type: ignore[misc]  # the path class of this system
        def open(self, *how: Any, **more: Any) -> Any:
            return Grown(self, "rb")

    class Grown(io.FileIO):
        def seek(self, place: int, whence: int = 0) -> int:
            found = super().seek(place, whence)
            if whence == 2:
                with open(self.name, "ab") as other:
                    other.write(b"two\n")
            return found

    path = tmp_path / "grows.log"
    path.write_bytes(b"one\n")
    view = LogView()
    at = view.open_file(Growing(path))
    with path.open("rb") as file:
        file.seek(at)
        view.feed(file.read())
    view.refresh()
    assert shown(view) == ["one", "two"]


def test_a_large_file_is_opened_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "200000.log"
    with path.open("wb") as file:
        file.writelines(b"%06d %s\n" % (n, b"x" * 60) for n in range(200_000))
    fed = []

    class Told(LogView):
        def feed(self, data: bytes, final: bool = False) -> None:
            fed.append(len(data))
            super().feed(data, final)

    view = Told()
    assert view.open_file(path) == path.stat().st_size
    assert sum(fed) <= TAIL_BYTES, "what is not shown is counted, not drawn"
    assert view.total == 200_000
    assert shown(view)[-1].startswith("199999 ")
    assert str(tmp_path / "200000.log") in unescape(view._note.value)


def test_a_missing_file_is_empty(tmp_path: Path) -> None:
    view = LogView()
    assert view.open_file(tmp_path / "none.log") == 0
    assert shown(view) == []
