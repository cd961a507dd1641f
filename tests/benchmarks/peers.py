"""The same five outputs through `%%aci` and through what people use today, on one local ACI: `python tests/benchmarks/peers.py`.

Unmodified clients in environments of their own (made on first use), in a private network whose host names are Microsoft's: Airflow's
AzureContainerInstancesOperator, `az container logs --follow` and `az container attach` beside our cell magic in Azure mode. Needs root
(network and mount namespaces). For each: lines lost and doubled, seconds from the program's last act to the client's return, and the
requests that reached the service, from the first to the last, as the front in between counted them.

    --rounds N      rounds, worst of lost and doubled, median of seconds and requests (1)
    --client WORD   only clients whose name holds WORD

What is counted for `az`: its `create --no-wait`, then the follower; nothing deletes the group. For Airflow and for us the group's deletion
is in it.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from clients.test_airflow import PACKAGES
from clients.test_az import AZ
from clients.world import CLIENT, SUBSCRIPTION, TENANT, World, environment_of, make, missing

HERE = Path(__file__).parent
CLIENTS_HERE = HERE.parent / "clients"
AZURE = {"tenantId": TENANT, "subscriptionId": SUBSCRIPTION}
TQDM = "tqdm==4.67.1"


@dataclass(frozen=True)
class Program:
    """A program, and the lines that must arrive, each with how often."""

    name: str
    code: str
    expected: Counter[str]


def programs(packages: Path) -> tuple[Program, ...]:
    """The five; the bar is tqdm's own, from the folder `packages`."""
    numbered = Counter({f"line {n}": 1 for n in range(5_000)})
    bar = f"import sys, time\nsys.path.insert(0, {str(packages)!r})\nfrom tqdm import tqdm\nprint('begin', flush=True)\n"
    return (
        Program(
            "200 lines over 4 s",
            "import time\nfor n in range(200):\n    print('line', n, flush=True)\n    time.sleep(0.02)",
            Counter({f"line {n}": 1 for n in range(200)}),
        ),
        Program(
            "5,000 lines in 1 s",
            "import time\nbegun = time.time()\nfor n in range(5000):\n    print('line', n, flush=True)\n"
            "    time.sleep(max(0, begun + n / 5000 - time.time()))",
            numbered,
        ),
        Program(
            "300 identical lines",
            "import time\nfor n in range(300):\n    print('tick', flush=True)\n    time.sleep(0.01)",
            Counter({"tick": 300}),
        ),
        Program(
            "a tqdm bar",
            bar + "for n in tqdm(range(100), ncols=60):\n    time.sleep(0.03)\nprint('end', flush=True)",
            Counter({"begin": 1, "100%": 1, "end": 1}),
        ),
        Program("silence", "import time\ntime.sleep(4)", Counter()),
    )


@dataclass(frozen=True)
class Result:
    """What one client made of one program."""

    lost: int
    doubled: int
    seconds: float
    requests: int
    trouble: str = ""


class Field:
    """The world, and what is in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.az = str(environment_of("azure-cli-2.91.0", AZ) / "az")
        self.airflow = str(environment_of("airflow", *PACKAGES) / "python")
        tqdm = environment_of("tqdm-4.67.1", TQDM).parent
        self.packages = next(tqdm.glob("lib/python*/site-packages"))
        self.az_settings = {"AZURE_CONFIG_DIR": str(world.folder / "azure"), "AZURE_CORE_COLLECT_TELEMETRY": "0"}
        words = ("login", "--service-principal", "--username", CLIENT, "--password", "secret", "--tenant", TENANT)
        told = world.run(self.az, *words, **self.az_settings)
        assert told.returncode == 0, told.stderr

    def play(self, client: Callable[[Field, str, Path], tuple[str, float, str]], program: Program) -> Result:
        """Runs the program through the client."""
        name = f"peer-{uuid.uuid4().hex[:8]}"
        ended = self.world.folder / f"{name}.ended"
        code = self.world.folder / f"{name}.py"
        code.write_text(f"{program.code}\nimport time\nwith open({str(ended)!r}, 'w') as file:\n    file.write(str(time.time()))")
        before = len(self.world.log().splitlines())
        text, back, trouble = client(self, name, code)
        asked = [line for line in self.world.log().splitlines()[before:] if name in line or "/containerGroups" in line]
        lost, doubled = compared(program, text)
        return Result(lost, doubled, back - float(ended.read_text()), len(asked), trouble)

    # -- the clients --------------------------------------------------------------------------------------------------

    def cell(self, name: str, code: Path) -> tuple[str, float, str]:
        home = self.world.folder / "home"
        home.mkdir(exist_ok=True)
        (home / "config.toml").write_text(
            f'subscription = "{SUBSCRIPTION}"\nresource_group = "rg"\nlocation = "westeurope"\ntenant_id = "{TENANT}"\n'
            f'client_id = "{CLIENT}"\nclient_secret = "env:PRINCIPAL"\n'
        )
        words = (sys.executable, str(HERE / "peers_cell.py"), str(code), f"--image python:3 -n {name} --as done --lines-max 100000")
        done = self.world.run(*words, ACI_NOTEBOOK_HOME=str(home), PRINCIPAL="secret")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        said = json.loads(done.stdout.splitlines()[-1])
        return said["text"], said["back"], "" if said["status"] == "ok" else said["status"]

    def cell_by_polling(self, name: str, code: Path) -> tuple[str, float, str]:
        with self.fault({"on": "attach", "times": 9, "do": {"status": 500}}):
            return self.cell(name, code)

    def operator(self, name: str, code: Path) -> tuple[str, float, str]:
        options = {"image": "python:3", "command": ["python3", str(code)]}
        told = self.world.run(
            self.airflow,
            str(CLIENTS_HERE / "airflow_job.py"),
            name,
            json.dumps(options),
            AIRFLOW_HOME=str(self.world.folder / "airflow"),
            AIRFLOW_CONN_AZURE=json.dumps({"conn_type": "azure_container_instance", "login": CLIENT, "password": "secret", "extra": AZURE}),
        )
        said = json.loads(told.stdout.splitlines()[-1])
        heard = "\n".join(line for line in (told.stdout + told.stderr).splitlines() if '"pushed"' not in line)
        return heard, said["at"], " ".join(said.get("raised", []))[:60]

    def follow(self, verb: tuple[str, ...], name: str, code: Path) -> tuple[str, float, str]:
        line = f"python3 {code}"
        made = self._az("create", name, "--image", "python:3", "--command-line", line, "--restart-policy", "Never", "--os-type", "Linux",
                        "--cpu", "1", "--memory", "1", "--location", "westeurope", "--no-wait")  # fmt: skip
        assert made.returncode == 0, made.stderr
        done = self._az(verb[0], name, *verb[1:])
        trouble = f"exit {done.returncode}" if done.returncode else "traceback" if "Traceback" in done.stderr else ""
        return done.stdout, time.time(), trouble

    def _az(self, verb: str, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self.world.run(self.az, "container", verb, "--resource-group", "rg", "--name", name, *words, **self.az_settings)

    @contextmanager
    def fault(self, order: dict[str, object]) -> Iterator[None]:
        self._ask("POST", json.dumps(order))
        try:
            yield
        finally:
            self._ask("DELETE", "")

    def _ask(self, method: str, body: str) -> None:
        code = "import sys, urllib.request as u; q = u.Request(*sys.argv[1:2], data=sys.argv[3].encode() or None, method=sys.argv[2], "
        code += "headers={'Authorization': 'Bearer any'}); u.build_opener(u.ProxyHandler({})).open(q).read()"
        done = self.world.run(sys.executable, "-c", code, f"{self.world.url}/_aci/faults", method, body)
        assert done.returncode == 0, done.stderr


CLIENTS: dict[str, Callable[[Field, str, Path], tuple[str, float, str]]] = {
    "%%aci": Field.cell,
    "%%aci, no websocket": Field.cell_by_polling,
    "Airflow's operator": Field.operator,
    "az container logs --follow": lambda field, name, code: field.follow(("logs", "--follow"), name, code),
    "az container attach": lambda field, name, code: field.follow(("attach",), name, code),
}


def compared(program: Program, text: str) -> tuple[int, int]:
    """(lines lost, lines doubled) in what the client showed. Of a bar only its last look is a line."""
    found: Counter[str] = Counter()
    for line in text.replace("\r", "\n").splitlines():
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        plain = re.sub(r"\s+\[airflow\S*\] loc=\S+$", "", plain)  # what Airflow's logging puts behind a line
        shown = re.search(r"(?:^|\s)(line \d+|tick|begin|end)\s*$|(100%)\|", plain)
        if shown is not None:
            found[shown[1] or shown[2]] += 1
    return (program.expected - found).total(), sum((Counter({word: found[word] for word in program.expected}) - program.expected).values())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--client", default="")
    asked = parser.parse_args()
    if reason := missing():
        print(reason)
        return 2
    with tempfile.TemporaryDirectory(prefix="aci-peers-") as folder:
        world = make(Path(folder))
        try:
            field = Field(world)
            print(f"{'output':<22} {'client':<28} {'lost':>6} {'doubled':>8} {'seconds after the end':>22} {'requests':>9}")
            for program in programs(field.packages):
                for name, client in CLIENTS.items():
                    if asked.client not in name:
                        continue
                    results = [field.play(client, program) for _ in range(asked.rounds)]
                    lost, doubled = max(r.lost for r in results), max(r.doubled for r in results)
                    seconds = statistics.median(r.seconds for r in results)
                    requests = statistics.median(r.requests for r in results)
                    trouble = ", ".join(sorted({r.trouble for r in results} - {""}))
                    print(f"{program.name:<22} {name:<28} {lost:>6} {doubled:>8} {seconds:>22.2f} {requests:>9.0f}  {trouble}", flush=True)
        finally:
            world.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
