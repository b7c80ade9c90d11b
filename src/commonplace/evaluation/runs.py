"""Ask labelled questions of a collection, keep what came back, and say how good it was and whether it got better."""

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
)
from commonplace.evaluation.queries import DIRECTIONS, Bound, LabelledQuery, bind, load_queries
from commonplace.retrieval import Ranking
from commonplace.types import Hit, ScoreComponent

if TYPE_CHECKING:
    from commonplace.collection import Collection

__all__ = ["Comparison", "Difference", "JudgedHit", "Result", "Run", "compare", "evaluate"]

FORMAT = 1
CUTOFFS = (1, 5)  # recall is reported here too, where k is larger
ALL = "all"
Row = tuple[str, str]
"""A direction (or ``all``) and a measure."""


@dataclass(frozen=True, slots=True)
class JudgedHit:
    """One hit of a run: its item, the score and its score breakdown, and the item's grade (0: not relevant)."""

    id: str
    path: str
    modality: str
    score: float
    grade: float
    breakdown: tuple[ScoreComponent, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What one question brought: its hits, best first, the grades of all relevant items, and its measures.

    A measure is None where the question does not tell (see :func:`right_modality` and :func:`modality_share`).
    ``image`` is the absolute path of the question's picture.
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
    """The results of one set of questions with one collection, model and ranking.

    ``model`` holds the name, fingerprint and dimension of the space; ``collection`` its folder and the counts of its
    documents, items and vectors; ``ranking`` the fields of :class:`commonplace.Ranking`.
    """

    k: int
    model: Mapping[str, Any]
    collection: Mapping[str, Any]
    ranking: Mapping[str, Any]
    results: tuple[Result, ...]

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions of its questions, in the order of tables and plots."""
        return _directions(self.results)

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of its measures."""
        return tuple(self.results[0].measures)

    def values(self, measure: str, direction: str = ALL) -> list[float]:
        """Return a measure by question, of one direction or of all; questions that have none are left out."""
        chosen = (one.measures.get(measure) for one in self.results if direction in (ALL, one.direction))
        return [value for value in chosen if value is not None]

    def summary(
        self, *, confidence: float = 0.95, rounds: int = ROUNDS, seed: int = 0
    ) -> dict[str, dict[str, Interval]]:
        """Return each measure's mean with its bootstrap interval, by direction and for all questions together.

        A measure that no question of a direction has is absent. Arguments and errors as for :func:`bootstrap`.
        """
        return {
            direction: {
                measure: bootstrap(values, confidence=confidence, rounds=rounds, seed=seed)
                for measure in self.measures
                if (values := self.values(measure, direction))
            }
            for direction in _columns(self.results)
        }

    def table(self, *, confidence: float = 0.95, rounds: int = ROUNDS, seed: int = 0) -> str:
        """Return the summary as a Markdown table that also reads well as plain text: ``mean [low, high]``."""
        summary = self.summary(confidence=confidence, rounds=rounds, seed=seed)
        rows = [["", *summary]]
        rows.append(["questions", *(str(_count(self.results, direction)) for direction in summary)])
        for measure in self.measures:
            rows.append([measure, *(_cell(found.get(measure)) for found in summary.values())])
        return _markdown(rows)

    def dict(self) -> dict[str, Any]:
        """Return the run as plain JSON values, as :meth:`save` writes them."""
        head = {"format": FORMAT, "k": self.k, "model": dict(self.model), "collection": dict(self.collection)}
        summary = {
            direction: {measure: interval.dict() for measure, interval in found.items()}
            for direction, found in self.summary().items()
        }
        results = [asdict(one) for one in self.results]
        return {**head, "ranking": dict(self.ranking), "summary": summary, "results": results}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run as JSON; a file that is there is replaced. Raises CommonplaceError where that fails."""
        text = json.dumps(self.dict(), indent=1, allow_nan=False) + "\n"
        with atomic_write(path, "the run") as file:
            file.write(text.encode("ascii"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Run:
        """Return the run that :meth:`save` wrote; raises ReadError for a file that is none."""
        file = Path(path)
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except OSError as problem:
            raise ReadError(f"the run {file} cannot be read ({problem.strerror}): check the name") from problem
        except (ValueError, RecursionError) as problem:
            raise ReadError(f"{file} is no run: make one with `commonplace eval QUESTIONS --json {file}`") from problem
        if isinstance(values, dict) and isinstance(values.get("format"), int) and values["format"] > FORMAT:
            raise ReadError(f"the run {file} was written by a newer Commonplace: upgrade, or make it again")
        try:
            results = tuple(_result(one) for one in values["results"])
            if not results:
                raise ValueError("no results")
            return cls(int(values["k"]), values["model"], values["collection"], values["ranking"], results)
        except (TypeError, KeyError, ValueError, AttributeError) as problem:
            raise ReadError(f"{file} is no run: make one with `commonplace eval QUESTIONS --json {file}`") from problem


def _result(values: Mapping[str, Any]) -> Result:
    hits = tuple(
        JudgedHit(**{**hit, "breakdown": tuple(ScoreComponent(**line) for line in hit["breakdown"])})
        for hit in values["hits"]
    )
    measures = {str(name): None if value is None else float(value) for name, value in values["measures"].items()}
    return Result(**{**values, "hits": hits, "measures": measures})


def evaluate(
    collection: Collection,
    questions: str | os.PathLike[str] | Sequence[LabelledQuery],
    *,
    k: int = 10,
    ranking: Ranking | None = None,
    progress: bool | None = None,
) -> Run:
    """Ask every question of a collection and return what came back, measured at ``k`` hits.

    ``questions`` is a JSON Lines file (see :func:`load_queries`) or what was read from one; ``ranking`` as for
    :meth:`commonplace.Collection.search`, but near-copies are
    hits of their own; ``progress`` shows a bar (default: where standard error is a terminal).
    The measures: recall at 1, 5 and ``k``, nDCG (linear gains) and MRR at ``k``, whether the first hit has the right
    modality, and the share of text and images among the first ``k``.

    Raises QueryError for ``k`` < 1, no questions, a file that is itself in the collection, or labels that name
    nothing in it; otherwise as :func:`load_queries` and :meth:`commonplace.Collection.search`.
    """
    from tqdm import tqdm

    if k < 1:
        raise QueryError(f"k is {k}: ask for at least one hit")
    if isinstance(questions, (str, os.PathLike)):
        asked = load_queries(questions)
        if collection.document(questions) is not None:
            raise QueryError(
                f"{questions} is itself in the collection, where its lines would be found: remove it with "
                "`commonplace remove`, and keep it elsewhere"
            )
    else:
        asked = list(questions)
    if not asked:
        raise QueryError("there are no questions")
    twice = len(asked) - len({one.id for one in asked})
    if twice:
        raise QueryError(f"{twice} of the questions have the id of another: give each an id of its own")
    how = replace(ranking or collection.ranking, collapse=False)
    results = []
    bar = tqdm(bind(collection.store, asked), unit="question", disable=None if progress is None else not progress)
    for bound in bar:
        one = bound.question
        try:
            hits = collection.search(one.text, image=one.image, k=k, ranking=how)
        except CommonplaceError as problem:
            raise type(problem)(f"{one.place}: {problem}") from problem
        results.append(_judge(bound, hits, k))
    status = collection.status()
    held = {"folder": status["collection"], **{name: status[name] for name in ("documents", "items", "vectors")}}
    settings = {one.name: getattr(how, one.name) for one in fields(how)}
    settings |= {"weights": dict(how.weights), "modality_bias": dict(how.modality_bias)}
    return Run(k, status["model"], held, settings, tuple(results))


def _judge(bound: Bound, hits: Iterable[Hit], k: int) -> Result:
    judged = tuple(
        JudgedHit(
            hit.item.id,
            hit.item.document.path,
            hit.item.modality,
            hit.score,
            bound.grades.get(hit.item.id, 0.0),
            hit.breakdown,
        )
        for hit in hits
    )
    ranked = [hit.id for hit in judged]
    modalities = [hit.modality for hit in judged]
    measures: dict[str, float | None] = {
        f"recall@{cutoff}": recall(ranked, bound.grades, cutoff)
        for cutoff in sorted({*(one for one in CUTOFFS if one < k), k})
    }
    measures[f"nDCG@{k}"] = ndcg(ranked, bound.grades, k)
    measures[f"MRR@{k}"] = reciprocal_rank(ranked, bound.grades, k)
    measures["right modality"] = right_modality(modalities, bound.wanted)
    for modality in ("text", "image"):
        measures[f"share of {modality}@{k}"] = modality_share(modalities, modality, k)
    one = bound.question
    image = str(one.image) if one.image is not None else None
    return Result(one.id, one.text, image, bound.direction, dict(bound.grades), judged, measures)


# --- two runs ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """A measure in two runs over the same ``change.count`` questions: the means, their difference, and its p-value."""

    before: float
    after: float
    change: Interval
    p: float

    def dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {"before": self.before, "after": self.after, "change": self.change.dict(), "p": self.p}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs on the questions they share. ``notes`` says in words what stands in the way of a fair comparison."""

    rows: Mapping[Row, Difference]
    shared: int
    notes: tuple[str, ...] = field(default=())

    def table(self) -> str:
        """Return the rows as a Markdown table; the change is the later run's mean less the earlier one's."""
        rows = [["", "measure", "questions", "before", "after", "change", "p"]]
        for (direction, measure), one in self.rows.items():
            means = [str(one.change.count), f"{one.before:.3f}", f"{one.after:.3f}", _cell(one.change, sign=True)]
            rows.append([direction, measure, *means, f"{one.p:.4f}"])
        return "\n".join([_markdown(rows), *(f"\nnote: {note}" for note in self.notes)])

    def dict(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values."""
        rows = [{"direction": row[0], "measure": row[1], **one.dict()} for row, one in self.rows.items()]
        return {"shared": self.shared, "notes": list(self.notes), "rows": rows}


def compare(before: Run, after: Run, *, confidence: float = 0.95, rounds: int = ROUNDS, seed: int = 0) -> Comparison:
    """Compare two runs on the questions (by id) that both asked, by direction and together.

    Each measure that both have: the difference of the means with a paired bootstrap interval, and the p-value of a
    paired randomisation test (two-sided; not corrected for the number of rows). Raises QueryError where they share
    no question, or one id stands for two different questions.
    """
    earlier = {one.id: one for one in before.results}
    pairs = [(earlier[one.id], one) for one in after.results if one.id in earlier]
    if not pairs:
        raise QueryError("the two runs share no question: compare runs over the same file of questions")
    for old, new in pairs:
        same = (old.text, old.image and os.path.basename(old.image)) == (
            new.text,
            new.image and os.path.basename(new.image),
        )
        if not same:
            raise QueryError(f"the id {new.id!r} is another question in each run: compare runs over the same file")
    rows: dict[Row, Difference] = {}
    for direction in _columns([new for _, new in pairs]):
        for measure in after.measures:
            chosen = [
                (a, b)
                for old, new in pairs
                if direction in (ALL, new.direction)
                and (a := old.measures.get(measure)) is not None
                and (b := new.measures.get(measure)) is not None
            ]
            if chosen:
                changes = [b - a for a, b in chosen]
                rows[direction, measure] = Difference(
                    sum(a for a, _ in chosen) / len(chosen),
                    sum(b for _, b in chosen) / len(chosen),
                    bootstrap(changes, confidence=confidence, rounds=rounds, seed=seed),
                    randomisation_test(changes, rounds=rounds, seed=seed),
                )
    return Comparison(rows, len(pairs), tuple(_notes(before, after, pairs)))


def _notes(before: Run, after: Run, pairs: Sequence[tuple[Result, Result]]) -> Iterable[str]:
    for run, name in ((before, "earlier"), (after, "later")):
        if len(run.results) > len(pairs):
            yield f"{len(run.results) - len(pairs)} questions are in the {name} run only, and left out"
    if before.k != after.k:
        yield f"one run is measured at k = {before.k}, the other at {after.k}: only what both have is compared"
    other = sum(old.relevant != new.relevant for old, new in pairs)
    if other:
        yield f"{other} questions have other relevant items in the two runs: their labels or documents were changed"


# --- tables --------------------------------------------------------------------------------------------------


def _directions(results: Iterable[Result]) -> tuple[str, ...]:
    found = {one.direction for one in results}
    return (*(name for name in DIRECTIONS if name in found), *sorted(found.difference(DIRECTIONS)))


def _columns(results: Sequence[Result]) -> tuple[str, ...]:
    """Return ``all`` and the directions; a single direction says the same as ``all``, so it stands alone."""
    directions = _directions(results)
    return directions if len(directions) == 1 else (ALL, *directions)


def _count(results: Iterable[Result], direction: str) -> int:
    return sum(direction in (ALL, one.direction) for one in results)


def _cell(interval: Interval | None, *, sign: bool = False) -> str:
    if interval is None:
        return "-"
    number = "+.3f" if sign else ".3f"
    mean = format(interval.mean, number)
    if interval.low is None or interval.high is None:
        return mean
    return f"{mean} [{interval.low:{number}}, {interval.high:{number}}]"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
