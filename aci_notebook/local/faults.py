"""Faults that a test or a rehearsal orders: which request fails next, and how (design §7, A21)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import invalid
from .routes import ROUTES

KINDS = frozenset(route.kind for route in ROUTES) | {"any"}
LONGEST_S = 86_400


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
    asked: dict[str, Any]
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
        return [
            {"on": fault.kind, "times": fault.times, "after": fault.skip, "group": fault.group, "do": fault.asked}
            for fault in self._ordered
        ]

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
    """A fault from its JSON: {"on", "times", "after", "group", "do": {...}}; raises a 400 for what could not happen."""
    if not isinstance(wanted, dict) or not isinstance(wanted.get("do"), dict):
        raise invalid("bad value", 'A fault is an object like {"on": "logs", "times": 2, "do": {"status": 500}}.')
    if unknown := set(wanted) - {"on", "times", "after", "group", "do"}:
        raise invalid("bad value", f"A fault has no member '{min(unknown)[:40]}'.")
    kind, group = wanted.get("on", "any"), wanted.get("group")
    if not isinstance(kind, str) or kind not in KINDS:
        raise invalid("bad value", f"A fault is on one of {', '.join(sorted(KINDS))}.")
    times, skip = wanted.get("times", 1), wanted.get("after", 0)
    if not _is_whole(times, 1) or not _is_whole(skip, 0):
        raise invalid("bad value", "The times of a fault are a whole number from 1, after is one from 0.")
    if group is not None and not (isinstance(group, str) and group):
        raise invalid("bad value", "The group of a fault is a name.")
    effect = parse_effect(wanted["do"])
    if effect.null_content and kind not in ("logs", "any"):
        raise invalid("bad value", "Only logs have a content that can be null.")
    return Fault(kind, effect, dict(wanted["do"]), times, skip, group)


def parse_effect(do: dict[str, Any]) -> Effect:
    """What a fault does, from its JSON: one of status, drop and null_content, a delay before it, or a delay alone."""
    checks: dict[str, Callable[[Any], bool]] = {
        "status": lambda value: _is_whole(value, 400, 599),
        "code": _is_text,
        "message": _is_text,
        "retry_after": lambda value: _is_whole(value, 0),
        "drop": lambda value: value is True or (isinstance(value, str) and value in ("before", "after")),
        "delay_s": lambda value: _is_number(value) and 0 <= value <= LONGEST_S,
        "null_content": lambda value: value is True,
    }
    for name, value in do.items():
        if name not in checks:
            raise invalid("bad value", f"A fault does some of: {', '.join(checks)}.")
        if not checks[name](value):
            raise invalid("bad value", f"A fault cannot do this: {name} = {str(value)[:40]}.")
    kinds = [name for name in ("status", "drop", "null_content") if name in do]
    if len(kinds) > 1 or not (kinds or "delay_s" in do):
        raise invalid("bad value", "A fault does one of status, drop and null_content, a delay before it, or a delay alone.")
    if "status" not in do and (lonely := {"code", "message", "retry_after"} & set(do)):
        raise invalid("bad value", f"A fault with {min(lonely)} needs a status.")
    drop = do.get("drop", "")
    return Effect(**{**do, "drop": "before" if drop is True else drop})


def _is_whole(value: Any, least: int, most: int = 10**9) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)
