"""All container groups, and the operations on them; knows no HTTP (aci-facts §4, A11–A20).

Which operation is allowed in which condition is decided in `allowed`. The containers themselves are driven by
`deployment`; what a request may say is checked before (`validation`), what an answer shows is decided after (`arm`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from . import errors, inferred
from .allowed import Answer, ask, check_immutable, check_place
from .deployment import Deployment, Forced, World
from .group import Condition, Group, GroupKey, Operation
from .plans import NO_PLAN, ContainerPlan, GroupPlan, plan_group
from .quotas import check_quota
from .runtimes.protocol import Handle, Place
from .states import Phase
from .store import Counts
from .validation import validate

LOG = logging.getLogger(__name__)


class Groups:
    """The groups of this server, by identity."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._deployments: dict[GroupKey, Deployment] = {}
        self._operations: dict[str, tuple[Operation, Group]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self.counts = Counts()

    async def recover(self) -> None:
        """Take up the groups that an earlier server left in the state folder; end what has no readable record."""
        store = self._world.store
        on_disk = [(group_id, _load(group_id, record)) for group_id, record in store.load()]
        self.counts = store.load_counts(sum(found is not None for _, found in on_disk))
        for group_id, found in on_disk:
            if found is None:
                await self._world.runtime.discard(Place(group_id, store.folder(group_id), NO_PLAN))
                store.remove(group_id)
                continue
            group, is_deleting = found
            deployment = self._add(group)
            if is_deleting:
                await self._delete(deployment)
            else:
                await deployment.resume()

    async def close(self) -> None:
        """End what runs; the groups stay on disk and say how their containers ended."""
        await asyncio.gather(*(deployment.wind_up() for deployment in self._deployments.values()))

    def alive(self) -> int:
        """How many groups hold resources."""
        return sum(group.holds_resources for group in self.all())

    def all(self) -> list[Group]:
        """Every group, oldest first."""
        return [deployment.group for deployment in self._deployments.values()]

    def get(self, key: GroupKey) -> Group:
        """The group; raises ResourceNotFound."""
        return self._deployment(key).group

    def find(self, name: str) -> Group:
        """The only group of that name, whatever its subscription and resource group (control surface)."""
        for group in self.all():
            if group.key.name.lower() == name.lower():
                return group
        raise errors.group_not_found(name, "")

    def operation(self, operation_id: str) -> tuple[Operation, Group] | None:
        """An operation and its group; None if there is none, or its group is gone."""
        return self._operations.get(operation_id)

    async def look_up(self, key: GroupKey, body: dict[str, Any]) -> None:
        """What a PUT has to learn before it can be decided at once; raises what a PUT would, and a registry's refusals."""
        existing = self._deployments.get(key.folded())
        if existing is not None:
            check_place(existing.group, body)
        validate(key.name, body)
        await self._world.runtime.resolve(plan_group(key.name, body))

    async def put(self, key: GroupKey, body: dict[str, Any]) -> tuple[Group, bool]:
        """Create, or update in place; the group and whether it is new. `body` is canonical (see `surface.parse`)."""
        existing = self._deployments.get(key.folded())
        if existing is not None:
            check_place(existing.group, body)
        validate(key.name, body)
        plan = plan_group(key.name, body)
        self._world.runtime.admit(plan)
        if existing is not None:
            return await self._update(existing, body, plan), False
        check_quota(plan, key.subscription, self.all(), self._world.limits)
        deployment = self._add(Group(key, body, plan, Operation(self._world.clock.now())))
        deployment.save()
        self._count(created=1)
        deployment.begin(keep_volumes=False)
        return deployment.group, True

    async def _update(self, deployment: Deployment, body: dict[str, Any], plan: GroupPlan) -> Group:
        """Returns with the new body in force and the old containers ended; the new ones start in the background."""
        group = deployment.group
        answer = ask("update", group)
        if answer is Answer.GO:
            check_immutable(group, body)
        others = [other for other in self.all() if other is not group]
        check_quota(plan, group.key.subscription, others, self._world.limits)
        self._begin_operation(deployment, "Pending" if answer is Answer.ANEW else "Updating")
        await deployment.halt()
        group.replace_body(body)
        in_place = answer is Answer.GO
        await deployment.begin_again(keeps_view=in_place, keep_volumes=False, killing=in_place)
        return group

    async def delete(self, key: GroupKey) -> None:
        """Delete the group; returns when nothing of it is left. A second caller waits for the first one's work."""
        deployment = self._deployment(key)
        group = deployment.group
        if group.deletion is None:
            group.deletion = asyncio.create_task(self._delete(deployment))
            deployment.save()
        await asyncio.shield(group.deletion)

    async def _delete(self, deployment: Deployment) -> None:
        group = deployment.group
        await self._world.pace.pass_stage("deleting", group.gate)
        await deployment.retire()
        await self._world.runtime.discard(deployment.place)
        self._world.store.remove(group.id)
        del self._deployments[group.key.folded()]
        self._operations = {name: found for name, found in self._operations.items() if found[1] is not group}
        self._count(deleted=1)

    def _count(self, *, created: int = 0, deleted: int = 0) -> None:
        self.counts = Counts(self.counts.created + created, self.counts.deleted + deleted)
        self._world.store.save_counts(self.counts)

    async def stop(self, key: GroupKey) -> None:
        """Stop the group; nothing happens if it has ended or stopped already."""
        deployment = self._deployment(key)
        if ask("stop", deployment.group) is Answer.NOTHING:
            return
        deployment.group.busy = True
        try:
            await deployment.stop()
        finally:
            deployment.group.busy = False

    def start(self, key: GroupKey) -> Operation | None:
        """Start a stopped or ended group as a new deployment; None if it runs already."""
        deployment = self._deployment(key)
        group = deployment.group
        if ask("start", group) is Answer.NOTHING:
            return None
        check_quota(group.plan, key.subscription, [g for g in self.all() if g is not group], self._world.limits)
        group.stopped = False
        operation = self._begin_operation(deployment, "Pending")
        self._run(deployment.begin_again(keeps_view=False, keep_volumes=False, killing=False))
        return operation

    def restart(self, key: GroupKey) -> Operation:
        """Restart all containers in place."""
        deployment = self._deployment(key)
        ask("restart", deployment.group)
        operation = self._begin_operation(deployment, "Updating")
        self._run(deployment.begin_again(keeps_view=True, keep_volumes=True, killing=True))
        return operation

    def tag(self, key: GroupKey, changes: dict[str, Any]) -> Group:
        """Replace the tags (not merged, A13); a location or zone may be named, but not changed."""
        deployment = self._deployment(key)
        group = deployment.group
        ask("tag", group)
        check_place(group, changes)
        if "zones" in changes and changes["zones"] != group.body.get("zones", []):
            raise errors.invalid("immutable update", f"The zones of the container group '{group.key.name}' cannot be changed.")
        if "tags" in changes:
            group.body["tags"] = changes["tags"]
            deployment.save()
        return group

    def container(self, key: GroupKey, name: str) -> tuple[Group, ContainerPlan]:
        """A container of a group; raises a 404 if either is missing."""
        group = self.get(key)
        container = group.plan.container(name)
        if container is None:
            raise errors.container_not_found(name, group.key.name)
        return group, container

    def log_handle(self, key: GroupKey, name: str) -> tuple[Handle, bool]:
        """The handle whose output is the container's log now, and whether the container has ended (A14, A15)."""
        group, container = self.container(key, name)
        handle = self._deployments[group.key.folded()].handles.get(container.name)
        if handle is None:
            raise errors.log_not_available(name, group.key.name)
        return handle, group.lives[container.name].phase is not Phase.RUNNING

    def session_handle(self, key: GroupKey, name: str) -> Handle:
        """The handle to open an exec or attach session on."""
        group, container = self.container(key, name)
        ask("session", group)
        handle = self._deployments[group.key.folded()].handles.get(container.name)
        if handle is None:
            raise errors.not_ready(group.key.name)
        return handle

    async def happen(self, group: Group, event: str, container: str | None, *, lose_empty_dirs: bool) -> None:
        """Let the platform do something to a group: evict, platform_restart, platform_kill, oom (A28)."""
        deployment = self._deployments[group.key.folded()]
        if event == "evict":
            if group.condition in (Condition.ENDED, Condition.STOPPED):
                raise errors.stopped(group.key.name, group.key.resource_group)
            if group.operation.outcome != "Pending":  # else the operation that waits goes on waiting
                self._begin_operation(deployment, "Pending")
            await deployment.halt(graceful=False)
            if lose_empty_dirs:
                await self._world.runtime.lose_empty_dirs(deployment.place)
            await deployment.begin_again(keeps_view=True, keep_volumes=True, killing=True)
            return
        if lose_empty_dirs:
            await self._world.runtime.lose_empty_dirs(deployment.place)
        for plan in group.plan.containers:
            if container in (None, plan.name):
                await deployment.force(plan, _forced(event, plan.name))

    def _deployment(self, key: GroupKey) -> Deployment:
        deployment = self._deployments.get(key.folded())
        if deployment is None:
            raise errors.group_not_found(key.name, key.resource_group)
        return deployment

    def _add(self, group: Group) -> Deployment:
        deployment = Deployment(group, self._world)
        self._deployments[group.key.folded()] = deployment
        self._operations[group.operation.id] = (group.operation, group)
        return deployment

    def _begin_operation(self, deployment: Deployment, provisioning_state: str) -> Operation:
        """On disk before it is answered: a server killed now goes on with it (`Deployment.resume`)."""
        group = deployment.group
        group.operation = Operation(self._world.clock.now())
        group.provisioning_state = provisioning_state
        self._operations[group.operation.id] = (group.operation, group)
        deployment.save()
        return group.operation

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _load(group_id: str, record: dict[str, Any] | None) -> tuple[Group, bool] | None:
    """The group of a state file and whether its deletion had begun; None if the file tells of no group."""
    if record is None:
        return None
    try:
        return Group.load(group_id, record), bool(record["deleting"])
    except (KeyError, TypeError, ValueError, AttributeError):  # damaged, or of another version of this server
        LOG.exception("the record of group %s cannot be read: the group is ended", group_id)
        return None


def _forced(event: str, container: str) -> Forced:
    killing = f"Killing container {container} (platform initiated)."
    match event:
        case "platform_restart":
            return Forced(inferred.PLATFORM_KILL_EXIT, killing=killing, restart=True)
        case "platform_kill":
            return Forced(inferred.PLATFORM_KILL_EXIT, killing=killing)
        case "oom":
            return Forced(137, inferred.OOM_DETAIL)
    raise errors.invalid("bad value", f"'{event[:40]}' is none of evict, platform_restart, platform_kill, oom.")
