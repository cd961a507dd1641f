"""Finds a Docker-compatible engine and speaks to it through the `docker` package, which is imported when needed.

The engine is the one DOCKER_HOST names (with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH), else the first that answers of
Docker's and Podman's usual sockets. All calls block; the runtime makes them in threads of its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ANSWER_S = 3.0  # for an engine to say that it is there
CALL_S = 120.0
THREADS = 16
STATE_LABEL, GROUP_LABEL, CONTAINER_LABEL = "aci-notebook.state", "aci-notebook.group", "aci-notebook.container"
PAUSE_IMAGE = "localhost/aci-notebook-pause"
PAUSE_TAG = "1"


class NoEngine(Exception):
    """No container engine answers; the message says where one was looked for."""


class EngineFailed(Exception):
    """The engine refused or failed; the message is its own. `status` 0 if it did not answer at all."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Order:
    """A container to create."""

    image: str
    name: str
    labels: Mapping[str, str]
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    binds: Sequence[tuple[Path, str, bool]] = ()  # folder, path in the container, read only
    network: str = ""
    published: Sequence[int] = ()  # ports, on 127.0.0.1
    user: str = ""
    cpu: float = 0.0
    memory_gb: float = 0.0


def find(environment: Mapping[str, str]) -> Engine:
    """The engine; raises `NoEngine`."""
    certs = environment.get("DOCKER_CERT_PATH", "") if environment.get("DOCKER_TLS_VERIFY") else ""
    addresses = [environment["DOCKER_HOST"]] if environment.get("DOCKER_HOST") else list(_usual(environment))
    reasons = []
    try:
        if addresses:
            import docker  # noqa: F401
    except ModuleNotFoundError:
        raise NoEngine("the engine runtime needs the package docker: pip install 'aci_notebook[engine]'") from None
    for address in addresses:
        try:
            return Engine(address, certs)
        except (EngineFailed, ValueError) as error:
            reasons.append(f"{address}: {error}")
    raise NoEngine("no container engine answers (" + ("; ".join(reasons) or "no usual socket is there, and DOCKER_HOST is not set") + ")")


def _usual(environment: Mapping[str, str]) -> Iterator[str]:
    runtime_dir = environment.get("XDG_RUNTIME_DIR")
    own = [f"{runtime_dir}/docker.sock", f"{runtime_dir}/podman/podman.sock"] if runtime_dir else []
    home = environment.get("HOME")
    own += [f"{home}/.docker/run/docker.sock"] if home else []
    for path in ("/var/run/docker.sock", "/run/podman/podman.sock", *own):
        try:
            if stat.S_ISSOCK(os.stat(path).st_mode):
                yield f"unix://{path}"
        except OSError:  # not there, or not for us
            continue


class Engine:
    """One engine that has answered."""

    def __init__(self, address: str, certs: str) -> None:
        import docker

        self.address = address
        self.certs = certs
        self._errors = (docker.errors.DockerException, OSError)
        tls = False
        if certs:
            files = {name: str(Path(certs) / f"{name}.pem") for name in ("ca", "cert", "key")}
            tls = docker.tls.TLSConfig(client_cert=(files["cert"], files["key"]), ca_cert=files["ca"], verify=True)
        try:
            first = docker.APIClient(base_url=address, tls=tls, timeout=ANSWER_S, version="auto")
            self._info = first.info()
            first.close()
            self._api = docker.APIClient(base_url=address, tls=tls, timeout=CALL_S, version="auto", max_pool_size=THREADS)
        except self._errors as error:
            raise _failed(error) from error

    @property
    def reaches_containers(self) -> bool:
        """Whether this machine can reach a container's own address: not through a virtual machine, not without root."""
        options = " ".join(self._info.get("SecurityOptions") or ())
        local = self.address.startswith("unix://") and os.uname().sysname == "Linux"
        return local and "rootless" not in options and "Docker Desktop" not in str(self._info.get("OperatingSystem"))

    def call(self, method: str, *arguments: Any, **more: Any) -> Any:
        """A method of `docker.APIClient`; raises `EngineFailed`."""
        try:
            return getattr(self._api, method)(*arguments, **more)
        except self._errors as error:
            raise _failed(error) from error

    def pull(self, image: str, credentials: tuple[str, str] | None) -> Iterator[str]:
        """Pull, yielding the engine's words; anonymous without credentials, whatever this machine's user may do."""
        auth = {"username": credentials[0], "password": credentials[1]} if credentials else {}
        try:
            for message in self._api.pull(image, stream=True, decode=True, auth_config=auth):
                if "error" in message:
                    raise EngineFailed(str(message["error"]), 0)
                yield str(message.get("status") or message.get("stream") or "")
        except self._errors as error:
            raise _failed(error) from error

    def create(self, order: Order) -> str:
        """The id of a new container, not started."""
        import docker

        limits: dict[str, Any] = {}
        if order.memory_gb:
            limits["mem_limit"] = limits["memswap_limit"] = int(order.memory_gb * 1024**3)
        if order.cpu:
            limits["nano_cpus"] = int(order.cpu * 1e9)
        if order.network:
            limits["network_mode"] = order.network
        host = self._api.create_host_config(
            mounts=[docker.types.Mount(path, str(folder), type="bind", read_only=ro) for folder, path, ro in order.binds],
            port_bindings={port: ("127.0.0.1", port) for port in order.published},
            security_opt=["label=disable"],  # SELinux: or no bind mount could be read
            **limits,
        )
        created = self.call(
            "create_container",
            order.image,
            # ACI's command takes the place of the image's ENTRYPOINT and CMD together
            entrypoint=[order.command[0]] if order.command else None,
            command=list(order.command[1:]) if order.command else None,
            environment=dict(order.environment),
            labels=dict(order.labels),
            name=order.name,
            ports=list(order.published),
            user=order.user or None,
            host_config=host,
        )
        return str(created["Id"])

    def remove(self, container_id: str) -> None:
        """Kill and remove a container; nothing happens if it is gone."""
        with contextlib.suppress(EngineFailed):  # not running; Podman would give a running one ten seconds
            self.call("kill", container_id)
        try:
            self.call("remove_container", container_id, v=True, force=True)
        except EngineFailed as error:
            if error.status not in (404, 409):  # 409: somebody else is removing it
                raise

    def labelled(self, **labels: str) -> list[dict[str, Any]]:
        """Containers with these labels, running or not."""
        names = {"state": STATE_LABEL, "group": GROUP_LABEL, "container": CONTAINER_LABEL}
        wanted = [f"{names[key]}={value}" for key, value in labels.items()]
        found: list[dict[str, Any]] = self.call("containers", all=True, filters={"label": wanted})
        return found

    def make_pause_image(self) -> str:
        """The image whose only program waits for ever; it holds the network of groups. Made on first use, 200 bytes."""
        name = f"{PAUSE_IMAGE}:{PAUSE_TAG}"
        try:
            self.call("inspect_image", name)
        except EngineFailed as error:
            if error.status != 404:
                raise
            said = self.call(
                "import_image_from_data", _pause_archive(str(self._info.get("Architecture"))), repository=PAUSE_IMAGE, tag=PAUSE_TAG
            )
            self.call("tag", json.loads(said.strip().splitlines()[-1])["status"], PAUSE_IMAGE, PAUSE_TAG)
        return name


def _failed(error: Exception) -> EngineFailed:
    status = getattr(getattr(error, "response", None), "status_code", None) or 0
    return EngineFailed(str(getattr(error, "explanation", None) or error), status)


X86_64 = (62, bytes.fromhex("b8220000000f05ebf7"))  # pause(2), again
AARCH64 = (183, bytes.fromhex("000080d2010080d2020080d2030080d2280980d2010000d4faffff17"))  # ppoll(2) on nothing, again


def _pause_archive(architecture: str) -> bytes:
    """A tar file with the program /pause: one ELF header, one segment, one system call."""
    machine, code = AARCH64 if architecture in ("arm64", "aarch64") else X86_64
    start, headers = 0x400000, 64 + 56
    size = headers + len(code)

    def numbers(*pairs: tuple[int, int]) -> bytes:
        return b"".join(value.to_bytes(width, "little") for value, width in pairs)

    elf = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf += numbers((2, 2), (machine, 2), (1, 4), (start + headers, 8), (64, 8), (0, 8), (0, 4), (64, 2), (56, 2), (1, 2), (0, 6))
    elf += numbers((1, 4), (5, 4), (0, 8), (start, 8), (start, 8), (size, 8), (size, 8), (0x1000, 8)) + code
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = len(elf), 0o755
        tar.addfile(entry, io.BytesIO(elf))
    return archive.getvalue()
