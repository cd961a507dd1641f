"""`--dry-run`: the resource as YAML, sizes, warnings; nothing is sent. Secrets are masked.

The YAML is what `az container create --file` takes. Secret volumes show file names and sizes instead of their contents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .payload import PAYLOAD_LIMIT_BYTES, PAYLOAD_MOUNT, STATE_MOUNT, GroupPlan, requirements

if TYPE_CHECKING:
    from .session import Session
    from .spec import RunSpec

MASK = "******"


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
    if plan.files:
        container["volumeMounts"] = [
            {"name": "aci-payload", "mountPath": PAYLOAD_MOUNT, "readOnly": True},
            {"name": "aci-state", "mountPath": STATE_MOUNT},
        ]
        properties["volumes"] = [
            {"name": "aci-payload", "secret": {name: f"<{len(content)} bytes>" for name, content in plan.files.items()}},
            {"name": "aci-state", "emptyDir": {}},
        ]
    return {
        "apiVersion": "2023-05-01",
        "type": "Microsoft.ContainerInstance/containerGroups",
        "name": plan.name,
        "location": plan.location,
        "tags": dict(plan.tags),
        "properties": properties,
    }


def text(session: Session, spec: RunSpec) -> str:
    """The preview as people read it."""
    import yaml

    record, plan = session.prepare(spec)
    lines = [f"# dry run: nothing was sent. target: {record.target}, resource group: {record.resource_group}"]
    lines.append(yaml.safe_dump(resource(plan), sort_keys=False, allow_unicode=True).rstrip())
    lines.append(f"# payload: {plan.payload_bytes:,} of {PAYLOAD_LIMIT_BYTES:,} bytes")
    lines.extend(f"#   {item.name}: {item.type_name}, {item.size_bytes:,} bytes" for item in spec.inputs)
    needed = requirements(spec)
    if needed:
        lines.append(f"# installed first: {' '.join(needed)}")
    return "\n".join(lines)


def show(session: Session, spec: RunSpec) -> None:
    """Prints the preview."""
    print(text(session, spec))  # noqa: T201  # the person asked for it
