"""The regions that have ACI, and how their names are written."""

from __future__ import annotations

from .errors import refusal

LOCATIONS = frozenset(
    """
    australiacentral australiaeast australiasoutheast austriaeast belgiumcentral brazilsouth canadacentral canadaeast
    centralindia centralus chilecentral eastasia eastus eastus2 francecentral germanywestcentral indonesiacentral
    israelcentral italynorth japaneast japanwest jioindiawest koreacentral malaysiawest mexicocentral newzealandnorth
    northcentralus northeurope norwayeast polandcentral qatarcentral southafricanorth southcentralus southeastasia
    southindia spaincentral swedencentral switzerlandnorth uaenorth uksouth ukwest westcentralus westeurope westindia
    westus westus2 westus3
    """.split()  # noqa: SIM905 - a list of literals would fill a page
)


def normalised_location(location: str) -> str:
    """`West Central US` → `westcentralus`, as in operation URLs and usage ids."""
    return location.replace(" ", "").lower()


def check_location(location: str) -> None:
    """Raise ARM's refusal of a location that has no ACI."""
    if normalised_location(location) not in LOCATIONS:
        raise refusal(
            "LocationNotAvailableForResourceType",
            f"The provided location '{location[:80]}' is not available for resource type "
            f"'Microsoft.ContainerInstance/containerGroups'. List of available regions for the resource type is "
            f"'{','.join(sorted(LOCATIONS))}'.",
        )
