"""Search by early-fused views in Milvus: each item has one vector, made of its text and image views."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from commonplace.store.base import RankedList, Sample, StoreSpace
from commonplace.store.fused import MODALITIES, centre, fuse
from commonplace.store.milvus.layout import Layout
from commonplace.store.milvus.searching import MAX_HITS, Samples, VectorSearch, ranked_list
from commonplace.store.milvus.snapshot import Snapshots
from commonplace.types import Filter

__all__ = ["FusedSearch"]

Vector = NDArray[np.float32]
DEPTH, LEAST_DEPTH = 20, 1000
"""The best ``DEPTH * k`` items of each partition, and at least ``LEAST_DEPTH``, are candidates."""
CENTRE = 10_000  # number of vectors that the centre of a modality is measured with


class FusedSearch:
    """Searches the early-fused vectors of items. The fused scores of the candidates are exact."""

    def __init__(
        self, layout: Layout, snapshots: Snapshots, vectors: VectorSearch, samples: Samples, space: StoreSpace
    ) -> None:
        self._layout, self._snapshots, self._vectors = layout, snapshots, vectors
        self._samples, self._space = samples, space

    def search(self, query: Vector, k: int, where: Filter, alpha: float | None) -> RankedList:
        """Return the best ``k`` items by early-fused vectors; see ``commonplace.store.SearchStore.search_fused``.

        The candidates are the best items of each partition.
        """
        depth = min(max(DEPTH * k, LEAST_DEPTH), MAX_HITS)
        with ThreadPoolExecutor(max_workers=len(MODALITIES)) as pool:
            lists = pool.map(
                lambda name: self._vectors.search(name, query, depth, where, cross_modal=False), MODALITIES
            )
            ids = sorted({id_ for ranked in lists for id_ in ranked.ids})
        scores = self.score(query, ids, alpha=alpha)
        return ranked_list([(id_, score, None) for id_, score in zip(ids, scores.tolist(), strict=True)], k)

    def score(self, query: Vector, ids: Sequence[str], *, alpha: float | None) -> NDArray[np.float64]:
        """Return the early-fused scores (n,) of items; NaN for an item without views."""
        with_views, vectors = self._fused(ids, alpha)
        place = {id_: n for n, id_ in enumerate(with_views)}
        scores = vectors @ query if len(with_views) else np.empty(0, np.float32)
        return np.array([float(scores[place[id_]]) if id_ in place else np.nan for id_ in ids], np.float64)

    def sample(self, n: int, alpha: float | None) -> Sample:
        """Return about ``n`` early-fused rows; see ``commonplace.store.SearchStore.sample_fused``."""
        snapshot = self._snapshots.recent()
        total = self._samples.total(self._layout.items, snapshot)

        def read() -> Sample:
            rows = self._samples.rows(self._layout.items, n, total, ["id", "item"], snapshot)
            ids, vectors = self._fused([row["item"] for row in rows], alpha)
            return Sample(vectors, None, round(len(ids) / max(len(rows), 1) * total))

        sample: Sample = self._samples.kept(("fused", n, alpha), total, snapshot, read)
        return sample

    def _fused(self, ids: Iterable[str], alpha: float | None) -> tuple[list[str], Vector]:
        """Return the items that have views, and their early-fused vectors (n, dim)."""
        snapshot = self._snapshots.recent()
        unique = sorted(set(ids))
        numbers = {id_: n for n, id_ in enumerate(unique)}
        views = {}
        for modality in MODALITIES:
            rows = self._vectors.rows_of(modality, unique, snapshot)
            ordered = sorted(rows, key=numbers.__getitem__)
            keys = [numbers[id_] for id_ in ordered for _ in rows[id_]]
            vectors = [rows[id_][:, :-1] for id_ in ordered]
            empty = np.zeros((0, self._space.dim), np.float32)
            views[modality] = (np.array(keys, np.int64), np.concatenate(vectors) if vectors else empty)
        fused_keys, fused = fuse(views, self._centres(), alpha)
        return [unique[key] for key in fused_keys.tolist()], fused

    def _centres(self) -> dict[str, Vector]:
        """Return the centre (dim,) of each modality: the mean of its rows, shrunk toward the model's mean."""
        centres = {}
        for modality in MODALITIES:
            if modality in self._space.means:
                sample = self._vectors.sample(modality, CENTRE)
                centres[modality] = centre(sample.vectors, self._space.means[modality], sample.total)
        return centres
