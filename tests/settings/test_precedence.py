"""Where a setting comes from, and which one wins; profiles; Airflow connections; nothing of another tool's sends a cell to Azure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aci_notebook.errors import SettingsError
from aci_notebook.profiles import save_profile
from aci_notebook.settings import Settings, read_reference, user_file

ID = "6e0c6e0a-0000-4000-8000-000000000001"
AZURE = {"ACI_NOTEBOOK_SUBSCRIPTION": ID, "ACI_NOTEBOOK_RESOURCE_GROUP": "g", "ACI_NOTEBOOK_LOCATION": "eastus"}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"ACI_NOTEBOOK_HOME": str(tmp_path / "home")}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / "below"
    folder.mkdir(parents=True)
    return folder


def write_user(environ: dict[str, str], text: str) -> None:
    path = user_file(environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_each_layer_goes_over_the_one_before(environ: dict[str, str], project: Path) -> None:
    def cpu(**more: object) -> tuple[object, str]:
        found = dict(Settings(environ, project, **more).items())["cpu"]  # type: ignore[arg-type]
        return found.value, found.origin

    write_user(environ, "cpu = 2\n[profile.big]\ncpu = 5\n")
    assert cpu() == (2, str(user_file(environ)))
    (project.parent / "pyproject.toml").write_text("[tool.aci-notebook]\ncpu = 3\n")
    assert cpu() == (3, str(project.parent / "pyproject.toml"))
    environ["ACI_NOTEBOOK_CPU"] = "4"
    assert cpu() == ("4", "ACI_NOTEBOOK_CPU")
    assert cpu(profile="big") == (5, "profile big")
    assert cpu(profile="big", session={"cpu": 6}) == (6, "%config AciMagics")


def test_a_file_that_has_profile_as_a_setting_and_as_tables_says_which_word_chooses(environ: dict[str, str], project: Path) -> None:
    write_user(environ, "profile = 'big'\n[profile.big]\ncpu = 5\non = 'local'\n")
    with pytest.raises(SettingsError, match=r"on = 'NAME'"):
        Settings(environ, project)
    write_user(environ, "on = 'big'\n[profile.big]\ncpu = 5\n")
    assert Settings(environ, project).get("on") == "big"


def test_a_bare_azure_variable_sends_nothing_to_azure(environ: dict[str, str], project: Path) -> None:
    environ |= {"AZURE_SUBSCRIPTION_ID": ID, "AZURE_CLIENT_ID": ID, "AZURE_TENANT_ID": ID}
    assert Settings(environ, project).place().target == "local"


def test_half_configured_names_what_is_missing(environ: dict[str, str], project: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"location \(ACI_NOTEBOOK_LOCATION\) missing; there is subscription from ACI_NOTEBOOK_SUBSCRIPTION"
    ):
        Settings({**environ, **AZURE, "ACI_NOTEBOOK_LOCATION": ""}, project).place()


def test_the_line_fills_in_and_on_local_needs_nothing(environ: dict[str, str], project: Path) -> None:
    half = Settings({**environ, "ACI_NOTEBOOK_SUBSCRIPTION": ID}, project)
    place = half.over({}, {"resource_group": "mine", "location": "westus"}).place()
    assert (place.target, place.resource_group, place.location) == ("azure", "mine", "westus")
    assert half.place("local").target == "local"
    other = ID.replace("1", "2")
    assert Settings({**environ, **AZURE}, project).over({"subscription": other}).place().subscription == other


def test_a_literal_secret_is_refused(environ: dict[str, str], project: Path) -> None:
    write_user(environ, "[profile.x]\nclient_secret = 'hunter22'\n")
    with pytest.raises(SettingsError, match="takes the place of a secret") as caught:
        Settings(environ, project)
    assert "hunter22" not in str(caught.value)


def test_a_saved_profile_leaves_the_rest_of_the_file(environ: dict[str, str], project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACI_NOTEBOOK_HOME", environ["ACI_NOTEBOOK_HOME"])
    write_user(environ, "# mine\ncpu = 2\n\n[profile.old]\nlocation = 'eastus'\n\n[profile.other]\ncpu = 3\n")
    save_profile("old", {"subscription": ID, "resource_group": 'a"b', "location": "westus"})
    save_profile("new", {"client_secret": "env:S"})
    text = user_file(environ).read_text()
    assert text.startswith("# mine\ncpu = 2\n")
    profiles = Settings(environ, project).profiles
    assert profiles["old"] == {"subscription": ID, "resource_group": 'a"b', "location": "westus"}
    assert profiles["other"] == {"cpu": 3}
    assert profiles["new"] == {"client_secret": "env:S"}
    with pytest.raises(SettingsError, match="place of a secret"):
        save_profile("bad", {"client_secret": "hunter22"})


URI = f"azure-container-instance://client%2Fid:p%40ss%3Aword@/?tenantId=ten&subscriptionId={ID}"
JSON = json.dumps(
    {
        "conn_type": "azure_container_instance",
        "login": "client/id",
        "password": "p@ss:word",
        "extra": {"tenantId": "ten", "subscriptionId": ID},
    }
)
EXTRA = json.dumps({"conn_type": "azure_container_instance", "login": "client/id", "password": "p@ss:word",
                    "extra": json.dumps({"tenantId": "ten", "subscriptionId": ID})})  # fmt: skip


@pytest.mark.parametrize("text", [URI, JSON, EXTRA], ids=["uri", "json", "json with text extra"])
def test_an_airflow_connection_is_a_profile(environ: dict[str, str], project: Path, text: str) -> None:
    environ |= {"AIRFLOW_CONN_ACI_PROD": text, "ACI_NOTEBOOK_RESOURCE_GROUP": "g", "ACI_NOTEBOOK_LOCATION": "eastus"}
    place = Settings(environ, project).place("aci_prod")
    assert (place.target, place.subscription, place.tenant_id, place.client_id) == ("azure", ID, "ten", "client/id")
    assert place.client_secret == "airflow:aci_prod"
    assert read_reference(place.client_secret, environ, "client_secret") == "p@ss:word"
    assert "p@ss" not in repr(place) + repr(list(Settings(environ, project, "aci_prod").items()))


def test_an_airflow_connection_of_another_type_is_named(environ: dict[str, str], project: Path) -> None:
    environ["AIRFLOW_CONN_DB"] = "postgres://me:pw@host/db"
    with pytest.raises(SettingsError, match="is of type postgres") as caught:
        Settings(environ, project, "db")
    assert "pw" not in str(caught.value)
    assert "db" not in Settings(environ, project).all_profiles()
