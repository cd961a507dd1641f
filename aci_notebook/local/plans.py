"""A validated container group as the runtimes see it: frozen, typed, free of ARM's JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Mount:
    volume: str
    path: str
    read_only: bool


@dataclass(frozen=True)
class EmptyDir:
    name: str


@dataclass(frozen=True)
class SecretFiles:
    name: str
    files: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class AzureFile:
    name: str
    account: str
    share: str
    read_only: bool


@dataclass(frozen=True)
class GitRepo:
    name: str
    repository: str
    directory: str
    revision: str


VolumePlan = EmptyDir | SecretFiles | AzureFile | GitRepo


@dataclass(frozen=True)
class Registry:
    """Credentials for a registry."""

    server: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class ContainerPlan:
    """One container. `features` names what was asked for beyond command, environment and volumes."""

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    mounts: tuple[Mount, ...]
    ports: tuple[int, ...]
    cpu: float
    memory_gb: float
    cpu_limit: float | None
    memory_limit_gb: float | None
    gpus: int
    features: frozenset[str]
    is_init: bool = False


@dataclass(frozen=True)
class GroupPlan:
    """One container group. `features` as in `ContainerPlan`, for the group as a whole."""

    name: str
    location: str
    os_type: str
    sku: str
    restart_policy: str
    priority: str
    containers: tuple[ContainerPlan, ...]
    init_containers: tuple[ContainerPlan, ...]
    volumes: tuple[VolumePlan, ...]
    ports: tuple[int, ...]
    has_address: bool
    features: frozenset[str]
    registries: tuple[Registry, ...] = ()

    @property
    def cpu(self) -> float:
        return sum(container.cpu for container in self.containers)

    @property
    def memory_gb(self) -> float:
        return sum(container.memory_gb for container in self.containers)

    @property
    def gpus(self) -> int:
        return sum(container.gpus for container in self.containers)

    def container(self, name: str) -> ContainerPlan | None:
        return next((c for c in (*self.containers, *self.init_containers) if c.name == name), None)


NO_PLAN = GroupPlan("", "", "Linux", "Standard", "Never", "Regular", (), (), (), (), has_address=False, features=frozenset())
"""Of a group whose record cannot be read: only its folder is known."""

CONTAINER_FEATURES = {
    "livenessProbe": "A liveness probe",
    "readinessProbe": "A readiness probe",
    "securityContext": "A security context",
}
GROUP_FEATURES = {
    "subnetIds": "A virtual network subnet",
    "diagnostics": "Log Analytics diagnostics",
    "dnsConfig": "A DNS configuration",
    "encryptionProperties": "Encryption with a customer's key",
    "extensions": "A deployment extension",
    "confidentialComputeProperties": "A confidential compute policy",
}


def plan_group(name: str, body: dict[str, Any]) -> GroupPlan:
    """The plan of a canonical, validated body (see `surface.parse`, `validation.validate`)."""
    properties = body["properties"]
    address = properties.get("ipAddress", {})
    features = {text for member, text in GROUP_FEATURES.items() if properties.get(member)}
    if address.get("type") == "Private":
        features.add("A private address")
    if address.get("dnsNameLabel"):
        features.add("A DNS name label")
    if body.get("identity", {}).get("type", "None") != "None":
        features.add("A managed identity")
    if body.get("zones"):
        features.add("An availability zone")
    return GroupPlan(
        name=name,
        location=body["location"],
        os_type=properties["osType"],
        sku=properties.get("sku", "Standard"),
        restart_policy=properties.get("restartPolicy", "Always"),
        priority=properties.get("priority", "Regular"),
        containers=tuple(_plan_container(c, is_init=False) for c in properties["containers"]),
        init_containers=tuple(_plan_container(c, is_init=True) for c in properties.get("initContainers", [])),
        volumes=tuple(_plan_volume(volume) for volume in properties.get("volumes", [])),
        ports=tuple(port["port"] for port in address.get("ports", [])),
        has_address="ipAddress" in properties,
        features=frozenset(features),
        registries=tuple(
            Registry(given["server"], given.get("username", ""), given.get("password", ""))
            for given in properties.get("imageRegistryCredentials", [])
        ),
    )


def _plan_container(container: dict[str, Any], *, is_init: bool) -> ContainerPlan:
    properties = container["properties"]
    resources = properties.get("resources", {})
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    return ContainerPlan(
        name=container["name"],
        image=properties["image"],
        command=tuple(properties.get("command", ())),
        environment={
            variable["name"]: variable.get("value", variable.get("secureValue", ""))
            for variable in properties.get("environmentVariables", [])
        },
        mounts=tuple(
            Mount(mount["name"], mount["mountPath"].rstrip("/"), mount.get("readOnly", False))
            for mount in properties.get("volumeMounts", [])
        ),
        ports=tuple(port["port"] for port in properties.get("ports", [])),
        cpu=requests.get("cpu", 0.0),
        memory_gb=requests.get("memoryInGB", 0.0),
        cpu_limit=limits.get("cpu"),
        memory_limit_gb=limits.get("memoryInGB"),
        gpus=requests.get("gpu", {}).get("count", 0) or limits.get("gpu", {}).get("count", 0),
        features=frozenset(text for member, text in CONTAINER_FEATURES.items() if member in properties),
        is_init=is_init,
    )


def _plan_volume(volume: dict[str, Any]) -> VolumePlan:
    name = volume["name"]
    if "secret" in volume:
        return SecretFiles(name, {key: base64.b64decode(text) for key, text in volume["secret"].items()})
    if "azureFile" in volume:
        file = volume["azureFile"]
        return AzureFile(name, file["storageAccountName"], file["shareName"], file.get("readOnly", False))
    if "gitRepo" in volume:
        git = volume["gitRepo"]
        return GitRepo(name, git["repository"], git.get("directory", ""), git.get("revision", ""))
    return EmptyDir(name)
