"""Faults that a test or a rehearsal orders: which request fails next, and how (design §7, A21)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import invalid
from .routes import ROUTES

KINDS = frozenset(route.kind for route in ROUTES) | {"any"}


@dataclass(frozen=True)
class Effect:
    """What happens to a request instead of, or beside, its own answer."""

    status: int | None = None
    code: str = "InternalServerError"
    message: str = "The server encountered an internal error. Please retry the request."
    retry_after: int | None = None
    drop: str = ""  # "before": not carried out; "after": carried out, the answer is lost
    delay_s: float = 0.0
    null_content: bool = False


@dataclass
class Fault:
    """An ordered fault; `skip` and `times` count down as requests match."""

    kind: str
    effect: Effect
    times: int
    skip: int
    group: str | None


class Faults:
    """The ordered faults, asked once for each request."""

    def __init__(self) -> None:
        self._ordered: list[Fault] = []

    def order(self, wanted: Any) -> None:
        """Add a fault from its JSON; raises a 400 that says what is wrong with it."""
        self._ordered.append(parse_fault(wanted))

    def clear(self) -> None:
        """Forget all faults."""
        self._ordered.clear()

    def describe(self) -> list[dict[str, Any]]:
        """The faults still to come."""
        return [{"on": fault.kind, "times": fault.times, "after": fault.skip} for fault in self._ordered]

    def next_for(self, kind: str, group: str) -> Effect | None:
        """The effect on this request, of the oldest fault that matches it; None if all is well."""
        for fault in self._ordered:
            if fault.kind not in (kind, "any") or (fault.group is not None and fault.group.lower() != group.lower()):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.times -= 1
            if fault.times <= 0:
                self._ordered.remove(fault)
            return fault.effect
        return None


def parse_fault(wanted: Any) -> Fault:
    """A fault from its JSON: {"on", "times", "after", "group", "do": {...}}."""
    if not isinstance(wanted, dict) or not isinstance(wanted.get("do"), dict):
        raise invalid("bad value", 'A fault is an object like {"on": "logs", "times": 2, "do": {"status": 500}}.')
    unknown = set(wanted) - {"on", "times", "after", "group", "do"}
    kind = wanted.get("on", "any")
    times, skip, group = wanted.get("times", 1), wanted.get("after", 0), wanted.get("group")
    if unknown or kind not in KINDS or not isinstance(times, int) or not isinstance(skip, int):
        raise invalid("bad value", f"A fault is on one of {', '.join(sorted(KINDS))}; times and after are integers.")
    if group is not None and not isinstance(group, str):
        raise invalid("bad value", "The group of a fault is a name.")
    return Fault(kind, parse_effect(wanted["do"]), times, skip, group)


def parse_effect(do: dict[str, Any]) -> Effect:
    """What a fault does, from its JSON."""
    given = dict(do)
    drop = given.pop("drop", False)
    kinds: dict[str, type | tuple[type, ...]] = {
        "status": int,
        "code": str,
        "message": str,
        "retry_after": int,
        "delay_s": (int, float),
        "null_content": bool,
    }
    if drop not in (False, True, "before", "after") or any(
        name not in kinds or not isinstance(value, kinds[name]) for name, value in given.items()
    ):
        raise invalid("bad value", f"A fault does some of: drop, {', '.join(kinds)}.")
    return Effect(drop="before" if drop is True else drop or "", **given)
