"""Parsers of KEY=VALUE options: environment, secrets, tags. As in `parse`: (value, option) -> the checked value, or OptionError."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import OptionError
from .references import Secret


def _pairs(value: Any, option: str) -> Iterable[tuple[str, Any]]:
    """(name, content) of a mapping, or of `K=V` texts."""
    if isinstance(value, Mapping):
        return value.items()
    texts = [str(text) for text in ([value] if isinstance(value, str) else value)]
    for text in texts:
        if "=" not in text:
            raise OptionError(option, text, "needs a value", f"{option} {text}=VALUE")
    return [(name.strip(), content) for name, _, content in (text.partition("=") for text in texts)]


def parse_env(value: Any, option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, content in _pairs(value, option):
        _check_env_name(name, option)
        if "\0" in str(content):
            raise OptionError(option, name, "has a NUL character in its value")
        found[name] = str(content)
    return found


def _check_env_name(name: str, option: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_]{1,63}", name) or name.startswith("_") or name.endswith("_"):
        raise OptionError(
            option, name, "environment names have 1 to 63 letters, digits or underscores, no underscore first or last (a rule of ACI)"
        )


def parse_secrets(value: Any, option: str) -> tuple[Secret, ...]:
    texts: Iterable[Any] = [value] if isinstance(value, str | Secret) else value
    if isinstance(value, Mapping):
        texts = [f"{name}={source}" for name, source in value.items()]
    found: dict[str, Secret] = {}
    for text in texts:
        secret = text if isinstance(text, Secret) else _secret(str(text).strip(), option)
        found[secret.name] = secret
    return tuple(found.values())


def _secret(text: str, option: str) -> Secret:
    name, separator, source = text.partition("=")
    name = name.strip()
    if not re.fullmatch(r"[A-Za-z0-9_]{1,63}", name):
        # The text may be a pasted secret: it must not be repeated in a saved notebook.
        raise OptionError(
            option,
            None,
            "starts with the variable's name: 1 to 63 letters, digits or underscores",
            f"{option} NAME, {option} NAME=env:OTHER or {option} NAME=file:PATH",
        )
    _check_env_name(name, option)
    source = source.strip() if separator else f"env:{name}"
    return read_secret_reference(source, name, option, f"{option} {name}, or {option} {name}=env:OTHER, or {option} {name}=file:PATH")


def read_secret_reference(source: str, name: str, option: str, remedy: str = "") -> Secret:
    """The Secret at `env:NAME` or `file:PATH`. The text may be a pasted secret: it is not repeated."""
    kind, colon, key = source.strip().partition(":")
    if kind not in {"env", "file"} or not colon or not key:
        raise OptionError(
            option,
            f"{name}=…",
            "takes the place of a secret, never the secret itself",
            f"put it into the environment and write {remedy or 'env:NAME'}",
        )
    return Secret(name, source.strip())


def parse_tags(value: Any, option: str) -> dict[str, str]:
    found = {}
    for key, content in _pairs(value, option):
        if not key or len(key) > 512 or len(str(content)) > 256 or re.search(r"[<>%&\\?/]", key):
            raise OptionError(option, key, "tag names have up to 512 characters without < > % & \\ ? /, values up to 256")
        if key.startswith("aci-notebook-"):
            raise OptionError(option, key, "tags that begin with aci-notebook- are ours", "choose another name")
        found[key] = str(content)
    return found
