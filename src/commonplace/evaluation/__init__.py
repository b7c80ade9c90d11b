"""How well a collection answers: labelled questions, measures with their uncertainty, runs compared, plots.

run = evaluate(kb, "questions.jsonl", k=10)
print(run.table())
print(compare(Run.load("before.json"), run).table())
plot(run, "plots", collection=kb)       # needs matplotlib: pip install 'commonplace[eval]'
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
)
from commonplace.evaluation.plots import plot
from commonplace.evaluation.queries import DIRECTIONS, LabelledQuery, load_queries
from commonplace.evaluation.runs import Comparison, Difference, JudgedHit, Result, Run, compare, evaluate
from commonplace.evaluation.tuning import Tuning, thumbs, tune

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
    "load_queries",
    "modality_share",
    "ndcg",
    "plot",
    "randomisation_test",
    "recall",
    "reciprocal_rank",
    "right_modality",
    "thumbs",
    "tune",
]
