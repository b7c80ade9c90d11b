"""Questions of one or two words in a messy folder: photographs, passages and hundreds of headings of a few words.

Test photographs (a photograph shows a thing where two of its five captions name it), the odd paragraphs of XQuAD-en, the
headings of a manual, and words that stand alone in anybody's files. Directions and shares were chosen on dev photographs.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace

import numpy as np

from common import data, flickr8k, keep, machine, table
from commonplace.encoders import DEFAULT_BUNDLE, Bundle, find
from commonplace.retrieval import Calibration, Ranking
from commonplace.space import Space
from trust import OBJECTS
from worlds import Outcome, calibration_error, flickr_pairs, ndcgs, outcomes, picture, world

PAIRS = (
    "black dog", "brown dog", "white dog", "little girl", "young boy", "old man", "red shirt", "blue shirt",
    "yellow jacket", "red car", "snowy mountain", "soccer ball", "baseball player", "tennis ball", "swimming pool",
)  # fmt: skip
ALONE = (
    "Cover", "Test", "Contents", "Index", "Notes", "Draft", "Home", "Contact us", "Summary", "Introduction", "Page 1",
    "Table 2", "Untitled", "Annex A", "Figure 3", "Agenda", "Minutes", "Invoice", "Total", "Date", "Name", "Signature",
    "Overview", "Results", "Appendix", "Title", "Click here", "Next steps", "Team", "Thank you", "Questions?", "Sheet1",
    "TODO", "Copyright", "Status", "Priority", "Owner", "Comments", "Yes", "No", "Key", "Value", "Description",
    "Example", "Usage", "Settings", "Help", "About", "Details", "Glossary",
)  # fmt: skip
ELSEWHERE = (
    "insulin", "mortgage", "photosynthesis", "algebra", "vaccine", "copyright", "symphony", "inflation", "theology",
    "enzyme", "grammar", "lawsuit", "quarterly revenue", "tax return", "blood pressure", "prime numbers",
)  # fmt: skip


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="the model (default: the shipped one); its table has its name")
    model = parser.parse_args().model
    bundle, plain = (Bundle(find(model) if model else DEFAULT_BUNDLE) for _ in range(2))
    plain.spec.pop("query_shortness", None)
    calibration = Calibration.from_bundle(bundle.spec)
    ways = {
        "words as they are": (Space(plain), replace(calibration, short_query=(0.99, 1.0, 0.0))),
        "less what is short": (Space(bundle), replace(calibration, short_query=(0.99, 1.0, 0.0))),
        "and as a kind of thing (default)": (Space(bundle), calibration),
    }
    (photographs,) = flickr_pairs(bundle, "test")
    caption_words = [
        [set(re.findall(r"[a-z]+", text.lower())) for text in texts] for texts in flickr8k("test").values()
    ]

    def shown(words: str, times: int) -> dict[str, float]:
        return {
            f"p{i}": 1.0
            for i, captions_of in enumerate(caption_words)
            if sum(set(words.split()) <= t for t in captions_of) >= times
        }

    paragraphs = [p for a in json.loads((data("xquad") / "xquad.en.json").read_text())["data"] for p in a["paragraphs"]]
    odd = {i: p for i, p in enumerate(paragraphs) if i % 2}
    headings = sorted(
        {
            line.strip("# `*")
            for file in data("docs_wsl").rglob("*.md")
            for line in re.findall(r"^#+ .*$", file.read_text(errors="ignore"), flags=re.M)
        }
    )
    texts = {f"t{i}": p["context"] for i, p in odd.items()} | {f"h{i}": t for i, t in enumerate((*headings, *ALONE))}
    rows = bundle.text.encode(list(texts.values()))
    photos = [(f"p{i}", None, None, picture(photographs.pictures, i)) for i in range(len(caption_words))]
    folder = [*photos, *((name, text, row, None) for (name, text), row in zip(texts.items(), rows, strict=True))]
    labelled = [(qa["question"], {f"t{i}": 1.0}) for i, p in odd.items() for qa in p["qas"]]
    kinds = [
        ("one word", [(word, shown(word, 2)) for word in OBJECTS], "p"),
        ("two words", [(words, shown(words, 1)) for words in PAIRS], "p"),
        ("a caption", [(text, {f"p{i}": 1.0}) for i, text in enumerate(photographs.asked)], "p"),
        ("a question", labelled, "t"),
        ("short, not in the folder", [(words, {}) for words in ELSEWHERE], ""),
    ]
    lines, values = [], []
    for kind, questions, modality in kinds:
        vectors = bundle.text.encode([words for words, _ in questions], "query")
        queries = [(words, row, None) for (words, _), row in zip(questions, vectors, strict=True)]
        gains = [gain for _, gain in questions]
        for name, (space, used_calibration) in ways.items():
            with world(space, folder, queries, gains) as indexed:
                results: list[Outcome] = outcomes(indexed, used_calibration, {"": Ranking()})[""]
            first = np.mean([outcome.ids[0].startswith(modality) for outcome in results])
            mean_confidence = np.mean([c for outcome in results for c in outcome.confidences])
            true = np.mean([i in g for outcome, g in zip(results, gains, strict=True) for i in outcome.ids])
            best = np.median([outcome.confidences[0] for outcome in results])
            value = {
                "ndcg": float(ndcgs(results, gains).mean()), "first": float(first), "confidence": float(mean_confidence),
                "relevant": float(true), "error": calibration_error(results, gains), "best": float(best),
            }  # fmt: skip
            values.append({"questions": kind, "way": name, **value})
            measures = [f"{value['ndcg']:.1f}", f"{100 * first:.0f}%"] if modality else ["-", "-"]
            lines.append([kind, name, *measures, f"{mean_confidence:.3f}",
                          f"{true:.3f}", f"{value['error']:.3f}", f"{best:.2f}"])  # fmt: skip
    text = "\n\n".join(
        [
            f"Measured on {machine()}: {len(photos)} photographs, {len(odd)} passages, {len(headings) + len(ALONE)} "
            "headings and lone words; the default ranking.",
            table(
                ["question", "asked", "nDCG@10", "first hit of the right kind", "mean confidence of ten",
                 "share relevant", "calibration error", "best hit, median"],
                lines,
            ),
            "Captions name what a photograph shows only now and then: of a thing in the picture that none of two captions "
            "names, the table says that it is not there.",
        ]
    )  # fmt: skip
    keep(f"short_{model}" if model else "short", text, values)


if __name__ == "__main__":
    main()
