"""An interrupt from outside: through a real kernel, as its stop button sends it, and through a terminal, as Ctrl-C does."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from jupyter_client.manager import start_new_kernel

from aci_notebook import localserver

GROUPS = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers/Microsoft.ContainerInstance/containerGroups"
BODY = (
    "import time, pathlib\nprint('begun', flush=True)\nwhile not pathlib.Path('enough').exists():\n    time.sleep(0.1)\nx = 7\nprint('end')"
)


def state(home: Path, name: str) -> str:
    """The state of a group, or `gone`."""
    server = localserver.running(home)
    assert server is not None
    try:
        found = server.ask(f"{GROUPS}/{name}?api-version=2023-05-01")
    except HTTPError as error:
        error.close()
        return "gone" if error.code == 404 else str(error)
    return str(found["properties"]["instanceView"]["state"])


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def kernel(home: Path) -> Iterator[tuple[Any, Any]]:
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        assert client.execute_interactive("%load_ext aci_notebook", timeout=60)["content"]["status"] == "ok"
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.context.destroy()


def interrupted(kernel: tuple[Any, Any], cell: str) -> tuple[dict[str, Any], str]:
    """(reply, its text) of a cell that is interrupted when it has printed `begun`."""
    manager, client = kernel
    asked = client.execute(cell)
    client.execute("print('queued behind it')")
    said = ""
    while "begun" not in said:
        message = client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") == asked and message["msg_type"] == "stream":
            said += message["content"]["text"]
    manager.interrupt_kernel()
    reply = client.get_shell_msg(timeout=60)
    assert reply["parent_header"]["msg_id"] == asked
    behind = client.get_shell_msg(timeout=60)
    assert behind["content"]["status"] == "aborted"
    return reply["content"], "\n".join(reply["content"].get("traceback", ()))


def test_interrupt_stops_the_run_and_deletes_its_group(kernel: tuple[Any, Any], home: Path) -> None:
    reply, shown = interrupted(kernel, f"%%aci --name to-stop\n{BODY}")
    assert reply["ename"] == "RunCancelled"
    assert "to-stop was cancelled" in shown
    assert shown.count("\n") == 0
    until(lambda: state(home, "to-stop") == "gone")


def test_interrupt_with_detach_leaves_the_run_alive_and_says_how_to_attach(kernel: tuple[Any, Any], home: Path) -> None:
    _, client = kernel
    reply, shown = interrupted(kernel, f"%%aci --name to-leave --on-interrupt detach -o x\n{BODY}")
    assert reply["ename"] == "RunCancelled"
    attach = re.search(r"%aci attach (\w+), or %aci stop (\w+)", shown)
    assert attach is not None, shown
    assert state(home, "to-leave") == "Running"
    said: list[str] = []

    def hear(message: Any) -> None:
        if message["msg_type"] == "stream":
            said.append(message["content"]["text"])

    cells = [
        "%aci logs to-leave",
        "%aci exec to-leave -- sh -c 'echo alive; touch enough'",
        f"%aci attach {attach.group(1)}",
        "print('home', x)",
    ]
    for cell in cells:
        reply = client.execute_interactive(cell, timeout=60, output_hook=hear)
        assert reply["content"]["status"] == "ok", reply["content"]
    heard = "".join(said)
    assert heard.startswith(f"begun\n… so far; nobody follows this run here: %aci logs -f {attach.group(1)} has the rest\nalive\n")
    assert "begun\nend\n" in heard
    assert "home 7\n" in heard
    until(lambda: state(home, "to-leave") == "gone")


def test_interrupt_of_following_leaves_the_run_untouched(kernel: tuple[Any, Any], home: Path) -> None:
    _, client = kernel
    client.execute_interactive(f"%%aci -d --name looked-at\n{BODY}", timeout=60)
    interrupted(kernel, "%aci logs -f looked-at")
    assert state(home, "looked-at") == "Running"
    assert client.execute_interactive("%aci stop looked-at", timeout=60)["content"]["status"] == "ok"
    assert state(home, "looked-at") == "gone"


# -- a terminal ---------------------------------------------------------------------------------------------------

OWN_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests that a shell runs in its background ignore it, and so would their children
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """IPython at a terminal, and what stands on the screen."""

    def __init__(self, screen: int) -> None:
        self.screen = screen
        self.said = ""

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def until(self, text: str, seconds: float = 60) -> str:
        """Everything said since the last call, up to that text."""
        deadline = time.monotonic() + seconds
        while text not in self.said:
            assert time.monotonic() < deadline, self.said
            if select.select([self.screen], [], [], 0.2)[0]:
                self.said += re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|[=>])", "", os.read(self.screen, 65536).decode(errors="replace"))
        before, _, self.said = self.said.partition(text)
        return before + text


@contextmanager
def terminal(home: Path, folder: Path, before: str = "") -> Iterator[Terminal]:
    screen, keyboard = pty.openpty()
    fcntl.ioctl(keyboard, termios.TIOCSWINSZ, b"\x32\x00\xa0\x00\x00\x00\x00\x00")
    environ = {**os.environ, "ACI_NOTEBOOK_HOME": str(home), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "IPYTHONDIR": str(folder)}
    start = f"{before}; import IPython, sys; sys.argv = ['ipython', '--no-banner', '--colors=NoColor']; IPython.start_ipython()"
    command = [sys.executable, "-c", OWN_TERMINAL, sys.executable, "-c", start.lstrip("; ")]
    with subprocess.Popen(
        command, env=environ, cwd=folder, stdin=keyboard, stdout=keyboard, stderr=keyboard, start_new_session=True
    ) as process:
        os.close(keyboard)
        try:
            ipython = Terminal(screen)
            ipython.until("In [1]:")
            ipython.type("%load_ext aci_notebook\r")
            ipython.until("In [2]:")
            yield ipython
        finally:
            process.kill()
            process.wait(20)
            os.close(screen)


ONE_LINE = "import time; print('be' + 'gun', flush=True); time.sleep(60)"


def test_control_c_in_a_terminal(home: Path, tmp_path: Path) -> None:
    with terminal(home, tmp_path) as ipython:
        ipython.type(f"%%aci --name at-terminal\r{ONE_LINE}\r\r\r")
        ipython.until("begun")
        ipython.type("\x03")
        shown = ipython.until("In [3]:")
        assert "at-terminal was cancelled" in shown
        assert "Traceback" not in shown
        until(lambda: state(home, "at-terminal") == "gone")
        ipython.type(f"%%aci --name left-alone --on-interrupt detach\r{ONE_LINE}\r\r\r")
        ipython.until("begun")
        ipython.type("\x03")
        assert "left-alone goes on: %aci attach" in " ".join(ipython.until("In [4]:").split())
        assert state(home, "left-alone") == "Running"
        ipython.type("%aci stop left-alone\r")
        ipython.until("container group left-alone is gone")
        assert state(home, "left-alone") == "gone"


def test_a_terminal_shows_plain_lines_and_needs_no_widgets(home: Path, tmp_path: Path) -> None:
    """ipywidgets is not there at all; the launcher says its text."""
    with terminal(home, tmp_path, "import sys; sys.modules['ipywidgets'] = None") as ipython:
        ipython.type("%%aci -o y\rprint('from ' + 'there'); y = 6 * 7; y\r\r\r")
        shown = ipython.until("In [3]:")
        assert "from there" in shown
        assert re.search(r"^42\r?$", shown, re.MULTILINE), shown
        assert "done" in shown
        assert "<" not in shown.replace("<IPython", "")
        for number, (line, awaited) in enumerate(
            [("y", "42"), ("%aci launch", "The launcher is a form of widgets"), ("%aci ps", "Columns"), ("%aci doctor", "credential")], 4
        ):
            ipython.type(f"{line}\r")
            shown = ipython.until(f"In [{number}]:")
            assert awaited in shown
            assert "<div" not in shown
