"""From a request to its response: who may ask, which answer, which headers, which fault (aci-facts §1).

Nothing here knows the web framework: `server` turns bytes into a `Request` and a `Response` into bytes.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from .arm import Arm
from .budgets import Budgets
from .control import ROOT, Control
from .deployment import World
from .errors import ServiceError
from .faults import Effect, Faults
from .messages import MAX_BODY_BYTES, Request, Response, error_response
from .routes import Route, find_route

API_VERSION = re.compile(r"20\d\d-\d\d-\d\d(-preview)?")
HOST = re.compile(r"(\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9.\-]+))(:[0-9]{1,5})?")
PROVIDER_VERSIONS = frozenset(
    """
    2017-08-01-preview 2017-10-01-preview 2017-12-01-preview 2018-02-01-preview 2018-04-01 2018-06-01 2018-09-01
    2018-10-01 2019-12-01 2020-11-01 2021-03-01 2021-07-01 2021-09-01 2021-10-01 2022-09-01 2022-10-01-preview
    2023-02-01-preview 2023-05-01 2024-05-01-preview 2024-09-01-preview 2024-10-01-preview 2024-11-01-preview
    2025-09-01
    """.split()  # noqa: SIM905 - a list of literals would fill a page
)
STANDING_HEADERS = {
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Expires": "-1",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
}


class App:
    """All of the server's answers over HTTP. `token` None accepts any bearer token that is not empty."""

    def __init__(self, arm: Arm, control: Control, faults: Faults, world: World, token: str | None) -> None:
        self._arm = arm
        self._control = control
        self._faults = faults
        self._world = world
        self._token = token
        self._budgets: dict[str, Budgets] = {}

    async def handle(self, request: Request) -> Response:
        """The response to one request; never raises `ServiceError`."""
        try:
            check_caller(request.headers)
            check_size(request)
            if request.path.startswith(ROOT):
                if request.path != ROOT + "health":
                    self._check_token(request)
                response = await self._control.handle(request)
            else:
                self._check_token(request)
                response = await self._handle_arm(request)
        except ServiceError as error:
            response = error_response(error)
        return replace(response, headers={**STANDING_HEADERS, **response.headers})

    async def _handle_arm(self, request: Request) -> Response:
        route, values = find_route(request.method, request.path)
        self._control.requests[route.kind] += 1
        tracking = str(uuid.uuid4())
        effect = self._faults.next_for(route.kind, self._arm.group_name(values))
        headers: dict[str, str] = {}
        try:
            _check_api_version(request, route)
            budget = self._budgets.setdefault(values.get("subscription", "").lower(), Budgets())
            is_group = route.kind in ("create", "delete")
            now = self._world.clock.now()
            headers |= budget.count(request.method, is_group=is_group, now=now, limits=self._world.limits)
            region = self._arm.region_of(values) if route.ours else ""
            response = await self._answer(route, values, request, effect)
            region = region or (self._arm.region_of(values) if route.ours else "")  # it may have been made just now
        except ServiceError as error:
            response = error_response(error)
            region = "" if error.by_arm or not route.ours else self._arm.region_of(values)
        headers |= _tracing_headers(region, tracking, request)
        return replace(response, headers={**headers, **response.headers})

    async def _answer(self, route: Route, values: Mapping[str, str], request: Request, effect: Effect | None) -> Response:
        answer = getattr(self._arm, route.answer)
        if effect is None:
            response: Response = await answer(request, values)
            return response
        if effect.delay_s:
            await asyncio.sleep(effect.delay_s)
        if effect.status is not None:
            raise ServiceError(effect.status, effect.code, effect.message, retry_after=effect.retry_after)
        if effect.drop == "before":
            return Response(200, drop=True)
        try:
            response = await answer(request, values)
        except ServiceError:
            if effect.drop == "after":  # a refusal is lost like any other answer
                return Response(200, drop=True)
            raise
        if effect.null_content and route.kind == "logs":
            response = replace(response, body={"content": None})
        return replace(response, drop=effect.drop == "after")

    def _check_token(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        known = self._token
        right = bool(token.strip()) if known is None else secrets.compare_digest(token.strip().encode(), known.encode())
        if scheme.lower() != "bearer" or not right:
            raise ServiceError(
                401,
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing or does not hold this server's token.",
            )


def check_caller(headers: Mapping[str, str]) -> None:
    """Refuse a Host that is not this machine (DNS rebinding), and whatever a web page sends.

    An Origin that is this server itself is no web page (it serves none) but a websocket library, az's among them.
    """
    if not is_loopback(headers.get("host", "")):
        raise ServiceError(403, "HostNotAllowed", "This server answers on loopback only.")
    if headers.get("origin") not in (None, f"http://{headers['host']}"):
        raise ServiceError(403, "OriginNotAllowed", "This server does not answer web pages.")


def check_size(request: Request) -> None:
    """Refuse a body that ARM would refuse."""
    if request.body_bytes > MAX_BODY_BYTES:
        raise ServiceError(
            413,
            "RequestContentTooLarge",
            f"The request content size exceeds the maximum size of {MAX_BODY_BYTES} bytes.",
        )


def is_loopback(host: str) -> bool:
    """Whether a Host header names this machine: localhost, 127.0.0.0/8 or [::1], with or without a port."""
    match = HOST.fullmatch(host)
    if match is None:
        return False
    name = match["six"] or match["name"]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _check_api_version(request: Request, route: Route) -> None:
    version = request.query.get("api-version", "")
    if not version:
        raise ServiceError(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    if not API_VERSION.fullmatch(version):
        raise ServiceError(400, "InvalidApiVersionParameter", f"The api-version '{version[:40]}' is invalid.")
    if route.ours and version not in PROVIDER_VERSIONS:
        raise ServiceError(
            400,
            "NoRegisteredProviderFound",
            f"No registered resource provider found for API version '{version}'. The supported api-versions are "
            f"'{', '.join(sorted(PROVIDER_VERSIONS))}'.",
        )


def _tracing_headers(region: str, tracking: str, request: Request) -> dict[str, str]:
    """`<region>:<guid>` where the provider answers for a region, a bare guid where ARM does (A27)."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "x-ms-request-id": f"{region}:{tracking}" if region else tracking,
        "x-ms-correlation-request-id": tracking,
        "x-ms-routing-request-id": f"LOCAL:{stamp}:{tracking}",
    }
    if client_id := request.headers.get("x-ms-client-request-id"):
        headers["x-ms-client-request-id"] = re.sub(r"[^\w.\-]", "", client_id)[:64]
    return headers
