"""Which operation on a group is allowed in which condition (aci-facts §4.1, §4.2; A17–A20).

One table, `VERBS`, says what becomes of each operation; an update must also keep what only a new group can change.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from . import errors
from .group import Condition, Group
from .locations import normalised_location
from .plans import plan_group


class Answer(Enum):
    """What an operation does in a condition."""

    GO = "go"
    NOTHING = "nothing to do, and no error"
    TRANSITIONING = "ContainerGroupTransitioning"
    STOPPED = "ContainerGroupStopped"
    NOT_READY = "ContainerGroupDeploymentNotReady"
    ANEW = "deploys as new"


VERBS: dict[tuple[str, Condition], Answer] = {
    ("stop", Condition.TRANSITIONING): Answer.TRANSITIONING,
    ("stop", Condition.LIVE): Answer.GO,
    ("stop", Condition.ENDED): Answer.NOTHING,
    ("stop", Condition.STOPPED): Answer.NOTHING,
    ("start", Condition.TRANSITIONING): Answer.TRANSITIONING,
    ("start", Condition.LIVE): Answer.NOTHING,
    ("start", Condition.ENDED): Answer.GO,
    ("start", Condition.STOPPED): Answer.GO,
    ("restart", Condition.TRANSITIONING): Answer.TRANSITIONING,
    ("restart", Condition.LIVE): Answer.GO,
    ("restart", Condition.ENDED): Answer.STOPPED,
    ("restart", Condition.STOPPED): Answer.STOPPED,
    ("update", Condition.TRANSITIONING): Answer.TRANSITIONING,
    ("update", Condition.LIVE): Answer.GO,
    ("update", Condition.ENDED): Answer.ANEW,
    ("update", Condition.STOPPED): Answer.ANEW,
    ("tag", Condition.TRANSITIONING): Answer.TRANSITIONING,
    ("tag", Condition.LIVE): Answer.GO,
    ("tag", Condition.ENDED): Answer.GO,
    ("tag", Condition.STOPPED): Answer.GO,
    ("session", Condition.TRANSITIONING): Answer.NOT_READY,  # exec and attach
    ("session", Condition.LIVE): Answer.GO,
    ("session", Condition.ENDED): Answer.GO,  # recorded: 200 although the container had ended with exit 2
    ("session", Condition.STOPPED): Answer.STOPPED,
}

IMMUTABLE = ("osType", "restartPolicy", "subnetIds")


def ask(verb: str, group: Group) -> Answer:
    """What `VERBS` says; raises the error it names."""
    answer = VERBS[verb, group.condition]
    if answer is Answer.TRANSITIONING:
        raise errors.transitioning(group.key.name)
    if answer is Answer.STOPPED:
        raise errors.stopped(group.key.name, group.key.resource_group)
    if answer is Answer.NOT_READY:
        raise errors.not_ready(group.key.name)
    return answer


def check_place(group: Group, body: dict[str, Any]) -> None:
    """Refuse the name of a group that is in another location (A20)."""
    here, there = group.body["location"], body.get("location") or group.body["location"]
    if normalised_location(here) != normalised_location(there):
        raise errors.refusal(
            "InvalidResourceLocation",
            f"The resource '{group.key.name}' already exists in location '{here}' in resource group "
            f"'{group.key.resource_group}'. A resource with the same name cannot be created in location '{there}'. "
            "Please select a new resource name.",
        )


def check_immutable(group: Group, body: dict[str, Any]) -> None:
    """Refuse to change in place what only a new group can have (aci-facts §4.2, A19)."""
    before, after = group.body["properties"], body["properties"]
    wanted = plan_group(group.key.name, body)
    same = all(before.get(member) == after.get(member) for member in IMMUTABLE)
    had, wants = ((plan.cpu, plan.memory_gb, plan.gpus) for plan in (group.plan, wanted))
    if not same or had != wants:
        raise errors.invalid(
            "immutable update",
            f"The updates on container group '{group.key.name}' are invalid. If you are going to update the os type, "
            "restart policy, network profile, CPU, memory or GPU resources for a container group, you must delete it "
            "first and then create a new one.",
        )
