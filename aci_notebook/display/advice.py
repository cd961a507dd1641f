"""One hint on the size of the next such run, from what this one used: `peak 0.3 of 4 GB: --memory 1 would do`. Pure.

Memory: a quarter more than the peak, rounded up to half a GB, if that saves a third and 1 GB at least; more, if the peak was close to
the limit or over it. Cores: a quarter more than were busy on average, if that saves half of them; only after half a minute of work.
"""

from __future__ import annotations

import math

from ..record import RunRecord
from .numbers import gigabytes

CLOSE = 0.9
WORK_S = 30.0
MEMORY_MAX_GB = 240.0


def advice(record: RunRecord) -> str:
    """The hint, or an empty text where the size was right, or nobody measured."""
    spec, outcome = record.spec, record.outcome
    if outcome is None:
        return ""
    if outcome.kind == "oom":
        return f"{spec.memory_gb:g} GB were not enough: try --memory {min(MEMORY_MAX_GB, 2 * spec.memory_gb):g}"
    if not outcome.succeeded:
        return ""
    found: list[tuple[str, str]] = []
    if outcome.peak_memory_bytes is not None:
        peak = gigabytes(outcome.peak_memory_bytes)
        enough = max(1.0, math.ceil(peak * 1.25 / 0.5) * 0.5)
        if peak > CLOSE * spec.memory_gb:
            said = "is close to the limit" if peak <= spec.memory_gb else "is over the limit, and Azure would have ended the run"
            return f"{peak_text(record)} {said}: --memory {min(MEMORY_MAX_GB, enough):g} leaves room"
        if enough <= spec.memory_gb * 2 / 3 and spec.memory_gb - enough >= 1:
            found.append((peak_text(record), f"--memory {enough:g}"))
    worked_s = dict(record.spans(record.ended_at or record.created_at)).get("running", 0.0)
    if outcome.cpu_s is not None and worked_s >= WORK_S:
        busy = outcome.cpu_s / worked_s
        cores = max(1.0, float(math.ceil(busy * 1.25)))
        if cores <= spec.cpu / 2:
            found.append((f"used {busy:.1f} of {spec.cpu:g} CPU", f"--cpu {cores:g}"))
    return f"{', '.join(fact for fact, _ in found)}: {' '.join(flag for _, flag in found)} would do" if found else ""


def peak_text(record: RunRecord) -> str:
    """`peak 0.3 of 4 GB`; an empty text where nobody measured."""
    if record.outcome is None or record.outcome.peak_memory_bytes is None:
        return ""
    peak = gigabytes(record.outcome.peak_memory_bytes)
    said = "under 0.01" if peak < 0.005 else f"{peak:.2f}" if peak < 0.1 else f"{peak:.1f}"
    return f"peak {said} of {record.spec.memory_gb:g} GB"
