"""The URL space as one table: method, path, what it is counted as, who answers (aci-facts §1, A26).

Literals match in any letter case, repeated slashes are one (az sends `…Microsoft.ContainerInstance//containerGroups`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from .errors import ServiceError
from .locations import check_location

PROVIDER = "providers/Microsoft.ContainerInstance"
GROUPS = f"subscriptions/{{subscription}}/resourceGroups/{{resource_group}}/{PROVIDER}/containerGroups"
LOCATION = f"subscriptions/{{subscription}}/{PROVIDER}/locations/{{location}}"
SUBSCRIPTION = re.compile(r"[0-9A-Za-z][0-9A-Za-z\-]{0,63}")
RESOURCE_GROUP_NAME = re.compile(r"[-\w.()]{0,89}[-\w()]")
RESOURCE_GROUP = "subscriptions/{subscription}/resourcegroups/{resource_group}"


@dataclass(frozen=True)
class Route:
    """`kind` is the name in statistics and faults; `answer` the method of `arm.Arm`; `ours` if the provider answers."""

    method: str
    pattern: str
    kind: str
    answer: str
    ours: bool = True


ROUTES = (
    Route("PUT", f"{GROUPS}/{{name}}", "create", "put_group"),
    Route("GET", f"{GROUPS}/{{name}}", "get", "get_group"),
    Route("PATCH", f"{GROUPS}/{{name}}", "update", "patch_group"),
    Route("DELETE", f"{GROUPS}/{{name}}", "delete", "delete_group"),
    Route("GET", GROUPS, "list", "list_groups"),
    Route("GET", f"subscriptions/{{subscription}}/{PROVIDER}/containerGroups", "list", "list_groups"),
    Route("POST", f"{GROUPS}/{{name}}/start", "start", "start_group"),
    Route("POST", f"{GROUPS}/{{name}}/stop", "stop", "stop_group"),
    Route("POST", f"{GROUPS}/{{name}}/restart", "restart", "restart_group"),
    Route("GET", f"{GROUPS}/{{name}}/containers/{{container}}/logs", "logs", "get_logs"),
    Route("POST", f"{GROUPS}/{{name}}/containers/{{container}}/exec", "exec", "open_exec"),
    Route("POST", f"{GROUPS}/{{name}}/containers/{{container}}/attach", "attach", "open_attach"),
    Route("GET", f"{GROUPS}/{{name}}/outboundNetworkDependenciesEndpoints", "dependencies", "list_dependencies"),
    Route("GET", f"{LOCATION}/operations/{{operation}}", "operation", "get_operation"),
    Route("GET", f"{LOCATION}/usages", "usages", "list_usages"),
    Route("GET", f"{LOCATION}/capabilities", "capabilities", "list_capabilities"),
    Route("GET", f"{LOCATION}/cachedImages", "cached_images", "list_cached_images"),
    Route("GET", f"{PROVIDER}/operations", "provider", "list_provider_operations"),
    Route("GET", f"subscriptions/{{subscription}}/{PROVIDER}", "provider", "get_provider", ours=False),
    Route("POST", f"subscriptions/{{subscription}}/{PROVIDER}/register", "provider", "get_provider", ours=False),
    Route("GET", "subscriptions", "provider", "list_subscriptions", ours=False),
    Route("GET", "tenants", "provider", "list_tenants", ours=False),
    Route("GET", "subscriptions/{subscription}", "provider", "get_subscription", ours=False),
    Route("GET", "subscriptions/{subscription}/locations", "provider", "list_locations", ours=False),
    Route("GET", RESOURCE_GROUP, "provider", "get_resource_group", ours=False),
    Route("HEAD", RESOURCE_GROUP, "provider", "head_resource_group", ours=False),
    Route("PUT", RESOURCE_GROUP, "provider", "get_resource_group", ours=False),
)
_SPLIT = tuple((route, tuple(route.pattern.split("/"))) for route in ROUTES)


def find_route(method: str, path: str) -> tuple[Route, Mapping[str, str]]:
    """The route of a percent-encoded path, and what its placeholders stand for; raises 404, 405, or ARM's word on names."""
    parts = tuple(unquote(part) for part in path.split("/") if part)
    matched = False
    for route, pattern in _SPLIT:
        values = _match(pattern, parts)
        if values is None:
            continue
        matched = True
        if route.method == method:
            _check_names(values)
            return route, values
    if matched:
        raise ServiceError(405, "MethodNotAllowed", f"The HTTP method '{method}' is not supported at this resource.")
    raise ServiceError(404, "InvalidResourceType", "The resource type could not be found at the requested path.")


def _check_names(values: Mapping[str, str]) -> None:
    """What ARM itself refuses before a provider sees it; what passes is safe in headers and URLs."""
    subscription, group = values.get("subscription", "x"), values.get("resource_group", "x")
    if not SUBSCRIPTION.fullmatch(subscription):
        message = f"The provided subscription identifier '{subscription[:80]}' is malformed or invalid."
        raise ServiceError(400, "InvalidSubscriptionId", message)
    if not RESOURCE_GROUP_NAME.fullmatch(group):
        raise ServiceError(404, "ResourceGroupNotFound", f"Resource group '{group[:90]}' could not be found.")
    if "location" in values:
        check_location(values["location"])


def _match(pattern: tuple[str, ...], parts: tuple[str, ...]) -> dict[str, str] | None:
    if len(pattern) != len(parts):
        return None
    values = {}
    for expected, part in zip(pattern, parts, strict=True):
        if expected.startswith("{"):
            values[expected[1:-1]] = part
        elif expected.lower() != part.lower():
            return None
    return values
