"""What a spec names beside itself: secrets by their place, shipped variables and files, volumes, registries.

All that parsing an option needs, so that `%load_ext` does not bring in the spec.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Secret:
    """A secure environment value and where it comes from (`env:NAME` or `file:PATH`). The value is never printed."""

    name: str
    source: str
    value: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Input:
    """A variable on its way into the container: its pickled bytes, and what they need there."""

    name: str
    data: bytes = field(repr=False)
    size_bytes: int = 0
    type_name: str = ""
    format: str = "pickle"
    requires: tuple[str, ...] = ()
    by_value: bool = False


@dataclass(frozen=True, slots=True)
class Shipped:
    """A small file that travels in a secret volume."""

    name: str
    size_bytes: int = 0
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Volume:
    """What is mounted at `path`: an Azure file share, a git repository, an empty folder, or files of this machine."""

    kind: Literal["azurefile", "git", "empty", "files"]
    path: str
    source: str = ""
    read_only: bool = False
    account: str = ""
    share: str = ""
    key: Secret = field(default_factory=lambda: Secret("", ""))
    repository: str = ""
    revision: str = ""
    files: tuple[Shipped, ...] = ()


@dataclass(frozen=True, slots=True)
class Registry:
    """A private registry; the password is a reference, or there is none and `--acr-identity` pulls."""

    server: str
    username: str = ""
    password: Secret = field(default_factory=lambda: Secret("", ""))
