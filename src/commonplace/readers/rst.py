"""reStructuredText, parsed by docutils: headings, paragraphs, numbered lists, tables, code, pictures.

No other file is included and no raw block is run. Directives and roles that docutils does not know, such as those of
Sphinx, are read as what stands in them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from commonplace.readers.blocks import Heading, LayoutBlock, Paragraph, Table, lay_out
from commonplace.readers.markup import picture_blocks
from commonplace.readers.parts import File, Part
from commonplace.readers.text import decode, read_text

__all__ = ["read_rst"]

_DIRECTIVE = re.compile(r"^[ \t]*\.\.[ \t]+(?:\|[^|\n]+\|[ \t]+)?([\w:.+-]+)::", re.MULTILINE)
_ROLE = re.compile(r"(?<![\w`]):([a-zA-Z][\w:.+-]*):`")
_TARGET = re.compile(r"(.+?)\s*<[^<>]*>", re.DOTALL)
_MAX_SIZE = 1_000_000  # characters; docutils reads about 100,000 a second
_MAX_PARAGRAPH = 20_000  # characters without an empty line; docutils takes quadratic time for their marks
_RULE = re.compile(r"^([ ]*)(==+)((?:[ ]+=+)+)[ ]*\n\1([ ]+)(\S.*)$", re.MULTILINE)
"""A rule of a simple table, and the line below it."""
_EMPTY_LINE = re.compile(r"\n[ \t]*\n")
_SETTINGS = {
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "_disable_config": True,
    "halt_level": 6,
    "report_level": 5,
    "line_length_limit": 10_000_000,
    "syntax_highlight": "none",
    "smart_quotes": False,
}
_CODE = {"literal_block", "doctest_block", "math_block", "line_block"}
_SKIPPED = {
    "comment",
    "target",
    "substitution_definition",
    "system_message",
    "pending",
    "raw",
    "meta",
    "topic_contents",
}


def read_rst(file: File) -> Iterator[Part]:
    """Yield the text under its headings."""
    from docutils.core import publish_doctree

    text, problem = decode(file.data)
    if len(text) > _MAX_SIZE or max(map(len, _EMPTY_LINE.split(text))) > _MAX_PARAGRAPH:
        yield from read_text(file)
        return
    _register(text)
    try:
        settings = {**_SETTINGS, "warning_stream": io.StringIO()}
        text = _RULE.sub(_with_first_cell, text.replace("\x0b", " "))
        document: Any = publish_doctree(text, settings_overrides=settings)
        blocks = list(_Reader(file).blocks(document, 0))
    except MemoryError:
        raise
    except Exception:  # docutils has bugs, and a document may hold anything
        yield from read_text(file)
        return
    if problem:
        file.problems.append(problem)
    file.title = document.get("title") or None
    yield from lay_out(file, blocks)


def _with_first_cell(rule: re.Match[str]) -> str:
    """Return a rule of a table and the line below it, with an empty comment as its first cell where that is empty.

    docutils takes a line with an empty first cell for a part of the row above, and drops it where there is none.
    """
    columns, line = rule[2] + rule[3], rule[4] + rule[5]
    fits = all(line[gap.start() : gap.end()].strip() == "" for gap in re.finditer(" +", columns))
    if len(rule[4]) <= len(rule[2]) or not fits:  # a table with words between its columns is no table
        return rule[0]
    return rule[0][: -len(line)] + ".." + line[2:]


def _register(text: str) -> None:
    """Tell docutils to read unknown directives and roles of a text as what stands in them."""
    from docutils import nodes
    from docutils.parsers.rst import Directive, directives, languages, roles

    class Options(dict[str, Any]):
        def __missing__(self, _name: str) -> Any:
            return directives.unchanged

    class Transparent(Directive):  # type: ignore[misc, unused-ignore]
        has_content, optional_arguments, final_argument_whitespace = True, 1, True
        option_spec = Options({"class": directives.unchanged})

        def run(self) -> list[Any]:
            container = nodes.container()
            if self.arguments:
                container += nodes.paragraph("", self.arguments[0])
            self.state.nested_parse(self.content, self.content_offset, container)
            return [container]

    def transparent(_role: str, _raw: str, words: str, *_others: Any, **_more: Any) -> tuple[list[Any], list[Any]]:
        named = _TARGET.fullmatch(words)
        return [nodes.inline("", named[1] if named else words.lstrip("~!"))], []

    english: Any = languages.get_language("en")
    for name in set(_DIRECTIVE.findall(text)):
        if name.lower() not in english.directives:
            directives.register_directive(name, Transparent)
    for name in set(_ROLE.findall(text)):
        if name.lower() not in english.roles:
            roles.register_local_role(name.lower(), transparent)


class _Reader:
    def __init__(self, file: File) -> None:
        self._file = file

    def blocks(self, node: Any, level: int) -> Iterator[LayoutBlock]:
        """Yield the blocks of the children of a node; ``level`` is that of the heading above."""
        for child in node.children:
            yield from self._block(child, level)

    def _block(self, node: Any, level: int) -> Iterator[LayoutBlock]:
        kind = node.tagname
        if kind in _SKIPPED:
            return
        if kind in ("title", "subtitle"):
            yield Heading(_text(node), max(1, level))
        elif kind == "section":
            yield from self.blocks(node, level + 1)
        elif kind in _CODE:
            yield Paragraph(node.astext())
        elif kind == "table":
            yield from self._table(node)
        elif kind in ("bullet_list", "enumerated_list"):
            yield from self._list(node, level)
        elif kind in ("definition_list_item", "field", "option_list_item"):
            name, *rest = [_text(child) for child in node.children]
            yield Paragraph(f"{name}: {' '.join(filter(None, rest))}", list_item=True)
        elif kind in ("footnote", "citation"):
            label, *rest = [_text(child) for child in node.children]
            yield Paragraph(f"[{label}] {' '.join(rest)}")
        elif kind == "image":
            yield from picture_blocks(self._file, [node.get("uri", "")], node.get("alt", ""))
        elif kind in ("caption", "legend"):
            yield Paragraph(_text(node), caption=True)
        elif kind in ("note", "tip", "warning", "caution", "danger", "error", "hint", "important", "attention"):
            yield Paragraph(f"{kind.capitalize()}:", list_item=True)
            yield from self.blocks(node, level)
        elif kind == "docinfo":
            for entry in node.children:
                if entry.tagname in ("author", "date"):
                    self._file.add_metadata({"date": "created"}.get(entry.tagname, entry.tagname), _text(entry))
                yield from self._docinfo(entry)
        elif kind == "paragraph":
            pictures = [child for child in node.findall() if child.tagname == "image"]
            for picture in pictures:
                yield from self._block(picture, level)
            yield Paragraph(_text(node))
        elif not any(hasattr(child, "tagname") and child.tagname != "#text" for child in node.children):
            yield Paragraph(_text(node))
        else:
            yield from self.blocks(node, level)

    def _docinfo(self, entry: Any) -> Iterator[LayoutBlock]:
        if entry.tagname == "field":
            yield from self._block(entry, 0)
        else:
            yield Paragraph(f"{entry.tagname.capitalize()}: {_text(entry)}", list_item=True)

    def _list(self, node: Any, level: int, depth: int = 0) -> Iterator[LayoutBlock]:
        number = int(node.get("start", 1))
        for item in node.children:
            mark = "-" if node.tagname == "bullet_list" else f"{_ordinal(number, node.get('enumtype', ''))}."
            number += 1
            for index, child in enumerate(item.children):
                if child.tagname in ("bullet_list", "enumerated_list"):
                    yield from self._list(child, level, depth + 1)
                elif index == 0 and child.tagname == "paragraph":
                    yield Paragraph(f"{'  ' * depth}{mark} {_text(child)}", list_item=True)
                else:
                    yield from self._block(child, level)

    def _table(self, node: Any) -> Iterator[LayoutBlock]:
        rows: list[list[str]] = []
        covered: dict[tuple[int, int], str] = {}  # cells under one that spans rows repeat it
        for row_number, row in enumerate(child for child in node.findall() if child.tagname == "row"):
            cells: list[str] = []
            for entry in row.children:
                while (row_number, len(cells)) in covered:
                    cells.append(covered[row_number, len(cells)])
                text = _text(entry)
                for below in range(1, int(entry.get("morerows", 0)) + 1):
                    covered[row_number + below, len(cells)] = text
                cells += [text, *[""] * int(entry.get("morecols", 0))]
            while (row_number, len(cells)) in covered:
                cells.append(covered[row_number, len(cells)])
            rows.append(cells)
        for child in node.children:
            if child.tagname == "title":
                yield Paragraph(_text(child), caption=True)
        yield Table(rows)


def _text(node: Any) -> str:
    return " ".join(node.astext().split())


def _ordinal(number: int, kind: str) -> str:
    if kind in ("loweralpha", "upperalpha") and 1 <= number <= 26:
        return chr(ord("a" if kind == "loweralpha" else "A") + number - 1)
    if kind in ("lowerroman", "upperroman") and 1 <= number < 40:
        tens, ones = divmod(number, 10)
        units = ["", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix"][ones]
        return ("x" * tens + units) if kind == "lowerroman" else ("x" * tens + units).upper()
    return str(number)
