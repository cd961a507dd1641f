"""The equivalent cell: what the form writes, the line's own parser reads back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aci_notebook import line
from aci_notebook.errors import OptionError
from aci_notebook.fields import FIELDS
from aci_notebook.launcher.cell import cell_text, quoted, values_of, words_of
from aci_notebook.launcher.door import assigned_names
from aci_notebook.spec import Input, RunSpec, Secret, Volume

TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30)


def read(text: str) -> dict[str, Any]:
    first = text.split("\n", 1)[0].removeprefix("%%aci")
    return dict(line.parse(first, lambda expression: eval(expression, {})).values)


@given(TEXT, TEXT)
def test_any_text_comes_back_from_the_line(name: str, content: str) -> None:
    values = {"env": [f"A={content}", f"B={name}"], "image": name}
    assert read(cell_text(values, "pass")) == values


@given(TEXT)
def test_a_quoted_text_is_one_word(text: str) -> None:
    (word,) = line.split(f"--x {quoted(text)}")[1:]
    assert word.expanded(lambda expression: eval(expression, {}), "--x") == text


def test_the_cell_is_short_and_in_the_order_of_the_table() -> None:
    values = {"outputs": "score,./plots/", "spot": True, "cpu": 2.0, "env": {"A": "1"}, "inputs": ["a", "b=f(1, 2)"], "keep": None}
    assert cell_text(values, "x = 1\n") == "%%aci --cpu 2 --env A=1 --spot --input 'a,b=f(1, 2)' --output score,./plots/\nx = 1\n"


def test_a_value_that_looks_like_an_option_stays_a_value() -> None:
    assert read(cell_text({"requirements": "--pre numpy"}, "")) == {"requirements": ["--pre numpy"]}
    assert read(cell_text({"requirements": ["--pre"]}, "")) == {"requirements": ["--pre"]}


def test_every_option_with_a_control_can_be_written() -> None:
    sample = {"check": True, "number": 2.0, "rows": ["K=v w"], "secrets": ["K=file:/a b"], "names": "a,b", "text": "x y", "choice": "x"}
    for field in FIELDS:
        if field.control != "none":
            (word,) = words_of({field.name: sample[field.control]})
            assert word.split("=")[0].split()[0] == field.option


def test_a_spec_can_be_asked_for_again_and_keeps_its_secrets_to_itself() -> None:
    spec = RunSpec(
        "python:3.12",
        cpu=2.0,
        code="1",
        env={"A": "1"},
        secrets=(Secret("S", "env:S", "hidden-value"),),
        inputs=(Input("frame", b"..."),),
        outputs=("x",),
        output_paths=("./p/",),
        requirements=("numpy", "pandas<3"),
        timeout_s=60.0,
    )
    values = values_of(spec)
    assert values == {
        "image": "python:3.12",
        "cpu": 2.0,
        "env": {"A": "1"},
        "secrets": ["S=env:S"],
        "inputs": ["frame"],
        "outputs": ["x", "./p/"],
        "requirements": ["numpy", "pandas<3"],
        "timeout_s": 60.0,
    }
    assert "hidden-value" not in cell_text(values, "1")
    assert values_of(RunSpec("python:3.11-slim", code="1", retries=2, implied=("numpy==2.0",))) == {"retries": 2}


def test_what_cannot_be_written_down_again_is_said() -> None:
    with pytest.raises(OptionError, match="--volume"):
        values_of(RunSpec("alpine", code="1", volumes=(Volume("empty", "/data"),)))


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("a = 1\nb, c = 2, 3\nfor i in []:\n    d = i", ["a", "b", "c", "i", "d"]),
        ("def f():\n    inner = 1\nimport os\n_hidden = 2", []),
        ("x = [y for y in []]\nwith open('f') as file: pass", ["x", "file"]),
        ("x = (", []),
        ("row = await fetch()\nprint(found := [z for z in row if (last := z)])", ["row", "found", "last"]),
        ("size: int = 3\nlater: str\nfrom math import pi", ["size"]),
        ("total += 1\nkey = lambda v: (w := v)\nclass A:\n    inside = 1", ["total", "key"]),
    ],
)
def test_names_that_a_program_binds_are_offered_as_outputs(code: str, names: list[str]) -> None:
    assert assigned_names(code) == names
