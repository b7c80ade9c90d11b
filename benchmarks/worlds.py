"""Collections made for a benchmark: documents shown as a picture, as words or as both, with questions and answers.

The vectors are the bundle's; store, channels, fusion and evidence are the product's own. Only the files are left out:
the same thousand photographs would be read a hundred times.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common import data, flickr8k
from commonplace.encoders import Bundle
from commonplace.readers import load_picture
from commonplace.retrieval import Calibration, EncodedQuery, Ranking, candidates
from commonplace.space import Space, query_shortness_of
from commonplace.store import LocalStore, StoreSpace
from commonplace.types import Document, Filter, Item, ParsedDocument, Picture, Span, ViewVectors
from fusion import fused_order

Rows = NDArray[np.float32]
Pixels = NDArray[np.uint8]
View = Mapping[str, NDArray[np.float32]]
Views = Mapping[str, Rows]
PICTURE, WORDS, BOTH = 0, 1, 2
HELD = slice(-300, None)
"""Of Flickr8k's dev pictures: the others were seen when the model's head was trained."""


def encode_pictures(bundle: Bundle, paths: Sequence[Path], change: Callable[[Pixels], Pixels] | None = None) -> Views:
    """Return the vectors (n, dim) of picture files by view, read as the product reads them."""
    found = []
    for at in range(0, len(paths), 64):
        pixels = [load_picture(path).pixels for path in paths[at : at + 64]]
        found.append(bundle.image.views([change(one) if change else one for one in pixels]))
    return {kind: np.concatenate([views[kind] for views in found]) for kind in found[0]}


def picture(views: Views, i: int) -> View:
    """Return the vectors of one picture."""
    return {kind: rows[i] for kind, rows in views.items()}


def mirrored_crop(pixels: Pixels) -> Pixels:
    """Return most of a picture, mirrored: another shot of the same scene, as near as we have one."""
    height, width = pixels.shape[:2]
    return np.ascontiguousarray(pixels[height // 8 : height - height // 20, width // 8 : width - width // 20][:, ::-1])


@dataclass(frozen=True, slots=True)
class Pairs:
    """Things that have words and a picture: ``asked[i]`` and ``told[i]`` are two texts about picture ``i``.

    ``cut`` are vectors of the same pictures cropped and mirrored, to ask with, empty where none are to; ``rows`` are
    those to ask about.
    """

    asked: Sequence[str]
    asked_rows: Rows
    told: Sequence[str]
    told_rows: Rows
    pictures: Views
    cut: Views
    rows: NDArray[np.int64]


def flickr_pairs(bundle: Bundle, split: str, captions: Sequence[int] = (0,), cut: bool = False) -> list[Pairs]:
    """Return the photographs of a split, once for each of ``captions``: that one asks, the next is the document."""
    found = flickr8k(split)
    paths = [data("flickr8k") / "images" / name for name in found]
    pictures = encode_pictures(bundle, paths)
    asking = encode_pictures(bundle, paths, mirrored_crop) if cut else {}
    rows = np.arange(len(paths))[HELD] if split == "dev" else np.arange(len(paths))
    texts = [[t[at] for t in found.values()] for at in range(5)]
    vectors = {at: bundle.text.encode(texts[at]) for c in captions for at in (c, (c + 1) % 5)}
    return [
        Pairs(texts[c], vectors[c], texts[(c + 1) % 5], vectors[(c + 1) % 5], pictures, asking, rows) for c in captions
    ]


@dataclass(frozen=True, slots=True)
class World:
    """A store and its questions: words, vectors, and the item ids that answer each, with gains."""

    store: LocalStore
    questions: Sequence[EncodedQuery]
    gains: Sequence[Mapping[str, float]]

    def asked(self, space: Space, questions: Sequence[tuple[str | None, Rows | None, View | None]]) -> World:
        """Return the same store with other questions: (words, text, picture)."""
        return replace(self, questions=[_asked(space, space.means("query"), *question) for question in questions])


@contextmanager
def world(
    space: Space,
    documents: Sequence[tuple[str, str | None, Rows | None, View | None]],
    questions: Sequence[tuple[str | None, Rows | None, View | None]],
    gains: Sequence[Mapping[str, float]],
) -> Iterator[World]:
    """Lend a store with these documents: (id, words, text vector, picture vector); questions: (words, text, picture)."""
    parsed: list[ParsedDocument] = []
    held: dict[str, list[tuple[str, Rows]]] = {"text": [], "image": [], "visual": []}
    for name, words, text_row, view in documents:
        document = Document(name, f"file:///{name}", f"/{name}", "text/plain", name, items=1)
        hash_ = None if view is None else f"p{name}"
        item = Item(name, document, "text" if hash_ is None else "image", Span(), words, None, hash_)
        shown = {} if hash_ is None else {hash_: Picture(np.zeros((1, 1, 3), np.uint8), b"-", 1, 1)}
        parsed.append(ParsedDocument(document, (item,), shown))
        rows = dict(view or {}) | ({} if text_row is None else {"text": text_row})
        for part, row in rows.items():
            held[part].append((name, row))
    views = [
        ViewVectors(
            part, tuple(n for n, _ in rows), tuple(f"{part}{n}" for n, _ in rows), np.array([r for _, r in rows])
        )
        for part, rows in held.items()
        if rows
    ]
    means = space.means("query")
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(
            Path(folder),
            StoreSpace(space.name, space.fingerprint, space.dim, offset=space.offset, means=space.means("document")),
        )
        try:
            store.add(parsed, views)
            yield World(store, [_asked(space, means, *question) for question in questions], gains)
        finally:
            store.close()


def _asked(
    space: Space, means: Mapping[str, Rows], words: str | None, text: Rows | None, view: View | None
) -> EncodedQuery:
    brief = 0.0
    if text is not None:
        rows, short = space.bundle.without_shortness(text[None])
        text = rows[0]
        if view is None:  # words beside a picture are no generic short query
            brief = query_shortness_of(space.text, words or "", float(short[0]))
    by_encoder = dict(view or {}) | ({} if text is None else {"text": text})
    vectors = space.query_vectors(by_encoder, query_shortness=brief)
    return EncodedQuery(words, vectors, means=means, text_hubness=space.text_hubness)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a ranking brought for one question: item ids, best first, and their confidences."""

    ids: list[str]
    confidences: list[float]


def outcomes(
    here: World, calibration: Calibration, rankings: Mapping[str, Ranking], k: int = 10
) -> dict[str, list[Outcome]]:
    """Return every ranking's outcomes by question. Rankings that ask the same lists share them; of a channel that one
    leaves out, what it alone lists is left out as well."""
    found: dict[str, list[Outcome]] = {name: [] for name in rankings}
    where = Filter()
    size = here.store.count(where)
    for question in here.questions:
        lists: dict[str, tuple] = {}
        for name, ranking in rankings.items():
            asked = replace(ranking, weights={})
            key = json.dumps([asked.method, asked.views, asked.alpha, asked.question, asked.picture_weight])
            if key not in lists:
                lists[key] = candidates(here.store, question, k=k, where=where, ranking=asked)
            ids, channels = lists[key]
            channels = {channel: scored for channel, scored in channels.items() if ranking.weight(channel) > 0}
            listed = np.flatnonzero(sum((scored.ranks > 0 for scored in channels.values()), np.zeros(len(ids), bool)))
            if not len(listed):
                found[name].append(Outcome([], []))
                continue
            own = {channel: scores.of(listed) for channel, scores in channels.items()}
            for_query = calibration.for_query(question.vectors.query_shortness, size)
            order, confidence = fused_order(own, ranking, for_query, size)
            best = np.argsort(-order, kind="stable")[:k]  # ids are sorted: ties by id
            found[name].append(Outcome([ids[listed[i]] for i in best], [float(confidence[i]) for i in best]))
    return found


def ndcgs(results: Sequence[Outcome], gains: Sequence[Mapping[str, float]], k: int = 10) -> NDArray[np.float64]:
    """Return nDCG@k in percent for each question (linear gains)."""
    found = []
    for outcome, wanted in zip(results, gains, strict=True):
        got = math.fsum(wanted.get(one, 0.0) / math.log2(rank + 2) for rank, one in enumerate(outcome.ids[:k]))
        best = math.fsum(g / math.log2(r + 2) for r, g in enumerate(sorted(wanted.values(), reverse=True)[:k]))
        found.append(100 * got / best if best else 0.0)
    return np.array(found)


def calibration_error(results: Sequence[Outcome], gains: Sequence[Mapping[str, float]], bins: int = 10) -> float:
    """Return the expected calibration error of the hits' confidences, in [0, 1] (ten bins of equal width)."""
    said = np.array([c for outcome in results for c in outcome.confidences])
    true = np.array([one in wanted for outcome, wanted in zip(results, gains, strict=True) for one in outcome.ids])
    at = np.minimum((said * bins).astype(int), bins - 1)
    return float(sum((at == b).mean() * abs(said[at == b].mean() - true[at == b].mean()) for b in set(at.tolist())))
