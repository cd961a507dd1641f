"""Values that stand somewhere else: this kernel's environment, files, comments of the cell. `gather` reads them into plain options
before a spec is built, `resolve` puts secrets and shipped files into a built spec. Errors name the place, never a secret.

Order, later wins: `--spec` file, then what the line says. `-r` files and a PEP 723 block add to `--pip`; `--env` wins over `--env-file`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .errors import OptionError, SettingsError
from .parse import parse_requirements
from .settings import read_reference
from .spec import Registry, RunSpec, Secret, Shipped, Volume

_SCRIPT = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
_FILE_NAME = re.compile(r"[-._A-Za-z0-9]{1,253}")


def gather(
    values: Mapping[str, Any], code: str | None, command: tuple[str, ...], python_minor: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(options without those that only say where values are, command)."""
    given = dict(values)
    spec_files = _texts(given.pop("spec_file", None))
    if spec_files:
        from .spec_file import read_spec_file

        if len(spec_files) > 1:
            raise OptionError("--spec", spec_files[1], "is given twice", "give it once")
        base, its_command = read_spec_file(spec_files[0])
        given = _over(base, given)
        command = command or (its_command if code is None else ())
        if its_command and code is not None:
            raise OptionError(
                "--spec",
                spec_files[0],
                "has a command of its own, and the cell is a program too",
                f"take the command out of the file, or run it: %aci run --spec {spec_files[0]}",
            )
    env = _environment(given.get("env"), _texts(given.pop("env_file", None)))
    if env:
        given["env"] = env
    wanted = [word for path in _texts(given.pop("requirements_file", None)) for word in requirements_file(Path(path))]
    if code is not None:
        wanted += script_block(code, python_minor)
    if wanted:
        given["requirements"] = (*parse_requirements(given.get("requirements") or (), "--pip"), *wanted)
    return given, command


def _over(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The file's values under the line's; what may be given several times is joined."""
    merged = {**base, **given}
    for name in ("env", "tags"):
        if name in base and name in given:
            from .fields import BY_NAME

            field = BY_NAME[name]
            merged[name] = {**base[name], **(_environment(given[name], []) if name == "env" else field.parse(given[name], field.option))}
    for name in ("secrets", "volumes", "registries"):
        if name in base and name in given:
            from .fields import BY_NAME

            merged[name] = (*base[name], *BY_NAME[name].parse(given[name], BY_NAME[name].option))
    return merged


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(value)] if isinstance(value, str | Path) else [str(item) for item in value]


def _environment(given: Any, files: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in files:
        found.update(env_file(Path(path)))
    if isinstance(given, Mapping):
        return {**found, **given}
    for text in _texts(given):
        name, separator, value = text.partition("=")
        if separator:
            found[name.strip()] = value
        elif name in os.environ:
            found[name] = os.environ[name]
        else:
            raise OptionError("--env", text, "is not in this kernel's environment", f"--env {text}=VALUE, or set {text} with %env first")
    return found


def _read(path: Path, option: str) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise OptionError(option, str(path), f"cannot be read: {why}", f"it is looked for from {Path.cwd()}") from None


def env_file(path: Path) -> dict[str, str]:
    """K=V lines as docker reads them: blank lines and # comments are skipped, quotes around a whole value are taken off."""
    found = {}
    for number, raw in enumerate(_read(path, "--env-file").splitlines(), 1):
        text = raw.strip()
        if not text or text.startswith("#"):
            continue
        name, separator, value = text.removeprefix("export ").partition("=")
        if not separator:
            raise OptionError("--env-file", f"{path}:{number}", "has a line that is not K=V", "one variable a line")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[name.strip()] = value
    return found


def requirements_file(path: Path, seen: tuple[Path, ...] = ()) -> list[str]:
    """The requirements of a pip file; files it names with -r too. What cannot travel (editable, local paths) is refused."""
    found: list[str] = []
    text = re.sub(r"\\\n", " ", _read(path, "--requirements"))
    for number, raw in enumerate(text.splitlines(), 1):
        word = re.sub(r"(^|\s)#.*$", "", raw).strip()
        nested = re.fullmatch(r"(?:-r|--requirement)[\s=]*(.+)", word)
        if nested:
            further = (path.parent / nested.group(1)).resolve()
            if further in seen:
                raise OptionError("--requirements", str(further), "names itself", "take the -r line out")
            found += requirements_file(further, (*seen, path.resolve()))
        elif re.match(r"(-e|--editable|\.|/|file:)", word) or word.startswith(("-c", "--constraint")):
            raise OptionError(
                "--requirements",
                f"{path}:{number}",
                f"{word.split()[0]} is of this machine and does not travel",
                "name a package or an address",
            )
        elif word:
            _refuse_password(word, path)
            found.append(word)
    return found


def _refuse_password(word: str, path: Path) -> None:
    if re.search(r"://[^/@\s]+:[^/@\s]+@", word):
        raise OptionError("--requirements", str(path), "has a password in an address", "use an index without a password")


def script_block(code: str, python_minor: str) -> list[str]:
    """The dependencies of a PEP 723 block (`# /// script`). Its requires-python is held against the kernel's version."""
    blocks = list(_SCRIPT.finditer(code))
    if not blocks:
        return []
    if len(blocks) > 1:
        raise OptionError("# /// script", None, "stands twice in the cell", "one block a cell (PEP 723)")
    lines = [line[2:] if line.startswith("# ") else line[1:] for line in blocks[0].group("content").splitlines()]
    try:
        block = tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError as error:
        raise OptionError("# /// script", None, f"is not valid TOML: {error}", 'for example # dependencies = ["requests"]') from None
    unknown = sorted(set(block) - {"dependencies", "requires-python", "tool"})
    if unknown:
        raise OptionError("# /// script", unknown[0], "is not a key of PEP 723", "it has dependencies and requires-python")
    wanted = str(block.get("requires-python", ""))
    if wanted and not satisfies(python_minor, wanted):
        raise OptionError(
            "# /// script",
            f"requires-python {wanted}",
            f"this kernel and its default image have Python {python_minor}",
            "choose an --image",
        )
    dependencies = block.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(item, str) for item in dependencies):
        raise OptionError("# /// script", "dependencies", "is a list of texts", 'for example # dependencies = ["requests"]')
    return list(dependencies)


def satisfies(minor: str, wanted: str) -> bool:
    """Whether a minor version such as "3.12" can be one of a version specifier such as ">=3.11,<4"."""
    have = tuple(int(part) for part in minor.split("."))
    for clause in wanted.split(","):
        found = re.fullmatch(r"\s*(~=|==|!=|<=|>=|<|>)\s*(\d+)(?:\.(\d+))?(?:\.(\d+|\*))?(?:\.\*)?\s*", clause)
        if found is None:
            raise OptionError("# /// script", f"requires-python {wanted}", "is not a version specifier", 'for example ">=3.11"')
        sign, major, given, patch = found.group(1), int(found.group(2)), found.group(3), found.group(4)
        want = (major, int(given)) if given is not None else (major,)
        mine = have[: len(want)]
        fits = {
            ">=": mine >= want,
            ">": mine > want or (mine == want and patch not in (None, "*")) or (len(want) == 1 and have > (*want, 0) and mine > want),
            "<=": mine <= want,
            "<": mine < want or (mine == want and patch not in (None, "*", "0")),
            "==": mine == want,
            "!=": mine != want or patch not in (None, "*"),
            "~=": (mine >= want and have[0] == want[0]) if patch is None else mine == want,
        }[sign]
        if not fits:
            return False
    return True


# -- after the spec is built ------------------------------------------------------------------------------------------------


def resolve(spec: RunSpec) -> RunSpec:
    """The spec with the values that its references point to, and the files it ships."""
    return replace(
        spec,
        secrets=tuple(resolve_secret(secret) for secret in spec.secrets),
        registries=tuple(_resolve_registry(registry) for registry in spec.registries),
        volumes=tuple(_resolve_volume(volume) for volume in spec.volumes),
    )


def resolve_secret(secret: Secret, option: str = "--secret") -> Secret:
    """The secret with the value that its reference points to. Raises OptionError that names the place, never the value."""
    if secret.value:
        return secret
    if secret.source.startswith("spec:"):
        anew = f"{option} {secret.name}=env:NAME" if option == "--secret" else option
        raise OptionError(option, secret.name, f"stood in {secret.source[5:]}, and its value is not kept", f"give it anew: {anew}")
    try:
        value = read_reference(secret.source, os.environ, option)
    except SettingsError as error:
        raise OptionError(option, secret.name, error.message.removeprefix(f"{option}: "), error.hint) from None
    if not value:
        raise OptionError(option, secret.name, f"{secret.source} is empty", "give it a value, or leave the option out")
    return replace(secret, value=value)


def _resolve_registry(registry: Registry) -> Registry:
    if not registry.username:
        return registry
    return replace(registry, password=resolve_secret(registry.password, "--registry"))


def _resolve_volume(volume: Volume) -> Volume:
    if volume.kind == "azurefile":
        return replace(volume, key=resolve_secret(volume.key, "--volume"))
    if volume.kind != "files":
        return volume
    kept = bool(volume.files) and all(item.data or not item.size_bytes for item in volume.files)
    return volume if kept else _shipped(_as_given(volume))


def _as_given(volume: Volume) -> Volume:
    """A volume out of the history, which keeps no contents, as it was on the line."""
    one = volume.files and Path(volume.source).expanduser().is_file()
    return replace(volume, path=f"{volume.path}/{volume.files[0].name}" if one else volume.path, files=())


def _shipped(volume: Volume) -> Volume:
    """A file or a flat folder of this machine, as files of a secret volume; a file's DST is its path in the container."""
    source = Path(volume.source).expanduser()
    if source.is_file():
        folder, _, name = volume.path.rpartition("/")
        if volume.path.endswith("/"):
            folder, name = volume.path.rstrip("/"), source.name
        if not folder:
            raise OptionError("--volume", f"{volume.source}:{volume.path}", "would hide the container's root folder", f"…:/data/{name}")
        return replace(volume, path=folder, files=(_ship(source, name),))
    if not source.is_dir():
        raise OptionError("--volume", volume.source, "is neither a file nor a folder", f"it is looked for from {Path.cwd()}")
    entries = sorted(item for item in source.iterdir() if item.name != ".ipynb_checkpoints")
    inner = next((item.name for item in entries if item.is_dir()), None)
    if inner is not None:
        raise OptionError(
            "--volume",
            volume.source,
            f"holds a folder ({inner}); a secret volume is flat",
            "ship an archive of it, or use git+https:// or azurefile://",
        )
    if not entries:
        raise OptionError("--volume", volume.source, "is an empty folder", "for an empty folder in the container write empty:")
    return replace(volume, path=volume.path.rstrip("/"), files=tuple(_ship(item, item.name) for item in entries))


def _ship(path: Path, name: str) -> Shipped:
    if not _FILE_NAME.fullmatch(name):
        raise OptionError("--volume", name, "file names in a secret volume have letters, digits, '-', '_' and '.'", "rename the file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OptionError("--volume", str(path), f"cannot be read: {error.strerror}", "check its permissions") from None
    return Shipped(name, len(data), data)
