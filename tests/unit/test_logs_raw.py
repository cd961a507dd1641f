"""LogCursor over a log without numbers: by stamps, equal stamps counted, older reads harmless, gaps said."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from log_window import Container

from aci_notebook.logs import Gap, LogCursor, Text


def joined(items: list[object]) -> bytes:
    return b"".join(item.data if isinstance(item, Text) else b"<gap>" for item in items)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("print"), st.integers(1, 300)),
        st.tuples(st.just("same"), st.integers(1, 150)),
        st.tuples(st.just("open"), st.integers(1, 4)),
        st.tuples(st.just("read"), st.just(0)),
        st.tuples(st.just("stale"), st.integers(0, 2000)),
        st.tuples(st.just("null"), st.just(0)),
    ),
    max_size=30,
)


@given(STEPS)
@example([("open", 1), ("same", 1), ("read", 0), ("stale", 1)])
@settings(max_examples=60, deadline=None)
def test_every_line_once_also_when_texts_and_stamps_repeat(steps: list[tuple[str, int]]) -> None:
    container, cursor, got, ticks = Container(), LogCursor(framed=False), [], 1
    for word, value in steps:
        if word in {"print", "same"} and container.open_line is not None:
            container.write(container.open_line[1], container.open_line[0])
            container.open_line = None
        match word:
            case "print":
                for _ in range(value):
                    ticks += 1
                    container.write("tick" if value % 2 else f"line {ticks}", ticks)
            case "same":
                for _ in range(value):
                    container.write("tick", ticks)
            case "open":
                old = container.open_line
                if old is None:
                    ticks += 1
                container.open_line = (ticks if old is None else old[0], (old[1] if old else "") + "." * value)
            case "read":
                got += cursor.read(container.shown(cursor.tail()))
            case "stale":
                got += cursor.read(container.shown(cursor.tail(), min(value, len(container.lines))))
            case "null":
                got += cursor.read(None)
    for _ in range(6):
        got += cursor.read(container.shown(cursor.tail()))
    expected = "".join(text + "\n" for _, text in container.lines) + (container.open_line[1] if container.open_line else "")
    assert joined(got) == expected.encode()


def test_a_slid_window_is_said_and_what_is_there_is_shown_once() -> None:
    container, cursor = Container(window_bytes=400), LogCursor(framed=False)
    for n in range(5):
        container.write(f"line {n}", n)
    got = cursor.read(container.shown(cursor.tail()))
    for n in range(5, 300):
        container.write(f"line {n}", n)
    for _ in range(4):
        got += cursor.read(container.shown(cursor.tail()))
    assert sum(isinstance(item, Gap) for item in got) == 1
    text = joined(got)
    assert text.startswith(b"line 0\nline 1\nline 2\nline 3\nline 4\n<gap>")
    assert text.endswith(b"line 298\nline 299\n")
    assert text.count(b"line 299\n") == 1


def test_the_first_read_is_not_content_with_a_tail() -> None:
    container, cursor = Container(), LogCursor(framed=False)
    for n in range(1_000):
        container.write(f"line {n}", n)
    got = cursor.read(container.shown(cursor.tail()))
    assert cursor.hungry
    got += cursor.read(container.shown(cursor.tail()))
    assert joined(got).count(b"\n") == 1_000


def test_a_cut_stamp_is_not_a_line() -> None:
    cursor = LogCursor(framed=False)
    got = cursor.read("0.5Z tail of a stamp\n2026-11-22T00:00:01.0Z whole\n")
    assert joined(got) == b"whole\n"


def test_a_log_without_stamps_is_followed_by_overlap() -> None:
    cursor = LogCursor(framed=False)
    got = cursor.read("a\nb\n")
    got += cursor.read("a\nb\nc\n")
    got += cursor.read("b\nc\nd\n")
    assert joined(got) == b"a\nb\nc\nd\n"
