"""Plays a notebook with nbclient, as a script that another user can run: `play.py IN OUT [--kill-local-aci-after TEXT]`.

With the option the local ACI is killed hard as soon as a log of the home holds the text; what it had counted by then is written beside
the notebook.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
import time
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import nbformat
from nbclient import NotebookClient


def kill_when(text: str, counts: Path) -> None:
    home = Path(os.environ["ACI_NOTEBOOK_HOME"])
    while not any(text.encode() in path.read_bytes() for path in home.glob("logs/*.log")):
        time.sleep(0.02)
    told = json.loads((home / "local" / "server.json").read_text())
    token = (home / "local" / "token").read_text().strip()
    request = Request(told["url"] + "/_aci/stats", headers={"Authorization": f"Bearer {token}"})
    with build_opener(ProxyHandler({})).open(request, timeout=5) as answer:
        counts.write_bytes(answer.read())
    os.kill(told["pid"], signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--kill-local-aci-after", default="")
    arguments = parser.parse_args()
    if arguments.kill_local_aci_after:
        counts = arguments.target.with_suffix(".counts.json")
        threading.Thread(target=kill_when, args=(arguments.kill_local_aci_after, counts), daemon=True).start()
    notebook = nbformat.read(arguments.source, as_version=4)
    NotebookClient(notebook, timeout=90, kernel_name="python3", coalesce_streams=True).execute()
    nbformat.write(notebook, arguments.target)


if __name__ == "__main__":
    main()
