"""What `--dry-run` shows is YAML that `az container create --file` takes as it is."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from .test_az import Az, az  # noqa: F401  # the fixture

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def test_az_creates_what_a_dry_run_shows(az: Az, tmp_path: Path) -> None:  # noqa: F811
    name = f"dry-{uuid.uuid4().hex[:8]}"
    cell = (
        f"%%aci --dry-run --name {name} --cpu 1 -m 1 -e OPEN=a --tag team=blue --secret HIDDEN=env:HOME -v empty::/scratch\n"
        "print('from a dry run')"
    )
    script = tmp_path / "cells.ipy"
    script.write_text("\n".join(f"get_ipython().run_cell({text!r}).raise_error()" for text in ("%load_ext aci_notebook", cell)))
    shown = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", str(script)],
        env=az.world.environment(ACI_NOTEBOOK_HOME=str(tmp_path / "home"), IPYTHONDIR=str(tmp_path / "ipython")),
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    path = tmp_path / "group.yaml"
    path.write_text(shown)
    az("container", "create", "--resource-group", "rg", "--file", str(path), "--no-wait")
    told = az.container(
        "show", name, "--query", "[tags.team, containers[0].image, containers[0].environmentVariables[0].value]", "-o", "tsv"
    )
    assert told.split() == ["blue", f"python:{sys.version_info[0]}.{sys.version_info[1]}-slim", "a"]
    az.container("delete", name, "--yes")
