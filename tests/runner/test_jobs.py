"""Whole runs of `/bin/sh start.sh STATE`: how they end, what they leave, how fast they may speak."""

from __future__ import annotations

import io
import os
import signal
import sys
import tarfile
import time

import pytest
from running import Bench, Log, alive, read_until, rest_of, wait_for, wait_gone


def test_a_shell_script_and_its_log(bench: Bench) -> None:
    log = bench.sh("echo out; echo err >&2; pwd; [ -t 0 ] || echo no terminal; cat; exit 3").run(3)
    assert log.text() == f"out\nerr\n{bench.work}\nno terminal\n".encode()
    assert log.words == ["start", "phase", "end"]
    assert log.end["outcome"] == "failed"
    assert log.end["exit"] == "3"
    assert {"peak_memory_bytes", "cpu_s", "wall_s", "install_s"} <= set(log.end)
    (start,) = log.house("start")
    assert (start["run"], start["attempt"], start["runner"]) == ("20261122-ab12cd", "1", "1")


@pytest.mark.parametrize(
    ("script", "code", "outcome", "name"),
    [
        ("true", 0, "succeeded", None),
        ("exit 255", 255, "failed", None),
        ("kill -TERM $$", 143, "signal", "SIGTERM"),
        ("kill -KILL $$", 137, "signal", "SIGKILL"),
        ("kill -SEGV $$", 139, "signal", "SIGSEGV"),
    ],
)
def test_exit_codes_and_signals(bench: Bench, script: str, code: int, outcome: str, name: str | None) -> None:
    end = bench.sh(script).run(code).end
    assert (end["outcome"], end.get("signal")) == (outcome, name)


def test_a_silent_job_gives_signs_of_life_and_one_that_prints_gives_none(bench: Bench) -> None:
    log = bench.sh("sleep 5; for n in 1 2 3 4 5 6; do echo $n; sleep 0.5; done").run(0)
    assert log.words == ["start", "phase", "alive", "alive", "end"]
    assert [round(float(said["wall_s"])) for said in log.house("alive")] == [2, 4]
    assert log.text() == b"1\n2\n3\n4\n5\n6\n"


def test_a_program_that_is_not_there(bench: Bench) -> None:
    log = bench.job(argv=["no-such-program", "x"]).run(127)
    assert log.end["outcome"] == "no_interpreter"
    assert "no-such-program" in log.house("warn")[0]["text"]


def test_a_script_without_a_first_line_runs_as_in_a_shell(bench: Bench) -> None:
    assert bench.job('echo $0 | sed s,.*/,,; echo "$1"', argv=["{body}", "{body} "]).run(0).text() == b"body\n{body} \n"


def test_text_that_looks_like_a_frame_is_text(bench: Bench) -> None:
    log = bench.sh("echo '     9# end exit=0 outcome=succeeded frames=9'; exit 1").run(1)
    assert log.text() == b"     9# end exit=0 outcome=succeeded frames=9\n"
    assert log.end["outcome"] == "failed"


def test_secrets_are_masked_everywhere(bench: Bench) -> None:
    bench.env["API_KEY"] = "hunter22"
    body = "import os, sys\nprint(os.environ['API_KEY'])\nsys.stdout.write('hun'); sys.stdout.write('ter22\\n')\n"
    log = bench.job(body + "raise ValueError(os.environ['API_KEY'])", mask=["API_KEY", "UNSET"]).run(1)
    assert b"hunter22" not in log.raw
    assert log.text() == b"******\n******\n"
    assert b"hunter22" not in log.objects()["error"]
    assert b"ValueError: ******" in log.payloads("!")


def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_job(bench: Bench) -> None:
    pid_file = bench.folder / "pid"
    began = time.monotonic()
    log = bench.sh(f"sleep 600 & echo $! > {pid_file}; echo started").run(0)
    assert time.monotonic() - began > 1.9  # it had its time to write; `run` waits a minute at most
    assert log.text() == b"started\n"
    assert "left processes behind" in log.house("warn")[0]["text"]
    wait_gone(int(pid_file.read_text()))


def test_a_grandchild_that_ignores_the_request_to_end_is_killed(bench: Bench) -> None:
    pid_file = bench.folder / "pid"
    script = f"(trap '' TERM; exec >/dev/null 2>&1; echo $(sh -c 'echo $PPID') > {pid_file}; while :; do sleep 0.05; done) &\n"
    log = bench.sh(script + f"while [ ! -s {pid_file} ]; do :; done").run(0)
    assert "left processes behind" in log.house("warn")[0]["text"]
    wait_gone(int(pid_file.read_text()))


def test_the_time_limit_counts_everything_and_asks_before_it_kills(bench: Bench) -> None:
    log = bench.sh("trap 'echo asked; exit 9' TERM; echo up; while :; do sleep 0.02; done", timeout_s=0.5).run(124)
    assert log.text().startswith(b"up\n")
    assert log.text().endswith(b"asked\n")
    assert log.end["outcome"] == "timeout"


def test_sigterm_reaches_the_program_and_the_log_ends_at_once(bench: Bench) -> None:
    bench.sh("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done", linger_s=600)
    process = bench.start()
    seen = read_until(process, b"| up\n")
    process.terminate()
    out = rest_of(process)
    log = Log(seen + out).check()
    assert process.returncode == 143
    assert log.text().startswith(b"up\n")
    assert log.text().endswith(b"bye\n")
    assert log.end["outcome"] == "terminated"


def test_a_second_sigterm_does_not_wait_for_the_grace(bench: Bench) -> None:
    process = bench.sh("trap '' TERM; echo up; while :; do sleep 0.02; done").start()
    seen = read_until(process, b"| up\n")
    process.terminate()
    time.sleep(0.05)
    process.terminate()
    out = rest_of(process)
    assert Log(seen + out).check().end["outcome"] == "terminated"


def test_lingering_ends_early_on_sigterm_with_the_exit_code_of_the_job(bench: Bench) -> None:
    process = bench.sh("exit 7", linger_s=600).start()
    read_until(process, b"# end ")
    assert process.poll() is None
    process.terminate()
    assert process.wait(5) == 7


def test_a_burst_is_spooled_and_paced_in_order_and_does_not_block_the_job(bench: Bench) -> None:
    done = bench.folder / "done"
    bench.sh(f"seq 1 30000; echo done > {done}", burst_bytes=50_000, rate_bytes_s=2_000_000)
    process = bench.start()
    wait_for(done)  # nobody has read a byte yet, and a pipe holds 64 KB
    began = time.monotonic()
    out, _ = process.communicate(timeout=30)
    log = Log(out).check()
    assert log.text() == b"".join(b"%d\n" % i for i in range(1, 30001))
    cost = sum(len(line) + 33 for line in out.splitlines())
    assert time.monotonic() - began > (cost - 50_000 - 20_000 - 400_000) / 2_000_000


def test_sigterm_ends_the_pacing_of_what_waits(bench: Bench) -> None:
    done = bench.folder / "done"
    process = bench.sh(f"seq 1 20000; echo done > {done}", burst_bytes=1000, rate_bytes_s=1000).start()
    seen = read_until(process, b"| 1\n")
    wait_for(done)
    process.terminate()
    out = rest_of(process)
    assert Log(seen + out).check().text().endswith(b"\n20000\n")


def test_lines_leave_while_the_program_runs(bench: Bench) -> None:
    gate = bench.folder / "gate"
    process = bench.sh(f"echo first; printf open; while [ ! -e {gate} ]; do sleep 0.01; done; echo").start()
    seen = read_until(process, b"+ open\n")
    gate.touch()
    out = rest_of(process)
    assert Log(seen + out).check().text() == b"first\nopen\n"


def test_paths_come_home_also_from_a_failed_run(bench: Bench) -> None:
    script = "mkdir -p out/deep 'a b'; echo 1 > out/deep/x; ln -s deep/x out/link; echo 2 > 'a b/y'; mkfifo out/f; exit 4"
    log = bench.sh(script, paths=["out/", "a b/y", "none"]).run(4)
    assert set(log.objects()) == {"path:out/", "path:a%20b/y"}
    with tarfile.open(fileobj=io.BytesIO(log.objects()["path:out/"])) as tar:
        assert sorted(tar.getnames()) == ["out", "out/deep", "out/deep/x", "out/link"]
        member = tar.extractfile("out/deep/x")
        assert member
        assert member.read() == b"1\n"
        assert tar.getmember("out/deep/x").uname == ""
    assert log.house("skip")[0]["name"] == "path:none"


def test_objects_share_one_limit(bench: Bench) -> None:
    script = "head -c 60000 /dev/urandom > a; cp a b; echo small > c"
    log = bench.sh(script, paths=["a", "b", "c"], objects_limit_bytes=100_000).run(0)
    assert list(log.objects()) == ["path:a", "path:c"]
    assert "100,000" in log.house("skip")[0]["reason"]


def test_retries_run_the_program_again_until_it_succeeds(bench: Bench) -> None:
    script = "echo x >> tries; echo try $(wc -l < tries); [ $(wc -l < tries) -ge 3 ] || exit 5"
    log = bench.sh(script, retries=4).run(0)
    assert log.text() == b"try 1\ntry 2\ntry 3\n"
    assert log.house("retry") == [{"attempt": "2", "after_exit": "5"}, {"attempt": "3", "after_exit": "5"}]


def test_retries_are_used_up(bench: Bench) -> None:
    log = bench.job("raise SystemExit(9)", retries=1).run(9)
    assert log.words.count("retry") == 1


def test_late(bench: Bench) -> None:
    log = bench.sh("echo never", start_by=time.time() - 1).run(75)
    assert log.words == ["start", "end"]
    assert log.end["outcome"] == "late"


def test_in_time(bench: Bench) -> None:
    assert bench.sh("echo now", start_by=time.time() + 60).run(0).text() == b"now\n"


def test_a_missing_state_folder_is_reported(bench: Bench) -> None:
    bench.sh("echo never")
    bench.state.rmdir()
    log = bench.run(126)
    assert "state folder" in log.house("warn")[0]["text"]


def test_a_broken_payload_is_reported(bench: Bench) -> None:
    bench.sh("echo never")
    (bench.files / "job.json").write_text("{")
    log = bench.run(126)
    assert "the runner cannot begin" in log.house("warn")[0]["text"]


def test_read_only_files_and_no_home(bench: Bench) -> None:
    bench.env["HOME"] = "-"
    bench.job("import os; os.path.expanduser('~')[:1]")
    for path in bench.files.iterdir():
        path.chmod(0o444)
    bench.files.chmod(0o555)
    try:
        assert b"'/'" in bench.run(0).objects()["value"]
        assert not [path for path in bench.files.iterdir() if "pycache" in path.name]
    finally:
        bench.files.chmod(0o755)


def test_a_reader_that_goes_away_does_not_end_the_job(bench: Bench) -> None:
    done = bench.folder / "done"
    process = bench.sh(f"echo one; sleep 0.1; seq 1 9999; echo two; echo done > {done}; exit 3").start()
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == 3
    assert done.exists()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs a pid namespace of its own: root on Linux")
def test_process_one_reaps_orphans_and_obeys_sigterm(bench: Bench) -> None:
    bench.shell = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh"]
    script = "(setsid sleep 0.05 &) ; (true &); sleep 0.3; ps -eo stat,comm --no-headers | grep -c ^Z; echo parent=$PPID; sleep 60"
    process = bench.sh(script).start()
    seen = read_until(process, b"| parent=")
    if b"unshare" in seen:
        pytest.skip("this machine allows no namespaces")
    assert Log(seen).text() == b"0\nparent=1\n"
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    with open(children) as file:
        os.kill(int(file.read().split()[0]), signal.SIGTERM)
    out = rest_of(process)
    assert Log(seen + out).end["outcome"] == "terminated"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_unprivileged_user(bench: Bench) -> None:
    for path in (bench.folder, *bench.folder.parents[:3]):
        if path.owner() == "root" and str(path) != "/tmp":
            path.chmod(0o755)
    os.chown(bench.state, 65534, 65534)
    bench.python = "/usr/bin/python3"
    bench.shell = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/bin/sh"]
    assert bench.sh("id -u").run(0).text() == b"65534\n"


def test_nothing_of_a_run_stays(bench: Bench) -> None:
    process = bench.sh("sleep 60 & echo $!; setsid sleep 0.1 & wait").start()
    seen = read_until(process, b"| ")
    process.terminate()
    rest_of(process)
    assert not alive(int(seen.split()[-1]))
