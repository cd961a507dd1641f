"""The notebooks as people run them: through nbclient, as an unprivileged user, under nbval, with the local ACI killed in mid-run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from persons import Home, Person

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parents[1] / "notebooks"


def streamed(cell: nbformat.NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def test_an_unprivileged_person_runs_a_notebook_while_the_local_aci_is_killed(person: Person) -> None:
    cells = [
        "%load_ext aci_notebook",
        "items = [1, 2, 3]",
        "%%aci -i items -o total\nimport time\nfor number in range(60):\n"
        "    print('line', number)\n    time.sleep(0.05)\ntotal = sum(items)\ntotal * 7",
        "print(total)",
        "%%aci\nprint('after')",
    ]
    notebook = new_notebook(cells=[new_code_cell(text) for text in cells])
    source, target = person.folder / "killed.ipynb", person.folder / "killed-out.ipynb"
    nbformat.write(notebook, source)
    play = person.folder / "play.py"
    play.write_bytes((HERE / "play.py").read_bytes())
    done = person.run(str(play), str(source), str(target), "--kill-local-aci-after", "line 20")
    assert done.returncode == 0, done.stderr[-2000:]
    played = nbformat.read(target, as_version=4)
    assert streamed(played.cells[2]) == "".join(f"line {number}\n" for number in range(60))
    assert any(output.get("data", {}).get("text/plain") == "42" for output in played.cells[2].outputs)
    assert streamed(played.cells[3]) == "6\n"
    assert streamed(played.cells[4]) == "after\n"
    home = Home(person.folder / "home")
    before, after = json.loads(target.with_suffix(".counts.json").read_text()), home.settled()
    assert home.groups_alive() == 0
    assert (before["created"], before["deleted"]) == (1, 0)
    assert (after["created"], after["deleted"]) == (2, 2)  # the counts survive the kill


@pytest.mark.timeout(300)
def test_the_first_notebook_passes_nbval_and_leaves_no_group(shared_home: Home) -> None:
    """nbval kills its kernel the moment the last cell is done; what the cells began must be over all the same."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:randomly", "-p", "no:cacheprovider"]
    command += ["--nbval-lax", "--nbval-current-env"]
    command += ["--nbval-sanitize-with", str(HERE / "sanitize.cfg"), str(NOTEBOOKS / "01-first-run.ipynb"), "--rootdir", str(NOTEBOOKS)]
    environ = {**os.environ, "ACI_NOTEBOOK_HOME": str(shared_home.path)}
    done = subprocess.run(command, env=environ, cwd=NOTEBOOKS, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    stats = shared_home.settled()
    assert stats["created"] == stats["deleted"] > 0
    assert shared_home.groups_alive() == 0


def test_a_failing_cell_fails_the_notebook(shared_home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    monkeypatch.setenv("ACI_NOTEBOOK_HOME", str(shared_home.path))
    cells = ["%load_ext aci_notebook", "%%aci\nraise KeyError('gone')", "print('never')"]
    notebook = new_notebook(cells=[new_code_cell(text) for text in cells])
    with pytest.raises(CellExecutionError, match="KeyError"):
        NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    assert not notebook.cells[2].get("outputs")
