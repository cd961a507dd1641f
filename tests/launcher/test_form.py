"""The form, driven through its traits: what it shows while one types, what it starts, and that it never keeps the kernel waiting."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import ipywidgets as w
import pytest
from test_log_view import shown
from waiting import Until

from aci_notebook.errors import OptionError
from aci_notebook.fields import FIELDS, check
from aci_notebook.launcher import busy as room
from aci_notebook.launcher import guide, launcher
from aci_notebook.launcher.current import close_form, open_form
from aci_notebook.launcher.form import Launcher
from aci_notebook.magics import AciMagics
from aci_notebook.runs import Run
from aci_notebook.session import Session, connect
from aci_notebook.spec import RunSpec

TIPS = {"start, and follow it here", "show what would be sent; send nothing", "show the end of its log", "choose the next older run"}
HOSTILE = '<script>alert(1)</script></style><img src=x onerror="alert(1)">\x1b[2J'


def every(widget: w.Widget) -> list[w.Widget]:
    return [widget, *(below for child in getattr(widget, "children", ()) for below in every(child))]


def test_there_is_a_control_for_every_field_that_wants_one_and_each_is_labelled(form: Launcher) -> None:
    assert list(form.controls) == [field.name for field in FIELDS if field.control != "none"]
    for control in form.controls.values():
        if hasattr(control, "add"):
            control.add("A=b")
    entries = [item for item in every(form.widget) if isinstance(item, w.DOMWidget) and not isinstance(item, w.Box | w.HTML | w.Label)]
    assert len(entries) > 30
    for entry in entries:
        assert getattr(entry, "description", "") or entry.tooltip, entry
    for name, control in form.controls.items():
        assert any(control.field.help in (item.tooltip or "") for item in every(control.widget) if hasattr(item, "tooltip")), name


def test_a_fresh_form_asks_for_nothing(form: Launcher) -> None:
    assert form.values() == {}
    form.code.value = "print(1)"
    assert form.cell == "%%aci\nprint(1)"


def test_what_is_typed_is_seen_in_cell_resource_and_warnings(form: Launcher) -> None:
    form.code.value = "score = 1"
    form.controls["cpu"].put(2)
    form.controls["env"].put({"GREETING": "hello world"})
    form.controls["outputs"].put("score")
    form.controls["spot"].put(True)
    assert form.cell == "%%aci --cpu 2 --env 'GREETING=hello world' --spot --output score\nscore = 1"
    assert form.cell_view.value == form.cell
    assert "cpu: 2.0" in form.resource_view.value
    assert "priority: Spot" in form.resource_view.value
    assert form.controls["outputs"].chooser.options == (("score", "score"),)
    form.code.value = "score = ("
    assert "line 1" in form.facts.value


def test_the_text_of_the_table_s_rules_stands_at_the_field(form: Launcher) -> None:
    form.code.value = "1"
    form.controls["cpu"].entry.value = 99
    problem = form.controls["cpu"].problem.value
    assert "--cpu" in problem
    assert "99" in problem
    assert "between 1 and 31" in problem
    assert "another service" in problem
    form.controls["cpu"].entry.value = 1
    assert form.controls["cpu"].problem.value == ""
    form.controls["image"].put("Python:3.12")
    assert "write --image python:3.12" in form.controls["image"].problem.value


@pytest.mark.parametrize(
    ("name", "wrong", "line"),
    [
        ("image", "Python:3.12", "--image Python:3.12"),
        ("cpu", 99.0, "--cpu 99"),
        ("cpu", 1.05, "--cpu 1.05"),
        ("memory_gb", 0.5, "--memory 0.5"),
        ("env", ["1 A=b"], "--env '1 A=b'"),
        ("secrets", ["TOKEN=hunter2"], "--secret TOKEN=hunter2"),
        ("volumes", ["nowhere"], "--volume nowhere"),
        ("name", "UPPER", "--name UPPER"),
        ("tags", ["aci-notebook-run=x"], "--tag aci-notebook-run=x"),
        ("timeout_s", "soon", "--timeout soon"),
        ("inputs", "a b", "--input 'a b'"),
        ("outputs", "1x", "--output 1x"),
    ],
)
def test_a_wrong_value_is_refused_as_one_types_in_the_magics_own_words(form: Launcher, name: str, wrong: Any, line: str) -> None:
    with pytest.raises(OptionError) as refused:
        form.door.magics.aci(f"{line} --dry-run", "1")
    control = form.controls[name]
    if name == "secrets":  # the rows of the form cannot say this; the rule behind them can
        with pytest.raises(OptionError, match="never the secret itself"):
            check({name: wrong})
        return
    control.put(wrong)
    shown = unescape(re.sub(r"<[^>]+>", "\n", control.problem.value))
    assert [text for text in shown.split("\n") if text] == str(refused.value).split("\n")
    form.code.value = "1"
    assert line.partition(" ")[2] not in form.cell
    assert "marked fields" in form.facts.value


def test_no_secret_reaches_cell_resource_log_or_history(form: Launcher, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORM_TOKEN", "s3cr3t-in-the-environment")
    form.code.value = "import os\nprint('it is', os.environ['TOKEN'])"
    rows = form.controls["secrets"]
    rows.put(["TOKEN=env:FORM_TOKEN"])
    assert form.cell.startswith("%%aci --secret TOKEN=env:FORM_TOKEN\n")
    form.dry_button.click()
    form.run_button.click()
    until(lambda: "group deleted" in form.header.value)
    assert shown(form.log)[0].startswith("it is *")
    assert form.run is not None
    first = form.run
    form.panel.choose(first.run_id)
    form.panel.buttons["Rerun"].click()
    until(lambda: form.run is not first and "group deleted" in form.header.value)
    everything = "\n".join(str(getattr(item, "value", "")) + str(getattr(item, "options", "")) for item in every(form.widget))
    assert "FORM_TOKEN" in everything
    assert "s3cr3t" not in everything


def test_a_secret_pasted_where_its_place_belongs_stays_out_of_the_cell(form: Launcher, tmp_path: Path) -> None:
    form.code.value = "1"
    rows = form.controls["secrets"]
    rows.put(["TOKEN=env:hunter2hunter2"])
    assert "never the secret itself" in rows.problem.value
    assert "hunter2" not in rows.problem.value + form.cell + form.resource_view.value + form.facts.value
    rows.put([f"TOKEN=file:{tmp_path}/token"])
    assert "names no file" in rows.problem.value
    (tmp_path / "token").write_text("hunter2hunter2")
    rows.put([f"TOKEN=file:{tmp_path}/token"])
    assert rows.problem.value == ""
    assert form.cell == f"%%aci --secret TOKEN=file:{tmp_path}/token\n1"


def test_rules_between_fields_are_said_too(form: Launcher) -> None:
    form.code.value = "1"
    form.controls["spot"].put(True)
    form.controls["memory_gb"].put(32)
    assert "Spot groups have at most" in form.facts.value


WRONG_OTHERS = (
    ("--retries x", "whole number"),
    ("--retrys 2", "did you mean"),
    ("--detach", "a button here"),
    ("--retries 2 -- sleep 1", "%aci run"),
    ("--help", "has no place in this form"),
    ("--cpu 2", "has a field of its own"),
)


def test_options_without_a_control_are_written_as_in_a_line(form: Launcher) -> None:
    form.code.value = "1"
    form.others.entry.value = "--retries 2"
    assert form.cell == "%%aci --retries 2\n1"
    for wrong, said in WRONG_OTHERS:
        form.others.entry.value = wrong
        assert said in form.others.problem.value
        assert "marked fields" in form.facts.value
    form.run_button.click()
    assert "--cpu" in form.message.value
    assert form.run is None


def test_variables_are_offered_with_type_and_size_and_never_changed(form: Launcher) -> None:
    import pandas as pd

    form.door.magics.ipython.user_ns.update(frame=pd.DataFrame({"a": range(1000)}), module=sys, _hidden=1)
    form.note_free()
    labels = {name: label for label, name in form.controls["inputs"].chooser.options}
    assert set(labels) == {"frame"}
    assert "pandas.DataFrame" in labels["frame"]
    assert "8.1 kB" in labels["frame"]
    form.controls["inputs"].chooser.value = ("frame",)
    assert form.values()["inputs"] == "frame"
    form.controls["inputs"].entry.value = "frame,half=frame.head()"
    form.controls["inputs"].chooser.value = ()
    assert form.values()["inputs"] == "half=frame.head()"


def test_a_name_that_was_typed_away_can_be_chosen_again(form: Launcher) -> None:
    form.door.magics.ipython.user_ns.update(first=1, second=2)
    form.note_free()
    control = form.controls["inputs"]
    control.entry.value = "second"
    assert control.chooser.value == ("second",)
    control.entry.value = ""
    assert control.chooser.value == ()
    control.chooser.value = ("second",)
    assert form.values()["inputs"] == "second"
    control.put(None)
    assert control.chooser.value == ()


def test_what_a_cell_made_is_no_longer_missing(form: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    form.code.value = "print(later)"
    form.controls["inputs"].put("later")
    form.controls["secrets"].put(["TOKEN=env:MADE_LATER"])
    assert "names no variable" in form.controls["secrets"].problem.value
    monkeypatch.setenv("MADE_LATER", "a value of a secret")
    form.note_free()
    assert form.controls["secrets"].problem.value == ""
    assert "later is not defined" in form.facts.value
    form.door.magics.ipython.user_ns["later"] = 5
    form.note_free()
    assert "not defined" not in form.facts.value
    first, expires = form.preview, re.compile(r"aci-notebook-expires: .*\d{4}-")
    assert not expires.search(form.resource_view.value), "the clock is not part of what would be sent"
    form.dry_button.click()
    assert expires.search(form.resource_view.value)
    form.note_free()
    assert form.preview == first
    assert "nothing was sent" in form.resource_view.value
    form.door.magics.ipython.user_ns.pop("later")
    form.note_free()
    assert "nothing was sent" not in form.resource_view.value


def test_variables_that_are_too_large_are_said_before_they_are_sent(form: Launcher) -> None:
    space = form.door.magics.ipython.user_ns
    space["big"], space["small"] = bytearray(3_000_000), bytearray(3_000)
    form.code.value = "1"
    form.controls["inputs"].put("small")
    assert "one request carries" not in form.facts.value
    form.controls["inputs"].put("small,big")
    assert "--input: about 3.0 MB of variables; one request carries 2.5 MB" in form.facts.value


def test_rows_are_added_and_removed(form: Launcher) -> None:
    secrets = form.controls["secrets"]
    secrets.put(["TOKEN", "KEY=file:/a/b"])
    assert secrets.value() == ["TOKEN", "KEY=file:/a/b"]
    secrets.rows.children[0].children[-1].click()
    assert secrets.value() == ["KEY=file:/a/b"]


def test_a_run_is_begun_at_once_followed_and_its_variables_are_set(form: Launcher, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    submit, clicked, in_time = Session.submit, threading.Event(), []

    def held(self: Session, spec: RunSpec, **options: Any) -> Run:
        in_time.append(clicked.wait(20))
        return submit(self, spec, **options)

    monkeypatch.setattr(Session, "submit", held)
    form.door.magics.ipython.user_ns["factor"] = 21
    form.code.value = "print('\\x1b[31mred\\x1b[0m')\nanswer = factor * 2\nanswer"
    form.controls["inputs"].put("factor")
    form.controls["outputs"].put("answer")
    form.run_button.click()
    clicked.set()
    until(lambda: "group deleted" in form.header.value)
    assert in_time == [True], "the kernel was kept waiting"
    assert form.door.magics.ipython.user_ns["answer"] == 42
    assert shown(form.log) == ["red"]
    assert "aci-ink-1" in form.log._blocks.children[0].value
    assert "done" in form.spoken.value
    assert "set in this notebook: answer" in form.message.value
    assert any("42" in part.value for part in form.results.children)
    assert not form.run_button.disabled
    assert form.cancel_button.disabled


def test_a_variable_that_cannot_be_read_here_leaves_the_others(form: Launcher, until: Until) -> None:
    form.code.value = (
        "import sys, types\nthere = sys.modules['only_there'] = types.ModuleType('only_there')\n"
        "exec('class Made: pass', there.__dict__)\nthere.Made.__module__ = 'only_there'\nmade, kept = there.Made(), 5"
    )
    form.controls["outputs"].put("made, kept")
    form.run_button.click()
    until(lambda: "made came home and cannot be read here" in form.message.value)
    assert "set in this notebook: kept" in form.message.value
    assert form.door.magics.ipython.user_ns["kept"] == 5


def test_cancel_is_heard_before_the_run_is_there(form: Launcher, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    submit, clicked = Session.submit, threading.Event()

    def held(self: Session, spec: RunSpec, **options: Any) -> Run:
        clicked.wait(20)
        return submit(self, spec, **options)

    monkeypatch.setattr(Session, "submit", held)
    form.code.value = "import time\ntime.sleep(300)"
    form.run_button.click()
    form.cancel_button.click()
    assert "ends as soon as it has begun" in form.message.value
    clicked.set()
    until(lambda: form.run is not None and form.run.done())
    assert form.run is not None
    assert form.run.cancelled()
    assert form.run.wait_gone(20)


def test_a_form_that_rests_gives_no_cell_to_a_new_one(magics: AciMagics) -> None:
    first, second = open_form(magics), open_form(magics)
    second.code.value = "print('second')"
    first.code.value = "print('first')"
    assert magics.form_cell == "%%aci\nprint('second')"
    second.close()


def test_the_first_run_in_azure_says_where_it_goes(form: Launcher, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "first_word", lambda self, spec: f"runs in Azure: {spec.image}")
    form.code.value = "print(1)"
    form.start()
    assert "runs in Azure: python:" in form.message.value
    until(lambda: form.run is not None and form.run.done())
    assert "runs in Azure: python:" in form.message.value


def test_cancel_deletes_the_group(form: Launcher, until: Until) -> None:
    form.code.value = "import time\nprint('up', flush=True)\ntime.sleep(60)"
    form.run_button.click()
    until(lambda: shown(form.log) == ["up"])
    assert form.run_button.disabled
    connect("local").local_server().ask("/_aci/faults", {"on": "delete", "times": 1, "do": {"delay_s": 3}})
    form.cancel_button.click()
    assert form.run is not None
    assert form.run.record.group != "gone", "the kernel was kept waiting"
    until(lambda: "group deleted" in form.header.value)
    assert "cancelled" in form.spoken.value
    run: Any = form.run
    assert form.door.magics.session("local").backend().get(run.name) is None


def test_the_status_text_changes_with_the_state_alone(form: Launcher, until: Until) -> None:
    heard: list[str] = []
    headers: list[str] = []
    form.spoken.observe(lambda change: heard.append(change["new"]), names="value")
    form.header.observe(lambda change: headers.append(change["new"]), names="value")
    form.code.value = "import time\nfor n in range(15):\n    print(n, flush=True)\n    time.sleep(0.1)"
    form.run_button.click()
    until(lambda: "group deleted" in form.header.value)
    assert len(heard) == len(set(heard)) <= 7
    assert len(headers) > len(heard)


def test_detached_runs_leave_the_form_free(form: Launcher, until: Until) -> None:
    form.code.value = "late = 5"
    form.controls["outputs"].put("late")
    form.detach_button.click()
    until(lambda: "set in this notebook: late" in form.message.value)
    assert form.run is None
    assert not form.run_button.disabled
    assert form.door.magics.ipython.user_ns["late"] == 5


def test_what_the_form_follows_decides_about_run_and_cancel(form: Launcher, until: Until) -> None:
    form.code.value = "import time\nprint('up', flush=True)\ntime.sleep(60)\n1"
    form.run_button.click()
    until(lambda: shown(form.log) == ["up"])
    first: Any = form.run
    said: list[bool] = []
    form.cancel_button.observe(lambda change: said.append(change["new"]), names="disabled")
    form.code.value = "print('beside')"
    form.start(detached=True)
    until(lambda: "runs in the background" in form.message.value)
    assert form.run is first
    assert said == [], "the run that is followed can be cancelled all the time"
    form.results.children = (w.HTML("its value"),)
    beside = form.panel.list.value
    until(lambda: form.panel._records[beside].outcome is not None)
    form.panel.buttons["Log"].click()
    assert shown(form.log) == ["beside"]
    assert form.results.children == ()
    assert not form.run_button.disabled
    assert form.cancel_button.disabled
    assert first.running()
    form.panel.choose(first.run_id)
    form.panel.buttons["Attach"].click()
    assert form.run_button.disabled
    form.cancel_button.click()
    until(lambda: "group deleted" in form.header.value)
    until(lambda: not form.run_button.disabled)


def test_a_dry_run_shows_the_whole_resource_and_sends_nothing(form: Launcher) -> None:
    form.door.magics.ipython.user_ns["factor"] = 21
    form.code.value = "factor"
    form.controls["inputs"].put("factor")
    form.dry_button.click()
    assert "nothing was sent" in form.resource_view.value
    assert "factor: int" in form.resource_view.value
    assert form.side.selected_index == 1


@pytest.mark.parametrize(
    ("code", "inputs", "said"),
    [("", None, "no code"), ("x = (", None, "line 1"), ("1", "nowhere", "nowhere is not defined"), ("1", "a b", "is not a variable name")],
)
def test_what_cannot_run_is_said_and_nothing_begins(form: Launcher, code: str, inputs: str | None, said: str) -> None:
    form.code.value = code
    form.controls["inputs"].put(inputs)
    form.run_button.click()
    assert said in form.message.value
    assert form.run is None
    assert not form.run_button.disabled


def test_a_bug_in_a_callback_is_shown(form: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form.door, "prepare", lambda *_: 1 / 0)
    form.run_button.click()
    assert "ZeroDivisionError" in form.message.value


def test_hostile_text_is_text_everywhere(form: Launcher, until: Until) -> None:
    form.code.value = f"print({HOSTILE!r})\n{HOSTILE!r}"
    form.controls["env"].put({"A": HOSTILE})
    form.controls["name"].put(HOSTILE)
    form.controls["tags"].put({HOSTILE: HOSTILE})
    form.say(HOSTILE, bad=True)
    pages = [item.value for item in every(form.widget) if isinstance(item, w.HTML) and "aci-style" not in item._dom_classes]
    assert any("&lt;script&gt;" in page for page in pages)
    form.controls["name"].put(None)
    form.controls["tags"].put(None)
    form.run_button.click()
    until(lambda: "group deleted" in form.header.value)
    pages += [item.value for item in every(form.widget) if isinstance(item, w.HTML) and "aci-style" not in item._dom_classes]
    for page in pages:
        assert "<script" not in page
        assert "<img" not in page
        assert "\x1b" not in page


def test_a_second_click_made_while_the_first_waited_starts_nothing(form: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    class Kernel:
        sent = datetime.now(UTC)

        def get_parent(self) -> dict[str, Any]:
            return {"header": {"msg_type": "comm_msg", "date": self.sent}}

    monkeypatch.setattr(form.busy._shell, "kernel", Kernel(), raising=False)
    assert form.busy.heard() is not None
    assert form.busy.fresh()
    form.busy.handled()
    assert not form.busy.fresh()
    for apart, fresh in ((timedelta(hours=1), False), (timedelta(0), True)):
        monkeypatch.setattr(room, "SECOND_CLICK", apart)
        time.sleep(0.01)
        Kernel.sent = datetime.now(UTC)
        assert form.busy.fresh() is fresh, "a double click's second half is not fresh, although the first was handled before it"


def test_a_click_made_while_the_one_before_it_is_prepared_starts_nothing(form: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    class Kernel:
        def get_parent(self) -> dict[str, Any]:
            return {"header": {"msg_type": "comm_msg", "date": asked[0] if asked else datetime.now(UTC)}}

    def prepare(*_: Any) -> Any:
        asked.append(datetime.now(UTC))
        time.sleep(0.05)
        raise OptionError("--cpu", "0", "is too small")

    asked: list[datetime] = []
    monkeypatch.setattr(room, "SECOND_CLICK", timedelta(0))
    monkeypatch.setattr(form.busy._shell, "kernel", Kernel(), raising=False)
    monkeypatch.setattr(form.door, "prepare", prepare)
    form.run_button.click()
    form.run_button.click()
    assert len(asked) == 1
    assert "nothing was started" in form.message.value


def test_a_cell_that_runs_long_is_said(form: Launcher, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SAID_AFTER_S", 0.05)
    events = form.door.magics.ipython.events
    events.trigger("pre_run_cell", None)
    until(lambda: "a cell is running" in form.waiting.value)
    events.trigger("post_run_cell", None)
    assert form.waiting.value == ""


def test_a_new_form_retires_the_old_one(magics: AciMagics) -> None:
    first = open_form(magics)
    second = open_form(magics)
    assert first.panel._over.is_set()
    assert not second.panel._over.is_set()
    first.panel.refresh()
    assert "has taken over" in first.message.value
    pressed = [part for part in every(first.widget) if isinstance(part, w.Button) and part.tooltip in TIPS]
    assert len(pressed) == len(TIPS)
    assert all(part.disabled for part in pressed)
    assert not second.run_button.disabled
    close_form()
    assert second.run_button.disabled
    assert "was unloaded" in second.message.value


def test_the_last_cell_is_kept_for_a_new_cell(form: Launcher, magics: AciMagics) -> None:
    form.code.value = "print('kept')"
    assert guide.with_program(magics.form_cell) == "%%aci\nprint('kept')"


def test_without_widgets_the_guide_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher() is None
    said = capsys.readouterr().out
    assert "%%aci --cpu 2" in said
    assert all(field.option in said for field in FIELDS if field.control != "none")


def test_without_ipywidgets_installed_the_guide_is_printed(home: Path) -> None:
    code = (
        "import sys; sys.modules['ipywidgets'] = None\n"
        "import aci_notebook.display.frontend as room; room.front_end = lambda: 'html'\n"
        "from IPython.core.interactiveshell import InteractiveShell; InteractiveShell.instance()\n"
        "import aci_notebook; assert aci_notebook.launcher() is None"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"ACI_NOTEBOOK_HOME": str(home)}, check=False)
    assert "%%aci --cpu 2" in done.stdout, done.stderr


def test_the_names_of_the_package_stay_functions() -> None:
    import aci_notebook
    import aci_notebook.history
    import aci_notebook.launcher

    assert callable(aci_notebook.history)
    assert callable(aci_notebook.launcher)
    assert not isinstance(aci_notebook.launcher, type(sys))
