"""One `%%aci` cell in a real kernel, for `peers.py`: python peers_cell.py CODE_FILE OPTIONS, in a world with Microsoft's host names.

The last line is JSON: what the cell showed, and when its reply came (seconds since 1970).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from jupyter_client.manager import KernelManager


def main(code: Path, options: str) -> None:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    try:
        client.execute_interactive("%load_ext aci_notebook", timeout=60, output_hook=lambda message: None)
        shown: list[str] = []

        def show(message: dict[str, dict[str, str]]) -> None:
            if message["msg_type"] == "stream":
                shown.append(message["content"]["text"])

        reply = client.execute_interactive(f"%%aci {options}\n{code.read_text()}", timeout=120, output_hook=show)
        back = time.time()
        gone = "import aci_notebook, IPython; IPython.get_ipython().user_ns['done'].wait_gone(30)"
        client.execute_interactive(gone, timeout=60, output_hook=lambda message: None)
        print(json.dumps({"text": "".join(shown), "back": back, "status": reply["content"]["status"]}))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
