"""Answers without a language model: the sentences and pictures that answer the question, in reading order."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.generation.answer_kinds import asks_in_words, defines
from commonplace.generation.intent import (
    content_words,
    is_chinese,
    wants_listing,
    wants_pictures,
    wants_sources,
    wants_steps,
    wants_summary,
)
from commonplace.generation.outlines import outline
from commonplace.generation.parts import Abstention, Part, Request, ShownImage, Statement
from commonplace.generation.prompt_injection import has_instructions
from commonplace.generation.question_parts import question_parts
from commonplace.generation.reader import can_read, reading
from commonplace.generation.relevance import has_enough_words, same_language
from commonplace.generation.rules import after_rules
from commonplace.generation.selection import (
    FEATURES,
    WEIGHTS,
    WEIGHTS_READ,
    WEIGHTS_WORDS,
    Candidate,
    features,
    probabilities,
    wanted_words,
)
from commonplace.generation.sentences import Sentence, listing, quotable
from commonplace.i18n import N_, _
from commonplace.retrieval import Calibration
from commonplace.space import QueryVectors, Space
from commonplace.types import Document, Hit, Note, Query, text_view

__all__ = ["ExtractiveGenerator"]

CONFIDENCE_FOREIGN = 0.2  # what the confidence of a passage in another language adds to a sentence's similarity
SENTENCES = 2  # sentences of an answer
SENTENCES_WORDS = 3  # the same without vectors
PASSAGES = 8  # passages whose sentences are read
DIVERSITY = 0.3
"""The share of a sentence's score that similarity to the chosen sentences takes away (Carbonell and Goldstein 1998)."""
MIN_PROBABILITY = 0.1  # of answering, below which a sentence is not quoted
MIN_PROBABILITY_PART = 0.06  # the same for a part of a question
MIN_PROBABILITY_LONG, LONG_QUESTION = 0.05, 5
"""The same for a question of so many content words: no sentence has them all. In folders left out in turn nothing
changes, and of XQuAD's questions for choices 2.5% are wrongly silent instead of 4%."""
MIN_PROBABILITY_READ, MIN_PROBABILITY_READ_LONG = 0.2, 0.05  # the same of sentences that the reader has read
MIN_PROBABILITY_WORDS = 0.1  # the same without vectors
RELATIVE_PROBABILITY = 0.75  # a further sentence needs this share of the best sentence's probability
RELATIVE_PROBABILITY_WORDS = 0.3  # the same without vectors: words alone identify the right sentence less surely
RELATIVE_PROBABILITY_ROWS, MOST_ROWS = 0.5, 20
"""The same for the rows of a table if the question asks *which*: all with as many of its words, at most so many."""
TIE = 1e-6
_WHICH = re.compile(r"^\W*(?:and |und )?(?:which|welche[rsnm]?)\b|哪", re.IGNORECASE)
_SUPERLATIVE = re.compile(
    r"\b(?:most|least|first|last|next|\w{2,}est|am \w+sten|\w+ste[rns]?)\b|最|第一|第[二三]|下一", re.IGNORECASE
)
READ_AT_ONCE = 8
"""Sentences that are embedded at once, the most promising first, until no other can be quoted."""
READ_TOGETHER = 4
"""The likeliest sentences, which the reader reads together with the question; of the others none is quoted then.

With 4, folders left out in turn have as many right answers as with 8 or 16, and each costs some 15 ms of one core."""
PROMISING = 0.02  # the least probability before it is read, of a sentence that the reader reads
SENTENCES_KEPT = 2_000  # sentences whose vectors are kept, of 1.5 KB each
MIN_SIMILARITY_FOREIGN = 0.68
"""The least similarity in another language than the question's, where no words in common tell a look-alike apart.

On XQuAD dev, across English and Chinese, .68 is silent for 90% of the questions whose passage is missing (.58: 75%),
and gives the answer's words in 58% of the others (.58: 64%)."""
LISTING_CHARS = 200  # characters of a listing that are scored together with its sentence
LISTING_FACTOR = 1.3  # score of a sentence with a listing, if the question asks how to do something
LOW_QUALITY_FACTOR = 0.8  # score of OCR text, and of a table row if the question asks how to do something
_REFERS = re.compile(
    r"(?:it|its|they|their|he|his|she|her|this|these|those)\b(?! (?:is|was) (?:\w+ ){0,2}that\b)"
    r"|它|他|她|该|該|其(?![他它余餘中实實])|这|這|此",
    re.IGNORECASE,
)  # begins a sentence about what the sentence before names
MAX_GAP = 3  # characters between two passages that the chunker separated

NOTHING_FOUND = N_("Nothing was found: ask in other words, loosen the filter, or add documents (`commonplace status`).")
NOTHING_NEAR = N_(
    "Nothing in this collection answers the question: no result is similar enough to it. Ask in other words, or add "
    "documents."
)
NOT_READ = N_(
    "The model does not know the words of this question, so it cannot search for pictures by what they show: ask in "
    "English, or make a collection with a model that knows them, such as multilingual (`commonplace models`)."
)
PART_WITHOUT_ANSWER = N_("Nothing in this collection answers this part of the question: {part}")


@dataclass(frozen=True, slots=True)
class Described:
    """The sentences that could be quoted, their unit vectors (n, dim) or None, their features (n, d), how likely each
    of them answers (n,), and which the reader has read (n,)."""

    candidates: Sequence[Candidate]
    vectors: NDArray[np.float32] | None
    features: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    read: NDArray[np.bool_]


class ExtractiveGenerator:
    """Quotes the sentences that are similar to the question but not to each other, and shows relevant pictures."""

    name = "extractive"
    fallback = False

    def __init__(self, space: Space, calibration: Calibration) -> None:
        self._space = space
        self._calibration = calibration
        self._lock = threading.Lock()
        self._read: dict[tuple[str, str], NDArray[np.float32]] = {}  # vectors of sentences, the latest last

    def forget(self) -> None:
        """Drop what was kept of the sentences that were read: their documents were removed."""
        with self._lock:
            self._read.clear()

    def generate(self, request: Request) -> Iterator[Part]:
        """Yield sentences and pictures from the ranked hits, or an abstention with the reason."""
        hits = request.hits
        if not hits:
            yield Abstention(_(_unreadable(request) or NOTHING_FOUND, request.language))
            return
        statements, unanswered = self._statements(request.full_question, request.vectors, hits)
        images = [ShownImage(n) for n in request.relevant_images]
        # A picture does not say who, when or how much, unless one was shown with the question: what is this?
        if request.picture is None and asks_in_words(request.full_question):
            cited = {hits[n].item.document.id for statement in statements for n in statement.hits}
            images = [image for image in images if hits[image.hit].item.document.id in cited]
        if not statements and not images:
            yield Abstention(_(_unreadable(request) or NOTHING_NEAR, request.language))
            return
        yield from _in_order(statements, images, hits, images_first=wants_pictures(request.full_question))
        for part in unanswered:
            yield Note(_(PART_WITHOUT_ANSWER, request.language).format(part=part))

    def _statements(
        self, question: str, vectors: QueryVectors, hits: Sequence[Hit]
    ) -> tuple[list[Statement], list[str]]:
        """Return what answers a question, and the parts of it that nothing answers if something answers others."""
        parts = question_parts(question)
        is_whole = len(parts) == 1 or wants_steps(question) or wants_summary(question)
        if is_whole and (statements := outline(question, hits)) is not None:
            return statements, []
        if len(parts) == 1:
            return self._best(question, vectors, hits), []
        encoded = self._space.encode_queries([Query(part) for part in parts])
        of_parts = [
            self._best(part, part_vectors, hits, most=1, least=MIN_PROBABILITY_PART)
            for part, part_vectors in zip(parts, encoded, strict=True)
        ]
        unanswered = [part for part, statements in zip(parts, of_parts, strict=True) if not statements]
        return list(dict.fromkeys(itertools.chain.from_iterable(of_parts))), unanswered

    def _best(
        self,
        question: str,
        vectors: QueryVectors,
        hits: Sequence[Hit],
        *,
        most: int = SENTENCES,
        least: float | None = None,
    ) -> list[Statement]:
        """Return the likeliest sentences that answer a question about one thing, at most ``most``."""
        asks_how = wants_listing(question)
        is_long = not is_chinese(question) and len(wanted_words(question)) >= LONG_QUESTION
        unread = least or (MIN_PROBABILITY_LONG if is_long else MIN_PROBABILITY)
        described = self.describe(question, vectors, hits, unread)
        if described is None:
            return []
        read = least or (MIN_PROBABILITY_READ_LONG if is_long else MIN_PROBABILITY_READ)
        least = read if described.read.any() else unread
        sentences = [candidate.sentence for candidate in described.candidates]
        likely = described.probabilities * _kind_factors(sentences, hits, asks_how)
        likely = np.where(_outdated(sentences, likely, hits), 0, likely)
        chosen = _choose(likely, described, question, most, least)
        return list(dict.fromkeys(part for i in chosen for part in _quoted(sentences[i], hits, asks_how)))

    def describe(
        self, question: str, vectors: QueryVectors, hits: Sequence[Hit], least: float = 0.0
    ) -> Described | None:
        """Return what could be quoted from the hits, and how likely each sentence answers; None if nothing can be.

        Sentences that cannot reach ``least``, or come near the best one, are not embedded: their probability is 0.
        """
        passages = _passages(question, vectors, hits)
        sentences = _candidates(question, passages, hits, wants_listing(question))
        if not sentences:
            return None
        # A sentence is read under its headings: "It is 9 bar" answers nothing without "North pump > Pressure".
        leads = [_lead(sentence, before) for before, sentence in zip([None, *sentences], sentences, strict=False)]
        views = [
            text_view(lead + _with_code(sentence, hits), hits[sentence.hit].item.title) or ""
            for lead, sentence in zip(leads, sentences, strict=True)
        ]
        foreign_hits = {n: _is_foreign(question, hit) for n, hit in passages}
        foreign = np.array([foreign_hits[sentence.hit] for sentence in sentences])
        candidates = [
            Candidate(sentence, f"{view}\n{_beside(sentences, i)}\n{_first_line(hits[sentence.hit])}", lead)
            for i, (sentence, view, lead) in enumerate(zip(sentences, views, leads, strict=True))
        ]
        matrix = features(question, candidates, hits, None)
        confidences = np.array([hits[sentence.hit].confidence for sentence in sentences])

        def likely_with(
            similarity: NDArray[np.float64] | None, weights: NDArray[np.float64] = WEIGHTS
        ) -> NDArray[np.float64]:
            if similarity is None:
                likely = probabilities(matrix, WEIGHTS_WORDS)
            else:
                matrix[:, FEATURES.index("similarity")] = similarity
                near = similarity + CONFIDENCE_FOREIGN * confidences >= MIN_SIMILARITY_FOREIGN
                across = MIN_PROBABILITY + (1 - MIN_PROBABILITY) * (2 * similarity + confidences) / 3
                likely = np.where(foreign, np.where(near, across, 0), probabilities(matrix, weights))
            return after_rules(question, candidates, matrix, likely, hits, foreign)

        if not self._embeds(vectors):
            return Described(candidates, None, matrix, likely_with(None), np.zeros(len(sentences), bool))
        # No rule makes a sentence less likely for being more similar, so this is the most that each can reach.
        factors = _kind_factors(sentences, hits, wants_listing(question))
        highest = factors * likely_with(np.ones(len(sentences)))
        texts = [sentence.text for sentence in sentences]
        reads = _reads(question, sentences, highest)
        rows: NDArray[np.float32] = np.zeros((len(sentences), self._space.dim), np.float32)
        similarity, likely = np.zeros(len(sentences)), np.zeros(len(sentences))
        embedded = np.zeros(len(sentences), bool)
        relative = RELATIVE_PROBABILITY_ROWS if _WHICH.match(question) else RELATIVE_PROBABILITY
        while True:
            reached = np.sort(factors * likely)
            if reads:
                bound = max(min(least, PROMISING), float(reached[-READ_TOGETHER:][0]))
            else:
                bound = max(least, relative * float(reached[-1]))
            left = np.flatnonzero(~embedded & (highest >= bound))
            if not len(left):
                break
            chosen = left[np.argsort(-highest[left], kind="stable")][: READ_AT_ONCE if least else None]
            rows[chosen] = self._embed([views[i] for i in chosen], [texts[i] for i in chosen], vectors)
            embedded[chosen] = True
            similarity[chosen] = self._similarity(rows[chosen], vectors, foreign[chosen])
            likely = np.where(embedded, likely_with(similarity), 0)
        read = np.zeros(len(sentences), bool)
        if reads:
            likeliest = np.argsort(-factors * likely, kind="stable")[:READ_TOGETHER]
            likeliest = likeliest[(likely[likeliest] >= min(least, PROMISING)) & ~foreign[likeliest]]
            read[likeliest] = True
            if len(likeliest):
                headed = [_headed(sentences[i], hits) for i in likeliest]
                matrix[likeliest, FEATURES.index("reading")] = reading(question, headed)
            likely = np.where(read | (foreign & embedded), likely_with(similarity, WEIGHTS_READ), 0)
        return Described(candidates, rows, matrix, likely, read)

    def _similarity(
        self, sentence_vectors: NDArray[np.float32], vectors: QueryVectors, foreign: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the similarity (n,) of sentences to the question, calibrated.

        ``foreign`` (n,): which sentences are in another language than the question.
        """
        query_vector = vectors.text if vectors.text is not None else vectors.image
        assert query_vector is not None  # _embeds()
        channel = "text->text" if vectors.text is not None else "image->text"
        cosines = sentence_vectors @ query_vector
        across = self._calibration.nearness(channel, cosines, across_languages=True)
        return np.where(foreign, across, self._calibration.nearness(channel, cosines))

    def _embeds(self, vectors: QueryVectors) -> bool:
        """Return whether sentences can be compared with the question: it has a vector, and a tower reads texts.

        In a language that the model was not made for, only words tell which sentence answers.
        """
        if vectors.unfamiliar:
            return False
        return vectors.text is not None or (vectors.image is not None and self._space.bundle.text is not None)

    def _embed(self, views: Sequence[str], texts: Sequence[str], vectors: QueryVectors) -> NDArray[np.float32]:
        """Return a unit vector (n, dim) for each sentence, to compare with the query.

        It is the mean of the sentence alone and under its headings. With headings only, every line below a good
        heading would match.
        """
        compared_with: Literal["text", "image"] = "text" if vectors.text is not None else "image"
        distinct = list(dict.fromkeys([*views, *texts]))  # without headings the two are the same
        vector_of = self._known_vectors(distinct, compared_with)
        sums = np.array([vector_of[view] + vector_of[text] for view, text in zip(views, texts, strict=True)])
        return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), np.float32)

    def _known_vectors(
        self, texts: Sequence[str], compared_with: Literal["text", "image"]
    ) -> dict[str, NDArray[np.float32]]:
        """Return the vectors (dim,) of texts; those of sentences that were read lately are not computed again."""
        with self._lock:
            kept = {text: row for text in texts if (row := self._read.get((compared_with, text))) is not None}
        missing = [text for text in texts if text not in kept]
        if missing:
            rows = self._space.embed(missing, compared_with)
            assert rows is not None  # _embeds()
            kept.update(zip(missing, rows, strict=True))
        with self._lock:
            for text, row in kept.items():  # the latest last
                self._read.pop((compared_with, text), None)
                self._read[compared_with, text] = row
            while len(self._read) > SENTENCES_KEPT:
                del self._read[next(iter(self._read))]
        return kept


def _reads(question: str, sentences: Sequence[Sentence], highest: NDArray[np.float64]) -> bool:
    """Return whether the reader chooses the answer: not of a list or of rows, and only in its language.

    ``highest`` (n,): the most that each sentence can reach.
    """
    best = np.argsort(-highest, kind="stable")[:READ_TOGETHER]
    if wants_listing(question) or (_WHICH.match(question) and sentences[best[0]].row is not None):
        return False
    return can_read(question, [sentences[i].text for i in best])


def _headed(sentence: Sentence, hits: Sequence[Hit]) -> str:
    """Return a sentence under its headings. The sentence before stays away: it may be the one that answers."""
    title = hits[sentence.hit].item.title
    return f"{title}: {sentence.text}" if title else sentence.text


def _unreadable(request: Request) -> str | None:
    """Return why a question for pictures found none, if the model does not know its words."""
    return NOT_READ if request.vectors.text is None and wants_pictures(request.question) else None


# --- sentences ----------------------------------------------------------------------------------------------------


def _passages(question: str, vectors: QueryVectors, hits: Sequence[Hit]) -> list[tuple[int, Hit]]:
    """Return the passages to read, with their numbers."""
    passages = [(n, hit) for n, hit in enumerate(hits) if hit.item.modality == "text"][:PASSAGES]
    if vectors.text is None and vectors.image is None:
        return [(n, hit) for n, hit in passages if has_enough_words(content_words(question), hit)]
    return passages


def _beside(sentences: Sequence[Sentence], i: int) -> str:
    """Return the sentences before and after number ``i`` in its passage; of a table's row, none."""
    sentence = sentences[i]
    if sentence.row is not None:
        return ""
    return "\n".join(
        sentences[n].text
        for n in (i - 1, i + 1)
        if 0 <= n < len(sentences) and sentences[n].hit == sentence.hit and sentences[n].row is None
    )


def _first_line(hit: Hit) -> str:
    """Return the first line of a passage without a heading: plain texts begin with what they are about."""
    return (hit.item.text or "").strip().partition("\n")[0] if hit.item.title is None else ""


def _candidates(
    question: str, passages: Sequence[tuple[int, Hit]], hits: Sequence[Hit], listings: bool
) -> list[Sentence]:
    """Return the sentences that may be quoted, each text once: from the best passage that has it."""
    sentences = [
        sentence
        for n, hit in reversed(passages)
        for sentence in quotable(n, hit.item, listings=listings, references=wants_sources(question))
    ]
    # Instructions to a language model answer no question, except one about such instructions.
    if not has_instructions(question):
        sentences = [sentence for sentence in sentences if not has_instructions(_addressed(sentence, hits))]
    return list({sentence.text: sentence for sentence in sentences}.values())


def _is_foreign(question: str, hit: Hit) -> bool:
    return not same_language(question, hit.item.text_view or "")


def _addressed(sentence: Sentence, hits: Sequence[Hit]) -> str:
    """Return what may be addressed to a language model. The column *Assistant* of a row speaks to nobody."""
    if sentence.row is not None:
        return "; ".join((*sentence.row.columns, *sentence.row.cells))
    return _with_code(sentence, hits)


def _with_code(sentence: Sentence, hits: Sequence[Hit]) -> str:
    """Return a sentence with the beginning of its listing."""
    if sentence.listing is None or sentence.listing == (sentence.start, sentence.end):
        return sentence.text
    return f"{sentence.text}\n{listing(hits[sentence.hit].item.text or '', sentence.listing)[:LISTING_CHARS]}"


def _kind_factors(sentences: Sequence[Sentence], hits: Sequence[Hit], asks_how: bool) -> NDArray[np.float64]:
    return np.array([_kind_factor(sentence, hits[sentence.hit], asks_how) for sentence in sentences])


def _kind_factor(sentence: Sentence, hit: Hit, asks_how: bool) -> float:
    """Return the factor for a sentence's score by its kind: with a listing, in a table row, OCR, or plain text."""
    if asks_how and sentence.listing is not None:
        return LISTING_FACTOR
    text = hit.item.text or ""
    line_start = text[text.rfind("\n", 0, sentence.start) + 1 : sentence.start + 1]
    table_row = asks_how and line_start.lstrip().startswith("|")
    return LOW_QUALITY_FACTOR if table_row or hit.item.span.ocr_start is not None else 1.0


def _lead(sentence: Sentence, before: Sentence | None) -> str:
    """Return the sentence before one that does not say by itself what it is about; otherwise an empty text.

    *Run:* before a listing does not say what for, and *It is changed each spring* does not say what is.
    """
    if sentence.answered:
        return f"{sentence.answered} "
    leads = sentence.listing is not None and sentence.text[-1] in ":："
    refers = leads or (sentence.row is None and _REFERS.match(sentence.text))
    return f"{before.text} " if refers and before is not None and before.hit == sentence.hit else ""


def _quoted(sentence: Sentence, hits: Sequence[Hit], asks_how: bool) -> Iterator[Statement]:
    """Yield a sentence, then its listing; if the question ``asks_how``, also one that the next passage begins with."""
    if sentence.listing != (sentence.start, sentence.end):
        yield Statement(sentence.text, (sentence.hit,), sentence.start, sentence.end)
    if sentence.listing is not None or not asks_how:
        n, span = sentence.hit, sentence.listing
    else:
        n, span = _next_listing(sentence, hits)
    if span is not None:
        code = listing(hits[n].item.text or "", span)
        yield Statement(code, (n,), *span, code=True)


def _next_listing(sentence: Sentence, hits: Sequence[Hit]) -> tuple[int, tuple[int, int] | None]:
    """Return the hit that continues a passage which ends with this sentence, and the listing that it begins with."""
    item = hits[sentence.hit].item
    if (item.text or "")[sentence.end :].strip() or item.span.end is None:
        return sentence.hit, None
    for n, hit in enumerate(hits):
        other = hit.item
        same_file = other.document.id == item.document.id and other.span.member == item.span.member
        if same_file and other.span.start is not None and 0 <= other.span.start - item.span.end <= MAX_GAP:
            listings = [candidate.listing for candidate in quotable(n, other, listings=True)]
            return n, next((span for span in listings if span and not span[0]), None)
    return sentence.hit, None


# --- choice and order ---------------------------------------------------------------------------------------------


def _outdated(sentences: Sequence[Sentence], likely: NDArray[np.float64], hits: Sequence[Hit]) -> NDArray[np.bool_]:
    """Return which (n,) are rows of an older list: another document of a later date has that row.

    A row is the same if its columns and its first cell are. Only rows that are as likely count.
    """
    dates = ["" if sentence.row is None else _date_of(hits[sentence.hit].item.document) for sentence in sentences]
    newest: dict[tuple[tuple[str, ...], str], str] = {}
    for i, sentence in enumerate(sentences):
        if sentence.row is not None and dates[i] and likely[i] >= RELATIVE_PROBABILITY * likely.max():
            key = sentence.row.columns, sentence.row.cells[0]
            newest[key] = max(newest.get(key, ""), dates[i])
    outdated = []
    for date, sentence in zip(dates, sentences, strict=True):
        latest = "" if sentence.row is None else newest.get((sentence.row.columns, sentence.row.cells[0]), "")
        outdated.append(bool(date) and date < latest and not latest.startswith(date))  # 2024-05 is not after 2024
    return np.array(outdated, bool)


def _date_of(document: Document) -> str:
    """Return the date of a document's content as the beginning of an ISO 8601 date; empty if it has none.

    That is the latest one in its name, or else the one that it states. The time of a file only tells when it was saved.
    """
    in_name = ["-".join(filter(None, match)) for match in _NAMED_DATE.findall(PurePath(document.path).name)]
    stated = "" if document.metadata.get("dated", "file") == "file" else str(document.metadata["date"])[:10]
    return max(in_name, default=stated)


_NAMED_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)(?:[-_. ]?(0[1-9]|1[0-2])(?:[-_. ]?(0[1-9]|[12]\d|3[01]))?)?(?!\d)")


def _choose(likely: NDArray[np.float64], described: Described, question: str, most: int, least: float) -> list[int]:
    """Return the indices of the likeliest sentences that differ, best first (maximal marginal relevance).

    Of a table, only the rows count that contain as many of the question's words as the best one. A definition stands
    alone.
    """
    by_words = described.vectors is None
    if by_words:
        least, relative = min(least, MIN_PROBABILITY_WORDS), RELATIVE_PROBABILITY_WORDS
    else:
        relative = RELATIVE_PROBABILITY
    best = int(likely.argmax())
    if likely[best] <= 0 or likely[best] < least:
        return []
    sentences = [candidate.sentence for candidate in described.candidates]
    if defines(question, sentences[best].text):
        return [best]
    chosen: list[int] = []
    remaining = likely.copy()
    words = described.features[:, FEATURES.index("words in it")]
    for i, sentence in enumerate(sentences):
        if sentence.row is not None and (sentences[best].row is None or words[i] < words[best] - TIE):
            remaining[i] = 0 if i != best else remaining[i]
    if sentences[best].row is not None:
        remaining = np.where([sentence.row is not None for sentence in sentences], remaining, 0)
    table = sentences[best].row
    if table is not None and _WHICH.match(question) and not _SUPERLATIVE.search(question):
        relative, most = RELATIVE_PROBABILITY_ROWS, MOST_ROWS  # all that fit, not the first two
        same = [(s.hit, s.row and s.row.table) == (sentences[best].hit, table.table) for s in sentences]
        remaining = np.where(same, remaining, 0)
    minimum = max(least, relative * float(likely[best]))
    most = max(most, SENTENCES_WORDS) if by_words else most
    while len(chosen) < most:
        i = int(remaining.argmax())
        if remaining[i] <= 0 or likely[i] < minimum:
            break
        chosen.append(i)
        remaining[i] = 0
        if described.vectors is not None:
            penalised = likely * (1 - DIVERSITY * np.maximum(described.vectors @ described.vectors[i], 0) ** 2)
            remaining = np.where(remaining > 0, np.minimum(remaining, penalised), 0)
    return chosen


def _in_order(
    statements: list[Statement], images: list[ShownImage], hits: Sequence[Hit], *, images_first: bool
) -> list[Statement | ShownImage]:
    """Return sentences by document (best first) and position, each picture after the sentence that it belongs to.

    That is the last sentence of its page or heading, else the last of its document, else the last of all. With
    ``images_first``, or without sentences, the pictures come first.
    """
    documents = list(dict.fromkeys(hits[statement.hits[0]].item.document.id for statement in statements))

    def position(statement: Statement) -> tuple[int, int, int]:
        item = hits[statement.hits[0]].item
        return documents.index(item.document.id), item.span.page or 0, (item.span.start or 0) + (statement.start or 0)

    ordered = sorted(statements, key=position)
    if images_first:
        return [*images, *ordered]
    images_after: dict[int, list[ShownImage]] = {}
    for image in images:
        item = hits[image.hit].item
        same_document = [
            (other.span.page == item.span.page and other.title == item.title, i)
            for i, statement in enumerate(ordered)
            if (other := hits[statement.hits[0]].item).document.id == item.document.id
        ]
        images_after.setdefault(max(same_document)[1] if same_document else len(ordered) - 1, []).append(image)
    parts: list[Statement | ShownImage] = list(images_after.get(-1, ()))
    for i, statement in enumerate(ordered):
        parts += [statement, *images_after.get(i, ())]
    return parts
