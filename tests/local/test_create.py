"""PUT and what every body shows of it (A1–A4, A19, A20, A24, A26, A27; aci-facts §2)."""

from __future__ import annotations

import re
from datetime import datetime

from .conftest import SUBSCRIPTION, Server, body, container, secret

GUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def instant(text: str) -> datetime:
    """Zero to three decimals: as text, `.26Z` comes after `.266Z`."""
    return datetime.fromisoformat(text)


def test_a01_put_answers_201_with_an_operation_url_and_no_retry_after(simulated: Server, name: str) -> None:
    answer = simulated.put(name, body(location="West Central US"))
    assert answer.status == 201
    place = re.escape(f"{simulated.url}/subscriptions/{simulated.subscription}/providers/Microsoft.ContainerInstance")
    operation = answer.headers["azure-asyncoperation"]
    assert re.fullmatch(rf"{place}/locations/westcentralus/operations/{GUID}\?api-version=2018-06-01", operation)
    assert "retry-after" not in answer.headers
    assert "location" not in answer.headers
    standing = {
        "cache-control": "no-cache",
        "pragma": "no-cache",
        "expires": "-1",
        "x-content-type-options": "nosniff",
        "content-type": "application/json; charset=utf-8",
    }
    assert standing.items() <= answer.headers.items()
    assert "strict-transport-security" in answer.headers


def test_a02_the_first_body_is_pending_and_says_nothing_of_containers(simulated: Server, name: str) -> None:
    group = body(
        container(ports=[{"port": 8000}]),
        ipAddress={"type": "Public", "ports": [{"port": 8000, "protocol": "TCP"}], "dnsNameLabel": "my-label"},
    )
    shown = simulated.put(name, group).json["properties"]
    assert shown["provisioningState"] == "Pending"
    assert shown["instanceView"] == {"events": [], "state": "Pending"}
    assert "instanceView" not in shown["containers"][0]["properties"]
    assert "ip" not in shown["ipAddress"]
    assert shown["ipAddress"]["fqdn"] == "my-label.westeurope.azurecontainer.io"
    assert re.fullmatch(r"[\d.]+", simulated.until_state(name, "Succeeded")["properties"]["ipAddress"]["ip"])


def test_a02_a_private_address_is_absent_until_it_is_there(simulated: Server, name: str) -> None:
    group = body(
        container(ports=[{"port": 80}]),
        ipAddress={"type": "Private", "ports": [{"port": 80}]},
        subnetIds=[{"id": "/subscriptions/x/subnets/y", "name": "y"}],
    )
    assert "ipAddress" not in simulated.put(name, group).json["properties"]
    assert "ip" in simulated.until_state(name, "Succeeded")["properties"]["ipAddress"]


def test_a03_a_small_group_comes_back_with_defaults_and_nothing_else(simulated: Server, name: str) -> None:
    group = body()
    del group["properties"]["restartPolicy"]
    simulated.script(name, [])
    assert simulated.put(name, group).json == {
        "properties": {
            "sku": "Standard",
            "provisioningState": "Pending",
            "provisioningTimeoutInSeconds": 1800,
            "isCustomProvisioningTimeout": False,
            "containers": [
                {
                    "name": "main",
                    "properties": {
                        "image": "alpine",
                        "ports": [],
                        "environmentVariables": [],
                        "resources": {"requests": {"memoryInGB": 1.0, "cpu": 1.0}},
                    },
                }
            ],
            "initContainers": [],
            "osType": "Linux",
            "instanceView": {"events": [], "state": "Pending"},
        },
        "id": simulated.group(name),
        "name": name,
        "type": "Microsoft.ContainerInstance/containerGroups",
        "location": "westeurope",
    }


def test_a03_numbers_are_floats_on_the_wire(simulated: Server, name: str) -> None:
    assert '"requests": {"memoryInGB": 1.0, "cpu": 1.0}' in simulated.put(name, body()).text


EVERYTHING = {
    "tags": {},
    "zones": ["1"],
    "identity": {"type": "SystemAssigned,UserAssigned", "userAssignedIdentities": {"/subscriptions/s/id": {}}},
    "sku": "Confidential",
    "initContainers": [{"name": "first", "properties": {"image": "busybox", "command": ["true"]}}],
    "imageRegistryCredentials": [
        {"server": "r.example", "username": "me", "password": "HIDDEN-1"},
        {"server": "a.example", "identity": "/subscriptions/s/id", "identityUrl": "https://id"},
    ],
    "volumes": [
        {"name": "secrets", "secret": {"HIDDEN-NAME": "SElEREVOLTI="}},
        {"name": "empty", "emptyDir": {}},
        {
            "name": "share",
            "azureFile": {
                "shareName": "files",
                "storageAccountName": "account",
                "storageAccountKey": "HIDDEN-3",
                "readOnly": True,
            },
        },
        {"name": "sources", "gitRepo": {"repository": "https://git.example/x", "directory": ".", "revision": "main"}},
    ],
    "diagnostics": {
        "logAnalytics": {
            "workspaceId": "w",
            "workspaceKey": "HIDDEN-4",
            "logType": "ContainerInsights",
            "metadata": {"a": "b"},
            "workspaceResourceId": "/r",
        }
    },
    "subnetIds": [{"id": "/subnet", "name": "default"}],
    "dnsConfig": {"nameServers": ["10.0.0.1"], "searchDomains": "example", "options": "ndots:2"},
    "encryptionProperties": {"vaultBaseUrl": "https://v", "keyName": "k", "keyVersion": "1", "identity": "/i"},
    "extensions": [
        {
            "name": "kube",
            "properties": {
                "extensionType": "kube-proxy",
                "version": "1.0",
                "settings": {"clusterCidr": "10.0.0.0/16"},
                "protectedSettings": {"kubeConfig": "HIDDEN-5"},
            },
        }
    ],
    "confidentialComputeProperties": {"ccePolicy": "cGFja2FnZQ=="},
    "priority": "Regular",
}
PROBE = {
    "exec": {"command": ["cat", "/x"]},
    "initialDelaySeconds": 1,
    "periodSeconds": 2,
    "failureThreshold": 3,
    "successThreshold": 1,
    "timeoutSeconds": 5,
}
FULL_CONTAINER = {
    "command": ["sh"],
    "ports": [{"port": 8000}, {"protocol": "UDP", "port": 53}],
    "environmentVariables": [{"name": "PLAIN", "value": "v"}, {"name": "SECURE", "secureValue": "HIDDEN-6"}],
    "resources": {"requests": {"memoryInGB": 1.5, "cpu": 1}, "limits": {"memoryInGB": 1.5, "cpu": 1}},
    "volumeMounts": [{"name": "secrets", "mountPath": "/s", "readOnly": True}, {"name": "empty", "mountPath": "/e"}],
    "livenessProbe": PROBE,
    "readinessProbe": {"httpGet": {"path": "/", "port": 80, "scheme": "http", "httpHeaders": [{"name": "h", "value": "v"}]}},
    "securityContext": {
        "privileged": False,
        "allowPrivilegeEscalation": True,
        "capabilities": {"add": ["X"], "drop": ["Y"]},
        "runAsGroup": 1,
        "runAsUser": 2,
        "seccompProfile": "p",
    },
}


def test_a03_the_whole_surface_is_echoed_as_recorded(simulated: Server, name: str) -> None:
    sent = body(container(**FULL_CONTAINER), **EVERYTHING)
    answer = simulated.put(name, sent)
    assert answer.status == 201, answer.text
    shown, properties = answer.json, answer.json["properties"]
    kept = ("osType", "restartPolicy", "subnetIds", "dnsConfig", "encryptionProperties", "priority", "sku")
    for member in (*kept, "confidentialComputeProperties"):
        assert properties[member] == sent["properties"][member]
    assert shown["zones"] == ["1"]
    assert shown["tags"] == {}
    assert shown["identity"]["type"] == "SystemAssigned, UserAssigned"
    assert set(shown["identity"]) == {"principalId", "tenantId", "type", "userAssignedIdentities"}
    assert set(shown["identity"]["userAssignedIdentities"]["/subscriptions/s/id"]) == {"principalId", "clientId"}
    assert properties["initContainers"] == [
        {"name": "first", "properties": {"image": "busybox", "command": ["true"], "environmentVariables": []}}
    ]
    assert properties["imageRegistryCredentials"] == [
        {"server": "r.example", "username": "me"},
        {"server": "a.example", "identity": "/subscriptions/s/id", "identityUrl": "https://id"},
    ]
    assert properties["volumes"] == [
        {"name": "secrets", "secret": {}},
        {"name": "empty", "emptyDir": {}},
        {"name": "share", "azureFile": {"shareName": "files", "readOnly": True, "storageAccountName": "account"}},
        EVERYTHING["volumes"][3],
    ]
    assert properties["extensions"][0]["properties"] == {
        "extensionType": "kube-proxy",
        "version": "1.0",
        "settings": {"clusterCidr": "10.0.0.0/16"},
    }
    assert "workspaceKey" not in properties["diagnostics"]["logAnalytics"]
    assert properties["diagnostics"]["logAnalytics"]["workspaceId"] == "w"
    expected = {**FULL_CONTAINER, "image": "alpine"}
    expected["environmentVariables"] = [{"name": "PLAIN", "value": "v"}, {"name": "SECURE"}]
    assert properties["containers"] == [{"name": "main", "properties": expected}]


def test_a03_newer_versions_show_their_own_members(simulated: Server, name: str) -> None:
    simulated.put(name, body())
    shown = simulated.call("GET", simulated.group(name), version="2024-05-01-preview").json["properties"]
    assert shown["isCreatedFromStandbyPool"] is False
    assert shown["containers"][0]["properties"]["configMap"] == {"keyValuePairs": {}}


def test_a03_a_missing_policy_is_filled_in_for_confidential_groups(simulated: Server, name: str) -> None:
    shown = simulated.put(name, body(sku="Confidential", confidentialComputeProperties={})).json["properties"]
    assert shown["confidentialComputeProperties"]["ccePolicy"]


def test_a04_no_secret_comes_back_from_any_call(simulated: Server, name: str) -> None:
    group = simulated.group(name)
    simulated.script(name, [], container="main")
    answers = [simulated.put(name, body(container(**FULL_CONTAINER), **EVERYTHING))]
    simulated.until_state(name, "Running")
    answers += [
        simulated.call("GET", group),
        simulated.call("GET", group.rpartition("/")[0]),
        simulated.call("PATCH", group, {"tags": {"a": "b"}}),
        simulated.call("DELETE", group),
    ]
    for answer in answers:
        assert answer.status in (200, 201)
        assert "HIDDEN" not in answer.text
        assert "SElEREVOLTI=" not in answer.text


def test_a19_other_changes_restart_all_containers_in_place(simulated: Server, name: str) -> None:
    simulated.script(name, [{"print": "once\n"}])
    simulated.put(name, body(tags={"n": "1"}))
    before = simulated.until_state(name, "Running")["properties"]["containers"][0]["properties"]["instanceView"]
    answer = simulated.put(name, body(container(command=["new"])))
    assert answer.status == 200
    assert answer.json["properties"]["provisioningState"] == "Updating"
    assert "azure-asyncoperation" in answer.headers
    after = simulated.until_state(name, "Running")
    view = after["properties"]["containers"][0]["properties"]["instanceView"]
    assert after["properties"]["containers"][0]["properties"]["command"] == ["new"]
    assert "tags" not in after
    assert view["restartCount"] == 0
    assert instant(view["currentState"]["startTime"]) > instant(before["currentState"]["startTime"])
    assert "Killing container main (platform initiated)." in [event["message"] for event in view["events"]]


def test_a19_what_only_a_new_group_can_have_is_refused(simulated: Server, name: str) -> None:
    simulated.script(name, [])
    simulated.put(name, body())
    simulated.until_state(name, "Running")
    bigger = container(resources={"requests": {"cpu": 2, "memoryInGB": 1}})
    for changed in (
        body(osType="Windows"),
        body(restartPolicy="Always"),
        body(bigger),
        body(subnetIds=[{"id": "/other"}]),
    ):
        answer = simulated.put(name, changed)
        assert answer.status == 400
        assert answer.message.startswith(f"The updates on container group '{name}' are invalid. If you are going to")


def test_a19_an_ended_group_is_deployed_as_new(simulated: Server, name: str) -> None:
    simulated.put(name, body())
    simulated.until_state(name, "Succeeded")
    answer = simulated.put(name, body(restartPolicy="OnFailure"))
    assert answer.status == 200
    assert answer.json["properties"]["provisioningState"] == "Pending"
    assert simulated.until_state(name, "Succeeded")["properties"]["restartPolicy"] == "OnFailure"


def test_a20_the_same_name_elsewhere_is_refused(simulated: Server, name: str) -> None:
    simulated.put(name, body())
    simulated.until_state(name, "Succeeded")
    answer = simulated.put(name, body(location="eastus"))
    assert (answer.status, answer.code) == (409, "InvalidResourceLocation")
    assert "already exists in location 'westeurope'" in answer.message


def test_a24_rate_headers_count_down(simulated: Server, name: str) -> None:
    prefix = "x-ms-ratelimit-remaining-subscription-"
    put = simulated.put(name, body()).headers
    assert put[f"{prefix}resource-requests-pt5m"] == "99"
    assert put[f"{prefix}resource-requests-pt1h"] == "299"
    assert put[f"{prefix}writes"] == "1199"
    get = simulated.call("GET", simulated.group(name)).headers
    assert get[f"{prefix}reads"] == "11999"
    assert f"{prefix}resource-requests-pt5m" not in get
    delete = simulated.call("DELETE", simulated.group(name)).headers
    assert delete[f"{prefix}resource-requests-pt5m"] == "98"
    assert delete[f"{prefix}deletes"] == "14999"


def test_a24_the_budget_can_be_enforced(simulated: Server, name: str) -> None:
    simulated.control("POST", "limits", {"throttle": True, "writes_per_5min": 1})
    simulated.put(name, body())
    answer = simulated.put(f"{name}-2", body())
    assert (answer.status, answer.code) == (429, "ResourceRequestsThrottled")
    assert int(answer.headers["retry-after"]) > 0


def test_a26_paths_in_any_letter_case_and_canonical_ids(simulated: Server, name: str) -> None:
    simulated.put(name, body(location="West Europe"))
    path = simulated.group(name).lower().replace("microsoft.containerinstance/", "MICROSOFT.ContainerInstance//")
    shown = simulated.call("GET", path.replace(name, name.upper())).json
    assert shown["id"] == simulated.group(name)
    assert shown["name"] == name
    assert shown["location"] == "West Europe"


def test_a27_request_ids_name_the_region_and_the_operation(simulated: Server, name: str) -> None:
    put = simulated.put(name, body(location="West Europe"))
    operation = re.search(rf"operations/({GUID})", put.headers["azure-asyncoperation"])
    assert operation is not None
    assert put.headers["x-ms-request-id"] == f"westeurope:{operation[1]}"
    get = simulated.call("GET", simulated.group(name))
    assert re.fullmatch(rf"westeurope:{GUID}", get.headers["x-ms-request-id"])
    missing = simulated.call("GET", simulated.group("missing"))
    assert re.fullmatch(GUID, missing.headers["x-ms-request-id"])
    assert missing.headers["x-ms-failure-cause"] == "gateway"
    for header in ("x-ms-correlation-request-id", "x-ms-routing-request-id"):
        assert header in put.headers


def test_two_subscriptions_do_not_see_each_other(simulated: Server, shared_simulated: Server, name: str) -> None:
    simulated.put(name, body(volumes=[{"name": "files", "secret": secret(a="b")}]))
    assert simulated.subscription != SUBSCRIPTION
    assert shared_simulated.call("GET", shared_simulated.group(name)).status == 404
