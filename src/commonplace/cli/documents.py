"""The verbs for documents: ``add``, ``list``, ``show``, ``remove``, ``status``."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from commonplace.cli.common import open_, place_of, reading_options, refuse_own_file
from commonplace.cli.printing import (
    fill,
    index_type,
    metadata_lines,
    padded,
    place,
    print_json,
    print_report,
    query_kind,
    report_values,
    short,
    size,
)
from commonplace.display import printable
from commonplace.i18n import _, ngettext

if TYPE_CHECKING:
    from commonplace.types import Document, Item


def verbs(verb: Any) -> None:
    """Add the verbs of this group to the command."""
    verb(
        "add",
        _add,
        _("add files and folders; unchanged files are skipped"),
        "commonplace add papers/ photos/",
        _add_options,
    )
    verb("list", _list, _("list the documents"), "commonplace list papers/ --failed", _list_options)
    verb(
        "show",
        _show,
        _("show a document's metadata and items, or one item and its page"),
        "commonplace show papers/pumps.md",
        _show_options,
    )
    verb(
        "remove",
        _remove,
        _("remove documents by path, folder, pattern or id, with their items and vectors"),
        "commonplace remove photos/2019 'old/*.md' --dry-run",
        _remove_options,
    )
    verb(
        "status",
        _status,
        _("show the contents, the model and the indexes of the collection"),
        "commonplace status",
        _status_options,
    )


def _add_options(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "paths", metavar="PATH", nargs="+", help=_("a file or folder, or its URL, such as s3://bucket/folder")
    )
    add.add_argument(
        "--ray",
        metavar="ADDRESS",
        help=_(
            "read and embed on the machines of a Ray cluster: HOST:PORT, auto (the cluster of this machine) or local; "
            "--workers is then for each machine"
        ),
    )
    reading_options(add)
    add.add_argument(
        "--retry-failed", action="store_true", help=_("also read files that failed before, or were read in part")
    )
    add.add_argument(
        "--force",
        action="store_true",
        help=_("read all files again, including unchanged ones; unchanged contents are not embedded again"),
    )
    add.add_argument(
        "--delete", action="store_true", help=_("remove the documents below the folders whose file is gone")
    )
    add.add_argument(
        "--delete-many",
        action="store_true",
        help=_("also where most files of a folder are gone, which without this flag stops the deletion"),
    )
    add.add_argument(
        "--watch", action="store_true", help=_("then keep the folders in step until Ctrl+C (see commonplace watch)")
    )
    add.add_argument("--json", action="store_true", help=_("print one JSON object"))


def _list_options(list_: argparse.ArgumentParser) -> None:
    list_.add_argument(
        "names", metavar="NAME", nargs="*", help=_("only these: a file, folder, id or pattern (default: all)")
    )
    list_.add_argument(
        "--failed", action="store_true", help=_("only documents that could not be read, with the reason")
    )
    list_.add_argument("--json", action="store_true", help=_("print one JSON object"))


def _show_options(show: argparse.ArgumentParser) -> None:
    show.add_argument("name", metavar="NAME", help=_("a document's path or id, or an item's id (see search --json)"))
    show.add_argument(
        "--page", metavar="FILE", help=_("write the page or picture to this file, with the item's box drawn")
    )
    show.add_argument("--json", action="store_true", help=_("print one JSON object"))


def _remove_options(remove: argparse.ArgumentParser) -> None:
    remove.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help=_("a file, folder or id, or a pattern in quotes, in which ** stands for any folders"),
    )
    remove.add_argument("--dry-run", action="store_true", help=_("only list what would be removed"))
    remove.add_argument("--missing", action="store_true", help=_("remove the documents whose file no longer exists"))


def _status_options(status: argparse.ArgumentParser) -> None:
    status.add_argument("--json", action="store_true", help=_("print one JSON object"))


def _add(options: argparse.Namespace) -> int:
    from commonplace.indexer import report_of_absent

    report = None if place_of(options).exists() else report_of_absent(options.paths)  # then no collection is made
    if report is None:
        with _progress_lines(options), open_(options, make=True) as kb:
            report = kb.add(
                *options.paths,
                workers=options.workers,
                retry_failed=options.retry_failed,
                force=options.force,
                ocr=options.ocr,
                ray=options.ray,
                time_limit=options.time_limit,
                encoding=options.encoding,
                delete=options.delete,
                delete_many=options.delete_many,
                speech_model=options.speech_model,
            )
    if options.json:
        print_json(report_values(report))
    else:
        print_report(report)
    if options.watch:
        from commonplace.cli.watch import keep_in_step

        sys.stdout.flush()  # the next lines may be long in coming
        with open_(options) as kb:
            return keep_in_step(kb, options)
    done = report.added + report.changed + report.moved + report.deleted + report.unchanged
    return 1 if report.refused or (report.failed and not done) else 0


@contextmanager
def _progress_lines(options: argparse.Namespace) -> Iterator[None]:
    """Print the library's progress log if no bar is shown, because standard error is a file or a pipe."""
    if sys.stderr.isatty() or options.json:
        yield
        return
    import logging

    log, lines = logging.getLogger("commonplace.progress"), logging.StreamHandler(sys.stderr)
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(lines)
    try:
        yield
    finally:  # the next command of this process has another standard error
        log.removeHandler(lines)
        log.setLevel(level)


def _list(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        documents = kb.documents(*options.names, failed=options.failed)
        is_empty = not len(kb)
    if options.json:
        print_json({"documents": [_document_values(document) for document in documents]})
        return 0
    if documents:
        _print_documents(documents)
    elif is_empty:
        note = _("the collection has no documents yet: add some with `commonplace add PATH`")
        print(_("note: {note}").format(note=note), file=sys.stderr)
    else:
        print(_("note: {note}").format(note=_("none of these documents failed")), file=sys.stderr)
    return 0


def _print_documents(documents: Sequence[Document]) -> None:
    """Print a line for each document, below a line that names the columns."""
    heads = ((_("id"), 20), (_("status"), 7), (_("items"), 5), (_("type"), 18))
    print("  ".join([*(padded(head, width) for head, width in heads), _("path")]))
    for document in documents:
        reason = f"  {printable(document.error)}" if document.error else ""
        columns = f"{padded(document.id, 20)}  {document.status:7}  {document.items:5}  {document.media_type:18}"
        print(f"{columns}  {short(document.path)}{reason}")


def _show(options: argparse.Namespace) -> int:
    from commonplace.errors import QueryError
    from commonplace.types import Item

    with open_(options) as kb:
        result = kb.find(options.name)
        item = result if isinstance(result, Item) else None
        document = result.document if isinstance(result, Item) else result
        if options.page is not None:
            if item is None:
                raise QueryError(
                    _("--page draws the page of an item: name an item of {path}").format(path=document.path)
                )
            refuse_own_file(kb, options.page)
            view = kb.page(item)
            print(_("page: {path}").format(path=short(str(view.save(options.page)))), file=sys.stderr)
            if view.box is None:
                print(_("note: the item is the full page, so no box is drawn"), file=sys.stderr)
            if view.note:
                print(_("note: {note}").format(note=printable(view.note)), file=sys.stderr)
        items = [item] if item else kb.items(document)
    if options.json:
        print_json({"document": _document_values(document), "items": [_item_values(item) for item in items]})
        return 0
    print(short(document.path))
    if document.title:
        print(padded(_("title")), printable(document.title), sep="  ")
    for line in metadata_lines(document):
        print(line)
    for shown in items:
        words = printable(" ".join((shown.text or shown.title or "").split()))
        words = words if item else textwrap.shorten(words, 100, placeholder=" …")
        print(f"{shown.id}  {shown.modality:5}  {place(shown)}\n{fill(words, ' ' * 12)}".rstrip())
    return 0


def _item_values(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "modality": item.modality,
        "span": item.span.dict(),
        "title": item.title,
        "text": item.text,
    }


def _document_values(document: Document) -> dict[str, Any]:
    return {
        "id": document.id,
        "path": document.path,
        "media_type": document.media_type,
        "status": document.status,
        "items": document.items,
        "error": document.error,
        "title": document.title,
        "metadata": document.metadata.dict(),
    }


def _remove(options: argparse.Namespace) -> int:
    from commonplace.errors import QueryError

    if not options.names and not options.missing:
        raise QueryError(_("nothing to remove: give paths, folders, ids or --missing"))
    with open_(options) as kb:
        if options.dry_run:
            documents = kb.documents(*options.names, missing=options.missing)
            if documents:
                _print_documents(documents)
            count = len(documents)
            would = ngettext("would remove {count} document", "would remove {count} documents", count)
            print(would.format(count=count))
            return 0
        count = kb.remove(*options.names, missing=options.missing)
    print(ngettext("removed {count} document", "removed {count} documents", count).format(count=count))
    return 0


def _status(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        status = kb.status()
    if options.json:
        print_json(status)
        return 0
    space = status["model"]
    rows = [
        (_("collection"), short(status["collection"]) + (f"  {size(status['bytes'])}" if "bytes" in status else ""))
    ]
    rows += [
        (_("model"), f"{space['name']}  {space['fingerprint']}  " + _("{dim} dimensions").format(dim=space["dim"]))
    ]
    for name, label in (("documents", _("documents")), ("items", _("items")), ("vectors", _("vectors"))):
        rows += [(label, ", ".join(f"{count} {kind}" for kind, count in sorted(status[name].items())) or _("none"))]
    if "unread_speech" in status:
        count = status["unread_speech"]
        words = ngettext(
            "{count} document with speech awaits a model for its words: add it again with --speech-model",
            "{count} documents with speech await a model for their words: add them again with --speech-model",
            count,
        )
        rows += [(_("speech"), words.format(count=count))]
    if "server" in status:
        server = status["server"]
        words = "" if server["words"] else _(", no search by words (Milvus has it from version 2.4 on)")
        blobs = (
            _(", pictures in {blobs}").format(blobs=server["blobs"])
            if server["blobs"]
            else _(", no place for pictures (--blobs URL)")
        )
        visible = _("; commits are visible {visible}").format(visible=_(server["visible"]))
        rows += [(_("server"), f"Milvus {server['version']}{words}{blobs}{visible}")]
    if "shadow" in status:
        other = status["shadow"]
        why = (
            _("unfinished: run `commonplace migrate` again") if other["unfinished"] else _("kept for `migrate --undo`")
        )
        shadow = _("{vectors} vectors of {model}, {bytes}, {why}")
        values = {"vectors": other["vectors"], "model": other["model"], "bytes": size(other["bytes"]), "why": why}
        rows += [(_("shadow"), shadow.format(**values))]
    rows += [(_("index"), f"{name}: {_index_line(index)}") for name, index in status.get("indexes", {}).items()]
    for label, text in rows:
        print(f"{padded(label)}  {text}")
    return 0


def _index_line(index: dict[str, Any]) -> str:
    """Return type, size and recall of a vector index, and any deviation from the normal state."""
    recall = _(", ").join(query_kind(value, kind) for kind, value in sorted(index["recall"].items()))
    measured = _(", recall@10 {recall}").format(recall=recall) if recall else ""
    line = _("{type}, {rows} rows{measured}, {bytes}").format(
        type=index_type(index["type"]), rows=index["rows"], measured=measured, bytes=size(index["bytes"])
    )
    if "compression" in index:
        line += _(", rows of {type}").format(type=index_type(index["compression"]["type"]))
    if "stored" in index:
        line += _(", stored as {type}").format(type=index_type(index["stored"]["type"]))
        line += _(" in part: run `commonplace compress --drop-raw` again") if "unfinished" in index["stored"] else ""
    changes = index["not_in_file"] + index["removed_since"]
    if index["file_rows"] and changes:
        line += _(", {changes} changes since the index file was written").format(changes=changes)
    return line + (f"; {index['problem']}" if "problem" in index else "")
