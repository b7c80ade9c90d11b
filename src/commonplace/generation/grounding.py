"""Grounding: each sentence of an answer is checked against the evidence that it cites, before it is shown.

There are three levels. *Supported*: the evidence says it, and every number, date and name of the sentence occurs in
the evidence together with the same words. *Weak*: the evidence says something similar, but some detail differs.
*Unsupported*: everything else.

A sentence and a source in two languages have no words in common. Then meaning stands for the words, and what has the
same spelling in both is compared: numbers, dates, measures, codes and names in the same script.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders import CrossEncoder
from commonplace.generation.claims import (
    REFERS_BACK,
    as_written,
    clauses,
    dates,
    facts,
    is_name,
    negations,
    spellings,
    without_count,
    words,
)
from commonplace.generation.contradictions import (
    changed_word,
    opposite_meaning,
    opposite_words,
    overlapping_clauses,
    words_in_order,
)
from commonplace.generation.prompt_injection import has_instructions
from commonplace.generation.provenance import documented_facts, named_in
from commonplace.generation.reasons import Cause, Reason, reason
from commonplace.generation.relevance import same_language
from commonplace.generation.sentences import verbatim
from commonplace.retrieval import Calibration
from commonplace.space import Space
from commonplace.text import in_digits, measures, terms
from commonplace.types import Hit, Support

__all__ = ["GroundingChecker", "GroundingVerdict"]

SUPPORTED = 0.55  # score from which a sentence is supported, tuned on dev (benchmarks/answers.py)
WEAK = 0.3  # score from which a sentence is weak
IMAGE_POSSIBLE = 0.5  # similarity of a sentence to a picture's pixels from which the picture weakly supports it
IMAGE_SUPPORTED = 0.8  # and from which the picture supports it
COPY_SHARE = 0.7  # share of a sentence's words, in the order of the source, from which it counts as an edited copy
WINDOWS_EMBEDDED = 10  # windows of the evidence whose vectors are compared: those that share most words
TRACED_HITS = 3  # hits that may be the source of a sentence without a marker: those that share most words
CONTRADICTED = 0.5  # probability of contradiction, by an NLI model, from which nothing is supported
MISPLACED_MARGIN = 0.1  # by how much nearer, without numbers, another place must be for a number to be misplaced
FOREIGN_WINDOWS = 40  # windows in another language whose vectors are compared
NEAR_ENOUGH = 0.5  # score of a sentence of the source from which its negation is compared by name

ImageRows = Callable[[Sequence[str]], Mapping[str, NDArray[np.float32]]]
"""Returns the stored image vectors (dim,) by the pictures' content hashes."""


@dataclass(frozen=True, slots=True)
class GroundingVerdict:
    """How well the evidence supports a sentence: a level, a score in [0, 1], and a reason unless fully supported.

    ``cause`` is the reason for programs. ``spans`` maps the number of each hit with a matching passage to that
    passage: characters (start, end) of the item's text.
    """

    level: Support
    score: float
    reason: str | None
    spans: Mapping[int, tuple[int, int]]
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class _Window:
    """One sentence of the evidence (``single``), or two neighbours, with its terms and its facts.

    ``text`` has its numbers and dates in one spelling (``in_digits``); ``written`` is the text as it stands.
    """

    hit: int
    start: int
    end: int
    text: str
    written: str
    title: str
    single: bool
    terms: frozenset[str]
    facts: frozenset[str]

    @property
    def spellings(self) -> frozenset[str]:
        return spellings(f"{self.title} {self.text}")


class GroundingChecker:
    """Checks sentences against the evidence of one answer.

    The score is the mean of two numbers: the similarity to the best window (a sentence or two neighbours, by the text
    tower's cosine on the scale of ``Calibration.nearness()``), and the share of the sentence's content words that
    the evidence contains. If the best window is in another language, the score is the similarity alone. An NLI model
    is a cross-encoder with the labels *entailment* and *contradiction*; with one, the score is the mean of the above
    and the probability of entailment. A high score alone is not enough: see the
    rules in ``check()``. Reasons are written in ``language``, that of the question.
    """

    def __init__(
        self,
        space: Space,
        calibration: Calibration,
        hits: Sequence[Hit],
        *,
        images: ImageRows | None = None,
        nli: CrossEncoder | None = None,
        language: str | None = None,
    ) -> None:
        self._language = language
        self._space = space
        self._calibration = calibration
        self._hits = hits
        self._images = images
        self._nli = nli
        self._windows: dict[int, list[_Window]] = {}
        self._quotes: dict[int, list[tuple[int, int, tuple[str, ...]]]] = {}
        self._vectors: dict[str, NDArray[np.float32] | None] = {}

    def check(self, sentence: str, cited: Sequence[int]) -> GroundingVerdict:
        """Return how well the hits numbered ``cited`` support ``sentence``.

        A sentence is supported if the evidence contains it word for word, as one or more whole sentences. Otherwise
        all of these must hold:

        - the score is high enough;
        - its numbers, dates and names occur in the evidence, each together with the same words;
        - if it is an edited copy, the edit changed no content word, negation or order of words;
        - negations and opposites agree with those of the sentence that it matches;
        - its source contains no instructions to a language model.

        If the best match is in another language, the same holds for the meaning of the words. A name that the source
        writes in another script cannot be compared, so such a sentence is weak at best.
        """
        if not cited:
            return self._verdict("unsupported", 0.0, "no citation")
        windows = [window for n in dict.fromkeys(cited) for window in self._windows_of(n)]
        tainted = self._tainted(cited)
        sentence_words = words(sentence)
        for n in dict.fromkeys(cited):
            if sentence_words and (span := self._quoted_span(sentence_words, n)):
                if tainted:
                    return self._verdict("weak", 1.0, "instructions", {n: span})
                return GroundingVerdict("supported", 1.0, None, {n: span})
        if not sentence_words:
            return self._verdict("unsupported", 0.0, "no words")
        if not windows:
            return self._check_images(sentence, cited) or self._verdict(
                "unsupported", 0.0, self._unread(sentence, cited)
            )
        foreign = np.array([not same_language(sentence, self._text_of(window.hit)) for window in windows])
        similarity, window_scores = self._window_scores(sentence, windows, foreign)
        best = int(window_scores.argmax())
        plain = in_digits(sentence)
        sentence_terms = terms(plain)
        # A sentence may combine what several windows say, one clause from each, and name the document.
        covered = frozenset().union(
            named_in(self._hits[n].item.document for n in cited),
            *(sentence_terms & _source_of(clause, windows)[1].terms for clause in clauses(plain)),
        )
        score = float((similarity[best] + _share(sentence_terms, covered | windows[best].terms)) / 2)
        if foreign[best]:
            score = float(similarity[best])
        spans = self._spans(windows, window_scores)
        deviation: Reason | None = None
        if self._nli is not None:
            entailed, contradicted = self._nli.entailment(windows[best].written, sentence)
            score = (score + entailed) / 2
            if contradicted >= CONTRADICTED:
                deviation = reason("contradicted", self._language)
        documented = documented_facts(plain, [self._hits[n].item.document for n in cited])
        difference = self._difference_in_meaning if foreign[best] else self._difference
        deviation = deviation or difference(plain, windows, window_scores, documented)
        if tainted:
            deviation = deviation or reason("instructions", self._language)
        if score >= SUPPORTED and deviation is None:
            return GroundingVerdict("supported", score, None, spans)
        if by_image := self._check_images(sentence, cited):
            return by_image
        if score >= WEAK:
            deviation = deviation or reason("similar", self._language)
            return GroundingVerdict("weak", score, deviation.text, spans, deviation.cause)
        # What else differs means nothing where the source is about something else.
        if deviation is None or deviation.cause not in ("absent", "date", "contradicted"):
            deviation = reason("not said", self._language)
        return GroundingVerdict("unsupported", score, deviation.text, {}, deviation.cause)

    def check_quote(self, cited: Sequence[int]) -> tuple[Support, str | None]:
        """Return the level, and the reason if any, of text that Commonplace itself copied from the ``cited`` hits."""
        if self._tainted(cited):
            return "weak", reason("instructions", self._language).text
        return "supported", None

    def check_lead(self, lead: str, cited: Sequence[int]) -> GroundingVerdict | None:
        """Return the verdict on a line that only leads to what follows; None if nothing in it is wrong.

        It claims nothing by itself, but its numbers, dates and names must occur in what it leads to.
        """
        plain = in_digits(without_count(lead))
        windows = [window for n in dict.fromkeys(cited) for window in self._windows_of(n)]
        documented = documented_facts(plain, [self._hits[n].item.document for n in cited])
        deviation = self._absent(plain, windows, documented) if windows else None
        return GroundingVerdict("weak", 0.0, deviation.text, {}, deviation.cause) if deviation is not None else None

    def find_source(self, sentence: str) -> tuple[int, GroundingVerdict] | None:
        """Return the hit that supports a sentence without a marker, and its verdict; None if no hit supports it."""
        sentence_terms = terms(sentence)
        shares = {
            n: _share(sentence_terms, terms(hit.item.text_view or ""))
            if same_language(sentence, self._text_of(n))
            else self._nearest(sentence, n)
            for n, hit in enumerate(self._hits)
        }
        likely = sorted(shares, key=lambda n: -shares[n])
        for n in likely[:TRACED_HITS]:
            verdict = self.check(sentence, [n])
            if verdict.level == "supported" and verdict.spans:
                return n, verdict
        return None

    def _verdict(
        self, level: Support, score: float, cause: Cause, spans: Mapping[int, tuple[int, int]] | None = None
    ) -> GroundingVerdict:
        return GroundingVerdict(level, score, reason(cause, self._language).text, spans or {}, cause)

    def _unread(self, sentence: str, cited: Sequence[int]) -> Cause:
        """Return why a source without text supports nothing."""
        if self._images is None or not any(self._hits[n].item.picture for n in cited):
            return "no text"
        return "unseen" if facts(sentence) or negations(sentence) else "picture"

    def _tainted(self, cited: Sequence[int]) -> bool:
        return any(has_instructions(self._hits[n].item.text_view or "") for n in cited)

    # --- reading the evidence --------------------------------------------------------------------------------

    def _text_of(self, n: int) -> str:
        return self._hits[n].item.text_view or ""

    def _nearest(self, sentence: str, n: int) -> float:
        """Return the similarity of a sentence to the nearest window of a hit; 0 if there is none."""
        windows = self._windows_of(n)
        return float(self._similarity(sentence, windows).max()) if windows else 0.0

    def _windows_of(self, n: int) -> list[_Window]:
        """Return the sentences of a hit and pairs of neighbours; its whole text if it has no sentences."""
        if n not in self._windows:
            item = self._hits[n].item
            text, title = item.text or "", item.title or ""
            # A line that introduces a list says something; a question does not.
            sentences = [sentence for sentence in verbatim(n, item) if sentence.text[-1] not in "?？"]
            spans = [(sentence.start, sentence.end, sentence.text) for sentence in sentences]
            if not spans and any(c.isalnum() for c in text):
                spans = [(0, len(text), " ".join(text.split()))]
            single = [_window(n, *span, title, True) for span in spans]
            # A sentence that begins with *it* needs the sentence before it.
            pairs = [
                _window(n, first[0], second[1], f"{first[2]} {second[2]}", title, False)
                for first, second in itertools.pairwise(spans)
                if REFERS_BACK.match(second[2])
            ]
            self._windows[n] = single + pairs
        return self._windows[n]

    def _quoted_span(self, sentence_words: tuple[str, ...], n: int) -> tuple[int, int] | None:
        """Return where a hit's text contains these words as one or more whole sentences in a row; None if nowhere."""
        if n not in self._quotes:
            quotes = verbatim(n, self._hits[n].item)
            self._quotes[n] = [(quote.start, quote.end, words(quote.text)) for quote in quotes]
        quotable = self._quotes[n]
        for i, (start, _end, _words) in enumerate(quotable):
            joined: tuple[str, ...] = ()
            for _start, end, quote_words in quotable[i:]:
                joined += quote_words
                if joined == sentence_words:
                    return start, end
                if joined != sentence_words[: len(joined)]:
                    break
        return None

    def _window_scores(
        self, sentence: str, windows: Sequence[_Window], foreign: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the similarity (n,) of each window to the sentence, and its score (n,).

        The score is the mean of the similarity and of the share of words, or the similarity alone for a window in
        another language (``foreign``).
        """
        sentence_terms = terms(in_digits(sentence))
        shares = np.array([_share(sentence_terms, window.terms) for window in windows])
        likely = np.argsort(-shares, kind="stable")
        likely = np.concatenate(
            [likely[~foreign[likely]][:WINDOWS_EMBEDDED], likely[foreign[likely]][:FOREIGN_WINDOWS]]
        )
        similarity = np.zeros(len(windows))
        similarity[likely] = self._similarity(sentence, [windows[i] for i in likely])
        return similarity, np.where(foreign, similarity, (similarity + shares) / 2)

    def _similarity(self, sentence: str, windows: Sequence[_Window]) -> NDArray[np.float64]:
        """Return the similarity (n,) of a sentence to windows, with or without headings; 0 if it has no vector."""
        views = [
            (window.written, f"{window.title}\n{window.written}" if window.title else window.written)
            for window in windows
        ]
        sentence_vector = self._embed([sentence])[0]
        if sentence_vector is None:
            return np.zeros(len(windows))
        bare, titled = (self._embed([view[i] for view in views]) for i in (0, 1))
        cosines = [
            max((float(vector @ sentence_vector) for vector in vectors if vector is not None), default=-1.0)
            for vectors in zip(bare, titled, strict=True)
        ]
        cosines_array = np.array(cosines, np.float32)
        across = np.array([not same_language(sentence, self._text_of(window.hit)) for window in windows])
        return np.where(
            across,
            self._calibration.nearness("text->text", cosines_array, across_languages=True),
            self._calibration.nearness("text->text", cosines_array),
        )

    def _embed(self, texts: Sequence[str]) -> list[NDArray[np.float32] | None]:
        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        readable = [text for text in missing if self._space.reads(text)]
        self._vectors.update(dict.fromkeys(missing))
        vectors = self._space.embed(readable) if readable else None
        if vectors is not None:
            self._vectors.update(zip(readable, vectors, strict=True))
        return [self._vectors[text] for text in texts]

    def _check_images(self, sentence: str, cited: Sequence[int]) -> GroundingVerdict | None:
        """Return the verdict by the pixels of the cited pictures; None if they do not support the sentence.

        Pixels support only what can be seen: never a number, a date, a name or a negation.
        """
        pictures = [picture for n in cited if (picture := self._hits[n].item.picture) is not None]
        sentence_vector = self._embed([sentence])[0] if pictures and self._images is not None else None
        if sentence_vector is None or self._images is None or facts(sentence) or negations(sentence):
            return None
        vectors = list(self._images(pictures).values())
        if not vectors:
            return None
        cosines = np.array([vector @ sentence_vector for vector in vectors], np.float32)
        similarity = float(self._calibration.nearness("text->image", cosines).max())
        if similarity < IMAGE_POSSIBLE:
            return None
        if similarity >= IMAGE_SUPPORTED:
            return GroundingVerdict("supported", similarity, None, {})
        return self._verdict("weak", similarity, "pixels")

    # --- the rules -------------------------------------------------------------------------------------------

    def _difference(
        self,
        sentence: str,
        windows: Sequence[_Window],
        window_scores: NDArray[np.float64],
        documented: frozenset[str],
    ) -> Reason | None:
        """Return what the sentence says that its evidence does not, as a reason; None if nothing.

        ``documented`` are facts that the documents themselves have, in their names and dates; here and below.
        """
        absent = self._absent(sentence, windows, documented)
        single = [i for i, window in enumerate(windows) if window.single]
        best = max(single, key=lambda i: window_scores[i])
        match = windows[best]
        sentence_words = words(sentence)
        shared_words = {i: words_in_order(sentence_words, words(windows[i].text)) for i in single}
        copied = max(single, key=lambda i: shared_words[i])
        if shared_words[copied] >= COPY_SHARE * len(sentence_words):
            match = windows[copied]
            changed = changed_word(sentence, match.text, self._language)
            if changed and (absent is None or (changed.cause == "other fact" and absent.cause == "absent")):
                return changed
        elif absent is None and bool(negations(sentence)) != bool(negations(overlapping_clauses(sentence, match.text))):
            return reason("negated" if window_scores[best] >= NEAR_ENOUGH else "similar", self._language)
        if absent:
            return absent
        if opposite := opposite_words(sentence, match.text, self._language):
            return opposite
        for clause in clauses(sentence):
            missing, _source = _source_of(clause, windows)
            if apart := sorted(missing - documented):
                return self._of("apart", apart[0], sentence)
            if misplaced := _misplaced_fact(clause, windows, facts(sentence)):
                return self._of("something else", misplaced, sentence)
        return None

    def _difference_in_meaning(
        self,
        sentence: str,
        windows: Sequence[_Window],
        window_scores: NDArray[np.float64],
        documented: frozenset[str],
    ) -> Reason | None:
        """Return what the sentence says that evidence in another language does not, as a reason; None if nothing."""
        evidence_facts = documented.union(*(window.facts | window.spellings for window in windows))
        match = windows[int(window_scores.argmax())]
        same_script = _is_latin(sentence) == _is_latin(match.text)
        absent = sorted(facts(sentence) - evidence_facts)
        for fact in absent:
            if same_script or not is_name(fact):
                return self._absent_fact(fact, sentence, windows)
        evidence_measures = frozenset().union(*(measures(window.text) for window in windows))
        for number, unit in sorted(measures(sentence) - evidence_measures):
            if any(number == other for other, _unit in evidence_measures):
                return reason("something else", self._language, fact=f"{number} {unit}")
        part = match.text
        if len(parts := clauses(match.text)) > 1 and negations(match.text):  # a *not* in another clause is unrelated
            part = parts[int(self._cosines(sentence, parts).argmax())]
        if bool(negations(sentence)) != bool(negations(part)):
            return reason("negated", self._language)
        if opposite := opposite_meaning(sentence, match.text, self._language):
            return opposite
        checked = facts(sentence) - frozenset(absent) - documented
        if checked and (misplaced := self._misplaced_in_meaning(sentence, checked, windows)):
            return self._of("something else", misplaced, sentence)
        if absent:
            names = ", ".join(as_written(fact, sentence) for fact in absent)
            return reason("other script", self._language, names=names)
        return None

    def _misplaced_in_meaning(self, sentence: str, checked: frozenset[str], windows: Sequence[_Window]) -> str | None:
        """Return a fact of the sentence that its source states of something else; None if there is none.

        Without their numbers, the sentence must not be nearer to a place with another number than to each place with
        its own. A place is a clause or a sentence of the source.
        """
        places = list(
            {
                text: (facts(text) | spellings(text), facts(text))
                for window in windows
                if window.single
                for text in ([window.text] if len(clauses(window.text)) == 1 else [window.text, *clauses(window.text)])
            }.items()
        )
        if len(places) < 2:
            return None
        cosines = self._cosines(_masked(sentence), [_masked(text) for text, _facts in places])
        for fact in sorted(fact for fact in checked if fact[0].isdigit()):
            with_fact = [cosine for cosine, (_text, (has, _stated)) in zip(cosines, places, strict=True) if fact in has]
            with_rival = [
                cosine
                for cosine, (_text, (has, stated)) in zip(cosines, places, strict=True)
                if fact not in has and any(other[0].isdigit() and other not in checked for other in stated)
            ]
            if with_fact and with_rival and max(with_rival) > max(with_fact) + MISPLACED_MARGIN:
                return fact
        return None

    def _cosines(self, sentence: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the cosine (n,) of each text with a sentence; -1 without a vector."""
        sentence_vector, *vectors = self._embed([sentence, *texts])
        if sentence_vector is None:
            return np.full(len(texts), -1.0)
        return np.array([-1.0 if vector is None else float(vector @ sentence_vector) for vector in vectors])

    def _absent(self, sentence: str, windows: Sequence[_Window], documented: frozenset[str]) -> Reason | None:
        """Return the reason if a number, date or name of the sentence stands nowhere in its evidence; else None."""
        evidence_facts = documented.union(*(window.facts | window.spellings for window in windows))
        absent = sorted(facts(sentence) - evidence_facts) or sorted(_only_months(sentence, windows))
        return self._absent_fact(absent[0], sentence, windows) if absent else None

    def _absent_fact(self, fact: str, sentence: str, windows: Sequence[_Window]) -> Reason:
        for date in dates(sentence):
            if fact in facts(date):
                if any(dates(window.text) for window in windows):
                    return reason("date", self._language, date=date)
                return reason("absent", self._language, fact=date)
        return self._of("absent", fact, sentence)

    def _of(self, cause: Cause, fact: str, sentence: str) -> Reason:
        return reason(cause, self._language, fact=as_written(fact, sentence))

    @staticmethod
    def _spans(windows: Sequence[_Window], window_scores: NDArray[np.float64]) -> dict[int, tuple[int, int]]:
        """Return the span of the best window of each hit, if its score is high enough."""
        spans: dict[int, tuple[int, int]] = {}
        # A single sentence comes before a pair that adds little to it.
        order = sorted(range(len(windows)), key=lambda i: -window_scores[i] - (0.05 if windows[i].single else 0.0))
        for i in order:
            if window_scores[i] >= WEAK / 2:
                spans.setdefault(windows[i].hit, (windows[i].start, windows[i].end))
        return spans


def _share(wanted: frozenset[str], present: frozenset[str]) -> float:
    return len(wanted & present) / len(wanted) if wanted else 0.0


def _window(hit: int, start: int, end: int, written: str, title: str, single: bool) -> _Window:
    text = in_digits(written)
    return _Window(hit, start, end, text, written, title, single, terms(f"{title} {text}"), facts(f"{title}. {text}"))


def _is_latin(text: str) -> bool:
    """Return whether most letters of a text are Latin."""
    letters = [c for c in text if c.isalpha()]
    return 2 * sum(c < "\u0250" for c in letters) > len(letters)


def _masked(text: str) -> str:
    """Return a text with an ellipsis for each of its numbers."""
    return _DIGITS.sub("…", text)


_DIGITS = re.compile(r"\d+(?:[.:]\d+)*")


def _source_of(clause: str, windows: Sequence[_Window]) -> tuple[frozenset[str], _Window]:
    """Return the facts of a clause that its source lacks, and the window that is its source.

    The source is the window that holds most of the clause's facts, then most of its words. A single sentence is
    preferred to a pair.
    """
    clause_facts, clause_terms = facts(clause), terms(clause)

    def rank(window: _Window) -> tuple[int, int, bool]:
        return len(clause_facts & (window.facts | window.spellings)), len(clause_terms & window.terms), window.single

    source = max(windows, key=rank)
    return clause_facts - source.facts - source.spellings, source


def _only_months(sentence: str, windows: Sequence[_Window]) -> frozenset[str]:
    """Return the numbers outside dates of a sentence that its evidence has as months alone: May is no five."""
    numbers = {fact for fact in facts(sentence) if fact.isdigit() and int(fact) <= 12}
    loose = numbers.difference(*(facts(date) for date in dates(sentence)))
    if not loose:
        return frozenset()
    return frozenset(loose).difference(
        *(window.facts | spellings(f"{window.title} {window.text}", months=False) for window in windows)
    )


def _misplaced_fact(clause: str, windows: Sequence[_Window], sentence_facts: frozenset[str]) -> str | None:
    """Return a fact of a clause that the evidence states about something else; None if there is none.

    The clause's other words must not fit a place with another fact of the same kind (a number, a name) better than
    every place with this fact. If they do, the sentence moved the fact from one thing to another.
    """
    places = [
        (facts(text), terms(text))
        for window in windows
        if window.single
        for text in {window.text, *clauses(window.text)}
    ]
    clause_facts = facts(clause)
    context = frozenset(term for term in terms(clause) if term not in {fact[:6] for fact in clause_facts})
    for fact in sorted(clause_facts) if context else ():
        numeric = fact[0].isdigit()
        with_fact = [len(context & place_terms) for place_facts, place_terms in places if fact in place_facts]
        with_rival = [
            len(context & place_terms)
            for place_facts, place_terms in places
            if fact not in place_facts
            and any(other[0].isdigit() == numeric and other not in sentence_facts for other in place_facts)
        ]
        if with_fact and with_rival and max(with_rival) > max(with_fact) + (0 if numeric else 1):
            return fact
    return None
