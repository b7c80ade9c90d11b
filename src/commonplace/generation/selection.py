"""The choice of an answer's sentences: how likely each candidate answers the question, by a learned table.

A candidate is described by its similarity to the question, the question's words in it and around it, and whether it
contains the kind of answer that is asked for. The weights are those of a logistic regression (benchmarks/selection.py).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from commonplace.generation.answer_kinds import answer_kind, contains, defines, is_yes_no, subject_defined
from commonplace.generation.intent import content_words
from commonplace.generation.relevance import hit_terms
from commonplace.generation.sentences import Sentence
from commonplace.text import names, path_words, terms
from commonplace.text.dates import without_dates
from commonplace.types import Hit

__all__ = ["FEATURES", "Candidate", "features", "probabilities", "wanted_words"]

Floats = NDArray[np.float64]
ALL_WORDS = 0.99  # share of the question's words, by rarity, that counts as all of them

FEATURES = (
    "bias",
    "similarity",
    "words in it",
    "words around it",
    "rarest word missing around it",
    "names missing around it",
    "names missing in its passage",
    "has the kind of answer",
    "lacks the kind of answer",
    "confidence of the passage, log-odds",
    "is a row",
    "row with the words",
    "defines the subject",
    "asked for a definition, defines nothing",
    "words below the best",
    "is a form of letters",
    "has all words",
    "words in it below the best",
    "confidence of the passage",
    "reading",
)
"""What describes a candidate, in the order of the columns of ``features``. *Reading* is the logit of the reader
(``reading``); 0 of a candidate that it did not read."""


# fmt: off
WEIGHTS = np.array([
    -5.64, 1.78, 2.38, 1.12, 0.86, -1.08, -1.21, 0.55, -0.72, 0.18,
    -0.28, 0.83, 0.94, -0.60, -1.60, -0.96, -0.28, -3.50, 2.06, 0.00,
])
"""The weight of each feature, where candidates have a similarity."""
WEIGHTS_READ = np.array([
    -3.04, 0.81, 1.49, -0.42, 0.20, -0.58, -0.54, 0.24, -1.20, -0.21,
    -0.66, 0.59, 0.83, -0.28, -2.43, -0.95, 0.16, -2.90, 2.33, 0.44,
])
"""The same for candidates that the reader has read as well."""
WEIGHTS_WORDS = np.array([
    -2.59, 0.00, 4.36, -0.42, 1.14, -1.04, -0.29, -0.26, -2.30, 0.69,
    -0.65, 0.36, 0.49, -0.46, -4.36, -0.70, 1.36, 0.00, 0.00, 0.00,
])
"""The same without similarity: only the order of the candidates counts. The last three features only cost here."""
# fmt: on


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence with the text around it: its headings, the sentences beside it, the names of its columns.

    ``lead`` is the sentence before one that begins with *it* or *they*: its words count as words of the sentence,
    unless the sentence lacks the kind of answer that is asked for.
    """

    sentence: Sentence
    around: str
    lead: str = ""


def features(question: str, candidates: Sequence[Candidate], hits: Sequence[Hit], similarity: Floats | None) -> Floats:
    """Return what describes each candidate, (n, len(FEATURES)). ``similarity`` (n,) is calibrated, in [0, 1]."""
    wanted = wanted_words(question)
    named = names(question) & wanted
    kind = answer_kind(question) if not is_yes_no(question) else None
    has_kind = [kind is not None and contains(kind, candidate.sentence.text) for candidate in candidates]
    in_sentence = [
        terms(candidate.lead * (kind is None or fits) + candidate.sentence.text)
        for candidate, fits in zip(candidates, has_kind, strict=True)
    ]
    around = [terms(candidate.around) | words for candidate, words in zip(candidates, in_sentence, strict=True)]
    passages = {
        n: hit_terms(hits[n]) | terms(path_words(PurePath(hits[n].item.document.path).name))
        for n in {candidate.sentence.hit for candidate in candidates}
    }
    passage = [passages[candidate.sentence.hit] | words for candidate, words in zip(candidates, around, strict=True)]
    weight = _rarities(wanted, candidates, around)
    total = math.fsum(weight.values()) or 1.0
    heaviest = max(weight.values(), default=1.0)

    def share(words: frozenset[str]) -> float:
        return math.fsum(weight[word] for word in _shared(wanted, words)) / total

    defined = subject_defined(question) is not None
    within = [share(words) for words in in_sentence]
    coverage = [share(words) for words in around]
    most_within, most = max(within, default=0.0), max(coverage, default=0.0)
    rows = []
    for i, candidate in enumerate(candidates):
        sentence = candidate.sentence
        hit = hits[sentence.hit]
        missing = [weight[word] for word in wanted - _shared(wanted, around[i])]
        near = 0.0 if similarity is None else float(similarity[i])
        confidence = min(max(hit.confidence, 1e-4), 1 - 1e-4)
        says_definition = defines(question, sentence.text)
        is_row = sentence.row is not None
        rows.append(
            (
                1.0,
                near,
                within[i],
                coverage[i],
                max(missing, default=0.0) / heaviest,
                len(named - _shared(named, around[i])) / len(named) if named else 0.0,
                len(named - _shared(named, passage[i])) / len(named) if named else 0.0,
                float(has_kind[i]),
                float(kind is not None and not has_kind[i]),
                math.log(confidence / (1 - confidence)) / 5,
                float(is_row),
                float(is_row) * coverage[i],
                float(says_definition),
                float(defined and not says_definition),
                most - coverage[i],
                float(_is_letter_form(sentence.text)),
                float(within[i] >= ALL_WORDS),
                most_within - within[i],
                confidence,
                0.0,
            )
        )
    return np.array(rows, np.float64).reshape(len(candidates), len(FEATURES))


def wanted_words(question: str) -> frozenset[str]:
    """Return the terms of a question that its answer is about: without words that only ask, and without dates.

    Dates are compared as dates: 4 March 2026 and 2026-03-04 have no word in common.
    """
    question = _FILLERS.sub(" ", question)
    words = content_words(question)
    words = (content_words(rest) if (rest := without_dates(question)).strip(" ?？") else words) - _ASKING or words
    return frozenset(word for word in words if not _JOINT.fullmatch(word)) or words


def _rarities(
    wanted: frozenset[str], candidates: Sequence[Candidate], around: Sequence[frozenset[str]]
) -> dict[str, float]:
    """Return the rarity of each wanted word among the candidates, in nats.

    The name of a column counts once for its table: *Born* above a hundred rows is as rare as in one sentence.
    """
    frequency: Counter[str] = Counter()
    tables: set[tuple[int, int]] = set()
    for candidate, words in zip(candidates, around, strict=True):
        row = candidate.sentence.row
        present = words & wanted
        if row is not None:
            table = candidate.sentence.hit, row.table
            if table in tables:
                present = present & terms(" ".join(row.cells))
            tables.add(table)
        frequency.update(present)
    counted = {word for word in wanted if frequency[word] or word not in _GENERIC}
    return {
        word: math.log(1 + len(candidates) / (frequency[word] + 0.5)) if word in counted or not counted else 0.0
        for word in wanted
    }


_JOINT = re.compile(r"[a-z0-9]*[a-z0-9][\u4e00-\u9fff](?<![年月日号號点點时時])")
"""A code with the first character of what follows it, as the tokenizer makes them: bg80含."""
_FILLERS = re.compile(
    r"\b(?:so far(?: this (?:year|month|week))?|at the moment|right now|these days|altogether|in total|exactly"
    r"|actually"
    r"|roughly|approximately|at all|by the way|somebody|someone|anybody|anyone|insgesamt|eigentlich|genau|ungefähr"
    r"|derzeit|zurzeit|momentan|bisher|jetzt"
    r"|jemand\w*|(?:the )?(?:current|latest|newest)|currently|now|aktuell\w*|neueste[rns]?)\b"
    r"|到底|究竟|大概|一共|总共|目前|现在|当前|最新的?",
    re.IGNORECASE,
)
"""Words that a question can do without, and which its answer seldom repeats."""
_ASKING = terms(
    "die der das den dem ein eine einen einem ist sind war hat haben wird werden wann wer wen wem was wo wie viel "
    "viele welche welcher welches bis seit für mit von vom zum zur bei auf aus nach im in und oder nicht "
    "unser unsere wir ich lautet lauten heißt gibt man kann darf muss soll "
    "many much long often please tell explain describe "
    "list show give does mean get got all every name step steps"
)
"""Words of a question that name nothing: an answer need not contain them."""
_GENERIC = terms(
    "name number amount date day month year time place kind type sort colour color price cost fee address total "
    "size status state title phone telephone mobile extension email nummer telefon datum preis farbe adresse"
)
"""Words of a question that only say what kind of answer it wants: they count only where a candidate has them."""


def _shared(wanted: frozenset[str], present: frozenset[str]) -> frozenset[str]:
    """Return the wanted words that are present; a single Chinese character is present in any pair with it."""
    single = {word for word in wanted - present if len(word) == 1 and word >= "\u2e80"}
    return wanted & present | {word for word in single if any(word in other for other in present)}


_FORM = re.compile(
    r"(?:(?:from|to|cc|subject|date|sent|von|an|betreff|datum|kunde|for|发件人|收件人|主题)\s?[:：]|dear\b|hello\b|hi\b"
    r"|(?:sehr )?geehrte|liebe[rs]?\b|mit freundlichen|kind regards|best regards|yours|regards|thanks"
    r"|thank you|您好|此致)",
    re.IGNORECASE,
)


def _is_letter_form(text: str) -> bool:
    """Return whether a sentence is an address line, a greeting or the head of a letter: those answer nothing."""
    return _FORM.match(text) is not None or text.lstrip().startswith(">")


def probabilities(described: Floats, weights: Floats) -> Floats:
    """Return the probability (n,) that each candidate answers, for its features (n, d) and ``weights`` (d,)."""
    return np.asarray(1 / (1 + np.exp(-np.clip(described @ weights, -30, 30))), np.float64)
