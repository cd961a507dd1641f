"""Variables on their way in and home: pickles, by value where a class or function lives in the notebook. Lazily imported.

cloudpickle writes what plain pickle cannot: functions, lambdas and classes of the notebook, by value. While it writes, the modules that
the object needs are noted, so that the container can be given the same packages in the same versions before the cell runs. A
module that is a file of the user's own, and no package, travels by value too.
"""

from __future__ import annotations

import io
import pickle
import re
import sys
import tarfile
import zipfile
from collections.abc import Container, Iterable, Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, NewType

from .errors import OptionError
from .spec import Input

CODE = b"cloudpickle.cloudpickle"  # stands in every pickle that carries functions or classes by value; the runner looks for it too
_OURS = {"__main__", "builtins", "cloudpickle", "aci_notebook"}


def encode(name: str, value: Any) -> Input:
    """The variable as it travels. Raises OptionError where it cannot be pickled."""
    import cloudpickle

    needed: set[str] = set()
    by_value: set[str] = set()

    class Noting(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
        def reducer_override(self, obj: Any) -> Any:
            module = obj.__name__ if isinstance(obj, ModuleType) else getattr(obj, "__module__", None)
            needed.update(part for part in (module, type(obj).__module__) if isinstance(part, str))
            if module == "__main__" or module in by_value:
                whole = _not_by_name(obj)
                if whole is not None:
                    return whole
            return super().reducer_override(obj)

    def dump(own: Iterable[str]) -> bytes:
        """The pickle, with these modules by value."""
        buffer = io.BytesIO()
        by_value.update(own)
        try:
            for module in own:
                cloudpickle.register_pickle_by_value(sys.modules[module])
            Noting(buffer, protocol=5).dump(value)
        finally:
            for module in own:
                cloudpickle.unregister_pickle_by_value(sys.modules[module])
        return buffer.getvalue()

    try:
        data = dump(())
        own: set[str] = set()
        # what a module of the user's own brings along may be another one's: until no new one is met
        while new := {module for module in needed if module not in own and module in sys.modules and _is_own(module)}:
            own |= new
            data = dump(own)
    except Exception as error:  # an object may raise anything while it is pickled; the option is what the person can change
        raise OptionError(
            "--input",
            name,
            f"{_type_name(value)} cannot be pickled: {type(error).__name__}: {error}",
            "ship plain data instead, or make it inside the cell",
        ) from error
    return Input(
        name=name,
        data=data,
        size_bytes=len(data),
        type_name=_type_name(value),
        requires=tuple(requirements_of(needed)),
        by_value=CODE in data,
    )


def _not_by_name(value: Any) -> tuple[Any, ...] | None:
    """How to make anew what pickles as a name that the container does not have: cached functions, NewTypes. None for all else."""
    if isinstance(value, type(_distributions)):
        made_of = value.cache_parameters()
        return type(value), (value.__wrapped__, made_of["maxsize"], made_of["typed"], type(value.cache_info())), dict(value.__dict__)
    if isinstance(value, NewType):
        return NewType, (value.__name__, value.__supertype__), dict(value.__dict__)
    return None


def decode(data: bytes) -> Any:
    """The variable that came home. What the cell itself made is unpickled, nothing else."""
    return pickle.loads(data)  # noqa: S301  # the person's own cell made it, in a container that only she started


def unpack(data: bytes, folder: Path) -> dict[str, str]:
    """Writes the files of a gzipped tar below the folder; what could not be written, and why. Nothing is written outside it."""
    left: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for member in archive:
            try:
                archive.extract(member, folder, filter="data")
            except (tarfile.LinkOutsideDestinationError, tarfile.AbsoluteLinkError):
                left[member.name] = f"it is a link to {member.linkname}, out of the folder"
            except tarfile.FilterError as error:
                left[member.name] = str(error)
            except OSError as error:
                left[member.name] = error.strerror or str(error)
    return left


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__.split('.')[0]}.{kind.__name__}"


def _is_own(module: str) -> bool:
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in _distributions() or top in _OURS:
        return False
    return getattr(sys.modules.get(module), "__file__", None) is not None


@lru_cache(maxsize=1)
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def requirements_of(modules: Iterable[str]) -> list[str]:
    """`package==version` for each module that a package installed here provides; the standard library needs none."""
    found: dict[str, None] = {}
    for top in sorted({module.partition(".")[0] for module in modules}):
        if top in sys.stdlib_module_names or top in _OURS:
            continue
        for package in _distributions().get(top, [])[:1]:
            version = metadata.version(package).partition("+")[0]
            found[f"{package}=={version}"] = None
    return list(found)


def requirements_of_imports(code: str, asked: Container[str] = ()) -> list[str]:
    """`package==version` for the third-party modules that a cell imports and this kernel has from a package index.

    Without the packages that were asked for; and with numpy where one of the others is built on it: a frame is pickled as
    arrays of numpy, and those of numpy 2 cannot be read by numpy 1.
    """
    from .names import imports

    found = [need for need in requirements_of(imports(code)) if _name(need) not in asked and not _is_local(_name(need))]
    if "numpy" not in asked and any(_is_built_on_numpy(_name(need)) for need in found) and not _is_local("numpy"):
        found += [need for need in requirements_of(["numpy"]) if need not in found]
    return found


def _name(requirement: str) -> str:
    return requirement.partition("==")[0].lower().replace("_", "-")


def _is_built_on_numpy(package: str) -> bool:
    return any(re.match(r"numpy\b(?![-.])", need) and not re.search(r"\bextra\s*==", need) for need in metadata.requires(package) or ())


def _is_local(package: str) -> bool:
    """Installed from a folder of this machine: no index has it in this version."""
    text = metadata.distribution(package).read_text("direct_url.json")
    return text is not None and '"file:' in text


@lru_cache(maxsize=1)
def cloudpickle_zip() -> bytes:
    """cloudpickle as a zip that can stand on sys.path: a bare image then needs nothing to take functions and send classes home."""
    import cloudpickle

    folder = Path(cloudpickle.__file__).parent
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.glob("*.py")):
            archive.write(path, f"cloudpickle/{path.name}")
    return buffer.getvalue()
