"""Do the confidences mean something? Abstention and calibration.

    python benchmarks/trust.py

A confidence should tell questions that the collection answers from gibberish, from questions about something else,
and from questions whose answer was taken out; and of hits said to be 30% likely, 30% should be relevant.
"""

from __future__ import annotations

import json
import random
import re

import numpy as np
from numpy.typing import NDArray

from common import data, flickr8k, keep, machine, table
from commonplace.encoders import Bundle
from commonplace.retrieval import Calibration, Ranking
from commonplace.space import Space
from worlds import Outcome, calibration_error, flickr_pairs, outcomes, picture, world

OBJECTS = (  # noqa: SIM905
    "dog man woman boy girl child baby horse bird ball beach bike bicycle car snow water grass mountain pool skateboard "
    "football frisbee camera hat tree rock street fence crowd surfer climber guitar boat swing slide soccer basketball"
).split()
KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def gibberish(count: int) -> list[str]:
    """Return keyboard noise: "words" of random letters, and runs along the keyboard."""
    draw = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    texts = []
    for n in range(count):
        words = []
        for _ in range(draw.randint(3, 8)):
            source = letters if n % 2 else draw.choice(KEYS)
            words.append("".join(draw.choice(source) for _ in range(draw.randint(3, 9))))
        texts.append(" ".join(words))
    return texts


def auroc(yes: NDArray[np.float64], no: NDArray[np.float64]) -> float:
    """Return how often an answered question is more confident than an unanswerable one, ties counting half."""
    return float(((yes[:, None] > no[None]) + 0.5 * (yes[:, None] == no[None])).mean())


def top(results: list[Outcome]) -> NDArray[np.float64]:
    return np.array([max(outcome.confidences, default=0.0) for outcome in results])


def main() -> None:
    """Measure, print and keep the tables."""
    space = Space(Bundle())
    bundle, calibration = space.bundle, Calibration.from_bundle(space.bundle.spec)
    articles = json.loads((data("xquad") / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    paragraphs = [p for article in articles for p in article["paragraphs"]]
    passages = [p["context"] for p in paragraphs]
    labelled = [
        (qa["question"], i) for i, p in enumerate(paragraphs) for qa in p["qas"] if i % 2
    ]  # even ones: calibration
    aero = [
        " ".join(e.split(".W\n", 1)[1].split())
        for e in re.split(r"^\.I ", (data("cranfield") / "cran.qry").read_text(), flags=re.M)[1:]
    ]
    (photographs,) = flickr_pairs(bundle, "test")
    rows = bundle.text.encode(passages)
    texts = [(f"t{i}", passages[i], rows[i], None) for i in range(len(passages))]
    pictures = [(f"p{i}", None, None, picture(photographs.pictures, i)) for i in range(len(photographs.asked))]
    default = {"default": Ranking()}

    def ask(documents: list, questions: list[str]) -> list[Outcome]:
        vectors = bundle.text.encode(questions, "query")
        unknown = [bundle.text.unknown_share(q) > 0.2 for q in questions]
        queries = [
            (q, None if is_unknown else v, None) for q, v, is_unknown in zip(questions, vectors, unknown, strict=True)
        ]
        with world(space, documents, queries, []) as indexed:
            return outcomes(indexed, calibration, default)["default"]

    noise = gibberish(300)
    words = [q for q, _ in labelled]
    of_passages = top(ask(texts, words))
    captions = list(photographs.asked)
    of_pictures = top(ask(pictures, captions))
    mixed = texts + pictures
    removed = top(ask_without(space, calibration, texts, labelled))
    held = len(pictures) // 2
    without_photograph = top(ask(pictures[:held], captions[held:]))
    answered = ask(pictures[:held], captions[:held])
    with_photograph = top(answered)
    first = float(np.mean([outcome.ids[:1] == [f"p{i}"] for i, outcome in enumerate(answered)]))
    pairs = [
        ("passages", "gibberish", of_passages, top(ask(texts, noise)), 0.98),
        ("passages", "Cranfield's questions", of_passages, top(ask(texts, aero)), 0.9),
        ("passages", "captions of photographs", of_passages, top(ask(texts, captions)), 0.9),
        ("passages", "the answering passage removed", of_passages, removed, 0.75),
        ("photographs", "gibberish", of_pictures, top(ask(pictures, noise)), 0.98),
        ("photographs", "XQuAD-en's questions", of_pictures, top(ask(pictures, words)), 0.9),
        ("photographs", "the photograph removed", with_photograph, without_photograph, 0.75),
        ("passages and photographs", "gibberish", top(ask(mixed, words + captions)), top(ask(mixed, noise)), 0.98),
        (
            "passages and photographs",
            "Cranfield's questions",
            top(ask(mixed, words + captions)),
            top(ask(mixed, aero)),
            0.9,
        ),
    ]
    lines = [
        [where, unanswerable, f"{auroc(yes, no):.3f}", f"{goal:g}", f"{np.median(yes):.2f}", f"{np.median(no):.3f}",
         f"{100 * (yes >= 0.2).mean():.0f}%", f"{100 * (no >= 0.2).mean():.0f}%"]
        for where, unanswerable, yes, no, goal in pairs
    ]  # fmt: skip
    # A photograph shows a thing where two of its five captions name it.
    caption_words = [
        [set(re.findall(r"[a-z]+", text.lower())) for text in texts] for texts in flickr8k("test").values()
    ]
    named = [
        {f"p{i}": 1.0 for i, captions_of in enumerate(caption_words) if sum(word in t for t in captions_of) >= 2}
        for word in OBJECTS
    ]
    errors = []
    for name, documents, questions, gains in (
        ("XQuAD-en, odd paragraphs", texts, words, [{f"t{i}": 1.0} for _, i in labelled]),
        ("Flickr8k test, captions for photographs", pictures, captions, [{f"p{i}": 1.0} for i in range(len(captions))]),
        ("Flickr8k test, one word for photographs", pictures, OBJECTS, named),
    ):
        results = ask(documents, questions)
        best = np.median(top(results))
        mean_confidence = np.mean([c for outcome in results for c in outcome.confidences])
        true = np.mean([id_ in g for outcome, g in zip(results, gains, strict=True) for id_ in outcome.ids])
        errors.append(
            [name, f"{calibration_error(results, gains):.3f}", f"{mean_confidence:.3f}", f"{true:.3f}", f"{best:.2f}"]
        )
    people = judgments(space, calibration, pictures)
    text = "\n\n".join(
        [
            f"Measured on {machine()}; confidence of the best hit, default ranking, no labels.",
            "**Abstention**: how well does the best hit's confidence tell questions with an answer from those without?",
            table(
                [
                    "collection",
                    "unanswerable",
                    "AUROC",
                    "goal",
                    "median, answered",
                    "median, not",
                    "answered >= .2",
                    "not >= .2",
                ],
                lines,
            ),
            f"Where the photograph was removed, a judge who knew of each best hit whether it is right would reach "
            f"{first + (1 - first) / 2:.2f}: it is in {100 * first:.0f}% of the questions that have an answer; the others "
            "look like those that have none.",
            "**Calibration** of the first ten hits' confidences (expected error over ten bins; goal .05)",
            table(["questions", "error", "mean confidence", "share relevant", "best hit, median"], errors),
            "**What people say** of hits that are not the caption's own photograph, and so count as wrong above (Flickr8k's own "
            "judgements, of pairs that were likely beforehand)",
            table(["judged by", "confidence", "pairs", "mean confidence", "share that fits"], people),
        ]
    )
    keep("trust", text, {"abstention": lines, "calibration": errors, "people": people})


def judgments(space: Space, calibration: Calibration, pictures: list) -> list[list[object]]:
    """Return what people said of hits, by the confidence that they have: pairs, mean confidence and share that fits.

    Flickr8k's own judgements of captions beside other photographs than their own, which its labels call wrong. Experts:
    a mean of 3 of 4 at least ("almost describes"); a crowd: at least half of three say that it describes the picture.
    """
    root, names = data("flickr8k"), list(flickr8k("test"))
    texts = dict(line.split("\t") for line in (root / "Flickr8k.token.txt").read_text("utf-8").splitlines())
    number = {name: f"p{i}" for i, name in enumerate(names)}
    fits: dict[str, dict[tuple[str, str], bool]] = {"experts": {}, "a crowd": {}}
    for line in (root / "ExpertAnnotations.txt").read_text().splitlines():
        picture_of, caption, *grades = line.split()
        fits["experts"][caption, picture_of] = sum(map(int, grades)) >= 9
    for line in (root / "CrowdFlowerAnnotations.txt").read_text().splitlines():
        picture_of, caption, share, *_ = line.split()
        fits["a crowd"][caption, picture_of] = float(share) >= 0.5
    caption_ids = sorted({caption for pairs in fits.values() for caption, _ in pairs if caption in texts})
    vectors = space.bundle.text.encode([texts[caption] for caption in caption_ids], "query")
    questions = [(texts[caption], vector, None) for caption, vector in zip(caption_ids, vectors, strict=True)]
    with world(space, pictures, questions, []) as indexed:
        results = outcomes(indexed, calibration, {"default": Ranking()}, 100)["default"]
    confidence_of = {
        (caption, id_): confidence
        for caption, outcome in zip(caption_ids, results, strict=True)
        for id_, confidence in zip(outcome.ids, outcome.confidences, strict=True)
    }
    lines: list[list[object]] = []
    for judges, pairs in fits.items():
        judged_pairs = [
            (confidence_of[caption, number[of]], fit)
            for (caption, of), fit in pairs.items()
            if not caption.startswith(of) and (caption, number.get(of)) in confidence_of
        ]
        confidence, true = np.array([value for value, _ in judged_pairs]), np.array([fit for _, fit in judged_pairs])
        for low, high in ((0, 0.01), (0.01, 0.03), (0.03, 0.1), (0.1, 0.2), (0.2, 0.4), (0.4, 1.01)):
            in_bin = (confidence >= low) & (confidence < high)
            if in_bin.any():
                lines.append(
                    [
                        judges,
                        f"{low:g} to {min(high, 1):g}",
                        int(in_bin.sum()),
                        confidence[in_bin].mean(),
                        true[in_bin].mean(),
                    ]
                )
    return lines


def ask_without(space: Space, calibration: Calibration, texts: list, labelled: list[tuple[str, int]]) -> list[Outcome]:
    """Return the outcomes of questions in collections without the passage that answers: by fours of paragraphs."""
    results: list[Outcome] = []
    vectors = space.bundle.text.encode([q for q, _ in labelled], "query")
    groups = 4
    for group in range(groups):
        mine = [n for n, (_, i) in enumerate(labelled) if i // 2 % groups == group]
        gone = {labelled[n][1] for n in mine}
        left = [document for i, document in enumerate(texts) if i not in gone]
        with world(space, left, [(labelled[n][0], vectors[n], None) for n in mine], []) as indexed:
            results += outcomes(indexed, calibration, {"default": Ranking()})["default"]
    return results


if __name__ == "__main__":
    main()
