"""Web pages, saved or not: the main content under its headings, tables, and the local pictures that the page shows."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from commonplace.errors import ReadError
from commonplace.readers.blocks import Block, Heading, Shown, Table, Words, clean_alt_text, lay_out
from commonplace.readers.formats import read_whole
from commonplace.readers.markdown import local_picture
from commonplace.readers.metadata import names_in
from commonplace.readers.parts import File, Part
from commonplace.readers.text import decode

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

__all__ = ["decode_html", "html_blocks", "on_disk", "read_html"]

#: A picture's address -> its bytes, or None where it is not one of ours to show.
Fetch = Callable[[str], bytes | None]

_CHARSET = re.compile(
    rb"""<(?:meta[^>]{0,200}charset|\?xml[^>]{0,100}encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE
)
_NEVER = {"script", "style", "noscript", "template", "svg", "math", "iframe", "object", "embed", "canvas", "audio"}
_NEVER |= {"video", "select", "button", "input"}
_NEVER |= {"textarea", "head", "link", "meta", "map", "dialog"}
_CLOSED = re.compile(r"<(title|script|style|textarea|iframe|noscript|a|p|div|span|td|li|b|i|h[1-6])(\s[^<>]*)?/>")
_AROUND = {"nav", "footer", "aside", "menu", "form", "header"}  # beside the main content, mostly
_ROLES = {"navigation", "banner", "contentinfo", "search", "complementary", "menu", "menubar", "dialog", "alertdialog"}
_NAMES = re.compile(
    r"(^|[\s_-])(nav|navbar|navigation|menu|breadcrumbs?|sidebar|footer|cookies?|consent|advert|ads?|share|social|"
    r"related|newsletter|skip-?link|toc|vector-toc|mw-editsection|noprint|pagination)([\s_-]|$)",
    re.IGNORECASE,
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_BLOCKS = {"address", "article", "aside", "blockquote", "body", "center", "dd", "details", "div", "dl", "dt", "header"}
_BLOCKS |= {
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
_BLOCKS |= {"nav", "ol", "p", "pre", "search", "section", "summary", "table", "ul", "caption"}
_BLOCKS |= {"tr", "td", "th", "tbody", "thead", "tfoot"}
_METAS = 300
_DEEP = 300  # elements inside of each other: no page that a person made
_DEEPEST = 25_000  # the parser's time grows with the square of it, to some seconds here
_OPENED = re.compile(r"<(/?)([a-z][^\s/>]*)", re.IGNORECASE)
_FLAT = re.compile(  # elements that need no end, and those that the parser closes by itself
    "area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr|p|li|d[dt]|t[rdh]|tbody|thead|tfoot|opt(ion|group)|"
    "a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u|html|head|body",
    re.IGNORECASE,
)
_LINKS = 0.7  # of a list's letters: more in links is a menu
_KEPT = 0.3  # of a page's letters: main content with less than that was judged wrongly


def read_html(file: File) -> Iterator[Part]:
    """Yield the page's main content; pictures only from ``data:`` addresses and from inside ``file.root``."""
    text, problem = decode_html(file.data)
    if problem:
        file.problems.append(problem)
    yield from lay_out(file, html_blocks(file, text, on_disk(file)))


def decode_html(data: bytes) -> tuple[str, str | None]:
    """Return the text of a page by the encoding it states, or else as :func:`~commonplace.readers.text.decode` does."""
    stated = _CHARSET.search(data[:4096])
    if stated and not data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name = stated[1].decode("ascii").lower()
        name = "cp1252" if name in ("iso-8859-1", "latin1", "ascii", "us-ascii") else name  # as browsers do
        try:
            if not name.startswith("utf-16"):  # a page that can say so in ASCII is none
                return codecs.lookup(name).decode(data)[0].replace("\0", "\ufffd"), None
        except (LookupError, UnicodeError, TypeError, AttributeError):
            pass
    return decode(data)


def on_disk(file: File) -> Fetch:
    """Return what fetches pictures for a page that lies on the disk."""

    def fetch(target: str) -> bytes | None:
        path = local_picture(file, target)
        try:
            return read_whole(path, file.options.max_bytes) if path is not None else None
        except ReadError as error:
            file.problems.append(f"picture {target}: {error}")
            return None

    return fetch


def html_blocks(file: File, text: str, fetch: Fetch, *, whole: bool = False) -> Iterator[Block]:
    """Yield what a page says, block by block; ``whole`` takes all of it for main content. Sets ``file.title``."""
    from selectolax.lexbor import LexborHTMLParser

    if "xhtml" in text[:1000].lower() or text.startswith("<?xml"):
        text = _CLOSED.sub(r"<\1\2></\1>", text)  # an empty element of XML would swallow all that follows
    if text.count("<") > _DEEPEST and _depth(text) > _DEEPEST:
        raise ReadError("elements inside of elements past all sense; save it anew and add it again")
    page = LexborHTMLParser(text)
    _entitle(file, page)
    if not whole:
        _describe(file, page)
    body = page.body
    if body is None:
        return
    blocks = list(_Page(fetch, strict=not whole).blocks(_main(body) if not whole else body))
    if not whole:
        lenient = list(_Page(fetch, strict=False).blocks(body))
        if _letters(blocks) < _KEPT * _letters(lenient):
            blocks = lenient
    yield from blocks


def _depth(text: str) -> int:
    """Return about how many elements of a page stand inside of each other."""
    depth = deepest = 0
    for found in _OPENED.finditer(text):
        if not _FLAT.fullmatch(found[2]):
            depth = max(0, depth - 1) if found[1] else depth + 1
            deepest = max(deepest, depth)
    return deepest


_META = {  # name or property of a <meta> -> key, and what parts several values in it
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


def _describe(file: File, page: Any) -> None:
    """State what the page says of itself."""
    root = page.css_first("html")
    file.state("language", root.attributes.get("lang") or root.attributes.get("xml:lang") if root else None)
    for one in page.css("meta[content]")[:_METAS]:
        names = (one.attributes.get(name) for name in ("name", "property", "itemprop", "http-equiv"))
        key, marks = _META.get(next(filter(None, names), "").lower(), ("", ""))
        words = one.attributes.get("content") or ""
        if key and not (key == "author" and "://" in words):
            file.state(key, *(names_in(words, marks) if marks else [words]))


def _entitle(file: File, page: Any) -> None:
    if file.title is not None:
        return
    for query, name in (("meta[property='og:title']", "content"), ("title", None), ("h1", None)):
        found = page.css_first(query)
        words = " ".join(((found.attributes.get(name) if name else found.text()) or "").split()) if found else ""
        if words:
            file.title = words
            return


def _main(body: LexborNode) -> LexborNode:
    """Return the element that says it is the main content, else the body."""
    for query in ("main", "[role=main]", "article"):
        found = body.css(query)
        if len(found) == 1:
            return found[0]
    return body


def _letters(blocks: list[Block]) -> int:
    count = 0
    for block in blocks:
        if isinstance(block, Table):
            count += sum(len(cell) for row in block.rows for cell in row)
        elif not isinstance(block, Shown):
            count += len(block.words)
    return count


class _Page:
    """One pass over a page; ``strict`` leaves out what stands around the main content."""

    def __init__(self, fetch: Fetch, strict: bool) -> None:
        self._fetch, self._strict = fetch, strict
        self._out: list[Block] = []
        self._run: list[str] = []
        self._marks: list[str] = []  # of the list items that are open
        self._caption = False

    def blocks(self, root: LexborNode) -> list[Block]:
        self._children(root, 0)
        self._break()
        return self._out

    def _break(self) -> None:
        """End the paragraph that is being gathered."""
        lines = (" ".join(line.split()) for line in "".join(self._run).split("\n"))
        words = "\n".join(filter(None, lines))
        self._run = []
        if words:
            mark = self._marks[-1] if self._marks else None
            if mark:
                self._marks[-1] = " " * len(mark)
            self._out.append(Words((mark or "") + words, item=mark is not None, caption=self._caption))

    def _children(self, node: LexborNode, depth: int) -> None:
        child = node.first_child
        while child is not None:
            self._node(child, depth + 1)
            child = child.next

    def _node(self, node: LexborNode, depth: int) -> None:
        tag = node.tag or ""
        if tag == "-text":
            self._run.append((node.text_content or "").replace("\n", " "))
        elif tag.startswith("-") or tag in _NEVER or self._is_left_out(node, tag):
            return
        elif depth > _DEEP:
            self._run.append(" " + (node.text(deep=True) or "").replace("\n", " ") + " ")
        elif tag == "br":
            self._run.append("\n")
        elif tag == "img":
            self._picture(node)
        elif len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
            self._break()
            inside = _Page(self._fetch, self._strict).blocks_in(node, depth)
            words = " ".join(block.words for block in inside if isinstance(block, (Words, Heading)))
            self._out.append(Heading(words, int(tag[1])))
            self._out += [block for block in inside if isinstance(block, (Shown, Table))]
        elif tag == "pre":
            self._break()
            code = (node.text(deep=True) or "").strip("\n")
            if code.strip():
                self._out.append(Words(f"```\n{code}\n```"))
        elif tag == "table" and (table := self._table(node, depth)) is not None:
            self._break()
            self._out += table
        elif tag in ("li", "dd", "dt"):
            self._break()
            self._marks.append("- " if tag != "dt" else "")
            self._children(node, depth)
            self._break()
            self._marks.pop()
        elif tag in ("figcaption", "caption"):
            self._break()
            self._caption = True
            self._children(node, depth)
            self._break()
            self._caption = False
        elif tag in _BLOCKS:
            self._break()
            self._children(node, depth)
            self._break()
        else:
            self._children(node, depth)

    def blocks_in(self, node: LexborNode, depth: int) -> list[Block]:
        """Return the blocks of an element on its own."""
        self._children(node, depth)
        self._break()
        return self._out

    def _is_left_out(self, node: LexborNode, tag: str) -> bool:
        attributes = node.attributes
        if "hidden" in attributes or _HIDDEN.search(attributes.get("style") or ""):
            return True
        if not self._strict or tag in ("body", "main", "article"):
            return False
        if attributes.get("aria-hidden") == "true" or (attributes.get("role") or "") in _ROLES:
            return True
        if tag in _AROUND and not (tag in ("header", "form") and node.css_first("h1, p")):
            return True
        if tag in ("div", "section", "ul", "ol", "span", "table", "p"):
            name = f"{attributes.get('id') or ''} {attributes.get('class') or ''}"
            if len(name) < 200 and _NAMES.search(name):
                return True
            if tag in ("ul", "ol"):
                links = node.css("a")
                linked = sum(len(a.text().strip()) for a in links)
                return len(links) >= 4 and linked > _LINKS * len(node.text().strip()) and linked < 40 * len(links)
        return False

    def _picture(self, node: LexborNode) -> None:
        attributes = node.attributes
        source = attributes.get("src") or attributes.get("data-src") or ""
        data = embedded(source) if source[:5].lower() == "data:" else self._fetch(source)
        if data is None:
            return
        self._break()
        words = [clean_alt_text(attributes.get("alt")), clean_alt_text(attributes.get("title"))]
        said = ". ".join(dict.fromkeys(filter(None, words)))
        self._out.append(Shown(data, said, name=source if source[:5].lower() != "data:" else "in the page"))

    def _table(self, node: LexborNode, depth: int) -> list[Block] | None:
        """Return a table and what stands in it; None where it only puts things side by side."""
        if node.css_first("table h1, table h2, table h3, table h4, table table, table pre, table ul ul"):
            return None
        rows: list[list[str]] = []
        down: dict[int, tuple[str, int]] = {}  # column -> cell that reaches into the rows below, and how many
        beside: list[Block] = []
        for row in node.css("tr"):
            cells: list[str] = []
            child = row.first_child
            while child is not None or len(cells) in down:
                if len(cells) in down:
                    words, left = down.pop(len(cells))
                    if left > 1:
                        down[len(cells)] = words, left - 1
                    cells.append(words)
                    continue
                assert child is not None
                if child.tag in ("td", "th"):
                    inside = _Page(self._fetch, self._strict).blocks_in(child, depth)
                    words = " ".join(one.words for one in inside if isinstance(one, (Words, Heading)))
                    beside += [one for one in inside if isinstance(one, Shown)]
                    if (reach := _number(child, "rowspan")) > 1:
                        down[len(cells)] = words, reach - 1
                    cells += [words] + [""] * (_number(child, "colspan") - 1)
                child = child.next
            rows.append(cells)
        if max(map(len, rows), default=0) < 2 or len(rows) < 2:
            return None
        caption = node.css_first("caption")
        words = " ".join(caption.text().split()) if caption else ""
        return [Words(words, caption=True), Table(rows), *beside] if words else [Table(rows), *beside]


def _number(node: LexborNode, name: str) -> int:
    value = node.attributes.get(name) or ""
    return max(1, min(100, int(value))) if value.isdecimal() and len(value) < 6 else 1


def embedded(address: str) -> bytes | None:
    """Return the bytes that a ``data:`` address holds (RFC 2397), None where they are no picture."""
    head, _, body = address.partition(",")
    if not head[5:].lower().startswith("image/"):
        return None
    try:
        raw = unquote_to_bytes(body)
        return base64.b64decode(raw, validate=False) if head.lower().endswith(";base64") else raw
    except (binascii.Error, ValueError):
        return None
