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
from .payload import LINGER_S, GroupPlan, Origin, group_name, packages_of, plan
from .presence import Presence
from .record import RunRecord
from .runs import Run, Runs
from .settings import LOCAL_GROUP, LOCAL_SUBSCRIPTION, Place, Settings, home, read_reference
from .sources import gather, resolve
from .spec import Input, RunSpec

if TYPE_CHECKING:
    from .aci import AciBackend, Endpoint
    from .localserver import LocalServer
    from .stage import Backend

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
            for session in _sessions.values():
                session.close()
            _sessions.clear()
            atexit.register(_house.runs.settle)
        return _house


def leave() -> None:
    """Lets go of what this kernel holds: connections, the history, its lock. Nothing of it while a run is still followed."""
    global _house
    with _lock:
        if _house is None or not all(run.wait_gone(0) for run in _house.runs.all()):
            return
        for session in _sessions.values():
            session.close()
        _sessions.clear()
        atexit.unregister(_house.runs.settle)
        _house.store.close()
        _house.presence.release()
        _house = None


def connect(on: str | None = None, settings: Settings | None = None) -> Session:
    """The session of the place that `on` or the settings name ("azure", "local", a profile). Nothing is sent yet.

    Raises SettingsError where Azure is wanted and only half configured.
    """
    settings = settings or Settings()
    wish = on or settings.get("on")
    if wish and wish not in {"azure", "local"}:
        settings = settings.with_profile(wish)
    place = settings.place(on)
    with _lock:
        shared = house()
        if place not in _sessions:
            _sessions[place] = Session(place, settings, shared)
        _sessions[place].settings = settings  # the defaults of now: %config may have changed them
        return _sessions[place]


def connect_for(values: dict[str, Any], settings: Settings | None = None) -> Session:
    """The session that a line's options choose; takes those that only say where (`--on`, `--profile`, `--subscription`) out of `values`."""
    names = [name for name in values if name in fields.BY_NAME and fields.BY_NAME[name].of == "place"]
    chosen = fields.check({name: values.pop(name) for name in names})
    settings = settings or Settings()
    if "profile" in chosen:
        settings = settings.with_profile(chosen["profile"])
    line = {"subscription": chosen["subscription"]} if "subscription" in chosen else {}
    where = {name: values[name] for name in ("resource_group", "location") if values.get(name)}
    return connect(chosen.get("on"), settings.over(line, where))


class Session:
    """One connection: a place, its backend, and the runs that go there."""

    def __init__(self, place: Place, settings: Settings, shared: House) -> None:
        self.place = place
        self.settings = settings
        self.house = shared
        self._server: LocalServer | None = None
        self._backends: dict[str, AciBackend] = {}
        self._secret_of_principal: str | None = None
        self._verified = False
        self._named: set[str] = set()
        self._credential: Any = None

    # -- making runs ----------------------------------------------------------------------------------------------

    def spec(
        self,
        values: Mapping[str, Any],
        code: str | None = None,
        *,
        command: Sequence[str] = (),
        inputs: Sequence[Input] = (),
        function: str = "",
    ) -> RunSpec:
        """The spec of the given field values over the settings' defaults; files are read, secrets resolved. Raises OptionError."""
        minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
        given = {name: value for name, value in values.items() if value is not None}
        gathered, argv = gather(given, code, tuple(command), minor)
        merged = _over(self.settings.defaults(), gathered)
        implied: Sequence[str] = ()
        if code is not None and not merged.get("image") and merged.get("lang", "python") == "python":
            from .exchange import requirements_of_imports

            asked = fields.check({"requirements": merged.get("requirements") or ()})["requirements"]
            implied = requirements_of_imports(code, packages_of(asked))
        built = fields.build(merged, code, command=argv, inputs=inputs, implied=implied, function=function, python_minor=minor)
        if not built.has_runner and "image" not in merged:
            raise OptionError("%aci run", None, "has neither an image nor a command", "%aci run --image alpine -- echo hello")
        return self._within_budget(resolve(built))

    def _within_budget(self, spec: RunSpec) -> RunSpec:
        """--max-cost as a time-out: the container ends itself before the money is spent, the runner's linger included.

        On the local ACI it is the same where a price is known, as a rehearsal; where none is, a run that costs nothing keeps within it.
        """
        if spec.max_cost_usd is None:
            return spec
        from .pricing import PriceBook, timeout_for_cost

        estimate = PriceBook(self.house.folder).estimate(spec, target="azure", location=spec.location or self.place.location)
        if self.place.target == "local" and not estimate.azure_usd_per_hour:
            return spec
        return replace(spec, timeout_s=min(spec.timeout_s, timeout_for_cost(spec.max_cost_usd, estimate, after_s=LINGER_S)))

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
            profile=self.place.profile,
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
        backend: Backend = self.backend(spec.resource_group)
        if self.place.target == "local":
            self.local_server()
        else:
            self._azure_credential()  # what is missing for it is said here, before there is a run
        self._verify_once()
        if spec.if_exists != "fail":
            from .existing import settle

            way = settle(self, spec, self.backend(spec.resource_group), foreground=foreground)
            if isinstance(way, Run):
                return way
            backend = way
        record, group = self.prepare(spec)
        return self.house.runs.start(record, group, backend, foreground=foreground)

    def adopt(self, record: RunRecord, *, foreground: bool = True) -> Run:
        """Follows a run that another kernel began. Raises OptionError where that kernel lives."""
        from .sweep import take_over

        shared = self.house
        shared.presence.hold()
        with shared.presence.alone():
            mine = shared.runs.get(record.run_id)
            record = mine.record if mine is not None else take_over(self, shared.store.load(record.run_id) or record)
            return shared.runs.adopt(record, self.backend(record.resource_group), foreground=foreground)

    def first_word(self, spec: RunSpec) -> str:
        """Before the first run that this kernel sends to a resource group in Azure: where its money goes. Empty afterwards, and locally."""
        group = spec.resource_group or self.place.resource_group
        if self.place.target == "local" or group in self._named:
            return ""
        self._named.add(group)
        return f"runs in Azure: subscription {self.place.subscription}, resource group {group}, {spec.location or self.place.location}"

    def _verify_once(self) -> None:
        """The first run of a session looks in the background at deletions that an earlier one left unverified."""
        if not self._verified:
            self._verified = True
            from .sweep import verify_in_background

            verify_in_background(self)

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

    def close(self) -> None:
        """Closes the connections of this session; runs that still go on open new ones."""
        with _lock:
            for backend in self._backends.values():
                backend.close()

    def _endpoint(self, resource_group: str) -> Endpoint:
        from .aci import AZURE_URL, Endpoint

        if self.place.target == "azure":
            return Endpoint(AZURE_URL, self.place.subscription, resource_group, "azure", self.place.location, self._azure_credential())
        self._server = None  # asked for again only after nobody answered: it may have been started anew elsewhere
        server = self.local_server()
        return Endpoint(server.url, LOCAL_SUBSCRIPTION, resource_group or LOCAL_GROUP, "local", self.place.location, token=server.token)

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


def _over(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What the line says over the settings' defaults; tags and variables of both are there, the line's win."""
    merged = {**defaults, **given}
    for name in ("env", "tags"):
        if name in defaults and name in given:
            item = fields.BY_NAME[name]
            merged[name] = {**item.parse(defaults[name], item.option), **item.parse(given[name], item.option)}
    return merged


def without_values(spec: RunSpec) -> RunSpec:
    """The spec as the record keeps it: no secret values, no bytes of inputs or files."""
    return replace(
        spec,
        secrets=tuple(replace(secret, value="") for secret in spec.secrets),
        registries=tuple(replace(item, password=replace(item.password, value="")) for item in spec.registries),
        volumes=tuple(
            replace(item, key=replace(item.key, value=""), files=tuple(replace(file, data=b"") for file in item.files))
            for item in spec.volumes
        ),
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
