"""What people ask about groups and the account: the resource as the service shows it, quota, and any GET of ARM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from azure.core.rest import HttpRequest

from .backend import AciBackend
from .translation import NotFound


@dataclass(frozen=True, slots=True)
class Answer:
    """What ARM said: status, body, and its clock (the Date header)."""

    status: int
    body: Any
    date: str = ""
    code: str = ""


def describe(backend: AciBackend, name: str) -> dict[str, Any] | None:
    """The resource as the service shows it, without secrets, which it never shows; None where there is none."""
    try:
        with backend.asking(name) as (place, client):
            group = client.container_groups.get(place.resource_group, name)
    except NotFound:
        return None
    return dict(group.serialize(keep_readonly=True))


def ask(backend: AciBackend, path: str, api_version: str) -> Answer:
    """The answer to a GET of a path below ARM's root; `{subscription}` and `{resource_group}` are filled in."""
    with backend.asking("") as (place, client):
        url = f"{place.base_url}/{path.format(subscription=place.subscription_id, resource_group=place.resource_group)}"
        request = HttpRequest("GET", url, params={"api-version": api_version})
        response = client._send_request(request)  # the SDK's own door for requests it has no method for
        try:
            body = response.json()
        except ValueError:
            body = None
        error = body.get("error", {}) if isinstance(body, dict) else {}
        return Answer(response.status_code, body, response.headers.get("Date", ""), str(error.get("code", "")))


def usages(backend: AciBackend, location: str) -> dict[str, tuple[int, int]]:
    """(used, limit) of each quota of a region."""
    with backend.asking("") as (_, client):
        found = client.location.list_usage(location)
        rows: list[Any] = list(found)
        return {str(item.name.value): (int(item.current_value or 0), int(item.limit or 0)) for item in rows if item.name}


def locations_of_provider(body: Any) -> list[str]:
    """The regions that a provider's answer names for container groups, in short form."""
    types = body.get("resourceTypes", []) if isinstance(body, dict) else []
    names: list[str] = next((item.get("locations", []) for item in types if item.get("resourceType", "").lower() == "containergroups"), [])
    return sorted(name.lower().replace(" ", "") for name in names)
