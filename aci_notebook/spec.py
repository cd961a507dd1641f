"""What a run is asked to be: `RunSpec`, frozen and complete. `fields.build` makes it from what a person gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .references import Input, Registry, Secret, Shipped, Volume

__all__ = ["Input", "Registry", "RunSpec", "Secret", "Shipped", "Volume"]


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
