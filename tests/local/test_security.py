"""Who may ask, what is readable, and what hostile input does (A32; design §7)."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from aci_notebook.local.app import is_loopback
from aci_notebook.local.runtimes.process import for_pip

from .conftest import Server, body, container, secret, shell


def test_a32_every_call_but_health_wants_the_token(simulated: Server) -> None:
    health = simulated.raw("GET", "/_aci/health", headers={})
    assert health.status == 200
    assert set(health.json) == {"version", "digest", "state_dir", "runtime", "groups_alive", "pid"}
    path = f"{simulated.group('x')}?api-version=2023-05-01"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": simulated.token}, {"Authorization": "Bearer "}):
        for method, target in (("GET", path), ("PUT", path), ("GET", "/_aci/stats"), ("POST", "/_aci/faults")):
            answer = simulated.raw(method, target, headers=headers)
            assert (answer.status, answer.code) == (401, "AuthenticationFailed")
            assert simulated.token not in answer.text


def test_a32_any_token_still_wants_one(serve: Any) -> None:
    server: Server = serve("--runtime", "simulated", "--any-token")
    path = f"{server.group('x')}?api-version=2023-05-01"
    assert server.raw("GET", path, headers={"Authorization": "Bearer whatever"}).status == 404
    assert server.raw("GET", path, headers={"Authorization": "Bearer"}).status == 401
    assert server.raw("GET", path, headers={}).status == 401


def test_hosts_that_are_not_this_machine_and_web_pages_are_refused(simulated: Server) -> None:
    authorized = {"Authorization": f"Bearer {simulated.token}"}
    for extra in ({"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}, {"Origin": "http://localhost:8888"}):
        for path in ("/_aci/health", "/subscriptions"):
            assert simulated.raw("GET", path, headers={**authorized, **extra}).status == 403
    for host in ("localhost:1", "127.0.0.1", "[::1]:80"):
        assert simulated.raw("GET", "/_aci/health", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("LOCALHOST:80", True), ("127.8.9.1:5", True), ("[::1]", True), ("::1", False), ("", False),
     ("127.0.0.1.nip.io", False), ("0.0.0.0", False), ("[::ffff:8.8.8.8]", False), ("2130706433", False)],
)  # fmt: skip
def test_what_counts_as_this_machine(host: str, local: bool) -> None:
    assert is_loopback(host) is local


def test_the_server_listens_on_loopback_only(simulated: Server) -> None:
    lines = Path("/proc/net/tcp").read_text().splitlines() + Path("/proc/net/tcp6").read_text().splitlines()
    listening = [line.split()[1] for line in lines[1:] if f":{simulated.port:04X} " in line and " 0A " in line]
    assert listening == [f"0100007F:{simulated.port:04X}"]


def test_files_are_readable_by_their_owner_alone(process: Server, name: str) -> None:
    group = shell("echo x; sleep 60", volumeMounts=[{"name": "inputs", "mountPath": "/in"}])
    group["properties"]["volumes"] = [{"name": "inputs", "secret": secret(key="TOP SECRET")}]
    process.put(name, group)
    process.until_state(name, "Running")
    checked = 0
    assert stat.S_IMODE(process.state_dir.stat().st_mode) == 0o700
    for folder in ("groups", *(str(path) for path in process.state_dir.glob("groups/*"))):
        assert stat.S_IMODE((process.state_dir / folder).stat().st_mode) == 0o700
    for pattern in ("token", "server.json", "lock", "groups/*/group.json", "groups/*/volumes/*/key", "groups/*/attempts/*/*"):
        for path in process.state_dir.glob(pattern):
            if path.is_file():
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
                checked += 1
    assert checked >= 8
    assert process.call("DELETE", process.group(name)).status == 200
    assert list(process.state_dir.glob("groups/*/volumes/*/key")) == []


def test_nothing_of_a_group_is_left_after_its_deletion(process: Server, name: str) -> None:
    process.put(name, shell("mkdir -p deep/er; chmod 0 deep/er; chmod 500 deep; sleep 60"))
    process.until_state(name, "Running")
    (folder,) = process.state_dir.glob("groups/*")
    assert process.call("DELETE", process.group(name)).status == 200
    assert not folder.exists()


def send(server: Server, data: bytes, *, close: bool = False) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(data)
        if close:
            return b""
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def request_head(server: Server, *lines: str, method: str = "PUT") -> bytes:
    path = f"{server.group('big')}?api-version=2023-05-01"
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {server.token}", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def test_bodies_over_4_mb_are_refused(simulated: Server) -> None:
    answer = send(simulated, request_head(simulated, "Content-Length: 4194305", "Connection: close") + b"x" * 4194305)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "RequestContentTooLarge"
    block = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    chunked = request_head(simulated, "Transfer-Encoding: chunked", "Connection: close") + block * 65 + b"0\r\n\r\n"
    assert send(simulated, chunked).startswith(b"HTTP/1.1 413 ")
    assert simulated.raw("GET", "/_aci/health").status == 200


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b"\xff\xfe", b"[" * 100_000, b'{"location": NaN}', b'{"a":1e999}', b"null", b'"text"', b'{"properties":7}'],
    ids=lambda content: content[:8].decode("latin-1") or "empty",
)
def test_malformed_json_is_a_400(simulated: Server, name: str, content: bytes) -> None:
    path = f"{simulated.group(name)}?api-version=2023-05-01"
    answer = simulated.raw("PUT", path, content)
    assert answer.status == 400
    assert answer.code in ("InvalidRequestContent", "LocationRequired")


def test_slow_and_half_open_connections_keep_nobody_waiting(simulated: Server) -> None:
    lingering = []
    for data in (b"", b"GET /_aci/he", request_head(simulated, "Content-Length: 1000") + b'{"loca'):
        connection = socket.create_connection(("127.0.0.1", simulated.port))
        connection.sendall(data)
        lingering.append(connection)
    send(simulated, request_head(simulated, "Content-Length: 1000") + b'{"loca', close=True)
    assert simulated.raw("GET", "/_aci/health").status == 200
    for connection in lingering:
        connection.close()
    assert send(simulated, b"\x16\x03\x01 nonsense\r\n\r\n") is not None
    assert simulated.raw("GET", "/_aci/health").status == 200


def test_names_from_the_wire_never_reach_a_path(process: Server, tmp_path: Path) -> None:
    before = sorted(path.name for path in process.state_dir.iterdir())
    for wrong in ("..%2f..%2fescaped", "%2e%2e", "a%00b", "a%2fb"):
        assert process.call("PUT", process.group(wrong), body()).status in (400, 404)
    assert process.call("PUT", process.group("ok", resource_group="..%2f..%2fx"), body()).code == "ResourceGroupNotFound"
    assert sorted(path.name for path in process.state_dir.iterdir()) == before


def test_a_command_sees_only_what_its_group_gave_it(serve: Any, name: str) -> None:
    hidden = {"MY_CLOUD_KEY": "HIDDEN", "PIP_INDEX_URL": "https://me:HIDDEN@index.example", "PYTHONPATH": "/HIDDEN"}
    server: Server = serve("--runtime", "process", environment={**hidden, "PIP_RETRIES": "1"})
    variables = [{"name": "PLAIN", "value": "1"}, {"name": "SECURE", "secureValue": "two"}]
    server.put(name, shell("env; pwd; ls -A", environmentVariables=variables))
    server.until_state(name, "Succeeded")
    text = server.logs(name)
    names = {line.partition("=")[0] for line in text.splitlines() if "=" in line}
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH", "HOME", "TMPDIR", "LANG", "PLAIN", "SECURE"}
    assert "SECURE=two" in text
    assert "HIDDEN" not in text
    assert text.splitlines()[-1].endswith("/work")


def test_what_pip_gets_holds_no_credentials() -> None:
    given = {
        "PIP_INDEX_URL": "https://user:secret@index.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://a.example https://token@b.example",
        "PIP_TIMEOUT": "3",
        "https_proxy": "http://u:p@proxy:3128",
        "HTTP_PROXY": "http://proxy:3128",
        "NO_PROXY": "localhost",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "AZURE_CLIENT_SECRET": "x",
        "MY_PIP_X": "y",
    }
    assert set(for_pip(given)) == {"PIP_TIMEOUT", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE"}


def test_secrets_are_on_no_command_line(process: Server, name: str) -> None:
    process.put(name, shell("sleep 60", environmentVariables=[{"name": "KEY", "secureValue": "s3cr3t-on-wire"}]))
    process.until_state(name, "Running")
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert b"s3cr3t-on-wire" not in path.read_bytes()
        except OSError:
            continue


def test_a_container_without_properties_is_refused(simulated: Server, name: str) -> None:
    assert simulated.put(name, body({"name": "main"})).status == 400
    assert simulated.put(name, body(container(), container("x", image=""))).status == 400
