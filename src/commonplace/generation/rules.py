"""What is known without learning about which sentences answer: codes, days, years, relations, definitions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from commonplace.generation.answer_kinds import answer_kind, is_yes_no, says_relation, subject_defined
from commonplace.generation.intent import attribute, is_chinese, without
from commonplace.generation.selection import FEATURES, Candidate
from commonplace.text import quotations, terms
from commonplace.text.dates import Day, agree, dates, months, without_dates
from commonplace.text.stop_words import STOP_WORDS
from commonplace.types import Hit

__all__ = ["after_rules", "codes"]

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
LEAST_SUBJECT_ZH = 0.3  # the same in Chinese, where pairs across the edges of words count as words
MIN_SIMILARITY_ATTRIBUTE = 0.85  # if the passage lacks what is asked of a thing: the GDP, in "the GDP of Fresno"
LETTER_FORM = 0.5  # factor for the head and the greeting of a letter
OF_THE_SAME = 5.0  # factor of the odds in a passage with the code, or in a document of the day, that is asked for
_CODE = re.compile(r"(?<![A-Za-z0-9])(?:0x[0-9A-Fa-f]+|[A-Za-z]+[-_/.]?\d[\w./-]*|[A-Za-z]+_\w+)", re.ASCII)
"""A Chinese character ends a code: BG80 in BG80多少钱."""
_NUMBER_CODE = re.compile(r"(?<![\w.,:/-])(?:\d+(?:[./:-]\d+){2,}|\d{3,}-\d{3,}|\d{6,})(?!\w|[.,:/-]\d)")
"""An address or a number with parts, such as 10.30.1.2, 4711-0815 and 20240118. Dates are none."""
_SECTION = re.compile(
    r"(?:\b(?:clause|section|paragraph|article|chapter|rule|step|item|point|no\.?|abschnitt|artikel|ziffer)\b|§|第)"
    r"\s*(\d+(?:\.\d+)+)(?![\d.]*\d)",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"(?P<thing>[^\W\d_]{3,})[ :_-]{1,2}(?P<first>\d{1,3})(?:\s?(?:to|and|bis|und|[-–])\s?(?P<last>\d{1,3}))?"
    r"(?![\w.,:/-]?\d|[\w%°€£$]|-[^\W\d_]"
    r"| (?i:%|(?:percent|people|[mbtr]+illion(?:en)?|thousand|hundred|k?m|[km]?g"
    r"|(?:second|minute|hour|day|week|month|year|degree|person|time|point|met(?:er|re)|kilomet(?:er|re)|mile|pound"
    r"|dollar|euro|jahr|tag|stunde)[esn]{0,2})\b))"
)
_DECIDE = re.compile(
    r"\b(?:decided?|decisions?|agreed?|resolved?|beschlossen|vereinbart)\b|决定|決定|同意", re.IGNORECASE
)
_DECIDED = re.compile(
    r"\b(?:decided|decision|agreed|resolved|chose|carried|approved|beschlossen|vereinbart|entschieden)\b"
    r"|决定|決定|同意|通过",
    re.IGNORECASE,
)
_FULL_NAME = re.compile(r"(?<![.!?:] )(?<!^)\b([A-Z][a-zà-ÿ'’-]+) ([A-Z][a-zà-ÿ-]{2,})(?:['’]s)?\b")
"""A first and a last name inside a question. German writes all nouns so, but the words before them vary there."""
_TITLES = frozenset("Mr Mrs Ms Miss Dr Prof Sir Dame Lady Lord Captain Aunt Uncle The And Herr Frau Of".split())  # noqa: SIM905
_WHICH = re.compile(r"^\W*(?:and |und )?(?:which|what|who|welche[rsnm]?|wer)\b|哪|[谁誰]", re.IGNORECASE)
_NO = frozenset("no none nein keine false 否 无 没有 不".split())  # noqa: SIM905
SHORT_DOCUMENT = 6  # items of a document that is about one thing
RANGE = 30  # things of a range with numbers
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
    likely = _by_section(question, candidates, likely)
    likely = np.where(foreign, likely, _by_numbered(question, candidates, likely, written))
    likely = np.where([says_relation(question, context) for context in contexts], likely, 0)
    likely = np.where(foreign, likely, _by_person(question, candidates, likely, written))
    likely = np.where(_says_no(question, candidates), 0, likely)
    names = {n: _name_and_date(hits[n]) for n in written}
    rest = without_dates(question)
    likely = _by_period(_years(rest), _years, candidates, likely, contexts, written, names)
    likely = np.where(foreign, likely, _by_period(months(rest), months, candidates, likely, contexts, written, names))
    likely = _by_day(question, candidates, likely, written)
    if answer_kind(question) == "code":  # the number of another thing is worse than none
        least = LEAST_SUBJECT_ZH if is_chinese(question) else LEAST_SUBJECT
        of_subject = _feature(matrix, "words around it") >= least
        likely = np.where(foreign | (of_subject & (_feature(matrix, "lacks the kind of answer") == 0)), likely, 0)
    if (wanted := attribute(question)) and not foreign.all():
        contains = {n: bool(wanted & terms(text)) for n, text in written.items()}
        named = np.array([contains[candidate.sentence.hit] for candidate in candidates])
        likely = np.where(named | foreign | (_feature(matrix, "similarity") >= MIN_SIMILARITY_ATTRIBUTE), likely, 0)
    likely = np.where(_feature(matrix, "is a form of letters") > 0, LETTER_FORM * likely, likely)
    defining = _feature(matrix, "defines the subject") > 0
    if defining.any():
        return np.where(defining, np.maximum(likely, DEFINITION), 0)
    if phrases := quotations(question):
        has_phrase = [
            all(phrase.casefold() in candidate.sentence.text.casefold() for phrase in phrases)
            for candidate in candidates
        ]
        likely = np.where(has_phrase, np.maximum(likely, LOOKED_UP), likely)
    if _DECIDE.search(question):
        decides = [_DECIDED.search(candidate.sentence.text) is not None for candidate in candidates]
        likely = np.where(decides, _likelier(likely), likely)
    if not _asks(question):
        return np.where(_feature(matrix, "has all words") > 0, np.maximum(likely, LOOKED_UP), likely)
    question_terms = terms(question)  # a sentence with nothing else is no answer
    return np.where([terms(candidate.sentence.text) <= question_terms for candidate in candidates], 0, likely)


def _feature(matrix: Floats, name: str) -> Floats:
    return np.asarray(matrix[:, FEATURES.index(name)], np.float64)


def _by_code(
    question: str, candidates: Sequence[Candidate], likely: Floats, hits: Sequence[Hit], written: dict[int, str]
) -> Floats:
    """Nothing is similar to a code such as 0x80370102 or M6: a passage contains it or does not."""
    wanted = codes(question)
    if not wanted:
        return likely
    is_row = [
        candidate.sentence.row is not None and wanted <= codes(candidate.sentence.text) for candidate in candidates
    ]
    likely = np.where(is_row, np.maximum(likely, LOOKED_UP), likely)
    in_heading = [codes(hits[candidate.sentence.hit].item.title or "") for candidate in candidates]
    headed = [wanted <= of_heading for of_heading in in_heading]
    likely = np.where(headed, np.maximum(likely, HEADED), likely)
    contains = {n: bool(wanted & codes(text)) for n, text in written.items()}
    of_document = {hits[n].item.document.id for n, has_code in contains.items() if has_code}
    contains = {n: has_code or _is_of_short_document(hits[n], of_document) for n, has_code in contains.items()}
    likely = np.where([contains[candidate.sentence.hit] for candidate in candidates], _likelier(likely), 0)
    codes_in = [
        codes(candidate.sentence.text) | of_heading
        for candidate, of_heading in zip(candidates, in_heading, strict=True)
    ]
    of_code = np.array([bool(wanted & in_sentence) for in_sentence in codes_in])
    forms = set(map(_form, wanted))
    of_other = np.array([any(_form(code) in forms for code in in_sentence) for in_sentence in codes_in]) & ~of_code
    likely = np.where(of_other & of_code.any(), 0, likely)
    return _only_rows_with(np.array(is_row), candidates, likely)


def _is_of_short_document(hit: Hit, documents: set[str]) -> bool:
    """Return whether a hit is of one of the documents, and that is about one thing, such as a receipt with a number."""
    return hit.item.document.id in documents and hit.item.document.items <= SHORT_DOCUMENT


def _by_section(question: str, candidates: Sequence[Candidate], likely: Floats) -> Floats:
    """What clause 2.1 says is what begins with its number, if anything does."""
    wanted = set(_SECTION.findall(question))
    begins = np.array(
        [candidate.sentence.text.split(maxsplit=1)[0].rstrip(".)") in wanted for candidate in candidates], bool
    )
    return np.where(begins, np.maximum(likely, LOOKED_UP), 0) if begins.any() else likely


def _by_person(question: str, candidates: Sequence[Candidate], likely: Floats, written: dict[int, str]) -> Floats:
    """What is said of Anil Rao is not said of Sunita Rao: a passage with another first name answers nothing."""
    for first, last in _FULL_NAME.findall(question):
        if first in _TITLES:
            continue
        others = re.compile(rf"\b([A-ZÄÖÜ][\w'’-]+) {re.escape(last)}\b")
        of_other = {
            n: first not in text and any(other not in _TITLES for other in others.findall(text))
            for n, text in written.items()
        }
        likely = np.where([of_other[candidate.sentence.hit] for candidate in candidates], 0, likely)
        of_other_row = [
            candidate.sentence.row is not None
            and first not in candidate.sentence.text
            and any(other not in _TITLES for other in others.findall(candidate.sentence.text))
            for candidate in candidates
        ]
        likely = np.where(of_other_row, 0, likely)
    return likely


def _says_no(question: str, candidates: Sequence[Candidate]) -> Mask:
    """Return which candidates (n,) are rows with *no* in the column that *which boots are waterproof* names."""
    wanted = terms(question)
    if _WHICH.match(question) is None or without(question):
        return np.zeros(len(candidates), bool)
    return np.array(
        [
            candidate.sentence.row is not None
            and any(
                cell.strip().casefold() in _NO and terms(column) <= wanted
                for column, cell in zip(candidate.sentence.row.columns, candidate.sentence.row.cells, strict=False)
                if terms(column)
            )
            for candidate in candidates
        ],
        bool,
    )


def _by_numbered(question: str, candidates: Sequence[Candidate], likely: Floats, written: dict[int, str]) -> Floats:
    """What has a number, such as *class 6*, is not another with another number: a passage names it or answers nothing.

    Of a table, only the rows that name it count.
    """
    wanted = _numbered(without_dates(question))
    if not wanted:
        return likely
    in_passage = {n: bool(wanted & _numbered(text)) for n, text in written.items()}
    likely = np.where([in_passage[candidate.sentence.hit] for candidate in candidates], likely, 0)
    is_row = [
        candidate.sentence.row is not None and bool(wanted & _numbered(candidate.sentence.text))
        for candidate in candidates
    ]
    return _only_rows_with(np.array(is_row), candidates, likely)


def _numbered(text: str) -> frozenset[str]:
    """Return the things with a number in a text, such as *class 4*, each one of a range: *classes 3 to 5*."""
    things = set()
    for match in _NUMBERED.finditer(text):
        stems = terms(match["thing"])
        first, last = int(match["first"]), int(match["last"] or match["first"])
        if match["thing"].lower() not in STOP_WORDS and len(stems) == 1:
            things |= {f"{next(iter(stems))} {n}" for n in range(first, min(last, first + RANGE) + 1)}
    return frozenset(things)


def _only_rows_with(is_row: Mask, candidates: Sequence[Candidate], likely: Floats) -> Floats:
    """Return the probabilities without the other rows of a table, if it ``is_row`` that names what is asked for."""
    other = np.array([candidate.sentence.row is not None for candidate in candidates]) & ~is_row
    return np.where(other & is_row.any(), 0, likely)


def _likelier(likely: Floats) -> Floats:
    """Return the probabilities in a passage that has the code or the day that is asked for."""
    odds = OF_THE_SAME * likely / np.maximum(1 - likely, 1e-9)
    return np.asarray(odds / (1 + odds), np.float64)


def codes(text: str) -> frozenset[str]:
    """Return the codes of a text, such as DO-055, 0x80370102 and max_peers, in small letters, without their signs."""
    numbers = {re.sub(r"\D", " ", number) for number in _NUMBER_CODE.findall(without_dates(text))}
    return frozenset(re.sub(r"[\W_]", "", code).lower() for code in _CODE.findall(text)) | numbers


def _form(code: str) -> str:
    """Return the form of a code: 9 for each number, a for other signs in a row; *m4* has the form a9.

    Numbers in base 16, such as 0x8000ffff, have one form.
    """
    if re.fullmatch(r"0x[0-9a-f]+", code):
        return "0x"
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", code))


def _by_period(
    wanted: frozenset[int],
    read: Callable[[str], frozenset[int]],
    candidates: Sequence[Candidate],
    likely: Floats,
    contexts: Sequence[str],
    written: dict[int, str],
    names: dict[int, str],
) -> Floats:
    """A year or a month without a day must stand in the sentence, beside it or in its file's name, else in the passage.

    ``read`` returns the years or the months of a text.
    """
    if not wanted:
        return likely
    named = {n: bool(wanted & read(name)) for n, name in names.items()}
    of_period = np.array(
        [
            named[candidate.sentence.hit] or bool(wanted & read(context))
            for candidate, context in zip(candidates, contexts, strict=True)
        ]
    )
    if not of_period.any():
        in_passage = {n: bool(wanted & read(text)) for n, text in written.items()}
        of_period = np.array([in_passage[candidate.sentence.hit] for candidate in candidates])
    says_it = [
        named[candidate.sentence.hit] or bool(wanted & read(candidate.sentence.text)) for candidate in candidates
    ]
    return np.where(of_period, np.where(says_it, _likelier(likely), likely), 0)


def _years(text: str) -> frozenset[int]:
    return frozenset(map(int, _YEAR.findall(text)))


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
    return f"{hit.item.text_view}\n{PurePath(hit.item.document.path).parent.name}/{_name_and_date(hit)}"


def _name_and_date(hit: Hit) -> str:
    return f"{PurePath(hit.item.document.path).name}\n{hit.item.document.metadata.dict().get('date', '')}"


def _asks(question: str) -> bool:
    """Return whether a query is a question, and not only the words to look for."""
    asks = answer_kind(question) is not None or subject_defined(question) is not None
    return asks or is_yes_no(question) or "?" in question or "？" in question
