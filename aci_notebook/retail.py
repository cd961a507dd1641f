"""Azure's public Retail Prices API: what container instances cost in one region, as rows of plain values.

No account is needed. A row has no SKU that tells cores from memory, only the meter's name does (`aci-facts` §9); units differ by
meter (`1 Hour`, `1 GB Hour`, `100 Seconds`), so `unitOfMeasure` is read every time, and a row whose unit is not understood is not
used. Answers come in pages with a link to the next; a link to another host is refused.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from .errors import ServiceError
from .pricing import RETAIL_URL, per_hour

MAX_ANSWER_BYTES = 5_000_000
MAX_PAGES = 20

_SERVICE = _PRODUCT = "Container Instances"
_SKUS = {"Standard": "", "Standard Spot": "spot_"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def ask(location: str, *, url: str = RETAIL_URL, timeout_s: float = 10.0) -> list[dict[str, Any]]:
    """Rows of location, meter (one of pricing.METERS), usd, unit, as_of, source; none for an unknown region. Raises ServiceError."""
    return _rows(_items(url, location, timeout_s), location)


def _rows(items: Iterable[Mapping[str, Any]], location: str) -> list[dict[str, Any]]:
    """Our rows of the API's items: of each meter the price in effect now, told apart by the meter's name alone."""
    today = datetime.now(UTC)
    newest: dict[str, tuple[str, dict[str, Any]]] = {}
    for item in items:
        meter = _meter(item)
        since = str(item.get("effectiveStartDate") or "")
        if meter is None or item.get("armRegionName") != location or since[:10] > today.date().isoformat():
            continue
        usd, unit = item.get("retailPrice"), str(item.get("unitOfMeasure") or "")
        if not isinstance(usd, int | float) or isinstance(usd, bool) or per_hour(float(usd), unit) is None:
            continue
        source = f"Azure Retail Prices API, in effect since {since[:10] or 'an unknown day'}, asked {today:%Y-%m-%d}"
        row = {"location": location, "meter": meter, "usd": usd, "unit": unit, "as_of": f"{today:%Y-%m-%d}", "source": source}
        if meter not in newest or since >= newest[meter][0]:
            newest[meter] = (since, row)
    return [row for _, row in newest.values()]


def _meter(item: Mapping[str, Any]) -> str | None:
    if item.get("productName") != _PRODUCT or item.get("type", "Consumption") != "Consumption":
        return None
    if item.get("tierMinimumUnits") or item.get("currencyCode", "USD") != "USD":
        return None
    prefix = _SKUS.get(str(item.get("skuName")))
    name = str(item.get("meterName", "")).lower()
    if prefix is None:
        return None
    if "windows" in name:
        return "windows" if not prefix else None
    kind = "cpu" if "vcpu" in name else "memory" if "memory" in name else ""
    return prefix + kind if kind else None


def _items(url: str, location: str, timeout_s: float) -> Iterable[Mapping[str, Any]]:
    """All items of the paged answer; links to another host are not followed."""
    wanted = f"serviceName eq '{_SERVICE}' and armRegionName eq '{location}' and priceType eq 'Consumption'"
    link: str | None = f"{url}?{urlencode({'$filter': wanted}, quote_via=quote, safe='$')}"
    deadline = time.monotonic() + timeout_s
    for _ in range(MAX_PAGES):
        if not link:
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise _unreachable(url, "no answer in time")
        page = _page(link, url, left)
        if page.get("BillingCurrency", "USD") != "USD":
            raise ServiceError(f"the price list answered in {page['BillingCurrency']}, not in USD")
        yield from (item for item in page.get("Items") or [] if isinstance(item, dict))
        link = page.get("NextPageLink")


def _page(link: str, url: str, timeout_s: float) -> dict[str, Any]:
    here, there = urlsplit(url), urlsplit(link)
    if (there.scheme, there.hostname) != (here.scheme, here.hostname) or here.scheme not in ("https", "http"):
        raise ServiceError(f"the price list points to {there.scheme}://{there.hostname}, which is not {here.hostname}")
    opener = build_opener(ProxyHandler({})) if here.hostname in _LOOPBACK else build_opener()
    request = Request(quote(link, safe="%/:=&?~#+!$,;'@()*[]"), headers={"Accept": "application/json"})  # noqa: S310 - checked above
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            body = answer.read(MAX_ANSWER_BYTES + 1)
        page = json.loads(body) if len(body) <= MAX_ANSWER_BYTES else None
    except HTTPError as error:
        error.close()
        raise _unreachable(url, f"HTTP {error.code} {error.reason}") from error
    except URLError as error:
        raise _unreachable(url, error.reason) from error
    except (OSError, HTTPException, ValueError) as error:
        raise _unreachable(url, error) from error
    if not isinstance(page, dict):
        raise _unreachable(url, "the answer is not a page of prices")
    return page


def _unreachable(url: str, reason: object) -> ServiceError:
    return ServiceError(
        f"prices could not be had from {urlsplit(url).hostname}: {reason}",
        hint="the prices known so far are used; runs do not need them",
    )
