"""The one room with the Azure SDK: plans become its models, its models become snapshots, its exceptions become ours.

SDK models print secrets in `str()` and `as_dict()`, so none leaves this file. The same client speaks to management.azure.com and to
the local ACI; an `Endpoint` says where, with which credential, and whether it is loopback (then plain http is allowed and proxies
are off). What the SDK does by itself and we do not want (`aci-facts` §10): its retries sleep through a Retry-After for minutes (T13),
its pollers wait 30 s (T9), its provider registration loops without limit (T25). So the pipeline is built here, without them; the
engine rides out what is transient, seen by the person and open to her interrupt.

Errors are translated at one edge, `_translate`, by a table of codes first, then of status (T12: 409 alone means four things).
"""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import requests
import websocket
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ServiceRequestError
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
from azure.mgmt.containerinstance import models as sdk
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from .errors import (
    AciError,
    AuthError,
    CapacityError,
    ImagePullError,
    NameTaken,
    QuotaError,
    ServiceError,
    SettingsError,
    Transient,
)
from .payload import PAYLOAD_MOUNT, STATE_MOUNT, GroupPlan
from .snapshot import ContainerSnapshot, GroupSnapshot, PlatformEvent

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 65
ATTACH_TIMEOUT_S = 4
AZURE_URL = "https://management.azure.com"
PAYLOAD_VOLUME, STATE_VOLUME = "aci-payload", "aci-state"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where container groups live, and how to be let in. `token` is the local ACI's; the real one has a `credential`."""

    base_url: str
    subscription_id: str
    resource_group: str
    target: Literal["azure", "local"]
    credential: TokenCredential | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)

    @property
    def loopback(self) -> bool:
        return self.target == "local"


class AciBackend:
    """Container groups of one resource group, through the SDK. Thread-safe; satisfies `lifecycle.Backend`.

    `endpoint` is asked once, and again after nobody answered: the local ACI may have been started anew on another port.
    """

    def __init__(self, endpoint: Callable[[], Endpoint]) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._current: tuple[Endpoint, ContainerInstanceManagementClient] | None = None
        self._rates = _RateHeaders()
        self._sent = _SentSignal()

    # -- lifecycle.Backend ----------------------------------------------------------------------------------------

    def create(self, plan: GroupPlan) -> GroupSnapshot:
        with self._asking(plan.name, plan.image) as (place, client):
            poller = client.container_groups.begin_create_or_update(place.resource_group, plan.name, group_model(plan), polling=False)
            return group_snapshot(poller.result())

    def get(self, name: str) -> GroupSnapshot | None:
        try:
            with self._asking(name) as (place, client):
                found = client.container_groups.get(place.resource_group, name)
        except _NotFound:
            return None
        if found is None:
            raise Transient("the service answered without a body")
        return group_snapshot(found)

    def logs(self, name: str, container: str, tail: int | None) -> str | None:
        try:
            with self._asking(name) as (place, client):
                answer = client.containers.list_logs(place.resource_group, name, container, tail=tail, timestamps=True)
        except (_NotFound, _NoLogYet):
            return None
        return None if answer is None else answer.content

    def attach(self, name: str, container: str) -> _Attachment | None:
        try:
            with self._asking(name) as (place, client):
                answer = client.containers.attach(place.resource_group, name, container)
        except (AciError, _NotFound, _NoLogYet):
            return None  # an extra, never a need: the log call has everything (T26)
        if answer is None or not answer.web_socket_uri:
            return None
        return _Attachment.open(answer.web_socket_uri, answer.password or "", loopback=place.loopback)

    def delete(self, name: str, on_sent: Callable[[], None] | None = None) -> None:
        try:
            with self._asking(name) as (place, client), self._sent.to(on_sent):
                client.container_groups.begin_delete(place.resource_group, name, polling=False)
        except _NotFound:
            return

    def remaining_reads(self) -> int | None:
        return self._rates.reads

    # -- verbs ----------------------------------------------------------------------------------------------------

    def list_groups(self) -> list[GroupSnapshot]:
        """Groups of the resource group; lists say no instance view (`aci-facts` §3.3), so states are None."""
        try:
            with self._asking("") as (place, client):
                return [group_snapshot(item) for item in client.container_groups.list_by_resource_group(place.resource_group)]
        except _NotFound:
            return []

    def stop(self, name: str) -> None:
        with self._asking(name) as (place, client):
            client.container_groups.stop(place.resource_group, name)

    def start(self, name: str) -> None:
        with self._asking(name) as (place, client):
            client.container_groups.begin_start(place.resource_group, name, polling=False)

    def restart(self, name: str) -> None:
        with self._asking(name) as (place, client):
            client.container_groups.begin_restart(place.resource_group, name, polling=False)

    def close(self) -> None:
        with self._lock:
            current, self._current = self._current, None
        if current is not None:
            current[1].close()

    # -- inside ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _asking(self, name: str, image: str = "") -> Iterator[tuple[Endpoint, ContainerInstanceManagementClient]]:
        current = self._client()
        try:
            yield current
        except ServiceRequestError as error:
            self._forget(current)
            raise _transient(f"no answer from {current[0].base_url}: {_words(error)}", unreachable=True) from error
        except AzureError as error:
            raise _translate(error, name, image, current[0]) from error

    def _client(self) -> tuple[Endpoint, ContainerInstanceManagementClient]:
        with self._lock:
            if self._current is None:
                place = self._endpoint()
                self._current = (place, _make_client(place, self._rates, self._sent))
            return self._current

    def _forget(self, current: tuple[Endpoint, ContainerInstanceManagementClient]) -> None:
        with self._lock:
            if self._current is current:
                self._current = None


# -- the client -------------------------------------------------------------------------------------------------------


def _make_client(place: Endpoint, rates: _RateHeaders, sent: _SentSignal) -> ContainerInstanceManagementClient:
    credential: Any = place.credential or _StaticToken(place.token)
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


class _RateHeaders(SansIOHTTPPolicy[Any, Any]):
    """Remembers the service's own count of the reads that are left (`aci-facts` §1)."""

    reads: int | None = None

    def on_response(self, request: PipelineRequest[Any], response: PipelineResponse[Any, Any]) -> None:
        text = response.http_response.headers.get("x-ms-ratelimit-remaining-subscription-reads")
        self.reads = int(text) if text and text.isdigit() else None


class _SentSignal:
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


class _Attachment:
    """An attach websocket: text as the container writes it (`aci-facts` §6)."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket = socket

    @classmethod
    def open(cls, uri: str, password: str, *, loopback: bool) -> _Attachment | None:
        """Connected, or None where port 19390 is blocked (T26)."""
        try:
            socket = websocket.create_connection(
                uri,
                timeout=ATTACH_TIMEOUT_S,
                header=[f"Authorization: {password}"],
                suppress_origin=True,
                http_no_proxy=["*"] if loopback else None,
            )
        except (OSError, websocket.WebSocketException):
            return None
        return cls(socket)

    def receive(self, timeout_s: float) -> str | None:
        self._socket.settimeout(max(timeout_s, 0.001))
        try:
            data = self._socket.recv()
        except websocket.WebSocketTimeoutException:
            return ""
        except (OSError, websocket.WebSocketException):
            return None
        if not data and not self._socket.connected:
            return None
        return data if isinstance(data, str) else data.decode("utf-8", "replace")

    def close(self) -> None:
        self._socket.close(timeout=0)


# -- spec -> model ----------------------------------------------------------------------------------------------------


def group_model(plan: GroupPlan) -> sdk.ContainerGroup:
    """The SDK's model of a plan."""
    env = [sdk.EnvironmentVariable(name=name, value=value) for name, value in plan.env.items()]
    env += [sdk.EnvironmentVariable(name=name, secure_value=value) for name, value in plan.secure_env.items()]
    volumes, mounts = [], []
    if plan.files:
        secret = {name: b64encode(content).decode("ascii") for name, content in plan.files.items()}
        volumes = [sdk.Volume(name=PAYLOAD_VOLUME, secret=secret), sdk.Volume(name=STATE_VOLUME, empty_dir={})]
        mounts = [
            sdk.VolumeMount(name=PAYLOAD_VOLUME, mount_path=PAYLOAD_MOUNT, read_only=True),
            sdk.VolumeMount(name=STATE_VOLUME, mount_path=STATE_MOUNT),
        ]
    container = sdk.Container(
        name=plan.container_name,
        image=plan.image,
        command=list(plan.command) or None,
        resources=sdk.ResourceRequirements(requests=sdk.ResourceRequests(cpu=plan.cpu, memory_in_gb=plan.memory_gb)),
        environment_variables=env or None,
        volume_mounts=mounts or None,
    )
    return sdk.ContainerGroup(
        location=plan.location,
        tags=dict(plan.tags),
        containers=[container],
        os_type="Linux",
        restart_policy=plan.restart_policy,
        volumes=volumes or None,
        priority="Spot" if plan.spot else None,
    )


# -- model -> snapshot ------------------------------------------------------------------------------------------------


def group_snapshot(group: sdk.ContainerGroup) -> GroupSnapshot:
    """What one answer said; every missing part stays None (T1, T2)."""
    view = group.instance_view
    address = group.ip_address
    return GroupSnapshot(
        name=group.name or "",
        location=group.location or "",
        provisioning_state=group.provisioning_state,
        group_state=view.state if view else None,
        containers=tuple(_container_snapshot(item) for item in group.containers or ()),
        events=_events(view.events if view else None),
        tags=dict(group.tags or {}),
        ip=address.ip if address else None,
        fqdn=address.fqdn if address else None,
        restart_policy=group.restart_policy,
    )


def _container_snapshot(item: sdk.Container) -> ContainerSnapshot:
    view = item.instance_view
    now = view.current_state if view else None
    before = view.previous_state if view else None
    requests_ = item.resources.requests if item.resources else None
    return ContainerSnapshot(
        name=item.name,
        image=item.image,
        state=now.state if now else None,
        detail_status=now.detail_status if now else None,
        exit_code=now.exit_code if now else None,
        started_at=now.start_time if now else None,
        finished_at=now.finish_time if now else None,
        restart_count=(view.restart_count or 0) if view else 0,
        previous_state=before.state if before else None,
        previous_exit_code=before.exit_code if before else None,
        previous_detail_status=before.detail_status if before else None,
        events=_events(view.events if view else None),
        cpu=requests_.cpu if requests_ else None,
        memory_gb=requests_.memory_in_gb if requests_ else None,
    )


def _events(events: list[sdk.Event] | None) -> tuple[PlatformEvent, ...]:
    return tuple(
        PlatformEvent(
            name=item.name or "",
            message=item.message or "",
            type=item.type or "Normal",
            count=item.count or 1,
            first_at=item.first_timestamp,
            last_at=item.last_timestamp,
        )
        for item in events or ()
    )


# -- SDK exception -> ours --------------------------------------------------------------------------------------------


class _NotFound(Exception):
    """404 of the group; stays in this room."""


class _NoLogYet(Exception):
    """The container has no log at this moment; stays in this room."""


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


def _translate(error: AzureError, name: str, image: str, place: Endpoint) -> Exception:
    if isinstance(error, ClientAuthenticationError):
        return _auth_error(error, place)
    if not isinstance(error, HttpResponseError):
        return _transient(f"the answer of {place.base_url} was cut off: {_words(error)}")
    status = error.status_code
    body = error.error
    code = (body.code if body is not None else None) or ""
    message = (body.message if body is not None else None) or error.message or type(error).__name__
    data: dict[str, Any] = {"status": status, "code": code or None, "group_name": name or None}
    if code in _LOG_NOT_READY:
        return _NoLogYet(message)
    if status == 404 and code not in {"ResourceGroupNotFound", "SubscriptionNotFound"}:
        return _NotFound(message)
    if code == "ResourceGroupNotFound":
        hint = f"az group create --name {place.resource_group} --location REGION"
        return SettingsError(message, hint=f"make it first: {hint}", **data)
    if code in _QUOTA_CODES or "quota" in message.lower():
        hint = "wait for other runs, use fewer --cpu or another --location; %aci ps -a shows what runs; a higher quota is a support request"
        return QuotaError(message, hint=hint, **data)
    if code in _TRANSIENT_CODES:
        return _transient(message, **data)
    if code == "ServiceUnavailable" and status == 409:
        return CapacityError(message, hint="try another --location, or a smaller --cpu and --memory, or later", **data)
    if code in _IMAGE_CODES:
        return ImagePullError(f"{image or 'the image'}: {message}", hint=_IMAGE_HINTS.get(code, "choose another --image"), **data)
    if status in _TRANSIENT_STATUS:
        answer: Any = error.response
        headers = answer.headers if answer is not None else {}
        return _transient(message, retry_after_s=_seconds(headers.get("Retry-After")), **data)
    if status == 403:
        return AuthError(message, hint="the account needs the role Contributor on the resource group", **data)
    if code == "InvalidResourceLocation":
        return NameTaken(message, hint=_CODE_HINTS[code], **data)
    return ServiceError(f"{message} ({code or status})", hint=_CODE_HINTS.get(code, ""), **data)


def _auth_error(error: ClientAuthenticationError, place: Endpoint) -> AuthError:
    words = _words(error)
    if place.loopback:
        return AuthError(
            f"the local ACI refused its token: {words}", hint="%aci local stop, then run the cell again", status=error.status_code
        )
    hint = "log in with: az login — or give a service principal in a profile (%aci profile save); %aci doctor looks closer"
    return AuthError(f"Azure gave no access: {words}", hint=hint, status=error.status_code)


def _transient(message: str, *, retry_after_s: float | None = None, unreachable: bool = False, **data: Any) -> Transient:
    error = Transient(message, hint="the service did not answer well; nothing is concluded from it", **data)
    error.retry_after_s = retry_after_s
    error.unreachable = unreachable
    return error


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _words(error: BaseException) -> str:
    """The first line of an SDK message; the rest is often a dump of the whole answer."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
