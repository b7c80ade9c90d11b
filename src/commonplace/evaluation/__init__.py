"""Evaluation of a collection: labelled queries, measures with confidence intervals, comparison of runs, plots.

run = evaluate(kb, "queries.jsonl", k=10)
print(run.table())
print(compare(Run.load("before.json"), run).table())
plot(run, "plots", collection=kb)       # needs matplotlib (the extra eval)
"""

from commonplace.evaluation.metrics import (
    Interval,
    bootstrap,
    modality_share,
    ndcg,
    randomisation_test,
    recall,
    reciprocal_rank,
    right_modality,
    rounding,
    ties_last,
)
from commonplace.evaluation.plots import plot
from commonplace.evaluation.queries import DIRECTIONS, LabelledQuery, load_queries
from commonplace.evaluation.runs import Comparison, Difference, JudgedHit, Result, Run, compare, evaluate
from commonplace.evaluation.tuning import Tuning, feedback_queries, tune

__all__ = [
    "DIRECTIONS",
    "Comparison",
    "Difference",
    "Interval",
    "JudgedHit",
    "LabelledQuery",
    "Result",
    "Run",
    "Tuning",
    "bootstrap",
    "compare",
    "evaluate",
    "feedback_queries",
    "load_queries",
    "modality_share",
    "ndcg",
    "plot",
    "randomisation_test",
    "recall",
    "reciprocal_rank",
    "right_modality",
    "rounding",
    "ties_last",
    "tune",
]
