"""Servers with the engine runtime, on a Podman of the tests' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local.conftest import Server, container, private, processes_of
from local.conftest import start as start_server

from . import podman as parts

BUSYBOX = "localhost/busybox:latest"
FOREVER = "trap 'exit 0' TERM; sleep 600 & wait"  # ends at once when it is asked to


@pytest.fixture(scope="session")
def podman() -> Iterator[parts.Podman]:
    if reason := parts.missing():
        pytest.skip(reason)
    service = parts.start()
    yield service
    service.end()


@pytest.fixture(scope="session")
def shared_engine(podman: parts.Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("engine")
    server = start_server(folder, "--runtime", "engine", environment=podman.environment)
    yield server
    assert server.end() == 0
    assert processes_of(folder) == []
    assert podman.containers(folder) == []


@pytest.fixture
def engine(shared_engine: Server) -> Iterator[Server]:
    yield from private(shared_engine)


@pytest.fixture
def serve(podman: parts.Podman, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers of a test's own; nothing of theirs may be left, neither here nor in the engine."""
    running: list[Server] = []

    def serve_one(*arguments: str, folder: str = "state") -> Server:
        server = start_server(tmp_path / folder, "--runtime", "engine", *arguments, environment=podman.environment)
        running.append(server)
        return server

    yield serve_one
    for server in running:
        server.end()
    assert processes_of(tmp_path) == []
    assert podman.containers(tmp_path / "state") == []


@pytest.fixture
def name() -> str:
    import uuid

    return f"g-{uuid.uuid4().hex[:12]}"


def box(name: str = "main", script: str = "", **properties: Any) -> dict[str, Any]:
    """A busybox container that runs a shell script."""
    return container(name, image=BUSYBOX, **({"command": ["/bin/sh", "-c", script]} if script else {}), **properties)


def ended(server: Server, name: str, limit_s: float = 60) -> Any:
    """The group, once it has ended."""
    return server.until(name, lambda group: group["properties"]["instanceView"]["state"] in ("Succeeded", "Failed"), limit_s)


def current(group: Any, place: int = 0) -> Any:
    return group["properties"]["containers"][place]["properties"]["instanceView"]["currentState"]
