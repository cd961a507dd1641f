"""THE FIELD TABLE: every option, declared once.

The magic's flags and help, the keywords of the Python functions, the launcher's controls, completion, the docs and validation are
generated from `FIELDS`; a new option is one entry here, plus the place where its value takes effect. `of="spec"` fields make the
RunSpec, `of="call"` fields say how the cell behaves (detached, dry run, what is shown). `build` is the only maker of a RunSpec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from . import parse as p
from .errors import OptionError, did_you_mean
from .spec import Input, RunSpec

SPOT_MAX_CPU, SPOT_MAX_MEMORY_GB = 4.0, 16.0

Group = Literal["container", "data", "where", "life", "shown"]


@dataclass(frozen=True, slots=True)
class Field:
    """One option. `name` is the Python keyword, `flags` the magic's, `control` the launcher's kind of widget."""

    name: str
    flags: tuple[str, ...]
    parse: p.Parse
    help: str
    group: Group
    metavar: str = ""
    default: Any = None
    default_text: str = ""
    unit: str = ""
    limits: str = ""
    choices: tuple[str, ...] = ()
    repeat: bool = False
    switch: bool = False
    of: Literal["spec", "call"] = "spec"
    control: Literal["none", "text", "number", "choice", "check", "rows", "secrets", "names"] = "none"
    presets: tuple[Any, ...] = ()

    @property
    def option(self) -> str:
        """The long flag, as messages name it."""
        return next((flag for flag in self.flags if flag.startswith("--")), self.flags[0])


FIELDS: tuple[Field, ...] = (
    Field(
        "image",
        ("--image",),
        p.parse_image,
        "container image; default: Python slim of this kernel's version",
        "container",
        "REF",
        default_text="python:<this kernel's minor>-slim",
        limits="amd64, at most about 15 GB",
        control="text",
    ),
    Field(
        "cpu",
        ("--cpu",),
        p.number(1.0, p.MAX_CPU, 0.1, "cores"),
        "CPU cores",
        "container",
        "N",
        1.0,
        "1",
        "cores",
        "1 to 31 in steps of 0.1; over 4 needs a quota request",
        control="number",
        presets=(1, 2, 4),
    ),
    Field(
        "memory_gb",
        ("-m", "--memory"),
        p.parse_memory,
        "memory in GB",
        "container",
        "GB",
        1.5,
        "1.5",
        "GB",
        "1 to 240 in steps of 0.1; over 16 needs a quota request",
        control="number",
        presets=(1.5, 4, 8, 16),
    ),
    Field(
        "env",
        ("-e", "--env"),
        p.parse_env,
        "environment variable of the container",
        "container",
        "K=V",
        repeat=True,
        control="rows",
        limits="names of 1 to 63 letters, digits, underscores",
    ),
    Field(
        "secrets",
        ("--secret",),
        p.parse_secrets,
        "secure environment variable, given by its place: from this kernel's environment, or a file; masked in the output",
        "container",
        "K[=env:NAME|file:PATH]",
        repeat=True,
        control="secrets",
    ),
    Field(
        "requirements",
        ("--pip",),
        p.parse_requirements,
        "packages that pip installs in the container first",
        "container",
        '"PKG …"',
        repeat=True,
        control="text",
    ),
    Field(
        "lang",
        ("--lang",),
        p.parse_lang,
        "interpreter of the cell's text; a shebang on its first line does the same",
        "container",
        "NAME",
        "python",
        "python",
        control="text",
    ),
    Field(
        "spot",
        ("--spot",),
        p.parse_switch,
        "run at Spot price: may be evicted at any time",
        "container",
        switch=True,
        default=False,
        limits="at most 4 cores and 16 GB",
        control="check",
    ),
    Field(
        "inputs",
        ("-i", "--input"),
        p.parse_inputs,
        "variables to ship in",
        "data",
        "a,b,c=EXPR",
        repeat=True,
        control="names",
        limits="2.5 MB together with the code",
    ),
    Field(
        "outputs",
        ("-o", "--output"),
        p.parse_outputs,
        "variables, files or folders to bring back when the run succeeds",
        "data",
        "x,./folder/",
        repeat=True,
        control="names",
        limits="about 1 MB together, compressed",
    ),
    Field("as_name", ("--as",), p.parse_variable, "variable that gets the Run", "data", "NAME", of="call"),
    Field(
        "location",
        ("-l", "--location"),
        p.parse_location,
        "Azure region",
        "where",
        "REGION",
        default_text="from the settings",
        control="text",
    ),
    Field("resource_group", ("-g", "--resource-group"), p.parse_text, "resource group", "where", "NAME", default_text="from the settings"),
    Field(
        "on",
        ("--on",),
        p.parse_text,
        "where to run: azure, local, or a profile's name",
        "where",
        "azure|local|PROFILE",
        of="call",
        default_text="from the settings",
        control="text",
    ),
    Field(
        "name", ("-n", "--name"), p.parse_name, "name of the container group", "where", "NAME", default_text="aci-<run id>", control="text"
    ),
    Field("tags", ("--tag",), p.parse_tags, "tag of the container group", "where", "K=V", repeat=True, control="rows"),
    Field(
        "timeout_s",
        ("--timeout",),
        p.duration(1, 30 * 86_400, "between 1 s and 30 days"),
        "longest time of the container; kept inside it, without a client",
        "life",
        "24h",
        86_400.0,
        "24h",
        "s",
        control="text",
    ),
    Field(
        "start_timeout_s",
        ("--start-timeout",),
        p.duration(5, 1800, "between 5 s and 30 minutes, when ACI itself gives up"),
        "longest wait until the container runs",
        "life",
        "10m",
        600.0,
        "10m",
        "s",
    ),
    Field("retries", ("--retries",), p.count(0, 20), "how often a failed program is run again", "life", "N", 0, "0", limits="0 to 20"),
    Field(
        "keep",
        ("--keep",),
        p.choice("never", "failed", "always"),
        "leave the container group in place after the run",
        "life",
        "never|failed|always",
        "never",
        "never",
        choices=("never", "failed", "always"),
        control="choice",
    ),
    Field(
        "on_interrupt",
        ("--on-interrupt",),
        p.choice("stop", "detach"),
        "what an interrupt does: delete the group, or leave the run going",
        "life",
        "stop|detach",
        "stop",
        "stop",
        choices=("stop", "detach"),
    ),
    Field("detach", ("-d", "--detach"), p.parse_switch, "return at once; the run goes on", "life", switch=True, default=False, of="call"),
    Field(
        "dry_run", ("--dry-run",), p.parse_switch, "show what would be sent; send nothing", "shown", switch=True, default=False, of="call"
    ),
    Field("quiet", ("-q", "--quiet"), p.parse_switch, "no header; the output alone", "shown", switch=True, default=False, of="call"),
)

BY_NAME: Mapping[str, Field] = {item.name: item for item in FIELDS}


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
    values: Mapping[str, Any], code: str | None = None, *, command: Sequence[str] = (), inputs: Sequence[Input] = (), python_minor: str
) -> RunSpec:
    """The RunSpec of checked or unchecked field values and the cell's text (or a command). Raises OptionError.

    `inputs` are the shipped variables, already encoded; `python_minor` is the kernel's, e.g. "3.12".
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
    spec = RunSpec(code=code, command=tuple(command), inputs=tuple(inputs), **fields)
    _check_together(spec)
    return spec


def _check_together(spec: RunSpec) -> None:
    names = [secret.name for secret in spec.secrets]
    for name in names:
        if name in spec.env:
            raise OptionError("--secret", name, "is also given with --env", "give it once")
    if spec.spot and (spec.cpu > SPOT_MAX_CPU or spec.memory_gb > SPOT_MAX_MEMORY_GB):
        raise OptionError(
            "--spot",
            f"{spec.cpu:g} cores, {spec.memory_gb:g} GB",
            "Spot groups have at most 4 cores and 16 GB",
            "use less, or leave --spot out",
        )
    python = spec.code is not None and spec.lang == "python"
    for option, given in (("--input", spec.inputs), ("--output", spec.outputs), ("--pip", spec.requirements)):
        if given and not python:
            raise OptionError(option, None, "works for Python cells", "leave it out, or leave --lang out")
    if spec.output_paths and not spec.has_runner:
        raise OptionError("--output", None, "needs a cell or a command", "give a command after --")
