"""Chromium draws every header with hostile text in every place: nothing runs, nothing leaks, all of it is readable."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import display_samples as s
import pytest
from test_display_html import HOSTILE

from aci_notebook import events as ev
from aci_notebook.display.render import Estimate, header_html
from aci_notebook.snapshot import PlatformEvent

pytestmark = pytest.mark.browser

READABLE = """() => [...document.querySelectorAll('.aci-run, .aci-run *:not(style, progress)')].map(e => {
  const rgb = t => t.match(/[\\d.]+/g).map(Number);
  let ground = [0, 0, 0, 0];
  for (let at = e; at && !(ground[3] ?? 1); at = at.parentElement) ground = rgb(getComputedStyle(at).backgroundColor);
  let ink = rgb(getComputedStyle(e).color); const alpha = ink[3] ?? 1;
  ink = ink.slice(0, 3).map((v, i) => v * alpha + ground[i] * (1 - alpha));
  const light = c => c.slice(0, 3).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                       .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const pair = [light(ink), light(ground)].sort((a, b) => b - a);
  return [e.className, (pair[0] + 0.05) / (pair[1] + 0.05)];
}).filter(([name, ratio]) => ratio < 4.5)"""


@pytest.fixture(scope="module")
def browser(one_browser: Any) -> Any:
    return one_browser


def hostile_headers() -> list[str]:
    found = []
    for text in HOSTILE:
        base = replace(s.new(), name=text, location=text, log_path=text, spec=replace(s.new().spec, image=text))
        event = PlatformEvent(text, text, text, 1, s.at(3), s.at(3))
        waits = s.after(s.pulling(base), ev.PlatformNoted(s.at(3), event), ev.ProgressReceived(s.at(3), "50% " + text))
        over = s.ended(base, 59, "failed", reason=text, hint=text)
        found += [header_html(waits, s.at(9), True, estimate=Estimate(1, 1)), header_html(over, s.at(60), False, log_lines=[text])]
    return found


@pytest.mark.parametrize(("light", "theme"), [("true", "light"), ("false", "dark")])
def test_every_header_is_readable(browser: Any, light: str, theme: str) -> None:
    from display_picture import page

    tab = browser.new_page()
    tab.set_content(page(light, 860))
    assert tab.evaluate(READABLE) == []
    assert tab.locator('[role="status"]').count() == tab.locator(".aci-top").count() > 10
    assert tab.get_by_role("button", name="Stop").count() == 6
    tab.close()


def test_hostile_text_neither_runs_nor_leaks(browser: Any) -> None:
    tab = browser.new_page()
    dialogs: list[str] = []
    tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    tab.set_content("".join(hostile_headers()) + "<p id=own>own</p>")
    assert tab.locator("script, img, a, [onerror], [onmouseover], [style]").count() == 0
    assert tab.locator("body > div.aci-run").count() == 2 * len(HOSTILE)
    assert tab.locator("body > *").count() == 2 * len(HOSTILE) + 1
    assert "<script>alert(1)</script>" in tab.inner_text("body")
    assert tab.evaluate("getComputedStyle(document.getElementById('own')).borderLeftWidth") == "0px"
    assert dialogs == []
    tab.close()


def test_a_narrow_page_is_not_widened(browser: Any) -> None:
    from display_picture import page

    tab = browser.new_page(viewport={"width": 360, "height": 800})
    tab.set_content(page("true", 320))
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    tab.close()
