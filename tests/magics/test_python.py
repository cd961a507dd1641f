"""The Python API: functions as runs, futures' semantics, %config, the dry run against Microsoft's schema."""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import pickle
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4
from shells import Run

import aci_notebook as aci
from aci_notebook import exchange, session
from aci_notebook.errors import OptionError, OutputMissing, RunFailed

SCHEMA = Path(__file__).parents[1] / "data" / "containerInstance-2023-05-01.json"  # Azure/azure-resource-manager-schemas, as published


def add(a: int, b: int = 2) -> dict[str, int]:
    print("adding")
    return {"sum": a + b}


def fail(value: int) -> None:
    raise KeyError(value)


def test_a_function_runs_and_its_value_comes_home(run: Run) -> None:
    done = aci.run(add, args=(1,), kwargs={"b": 5}, quiet=True)
    assert done.result() == {"sum": 6}
    assert done.log() == "adding\n"


@pytest.mark.parametrize("given", ["pandas==1.5.3 six", "six,pandas", ["-U pandas==1.5.3"], ("six, pandas",)])
def test_what_was_asked_for_is_not_asked_for_again_in_this_kernels_version(run: Run, given: Any) -> None:
    spec = session.connect("local").spec({"requirements": given}, "import pandas")
    assert spec.implied == (), "with pandas 1 comes numpy 1"


def test_remote_functions(run: Run) -> None:
    far = aci.remote(cpu=2, quiet=True)(add)
    assert far(1) == {"sum": 3}
    assert far.submit(4).result(60) == {"sum": 6}
    assert far.local(5) == {"sum": 7}
    assert far.__name__ == "add"
    assert copy.copy(far) is copy.deepcopy(far) is far
    with pytest.raises(OptionError, match="did you mean cpu"):
        aci.remote(cpux=2)


def test_a_remote_function_calls_itself_and_others_there(run: Run) -> None:
    run(
        "import aci_notebook as aci\n@aci.remote(quiet=True)\ndef count(n): return n and 1 + count(n - 1)\n"
        "@aci.remote(quiet=True)\ndef twice(n): return count(n) + count(n)"
    ).check()
    assert run("twice(3)").check().value == 6
    run("%%aci -q -i count -o x\nx = count(4)").check()
    assert run("x").value == 4


def test_a_remote_function_of_a_class_is_a_method(run: Run) -> None:
    run(
        "import aci_notebook as aci\nclass Scale:\n    by = 3\n    @aci.remote(quiet=True)\n    def of(s, x, y=1): return s.by * x + y"
    ).check()
    assert run("Scale().of(2)").check().value == 7
    assert run("Scale().of.submit(2, y=0).result(60)").check().value == 6
    assert run("Scale().of.local(1), Scale.of.local(Scale(), 1)").check().value == (4, 4)


def test_a_static_remote_method_gets_no_self(run: Run) -> None:
    class Scale:
        @aci.remote
        @staticmethod
        def twice(x: int) -> int:
            return 2 * x

    assert [Scale().twice.local(2), Scale.twice.local(3), Scale().twice.submit(4).result(60)] == [4, 6, 8]


def test_a_decorator_may_give_arguments_of_its_own(run: Run) -> None:
    def given(function: Callable[..., Any]) -> Callable[..., Any]:
        return functools.wraps(function)(lambda x: function(10, x))

    @given
    def total(a: int, x: int) -> int:
        return a + x

    assert aci.submit(total, args=(1,)).result(60) == 11


def test_arguments_that_the_function_does_not_take_are_refused_here(run: Run, creates: Callable[[], int]) -> None:
    before = creates()
    with pytest.raises(OptionError, match=r"add: does not take these arguments: missing a required argument: 'a'\nit is add\(a: 'int'"):
        aci.submit(add)
    with pytest.raises(OptionError, match="got an unexpected keyword argument 'c'"):
        aci.remote(add)(1, c=2)
    with pytest.raises(OptionError, match="args '12': is a tuple of the function's arguments"):
        aci.run(add, args="12")  # type: ignore[arg-type]  # what is tested
    assert creates() == before


def test_a_program_is_checked_as_a_cell_is(run: Run, creates: Callable[[], int]) -> None:
    before = creates()
    with pytest.raises(OptionError, match="program: line 2 of the cell: invalid syntax"):
        aci.run("x = 1\ny = = 2")
    with pytest.raises(OptionError, match="inputs 'two words': is not a variable name"):
        aci.run("1", inputs={"two words": 1})
    assert creates() == before
    assert aci.run("#!/bin/sh\necho from $((1 + 1))", quiet=True).log() == "from 2\n"
    with pytest.raises(TypeError, match="unexpected keyword argument 'stat'"):
        aci.history(stat="failed")  # type: ignore[call-arg]  # what is tested


def test_what_a_function_returns_and_cannot_travel_is_named(run: Run) -> None:
    def several() -> Any:
        yield 1

    with pytest.raises(OutputMissing, match="what several returned: cannot be pickled"):
        aci.submit(several).result(60)


def test_the_traceback_of_a_function_is_its_own(run: Run) -> None:
    failed = run("import aci_notebook as aci\ndef half(x):\n    return x / 0  # not half\naci.run(half, args=(1,), quiet=True)").error
    assert "return x / 0  # not half" in failed.remote_traceback
    assert "aci_called" not in failed.remote_traceback
    assert failed.remote_traceback.count("File ") == 1
    assert "aci_called" not in aci.submit(len, args=(5,)).exception(60).remote_traceback


def test_what_waits_for_futures_waits_for_runs(run: Run) -> None:
    good, bad = aci.submit("1"), aci.submit("1/0")
    assert {*futures.as_completed([good, bad], timeout=60)} == {good, bad}
    later = aci.submit("import time; time.sleep(100)")
    done, not_done = futures.wait([good, bad, later], timeout=0)
    assert (done, not_done) == ({good, bad}, {later})
    assert futures.wait([later, bad], return_when=futures.FIRST_EXCEPTION).not_done == {later}
    later.cancel()
    assert futures.wait([later], timeout=30).done == {later}


@pytest.mark.parametrize("ask", [lambda run: run._get_snapshot(), lambda run: (True, False, wrapped(run), None)])
def test_what_asyncio_asks_a_run_is_its_value(run: Run, ask: Callable[[Any], Any]) -> None:
    assert ask(aci.submit(add, args=(1, 2)).wait(60)) == (True, False, {"sum": 3}, None)


def wrapped(handle: Any) -> Any:
    async def value() -> Any:
        return await asyncio.wrap_future(handle)

    return asyncio.run(value())


def unreadable() -> Any:
    return type("Unreadable", (), {"__reduce__": lambda self: (int, ("no number",))})()


def test_a_value_that_cannot_be_read_here_is_said_to_whoever_waits(run: Run) -> None:
    handle = aci.submit(unreadable)
    error = handle.exception(60)
    assert isinstance(error, OutputMissing)
    assert "what unreadable returned came home and cannot be read here: ValueError" in str(error)
    assert "other outputs" not in str(error), "there are none"
    with pytest.raises(OutputMissing):
        wrapped(handle)
    with pytest.raises(OutputMissing):
        handle.result()


def test_what_comes_home_is_decoded_once(run: Run, shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be large, and unpickling runs the person's own code."""
    really, decoded = exchange.decode, []

    def counted(data: bytes) -> Any:
        decoded.append(data)
        return really(data)

    monkeypatch.setattr(exchange, "decode", counted)
    run("%%aci -q -o x\nx = 3").check()
    assert (shell.user_ns["x"], len(decoded)) == (3, 1)
    assert aci.submit(add, args=(1, 2)).result(60) == {"sum": 3}
    assert len(decoded) == 2


def test_waiting_for_a_run_ends_when_the_wait_does(run: Run) -> None:
    handle = aci.submit("import time; time.sleep(300)")

    async def impatient() -> None:
        await asyncio.wait_for(awaited(handle), 0.3)

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())  # which joins the threads it began
    assert not handle.done()
    handle.cancel()


def test_an_exception_that_cannot_be_joined_still_ends_the_run_and_its_group(run: Run) -> None:
    failed = run(
        "import aci_notebook as aci\nclass Known(Exception):\n    words = {1: 'one'}\n    def __new__(cls, code): "
        "return super().__new__(cls, cls.words[code])\n    def __init__(self, code): super().__init__(code)\n"
        "def fail(): raise Known(1)\nhandle = aci.submit(fail)\nhandle.exception(60)"
    ).check()
    handle = run("handle").check().value
    assert isinstance(failed.value, RunFailed)
    assert futures.wait([handle], timeout=30).done == {handle}
    assert handle.wait_gone(60)
    assert handle.record.group == "gone"


def test_a_function_that_travels_takes_cached_ones_along(run: Run) -> None:
    defined = "import functools, aci_notebook as aci\n@functools.cache\ndef twice(n): return 2 * n\n"
    shown = run(defined + "@aci.remote\ndef remote_one(n): return twice(n) + 1\nremote_one(4)").check()
    assert shown.value == 9
    assert "came home: what remote_one returned: int" in shown.stdout


def test_a_run_that_is_pickled_says_what_can_travel(run: Run) -> None:
    handle = aci.submit("1")
    with pytest.raises(TypeError, match=r"run\.result\(\).*%aci attach takes run\.run_id"):
        pickle.dumps(handle)
    handle.wait(60)


def test_an_exception_of_a_function_is_its_own_class(run: Run) -> None:
    handle = aci.submit(fail, args=(7,))
    with pytest.raises(KeyError):
        handle.result(60)
    assert isinstance(handle.exception(), RunFailed)


def test_a_coroutine_function_is_awaited(run: Run) -> None:
    async def later() -> int:
        await asyncio.sleep(0)
        return 8

    assert aci.submit(later).result(60) == 8


def test_futures_semantics(run: Run) -> None:
    seen = threading.Event()
    handle = aci.submit("x = 1", outputs="x")
    handle.add_done_callback(lambda done: seen.set())
    assert asyncio.run(awaited(handle)) is handle
    assert seen.wait(10)
    assert handle.done()
    assert handle.exception() is None
    assert handle.result() == {"x": 1}
    with aci.submit("import time; time.sleep(100)") as other, pytest.raises(TimeoutError):
        other.result(timeout=0.2)
    assert other.wait(30).cancelled()


async def awaited(handle: Any) -> Any:
    return await handle


def test_options_of_the_api_are_those_of_a_cell(run: Run) -> None:
    assert aci.run("import os; print(os.environ['A'], v)", env={"A": "1"}, inputs={"v": [2]}, memory_gb=2, quiet=True).log() == "1 [2]\n"
    with pytest.raises(OptionError, match="--cpu '99'"):
        aci.run("1", cpu="99")
    with pytest.raises(OptionError, match="belongs to a cell"):
        aci.run("1", detach=True)
    with pytest.raises(OptionError, match="neither a program's text nor a function"):
        aci.run(5)


def test_a_bad_config_value_is_refused(run: Run, shell: Any, caplog: pytest.LogCaptureFixture) -> None:
    run("%config AciMagics.cpu = 'x'")
    assert "must be a number of cores" in caplog.text
    assert shell.magics_manager.registry["AciMagics"].cpu is None
    run("%config AciMagics.keep = 'always'").check()
    shown = run("%aci config --origin").check().value
    assert shown.set_index("setting").loc["keep"].tolist() == ["always", "%config AciMagics"]


DRY = [
    "--cpu 2 -m 4 -e A=1 --secret HOME --tag a=b --spot",
    "-v empty::/scratch -v git+https://example.org/x.git@main:/code -v azurefile://account/share?key=env:HOME:/data:ro",
    "--image r.azurecr.io/job:1 --registry r.azurecr.io=me:env:HOME --identity system",
]


@pytest.mark.parametrize("options", DRY)
def test_a_dry_run_is_valid_by_microsofts_schema(run: Run, server: Any, options: str) -> None:
    before = server.ask("/_aci/stats")["requests"]
    shown = run(f"%%aci --dry-run {options}\nprint(1)").check().stdout
    body = yaml.safe_load(shown)
    schema = json.loads(SCHEMA.read_text())
    for name in ("cpu", "memoryInGB"):  # the schema knows whole numbers alone; the service takes tenths (aci-facts §2.3)
        schema["definitions"]["ResourceRequests"]["properties"][name] = {"type": "number"}
    group = {"$schema": schema["$schema"], "definitions": schema["definitions"], **schema["resourceDefinitions"]["containerGroups"]}
    common = {"definitions": {"expression": {"type": "string", "pattern": r"^\[([^\[].*)?\]$"}}}
    address = "https://schema.management.azure.com/schemas/common/definitions.json"
    registry = Registry().with_resource(address, Resource.from_contents(common, default_specification=DRAFT4))
    jsonschema.Draft4Validator(group, registry=registry).validate(body)
    assert "# payload: " in shown
    assert "# estimate: " in shown
    asked = server.ask("/_aci/stats")["requests"]
    assert {kind: asked[kind] for kind in asked if kind != "control"} == {kind: before[kind] for kind in before if kind != "control"}
