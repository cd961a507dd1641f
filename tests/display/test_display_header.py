"""What a header says, as text and as HTML, at each point of a run's life."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import get_args

import display_samples as s
import pytest
from test_display_html import HOSTILE, Parsed, controls

from aci_notebook import events as ev
from aci_notebook.display import header as h
from aci_notebook.display import numbers as n
from aci_notebook.display.html import NO_MATH
from aci_notebook.display.render import Estimate, css, header_html, header_text, held_html, mimebundle, status_line
from aci_notebook.record import Home, RunRecord, State
from aci_notebook.snapshot import PlatformEvent

SPENT = Estimate(0.0007, 0.058)


@pytest.mark.parametrize(("target", "said"), [("azure", "cost not known"), ("local", "no cost here")])
def test_a_cost_that_nobody_knows_is_said_so(target: str, said: str) -> None:
    text = header_text(s.running(s.new(target=target)), s.at(59), estimate=Estimate(None, None))
    assert said in text
    assert "$" not in text


def finished() -> RunRecord:
    return s.after(
        s.running(s.new()),
        ev.TextReceived(s.at(50), b"a\n" * 1204),
        ev.ObjectArrived(s.at(58), "var:score", "pickle", "float", b"x" * 120),
        ev.ObjectArrived(s.at(58), "value", "bundle", "", b"x" * 120),
        ev.ObjectSkipped(s.at(58), "var:model", "5.0 MB is more than may come home"),
        ev.Ended(s.at(59), ev.Outcome("succeeded", 0, peak_memory_bytes=int(0.3 * 2**30), cpu_s=38.2)),
        ev.DeleteRequested(s.at(59)),
        ev.DeleteVerified(s.at(63)),
    )


def lines(record: RunRecord, seconds: float, **given: object) -> list[str]:
    return header_text(record, s.at(seconds), **given).split("\n")  # type: ignore[arg-type]


def test_a_running_header() -> None:
    assert lines(s.running(s.new()), 59, estimate=SPENT) == [
        "● running  fit-model  queued 2 s → pulling 12 s → starting 4 s → running 00:41",
        "  python:3.12-slim · 2 CPU · 4 GB · westeurope · ≈ $0.0007 at $0.058/h · limit 24 h",
    ]


def test_a_finished_header() -> None:
    assert lines(finished(), 900, live=False, estimate=SPENT) == [
        "✓ done  fit-model  queued 2 s → pulling 12 s → starting 4 s → running 41 s → done",
        "  59 s in all · exit code 0 · ≈ $0.0007 · peak 0.3 of 4 GB: --memory 1 would do · 1,204 lines · group deleted",
        "  python:3.12-slim · 2 CPU · 4 GB · westeurope · log /home/ada/.local/share/aci-notebook/logs/k7f3a2.log",
        "  - came home: score float 120 B",
        "  ! model stayed in the container: 5.0 MB is more than may come home",
    ]


def test_a_local_run_says_so_and_costs_nothing() -> None:
    text = header_text(s.running(s.new(target="local")), s.at(59), estimate=SPENT)
    assert "LOCAL · process · no cost here, on Azure ≈ $0.0007 at $0.058/h" in text


def test_waiting_shows_the_last_platform_event_and_trouble() -> None:
    event = PlatformEvent("Failed", "not found", "Warning", 3, s.at(4), s.at(9))
    record = s.after(s.pulling(s.new()), ev.PlatformNoted(s.at(9), event), ev.TroubleMet(s.at(9), "get", "429", 2.0))
    assert lines(record, 10)[2:] == ["  ! Failed: not found (3 times)", "  ! get: 429; trying again"]
    assert lines(s.pulling(s.new()), 10)[2:] == ['  … Pulling: pulling image "python:3.12-slim"']
    assert lines(s.running(s.new()), 30)[2:] == []


def test_installing_shows_the_installers_line() -> None:
    record = s.after(
        s.pulling(s.new()), ev.HouseSaid(s.at(9), "phase", {"name": "install"}), ev.HouseSaid(s.at(9), "install", {"line": "Collecting x"})
    )
    assert lines(record, 12)[0].endswith("installing 3 s")
    assert lines(record, 12)[2] == "  … Collecting x"


@pytest.mark.parametrize(("used_s", "warned"), [(79, False), (80, True), (200, True)])
def test_the_time_limit_warns_at_four_fifths(used_s: float, warned: bool) -> None:
    text = header_text(s.running(s.new(timeout_s=100.0)), s.at(18 + used_s))
    assert "limit 1 min 40 s" in text
    assert ("left of --timeout 1 min 40 s" in text) is warned


def test_a_limit_made_of_money_says_so() -> None:
    assert "limit 2 h (--max-cost 0.25)" in header_text(s.running(s.new(timeout_s=7200.0, max_cost_usd=0.25)), s.at(30))
    assert "--max-cost" not in header_text(s.running(s.new()), s.at(30))


def test_money_that_cannot_be_spent_is_no_limit() -> None:
    record = s.running(s.new(target="local", max_cost_usd=0.25))
    free = header_text(record, s.at(30), estimate=Estimate(None, None))
    assert "limit 24 h (--max-cost 0.25 sets none: no cost here, and no price is known)" in free
    assert "limit 24 h (--max-cost 0.25)" in header_text(record, s.at(30), estimate=SPENT)


def test_a_variable_that_stayed_away_is_named_once() -> None:
    record = s.after(
        s.running(s.new()),
        ev.ObjectSkipped(s.at(58), "var:model", "too large"),
        ev.Ended(s.at(59), ev.Outcome("output_missing", 0, reason="model: too large", hint="the program itself succeeded")),
    )
    assert header_text(record, s.at(60)).count("too large") == 1


def test_a_failure_says_reason_and_remedy_in_one_line() -> None:
    record = s.ended(s.new(), 59, "oom", exit_code=137, reason="the container ran out of memory", hint="give it more: --memory")
    assert lines(record, 60)[0].startswith("✗ out of memory  fit-model")
    assert lines(record, 60)[-1] == "  ! the container ran out of memory; give it more: --memory"
    assert [line for line in lines(s.ended(s.new(), 59, "failed", exit_code=1, reason="exit code 1"), 60) if "exit code" in line] == [
        "  59 s in all · exit code 1 · group being deleted"
    ]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (ev.GroupKept(s.at(60)), ["group kept", "%aci rm fit-model deletes it"]),
        (ev.DeleteUnverified(s.at(60), "no answer"), ["group unverified", "%aci gc"]),
        (ev.DeleteVerified(s.at(60)), ["group deleted"]),
    ],
)
def test_what_became_of_the_group_is_said_with_the_command(event: ev.Event, said: list[str]) -> None:
    text = header_text(s.after(s.ended(s.new(), 59), event), s.at(61))
    assert all(words in text for words in said)
    assert text.count("%aci gc") <= 1


def test_gaps_restarts_attempts_and_warnings_are_seen() -> None:
    record = s.after(
        s.running(s.new(retries=2)),
        ev.GapFound(s.at(30), 1200),
        ev.RestartSeen(s.at(31), 1),
        ev.HouseSaid(s.at(32), "retry", {}),
        ev.Warned(s.at(33), "clock differs"),
    )
    assert lines(record, 40)[2:] == [
        "  - attempt 2 of 3",
        "  ! restarted by the platform 1 time",
        "  ! 1,200 lines of output missing: the service no longer held them",
        "  ! clock differs",
    ]
    assert "an unknown part of the output missing" in header_text(s.after(s.running(s.new()), ev.GapFound(s.at(30), None)), s.at(31))


def test_a_run_without_runner_says_what_does_not_hold() -> None:
    text = header_text(s.running(s.new(code=None)), s.at(30))
    assert "not masked" in text
    assert "only while this kernel lives" in text


def test_runs_that_nobody_watches_say_how_to_reach_them() -> None:
    run = s.running(s.new())
    assert "in the background; %aci stop fit-model ends it" in header_text(run, s.at(30), live=False, background=True)
    assert "◇ detached" in header_text(s.after(run, ev.Detached(s.at(29))), s.at(30), live=False)
    assert "%aci attach fit-model" in header_text(s.after(run, ev.Detached(s.at(29))), s.at(30), live=False)
    assert "the last state seen here" in header_text(run, s.at(30), live=False)


def test_output_whose_end_was_not_seen_says_so() -> None:
    assert "last lines may be missing" in header_text(s.ended(s.new(), 59, "failed", exit_code=1, complete=False), s.at(60))


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        ("45%|████ | 450/1000", 45.0),
        ("12/48 [===>...] loss 0.1", 25.0),
        ("99.5 % done", 99.5),
        ("old 10%\rnew 20%", 20.0),
        ("2024/05/17 12:00", None),
        ("140%", None),
        ("5/0", None),
        ("working", None),
        ("\x1b[32m50%\x1b[0m", 50.0),
    ],
)
def test_a_percentage_is_read_where_there_is_one(text: str, percent: float | None) -> None:
    assert h.percentage(text) == percent


def test_a_bar_is_drawn_beside_its_text() -> None:
    record = s.after(s.running(s.new()), ev.ProgressReceived(s.at(30), "epoch 3:  45%|████▌     | 450/1000 [00:12<00:15]"))
    parsed = Parsed(header_html(record, s.at(31), True))
    assert ("value", "45") in parsed.attributes
    assert "epoch 3: 45% 450/1000 [00:12<00:15]" in parsed.text
    assert "45%|████▌ | 450/1000" in header_text(record, s.at(31))


# --- every state -----------------------------------------------------------------------------------------------------------------


def test_every_state_and_outcome_has_its_word() -> None:
    assert set(h.STATES) == set(get_args(State)) - {"ended"}
    assert set(h.OUTCOMES) == set(get_args(ev.OutcomeKind))


def every_record() -> list[RunRecord]:
    run = s.running(s.new())
    ends = [s.ended(s.new(), 59, kind, exit_code=1, reason="why") for kind in get_args(ev.OutcomeKind)]
    return [s.new(), s.created(s.new()), s.pulling(s.new()), run, s.after(run, ev.CancelRequested(s.at(30))), finished(), *ends]


@pytest.mark.parametrize("live", [True, False])
def test_the_html_says_what_the_text_says_without_its_styles(live: bool) -> None:
    for record in every_record():
        bundle = mimebundle(record, s.at(60), live, estimate=SPENT)
        shown = Parsed(re.sub(r"<style>.*?</style>", "", bundle["text/html"]).replace("</div>", "</div>\n"))
        words = set(re.findall(r"[\w./$:%-]+", bundle["text/plain"]))
        assert not words - {"-"} - set(re.findall(r"[\w./$:%-]+", shown.text))
        assert "style" not in {name for name, _ in shown.attributes}


def test_the_stop_button_exists_only_while_the_cell_waits() -> None:
    run = s.running(s.new())
    assert "data-commandlinker-command" in header_html(run, s.at(30), True)
    assert "interrupt the kernel" in header_html(run, s.at(30), True)
    for record, live in [(run, False), (finished(), True), (finished(), False), (s.after(run, ev.CancelRequested(s.at(30))), True)]:
        assert "<button" not in header_html(record, s.at(31), live)


def status_node(markup: str) -> str:
    found = re.search(r'<span class="aci-status" role="status" aria-live="polite" aria-atomic="true">(.*?</b>)</span>', markup)
    assert found is not None
    return Parsed(found.group(1)).text


def test_a_screen_reader_hears_the_state_not_the_clock() -> None:
    run = s.after(s.running(s.new()), ev.ProgressReceived(s.at(30), "45%"))
    assert status_node(header_html(run, s.at(31), True)) == status_node(header_html(run, s.at(95), True)) == "● running fit-model"
    assert status_node(header_html(finished(), s.at(95), False)) == "✓ done fit-model"
    assert header_html(run, s.at(31), True).count("role=") == 1


def test_many_notes_are_folded() -> None:
    record = s.after(s.running(s.new()), *(ev.Warned(s.at(30), f"warning {place}") for place in range(20)))
    parsed = Parsed(header_html(record, s.at(31), True))
    assert "details" in parsed.tags
    assert "14 more" in parsed.text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_in_every_place_is_text(text: str) -> None:
    spec = replace(s.new().spec, image=text, cpu=1.0)
    event = PlatformEvent(text, text, text, 1, s.at(3), s.at(3))
    base = replace(s.new(), name=text, location=text, runtime=text, log_path=text, spec=spec)
    waits = s.after(
        s.pulling(base),
        ev.PlatformNoted(s.at(3), event),
        ev.PhaseEntered(s.at(3), "starting", s.at(3), text),
        ev.ProgressReceived(s.at(3), text),
        ev.TroubleMet(s.at(3), text, text, 1.0),
        ev.Warned(s.at(3), text),
    )
    over = replace(s.ended(base, 59, "failed", reason=text, hint=text), homes=(Home("var:" + text, text, text, 3), Home(text, reason=text)))
    for record, live in ((waits, True), (over, False)):
        markup = header_html(record, s.at(60), live, log_lines=[text])
        head, _, body = markup.partition("</style>")
        parsed = Parsed(body)
        assert head.count("<") == 2
        assert set(parsed.tags) <= {"div", "span", "b", "code", "pre", "progress", "button", "details", "summary"}
        assert {name for name, _ in parsed.attributes} <= {
            "class", "role", "aria-live", "aria-atomic", "aria-label", "type", "data-commandlinker-command", "max", "value",
        }  # fmt: skip
        assert not controls(parsed.text)
        assert not controls(header_text(record, s.at(60)))
        assert len(header_text(record, s.at(60)).split("\n")) < 14
        assert "\n" not in status_line(record, s.at(60))


def test_a_note_is_cut_where_it_would_fill_the_page() -> None:
    record = s.after(s.running(s.new()), ev.Warned(s.at(30), "x" * 5_000))
    assert max(map(len, lines(record, 31))) < 320


@pytest.mark.parametrize("hint", ["check the name of --image", "y" * 400])
def test_a_long_reason_does_not_take_its_remedy_with_it(hint: str) -> None:
    record = s.ended(s.new(), 9, "pull_failed", reason="The image is not accessible. " * 30, hint=hint)
    note = lines(record, 10)[-1]
    assert note.endswith(f"; {hint}" if len(hint) < 300 else "y…")
    assert len(note) < 320


# --- numbers ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text", "running"),
    [
        (0, "0 s", "00:00"),
        (0.42, "0.4 s", "00:00"),
        (9.96, "10 s", "00:09"),
        (41.4, "41 s", "00:41"),
        (60, "1 min", "01:00"),
        (200, "3 min 20 s", "03:20"),
        (3723, "1 h 02 min", "1:02:03"),
        (86400, "24 h", "1 d 00:00:00"),
        (-3, "0 s", "00:00"),
    ],
)
def test_times(seconds: float, text: str, running: str) -> None:
    assert (n.duration(seconds), n.clock(seconds)) == (text, running)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (120, "120 B"), (3_400, "3.4 kB"), (999_900, "1.0 MB"), (123_456_789, "123 MB"), (2 * 10**12, "2.0 TB")]
)
def test_sizes(count: int, text: str) -> None:
    assert n.size(count) == text


@pytest.mark.parametrize(
    ("usd", "text"), [(0, "$0"), (0.00002, "< $0.0001"), (0.0007, "$0.0007"), (0.058, "$0.058"), (1.239, "$1.24"), (1240, "$1,240")]
)
def test_money(usd: float, text: str) -> None:
    assert n.money(usd) == text


# --- the style sheet -------------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(c * 2 for c in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, two: str) -> float:
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def colours(sheet: str, dark: bool) -> dict[str, str]:
    """Our private colours in one theme; of a variable with a fallback, the last fallback."""
    found: dict[str, str] = {}
    for selector, body in re.findall(r"([^{}]+)\{([^{}]*)\}", sheet):
        if selector.strip() == ".aci-run" or (dark and "vscode-dark" in selector):
            for name, value in re.findall(r"(--aci-[a-z0-9-]+):([^;]+)", body):
                literal = re.findall(r"#[0-9a-fA-F]{3,6}", value)
                if literal:
                    found[name] = literal[-1]
    return found


@pytest.mark.parametrize(("dark", "grounds"), [(False, ["#ffffff", "#f5f5f5"]), (True, ["#111111", "#1e1e1e", "#212121"])])
def test_contrast_is_enough_in_both_themes(dark: bool, grounds: list[str]) -> None:
    ours = colours(css(), dark)
    assert len(ours) >= 16
    for name, colour in ours.items():
        if name != "--aci-line":
            assert all(contrast(colour, ground) >= 4.5 for ground in grounds), (name, colour)


def test_contrast_is_enough_on_coloured_ground() -> None:
    pairs = re.findall(r"\.aci-paper-\d+\{background:(#\w+);color:(#\w+);\}", css())
    assert len(pairs) == 16
    for ground, ink in pairs:
        assert contrast(ground, ink) >= 4.5, (ground, ink)


def test_the_sheet_touches_nothing_but_ours() -> None:
    for selectors, _ in re.findall(r"([^{}]+)\{([^{}]*)\}", css()):
        assert all(".aci-run" in selector for selector in selectors.split(","))
    assert "@import" not in css()
    assert "url(" not in css()
    assert len(css(False)) < 3_600


def test_every_class_in_the_markup_is_ours() -> None:
    markup = header_html(finished(), s.at(60), False) + held_html(["\x1b[31mx"], 3, "/l") + header_html(s.running(s.new()), s.at(30), True)
    for names in re.findall(r'class="([^"]*)"', markup):
        assert all(name.startswith("aci-") or name in NO_MATH.split() for name in names.split())
