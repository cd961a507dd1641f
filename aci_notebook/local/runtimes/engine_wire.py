"""HTTP to a container engine with the standard library alone, streams that change hands included.

For what the `docker` package cannot do well: its hijacked streams may lose the bytes that arrive together with the
response's headers, and importing it costs half a second, too much for a process beside each container.
Addresses are those of DOCKER_HOST: ``unix:///path`` and ``tcp://host:port`` (with TLS if `certs` names a folder that
holds ca.pem, cert.pem and key.pem).
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

CONNECT_S = 10.0


class EngineSaid(Exception):
    """The engine refused; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def tls_of(certs: str) -> ssl.SSLContext | None:
    """The TLS setting that Docker's certificate folder means; None without one."""
    if not certs:
        return None
    context = ssl.create_default_context(cafile=f"{certs}/ca.pem")
    context.load_cert_chain(f"{certs}/cert.pem", f"{certs}/key.pem")
    return context


def split(address: str) -> tuple[str, str, int]:
    """(path of a socket, "", 0) or ("", host, port); raises ValueError for an address that is neither."""
    parts = urlsplit(address)
    if parts.scheme == "unix" and parts.path:
        return parts.path, "", 0
    if parts.scheme in ("tcp", "http", "https") and parts.hostname:
        return "", parts.hostname, parts.port or 2375
    raise ValueError(f"an engine's address is unix:///path or tcp://host:port, not {address}")


class Connection(http.client.HTTPConnection):
    """One connection to the engine."""

    def __init__(self, address: str, certs: str = "") -> None:
        super().__init__("engine")
        self._address = address
        self._certs = certs

    def connect(self) -> None:
        path, host, port = split(self._address)
        if path:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.connect(path)
        else:
            self.sock = socket.create_connection((host, port), CONNECT_S)
            self.sock.settimeout(None)
            context = tls_of(self._certs)
            if context is not None:
                self.sock = context.wrap_socket(self.sock, server_hostname=host)

    def ask(self, method: str, path: str) -> Any:
        """The JSON of the answer, None if it has no body; raises `EngineSaid`, or OSError if the engine is away."""
        try:
            self.request(method, path)
            response = self.getresponse()
            content = response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"the engine broke off: {type(error).__name__}") from error
        if response.status >= 400:
            raise EngineSaid(response.status, message_of(content))
        return json.loads(content) if content.strip() else None

    def hijack(self, path: str) -> Stream:
        """The stream behind a POST; nothing that came with the headers is lost."""
        self.request("POST", path, headers={"Connection": "Upgrade", "Upgrade": "tcp", "Content-Length": "0"})
        response = http.client.HTTPResponse(self.sock, method="POST")
        try:
            response.begin()
            if response.status >= 400:
                raise EngineSaid(response.status, message_of(response.read()))
        except http.client.HTTPException as error:
            raise ConnectionError(f"the engine broke off: {type(error).__name__}") from error
        return Stream(response)


class Stream:
    """The raw stream that follows a response's headers; keeps the response, which closes it when it goes."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def read(self, most: int) -> bytes:
        """The bytes that are there, at least one; empty at the end."""
        data: bytes = self._response.fp.read1(most)
        return data


def message_of(content: bytes) -> str:
    """What an error's body says."""
    try:
        said = json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace").strip()
    return str(said.get("message") or said.get("cause") or said) if isinstance(said, dict) else str(said)


class Frames:
    """Takes the engine's frames apart (8 bytes of header: stream, length) however they are cut."""

    HEADER = 8

    def __init__(self) -> None:
        self._header = b""
        self._left = 0

    def feed(self, data: bytes) -> bytes:
        """The output in `data`, of both streams, in the order it came."""
        parts = []
        while data:
            if self._left:
                parts.append(data[: self._left])
                data, self._left = data[len(parts[-1]) :], self._left - len(parts[-1])
                continue
            missing = self.HEADER - len(self._header)
            self._header, data = self._header + data[:missing], data[missing:]
            if len(self._header) == self.HEADER:
                self._left = int.from_bytes(self._header[4:], "big")
                self._header = b""
        return b"".join(parts)
