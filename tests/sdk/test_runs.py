"""Runs from spec to outcome, through the real SDK and the real runner."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from aci_notebook import errors as er
from aci_notebook.localserver import LocalServer
from aci_notebook.runs import Run
from aci_notebook.session import Session


def submit(session: Session, code: str, **values: object) -> Run:
    return session.submit(session.spec(values, code))


def test_requests_of_a_printing_run(session: Session, server: LocalServer) -> None:
    """5 seconds of printing, by polling alone: in the first minute the quick looks and every 2 s and a little."""
    server.ask("/_aci/faults", {"on": "attach", "times": 1, "do": {"status": 500}})
    before = server.ask("/_aci/stats")["requests"]
    run = submit(session, "import time\nfor i in range(50):\n print(i)\n time.sleep(0.1)")
    run.wait()
    after = server.ask("/_aci/stats")["requests"]
    cost = {kind: after.get(kind, 0) - before.get(kind, 0) for kind in ("create", "get", "logs", "attach", "delete")}
    assert run.log() == "".join(f"{i}\n" for i in range(50))
    assert cost["create"] == 1
    assert cost["get"] + cost["logs"] <= 13


def test_requests_with_the_websocket(session: Session, server: LocalServer) -> None:
    before = server.ask("/_aci/stats")["requests"]
    run = submit(session, "import time\nfor i in range(30):\n print(i)\n time.sleep(0.1)")
    run.wait()
    after = server.ask("/_aci/stats")["requests"]
    assert run.log() == "".join(f"{i}\n" for i in range(30))
    assert after["logs"] - before.get("logs", 0) <= 3


def test_a_stuck_delete_does_not_hold_the_run(session: Session, server: LocalServer) -> None:
    server.ask("/_aci/faults", {"on": "delete", "times": 100, "do": {"status": 500}})
    run = submit(session, "print(1)")
    while run.record.outcome is None:
        time.sleep(0.01)
    assert run.result(timeout=60) == {}
    assert run.record.group != "gone"  # nothing can delete it before the next line
    server.ask("/_aci/faults", method="DELETE")
    assert run.wait_gone(30)
    assert run.record.group == "gone"


def test_a_slow_delete_costs_the_run_nothing(session: Session, server: LocalServer) -> None:
    server.ask("/_aci/faults", {"on": "delete", "times": 1, "do": {"delay_s": 4}})
    run = submit(session, "print(1)")
    run.wait()
    ended = run.record.ended_at
    assert ended is not None
    assert run.record.group == "deleting", "the run's end waited for the answer to its DELETE"


def test_a_callback_that_breaks_does_no_harm(session: Session, server: LocalServer) -> None:
    run = submit(session, "print(1)")
    run.add_done_callback(lambda run: 1 / 0)
    run.wait()
    assert run.wait_gone(20)
    assert run.record.group == "gone"


def test_a_run_that_is_over_is_not_read_again(session: Session, server: LocalServer) -> None:
    run = submit(session, "print('kept')")
    run.wait_gone(20)
    again = session.adopt(run.record)
    assert again.done()
    assert again.log() == "kept\n"
    assert again.record.outcome == run.record.outcome


def test_the_programs_exception_is_the_cause(session: Session, server: LocalServer) -> None:
    run = submit(session, "x = 1\nraise ValueError('no')")
    with pytest.raises(er.RunFailed) as caught:
        run.result()
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value.__cause__, ValueError)


def test_outputs_come_home(session: Session, server: LocalServer) -> None:
    run = submit(session, "x = {'a': [1, 2.5]}\ny = 'é'", outputs="x,y")
    assert run.result() == {"x": {"a": [1, 2.5]}, "y": "é"}


OTHER_KERNEL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "aci_notebook")
shell.run_line_magic("aci", sys.argv[1])
"""


def test_a_run_that_another_kernel_ends_is_cancelled_for_whoever_waits(session: Session, capfd: pytest.CaptureFixture[str]) -> None:
    run = submit(session, "import time\nprint('begun', flush=True)\ntime.sleep(300)")
    while "begun" not in run.log():
        time.sleep(0.02)
    subprocess.run([sys.executable, "-c", OTHER_KERNEL, f"stop {run.name}"], check=True, timeout=60)
    assert f"container group {run.name} is gone" in capfd.readouterr().out
    with pytest.raises(er.RunCancelled, match=f"{run.name} was cancelled"):
        run.result(timeout=60)
    assert run.record.outcome is not None
    assert run.record.outcome.reason == "stopped with %aci stop in another kernel"
    stored = session.house.store.find(run.run_id)
    assert stored.outcome == run.record.outcome
    assert run.wait_gone(30)
