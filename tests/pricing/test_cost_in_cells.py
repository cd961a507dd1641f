"""Money through the real path: cells in a shell, on a local ACI; prices asked over a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from test_pricing import PriceServer

from aci_notebook import pricing, session
from aci_notebook.errors import OptionError, RunTimeout
from aci_notebook.magics import AciMagics
from aci_notebook.payload import LINGER_S
from aci_notebook.settings import Place, Settings

LOOP = "import time\nprint('up', flush=True)\nwhile True:\n    time.sleep(0.1)"


@pytest.fixture(scope="module")
def home(new_home: Callable[[], Path]) -> Path:
    return new_home()


@pytest.fixture
def magics(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AciMagics:
    monkeypatch.setenv("ACI_NOTEBOOK_HOME", str(home))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return AciMagics(InteractiveShell())


@pytest.fixture
def prices(monkeypatch: pytest.MonkeyPatch) -> Iterator[PriceServer]:
    """The price list, on this machine."""
    made = PriceServer()
    monkeypatch.setattr(pricing, "RETAIL_URL", made.url)
    yield made
    made.close()


def test_max_cost_ends_a_run(magics: AciMagics) -> None:
    hourly = 0.0405 + 1.5 * 0.00445
    usd = (LINGER_S + 1.5) * hourly / 3600
    with pytest.raises(RunTimeout) as ended:
        magics.aci(f"-q -l eastus --max-cost {usd:.9f}", LOOP)
    record = session.house().store.find("last")
    assert record.spec.timeout_s == 1
    assert record.outcome is not None
    assert (record.outcome.kind, record.group) == ("timeout", "gone")
    assert "--max-cost" in str(ended.value).splitlines()[-1]
    billed = pricing.estimate(record, record.updated_at, target="azure")
    assert billed.azure_usd is not None
    assert 0 < billed.azure_usd < usd


def test_a_region_without_a_price_gets_one_from_azure(magics: AciMagics, prices: PriceServer, capsys: pytest.CaptureFixture[str]) -> None:
    magics.aci("--max-cost 1 --dry-run", "1")
    said = capsys.readouterr().out
    assert "estimate: none, no price is known for westeurope (%aci cost --refresh -l westeurope asks Azure for it)" in said
    assert f"in eastus the same costs ${0.0405 + 1.5 * 0.00445:.4f} an hour (prices of 2026-08-27)" in said
    assert "the local ACI costs nothing, so --max-cost 1 sets no limit; on Azure it is refused without a price; ends after 24 h" in said
    table = magics.aci("cost --refresh")
    assert "westeurope: $0.05 per core and hour" in capsys.readouterr().out
    assert {"day", "runs", "cost_usd"} <= set(table.columns)
    magics.aci("--max-cost 1 --dry-run", "1")
    said = capsys.readouterr().out
    assert f"estimate: ${0.05 + 1.5 * 0.018:.4f} an hour" in said
    assert "(prices of 20" in said


def test_max_cost_without_a_price_refuses_no_run_that_costs_nothing(magics: AciMagics, capsys: pytest.CaptureFixture[str]) -> None:
    magics.aci("-l polandcentral --max-cost 0.001", "print('ran')")
    assert "ran" in capsys.readouterr().out
    record = session.house().store.find("last")
    assert (record.spec.timeout_s, record.spec.max_cost_usd) == (86_400, 0.001)  # what is sent to Azure later has its limit


def test_max_cost_without_a_price_is_refused_in_azure(magics: AciMagics) -> None:
    azure = Place("azure", subscription="3f0f3b7e-8c39-4f2e-9b44-1d7a2b6c0e11", resource_group="rg", location="polandcentral")
    there = session.Session(azure, Settings(), session.house())
    with pytest.raises(OptionError, match=r"no price is known for polandcentral.*\n.*%aci cost --refresh -l polandcentral.*--timeout"):
        there.spec({"max_cost_usd": 1}, "1")


def test_without_azure_the_dated_table_goes_on(magics: AciMagics, prices: PriceServer, capsys: pytest.CaptureFixture[str]) -> None:
    prices.answer = lambda path, url: (503, b"")
    table = magics.aci("cost --refresh -l eastus")
    said = capsys.readouterr().out
    assert "prices could not be had from 127.0.0.1: HTTP 503" in said
    assert "eastus: $0.0405 per core and hour, $0.00445 per GB and hour; prices of 2026-08-27" in said
    assert "cost_usd" in table.columns
    with pytest.raises(OptionError, match="--refresh -l eastus"):
        magics.aci("cost -l eastus")
