"""What a container of an engine gets, prints, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from local.conftest import Server, body, container, secret

from .conftest import BUSYBOX, FOREVER, box, current, ended
from .podman import Podman

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$ & wait; exit 7", 7), ("true", 0)])
def test_exit_codes(engine: Server, name: str, script: str, code: int) -> None:
    engine.put(name, body(box(script=script)))
    state = current(ended(engine, name))
    assert state["exitCode"] == code
    assert datetime.fromisoformat(state["startTime"]) <= datetime.fromisoformat(state["finishTime"])


def test_output_arrives_exactly_and_stamped_in_order(engine: Server, name: str) -> None:
    script = r"printf 'one\nbar 1%%\rbar 2%%\r'; sleep 0.3; printf 'ü\377\n'; sleep 0.3; echo err >&2; sleep 0.3; printf 'no end'"
    engine.put(name, body(box(script=script)))
    ended(engine, name)
    assert engine.logs(name).replace("\N{REPLACEMENT CHARACTER}", "?") == "one\nbar 1%\rbar 2%\rü?\nerr\nno end"
    stamps = [line.split(" ", 1)[0] for line in engine.logs(name, query="?timestamps=true").split("\n")]
    assert stamps == sorted(stamps)
    assert len(stamps[0]) == len("2022-10-03T20:41:05.3119525Z")


def test_an_incomplete_line_is_served_while_the_container_runs(engine: Server, name: str) -> None:
    engine.put(name, body(box(script="printf 'half a line'; " + FOREVER)))
    engine.until_state(name, "Running")
    engine.until(name, lambda _: engine.logs(name))
    assert engine.logs(name) == "half a line"


def test_a_hundred_thousand_lines(engine: Server, name: str) -> None:
    engine.put(name, body(box(script="seq 100000; " + FOREVER)))
    engine.until(name, lambda _: engine.logs(name, query="?tail=1") == "100000\n" if _state(engine, name) == "Running" else False, 60)
    assert engine.logs(name).splitlines() == [str(number) for number in range(1, 100001)]


def _state(server: Server, name: str) -> str:
    return server.get(name)["properties"]["instanceView"]["state"]


def test_the_command_takes_the_place_of_entrypoint_and_cmd(engine: Server, name: str) -> None:
    first = container("first", image="localhost/stubborn", command=["/bin/echo"])
    second = container("second", image="localhost/stubborn")
    third = container("third", image="localhost/stubborn", command=["/bin/sh", "-c", "echo $0 $FROM_IMAGE", "given"])
    engine.put(name, body(first, second, third))
    ended(engine, name)
    assert engine.logs(name, "first") == "\n"
    assert engine.logs(name, "second") == "the entrypoint the cmd\n"
    assert engine.logs(name, "third") == "given yes\n"


def test_environment_and_secure_environment(engine: Server, name: str) -> None:
    variables = [{"name": "OPEN", "value": "a b$c"}, {"name": "HIDDEN", "secureValue": "s3cret'\""}]
    engine.put(name, body(box(script='echo "$OPEN|$HIDDEN|${ACI_NOTEBOOK_HOME-none}"', environmentVariables=variables)))
    ended(engine, name)
    assert engine.logs(name) == "a b$c|s3cret'\"|none\n"
    assert "s3cret" not in engine.call("GET", engine.group(name)).text


def test_a_command_that_is_not_in_the_image(engine: Server, name: str) -> None:
    engine.put(name, body(container(image=BUSYBOX, command=["/no/such/program"])))
    group = ended(engine, name)
    assert current(group)["exitCode"] == 128
    events = group["properties"]["containers"][0]["properties"]["instanceView"]["events"]
    assert "/no/such/program" in " ".join(event["message"] for event in events)


def test_volumes_as_another_user_sees_them(engine: Server, name: str) -> None:
    script = "id -u; cat /in/a.txt; echo x 2>/dev/null >/in/new || echo read-only; echo y >/state/made; ls /state"
    mounts = [{"name": "inputs", "mountPath": "/in"}, {"name": "state", "mountPath": "/state"}]
    main = container(image="localhost/stubborn", command=["/bin/sh", "-c", script], volumeMounts=mounts)
    volumes = [{"name": "inputs", "secret": secret(**{"a.txt": "kept\n"})}, {"name": "state", "emptyDir": {}}]
    engine.put(name, body(main, volumes=volumes))
    ended(engine, name)
    assert engine.logs(name) == "1000\nkept\nread-only\nmade\n"


def test_init_containers_run_in_order_and_share_the_emptydir(engine: Server, name: str) -> None:
    mounts = {"volumeMounts": [{"name": "state", "mountPath": "/s"}]}
    inits = [
        {"name": f"init{n}", "properties": {"image": BUSYBOX, "command": ["sh", "-c", f"sleep 0.{3 - n}; echo {n} >> /s/order"], **mounts}}
        for n in (1, 2)
    ]
    engine.put(name, body(box(script="cat /s/order", **mounts), initContainers=inits, volumes=[{"name": "state", "emptyDir": {}}]))
    ended(engine, name)
    assert engine.logs(name) == "1\n2\n"


def test_a_failing_init_container_keeps_the_others_back(engine: Server, name: str) -> None:
    init = {"name": "first", "properties": {"image": BUSYBOX, "command": ["false"]}}
    engine.put(name, body(box(script="echo never"), initContainers=[init]))
    group = ended(engine, name)
    assert (
        "currentState" not in group["properties"]["containers"][0]["properties"].get("instanceView", {})
        or current(group)["state"] == "Waiting"
    )


def test_file_shares_are_folders_of_the_storage_account(engine: Server, name: str) -> None:
    share = engine.state_dir / "storage" / "myaccount" / "myshare"
    share.mkdir(parents=True, exist_ok=True)
    (share / "from-outside").write_text("hello\n")
    file = {"shareName": "myshare", "storageAccountName": "myaccount", "storageAccountKey": "a2V5"}
    volumes = [{"name": "files", "azureFile": file}, {"name": "sealed", "azureFile": {**file, "readOnly": True}}]
    mounts = [{"name": "files", "mountPath": "/f"}, {"name": "sealed", "mountPath": "/r"}]
    script = "cat /f/from-outside; echo made > /f/from-inside; touch /r/x 2>/dev/null || echo sealed"
    engine.put(name, body(box(script=script, volumeMounts=mounts), volumes=volumes))
    ended(engine, name)
    assert engine.logs(name) == "hello\nsealed\n"
    assert (share / "from-inside").read_text() == "made\n"


def test_git_volumes_are_cloned(engine: Server, name: str, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    git = ["git", "-C", str(origin), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "init", "-q", str(origin)], check=True)
    (origin / "readme").write_text("from git\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    volumes = [{"name": "source", "gitRepo": {"repository": f"file://{origin}", "directory": "."}}]
    main = box(script="cat /code/readme", volumeMounts=[{"name": "source", "mountPath": "/code"}])
    engine.put(name, body(main, volumes=volumes))
    ended(engine, name)
    assert engine.logs(name) == "from git\n"


def test_memory_beyond_the_limit_is_killed_with_137(engine: Server, name: str) -> None:
    greedy = box("greedy", "echo begins; tail /dev/zero", resources={"requests": {"cpu": 0.5, "memoryInGB": 0.1}})
    modest = box("modest", "true", resources={"requests": {"cpu": 0.5, "memoryInGB": 0.9}})
    engine.put(name, body(greedy, modest))
    group = ended(engine, name)
    assert current(group)["exitCode"] == 137
    assert engine.logs(name, "greedy") == "begins\n"
    assert current(group, 1)["exitCode"] == 0


def test_limits_are_in_the_cgroup(engine: Server, name: str) -> None:
    files = "/sys/fs/cgroup/cpu.max /sys/fs/cgroup/memory.max"
    old = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us /sys/fs/cgroup/memory/memory.limit_in_bytes"
    requests: dict[str, Any] = {"cpu": 0.5, "memoryInGB": 0.25}
    limited = box(
        "limited", f"cat {files} 2>/dev/null || cat {old}", resources={"requests": requests, "limits": {"cpu": 1, "memoryInGB": 0.5}}
    )
    plain = box("plain", f"cat {files} 2>/dev/null || cat {old}", resources={"requests": {"cpu": 0.5, "memoryInGB": 0.75}})
    engine.put(name, body(limited, plain))
    ended(engine, name)
    quota, period, memory = engine.logs(name, "limited").split()
    assert (int(quota) / int(period), int(memory)) == (1.0, 512 << 20)
    quota, period, memory = engine.logs(name, "plain").split()
    assert (int(quota) / int(period), int(memory)) == (0.5, 768 << 20)


def test_containers_of_a_group_share_localhost(engine: Server, name: str) -> None:
    web = box("web", "echo over the network > /tmp/x; trap 'exit 0' TERM; httpd -f -p 8080 -h /tmp & wait")
    client = box("client", "until wget -qO- http://localhost:8080/x; do sleep 0.1; done")
    engine.put(name, body(web, client))
    engine.until(name, lambda group: current(group, 1).get("exitCode") == 0 if _state(engine, name) == "Running" else False)
    assert engine.logs(name, "client").splitlines()[-1] == "over the network"


def test_a_group_with_a_port_can_be_reached_at_its_address(engine: Server, name: str) -> None:
    import urllib.request

    address = {"type": "Public", "ports": [{"port": 8080}]}
    web = box("web", "echo hello > /tmp/x; trap 'exit 0' TERM; httpd -f -p 8080 -h /tmp & wait", ports=[{"port": 8080}])
    engine.put(name, body(web, ipAddress=address))
    group = engine.until_state(name, "Running")
    url = f"http://{group['properties']['ipAddress']['ip']}:8080/x"
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
                assert answer.read() == b"hello\n"
                return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_restart_policy_on_failure(engine: Server, name: str) -> None:
    mounts = {"volumeMounts": [{"name": "state", "mountPath": "/s"}]}
    script = "[ -e /s/mark ] && exit 0; touch /s/mark; exit 1"
    engine.put(name, body(box(script=script, **mounts), restartPolicy="OnFailure", volumes=[{"name": "state", "emptyDir": {}}]))
    view = ended(engine, name)["properties"]["containers"][0]["properties"]["instanceView"]
    assert view["restartCount"] == 1
    assert view["currentState"]["exitCode"] == 0
    assert view["previousState"]["exitCode"] == 1


def test_stop_sends_sigterm_first_and_start_begins_anew(engine: Server, name: str, podman: Podman) -> None:
    engine.put(name, body(box(script="trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"), box("other", "sleep 60")))
    engine.until(name, lambda _: _state(engine, name) == "Running" and engine.logs(name) == "up\n")
    assert engine.call("POST", f"{engine.group(name)}/stop").status == 204
    assert engine.logs(name) == "up\nbye\n"
    assert not [line for line in podman.containers(engine.state_dir) if name in line]
    assert engine.call("POST", f"{engine.group(name)}/start").status == 204
    engine.until_state(name, "Running")
    engine.until(name, lambda _: engine.logs(name) == "up\n")
    assert len([line for line in podman.containers(engine.state_dir) if name in line]) == 3  # two and the pause


def test_delete_leaves_nothing_in_the_engine(engine: Server, name: str, podman: Podman) -> None:
    script = "trap '' TERM; (setsid sleep 600 &); sleep 600"
    engine.put(name, body(box(script=script), box("other", script)))
    engine.until_state(name, "Running")
    assert engine.call("DELETE", engine.group(name)).status == 200
    assert not [line for line in podman.containers(engine.state_dir) if name in line]
    assert not list(engine.state_dir.glob(f"groups/*/{name}"))


def test_an_eviction_and_a_platform_restart(engine: Server, name: str) -> None:
    mounts = {"volumeMounts": [{"name": "state", "mountPath": "/s"}]}
    main = box(script="echo again >> /s/log; cat /s/log; " + FOREVER, **mounts)
    engine.put(name, body(main, volumes=[{"name": "state", "emptyDir": {}}]))
    engine.until(name, lambda _: _state(engine, name) == "Running" and engine.logs(name) == "again\n")
    engine.control("POST", f"groups/{name}/happen", {"event": "platform_restart"})
    engine.until(name, lambda _: engine.logs(name) == "again\nagain\n")
    engine.control("POST", f"groups/{name}/happen", {"event": "evict", "lose_emptydir": True})
    engine.until(name, lambda _: engine.logs(name) == "again\n")
    assert engine.logs(name) == "again\n", "begun once more, without what it had kept"


def test_what_another_user_wrote_is_removed_by_a_server_that_may_not(podman: Podman, tmp_path: Path, name: str) -> None:
    """A server without root's power over other people's files, as on a desktop whose user may use Docker."""
    powers = "--bounding-set=-dac_override,-dac_read_search,-fowner"
    words = ["setpriv", powers, sys.executable, "-m", "aci_notebook.local", "--runtime", "engine", "--state-dir", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, **podman.environment}) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split(" listening on ")[1].split()[0]
        server = Server(process, tmp_path, url, (tmp_path / "token").read_text())
        mounts = {"volumeMounts": [{"name": "state", "mountPath": "/s"}]}
        script = ["/bin/sh", "-c", "mkdir /s/mine && echo x > /s/mine/file && chmod 500 /s/mine"]
        main = container(image="localhost/stubborn", command=script, **mounts)
        server.put(name, body(main, volumes=[{"name": "state", "emptyDir": {}}]))
        assert current(ended(server, name))["exitCode"] == 0
        (left,) = tmp_path.glob("groups/*/volumes/0/mine/file")
        assert left.stat().st_uid == 1000
        assert server.call("DELETE", server.group(name)).status == 200
        process.terminate()
    assert not list(tmp_path.glob("groups/*"))
    assert not list(tmp_path.glob("left-behind"))
