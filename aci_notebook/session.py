"""The composition root: settings, credential, backend, history and runs come together here, and only here both targets are known.

`connect()` gives the session of a place; all sessions of a kernel share one history, one presence and one set of runs.
"""

from __future__ import annotations

import atexit
import getpass
import os
import secrets as random
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import fields
from .errors import OptionError, SettingsError
from .history import HistoryStore
from .payload import GroupPlan, Origin, group_name, plan
from .presence import Presence
from .record import RunRecord
from .runs import Run, Runs
from .settings import LOCAL_GROUP, LOCAL_SUBSCRIPTION, Place, Settings, home, read_reference
from .spec import Input, RunSpec, Secret

if TYPE_CHECKING:
    from .aci import AciBackend, Endpoint
    from .localserver import LocalServer

_ID_LETTERS = "bcdfghjkmnpqrstvwxz23456789"
RUNNER_FILES = ("start.sh", "runner.py", "runner.sh")


@dataclass(slots=True)
class House:
    """What all sessions of this kernel share."""

    folder: Path
    store: HistoryStore
    presence: Presence
    runs: Runs


_house: House | None = None
_sessions: dict[Place, Session] = {}
_lock = threading.RLock()


def house() -> House:
    """History, presence and runs of this kernel; made once, and anew when `ACI_NOTEBOOK_HOME` changes."""
    global _house
    with _lock:
        folder = home()
        if _house is None or _house.folder != folder:
            store = HistoryStore(folder)
            _house = House(folder, store, Presence(folder), Runs(store))
            _sessions.clear()
            atexit.register(_house.runs.settle)
        return _house


def connect(on: str | None = None, settings: Settings | None = None) -> Session:
    """The session of the place that `on` or the settings name ("azure", "local", a profile). Nothing is sent yet.

    Raises SettingsError where Azure is wanted and only half configured.
    """
    settings = settings or Settings()
    place = settings.place(on)
    with _lock:
        shared = house()
        if place not in _sessions:
            _sessions[place] = Session(place, settings, shared)
        return _sessions[place]


class Session:
    """One connection: a place, its backend, and the runs that go there."""

    def __init__(self, place: Place, settings: Settings, shared: House) -> None:
        self.place = place
        self.settings = settings
        self.house = shared
        self._server: LocalServer | None = None
        self._backends: dict[str, AciBackend] = {}
        self._secret_of_principal: str | None = None
        self._credential: Any = None

    # -- making runs ----------------------------------------------------------------------------------------------

    def spec(
        self, values: Mapping[str, Any], code: str | None = None, *, command: Sequence[str] = (), inputs: Sequence[Input] = ()
    ) -> RunSpec:
        """The spec of the given field values over the settings' defaults, secrets resolved. Raises OptionError."""
        defaults = self.settings.defaults()
        merged = {**defaults, **{name: value for name, value in values.items() if value is not None}}
        built = fields.build(merged, code, command=command, inputs=inputs, python_minor=f"{sys.version_info[0]}.{sys.version_info[1]}")
        return replace(built, secrets=tuple(resolve(secret) for secret in built.secrets))

    def prepare(self, spec: RunSpec) -> tuple[RunRecord, GroupPlan]:
        """The record and the group of a run that has not begun; nothing is sent. Raises OptionError for what is too large."""
        shared = self.house
        run_id = "".join(random.choice(_ID_LETTERS) for _ in range(8))
        now = datetime.now(UTC)
        location = spec.location or self.place.location
        origin = Origin(_user(), socket.gethostname(), notebook_name(), shared.presence.id)
        group = plan(spec, run_id, now=now, location=location, origin=origin, runner=runner_files(), extra=_extra(spec))
        record = RunRecord(
            run_id=run_id,
            name=group_name(spec, run_id),
            target=self.place.target,
            created_at=now,
            spec=without_values(spec),
            location=location,
            resource_group=spec.resource_group or self.place.resource_group,
            subscription_id=self.place.subscription,
            notebook=origin.notebook,
            kernel=origin.kernel,
            host=origin.host,
            runtime=self._server.runtime if self._server else "",
            log_path=str(shared.store.log_path(run_id)),
        )
        return record, group

    def submit(self, spec: RunSpec, *, foreground: bool = True) -> Run:
        """Begins the run and returns its handle; the record is on disk before anything is sent."""
        self.house.presence.hold()
        backend = self.backend(spec.resource_group)
        if self.place.target == "local":
            self.local_server()
        record, group = self.prepare(spec)
        return self.house.runs.start(record, group, backend, foreground=foreground)

    def adopt(self, record: RunRecord, *, foreground: bool = True) -> Run:
        """Follows a run that another kernel began."""
        self.house.presence.hold()
        return self.house.runs.adopt(record, self.backend(record.resource_group), foreground=foreground)

    # -- the other end --------------------------------------------------------------------------------------------

    def backend(self, resource_group: str | None = None) -> AciBackend:
        """Who answers for the groups of a resource group (default: the settings')."""
        from .aci import AciBackend

        group = resource_group or self.place.resource_group
        with _lock:
            if group not in self._backends:
                self._backends[group] = AciBackend(lambda: self._endpoint(group))
            return self._backends[group]

    def local_server(self) -> LocalServer:
        """The local ACI, started if need be."""
        from . import localserver

        if self._server is None:
            self._server = localserver.ensure(
                self.house.folder,
                runtime=str(self.settings.get("local_runtime") or "auto"),
                idle_s=float(self.settings.get("local_idle_s") or 900),
            )
        return self._server

    def _endpoint(self, resource_group: str) -> Endpoint:
        from .aci import AZURE_URL, Endpoint

        if self.place.target == "azure":
            return Endpoint(AZURE_URL, self.place.subscription, resource_group, "azure", credential=self._azure_credential())
        self._server = None  # asked for again only after nobody answered: it may have been started anew elsewhere
        server = self.local_server()
        return Endpoint(server.url, LOCAL_SUBSCRIPTION, resource_group or LOCAL_GROUP, "local", token=server.token)

    def _azure_credential(self) -> Any:
        if self._credential is None:
            self._credential = _credential(self.place)
        return self._credential


def _credential(place: Place) -> Any:
    from azure.identity import ClientSecretCredential, DefaultAzureCredential

    given = [key for key in ("tenant_id", "client_id", "client_secret") if getattr(place, key)]
    if not given:
        return DefaultAzureCredential()
    missing = [key for key in ("tenant_id", "client_id", "client_secret") if not getattr(place, key)]
    if missing:
        raise SettingsError(
            f"the service principal is not complete: {', '.join(missing)} missing",
            hint="give tenant_id, client_id and client_secret (a reference: env:NAME or file:PATH), or none of them",
        )
    secret = read_reference(place.client_secret, os.environ, "client_secret")
    return ClientSecretCredential(place.tenant_id, place.client_id, secret)


def resolve(secret: Secret) -> Secret:
    """The secret with the value that its reference points to. Raises OptionError that names the place, never the value."""
    try:
        value = read_reference(secret.source, os.environ, "--secret")
    except SettingsError as error:
        raise OptionError("--secret", secret.name, error.message.removeprefix("--secret: "), error.hint) from None
    if not value:
        raise OptionError("--secret", secret.name, f"{secret.source} is empty", "give it a value, or leave the option out")
    return replace(secret, value=value)


def without_values(spec: RunSpec) -> RunSpec:
    """The spec as the record keeps it: no secret values, no input bytes."""
    return replace(
        spec,
        secrets=tuple(replace(secret, value="") for secret in spec.secrets),
        inputs=tuple(replace(item, data=b"") for item in spec.inputs),
    )


def runner_files() -> dict[str, bytes]:
    """The runner as it travels."""
    folder = resources.files("aci_notebook") / "runner"
    return {name: (folder / name).read_bytes() for name in RUNNER_FILES}


def _extra(spec: RunSpec) -> dict[str, bytes]:
    if not (spec.outputs or any(item.by_value for item in spec.inputs)):
        return {}
    from .exchange import cloudpickle_zip

    return {"cloudpickle.zip": cloudpickle_zip()}


def notebook_name() -> str:
    """The notebook's file name where the front end tells it, else an empty text; a label only."""
    return Path(os.environ.get("JPY_SESSION_NAME", "")).name


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
