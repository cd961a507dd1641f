"""`%aci VERB`: what can be asked about runs, groups and this place, one table. Tables are DataFrames."""

from .door import VERBS, Verbs

__all__ = ["VERBS", "Verbs"]
