"""Output of the command: lines that fit the terminal, paths relative to the working folder, JSON."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from commonplace.display import columns, printable
from commonplace.i18n import N_, _
from commonplace.positions import position

if TYPE_CHECKING:
    from commonplace.indexer import Report
    from commonplace.types import Document, Hit, Item


def print_json(value: Any) -> None:
    import json

    print(json.dumps(value, ensure_ascii=True))  # ASCII: safe on any terminal and for any file name


_WIDE = "\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef"
_OPENING, _CLOSING = "（《「『【", "，。、；：！？）》」』】…"  # these end no line, and these begin none


@cache
def _piece(*, wide: bool) -> re.Pattern[str]:
    """Return the pattern of what stands on one line; a class of ``wide`` characters takes milliseconds to compile."""
    if not wide:
        return re.compile(r"\s+|\S{1,80}…*")
    return re.compile(rf"\s+|[{_OPENING}]*(?:[{_WIDE}]|[^\s{_WIDE}]{{1,80}})[{_CLOSING}]*")


def fill(text: str, indent: str = "", width: int = 100) -> str:
    """Return ``text`` in lines of at most ``width`` columns. Chinese characters take two, and may end a line."""
    lines, line, room = [], "", width - len(indent)
    for piece in _piece(wide=not text.isascii() and max(text) >= _WIDE[0]).findall(text):
        if line.strip() and columns(line) + columns(piece.rstrip()) > room:
            lines.append(line.rstrip())
            line = ""
        line += piece if line or piece.strip() else ""
    return "\n".join(indent + row for row in [*lines, line.rstrip()] if row)


def padded(text: str, width: int = 10) -> str:
    """Return a text with spaces after it up to a width in terminal columns."""
    return text + " " * (width - columns(text))


def size(count: int) -> str:
    """Return a number of bytes with a readable unit."""
    if count < 1e6:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def short(path: str) -> str:
    """Return ``path`` relative to the working folder if it is below it; otherwise unchanged."""
    try:
        working_folder = os.getcwd() + os.sep
    except OSError:  # the working folder was deleted
        working_folder = ""
    return printable(path.removeprefix(working_folder))


def place(item: Item) -> str:
    """Return the position of an item in its document: member, page, headings, line or row."""
    return printable(position(item.span, item.title))


def confidence(hit: Hit) -> str:
    """Return the probability that a hit is relevant, as ``search`` and ``ask`` show it: 0.873."""
    return f"{hit.confidence:.3f}"


def linked(text: str, uri: str | None) -> str:
    """Return a text that opens a URI where the terminal can do this (OSC 8); the text alone in a file or pipe."""
    if uri is None or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb" or not (uri + "x").isprintable():
        return text
    return f"\033]8;;{uri}\033\\{text}\033]8;;\033\\"


def metadata_lines(document: Document) -> list[str]:
    """Return a line for each key of a document's metadata, with its values."""
    import json

    lines = []
    for key, value in document.metadata.dict().items():
        values = value if isinstance(value, list) else [value]
        texts = (item if isinstance(item, str) else json.dumps(item) for item in values)
        lines.append(f"{printable(key):10}  {printable('; '.join(texts))}")
    return lines


_INDEX_TYPES = (
    N_("exact"),
    N_("rescored"),
    N_("projected vectors"),
    N_("binary codes"),
    N_("binary codes in IVF cells"),
)


def index_type(text: str) -> str:
    """Return the type of a vector index, as ``status`` has it, in the language of messages."""
    pieces = re.split(r"( and |, )", text)
    return "".join(_(piece) for piece in pieces)


def query_kind(recall: float, kind: str) -> str:
    """Return a measured recall and the kind of query that it was measured with, ``same`` or ``other``."""
    if kind == "same":
        return _("{recall:.3f} (same kind of query)").format(recall=recall)
    return _("{recall:.3f} (other kind of query)").format(recall=recall)


def report_values(report: Report) -> dict[str, Any]:
    """Return a report as plain JSON values."""
    from dataclasses import asdict

    values = asdict(report)
    for name in ("partial", "failed", "refused"):
        values[name] = [{"path": path, "reason": reason} for path, reason in values[name]]
    return values


def print_report(report: Report) -> None:
    """Print what ``add`` did, and on standard error what it could not do, with the reasons."""
    print(report)
    for note in report.notes:
        print(f"  {note}", file=sys.stderr)
    kinds = ((_("partly read"), report.partial), (_("failed"), report.failed), (_("not deleted"), report.refused))
    for name, rows in kinds:
        for path, reason in rows:
            line = _("{name}: {path}: {reason}").format(name=name, path=printable(path), reason=printable(reason))
            print(f"  {line}", file=sys.stderr)
