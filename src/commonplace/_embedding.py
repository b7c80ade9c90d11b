"""Texts and pictures of the caller as vectors of a collection's space."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ModelError, QueryError
from commonplace.i18n import _
from commonplace.images import rgb_pixels
from commonplace.space import Space

__all__ = ["Role", "embed_images", "embed_texts"]

Role: TypeAlias = Literal["query", "document"]


def embed_texts(
    space: Space, texts: Iterable[str], role: Role, channel: Literal["text", "image"]
) -> NDArray[np.float32]:
    """Return a unit row (n, dim) for each text; see ``commonplace.Collection.embed_texts()``."""
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise QueryError(_("texts is {texts!r:.100}: give a list of strings").format(texts=texts))
    texts = list(texts)
    if not all(isinstance(text, str) for text in texts):
        raise QueryError(_("texts contains what is no string: give a list of strings"))
    if role not in ("query", "document"):
        raise QueryError(_("role is {role!r:.100}: choose query or document").format(role=role))
    if channel not in ("text", "image"):
        raise QueryError(_("channel is {channel!r:.100}: choose text or image").format(channel=channel))
    if not len(texts):
        return np.empty((0, space.dim), np.float32)
    rows = space.embed([text.encode("utf-8", "replace").decode() for text in texts], channel, role)
    if rows is None:
        raise ModelError(_("the model {name} has no text tower: choose another to embed texts").format(name=space.name))
    return _finite(space, rows)


def embed_images(space: Space, images: Iterable[Any]) -> NDArray[np.float32]:
    """Return a unit row (n, dim) for each picture; see ``commonplace.Collection.embed_images()``."""
    if isinstance(images, str | bytes) or not isinstance(images, Iterable):
        raise QueryError(_("images is {images!r:.100}: give a list of pictures").format(images=images))
    images = list(images)
    if space.image is None:
        raise ModelError(
            _("the model {name} has no image tower: choose another to embed pictures").format(name=space.name)
        )
    if not len(images):
        return np.empty((0, space.dim), np.float32)
    rows = space.image.encode([rgb_pixels(image) for image in images])
    return _finite(space, np.pad(rows, ((0, 0), (0, space.dim - rows.shape[1]))))


def _finite(space: Space, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(rows).all():
        raise ModelError(
            _("the model {name} gave values that are not numbers: try another model").format(name=space.name)
        )
    return rows
