"""The command line: `python -m aci_notebook.local`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

import platformdirs

from .pace import RECORDED, AtOnce
from .runtimes.engine_client import NoEngine
from .server import FolderTaken, Settings, serve

EXIT_FOLDER_TAKEN = 3
EXIT_NO_ENGINE = 4
DESCRIPTION = """\
A local Azure Container Instances: answers ARM's requests on loopback and runs container groups on this machine.
It prints one line with its URL, then serves until it is ended (SIGTERM, Ctrl-C) or has been idle for long enough.
"""
EPILOG = """\
The state folder holds the token that every request must carry (file `token`), the address (`server.json`) and the
groups. One server at a time: a second one on the same folder exits with code 3. A server that is killed hard leaves its
containers running; the next one on the folder takes them up, and without one they end after the idle timeout.
Contents of secret volumes and secure variables lie in the state folder, readable by its owner alone, for as long as
their group lives. The engine runtime takes the engine that DOCKER_HOST names, else the first
that answers of Docker's and Podman's usual sockets; without one the server exits with code 4.
The simulated runtime runs scripts instead of processes (see aci_notebook/local/runtimes).
"""


def default_state_dir() -> Path:
    """`$ACI_NOTEBOOK_HOME/local`, else the system's folder for user data."""
    home = os.environ.get("ACI_NOTEBOOK_HOME")
    return (Path(home) if home else platformdirs.user_data_path("aci-notebook")) / "local"


def parse(arguments: list[str]) -> Settings:
    """The settings of a command line; exits with a usage message if it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m aci_notebook.local",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    parser.add_argument(
        "--runtime",
        choices=("auto", "simulated", "process", "engine"),
        default="auto",
        help="what runs containers: this machine's processes, scripts, or a container engine (auto: the best there is)",
    )
    parser.add_argument("--any-token", action="store_true", help="accept any bearer token that is not empty")
    parser.add_argument("--state-dir", type=Path, help="folder of this server (default: %(default)s)")
    parser.add_argument(
        "--idle-timeout",
        type=float,
        default=900,
        metavar="SECONDS",
        help="end after so long without a living group and without a request; 0 is never (default: 900)",
    )
    parser.add_argument("--lag", choices=("none", "recorded"), default="none", help="recorded: take the real service's time for things")
    parser.add_argument(
        "--image-cache",
        type=Path,
        help="folder for the Python environment behind `python` images; servers may share one (default: STATE/images)",
    )
    parser.add_argument(
        "--storage",
        type=Path,
        help="folder that stands for storage accounts: azureFile shares are ACCOUNT/SHARE below it (default: STATE/storage)",
    )
    parser.set_defaults(state_dir=default_state_dir())
    given = parser.parse_args(arguments)
    state_dir = given.state_dir.resolve()
    return Settings(
        state_dir=state_dir,
        image_cache=(given.image_cache or state_dir / "images").resolve(),
        storage=(given.storage or state_dir / "storage").resolve(),
        port=given.port,
        runtime=given.runtime,
        any_token=given.any_token,
        idle_timeout_s=max(0.0, given.idle_timeout),
        lag=RECORDED if given.lag == "recorded" else AtOnce(),
    )


def main(arguments: list[str] | None = None) -> int:
    """Serve; the exit code."""
    settings = parse(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    try:
        serve(settings)
    except FolderTaken as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FOLDER_TAKEN
    except NoEngine as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_NO_ENGINE
    return 0


if __name__ == "__main__":
    sys.exit(main())
