"""What cannot be right is refused before anything is sent: option, value, rule and remedy are named, and the server sees no create."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shells import Run

from aci_notebook.errors import OptionError, SettingsError


@pytest.fixture(autouse=True)
def nothing_is_sent(creates: Callable[[], int]) -> Iterator[None]:
    before = creates()
    yield
    assert creates() == before


WRONG = [
    ("--image Python:3", "--image 'Python:3'", "lower case", "write --image python:3"),
    ("--image https://x/y", "--image", "is an address", "write --image x/y"),
    ("--cpu 0.5", "--cpu '0.5'", "between 1 and 31", ""),
    ("--cpu two", "--cpu 'two'", "must be a number", "for example --cpu 1"),
    ("--cpu 1.25", "--cpu '1.25'", "steps of 0.1", "use --cpu 1.2"),
    ("--memory 0.5", "--memory '0.5'", "between 1 and 240", "\nuse --memory 1"),
    ("--memory 500", "--memory '500'", "between 1 and 240", ""),
    ("-m lots", "--memory 'lots'", "number of GB", "--memory 4GB"),
    ("--env NOT_THERE", "--env 'NOT_THERE'", "not in this kernel's environment", "--env NOT_THERE=VALUE"),
    ("--env _A=1", "--env '_A'", "no underscore first", ""),
    ("--env-file nowhere", "--env-file 'nowhere'", "cannot be read", ""),
    ("--secret T=hunter22", "--secret 'T=…'", "never the secret itself", "--secret T=env:OTHER"),
    ("--secret NOT_SET", "--secret 'NOT_SET'", "no variable NOT_SET", ""),
    ("--secret T=file:/nowhere", "--secret 'T'", "cannot be read", ""),
    ("--secret A-B=env:HOME", "--secret", "letters, digits or underscores", "--secret NAME=env:OTHER"),
    ("--env A=1 --secret A=env:HOME", "--secret 'A'", "also given with --env", ""),
    ("--pip https://me:pw@host/simple/x", "--pip", "must not carry a password", ""),
    ("--requirements nowhere.txt", "--requirements 'nowhere.txt'", "cannot be read", ""),
    ("-v data:/data", "--volume 'data'", "no source that is known", "--volume ./data:/data"),
    ("-v ./nowhere:/data", "--volume './nowhere'", "neither a file nor a folder", ""),
    ("-v empty::/aci/in", "--volume '/aci/in'", "cannot be mounted over", ""),
    ("-v azurefile://acc/share:/d", "--volume 'azurefile://acc/share'", "needs the storage account's key", "key=env:STORAGE_KEY"),
    ("-v git+ssh://x/y:/d", "--volume", "is git+https://", ""),
    ("--registry my.azurecr.io", "--registry 'my.azurecr.io'", "neither a user nor an identity", "USER:env:PASSWORD"),
    ("--registry my.azurecr.io=me:hunter22", "--registry 'my.azurecr.io=…'", "never the secret itself", ""),
    ("--identity me", "--identity 'me'", "resource id of a user-assigned identity", "az identity show"),
    ("--acr-identity system", "--acr-identity 'system'", "resource id", ""),
    ("--subnet inner", "--subnet 'inner'", "resource id of a subnet", ""),
    ("--lang 'a b'", "--lang 'a b'", "interpreter in the image", ""),
    ("--spot --cpu 8", "--spot", "at most 4 cores", ""),
    ("--gpu 1", "--gpu '1'", "retired them on 2025-07-14", "Azure ML"),
    ("-i not_defined_here", "--input 'not_defined_here'", "not defined in this notebook", ""),
    ("-i a=1/0", "--input '1/0'", "ZeroDivisionError", ""),
    ("-i 'one=(n for n in [1])'", "--input 'one'", "cannot be pickled", "make it inside the cell"),
    ("-i a=1+", "--input '1+'", "is no expression of Python: invalid syntax", "for example --input"),
    ("-i 3x", "--input '3x'", "not a variable name", ""),
    ("-o 3x", "--output '3x'", "not a variable name", ""),
    ("-o ../up/", "--output '../up/'", "below the working folder", ""),
    ("--as 3x", "--as '3x'", "not a variable name", ""),
    ("--spec nowhere.yaml", "--spec 'nowhere.yaml'", "cannot be read", ""),
    ("--location 'x!'", "--location 'x!'", "name of an Azure region", ""),
    ("--subscription mine", "--subscription 'mine'", "subscription's id", "az account show"),
    ("--name Bad_Name", "--name 'Bad_Name'", "lower-case letters", "--name bad-name"),
    ("--if-exists maybe", "--if-exists 'maybe'", "fail, update, replace, attach", ""),
    ("--if-exists replace", "--if-exists 'replace'", "group of a --name", "add --name"),
    ("--tag a", "--tag 'a'", "needs a value", "--tag a=VALUE"),
    ("--tag aci-notebook-run=x", "--tag", "are ours", ""),
    ("--timeout soon", "--timeout 'soon'", "must be a duration", "--timeout 90s"),
    ("--timeout 40d", "--timeout '40d'", "30 days", ""),
    ("--start-timeout 1h", "--start-timeout '1h'", "30 minutes", ""),
    ("--max-cost free", "--max-cost 'free'", "amount in USD", ""),
    ("--max-cost 0.0001 -l eastus", "--max-cost", "less than", "at least --max-cost"),
    ("--retries many", "--retries 'many'", "whole number", ""),
    ("--keep sometimes", "--keep 'sometimes'", "never, failed, always", ""),
    ("--on-interrupt wait", "--on-interrupt 'wait'", "stop, detach", ""),
    ("--tail -1", "--tail '-1'", "between 0", ""),
    ("--lines-max 1", "--lines-max '1'", "between 10", ""),
    ("--detach -o x", "--output 'x'", "needs --as NAME", ""),
    ("--cpu 1 --cpu 2", "--cpu '2'", "given twice", ""),
    ("--cpus 2", "--cpus", "is not an option", "did you mean --cpu"),
    ("stray", "stray", "stands alone", ""),
    ("--env A={missing}", "--env 'A={missing}'", "missing", "define it first"),
    ("--env A={1:2}", "--env 'A={1:2}'", "{1:2} is no expression of Python", "write {{ and }}"),
    ("--env A={}", "--env 'A={}'", "{} is no expression of Python", "write {{ and }}"),
    ("--env A=$missing", "--env 'A=$missing'", "missing", "write $$"),
    ("--cpu", "--cpu", "needs a value", "--cpu N"),
    ("--spot=yes", "--spot 'yes'", "takes no value", "--spot alone"),
    ("-o b=1", "--output 'b=1'", "not a variable name", "--output x,./results/"),
    ("--as a,b", "--as 'a,b'", "not a variable name", "--as run"),
    ("\n#| quiet", "#| quiet", "has no value", "#| quiet: true"),
    ("\n#| cpu", "#| cpu", "has no value", "#| cpu: N"),
    ("\n#| cpu: 1\n#| cpu: 2", "#| cpu '2'", "given twice", ""),
    ("--image 'open", "the line", "quote that is not closed, at column", ""),
]


@pytest.mark.parametrize(("options", "named", "rule", "remedy"), WRONG, ids=[item[0] for item in WRONG])
def test_a_wrong_value_is_named_with_rule_and_remedy(run: Run, options: str, named: str, rule: str, remedy: str) -> None:
    failed = run(f"%%aci {options}\nprint(1)").error
    assert isinstance(failed, OptionError), failed
    text = str(failed)
    assert text.startswith(named)
    assert rule in text
    assert remedy in text
    assert "hunter22" not in text
    assert len(failed._render_traceback_()) <= 4


def test_a_profile_that_does_not_exist(run: Run) -> None:
    for options in ("--profile nobody", "--on nobody"):
        failed = run(f"%%aci {options}\n1").error
        assert isinstance(failed, SettingsError)
        assert "no profile 'nobody'" in str(failed)


def test_free_names_of_the_notebook_are_named(run: Run) -> None:
    run("import math as m\nframe = [1]\nlimit = 2").check()
    failed = run("%%aci\ndef inside():\n    return frame[:limit]\nprint(m.pi, inside())").error
    assert isinstance(failed, OptionError)
    assert "frame, limit, m exist only in this notebook" in str(failed)
    assert "add -i frame,limit" in str(failed)
    assert "import math as m" in str(failed)


def test_free_names_of_a_cell_that_awaits_are_named(run: Run) -> None:
    run("delay, source = 0, None").check()
    cell = "import asyncio\nawait asyncio.sleep(delay)\nasync with source as s:\n    async for t in s:\n        print([u async for u in t])"
    assert "delay, source exist only in this notebook" in str(run(f"%%aci\n{cell}").error)


@pytest.mark.parametrize(
    "line", ["total += 1", "del total", "for i in [1]:\n    total *= i", "total += await later()\nasync def later(): return 1"]
)
def test_a_name_that_is_changed_before_it_is_made_is_free(run: Run, line: str) -> None:
    run("total = 1").check()
    assert "total exists only in this notebook" in str(run(f"%%aci\n{line}").error)
    run(f"%%aci --dry-run\ntotal = 2\n{line}").check()
    run(f"%%aci --dry-run\ndef own(total):\n    total += 1\n    del total\n{line.replace('total', 'other')}\nother = 1").check()


def test_names_that_the_cell_makes_are_its_own(run: Run) -> None:
    run("x = 1\ni = 2\nexc = 3").check()
    cell = (
        "%%aci --dry-run\nfor i in range(3):\n    x = i\ntry:\n    pass\nexcept ValueError as exc:\n    print(exc)\n"
        "print([i for i in range(x)], __name__)"
    )
    run(cell).check()


def test_the_notebooks_own_helpers_are_explained(run: Run) -> None:
    assert "display belongs to this notebook's IPython" in str(run("%%aci\ndisplay(1)").error)
    assert "IPython's % and ! lines do not travel" in str(run("%%aci\n!ls").error)


def test_a_syntax_error_shows_the_line(run: Run) -> None:
    failed = run("%%aci\nx = 1\nif x:\nprint(x)").error
    assert isinstance(failed, OptionError)
    assert "line 3 of the cell" in str(failed)


def test_code_objects_do_not_pass_between_minor_versions_but_data_does(run: Run) -> None:
    run("def f(x):\n    return x\ndata = {'a': 1}").check()
    failed = run("%%aci --image python:3.9-slim -i f\nf(1)").error
    assert isinstance(failed, OptionError)
    assert "the image has Python 3.9" in str(failed)
    run("%%aci --image python:3.9-slim -i data --dry-run\ndata").check()


def test_an_empty_body_and_help(run: Run) -> None:
    assert "no code below the magic line" in str(run("%%aci --cpu 2").error)
    assert "--memory" in run("%%aci --help").check().stdout
    assert "--memory" in run("%%aci --help\nprint(1)").check().stdout
    assert "no code below" in str(run("%%aci\n\n   \n").error)


def test_a_directive_that_is_no_option(run: Run) -> None:
    failed = run("%%aci\n#| cpux: 2\nprint(1)").error
    assert "#| cpux" in str(failed)
    assert "cpu" in str(failed)


def test_volumes_that_are_not_flat_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "deep" / "inner").mkdir(parents=True)
    assert "holds a folder (inner)" in str(run("%%aci -v ./deep:/data\n1").error)
