"""A local Azure Container Instances: a stranger that speaks ARM's JSON on loopback and runs what it is given.

It shares nothing with the rest of the package (design §3): two sides that share a table of states are wrong together.
Start it with ``python -m aci_notebook.local``.
"""

__version__ = "0.1.0"
