"""The notebooks on the launcher and the history: they run from top to bottom, and what is saved in them is a page to read."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from persons import REPOSITORY, Home

LAUNCHER, HISTORY = (REPOSITORY / "notebooks" / name for name in ("05-launcher.ipynb", "06-history.ipynb"))


def played(path: Path, home: Home, monkeypatch: pytest.MonkeyPatch, folder: Path) -> nbformat.NotebookNode:
    monkeypatch.setenv("ACI_NOTEBOOK_HOME", str(home.path))
    monkeypatch.setenv("IPYTHONDIR", str(folder))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=90, kernel_name="python3", coalesce_streams=True).execute()
    return notebook


def said(notebook: nbformat.NotebookNode) -> str:
    """Everything that is shown as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def test_the_form_is_filled_in_and_runs(shared_home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = said(played(LAUNCHER, shared_home, monkeypatch, tmp_path))
    assert "%%aci --input readings,limit --output warm" in text
    assert "(40, 2)" in text
    stats = shared_home.settled()
    assert stats["created"] == stats["deleted"]


def test_the_history_holds_what_ran(shared_home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = said(played(HISTORY, shared_home, monkeypatch, tmp_path))
    assert "datetime64[us, UTC]" in text
    assert "✗ failed (3)" in text
    assert "on Azure < $0.0001" in text
    assert text.endswith("step 0\nstep 1\nstep 2\n")


@pytest.mark.parametrize("path", [LAUNCHER, HISTORY], ids=lambda path: path.stem)
def test_the_saved_outputs_are_there_and_name_no_machine(path: Path) -> None:
    saved = path.read_text(encoding="utf-8")
    assert len(said(nbformat.read(path, as_version=4))) > 200
    assert not [place for place in ("/tmp/", "/root/", "site-packages", "/work/", str(Path.home())) if place in saved]
