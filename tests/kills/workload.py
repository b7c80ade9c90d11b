"""The workload of the kill tests: all operations that write to a collection, one step after the other.

``python -m tests.kills.workload FOLDER``: FOLDER contains ``files`` and the models ``one`` and ``two``. The collection
is created in its folder ``kb``. After each step a line reports the end of the step and a digest of the collection.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import commonplace as cp
from commonplace import migrate as migrate_module
from commonplace.store import LocalStore, StoreOptions
from commonplace.types import Document, Item, ParsedDocument, Span, stable_id


def small() -> None:
    """Use small options, so that index files are written and a migration takes several transactions."""
    LocalStore.__init__.__kwdefaults__["options"] = StoreOptions(build_after=20, memory_rows=200, migration_tail=20)
    migrate_module.PAGE = 60


def holds(kb: cp.Collection) -> str:
    """Return a digest of the contents of the collection as a user sees them."""
    rows = kb.store._database.all(
        "SELECT d.path, d.status, d.content_hash, i.text, i.title, i.picture, i.span FROM documents d "
        "LEFT JOIN items i ON i.document = d.key ORDER BY d.path, i.span, i.id"
    )
    named = [(os.path.basename(str(path)), *rest) for path, *rest in rows]
    more = (kb.space.fingerprint, kb.ranking.json(), [label[0] for label in kb.labels()])
    return hashlib.sha256(repr((named, more)).encode()).hexdigest()[:16]


def put(kb: cp.Collection, name: str, count: int) -> None:
    """Add ``count`` items, ten a document, in one transaction, and settle the snapshots."""
    parsed = []
    for start in range(0, count, 10):
        path = f"/{name}/{start}.txt"
        document = Document(stable_id(path), f"file://{path}", path, "text/plain", stable_id("of", path), items=10)
        texts = [f"{name} has the pump number {start + n} with seal {(start + n) * 7}" for n in range(10)]
        items = [Item(stable_id(path, n), document, "text", Span(n, n + 1), text) for n, text in enumerate(texts)]
        parsed.append(ParsedDocument(document, tuple(items)))
    kb.store.add(parsed, kb.space.encode(parsed, kb.store.stored_vectors))
    kb.store.maintenance.checkpoint()


def remove(kb: cp.Collection, *paths: str) -> None:
    kb.store.remove([stable_id(path) for path in paths])
    kb._session.parts.crops.prune()


def change(kb: cp.Collection, files: Path) -> None:
    (files / "0.txt").write_text("Another text about the pump.")
    kb.add(files, workers=1, progress=False)


def steps(folder: Path) -> list[tuple[str, Callable[[cp.Collection], object]]]:
    files, backup = folder / "files", folder / "kb.bak"
    return [
        ("open", lambda kb: None),
        ("add", lambda kb: kb.add(files, workers=1, progress=False)),
        ("crop", lambda kb: kb.search(image=files / "ball.png", k=9)),
        ("put", lambda kb: put(kb, "a", 120)),
        ("put", lambda kb: put(kb, "b", 60)),
        ("remove", lambda kb: remove(kb, "/a/10.txt", "/a/50.txt", "/b/0.txt")),
        ("rank", lambda kb: setattr(kb, "ranking", cp.Ranking(method="rrf"))),
        ("label", lambda kb: kb.label("pump", stable_id("/a/0.txt", 1), True)),
        ("backup", lambda kb: kb.maintenance.backup(backup)),
        ("change", lambda kb: change(kb, files)),
        ("migrate", lambda kb: kb.maintenance.migrate(folder / "two", workers=1, progress=False)),
        ("put", lambda kb: put(kb, "c", 30)),
        ("undo", lambda kb: kb.maintenance.migrate(undo=True, workers=1, progress=False)),
        ("put", lambda kb: put(kb, "e", 30)),
        ("vacuum", lambda kb: kb.maintenance.vacuum()),
        ("doctor", lambda kb: kb.maintenance.doctor(repair=True)),
        ("restore", lambda kb: kb.maintenance.restore(backup, replace=True)),
        ("put", lambda kb: put(kb, "d", 60)),
        ("empty", lambda kb: kb.remove(files)),
    ]


def main(folder: Path) -> None:
    small()
    kb = None
    for number, (name, step) in enumerate(steps(folder)):
        if log := os.environ.get("KILLS_LOG"):
            with open(log, "a") as file:
                file.write(f"step {number} {name}\n")
        if kb is None:
            kb = cp.open(folder / "kb", model=folder / "one")
        step(kb)
        sys.stdout.write(f"{number} {holds(kb)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
