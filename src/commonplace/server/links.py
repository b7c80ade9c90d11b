"""Signed links: addresses that show one picture or file for a while without a key, for what cannot send a header."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from urllib.parse import quote

__all__ = ["Signer", "identifier", "segment"]

_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_MARK = "~"


class Signer:
    """Signs paths with a secret of this server; a link ends with ``?expires=...&signature=...``."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def link(self, path: str, seconds: int) -> str:
        """Return the path (percent-encoded, as in the address) with a signature that holds for so many seconds."""
        # Full minutes only: the same picture in two answers then has the same address, which a browser keeps.
        expires = (int(time.time()) // 60 + 1) * 60 + seconds
        return f"{path}?expires={expires}&signature={self._signature(path, expires)}"

    def is_valid(self, path: str, expires: str | None, signature: str | None) -> bool:
        """Return whether a signature is for this path and has not expired."""
        if not expires or not signature or not re.fullmatch(r"[0-9]{1,12}", expires) or int(expires) < time.time():
            return False
        return hmac.compare_digest(self._signature(path, int(expires)).encode(), signature.encode("utf-8", "replace"))

    def _signature(self, path: str, expires: int) -> str:
        digest = hmac.new(self._secret, f"{expires} {path}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:18]).decode()


def segment(id_: str) -> str:
    """Return an id as one segment of a path; what is no plain word is encoded, because an id may contain slashes."""
    if _PLAIN.fullmatch(id_) and id_ not in (".", ".."):
        return quote(id_)
    return _MARK + base64.urlsafe_b64encode(id_.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def identifier(segment_: str) -> str:
    """Return the id of a segment of a path; what is not encoded stands for itself."""
    if not segment_.startswith(_MARK):
        return segment_
    encoded = segment_[1:]
    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode("utf-8", "surrogatepass")
    except ValueError:
        return segment_
