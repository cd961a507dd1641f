"""From checked option values to a RunSpec: `build` is the only maker of one. The options themselves are declared in `table`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import parse as p
from .errors import OptionError, did_you_mean
from .spec import Input, RunSpec
from .table import BY_NAME, FIELDS, Field

__all__ = ["BY_NAME", "FIELDS", "Field", "build", "check", "default_image"]

SPOT_MAX_CPU, SPOT_MAX_MEMORY_GB = 4.0, 16.0


def default_image(python_minor: str) -> str:
    """The image of a cell that names none: the kernel's own Python, so that pickled code runs."""
    return f"python:{python_minor}-slim"


def check(values: Mapping[str, Any]) -> dict[str, Any]:
    """The checked values of the fields given; unknown names raise with the nearest known one."""
    checked: dict[str, Any] = {}
    for name, value in values.items():
        known = BY_NAME.get(name)
        if known is None:
            raise OptionError(name, None, "is not an option", did_you_mean(name, BY_NAME))
        if value is not None:
            checked[name] = known.parse(value, known.option)
    return checked


def build(
    values: Mapping[str, Any],
    code: str | None = None,
    *,
    command: Sequence[str] = (),
    inputs: Sequence[Input] = (),
    implied: Sequence[str] = (),
    function: str = "",
    python_minor: str,
) -> RunSpec:
    """The RunSpec of checked or unchecked field values and the cell's text (or a command). Raises OptionError.

    `inputs` are the shipped variables, already encoded; `implied` the packages that the cell's imports need; `python_minor` is the
    kernel's, e.g. "3.12".
    """
    given = {name: value for name, value in values.items() if value is not None and name != "inputs"}
    checked = check(given)
    fields = {name: value for name, value in checked.items() if BY_NAME[name].of == "spec"}
    outputs = fields.pop("outputs", ())
    fields["outputs"] = tuple(name for name in outputs if not p.is_path(name))
    fields["output_paths"] = tuple(name for name in outputs if p.is_path(name))
    fields.setdefault("image", default_image(python_minor))
    if code is not None:
        fields["lang"] = fields.get("lang") or "python"
        if not code.strip():
            raise OptionError("%%aci", None, "the cell has no code below the magic line", "write the program below it, or use %aci run")
    spec = RunSpec(code=code, command=tuple(command), inputs=tuple(inputs), implied=tuple(implied), function=function, **fields)
    _check_together(spec)
    _check_azure(spec)
    _check_code_objects(spec, python_minor)
    return spec


def _check_together(spec: RunSpec) -> None:
    names = [secret.name for secret in spec.secrets]
    for name in names:
        if name in spec.env:
            raise OptionError("--secret", name, "is also given with --env", "give it once")
    python = spec.code is not None and spec.lang == "python"
    for option, given in (("--input", spec.inputs), ("--output", spec.outputs), ("--pip", spec.requirements)):
        if given and not python:
            raise OptionError(option, None, "works for Python cells", "leave it out, or leave --lang out")
    if spec.output_paths and not spec.has_runner:
        raise OptionError("--output", None, "needs a cell or a command", "give a command after --")
    if not spec.has_runner and (spec.retries or spec.max_cost_usd is not None):
        option = "--retries" if spec.retries else "--max-cost"
        raise OptionError(option, None, "is kept inside the container, by a cell or a command", "give a command after --")
    if spec.if_exists != "fail" and spec.name is None:
        raise OptionError("--if-exists", spec.if_exists, "is about the group of a --name", "add --name NAME")


def _check_azure(spec: RunSpec) -> None:
    if spec.spot and (spec.cpu > SPOT_MAX_CPU or spec.memory_gb > SPOT_MAX_MEMORY_GB):
        raise OptionError(
            "--spot",
            f"{spec.cpu:g} cores, {spec.memory_gb:g} GB",
            "Spot groups have at most 4 cores and 16 GB",
            "use less, or leave --spot out",
        )
    if spec.spot and spec.subnet:
        raise OptionError("--spot", None, "Spot groups cannot be in a virtual network", "leave --spot or --subnet out")
    bare = [registry.server for registry in spec.registries if not registry.username]
    if bare and not spec.acr_identity:
        raise OptionError(
            "--registry", bare[0], "has neither a user nor an identity", f"--registry {bare[0]}=USER:env:PASSWORD, or add --acr-identity ID"
        )
    if spec.acr_identity and not spec.registries and not _server_of(spec.image):
        raise OptionError("--acr-identity", None, f"the image {spec.image} names no registry", "add --registry NAME.azurecr.io")


def _server_of(image: str) -> str:
    first = image.split("/", 1)[0]
    return first if "/" in image and ("." in first or ":" in first) else ""


def _check_code_objects(spec: RunSpec, python_minor: str) -> None:
    """Functions and classes travel as byte code, which another minor version of Python cannot run."""
    minor = p.python_minor_of(spec.image)
    carried = [item.name for item in spec.inputs if item.by_value]
    if carried and minor and minor != python_minor:
        raise OptionError(
            "--input",
            ",".join(carried),
            f"has code of Python {python_minor} in it, and the image has Python {minor}: data passes between versions, code does not",
            f"define it inside the cell, ship plain data, or use --image {default_image(python_minor)}",
        )
