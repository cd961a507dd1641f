"""Container groups of one resource group, through the SDK."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from azure.core.exceptions import AzureError, ClientAuthenticationError, ServiceRequestError
from azure.mgmt.containerinstance import ContainerInstanceManagementClient

from ..errors import AciError, ServiceError, Transient
from ..payload import GroupPlan
from ..snapshot import GroupSnapshot
from .attachment import Attachment
from .client import Endpoint, RateHeaders, SentSignal, make_client
from .models import group_model, group_snapshot
from .translation import NoLogYet, NotFound, transient, translate, words

AZURE_URL = "https://management.azure.com"
BLOCKED_FOR_S = 600.0


class AciBackend:
    """Container groups of one resource group, through the SDK. Thread-safe; satisfies `stage.Backend`.

    `endpoint` is asked once, and again after nobody answered: the local ACI may have been started anew on another port.
    """

    def __init__(self, endpoint: Callable[[], Endpoint]) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._current: tuple[Endpoint, ContainerInstanceManagementClient] | None = None
        self._rates = RateHeaders()
        self._sent = SentSignal()
        self._attach_again_at = 0.0
        self._closed = False
        self._forgotten: list[ContainerInstanceManagementClient] = []

    # -- stage.Backend ----------------------------------------------------------------------------------------

    def create(self, plan: GroupPlan) -> GroupSnapshot:
        with self.asking(plan.name, plan.image) as (place, client):
            poller = client.container_groups.begin_create_or_update(place.resource_group, plan.name, group_model(plan), polling=False)
            return group_snapshot(poller.result())

    def get(self, name: str) -> GroupSnapshot | None:
        try:
            with self.asking(name) as (place, client):
                found = client.container_groups.get(place.resource_group, name)
        except NotFound:
            return None
        if found is None:
            raise Transient("the service answered without a body")
        return group_snapshot(found)

    def logs(self, name: str, container: str, tail: int | None) -> str | None:
        try:
            with self.asking(name) as (place, client):
                answer = client.containers.list_logs(place.resource_group, name, container, tail=tail, timestamps=True)
        except (NotFound, NoLogYet):
            return None
        return None if answer is None else answer.content

    def attach(self, name: str, container: str) -> Attachment | None:
        """The websocket; None where it cannot be had. A port that was blocked (T26) is not knocked at again for a while."""
        if time.monotonic() < self._attach_again_at:
            return None
        try:
            with self.asking(name) as (place, client):
                answer = client.containers.attach(place.resource_group, name, container)
        except (AciError, NotFound, NoLogYet):
            return None  # an extra, never a need: the log call has everything (T26)
        if answer is None or not answer.web_socket_uri:
            return None
        attached = Attachment.open(answer.web_socket_uri, answer.password or "", loopback=place.loopback)
        if attached is None:
            self._attach_again_at = time.monotonic() + BLOCKED_FOR_S
        return attached

    def delete(self, name: str, on_sent: Callable[[], None] | None = None) -> None:
        try:
            with self.asking(name) as (place, client), self._sent.to(on_sent):
                client.container_groups.begin_delete(place.resource_group, name, polling=False)
        except NotFound:
            return

    def remaining_reads(self) -> int | None:
        return self._rates.reads

    # -- verbs ----------------------------------------------------------------------------------------------------

    def list_groups(self) -> list[GroupSnapshot]:
        """Groups of the resource group; lists say no instance view (`aci-facts` §3.3), so states are None."""
        try:
            with self.asking("") as (place, client):
                return [group_snapshot(item) for item in client.container_groups.list_by_resource_group(place.resource_group)]
        except NotFound:
            return []

    def stop(self, name: str) -> None:
        with self._ordering(name) as (place, client):
            client.container_groups.stop(place.resource_group, name)

    def start(self, name: str) -> None:
        with self._ordering(name) as (place, client):
            client.container_groups.begin_start(place.resource_group, name, polling=False)

    def restart(self, name: str) -> None:
        with self._ordering(name) as (place, client):
            client.container_groups.begin_restart(place.resource_group, name, polling=False)

    @contextmanager
    def _ordering(self, name: str) -> Iterator[tuple[Endpoint, ContainerInstanceManagementClient]]:
        try:
            with self.asking(name) as current:
                yield current
        except NotFound:
            raise ServiceError(f"there is no container group {name}", hint="%aci ps -a shows those that exist", group_name=name) from None
        except NoLogYet as error:  # the same codes say that a group does not run
            raise ServiceError(str(error), hint=f"%aci start {name} starts it", group_name=name) from None

    def close(self) -> None:
        """Closes the connections. Whoever still asks afterwards (a deletion being verified) gets one for that request alone."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        with self._lock:
            clients = [*self._forgotten, *([self._current[1]] if self._current else [])]
            self._current, self._forgotten = None, []
        for client in clients:
            client.close()

    # -- inside ---------------------------------------------------------------------------------------------------

    @contextmanager
    def asking(self, name: str, image: str = "") -> Iterator[tuple[Endpoint, ContainerInstanceManagementClient]]:
        current = self._client()
        try:
            yield current
        except ServiceRequestError as error:
            self._forget(current)
            raise transient(f"no answer from {current[0].base_url}: {words(error)}", unreachable=True) from error
        except AzureError as error:
            if isinstance(error, ClientAuthenticationError):
                self._forget(current)  # the local ACI may have been started anew with another token
            raise translate(error, name, image, current[0]) from error
        finally:
            if self._closed:
                self._drop()

    def _client(self) -> tuple[Endpoint, ContainerInstanceManagementClient]:
        with self._lock:
            if self._current is None:
                place = self._endpoint()
                self._current = (place, make_client(place, self._rates, self._sent))
            return self._current

    def _forget(self, current: tuple[Endpoint, ContainerInstanceManagementClient]) -> None:
        with self._lock:
            if self._current is current:
                self._current = None
                self._forgotten.append(current[1])  # another thread may be in the middle of a request: closed in `close`
