"""The text after `%aci` and `%%aci`: words, expansion, options. Pure: the names to expand come from the caller.

Words. One tokenizer for all: blanks separate, quotes group, and so do the braces of an `{expr}`, whose quotes are Python's; a backslash
is an ordinary character (Windows paths), an unclosed quote is an error with its column. Expansion is ours (`notebook-facts` §2.4:
IPython's is all or nothing, silent): `{expr}` and `$name` in each value, not in single quotes, not in `--secret`, `--input`, `--output`
and `--as`, and never in the cell; a name that is missing raises and names the option.

Options come from the field table. `allow_abbrev` is off: a prefix that works today breaks when a longer option arrives.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from .errors import OptionError, did_you_mean
from .fields import FIELDS, Field

UNEXPANDED = {"secrets", "inputs", "outputs", "as_name"}
_DOLLAR = re.compile(r"\$(\$|[A-Za-z_]\w*)")


@dataclass(frozen=True, slots=True)
class Word:
    """One word of the line: its text, and the same with single-quoted parts marked off from expansion."""

    text: str
    parts: tuple[tuple[str, bool], ...]
    column: int

    def expanded(self, evaluate: Callable[[str], Any], option: str) -> str:
        return "".join(expand(text, evaluate, option) if open_ else text for text, open_ in self.parts)


def split(line: str) -> list[Word]:
    """The words of a line. Raises OptionError for a quote that is not closed."""
    words: list[Word] = []
    parts: list[tuple[str, bool]] = []
    piece, start, quote, opened, place = "", -1, "", 0, 0
    while place <= len(line):
        char = line[place : place + 1]
        braces = _braces(line, place) if quote != "'" else 0
        if braces or (char and not quote and not char.isspace() and char not in "\"'"):
            start = place if start < 0 else start
            piece += line[place : place + max(braces, 1)]
        elif quote and char and char != quote:
            piece += char
        elif quote and char:
            parts.append((piece, quote == '"'))
            piece, quote = "", ""
        elif char and not char.isspace():
            start = place if start < 0 else start
            parts.append((piece, True))
            piece, quote, opened = "", char, place
        else:
            if start >= 0:
                parts.append((piece, True))
                kept = tuple(part for part in parts if part[0])
                words.append(Word("".join(text for text, _ in kept), kept, start))
            parts, piece, start = [], "", -1
        place += max(braces, 1)
    if quote:
        raise OptionError("the line", line[opened:], f"has a quote that is not closed, at column {opened + 1}", f"close it with {quote}")
    return words


def _braces(text: str, place: int) -> int:
    """The length of the `{expression}`, or of the doubled brace, that begins at this place; 0 for neither."""
    if text[place : place + 2] in {"{{", "}}"}:
        return 2
    if text[place : place + 1] != "{":
        return 0
    depth, quote = 0, ""
    for end in range(place, len(text)):
        char = text[end]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "{}":
            depth += 1 if char == "{" else -1
            if not depth:
                return end + 1 - place
    return 0


def expand(text: str, evaluate: Callable[[str], Any], option: str) -> str:
    """The text with `{expr}` and `$name` replaced; `{{`, `}}` and `$$` are the characters themselves."""
    done, place = "", 0
    while place < len(text):
        length = _braces(text, place)
        piece = text[place : place + length]
        if piece in {"{{", "}}"}:
            done += piece[0]
        elif piece:
            done += _value(text, piece, piece[1:-1], evaluate, option)
        elif found := _DOLLAR.match(text, place):
            piece = found.group(0)
            length = len(piece)
            done += "$" if piece == "$$" else _value(text, piece, piece[1:], evaluate, option)
        else:
            done += text[place]
        place += max(length, 1)
    return done


def _value(text: str, piece: str, expression: str, evaluate: Callable[[str], Any], option: str) -> str:
    """What a piece of this text stands for."""
    literal = "write {{ and }} for the braces themselves" if piece[0] == "{" else "write $$ for the character itself"
    try:
        return str(evaluate(expression.strip()))
    except NameError as error:
        raise OptionError(option, text, f"{error}", f"define it first, or {literal}") from None
    except SyntaxError as error:
        raise OptionError(option, text, f"{piece} is no expression of Python: {error.msg}", literal) from None
    except Exception as error:  # whatever the person's own expression raises
        raise OptionError(option, text, f"{piece} raises {type(error).__name__}: {error}") from error


class _Parser(argparse.ArgumentParser):
    known: Sequence[str] = ()
    page: str = "%%aci --help"
    fields: Sequence[Field] = ()

    def error(self, message: str) -> NoReturn:
        found = re.match(r"argument ([^:]+): (.*)", message)
        if found:
            option, rule = found.group(1).split("/")[-1], found.group(2)
            if given := re.match(r"ignored explicit argument '(.*)'$", rule):
                raise OptionError(option, given.group(1), "takes no value", f"write {option} alone, or leave it out")
            metavar = next((item.metavar for item in self.fields if option in item.flags), "")
            raise OptionError(option, None, "needs a value" if "expected one" in rule else rule, f"{option} {metavar}".strip())
        unknown = re.match(r"unrecognized arguments: (.*)", message)
        word = unknown.group(1).split()[0] if unknown else message
        raise OptionError(
            word, None, "is not an option" if unknown else "", did_you_mean(word.split("=")[0], self.known) or f"{self.page} lists them"
        )


def parser_of(table: Iterable[Field], page: str = "%%aci --help") -> argparse.ArgumentParser:
    """An argparse parser of the table; values stay text."""
    parser = _Parser(add_help=False, allow_abbrev=False, argument_default=None, exit_on_error=True)
    flags: list[str] = ["-h", "--help"]
    for item in table:
        flags.extend(item.flags)
        if item.switch:
            parser.add_argument(*item.flags, dest=item.name, action="store_true", default=None)
        else:
            parser.add_argument(*item.flags, dest=item.name, action="append")
    parser.add_argument("-h", "--help", dest="help", action="store_true", default=None)
    parser.known = flags
    parser.page = page
    parser.fields = tuple(table)
    return parser


@dataclass(frozen=True, slots=True)
class Parsed:
    """Options of a line: field name → text (or list of texts for repeated ones); words that are no option; a command after --."""

    values: Mapping[str, Any]
    rest: tuple[str, ...]
    command: tuple[str, ...]
    wants_help: bool


def parse(
    line: str, evaluate: Callable[[str], Any], table: Sequence[Field] = FIELDS, *, positionals: bool = False, page: str = "%%aci --help"
) -> Parsed:
    """The options of a line. Raises OptionError for anything that is none; with `positionals` other words are kept in `rest`.

    `page` is the command that shows the options, named in errors.
    """
    words = split(line)
    place = next((index for index, word in enumerate(words) if word.text == "--"), len(words))
    options, command = words[:place], words[place + 1 :]
    expanded = _expanded(options, evaluate, table)
    parser = parser_of(table, page)
    found, rest = parser.parse_known_args(expanded)
    strays = [word for word in rest if word.startswith("-")] if positionals else rest
    if strays:
        _stray(strays[0], parser)
    values = vars(found)
    wants_help = bool(values.pop("help"))
    by_name = {item.name: item for item in table}
    for name, value in values.items():
        if isinstance(value, list) and not by_name[name].repeat:
            if len(value) > 1:
                raise OptionError(by_name[name].option, value[-1], "is given twice", "give it once")
            values[name] = value[0]
    given = {name: value for name, value in values.items() if value is not None}
    return Parsed(given, tuple(rest), tuple(word.expanded(evaluate, "the command") for word in command), wants_help)


def _stray(word: str, parser: argparse.ArgumentParser) -> NoReturn:
    known: Sequence[str] = getattr(parser, "known", ())
    page: str = getattr(parser, "page", "")
    if word.startswith("-"):
        raise OptionError(word.split("=")[0], None, "is not an option", did_you_mean(word.split("=")[0], known) or f"{page} lists them")
    raise OptionError(
        word, None, "stands alone; every word belongs to an option", f"the program goes below the line; {page} lists the options"
    )


def _expanded(words: Sequence[Word], evaluate: Callable[[str], Any], table: Sequence[Field]) -> list[str]:
    names = {flag: item for item in table for flag in item.flags}
    result: list[str] = []
    owner: Field | None = None
    for word in words:
        flag = word.text.split("=", 1)[0]
        if owner is None and flag in names:
            item = names[flag]
            inline = "=" in word.text and flag.startswith("--")
            result.append(word.text if not inline or item.name in UNEXPANDED else word.expanded(evaluate, item.option))
            owner = None if item.switch or inline else item
            continue
        skip = owner is not None and owner.name in UNEXPANDED
        text = word.text if skip else word.expanded(evaluate, owner.option if owner else word.text)
        if owner is not None and text.startswith("-") and " " in text:  # one word, so a value: argparse takes "-i URL PKG" for -i
            result[-1] = f"{owner.option}={text}"
        else:
            result.append(text)
        owner = None
    return result


def directives(cell: str) -> tuple[dict[str, Any], int]:
    """Options of the `#| key: value` lines at the top of a cell, and how many lines they take (they stay in the program, as comments)."""
    by_flag = {flag.lstrip("-"): item for item in FIELDS for flag in item.flags if flag.startswith("--")}
    found: dict[str, Any] = {}
    count = 0
    for text in cell.splitlines():
        if not text.startswith("#|"):
            break
        count += 1
        key, separator, value = text[2:].partition(":")
        item = by_flag.get(key.strip().lstrip("-"))
        if item is None:
            raise OptionError(f"#| {key.strip()}", None, "is not an option", did_you_mean(key.strip(), by_flag) or "write #| key: value")
        if not separator:
            raise OptionError(
                f"#| {key.strip()}", None, "has no value", f"write #| {key.strip()}: {'true' if item.switch else item.metavar}"
            )
        if item.repeat:
            found.setdefault(item.name, []).append(value.strip())
        elif item.name in found:
            raise OptionError(f"#| {key.strip()}", value.strip(), "is given twice", "give it once")
        else:
            found[item.name] = value.strip()
    return found, count


TITLES = {"container": "the container", "data": "variables", "where": "where", "life": "life", "shown": "what is shown"}


def help_text(table: Iterable[Field] = FIELDS) -> str:
    """The table of options as plain text."""
    lines = ["%%aci [options]    runs the cell below it in a container group", ""]
    group = ""
    for item in table:
        if item.group != group:
            group = item.group
            lines.append(f"{TITLES[group]}:")
        lines.append(option_line(item))
    lines += ["", "Each can also stand in a line below the magic: #| memory: 4GB"]
    lines += ["%aci run [options] -- COMMAND…   runs a command of the image; %aci help lists the verbs"]
    return "\n".join(lines)


def option_line(item: Field) -> str:
    """One option with its value, meaning, default and limits."""
    flags = ", ".join(item.flags) + (f" {item.metavar}" if item.metavar else "")
    notes = [item.help]
    if item.default_text:
        notes.append(f"default {item.default_text}")
    if item.limits:
        notes.append(item.limits)
    return f"  {flags:<34} {'; '.join(notes)}"
