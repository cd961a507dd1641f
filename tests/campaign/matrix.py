"""The campaign: every scenario under every fault, through the real SDK over the socket, and one table of what arrived.

    python tests/campaign/matrix.py [--scenario WORD] [--fault WORD] [--at-once N]

A cell of the matrix is right when the bytes of the log file and what the cell showed are what the program wrote, once and in order, the
outcome is the right one, and no container group is left. Only where the service truly loses lines (a window of 20 KB instead of its
4 MB) may there be a gap, which must say how many. Exit code 1 and one line for each wrong cell otherwise.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from ground import FAULTS, ByThread, Fault, Ground, caught_by_thread  # noqa: E402
from scenarios import SCENARIOS, Compared, Scenario, compare, program, seen  # noqa: E402

from aci_notebook.display.live import CellView  # noqa: E402
from aci_notebook.errors import AuthError, Transient  # noqa: E402
from aci_notebook.record import RunRecord  # noqa: E402
from aci_notebook.runs import Run  # noqa: E402
from aci_notebook.watch import watch  # noqa: E402

LIMIT_S = 90.0


@dataclass(frozen=True)
class Cell:
    """One run of the matrix and what came of it."""

    scenario: str
    fault: str
    compared: Compared
    kind: str
    lost_said: int
    group: str
    seconds: float
    wrong: str

    @property
    def right(self) -> bool:
        return not self.wrong


class Campaign:
    """The grounds and the runs on them."""

    def __init__(self, folder: Path, out: ByThread) -> None:
        self.folder = folder
        self.out = out
        self._grounds: dict[str, Ground] = {}
        self._lock = threading.Lock()

    def ground(self, name: str) -> Ground:
        with self._lock:
            if name not in self._grounds:
                self._grounds[name] = Ground(self.folder / name)
                if name == "narrow":
                    self._grounds[name].server.ask("/_aci/limits", {"log_window_bytes": 20_000})
                elif name == "killed":
                    threading.Thread(target=self._kill_in_time, args=(self._grounds[name],), daemon=True).start()
            return self._grounds[name]

    def _kill_in_time(self, ground: Ground) -> None:
        """Kills the server when runs are there; the clients start it again by themselves."""
        while not ground.server.ask("/_aci/stats")["created"]:
            time.sleep(0.05)
        time.sleep(1.5)
        ground.kill_server()

    def play(self, scenario: Scenario, fault: Fault) -> Cell:
        ground, begun = self.ground(fault.ground), time.monotonic()
        tally = self.folder / f"tally-{abs(hash((scenario.name, fault.name)))}"
        try:
            if fault.way == "full":
                return self._full(ground, scenario, fault, tally, begun)
            run = self._adopted(ground, scenario, tally) if fault.way == "adopted" else self._here(ground, scenario, fault, tally)
            shown = self._watch(ground, scenario, run)
            gone = run.wait_gone(LIMIT_S)
            return self._judge(ground, scenario, fault, tally, begun, run, shown, gone)
        except Exception as error:  # a cell that breaks is a red cell
            return Cell(
                scenario.name,
                fault.name,
                Compared(0, 0, 0, 0, False),
                "?",
                0,
                "?",
                time.monotonic() - begun,
                f"{type(error).__name__}: {error}",
            )

    # -- ways to run --------------------------------------------------------------------------------------------------

    def _here(self, ground: Ground, scenario: Scenario, fault: Fault, tally: Path) -> Run:
        session = ground.session
        record, plan = session.prepare(session.spec(dict(scenario.options), program(scenario, tally)))
        ground.order(fault, record.name)
        return session.house.runs.start(record, plan, session.backend())

    def _victim(self, ground: Ground, scenario: Scenario, tally: Path, mode: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "victim.py"), str(ground.folder), mode]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        process.stdin.write(json.dumps({"code": program(scenario, tally), "values": scenario.options}) + "\n")
        process.stdin.flush()
        return process

    def _adopted(self, ground: Ground, scenario: Scenario, tally: Path) -> Run:
        process = self._victim(ground, scenario, tally, "adopted")
        assert process.stdout is not None
        run_id = json.loads(process.stdout.readline())["run_id"]
        store = ground.session.house.store
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            record = store.load(run_id)
            if record is not None and (record.phase in {"running", "collecting"} or record.outcome is not None):
                break
            time.sleep(0.02)
        process.kill()
        process.communicate()
        found = store.load(run_id)
        assert found is not None
        if found.outcome is not None:  # over before the kill: the group and the log file must be right all the same
            return _settled(ground, found)
        return ground.session.adopt(found)

    def _full(self, ground: Ground, scenario: Scenario, fault: Fault, tally: Path, begun: float) -> Cell:
        process = self._victim(ground, scenario, tally, "full")
        assert process.stdout is not None
        name = json.loads(process.stdout.readline())["name"]
        if scenario.happening:
            self._wait_for_text(tally)
            _happen(ground, name, scenario.happening)
        said = json.loads(process.stdout.readline())
        process.communicate()
        found = compare(scenario, base64.b64decode(said["got"]), tally)
        wrong = _wrong(scenario, fault, found, said["kind"], said["exit_code"], said["gaps"], said["lost"])
        wrong += "" if said["group"] == "gone" else f" group {said['group']}"
        wrong += "" if said["store"] else " nothing was said about the disk"
        return Cell(scenario.name, fault.name, found, said["kind"], said["lost"], said["group"], time.monotonic() - begun, wrong.strip())

    def _watch(self, ground: Ground, scenario: Scenario, run: Run) -> str:
        text = self.out.catch()
        acting = threading.Thread(target=self._act, args=(ground, scenario, run), daemon=True)
        acting.start()
        try:
            watch(run, CellView(run.record, quiet=True, lines_max=1_000_000))
        finally:
            self.out.let_go()
        return text.getvalue()

    def _act(self, ground: Ground, scenario: Scenario, run: Run) -> None:
        deadline = time.monotonic() + LIMIT_S
        if scenario.happening:
            while run.record.lines < 20 and not run.done():
                time.sleep(0.02)
            if not run.done():
                _happen(ground, run.name, scenario.happening)
        while not run.wait_gone(1.0):
            if time.monotonic() > deadline:
                run.cancel("the campaign's time for one run is over")

    @staticmethod
    def _wait_for_text(tally: Path) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (tally.exists() and tally.stat().st_size > 20):
            time.sleep(0.05)

    # -- judging ------------------------------------------------------------------------------------------------------

    def _judge(self, ground: Ground, scenario: Scenario, fault: Fault, tally: Path, begun: float, run: Run, shown: str, gone: bool) -> Cell:
        record = run.record
        assert record.outcome is not None
        got = Path(record.log_path).read_bytes() if Path(record.log_path).exists() else b""
        found = compare(scenario, got, tally)
        wrong = _wrong(scenario, fault, found, record.outcome.kind, record.outcome.exit_code, record.gaps, record.lost_lines)
        if not record.gaps and not _cell_is_right(scenario, got, shown):
            wrong += " the cell shows something else than the log file holds"
        if not gone or ground.session.backend().get(record.name) is not None:
            wrong += f" group {record.group}"
        seconds = time.monotonic() - begun
        return Cell(scenario.name, fault.name, found, record.outcome.kind, record.lost_lines, record.group, seconds, wrong.strip())

    def left(self) -> list[str]:
        return [f"{name}/{group}" for name, ground in self._grounds.items() for group in ground.left()]

    def close(self) -> None:
        for ground in self._grounds.values():
            ground.close()


def _settled(ground: Ground, record: RunRecord) -> Run:
    from aci_notebook.sweep import delete_group

    delete_group(ground.session, record)
    latest = ground.session.house.store.load(record.run_id)
    assert latest is not None
    return ground.session.house.runs.adopt(latest, ground.session.backend())


def _happen(ground: Ground, name: str, happening: str) -> None:
    """Does it to the group, as somebody who meets the same faults and tries again."""
    backend = ground.session.backend()
    for _ in range(20):
        try:
            if happening == "stop":
                backend.stop(name)
            elif happening == "delete":
                backend.delete(name)
            else:
                event, _, lost = happening.partition(",")
                ground.ask(f"/_aci/groups/{name}/happen", {"event": event, "lose_emptydir": bool(lost)})
            return
        except (Transient, AuthError, OSError):
            time.sleep(0.2)


def _wrong(scenario: Scenario, fault: Fault, found: Compared, kind: str, exit_code: int | None, gaps: int, lost: int) -> str:
    reasons = [f"a gap of {lost} lines"] if gaps and fault.ground != "narrow" else []
    if kind not in scenario.outcomes:
        reasons.append(f"outcome {kind}")
    if scenario.exit_code is not None and exit_code != scenario.exit_code:
        reasons.append(f"exit code {exit_code}")
    if found.doubled and not gaps:
        reasons.append(f"{found.doubled} doubled")
    if not found.right and not (gaps and lost >= found.missing):
        reasons.append(f"{found.missing} missing, {found.doubled} too many")
    return ", ".join(reasons)


def _cell_is_right(scenario: Scenario, got: bytes, shown: str) -> bool:
    if scenario.traceback:
        got = got.partition(b"Traceback")[0]
    if len(got) > 1_000_000:
        return f"a line of {len(got) - 1:,} characters" in shown
    return seen(shown.encode()) == seen(got)


def run_campaign(scenarios: Iterable[Scenario], faults: Iterable[Fault], folder: Path, at_once: int = 4) -> tuple[list[Cell], list[str]]:
    """All cells of the matrix, and the groups that are left afterwards."""
    pairs = [(scenario, fault) for fault in faults for scenario in scenarios]
    with caught_by_thread() as out:
        campaign = Campaign(folder, out)
        try:
            with ThreadPoolExecutor(at_once) as pool:
                cells = list(pool.map(lambda pair: campaign.play(*pair), pairs))
            return cells, campaign.left()
        finally:
            campaign.close()


def table(cells: list[Cell], left: list[str]) -> str:
    """One line for each scenario over all its faults, one for each fault over all scenarios, then every wrong cell."""
    lines = []
    for title, key in (("scenario", "scenario"), ("fault", "fault")):
        lines.append(
            f"{title:<28} {'runs':>5} {'right':>6} {'expected':>9} {'got':>9} {'doubled':>8} {'missing':>8} {'gap says':>9} {'median s':>9}"
        )
        for name in dict.fromkeys(getattr(cell, key) for cell in cells):
            of = [cell for cell in cells if getattr(cell, key) == name]
            found = [cell.compared for cell in of]
            seconds = sorted(cell.seconds for cell in of)[len(of) // 2]
            numbers = [sum(getattr(c, word) for c in found) for word in ("expected", "got", "doubled", "missing")]
            numbers.append(sum(cell.lost_said for cell in of))
            lines.append(
                f"{name:<28} {len(of):>5} {sum(cell.right for cell in of):>6}" + "".join(f"{n:>10}" for n in numbers) + f"{seconds:>10.1f}"
            )
        lines.append("")
    lines.append(f"{len(cells)} runs, {sum(cell.right for cell in cells)} right; container groups left: {len(left)} {' '.join(left)}")
    lines += [f"WRONG  {cell.scenario} | {cell.fault}: {cell.wrong} ({cell.kind}, group {cell.group})" for cell in cells if not cell.right]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenario", default="")
    parser.add_argument("--fault", default="")
    parser.add_argument("--at-once", type=int, default=4)
    asked = parser.parse_args()
    scenarios = [item for item in SCENARIOS if asked.scenario in item.name]
    faults = [item for item in FAULTS if asked.fault in item.name]
    with tempfile.TemporaryDirectory(prefix="aci-campaign-") as folder:
        begun = time.monotonic()
        cells, left = run_campaign(scenarios, faults, Path(folder), asked.at_once)
        print(table(cells, left))
        print(f"{time.monotonic() - begun:.0f} s")
    return 0 if all(cell.right for cell in cells) and not left else 1


if __name__ == "__main__":
    sys.exit(main())
