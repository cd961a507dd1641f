"""Microsoft's SDK in another language."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path

import pytest

from .world import CLIENT, SUBSCRIPTION, TENANT, World, node_modules_of

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def test_a_group_from_create_to_delete(world: World) -> None:
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("not installed: node and npm")
    modules = node_modules_of("js-sdk", "@azure/arm-containerinstance", "@azure/identity")
    name = f"js-{uuid.uuid4().hex[:8]}"
    script = str(Path(__file__).with_name("sdk_job.cjs"))
    done = world.run("node", script, TENANT, CLIENT, SUBSCRIPTION, name, NODE_PATH=str(modules / "node_modules"))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["provisioning"] == "Succeeded"
    assert told["variable"] == {"name": "WHO"}
    assert (told["current"]["exitCode"], told["current"]["state"], told["current"]["detailStatus"]) == (4, "Terminated", "Error")
    assert told["logs"] == "from js a secret file\n"
    assert name in told["names"]
    assert told["tags"] == {"now": "other"}
    assert {"ContainerGroups", "StandardCores"} <= set(told["usages"])
    assert told["after"] == [404, "ResourceNotFound"]
    assert told["refused"] == [400, "InaccessibleImage"]
