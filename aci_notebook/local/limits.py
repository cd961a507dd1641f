"""The numbers that `POST /_aci/limits` changes: quotas, log windows, budgets (aci-facts §1, §5, §8)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from .errors import invalid
from .logwindow import Window

LARGEST = 10**12


@dataclass(frozen=True)
class Limits:
    """Per region and subscription for the quotas. `throttle`: refuse what the create/delete budget does not cover."""

    cores: float = 100
    spot_cores: float = 100
    groups: int = 100
    log_window_bytes: int = 4 * 1024 * 1024
    ended_log_bytes: int = 16 * 1024
    ended_log_lines: int = 1000
    writes_per_5min: int = 100
    writes_per_hour: int = 300
    reads_per_hour: int = 12000
    throttle: bool = False
    provisioning_timeout_s: float = 1800
    page_size: int = 1000
    events: bool = True  # False: instance views without events, as recorded for some regions

    def window(self, *, ended: bool) -> Window:
        """How much of a container's log can be read now."""
        return Window(self.ended_log_bytes, self.ended_log_lines) if ended else Window(self.log_window_bytes)

    def changed(self, given: Any) -> Limits:
        """These limits with the members of a JSON object; raises a 400 for anything unknown or negative."""
        if not isinstance(given, dict):
            raise invalid("bad value", "The limits must be an object.")
        allowed: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,)}
        kinds = {field.name: allowed[str(field.type)] for field in fields(self)}
        for name, value in given.items():
            if name not in kinds:
                raise invalid("bad value", f"There is no limit '{name[:40]}'; there are: {', '.join(kinds)}.")
            is_flag = isinstance(value, bool)
            number = float(value) if isinstance(value, int | float) else -1.0
            if not isinstance(value, kinds[name]) or is_flag != (kinds[name] == (bool,)) or not 0 <= number <= LARGEST:
                raise invalid("bad value", f"The limit '{name}' cannot be '{value}'.")
        return replace(self, **given)
