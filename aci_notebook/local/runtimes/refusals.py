"""What runtimes that really run containers refuse alike: the platform around them is not on this machine."""

from __future__ import annotations

from .. import errors
from ..plans import GroupPlan


def refuse_what_no_machine_has(plan: GroupPlan, runtime: str) -> None:
    """Raise the service's own error for Windows, GPUs, other skus, and features such as networks and identities."""
    if plan.os_type != "Linux":
        raise errors.refusal("OsVersionNotSupported", f"The OS version of image '{plan.containers[0].image}' is not supported.")
    if plan.gpus or plan.sku != "Standard":
        what = "GPU" if plan.gpus else f"sku '{plan.sku}'"
        raise errors.capacity(
            plan.location,
            f"'{plan.cpu:g}' CPU '{plan.memory_gb:g}' GB memory 'Linux' OS, {what}",
            f" (the '{runtime}' runtime of this local ACI has none)",
        )
    containers = (*plan.init_containers, *plan.containers)
    for feature in sorted(plan.features.union(*(container.features for container in containers))):
        raise errors.unsupported(feature, runtime)
