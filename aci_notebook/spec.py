"""What a run is asked to be: `RunSpec`, frozen and complete. `fields.build` makes it from what a person gave."""

from __future__ import annotations

from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run as it was asked for: frozen, complete, checked. Made by `build()`.

    `requirements` were asked for, `implied` follow from the cell's imports; `function` names the Python function that the run calls.
    """

    image: str
    cpu: float = 1.0
    memory_gb: float = 1.5
    code: str | None = field(default=None, repr=False)
    command: tuple[str, ...] = ()
    lang: str = "python"
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[Secret, ...] = ()
    inputs: tuple[Input, ...] = ()
    outputs: tuple[str, ...] = ()
    output_paths: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    implied: tuple[str, ...] = ()
    function: str = ""
    volumes: tuple[Volume, ...] = ()
    registries: tuple[Registry, ...] = ()
    identities: tuple[str, ...] = ()
    acr_identity: str | None = None
    subnet: str | None = None
    name: str | None = None
    location: str | None = None
    resource_group: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    if_exists: Literal["fail", "update", "replace", "attach"] = "fail"
    max_cost_usd: float | None = None
    timeout_s: float = 86_400.0
    start_timeout_s: float = 600.0
    retries: int = 0
    spot: bool = False
    keep: Literal["never", "failed", "always"] = "never"
    on_interrupt: Literal["stop", "detach"] = "stop"

    @property
    def has_runner(self) -> bool:
        """Whether our runner is the container's command: always, unless the image's own command runs."""
        return self.code is not None or bool(self.command)
