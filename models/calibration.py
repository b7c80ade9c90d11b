"""Learns what a raw score is worth and writes it into bundle.json as ``evidence``: `python models/calibration.py`.

Runs with the package alone (no torch), after build.py. What it sees: the pictures at the end of Flickr8k's dev split
that no head was trained on, the even-numbered paragraphs of XQuAD-en, and shop photos of every other product. The
rest of each, Flickr8k's test split, Cranfield and fashion are left to benchmarks.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import data
from commonplace.encoders import DEFAULT_BUNDLE, Bundle
from commonplace.encoders.default_calibration import query_shortness
from commonplace.retrieval import LEXICAL, SEMANTIC
from commonplace.store import LocalStore, StoreSpace
from commonplace.training.calibrate import Pairing, curve, z_scores
from commonplace.types import Document, Filter, Item, ParsedDocument, Span

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

CHOSEN: dict[str, Any] = {
    "text_hubness": {"step": 4, "neighbours": 4, "weight": 0.5, "floor": 0.5},
    "short_query": {"from": 0.15, "to": 0.45, "share": 0.02},
    "joint": {"words": 0.5, "meaning": 1.0, "base": 0.25},
    "match_density": 0.5,
    "expected_relevant": 1.0,
    "part_prior": 0.1,
}
"""How words and meaning of a text add up, and what a crowd of matches costs: by the development halves of Flickr8k in
mixed collections, of XQuAD-en and of Cranfield (benchmarks/mixing.py --dev). What words add to meaning, learned by
isotonic logistic regression on Flickr8k and XQuAD, is nothing up to half of a full match, 1 at .6 and 4 at .9: about
what half of their share times their own curve is, which keeps a point more of Cranfield's nDCG@10. What texts owe to
being like all captions is taken off by the weight and floor that lose nothing on passages."""


def spread(scores: Floats, belongs: Mask) -> dict[str, float]:
    found = scores[~belongs]
    return {"mean": round(float(found.mean()), 4), "std": round(float(found.std()), 4)}


def shares(questions: list[str], texts: list[str]) -> Floats:
    """Return each question's word score with each text as a share of a full match, by the store's own search."""
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder), StoreSpace("none", "none", 1))
        store.add([_reading(i, text) for i, text in enumerate(texts)], [])
        found = np.zeros((len(questions), len(texts)))
        for i, question in enumerate(questions):
            ranked = store.search_text(question, len(texts), Filter())
            found[i, [int(id_) for id_ in ranked.ids]] = ranked.scores / max(ranked.full_match_score, 1e-6)
        store.close()
    return np.minimum(found, 1.5)


def _reading(i: int, text: str) -> ParsedDocument:
    document = Document(f"d{i}", f"file:///{i}", f"/{i}", "text/plain", str(i), items=1)
    return ParsedDocument(document, (Item(str(i), document, "text", Span(), text),))


def pictures(
    bundle: Bundle, paths: list[Path], change: Callable[[Pixels], Pixels] = lambda pixels: pixels
) -> dict[str, NDArray[np.float32]]:
    """Return the vectors (n, dim) of picture files by view, read as the product reads them and then changed."""
    from commonplace.readers import load_picture

    found = [
        bundle.image.views([change(load_picture(path).pixels) for path in paths[i : i + 64]])
        for i in range(0, len(paths), 64)
    ]
    return {kind: np.concatenate([views[kind] for views in found]) for kind in found[0]}


def cropped(pixels: Pixels) -> Pixels:
    """Return most of a picture, mirrored: the same scene once more."""
    height, width = pixels.shape[:2]
    return np.ascontiguousarray(pixels[height // 8 : height - height // 20, width // 8 : width - width // 20][:, ::-1])


def evidence(bundle: Bundle) -> dict[str, Any]:
    """Return the section ``evidence`` of ``bundle.json``."""
    dev, shops = data.flickr8k("dev"), data.grocery()
    held = data.HELD
    seen = pictures(bundle, dev.paths[-held:])
    photos = seen["image"]
    visual = "visual" if bundle.image.visual else "image"  # what pictures are compared with pictures by
    visual, again = seen[visual], pictures(bundle, dev.paths[-held:], cropped)
    told = [dev.captions[-5 * held :][i::5] for i in range(5)]
    captions = [bundle.text.encode(texts) for texts in told]
    asking = [bundle.without_shortness(rows)[0] for rows in captions]
    own = np.eye(held, dtype=bool)
    passages, questions, answered_by = data.xquad("en")
    even = [i for i, row in enumerate(answered_by) if row % 2 == 0]
    asked = bundle.without_shortness(bundle.text.encode([questions[i] for i in even], "query"))[0]
    read = bundle.text.encode(passages)
    answers = np.equal.outer([answered_by[i] for i in even], np.arange(len(passages)))
    some = [i for i, product in enumerate(shops.shop_class) if product % 2 == 0]
    shop = pictures(bundle, [shops.shop[i] for i in some])
    product = np.array([shops.shop_class[i] for i in some])
    same = np.equal.outer(product, product)

    def less(kind: str, rows: NDArray[np.float32]) -> NDArray[np.float32] | float:
        found = bundle.hubness(kind, rows)
        return 0.0 if found is None else found

    def common(rows: NDArray[np.float32]) -> NDArray[np.float32] | float:
        found = bundle.text_hubness(rows)
        return 0.0 if found is None else found

    # Each of the five captions once as the question and once as the caption that is there.
    there = [captions[(i + 1) % 5] for i in range(5)]
    pairs_of_captions = [(asked @ rows.T - common(rows), own) for asked, rows in zip(asking, there, strict=True)]
    raw: dict[str, list[tuple[Floats, Mask]]] = {
        "text->text": [_stack(pairs_of_captions), (asked @ read.T - common(read), answers)],
        "text->image": [_stack([(rows @ photos.T - less("image", photos), own) for rows in asking])],
        "image->text": [_stack([(photos @ rows.T - less("text", rows), own) for rows in captions])],
        "image->image": [_no_self(shop[visual] @ shop[visual].T, same), (again[visual] @ visual.T, own)],
        SEMANTIC: [_no_self(shop["image"] @ shop["image"].T, same), (again["image"] @ photos.T, own)],
    }
    chance = {
        "text->text": spread(*raw["text->text"][1]),
        "text->image": spread(*raw["text->image"][0]),
        "image->text": spread(*raw["image->text"][0]),
        # Photographs of anything; what shelves have in common a collection of shelves finds in itself.
        "image->image": spread(visual @ visual.T, own),
        SEMANTIC: spread(photos @ photos.T, own),
    }
    z = {
        channel: [(z_scores(s, chance[channel]), belongs) for s, belongs in sources] for channel, sources in raw.items()
    }
    curves = {channel: curve(sources) for channel, sources in z.items()}
    of_words: Pairing = [
        _stack([(shares(told[i], told[(i + 1) % 5]), own) for i in range(5)]),
        (shares([questions[i] for i in even], passages), answers),
    ]
    curves[LEXICAL] = curve(of_words, np.array([-1e-9, 1e-9, *np.arange(0.05, 1.3, 0.05), 1.6]))
    return {
        "background": chance,
        "curves": {channel: {"at": list(c.at), "log_odds": list(c.log_odds)} for channel, c in curves.items()},
        **CHOSEN,
    }


def _stack(sources: Pairing) -> tuple[Floats, Mask]:
    return np.concatenate([values for values, _ in sources]), np.concatenate([belongs for _, belongs in sources])


def _no_self(scores: Floats, belongs: Mask) -> tuple[Floats, Mask]:
    """Return pairs of different things only, of equal number for each: a picture is no answer to itself."""
    n = len(scores)
    other = ~np.eye(n, dtype=bool)
    return scores[other].reshape(n, n - 1), belongs[other].reshape(n, n - 1)


def main() -> None:
    """Write the section into the bundle's ``bundle.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE)
    folder = parser.parse_args().bundle
    bundle = Bundle(folder)
    bundle.spec["query_shortness"] = query_shortness(bundle)  # questions are judged as they ask: without it
    bundle.spec["calibration"] = CHOSEN  # and texts as they are found
    spec = bundle.spec | {"calibration": evidence(bundle)}
    beside = folder / "bundle.part.json"
    beside.write_text(json.dumps(spec, indent=1, ensure_ascii=False) + "\n")
    beside.rename(folder / "bundle.json")
    print(json.dumps(spec["calibration"], indent=1))


if __name__ == "__main__":
    main()
