"""exec into an engine's container, with a real terminal of the size that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import websocket
from local.conftest import Server, body

from .conftest import FOREVER, box, ended

pytestmark = pytest.mark.engine


@contextmanager
def terminal(server: Server, name: str, command: str, rows: int = 24, cols: int = 80) -> Iterator[websocket.WebSocket]:
    order = {"command": command, "terminalSize": {"rows": rows, "cols": cols}}
    told = server.call("POST", f"{server.group(name)}/containers/main/exec", order).json
    socket = websocket.create_connection(told["webSocketUri"], timeout=20, http_no_proxy=["*"])
    socket.send(told["password"])
    try:
        yield socket
    finally:
        socket.shutdown()


def rest(socket: websocket.WebSocket) -> str:
    """What comes until the other side closes."""
    heard = ""
    try:
        while chunk := socket.recv():
            heard += chunk
    except websocket.WebSocketConnectionClosedException:
        pass
    return heard


def read_until(socket: websocket.WebSocket, text: str) -> str:
    heard = ""
    while text not in heard:
        heard += socket.recv()
    return heard


def test_a_shell_with_its_size(engine: Server, name: str) -> None:
    engine.put(name, body(box(script=FOREVER)))
    engine.until_state(name, "Running")
    with terminal(engine, name, "/bin/sh", 33, 111) as socket:
        socket.send("stty size; tty; echo $((40+2))\n")
        heard = read_until(socket, "42")
        assert "33 111" in heard
        assert "/dev/pts/" in heard
        socket.send("exit 3\n")
        rest(socket)


def test_the_program_ends_with_its_connection(engine: Server, name: str) -> None:
    engine.put(name, body(box(script=FOREVER)))
    engine.until_state(name, "Running")
    with terminal(engine, name, "/bin/sh") as socket:
        socket.send("sleep 4321\n")
        read_until(socket, "sleep 4321")
    with terminal(engine, name, "/bin/sh") as socket:
        socket.send("while ps | grep -q '[s]leep 4321'; do sleep 0.1; done; echo g''one\n")
        assert "gone" in read_until(socket, "gone")


def test_a_program_that_is_not_there_says_so(engine: Server, name: str) -> None:
    engine.put(name, body(box(script=FOREVER)))
    engine.until_state(name, "Running")
    with terminal(engine, name, "/no/such") as socket:
        rest(socket)
    assert engine.get(name)["properties"]["instanceView"]["state"] == "Running"


def test_exec_into_an_ended_container_answers_and_closes(engine: Server, name: str) -> None:
    engine.put(name, body(box(script="true")))
    ended(engine, name)
    with terminal(engine, name, "/bin/sh") as socket:
        assert rest(socket) == ""
