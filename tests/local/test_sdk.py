"""Microsoft's own SDK, sync and aio, against the server's socket."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.containerinstance import ContainerInstanceManagementClient
from azure.mgmt.containerinstance.aio import ContainerInstanceManagementClient as AioClient
from azure.mgmt.containerinstance.models import (
    Container,
    ContainerExecRequest,
    ContainerExecRequestTerminalSize,
    ContainerGroup,
    EnvironmentVariable,
    Resource,
    ResourceRequests,
    ResourceRequirements,
    Volume,
    VolumeMount,
)

from .conftest import Server

PLAIN = {"enforce_https": False}


class Token:
    def __init__(self, token: str) -> None:
        self._token = AccessToken(token, int(time.time()) + 3600)

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return self._token


class AioToken(Token):
    async def get_token(self, *_: str, **__: Any) -> AccessToken:
        return self._token

    async def close(self) -> None:
        return

    async def __aenter__(self) -> AioToken:
        return self

    async def __aexit__(self, *_: object) -> None:
        return


@pytest.fixture
def client(process: Server) -> Iterator[ContainerInstanceManagementClient]:
    with ContainerInstanceManagementClient(Token(process.token), process.subscription, base_url=process.url, polling_interval=0.05) as made:
        yield made


def job(script: str, **members: Any) -> ContainerGroup:
    main = Container(
        name="main",
        image="alpine",
        command=["/bin/sh", "/in/start.sh"],
        resources=ResourceRequirements(requests=ResourceRequests(cpu=1, memory_in_gb=1.5)),
        environment_variables=[EnvironmentVariable(name="KEY", secure_value="secret")],
        volume_mounts=[VolumeMount(name="inputs", mount_path="/in")],
    )
    volumes = [Volume(name="inputs", secret={"start.sh": base64.b64encode(script.encode()).decode()})]
    given: dict[str, Any] = {"restart_policy": "Never", **members}
    return ContainerGroup(location="westeurope", os_type="Linux", containers=[main], volumes=volumes, **given)


def test_the_life_of_a_group(client: ContainerInstanceManagementClient, name: str) -> None:
    groups = client.container_groups
    made = groups.begin_create_or_update("rg", name, job("echo $KEY; exit 3"), **PLAIN).result()
    assert made.provisioning_state == "Succeeded"
    deadline = time.monotonic() + 20
    while (group := groups.get("rg", name, **PLAIN)).instance_view.state != "Failed":
        assert time.monotonic() < deadline
    current = group.containers[0].instance_view.current_state
    assert (current.state, current.exit_code, current.detail_status) == ("Terminated", 3, "Error")
    assert current.start_time <= current.finish_time
    assert client.containers.list_logs("rg", name, "main", **PLAIN).content == "secret\n"
    assert [found.name for found in groups.list_by_resource_group("rg", **PLAIN)] == [name]
    assert [found.instance_view for found in groups.list(**PLAIN)] == [None]
    assert groups.update("rg", name, Resource(tags={"a": "b"}), **PLAIN).tags == {"a": "b"}
    assert groups.begin_delete("rg", name, **PLAIN).result().name == name
    with pytest.raises(ResourceNotFoundError) as caught:
        groups.get("rg", name, **PLAIN)
    assert caught.value.error is not None
    assert caught.value.error.code == "ResourceNotFound"
    assert groups.begin_delete("rg", name, **PLAIN).result() is None


def test_stop_start_restart_exec_attach(client: ContainerInstanceManagementClient, name: str) -> None:
    groups = client.container_groups
    groups.begin_create_or_update("rg", name, job("sleep 300"), **PLAIN).result()
    groups.begin_restart("rg", name, **PLAIN).result()
    assert groups.get("rg", name, **PLAIN).instance_view.state == "Running"
    order = ContainerExecRequest(command="sh", terminal_size=ContainerExecRequestTerminalSize(rows=10, cols=20))
    session = client.containers.execute_command("rg", name, "main", order, **PLAIN)
    assert session.web_socket_uri.startswith("ws://127.0.0.1:")
    assert session.password
    assert client.containers.attach("rg", name, "main", **PLAIN).web_socket_uri
    groups.stop("rg", name, **PLAIN)
    stopped = groups.get("rg", name, **PLAIN)
    assert stopped.instance_view.state == "Stopped"
    assert stopped.containers[0].instance_view.current_state.exit_code is None
    with pytest.raises(ResourceExistsError) as caught:
        client.containers.attach("rg", name, "main", **PLAIN)
    assert caught.value.error is not None
    assert caught.value.error.code == "ContainerGroupStopped"
    groups.begin_start("rg", name, **PLAIN).result()
    assert groups.get("rg", name, **PLAIN).instance_view.state == "Running"


def test_a_failed_operation_is_an_error_with_status_200(client: ContainerInstanceManagementClient, name: str) -> None:
    group = job("true")
    group.containers[0].command = ["/no/such/program"]
    with pytest.raises(HttpResponseError) as caught:
        client.container_groups.begin_create_or_update("rg", name, group, **PLAIN).result()
    assert caught.value.status_code == 200
    assert "Failed to start container main" in str(caught.value)


def test_regions(client: ContainerInstanceManagementClient) -> None:
    names = [usage.name.value for usage in client.location.list_usage("westeurope", **PLAIN)]
    assert "StandardCores" in names
    assert next(iter(client.location.list_capabilities("westeurope", **PLAIN))).capabilities.max_cpu == 32.0
    assert next(iter(client.location.list_cached_images("westeurope", **PLAIN))).os_type == "Linux"
    assert list(client.operations.list(**PLAIN))


def test_the_aio_client(process: Server, name: str) -> None:
    async def live() -> str | None:
        async with AioClient(AioToken(process.token), process.subscription, base_url=process.url, polling_interval=0.05) as client:
            groups = client.container_groups
            poller = await groups.begin_create_or_update("rg", name, job("echo aio"), **PLAIN)
            await poller.result()
            while (await groups.get("rg", name, **PLAIN)).instance_view.state != "Succeeded":
                await asyncio.sleep(0.01)
            logs = await client.containers.list_logs("rg", name, "main", **PLAIN)
            await (await groups.begin_delete("rg", name, **PLAIN)).result()
            return logs.content

    assert asyncio.run(live()) == "aio\n"


def test_a_wrong_token_is_an_authentication_error(process: Server, name: str) -> None:
    with (
        ContainerInstanceManagementClient(Token("wrong"), process.subscription, base_url=process.url) as client,
        pytest.raises(HttpResponseError) as caught,
    ):
        client.container_groups.get("rg", name, **PLAIN)
    assert caught.value.status_code == 401


def test_many_groups_at_once(serve: Any, name: str) -> None:
    server: Server = serve("--runtime", "simulated")
    server.control("POST", "limits", {"cores": 1000, "groups": 1000})

    async def all_of_them() -> None:
        async with AioClient(AioToken(server.token), server.subscription, base_url=server.url) as client:
            groups = client.container_groups

            async def one(number: int) -> None:
                group = f"{name}-{number}"
                await (await groups.begin_create_or_update("rg", group, job("true"), polling=False, **PLAIN)).result()
                while (await groups.get("rg", group, **PLAIN)).instance_view.state != "Succeeded":
                    await asyncio.sleep(0.01)
                await (await groups.begin_delete("rg", group, polling=False, **PLAIN)).result()

            await asyncio.gather(*(one(number) for number in range(200)))

    asyncio.run(all_of_them())
    stats = server.control("GET", "stats").json
    assert (stats["created"], stats["deleted"]) == (200, 200)
