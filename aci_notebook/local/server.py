"""The server process: one state folder, one lock, one port on loopback (design §7).

A state folder belongs to one server at a time: it holds `lock` for as long as it lives. `presence` is locked likewise
and watched by the guardians of running containers, which must not be able to keep a server out.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import logging
import os
import secrets
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import tornado.httpserver
import tornado.httputil
import tornado.netutil
import tornado.web

from . import __version__
from .app import App
from .arm import Arm
from .clock import MachineClock, SteppedClock
from .control import Control, Identity
from .deployment import World
from .errors import ServiceError
from .faults import Faults
from .groups import Groups
from .limits import Limits
from .messages import MAX_BODY_BYTES, Request, Response, error_response
from .pace import Lag, Pace
from .runtimes.attempt import Watch
from .runtimes.engine import EngineRuntime
from .runtimes.engine_client import NoEngine
from .runtimes.process import ProcessRuntime
from .runtimes.protocol import Runtime
from .runtimes.simulated import SimulatedRuntime
from .runtimes.supervise import write_json
from .sessions import Sessions
from .store import Store, private_folder
from .streams import AttachStream, ExecStream

ORPHAN_S = 900.0  # how long containers outlive a killed server when it has no idle timeout
HEADER_LIMIT_S = 120.0
BODY_LIMIT_S = 120.0


@dataclass(frozen=True)
class Settings:
    """What the command line says. `idle_timeout_s` 0 means never."""

    state_dir: Path
    image_cache: Path
    storage: Path
    port: int
    runtime: str
    any_token: bool
    idle_timeout_s: float
    lag: Lag


class FolderTaken(Exception):
    """Another server holds the state folder; the message names its URL."""


def digest() -> str:
    """What identifies this code: 16 hex digits over every Python file of the package, by relative path."""
    root = Path(__file__).parent
    content = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        content.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return content.hexdigest()[:16]


def hold(state_dir: Path) -> list[IO[str]]:
    """Lock the folder for this process; the returned files hold the locks. Raises `FolderTaken`."""
    lock = open(state_dir / "lock", "a", opener=_private)  # noqa: SIM115 - held open on purpose
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise FolderTaken(f"{state_dir} is in use by the local ACI at {_other_url(state_dir)}") from None
    presence = open(state_dir / "presence", "a", opener=_private)  # noqa: SIM115
    fcntl.flock(presence, fcntl.LOCK_EX)  # a guardian holds it for an instant only
    return [lock, presence]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _other_url(state_dir: Path) -> str:
    try:
        return str(json.loads((state_dir / "server.json").read_text())["url"])
    except (FileNotFoundError, ValueError, KeyError):
        return "an address it has not announced yet"


def token(state_dir: Path) -> str:
    """The folder's token, made on first use, in a file only its owner can read."""
    path = state_dir / "token"
    try:
        known = path.read_text().strip()
    except FileNotFoundError:
        known = ""
    if known:
        return known
    new = secrets.token_urlsafe(32)
    draft = path.with_name("token.new")
    with open(draft, "w", opener=_private) as file:
        file.write(new)
    draft.replace(path)
    return new


class Door(tornado.web.RequestHandler):
    """Every HTTP request: collects its body up to ARM's limit, hands it to the app, sends the answer."""

    SUPPORTED_METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS")

    def initialize(self, app: App, on_request: Any) -> None:
        self._app = app
        self._on_request = on_request
        self._chunks: list[bytes] = []
        self._size = 0

    def prepare(self) -> None:
        self._on_request()

    def data_received(self, chunk: bytes) -> None:
        """Keep what ARM would; read and forget the rest, so that the refusal reaches a client that is still sending."""
        self._size += len(chunk)
        if self._size > MAX_BODY_BYTES:
            self._chunks.clear()
        else:
            self._chunks.append(chunk)

    async def _answer(self) -> None:
        request = self.request
        response = await self._app.handle(
            Request(
                method=str(request.method),
                path=request.path,
                query={name: values[-1].decode("utf-8", "replace") for name, values in request.query_arguments.items()},
                headers={name.lower(): value for name, value in request.headers.items()},
                body=b"".join(self._chunks),
                body_bytes=self._size,
                origin=f"{request.protocol}://{request.host}",
            )
        )
        if response.drop:
            self.detach().close()
        else:
            self._send(response)

    get = head = put = post = patch = delete = options = _answer

    def _send(self, response: Response) -> None:
        self.set_status(response.status)
        self.clear_header("Server")
        for name, value in response.headers.items():
            self.set_header(name, value)
        if response.body is None:
            self.clear_header("Content-Type")
            self.finish()
        else:
            self.set_header("Content-Type", "application/json; charset=utf-8")
            self.finish(response.encoded())

    def compute_etag(self) -> None:
        return None

    def log_exception(self, *args: Any) -> None:
        logging.getLogger(__name__).error("%s failed", self.request.method, exc_info=args[1])

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        code = "BadRequest" if status_code == 400 else "InternalServerError"
        self._send(error_response(ServiceError(status_code, code, "The request could not be served.")))


class Server:
    """Puts the rooms together, serves, and ends by itself when idle."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SteppedClock() if settings.runtime == "simulated" else MachineClock()
        self._stop = asyncio.Event()
        self._last_request_s = 0.0

    async def run(self) -> None:
        """Serve until a signal, or until idle for too long."""
        settings = self._settings
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._on_request()
        world = World(self._make_runtime(), self._clock, Pace(self._clock, settings.lag), Store(settings.state_dir), Limits())
        groups, faults, sessions = Groups(world), Faults(), Sessions()
        control = Control(Identity(__version__, digest(), settings.state_dir), groups, world, faults)
        known_token = token(settings.state_dir)
        app = App(Arm(groups, world, sessions), control, faults, world, None if settings.any_token else known_token)
        await groups.recover()
        http = tornado.httpserver.HTTPServer(
            self._application(app, sessions),
            idle_connection_timeout=HEADER_LIMIT_S,
            body_timeout=BODY_LIMIT_S,
            max_body_size=16 * MAX_BODY_BYTES,  # beyond ARM's own limit the door reads and forgets, up to here
        )
        sockets = tornado.netutil.bind_sockets(settings.port, "127.0.0.1")
        http.add_sockets(sockets)
        self._announce(f"http://127.0.0.1:{sockets[0].getsockname()[1]}", world.runtime.name)
        try:
            await self._until_idle(groups)
        finally:
            http.stop()
            await groups.close()
            await http.close_all_connections()
            (settings.state_dir / "server.json").unlink(missing_ok=True)

    def _make_runtime(self) -> Runtime:
        """The runtime that was asked for; `auto` takes an engine if one answers. Raises `NoEngine`."""
        settings = self._settings
        watch = Watch(settings.state_dir / "presence", settings.idle_timeout_s or ORPHAN_S)
        if settings.runtime in ("engine", "auto"):
            try:
                return EngineRuntime(state_dir=settings.state_dir, storage=settings.storage, watch=watch, environment=os.environ)
            except NoEngine:
                if settings.runtime == "engine":
                    raise
        match settings.runtime:
            case "simulated":
                return SimulatedRuntime(self._clock)
            case "process" | "auto":
                return ProcessRuntime(
                    cache=settings.image_cache,
                    layers=settings.state_dir / "layers",
                    storage=settings.storage,
                    watch=watch,
                )
        raise ValueError(f"there is no runtime '{settings.runtime}'")

    def _application(self, app: App, sessions: Sessions) -> tornado.web.Application:
        return tornado.web.Application(
            [
                (r"/execstream/sessionId/([^/]+)", ExecStream, {"sessions": sessions}),
                (r"/logstream/sessionId/([^/]+)", AttachStream, {"sessions": sessions}),
                (r".*", tornado.web.stream_request_body(Door), {"app": app, "on_request": self._on_request}),
            ],
            log_function=lambda handler: None,  # paths name groups; bodies and tokens never reach a log
        )

    def _announce(self, url: str, runtime: str) -> None:
        settings = self._settings
        write_json(
            settings.state_dir / "server.json",
            {
                "url": url,
                "pid": os.getpid(),
                "version": __version__,
                "digest": digest(),
                "runtime": runtime,
                "started_at": datetime.now(UTC).isoformat(),
            },
        )
        sys.stdout.write(f"local ACI listening on {url} (runtime {runtime}, state {settings.state_dir})\n")
        sys.stdout.flush()

    def _on_request(self) -> None:
        self._last_request_s = asyncio.get_running_loop().time()

    async def _until_idle(self, groups: Groups) -> None:
        limit_s = self._settings.idle_timeout_s
        if not limit_s:
            await self._stop.wait()
            return
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            if groups.alive():
                self._on_request()
            left_s = self._last_request_s + limit_s - loop.time()
            if left_s <= 0:
                return
            try:
                await asyncio.wait_for(self._stop.wait(), min(left_s, 5.0))
            except TimeoutError:
                continue


def serve(settings: Settings) -> None:
    """Run a server on the settings' folder until it ends; raises `FolderTaken`."""
    os.umask(0o077)
    private_folder(settings.state_dir)
    locks = hold(settings.state_dir)
    try:
        asyncio.run(Server(settings).run())
    finally:
        for lock in locks:
            lock.close()
