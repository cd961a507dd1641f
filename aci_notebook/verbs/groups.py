"""Verbs about container groups: start, restart, update, exec, events, inspect, gc."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import OptionError, RunNotFound, Transient
from ..line import Parsed
from .verb import Desk, Target, say

if TYPE_CHECKING:
    import pandas as pd

    from ..snapshot import GroupSnapshot


ORDERS = 5
_NOT_NOW = {409, 429, 503}
_ENDED = {"Succeeded", "Failed"}


def start(desk: Desk, given: Parsed) -> None:
    target = _without_runner(desk.target_of(given.rest[0]), "start")
    state = _existing(target).group_state
    if state == "Running":
        say(f"container group {target.name} is running already; %aci restart {target.name} restarts it")
        return
    if state in _ENDED:
        _order(target, target.backend.stop)  # Microsoft's advice for a group whose program has ended (`aci-facts` §4.1)
    _order(target, target.backend.start)
    say(f"container group {target.name} is starting; %aci ps -a shows its state")


def restart(desk: Desk, given: Parsed) -> None:
    target = _without_runner(desk.target_of(given.rest[0]), "restart")
    state = _existing(target).group_state
    if state in {"Stopped", *_ENDED}:
        raise OptionError("%aci restart", target.name, f"is {state.lower()}; only what runs is restarted", f"%aci start {target.name}")
    _order(target, target.backend.restart)
    say(f"container group {target.name} is restarting; %aci ps -a shows its state")


def _existing(target: Target) -> GroupSnapshot:
    """The group as the service shows it now. Raises RunNotFound where there is none."""
    found = target.backend.get(target.name)
    if found is None:
        anew = f"%aci rerun {target.record.run_id} runs it anew" if target.record else "%aci ps -a shows those that exist"
        raise RunNotFound(f"container group {target.name} does not exist any more", hint=anew)
    return found


def _order(target: Target, ask: Callable[[str], None]) -> None:
    """Asks the service, again after a while where it says "not now" (a group in transition) or does not answer at all."""
    from ..runs import RealClock

    for attempt in range(ORDERS):
        try:
            ask(target.name)
            return
        except Transient as error:
            if attempt == ORDERS - 1 or not (error.unreachable or error.status in _NOT_NOW):
                raise
            RealClock().sleep(min(error.retry_after_s or 2**attempt, 10))


def _without_runner(target: Target, verb: str) -> Target:
    """A cell or command runs once: its container, started again, refuses to run it twice."""
    if target.record is not None and target.record.spec.has_runner:
        raise OptionError(
            f"%aci {verb}",
            target.name,
            "is the group of a cell or a command, which runs once and not again in the same container",
            f"%aci rerun {target.record.run_id} runs it anew",
        )
    return target


def update(desk: Desk, given: Parsed) -> None:
    from ..aci.changes import Change, update
    from ..existing import REPLACE, check_update
    from ..fields import check
    from ..sources import gather, resolve_secret

    target = desk.target_of(given.rest[0])
    values, command = gather(given.values, None, given.command, "3")
    checked = check(values)
    found = _existing(target)
    check_update(found, checked.get("cpu"), checked.get("memory_gb"), checked.get("location"))
    for name, option in (("subnet", "--subnet"), ("spot", "--spot")):
        if checked.get(name):
            raise OptionError(option, None, "cannot change in a group that exists (a rule of ACI)", REPLACE)
    change = Change(
        image=checked.get("image"),
        command=command,
        env=checked.get("env", {}),
        secure_env={secret.name: resolve_secret(secret).value for secret in checked.get("secrets", ())},
        tags=checked.get("tags", {}),
    )
    if change == Change():
        raise OptionError("%aci update", target.name, "is given nothing to change", "--image, --env, --secret, --tag, or -- COMMAND")
    if target.record is not None and target.record.spec.has_runner and not change.only_tags:
        raise OptionError(
            "%aci update",
            target.name,
            "is the group of a cell or a command, whose payload the service does not give back",
            f"send it again with --name {target.name} --if-exists update",
        )
    update(target.backend, target.name, change)
    done = "has its tags" if change.only_tags else "is updated; its container starts anew"
    say(f"container group {target.name} {done}")


@dataclass(frozen=True, slots=True)
class Executed:
    """What a command in a container said, and how it ended."""

    exit_code: int
    output: str

    def __repr__(self) -> str:
        return f"exit code {self.exit_code}"


def execute(desk: Desk, given: Parsed) -> Executed:
    from ..aci.execution import execute

    target = desk.target_of(given.rest[0] if given.rest else "last")
    if not given.command:
        raise OptionError("%aci exec", None, "has no command", f"%aci exec {target.name} -- ls -l /")
    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        sys.stdout.write(text)
        sys.stdout.flush()

    container = _existing(target).container()
    code = execute(target.backend, target.name, container.name if container else target.name, given.command, tell)
    output = "".join(said)
    if output and not output.endswith("\n"):
        sys.stdout.write("\n")
    return Executed(code, output)


def events(desk: Desk, given: Parsed) -> pd.DataFrame:
    import pandas as pd

    target = desk.target_of(given.rest[0] if given.rest else "last")
    live = target.backend.get(target.name)
    found = list(live.all_events()) if live is not None else []
    if not found and target.record is not None:
        found = list(target.record.platform_events)
    rows = [
        {"at": item.last_at or item.first_at, "name": item.name, "type": item.type, "count": item.count, "message": item.message}
        for item in found
    ]
    frame = pd.DataFrame(rows, columns=["at", "name", "type", "count", "message"])
    return frame.assign(at=pd.to_datetime(frame["at"], utc=True))


def gc(desk: Desk, given: Parsed) -> pd.DataFrame:
    import pandas as pd

    from ..sweep import COLUMNS, gc

    return pd.DataFrame(gc(desk.session(), dry_run=bool(given.values.get("dry_run"))), columns=list(COLUMNS))


class Inspection(dict[str, Any]):
    """A group or a run as plain data; shown as YAML."""

    def __repr__(self) -> str:
        import yaml

        return str(yaml.safe_dump(_plain(dict(self)), sort_keys=False, allow_unicode=True)).rstrip()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)


def inspect(desk: Desk, given: Parsed) -> Inspection:
    from ..aci.inquiries import describe

    target = desk.target_of(given.rest[0] if given.rest else "last")
    found: dict[str, Any] = {}
    if target.record is not None:
        found["run"] = _run(target)
    group = describe(target.backend, target.name)
    found["group"] = group if group is not None else "it does not exist any more"
    return Inspection(found)


def _run(target: Target) -> dict[str, Any]:
    record = target.record
    assert record is not None
    spec = record.spec
    return {
        "run_id": record.run_id,
        "name": record.name,
        "state": record.state,
        "outcome": record.outcome.kind if record.outcome else None,
        "reason": (record.outcome.reason or None) if record.outcome else None,
        "exit_code": record.outcome.exit_code if record.outcome else None,
        "target": record.target,
        "resource_group": record.resource_group,
        "group": record.group,
        "created_at": record.created_at.isoformat(),
        "ended_at": record.ended_at.isoformat() if record.ended_at else None,
        "image": spec.image,
        "env": sorted(spec.env),
        "secrets": {secret.name: secret.source for secret in spec.secrets},
        "inputs": {item.name: f"{item.type_name}, {item.size_bytes:,} bytes" for item in spec.inputs},
        "outputs": list(spec.outputs) + list(spec.output_paths),
        "requirements": [*spec.requirements, *spec.implied],
        "timeout_s": spec.timeout_s,
        "log": record.log_path,
        "warnings": list(record.warnings),
    }
