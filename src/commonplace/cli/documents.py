"""What is in a collection: ``add``, ``list``, ``show``, ``remove``, ``status``."""

from __future__ import annotations

import argparse
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from commonplace.cli.common import open_, spare
from commonplace.cli.printing import fill, place, print_json, short, size
from commonplace.types import printable

if TYPE_CHECKING:
    from commonplace.collection import Report
    from commonplace.types import Document, Item


def verbs(verb: Any) -> None:
    """Add the verbs of this group to the command."""
    add = verb(
        "add",
        _add,
        "add files and folders; what is unchanged is left alone",
        "commonplace add papers/ photos/",
    )
    add.add_argument("paths", metavar="PATH", nargs="+")
    add.add_argument("--workers", type=int, metavar="N", help="reader processes (default: one a processor)")
    add.add_argument("--retry-failed", action="store_true", help="read files again that failed before")
    add.add_argument(
        "--force",
        action="store_true",
        help="read all files again, unchanged ones too; what is whole is not embedded again",
    )
    add.add_argument(
        "--ocr",
        action=argparse.BooleanOptionalAction,
        help="read the words in pictures (default: where the extra ocr is installed)",
    )
    add.add_argument("--json", action="store_true", help="print one JSON object")

    list_ = verb("list", _list, "list the documents", "commonplace list --failed")
    list_.add_argument("--failed", action="store_true", help="only those that could not be read, with the reason")
    list_.add_argument("--json", action="store_true", help="print one JSON object")

    show = verb(
        "show",
        _show,
        "show what a document says of itself and holds, or an item and the page that it stands on",
        "commonplace show papers/pumps.md",
    )
    show.add_argument("name", metavar="NAME", help="a document's path or id, or an item's id (search --json has them)")
    show.add_argument("--page", metavar="FILE", help="write the page or picture into this file, the item's box drawn")
    show.add_argument("--json", action="store_true", help="print one JSON object")

    remove = verb(
        "remove",
        _remove,
        "remove documents, by path, folder or id, and all that was theirs",
        "commonplace remove photos/2019",
    )
    remove.add_argument("names", metavar="NAME", nargs="*")
    remove.add_argument("--missing", action="store_true", help="remove the documents whose file is gone")

    status = verb("status", _status, "show what the collection holds", "commonplace status")
    status.add_argument("--json", action="store_true", help="print one JSON object")


def _add(options: argparse.Namespace) -> int:
    _tell_now_and_then(options)
    with open_(options, make=True) as kb:
        report = kb.add(
            *options.paths,
            workers=options.workers,
            retry_failed=options.retry_failed,
            force=options.force,
            ocr=options.ocr,
        )
    if options.json:
        print_json(_report(report))
    else:
        print(report)
        for note in report.notes:
            print(f"  {note}", file=sys.stderr)
        for name, rows in (("partly read", report.partial), ("failed", report.failed)):
            for path, reason in rows:
                print(f"  {name}: {printable(path)}: {printable(reason)}", file=sys.stderr)
    done = report.added + report.changed + report.moved + report.unchanged
    return 0 if done or not report.failed else 1


def _tell_now_and_then(options: argparse.Namespace) -> None:
    """Print what the library logs of its progress, where no bar is seen: in a file or another program's pipe."""
    if sys.stderr.isatty() or options.json:
        return
    import logging

    log = logging.getLogger("commonplace.progress")
    log.setLevel(logging.INFO)
    log.addHandler(logging.StreamHandler(sys.stderr))


def _report(report: Report) -> dict[str, Any]:
    from dataclasses import asdict

    values = asdict(report)
    for name in ("partial", "failed"):
        values[name] = [{"path": path, "reason": reason} for path, reason in values[name]]
    return values


def _list(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        documents = kb.documents(failed=options.failed)
    if options.json:
        print_json({"documents": [_row(one) for one in documents]})
        return 0
    for one in documents:
        reason = f"  {printable(one.error)}" if one.error else ""
        print(f"{one.id}  {one.status:7}  {one.items:5}  {one.media_type:18}  {short(one.path)}{reason}")
    return 0


def _show(options: argparse.Namespace) -> int:
    from commonplace.errors import QueryError
    from commonplace.types import Item

    with open_(options) as kb:
        found = kb.find(options.name)
        item = found if isinstance(found, Item) else None
        document = item.document if item else found
        assert not isinstance(document, Item)
        if options.page is not None:
            if item is None:
                raise QueryError(f"--page draws what an item stands on: name an item of {document.path}")
            spare(kb, options.page)
            view = kb.page(item)
            print(f"page: {short(str(view.save(options.page)))}", file=sys.stderr)
            if view.box is None:
                print("note: the item is all of it: no box is drawn", file=sys.stderr)
            if view.note:
                print(f"note: {printable(view.note)}", file=sys.stderr)
        items = [item] if item else kb.items(document)
    if options.json:
        print_json({"document": _row(document), "items": [_item(one) for one in items]})
        return 0
    print(short(document.path))
    if document.title:
        print(f"{'title':10}  {printable(document.title)}")
    for key, values in document.stated().items():
        print(f"{printable(key):10}  {printable('; '.join(values))}")
    for one in items:
        words = printable(" ".join((one.text or one.title or "").split()))
        words = words if item else textwrap.shorten(words, 100, placeholder=" …")
        print(f"{one.id}  {one.modality:5}  {place(one)}\n{fill(words, ' ' * 12)}".rstrip())
    return 0


def _item(one: Item) -> dict[str, Any]:
    return {
        "id": one.id,
        "modality": one.modality,
        "span": one.span.dict(),
        "title": one.title,
        "text": one.text,
    }


def _row(one: Document) -> dict[str, Any]:
    return {
        "id": one.id,
        "path": one.path,
        "media_type": one.media_type,
        "status": one.status,
        "items": one.items,
        "error": one.error,
        "title": one.title,
        "metadata": one.stated(),
    }


def _remove(options: argparse.Namespace) -> int:
    from commonplace.errors import QueryError

    if not options.names and not options.missing:
        raise QueryError("say what to remove: paths, folders or ids, or --missing")
    with open_(options) as kb:
        count = kb.remove(*options.names, missing=options.missing)
    print(f"removed {count} document{'' if count == 1 else 's'}")
    return 0


def _status(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        status = kb.status()
    if options.json:
        print_json(status)
        return 0
    print(f"collection  {short(status['collection'])}  {size(status['bytes'])}")
    print(
        f"model       {status['model']['name']}  {status['model']['fingerprint']}  {status['model']['dim']} dimensions"
    )
    for name in ("documents", "items", "vectors"):
        print(f"{name:10}  " + (", ".join(f"{count} {kind}" for kind, count in sorted(status[name].items())) or "none"))
    if "shadow" in status:
        one = status["shadow"]
        why = "unfinished: run `commonplace migrate` again" if one["unfinished"] else "kept for `migrate --undo`"
        print(f"{'shadow':10}  {one['vectors']} vectors of {one['model']}, {size(one['bytes'])}, {why}")
    for name, one in status["indexes"].items():
        recall = ", ".join(f"{value:.3f} ({kind} kind of question)" for kind, value in sorted(one["recall"].items()))
        behind = one["not_in_snapshot"] + one["removed_since"]
        print(
            f"{'index':10}  {name}: {one['type']}, {one['rows']} rows, recall@10 {recall}, {size(one['bytes'])}"
            + (f", rows of {one['compression']['type']}" if "compression" in one else "")
            + (f", {behind} changes since the snapshot" if one["snapshot_rows"] and behind else "")
            + (f"; {one['problem']}" if "problem" in one else "")
        )
    return 0
