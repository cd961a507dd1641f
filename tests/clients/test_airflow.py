"""Airflow's AzureContainerInstancesOperator, in a virtual environment of its own, as a worker would run it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .world import CLIENT, SUBSCRIPTION, TENANT, World, environment_of

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]
PACKAGES = ("apache-airflow==3.3.2", "apache-airflow-providers-microsoft-azure==15.2.1")


@pytest.fixture(scope="module")
def operate(world: World) -> Callable[..., Any]:
    python = str(environment_of("airflow", *PACKAGES) / "python")
    azure = {"tenantId": TENANT, "subscriptionId": SUBSCRIPTION}
    settings = {
        "AIRFLOW_HOME": str(world.folder / "airflow"),
        "AIRFLOW_CONN_AZURE": json.dumps({"conn_type": "azure_container_instance", "login": CLIENT, "password": "secret", "extra": azure}),
        "AIRFLOW_CONN_FILES": json.dumps({"conn_type": "azure_container_volume", "login": "myaccount", "password": "a2V5"}),
    }

    def run(name: str, **options: Any) -> Any:
        done = world.run(python, str(Path(__file__).with_name("airflow_job.py")), name, json.dumps(options), **settings)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return {**json.loads(done.stdout.splitlines()[-1]), "heard": done.stdout + done.stderr}

    return run


@pytest.fixture
def name() -> str:
    return f"airflow-{uuid.uuid4().hex[:8]}"


def command(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def test_exit_0(operate: Callable[..., Any], world: World, name: str) -> None:
    script = "for i in 1 2 3; do echo line $i; sleep 0.5; done; sleep 2"
    told = operate(name, image="alpine", command=command(script), xcom_all=True)
    assert told.get("returned") == 0, told
    assert [f"line {i}" in told["heard"] for i in (1, 2, 3)] == [True] * 3, told["heard"]
    assert "".join(told["pushed"]["logs"]) == "line 1\nline 2\nline 3\n"
    assert f"200 DELETE management.azure.com /subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers" in world.log()


def test_exit_3(operate: Callable[..., Any], name: str) -> None:
    told = operate(name, image="python:3", command=["python3", "-c", "import time; print('no'); time.sleep(2); raise SystemExit(3)"])
    assert told["raised"] == ["AirflowException", "Container had a non-zero exit code, 3"], told


def test_fail_if_exists(operate: Callable[..., Any], name: str) -> None:
    first = operate(name, image="alpine", command=command("sleep 2"), remove_on_success=False)
    assert first.get("returned") == 0, first
    told = operate(name, image="alpine", command=command("true"))
    assert told["raised"] == ["AirflowException", "Container group exists"], told
    again = operate(name, image="alpine", command=command("sleep 2"), fail_if_exists=False)
    assert again.get("returned") == 0, again


def test_secured_variables_and_volumes(operate: Callable[..., Any], world: World, name: str) -> None:
    share = world.folder / "aci" / "storage" / "myaccount" / "myshare"
    share.mkdir(parents=True, exist_ok=True)
    (share / "input").write_text("from the share\n")
    told = operate(
        name,
        image="alpine",
        command=command("cat /data/input; echo $OPEN $HIDDEN; echo $HIDDEN > /data/output; sleep 2"),
        environment_variables={"OPEN": "seen", "HIDDEN": "kept"},
        secured_variables=["HIDDEN"],
        volumes=[["files", "myaccount", "myshare", "/data", False]],
        xcom_all=True,
    )
    assert told.get("returned") == 0, told
    assert "".join(told["pushed"]["logs"]) == "from the share\nseen kept\n"
    assert (share / "output").read_text() == "kept\n"
