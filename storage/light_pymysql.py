"""PyMySQL without `cryptography`, until a server asks for what only that can do.

Only `sha256_password` and `caching_sha2_password` (MySQL 8) need it, and only without TLS. PyMySQL
imports it in any case, and it costs 7 MiB of the 40 that the whole daemon may take.
"""

import importlib
import sys

CRYPTOGRAPHY = "cryptography"


def import_lightly() -> None:
    """Import PyMySQL; its one function that needs `cryptography` loads that when it is called."""
    if "pymysql" in sys.modules:
        return
    hidden = sys.modules.pop(CRYPTOGRAPHY, None)
    sys.modules[CRYPTOGRAPHY] = None  # type: ignore[assignment]  # documented: importing it fails
    try:
        auth = importlib.import_module("pymysql._auth")
    finally:
        del sys.modules[CRYPTOGRAPHY]
        if hidden is not None:
            sys.modules[CRYPTOGRAPHY] = hidden
    vars(auth)["sha2_rsa_encrypt"] = _encrypt_with_cryptography


def _encrypt_with_cryptography(password: bytes, salt: bytes, public_key: bytes) -> bytes:
    """Do what PyMySQL's own function of this place does, once it has found `cryptography`."""
    auth = importlib.reload(sys.modules["pymysql._auth"])
    encrypted: bytes = auth.sha2_rsa_encrypt(password, salt, public_key)
    return encrypted


import_lightly()

import pymysql  # noqa: E402  # after it has been imported lightly

__all__ = ["pymysql"]
