"""A run passes from the cell's thread to its own: an interrupt just then leaves no container, and no run that never ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from aci_notebook import session, submit

WAITS = "print('here')\nimport pathlib, time\nwhile not pathlib.Path('enough').exists():\n    time.sleep(0.05)"


@pytest.fixture
def interrupted() -> Callable[[bool], Any]:
    """Interrupts whoever starts a run's thread: after it has begun, or before."""

    def interrupt(begun: bool) -> Any:
        patch = pytest.MonkeyPatch()
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

    return interrupt


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
