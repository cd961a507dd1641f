"""The other calls: list, delete, stop, start, restart, tags, operations, regions (A5, A6, A10–A13, A17, A18, A25, A31, A33)."""

from __future__ import annotations

import re
import threading

from .conftest import PROVIDER, Server, body, container


def operation(server: Server, url: str) -> dict:
    answer = server.raw("GET", url.removeprefix(server.url))
    assert answer.status == 200, answer.text
    return answer.json


def test_a05_the_operation_goes_from_pending_to_succeeded(simulated: Server, name: str) -> None:
    simulated.control("POST", "time", {"mode": "reads", "n": 2})
    url = simulated.put(name, body()).headers["azure-asyncoperation"]
    first = operation(simulated, url)
    assert first["id"] == simulated.group(name)
    assert first["status"] == "Pending"
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", first["startTime"])
    assert set(first) == {"id", "status", "startTime", "properties"}
    simulated.control("POST", "time", {"mode": "immediate"})
    simulated.until_state(name, "Succeeded")
    last = operation(simulated, url)
    assert last["status"] == "Succeeded"
    assert [event["name"] for event in last["properties"]["events"]][:3] == ["Pulling", "Pulled", "Started"]


def test_a05_a_failed_operation_has_an_error_with_the_events_text(simulated: Server, name: str) -> None:
    simulated.script(name, [], start_fails="no such file")
    url = simulated.put(name, body()).headers["azure-asyncoperation"]
    shown = simulated.until(name, lambda group: group["properties"]["provisioningState"] == "Failed")
    assert shown["properties"]["instanceView"]["state"] == "Failed"
    failed = operation(simulated, url)
    assert failed["status"] == "Failed"
    assert "Error: Failed to start container main, Error response: to create containerd task: no such file" in (failed["error"]["message"])


def test_a06_an_operation_succeeds_although_the_job_failed(simulated: Server, name: str) -> None:
    simulated.script(name, [{"exit": 2}])
    url = simulated.put(name, body()).headers["azure-asyncoperation"]
    shown = simulated.until_state(name, "Failed")
    assert shown["properties"]["provisioningState"] == "Succeeded"
    assert operation(simulated, url)["status"] == "Succeeded"


def test_a10_lists_have_no_instance_view_and_pages(simulated: Server, name: str) -> None:
    for index in range(3):
        simulated.put(f"{name}-{index}", body())
        simulated.until_state(f"{name}-{index}", "Succeeded")
    for path in (
        f"/subscriptions/{simulated.subscription}/resourceGroups/rg/{PROVIDER}/containerGroups",
        f"/subscriptions/{simulated.subscription}/{PROVIDER}/containerGroups",
    ):
        shown = simulated.call("GET", path).json
        assert [group["name"] for group in shown["value"]] == [f"{name}-{index}" for index in range(3)]
        assert "nextLink" not in shown
        for group in shown["value"]:
            assert "instanceView" not in group["properties"]
            assert "instanceView" not in group["properties"]["containers"][0]["properties"]
            assert group["properties"]["provisioningState"] == "Succeeded"
        simulated.control("POST", "limits", {"page_size": 2})
        first = simulated.call("GET", path).json
        assert len(first["value"]) == 2
        second = simulated.raw("GET", first["nextLink"].removeprefix(simulated.url)).json
        assert [group["name"] for group in second["value"]] == [f"{name}-2"]
        assert "nextLink" not in second
        simulated.control("POST", "limits", {"page_size": 1000})


def test_a10_other_resource_groups_are_not_listed(simulated: Server, name: str) -> None:
    simulated.put(name, body())
    other = simulated.group(name, "other").rpartition("/")[0]
    assert simulated.call("GET", other).json == {"value": []}


def test_a11_delete_answers_the_last_body_then_404_and_204(simulated: Server, name: str) -> None:
    simulated.script(name, [{"print": "x\n"}])
    simulated.put(name, body())
    last = simulated.until_state(name, "Running")
    answer = simulated.call("DELETE", simulated.group(name))
    assert (answer.status, answer.json) == (200, last)
    assert "azure-asyncoperation" not in answer.headers
    gone = simulated.call("GET", simulated.group(name))
    assert (gone.status, gone.code) == (404, "ResourceNotFound")
    assert gone.message.startswith(
        f"The Resource 'Microsoft.ContainerInstance/containerGroups/{name}' under resource group 'rg' was not found."
    )
    assert simulated.call("GET", f"{simulated.group(name)}/containers/main/logs").code == "ResourceNotFound"
    again = simulated.call("DELETE", simulated.group(name))
    assert (again.status, again.text) == (204, "")


def test_a12_stop_start_restart(simulated: Server, name: str) -> None:
    simulated.script(name, [])
    group = simulated.group(name)
    simulated.put(name, body(container(ports=[{"port": 80}]), ipAddress={"type": "Public", "ports": [{"port": 80}]}))
    first_ip = simulated.until_state(name, "Running")["properties"]["ipAddress"]["ip"]

    running = simulated.call("POST", f"{group}/start")
    assert (running.status, running.text) == (204, "")
    assert "azure-asyncoperation" not in running.headers

    simulated.control("POST", "time", {"mode": "reads", "n": 2})
    restarted = simulated.call("POST", f"{group}/restart")
    assert restarted.status == 204
    assert "azure-asyncoperation" in restarted.headers
    meanwhile = simulated.get(name)["properties"]
    assert meanwhile["provisioningState"] == "Updating"
    assert meanwhile["instanceView"]["state"] == "Running"
    assert operation(simulated, restarted.headers["azure-asyncoperation"])["status"] == "Pending"
    simulated.control("POST", "time", {"mode": "immediate"})
    after = simulated.until_state(name, "Running")["properties"]["containers"][0]["properties"]["instanceView"]
    assert after["restartCount"] == 0

    stopped = simulated.call("POST", f"{group}/stop")
    assert (stopped.status, stopped.text) == (204, "")
    assert "azure-asyncoperation" not in stopped.headers
    shown = simulated.get(name)["properties"]
    assert shown["instanceView"]["state"] == "Stopped"
    assert shown["provisioningState"] == "Succeeded"
    assert simulated.call("POST", f"{group}/stop").status == 204

    started = simulated.call("POST", f"{group}/start")
    assert started.status == 204
    assert "azure-asyncoperation" in started.headers
    assert simulated.until_state(name, "Running")["properties"]["ipAddress"]["ip"] != first_ip


def test_a13_patch_replaces_the_tags(simulated: Server, name: str) -> None:
    simulated.put(name, body(tags={"a": "1", "b": "2"}))
    simulated.until_state(name, "Succeeded")
    answer = simulated.call("PATCH", simulated.group(name), {"tags": {"c": "3"}})
    assert answer.status == 200
    assert answer.json == simulated.get(name)
    assert answer.json["tags"] == {"c": "3"}


def test_a17_sessions_and_restart_on_a_stopped_group_are_refused(simulated: Server, name: str) -> None:
    simulated.script(name, [])
    simulated.put(name, body())
    simulated.until_state(name, "Running")
    group = simulated.group(name)
    simulated.call("POST", f"{group}/stop")
    for call, sent in (("containers/main/exec", {"command": "sh"}), ("containers/main/attach", None), ("restart", None)):
        answer = simulated.call("POST", f"{group}/{call}", sent)
        assert (answer.status, answer.code) == (409, "ContainerGroupStopped")
        assert answer.message == f"Container Group '{name}' in resource group 'rg' is stopped."


def test_a17_an_ended_group_cannot_be_restarted(simulated: Server, name: str) -> None:
    simulated.put(name, body())
    simulated.until_state(name, "Succeeded")
    assert simulated.call("POST", f"{simulated.group(name)}/restart").code == "ContainerGroupStopped"


def test_a18_operations_during_a_transition_are_refused(simulated: Server, name: str) -> None:
    simulated.control("POST", "time", {"mode": "reads", "n": 50})
    simulated.put(name, body())
    group = simulated.group(name)
    refused = [simulated.call("POST", f"{group}/{verb}") for verb in ("stop", "start", "restart")]
    refused += [simulated.put(name, body()), simulated.call("PATCH", group, {"tags": {}})]
    for answer in refused:
        assert (answer.status, answer.code) == (409, "ContainerGroupTransitioning")
        assert answer.message == f"The container group '{name}' is still transitioning, please retry later."
    assert simulated.call("DELETE", group).status == 200


def test_a18_two_deletes_at_once_both_succeed(simulated: Server, name: str) -> None:
    simulated.control("POST", "time", {"mode": "seconds", "delete_s": 0.3})
    simulated.put(name, body())
    simulated.until_state(name, "Succeeded")
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(simulated.call("DELETE", simulated.group(name)).status)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200, 200]
    assert simulated.call("GET", simulated.group(name)).status == 404


def test_a25_usages_count_what_runs(simulated: Server, name: str) -> None:
    simulated.script(name, [])
    simulated.put(name, body(container(resources={"requests": {"cpu": 2.5, "memoryInGB": 1}})))
    simulated.put(f"{name}-ended", body())
    simulated.until_state(name, "Running")
    simulated.until_state(f"{name}-ended", "Succeeded")
    rows = simulated.call("GET", simulated.location("West%20Europe", "usages")).json["value"]
    assert rows[0] == {
        "id": simulated.location("westeurope", "usages/ContainerGroups"),
        "unit": "Count",
        "currentValue": 2,
        "limit": 100,
        "name": {"value": "ContainerGroups", "localizedValue": "Container Groups"},
    }
    assert rows[1]["id"].endswith("/usages/standardCores")
    assert (rows[1]["name"]["value"], rows[1]["currentValue"]) == ("StandardCores", 2.5)
    assert [row["name"]["value"] for row in rows] == [
        "ContainerGroups",
        "StandardCores",
        "StandardSpotCores",
        "StandardK80Cores",
        "StandardP100Cores",
        "StandardV100Cores",
        "DedicatedContainerGroups",
        "DedicatedCores",
        "ConfidentialContainerGroups",
        "ConfidentialCores",
    ]


def test_a25_capabilities(simulated: Server) -> None:
    rows = simulated.call("GET", simulated.location("East%20US", "capabilities")).json["value"]
    assert rows[0] == {
        "resourceType": "containerGroups",
        "osType": "NotSpecified",
        "location": "eastus",
        "ipAddressType": "Public",
        "gpu": "None",
        "capabilities": {"maxMemoryInGB": 256.0, "maxCpu": 32.0, "maxGpuCount": 0},
    }


def test_a31_small_lists(simulated: Server, name: str) -> None:
    simulated.put(name, body())
    answer = simulated.call("GET", f"{simulated.group(name)}/outboundNetworkDependenciesEndpoints")
    assert (answer.status, answer.json) == (200, [])
    images = simulated.call("GET", simulated.location("eastus", "cachedImages")).json["value"]
    assert {"osType": "Linux", "image": "alpine:latest"} in images
    operations = simulated.call("GET", f"/{PROVIDER}/operations").json["value"]
    assert {"name", "display", "origin"} == set(operations[0])


def test_a33_the_billing_clock_runs_until_the_group_has_stopped(simulated: Server, name: str) -> None:
    def row() -> dict:
        return next(row for row in simulated.control("GET", "billing").json["value"] if row["name"] == name)

    simulated.script(name, [])
    simulated.put(name, body())
    simulated.until_state(name, "Running")
    assert row()["running"] is True
    simulated.call("POST", f"{simulated.group(name)}/stop")
    assert row()["running"] is False
    assert row() == row()


def test_what_az_reads_on_its_way(simulated: Server, name: str) -> None:
    simulated.put(name, body())
    subscription = f"/subscriptions/{simulated.subscription}"
    assert simulated.call("GET", subscription).json["subscriptionId"] == simulated.subscription
    assert simulated.subscription in simulated.call("GET", "/subscriptions").text
    assert simulated.call("GET", "/tenants").status == 200
    assert simulated.call("GET", f"{subscription}/resourcegroups/rg").json["name"] == "rg"
    assert simulated.call("HEAD", f"{subscription}/resourcegroups/rg").status == 204
    assert simulated.call("GET", f"{subscription}/{PROVIDER}").json["registrationState"] == "Registered"
