"""What holds for every test: settings of the person who runs them stay out, and the local ACI runs processes, not an engine by chance."""

from __future__ import annotations

import os

for name in [name for name in os.environ if name.startswith("ACI_NOTEBOOK_") and name != "ACI_NOTEBOOK_HOME"]:
    del os.environ[name]
os.environ["ACI_NOTEBOOK_LOCAL_RUNTIME"] = "process"
