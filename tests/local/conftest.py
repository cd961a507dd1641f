"""Servers of the local ACI as separate processes, and a client that sees whole bodies and headers."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
PROVIDER = "providers/Microsoft.ContainerInstance"
VERSION = "2023-05-01"
SLIM = "alpine"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def code(self) -> str:
        return self.json["error"]["code"]

    @property
    def message(self) -> str:
        return self.json["error"]["message"]


@dataclass
class Server:
    """A running server and a client of it."""

    process: subprocess.Popen[str]
    state_dir: Path
    url: str
    token: str
    subscription: str = SUBSCRIPTION
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def raw(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self.token}"} if headers is None else headers)
            response = connection.getresponse()
            text = response.read().decode()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, text)
        finally:
            connection.close()

    def call(self, method: str, path: str, body: Any = None, version: str = VERSION) -> Answer:
        sep = "&" if "?" in path else "?"
        content = None if body is None else json.dumps(body).encode()
        return self.raw(method, f"{path}{sep}api-version={version}", content)

    def control(self, method: str, name: str, body: Any = None) -> Answer:
        answer = self.raw(method, f"/_aci/{name}", None if body is None else json.dumps(body).encode())
        assert answer.status == 200, answer.text
        return answer

    def group(self, name: str, resource_group: str = "rg") -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/{resource_group}/{PROVIDER}/containerGroups/{name}"

    def location(self, name: str, what: str) -> str:
        return f"/subscriptions/{self.subscription}/{PROVIDER}/locations/{name}/{what}"

    def put(self, name: str, body: Any) -> Answer:
        return self.call("PUT", self.group(name), body)

    def get(self, name: str) -> Any:
        answer = self.call("GET", self.group(name))
        assert answer.status == 200, answer.text
        return answer.json

    def logs(self, name: str, container: str = "main", query: str = "") -> str:
        answer = self.call("GET", f"{self.group(name)}/containers/{container}/logs{query}")
        assert answer.status == 200, answer.text
        return answer.json["content"]

    def until(self, name: str, reached: Callable[[Any], Any], limit_s: float = 20) -> Any:
        """The first body of group `name` for which `reached` is true."""
        deadline = time.monotonic() + limit_s
        while True:
            body = self.get(name)
            if reached(body):
                return body
            assert time.monotonic() < deadline, json.dumps(body, indent=1)
            time.sleep(0.01)

    def until_state(self, name: str, state: str) -> Any:
        return self.until(
            name,
            lambda body: (
                body["properties"]["instanceView"]["state"] == state
                and body["properties"]["provisioningState"] not in ("Pending", "Updating")
            ),
        )

    def script(self, name: str, *runs: list[dict[str, Any]], **members: Any) -> None:
        self.control("POST", "scripts", {"group": name, "runs": list(runs), **members})

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(15)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.end()


def start(state_dir: Path, *arguments: str, environment: dict[str, str] | None = None, stderr: IO[str] | None = None) -> Server:
    process = subprocess.Popen(
        [sys.executable, "-m", "aci_notebook.local", "--state-dir", str(state_dir), *arguments],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
        env=None if environment is None else {**os.environ, **environment},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"local ACI listening on (http://127\.0\.0\.1:\d+)", line)
    assert found, f"unexpected first line: {line!r}"
    return Server(process, state_dir, found[1], (state_dir / "token").read_text())


@contextlib.contextmanager
def logged_server(folder: Path, image_cache: Path) -> Iterator[tuple[Server, Callable[[], str]]]:
    """A server whose standard error goes to a file; the second value ends it and reads that file."""
    log = folder / "stderr"
    with open(log, "w") as stderr:
        server = start(folder / "state", "--image-cache", str(image_cache), stderr=stderr)

    def read() -> str:
        server.end()
        return log.read_text()

    try:
        yield server, read
    finally:
        server.end()


@pytest.fixture(scope="session")
def image_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture
def serve(tmp_path: Path, image_cache: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers of a test's own; all of them are ended after it, and nothing of theirs may be left running."""
    running: list[Server] = []

    def serve_one(*arguments: str, folder: str = "state", **more: Any) -> Server:
        server = start(tmp_path / folder, "--image-cache", str(image_cache), *arguments, **more)
        running.append(server)
        return server

    yield serve_one
    for server in running:
        server.end()
    assert processes_of(tmp_path) == []


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that name the folder (guardians, and commands with its paths)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line and path.parent.name != str(os.getpid()):
            found.append(line)
    return found


def shared(runtime: str, tmp_path_factory: pytest.TempPathFactory, image_cache: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp(runtime)
    server = start(folder, "--runtime", runtime, "--image-cache", str(image_cache))
    yield server
    assert server.end() == 0
    assert processes_of(folder) == []


@pytest.fixture(scope="session")
def shared_simulated(tmp_path_factory: pytest.TempPathFactory, image_cache: Path) -> Iterator[Server]:
    yield from shared("simulated", tmp_path_factory, image_cache)


@pytest.fixture(scope="session")
def shared_process(tmp_path_factory: pytest.TempPathFactory, image_cache: Path) -> Iterator[Server]:
    yield from shared("process", tmp_path_factory, image_cache)


def private(server: Server) -> Iterator[Server]:
    """The shared server with a subscription of the test's own, and all knobs turned back afterwards."""
    mine = Server(server.process, server.state_dir, server.url, server.token, str(uuid.uuid4()))
    before = mine.control("GET", "limits").json
    yield mine
    mine.control("DELETE", "faults")
    mine.control("POST", "limits", before)
    mine.control("POST", "time", {"mode": "immediate"})
    groups = mine.call("GET", f"/subscriptions/{mine.subscription}/{PROVIDER}/containerGroups").json["value"]
    for group in groups:
        assert mine.call("DELETE", group["id"]).status == 200


@pytest.fixture
def simulated(shared_simulated: Server) -> Iterator[Server]:
    yield from private(shared_simulated)


@pytest.fixture
def process(shared_process: Server) -> Iterator[Server]:
    yield from private(shared_process)


@pytest.fixture
def name() -> str:
    """A group name no other test has (scripts and happenings go by name)."""
    return f"g-{uuid.uuid4().hex[:12]}"


def container(name: str = "main", **properties: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": 1, "memoryInGB": 1}}
    return {"name": name, "properties": {"image": SLIM, "resources": resources, **properties}}


def body(*containers: dict[str, Any], location: str = "westeurope", **properties: Any) -> dict[str, Any]:
    """A group: one container `main`, restart policy Never, unless said otherwise."""
    top = {member: properties.pop(member) for member in ("tags", "identity", "zones") if member in properties}
    properties = {"osType": "Linux", "restartPolicy": "Never", **properties}
    return {
        "location": location,
        **top,
        "properties": {"containers": list(containers) or [container()], **properties},
    }


def shell(script: str, *, policy: str = "Never", **properties: Any) -> dict[str, Any]:
    """A group whose container runs a shell script (process runtime)."""
    return body(container(command=["/bin/sh", "-c", script], **properties), restartPolicy=policy)


def secret(**files: str) -> dict[str, str]:
    return {name: base64.b64encode(text.encode()).decode() for name, text in files.items()}
