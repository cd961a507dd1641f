"""LogCursor over the runner's frames: any interleaving of reads and attach chunks gives each line once, gaps counted exactly."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_window import Container, frame

from aci_notebook.logs import Gap, House, LogCursor, Progress, Text


def text_of(items: list[object]) -> list[object]:
    """Items as comparable things: text joined, gaps and house words kept."""
    out: list[object] = []
    for item in items:
        if isinstance(item, Text):
            if out and isinstance(out[-1], bytes):
                out[-1] += item.data
            else:
                out.append(item.data)
        elif isinstance(item, Gap):
            out.append(("gap", item.lines))
        elif isinstance(item, House):
            out.append(item.word)
    return out


@dataclass
class Play:
    """A container, a cursor that follows it, and everything that came out."""

    cursor: LogCursor = field(default_factory=LogCursor)
    containers: list[Container] = field(default_factory=lambda: [Container()])
    ticks: int = 0
    numbers: int = 0
    got: list[object] = field(default_factory=list)
    heard_to: int | None = None

    @property
    def container(self) -> Container:
        return self.containers[-1]

    def print(self, count: int, text: str = "x") -> None:
        for _ in range(count):
            self.numbers += 1
            self.ticks += 1
            self.container.write(frame(self.numbers, "|", f"{text}{self.numbers}"), self.ticks)

    def read(self, upto: int | None = None) -> None:
        self.got += self.cursor.read(self.container.shown(self.cursor.tail(), upto))

    def settle(self) -> None:
        """Reads until nothing is missing that the service holds."""
        for _ in range(8):
            self.read()
        self.got += self.cursor.give_up()

    def numbers_out(self) -> list[object]:
        """What came out as numbers of lines, with gaps as negative counts."""
        out: list[object] = []
        for item in self.got:
            if isinstance(item, Text):
                out.append(int(item.data.decode().strip().lstrip("xyz")))
            elif isinstance(item, Gap):
                out.append(-(item.lines or 0))
            elif isinstance(item, House):
                out.append(item.word)
        return out


def check_once_in_order(out: list[object], upto: int) -> None:
    """Each number 1..upto appears once, in order, or inside a gap of exactly the right size."""
    expected = 1
    for thing in out:
        assert isinstance(thing, int)
        if thing < 0:
            expected += -thing
        else:
            assert thing == expected
            expected += 1
    assert expected == upto + 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("print"), st.integers(1, 700)),
        st.tuples(st.just("read"), st.just(0)),
        st.tuples(st.just("null"), st.just(0)),
        st.tuples(st.just("stale"), st.integers(0, 3000)),
        st.tuples(st.just("listen"), st.integers(0, 60)),
        st.tuples(st.just("hear"), st.integers(1, 5000)),
        st.tuples(st.just("deaf"), st.just(0)),
        st.tuples(st.just("replay"), st.integers(0, 50)),
    ),
    max_size=40,
)


def apply(play: Play, step: tuple[str, int], heard: dict[str, int | None]) -> None:
    word, value = step
    container = play.container
    match word:
        case "print":
            play.print(value)
        case "read":
            play.read()
        case "null":
            play.got += play.cursor.read(None)
            play.got += play.cursor.read("")
        case "stale":
            play.read(min(value, len(container.lines)))
        case "listen" if heard["at"] is None:
            heard["at"] = max(0, container.size() - value)
        case "hear" if heard["at"] is not None:
            text = container.text_from(heard["at"])[:value]
            heard["at"] += len(text.encode())
            play.got += play.cursor.heard(text)
        case "deaf" if heard["at"] is not None:
            heard["at"] = None
            play.cursor.deaf()
        case "replay":
            lines = [text for _, text in container.lines]
            if heard["at"] is not None:
                heard["at"] = None
                play.cursor.deaf()
            play.containers.append(Container(window_bytes=container.window_bytes))
            for text in lines[: len(lines) * value // 50] if value < 50 else lines:
                play.ticks += 1
                play.container.write(text, play.ticks)
            play.numbers = len(play.container.lines)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_nothing_lost_nothing_twice_while_the_window_holds_all(steps: list[tuple[str, int]]) -> None:
    play, heard = Play(), {"at": None}
    for step in steps:
        if step[0] != "replay":
            apply(play, step, heard)
    play.settle()
    assert play.numbers_out() == list(range(1, play.numbers + 1))


@given(STEPS, st.integers(200, 9000))
@settings(max_examples=60, deadline=None)
def test_what_slid_out_of_the_window_is_counted_exactly(steps: list[tuple[str, int]], window: int) -> None:
    play, heard = Play(containers=[Container(window_bytes=window)]), {"at": None}
    for step in steps:
        if step[0] not in {"stale", "replay"}:
            apply(play, step, heard)
    play.settle()
    out = play.numbers_out()
    check_once_in_order(out, play.numbers if any(isinstance(n, int) and n > 0 for n in out) else sum(-int(str(n)) for n in out))
    held = play.container.shown(None).splitlines()[1:]
    assert len(held) <= sum(1 for n in out if isinstance(n, int) and n > 0) or not held


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_a_container_restarted_in_place_prints_again_and_nothing_is_doubled(steps: list[tuple[str, int]]) -> None:
    play, heard, most = Play(), {"at": None}, 0
    for step in steps:
        apply(play, step, heard)
        most = max(most, play.numbers)
    # the runner replays its whole spool before it goes on: so must the model before the end
    while play.numbers < most:
        play.print(1)
    play.print(3)
    play.settle()
    assert play.numbers_out() == list(range(1, play.numbers + 1))


@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_lost_state_folder_begins_anew_and_the_second_printing_is_whole(first: int, second: int, reads: int, stale: bool) -> None:
    play = Play()
    play.ticks += 1
    play.numbers = 1
    play.container.write(frame(1, "#", "start at=one"), play.ticks)
    play.print(first, "x")
    for _ in range(2):
        play.read()
    play.containers.append(Container())
    play.ticks += 1
    play.container.write(frame(1, "#", "start at=two"), play.ticks)
    old = play.numbers
    play.numbers = 1
    for _ in range(reads):
        play.print(second // max(reads, 1), "y")
        play.read()
        if stale:
            play.got += play.cursor.read(play.containers[0].shown(play.cursor.tail()))
    while play.numbers < second + 1:
        play.print(1, "y")
    play.settle()
    out = text_of(play.got)
    before = "".join(f"x{n}\n" for n in range(2, old + 1)).encode()
    after = "".join(f"y{n}\n" for n in range(2, play.numbers + 1)).encode()
    assert out == ["start", before, "anew", "start", after]


def test_a_cut_first_line_that_looks_like_a_frame_does_not_count() -> None:
    cursor = LogCursor()
    lines = "".join(frame(n, "|", f"row {n}| value") + "\n" for n in range(1, 8))
    cut = lines[lines.index("7| value") :] + frame(8, "|", "row 8") + "\n"
    assert cursor.read(cut) == []
    assert text_of(cursor.read(lines + frame(8, "|", "row 8") + "\n"))[0].startswith(b"row 1| value\n")


def test_a_burst_costs_two_reads_not_a_ladder() -> None:
    play = Play()
    play.print(50)
    play.read()
    play.print(5_000)
    reads = 0
    while True:
        play.read()
        reads += 1
        if not play.cursor.hungry:
            break
    assert reads == 2
    assert play.numbers_out() == list(range(1, 5_051))


def test_a_hungry_cursor_is_not_hungry_after_null() -> None:
    play = Play()
    play.print(5_000)
    play.read()
    assert play.cursor.hungry
    play.cursor.read(None)
    assert not play.cursor.hungry


def test_the_tail_shrinks_again() -> None:
    play = Play()
    play.print(5_000)
    for _ in range(12):
        play.read()
    assert play.cursor.tail() == LogCursor.FIRST_TAIL


def test_lines_heard_and_then_read_do_not_look_like_a_restart() -> None:
    play = Play()
    play.print(10)
    play.read()
    play.got += play.cursor.heard("cut off\n")
    for _ in range(30):
        play.print(1)
        play.got += play.cursor.heard(play.container.lines[-1][1] + "\n")
    play.read()
    assert play.cursor.tail() is not None
    assert play.numbers_out() == list(range(1, 41))


def test_what_the_websocket_is_saying_is_not_a_gap() -> None:
    play = Play(containers=[Container(window_bytes=300)])
    play.print(5)
    play.read()
    play.got += play.cursor.heard("x\n" + frame(6, "|", "x6") + "\n")
    play.print(100)
    for _ in range(4):
        play.read()
    assert not any(isinstance(item, Gap) for item in play.got)
    for n in range(7, 106):
        play.got += play.cursor.heard(frame(n, "|", f"x{n}") + "\n")
    assert play.numbers_out() == list(range(1, 106))


def test_a_window_of_16_kb_after_the_end_is_no_gap_when_the_container_prints_again() -> None:
    play = Play()
    play.print(10)
    play.read()
    play.print(3_000)
    play.container.window_bytes = 16 * 1024
    play.read()
    play.read()
    lines = play.container.lines
    play.containers.append(Container())
    for _, text in lines:
        play.ticks += 1
        play.container.write(text, play.ticks)
    play.settle()
    assert play.numbers_out() == list(range(1, 3_011))


@pytest.mark.parametrize("mark", ["|", "+", "\\", "!"])
def test_texts_of_all_marks(mark: str) -> None:
    payload = {"|": "a b", "+": "a b", "\\": r"a\x20b\n", "!": "a b"}[mark]
    [item] = LogCursor().read(frame(1, mark, payload) + "\n" + "x")
    assert isinstance(item, Text)
    assert item.data == (b"a b" if mark == "+" else b"a b\n")
    assert item.traceback == (mark == "!")


def test_invalid_bytes_come_back_as_they_were() -> None:
    raw = bytes(range(256))
    payload = "".join(f"\\x{byte:02x}" for byte in raw)
    [item] = LogCursor().read(frame(1, "\\", payload) + "\n")
    assert isinstance(item, Text)
    assert item.data == raw


def test_a_bar_is_progress_and_the_end_is_the_closing_frame() -> None:
    cursor = LogCursor()
    items = cursor.read(frame(1, "~", "50%") + "\n" + frame(2, "#", "end outcome=succeeded exit=0 lines=0") + "\n")
    assert items[0] == Progress("50%")
    assert cursor.complete
    assert cursor.closing is not None
    assert cursor.closing.number("exit") == 0


def test_words_that_are_not_the_runners_are_kept_apart() -> None:
    cursor = LogCursor()
    assert cursor.read("2026-01-01T00:00:00.1Z sh: python3: not found\n") == []
    assert cursor.foreign == ["2026-01-01T00:00:00.1Z sh: python3: not found"]
