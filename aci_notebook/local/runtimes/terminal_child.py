"""Makes the terminal named in its first argument its own, then becomes the program named in the second."""

from __future__ import annotations

import os
import sys


def main(terminal: str, program: str) -> None:
    """Never returns, unless the program cannot be started: then it says so on the terminal and exits with 126."""
    tty = os.open(terminal, os.O_RDWR)  # a session leader's first terminal becomes its controlling one
    for stream in (0, 1, 2):
        os.dup2(tty, stream)
    try:
        os.execvp(program, [program])  # noqa: S606 - exec is what was asked for
    except OSError as error:
        os.write(2, f"{program}: {error.strerror}\r\n".encode())
    os._exit(126)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
