"""Each verb against the local ACI: by name, id, prefix and `last`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shells import Run

from aci_notebook.errors import OptionError, RunNotFound


@pytest.fixture
def box(run: Run) -> Any:
    """A run that goes on until it is stopped."""
    handle = run("%%aci -d --name box\nimport time\nprint('go', flush=True)\ntime.sleep(100)").check().value
    deadline = time.monotonic() + 20
    while "go" not in handle.log():
        assert time.monotonic() < deadline, handle.record
        time.sleep(0.05)
    return handle


def test_an_unknown_verb_is_an_error_with_the_nearest(run: Run) -> None:
    failed = run("%aci lgos").error
    assert isinstance(failed, OptionError)
    assert "did you mean logs?" in str(failed)


def test_help_of_every_verb(run: Run) -> None:
    from aci_notebook.verbs import VERBS

    overview = run("%aci help").check().stdout
    for name, verb in VERBS.items():
        assert f"  {name} " in overview
        assert verb.help in run(f"%aci {name} --help").check().stdout
    assert "--follow" in run("%aci help logs").check().stdout
    assert "did you mean logs" in str(run("%aci help log").error)


def test_a_run_is_found_by_id_name_prefix_and_last(run: Run) -> None:
    first = run("%%aci -d\nprint('first')").check().value.wait(60)
    second = run("%%aci -d --name second-one\nprint('second')").check().value.wait(60)
    for word, text in ((first.run_id, "first"), (first.name, "first"), ("second-o", "second"), ("last", "second"), ("last~1", "first")):
        assert run(f"%aci logs {word}").check().stdout == f"{text}\n"
    assert second.run_id != first.run_id
    assert isinstance(run("%aci logs nothing-like-it").error, RunNotFound)


def test_a_variable_that_holds_a_run_names_it(run: Run) -> None:
    run("%%aci -d --as ownword\nprint('mine')").check().value.wait(60)
    run("%%aci -d --name ownword-too\nprint('too')").check().value.wait(60)
    assert run("%aci logs ownword").check().stdout == "mine\n"  # and not of the one whose name begins so
    run("%%aci -d --name ownword\nprint('named')").check().value.wait(60)
    assert run("%aci logs ownword").check().stdout == "named\n"
    run("nothing_like_it = ownword").check()
    assert run("%aci logs nothing_like_it").check().stdout == "mine\n"
    assert run("%aci inspect nothing_like_it").check().value["run"]["name"] == run("ownword.name").value
    inside = "def shown(within):\n    %aci logs within\nshown(ownword)"
    assert run(inside).check().stdout == "mine\n"


def test_ps_is_a_dataframe_of_what_exists(run: Run, box: Any, shell: Any) -> None:
    run("table = %aci ps").check()
    table = shell.user_ns["table"]
    assert table.loc[table["name"] == "box", "group_state"].tolist() == ["Running"]
    assert table["run_id"].tolist() == [box.run_id]


def test_exec_gives_output_and_exit_code(run: Run, box: Any) -> None:
    found = run("%aci exec box -- sh -c 'echo out; echo err >&2; exit 3'").check()
    assert found.value.exit_code == 3
    assert found.value.output == "out\nerr\n"
    assert found.stdout.startswith("out\nerr\n")
    assert run("%aci exec last -- printf 'no newline aci-end-x'").check().value.output == "no newline aci-end-x"
    assert "has no command" in str(run("%aci exec box").error)


def test_exec_of_what_does_not_run(run: Run) -> None:
    run("%%aci -q\n1").check()
    assert "does not exist any more" in str(run("%aci exec last -- ls").error)


def test_events_inspect_and_logs_with_times(run: Run, box: Any) -> None:
    events = run("%aci events box").check().value
    assert {"Pulling", "Started"} <= set(events["name"])
    assert str(events["at"].dtype).endswith("UTC]")
    found = run(f"%aci inspect {box.run_id}").check().value
    assert found["run"]["name"] == "box"
    assert found["group"]["properties"]["instanceView"]["state"] == "Running"
    assert "state: Running" in repr(found)
    stamped = run("%aci logs box --timestamps").check().stdout
    assert stamped.startswith("20")
    assert stamped.endswith("Z go\n")


def test_times_are_gone_with_the_group(run: Run) -> None:
    run("%%aci -q --as done\nprint(1)").check()
    run("done.wait_gone(20)").check()
    assert "went with its group" in str(run("%aci logs last --timestamps").error)


def test_logs_follow_until_the_end(run: Run) -> None:
    run("%%aci -d\nimport time\nfor n in range(4):\n    print('line', n, flush=True)\n    time.sleep(0.3)").check()
    assert [line for line in run("%aci logs -f last").check().stdout.splitlines() if line] == [f"line {n}" for n in range(4)]
    assert run("%aci logs last --tail 2").check().stdout == "line 2\nline 3\n"


def test_attach_shows_all_and_delivers_outputs(run: Run, shell: Any) -> None:
    run("%%aci -d --as later -o x\nimport time\ntime.sleep(0.5)\nprint('seen')\nx = 5").check()
    assert "seen\n" in run("%aci attach last").check().stdout
    assert shell.user_ns["x"] == 5


def test_wait_then_it_is_over(run: Run, shell: Any) -> None:
    run("%%aci -d --as one\nimport time\ntime.sleep(0.5)").check()
    run("%aci wait last").check()
    assert shell.user_ns["one"].done()


def test_stop_ends_a_run_and_its_group(run: Run, box: Any) -> None:
    assert "container group box is gone" in run("%aci stop box").check().stdout
    assert box.cancelled()


def test_start_and_restart_are_for_groups_without_a_cell(run: Run, resource: Callable[[str], Any], server: Any) -> None:
    run("%aci run --image alpine --name plain --keep always -q").check()
    run("%aci start plain").check()
    assert resource("plain")["name"] == "plain"
    run("%aci rm plain").check()
    run("%%aci -q --name celled --keep always\n1").check()
    for verb in ("start", "restart"):
        assert "runs once" in str(run(f"%aci {verb} celled").error)
    run("%aci rm celled").check()


def test_update_keeps_to_the_services_rules(run: Run, resource: Callable[[str], Any]) -> None:
    run("%aci run --image alpine --name plain --keep always -q -e A=1").check()
    run("%aci update plain --tag team=blue").check()
    assert resource("plain")["tags"]["team"] == "blue"
    assert resource("plain")["tags"]["aci-notebook-run"]
    run("%aci update plain --image debian -e B=2").check()
    container = resource("plain")["properties"]["containers"][0]["properties"]
    assert container["image"] == "debian"
    assert {item["name"]: item.get("value") for item in container["environmentVariables"]} == {"A": "1", "B": "2"}
    for options in ("--cpu 2", "--memory 3", "--location eastus", "--spot"):
        failed = str(run(f"%aci update plain {options}").error)
        assert "rule of ACI" in failed
        assert "--if-exists replace" in failed
    assert "nothing to change" in str(run("%aci update plain").error)
    run("%aci rm plain").check()


def test_update_refuses_what_would_lose_secrets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter22")
    run("%aci run --image alpine --name plain --keep always -q --secret TOKEN").check()
    assert "would lose them: TOKEN" in str(run("%aci update plain --image debian").error)
    run("%aci update plain --image debian --secret TOKEN").check()
    run("%aci rm plain").check()


def test_if_exists_fail_update_replace_attach(run: Run, resource: Callable[[str], Any]) -> None:
    run("%%aci -q --name mine --keep always\nprint('one')").check()
    assert type(run("%%aci -q --name mine\nprint('two')").error).__name__ == "NameTaken"
    assert run("%%aci -q --name mine --keep always --if-exists update\nprint('two')").check().stdout == "two\n"
    assert "rule of ACI" in str(run("%%aci -q --name mine --if-exists update --cpu 2\n1").error)
    assert run("%%aci -q --name mine --keep always --if-exists attach\nprint('never')").check().stdout == "two\n"
    assert run("%%aci -q --name mine --keep always --if-exists replace --cpu 2\nprint('three')").check().stdout == "three\n"
    assert resource("mine")["properties"]["containers"][0]["properties"]["resources"]["requests"]["cpu"] == 2.0
    run("%aci rm mine").check()


@pytest.fixture
def slow(server: Any) -> Iterator[Callable[[str], None]]:
    """Makes the next request of a kind take a second."""

    def take(kind: str) -> None:
        server.ask("/_aci/faults", {"on": kind, "times": 1, "do": {"delay_s": 1.0}})

    yield take
    server.ask("/_aci/faults", method="DELETE")


@pytest.mark.parametrize("way", ["fail", "update", "replace", "attach"])
def test_a_named_cell_run_again_waits_for_the_deletion_of_its_group(run: Run, slow: Callable[[str], None], way: str) -> None:
    slow("delete")
    run("%%aci -q --name same\nprint('one')").check()
    assert run(f"%%aci -q --name same --if-exists {way}\nprint('two')").check().stdout == "two\n"


def test_two_runs_of_one_name_at_once_are_not_mixed_up(run: Run, slow: Callable[[str], None], creates: Callable[[], int]) -> None:
    slow("create")
    before = creates()
    first = run("%%aci -d --name one-name -o x --as first\nprint('one')\nx = 1").check().value
    refused = run("%%aci -d --name one-name\nprint('two')").error
    assert type(refused).__name__ == "NameTaken"
    assert first.run_id in str(refused)
    assert first.result(60) == {"x": 1}
    assert first.log() == "one\n"
    assert creates() == before + 1


def test_rerun_with_other_options(run: Run) -> None:
    run("base = 2").check()
    run("%%aci -q -i base -e A=1\nimport os\nprint(base, os.environ['A'])").check()
    run("base = 3").check()
    assert "3 5\n" in run("%aci rerun last -e A=5 --cpu 2").check().stdout


def test_history_and_cost_are_dataframes(run: Run) -> None:
    run("%%aci -q --tag kind=cost\n1").check()
    table = run("%aci history --tag kind=cost --limit 5").check().value
    assert table["outcome"].tolist()[0] == "succeeded"
    cost = run("%aci cost --since 1d").check().value
    assert cost["runs"].sum() >= 1
    assert "did you mean --state" in str(run("%aci history --stat x").error)


def test_gc_leaves_what_lives(run: Run, box: Any) -> None:
    table = run("%aci gc --dry-run").check().value
    assert table.loc[table["name"] == "box", "action"].tolist() == ["left"]
    run("%aci gc").check()
    assert box.running()


def test_local_status_fault_and_clear(run: Run, server: Any) -> None:
    assert run("%aci local status").check().value["pid"] == server.pid
    assert run("%aci local fault logs --status 503 --times 2").check().value["faults"][0]["on"] == "logs"
    assert run("%aci local fault clear").check().value["faults"] == []
    assert "needs an effect" in str(run("%aci local fault logs").error)
    assert run("%aci local fault list").check().value["faults"] == []


def test_many_words_and_missing_words(run: Run) -> None:
    assert "a word too many" in str(run("%aci stop a b").error)
    assert "needs more words" in str(run("%aci rm").error)


def test_rerun_ships_files_and_secrets_anew(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.txt").write_text("as it was")
    (tmp_path / "one.txt").write_text("one")
    monkeypatch.setenv("TOKEN", "first-value")
    code = "import os, pathlib\nfor path in (os.environ['D'] + '/a.txt', os.environ['F']):\n    print(pathlib.Path(path).read_text())\n"
    code += "print(len(os.environ['TOKEN']))"
    line = "%%aci -q -v ./conf:/conf -v ./one.txt:/etc/mine/two.txt -e D=/conf -e F=/etc/mine/two.txt --secret TOKEN --as first"
    assert run(f"{line}\n{code}").check().stdout == "as it was\none\n11\n"
    (tmp_path / "conf" / "a.txt").write_text("as it is")
    monkeypatch.setenv("TOKEN", "second")
    assert run("%aci rerun last -q -e D=/conf -e F=/etc/mine/two.txt").check().stdout == "as it is\none\n6\n"
    (tmp_path / "one.txt").unlink()
    assert "neither a file nor a folder" in str(run("%aci rerun last -q -e D=/conf -e F=/etc/mine/two.txt").error)


def test_rerun_of_a_spec_file_asks_for_its_secrets(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "group.yaml").write_text(
        "properties: {containers: [{name: c, properties: {image: alpine, command: [printenv, S],\n"
        "  environmentVariables: [{name: S, secureValue: hidden-value}]}}]}\n"
    )
    assert run("%aci run -q --spec group.yaml").check().stdout == "******\n"
    failed = str(run("%aci rerun last -q").error)
    assert "--secret 'S': stood in group.yaml" in failed
    assert "--secret S=env:NAME" in failed
    monkeypatch.setenv("OTHER", "another-value")
    assert run("%aci rerun last -q --secret S=env:OTHER").check().stdout == "******\n"
