"""The local ACI in figures: `python tests/benchmarks/local_aci.py`. Prints a table; a real server process, real sockets.

* GET: requests per second for one group of 1, 50 and 500, over one kept connection, beside a bare Tornado handler that sends the same
  number of bytes, in the same run: the ratio is what the server's own work costs, whatever the machine
* memory: the server's resident memory per idle group, between 0 and 500
* PUT → running: from the request to the first body that says Running, process runtime
* 200 groups: created, polled to their end and deleted through Microsoft's SDK by 20 threads, process runtime
* logs: megabytes per second of a full 4 MB window, with and without tail and time stamps
"""

from __future__ import annotations

import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from azure.core.credentials import AccessToken
from azure.mgmt.containerinstance import ContainerInstanceManagementClient
from azure.mgmt.containerinstance.models import (
    Container,
    ContainerGroup,
    ResourceRequests,
    ResourceRequirements,
)

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
PROVIDER = "providers/Microsoft.ContainerInstance"
VERSION = "api-version=2023-05-01"
SECONDS = 2.0
LINE = "epoch 12 step 345 loss 0.1234 acc 0.987"
BARE = """
import asyncio, sys, tornado.web
class Bare(tornado.web.RequestHandler):
    def get(self):
        self.finish(b"x" * int(sys.argv[1]))
async def main():
    server = tornado.web.Application([(".*", Bare)], log_function=lambda handler: None).listen(0, "127.0.0.1")
    print("bare listening on http://127.0.0.1:%d" % next(iter(server._sockets.values())).getsockname()[1], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


class Peer:
    """A server process and one kept connection to it."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"listening on (http://127\.0\.0\.1:(\d+))", self.process.stdout.readline())
        assert found, "the server did not come up"
        self.url, self.port = found[1], int(found[2])
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self.headers: dict[str, str] = {}

    def ask(self, method: str, path: str, body: Any = None) -> bytes:
        self.connection.request(method, path, None if body is None else json.dumps(body), self.headers)
        response = self.connection.getresponse()
        content = response.read()
        assert response.status < 300, content
        return content

    def end(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def resident_kb(self) -> int:
        return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[0])


def aci(folder: Path, runtime: str) -> Peer:
    peer = Peer("-m", "aci_notebook.local", "--state-dir", str(folder), "--runtime", runtime, "--idle-timeout", "0")
    peer.headers = {"Authorization": f"Bearer {(folder / 'token').read_text()}"}
    peer.ask("POST", "/_aci/limits", {"groups": 100_000, "cores": 100_000})
    return peer


def path(name: str, more: str = "") -> str:
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/{PROVIDER}/containerGroups/{name}{more}?{VERSION}"


def group(command: list[str]) -> dict[str, Any]:
    resources = {"requests": {"cpu": 1, "memoryInGB": 1}}
    container = {"name": "main", "properties": {"image": "alpine", "command": command, "resources": resources}}
    return {"location": "westeurope", "properties": {"osType": "Linux", "restartPolicy": "Never", "containers": [container]}}


def rate(request: Callable[[], object]) -> float:
    """Times per second."""
    count, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < SECONDS:
        request()
        count += 1
    return count / spent


def gets_and_memory(folder: Path) -> None:
    server = aci(folder, "simulated")
    server.ask("POST", "/_aci/scripts", {"runs": [[{"after_s": 1}]]})  # runs until it is ended
    made, before_kb = 0, server.resident_kb()
    for wanted in (1, 50, 500):
        for n in range(made, wanted):
            server.ask("PUT", path(f"g-{n}"), group(["x"]))
        made = wanted
        content = server.ask("GET", path("g-0"))
        bare = Peer("-c", BARE, str(len(content)))
        ours, theirs = rate(lambda: server.ask("GET", path("g-0"))), rate(lambda bare=bare: bare.ask("GET", "/"))  # type: ignore[misc]
        bare.end()
        print(f"GET of one of {wanted:3d} groups   {ours:8.0f} /s   bare Tornado {theirs:8.0f} /s   ratio {ours / theirs:.2f}")
    print(f"memory per idle group    {(server.resident_kb() - before_kb) / made:8.1f} kB")
    server.end()


def put_to_running(server: Peer) -> None:
    times = []
    for n in range(10):
        start = time.perf_counter()
        server.ask("PUT", path(f"r-{n}"), group(["/bin/sleep", "60"]))
        while b'"Running"' not in server.ask("GET", path(f"r-{n}")):
            pass
        times.append((time.perf_counter() - start) * 1000)
        server.ask("DELETE", path(f"r-{n}"))
    print(f"PUT to process running   {statistics.median(times):8.0f} ms   (worst of {len(times)}: {max(times):.0f})")


class Token:
    """Hands out the server's token."""

    def __init__(self, text: str) -> None:
        self._text = text

    def get_token(self, *scopes: str, **more: Any) -> AccessToken:
        return AccessToken(self._text, int(time.time()) + 3600)


def many_groups(server: Peer) -> None:
    credential: Any = Token(server.headers["Authorization"].removeprefix("Bearer "))
    client = ContainerInstanceManagementClient(credential, SUBSCRIPTION, base_url=server.url, polling_interval=0.2)
    requests = ResourceRequirements(requests=ResourceRequests(cpu=1.0, memory_in_gb=1.0))
    wanted = ContainerGroup(
        location="westeurope",
        os_type="Linux",
        restart_policy="Never",
        containers=[Container(name="main", image="alpine", command=["/bin/echo", "hello"], resources=requests)],
    )

    plain: dict[str, Any] = {"enforce_https": False}

    def one(n: int) -> str:
        name = f"sdk-{n}-{uuid.uuid4().hex[:6]}"
        client.container_groups.begin_create_or_update("rg", name, wanted, **plain).result()
        while True:
            view = client.container_groups.get("rg", name, **plain).instance_view
            if view is not None and view.state in ("Succeeded", "Failed"):
                break
            time.sleep(0.1)
        text = client.containers.list_logs("rg", name, "main", **plain).content
        client.container_groups.begin_delete("rg", name, **plain).result()
        return str(text)

    start = time.perf_counter()
    with ThreadPoolExecutor(20) as pool:
        texts = list(pool.map(one, range(200)))
    spent = time.perf_counter() - start
    whole = texts.count("hello\n")
    print(f"200 groups, SDK          {spent:8.1f} s    ({whole} whole logs)")
    client.close()


def logs(server: Peer) -> None:
    script = f"yes '{LINE}' | head -c {6 * 1024 * 1024}; echo; echo end; sleep 600"
    server.ask("PUT", path("logs"), group(["/bin/sh", "-c", script]))
    where = path("logs", "/containers/main/logs")
    while b'"Running"' not in server.ask("GET", path("logs")) or b"end" not in server.ask("GET", f"{where}&tail=1"):
        pass
    for words, query in (
        ("whole window", ""),
        ("whole window, stamps", "&timestamps=true"),
        ("tail=1000", "&tail=1000"),
        ("tail=1000, stamps", "&tail=1000&timestamps=true"),
    ):
        size = len(server.ask("GET", where + query))
        per_s = rate(lambda query=query: server.ask("GET", where + query))  # type: ignore[misc]
        print(f"logs, {words:22s} {1000 / per_s:6.1f} ms   {size * per_s / 1e6:8.0f} MB/s   {size / 1e6:.2f} MB an answer")
    server.ask("DELETE", path("logs"))


def main() -> None:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as folder:
        gets_and_memory(Path(folder) / "simulated")
        server = aci(Path(folder) / "process", "process")
        try:
            put_to_running(server)
            logs(server)
            many_groups(server)
        finally:
            server.end()


if __name__ == "__main__":
    main()
