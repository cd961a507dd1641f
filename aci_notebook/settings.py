"""Where settings come from, and which one wins. Values keep their origin, so `%aci config --origin` can say it.

Lowest first: built in < user file (`config.toml` in the platform's config folder) < project `pyproject.toml [tool.aci-notebook]` <
`ACI_NOTEBOOK_*` < profile (`[profile.NAME]` of either file) < `%config AciMagics.…` < options on the line.

"Configured for Azure" means by us: a bare `AZURE_*` left by another tool never sends anybody's cell to a cloud. Half-configured is an error
that names what is missing. A client secret is given by its place (`env:NAME`, `file:PATH`), never as a value.

The defaults of a run are those options of the field table that are marked as settings; a value is checked where it stands, as its option
checks it. Several of an option (`tags`, `registries`) are a TOML list or table; in the environment they are words: `a=b "c=d e"`.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .errors import OptionError, SettingsError, did_you_mean
from .table import BY_NAME, FIELDS

PREFIX = "ACI_NOTEBOOK_"
LOCAL_SUBSCRIPTION, LOCAL_GROUP, LOCAL_LOCATION = "00000000-0000-0000-0000-000000000000", "local", "westeurope"
PLACE_KEYS = ("on", "profile", "subscription", "resource_group", "location", "tenant_id", "client_id", "client_secret")
DEFAULT_KEYS = tuple(item.name for item in FIELDS if item.setting and item.name not in PLACE_KEYS)
LOCAL_KEYS = ("local_runtime", "local_idle_s")
KEYS = (*PLACE_KEYS, *DEFAULT_KEYS, *LOCAL_KEYS)


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it came from."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where runs go: everything that decides it. `client_secret` is a reference."""

    target: Literal["azure", "local"]
    subscription: str = LOCAL_SUBSCRIPTION
    resource_group: str = LOCAL_GROUP
    location: str = LOCAL_LOCATION
    tenant_id: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    profile: str = ""


def home(environ: Mapping[str, str] | None = None) -> Path:
    """The data folder: `ACI_NOTEBOOK_HOME`, else the platform's user data folder."""
    environ = os.environ if environ is None else environ
    override = environ.get("ACI_NOTEBOOK_HOME")
    if override:
        return Path(override).expanduser()
    import platformdirs

    return platformdirs.user_data_path("aci-notebook")


def user_file(environ: Mapping[str, str] | None = None) -> Path:
    """The user's config.toml; under `ACI_NOTEBOOK_HOME` where that is set."""
    environ = os.environ if environ is None else environ
    if environ.get("ACI_NOTEBOOK_HOME"):
        return home(environ) / "config.toml"
    import platformdirs

    return platformdirs.user_config_path("aci-notebook") / "config.toml"


class Settings:
    """All layers, read once. `with_profile` gives another view of the same layers."""

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
        profile: str | None = None,
        session: Mapping[str, Any] | None = None,
        line: Mapping[str, Any] | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._folder = Path.cwd() if folder is None else folder
        self._session, self._line, self._where = dict(session or {}), dict(line or {}), dict(where or {})
        self._profile = profile
        user, user_origin = _read(user_file(self._environ)), str(user_file(self._environ))
        project, project_origin = _project(self._folder)
        self.profiles: dict[str, Mapping[str, Any]] = {**_profiles(user, user_origin), **_profiles(project, project_origin)}
        self._origins = {
            **dict.fromkeys(_profiles(user, user_origin), user_origin),
            **dict.fromkeys(_profiles(project, project_origin), project_origin),
        }
        layers = [
            ({"local_runtime": "auto", "local_idle_s": 900}, "built in"),
            (_plain(user, user_origin), user_origin),
            (_plain(project, project_origin), project_origin),
            *_environment(self._environ),
        ]
        self._values: dict[str, Setting] = {}
        for values, origin in layers:
            self._values.update({key: Setting(value, origin) for key, value in values.items()})
        chosen = profile or self._text("profile")
        if chosen:
            self._use(chosen)
        self._values.update({key: Setting(value, "%config AciMagics") for key, value in self._session.items()})
        self._values.update({key: Setting(value, "the line") for key, value in self._line.items()})

    def with_profile(self, name: str) -> Settings:
        """The same settings under another profile."""
        return Settings(self._environ, self._folder, name, self._session, self._line, self._where)

    def over(self, values: Mapping[str, Any], where: Mapping[str, Any] | None = None) -> Settings:
        """The same settings under what a line says. `where` fills in for a place in Azure, but does not by itself choose one."""
        return Settings(self._environ, self._folder, self._profile, self._session, values, where) if values or where else self

    def get(self, key: str) -> Any:
        """The value of a key, or None."""
        found = self._values.get(key)
        return found.value if found else None

    def items(self) -> Iterator[tuple[str, Setting]]:
        """(key, value with origin), sorted by key; client secrets are references already."""
        yield from sorted(self._values.items())

    def defaults(self) -> dict[str, Any]:
        """Values for the fields of a run, for whatever the line does not say."""
        return {key: self._values[key].value for key in DEFAULT_KEYS if key in self._values}

    def shown(self) -> dict[str, Any]:
        """Those of them that say how a run is shown."""
        return {key: value for key, value in self.defaults().items() if BY_NAME[key].of == "call"}

    def place(self, on: str | None = None) -> Place:
        """Where a run goes: `on` is "azure", "local" or a profile's name; without it the settings decide.

        Raises SettingsError where Azure is wanted and something is missing, and for an unknown profile.
        """
        wish = on or self._text("on")
        if wish and wish not in {"azure", "local"}:
            chosen = self.with_profile(wish)
            return chosen.place(chosen.profiles[wish].get("on") or "azure")
        azure = wish == "azure" or (not wish and bool(self._text("subscription") or self._text("resource_group")))
        if not azure:
            return Place("local", location=self._text("location") or LOCAL_LOCATION)
        return self._azure_place()

    def _azure_place(self) -> Place:
        self._values.update({key: Setting(value, "the line") for key, value in self._where.items()})
        needed = ("subscription", "resource_group", "location")
        missing = [key for key in needed if not self._text(key)]
        if missing:
            names = ", ".join(f"{key} ({PREFIX}{key.upper()})" for key in missing)
            have = ", ".join(f"{key} from {self._values[key].origin}" for key in needed if self._text(key))
            raise SettingsError(
                f"Azure is not fully configured: {names} missing" + (f"; there is {have}" if have else ""),
                hint=f"set it in the environment, in {user_file(self._environ)}, or in a profile; --on local runs without Azure",
            )
        subscription = self._text("subscription")
        if not re.fullmatch(r"[0-9a-fA-F-]{36}", subscription):
            raise SettingsError(f"subscription {subscription!r} is not a subscription id", hint="az account show --query id --output tsv")
        return Place(
            "azure",
            subscription.lower(),
            self._text("resource_group"),
            self._text("location"),
            self._text("tenant_id"),
            self._text("client_id"),
            self._text("client_secret"),
            self._text("profile"),
        )

    def _text(self, key: str) -> str:
        found = self._values.get(key)
        return str(found.value).strip() if found is not None and found.value is not None else ""

    def all_profiles(self) -> dict[str, Mapping[str, Any]]:
        """Profiles of the files, and Airflow connections that can be used as one."""
        from .airflow_connection import PREFIX as AIRFLOW

        found = dict(self.profiles)
        for key in self._environ:
            if key.startswith(AIRFLOW):
                name = key.removeprefix(AIRFLOW).lower()
                try:
                    found.setdefault(name, self._connection(name) or {})
                except SettingsError:
                    continue  # a connection of another type: somebody else's, and no profile
        return found

    def origin_of_profile(self, name: str) -> str:
        """The file or the variable that a profile stands in."""
        return self._origins.get(name) or f"AIRFLOW_CONN_{name.upper()}"

    def _connection(self, name: str) -> Mapping[str, Any] | None:
        from .airflow_connection import profile_of

        return profile_of(name, self._environ)

    def _use(self, name: str) -> None:
        if name not in self.profiles and (connection := self._connection(name)) is not None:
            self.profiles[name] = connection
        if name not in self.profiles:
            known = ", ".join(sorted(self.all_profiles())) or "none"
            raise SettingsError(
                f"there is no profile {name!r}; known: {known}", hint=f"write [profile.{name}] into {user_file(self._environ)}"
            )
        origin = f"profile {name}"
        self._values.update({key: Setting(value, origin) for key, value in self.profiles[name].items()})
        self._values["profile"] = Setting(name, origin)


def _read(path: Path) -> Mapping[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except PermissionError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}", hint="make it readable for you") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = "mend that line; values are written as cpu = 2, image = 'alpine'"
        if "Cannot overwrite" in str(error):
            hint = "a name stands for one thing: which of the [profile.NAME] is used is said by on = 'NAME'"
        raise SettingsError(f"{path} is not valid TOML: {error}", hint=hint) from error


def _project(folder: Path) -> tuple[Mapping[str, Any], str]:
    """The nearest pyproject.toml upwards that has a table of ours."""
    for parent in (folder, *folder.parents):
        path = parent / "pyproject.toml"
        if path.is_file():
            table = _read(path).get("tool", {}).get("aci-notebook")
            if isinstance(table, Mapping):
                return table, str(path)
    return {}, ""


def _plain(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    return checked({key: value for key, value in values.items() if key != "profile" or isinstance(value, str)}, origin)


def _profiles(values: Mapping[str, Any], origin: str) -> dict[str, Mapping[str, Any]]:
    table = values.get("profile")
    if not isinstance(table, Mapping):
        return {}
    return {str(name): checked(dict(entry), f"{origin} [profile.{name}]") for name, entry in table.items() if isinstance(entry, Mapping)}


_OTHER_NAMES = {item.option.lstrip("-").replace("-", "_"): item.name for item in FIELDS if item.setting}
_OTHER_NAMES |= {"cpus": "cpu", "subscription_id": "subscription"}
NAMES = frozenset({*KEYS, *_OTHER_NAMES})


def checked(values: dict[str, Any], origin: str) -> dict[str, Any]:
    """The values under their one name; unknown keys, literal secrets and what the option of a default refuses are refused."""
    found: dict[str, Any] = {}
    for raw, value in values.items():
        name = raw.replace("-", "_").lower()
        key = _OTHER_NAMES.get(name, name)
        if key not in KEYS:
            near = did_you_mean(name, KEYS) or f"settings are: {', '.join(KEYS)}"
            raise SettingsError(f"{origin}: {raw} is not a setting", hint=near)
        if key == "client_secret" and not re.match(r"(env|file|airflow):.", str(value)):
            raise SettingsError(f"{origin}: client_secret takes the place of a secret", hint="client_secret = 'env:NAME' or 'file:PATH'")
        if key in DEFAULT_KEYS:
            try:
                BY_NAME[key].parse(value, raw)
            except OptionError as error:
                raise SettingsError(f"{origin}: {error.message}", hint=error.hint) from None
        found[key] = value
    return found


def _environment(environ: Mapping[str, str]) -> Iterator[tuple[dict[str, Any], str]]:
    skipped = {"HOME", "UI"}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name[len(PREFIX) :] in skipped or not environ[name]:
            continue
        key = name[len(PREFIX) :].lower()
        key = _OTHER_NAMES.get(key, key)
        if key in KEYS:
            yield checked({key: _words(environ[name], name) if _is_repeated(key) else environ[name]}, name), name


def _is_repeated(key: str) -> bool:
    return key in DEFAULT_KEYS and BY_NAME[key].repeat


def _words(text: str, name: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}", hint=f"several values are words: {name}='a=b \"c=d e\"'") from None


def read_reference(reference: str, environ: Mapping[str, str], option: str) -> str:
    """The value that `env:NAME` or `file:PATH` points to. Raises SettingsError that names the place, never the value."""
    kind, _, key = reference.partition(":")
    if kind == "airflow":
        from .airflow_connection import password_of, variable

        password = password_of(key, environ)
        if not password:
            raise SettingsError(f"{option}: {variable(key)} has no password", hint=f"set {variable(key)} before the kernel starts, or %env")
        return password
    if kind == "env":
        value = environ.get(key)
        if value is None:
            raise SettingsError(
                f"{option}: the environment of this kernel has no variable {key}", hint=f"set {key} before the kernel starts, or %env"
            )
        return value
    try:
        return Path(key).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{option}: the file {key} cannot be read: {error}", hint="check the path") from error
