"""A run passes from the cell's thread to its own, and from a kernel that is gone to the next: at any moment it has one owner, or none."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aci_notebook import session, submit, sweep
from aci_notebook.errors import OptionError
from aci_notebook.presence import Presence, _is_held
from aci_notebook.record import RunRecord

WAITS = "print('here')\nimport pathlib, time\nwhile not pathlib.Path('enough').exists():\n    time.sleep(0.05)"


@pytest.fixture
def interrupted() -> Iterator[Callable[[bool], Any]]:
    """Interrupts whoever starts a run's thread: after it has begun, or before."""
    patch = pytest.MonkeyPatch()

    def interrupt(begun: bool) -> Any:
        start = threading.Thread.start

        def started(thread: threading.Thread) -> None:
            if thread.name.startswith("aci-run-"):
                patch.undo()
                if begun:
                    start(thread)
                raise KeyboardInterrupt
            start(thread)

        patch.setattr(threading.Thread, "start", started)
        return pytest.raises(KeyboardInterrupt)

    yield interrupt
    patch.undo()


@pytest.mark.parametrize("begun", [True, False])
def test_the_run_of_a_cell_ends(shell: Any, creates: Callable[[], int], interrupted: Callable[[bool], Any], begun: bool) -> None:
    put = creates()
    with interrupted(begun):
        shell.run_cell_magic("aci", "-q", "import time; time.sleep(600)")
    run = session.house().runs.all()[-1]
    assert run.wait_gone(30)
    assert (run.state, run.record.group in {"unborn", "gone"}) == ("cancelled", True)
    record = session.house().store.load(run.run_id)
    assert record is not None
    assert record.outcome is not None
    assert creates() - put <= begun


@pytest.mark.parametrize("begun", [True, False])
def test_a_run_that_is_taken_over_can_be_attached_again(shell: Any, interrupted: Callable[[bool], Any], begun: bool) -> None:
    left = submit(WAITS, on="local", quiet=True)
    left.detach()
    assert left.wait_gone(30)
    with interrupted(begun):
        session.connect("local").adopt(left.record)
    again = session.connect("local").adopt(left.record)
    deadline = time.monotonic() + 30
    while again.log() != "here\n":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    again.cancel()
    assert again.wait_gone(30)
    assert (again.state, again.record.group) == ("cancelled", "gone")


@pytest.mark.parametrize("how", ["begun", "attached"])
def test_what_is_begun_here_is_never_taken_for_left_behind(shell: Any, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    here, store = session.connect("local"), session.house().store
    left = submit(WAITS, on="local", quiet=True)
    left.detach()
    assert left.wait_gone(30)
    save, found = store.save, list[str]()

    def looked_at(record: RunRecord) -> None:
        save(record)
        found.extend(item.run_id for item in sweep.left_behind(here))

    monkeypatch.setattr(store, "save", looked_at)
    if how == "attached":
        del session.house().runs._runs[left.run_id]
        run = here.adopt(left.record)
    else:
        run = submit(WAITS, on="local", quiet=True)
    run.cancel()
    assert run.wait_gone(30)
    assert run.run_id not in found
    here.backend().delete(left.name)


@pytest.fixture
def other(home: Path) -> Iterator[Presence]:
    """Another kernel that lives."""
    found = Presence(home)
    assert found.hold()
    yield found
    found.release()


@pytest.fixture
def orphan(shell: Any) -> Iterator[RunRecord]:
    """A run that goes on, of a kernel that is gone."""
    run = submit(WAITS, on="local", quiet=True)
    run.detach()
    assert run.wait_gone(30)
    del session.house().runs._runs[run.run_id]
    record = replace(run.record, kernel="gone", host=socket.gethostname(), detached=False)
    session.house().store.save(record)
    yield record
    session.connect("local").backend().delete(record.name)


def test_of_two_kernels_that_attach_at_once_one_does(orphan: RunRecord, other: Presence) -> None:
    session.house().store.save(replace(orphan, kernel=other.id))  # after this one had read the history
    with pytest.raises(OptionError, match="followed by another kernel"):
        session.connect("local").adopt(orphan)


def test_one_looks_and_writes_before_the_next_looks(orphan: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, held = session.house().presence.home / "kernels" / "taking-over", list[bool]()
    for name in ("load", "save"):
        monkeypatch.setattr(session.house().store, name, _noting(getattr(session.house().store, name), lambda: held.append(_is_held(lock))))
    run = session.connect("local").adopt(orphan)
    assert held[:2] == [True, True]
    assert not _is_held(lock)
    run.cancel()
    assert run.wait_gone(30)


def _noting(call: Callable[..., Any], note: Callable[[], None]) -> Callable[..., Any]:
    def noted(*given: Any) -> Any:
        note()
        return call(*given)

    return noted


def test_gc_leaves_what_was_taken_over_while_it_looked(orphan: RunRecord, other: Presence, monkeypatch: pytest.MonkeyPatch) -> None:
    here = session.connect("local")
    listing = type(here.backend()).list_groups
    judged = sweep._judge

    def taken_over(*given: Any) -> Any:
        said = judged(*given)
        session.house().store.save(replace(orphan, kernel=other.id))
        return said

    monkeypatch.setattr(sweep, "_judge", taken_over)
    rows = {row["run_id"]: (row["action"], row["reason"]) for row in sweep.gc(here)}
    assert rows[orphan.run_id] == ("left", "its kernel lives")
    assert orphan.name in [group.name for group in listing(here.backend())]


@pytest.mark.parametrize("who", ["gc", "the next run"])
def test_what_a_kernel_had_not_come_to_ask_for_is_closed(shell: Any, who: str) -> None:
    here = session.connect("local")
    record, _ = here.prepare(here.spec({}, "1"))
    session.house().store.save(replace(record, kernel="gone"))
    if who == "gc":
        sweep.gc(here)
    else:
        looking = sweep.verify_in_background(here)
        assert looking is not None
        looking.join(30)
    known = session.house().store.load(record.run_id)
    assert known is not None
    assert known.outcome is not None
    assert (known.outcome.kind, known.outcome.reason) == ("cancelled", "its kernel ended before it had asked for the container group")
    assert record.run_id not in [left.run_id for left in session.house().store.unfinished()]
