"""Web pages: the main content under its headings, tables, and the local pictures that the page shows."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import EncodedPicture, Heading, LayoutBlock, Paragraph, Table, clean_alt_text, lay_out
from commonplace.readers.formats import read_whole
from commonplace.readers.markdown import local_picture
from commonplace.readers.metadata import split_names
from commonplace.readers.parts import File, Part
from commonplace.readers.text import decode

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

__all__ = ["decode_html", "html_blocks", "on_disk", "read_html"]

#: Takes a picture's address and returns its bytes, or None where the picture is not local.
Fetch = Callable[[str], bytes | None]

_CHARSET = re.compile(
    rb"""<(?:meta[^>]{0,200}charset|\?xml[^>]{0,100}encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE
)
_SKIPPED_TAGS = {
    "script",
    "style",
    "noscript",
    "template",
    "svg",
    "math",
    "iframe",
    "object",
    "embed",
    "canvas",
    "audio",
}
_SKIPPED_TAGS |= {"video", "select", "button", "input"}
_SKIPPED_TAGS |= {"textarea", "head", "link", "meta", "map", "dialog"}
_EMPTY_ELEMENT = re.compile(
    r"<(title|script|style|textarea|iframe|noscript|a|p|div|span|td|li|b|i|h[1-6])(\s[^<>]*)?/>"
)
_BOILERPLATE_TAGS = {"nav", "footer", "aside", "menu", "form", "header"}  # usually outside the main content
_BOILERPLATE_ROLES = {
    "navigation",
    "banner",
    "contentinfo",
    "search",
    "complementary",
    "menu",
    "menubar",
    "dialog",
    "alertdialog",
}
_BOILERPLATE_NAMES = re.compile(
    r"(^|[\s_-])(nav|navbar|navigation|menu|breadcrumbs?|sidebar|footer|cookies?|consent|advert|ads?|share|social|"
    r"related|newsletter|skip-?link|toc|vector-toc|mw-editsection|noprint|pagination)([\s_-]|$)",
    re.IGNORECASE,
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_BLOCK_TAGS = {
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "center",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "header",
}
_BLOCK_TAGS |= {
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "hgroup",
    "hr",
    "html",
    "legend",
    "li",
    "main",
    "menu",
}
_BLOCK_TAGS |= {"nav", "ol", "p", "pre", "search", "section", "summary", "table", "ul", "caption"}
_BLOCK_TAGS |= {"tr", "td", "th", "tbody", "thead", "tfoot"}
_MAX_META = 300
_MAX_NESTING = 300  # levels of elements; pages made by people have fewer
_MAX_PARSED_NESTING = 25_000  # levels; the parser takes quadratic time, some seconds at this depth
_TAG = re.compile(r"<(/?)([a-z][^\s/>]*)", re.IGNORECASE)
_UNNESTED_TAG = re.compile(  # elements without an end tag, and those that the parser closes by itself
    "area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr|p|li|d[dt]|t[rdh]|tbody|thead|tfoot|opt(ion|group)|"
    "a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u|html|head|body",
    re.IGNORECASE,
)
_MAX_LINK_SHARE = 0.7  # share of a list's letters: a list with more of them in links is a menu
_MIN_MAIN_SHARE = 0.3  # share of the page's letters: main content with less was detected wrongly


def read_html(file: File) -> Iterator[Part]:
    """Yield the page's main content; pictures only from ``data:`` addresses and from inside ``file.root``."""
    text, problem = decode_html(file.data)
    if problem:
        file.problems.append(problem)
    yield from lay_out(file, html_blocks(file, text, on_disk(file)))


def decode_html(data: bytes) -> tuple[str, str | None]:
    """Decode a page by its declared encoding, or else like ``decode``.

    Returns the text, and a problem to report or None.
    """
    declared = _CHARSET.search(data[:4096])
    if declared and not data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name = declared[1].decode("ascii").lower()
        name = "cp1252" if name in ("iso-8859-1", "latin1", "ascii", "us-ascii") else name  # as browsers do
        try:
            if not name.startswith("utf-16"):  # the declaration is ASCII, so it is not UTF-16
                return codecs.lookup(name).decode(data)[0].replace("\0", "\ufffd"), None
        except (LookupError, UnicodeError, TypeError, AttributeError):
            pass
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
    body = page.body
    if body is None:
        return
    blocks = list(_PageParser(fetch, main_only=not full_page).blocks(_main_element(body) if not full_page else body))
    if not full_page:
        lenient = list(_PageParser(fetch, main_only=False).blocks(body))
        if _text_length(blocks) < _MIN_MAIN_SHARE * _text_length(lenient):
            blocks = lenient
    yield from blocks


def _depth(text: str) -> int:
    """Return about how deeply the elements of a page are nested."""
    depth = deepest = 0
    for tag in _TAG.finditer(text):
        if not _UNNESTED_TAG.fullmatch(tag[2]):
            depth = max(0, depth - 1) if tag[1] else depth + 1
            deepest = max(deepest, depth)
    return deepest


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


def _set_title(file: File, page: Any) -> None:
    if file.title is not None:
        return
    for query, name in (("meta[property='og:title']", "content"), ("title", None), ("h1", None)):
        element = page.css_first(query)
        title = " ".join(((element.attributes.get(name) if name else element.text()) or "").split()) if element else ""
        if title:
            file.title = title
            return


def _main_element(body: LexborNode) -> LexborNode:
    """Return the element that is marked as main content, else the body."""
    for query in ("main", "[role=main]", "article"):
        candidates = body.css(query)
        if len(candidates) == 1:
            return candidates[0]
    return body


def _text_length(blocks: list[LayoutBlock]) -> int:
    length = 0
    for block in blocks:
        if isinstance(block, Table):
            length += sum(len(cell) for row in block.rows for cell in row)
        elif not isinstance(block, EncodedPicture):
            length += len(block.text)
    return length


class _PageParser:
    """Parses one page into blocks; ``main_only`` leaves out navigation, advertisements and the like."""

    def __init__(self, fetch: Fetch, main_only: bool) -> None:
        self._fetch, self._main_only = fetch, main_only
        self._blocks: list[LayoutBlock] = []
        self._inline_text: list[str] = []
        self._list_markers: list[str] = []  # of the open list items
        self._caption = False

    def blocks(self, root: LexborNode) -> list[LayoutBlock]:
        self._children(root, 0)
        self._break()
        return self._blocks

    def _break(self) -> None:
        """End the current paragraph."""
        lines = (" ".join(line.split()) for line in "".join(self._inline_text).split("\n"))
        text = "\n".join(filter(None, lines))
        self._inline_text = []
        if text:
            mark = self._list_markers[-1] if self._list_markers else None
            if mark:
                self._list_markers[-1] = " " * len(mark)
            self._blocks.append(Paragraph((mark or "") + text, list_item=mark is not None, caption=self._caption))

    def _children(self, node: LexborNode, depth: int) -> None:
        child = node.first_child
        while child is not None:
            self._node(child, depth + 1)
            child = child.next

    def _node(self, node: LexborNode, depth: int) -> None:
        tag = node.tag or ""
        if tag == "-text":
            self._inline_text.append((node.text_content or "").replace("\n", " "))
        elif tag.startswith("-") or tag in _SKIPPED_TAGS or self._is_boilerplate(node, tag):
            return
        elif depth > _MAX_NESTING:
            self._inline_text.append(" " + (node.text(deep=True) or "").replace("\n", " ") + " ")
        elif tag == "br":
            self._inline_text.append("\n")
        elif tag == "img":
            self._picture(node)
        elif len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
            self._break()
            blocks = _PageParser(self._fetch, self._main_only).blocks_in(node, depth)
            heading = " ".join(block.text for block in blocks if isinstance(block, (Paragraph, Heading)))
            self._blocks.append(Heading(heading, int(tag[1])))
            self._blocks += [block for block in blocks if isinstance(block, (EncodedPicture, Table))]
        elif tag == "pre":
            self._break()
            code = (node.text(deep=True) or "").strip("\n")
            if code.strip():
                self._blocks.append(Paragraph(f"```\n{code}\n```"))
        elif tag == "table" and (table := self._table(node, depth)) is not None:
            self._break()
            self._blocks += table
        elif tag in ("li", "dd", "dt"):
            self._break()
            self._list_markers.append("- " if tag != "dt" else "")
            self._children(node, depth)
            self._break()
            self._list_markers.pop()
        elif tag in ("figcaption", "caption"):
            self._break()
            self._caption = True
            self._children(node, depth)
            self._break()
            self._caption = False
        elif tag in _BLOCK_TAGS:
            self._break()
            self._children(node, depth)
            self._break()
        else:
            self._children(node, depth)

    def blocks_in(self, node: LexborNode, depth: int) -> list[LayoutBlock]:
        """Return the blocks of one element."""
        self._children(node, depth)
        self._break()
        return self._blocks

    def _is_boilerplate(self, node: LexborNode, tag: str) -> bool:
        attributes = node.attributes
        if "hidden" in attributes or _HIDDEN.search(attributes.get("style") or ""):
            return True
        if not self._main_only or tag in ("body", "main", "article"):
            return False
        if attributes.get("aria-hidden") == "true" or (attributes.get("role") or "") in _BOILERPLATE_ROLES:
            return True
        if tag in _BOILERPLATE_TAGS and not (tag in ("header", "form") and node.css_first("h1, p")):
            return True
        if tag in ("div", "section", "ul", "ol", "span", "table", "p"):
            name = f"{attributes.get('id') or ''} {attributes.get('class') or ''}"
            if len(name) < 200 and _BOILERPLATE_NAMES.search(name):
                return True
            if tag in ("ul", "ol"):
                links = node.css("a")
                linked = sum(len(a.text().strip()) for a in links)
                return (
                    len(links) >= 4 and linked > _MAX_LINK_SHARE * len(node.text().strip()) and linked < 40 * len(links)
                )
        return False

    def _picture(self, node: LexborNode) -> None:
        attributes = node.attributes
        source = attributes.get("src") or attributes.get("data-src") or ""
        data = decode_data_url(source) if source[:5].lower() == "data:" else self._fetch(source)
        if data is None:
            return
        self._break()
        texts = [clean_alt_text(attributes.get("alt")), clean_alt_text(attributes.get("title"))]
        description = ". ".join(dict.fromkeys(filter(None, texts)))
        self._blocks.append(
            EncodedPicture(data, description, name=source if source[:5].lower() != "data:" else "in the page")
        )

    def _table(self, node: LexborNode, depth: int) -> list[LayoutBlock] | None:
        """Return a table with its caption and pictures; None for a table that is used for page layout."""
        if node.css_first("table h1, table h2, table h3, table h4, table table, table pre, table ul ul"):
            return None
        rows: list[list[str]] = []
        spanning: dict[int, tuple[str, int]] = {}  # column -> text of a cell with rowspan, rows left
        pictures: list[LayoutBlock] = []
        for row in node.css("tr"):
            cells: list[str] = []
            child = row.first_child
            while child is not None or len(cells) in spanning:
                if len(cells) in spanning:
                    cell_text, remaining = spanning.pop(len(cells))
                    if remaining > 1:
                        spanning[len(cells)] = cell_text, remaining - 1
                    cells.append(cell_text)
                    continue
                assert child is not None
                if child.tag in ("td", "th"):
                    blocks = _PageParser(self._fetch, self._main_only).blocks_in(child, depth)
                    cell_text = " ".join(block.text for block in blocks if isinstance(block, (Paragraph, Heading)))
                    pictures += [block for block in blocks if isinstance(block, EncodedPicture)]
                    if (reach := _span_attribute(child, "rowspan")) > 1:
                        spanning[len(cells)] = cell_text, reach - 1
                    cells += [cell_text] + [""] * (_span_attribute(child, "colspan") - 1)
                child = child.next
            rows.append(cells)
        if max(map(len, rows), default=0) < 2 or len(rows) < 2:
            return None
        caption = node.css_first("caption")
        caption_text = " ".join(caption.text().split()) if caption else ""
        return (
            [Paragraph(caption_text, caption=True), Table(rows), *pictures]
            if caption_text
            else [Table(rows), *pictures]
        )


def _span_attribute(node: LexborNode, name: str) -> int:
    value = node.attributes.get(name) or ""
    return max(1, min(100, int(value))) if value.isdecimal() and len(value) < 6 else 1


def decode_data_url(address: str) -> bytes | None:
    """Return the bytes in a ``data:`` address (RFC 2397); None where they are not a picture."""
    head, _, body = address.partition(",")
    if not head[5:].lower().startswith("image/"):
        return None
    try:
        raw = unquote_to_bytes(body)
        return base64.b64decode(raw, validate=False) if head.lower().endswith(";base64") else raw
    except (binascii.Error, ValueError):
        return None
