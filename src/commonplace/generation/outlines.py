"""Answers that are more than a sentence: the steps of a procedure, a list, rows of a table, documents, a summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from commonplace.generation.intent import wants_list, wants_listing, wants_steps, wants_summary
from commonplace.generation.parts import Statement
from commonplace.generation.sections import Entry, Section, SectionFit, fits, sections
from commonplace.generation.selection import wanted_words
from commonplace.generation.sentences import listing
from commonplace.generation.tables import Row
from commonplace.text import path_words, quotations, terms
from commonplace.text.dates import agree, dates
from commonplace.types import Hit

__all__ = ["outline", "wants_outline"]

MOST_ENTRIES = 20  # entries of a list; the rest is counted
MOST_SENTENCES = 8  # sentences of a summary, and of a procedure without a list
LEAST_WHOLE = 0.6  # share of the question's words, by rarity, that a section must have
LEAST_HEADING = 0.6  # share in its heading from which a list answers a question that does not ask how
NEARLY = 0.75  # share of the best section's score from which the numbered steps of its document come first
LEAST_ROWS = 0.6  # share of the question's words that a table must account for
CONFIDENCE_SHARE, LEAST_WORDS = 0.5, 0.2
"""How much of the confidence counts as words, where a section says the same in others, and the words that it needs."""


def wants_outline(question: str) -> bool:
    """Return whether more passages of a document may belong to the answer than those that match."""
    return wants_steps(question) or wants_list(question) or wants_summary(question) or wants_listing(question)


def outline(question: str, hits: Sequence[Hit]) -> list[Statement] | None:
    """Return the answer to a question that asks for steps, a list or a summary; None if the hits have none."""
    wanted = wanted_words(question)
    if not wanted or quotations(question):
        return None
    all_sections = sections(hits)
    if wants_summary(question):
        return _summary(question, wanted, all_sections, hits)
    ranked = fits(wanted, all_sections, hits)
    if wants_list(question) and not wants_steps(question):
        rows = _rows(wanted, all_sections)
        entries = next((fit for fit in ranked if _answers(fit) and _is_asked_for(fit.section, wanted)), None)
        if entries is not None and (rows is None or entries.heading >= LEAST_HEADING):
            return list(_of_entries(entries.section.listed, hits))
        if rows is not None:
            return [Statement(row.text, (n,), row.start, row.end, mark="-") for n, row in rows[:MOST_ENTRIES]]
        return _documents(wanted, hits)
    for fit in _steps_first(ranked, hits) if wants_steps(question) else ranked:
        listed = fit.section.listed
        if wants_steps(question) and _answers(fit):
            if len(listed) > 1:
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
    """Return the sections, the numbered steps of the best document first if they fit nearly as well as its best."""
    best = next((fit for fit in ranked if _answers(fit)), None)
    if best is None or len(best.section.listed) > 1:
        return list(ranked)

    def document(fit: SectionFit) -> str:
        return hits[fit.section.hits[0]].item.document.id

    steps = [
        fit
        for fit in ranked
        if fit.section.ordered
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
    """Return the paragraphs of a section without a list that belong to a procedure: all if they are few."""
    entries = [entry for entry in section.entries if entry.text[-1] not in "?？"]
    count = sum(len(entry.sentences) for entry in entries)
    if count <= MOST_SENTENCES:
        return entries
    best = max(range(len(entries)), key=lambda i: len(terms(entries[i].text) & wanted), default=0)
    chosen: list[Entry] = []
    for entry in entries[best:]:
        if sum(len(part.sentences) for part in (*chosen, entry)) > MOST_SENTENCES:
            break
        chosen.append(entry)
    return chosen or entries[best : best + 1]


def _rows(wanted: frozenset[str], all_sections: Sequence[Section]) -> list[tuple[int, Row]] | None:
    """Return the rows of the table that has the question's words: some name the table, others stand in its cells."""
    best: tuple[float, list[tuple[int, Row]]] = (0.0, [])
    for section in all_sections:
        if not section.rows:
            continue
        names = terms(" ".join((section.title, path_words(section.name), *section.rows[0][1].columns)))
        in_cells = [terms(" ".join(row.cells)) & wanted for _, row in section.rows]
        values = frozenset().union(*in_cells) - frozenset.intersection(*in_cells)
        values = values - names or values
        share = len((names & wanted) | values) / len(wanted)
        if share < LEAST_ROWS or share <= best[0]:
            continue
        rows = [pair for pair, words in zip(section.rows, in_cells, strict=True) if values <= words]
        exact = [pair for pair in rows if any(_begins_with(cell, values) for cell in pair[1].cells)]
        if rows:
            best = share, exact or rows
    return best[1] or None


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


def _summary(
    question: str, wanted: frozenset[str], all_sections: Sequence[Section], hits: Sequence[Hit]
) -> list[Statement] | None:
    """Return the first sentences of each section of the document that the question names by title, kind and date."""
    days = dates(question)
    documents = list(dict.fromkeys(hits[section.hits[0]].item.document.id for section in all_sections))
    scores = {}
    for document in documents:
        of_document = [section for section in all_sections if hits[section.hits[0]].item.document.id == document]
        names = (
            "\n".join(section.title for section in of_document) + "\n" + hits[of_document[0].hits[0]].item.document.path
        )
        head = of_document[0].text[:300]
        named = terms(f"{path_words(names)}\n{head}")
        named_days = dates(f"{names}\n{head}")
        if days and not any(agree(day, other) for day in days for other in named_days):
            continue
        in_name = bool(days) and any(agree(day, other) for day in days for other in dates(names))
        scores[document] = (
            in_name
            + len(named & wanted) / len(wanted)
            + 0.1 * max(hits[section.hits[0]].confidence for section in of_document)
        )
    if not scores or max(scores.values()) < LEAST_WHOLE:
        return None
    chosen = max(scores, key=lambda document: scores[document])
    of_document = [section for section in all_sections if hits[section.hits[0]].item.document.id == chosen]
    of_document.sort(
        key=lambda section: (hits[section.hits[0]].item.span.page or 0, hits[section.hits[0]].item.span.start or 0)
    )
    entries = [entry for section in of_document for entry in section.entries]
    if sum(len(entry.sentences) for entry in entries) > MOST_SENTENCES:
        each = max(1, MOST_SENTENCES // max(len(of_document), 1))
        entries = [
            Entry(entry.hit, entry.mark, entry.sentences[:1])
            for section in of_document
            for entry in section.entries[:each]
        ]
    return list(_of_entries(entries[:MOST_SENTENCES], hits)) or None
