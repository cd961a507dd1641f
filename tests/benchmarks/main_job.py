"""The main job in figures: `python tests/benchmarks/main_job.py`. Prints a table; a real kernel, the real SDK, the local ACI.

* load: `%load_ext aci_notebook` in a fresh IPython, its time and its modules, beside an import of pandas in the same process kind
* submit: from the execute request to the PUT's arrival at the local ACI
* end: from the program's last print to the line on the kernel's iopub, and to the cell's reply
* burst: 20,000 lines in one second; how many arrived, in what order, how often
* interrupt: from the signal to the header's word, while a request for the log hangs
* requests: what one run of four seconds cost, by kind
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from queue import Empty
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from jupyter_client.manager import KernelManager

ROUNDS = 7
LOAD = """
import sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
start = time.perf_counter()
shell.run_line_magic("load_ext", "aci_notebook")
loaded = time.perf_counter() - start
modules = len(set(sys.modules) - before)
start = time.perf_counter()
import pandas
print(loaded * 1000, modules, (time.perf_counter() - start) * 1000)
"""


class Kernel:
    """A real kernel; each cell gives its stream text with times, and the times of request and reply."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env={**os.environ, "ACI_NOTEBOOK_HOME": str(home)})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def cell(self, code: str, timeout_s: float = 120) -> dict[str, Any]:
        asked = time.time()
        wanted = self.client.execute(code)
        texts: list[tuple[float, str]] = []
        error = ""
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=timeout_s)
            except Empty:
                raise SystemExit(f"no answer within {timeout_s} s to:\n{code}") from None
            if message["parent_header"].get("msg_id") != wanted:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                texts.append((time.time(), content["text"]))
            elif kind == "error":
                error = f"{content['ename']}: {content['evalue']}"
            elif kind == "status" and content["execution_state"] == "idle":
                return {"asked": asked, "done": time.time(), "texts": texts, "error": error}

    def interrupted(self, code: str, word: str) -> float:
        """Seconds from an interrupt, sent when the cell has printed the word, to the header that says so."""
        self.client.execute(code)
        text, sent = "", 0.0
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            kind, content = message["msg_type"], message["content"]
            if kind == "stream" and not sent:
                text += content["text"]
                if word in text:
                    sent = time.time()
                    self.manager.interrupt_kernel()
            elif kind == "update_display_data" and sent and "cancelling" in content["data"]["text/plain"]:
                said = time.time() - sent
                while message["msg_type"] != "status" or message["content"]["execution_state"] != "idle":
                    message = self.client.get_iopub_msg(timeout=60)
                return said

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        told = json.loads((self.home / "local" / "server.json").read_text())
        token = (self.home / "local" / "token").read_text().strip()
        data = None if body is None else json.dumps(body).encode()
        request = Request(told["url"] + path, data=data, headers={"Authorization": f"Bearer {token}"})
        with build_opener(ProxyHandler({})).open(request, timeout=5) as answer:
            return json.loads(answer.read())

    def stats(self) -> dict[str, int]:
        counts: dict[str, int] = self.ask("/_aci/stats")["requests"]
        return counts

    def end(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        os.kill(json.loads((self.home / "local" / "server.json").read_text())["pid"], signal.SIGTERM)


def spread(values: list[float], unit: str) -> str:
    return f"median {statistics.median(values):8.1f} {unit}   (least {min(values):.1f}, most {max(values):.1f}, {len(values)} rounds)"


def load() -> None:
    times, pandas_times, modules = [], [], 0
    for _ in range(ROUNDS):
        done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=True)
        loaded, modules_text, pandas_ms = done.stdout.split()
        times.append(float(loaded))
        pandas_times.append(float(pandas_ms))
        modules = int(modules_text)
    print(f"%load_ext                     {spread(times, 'ms')}; {modules} modules")
    ratio = statistics.median(times) / statistics.median(pandas_times)
    print(f"  beside: import pandas       {spread(pandas_times, 'ms')}; ratio {ratio:.2f}")


def submit_and_end(kernel: Kernel) -> None:
    to_run, to_line, to_reply = [], [], []
    for _ in range(ROUNDS):
        result = kernel.cell("%%aci -q\nimport time\nprint('began', time.time())\ntime.sleep(1)\nprint('last', time.time(), flush=True)")
        text = "".join(piece for _, piece in result["texts"])
        began = float(re.search(r"began ([\d.]+)", text).group(1))
        last = float(re.search(r"last ([\d.]+)", text).group(1))
        seen = next(at for at, piece in result["texts"] if "last" in piece)
        to_run.append((began - result["asked"]) * 1000)
        to_line.append((seen - last) * 1000)
        to_reply.append((result["done"] - last) * 1000)
    print(f"request to program's 1st line {spread(to_run, 'ms')}")
    print(f"last print to line on screen  {spread(to_line, 'ms')}")
    print(f"last print to the cell's end  {spread(to_reply, 'ms')}")


def to_put(kernel: Kernel) -> None:
    """The record is saved and the group's PUT is answered by the local ACI; its own log line would be of another clock."""
    times = []
    for _ in range(ROUNDS):
        result = kernel.cell("%%aci -q --as measured\n1")
        stamp = kernel.cell("print(measured.record.since('queued').timestamp())")
        put = float("".join(piece for _, piece in stamp["texts"]))
        times.append((put - result["asked"]) * 1000)
    print(f"Shift-Enter to PUT            {spread(times, 'ms')}")


def burst(kernel: Kernel) -> None:
    kernel.cell("run = None")
    result = kernel.cell(
        "%%aci -q --as run\nimport time\nstart = time.time()\nfor number in range(20000):\n    print('line', number)\n"
        "    if number % 200 == 199:\n        time.sleep(max(0, start + number / 20000 - time.time()))"
    )
    told = kernel.cell("print(run.log_bytes().decode())")
    numbers = [int(found) for found in re.findall(r"^line (\d+)$", "".join(piece for _, piece in told["texts"]), re.MULTILINE)]
    counts = Counter(numbers)
    print(
        f"20,000 lines in 1 s           arrived {len(counts)}, doubled {sum(count - 1 for count in counts.values())}, "
        f"in order {numbers == sorted(numbers)}, cell took {result['done'] - result['asked']:.2f} s"
    )


def interrupt(kernel: Kernel) -> None:
    times = []
    for _ in range(ROUNDS):
        kernel.ask("/_aci/faults", {"on": "attach", "times": 1, "do": {"status": 500}})
        kernel.ask("/_aci/faults", {"on": "logs", "times": 1, "after": 3, "do": {"delay_s": 3}})
        code = "%%aci\nimport time\nfor number in range(1000):\n    print('line', number, flush=True)\n    time.sleep(0.02)"
        times.append(kernel.interrupted(code, "line 9\n") * 1000)
    print(f"interrupt to the header       {spread(times, 'ms')}")


def requests(kernel: Kernel) -> None:
    before = Counter(kernel.stats())
    kernel.cell("%%aci -q\nimport time\nfor number in range(40):\n    print(number)\n    time.sleep(0.1)")
    time.sleep(1)  # the deletion's verification goes on behind the cell
    print(
        "requests of a 4 s run         "
        + ", ".join(f"{kind} {count}" for kind, count in sorted((Counter(kernel.stats()) - before).items()))
    )


def main() -> None:
    load()
    with tempfile.TemporaryDirectory() as folder:
        kernel = Kernel(Path(folder))
        try:
            kernel.cell("%load_ext aci_notebook")
            kernel.cell("%%aci -q\nprint('warm')")
            to_put(kernel)
            submit_and_end(kernel)
            burst(kernel)
            interrupt(kernel)
            requests(kernel)
        finally:
            kernel.end()


if __name__ == "__main__":
    main()
