"""`%aci rerun`: the options of a run that was, so that it can be asked for once more.

What the history does not keep cannot come back: values of the environment are known to the kernel that ran it, and input variables are
taken from the notebook as they are now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import OptionError
from .record import RunRecord
from .spec import RunSpec

_SAME = (
    "image", "cpu", "memory_gb", "spot", "timeout_s", "start_timeout_s", "retries", "keep", "on_interrupt", "location", "resource_group",
    "acr_identity", "subnet", "max_cost_usd",
)  # fmt: skip


def values_of(record: RunRecord, overrides: Mapping[str, Any]) -> tuple[dict[str, Any], str | None, tuple[str, ...]]:
    """(option values, code, command) of the run under the overrides. Raises OptionError for what has to be given anew."""
    spec = record.spec
    if spec.function:
        raise OptionError("%aci rerun", record.name, f"called the function {spec.function} from Python", "call it again")
    values: dict[str, Any] = {name: getattr(spec, name) for name in _SAME if getattr(spec, name) is not None}
    several = ("requirements", "tags", "secrets", "identities", "registries", "volumes")
    values.update({name: getattr(spec, name) for name in several if getattr(spec, name)})
    if spec.lang and spec.lang != "python" and spec.code is not None:
        values["lang"] = spec.lang
    outputs = (*spec.outputs, *spec.output_paths)
    if outputs:
        values["outputs"] = outputs
    if spec.inputs:
        values["inputs"] = ",".join(item.name for item in spec.inputs)
    values.update(_place(record, overrides))
    values.update(overrides)
    values.update(_environment(spec, overrides))
    if spec.implied and "image" not in overrides:
        values.pop("image")  # the default image again, and with it the packages of the cell's imports
    return values, spec.code, spec.command


def _place(record: RunRecord, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Where it ran, unless the overrides choose a place."""
    if record.target != "azure":
        return {"on": record.target}
    if overrides.keys() & {"on", "profile", "subscription"}:
        return {}
    place = {"on": "azure", "subscription": record.subscription_id, "resource_group": record.resource_group, "location": record.location}
    return {**place, "profile": record.profile} if record.profile else place


def _environment(spec: RunSpec, overrides: Mapping[str, Any]) -> dict[str, Any]:
    given = overrides.get("env") or ()
    anew = dict(text.partition("=")[::2] for text in given) if not isinstance(given, Mapping) else dict(given)
    lost = [name for name, value in spec.env.items() if not value and name not in anew]
    if lost:
        raise OptionError(
            "--env", lost[0], "had a value that the history does not keep", f"give it anew: %aci rerun … --env {lost[0]}=VALUE"
        )
    env = {**spec.env, **anew}
    return {"env": env} if env else {}
