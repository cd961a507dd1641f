"""The control surface below /_aci: what tests and rehearsals order and ask (design §7)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import pace
from .clock import SteppedClock
from .deployment import World
from .errors import ServiceError, invalid
from .faults import KINDS, Faults
from .groups import Groups
from .messages import Request, Response
from .runtimes.simulated import SimulatedRuntime

ROOT = "/_aci/"


@dataclass(frozen=True)
class Identity:
    """What this server says about itself."""

    version: str
    digest: str
    state_dir: Path


class Control:
    """Answers requests below /_aci."""

    def __init__(self, identity: Identity, groups: Groups, world: World, faults: Faults) -> None:
        self._identity = identity
        self._groups = groups
        self._world = world
        self._faults = faults
        self.requests: Counter[str] = Counter()
        self._answers: dict[tuple[str, str], Callable[[Request], Awaitable[Response]]] = {
            ("GET", "health"): self._health,
            ("GET", "stats"): self._stats,
            ("GET", "faults"): self._list_faults,
            ("POST", "faults"): self._order_fault,
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "limits"): self._show_limits,
            ("POST", "limits"): self._change_limits,
            ("POST", "time"): self._change_time,
            ("POST", "scripts"): self._add_script,
            ("GET", "billing"): self._billing,
        }

    async def handle(self, request: Request) -> Response:
        """The answer to a request whose path begins with `ROOT`."""
        name = request.path.removeprefix(ROOT).strip("/")
        answer = self._answers.get((request.method, name))
        if answer is not None:
            return await answer(request)
        parts = name.split("/")
        if request.method == "POST" and len(parts) == 3 and (parts[0], parts[2]) == ("groups", "happen"):
            return await self._happen(request, parts[1])
        raise ServiceError(404, "NotFound", "The control surface has no such call.")

    async def _health(self, request: Request) -> Response:
        return Response(
            200,
            {
                "version": self._identity.version,
                "digest": self._identity.digest,
                "state_dir": str(self._identity.state_dir),
                "runtime": self._world.runtime.name,
                "groups_alive": self._groups.alive(),
                "pid": os.getpid(),
            },
        )

    async def _stats(self, request: Request) -> Response:
        requests = {kind: self.requests[kind] for kind in sorted(KINDS - {"any"})}
        return Response(200, {"requests": requests, **self._groups.counts._asdict()})

    async def _list_faults(self, request: Request) -> Response:
        return Response(200, {"faults": self._faults.describe()})

    async def _order_fault(self, request: Request) -> Response:
        self._faults.order(request.json())
        return await self._list_faults(request)

    async def _clear_faults(self, request: Request) -> Response:
        self._faults.clear()
        return await self._list_faults(request)

    async def _show_limits(self, request: Request) -> Response:
        return Response(200, asdict(self._world.limits))

    async def _change_limits(self, request: Request) -> Response:
        self._world.limits = self._world.limits.changed(request.json())
        return await self._show_limits(request)

    async def _change_time(self, request: Request) -> Response:
        order = request.json_object()
        if "mode" in order:
            self._world.pace.lag = _parse_lag(order)
        elif order and set(order) <= {"advance_s", "flow"} and order.get("flow", "frozen") == "frozen":
            self._step_clock(order)
        else:
            raise invalid("bad value", "Time takes a mode (immediate, reads, seconds, recorded), advance_s or flow (frozen).")
        return Response(200, {"lag": asdict(self._world.pace.lag), "now": self._world.clock.now().isoformat()})

    def _step_clock(self, order: dict[str, Any]) -> None:
        clock = self._world.clock
        if not isinstance(clock, SteppedClock):
            raise invalid("bad value", "Only the simulated runtime's time can be advanced or frozen.")
        step_s = _seconds(order, "advance_s")
        if "flow" in order:
            clock.freeze()
        clock.advance(step_s)

    async def _add_script(self, request: Request) -> Response:
        if not isinstance(self._world.runtime, SimulatedRuntime):
            raise invalid("bad value", "Only the simulated runtime runs scripts.")
        self._world.runtime.add_script(request.json_object())
        return Response(200, {})

    async def _happen(self, request: Request, name: str) -> Response:
        order = request.json_object()
        event, container, lose = order.get("event"), order.get("container"), order.get("lose_emptydir", False)
        if not isinstance(event, str) or not isinstance(container, str | None) or not isinstance(lose, bool):
            raise invalid("bad value", 'A happening is an object like {"event": "evict", "lose_emptydir": true}.')
        await self._groups.happen(self._groups.find(name), event, container, lose_empty_dirs=lose)
        return Response(200, {})

    async def _billing(self, request: Request) -> Response:
        """What each group would be billed for: from its first pull until all of it stopped (A33)."""
        now = self._world.clock.now()
        rows = [
            {
                "name": group.key.name,
                "cpu": group.plan.cpu,
                "memory_gb": group.plan.memory_gb,
                "seconds": ((group.billed_until or now) - group.billed_from).total_seconds(),
                "running": group.billed_until is None,
            }
            for group in self._groups.all()
            if group.billed_from is not None
        ]
        return Response(200, {"value": rows})


LAG_MEMBERS: dict[str, tuple[str, ...]] = {
    "immediate": (),
    "recorded": (),
    "reads": ("n",),
    "seconds": ("pulling_s", "starting_s", "end_lag_s", "delete_s"),
}


def _parse_lag(order: dict[str, Any]) -> pace.Lag:
    mode = order["mode"]
    if not isinstance(mode, str) or mode not in LAG_MEMBERS:
        raise invalid("bad value", f"The mode of time is one of {', '.join(LAG_MEMBERS)}.")
    if unknown := set(order) - {"mode", *LAG_MEMBERS[mode]}:
        raise invalid("bad value", f"The mode '{mode}' of time has no member '{min(unknown)[:40]}'.")
    match mode:
        case "reads":
            if not (reads := int(_seconds(order, "n"))):
                raise invalid("bad value", "The mode 'reads' of time takes a number n from 1.")
            return pace.AfterReads(reads)
        case "seconds":
            return pace.AfterSeconds(**{name: _seconds(order, name) for name in LAG_MEMBERS[mode]})
        case "recorded":
            return pace.RECORDED
        case _:
            return pace.AtOnce()


def _seconds(order: dict[str, Any], name: str) -> float:
    value = order.get(name, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
        raise invalid("bad value", f"'{name}' must be a number from 0 on.")
    return float(value)
