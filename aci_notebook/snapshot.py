"""What one GET said about a container group. None always means: not said (`aci-facts` T1, T2, T30).

States stay the service's own words (T23: unknown future ones must not break anything); nothing here interprets them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class PlatformEvent:
    """One entry of an instance view's events. Repeats are folded by the service: `count` grows, `last_at` moves."""

    name: str
    message: str
    type: str = "Normal"
    count: int = 1
    first_at: datetime | None = None
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ContainerSnapshot:
    """One container: `state` is Waiting, Running, Terminated, or None while there is no instance view."""

    name: str
    image: str = ""
    state: str | None = None
    detail_status: str | None = None
    exit_code: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    restart_count: int = 0
    previous_state: str | None = None
    previous_exit_code: int | None = None
    previous_detail_status: str | None = None
    events: tuple[PlatformEvent, ...] = ()
    cpu: float | None = None
    memory_gb: float | None = None


@dataclass(frozen=True, slots=True)
class GroupSnapshot:
    """One container group, as one answer described it; `containers` holds at least one for a group of ours."""

    name: str
    location: str = ""
    provisioning_state: str | None = None
    group_state: str | None = None
    containers: tuple[ContainerSnapshot, ...] = ()
    events: tuple[PlatformEvent, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    ip: str | None = None
    fqdn: str | None = None
    restart_policy: str | None = None

    def container(self, name: str | None = None) -> ContainerSnapshot | None:
        """The container of that name, else the first one."""
        for item in self.containers:
            if name is None or item.name == name:
                return item
        return None

    def all_events(self) -> tuple[PlatformEvent, ...]:
        """Events of the group and of its containers, oldest first; array order is not causal (`aci-facts` §3.2)."""
        found = [*self.events, *(event for item in self.containers for event in item.events)]
        return tuple(sorted(found, key=lambda event: (event.last_at is None, event.last_at or event.first_at or _NEVER)))


_NEVER = datetime.max.replace(tzinfo=UTC)
