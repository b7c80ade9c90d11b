"""Evaluation runs: search a collection for labelled queries, measure the hits, and compare two runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonplace.atomic import atomic_write
from commonplace.errors import CommonplaceError, QueryError, ReadError
from commonplace.evaluation.metrics import (
    ROUNDS,
    Interval,
    bootstrap,
    modality_share,
    ndcg,
    randomisation_test,
    recall,
    reciprocal_rank,
    right_modality,
    ties_last,
)
from commonplace.evaluation.queries import DIRECTIONS, JudgedQuery, LabelledQuery, judge_queries, load_queries
from commonplace.i18n import _
from commonplace.options import MAX_HITS
from commonplace.retrieval import Ranking
from commonplace.types import Hit, ScoreComponent, columns

if TYPE_CHECKING:
    from commonplace.collection import Collection

__all__ = ["Comparison", "Difference", "JudgedHit", "Result", "Run", "compare", "evaluate"]

FORMAT = 1
CUTOFFS = (1, 5)  # recall is reported at these, too, if k is larger
ALL = "all"
Row = tuple[str, str]
"""A direction (or ``all``) and a measure."""


@dataclass(frozen=True, slots=True)
class JudgedHit:
    """One hit of a run: its item, its score with the breakdown, and the grade of the item (0: not relevant)."""

    id: str
    path: str
    modality: str
    score: float
    grade: float
    breakdown: tuple[ScoreComponent, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one query: its hits, best first, the grades of all relevant items, and its measures.

    A measure is None if it is undefined for the query (see ``right_modality`` and ``modality_share``).
    ``image`` is the absolute path of the query's picture, or None.
    """

    id: str
    text: str | None
    image: str | None
    direction: str
    relevant: Mapping[str, float]
    hits: tuple[JudgedHit, ...]
    measures: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Run:
    """The results of a set of queries with one collection, model and ranking.

    ``model`` holds the name, fingerprint and dimension of the space; ``collection`` its folder and the counts of its
    documents, items and vectors; ``ranking`` the fields of ``commonplace.Ranking``.
    """

    k: int
    model: Mapping[str, Any]
    collection: Mapping[str, Any]
    ranking: Mapping[str, Any]
    results: tuple[Result, ...]

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions of its queries, in the order of tables and plots."""
        return _directions(self.results)

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of its measures."""
        return tuple(self.results[0].measures)

    def values(self, measure: str, direction: str = ALL) -> list[float]:
        """Return a measure for each query of one direction or of all; queries without it are left out."""
        values = (result.measures.get(measure) for result in self.results if direction in (ALL, result.direction))
        return [value for value in values if value is not None]

    def summary(
        self, *, confidence: float = 0.95, rounds: int = ROUNDS, seed: int = 0
    ) -> dict[str, dict[str, Interval]]:
        """Return the mean of each measure with its bootstrap interval, by direction and for all queries together.

        A measure that no query of a direction has is absent. Arguments and errors as for ``bootstrap``.
        """
        return {
            direction: {
                measure: bootstrap(values, confidence=confidence, rounds=rounds, seed=seed)
                for measure in self.measures
                if (values := self.values(measure, direction))
            }
            for direction in _table_directions(self.results)
        }

    def table(self, *, confidence: float = 0.95, rounds: int = ROUNDS, seed: int = 0) -> str:
        """Return the summary as a Markdown table that also reads well as plain text: ``mean [low, high]``."""
        summary = self.summary(confidence=confidence, rounds=rounds, seed=seed)
        rows = [["", *summary]]
        rows.append([_("queries"), *(str(_count(self.results, direction)) for direction in summary)])
        for measure in self.measures:
            rows.append([measure, *(_cell(intervals.get(measure)) for intervals in summary.values())])
        return _markdown(rows)

    def dict(self) -> dict[str, Any]:
        """Return the run as plain JSON values, as ``save()`` writes them."""
        head = {"format": FORMAT, "k": self.k, "model": dict(self.model), "collection": dict(self.collection)}
        summary = {
            direction: {measure: interval.dict() for measure, interval in intervals.items()}
            for direction, intervals in self.summary().items()
        }
        results = [asdict(result) for result in self.results]
        return {**head, "ranking": dict(self.ranking), "summary": summary, "results": results}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run as JSON; an existing file is replaced. Raises CommonplaceError if that fails."""
        text = json.dumps(self.dict(), indent=1, allow_nan=False) + "\n"
        with atomic_write(path, _("the run")) as file:
            file.write(text.encode("ascii"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Run:
        """Return the run that ``save()`` wrote; raises ReadError for a file that is no run."""
        file = Path(path)
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except OSError as problem:
            raise ReadError(
                _("the run {file} cannot be read ({reason}): check the name").format(file=file, reason=problem.strerror)
            ) from problem
        except (ValueError, RecursionError) as problem:
            raise ReadError(
                _("{file} is no run: make one with `commonplace eval FILE --json {file}`").format(file=file)
            ) from problem
        if isinstance(values, dict) and isinstance(values.get("format"), int) and values["format"] > FORMAT:
            raise ReadError(
                _(
                    "the run {file} was written by a newer version of Commonplace: upgrade, or make the run again"
                ).format(file=file)
            )
        try:
            results = tuple(_result(row) for row in values["results"])
            if not results:
                raise ValueError(_("no results"))
            return cls(int(values["k"]), values["model"], values["collection"], values["ranking"], results)
        except (TypeError, KeyError, ValueError, AttributeError) as problem:
            raise ReadError(
                _("{file} is no run: make one with `commonplace eval FILE --json {file}`").format(file=file)
            ) from problem


def _result(values: Mapping[str, Any]) -> Result:
    hits = tuple(
        JudgedHit(**{**hit, "breakdown": tuple(ScoreComponent(**line) for line in hit["breakdown"])})
        for hit in values["hits"]
    )
    measures = {str(name): None if value is None else float(value) for name, value in values["measures"].items()}
    return Result(**{**values, "hits": hits, "measures": measures})


def evaluate(
    collection: Collection,
    queries: str | os.PathLike[str] | Sequence[LabelledQuery],
    *,
    k: int = 10,
    ranking: Ranking | None = None,
    progress: bool | None = None,
) -> Run:
    """Search a collection for every query and return the hits with their measures at ``k``.

    ``queries`` is a JSON Lines file (see ``load_queries``), or a sequence of queries. ``ranking`` is that of
    ``commonplace.Collection.search()``, except that near-duplicates are separate hits. ``progress`` shows a bar
    (default: if standard error is a terminal). The measures are recall at 1, 5 and ``k``, nDCG (linear gains) and MRR
    at ``k``, whether the first hit has the right modality, and the shares of text and images among the first ``k``.

    Raises QueryError for ``k`` < 1, no queries, a file that is itself in the collection, or labels that match nothing
    in it. Also raises what ``load_queries`` and ``commonplace.Collection.search()`` raise.
    """
    from tqdm import tqdm

    if k < 1:
        raise QueryError(_("k is {k}: ask for at least one hit").format(k=k))
    if isinstance(queries, (str, os.PathLike)):
        labelled = load_queries(queries)
        if queries in collection:
            raise QueryError(
                _(
                    "{queries} is itself in the collection, so searches would find its lines: remove it with "
                    "`commonplace remove`, and keep it elsewhere"
                ).format(queries=queries)
            )
    else:
        labelled = list(queries)
    if not labelled:
        raise QueryError(_("there are no queries: give at least one"))
    repeated = len(labelled) - len({query.id for query in labelled})
    if repeated:
        raise QueryError(
            _("{repeated} of the queries have the id of another: give each query its own id").format(repeated=repeated)
        )
    used_ranking = replace(ranking or collection.ranking, collapse=False)
    results = []
    bar = tqdm(
        judge_queries(collection.store, labelled), unit="query", disable=None if progress is None else not progress
    )
    for judged in bar:
        query = judged.query
        try:
            # One hit more than is measured shows whether a tie continues behind the last.
            hits = collection.search(query.text, image=query.image, k=k + (k < MAX_HITS), ranking=used_ranking)
        except CommonplaceError as problem:
            raise type(problem)(f"{query.place}: {problem}") from problem
        results.append(_measured(judged, hits, k, collection.space.dim))
    status = collection.status()
    contents = {"folder": status["collection"], **{name: status[name] for name in ("documents", "items", "vectors")}}
    settings = {option.name: getattr(used_ranking, option.name) for option in fields(used_ranking)}
    settings |= {"weights": dict(used_ranking.weights), "modality_bias": dict(used_ranking.modality_bias)}
    return Run(k, status["model"], contents, settings, tuple(results))


def _measured(judged_query: JudgedQuery, hits: Iterable[Hit], k: int, dim: int) -> Result:
    judged_hits = tuple(
        JudgedHit(
            hit.item.id,
            hit.item.document.path,
            hit.item.modality,
            hit.score,
            judged_query.grades.get(hit.item.id, 0.0),
            hit.breakdown,
        )
        for hit in hits
    )
    scores = [{line.channel: line.score for line in hit.breakdown} for hit in judged_hits]
    ranked = ties_last([hit.id for hit in judged_hits], scores, judged_query.grades, k, dim)
    judged_hits = judged_hits[:k]
    modalities = [hit.modality for hit in judged_hits]
    measures: dict[str, float | None] = {
        f"recall@{cutoff}": recall(ranked, judged_query.grades, cutoff)
        for cutoff in sorted({*(cutoff for cutoff in CUTOFFS if cutoff < k), k})
    }
    measures[f"nDCG@{k}"] = ndcg(ranked, judged_query.grades, k)
    measures[f"MRR@{k}"] = reciprocal_rank(ranked, judged_query.grades, k)
    measures["right modality"] = right_modality(modalities, judged_query.best_modalities)
    for modality in ("text", "image"):
        measures[f"share of {modality}@{k}"] = modality_share(modalities, modality, k)
    query = judged_query.query
    image = str(query.image) if query.image is not None else None
    return Result(query.id, query.text, image, judged_query.direction, dict(judged_query.grades), judged_hits, measures)


# --- two runs ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """A measure in two runs over the same ``change.count`` queries: the means, their difference, and its p-value."""

    before: float
    after: float
    change: Interval
    p: float

    def dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {"before": self.before, "after": self.after, "change": self.change.dict(), "p": self.p}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs on the queries that both have. ``notes`` are messages about what makes the comparison unfair."""

    rows: Mapping[Row, Difference]
    shared: int
    notes: tuple[str, ...] = field(default=())

    def table(self) -> str:
        """Return the rows as a Markdown table; the change is the mean after minus the mean before."""
        rows = [["", _("measure"), _("queries"), _("before"), _("after"), _("change"), "p"]]
        for (direction, measure), difference in self.rows.items():
            means = [
                str(difference.change.count),
                f"{difference.before:.3f}",
                f"{difference.after:.3f}",
                _cell(difference.change, sign=True),
            ]
            rows.append([direction, measure, *means, f"{difference.p:.4f}"])
        return "\n".join([_markdown(rows), *("\n" + _("note: {note}").format(note=note) for note in self.notes)])

    def dict(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values."""
        rows = [{"direction": row[0], "measure": row[1], **difference.dict()} for row, difference in self.rows.items()]
        return {"shared": self.shared, "notes": list(self.notes), "rows": rows}


def compare(before: Run, after: Run, *, confidence: float = 0.95, rounds: int = ROUNDS, seed: int = 0) -> Comparison:
    """Compare two runs on the queries (by id) that both have, by direction and together.

    For each measure that both have, a row holds the difference of the means with a paired bootstrap interval, and the
    p-value of a paired randomisation test (two-sided, not corrected for the number of rows). Raises QueryError if the
    runs share no query, or if an id stands for two different queries.
    """
    earlier_results = {result.id: result for result in before.results}
    pairs = [(earlier_results[result.id], result) for result in after.results if result.id in earlier_results]
    if not pairs:
        raise QueryError(_("the two runs share no query: compare runs over the same file of queries"))
    for earlier_result, later_result in pairs:
        if _words_and_picture(earlier_result) != _words_and_picture(later_result):
            raise QueryError(
                _("the id {id!r} is a different query in each run: compare runs over the same file").format(
                    id=later_result.id
                )
            )
    rows: dict[Row, Difference] = {}
    for direction in _table_directions([later_result for _earlier, later_result in pairs]):
        for measure in after.measures:
            values = [
                (before_value, after_value)
                for earlier_result, later_result in pairs
                if direction in (ALL, later_result.direction)
                and (before_value := earlier_result.measures.get(measure)) is not None
                and (after_value := later_result.measures.get(measure)) is not None
            ]
            if values:
                changes = [after_value - before_value for before_value, after_value in values]
                rows[direction, measure] = Difference(
                    sum(before_value for before_value, _after in values) / len(values),
                    sum(after_value for _before, after_value in values) / len(values),
                    bootstrap(changes, confidence=confidence, rounds=rounds, seed=seed),
                    randomisation_test(changes, rounds=rounds, seed=seed),
                )
    return Comparison(rows, len(pairs), tuple(_notes(before, after, pairs)))


def _words_and_picture(result: Result) -> tuple[str | None, str | None]:
    """Return the words of a query and the file name of its picture; its folder may differ between runs."""
    return result.text, result.image and os.path.basename(result.image)


def _notes(before: Run, after: Run, pairs: Sequence[tuple[Result, Result]]) -> Iterable[str]:
    for run, name in ((before, _("earlier")), (after, _("later"))):
        if len(run.results) > len(pairs):
            yield _("{count} queries are in the {name} run only, and are left out").format(
                count=len(run.results) - len(pairs), name=name
            )
    if before.k != after.k:
        yield _("one run is measured at k = {k}, the other at {other_k}: only common measures are compared").format(
            k=before.k, other_k=after.k
        )
    relabelled = sum(earlier_result.relevant != later_result.relevant for earlier_result, later_result in pairs)
    if relabelled:
        yield _(
            "{relabelled} queries have different relevant items in the two runs: labels or documents were changed"
        ).format(relabelled=relabelled)


# --- tables --------------------------------------------------------------------------------------------------


def _directions(results: Iterable[Result]) -> tuple[str, ...]:
    present = {result.direction for result in results}
    return (*(name for name in DIRECTIONS if name in present), *sorted(present.difference(DIRECTIONS)))


def _table_directions(results: Sequence[Result]) -> tuple[str, ...]:
    """Return ``all`` and the directions; a single direction alone, because it equals ``all``."""
    directions = _directions(results)
    return directions if len(directions) == 1 else (ALL, *directions)


def _count(results: Iterable[Result], direction: str) -> int:
    return sum(direction in (ALL, result.direction) for result in results)


def _cell(interval: Interval | None, *, sign: bool = False) -> str:
    if interval is None:
        return "-"
    number = "+.3f" if sign else ".3f"
    mean = format(interval.mean, number)
    if interval.low is None or interval.high is None:
        return mean
    return f"{mean} [{interval.low:{number}}, {interval.high:{number}}]"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(columns(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
