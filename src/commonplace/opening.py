"""Opening a collection."""

from __future__ import annotations

import os

from commonplace.collection import Collection
from commonplace.encoders import Model
from commonplace.errors import CollectionError, ModelMismatch
from commonplace.generation import Generator
from commonplace.indexer import canonical_path
from commonplace.migrate import model_for, store_for
from commonplace.space import open_space

__all__ = ["open_collection"]


def open_collection(
    folder: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | Model | None = None,
    generator: Generator | None = None,
) -> Collection:
    """Open the collection in ``folder``, which is created if it does not exist.

    ``model`` is a bundle's folder, the name of a model that was pulled, ``text=NAME,image=NAME`` (one model for texts
    and another for pictures), or encoders of your own (``commonplace.Model``). Default: the one that the
    collection was last used with, else the shipped one.

    ``generator`` writes the answers (default: the extractive one, which quotes sentences and pictures).

    Raises CollectionError where the folder cannot be used, ModelMismatch where the collection was made with another
    model, VersionError where it was made by a newer version, ModelError where the model does not exist or its bundle
    cannot be read.
    """
    path = canonical_path(folder, CollectionError)
    chosen = model_for(path, model)
    space = open_space(chosen)
    try:
        return Collection(store_for(path, space), space, path, generator)
    except ModelMismatch:
        if model_for(path, model) == chosen:
            raise
    return open_collection(folder, model=model, generator=generator)  # it was migrated between the two look-ups
