"""Web pages: the main content under its headings, tables, and the local pictures that the page shows."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import EncodedPicture, LayoutBlock, Table, lay_out
from commonplace.readers.encodings import decode_as
from commonplace.readers.formats import read_whole
from commonplace.readers.html_elements import Fetch, PageParser, decode_data_url, remove_unseen
from commonplace.readers.main_content import MainContent, find_main_content
from commonplace.readers.markdown import local_picture
from commonplace.readers.metadata import split_names
from commonplace.readers.parts import File, Part
from commonplace.readers.text import decode

if TYPE_CHECKING:
    pass

__all__ = ["Fetch", "decode_data_url", "decode_html", "html_blocks", "on_disk", "read_html"]

_CHARSET = re.compile(
    rb"""<(?:meta[^>]{0,200}charset|\?xml[^>]{0,100}encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE
)
_EMPTY_ELEMENT = re.compile(
    r"<(title|script|style|textarea|iframe|noscript|a|p|div|span|td|li|b|i|h[1-6])(\s[^<>]*)?/>"
)
_MAX_META = 300
_MAX_PARSED_NESTING = 25_000  # levels; the parser takes quadratic time, some seconds at this depth
_TAG = re.compile(r"<(/?)([a-z][^\s/>]*)", re.IGNORECASE)
_UNNESTED_TAG = re.compile(  # elements without an end tag, and those that the parser closes by itself
    "area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr|p|li|d[dt]|t[rdh]|tbody|thead|tfoot|opt(ion|group)|"
    "a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u|html|head|body",
    re.IGNORECASE,
)
_MIN_PROSE = 400  # letters of sentences in main content that needs no second thought
_MIN_MAIN_SHARE = 0.3  # share of the page's letters: main content with fewer sentences and less text was mistaken
_MISSED = 60  # words of sentences outside the main content that a reader may miss


def read_html(file: File) -> Iterator[Part]:
    """Yield the page's main content; pictures only from ``data:`` addresses and from inside ``file.root``."""
    text, problem = decode_html(file.data)
    if problem:
        file.problems.append(problem)
    yield from lay_out(file, html_blocks(file, text, on_disk(file)))


def decode_html(data: bytes) -> tuple[str, str | None]:
    """Decode a page by its declared encoding as browsers do, or else like ``decode``.

    Returns the text, and a problem to report or None.
    """
    declared = _CHARSET.search(data[:4096])
    if declared and not data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name = declared[1].decode("ascii").lower()
        decoded = None if name.startswith("utf-16") else decode_as(data, name)  # it is ASCII, so it is not UTF-16
        if decoded is not None and not decoded[1]:
            return decoded[0].replace("\0", "\ufffd"), None
    return decode(data)


def on_disk(file: File) -> Fetch:
    """Return a function that reads the pictures of a page on the disk."""

    def fetch(target: str) -> bytes | None:
        path = local_picture(file, target)
        try:
            return read_whole(path, file.options.max_bytes) if path is not None else None
        except ReadError as error:
            file.problems.append(_("picture {target}: {error}").format(target=target, error=error))
            return None

    return fetch


def html_blocks(file: File, text: str, fetch: Fetch, *, full_page: bool = False) -> Iterator[LayoutBlock]:
    """Yield the blocks of a page and set ``file.title``; ``full_page`` treats all of it as main content."""
    from selectolax.lexbor import LexborHTMLParser

    if "xhtml" in text[:1000].lower() or text.startswith("<?xml"):
        text = _EMPTY_ELEMENT.sub(r"<\1\2></\1>", text)  # an HTML parser would leave an empty XML element open
    if text.count("<") > _MAX_PARSED_NESTING and _depth(text) > _MAX_PARSED_NESTING:
        raise ReadError(_("its elements are nested too deeply; save a simpler copy and add it again"))
    page = LexborHTMLParser(text)
    _set_title(file, page)
    if not full_page:
        _read_metadata(file, page)
    if page.body is None:
        return
    remove_unseen(page.body)
    if full_page:
        yield from PageParser(fetch).blocks(page.body)
        return
    main = find_main_content(page.body)
    blocks = PageParser(fetch).blocks(main.element)
    if main.prose < _MIN_PROSE:  # a page of links, or a short one
        page = LexborHTMLParser(text)
        assert page.body is not None
        remove_unseen(page.body)
        all_blocks = PageParser(fetch).blocks(page.body)
        if _text_length(blocks) < _MIN_MAIN_SHARE * _text_length(all_blocks):
            yield from all_blocks
            return
    _note_left_out(file, main)
    yield from blocks


def _note_left_out(file: File, main: MainContent) -> None:
    if main.comment_words >= _MISSED:
        file.problems.append(
            _("readers' comments, about {count} words, were left out").format(count=main.comment_words)
        )
    if main.other_words >= _MISSED:
        file.problems.append(
            _("about {count} words outside the main content were left out").format(count=main.other_words)
        )


def _depth(text: str) -> int:
    """Return about how deeply the elements of a page are nested."""
    depth = deepest = 0
    for tag in _TAG.finditer(text):
        if not _UNNESTED_TAG.fullmatch(tag[2]):
            depth = max(0, depth - 1) if tag[1] else depth + 1
            deepest = max(deepest, depth)
    return deepest


_MAX_SCRIPTS = 20
_META_KEYS = {  # name or property of a <meta> -> metadata key, and the separators of its values
    "author": ("author", ""),
    "article:author": ("author", ""),
    "dc.creator": ("author", ""),
    "dcterms.creator": ("author", ""),
    "date": ("created", ""),
    "dc.date": ("created", ""),
    "dcterms.created": ("created", ""),
    "article:published_time": ("created", ""),
    "datepublished": ("created", ""),
    "article:modified_time": ("modified", ""),
    "dcterms.modified": ("modified", ""),
    "last-modified": ("modified", ""),
    "datemodified": ("modified", ""),
    "keywords": ("keyword", ","),
    "article:tag": ("keyword", ""),
    "og:site_name": ("publisher", ""),
    "dc.publisher": ("publisher", ""),
    "parsely-author": ("author", ""),
    "parsely-pub-date": ("created", ""),
    "citation_author": ("author", ""),
    "citation_publication_date": ("created", ""),
    "pubdate": ("created", ""),
    "dc.date.issued": ("created", ""),
}


def _read_metadata(file: File, page: Any) -> None:
    """Add the metadata that the page declares."""
    root = page.css_first("html")
    file.add_metadata("language", root.attributes.get("lang") or root.attributes.get("xml:lang") if root else None)
    for meta in page.css("meta[content]")[:_MAX_META]:
        names = (meta.attributes.get(name) for name in ("name", "property", "itemprop", "http-equiv"))
        key, separators = _META_KEYS.get(next(filter(None, names), "").lower(), ("", ""))
        content = meta.attributes.get("content") or ""
        if key and not (key == "author" and "://" in content):
            file.add_metadata(key, *(split_names(content, separators) if separators else [content]))
    for query, name in (("link[rel=canonical]", "href"), ("meta[property='og:url']", "content")):
        address = page.css_first(query)
        if address is not None and (address.attributes.get(name) or "").startswith(("http://", "https://")):
            file.add_metadata("url", address.attributes.get(name))
            break
    for script in page.css("script[type='application/ld+json']")[:_MAX_SCRIPTS]:
        try:
            _read_linked_data(file, json.loads(script.text() or ""))
        except (ValueError, RecursionError):
            continue


def _read_linked_data(file: File, data: Any) -> None:
    """Add what a page says of its article in schema.org's words, where its ``meta`` elements did not say it."""
    entries = data if isinstance(data, list) else [data]
    entries += [part for entry in entries if isinstance(entry, dict) for part in _list(entry.get("@graph"))]
    for entry in entries:
        if not isinstance(entry, dict) or not (entry.keys() & {"headline", "articleBody", "datePublished"}):
            continue
        stated = {
            "author": [_named(author) for author in _list(entry.get("author"))],
            "created": [entry.get("datePublished")],
            "modified": [entry.get("dateModified")],
            "publisher": [_named(publisher) for publisher in _list(entry.get("publisher"))],
        }
        for key, values in stated.items():
            if key not in file.metadata:
                file.add_metadata(key, *(value for value in values if isinstance(value, str)))
        return


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _named(value: Any) -> Any:
    return value.get("name") if isinstance(value, dict) else value


def _set_title(file: File, page: Any) -> None:
    if file.title is not None:
        return
    for query, name in (("meta[property='og:title']", "content"), ("title", None), ("h1", None)):
        element = page.css_first(query)
        title = " ".join(((element.attributes.get(name) if name else element.text()) or "").split()) if element else ""
        if title:
            file.title = title
            return


def _text_length(blocks: list[LayoutBlock]) -> int:
    length = 0
    for block in blocks:
        if isinstance(block, Table):
            length += sum(len(cell) for row in block.rows for cell in row)
        elif not isinstance(block, EncodedPicture):
            length += len(block.text)
    return length
