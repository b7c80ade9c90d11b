"""Keys: who may do what in which collection. A key is shown once, when it is made; its file holds only its hash."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from commonplace.atomic import atomic_write
from commonplace.errors import CommonplaceError
from commonplace.i18n import _

__all__ = ["VERBS", "Key", "KeyFile", "Verb", "default_key_file"]

Verb = Literal["read", "write", "admin"]
VERBS: tuple[Verb, ...] = ("read", "write", "admin")
PREFIX = "cp_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret.

    ``verbs`` are what it allows: ``read`` (search, ask, get), ``write`` (add, remove, label) and ``admin`` (make and
    remove collections, see paths of this machine). ``collections`` are the names of the collections; None means all.
    ``where`` are conditions on metadata (``team=sales``) that every document must meet for this key: no query can
    widen them.
    """

    name: str
    verbs: frozenset[Verb]
    collections: frozenset[str] | None = None
    where: tuple[str, ...] = ()
    digest: str = field(default="", repr=False)

    def allows(self, verb: Verb, collection: str | None) -> bool:
        """Return whether the key allows a verb, in a collection or (None) on the server as such."""
        if verb not in self.verbs:
            return False
        return collection is None or self.collections is None or collection in self.collections

    def dict(self) -> dict[str, Any]:
        """Return the key as plain JSON values, as its file keeps it."""
        return {
            "name": self.name,
            "verbs": sorted(self.verbs),
            "collections": None if self.collections is None else sorted(self.collections),
            "where": list(self.where),
            "digest": self.digest,
        }


class KeyFile:
    """The keys in a file, which is read again when it changes. Safe for several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._keys: dict[str, Key] = {}

    def keys(self) -> list[Key]:
        """Return the keys by name. Raises CommonplaceError if the file cannot be read."""
        with self._lock:
            self._refresh()
            return [self._keys[name] for name in sorted(self._keys)]

    def match(self, secret: str) -> Key | None:
        """Return the key with this secret; None if there is none."""
        digest = _digest(secret)
        matches = [key for key in self.keys() if hmac.compare_digest(key.digest, digest)]
        return matches[0] if matches else None

    def add(
        self,
        name: str,
        verbs: Iterable[Verb] = ("read",),
        collections: Iterable[str] | None = None,
        where: Iterable[str] = (),
    ) -> str:
        """Make a key and return its secret, which is stored nowhere. Raises CommonplaceError for an invalid name."""
        if not _NAME.fullmatch(name):
            raise CommonplaceError(
                _("{name!r:.80} is no name of a key: use letters, digits, and . _ - between them").format(name=name)
            )
        secret = PREFIX + secrets.token_urlsafe(32)
        with self._lock:
            self._refresh()
            if name in self._keys:
                raise CommonplaceError(
                    _("there is a key {name}: remove it first, or choose another name").format(name=name)
                )
            limits = None if collections is None else frozenset(collections)
            key = Key(name, frozenset(verbs), limits, tuple(where), _digest(secret))
            self._write({**self._keys, name: key})
        return secret

    def remove(self, name: str) -> None:
        """Remove the key with this name. Raises CommonplaceError if there is none."""
        with self._lock:
            self._refresh()
            if name not in self._keys:
                raise CommonplaceError(_("there is no key {name}: see `commonplace keys list`").format(name=name))
            self._write({other: key for other, key in self._keys.items() if other != name})

    def _write(self, keys: dict[str, Key]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"keys": [keys[name].dict() for name in sorted(keys)]}, indent=1) + "\n"
        with atomic_write(self.path, _("the keys")) as file:
            file.write(text.encode())
        os.chmod(self.path, 0o600)
        self._stamp = None

    def _refresh(self) -> None:
        try:
            state = os.stat(self.path)
        except FileNotFoundError:
            self._stamp, self._keys = None, {}
            return
        stamp = (state.st_mtime_ns, state.st_size)
        if stamp == self._stamp:
            return
        try:
            keys = [_key(values) for values in json.loads(self.path.read_text(encoding="utf-8"))["keys"]]
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise CommonplaceError(
                _("the file of keys {path} cannot be read ({problem}): correct or remove it").format(
                    path=self.path, problem=problem
                )
            ) from problem
        self._stamp, self._keys = stamp, {key.name: key for key in keys}


def default_key_file() -> Path:
    """Return the file of keys: COMMONPLACE_KEYS, else ``commonplace/keys.json`` in the user's configuration folder."""
    if path := os.environ.get("COMMONPLACE_KEYS"):
        return Path(path)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "commonplace" / "keys.json"


def _digest(secret: str) -> str:
    # A key is 256 random bits: guessing it is hopeless, so a fast hash without salt is enough.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(values: Mapping[str, Any]) -> Key:
    verbs = frozenset(values["verbs"])
    if not verbs <= frozenset(VERBS):
        raise ValueError(f"unknown verbs {sorted(verbs)}")
    collections = values["collections"]
    limits = None if collections is None else frozenset(map(str, collections))
    return Key(str(values["name"]), verbs, limits, tuple(map(str, values["where"])), str(values["digest"]))
