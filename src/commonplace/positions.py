"""Where an item stands in its document, in words for people and as a link to the file."""

from __future__ import annotations

import os
import re
import textwrap
from typing import TYPE_CHECKING

from commonplace.i18n import _

if TYPE_CHECKING:
    from commonplace.types import Document, Item, Span

__all__ = ["file_link", "part_of_span", "place_of_item", "position", "shown_name"]

_MARK = re.compile(r"^\[(\d{1,4}):(\d\d):(\d\d)\] ", re.MULTILINE)  # the time before a sentence of subtitles
_MAX_TITLE = 90  # characters of headings that are shown


def position(span: Span, title: str | None, language: str | None = None) -> str:
    """Return where an item stands: ``page 3, Pumps > Seals``, ``line 12``, ``sheet Parts, row 7``, ``0:12 to 0:18``.

    ``title`` are its headings. ``language`` (BCP 47) is that of the words (default: the language of messages). Empty
    where nothing is known that a person could look for.
    """
    places = [span.member] if span.member is not None else []
    if span.begin is not None:
        places.append(_times(span.begin, span.finish, language))
    elif span.page is not None:
        places.append(_("page {page}", language).format(page=span.page))
    if title:
        shown = textwrap.shorten(title, _MAX_TITLE, placeholder=" …")
        places.append(shown if span.row is None else _("sheet {title}", language).format(title=shown))
    if span.line is not None:
        places.append(_("line {line}", language).format(line=span.line))
    if span.row is not None:
        places.append(_("row {row}", language).format(row=span.row))
    return _(", ", language).join(places)


def _in_seconds(mark: re.Match[str]) -> int:
    hours, minutes, seconds = map(int, mark.groups())
    return 3600 * hours + 60 * minutes + seconds


def _times(begin: float, finish: float | None, language: str | None) -> str:
    first, last = _clock(begin), _clock(begin if finish is None else finish)
    return first if first == last else _("{begin} to {finish}", language).format(begin=first, finish=last)


def _clock(seconds: float) -> str:
    """Return ``0:12``, ``75:00`` as ``1:15:00``: hours only where there are any."""
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}" if minutes >= 60 else f"{minutes}:{second:02}"


def shown_name(document: Document) -> str:
    """Return what to call a document: the last part of its path or address; of a record its title or id."""
    if document.is_record and document.uri.startswith("record:"):
        return document.title or document.id
    from urllib.parse import unquote, urlsplit

    path = document.path if document.is_file else unquote(urlsplit(document.path).path)
    return os.path.basename(path.rstrip("/")) or document.path


def place_of_item(item: Item) -> str:
    """Return the name of an item's document and where it stands there, without a path: ``guide.pdf, page 3``."""
    name, words = shown_name(item.document), position(item.span, item.title, None)
    return name if words in ("", name) else f"{name}, {words}"


def file_link(document: Document, span: Span) -> str | None:
    """Return the URI of a document that is a file, at the page or second of the span; None for other documents."""
    if not document.is_file:
        return None
    place = ""
    if span.page is not None and document.media_type == "application/pdf":
        place = f"#page={span.page}"
    elif span.begin is not None and document.media_type.startswith(("video/", "audio/")):
        place = f"#t={span.begin:.3f}".rstrip("0").rstrip(".")  # a media fragment: players begin there
    from urllib.parse import quote

    return quote(document.uri, safe=":/%?&=@+,;~!$'()*") + place  # a record's URI may hold anything


def part_of_span(item: Item, start: int, end: int) -> Span:
    """Return the span of the characters from ``start`` to ``end`` of an item's text: also line, row and seconds."""
    from dataclasses import replace

    span, text = item.span, item.text or ""
    before = text.count("\n", 0, start)
    row = span.row
    if row is not None:
        is_table = text.startswith("|") and text.partition("\n")[2].startswith("|---")
        row += max(0, before - 2) if is_table else before  # a table repeats the header above its rows
    begin, finish = span.begin, span.finish
    if begin is not None:
        marks = [(mark.start(), float(_in_seconds(mark))) for mark in _MARK.finditer(text)]
        begin = max([begin, *(second for place, second in marks if place <= start)])
        following = [second for place, second in marks if place >= end and second > begin]
        finish = finish if finish is None else min([finish, *following])
    return replace(
        span,
        begin=begin,
        finish=finish,
        start=None if span.start is None else span.start + start,
        end=span.end if span.start is None else span.start + end,
        line=None if span.line is None else span.line + before,
        row=row,
    )
