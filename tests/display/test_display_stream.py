"""Which lines go under a cell: bounded, in order, nothing lost unsaid."""

from __future__ import annotations

import time

import pytest
from display_samples import T0
from hypothesis import given
from hypothesis import strategies as st

from aci_notebook.display.stream import LINE_CHARS_MAX, RAW_CHARS_MAX, CellStream, Lines


def played(stream: CellStream, data: bytes, path: str = "/l.log") -> tuple[str, str]:
    """(what went out live, what came at the end)."""
    stream.feed(data, T0, 0.0)
    live = stream.due(1.0)
    return live, stream.release(T0, 2.0, path)


@given(st.text(alphabet="aé日\r\n", max_size=60), st.lists(st.integers(0, 200), max_size=8))
def test_pieces_do_not_matter(text: str, cuts: list[int]) -> None:
    data = text.encode()
    whole = Lines()
    expected = whole.feed(data) + whole.feed(b"", True)
    parts, pieces, start = Lines(), [], 0
    for cut in sorted(min(cut, len(data)) for cut in cuts):
        pieces += parts.feed(data[start:cut])
        start = cut
    assert pieces + parts.feed(data[start:]) + parts.feed(b"", True) == expected


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert Lines().feed(b"a\xff\xfeb\n") == ["a\ufffd\ufffdb"]


def test_a_short_run_goes_out_whole_and_unchanged() -> None:
    live, end = played(CellStream(lines_max=10), b"one\n\x1b[31mtwo\x1b[0m\nthree")
    assert live + end.removesuffix("\x1b[0m") == "one\n\x1b[31mtwo\x1b[0m\nthree\n"


def test_a_long_run_keeps_its_first_and_last_lines() -> None:
    live, end = played(CellStream(lines_max=10), b"".join(b"%d\n" % n for n in range(100)))
    assert live.split() == ["0", "1", "2", "3", "4"]
    assert end.splitlines() == ["… 90 lines left out here, whole log: /l.log …", "95", "96", "97", "98", "99"]


def test_lines_up_to_the_limit_are_all_there() -> None:
    live, end = played(CellStream(lines_max=10), b"".join(b"%d\n" % n for n in range(10)))
    assert (live + end).split() == [str(n) for n in range(10)]


def test_one_line_left_out_is_one_line() -> None:
    assert "… 1 line left out here …" in played(CellStream(lines_max=2), b"a\nb\nc\n", "")[1]


def test_tail_shows_the_last_lines_only() -> None:
    live, end = played(CellStream(tail=2), b"a\nb\nc\nd\n")
    assert live == ""
    assert end.splitlines() == ["… 2 lines left out here, whole log: /l.log …", "c", "d"]


def test_tail_of_nothing_shows_nothing() -> None:
    assert played(CellStream(tail=0), b"a\n") == ("", "")


def test_a_cell_is_bounded_in_bytes_too() -> None:
    live, end = played(CellStream(lines_max=100_000, bytes_max=20_000), b"x" * 99 + b"\n" + (b"y" * 99 + b"\n") * 999)
    assert len(live) + len(end) < 20_200
    assert live.startswith("x")
    assert "left out here" in end


def test_a_line_of_ten_megabytes_is_cut_and_says_so() -> None:
    stream = CellStream()
    for _ in range(160):
        stream.feed(b"x" * 65_536, T0, 0.0)
    stream.feed(b"\nnext\n", T0, 0.0)
    cut, following = stream.due(1.0).splitlines()
    assert cut == "x" * LINE_CHARS_MAX + " … (a line of 10,485,760 characters)"
    assert following == "next"


def test_a_bar_that_rewrites_its_line_for_hours_keeps_its_last_look() -> None:
    lines = Lines()
    for n in range(3_000):
        assert lines.feed(b"\r%d%%" % n) == []
        assert len(lines._held) < RAW_CHARS_MAX
    assert lines.feed(b"\n") == ["2999%"]


def test_an_unfinished_line_appears_after_a_moment_and_grows() -> None:
    stream = CellStream()
    stream.feed(b"..", T0, 0.0)
    assert stream.due(0.1) == ""
    assert stream.due(0.4) == ".."
    stream.feed(b". ok\nnext\n", T0, 0.5)
    assert stream.due(0.6) == ". ok\nnext\n"


def test_an_unfinished_line_that_is_rewritten_starts_anew() -> None:
    stream = CellStream()
    stream.feed(b"10%", T0, 0.0)
    assert stream.due(0.4) == "10%"
    stream.feed(b"\r20%\n", T0, 0.5)
    assert stream.due(0.6) == "\n20%\n"


def test_an_unfinished_escape_waits_for_its_end() -> None:
    stream = CellStream()
    stream.feed(b"a\x1b[3", T0, 0.0)
    assert stream.due(0.4) == "a"
    stream.feed(b"1mb\x1b[0m\n", T0, 0.5)
    assert stream.due(0.6) == "\x1b[31mb\x1b[0m\n"


def test_writes_are_batched() -> None:
    stream = CellStream()
    stream.feed(b"a\n", T0, 0.0)
    assert stream.due(0.0) == "a\n"
    stream.feed(b"b\n", T0, 0.01)
    assert stream.due(0.05) == ""
    assert stream.due(0.11) == "b\n"
    stream.feed(b"c" * 1_000 + b"\n", T0, 0.12)
    assert stream.due(0.13) == ""
    stream.feed((b"d" * 1_000 + b"\n") * 70, T0, 0.14)
    assert len(stream.due(0.15)) > 64 * 1024


def test_timestamps_lead_each_line() -> None:
    assert played(CellStream(timestamps=True), b"a\n")[0] == "2026-03-01T12:00:00.000Z a\n"


def test_our_own_line_stands_at_its_place_and_ends_colours() -> None:
    stream = CellStream()
    stream.feed(b"\x1b[31mred\nunfinished", T0, 0.0)
    stream.say("… 3 lines missing …", T0)
    stream.feed(b"after\n", T0, 0.0)
    assert stream.due(1.0) == "\x1b[31mred\nunfinished\n\x1b[0m… 3 lines missing …\nafter\n"


def test_the_newest_held_lines_can_be_seen() -> None:
    stream = CellStream(lines_max=4)
    stream.feed(b"".join(b"%d\n" % n for n in range(50)), T0, 0.0)
    assert stream.holding
    assert stream.latest(1) == ["49"]
    assert stream.lines_seen == 50


@pytest.mark.parametrize("colour", [b"", b"\x1b[31m"])
def test_the_work_grows_with_the_lines_and_not_with_their_square(colour: bytes) -> None:
    """The figures are in tests/benchmarks/screen.py."""

    def work_s(count: int) -> float:
        data = b"".join(colour + b"line %d of the output\n" % n for n in range(count))
        began = time.process_time()
        played(CellStream(), data)
        return time.process_time() - began

    few = min(work_s(5_000) for _ in range(3))
    assert work_s(100_000) < 20 * few * 5  # a square would be 400 times as much
