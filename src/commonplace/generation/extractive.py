"""Answers without a language model: the sentences and pictures that answer, in an order that reads well."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from commonplace.generation.parts import Nothing, Part, Request, Shown, Statement
from commonplace.generation.sentences import Sentence, listing, quotable
from commonplace.retrieval import Evidence
from commonplace.space import QuestionVectors, Space
from commonplace.store.segment import names, terms
from commonplace.types import Hit, text_view

__all__ = ["ExtractiveGenerator", "fitting", "subject", "wants_listing", "wants_pictures"]

SENTENCES = 3
PICTURES = 3
PASSAGES = 8  # passages whose sentences are read
DIVERSITY = (
    0.3  # share of a sentence's worth that likeness to the chosen ones takes away (Carbonell and Goldstein 1998)
)
CLOSE = 0.75  # a further sentence must be worth this share of the best one
ENOUGH = 0.5  # evidence under which nothing counts as an answer
SHOWN = 0.3  # the same for a picture where pictures were asked for
CERTAIN = 0.7  # the same for a passage that names nothing of what the question names: a look-alike, as a rule
PLAUSIBLE = 0.03  # confidence of a passage under which its sentences are not read, where meaning was asked for
CLOSE_WORDS = 0.6  # CLOSE where words are all there is: they tell the right sentence less surely
WORDS, WORDS_ENOUGH = 12.0, 1.75
"""Where words are all there is, a passage answers whose log-odds and whose share of the question's telling words, times
the first number, sum to the second (benchmarks/words.py): the odds know how rare the words are, and nothing in a
collection of a few files, where the share does."""
BESIDE = 0.5  # what a word in the next sentence counts, where words are all there is

NOTHING_FOUND = "Nothing was found: ask in other words, loosen the filter, or add documents (`commonplace status`)."
NOTHING_NEAR = "Nothing in this collection answers the question: none of what was found is near enough to it."


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
        asked, named = terms(question), names(question)
        if vectors.text is None and vectors.image is None:
            passages = [(n, hit) for n, hit in passages if _enough_words(asked, hit)]
        elif vectors.text is not None and not vectors.notes:
            passages = [(n, hit) for n, hit in passages if hit.confidence >= PLAUSIBLE]
        how = {"listings": wants_listing(question), "references": _SOURCES.search(question) is not None}
        # The same sentence in two places is quoted from the better one.
        read = [one for n, hit in reversed(passages) for one in quotable(n, hit.item, **how)]
        sentences = list({one.text: one for one in read}.values())
        if not sentences:
            return []
        # A sentence is read under its headings: "It is 9 bar" answers nothing without "North pump > Pressure".
        views = [text_view(one.text, hits[one.hit].item.title) or "" for one in sentences]
        words = [terms(view) for view in views]
        of_passage = np.array([hits[one.hit].score for one in sentences])
        holds = {n: not named or bool(named & terms(hit.item.text_view or "")) for n, hit in passages}
        speaks = np.array([holds[one.hit] for one in sentences])  # of what the question names
        query = vectors.text if vectors.text is not None else vectors.image
        rows = self._rows(views, [one.text for one in sentences], vectors)
        if rows is not None and query is not None:
            arm = "text->text" if vectors.text is not None else "image->text"
            near = self._evidence.nearness(arm, rows @ query)
            overlap = np.array([_share(asked, one) for one in words])
            worth = (near + overlap + of_passage) / 3
            enough = (near >= np.where(speaks, ENOUGH, CERTAIN)) | (overlap >= 0.99)
        else:
            overlap = _rarity(asked, words, [one.hit for one in sentences])
            worth = (overlap + of_passage) / 2
            enough = (overlap > 0) & speaks
        if codes := {one for one in named if any(c.isdigit() for c in one) and not one.isdigit()}:
            # A code such as 0x80370102 or M6 has no meaning that another could be near to: it is there or it is not.
            passages_with = {n for n, hit in passages if codes & terms(hit.item.text_view or "")}
            enough &= np.array([one.hit in passages_with for one in sentences])
        chosen = _choose(np.where(enough, worth, 0.0), rows)
        return [part for i in chosen for part in _quoted(sentences[i], hits)]

    def _rows(self, views: Sequence[str], alone: Sequence[str], vectors: QuestionVectors) -> NDArray[np.float32] | None:
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


def _quoted(one: Sentence, hits: Sequence[Hit]) -> Iterator[Statement]:
    """Yield a sentence, and the listing that belongs to it."""
    if one.listing != (one.start, one.end):
        yield Statement(one.text, (one.hit,), one.start, one.end)
    if one.listing is not None:
        code = listing(hits[one.hit].item.text or "", one.listing)
        yield Statement(code, (one.hit,), *one.listing, code=True)


# --- words --------------------------------------------------------------------------------------------------------

_FORM = frozenset(
    "的是了在有和与與为為什么麼哪谁誰多少几幾何吗嗎呢怎样樣如个個些被将將从從到对對于於之其及或而也都就这這那它他她以由中上下里裡时時"
)
"""Characters of Chinese that say how and not what is asked; a pair with one of them tells nothing."""


def _enough_words(asked: frozenset[str], hit: Hit) -> bool:
    """Return whether an item that words alone have found answers."""
    telling = frozenset(one for one in asked if len(one) != 2 or not _FORM & set(one)) or asked
    odds = min(max(hit.confidence, 1e-9), 1 - 1e-9)
    share = _share(telling, terms(hit.item.text_view or ""))
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


def fitting(evidence: Evidence, question: str, hits: Sequence[Hit], *, enough: float = ENOUGH) -> tuple[int, ...]:
    """Return the numbers of the hits whose pictures have enough evidence from what was asked, best first."""
    asked = terms(question)
    found: dict[str | None, int] = {}
    for n, hit in enumerate(hits):
        if hit.image is None or hit.item.picture in found:
            continue
        lines = (line for line in hit.arms if line.arm.startswith(("text->", "image->", "both->")))
        cosines = {line.arm: np.array([line.score], np.float32) for line in lines}
        near = any(evidence.nearness(arm, cosine)[0] >= enough for arm, cosine in cosines.items())
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


_WORDS_OF_SHOW_ZH = re.compile(
    r"^\W*(?:请|麻烦|能不能|能否|可以|可不可以|我想|想|你|帮我|给我|让我|看一下|看看|看|显示|展示|找出|找|一下|一些|一张|几张|所有)*"
    r"(?P<what>.*?)的?(?:照片|图片|图像|截图|相片|长什么样|是什么样子?)?(?:吗|呢|吧)?\W*$"
)
_HAN = re.compile("[\u3400-\u9fff]")
_LISTING = re.compile(
    r"\bhow (?:do|to|can|could|should|would|does|is|are)\b(?! (?:many|much|long|old|far|often|big)\b)"
    r"|\b(?:commands?|install(?:ing|ation)?|run|scripts?|code|snippets?|syntax|examples?|configur\w+|set ?up|usage)\b"
    r"|如何|怎么|怎样|命令|代码|安装|运行|配置|设置|示例|用法|语法",
    re.IGNORECASE,
)
_SOURCES = re.compile(
    r"\b(?:cit(?:e[sd]?|ing|ations?)|references?|bibliograph\w*|doi|isbn|arxiv|papers?|articles?|authors?|publications?"
    r"|publish(?:ed|ers?)?|wrote)\b|文献|文獻|论文|論文|作者|引用|出版",
    re.IGNORECASE,
)
"""Asks for what stands in a bibliography."""


def wants_listing(question: str) -> bool:
    """Return whether a question asks how something is done, or for a command or code: *how do I*, *which command*."""
    return _LISTING.search(question) is not None


def wants_pictures(question: str) -> bool:
    """Return whether a question asks to be shown something: *show me*, *a photo of*, *what does it look like*."""
    return _SHOW.search(question) is not None


def subject(question: str) -> str:
    """Return a question without the words that only ask to be shown something; what is left is what to look for."""
    if (chinese := _WORDS_OF_SHOW_ZH.match(question)) and _HAN.search(question):
        return chinese["what"] or question
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
