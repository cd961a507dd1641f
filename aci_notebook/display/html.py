"""HTML in which text can only be text, and terminal output made harmless.

Escape by construction: markup is a tree of `Node`s made by `el`, whose tags and attributes come from two closed lists; every string in
the tree is text and is escaped by `to_html`, the one place where characters become markup. There is no way to put ready-made HTML
in, no `style` or `on…` attribute, and a link goes to http or https or nowhere. The one element with raw content is `style_sheet`,
which takes our own CSS and refuses anything with a `<` in it.

Terminal text has three forms here. `visible` is for a name or a message: no escape sequence survives, every other control
character and every bidirectional override becomes something one can see. `clean_line` is for a line on its way into a stream
output: colours (SGR) stay, for the notebook draws them, carriage returns and backspaces are played out, the rest as in
`visible`. `terminal_nodes` turns such text into spans with classes; 256 and 24-bit colours are reduced to the sixteen
whose contrast the style sheet guarantees.

Standard library only; no clock, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

NO_MATH = "tex2jax_ignore mathjax_ignore"  # classes: JupyterLab would set two prices in one text as a formula

TAGS = frozenset(
    {"a", "b", "br", "button", "caption", "code", "details", "div", "em", "li", "ol", "p", "pre", "progress", "small", "span", "strong"}
    | {"summary", "table", "tbody", "td", "th", "thead", "time", "tr", "ul"}
)
VOID_TAGS = frozenset({"br"})
ATTRIBUTES = frozenset({"class", "colspan", "datetime", "dir", "href", "lang", "max", "open", "role", "scope", "title", "type", "value"})
COMMANDS = frozenset({"notebook:interrupt-kernel"})
_ARIA = re.compile(r"aria-[a-z]+\Z")
_LINK = re.compile(r"https?://[^\s<>\"'`\\]+\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Node:
    """One element. Made by `el`; a `str` among the children is text, never markup."""

    tag: str
    attributes: tuple[tuple[str, str], ...] = ()
    children: tuple[Child, ...] = ()


Child = Node | str


def el(tag: str, attributes: Mapping[str, str | None] | None = None, *children: Child | None) -> Node:
    """An element; None children and None attributes are left out. ValueError for a tag or an attribute that is not on the lists."""
    if tag not in TAGS:
        raise ValueError(f"{tag!r} is not an element that we write")
    given = tuple((name, value) for name, value in (attributes or {}).items() if _may(name, value) and value is not None)
    return Node(tag, given, tuple(child for child in children if child is not None))


def _may(name: str, value: str | None) -> bool:
    if name == "data-commandlinker-command":
        if value not in COMMANDS:
            raise ValueError(f"{value!r} is not a command that a button of ours may carry")
    elif name not in ATTRIBUTES and not _ARIA.match(name):
        raise ValueError(f"{name!r} is not an attribute that we write")
    return name != "href" or (value is not None and _LINK.match(value) is not None)


def style_sheet(css: str) -> Node:
    """A <style> element of our own CSS."""
    if "<" in css:
        raise ValueError("a style sheet has no '<' in it")
    return Node("style", (), (css,))


def minified(css: str) -> str:
    """A style sheet without comments and spare blanks. Strings stay as they are, and so does a blank before a colon: `.a :focus`."""
    pieces = re.split(r'("[^"]*")', re.sub(r"/\*.*?\*/", " ", css, flags=re.DOTALL))
    pieces[::2] = [re.sub(r"\s*([{};,>])\s*|(:)\s+", r"\1\2", re.sub(r"\s+", " ", piece)) for piece in pieces[::2]]
    return "".join(pieces).strip()


def to_html(*children: Child) -> str:
    """The markup of nodes and texts."""
    return "".join(_write(children))


def _write(children: tuple[Child, ...]) -> Iterator[str]:
    for child in children:
        if isinstance(child, str):
            yield escape(visible(child))
            continue
        attributes = "".join(f' {name}="{escape(visible(value))}"' for name, value in child.attributes)
        yield f"<{child.tag}{attributes}>"
        if child.tag == "style":
            yield from (text for text in child.children if isinstance(text, str))
        else:
            yield from _write(child.children)
        if child.tag not in VOID_TAGS:
            yield f"</{child.tag}>"


# --- terminal text ---------------------------------------------------------------------------------------------------------------

_ESCAPES = re.compile(
    r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"  # strings with their end: titles, links, data
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, erase
    r"|\x1b[ -/]*[0-~]"  # two-character sequences, and the opening of a string that never ends (its text is shown)
)
_SGR = re.compile(r"(?:\x1b\[|\x9b)([0-9;:]*)m\Z")
_SGR_PART = re.compile(r"(\x1b\[[0-9;:]*m)")
_UNFINISHED = re.compile(r"(?:\x1b|\x9b)[^@-Z\\^-~\n]{0,64}\Z|\x1b\[[0-?]*[ -/]*\Z|\r\Z")
_PLAIN = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u202a-\u202e\u2066-\u2069\ud800-\udfff]*\Z")
_LONE_SURROGATES = re.compile(r"[\ud800-\udfff]")
_SHOWN: dict[int, str | None] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: "␡",
    **dict.fromkeys(range(0x80, 0xA0)),
    **{code: f"‹U+{code:04X}›" for code in (0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}
_SHOWN_BUT_ESC = {code: text for code, text in _SHOWN.items() if code != 0x1B}


def is_plain(text: str) -> bool:
    """Whether nothing in the text needs cleaning: tabs and line ends apart, no control character, escape or override."""
    return _PLAIN.match(text) is not None


def visible(text: str) -> str:
    """The text without escape sequences, every other control character and bidirectional override made visible."""
    if is_plain(text):
        return text
    text = _ESCAPES.sub("", text).replace("\r\n", "\n")
    return _LONE_SURROGATES.sub("\ufffd", text).translate(_SHOWN)


def shortened(text: str, limit: int) -> str:
    """The text without its middle, where it is too long: names and images differ at their ends."""
    tail = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def clean_line(line: str) -> str:
    """One line as a terminal would leave it: last rewrite after a carriage return, backspaces applied, colours kept, nothing else."""
    if is_plain(line):
        return line
    line = _ESCAPES.sub(_keep_colour, line)
    if "\r" in line:
        line = next((part for part in reversed(line.split("\r")) if part), "")
    if "\b" in line:
        line = _backspaced(line)
    parts = _SGR_PART.split(line)
    return "".join(part if place % 2 else _LONE_SURROGATES.sub("\ufffd", part).translate(_SHOWN) for place, part in enumerate(parts))


def without_unfinished_escape(text: str) -> str:
    """The text up to an escape sequence or carriage return at its very end, which the next piece may complete."""
    found = _UNFINISHED.search(text[-256:])
    return text if found is None else text[: len(text) - len(found.group())]


def _keep_colour(found: re.Match[str]) -> str:
    colour = _SGR.match(found.group())
    return f"\x1b[{colour.group(1)}m" if colour else ""


def _backspaced(line: str) -> str:
    kept: list[str] = []
    for place, part in enumerate(_SGR_PART.split(line)):
        if place % 2:
            kept.append(part)
            continue
        for char in part:
            if char != "\b":
                kept.append(char)
            else:
                last = next((spot for spot in range(len(kept) - 1, -1, -1) if len(kept[spot]) == 1), None)
                if last is not None:
                    del kept[last]
    return "".join(kept)


@dataclass(slots=True)
class Pen:
    """How the next characters are drawn; a colour is 0 to 15 or None."""

    ink: int | None = None
    paper: int | None = None
    bold: bool = False
    faint: bool = False
    italic: bool = False
    underline: bool = False
    struck: bool = False
    inverse: bool = False

    def classes(self) -> str:
        """Text on a coloured ground gets the ink that can be read there, whatever the program chose."""
        ink, paper = (self.paper, self.ink) if self.inverse else (self.ink, self.paper)
        names = [f"aci-paper-{paper}"] if paper is not None else [f"aci-ink-{ink}"] if ink is not None else []
        if self.inverse and paper is None:
            names = ["aci-inverse"]
        flags = (("bold", self.bold), ("faint", self.faint), ("italic", self.italic), ("under", self.underline), ("struck", self.struck))
        return " ".join([*names, *(f"aci-{name}" for name, on in flags if on)])


_ON = {1: "bold", 2: "faint", 3: "italic", 4: "underline", 7: "inverse", 9: "struck"}
_OFF = {22: ("bold", "faint"), 23: ("italic",), 24: ("underline",), 27: ("inverse",), 29: ("struck",), 39: ("ink",), 49: ("paper",)}
_SIXTEEN = (
    (0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229),
    (127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0), (92, 92, 255), (255, 0, 255), (0, 255, 255), (255, 255, 255),
)  # fmt: skip
_CUBE = (0, 95, 135, 175, 215, 255)


def terminal_nodes(text: str, pen: Pen | None = None) -> tuple[Child, ...]:
    """Program output as nodes: colours as classes `aci-ink-N`, `aci-paper-N`, `aci-bold` …, all else as `clean_line` leaves it.

    `pen`: as the text before left it; it is as this text leaves it afterwards.
    """
    pen = pen or Pen()
    nodes: list[Child] = []
    cleaned = "\n".join(clean_line(line.removesuffix("\r")) for line in text.split("\n"))
    for place, part in enumerate(_SGR_PART.split(cleaned)):
        if place % 2:
            _apply(pen, part[2:-1])
        elif part:
            names = pen.classes()
            nodes.append(el("span", {"class": names}, part) if names else part)
    return tuple(nodes)


def _apply(pen: Pen, parameters: str) -> None:
    codes = iter([int(code[:4]) if code else 0 for code in re.split("[;:]", parameters)])
    for code in codes:
        if code == 0:
            for name in Pen.__slots__:
                setattr(pen, name, None if name in {"ink", "paper"} else False)
        elif code in _ON:
            setattr(pen, _ON[code], True)
        elif code in _OFF:
            for name in _OFF[code]:
                setattr(pen, name, None if name in {"ink", "paper"} else False)
        elif code in {38, 48}:
            setattr(pen, "ink" if code == 38 else "paper", _reduced(codes))
        elif 30 <= code <= 37 or 90 <= code <= 97:
            pen.ink = code - 30 if code < 90 else code - 82
        elif 40 <= code <= 47 or 100 <= code <= 107:
            pen.paper = code - 40 if code < 100 else code - 92


def _reduced(codes: Iterator[int]) -> int | None:
    """The nearest of the sixteen colours for the `5;N` or `2;R;G;B` that follows."""
    kind = next(codes, 0)
    if kind == 5:
        number = min(next(codes, 0), 255)
        if number < 16:
            return number
        if number >= 232:
            return _nearest((8 + 10 * (number - 232),) * 3)
        number -= 16
        return _nearest((_CUBE[number // 36], _CUBE[number // 6 % 6], _CUBE[number % 6]))
    if kind == 2:
        return _nearest((next(codes, 0), next(codes, 0), next(codes, 0)))
    return None


def _nearest(rgb: tuple[int, int, int]) -> int:
    return min(range(16), key=lambda place: sum((a - b) ** 2 for a, b in zip(rgb, _SIXTEEN[place], strict=True)))
