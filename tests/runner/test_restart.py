"""The platform starts the container again: the job does not run twice, and the log is the same log."""

from __future__ import annotations

import os
import signal
import subprocess

from running import Bench, Log, read_until


def kill_runner(bench: Bench, process: subprocess.Popen[bytes]) -> None:
    """Kill the runner as the platform does, and its job with it."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    if (bench.work / "pid").exists():
        os.kill(int((bench.work / "pid").read_text()), signal.SIGKILL)


LONG = "echo x >> runs; echo $$ > pid; echo one; echo two; exec sleep 600"


def test_in_the_middle_of_the_job(bench: Bench) -> None:
    process = bench.sh(LONG).start()
    seen = read_until(process, b"| two\n")
    kill_runner(bench, process)
    again = bench.run(0)
    assert again.raw.startswith(seen)
    assert again.words == ["start", "phase", "again", "end"]
    assert again.end["outcome"] == "restarted"
    assert (again.end["lines"], again.end["bytes"]) == ("2", "8")
    assert (bench.work / "runs").read_text() == "x\n"
    third = bench.run(0)  # and once more: nothing new at all
    assert third.raw == again.raw


def test_after_the_end(bench: Bench) -> None:
    process = bench.sh("echo x >> runs; echo one; exit 5", linger_s=600).start()
    seen = read_until(process, b"# end ")
    kill_runner(bench, process)
    bench.sh("echo x >> runs; echo one; exit 5", linger_s=0)
    assert bench.run(0).raw == seen
    assert (bench.work / "runs").read_text() == "x\n"


def test_between_the_closing_frame_and_its_file(bench: Bench) -> None:
    first = bench.sh("echo one").run(0)
    (bench.state / "end").unlink()
    assert bench.run(0).raw == first.raw


def test_text_that_says_end_is_not_the_end(bench: Bench) -> None:
    process = bench.sh("echo $$ > pid; echo '# end exit=0'; exec sleep 600").start()
    read_until(process, b"# end exit")
    kill_runner(bench, process)
    assert bench.run(0).end["outcome"] == "restarted"


def test_an_empty_mark_counts_as_a_start(bench: Bench) -> None:
    (bench.state / "started").touch()
    assert bench.sh("echo never").run(0, check=False).end["outcome"] == "restarted"


def test_retries_count_a_restart_as_an_attempt(bench: Bench) -> None:
    process = bench.sh(LONG, retries=1).start()
    read_until(process, b"| two\n")
    kill_runner(bench, process)
    process = bench.start()
    seen = read_until(process, b"again")
    seen += read_until(process, b"| two\n")
    log = Log(seen)
    assert log.numbers == list(range(1, len(log.frames) + 1))
    assert log.house("again")[0]["attempt"] == "2"
    assert (bench.work / "runs").read_text() == "x\nx\n"
    kill_runner(bench, process)
    last = bench.run(0)
    assert last.end["outcome"] == "restarted"
    assert (bench.work / "runs").read_text() == "x\nx\n"


def test_a_late_restart_is_no_late_start(bench: Bench) -> None:
    bench.sh("echo one", start_by=4e9).run(0)
    bench.sh("echo one", start_by=1)
    assert bench.run(0).end["outcome"] == "succeeded"


def test_a_torn_frame_is_not_replayed(bench: Bench) -> None:
    process = bench.sh(LONG).start()
    seen = read_until(process, b"| two\n")
    kill_runner(bench, process)
    with open(bench.state / "spool", "ab") as spool:
        spool.write(b"     5| thr")
    assert bench.run(0).raw.startswith(seen + b"     5# again ")
