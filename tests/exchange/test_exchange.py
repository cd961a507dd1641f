"""Names of a cell, requirements of variables, files of settings in the cell: pure, without a shell."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from aci_notebook import exchange
from aci_notebook.errors import OptionError
from aci_notebook.exchange import decode, encode, requirements_of, requirements_of_imports
from aci_notebook.names import free_names, imports
from aci_notebook.sources import env_file, requirements_file, satisfies, script_block


@pytest.mark.parametrize(
    ("code", "free"),
    [
        ("x = 1\nprint(x)", []),
        ("print(x)\nx = 1", []),
        ("def f(a, *b, c=d, **e):\n    global g\n    g = a\n    return h", ["d", "h"]),
        ("[i for i in range(n)]", ["n"]),
        ("class A(B):\n    y = z\n    def m(self): return y", ["B", "y", "z"]),
        ("import os.path as p, sys\nfrom json import loads as l\np, sys, l", []),
        ("for a, (b, c) in pairs: pass\nwith open(q) as w: w", ["pairs", "q"]),
        ("try:\n    1\nexcept E as e:\n    e", ["E"]),
        ("from os import *\nwhatever", []),
        ("lambda v: v + u", ["u"]),
        ("if (n := 5) > m: n", ["m"]),
        ("match s:\n    case {'k': v}: v", ["s"]),
        ("del t", ["t"]),
        ("k += 1", []),
        ("f\"{'\u200d'.join(words)}\"", ["words"]),  # which Python 3.11 reads and cannot write
        (" + ".join(["term"] * 900), ["term"]),
    ],
)
def test_free_names(code: str, free: list[str]) -> None:
    if code in {"del t", "k += 1"}:  # bound, as Python's own table of names sees them
        assert set(free_names(code)) <= {"t", "k"}
    else:
        assert free_names(code) == free


def test_imports_are_found_wherever_they_stand() -> None:
    assert imports("import a.b, c as d\ndef f():\n    from e.f import g\nfrom . import h") == ["a", "c", "e"]


def test_requirements_are_packages_with_versions() -> None:
    import packaging

    assert requirements_of(["packaging.version", "json", "os"]) == [f"packaging=={packaging.__version__}"]
    assert requirements_of_imports("import packaging, json, not_installed_here") == [f"packaging=={packaging.__version__}"]


def test_what_is_built_on_numpy_brings_this_kernels_numpy_unless_it_was_asked_for() -> None:
    import numpy as np
    import pandas as pd

    ours = [f"pandas=={pd.__version__}", f"numpy=={np.__version__}"]
    assert requirements_of_imports("import pandas as pd") == ours
    assert requirements_of_imports("import pandas as pd, numpy") == sorted(ours)
    assert requirements_of_imports("import pandas as pd", {"numpy"}) == ours[:1]
    assert requirements_of_imports("import pandas as pd, packaging", {"pandas"}) == requirements_of(["packaging"])


def test_no_index_is_asked_for_a_numpy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    monkeypatch.setattr(exchange, "_is_local", lambda package: package == "numpy")
    assert requirements_of_imports("import pandas as pd") == [f"pandas=={pd.__version__}"]


def test_a_frame_says_what_it_needs() -> None:
    import pandas as pd

    item = encode("frame", pd.DataFrame({"a": [1]}))
    assert f"pandas=={pd.__version__}" in item.requires
    assert item.type_name == "pandas.DataFrame"
    assert decode(item.data)["a"].tolist() == [1]
    assert not item.by_value


def test_plain_data_is_a_plain_pickle() -> None:
    assert pickle.loads(encode("x", {"a": [1, b"2"]}).data) == {"a": [1, b"2"]}
    with pytest.raises(OptionError, match="cannot be pickled"):
        encode("x", (n for n in [1]))


def test_env_files_and_requirements_files(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("A=1\n#c\nB='q r'\n")
    assert env_file(path) == {"A": "1", "B": "q r"}
    path.write_text("broken\n")
    with pytest.raises(OptionError, match=r"x:1"):
        env_file(path)
    path.write_text("a==1 \\\n  ; python_version>'3'\n-e .\n")
    with pytest.raises(OptionError, match="does not travel"):
        requirements_file(path)
    path.write_text(f"-r {path}\n")
    with pytest.raises(OptionError, match="names itself"):
        requirements_file(path)


@pytest.mark.parametrize(
    ("minor", "wanted", "fits"),
    [
        ("3.12", ">=3.11", True),
        ("3.12", ">=3.11,<3.12", False),
        ("3.12", "~=3.11", True),
        ("3.12", "==3.12.*", True),
        ("3.12", "!=3.12", False),
        ("3.12", "<4", True),
        ("3.12", ">3.12", False),
        ("3.9", ">=3.10", False),
    ],
)
def test_requires_python(minor: str, wanted: str, fits: bool) -> None:
    assert satisfies(minor, wanted) is fits


def test_a_script_block_that_is_wrong_is_named() -> None:
    assert script_block('# /// script\n# dependencies = ["a"]\n# ///\n1', "3.12") == ["a"]
    with pytest.raises(OptionError, match="not valid TOML"):
        script_block("# /// script\n# dependencies = [\n# ///\n", "3.12")
    with pytest.raises(OptionError, match=r"this kernel and its default image have Python 3\.12"):
        script_block('# /// script\n# requires-python = ">=3.13"\n# ///\n', "3.12")
