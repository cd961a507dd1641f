"""The local ACI, through HTTP."""
