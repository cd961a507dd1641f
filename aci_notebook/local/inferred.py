"""What nobody has seen the service do, and what we chose instead: the one place where guesses live.

`aci-facts` marks these as *inferred* or leaves them open. Where a recording settles one, change it here.
"""

from __future__ import annotations

from typing import Final

STATUS: Final = {
    # error code -> HTTP status, where the facts give the code but nobody recorded the status (aci-facts §7)
    "InaccessibleImage": 400,
    "RegistryErrorResponse": 409,
    "OsVersionNotSupported": 400,
    "ImageOsTypeNotMatchContainerGroup": 400,
    "InvalidOsType": 400,
    "ResourceRequestsNotSpecified": 400,
    "PriorityNotSpecified": 400,
    "SpotPriorityContainerGroupNotSupportedForInboundConnectivity": 400,
    "SpotPriorityContainerGroupNotSupportedInSku": 400,
    "SpotPriorityContainerGroupWithGPUResourcesNotSupported": 400,
    "LocationNotAvailableForResourceType": 400,
    "ContainerGroupQuotaReached": 409,
    "ContainerGroupStopped": 409,
    "ContainerGroupDeploymentNotReady": 409,
    "InvalidResourceLocation": 409,
}

CODE: Final = {
    # situations whose code nobody has seen: what we call them (all 400)
    "immutable update": "InvalidContainerGroupUpdate",
    "bad name": "InvalidContainerGroupName",
    "bad container": "InvalidContainer",
    "bad environment variable": "InvalidEnvironmentVariable",
    "bad volume": "InvalidVolume",
    "bad port": "InvalidPort",
    "bad ip address": "InvalidIpAddress",
    "bad resources": "InvalidResourceRequests",
    "bad registry": "InvalidImageRegistryCredential",
    "bad identity": "InvalidIdentity",
    "bad spot": "InvalidSpotContainerGroup",
    "bad value": "InvalidRequestContent",
    "not on this runtime": "UnsupportedFeature",
    "bad exec": "InvalidExecCommand",
}

UPDATE_STATUS: Final = 200
"""PUT on a group that exists: spec and SDK allow 200 and 201, neither was seen."""

OOM_DETAIL: Final = "OOMKilled"
"""detailStatus of a container that ran out of memory; only its exit code 137 is documented."""

START_FAILED_EXIT: Final = 128
"""Exit code of a command that could not be started at all (what containerd reports)."""

PLATFORM_KILL_EXIT: Final = 7147
"""Exit code of a graceful platform termination; documented, though "may never be visible"."""

BACK_OFF_S: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0)
"""Waits before the first, second, … restart: five within 15 s were recorded, the rest doubles as Kubernetes' does."""

BACK_OFF_FORGOTTEN_S: Final = 600.0
"""A container that ran so long starts its back-off from the beginning."""

STOP_GRACE_S: Final = 3.0
"""Between SIGTERM and SIGKILL on stop, restart and delete."""

STOP_SIGNAL_TO: Final = "the first process"
"""SIGTERM goes to the container's first process alone, as a container engine does; SIGKILL goes to all of them."""

EMPTY_DIRS: Final = "kept by restarts in place (policy, restart operation, platform), lost by start and update"
"""Whether an emptyDir survives; a relocation may lose it (`lose_emptydir` of a happening)."""

WINDOW_CUT: Final = "bytes"
"""The log window is cut at a byte, so its first line may be a part of a line (it is stamped like the whole one); it
counts the output's own bytes, not the stamps of `timestamps=true`."""

ATTACH_FROM: Final = "now"
"""Attach shows what is printed from the moment of connecting, as a container engine does."""

PATCH_IN_TRANSITION: Final = "refused"
"""PATCH during a transition answers 409 as stop, start, restart and PUT do; DELETE and GET never do."""

RESOURCE_GROUPS: Final = "all exist"
"""A local ACI has no resource groups to create first: each name is one, wherever it is asked for."""

OPERATION_OF_NO_GROUP: Final = "ContainerGroupNotFound"
"""Code of the 404 for an operation whose group was deleted: what a plugin's poller reported (aci-facts §11)."""

LIST_ORDER: Final = "by name"
"""Lists go by resource group and name, so that paging loses nothing when groups come and go meanwhile."""
