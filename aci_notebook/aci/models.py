"""Pure conversion: a plan to the SDK's model, the SDK's model to a snapshot."""

from __future__ import annotations

from base64 import b64encode

from azure.mgmt.containerinstance import models as sdk

from ..payload import PAYLOAD_MOUNT, PAYLOAD_VOLUME, STATE_MOUNT, GroupPlan
from ..snapshot import ContainerSnapshot, GroupSnapshot, PlatformEvent
from ..spec import Volume


def group_model(plan: GroupPlan) -> sdk.ContainerGroup:
    """The SDK's model of a plan."""
    env = [sdk.EnvironmentVariable(name=name, value=value) for name, value in plan.env.items()]
    env += [sdk.EnvironmentVariable(name=name, secure_value=value) for name, value in plan.secure_env.items()]
    volumes, mounts = [], []
    if plan.files:
        secret = {name: b64encode(content).decode("ascii") for name, content in plan.files.items()}
        volumes = [sdk.Volume(name=PAYLOAD_VOLUME, secret=secret), sdk.Volume(name=plan.state_volume, empty_dir={})]
        mounts = [
            sdk.VolumeMount(name=PAYLOAD_VOLUME, mount_path=PAYLOAD_MOUNT, read_only=True),
            sdk.VolumeMount(name=plan.state_volume, mount_path=STATE_MOUNT),
        ]
    for place, volume in enumerate(plan.volumes):
        name = f"volume-{place}"
        volumes.append(_volume(name, volume))
        mounts.append(sdk.VolumeMount(name=name, mount_path=volume.path, read_only=volume.read_only or None))
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
        image_registry_credentials=_credentials(plan) or None,
        identity=_identity(plan),
        subnet_ids=[sdk.ContainerGroupSubnetId(id=plan.subnet)] if plan.subnet else None,
    )


def _volume(name: str, volume: Volume) -> sdk.Volume:
    match volume.kind:
        case "azurefile":
            share = sdk.AzureFileVolume(
                share_name=volume.share,
                storage_account_name=volume.account,
                storage_account_key=volume.key.value,
                read_only=volume.read_only or None,
            )
            return sdk.Volume(name=name, azure_file=share)
        case "git":
            git = sdk.GitRepoVolume(repository=volume.repository, revision=volume.revision or None, directory=".")
            return sdk.Volume(name=name, git_repo=git)
        case "files":
            return sdk.Volume(name=name, secret={item.name: b64encode(item.data).decode("ascii") for item in volume.files})
        case "empty":
            return sdk.Volume(name=name, empty_dir={})


def _credentials(plan: GroupPlan) -> list[sdk.ImageRegistryCredential]:
    return [
        sdk.ImageRegistryCredential(server=item.server, username=item.username, password=item.password.value)
        if item.username
        else sdk.ImageRegistryCredential(server=item.server, identity=plan.acr_identity)
        for item in plan.registries
    ]


def _identity(plan: GroupPlan) -> sdk.ContainerGroupIdentity | None:
    """The group's identities; one that pulls the image must be among them."""
    users = [name for name in (*plan.identities, plan.acr_identity) if name and name != "system"]
    kinds = [*(["SystemAssigned"] if "system" in plan.identities else []), *(["UserAssigned"] if users else [])]
    if not kinds:
        return None
    members = {name: sdk.UserAssignedIdentities() for name in dict.fromkeys(users)}
    return sdk.ContainerGroupIdentity(type=", ".join(kinds), user_assigned_identities=members or None)


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
