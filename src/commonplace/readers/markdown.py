"""Markdown: the text under its headings, and the local pictures that the page shows."""

from __future__ import annotations

import os
import re
import time
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from html.parser import HTMLParser
from itertools import accumulate, pairwise
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import CAPTION, ICON, clean_alt_text
from commonplace.readers.chunks import shared_chunker
from commonplace.readers.formats import SUFFIXES
from commonplace.readers.ocr import with_ocr
from commonplace.readers.parts import File, ImageBlock, Part, TextBlock
from commonplace.readers.pictures import load_picture, picture_in
from commonplace.readers.text import decode
from commonplace.types import Span

if TYPE_CHECKING:
    from markdown_it.token import Token

__all__ = ["local_picture", "markdown_parts", "read_markdown"]

HEAD_LINES = 2  # of a table: the names of its columns, and the rule below them
_LINE = re.compile(r"\r\n|\r|\n")
_FRONT_MATTER = re.compile(r"(?:\s*\n)?---[ \t]*\r?\n(.*?\r?\n)?(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_FRONT_MATTER_ENTRY = re.compile(
    r"^([A-Za-z][\w.-]*(?: [A-Za-z]+)?)[ \t]*:[ \t]*(.*?)[ \t]*\r?$((?:\n(?:[ \t]*-[ \t]|[ \t]+\S).*$)*)", re.MULTILINE
)
_NESTED_LAST_UPDATE = re.compile(
    r"^last_update:[ \t]*\r?\n(?:[ \t]+.*\n)*?[ \t]+date:", re.MULTILINE
)  # as Docusaurus writes it
_FRONT_MATTER_KEYS = {  # front matter key, without separators -> metadata key
    **dict.fromkeys(("author", "authors"), "author"),
    **dict.fromkeys(("lang", "language"), "language"),
    **dict.fromkeys(("tags", "tag", "keywords", "categories"), "keyword"),
    **dict.fromkeys(("aliases", "alias"), "alias"),
    **dict.fromkeys(("summary", "description", "abstract", "excerpt", "subtitle"), "summary"),
    **dict.fromkeys(("date", "created", "createdat", "datecreated"), "created"),
    **dict.fromkeys(("published", "publishedat", "publishdate", "pubdate", "datepublished"), "created"),
    **dict.fromkeys(("modified", "modifiedat", "datemodified"), "modified"),
    **dict.fromkeys(("lastmod", "lastmodified", "lastmodifiedat"), "modified"),
    **dict.fromkeys(("updated", "updatedat", "updateddate", "dateupdated"), "modified"),
    **dict.fromkeys(("lastupdate", "lastupdated", "msdate"), "modified"),
}
_SEARCHED_KEYS = {"keyword", "alias", "summary"}
"""The metadata of the front matter that stands in the text, too."""
_BLOCK_SCALAR = re.compile(r"[>|][+-]?\d?")
_MONTH_FIRST = re.compile(r"(\d\d?)/(\d\d?)/(\d{4})")
_IMAGE = re.compile(
    r"!\[(?:\\.|[^\[\]\\]|\[(?:\\.|[^\[\]\\])*\])*\](?:\((?:\\.|[^()\\]|\([^()]*\))*\)|\[[^\]]*\])?", re.DOTALL
)
_EMBED = re.compile(r"!\[\[([^\[\]|#\n]+)(?:#[^\[\]|\n]*)?(?:\|([^\[\]\n]*))?\]\]")  # as Obsidian writes it
_SIZE = re.compile(r"\d+(x\d+)?")
_TAG = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
_FIGCAPTION = re.compile(r"<figcaption\b[^>]*>(.*?)</figcaption>", re.IGNORECASE | re.DOTALL)
_MARKUP = re.compile(r"<[^>]*>")
_DIRECTIVE = re.compile(r":::image\b(.*?):::", re.DOTALL)  # DocFX, used by learn.microsoft.com
_ATTRIBUTE = re.compile(r"([\w-]+)\s*=\s*\"([^\"]*)\"")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:|//|\\\\", re.IGNORECASE)

_LISTED_FOR = 30  # seconds for which the pictures below a folder are remembered
_MAX_LISTED = 50_000  # files that are looked at for a picture that is only named
_MAX_HEADING = 120  # characters; a longer heading is kept in the text like a paragraph


@dataclass(frozen=True, slots=True)
class _PictureReference:
    """A reference to a picture: its target, its description, and its start and end in the text.

    ``by_name``: the target may lie in any folder, and need not be written with it.
    """

    target: str
    description: str
    start: int
    end: int
    by_name: bool = False


@dataclass(frozen=True, slots=True)
class _Section:
    """A section: its headings from the top down, and the offsets of its heading, its body and its end."""

    path: tuple[str, ...]
    start: int
    body: int
    end: int


def read_markdown(file: File) -> Iterator[Part]:
    """Yield the text of each section, titled by its headings ("A > B"), and the local pictures in it."""
    text, problem = decode(file.data)
    if problem:
        file.problems.append(problem)
    yield from markdown_parts(file, text, {}, numbered=True)


def markdown_parts(file: File, text: str, pictures: Mapping[str, bytes], *, numbered: bool = False) -> Iterator[Part]:
    """Yield the parts of a Markdown text; ``pictures`` maps targets to the bytes of pictures inside the file.

    ``numbered``: the lines of the text are those of the file.
    """
    from markdown_it import MarkdownIt

    front_matter = _FRONT_MATTER.match(text)
    body_start = front_matter.end() if front_matter else 0
    tokens = MarkdownIt("commonmark").enable("table").parse(text[body_start:])
    lines = [body_start, *(match.end() for match in _LINE.finditer(text, body_start)), len(text)]

    lines_before = len(_LINE.findall(text, 0, body_start))

    def line_at(offset: int) -> int | None:
        return bisect(lines, offset) + lines_before if numbered else None

    text, lines = _numbered_lists(tokens, text, lines)
    sections = list(_sections(tokens, lines))
    references = list(_picture_references(tokens, text, lines))
    tables = [
        [lines[row] for row in range(token.map[0], token.map[1] + 1)]
        for token in tokens
        if token.type == "table_open" and token.level == 0 and token.map
    ]
    front_matter_title, searched = _read_front_matter(file, front_matter[0]) if front_matter else (None, [])
    file.title = next((section.path[0] for section in sections if section.path), front_matter_title)
    for start, end in searched:
        yield TextBlock(text[start:end], start, front_matter_title, line=len(_LINE.findall(text, 0, start)) + 1)
    for section, following in zip(sections, [*sections[1:], None], strict=True):
        title = " > ".join(section.path) or None
        start = section.body
        if section.path and len(section.path[-1]) > _MAX_HEADING:
            start = section.start
        if text[start : section.end].strip():
            rows = [table for table in tables if start <= table[0] and table[-1] <= section.end]
            yield from _with_long_tables(file, text, (start, section.end), rows, title, line_at)
        elif section.path and (following is None or len(following.path) <= len(section.path)):
            # a section without content: its heading becomes a text block
            parent_title = " > ".join(section.path[:-1]) or None
            start = section.start
            yield TextBlock(text[start : section.end], start, parent_title, markdown=True, line=line_at(start))
        for reference in references:
            if section.start <= reference.start < section.end:
                yield from _figure(file, reference, title, pictures)


def _read_front_matter(file: File, front_matter: str) -> tuple[str | None, list[tuple[int, int]]]:
    """Add the metadata of the front matter (keys with values or lists of values).

    Returns its title, and start and end of the entries that are searched like text.
    """
    title = None
    searched: list[tuple[int, int]] = []
    for match in _FRONT_MATTER_ENTRY.finditer(front_matter):
        if _metadata_key(match[1]) in _SEARCHED_KEYS and (match[2] or match[3]):
            if searched and not front_matter[searched[-1][1] : match.start()].strip():
                searched[-1] = searched[-1][0], match.end()
            else:
                searched.append(match.span())
    for match in _FRONT_MATTER_ENTRY.finditer(_NESTED_LAST_UPDATE.sub("last_update:", front_matter)):
        key, value, more = re.sub(r"[ ._-]", "", match[1].lower()), match[2], match[3]
        metadata_key = _metadata_key(match[1])
        lines = [line.strip() for line in more.splitlines()]
        listed = [line[1:] for line in lines if line.startswith("-")]
        if not listed and (not value or _BLOCK_SCALAR.fullmatch(value) or value[:1] not in "[{"):
            value = " ".join(filter(None, ["" if _BLOCK_SCALAR.fullmatch(value) else value, *lines]))
        if key == "title" and title is None:
            title = _unquote(value) or None
        elif metadata_key in ("created", "modified"):
            date_text = _unquote(value.partition(" #")[0])
            file.add_metadata(metadata_key, _MONTH_FIRST.sub(r"\3-\1-\2", date_text) if key == "msdate" else date_text)
        elif metadata_key == "summary":
            file.add_metadata(metadata_key, _unquote(value))
        elif metadata_key:
            values = value.strip("[]").split(",") if value.startswith("[") or "," in value else [value]
            file.add_metadata(metadata_key, *filter(None, map(_unquote, values + listed)))
    return title, searched


def _metadata_key(key: str) -> str | None:
    """Return the metadata key for a key of the front matter, however it is written: ms.date, date_created."""
    return _FRONT_MATTER_KEYS.get(re.sub(r"[ ._-]", "", key.lower()))


def _unquote(value: str) -> str:
    stripped = value.strip()
    return stripped[1:-1] if len(stripped) > 1 and stripped[0] == stripped[-1] and stripped[0] in "'\"" else stripped


def _numbered_lists(tokens: list[Token], text: str, lines: list[int]) -> tuple[str, list[int]]:
    """Return the text with the numbers that ordered lists show, and the offsets of its lines.

    Each item may be written with the number 1; a page shows 1, 2, 3.
    """
    rows = [text[start:end] for start, end in pairwise(lines)]
    counters: list[int] = []
    for token in tokens:
        if token.type == "ordered_list_open":
            counters.append(int(token.attrs.get("start", 1)))
        elif token.type == "bullet_list_open":
            counters.append(-1)
        elif token.type in ("ordered_list_close", "bullet_list_close"):
            counters.pop()
        elif token.type == "list_item_open" and counters[-1] >= 0 and token.map:
            if token.info.isdigit() and int(token.info) != counters[-1]:
                row = token.map[0]
                mark = re.escape(token.info) + r"(?=[.)])"
                rows[row] = re.sub(rf"(?<!\w){mark}", str(counters[-1]), rows[row], count=1)
            counters[-1] += 1
    return text[: lines[0]] + "".join(rows), [*accumulate(map(len, rows), initial=lines[0])]


def _sections(tokens: list[Token], lines: list[int]) -> Iterator[_Section]:
    path: list[tuple[int, str]] = []
    start = body = lines[0]
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map:
            heading_start = lines[token.map[0]]
            yield _Section(tuple(heading for _, heading in path), start, body, heading_start)
            level = int(token.tag[1])
            path = [*((depth, heading) for depth, heading in path if depth < level), (level, _inline_text(inline))]
            start, body = heading_start, lines[token.map[1]]
    yield _Section(tuple(heading for _, heading in path), start, body, lines[-1])


def _with_long_tables(
    file: File,
    text: str,
    part: tuple[int, int],
    tables: list[list[int]],
    title: str | None,
    line_at: Callable[[int], int | None],
) -> Iterator[TextBlock]:
    """Yield a part of the text; a table that is longer than a chunk in groups of rows, each below the table's head.

    ``tables`` are the offsets of the lines of each table in it, and of its end.
    """
    chunker = shared_chunker(file.options.tokenizer, file.options.max_tokens)
    room = chunker.room(title)
    start, end = part
    for table in tables:
        head = text[table[0] : table[min(HEAD_LINES, len(table) - 1)]]
        if chunker.count(text[table[0] : table[-1]]) <= room or chunker.count(head) > room // 2:
            continue
        if text[start : table[0]].strip():
            yield TextBlock(text[start : table[0]], start, title, markdown=True, line=line_at(start))
        group, tokens = table[HEAD_LINES], chunker.count(head)
        head_tokens = tokens
        for row, next_row in pairwise(table[HEAD_LINES:]):
            count = chunker.count(text[row:next_row])
            if row > group and tokens + count > room:
                yield _below_head(text, head, group, row, title, line_at)
                group, tokens = row, head_tokens
            tokens += count
        yield _below_head(text, head, group, table[-1], title, line_at)
        start = table[-1]
    if text[start:end].strip():
        yield TextBlock(text[start:end], start, title, markdown=True, line=line_at(start))


def _below_head(
    text: str, head: str, start: int, end: int, title: str | None, line_at: Callable[[int], int | None]
) -> TextBlock:
    """Return rows of a table below its head. Offset and line are such that those of the rows are right."""
    line = line_at(start)
    return TextBlock(
        head + text[start:end],
        start - len(head),
        title,
        keep_together=True,
        line=None if line is None else line - HEAD_LINES,
    )


def _inline_text(inline: Token) -> str:
    """Return the text of a heading or paragraph without markup."""
    texts = (child.content if child.type in ("text", "code_inline") else " " for child in inline.children or ())
    return " ".join("".join(texts).split())


def _picture_references(tokens: list[Token], text: str, lines: list[int]) -> Iterator[_PictureReference]:
    """Yield the references to pictures in text order."""
    blocks = [token for token in tokens if token.map and token.type in ("inline", "html_block")]
    for block, following in zip(blocks, [*blocks[1:], None][: len(blocks)], strict=True):
        assert block.map is not None
        start, end = lines[block.map[0]], lines[block.map[1]]
        children = block.children or ()
        caption = _caption_after(block, following)
        references: list[_PictureReference] = []
        cursor = start
        for child in children:
            if child.type == "image":
                source = str(child.attrs.get("src", ""))
                first, last = _find_image_mark(text, cursor, end, source) or (start, end)
                cursor = last if (first, last) != (start, end) else cursor
                description = ". ".join(dict.fromkeys(filter(None, (child.content, str(child.attrs.get("title", ""))))))
                references.append(_PictureReference(source, description, first, last))
        words_of_block = "\n".join(child.content for child in children if child.type == "text")
        if "![[" in words_of_block:
            for match in _EMBED.finditer(text, start, end):
                if match[0] not in words_of_block:
                    continue  # code
                if SUFFIXES.get(os.path.splitext(match[1].strip())[1].lower(), "").startswith("image/"):
                    words = " ".join(part for part in (match[2] or "").split("|") if not _SIZE.fullmatch(part.strip()))
                    references.append(_PictureReference(match[1].strip(), words, *match.span(), by_name=True))
        tags = (
            [block.content]
            if block.type == "html_block"
            else [child.content for child in children if child.type == "html_inline"]
        )
        for tag in (match[0] for content in tags for match in _TAG.finditer(content)):
            attributes = _attributes(tag)
            first = text.find(tag, start, end)
            span = (first, first + len(tag)) if first >= 0 else (start, end)
            description = attributes.get("alt") or attributes.get("title") or ""
            figcaption = _FIGCAPTION.search(block.content) if block.type == "html_block" else None
            if figcaption:
                description = ". ".join(filter(None, (description, _MARKUP.sub(" ", figcaption[1]))))
            references.append(_PictureReference(attributes.get("src") or "", description, *span))
        if ":::image" in block.content:
            for match in _DIRECTIVE.finditer(text, start, end):
                values = dict(_ATTRIBUTE.findall(match[1]))
                references.append(
                    _PictureReference(values.get("source", ""), values.get("alt-text", ""), *match.span())
                )
        for reference in sorted(references, key=lambda reference: reference.start):
            description = reference.description if clean_alt_text(reference.description) else ""
            if caption and len(references) == 1 and caption not in description:
                description = f"{description}. {caption}" if description else caption
            yield replace(reference, description=description)


def _caption_after(block: Token, following: Token | None) -> str | None:
    """Return the next block as caption, where this block is only a picture and the next is short and marked as caption.

    A caption is marked by emphasis or a label such as "Figure 1".
    """
    kinds = {child.type for child in block.children or () if child.content.strip() or child.type == "image"}
    if kinds != {"image"} or following is None or not following.children:
        return None
    caption = _inline_text(following)
    emphasised = re.fullmatch(r"([*_]{1,3})[^*_].*\1", following.content.strip(), re.DOTALL)
    return caption if 0 < len(caption) <= 200 and (emphasised or CAPTION.match(caption)) else None


def _find_image_mark(text: str, start: int, end: int, source: str) -> tuple[int, int] | None:
    """Return start and end of the next image mark that points to ``source``; a reference-style mark always matches."""
    from markdown_it.common.normalize_url import normalizeLink

    for match in _IMAGE.finditer(text, start, end):
        target = match[0].rpartition("](")[2] if match[0].endswith(")") else ""
        if not target or source in normalizeLink(target) or source in target:
            return match.span()
    return None


def _attributes(tag: str) -> dict[str, str]:
    """Return the attributes of an HTML start tag, with entities resolved."""
    attributes: dict[str, str] = {}

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            attributes.update((name, value) for name, value in reversed(attrs) if value)

    Parser().feed(tag)
    return attributes


def _figure(
    file: File, reference: _PictureReference, title: str | None, pictures: Mapping[str, bytes]
) -> Iterator[Part]:
    source: bytes | Path | None = pictures.get(unquote(reference.target))
    if source is None and reference.by_name:
        source = local_picture(file, quote(reference.target)) or _picture_by_name(file, reference.target)
    elif source is None:
        source = local_picture(file, reference.target)
    if source is None:
        return
    try:
        picture = picture_in(file, source)
    except ReadError as error:
        file.problems.append(_("picture {target}: {error}").format(target=reference.target, error=error))
        return
    if max(picture.width, picture.height) >= ICON:
        block = ImageBlock(picture, Span(reference.start, reference.end), reference.description or None, title)
        member = f"{reference.target} at {reference.start}"
        yield from with_ocr(file, block, lambda side: load_picture(source, side=side).pixels, member=member)


def _picture_by_name(file: File, target: str) -> Path | None:
    """Return the picture of this name, or with this end of a path, below the folder that was added."""
    if file.depth:
        return None
    wanted = PurePath(target).parts
    for path in _pictures_below(file.root, int(time.monotonic()) // _LISTED_FOR).get(wanted[-1], ()):
        if path.parts[-len(wanted) :] == wanted:
            file.watch(path)
            return path
    return None


@lru_cache(maxsize=2)
def _pictures_below(root: Path, _time: int) -> Mapping[str, list[Path]]:
    """Return the pictures below a folder by name, of its first files; it is listed once for many pages."""
    pictures: dict[str, list[Path]] = {}
    count = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if SUFFIXES.get(os.path.splitext(name)[1].lower(), "").startswith("image/"):
                path = Path(folder, name)
                if not path.is_symlink():
                    pictures.setdefault(name, []).append(path)
        count += len(names)
        if count > _MAX_LISTED:
            break
    return pictures


def local_picture(file: File, target: str) -> Path | None:
    """Return the regular file inside ``file.root`` that ``target`` points to, links resolved; None for all others.

    A path that begins with "/" is relative to the root. A missing picture is watched, so that the document is read
    again when it appears. A file inside an archive or a mail has no local pictures.
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
            file.problems.append(
                _("picture {target}: outside the folder that was added; add a folder that contains both").format(
                    target=target
                )
            )
            return None
        file.watch(path)
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # a circular link, a name too long
        return None
