"""The table of verbs, and the way in: `%aci VERB …` → the verb, its options, its answer. A new verb is one entry here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import line as text
from .. import parse as p
from ..errors import OptionError, did_you_mean
from ..table import FIELDS, Field
from . import groups, places, runs
from .verb import Desk, Verb, option, say

if TYPE_CHECKING:
    from ..magics import AciMagics

_ALL = Field("all", ("-a", "--all"), p.parse_switch, "all groups of the resource group, also those of others", "shown", switch=True)
_FOLLOW = Field("follow", ("-f", "--follow"), p.parse_switch, "go on until the run ends", "shown", switch=True)
_STAMPS = Field("timestamps", ("--timestamps",), p.parse_switch, "the service's time before each line", "shown", switch=True)
_LAST = Field("last", ("--last",), p.parse_switch, "put the form's cell into a new cell", "shown", switch=True)
_ORIGIN = Field("origin", ("--origin",), p.parse_switch, "where each value comes from", "shown", switch=True)
_PRINCIPAL = (
    Field("tenant_id", ("--tenant-id",), p.parse_text, "tenant of a service principal", "where", "ID"),
    Field("client_id", ("--client-id",), p.parse_text, "service principal's client id", "where", "ID"),
    Field("client_secret", ("--client-secret",), p.parse_text, "place of its secret", "where", "env:NAME|file:PATH"),
)
_FAULT = (
    Field("times", ("--times",), p.count(1, 10_000), "how many requests fail", "shown", "N", default_text="1"),
    Field("status", ("--status",), p.count(400, 599), "answer with this HTTP status", "shown", "S"),
    Field("code", ("--code",), p.parse_text, "and this error code", "shown", "CODE"),
    Field("retry_after", ("--retry-after",), p.count(0, 3600), "and this Retry-After", "shown", "SECONDS"),
    Field("delay_s", ("--delay",), p.parse_duration, "answer later", "shown", "SECONDS"),
    Field("drop", ("--drop",), p.parse_switch, "drop the connection", "shown", switch=True),
    Field("null_content", ("--null-content",), p.parse_switch, "a log answer without text", "shown", switch=True),
)


def _filter(name: str, metavar: str, help_: str) -> Field:
    return Field(name, (f"--{name}",), p.parse_text, help_, "shown", metavar)


_HISTORY = (
    _filter("state", "STATE", "runs in this state"),
    _filter("outcome", "KIND", "runs that ended so"),
    _filter("image", "TEXT", "runs of images with this text"),
    _filter("since", "TIME", "runs begun since: 7d, 12h, 2026-11-01"),
    _filter("until", "TIME", "runs begun until"),
    _filter("tag", "K[=V]", "runs with this tag"),
    _filter("notebook", "TEXT", "runs of this notebook"),
    _filter("name", "TEXT", "groups whose name has this text"),
    Field("limit", ("--limit",), p.count(0, 1_000_000), "the newest N", "shown", "N"),
)
_COST = (
    *_HISTORY,
    Field("refresh", ("--refresh",), p.parse_switch, "ask Azure's price list first: -l, or the settings' region", "shown", switch=True),
    option("location"),
)
_UPDATE = tuple(option(name) for name in ("image", "env", "env_file", "secrets", "tags", "cpu", "memory_gb", "location", "subnet", "spot"))
_RERUN = tuple(item for item in FIELDS if item.name not in {"spec_file", "lang", "gpu"})
_SAVE = (option("subscription"), option("resource_group"), option("location"), *_PRINCIPAL)
_MANY = 1_000

_TABLE = (
    Verb("run", runs.run, "[options] [-- COMMAND…]", "run a command of the image, or the image's own", FIELDS, command=True),
    Verb("ps", runs.ps, "[-a]", "container groups of aci_notebook that exist; with -a all of the resource group", (_ALL,)),
    Verb("logs", runs.logs, "RUN [-f] [--tail N] [--timestamps]", "the output of a run", (_FOLLOW, option("tail"), _STAMPS), (0, 1), "run"),
    Verb("attach", runs.attach, "RUN", "a run in a new display: header, whole log, what comes, its outputs", (), (0, 1), "run"),
    Verb("wait", runs.wait, "RUN…", "wait until these runs are over", (), (0, _MANY), "run"),
    Verb("stop", runs.stop, "RUN", "end a run; its container group is deleted", (), (1, 1), "run"),
    Verb("start", groups.start, "NAME", "start a stopped container group again", (), (1, 1), "run"),
    Verb("restart", groups.restart, "NAME", "restart a container group", (), (1, 1), "run"),
    Verb(
        "update", groups.update, "NAME [--image --env --secret --tag] [-- COMMAND…]", "change a container group in place", _UPDATE, (1, 1),
        "run", command=True,
    ),
    Verb("rm", runs.rm, "RUN", "delete the container group of a run, running or kept", (), (1, 1), "run"),
    Verb("exec", groups.execute, "RUN -- CMD…", "a command in a running container: output and exit code", (), (0, 1), "run", command=True),
    Verb("events", groups.events, "RUN", "what the platform said about a run", (), (0, 1), "run"),
    Verb("inspect", groups.inspect, "RUN", "everything known about a run and its container group", (), (0, 1), "run"),
    Verb("history", runs.history, "[filters]", "the runs of this machine, as a DataFrame", _HISTORY),
    Verb("rerun", runs.rerun, "RUN [options]", "run it once more; options go over its own", _RERUN, (0, 1), "run"),
    Verb("gc", groups.gc, "[--dry-run]", "delete groups of ours whose owner is gone; never an untagged one", (option("dry_run"),)),
    Verb("cost", runs.cost, "[filters] [--refresh [-l REGION]]", "what the runs cost, by day", _COST),
    Verb("profile", places.profile, "list | use NAME | save NAME [options]", "profiles of the settings", _SAVE, (0, 2), "profile"),
    Verb("config", places.config, "[--origin]", "the settings, and where each comes from", (_ORIGIN,)),
    Verb("doctor", places.doctor, "[--on PROFILE]", "looks for what would go wrong, with the remedy of each", (option("on"),)),
    Verb("launch", places.launch, "[--last]", "the form: a run without writing a line", (_LAST,)),
    Verb(
        "local", places.local, "status | stop | fault [KIND --status S …| list | clear]", "the local ACI: look, end, rehearse failures",
        _FAULT, (0, 2), "local",
    ),
    Verb("help", runs.help_verb, "[VERB]", "this list, or a verb's options", (), (0, 1), "verb"),
)  # fmt: skip
VERBS = {verb.name: verb for verb in _TABLE}


class Verbs:
    """The verbs of `%aci`, over one magics object."""

    def __init__(self, magics: AciMagics) -> None:
        self.magics = magics

    def dispatch(self, line: str) -> Any:
        """Runs the verb that the line begins with. Raises OptionError with did-you-mean for an unknown one."""
        word, _, rest = line.strip().partition(" ")
        if not word:
            say(overview())
            return None
        if word.startswith("-"):
            return self.options_only(line)
        verb = VERBS.get(word)
        if verb is None:
            raise OptionError(f"%aci {word}", None, "is not a verb", did_you_mean(word, VERBS) or "%aci help lists the verbs")
        page = "%%aci --help" if verb.fields is FIELDS else f"%aci {word} --help"
        given = text.parse(rest, self.magics.evaluate, verb.fields, positionals=True, page=page)
        if given.wants_help:
            say(verb.page())
            return None
        verb.check(given)
        if verb.name not in {"run", "rerun", "update"}:
            by_name = {item.name: item for item in verb.fields}
            checked = {name: by_name[name].parse(value, by_name[name].option) for name, value in given.values.items()}
            given = text.Parsed(checked, given.rest, given.command, wants_help=False)
        return verb.call(Desk(self.magics), given)

    def options_only(self, line: str) -> None:
        """A `%%aci` line without a body: --help, or an error that says what is missing."""
        if line.strip() != "--" and text.parse(line, self.magics.evaluate).wants_help:
            say(text.help_text())
            return
        raise OptionError(
            "%%aci", None, "the cell has no code below the magic line", "write the program below it, or use %aci run -- COMMAND"
        )


def overview() -> str:
    """All verbs in one line each."""
    lines = ["%aci VERB", ""]
    lines += [f"  {verb.name:<10} {verb.usage:<45} {verb.help}" for verb in VERBS.values()]
    lines += ["", "RUN is an id, a group's name, a unique beginning of either, a variable that holds a Run (--as), last, or last~2."]
    return "\n".join([*lines, "%aci VERB --help shows a verb's options, %%aci --help those of a cell."])
