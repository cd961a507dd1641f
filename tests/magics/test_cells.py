"""A cell through a real shell and a real local ACI: output, value, figures, variables, failures."""

from __future__ import annotations

import base64
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shells import Run

import aci_notebook as aci
from aci_notebook.errors import OutputMissing, RunFailed, RunTimeout


def test_output_streams_and_the_group_is_gone(run: Run, server: Any) -> None:
    done = run("%%aci\nprint('hello')\nprint('wörld')").check()
    assert "hello\nwörld\n" in done.stdout
    assert "✓ done" in done.stdout
    assert aci.history(limit=1)["exit_code"][0] == 0
    deadline = time.monotonic() + 10
    while server.ask("/_aci/health")["groups_alive"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_last_expression_is_shown(run: Run) -> None:
    assert "\n42\n" in run("%%aci\nx = 6\nx * 7").check().stdout


def test_a_dataframe_and_a_figure_come_as_from_a_local_cell(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACI_NOTEBOOK_UI", "html")
    done = run("%%aci\nimport pandas as pd\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\npd.DataFrame({'a': [1, 2]})").check()
    bundles = [item.data for item in done.displays]
    assert any("<table" in bundle.get("text/html", "") and "<th>a</th>" in bundle["text/html"] for bundle in bundles)
    assert any("image/png" in bundle for bundle in bundles)


def test_an_exit_code_is_the_runs(run: Run) -> None:
    failed = run("%%aci\nimport sys\nsys.exit(7)")
    assert isinstance(failed.error, RunFailed)
    assert failed.error.exit_code == 7
    assert "exit code 7" in str(failed.error)


def test_a_remote_exception_has_the_cells_lines(run: Run) -> None:
    failed = run("%%aci --cpu 1\n#| memory: 1.5\ndef half(x):\n    return x / 0\n\nhalf(3)")
    assert isinstance(failed.error, RunFailed)
    assert isinstance(failed.error, ZeroDivisionError)
    assert isinstance(failed.error.__cause__, ZeroDivisionError)
    assert "line 5, in <module>" in failed.error.remote_traceback
    assert "line 3, in half" in failed.error.remote_traceback
    assert "return x / 0" in failed.error.remote_traceback
    shown = "\n".join(failed.error._render_traceback_())
    assert "aci_notebook" not in shown.replace("aci_notebook.errors", "")


def test_except_around_run_catches_the_remote_class(run: Run, shell: Any) -> None:
    with pytest.raises(ValueError, match="negative"):
        aci.run("raise ValueError('negative')", quiet=True)


def test_a_timeout_is_its_own_class(run: Run) -> None:
    failed = run("%%aci --timeout 1s\nimport time\ntime.sleep(60)")
    assert isinstance(failed.error, RunTimeout)
    assert "--timeout" in str(failed.error)


VALUES = """
import datetime, numpy as np, pandas as pd
given = {
    "text": "wörld", "bytes": b"\\x00\\xff", "tuple": (1, 2.5, None), "set": {1, 2},
    "date": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    "array": np.arange(6, dtype="int16").reshape(2, 3),
}
frame = pd.DataFrame(
    {
        "when": pd.date_range("2026-03-28", periods=3, tz="Europe/Berlin"),
        "kind": pd.Categorical(["a", "b", "a"], categories=["b", "a"], ordered=True),
        "count": pd.array([1, None, 3], dtype="Int8"),
        "share": np.array([0.5, 1.5, 2.5], dtype="float32"),
        "raw": [b"x", b"y", b"z"],
    },
    index=pd.MultiIndex.from_tuples([("x", 1), ("x", 2), ("y", 1)], names=["group", "n"]),
)
"""


def test_variables_go_and_come_with_types_and_dtypes(run: Run, shell: Any) -> None:
    import numpy as np
    import pandas as pd

    run(VALUES).check()
    done = run(
        "%%aci -i given,frame,n=len(frame) -o back,back_frame,n\nback, back_frame = given, frame\nprint(type(frame).__name__)"
    ).check()
    assert "DataFrame" in done.stdout
    assert re.search(r"sent along: given dict [\d.]+ \w+, frame pandas.DataFrame [\d.]+ \w+, n int 5 B", done.stdout)
    back, frame = shell.user_ns["back"], shell.user_ns["back_frame"]
    pd.testing.assert_frame_equal(frame, shell.user_ns["frame"])
    assert str(frame["when"].dt.tz) == "Europe/Berlin"
    assert list(frame["kind"].cat.categories) == ["b", "a"]
    np.testing.assert_array_equal(back["array"], shell.user_ns["given"]["array"])
    assert back["array"].dtype == "int16"
    assert {key: value for key, value in back.items() if key != "array"} == {
        key: value for key, value in shell.user_ns["given"].items() if key != "array"
    }
    assert shell.user_ns["n"] == 3


def test_functions_and_classes_of_the_notebook_travel(run: Run, shell: Any) -> None:
    run(
        "def double(x):\n    return x * factor\nfactor = 2\nclass Point:\n    def __init__(self, x):\n        self.x = x\np = Point(4)"
    ).check()
    run("%%aci -i double,p,Point -o found,made\nfound = double(p.x)\nmade = Point(9)").check()
    assert shell.user_ns["found"] == 8
    assert shell.user_ns["made"].x == 9


def test_what_is_known_by_its_name_in_the_notebook_travels_whole(run: Run) -> None:
    run(
        "from functools import lru_cache\nfrom typing import NewType\nUser = NewType('User', int)\n"
        "@lru_cache(maxsize=50)\ndef fib(n: User): return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
        "def uses(n): return fib(n), fib.cache_parameters()['maxsize'], User(n)"
    ).check()
    run("%%aci -q -i fib,uses,User -o found\nfound = uses(30), fib(30), User(2), fib.cache_info().hits == 28").check()
    assert run("found").value == ((832040, 50, 30), 832040, 2, True)


def test_outputs_are_not_set_by_a_failed_run(run: Run, shell: Any) -> None:
    run("score = 'before'").check()
    assert run("%%aci -o score\nscore = 1\nraise RuntimeError('late')").error is not None
    assert shell.user_ns["score"] == "before"


def test_an_output_that_cannot_be_read_here_leaves_the_others(run: Run, shell: Any) -> None:
    failed = run(
        "%%aci -q -o made,kept\nimport sys, types\n"
        "there = sys.modules['only_there'] = types.ModuleType('only_there')\n"
        "exec('class Made: pass', there.__dict__)\nthere.Made.__module__ = 'only_there'\nmade, kept = there.Made(), 5"
    )
    assert isinstance(failed.error, OutputMissing)
    assert "made came home and cannot be read here: ModuleNotFoundError: No module named 'only_there'" in str(failed.error)
    assert isinstance(failed.error.__cause__, ModuleNotFoundError)
    assert len(failed.error._render_traceback_()) == 2
    assert shell.user_ns["kept"] == 5


def test_an_output_that_is_missing_leaves_the_others(run: Run, shell: Any) -> None:
    failed = run("%%aci -o first,second\nfirst = 1")
    assert isinstance(failed.error, OutputMissing)
    assert "second" in str(failed.error)
    assert shell.user_ns["first"] == 1


def test_an_output_too_large_leaves_the_others_and_says_so(run: Run, shell: Any) -> None:
    failed = run("%%aci -o big,small\nimport os\nbig = os.urandom(3_000_000)\nsmall = 5")
    assert isinstance(failed.error, OutputMissing)
    assert "big" in str(failed.error)
    assert shell.user_ns["small"] == 5


def test_an_input_too_large_is_refused_before_anything_is_sent(run: Run, creates: Callable[[], int]) -> None:
    run("import os\nbig = os.urandom(3_000_000)").check()
    before = creates()
    failed = run("%%aci -i big\nlen(big)")
    assert isinstance(failed.error, ValueError)
    assert "big alone has 3.00 MB" in str(failed.error)
    assert "2.5 MB" in str(failed.error)
    assert creates() == before


def test_files_and_folders_come_home(run: Run, tmp_path: Path) -> None:
    run("%%aci -o ./results/\nimport pathlib\npathlib.Path('results').mkdir()\npathlib.Path('results/a.txt').write_text('home')").check()
    assert (tmp_path / "results" / "a.txt").read_text() == "home"


def test_what_cannot_be_written_here_is_named_and_the_rest_is_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "results" / "taken").mkdir(parents=True)
    body = (
        "import os, pathlib\nhere = pathlib.Path('results')\nhere.mkdir()\n(here / 'taken').write_text('a folder here')\n"
        "(here / 'away').symlink_to('/etc/passwd')\n(here / 'next').symlink_to('z.txt')\n(here / 'z.txt').write_text('home')\nx = 1"
    )
    failed = run(f"%%aci -o ./results/,x\n{body}")
    assert type(failed.error).__name__ == "OutputMissing"
    assert "results/away: it is a link to /etc/passwd, out of the folder" in str(failed.error)
    assert "results/taken: Is a directory" in str(failed.error)
    assert (tmp_path / "results" / "next").read_text() == "home"
    assert not (tmp_path / "results" / "away").is_symlink()
    assert run("x").value == 1


def test_the_files_of_a_detached_run_are_saved_where_they_are_wanted(run: Run, tmp_path: Path) -> None:
    body = "import pathlib\npathlib.Path('one.txt').write_text('home')\n1"
    refused = str(run(f"%%aci -d -o ./one.txt\n{body}").error)
    assert "--output './one.txt': needs --as NAME" in refused
    assert "NAME.save()" in refused
    run(f"%%aci -d -o ./one.txt --as later\n{body}").check().value.wait(60)
    assert not (tmp_path / "one.txt").exists()
    run("later.save(); later.save('elsewhere')").check()
    assert (tmp_path / "one.txt").read_text() == (tmp_path / "elsewhere" / "one.txt").read_text() == "home"


def test_what_a_frame_needs_is_installed_at_the_kernels_version(run: Run) -> None:
    import pandas as pd

    run("import pandas as pd\nframe = pd.DataFrame({'a': [1]})").check()
    shown = run("%%aci -i frame --dry-run\nframe").check().stdout
    assert f"pandas=={pd.__version__}" in shown
    done = run("%%aci -i frame\nimport pandas\nprint('version', pandas.__version__)").check()
    assert f"version {pd.__version__}" in done.stdout


def test_third_party_imports_of_the_cell_are_installed_for_the_default_image(run: Run) -> None:
    import packaging

    shown = run("%%aci --dry-run\nimport packaging, json").check().stdout
    assert f"for the cell's imports, in this kernel's versions: packaging=={packaging.__version__}" in shown
    assert "json" not in shown.split("installed first")[1].split("\n")[0]
    assert "installed first" not in run("%%aci --image python:3-slim --dry-run\nimport packaging").check().stdout
    assert "yes" in run("%%aci\nimport packaging\nprint('yes')").check().stdout


def test_as_binds_the_run(run: Run, shell: Any) -> None:
    run("%%aci --as done\nprint(1)").check()
    assert shell.user_ns["done"].state == "succeeded"
    assert shell.user_ns["done"].log() == "1\n"


def test_detached_returns_at_once_and_brings_its_outputs(run: Run, shell: Any) -> None:
    body = "import pathlib, time\nwhile not pathlib.Path('enough').exists(): time.sleep(0.05)\nx = 3"
    handle = run(f"%%aci -d --name later --as later -o x\n{body}").check().value
    assert not handle.done()
    assert handle is shell.user_ns["later"]
    while "running" not in handle.state:
        time.sleep(0.02)
    run("%aci exec later -- touch enough").check()
    assert handle.result(timeout=60) == {"x": 3}


def test_kept_groups_stay(run: Run, resource: Callable[[str], Any]) -> None:
    run("%%aci --name stays --keep always\nprint(1)").check()
    assert resource("stays")["name"] == "stays"
    assert "is gone" in run("%aci rm stays").check().stdout


def test_keep_failed_keeps_only_what_failed(run: Run, resource: Callable[[str], Any]) -> None:
    assert run("%%aci --name broken --keep failed\n1/0").error is not None
    assert resource("broken")["name"] == "broken"
    run("%aci rm broken").check()


def test_other_languages(run: Run) -> None:
    assert "from sh 3\n" in run("%%aci --lang sh\necho from sh $((1+2))").check().stdout
    assert "shebang bash\n" in run("%%aci\n#!/bin/bash\n[[ -n $BASH_VERSION ]] && echo shebang bash").check().stdout


def test_exit_is_every_pythons(run: Run) -> None:
    assert run("'exit' in globals()").value  # IPython's own, which is not to be shipped
    assert run("%%aci -q\nexit()").error is None
    assert "exit code 2" in str(run("%%aci -q\nquit(2)").error)


def test_what_the_image_lacks_is_named(run: Run) -> None:
    assert "has no nosuchlang" in str(run("%%aci --lang nosuchlang\n1").error)
    failed = run("%aci run --image alpine -- nosuchprogram --flag").error
    assert "the image alpine has no program nosuchprogram" in str(failed)
    assert "--lang" not in str(failed)


def test_a_command_without_a_cell(run: Run) -> None:
    assert "5 six\n" in run("%aci run --image alpine -e N=5 -- sh -c 'echo $N six'").check().stdout


def test_pip_failures_say_pips_words(run: Run) -> None:
    failed = run("%%aci --pip ./no-such-folder\nprint(1)")
    assert type(failed.error).__name__ == "InstallFailed"
    assert "no-such-folder" in str(failed.error)
    failed = run("%%aci --pip '-i http://127.0.0.1:9/simple --retries 0 six==0' -q\nimport six")
    said = str(failed.error).splitlines()
    assert said[0] == f"pip could not install what the cell asked for (run {failed.error.group_name}):"
    assert "could not find a version" in said[-3].lower()  # pip's words, and not the last of them alone
    assert said[-2] == "  ERROR: No matching distribution found for six==0"
    assert "--pip" in said[-1]


def test_retries_run_a_failed_program_again(run: Run) -> None:
    code = (
        "%%aci --retries 1\nimport pathlib\nmark = pathlib.Path('mark')\nif not mark.exists():\n    mark.touch()\n"
        "    raise SystemExit(3)\nprint('second')"
    )
    assert "second" in run(code).check().stdout


def test_many_runs_at_once(run: Run, shell: Any) -> None:
    runs = [aci.submit(f"print({n} * {n})") for n in range(4)]
    assert [one.wait(60).log() for one in runs] == [f"{n * n}\n" for n in range(4)]


def test_python_of_the_container_is_the_kernels_minor(run: Run) -> None:
    assert f"({sys.version_info[0]}, {sys.version_info[1]})" in run("%%aci\nimport sys\nprint(sys.version_info[:2])").check().stdout


BARE = """%%aci -q --image python:3-slim
import importlib.util
print([name for name in ("numpy", "pandas", "matplotlib", "cloudpickle", "IPython", "aci_notebook") if importlib.util.find_spec(name)])
"""


def test_a_dataframe_and_a_figure_out_of_a_bare_image(run: Run, shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image has nothing but Python; --pip brings two packages for this run, and the next one finds it bare again."""
    import pandas as pd

    assert run(BARE).check().stdout == "[]\n"
    monkeypatch.setenv("ACI_NOTEBOOK_UI", "html")
    cell = '--image python:3-slim --pip "pandas matplotlib" -o frame\nimport pandas as pd, matplotlib.pyplot as plt\nplt.plot([1, 2])\n'
    done = run(f"%%aci {cell}frame = pd.DataFrame({{'a': [1, 2]}}, index=['x', 'y'])\nframe").check()
    bundles = [item.data for item in done.displays]
    (table,) = [bundle for bundle in bundles if "<table" in bundle.get("text/html", "") and "<th>a</th>" in bundle["text/html"]]
    assert table["text/plain"].split() == ["a", "x", "1", "y", "2"]
    (figure,) = [bundle for bundle in bundles if "image/png" in bundle]
    assert base64.b64decode(figure["image/png"]).startswith(b"\x89PNG")
    pd.testing.assert_frame_equal(shell.user_ns["frame"], pd.DataFrame({"a": [1, 2]}, index=["x", "y"]))
    monkeypatch.setenv("ACI_NOTEBOOK_UI", "text")
    assert run(BARE).check().stdout == "[]\n"


def test_functions_and_classes_need_nothing_in_a_bare_image(run: Run, shell: Any) -> None:
    run("class Point:\n    def __init__(self, x):\n        self.x = x\n    def twice(self):\n        return Point(self.x * 2)").check()
    run("def far(p):\n    return p.twice()\np = Point(4)").check()
    run("%%aci -q --image python:3-slim -i far,p -o q,again\nq = far(p)\nagain = lambda x: x + q.x").check()
    assert type(shell.user_ns["q"]) is shell.user_ns["Point"]
    assert shell.user_ns["q"].x == 8
    assert shell.user_ns["again"](1) == 9


def test_a_quiet_cell_says_why_its_value_is_not_shown(run: Run) -> None:
    body = "class Wordless:\n    def __repr__(self):\n        raise ValueError('no words')\nWordless()"
    said = run(f"%%aci -q\n{body}").check().stdout
    assert said == "value stayed in the container: its text could not be made: ValueError: no words\n"
