"""Pure conversion: a plan to the SDK's model, the SDK's model to a snapshot."""

from __future__ import annotations

from base64 import b64encode

from azure.mgmt.containerinstance import models as sdk

from ..payload import PAYLOAD_MOUNT, STATE_MOUNT, GroupPlan
from ..snapshot import ContainerSnapshot, GroupSnapshot, PlatformEvent

PAYLOAD_VOLUME, STATE_VOLUME = "aci-payload", "aci-state"


def group_model(plan: GroupPlan) -> sdk.ContainerGroup:
    """The SDK's model of a plan."""
    env = [sdk.EnvironmentVariable(name=name, value=value) for name, value in plan.env.items()]
    env += [sdk.EnvironmentVariable(name=name, secure_value=value) for name, value in plan.secure_env.items()]
    volumes, mounts = [], []
    if plan.files:
        secret = {name: b64encode(content).decode("ascii") for name, content in plan.files.items()}
        volumes = [sdk.Volume(name=PAYLOAD_VOLUME, secret=secret), sdk.Volume(name=STATE_VOLUME, empty_dir={})]
        mounts = [
            sdk.VolumeMount(name=PAYLOAD_VOLUME, mount_path=PAYLOAD_MOUNT, read_only=True),
            sdk.VolumeMount(name=STATE_VOLUME, mount_path=STATE_MOUNT),
        ]
    container = sdk.Container(
        name=plan.container_name,
        image=plan.image,
        command=list(plan.command) or None,
        resources=sdk.ResourceRequirements(requests=sdk.ResourceRequests(cpu=plan.cpu, memory_in_gb=plan.memory_gb)),
        environment_variables=env or None,
        volume_mounts=mounts or None,
    )
    return sdk.ContainerGroup(
        location=plan.location,
        tags=dict(plan.tags),
        containers=[container],
        os_type="Linux",
        restart_policy=plan.restart_policy,
        volumes=volumes or None,
        priority="Spot" if plan.spot else None,
    )


def group_snapshot(group: sdk.ContainerGroup) -> GroupSnapshot:
    """What one answer said; every missing part stays None (T1, T2)."""
    view = group.instance_view
    address = group.ip_address
    return GroupSnapshot(
        name=group.name or "",
        location=group.location or "",
        provisioning_state=group.provisioning_state,
        group_state=view.state if view else None,
        containers=tuple(_container_snapshot(item) for item in group.containers or ()),
        events=_events(view.events if view else None),
        tags=dict(group.tags or {}),
        ip=address.ip if address else None,
        fqdn=address.fqdn if address else None,
        restart_policy=group.restart_policy,
    )


def _container_snapshot(item: sdk.Container) -> ContainerSnapshot:
    view = item.instance_view
    now = view.current_state if view else None
    before = view.previous_state if view else None
    requests_ = item.resources.requests if item.resources else None
    return ContainerSnapshot(
        name=item.name,
        image=item.image,
        state=now.state if now else None,
        detail_status=now.detail_status if now else None,
        exit_code=now.exit_code if now else None,
        started_at=now.start_time if now else None,
        finished_at=now.finish_time if now else None,
        restart_count=(view.restart_count or 0) if view else 0,
        previous_state=before.state if before else None,
        previous_exit_code=before.exit_code if before else None,
        previous_detail_status=before.detail_status if before else None,
        events=_events(view.events if view else None),
        cpu=requests_.cpu if requests_ else None,
        memory_gb=requests_.memory_in_gb if requests_ else None,
    )


def _events(events: list[sdk.Event] | None) -> tuple[PlatformEvent, ...]:
    return tuple(
        PlatformEvent(
            name=item.name or "",
            message=item.message or "",
            type=item.type or "Normal",
            count=item.count or 1,
            first_at=item.first_timestamp,
            last_at=item.last_timestamp,
        )
        for item in events or ()
    )
