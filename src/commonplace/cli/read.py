"""The verb ``read``: shows what the readers extract from a file, without a collection."""

from __future__ import annotations

import argparse
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from commonplace.cli.common import encoding_option, model_of, speech_option
from commonplace.cli.printing import fill, metadata_lines, padded, place, print_json, short
from commonplace.display import printable
from commonplace.i18n import _

if TYPE_CHECKING:
    from commonplace.errors import ReadError
    from commonplace.types import Item, ParsedDocument


def verbs(verb: Any) -> None:
    """Add the verb to the command."""
    verb(
        "read",
        _read,
        _("show what is extracted from files, without adding them to a collection"),
        "commonplace read papers/pumps.md --markdown",
        _read_options,
    )


def _read_options(read: argparse.ArgumentParser) -> None:
    read.add_argument("files", metavar="FILE", nargs="+")
    read.add_argument(
        "--ocr",
        action=argparse.BooleanOptionalAction,
        help=_("read the words in pictures (default: if the extra ocr is installed)"),
    )
    speech_option(read)
    encoding_option(read)
    form = read.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help=_("print one JSON object per file, each on its own line"))
    form.add_argument("--markdown", action="store_true", help=_("print headings and text in order, as Markdown"))


def _read(options: argparse.Namespace) -> int:
    from commonplace.errors import ReadError
    from commonplace.reading import read_files

    failed = False
    results = read_files(
        options.files,
        model=model_of(options),
        ocr=options.ocr,
        encoding=options.encoding,
        speech_model=options.speech_model,
    )
    for number, (path, result) in enumerate(results):
        failed = failed or isinstance(result, ReadError)
        if options.json:
            print_json(_values(path, result))
        elif isinstance(result, ReadError):
            print(f"commonplace: {short(path)}: {printable(str(result))}", file=sys.stderr)
        else:
            print("\n" * bool(number) + (_markdown(result) if options.markdown else _outline(result)))
        sys.stdout.flush()
        if not isinstance(result, ReadError) and result.document.error and not options.json:
            print(
                _("note: {path}: {error}").format(path=short(path), error=printable(result.document.error)),
                file=sys.stderr,
            )
    return 1 if failed else 0


def _values(path: str, result: ParsedDocument | ReadError) -> dict[str, Any]:
    """Return the content of a file as the documented JSON object."""
    from commonplace.types import ParsedDocument

    if not isinstance(result, ParsedDocument):
        return {"path": path, "status": "failed", "error": str(result), "items": []}
    document = result.document
    return {
        "path": path,
        "status": document.status,
        "error": document.error,
        "media_type": document.media_type,
        "title": document.title,
        "metadata": document.metadata.dict(),
        "items": [
            {"modality": item.modality, "text": item.text, "title": item.title, "span": item.span.dict()}
            for item in result.items
        ],
    }


def _outline(result: ParsedDocument) -> str:
    """Return a file's metadata and the beginning of each item, for a terminal."""
    document = result.document
    lines = [f"{short(document.path)}  {document.media_type}, " + _("{count} items").format(count=len(result.items))]
    if document.title:
        lines.append(padded(_("title")) + "  " + printable(document.title))
    lines += metadata_lines(document)
    where = None
    for item in result.items:
        if (item_place := place(item)) != where:
            lines.append(f"  {item_place}" if item_place else "")
            where = item_place
        words = textwrap.shorten(printable(" ".join((item.text or "").split())), 160, placeholder=" …")
        lines.append(fill(f"{item.modality:5}  {words}", " " * 4))
    return "\n".join(lines)


def _markdown(result: ParsedDocument) -> str:
    """Return headings and text in reading order as Markdown. Each heading appears once, above its content."""
    lines: list[str] = []
    before: list[str] = []
    for item in result.items:
        headings = item.title.split(" > ") if item.title else []
        shared = 0
        while shared < min(len(before), len(headings)) and before[shared] == headings[shared]:
            shared += 1
        for depth, heading in enumerate(headings[shared:], start=shared + 1):
            lines += [f"{'#' * min(depth, 6)} {printable(heading)}", ""]
        before = headings
        lines += [_block(item), ""]
    return "\n".join(lines).rstrip()


def _block(item: Item) -> str:
    text = "\n".join(printable(line.expandtabs(4)) for line in (item.text or "").split("\n"))
    return text if item.modality == "text" else f"[{item.modality}: {' '.join(text.split())}]"
