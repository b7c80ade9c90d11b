"""Relevance to a question: of pictures by their scores, and of texts by the words that they share with it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from commonplace.generation.intent import content_words
from commonplace.retrieval import Calibration
from commonplace.text import language_of, script_of, terms
from commonplace.types import Hit

__all__ = ["has_enough_words", "hit_terms", "rarity_shares", "relevant_images", "same_language", "term_share"]

PICTURES = 3  # pictures of an answer
MIN_SIMILARITY = 0.5  # similarity to the question below which nothing counts as an answer
MIN_SIMILARITY_SHOW = 0.3  # the same for a picture, if the question asks for pictures
MIN_CONFIDENCE_SHOW = 0.5  # confidence that is enough for it, too: cosines say little among a handful of pictures
MIN_SIMILARITY_IMAGES_ONLY = 0.4  # the same if only pictures were found: "a dog" in a folder of photographs
NEIGHBOUR_WEIGHT = 0.5  # weight of a word in the sentence before or after, without vectors
TERM_SHARE_WEIGHT, MIN_LEXICAL_EVIDENCE = 12.0, 1.75
"""Without vectors, a passage answers if its log-odds, plus the weighted share of the question's content words in it,
reach the minimum (benchmarks/words.py). The log-odds reflect how rare the words are. In a collection of a few files
they are meaningless, so the share decides there."""


def relevant_images(
    calibration: Calibration, question: str, hits: Sequence[Hit], *, show: bool = False
) -> tuple[int, ...]:
    """Return the numbers of the hits whose pictures are relevant to the question by their own score, best first.

    The threshold is lower if the question asks to ``show`` something, or if only pictures were found.
    """
    images_only = all(hit.item.modality == "image" for hit in hits)
    threshold = MIN_SIMILARITY_SHOW if show else MIN_SIMILARITY_IMAGES_ONLY if images_only else MIN_SIMILARITY
    question_words = content_words(question)
    hit_of_picture: dict[str | None, int] = {}
    for n, hit in enumerate(hits):
        if hit.image is None or hit.item.picture in hit_of_picture:
            continue
        components = (line for line in hit.breakdown if line.channel.startswith(("text->", "image->", "both->")))
        cosines = {line.channel: np.array([line.score], np.float32) for line in components}
        similar = any(calibration.nearness(channel, cosine)[0] >= threshold for channel, cosine in cosines.items())
        # Without a cosine, the caption is in a script that the tower cannot read.
        shown = show and bool(cosines) and hit.confidence >= MIN_CONFIDENCE_SHOW
        if similar or shown or (not cosines and has_enough_words(question_words, hit)):
            hit_of_picture[hit.item.picture] = n
    return tuple(hit_of_picture.values())[:PICTURES]


@lru_cache(maxsize=4096)
def same_language(text: str, other: str) -> bool:
    """Return whether two texts may have words in common: not if their scripts or their languages differ."""
    scripts = script_of(text), script_of(other)
    if None in scripts:
        return True
    languages = language_of(text), language_of(other)
    return scripts[0] == scripts[1] and (None in languages or languages[0] == languages[1])


def hit_terms(hit: Hit) -> frozenset[str]:
    return terms(hit.item.text_view or "")


def term_share(wanted: frozenset[str], present: frozenset[str]) -> float:
    """Return the share of the wanted words that are present; a single Chinese character matches any pair with it."""
    single = [word for word in wanted - present if len(word) == 1 and word >= "\u2e80"]
    count = len(wanted & present) + sum(any(word in other for other in present) for word in single)
    return count / len(wanted) if wanted else 0.0


def has_enough_words(question_words: frozenset[str], hit: Hit) -> bool:
    """Return whether an item that was found without vectors answers, by the question's content words in it."""
    confidence = min(max(hit.confidence, 1e-9), 1 - 1e-9)
    log_odds = math.log(confidence / (1 - confidence))
    return log_odds + TERM_SHARE_WEIGHT * term_share(question_words, hit_terms(hit)) >= MIN_LEXICAL_EVIDENCE


def rarity_shares(
    question_terms: frozenset[str], sentence_terms: Sequence[frozenset[str]], sentence_hits: Sequence[int]
) -> NDArray[np.float64]:
    """Return the share (n,) of the question's terms in each sentence; terms in few sentences weigh more.

    Terms in a neighbouring sentence of the passage count half: an answer often stands next to its subject.
    """
    frequency = Counter(term for own_terms in sentence_terms for term in own_terms & question_terms)
    weight = {term: math.log(1 + len(sentence_terms) / (frequency[term] + 0.5)) for term in question_terms}
    total = math.fsum(weight.values()) or 1.0
    shares = []
    for i, own_terms in enumerate(sentence_terms):
        neighbours = [
            sentence_terms[n]
            for n in (i - 1, i + 1)
            if 0 <= n < len(sentence_terms) and sentence_hits[n] == sentence_hits[i]
        ]
        nearby = frozenset().union(*neighbours) - own_terms
        shares.append(
            math.fsum(weight[term] for term in own_terms & question_terms)
            + NEIGHBOUR_WEIGHT * math.fsum(weight[term] for term in nearby & question_terms)
        )
    return np.array(shares) / total
