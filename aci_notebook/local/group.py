"""One container group: what was asked for, how far it is, and its operation. Changed by `groups` and `deployment`."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from . import store
from .pace import ReadGate
from .plans import GroupPlan, plan_group
from .states import Life, PlatformEvent, group_state


class GroupKey(NamedTuple):
    """Identity of a group; names compare without letter case in ARM (aci-facts §1)."""

    subscription: str
    resource_group: str
    name: str

    def folded(self) -> GroupKey:
        return GroupKey(*(part.lower() for part in self))


class Condition(Enum):
    """What decides whether an operation is allowed (aci-facts §4.1)."""

    TRANSITIONING = "transitioning"
    LIVE = "live"
    ENDED = "ended"
    STOPPED = "stopped"


@dataclass
class Operation:
    """The asynchronous operation of a create, start, restart or update; `outcome` moves once (aci-facts §2.4)."""

    started_at: datetime
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    outcome: str = "Pending"
    error: dict[str, str] | None = None


@dataclass
class Group:
    """A group as the service keeps it. `body` is canonical and holds secrets: only `arm` may show a part of it."""

    key: GroupKey
    body: dict[str, Any] = field(repr=False)
    plan: GroupPlan
    operation: Operation
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    provisioning_state: str = "Pending"
    stopped: bool = False
    lives: dict[str, Life] = field(default_factory=dict)
    events: tuple[PlatformEvent, ...] = ()
    address: str | None = None
    billed_from: datetime | None = None
    billed_until: datetime | None = None
    busy: bool = False  # a stop is on its way
    deletion: asyncio.Task[None] | None = None
    gate: ReadGate = field(default_factory=ReadGate)

    def __post_init__(self) -> None:
        for container in (*self.plan.init_containers, *self.plan.containers):
            self.lives.setdefault(container.name, Life())

    def replace_body(self, body: dict[str, Any]) -> None:
        """Take over what an update asked for; containers that are no longer named are forgotten."""
        self.body = body
        self.plan = plan_group(self.key.name, body)
        named = [container.name for container in (*self.plan.init_containers, *self.plan.containers)]
        self.lives = {name: self.lives.get(name, Life()) for name in named}

    @property
    def state(self) -> str:
        """The group's `instanceView.state`."""
        inits = [self.lives[container.name] for container in self.plan.init_containers]
        mains = [self.lives[container.name] for container in self.plan.containers]
        return group_state(self.plan.restart_policy, inits, mains, stopped=self.stopped)

    @property
    def condition(self) -> Condition:
        if self.busy or self.deletion or self.operation.outcome == "Pending":
            return Condition.TRANSITIONING
        if self.stopped:
            return Condition.STOPPED
        return Condition.ENDED if self.state in ("Succeeded", "Failed") else Condition.LIVE

    @property
    def holds_resources(self) -> bool:
        """Whether it counts for quotas and bills: until all of it has stopped (aci-facts §9)."""
        return self.state in ("Pending", "Running")

    def dump(self) -> dict[str, Any]:
        """The group as JSON for its state file, secrets included."""
        return {
            "key": list(self.key),
            "body": self.body,
            "operation": {
                "id": self.operation.id,
                "started_at": store.dump_instant(self.operation.started_at),
                "outcome": self.operation.outcome,
                "error": self.operation.error,
            },
            "provisioning_state": self.provisioning_state,
            "stopped": self.stopped,
            "lives": {name: store.dump_life(life) for name, life in self.lives.items()},
            "events": [store.dump_event(event) for event in self.events],
            "address": self.address,
            "billed_from": store.dump_instant(self.billed_from),
            "billed_until": store.dump_instant(self.billed_until),
            "deleting": self.deletion is not None,
        }

    @classmethod
    def load(cls, group_id: str, record: dict[str, Any]) -> Group:
        """The group of a state file."""
        key = GroupKey(*record["key"])
        operation = dict(record["operation"])
        started_at = store.load_instant(operation.pop("started_at"))
        assert started_at is not None
        return cls(
            key=key,
            body=record["body"],
            plan=plan_group(key.name, record["body"]),
            operation=Operation(started_at, **operation),
            id=group_id,
            provisioning_state=record["provisioning_state"],
            stopped=record["stopped"],
            lives={name: store.load_life(life) for name, life in record["lives"].items()},
            events=tuple(store.load_event(event) for event in record["events"]),
            address=record["address"],
            billed_from=store.load_instant(record["billed_from"]),
            billed_until=store.load_instant(record["billed_until"]),
        )
