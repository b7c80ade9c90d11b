"""Sections of documents, from their passages: the lists and steps under a heading, and how well it fits a question."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from commonplace.generation.sentences import Sentence, passage_parts
from commonplace.generation.tables import Row, rows_of
from commonplace.text import path_words, terms
from commonplace.types import Hit

__all__ = ["Entry", "Section", "SectionFit", "fits", "sections"]

OWN_HEADING = 0.5
"""What a heading counts that has no other words than the question's: *Export a distribution* is what was asked for,
*Export the tar from a container* in the chapter *Obtain a tar file for the distribution* is not."""
_ORDERED = re.compile(
    r"[ \t>]*(?:(\d{1,2})[.)、．]|[（(](\d{1,2})[）)]|(?:step|schritt) (\d{1,2})[:.]|第(\d{1,2})步)[ \t]*", re.I
)
_BULLET = re.compile(r"[ \t>]*[-*+•·●○■□▪◦–][ \t]+(?:\[[xX ]\][ \t]*)?")


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a list, or a paragraph: its sentences in order, and its mark: ``1.``, ``-`` or nothing."""

    hit: int
    mark: str
    sentences: tuple[Sentence, ...]

    @property
    def text(self) -> str:
        return " ".join(sentence.text for sentence in self.sentences)

    @property
    def has_code(self) -> bool:
        return any(sentence.listing is not None for sentence in self.sentences)


@dataclass(frozen=True, slots=True)
class Section:
    """The passages under one heading of a document, in reading order, by the numbers of their hits."""

    hits: tuple[int, ...]
    title: str
    name: str
    entries: tuple[Entry, ...]
    rows: tuple[tuple[int, Row], ...]
    text: str

    @property
    def listed(self) -> list[Entry]:
        """The entries of its longest list, in order."""
        runs: list[list[Entry]] = [[]]
        for entry in self.entries:
            if entry.mark:
                runs[-1].append(entry)
            elif runs[-1]:
                runs.append([])
        return max(runs, key=len)

    @property
    def ordered(self) -> bool:
        listed = self.listed
        return len(listed) >= 2 and all(entry.mark != "-" for entry in listed)

    @property
    def has_code(self) -> bool:
        return any(entry.has_code for entry in self.entries)


@dataclass(frozen=True, slots=True)
class SectionFit:
    """How well a section fits a question: the shares, by rarity, of its words in the heading and in all of it.

    ``own_heading``: the share of the words of its own heading, the last one, that are the question's.
    """

    section: Section
    heading: float
    all_words: float
    confidence: float
    own_heading: float

    @property
    def score(self) -> float:
        return self.heading + self.all_words + self.confidence + OWN_HEADING * self.own_heading


def sections(hits: Sequence[Hit]) -> list[Section]:
    """Return the sections that the text hits belong to, in the order of their best hit."""
    groups: dict[tuple[str, str | None, str], list[int]] = {}
    for n, hit in enumerate(hits):
        if hit.item.modality == "text" and hit.item.span.ocr_start is None:
            key = (hit.item.document.id, hit.item.span.member, hit.item.title or "")
            groups.setdefault(key, []).append(n)
    result = []
    for numbers in groups.values():
        numbers.sort(key=lambda n: (hits[n].item.span.page or 0, hits[n].item.span.start or 0))
        item = hits[numbers[0]].item
        entries: list[Entry] = []
        rows: list[tuple[int, Row]] = []
        for n in numbers:
            entries += _entries(n, hits[n])
            rows += [(n, row) for row in rows_of(hits[n].item.text or "")]
        text = "\n".join(hits[n].item.text or "" for n in numbers)
        name = PurePath(item.document.path).name
        result.append(Section(tuple(numbers), item.title or "", name, tuple(entries), tuple(rows), text))
    return result


def fits(wanted: frozenset[str], among: Sequence[Section], hits: Sequence[Hit]) -> list[SectionFit]:
    """Return how well each section fits a question whose content words are ``wanted``, best first."""
    headings = [terms(f"{section.title}\n{path_words(section.name)}") for section in among]
    wholes = [heading | terms(section.text) for heading, section in zip(headings, among, strict=True)]
    weight = {word: math.log(1 + len(among) / (sum(word in words for words in wholes) + 0.5)) for word in wanted}
    total = math.fsum(weight.values()) or 1.0

    def share(words: frozenset[str]) -> float:
        return math.fsum(weight[word] for word in wanted & words) / total

    result = [
        SectionFit(
            section,
            share(heading),
            share(words),
            max(hits[n].confidence for n in section.hits),
            _own_share(section, wanted),
        )
        for section, heading, words in zip(among, headings, wholes, strict=True)
    ]
    return sorted(result, key=lambda fit: -fit.score)


def _own_share(section: Section, wanted: frozenset[str]) -> float:
    words = terms(section.title.rpartition(" > ")[2])
    return len(words & wanted) / len(words) if words else 0.0


def _entries(n: int, hit: Hit) -> list[Entry]:
    text = hit.item.text or ""
    result: list[Entry] = []
    for paragraph, sentences in passage_parts(n, hit.item):
        line = text[text.rfind("\n", 0, paragraph) + 1 :].partition("\n")[0]
        ordered = _ORDERED.match(line)
        if ordered is not None:
            mark = next(number for number in ordered.groups() if number) + "."
        else:
            mark = "-" if _BULLET.match(line) else ""
        if mark and sentences[0].text.rstrip(".、．)）") == mark.rstrip("."):
            sentences = sentences[1:]  # the number alone
        if sentences and mark:
            match = (_ORDERED.match(sentences[0].text) or _BULLET.match(sentences[0].text)) if mark else None
            if match is not None and match.end() < len(sentences[0].text):
                sentences = [replace(sentences[0], text=sentences[0].text[match.end() :]), *sentences[1:]]
        if sentences:
            result.append(Entry(n, mark, tuple(sentences)))
    return result
