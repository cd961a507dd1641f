"""The doctor finds each planted fault and names its remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from shells import Run

from aci_notebook.doctor import examine
from aci_notebook.settings import Settings

ID = "6e0c6e0a-0000-4000-8000-000000000001"
Find = Callable[..., tuple[str, str]]


@pytest.fixture
def find(shell: Any) -> Find:
    """(detail, remedy) of what a check found wrong."""

    def found(check: str, on: str | None = None, **options: Any) -> tuple[str, str]:
        table = examine(Settings, on, **options)
        wrong = table[table["result"].isin(["failed", "warning"])]
        assert check in set(wrong["check"]), table.to_string()
        assert all(wrong["remedy"]), wrong.to_string()
        row = wrong[wrong["check"] == check].iloc[0]
        return str(row["detail"]), str(row["remedy"])

    return found


@pytest.fixture
def fault(server: Any) -> Iterator[Callable[..., None]]:
    def order(on: str, after: int = 0, **do: Any) -> None:
        server.ask("/_aci/faults", {"on": on, "times": 1, "after": after, "do": do})

    yield order
    server.ask("/_aci/faults", method="DELETE")


def test_all_is_well(run: Run) -> None:
    table = run("%aci doctor").check().value
    assert set(table["result"]) == {"ok"}, table.to_string()


def test_settings_that_are_not_toml(find: Find, home: Path) -> None:
    path = home / "config.toml"
    path.write_text("cpu = = 2")
    try:
        detail, remedy = find("settings")
    finally:
        path.unlink()
    assert "is not valid TOML" in detail
    assert str(path) in detail
    assert "line 1" in detail
    assert "mend" in remedy


def test_a_setting_that_is_none(find: Find, home: Path) -> None:
    path = home / "config.toml"
    path.write_text("cpuz = 2")
    try:
        detail, remedy = find("settings")
    finally:
        path.unlink()
    assert "cpuz is not a setting" in detail
    assert "did you mean cpu?" in remedy


def test_a_default_that_no_option_takes(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACI_NOTEBOOK_MEMORY_GB", "lots")
    detail, remedy = find("settings")
    assert "ACI_NOTEBOOK_MEMORY_GB" in detail
    assert "must be a number of GB" in detail
    assert "4GB" in remedy


def test_a_variable_with_a_typing_error(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACI_NOTEBOOK_SUBSCRIPTON", ID)
    detail, remedy = find("variables")
    assert "ACI_NOTEBOOK_SUBSCRIPTON" in detail
    assert "did you mean ACI_NOTEBOOK_SUBSCRIPTION" in remedy


def test_half_configured(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACI_NOTEBOOK_SUBSCRIPTION", ID)
    detail, remedy = find("place")
    assert "resource_group (ACI_NOTEBOOK_RESOURCE_GROUP)" in detail
    assert "--on local" in remedy


def test_an_unknown_profile(find: Find) -> None:
    detail, remedy = find("place", "nobody")
    assert "no profile 'nobody'" in detail
    assert "[profile.nobody]" in remedy


def test_a_service_principal_without_its_secret(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "SUBSCRIPTION": ID,
        "RESOURCE_GROUP": "g",
        "LOCATION": "eastus",
        "TENANT_ID": ID,
        "CLIENT_ID": ID,
        "CLIENT_SECRET": "env:NOT_SET",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"ACI_NOTEBOOK_{name}", value)
    detail, remedy = find("credential")
    assert "no variable NOT_SET" in detail
    assert "set NOT_SET" in remedy


def test_a_folder_that_cannot_be_written(find: Find, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("aci_notebook.doctor.home", lambda: tmp_path / "file" / "below")
    detail, remedy = find("data folder")
    assert "cannot be written" in detail
    assert "ACI_NOTEBOOK_HOME" in remedy


@pytest.mark.parametrize(
    ("after", "do", "check", "said", "remedy"),
    [
        (0, {"status": 401, "code": "ExpiredAuthenticationToken"}, "credential", "refused", "%aci local stop"),
        (0, {"status": 403, "code": "AuthorizationFailed"}, "credential", "may not read", "Contributor"),
        (0, {"status": 404, "code": "SubscriptionNotFound"}, "credential", "not there", "az account list"),
        (0, {"drop": True}, "credential", "", "the service did not answer well"),
        (1, {"status": 409, "code": "MissingSubscriptionRegistration"}, "provider", "not registered", "az provider register"),
        (2, {"status": 404, "code": "ResourceGroupNotFound"}, "resource group", "there is no resource group", "az group create"),
    ],
)
def test_what_the_service_says(
    find: Find, fault: Callable[..., None], after: int, do: dict[str, Any], check: str, said: str, remedy: str
) -> None:
    fault("provider", after, **do)
    detail, hint = find(check)
    assert said in detail
    assert remedy in hint


def test_a_quota_that_is_used_up(find: Find, server: Any) -> None:
    before = server.ask("/_aci/limits")["cores"]
    server.ask("/_aci/limits", {"cores": 0})
    try:
        detail, remedy = find("quota")
    finally:
        server.ask("/_aci/limits", {"cores": before})
    assert "StandardCores: 0 of 0" in detail
    assert "%aci ps -a" in remedy


def test_a_region_without_the_service(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACI_NOTEBOOK_LOCATION", "westeurop")
    detail, remedy = find("region")
    assert "westeurop has no Container Instances" in detail
    assert "westeurope" in remedy


def test_a_clock_that_is_wrong(find: Find) -> None:
    detail, remedy = find("clock", now=lambda: datetime.now(UTC) + timedelta(minutes=10))
    assert "ahead of the service" in detail
    assert "NTP" in remedy
