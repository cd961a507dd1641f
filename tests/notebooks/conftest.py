"""A person's own machine, as the notebook tests need it: a home of its own, an interpreter that an unprivileged user can run."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from persons import REPOSITORY, Home, Person


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One home for all notebooks that only need one; its local ACI is ended afterwards."""
    home = Home(tmp_path_factory.mktemp("home"))
    yield home
    home.end()


@pytest.fixture(scope="session")
def person() -> Iterator[Person]:
    """This user, or `nobody` where the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="aci-person-"))
    folder.chmod(0o755)
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "ACI_NOTEBOOK_HOME": str(folder / "home"),
        **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))},
    }
    if os.geteuid() != 0:
        yield Person((), sys.executable, environ, folder)
    else:
        if shutil.which("setpriv") is None:
            pytest.skip("root without setpriv cannot become an unprivileged user")
        nobody = pwd.getpwnam("nobody")
        become = ("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
        prefix = (*_shown(folder), *become)
        name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        environ["PYTHONPATH"] = f"{folder}/site:{folder}/repository"
        environ["LD_LIBRARY_PATH"] = f"{folder}/python/lib"
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        someone = Person(prefix, f"{folder}/python/bin/{name}", environ, folder)
        first = someone.run("-c", "import aci_notebook, nbclient")
        if first.returncode:
            pytest.skip(f"root may not mount here, so nobody cannot reach this interpreter: {first.stderr.strip()[-200:]}")
        yield someone
    Home(folder / "home").end()
    shutil.rmtree(folder, ignore_errors=True)


def _shown(folder: Path) -> tuple[str, ...]:
    """A command prefix that shows interpreter, packages and repository below the folder, in a mount namespace of its own.

    Their own places may lie below folders that only root can enter, such as /root.
    """
    places = {"python": sys.base_prefix, "site": sysconfig.get_paths()["purelib"], "repository": str(REPOSITORY)}
    script = ["set -e"]
    for name, source in places.items():
        (folder / name).mkdir()
        script.append(f"mount --bind {shlex.quote(source)} {shlex.quote(str(folder / name))}")
    return ("unshare", "--mount", "sh", "-c", "; ".join([*script, 'exec "$@"']), "sh")
