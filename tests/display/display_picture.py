"""Draws the headers into pages, light, dark and narrow, to be looked at.

PYTHONPATH=. python tests/display/display_picture.py OUT.png
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import display_samples as s
from playwright.sync_api import sync_playwright

from aci_notebook import events as ev
from aci_notebook.display.render import Estimate, header_html, held_html
from aci_notebook.snapshot import PlatformEvent

BROWSER = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
LAB = {
    "true": "--jp-content-font-color1:rgba(0,0,0,.87);--jp-layout-color0:#fff;--jp-border-color2:#e0e0e0;background:#fff;",
    "false": "--jp-content-font-color1:#fff;--jp-layout-color0:#111;--jp-border-color2:#424242;background:#111;",
}


def headers() -> list[tuple[str, str]]:
    spent = Estimate(0.0007, 0.058)
    trouble = PlatformEvent("Failed", 'failed to pull image "pyhton:3.12": not found', "Warning", 2, s.at(5), s.at(9))
    wait = s.after(s.pulling(s.new(image="pyhton:3.12")), ev.PlatformNoted(s.at(9), trouble), ev.TroubleMet(s.at(9), "get", "429", 2))
    run = s.running(s.new())
    bar = s.after(run, ev.ProgressReceived(s.at(30), "epoch 3:  45%|████▌     | 450/1000 [00:12<00:15, 36.1it/s]"))
    late = s.running(s.new(timeout_s=60))
    install = s.after(
        s.pulling(s.new(target="local")),
        ev.HouseSaid(s.at(14), "phase", {"name": "install"}),
        ev.HouseSaid(s.at(15), "install", {"line": "Collecting scikit-learn==1.5.2"}),
    )
    good = s.after(
        s.running(s.new(target="local")),
        ev.TextReceived(s.at(50), b"a\n" * 1204),
        ev.ObjectArrived(s.at(58), "var:score", "pickle", "float", b"x" * 120),
        ev.ObjectArrived(s.at(58), "path:./results/", "tar", "folder", b"x" * 12_400),
        ev.Ended(s.at(59), ev.Outcome("succeeded", 0, peak_memory_bytes=int(0.3 * 2**30), cpu_s=38.2)),
        ev.DeleteRequested(s.at(59)),
        ev.DeleteVerified(s.at(63)),
    )
    bad = s.ended(s.new(), 59, "failed", exit_code=1, peak_memory_bytes=int(3.1 * 2**30), cpu_s=70.0)
    oom = s.ended(s.new(), 59, "oom", exit_code=137, reason="the container ran out of memory", hint="give it more: --memory")
    pull = s.ended(wait, 31, "pull_failed", start=False, reason='the registry has no "pyhton:3.12"', hint="check the name: --image")
    cut = s.ended(s.after(run, ev.CancelRequested(s.at(40))), 41, "cancelled", start=False)
    held = ["\x1b[32mstep 4711\x1b[0m loss=0.123", "step 4712 \x1b[1;31mloss=nan\x1b[0m", "step 4713 \x1b[30;43mWARN\x1b[0m x"]
    return [
        ("queued", header_html(s.created(s.new()), s.at(1), True, estimate=None)),
        ("pull trouble", header_html(wait, s.at(11), True, estimate=spent)),
        ("install, local", header_html(install, s.at(19), True, estimate=spent)),
        ("running", header_html(run, s.at(59), True, estimate=spent)),
        ("progress", header_html(bar, s.at(59), True, estimate=spent)),
        ("80 %", header_html(late, s.at(68), True, estimate=spent)),
        ("cancelling", header_html(s.after(run, ev.CancelRequested(s.at(40))), s.at(41), True, estimate=spent)),
        ("done", header_html(good, s.at(63), False, estimate=spent)),
        ("failed", header_html(bad, s.at(63), False, estimate=spent)),
        ("oom", header_html(oom, s.at(63), False, estimate=spent)),
        ("pull failed", header_html(pull, s.at(63), False, estimate=spent)),
        ("cancelled", header_html(cut, s.at(63), False, estimate=spent)),
        ("background", header_html(run, s.at(59), False, estimate=spent, background=True, log_lines=held)),
        ("held", held_html(held, 4713, "/home/ada/.local/share/aci-notebook/logs/k7f3a2.log")),
    ]


def page(light: str, width: int) -> str:
    cells = "".join(f'<div class="jp-OutputArea-output" style="margin:12px 0">{markup}</div>' for _, markup in headers())
    return (
        f'<!doctype html><meta charset="utf-8"><body data-jp-theme-light="{light}" style="{LAB[light]}margin:0;padding:12px 20px">'
        f'<div style="width:{width}px">{cells}</div></body>'
    )


def draw(out: Path) -> None:
    with sync_playwright() as play, tempfile.TemporaryDirectory() as folder:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=BROWSER)
        for name, light, width in (("light", "true", 860), ("dark", "false", 860), ("narrow", "true", 340)):
            source = Path(folder, f"{name}.html")
            source.write_text(page(light, width), "utf-8")
            tab = browser.new_page(viewport={"width": width + 40, "height": 900})
            tab.goto(source.as_uri())
            tab.screenshot(path=str(out.with_name(f"{out.stem}-{name}.png")), full_page=True)
        browser.close()


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
