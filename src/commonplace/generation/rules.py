"""What is known without learning about which sentences answer: codes, days, years, relations, definitions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from commonplace.generation.answer_kinds import answer_kind, is_yes_no, says_relation, subject_defined
from commonplace.generation.intent import attribute
from commonplace.generation.selection import FEATURES, Candidate
from commonplace.text import terms
from commonplace.text.dates import Day, agree, dates, without_dates
from commonplace.types import Hit

__all__ = ["after_rules"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

LOOKED_UP = 0.5
"""The least probability of a sentence with all words of a query that is no question (a name, a phrase), and of a row
with the code that is asked for."""
HEADED = (
    0.05  # the least probability of a sentence under a heading with the code that is asked for, before its odds rise
)
DEFINITION = 0.5  # the least probability of a sentence that defines what is to be defined
LEAST_SUBJECT = 0.6  # share of the question's words around a number or a code that is asked for
MIN_SIMILARITY_ATTRIBUTE = 0.85  # if the passage lacks what is asked of a thing: the GDP, in "the GDP of Fresno"
LETTER_FORM = 0.5  # factor for the head and the greeting of a letter
OF_THE_SAME = 5.0  # factor of the odds in a passage with the code, or in a document of the day, that is asked for
_CODE = re.compile(r"(?<![A-Za-z0-9])(?:0x[0-9A-Fa-f]+|[A-Za-z]+[-_/.]?\d[\w./-]*|[A-Za-z]+_\w+)")
_YEAR = re.compile(r"(?<![\d-])(?:19|20)\d\d(?!\d)")


def after_rules(
    question: str, candidates: Sequence[Candidate], matrix: Floats, likely: Floats, hits: Sequence[Hit], foreign: Mask
) -> Floats:
    """Return the probabilities (n,) of the candidates, ``likely`` before, with the features ``matrix`` (n, d).

    A code, a day, a year or a relation (*born*) of the question must stand there, whatever the similarity is. If a
    sentence defines what is to be defined, no other one answers. A query that is no question asks for what contains
    it. ``foreign`` (n,): which candidates are in another language.
    """
    written = {n: _written(hits[n]) for n in {candidate.sentence.hit for candidate in candidates}}
    contexts = [f"{candidate.around}\n{candidate.sentence.text}" for candidate in candidates]
    likely = _by_code(question, candidates, likely, hits, written)
    likely = np.where([says_relation(question, context) for context in contexts], likely, 0)
    likely = _by_year(question, candidates, likely, contexts, written)
    likely = _by_day(question, candidates, likely, written)
    if answer_kind(question) == "code":  # the number of another thing is worse than none
        likely = np.where(foreign | (_feature(matrix, "words around it") >= LEAST_SUBJECT), likely, 0)
    if (wanted := attribute(question)) and not (foreign.all() or matrix[:, FEATURES.index("similarity")].max() == 0):
        contains = {n: bool(wanted & terms(text)) for n, text in written.items()}
        named = np.array([contains[candidate.sentence.hit] for candidate in candidates])
        likely = np.where(named | foreign | (_feature(matrix, "similarity") >= MIN_SIMILARITY_ATTRIBUTE), likely, 0)
    likely = np.where(_feature(matrix, "is a form of letters") > 0, LETTER_FORM * likely, likely)
    defining = _feature(matrix, "defines the subject") > 0
    if defining.any():
        return np.where(defining, np.maximum(likely, DEFINITION), 0)
    if not _asks(question):
        return np.where(_feature(matrix, "has all words") > 0, np.maximum(likely, LOOKED_UP), likely)
    return likely


def _feature(matrix: Floats, name: str) -> Floats:
    return np.asarray(matrix[:, FEATURES.index(name)], np.float64)


def _by_code(
    question: str, candidates: Sequence[Candidate], likely: Floats, hits: Sequence[Hit], written: dict[int, str]
) -> Floats:
    """Nothing is similar to a code such as 0x80370102 or M6: a passage contains it or does not."""
    wanted = _codes(question)
    if not wanted:
        return likely
    is_row = [
        candidate.sentence.row is not None and wanted <= _codes(candidate.sentence.text) for candidate in candidates
    ]
    likely = np.where(is_row, np.maximum(likely, LOOKED_UP), likely)
    headed = [wanted <= _codes(hits[candidate.sentence.hit].item.title or "") for candidate in candidates]
    likely = np.where(headed, np.maximum(likely, HEADED), likely)
    contains = {n: bool(wanted & _codes(text)) for n, text in written.items()}
    return np.where([contains[candidate.sentence.hit] for candidate in candidates], _likelier(likely), 0)


def _likelier(likely: Floats) -> Floats:
    """Return the probabilities in a passage that has the code or the day that is asked for."""
    odds = OF_THE_SAME * likely / np.maximum(1 - likely, 1e-9)
    return np.asarray(odds / (1 + odds), np.float64)


def _codes(text: str) -> frozenset[str]:
    """Return the codes of a text, such as DO-055, 0x80370102 and max_peers, in small letters, without their signs."""
    return frozenset(re.sub(r"[\W_]", "", code).lower() for code in _CODE.findall(text))


def _by_year(
    question: str, candidates: Sequence[Candidate], likely: Floats, contexts: Sequence[str], written: dict[int, str]
) -> Floats:
    """A year without a day must stand in the sentence or beside it, else in the passage or the name of its file."""
    wanted = set(_YEAR.findall(without_dates(question)))
    if not wanted:
        return likely
    of_year = np.array([bool(wanted & set(_YEAR.findall(context))) for context in contexts])
    if not of_year.any():
        in_passage = {n: bool(wanted & set(_YEAR.findall(text))) for n, text in written.items()}
        of_year = np.array([in_passage[candidate.sentence.hit] for candidate in candidates])
    return np.where(of_year, likely, 0)


def _by_day(question: str, candidates: Sequence[Candidate], likely: Floats, written: dict[int, str]) -> Floats:
    """A passage of another day tells another fact. Of a table, only the rows of the day count."""
    wanted = dates(question)
    if not wanted:
        return likely
    passage_of_day = {n: _name_one(wanted, text) for n, text in written.items()}
    of_day = np.array([passage_of_day[candidate.sentence.hit] for candidate in candidates])
    names_day = np.array([_name_one(wanted, candidate.sentence.text) for candidate in candidates])
    is_row = np.array([candidate.sentence.row is not None for candidate in candidates])
    likely = np.where(of_day & (names_day | ~(is_row & (names_day & is_row).any())), likely, 0)
    return np.where(of_day, _likelier(likely), likely)


def _name_one(wanted: frozenset[Day], text: str) -> bool:
    return any(agree(day, named) for day in wanted for named in dates(text))


def _written(hit: Hit) -> str:
    """Return a passage with its headings, and with the name and the date of its document."""
    path, date = PurePath(hit.item.document.path), hit.item.document.metadata.dict().get("date", "")
    return f"{hit.item.text_view}\n{path.parent.name}/{path.name}\n{date}"


def _asks(question: str) -> bool:
    """Return whether a query is a question, and not only the words to look for."""
    asks = answer_kind(question) is not None or subject_defined(question) is not None
    return asks or is_yes_no(question) or "?" in question or "？" in question
