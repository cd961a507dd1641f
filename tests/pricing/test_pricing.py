"""Money: prices with a date, billing as the service does it, the Retail Prices API's shape, --max-cost."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from aci_notebook import events as ev
from aci_notebook import payload
from aci_notebook.errors import OptionError, ServiceError
from aci_notebook.pricing import LINGER_S, Estimate, Price, PriceBook, billed_gb, billed_s, estimate, per_hour, timeout_for_cost
from aci_notebook.record import RunRecord, fold
from aci_notebook.spec import RunSpec

START = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def record(*happened: ev.Event, target: str = "azure", location: str = "eastus", **given: object) -> RunRecord:
    spec = replace(RunSpec("python:3.12-slim", code="1", cpu=1.0, memory_gb=2.0), **given)  # type: ignore[arg-type]
    made = fold(RunRecord("r1", "aci-r1", target, START, spec, location=location), ev.CreateRequested(START))
    for event in happened:
        made = fold(made, event)
    return made


PULLING = ev.PhaseEntered(at(2), "pulling", at(2))
RUNNING = ev.PhaseEntered(at(20), "running", at(20))


def end(seconds: float, kind: ev.OutcomeKind = "succeeded", **said: Any) -> ev.Ended:
    return ev.Ended(at(seconds), ev.Outcome(kind, **{"exit_code": 0, **said}))


# what is billed


@pytest.mark.parametrize(
    ("happened", "now", "billed"),
    [
        ([], 30, 0),
        ([PULLING], 2, 0),
        ([PULLING], 2.1, 1),
        ([PULLING, RUNNING], 62, 60),
        ([RUNNING], 62, 42),
        ([PULLING, RUNNING, end(62)], 62, 60),
        ([PULLING, RUNNING, end(62), ev.DeleteRequested(at(62))], 70, 68),
        ([PULLING, RUNNING, end(62), ev.DeleteVerified(at(66.4))], 9999, 65),
        ([PULLING, RUNNING, end(62), ev.DeleteUnverified(at(66), "no answer")], 99_999, 660),
        ([PULLING, RUNNING, end(62), ev.GroupKept(at(62))], 99_999, 660),
        ([PULLING, RUNNING, end(62, "cancelled"), ev.DeleteUnverified(at(66), "no answer")], 999_999, 87_000),
        ([end(3, "refused", exit_code=None)], 9999, 0),
        ([end(5), ev.DeleteVerified(at(9))], 9999, 9),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value),
)
def test_billed_from_the_first_pull_to_the_deletion(happened: list[ev.Event], now: float, billed: int) -> None:
    assert billed_s(record(*happened), at(now)) == billed


def test_a_run_without_our_runner_does_not_linger() -> None:
    run = record(PULLING, RUNNING, end(62), ev.GroupKept(at(62)), code=None)
    assert billed_s(run, at(99_999)) == 60


def test_the_linger_is_the_runners() -> None:
    assert LINGER_S == payload.LINGER_S


@pytest.mark.parametrize(("asked", "billed"), [(1, 1), (1.5, 1.5), (1.51, 1.6), (2.0000000001, 2), (0.3, 0.3), (1.1, 1.1), (3.95, 4)])
def test_memory_is_billed_in_tenths(asked: float, billed: float) -> None:
    assert billed_gb(asked) == pytest.approx(billed)


# estimates


def test_the_check_of_the_facts() -> None:
    """1 vCPU and 2 GB in eastus: 0.0405 + 0.0089 = 0.0494 USD by the hour."""
    found = estimate(record(PULLING, RUNNING, end(3600), ev.DeleteVerified(at(3602))), at(9999))
    assert found.usd_per_hour == pytest.approx(0.0494)
    assert found.usd == pytest.approx(0.0494)
    assert found.billed_s == 3600
    assert found.as_of == date(2026, 8, 27)
    assert "Retail Prices API" in found.source
    assert found.reason == ""


def test_an_estimate_before_the_run() -> None:
    found = estimate(RunSpec("x", cpu=2, memory_gb=4, timeout_s=7200), location="East US")
    assert (found.usd, found.billed_s) == (0.0, 0)
    assert found.usd_per_hour == pytest.approx(0.0988)
    assert found.timeout_usd == pytest.approx(0.1976)


def test_a_local_run_costs_nothing_and_says_what_azure_would_take() -> None:
    run = record(PULLING, RUNNING, end(3602), ev.DeleteVerified(at(3602)), target="local")
    found = estimate(run, at(9999))
    assert (found.usd, found.usd_per_hour, found.timeout_usd) == (0.0, 0.0, 0.0)
    assert found.azure_usd == pytest.approx(0.0494)
    assert found.azure_usd_per_hour == pytest.approx(0.0494)
    assert PriceBook().cost(run) == 0.0
    assert estimate(run.spec, target="local", location="eastus").usd == 0.0


def test_an_unknown_region_has_no_price_and_no_neighbours() -> None:
    running = record(PULLING, RUNNING, location="eastus2")
    assert estimate(running, at(60)) == Estimate(None, None, billed_s=58, location="eastus2", reason="no price is known for eastus2")
    assert estimate(RunSpec("x")).reason == "the region is not known"
    assert PriceBook().price("nowhere") is None


def test_an_unknown_spot_price_is_not_the_ordinary_one() -> None:
    found = estimate(RunSpec("x", spot=True), location="eastus")
    assert found.usd_per_hour is None
    assert found.reason == "no Spot price is known for eastus"


def test_windows_adds_its_software() -> None:
    price = PriceBook().price("eastus")
    assert price is not None
    assert price.per_hour(2, 4, windows=True) == pytest.approx(2 * (0.0405 + 0.0432) + 4 * 0.00445)
    other = PriceBook().price("swedencentral")
    assert other is not None
    assert other.per_hour(1, 1, windows=True) is None


def test_every_row_of_the_release_has_a_source_and_what_has_a_price_has_a_date() -> None:
    from importlib.resources import files

    rows = json.loads(files("aci_notebook").joinpath("prices.json").read_text())["prices"]
    assert all(row["source"] and per_hour(row["usd"], row["unit"]) for row in rows)
    assert PriceBook().locations() == ("eastus", "swedencentral")
    assert all((price := PriceBook().price(location)) and price.as_of for location in PriceBook().locations())


@pytest.mark.parametrize(
    ("usd", "unit", "hourly"),
    [
        (0.0405, "1 Hour", 0.0405), (0.00445, "1 GB Hour", 0.00445), (0.000012, "1 Second", 0.0432), (0.001125, "100 Seconds", 0.0405),
        (0.0001236, "100 GB Seconds", 0.0044496), (1.2, "1 Day", 0.05), (1, "1 GB/Month", None), (1, "1K", None), (1, "", None),
        (-1, "1 Hour", None), (math.nan, "1 Hour", None), (1, "0 Hours", None), (3, "100 Hours", 0.03),
    ],
)  # fmt: skip
def test_units_are_read_every_time(usd: float, unit: str, hourly: float | None) -> None:
    assert per_hour(usd, unit) == (None if hourly is None else pytest.approx(hourly))


# money as a limit


def rated(rate: float | None) -> Estimate:
    return Estimate(None, None, azure_usd_per_hour=rate, location="westeurope", reason="" if rate else "no price is known for westeurope")


def test_max_cost_becomes_a_timeout() -> None:
    assert timeout_for_cost(0.05, rated(0.05)) == 3600
    assert timeout_for_cost(0.05, rated(0.05), after_s=59.2) == 3540
    for usd in (0.07, 1.0, 2.345):
        seconds = timeout_for_cost(usd, rated(0.0494))
        assert seconds * 0.0494 / 3600 <= usd + 1e-9 < (seconds + 1) * 0.0494 / 3600 + 1e-9


@pytest.mark.parametrize(
    ("usd", "rate", "after", "rule"),
    [(0, 0.05, 0, "above 0"), (-1, 0.05, 0, "above 0"), (math.nan, 0.05, 0, "above 0"),
     (1, None, 0, "no price is known for westeurope"), (1, None, 0, "%aci cost --refresh -l westeurope"),
     (0.00001, 0.05, 0, "less than a second"), (0.001, 0.05, 600, "at least --max-cost 0.0092")],
)  # fmt: skip
def test_a_limit_that_cannot_hold_is_refused(usd: float, rate: float | None, after: float, rule: str) -> None:
    with pytest.raises(OptionError, match=f"--max-cost.*(\n.*)?{rule}"):
        timeout_for_cost(usd, rated(rate), after_s=after)


# the Retail Prices API, over a socket


def item(meter: str, usd: object, unit: str, sku: str = "Standard", **more: object) -> dict[str, Any]:
    """One item as the API gives it."""
    return {
        "currencyCode": "USD", "tierMinimumUnits": 0.0, "retailPrice": usd, "unitPrice": usd, "armRegionName": "westeurope",
        "location": "EU West", "effectiveStartDate": "2021-06-08T00:00:00Z", "meterId": "0000", "meterName": meter,
        "productId": "DZH318Z0BXPP", "skuId": "DZH318Z0BXPP/0001", "productName": "Container Instances", "skuName": sku,
        "serviceName": "Container Instances", "serviceId": "DZH31", "serviceFamily": "Containers", "unitOfMeasure": unit,
        "type": "Consumption", "isPrimaryMeterRegion": True, "armSkuName": "", **more,
    }  # fmt: skip


FIRST_PAGE = [
    item("Standard vCPU Duration", 9.9, "1 Hour", effectiveStartDate="2019-01-01T00:00:00Z"),
    item("Standard vCPU Duration", 0.05, "1 Hour"),
    item("Standard vCPU Duration", 7.7, "1 Hour", effectiveStartDate="2999-01-01T00:00:00Z"),
    item("Standard vCPU Duration", 8.8, "1 Hour", type="DevTestConsumption"),
    item("Standard vCPU Duration", 6.6, "1 Hour", armRegionName="northeurope"),
    item("V100 vCPU Duration", 3.06, "1 Hour", sku="V100", productName="Container Instances with GPU"),
    item("Confidential containers ACI vCPU Duration", 5.5, "1 Hour", sku="Confidential containers ACI"),
]
SECOND_PAGE = [
    item("Standard Memory Duration", 0.0005, "100 GB Seconds"),
    item("Standard Windows Software Duration", 0.000012, "1 Second"),
    item("Standard Spot vCPU Duration", 0.015, "1 Hour", sku="Standard Spot"),
    item("Standard Spot Memory Duration", 0.0015, "1 GB Hour", sku="Standard Spot"),
    item("Standard Memory Duration", 4.4, "1 Furlong", effectiveStartDate="2025-01-01T00:00:00Z"),
    "not an item",
]

Answer = Callable[[str, str], tuple[int, bytes]]


class PriceServer:
    """A loopback server that answers as recorded; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Answer = self.pages
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked.append(self.path)
                status, body = owner.answer(self.path, owner.url)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/api/retail/prices"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @staticmethod
    def pages(path: str, url: str) -> tuple[int, bytes]:
        asked = parse_qs(urlsplit(path).query)
        if "westeurope" not in asked["$filter"][0]:
            return 200, page([])
        if "$skip" in asked:
            return 200, page(SECOND_PAGE)
        return 200, page(FIRST_PAGE, f"{url}?$filter={asked['$filter'][0]}&$skip=100")


def page(items: list[Any], link: str | None = None, **more: object) -> bytes:
    answer = {"BillingCurrency": "USD", "CustomerEntityId": "Default", "CustomerEntityType": "Retail", "Items": items}
    return json.dumps({**answer, "NextPageLink": link, "Count": len(items), **more}).encode()


@pytest.fixture
def server() -> Iterator[PriceServer]:
    made = PriceServer()
    yield made
    made.close()


def test_refresh_reads_every_page_and_keeps_the_answer(server: PriceServer, tmp_path: Path) -> None:
    home = tmp_path / "home"
    book = PriceBook(home, url=server.url)
    found = book.refresh("West Europe")
    assert found.cpu_usd_per_hour == pytest.approx(0.05)
    assert found.memory_usd_per_gb_hour == pytest.approx(0.018)
    assert found.spot_cpu_usd_per_hour == pytest.approx(0.015)
    assert found.spot_memory_usd_per_gb_hour == pytest.approx(0.0015)
    assert found.windows_usd_per_cpu_hour == pytest.approx(0.0432)
    assert found.as_of == datetime.now(UTC).date()
    assert "2021-06-08" in found.source
    filters = parse_qs(urlsplit(server.asked[0]).query)["$filter"]
    assert filters == ["serviceName eq 'Container Instances' and armRegionName eq 'westeurope' and priceType eq 'Consumption'"]
    assert len(server.asked) == 2
    again = PriceBook(home)
    assert again.price("westeurope") == found
    assert again.locations() == ("eastus", "swedencentral", "westeurope")
    assert again.estimate(RunSpec("x", spot=True), location="westeurope").usd_per_hour == pytest.approx(0.015 + 1.5 * 0.0015)
    assert (home / "prices.json").stat().st_mode & 0o077 == 0


def test_another_kernels_refresh_is_seen(server: PriceServer, tmp_path: Path) -> None:
    here, there = PriceBook(tmp_path), PriceBook(tmp_path, url=server.url)
    assert here.price("westeurope") is None
    there.refresh("westeurope")
    assert here.price("westeurope") is not None


def test_a_dead_proxy_does_not_stand_before_the_loopback(server: PriceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert isinstance(PriceBook(url=server.url).refresh("westeurope"), Price)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda path, url: (500, b"no"), "HTTP 500"),
        (lambda path, url: (200, b"<html>"), "could not be had"),
        (lambda path, url: (200, b"[]"), "not a page"),
        (lambda path, url: (200, page([])), "no container instances in westeurope"),
        (lambda path, url: (200, page(FIRST_PAGE)), "no container instances"),
        (lambda path, url: (200, page(FIRST_PAGE, "http://evil.example/api")), "points to http://evil.example"),
        (lambda path, url: (200, page(FIRST_PAGE, "file:///etc/passwd")), "points to file"),
        (lambda path, url: (200, page(FIRST_PAGE, BillingCurrency="EUR")), "in EUR"),
    ],
)
def test_a_bad_answer_is_one_error_and_changes_nothing(server: PriceServer, tmp_path: Path, answer: Answer, words: str) -> None:
    server.answer = answer
    book = PriceBook(tmp_path, url=server.url)
    with pytest.raises(ServiceError, match=words):
        book.refresh("westeurope")
    assert book.price("westeurope") is None
    assert list(tmp_path.iterdir()) == []


def test_what_is_known_is_said_with_its_date(server: PriceServer, tmp_path: Path) -> None:
    book = PriceBook(tmp_path, url=server.url)
    today = datetime.now(UTC).date()
    assert book.renewed("westeurope").startswith(
        f"westeurope: $0.05 per core and hour, $0.018 per GB and hour, Spot $0.015 and $0.0015; prices of {today} ("
    )
    server.answer = lambda path, url: (503, b"")
    again = book.renewed("westeurope")
    assert again.startswith("prices could not be had from 127.0.0.1: HTTP 503 Service Unavailable; westeurope: $0.05 per core")
    assert f"prices of {today} (" in again
    assert "; eastus: $0.0405 per core and hour, $0.00445 per GB and hour; prices of 2026-08-27 (" in book.renewed("eastus")
    assert book.renewed("northeurope").endswith("; no price is known for northeurope: runs there show no cost")


def test_nobody_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"could not be had from 127\.0\.0\.1"):
        PriceBook(tmp_path, url="http://127.0.0.1:9/", timeout_s=1).refresh("eastus")
    with pytest.raises(OptionError):
        PriceBook(tmp_path).refresh("eastus' or 1 eq 1")


def test_a_home_that_takes_no_files_keeps_the_prices_in_memory(server: PriceServer, tmp_path: Path) -> None:
    blocked = tmp_path / "home"
    blocked.write_text("")
    book = PriceBook(blocked, url=server.url)
    book.refresh("westeurope")
    assert book.price("westeurope") is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"prices": 7}', '{"prices": [7, {}, {"location": "x", "meter": "cpu", "usd": "?"}]}'])
def test_a_damaged_price_file_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "prices.json").write_text(text)
    assert PriceBook(tmp_path).locations() == ("eastus", "swedencentral")
