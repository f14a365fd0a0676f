"""Tokens as venues make them, with a signature that nobody checks."""

import base64
import json
from typing import Any


def jwt(claims: Any) -> str:
    """Return a JWT with these claims."""
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


def jwt_until(expires_us: int, *, mark: str = "") -> str:
    """Return a JWT that expires then; `mark` tells two of the same expiry apart."""
    return jwt({"exp": expires_us // 1_000_000, "mark": mark})
