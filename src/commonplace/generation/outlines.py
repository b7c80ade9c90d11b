"""Answers that are more than a sentence: the steps of a procedure, a list, rows of a table, documents, a summary."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from commonplace.generation.answer_kinds import answer_kind, asks_in_words
from commonplace.generation.intent import (
    wants_documents,
    wants_list,
    wants_listing,
    wants_steps,
    wants_summary,
    without,
)
from commonplace.generation.parts import Statement
from commonplace.generation.rules import codes
from commonplace.generation.sections import Entry, Section, SectionFit, fits, sections
from commonplace.generation.selection import ALL_WORDS, wanted_words
from commonplace.generation.sentences import listing
from commonplace.generation.tables import Row
from commonplace.text import REQUESTS, path_words, quotations, terms
from commonplace.text.dates import agree, dates
from commonplace.types import Hit

__all__ = ["outline", "wants_outline"]

MOST_ENTRIES = 20  # entries of a list; the rest is counted
MOST_SENTENCES = 8  # sentences of a summary, and of a procedure without a list
LEAST_ALL_ROWS = 0.8  # the same share, where no cell tells which rows are meant
NOTHING = {
    "",
    "-",
    "–",
    "—",
    "none",
    "no",
    "n/a",
    "nil",
    "nothing",
    "0",
    "keine",
    "keiner",
    "keins",
    "nein",
    "无",
    "没有",
    "否",
}
_NEGATIONS = terms("no without lack lacks missing ohne kein keine keinen")
TEXT_SHARE = 0.8  # what a word in the text of a document counts, if a summary is asked for; in its name, 1
LEAST_WHOLE = 0.6  # share of the question's words, by rarity, that a section must have
LEAST_HEADING = 0.6  # share in its heading from which a list answers a question that does not ask how
NEARLY = 0.75  # share of the best section's score from which the numbered steps of its document come first
SURE_STEPS = 0.65  # confidence from which numbered steps answer in other words than the question's
LEAST_ROWS = 0.6  # share of the question's words that a table must account for
REQUEST_WORDS = terms(
    " ".join(REQUESTS) + " letter mail email sheet spreadsheet pdf docx pptx xlsx "
    "csv txt md html report note notes tell datei dokument brief steht"
)
"""Words of a question that only ask for a document."""
CONFIDENCE_SHARE, LEAST_WORDS = 0.5, 0.2
"""How much of the confidence counts as words, where a section says the same in others, and the words that it needs."""


def wants_outline(question: str) -> bool:
    """Return whether more passages of a document may belong to the answer than those that match."""
    if wants_documents(question):
        return False
    return wants_steps(question) or wants_list(question) or wants_summary(question) or wants_listing(question)


def outline(question: str, hits: Sequence[Hit]) -> list[Statement] | None:
    """Return the answer to a question that asks for steps, a list or a summary; None if the hits have none."""
    wanted = wanted_words(question)
    if not wanted or quotations(question):
        return None
    all_sections = sections(hits)
    if wants_documents(question):
        return _naming(wanted, all_sections, hits)
    if wants_summary(question):
        return _summary(question, wanted, all_sections, hits)
    ranked = fits(wanted, all_sections, hits)
    if wants_list(question) and not wants_steps(question):
        rows = _rows(question, wanted, all_sections)
        entries = next((fit for fit in ranked if _answers(fit) and _is_asked_for(fit.section, wanted)), None)
        if entries is not None and (rows is None or entries.heading >= LEAST_HEADING):
            return list(_of_entries(entries.section.listed, hits))
        if rows is not None:
            return [Statement(row.text, (n,), row.start, row.end, mark="-") for n, row in rows[:MOST_ENTRIES]]
        return _documents(wanted, hits)
    asked_codes = codes(question)
    if wants_steps(question) and asked_codes:  # what to do at E-17 is not what to do at E-18
        ranked = [fit for fit in ranked if asked_codes <= codes(f"{fit.section.title}\n{fit.section.name}")]
    for fit in _steps_first(ranked, hits) if wants_steps(question) else ranked:
        listed = fit.section.listed
        is_sure = fit.section.ordered and fit.confidence >= SURE_STEPS
        if wants_steps(question) and (_answers(fit) or is_sure):
            if len(listed) > 1 and (fit.section.ordered or not fit.section.has_code):
                return list(_of_entries(listed, hits))
            if prose := _prose(fit.section, wanted):
                return list(_of_entries(prose, hits))
        elif (
            not wants_steps(question)
            and fit.section.ordered
            and len(wanted) > 1
            and fit.heading >= LEAST_HEADING
            and _answers(fit)
        ):
            return list(_of_entries(listed, hits))
    return _under_its_name(question, wanted, ranked, hits)


def _under_its_name(
    question: str, wanted: frozenset[str], ranked: Sequence[SectionFit], hits: Sequence[Hit]
) -> list[Statement] | None:
    """Return the list or the rows under a heading that has all words of *what did the surveyor recommend*."""
    if len(wanted) < 2 or answer_kind(question) is not None or not asks_in_words(question):
        return None
    for fit in ranked:
        if fit.heading < ALL_WORDS:
            return None
        if len(fit.section.listed) > 1:
            return list(_of_entries(fit.section.listed, hits))
        if len(fit.section.rows) > 1:
            rows = fit.section.rows[:MOST_ENTRIES]
            return [Statement(row.text, (n,), row.start, row.end, mark="-") for n, row in rows]
    return None


def _answers(fit: SectionFit) -> bool:
    return fit.all_words + CONFIDENCE_SHARE * fit.confidence >= LEAST_WHOLE and fit.all_words >= LEAST_WORDS


def _is_asked_for(section: Section, wanted: frozenset[str]) -> bool:
    """Return whether a section has a list, and its heading, the line before the list or the list a wanted word."""
    listed = section.listed
    if len(listed) < 2:
        return False
    before = section.text.partition(listed[0].text)[0].splitlines()
    lead = [line for line in before if any(map(str.isalnum, line))][-1:]
    lead = [line for line in lead if line.rstrip().endswith((":", "："))]
    texts = (section.title, path_words(section.name), *lead, *(entry.text for entry in listed))
    return bool(terms("\n".join(texts)) & wanted)


def _steps_first(ranked: Sequence[SectionFit], hits: Sequence[Hit]) -> list[SectionFit]:
    """Return the sections, those of the best document first that say what to do if they fit nearly as well as its best.

    Numbered steps and code say what to do.
    """
    best = next((fit for fit in ranked if _answers(fit)), None)
    if best is None or best.section.ordered or best.section.has_code:
        return list(ranked)

    def document(fit: SectionFit) -> str:
        return hits[fit.section.hits[0]].item.document.id

    steps = [
        fit
        for fit in ranked
        if (fit.section.ordered or fit.section.has_code)
        and _answers(fit)
        and document(fit) == document(best)
        and fit.score >= NEARLY * best.score
    ]
    return [*steps, *(fit for fit in ranked if fit not in steps)]


def _of_entries(entries: Sequence[Entry], hits: Sequence[Hit]) -> Iterator[Statement]:
    """Yield the entries as statements, each with its mark and its code."""
    for entry in entries[:MOST_ENTRIES]:
        code: list[tuple[int, int]] = []
        texts = [sentence for sentence in entry.sentences if sentence.listing != (sentence.start, sentence.end)]
        code += [sentence.listing for sentence in entry.sentences if sentence.listing is not None]
        if texts:
            text = " ".join(sentence.text for sentence in texts)
            yield Statement(text, (entry.hit,), texts[0].start, texts[-1].end, starts_paragraph=True, mark=entry.mark)
        for span in dict.fromkeys(code):
            yield Statement(listing(hits[entry.hit].item.text or "", span), (entry.hit,), *span, code=True)


def _prose(section: Section, wanted: frozenset[str]) -> list[Entry]:
    """Return the paragraphs of a section without steps that belong to a procedure: all if they are few.

    Otherwise those from the one with code, if there is code, that has most of the words.
    """
    entries = [entry for entry in section.entries if entry.text[-1] not in "?？"]
    count = sum(len(entry.sentences) for entry in entries)
    if count <= MOST_SENTENCES:
        return entries
    coded = [i for i, entry in enumerate(entries) if entry.has_code]
    best = max(
        coded or range(len(entries)),
        key=lambda i: len(terms("\n".join(entry.text for entry in entries[max(0, i - 1) : i + 1])) & wanted),
        default=0,
    )
    sentences = entries[best].sentences if coded else ()
    if best and sentences and all(sentence.listing == (sentence.start, sentence.end) for sentence in sentences):
        best -= 1  # code alone, which the paragraph before it explains
    chosen: list[Entry] = []
    for entry in entries[best:]:
        if sum(len(part.sentences) for part in (*chosen, entry)) > MOST_SENTENCES:
            break
        chosen.append(entry)
    return chosen or entries[best : best + 1]


def _rows(question: str, wanted: frozenset[str], all_sections: Sequence[Section]) -> list[tuple[int, Row]] | None:
    """Return the rows of the table that has the question's words: some name the table, others stand in its cells."""
    best: tuple[float, list[tuple[int, Row]]] = (0.0, [])
    lacking = without(question)
    wanted = wanted - _NEGATIONS or wanted
    for section in all_sections:
        if not section.rows:
            continue
        names = terms(" ".join((section.title, path_words(section.name), *section.rows[0][1].columns)))
        in_cells = [terms(" ".join(row.cells)) & wanted for _, row in section.rows]
        values = frozenset().union(*in_cells) - frozenset.intersection(*in_cells)
        values = values - names or values
        share = len((names & wanted) | values) / len(wanted)
        if share < (LEAST_ROWS if values or lacking else LEAST_ALL_ROWS) or share <= best[0]:
            continue
        rows = [pair for pair, words in zip(section.rows, in_cells, strict=True) if values <= words]
        rows = [pair for pair in rows if _lacks(pair[1], lacking or wanted, of_all=not lacking) is bool(lacking)]
        exact = [pair for pair in rows if any(_begins_with(cell, values) for cell in pair[1].cells)]
        if rows:
            best = share, exact or rows
    return best[1] or None


def _lacks(row: Row, names: frozenset[str], *, of_all: bool) -> bool:
    """Return whether a row has nothing in the column with this name: *none*, *no*, a dash, or an empty cell.

    ``of_all``: only a column counts of whose name all words are among ``names``.
    """
    cells = [
        cell
        for column, cell in zip(row.columns, row.cells, strict=False)
        if terms(column) & names and (not of_all or terms(column) <= names)
    ]
    return any(cell.strip().casefold() in NOTHING for cell in cells)


def _begins_with(cell: str, values: frozenset[str]) -> bool:
    """Return whether a cell begins with one of the values: *open, reminded* with *open*, but not *half open*."""
    first = cell.split(maxsplit=1)[:1]
    return bool(first) and bool(terms(first[0]) & values)


def _documents(wanted: frozenset[str], hits: Sequence[Hit]) -> list[Statement] | None:
    """Return the documents in the folder that the question names, or those with all of its words; None if none."""
    by_folder: dict[str, int] = {}
    by_words: dict[str, int] = {}
    for n, hit in enumerate(hits):
        path = PurePath(hit.item.document.path)
        if hit.item.modality == "text":
            if wanted <= terms(path_words(path.parent.name)):
                by_folder.setdefault(str(path), n)
            if wanted <= terms(hit.item.text_view or ""):
                by_words.setdefault(str(path), n)
    chosen = by_folder or (by_words if len(by_words) > 1 else {})
    return [
        Statement(hits[n].item.document.title or PurePath(path).name, (n,), mark="-") for path, n in chosen.items()
    ] or None


def _naming(wanted: frozenset[str], all_sections: Sequence[Section], hits: Sequence[Hit]) -> list[Statement] | None:
    """Return the names of the documents that say what is asked for, best first; None if none does.

    After the best one only those follow that have as many of the words.
    """
    wanted = wanted - REQUEST_WORDS or wanted
    answering = [fit for fit in fits(wanted, all_sections, hits) if fit.all_words + fit.confidence >= LEAST_WHOLE]
    by_document: dict[str, SectionFit] = {}
    for fit in answering:
        by_document.setdefault(hits[fit.section.hits[0]].item.document.id, fit)
    chosen = [fit for fit in by_document.values() if fit.all_words >= answering[0].all_words]
    named = [_with_evidence(fit.section, wanted, hits) for fit in chosen[:MOST_ENTRIES]]
    return [statement for statement in named if statement is not None] or None


def _with_evidence(section: Section, wanted: frozenset[str], hits: Sequence[Hit]) -> Statement | None:
    """Return the name of a section's document, with the sentence or the row that has most of the words."""
    mark = f"- {PurePath(hits[section.hits[0]].item.document.path).name}:"
    quotes = [(entry.hit, sentence) for entry in section.entries for sentence in entry.sentences]
    places = [(n, sentence.start, sentence.end, sentence.text) for n, sentence in quotes]
    places += [(n, row.start, row.end, row.text) for n, row in section.rows]
    if not places:
        return None
    n, start, end, text = max(places, key=lambda place: len(terms(place[3]) & wanted))
    return Statement(text, (n,), start, end, starts_paragraph=True, mark=mark)


def _summary(
    question: str, wanted: frozenset[str], all_sections: Sequence[Section], hits: Sequence[Hit]
) -> list[Statement] | None:
    """Return the first sentences of each section of the document that the question names by title, kind and date.

    What it says counts, too, but less than its name: *the report of the trip to Scilly*.
    """
    days = dates(question)
    wanted = wanted - REQUEST_WORDS or wanted
    documents = list(dict.fromkeys(hits[section.hits[0]].item.document.id for section in all_sections))
    scores = {}
    for document in documents:
        of_document = [section for section in all_sections if hits[section.hits[0]].item.document.id == document]
        names = (
            "\n".join(section.title for section in of_document) + "\n" + hits[of_document[0].hits[0]].item.document.path
        )
        head = of_document[0].text[:300]
        named = terms(f"{path_words(names)}\n{head}")
        text_terms = terms("\n".join(section.text for section in of_document))
        named_days = dates(f"{names}\n{head}")
        if days and not any(agree(day, other) for day in days for other in named_days):
            continue
        in_name = bool(days) and any(agree(day, other) for day in days for other in dates(names))
        scores[document] = (
            in_name
            + max(len(named & wanted), TEXT_SHARE * len((named | text_terms) & wanted)) / len(wanted)
            + 0.1 * max(hits[section.hits[0]].confidence for section in of_document)
        )
    if not scores or max(scores.values()) < LEAST_WHOLE:
        return None
    chosen = max(scores, key=lambda document: scores[document])
    of_document = [section for section in all_sections if hits[section.hits[0]].item.document.id == chosen]
    of_document.sort(
        key=lambda section: (hits[section.hits[0]].item.span.page or 0, hits[section.hits[0]].item.span.start or 0)
    )
    return list(_of_entries(_leading([section.entries for section in of_document]), hits)) or None


def _leading(of_sections: Sequence[Sequence[Entry]]) -> list[Entry]:
    """Return the leading sentences of each section, in order, at most MOST_SENTENCES: each section in turn.

    Of a section the first sentences of its paragraphs and items come first, then the second ones.
    """
    turns = [
        [
            (n, place)
            for place in range(MOST_SENTENCES)
            for n, entry in enumerate(entries)
            if place < len(entry.sentences)
        ]
        for entries in of_sections
    ]
    taken: list[set[tuple[int, int]]] = [set() for _ in of_sections]
    left = MOST_SENTENCES
    for turn in itertools.zip_longest(*turns):
        for section, place in enumerate(turn):
            if place is not None and left:
                taken[section].add(place)
                left -= 1
    return [
        Entry(entry.hit, entry.mark, kept)
        for section, entries in enumerate(of_sections)
        for n, entry in enumerate(entries)
        if (kept := tuple(sentence for place, sentence in enumerate(entry.sentences) if (n, place) in taken[section]))
    ]
