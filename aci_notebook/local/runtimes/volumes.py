"""Volumes as folders of this machine (process runtime), and mount paths replaced by them.

A volume lives in the group's own folder under its number, never under a name from the wire; an azureFile share is a
folder `<storage>/<account>/<share>` that must exist. Contents of secret volumes lie on disk with mode 0600 (0400 if
mounted read-only everywhere) while the group lives and are removed with it.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import assert_never

from ..plans import AzureFile, ContainerPlan, EmptyDir, GitRepo, GroupPlan, SecretFiles, VolumePlan
from ..store import private_folder
from ..validation import clone_name
from .protocol import MountFailed, Place

CLONE_LIMIT_S = 300.0
GIT_PROTOCOLS = ("file", "http", "https")


class Volumes:
    """Makes and finds the volumes of groups; `storage` is the folder that stands for all storage accounts."""

    def __init__(self, storage: Path) -> None:
        self._storage = storage

    def folder(self, place: Place, volume: VolumePlan) -> Path:
        """The folder that stands for a volume."""
        if isinstance(volume, AzureFile):
            return self._storage / volume.account / volume.share  # both checked by `validation`
        return place.folder / "volumes" / str(place.plan.volumes.index(volume))

    async def make(self, place: Place, *, keep: bool) -> None:
        """Make the group's volumes, unless `keep` and they are there; raises `MountFailed`."""
        ready = place.folder / "volumes" / "ready"
        if keep and ready.exists():
            return
        shutil.rmtree(place.folder / "volumes", ignore_errors=True)
        private_folder(place.folder / "volumes")
        for volume in place.plan.volumes:
            await self._make_one(place, volume)
        ready.touch(mode=0o600)

    async def _make_one(self, place: Place, volume: VolumePlan) -> None:
        folder = self.folder(place, volume)
        match volume:
            case EmptyDir():
                folder.mkdir()
            case SecretFiles(_, files):
                folder.mkdir()
                mode = 0o400 if _always_read_only(place.plan, volume.name) else 0o600
                for name, content in files.items():
                    with open(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                        file.write(content)
            case AzureFile(_, account, share):
                if not folder.is_dir():
                    raise MountFailed(
                        f"Failed to mount share '{share}' of storage account '{account}': there is no folder "
                        f"'{account}/{share}' below the storage folder of this local ACI."
                    )
            case GitRepo():
                await _clone(volume, folder)
            case _:
                assert_never(volume)

    async def empty(self, place: Place) -> None:
        """Empty the emptyDir volumes."""
        for volume in place.plan.volumes:
            if isinstance(volume, EmptyDir):
                folder = self.folder(place, volume)
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(exist_ok=True)

    def replacer(self, place: Place, container: ContainerPlan) -> PathReplacer:
        """Replaces the container's mount paths by the folders that stand for them."""
        volumes = {volume.name: volume for volume in place.plan.volumes}
        return PathReplacer({mount.path: str(self.folder(place, volumes[mount.volume])) for mount in container.mounts})


class PathReplacer:
    """Replaces paths wherever they stand at a path boundary in a text: `--in=/aci/in/x` but not `/my/aci/in`."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = folders
        longest_first = sorted(folders, key=len, reverse=True)
        paths = "|".join(re.escape(path) for path in longest_first)
        # a path begins where no path character stands before it, or right after "scheme://"
        self._pattern = re.compile(rf"(?:(?<=://)|(?<![\w.\-~/]))(?:{paths})(?![\w.\-])") if folders else None

    def __call__(self, text: str) -> str:
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: self._folders[match[0]], text)


def _always_read_only(plan: GroupPlan, volume: str) -> bool:
    mounts = [m for c in (*plan.containers, *plan.init_containers) for m in c.mounts if m.volume == volume]
    return bool(mounts) and all(mount.read_only for mount in mounts)


def git_source(repository: str) -> str | None:
    """What to clone from; None for what this runtime does not clone (ssh and anything that runs a helper)."""
    scheme, separator, _ = repository.partition("://")
    if separator:
        return repository if scheme.lower() in GIT_PROTOCOLS else None
    return repository if repository.startswith("/") else None


async def _clone(volume: GitRepo, folder: Path) -> None:
    """Clone into the volume: its root for directory `.`, else a folder named by `directory` or the repository."""
    name = volume.directory or clone_name(volume.repository)
    folder.mkdir()
    await asyncio.to_thread(_git, "clone", "--quiet", "--", volume.repository, str(folder / name))
    if volume.revision:
        # no option can hide in it: `validation` refuses a revision that begins with a hyphen
        await asyncio.to_thread(_git, "-C", str(folder / name), "checkout", "--quiet", volume.revision, "--")


def _git(*arguments: str) -> None:
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",  # nobody's configuration, nobody's credentials
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": ":".join(GIT_PROTOCOLS),
    }
    try:
        done = subprocess.run(  # noqa: S603 - arguments are fixed words or follow "--"
            ["git", "-c", "safe.directory=*", *arguments],  # noqa: S607 - the git on the path
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CLONE_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MountFailed("Failed to clone the git repository: it took too long.") from None
    if done.returncode:
        raise MountFailed(f"Failed to clone the git repository: {done.stderr.strip()[-500:]}")
