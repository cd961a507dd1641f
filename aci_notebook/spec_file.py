"""`--spec FILE`: the YAML of `az container create --file`, read into the options of the field table.

Nothing in the file is passed over in silence: a member that this product does not send is refused by name. What `--dry-run` prints
can be read back; its own two volumes and its masks are left out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import OptionError
from .payload import PAYLOAD_MOUNT, STATE_MOUNT
from .spec import Registry, Secret, Volume

MASK = "******"
_TOP = {"apiVersion", "type", "name", "location", "tags", "properties", "identity", "additional_properties", "id"}
_PROPERTIES = {"containers", "osType", "restartPolicy", "priority", "volumes", "imageRegistryCredentials", "subnetIds", "sku"}
_CONTAINER = {"image", "resources", "command", "environmentVariables", "volumeMounts", "ports"}
_NOT_SENT = {"provisioningState", "instanceView", "provisioningTimeoutInSeconds", "isCustomProvisioningTimeout"}


def read_spec_file(path: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(option values, command) of the file. Raises OptionError that names the member."""
    import yaml

    try:
        body = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise OptionError("--spec", path, f"cannot be read: {why}", f"it is looked for from {Path.cwd()}") from None
    except yaml.YAMLError as error:
        raise OptionError("--spec", path, f"is not YAML: {' '.join(str(error).split())[:200]}", "check the indentation") from None
    reader = _Reader(path)
    return reader.read(reader.mapping(body, "the file"))


class _Reader:
    def __init__(self, path: str) -> None:
        self.path = path

    def refuse(self, rule: str, remedy: str = "take it out of the file") -> OptionError:
        return OptionError("--spec", self.path, rule, remedy)

    def mapping(self, value: Any, name: str) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise self.refuse(f"{name} is not a mapping", "it takes the YAML of az container create --file")
        return value

    def only(self, value: Mapping[str, Any], known: set[str], where: str) -> None:
        for key, content in value.items():
            if key not in known and key not in _NOT_SENT and content not in (None, [], {}):
                raise self.refuse(f"{where}{key} is not sent by this product")

    def read(self, body: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        self.only(body, _TOP, "")
        properties = self.mapping(body.get("properties") or {}, "properties")
        self.only(properties, _PROPERTIES, "properties.")
        self._check_fixed(properties)
        containers = properties.get("containers") or []
        if len(containers) != 1:
            raise self.refuse(f"has {len(containers)} containers; a run has one", "keep one")
        container = self.mapping(self.mapping(containers[0], "the container").get("properties") or {}, "the container's properties")
        self.only(container, _CONTAINER, "the container's ")
        found: dict[str, Any] = {}
        for name, value in (("name", body.get("name")), ("location", body.get("location")), ("image", container.get("image"))):
            if value:
                found[name] = str(value)
        requests = self.mapping(self.mapping(container.get("resources") or {}, "resources").get("requests") or {}, "requests")
        self.only(requests, {"cpu", "memoryInGB"}, "the container's requests.")
        found.update({name: requests[key] for key, name in (("cpu", "cpu"), ("memoryInGB", "memory_gb")) if key in requests})
        tags = {key: value for key, value in (body.get("tags") or {}).items() if not str(key).startswith("aci-notebook-")}
        if tags:
            found["tags"] = tags
        if str(properties.get("priority", "")).lower() == "spot":
            found["spot"] = True
        found.update(self._environment(container))
        found.update(self._places(body, properties, container))
        return found, self._command(container)

    def _check_fixed(self, properties: Mapping[str, Any]) -> None:
        fixed = (("osType", "linux"), ("restartPolicy", "never"), ("sku", "standard"))
        for key, only in fixed:
            value = properties.get(key)
            if value is not None and str(value).lower() != only:
                raise self.refuse(f"{key} is {value}; a run has {only.capitalize()}", f"{key}: {only.capitalize()}")

    def _command(self, container: Mapping[str, Any]) -> tuple[str, ...]:
        command = tuple(str(word) for word in container.get("command") or ())
        return () if any(f"{PAYLOAD_MOUNT}/start.sh" in word for word in command) else command

    def _environment(self, container: Mapping[str, Any]) -> dict[str, Any]:
        env, secrets = {}, []
        for item in container.get("environmentVariables") or []:
            name = str(self.mapping(item, "an environment variable").get("name", ""))
            if "secureValue" not in item:
                env[name] = str(item.get("value", ""))
            elif str(item["secureValue"]) == MASK:
                secrets.append(Secret(name, f"env:{name}"))
            else:
                secrets.append(Secret(name, f"spec:{self.path}", str(item["secureValue"])))
        return {key: value for key, value in (("env", env), ("secrets", tuple(secrets))) if value}

    def _places(self, body: Mapping[str, Any], properties: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        volumes = {str(item.get("name")): item for item in properties.get("volumes") or []}
        mounted = [
            self._volume(volumes.get(str(mount.get("name")), {}), mount)
            for mount in container.get("volumeMounts") or []
            if mount.get("mountPath") not in (PAYLOAD_MOUNT, STATE_MOUNT)
        ]
        if mounted:
            found["volumes"] = tuple(mounted)
        registries, puller = [], None
        for item in properties.get("imageRegistryCredentials") or []:
            server = str(item.get("server", ""))
            puller = item.get("identity") or puller
            password = Secret(server, f"spec:{self.path}", str(item["password"])) if item.get("password") else Secret("", "")
            registries.append(Registry(server, str(item.get("username") or ""), password))
        if registries:
            found["registries"] = tuple(registries)
        if puller:
            found["acr_identity"] = puller
        subnets = properties.get("subnetIds") or []
        if len(subnets) > 1:
            raise self.refuse("names several subnets", "keep one")
        if subnets:
            found["subnet"] = subnets[0]["id"]
        identity = body.get("identity") or {}
        names = ["system"] if "systemassigned" in str(identity.get("type", "")).lower() else []
        names += list(identity.get("userAssignedIdentities") or {})
        if names:
            found["identities"] = names
        return found

    def _volume(self, volume: Mapping[str, Any], mount: Mapping[str, Any]) -> Volume:
        path, read_only = str(mount.get("mountPath", "")), bool(mount.get("readOnly"))
        if "emptyDir" in volume:
            return Volume("empty", path, "empty:", read_only)
        if "gitRepo" in volume:
            git = volume["gitRepo"]
            self.only(git, {"repository", "revision"}, "gitRepo.")
            repository, revision = str(git.get("repository", "")), str(git.get("revision") or "")
            return Volume("git", path, f"git+{repository}", read_only, repository=repository, revision=revision)
        if "azureFile" in volume:
            file = volume["azureFile"]
            account, share = str(file.get("storageAccountName", "")), str(file.get("shareName", ""))
            key = Secret(account, f"spec:{self.path}", str(file.get("storageAccountKey") or ""))
            if not key.value or key.value == MASK:
                raise self.refuse(f"has no key for azurefile://{account}/{share}", "give the volume with --volume …?key=env:NAME")
            return Volume("azurefile", path, f"azurefile://{account}/{share}", read_only, account=account, share=share, key=key)
        raise self.refuse(f"volume {mount.get('name')} is of a kind that is not read from a file", "give it with --volume ./folder:/path")
