"""Answers without a language model: the sentences and pictures that answer, in an order that reads well."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from commonplace.generation.grounding import orders
from commonplace.generation.intent import (
    attribute,
    content_words,
    is_chinese,
    wants_listing,
    wants_pictures,
    wants_sources,
)
from commonplace.generation.parts import Nothing, Part, Request, Shown, Statement
from commonplace.generation.sentences import Sentence, listing, quotable
from commonplace.retrieval import Calibration
from commonplace.space import QueryVectors, Space
from commonplace.text import names, terms
from commonplace.types import Hit, text_view

__all__ = ["ExtractiveGenerator", "relevant_images"]

SENTENCES = 3
PICTURES = 3
PASSAGES = 8  # passages whose sentences are read
DIVERSITY = (
    0.3  # share of a sentence's worth that likeness to the chosen ones takes away (Carbonell and Goldstein 1998)
)
CLOSE = 0.75  # a further sentence must be worth this share of the best one
ENOUGH = 0.5  # evidence under which nothing counts as an answer
SHOWN = 0.3  # the same for a picture where pictures were asked for
ALONE = 0.4  # the same for a picture where nothing but pictures was found: "a dog" in a folder of photographs
CERTAIN = 0.7  # the same for a passage that names nothing of what the question names: a look-alike, as a rule
NAMED = 0.85  # the same where no passage that is quoted names what is asked for: the GDP in "the GDP of Fresno"
AROUND = 0.2  # what the share of the question's words in the whole passage adds to a sentence's nearness
PLAUSIBLE = 0.03  # confidence of a passage under which its sentences are not read, where meaning was asked for
FIRST, NEAR = 3, 0.75  # where no passage has that: how many are read, and how near a sentence must be
CLOSE_WORDS = 0.6  # CLOSE where words are all there is: they tell the right sentence less surely
WORDS, WORDS_ENOUGH = 12.0, 1.75
"""Where words are all there is, a passage answers whose log-odds and whose share of the question's telling words, times
the first number, sum to the second (benchmarks/words.py): the odds know how rare the words are, and nothing in a
collection of a few files, where the share does."""
CODE = 200  # characters of a listing that are read with its sentence
LISTED = 1.3  # worth of a sentence with its listing, where a question asks how
GAP = 3  # characters between two passages that were cut apart
READ = 0.8  # worth of what was read in pixels, which nobody wrote, and of a table's row where a question asks how
BESIDE = 0.5  # what a word in the next sentence counts, where words are all there is

NOTHING_FOUND = "Nothing was found: ask in other words, loosen the filter, or add documents (`commonplace status`)."
NOTHING_NEAR = "Nothing in this collection answers the question: none of what was found is near enough to it."
NOT_READ = (
    "The model does not know the words of this question, so no picture could be looked for by what it shows: ask in "
    "English, or make a collection with a model that reads them, such as siglip2-base (`commonplace models`)."
)
NOT_READ_ZH = (
    "当前模型不认识这个问题的文字，无法按画面查找图片："
    "请用英文提问，或用能读中文的模型新建文档库，如 siglip2-base（见 `commonplace models`）。"
)


class ExtractiveGenerator:
    """Chooses sentences by likeness to the question and to each other, and the pictures that matter."""

    def __init__(self, space: Space, evidence: Calibration) -> None:
        self._space = space
        self._evidence = evidence

    name = "extractive"
    fallback = False

    def generate(self, request: Request) -> Iterator[Part]:
        """Yield sentences and pictures from the ranked hits, or why there is nothing to answer from."""
        hits = request.hits
        if not hits:
            yield Nothing(_unread(request) or NOTHING_FOUND)
            return
        statements = self._statements(request.question, request.vectors, hits)
        shown = [Shown(n) for n in request.relevant_images]
        if not statements and not shown:
            yield Nothing(_unread(request) or NOTHING_NEAR)
            return
        yield from _in_order(statements, shown, hits, first=wants_pictures(request.question))

    def _statements(self, question: str, vectors: QueryVectors, hits: Sequence[Hit]) -> list[Statement]:
        passages = [(n, hit) for n, hit in enumerate(hits) if hit.item.modality == "text"][:PASSAGES]
        asked, named = terms(question), names(question)
        if vectors.text is None and vectors.image is None:
            passages = [(n, hit) for n, hit in passages if _enough_words(content_words(question), hit)]
        least = 0.0
        if vectors.text is not None and not vectors.notes:
            plausible = [(n, hit) for n, hit in passages if hit.confidence >= PLAUSIBLE]
            # In a collection all about one thing nothing stands out: there a sentence must be very near instead.
            passages, least = (plausible, 0.0) if plausible else (passages[:FIRST], NEAR)
        how = wants_listing(question)
        # The same sentence in two places is quoted from the better one.
        read = [
            one
            for n, hit in reversed(passages)
            for one in quotable(n, hit.item, listings=how, references=wants_sources(question))
        ]
        if not orders(question):  # what speaks to a language model answers nobody, but who asks about such orders
            read = [one for one in read if not orders(_with_code(one, hits))]
        sentences = list({one.text: one for one in read}.values())
        if not sentences:
            return []
        # A sentence is read under its headings: "It is 9 bar" answers nothing without "North pump > Pressure".
        views = [
            text_view(_lead(one, before) + _with_code(one, hits), hits[one.hit].item.title) or ""
            for before, one in zip([None, *sentences], sentences, strict=False)
        ]
        words = [terms(view) for view in views]
        of_passage = np.array([hits[one.hit].score for one in sentences])
        holds = {n: not named or bool(named & terms(hit.item.text_view or "")) for n, hit in passages}
        shares = {n: _share(asked, terms(hit.item.text_view or "")) for n, hit in passages}
        speaks = np.array([holds[one.hit] for one in sentences])  # of what the question names
        query = vectors.text if vectors.text is not None else vectors.image
        rows = self._rows(views, [one.text for one in sentences], vectors)
        near: NDArray[np.float64] | None = None
        if rows is not None and query is not None:
            channel = "text->text" if vectors.text is not None else "image->text"
            near = self._evidence.nearness(channel, rows @ query)
            overlap = np.array([_share(asked, one) for one in words])
            worth = (near + overlap + of_passage) / 3
            around = np.array([shares[one.hit] for one in sentences])
            enough = (near + AROUND * around >= np.where(speaks, ENOUGH, CERTAIN)) | (overlap >= 0.99)
            enough &= near >= least
        else:
            overlap = _rarity(asked, words, [one.hit for one in sentences])
            worth = (overlap + of_passage) / 2
            enough = (overlap > 0) & speaks
        if codes := {one for one in named if any(c.isdigit() for c in one) and not one.isdigit()}:
            # A code such as 0x80370102 or M6 has no meaning that another could be near to: it is there or it is not.
            passages_with = {n for n, hit in passages if codes & terms(hit.item.text_view or "")}
            enough &= np.array([one.hit in passages_with for one in sentences])
        worth = worth * [_kind(one, hits[one.hit], how) for one in sentences]
        chosen = _choose(np.where(enough, worth, 0.0), rows)
        if near is not None and vectors.text is not None and not how and (wanted := attribute(question)):
            quoted = {sentences[i].hit for i in chosen}
            if not any(wanted & terms(hits[n].item.text_view or "") for n in quoted):
                chosen = [i for i in chosen if near[i] >= NAMED]
        return list(dict.fromkeys(part for i in chosen for part in _quoted(sentences[i], hits, how)))

    def _rows(self, views: Sequence[str], alone: Sequence[str], vectors: QueryVectors) -> NDArray[np.float32] | None:
        """Return a unit row (n, dim) for each sentence, to compare with the question; None where no tower can.

        It is halfway between the sentence alone and under its headings, or every line below a good heading would do.
        """
        if vectors.text is None and vectors.image is None:
            return None
        texts = list(dict.fromkeys([*views, *alone]))  # without headings the two are one
        read = self._space.embed(texts, "text" if vectors.text is not None else "image")
        if read is None:
            return None
        row_of = dict(zip(texts, read, strict=True))
        rows = np.array([row_of[view] + row_of[text] for view, text in zip(views, alone, strict=True)])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _unread(request: Request) -> str | None:
    """Return why a question for pictures found none, where the model does not know its words."""
    if request.vectors.text is not None or not wants_pictures(request.question):
        return None
    return f"{NOT_READ} {NOT_READ_ZH}" if is_chinese(request.question) else NOT_READ


def _with_code(one: Sentence, hits: Sequence[Hit]) -> str:
    """Return a sentence and the beginning of its listing, by which it is judged as well."""
    if one.listing is None or one.listing == (one.start, one.end):
        return one.text
    return f"{one.text}\n{listing(hits[one.hit].item.text or '', one.listing)[:CODE]}"


def _kind(one: Sentence, hit: Hit, how: bool) -> float:
    """Return what the kind of a sentence makes of its worth; ``how``: where a question asks how something is done."""
    if how and one.listing is not None:
        return LISTED
    text = hit.item.text or ""
    row = how and text[text.rfind("\n", 0, one.start) + 1 : one.start + 1].lstrip().startswith("|")
    return READ if row or hit.item.span.ocr_start is not None else 1.0


def _lead(one: Sentence, before: Sentence | None) -> str:
    """Return the sentence before one that only leads to its listing: *run:* says nothing of what for."""
    leads = one.listing is not None and one.text[-1] in ":：" and before is not None and before.hit == one.hit
    return f"{before.text} " if leads and before is not None else ""


def _quoted(one: Sentence, hits: Sequence[Hit], how: bool) -> Iterator[Statement]:
    """Yield a sentence, and the listing that belongs to it; ``how``: also where the next passage begins with that."""
    if one.listing != (one.start, one.end):
        yield Statement(one.text, (one.hit,), one.start, one.end)
    n, where = (one.hit, one.listing) if one.listing is not None or not how else _goes_on(one, hits)
    if where is not None:
        code = listing(hits[n].item.text or "", where)
        yield Statement(code, (n,), *where, code=True)


def _goes_on(one: Sentence, hits: Sequence[Hit]) -> tuple[int, tuple[int, int] | None]:
    """Return the hit that goes on with a listing where the passage of a sentence ends with that, and the listing."""
    item = hits[one.hit].item
    if (item.text or "")[one.end :].strip() or item.span.end is None:
        return one.hit, None
    for n, hit in enumerate(hits):
        other = hit.item
        near = other.document.id == item.document.id and other.span.member == item.span.member
        if near and other.span.start is not None and 0 <= other.span.start - item.span.end <= GAP:
            begins = [own.listing for own in quotable(n, other, listings=True) if own.listing and not own.listing[0]]
            return n, begins[0] if begins else None
    return one.hit, None


# --- words --------------------------------------------------------------------------------------------------------


def _enough_words(asked: frozenset[str], hit: Hit) -> bool:
    """Return whether an item that words alone have found answers, by the telling words asked for."""
    odds = min(max(hit.confidence, 1e-9), 1 - 1e-9)
    share = _share(asked, terms(hit.item.text_view or ""))
    return math.log(odds / (1 - odds)) + WORDS * share >= WORDS_ENOUGH


def _rarity(asked: frozenset[str], words: Sequence[frozenset[str]], hits: Sequence[int]) -> NDArray[np.float64]:
    """Return what share of the question each sentence (n,) holds, a word counting by how few of them do.

    What its neighbours in the passage hold counts half: an answer often stands beside what it is about.
    """
    having = Counter(word for one in words for word in one & asked)
    weight = {word: math.log(1 + len(words) / (having[word] + 0.5)) for word in asked}
    whole = math.fsum(weight.values()) or 1.0
    shares = []
    for i, own in enumerate(words):
        beside = [words[n] for n in (i - 1, i + 1) if 0 <= n < len(words) and hits[n] == hits[i]]
        near = frozenset().union(*beside) - own
        shares.append(
            math.fsum(weight[one] for one in own & asked) + BESIDE * math.fsum(weight[one] for one in near & asked)
        )
    return np.array(shares) / whole


def relevant_images(
    evidence: Calibration, question: str, hits: Sequence[Hit], *, show: bool = False
) -> tuple[int, ...]:
    """Return the numbers of the hits whose pictures have enough evidence from what was asked, best first.

    Less is enough where the question asks to ``show`` something, or where nothing but pictures was found.
    """
    pictures = all(hit.item.modality == "image" for hit in hits)
    enough = SHOWN if show else ALONE if pictures else ENOUGH
    asked = content_words(question)
    found: dict[str | None, int] = {}
    for n, hit in enumerate(hits):
        if hit.image is None or hit.item.picture in found:
            continue
        lines = (line for line in hit.breakdown if line.channel.startswith(("text->", "image->", "both->")))
        cosines = {line.channel: np.array([line.score], np.float32) for line in lines}
        near = any(evidence.nearness(channel, cosine)[0] >= enough for channel, cosine in cosines.items())
        if near or (not cosines and _enough_words(asked, hit)):  # a caption in a script the tower cannot read
            found[hit.item.picture] = n
    return tuple(found.values())[:PICTURES]


def _share(asked: frozenset[str], found: frozenset[str]) -> float:
    """Return what share of the words asked is found; a single character of Chinese is found in any pair."""
    alone = [one for one in asked - found if len(one) == 1 and one >= "\u2e80"]
    held = len(asked & found) + sum(any(one in other for other in found) for one in alone)
    return held / len(asked) if asked else 0.0


def _choose(worth: NDArray[np.float64], rows: NDArray[np.float32] | None) -> list[int]:
    """Return the indices of the best sentences that differ, best first (maximal marginal relevance)."""
    chosen: list[int] = []
    left = worth.copy()
    least = (CLOSE if rows is not None else CLOSE_WORDS) * float(worth.max())
    while len(chosen) < SENTENCES:
        i = int(left.argmax())
        if left[i] <= 0 or worth[i] < least:
            break
        chosen.append(i)
        left[i] = 0
        if rows is not None:
            left = np.where(left > 0, np.minimum(left, worth * (1 - DIVERSITY * np.maximum(rows @ rows[i], 0) ** 2)), 0)
    return chosen


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
