"""What the service refuses of the platform around the containers: priority, network, registries, identities.

A part of `validation`, which calls it once names and resources are known to be right (aci-facts §7, §8; A23).
"""

from __future__ import annotations

from typing import Any

from .errors import invalid, refusal
from .locations import normalised_location

SPOT_LOCATIONS = frozenset(("eastus2", "westeurope", "westus"))  # aci-facts §8
IDENTITY_KINDS = frozenset(("SystemAssigned", "UserAssigned", "None"))

Body = dict[str, Any]


def check_platform(body: Body) -> None:
    """Raise the service's error for the first rule that a canonical body breaks."""
    properties = body["properties"]
    _check_priority(properties, body["location"], body.get("zones", []))
    if properties.get("subnetIds") and properties.get("ipAddress", {}).get("type") == "Public":
        raise invalid("bad ip address", "A container group in a subnet cannot have a public IP address.")
    identities = _check_identity(body.get("identity", {}))
    _check_registries(properties.get("imageRegistryCredentials", []), identities)


def _check_identity(identity: Body) -> frozenset[str]:
    """The user-assigned identities, in small letters."""
    kinds = {kind.strip() for kind in identity.get("type", "None").split(",")}
    assigned = identity.get("userAssignedIdentities") or {}
    if not kinds <= IDENTITY_KINDS or ("None" in kinds and len(kinds) > 1) or not isinstance(assigned, dict):
        raise invalid("bad identity", f"The type of an identity is one or two of {', '.join(sorted(IDENTITY_KINDS))}.")
    if ("UserAssigned" in kinds) != bool(assigned):
        raise invalid("bad identity", "An identity of type 'UserAssigned', and no other, names at least one user-assigned identity.")
    return frozenset(name.lower() for name in assigned)


def _check_registries(credentials: list[Body], identities: frozenset[str]) -> None:
    """A missing password passes: whoever puts again what was read has lost it, and is not told so (aci-facts §2.3)."""
    servers = [credential.get("server", "").lower() for credential in credentials]
    for server, credential in zip(servers, credentials, strict=True):
        if not server or "/" in server or servers.count(server) > 1:
            raise invalid("bad registry", f"The registry server '{server[:80]}' must be a host name, and be named once.")
        identity = credential.get("identity")
        if not identity and not credential.get("username"):
            raise invalid("bad registry", f"The credential for the registry '{server}' needs a user name or an identity.")
        if identity and identity.lower() not in identities:
            raise invalid("bad registry", f"The identity for the registry '{server}' is none of the container group.")


def _check_priority(properties: Body, location: str, zones: list[str]) -> None:
    priority = properties.get("priority")
    if priority is None:
        return
    if priority.lower() not in ("regular", "spot"):
        raise refusal("PriorityNotSpecified", "The 'priority' must be one of 'Regular,Spot'.")
    properties["priority"] = priority.capitalize()
    if properties["priority"] != "Spot":
        return
    if "ipAddress" in properties or properties.get("subnetIds"):
        raise refusal(
            "SpotPriorityContainerGroupNotSupportedForInboundConnectivity",
            "Container groups with priority 'Spot' do not support inbound connectivity.",
        )
    if properties.get("sku", "Standard") != "Standard":
        raise refusal(
            "SpotPriorityContainerGroupNotSupportedInSku",
            f"Container groups with priority 'Spot' are not supported in sku '{properties['sku']}'.",
        )
    if any("gpu" in container["properties"]["resources"]["requests"] for container in properties["containers"]):
        raise refusal(
            "SpotPriorityContainerGroupWithGPUResourcesNotSupported",
            "Container groups with priority 'Spot' do not support GPU resources.",
        )
    if zones or normalised_location(location) not in SPOT_LOCATIONS:
        raise invalid(
            "bad spot",
            f"Container groups with priority 'Spot' are available in {', '.join(sorted(SPOT_LOCATIONS))}, and in no zone.",
        )
