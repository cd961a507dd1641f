"""Quotas and usages of a region, counted from what runs (aci-facts §4, §7, §8; A21, A25)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import refusal
from .group import Group
from .limits import Limits
from .locations import normalised_location
from .plans import GroupPlan


@dataclass(frozen=True)
class Usage:
    """One row of the usages call. `name` is PascalCase; the id ends in the same name in camelCase."""

    name: str
    title: str
    current: float
    limit: float


def usages(location: str, subscription: str, groups: Iterable[Group], limits: Limits) -> list[Usage]:
    """All rows for one region of one subscription."""
    here = [
        group
        for group in groups
        if normalised_location(group.plan.location) == normalised_location(location)
        and group.key.subscription.lower() == subscription.lower()
    ]
    live = [group.plan for group in here if group.holds_resources]
    return [
        Usage("ContainerGroups", "Container Groups", len(here), limits.groups),
        Usage("StandardCores", "Standard Cores", _cores(live, "StandardCores"), limits.cores),
        Usage("StandardSpotCores", "Standard Spot Cores", _cores(live, "StandardSpotCores"), limits.spot_cores),
        *(Usage(f"Standard{gpu}Cores", f"Standard {gpu} Cores", 0, 0) for gpu in ("K80", "P100", "V100")),
        Usage("DedicatedContainerGroups", "Dedicated Container Groups", _count(live, "Dedicated"), limits.groups),
        Usage("DedicatedCores", "Dedicated Cores", _cores(live, "DedicatedCores"), limits.cores),
        Usage("ConfidentialContainerGroups", "Confidential Container Groups", _count(live, "Confidential"), limits.groups),
        Usage("ConfidentialCores", "Confidential Cores", _cores(live, "ConfidentialCores"), limits.cores),
    ]


def cores_quota(plan: GroupPlan) -> str:
    """The quota that a group's cores count against."""
    return "StandardSpotCores" if plan.priority == "Spot" else f"{plan.sku}Cores"


def _cores(plans: list[GroupPlan], quota: str) -> float:
    return sum(plan.cpu for plan in plans if cores_quota(plan) == quota)


def _count(plans: list[GroupPlan], sku: str) -> int:
    return sum(plan.sku == sku for plan in plans)


def check_quota(plan: GroupPlan, subscription: str, others: Iterable[Group], limits: Limits) -> None:
    """Refuse a group that, beside `others`, would exceed a quota of its region."""
    wanted = {"ContainerGroups": 1.0, cores_quota(plan): plan.cpu}
    for usage in usages(plan.location, subscription, others, limits):
        requested = wanted.get(usage.name, 0.0)
        if requested and usage.current + requested > usage.limit:
            raise refusal(
                "ContainerGroupQuotaReached",
                f"Resource type 'Microsoft.ContainerInstance/containerGroups' container group quota '{usage.name}' "
                f"exceeded in region '{normalised_location(plan.location)}'. Limit: '{usage.limit:g}', "
                f"Usage: '{usage.current:g}' Requested: '{requested:g}'.",
            )
