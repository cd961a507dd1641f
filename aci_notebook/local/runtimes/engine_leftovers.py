"""Removes what containers wrote into a group's volumes: an engine's root may own what this server's user cannot remove."""

from __future__ import annotations

import asyncio
import logging
import shutil
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ..store import private_folder
from .engine_client import GROUP_LABEL, STATE_LABEL, Engine, EngineFailed, Order
from .protocol import Place

LOG = logging.getLogger(__name__)
INSIDE = "/aci-leftovers"

Do = Callable[..., Awaitable[Any]]


class Leftovers:
    """Clears the folder of a group's volumes, by the engine's hands where this server's are not enough."""

    def __init__(self, engine: Engine, do: Do, state_dir: Path) -> None:
        self._engine = engine
        self._do = do
        self._state_dir = state_dir

    async def clear(self, place: Place) -> None:
        """Afterwards there is no such folder; what nobody could remove lies in the state folder, under `left-behind`."""
        folder = place.folder / "volumes"
        for remove in (self._by_ourselves, self._by_the_engine, self._by_ourselves):
            if not folder.exists():
                return
            await remove(place, folder)
        if folder.exists():
            aside = private_folder(self._state_dir / "left-behind") / uuid.uuid4().hex
            folder.rename(aside)
            LOG.warning("what containers of group %s wrote could not be removed, and is now %s", place.group_id, aside)

    async def _by_ourselves(self, place: Place, folder: Path) -> None:
        try:
            await asyncio.to_thread(shutil.rmtree, folder)
        except PermissionError:
            return

    async def _by_the_engine(self, place: Place, folder: Path) -> None:
        """As root, in a container of one of the group's own images: the only ones that are surely here."""
        for image in dict.fromkeys(container.image for container in (*place.plan.containers, *place.plan.init_containers)):
            order = Order(
                image=image,
                name=f"aci-leftovers-{uuid.uuid4().hex[:8]}",
                labels={STATE_LABEL: str(self._state_dir), GROUP_LABEL: place.group_id},
                command=("rm", "-rf", "--", *(f"{INSIDE}/{path.name}" for path in folder.iterdir())),
                binds=[(folder, INSIDE, False)],
                user="0",
            )
            try:
                if await self._do(self._run, order) == 0:
                    return
            except EngineFailed as error:  # no such program in that image: the next one may have it
                LOG.info("image %s cannot remove files: %s", image, error)

    def _run(self, order: Order) -> int:
        container_id = self._engine.create(order)
        try:
            self._engine.call("start", container_id)
            return int(self._engine.call("wait", container_id)["StatusCode"])
        finally:
            self._engine.remove(container_id)
