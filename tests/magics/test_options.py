"""Every option of the field table does what its line says: on the resource as a GET shows it, in the container, or in what is shown.

The wire is read at a local ACI of the simulated runtime, which accepts whatever the service does.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shells import Run, close_sessions, end_server, settle

from aci_notebook import fields, session
from aci_notebook.aci.models import group_model

IDENTITY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/me"
SUBNET = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/inner"
Wire = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def simulated_home(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("simulated")
    yield folder
    end_server(folder)


@pytest.fixture
def wire(run: Run, simulated_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """The resource that a line of options makes."""
    monkeypatch.setenv("ACI_NOTEBOOK_HOME", str(simulated_home))
    monkeypatch.setenv("ACI_NOTEBOOK_LOCAL_RUNTIME", "simulated")
    made: list[Any] = []

    def get(options: str) -> dict[str, Any]:
        line = f"%%aci -d --keep always {options}\nprint(1)" if not options.startswith("%") else options
        handle = run(line).check().value
        made.append(handle)
        handle.wait(30)
        assert handle.record.group == "kept", handle.record
        server = session.connect("local").local_server()
        place = f"/subscriptions/{session.LOCAL_SUBSCRIPTION}/resourceGroups/{handle.record.resource_group}"
        found: dict[str, Any] = server.ask(
            f"{place}/providers/Microsoft.ContainerInstance/containerGroups/{handle.name}?api-version=2023-05-01"
        )
        return found

    yield get
    house = session.house()
    for handle in made:
        session.connect("local").backend(handle.record.resource_group).delete(handle.name)
    settle()
    close_sessions()
    assert house.folder == simulated_home


def container(found: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = found["properties"]["containers"][0]["properties"]
    return properties


def env(found: dict[str, Any]) -> dict[str, Any]:
    return {item["name"]: item.get("value") for item in container(found)["environmentVariables"]}


def volume(found: dict[str, Any], path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    mount = next(item for item in container(found)["volumeMounts"] if item["mountPath"] == path)
    return mount, next(item for item in found["properties"]["volumes"] if item["name"] == mount["name"])


def test_image(wire: Wire) -> None:
    assert container(wire("--image ghcr.io/team/job:1"))["image"] == "ghcr.io/team/job:1"


def test_cpu_and_memory(wire: Wire) -> None:
    assert container(wire("--cpu 2.5 -m 4GB"))["resources"]["requests"] == {"cpu": 2.5, "memoryInGB": 4.0}


def test_env_by_value_by_name_and_by_expression(wire: Wire, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_KERNEL", "k")
    run("depth = 3").check()
    assert env(wire("-e A=b=c -e FROM_KERNEL -e N={depth+1} -e 'B={x}'")) == {"A": "b=c", "FROM_KERNEL": "k", "N": "4", "B": "{x}"}


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ('A={d["a b"]}', "1"),
        ('"A={d["a b"]} of {depth + 1}"', "1 of 4"),
        ("A={ {'x': depth}['x'] }", "3"),
        ('A={f"{depth}-"*2}', "3-3-"),
        ("A={{depth}}", "{depth}"),
        ("A={{{depth}}}", "{3}"),
        ("A={depth}}}{{$$depth", "3}{$depth"),
        ("'A={depth}'", "{depth}"),
        ("A='{'{depth}'}'", "{3}"),
        ("A={ ", "{"),
        ("A=}{", "}{"),
        ("A=\"$depth and\"' $depth'", "3 and $depth"),
    ],
)
def test_an_expression_may_hold_quotes_blanks_and_braces(wire: Wire, run: Run, written: str, means: str) -> None:
    run("depth, d = 3, {'a b': 1}").check()
    assert env(wire(f"-e {written}")) == {"A": means}


def test_env_file(wire: Wire, tmp_path: Path) -> None:
    (tmp_path / "some.env").write_text("# words\n\nA=1\nexport B='two words'\nC=over\n")
    assert env(wire("--env-file some.env -e C=line")) == {"A": "1", "B": "two words", "C": "line"}


def test_secret_is_secure_and_never_shown(wire: Wire, monkeypatch: pytest.MonkeyPatch, simulated_home: Path) -> None:
    monkeypatch.setenv("TOKEN", "s3cret-value")
    assert env(wire("--secret TOKEN --secret OTHER=env:TOKEN")) == {"TOKEN": None, "OTHER": None}
    kept = b"".join(path.read_bytes() for path in simulated_home.rglob("history*") if path.is_file())
    assert b"s3cret-value" not in kept


def test_pip_requirements_file_and_script_block_travel(run: Run, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("tomli  # words\n")
    (tmp_path / "needs.txt").write_text("--index-url https://example.org/simple\nsix>=1 ; python_version > '3'\n-r more.txt\n")
    block = '# /// script\n# requires-python = ">=3.9"\n# dependencies = ["rich<99"]\n# ///'
    cell = f'%%aci --dry-run --pip "numpy pandas>2" -r needs.txt\n{block}\n1'
    shown = run(cell).check().stdout
    assert "installed first: numpy pandas>2 --index-url https://example.org/simple six>=1 ; python_version > '3' tomli rich<99" in shown


def test_volume_azurefile(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE", "a2V5")
    mount, source = volume(wire("-v azurefile://mystore/data?key=env:STORAGE:/data:ro"), "/data")
    assert mount["readOnly"] is True
    assert source["azureFile"] == {"shareName": "data", "storageAccountName": "mystore", "readOnly": True}


def test_volume_git(wire: Wire) -> None:
    _, source = volume(wire("-v git+https://example.org/team/code.git@v1.2:/code"), "/code")
    assert source["gitRepo"] == {"repository": "https://example.org/team/code.git", "revision": "v1.2", "directory": "."}


def test_volume_empty(wire: Wire) -> None:
    mount, source = volume(wire("-v empty::/scratch"), "/scratch")
    assert source["emptyDir"] == {}
    assert not mount.get("readOnly")


def test_volume_of_files_is_read_in_the_container(run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.txt").write_text("shipped folder")
    (tmp_path / "one.txt").write_text("shipped file")
    code = "import os, pathlib\nprint(pathlib.Path(os.environ['D'], 'a.txt').read_text(), pathlib.Path(os.environ['F']).read_text())"
    done = run(f"%%aci -v ./conf:/conf -v ./one.txt:/etc/mine/two.txt -e D=/conf -e F=/etc/mine/two.txt\n{code}").check()
    assert "shipped folder shipped file\n" in done.stdout


def test_registry_password_is_on_the_wire_and_nowhere_else(
    wire: Wire, run: Run, monkeypatch: pytest.MonkeyPatch, simulated_home: Path
) -> None:
    monkeypatch.setenv("REG", "registry-pass")
    found = wire("--image my.azurecr.io/job:1 --registry my.azurecr.io=me:env:REG")
    assert found["properties"]["imageRegistryCredentials"] == [{"server": "my.azurecr.io", "username": "me"}]
    here = session.connect("local")
    _, plan = here.prepare(here.spec({"image": "my.azurecr.io/job:1", "registries": "my.azurecr.io=me:env:REG"}, "1"))
    sent = group_model(plan).serialize()
    assert sent["properties"]["imageRegistryCredentials"] == [{"server": "my.azurecr.io", "username": "me", "password": "registry-pass"}]
    assert "registry-pass" not in repr(plan)
    shown = run("%%aci --dry-run --image my.azurecr.io/job:1 --registry my.azurecr.io=me:env:REG\n1").check().stdout
    assert "registry-pass" not in shown
    assert "password: '******'" in shown
    assert all(b"registry-pass" not in path.read_bytes() for path in simulated_home.glob("history*"))


def test_identity_and_acr_identity(wire: Wire) -> None:
    found = wire(f"--identity system --image my.azurecr.io/job:1 --acr-identity {IDENTITY}")
    assert found["identity"]["type"] == "SystemAssigned, UserAssigned"
    assert list(found["identity"]["userAssignedIdentities"]) == [IDENTITY]
    assert found["properties"]["imageRegistryCredentials"] == [{"server": "my.azurecr.io", "identity": IDENTITY}]


def test_subnet(wire: Wire) -> None:
    assert wire(f"--subnet {SUBNET}")["properties"]["subnetIds"] == [{"id": SUBNET}]


def test_spot(wire: Wire) -> None:
    assert wire("--spot")["properties"]["priority"] == "Spot"


def test_location_group_name_and_tags(wire: Wire) -> None:
    found = wire("-l 'East US' -g other --name mine --tag team=blue --tag x=y=z")
    assert found["location"] == "eastus"
    assert found["name"] == "mine"
    assert "/resourceGroups/other/" in found["id"]
    assert {key: found["tags"][key] for key in ("team", "x")} == {"team": "blue", "x": "y=z"}


def test_timeouts_retries_and_limits_travel_in_the_payload(run: Run) -> None:
    import json

    here = session.connect("local")
    values = {"timeout_s": "1h30m", "start_timeout_s": "2m", "retries": 3}
    _, plan = here.prepare(here.spec(values, "print(1)"))
    sent = base64.b64decode(group_model(plan).volumes[0].secret["job.json"])
    job = json.loads(sent)
    assert job["timeout_s"] == 5400
    assert job["retries"] == 3


def test_a_line_in_a_function_sees_its_variables(run: Run) -> None:
    run("where, count = 'outside', 1").check()
    line = "%aci run -q --image alpine -e A={where} -e B=$count -e C={[count+n for n in (1,)]} --as held -- sh -c 'echo $A $B'"
    said = run(f"def begin(count):\n    where = 'inside'\n    {line}\nbegin(7)")
    assert said.check().stdout == "inside 7\n"
    assert run("dict(held.record.spec.env)").value == {"A": "inside", "B": "7", "C": "[8]"}
    run("%aci run -q --image alpine -e A={where} --as held -- true").check()
    assert run("dict(held.record.spec.env)").value == {"A": "outside"}


def test_max_cost_becomes_a_timeout(run: Run) -> None:
    import json

    here = session.connect("local")
    _, plan = here.prepare(here.spec({"max_cost_usd": "0.50", "location": "eastus"}, "1"))
    hourly = 0.0405 + 1.5 * 0.00445
    job = json.loads(plan.files["job.json"])
    assert job["timeout_s"] == pytest.approx(0.50 / hourly * 3600 - 600, abs=2)
    assert hourly / 3600 * (job["timeout_s"] + job["linger_s"]) <= 0.50


def test_spec_file_of_az_and_options_over_it(wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", "tok")
    (tmp_path / "group.yaml").write_text(
        """
apiVersion: '2023-05-01'
location: eastus
name: from-file
tags: {team: red}
properties:
  osType: Linux
  restartPolicy: Never
  containers:
  - name: c
    properties:
      image: alpine:3
      command: [echo, hi]
      environmentVariables: [{name: A, value: '1'}, {name: S, secureValue: hidden-value}]
      resources: {requests: {cpu: 2, memoryInGB: 3}}
      volumeMounts: [{name: scratch, mountPath: /scratch}]
  volumes: [{name: scratch, emptyDir: {}}]
"""
    )
    found = wire("%aci run -d --keep always --spec group.yaml --cpu 1 -e B=2 --tag more=1")
    assert (found["name"], found["location"]) == ("from-file", "eastus")
    assert container(found)["resources"]["requests"] == {"cpu": 1.0, "memoryInGB": 3.0}
    assert env(found) == {"A": "1", "B": "2", "S": None}
    assert found["tags"]["team"] == "red"
    assert found["tags"]["more"] == "1"
    assert volume(found, "/scratch")[1]["emptyDir"] == {}


def test_a_member_of_a_spec_file_that_is_not_sent_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "group.yaml").write_text("properties: {dnsConfig: {nameServers: [x]}, containers: []}")
    assert "dnsConfig is not sent" in str(run("%%aci --spec group.yaml\n1").error)


def test_a_dry_run_can_be_read_back(run: Run, tmp_path: Path) -> None:
    shown = run("%%aci --dry-run --cpu 2 -e A=1 --name again\nprint(1)").check().stdout
    (tmp_path / "group.yaml").write_text(shown)
    again = run("%%aci --dry-run --spec group.yaml\nprint(1)").check().stdout
    assert [line for line in again.splitlines() if "aci-notebook-" not in line and "expires" not in line and "job" not in line] == [
        line for line in shown.splitlines() if "aci-notebook-" not in line and "expires" not in line and "job" not in line
    ]


def test_tail_timestamps_and_lines_max(run: Run) -> None:
    lines = [line for line in run("%%aci -q --tail 2\nfor n in range(9): print('line', n)").check().stdout.splitlines() if line]
    assert lines[-2:] == ["line 7", "line 8"]
    assert "line 0" not in "\n".join(lines)
    stamped = run("%%aci -q --timestamps\nprint('when')").check().stdout
    assert stamped.startswith("20")
    assert stamped.rstrip().endswith("Z when")
    few = run("%%aci -q --lines-max 10\nfor n in range(500): print('line', n)").check().stdout
    assert few.count("line ") < 30
    assert "line 0\n" in few
    assert "line 499\n" in few


def test_quiet_is_the_output_alone(run: Run) -> None:
    assert run("%%aci -q\nprint('alone')").check().stdout == "alone\n"


def test_directives_below_the_line_are_options(wire: Wire) -> None:
    found = wire("%%aci -d --keep always\n#| cpu: 2\n#| env: A=1\n#| env: B=2\nprint(1)")
    assert container(found)["resources"]["requests"]["cpu"] == 2.0
    assert env(found) == {"A": "1", "B": "2"}


def test_config_sets_defaults_and_the_line_wins(wire: Wire, run: Run) -> None:
    run("%config AciMagics.cpu = 3").check()
    run("%config AciMagics.memory_gb = 2").check()
    assert container(wire("--cpu 2"))["resources"]["requests"] == {"cpu": 2.0, "memoryInGB": 2.0}


DEFAULTS = [
    ("image", "'ghcr.io/team/job:1'", "--image ghcr.io/team/job:1"),
    ("cpu", "2", "--cpu 2"),
    ("memory_gb", "'4GB'", "--memory 4"),
    ("env", "{'A': '1'}", "-e A=1"),
    ("registries", "['my.azurecr.io=me:env:HOME']", "--registry my.azurecr.io=me:env:HOME"),
    ("identities", "'system'", "--identity system"),
    ("subnet", repr(SUBNET), f"--subnet {SUBNET}"),
    ("spot", "True", "--spot"),
    ("location", "'westus'", "--location westus"),
    ("tags", "['team=blue']", "--tag team=blue"),
    ("timeout_s", "'2h'", "--timeout 2h"),
    ("max_cost_usd", "0.5", "--max-cost 0.5"),
    ("retries", "2", "--retries 2"),
]


@pytest.mark.parametrize(("name", "value", "option"), DEFAULTS, ids=[item[0] for item in DEFAULTS])
def test_a_default_does_what_its_option_does(run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, option: str) -> None:
    """`%config` and the line give the same resource, payload, estimate and warnings."""
    if name != "location":
        monkeypatch.setenv("ACI_NOTEBOOK_LOCATION", "eastus")
    by_line, without = dry(run, option), dry(run, "")
    run(f"%config AciMagics.{name} = {value}").check()
    assert dry(run, "") == by_line != without
    run(f"%config AciMagics.{name} = None").check()
    assert dry(run, "") == without


def dry(run: Run, options: str) -> str:
    """A dry run without what is different each time."""
    shown = run(f"%%aci --dry-run {options}\nprint(1)").check().stdout
    run_id = shown.split("aci-notebook-run: ")[1].split("\n")[0]
    return "\n".join(line for line in shown.replace(run_id, "ID").splitlines() if "expires" not in line)


def test_tags_and_variables_of_the_line_are_added_to_the_defaults(wire: Wire, run: Run) -> None:
    run("%config AciMagics.tags = {'team': 'blue', 'cost': '1'}").check()
    run("%config AciMagics.env = {'A': '1', 'B': '1'}").check()
    found = wire("--tag cost=2 -e B=2")
    assert {key: found["tags"][key] for key in ("team", "cost")} == {"team": "blue", "cost": "2"}
    assert env(found) == {"A": "1", "B": "2"}


def test_defaults_of_what_is_shown_and_of_keeping(run: Run, resource: Wire) -> None:
    run("%config AciMagics.quiet = True").check()
    assert run("%%aci\nprint('alone')").check().stdout == "alone\n"
    run("%config AciMagics.timestamps = True").check()
    assert run("%%aci\nprint('when')").check().stdout.endswith("Z when\n")
    run("%config AciMagics.lines_max = 10").check()
    assert run("%%aci\nfor n in range(500): print('line', n)").check().stdout.count("line ") < 30
    run("%config AciMagics.keep = 'always'").check()
    run("%%aci --name kept-by-default\n1").check()
    assert resource("kept-by-default")["name"] == "kept-by-default"
    run("%aci rm kept-by-default").check()


def test_every_option_is_in_one_of_the_tests_here() -> None:
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [item.option for item in fields.FIELDS if item.name not in text and not any(f"{flag} " in text for flag in item.flags)] == []
