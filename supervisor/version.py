"""The version of this marketd; `setup.cfg` reads it from here (importlib.metadata costs 2 MiB)."""

VERSION = "0.1.0"
