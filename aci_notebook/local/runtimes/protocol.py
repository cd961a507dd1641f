"""What the groups ask of a runtime: the one seam between ACI's rules and whatever executes a container.

A runtime is told what to do and never decides: restart policies, back-off, states and quotas belong to the groups.
The order of calls for one group: `resolve` and `admit` (in the PUT, may refuse) → `pull` for each image → `prepare` (once
per deployment: volumes, network) → `start` for each init container, one after the other, then for all containers →
`discard`. A container restarted in place is `start`ed again after its `Handle.wait` returned; volumes stay.

After a hard kill of the server, `adopt` gets the references that `new_reference` gave before. Memory limits, where
a runtime enforces them, surface as exit code 137 with `oom_killed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ..logwindow import Spool
from ..plans import ContainerPlan, GroupPlan


class PullFailed(Exception):
    """An image could not be pulled now; the group shows Failed and BackOff events and tries again."""


class MountFailed(Exception):
    """A volume could not be mounted now; the group shows a FailedMount event and tries again."""


class StartFailed(Exception):
    """The command could not be started at all."""


@dataclass(frozen=True)
class Exit:
    """How a container's first process ended (128 + n for signal n)."""

    code: int
    at: datetime
    oom_killed: bool = False


@dataclass(frozen=True)
class Place:
    """Where a runtime may keep things for one group: a private folder with a generated name, and the group's plan."""

    group_id: str
    folder: Path
    plan: GroupPlan


class Terminal(Protocol):
    """An interactive process in a container, behind a real terminal."""

    async def read(self) -> bytes:
        """What the terminal printed next; empty when the process has ended."""

    def write(self, data: bytes) -> None:
        """Type `data`."""

    async def close(self) -> None:
        """End the process (all of its session) and give everything back. Idempotent."""


class Handle(Protocol):
    """One container that was started; a container started again has another handle."""

    @property
    def started_at(self) -> datetime:
        """When its first process started."""

    @property
    def spool(self) -> Spool:
        """Its output; readable also after the end, until `discard`."""

    async def wait(self) -> Exit:
        """Return as soon as it has ended; may be awaited again and by several."""

    async def kill(self, *, graceful: bool) -> None:
        """End it (SIGTERM and a grace first, if `graceful`) and return when nothing of it is left. Idempotent."""

    async def open_terminal(self, command: str, rows: int, cols: int) -> Terminal:
        """Run one program, without arguments, beside its first process (aci-facts §6)."""


class Runtime(Protocol):
    """Executes containers. Methods that refuse raise `errors.ServiceError`, the service's own refusal."""

    name: str

    async def resolve(self, plan: GroupPlan) -> None:
        """Ask elsewhere (a registry) what must be known before the group is accepted; refuses images it cannot get."""

    def admit(self, plan: GroupPlan) -> None:
        """Refuse what this runtime cannot honour, as far as this machine knows; nothing else happens here."""

    def digest_of(self, image: str) -> str:
        """The image as events name it: by digest."""

    def address(self, place: Place) -> str:
        """The address of a group with ports that was just deployed."""

    async def pull(self, plan: GroupPlan, image: str) -> None:
        """Get an image of the group ready, with the group's credentials; raises `PullFailed`."""

    async def prepare(self, place: Place, *, keep_volumes: bool) -> None:
        """Make the volumes (those of an earlier deployment are kept or replaced); raises `MountFailed`."""

    async def lose_empty_dirs(self, place: Place) -> None:
        """Empty the emptyDir volumes, as a relocation to another node does."""

    def new_reference(self, place: Place, container: ContainerPlan) -> str:
        """A name for the process that the next `start` of the container brings up: written down before it runs."""

    async def start(self, place: Place, container: ContainerPlan, reference: str) -> Handle:
        """Start a container under a new reference; raises `StartFailed`."""

    async def adopt(self, place: Place, container: ContainerPlan, reference: str) -> Handle | None:
        """The handle of a container that an earlier server started, running or ended; None if it is unknown."""

    async def discard(self, place: Place) -> None:
        """Remove everything of the group, running containers included. Idempotent."""
