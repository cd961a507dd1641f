"""Scripted containers in controllable time: for tests, and for what no machine here can do.

A script (``POST /_aci/scripts``, or `SimulatedRuntime.add_script`) says what a container will do:

``{"group": "job", "container": "main", "runs": [[{"after_s": 0, "print": "hello\\n"}, {"after_s": 2, "exit": 3}]]}``

`group` and `container` may be left out (any). Each start takes the next list of `runs`, the last one for ever; a run
without an `exit` goes on until it is ended. Further members: `"inaccessible": true` (the PUT is refused),
`"pull_failures": n`, `"mount_failures": n`, `"start_fails": "reason"`, and in a step `"oom": true`. Without a script a
container exits with 0 at once. This runtime accepts everything the service does; nothing runs, and no container
outlives the server.
"""

from __future__ import annotations

import asyncio
import shutil
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import errors
from ..clock import Clock
from ..logwindow import Spool
from ..plans import ContainerPlan, GroupPlan
from ..store import private_folder
from .images import digest_of
from .protocol import Exit, MountFailed, Place, PullFailed, StartFailed
from .supervise import SpoolWriter

MEMBERS: dict[str, type] = {
    "group": str,
    "container": str,
    "image": str,
    "inaccessible": bool,
    "pull_failures": int,
    "mount_failures": int,
    "start_fails": str,
    "runs": list,
}
STEP: dict[str, tuple[type, ...]] = {"after_s": (int, float), "print": (str,), "exit": (int,), "oom": (bool,)}


@dataclass
class Script:
    """One script; the counters of failures go down as they happen."""

    group: str | None
    container: str | None
    image: str | None
    runs: list[list[dict[str, Any]]]
    inaccessible: bool
    pull_failures: int
    mount_failures: int
    start_fails: str
    started: int = 0

    def next_run(self) -> list[dict[str, Any]]:
        run = self.runs[min(self.started, len(self.runs) - 1)]
        self.started += 1
        return run


def check_script(order: dict[str, Any]) -> None:
    """Raise a 400 for a script that could not be played."""
    for name, value in order.items():
        if name not in MEMBERS:
            raise errors.invalid("bad value", f"A script has no member '{name[:40]}'.")
        if type(value) is not MEMBERS[name]:
            raise errors.invalid("bad value", f"The member '{name}' of a script is a {MEMBERS[name].__name__}.")
    for run in order.get("runs", []):
        if not isinstance(run, list) or not all(isinstance(step, dict) for step in run):
            raise errors.invalid("bad value", 'The runs of a script are lists of steps like {"after_s": 1, "print": "x"}.')
        for name, value in (member for step in run for member in step.items()):
            if name not in STEP or type(value) not in STEP[name]:
                raise errors.invalid("bad value", f"A step of a script cannot have '{name[:40]}': {str(value)[:40]!r}.")


class SimulatedRuntime:
    """Implements `protocol.Runtime`."""

    name = "simulated"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._scripts: list[Script] = []
        self._addresses = 0

    def add_script(self, order: dict[str, Any]) -> None:
        """Add a script from its JSON; the newest that fits a container counts. Raises a 400 for unknown members."""
        check_script(order)
        script = Script(
            order.get("group"),
            order.get("container"),
            order.get("image"),
            order.get("runs") or [[{"exit": 0}]],
            order.get("inaccessible", False),
            order.get("pull_failures", 0),
            order.get("mount_failures", 0),
            order.get("start_fails", ""),
        )
        self._scripts.insert(0, script)

    def _script(self, group: str, container: ContainerPlan) -> Script:
        for script in self._scripts:
            wanted = (script.group, script.container, script.image)
            had = (group, container.name, container.image)
            if all(want in (None, has) for want, has in zip(wanted, had, strict=True)):
                return script
        return Script(None, None, None, [[{"exit": 0}]], False, 0, 0, "")

    async def resolve(self, plan: GroupPlan) -> None:
        return

    def admit(self, plan: GroupPlan) -> None:
        for container in (*plan.init_containers, *plan.containers):
            if self._script(plan.name, container).inaccessible:
                raise errors.image_inaccessible(container.image, plan.name)

    def digest_of(self, image: str) -> str:
        return digest_of(image)

    def address(self, place: Place) -> str:
        self._addresses += 1
        number = self._addresses % 250 + 1
        return f"10.0.0.{number}" if "A private address" in place.plan.features else f"203.0.113.{number}"

    async def pull(self, plan: GroupPlan, image: str) -> None:
        for script in self._scripts:
            if script.image in (None, image) and script.pull_failures > 0:
                script.pull_failures -= 1
                raise PullFailed("the registry answered with an error")

    async def prepare(self, place: Place, *, keep_volumes: bool) -> None:
        for script in self._scripts:
            if script.group in (None, place.plan.name) and script.mount_failures > 0:
                script.mount_failures -= 1
                raise MountFailed("Failed to mount the volume: permission denied")

    async def lose_empty_dirs(self, place: Place) -> None:
        return

    def new_reference(self, place: Place, container: ContainerPlan) -> str:
        return uuid.uuid4().hex

    async def start(self, place: Place, container: ContainerPlan, reference: str) -> ScriptedContainer:
        script = self._script(place.plan.name, container)
        if script.start_fails:
            raise StartFailed(script.start_fails)
        folder = private_folder(place.folder / "attempts" / reference)
        return ScriptedContainer(folder, script.next_run(), self._clock)

    async def adopt(self, place: Place, container: ContainerPlan, reference: str) -> None:
        return None

    async def discard(self, place: Place) -> None:
        shutil.rmtree(place.folder / "attempts", ignore_errors=True)


class ScriptedContainer:
    """One run of a script; implements `protocol.Handle`."""

    def __init__(self, folder: Path, steps: list[dict[str, Any]], clock: Clock) -> None:
        self._clock = clock
        self._writer = SpoolWriter(folder)
        self._spool = Spool(folder)
        self._started_at = clock.now()
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._play = asyncio.create_task(self._run(steps))

    @property
    def started_at(self) -> datetime:
        return self._started_at

    @property
    def spool(self) -> Spool:
        return self._spool

    async def _run(self, steps: list[dict[str, Any]]) -> None:
        for step in steps:
            if step.get("after_s"):
                await self._clock.sleep(step["after_s"])
            if "print" in step:
                stamp = int(self._clock.now().timestamp() * 1_000_000) * 10
                self._writer.write(step["print"].encode(), stamp)
            if "exit" in step or step.get("oom"):
                self._end(step.get("exit", 137), oom_killed=step.get("oom", False))
                return

    def _end(self, code: int, *, oom_killed: bool = False) -> None:
        if not self._exit.done():
            self._writer.close()
            self._exit.set_result(Exit(code, self._clock.now(), oom_killed))

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    async def kill(self, *, graceful: bool) -> None:
        self._play.cancel()
        self._end(143 if graceful else 137)

    async def open_terminal(self, command: str, rows: int, cols: int) -> EchoTerminal:
        return EchoTerminal(f"{command} {rows}x{cols}\r\n".encode())


class EchoTerminal:
    """Says what it was opened with, then what is typed; implements `protocol.Terminal`."""

    def __init__(self, greeting: bytes) -> None:
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self._chunks.put_nowait(greeting)

    async def read(self) -> bytes:
        return await self._chunks.get()

    def write(self, data: bytes) -> None:
        self._chunks.put_nowait(data)

    async def close(self) -> None:
        self._chunks.put_nowait(b"")
