"""Exec and attach over websockets (A16; aci-facts §6)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import tornado.httpclient
import tornado.websocket

from .conftest import Server, body, shell


@asynccontextmanager
async def connect(url: str, **headers: str) -> AsyncIterator[tornado.websocket.WebSocketClientConnection]:
    socket = await tornado.websocket.websocket_connect(tornado.httpclient.HTTPRequest(url, headers=headers))
    try:
        yield socket
    finally:
        socket.close()
        while socket.protocol is not None:
            await asyncio.sleep(0.005)


async def refused(why: str, url: str, **headers: str) -> None:
    with pytest.raises(tornado.httpclient.HTTPClientError, match=why):
        async with connect(url, **headers):
            pass


async def read_until(socket: tornado.websocket.WebSocketClientConnection, text: str) -> str:
    seen = ""
    while text not in seen:
        message = await socket.read_message()
        assert message is not None, seen
        seen += str(message)
    return seen


def session(server: Server, name: str, kind: str, **order: Any) -> Any:
    answer = server.call("POST", f"{server.group(name)}/containers/main/{kind}", order or None)
    assert answer.status == 200, answer.text
    assert set(answer.json) == {"webSocketUri", "password"}
    return answer.json


def in_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def test_a16_exec_is_a_terminal_of_the_size_asked_for(process: Server, name: str) -> None:
    process.put(name, shell("echo up; sleep 60", environmentVariables=[{"name": "WHO", "value": "me"}]))
    process.until_state(name, "Running")
    shown = session(process, name, "exec", command="/bin/sh", terminalSize={"rows": 33, "cols": 101})
    host = process.url.replace("http", "ws")
    assert re.fullmatch(rf"{host}/execstream/sessionId/[0-9a-f-]{{36}}\?api-version=1\.0&rows=33&cols=101", shown["webSocketUri"])
    assert len(shown["password"]) == 32

    async def talk() -> None:
        async with connect(shown["webSocketUri"]) as socket:
            await socket.write_message(shown["password"])
            await socket.write_message("stty size; echo I am $WHO; tty\n")
            seen = await read_until(socket, "/dev/pts/")
            assert "33 101" in seen
            assert "I am me" in seen
            await socket.write_message("exit\n")
            while await socket.read_message() is not None:
                pass

    in_loop(talk)


def test_a16_exec_ends_with_its_container(process: Server, name: str) -> None:
    process.put(name, shell("sleep 60"))
    process.until_state(name, "Running")
    shown = session(process, name, "exec", command="sh")

    async def talk() -> None:
        async with connect(shown["webSocketUri"]) as socket:
            await socket.write_message(shown["password"])
            await socket.write_message("echo he''re\n")
            await read_until(socket, "here")
            process.control("POST", f"groups/{name}/happen", {"event": "platform_kill"})
            while await socket.read_message() is not None:
                pass
            assert socket.close_code is not None, "the other side closed it"

    in_loop(talk)


def test_a16_exec_with_a_wrong_password_is_closed(process: Server, name: str) -> None:
    process.put(name, shell("sleep 60"))
    process.until_state(name, "Running")
    shown = session(process, name, "exec", command="sh")

    async def talk() -> None:
        async with connect(shown["webSocketUri"]) as socket:
            await socket.write_message("wrong")
            assert await socket.read_message() is None
            assert socket.close_code == 1008
        await refused("404", shown["webSocketUri"])

    in_loop(talk)


def test_a16_exec_takes_one_program_without_arguments(process: Server, name: str) -> None:
    process.put(name, shell("sleep 60"))
    process.until_state(name, "Running")
    for command in ("sh -c ls", "", 3):
        answer = process.call("POST", f"{process.group(name)}/containers/main/exec", {"command": command})
        assert answer.status == 400
    sizes = {"command": "sh", "terminalSize": {"rows": 0, "cols": 80}}
    assert process.call("POST", f"{process.group(name)}/containers/main/exec", sizes).status == 400


def test_a16_attach_sends_what_is_printed_from_now_on(process: Server, name: str) -> None:
    group = shell(
        "echo before; while [ ! -e /state/go ]; do sleep 0.02; done; echo after; printf 'é no end'",
        volumeMounts=[{"name": "state", "mountPath": "/state"}],
    )
    group["properties"]["volumes"] = [{"name": "state", "emptyDir": {}}]
    process.put(name, group)
    process.until(name, lambda _: process.call("GET", f"{process.group(name)}/containers/main/logs").status == 200)
    process.until(name, lambda _: process.logs(name) == "before\n")
    shown = session(process, name, "attach")
    assert "/logstream/sessionId/" in shown["webSocketUri"]

    async def watch() -> None:
        await refused("404", shown["webSocketUri"].replace("logstream", "execstream"))
        async with connect(shown["webSocketUri"], Authorization=shown["password"]) as socket:
            (next(process.state_dir.glob("groups/*/volumes/0")) / "go").touch()
            seen = ""
            while (message := await socket.read_message()) is not None:
                seen += str(message)
        assert seen == "after\né no end"

    in_loop(watch)


def test_a16_attach_without_the_password_is_refused(simulated: Server, name: str) -> None:
    simulated.script(name, [])
    simulated.put(name, body())
    simulated.until_state(name, "Running")
    shown = session(simulated, name, "attach")

    async def knock() -> None:
        await refused("401", shown["webSocketUri"])

    in_loop(knock)


def test_a16_sessions_on_an_ended_container_are_still_handed_out(simulated: Server, name: str) -> None:
    simulated.script(name, [{"exit": 2}])
    simulated.put(name, body())
    simulated.until_state(name, "Failed")
    assert "/execstream/sessionId/" in session(simulated, name, "exec", command="ls")["webSocketUri"]


def test_web_pages_cannot_open_a_session(simulated: Server, name: str) -> None:
    simulated.script(name, [])
    simulated.put(name, body())
    simulated.until_state(name, "Running")
    shown = session(simulated, name, "attach")

    async def knock() -> None:
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            await refused("403", shown["webSocketUri"], Authorization=shown["password"], **headers)

    in_loop(knock)
