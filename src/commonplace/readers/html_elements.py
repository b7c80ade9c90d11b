"""The elements of a web page as layout blocks: what a browser shows, in the order in which it is read."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from commonplace.readers.blocks import EncodedPicture, Heading, LayoutBlock, Paragraph, Table, clean_alt_text
from commonplace.readers.mathml import formula_text, tex

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

__all__ = ["BLOCK_TAGS", "Fetch", "PageParser", "children", "decode_data_url", "is_layout_table", "remove_unseen"]

#: Takes a picture's address and returns its bytes, or None where the picture is not local.
Fetch = Callable[[str], bytes | None]

#: Elements that begin and end a paragraph.
BLOCK_TAGS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "caption",
        "center",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hgroup",
        "hr",
        "html",
        "legend",
        "li",
        "main",
        "menu",
        "nav",
        "ol",
        "p",
        "pre",
        "search",
        "section",
        "summary",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "ul",
    ]
)
_UNSEEN_TAGS = frozenset(
    [
        "script",
        "style",
        "noscript",
        "template",
        "svg",
        "iframe",
        "object",
        "embed",
        "canvas",
        "audio",
        "video",
        "datalist",
        "head",
        "link",
        "meta",
        "map",
        "rp",
    ]
)
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_FOLDED = re.compile(r"accordion|collaps|tab-?(?:panel|pane|content)|expand|toggle|faq|answer", re.IGNORECASE)
_DRAWN_FORMULA = re.compile(r"(?:^|\s)(?:katex-html|MathJax(?:_Display|_Preview|_SVG|_CHTML)?|mjx-chtml)(?:\s|$)")
_LINE_NUMBERS = re.compile(r"(?:^|[\s_-])(?:line-?nos?|line-?numbers?|gutter|blob-num)(?:$|[\s_-])", re.IGNORECASE)
_NOTE = re.compile(r"(?:^|[\s_-])(?:reference|footnote|fn|cite|noteref|endnote)", re.IGNORECASE)

_SOURCE_LINE = "\x0b"  # a line end of the source, which is a space or, between characters of some scripts, nothing
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")  # they mark where a word may be broken, and are no part of it
_WIDE = "\u2e80-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uff60"
_INNER_LINE_END = re.compile(rf"(?<=[{_WIDE}])[ \t]*\x0b[ \t\x0b]*(?=[{_WIDE}])")
_MAX_NESTING = 150  # levels of elements; pages made by people have fewer
_MAX_CELL, _MAX_CELL_WITH_PARTS = 1500, 300  # letters; longer ones, or with headings and such, are columns of a page
_MIN_ALT_WORDS = 2
_REPEATED_SHARE = 0.8  # of the words of a picture's description, which a caption repeats
_NEARBY = 30  # blocks around a picture
_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
          (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip


class _Missing(Paragraph):
    """The description of a picture that cannot be shown."""


def children(node: LexborNode) -> Iterator[LexborNode]:
    """Yield the child nodes of an element, of which each may be taken out."""
    child = node.first_child
    while child is not None:
        following = child.next
        yield child
        child = following


def remove_unseen(body: LexborNode) -> None:
    """Take out what a browser never shows, and numbers of lines. What a reader may unfold stays."""
    controlled = set()
    for control in body.css("[aria-controls], [data-target], [data-bs-target], [data-toggle], summary a[href]"):
        for name in ("aria-controls", "data-target", "data-bs-target", "href"):
            controlled.update((control.attributes.get(name) or "").replace("#", " ").split())
    waiting = [body]
    while waiting:
        for child in children(waiting.pop()):
            tag = child.tag or "-"
            if tag == "script" and (child.attributes.get("type") or "").startswith("math/tex"):
                child.replace_with(tex(child.text() or ""))
            elif tag in _UNSEEN_TAGS or (not tag.startswith("-") and _is_hidden(child, tag, controlled)):
                child.decompose()
            elif not tag.startswith("-") and tag != "math":
                waiting.append(child)


def _is_hidden(node: LexborNode, tag: str, controlled: set[str]) -> bool:
    attributes = node.attributes
    if tag == "td" and _LINE_NUMBERS.search(attributes.get("class") or ""):  # beside a code
        return "".join((node.text() or "").split()).isdigit()
    if _DRAWN_FORMULA.search(attributes.get("class") or ""):
        return node.css_first("math") is None
    if tag == "dialog":
        return "open" not in attributes
    is_hidden = (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or _HIDDEN.search(attributes.get("style") or "") is not None
    )
    if not is_hidden or node.css_first("math") is not None:
        return False
    if attributes.get("hidden") == "until-found" or attributes.get("role") in ("region", "tabpanel"):
        return False
    if (attributes.get("id") or "-") in controlled or tag not in BLOCK_TAGS:
        return tag not in BLOCK_TAGS
    if tag == "p" or attributes.get("role") in ("dialog", "alertdialog", "menu") or attributes.get("aria-modal"):
        return True
    before = node.prev
    while before is not None and (before.tag or "-").startswith("-"):
        before = before.prev
    if before is not None and (before.tag in (*_HEADINGS, "button", "dt", "summary") or _is_control(before)):
        return False
    return _FOLDED.search(attributes.get("class") or "") is None


def _is_control(node: LexborNode) -> bool:
    """Return whether an element unfolds another one."""
    query = "button, [aria-expanded], [role=tab], [role=button]"
    return "aria-expanded" in node.attributes or (node.tag != "p" and node.css_first(query) is not None)


class PageParser:
    """Parses elements into blocks."""

    def __init__(self, fetch: Fetch, *, is_cell: bool = False) -> None:
        self._fetch, self._is_cell = fetch, is_cell
        self._blocks: list[LayoutBlock] = []
        self._inline: list[str] = []
        self._markers: list[str | None] = []  # of the open list items; spaces after the first paragraph
        self._numbers: list[_Numbers | None] = []  # of the open lists; None where they have bullets
        self._readings: list[list[str]] = []  # base and reading of the ruby texts in the current paragraph
        self._ruby_end = -1  # how many inline texts there were when the last ruby text ended
        self._caption = False

    def blocks(self, root: LexborNode, depth: int = 0) -> list[LayoutBlock]:
        """Return the blocks inside an element."""
        if root.tag == "table" and not depth:
            self._node(root, depth)
        else:
            self._children(root, depth)
        self._break()
        if depth:
            return self._blocks
        return list(_without_repetitions(self._blocks))

    def _break(self) -> None:
        """End the current paragraph."""
        text = _INNER_LINE_END.sub("", _INVISIBLE.sub("", "".join(self._inline)))
        lines = [" ".join(line.split()) for line in text.split("\n")]
        if self._readings:
            lines.append("; ".join(f"{base}: {reading}" for base, reading in self._readings))
        text = "\n".join(filter(None, lines))
        self._inline, self._readings, self._ruby_end = [], [], -1
        if text:
            marker = self._markers[-1] if self._markers else None
            if marker:
                self._markers[-1] = " " * len(marker)
            self._blocks.append(Paragraph((marker or "") + text, list_item=marker is not None, caption=self._caption))

    def _children(self, node: LexborNode, depth: int) -> None:
        for child in children(node):
            self._node(child, depth + 1)

    def _inside(self, node: LexborNode, depth: int, *, is_cell: bool = False) -> list[LayoutBlock]:
        """Return the blocks of an element apart from those around it."""
        return PageParser(self._fetch, is_cell=is_cell or self._is_cell).blocks(node, depth)

    def _node(self, node: LexborNode, depth: int) -> None:
        tag = node.tag or ""
        if tag == "-text":
            self._inline.append((node.text_content or "").replace("\n", _SOURCE_LINE))
        elif tag.startswith("-") or tag in _UNSEEN_TAGS:
            return
        elif depth > _MAX_NESTING:
            self._inline.append(" " + (node.text(deep=True) or "").replace("\n", " ") + " ")
        elif (special := _SPECIAL.get(tag)) is not None:
            special(self, node, depth)
        elif (level := _heading_level(node, tag)) is not None:
            self._heading(node, level, depth)
        elif tag == "table" and (table := self._table(node, depth)) is not None:
            self._break()
            self._blocks += table
        elif tag in BLOCK_TAGS:
            self._break()
            self._children(node, depth)
            self._break()
        else:
            self._children(node, depth)

    def _line_break(self, node: LexborNode, depth: int) -> None:
        self._inline.append("\n")

    def _heading(self, node: LexborNode, level: int, depth: int) -> None:
        self._break()
        blocks = self._inside(node, depth)
        text = " ".join(block.text for block in blocks if isinstance(block, (Paragraph, Heading)))
        self._blocks.append(Heading(text, level))
        self._blocks += [block for block in blocks if isinstance(block, (EncodedPicture, Table))]

    def _code(self, node: LexborNode, depth: int) -> None:
        self._break()
        code = _INVISIBLE.sub("", "".join(_code_text(node, 0))).strip("\n")
        if code.strip():
            self._blocks.append(Paragraph(code if self._is_cell else f"```\n{code.rstrip()}\n```"))

    def _list(self, node: LexborNode, depth: int) -> None:
        self._break()
        self._numbers.append(_Numbers(node) if node.tag == "ol" else None)
        self._children(node, depth)
        self._break()
        self._numbers.pop()

    def _list_item(self, node: LexborNode, depth: int) -> None:
        self._break()
        numbers = self._numbers[-1] if self._numbers and node.tag == "li" else None
        marker = numbers.marker(node) if numbers else "" if node.tag == "dt" else "- "
        self._markers.append(marker)
        self._children(node, depth)
        self._break()
        self._markers.pop()

    def _caption_text(self, node: LexborNode, depth: int) -> None:
        self._break()
        self._caption = True
        self._children(node, depth)
        self._break()
        self._caption = False

    def _formula(self, node: LexborNode, depth: int) -> None:
        self._inline.append(f" {formula_text(node)} ")

    def _raised(self, node: LexborNode, depth: int) -> None:
        """Keep a raised mark apart from what it stands at: 10^6, 250 [3]."""
        text = _inline_text(self._inside(node, depth))
        before = "".join(self._inline[-3:])[-1:]
        parent, link = node.parent, node.css_first("a[href]")
        target = link if link is not None else parent if parent is not None and parent.tag == "a" else None
        is_note = (target is not None and (target.attributes.get("href") or "").startswith("#")) or _NOTE.search(
            node.attributes.get("class") or ""
        )
        if not text:
            return
        if is_note:
            self._inline.append(text if text.startswith(("[", "(")) else f" [{text}]")
        elif not (before.isalnum() or before in ")]}") or not _EXPONENT.fullmatch(text) or _is_ordinal(before, text):
            self._inline.append(text)
        else:
            self._inline.append(f"^{text}" if _PLAIN_EXPONENT.fullmatch(text) else f"^({text})")

    def _lowered(self, node: LexborNode, depth: int) -> None:
        text = _inline_text(self._inside(node, depth))
        before = "".join(self._inline[-3:])[-1:]
        self._inline.append(f"_{text}" if text.isdigit() and before.isdigit() else text)

    def _ruby(self, node: LexborNode, depth: int) -> None:
        """Keep the base text whole; its reading stands after the paragraph."""
        base = reading = ""
        for child in children(node):
            tag = child.tag or ""
            if tag in ("rt", "rtc"):
                reading += "".join((child.text() or "").split())
            elif tag != "rp":
                base += "".join((child.text() if tag != "-text" else child.text_content or "").split())
        if self._readings and self._ruby_end == len(self._inline):
            self._readings[-1][0] += base
            self._readings[-1][1] += reading
        elif reading:
            self._readings.append([base, reading])
        self._inline.append(base)
        self._ruby_end = len(self._inline)

    def _button(self, node: LexborNode, depth: int) -> None:
        """Keep the words of a button that unfolds a text: they are its heading."""
        attributes, parent = node.attributes, node.parent
        if (
            attributes.keys() & {"aria-expanded", "aria-controls", "data-target", "data-bs-target"}
            or attributes.get("role") == "tab"
            or (parent is not None and parent.tag in (*_HEADINGS, "dt", "summary"))
            or (node.text() or "").strip().endswith(("?", "？", "؟"))
        ):
            is_heading = parent is not None and parent.tag in _HEADINGS
            if not is_heading:
                self._break()
            self._children(node, depth)
            if not is_heading:
                self._break()

    def _field(self, node: LexborNode, depth: int) -> None:
        """Keep what stands in a field of a form."""
        attributes, value = node.attributes, ""
        if node.tag == "textarea":
            value = node.text() or ""
        elif node.tag == "select":
            chosen = node.css_first("option[selected]")
            value = (chosen.text() or "") if chosen is not None else ""
        elif attributes.get("type") in ("checkbox", "radio"):
            value = "[x]" if "checked" in attributes else "[ ]"
        elif (attributes.get("type") or "text") in ("text", "number", "date", "time", "email", "tel", "url", "range"):
            value = attributes.get("value") or ""
        if value.strip():
            self._inline.append(f" {value} ")

    def _picture(self, node: LexborNode, depth: int) -> None:
        attributes = node.attributes
        source = attributes.get("src") or attributes.get("data-src") or ""
        texts = [clean_alt_text(attributes.get("alt")), clean_alt_text(attributes.get("title"))]
        description = ". ".join(dict.fromkeys(filter(None, texts)))
        data = decode_data_url(source) if source[:5].lower() == "data:" else self._fetch(source)
        if data is not None:
            self._break()
            name = source if source[:5].lower() != "data:" else "in the page"
            self._blocks.append(EncodedPicture(data, description, name=name))
        elif "\\" in texts[0] and "{" in texts[0]:  # a formula that is drawn
            parent = node.parent
            if parent is None or parent.css_first("math") is None:
                self._inline.append(f" {tex(texts[0])} ")
        elif len(description.split()) >= _MIN_ALT_WORDS:
            self._break()
            self._blocks.append(_Missing(f"[{description}]", caption=True))

    def _table(self, node: LexborNode, depth: int) -> list[LayoutBlock] | None:
        """Return a table with its caption and pictures; None for a table that only places parts."""
        if is_layout_table(node):
            return None
        rows: list[list[str]] = []
        spanning: dict[int, tuple[str, int]] = {}  # column -> text of a cell with rowspan, rows left
        pictures: list[LayoutBlock] = []
        for row in _rows(node):
            cells: list[str] = []
            pending = [child for child in children(row) if child.tag in ("td", "th")][::-1]
            while pending or len(cells) in spanning:
                if len(cells) in spanning:
                    text, remaining = spanning.pop(len(cells))
                    if remaining > 1:
                        spanning[len(cells)] = text, remaining - 1
                    cells.append(text)
                    continue
                cell = pending.pop()
                blocks = self._inside(cell, depth, is_cell=True)
                text = _inline_text(blocks)
                pictures += [block for block in blocks if isinstance(block, EncodedPicture)]
                if (reach := _span(cell, "rowspan")) > 1:
                    spanning[len(cells)] = text, reach - 1
                cells += [text] + [""] * (_span(cell, "colspan") - 1)
            rows.append(cells)
        caption = next((child for child in children(node) if child.tag == "caption"), None)
        blocks = [Table(rows), *pictures]
        if caption is not None and (text := _inline_text(self._inside(caption, depth))):
            blocks.insert(0, Paragraph(text, caption=True))
        return blocks


_EXPONENT = re.compile(r"[-+−–]?\d[\d.,/]*|[-+−]?[a-zA-Z]|[-+−]|.*[-+−/*·].*|[∗*†‡′″]")
_PLAIN_EXPONENT = re.compile(r"[-+−–]?[\w.,]+|\S")

_SPECIAL: dict[str, Callable[[PageParser, LexborNode, int], None]] = {
    "br": PageParser._line_break,
    "img": PageParser._picture,
    "pre": PageParser._code,
    "ol": PageParser._list,
    "ul": PageParser._list,
    "menu": PageParser._list,
    **dict.fromkeys(("li", "dd", "dt"), PageParser._list_item),
    **dict.fromkeys(("figcaption", "caption"), PageParser._caption_text),
    "math": PageParser._formula,
    "sup": PageParser._raised,
    "sub": PageParser._lowered,
    "ruby": PageParser._ruby,
    "button": PageParser._button,
    **dict.fromkeys(("input", "textarea", "select"), PageParser._field),
}


def _without_repetitions(blocks: list[LayoutBlock]) -> Iterator[LayoutBlock]:
    """Yield the blocks without descriptions of missing pictures that a text nearby, such as the caption, repeats."""
    words = [
        frozenset(block.text.strip("[]").lower().split()) if isinstance(block, (Paragraph, Heading)) else frozenset()
        for block in blocks
    ]
    for index, block in enumerate(blocks):
        if isinstance(block, _Missing):
            nearby = words[max(0, index - _NEARBY) : index] + words[index + 1 : index + _NEARBY]
            if any(len(words[index] & others) >= _REPEATED_SHARE * len(words[index]) for others in nearby):
                words[index] = frozenset()
                continue
        yield block


def _is_ordinal(before: str, text: str) -> bool:
    """Return whether a raised text makes a number an ordinal: 1e, 2a."""
    return before.isdigit() and text.lower() in ("a", "e", "o")


class _Numbers:
    """The numbers of a list's items, as its attributes say."""

    def __init__(self, node: LexborNode) -> None:
        attributes = node.attributes
        self._style = attributes.get("type") or "1"
        self._step = -1 if "reversed" in attributes else 1
        first = sum(child.tag == "li" for child in children(node)) if self._step < 0 else 1
        self._next = _integer(attributes.get("start"), first)

    def marker(self, node: LexborNode) -> str:
        number = _integer(node.attributes.get("value"), self._next)
        self._next = number + self._step
        return f"{_numeral(number, self._style)}. "


def _integer(text: str | None, default: int) -> int:
    return int(text) if text and re.fullmatch(r"-?\d{1,7}", text.strip()) else default


def _numeral(number: int, style: str) -> str:
    """Return a number in the style of a list: 1, a, A, i or I."""
    if style in ("i", "I") and 0 < number < 4000:
        text = ""
        for value, letters in _ROMAN:
            text += letters * (number // value)
            number %= value
    elif style in ("a", "A") and number > 0:
        text = ""
        while number:
            number, digit = divmod(number - 1, 26)
            text = chr(ord("a") + digit) + text
    else:
        return str(number)
    return text.upper() if style.isupper() else text


def _heading_level(node: LexborNode, tag: str) -> int | None:
    if tag in _HEADINGS:
        return int(tag[1])
    if node.attributes.get("role") == "heading":
        return min(max(_integer(node.attributes.get("aria-level"), 2), 1), 9)
    return None


def _inline_text(blocks: list[LayoutBlock]) -> str:
    """Return the text of blocks on one line; a table inside is one part for each row."""
    texts = []
    for block in blocks:
        if isinstance(block, (Paragraph, Heading)):
            texts.append(block.text)
        elif isinstance(block, Table):
            texts.append("; ".join(", ".join(filter(None, row)) for row in block.rows))
    return " ".join(" ".join(texts).split())


def _code_text(node: LexborNode, depth: int) -> Iterator[str]:
    """Yield the pieces of a code's text, with its lines, without their numbers."""
    last = ""
    for child in children(node):
        tag = child.tag or ""
        if tag == "-text":
            yield child.text_content or ""
            last = (child.text_content or "")[-1:] or last
        elif tag == "br":
            yield "\n"
            last = "\n"
        elif tag.startswith("-") or tag == "button" or _LINE_NUMBERS.search(child.attributes.get("class") or ""):
            continue
        elif depth > _MAX_NESTING:
            yield child.text(deep=True) or ""
        else:
            text = "".join(_code_text(child, depth + 1))
            if tag in BLOCK_TAGS and last not in ("", "\n"):
                yield "\n"
            yield text if tag not in BLOCK_TAGS or text.endswith("\n") else text + "\n"
            last = text[-1:] if tag not in BLOCK_TAGS else "\n"


def _rows(table: LexborNode) -> Iterator[LexborNode]:
    """Yield the rows of a table, without those of tables inside it."""
    for child in children(table):
        if child.tag == "tr":
            yield child
        elif child.tag in ("thead", "tbody", "tfoot"):
            yield from (row for row in children(child) if row.tag == "tr")


def is_layout_table(node: LexborNode) -> bool:
    """Return whether a table only places the parts of a page."""
    rows = [[cell for cell in children(row) if cell.tag in ("td", "th")] for row in _rows(node)]
    columns = max((sum(_span(cell, "colspan") for cell in row) for row in rows), default=0)
    if len(rows) < 2 or columns < 2 or node.attributes.get("role") in ("presentation", "none"):
        return True
    if any(child.tag in ("caption", "thead") for child in children(node)):
        return False
    if any(cell.tag == "th" for row in rows for cell in row):
        return False
    longest = max(len(cell.text() or "") for row in rows for cell in row)
    limit = _MAX_CELL_WITH_PARTS if node.css_first("h1, h2, h3, pre, form, table") is not None else _MAX_CELL
    return longest > limit


def _span(node: LexborNode, name: str) -> int:
    return max(1, min(100, _integer(node.attributes.get(name), 1)))


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
