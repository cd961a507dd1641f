"""A person's own machine, as the notebook tests need it: a home of its own, an interpreter that an unprivileged user can run."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest

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


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One home for all notebooks that only need one; its local ACI is ended afterwards."""
    home = Home(tmp_path_factory.mktemp("home"))
    yield home
    home.end()


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


@pytest.fixture(scope="session")
def person() -> Iterator[Person]:
    """This user, or `nobody` where the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="aci-person-"))
    folder.chmod(0o755)
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "ACI_NOTEBOOK_HOME": str(folder / "home"),
        **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))},
    }
    if os.geteuid() != 0:
        yield Person((), sys.executable, environ, folder)
    else:
        if shutil.which("setpriv") is None:
            pytest.skip("root without setpriv cannot become an unprivileged user")
        nobody = pwd.getpwnam("nobody")
        become = ("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
        prefix = (*_shown(folder), *become)
        name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        environ["PYTHONPATH"] = f"{folder}/site:{folder}/repository"
        environ["LD_LIBRARY_PATH"] = f"{folder}/python/lib"
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        someone = Person(prefix, f"{folder}/python/bin/{name}", environ, folder)
        first = someone.run("-c", "import aci_notebook, nbclient")
        if first.returncode:
            pytest.skip(f"root may not mount here, so nobody cannot reach this interpreter: {first.stderr.strip()[-200:]}")
        yield someone
    Home(folder / "home").end()
    shutil.rmtree(folder, ignore_errors=True)


def _shown(folder: Path) -> tuple[str, ...]:
    """A command prefix that shows interpreter, packages and repository below the folder, in a mount namespace of its own.

    Their own places may lie below folders that only root can enter, such as /root.
    """
    places = {"python": sys.base_prefix, "site": sysconfig.get_paths()["purelib"], "repository": str(REPOSITORY)}
    script = ["set -e"]
    for name, source in places.items():
        (folder / name).mkdir()
        script.append(f"mount --bind {shlex.quote(source)} {shlex.quote(str(folder / name))}")
    return ("unshare", "--mount", "sh", "-c", "; ".join([*script, 'exec "$@"']), "sh")
