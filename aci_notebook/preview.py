"""`--dry-run`: the resource as YAML, sizes, warnings; nothing is sent. Secrets are masked.

The YAML is what `az container create --file` takes. Files of secret volumes are masked too: a mask in base64, their sizes beside it.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .display.numbers import duration
from .payload import PAYLOAD_LIMIT_BYTES, PAYLOAD_MOUNT, PAYLOAD_VOLUME, STATE_MOUNT, GroupPlan, requirements
from .pricing import PriceBook
from .spec import Volume

if TYPE_CHECKING:
    from .session import Session
    from .spec import RunSpec

MASK = "******"
MASKED_FILE = base64.b64encode(MASK.encode()).decode()  # the service takes nothing else in a secret volume


def resource(plan: GroupPlan) -> dict[str, Any]:
    """The group as the REST API takes it, secrets masked."""
    container: dict[str, Any] = {
        "image": plan.image,
        "resources": {"requests": {"cpu": plan.cpu, "memoryInGB": plan.memory_gb}},
    }
    if plan.command:
        container["command"] = list(plan.command)
    env: list[dict[str, str]] = [{"name": name, "value": value} for name, value in plan.env.items()]
    env += [{"name": name, "secureValue": MASK} for name in plan.secure_env]
    if env:
        container["environmentVariables"] = env
    properties: dict[str, Any] = {
        "containers": [{"name": plan.container_name, "properties": container}],
        "osType": "Linux",
        "restartPolicy": plan.restart_policy,
    }
    if plan.spot:
        properties["priority"] = "Spot"
    mounts, volumes = _volumes(plan)
    if volumes:
        container["volumeMounts"], properties["volumes"] = mounts, volumes
    if plan.registries:
        properties["imageRegistryCredentials"] = [
            {"server": item.server, "username": item.username, "password": MASK}
            if item.username
            else {"server": item.server, "identity": plan.acr_identity}
            for item in plan.registries
        ]
    if plan.subnet:
        properties["subnetIds"] = [{"id": plan.subnet}]
    body: dict[str, Any] = {
        "apiVersion": "2023-05-01",
        "type": "Microsoft.ContainerInstance/containerGroups",
        "name": plan.name,
        "location": plan.location,
        "tags": dict(plan.tags),
        "properties": properties,
    }
    users: dict[str, Any] = {name: {} for name in (*plan.identities, plan.acr_identity) if name and name != "system"}
    kinds = [*(["SystemAssigned"] if "system" in plan.identities else []), *(["UserAssigned"] if users else [])]
    if kinds:
        body["identity"] = {"type": ", ".join(kinds), **({"userAssignedIdentities": users} if users else {})}
    return body


def _volumes(plan: GroupPlan) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    mounts: list[dict[str, Any]] = []
    volumes: list[dict[str, Any]] = []
    if plan.files:
        mounts.append({"name": PAYLOAD_VOLUME, "mountPath": PAYLOAD_MOUNT, "readOnly": True})
        mounts.append({"name": plan.state_volume, "mountPath": STATE_MOUNT})
        volumes.append({"name": PAYLOAD_VOLUME, "secret": dict.fromkeys(plan.files, MASKED_FILE)})
        volumes.append({"name": plan.state_volume, "emptyDir": {}})
    for place, volume in enumerate(plan.volumes):
        name = f"volume-{place}"
        mounts.append({"name": name, "mountPath": volume.path, **({"readOnly": True} if volume.read_only else {})})
        volumes.append({"name": name, **_source(volume)})
    return mounts, volumes


def _source(volume: Volume) -> dict[str, Any]:
    match volume.kind:
        case "azurefile":
            read_only = {"readOnly": True} if volume.read_only else {}
            return {"azureFile": {"shareName": volume.share, "storageAccountName": volume.account, "storageAccountKey": MASK, **read_only}}
        case "git":
            revision = {"revision": volume.revision} if volume.revision else {}
            return {"gitRepo": {"repository": volume.repository, "directory": ".", **revision}}
        case "files":
            return {"secret": dict.fromkeys((item.name for item in volume.files), MASKED_FILE)}
        case "empty":
            return {"emptyDir": {}}


def as_yaml(plan: GroupPlan) -> str:
    """The same as `az container create --file` takes it, with the size of each secret file beside it."""
    import yaml

    shown = str(yaml.safe_dump(resource(plan), sort_keys=False, allow_unicode=True))
    sizes = [len(content) for content in plan.files.values()]
    sizes += [item.size_bytes for volume in plan.volumes for item in volume.files]
    above, mark, volumes = shown.partition("\n  volumes:\n")
    for count in sizes:
        volumes = volumes.replace(f": {MASKED_FILE}\n", f": {MASKED_FILE}  # {count:,} bytes\n", 1)
    return (above + mark + volumes).rstrip()


def text(session: Session, spec: RunSpec) -> str:
    """The preview as people read it."""
    record, plan = session.prepare(spec)
    lines = [f"# dry run: nothing was sent. target: {record.target}, resource group: {record.resource_group}"]
    lines.append(as_yaml(plan))
    lines.append(f"# payload: {plan.payload_bytes:,} of {PAYLOAD_LIMIT_BYTES:,} bytes")
    lines.extend(f"#   {item.name}: {item.type_name}, {item.size_bytes:,} bytes" for item in spec.inputs)
    lines.extend(f"#   {item.name}: file, {item.size_bytes:,} bytes" for volume in spec.volumes for item in volume.files)
    needed = requirements(spec)
    if needed:
        lines.append(f"# installed first: {' '.join(needed)}")
    implied = [need for need in spec.implied if need in needed]
    if implied:
        lines.append(f"#   for the cell's imports, in this kernel's versions: {' '.join(implied)}")
    lines += [f"# {line}" for line in estimate_lines(session, spec, plan.location)]
    lines += [f"# warning: {warning}" for warning in warnings(spec)]
    return "\n".join(lines)


def estimate_lines(session: Session, spec: RunSpec, location: str) -> list[str]:
    """What the run would cost, and until when at most."""
    book = PriceBook(session.house.folder)
    estimate = book.estimate(spec, target="azure", location=location)
    limit = f"ends after {duration(spec.timeout_s)} at the latest"
    local = session.place.target == "local"
    here = "; the local ACI costs nothing" if local else ""
    if estimate.usd_per_hour is None or estimate.timeout_usd is None:
        if local and spec.max_cost_usd is not None:
            here += f", so --max-cost {spec.max_cost_usd:g} sets no limit; on Azure it is refused without a price"
        return [f"estimate: none, {estimate.reason} ({estimate.remedy}){_elsewhere(book, spec)}{here}; {limit}"]
    where = "on Azure" if local else f"in {estimate.location}"
    dated = f" (prices of {estimate.as_of})" if estimate.as_of else ""
    return [f"estimate: ${estimate.usd_per_hour:.4f} an hour {where}{dated}{here}; {limit}, with ${estimate.timeout_usd:.2f}"]


def _elsewhere(book: PriceBook, spec: RunSpec) -> str:
    """What the same costs in a region whose price is known, by its name: no guess, but an idea."""
    known = (book.estimate(replace(spec, location=""), target="azure", location=name) for name in book.locations())
    other = next((found for found in known if found.usd_per_hour is not None), None)
    return f"; in {other.location} the same costs ${other.usd_per_hour:.4f} an hour (prices of {other.as_of})" if other else ""


def warnings(spec: RunSpec) -> list[str]:
    """What the person should know before it is sent."""
    found = []
    if not spec.has_runner:
        found.append("the image's own command runs: --timeout is not kept inside the container, and its output is not masked")
    if spec.spot:
        found.append("a Spot container may be evicted at any time")
    hidden = [volume.path for volume in spec.volumes if volume.kind == "files"]
    if hidden:
        found.append(f"what the image has in {', '.join(hidden)} is hidden by the files that are shipped")
    if spec.retries:
        found.append("the program may run more than once")
    return found


def show(session: Session, spec: RunSpec) -> None:
    """Prints the preview."""
    print(text(session, spec))  # noqa: T201  # the person asked for it
