"""Answers to ARM's requests: from a route's values to the groups, and back to the envelope (aci-facts §1–§6).

One method for each `routes.Route.answer`. What a body shows is decided in `views`, what is allowed in `groups`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from . import errors, inferred, views
from .deployment import World
from .group import Group, GroupKey, Operation
from .groups import Groups
from .locations import LOCATIONS, normalised_location
from .logwindow import read_window
from .messages import Request, Response
from .quotas import usages
from .sessions import Session, Sessions
from .shapes import Fields, Listed, Text, TextMap, parse
from .surface import GROUP

Values = Mapping[str, str]
OPERATION_VERSION = "2018-06-01"  # whatever version the request used (aci-facts §2.1)
HOME_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"  # there before any group is: az will not log in without one
TENANT = "11111111-1111-1111-1111-111111111111"
CACHED_IMAGES = ("python:3", "alpine:latest", "busybox:latest", "debian:stable-slim", "ubuntu:latest")
PROVIDER_OPERATIONS = (
    ("read", "Container Group", "Get all container groups"),
    ("write", "Container Group", "Create or update a container group"),
    ("delete", "Container Group", "Delete a container group"),
    ("start/action", "Container Group", "Start a container group"),
    ("stop/action", "Container Group", "Stop a container group"),
    ("restart/action", "Container Group", "Restart a container group"),
    ("containers/logs/read", "Container", "Get the logs of a container"),
    ("containers/exec/action", "Container", "Run a program in a container"),
    ("containers/attach/action", "Container", "Attach to the output of a container"),
    ("outboundNetworkDependenciesEndpoints/read", "Container Group", "List the endpoints that a container group needs"),
)
PATCHABLE = Fields({"tags": TextMap(), "location": Text(), "zones": Listed(Text())})


class Arm:
    """The provider's and the resource manager's side of the server."""

    def __init__(self, groups: Groups, world: World, sessions: Sessions) -> None:
        self._groups = groups
        self._world = world
        self._sessions = sessions

    def group_name(self, values: Values) -> str:
        """The group that a request is about, an operation's included; empty if none."""
        found = self._groups.operation(values.get("operation", ""))
        return found[1].key.name if found else values.get("name", "")

    def region_of(self, values: Values) -> str:
        """The short name of the region that a request is about; empty if ARM itself has to answer."""
        if "location" in values:
            return normalised_location(values["location"])
        try:
            return normalised_location(self._groups.get(_key(values)).plan.location) if "name" in values else ""
        except errors.ServiceError:
            return ""

    async def put_group(self, request: Request, values: Values) -> Response:
        body = parse(GROUP, request.json_object(), "")
        if "properties" not in body:
            raise errors.invalid("bad value", "The request content was invalid: 'properties' is missing.")
        await self._groups.look_up(_key(values), body)
        group, is_new = await self._groups.put(_key(values), body)
        shown = self._show(group, request)
        return Response(201 if is_new else inferred.UPDATE_STATUS, shown, self._operation_header(request, group))

    async def get_group(self, request: Request, values: Values) -> Response:
        group = self._groups.get(_key(values))
        shown = self._show(group, request)
        group.gate.count_read()
        return Response(200, shown)

    async def patch_group(self, request: Request, values: Values) -> Response:
        changes = parse(PATCHABLE, request.json_object(), "")
        return Response(200, self._show(self._groups.tag(_key(values), changes), request))

    async def delete_group(self, request: Request, values: Values) -> Response:
        key = _key(values)
        try:
            shown = self._show(self._groups.get(key), request)
        except errors.ServiceError:
            return Response(204)
        await self._groups.delete(key)
        return Response(200, shown)

    async def list_groups(self, request: Request, values: Values) -> Response:
        wanted = GroupKey(values["subscription"], values.get("resource_group", ""), "").folded()
        after = _skipped(request.query.get("$skiptoken"))
        found = [
            (key.resource_group, key.name, group)
            for key, group in ((group.key.folded(), group) for group in self._groups.all())
            if key.subscription == wanted.subscription and wanted.resource_group in ("", key.resource_group)
        ]
        found = sorted(row for row in found if row[:2] > after)
        page = found[: max(1, self._world.limits.page_size)]
        shown: dict[str, Any] = {"value": [self._show(group, request, instance_view=False) for *_, group in page]}
        if len(page) < len(found):
            token = quote(base64.urlsafe_b64encode(json.dumps(page[-1][:2]).encode()).decode())
            shown["nextLink"] = f"{request.origin}{request.path}?api-version={request.query['api-version']}&%24skiptoken={token}"
        for *_, group in page:
            group.gate.count_read()
        return Response(200, shown)

    async def start_group(self, request: Request, values: Values) -> Response:
        operation = self._groups.start(_key(values))
        if operation is None:
            return Response(204)
        return Response(204, headers=self._operation_header(request, self._groups.get(_key(values))))

    async def stop_group(self, request: Request, values: Values) -> Response:
        await self._groups.stop(_key(values))
        return Response(204)

    async def restart_group(self, request: Request, values: Values) -> Response:
        self._groups.restart(_key(values))
        return Response(204, headers=self._operation_header(request, self._groups.get(_key(values))))

    async def get_logs(self, request: Request, values: Values) -> Response:
        tail = _tail(request.query.get("tail"))
        timestamps = request.query.get("timestamps", "false").lower() == "true"
        handle, ended = self._groups.log_handle(_key(values), values["container"])
        window = self._world.limits.window(ended=ended)
        if tail is not None:
            return Response(200, {"content": read_window(handle.spool, window, tail, timestamps)})
        content = await asyncio.to_thread(read_window, handle.spool, window, tail, timestamps)
        return Response(200, {"content": content})

    async def open_exec(self, request: Request, values: Values) -> Response:
        order = request.json_object()
        command, size = order.get("command"), order.get("terminalSize") or {}
        if not isinstance(command, str) or len(command.split()) != 1:
            raise errors.invalid("bad exec", "The exec command must be one program without arguments.")
        rows, cols = (_screen_size(size, name, default) for name, default in (("rows", 24), ("cols", 80)))
        handle = self._groups.session_handle(_key(values), values["container"])
        session = self._sessions.add(Session("exec", handle, command))
        return _session_answer(request, session, "execstream", f"&rows={rows}&cols={cols}")

    async def open_attach(self, request: Request, values: Values) -> Response:
        handle = self._groups.session_handle(_key(values), values["container"])
        return _session_answer(request, self._sessions.add(Session("attach", handle)), "logstream", "")

    async def list_dependencies(self, request: Request, values: Values) -> Response:
        self._groups.get(_key(values))
        return Response(200, [])

    async def get_operation(self, request: Request, values: Values) -> Response:
        found = self._groups.operation(values["operation"])
        if found is None or found[1].key.subscription.lower() != values["subscription"].lower():
            message = f"The container group of the operation '{values['operation'][:80]}' was not found."
            raise errors.ServiceError(404, inferred.OPERATION_OF_NO_GROUP, message)
        operation, group = found
        shown = views.show_operation(operation, group, self._world.limits)
        group.gate.count_read()
        return Response(200, shown)

    async def list_usages(self, request: Request, values: Values) -> Response:
        location, subscription = normalised_location(values["location"]), values["subscription"]
        rows = usages(location, subscription, self._groups.all(), self._world.limits)
        return Response(200, {"value": [views.show_usage(row, subscription, location) for row in rows]})

    async def list_capabilities(self, request: Request, values: Values) -> Response:
        return Response(200, {"value": views.show_capabilities(values["location"])})

    async def list_cached_images(self, request: Request, values: Values) -> Response:
        return Response(200, {"value": [{"osType": "Linux", "image": image} for image in CACHED_IMAGES]})

    async def list_provider_operations(self, request: Request, values: Values) -> Response:
        shown = [
            {
                "name": f"{views.GROUP_TYPE}/{action}",
                "display": {
                    "provider": "Microsoft Container Instance",
                    "resource": resource,
                    "operation": text,
                    "description": f"{text}.",
                },
                "origin": "User",
            }
            for action, resource, text in PROVIDER_OPERATIONS
        ]
        return Response(200, {"value": shown})

    async def get_provider(self, request: Request, values: Values) -> Response:
        place = f"/subscriptions/{values['subscription']}/providers/Microsoft.ContainerInstance"
        kind = {
            "resourceType": "containerGroups",
            "locations": sorted(LOCATIONS),
            "apiVersions": ["2024-05-01-preview", "2023-05-01"],
            "defaultApiVersion": "2023-05-01",
        }
        return Response(
            200,
            {
                "id": place,
                "namespace": "Microsoft.ContainerInstance",
                "registrationState": "Registered",
                "registrationPolicy": "RegistrationRequired",
                "resourceTypes": [kind],
            },
        )

    async def list_subscriptions(self, request: Request, values: Values) -> Response:
        known = dict.fromkeys([HOME_SUBSCRIPTION, *(group.key.subscription for group in self._groups.all())])
        return Response(200, {"value": [_show_subscription(subscription) for subscription in known]})

    async def get_subscription(self, request: Request, values: Values) -> Response:
        return Response(200, _show_subscription(values["subscription"]))

    async def list_tenants(self, request: Request, values: Values) -> Response:
        return Response(200, {"value": [{"id": f"/tenants/{TENANT}", "tenantId": TENANT}]})

    async def list_locations(self, request: Request, values: Values) -> Response:
        place = f"/subscriptions/{values['subscription']}/locations"
        shown = [{"id": f"{place}/{name}", "name": name, "displayName": name} for name in sorted(LOCATIONS)]
        return Response(200, {"value": shown})

    async def get_resource_group(self, request: Request, values: Values) -> Response:
        name = values["resource_group"]
        place = f"/subscriptions/{values['subscription']}/resourceGroups/{name}"
        shown = {"id": place, "name": name, "type": "Microsoft.Resources/resourceGroups", "location": "westeurope"}
        return Response(200, shown | {"properties": {"provisioningState": "Succeeded"}})

    async def head_resource_group(self, request: Request, values: Values) -> Response:
        return Response(204)

    def _show(self, group: Group, request: Request, *, instance_view: bool = True) -> dict[str, Any]:
        version = request.query["api-version"]
        return views.show_group(group, version, self._world.limits, instance_view=instance_view)

    @staticmethod
    def _operation_header(request: Request, group: Group) -> dict[str, str]:
        """A URL on the same host, in the location's short name, with the old api-version (A1, A26, A27)."""
        operation: Operation = group.operation
        region = normalised_location(group.plan.location)
        place = f"/subscriptions/{group.key.subscription}/providers/Microsoft.ContainerInstance/locations/{region}"
        url = f"{request.origin}{place}/operations/{operation.id}?api-version={OPERATION_VERSION}"
        return {"azure-asyncoperation": url, "x-ms-request-id": f"{region}:{operation.id}"}


def _key(values: Values) -> GroupKey:
    return GroupKey(values["subscription"], values["resource_group"], values["name"])


def _tail(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise errors.invalid("bad value", "The query parameter 'tail' must be a whole number.")
    return int(text)


def _skipped(token: str | None) -> tuple[str, str]:
    """The resource group and name that a page begins after; raises a 400 for a token that no list gave out."""
    if token is None:
        return "", ""
    try:
        match json.loads(base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)):
            case [str(resource_group), str(name)]:
                return resource_group, name
    except (ValueError, binascii.Error, RecursionError):
        pass
    raise errors.invalid("bad value", "The query parameter '$skiptoken' is invalid.")


def _screen_size(size: Any, name: str, default: int) -> int:
    value = size.get(name, default) if isinstance(size, dict) else None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10000:
        raise errors.invalid("bad exec", f"The terminal size needs '{name}' from 1 to 10000.")
    return value


def _session_answer(request: Request, session: Session, stream: str, more: str) -> Response:
    host = request.origin.replace("http", "ws", 1)
    url = f"{host}/{stream}/sessionId/{session.id}?api-version=1.0{more}"
    return Response(200, {"webSocketUri": url, "password": session.password})


def _show_subscription(subscription: str) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{subscription}",
        "subscriptionId": subscription,
        "displayName": "Local ACI",
        "state": "Enabled",
        "tenantId": TENANT,
    }
