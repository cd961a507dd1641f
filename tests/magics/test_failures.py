"""Each failure that the surface names, raised by a cell through the real path: its class, its cause, and the option to change."""

from __future__ import annotations

import pickle
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from shells import Run

from aci_notebook import errors as er
from aci_notebook.extension import load, unload

LONG = "import time\nprint('begun', flush=True)\ntime.sleep(100)"


@pytest.fixture
def fault(server: Any) -> Iterator[Callable[..., None]]:
    """The next create is answered so."""

    def order(status: int, code: str, message: str = "the service's own words") -> None:
        server.ask("/_aci/faults", {"on": "create", "times": 1, "do": {"status": status, "code": code, "message": message}})

    yield order
    server.ask("/_aci/faults", method="DELETE")


@pytest.mark.parametrize(
    ("status", "code", "kind", "remedy"),
    [
        (400, "InaccessibleImage", er.ImagePullError, "--image"),
        (400, "ImageOsTypeNotMatchContainerGroup", er.ImagePullError, "--platform linux/amd64"),
        (409, "ContainerGroupQuotaReached", er.QuotaError, "--location"),
        (409, "ServiceUnavailable", er.CapacityError, "--location"),
        (403, "AuthorizationFailed", er.AuthError, "Contributor"),
        (401, "ExpiredAuthenticationToken", er.AuthError, "%aci local stop"),
        (404, "SubscriptionNotFound", er.ServiceError, "az account list"),
        (404, "ResourceGroupNotFound", er.ServiceError, "az group create"),
        (409, "MissingSubscriptionRegistration", er.ServiceError, "az provider register"),
        (400, "SomethingNew", er.ServiceError, "%aci doctor"),
    ],
)
def test_what_the_service_refuses(run: Run, fault: Callable[..., None], status: int, code: str, kind: type[Exception], remedy: str) -> None:
    fault(status, code)
    failed = run("%%aci -q\nprint('never')")
    assert isinstance(failed.error, kind), repr(failed.error)
    assert "the service's own words" in str(failed.error)
    assert remedy in str(failed.error)
    assert "never" not in failed.stdout
    assert len(failed.error._render_traceback_()) < 8


def test_an_image_that_is_not_there(run: Run) -> None:
    failed = run("%%aci -q --image nosuch/image:1\n1").error
    assert isinstance(failed, er.ImagePullError)
    assert "nosuch/image:1" in str(failed)
    assert "--image" in str(failed)


def test_a_quota_that_is_used_up(run: Run, server: Any) -> None:
    before = server.ask("/_aci/limits")["cores"]
    server.ask("/_aci/limits", {"cores": 1})
    try:
        failed = run("%%aci -q --cpu 2\n1").error
    finally:
        server.ask("/_aci/limits", {"cores": before})
    assert isinstance(failed, er.QuotaError)
    assert "--cpu" in str(failed)


@pytest.mark.parametrize(
    ("event", "kind", "remedy"), [("evict", er.Evicted, "--retries"), ("oom", er.OutOfMemory, "--memory"), ("stop", er.GroupLost, "")]
)
def test_what_happens_to_a_container(run: Run, server: Any, shell: Any, event: str, kind: type[Exception], remedy: str) -> None:
    """It happens once the program has begun."""
    name = f"job-{event}"
    handle = run(f"%%aci -d --spot --name {name}\n{LONG}").check().value

    def happen() -> None:
        _, log, events = handle.subscribe()
        while b"begun" not in log:
            _, told = events.get(timeout=30)
            log += getattr(told, "data", b"")
        if event == "stop":
            handle_session().backend().stop(name)
        else:
            server.ask(f"/_aci/groups/{name}/happen", {"event": event})

    thread = threading.Thread(target=happen)
    thread.start()
    failed = run(f"%aci attach {name}").error
    thread.join(30)
    assert isinstance(failed, kind), repr(failed)
    assert remedy in str(failed)
    assert name in str(failed)


def handle_session() -> Any:
    from aci_notebook import session

    return session.connect("local")


@pytest.mark.parametrize(
    ("cause", "shown"),
    [(TimeoutError(), ["TimeoutError", ""]), (OSError("no route"), []), (SyntaxError("bad", ("f", 1, 1, "1+")), ["SyntaxError: bad", ""])],
)
def test_a_cause_is_named_where_the_message_does_not_say_it(cause: Exception, shown: list[str]) -> None:
    error = er.ServiceError("the service was not reached: no route")
    error.__cause__ = cause
    assert error._render_traceback_() == [*shown, "ServiceError: the service was not reached: no route"]


def test_a_container_that_does_not_start_in_time(run: Run) -> None:
    failed = run("%%aci -q --start-timeout 5s -v git+https://127.0.0.1:1/nothing:/data\n1").error
    assert isinstance(failed, er.StartTimeout)
    assert "--start-timeout" in str(failed)


def test_a_cancelled_run_is_a_keyboard_interrupt(run: Run) -> None:
    handle = run(f"%%aci -d\n{LONG}").check().value
    handle.cancel()
    failed = run("%aci attach last").error
    assert isinstance(failed, er.RunCancelled)
    assert isinstance(failed, KeyboardInterrupt)
    assert len(failed._render_traceback_()) == 1


TRACED = "%%aci -q\ndef half(x):\n    return x / 0\n\nhalf(3)"


def test_a_remote_traceback_has_the_notebooks_colours(run: Run, shell: InteractiveShell) -> None:
    plain = run(TRACED).error._render_traceback_()
    assert "\x1b" not in "".join(plain)
    shell.colors = "neutral"
    try:
        failed = run(TRACED).error
        coloured = failed._render_traceback_()
        assert any("\x1b[" in line for line in coloured)
        words = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured]
        assert words[:-1] == plain[:-1]
        assert "    return x / 0" in words
        unload(shell)
        assert "\x1b" not in "".join(failed._render_traceback_())
    finally:
        shell.colors = "nocolor"
        load(shell)


KINDS = [
    ("import json; json.loads('{')", ValueError, "doc", "{"),
    ("b'\\xff'.decode()", UnicodeDecodeError, "start", 0),
    ("open('/no/such/file')", FileNotFoundError, "filename", "/no/such/file"),
    ("import subprocess; subprocess.run('false', check=True)", subprocess.CalledProcessError, "returncode", 1),
    ("{}['a']", KeyError, "args", ("a",)),
    ("import no_such_module", ImportError, "name", "no_such_module"),
    ("class Own(ValueError):\n    def __init__(self, a, *, b): super().__init__(a)\nraise Own('x', b=1)", ValueError, "args", ("x",)),
    ("class Mine(ConnectionError): code = 5\nraise Mine('x')", OSError, "exit_code", 1),
]


@pytest.mark.parametrize(("cell", "kind", "attribute", "value"), KINDS)
def test_what_the_program_raised_is_caught_as_what_it_is(run: Run, cell: str, kind: type[Exception], attribute: str, value: object) -> None:
    failed = run(f"%%aci -q\n{cell}").error
    assert isinstance(failed, er.RunFailed)
    assert isinstance(failed, kind), repr(failed.__cause__)
    assert getattr(failed, attribute) == value
    again = pickle.loads(pickle.dumps(failed))
    assert isinstance(again, kind)
    assert getattr(again, attribute) == value
    assert str(again) == str(failed)
    assert again.remote_traceback == failed.remote_traceback


def test_an_exception_of_the_notebooks_own_is_caught_with_its_attributes(run: Run) -> None:
    caught = run(
        "import aci_notebook as aci\n"
        "class Refused(Exception):\n    def __init__(self, code, message):\n"
        "        super().__init__(code, message); self.code, self.message = code, message\n"
        "def refuse(): raise Refused(403, 'no')\n"
        "try: aci.run(refuse, quiet=True)\nexcept Refused as error: found = error\n"
        "found.code, found.args, str(found), str(found.__cause__)"
    ).check()
    assert caught.value == (403, (403, "no"), "Refused: (403, 'no')", "(403, 'no')")


@pytest.mark.parametrize(
    ("cell", "kind"),
    [("raise ExceptionGroup('both', [ValueError(1), KeyError(2)])", ExceptionGroup), ("exec('1+')", SyntaxError)],
)
def test_what_ipython_shows_in_its_own_way_is_the_cause_alone(
    run: Run, capsys: pytest.CaptureFixture[str], cell: str, kind: type[Exception]
) -> None:
    """Else it is shown through our frames."""
    shown = run(f"%%aci -q\n{cell}")
    assert isinstance(shown.error.__cause__, kind)
    assert kind.__name__ in shown.stdout
    assert "RunFailed: " in shown.stdout
    assert "interactiveshell" not in shown.stdout + capsys.readouterr().err


def test_a_long_text_stands_under_the_cell_once(run: Run) -> None:
    shown = "\n".join(run("%%aci -q\nraise ValueError('x' * 30_000 + 'E' + 'ND')").error._render_traceback_())
    assert shown.count("END") == 1
    assert len(shown) < 31_000
    assert shown.rstrip("x …").endswith("RunFailed: ValueError:")
