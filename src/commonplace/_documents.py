"""Documents of a collection by name: found and removed."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonplace._session import Parts, Session
from commonplace.deletion import find_gone
from commonplace.errors import CollectionError, QueryError
from commonplace.i18n import _
from commonplace.paths import display_path, document_id, spellings
from commonplace.types import Document, Filter, Item, Query, Status

if TYPE_CHECKING:
    from commonplace.indexer import Report, Scope

__all__ = ["add", "contains", "describe", "documents", "find", "label", "refuse_for_shared", "remove", "update"]


def add(
    session: Session, sources: Iterable[Any], options: Mapping[str, Any], *, retry_failed: bool, force: bool
) -> Report:
    """Add files, folders and records; see ``commonplace.Collection.add()``."""
    report, _is_finished = update(session, sources, options, retry_failed=retry_failed, force=force)
    return report


def update(
    session: Session,
    sources: Iterable[Any],
    options: Mapping[str, Any],
    *,
    retry_failed: bool = False,
    force: bool = False,
    scope: Scope | None = None,
) -> tuple[Report, bool]:
    """Add what is new and, with the option ``delete``, remove what is gone, as far as the scope reaches.

    Returns the report, and whether that is all: it is not where the scope ended the call, or where a file lost its name
    and may have another one outside the scope.
    """
    reading = {name: value for name, value in options.items() if name not in ("delete", "delete_many")}
    delete, many = bool(options.get("delete")), bool(options.get("delete_many"))
    from commonplace.indexer import Indexer

    with session.adding:
        parts = session.parts
        if delete or many:
            refuse_for_shared(parts)
        indexer = Indexer(
            parts.store, parts.space, parts.folder, parts.crops, retry_failed=retry_failed, force=force, scope=scope
        )
        report, is_finished = indexer.report, True
        try:
            indexer.run(sources, **reading)
            is_finished = not indexer.is_stopped
            if (delete or many) and is_finished:
                gone = find_gone(parts.store, indexer.folders, only=scope.only if scope else None, many=many)
                report.deleted = _remove(parts, gone.ids)
                report.missing = max(0, report.missing - report.deleted)
                report.refused += gone.refused
                is_finished = not gone.renamed
        finally:  # also where an iterable raised an error: what came before it was added
            has_changed = bool(report.added or report.changed or report.moved)
            if has_changed:
                from commonplace.retrieval.background import learn

                learn(parts.space, parts.store)
                session.refresh()
            if (has_changed or report.deleted) and parts.store.maintenance is not None:
                parts.store.maintenance.checkpoint()
    return report, is_finished


def label(parts: Parts, query: Query, item: str, good: bool, image: str | os.PathLike[str] | None) -> None:
    """Store whether an item answers a query; see ``commonplace.Collection.label``."""
    if query.text is None and image is None:
        raise QueryError(_("the query is empty: say which query the item answers"))
    if item not in parts.store.items([item]):
        raise QueryError(
            _("no item of this collection has the id {item}: take it from `search --json`").format(item=item)
        )
    parts.store.label(query.text or "", display_path(image) if image is not None else "", item, good)


def find(parts: Parts, name: str | os.PathLike[str]) -> Item | Document:
    """Return an item or a document by name; see ``commonplace.Collection.find()``."""
    items = parts.store.items([str(name)])
    if items:
        return items[str(name)]
    documents = _named(parts, name)
    if len(documents) > 1:
        raise CollectionError(
            _("{count} documents of this collection are below {name}: name one of them").format(
                count=len(documents), name=name
            )
        )
    return documents[0]


def remove(parts: Parts, names: Sequence[str | os.PathLike[str]], missing: bool) -> int:
    """Remove documents by name; see ``commonplace.Collection.remove()``."""
    return _remove(parts, _named_ids(parts, names, missing))


def _remove(parts: Parts, ids: Sequence[str]) -> int:
    if not ids:
        return 0
    parts.crops.remove(ids)
    count = parts.store.remove(dict.fromkeys(ids))
    parts.crops.prune()
    parts.forget()
    return count


def documents(
    parts: Parts, names: Sequence[str | os.PathLike[str]], missing: bool, status: Status | None, where: Filter
) -> list[Document]:
    """Return documents by path; see ``commonplace.Collection.documents()``."""
    ids = _named_ids(parts, names, missing) if names or missing else None
    return list(parts.store.documents(ids=ids, status=status, where=where))


def _named_ids(parts: Parts, names: Sequence[str | os.PathLike[str]], missing: bool) -> list[str]:
    """Return the ids of the documents that are named and, with ``missing``, of those whose file no longer exists."""
    if missing:
        refuse_for_shared(parts)
    candidates = parts.store.documents() if missing else ()
    ids = [document.id for document in candidates if document.is_file and not os.path.lexists(document.path)]
    for name in names:
        if not str(name):
            raise QueryError(_("a name is empty: say which document or folder"))
        ids += [document.id for document in _named(parts, name)]
    return ids


def refuse_for_shared(parts: Parts) -> None:
    """Raise CollectionError where a file that is missing here may be on another machine."""
    if parts.store.capabilities.shared:
        raise CollectionError(
            _("{name} may hold files of other machines, which are missing here: name the documents or folders").format(
                name=parts.name
            )
        )


def _named(parts: Parts, name: str | os.PathLike[str]) -> list[Document]:
    """Return the document with this id; without one, those with this path or URI, or below this folder.

    If there are none, the name is a pattern, as a shell reads it: ``*`` is within a folder, ``**`` is any folders.
    Raises CollectionError if there are none, and QueryError for what is no name.
    """
    if not isinstance(name, str | os.PathLike):
        raise QueryError(_("{name!r:.100} is no name of a document: give a path, a URI or an id").format(name=name))
    if by_id := list(parts.store.documents(ids=[str(name)])):
        return by_id
    try:
        path = display_path(name)
    except QueryError:  # no file can have such a path
        raise CollectionError(
            _("no document of this collection is {name!r:.200}: see `commonplace list`").format(name=name)
        ) from None
    matches = [document for form in spellings(path) for document in parts.store.documents(below=form)]
    named = parts.store.documents(below=str(name))
    matches += [document for document in named if document.path == str(name) or document.is_remote]
    matches = matches or list(_matching(parts, str(name)))
    if not matches:
        raise CollectionError(_("no document of this collection is {name}: see `commonplace list`").format(name=name))
    return list({document.id: document for document in matches}.values())


def _matching(parts: Parts, pattern: str) -> Iterator[Document]:
    """Yield the documents whose path, or a folder above it, matches a pattern that names files as a shell does."""
    from pathspec import GitIgnoreSpec

    mark = re.search(r"[*?[]", pattern)
    if mark is None:
        return
    is_url = "://" in pattern
    folder = pattern[: mark.start()].rpartition("/")[0]  # what stands before the first mark is a name
    rest = pattern[len(folder) :].lstrip("/")
    if not is_url:
        folder = display_path(folder or ("/" if pattern.startswith("/") else "."))
    try:
        spec = GitIgnoreSpec.from_lines([unicodedata.normalize("NFC", f"/{rest}")])
    except ValueError:  # no pattern
        return
    for document in parts.store.documents(below=folder):
        if spec.match_file(unicodedata.normalize("NFC", document.path[len(folder) :].lstrip("/"))):
            yield document


def contains(parts: Parts, name: object) -> bool:
    """Return whether there is a document with this id, path or URI."""
    if isinstance(name, Document):
        name = name.id
    if not isinstance(name, (str, os.PathLike)):
        return False
    try:
        path = display_path(name)
    except QueryError:  # no file can have such a path, and no record such an id
        return False
    by_id = parts.store.documents(ids=[str(name), document_id(Path(name))])
    if next(iter(by_id), None) is not None:
        return True
    paths = {str(name), *spellings(path)}
    return any(document.path in paths for below in paths for document in parts.store.documents(below=below))


def describe(parts: Parts) -> str:
    """Return what ``repr`` shows of a collection."""
    start = f"<Collection {parts.name!r}, model {parts.space.name}"
    try:
        documents = sum(parts.store.counts("documents")["documents"].values())
        items = parts.store.count()
    except CollectionError:  # it was closed
        return f"{start}>"
    return f"{start}: {documents:,} documents, {items:,} items>"
