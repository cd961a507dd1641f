"""Requirements: installed before the body, in a layer that the next run finds. A wheel made here; no network."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from running import Bench, Log, read_until, rest_of


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel with one module, greet."""
    path = tmp_path / "greet-1.0-py3-none-any.whl"
    info = "greet-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("greet.py", "word = 'hello'\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: greet\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture(autouse=True)
def _quiet_pip(bench: Bench) -> None:
    bench.env.update(PIP_NO_INDEX="1", PIP_NO_CACHE_DIR="1", PIP_CONFIG_FILE="/dev/null")


def test_into_the_state_folder(bench: Bench, wheel: Path) -> None:
    log = bench.job("import greet; print(greet.word, greet.__file__)", requirements=[str(wheel)]).run(0)
    assert log.text() == f"hello {bench.state}/site/greet.py\n".encode()
    assert [line["name"] for line in log.house("phase")] == ["install", "run"]
    assert log.house("install") == [{"line": "Successfully installed greet-1.0"}]
    assert float(log.end["install_s"]) > 0


def test_a_layer_is_built_once_and_shared(bench: Bench, wheel: Path, tmp_path: Path) -> None:
    layers = tmp_path / "layers"
    layers.mkdir()
    bench.env["ACI_NOTEBOOK_LAYERS"] = str(layers)
    bench.job("import greet; print(greet.__file__)", requirements=[str(wheel)]).run(0)
    (layer,) = layers.iterdir()
    wheel.unlink()
    for path in bench.state.iterdir():
        subprocess.run(["rm", "-rf", path], check=True)
    log = bench.run(0)
    assert log.text() == f"{layer}/greet.py\n".encode()
    assert log.house("install") == [{"line": "already here: reused"}]


def test_what_pip_says_of_a_failure(bench: Bench) -> None:
    bench.env["TOKEN"] = "hunter22"
    log = bench.job("print('never')", requirements=["no-such-thing==1", "--find-links /x/hunter22"], mask=["TOKEN"]).run(125)
    assert log.end["outcome"] == "install_failed"
    assert log.text() == b""
    assert any("No matching distribution found" in line["line"] for line in log.house("install"))
    assert b"hunter22" not in log.raw
    assert not [path for path in bench.state.iterdir() if path.name.startswith("site")]


def test_an_index_that_is_not_reached_is_the_reason(bench: Bench) -> None:
    bench.env["PIP_NO_INDEX"] = ""
    index = "--retries 1 --timeout 1 --index-url http://127.0.0.1:9/simple"
    said = [line["line"] for line in bench.job("1", requirements=[index, "no-such-thing"]).run(125).house("install")]
    assert said[0].startswith("WARNING: Retrying")
    assert "refused" in said[0]
    assert any("No matching distribution found" in line for line in said[1:])


def test_an_image_without_pip(bench: Bench, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    bench.python = str(bare / "bin" / "python3")
    log = bench.job("1", requirements=["x"]).run(125)
    assert any("No module named pip" in line["line"] for line in log.house("install"))


def test_the_time_limit_and_sigterm_cover_the_installation(bench: Bench, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "setup.py").write_text("import time; time.sleep(60)")
    bench.job("1", requirements=["--no-build-isolation", str(slow)], timeout_s=1.0)
    assert bench.run(124).end["outcome"] == "timeout"
    for path in bench.state.iterdir():
        subprocess.run(["rm", "-rf", path], check=True)
    process = bench.job("1", requirements=["--no-build-isolation", str(slow)]).start()
    seen = read_until(process, b"phase name=install")
    process.terminate()
    out = rest_of(process)
    assert Log(seen + out).check().end["outcome"] == "terminated"
