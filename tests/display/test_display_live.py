"""The views: throttled, in order, never the end of a run. A real shell with a capturing publisher, and a clock that is set."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import display_samples as s
import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from aci_notebook import events as ev
from aci_notebook.display.frontend import chosen_ui
from aci_notebook.display.live import CellView, DetachedView
from aci_notebook.display.render import Estimate
from aci_notebook.record import RunRecord


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[list[dict[str, Any]]]:
    """What reached the front end: `data`, `metadata`, `transient`, `update`."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    for name in ("displayhook", "excepthook"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    publisher = CapturingDisplayPublisher(parent=shell)
    shell.display_pub = publisher
    yield publisher.outputs
    shell.restore_sys_module_state()
    InteractiveShell.clear_instance()


class Stage:
    """A view, its record, and the one clock of both."""

    def __init__(self, make: Callable[..., Any], record: RunRecord | None = None, **given: Any) -> None:
        self.record = record or s.running(s.new())
        self.seconds = 20.0
        self.view = make(self.record, now=self.now, monotonic=lambda: self.seconds, **given)

    def now(self) -> datetime:
        return s.at(self.seconds)

    def happen(self, event: ev.Event, after_s: float = 1.0) -> None:
        self.seconds += after_s
        self.record = s.after(self.record, event)
        (self.view.consume if isinstance(self.view, CellView) else self.view.update)(self.record, event)

    def text(self, data: bytes, after_s: float = 1.0, traceback: bool = False) -> None:
        self.happen(ev.TextReceived(self.now(), data, traceback), after_s)

    def end(self, kind: ev.OutcomeKind = "succeeded") -> None:
        self.happen(ev.Ended(self.now(), ev.Outcome(kind, 0)))
        self.view.close(self.record)


def htmls(published: list[dict[str, Any]]) -> list[str]:
    return [message["data"]["text/html"] for message in published if "aci-status" in message["data"].get("text/html", "")]


def test_one_display_is_updated_and_carries_the_run(published: list[dict[str, Any]]) -> None:
    stage = Stage(CellView, ui="html")
    stage.view.open(stage.record)
    stage.text(b"a\n")
    stage.end()
    assert [message["update"] for message in published] == [False, True, True, True]
    assert len({message["transient"]["display_id"] for message in published}) == 1
    assert all(message["metadata"] == {"aci": {"run": "k7f3a2"}} for message in published)
    assert "aci-stop" in htmls(published)[0].partition("</style>")[2]
    assert "<button" not in htmls(published)[-1]
    assert "✓ done" in htmls(published)[-1]


def test_clocks_move_four_times_a_second_at_most_and_states_at_once(published: list[dict[str, Any]]) -> None:
    stage = Stage(CellView, ui="html")
    stage.view.open(stage.record)
    for _ in range(100):
        stage.happen(ev.ProgressReceived(stage.now(), f"{stage.seconds:.2f} of it"), 0.01)
    assert 4 <= len(published) <= 6
    before = len(published)
    stage.happen(ev.CancelRequested(stage.now()), 0.0)
    assert len(published) == before + 1


def test_what_would_look_the_same_is_not_sent(published: list[dict[str, Any]]) -> None:
    stage = Stage(CellView, s.after(s.running(s.new()), ev.Ended(s.at(19), ev.Outcome("succeeded", 0))), ui="html")
    stage.view.open(stage.record)
    for _ in range(10):
        stage.seconds += 1
        stage.view.tick(stage.record)
    assert len(published) == 1


def test_output_goes_to_stdout_and_the_traceback_does_not(published: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(CellView, ui="html")
    stage.view.open(stage.record)
    stage.text("h\xe9".encode()[:2])
    stage.text("h\xe9".encode()[2:] + b"llo\n")
    stage.text(b"Traceback (most recent call last):\n", traceback=True)
    stage.happen(ev.GapFound(stage.now(), 12))
    stage.happen(ev.GapFound(stage.now(), None))
    stage.text(b"no end")
    stage.end("failed")
    assert capsys.readouterr().out == (
        "héllo\n… 12 lines missing here: the service no longer held them …\n"
        "… an unknown number of lines missing here: the service no longer held them …\nno end\n"
    )


def test_the_traceback_is_shown_where_asked_for(published: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(CellView, ui="html", show_traceback=True)
    stage.text(b"Traceback\n", traceback=True)
    stage.end()
    assert "Traceback" in capsys.readouterr().out


def test_lines_beyond_the_limit_wait_in_a_live_box(published: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(CellView, ui="html", lines_max=10)
    stage.view.open(stage.record)
    stage.text(b"".join(b"line %d\n" % place for place in range(50)))
    box = published[-1]["data"]["text/html"]
    assert "50 lines so far" in box
    assert "line 49" in box
    assert capsys.readouterr().out.split("\n")[-2] == "line 4"
    stage.end()
    assert [m["data"]["text/plain"] for m in published if "… lines" in m["data"]["text/plain"]] == ["… lines 46 to 50 of the output:"]
    assert capsys.readouterr().out.splitlines()[0] == f"… 40 lines left out here, whole log: {stage.record.log_path} …"


def test_values_and_figures_come_after_the_output(published: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(CellView, ui="html")
    stage.text(b"one\ntwo", 0.0)
    stage.view.show_value({"text/plain": "x\x1b[2Jy", "text/html": "<b>x</b>", "application/javascript": "alert(1)"})
    stage.view.show_figure(b"\x89PNG")
    assert capsys.readouterr().out == "one\ntwo\n"
    assert published[-2]["data"] == {"text/plain": "xy", "text/html": "<b>x</b>"}
    assert published[-1]["data"] == {"text/plain": "<figure, PNG, 4 B>", "image/png": "iVBORw=="}


def test_quiet_shows_the_output_alone(published: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(CellView, quiet=True, ui="html")
    stage.view.open(stage.record)
    stage.text(b"a\n")
    stage.end()
    assert published == []
    assert capsys.readouterr().out == "a\n"


def test_after_the_end_the_group_is_settled_without_printing(published: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(CellView, ui="html")
    stage.view.open(stage.record)
    stage.end()
    stage.view.settle(s.after(stage.record, ev.DeleteVerified(s.at(90))))
    assert "group deleted" in htmls(published)[-1]
    assert capsys.readouterr().out == ""


# --- without a kernel ------------------------------------------------------------------------------------------------------------


def test_a_terminal_gets_a_line_per_state(capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(CellView, s.new(), ui="text")
    stage.view.open(stage.record)
    stage.happen(ev.CreateRequested(stage.now()))
    stage.happen(ev.PhaseEntered(stage.now(), "running", stage.now()))
    for _ in range(20):
        stage.seconds += 1
        stage.view.tick(stage.record)
    stage.text(b"hello\n")
    stage.view.show_value({"text/plain": "42", "text/html": "<b>42</b>"})
    stage.end()
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "○ queued  fit-model"
    assert out[1].startswith("● running  fit-model")
    assert out[2:4] == ["hello", "42"]
    assert out[4].startswith("✓ done  fit-model")
    assert out[-1].endswith(".log")
    assert "\r" not in "".join(out)


def test_a_tty_repaints_one_line_and_takes_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    stage = Stage(CellView, ui="text")
    stage.view.open(stage.record)
    for _ in range(3):
        stage.seconds += 1
        stage.view.tick(stage.record)
    stage.text(b"hello\n", 0.0)
    stage.seconds += 1
    stage.end()
    written = terminal.getvalue()
    left = [line.rpartition("\r\x1b[K")[2] for line in written.split("\n")]  # what a terminal still shows of each line
    assert left[0] == "hello"
    assert left[1].startswith("✓ done")
    assert len(left) <= 5
    assert "● running" in written
    assert written.rstrip("\n").split("\n")[-1].startswith("  python:3.12-slim")


@pytest.mark.parametrize(
    ("ui", "env", "expected"),
    [("auto", "", "text"), ("auto", "HTML", "html"), ("auto", "quiet", "quiet"), ("text", "html", "text"), ("auto", "no", "text")],
)
def test_what_was_asked_for_wins(monkeypatch: pytest.MonkeyPatch, ui: Any, env: str, expected: str) -> None:
    monkeypatch.setenv("ACI_NOTEBOOK_UI", env)
    assert chosen_ui(ui) == expected
    assert chosen_ui(ui, quiet=True) == "quiet"


# --- failures --------------------------------------------------------------------------------------------------------------------


def test_a_display_that_fails_says_why_and_goes_on_as_text(
    published: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def price(record: RunRecord, now: datetime) -> Estimate:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise LookupError("no price <here>")
        return Estimate(0.1, 0.1)

    stage = Stage(CellView, ui="html", estimate=price)
    stage.view.open(stage.record)
    stage.text(b"hello\n")
    stage.text(b"world\n")
    stage.end()
    out = capsys.readouterr().out
    assert out.count("the display of fit-model failed (LookupError: no price <here>); plain text from here on") == 1
    assert out.index("hello") < out.index("world")
    assert "fit-model: succeeded" in out
    assert "no price &lt;here&gt;" in published[-1]["data"]["text/html"]
    assert stage.view.failure == "LookupError: no price <here>"


def test_a_late_failure_does_not_print_into_another_cell(published: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    def price(record: RunRecord, now: datetime) -> Estimate:
        if record.group == "gone":
            raise LookupError("no price")
        return Estimate(0.1, 0.1)

    stage = Stage(CellView, ui="html", estimate=price)
    stage.view.open(stage.record)
    stage.end()
    stage.view.settle(s.after(stage.record, ev.DeleteVerified(s.at(90))))
    assert capsys.readouterr().out == ""
    assert stage.view.failure == "LookupError: no price"


def test_a_closed_stdout_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    stage = Stage(CellView, ui="text")
    stage.view.open(stage.record)
    stage.text(b"a\n")
    stage.end()
    assert stage.view.failure.startswith("ValueError")


def test_an_interrupt_is_not_swallowed(published: list[dict[str, Any]]) -> None:
    def interrupted(record: RunRecord, now: datetime) -> Estimate:
        raise KeyboardInterrupt

    stage = Stage(CellView, ui="html", estimate=interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage.view.open(stage.record)


# --- in the background -----------------------------------------------------------------------------------------------------------


class Timers:
    """Timers that fire when told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, seconds: float, action: Callable[[], None]) -> None:
        self.waiting.append((seconds, action))

    def fire(self) -> None:
        waiting, self.waiting = self.waiting, []
        for _, action in waiting:
            action()


def test_a_background_run_updates_its_display_and_never_prints(published: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    timers = Timers()
    stage = Stage(DetachedView, ui="html", later=timers)
    stage.view.open(stage.record)
    for place in range(100):
        stage.text(b"line %d\n" % place, 0.001)
    assert len(published) == 1
    assert len(timers.waiting) == 1
    timers.fire()
    shown = published[-1]["data"]
    assert shown["text/plain"].split("\n")[-1] == "  | line 99"
    assert "line 80" in shown["text/plain"]
    assert "line 79" not in shown["text/plain"]
    assert "in the background; %aci stop fit-model ends it" in shown["text/plain"]
    assert "<button" not in shown["text/html"]
    stage.text(b"last, no end", 0.001)
    stage.end()
    timers.fire()
    assert "| last, no end" in published[-1]["data"]["text/plain"]
    assert "✓ done" in published[-1]["data"]["text/plain"]
    assert capsys.readouterr().out == ""


def test_a_background_run_in_a_terminal_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(DetachedView, ui="text", later=Timers())
    stage.view.open(stage.record)
    stage.text(b"a\n")
    stage.end()
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "%aci attach fit-model follows it" in out


def test_a_background_display_that_fails_stays_visible(published: list[dict[str, Any]]) -> None:
    def price(record: RunRecord, now: datetime) -> Estimate:
        raise LookupError("no price")

    stage = Stage(DetachedView, ui="html", estimate=price, later=Timers())
    stage.view.open(stage.record)
    stage.end()
    assert [message["data"]["text/plain"] for message in published] == [
        "fit-model: the header failed (LookupError: no price); plain lines follow"
    ]


def test_importing_the_views_is_cheap() -> None:
    code = "import sys, aci_notebook.display.live; print({'IPython', 'pandas', 'ipywidgets', 'azure', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
