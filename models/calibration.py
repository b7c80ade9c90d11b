"""Learns what a raw score is worth and writes it into bundle.json as ``calibration``: `python models/calibration.py`.

Runs with the package alone (no torch), after build.py. What it sees: the pictures at the end of Flickr8k's dev split
that no head was trained on, the even-numbered paragraphs of XQuAD, in each language that the model reads (English and
Chinese), shop photos of every other product, and every other product of fashion. The
rest of each, Flickr8k's test split and Cranfield are left to benchmarks.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import data
from commonplace.channels import CHANGED_TO_IMAGE
from commonplace.encoders import DEFAULT_BUNDLE, Bundle
from commonplace.encoders.default_calibration import query_shortness
from commonplace.retrieval import LEXICAL, SEMANTIC, compose
from commonplace.retrieval.calibration import ACROSS_LANGUAGES
from commonplace.retrieval.search import CHANGED_SHARE
from commonplace.store import LocalStore, StoreSpace
from commonplace.training.calibrate import Pairing, curve, z_scores
from commonplace.types import Document, Filter, Item, ParsedDocument, Span

HELD = data.HELD
Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

KINDS = (("dog", "dogs", "puppy"), ("child", "children", "boy", "girl", "kid"), ("man", "men"), ("woman", "women"))
PLACES = {
    "in the snow": ("snow", "snowy"),
    "in the water": ("water", "pool", "ocean", "lake", "river", "swimming"),
    "on the grass": ("grass", "grassy", "lawn", "field"),
    "on the beach": ("beach", "sand", "sandy", "shore"),
    "on a bike": ("bike", "bicycle", "bikes", "motorcycle"),
    "on the street": ("street", "sidewalk", "road", "city"),
}
"""What words change in photographs: somebody, elsewhere. By the words of captions that say so."""
LIKE = 2  # pictures that must show what is asked for
PRODUCTS = 600  # products of fashion that words change, every other one

CHOSEN: dict[str, Any] = {
    "text_hubness": {"step": 4, "neighbours": 4, "weight": 0.5, "floor": 0.5},
    "short_query": {"from": 0.15, "to": 0.45, "share": 0.02},
    "joint": {"words": 0.5, "meaning": 1.0, "base": 0.25},
    "match_density": 0.5,
    "expected_relevant": 1.0,
    "part_prior": 0.1,
    "changed": {"share": 0.015, "text": 0.05},
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
    """Return the section ``calibration`` of ``bundle.json``.

    A model that reads Chinese is measured in both languages and across them. All pairs of languages have equal weight
    in the curve of texts: with one curve for all, a passage is not believed more because it is in the query's language.
    """
    languages = [language for language in ("en", "zh") if readable(bundle, language)]
    captions = {language: _captions(bundle, language) for language in languages}
    passages = {language: _passages(bundle, language) for language in languages}
    pairs = [(query, document) for query in languages for document in languages]
    photos, appearance, changed = _photographs(bundle)
    shop, product = _shops(bundle)
    own = np.eye(HELD, dtype=bool)
    same = np.equal.outer(product, product)
    look = "visual" if bundle.image.visual else "image"  # the view by which pictures are compared with pictures

    def hubness(kind: str, rows: Rows) -> Rows | float:
        values = bundle.hubness(kind, rows)
        return 0.0 if values is None else values

    def common(rows: Rows) -> Rows | float:
        values = bundle.text_hubness(rows)
        return 0.0 if values is None else values

    def of_captions(query: Captions, document: Captions) -> tuple[Floats, Mask]:
        """Each of the five captions once as the query, and the next one as the document."""
        documents = [document.documents[(i + 1) % 5] for i in range(5)]
        return _stack([(q @ d.T - common(d), own) for q, d in zip(query.queries, documents, strict=True)])

    of_passages = [
        (passages[query].queries @ passages[document].documents.T - common(passages[document].documents), answers)
        for query, document in pairs
        for answers in [passages[query].answers]
    ]
    offset, photo_rows = hubness("image", photos["image"]), photos["image"]
    every = [(language, i) for language in languages for i in range(5)]
    raw: dict[str, list[tuple[Floats, Mask]]] = {
        "text->text": [_stack([of_captions(captions[q], captions[d]) for q, d in pairs]), _stack(of_passages)],
        "text->image": [_stack([(captions[name].queries[i] @ photo_rows.T - offset, own) for name, i in every])],
        "image->text": [
            _stack([(photo_rows @ rows.T - hubness("text", rows), own) for name in languages
                    for rows in captions[name].documents])
        ],
        "image->image": [_no_self(shop[look] @ shop[look].T, same), (changed[look] @ appearance.T, own)],
        SEMANTIC: [_no_self(shop["image"] @ shop["image"].T, same), (changed["image"] @ photo_rows.T, own)],
    }  # fmt: skip
    raw[CHANGED_TO_IMAGE] = [
        _changes(bundle, *pairs_of) for pairs_of in (_elsewhere(photo_rows), _other_colours(bundle))
    ]
    background = {
        "text->text": spread(*raw["text->text"][1]),
        "text->image": spread(*raw["text->image"][0]),
        "image->text": spread(*raw["image->text"][0]),
        # Photographs of anything; what shelves have in common a collection of shelves finds in itself.
        "image->image": spread(appearance @ appearance.T, own),
        SEMANTIC: spread(photo_rows @ photo_rows.T, own),
        CHANGED_TO_IMAGE: spread(*raw[CHANGED_TO_IMAGE][0]),
    }
    z = {
        channel: [(z_scores(scores, background[channel]), related) for scores, related in sources]
        for channel, sources in raw.items()
    }
    curves = {channel: curve(sources) for channel, sources in z.items()}
    of_words: Pairing = [
        _stack([
            (shares(captions[name].texts[i], captions[name].texts[(i + 1) % 5]), own) for name, i in every
        ]),
        _stack([(shares(p.questions, p.texts), p.answers) for p in passages.values()]),
    ]  # fmt: skip
    curves[LEXICAL] = curve(of_words, np.array([-1e-9, 1e-9, *np.arange(0.05, 1.3, 0.05), 1.6]))
    return {
        "background": background,
        "curves": {channel: {"at": list(c.at), "log_odds": list(c.log_odds)} for channel, c in curves.items()},
        **CHOSEN,
    }


@dataclass(frozen=True, slots=True)
class Captions:
    """Five captions of each held-out photograph in one language, as queries and as documents: lists of (HELD, dim)."""

    texts: list[list[str]]
    queries: list[Rows]
    documents: list[Rows]


@dataclass(frozen=True, slots=True)
class Passages:
    """XQuAD in one language: questions of even paragraphs (q, dim), all passages (p, dim), and the answers (q, p)."""

    questions: list[str]
    texts: list[str]
    queries: Rows
    documents: Rows
    answers: Mask


def across_languages(bundle: Bundle) -> dict[str, Any] | None:
    """Return statistics of the cosines of questions and passages in two languages, as in ``score_stats``.

    None if the model reads one language only. ``unrelated`` and ``related`` have the mean, the standard deviation and
    the 99th percentile.
    """
    passages = [_passages(bundle, language) for language in ("en", "zh") if readable(bundle, language)]
    if len(passages) < 2:
        return None
    (first, second), answers = passages, passages[0].answers
    cosines = np.concatenate([first.queries @ second.documents.T, second.queries @ first.documents.T])
    related = np.concatenate([answers, answers])
    return {
        name: spread(cosines, ~rows) | {"quantiles": {"0.99": round(float(np.quantile(cosines[rows], 0.99)), 4)}}
        for name, rows in (("unrelated", ~related), ("related", related))
    }


def readable(bundle: Bundle, language: str) -> bool:
    """Return whether the text tower knows the words of a language's questions."""
    return bundle.text.unknown_share(" ".join(data.xquad(language)[1][:20])) < 0.05


def _captions(bundle: Bundle, language: str) -> Captions:
    captions = (data.flickr8k("dev") if language == "en" else data.flickr8k_cn("dev")).captions[-5 * HELD :]
    texts = [captions[i::5] for i in range(5)]
    queries = [bundle.without_shortness(bundle.text.encode(rows, "query"))[0] for rows in texts]
    return Captions(texts, queries, [bundle.text.encode(rows) for rows in texts])


def _passages(bundle: Bundle, language: str) -> Passages:
    texts, questions, owners = data.xquad(language)
    even = [i for i, owner in enumerate(owners) if owner % 2 == 0]
    asked = [questions[i] for i in even]
    queries = bundle.without_shortness(bundle.text.encode(asked, "query"))[0]
    answers = np.equal.outer([owners[i] for i in even], np.arange(len(texts)))
    return Passages(asked, texts, queries, bundle.text.encode(texts), answers)


def _photographs(bundle: Bundle) -> tuple[dict[str, Rows], Rows, dict[str, Rows]]:
    """Return the held-out photographs by view, their appearance, and the same photographs changed, by view."""
    paths = data.flickr8k("dev").paths[-HELD:]
    photos = pictures(bundle, paths)
    return photos, photos["visual" if bundle.image.visual else "image"], pictures(bundle, paths, cropped)


def _shops(bundle: Bundle) -> tuple[dict[str, Rows], NDArray[np.int64]]:
    """Return shop photographs of every other product by view, and the product of each."""
    shops = data.grocery()
    some = [i for i, product in enumerate(shops.shop_class) if product % 2 == 0]
    return pictures(bundle, [shops.shop[i] for i in some]), np.array([shops.shop_class[i] for i in some])


Changes = tuple[Rows, list[tuple[int, str, list[int]]]]
"""Pictures (n, dim), and questions: the row of the given picture, the words, and the rows of what is wanted."""


def _elsewhere(photographs: Rows) -> Changes:
    """Return the held-out photographs, and those of somebody asked for at another place."""
    captions = data.flickr8k("dev").captions[-5 * HELD :]
    words = [[set(re.findall(r"[a-z]+", text.lower())) for text in captions[5 * i : 5 * i + 5]] for i in range(HELD)]

    def saying(i: int, names: tuple[str, ...]) -> int:
        return sum(bool(caption & set(names)) for caption in words[i])

    questions = []
    for kind in KINDS:
        of_kind = [i for i in range(HELD) if saying(i, kind) >= 3]
        for place, marks in PLACES.items():
            wanted = [i for i in of_kind if saying(i, marks) >= 2]
            if len(wanted) >= LIKE:
                questions += [(i, place, wanted) for i in of_kind if not saying(i, marks)][:12]
    return photographs, questions


def _other_colours(bundle: Bundle) -> Changes:
    """Return product pictures, and each asked for in another of the common colours."""
    lines = (data.DATA / "fashion" / "products.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines][::2][:PRODUCTS]
    having: dict[tuple[str, str, str], list[int]] = {}
    for i, row in enumerate(rows):
        having.setdefault((row["articleType"], row["gender"], row["baseColour"]), []).append(i)
    questions = []
    for i, row in enumerate(rows):
        for (kind, gender, colour), wanted in having.items():
            same_kind = (kind, gender) == (row["articleType"], row["gender"])
            if same_kind and colour != row["baseColour"] and len(wanted) >= LIKE:
                questions.append((i, f"but in {colour.lower()}", wanted))
    every = -(-len(questions) // 400)
    rows_of = pictures(bundle, [data.DATA / "fashion" / "images" / f"{row['id']}.jpg" for row in rows])
    return rows_of["image"], questions[::every]


def _changes(bundle: Bundle, rows: Rows, questions: list[tuple[int, str, list[int]]]) -> tuple[Floats, Mask]:
    """Return how near each picture is to each given one as the words change it, and which are wanted.

    The given picture stands out of its own question: it has the score of its least likely pair.
    """
    words = bundle.without_shortness(bundle.text.encode([text for _, text, _ in questions], "query"))[0]
    asked = [
        compose(*bundle.change(word, rows[given]), CHANGED_SHARE, "sum")
        for word, (given, _, _) in zip(words, questions, strict=True)
    ]
    hubness = bundle.hubness("image", rows)
    scores = np.asarray(np.array(asked) @ rows.T - (0 if hubness is None else hubness), np.float64)
    wanted = np.zeros(scores.shape, bool)
    for n, (given, _, right) in enumerate(questions):
        wanted[n, right] = True
        scores[n, given] = scores[n].min()
    return scores, wanted


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
    across = across_languages(bundle)
    if across is not None:
        bundle.spec["score_stats"][f"text->text {ACROSS_LANGUAGES}"] = across
    spec = bundle.spec | {"calibration": evidence(bundle)}
    beside = folder / "bundle.part.json"
    beside.write_text(json.dumps(spec, indent=1, ensure_ascii=False) + "\n")
    beside.rename(folder / "bundle.json")
    print(json.dumps(spec["calibration"], indent=1))


if __name__ == "__main__":
    main()
