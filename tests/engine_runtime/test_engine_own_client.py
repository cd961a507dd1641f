"""Our own client, from the line to the result, with the runner as the first process of a real container."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .podman import Podman

pytestmark = pytest.mark.engine
PYTHON = "localhost/python:3.11-slim"


@pytest.fixture(scope="module")
def client(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Runs a program of a person in a kernel-like process; its last line of output, as JSON."""
    home = tmp_path_factory.mktemp("home")
    settings = {"ACI_NOTEBOOK_HOME": str(home), "ACI_NOTEBOOK_LOCAL_RUNTIME": "engine", "TOKEN": "hidden", **podman.environment}

    def run(program: str) -> Any:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ACI_NOTEBOOK_")}
        code = f"import json, aci_notebook\n{program}\n"
        done = subprocess.run([sys.executable, "-c", code], env={**kept, **settings}, capture_output=True, text=True, cwd=home, timeout=100)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    yield run
    told = json.loads((home / "local" / "server.json").read_text())
    assert told["runtime"] == "engine"
    os.kill(told["pid"], signal.SIGTERM)
    from .test_engine_recovery import _until

    _until(lambda: not (home / "local" / "server.json").exists())
    assert podman.containers(home / "local") == []


def test_python_in_a_container(client: Callable[[str], Any]) -> None:
    cell = (
        "import os, sys\n"
        "print('pid of the parent', os.getppid(), sys.version_info[:2])\n"
        "print(open('/etc/os-release').readline().strip())\n"
        "try:\n    open('/aci/in/x', 'w')\nexcept OSError as error:\n    print(error.strerror)\n"
        "print('x' * 5, os.environ['TOKEN'] == 'hidden')\n"
        "total = sum(numbers)\n"
        "open('made.txt', 'w').write('from the container')\n"
    )
    got = client(
        f"run = aci_notebook.submit({cell!r}, image={PYTHON!r}, cpu=1, memory_gb=1, inputs={{'numbers': [1, 2, 3]}}, "
        "outputs=['total'], secrets=['TOKEN']).wait()\n"
        "print(json.dumps([run.record.outcome.kind, run.log(), run.outputs()['total'], run.wait_gone(30)]))"
    )
    outcome, log, total, gone = got
    assert (outcome, total, gone) == ("succeeded", 6, True), got
    assert log.splitlines()[0] == "pid of the parent 1 (3, 11)"
    assert "bookworm" in log.splitlines()[1]
    assert log.splitlines()[2] == "Read-only file system"


def test_a_failure_and_memory(client: Callable[[str], Any]) -> None:
    cell = "print('before'); blocks = []\nwhile True: blocks.append(b'x' * 10_000_000)"
    got = client(
        f"run = aci_notebook.submit({cell!r}, image={PYTHON!r}, cpu=1, memory_gb=1).wait()\n"
        "print(json.dumps([run.record.outcome.kind, run.record.outcome.exit_code, run.log()]))"
    )
    assert got[1] == 137, got
    assert "memory" in got[0] or got[0] == "oom", got
    assert got[2].splitlines()[0] == "before"


def test_the_shell_runner_in_an_image_without_python(client: Callable[[str], Any]) -> None:
    script = "for i in 1 2 3; do echo line $i; done; echo $FRUIT; ls /aci/in | grep -c runner; exit 3"
    got = client(
        "from aci_notebook.session import connect_for\n"
        "session = connect_for({})\n"
        f"spec = session.spec({{'image': 'busybox', 'cpu': 1, 'memory_gb': 1, 'env': ['FRUIT=a pear']}}, None, "
        f"command=['sh', '-c', {script!r}])\n"
        "run = session.submit(spec, foreground=False).wait()\n"
        "print(json.dumps([run.record.outcome.kind, run.record.outcome.exit_code, run.log()]))"
    )
    assert got[1:] == [3, "line 1\nline 2\nline 3\na pear\n2\n"], got


def test_an_image_without_a_shell_says_that_nothing_could_be_started(client: Callable[[str], Any]) -> None:
    got = client(
        "run = aci_notebook.submit('print(1)', image='localhost/bare:latest', cpu=1, memory_gb=1).wait()\n"
        "print(json.dumps([run.record.outcome.kind, str(run.exception()), run.wait_gone(30)]))"
    )
    assert (got[0], got[2]) == ("refused", True), got
    assert "the container could not be started" in got[1]
    assert "/bin/sh" in got[1].partition("could not be started")[2].partition("(run")[0], "the engine's own words"
    assert "choose another --image" in got[1]
