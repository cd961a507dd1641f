"""Verbs about this place: profile, config, doctor, local."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import OptionError, did_you_mean
from ..line import Parsed
from .verb import Desk, say

if TYPE_CHECKING:
    import pandas as pd

SAVED = ("subscription", "resource_group", "location", "tenant_id", "client_id", "client_secret")


def config(desk: Desk, given: Parsed) -> pd.DataFrame:
    import pandas as pd

    from ..settings import DEFAULT_KEYS, KEYS, LOCAL_LOCATION
    from ..table import BY_NAME

    unset = {"on": "local", "location": LOCAL_LOCATION}
    settings = desk.magics.settings()
    known = dict(settings.items())
    rows = []
    for key in KEYS:
        found = known.get(key)
        default = BY_NAME[key].default_text if key in DEFAULT_KEYS else unset.get(key, "")
        rows.append({"setting": key, "value": found.value if found else default or None, "origin": found.origin if found else "built in"})
    frame = pd.DataFrame(rows, columns=["setting", "value", "origin"])
    return frame if given.values.get("origin") else frame.drop(columns="origin")


def profile(desk: Desk, given: Parsed) -> pd.DataFrame | None:
    word = given.rest[0] if given.rest else "list"
    actions = {"list": _list_profiles, "use": _use_profile, "save": _save_profile}
    if word not in actions:
        raise OptionError(f"%aci profile {word}", None, "is not known", did_you_mean(word, actions) or "list, use NAME, or save NAME")
    return actions[word](desk, given)


def _list_profiles(desk: Desk, given: Parsed) -> pd.DataFrame:
    import pandas as pd

    settings = desk.magics.settings()
    used = settings.get("profile")
    rows = [
        {"profile": name, "used": name == used, "origin": settings.origin_of_profile(name), **{key: entry.get(key) for key in SAVED[:3]}}
        for name, entry in sorted(settings.all_profiles().items())
    ]
    return pd.DataFrame(rows, columns=["profile", "used", "origin", *SAVED[:3]])


def _name(given: Parsed, action: str) -> str:
    if len(given.rest) < 2:
        raise OptionError(f"%aci profile {action}", None, "needs a name", f"%aci profile {action} NAME")
    return given.rest[1]


def _use_profile(desk: Desk, given: Parsed) -> None:
    name = _name(given, "use")
    if name in {"local", "azure"}:
        kernels, cells = f"%config AciMagics.on = '{name}' makes it this kernel's", f"--on {name} one cell's"
        leave = "%config AciMagics.profile = '' leaves a profile"
        raise OptionError("%aci profile use", name, "is a place and no profile", f"{kernels}, {cells}; {leave}")
    settings = desk.magics.settings().with_profile(name)
    place = settings.place()
    desk.magics.profile = name
    where = f"subscription {place.subscription}, resource group {place.resource_group}, {place.location}"
    say(f"this kernel now uses profile {name}: {where if place.target == 'azure' else 'the local ACI'}")


def _save_profile(desk: Desk, given: Parsed) -> None:
    from ..profiles import save_profile

    name = _name(given, "save")
    settings = desk.magics.settings()
    values = {key: settings.get(key) for key in SAVED if settings.get(key)}
    values |= given.values
    if not values:
        raise OptionError(
            "%aci profile save", name, "has nothing to keep", f"%aci profile save {name} --subscription ID -g GROUP -l REGION"
        )
    path = save_profile(name, values)
    say(f"profile {name} is in {path}; %aci profile use {name} makes it this kernel's, --profile {name} one cell's")


def doctor(desk: Desk, given: Parsed) -> pd.DataFrame:
    from ..doctor import examine

    return examine(desk.magics.settings, given.values.get("on"))


def launch(desk: Desk, given: Parsed) -> Any:
    from ..launcher import guide, launcher

    if not given.values.get("last"):
        return launcher()
    desk.magics.ipython.set_next_input(guide.with_program(desk.magics.form_cell))
    return None


def local(desk: Desk, given: Parsed) -> Any:
    actions = {"status": _status, "stop": _stop, "fault": _fault}
    word = given.rest[0] if given.rest else "status"
    if word not in actions:
        raise OptionError(f"%aci local {word}", None, "is not known", did_you_mean(word, actions) or "status, stop, or fault")
    if given.values and word != "fault":
        raise OptionError(f"%aci local {word}", None, "takes no options")
    return actions[word](desk, given)


def _status(desk: Desk, given: Parsed) -> dict[str, Any] | None:
    from .. import localserver
    from ..settings import home

    server = localserver.running(home())
    if server is None:
        say("no local ACI runs; the first cell starts it")
        return None
    health, stats = server.ask("/_aci/health"), server.ask("/_aci/stats")
    known = ("version", "runtime", "groups_alive", "state_dir", "pid")
    return {"url": server.url, **{key: health.get(key) for key in known}, "requests": stats["requests"]}


def _stop(desk: Desk, given: Parsed) -> None:
    from .. import localserver
    from ..settings import home

    server = localserver.running(home())
    if server is None:
        say("no local ACI runs")
        return
    alive = server.ask("/_aci/health").get("groups_alive", 0)
    localserver.stop(server, home() / "local")
    say(f"the local ACI has ended{f'; {alive} container groups ended with it' if alive else ''}")


FAULT_KINDS = ("create", "get", "list", "logs", "delete", "start", "stop", "restart", "exec", "attach", "operation", "usages", "any")


def _fault(desk: Desk, given: Parsed) -> dict[str, Any]:
    from ..session import connect

    server = connect("local", desk.magics.settings()).local_server()
    words = given.rest[1:]
    if not words or words[0] == "list":
        return dict(server.ask("/_aci/faults"))
    if words[0] == "clear":
        return dict(server.ask("/_aci/faults", method="DELETE"))
    if words[0] not in FAULT_KINDS:
        raise OptionError(
            "%aci local fault", words[0], f"is one of clear, {', '.join(FAULT_KINDS)}", did_you_mean(words[0], (*FAULT_KINDS, "clear"))
        )
    effect = {key: given.values[key] for key in ("status", "code", "retry_after", "delay_s", "drop", "null_content") if key in given.values}
    if not effect:
        raise OptionError("%aci local fault", words[0], "needs an effect", "%aci local fault logs --status 503 --times 3")
    order = {"on": words[0], "times": given.values.get("times", 1), "do": effect}
    return dict(server.ask("/_aci/faults", order))
