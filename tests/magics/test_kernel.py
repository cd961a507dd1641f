"""In real kernels: completion through complete_request, help through inspect_request, and notebooks that fail where they should."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from shells import end_server

from aci_notebook.completion import _files

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="module")
def kernel(home: Path) -> Iterator[Any]:
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        client.execute_interactive("%load_ext aci_notebook\nframe = [1]\nframing = 2", timeout=60)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.context.destroy()


def complete(kernel: Any, text: str) -> list[str]:
    answer = kernel.complete(text, len(text), reply=True, timeout=20)
    return [match.strip() for match in answer["content"]["matches"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%%aci --me", ["--memory"]),
        ("%%aci --keep ", ["never", "failed", "always"]),
        ("%%aci --keep=f", ["failed"]),
        ("%%aci -i fra", ["frame", "framing"]),
        ("%%aci -i frame,frami", ["framing"]),
        ("%%aci --cpu 2\n#| mem", ["memory:"]),
        ("%aci lo", ["logs", "local"]),
        ("  x = %aci hist", ["history"]),
        ("%aci logs --fo", ["--follow"]),
        ("%aci profile s", ["save"]),
        ("%aci logs la", ["last"]),
        ("%aci history --outcome su", ["succeeded"]),
        ("%%aci -v em", ["empty:"]),
    ],
)
def test_completion(kernel: Any, text: str, expected: list[str]) -> None:
    assert complete(kernel, text) == expected


def test_completion_of_images_and_locations(kernel: Any) -> None:
    assert f"python:{sys.version_info[0]}.{sys.version_info[1]}-slim" in complete(kernel, "%%aci --image py")
    assert "eastus" in complete(kernel, "%%aci --location ea")


@pytest.mark.parametrize("option", ["--spec ", "--env-file=", "-r ", "-v "])
def test_completion_of_files_in_any_folder(kernel: Any, tmp_path: Path, option: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "group.yaml").touch()
    (tmp_path / "data" / ".hidden").touch()
    assert complete(kernel, f"%%aci {option}{tmp_path}/da") == [f"{tmp_path}/data/"]
    assert complete(kernel, f"%%aci {option}{tmp_path}/data/") == [f"{tmp_path}/data/group.yaml"]
    assert complete(kernel, f"%%aci {option}{tmp_path}/data/.") == [f"{tmp_path}/data/.hidden"]


@pytest.mark.parametrize("folder", ["/nowhere/at/all/", "~nobody-of-that-name/"])
def test_a_folder_that_is_not_there_completes_to_nothing(folder: str) -> None:
    assert _files(folder) == []


def test_completion_of_variables_that_hold_a_run(kernel: Any) -> None:
    kernel.execute_interactive("import aci_notebook\nheld = aci_notebook.submit('1').wait(60)\nhelium = 2", timeout=60)
    assert complete(kernel, "%aci logs hel") == ["held"]


def test_completion_of_the_package(kernel: Any) -> None:
    kernel.execute_interactive("import aci_notebook as tool", timeout=60)
    names = ["history", "launcher", "load_ipython_extension", "remote", "run", "submit", "unload_ipython_extension"]
    assert complete(kernel, "tool.") == names


def test_completion_of_runs_of_this_folder(compiled: dict[str, str]) -> None:
    manager, client = start_new_kernel(kernel_name="python3", env=compiled)
    try:
        client.execute_interactive("%load_ext aci_notebook", timeout=60)
        assert complete(client, "%aci logs on") == ["once"]
        assert complete(client, "%%aci --image al") == ["alpine"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.context.destroy()


def test_launch_is_a_form_and_its_cell_can_be_had(kernel: Any) -> None:
    shown: list[Any] = []
    reply = kernel.execute_interactive("form = %aci launch\nform", timeout=60, output_hook=shown.append)
    assert reply["content"]["status"] == "ok", reply["content"]
    data = [item["content"]["data"] for item in shown if item["msg_type"] in {"display_data", "execute_result"}]
    assert any("application/vnd.jupyter.widget-view+json" in item for item in data), shown
    reply = kernel.execute_interactive('form.code.value = "print(5)"\n%aci launch --last', timeout=60)
    assert [item["text"] for item in reply["content"]["payload"] if item["source"] == "set_next_input"] == ["%%aci\nprint(5)"]
    kernel.execute_interactive("form.close()", timeout=60)


def test_a_run_is_awaited_in_a_cell(kernel: Any) -> None:
    shown: list[Any] = []
    cell = "import aci_notebook as aci\nruns = [aci.submit(f'print({n})') for n in (1, 2)]\nprint([(await run).log() for run in runs])"
    reply = kernel.execute_interactive(cell, timeout=60, output_hook=shown.append)
    assert reply["content"]["status"] == "ok", reply["content"]
    assert "".join(item["content"]["text"] for item in shown if item["msg_type"] == "stream") == "['1\\n', '2\\n']\n"


def test_other_lines_are_left_alone(kernel: Any) -> None:
    assert "frame" in complete(kernel, "print(fra")


COMPLETED = ["%%aci --me", "%%aci --image ", "%aci logs ", "%%aci -i fr", "%%aci --location ea", "%aci lo"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a kernel that finds our modules compiled, as an installed package has them."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ |= {"PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("compiled")), "ACI_NOTEBOOK_HOME": str(tmp_path_factory.mktemp("fresh"))}
    everything = "import aci_notebook.verbs, aci_notebook.completion, aci_notebook.extension, aci_notebook.pricing, aci_notebook.history"
    made = (
        "from aci_notebook.session import connect, house\n"
        "here = connect('local')\n"
        "record, _ = here.prepare(here.spec({'image': 'alpine', 'name': 'once'}, command=['true']))\n"
        "house().store.save(record)"
    )
    subprocess.run([sys.executable, "-c", f"{everything}\n{made}"], env=environ, check=True, timeout=60)
    return environ


HEAVY = ("azure", "pandas", "numpy", "ipywidgets", "tornado.web", "requests", "cloudpickle", "aci_notebook.session", "aci_notebook.aci")


@pytest.mark.parametrize("first", COMPLETED)
def test_completion_loads_nothing_heavy_and_asks_nobody(compiled: dict[str, str], first: str) -> None:
    """Not the first time in a kernel, and not later; no server is started for it. How long it takes: tests/benchmarks/screen.py."""
    manager, client = start_new_kernel(kernel_name="python3", env=compiled)
    try:
        client.execute_interactive("%load_ext aci_notebook\nframe = 1\nimport sys\nbefore = set(sys.modules)", timeout=60)
        for text in (first, *COMPLETED[:4]):
            assert complete(client, text)
        shown: list[Any] = []
        reply = client.execute_interactive(f"print(sorted((set(sys.modules) - before) & set({HEAVY})))", output_hook=shown.append)
        assert reply["content"]["status"] == "ok", reply["content"]
        assert "".join(item["content"]["text"] for item in shown if item["msg_type"] == "stream") == "[]\n"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.context.destroy()
    assert not (Path(compiled["ACI_NOTEBOOK_HOME"]) / "local").exists()


def test_a_question_mark_shows_the_options(kernel: Any) -> None:
    for cell, expected in (("%%aci?", "--memory"), ("%aci?", "--memory"), ("import aci_notebook as aci\naci?", "%%aci --help")):
        reply = kernel.execute_interactive(cell, timeout=20)
        pages = [item["data"]["text/plain"] for item in reply["content"]["payload"] if item["source"] == "page"]
        assert len(pages) == 1, reply["content"]
        assert expected in pages[0]
        assert "hide the function" not in pages[0]
    kernel.execute_interactive("del aci", timeout=20)  # a variable of that name is what Shift-Tab would show
    answer = kernel.inspect("%%aci", 5, reply=True, timeout=20)
    assert "--memory" in answer["content"]["data"]["text/plain"]


def notebook(*cells: str) -> Any:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])


FAILING = ("%load_ext aci_notebook", "%%aci\nraise ValueError('wrong in there')", "print('not reached')")


def test_nbclient_stops_at_a_failed_cell(home: Path) -> None:
    made = notebook(*FAILING)
    with pytest.raises(CellExecutionError, match="wrong in there"):
        NotebookClient(made, timeout=60, kernel_name="python3").execute()
    error = made.cells[1].outputs[-1]
    assert error["output_type"] == "error"
    assert error["ename"] == "RunFailed"
    assert any("\x1b[" in line for line in error["traceback"]), "in the notebook's colours"
    assert made.cells[2].outputs == []


def test_papermill_and_nbval_fail_visibly(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "failing.ipynb"
    nbformat.write(notebook(*FAILING[:2]), path)
    environ = {**os.environ, "PYTHONWARNINGS": ""}
    ran = subprocess.run(
        [sys.executable, "-m", "papermill", path, tmp_path / "out.ipynb", "-k", "python3"],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
    )
    assert ran.returncode == 1
    assert "wrong in there" in ran.stderr + ran.stdout
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:randomly", "-c", os.devnull, "--rootdir", tmp_path, path],
        capture_output=True, text=True, env=environ, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stdout
    assert "wrong in there" in ran.stdout


@pytest.mark.parametrize("name", ["02-variables.ipynb", "03-settings-and-verbs.ipynb"])
def test_the_notebooks_run_from_top_to_bottom(home: Path, tmp_path: Path, name: str) -> None:
    made = nbformat.read(NOTEBOOKS / name, 4)
    assert all(cell.outputs or not cell.metadata.get("shows", True) for cell in made.cells if cell.cell_type == "code"), "outputs are saved"
    NotebookClient(made, timeout=110, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()


LEFT = """
import os, pathlib, threading
home = pathlib.Path(os.environ["ACI_NOTEBOOK_HOME"])
def left():
    threads = sorted(item.name for item in threading.enumerate() if item.name.startswith("aci-") and item.name != "aci-local-reaper")
    files = sorted(path for path in map(os.path.realpath, pathlib.Path("/proc/self/fd").iterdir()) if path.startswith(str(home)))
    ip = get_ipython()
    hooks = [str(call) for calls in ip.events.callbacks.values() for call in calls if "aci_notebook" in str(call)]
    matchers = [str(item) for item in ip.Completer.custom_matchers if "aci_notebook" in str(type(item))]
    transformers = [str(item) for item in ip.input_transformers_cleanup if "aci_notebook" in getattr(item, "__module__", "")]
    magics = [kind for kind in ("line", "cell") if "aci" in ip.magics_manager.magics[kind]]
    locks = [path.name for path in home.glob("kernels/*.lock")]
    return [threads, files, hooks, matchers, transformers, magics, locks]
"""


def test_unloading_leaves_nothing_in_a_kernel_that_was_used(tmp_path: Path) -> None:
    manager, client = start_new_kernel(kernel_name="python3", env={**os.environ, "ACI_NOTEBOOK_HOME": str(tmp_path)})

    def value(*cells: str) -> str:
        shown: list[Any] = []
        for cell in cells:
            shown.clear()
            reply = client.execute_interactive(cell, timeout=90, output_hook=shown.append)
            assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(item["content"]["text"] for item in shown if item["msg_type"] == "stream")

    try:
        value(LEFT, "%load_ext aci_notebook", "%%aci\n1", "%%aci -d --as later\n2", "later.wait_gone(30)", "form = %aci launch")
        assert any(eval(value("print(left())")))
        value("%unload_ext aci_notebook")
        value("for item in threading.enumerate():\n    item.name.startswith('aci-form') and item.join(20)")
        assert eval(value("print(left())")) == [[]] * 7
        body = "import pathlib, time\nprint('begun', flush=True)\n"
        body += "while not pathlib.Path('enough').exists(): time.sleep(0.05)\nprint('to its end')"
        value("%load_ext aci_notebook", f"%%aci -d --name going --as later\n{body}", "%unload_ext aci_notebook")
        value("import time\nwhile 'begun' not in later.log(): time.sleep(0.05)")
        assert value("print(later.done())") == "False\n"
        value("%load_ext aci_notebook", "%aci exec going -- touch enough", "later.wait_gone(30)", "%unload_ext aci_notebook")
        assert value("print(later.log())") == "begun\nto its end\n\n"
        value("for item in threading.enumerate():\n    item.name.startswith(('aci-view', 'aci-run')) and item.join(20)")
        assert eval(value("print(left())")) == [[]] * 7
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.context.destroy()
        end_server(tmp_path)


def test_load_imports_nothing_heavy_and_unload_leaves_nothing(tmp_path: Path) -> None:
    code = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
state = lambda: (
    sorted(shell.magics_manager.magics["line"]), sorted(shell.magics_manager.magics["cell"]), sorted(shell.magics_manager.registry),
    len(shell.configurables), list(shell.input_transformers_cleanup), len(shell.Completer.custom_matchers),
    {name: list(calls) for name, calls in shell.events.callbacks.items()},
)
shell.run_line_magic("load_ext", "storemagic")
before, modules = state(), set(sys.modules)
shell.run_line_magic("load_ext", "aci_notebook")
heavy = {"azure", "pandas", "ipywidgets", "aiohttp", "sqlite3", "numpy", "tornado", "yaml", "cloudpickle", "requests"}
assert not heavy & {name.partition(".")[0] for name in set(sys.modules) - modules}, heavy & (set(sys.modules) - modules)
assert state() != before
shell.run_line_magic("load_ext", "aci_notebook")
shell.run_line_magic("unload_ext", "aci_notebook")
assert state() == before, (state(), before)
shell.run_line_magic("load_ext", "aci_notebook")
assert "aci" in shell.magics_manager.magics["cell"]
"""
    environ = {**os.environ, "ACI_NOTEBOOK_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True, timeout=60)


def test_a_wrong_setting_is_named_and_does_not_keep_the_magics_away(tmp_path: Path) -> None:
    code = """
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
shell = InteractiveShell(config=Config(AciMagics={"cpu": "lots", "memory_gb": 2}))
shell.run_line_magic("load_ext", "aci_notebook")
magics = shell.magics_manager.registry["AciMagics"]
assert (magics.cpu, magics.memory_gb) == (None, 2)
shell.run_line_magic("config", "AciMagics.cpu = 'more'")
shell.run_line_magic("reload_ext", "aci_notebook")
assert "aci" in shell.magics_manager.magics["cell"]
"""
    environ = {**os.environ, "ACI_NOTEBOOK_HOME": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", code], env=environ, check=True, timeout=60, capture_output=True, text=True).stderr
    assert "%config AciMagics.cpu = 'lots': must be a number of cores; it is not taken" in said
    assert "%config AciMagics.cpu = 'more': must be a number of cores; it is not taken" in said
