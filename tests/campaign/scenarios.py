# ruff: noqa: E501 - a table of programs, one a row
"""What programs write, and what must arrive. Shares no code with runner or client: expected bytes are written down here, or counted by
the program itself in a file outside its container (`TALLY`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

BIG = 10_000_000
NOT_READABLE_AFTER = {"delete", "evict, emptyDir lost"}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Scenario:
    """A program and its truth. `happening` is done to its group while it runs; `endless` programs are cut by that: any beginning is right."""

    name: str
    code: str
    outcomes: frozenset[str]
    expected: Callable[[], bytes] = lambda: b""
    options: dict[str, object] = field(default_factory=dict)
    happening: str = ""
    endless: bool = False
    traceback: str = ""
    exit_code: int | None = None


def _lines(count: int, text: str = "line {}") -> bytes:
    return b"".join(text.format(n).encode() + b"\n" for n in range(count))


def on_a_terminal(data: bytes) -> bytes:
    """What is seen of lines that were rewritten: of each line the part behind its last carriage return."""
    return b"\n".join(line.rstrip(b"\r").rsplit(b"\r", 1)[-1] for line in data.split(b"\n"))


def seen(data: bytes) -> str:
    """What a cell must show of these bytes: letters and lines; how control characters look is the display's business."""
    text = _ESCAPES.sub("", on_a_terminal(data).decode("utf-8", "replace"))
    shown = "\n".join("".join(char for char in line if char.isascii() and char.isprintable()) for line in text.split("\n"))
    return shown.strip()


GOOD = frozenset({"succeeded"})
ENDLESS = """
import os, time
first = not os.path.exists(TALLY)  # what a second life prints must not arrive, and is not expected
tally = open(TALLY if first else os.devnull, "ab", buffering=0)
for n in range(100_000):
    print("line", n, flush=True)
    tally.write(b".")
    time.sleep(0.02)
"""

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("steady, 200 lines in 4 s", "import time\nfor n in range(200):\n    print('line', n)\n    time.sleep(0.02)", GOOD, lambda: _lines(200)),
    Scenario("burst of 5,000 lines", "for n in range(5000): print('line', n)", GOOD, lambda: _lines(5_000)),
    Scenario("300 identical lines", "import time\nfor n in range(300):\n    print('tick')\n    time.sleep(0.005)", GOOD, lambda: b"tick\n" * 300),
    Scenario(
        "a progress bar",
        "import sys, time\nprint('begin')\nfor n in range(41):\n    sys.stdout.write('\\r%3d%%|%s|' % (n * 2.5, '#' * n)); sys.stdout.flush()\n"
        "    time.sleep(0.03)\nprint()\nprint('end')",
        GOOD,
        lambda: b"begin\n100%|" + b"#" * 40 + b"|\nend\n",
    ),
    Scenario(
        "a bar in colours, as rich draws",
        "import sys, time\nprint('begin', flush=True)\nsys.stdout.write('\\x1b[?25l')\nfor n in range(41):\n"
        "    sys.stdout.write('\\r\\x1b[2Kwork \\x1b[91m%s\\x1b[0m \\x1b[35m%3d%%\\x1b[0m' % ('━' * n, n * 2.5)); sys.stdout.flush()\n"
        "    time.sleep(0.03)\nprint('\\n\\x1b[?25hend')",
        GOOD,
        lambda: b"begin\nwork \x1b[91m" + "━".encode() * 40 + b"\x1b[0m \x1b[35m100%\x1b[0m\n\x1b[?25hend\n",
    ),
    Scenario("no newline at the end", "import sys\nprint('a')\nsys.stdout.write('no newline')", GOOD, lambda: b"a\nno newline"),
    Scenario("one line of 10 MB", f"print('x' * {BIG})", GOOD, lambda: b"x" * BIG + b"\n"),
    Scenario(
        "invalid UTF-8",
        "import sys\nsys.stdout.buffer.write(b'caf\\xc3\\xa9 \\xff\\xfe cut \\xe2\\x82')\nsys.stdout.buffer.flush()\nimport time; time.sleep(0.4)\n"
        "sys.stdout.buffer.write(b'\\xac end\\n' + bytes(b for b in range(256) if b != 13))",
        GOOD,
        lambda: b"caf\xc3\xa9 \xff\xfe cut \xe2\x82\xac end\n" + bytes(b for b in range(256) if b != 13),
    ),
    Scenario("ANSI colours", "for n in range(50): print('\\x1b[1;31mred', n, '\\x1b[0m')", GOOD, lambda: _lines(50, "\x1b[1;31mred {} \x1b[0m")),
    Scenario("NUL bytes", "print('a\\0b')\nprint('\\0' * 10)\nprint('c')", GOOD, lambda: b"a\0b\n" + b"\0" * 10 + b"\nc\n"),
    Scenario("lines that look like frames", "for n in range(1, 60): print('%6d| %d' % (n, n)); print('%6d# end exit=0' % n)", GOOD,
             lambda: b"".join(b"%6d| %d\n%6d# end exit=0\n" % (n, n, n) for n in range(1, 60))),
    Scenario("no output", "import time; time.sleep(1)", GOOD),
    Scenario("over in 50 ms", "print('done')", GOOD, lambda: b"done\n"),
    Scenario("exit code 3", "import sys\nprint('x')\nsys.exit(3)", frozenset({"failed"}), lambda: b"x\n", exit_code=3),
    Scenario("a signal", "import os, signal\nprint('x', flush=True)\nos.kill(os.getpid(), signal.SIGUSR1)", frozenset({"failed"}), lambda: b"x\n", exit_code=138),
    Scenario("a group that never starts", "print('never')", frozenset({"start_timeout"}), lambda: b"", {"start_timeout_s": 5.0, "volumes": "git+https://127.0.0.1:1/nothing:/data"}),
    Scenario("an exception", "print('x')\nraise ValueError('boom')", frozenset({"failed"}), lambda: b"x\n", traceback="ValueError: boom", exit_code=1),
    Scenario("a time-out", "import time\nprint('x', flush=True)\ntime.sleep(60)", frozenset({"timeout"}), lambda: b"x\n", {"timeout_s": 3.0}, exit_code=124),
    Scenario("killed for memory", ENDLESS, frozenset({"oom"}), happening="oom", endless=True),
    Scenario("evicted", ENDLESS, frozenset({"restarted", "evicted"}), happening="evict", endless=True),
    Scenario("evicted, and its emptyDir lost", ENDLESS, frozenset({"restarted"}), happening="evict, emptyDir lost", endless=True),
    Scenario("platform restart", ENDLESS, frozenset({"restarted"}), happening="platform_restart", endless=True),
    Scenario("platform kill", ENDLESS, frozenset({"evicted"}), happening="platform_kill", endless=True),
    Scenario("somebody stops the group", ENDLESS, frozenset({"stopped"}), happening="stop", endless=True),
    Scenario("somebody deletes the group", ENDLESS, frozenset({"lost"}), happening="delete", endless=True),
)  # fmt: skip


def program(scenario: Scenario, tally: Path) -> str:
    return f"TALLY = {str(tally)!r}\n{scenario.code}" if scenario.endless else scenario.code


@dataclass(frozen=True)
class Compared:
    """How what arrived differs from what was written, in lines."""

    expected: int
    got: int
    doubled: int
    missing: int
    right: bool


def compare(scenario: Scenario, got: bytes, tally: Path) -> Compared:
    """Compares bytes; counts are for the table. Of an endless program the last second may have died with its runner."""
    if scenario.endless:
        written = tally.stat().st_size if tally.exists() else 0
        whole = _lines(written + 1)
        lines = got.split(b"\n")[:-1]
        allowed = 250 if scenario.happening in NOT_READABLE_AFTER else 50  # a second; more where nobody can read any more
        right = whole.startswith(got) and bool(got) and written - len(lines) <= allowed
        return Compared(written, len(lines), len(lines) - len(set(lines)), max(0, written - len(lines)), right)
    want = scenario.expected()
    if scenario.traceback:
        begin, _, rest = got.partition(b"Traceback")
        fine = scenario.traceback.encode() in rest and rest.count(scenario.traceback.encode()) == 1
        got = begin
    else:
        fine = True
    seen_got, seen_want = on_a_terminal(got), on_a_terminal(want)
    return Compared(want.count(b"\n"), got.count(b"\n"), *_differences(seen_want, seen_got), seen_got == seen_want and fine)


def _differences(want: bytes, got: bytes) -> tuple[int, int]:
    """(lines too many, lines too few), counted by their texts."""
    from collections import Counter

    wanted, found = Counter(want.split(b"\n")), Counter(got.split(b"\n"))
    return (found - wanted).total(), (wanted - found).total()
