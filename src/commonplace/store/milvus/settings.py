"""Settings of a Milvus store from flags, the environment and a file, in that order."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from commonplace.errors import CollectionError
from commonplace.i18n import N_, _
from commonplace.settings import FILE, SettingsTable

__all__ = ["StoreSettings"]

TOKEN = "COMMONPLACE_MILVUS_TOKEN"
BLOBS = "COMMONPLACE_BLOBS"
LONGEST = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The settings in the table ``[milvus]`` of ``commonplace.toml``.

    ``token`` is what the server asks for: ``USER:PASSWORD`` or an API key. ``tls`` encrypts the connection. ``ca`` is
    the file of the certificates that the server's is checked with, and implies ``tls``. ``timeout`` is in seconds.
    ``blobs`` is the URL of pictures and originals.

    The environment variable of a setting is ``COMMONPLACE_MILVUS_`` and its name in capitals; that of ``blobs`` is
    ``COMMONPLACE_BLOBS``. The token is refused in the file. A file may name only blobs on this machine: files travel
    with folders, and must not decide where pictures are sent.
    """

    token: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: str | None = None
    timeout: float = 10.0
    blobs: str | None = field(default=None, repr=False)  # it may contain a password

    @classmethod
    def read(
        cls,
        flags: Mapping[str, Any],
        environment: Mapping[str, str] = os.environ,
        folders: Sequence[Path] = (Path(),),
    ) -> StoreSettings:
        """Return the settings. Flags that are not None come first, then the environment, then the first folder's file.

        Raises CollectionError for a file that cannot be read or names blobs on another machine, an unknown setting, or
        an unusable value.
        """
        values, from_files = _TABLE.read(flags, environment, folders)
        settings = replace(cls(), **values)
        for name in ("token", "blobs"):
            if not isinstance(getattr(settings, name), str | None):
                raise CollectionError(
                    _("{name} is of the type {type}: give a string").format(
                        name=name, type=type(getattr(settings, name)).__name__
                    )
                )
        if not 0 < settings.timeout <= LONGEST or math.isnan(settings.timeout):
            raise CollectionError(
                _("timeout is {timeout}: choose more than 0 and at most {longest:g} seconds").format(
                    timeout=settings.timeout, longest=LONGEST
                )
            )
        confirmed = flags.get("blobs") or environment.get(BLOBS)
        if not confirmed and urlsplit(from_files.get("blobs", "")).scheme not in ("", "file"):
            raise CollectionError(
                _(
                    "a {file} here names blobs that are not files on this machine: confirm them with --blobs or "
                    "{blobs}, "
                    "or remove them from the file"
                ).format(file=FILE, blobs=BLOBS)
            )
        return settings


_KINDS = {setting.name: str(setting.type).removesuffix(" | None") for setting in fields(StoreSettings)}
_TABLE = SettingsTable(
    name="milvus",
    kinds=_KINDS,
    variables={name: BLOBS if name == "blobs" else f"COMMONPLACE_MILVUS_{name.upper()}" for name in _KINDS},
    error=CollectionError,
    secrets={"token": (N_("a token"), TOKEN)},
)
