"""The remaining-requests headers, counted over sliding windows (aci-facts §1, A24)."""

from __future__ import annotations

from collections import deque
from datetime import datetime

from .errors import ServiceError
from .limits import Limits

WRITES_PER_HOUR = 1200
DELETES_PER_HOUR = 15000
PREFIX = "x-ms-ratelimit-remaining-subscription-"


class Window:
    """How many requests there were in the last `seconds`; costs memory by the second, not by the request."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self._counts: deque[tuple[int, int]] = deque()  # (second, requests in it)
        self._total = 0

    def add(self, now: datetime) -> None:
        second = int(now.timestamp())
        last = self._counts.pop()[1] if self._counts and self._counts[-1][0] == second else 0
        self._counts.append((second, last + 1))
        self._total += 1

    def left(self, limit: int, now: datetime) -> int:
        """How many more requests `limit` allows now."""
        while self._counts and self._counts[0][0] <= now.timestamp() - self.seconds:
            self._total -= self._counts.popleft()[1]
        return max(0, limit - self._total)

    def wait_s(self, now: datetime) -> int:
        """Seconds until the oldest requests no longer count."""
        oldest = self._counts[0][0] if self._counts else int(now.timestamp())
        return max(1, oldest + self.seconds - int(now.timestamp()))


class Budgets:
    """Counts requests of one subscription; creates and deletes of groups share one counter, as recorded."""

    def __init__(self) -> None:
        self._reads, self._writes, self._deletes = Window(3600), Window(3600), Window(3600)
        self._groups_5min, self._groups_hour = Window(300), Window(3600)

    def count(self, method: str, *, is_group: bool, now: datetime, limits: Limits) -> dict[str, str]:
        """Headers for a request, which is counted; with `limits.throttle` raises a 429 when nothing is left."""
        rows = [
            {
                "GET": (self._reads, limits.reads_per_hour, "reads"),
                "HEAD": (self._reads, limits.reads_per_hour, "reads"),
                "DELETE": (self._deletes, DELETES_PER_HOUR, "deletes"),
            }.get(method, (self._writes, WRITES_PER_HOUR, "writes"))
        ]
        if is_group and method in ("PUT", "DELETE"):
            rows.append((self._groups_5min, limits.writes_per_5min, "resource-requests-pt5m"))
            rows.append((self._groups_hour, limits.writes_per_hour, "resource-requests-pt1h"))
        for window, limit, _ in rows:
            if limits.throttle and window.left(limit, now) <= 0:
                raise _throttled(method, limit, window, now)
        for window, _, _ in rows:
            window.add(now)
        return {PREFIX + name: str(window.left(limit, now)) for window, limit, name in rows}


def _throttled(method: str, limit: int, window: Window, now: datetime) -> ServiceError:
    wait_s = window.wait_s(now)
    action = {"GET": "read", "HEAD": "read", "DELETE": "delete"}.get(method, "write")
    interval = "00:05:00" if window.seconds == 300 else "01:00:00"
    return ServiceError(
        429,
        "ResourceRequestsThrottled",
        f"Number of requests for action 'Microsoft.ContainerInstance/containerGroups/{action}' exceeded the limit of "
        f"'{limit}' for time interval '{interval}'. Please try again after '{wait_s}' seconds.",
        retry_after=wait_s,
    )
