"""The remaining-requests headers, counted over sliding windows (aci-facts §1, A24)."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from .errors import ServiceError
from .limits import Limits

WRITES_PER_HOUR = 1200
DELETES_PER_HOUR = 15000
PREFIX = "x-ms-ratelimit-remaining-subscription-"
MINUTES_5, HOUR = timedelta(minutes=5), timedelta(hours=1)


class Budgets:
    """Counts requests of one subscription; creates and deletes share one counter, as recorded."""

    def __init__(self) -> None:
        self._groups: deque[datetime] = deque()
        self._reads: deque[datetime] = deque()
        self._writes: deque[datetime] = deque()
        self._deletes: deque[datetime] = deque()

    def count(self, method: str, *, is_group: bool, now: datetime, limits: Limits) -> dict[str, str]:
        """Headers for a request, which is counted; with `limits.throttle` raises a 429 when nothing is left."""
        log, limit, name = {
            "GET": (self._reads, limits.reads_per_hour, "reads"),
            "HEAD": (self._reads, limits.reads_per_hour, "reads"),
            "DELETE": (self._deletes, DELETES_PER_HOUR, "deletes"),
        }.get(method, (self._writes, WRITES_PER_HOUR, "writes"))
        if limits.throttle:
            _check(log, limit, HOUR, now, method)
        log.append(now)
        headers = {PREFIX + name: str(_left(log, limit, HOUR, now))}
        if is_group and method in ("PUT", "DELETE"):
            if limits.throttle:
                _check(self._groups, limits.writes_per_5min, MINUTES_5, now, method)
                _check(self._groups, limits.writes_per_hour, HOUR, now, method)
            self._groups.append(now)
            for window, text, most in (
                (MINUTES_5, "pt5m", limits.writes_per_5min),
                (HOUR, "pt1h", limits.writes_per_hour),
            ):
                headers[f"{PREFIX}resource-requests-{text}"] = str(_left(self._groups, most, window, now))
        return headers


def _used(log: deque[datetime], window: timedelta, now: datetime) -> int:
    while log and now - log[0] > HOUR:
        log.popleft()
    if window == HOUR:
        return len(log)
    return sum(1 for at in log if now - at <= window)


def _left(log: deque[datetime], limit: int, window: timedelta, now: datetime) -> int:
    return max(0, limit - _used(log, window, now))


def _check(log: deque[datetime], limit: int, window: timedelta, now: datetime, method: str) -> None:
    if _left(log, limit, window, now) > 0:
        return
    oldest = next((at for at in log if now - at <= window), now)
    wait_s = max(1, int((oldest + window - now).total_seconds()))
    action = "read" if method in ("GET", "HEAD") else "delete" if method == "DELETE" else "write"
    raise ServiceError(
        429,
        "ResourceRequestsThrottled",
        f"Number of requests for action 'Microsoft.ContainerInstance/containerGroups/{action}' exceeded the limit of "
        f"'{limit}' for time interval '{window}'. Please try again after '{wait_s}' seconds.",
        retry_after=wait_s,
    )
