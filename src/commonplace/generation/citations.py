"""Citations: each sentence of a draft is checked against what it cites, and each marker becomes a citation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import Any, Literal

from commonplace.generation.grounding import GroundingChecker, GroundingVerdict
from commonplace.generation.lists_and_tables import StatementChecker
from commonplace.generation.parts import Abstention, Part, Request, ShownImage, Statement
from commonplace.generation.relevance import same_language
from commonplace.i18n import N_, _
from commonplace.positions import part_of_span
from commonplace.text import language_of
from commonplace.types import Answer, Block, Citation, Hit, Note, captions

__all__ = ["cite", "description"]

WROTE_NOTHING = N_("The language model wrote nothing that could be shown: ask again, or in other words.")
SUPPORT_SHARES = {"supported": 1.0, "weak": 0.5}  # how much of a sentence counts towards an answer's confidence


class _Citations:
    """The citations of one answer, numbered in order of appearance."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._by_hit: dict[int, Citation] = {}
        self._bounds: dict[int, tuple[int, int]] = {}

    def number(self, n: int, bounds: tuple[int, int] | None = None) -> int:
        """Return the citation number of hit ``n``, the same each time that it is cited.

        ``bounds`` are the characters (start, end) of the item's text that are cited. The quote grows to cover all of
        them.
        """
        hit = self._request.hits[n]
        item = hit.item
        if n not in self._by_hit:
            crop = self._request.crop(item.picture) if item.picture is not None else None
            language = self._request.language
            self._by_hit[n] = Citation(
                len(self._by_hit) + 1, hit, item.text, item.span, crop, question_language=language
            )
        if bounds is not None and item.text is not None:
            previous = self._bounds.get(n, bounds)
            start, end = self._bounds[n] = min(bounds[0], previous[0]), max(bounds[1], previous[1])
            self._by_hit[n] = replace(self._by_hit[n], quote=item.text[start:end], span=part_of_span(item, start, end))
        return self._by_hit[n].number

    def hits(self, numbers: Iterable[int]) -> tuple[Hit, ...]:
        """Return the hits of these citation numbers."""
        hits = [citation.hit for citation in self._by_hit.values()]
        return tuple(hits[number - 1] for number in numbers)

    @property
    def citations(self) -> tuple[Citation, ...]:
        question = self._request.question
        return tuple(
            citation
            if citation.quote is None or same_language(question, citation.quote)
            else replace(citation, language=language_of(citation.quote))
            for citation in self._by_hit.values()
        )

    @property
    def confidence(self) -> float:
        return max((citation.hit.confidence for citation in self._by_hit.values()), default=0.0)


class _Draft:
    """An answer while its parts arrive: its blocks so far, its citations and its notes."""

    def __init__(self, request: Request, checker: GroundingChecker, generator: str) -> None:
        self._request = request
        self._checker = checker
        self._statements = StatementChecker(checker, request.hits, request.language)
        self._citations = _Citations(request)
        self._shown: set[str | None] = set()
        self.generator = generator
        self.blocks: list[Block] = []
        self.notes: list[str] = []
        self.invalid_citations = 0

    def restart(self) -> None:
        """Discard the blocks; the extractive generator writes the answer instead. Notes stay."""
        self._citations = _Citations(self._request)
        self._shown.clear()
        self.generator = "extractive"
        self.blocks = []
        self.invalid_citations = 0

    def add(self, part: Statement | ShownImage) -> Block | None:
        """Return the checked block for a part; None for a picture that is shown already."""
        if isinstance(part, Statement):
            self.invalid_citations += part.invalid_citations
            block = self._statement(part)
        else:
            hit = self._request.hits[part.hit]
            if hit.item.picture in self._shown:
                return None
            self._shown.add(hit.item.picture)
            text, origin = description(hit, part.text)
            block = Block("image", text, (self._citations.number(part.hit),), origin=origin, image=hit.image)
        cited = self._citations.hits(block.citations)
        block = replace(block, question_language=self._request.language, cited=cited)
        self.blocks.append(block)
        return block

    def _statement(self, part: Statement) -> Block:
        """Return a sentence or a listing with its verdict and the numbers of its citations."""
        cited = tuple(dict.fromkeys(part.hits))
        bounds = (part.start, part.end) if part.start is not None and part.end is not None else None
        if part.code and bounds is not None:
            level, reason = self._checker.check_quote(cited)
            return Block("code", part.text, tuple(self._citations.number(n, bounds) for n in cited), level, reason)
        verdict: GroundingVerdict | None
        if bounds is not None:
            verdict = self._checker.check(part.text, cited)
        else:
            cited, verdict = self._statements.check(part)
        spans = verdict.spans if verdict is not None else {}
        numbers = () if part.leads else tuple(self._citations.number(n, bounds or spans.get(n)) for n in cited)
        return Block(
            "code" if part.code else "row" if part.layout == "row" else "text",
            f"{part.mark} {part.text}" if part.mark else part.text,
            numbers,
            verdict.level if verdict is not None else None,
            verdict.reason if verdict is not None else None,
            starts_paragraph=part.starts_paragraph,
        )

    def answer(self) -> Answer:
        """Return the whole answer. Its confidence is that of the best cited hit, times the share of support."""
        if not self.blocks:
            return self.abstention(_(WROTE_NOTHING, self._request.language))
        shares = [SUPPORT_SHARES.get(block.support, 0.0) for block in self.blocks if block.support is not None]
        confidence = self._citations.confidence * (sum(shares) / len(shares) if shares else 1.0)
        return self._answer(blocks=tuple(self.blocks), citations=self._citations.citations, confidence=confidence)

    def abstention(self, reason: str) -> Answer:
        """Return the answer that there is none, with the reason."""
        return self._answer(blocks=(), citations=(), abstained=True, reason=reason)

    def _answer(self, **values: Any) -> Answer:
        return Answer(
            self._request.question,
            hits=tuple(self._request.hits),
            notes=tuple(self.notes),
            invalid_citations=self.invalid_citations,
            generator=self.generator,
            language=self._request.language,
            **values,
        )


def cite(
    parts: Iterator[Part], request: Request, checker: GroundingChecker, *, by: str = "extractive"
) -> Iterator[Block | Note | Answer]:
    """Yield each checked block of an answer as it is written, notes where they arise, and last the whole answer.

    Each sentence is checked against the evidence before it is yielded. A sentence without a marker gets the citation
    of a hit that supports it, if there is one. Each picture is shown once. A note with ``restart`` takes back the
    blocks before it. Citations are numbered in order of appearance. ``by`` names the generator.
    """
    draft = _Draft(request, checker, by)
    for part in parts:
        if isinstance(part, Abstention):
            if not draft.blocks:
                yield draft.abstention(part.reason)
                return
            draft.notes.append(part.reason)
        elif isinstance(part, Note):
            draft.notes.append(part.text)
            if part.restart:
                draft.restart()
            yield part
        elif (block := draft.add(part)) is not None:
            yield block
    yield draft.answer()


def description(hit: Hit, machine: str | None = None) -> tuple[str, Literal["caption", "words", "machine", "name"]]:
    """Return the text to show under a picture, and where that text comes from.

    The first of these that exists: its caption; the words that were recognised in it (OCR); the description that a
    model wrote (``machine``); the name of its file.
    """
    caption, ocr_words = captions(hit.item)
    if caption:
        return caption, "caption"
    if ocr_words:
        return ocr_words, "words"
    if machine := " ".join((machine or "").split()):
        return machine, "machine"
    return PurePath(hit.item.document.path).name, "name"
