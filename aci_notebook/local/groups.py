"""All container groups, and the operations on them; knows no HTTP (aci-facts §4, A11–A20).

Which operation is allowed in which condition is one table, `VERBS`. The containers themselves are driven by
`deployment`; what a request may say is checked before (`validation`), what an answer shows is decided after (`arm`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from enum import Enum
from typing import Any

from . import errors, inferred
from .deployment import Deployment, Forced, World
from .group import Condition, Group, GroupKey, Operation
from .plans import ContainerPlan, GroupPlan, plan_group
from .quotas import check_quota
from .runtimes.protocol import Handle
from .states import Phase
from .validation import normalised_location, validate


class Answer(Enum):
    """What an operation does in a condition."""

    GO = "go"
    NOTHING = "nothing to do, and no error"
    TRANSITIONING = "ContainerGroupTransitioning"
    STOPPED = "ContainerGroupStopped"
    NOT_READY = "ContainerGroupDeploymentNotReady"
    ANEW = "deploys as new"


VERBS: dict[tuple[str, Condition], Answer] = {
    ("stop", Condition.TRANSITIONING): Answer.TRANSITIONING,
    ("stop", Condition.LIVE): Answer.GO,
    ("stop", Condition.ENDED): Answer.NOTHING,
    ("stop", Condition.STOPPED): Answer.NOTHING,
    ("start", Condition.TRANSITIONING): Answer.TRANSITIONING,
    ("start", Condition.LIVE): Answer.NOTHING,
    ("start", Condition.ENDED): Answer.GO,
    ("start", Condition.STOPPED): Answer.GO,
    ("restart", Condition.TRANSITIONING): Answer.TRANSITIONING,
    ("restart", Condition.LIVE): Answer.GO,
    ("restart", Condition.ENDED): Answer.STOPPED,
    ("restart", Condition.STOPPED): Answer.STOPPED,
    ("update", Condition.TRANSITIONING): Answer.TRANSITIONING,
    ("update", Condition.LIVE): Answer.GO,
    ("update", Condition.ENDED): Answer.ANEW,
    ("update", Condition.STOPPED): Answer.ANEW,
    ("tag", Condition.TRANSITIONING): Answer.TRANSITIONING,
    ("tag", Condition.LIVE): Answer.GO,
    ("tag", Condition.ENDED): Answer.GO,
    ("tag", Condition.STOPPED): Answer.GO,
    ("session", Condition.TRANSITIONING): Answer.NOT_READY,  # exec and attach
    ("session", Condition.LIVE): Answer.GO,
    ("session", Condition.ENDED): Answer.GO,  # recorded: 200 although the container had ended with exit 2
    ("session", Condition.STOPPED): Answer.STOPPED,
}

IMMUTABLE = ("osType", "restartPolicy", "subnetIds")


class Groups:
    """The groups of this server, by identity."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._deployments: dict[GroupKey, Deployment] = {}
        self._operations: dict[str, tuple[Operation, GroupKey]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self.created = 0
        self.deleted = 0

    async def recover(self) -> None:
        """Take up the groups that an earlier server left in the state folder."""
        for group_id, record in self._world.store.load():
            group = Group.load(group_id, record)
            deployment = self._add(group)
            if record["deleting"]:
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
        operation, key = self._operations.get(operation_id, (None, None))
        if operation is None or key not in self._deployments:
            return None
        return operation, self._deployments[key].group

    async def look_up(self, key: GroupKey, body: dict[str, Any]) -> None:
        """What a PUT has to learn before it can be decided at once; raises what a PUT would, and a registry's refusals."""
        existing = self._deployments.get(key.folded())
        if existing is not None:
            self._check_place(existing.group, body)
        validate(key.name, body)
        await self._world.runtime.resolve(plan_group(key.name, body))

    def put(self, key: GroupKey, body: dict[str, Any]) -> tuple[Group, bool]:
        """Create, or update in place; the group and whether it is new. `body` is canonical (see `surface.parse`)."""
        existing = self._deployments.get(key.folded())
        if existing is not None:
            self._check_place(existing.group, body)
        validate(key.name, body)
        plan = plan_group(key.name, body)
        self._world.runtime.admit(plan)
        if existing is None:
            check_quota(plan, key.subscription, self.all(), self._world.limits)
            group = Group(key, body, plan, Operation(self._world.clock.now()))
            deployment = self._add(group)
            self.created += 1
            deployment.save()
            deployment.begin(keep_volumes=False)
            return group, True
        return self._update(existing, body, plan), False

    def _update(self, deployment: Deployment, body: dict[str, Any], plan: GroupPlan) -> Group:
        group = deployment.group
        answer = self._ask("update", group)
        if answer is Answer.GO:
            _check_immutable(group, body)
        others = [other for other in self.all() if other is not group]
        check_quota(plan, group.key.subscription, others, self._world.limits)
        self._begin_operation(group, "Pending" if answer is Answer.ANEW else "Updating")
        self._run(self._redeploy(deployment, body, in_place=answer is Answer.GO))
        return group

    async def _redeploy(self, deployment: Deployment, body: dict[str, Any], *, in_place: bool) -> None:
        await deployment.halt()
        deployment.group.replace_body(body)
        await deployment.begin_again(keeps_view=in_place, keep_volumes=False, killing=in_place)

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
        self.deleted += 1

    async def stop(self, key: GroupKey) -> None:
        """Stop the group; nothing happens if it has ended or stopped already."""
        deployment = self._deployment(key)
        if self._ask("stop", deployment.group) is Answer.NOTHING:
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
        if self._ask("start", group) is Answer.NOTHING:
            return None
        check_quota(group.plan, key.subscription, [g for g in self.all() if g is not group], self._world.limits)
        group.stopped = False
        operation = self._begin_operation(group, "Pending")
        self._run(deployment.begin_again(keeps_view=False, keep_volumes=False, killing=False))
        return operation

    def restart(self, key: GroupKey) -> Operation:
        """Restart all containers in place."""
        deployment = self._deployment(key)
        self._ask("restart", deployment.group)
        operation = self._begin_operation(deployment.group, "Updating")
        self._run(deployment.begin_again(keeps_view=True, keep_volumes=True, killing=True))
        return operation

    def tag(self, key: GroupKey, changes: dict[str, Any]) -> Group:
        """Replace the tags (not merged, A13)."""
        deployment = self._deployment(key)
        self._ask("tag", deployment.group)
        deployment.group.body.update(changes)
        deployment.save()
        return deployment.group

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
        self._ask("session", group)
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
            self._begin_operation(group, "Pending")
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
        key = group.key.folded()
        self._deployments[key] = deployment
        self._operations[group.operation.id] = (group.operation, key)
        return deployment

    def _begin_operation(self, group: Group, provisioning_state: str) -> Operation:
        group.operation = Operation(self._world.clock.now())
        group.provisioning_state = provisioning_state
        self._operations[group.operation.id] = (group.operation, group.key.folded())
        return group.operation

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    @staticmethod
    def _ask(verb: str, group: Group) -> Answer:
        """What `VERBS` says; raises the error it names."""
        answer = VERBS[verb, group.condition]
        if answer is Answer.TRANSITIONING:
            raise errors.transitioning(group.key.name)
        if answer is Answer.STOPPED:
            raise errors.stopped(group.key.name, group.key.resource_group)
        if answer is Answer.NOT_READY:
            raise errors.not_ready(group.key.name)
        return answer

    @staticmethod
    def _check_place(group: Group, body: dict[str, Any]) -> None:
        here, there = group.body["location"], body.get("location") or group.body["location"]
        if normalised_location(here) != normalised_location(there):
            raise errors.refusal(
                "InvalidResourceLocation",
                f"The resource '{group.key.name}' already exists in location '{here}' in resource group "
                f"'{group.key.resource_group}'. A resource with the same name cannot be created in location '{there}'. "
                "Please select a new resource name.",
            )


def _check_immutable(group: Group, body: dict[str, Any]) -> None:
    """Refuse to change in place what only a new group can have (aci-facts §4.2, A19)."""
    before, after = group.body["properties"], body["properties"]
    wanted = plan_group(group.key.name, body)
    same = all(before.get(member) == after.get(member) for member in IMMUTABLE)
    had, wants = ((plan.cpu, plan.memory_gb, plan.gpus) for plan in (group.plan, wanted))
    if not same or had != wants:
        raise errors.invalid(
            "immutable update",
            f"The updates on container group '{group.key.name}' are invalid. If you are going to update the os type, "
            "restart policy, network profile, CPU, memory or GPU resources for a container group, you must delete it "
            "first and then create a new one.",
        )


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
