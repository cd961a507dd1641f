"""A private world for foreign clients: a network of its own (loopback alone), Microsoft's host names, a throw-away CA.

The local ACI and its TLS front run in it, and every client is started in it; nothing outside sees any of it, and no
client can reach anything outside.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .front import HOSTS

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = "22222222-2222-2222-2222-222222222222"
PROXIES = re.compile(r"(https?|no|all)_proxy|ACI_NOTEBOOK_\w+|AZURE_\w+|PYTHON\w+|PIP_\w+", re.IGNORECASE)


def missing() -> str:
    """Why there can be no such world here; empty if there can."""
    if os.geteuid() != 0:
        return "needs root (a private network and mount namespace)"
    absent = [name for name in ("unshare", "nsenter", "ip", "mount") if not shutil.which(name)]
    return f"not installed: {', '.join(absent)} (apt-get install util-linux iproute2)" if absent else ""


def cache() -> Path:
    """Where clients are installed, once; outside the repository."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home) / "aci-notebook-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def environment_of(name: str, *requirements: str) -> Path:
    """The folder `bin` of a virtual environment with these packages; made on first use."""
    folder = cache() / name
    with open(cache() / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            pip = [str(folder / "bin" / "pip"), "install", "--no-compile", "--quiet", "--disable-pip-version-check"]
            installed = subprocess.run([*pip, *requirements], capture_output=True, text=True)
            assert installed.returncode == 0, installed.stderr[-3000:]
            (folder / "ready").touch()
    return folder / "bin"


def node_modules_of(name: str, *packages: str) -> Path:
    """A folder whose `node_modules` holds these packages; made on first use."""
    folder = cache() / name
    with open(cache() / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / "package.json").write_text('{"private": true}')
            npm = ["npm", "install", "--no-fund", "--no-audit", "--silent", *packages]
            installed = subprocess.run(npm, cwd=folder, capture_output=True, text=True)
            assert installed.returncode == 0, installed.stderr[-3000:]
            (folder / "ready").touch()
    return folder


@dataclass
class World:
    """The namespaces, held by a process, and what serves in them."""

    folder: Path
    holder: subprocess.Popen[str]
    serving: list[subprocess.Popen[str]]
    url: str = ""  # of the local ACI, for its control surface

    def enter(self, *command: str) -> list[str]:
        return ["nsenter", "--target", str(self.holder.pid), "--mount", "--net", "--", *command]

    def environment(self, **more: str) -> dict[str, str]:
        """What a client finds: no proxies, no settings of ours, and trust in the front's certificate."""
        kept = {name: value for name, value in os.environ.items() if not PROXIES.fullmatch(name)}
        authority = str(self.folder / "ca.pem")
        trust = {"REQUESTS_CA_BUNDLE": authority, "SSL_CERT_FILE": authority, "NODE_EXTRA_CA_CERTS": authority}
        return {**kept, **trust, "HOME": str(self.folder), **more}

    def run(self, *command: str, stdin: str | None = None, timeout: float = 110, **environment: str) -> subprocess.CompletedProcess[str]:
        """A client's command in the world, to its end."""
        return subprocess.run(
            self.enter(*command),
            env=self.environment(**environment),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            input=stdin,
        )

    def log(self) -> str:
        """What went through the front."""
        return (self.folder / "front.log").read_text()

    def serve(self, command: Sequence[str], awaited: str) -> str:
        """Start a server in the world; the line that says it is there."""
        process = subprocess.Popen(
            self.enter(*command), env=self.environment(), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=self.folder
        )
        self.serving.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert awaited in line, line
        return line

    def end(self) -> None:
        for process in (*reversed(self.serving), self.holder):
            process.terminate()
            process.wait(20)
            assert process.stdout is not None
            process.stdout.close()


def make(folder: Path) -> World:
    """A world with a local ACI (process runtime) behind the front."""
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert(*HOSTS).private_key_and_cert_chain_pem.write_to_path(folder / "front.pem")
    (folder / "hosts").write_text(f"127.0.0.1 localhost {' '.join(HOSTS)}\n")
    (folder / "front.log").touch()
    begin = f"ip link set lo up && mount --bind {folder}/hosts /etc/hosts && echo ready && exec sleep infinity"
    holder = subprocess.Popen(["unshare", "--mount", "--net", "sh", "-c", begin], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    world = World(folder, holder, [])
    aci = [sys.executable, "-m", "aci_notebook.local", "--runtime", "process", "--any-token"]
    line = world.serve(
        [*aci, "--state-dir", str(folder / "aci"), "--idle-timeout", "0", "--image-cache", str(cache() / "images")], "listening"
    )
    url = line.split(" listening on ")[1].split()[0]
    world.url = url
    front = str(Path(__file__).with_name("front.py"))
    world.serve([sys.executable, front, url, str(folder / "front.pem"), str(folder / "front.log")], "ready")
    return world
