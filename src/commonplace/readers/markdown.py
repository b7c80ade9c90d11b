"""Markdown: passages under their headings, and the local pictures that the page shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from commonplace.errors import ReadError
from commonplace.readers.blocks import CAPTION, ICON, clean_alt_text
from commonplace.readers.ocr import with_words
from commonplace.readers.parts import File, ImageBlock, Part, TextBlock
from commonplace.readers.pictures import load_picture
from commonplace.readers.text import decode
from commonplace.types import Span

if TYPE_CHECKING:
    from markdown_it.token import Token

__all__ = ["local_picture", "markdown_parts", "read_markdown"]

_LINE = re.compile(r"\r\n|\r|\n")
_FRONT = re.compile(r"(?:\s*\n)?---[ \t]*\r?\n(.*?\r?\n)?(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_FRONT_LINE = re.compile(
    r"^([A-Za-z][\w.-]*(?: [A-Za-z]+)?)[ \t]*:[ \t]*(.*?)[ \t]*\r?$((?:\n[ \t]*-[ \t].*$)*)", re.MULTILINE
)
_NESTED = re.compile(r"^last_update:[ \t]*\r?\n(?:[ \t]+.*\n)*?[ \t]+date:", re.MULTILINE)  # Docusaurus's way
_STATED = {  # key of the front matter, without what stands between its words -> ours
    **dict.fromkeys(("author", "authors"), "author"),
    **dict.fromkeys(("lang", "language"), "language"),
    **dict.fromkeys(("tags", "keywords", "categories"), "keyword"),
    **dict.fromkeys(("date", "created", "createdat", "datecreated"), "created"),
    **dict.fromkeys(("published", "publishedat", "publishdate", "pubdate", "datepublished"), "created"),
    **dict.fromkeys(("modified", "modifiedat", "datemodified"), "modified"),
    **dict.fromkeys(("lastmod", "lastmodified", "lastmodifiedat"), "modified"),
    **dict.fromkeys(("updated", "updatedat", "updateddate", "dateupdated"), "modified"),
    **dict.fromkeys(("lastupdate", "lastupdated", "msdate"), "modified"),
}
_MONTH_FIRST = re.compile(r"(\d\d?)/(\d\d?)/(\d{4})")
_IMAGE = re.compile(
    r"!\[(?:\\.|[^\[\]\\]|\[(?:\\.|[^\[\]\\])*\])*\](?:\((?:\\.|[^()\\]|\([^()]*\))*\)|\[[^\]]*\])?", re.DOTALL
)
_TAG = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
_FIGCAPTION = re.compile(r"<figcaption\b[^>]*>(.*?)</figcaption>", re.IGNORECASE | re.DOTALL)
_MARKUP = re.compile(r"<[^>]*>")
_DIRECTIVE = re.compile(r":::image\b(.*?):::", re.DOTALL)  # DocFX, the dialect of learn.microsoft.com
_ATTRIBUTE = re.compile(r"([\w-]+)\s*=\s*\"([^\"]*)\"")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:|//|\\\\", re.IGNORECASE)

_LONG_HEADING = 120  # characters; a longer one is a paragraph in disguise and stays in the text


@dataclass(frozen=True, slots=True)
class _Shown:
    """A reference to a picture: where it points, what is said of it, where it stands (offsets in the text)."""

    target: str
    words: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Section:
    """Headings above and including its own; where its heading, its body and the next section begin."""

    path: tuple[str, ...]
    start: int
    body: int
    end: int


def read_markdown(file: File) -> Iterator[Part]:
    """Yield, section by section, the text under its headings ("A > B") and the local pictures shown there."""
    text, problem = decode(file.data)
    if problem:
        file.problems.append(problem)
    yield from markdown_parts(file, text, {})


def markdown_parts(file: File, text: str, pictures: Mapping[str, bytes]) -> Iterator[Part]:
    """Yield the parts of a Markdown text; a target named in ``pictures`` stands for those bytes."""
    from markdown_it import MarkdownIt

    front = _FRONT.match(text)
    begin = front.end() if front else 0
    tokens = MarkdownIt("commonmark").enable("table").parse(text[begin:])
    lines = [begin, *(found.end() for found in _LINE.finditer(text, begin)), len(text)]

    sections = list(_sections(tokens, lines))
    shown = list(_shown(tokens, text, lines))
    named = _front(file, front[0]) if front else None
    file.title = next((section.path[0] for section in sections if section.path), named)
    for section, after in zip(sections, [*sections[1:], None], strict=True):
        title = " > ".join(section.path) or None
        start = section.body
        if section.path and len(section.path[-1]) > _LONG_HEADING:
            start = section.start
        if text[start : section.end].strip():
            yield TextBlock(text[start : section.end], start, title, markdown=True)
        elif section.path and (after is None or len(after.path) <= len(section.path)):
            # a heading with nothing under it is all there is of its section
            above = " > ".join(section.path[:-1]) or None
            yield TextBlock(text[section.start : section.end], section.start, above, markdown=True)
        for reference in shown:
            if section.start <= reference.start < section.end:
                yield from _figure(file, reference, title, pictures)


def _front(file: File, matter: str) -> str | None:
    """State what the front matter says, as far as it is keys with words or lists of them; return its title."""
    title = None
    for found in _FRONT_LINE.finditer(_NESTED.sub("last_update:", matter)):
        key, words, listed = re.sub(r"[ ._-]", "", found[1].lower()), found[2], found[3]
        ours = _STATED.get(key)
        if key == "title" and title is None:
            title = _unquoted(words) or None
        elif ours in ("created", "modified"):
            when = _unquoted(words.partition(" #")[0])
            file.state(ours, _MONTH_FIRST.sub(r"\3-\1-\2", when) if key == "msdate" else when)
        elif ours:
            values = words.strip("[]").split(",") if words.startswith("[") or "," in words else [words]
            values = [_unquoted(one) for one in values + [line.strip()[1:] for line in listed.splitlines()]]
            file.state(ours, *(one for one in values if one))
    return title


def _unquoted(words: str) -> str:
    plain = words.strip()
    return plain[1:-1] if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "'\"" else plain


def _sections(tokens: list[Token], lines: list[int]) -> Iterator[_Section]:
    path: list[tuple[int, str]] = []
    start = body = lines[0]
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map:
            here = lines[token.map[0]]
            yield _Section(tuple(words for _, words in path), start, body, here)
            level = int(token.tag[1])
            path = [*((above, words) for above, words in path if above < level), (level, _plain(inline))]
            start, body = here, lines[token.map[1]]
    yield _Section(tuple(words for _, words in path), start, body, lines[-1])


def _plain(inline: Token) -> str:
    """Return the words of a heading or paragraph without its marks."""
    words = (child.content if child.type in ("text", "code_inline") else " " for child in inline.children or ())
    return " ".join("".join(words).split())


def _shown(tokens: list[Token], text: str, lines: list[int]) -> Iterator[_Shown]:
    """Yield the references to pictures in the order of the text."""
    blocks = [token for token in tokens if token.map and token.type in ("inline", "html_block")]
    for block, after in zip(blocks, [*blocks[1:], None][: len(blocks)], strict=True):
        assert block.map is not None
        start, end = lines[block.map[0]], lines[block.map[1]]
        children = block.children or ()
        caption = _caption_after(block, after)
        found: list[_Shown] = []
        cursor = start
        for child in children:
            if child.type == "image":
                source = str(child.attrs.get("src", ""))
                first, last = _place(text, cursor, end, source) or (start, end)
                cursor = last if (first, last) != (start, end) else cursor
                words = ". ".join(dict.fromkeys(filter(None, (child.content, str(child.attrs.get("title", ""))))))
                found.append(_Shown(source, words, first, last))
        tags = (
            [block.content]
            if block.type == "html_block"
            else [child.content for child in children if child.type == "html_inline"]
        )
        for tag in (match[0] for content in tags for match in _TAG.finditer(content)):
            attributes = _attributes(tag)
            first = text.find(tag, start, end)
            place = (first, first + len(tag)) if first >= 0 else (start, end)
            words = attributes.get("alt") or attributes.get("title") or ""
            beneath = _FIGCAPTION.search(block.content) if block.type == "html_block" else None
            if beneath:
                words = ". ".join(filter(None, (words, _MARKUP.sub(" ", beneath[1]))))
            found.append(_Shown(attributes.get("src") or "", words, *place))
        if ":::image" in block.content:
            for match in _DIRECTIVE.finditer(text, start, end):
                values = dict(_ATTRIBUTE.findall(match[1]))
                found.append(_Shown(values.get("source", ""), values.get("alt-text", ""), *match.span()))
        for reference in sorted(found, key=lambda reference: reference.start):
            words = reference.words if clean_alt_text(reference.words) else ""
            if caption and len(found) == 1 and caption not in words:
                words = f"{words}. {caption}" if words else caption
            yield _Shown(reference.target, words, reference.start, reference.end)


def _caption_after(block: Token, after: Token | None) -> str | None:
    """Return the caption in the next block, where this one is a picture alone and that one a short, marked line."""
    kinds = {child.type for child in block.children or () if child.content.strip() or child.type == "image"}
    if kinds != {"image"} or after is None or not after.children:
        return None
    words = _plain(after)
    emphasised = re.fullmatch(r"([*_]{1,3})[^*_].*\1", after.content.strip(), re.DOTALL)
    return words if 0 < len(words) <= 200 and (emphasised or CAPTION.match(words)) else None


def _place(text: str, start: int, end: int, source: str) -> tuple[int, int] | None:
    """Return where the next image mark that points to ``source`` stands; reference style marks always may."""
    from markdown_it.common.normalize_url import normalizeLink

    for match in _IMAGE.finditer(text, start, end):
        target = match[0].rpartition("](")[2] if match[0].endswith(")") else ""
        if not target or source in normalizeLink(target) or source in target:
            return match.span()
    return None


def _attributes(tag: str) -> dict[str, str]:
    """Return the attributes of one HTML start tag, entities resolved."""
    found: dict[str, str] = {}

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.update((name, value) for name, value in reversed(attrs) if value)

    Parser().feed(tag)
    return found


def _figure(file: File, reference: _Shown, title: str | None, pictures: Mapping[str, bytes]) -> Iterator[Part]:
    source = pictures.get(unquote(reference.target)) or local_picture(file, reference.target)
    if source is None:
        return
    options = file.options
    try:
        picture = load_picture(
            source,
            side=options.picture_side,
            thumbnail_side=options.thumbnail_side,
            max_pixels=options.max_pixels,
            max_bytes=options.max_bytes,
        )
    except ReadError as error:
        file.problems.append(f"picture {reference.target}: {error}")
        return
    if max(picture.width, picture.height) >= ICON:
        figure = ImageBlock(picture, Span(reference.start, reference.end), reference.words or None, title)
        member = f"{reference.target} at {reference.start}"
        yield from with_words(file, figure, lambda side: load_picture(source, side=side).pixels, member=member)


def local_picture(file: File, target: str) -> Path | None:
    """Return the regular file inside ``file.root`` that ``target`` points to, links resolved; None for all else.

    A file inside of another one has nothing beside it.

    A path from "/" counts from the root. What is missing is watched, so that the document is read again when the
    picture appears.
    """
    if not target or _SCHEME.match(target) or file.depth:
        return None
    name = unquote(re.split(r"[?#]", target, maxsplit=1)[0], errors="surrogateescape")
    if not name or "\0" in name:
        return None
    base = file.root if name.startswith("/") else file.path.resolve().parent
    try:
        root = file.root.resolve()
        path = (base / name.lstrip("/")).resolve()
        if not path.is_relative_to(root):
            file.problems.append(f"picture {target}: outside the folder that was added; add a folder above both")
            return None
        file.watch(path)
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # a link in a circle, a name too long
        return None
