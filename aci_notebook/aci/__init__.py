"""The one room with the Azure SDK: plans become its models, its models become snapshots, its exceptions become ours.

SDK models print secrets in `str()` and `as_dict()`, so none leaves this package. The same client speaks to management.azure.com and to the
local ACI; an `Endpoint` says where, with which credential, and whether it is loopback.
"""

from .backend import AZURE_URL, AciBackend
from .client import Endpoint

__all__ = ["AZURE_URL", "AciBackend", "Endpoint"]
