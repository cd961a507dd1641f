"""runner.sh speaks the same language, under every shell that an image may have."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from running import Bench, Log, read_until, rest_of, wait_gone

SHELLS = {
    "dash": ["dash"],
    "bash": ["bash", "--posix"],
    "ash": ["busybox", "ash"],
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, bench: Bench) -> Bench:
    argv = SHELLS[request.param]
    found = shutil.which(argv[0])
    if not found:
        pytest.skip(f"no {argv[0]} on this machine")
    bench.shell = [found, *argv[1:]]
    return bench


def run(bench: Bench, code: int) -> Log:
    return bench.run(code, entry="runner.sh")


def test_text_ends_and_secrets(shell: Bench) -> None:
    shell.env["KEY"] = "s3cret*[x]"
    script = """printf 'a\\\\b\\tc  \\n\\n'; echo "$KEY$KEY" >&2; printf '1%%\\r2%%\\n'; printf end; exit 3"""
    log = run(shell.sh(script, mask=["KEY", "UNSET"]), 3)
    assert log.text() == b"a\\b\tc  \n\n************\n2%\nend"
    assert (log.end["outcome"], log.words) == ("failed", ["start", "phase", "end"])


def test_a_long_line_is_cut(shell: Bench) -> None:
    log = run(shell.sh("head -c 9000 /dev/zero | tr '\\0' x; echo"), 0)
    assert log.text() == b"x" * 9000 + b"\n"
    assert [mark for _, mark, _ in log.frames] == ["#", "#", "+", "+", "|", "#"]


def test_a_very_long_line_is_read_to_its_end(shell: Bench) -> None:
    log = run(shell.sh("head -c 1000001 /dev/zero | tr '\\0' x; printf '\\nnext'"), 0)  # it takes longer to cut than the program waits
    assert log.text() == b"x" * 1_000_001 + b"\nnext"
    assert (log.end["lines"], log.end["bytes"]) == ("1", "1000006")


def test_who_outlives_the_job_hides_nothing_of_it(shell: Bench) -> None:
    shell.sh("setsid sleep 600 & echo $! | tee escaped; printf said; exit 3")
    try:
        log = run(shell, 3)
    finally:
        os.kill(int((shell.work / "escaped").read_text()), signal.SIGKILL)
    _, said = log.text().split()
    assert said == b"said"


def test_arguments_and_the_body(shell: Bench) -> None:
    argv = ["sh", "-c", 'printf "[%s]\\n" "$@"; cat "$3"', "x", "it's", "a  b", "{body}", ""]
    log = run(shell.job("the body\n", argv=argv), 0)
    assert log.text() == f"[it's]\n[a  b]\n[{shell.state}/body]\n[]\nthe body\n".encode()


def test_signals_retries_and_time(shell: Bench) -> None:
    end = run(shell.sh("kill -9 $$"), 137).end
    assert (end["outcome"], end["signal"]) == ("signal", "SIGKILL")
    fresh(shell)
    log = run(shell.sh("echo x >> tries; [ $(wc -l < tries) -ge 2 ]", retries=3), 0)
    assert log.house("retry") == [{"attempt": "2", "after_exit": "1"}]
    fresh(shell)
    log = run(shell.sh("echo up; exec sleep 60", timeout_s=1), 124)
    assert (log.end["outcome"], log.text()) == ("timeout", b"up\n")


def test_sigterm(shell: Bench) -> None:
    process = shell.sh("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done", linger_s=600).start(entry="runner.sh")
    seen = read_until(process, b"| up\n")
    process.terminate()
    out = rest_of(process)
    log = Log(seen + out).check()
    assert (process.returncode, log.end["outcome"]) == (143, "terminated")
    assert log.text().endswith(b"bye\n")


def test_sigterm_at_any_moment(shell: Bench) -> None:
    for moment in range(40):  # bash 5.2 loses a signal that comes while it reads a $(...): the job would run on
        fresh(shell)
        process = shell.sh("exec sleep 600", linger_s=600).start(entry="runner.sh")
        seen = read_until(process, b"# start ")
        time.sleep(moment / 4000)  # from the first line to well after the program's start
        process.terminate()
        log = Log(seen + rest_of(process)).check()
        assert (process.returncode, log.end["outcome"]) == (143, "terminated"), moment


def test_sigterm_at_any_moment_of_the_linger(shell: Bench) -> None:
    for moment in range(40):  # between the look for a signal and the wait for one, it was not heard for the whole linger
        fresh(shell)
        process = shell.sh("exit 5", linger_s=600).start(entry="runner.sh")
        seen = read_until(process, b"# end ")
        time.sleep(moment / 8000)
        process.terminate()
        assert process.wait(30) == 5, moment
        assert Log(seen + rest_of(process)).check().end["outcome"] == "failed"


def test_a_signal_after_the_end_changes_no_outcome(shell: Bench) -> None:
    process = shell.sh("sleep 600 & echo up; exit 5", retries=30).start(entry="runner.sh")
    seen = read_until(process, b"| up\n")
    while not {"sleep 0.1", "sleep 0.3", "sleep 0.5", "sleep 1"} & children_of(process.pid):
        assert process.poll() is None  # after each attempt the runner waits, for 2 s, for who still holds the pipe
    process.terminate()
    log = Log(seen + rest_of(process)).check()
    assert (process.returncode, log.end["outcome"]) == (5, "failed")
    assert len(log.house("retry")) < 30


def test_a_grandchild_does_not_hold_the_job(bench: Bench) -> None:
    log = run(bench.sh("sleep 600 & echo $!"), 0)  # which waits a minute at most
    wait_gone(int(log.text()))
    assert log.end["outcome"] == "succeeded"


def test_lingering_and_a_restart_in_place(shell: Bench) -> None:
    process = shell.sh("echo x >> runs; echo one; exit 5", linger_s=600).start(entry="runner.sh")
    seen = read_until(process, b"# end ")
    process.terminate()
    assert process.wait(10) == 5
    shell.sh("echo x >> runs", linger_s=0)
    assert run(shell, 0).raw == seen
    assert (shell.work / "runs").read_text() == "x\n"


def test_a_restart_just_after_the_closing_frame(shell: Bench) -> None:
    seen = run(shell.sh("echo one"), 0).raw
    (shell.state / "end").unlink()  # the container was killed before it was written
    assert run(shell, 0).raw == seen


def test_a_restart_in_the_middle(shell: Bench) -> None:
    process = shell.sh("echo $$ > pid; echo one; exec sleep 600").start(entry="runner.sh")
    seen = read_until(process, b"| one\n")
    members = subprocess.run(["ps", "-o", "pid=", "-g", str(process.pid)], capture_output=True, text=True, check=False)
    program = int((shell.work / "pid").read_text())
    for pid in {*map(int, members.stdout.split()), program}:
        with suppress(ProcessLookupError):  # one of them may be gone with another
            os.kill(pid, signal.SIGKILL)
    process.wait(10)
    wait_gone(program)
    log = shell.run(0, entry="runner.sh", check=False)
    assert log.raw.startswith(seen)
    assert log.words[-2:] == ["again", "end"]
    assert log.end["outcome"] == "restarted"


def test_late_and_missing_things(shell: Bench) -> None:
    assert run(shell.sh("echo never", start_by=time.time() - 5), 75).end["outcome"] == "late"
    for code, outcome, job in [
        (127, "no_interpreter", {"body": "print(1)"}),
        (127, "no_interpreter", {"argv": ["no-such-program"]}),
        (125, "install_failed", {"argv": ["true"], "requirements": ["pandas"]}),
    ]:
        fresh(shell)
        log = run(shell.job(**job), code)  # type: ignore[arg-type]
        assert log.end["outcome"] == outcome
        assert log.text() == b""


def test_start_sh_falls_back_to_it(bench: Bench) -> None:
    tools = bench.folder / "bin"
    tools.mkdir()
    for name in ["sh", "cat", "chmod", "date", "mkfifo", "rm", "sleep", "wc", "tail", "setsid", "sync", "cp"]:
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    bench.env["PATH"] = str(tools)
    start = (bench.files / "start.sh").read_text()
    for path in ("/usr/local/bin/python3", "/usr/bin/python3", "/opt/conda/bin/python"):
        assert path in start
        start = start.replace(path, "/nowhere/python3")
    (bench.files / "start.sh").write_text(start)
    log = bench.job("echo here", argv=["sh", "{body}"]).run(0)
    assert log.text() == b"here\n"
    assert "shell" in log.house("start")[0]


def children_of(pid: int) -> set[str]:
    """The command lines of a process's children."""
    told = subprocess.run(["ps", "-A", "-o", "ppid=,args="], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split(None, 1)[1] for line in told if line.split(None, 1)[0] == str(pid)}


def fresh(bench: Bench) -> None:
    """Empty the state folder."""
    for path in bench.state.iterdir():
        path.unlink()
    Path(bench.work / "tries").unlink(missing_ok=True)
