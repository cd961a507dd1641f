"""The service's refusals as one exception: an HTTP status, a code, a message (aci-facts §7).

Everything below `app` raises `ServiceError`; `arm` alone knows the envelope it travels in.
"""

from __future__ import annotations

from . import inferred

BY_ARM = frozenset(
    (
        "AuthenticationFailed",
        "HostNotAllowed",
        "InvalidApiVersionParameter",
        "InvalidResourceLocation",
        "InvalidResourceType",
        "InvalidSubscriptionId",
        "LocationNotAvailableForResourceType",
        "LocationRequired",
        "MethodNotAllowed",
        "MissingApiVersionParameter",
        "NoRegisteredProviderFound",
        "RequestContentTooLarge",
        "ResourceGroupNotFound",
        "ResourceNotFound",
        "ResourceRequestsThrottled",
        "SubscriptionRequestsThrottled",
    )
)
"""Codes that the resource manager answers before the provider is asked (aci-facts §1, §7)."""


class ServiceError(Exception):
    """A refusal as the service would word it."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after

    @property
    def by_arm(self) -> bool:
        """Whether the resource manager answers, not the provider."""
        return self.code in BY_ARM


def refusal(code: str, message: str) -> ServiceError:
    """An error whose code is known and whose status is our guess (`inferred.STATUS`)."""
    return ServiceError(inferred.STATUS[code], code, message)


def invalid(situation: str, message: str) -> ServiceError:
    """A 400 whose very code is our guess (`inferred.CODE`)."""
    return ServiceError(400, inferred.CODE[situation], message)


def group_not_found(name: str, resource_group: str) -> ServiceError:
    return ServiceError(
        404,
        "ResourceNotFound",
        f"The Resource 'Microsoft.ContainerInstance/containerGroups/{name}' under resource group '{resource_group}' "
        "was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )


def container_not_found(container: str, group: str) -> ServiceError:
    return ServiceError(404, "ContainerNotFound", f"The container '{container}' in container group '{group}' was not found.")


def transitioning(name: str) -> ServiceError:
    return ServiceError(
        409,
        "ContainerGroupTransitioning",
        f"The container group '{name}' is still transitioning, please retry later.",
    )


def stopped(name: str, resource_group: str) -> ServiceError:
    return refusal("ContainerGroupStopped", f"Container Group '{name}' in resource group '{resource_group}' is stopped.")


def not_ready(name: str) -> ServiceError:
    return refusal(
        "ContainerGroupDeploymentNotReady",
        f"The deployment of container group '{name}' is not ready yet, please retry later.",
    )


def log_not_available(container: str, group: str) -> ServiceError:
    return ServiceError(
        404,
        "ContainerLogNotAvailable",
        f"The log of container '{container}' in container group '{group}' is not available yet. "
        "Check the instance view of the container group, or retry later.",
    )


def image_inaccessible(image: str, group: str, hint: str = "") -> ServiceError:
    return refusal(
        "InaccessibleImage",
        f"The image '{image}' in container group '{group}' is not accessible. Please check the image and registry credential.{hint}",
    )


def capacity(location: str, resources: str, hint: str = "") -> ServiceError:
    return ServiceError(
        409,
        "ServiceUnavailable",
        f"The requested resource is not available in the location '{location}' at this moment. Please retry with a "
        f"different resource request or in another location. Resource requested: {resources}{hint}",
    )


def unsupported(feature: str, runtime: str) -> ServiceError:
    return invalid("not on this runtime", f"{feature} cannot be honoured by the '{runtime}' runtime of this local ACI.")
