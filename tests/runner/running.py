"""The other side of the runner, written from the contract alone: a tiny decoder, and a bench that runs jobs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

FILES = Path(__file__).parents[2] / "aci_notebook" / "runner"
FRAME = re.compile(rb" *([0-9]+)([|+\\~!>#])(?: (.*))?", re.DOTALL)
SHORT = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}


@dataclass
class Log:
    """The frames of a log, in order; every line of it must be one."""

    raw: bytes
    frames: list[tuple[int, str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.raw == b"" or self.raw.endswith(b"\n")
        for line in self.raw.split(b"\n")[:-1]:
            match = FRAME.fullmatch(line)
            assert match, line
            assert len(line) <= 4200
            assert b"\r" not in line
            line.decode("utf-8")
            self.frames.append((int(match[1]), match[2].decode(), match[3] or b""))

    @property
    def numbers(self) -> list[int]:
        return [number for number, _, _ in self.frames]

    def payloads(self, mark: str) -> list[bytes]:
        return [payload for _, found, payload in self.frames if found == mark]

    def text(self, marks: str = "|+\\") -> bytes:
        """The program's text, exactly."""
        parts = []
        for _, mark, payload in self.frames:
            if mark not in marks:
                continue
            if mark in "|!":
                parts.append(payload + b"\n")
            elif mark == "+":
                parts.append(payload)
            else:
                parts.append(
                    re.sub(
                        rb"\\(?:x[0-9a-f]{2}|.)",
                        lambda m: SHORT.get(m.group()) or bytes.fromhex(m.group()[2:].decode()),
                        payload,
                    )
                )
        return b"".join(parts)

    def house(self, word: str) -> list[dict[str, str]]:
        """The fields of all house lines with this word."""
        found = []
        for payload in self.payloads("#"):
            first, *rest = shlex.split(payload.decode())
            if first == word:
                found.append(dict(item.split("=", 1) for item in rest))
        return found

    @property
    def words(self) -> list[str]:
        return [payload.split()[0].decode() for payload in self.payloads("#")]

    @property
    def end(self) -> dict[str, str]:
        """The closing frame, which must be the last one and must agree with what came."""
        number, mark, payload = self.frames[-1]
        assert (mark, payload[:4]) == ("#", b"end "), self.raw[-500:]
        (end,) = self.house("end")
        assert int(end["frames"]) == number
        return end

    def objects(self) -> dict[str, bytes]:
        """Everything that came home, checked against its house line."""
        found: dict[str, bytes] = {}
        for said in self.house("object"):
            pieces = [p.split(b" ") for p in self.payloads(">") if p.split(b" ")[0].decode() == said["name"]]
            assert [p[1].decode() for p in pieces] == [f"{i}/{said['chunks']}" for i in range(1, len(pieces) + 1)]
            assert all(len(p[2]) <= 4000 for p in pieces)
            encoded = b"".join(p[2] for p in pieces)
            data = zlib.decompress(base64.b64decode(encoded, validate=True))
            assert len(encoded) == int(said["encoded"])
            assert len(data) == int(said["bytes"])
            assert hashlib.sha256(data).hexdigest() == said["sha256"]
            found[said["name"]] = data
        return found

    def check(self) -> Log:
        """What holds for the log of every whole run."""
        assert self.numbers == list(range(1, len(self.frames) + 1))
        assert self.words[0] == "start"
        text = self.text("|+\\!")
        if self.end["outcome"] != "restarted" or "lines" in self.end:
            assert int(self.end["lines"]) == text.count(b"\n")
            assert int(self.end["bytes"]) == len(text)
        return self


class Bench:
    """A secret volume and a state folder, as the service would mount them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "in"
        self.state = folder / "state"
        self.work = folder / "work"
        for path in (self.files, self.state, self.work):
            path.mkdir()
        for name in ("start.sh", "runner.py", "runner.sh"):
            shutil.copy(FILES / name, self.files)
        self.python = sys.executable
        self.shell = ["/bin/sh"]
        self.env: dict[str, str] = {}
        self.started: list[subprocess.Popen[bytes]] = []

    def job(self, body: str = "", inputs: dict[str, bytes] | None = None, **job: object) -> Bench:
        """Write the payload; a list under `argv` makes a command, otherwise body is Python."""
        for number, (name, data) in enumerate((inputs or {}).items()):
            (self.files / f"in-{number}").write_bytes(data)
            job.setdefault("inputs", [])
            job["inputs"].append({"name": name, "file": f"in-{number}", "format": "pickle"})  # type: ignore[attr-defined]
        language = "argv" if "argv" in job else "python"
        settings = {"run": "20261122-ab12cd", "language": language, "linger_s": 0, "timeout_s": 60, **job}
        (self.files / "job.json").write_text(json.dumps(settings))
        (self.files / "body").write_bytes(body.encode("utf-8"))
        lines = []
        for name, value in settings.items():
            if name == "argv":
                lines.append(f"JOB_ARGC={len(value)}")  # type: ignore[arg-type]
                lines += [f"JOB_ARG_{i}={shlex.quote(item)}" for i, item in enumerate(value)]  # type: ignore[arg-type]
            else:
                text = " ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
                lines.append(f"JOB_{name.upper()}={shlex.quote(text)}")
        (self.files / "job.env").write_text("\n".join(lines) + "\n")
        return self

    def sh(self, script: str, **job: object) -> Bench:
        """Write the payload of a shell script."""
        return self.job(script, argv=["/bin/sh", "{body}"], **job)

    def start(self, *, entry: str = "start.sh") -> subprocess.Popen[bytes]:
        """Start the container's command."""
        env = {"PATH": f"{Path(self.python).parent}:/usr/bin:/bin", "HOME": str(self.folder), "TMPDIR": str(self.folder), **self.env}
        process = subprocess.Popen(
            [*self.shell, str(self.files / entry), str(self.state)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={k: v for k, v in env.items() if v != "-"},
            cwd=self.work, start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, code: int | None = None, *, check: bool = True, entry: str = "start.sh") -> Log:
        """Run the container's command to its end; return its log."""
        process = self.start(entry=entry)
        out, _ = process.communicate(timeout=60)
        log = Log(out)
        if code is not None:
            assert process.returncode == code, out[-3000:].decode()
        return log.check() if check else log

    def close(self) -> None:
        """Leave no process behind."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            assert process.stdout
            process.stdout.close()
            process.wait(10)


def read_until(process: subprocess.Popen[bytes], what: bytes) -> bytes:
    """Read the log until it holds what."""
    assert process.stdout
    seen = b""
    while what not in seen:
        line = process.stdout.readline()
        assert line, f"ended without {what!r}: {seen!r}"
        seen += line
    return seen


def rest_of(process: subprocess.Popen[bytes]) -> bytes:
    """Read the log to its end and wait for the process (communicate would lose what readline has read ahead)."""
    assert process.stdout
    rest = process.stdout.read()
    process.wait(10)
    return rest


def wait_for(path: Path, seconds: float = 20) -> str:
    """Wait for a file that a program writes; return its text."""
    until = time.monotonic() + seconds
    while not path.exists() or not path.read_text().endswith("\n"):
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.005)
    return path.read_text()


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_gone(pid: int, seconds: float = 5) -> None:
    """Wait until a process is gone."""
    until = time.monotonic() + seconds
    while alive(pid):
        assert time.monotonic() < until, f"{pid} still runs"
        time.sleep(0.005)


PYENV = Path.home() / ".pyenv" / "versions"
VERSIONS = ["3.8.18", "3.9.18", "3.10.13", "3.11.7", "3.12.1", "3.13.0", "3.14"]
