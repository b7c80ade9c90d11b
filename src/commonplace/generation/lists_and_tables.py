"""Checks of what is no sentence in a paragraph: list items, the cells of a table, listings and the lines before them.

An item is read together with the lines that lead to it, a cell with its row and the name of its column.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from commonplace.generation.claims import claim, without_count, words
from commonplace.generation.grounding import GroundingChecker, GroundingVerdict
from commonplace.generation.parts import Cell, Statement
from commonplace.generation.reasons import DIFFERENCES, Cause, reason
from commonplace.generation.tables import Row, rows_of
from commonplace.text import terms
from commonplace.types import Hit, Support

__all__ = ["StatementChecker"]

_ORDER: tuple[Support, ...] = ("unsupported", "weak", "supported")
_NOTHING_SAID = frozenset(
    (
        "n/a",
        "na",
        "unknown",
        "not stated",
        "not given",
        "not specified",
        "not mentioned",
        "未知",
        "未说明",
        "未提及",
        "未注明",
    )
)
"""Cells that say that the evidence says nothing."""
_ATTRIBUTES = frozenset(
    (
        *("", "feature", "property", "aspect", "attribute", "criterion", "characteristic"),
        *("特性", "特征", "项目", "属性", "方面", "指标", "参数"),
    )
)
"""Names of a first column whose rows are attributes of the things that the other columns name."""
REASONS = 2  # cells of a row whose reasons are reasons


class StatementChecker:
    """Checks the statements of a language model against the ``hits`` of one answer, each by what it is.

    The reasons of its verdicts are in ``language``.
    """

    def __init__(self, checker: GroundingChecker, hits: Sequence[Hit], language: str | None = None) -> None:
        self._checker = checker
        self._hits = hits
        self._language = language

    def check(self, statement: Statement) -> tuple[tuple[int, ...], GroundingVerdict | None]:
        """Return the hits that support a statement, and its verdict; None for a line that only leads to others.

        These are the hits that it cites. If it cites none, they are those that support it fully, if any.
        """
        cited = tuple(dict.fromkeys(statement.hits))
        if statement.leads:
            return cited, self._checker.check_lead(claim(statement.text), cited)
        if cited:
            return cited, self._verdict(statement, cited)
        if traced := self._traced(statement):
            return traced
        cause: Cause = "unknown citation" if statement.invalid_citations else "no citation"
        return (), self._by_cause("unsupported", cause)

    def _verdict(self, statement: Statement, cited: Sequence[int]) -> GroundingVerdict:
        if statement.code:
            return self._listing(statement.text, cited)
        if statement.layout == "row":
            return self._row(statement.cells, cited)
        return self._in_context(claim(statement.text), statement.context, cited)

    def _traced(self, statement: Statement) -> tuple[tuple[int, ...], GroundingVerdict] | None:
        """Return the hit that supports a statement without a marker, and its verdict; None if there is none."""
        if statement.code or statement.layout == "row":
            verdicts = ((n, self._verdict(statement, (n,))) for n in range(len(self._hits)))
            return next((((n,), verdict) for n, verdict in verdicts if verdict.level == "supported"), None)
        source = self._checker.find_source(claim(statement.text))
        if source is None:
            return None
        n, verdict = source
        if statement.context:
            verdict = self._in_context(claim(statement.text), statement.context, (n,))
        return (n,), verdict

    def _by_cause(self, level: Support, cause: Cause, **values: str) -> GroundingVerdict:
        return GroundingVerdict(level, 0.0, reason(cause, self._language, **values).text, {}, cause)

    # --- list items ------------------------------------------------------------------------------------------

    def _in_context(self, sentence: str, context: str, cited: Sequence[int]) -> GroundingVerdict:
        """Return the verdict on a list item: alone, unless the lines before it make it say something else."""
        alone = self._checker.check(sentence, cited)
        if not context:
            return alone
        together = self._checker.check(f"{without_count(context).rstrip(':： ')} {sentence}", cited)
        if together.cause in DIFFERENCES and alone.level == "supported":
            return replace(together, level="weak", spans=alone.spans or together.spans)
        return together if _rank(together) > _rank(alone) else alone

    # --- listings --------------------------------------------------------------------------------------------

    def _listing(self, code: str, cited: Sequence[int]) -> GroundingVerdict:
        """Return the verdict on a listing: each of its lines must stand in the evidence, whatever its indentation."""
        level, tainted = self._checker.check_quote(cited)
        sources = {n: self._hits[n].item.text or "" for n in cited}
        present = {" ".join(line.split()) for text in sources.values() for line in text.splitlines()}
        inline = " ".join(" ".join(text.split()) for text in sources.values())
        lines = [" ".join(line.split()) for line in code.splitlines() if any(map(str.isalnum, line))]
        missing = [line for line in lines if line not in present and not (len(line) > 3 and line in inline)]
        if not missing:
            cause: Cause | None = "instructions" if tainted else None
            return GroundingVerdict(level, 1.0, tainted, _spans(sources, lines), cause)
        share = 1 - len(missing) / len(lines)
        text = reason("other code", self._language, line=missing[0][:80]).text
        return GroundingVerdict("weak" if share >= 0.5 else "unsupported", share, text, {}, "other code")

    # --- tables ----------------------------------------------------------------------------------------------

    def _row(self, cells: Sequence[Cell], cited: Sequence[int]) -> GroundingVerdict:
        """Return the verdict on a row: that of its worst cell, with the name of the column before its reason."""
        first = next((n for n, cell in enumerate(cells) if _has_words(cell.text)), 0)
        transposed = cells[0].column.casefold() in _ATTRIBUTES and any(cell.column for cell in cells)
        verdicts = []
        for n, cell in enumerate(cells):
            text = claim(cell.text)
            if _has_words(text) and text.casefold() not in _NOTHING_SAID:
                label = claim(cells[first].text) if n != first or len(cells) == 1 else ""
                verdict = self._cell(text, label, cell.column, cell.hits or cited, transposed=transposed)
                verdicts.append((cell.column, verdict))
        if not verdicts:
            return self._by_cause("supported", "no words")
        wrong = [(column, verdict) for column, verdict in verdicts if verdict.level != "supported"]
        worst = min((verdict for _column, verdict in verdicts), key=_rank)
        spans = {n: span for _column, verdict in reversed(verdicts) for n, span in verdict.spans.items()}
        texts = [f"{column}: {verdict.reason}" if column else str(verdict.reason) for column, verdict in wrong]
        reasons = "; ".join(dict.fromkeys(texts[:REASONS])) or None
        return GroundingVerdict(worst.level, worst.score, reasons, spans, worst.cause)

    def _names(self, name: str, cited: Sequence[int]) -> bool:
        """Return whether the evidence has all words of a name."""
        of_source = frozenset().union(*(terms(self._hits[n].item.text_view or "") for n in cited))
        return bool(terms(name)) and terms(name) <= of_source

    def _cell(self, text: str, label: str, column: str, cited: Sequence[int], *, transposed: bool) -> GroundingVerdict:
        """Return the verdict on a cell of the row that begins with ``label``; on the label itself if that is empty.

        In a ``transposed`` table the columns are things (*North pump*), and the rows are what is compared (*Pressure*).
        """
        if label and (verdict := self._in_table(text, label, column, cited)) is not None:
            return verdict
        if not label:  # the other cells say what is true of it
            return self._checker.check_lead(text, cited) or GroundingVerdict("supported", 1.0, None, {})
        thing = column if transposed or (self._names(column, cited) and not self._names(label, cited)) else label
        # A capital that only begins a cell makes no name.
        kind = column if thing == column else column[:1].lower() + column[1:]
        claims = [f"{thing}: {text}", *([f"{label} {kind} {text}"] if column else [])]
        verdicts = [self._checker.check(each, cited) for each in claims]
        for verdict in verdicts:
            if verdict.cause in DIFFERENCES:
                return verdict
        return max(verdicts, key=_rank)

    def _in_table(self, text: str, label: str, column: str, cited: Sequence[int]) -> GroundingVerdict | None:
        """Return the verdict by the rows of the evidence that name ``label``; None if they do not decide."""
        wrong: GroundingVerdict | None = None
        for n, row in self._source_rows(cited):
            at = [i for i, cell in enumerate(row.cells) if _same(label, cell)]
            if not at:
                continue
            holds = [i for i, cell in enumerate(row.cells) if i not in at and _same(text, cell)]
            named = [i for i, name in enumerate(row.columns) if column and name and _same_name(column, name)]
            if holds and (not named or set(holds) & set(named)):
                return GroundingVerdict("supported", 1.0, None, {n: (row.start, row.end)})
            if holds:
                name = row.columns[holds[0]] or label
                wrong = wrong or self._by_cause("weak", "other column", value=text, column=name)
            elif named and row.cells[named[0]]:
                wrong = wrong or self._by_cause("weak", "other cell", value=row.cells[named[0]])
        return wrong

    def _source_rows(self, cited: Sequence[int]) -> Iterator[tuple[int, Row]]:
        return itertools.chain.from_iterable(
            ((n, row) for row in rows_of(self._hits[n].item.text or "")) for n in dict.fromkeys(cited)
        )


def _rank(verdict: GroundingVerdict) -> tuple[int, float]:
    return _ORDER.index(verdict.level), verdict.score


def _has_words(text: str) -> bool:
    return any(map(str.isalnum, text))


def _same(text: str, cell: str) -> bool:
    """Return whether a cell of a source says the same: the same words, or all words of one that is a part of it."""
    ours, theirs = words(claim(text)), words(claim(cell))
    return bool(ours) and (ours == theirs or (len(ours) < len(theirs) and _holds(theirs, ours)))


def _holds(sequence: Sequence[str], part: Sequence[str]) -> bool:
    return any(tuple(sequence[i : i + len(part)]) == tuple(part) for i in range(len(sequence) - len(part) + 1))


def _same_name(column: str, name: str) -> bool:
    """Return whether two names of columns mean the same: *Weight* and *Weight (g)*."""
    ours, theirs = terms(column), terms(name)
    return bool(ours & theirs) and (ours <= theirs or theirs <= ours)


def _spans(sources: dict[int, str], lines: Sequence[str]) -> dict[int, tuple[int, int]]:
    """Return where each source has the first and the last of these lines."""
    spans = {}
    for n, text in sources.items():
        places = [(text.index(line), text.index(line) + len(line)) for line in lines if line in text]
        if places:
            spans[n] = min(places)[0], max(end for _start, end in places)
    return spans
