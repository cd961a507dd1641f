"""Runs Airflow's own operator once, as a worker would: `execute`, with connections from the environment.

python airflow_job.py NAME OPTIONS_JSON        last line: {"returned": …} or {"raised": [kind, text]}, "at": when
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from airflow.providers.microsoft.azure.operators.container_instances import AzureContainerInstancesOperator


class TaskInstance:
    """Where the operator leaves its results."""

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def main(name: str, options: str) -> None:
    operator = AzureContainerInstancesOperator(
        task_id="task",
        ci_conn_id="azure",
        resource_group="rg",
        name=name,
        region="westeurope",
        cpu=1.0,
        memory_in_gb=1.0,
        **json.loads(options),
    )
    instance = TaskInstance()
    told: dict[str, Any] = {}
    try:
        told["returned"] = operator.execute({"ti": instance})
    except Exception as error:
        told["raised"] = [type(error).__name__, str(error)]
    told["at"] = time.time()
    print(json.dumps({**told, "pushed": instance.pushed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
