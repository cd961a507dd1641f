"""`az container …`, as a person types it. The Azure CLI is as it comes from the package index; nothing in it is replaced."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import termios
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .world import CLIENT, TENANT, World, environment_of

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]
AZ = "azure-cli==2.91.0"


@dataclass
class Az:
    """A person who has logged in."""

    world: World
    program: str

    @property
    def settings(self) -> dict[str, str]:
        return {"AZURE_CONFIG_DIR": str(self.world.folder / "azure"), "AZURE_CORE_COLLECT_TELEMETRY": "0"}

    def __call__(self, *words: str, code: int = 0) -> str:
        done = self.world.run(self.program, *words, **self.settings)
        assert done.returncode == code, f"az {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    def container(self, verb: str, name: str, *words: str, code: int = 0) -> str:
        return self("container", verb, "--resource-group", "rg", "--name", name, *words, code=code)

    def begin(self, verb: str, name: str, *words: str) -> subprocess.Popen[str]:
        """The same without waiting for it: az looks at an operation every 30 s."""
        command = self.world.enter(self.program, "container", verb, "--resource-group", "rg", "--name", name, *words)
        environment = self.world.environment(**self.settings)
        return subprocess.Popen(
            command,
            env=environment,
            cwd=self.world.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def state(self, name: str) -> str:
        return self.container("show", name, "--query", "instanceView.state", "--output", "tsv").strip()

    def until(self, name: str, state: str) -> None:
        deadline = time.monotonic() + 60
        while self.state(name) != state:
            assert time.monotonic() < deadline


@pytest.fixture(scope="module")
def az(world: World) -> Az:
    program = Az(world, str(environment_of("azure-cli-2.91.0", AZ) / "az"))
    told = json.loads(program("login", "--service-principal", "--username", CLIENT, "--password", "secret", "--tenant", TENANT))
    assert told[0]["tenantId"] == TENANT
    return program


@pytest.fixture
def name() -> str:
    return f"az-{uuid.uuid4().hex[:8]}"


SIZE = ("--os-type", "Linux", "--cpu", "1", "--memory", "1")


def test_a_job_from_create_to_delete(az: Az, name: str) -> None:
    script = "/bin/sh -c 'for i in 1 2 3; do echo line $i $OPEN $HIDDEN; sleep 4; done; exit 3'"
    variables = ("--environment-variables", "OPEN=a", "--secure-environment-variables", "HIDDEN=b")
    created = az.begin("create", name, "--image", "python:3.11", *SIZE, "--restart-policy", "Never", "--command-line", script, *variables)
    with created:
        deadline = time.monotonic() + 60
        while name not in az("container", "list", "--resource-group", "rg", "--output", "tsv"):
            assert time.monotonic() < deadline
        az.until(name, "Running")
        with az.begin("attach", name) as attached:
            az.until(name, "Failed")
            assert az.container("logs", name).strip().splitlines() == [f"line {i} a b" for i in (1, 2, 3)]
            heard = attached.communicate(timeout=60)[0]
        assert attached.returncode == 0, heard
        assert "line 3 a b" in heard
        assert "Start streaming logs" in heard
        said = created.communicate(timeout=100)[0]
    assert created.returncode == 0, said
    shown = json.loads(said)
    assert shown["provisioningState"] == "Succeeded"
    (container,) = shown["containers"]
    assert container["instanceView"]["currentState"]["exitCode"] == 3
    assert container["environmentVariables"] == [
        {"name": "OPEN", "secureValue": None, "value": "a"},
        {"name": "HIDDEN", "secureValue": None, "value": None},
    ]
    az.container("delete", name, "--yes")
    assert "ResourceNotFound" in az.container("show", name, code=3)


def test_a_service_is_entered_stopped_started_and_restarted(az: Az, name: str) -> None:
    script = "/bin/sh -c 'cat /mnt/secrets/word; while :; do sleep 0.2; done'"
    secrets = ("--secrets", "word=hello", "--secrets-mount-path", "/mnt/secrets")
    az.container("create", name, "--image", "alpine", *SIZE, "--command-line", script, *secrets, "--no-wait")
    az.until(name, "Running")
    assert az.container("logs", name).strip() == "hello"
    _enter(az, name)
    az.container("stop", name)
    assert az.state(name) == "Stopped"
    with az.begin("start", name) as started:
        az.until(name, "Running")
        assert started.wait(100) == 0, started.communicate()[0]
    began = _started_at(az, name)
    az.container("restart", name, "--no-wait")
    deadline = time.monotonic() + 30
    while _started_at(az, name) <= began:
        assert time.monotonic() < deadline
    az.container("delete", name, "--yes")


def _started_at(az: Az, name: str) -> str:
    return az.container("show", name, "--query", "containers[0].instanceView.currentState.startTime", "--output", "tsv").strip()


def _enter(az: Az, name: str) -> None:
    """`az container exec` at a terminal of 40 lines and 120 columns."""
    words = ("container", "exec", "--resource-group", "rg", "--name", name, "--exec-command", "/bin/sh")
    with _terminal(az, words) as (process, screen):
        heard = _read_until(screen, "#")
        os.write(screen, b"stty size; echo $((40+2))\r")
        heard = _read_until(screen, "\n42")
        assert "40 120" in heard
        os.write(screen, b"exit\r")
        assert process.wait(20) == 0


@contextmanager
def _terminal(az: Az, words: tuple[str, ...]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    screen, keyboard = pty.openpty()
    fcntl.ioctl(keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environment = az.world.environment(**az.settings)
    command = az.world.enter(az.program, *words)
    with subprocess.Popen(command, env=environment, stdin=keyboard, stdout=keyboard, stderr=keyboard, start_new_session=True) as process:
        os.close(keyboard)
        try:
            yield process, screen
        finally:
            process.kill()
            os.close(screen)


def _read_until(screen: int, text: str) -> str:
    heard = b""
    deadline = time.monotonic() + 30
    while text not in heard.decode(errors="replace"):
        assert time.monotonic() < deadline, heard
        if select.select([screen], [], [], 1)[0]:
            heard += os.read(screen, 4096)
    return heard.decode(errors="replace")


def test_what_is_exported_can_be_created_again(az: Az, name: str, tmp_path: Path) -> None:
    exported = tmp_path / "group.yaml"
    words = ("--restart-policy", "Never", "--command-line", "echo from a file", "--no-wait")
    az.container("create", name, "--image", "busybox", *SIZE, *words)
    az.until(name, "Succeeded")
    az.container("export", name, "--file", str(exported))
    az.container("delete", name, "--yes")
    again: Any = exported.read_text()
    assert "restartPolicy: Never" in again
    az("container", "create", "--resource-group", "rg", "--file", str(exported), "--no-wait")
    assert "Microsoft.ContainerInstance//containerGroups" in az.world.log()
    az.until(name, "Succeeded")
    assert az.container("logs", name).strip() == "from a file"
    az.container("delete", name, "--yes")


def test_refusals_reach_the_person(az: Az, name: str) -> None:
    said = az.container("create", name, "--image", "nosuch:1", *SIZE, code=1)
    assert "(InaccessibleImage)" in said
    said = az.container("create", name, "--image", "alpine", "--os-type", "Linux", "--cpu", "64", "--memory", "1", code=1)
    assert "Code:" in said
    assert "ResourceNotFound" in az.container("logs", name, code=3)
