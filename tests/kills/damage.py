"""Flips bits in all files of a collection and its model, truncates them, and looks for silently wrong results."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import commonplace as cp
from commonplace.errors import CommonplaceError
from tests.kills import workload
from tests.kills.harness import kind, prepare

QUESTIONS = ("the pump number 41", "a has the pump with seal 700", "Note 7 about the pump", "the red ball")


@dataclass(frozen=True)
class Truth:
    """The contents of an intact collection: rows by path and span, vectors by their content."""

    rows: list[tuple[Any, ...]]
    texts: set[str | None]
    vectors: dict[tuple[str, str], np.ndarray]


class Damage:
    """A collection with index files, crops, vectors of an earlier model, and committed changes in the log."""

    def __init__(self, base: Path) -> None:
        workload.small()
        self.base = base
        prepare(base)
        self.whole = base / "whole"
        with cp.open(base / "kb", model=base / "two") as kb:
            kb.add(base / "files", workers=1, progress=False)
            workload.put(kb, "a", 120)
            kb.maintenance.migrate(base / "one", workers=1, progress=False)
            assert kb.search(
                image=base / "files" / "ball.png", k=9, modality="image", ranking=cp.Ranking(collapse=False)
            )
            kb.ranking = cp.Ranking(depth=90)
            put, upkeep = workload.put, kb.store.maintenance
            flush, upkeep.checkpoint = upkeep.checkpoint, lambda: None  # type: ignore[method-assign]
            put(kb, "b", 60)
            upkeep.checkpoint = flush  # type: ignore[method-assign]
            shutil.copytree(base / "kb", self.whole / "kb")  # the log is not empty
            self.truth = self._truth(kb)
        (self.whole / "kb" / "collection.db-shm").unlink(missing_ok=True)
        self.settled = base / "settled"  # all in the database, where a copy with a log has half of its pages there
        shutil.copytree(base / "kb", self.settled / "kb")
        for whole in (self.whole, self.settled):
            shutil.copytree(base / "one", whole / "one")
        self.files = sorted(path.relative_to(self.whole) for path in self.whole.rglob("*") if path.is_file())

    @staticmethod
    def _truth(kb: cp.Collection) -> Truth:
        vectors = {}
        for partition in kb.space.partitions:
            keys, rows = kb.store._partitions.stored(partition)
            ids = kb.store._ids.ids(keys.tolist())
            assert len(kb.store.items(ids)) == len(set(ids))
            vectors |= {(partition, id_): row for id_, row in zip(ids, rows, strict=True)}
        rows = contents(kb)
        return Truth(rows, {row[3] for row in rows}, vectors)

    def inflict(self, file: Path, how: str, draw: random.Random) -> str:
        """Damage one file of a copy; return the outcome. Raises AssertionError for a silently wrong result."""
        place = self.base / "damaged"
        shutil.rmtree(place, ignore_errors=True)
        settled = file.name == "collection.db" and draw.random() < 0.7
        shutil.copytree(self.settled if settled else self.whole, place)
        path = place / file
        data = bytearray(path.read_bytes())
        if not data:
            return "empty anyway"
        at = draw.randrange(len(data))
        if how == "flip":
            data[at] ^= 1 << draw.randrange(8)
        elif how == "zeros":
            data[at : at + 512] = bytes(len(data[at : at + 512]))
        elif how == "cut":
            del data[at:]
        path.write_bytes(data)
        if how == "taken away":
            path.unlink()
        return self._judge(place, (str(file), how, at), doctor_first=draw.random() < 0.5)

    def _judge(self, place: Path, what: object, *, doctor_first: bool) -> str:
        named: list[str] = []
        lost = False
        try:
            kb = cp.open(place / "kb", model=place / "one")
        except CommonplaceError:
            return "refused with its reason"
        with kb:
            if doctor_first:
                named += self._doctor(kb)
            for question in QUESTIONS:
                try:
                    self._ask(kb, question, what)
                except CommonplaceError as problem:
                    named.append(str(problem))
            try:
                lost = contents(kb) != self.truth.rows
            except CommonplaceError as problem:
                named.append(str(problem))
            named += self._doctor(kb)
        assert named or not lost, f"{what}: data is lost without a report"
        return "named" if named else "without effect"

    @staticmethod
    def _doctor(kb: cp.Collection) -> list[str]:
        try:
            return [finding.what for finding in kb.maintenance.doctor()]
        except CommonplaceError as problem:
            return [str(problem)]

    def _ask(self, kb: cp.Collection, question: str, what: object) -> None:
        query = kb.space.embed([question])[0]
        for partition in kb.space.partitions:
            ranked = kb.store.search(partition, query, 10, cp.Filter())
            items = kb.store.items(ranked.ids)
            for id_, score in zip(ranked.ids, ranked.scores.tolist(), strict=True):
                if id_ in items:
                    true = self.truth.vectors.get((partition, id_))
                    assert true is not None and abs(float(true @ query) - score) < 1e-4, f"{what}: a wrong score"
        for hit in kb.search(question, k=10):
            assert hit.item.text in self.truth.texts, f"{what}: words that are in no document"


def contents(kb: cp.Collection) -> list[tuple[Any, ...]]:
    return kb.store._database.all(
        "SELECT d.path, d.status, d.content_hash, i.text, i.title, i.picture, i.span FROM documents d "
        "LEFT JOIN items i ON i.document = d.key ORDER BY d.path, i.span, i.id"
    )


def name(file: Path) -> str:
    """Return the kind of a file, for the table."""
    if file.parts[0] == "one":
        return f"model: {file.name}"
    return "commit marker" if file.name == "collection.commit" else kind(str(file))


__all__ = ["Damage", "name"]
