"""The notebook that rehearses failures on the local ACI: played in a home of its own, and held to what its prose says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from persons import Home

HERE = Path(__file__).parent
NOTEBOOK = HERE.parents[1] / "notebooks" / "04-local-aci.ipynb"

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("rehearsal"))
    yield home
    home.end()


@pytest.fixture(scope="module")
def played(home: Home, tmp_path_factory: pytest.TempPathFactory) -> list[nbformat.NotebookNode]:
    """The code cells of the played notebook."""
    target = tmp_path_factory.mktemp("played") / "played.ipynb"
    done = subprocess.run(
        [sys.executable, str(HERE / "play.py"), str(NOTEBOOK), str(target)],
        env={**os.environ, "ACI_NOTEBOOK_HOME": str(home.path)},
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [cell for cell in nbformat.read(target, as_version=4).cells if cell.cell_type == "code"]


def streamed(cell: nbformat.NotebookNode) -> list[str]:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream").splitlines()


def shown(cell: nbformat.NotebookNode) -> str:
    return "\n".join(output["data"]["text/plain"] for output in cell.outputs if "data" in output)


def raised(cell: nbformat.NotebookNode) -> list[str]:
    return [output.ename for output in cell.outputs if output.output_type == "error"]


def cell_with(played: list[nbformat.NotebookNode], text: str) -> nbformat.NotebookNode:
    (found,) = [cell for cell in played if text in cell.source]
    return found


def test_a_throttled_service_costs_time_and_no_line(played: list[nbformat.NotebookNode]) -> None:
    cell = cell_with(played, 'print(f"reading ')
    assert streamed(cell) == [f"reading {number}" for number in range(12)]
    assert "done" in shown(cell)
    assert raised(cell) == []
    assert shown(cell_with(played, "%aci local fault clear")) == "{'faults': []}"


def test_a_lost_answer_makes_no_second_group(played: list[nbformat.NotebookNode]) -> None:
    assert streamed(cell_with(played, 'print("created once, run once")')) == ["created once, run once"]
    assert shown(cell_with(played, "- before")) == "1"


def test_a_quota_is_an_error_that_says_so(played: list[nbformat.NotebookNode]) -> None:
    cell = cell_with(played, 'print("never printed")')
    assert raised(cell) == ["QuotaError"]
    assert streamed(cell) == []
    assert "over quota" in shown(cell)
    assert "StandardCores" in shown(cell)


def test_an_evicted_program_is_not_run_again(played: list[nbformat.NotebookNode]) -> None:
    cell = cell_with(played, 'print(f"batch ')
    lines = streamed(cell)
    assert lines == [f"batch {number}" for number in range(len(lines))]
    assert 5 < len(lines) < 100
    assert raised(cell) == ["Evicted"]
    assert "restarted by the platform" in shown(cell)


def test_with_retries_it_is(played: list[nbformat.NotebookNode]) -> None:
    cell = cell_with(played, 'print("finished")')
    lines = streamed(cell)
    again = lines.index("chunk 0", 1)
    assert lines[:again] == [f"chunk {number}" for number in range(again)]
    assert lines[again:] == [*(f"chunk {number}" for number in range(15)), "finished"]
    assert raised(cell) == []
    assert "restarted by the platform 1 time" in shown(cell)


def test_out_of_memory_is_said_with_its_exit_code(played: list[nbformat.NotebookNode]) -> None:
    cell = cell_with(played, 'print(f"table ')
    lines = streamed(cell)
    assert lines == [f"table {number}" for number in range(len(lines))]
    assert len(lines) > 3
    assert raised(cell) == ["OutOfMemory"]
    assert "exit code 137" in shown(cell)


def test_no_group_is_left(played: list[nbformat.NotebookNode], home: Home) -> None:
    assert streamed(cell_with(played, "groups created")) == ["6 groups created, 6 deleted, 0 alive"]
    stats = home.settled()
    assert (stats["created"], stats["deleted"], home.groups_alive()) == (6, 6, 0)


def test_the_saved_outputs_name_no_machine() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert all(cell.outputs for cell in notebook.cells if cell.source.startswith("%%aci"))
    assert str(Path.home()) not in text
    assert not [place for place in ("/tmp/", "/root/", "site-packages", "/work/") if place in text]
