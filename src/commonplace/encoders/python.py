"""Models made of the user's own Python objects, without files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders.base import LARGEST_DIM, BaseModel, Encoder, Role, TextEncoder, Tokens, digest, unit
from commonplace.encoders.bundle import DEFAULT_BUNDLE, Bundle
from commonplace.errors import ModelError
from commonplace.i18n import _

__all__ = ["PLACE", "Model", "PythonEncoder"]

BATCH = 64  # most views in one call
PLACE = "python:"
"""The prefix of ``place`` for a model without a folder; the model's name follows."""


class Model(BaseModel):
    """A model of the user's own encoders, which share one space; a collection can be opened with it.

    ``text`` encodes texts (``str``), ``image`` pictures (RGB ``uint8``, (height, width, 3)); one of them may be left
    out. Each is an object with ``encode(views, role)``, ``dim`` and ``fingerprint`` (see ``Encoder``). If there are
    two, texts are compared with pictures, so both need the same ``dim``. Rows need not have unit length. A text
    encoder may also have ``max_tokens`` (the longest chunk in tokens of the shipped tokenizer, default 256) and
    ``can_encode(text)`` (whether it knows the language). Encoders are called from several threads.

        class Words:
            dim, fingerprint = 512, "my-model-1"
            def encode(self, texts, role="document"):
                return my_model.embed(list(texts))  # (n, 512)

        with commonplace.open("notes.kb", model=commonplace.Model(text=Words(), name="my-model")) as kb: ...

    The scores of such a model were not measured on labelled data. Their calibration is estimated from neutral texts and
    drawn pictures, once for each object. A collection stores the fingerprints and refuses other encoders. Raises
    ModelError for an object that is not an encoder.
    """

    def __init__(self, *, text: Encoder | None = None, image: Encoder | None = None, name: str = "python") -> None:
        if text is None and image is None:
            raise ModelError(_("a model needs an encoder: give text=, image=, or both"))
        if not name or not name.isprintable():
            raise ModelError(_("{name!r} is not a valid name for a model: give a printable name").format(name=name))
        self.name = name
        self.text: TextEncoder | None = (
            None if text is None else PythonEncoder(text, _("text encoder of {name}").format(name=name))
        )
        self.image: Encoder | None = (
            None if image is None else PythonEncoder(image, _("image encoder of {name}").format(name=name))
        )
        dims = {encoder.dim for encoder in self.encoders.values()}
        if len(dims) > 1:
            raise ModelError(
                _(
                    "the encoders of {name} give {dims} dimensions: texts are compared "
                    "with pictures, so give encoders of one space"
                ).format(name=name, dims=_(" and ").join(map(str, sorted(dims))))
            )
        (self.dim,) = dims

    @cached_property
    def _estimates(self) -> tuple[dict[str, Any], dict[str, NDArray[np.float16]]]:
        from commonplace.encoders.default_calibration import describe

        return describe(self)

    @cached_property
    def spec(self) -> dict[str, Any]:  # type: ignore[override]
        """The entries of ``bundle.json`` for this model, with an estimated calibration."""
        return {"name": self.name, "dim": self.dim, **self._estimates[0]}

    @property
    def fingerprint(self) -> str:
        """Hash of the encoders' names, fingerprints and dimensions."""
        return digest([[name, encoder.fingerprint, encoder.dim] for name, encoder in self.encoders.items()])

    @property
    def place(self) -> str:
        """PLACE and the model's name: a collection cannot find Python objects by itself."""
        return PLACE + self.name

    def neutral(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Return the vectors (n, dim) of neutral queries and of neutral texts; None without a text encoder."""
        arrays = self._estimates[1]
        if "texts" not in arrays:
            return None
        queries = np.concatenate([arrays["image"], arrays["questions"]])
        return queries.astype(np.float32), arrays["texts"].astype(np.float32)


class PythonEncoder:
    """Wraps a Python object as a ``TextEncoder``: checks and normalises its rows, and turns its errors into ModelError.

    ``label`` names the object in messages. Raises ModelError if the object is not an encoder.
    """

    def __init__(self, encoder: Encoder, label: str) -> None:
        self._encoder = encoder
        self._label = label
        try:
            self.dim = int(encoder.dim)
            self.fingerprint = str(encoder.fingerprint)
        except (AttributeError, TypeError, ValueError) as problem:
            raise ModelError(
                _("the {label} lacks dim or fingerprint ({problem}): see commonplace.encoders.Encoder").format(
                    label=label, problem=_reason(problem)
                )
            ) from problem
        if not callable(getattr(encoder, "encode", None)) or not self.fingerprint or not 1 <= self.dim <= LARGEST_DIM:
            raise ModelError(
                _(
                    "the {label} is not an encoder: it needs encode(views, role), a fingerprint, and a dim of 1 to "
                    "{largest_dim:,}"
                ).format(label=label, largest_dim=LARGEST_DIM)
            )

    def encode(self, views: Sequence[Any], role: Role = "document") -> NDArray[np.float32]:
        """Return one unit row for each view, shape (n, dim). Raises ModelError if the object fails or its rows have
        another shape."""
        batches = [self._batch(views[i : i + BATCH], role) for i in range(0, len(views), BATCH)]
        return np.concatenate(batches) if batches else np.empty((0, self.dim), np.float32)

    def _batch(self, views: Sequence[Any], role: Role) -> NDArray[np.float32]:
        try:
            rows = np.asarray(self._encoder.encode(views, role), np.float32)
        except Exception as problem:  # the user's code may raise anything
            raise ModelError(
                _("the {label} failed ({problem}): correct it").format(label=self._label, problem=_reason(problem))
            ) from problem
        if rows.shape != (len(views), self.dim):
            raise ModelError(
                _(
                    "the {label} gave an array of shape {shape} for {count} views: it must return one row "
                    "of {dim} dimensions for each view"
                ).format(label=self._label, shape=rows.shape, count=len(views), dim=self.dim)
            )
        return unit(rows)

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer of the shipped model, which measures texts when they are divided into chunks."""
        return _shipped().tokenizer_path

    @property
    def room(self) -> int:
        """The most tokens of that tokenizer in a chunk."""
        limit = getattr(self._encoder, "max_tokens", None)
        return max(int(limit), 16) if isinstance(limit, int) else _shipped().room

    def can_encode(self, text: str) -> bool:
        """Return the object's ``can_encode(text)``; True if it has no such method."""
        can_encode = getattr(self._encoder, "can_encode", None)
        return bool(can_encode(text)) if can_encode is not None else True

    def unknown_share(self, text: str) -> float:
        """Return 0.0 for a text that can be encoded, else 1.0."""
        return 0.0 if self.can_encode(text) else 1.0

    def length(self, text: str) -> int:
        """Return the number of tokens in ``text``, by the shipped tokenizer."""
        return _shipped().length(text)

    def tokens(self, texts: Sequence[str], role: Role = "document") -> list[Tokens]:
        """Raise ModelError: the object has no token vectors."""
        raise ModelError(_("the {label} has no token vectors: choose another reranker").format(label=self._label))


@cache
def _shipped() -> TextEncoder:
    tower = Bundle(DEFAULT_BUNDLE).text
    assert tower is not None  # the shipped model has one
    return tower


def _reason(problem: Exception) -> str:
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0][:200]}" if lines else type(problem).__name__
