"""`--if-exists`: what becomes of a container group that has the name already. The default, `fail`, is the life cycle's own.

`update` keeps to the service's rules (`aci-facts` §4.2): image, environment, command and tags may change, the size, the operating
system, the restart policy and the network may not. `replace` deletes and verifies first. `attach` follows the run that is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from .errors import NameTaken, OptionError, ServiceError, Transient
from .payload import RUN_TAG
from .record import RunRecord, fold
from .removal import remove
from .runs import RealClock, Run
from .snapshot import ContainerSnapshot, GroupSnapshot

if TYPE_CHECKING:
    from .aci import AciBackend
    from .events import Event
    from .payload import GroupPlan
    from .session import Session
    from .spec import RunSpec
    from .stage import Attachment, Backend

LOOKS = 5
LET_GO_S = 60.0


def settle(session: Session, spec: RunSpec, backend: AciBackend, *, foreground: bool) -> Run | Backend:
    """Makes way for the run and returns the backend to start it with, or the Run of the group that exists.

    Raises what the service's rules forbid.
    """
    assert spec.name is not None
    place = session.place
    before = session.house.runs.holder((place.target, place.subscription, spec.resource_group or place.resource_group, spec.name))
    if before is not None and before.record.outcome is not None:
        before.wait_gone(LET_GO_S)  # its deletion is under way
    found = look(backend, spec.name)
    if found is None:
        return backend
    owner = session.house.store.load(found.tags.get(RUN_TAG, ""))
    match spec.if_exists:
        case "attach":
            return _attach(session, found, owner, foreground=foreground)
        case "replace":
            _delete(session, backend, found, owner)
        case "update":
            check_update(found, spec.cpu, spec.memory_gb, spec.location or session.place.location)
            return Renewed(backend, found, framed=spec.has_runner)
        case "fail":
            pass
    return backend


class Renewed:
    """A backend in which a group that was just updated has no past; satisfies `stage.Backend`.

    After the PUT the service goes on telling of the container before, its end and its log, until the new one has started. That one is
    known by its start time; the log is not read before.
    """

    def __init__(self, backend: Backend, before: GroupSnapshot, *, framed: bool) -> None:
        self._backend = backend
        self._before = {item.name: item.started_at for item in before.containers if item.started_at is not None}
        self._framed = framed
        self._run_id = ""
        self._ours = False

    def create(self, plan: GroupPlan) -> GroupSnapshot:
        self._run_id = plan.tags[RUN_TAG]
        return self._without_past(self._backend.create(plan))

    def get(self, name: str) -> GroupSnapshot | None:
        found = self._backend.get(name)
        return self._without_past(found) if found is not None else None

    def logs(self, name: str, container: str, tail: int | None) -> str | None:
        if self._ours:
            return self._backend.logs(name, container, tail)
        content = self._backend.logs(name, container, None)
        if content is not None and self._framed:
            self._ours = f"# start run={self._run_id} " in content
        return content if self._ours else None

    def attach(self, name: str, container: str) -> Attachment | None:
        return None  # it could be the old container's

    def delete(self, name: str, on_sent: Callable[[], None] | None = None) -> None:
        self._backend.delete(name, on_sent)

    def remaining_reads(self) -> int | None:
        return self._backend.remaining_reads()

    def _without_past(self, found: GroupSnapshot) -> GroupSnapshot:
        if self._ours:
            return found
        old = [item.name for item in found.containers if item.started_at is not None and item.started_at == self._before.get(item.name)]
        if not old:
            started = any(item.started_at is not None for item in found.containers)
            self._ours = started and not self._framed
            return found
        return replace(
            found,
            group_state="Pending",
            containers=tuple(
                ContainerSnapshot(item.name, item.image, cpu=item.cpu, memory_gb=item.memory_gb) if item.name in old else item
                for item in found.containers
            ),
        )


def look(backend: AciBackend, name: str) -> GroupSnapshot | None:
    """The group, asked for again after what may pass."""
    clock = RealClock()
    for attempt in range(LOOKS):
        try:
            return backend.get(name)
        except Transient as error:
            if attempt == LOOKS - 1:
                raise
            clock.sleep(min(error.retry_after_s or 0.5 * 2**attempt, 10))
    return None


def _attach(session: Session, found: GroupSnapshot, owner: RunRecord | None, *, foreground: bool) -> Run:
    if owner is None:
        whose = "a run that this machine's history does not know" if found.tags.get(RUN_TAG) else "no run of aci_notebook"
        raise NameTaken(
            f"container group {found.name} belongs to {whose}: there is nothing to attach to",
            hint="--if-exists replace deletes it first; %aci ps -a shows it",
            group_name=found.name,
        )
    return session.house.runs.get(owner.run_id) or session.adopt(owner, foreground=foreground)


def _delete(session: Session, backend: AciBackend, found: GroupSnapshot, owner: RunRecord | None) -> None:
    run = session.house.runs.get(owner.run_id) if owner else None
    if run is not None and run.cancel("replaced with --if-exists replace") and run.wait_gone(60) and run.record.group == "gone":
        return
    latest = owner

    def tell(event: Event) -> None:
        nonlocal latest
        if latest is not None:
            latest = fold(latest, event)
            session.house.store.save(latest)

    if not remove(backend, RealClock(), found.name, found.tags.get(RUN_TAG, ""), tell, sure=True):
        raise ServiceError(
            f"container group {found.name} could not be replaced: its deletion is not verified",
            hint="try again; %aci ps -a shows what is there",
        )


def check_update(found: GroupSnapshot, cpu: float | None, memory_gb: float | None, location: str | None) -> None:
    """Raises OptionError for a change that the service refuses on a group that exists."""
    container = found.container()
    size = (container.cpu, container.memory_gb) if container else (None, None)
    asked = (("--cpu", cpu, size[0]), ("--memory", memory_gb, size[1]))
    for option, wanted, has in asked:
        if wanted is not None and has is not None and abs(wanted - has) > 1e-6:
            raise OptionError(
                option, f"{wanted:g}", f"group {found.name} has {has:g}; a group's size cannot change in place (a rule of ACI)", REPLACE
            )
    if location and found.location and location != found.location.lower().replace(" ", ""):
        raise OptionError(
            "--location", location, f"group {found.name} is in {found.location}; a group cannot move (a rule of ACI)", REPLACE
        )


REPLACE = "use --if-exists replace: it deletes the group and creates it anew"
