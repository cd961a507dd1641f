"""What the service refuses before it starts anything (aci-facts §7, §8; A23).

Each rule raises the service's own error for one fault of a canonical body (`surface.parse`). The order is the
service's where it is known: the operating system, then names, then resources, then what spot allows.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from .errors import ServiceError, invalid, refusal
from .locations import check_location
from .platform_rules import check_platform

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
VOLUME_NAME = re.compile(r"(?!.*--)[a-z0-9][-a-z0-9]{3,61}[a-z0-9]")
VARIABLE_NAME = re.compile(r"(?!_)[A-Za-z0-9_]{1,63}(?<!_)")
DNS_LABEL = re.compile(r"[A-Za-z][-A-Za-z0-9]{3,61}[A-Za-z0-9]")
SECRET_FILE = re.compile(r"[-._A-Za-z0-9]{1,253}")
SHARE = re.compile(r"[a-z0-9](-?[a-z0-9]){2,62}")
ACCOUNT = re.compile(r"[a-z0-9]{3,24}")

MAX_CONTAINERS = 60
MAX_VOLUMES = 20
MAX_PORTS = 5
MIN_CPU, MIN_MEMORY_GB = 1.0, 1.0
MAX_AMOUNTS = {  # (vCPU, GB) of a group; aci-facts §8
    "Standard": (31.0, 240.0),
    "Dedicated": (31.0, 240.0),
    "Confidential": (31.0, 180.0),
    "Spot": (4.0, 16.0),
}
RESERVED_PORTS = (
    *(range(port, port + 1) for port in (22, 9999, 19000, 19080, 19100, 19390)),
    range(1025, 1028),
    range(3389, 3400),
    range(20000, 30001),
    range(49152, 65535),
)
Body = dict[str, Any]


def validate(name: str, body: Body) -> None:
    """Raise the service's error for the first rule that `body`, to be group `name`, breaks."""
    if not body.get("location"):
        raise ServiceError(400, "LocationRequired", "The location property is required for this definition.")
    check_location(body["location"])
    properties = body.get("properties") or {}
    if properties.get("osType", "").lower() not in ("windows", "linux"):
        raise refusal(
            "InvalidOsType",
            "The 'osType' for container group '<null>' is invalid. The value must be one of 'Windows,Linux'.",
        )
    properties["osType"] = properties["osType"].capitalize()
    if not NAME.fullmatch(name):
        raise _bad_name("container group", name, "bad name")
    _check_containers(properties)
    _check_volumes(properties)
    for container in properties["containers"]:
        _check_resources(name, container, properties["containers"])
    check_platform(body)
    _check_totals(name, properties)
    _check_address(properties)


def _bad_name(kind: str, name: str, situation: str) -> ServiceError:
    return invalid(
        situation,
        f"The name '{name[:80]}' of the {kind} is invalid: 1 to 63 lower-case letters, digits and hyphens are allowed, "
        "a hyphen neither first nor last.",
    )


def _check_unique(kind: str, names: Iterable[str], situation: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise invalid(situation, f"The name '{name}' of a {kind} is used more than once.")


def _check_containers(properties: Body) -> None:
    containers, inits = properties.get("containers") or [], properties.get("initContainers", [])
    if not containers:
        raise invalid("bad container", "A container group needs at least one container.")
    if len(containers) + len(inits) > MAX_CONTAINERS:
        raise invalid("bad container", f"A container group may have at most {MAX_CONTAINERS} containers.")
    if properties["osType"] == "Windows" and len(containers) + len(inits) > 1:
        raise invalid("bad container", "Container groups with several containers are supported for Linux only.")
    volumes = {volume.get("name") for volume in properties.get("volumes", [])}
    for container in (*containers, *inits):
        name = container.get("name", "")
        if not NAME.fullmatch(name):
            raise _bad_name("container", name, "bad container")
        fields = container.setdefault("properties", {})
        if not fields.get("image"):
            raise invalid("bad container", f"The container '{name}' has no image.")
        _check_variables(name, fields.get("environmentVariables", []))
        _check_mounts(name, fields.get("volumeMounts", []), volumes)
        for probe in (fields[member] for member in ("livenessProbe", "readinessProbe") if member in fields):
            if ("exec" in probe) == ("httpGet" in probe):
                raise invalid("bad container", f"A probe of the container '{name}' needs one of 'exec' and 'httpGet'.")
    _check_unique("container", (container["name"] for container in (*containers, *inits)), "bad container")


def _check_variables(container: str, variables: list[Body]) -> None:
    for variable in variables:
        name = variable.get("name", "")
        if not VARIABLE_NAME.fullmatch(name):
            raise invalid(
                "bad environment variable",
                f"The environment variable name '{name[:80]}' in container '{container}' is invalid: 1 to 63 letters, "
                "digits and underscores are allowed, an underscore neither first nor last.",
            )
        if "value" in variable and "secureValue" in variable:
            raise invalid(
                "bad environment variable",
                f"The environment variable '{name}' in container '{container}' has both a value and a secure value.",
            )
        if "\0" in str(variable.get("value", variable.get("secureValue", ""))):
            raise invalid("bad environment variable", f"The environment variable '{name}' holds a NUL character.")
    _check_unique("environment variable", (variable["name"] for variable in variables), "bad environment variable")


def _check_mounts(container: str, mounts: list[Body], volumes: set[Any]) -> None:
    for mount in mounts:
        path: str = mount.get("mountPath", "")
        volume = mount.get("name")
        if volume not in volumes:
            raise invalid("bad volume", f"The volume '{volume}' mounted in container '{container}' is not defined.")
        if not path.startswith("/") or ":" in path or "\0" in path or not path.strip("/") or ".." in path.split("/"):
            raise invalid("bad volume", f"The mount path '{path[:80]}' in container '{container}' is invalid.")
    paths = (mount["mountPath"].rstrip("/") for mount in mounts)
    _check_unique(f"mount path in container '{container}'", paths, "bad volume")


def _check_volumes(properties: Body) -> None:
    volumes = properties.get("volumes", [])
    if len(volumes) > MAX_VOLUMES:
        raise invalid("bad volume", f"A container group may have at most {MAX_VOLUMES} volumes.")
    for volume in volumes:
        name = volume.get("name", "")
        if not VOLUME_NAME.fullmatch(name):
            raise invalid(
                "bad volume",
                f"The volume name '{name[:80]}' is invalid: 5 to 63 lower-case letters, digits and single hyphens are "
                "allowed, a hyphen neither first nor last.",
            )
        if sum(kind in volume for kind in ("azureFile", "emptyDir", "secret", "gitRepo")) != 1:
            raise invalid("bad volume", f"The volume '{name}' must have exactly one kind.")
        if properties["osType"] == "Windows" and "secret" in volume:
            raise invalid("bad volume", f"The secret volume '{name}' is supported for Linux only.")
        _check_volume_source(name, volume)
    _check_unique("volume", (volume["name"] for volume in volumes), "bad volume")


def _check_volume_source(name: str, volume: Body) -> None:
    for file, text in volume.get("secret", {}).items():
        if not SECRET_FILE.fullmatch(file) or file in (".", ".."):
            raise invalid("bad volume", f"A file name in the secret volume '{name}' is invalid.")
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise invalid("bad volume", f"A value in the secret volume '{name}' is not base64.") from None
    if (share := volume.get("azureFile")) is not None and not (
        ACCOUNT.fullmatch(share.get("storageAccountName", "")) and SHARE.fullmatch(share.get("shareName", ""))
    ):
        raise invalid("bad volume", f"The share or storage account of volume '{name}' is invalid.")
    if (git := volume.get("gitRepo")) is not None:
        directory = git.get("directory", "")
        if not clone_name(git.get("repository", "")):
            raise invalid("bad volume", f"The git volume '{name}' has no repository, or one without a name.")
        if ".." in directory or directory.startswith(("/", "-")) or "\0" in directory:
            raise invalid("bad volume", f"The directory of the git volume '{name}' is invalid.")
        if any(git.get(member, "").startswith("-") or "\0" in git.get(member, "") for member in ("repository", "revision")):
            raise invalid("bad volume", f"The repository or revision of the git volume '{name}' is invalid.")


def clone_name(repository: str) -> str:
    """The folder that a clone makes by default, as git names it; empty if the repository gives no name to use."""
    name = repository.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return "" if name in (".", "..") else name


def _check_resources(group: str, container: Body, containers: list[Body]) -> None:
    name = container["name"]
    resources = container["properties"].get("resources", {})
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    if "cpu" not in requests or "memoryInGB" not in requests:
        raise refusal(
            "ResourceRequestsNotSpecified",
            f"The resource requests are not specified in container '{name}' of container group '{group}'. "
            "Both 'memoryInGB' and 'cpu' are required since api-version '2017-07-01-preview'.",
        )
    for member in ("cpu", "memoryInGB"):
        if requests[member] <= 0:
            raise invalid("bad resources", f"The '{member}' request of container '{name}' must be greater than 0.")
        if member not in limits:
            continue
        if limits[member] < requests[member]:
            raise ServiceError(
                400,
                "ResourceLimitsLessThanRequests",
                f"The '{member}' limit '{limits[member]}' of container '{name}' in container group '{group}' is less "
                f"than its request '{requests[member]}'.",
            )
        others = (c["properties"].get("resources", {}).get("requests", {}) for c in containers)
        total = sum(amounts.get(member, 0.0) for amounts in others)
        if limits[member] > total:
            raise ServiceError(
                400,
                "ContainerLimitGreaterThanContainerGroupTotalRequest",
                f"The '{member}' limit '{limits[member]}' of container '{name}' in container group '{group}' is greater "
                f"than the total request '{total}' of the container group.",
            )


def _requests(container: Body) -> Body:
    requests: Body = container["properties"]["resources"]["requests"]
    return requests


def _check_totals(group: str, properties: Body) -> None:
    cpu = sum(_requests(container)["cpu"] for container in properties["containers"])
    memory_gb = sum(_requests(container)["memoryInGB"] for container in properties["containers"])
    if cpu < MIN_CPU or memory_gb < MIN_MEMORY_GB:
        raise invalid(
            "bad resources",
            f"The container group '{group}' requests {cpu:g} CPU and {memory_gb:g} GB; a container group needs at least "
            f"{MIN_CPU:g} CPU and {MIN_MEMORY_GB:g} GB.",
        )
    kind = "Spot" if properties.get("priority") == "Spot" else properties.get("sku", "Standard")
    max_cpu, max_memory_gb = MAX_AMOUNTS[kind]
    if cpu > max_cpu or memory_gb > max_memory_gb:
        raise invalid(
            "bad resources",
            f"The container group '{group}' requests {cpu:g} CPU and {memory_gb:g} GB; at most {max_cpu:g} CPU and "
            f"{max_memory_gb:g} GB are allowed.",
        )


def _check_address(properties: Body) -> None:
    opened = {
        (port.get("port"), port.get("protocol", "TCP"))
        for container in properties["containers"]
        for port in container["properties"].get("ports", [])
    }
    for number, _ in opened:
        _check_port(number)
    address = properties.get("ipAddress")
    if address is None:
        return
    ports = address.get("ports", [])
    if "type" not in address or not ports:
        raise invalid("bad ip address", "An IP address needs a type and at least one port.")
    if len(ports) > MAX_PORTS:
        raise invalid("bad port", f"An IP address may have at most {MAX_PORTS} ports.")
    for port in ports:
        _check_port(port.get("port"))
        if (port["port"], port.get("protocol", "TCP")) not in opened:
            raise invalid("bad port", f"The port '{port['port']}' of the IP address is opened by no container.")
    label = address.get("dnsNameLabel")
    if label is not None and not DNS_LABEL.fullmatch(label):
        raise invalid("bad ip address", f"The DNS name label '{label[:80]}' is invalid.")


def _check_port(number: int | None) -> None:
    if number is None or not 1 <= number <= 65535:
        raise invalid("bad port", "A port must be a number from 1 to 65535.")
    if any(number in reserved for reserved in RESERVED_PORTS):
        raise invalid("bad port", f"The port '{number}' is reserved.")
