"""Containers as child processes of this machine: real output, exit codes and signals; no image, no isolation.

* An image stands for an environment this machine has (`images`); any other is InaccessibleImage.
* A mount path is honoured without privileges: it is replaced by the volume's folder wherever it stands at a path
  boundary in a command argument or the value of an environment variable (`volumes`).
* A command sees PATH, HOME, TMPDIR, LANG, the group's own variables, and for Python images what pip needs to reach
  its index and this Python its own libraries; nothing else of the server's environment. It starts in a private, empty folder.
* CPU and memory are counted for quotas, not enforced. A public address is 127.0.0.1: ports are this machine's own.
* What it cannot honour it refuses in `admit`; nothing is accepted and ignored.

Each container has a guardian process (`supervise`, `attempt`), so it survives a hard kill of the server.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from .. import errors
from ..plans import AzureFile, ContainerPlan, GitRepo, GroupPlan, SecretFiles
from ..store import private_folder
from . import images
from .attempt import Attempt, Launch, Watch
from .protocol import Place, StartFailed
from .refusals import refuse_what_no_machine_has
from .volumes import Volumes, git_source

PASSED_FOR_PIP = re.compile(r"PIP_\w+|HTTPS?_PROXY|https?_proxy|NO_PROXY|no_proxy|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE")
CREDENTIALS_IN_URL = re.compile(r"://[^/\s]*@")


class ProcessRuntime:
    """Implements `protocol.Runtime`. `layers` is the folder for cached pip installs that Python images may write to."""

    name = "process"

    def __init__(self, *, cache: Path, layers: Path, storage: Path, watch: Watch) -> None:
        self._python = images.PythonEnvironment(cache)
        self._layers = layers
        self._volumes = Volumes(storage)
        self._watch = watch

    async def resolve(self, plan: GroupPlan) -> None:
        return

    def admit(self, plan: GroupPlan) -> None:
        refuse_what_no_machine_has(plan, self.name)
        containers = (*plan.init_containers, *plan.containers)
        self._admit_volumes(plan)
        for container in containers:
            if images.recognise(container.image) is None:
                hint = f" The '{self.name}' runtime of this local ACI can run: {images.RUNNABLE}."
                raise errors.image_inaccessible(container.image, plan.name, hint)

    def _admit_volumes(self, plan: GroupPlan) -> None:
        volumes = {volume.name: volume for volume in plan.volumes}
        for volume in plan.volumes:
            if isinstance(volume, AzureFile) and volume.read_only:
                raise errors.unsupported("A read-only Azure file share", self.name)
            if isinstance(volume, GitRepo) and (git_source(volume.repository) is None or not shutil.which("git")):
                raise errors.unsupported(f"The git repository of volume '{volume.name}'", self.name)
        for container in (*plan.containers, *plan.init_containers):
            for mount in container.mounts:
                if mount.read_only and not isinstance(volumes[mount.volume], SecretFiles):
                    raise errors.unsupported("A read-only mount of another than a secret volume", self.name)

    def digest_of(self, image: str) -> str:
        return images.digest_of(image)

    def address(self, place: Place) -> str:
        return "127.0.0.1"

    async def pull(self, plan: GroupPlan, image: str) -> None:
        known = images.recognise(image)
        if known is not None and known.is_python:
            await asyncio.to_thread(self._python.make)

    async def prepare(self, place: Place, *, keep_volumes: bool) -> None:
        await self._volumes.make(place, keep=keep_volumes)

    async def lose_empty_dirs(self, place: Place) -> None:
        await self._volumes.empty(place)

    def new_reference(self, place: Place, container: ContainerPlan) -> str:
        return f"{_number(place.plan, container)}-{uuid.uuid4().hex}"

    async def start(self, place: Place, container: ContainerPlan, reference: str) -> Attempt:
        known = images.recognise(container.image)
        if known is None:
            raise StartFailed(f"the image '{container.image}' is not on this machine")
        await self._remove_attempts(place, container)
        folder = private_folder(place.folder / "attempts" / reference)
        return await Attempt.begin(folder, self._launch(place, container, folder, known), self._watch)

    async def adopt(self, place: Place, container: ContainerPlan, reference: str) -> Attempt | None:
        folder = place.folder / "attempts" / reference
        known = images.recognise(container.image)
        if known is None or not folder.is_dir():
            return None
        return await Attempt.find(folder, self._launch(place, container, folder, known))

    async def discard(self, place: Place) -> None:
        attempts = place.folder / "attempts"
        for folder in attempts.iterdir() if attempts.exists() else ():
            await self._remove(folder)

    async def _remove_attempts(self, place: Place, container: ContainerPlan) -> None:
        """Earlier attempts of a container: their output is no longer served, and none may run on unnoticed."""
        for folder in (place.folder / "attempts").glob(f"{_number(place.plan, container)}-*"):
            await self._remove(folder)

    @staticmethod
    async def _remove(folder: Path) -> None:
        left = await Attempt.find(folder, Launch((), {}, folder))
        if left is not None:
            await left.kill(graceful=False)
        shutil.rmtree(folder, ignore_errors=True)

    def _launch(self, place: Place, container: ContainerPlan, folder: Path, known: images.Known) -> Launch:
        replace = self._volumes.replacer(place, container)
        home, scratch, temporary = (private_folder(folder / name) for name in ("home", "work", "tmp"))
        environment = {
            "PATH": self._python.layer(folder / "python") if known.is_python else images.SYSTEM_PATH,
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "LANG": "C.UTF-8",
        }
        if known.is_python:
            environment |= images.for_interpreter(os.environ) | for_pip(os.environ)
            environment["ACI_NOTEBOOK_LAYERS"] = str(private_folder(self._layers))
        environment |= {name: replace(value) for name, value in container.environment.items()}
        argv = tuple(replace(argument) for argument in container.command or known.command)
        return Launch(argv, environment, scratch)


def _number(plan: GroupPlan, container: ContainerPlan) -> int:
    return (*plan.init_containers, *plan.containers).index(container)


def for_pip(environment: Mapping[str, str]) -> dict[str, str]:
    """What pip needs of the server's environment to work on this machine; nothing that holds credentials."""
    return {name: value for name, value in environment.items() if PASSED_FOR_PIP.fullmatch(name) and not CREDENTIALS_IN_URL.search(value)}
