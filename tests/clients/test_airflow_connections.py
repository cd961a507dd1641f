"""A profile made of an Airflow connection says what Airflow's own `Connection` says, for whatever text either of them may find."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aci_notebook.errors import SettingsError
from aci_notebook.settings import Settings, read_reference

from .test_airflow import PACKAGES
from .world import PROXIES, environment_of

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]
SUBSCRIPTION = "6e0c6e0a-0000-4000-8000-000000000001"
PLAIN = {"tenantId": "ten", "subscriptionId": SUBSCRIPTION}
ODD = "p@ss:w/rd?#[]!$&'()*+,;=%41%zz\"\\ ü💥\t{x}<y>|^`~"
CASES: list[Any] = [
    {"login": "client", "password": "simple", "extra": PLAIN},
    {"login": ODD, "password": ODD, "extra": PLAIN},
    {"login": "client", "password": " leading and trailing ", "extra": PLAIN},
    {"login": "client", "password": "+plus+ and%20percent", "extra": PLAIN},
    {"login": "client", "password": "", "extra": PLAIN},
    {"login": "", "password": "", "extra": PLAIN},
    {"login": None, "password": None, "extra": PLAIN},
    {"login": None, "password": "alone", "extra": PLAIN},
    {"login": "client", "password": "x", "extra": {}},
    {"login": "client", "password": "x", "extra": {"tenantId": "a&b=c d+é", "subscriptionId": SUBSCRIPTION}},
    {"login": "client", "password": "x", "extra": {**PLAIN, "nested": {"deep": [1, None]}}},
    {"login": "client", "password": "x", "extra": {"extra__azure__tenantId": "old", "extra__azure__subscriptionId": SUBSCRIPTION}},
    {"login": "client", "password": "x", "host": "host.example", "port": 443, "schema": "what/ever", "extra": PLAIN},
    f"azure-container-instance://client:x@/?tenantId=ten&subscriptionId={SUBSCRIPTION}",
    f"azure_container_instance://client:x@/?tenantId=ten&subscriptionId={SUBSCRIPTION}",
    f"AZURE-CONTAINER-INSTANCE://client:x@h?tenantId=ten&subscriptionId={SUBSCRIPTION}",
    f"azure-container-instance://client:a%2Bb+c@/?tenantId=t%2Bn+x&subscriptionId={SUBSCRIPTION}&tenantId=second",
    f"azure-container-instance://cl%3Aient:x%40y:z@/?__extra__=%7B%22tenantId%22%3A+%22ten%22%2C+%22subscriptionId%22%3A+%22{SUBSCRIPTION}%22%7D",
    '{"conn_type": "azure-container-instance", "login": "client", "password": "x", "extra": "{\\"tenantId\\": \\"ten\\"}"}',
    f'  {{"conn_type": "azure_container_instance", "login": "client", "extra": {json.dumps(PLAIN)}}}  ',
    "postgres://me:pw@host/db",
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    import os

    python = str(environment_of("airflow", *PACKAGES) / "python")
    environ = {name: value for name, value in os.environ.items() if not PROXIES.fullmatch(name)}
    done = subprocess.run(
        [python, str(Path(__file__).with_name("airflow_connections.py"))],
        input=json.dumps(CASES),
        capture_output=True,
        text=True,
        env={**environ, "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow"))},
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_what_airflow_reads_is_what_the_profile_holds(answers: list[dict[str, Any]], tmp_path: Path) -> None:
    assert len(answers) > len(CASES) + 10
    for number, answer in enumerate(answers):
        text, read = answer["text"], answer["read"]
        environ = {"ACI_NOTEBOOK_HOME": str(tmp_path / "home"), "AIRFLOW_CONN_MINE": text}
        if read["type"] != "azure_container_instance":
            with pytest.raises(SettingsError, match=f"is of type {read['type']}"):
                Settings(environ, tmp_path, "mine")
            continue
        profile = Settings(environ, tmp_path, "mine").profiles["mine"]
        extra = read["extra"]
        wanted = {
            "on": "azure",
            "subscription": extra.get("subscriptionId") or extra.get("extra__azure__subscriptionId"),
            "tenant_id": (extra.get("tenantId") or extra.get("extra__azure__tenantId")) if read["login"] else None,
            "client_id": read["login"],
            "client_secret": "airflow:mine" if read["password"] else None,
        }
        assert dict(profile) == {key: value for key, value in wanted.items() if value}, (number, text)
        if read["password"]:
            assert read_reference("airflow:mine", environ, "client_secret") == read["password"], (number, text)
            assert len(read["password"]) < 5 or read["password"] not in repr(profile)


def test_both_forms_of_odd_characters_were_compared(answers: list[dict[str, Any]]) -> None:
    assert sum(answer["read"]["password"] == ODD for answer in answers) == 2
    assert {answer["text"].lstrip()[:1] for answer in answers} >= {"{", "a"}
