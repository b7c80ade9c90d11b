"""Quality through the product's own search: Flickr8k (words to pictures and back), Cranfield (text).

    python benchmarks/quality.py [--questions N]

Everything is added with ``Collection.add`` from files and asked with ``Collection.search``.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np

import commonplace as cp
from common import data, flickr8k, interval, keep, machine, ndcg, table

KS = (1, 5, 10)


def recalls(ranks: list[int | None]) -> dict[str, tuple[float, float, float]]:
    """Return R@k in percent with its interval, from the rank (from 0) of the right item, None where not found."""
    return {
        f"R@{k}": tuple(100 * v for v in interval([float(r is not None and r < k) for r in ranks]))  # type: ignore[misc]
        for k in KS
    }


def flickr(work: Path, limit: int | None, model: str | None) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Return recall by direction on the 1,000 test pictures: each caption is a question, and each picture."""
    test = flickr8k("test")
    photographs, captions = work / "photographs", work / "captions"
    photographs.mkdir()
    captions.mkdir()
    for name, texts in test.items():
        shutil.copy(data("flickr8k") / "images" / name, photographs / name)
        for n, text in enumerate(texts):
            (captions / f"{Path(name).stem}#{n}.txt").write_text(text, encoding="utf-8")
    recall_of: dict[str, dict[str, tuple[float, float, float]]] = {}
    with cp.open(work / "kb-photographs", model=model) as kb:
        print("photographs:", kb.add(photographs))
        ranks: list[int | None] = []
        for name, texts in list(test.items())[:limit]:
            for text in texts:
                names = [Path(hit.item.document.path).name for hit in kb.search(text, k=max(KS))]
                ranks.append(names.index(name) if name in names else None)
        recall_of["text->image"] = recalls(ranks)
    with cp.open(work / "kb-captions", model=model) as kb:
        print("captions:", kb.add(captions))
        ranks = []
        for name in list(test)[:limit]:
            hits = kb.search(image=photographs / name, k=max(KS))
            owners = [Path(hit.item.document.path).stem.split("#")[0] for hit in hits]
            ranks.append(owners.index(Path(name).stem) if Path(name).stem in owners else None)
        recall_of["image->text"] = recalls(ranks)
    return recall_of


def cranfield(work: Path, model: str | None) -> dict[str, list[float]]:
    """Return nDCG@10 for each of the 225 questions, by way of ranking. Gains: 4 for a complete answer to 1."""
    folder = data("cranfield")
    abstracts = work / "cranfield"
    abstracts.mkdir()
    for entry in re.split(r"^\.I ", (folder / "cran.all.1400").read_text(), flags=re.M)[1:]:
        number, rest = entry.split("\n", 1)
        text = rest.split(".W\n", 1)[1]
        (abstracts / f"{int(number)}.txt").write_text(text)
    questions = [q.split(".W\n", 1)[1] for q in re.split(r"^\.I ", (folder / "cran.qry").read_text(), flags=re.M)[1:]]
    gains: dict[int, dict[str, float]] = {}
    for line in (folder / "cranqrel").read_text().splitlines():
        question, document, grade = (int(word) for word in line.split())
        if grade > 0:
            gains.setdefault(question, {})[str(document)] = 5.0 - grade
    ways = {
        "lexical": cp.Ranking(weights={"text->text": 0, "text->image": 0}),
        "dense": cp.Ranking(weights={"lexical": 0, "text->image": 0}),
        "fused by evidence (default)": cp.Ranking(),
        "fused, rrf": cp.Ranking(method="rrf"),
    }
    scores: dict[str, list[float]] = {name: [] for name in ways}
    with cp.open(work / "kb-cranfield", model=model) as kb:
        print("cranfield:", kb.add(abstracts))
        for number, question in enumerate(questions, start=1):  # the judgments number by order
            for name, ranking in ways.items():
                hits = kb.search(question, k=30, ranking=ranking)
                documents = list(dict.fromkeys(Path(hit.item.document.path).stem for hit in hits))
                scores[name].append(100 * ndcg(documents, gains.get(number, {})))
    return scores


def main() -> None:
    """Measure, print and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, help="only the first N pictures' questions (for a quick look)")
    parser.add_argument("--model", help="the model (default: the shipped one); its table has its name")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recall = flickr(Path(folder), options.questions, options.model)
        text = cranfield(Path(folder), options.model)
    rows = [
        [way, *(f"{mean:.1f} ({low:.1f} to {high:.1f})" for mean, low, high in values.values())]
        for way, values in recall.items()
    ]
    parts = [
        f"Measured on {machine()}. Means with 95% bootstrap intervals over questions.",
        "**Flickr8k test**, 1,000 photographs, 5,000 captions",
        table(["direction", *(f"R@{k}" for k in KS)], rows),
        "**Cranfield**, 1,400 abstracts, 225 questions",
    ]
    lines = []
    best_arm = np.maximum(np.mean(text["lexical"]), np.mean(text["dense"]))
    for name, values in text.items():
        mean, low, high = interval(values)
        lines.append([name, f"{mean:.1f} ({low:.1f} to {high:.1f})", f"{mean - best_arm:+.1f}"])
    parts.append(table(["ranking", "nDCG@10", "against the better channel"], lines))
    values = {"flickr8k": recall, "cranfield": {name: interval(v) for name, v in text.items()}}
    if options.questions:
        print("\n\n".join(parts))
    else:
        keep(f"quality_{options.model}" if options.model else "quality", "\n\n".join(parts), values)


if __name__ == "__main__":
    main()
