"""What runs cost: dated prices by region, and the service's way of billing.

Rules (`aci-facts` §9):
* Billed are the cores and GB that were asked for, by the second, from the first image pull until the group has stopped or is
  deleted. Seconds are rounded up, memory is rounded up to 0.1 GB.
* A price has a region, a date and a source: `prices.json` holds what is known at release, `PriceBook.refresh` asks Azure's public
  Retail Prices API and keeps its answer, with the day, in the home. A region without a price has none: nothing is guessed from
  a neighbour, and an unknown Spot price is not taken for the ordinary one.
* Runs on the local ACI cost nothing; what they would cost on Azure is said beside.
"""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import OptionError, ServiceError
from .spec import RunSpec

if TYPE_CHECKING:
    from .record import RunRecord

RETAIL_URL = "https://prices.azure.com/api/retail/prices"
METERS = ("cpu", "memory", "spot_cpu", "spot_memory", "windows")
LINGER_S = 600.0  # the runner's, payload.LINGER_S; a test holds them together

_UNIT = re.compile(r"(?P<count>\d+(?:\.\d+)?)\s*(?:GB\s*)?(?P<time>Second|Minute|Hour|Day)s?", re.IGNORECASE)
_HOURS = {"second": 1 / 3600, "minute": 1 / 60, "hour": 1.0, "day": 24.0}
_NOT_OVER = frozenset({"cancelled", "unreachable", "start_timeout", "error", "auth", "pull_failed", "capacity"})


@dataclass(frozen=True, slots=True)
class Price:
    """What one region costs by the hour, in USD; None where it is not known. `as_of` is the day on which it was so."""

    location: str
    cpu_usd_per_hour: float
    memory_usd_per_gb_hour: float
    spot_cpu_usd_per_hour: float | None = None
    spot_memory_usd_per_gb_hour: float | None = None
    windows_usd_per_cpu_hour: float | None = None
    as_of: date | None = None
    source: str = ""

    def per_hour(self, cpu: float, memory_gb: float, *, spot: bool = False, windows: bool = False) -> float | None:
        """USD for one hour of that size, memory rounded up to 0.1 GB; None if a price that it needs is not known."""
        by_cpu = self.spot_cpu_usd_per_hour if spot else self.cpu_usd_per_hour
        by_gb = self.spot_memory_usd_per_gb_hour if spot else self.memory_usd_per_gb_hour
        software = self.windows_usd_per_cpu_hour if windows else 0.0
        if by_cpu is None or by_gb is None or software is None:
            return None
        return cpu * (by_cpu + software) + billed_gb(memory_gb) * by_gb


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run has cost (0.0 before it begins, and on the local ACI) and what its size costs by the hour; None: not known.

    `azure_usd` and `azure_usd_per_hour` are the same run on Azure, wherever it runs; `timeout_usd` is its cost if it uses all of
    its --timeout. `reason` says why something is None.
    """

    usd: float | None
    usd_per_hour: float | None
    azure_usd: float | None = None
    azure_usd_per_hour: float | None = None
    timeout_usd: float | None = None
    billed_s: int = 0
    location: str = ""
    as_of: date | None = None
    source: str = ""
    reason: str = ""

    @property
    def remedy(self) -> str:
        """What finds a price that is missing; an empty text where nothing is."""
        if not self.reason:
            return ""
        return f"%aci cost --refresh -l {self.location} asks Azure for it" if self.location else "name the region with --location"


def billed_gb(memory_gb: float) -> float:
    """Memory as it is billed: rounded up to 0.1 GB."""
    return math.ceil(round(memory_gb * 10, 6)) / 10


def billed_s(record: RunRecord, now: datetime) -> int:
    """Seconds that the service bills up to `now`: from the first pull until the group stopped or was gone, rounded up.

    A run that has ended while its group is not known to be gone is counted on until `now`, at most as long as its container can
    still live: the runner lingers for 10 minutes, and a program that nobody saw end has its --timeout.
    """
    marks = dict(record.phases)
    begun = next((marks[phase] for phase in ("pulling", "starting", "installing", "running", "collecting") if phase in marks), None)
    if begun is None and record.outcome is not None and record.outcome.exit_code is not None:
        begun = marks.get("queued", record.created_at)  # it was over before anybody looked
    if begun is None:
        return 0
    if record.group == "gone":
        over = record.deleted_at or record.ended_at or now
    elif record.outcome is None or record.ended_at is None:
        over = now
    else:
        linger = LINGER_S if record.spec.has_runner else 0.0
        longest = (record.ended_at - begun).total_seconds() + linger
        if record.outcome.kind in _NOT_OVER and record.group != "kept":
            longest = max(longest, record.spec.timeout_s + linger)
        return math.ceil(max(0.0, min((now - begun).total_seconds(), longest)))
    return math.ceil(max(0.0, (over - begun).total_seconds()))


class PriceBook:
    """Prices by region: those of the release, and the refreshed ones kept in `home/prices.json` (None: kept in memory only)."""

    def __init__(self, home: Path | None = None, *, url: str | None = None, timeout_s: float = 10.0) -> None:
        self.path = Path(home) / "prices.json" if home is not None else None
        self.url = url or RETAIL_URL
        self.timeout_s = timeout_s
        self._fresh: dict[str, Price] = {}
        self._seen: tuple[int, int] | None = None

    def price(self, location: str) -> Price | None:
        """The newest known price of that region, or None."""
        self._read()
        name = _normal(location)
        known = [price for price in (self._fresh.get(name), _released().get(name)) if price is not None]
        return max(known, key=lambda price: price.as_of or date.min, default=None)

    def locations(self) -> tuple[str, ...]:
        """The regions with a known price, in order."""
        self._read()
        return tuple(sorted({*self._fresh, *_released()}))

    def estimate(
        self, what: RunRecord | RunSpec, now: datetime | None = None, *, target: str | None = None, location: str | None = None
    ) -> Estimate:
        """The cost of a run up to `now`, or of a spec before it runs. `location` is used where the run names none."""
        spec, record = (what, None) if isinstance(what, RunSpec) else (what.spec, what)
        where = _normal((record.location if record else "") or spec.location or location or "")
        local = (target or (record.target if record else "azure")) == "local"
        seconds = billed_s(record, now or datetime.now(UTC)) if record else 0
        price = self.price(where) if where else None
        rate = price.per_hour(spec.cpu, spec.memory_gb, spot=spec.spot) if price else None
        so_far = None if rate is None else rate * seconds / 3600
        if not where:
            reason = "the region is not known"
        elif price is None:
            reason = f"no price is known for {where}"
        else:
            reason = f"no Spot price is known for {where}" if rate is None else ""
        if seconds == 0:
            so_far = 0.0
        return Estimate(
            usd=0.0 if local else so_far,
            usd_per_hour=0.0 if local else rate,
            azure_usd=so_far,
            azure_usd_per_hour=rate,
            timeout_usd=None if rate is None else (0.0 if local else rate * spec.timeout_s / 3600),
            billed_s=seconds,
            location=where,
            as_of=price.as_of if price else None,
            source=price.source if price else "",
            reason=reason,
        )

    def cost(self, record: RunRecord) -> float | None:
        """The run's cost in USD up to its last change, as the history keeps it; None if it is not known."""
        return self.estimate(record, record.updated_at or record.created_at).usd

    def refresh(self, location: str) -> Price:
        """Ask Azure's public Retail Prices API for that region and keep the answer. Raises ServiceError, and then nothing changed."""
        name = _normal(location)
        if not re.fullmatch(r"[a-z0-9]{2,40}", name):
            raise OptionError("location", location, "is the name of an Azure region", "for example westeurope")
        from .retail import ask  # brings http along, which estimates do not need

        rows = ask(name, url=self.url, timeout_s=self.timeout_s)
        found = _prices(rows).get(name)
        if found is None:
            raise ServiceError(
                f"the price list has no container instances in {name}", hint="check the region's name: az account list-locations"
            )
        self._read()
        self._fresh[name] = found
        self._keep()
        return found

    def renewed(self, location: str) -> str:
        """`refresh`, and in one sentence what is known of that region now: from Azure, or else from the dated table."""
        try:
            self.refresh(location)
            said = ""
        except ServiceError as error:
            said = f"{error.args[0]}; "
        found = self.price(location)
        return said + (told(found) if found else f"no price is known for {_normal(location)}: runs there show no cost")

    def _read(self) -> None:
        if self.path is None:
            return
        try:
            found = self.path.stat()
            seen = (found.st_mtime_ns, found.st_ino)
            if seen != self._seen:
                self._fresh = {**self._fresh, **_prices(json.loads(self.path.read_text("utf-8"))["prices"])}
                self._seen = seen
        except (OSError, ValueError, KeyError, TypeError):
            return

    def _keep(self) -> None:
        """Write the refreshed prices; a home that takes no files is no reason to do without them now."""
        if self.path is None:
            return
        rows = [row for price in self._fresh.values() for row in _rows_of(price)]
        text = json.dumps({"prices": rows}, indent=1)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(dir=self.path.parent, prefix=".prices-")
            try:
                with open(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                Path(beside).replace(self.path)
            except OSError:
                os.unlink(beside)
                raise
        except OSError:
            return


def estimate(
    what: RunRecord | RunSpec,
    now: datetime | None = None,
    *,
    target: str | None = None,
    location: str | None = None,
    book: PriceBook | None = None,
) -> Estimate:
    """`PriceBook.estimate` with the prices of the release, unless a book is given."""
    return (book or PriceBook()).estimate(what, now, target=target, location=location)


def told(price: Price) -> str:
    """A region's prices in one sentence, with their date and source."""
    day = f"of {price.as_of}" if price.as_of else "without a date"
    spot = ""
    if price.spot_cpu_usd_per_hour is not None and price.spot_memory_usd_per_gb_hour is not None:
        spot = f", Spot ${price.spot_cpu_usd_per_hour:.4g} and ${price.spot_memory_usd_per_gb_hour:.4g}"
    each = f"${price.cpu_usd_per_hour:.4g} per core and hour, ${price.memory_usd_per_gb_hour:.4g} per GB and hour{spot}"
    return f"{price.location}: {each}; prices {day} ({price.source})"


def timeout_for_cost(usd: float, found: Estimate, *, after_s: float = 0.0) -> float:
    """The time-out in whole seconds that keeps a run within `usd`, when `after_s` billed seconds may come after it.

    Raises OptionError where the price is not known, or the money does not even pay for what comes after.
    """
    option, rate = "--max-cost", found.azure_usd_per_hour
    if not (isinstance(usd, int | float) and math.isfinite(usd) and usd > 0):
        raise OptionError(option, usd, "must be an amount in USD above 0", f"for example {option} 0.50")
    if not rate:
        raise OptionError(option, usd, f"{found.reason}, so no time can be made of it", f"{found.remedy}; or give --timeout instead")
    seconds = math.floor(usd / rate * 3600 - after_s + 1e-9)
    if seconds < 1:
        least = math.ceil((after_s + 60) * rate / 3600 * 10_000) / 10_000
        kept = f"the {after_s / 60:g} minutes cost for which a container without a client keeps its output" if after_s else "a second costs"
        raise OptionError(option, usd, f"is less than {kept}", f"give at least {option} {least:g}, or a smaller --cpu and --memory")
    return float(seconds)


def _normal(location: str) -> str:
    return location.strip().lower().replace(" ", "")


@cache
def _released() -> Mapping[str, Price]:
    return _prices(json.loads(files(__package__).joinpath("prices.json").read_text("utf-8"))["prices"])


def _prices(rows: Iterable[Mapping[str, Any]]) -> dict[str, Price]:
    """Prices by region, from rows of location, meter, usd, unit, as_of, source; rows that make no sense are left out."""
    found: dict[str, dict[str, tuple[float, date | None, str]]] = {}
    for row in rows:
        try:
            hourly = per_hour(float(row["usd"]), str(row["unit"]))
            day = date.fromisoformat(row["as_of"]) if row.get("as_of") else None
            if hourly is not None and row["meter"] in METERS:
                found.setdefault(_normal(str(row["location"])), {})[row["meter"]] = (hourly, day, str(row.get("source", "")))
        except (KeyError, TypeError, ValueError):
            continue
    prices = {}
    for location, meters in found.items():
        if "cpu" in meters and "memory" in meters:
            spot_cpu, spot_memory, windows = (meters[meter][0] if meter in meters else None for meter in METERS[2:])
            days = [meters[meter][1] for meter in ("cpu", "memory")]
            prices[location] = Price(
                location,
                meters["cpu"][0],
                meters["memory"][0],
                spot_cpu,
                spot_memory,
                windows,
                as_of=min((day for day in days if day is not None), default=None),
                source=meters["cpu"][2],
            )
    return prices


def _rows_of(price: Price) -> list[dict[str, Any]]:
    hourly = (
        price.cpu_usd_per_hour,
        price.memory_usd_per_gb_hour,
        price.spot_cpu_usd_per_hour,
        price.spot_memory_usd_per_gb_hour,
        price.windows_usd_per_cpu_hour,
    )
    day = price.as_of.isoformat() if price.as_of else None
    return [
        {"location": price.location, "meter": meter, "usd": usd, "unit": "1 Hour", "as_of": day, "source": price.source}
        for meter, usd in zip(METERS, hourly, strict=True)
        if usd is not None
    ]


def per_hour(usd: float, unit: str) -> float | None:
    """USD by the hour (and by the GB, where the unit says so) of a price by `1 Hour`, `100 Seconds`, `1 GB Hour`; None: unknown unit."""
    said = _UNIT.fullmatch(unit.strip())
    hours = _HOURS.get(said["time"].lower()) if said else None
    if said is None or hours is None or not math.isfinite(usd) or usd < 0 or float(said["count"]) <= 0:
        return None
    return usd / (float(said["count"]) * hours)
