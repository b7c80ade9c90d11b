"""News feeds (RSS 0.9 to 2.0, Atom): each entry under its title, with its date, author and text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import Heading, LayoutBlock, Paragraph, lay_out
from commonplace.readers.html import decode_html, html_blocks, on_disk
from commonplace.readers.parts import File, Part
from commonplace.readers.zipxml import local_name

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["read_feed"]

_MAX_ENTRIES = 20_000
_DECLARED = re.compile(r"(<\?xml[^>]*?)\sencoding\s*=\s*(\"[^\"]*\"|'[^']*')", re.IGNORECASE)
_MARKUP = re.compile(r"<[a-z!/][^<>]*>|&(?:[a-z]+|#\d+);", re.IGNORECASE)
_TEXTS = ("encoded", "content", "description", "summary")  # the fullest first
_DATES = ("published", "pubDate", "date", "issued", "updated", "modified")


def read_feed(file: File) -> Iterator[Part]:
    """Yield the entries in the order of the feed."""
    from defusedxml import ElementTree

    text, problem = decode_html(file.data)
    if problem:
        file.problems.append(problem)
    try:
        root = ElementTree.fromstring(_DECLARED.sub(r"\1", text.lstrip()), forbid_dtd=False)
    except (ElementTree.ParseError, ValueError):
        raise ReadError(_("a damaged feed that cannot be parsed; save a new copy and add it again")) from None
    yield from lay_out(file, _blocks(file, root))


def _blocks(file: File, root: Element) -> Iterator[LayoutBlock]:
    channel = next((element for element in root if local_name(element) == "channel"), root)
    file.title = _line(channel, "title") or None
    file.add_metadata("language", _line(channel, "language") or root.get("{http://www.w3.org/XML/1998/namespace}lang"))
    file.add_metadata("modified", _line(channel, "lastBuildDate", "updated", "pubDate"))
    author = _author(channel)
    file.add_metadata("author", author)
    about = _line(channel, "description", "subtitle")
    if about:
        yield Paragraph(about)
    entries = [element for element in root.iter() if local_name(element) in ("item", "entry")]
    if len(entries) > _MAX_ENTRIES:
        file.problems.append(
            _("only the first {count} of {total} entries were read; split it").format(
                count=_MAX_ENTRIES, total=len(entries)
            )
        )
    for entry in entries[:_MAX_ENTRIES]:
        title = _line(entry, "title")
        if title:
            yield Heading(title)
        facts = [_line(entry, *_DATES), _author(entry) or author, *_categories(entry)]
        if any(facts):
            yield Paragraph(" · ".join(filter(None, facts)))
        yield from _text_blocks(file, entry)


def _text_blocks(file: File, entry: Element) -> Iterator[LayoutBlock]:
    """Yield the text of an entry: the fullest of those that it has."""
    texts = {local_name(child): child for child in reversed(entry) if local_name(child) in _TEXTS}
    element = next((texts[name] for name in _TEXTS if name in texts and _inner(texts[name]).strip()), None)
    if element is None:
        return
    source = _inner(element)
    if _MARKUP.search(source):
        title = file.title
        yield from html_blocks(file, source, on_disk(file), full_page=True)
        file.title = title
    else:
        yield from (Paragraph(paragraph) for paragraph in re.split(r"\n\s*\n", source))


def _inner(element: Element) -> str:
    """Return what an element holds, as HTML where it holds elements."""
    if not len(element):
        return element.text or ""
    from xml.etree.ElementTree import tostring

    markup = tostring(element, encoding="unicode")
    return re.sub(r"(</?)(?:\w+:)([a-z])", r"\1\2", markup)  # <html:p> is <p>


def _line(element: Element, *names: str) -> str:
    """Return the text of the first child that has one of ``names``, without markup, on one line."""
    for name in names:
        for child in element:
            if local_name(child) == name and (text := "".join(child.itertext()).strip()):
                return _plain(text)
    return ""


def _plain(text: str) -> str:
    if _MARKUP.search(text):
        from selectolax.lexbor import LexborHTMLParser

        body = LexborHTMLParser(text).body
        text = (body.text(separator=" ") or "") if body is not None else ""
    return " ".join(text.split())


def _author(element: Element) -> str:
    for child in element:
        if local_name(child) in ("author", "creator", "managingEditor"):
            return _line(child, "name") or _plain(child.text or "")
    return ""


def _categories(entry: Element) -> list[str]:
    categories = (child for child in entry if local_name(child) == "category")
    return [_plain(child.get("term") or child.text or "") for child in categories][:20]
