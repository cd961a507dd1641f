"""What an attacker of a loopback server that runs commands would try, beyond `test_security`."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from aci_notebook.local.app import is_loopback

from .conftest import PROVIDER, Server, body, container


@pytest.mark.parametrize(
    "host",
    ["[::1].evil.example", "[[::1]", "[::1]x:80", "localhost:evil", "127.0.0.1:80@evil", "127.0.0.1:", "localhost:1234567", "[::1", "::1"],
)
def test_hosts_that_only_begin_like_this_machine(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("nasty", ["a\r\nSet-Cookie: x=1", "ł", "a b", "..", "a/b", "x" * 5000, "\0"])
def test_nasty_names_in_the_path_get_an_answer_and_reach_no_header(simulated: Server, name: str, nasty: str) -> None:
    encoded = quote(nasty, safe="")
    for path in (
        f"/subscriptions/{encoded}/resourceGroups/rg/{PROVIDER}/containerGroups/{name}",
        simulated.group(name, resource_group=encoded.replace("%C5%82", "%00")),  # a letter is a letter there
        simulated.group(encoded),
        simulated.location(encoded, "usages"),
        simulated.location(encoded, "capabilities"),
        simulated.location(encoded, "cachedImages"),
        simulated.location("westeurope", f"operations/{encoded}"),
        f"{simulated.group(name)}/containers/{encoded}/logs",
    ):
        method = "PUT" if "containerGroups" in path and not path.endswith("logs") else "GET"
        answer = simulated.call(method, path, body() if method == "PUT" else None)
        if answer.status == 201:
            pytest.fail(f"{path} was accepted")
        assert answer.status in (400, 404), (path, answer.status, answer.text)
        assert set(answer.json) == {"error"}
        assert "set-cookie" not in answer.headers


def test_numbers_that_json_does_not_have_never_come_back(simulated: Server, name: str) -> None:
    for place in ('"emptyDir": {"x": 1e999}', '"emptyDir": {"x": -1e999}'):
        wanted = body(volumes=[{"name": "empty", "emptyDir": {}}])
        content = json.dumps(wanted).replace('"emptyDir": {}', place).encode()
        answer = simulated.raw("PUT", f"{simulated.group(name)}?api-version=2023-05-01", content)
        assert (answer.status, answer.code) == (400, "InvalidRequestContent")


def test_texts_that_are_half_a_character_do_no_harm(simulated: Server, name: str) -> None:
    assert simulated.put(name, body(container(command=["\ud800"]), tags={"\udfff": "\ud800"})).status == 201
    assert simulated.get(name)["tags"] == {"?": "?"}


def test_an_endless_terminal_does_not_fill_the_memory(process: Server, name: str) -> None:
    """`yes` prints some GB/s; a client that does not read must slow it down, not grow the server."""
    assert process.put(name, body(container(command=["/bin/sleep", "60"]))).status == 201
    process.until_state(name, "Running")
    session = process.call("POST", f"{process.group(name)}/containers/main/exec", {"command": "yes"}).json
    path = session["webSocketUri"].partition(f":{process.port}")[2]
    with socket.create_connection(("127.0.0.1", process.port)) as client:
        client.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{process.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert client.recv(4096).startswith(b"HTTP/1.1 101")
        password = session["password"].encode()
        client.sendall(bytes([0x81, 0x80 | len(password), 0, 0, 0, 0]) + password)
        assert client.recv(1)
        before = _resident_kb(process.process.pid)
        for _ in range(50):  # other requests are served meanwhile
            assert process.call("GET", process.group(name)).status == 200
        assert _resident_kb(process.process.pid) - before < 20_000


def _resident_kb(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


def test_a_git_volume_cannot_be_cloned_outside_of_its_folder(process: Server, name: str, tmp_path: Path) -> None:
    for repository in (f"{tmp_path}/..", f"file://{tmp_path}/...git", f"{tmp_path}/.git"):
        wanted = body(volumes=[{"name": "source", "gitRepo": {"repository": repository}}])
        answer = process.put(name, wanted)
        assert (answer.status, answer.code) == (400, "InvalidVolume"), repository


def test_symbolic_links_of_a_job_are_not_followed_when_its_group_goes(process: Server, name: str, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.mkdir(mode=0o755)
    (treasure / "gold").write_text("x")
    script = f"ln -s {treasure} /data/link; mkdir -p /data/a/b/c; chmod 000 /data/a/b /data/a; rm -rf /data; ln -s {treasure} /data; true"
    mounts = [{"name": "scratch", "mountPath": "/data"}]
    wanted = body(container(command=["/bin/sh", "-c", script], volumeMounts=mounts), volumes=[{"name": "scratch", "emptyDir": {}}])
    assert process.put(name, wanted).status == 201
    process.until_state(name, "Succeeded")
    process.control("POST", f"groups/{name}/happen", {"event": "platform_restart", "lose_emptydir": True})
    assert process.call("DELETE", process.group(name)).status == 200
    assert (treasure / "gold").read_text() == "x"
    assert treasure.stat().st_mode & 0o777 == 0o755


def test_the_token_is_in_no_answer_and_no_announcement(process: Server, name: str) -> None:
    process.put(name, body())
    process.until_state(name, "Succeeded")
    for path in ("/_aci/health", "/_aci/stats", "/_aci/limits", "/_aci/faults", "/_aci/billing"):
        answer = process.raw("GET", path)
        assert process.token not in answer.text + str(answer.headers)
    assert process.token not in (process.state_dir / "server.json").read_text()
    for record in process.state_dir.rglob("group.json"):
        assert process.token not in record.read_text()


def test_malformed_requests_leave_the_token_out_of_the_log(tmp_path: Path, image_cache: Path) -> None:
    from .conftest import logged_server

    with logged_server(tmp_path, image_cache) as (server, log):
        for line in (f"Authorization: Bearer {server.token}\x01", f"Authorization : Bearer {server.token}", f"Bearer {server.token}"):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(f"GET / HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n".encode())
                client.recv(4096)
        server.raw("GET", f"/x?token={server.token}")
        text = log()
    assert server.token not in text


def test_a_request_about_one_group_waits_for_no_other(process: Server, name: str) -> None:
    big: Any = {"tags": {"k": "v" * (3 * 1024 * 1024)}}
    assert process.call("PATCH", process.group(name), big).status == 404
