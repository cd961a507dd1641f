"""Each error of the service becomes the class that says who must act, by table, through the real SDK over the socket."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from aci_notebook import errors as er
from aci_notebook.aci import AciBackend, Endpoint
from aci_notebook.aci.translation import NoResourceGroup
from aci_notebook.localserver import LocalServer
from aci_notebook.payload import GroupPlan
from aci_notebook.session import Session

TABLE = [
    (409, "ContainerGroupQuotaReached", er.QuotaError),
    (409, "ServiceUnavailable", er.CapacityError),
    (409, "ContainerGroupTransitioning", er.Transient),
    (409, "RegistryErrorResponse", er.Transient),
    (400, "InaccessibleImage", er.ImagePullError),
    (400, "ImageOsTypeNotMatchContainerGroup", er.ImagePullError),
    (403, "AuthorizationFailed", er.AuthError),
    (401, "InvalidAuthenticationToken", er.AuthError),
    (404, "ResourceGroupNotFound", er.ServiceError),
    (409, "InvalidResourceLocation", er.NameTaken),
    (409, "MissingSubscriptionRegistration", er.ServiceError),
    (400, "LocationNotAvailableForResourceType", er.ServiceError),
    (429, "TooManyRequests", er.Transient),
    (500, "InternalServerError", er.Transient),
    (502, "BadGateway", er.Transient),
    (503, "ServerTimeout", er.Transient),
    (504, "GatewayTimeout", er.Transient),
    (400, "SomethingNew", er.ServiceError),
]
PLAN = GroupPlan("t1", "t1", "python:slim", 1, 1.5, "westeurope", command=("/bin/sh", "-c", "sleep 60"))


def fault(server: LocalServer, on: str, times: int = 1, **do: object) -> None:
    server.ask("/_aci/faults", {"on": on, "times": times, "do": do})


@pytest.mark.parametrize(("status", "code", "cls"), TABLE)
def test_create(session: Session, server: LocalServer, status: int, code: str, cls: type[er.AciError]) -> None:
    fault(server, "create", status=status, code=code)
    with pytest.raises(er.AciError) as caught:
        session.backend().create(PLAN)
    assert type(caught.value) is cls or isinstance(caught.value, NoResourceGroup)
    assert caught.value.status == status or code == "InvalidAuthenticationToken"
    assert caught.value.hint


@pytest.mark.parametrize("after", ["1", "0", "soon"])
def test_retry_after_is_handed_on_and_not_slept_through(session: Session, server: LocalServer, after: str) -> None:
    if after == "soon":
        fault(server, "get", status=429, code="TooManyRequests")
    else:
        fault(server, "get", status=429, code="TooManyRequests", retry_after=300 * int(after))
    asked = server.ask("/_aci/stats")["requests"].get("get", 0)
    begun = time.monotonic()
    with pytest.raises(er.Transient) as caught:
        session.backend().get("t1")
    assert time.monotonic() - begun < 100  # and not the 300 s
    assert server.ask("/_aci/stats")["requests"]["get"] == asked + 1
    assert caught.value.retry_after_s == {"1": 300.0, "0": 0.0, "soon": None}[after]


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_dropped_connection_is_transient(session: Session, server: LocalServer, drop: str) -> None:
    backend = session.backend()
    fault(server, "create", drop=drop)
    try:
        with pytest.raises(er.Transient):
            backend.create(PLAN)
        found = backend.get("t1")
        assert (found is not None) == (drop == "after")
    finally:
        backend.delete("t1")


def test_a_missing_group(session: Session, server: LocalServer) -> None:
    backend = session.backend()
    assert backend.get("nobody") is None
    assert backend.logs("nobody", "nobody", 10) is None
    assert backend.attach("nobody", "nobody") is None
    backend.delete("nobody")


def test_a_resource_group_that_is_gone_is_an_absent_group_for_reads(session: Session, server: LocalServer) -> None:
    for kind in ("get", "logs", "delete"):
        fault(server, kind, status=404, code="ResourceGroupNotFound")
    backend = session.backend()
    assert backend.get("t1") is None
    assert backend.logs("t1", "t1", 10) is None
    backend.delete("t1")


@pytest.mark.parametrize("code", ["ContainerLogNotAvailable", "ContainerGroupDeploymentNotReady", "ContainerGroupStopped"])
def test_no_log_yet_is_no_error(session: Session, server: LocalServer, code: str) -> None:
    fault(server, "logs", status=409, code=code)
    assert session.backend().logs("t1", "t1", 10) is None


def test_null_content(session: Session, server: LocalServer) -> None:
    backend = session.backend()
    backend.create(PLAN)
    try:
        fault(server, "logs", null_content=True)
        assert backend.logs("t1", "t1", 10) is None
    finally:
        backend.delete("t1")


def test_the_delete_is_announced_when_it_is_on_the_wire_not_when_it_is_answered(session: Session, server: LocalServer) -> None:
    backend = session.backend()
    backend.create(PLAN)
    fault(server, "delete", delay_s=1.0)
    sent: list[float] = []
    begun = time.monotonic()
    backend.delete("t1", lambda: sent.append(time.monotonic()))
    answered = time.monotonic()
    assert len(sent) == 1
    assert answered - begun >= 1.0
    assert answered - sent[0] > 0.5, "told with the answer, a second after its bytes went"
    backend.get("t1")
    assert len(sent) == 1


def test_secrets_are_in_no_repr(session: Session, server: LocalServer, home: Path) -> None:
    plan = GroupPlan(
        "t2", "t2", "x", 1, 1, "l", secure_env={"KEY": "hunter2-secret"}, files={"f": b"hunter2-secret"}, env={"A": "hunter2-env"}
    )
    token = (home / "local" / "token").read_text().strip()
    place = Endpoint("http://127.0.0.1:1", "s", "g", "local", token=token)
    backend = AciBackend(lambda: place)
    for thing in (plan, place, backend, server, session):
        text = f"{thing!r} {thing!s}"
        assert "hunter2" not in text
        assert token not in text


def test_nobody_there_is_transient_and_says_where(home: Path) -> None:
    backend = AciBackend(lambda: Endpoint("http://127.0.0.1:9", "sub", "rg", "local", token="t"))
    with pytest.raises(er.Transient) as caught:
        backend.get("x")
    assert caught.value.unreachable
    assert "127.0.0.1:9" in caught.value.message


def test_a_credential_that_fails_is_told_by_its_error_alone(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import ChainedTokenCredential, EnvironmentCredential

    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    credential = ChainedTokenCredential(EnvironmentCredential())
    backend = AciBackend(lambda: Endpoint("https://127.0.0.1:9", "sub", "rg", "azure", credential=credential))
    with pytest.raises(er.AuthError, match="az login"):
        backend.get("x")
    assert caplog.text == ""
    with pytest.raises(ClientAuthenticationError):
        credential.get_token("https://management.azure.com/.default")
    assert "EnvironmentCredential" in caplog.text  # who asks for herself is told as before


def test_attach_goes_round_a_dead_proxy_and_says_what_is_printed(session: Session, server: LocalServer) -> None:
    from dataclasses import replace

    backend = session.backend()
    plan = replace(PLAN, name="t3", container_name="t3", command=("/bin/sh", "-c", "while sleep 0.05; do echo tick; done"))
    backend.create(plan)
    try:
        attached = None
        deadline = time.monotonic() + 20
        while attached is None and time.monotonic() < deadline:
            attached = backend.attach("t3", "t3")
        assert attached is not None
        text = ""
        while "tick\ntick" not in text:
            said = attached.receive(2.0)
            assert said is not None
            text += said
        attached.close()
    finally:
        backend.delete("t3")


def test_a_token_that_changed_is_read_again(session: Session, server: LocalServer, home: Path) -> None:
    token = (home / "local" / "token").read_text().strip()
    given = ["wrong", token]
    backend = AciBackend(lambda: Endpoint(server.url, session.place.subscription, "local", "local", token=given.pop(0)))
    with pytest.raises(er.AuthError):
        backend.get("x")
    assert backend.get("x") is None
