"""Who may know whom. Every module has its line in the table; a new one without a line fails the test.

The words on the right are modules of ours; third parties and forbidden parts of the standard library are checked apart.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "aci_notebook"
GROUND = {
    "errors",
    "references",
    "spec",
    "parse",
    "parse_pairs",
    "parse_azure",
    "table",
    "fields",
    "payload",
    "snapshot",
    "events",
    "transitions",
}
GROUND |= {"frames", "rawlog", "logs", "parcels", "pace", "record"}
ENGINE = GROUND | {"stage", "telling", "ending", "follow", "removal", "lifecycle"}
MAY: dict[str, set[str]] = {
    # ground floor
    "errors": set(),
    "snapshot": set(),
    "references": set(),
    "spec": {"references"},
    "parse": {"errors"},
    "parse_pairs": {"errors", "references"},
    "parse_azure": {"errors", "parse", "parse_pairs", "references"},
    "table": {"parse", "parse_azure", "parse_pairs"},
    "fields": {"errors", "spec", "parse", "table"},
    "payload": {"errors", "spec"},
    "events": {"snapshot"},
    "transitions": {"snapshot", "events", "errors"},
    "frames": set(),
    "rawlog": {"frames"},
    "logs": {"frames", "rawlog"},
    "parcels": {"logs", "frames"},
    "pace": set(),
    "record": {"events", "spec", "snapshot", "transitions"},
    "failures": {"errors", "record", "events"},
    "again": {"errors", "record", "spec"},
    # the engine
    "stage": GROUND,
    "telling": GROUND | {"stage"},
    "ending": GROUND | {"stage", "telling"},
    "follow": GROUND | {"stage", "telling", "ending"},
    "removal": GROUND | {"stage"},
    "lifecycle": ENGINE,
    "runlog": set(),
    "handle": GROUND | {"stage", "failures", "exchange", "runlog"},
    "runs": ENGINE | {"handle"},
    "sweep": {"errors", "events", "payload", "record", "removal", "runs"},
    "existing": {"errors", "payload", "record", "removal", "runs", "snapshot"},
    # the history
    "peek": set(),
    "rows": {"record", "spec"},
    "database": {"peek", "rows"},
    "history": {"database", "errors", "frame", "peek", "pricing", "record", "rows"},
    "frame": {"drawings", "errors", "events", "record", "rows"},
    "drawings": {"display", "errors", "pictures"},
    "pictures": {"display"},
    "presence": set(),
    "pricing": {"errors", "record", "retail", "spec"},
    "retail": {"errors", "pricing"},
    # street door
    "exchange": {"errors", "spec", "names"},
    "names": {"errors"},
    "settings": {"errors", "airflow_connection", "table"},
    "airflow_connection": {"errors"},
    "profiles": {"errors", "settings"},
    "localserver": {"errors"},
    "spec_file": {"errors", "payload", "spec"},
    "sources": {"errors", "fields", "parse", "settings", "spec", "spec_file"},
    "session": GROUND
    | {"aci", "exchange", "existing", "history", "localserver", "presence", "pricing", "runs", "settings", "sources", "sweep"},
    "doctor": {"aci", "errors", "session", "settings"},
    # the notebook
    "line": {"errors", "fields"},
    "preview": {"display", "payload", "pricing", "spec"},
    "watch": {"display", "errors", "events", "pricing", "record", "runs"},
    "launch": {"display", "errors", "fields", "magics", "names", "parse", "preview", "runs", "session", "spec", "watch"},
    "magics": {"errors", "exchange", "launch", "line", "session", "settings", "table", "verbs"},
    "completion": {"errors", "events", "fields", "line", "peek", "pricing", "settings", "table", "verbs"},
    "colours": set(),
    "extension": {"colours", "completion", "errors", "history", "magics", "peek", "presence", "settings", "sweep"},
    "api": {"display", "errors", "exchange", "fields", "launch", "magics", "parse", "remote", "runs", "session", "table", "watch"},
    "remote": {"api", "errors", "exchange", "runs"},
}

NEVER: dict[str, set[str]] = {
    **{key: {"azure", "IPython", "ipywidgets", "pandas", "threading", "socket", "subprocess", "sqlite3", "time", "os"} for key in GROUND},
    **{key: {"azure", "IPython", "ipywidgets", "pandas", "threading", "sqlite3", "time"} for key in ENGINE - GROUND},
    **{key: {"azure", "IPython", "ipywidgets", "pandas"} for key in ("runlog", "handle")},
    "runs": {"azure", "IPython", "ipywidgets", "pandas"},
    "history": {"azure", "IPython"},
    "settings": {"azure", "IPython"},
    "session": {"IPython", "ipywidgets"},
    "magics": {"azure", "sqlite3"},
    "launcher": {"azure", "sqlite3"},
}
ALLOWED_CLOCKS = {"pace": {"threading"}}  # a lock around the budget that threads share; times are passed in


def modules() -> list[str]:
    return sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


def imports_of(path: Path, *, everywhere: bool = True) -> tuple[set[str], set[str]]:
    """(modules of ours, other top-level packages) that a file imports; type-checking blocks do not count."""
    ours: set[str] = set()
    others: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    for node in nodes:
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            others.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = [node.module.partition(".")[0]] if node.module else [alias.name for alias in node.names]
            ours.update(names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            others.add(node.module.partition(".")[0])
    return ours, others


def test_every_room_has_its_line() -> None:
    assert set(modules()) == set(MAY)


@pytest.mark.parametrize("name", sorted(MAY))
def test_a_room_knows_only_its_table(name: str) -> None:
    ours, _ = imports_of(PACKAGE / f"{name}.py")
    assert ours <= MAY[name], f"{name} imports {sorted(ours - MAY[name])}; its table says {sorted(MAY[name])}"


@pytest.mark.parametrize("name", sorted(set(NEVER) & set(modules())))
def test_a_room_never_imports_what_is_not_its_business(name: str) -> None:
    _, others = imports_of(PACKAGE / f"{name}.py", everywhere=name != "history")
    forbidden = NEVER[name] - ALLOWED_CLOCKS.get(name, set())
    assert not others & forbidden, f"{name} imports {sorted(others & forbidden)}"


def test_the_sdk_has_one_room_and_the_credential_one_place() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0]
        _, others = imports_of(path)
        if "azure" in others:
            assert room in {"aci", "session.py", "doctor.py"}, f"{path} imports azure"


def test_the_local_aci_is_a_stranger() -> None:
    for path in sorted((PACKAGE / "local").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        depth = len(path.relative_to(PACKAGE / "local").parts)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= depth, f"{path}:{node.lineno} leaves local/"
                assert not (node.module or "").startswith("aci_notebook") or (node.module or "").startswith("aci_notebook.local"), path
    for path in sorted(PACKAGE.glob("*.py")):
        ours, _ = imports_of(path)
        assert "local" not in ours, f"{path} imports the local ACI; it is spoken to over HTTP"


def test_the_runner_needs_the_standard_library_alone() -> None:
    ours, others = imports_of(PACKAGE / "runner" / "runner.py", everywhere=False)
    assert not ours
    assert others <= set(sys.stdlib_module_names) | {"__future__"}


def test_loading_the_extension_imports_nothing_heavy() -> None:
    code = (
        "import sys, json\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "before = set(sys.modules)\n"
        "shell.run_line_magic('load_ext', 'aci_notebook')\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "aci_notebook" in loaded
    assert not loaded & {"azure", "pandas", "ipywidgets", "aiohttp", "requests", "numpy", "tornado", "yaml", "cloudpickle", "websocket"}
