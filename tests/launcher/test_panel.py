"""The list of runs: what other kernels write is seen, and what can be done with a run is done."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from test_log_view import shown
from waiting import Until

from aci_notebook.events import Outcome
from aci_notebook.history import HistoryStore
from aci_notebook.launcher.form import Launcher
from aci_notebook.launcher.panel import RUNS_SHOWN
from aci_notebook.presence import Presence
from aci_notebook.record import RunRecord
from aci_notebook.spec import RunSpec

OTHER_KERNEL = """
import aci_notebook as aci
run = aci.submit("import time\\nfor n in range(200):\\n    print('other', n, flush=True)\\n    time.sleep(0.1)")
import time
while b"other 0" not in run.log_bytes(): time.sleep(0.02)
print(run.run_id, flush=True)
"""


def record(run_id: str, **changes: object) -> RunRecord:
    made = RunRecord(
        run_id, f"aci-{run_id}", "local", datetime.now(UTC), RunSpec("alpine", code="print(1)"), kernel="gone", notebook="far.ipynb"
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def lines_of(form: Launcher) -> dict[str, str]:
    return {run_id: label.replace("\u00a0", " ") for label, run_id in form.panel.list.options}


def test_runs_of_other_kernels_appear_and_the_choice_stays(form: Launcher, home: Path, until: Until) -> None:
    form.panel.start()
    store = HistoryStore(home)
    store.save(record("first"))
    until(lambda: "first" in lines_of(form))
    form.panel.choose("first")
    store.save(record("second", cancel_reason="no longer wanted"))
    until(lambda: "second" in lines_of(form))
    form.panel.refresh()  # the turn that brought the second is over by now, and so is what the list says meanwhile
    assert form.panel.list.value == "first"
    assert "far.ipynb" in lines_of(form)["first"]
    assert "■ cancelling" in lines_of(form)["second"]
    store.close()


def test_hostile_names_are_one_harmless_line(form: Launcher, home: Path) -> None:
    store = HistoryStore(home)
    store.save(record("hostile", name="a\x1b[2J\n</select>", notebook="\u202egpj.exe"))
    store.close()
    form.panel.refresh()
    line = lines_of(form)["hostile"]
    assert not {"\x1b", "\n", "\u202e"} & set(line)


def test_the_choice_goes_from_run_to_run_without_arrow_keys(form: Launcher, home: Path) -> None:
    store = HistoryStore(home)
    for place, run_id in enumerate(("oldest", "middle", "newest")):
        store.save(record(run_id, created_at=datetime(2026, 2, 1, 12, place, tzinfo=UTC)))
    store.close()
    form.panel.choose("middle")
    newer, older = form.panel.steps[-1], form.panel.steps[1]
    newer.click()
    assert form.panel.list.value == "newest"
    assert "aci-newest" in form.panel.chosen.value
    older.click()
    older.click()
    assert form.panel.list.value == "oldest"
    last = list(form.panel._records)[-1]
    form.panel.choose(last)
    older.click()
    assert form.panel.list.value == last


def test_a_run_that_is_not_over_is_listed_however_old(form: Launcher, home: Path) -> None:
    store = HistoryStore(home)
    store.save(record("patient", created_at=datetime(2026, 1, 1, tzinfo=UTC)))
    for place in range(RUNS_SHOWN):
        store.save(record(f"later{place}", group="gone", outcome=Outcome("succeeded")))
    store.close()
    form.panel.refresh()
    assert list(form.panel._records)[-1] == "patient"
    assert len(form.panel._records) > RUNS_SHOWN


def test_names_that_differ_at_their_end_can_be_told_apart(form: Launcher, home: Path) -> None:
    store = HistoryStore(home)
    store.save(record("sweep", name="sweep-learning-rate-0.0001", outcome=Outcome("restarted"), group="gone"))
    store.close()
    form.panel.refresh()
    assert "sweep-learning-rate-0.0001" in lines_of(form)["sweep"]
    assert "✗ restarted" in lines_of(form)["sweep"]


def test_buttons_follow_what_can_be_done(form: Launcher, home: Path) -> None:
    store = HistoryStore(home)
    store.save(record("plain"))
    store.save(record("image", spec=RunSpec("hello-world"), group="kept"))
    store.close()
    form.panel.choose("plain")
    able = {name for name, button in form.panel.buttons.items() if not button.disabled}
    assert able == {"Attach", "Log", "Cancel", "Rerun"}
    form.panel.choose("image")
    able = {name for name, button in form.panel.buttons.items() if not button.disabled}
    assert able == {"Attach", "Log", "Cancel", "Delete"}


@pytest.mark.parametrize("button", ["Cancel", "Delete", "Attach"])
def test_a_run_that_this_kernel_left_alone_can_be_ended_and_attached(form: Launcher, until: Until, button: str) -> None:
    form.code.value = "import time\nprint('begun', flush=True)\ntime.sleep(100)"
    form.run_button.click()
    until(lambda: "begun" in shown(form.log))
    left = form.run
    assert left is not None
    left.detach()
    assert left.wait_gone(30)
    assert left.cancel() is False
    form.panel.choose(left.run_id)
    form.panel.buttons[button].click()
    if button == "Attach":
        until(lambda: form.run is not left and form.run is not None)
        form.cancel()
    until(lambda: form.panel._records[left.run_id].group == "gone")
    form.panel.refresh()
    assert "cancelled" in lines_of(form)[left.run_id]


def test_rerun_puts_a_run_into_the_form_and_begins_it(form: Launcher, until: Until) -> None:
    form.code.value = "print('again')"
    form.controls["memory_gb"].put(2)
    form.run_button.click()
    until(lambda: "group deleted" in form.header.value)
    first = form.run
    assert first is not None
    form.code.value = "something else"
    form.controls["memory_gb"].put(None)
    form.panel.choose(first.run_id)
    form.panel.buttons["Rerun"].click()
    until(lambda: form.run is not first)
    until(lambda: "group deleted" in form.header.value and first.run_id not in form.header.value)
    assert form.cell.endswith(" --memory 2\nprint('again')")
    assert shown(form.log) == ["again"]


def test_rerun_asks_for_what_the_history_does_not_keep(form: Launcher, home: Path) -> None:
    store = HistoryStore(home)
    store.save(record("hidden", spec=RunSpec("alpine", code="1", env={"PASSWORDLESS": "value"})))
    store.close()
    form.panel.choose("hidden")
    form.panel.buttons["Rerun"].click()
    assert "PASSWORDLESS" in form.message.value
    assert form.run is None


def test_the_log_of_a_run_is_its_file_and_is_followed(form: Launcher, home: Path, until: Until, tmp_path: Path) -> None:
    path = tmp_path / "far.log"
    path.write_bytes(b"one\n")
    store = HistoryStore(home)
    store.save(record("far", log_path=str(path)))
    store.close()
    form.panel.choose("far")
    form.panel.buttons["Log"].click()
    assert shown(form.log) == ["one"]
    with path.open("ab") as file:
        file.write(b"two\n")
    until(lambda: shown(form.log) == ["one", "two"])


def test_another_run_is_looked_at_while_the_first_one_writes(
    form: Launcher, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = HistoryStore(home)
    paths = [tmp_path / "first.log", tmp_path / "second.log"]
    for path in paths:
        path.write_text(f"of the {path.stem}\n")
        store.save(record(path.stem, log_path=str(path)))
    store.close()
    form.panel.choose("first")
    form.panel.buttons["Log"].click()
    form.panel.choose("second")
    reached, go_on, feed = threading.Event(), threading.Event(), form.log.feed

    def held(data: bytes, final: bool = False) -> None:
        if data == b"more\n":
            reached.set()
            assert go_on.wait(20)
        feed(data, final)

    monkeypatch.setattr(form.log, "feed", held)
    with paths[0].open("ab") as file:
        file.write(b"more\n")
    assert reached.wait(20)
    other = threading.Thread(target=form.panel.buttons["Log"].click)
    other.start()
    other.join(0.3)  # the old text is either shown before the new log is opened, or not at all
    go_on.set()
    other.join(20)
    form.panel._follow_log()
    assert shown(form.log) == ["of the second"]


def test_a_run_of_a_living_kernel_is_looked_at_and_not_taken(form: Launcher, home: Path, until: Until, tmp_path: Path) -> None:
    other = Presence(home)
    other.hold()
    path = tmp_path / "alive.log"
    path.write_bytes(b"theirs\n")
    store = HistoryStore(home)
    store.save(record("alive", kernel=other.id, phase="running", log_path=str(path)))
    try:
        form.panel.choose("alive")
        form.panel.buttons["Attach"].click()
        assert shown(form.log) == ["theirs"]
        assert "another kernel" in form.message.value
        assert form.run is None
        assert "running" in form.header.value
        store.save(record("alive", kernel=other.id, outcome=Outcome("failed", 3), group="gone", log_path=str(path)))
        store.close()
        until(lambda: "exit code 3" in form.header.value)
        assert "failed aci-alive" in form.spoken.value
    finally:
        other.release()


@pytest.mark.parametrize("button", ["Attach", "Cancel"])
def test_a_run_whose_kernel_is_gone_is_adopted_or_ended(form: Launcher, home: Path, until: Until, button: str) -> None:
    done = subprocess.run([sys.executable, "-c", OTHER_KERNEL], capture_output=True, text=True, check=True, timeout=60)
    run_id = done.stdout.strip()
    form.panel.choose(run_id)
    name = form.panel._records[run_id].name
    form.panel.buttons[button].click()
    if button == "Attach":
        until(lambda: len(shown(form.log)) > 3)
        assert shown(form.log)[:2] == ["other 0", "other 1"]
        form.cancel_button.click()
        until(lambda: "group deleted" in form.header.value)
    else:
        until(lambda: f"container group {name} is gone" in form.message.value)
    assert form.door.magics.session("local").backend().get(name) is None
