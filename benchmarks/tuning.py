"""What do labels buy? Cranfield with 10 to 200 labelled questions, as it is and with one channel broken.

    python benchmarks/tuning.py

Each number of labels is drawn five times; the questions left over are what is reported. "Broken": the abstracts'
vectors are noise, or their words are missing.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import commonplace as cp
from common import data, keep, machine, table
from commonplace.evaluation import LabelledQuery, tuning
from commonplace.evaluation.queries import JudgedQuery
from commonplace.retrieval import ChannelScores

LABELS = (10, 20, 50, 100, 200)
SEEDS = 5


def cases(work: Path) -> list[tuning.QueryCandidates]:
    """Return every question's candidates, as tuning gathers them."""
    folder = data("cranfield")
    abstracts = work / "cranfield"
    abstracts.mkdir()
    for entry in re.split(r"^\.I ", (folder / "cran.all.1400").read_text(), flags=re.M)[1:]:
        number, rest = entry.split("\n", 1)
        (abstracts / f"{int(number)}.txt").write_text(rest.split(".W\n", 1)[1])
    questions = [q.split(".W\n", 1)[1] for q in re.split(r"^\.I ", (folder / "cran.qry").read_text(), flags=re.M)[1:]]
    gains: dict[int, dict[str, float]] = {}
    for line in (folder / "cranqrel").read_text().splitlines():
        question, document, grade = (int(word) for word in line.split())
        if grade > 0:
            gains.setdefault(question, {})[f"{document}.txt"] = 5.0 - grade
    with cp.open(work / "kb") as kb:
        kb.add(abstracts, progress=False)
        document_ids = {Path(document.path).name: document.id for document in kb.documents()}
        item_of: dict[str, list[str]] = {}
        for id_ in document_ids.values():
            item_of[id_] = [item.id for item in kb.store.items_of(id_)]
        candidates = []
        for n, text in enumerate(questions, start=1):
            grades = {i: g for name, g in gains.get(n, {}).items() for i in item_of.get(document_ids[name], [])}
            if grades:
                question = LabelledQuery(str(n), grades, " ".join(text.split()))
                candidates.append(
                    tuning.candidates_of(kb, JudgedQuery(question, grades, "text->text", frozenset({"text"})))
                )
        return candidates


def broken(case: tuning.QueryCandidates, channel: str, random: np.random.Generator) -> tuning.QueryCandidates:
    """Return the case with one channel's scores drawn from those of chance, whatever the item is."""
    old = case.channels[channel]
    count = int((~np.isnan(old.scores)).sum())
    scale = old.ranked.std if channel != "lexical" else old.ranked.full_match_score / 8
    noise = old.ranked.mean + scale * np.abs(random.normal(size=count)) * 2
    scores = old.scores.copy()
    scores[~np.isnan(scores)] = noise
    ranks = np.zeros(len(scores), np.int64)
    order = [i for i in np.argsort(-np.nan_to_num(scores, nan=-9)) if not np.isnan(scores[i])]
    ranks[order] = np.arange(1, len(order) + 1)
    return replace(case, channels={**case.channels, channel: ChannelScores(old.ranked, scores, ranks)})


def main() -> None:
    """Measure, print and keep the table."""
    with tempfile.TemporaryDirectory() as folder:
        every = cases(Path(folder))
    random = np.random.default_rng(0)
    worlds = {
        "as it is": every,
        "meaning broken": [broken(case, "text->text", random) for case in every],
        "words broken": [broken(case, "lexical", random) for case in every],
    }
    single = {
        "words alone": cp.Ranking(weights={"text->text": 0.0, "text->image": 0.0}),
        "meaning alone": cp.Ranking(weights={"lexical": 0.0, "text->image": 0.0}),
    }
    lines, values = [], {}
    for name, world_cases in worlds.items():
        ndcg = {n: np.array([100 * tuning.ndcg_of(c, r, 10) for c in world_cases]) for n, r in single.items()}
        default = np.array([100 * tuning.ndcg_of(c, cp.Ranking(), 10) for c in world_cases])
        row = [name, *(f"{w.mean():.1f}" for w in ndcg.values()), f"{default.mean():.1f}"]
        for count in LABELS:
            gains = []
            for seed in range(SEEDS):
                order = np.random.default_rng(seed).permutation(len(world_cases))
                chosen = tuning.choose_ranking([world_cases[i] for i in order[:count]], seed=seed).ranking
                left = order[count:]
                gains.append(
                    np.mean([100 * tuning.ndcg_of(world_cases[i], chosen, 10) for i in left]) - default[left].mean()
                )
            row.append(f"{np.mean(gains):+.1f} (±{np.std(gains):.1f})")
        lines.append(row)
        values[name] = row[1:]
        print(row, flush=True)
    text = "\n\n".join(
        [
            f"Measured on {machine()}: Cranfield, nDCG@10 in percent; change against the default on the questions that "
            f"were not used, mean and standard deviation over {SEEDS} draws of the labels.",
            table(["channels", *single, "default", *(f"{count} labels" for count in LABELS)], lines),
        ]
    )
    keep("tuning", text, values)


if __name__ == "__main__":
    main()
