"""Every default that the field table marks as a setting: in each layer, and the layers over each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aci_notebook.errors import SettingsError
from aci_notebook.settings import DEFAULT_KEYS, NAMES, Settings, user_file
from aci_notebook.table import BY_NAME, FIELDS

IDENTITY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/me"
SUBNET = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/inner"
TOML = {
    "image": ('"alpine"', '"debian"', "busybox"),
    "cpu": ("2", "3", "4"),
    "memory_gb": ('"2GB"', "3", "4096MB"),
    "env": ('{A = "1"}', '["A=2"]', 'A=3 "B=two words"'),
    "registries": ('["a.azurecr.io"]', '["b.azurecr.io=me:env:P"]', "c.azurecr.io=me:file:/p"),
    "identities": ('["system"]', f'["{IDENTITY}"]', f"system {IDENTITY}"),
    "acr_identity": (f'"{IDENTITY}1"', f'"{IDENTITY}2"', IDENTITY),
    "subnet": (f'"{SUBNET}1"', f'"{SUBNET}2"', SUBNET),
    "spot": ("true", "false", "yes"),
    "tags": ('{team = "blue"}', '["team=red"]', "team=green cost=42"),
    "timeout_s": ('"1h"', "7200", "3h"),
    "start_timeout_s": ('"1m"', '"2m"', "180"),
    "max_cost_usd": ("0.5", "1", "$2"),
    "retries": ("1", "2", "3"),
    "keep": ('"failed"', '"always"', "never"),
    "on_interrupt": ('"detach"', '"stop"', "detach"),
    "quiet": ("true", "false", "on"),
    "timestamps": ("true", "false", "1"),
    "lines_max": ("100", "200", "300"),
}


def parsed(name: str, value: Any) -> Any:
    return BY_NAME[name].parse(value, BY_NAME[name].option)


def literal(text: str) -> Any:
    import tomllib

    return tomllib.loads(f"v = {text}")["v"]


def test_every_setting_of_the_table_is_tried_here() -> None:
    assert set(TOML) == set(DEFAULT_KEYS)
    assert {item.name for item in FIELDS if item.setting} == set(DEFAULT_KEYS) | {
        "on", "profile", "subscription", "resource_group", "location",
    }  # fmt: skip


@pytest.mark.parametrize("name", DEFAULT_KEYS)
def test_a_default_in_each_layer_goes_over_the_one_before(tmp_path: Path, name: str) -> None:
    first, second, text = TOML[name]
    environ = {"ACI_NOTEBOOK_HOME": str(tmp_path / "home")}
    project = tmp_path / "project" / "below"
    project.mkdir(parents=True)
    path = user_file(environ)
    path.parent.mkdir(parents=True)

    def now(**more: Any) -> tuple[Any, str]:
        settings = Settings(environ, project, **more)
        return parsed(name, settings.defaults()[name]), dict(settings.items())[name].origin

    path.write_text(f"{name} = {first}\n[profile.other]\n{name} = {first}\n")
    assert now() == (parsed(name, literal(first)), str(path))
    toml = project.parent / "pyproject.toml"
    toml.write_text(f"[tool.aci-notebook]\n{name} = {second}\n")
    assert now() == (parsed(name, literal(second)), str(toml))
    environ[f"ACI_NOTEBOOK_{name.upper()}"] = text
    words = {"env": ["A=3", "B=two words"], "tags": ["team=green", "cost=42"], "identities": ["system", IDENTITY]}
    assert now() == (parsed(name, words.get(name, text)), f"ACI_NOTEBOOK_{name.upper()}")
    assert now(profile="other") == (parsed(name, literal(first)), "profile other")
    assert now(profile="other", session={name: literal(second)}) == (parsed(name, literal(second)), "%config AciMagics")
    assert now(profile="other", session={name: literal(first)}, line={name: literal(second)})[1] == "the line"


@pytest.mark.parametrize("name", DEFAULT_KEYS)
def test_the_name_of_the_option_is_taken_too(tmp_path: Path, name: str) -> None:
    word = BY_NAME[name].option.removeprefix("--").replace("-", "_")
    assert word in NAMES
    environ = {"ACI_NOTEBOOK_HOME": str(tmp_path), f"ACI_NOTEBOOK_{word.upper()}": TOML[name][2]}
    assert name in Settings(environ, tmp_path).defaults()


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("cpu = 0.5", "cpu '0.5': must be between 1 and 31 cores", ""),
        ("memory = 'lots'", "memory 'lots': must be a number of GB", "4GB"),
        ("keep = 'maybe'", "keep 'maybe': must be one of never, failed, always", ""),
        ("tags = 'team'", "needs a value", "team=VALUE"),
        ("registries = ['a.azurecr.io=me:hunter22']", "takes the place of a secret" , ""),
        ("image = 'Python:3'", "image paths are lower case", "python:3"),
        ("cpus_max = 3", "cpus_max is not a setting", "settings are: "),
        ("memry_gb = 3", "memry_gb is not a setting", "did you mean memory_gb?"),
    ],
)  # fmt: skip
def test_a_wrong_default_is_named_where_it_stands(tmp_path: Path, text: str, said: str, remedy: str) -> None:
    environ = {"ACI_NOTEBOOK_HOME": str(tmp_path)}
    user_file(environ).write_text(text)
    with pytest.raises(SettingsError) as caught:
        Settings(environ, tmp_path)
    assert str(user_file(environ)) in str(caught.value)
    assert said in str(caught.value)
    assert remedy in caught.value.hint
    assert "hunter22" not in str(caught.value)
