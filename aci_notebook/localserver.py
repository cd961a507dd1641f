"""The local ACI as a neighbour: found where it runs, started where it does not. It is spoken to over HTTP alone.

It is a process of its own, in a session of its own, with its own log file: a kernel that is interrupted, restarted or killed leaves it
running, as the real service would be. Of two kernels that start one at the same moment the loser finds the winner's. A server of
another version is replaced where no group lives in it, and left alone, with a word about it, where one does.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from .errors import ServiceError

START_TIMEOUT_S = 30.0
HEALTH_TIMEOUT_S = 3.0
_STARTING = threading.Lock()
_opener = build_opener(ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A local ACI that answers: its address, its token, its runtime's name."""

    url: str
    runtime: str
    pid: int
    token: str = field(repr=False)
    warning: str = ""

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        """One request to the control surface; the JSON that comes back."""
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = Request(self.url + path, data=data, headers=headers, method=method)  # noqa: S310  # loopback, our own address
        with _opener.open(request, timeout=HEALTH_TIMEOUT_S) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def ensure(home: Path, *, runtime: str = "auto", idle_s: float = 900) -> LocalServer:
    """The local ACI of this data folder, started if need be. Raises ServiceError with the end of its log if it does not start."""
    state_dir = home / "local"
    with _STARTING:
        found = running(home)
        if found is not None:
            usable = _usable(found, state_dir)
            if usable is not None:
                return usable
        return _start(state_dir, runtime, idle_s)


def running(home: Path) -> LocalServer | None:
    """The local ACI that runs on this folder now, or None."""
    state_dir = home / "local"
    try:
        told = json.loads((state_dir / "server.json").read_text(encoding="utf-8"))
        token = (state_dir / "token").read_text(encoding="utf-8").strip()
        server = LocalServer(told["url"], told.get("runtime", ""), int(told["pid"]), token)
        health = server.ask("/_aci/health")
    except (OSError, ValueError, KeyError, URLError):
        return None
    return server if health.get("pid") == server.pid else None


def _usable(found: LocalServer, state_dir: Path) -> LocalServer | None:
    """The server itself, with a word about its version where it differs; None where an idle old one was ended."""
    health = found.ask("/_aci/health")
    if health.get("digest") == digest():
        return found
    if health.get("groups_alive"):
        words = "the local ACI that runs is of another version; it is replaced as soon as no container group lives in it"
        return LocalServer(found.url, found.runtime, found.pid, found.token, words)
    stop(found, state_dir)
    return None


def stop(server: LocalServer, state_dir: Path) -> None:
    """Ends the server and waits until it is gone."""
    try:
        os.kill(server.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and running(state_dir.parent) is not None:
        time.sleep(0.05)


def digest() -> str:
    """The digest of the local ACI's code as installed here, computed as its health answer does."""
    folder = Path(__file__).parent / "local"
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda item: item.relative_to(folder).as_posix()):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


def _start(state_dir: Path, runtime: str, idle_s: float) -> LocalServer:
    if os.name == "nt":
        raise ServiceError(
            "the local ACI runs on Linux and macOS", hint="on Windows use WSL for it, or configure Azure: %aci config shows how"
        )
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    log_path = state_dir / "server.log"
    command = [
        sys.executable, "-P", "-m", "aci_notebook.local",
        "--port", "0", "--runtime", runtime, "--state-dir", str(state_dir), "--idle-timeout", f"{idle_s:g}",
    ]  # fmt: skip
    package_parent = Path(__file__).resolve().parent.parent
    paths = [*([] if _installed(package_parent) else [str(package_parent)]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environ = {**os.environ, **({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})}
    with log_path.open("ab") as log:
        os.chmod(log_path, 0o600)
        process = subprocess.Popen(  # noqa: S603  # our own module, our own arguments
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=state_dir, env=environ
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        found = running(state_dir.parent)
        if found is not None:
            threading.Thread(target=process.wait, name="aci-local-reaper", daemon=True).start()
            return found
        if process.poll() not in (None, 3):
            break
        time.sleep(0.02)
    tail = "\n".join(log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
    raise ServiceError(f"the local ACI did not start:\n{tail}", hint=f"its log is {log_path}")


def _installed(parent: Path) -> bool:
    return parent.name in {"site-packages", "dist-packages"}
