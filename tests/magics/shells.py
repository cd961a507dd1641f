"""Running one cell in a real shell, and what it gave."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from aci_notebook import localserver, session


class Cell:
    """What running one cell gave: its output, its displays, its value, its error."""

    def __init__(self, shell: InteractiveShell, text: str) -> None:
        with capture_output() as captured:
            result = shell.run_cell(text)
        self.value: Any = result.result
        self.error: Any = result.error_in_exec or result.error_before_exec
        self.stdout: str = captured.stdout
        self.displays = captured.outputs

    def check(self) -> Cell:
        if self.error is not None:
            raise self.error
        return self


Run = Callable[[str], Cell]


def settle() -> None:
    """No run of this process goes on after its test."""
    if session._house is None:
        return
    for run in session._house.runs.all():
        run.cancel("the test is over")
    for run in session._house.runs.all():
        assert run.wait_gone(30), f"{run} is still being followed"
    for thread in threading.enumerate():
        if thread.name.startswith("aci-") and thread.name != "aci-local-reaper":
            thread.join(20)


def close_sessions() -> None:
    for item in session._sessions.values():
        item.close()
    session._sessions.clear()
    if session._house is not None:
        session._house.store.close()


def end_server(folder: Path) -> None:
    server = localserver.running(folder)
    if server is None:
        return
    os.kill(server.pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while localserver.running(folder) is not None:
        assert time.monotonic() < deadline, "the local ACI does not end"
        time.sleep(0.05)
