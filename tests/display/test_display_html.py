"""Text stays text: escaping by construction, terminal text made harmless."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aci_notebook.display.html import clean_line, el, is_plain, minified, style_sheet, terminal_nodes, to_html, visible

HOSTILE = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "</pre></div><b>",
    '" onmouseover="alert(1)',
    "javascript:alert(1)",
    "\x1b]8;;javascript:alert(1)\x07click\x1b]8;;\x07",
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[1;1Hhome",
    "safe\x1b[1A\x1b[2Kgone",
    "a\x00b",
    "user\u202etxt.exe",
    "\u2066isolate",
    "\x9b31mc1",
    "\x9d0;c1 title\x9c",
    "\x1bP+q\x1b\\dcs",
    "\x1b]unterminated <b>",
    "\ud800lone",
    "&amp;&lt;",
]


def test_a_smaller_style_sheet_means_the_same() -> None:
    whole = """/* "why" */
    .form :focus-visible,  .form  :is(input, select):focus { outline : 2px  solid red ; }
    .form > .part::before { content: "one, two:  three; four"; /* x */ }"""
    assert minified(whole) == (
        '.form :focus-visible,.form :is(input,select):focus{outline :2px solid red;}.form>.part::before{content:"one, two:  three; four";}'
    )


class Parsed(HTMLParser):
    """Tags, attributes and text, as a browser would read them."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def controls(text: str) -> str:
    return "".join(c for c in text if (ord(c) < 32 and c not in "\t\n") or 0x7F <= ord(c) < 0xA0 or 0x202A <= ord(c) <= 0x202E)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_text(text: str) -> None:
    parsed = Parsed(to_html(el("div", {"title": text}, text, el("pre", {}, *terminal_nodes(text)))))
    assert set(parsed.tags) <= {"div", "pre", "span"}
    assert {name for name, _ in parsed.attributes} <= {"title", "class"}
    assert not controls(parsed.text)
    parsed.text.encode("utf-8")


@given(st.text())
def test_any_text_comes_back_as_text(text: str) -> None:
    parsed = Parsed(to_html(el("div", {}, text)))
    assert parsed.tags == ["div"]
    assert parsed.text == visible(text)
    assert not controls(parsed.text)


@given(
    st.lists(st.sampled_from(["\x1b", "[", "]", "8;;", "31", "m", "\x07", "\x9b", "\r", "\b", "a", "é", "\u202e", "K", ";"])).map("".join)
)
def test_any_terminal_text_ends_without_control_characters(text: str) -> None:
    assert not controls(visible(text))
    left = clean_line(text)
    assert not controls(left.replace("\x1b", ""))
    assert not controls("".join(child if isinstance(child, str) else str(child.children[0]) for child in terminal_nodes(text)))
    assert clean_line(left) == left


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", " JaVaScRiPt:x", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "//x", "\x01https://x"]
)
def test_a_link_goes_to_the_web_or_nowhere(link: str) -> None:
    assert to_html(el("a", {"href": link}, "text")) == "<a>text</a>"


def test_a_web_link_is_kept() -> None:
    assert to_html(el("a", {"href": "https://a.example/x?y=1&z=2"}, "t")) == '<a href="https://a.example/x?y=1&amp;z=2">t</a>'


@pytest.mark.parametrize(
    ("tag", "attributes"), [("script", {}), ("img", {}), ("div", {"onclick": "x"}), ("div", {"style": "color:red"}), ("div", {"id": "x"})]
)
def test_what_is_not_on_the_lists_cannot_be_written(tag: str, attributes: dict[str, str | None]) -> None:
    with pytest.raises(ValueError, match="that we write"):
        el(tag, attributes)


def test_a_button_carries_only_the_interrupt() -> None:
    with pytest.raises(ValueError, match="command"):
        el("button", {"data-commandlinker-command": "filebrowser:delete"})


def test_a_style_sheet_cannot_end_early() -> None:
    with pytest.raises(ValueError, match="no '<'"):
        style_sheet("a{} </style><script>")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("10%\r20%\r30%", "30%"),
        ("done\r", "done"),
        ("abc\b\bxy", "axy"),
        ("\b\bx", "x"),
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        ("\x9b32mgreen", "\x1b[32mgreen"),
        ("a\x1b[2Kb\x1b[10;10Hc", "abc"),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "link"),
        ("bell\x07", "bell␇"),
        ("x\u202ey", "x‹U+202E›y"),
        ("\x1b[31m\b\bok", "\x1b[31mok"),
        ("tab\tstays", "tab\tstays"),
    ],
)
def test_a_line_is_left_as_a_terminal_would_leave_it(raw: str, shown: str) -> None:
    assert clean_line(raw) == shown


def test_ordinary_text_needs_no_cleaning() -> None:
    assert is_plain("héllo\tworld\n日本 👩‍💻")
    assert visible("👩‍💻 שלום") == "👩‍💻 שלום"


@pytest.mark.parametrize(
    ("raw", "markup"),
    [
        ("\x1b[1;31mx\x1b[0my", '<span class="aci-ink-1 aci-bold">x</span>y'),
        ("\x1b[92mx\x1b[39my", '<span class="aci-ink-10">x</span>y'),
        ("\x1b[38;5;196mx", '<span class="aci-ink-9">x</span>'),
        ("\x1b[38;2;0;0;238mx", '<span class="aci-ink-4">x</span>'),
        ("\x1b[38:5:2mx", '<span class="aci-ink-2">x</span>'),
        ("\x1b[37;41mx", '<span class="aci-paper-1">x</span>'),
        ("\x1b[7mx\x1b[27my", '<span class="aci-inverse">x</span>y'),
        ("\x1b[31;7mx", '<span class="aci-paper-1">x</span>'),
        ("\x1b[3;4;9mx\x1b[23;24;29my", '<span class="aci-italic aci-under aci-struck">x</span>y'),
        ("\x1b[mx", "x"),
        ("\x1b[38mx\x1b[48;5mx\x1b[99999999mx", None),
    ],
)
def test_colours_become_classes(raw: str, markup: str | None) -> None:
    drawn = to_html(*terminal_nodes(raw))
    assert "style=" not in drawn
    if markup is not None:
        assert drawn == markup
