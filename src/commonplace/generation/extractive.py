"""Answers without a language model: the sentences and pictures that answer, in an order that reads well."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commonplace.generation.parts import Nothing, Part, Request, Shown, Statement
from commonplace.retrieval import Evidence
from commonplace.space import QuestionVectors, Space
from commonplace.store.segment import names, terms
from commonplace.types import Hit, Item, text_view

__all__ = ["ExtractiveGenerator", "fitting", "split", "subject", "wants_pictures"]

SENTENCES = 3
PICTURES = 3
PASSAGES = 8  # passages whose sentences are read
LONGEST = 600  # characters of a sentence; a longer one is a table or a listing
DIVERSITY = (
    0.3  # share of a sentence's worth that likeness to the chosen ones takes away (Carbonell and Goldstein 1998)
)
CLOSE = 0.75  # a further sentence must be worth this share of the best one
ENOUGH = 0.5  # evidence under which nothing counts as an answer
SHOWN = 0.3  # the same for a picture where pictures were asked for
CERTAIN = 0.7  # the same for a passage that names nothing of what the question names: a look-alike, as a rule
PLAUSIBLE = 0.03  # confidence of a passage under which its sentences are not read, where meaning was asked for
WORDS_ENOUGH = 0.3  # mean share of the question's words in sentence and passage, where words are all there is

NOTHING_FOUND = "Nothing was found: ask in other words, loosen the filter, or add documents (`commonplace status`)."
NOTHING_NEAR = "Nothing in this collection answers the question: none of what was found is near enough to it."


@dataclass(frozen=True, slots=True)
class _Sentence:
    hit: int
    start: int
    end: int
    text: str


class ExtractiveGenerator:
    """Chooses sentences by likeness to the question and to each other, and the pictures that matter."""

    def __init__(self, space: Space, evidence: Evidence) -> None:
        self._space = space
        self._evidence = evidence

    name = "extractive"
    fallback = False

    def generate(self, request: Request) -> Iterator[Part]:
        """Yield sentences and pictures from the ranked hits, or why there is nothing to answer from."""
        hits = request.hits
        if not hits:
            yield Nothing(NOTHING_FOUND)
            return
        statements = self._statements(request.question, request.vectors, hits)
        shown = [Shown(n) for n in request.fitting]
        if not statements and not shown:
            yield Nothing(NOTHING_NEAR)
            return
        yield from _in_order(statements, shown, hits, first=wants_pictures(request.question))

    def _statements(self, question: str, vectors: QuestionVectors, hits: Sequence[Hit]) -> list[Statement]:
        passages = [(n, hit) for n, hit in enumerate(hits) if hit.item.modality == "text"][:PASSAGES]
        if vectors.text is not None and not vectors.notes:
            passages = [(n, hit) for n, hit in passages if hit.confidence >= PLAUSIBLE]
        # The same sentence in two places is quoted from the better one.
        sentences = list({one.text: one for n, hit in reversed(passages) for one in split(n, hit.item)}.values())
        if not sentences:
            return []
        asked, named = terms(question), names(question)
        # A sentence is read under its headings: "It is 9 bar" answers nothing without "North pump > Pressure".
        views = [text_view(one.text, hits[one.hit].item.title) or "" for one in sentences]
        overlap = np.array([_share(asked, terms(view)) for view in views])
        of_passage = np.array([hits[one.hit].score for one in sentences])
        holds = {n: not named or bool(named & terms(hit.item.text_view or "")) for n, hit in passages}
        speaks = np.array([holds[one.hit] for one in sentences])  # of what the question names
        query = vectors.text if vectors.text is not None else vectors.image
        rows: NDArray[np.float32] | None = None
        # Halfway between the sentence alone and under its headings, or every line below a good heading would do.
        alone = [one.text for one in sentences]
        texts = list(dict.fromkeys([*views, *alone]))  # without headings the two are one
        read = None if query is None else self._space.embed(texts, "text" if vectors.text is not None else "image")
        if query is not None and read is not None:
            vectors_of = dict(zip(texts, read, strict=True))
            rows = np.array([vectors_of[view] + vectors_of[text] for view, text in zip(views, alone, strict=True)])
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            arm = "text->text" if vectors.text is not None else "image->text"
            near = self._evidence.nearness(arm, rows @ query)
            worth = (near + overlap + of_passage) / 3
            enough = (near >= np.where(speaks, ENOUGH, CERTAIN)) | (overlap >= 0.99)
        else:
            worth = (overlap + of_passage) / 2
            enough = (worth >= WORDS_ENOUGH) & speaks
        if codes := {one for one in named if any(c.isdigit() for c in one) and not one.isdigit()}:
            # A code such as 0x80370102 or M6 has no meaning that another could be near to: it is there or it is not.
            passages_with = {n for n, hit in passages if codes & terms(hit.item.text_view or "")}
            enough &= np.array([one.hit in passages_with for one in sentences])
        chosen = _choose(np.where(enough, worth, 0.0), rows)
        return [Statement(one.text, (one.hit,), one.start, one.end) for one in (sentences[i] for i in chosen)]


def fitting(
    evidence: Evidence, vectors: QuestionVectors, hits: Sequence[Hit], *, enough: float = ENOUGH
) -> tuple[int, ...]:
    """Return the numbers of the hits whose pictures have enough evidence from what was asked, best first."""
    found: dict[str | None, int] = {}
    for n, hit in enumerate(hits):
        if hit.image is None or hit.item.picture in found:
            continue
        lines = (line for line in hit.arms if line.arm.startswith(("text->", "image->", "both->")))
        cosines = {line.arm: np.array([line.score], np.float32) for line in lines}
        near = any(evidence.nearness(arm, cosine)[0] >= enough for arm, cosine in cosines.items())
        if near or (not cosines and hit.score >= WORDS_ENOUGH):  # a caption in a script the tower cannot read
            found[hit.item.picture] = n
    return tuple(found.values())[:PICTURES]


def split(hit: int, item: Item) -> list[_Sentence]:
    """Return the sentences of a passage with their offsets; paragraphs, headings and list items end one too."""
    import sentencex

    text = _FENCE.sub(_blank, item.text or "")
    if item.document.media_type == "text/markdown":
        text = _ROW.sub(_cells, text)
        text = _MARKUP.sub(lambda match: _veil(match.group(), match.group("label") or match.group("code")), text)
    found = []
    for paragraph in _PARAGRAPH.finditer(text):
        at = paragraph.start()
        for sentence in sentencex.segment("en", paragraph.group()):
            start = text.index(sentence, at)
            at = start + len(sentence)
            start += len(sentence) - len(sentence.lstrip(_SPACE))
            end = start + len(sentence.strip(_SPACE))
            words = " ".join(text[start:end].replace(_VEIL, "").split()).replace(" ;", ";")
            # A line that leads to a list, and a question, are no answers.
            if 2 <= len(words) <= LONGEST and words[-1] not in ":?：？" and any(c.isalnum() for c in words):
                found.append(_Sentence(hit, start, end, words))
    return found


_VEIL = "\u2060"  # a word joiner: it ends no word and no sentence, and keeps the offsets right
_SPACE = f" \t\r\n;{_VEIL}"
_FENCE = re.compile(r"^[ \t]*(```|~~~)(?s:.*?)(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.MULTILINE)
_ROW = re.compile(r"^[ \t]*\|[^\n]*$", re.MULTILINE)
_TAGS = "a|abbr|b|br|center|code|del|details|div|em|figcaption|figure|font|h[1-6]|hr|i|img|ins|kbd|li|mark|ol|p|pre|s"
_TAGS += "|small|span|strong|sub|summary|sup|table|tbody|td|th|thead|tr|u|ul|video"
_MARKUP = re.compile(
    r"`+(?P<code>[^`\n]+)`+|!\[[^\]\n]*\]\([^)\n]*\)|\[(?P<label>[^\]\n]+)\]\([^)\n]*\)|<!--(?s:.*?)(?:-->|\Z)"
    rf"|</?(?:{_TAGS})\b[^>\n]*>|\*{{1,3}}|(?<!\w)_{{1,2}}(?=\w)|(?<=\w)_{{1,2}}(?!\w)|:::[^\n]*"
    r"|^[ \t]*(?:#{1,6}|>|[-*+]|\d+[.)])[ \t]+(?:\[(?:[xX ]|![^\]\n]*)\])?",
    re.MULTILINE,
)


def _blank(match: re.Match[str]) -> str:
    """Return lines of nothing, as long as what was matched: a listing holds no sentences."""
    return "".join(c if c == "\n" else " " for c in match.group())


def _cells(row: re.Match[str]) -> str:
    """Return a table's row as words with semicolons between the cells; a row of rules as nothing."""
    if not any(c.isalnum() for c in row.group()):
        return _blank(row)
    return row.group().replace("|", ";")


def _veil(markup: str, words: str | None) -> str:
    """Return the markup unseen, with the words of a link or of code in their place."""
    if words is None:
        return "".join(c if c == "\n" else _VEIL for c in markup)
    before = markup.index(words)
    return _VEIL * before + words + _VEIL * (len(markup) - len(words) - before)


_PARAGRAPH = re.compile(r"\S[^\n]*(?:\n(?!\s*(?:[-*+#>|;]|\d+[.)]|\n))[^\n]+)*")


def _share(asked: frozenset[str], found: frozenset[str]) -> float:
    return len(asked & found) / len(asked) if asked else 0.0


def _choose(worth: NDArray[np.float64], rows: NDArray[np.float32] | None) -> list[int]:
    """Return the indices of the best sentences that differ, best first (maximal marginal relevance)."""
    chosen: list[int] = []
    left = worth.copy()
    best = float(worth.max())
    while len(chosen) < SENTENCES:
        i = int(left.argmax())
        if left[i] <= 0 or worth[i] < CLOSE * best:
            break
        chosen.append(i)
        left[i] = 0
        if rows is not None:
            left = np.where(left > 0, np.minimum(left, worth * (1 - DIVERSITY * np.maximum(rows @ rows[i], 0) ** 2)), 0)
    return chosen


_SHOW = re.compile(
    r"^\W*(?:(?:please|can|could|would|will|you|i|want|would like|to|let|me) )*(?:show|see|display|find me)\b"
    r"|\b(?:picture|photo|photograph|image|drawing|diagram|figure|chart|screenshot)s? (?:of|with|that|where|showing)\b"
    r"|what (?:does|do|did) .{1,80} look like|图片|照片|图像|截图|给我看|看看|长什么样",
    re.IGNORECASE,
)
_WORDS_OF_SHOW = re.compile(
    r"^\W*(?:(?:please|can|could|would|will|you|i|want|would like|to|let|me) )*"
    r"(?:show|see|display|find me)\b(?: me| us)?"
    r"(?: (?:a|an|the|some|any|all|your)? ?(?:picture|photo|photograph|image)s? (?:of|with|that|where|showing))?\b\s*",
    re.IGNORECASE,
)


def wants_pictures(question: str) -> bool:
    """Return whether a question asks to be shown something: *show me*, *a photo of*, *what does it look like*."""
    return _SHOW.search(question) is not None


def subject(question: str) -> str:
    """Return a question without the words that only ask to be shown something; what is left is what to look for."""
    return _WORDS_OF_SHOW.sub("", question).strip() or question


def _in_order(
    statements: list[Statement], shown: list[Shown], hits: Sequence[Hit], *, first: bool
) -> list[Statement | Shown]:
    """Return sentences by document (best first) and place, each picture after the words that it belongs to.

    Those are the last sentence of its own page or heading; else the last of its document; else it comes at the end, or
    before everything where there are no sentences. With ``first`` pictures come before all sentences.
    """
    documents = list(dict.fromkeys(hits[one.hits[0]].item.document.id for one in statements))

    def place(one: Statement) -> tuple[int, int, int]:
        item = hits[one.hits[0]].item
        return documents.index(item.document.id), item.span.page or 0, (item.span.start or 0) + (one.start or 0)

    ordered = sorted(statements, key=place)
    if first:
        return [*shown, *ordered]
    after: dict[int, list[Shown]] = {}
    for one in shown:
        item = hits[one.hit].item
        near = [
            (other.span.page == item.span.page and other.title == item.title, i)
            for i, part in enumerate(ordered)
            if (other := hits[part.hits[0]].item).document.id == item.document.id
        ]
        after.setdefault(max(near)[1] if near else len(ordered) - 1, []).append(one)
    parts: list[Statement | Shown] = list(after.get(-1, ()))
    for i, statement in enumerate(ordered):
        parts += [statement, *after.get(i, ())]
    return parts
