"""The type of the `until` fixture, in a module whose name no other folder has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Until = Callable[[Callable[[], Any], float], Any]
