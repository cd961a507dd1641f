"""The table of a container's life, walked pair by pair, and the table of operations."""

from __future__ import annotations

import ast
import typing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aci_notebook.local import states
from aci_notebook.local.allowed import VERBS
from aci_notebook.local.group import Condition
from aci_notebook.local.states import (
    TRANSITIONS,
    BackedOff,
    Ended,
    IllegalStep,
    Life,
    Phase,
    PullBegan,
    PullBroke,
    PullEnded,
    Redeployed,
    Restarting,
    StartBroke,
    Started,
    Starting,
    StopRequested,
    group_state,
    step,
)
from aci_notebook.local.store import dump_life, load_life

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HAPPENINGS = [
    PullBegan(AT, "i"),
    PullEnded(AT, "i"),
    PullBroke(AT, "i", "why"),
    Starting("ref"),
    Started(AT, "ref"),
    StartBroke(AT, "main", "why", 128),
    Ended(AT, 1),
    BackedOff(AT),
    Restarting(AT),
    StopRequested(AT),
    Redeployed(AT, keeps_view=True),
]


def test_every_happening_is_tried() -> None:
    assert {type(happening) for happening in HAPPENINGS} == set(typing.get_args(states.Happening))


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("happening", HAPPENINGS, ids=lambda happening: type(happening).__name__)
def test_every_pair_is_in_the_table_or_refused(phase: Phase, happening: states.Happening) -> None:
    life = replace(Life(), phase=phase)
    expected = TRANSITIONS.get((phase, type(happening)))
    if expected is None:
        with pytest.raises(IllegalStep):
            step(life, happening)
    else:
        assert step(life, happening).phase is expected
    assert life == replace(Life(), phase=phase)


@given(st.lists(st.sampled_from(HAPPENINGS), max_size=25))
def test_any_walk_keeps_its_promises_and_survives_the_disk(walk: list[states.Happening]) -> None:
    life = Life()
    for happening in walk:
        if (life.phase, type(happening)) in TRANSITIONS:
            life = step(life, happening)
        assert load_life(dump_life(life)) == life
        if life.phase is Phase.RUNNING:
            assert life.current is not None
            assert (life.current.exit_code, life.current.finished_at) == (None, None)
        assert len({(event.name, event.message) for event in life.events}) == len(life.events)


def test_every_operation_has_an_answer_in_every_condition() -> None:
    verbs = {verb for verb, _ in VERBS}
    assert set(VERBS) == {(verb, condition) for verb in verbs for condition in Condition}


def finished(code: int) -> Life:
    life = Life()
    for happening in (PullBegan(AT, "i"), PullEnded(AT, "i"), Started(AT, "r"), Ended(AT, code)):
        life = step(life, happening)
    return life


@pytest.mark.parametrize(
    ("policy", "codes", "expected"),
    [
        ("Never", (0, 0), "Succeeded"),
        ("Never", (0, 1), "Failed"),
        ("OnFailure", (0, 0), "Succeeded"),
        ("OnFailure", (0, 1), "Running"),
        ("Always", (0, 0), "Running"),
    ],
)
def test_group_states(policy: str, codes: tuple[int, ...], expected: str) -> None:
    lives = [finished(code) for code in codes]
    assert group_state(policy, [], lives, stopped=False) == expected
    assert group_state(policy, [], lives, stopped=True) == "Stopped"
    assert group_state(policy, [], [*lives, Life()], stopped=False) == "Pending"


def test_the_house_is_a_stranger_to_ours() -> None:
    root = Path(states.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert not (node.module or "").startswith("aci_notebook"), path
            if isinstance(node, ast.ImportFrom) and node.level > len(path.relative_to(root).parts):
                raise AssertionError(f"{path} imports from outside")


def test_state_knows_no_clock_and_no_web() -> None:
    forbidden = {"asyncio", "time", "threading", "tornado", "os", "socket"}
    tree = ast.parse(Path(states.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not imported & forbidden
