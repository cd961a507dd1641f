"""Images that are not there, and a real registry with a password."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from local.conftest import Server, body, container

from .conftest import current, ended
from .podman import Podman

pytestmark = pytest.mark.engine
PASSWORD = "secret"
HTPASSWD = "someone:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"  # that password


@pytest.fixture(scope="module")
def registry(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a registry that holds `private/box`, for someone with the password."""
    if not shutil.which("docker-registry"):
        pytest.skip("not installed: docker-registry (apt-get install docker-registry)")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "htpasswd").write_text(HTPASSWD)
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {folder}/data\n"
        f"http:\n  addr: 127.0.0.1:{port}\nauth:\n  htpasswd:\n    realm: tests\n    path: {folder}/htpasswd\n"
    )
    served = subprocess.Popen(
        ["docker-registry", "serve", str(folder / "config.yml")], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    host = f"127.0.0.1:{port}"
    push = ("push", "--tls-verify=false", f"--creds=someone:{PASSWORD}", "localhost/busybox", f"{host}/private/box:1")
    podman.run(*push)
    yield host
    served.terminate()
    served.wait(10)


def test_an_image_with_the_groups_own_credentials(engine: Server, name: str, registry: str, podman: Podman) -> None:
    credentials = [{"server": registry, "username": "someone", "password": PASSWORD}]
    main = container(image=f"{registry}/private/box:1", command=["echo", "pulled"])
    answer = engine.put(name, body(main, imageRegistryCredentials=credentials))
    assert answer.status == 201, answer.text
    group = ended(engine, name)
    assert engine.logs(name) == "pulled\n"
    events = group["properties"]["containers"][0]["properties"]["instanceView"]["events"]
    assert f"{registry}/private/box@sha256:" in next(event["message"] for event in events if event["name"] == "Pulling")
    podman.run("rmi", f"{registry}/private/box:1")


@pytest.mark.parametrize("credentials", [[], [{"username": "someone", "password": "wrong"}]])
def test_a_registry_that_refuses_is_heard_in_the_put(engine: Server, name: str, registry: str, credentials: list[dict[str, str]]) -> None:
    main = container(image=f"{registry}/private/box:1")
    given = [{"server": registry, **one} for one in credentials]
    answer = engine.put(name, body(main, imageRegistryCredentials=given) if given else body(main))
    assert (answer.status, answer.code) == (400, "InaccessibleImage"), answer.text
    assert engine.call("GET", engine.group(name)).status == 404


def test_a_tag_that_the_registry_does_not_have(engine: Server, name: str, registry: str) -> None:
    credentials = [{"server": registry, "username": "someone", "password": PASSWORD}]
    answer = engine.put(name, body(container(image=f"{registry}/private/box:none"), imageRegistryCredentials=credentials))
    assert (answer.status, answer.code) == (400, "InaccessibleImage"), answer.text


@pytest.mark.parametrize("image", ["localhost/not-there:1", "UPPER/case", "has space"])
def test_images_that_no_registry_can_have(engine: Server, name: str, image: str) -> None:
    answer = engine.put(name, body(container(image=image)))
    assert (answer.status, answer.code) == (400, "InaccessibleImage"), answer.text


def test_a_registry_that_does_not_answer_keeps_the_group_waiting(engine: Server, name: str, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        image = f"127.0.0.1:{closed.getsockname()[1]}/some/thing:1"
        assert engine.put(name, body(container(image=image))).status == 201

        def backs_off(group: object) -> bool:
            view = group["properties"]["containers"][0]["properties"].get("instanceView", {})  # type: ignore[index]
            return {"Pulling", "Failed", "BackOff"} <= {event["name"] for event in view.get("events", [])}

        group = engine.until(name, backs_off, 30)
    assert current(group)["state"] == "Waiting"
    assert group["properties"]["provisioningState"] == "Pending"
