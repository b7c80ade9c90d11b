"""The joint space: towers and heads that put words and pictures where they can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders import Bundle
from commonplace.errors import ModelError
from commonplace.types import Picture, Question, Reading, ViewVectors, stable_id

__all__ = ["QuestionVectors", "Space"]

UNKNOWN_LIMIT = 0.2
"""A text whose tokens are unknown to the tower beyond this share has no dense view: its vector would be noise."""

Known = Callable[[str, Sequence[str]], Mapping[str, NDArray[np.float32]]]


@dataclass(frozen=True, slots=True)
class QuestionVectors:
    """A question in the joint space: unit vectors (dim,) of its words and of its picture, None where absent.

    ``look`` is what the picture looks like, where the bundle tells; it asks the partition of that name.
    ``notes`` says in words why a vector is absent although the question had such a part.
    """

    text: NDArray[np.float32] | None = None
    image: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()
    look: NDArray[np.float32] | None = None


class Space:
    """One joint vector space over a model bundle.

    Partitions: ``text`` (text views), ``image`` (pixels) and, where the bundle has such a head, ``look``: the same
    pixels in a space of their own, for asking with a picture.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.partitions = ("text", "image", "look") if bundle.image.looks else ("text", "image")
        self.name = bundle.name
        self.dim = bundle.dim
        self.fingerprint = bundle.fingerprint

    def reads(self, text: str) -> bool:
        """Return whether the text tower knows enough of the words in ``text`` to place it."""
        return self.bundle.text.unknown_share(text) <= UNKNOWN_LIMIT

    def encode(self, readings: Sequence[Reading], known: Known) -> list[ViewVectors]:
        """Return the vectors of every view of every item, one :class:`ViewVectors` a partition.

        ``known(partition, view hashes)`` returns vectors that need not be computed again.
        """
        texts: dict[str, str] = {}
        pictures: dict[str, Picture] = {}
        text_rows: list[tuple[str, str]] = []
        image_rows: list[tuple[str, str]] = []
        for reading in readings:
            for item in reading.items:
                view = item.text_view
                if view is not None:
                    name = stable_id("text", view)
                    if name in texts or self.reads(view):
                        texts[name] = view
                        text_rows.append((item.id, name))
                if item.picture is not None:
                    pictures[item.picture] = reading.pictures[item.picture]
                    image_rows.append((item.id, item.picture))
        found = [
            *self._rows(
                ("text",), text_rows, known, lambda names: {"text": self.bundle.text.encode([texts[n] for n in names])}
            ),
            *self._rows(
                self.partitions[1:],
                image_rows,
                known,
                lambda names: self.bundle.image.views([pictures[n].pixels for n in names]),
            ),
        ]
        return [rows for rows in found if rows.item_ids]

    def _rows(
        self,
        partitions: tuple[str, ...],
        rows: list[tuple[str, str]],
        known: Known,
        encode: Callable[[list[str]], Mapping[str, NDArray[np.float32]]],
    ) -> list[ViewVectors]:
        """Return the rows of partitions that are encoded together; what all of them hold is not encoded again."""
        names = list(dict.fromkeys(name for _, name in rows))
        vectors = {partition: dict(known(partition, names)) for partition in partitions}
        missing = [name for name in names if any(name not in held for held in vectors.values())]
        if missing:
            for partition, encoded in encode(missing).items():
                vectors[partition].update(zip(missing, encoded, strict=True))
        items, views = tuple(item for item, _ in rows), tuple(name for _, name in rows)
        return [
            ViewVectors(
                partition,
                items,
                views,
                np.array([held[name] for name in views], dtype=np.float32).reshape(-1, self.dim),
            )
            for partition, held in vectors.items()
        ]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit row (n, dim) for each text, as a document's text view would have."""
        return self.bundle.text.encode(texts)

    def offset(self, partition: str, vectors: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return what each vector's (n, dim) inner product with a question of the other kind is too high by, or None.

        A part of the ranking state, not of the stored vectors: see :meth:`commonplace.encoders.Bundle.hubness`.
        """
        return self.bundle.hubness(partition, vectors)

    def means(self, role: Literal["query", "document"]) -> dict[str, NDArray[np.float32]]:
        """Return the mean vector (dim,) of questions or of documents, by kind: ``text`` and ``image``.

        Raises nothing where the bundle knows none: then there are none to take off.
        """
        found = self.bundle.spec.get("means", {}).get(role, {})
        return {kind: np.asarray(mean, np.float32) for kind, mean in found.items()}

    def ask(self, question: Question) -> QuestionVectors:
        """Return the question's vectors; words the text tower cannot read are left out, with a note.

        Raises ModelError where a tower gives what is not a number.
        """
        text = None
        views: Mapping[str, NDArray[np.float32]] = {}
        notes: tuple[str, ...] = ()
        if question.text:
            if self.reads(question.text):
                text = self.bundle.text.encode([question.text], "query")[0]
            else:
                notes = (
                    f"the model {self.name} does not know most of these words: they were searched by spelling only",
                )
        if question.image is not None:
            views = {name: rows[0] for name, rows in self.bundle.image.views([question.image]).items()}
        for rows in (text, *views.values()):
            if rows is not None and not np.isfinite(rows).all():
                raise ModelError(
                    f"the model {self.name} gave a vector that is not numbers for this question: try another"
                )
        return QuestionVectors(text, views.get("image"), notes, views.get("look"))
