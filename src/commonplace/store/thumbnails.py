"""Thumbnails for a search, which goes on without them if they are kept elsewhere and cannot be reached."""

from __future__ import annotations

import logging

from commonplace.errors import CollectionError
from commonplace.store.base import Store

__all__ = ["thumbnail_if_reached"]

log = logging.getLogger("commonplace")


def thumbnail_if_reached(store: Store, picture: str) -> bytes | None:
    """Return the JPEG of a picture; None if there is none, or if a store without files here cannot reach it."""
    try:
        return store.thumbnail(picture)
    except CollectionError as problem:
        if store.capabilities.files:
            raise
        log.warning("the picture %s is left out: %s", picture, problem)
        return None
