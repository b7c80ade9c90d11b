"""Maintenance of a Milvus collection: what was cut off, and how the graphs of its vectors are searched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import CollectionError
from commonplace.i18n import N_, _
from commonplace.store.base import Finding, StoreSpace
from commonplace.store.compression import Compression
from commonplace.store.milvus.connection import Connection
from commonplace.store.milvus.indexes import kind_for, smaller_kinds
from commonplace.store.milvus.models import Models, ModelSettings
from commonplace.store.milvus.searching import VectorSearch
from commonplace.store.milvus.snapshot import Snapshots
from commonplace.store.milvus.sweeping import Sweeper
from commonplace.types import Filter

__all__ = ["MEASURED", "MilvusMaintenance"]

MEASURED = "milvus.recall"
"""The setting with the measured recall of each partition."""
TARGET = 0.99
MANY_NEW = 5_000  # rows of a partition that this process has written since
SEAL_SECONDS = 120.0
FEW = 20_000
"""Up to this number of rows, measuring would gain little."""
GROWN = 1.5
"""Growth of a partition after which its recall is measured again."""
QUERIES = 100  # of each kind, for one measurement


@dataclass(frozen=True, slots=True)
class _Questions:
    """Real queries (n, dim) of one kind, and the ten best items of each."""

    queries: NDArray[np.float32]
    cross_modal: bool
    best: Sequence[set[str]]


class MilvusMaintenance:
    """Maintenance of a collection whose data is in a Milvus server; see ``commonplace.store.StoreMaintenance``."""

    def __init__(
        self,
        connection: Connection,
        snapshots: Snapshots,
        sweeper: Sweeper,
        vectors: VectorSearch,
        models: Models,
        settings: ModelSettings,
        space: StoreSpace,
    ) -> None:
        self._connection, self._snapshots, self._sweeper, self._vectors = connection, snapshots, sweeper, vectors
        self._models, self._settings, self._space = models, settings, space

    def _partitions(self) -> dict[str, str]:
        return self._models.vectors(self._space.fingerprint or "")

    # --- the breadth of searches -----------------------------------------------------------------------------

    def checkpoint(self) -> None:
        """Measure the recall of partitions that have grown by a half since the last measurement."""
        if self._connection.features.lite:  # its searches are exact
            return
        for name in self._partitions().values():
            if self._vectors.new_rows(name) >= MANY_NEW:
                self._seal(name)
        measured = self.measured()
        changed = False
        for partition, name in self._partitions().items():
            rows = self._rows(name)
            if rows > FEW and rows > GROWN * measured.get(partition, {}).get("rows", 0):
                measured[partition] = self._measure(partition, rows)
                changed = True
        if changed:
            self._settings.put(MEASURED, json.dumps(measured))
        self.use_measured()

    def _seal(self, name: str) -> None:
        """Let the server build the index of many new rows now. Until then it finds fewer of the best rows.

        Servers limit how often this may be done, so it is done after an ``add``, and left to the server if refused.
        """
        with suppress(CollectionError):
            self._connection.call("flush", name, timeout=SEAL_SECONDS)
            self._vectors.sealed(name)

    def use_measured(self) -> None:
        """Search each partition's index as broadly as was measured to be enough."""
        breadths = {name: entry["breadth"] for name, entry in self.measured().items()}
        self._vectors.breadths = {name: int(breadth) for name, breadth in breadths.items() if breadth}

    def measured(self) -> dict[str, dict[str, Any]]:
        """Return the measurements by partition: ``rows``, ``breadth`` and ``recall`` by kind of query."""
        try:
            measured = json.loads(self._settings.get(MEASURED) or "{}")
            return {str(name): {**entry, "rows": int(entry["rows"])} for name, entry in measured.items()}
        except (ValueError, TypeError, KeyError, AttributeError):  # another program wrote it
            return {}

    def compress(self, recall: float | None) -> dict[str, Compression]:
        """Search with the smallest kind of index that reaches ``recall`` (0 to 1); None goes back to the usual kind.

        While an index is built, no process can search its partition. Returns the chosen kind by partition, for those
        with more than ``FEW`` rows and with real queries.
        """
        features, measured = self._connection.features, self.measured()
        chosen: dict[str, Compression] = {}
        for partition, name in self._partitions().items():
            rows = self._rows(name)
            if features.lite or rows <= FEW:
                continue
            usual = kind_for(rows, features)
            self._vectors.change_kind(partition, usual, rows)
            questions = self._questions(partition)
            entry = self._narrowest(partition, rows, questions, recall or TARGET)
            for kind in smaller_kinds(features) if recall is not None and questions else ():
                self._vectors.change_kind(partition, kind, rows)
                smaller = self._narrowest(partition, rows, questions, recall or TARGET)
                if min(smaller["recall"].values()) >= (recall or TARGET):
                    chosen[partition], entry = Compression(kind.name, smaller["recall"], rows), smaller
                    break
                self._vectors.change_kind(partition, usual, rows)
            measured[partition] = entry
        self._settings.put(MEASURED, json.dumps(measured))
        self.use_measured()
        return chosen

    def _measure(self, partition: str, rows: int) -> dict[str, Any]:
        """Return the smallest breadth that reaches the target with real queries, and its recall."""
        return self._narrowest(partition, rows, self._questions(partition), TARGET)

    def _questions(self, partition: str) -> dict[str, _Questions]:
        """Return real queries by their kind, with the ten best items of a search that is as broad as possible."""
        breadths = self._vectors.kind(partition).breadths
        questions = {}
        for way, cross_modal in (("same", False), ("cross", True)):
            queries = self._space.questions(partition, cross_modal)
            if breadths and queries is not None and len(queries):
                queries = queries[:: max(1, len(queries) // QUERIES)][:QUERIES]
                best = [self._ten(partition, query, breadths[-1], cross_modal) for query in queries]
                questions[way] = _Questions(queries, cross_modal, best)
        return questions

    def _narrowest(
        self, partition: str, rows: int, questions: Mapping[str, _Questions], target: float
    ) -> dict[str, Any]:
        """Return the smallest breadth that reaches the target, and its recall."""
        if not questions:
            return {"rows": rows, "breadth": None, "recall": {}}
        for breadth in self._vectors.kind(partition).breadths[:-1]:
            recall = {way: self._recall(partition, breadth, of_way) for way, of_way in questions.items()}
            if min(recall.values()) >= target:
                break
        return {"rows": rows, "breadth": breadth, "recall": recall}

    def _recall(self, partition: str, breadth: int, questions: _Questions) -> float:
        """Return the share of the ten best items that a search of this breadth finds."""
        shares = [
            len(best & self._ten(partition, query, breadth, questions.cross_modal)) / max(len(best), 1)
            for query, best in zip(questions.queries, questions.best, strict=True)
        ]
        return float(np.mean(shares))

    def _ten(self, partition: str, query: NDArray[np.float32], breadth: int, cross_modal: bool) -> set[str]:
        """Return the ten best items of a search with this breadth."""
        return set(self._vectors.search(partition, query, 10, Filter(), cross_modal=cross_modal, breadth=breadth).ids)

    def _rows(self, name: str) -> int:
        return self._connection.count(name, "", self._snapshots.recent().since)

    # --- problems --------------------------------------------------------------------------------------------

    def doctor(self, *, repair: bool = False) -> list[Finding]:
        """Return the problems of the collection; ``repair`` deletes what writers left that were cut off."""
        findings = []
        cut_off = self._sweeper.cut_off()
        if cut_off:
            count = sum(len(intent.touched) for intent in cut_off)
            if repair:
                self._sweeper.clean_up(cut_off)
            what = _("documents whose writing was cut off in {count} calls").format(count=len(cut_off))
            findings.append(Finding(what, count, _("their unfinished rows are deleted; add the files again"), repair))
        unused = self._sweeper.unused()
        if unused:
            if repair:
                self._sweeper.sweep(sorted(unused))
            what = _("items of replaced or unfinished documents")
            remedy = _("searches leave them out; they are deleted")
            findings.append(Finding(what, sum(unused.values()), remedy, repair))
        outdated = [name for name in self._partitions().values() if self._vectors.is_outdated(name)]
        if outdated:
            what = _("partitions whose hubness offsets are of another version of the model")
            findings.append(
                Finding(what, len(outdated), _("copy the collection to a new name: that computes them again"))
            )
        lost, unused_pictures = self._sweeper.pictures()
        if unused_pictures:
            if repair:
                self._sweeper.delete_pictures(unused_pictures)
            what, remedy = _("pictures in the blob store that no document shows"), _("they are deleted")
            findings.append(Finding(what, len(unused_pictures), remedy, repair))
        if lost:
            what, remedy = _("pictures that are missing from the blob store"), _("add their files with --force")
            findings.append(Finding(what, len(lost), remedy))
        return findings

    def vacuum(self) -> None:
        """Drop the vectors that a migration kept for an undo, and delete what writers left that were cut off.

        An unfinished migration is kept. Raises CollectionError if another process is migrating.
        """
        with self._models.leased():
            other = self._models.other()
            if other is None or other.served:
                self._models.set_other(None)
                self._models.drop_except({self._models.current().fingerprint})
            self.doctor(repair=True)

    def status(self) -> dict[str, Any]:
        """Return the server, how each partition is searched (``indexes``), and the other model if any (``shadow``)."""
        features = self._connection.features
        measured = self.measured()
        indexes = {}
        for partition, name in self._partitions().items():
            rows = self._rows(name)
            entry = measured.get(partition, {})
            indexes[partition] = {
                "type": self._vectors.kind(partition).name,
                "rows": rows,
                "recall": entry.get("recall", {}),
                "bytes": rows * (self._space.dim + 1) * 4,
                "not_in_file": 0,
                "removed_since": 0,
                "file_rows": rows,
                **({"breadth": entry["breadth"]} if entry else {}),
            }
        server = {
            "version": features.version,
            "words": features.sparse,
            "visible": N_("at once") if features.lite else N_("at once; a search waits for commits younger than 0.4 s"),
            "blobs": self._sweeper.blobs.url if self._sweeper.blobs is not None else None,
        }
        other = self._shadow()
        return {"server": server, "indexes": indexes, **({} if other is None else {"shadow": other})}

    def _shadow(self) -> dict[str, Any] | None:
        """Return name, fingerprint, number of vectors and about the bytes of the other model; None if there is none."""
        other = self._models.other()
        if other is None:
            return None
        vectors, size = self._models.size(other.fingerprint)
        return {
            "model": other.name,
            "fingerprint": other.fingerprint,
            "unfinished": not other.served,
            "vectors": vectors,
            "bytes": size,
        }

    def paths(self) -> tuple[Path, ...]:
        """Return the files and folders of this machine that belong to the collection: its Lite file and its blobs."""
        address, blobs = self._connection.address, self._sweeper.blobs
        lite = [Path(address.uri), Path(f"{address.uri}.blobs")] if address.is_lite else []
        return (*lite, *([blobs.folder] if blobs is not None and blobs.folder is not None else []))
