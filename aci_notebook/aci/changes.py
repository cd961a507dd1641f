"""A group changed in place: read, changed, sent again whole. Only where nothing is lost by it.

The service never gives secrets back (T16): a group with secure values, secret volumes, storage keys or registry passwords would lose them
in a read-change-write, so it is refused unless all of them are given anew. Tags alone go by PATCH and restart nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from azure.mgmt.containerinstance import models as sdk

from ..errors import OptionError, ServiceError
from ..snapshot import GroupSnapshot
from .backend import AciBackend
from .models import group_snapshot
from .translation import NotFound


@dataclass(frozen=True, slots=True)
class Change:
    """What changes in a group; None and empty leave it as it is."""

    image: str | None = None
    command: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secure_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def only_tags(self) -> bool:
        return not (self.image or self.command or self.env or self.secure_env)


def update(backend: AciBackend, name: str, change: Change) -> GroupSnapshot:
    """The group as the service answers after the change. Raises OptionError where secrets would be lost."""
    try:
        with backend.asking(name, change.image or "") as (place, client):
            group = client.container_groups.get(place.resource_group, name)
            tags = {**(group.tags or {}), **change.tags}
            if change.only_tags:
                return group_snapshot(client.container_groups.update(place.resource_group, name, sdk.Resource(tags=tags)))
            group.tags = tags
            _apply(group, change, name)
            poller = client.container_groups.begin_create_or_update(place.resource_group, name, group, polling=False)
            return group_snapshot(poller.result())
    except NotFound:
        raise ServiceError(f"there is no container group {name}", hint="%aci ps -a shows those that exist", group_name=name) from None


def _apply(group: sdk.ContainerGroup, change: Change, name: str) -> None:
    if len(group.containers) != 1:
        raise OptionError("%aci update", name, f"has {len(group.containers)} containers; update knows one", "change it with az")
    container = group.containers[0]
    lost = [item.name for item in container.environment_variables or [] if item.value is None and item.name not in change.secure_env]
    lost += [f"volume {item.name}" for item in group.volumes or [] if item.secret is not None or item.azure_file is not None]
    lost += [f"registry {item.server}" for item in group.image_registry_credentials or [] if item.username]
    if lost:
        raise OptionError(
            "%aci update",
            name,
            f"has secrets that the service does not give back, and an update would lose them: {', '.join(lost)}",
            "give secure variables anew with --secret; for the rest run it again with --if-exists replace",
        )
    if change.image:
        container.image = change.image
    if change.command:
        container.command = list(change.command)
    kept = [
        item
        for item in container.environment_variables or []
        if item.name not in change.env and item.name not in change.secure_env and item.value is not None
    ]
    given = [sdk.EnvironmentVariable(name=key, value=value) for key, value in change.env.items()]
    given += [sdk.EnvironmentVariable(name=key, secure_value=value) for key, value in change.secure_env.items()]
    container.environment_variables = [*kept, *given]
