"""What `.aci` on a DataFrame of runs shows: `timeline()`, `cost()`, `table()`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class RunsAccessor:
    """`frame.aci`."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
