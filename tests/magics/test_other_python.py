"""A container with another minor version of Python: data passes both ways, code is refused in words, and nobody crashes.

The local ACI is started with the other interpreter, so its `python` images have that version.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shells import Run, close_sessions, end_server, settle

from aci_notebook import localserver
from aci_notebook.errors import OptionError, OutputMissing, RunFailed

REPOSITORY = Path(__file__).parents[2]
HERE = sys.version_info[:2]


def other_python() -> tuple[str, str] | None:
    """(version, interpreter) of another minor version on this machine that can run the local ACI."""
    for minor in (12, 13, 11, 14):
        if (3, minor) == HERE:
            continue
        beside = sorted((Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python3"))
        for found in filter(None, [*map(str, beside), shutil.which(f"python3.{minor}")]):
            environ = {**os.environ, "PYTHONPATH": sysconfig.get_paths()["purelib"]}
            asked = subprocess.run([found, "-c", "import tornado.web, venv"], env=environ, capture_output=True, check=False)
            if asked.returncode == 0:
                return f"3.{minor}", found
    return None


@pytest.fixture(scope="module")
def elsewhere(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(its version, its home) of a local ACI of another Python."""
    found = other_python()
    if found is None:
        pytest.skip("there is no second Python (3.11 or newer) on this machine")
    version, interpreter = found
    folder = tmp_path_factory.mktemp("elsewhere")
    command = [interpreter, "-m", "aci_notebook.local", "--port", "0", "--runtime", "process", "--state-dir", str(folder / "local")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), sysconfig.get_paths()["purelib"]])}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stdout is not None
        assert "listening" in process.stdout.readline()
        assert localserver.running(folder) is not None
        yield version, folder
        end_server(folder)
        process.wait(20)


@pytest.fixture
def there(run: Run, elsewhere: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The version of the other Python; cells run there. The image's tag does not tell which it is."""
    version, folder = elsewhere
    monkeypatch.setenv("ACI_NOTEBOOK_HOME", str(folder))
    monkeypatch.setenv("ACI_NOTEBOOK_IMAGE", "python:3-slim")
    yield version
    settle()
    close_sessions()


def test_data_passes_both_ways(run: Run, shell: Any, there: str) -> None:
    import pandas as pd

    run("import pandas as pd\ngiven = {'text': 'wörld', 'set': {1, 2}}").check()
    run("frame = pd.DataFrame({'when': pd.date_range('2026-01-01', periods=2, tz='UTC'), 'kind': pd.Categorical(['a', 'b'])})").check()
    done = run("%%aci -i given,frame -o back,seen\nimport sys\nback, seen = (given, frame), sys.version_info[:2]\nprint('ran')").check()
    assert "ran" in done.stdout
    assert shell.user_ns["seen"] == tuple(map(int, there.split(".")))
    assert shell.user_ns["back"][0] == shell.user_ns["given"]
    pd.testing.assert_frame_equal(shell.user_ns["back"][1], shell.user_ns["frame"])


HAS_CODE = "def twice(x):\n    return [x for _ in range(2)]\nclass Point:\n    def __init__(self):\n        self.x = 1\npoint = Point()"


@pytest.mark.parametrize("name", ["twice", "point"])
def test_code_on_its_way_in_is_refused_before_it_is_loaded(run: Run, there: str, name: str) -> None:
    run(HAS_CODE).check()
    failed = run(f"%%aci -q -i {name}\nprint('reached')")
    assert isinstance(failed.error, RunFailed)
    text = str(failed.error)
    assert f"the input '{name}' cannot be loaded" in text
    assert f"code of Python {HERE[0]}.{HERE[1]} in it, and it would run in Python {there}" in text
    assert "define it inside the cell" in text
    assert "reached" not in failed.stdout


def test_code_whose_image_tells_its_version_is_refused_before_anything_is_sent(run: Run, there: str) -> None:
    run(HAS_CODE).check()
    failed = run(f"%%aci -q --image python:{there}-slim -i twice\n1").error
    assert isinstance(failed, OptionError)
    assert f"the image has Python {there}" in str(failed)


def test_code_on_its_way_home_is_named_and_leaves_the_data(run: Run, shell: Any, there: str) -> None:
    failed = run(f"%%aci -q -o twice,point,plain\n{HAS_CODE}\nplain = [point.x]")
    assert isinstance(failed.error, OutputMissing)
    text = str(failed.error)
    assert "twice" in text
    assert "point" in text
    assert f"code of Python {there} in it" in text
    assert shell.user_ns["plain"] == [1]
    assert "twice" not in shell.user_ns


def test_an_exception_of_a_class_of_the_cell_comes_home_in_words(run: Run, there: str) -> None:
    failed = run(
        "%%aci -q\nclass Odd(Exception):\n    def __init__(self, *all):\n        super().__init__(*(x for x in all))\nraise Odd('words')"
    )
    assert isinstance(failed.error, RunFailed)
    assert "Odd: words" in str(failed.error)
    assert failed.error.remote_type == "Odd"
    assert type(failed.error.__cause__).__name__ == "RemoteError"
