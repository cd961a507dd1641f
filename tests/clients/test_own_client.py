"""Our own client in Azure mode, as a person types it in IPython: nothing in it is replaced, Microsoft's host names are this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .front import EXPIRED
from .world import CLIENT, SUBSCRIPTION, TENANT, World

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]
SECRET = "p@ss word/42~of-the-principal"
PROFILE = f"""
[profile.cloud]
subscription = "{SUBSCRIPTION}"
resource_group = "rg"
location = "westeurope"
tenant_id = "{TENANT}"
client_id = "{CLIENT}"
client_secret = "PLACE"
"""
CONNECTION = {
    "conn_type": "azure_container_instance", "login": CLIENT, "password": SECRET,
    "extra": {"tenantId": TENANT, "subscriptionId": SUBSCRIPTION},
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


Play = Callable[..., str]


@pytest.fixture
def play(world: World, home: Path, tmp_path: Path) -> Play:
    """Plays cells in a terminal IPython of the world, and gives what it said; `beside` is called while it plays."""

    def cells(*given: str, beside: Callable[[subprocess.Popen[str]], Any] | None = None, code: int = 0, **environment: str) -> str:
        script = tmp_path / "cells.ipy"
        runs = [f"get_ipython().run_cell({cell!r}).raise_error()" for cell in ("%load_ext aci_notebook", *given)]
        script.write_text("\n".join(runs))
        command = world.enter(sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", str(script))
        settings = world.environment(ACI_NOTEBOOK_HOME=str(home), IPYTHONDIR=str(tmp_path / "ipython"), **environment)
        with subprocess.Popen(command, env=settings, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            if beside is not None:
                beside(process)
            said = process.communicate(timeout=120)[0]
        assert process.returncode == code, said
        return said

    return cells


def command_lines() -> str:
    """Every command line of this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has ended since
            continue
    return "\n".join(found)


def kept(home: Path) -> dict[str, bytes]:
    """Everything that the data folder holds, but what the person wrote there."""
    return {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file() and path.name != "config.toml"}


CELL = """%%aci --profile cloud -i factor -o product --as done
import time
for number in range(3):
    print('line', number, flush=True)
    time.sleep(0.5)
product = factor * 7
product"""


def test_a_cell_in_azure_by_a_service_principal(play: Play, world: World, home: Path) -> None:
    (home / "config.toml").write_text(PROFILE.replace("PLACE", "env:PRINCIPAL"))
    seen: list[str] = []
    before = len(world.log())

    def look(process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 60
        while "/logs" not in world.log()[before:]:
            assert time.monotonic() < deadline, world.log()[before:]
            assert process.poll() is None
            time.sleep(0.05)
        seen.append(command_lines())

    after = "print('home:', product, done.state, done.record.target, done.record.group)"
    gone = "done.wait_gone(30); print('then:', done.record.group)"
    asked = ["%%aci --dry-run --profile cloud\n1", "print(repr(done), done.record)", "%aci inspect last", "%aci config --origin"]
    again = "%aci rerun last -e AGAIN=1"
    said = play("factor = 6", CELL, after, gone, *asked, again, "%aci history", beside=look, PRINCIPAL=SECRET)
    assert said.count(f"runs in Azure: subscription {SUBSCRIPTION}, resource group rg, westeurope") == 1
    assert "line 0\nline 1\nline 2\n" in said
    assert said.count("\n42\n") == 2
    assert "it does not exist any more" in said
    assert "home: 42 succeeded azure" in said
    assert "then: gone" in said
    assert "LOCAL" not in said
    assert "westeurope" in said
    log = world.log()[before:]
    place = f"management.azure.com /subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.ContainerInstance"
    assert log.count(f"201 PUT {place}") == 2
    assert log.count(f"200 DELETE {place}") == 2
    assert not (home / "local").exists()
    for where, content in {"output": said.encode(), "requests": log.encode(), "processes": seen[0].encode(), **kept(home)}.items():
        assert SECRET.encode() not in content, where
    assert any(name.endswith(".log") for name in kept(home))


def test_the_secret_in_a_file(play: Play, home: Path, tmp_path: Path) -> None:
    (tmp_path / "principal").write_text(SECRET + "\n")
    (home / "config.toml").write_text(PROFILE.replace("PLACE", f"file:{tmp_path / 'principal'}"))
    said = play("%aci profile use cloud", "%%aci -q\nprint('by file')", "%aci config --origin")
    assert "by file\n" in said
    assert "profile cloud" in said
    assert all(SECRET not in str(item) for item in (said, *kept(home).values()))


def test_an_airflow_connection_is_all_it_takes(play: Play, home: Path) -> None:
    said = play(
        "%%aci --on cloud -g rg -l westeurope\nprint('by connection')", "found = %aci profile list\nprint(list(map(str, found.iloc[0])))",
        AIRFLOW_CONN_CLOUD=json.dumps(CONNECTION),
    )  # fmt: skip
    assert "by connection\n" in said
    assert f"runs in Azure: subscription {SUBSCRIPTION}, resource group rg, westeurope" in said
    assert f"['cloud', 'False', 'AIRFLOW_CONN_CLOUD', '{SUBSCRIPTION}', 'None', 'None']" in said
    assert all(SECRET not in str(item) for item in (said, *kept(home).values()))


def test_a_secret_that_azure_refuses(play: Play, home: Path) -> None:
    (home / "config.toml").write_text(PROFILE.replace("PLACE", "env:PRINCIPAL"))
    said = play("%%aci -q --profile cloud\nprint('never')", code=1, PRINCIPAL=EXPIRED)
    assert "AuthError: Azure gave no access" in said
    assert "AADSTS7000222" in said
    assert "%aci profile save" in said
    assert "never\n" not in said


def test_the_doctor_in_azure(play: Play, home: Path) -> None:
    (home / "config.toml").write_text('on = "cloud"\n' + PROFILE.replace("PLACE", "env:PRINCIPAL"))
    said = play("table = %aci doctor", "print(table.to_string())", PRINCIPAL=SECRET)
    assert f"cells run in Azure: subscription {SUBSCRIPTION}, resource group rg, westeurope" in said
    assert "failed" not in said
