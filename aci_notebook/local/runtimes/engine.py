"""Containers in a Docker-compatible engine (Docker, Podman): real images, limits, volumes, networks (design §7).

* Each container has a guardian with a minder (`engine_minder`): output is stamped as it arrives, a hard kill of the
  server leaves the container running, and it ends by itself when no server comes back. A container that has ended is
  removed from the engine at once; how it ended and what it printed lie in the group's folder.
* Labels name the state folder and the group: what a killed server left half made is found and removed by them.
* Containers of a group share one network namespace, that of a tiny `pause` container; a group of one container
  without ports has its own. A group's address is the container's own; where this machine cannot reach that (rootless
  engines, virtual machines) ports are published on 127.0.0.1.
* A command takes the place of the image's ENTRYPOINT and CMD. Volumes are folders below the group's private folder;
  inside containers they have the modes they have in the service (anybody may read secrets and write to an emptyDir).
* A container may use what it requests, or its limits if it has any; init containers, what the group requests. Beyond
  its memory it is killed: exit code 137.
* What an engine cannot honour is refused in `admit`; nothing is accepted and ignored.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import errors, inferred
from ..plans import AzureFile, ContainerPlan, EmptyDir, GitRepo, GroupPlan, SecretFiles
from ..store import private_folder
from . import engine_minder, images
from .attempt import Attempt, Launch, Watch
from .engine_client import (
    CONTAINER_LABEL,
    GROUP_LABEL,
    STATE_LABEL,
    THREADS,
    Engine,
    EngineFailed,
    Order,
    find,
)
from .engine_container import EngineContainer
from .engine_images import Images
from .engine_leftovers import Leftovers
from .protocol import MountFailed, Place, StartFailed
from .refusals import refuse_what_no_machine_has
from .volumes import Volumes, git_source

PAUSE = "pause"
MINDER_GRACE_S = 60.0  # for the engine to stop a container and to say how it ended, beyond the container's own grace


@dataclass(eq=False)
class Net:
    """The shared network of one group."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    pause: EngineContainer | None = None
    live: set[EngineContainer] = field(default_factory=set)
    address: str = ""


class EngineRuntime:
    """Implements `protocol.Runtime`; raises `engine_client.NoEngine` if no engine answers."""

    name = "engine"

    def __init__(self, *, state_dir: Path, storage: Path, watch: Watch, environment: Mapping[str, str]) -> None:
        self._engine: Engine = find(environment)
        self._state_dir = state_dir
        self._watch = watch
        self._volumes = Volumes(storage)
        self._threads = ThreadPoolExecutor(THREADS, "engine")
        self._images = Images(self._engine, self._do)
        self._leftovers = Leftovers(self._engine, self._do, state_dir)
        self._nets: dict[str, Net] = {}
        self._sweep()

    async def _do(self, function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(*arguments, **more))

    def _sweep(self) -> None:
        """Remove containers of this state folder whose groups are gone."""
        for found in self._engine.labelled(state=str(self._state_dir)):
            if not (self._state_dir / "groups" / found["Labels"][GROUP_LABEL] / "group.json").exists():
                self._engine.remove(found["Id"])

    async def resolve(self, plan: GroupPlan) -> None:
        self._refuse(plan)
        await self._images.resolve(plan)

    def admit(self, plan: GroupPlan) -> None:
        self._refuse(plan)

    def _refuse(self, plan: GroupPlan) -> None:
        refuse_what_no_machine_has(plan, self.name)
        for volume in plan.volumes:
            if isinstance(volume, GitRepo) and (git_source(volume.repository) is None or not shutil.which("git")):
                raise errors.unsupported(f"The git repository of volume '{volume.name}'", self.name)

    def digest_of(self, image: str) -> str:
        return self._images.digest_of(image)

    def address(self, place: Place) -> str:
        return self._nets[place.group_id].address or "127.0.0.1"

    async def pull(self, plan: GroupPlan, image: str) -> None:
        await self._images.pull(plan, image)

    async def prepare(self, place: Place, *, keep_volumes: bool) -> None:
        if not keep_volumes:
            await self._leftovers.clear(place)
        await self._volumes.make(place, keep=keep_volumes)
        self._open_up(place)
        try:
            await self._network(place)
        except StartFailed as error:
            raise MountFailed(f"Failed to make the network: {error}") from error

    def _open_up(self, place: Place) -> None:
        """The modes inside containers; the folder above is this server's owner's alone."""
        for volume in place.plan.volumes:
            folder = self._volumes.folder(place, volume)
            match volume:
                case EmptyDir():
                    folder.chmod(0o777)
                case SecretFiles():
                    folder.chmod(0o755)
                    for path in folder.iterdir():
                        path.chmod(0o644)
                case GitRepo():
                    for top, _, files in os.walk(folder):
                        Path(top).chmod(0o777)
                        for name in files:
                            path = Path(top, name)
                            path.chmod(path.lstat().st_mode | 0o666) if not path.is_symlink() else None

    async def lose_empty_dirs(self, place: Place) -> None:
        await self._volumes.empty(place)
        self._open_up(place)

    def new_reference(self, place: Place, container: ContainerPlan) -> str:
        return f"{_number(place.plan, container)}-{uuid.uuid4().hex}"

    async def start(self, place: Place, container: ContainerPlan, reference: str) -> EngineContainer:
        await self._remove_attempts(place, container)
        network = await self._network(place)
        memory_gb = container.memory_limit_gb or container.memory_gb or place.plan.memory_gb
        order = Order(
            image=container.image,
            name=f"aci-{place.plan.name[:40]}-{container.name[:40]}-{uuid.uuid4().hex[:8]}",
            labels=self._labels(place, container.name),
            command=container.command,
            environment=container.environment,
            binds=self._binds(place, container),
            network=network,
            cpu=container.cpu_limit or container.cpu or place.plan.cpu,
            memory_gb=memory_gb,
        )
        handle = await self._begin(place, reference, order)
        self._net(place.group_id).live.add(handle)
        return handle

    async def adopt(self, place: Place, container: ContainerPlan, reference: str) -> EngineContainer | None:
        handle = await self._adopt(place, reference)
        if handle is not None:
            self._net(place.group_id).live.add(handle)
        return handle

    async def discard(self, place: Place) -> None:
        await self._drop_pause(place.group_id)
        attempts = place.folder / "attempts"
        for folder in attempts.iterdir() if attempts.exists() else ():
            await self._remove(folder)
        for found in await self._do(self._engine.labelled, group=place.group_id):
            await self._do(self._engine.remove, found["Id"])
        await self._leftovers.clear(place)
        self._nets.pop(place.group_id, None)

    def _net(self, group_id: str) -> Net:
        return self._nets.setdefault(group_id, Net())

    def _labels(self, place: Place, name: str) -> dict[str, str]:
        return {STATE_LABEL: str(self._state_dir), GROUP_LABEL: place.group_id, CONTAINER_LABEL: name}

    def _binds(self, place: Place, container: ContainerPlan) -> list[tuple[Path, str, bool]]:
        volumes = {volume.name: volume for volume in place.plan.volumes}
        binds = []
        for mount in container.mounts:
            volume = volumes[mount.volume]
            read_only = mount.read_only or isinstance(volume, SecretFiles) or (isinstance(volume, AzureFile) and volume.read_only)
            binds.append((self._volumes.folder(place, volume), mount.path, read_only))
        return binds

    async def _network(self, place: Place) -> str:
        """The network mode of the group's containers, whose pause container is made if it does not run."""
        plan = place.plan
        net = self._net(place.group_id)
        if len(plan.containers) + len(plan.init_containers) == 1 and not plan.has_address:
            return ""
        async with net.lock:
            if net.pause is None:
                for folder in sorted((place.folder / "attempts").glob(f"{PAUSE}-*")):
                    net.pause = await self._adopt(place, folder.name) or net.pause
            if net.pause is None or net.pause.ended:
                net.pause = await self._begin_pause(place)
                net.address = await self._address_of(net.pause) if self._engine.reaches_containers else ""
            return f"container:{net.pause.container_id}"

    async def _begin_pause(self, place: Place) -> EngineContainer:
        try:
            image = await self._do(self._engine.make_pause_image)
        except EngineFailed as error:
            raise StartFailed(str(error)) from error
        order = Order(
            image=image,
            name=f"aci-{place.plan.name[:40]}-{PAUSE}-{uuid.uuid4().hex[:8]}",
            labels=self._labels(place, ""),
            command=("/pause",),
            published=() if self._engine.reaches_containers else place.plan.ports,
        )
        return await self._begin(place, f"{PAUSE}-{uuid.uuid4().hex}", order)

    async def _address_of(self, handle: EngineContainer) -> str:
        told = (await self._do(self._engine.call, "inspect_container", handle.container_id))["NetworkSettings"]
        networks = (told.get("Networks") or {}).values()
        return str(told.get("IPAddress") or next((n["IPAddress"] for n in networks if n.get("IPAddress")), ""))

    async def _drop_pause(self, group_id: str) -> None:
        """The group's network goes when nothing of the group is left that uses it."""
        net = self._net(group_id)
        async with net.lock:
            net.live = {handle for handle in net.live if not handle.ended}
            if net.pause is not None and not net.live:
                pause, net.pause = net.pause, None
                await pause.kill(graceful=False)

    async def _begin(self, place: Place, reference: str, order: Order) -> EngineContainer:
        """Create a container, and start it through a minder; raises `StartFailed`."""
        folder = private_folder(place.folder / "attempts" / reference)
        try:
            container_id = await self._do(self._engine.create, order)
        except EngineFailed as error:
            raise StartFailed(str(error)) from error
        (folder / "container").write_text(container_id)
        os.mkfifo(folder / "begun", 0o600)
        attempt: Attempt | None = None
        try:
            with Begun(folder / "begun") as begun:
                attempt = await Attempt.begin(folder, self._launch(folder, container_id), self._watch)
                words = await begun.hear(attempt)
        except BaseException:
            if attempt is not None:
                await attempt.kill(graceful=False)
            await self._do(self._engine.remove, container_id)
            raise
        if "failed" in words:
            await attempt.kill(graceful=False)
            raise StartFailed(words["failed"])
        return self._handle(place, folder, attempt, words["started_at"])

    def _handle(self, place: Place, folder: Path, attempt: Attempt, started_at: str) -> EngineContainer:
        group_id = place.group_id
        return EngineContainer(self._engine, self._do, folder, attempt, started_at, lambda: self._drop_pause(group_id))

    def _launch(self, folder: Path, container_id: str) -> Launch:
        program = (sys.executable, "-I", "-S", engine_minder.__file__, str(folder))
        rest = (self._engine.address, self._engine.certs, container_id, f"{inferred.STOP_GRACE_S:g}")
        return Launch((*program, *rest), images.for_interpreter(os.environ), folder, grace_s=MINDER_GRACE_S)

    async def _adopt(self, place: Place, reference: str) -> EngineContainer | None:
        folder = place.folder / "attempts" / reference
        if not (folder / "container").exists():
            if folder.exists():  # left by another runtime on this folder
                await self._remove(folder)
            return None
        attempt = await Attempt.find(folder, self._launch(folder, (folder / "container").read_text()))
        return None if attempt is None else self._handle(place, folder, attempt, "")

    async def _remove_attempts(self, place: Place, container: ContainerPlan) -> None:
        """Earlier attempts of a container: their output is no longer served, and none may run on unnoticed."""
        for folder in (place.folder / "attempts").glob(f"{_number(place.plan, container)}-*"):
            await self._remove(folder)
        for found in await self._do(self._engine.labelled, group=place.group_id, container=container.name):
            await self._do(self._engine.remove, found["Id"])

    async def _remove(self, folder: Path) -> None:
        container = folder / "container"
        if container.exists():
            await self._do(self._engine.remove, container.read_text())
        left = await Attempt.find(folder, Launch((), {}, folder))
        if left is not None:
            await left.kill(graceful=False)
        shutil.rmtree(folder, ignore_errors=True)


class Begun:
    """The FIFO through which a minder says that its container runs, or why not."""

    def __init__(self, path: Path) -> None:
        self._fifo = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._words: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def __enter__(self) -> Begun:
        asyncio.get_running_loop().add_reader(self._fifo, self._on_words)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._fifo)
        os.close(self._fifo)

    def _on_words(self) -> None:
        words = os.read(self._fifo, 8192)
        if words and not self._words.done():
            self._words.set_result(words)

    async def hear(self, attempt: Attempt) -> dict[str, str]:
        """The minder's words; its silent death is a failure."""
        died: asyncio.Future[Any] = asyncio.ensure_future(attempt.wait())
        await asyncio.wait([died, self._words], return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        if not self._words.done():
            self._on_words()
        if not self._words.done():
            return {"failed": "the process beside the container did not come up"}
        words: dict[str, str] = json.loads(self._words.result())
        return words


def _number(plan: GroupPlan, container: ContainerPlan) -> int:
    return (*plan.init_containers, *plan.containers).index(container)
