"""What the notebook tests stand on: a data folder with its local ACI, and somebody without privileges."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Home:
    """A data folder and the local ACI that lives in it."""

    path: Path

    def server(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.path / "local" / "server.json").read_text())
        return told

    def ask(self, route: str) -> Any:
        token = (self.path / "local" / "token").read_text().strip()
        request = Request(self.server()["url"] + route, headers={"Authorization": f"Bearer {token}"})
        with build_opener(ProxyHandler({})).open(request, timeout=5) as answer:
            return json.loads(answer.read())

    def stats(self) -> dict[str, Any]:
        told: dict[str, Any] = self.ask("/_aci/stats")
        return told

    def groups_alive(self) -> int:
        return int(self.ask("/_aci/health")["groups_alive"])

    def settled(self, timeout_s: float = 20) -> dict[str, Any]:
        """The counts once no group is left, or after the time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and (self.groups_alive() or self.stats()["created"] > self.stats()["deleted"]):
            time.sleep(0.1)
        return self.stats()

    def end(self) -> None:
        try:
            pid = self.server()["pid"]
            os.kill(pid, signal.SIGTERM)
        except (OSError, ValueError):
            return
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and Path(f"/proc/{pid}").exists():
            time.sleep(0.05)


@dataclass(frozen=True)
class Person:
    """Somebody without privileges: the command prefix, an interpreter and an environment that work for her, a folder of hers."""

    prefix: tuple[str, ...]
    python: str
    environ: dict[str, str]
    folder: Path

    def run(self, *arguments: str, timeout_s: float = 110) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, self.python, *arguments],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
