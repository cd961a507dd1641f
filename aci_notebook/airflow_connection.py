"""An Airflow connection as a profile: `AIRFLOW_CONN_<ID>`, written as a URI or as JSON, of the type `azure_container_instance`.

login is the client id, password the secret, the extra holds tenantId and subscriptionId, as Airflow's own hook reads them. The password
stays where it is: the profile holds the reference `airflow:ID`. Airflow itself is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .errors import SettingsError

PREFIX = "AIRFLOW_CONN_"
TYPE = "azure_container_instance"


def profile_of(name: str, environ: Mapping[str, str]) -> dict[str, Any] | None:
    """The settings of the connection of that id; None where the environment has none. Raises SettingsError for another type."""
    text = environ.get(variable(name))
    if text is None:
        return None
    kind, login, password, extra = _parts(text, name)
    if kind != TYPE:
        raise SettingsError(
            f"the Airflow connection {name} is of type {kind or 'none'}", hint=f"a profile is made of one of type {TYPE} ({variable(name)})"
        )
    found: dict[str, Any] = {}
    for key, names in (
        ("subscription", ("subscriptionId", "extra__azure__subscriptionId")),
        ("tenant_id", ("tenantId", "extra__azure__tenantId")),
    ):
        value = next((extra[candidate] for candidate in names if extra.get(candidate)), None)
        if value:
            found[key] = str(value)
    if login:
        found["client_id"] = login
    if password:
        found["client_secret"] = f"airflow:{name}"
    if "tenant_id" in found and not login:
        del found["tenant_id"]  # a tenant alone is for the default credential, and not half of a principal
    found["on"] = "azure"
    return found


def password_of(name: str, environ: Mapping[str, str]) -> str | None:
    """The connection's password, at the moment it is needed."""
    text = environ.get(variable(name))
    return _parts(text, name)[2] if text is not None else None


def variable(name: str) -> str:
    return PREFIX + name.upper()


def _parts(text: str, name: str) -> tuple[str, str, str, Mapping[str, Any]]:
    """(type, login, password, extra)."""
    if text.lstrip().startswith("{"):
        return _json_parts(text, name)
    address = urlsplit(text)
    extra: Mapping[str, Any] = dict(parse_qsl(address.query, keep_blank_values=True))
    if set(extra) == {"__extra__"}:
        extra = _extra(extra["__extra__"], name)
    login = unquote(address.username) if address.username else ""
    password = unquote(address.password) if address.password else ""
    return _kind(address.scheme), login, password, extra


def _json_parts(text: str, name: str) -> tuple[str, str, str, Mapping[str, Any]]:
    try:
        body = json.loads(text)
    except ValueError:
        raise SettingsError(f"{variable(name)} is not valid JSON", hint="write the connection as JSON or as a URI") from None
    kind = str(body.get("conn_type") or "")
    return _kind(kind), str(body.get("login") or ""), str(body.get("password") or ""), _extra(body.get("extra"), name)


def _extra(value: Any, name: str) -> Mapping[str, Any]:
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError:
            raise SettingsError(f"the extra of {variable(name)} is not valid JSON", hint="it holds tenantId and subscriptionId") from None
    return value if isinstance(value, Mapping) else {}


def _kind(text: str) -> str:
    return text.lower().replace("-", "_")
