"""The SDK's client, built without what it does by itself and we do not want (`aci-facts` §10).

Its retries sleep through a Retry-After for minutes (T13), its provider registration loops without limit (T25), its logging would write
signed operation URLs (T22). The engine rides out what is transient, seen by the person and open to her interrupt. For the local ACI
plain http is allowed (the SDK's own policy refuses it) and proxies are off.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import requests
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import (
    ContentDecodePolicy,
    HeadersPolicy,
    ProxyPolicy,
    RequestIdPolicy,
    SansIOHTTPPolicy,
    UserAgentPolicy,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.mgmt.containerinstance import ContainerInstanceManagementClient
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 65


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where container groups live, and how to be let in. `token` is the local ACI's; the real one has a `credential`."""

    base_url: str
    subscription_id: str
    resource_group: str
    target: Literal["azure", "local"]
    location: str = ""
    credential: TokenCredential | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)

    @property
    def loopback(self) -> bool:
        return self.target == "local"


def make_client(place: Endpoint, rates: RateHeaders, sent: SentSignal) -> ContainerInstanceManagementClient:
    credential: Any = _Discreet(place.credential) if place.credential else _StaticToken(place.token)
    auth: Any = (
        _LoopbackToken(place.token)
        if place.loopback
        else ARMChallengeAuthenticationPolicy(credential, "https://management.azure.com/.default")
    )
    session = requests.Session()
    session.mount("https://", sent.adapter())
    session.mount("http://", sent.adapter())
    session.trust_env = not place.loopback
    transport = RequestsTransport(
        session=session, use_env_settings=not place.loopback, connection_timeout=CONNECT_TIMEOUT_S, read_timeout=READ_TIMEOUT_S
    )
    policies = [
        RequestIdPolicy(),
        HeadersPolicy(),
        UserAgentPolicy("aci_notebook", sdk_moniker="mgmt-containerinstance/10"),
        ProxyPolicy(),
        ContentDecodePolicy(),
        rates,
        auth,
    ]
    return ContainerInstanceManagementClient(
        credential, place.subscription_id, base_url=place.base_url, policies=policies, transport=transport
    )


_asking = threading.local()


def _not_asking(record: logging.LogRecord) -> bool:
    """A filter of the SDK's loggers: true for what they say to others than our own requests."""
    return not getattr(_asking, "now", False)


class _Discreet:
    """A credential whose failure is told by its exception alone: the SDK logs each attempt too, a screenful, under whichever cell runs."""

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential
        for name in list(logging.root.manager.loggerDict):  # a copy: another thread may import what has loggers of its own
            if name.startswith("azure.identity"):
                logging.getLogger(name).addFilter(_not_asking)

    def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        _asking.now = True
        try:
            return self._credential.get_token(*scopes, **kwargs)
        finally:
            _asking.now = False


class _StaticToken:
    """The local ACI's token in the shape of a credential."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        return AccessToken(self._token, 1 << 40)


class _LoopbackToken(SansIOHTTPPolicy[Any, Any]):
    """Sends the local ACI's token; the SDK's own policy refuses plain http (`aci-facts` §10)."""

    def __init__(self, token: str) -> None:
        self._token = token

    def on_request(self, request: PipelineRequest[Any]) -> None:
        request.http_request.headers["Authorization"] = f"Bearer {self._token}"


class RateHeaders(SansIOHTTPPolicy[Any, Any]):
    """Remembers the service's own count of the reads that are left (`aci-facts` §1)."""

    reads: int | None = None

    def on_response(self, request: PipelineRequest[Any], response: PipelineResponse[Any, Any]) -> None:
        text = response.http_response.headers.get("x-ms-ratelimit-remaining-subscription-reads")
        self.reads = int(text) if text and text.isdigit() else None


class SentSignal:
    """Tells when a request is on the wire, before its answer: DELETE takes the service 4 s, and nobody should wait for that."""

    def __init__(self) -> None:
        self._waiting = threading.local()

    @contextmanager
    def to(self, on_sent: Callable[[], None] | None) -> Iterator[None]:
        self._waiting.call = on_sent
        try:
            yield
        finally:
            self._waiting.call = None

    def fire(self) -> None:
        call = getattr(self._waiting, "call", None)
        self._waiting.call = None
        if call is not None:
            call()

    def adapter(self) -> HTTPAdapter:
        signal = self

        class Plain(HTTPConnection):
            def getresponse(self) -> Any:
                signal.fire()
                return super().getresponse()

        class Secure(HTTPSConnection):
            def getresponse(self) -> Any:
                signal.fire()
                return super().getresponse()

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        adapter = HTTPAdapter(pool_maxsize=32)
        adapter.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
        return adapter
