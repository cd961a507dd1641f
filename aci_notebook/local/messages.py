"""A request and a response, free of any web framework."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import ServiceError, invalid

MAX_BODY_BYTES = 4 * 1024 * 1024  # ARM's


@dataclass(frozen=True)
class Request:
    """`path` is still percent-encoded; header names are lower case; `origin` is the URL it came to (scheme, host).

    `body_bytes` is how much was sent; of a body that is too large nothing is kept.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    body_bytes: int
    origin: str

    def json(self) -> Any:
        """The body; raises a 400 if it is no JSON."""
        try:
            return json.loads(self.body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise ServiceError(
                400,
                "InvalidRequestContent",
                "The request content was invalid and could not be deserialized: it is not valid JSON.",
            ) from None

    def json_object(self) -> dict[str, Any]:
        """The body, which must be an object."""
        content = self.json()
        if not isinstance(content, dict):
            raise invalid("bad value", "The request content was invalid: the body must be an object.")
        return content


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


@dataclass(frozen=True)
class Response:
    """`body` None means no body at all."""

    status: int
    body: Any = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False  # close the connection instead of answering

    def encoded(self) -> bytes:
        return b"" if self.body is None else json.dumps(self.body, ensure_ascii=False).encode("utf-8", "replace")


def error_response(error: ServiceError) -> Response:
    """The envelope of an error (aci-facts §1)."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.by_arm:
        headers["x-ms-failure-cause"] = "gateway"
    return Response(error.status, {"error": {"code": error.code, "message": error.message}}, headers)
