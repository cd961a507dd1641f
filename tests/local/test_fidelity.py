"""What a client could use to tell this server from the service, beyond table (a) of the facts."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import PROVIDER, Server, body, container

IMAGE_KEY = {"server": "r.example", "username": "me", "password": "p"}


def test_the_operation_of_a_deleted_group_is_gone_also_when_its_name_is_used_again(simulated: Server, name: str) -> None:
    """A poller of the first group must not wait for ever (aci-facts §11, azure-container-agents-plugin)."""
    simulated.control("POST", "time", {"mode": "reads", "n": 1000})
    answer = simulated.put(name, body())
    operation = "/subscriptions/" + answer.headers["azure-asyncoperation"].partition("/subscriptions/")[2]
    assert simulated.raw("GET", operation).json["status"] == "Pending"
    assert simulated.call("DELETE", simulated.group(name)).status == 200
    simulated.put(name, body())
    gone = simulated.raw("GET", operation)
    assert (gone.status, gone.code) == (404, "ContainerGroupNotFound")


def test_operations_belong_to_their_subscription(simulated: Server, name: str) -> None:
    operation = simulated.put(name, body()).headers["azure-asyncoperation"].partition("/subscriptions/")[2]
    assert simulated.raw("GET", f"/subscriptions/{operation}").status == 200
    other = operation.replace(simulated.subscription, "00000000-0000-0000-0000-000000000001")
    assert simulated.raw("GET", f"/subscriptions/{other}").status == 404


def test_an_eviction_while_a_group_is_created_leaves_no_poller_behind(simulated: Server, name: str) -> None:
    simulated.control("POST", "time", {"mode": "reads", "n": 3})
    operation = (
        "/subscriptions/" + simulated.put(name, body(priority="Spot")).headers["azure-asyncoperation"].partition("/subscriptions/")[2]
    )
    simulated.control("POST", f"groups/{name}/happen", {"event": "evict"})
    simulated.until_state(name, "Succeeded")
    assert simulated.raw("GET", operation).json["status"] == "Succeeded"


def test_who_answered_shows_in_the_headers(simulated: Server, name: str) -> None:
    """`gateway` and a bare guid where ARM itself answers, the region before the guid where the provider does."""
    missing = simulated.call("GET", simulated.group(name))
    assert missing.headers["x-ms-failure-cause"] == "gateway"
    assert ":" not in missing.headers["x-ms-request-id"]
    simulated.script(name, [{"after_s": 0}])
    simulated.control("POST", "time", {"mode": "reads", "n": 1000})
    simulated.put(name, body())
    early = simulated.call("GET", f"{simulated.group(name)}/containers/main/logs")
    assert (early.status, early.code) == (404, "ContainerLogNotAvailable")
    assert "x-ms-failure-cause" not in early.headers
    assert early.headers["x-ms-request-id"].startswith("westeurope:")
    unversioned = simulated.raw("GET", simulated.group(name))
    assert unversioned.headers["x-ms-failure-cause"] == "gateway"
    assert ":" not in unversioned.headers["x-ms-request-id"]


def test_paging_loses_nothing_while_groups_are_deleted(simulated: Server, name: str) -> None:
    for n in range(5):
        simulated.put(f"{name}-{n}", body())
    simulated.control("POST", "limits", {"page_size": 2})
    path = simulated.group("x").rpartition("/")[0]
    page = simulated.call("GET", path).json
    names = [group["name"] for group in page["value"]]
    simulated.call("DELETE", simulated.group(f"{name}-0"))
    while "nextLink" in page:
        page = simulated.raw("GET", page["nextLink"].partition(f":{simulated.port}")[2]).json
        names += [group["name"] for group in page["value"]]
    assert names == [f"{name}-{n}" for n in range(5)]


@pytest.mark.parametrize("token", ["LTU=", "x", "!!", "%00", "bnVsbA==", "WzEsMl0="])
def test_a_skip_token_that_was_not_given_out_is_refused(simulated: Server, token: str) -> None:
    answer = simulated.call("GET", f"{simulated.group('x').rpartition('/')[0]}?%24skiptoken={token}")
    assert answer.status == 400


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"tags": {"a": "b"}}, 200),
        ({"tags": {"a": "b"}, "location": "West Europe"}, 200),
        ({"location": "eastus"}, 409),
        ({"zones": ["2"]}, 400),
        ({"tags": "x"}, 400),
    ],
)
def test_a_patch_changes_tags_and_says_so_if_more_was_wanted(simulated: Server, name: str, change: Any, status: int) -> None:
    simulated.put(name, body(tags={"before": "x"}))
    simulated.until_state(name, "Succeeded")
    answer = simulated.call("PATCH", simulated.group(name), change)
    assert answer.status == status
    assert simulated.get(name)["tags"] == (change["tags"] if status == 200 else {"before": "x"})


def test_the_server_chooses_the_address(simulated: Server, name: str) -> None:
    port = {"port": 80, "protocol": "TCP"}
    wanted = body(container(ports=[port]), ipAddress={"type": "Public", "ports": [port], "ip": "6.6.6.6"})
    assert "ip" not in simulated.put(name, wanted).json["properties"]["ipAddress"]
    simulated.until_state(name, "Succeeded")
    assert simulated.get(name)["properties"]["ipAddress"]["ip"] != "6.6.6.6"


PORT = {"port": 80, "protocol": "TCP"}
REFUSED: dict[str, tuple[Any, str]] = {
    "a reference to a secret in a vault": (
        body(container(environmentVariables=[{"name": "X", "secureValueReference": "s"}])),
        "UnsupportedFeature",
    ),
    "a configuration map": (body(container(configMap={"keyValuePairs": {"a": "b"}})), "UnsupportedFeature"),
    "a standby pool": (body(standbyPoolProfile={"id": "/x"}), "UnsupportedFeature"),
    "a profile": (body(containerGroupProfile={"id": "/x", "revision": 1}), "UnsupportedFeature"),
    "references to secrets": (body(secretReferences=[{"name": "x"}]), "UnsupportedFeature"),
    "access rules of identities": (body(identityAcls={"acls": [{"identity": "/x"}]}), "UnsupportedFeature"),
    "a referenced secret volume": (body(volumes=[{"name": "secrets", "secretReference": {"a": "b"}}]), "UnsupportedFeature"),
    "a spot group in a subnet": (
        body(priority="Spot", subnetIds=[{"id": "/s"}]),
        "SpotPriorityContainerGroupNotSupportedForInboundConnectivity",
    ),
    "a spot group in a zone": (body(priority="Spot", zones=["1"]), "InvalidSpotContainerGroup"),
    "a spot group elsewhere": (body(priority="Spot", location="japaneast"), "InvalidSpotContainerGroup"),
    "a registry without a server": (body(imageRegistryCredentials=[{"username": "me", "password": "p"}]), "InvalidImageRegistryCredential"),
    "a registry without a user": (body(imageRegistryCredentials=[{"server": "r.example"}]), "InvalidImageRegistryCredential"),
    "a registry with a scheme": (
        body(imageRegistryCredentials=[{**IMAGE_KEY, "server": "https://r.example"}]),
        "InvalidImageRegistryCredential",
    ),
    "a registry twice": (body(imageRegistryCredentials=[IMAGE_KEY, IMAGE_KEY]), "InvalidImageRegistryCredential"),
    "a probe that asks nothing": (body(container(livenessProbe={"periodSeconds": 1})), "InvalidContainer"),
    "a probe that asks twice": (
        body(container(readinessProbe={"exec": {"command": ["true"]}, "httpGet": {"port": 80}})),
        "InvalidContainer",
    ),
    "a public address in a subnet": (
        body(container(ports=[PORT]), ipAddress={"type": "Public", "ports": [PORT]}, subnetIds=[{"id": "/s"}]),
        "InvalidIpAddress",
    ),
    "an identity of no known type": (body(identity={"type": "Mine"}), "InvalidIdentity"),
    "a user's identity without a name": (body(identity={"type": "UserAssigned"}), "InvalidIdentity"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_nobody_honours_is_refused(simulated: Server, name: str, case: str) -> None:
    wanted, code = REFUSED[case]
    answer = simulated.call("PUT", simulated.group(name), wanted, version="2024-05-01-preview")
    assert (answer.status, answer.code if answer.status != 201 else "") == (400, code), answer.text
    assert simulated.call("GET", simulated.group(name)).status == 404


def test_a_body_that_was_read_can_be_put_again(simulated: Server, name: str) -> None:
    """`az container export` and `create --file` do: what the server added is no reason to refuse."""
    simulated.put(name, body())
    simulated.until_state(name, "Succeeded")
    shown = simulated.call("GET", simulated.group(name), version="2024-05-01-preview").json
    answer = simulated.call("PUT", simulated.group(name), shown, version="2024-05-01-preview")
    assert answer.status == 200, answer.text


def test_a_registrys_identity_must_be_one_of_the_group(process: Server, name: str) -> None:
    wanted = body(imageRegistryCredentials=[{"server": "r.example", "identity": "/subscriptions/s/id"}])
    assert process.put(name, wanted).status == 400


@pytest.mark.parametrize("what", ["usages", "capabilities", "cachedImages"])
def test_locations_are_written_in_any_way_and_must_exist(simulated: Server, what: str) -> None:
    written = simulated.call("GET", simulated.location("West%20Europe", what))
    assert written.status == 200
    assert written.headers["x-ms-request-id"].startswith("westeurope:")
    nowhere = simulated.call("GET", simulated.location("atlantis", what))
    assert (nowhere.status, nowhere.code) == (400, "LocationNotAvailableForResourceType")


def test_provider_operations(simulated: Server) -> None:
    names = {row["name"].rpartition("containerGroups/")[2] for row in simulated.call("GET", f"/{PROVIDER}/operations").json["value"]}
    assert {"read", "write", "delete", "start/action", "stop/action", "restart/action"} <= names
    assert {"containers/logs/read", "containers/exec/action", "containers/attach/action"} <= names
