"""Opening a collection."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from commonplace.collection import Collection
from commonplace.errors import ModelMismatch
from commonplace.places import model_for, place_of, store_for
from commonplace.space import open_space

if TYPE_CHECKING:
    from commonplace.encoders import Model
    from commonplace.generation import Generator

__all__ = ["open_collection"]


def open_collection(
    collection: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | Model | None = None,
    generator: Generator | None = None,
    blobs: str | None = None,
    token: str | None = None,
) -> Collection:
    """Open a collection in a folder or in Milvus, which is created if it does not exist.

    ``collection`` is a folder, ``milvus://HOST:19530/NAME``, or ``milvus-lite:///FOLDER/FILE.db``.

    ``model`` is a bundle's folder, the name of a model that was pulled, ``text=NAME,image=NAME`` (one model for texts
    and another for pictures), or encoders of your own (``commonplace.Model``). Default: the one that the
    collection was last used with, else the shipped one.

    ``generator`` writes the answers (default: the extractive one, which quotes sentences and pictures).

    ``blobs`` is where a collection in Milvus keeps pictures and originals: a folder, or a URL such as
    ``s3://BUCKET/FOLDER``. It is remembered there. A Milvus Lite file has ``FILE.db.blobs`` beside it by default.
    ``token`` is what the server asks for, ``USER:PASSWORD`` or an API key (default: COMMONPLACE_MILVUS_TOKEN).

    Raises CollectionError where the collection cannot be used, ModelMismatch where it was made with another model,
    VersionError where it was made by a newer version, ModelError where the model does not exist or its bundle cannot
    be read.
    """
    place = place_of(collection, blobs=blobs, token=token)
    while True:
        chosen = model_for(place, model)
        space = open_space(chosen)
        try:
            return Collection(store_for(place, space), space, place, generator)
        except ModelMismatch:
            if model_for(place, model) == chosen:
                raise  # else it was migrated between the two look-ups
