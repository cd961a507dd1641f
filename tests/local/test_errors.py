"""Refusals, validation, and faults that are ordered (A21–A23; aci-facts §7, §8)."""

from __future__ import annotations

import functools
import http.client
import json
import time
from typing import Any

import pytest

from .conftest import Server, body, container, secret


def with_resources(**resources: Any) -> dict[str, Any]:
    return body(container(resources=resources))


ONE = {"cpu": 1, "memoryInGB": 1}
PORT = {"ports": [{"port": 80}]}
PUBLIC = {"type": "Public", "ports": [{"port": 80}]}
REFUSED = {
    "no operating system": (body(osType="Plan9"), "InvalidOsType"),
    "no resources": (with_resources(), "ResourceRequestsNotSpecified"),
    "no memory": (with_resources(requests={"cpu": 1}), "ResourceRequestsNotSpecified"),
    "limit below request": (
        with_resources(requests={"cpu": 2, "memoryInGB": 1}, limits={"cpu": 1}),
        "ResourceLimitsLessThanRequests",
    ),
    "limit above the group": (
        with_resources(requests=ONE, limits={"cpu": 3}),
        "ContainerLimitGreaterThanContainerGroupTotalRequest",
    ),
    "less than one core": (with_resources(requests={"cpu": 0.5, "memoryInGB": 1}), "InvalidResourceRequests"),
    "too many cores": (with_resources(requests={"cpu": 32, "memoryInGB": 1}), "InvalidResourceRequests"),
    "no cores": (with_resources(requests={"cpu": 0, "memoryInGB": 1}), "InvalidResourceRequests"),
    "no containers": (body(containers=[]), "InvalidContainer"),
    "too many containers": (body(*(container(f"c{n}") for n in range(61))), "InvalidContainer"),
    "same name twice": (body(container("a"), container("a")), "InvalidContainer"),
    "container name": (body(container("Main")), "InvalidContainer"),
    "container name ends badly": (body(container("main-")), "InvalidContainer"),
    "several on windows": (body(container("a"), container("b"), osType="Windows"), "InvalidContainer"),
    "variable name": (body(container(environmentVariables=[{"name": "_X", "value": "1"}])), "InvalidEnvironmentVariable"),
    "volume name": (body(volumes=[{"name": "a--bcd", "emptyDir": {}}]), "InvalidVolume"),
    "short volume name": (body(volumes=[{"name": "abcd", "emptyDir": {}}]), "InvalidVolume"),
    "volume of two kinds": (body(volumes=[{"name": "abcde", "emptyDir": {}, "secret": {}}]), "InvalidVolume"),
    "too many volumes": (body(volumes=[{"name": f"abcde{n}", "emptyDir": {}} for n in range(21)]), "InvalidVolume"),
    "not base64": (body(volumes=[{"name": "abcde", "secret": {"a": "%"}}]), "InvalidVolume"),
    "file name that climbs": (body(volumes=[{"name": "abcde", "secret": {"../x": "eA=="}}]), "InvalidVolume"),
    "file name that is a folder": (body(volumes=[{"name": "abcde", "secret": secret(**{"..": "x"})}]), "InvalidVolume"),
    "share name that climbs": (
        body(volumes=[{"name": "abcde", "azureFile": {"shareName": "../x", "storageAccountName": "account"}}]),
        "InvalidVolume",
    ),
    "git directory that climbs": (
        body(volumes=[{"name": "abcde", "gitRepo": {"repository": "/r", "directory": "../x"}}]),
        "InvalidVolume",
    ),
    "git revision that is an option": (
        body(volumes=[{"name": "abcde", "gitRepo": {"repository": "/r", "revision": "--upload-pack=x"}}]),
        "InvalidVolume",
    ),
    "unknown volume": (body(container(volumeMounts=[{"name": "abcde", "mountPath": "/x"}])), "InvalidVolume"),
    "mount path with a colon": (
        body(container(volumeMounts=[{"name": "abcde", "mountPath": "/a:b"}]), volumes=[{"name": "abcde", "emptyDir": {}}]),
        "InvalidVolume",
    ),
    "reserved port": (body(container(ports=[{"port": 19390}])), "InvalidPort"),
    "port nobody opens": (body(ipAddress=PUBLIC), "InvalidPort"),
    "too many ports": (
        body(
            container(ports=[{"port": n} for n in range(80, 86)]),
            ipAddress={"type": "Public", "ports": [{"port": n} for n in range(80, 86)]},
        ),
        "InvalidPort",
    ),
    "priority": (body(priority="Urgent"), "PriorityNotSpecified"),
    "spot with an address": (
        body(container(**PORT), priority="Spot", ipAddress=PUBLIC),
        "SpotPriorityContainerGroupNotSupportedForInboundConnectivity",
    ),
    "confidential spot": (body(priority="Spot", sku="Confidential"), "SpotPriorityContainerGroupNotSupportedInSku"),
    "spot with a gpu": (
        body(
            container(resources={"requests": {**ONE, "gpu": {"count": 1, "sku": "V100"}}}),
            priority="Spot",
        ),
        "SpotPriorityContainerGroupWithGPUResourcesNotSupported",
    ),
    "big spot": (
        body(container(resources={"requests": {"cpu": 5, "memoryInGB": 1}}), priority="Spot"),
        "InvalidResourceRequests",
    ),
    "no such region": (body(location="atlantis"), "LocationNotAvailableForResourceType"),
    "no region": (body(location=""), "LocationRequired"),
    "wrong type": (body(container(command="sh -c x")), "InvalidRequestContent"),
    "wrong enum": (body(restartPolicy="Sometimes"), "InvalidRequestContent"),
    "number as text": (with_resources(requests={"cpu": "1", "memoryInGB": 1}), "InvalidRequestContent"),
    "endless number": (with_resources(requests={"cpu": 1e308, "memoryInGB": 1}), "InvalidRequestContent"),
    "very deep": (
        body(volumes=[{"name": "abcde", "emptyDir": functools.reduce(lambda inner, _: {"a": inner}, range(90), {})}]),
        "InvalidRequestContent",
    ),
    "no properties": ({"location": "westeurope"}, "InvalidRequestContent"),
    "no object": ([], "InvalidRequestContent"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a23_bodies_that_are_refused(simulated: Server, name: str, case: str) -> None:
    sent, code = REFUSED[case]
    answer = simulated.put(name, sent)
    assert (answer.status, answer.code) == (400, code), answer.text
    assert set(answer.json) == {"error"}
    assert set(answer.json["error"]) == {"code", "message"}
    assert simulated.call("GET", simulated.group(name)).status == 404


@pytest.mark.parametrize("wrong", ["Upper", "-a", "a-", "a_b", "a" * 64, "%2e%2e%2fx"])
def test_a23_group_names(simulated: Server, wrong: str) -> None:
    answer = simulated.put(wrong, body())
    assert (answer.status, answer.code) == (400, "InvalidContainerGroupName")


def test_a23_recorded_messages(simulated: Server, name: str) -> None:
    assert simulated.put(name, body(osType="x")).message == (
        "The 'osType' for container group '<null>' is invalid. The value must be one of 'Windows,Linux'."
    )


def test_a22_an_image_that_cannot_be_resolved_is_refused_at_once(simulated: Server, name: str) -> None:
    simulated.script(name, inaccessible=True)
    answer = simulated.put(name, body())
    assert (answer.status, answer.code) == (400, "InaccessibleImage")
    assert answer.message == (
        f"The image 'alpine' in container group '{name}' is not accessible. Please check the image and registry credential."
    )


def test_a22_an_image_that_cannot_be_pulled_is_tried_again(serve: Any, name: str) -> None:
    server = serve("--runtime", "simulated")
    server.control("POST", "time", {"flow": "frozen"})
    server.script(name, pull_failures=1)
    server.put(name, body())
    server.until(name, lambda group: "BackOff" in str(group))
    server.control("POST", "time", {"advance_s": 10})
    events = server.until_state(name, "Succeeded")["properties"]["containers"][0]["properties"]["instanceView"]["events"]
    assert [(event["name"], event["count"]) for event in events[:4]] == [
        ("Pulling", 2),
        ("Failed", 1),
        ("BackOff", 1),
        ("Pulled", 1),
    ]


def test_a21_quotas(simulated: Server, name: str) -> None:
    simulated.control("POST", "limits", {"cores": 1})
    simulated.script(name, [])
    simulated.put(name, body())
    answer = simulated.put(f"{name}-2", body())
    assert (answer.status, answer.code) == (409, "ContainerGroupQuotaReached")
    assert answer.message == (
        "Resource type 'Microsoft.ContainerInstance/containerGroups' container group quota 'StandardCores' exceeded in "
        "region 'westeurope'. Limit: '1', Usage: '1' Requested: '1'."
    )
    assert simulated.put(f"{name}-3", body(location="eastus")).status == 201
    simulated.until_state(name, "Running")
    simulated.call("POST", f"{simulated.group(name)}/stop")
    assert simulated.put(f"{name}-2", body()).status == 201


def test_a21_ordered_answers(simulated: Server, name: str) -> None:
    simulated.put(name, body())
    path = simulated.group(name)
    busy = {"status": 429, "code": "TooManyRequests", "message": "slow down", "retry_after": 7}
    simulated.control("POST", "faults", {"on": "get", "times": 2, "after": 1, "group": name, "do": busy})
    answers = [simulated.call("GET", path) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 429, 429, 200]
    assert answers[1].headers["retry-after"] == "7"
    assert answers[1].json == {"error": {"code": "TooManyRequests", "message": "slow down"}}
    simulated.control("POST", "faults", {"on": "any", "group": name, "do": {"status": 503}})
    without = simulated.call("GET", path)
    assert without.status == 503
    assert "retry-after" not in without.headers
    simulated.control("POST", "faults", {"on": "delete", "times": 5, "do": {"status": 500}})
    simulated.control("DELETE", "faults")
    assert simulated.call("DELETE", path).status == 200


def test_a21_dropped_connections(simulated: Server, name: str) -> None:
    simulated.control("POST", "faults", {"on": "create", "group": name, "do": {"drop": True}})
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        simulated.put(name, body())
    assert simulated.call("GET", simulated.group(name)).status == 404
    simulated.control("POST", "faults", {"on": "create", "group": name, "do": {"drop": "after"}})
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        simulated.put(name, body())
    assert simulated.call("GET", simulated.group(name)).status == 200
    simulated.control("POST", "faults", {"on": "get", "group": "nobody", "do": {"drop": "after"}})
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        simulated.call("GET", simulated.group("nobody"))


def test_a21_slow_answers(simulated: Server, name: str) -> None:
    simulated.control("POST", "faults", {"on": "get", "group": name, "do": {"delay_s": 0.2}})
    began = time.monotonic()
    assert simulated.call("GET", simulated.group(name)).status == 404
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(
    "order",
    [{}, {"on": "tea", "do": {}}, {"do": {"drop": "sometimes"}}, {"do": {"status": "500"}}, {"do": {"x": 1}}, [], {"x": 1}],
)
def test_faults_that_make_no_sense_are_refused(simulated: Server, order: Any) -> None:
    assert simulated.raw("POST", "/_aci/faults", json.dumps(order).encode()).status == 400


def test_api_versions(simulated: Server, name: str) -> None:
    path = simulated.group(name)
    assert simulated.raw("GET", path).code == "MissingApiVersionParameter"
    assert simulated.call("GET", path, version="yesterday").code == "InvalidApiVersionParameter"
    assert simulated.call("GET", path, version="2001-01-01").code == "NoRegisteredProviderFound"
    assert simulated.call("GET", path, version="2023-05-02").code == "NoRegisteredProviderFound"
    assert simulated.call("PUT", f"{path}/start").status == 405
    assert simulated.call("GET", "/subscriptions/x/nonsense/y").status == 404


def test_statistics_count_by_kind(serve: Any, name: str) -> None:
    server = serve("--runtime", "simulated")
    server.put(name, body())
    server.until_state(name, "Succeeded")
    server.call("DELETE", server.group(name))
    stats = server.control("GET", "stats").json
    assert stats["requests"]["create"] == 1
    assert stats["requests"]["delete"] == 1
    assert stats["requests"]["get"] >= 1
    assert (stats["created"], stats["deleted"]) == (1, 1)


@pytest.mark.parametrize("order", [{"mode": "warp"}, {}, {"mode": "seconds", "pulling_s": -1}, {"mode": "reads", "n": "x"}])
def test_times_and_limits_that_make_no_sense_are_refused(simulated: Server, order: Any) -> None:
    assert simulated.raw("POST", "/_aci/time", json.dumps(order).encode()).status == 400
    assert simulated.raw("POST", "/_aci/limits", json.dumps({"cores": "many"}).encode()).status == 400
    assert simulated.raw("POST", "/_aci/limits", json.dumps({"wishes": 3}).encode()).status == 400
