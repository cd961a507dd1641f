"""SDK exceptions become ours, at one edge, by tables: codes first, then status (`aci-facts` T10–T12: 409 alone means four things)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError, DecodeError, HttpResponseError

from ..errors import AuthError, CapacityError, ImagePullError, NameTaken, QuotaError, ServiceError, Transient
from .client import Endpoint


class NotFound(Exception):
    """404 of the group; stays in this package."""


class NoResourceGroup(ServiceError, NotFound):
    """The whole resource group is missing: for a create the person must make it, for a read the group is simply not there."""


class NoLogYet(Exception):
    """The container has no log at this moment; stays in this package."""


_LOG_NOT_READY = {"ContainerLogNotAvailable", "ContainerGroupDeploymentNotReady", "ContainerGroupStopped"}
_TRANSIENT_CODES = {"ContainerGroupTransitioning", "RegistryErrorResponse"}
_TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}
_QUOTA_CODES = {"ContainerGroupQuotaReached", "QuotaExceeded"}
_IMAGE_CODES = {"InaccessibleImage", "ImageOsTypeNotMatchContainerGroup", "OsVersionNotSupported"}
_IMAGE_HINTS: Mapping[str, str] = {
    "InaccessibleImage": "check the name and tag of --image, whether its registry needs a credential, and whether it is reachable now",
    "ImageOsTypeNotMatchContainerGroup": "ACI runs amd64 Linux images: build it with --platform linux/amd64",
}
_CODE_HINTS: Mapping[str, str] = {
    "MissingSubscriptionRegistration": "once per subscription: az provider register --namespace Microsoft.ContainerInstance",
    "LocationNotAvailableForResourceType": "choose another --location",
    "InvalidResourceLocation": "a group of this name exists in another region: choose another --name",
    "SubscriptionNotFound": "check the subscription: az account list --output table",
}

_ANY_HINT = "change what the service's words name, and run the cell again; %aci doctor looks at account, region and quota"


def translate(error: AzureError, name: str, image: str, place: Endpoint) -> Exception:
    if isinstance(error, ClientAuthenticationError):
        return _auth_error(error, place)
    if not isinstance(error, HttpResponseError) or isinstance(error, DecodeError):
        return transient(f"the answer of {place.base_url} was cut off: {words(error)}")
    status = error.status_code
    body = error.error
    code = (body.code if body is not None else None) or ""
    message = (body.message if body is not None else None) or error.message or type(error).__name__
    data: dict[str, Any] = {"status": status, "code": code or None, "group_name": name or None}
    if code in _LOG_NOT_READY:
        return NoLogYet(message)
    if status == 404 and code not in {"ResourceGroupNotFound", "SubscriptionNotFound"}:
        return NotFound(message)
    if code == "ResourceGroupNotFound":
        hint = f"az group create --name {place.resource_group} --location {place.location or 'REGION'}"
        return NoResourceGroup(message, hint=f"make it first: {hint}", **data)
    if code in _QUOTA_CODES or "quota" in message.lower():
        hint = "wait for other runs, use fewer --cpu or another --location; %aci ps -a shows what runs; a higher quota is a support request"
        return QuotaError(message, hint=hint, **data)
    if code in _TRANSIENT_CODES:
        return transient(message, **data)
    if code == "ServiceUnavailable" and status == 409:
        return CapacityError(message, hint="try another --location, or a smaller --cpu and --memory, or later", **data)
    if code in _IMAGE_CODES:
        return ImagePullError(f"{image or 'the image'}: {message}", hint=_IMAGE_HINTS.get(code, "choose another --image"), **data)
    if status in _TRANSIENT_STATUS:
        answer: Any = error.response
        headers = answer.headers if answer is not None else {}
        return transient(message, retry_after_s=_seconds(headers.get("Retry-After")), **data)
    if status == 403:
        return AuthError(message, hint="the account needs the role Contributor on the resource group", **data)
    if code == "InvalidResourceLocation":
        return NameTaken(message, hint=_CODE_HINTS[code], **data)
    return ServiceError(f"{message} ({code or status})", hint=_CODE_HINTS.get(code, _ANY_HINT), **data)


def _auth_error(error: ClientAuthenticationError, place: Endpoint) -> AuthError:
    said = words(error)
    if place.loopback:
        return AuthError(
            f"the local ACI refused its token: {said}", hint="%aci local stop, then run the cell again", status=error.status_code
        )
    hint = "log in with: az login — or give a service principal in a profile (%aci profile save); %aci doctor looks closer"
    return AuthError(f"Azure gave no access: {said}", hint=hint, status=error.status_code)


def transient(message: str, *, retry_after_s: float | None = None, unreachable: bool = False, **data: Any) -> Transient:
    error = Transient(message, hint="the service did not answer well; nothing is concluded from it", **data)
    error.retry_after_s = retry_after_s
    error.unreachable = unreachable
    return error


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def words(error: BaseException) -> str:
    """The first line of an SDK message; the rest is often a dump of the whole answer."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
