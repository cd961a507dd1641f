"""The log call: window, tail, stamps, refusals (A14, A15; aci-facts §5)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aci_notebook.local.logwindow import Spool, Window, read_window
from aci_notebook.local.runtimes import supervise
from aci_notebook.local.runtimes.supervise import SpoolWriter

from .conftest import Server, body, shell

STAMP = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z "
LARGE = Window(1 << 30)


def test_a14_content_tail_and_timestamps(simulated: Server, name: str) -> None:
    simulated.script(name, [{"print": "one\ntwo\n"}, {"print": "thr"}, {"print": "ee"}])
    simulated.put(name, body())
    simulated.until_state(name, "Running")
    assert simulated.logs(name) == "one\ntwo\nthree"
    assert simulated.logs(name, query="?tail=2") == "two\nthree"
    assert simulated.logs(name, query="?tail=0") == ""
    assert re.fullmatch(rf"{STAMP}one\n{STAMP}two\n{STAMP}three", simulated.logs(name, query="?timestamps=true"))
    assert re.fullmatch(rf"{STAMP}three", simulated.logs(name, query="?tail=1&timestamps=True"))
    answer = simulated.call("GET", f"{simulated.group(name)}/containers/main/logs?tail=1")
    assert answer.json == {"content": "three"}


def test_a14_the_window_slides_by_bytes_and_shrinks_at_the_end(simulated: Server, name: str) -> None:
    simulated.control("POST", "limits", {"log_window_bytes": 1000, "ended_log_bytes": 100, "ended_log_lines": 3})
    text = "".join(f"line {n:04d}\n" for n in range(500))
    simulated.script(name, [{"print": text}], container="main")
    simulated.script(f"{name}-2", [{"print": text}, {"exit": 0}])
    simulated.put(name, body())
    simulated.put(f"{name}-2", body())
    simulated.until_state(name, "Running")
    assert simulated.logs(name) == text[-1000:]
    simulated.until_state(f"{name}-2", "Succeeded")
    assert simulated.logs(f"{name}-2") == text[-30:]
    simulated.control("POST", "limits", {"ended_log_lines": 1000})
    assert simulated.logs(f"{name}-2") == text[-100:]


def test_a14_the_default_windows(process: Server, name: str) -> None:
    process.put(name, shell("yes 0123456789abcde | head -n 400000; echo end; read x < /dev/null; sleep 60"))
    process.until_state(name, "Running")
    process.until(name, lambda _: process.logs(name, query="?tail=1") == "end\n")
    content = process.logs(name)
    assert len(content) == 4 * 1024 * 1024
    assert content.endswith("0123456789abcde\nend\n")
    process.control("POST", f"groups/{name}/happen", {"event": "platform_kill"})
    process.until_state(name, "Failed")
    assert len(process.logs(name)) == len("0123456789abcde\n") * 999 + len("end\n")
    stamped = process.logs(name, query="?timestamps=true")
    stamps = [line.split(" ")[0] for line in stamped.splitlines()]
    assert len(stamps) == 1000
    assert stamps == sorted(stamps)


def test_a14_null_content_and_other_trouble(simulated: Server, name: str) -> None:
    simulated.script(name, [{"print": "x\n"}])
    simulated.put(name, body())
    simulated.until_state(name, "Running")
    path = f"{simulated.group(name)}/containers/main/logs"
    simulated.control("POST", "faults", {"on": "logs", "times": 1, "group": name, "do": {"null_content": True}})
    assert simulated.call("GET", path).json == {"content": None}
    assert simulated.call("GET", path).json == {"content": "x\n"}
    assert simulated.call("GET", f"{path}?tail=many").status == 400
    missing = simulated.call("GET", f"{simulated.group(name)}/containers/other/logs")
    assert (missing.status, missing.code) == (404, "ContainerNotFound")


def test_a14_a_started_again_container_has_a_new_log(simulated: Server, name: str) -> None:
    simulated.script(name, [{"print": "first\n"}], [{"print": "second\n"}])
    simulated.put(name, body())
    simulated.until_state(name, "Running")
    group = simulated.group(name)
    simulated.call("POST", f"{group}/stop")
    assert simulated.logs(name) == "first\n"
    simulated.call("POST", f"{group}/start")
    simulated.until_state(name, "Running")
    assert simulated.logs(name) == "second\n"


def test_a15_no_log_before_the_start(simulated: Server, name: str) -> None:
    simulated.control("POST", "time", {"mode": "reads", "n": 5})
    simulated.put(name, body())
    answer = simulated.call("GET", f"{simulated.group(name)}/containers/main/logs")
    assert (answer.status, answer.code) == (404, "ContainerLogNotAvailable")


chunks = st.lists(st.binary(max_size=12) | st.sampled_from([b"\n", b"a\n", b"\r", "é☃\n".encode(), b"x" * 40]), max_size=40)


def spooled(folder: Path, parts: list[bytes]) -> Spool:
    for old in folder.iterdir():
        old.unlink()
    writer = SpoolWriter(folder)
    for index, part in enumerate(parts):
        writer.write(part, 17 * 10**15 + index * 1000)
    writer.close()
    return Spool(folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=chunks, window=st.integers(1, 300), tail=st.none() | st.integers(0, 12))
def test_any_window_is_the_end_of_what_was_written(tmp_path: Path, parts: list[bytes], window: int, tail: int | None) -> None:
    spool = spooled(tmp_path, parts)
    written = b"".join(parts)
    kept = written[-window:]
    if tail is not None:
        lines = re.findall(rb"[^\n]*\n|[^\n]+$", written)
        last = b"".join(lines[max(0, len(lines) - tail) :])
        kept = written[len(written) - min(len(last), window) :]
    text = read_window(spool, Window(window), tail, timestamps=False)
    assert text.lstrip("\ufffd").encode() == kept.decode(errors="replace").lstrip("\ufffd").encode()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=chunks)
def test_every_line_has_one_stamp_however_it_arrived(tmp_path: Path, parts: list[bytes]) -> None:
    written = b"".join(parts)
    lines = re.findall(rb"[^\n]*\n|[^\n]+$", written)
    stamped = read_window(spooled(tmp_path, parts), LARGE, None, timestamps=True)
    found = re.findall(rf"({STAMP})", stamped)
    assert len(found) >= len(lines)
    assert re.sub(STAMP, "", stamped) == written.decode(errors="replace")
    assert found == sorted(found)


def test_old_segments_go_and_marks_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "SEGMENT_BYTES", 100)
    text = b"".join(b"line %03d\n" % n for n in range(100))
    parts = [text[at : at + 7] for at in range(0, len(text), 7)]
    spool = spooled(tmp_path, parts)
    assert len(list(tmp_path.glob("text-*"))) == 2
    assert spool.size() == len(text)
    for tail in range(1, 11):
        assert read_window(spool, LARGE, tail, timestamps=False) == text.decode()[-9 * tail :]
    stamped = read_window(spool, Window(95), None, timestamps=True)
    assert len(re.findall(STAMP, stamped)) == 11
    assert re.sub(STAMP, "", stamped) == text.decode()[-95:]


@pytest.mark.parametrize("tail", [None, 5])
def test_a_segment_that_goes_while_it_is_read(tmp_path: Path, tail: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The container starts again, or a newer segment takes over: both happen in another process, between listing and opening."""
    spool = spooled(tmp_path, [b"one\n", b"two\n"])
    found = Spool._bases

    def then_gone(self: Spool) -> list[int]:
        bases = found(self)
        (tmp_path / "marks-0").unlink(missing_ok=True)
        (tmp_path / "text-0").unlink(missing_ok=True)
        return bases

    monkeypatch.setattr(Spool, "_bases", then_gone)
    assert read_window(spool, LARGE, tail, timestamps=True) == ""


def test_a_segment_that_is_half_removed_is_none(tmp_path: Path) -> None:
    spool = spooled(tmp_path, [b"one\n"])
    (tmp_path / "marks-0").unlink()
    assert read_window(spool, LARGE, None, timestamps=True) == ""
