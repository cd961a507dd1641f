"""THE FIELD TABLE: every option, declared once.

The magic's flags and help, the keywords of the Python functions, the launcher's controls, completion, the docs and validation are
generated from `FIELDS`, and so are the names that settings files, `ACI_NOTEBOOK_*` and `%config AciMagics` take (`setting=True`);
a new option is one entry here, plus the place where its value takes effect.

`of` says who uses the value: "spec" fields make the RunSpec (`fields.build`), "source" fields are read into other fields first
(`sources.gather`), "place" fields choose where the run goes (`settings`), "call" fields say how the cell behaves and what is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from . import parse as p
from . import parse_azure as a
from . import parse_pairs as k

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
    of: Literal["spec", "source", "place", "call"] = "spec"
    control: Literal["none", "text", "number", "choice", "check", "rows", "secrets", "names"] = "none"
    presets: tuple[Any, ...] = ()
    setting: bool = False

    @property
    def option(self) -> str:
        """The long flag, as messages name it."""
        return next((flag for flag in self.flags if flag.startswith("--")), self.flags[0])


_KEEP, _INTERRUPT = ("never", "failed", "always"), ("stop", "detach")
_IF_EXISTS = ("fail", "update", "replace", "attach")

# fmt: off
FIELDS: tuple[Field, ...] = (
    Field("image", ("--image",), p.parse_image, "container image", "container", "REF",
          default_text="python:<this kernel's minor>-slim", limits="amd64, at most about 15 GB", control="text", setting=True),
    Field("cpu", ("--cpu",), p.number(1.0, p.MAX_CPU, 0.1, "cores"), "CPU cores", "container", "N", 1.0, "1", "cores",
          "1 to 31 in steps of 0.1; over 4 needs a quota request", control="number", presets=(1, 2, 4), setting=True),
    Field("memory_gb", ("-m", "--memory"), p.parse_memory, "memory in GB", "container", "GB", 1.5, "1.5", "GB",
          "1 to 240 in steps of 0.1; over 16 needs a quota request", control="number", presets=(1.5, 4, 8, 16), setting=True),
    Field("env", ("-e", "--env"), k.parse_env, "environment variable of the container; K alone takes this kernel's value", "container",
          "K=V|K", repeat=True, control="rows", limits="names of 1 to 63 letters, digits, underscores", setting=True),
    Field("env_file", ("--env-file",), p.parse_paths, "file of K=V lines", "container", "FILE", repeat=True, of="source"),
    Field("secrets", ("--secret",), k.parse_secrets,
          "secure environment variable, given by its place: from this kernel's environment, or a file; masked in the output",
          "container", "K[=env:NAME|file:PATH]", repeat=True, control="secrets"),
    Field("requirements", ("--pip",), p.parse_requirements, "packages that pip installs in the container first", "container",
          '"PKG …"', repeat=True, control="text"),
    Field("requirements_file", ("-r", "--requirements"), p.parse_paths, "requirements file that pip installs first", "container", "FILE",
          repeat=True, of="source"),
    Field("volumes", ("-v", "--volume"), a.parse_volumes,
          "mounts azurefile://ACCOUNT/SHARE?key=env:NAME, git+https://…@REF, empty:, or ./file-or-folder (shipped, small, read-only)",
          "container", "SRC:DST[:ro]", repeat=True, control="rows"),
    Field("registries", ("--registry",), a.parse_registries, "private registry, with user and the place of the password", "container",
          "SERVER[=USER:env:NAME]", repeat=True, setting=True),
    Field("identities", ("--identity",), a.parse_identities, "managed identity of the container group", "container", "system|ID",
          repeat=True, setting=True),
    Field("acr_identity", ("--acr-identity",), a.parse_identity, "user-assigned identity that pulls the image", "container", "ID",
          setting=True),
    Field("subnet", ("--subnet",), a.parse_subnet, "subnet of a virtual network", "container", "ID", setting=True),
    Field("lang", ("--lang",), p.parse_lang, "interpreter of the cell's text; a shebang on its first line does the same", "container",
          "NAME", "python", "python", control="text"),
    Field("spot", ("--spot",), p.parse_switch, "run at Spot price: may be evicted at any time", "container", switch=True, default=False,
          default_text="no", limits="at most 4 cores and 16 GB", control="check", setting=True),
    Field("gpu", ("--gpu",), a.refuse_gpu, "refused: ACI retired its GPUs on 2025-07-14", "container", "N", of="call"),
    Field("inputs", ("-i", "--input"), p.parse_inputs, "variables to ship in", "data", "a,b,c=EXPR", repeat=True, control="names",
          limits="2.5 MB together with the code"),
    Field("outputs", ("-o", "--output"), p.parse_outputs, "variables, files or folders to bring back when the run succeeds", "data",
          "x,./folder/", repeat=True, control="names", limits="about 1 MB together, compressed"),
    Field("as_name", ("--as",), p.parse_variable, "variable that gets the Run", "data", "NAME", of="call"),
    Field("spec_file", ("--spec",), p.parse_paths, "begin with the YAML that az container create --file takes; options go over it",
          "where", "FILE", of="source"),
    Field("location", ("-l", "--location"), p.parse_location, "Azure region", "where", "REGION", default_text="from the settings",
          control="text", setting=True),
    Field("resource_group", ("-g", "--resource-group"), p.parse_text, "resource group", "where", "NAME",
          default_text="from the settings", setting=True),
    Field("subscription", ("--subscription",), a.parse_subscription, "Azure subscription", "where", "ID", of="place",
          default_text="from the settings", setting=True),
    Field("profile", ("-p", "--profile"), p.parse_text, "profile of the settings, or an Airflow connection's id", "where", "NAME",
          of="place", setting=True),
    Field("on", ("--on",), p.parse_text, "where to run: azure, local, or a profile's name", "where", "azure|local|PROFILE", of="place",
          default_text="from the settings", control="text", setting=True),
    Field("name", ("-n", "--name"), p.parse_name, "name of the container group", "where", "NAME", default_text="aci-<run id>",
          control="text"),
    Field("if_exists", ("--if-exists",), p.choice(*_IF_EXISTS), "what to do where a group of that --name exists", "where",
          "|".join(_IF_EXISTS), "fail", "fail", choices=_IF_EXISTS),
    Field("tags", ("--tag",), k.parse_tags, "tag of the container group", "where", "K=V", repeat=True, control="rows", setting=True),
    Field("timeout_s", ("--timeout",), p.duration(1, 30 * 86_400, "between 1 s and 30 days"),
          "longest time of the container; kept inside it, without a client", "life", "24h", 86_400.0, "24h", "s", control="text",
          setting=True),
    Field("start_timeout_s", ("--start-timeout",), p.duration(5, 1800, "between 5 s and 30 minutes, when ACI itself gives up"),
          "longest wait until the container runs", "life", "10m", 600.0, "10m", "s", setting=True),
    Field("max_cost_usd", ("--max-cost",), a.parse_usd, "most that the run may cost; becomes a --timeout when it is sent", "life", "USD",
          unit="USD", setting=True),
    Field("retries", ("--retries",), p.count(0, 20), "how often a failed program is run again", "life", "N", 0, "0", limits="0 to 20",
          setting=True),
    Field("keep", ("--keep",), p.choice(*_KEEP), "leave the container group in place after the run", "life", "|".join(_KEEP), "never",
          "never", choices=_KEEP, control="choice", setting=True),
    Field("on_interrupt", ("--on-interrupt",), p.choice(*_INTERRUPT), "what an interrupt does: delete the group, or leave the run going",
          "life", "|".join(_INTERRUPT), "stop", "stop", choices=_INTERRUPT, setting=True),
    Field("detach", ("-d", "--detach"), p.parse_switch, "return at once; the run goes on", "life", switch=True, default=False, of="call"),
    Field("dry_run", ("--dry-run",), p.parse_switch, "show what would be sent; send nothing", "shown", switch=True, default=False,
          of="call"),
    Field("quiet", ("-q", "--quiet"), p.parse_switch, "no header; the output alone", "shown", switch=True, default=False,
          default_text="no", of="call", setting=True),
    Field("tail", ("--tail",), p.count(0, 100_000), "show the last N lines alone; the log file has all", "shown", "N", of="call"),
    Field("timestamps", ("--timestamps",), p.parse_switch, "the time before each line", "shown", switch=True, default=False, of="call",
          setting=True),
    Field("lines_max", ("--lines-max",), p.count(10, 1_000_000), "lines that a cell holds: the first and the last ones", "shown", "N",
          2_000, "2000", of="call", setting=True),
)
# fmt: on

BY_NAME = {item.name: item for item in FIELDS}
