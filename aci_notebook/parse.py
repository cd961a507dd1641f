"""Parsers of option values: (value, option) -> the checked value, or OptionError with option, value, rule and remedy.

A value comes as text from a magic, as a Python value from the API, or typed from a widget; the same parser takes all three, so the
three doors refuse the same things with the same words. Limits are ACI's own (`aci-facts` §8); where its sources disagree the
smaller one is taken.
"""

from __future__ import annotations

import keyword
import math
import re
import shlex
from collections.abc import Callable, Iterable
from typing import Any

from .errors import OptionError

MAX_CPU, MAX_MEMORY_GB = 31.0, 240.0
NAME_RULE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

Parse = Callable[[Any, str], Any]


def parse_text(value: Any, option: str) -> str:
    text = str(value).strip()
    if not text:
        raise OptionError(option, value, "must not be empty")
    return text


def number(low: float, high: float, step: float, unit: str) -> Parse:
    def parse(value: Any, option: str) -> float:
        try:
            number = float(str(value).strip())
        except ValueError:
            raise OptionError(option, value, f"must be a number of {unit}", f"for example {option} {low:g}") from None
        if not math.isfinite(number) or not low <= number <= high:
            remedy = BIG_REMEDY if number > high else f"use {option} {low:g}"
            raise OptionError(option, value, f"must be between {low:g} and {high:g} {unit}", remedy)
        if abs(number / step - round(number / step)) > 1e-6:
            near = round(number / step) * step
            raise OptionError(option, value, f"goes in steps of {step:g} {unit}", f"use {option} {near:g}")
        return round(number, 6)

    return parse


BIG_REMEDY = "container groups of ACI have these limits (31 vCPU, 240 GB); larger jobs need another service, such as AKS"


_MEMORY_UNITS = {"": 1.0, "g": 1.0, "gb": 1.0, "gib": 1.0, "m": 1 / 1024, "mb": 1 / 1024, "mib": 1 / 1024}
_memory_number = number(1.0, MAX_MEMORY_GB, 0.1, "GB")


def parse_memory(value: Any, option: str) -> float:
    found = re.fullmatch(r"\s*([0-9.]+)\s*([a-zA-Z]*)\s*", str(value))
    if found is None or found.group(2).lower() not in _MEMORY_UNITS:
        raise OptionError(option, value, "must be a number of GB", f"for example {option} 4 or {option} 4GB")
    factor = _MEMORY_UNITS[found.group(2).lower()]
    if factor == 1.0:
        return float(_memory_number(found.group(1), option))
    try:
        gigabytes = math.ceil(float(found.group(1)) * factor * 10) / 10
    except ValueError:
        raise OptionError(option, value, "must be a number of GB or MB", f"for example {option} 2048MB") from None
    return float(_memory_number(gigabytes, option))


_DURATION_UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def parse_duration(value: Any, option: str) -> float:
    """Seconds of `90`, `90s`, `10m`, `1h30m`, `2d`."""
    text = str(value).strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(d|h|min|m|sec|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
        raise OptionError(option, value, "must be a duration", f"for example {option} 90s, {option} 10m, {option} 1h30m")
    return float(sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts))


def duration(low: float, high: float, words: str) -> Parse:
    def parse(value: Any, option: str) -> float:
        seconds = parse_duration(value, option)
        if not low <= seconds <= high:
            raise OptionError(option, value, f"must be {words}")
        return seconds

    return parse


def choice(*choices: str) -> Parse:
    def parse(value: Any, option: str) -> str:
        text = str(value).strip().lower()
        if text not in choices:
            raise OptionError(option, value, f"must be one of {', '.join(choices)}")
        return text

    return parse


def count(low: int, high: int) -> Parse:
    def parse(value: Any, option: str) -> int:
        try:
            number = int(str(value).strip())
        except ValueError:
            raise OptionError(option, value, "must be a whole number") from None
        if not low <= number <= high:
            raise OptionError(option, value, f"must be between {low} and {high}")
        return number

    return parse


def parse_switch(value: Any, option: str) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in {"true", "yes", "on", "1"}:
        return True
    if text in {"false", "no", "off", "0"}:
        return False
    raise OptionError(option, value, "must be true or false")


def items(value: Any) -> list[str]:
    """The comma-separated or repeated texts of an option."""
    texts: Iterable[Any] = [value] if isinstance(value, str) else value
    return [part.strip() for text in texts for part in split_commas(str(text)) if part.strip()]


def split_commas(text: str) -> list[str]:
    """Parts between commas that stand outside quotes and brackets: `a,b=f(1, 2)` has two."""
    parts, depth, quote, start = [], 0, "", 0
    for place, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]


def parse_inputs(value: Any, option: str = "--input") -> tuple[tuple[str, str], ...]:
    """(name in the container, expression here) for each part of `a,b,c=expr`."""
    found: dict[str, str] = {}
    for part in items(value):
        name, separator, expression = part.partition("=")
        if separator and expression.startswith("="):
            name, expression = "", ""
        name, expression = name.strip(), (expression.strip() if separator else part)
        _check_variable(name, part, option, f"give names separated by commas, or NAME=EXPRESSION: {option} a,b=frame.head()")
        if not expression:
            raise OptionError(option, part, "has no expression after '='", f"{option} {name}=EXPRESSION")
        if name in found:
            raise OptionError(option, part, f"names {name} twice")
        found[name] = expression
    return tuple(found.items())


def _check_variable(name: str, shown: str, option: str, remedy: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise OptionError(option, shown, "is not a variable name", remedy)


def parse_outputs(value: Any, option: str) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for part in items(value):
        if not is_path(part):
            _check_variable(part, part, option, f"give names, files and folders separated by commas: {option} x,./results/")
        elif part.startswith(("/", "~")) or ".." in part.split("/"):
            raise OptionError(option, part, "must be a path below the working folder", "for example -o ./results/")
        names[part] = None
    return tuple(names)


def is_path(text: str) -> bool:
    return "/" in text or text.startswith(".")


def parse_name(value: Any, option: str) -> str:
    text = str(value).strip()
    if not NAME_RULE.fullmatch(text):
        proposal = re.sub(r"-+", "-", re.sub(r"[^a-z0-9-]", "-", text.lower())).strip("-")[:63]
        raise OptionError(
            option,
            value,
            "must have 1 to 63 lower-case letters, digits or hyphens, no hyphen first or last (a rule of ACI)",
            f"for example {option} {proposal}" if proposal else "",
        )
    return text


_IMAGE = re.compile(
    r"(?P<path>[^:@\s]+(?::\d+(?=/)[^:@\s]*)?)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>[a-z0-9]+:[0-9a-fA-F]{32,}))?"
)


def parse_image(value: Any, option: str) -> str:
    """The image reference, with the traps refused that leave a group Waiting for 30 minutes (`aci-facts` §7)."""
    text = str(value).strip()
    if not text:
        raise OptionError(option, value, "must not be empty", f"for example {option} python:3.12-slim")
    if "://" in text:
        raise OptionError(option, value, "is an address, not an image", f"write {option} {text.split('://', 1)[1]}")
    found = _IMAGE.fullmatch(text)
    if found is None:
        raise OptionError(option, value, "is not an image reference", "for example python:3.12-slim or myregistry.azurecr.io/team/job:1")
    path = found.group("path")
    if path != path.lower():
        raise OptionError(
            option,
            value,
            "image paths are lower case; with upper case the container waits for 30 minutes and fails",
            f"write {option} {path.lower()}{text[len(path) :]}",
        )
    if path.startswith("/") or path.endswith("/") or "//" in path:
        raise OptionError(option, value, "has an empty part in its path")
    return text


def python_minor_of(image: str) -> str:
    """`3.12` of an image such as python:3.12-slim; an empty text where the tag does not say."""
    found = re.search(r"(?:^|/)python:(\d+\.\d+)(?:[.-]|$)", image)
    return found.group(1) if found else ""


def parse_requirements(value: Any, option: str) -> tuple[str, ...]:
    """The requirements, one a text; one with a marker (`six ; python_version > "3"`) or an option of pip stays whole."""
    texts = [value] if isinstance(value, str) else list(value)
    words: list[str] = []
    try:
        for text in map(str, texts):
            whole = ";" in text or text.lstrip().startswith("-")
            words += [text.strip()] if whole else shlex.split(text.replace(",", " ") if _bare(text) else text)
    except ValueError:
        raise OptionError(option, value, "has a quote that is not closed") from None
    for word in words:
        if re.search(r"://[^/@\s]+:[^/@\s]+@", word):
            raise OptionError(option, None, "must not carry a password in an address", "use --secret and an index without a password")
    return tuple(words)


def _bare(text: str) -> bool:
    """True for a plain list such as `numpy,pandas`, where a comma separates packages and is no version rule."""
    return not any(char in text for char in "<>=!~[")


def parse_paths(value: Any, option: str) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    return tuple(parse_text(text, option) for text in texts)


def parse_lang(value: Any, option: str) -> str:
    text = str(value).strip()
    if not re.fullmatch(r"[A-Za-z0-9_./+-]+", text):
        raise OptionError(option, value, "is the name or path of an interpreter in the image", f"for example {option} bash")
    return text


def parse_variable(value: Any, option: str) -> str:
    text = str(value).strip()
    _check_variable(text, text, option, f"for example {option} run")
    return text


def parse_location(value: Any, option: str) -> str:
    text = str(value).strip().lower().replace(" ", "")
    if not re.fullmatch(r"[a-z0-9]{2,40}", text):
        raise OptionError(option, value, "is the name of an Azure region", f"for example {option} westeurope")
    return text
