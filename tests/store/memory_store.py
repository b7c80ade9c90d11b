"""A second store, made of dictionaries and NumPy arrays. It shows how to implement the protocol without a database.

It is eventually consistent: writes become visible after ``MemoryStore.settle()``. It has no full-text search.
"""

from __future__ import annotations

import operator
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import CollectionError
from commonplace.metadata import MetadataType, padded
from commonplace.store import Capabilities, RankedList, Sample, signature_of
from commonplace.store.base import Offset
from commonplace.types import Condition, Document, Filter, Item, ParsedDocument, Picture, Status, ViewVectors

__all__ = ["MemoryStore"]


@dataclass(slots=True)
class _State:
    documents: dict[str, Document] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)  # in the order in which they were added
    views: dict[str, dict[str, dict[str, NDArray[np.float32]]]] = field(default_factory=dict)
    """Vectors by partition, item and view."""
    pictures: dict[str, Picture] = field(default_factory=dict)
    originals: dict[str, bytes] = field(default_factory=dict)  # contents of records, by document
    settings: dict[str, str] = field(default_factory=dict)
    labels: dict[tuple[str, str, str], bool] = field(default_factory=dict)

    def remove(self, id_: str) -> int:
        if self.documents.pop(id_, None) is None:
            return 0
        self.originals.pop(id_, None)
        for item in [item for item in self.items.values() if item.document.id == id_]:
            del self.items[item.id]
            for views in self.views.values():
                views.pop(item.id, None)
        shown = {item.picture for item in self.items.values()}
        self.pictures = {name: picture for name, picture in self.pictures.items() if name in shown}
        return 1

    def copy(self) -> _State:
        views = {partition: dict(views) for partition, views in self.views.items()}
        return replace(self, **{**{name: dict(getattr(self, name)) for name in self.__slots__}, "views": views})


class MemoryStore:
    """See ``commonplace.store.Store``. ``dim`` is the length of vectors, ``offset`` gives their hubness."""

    capabilities = Capabilities(
        lexical=False,
        paths=False,
        spelling=False,
        early_fusion=False,
        maintenance=False,
        files=False,
        guards_model=False,
    )
    maintenance = None

    def __init__(self, dim: int, offset: Offset = lambda partition, vectors: None) -> None:
        self._dim, self._offset = dim, offset
        self._lock = threading.Lock()
        self._written = _State()
        self._seen: _State | None = _State()

    @property
    def _state(self) -> _State:
        """The data that reads see."""
        if self._seen is None:
            raise CollectionError("the store was closed: make another")
        return self._seen

    def settle(self) -> None:
        """Make all writes visible."""
        with self._lock:
            self._seen = self._written.copy()

    def close(self) -> None:
        self._seen = None

    # --- writing ---------------------------------------------------------------------------------------------

    def add(
        self, parsed: Sequence[ParsedDocument], vectors: Sequence[ViewVectors], replaces: Sequence[str] = ()
    ) -> None:
        for rows in vectors:
            if rows.vectors.shape != (len(rows.item_ids), self._dim) or not np.isfinite(rows.vectors).all():
                raise CollectionError("vectors of the wrong length, or that are no numbers: nothing was stored")
        assert self._state is not None
        with self._lock:
            state = self._written
            for id_ in (*replaces, *(document.document.id for document in parsed)):
                state.remove(id_)
            for document in parsed:
                state.documents[document.document.id] = document.document
                state.items |= {item.id: item for item in document.items}
                state.pictures |= document.pictures
                if document.original is not None:
                    state.originals[document.document.id] = document.original.data
            for rows in vectors:
                views = state.views.setdefault(rows.partition, {})
                for item, view, row in zip(rows.item_ids, rows.views, rows.vectors, strict=True):
                    views[item] = {**views.get(item, {}), view: row}

    def update(self, documents: Sequence[Document]) -> None:
        with self._lock:
            for document in documents:
                before = self._written.documents.get(document.id, document)
                new = replace(before, status=document.status, error=document.error, stamp=document.stamp)
                self._written.documents[new.id] = new
                for item in self._written.items.values():
                    if item.document.id == new.id:
                        self._written.items[item.id] = replace(item, document=new)

    def remove(self, ids: Iterable[str]) -> int:
        with self._lock:
            return sum(self._written.remove(id_) for id_ in list(ids))

    def set_setting(self, name: str, value: str | None) -> None:
        with self._lock:
            self._written.settings.pop(name, None)
            if value is not None:
                self._written.settings[name] = value

    def label(self, text: str, image: str, item: str, good: bool) -> None:
        with self._lock:
            self._written.labels[text, image, item] = good

    # --- reading ---------------------------------------------------------------------------------------------

    def setting(self, name: str) -> str | None:
        return self._state.settings.get(name)

    def settings(self) -> dict[str, str]:
        return dict(self._state.settings)

    def labels(self) -> list[tuple[str, str, str, bool]]:
        return [(*key, good) for key, good in self._state.labels.items() if key[2] in self._state.items]

    def documents(
        self,
        *,
        ids: Sequence[str] | None = None,
        below: str | None = None,
        content_hash: str | None = None,
        status: Status | None = None,
        where: Filter | None = None,
    ) -> Iterator[Document]:
        state = self._state
        allowed = None if not where else {item.document.id for item in state.items.values() if _allows(where, item)}
        inside = None if below is None else below.rstrip(os.sep)
        for document in sorted(state.documents.values(), key=lambda document: (document.path, document.id)):
            if (
                (ids is None or document.id in ids)
                and (inside is None or document.path == inside or document.path.startswith(inside + os.sep))
                and content_hash in (None, document.content_hash)
                and status in (None, document.status)
                and (allowed is None or document.id in allowed)
            ):
                yield document

    def items(self, ids: Sequence[str]) -> dict[str, Item]:
        return {id_: self._state.items[id_] for id_ in ids if id_ in self._state.items}

    def items_of(self, document: str) -> list[Item]:
        return [item for item in self._state.items.values() if item.document.id == document]

    def pictures(self, ids: Iterable[str]) -> list[str]:
        documents = set(ids)
        shown = {mine: set[str | None]() for mine in (True, False)}
        for item in self._state.items.values():
            shown[item.document.id in documents].add(item.picture)
        return sorted(name for name in shown[True] - shown[False] if name is not None)

    def thumbnail(self, picture: str) -> bytes | None:
        kept = self._state.pictures.get(picture)
        return None if kept is None else kept.thumbnail

    def signatures(self, pictures: Sequence[str]) -> dict[str, bytes]:
        kept = self._state.pictures
        return {name: signature_of(kept[name].thumbnail) for name in pictures if name in kept}

    def picture_sizes(self, pictures: Sequence[str]) -> dict[str, tuple[int, int]]:
        kept = self._state.pictures
        return {name: (kept[name].width, kept[name].height) for name in pictures if name in kept}

    def metadata_keys(self) -> dict[str, int]:
        documents = self._state.documents.values()
        keys = Counter(
            key for document in documents for key in {row[0] for row in document.metadata.rows()} - {"title"}
        )
        titled = sum(bool(document.title) for document in documents)
        return dict((keys + Counter(title=titled)).most_common())

    def views(self, ids: Sequence[str]) -> dict[str, frozenset[str]]:
        state = self._state
        return {
            id_: frozenset(partition for partition, views in state.views.items() if id_ in views)
            for id_ in ids
            if id_ in state.items
        }

    def views_of(self, ids: Sequence[str]) -> list[ViewVectors]:
        result = []
        for partition, views in sorted(self._state.views.items()):
            rows = [(id_, view) for id_ in sorted(set(ids)) for view in sorted(views.get(id_, {}))]
            if rows:
                items, hashes = zip(*rows, strict=True)
                result.append(ViewVectors(partition, items, hashes, np.array([views[id_][view] for id_, view in rows])))
        return result

    def stored_vectors(self, partition: str, views: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
        held = {view: row for rows in self._state.views.get(partition, {}).values() for view, row in rows.items()}
        return {view: held[view] for view in views if view in held}

    def count(self, where: Filter | None = None) -> int:
        return sum(_allows(where or Filter(), item) for item in self._state.items.values())

    def original(self, document: str) -> bytes | None:
        return self._state.originals.get(document)

    def metadata_types(self, keys: Iterable[str], *, without: Iterable[str] = ()) -> dict[str, MetadataType]:
        left_out = set(without)
        documents = [document for document in self._state.documents.values() if document.id not in left_out]
        types = {key: type_ for document in documents for key, type_, _ in document.metadata.rows()}
        return {key: types[key] for key in keys if key in types}

    def counts(self, *names: str) -> dict[str, dict[str, int]]:
        state = self._state
        every = {
            "documents": Counter(document.status for document in state.documents.values()),
            "items": Counter(item.modality for item in state.items.values()),
            "vectors": {name: sum(map(len, views.values())) for name, views in state.views.items() if views},
        }
        return {name: counts for name, counts in every.items() if not names or name in names}

    # --- searching -------------------------------------------------------------------------------------------

    def search(
        self, partition: str, query: NDArray[np.float32], k: int, where: Filter, *, cross_modal: bool = False
    ) -> RankedList:
        state = self._state
        ids = [id_ for id_ in state.views.get(partition, {}) if _allows(where, state.items[id_])]
        scores = self._scores(state, partition, query, ids, cross_modal).astype(np.float32)
        best = sorted(range(len(ids)), key=lambda n: (-scores[n], ids[n]))[:k]
        return RankedList(tuple(ids[n] for n in best), scores[best])

    def score(
        self, partition: str, query: NDArray[np.float32], ids: Sequence[str], *, cross_modal: bool = False
    ) -> NDArray[np.float64]:
        return self._scores(self._state, partition, query, ids, cross_modal)

    def _scores(
        self, state: _State, partition: str, query: NDArray[np.float32], ids: Sequence[str], cross_modal: bool
    ) -> NDArray[np.float64]:
        views = state.views.get(partition, {})
        scores = np.full(len(ids), np.nan)
        for n, id_ in enumerate(ids):
            if id_ in views:
                rows = np.array(list(views[id_].values()))
                offsets = self._offset(partition, rows) if cross_modal else None
                scores[n] = (rows @ query - (0 if offsets is None else offsets)).max()
        return scores

    def vectors(self, partition: str, ids: Sequence[str]) -> NDArray[np.float32]:
        views = self._state.views.get(partition, {})
        rows = [next(iter(views[id_].values())) if id_ in views else np.zeros(self._dim, np.float32) for id_ in ids]
        return np.array(rows, np.float32).reshape(-1, self._dim)

    def sample(self, partition: str, n: int) -> Sample:
        rows = [row for views in self._state.views.get(partition, {}).values() for row in views.values()]
        at = np.linspace(0, len(rows) - 1, min(len(rows), n)).astype(int) if rows else []
        vectors = np.array([rows[place] for place in at], np.float32).reshape(-1, self._dim)
        return Sample(vectors, self._offset(partition, vectors), len(rows))

    def snapshot(self) -> AbstractContextManager[None]:
        raise NotImplementedError("capabilities.snapshots is False")

    def search_text(self, text: str, k: int, where: Filter) -> RankedList:
        raise NotImplementedError("capabilities.lexical is False")

    def search_paths(self, text: str, k: int, where: Filter) -> RankedList:
        raise NotImplementedError("capabilities.paths is False")

    def occurrences(self, phrases: Sequence[str]) -> dict[str, int]:
        raise NotImplementedError("capabilities.spelling is False")

    def search_fused(self, query: NDArray[np.float32], k: int, where: Filter, alpha: float | None) -> RankedList:
        raise NotImplementedError("capabilities.early_fusion is False")

    def score_fused(
        self, query: NDArray[np.float32], ids: Sequence[str], *, alpha: float | None
    ) -> NDArray[np.float64]:
        raise NotImplementedError("capabilities.early_fusion is False")

    def sample_fused(self, n: int, *, alpha: float | None) -> Sample:
        raise NotImplementedError("capabilities.early_fusion is False")


def _allows(where: Filter, item: Item) -> bool:
    document = item.document
    if where.modality not in (None, item.modality):
        return False
    conditions = [*where.metadata]
    for date, comparison in ((where.after, ">="), (where.before, "<")):
        if date is not None:
            conditions.append(Condition("date", "date", (((comparison, padded(date)),),)))
    rows = document.metadata.rows() | ({("title", "text", document.title.casefold())} if document.title else set())
    if not all(any(_meets(condition, row) for row in rows) for condition in conditions):
        return False
    if where.media_type and not fnmatchcase(document.media_type, where.media_type):
        return False
    if not where.path:
        return True
    if any(mark in where.path for mark in "*?["):
        return fnmatchcase(document.path, where.path if where.path[0] in "/*" else f"*/{where.path}")
    inside = where.path.rstrip("/")
    if inside.startswith("/"):
        return document.path == inside or document.path.startswith(inside + "/")
    return f"/{inside}/" in document.path + "/"


COMPARE = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "=": operator.eq}


def _meets(condition: Condition, row: tuple[str, str, Any]) -> bool:
    """Return whether a key, type and value of metadata meet a condition."""
    key, type_, value = row
    return (key, type_) == (condition.key, condition.type) and any(
        all(fnmatchcase(value, wanted) if how == "glob" else COMPARE[how](value, wanted) for how, wanted in alternative)
        for alternative in condition.alternatives
    )
