"""From the program's bytes to frames and back, in one process and without a clock."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import Log

from aci_notebook.runner import runner

JOB = {**runner.DEFAULTS}


class Desk:
    """A Text over a Log whose writer does not run: the spool is what would be printed."""

    def __init__(self, folder: str, secrets: dict[str, str] | None = None) -> None:
        os.environ.update(secrets or {})
        self.log = runner.Log(os.path.join(folder, "spool"), runner.Masker(list(secrets or {})), JOB, lambda: None)
        self.text = runner.Text(self.log)
        self.now = 0.0
        self.path = os.path.join(folder, "spool")

    def feed(self, *chunks: bytes, after: float = 0.0) -> Desk:
        for chunk in chunks:
            self.now += after
            self.text.tick(self.now)
            self.text.feed(chunk, self.now)
        return self

    def wait(self, seconds: float) -> Desk:
        self.now += seconds
        self.text.tick(self.now)
        return self

    @property
    def shown(self) -> Log:
        with open(self.path, "rb") as file:
            return Log(file.read())

    def close(self) -> Log:
        self.text.close(self.now)
        return self.shown


@contextmanager
def desk(secrets: dict[str, str] | None = None):
    with tempfile.TemporaryDirectory() as folder:
        one = Desk(folder, secrets)
        yield one
        os.close(one.log._fd)
        for name in secrets or {}:
            os.environ.pop(name, None)


def chop(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


nasty = st.lists(
    st.one_of(
        st.sampled_from([b"\n", b"\r\n", b"     7| fake\n", b"\\n", b"\\", b"\x00", b"\x1b[31m", "é€😀".encode(), b"\xff",
                         b"\xe2\x82", b"\xc2\x85", "\u2028".encode(), b"\x0c", b"\x7f", b"a" * 3999, b"b" * 9001, b" ", b"\t"]),
        st.text(max_size=8).map(lambda text: text.encode("utf-8", "replace").replace(b"\r", b"")),
        st.binary(max_size=6).map(lambda data: data.replace(b"\r", b"")),
    ),
    max_size=30,
).map(b"".join)  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nasty, st.lists(st.integers(0, 100_000), max_size=12), st.sampled_from([0.0, 0.05, 0.3]))
def test_any_bytes_in_any_chunking_and_any_pauses_come_back_exactly(data: bytes, cuts: list[int], pause: float) -> None:
    if pause >= 0.2:  # a carriage return that waits alone is a bar, not half an end of line
        data = data.replace(b"\r\n", b"\n")
    with desk() as one:
        log = one.feed(*chop(data, cuts), after=pause).close()
        assert log.text() == data
        assert log.numbers == list(range(1, len(log.frames) + 1))
        assert (one.log.bytes, one.log.lines) == (len(data), data.count(b"\n"))
        again = runner.Log(one.path, one.log.masker, JOB, lambda: None)  # the next runner counts the same
        os.close(again._fd)
        assert (again.number, again.bytes, again.lines) == (one.log.number, len(data), data.count(b"\n"))


def test_plain_text_reads_like_nl_and_an_empty_line_has_no_trailing_space() -> None:
    with desk() as one:
        one.feed(b"hello\n\n  two  \n").close()
        assert one.shown.raw == b"     1| hello\n     2|\n     3|   two  \n"


def test_an_open_line_leaves_after_quiet_and_is_continued() -> None:
    with desk() as one:
        one.feed(b"loading")
        assert one.shown.frames == []
        one.wait(0.19)
        assert one.shown.frames == []
        one.wait(0.02)
        one.feed(b" done\n")
        assert one.shown.raw == b"     1+ loading\n     2|  done\n"


def test_dots_that_never_pause_are_seen_within_a_second() -> None:
    with desk() as one:
        one.feed(*[b"."] * 12, after=0.1)
        assert 9 <= len(one.shown.text()) <= 11


def test_half_a_character_waits_for_the_other_half() -> None:
    with desk() as one:
        one.feed("ab€".encode()[:-1]).wait(0.3)
        assert one.shown.raw == b"     1+ ab\n"
        one.feed("€".encode()[-1:]).wait(0.3)
        assert one.shown.text() == "ab€".encode()


def test_a_line_of_ten_megabytes_is_cut_and_not_kept() -> None:
    with desk() as one:
        chunk = b"x" * (1 << 18)
        for _ in range(40):
            one.feed(chunk)
            assert len(one.text._rest) <= 4000
            assert one.log._batch == []
        log = one.feed(b"\n").close()
        assert log.text() == chunk * 40 + b"\n"
        assert {mark for _, mark, _ in log.frames} == {"+", "|"}


@pytest.mark.parametrize(
    ("chunks", "final"),
    [
        ([b"\r  0%|    |", b"\r 50%|##  |", b"\r100%|####|", b"\n"], b"100%|####|\n"),
        ([b"12%\r", b"13%\r", b"done\n"], b"done\n"),
        ([b"longer text\rshort\n"], b"short" + b"r text\n"),
        ([b"longer text\r\x1b[Kshort\n"], b"short\n"),
        ([b"\x08\x08\x08\r1/9 [..]", b"\x08" * 8 + b"\r2/9 [#.]\n"], b"2/9 [#.]\n"),  # an old keras
        (
            [b"\r\x1b[1m1/9\x1b[0m \x1b[32m\xe2\x94\x81\x1b[0m", b"\r\x1b[1m9/9\x1b[0m\n"],
            b"\x1b[1m9/9\x1b[0m \x1b[32m\xe2\x94\x81\x1b[0m\n",
        ),  # a new one
        ([b"\rbar", b"\r   ", b"\r"], b""),  # tqdm(leave=False)
        ([b"\rbar 1", b"\rbar 2"], b"bar 2"),
        ([b"a\rb\r\n"], b"b\n"),
        ([b"abc\r\n"], b"abc\r\n"),
        ([b"abc\r", b"\n"], b"abc\r\n"),
    ],
)
def test_a_line_rewritten_by_carriage_returns_is_printed_once_as_it_looks(chunks: list[bytes], final: bytes) -> None:
    with desk() as one:
        assert one.feed(*chunks, after=0.01).close().text() == final


def test_a_bar_shows_its_look_at_most_once_a_second() -> None:
    with desk() as one:
        for step in range(301):  # 30 s, ten looks a second
            one.feed(f"\r{step:3d}/300".encode(), after=0.1)
        log = one.feed(b"\nafter\n").close()
        looks = log.payloads("~")
        assert looks[0] == b"  0/300"
        assert 25 <= len(looks) <= 31
        assert log.text() == b"300/300\nafter\n"


def test_the_last_look_before_a_pause_is_shown_without_a_further_byte() -> None:
    with desk() as one:
        one.feed(b"\r1/3").feed(b"\r2/3", after=0.1)
        assert one.shown.payloads("~") == [b"1/3"]
        due = one.text.due_at()
        assert due is not None
        one.wait(due - one.now)
        assert one.shown.payloads("~") == [b"1/3", b"2/3"]
        assert one.text.due_at() is None


def test_a_bar_whose_beginning_has_left_overwrites_it() -> None:
    with desk() as one:
        one.feed(b"epoch 1: 0%").wait(0.3)
        log = one.feed(b"\repoch 1: 99%\n").close()
        assert log.text() == b"epoch 1: 0%\repoch 1: 99%\n"


def test_an_endless_bar_line_does_not_grow() -> None:
    with desk() as one:
        one.feed(b"\rx")
        for _ in range(50):
            one.feed(b"y" * 100_000)
        assert one.text._bar is None
        assert one.close().text() == b"x" + b"y" * 5_000_000


secrets = st.lists(st.text("ab", min_size=6, max_size=9), min_size=1, max_size=3, unique=True)


@settings(max_examples=100, deadline=None)
@given(secrets, st.text("ab\n", max_size=60), st.data())
def test_no_secret_passes_and_chunks_make_no_difference(values: list[str], text: str, data: st.DataObject) -> None:
    text += data.draw(st.sampled_from(values)) + data.draw(st.text("ab\n", max_size=9))
    text += data.draw(st.sampled_from(["", values[0][:-1]]))
    names = {f"SECRET_{i}": value for i, value in enumerate(values)}
    cuts = data.draw(st.lists(st.integers(0, 100), max_size=20))
    with desk(names) as one, desk(names) as other:
        log = one.feed(*chop(text.encode(), cuts), after=data.draw(st.sampled_from([0.0, 0.3]))).close()
        shown = log.text()
        assert shown == other.feed(text.encode()).close().text()
        assert not any(value.encode() in shown for value in values)
        assert shown == re.sub("|".join(sorted(values, key=len, reverse=True)), "******", text).encode()


def test_a_beginning_of_a_secret_is_not_flushed_by_quiet() -> None:
    with desk({"KEY": "hunter22"}) as one:
        one.feed(b"key=hunt").wait(5)
        assert one.shown.text() == b"key="
        assert one.feed(b"er22!\n").close().text() == b"key=******!\n"


def test_short_values_are_no_secrets_and_a_final_newline_does_not_protect() -> None:
    with desk({"SHORT": "abc", "LINE": "longsecret\n"}) as one:
        assert one.feed(b"abc longsecret abc\n").close().text() == b"abc ****** abc\n"


def test_house_lines_are_masked_quoted_and_stay_one_line() -> None:
    with desk({"KEY": "hunter22"}) as one:
        one.log.house("skip", name="x", reason="it's hunter22\nand\x00more\u2028\udc80")
        assert one.shown.house("skip") == [{"name": "x", "reason": "it's ****** and more  "}]
        assert len(one.shown.frames) == 1


def test_a_torn_spool_is_cut_at_its_last_whole_frame() -> None:
    with desk() as one:
        one.feed(b"one\ntwo\n").close()
        with open(one.path, "ab") as spool:
            spool.write(b"     3| thr")
        again = runner.Log(one.path, one.log.masker, JOB, lambda: None)
        again.house("again")
        os.close(again._fd)
        assert one.shown.raw == b"     1| one\n     2| two\n     3# again\n"


def test_a_full_disk_loses_text_but_no_house_line_and_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with desk() as one:
        one.feed(b"kept\n")
        real, full = os.write, OSError(28, "No space left on device")

        def write(file: int, data: bytes) -> int:
            if file == one.log._fd:
                raise full
            return real(file, data)

        monkeypatch.setattr(os, "write", write)
        one.feed(b"lost\n")
        one.log.house("warn", text="x")
        assert one.shown.text() == b"kept\n"
        assert one.log._tail == [b"     2# warn text=x\n"]
        assert (one.log.number, one.log.lines, one.log.bytes, one.log.lost_bytes) == (2, 1, 5, 5)


def test_out_of_memory_counters(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 1\noom_kill 3\n")
    real = open
    monkeypatch.setattr(
        "builtins.open",
        lambda path, *rest, **more: real(events if str(path).endswith("memory.events") else os.devnull, *rest, **more),
    )
    assert runner.oom_kills() == 3


@pytest.mark.parametrize(
    ("code", "kills", "peak_gb", "verdict"),
    [
        (-9, 1, 0.1, ("oom", 137)),
        (137, 1, 0.1, ("oom", 137)),
        (-9, 0, 0.99, ("oom", 137)),
        (137, 0, 0.99, ("failed", 137)),
        (-9, 0, 0.1, ("signal", 137)),
        (-15, 1, 0.99, ("signal", 143)),
        (0, 1, 0.99, ("succeeded", 0)),
        (3, 0, 0.1, ("failed", 3)),
    ],
)
def test_the_verdict_on_a_child(monkeypatch: pytest.MonkeyPatch, code: int, kills: int, peak_gb: float, verdict: tuple[str, int]) -> None:
    class Stub:
        asked = None

    one = runner.Runner.__new__(runner.Runner)
    one.job = {**JOB, "memory_gb": 1.0}
    monkeypatch.setattr(runner, "oom_kills", lambda: kills)
    monkeypatch.setattr(runner, "peak_memory", lambda peak, limit: peak)
    assert one.judge(Stub(), runner.Ended(code, int(peak_gb * 1e9), 0.0), 0) == verdict


@pytest.mark.parametrize(
    ("last", "shown"),
    [
        ("1 + 1", 2),
        ("1 + 1;", None),
        ("1 + 1;  # a remark", None),
        ("1 + 1;\n\n# a remark\n", None),
        ("'a;'", "'a;'"),
        ("f';{1}'  # ;", ";1"),
        ("x = 5", None),
        ("(1,\n 2,\n)", (1, 2)),
        ("if True:\n    5", None),
        ("# nothing", None),
        ("", None),
    ],
)
def test_the_last_expression_is_the_value(last: str, shown: object) -> None:
    namespace: dict[str, object] = {}
    value = runner.execute("y = 0\n" + last, namespace)
    assert value == (shown.strip("'") if isinstance(shown, str) else shown)
    assert set(namespace) <= {"y", "x", "__builtins__", "__annotations__"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": 2}, "{'b': 1, 'a': 2}"),
        (int, "<class 'int'>"),
        ([], "[]"),
        (list(range(2000)), " ... (2,000 items)"),
        ({i: i for i in range(1001)}, " ... (1,001 items)"),
    ],
)
def test_the_text_of_a_value(value: object, text: str) -> None:
    assert runner.plain(value).endswith(text)
