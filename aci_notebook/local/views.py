"""What the service shows of a group, an operation, a region: ARM's JSON (aci-facts §2.3, §2.4, §3; A2–A10).

Everything here is pure; secrets are left out by `surface.echo`.
"""

from __future__ import annotations

import base64
import uuid
from datetime import datetime
from typing import Any

from .group import Group, GroupKey, Operation
from .limits import Limits
from .locations import normalised_location
from .quotas import Usage
from .shapes import echo
from .states import Life, PlatformEvent, StateView
from .surface import GROUP

Json = dict[str, Any]

GROUP_TYPE = "Microsoft.ContainerInstance/containerGroups"
STANDBY_SINCE = "2024-05-01"  # api-versions from here on add members of their own
DEFAULT_POLICY = base64.b64encode(b'package policy\n\napi_svn := "0.10.0"\n').decode()
IDENTITIES = uuid.UUID("6f0d3c1e-2f8f-4a53-9d4b-5b1f0f6a7c11")  # made-up principals are derived from this


def group_id(key: GroupKey) -> str:
    """The canonical resource id, whatever letter case the request's path had (A26)."""
    return f"/subscriptions/{key.subscription}/resourceGroups/{key.resource_group}/providers/{GROUP_TYPE}/{key.name}"


def show_group(group: Group, api_version: str, limits: Limits, *, instance_view: bool = True) -> Json:
    """A group as PUT, GET, PATCH and DELETE show it; without any instance view as lists do (A10)."""
    echoed = echo(GROUP, group.body)
    properties = _show_properties(group, echoed["properties"], api_version, limits, instance_view=instance_view)
    shown: Json = {"identity": _show_identity(group.key, echoed["identity"])} if "identity" in echoed else {}
    shown |= {"properties": properties, "id": group_id(group.key), "name": group.key.name, "type": GROUP_TYPE}
    return shown | {member: echoed[member] for member in ("location", "tags", "zones") if member in echoed}


def _show_properties(group: Group, sent: Json, api_version: str, limits: Limits, *, instance_view: bool) -> Json:
    newer = api_version >= STANDBY_SINCE

    def show_container(container: Json, *, is_init: bool) -> Json:
        view = _show_view(group.lives[container["name"]], limits) if instance_view else None
        return _show_container(container, view, newer=newer, is_init=is_init)

    properties = {
        "sku": sent.get("sku", "Standard"),
        "provisioningState": group.provisioning_state,
        "provisioningTimeoutInSeconds": 1800,
        "isCustomProvisioningTimeout": False,
        **({"isCreatedFromStandbyPool": False} if newer else {}),
        "containers": [show_container(container, is_init=False) for container in sent["containers"]],
        "initContainers": [show_container(container, is_init=True) for container in sent.get("initContainers", [])],
    }
    last = ("sku", "containers", "initContainers", "ipAddress", "confidentialComputeProperties", "priority")
    properties |= {member: value for member, value in sent.items() if member not in last}
    if "confidentialComputeProperties" in sent:
        policy = sent["confidentialComputeProperties"]
        if not policy and properties["sku"] == "Confidential":
            policy = {"ccePolicy": DEFAULT_POLICY}
        properties["confidentialComputeProperties"] = policy
    if "ipAddress" in sent and (address := _show_address(group, sent["ipAddress"])):
        properties["ipAddress"] = address
    if instance_view:
        properties["instanceView"] = {"events": _show_events(group.events, limits) or [], "state": group.state}
    if "priority" in sent:
        properties["priority"] = sent["priority"]
    return properties


def _show_container(container: Json, view: Json | None, *, newer: bool, is_init: bool) -> Json:
    sent = container["properties"]
    properties = {member: sent[member] for member in ("image", "command") if member in sent}
    if not is_init:
        properties["ports"] = sent.get("ports", [])
    properties["environmentVariables"] = sent.get("environmentVariables", [])
    if newer and not is_init:
        properties["configMap"] = {"keyValuePairs": {}}
    if view is not None:
        properties["instanceView"] = view
    properties |= {member: value for member, value in sent.items() if member not in properties}
    return {"name": container["name"], "properties": properties}


def _show_view(life: Life, limits: Limits) -> Json | None:
    if life.current is None:
        return None
    view: Json = {"restartCount": life.restarts, "currentState": _show_state(life.current)}
    if life.previous is not None:
        view["previousState"] = _show_state(life.previous)
    events = _show_events(life.events, limits)
    return view if events is None else view | {"events": events}


def _show_state(view: StateView) -> Json:
    shown: Json = {"state": view.state}
    if view.started_at is not None:
        shown["startTime"] = short_time(view.started_at)
    if view.exit_code is not None:
        shown["exitCode"] = view.exit_code
    if view.finished_at is not None:
        shown["finishTime"] = exact_time(view.finished_at) if view.exact else short_time(view.finished_at)
    return shown | {"detailStatus": view.detail}


def _show_events(events: tuple[PlatformEvent, ...], limits: Limits) -> list[Json] | None:
    """None where the region shows no events at all (recorded for some; `limits.events`)."""
    if not limits.events:
        return None
    return [
        {
            "count": event.count,
            "firstTimestamp": whole_second(event.first_at),
            "lastTimestamp": whole_second(event.last_at),
            "name": event.name,
            "message": event.message,
            "type": event.kind,
        }
        for event in events
    ]


def _show_address(group: Group, sent: Json) -> Json | None:
    """None for a private address that is not there yet: then the whole object is absent (aci-facts §2.2)."""
    address = group.address
    if sent["type"] == "Private" and address is None:
        return None
    shown = {member: value for member, value in sent.items() if member != "ip"}  # nobody can choose the address
    if address is not None:
        shown["ip"] = address
    if "dnsNameLabel" in sent:
        shown["fqdn"] = f"{sent['dnsNameLabel']}.{normalised_location(group.plan.location)}.azurecontainer.io"
    return shown


def _show_identity(key: GroupKey, sent: Json) -> Json:
    kinds = [kind.strip() for kind in sent.get("type", "None").split(",")]
    shown: Json = {}
    if "SystemAssigned" in kinds:
        shown["principalId"] = str(uuid.uuid5(IDENTITIES, group_id(key)))
    if kinds != ["None"]:
        shown["tenantId"] = str(IDENTITIES)
    shown["type"] = ", ".join(kinds)
    if assigned := sent.get("userAssignedIdentities"):
        shown["userAssignedIdentities"] = {
            name: {
                "principalId": str(uuid.uuid5(IDENTITIES, f"{name}/principal")),
                "clientId": str(uuid.uuid5(IDENTITIES, f"{name}/client")),
            }
            for name in assigned
        }
    return shown


def show_operation(operation: Operation, group: Group, limits: Limits) -> Json:
    """The asynchronous operation; its id is the group's (aci-facts §2.4, A5)."""
    events = [event for life in group.lives.values() for event in life.events]
    shown: Json = {
        "id": group_id(group.key),
        "status": operation.outcome,
        "startTime": exact_time(operation.started_at),
        "properties": {"events": _show_events(tuple(events), limits) or []},
    }
    return shown if operation.error is None else shown | {"error": operation.error}


def show_usage(usage: Usage, subscription: str, location: str) -> Json:
    """One row; the id's last part begins with a small letter (recorded, A25)."""
    place = f"/subscriptions/{subscription}/providers/Microsoft.ContainerInstance/locations/{location}/usages"
    name = usage.name if usage.name == "ContainerGroups" else usage.name[0].lower() + usage.name[1:]
    return {
        "id": f"{place}/{name}",
        "unit": "Count",
        "currentValue": int(usage.current) if usage.current == int(usage.current) else usage.current,
        "limit": int(usage.limit),
        "name": {"value": usage.name, "localizedValue": usage.title},
    }


def show_capabilities(location: str) -> list[Json]:
    """What a region offers, in the recorded shape."""
    rows = [("NotSpecified", "Public", "None", 256.0, 32.0, 0), ("NotSpecified", "Private", "None", 256.0, 32.0, 0)]
    rows.append(("Linux", "Public", "V100", 448.0, 24.0, 4))
    return [
        {
            "resourceType": "containerGroups",
            "osType": os_type,
            "location": normalised_location(location),
            "ipAddressType": address,
            "gpu": gpu,
            "capabilities": {"maxMemoryInGB": memory_gb, "maxCpu": cpu, "maxGpuCount": gpus},
        }
        for os_type, address, gpu, memory_gb, cpu, gpus in rows
    ]


def whole_second(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def exact_time(at: datetime) -> str:
    """Seven decimals, as operations and stops have."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond * 10:07d}Z"


def short_time(at: datetime) -> str:
    """Zero to three decimals, as container states have."""
    milliseconds = f".{at.microsecond // 1000:03d}".rstrip("0").rstrip(".")
    return at.strftime("%Y-%m-%dT%H:%M:%S") + milliseconds + "Z"
