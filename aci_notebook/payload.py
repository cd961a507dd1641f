"""A spec becomes the container group that is asked for: command, environment, secret-volume files, tags. Pure.

A cell's code is not the container's command; the runner is (`runner/`), shipped with the code and the inputs in a secret volume, whose
values never come back from the service (`aci-facts` §2.3). The state folder is an emptyDir: it survives a restart in place, so
the runner knows that the job has run. A run without a cell and without a command has no runner: the image's own command runs.

Sizes: ARM refuses bodies over 4 MB, and secret volumes travel as base64: `PAYLOAD_LIMIT_BYTES` raw is what fits.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from .errors import OptionError
from .spec import Registry, RunSpec, Volume

PAYLOAD_MOUNT = "/aci/in"
STATE_MOUNT = "/aci/state"
PAYLOAD_VOLUME, STATE_VOLUME = "aci-payload", "aci-state"
PAYLOAD_LIMIT_BYTES = 2_500_000
OBJECTS_LIMIT_BYTES = 1_000_000
DISPLAY_LIMIT_BYTES = 262_144
LINGER_S = 600.0
BURST_BYTES = 2_000_000
RATE_BYTES_S = 500_000
START_MARGIN_S = 120.0
RUN_TAG, EXPIRES_TAG, USER_TAG, HOST_TAG, NOTEBOOK_TAG, KERNEL_TAG = (
    f"aci-notebook-{word}" for word in ("run", "expires", "user", "host", "notebook", "kernel")
)
BODY = "{body}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asks: written into the group's tags, so that any kernel can tell whose it is."""

    user: str = ""
    host: str = ""
    notebook: str = ""
    kernel: str = ""


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """The container group to create: one container, in ACI's terms. Secret parts are kept out of the repr."""

    name: str
    container_name: str
    image: str
    cpu: float
    memory_gb: float
    location: str
    command: tuple[str, ...] = ()
    restart_policy: str = "Never"
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    secure_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    tags: Mapping[str, str] = field(default_factory=dict)
    spot: bool = False
    volumes: tuple[Volume, ...] = field(default=(), repr=False)
    registries: tuple[Registry, ...] = field(default=(), repr=False)
    identities: tuple[str, ...] = ()
    acr_identity: str | None = None
    subnet: str | None = None
    state_volume: str = STATE_VOLUME

    @property
    def payload_bytes(self) -> int:
        shipped = sum(item.size_bytes for volume in self.volumes for item in volume.files)
        return shipped + sum(len(content) for content in self.files.values())


def other_run(tags: Mapping[str, str], run_id: str) -> str:
    """The run that a group with these tags belongs to, where that is another one; else an empty text, also without our tag."""
    owner = tags.get(RUN_TAG, run_id)
    return "" if owner == run_id else owner


def group_name(spec: RunSpec, run_id: str) -> str:
    """The name asked for, or one that no other run has."""
    return spec.name or f"aci-{run_id}"


def plan(
    spec: RunSpec,
    run_id: str,
    *,
    now: datetime,
    location: str,
    origin: Origin,
    runner: Mapping[str, bytes],
    extra: Mapping[str, bytes] | None = None,
) -> GroupPlan:
    """The group for this spec. `runner` holds start.sh, runner.py and runner.sh; `extra` further files for the payload.

    Raises OptionError when code, inputs and runner together are too large for one request.
    """
    name = group_name(spec, run_id)
    files: dict[str, bytes] = {}
    command: tuple[str, ...] = ()
    if spec.has_runner:
        job = _job(spec, run_id, now)
        files = {**runner, **(extra or {}), "job.json": json.dumps(job).encode(), "job.env": _job_env(job)}
        if spec.code is not None:
            files["body"] = spec.code.encode()
        files.update({f"in-{place}": item.data for place, item in enumerate(spec.inputs)})
        command = ("/bin/sh", f"{PAYLOAD_MOUNT}/start.sh", STATE_MOUNT)
    group = GroupPlan(
        name=name,
        container_name=name,
        image=spec.image,
        cpu=spec.cpu,
        memory_gb=spec.memory_gb,
        location=location,
        command=command,
        env=dict(spec.env),
        secure_env={secret.name: secret.value for secret in spec.secrets},
        files=files,
        tags=_tags(spec, run_id, now, origin),
        spot=spec.spot,
        volumes=spec.volumes,
        registries=_registries(spec),
        identities=spec.identities,
        acr_identity=spec.acr_identity,
        subnet=spec.subnet,
        # a group that is updated keeps its emptyDirs, and with them the mark of the run before: this run needs a fresh one
        state_volume=f"{STATE_VOLUME}-{run_id}" if spec.if_exists == "update" else STATE_VOLUME,
    )
    _check_size(group, spec)
    return group


def _registries(spec: RunSpec) -> tuple[Registry, ...]:
    """The registries given; with an identity that pulls and none given, the image's own."""
    if spec.acr_identity and not spec.registries:
        return (Registry(spec.image.split("/", 1)[0]),)
    return spec.registries


def _job(spec: RunSpec, run_id: str, now: datetime) -> dict[str, Any]:
    language, argv = "python", []
    if spec.command:
        language, argv = "argv", list(spec.command)
    elif spec.lang != "python":
        language, argv = "argv", [*shlex.split(spec.lang), BODY]
    return {
        "run": run_id,
        "language": language,
        "argv": argv,
        "inputs": [{"name": item.name, "file": f"in-{place}", "format": item.format} for place, item in enumerate(spec.inputs)],
        "outputs": list(spec.outputs),
        "function": bool(spec.function),
        "paths": list(spec.output_paths),
        "requirements": requirements(spec),
        "timeout_s": spec.timeout_s,
        "start_by": round(now.timestamp() + spec.start_timeout_s + START_MARGIN_S),
        "retries": spec.retries,
        "linger_s": LINGER_S,
        "burst_bytes": BURST_BYTES,
        "rate_bytes_s": RATE_BYTES_S,
        "mask": [secret.name for secret in spec.secrets],
        "memory_gb": spec.memory_gb,
        "objects_limit_bytes": OBJECTS_LIMIT_BYTES,
        "display_limit_bytes": DISPLAY_LIMIT_BYTES,
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
    }


def requirements(spec: RunSpec) -> list[str]:
    """What pip installs first: what was asked for, then what the inputs and the cell's imports need and nobody named."""
    named = packages_of(spec.requirements)
    wanted = [*(need for item in spec.inputs for need in item.requires), *spec.implied]
    needed = [need for need in wanted if _package(need) not in named]
    return [*spec.requirements, *dict.fromkeys(needed)]


def packages_of(requirements: Iterable[str]) -> set[str]:
    """The packages that requirements of pip name, also those beside its options."""
    return {_package(part) for word in requirements for part in (word.split() if word.startswith("-") else [word])}


def _package(requirement: str) -> str:
    for place, char in enumerate(requirement):
        if not (char.isalnum() or char in "-_."):
            return requirement[:place].lower().replace("_", "-")
    return requirement.lower().replace("_", "-")


def _job_env(job: Mapping[str, Any]) -> bytes:
    """The same settings for the shell runner: KEY='value' lines, argv one variable an item."""
    lines = [f"JOB_{key.upper()}={shlex.quote(str(value))}" for key, value in job.items() if isinstance(value, str | int | float)]
    lines.extend(f"JOB_{key.upper()}={shlex.quote(' '.join(job[key]))}" for key in ("mask", "requirements", "outputs", "paths"))
    lines.append(f"JOB_ARGC={len(job['argv'])}")
    lines.extend(f"JOB_ARG_{place}={shlex.quote(item)}" for place, item in enumerate(job["argv"]))
    return ("\n".join(lines) + "\n").encode()


def _tags(spec: RunSpec, run_id: str, now: datetime, origin: Origin) -> dict[str, str]:
    expires = now + timedelta(seconds=spec.start_timeout_s + spec.timeout_s + LINGER_S + START_MARGIN_S)
    ours = {
        RUN_TAG: run_id,
        EXPIRES_TAG: expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        USER_TAG: origin.user,
        HOST_TAG: origin.host,
        NOTEBOOK_TAG: origin.notebook,
        KERNEL_TAG: origin.kernel,
    }
    return {**spec.tags, **{key: value[:256] for key, value in ours.items() if value}}


def _check_size(group: GroupPlan, spec: RunSpec) -> None:
    if group.payload_bytes <= PAYLOAD_LIMIT_BYTES:
        return
    largest = max(spec.inputs, key=lambda item: item.size_bytes, default=None)
    what = f"; {largest.name} alone has {largest.size_bytes / 1e6:.2f} MB" if largest else ""
    raise OptionError(
        "--input" if spec.inputs else "%%aci",
        ",".join(item.name for item in spec.inputs) or None,
        f"inputs, code and runner have {group.payload_bytes / 1e6:.2f} MB; one request carries {PAYLOAD_LIMIT_BYTES / 1e6:.1f} MB{what}",
        "ship less (a sample, fewer columns, a smaller dtype), or let the cell read the data from storage",
    )
