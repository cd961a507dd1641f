"""What Airflow's own Connection writes and reads: run by Airflow's interpreter, cases as JSON on standard input, answers on the last line.

Each case is either the fields of a connection, which is written as URI and as JSON, or a text of somebody else's. Each text is read back.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from airflow.models.connection import Connection


def read(text: str) -> dict[str, Any]:
    """As Airflow reads a variable AIRFLOW_CONN_…."""
    found = Connection.from_json(text, conn_id="c") if text.lstrip().startswith("{") else Connection(conn_id="c", uri=text)
    return {"type": found.conn_type, "login": found.login, "password": found.password, "extra": found.extra_dejson}


def main() -> None:
    answers = []
    for case in json.load(sys.stdin):
        if isinstance(case, str):
            answers.append({"text": case, "read": read(case)})
            continue
        made = Connection(conn_id="c", conn_type="azure_container_instance", **{**case, "extra": json.dumps(case["extra"])})
        answers += [{"text": text, "read": read(text)} for text in (made.get_uri(), made.as_json())]
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
