"""`%aci profile save`: one table of the user's config.toml, written so that the rest of the file stays as it is."""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import SettingsError
from .settings import checked, user_file

_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


def save_profile(name: str, values: Mapping[str, Any]) -> Path:
    """The file that holds the profile now. Raises SettingsError for a bad name, an unknown key or a literal secret."""
    if not _NAME.fullmatch(name) or name in {"azure", "local"}:
        raise SettingsError(f"{name!r} cannot be a profile's name", hint="letters, digits, '-' and '_'; azure and local mean themselves")
    path = user_file()
    entry = checked(dict(values), f"profile {name}")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    table = f"[profile.{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in entry.items())
    old = re.compile(rf"^\[profile\.{re.escape(name)}\][^\n]*\n(?:(?!\[)[^\n]*\n?)*", re.MULTILINE)
    if old.search(text):
        new = old.sub(lambda _: table + "\n", text, count=1)
    else:
        new = text.rstrip("\n") + ("\n\n" if text.strip() else "") + table
    try:
        known = tomllib.loads(new).get("profile", {}).get(name)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}", hint="mend the file first") from None
    if known != entry:
        raise SettingsError(f"{path} holds profile {name} in a form that is not understood", hint=f"write [profile.{name}] by hand")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".config", text=True)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(new)
    os.replace(temporary, path)
    return path
