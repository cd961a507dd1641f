"""A kernel to be killed, or one with a full disk: `victim.py HOME MODE` reads {"code", "values", "name"} from standard input.

`adopted`: says the run's id and waits to be killed. `full`: nothing it writes may grow beyond 2 KB, as on a full disk; prints what
arrived as JSON.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import sys


def main() -> None:
    home, mode = sys.argv[1:]
    os.environ["ACI_NOTEBOOK_HOME"] = home
    from aci_notebook.session import connect

    asked = json.loads(sys.stdin.readline())
    session = connect("local")
    session.local_server()
    spec = session.spec(asked["values"], asked["code"])
    if mode == "full":
        session.house.store.unfinished()
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
    run = session.submit(spec)
    print(json.dumps({"run_id": run.run_id, "name": run.name}), flush=True)
    if mode == "adopted":
        while True:
            run.wait_gone(3_600)
            sys.stdin.read()
            return
    run.wait()
    run.wait_gone(60)
    got = base64.b64encode(run.log_bytes()).decode()
    outcome = run.record.outcome
    assert outcome is not None
    said = {"got": got, "kind": outcome.kind, "exit_code": outcome.exit_code, "group": run.record.group, "warnings": run.record.warnings}
    print(json.dumps({**said, "store": session.house.store.warnings, "gaps": run.record.gaps, "lost": run.record.lost_lines}), flush=True)


if __name__ == "__main__":
    main()
