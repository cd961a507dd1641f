"""exec: one command inside a running container, with its output and its exit code.

The service starts one process without arguments in a terminal and never says how it ended (`aci-facts` §6, T27). So the process is
/bin/sh; the command goes in through the terminal's input, between two marks that the shell prints: what stands between them
is the command's output, and the second mark carries its exit code. The marks are written in two halves, so that the terminal's echo of
what is typed does not hold them.
"""

from __future__ import annotations

import re
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import websocket
from azure.mgmt.containerinstance import models as sdk

from ..errors import OptionError, ServiceError
from .attachment import close_websocket, open_websocket
from .backend import AciBackend
from .translation import NoLogYet, NotFound

OPEN_TIMEOUT_S = 15.0
SLICE_S = 0.2
LINE_LIMIT = 3_500  # a terminal takes 4,096 bytes a line
SHELL = "/bin/sh"


def execute(backend: AciBackend, name: str, container: str, command: Sequence[str], tell: Callable[[str], object]) -> int:
    """The exit code of a command in a container of the group; `tell` gets its output as it comes.

    Raises ServiceError where the container is not running, the terminal cannot be had, or it breaks off before the end.
    """
    typed = shlex.join(command)
    if len(typed.encode()) > LINE_LIMIT:
        raise OptionError(
            "%aci exec", None, f"the command has {len(typed.encode()):,} bytes; a terminal takes {LINE_LIMIT:,}", "put it into a file"
        )
    try:
        with backend.asking(name) as (place, client):
            request = sdk.ContainerExecRequest(command=SHELL, terminal_size=sdk.ContainerExecRequestTerminalSize(rows=50, cols=1000))
            answer = client.containers.execute_command(place.resource_group, name, container, request)
            loopback = place.loopback
    except NotFound:
        raise ServiceError(f"there is no container group {name}", hint="%aci ps -a shows those that exist", group_name=name) from None
    except NoLogYet as error:
        raise ServiceError(f"{name}: {error}", hint="its container does not run", group_name=name) from None
    with _terminal(str(answer.web_socket_uri), str(answer.password), name, loopback=loopback) as socket:
        return _converse(socket, typed, name, tell)


@contextmanager
def _terminal(uri: str, password: str, name: str, *, loopback: bool) -> Iterator[websocket.WebSocket]:
    try:
        socket = open_websocket(uri, loopback=loopback, timeout_s=OPEN_TIMEOUT_S)
        socket.send(password)
    except (OSError, ValueError, websocket.WebSocketException) as error:
        raise ServiceError(
            f"{name}: the terminal cannot be reached: {error}",
            hint="exec needs port 19390 of the service to be open to you",
            group_name=name,
        ) from error
    try:
        yield socket
    finally:
        close_websocket(socket)


def _converse(socket: websocket.WebSocket, typed: str, name: str, tell: Callable[[str], object]) -> int:
    mark = secrets.token_hex(6)
    begin, end = f"aci-begin-{mark}", re.compile(rf"aci-end-{mark}:(\d+)\r?\n")
    socket.settimeout(SLICE_S)
    heard = _wait_for_prompt(socket)
    socket.send("stty -echo 2>/dev/null; PS1= ; PS2=\n")
    socket.send(f"printf 'aci-%s\\n' begin-{mark}; ( {typed} ) </dev/null 2>&1; printf 'aci-%s:%d\\n' end-{mark} $?\n")
    waiting, held = heard, ""
    begun = False
    while True:
        if not begun:
            place = waiting.find(begin)
            if place >= 0:
                begun, held = True, waiting[place + len(begin) :].lstrip("\r").removeprefix("\n")
                waiting = ""
        else:
            held, waiting = held + waiting, ""
        if begun:
            found = end.search(held)
            if found:
                _tell(tell, held[: found.start()])
                socket.send("exit\n")
                return int(found.group(1))
            # the end mark may have begun in what is here: that part waits
            keep = max(held.rfind("aci-end-"), held.rfind("\r"), len(held) - 8)
            if keep > 0 and "aci-end-" not in held:
                _tell(tell, held[:keep])
                held = held[keep:]
        text = _receive(socket)
        if text is None:
            raise ServiceError(
                f"{name}: the terminal broke off before the command ended", hint="its container may have ended", group_name=name
            )
        waiting += text


def _tell(tell: Callable[[str], object], text: str) -> None:
    if text:
        tell(text.replace("\r\n", "\n"))


def _wait_for_prompt(socket: websocket.WebSocket) -> str:
    """What the shell says first; a shell that says nothing within a second is ready too."""
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        text = _receive(socket)
        if text:
            return text
        if text is None:
            return ""
    return ""


def _receive(socket: websocket.WebSocket) -> str | None:
    """Text that came within a slice, "" for none, None when the other side closed."""
    try:
        data = socket.recv()
    except websocket.WebSocketTimeoutException:
        return ""
    except (OSError, websocket.WebSocketException):
        return None
    if not data and not socket.connected:
        return None
    return data if isinstance(data, str) else data.decode("utf-8", "replace")
