"""Which images this machine can stand in for, and the bare Python environment behind `python` ones.

The Python environment is a virtual environment, made once with `python -m venv` on first use (that is the pull) and kept
below the image cache, under a file lock, so that several servers can share one cache. Each container gets a thin layer
of its own over it, as it would over an image.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .protocol import PullFailed

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PYTHON_TAG = re.compile(rf"(latest|slim|3|{re.escape(MINOR)}(\.\d+)?)(-[\w.-]+)?")
REFERENCE = re.compile(r"(?P<path>[a-z0-9][a-z0-9._\-/]*(:[0-9]+/[a-z0-9._\-/]+)?)(:(?P<tag>\w[\w.\-]{0,127}))?")
SHELLS = ("alpine", "bash", "busybox", "debian", "ubuntu")
DOCKER_HUB = ("", "library", "docker.io", "docker.io/library", "index.docker.io/library")
RUNNABLE = f"python, python:3, python:{MINOR} and its variants such as python:{MINOR}-slim; {', '.join(SHELLS)}"


@dataclass(frozen=True)
class Known:
    """An image this machine stands in for, and its default command."""

    is_python: bool
    command: tuple[str, ...]


def for_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    """What this Python may need to find its own libraries: one of a cluster's module system, say."""
    return {name: environment[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in environment}


def recognise(image: str) -> Known | None:
    """What `image` stands for here; None if nothing."""
    match = REFERENCE.fullmatch(image)
    if match is None:
        return None
    registry, _, repository = match["path"].rpartition("/")
    tag = match["tag"] or "latest"
    from_hub = registry in DOCKER_HUB
    is_python = repository == "python" and (from_hub or registry.startswith("mcr.microsoft.com"))
    if is_python and PYTHON_TAG.fullmatch(tag):
        return Known(is_python=True, command=("python3",))
    if repository in SHELLS and from_hub:
        return Known(is_python=False, command=("/bin/sh",))
    return None


def digest_of(image: str) -> str:
    """The reference with a digest instead of its tag, as events show it; here the digest names the reference only."""
    name, colon, tag = image.partition("@")[0].rpartition(":")
    name = name if colon and "/" not in tag else image
    return f"{name}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"


class PythonEnvironment:
    """The virtual environment that `python` images stand for."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / f"python-{MINOR}"

    def layer(self, folder: Path) -> str:
        """A container's own writable layer over the environment, made in `folder`; its search path.

        What a container installs goes there and ends with it, as in an image; no other container sees it.
        """
        if not folder.exists():
            site = folder / "lib" / f"python{MINOR}" / "site-packages"
            site.mkdir(parents=True)
            (site / "image.pth").write_text(f"{self._site_packages}\n")
            (folder / "bin").mkdir()
            for name in ("python", "python3", f"python{MINOR}"):
                (folder / "bin" / name).symlink_to(self._folder / "bin" / "python3")
            _write_pip(folder / "bin")
            shutil.copy(self._folder / "pyvenv.cfg", folder)
        return f"{folder / 'bin'}:{SYSTEM_PATH}"

    @property
    def _site_packages(self) -> Path:
        return self._folder / "lib" / f"python{MINOR}" / "site-packages"

    def make(self) -> None:
        """Make it unless it is there (some seconds the first time; call it in a thread); raises `PullFailed`."""
        ready = self._folder / "ready"
        if ready.exists():
            return
        self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._folder.with_name(f"{self._folder.name}.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if ready.exists():
                return
            shutil.rmtree(self._folder, ignore_errors=True)  # what a killed server left half made
            wheels = bundled_wheels()
            self._run_venv(*(["--without-pip"] if wheels else []))
            for wheel in wheels:
                self._unpack(wheel)
            ready.touch()

    def _run_venv(self, *options: str) -> None:
        made = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-I", "-m", "venv", *options, str(self._folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise PullFailed(f"python -m venv failed: {(made.stderr or made.stdout).strip()[-500:]}")

    def _unpack(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self._site_packages)


def _write_pip(folder: Path) -> None:
    """`pip` beside Python; by the shell, since a path in a `#!` line may not be long."""
    for name in ("pip", "pip3", f"pip{MINOR}"):
        script = folder / name
        script.write_text('#!/bin/sh\nexec "${0%/*}/python3" -m pip "$@"\n')
        script.chmod(0o755)


def bundled_wheels() -> list[Path]:
    """The wheels that this interpreter's `ensurepip` would install; empty where they are kept elsewhere.

    Unpacking them takes a tenth of the time that `ensurepip` takes to install them, which is most of a first run's wait.
    """
    spec = importlib.util.find_spec("ensurepip")
    if spec is None or spec.origin is None:
        return []
    wheels = sorted((Path(spec.origin).parent / "_bundled").glob("*-none-any.whl"))
    return wheels if any(wheel.name.startswith("pip-") for wheel in wheels) else []
