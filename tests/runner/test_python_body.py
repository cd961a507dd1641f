"""Python bodies: a cell that runs in a container and behaves as in a notebook."""

from __future__ import annotations

import io
import json
import pickle
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import cloudpickle
import pytest
from running import Bench, Log


def carry_cloudpickle(bench: Bench) -> None:
    """Ship cloudpickle as the payload does."""
    folder = Path(cloudpickle.__file__).parent
    with zipfile.ZipFile(bench.files / "cloudpickle.zip", "w") as archive:
        for path in folder.glob("*.py"):
            archive.write(path, f"cloudpickle/{path.name}")


def error_of(log: Log) -> dict:
    return json.loads(log.objects()["error"])


def value_of(log: Log) -> dict:
    return json.loads(log.objects()["value"])


TOUR = """\
import asyncio, sys, os, __main__, inspect
print("a", end=""); print("b", file=sys.stderr)
assert __name__ == "__main__" and __main__.__dict__ is globals()
assert (sys.argv, sys.path[0]) == (["<cell>"], "")
assert sys.stdout.encoding.lower() == "utf-8"
async def double(x):
    await asyncio.sleep(0)
    return x * 2
task = asyncio.ensure_future(double(base))
class Model:
    def __init__(self, k): self.k = k
    def __call__(self, x): return x * self.k
def helper(x):
    return model(x) + 1
model = Model(3)
lazy = (i for i in range(3))
doubled = await task
assert inspect.getsource(helper).startswith("def helper")
"""


def test_a_tour_with_every_interpreter(any_python: Bench) -> None:
    carry_cloudpickle(any_python)
    log = any_python.job(
        TOUR + "(await double(doubled))  # the value\n", inputs={"base": cloudpickle.dumps(21)},
        outputs=["doubled", "helper", "missing", "lazy", "model"],
    ).run(0)  # fmt: skip
    assert log.text() == b"ab\n"
    assert value_of(log) == {"text/plain": "84"}
    assert pickle.loads(log.objects()["var:doubled"]) == 42
    skipped = {line["name"]: line["reason"] for line in log.house("skip")}
    assert set(skipped) == {"var:missing", "var:lazy"}
    assert "generator" in skipped["var:lazy"]
    (said,) = (line for line in log.house("object") if line["name"] == "var:model")
    assert (said["kind"], said["type"]) == ("pickle", "Model")
    code = "import sys, pickle; sys.path.append(sys.argv[1]); print(pickle.load(sys.stdin.buffer)(5))"
    out = subprocess.run(
        [any_python.python, "-c", code, str(any_python.files / "cloudpickle.zip")],
        input=log.objects()["var:helper"], capture_output=True, check=True,
    )  # fmt: skip
    assert out.stdout == b"16\n"  # the function came by value, with the class it needs


FAULTY = """\
def divide(x):
    return 1 / x

try:
    {}["key"]
except KeyError:
    print("so far")
    divide(
        0)
"""


def test_an_exception_with_the_lines_of_the_cell_with_every_interpreter(any_python: Bench) -> None:
    log = any_python.job(FAULTY, outputs=["divide"]).run(1)
    assert (log.end["outcome"], log.end["exit"]) == ("failed", "1")
    assert log.text() == b"so far\n"
    trace = b"\n".join(log.payloads("!")).decode()
    assert "runner.py" not in trace
    assert trace.startswith('Traceback (most recent call last):\n  File "<cell>", line 5, in <module>\n    {}["key"]')
    assert 'File "<cell>", line 2, in divide\n    return 1 / x' in trace
    assert trace.endswith("ZeroDivisionError: division by zero")
    error = error_of(log)
    assert (error["type"], error["module"], error["message"]) == ("ZeroDivisionError", "builtins", "division by zero")
    assert error["traceback"].rstrip("\n") == trace
    assert [(f["file"], f["line"], f["name"]) for f in error["frames"]] == [
        ("<cell>", 8, "<module>"), ("<cell>", 2, "divide"),
    ]  # fmt: skip
    assert error["frames"][-1]["source"] == "return 1 / x"
    assert [(c["type"], c["link"]) for c in error["chain"]] == [("KeyError", "context")]
    assert "var:divide" not in log.objects()


def test_an_awaiting_body_shows_no_event_loop(edge_python: Bench) -> None:
    body = "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    raise LookupError('x')\nawait f()\n"
    error = error_of(edge_python.job(body).run(1))
    assert [(f["file"], f["line"]) for f in error["frames"]] == [("<cell>", 5), ("<cell>", 4)]


def test_a_syntax_error(edge_python: Bench) -> None:
    log = edge_python.job("x = 1\ny = = 2\n").run(1)
    error = error_of(log)
    assert error["type"] == "SyntaxError"
    assert error["frames"] == [{"file": "<cell>", "line": 2, "name": "<module>", "source": "y = = 2"}]
    trace = b"\n".join(log.payloads("!"))
    assert b'File "<cell>", line 2' in trace
    assert b"runner.py" not in trace


def test_a_value_that_is_silenced_or_none_does_not_go_home(bench: Bench) -> None:
    assert bench.job("1 + 1;").run(0).objects() == {}
    assert bench_again(bench).job("print('p')").run(0).objects() == {}


@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        ("raise SystemExit", 0, b""),
        ("import sys; sys.exit(0)", 0, b""),
        ("import sys; sys.exit(3)", 3, b""),
        ("import sys; sys.exit(True)", 1, b""),
        ("import sys; sys.exit(-1)", 255, b""),
        ("import sys; sys.exit('that was all')", 1, b"that was all\n"),
        ("exit(4)", 4, b""),
        ("import os; os._exit(5)", 5, b""),
        ("import os; print('x', end='', flush=True); os.kill(os.getpid(), 9)", 137, b"x"),
        ("import atexit; atexit.register(print, 'late')", 0, b"late\n"),
        ("import sys; sys.stdout.close()", 0, b""),
        ("import threading; threading.Thread(target=print, args=('t',)).start()", 0, b"t\n"),
    ],
)
def test_ways_to_end(bench: Bench, how: str, code: int, text: bytes) -> None:
    log = bench.job(how).run(code)
    assert log.text() == text
    assert "error" not in log.objects()


def test_a_fork_in_the_body_has_no_results(bench: Bench) -> None:
    body = "import os\nif os.fork() == 0:\n    1/0\nos.wait()[1] >> 8"
    log = bench.job(body).run(0)
    assert value_of(log) == {"text/plain": "1"}
    assert log.words.count("object") == 1
    assert log.text().endswith(b"ZeroDivisionError: division by zero\n")


def test_exceptions_of_many_kinds(bench: Bench) -> None:
    body = """
class Bad(Exception):
    def __init__(self, a, b): super().__init__(a)
    def __str__(self): raise ValueError("no text")
def deep(n): return deep(n + 1)
try:
    try:
        deep(0)
    except RecursionError as e:
        raise Bad(1, 2) from e
except Bad as e:
    error = OSError(2, "gone")
    error.add_note("a note")
    raise error from e
"""
    error = error_of(bench.job(body).run(1))
    assert error["type"] == "FileNotFoundError"
    assert error["notes"] == ["a note"]
    assert [(c["type"], c["link"]) for c in error["chain"]] == [("Bad", "cause"), ("RecursionError", "cause")]
    assert len(error["chain"][1]["frames"]) == 100
    import base64

    back = pickle.loads(base64.b64decode(error["pickle"]))
    assert isinstance(back, FileNotFoundError)
    assert back.errno == 2


def test_an_exception_that_cannot_travel_is_still_told(bench: Bench) -> None:
    error = error_of(bench.job("import threading\nclass E(Exception): pass\nraise E(threading.Lock())").run(1))
    assert error["pickle"] is None
    assert error["type"] == "E"
    assert error["module"] == "__main__"


def test_an_interrupt(bench: Bench) -> None:
    error = error_of(bench.job("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)").run(130))
    assert error["type"] == "KeyboardInterrupt"


def test_an_input_that_cannot_be_loaded_says_which(bench: Bench) -> None:
    bench.job("print(1)", inputs={"frame": b"\x80\x04cno_such_module\nThing\n."})
    log = bench.run(1)
    assert "the input 'frame' cannot be loaded in this image" in error_of(log)["message"]
    assert b"runner.py" not in b"".join(log.payloads("!"))
    assert log.text() == b""


def test_outputs_that_do_not_fit_or_cannot_be_pickled_do_not_stop_the_rest(bench: Bench) -> None:
    body = """
import os, threading
big, lock, small = os.urandom(300_000), threading.Lock(), "s" * 1000
zeros = bytes(50_000_000)
class Evil:
    def __reduce__(self): raise RuntimeError("not me")
evil = Evil()
"""
    log = bench.job(body, outputs=["big", "lock", "evil", "zeros", "small"], objects_limit_bytes=100_000).run(0)
    assert set(log.objects()) == {"var:zeros", "var:small"}
    reasons = {line["name"]: line["reason"] for line in log.house("skip")}
    assert "100,000 bytes" in reasons["var:big"]
    assert "not me" in reasons["var:evil"]
    assert "lock" in reasons["var:lock"]


def test_without_cloudpickle_plain_pickle_serves(bench: Bench) -> None:
    bench.python = str(Path.home() / ".pyenv/versions/3.11.7/bin/python3")
    if not Path(bench.python).exists():
        pytest.skip("no bare Python 3.11 on this machine")
    log = bench.job("x = {'a': (1, 2)}; e = lambda: 1", outputs=["x", "e"]).run(0)
    assert pickle.loads(log.objects()["var:x"]) == {"a": (1, 2)}
    if "var:e" not in log.objects():
        assert log.house("skip")[0]["name"] == "var:e"


RICH = """
class Rich:
    def __repr__(self): return "Rich()"
    def _repr_html_(self): return "<b>hunter22</b>"
    def _repr_png_(self): return b"\\x89PNG"
    def _repr_svg_(self): return None
    def _repr_latex_(self): raise ValueError("no latex")
    def _repr_json_(self): return {"a": ["hunter22", 1]}, {"meta": 1}
    def _repr_markdown_(self): return "m" * 5000
    def _repr_mimebundle_(self, include=None, exclude=None): return {"application/x": "y"}
Rich()
"""


def test_rich_values(bench: Bench) -> None:
    bench.env["KEY"] = "hunter22"
    log = bench.job(RICH, mask=["KEY"], display_limit_bytes=3000).run(0)
    assert value_of(log) == {
        "text/plain": "Rich()", "text/html": "<b>******</b>", "image/png": "iVBORw==",
        "application/json": {"a": ["******", 1]}, "application/x": "y",
    }  # fmt: skip
    assert {line["name"] for line in log.house("skip")} == {"value:text/latex", "value:text/markdown"}
    assert log.house("object")[0]["type"] == "Rich"


def test_values_that_behave_badly_do_not_make_a_good_run_fail(bench: Bench) -> None:
    body = """
class Odd:
    def _repr_json_(self): return {"t": {1, 2}, "d": object}
    def _repr_html_(self): return "\\ud800"
    def _repr_mimebundle_(self, **k): a = []; a.append(a); return {"x/y": a}
    def __getattr__(self, name): return lambda *a: 1/0
Odd()
"""
    log = bench.job(body).run(0)
    assert set(value_of(log)) == {"text/plain", "text/html", "application/json"}
    assert log.house("skip")[0]["name"] == "value:_repr_mimebundle_"


def test_an_exception_that_behaves_badly_is_told_as_python_tells_it(bench: Bench) -> None:
    log = bench.job("class E(Exception):\n    __notes__ = 5\nraise E('bad')").run(1)
    assert b"E: bad" in log.text("|!")


def test_a_value_whose_text_fails_or_is_too_long(bench: Bench) -> None:
    log = bench.job("class X:\n    def __repr__(self): raise KeyError('r')\nX()").run(0)
    assert "KeyError" in log.house("skip")[0]["reason"]
    log = bench_again(bench).job("'x' * 400_000").run(0)
    assert len(value_of(log)["text/plain"]) < 3000


def bench_again(bench: Bench) -> Bench:
    """Empty the state folder."""
    for path in bench.state.iterdir():
        if path.is_file():
            path.unlink()
    return bench


def test_a_data_frame_and_figures(bench: Bench) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    bench.env["MPLCONFIGDIR"] = str(bench.folder)
    bench.python = sys.executable
    body = """
import pandas as pd, matplotlib.pyplot as plt
for n in range(2):
    plt.figure(); plt.plot([1, 2, n])
plt.show()
df = pd.DataFrame({"a": [1, 2]})
df
"""
    log = bench.job(body, outputs=["df"]).run(0)
    assert log.text() == b""
    assert "<table" in value_of(log)["text/html"]
    objects = log.objects()
    assert [name for name in objects if name.startswith("figure-")] == ["figure-0", "figure-1"]
    assert objects["figure-0"].startswith(b"\x89PNG\r\n")
    assert list(pickle.loads(objects["var:df"])["a"]) == [1, 2]
    assert {line["name"]: line["kind"] for line in log.house("object")}["figure-1"] == "png"


def test_figures_of_a_failed_run_come_home(bench: Bench) -> None:
    pytest.importorskip("matplotlib")
    bench.env["MPLCONFIGDIR"] = str(bench.folder)
    bench.python = sys.executable
    log = bench.job("import matplotlib.pyplot as plt\nplt.plot([1])\n1/0").run(1)
    assert set(log.objects()) == {"error", "figure-0"}


def test_paths_and_progress_of_a_python_body(bench: Bench) -> None:
    pytest.importorskip("tqdm")
    bench.python = sys.executable
    body = """
import pathlib, tqdm
for i in tqdm.tqdm(range(300), mininterval=0): pass
pathlib.Path("r").mkdir(); pathlib.Path("r/x").write_text("1")
"""
    log = bench.job(body, paths=["r"]).run(0)
    assert re.fullmatch(rb"100%\|.*\| 300/300 \[.*\]\n", log.text(), re.DOTALL)
    with tarfile.open(fileobj=io.BytesIO(log.objects()["path:r"])) as tar:
        assert tar.getnames() == ["r", "r/x"]


def test_a_crash_in_native_code_says_where(bench: Bench) -> None:
    log = bench.job("import ctypes\nctypes.string_at(0)").run(139)
    assert log.end["outcome"] == "signal"
    assert b'File "<cell>", line 2' in log.text()


def test_an_older_python_is_passed_over(bench: Bench) -> None:
    fake = bench.folder / "bin"
    fake.mkdir()
    (fake / "python3").write_text("#!/bin/sh\nexit 1\n")
    (fake / "python3").chmod(0o755)
    (fake / "python").symlink_to(sys.executable)
    bench.env["PATH"] = f"{fake}:/usr/bin:/bin"
    assert bench.job("import sys; sys.version_info[:2]").run(0).house("start")[0]["python"]


def test_modules_in_pythonpath_shadow_nothing_of_the_runner(bench: Bench) -> None:
    (bench.work / "selectors.py").write_text("raise SystemExit('shadowed')")
    bench.env["PYTHONPATH"] = str(bench.work)
    assert bench.sh("echo fine").run(0).text() == b"fine\n"


def test_modules_of_the_working_folder_can_be_imported(bench: Bench) -> None:
    (bench.work / "helper.py").write_text("answer = 42")
    assert value_of(bench.job("import helper; helper.answer").run(0)) == {"text/plain": "42"}
