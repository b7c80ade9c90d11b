"""An answer as Markdown that links to its sources, written block by block."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from commonplace.display import escape_markdown, markdown_row
from commonplace.positions import place_of_item, shown_name
from commonplace.types import Answer, Block, Hit, Item

__all__ = ["AnswerWriter", "Mark", "markdown", "without_links"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A citation in a text: the characters from ``start`` to ``end`` are its link."""

    start: int
    end: int
    url: str
    hit: Hit


class AnswerWriter:
    """Writes the blocks of an answer as Markdown while they arrive. ``link`` returns the address of an item.

    Each method returns what it adds to ``text``. ``marks`` are the citations in it.
    """

    def __init__(self, link: Callable[[Item], str]) -> None:
        self._link = link
        self._last: Block | None = None
        self.text = ""
        self.marks: list[Mark] = []

    def block(self, block: Block) -> str:
        """Add the next block."""
        links = {number: self._link(hit.item) for number, hit in zip(block.citations, block.cited, strict=True)}
        markers = [f"[\\[{number}\\]](<{url}>)" for number, url in links.items()]
        notes = [*markers, f"*{escape_markdown(block.support_note.strip())}*"] if block.support_note else markers
        after = "".join(f" {note}" for note in notes)
        if block.kind == "image":
            picture = next(iter(links.values()), "")
            words = shown_name(block.cited[0].item.document) if block.origin == "name" else block.shown
            piece = f"![{escape_markdown(words)}](<{picture}>){after}"
        elif block.kind == "code":
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
            piece = "\n".join([fence, *block.lines, fence, after.strip()])
        elif block.kind == "row":
            piece = markdown_row(block.text, after, escape_markdown)
        else:
            piece = escape_markdown(block.text) + after
        start = len(self.text) + len(separator := self._separator(block))
        end = 0
        for marker, url, hit in zip(markers, links.values(), block.cited, strict=True):
            begin = piece.index(marker, end)
            end = begin + len(marker)
            self.marks.append(Mark(start + begin, start + end, url, hit))
        self._last = block
        return self._add(separator + piece)

    def restart(self, note: str) -> str:
        """Add a note that takes back all before it; only the marks after it count."""
        self.marks.clear()
        self._last = None
        return self._add(f"{self._gap()}---\n\n*{escape_markdown(note)}*")

    def end(self, answer: Answer) -> str:
        """Add the notes and the sources of an answer; of an abstention its reason."""
        if answer.abstained:
            return self._add(self._gap() + escape_markdown(answer.reason or ""))
        parts = [f"*{escape_markdown(note)}*" for note in answer.notes if escape_markdown(note) not in self.text]
        if answer.citations:
            sources = [
                f"[{citation.number}] [{escape_markdown(place_of_item(citation.hit.item))}]"
                f"(<{self._link(citation.hit.item)}>)  "
                for citation in answer.citations
            ]
            parts.append("\n".join(sources).rstrip())
        return self._add("".join(self._gap() * (n == 0) + "\n\n" * (n > 0) + part for n, part in enumerate(parts)))

    def _separator(self, block: Block) -> str:
        if self._last is None:
            return self._gap()
        if self._last.kind == block.kind == "row":
            return "\n"  # the rows of a table follow each other without an empty line
        if self._last.kind == block.kind == "text" and not block.starts_paragraph:
            return " "
        return "\n\n"

    def _gap(self) -> str:
        return "\n\n" if self.text else ""

    def _add(self, piece: str) -> str:
        self.text += piece
        return piece


def markdown(answer: Answer, link: Callable[[Item], str]) -> str:
    """Return an answer as Markdown; ``link`` returns the address of an item."""
    writer = AnswerWriter(link)
    for block in answer.blocks:
        writer.block(block)
    writer.end(answer)
    return writer.text


_SOURCE = re.compile(r"^\[\d+\] \[.*\]\(<[^>\n]*>\) *$", re.MULTILINE)
_MARKER = re.compile(r" ?\[\\\[(\d+)\\\]\]\(<[^>\n]*>\)")
_PICTURE = re.compile(r"!\[((?:\\.|[^\]\\])*)\]\(<?[^)\n]*>?\)")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#!|~<>&])")


def without_links(text: str) -> str:
    """Return an answer that a client sends back as plain text, without the links that ``AnswerWriter`` wrote."""
    text = _PICTURE.sub(r"\1", _MARKER.sub("", _SOURCE.sub("", text)))
    return _ESCAPED.sub(r"\1", text).strip()
