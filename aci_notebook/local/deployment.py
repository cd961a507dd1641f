"""Drives the containers of one group: images, volumes, init containers, then one task for each container.

`Deployment` is the only writer of the lives of its group. Its tasks end when nothing is left to wait for: a restart
policy that never gives up keeps a task for ever, `halt` ends it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import inferred
from .clock import Clock
from .group import Group
from .limits import Limits
from .pace import Pace
from .plans import ContainerPlan
from .runtimes.protocol import Exit, Handle, MountFailed, Place, PullFailed, Runtime, StartFailed
from .states import (
    BackedOff,
    Ended,
    Happening,
    Life,
    Phase,
    PlatformEvent,
    PullBegan,
    PullBroke,
    PullEnded,
    Redeployed,
    Restarting,
    StartBroke,
    Started,
    Starting,
    StopRequested,
    exit_code,
    fold,
    has_run,
    started_since,
    step,
    wants_restart,
)
from .store import Store

LOG = logging.getLogger(__name__)
RETRY_S = 10.0  # between two attempts to pull an image or mount a volume


@dataclass
class World:
    """What all groups share."""

    runtime: Runtime
    clock: Clock
    pace: Pace
    store: Store
    limits: Limits


@dataclass(frozen=True)
class Forced:
    """What the platform does to a container instead of what the process itself would have ended with."""

    exit_code: int
    detail: str = ""
    killing: str = ""
    restart: bool = False


class Deployment:
    """The running side of a group."""

    def __init__(self, group: Group, world: World) -> None:
        self.group = group
        self.handles: dict[str, Handle] = {}
        self._world = world
        self._tasks: set[asyncio.Task[None]] = set()
        self._started: dict[str, asyncio.Future[bool]] = {}
        self._forced: dict[str, Forced] = {}
        self._closing = False
        self._retired = False
        self._deadline: asyncio.Task[None] | None = None

    @property
    def place(self) -> Place:
        return Place(self.group.id, self._world.store.folder(self.group.id), self.group.plan)

    def save(self) -> None:
        """Write the group's state file, unless the group is gone."""
        if not self._retired:
            self._world.store.save(self.group.id, self.group.dump())

    def begin(self, *, keep_volumes: bool) -> None:
        """Deploy in the background; the group's operation tells the outcome."""
        if self._closing:
            return
        self._spawn(self._deploy(keep_volumes=keep_volumes))
        self._deadline = self._spawn(self._give_up_in_time())

    async def resume(self) -> None:
        """Take up a group that an earlier server left: what runs is watched again, what was half done is done."""
        operation = self.group.operation
        for container in (*self.group.plan.init_containers, *self.group.plan.containers):
            life = self.group.lives[container.name]
            if life.attempt:
                handle = await self._world.runtime.adopt(self.place, container, life.attempt)
                if handle is not None:
                    self.handles[container.name] = handle
            life = await self._take_up_start(container)
            if operation.outcome == "Pending" and has_run(life) and not started_since(life, operation.started_at):
                if container.name in self.handles:  # the operation had not got so far as to end it
                    await self.handles[container.name].kill(graceful=True)
                self._step(container.name, Redeployed(self._now(), keeps_view=self.group.provisioning_state == "Updating"))
            elif not has_run(life):
                self._step(container.name, Redeployed(self._now(), keeps_view=False))
        if operation.outcome == "Pending":
            self.begin(keep_volumes=True)
        elif not self.group.stopped:
            for container in self.group.plan.containers:
                self._spawn(self._live(container))

    async def _take_up_start(self, container: ContainerPlan) -> Life:
        """A server killed right after it had started a process did not come to say so: what runs is not started a second time."""
        life = self.group.lives[container.name]
        handle = await self._world.runtime.adopt(self.place, container, life.starting) if life.starting else None
        if handle is not None:
            self.handles[container.name] = handle
            self._step(container.name, Started(handle.started_at, life.starting))
        return self.group.lives[container.name]

    async def halt(self, *, graceful: bool = True) -> None:
        """End all tasks and containers; return when nothing is left of them."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(handle.kill(graceful=graceful) for handle in self.handles.values()))
        self._forced.clear()

    async def wind_up(self) -> None:
        """End the containers because the server ends, let their tasks record how, and start nothing any more."""
        self._closing = True
        await asyncio.gather(*(handle.kill(graceful=True) for handle in self.handles.values()))
        await asyncio.sleep(0)
        await self.halt()

    async def retire(self) -> None:
        """End everything because the group is being deleted; nothing is started or written after this."""
        self._closing = self._retired = True
        await self.halt()

    async def stop(self) -> None:
        """The stop operation: end everything and say so in the containers' states."""
        await self.halt()
        for container in self.group.plan.containers:
            self._step(container.name, StopRequested(self._now()))
        self.group.stopped = True
        self.group.address = None
        self._note_billing()
        self.save()

    async def begin_again(self, *, keeps_view: bool, keep_volumes: bool, killing: bool) -> None:
        """Deploy anew (start, restart, update, eviction) with the group's present body."""
        await self.halt()
        names = {container.name for container in (*self.group.plan.init_containers, *self.group.plan.containers)}
        self.handles = {name: handle for name, handle in self.handles.items() if name in names and keeps_view}
        for name in names:
            text = f"Killing container {name} (platform initiated)." if killing else ""
            self._step(name, Redeployed(self._now(), keeps_view, text))
        self.begin(keep_volumes=keep_volumes)

    async def force(self, container: ContainerPlan, forced: Forced) -> None:
        """Let the platform end a container, and start it again if it is to be; an ended one can only be restarted."""
        life = self.group.lives[container.name]
        handle = self.handles.get(container.name)
        if life.phase is Phase.RUNNING and handle is not None:
            self._forced[container.name] = forced
            await handle.kill(graceful=False)
        elif life.phase is Phase.TERMINATED and forced.restart:
            self._spawn(self._live(container, again=True))

    def _now(self) -> datetime:
        return self._world.clock.now()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOG.error("group %s: the deployment broke", self.group.id, exc_info=error)
            self._finish_operation(failed=f"{type(error).__name__} in the local ACI")

    def _step(self, name: str, happening: Happening) -> None:
        self.group.lives[name] = step(self.group.lives[name], happening)
        self._note_billing()
        self.save()

    def _note_billing(self) -> None:
        """Billed from the first pull until the whole group has stopped (aci-facts §9, A33)."""
        if self.group.holds_resources:
            if self.group.billed_from is None or self.group.billed_until is not None:
                self.group.billed_from = self._now()
            self.group.billed_until = None
        elif self.group.billed_from is not None and self.group.billed_until is None:
            self.group.billed_until = self._now()

    async def _deploy(self, *, keep_volumes: bool) -> None:
        plan = self.group.plan
        containers = (*plan.init_containers, *plan.containers)
        await asyncio.gather(*(self._pull(container) for container in containers if not self._is_past_pull(container)))
        await self._mount(keep_volumes=keep_volumes)
        for container in plan.init_containers:
            if not await self._run_init(container):
                self._finish_operation(failed=f"The init container '{container.name}' failed.")
                return
        loop = asyncio.get_running_loop()
        self._started = {container.name: loop.create_future() for container in plan.containers}
        for container in plan.containers:
            self._spawn(self._live(container))
        all_started = all(await asyncio.gather(*self._started.values()))
        if plan.has_address:
            self.group.address = self._world.runtime.address(self.place)
        self._finish_operation(failed="" if all_started else "A container could not be started.")

    def _is_past_pull(self, container: ContainerPlan) -> bool:
        return self.group.lives[container.name].phase not in (Phase.ACCEPTED, Phase.PULLING, Phase.PULL_FAILED)

    async def _give_up_in_time(self) -> None:
        """After the provisioning timeout the operation fails; the attempts go on (aci-facts §2.4, A29)."""
        operation = self.group.operation
        await self._world.clock.sleep(self._world.limits.provisioning_timeout_s)
        if operation is self.group.operation:
            self._finish_operation(failed="The container group was not provisioned in time.")

    def _finish_operation(self, failed: str) -> None:
        operation = self.group.operation
        if operation.outcome != "Pending":
            return
        if self._deadline is not None and self._deadline is not asyncio.current_task():
            self._deadline.cancel()
        operation.outcome = self.group.provisioning_state = "Failed" if failed else "Succeeded"
        if failed:
            told = [event.message for life in self.group.lives.values() for event in life.events if event.kind != "Normal"]
            told += [event.message for event in self.group.events]
            operation.error = {"code": "ResourceOperationFailure", "message": ";".join((failed, *told))}
        self.save()

    async def _pull(self, container: ContainerPlan) -> None:
        world = self._world
        image = world.runtime.digest_of(container.image)
        while True:
            self._step(container.name, PullBegan(self._now(), image))
            await world.pace.pass_stage("pulling", self.group.gate)
            try:
                await world.runtime.pull(self.group.plan, container.image)
            except PullFailed as error:
                self._step(container.name, PullBroke(self._now(), image, str(error)))
                await world.clock.sleep(RETRY_S)
                continue
            self._step(container.name, PullEnded(self._now(), image))
            return

    async def _mount(self, *, keep_volumes: bool) -> None:
        while True:
            try:
                await self._world.runtime.prepare(self.place, keep_volumes=keep_volumes)
            except MountFailed as error:
                now = self._now()
                self.group.events = fold(self.group.events, PlatformEvent("FailedMount", str(error), "Normal", now, now))
                self.save()
                await self._world.clock.sleep(RETRY_S)
                continue
            return

    async def _run_init(self, container: ContainerPlan) -> bool:
        """Run an init container to its end; False if it failed for good."""
        life = self.group.lives[container.name]
        if life.phase is not Phase.TERMINATED:
            await self._live(container, restart_policy=self._init_policy())
            life = self.group.lives[container.name]
        return exit_code(life) == 0

    def _init_policy(self) -> str:
        return "Never" if self.group.plan.restart_policy == "Never" else "OnFailure"

    async def _live(self, container: ContainerPlan, *, restart_policy: str = "", again: bool = False) -> None:
        """Start the container unless it runs, wait for its end, and again for as long as the policy wants."""
        policy = restart_policy or self.group.plan.restart_policy
        quick_ends = 0
        restart = again
        while True:
            life = self.group.lives[container.name]
            if life.phase in (Phase.TERMINATED, Phase.BACKING_OFF):
                if not restart and life.phase is Phase.TERMINATED and not wants_restart(policy, exit_code(life)):
                    return
                await self._back_off(container.name, 0 if restart else quick_ends)
            ran_s, restart = await self._run_once(container)
            if self._closing:
                return
            quick_ends = 0 if ran_s > inferred.BACK_OFF_FORGOTTEN_S else quick_ends + 1

    async def _back_off(self, name: str, quick_ends: int) -> None:
        wait_s = inferred.BACK_OFF_S[min(max(0, quick_ends - 1), len(inferred.BACK_OFF_S) - 1)]
        if wait_s:
            self._step(name, BackedOff(self._now()))
            await self._world.clock.sleep(wait_s)
        self._step(name, Restarting(self._now()))

    async def _run_once(self, container: ContainerPlan) -> tuple[float, bool]:
        """Seconds it ran, and whether the platform wants it started again, whatever the policy says."""
        name = container.name
        world = self._world
        handle = self.handles.get(name)
        if self.group.lives[name].phase is not Phase.RUNNING:
            await world.pace.pass_stage("starting", self.group.gate)
            try:
                reference = world.runtime.new_reference(self.place, container)
                self._step(name, Starting(reference))
                handle = await world.runtime.start(self.place, container, reference)
            except StartFailed as error:
                self._step(name, StartBroke(self._now(), name, str(error), inferred.START_FAILED_EXIT))
                self._tell_started(name, well=False)
                return 0.0, False
            self.handles[name] = handle
            self._step(name, Started(handle.started_at, reference))
        self._tell_started(name, well=True)
        ended = await handle.wait() if handle else Exit(137, self._now())  # no trace left of it: killed with its host
        seen_at = self._now()
        await world.pace.pass_stage("ending", self.group.gate)
        finished_at = ended.at + (self._now() - seen_at)  # the recorded finishTime includes the lag (aci-facts §2.5)
        forced = self._forced.pop(name, None) or Forced(
            ended.code,
            inferred.OOM_DETAIL if ended.oom_killed else "",
            f"Killing container with id {(self.group.id + name.encode().hex() + '0' * 64)[:64]}.",
        )
        self._step(name, Ended(finished_at, forced.exit_code, forced.detail, forced.killing))
        current = self.group.lives[name].current
        started_at = current.started_at if current and current.started_at else finished_at
        return (finished_at - started_at).total_seconds(), forced.restart

    def _tell_started(self, name: str, *, well: bool) -> None:
        future = self._started.get(name)
        if future is not None and not future.done():
            future.set_result(well)
