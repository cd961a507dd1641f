"""Which kernels live: locks of the operating system, across processes, forks and homes that take no files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aci_notebook.presence import Presence

HOLDER = """
import sys
from pathlib import Path
from aci_notebook.presence import Presence
presence = Presence(Path(sys.argv[1]))
assert presence.hold()
print(presence.id, flush=True)
sys.stdin.read()
"""
FORK = """
import os
if os.fork() == 0:
    print("held" if presence.held else "free", flush=True)
    sys.stdin.read()
os._exit(0)
"""


@contextmanager
def kernel(home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that holds its lock until its standard input is closed."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Presence]:
    presence = Presence(tmp_path / "home")
    yield presence
    presence.release()


def test_a_kernel_is_alive_from_hold_to_release(tmp_path: Path, mine: Presence) -> None:
    other = Presence(tmp_path / "home")
    assert not other.alive(mine.id)
    assert mine.hold()
    assert mine.hold()
    assert mine.alive(mine.id)
    assert other.alive(mine.id)
    mine.release()
    mine.release()
    assert not other.alive(mine.id)
    assert list((tmp_path / "home" / "kernels").iterdir()) == []


def test_two_kernels_have_two_ids(tmp_path: Path) -> None:
    assert Presence(tmp_path).id != Presence(tmp_path).id


@pytest.mark.parametrize("killer", [signal.SIGKILL, signal.SIGTERM])
def test_another_process_is_alive_until_it_dies_however_it_dies(tmp_path: Path, mine: Presence, killer: signal.Signals) -> None:
    with kernel(mine.home) as (process, other_id):
        assert mine.alive(other_id)
        process.send_signal(killer)
        process.wait()
        assert not mine.alive(other_id)
        stale = mine.home / "kernels" / f"{other_id}.lock"
        assert stale.exists()
        mine.hold()
        assert not stale.exists()


def test_hold_removes_only_what_is_stale(tmp_path: Path, mine: Presence) -> None:
    with kernel(mine.home) as (_, other_id):
        mine.hold()
        assert mine.alive(other_id)
        assert (mine.home / "kernels" / f"{other_id}.lock").exists()


def test_a_child_neither_keeps_nor_takes_the_lock(tmp_path: Path, mine: Presence) -> None:
    """A child that outlives its parent must not make the parent look alive: only the system knows, so real processes do it."""
    command = [sys.executable, "-c", HOLDER.replace("sys.stdin.read()", FORK), str(mine.home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        parent_id, said_by_child = parent.stdout.readline().strip(), parent.stdout.readline().strip()
        parent.wait()
        assert said_by_child == "free"
        assert not mine.alive(parent_id)


def test_a_child_that_ends_leaves_the_parents_lock(mine: Presence) -> None:
    mine.hold()
    watcher = Presence(mine.home)
    before = mine.id
    child = os.fork()
    if child == 0:
        different = mine.id != before and not mine.held and mine.alive(before) and mine.hold() and mine.alive(mine.id)
        mine.release()
        os._exit(0 if different else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert mine.id == before
    assert watcher.alive(before)


def test_a_file_removed_by_a_sweep_between_its_making_and_its_locking_is_made_anew(mine: Presence, monkeypatch: pytest.MonkeyPatch) -> None:
    from aci_notebook import presence as module

    take, removed = module._take, []

    def swept_first(handle: int, *, wait: bool, shared: bool = False) -> bool:
        if wait and not removed:
            path = mine.home / "kernels" / f"{mine.id}.lock"
            path.unlink()
            removed.append(path)
        return take(handle, wait=wait, shared=shared)

    monkeypatch.setattr(module, "_take", swept_first)
    assert mine.hold()
    assert removed
    assert Presence(mine.home).alive(mine.id)


def test_a_home_without_room_for_files_uses_this_users_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "home"
    blocked.write_text("a file where the folder should be")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    mine, other = Presence(blocked), Presence(blocked)
    assert mine.hold()
    assert mine.warning == ""
    assert other.alive(mine.id)
    mine.release()
    assert not other.alive(mine.id)


def test_nowhere_to_hold_is_said_and_does_not_raise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "home"
    blocked.write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(blocked))
    presence = Presence(blocked)
    assert not presence.hold()
    assert not presence.held
    assert "ACI_NOTEBOOK_HOME" in presence.warning
    assert not presence.alive(presence.id)


def test_a_lock_of_another_host_is_left_alone(mine: Presence) -> None:
    folder = mine.home / "kernels"
    folder.mkdir(parents=True)
    foreign = folder / "abc.lock"
    foreign.write_text('{"host": "somewhere-else", "pid": 1}')
    mine.hold()
    assert foreign.exists()
    assert mine.alive("abc")


@pytest.mark.parametrize("odd", ["", "../../etc/passwd", "a/b", "x" * 200])
def test_an_id_that_is_no_file_name_is_not_alive(mine: Presence, odd: str) -> None:
    assert not mine.alive(odd)


def test_lock_files_are_the_owners_only(mine: Presence) -> None:
    mine.hold()
    folder = mine.home / "kernels"
    assert mine.home.stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
