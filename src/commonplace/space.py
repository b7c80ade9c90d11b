"""The joint space: towers and heads that put words and pictures where they can be compared."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders import DEFAULT_BUNDLE, Bundle, TextTower, find
from commonplace.errors import ModelError
from commonplace.types import ParsedDocument, Picture, Query, ViewVectors, stable_id

__all__ = ["QueryVectors", "Space", "open_space", "query_shortness_of"]

UNKNOWN_LIMIT = 0.2
"""A text whose tokens are unknown to the tower beyond this share has no dense view: its vector would be noise."""
FEW = 6
"""Tokens up to which a question may be short. Letters at random read as short as words do, and are many tokens."""

Known = Callable[[str, Sequence[str]], Mapping[str, NDArray[np.float32]]]


@dataclass(frozen=True, slots=True)
class QueryVectors:
    """A question in the joint space: unit vectors (dim,) of its words and of its picture, None where absent.

    ``visual`` is what the picture looks like, where the bundle tells; it asks the partition of that name.
    ``separate_text``: texts are found by words in a space of their own. Then ``text_crossmodal`` are the words as
    pictures are compared with them, and a picture asks the partition ``text_crossmodal`` for texts.
    ``query_shortness`` in [0, 1] is how short a question in words alone reads, which is taken off its vectors.
    ``notes`` says in words why a vector is absent although the question had such a part.
    """

    text: NDArray[np.float32] | None = None
    image: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()
    visual: NDArray[np.float32] | None = None
    separate_text: bool = False
    text_crossmodal: NDArray[np.float32] | None = None
    query_shortness: float = 0.0

    @property
    def shown(self) -> NDArray[np.float32] | None:
        """The words as pictures are compared with them."""
        return self.text_crossmodal if self.separate_text else self.text


class Space:
    """One joint vector space over a model bundle; with ``words``, texts are found by words in that bundle's space.

    Partitions: ``text`` (text views), ``image`` (pixels) and, where the bundle has such a head, ``visual``: the same
    pixels in a space of their own, for asking with a picture; with ``words`` also ``text_crossmodal``: text views as
    pictures are compared with them. What the bundles have no tower for is absent. Rows of a space with fewer than
    ``dim`` dimensions end in zeros, which changes no cosine.
    """

    def __init__(self, bundle: Bundle, words: Bundle | None = None) -> None:
        self.bundle = bundle
        self.words = words
        self.text = bundle.text if words is None else words.text
        self.image = bundle.image
        if words is not None and (self.text is None or self.image is None):
            lacking, kind = (words, "text") if self.text is None else (bundle, "image")
            raise ModelError(f"the model {lacking.name} has no {kind} tower: choose another for {kind}=")
        self._text_crossmodal: TextTower | None = None if words is None else bundle.text
        kinds = {"text": self.text, "image": self.image, "text_crossmodal": self._text_crossmodal}
        found = [kind for kind, tower in kinds.items() if tower is not None]
        self.partitions = (*found, "visual") if self.image is not None and self.image.visual else tuple(found)
        if words is None:
            self.name, self.dim, self.fingerprint = bundle.name, bundle.dim, bundle.fingerprint
        else:
            self.name = f"text={words.name},image={bundle.name}"
            self.dim = max(words.dim, bundle.dim)
            self.fingerprint = stable_id("text", words.fingerprint, "image", bundle.fingerprint)

    @property
    def spec(self) -> dict[str, Any]:
        """What the bundles know of their scores: ``background`` and ``evidence``, each channel's from the bundle whose
        space it is."""
        if self.words is None:
            return self.bundle.spec
        own, texts = self.bundle.spec, self.words.spec
        channel = "text->text"
        learned = dict(own.get("calibration") or {})
        for name in ("background", "curves"):
            other = (texts.get("calibration") or {}).get(name, {})
            learned[name] = {k: v for k, v in learned.get(name, {}).items() if k != channel}
            learned[name] |= {channel: other[channel]} if channel in other else {}
        background = {k: v for k, v in own.get("score_stats", {}).items() if k != channel}
        background |= {k: v for k, v in texts.get("score_stats", {}).items() if k == channel}
        return {"name": self.name, "score_stats": background, "calibration": learned}

    @property
    def state(self) -> str:
        """Hash of what :meth:`offset` depends on: indexes that hold its values are made anew when it changes."""
        return self.bundle.state if self.words is None else stable_id(self.words.state, self.bundle.state)

    def questions(self, partition: str, other: bool) -> NDArray[np.float32] | None:
        """Return vectors (n, dim) that may ask a partition, with ``other`` those of the other kind, or None."""
        if self.words is None:
            return self.bundle.questions(partition, other)
        bundle = self.words if partition == "text" else self.bundle
        found = bundle.questions("text" if partition == "text_crossmodal" else partition, other)
        return None if found is None else self._wide(found)

    @property
    def pictures(self) -> tuple[str, ...]:
        """The partitions that hold pixels."""
        return tuple(name for name in self.partitions if name in ("image", "visual"))

    @property
    def place(self) -> str:
        """Where the bundles stand, as :func:`open_space` takes it; empty for the one that is shipped, wherever that
        is."""
        if self.words is None:
            return _place(self.bundle)
        return ",".join(
            f"{kind}={_place(one) or one.name}" for kind, one in (("text", self.words), ("image", self.bundle))
        )

    @property
    def measure(self) -> tuple[str, int]:
        """The ``tokenizer.json`` that texts are measured with, and how many of its tokens a chunk may have: as many as
        the text tower reads in one window. Without a text tower those of the bundle that is shipped."""
        tower = self.text or Bundle(DEFAULT_BUNDLE).text
        assert tower is not None  # the shipped one has it
        return str(tower.tokenizer_path), tower.room

    def verify(self) -> None:
        """Compare the bundles' files with their checksums. Raises ModelError that names the damaged one."""
        for bundle in (self.bundle, self.words):
            if bundle is not None:
                bundle.verify()

    def _wide(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return rows (n, any) with zeros up to ``dim``."""
        return rows if rows.shape[1] == self.dim else np.pad(rows, ((0, 0), (0, self.dim - rows.shape[1])))

    def reads(self, text: str) -> bool:
        """Return whether the text tower knows enough of the words in ``text`` to place it."""
        return _reads(self.text, text)

    def encode(self, parsed: Sequence[ParsedDocument], known: Known) -> list[ViewVectors]:
        """Return the vectors of every view of every item, one :class:`ViewVectors` a partition.

        ``known(partition, view hashes)`` returns vectors that need not be computed again; pictures whose vectors it
        returns may be missing from the readings.
        """
        texts: dict[str, str] = {}
        pictures: dict[str, Picture] = {}
        text_rows: list[tuple[str, str]] = []
        crossmodal_rows: list[tuple[str, str]] = []
        image_rows: list[tuple[str, str]] = []
        for reading in parsed:
            for item in reading.items:
                view = item.text_view
                if view is not None:
                    name = stable_id("text", view)
                    for rows, tower in ((text_rows, self.text), (crossmodal_rows, self._text_crossmodal)):
                        if _reads(tower, view):
                            texts[name] = view
                            rows.append((item.id, name))
                if item.picture is not None and self.image is not None:
                    if item.picture in reading.pictures:
                        pictures[item.picture] = reading.pictures[item.picture]
                    image_rows.append((item.id, item.picture))
        found = []
        for partition, tower, of in (
            ("text", self.text, text_rows),
            ("text_crossmodal", self._text_crossmodal, crossmodal_rows),
        ):
            if tower is not None:
                found += self._rows((partition,), of, known, _texts(partition, tower, texts))
        if (image := self.image) is not None:
            found += self._rows(
                self.pictures, image_rows, known, lambda names: image.views([pictures[n].pixels for n in names])
            )
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
                vectors[partition].update(zip(missing, self._wide(encoded), strict=True))
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

    def embed(
        self,
        texts: Sequence[str],
        asked: Literal["text", "image"] = "text",
        role: Literal["query", "document"] = "document",
    ) -> NDArray[np.float32] | None:
        """Return one unit row (n, dim) for each text, as a document or a query, in the space of texts or of pictures.

        None where no tower can.
        """
        separate = self.words is not None and asked == "text"
        bundle = self.words if separate and self.words is not None else self.bundle
        if bundle.text is None:
            return None
        rows = bundle.text.encode(texts, role)
        return self._wide(bundle.without_shortness(rows)[0] if role == "query" else rows)

    def offset(self, partition: str, vectors: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return what each vector's (n, dim) inner product with a question of the other kind is too high by, or None.

        A part of the ranking state, not of the stored vectors: see :meth:`commonplace.encoders.Bundle.hubness`.
        """
        if self.words is None:
            return self.bundle.hubness(partition, vectors)
        kind = {"text_crossmodal": "text", "text": ""}.get(partition, partition)
        return self.bundle.hubness(kind, vectors[:, : self.bundle.dim])

    def text_hubness(self, texts: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return what each text's (n, dim) cosine with a question in words is too high by, shape (n,), or None.

        See :meth:`commonplace.encoders.Bundle.text_hubness`. It is taken off when a question is asked: no index holds
        it.
        """
        bundle = self.words or self.bundle
        return bundle.text_hubness(texts[:, : bundle.dim])

    def means(self, role: Literal["query", "document"]) -> dict[str, NDArray[np.float32]]:
        """Return the mean vector (dim,) of questions or of documents, by kind: ``text`` and ``image``.

        Empty where the bundle knows none, and for two spaces: then there are none to take off.
        """
        found = self.bundle.spec.get("means", {}).get(role, {}) if self.words is None else {}
        return {kind: np.asarray(mean, np.float32) for kind, mean in found.items()}

    def ask(self, question: Query) -> QueryVectors:
        """Return the query's vectors: see :meth:`encode_queries`."""
        return self.encode_queries([question])[0]

    def encode_queries(self, queries: Sequence[Query]) -> list[QueryVectors]:
        """Return the vectors of each query; a part that no tower can read is left out, with a note.

        Each tower encodes all queries in one batch. Raises ModelError where a tower gives what is not a number.
        """
        words = [query.text for query in queries]
        texts = self._text_vectors(self.words or self.bundle, words)
        crossmodal = self._text_vectors(self.bundle, words if self.words is not None else [None] * len(words))
        images = self._image_vectors(queries)
        return [self._query_vectors(*parts) for parts in zip(queries, texts, crossmodal, images, strict=True)]

    def _query_vectors(
        self,
        query: Query,
        text_and_shortness: tuple[NDArray[np.float32] | None, float],
        crossmodal: tuple[NDArray[np.float32] | None, float],
        images: Mapping[str, NDArray[np.float32]],
    ) -> QueryVectors:
        """Return one query's vectors, with a note for each part that has none."""
        text, query_shortness = text_and_shortness
        text_crossmodal = crossmodal[0]
        notes: list[str] = []
        if query.text:
            if self.text is None:
                notes.append(f"the model {self.name} reads no words: they were searched by spelling only")
            elif text is None:
                notes.append(
                    f"the model {self.name} does not know most of these words: they were searched by spelling only "
                    "(other models read other languages: see `commonplace models`)"
                )
            if self.words is not None and text_crossmodal is None:
                notes.append(f"the model {self.bundle.name} does not compare these words with pictures")
        if query.image is not None and self.image is None:
            notes.append(f"the model {self.name} has no image tower: the picture was not searched by")
        for row in (text, text_crossmodal, *images.values()):
            if row is not None and not np.isfinite(row).all():
                raise ModelError(
                    f"the model {self.name} gave a vector that is not numbers for this question: try another"
                )
        return QueryVectors(
            text,
            images.get("image"),
            tuple(notes),
            images.get("visual"),
            self.words is not None,
            text_crossmodal,
            0.0 if images else query_shortness,  # beside a picture words are a change to it, not a kind of thing
        )

    def _text_vectors(
        self, bundle: Bundle, words: Sequence[str | None]
    ) -> list[tuple[NDArray[np.float32] | None, float]]:
        """Return the vector of each query in words and how short it reads; None where the tower cannot read it."""
        vectors: list[tuple[NDArray[np.float32] | None, float]] = [(None, 0.0)] * len(words)
        tower = bundle.text
        if tower is None:
            return vectors
        readable = [(n, text) for n, text in enumerate(words) if text and _reads(tower, text)]
        if readable:
            rows, shortness = bundle.without_shortness(tower.encode([text for _, text in readable], "query"))
            for (n, text), row, short in zip(readable, self._wide(rows), shortness, strict=True):
                vectors[n] = row, query_shortness_of(tower, text, float(short))
        return vectors

    def _image_vectors(self, queries: Sequence[Query]) -> list[dict[str, NDArray[np.float32]]]:
        """Return the vectors of each query's picture, by partition; empty where there is none."""
        vectors: list[dict[str, NDArray[np.float32]]] = [{} for _ in queries]
        pictures = [(n, query.image) for n, query in enumerate(queries) if query.image is not None]
        if self.image is not None and pictures:
            for name, rows in self.image.views([pixels for _, pixels in pictures]).items():
                for (n, _), row in zip(pictures, self._wide(rows), strict=True):
                    vectors[n][name] = row
        return vectors


def query_shortness_of(tower: TextTower, words: str, short: float) -> float:
    """Return how short a question reads, in [0, 1]: as its vector says, ``short``; 0 where it has too many tokens."""
    return short if tower.length(words) <= FEW else 0.0


def open_space(model: str | os.PathLike[str]) -> Space:
    """Return the space of a model: a bundle's folder or name, or ``text=MODEL,image=MODEL``; empty: the shipped one.

    Raises ModelError where there is no such model.
    """
    name = os.fspath(model) or DEFAULT_BUNDLE.name
    if not name.startswith(("text=", "image=")):
        return Space(Bundle(find(name)))
    found = re.fullmatch(r"text=(?P<text>.+),image=(?P<image>.+)|image=(?P<first>.+),text=(?P<second>.+)", name)
    if found is None:
        raise ModelError(f"the model {name!r} is not text=MODEL,image=MODEL: say one for each, once")
    texts, pictures = found["text"] or found["second"], found["image"] or found["first"]
    return Space(Bundle(find(pictures)), Bundle(find(texts)))


def _place(bundle: Bundle) -> str:
    return "" if bundle.folder == DEFAULT_BUNDLE else os.path.abspath(bundle.folder)


def _reads(tower: TextTower | None, text: str) -> bool:
    return tower is not None and tower.unknown_share(text) <= UNKNOWN_LIMIT


def _texts(
    partition: str, tower: TextTower, texts: Mapping[str, str]
) -> Callable[[list[str]], Mapping[str, NDArray[np.float32]]]:
    """Return what encodes texts by name for a partition."""
    return lambda names: {partition: tower.encode([texts[name] for name in names])}
