"""Images of a container engine: what is there, what a registry refuses, pulling with a group's credentials.

The service resolves an image before it accepts a group, so a PUT waits here for the first word about each image that
the engine does not have: a refusal (no such image, no permission) becomes InaccessibleImage in the PUT. A pull that
goes well that far, or that the network keeps waiting, goes on in the background; if it breaks later, the group shows
Failed and BackOff events (aci-facts §7).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from .. import errors
from ..plans import GroupPlan, Registry
from .engine_client import Engine, EngineFailed
from .images import digest_of
from .protocol import PullFailed

FIRST_WORD_S = 5.0
BEFORE_THE_REGISTRY_ANSWERED = ("Trying to pull", "Resolving", "Pulling repository")
REFUSED = (
    "unauthorized", "denied", "authentication required", "not found", "manifest unknown", "name unknown", "invalid reference",
    "repository name", "invalid username/password", "does not exist", "no such image", "403", "must be lower",
)  # fmt: skip
HUB = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")

Do = Callable[..., Awaitable[Any]]


@dataclass(eq=False)
class Pull:
    """One pull on its way: `resolved` when the registry has said that it has the image, or the pull is over."""

    resolved: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Images:
    """The engine's images. `do` runs a blocking call in one of the runtime's threads."""

    def __init__(self, engine: Engine, do: Do) -> None:
        self._engine = engine
        self._do = do
        self._digests: dict[str, str] = {}
        self._pulls: dict[tuple[str, tuple[str, str] | None], Pull] = {}

    def digest_of(self, image: str) -> str:
        """The image as events name it; by its real digest once it is here."""
        return self._digests.get(image) or digest_of(image)

    async def resolve(self, plan: GroupPlan) -> None:
        """Look at each image of the group; raises the service's refusal for what cannot be had."""
        images = dict.fromkeys(container.image for container in (*plan.containers, *plan.init_containers))
        await asyncio.gather(*(self._resolve_one(plan, image) for image in images))

    async def _resolve_one(self, plan: GroupPlan, image: str) -> None:
        try:
            if await self._look(plan, image):
                return
        except EngineFailed as error:
            raise errors.image_inaccessible(image, plan.name, f" ({error})") from error
        pull = self._begin(image, credentials_for(image, plan.registries))
        assert pull.task is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_WORD_S):
                await pull.resolved.wait()
        if pull.task.done() and not pull.task.cancelled() and isinstance(failed := pull.task.exception(), EngineFailed):
            if is_refusal(str(failed)) or image.startswith("localhost/"):  # a name for images made here: no registry has it
                raise errors.image_inaccessible(image, plan.name, f" ({failed})") from failed
        elif pull.task.done():
            await self._look(plan, image)

    async def _look(self, plan: GroupPlan, image: str) -> bool:
        """Whether the engine has the image; refuses one for another operating system."""
        try:
            found = await self._do(self._engine.call, "inspect_image", image)
        except EngineFailed as error:
            if error.status == 404:
                return False
            raise
        if found.get("Os") not in ("linux", "", None):
            raise errors.ServiceError(
                400,
                "ImageOsTypeNotMatchContainerGroup",
                f"The image '{image}' does not support the OS type 'Linux' specified for container group '{plan.name}'.",
            )
        repository = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
        digests = [text for text in found.get("RepoDigests") or () if text.partition("@")[0].endswith(repository)]
        self._digests[image] = (
            f"{_without_tag(image)}@{digests[0].partition('@')[2]}" if digests else f"{_without_tag(image)}@{found['Id']}"
        )
        return True

    async def pull(self, plan: GroupPlan, image: str) -> None:
        """Have the image here; raises `PullFailed`."""
        try:
            if await self._look(plan, image):
                return
            pull = self._begin(image, credentials_for(image, plan.registries))
            assert pull.task is not None
            await asyncio.shield(pull.task)
            await self._look(plan, image)
        except (EngineFailed, errors.ServiceError) as error:
            raise PullFailed(str(error)) from error

    def _begin(self, image: str, credentials: tuple[str, str] | None) -> Pull:
        """The pull that is on its way, or a new one; groups that want the same image wait for the same pull."""
        key = (image, credentials)
        pull = self._pulls.get(key)
        if pull is None:
            pull = self._pulls[key] = Pull()
            pull.task = asyncio.create_task(self._run(pull, image, credentials))
            pull.task.add_done_callback(lambda task: self._over(key, task))
        return pull

    def _over(self, key: tuple[str, tuple[str, str] | None], task: asyncio.Task[None]) -> None:
        self._pulls.pop(key).resolved.set()
        if not task.cancelled():
            task.exception()  # whoever waits for it sees it; nobody need

    async def _run(self, pull: Pull, image: str, credentials: tuple[str, str] | None) -> None:
        loop = asyncio.get_running_loop()

        def read() -> None:
            for word in self._engine.pull(image if _has_tag(image) else f"{image}:latest", credentials):
                if word and not word.startswith(BEFORE_THE_REGISTRY_ANSWERED):
                    loop.call_soon_threadsafe(pull.resolved.set)

        await self._do(read)


def is_refusal(message: str) -> bool:
    """Whether the registry (or the engine, for a name no registry could have) said no, rather than nothing."""
    lower = message.lower()
    return any(word in lower for word in REFUSED)


def credentials_for(image: str, registries: tuple[Registry, ...]) -> tuple[str, str] | None:
    """User and password for the image's registry, if the group gave any."""
    first = image.partition("/")[0]
    host = first if "/" in image and ("." in first or ":" in first or first == "localhost") else "docker.io"
    for registry in registries:
        server = registry.server.removeprefix("https://").removeprefix("http://").partition("/")[0]
        if server == host or (server in HUB and host in HUB):
            return registry.username, registry.password
    return None


def _has_tag(image: str) -> bool:
    return "@" in image or ":" in image.rpartition("/")[2]


def _without_tag(image: str) -> str:
    name = image.partition("@")[0]
    return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
