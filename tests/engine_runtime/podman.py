"""A Podman of the tests' own: private storage, private socket, images made here (no registry can be reached)."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NEEDED = ("podman", "runc", "busybox", "debootstrap")
CONTAINERS_CONF = """\
[containers]
default_ulimits=["nofile=1024:1024","nproc=1024:1024"]
[engine]
runtime="runc"
"""
NOT_NEEDED_IN_AN_IMAGE = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "var/log",
    "debootstrap",
)
START_S = 30


def missing() -> str:
    """Why there can be no Podman here; empty if there can."""
    if os.geteuid() != 0:
        return "needs root (Podman with limits and a private network)"
    absent = [name for name in NEEDED if not shutil.which(name)]
    packages = "podman runc netavark aardvark-dns iptables iproute2 busybox-static debootstrap"
    return f"not installed: {', '.join(absent)} (apt-get install --no-install-recommends {packages})" if absent else ""


def cache() -> Path:
    """Where what is slow to make is kept between runs; outside the repository."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home) / "aci-notebook-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def python_root() -> Path:
    """A tar file of a small Debian with Python; made once (a minute)."""
    archive = cache() / "python-bookworm.tar"
    with open(cache() / "python-bookworm.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            with tempfile.TemporaryDirectory() as folder:
                include = "--include=python3-minimal,libpython3-stdlib"
                made = subprocess.run(["debootstrap", "--variant=minbase", include, "bookworm", folder], capture_output=True, text=True)
                assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
                for path in NOT_NEEDED_IN_AN_IMAGE:
                    shutil.rmtree(Path(folder) / path, ignore_errors=True)
                subprocess.run(["tar", "-C", folder, "-cf", f"{archive}.new", "."], check=True)
                os.replace(f"{archive}.new", archive)
    return archive


@dataclass
class Podman:
    """A running service; `run` is its command line."""

    folder: Path
    service: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        return f"unix://{self.folder}/podman.sock"

    @property
    def environment(self) -> dict[str, str]:
        return {"DOCKER_HOST": self.address}

    def run(self, *arguments: str, stdin: bytes | None = None) -> str:
        done = subprocess.run(command(self.folder, *arguments), input=stdin, capture_output=True, env=settings(self.folder))
        assert done.returncode == 0, f"podman {' '.join(arguments)}: {done.stderr.decode()}"
        return done.stdout.decode()

    def containers(self, state_dir: Path) -> list[str]:
        """Names of the containers of a server's state folder, running or not."""
        told = self.run("ps", "--all", "--filter", f"label=aci-notebook.state={state_dir}", "--format", "{{.Names}}")
        return told.split()

    def restart(self) -> None:
        """Kill the service and start it again on its socket; containers run on, as they do when Docker restarts live."""
        self.service.kill()
        self.service.wait()
        (self.folder / "podman.sock").unlink()
        self.service = serve(self.folder)

    @contextmanager
    def serving(self, address: str) -> Iterator[None]:
        """The same engine at another address."""
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        words = command(self.folder, "system", "service", "--time=0", f"tcp:{host}:{port}")
        with subprocess.Popen(words, env=settings(self.folder), stderr=subprocess.DEVNULL) as service:
            try:
                deadline = time.monotonic() + START_S
                while not _answers(host, int(port)):
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                yield
            finally:
                service.terminate()

    def _lingering(self) -> Iterator[int]:
        """Podman's monitors of exec sessions, which stay for five minutes after the session."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"conmon") and any(str(self.folder).encode() in word for word in words):
                yield int(path.parent.name)

    def end(self) -> None:
        self.run("rm", "--all", "--force", "--time", "0")
        self.service.terminate()
        self.service.wait(20)
        for process in self._lingering():
            os.kill(process, signal.SIGKILL)
        subprocess.run(["umount", str(self.folder / "root" / "overlay")], capture_output=True)
        shutil.rmtree(self.folder)


def command(folder: Path, *arguments: str) -> list[str]:
    return ["podman", "--root", str(folder / "root"), "--runroot", str(folder / "run"), *arguments]


def settings(folder: Path) -> dict[str, str]:
    return {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf"), "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf")}


def start(*, python: bool = True) -> Podman:
    """A service with the images busybox, stubborn (with an ENTRYPOINT, a CMD and a user of its own) and python."""
    folder = Path(tempfile.mkdtemp(prefix="aci-podman-"))
    (folder / "containers.conf").write_text(CONTAINERS_CONF)
    (folder / "registries.conf").write_text('[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n')
    busybox = folder / "busybox"
    (busybox / "bin").mkdir(parents=True)
    (busybox / "tmp").mkdir(mode=0o777)
    program = shutil.which("busybox")
    assert program is not None
    shutil.copy(program, busybox / "bin" / "busybox")
    for name in subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if name != "busybox":
            (busybox / "bin" / name).symlink_to("busybox")
    service = serve(folder)
    podman = Podman(folder, service)
    packed = subprocess.run(["tar", "-C", str(busybox), "-c", "."], capture_output=True, check=True).stdout
    podman.run("import", "-", "localhost/busybox:latest", stdin=packed)
    podman.run("tag", "localhost/busybox:latest", "docker.io/library/busybox:latest")
    changes = ('ENTRYPOINT ["/bin/echo", "the entrypoint"]', 'CMD ["the cmd"]', "USER 1000", "ENV FROM_IMAGE=yes")
    podman.run("import", *(f"--change={change}" for change in changes), "-", "localhost/stubborn:latest", stdin=packed)
    empty = subprocess.run(["tar", "-C", str(busybox), "-c", "./tmp"], capture_output=True, check=True).stdout
    podman.run("import", "-", "localhost/bare:latest", stdin=empty)
    if python:
        podman.run("import", str(python_root()), "localhost/python:3.11-slim")
    return podman


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


def serve(folder: Path) -> subprocess.Popen[bytes]:
    with open(folder / "service.log", "ab") as log:
        service = subprocess.Popen(
            command(folder, "system", "service", "--time=0", f"unix://{folder}/podman.sock"),
            env=settings(folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,  # conmon writes a file `oom` where it stands
        )
    deadline = time.monotonic() + START_S
    while not (folder / "podman.sock").exists():
        assert service.poll() is None, (folder / "service.log").read_text()
        assert time.monotonic() < deadline, "podman system service did not come up"
        time.sleep(0.05)
    return service
