"""JupyterLab in Chromium: what the tests share. One server and one browser a session, each notebook in a page of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = Path("/usr/bin/chromium")
BROWSER = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
START_S = 40.0

# The contrast of every element with text of its own, as it is drawn: ink over the nearest opaque ground.
UNREADABLE = """(selector) => [...document.querySelectorAll(selector)].filter(e =>
    [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && e.getClientRects().length && !e.disabled
  ).map(e => {
  const rgb = t => t.match(/[\\d.]+/g).map(Number);
  let ground = [255, 255, 255, 0];
  for (let at = e; at && !(ground[3] ?? 1); at = at.parentElement) ground = rgb(getComputedStyle(at).backgroundColor);
  let ink = rgb(getComputedStyle(e).color); const alpha = ink[3] ?? 1;
  ink = ink.slice(0, 3).map((v, i) => v * alpha + ground[i] * (1 - alpha));
  const light = c => c.slice(0, 3).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                       .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const pair = [light(ink), light(ground)].sort((a, b) => b - a);
  return [e.tagName, e.className, e.textContent.trim().slice(0, 40), Math.round(100 * (pair[0] + 0.05) / (pair[1] + 0.05)) / 100];
}).filter(found => found[3] < 4.5)"""


# Lab itself goes on to another notebook: what was open is closed unsaved, the theme is changed, the file is opened with its kernel.
CLOSED = """() => {
  for (const widget of [...window.jupyterapp.shell.widgets('main')]) {
    if (widget.context?.model) widget.context.model.dirty = false;
    widget.close();
  }
  return !document.querySelector('.jp-NotebookPanel');
}"""
NEXT = """async ([path, theme]) => {
  const commands = window.jupyterapp.commands;
  if ((document.body.dataset.jpThemeName ?? '') !== theme) await commands.execute('apputils:change-theme', {theme});
  await commands.execute('docmanager:open', {path, factory: 'Notebook'});
}"""
SHOWN = (
    "name => window.jupyterapp?.shell.currentWidget?.context?.path === name && window.jupyterapp.shell.currentWidget.sessionContext.isReady"
)
ANSWERS = """async () => {
  const shown = window.jupyterapp.shell.currentWidget;
  await Promise.all([shown.revealed, shown.context.ready, shown.sessionContext.ready]);
  await shown.sessionContext.session.kernel.requestExecute({code: '', silent: true, store_history: false}).done;
}"""
CELLS = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell"
THEMES = {False: "JupyterLab Light", True: "JupyterLab Dark"}


def notebook(*cells: str) -> dict[str, Any]:
    """A notebook as nbformat writes it; the kernelspec keeps Lab from asking for one."""
    made = [
        {"cell_type": "code", "id": f"cell-{place}", "metadata": {}, "execution_count": None, "outputs": [], "source": text}
        for place, text in enumerate(cells)
    ]
    spec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return {"cells": made, "metadata": {"kernelspec": spec, "language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}


@dataclass
class Lab:
    """A running JupyterLab with a history and a local ACI of its own."""

    folder: Path
    home: Path
    port: int
    token: str
    process: subprocess.Popen[bytes]
    made: int = field(default=0)
    left_before: int = field(default=0)

    def write(self, book: dict[str, Any], name: str = "") -> str:
        """Puts a notebook into the folder; its name."""
        self.made += 1
        name = name or f"book{self.made}.ipynb"
        (self.folder / name).write_text(json.dumps(book), "utf-8")
        return name

    def read(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name).read_text("utf-8"))

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/lab/workspaces/{secrets.token_hex(4)}/tree/{name}?token={self.token}&reset"

    def aci(self, path: str) -> Any:
        """The local ACI's control surface."""
        told = json.loads((self.home / "local" / "server.json").read_text("utf-8"))
        token = (self.home / "local" / "token").read_text("utf-8").strip()
        request = urllib.request.Request(told["url"] + path, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
            return json.loads(answer.read())

    def requests(self, kind: str) -> int:
        """How often the local ACI was asked for that; 0 before it was started."""
        begun = (self.home / "local" / "server.json").exists()
        return int(self.aci("/_aci/stats")["requests"].get(kind, 0)) if begun else 0

    def groups_left(self) -> int:
        """Groups that were created and not deleted since this test began."""
        return self._left() - self.left_before

    def begin_test(self) -> None:
        """What an earlier test left is not this one's."""
        self.left_before = self._left()

    def _left(self) -> int:
        if not (self.home / "local" / "server.json").exists():
            return 0
        stats = self.aci("/_aci/stats")
        return int(stats["created"] - stats["deleted"])

    def shut_kernels(self) -> None:
        """Ends every kernel, so that tests do not hear each other's."""
        base = f"http://127.0.0.1:{self.port}/api/kernels"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        headers = {"Authorization": f"token {self.token}"}
        with opener.open(urllib.request.Request(base, headers=headers), timeout=10) as answer:
            found = json.loads(answer.read())
        for kernel in found:
            opener.open(urllib.request.Request(f"{base}/{kernel['id']}", headers=headers, method="DELETE"), timeout=10).close()


def start(root: Path, location: str = "westeurope") -> Lab:
    """A JupyterLab on a free port, ready to answer."""
    folder, home = root / "books", root / "home"
    folder.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(8)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("ACI_NOTEBOOK_", "JUPYTER_", "JPY_"))}
    env = {
        **clean,
        "ACI_NOTEBOOK_LOCATION": location,
        "ACI_NOTEBOOK_HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(root / "config"),
        "JUPYTER_DATA_DIR": str(root / "data"),
        "JUPYTER_RUNTIME_DIR": str(root / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(root / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(root / "workspaces"),
        "IPYTHONDIR": str(root / "ipython"),
    }
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0"),
        *(f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}", "--ServerApp.terminals_enabled=False"),
        *("--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
        "--LabApp.expose_app_in_browser=True",  # so that a page goes from one notebook to the next without being loaded again
    ]
    if hasattr(os, "getuid") and os.getuid() == 0:
        command.append("--allow-root")
    with (root / "lab.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + START_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            opener.open(f"http://127.0.0.1:{port}/api?token={token}", timeout=2).close()
            break
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"JupyterLab did not start:\n{(root / 'lab.log').read_text()[-2000:]}") from None
            time.sleep(0.1)
    return Lab(folder, home, port, token, process)


def stop(lab: Lab) -> None:
    """Ends Lab, its kernels and the local ACI that they started."""
    lab.process.send_signal(signal.SIGTERM)
    try:
        lab.process.wait(15)
    except subprocess.TimeoutExpired:
        lab.process.kill()
        lab.process.wait(5)
    told = lab.home / "local" / "server.json"
    if told.exists():
        pid = json.loads(told.read_text("utf-8"))["pid"]
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass


def settings(root: Path) -> None:
    """What a person has chosen: the light theme, and no news."""
    folder = root / "settings" / "@jupyterlab" / "apputils-extension"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "themes.jupyterlab-settings").write_text(json.dumps({"theme": THEMES[False]}), "utf-8")
    (folder / "notification.jupyterlab-settings").write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}), "utf-8")


class Book:
    """One notebook in a page. The page may be one that shows Lab already: then Lab goes on to this notebook."""

    def __init__(self, lab: Lab, page: Any, name: str) -> None:
        self.lab = lab
        self.page = page
        self.name = name

    def open(self, *, dark: bool = False) -> Book:
        if self.page.url == "about:blank":
            self.page.goto(self.lab.url(self.name))
            self.ready()
        else:
            self.page.wait_for_function(CLOSED)
        if not self.page.locator(f"body[data-jp-theme-name='{THEMES[dark]}'] .jp-Notebook").count():
            self.page.evaluate(NEXT, [self.name, THEMES[dark]])
        self.page.locator(f"body[data-jp-theme-name='{THEMES[dark]}']").wait_for(state="attached", timeout=40_000)
        return self.ready()

    def ready(self) -> Book:
        """Waits until the notebook is there and its kernel has answered."""
        self.page.locator(CELLS).first.wait_for(timeout=40_000)
        self.page.wait_for_function(SHOWN, arg=self.name, timeout=40_000)
        self.page.evaluate(ANSWERS)
        return self

    def cell(self, place: int) -> Any:
        return self.page.locator(CELLS).nth(place)

    def output(self, place: int) -> Any:
        return self.cell(place).locator(".jp-OutputArea-output").first

    def run(self, place: int) -> None:
        """Runs one cell and does not wait for it."""
        self.cell(place).locator(".cm-content").first.click()
        self.page.keyboard.press("Control+Enter")

    def run_all(self) -> None:
        """Runs every cell and does not wait for them."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")

    def run_all_from_the_menu(self) -> None:
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()

    def save(self) -> None:
        """Saves, and waits until it is written."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
