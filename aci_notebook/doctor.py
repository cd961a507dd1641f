"""`%aci doctor`: what would go wrong, found before it does, each with its remedy. Looks and asks; changes nothing.

Each check is a function of the patient that returns a Finding; a check whose ground is missing (no session, no answer) is skipped and says
so. To add one: a function here, and its name in `CHECKS`, in the order in which a person would mend things.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

from .errors import AciError, did_you_mean
from .settings import NAMES, PREFIX, Place, Settings, home

if TYPE_CHECKING:
    import pandas as pd

    from .aci import AciBackend
    from .aci.inquiries import Answer

SKEW_LIMIT_S = 60
LEAST_FREE_BYTES = 200_000_000
NO_SETTINGS = {"HOME", "UI"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: `result` is ok, warning, failed or skipped."""

    check: str
    result: Literal["ok", "warning", "failed", "skipped"]
    detail: str = ""
    remedy: str = ""


@dataclass(slots=True)
class Patient:
    """What the checks look at, filled in by the earlier ones."""

    settings_of: Callable[[], Settings]
    on: str | None
    now: Callable[[], datetime]
    settings: Settings | None = None
    place: Place | None = None
    backend: AciBackend | None = None
    answer: Answer | None = None
    regions: list[str] = field(default_factory=list)


def examine(settings_of: Callable[[], Settings], on: str | None = None, now: Callable[[], datetime] | None = None) -> pd.DataFrame:
    """One row for each finding: check, result, detail, remedy."""
    import pandas as pd

    patient = Patient(settings_of, on, now or (lambda: datetime.now(UTC)))
    rows = [
        {"check": item.check, "result": item.result, "detail": item.detail, "remedy": item.remedy}
        for check in CHECKS
        for item in _guarded(check, patient)
    ]
    return pd.DataFrame(rows, columns=["check", "result", "detail", "remedy"])


def _guarded(check: Callable[[Patient], Iterator[Finding]], patient: Patient) -> Iterator[Finding]:
    name = check.__name__.replace("_", " ").strip()
    try:
        yield from check(patient)
    except AciError as error:
        yield Finding(name, "failed", error.message, error.hint)


def settings(patient: Patient) -> Iterator[Finding]:
    patient.settings = patient.settings_of()
    yield Finding("settings", "ok", "all files of settings can be read")


def variables(patient: Patient) -> Iterator[Finding]:
    known = {key.upper() for key in NAMES} | NO_SETTINGS
    strange = sorted(name for name in os.environ if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in known)
    for name in strange:
        near = did_you_mean(name, [PREFIX + key for key in known])
        yield Finding("variables", "warning", f"{name} is in the environment, and is no setting", near or "%aci config lists the settings")
    if not strange:
        yield Finding("variables", "ok", f"every {PREFIX}* variable is a setting")


def place(patient: Patient) -> Iterator[Finding]:
    if patient.settings is None:
        yield Finding("place", "skipped", "the settings cannot be read")
        return
    from .session import connect

    session = connect(patient.on, patient.settings)
    patient.place = session.place
    if session.place.target == "local":
        server = session.local_server()
        if server.warning:
            yield Finding("place", "warning", server.warning, "%aci local stop")
        else:
            yield Finding("place", "ok", f"cells run on the local ACI ({server.runtime}), {server.url}")
    else:
        where = f"subscription {session.place.subscription}, resource group {session.place.resource_group}, {session.place.location}"
        yield Finding("place", "ok", f"cells run in Azure: {where}")
    patient.backend = session.backend()


def data_folder(patient: Patient) -> Iterator[Finding]:
    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        remedy = "make it writable, or set ACI_NOTEBOOK_HOME to another folder"
        yield Finding("data folder", "failed", f"{folder} cannot be written: {error.strerror}", remedy)
        return
    if free < LEAST_FREE_BYTES:
        yield Finding("data folder", "warning", f"{folder} has {free / 1e6:.0f} MB left", "make room: logs of runs are kept there")
    else:
        yield Finding("data folder", "ok", f"{folder}, {free / 1e9:.1f} GB free")


def credential(patient: Patient) -> Iterator[Finding]:
    """A request with the credential: is it let in, and does anybody answer at all?"""
    if patient.backend is None:
        yield Finding("credential", "skipped", "it is not known where cells run")
        return
    from .aci.inquiries import ask

    answer = ask(patient.backend, "subscriptions/{subscription}", "2022-12-01")
    patient.answer = answer
    if answer.status == 200:
        yield Finding("credential", "ok", "the service lets it in")
    elif answer.status == 401:
        local = patient.place is not None and patient.place.target == "local"
        remedy = "%aci local stop, then run a cell again" if local else "az login, or a service principal in a profile"
        yield Finding("credential", "failed", f"the service refused it ({answer.code or 401})", remedy)
    elif answer.status == 403:
        yield Finding("credential", "failed", "it may not read the subscription", "ask for the role Contributor on the resource group")
    elif answer.status == 404:
        yield Finding("credential", "failed", "the subscription is not there, or not visible to it", "az account list --output table")
    else:
        yield Finding("credential", "warning", f"the service answered {answer.status} ({answer.code})", "try again in a minute")


def clock(patient: Patient) -> Iterator[Finding]:
    if patient.answer is None or not patient.answer.date:
        yield Finding("clock", "skipped", "the service gave no time")
        return
    skew = (patient.now() - parsedate_to_datetime(patient.answer.date)).total_seconds()
    if abs(skew) > SKEW_LIMIT_S:
        way = "ahead" if skew > 0 else "behind"
        remedy = "set the time of this machine (NTP): tokens and the latest start of a run depend on it"
        yield Finding("clock", "failed", f"this machine is {abs(skew):.0f} s {way} of the service", remedy)
    else:
        yield Finding("clock", "ok", f"within {max(1, abs(round(skew)))} s of the service")


def provider(patient: Patient) -> Iterator[Finding]:
    found = _ask(patient, "subscriptions/{subscription}/providers/Microsoft.ContainerInstance", "2022-12-01")
    if found is None:
        yield Finding("provider", "skipped", "the service does not answer")
        return
    from .aci.inquiries import locations_of_provider

    body: Any = found.body if isinstance(found.body, dict) else {}
    state = str(body.get("registrationState") or found.code or found.status)
    if found.status != 200 or state != "Registered":
        remedy = "once per subscription: az provider register --namespace Microsoft.ContainerInstance"
        yield Finding("provider", "failed", f"Microsoft.ContainerInstance is not registered ({state})", remedy)
        return
    patient.regions = locations_of_provider(body)
    yield Finding("provider", "ok", "Microsoft.ContainerInstance is registered")


def resource_group(patient: Patient) -> Iterator[Finding]:
    found = _ask(patient, "subscriptions/{subscription}/resourceGroups/{resource_group}", "2022-12-01")
    if found is None or patient.place is None:
        yield Finding("resource group", "skipped", "the service does not answer")
    elif found.status == 404:
        name, where = patient.place.resource_group, patient.place.location
        yield Finding("resource group", "failed", f"there is no resource group {name}", f"az group create --name {name} --location {where}")
    elif found.status == 403:
        yield Finding("resource group", "failed", "the credential may not read it", "ask for the role Contributor on the resource group")
    elif found.status != 200:
        yield Finding("resource group", "warning", f"the service answered {found.status} ({found.code})", "try again in a minute")
    else:
        yield Finding("resource group", "ok", patient.place.resource_group)


def region(patient: Patient) -> Iterator[Finding]:
    if patient.place is None or not patient.regions:
        yield Finding("region", "skipped", "the regions of the service are not known")
        return
    name = patient.place.location.lower().replace(" ", "")
    if name in patient.regions:
        yield Finding("region", "ok", f"{name} has Container Instances")
    else:
        near = did_you_mean(name, patient.regions) or f"one of {', '.join(patient.regions[:6])}, …"
        yield Finding("region", "failed", f"{name} has no Container Instances", f"set location: {near}")


def quota(patient: Patient) -> Iterator[Finding]:
    if patient.backend is None or patient.place is None or patient.answer is None:
        yield Finding("quota", "skipped", "the service does not answer")
        return
    from .aci.inquiries import usages

    found = usages(patient.backend, patient.place.location)
    full = [(name, *found[name]) for name in ("ContainerGroups", "StandardCores") if name in found and found[name][0] >= found[name][1]]
    for name, used, limit in full:
        remedy = "%aci ps -a shows what runs; end some, choose another region, or ask for more quota (a support request)"
        yield Finding("quota", "failed", f"{name}: {used} of {limit} are used in {patient.place.location}", remedy)
    if not full:
        cores = found.get("StandardCores")
        yield Finding("quota", "ok", f"{cores[1] - cores[0]} of {cores[1]} cores are free" if cores else "no quota is used up")


def _ask(patient: Patient, path: str, version: str) -> Answer | None:
    if patient.backend is None or patient.answer is None:
        return None
    from .aci.inquiries import ask

    return ask(patient.backend, path, version)


CHECKS: tuple[Callable[[Patient], Iterator[Finding]], ...] = (
    settings, variables, data_folder, place, credential, clock, provider, resource_group, region, quota,
)  # fmt: skip
