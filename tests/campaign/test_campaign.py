"""The campaign as tests: a small slice always, the whole matrix with `-m campaign`, and mutations under which it must turn red."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ground import FAULTS
from matrix import Cell, run_campaign, table
from scenarios import SCENARIOS

from aci_notebook import follow, lifecycle
from aci_notebook.aci import AciBackend
from aci_notebook.logs import LogCursor

SLICE = {
    "burst of 5,000 lines": ("polling only", "500"),
    "300 identical lines": ("dropped after", "window of 20 KB"),
    "invalid UTF-8": ("null content",),
    "exit code 3": ("409 in transition",),
    "platform restart": ("503",),
    "somebody deletes the group": ("polling only",),
    "killed for memory": ("404",),
}


def play(names: dict[str, tuple[str, ...]], folder: Path) -> tuple[list[Cell], list[str]]:
    cells, left = [], []
    for fault in FAULTS:
        scenarios = [item for item in SCENARIOS if fault.name in names.get(item.name, ())]
        if scenarios:
            done, remains = run_campaign(scenarios, [fault], folder, at_once=4)
            cells += done
            left += remains
    return cells, left


@pytest.mark.timeout(180)
def test_a_slice_of_the_campaign(tmp_path: Path) -> None:
    cells, left = play(SLICE, tmp_path)
    assert len(cells) == sum(len(faults) for faults in SLICE.values())
    assert all(cell.right for cell in cells), table(cells, left)
    assert not left


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_the_whole_campaign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells, left = run_campaign(SCENARIOS, FAULTS, tmp_path)
    with capsys.disabled():
        print("\n" + table(cells, left))
    assert all(cell.right for cell in cells)
    assert not left


# -- mutations ------------------------------------------------------------------------------------------------------


def _cursor_off_by_one(patch: pytest.MonkeyPatch) -> None:
    read = LogCursor.read

    def again(self: LogCursor, content: str | None) -> list[Any]:
        if content and self.next_number > 3:
            self.next_number -= 1
        return read(self, content)

    patch.setattr(LogCursor, "read", again)


def _cursor_skips(patch: pytest.MonkeyPatch) -> None:
    read = LogCursor.read
    patch.setattr(LogCursor, "read", lambda self, content: read(self, content)[:-1] if self.closing is None else read(self, content))


def _no_get_after_a_failed_put(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lifecycle, "_look", lambda stage, deadline: None)


def _no_delete(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AciBackend, "delete", lambda self, name, on_sent=None: on_sent() if on_sent else None)
    patch.setattr("aci_notebook.removal.VERIFY_FOR_S", 0.5)


def _one_404_is_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(follow, "MISSING_LOOKS", 1)
    patch.setattr(follow, "MISSING_AFTER_CREATE_S", 0.0)


MUTATIONS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str, str]] = {
    "cursor one line back": (_cursor_off_by_one, "steady, 200 lines in 4 s", "polling only"),
    "cursor one item short": (_cursor_skips, "steady, 200 lines in 4 s", "polling only"),
    "no GET after a failed PUT": (_no_get_after_a_failed_put, "over in 50 ms", "PUT answered by nobody"),
    "no DELETE": (_no_delete, "over in 50 ms", "none"),
    "one 404 is believed": (_one_404_is_believed, "over in 50 ms", "404"),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_table_turns_red(mutation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate, scenario, fault = MUTATIONS[mutation]
    with monkeypatch.context() as patch:
        mutate(patch)
        cells, left = play({scenario: (fault,)}, tmp_path)
    assert left or not all(cell.right for cell in cells), table(cells, left)
    assert "WRONG" in table(cells, left)
