"""profile, config and launch: what they show, what they change, and what a cell makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from shells import Run

from aci_notebook.errors import OptionError, SettingsError

ID = "6e0c6e0a-0000-4000-8000-000000000001"


@pytest.fixture
def config(home: Path) -> Iterator[Path]:
    """The user's file; gone again after the test."""
    path = home / "config.toml"
    yield path
    path.unlink(missing_ok=True)


def rows(table: Any, key: str) -> dict[str, Any]:
    found: dict[str, Any] = table.set_index(key).to_dict("index")
    return found


def test_a_profile_is_saved_listed_used_and_left(run: Run, config: Path) -> None:
    options = f"--subscription {ID} -g science -l westus --tenant-id {ID} --client-id {ID} --client-secret env:PRINCIPAL"
    said = run(f"%aci profile save cloud {options}").check().stdout
    assert str(config) in said
    assert "%aci profile use cloud" in said
    listed = rows(run("%aci profile list").check().value, "profile")
    assert listed["cloud"] == {
        "used": False, "origin": str(config), "subscription": ID, "resource_group": "science", "location": "westus",
    }  # fmt: skip
    said = run("%aci profile use cloud").check().stdout
    assert f"subscription {ID}, resource group science, westus" in said
    assert rows(run("%aci profile").check().value, "profile")["cloud"]["used"]
    settings = rows(run("%aci config --origin").check().value, "setting")
    assert settings["subscription"] == {"value": ID, "origin": "profile cloud"}
    assert settings["client_secret"] == {"value": "env:PRINCIPAL", "origin": "profile cloud"}
    shown = run("%%aci --dry-run\n1").check().stdout
    assert "target: azure, resource group: science" in shown
    assert "location: westus" in shown
    assert "target: local" in run("%%aci --dry-run --on local\n1").check().stdout
    there = str(run("%aci profile use local").error)
    assert "is a place and no profile" in there
    leave = there.rpartition("; ")[2].removesuffix(" leaves a profile")
    assert leave == "%config AciMagics.profile = ''"
    run(leave).check()
    assert "target: local" in run("%%aci --dry-run\n1").check().stdout
    assert "resource group: science" in run("%%aci --dry-run --profile cloud\n1").check().stdout


def test_a_profile_without_options_keeps_what_is_set_now(run: Run, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SUBSCRIPTION", ID), ("RESOURCE_GROUP", "from-env"), ("LOCATION", "eastus")):
        monkeypatch.setenv(f"ACI_NOTEBOOK_{name}", value)
    run("%aci profile save now").check()
    for name in ("SUBSCRIPTION", "RESOURCE_GROUP", "LOCATION"):
        monkeypatch.delenv(f"ACI_NOTEBOOK_{name}")
    assert "resource group: from-env" in run("%%aci --dry-run --on now\n1").check().stdout


def test_a_profile_may_hold_defaults_of_a_run(run: Run, config: Path) -> None:
    config.write_text("[profile.big]\non = 'local'\ncpu = 4\nmemory = '8GB'\ntags = {team = 'blue'}\n")
    shown = run("%%aci --dry-run --profile big\n1").check().stdout
    assert "cpu: 4.0" in shown
    assert "memoryInGB: 8.0" in shown
    assert "team: blue" in shown
    assert "target: local" in shown


def test_what_a_profile_refuses(run: Run, config: Path) -> None:
    for line, kind, text in (
        ("profile save", OptionError, "needs a name"),
        ("profile use", OptionError, "needs a name"),
        ("profile save x", OptionError, "has nothing to keep"),
        ("profile usee x", OptionError, "did you mean use"),
        ("profile use nobody", SettingsError, "no profile 'nobody'"),
        ("profile save azure -g g", SettingsError, "cannot be a profile's name"),
        ("profile save x --client-secret hunter22", SettingsError, "takes the place of a secret"),
        ("profile save x --subscription mine", OptionError, "is a subscription's id"),
    ):
        failed = run(f"%aci {line}").error
        assert isinstance(failed, kind), line
        assert text in str(failed)
        assert "hunter22" not in str(failed)
    assert not config.exists()
    assert "target: local" in run("%%aci --dry-run\n1").check().stdout, "a refused profile is not in use"


def test_a_half_configured_profile_is_not_used(run: Run, config: Path) -> None:
    run(f"%aci profile save half --subscription {ID}").check()
    failed = run("%aci profile use half").error
    assert isinstance(failed, SettingsError)
    assert "resource_group (ACI_NOTEBOOK_RESOURCE_GROUP), location (ACI_NOTEBOOK_LOCATION) missing" in str(failed)
    assert "there is subscription from profile half" in str(failed)
    assert "target: local" in run("%%aci --dry-run\n1").check().stdout


def test_config_shows_each_value_and_where_it_came_from(run: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("cpu = 2\nlocation = 'eastus'\nkeep = 'failed'\ntimeout = '1h'\n[profile.p]\ntimeout = '2h'\nretries = 1\n")
    (tmp_path / "pyproject.toml").write_text("[tool.aci-notebook]\nlocation = 'westus'\nkeep = 'always'\n")
    monkeypatch.setenv("ACI_NOTEBOOK_KEEP", "never")
    run("%config AciMagics.profile = 'p'").check()
    run("%config AciMagics.retries = 3").check()
    settings = rows(run("%aci config --origin").check().value, "setting")
    wanted = {
        "cpu": (2, str(config)),
        "location": ("westus", str(tmp_path / "pyproject.toml")),
        "keep": ("never", "ACI_NOTEBOOK_KEEP"),
        "timeout_s": ("2h", "profile p"),
        "retries": (3, "%config AciMagics"),
        "memory_gb": ("1.5", "built in"),
        "on": ("local", "built in"),
    }
    assert {name: tuple(settings[name].values()) for name in wanted} == wanted
    assert list(run("%aci config").check().value.columns) == ["setting", "value"]


def test_a_half_configured_place_sends_nothing(run: Run, creates: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    before = creates()
    monkeypatch.setenv("ACI_NOTEBOOK_RESOURCE_GROUP", "g")
    failed = run("%%aci\n1").error
    assert isinstance(failed, SettingsError)
    assert "subscription (ACI_NOTEBOOK_SUBSCRIPTION), location (ACI_NOTEBOOK_LOCATION) missing" in str(failed)
    assert "there is resource_group from ACI_NOTEBOOK_RESOURCE_GROUP" in str(failed)
    assert "--on local" in str(failed)
    assert creates() == before
    assert "here" in run("%%aci --on local\nprint('here')").check().stdout


def test_a_missing_resource_group_comes_with_the_line_that_makes_it(run: Run, server: Any) -> None:
    missing = {"status": 404, "code": "ResourceGroupNotFound", "message": "Resource group 'science' could not be found."}
    server.ask("/_aci/faults", {"on": "create", "times": 1, "do": missing})
    failed = run("%%aci -q -g science -l westus\n1").error
    assert "Resource group 'science' could not be found." in str(failed)
    assert "az group create --name science --location westeurope" in str(failed)
    assert type(failed).__name__ == "ServiceError"
    assert "REGION" not in str(failed)


@pytest.mark.parametrize(
    ("secret", "said"),
    [("env:NOT_SET", "no variable NOT_SET"), ("file:/nowhere/at-all", "cannot be read"), ("", "client_secret missing")],
)
def test_a_principal_that_is_not_complete_begins_no_run(run: Run, monkeypatch: pytest.MonkeyPatch, secret: str, said: str) -> None:
    given = {"SUBSCRIPTION": ID, "RESOURCE_GROUP": "g", "LOCATION": "eastus", "TENANT_ID": ID, "CLIENT_ID": ID, "CLIENT_SECRET": secret}
    for name, value in given.items():
        monkeypatch.setenv(f"ACI_NOTEBOOK_{name}", value)
    before = len(run("%aci history").check().value)
    failed = run("%%aci\n1").error
    assert isinstance(failed, SettingsError), repr(failed)
    assert said in str(failed)
    assert len(run("%aci history").check().value) == before


def test_settings_that_cannot_be_read_do_not_break_completion(run: Run, shell: Any, config: Path) -> None:
    config.write_text("cpu = = 2")
    found = {}
    with provisionalcompleter():
        for line in ("%%aci --location eas", "%%aci --on a", "%%aci --me", "%aci profile use x"):
            found[line] = [item.text for item in shell.Completer.completions(line, len(line))]
    assert "eastus" in found["%%aci --location eas"]
    assert found["%%aci --on a"] == ["azure"]
    assert found["%%aci --me"] == ["--memory"]


def test_launch_without_a_place_for_widgets_says_its_text(run: Run) -> None:
    assert "The launcher is a form of widgets" in run("%aci launch").check().stdout
    assert "there is no form with a program" in str(run("%aci launch --last").error)
