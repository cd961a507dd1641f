"""Parsers of the options that name things of Azure or of this machine: volumes, registries, identities, a subnet, a subscription.

As in `parse`: (value, option) -> the checked value, or OptionError. What a value refers to (a file, a key) is read later, by `sources`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NoReturn

from .errors import OptionError
from .parse import items
from .parse_pairs import read_secret_reference
from .references import Registry, Volume

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_SHARE = re.compile(r"[a-z0-9](-?[a-z0-9]){2,62}")
_IDENTITY = re.compile(
    r"/subscriptions/[^/]+/resourcegroups/[^/]+/providers/microsoft\.managedidentity/userassignedidentities/[^/]+", re.IGNORECASE
)
_SUBNET = re.compile(
    r"/subscriptions/[^/]+/resourcegroups/[^/]+/providers/microsoft\.network/virtualnetworks/[^/]+/subnets/[^/]+", re.IGNORECASE
)
_SERVER = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d+)?")
OUR_MOUNTS = ("/aci", "/proc", "/sys", "/dev")


def parse_volumes(value: Any, option: str) -> tuple[Volume, ...]:
    """SRC:DST[:ro] for each; SRC says the kind."""
    texts: Iterable[Any] = [value] if isinstance(value, str | Volume) else value
    found: dict[str, Volume] = {}
    for text in texts:
        volume = text if isinstance(text, Volume) else _volume(str(text).strip(), option)
        if volume.path in found:
            raise OptionError(option, volume.source, f"mounts {volume.path} twice", "give each volume a path of its own")
        found[volume.path] = volume
    if len(found) > 18:
        raise OptionError(option, None, f"names {len(found)} volumes; a group has 20, and two are ours")
    return tuple(found.values())


def _volume(text: str, option: str) -> Volume:
    rest, read_only = (text[:-3], True) if text.endswith(":ro") else (text, False)
    source, colon, path = rest.rpartition(":")
    if not colon or not path.startswith("/"):
        raise OptionError(option, _without_key(text), "is SOURCE:/path/in/the/container[:ro]", f"for example {option} ./data:/data")
    folder = path.rstrip("/")
    if not folder or ".." in folder.split("/") or any(folder == ours or folder.startswith(ours + "/") for ours in OUR_MOUNTS):
        raise OptionError(option, path, "cannot be mounted over", f"for example {option} {source}:/data")
    if source.startswith("azurefile://"):
        return _azure_file(source, folder, read_only, option)
    if source.startswith("git+"):
        return _git(source, folder, read_only, option)
    if source in {"empty", "empty:"}:
        return Volume("empty", folder, "empty:", read_only)
    if source.startswith(("./", "../", "~", "/")) or source == ".":
        return Volume("files", path, source, read_only=True)
    raise OptionError(
        option,
        _without_key(source),
        "is no source that is known: azurefile://ACCOUNT/SHARE?key=env:NAME, git+https://…@REF, empty:, or ./FILE-OR-FOLDER",
        f"for a file of this machine write {option} ./{source}:{path}",
    )


def _without_key(text: str) -> str:
    """The text without what stands after `?`: a key may have been pasted there."""
    return re.sub(r"\?[^:]*", "?…", text)


def _azure_file(source: str, path: str, read_only: bool, option: str) -> Volume:
    place, _, query = source.removeprefix("azurefile://").partition("?")
    account, _, share = place.partition("/")
    if not _ACCOUNT.fullmatch(account) or not _SHARE.fullmatch(share):
        raise OptionError(
            option, f"azurefile://{place}", "is azurefile://ACCOUNT/SHARE", f"{option} azurefile://mystore/data?key=env:KEY:{path}"
        )
    if not query.startswith("key="):
        raise OptionError(
            option,
            f"azurefile://{place}",
            "needs the storage account's key, by its place",
            f"{option} azurefile://{place}?key=env:STORAGE_KEY:{path}, with the key in this kernel's environment",
        )
    key = read_secret_reference(query.removeprefix("key="), f"{account}", option)
    return Volume("azurefile", path, f"azurefile://{place}?key={key.source}", read_only, account=account, share=share, key=key)


def _git(source: str, path: str, read_only: bool, option: str) -> Volume:
    address = source.removeprefix("git+")
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in {"https", "http", "file"} or not rest:
        raise OptionError(option, source, "is git+https://HOST/REPOSITORY[@REF]", "the service clones public repositories over https")
    host = rest.split("/", 1)[0]
    if "@" in host:
        raise OptionError(option, f"git+{scheme}://…", "must not carry a password in an address", "clone inside the cell, with --secret")
    revision = ""
    if "@" in rest:
        rest, _, revision = rest.rpartition("@")
    return Volume("git", path, source, read_only, repository=f"{scheme}://{rest}", revision=revision)


def parse_registries(value: Any, option: str) -> tuple[Registry, ...]:
    """SERVER[=USER:secret-ref] for each."""
    texts: Iterable[Any] = [value] if isinstance(value, str | Registry) else value
    found: dict[str, Registry] = {}
    for text in texts:
        registry = text if isinstance(text, Registry) else _registry(str(text).strip(), option)
        found[registry.server] = registry
    return tuple(found.values())


def _registry(text: str, option: str) -> Registry:
    server, separator, login = text.partition("=")
    server = server.strip()
    if not _SERVER.fullmatch(server) or "." not in server:
        raise OptionError(
            option, server, "is the name of a registry's server", f"for example {option} myregistry.azurecr.io=USER:env:PASSWORD"
        )
    if not separator:
        return Registry(server)
    user, colon, reference = login.partition(":")
    if not colon or not user:
        raise OptionError(option, f"{server}=…", "takes USER and the place of the password", f"{option} {server}=USER:env:PASSWORD")
    return Registry(server, user, read_secret_reference(reference, server, option))


def parse_identities(value: Any, option: str) -> tuple[str, ...]:
    """`system`, or resource ids of user-assigned identities."""
    return tuple(dict.fromkeys(parse_identity(text, option, system=True) for text in items(value)))


def parse_identity(value: Any, option: str, *, system: bool = False) -> str:
    text = str(value).strip()
    if system and text.lower() in {"system", "[system]"}:
        return "system"
    if not _IDENTITY.fullmatch(text):
        choice = "system, or " if system else ""
        raise OptionError(
            option,
            value,
            f"is {choice}the resource id of a user-assigned identity",
            "az identity show --name NAME --resource-group GROUP --query id --output tsv",
        )
    return text


def parse_subnet(value: Any, option: str) -> str:
    text = str(value).strip()
    if not _SUBNET.fullmatch(text):
        raise OptionError(
            option,
            value,
            "is the resource id of a subnet that is delegated to Microsoft.ContainerInstance/containerGroups",
            "az network vnet subnet show --vnet-name VNET --name SUBNET --resource-group GROUP --query id --output tsv",
        )
    return text


def parse_subscription(value: Any, option: str) -> str:
    text = str(value).strip()
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text.lower()):
        raise OptionError(option, value, "is a subscription's id", "az account show --query id --output tsv")
    return text.lower()


def parse_usd(value: Any, option: str) -> float:
    text = str(value).strip().lstrip("$").removesuffix("USD").strip()
    try:
        amount = float(text)
    except ValueError:
        raise OptionError(option, value, "must be an amount in USD", f"for example {option} 0.50") from None
    if not 0 < amount <= 1_000_000:
        raise OptionError(option, value, "must be more than 0 USD", f"for example {option} 0.50")
    return amount


def refuse_gpu(value: Any, option: str) -> NoReturn:
    raise OptionError(
        option,
        value,
        "ACI has no GPUs any more: Azure retired them on 2025-07-14",
        "GPU jobs need another service: Azure ML, Batch, AKS or Container Apps",
    )
