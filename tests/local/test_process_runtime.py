"""Containers as processes of this machine: paths, images, ends, and what is refused (design §7)."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aci_notebook.local.runtimes import images
from aci_notebook.local.runtimes.volumes import PathReplacer

from .conftest import Server, body, container, processes_of, secret, shell

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


def ended(server: Server, name: str) -> Any:
    group = server.until(name, lambda group: group["properties"]["instanceView"]["state"] in ("Succeeded", "Failed"))
    return group["properties"]["containers"][0]["properties"]["instanceView"]["currentState"]


def test_a_run_as_our_client_makes_it(process: Server, name: str) -> None:
    script = 'here=$(dirname "$0"); cat "$here/data.txt"; echo kept > "$1/mark"; cat /aci/state/mark 2>&1; command -v python3'
    files = {"start.sh": script.encode(), "data.txt": b"from the secret\n"}
    main = container(
        image=f"python:{MINOR}-slim",
        command=["/bin/sh", "/aci/in/start.sh", "/aci/state"],
        volumeMounts=[{"name": "inputs", "mountPath": "/aci/in"}, {"name": "state", "mountPath": "/aci/state"}],
    )
    volumes = [
        {"name": "inputs", "secret": {key: base64.b64encode(value).decode() for key, value in files.items()}},
        {"name": "state", "emptyDir": {}},
    ]
    process.put(name, body(main, volumes=volumes))
    ended(process, name)
    lines = process.logs(name).splitlines()
    assert lines[0] == "from the secret"
    assert lines[-1].endswith("/python/bin/python3")


def test_the_python_image_is_bare_and_has_pip(process: Server, name: str) -> None:
    code = "import sys, pip, importlib.util as u; print(u.find_spec('tornado'), sys.prefix != sys.base_prefix)"
    script = f'python -c "{code}"; pip --version; pip list --format=freeze; for x in pip python python3; do command -v $x; done'
    main = container(image="docker.io/library/python:3", command=["sh", "-c", script])
    process.put(name, body(main))
    assert ended(process, name)["exitCode"] == 0, process.logs(name)
    lines = process.logs(name).splitlines()
    assert lines[0] == "None True"
    assert lines[1].startswith("pip ")
    assert {line.partition("==")[0] for line in lines[2:-3]} <= {"pip", "setuptools"}
    assert {line.rpartition("/")[0] for line in lines[-3:]} == {lines[-1].rpartition("/")[0]}


def test_what_a_container_installs_no_other_sees(process: Server, name: str) -> None:
    write = "import sysconfig; open(sysconfig.get_path('purelib') + '/left_behind.py', 'w').write('x = 1')"
    for suffix, code, expected in (("a", f"{write}; import left_behind", 0), ("b", "import left_behind", 1)):
        process.put(f"{name}-{suffix}", body(container(image="python", command=["python3", "-c", code])))
        assert ended(process, f"{name}-{suffix}")["exitCode"] == expected, process.logs(f"{name}-{suffix}")
    assert "ModuleNotFoundError" in process.logs(f"{name}-b")


def test_stdout_and_stderr_are_one_stream_in_order(process: Server, name: str) -> None:
    process.put(name, shell("for i in 1 2 3; do echo out $i; echo err $i >&2; done; printf 'no end'"))
    ended(process, name)
    assert process.logs(name) == "".join(f"out {i}\nerr {i}\n" for i in (1, 2, 3)) + "no end"


def test_an_incomplete_line_is_served_as_it_is(process: Server, name: str) -> None:
    process.put(name, shell("printf 'half a line'; sleep 60"))
    process.until_state(name, "Running")
    process.until(name, lambda _: process.logs(name))
    assert process.logs(name) == "half a line"


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -TERM $$", 143), ("kill -KILL $$", 137), ("true", 0)])
def test_exit_codes(process: Server, name: str, script: str, code: int) -> None:
    process.put(name, shell(script))
    assert ended(process, name)["exitCode"] == code


def test_the_exit_is_seen_although_a_grandchild_holds_the_output(process: Server, name: str) -> None:
    process.put(name, shell("setsid sleep 300 & echo started; exit 0"))
    assert ended(process, name)["exitCode"] == 0  # waits some seconds, not 300
    assert process.logs(name) == "started\n"


def test_delete_ends_every_process_however_it_hides(process: Server, name: str) -> None:
    script = "trap '' TERM HUP; (setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 0.1; done' /m/hidden &) ; while :; do sleep 0.1; done"
    group = shell(script, volumeMounts=[{"name": "state", "mountPath": "/m"}])
    group["properties"]["volumes"] = [{"name": "state", "emptyDir": {}}]
    process.put(name, group)
    process.until_state(name, "Running")
    (folder,) = process.state_dir.glob("groups/*")
    assert process.call("DELETE", process.group(name)).status == 200
    assert processes_of(folder) == []


def test_stop_sends_sigterm_first(process: Server, name: str) -> None:
    process.put(name, shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"))
    process.until_state(name, "Running")
    process.until(name, lambda _: process.logs(name) == "up\n")
    assert process.call("POST", f"{process.group(name)}/stop").status == 204
    assert process.logs(name) == "up\nbye\n"


def test_volumes_live_through_a_container_restart_and_an_eviction_may_take_them(process: Server, name: str) -> None:
    script = "ls /state; touch /state/mark$(ls /state | wc -l); sleep 60"
    group = shell(script, volumeMounts=[{"name": "state", "mountPath": "/state"}])
    group["properties"]["volumes"] = [{"name": "state", "emptyDir": {}}]
    process.put(name, group)
    process.until_state(name, "Running")
    (folder,) = process.state_dir.glob("groups/*/volumes/0")
    process.until(name, lambda _: (folder / "mark0").exists())
    process.control("POST", f"groups/{name}/happen", {"event": "platform_restart"})
    process.until(name, lambda _: (folder / "mark1").exists())
    assert process.logs(name) == "mark0\n"
    process.control("POST", f"groups/{name}/happen", {"event": "evict", "lose_emptydir": True})
    process.until(name, lambda _: sorted(os.listdir(folder)) == ["mark0"])


def test_containers_of_a_group_share_volumes_and_init_containers_come_first(process: Server, name: str) -> None:
    mounts = {"volumeMounts": [{"name": "state", "mountPath": "/s"}]}
    init = {"name": "first", "properties": {"image": "busybox", "command": ["sh", "-c", "echo made > /s/x"], **mounts}}
    reader = container("reader", command=["cat", "/s/x"], **mounts)
    other = container("other", command=["sh", "-c", "echo other"])
    process.put(name, body(reader, other, initContainers=[init], volumes=[{"name": "state", "emptyDir": {}}]))
    process.until_state(name, "Succeeded")
    assert (process.logs(name, "reader"), process.logs(name, "other")) == ("made\n", "other\n")
    assert process.logs(name, "first") == ""


def test_an_azure_file_share_is_a_folder(process: Server, name: str) -> None:
    share = process.state_dir / "storage" / "account" / "files"
    share.mkdir(parents=True, exist_ok=True)
    (share / "in.txt").write_text("shared\n")
    group = shell("cat /share/in.txt; echo out > /share/out.txt", volumeMounts=[{"name": "share", "mountPath": "/share/"}])
    azure = {"shareName": "files", "storageAccountName": "account", "storageAccountKey": "k"}
    group["properties"]["volumes"] = [{"name": "share", "azureFile": azure}]
    process.put(name, group)
    ended(process, name)
    assert process.logs(name) == "shared\n"
    assert process.call("DELETE", process.group(name)).status == 200
    assert (share / "out.txt").read_text() == "out\n"


def test_a_share_that_does_not_exist_is_a_mount_failure(process: Server, name: str) -> None:
    group = body(volumes=[{"name": "share", "azureFile": {"shareName": "nothing", "storageAccountName": "account"}}])
    process.put(name, group)
    shown = process.until(name, lambda group: group["properties"]["instanceView"]["events"])
    assert shown["properties"]["instanceView"]["events"][0]["name"] == "FailedMount"


def test_git_volumes_are_cloned(process: Server, name: str, tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init", "--quiet")
    (tmp_path / "file").write_text("one\n")
    git("add", ".")
    git("commit", "-qm", "one")
    git("tag", "v1")
    (tmp_path / "file").write_text("two\n")
    git("commit", "-qam", "two")
    group = shell("cat /a/file /b/sub/file", volumeMounts=[{"name": "git-a", "mountPath": "/a"}, {"name": "git-b", "mountPath": "/b"}])
    group["properties"]["volumes"] = [
        {"name": "git-a", "gitRepo": {"repository": str(tmp_path), "directory": "."}},
        {"name": "git-b", "gitRepo": {"repository": f"file://{tmp_path}", "directory": "sub", "revision": "v1"}},
    ]
    process.put(name, group)
    ended(process, name)
    assert process.logs(name) == "two\none\n"


def test_a_command_that_cannot_be_started(process: Server, name: str) -> None:
    process.put(name, body(container(command=["/no/such/program"])))
    group = process.until(name, lambda group: group["properties"]["provisioningState"] == "Failed")
    assert group["properties"]["instanceView"]["state"] == "Failed"
    assert "Failed to start container main" in str(group)


ANY_MOUNT = {"volumes": [{"name": "state", "emptyDir": {}}]}
CANNOT = {
    "windows": (body(osType="Windows"), "OsVersionNotSupported", 400),
    "liveness probe": (body(container(livenessProbe={"exec": {"command": ["true"]}})), "UnsupportedFeature", 400),
    "readiness probe": (body(container(readinessProbe={"exec": {"command": ["true"]}})), "UnsupportedFeature", 400),
    "security context": (body(container(securityContext={"runAsUser": 1})), "UnsupportedFeature", 400),
    "subnet": (body(subnetIds=[{"id": "/x"}]), "UnsupportedFeature", 400),
    "log analytics": (body(diagnostics={"logAnalytics": {"workspaceId": "x"}}), "UnsupportedFeature", 400),
    "identity": (body(identity={"type": "SystemAssigned"}), "UnsupportedFeature", 400),
    "zone": (body(zones=["1"]), "UnsupportedFeature", 400),
    "extension": (body(extensions=[{"name": "x", "properties": {}}]), "UnsupportedFeature", 400),
    "confidential": (body(sku="Confidential"), "ServiceUnavailable", 409),
    "gpu": (
        body(container(resources={"requests": {"cpu": 1, "memoryInGB": 1, "gpu": {"count": 1, "sku": "V100"}}})),
        "ServiceUnavailable",
        409,
    ),
    "git over ssh": (
        body(volumes=[{"name": "sources", "gitRepo": {"repository": "ssh://x/y"}}]),
        "UnsupportedFeature",
        400,
    ),
    "git with a helper": (
        body(volumes=[{"name": "sources", "gitRepo": {"repository": "ext::sh -c x"}}]),
        "UnsupportedFeature",
        400,
    ),
    "read-only scratch": (
        body(container(volumeMounts=[{"name": "state", "mountPath": "/s", "readOnly": True}]), **ANY_MOUNT),
        "UnsupportedFeature",
        400,
    ),
}


@pytest.mark.parametrize("case", CANNOT)
def test_what_it_cannot_honour_it_refuses(process: Server, name: str, case: str) -> None:
    sent, code, status = CANNOT[case]
    answer = process.put(name, sent)
    assert (answer.status, answer.code) == (status, code), answer.text


@pytest.mark.parametrize("image", ["nginx", "python:2", "python:3.2", "mine.example/python:3", "python@sha256:00", "../x"])
def test_a22_other_images_are_inaccessible_and_the_message_says_what_runs(process: Server, name: str, image: str) -> None:
    answer = process.put(name, body(container(image=image)))
    assert (answer.status, answer.code) == (400, "InaccessibleImage")
    assert f"can run: {images.RUNNABLE}." in answer.message


@pytest.mark.parametrize(
    "image",
    ["python", "python:latest", "python:3", "python:3-slim", f"python:{MINOR}", f"python:{MINOR}.4-slim-bookworm",
     f"docker.io/library/python:{MINOR}-alpine", f"mcr.microsoft.com/mirror/docker/library/python:{MINOR}"],
)  # fmt: skip
def test_images_that_are_this_interpreter(image: str) -> None:
    known = images.recognise(image)
    assert known is not None
    assert known.is_python


@pytest.mark.parametrize("image", ["alpine", "busybox:1.36", "bash:5", "debian:bookworm-slim", "docker.io/library/ubuntu"])
def test_images_that_are_this_machines_shell(image: str) -> None:
    known = images.recognise(image)
    assert known is not None
    assert not known.is_python


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("/aci/in", "/real/0"),
        ("/aci/in/start.sh", "/real/0/start.sh"),
        ("--file=/aci/in/x", "--file=/real/0/x"),
        ("/usr/bin:/aci/in:/bin", "/usr/bin:/real/0:/bin"),
        ("cat '/aci/in/a b' > /aci/state/x", "cat '/real/0/a b' > /real/1/x"),
        ("file:///aci/in/x", "file:///real/0/x"),
        ("/aci/inner", "/aci/inner"),
        ("/aci/in-put", "/aci/in-put"),
        ("/my/aci/in", "/my/aci/in"),
        ("~/aci/in", "~/aci/in"),
        ("/aci/in/deep/x", "/real/2/x"),
    ],
)
def test_mount_paths_are_replaced_at_path_boundaries(text: str, replaced: str) -> None:
    folders = {"/aci/in": "/real/0", "/aci/state": "/real/1", "/aci/in/deep": "/real/2"}
    assert PathReplacer(folders)(text) == replaced


def test_secrets_mounted_read_only_have_no_write_permission(process: Server, name: str) -> None:
    group = shell("ls -l /in/key | cut -c1-10", volumeMounts=[{"name": "inputs", "mountPath": "/in", "readOnly": True}])
    group["properties"]["volumes"] = [{"name": "inputs", "secret": secret(key="x")}]
    process.put(name, group)
    ended(process, name)
    assert process.logs(name) == "-r--------\n"
