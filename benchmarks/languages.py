"""Every language by meaning: passages, photographs, a mixed folder, confidences and speed, several models side by side.

    python benchmarks/languages.py [--model NAME|FOLDER ...] [--dev] [--only xquad,flickr,folder,trust,speed]

Parts: *xquad* asks passages in their own language and across languages, and indexes that hold two languages. *flickr*
asks photographs in English and in Chinese, and captions with photographs. *folder* asks a folder of documents in two
languages and photographs (labels/two-languages). *trust* measures abstention and calibration by pair of languages.
*speed* measures the text towers.

Everything is asked with ``Collection.search`` and ``Collection.ask``. ``--dev`` uses the halves for choices (even
paragraphs, the last 300 dev pictures, even documents) and writes nothing. Indexes are kept below ``COMMONPLACE_WORK``, by
model and by the code that they depend on. A run of some parts replaces these parts of the table alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import commonplace as cp
import household
import tower_speed
from answers import xquad
from common import RESULTS, ROOT, data, flickr8k, keep, machine, table
from commonplace.encoders import Bundle, find
from trust import auroc, gibberish
from worlds import HELD, Outcome, calibration_error

KS = (1, 5, 10)
MISSED = 1_000_000  # the rank of what was not found
ROUNDS = 2000
OTHERS = ("de", "es", "ru", "ar")
PAIRS = (("zh", "zh"), ("en", "en"), ("zh", "en"), ("en", "zh"))
"""Language of the question, language of the documents."""
BARS = {
    "zh-zh": (1, 94), "en-en": (1, 95), "zh-en": (5, 90), "en-zh": (5, 91),
    **{f"{code}-{code}": (5, 95) for code in OTHERS}, **{f"en-{code}": (5, 75) for code in OTHERS},
    "en text->image": (10, 73.5), "zh text->image": (10, 60),
}  # fmt: skip
"""k and R@k in percent, by languages or direction."""
STORED_BY = ("text", "readers", "store", "ingest", "indexer.py", "records.py", "metadata.py", "types.py")
"""The code that decides what an index holds."""

Ranks = NDArray[np.int64]
Values = dict[str, Any]
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Half:
    """The half of the data that is asked, and how many questions of each kind (``None``: all)."""

    dev: bool
    limit: int | None

    @property
    def split(self) -> str:
        return "dev" if self.dev else "test"

    def sample(self, rows: Sequence[Row], times: int = 1) -> list[Row]:
        """Return ``times`` the limit of the rows, drawn alike for lists of the same length."""
        if self.limit is None or len(rows) <= times * self.limit:
            return list(rows)
        return [rows[n] for n in sorted(np.random.default_rng(0).permutation(len(rows))[: times * self.limit].tolist())]


# --- models and their collections ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """The documents that a search returned, best first and each once, with the confidence of its best hit."""

    ids: list[str]
    confidences: list[float]

    def rank(self, right: Collection[str]) -> int:
        """Return the rank, from 0, of the first document in ``right``."""
        return next((rank for rank, id_ in enumerate(self.ids) if id_ in right), MISSED)

    def without(self, right: Collection[str]) -> Found:
        """Return the same without the documents in ``right``."""
        kept = [n for n, id_ in enumerate(self.ids) if id_ not in right]
        return Found([self.ids[n] for n in kept], [self.confidences[n] for n in kept])

    @property
    def best(self) -> float:
        return max(self.confidences, default=0.0)


class Subject:
    """A model to measure, and its collections. What was searched once is remembered for other parts of the run."""

    def __init__(self, name: str) -> None:
        self.label = Path(name).name
        self.folder = find(name)
        self.bundle = Bundle(self.folder)
        remember(self.bundle.text)
        self._kept = work() / f"{self.bundle.fingerprint[:12]}-{code_version()}"
        self._open: dict[str, cp.Collection] = {}
        self._searched: dict[tuple[str, int, tuple[str, ...]], list[Found]] = {}

    def collection(self, name: str, records: Callable[[], Iterable[cp.Record]]) -> cp.Collection:
        """Return the collection of these records, made at its first use."""
        if name not in self._open:
            place = self._kept / name
            if not place.exists():
                self._kept.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=self._kept) as shadow:  # an interrupted one is never used
                    with cp.open(Path(shadow) / "new", model=self.bundle) as kb:
                        print(f"{self.label}, {name}:", kb.add(records(), progress=False, ocr=False), flush=True)
                        if kb.documents(failed=True):  # a reader's time may be up on a busy machine
                            kb.add(records(), progress=False, ocr=False, retry_failed=True)
                        if failed := kb.documents(failed=True):
                            raise SystemExit(f"{name}: {len(failed)} documents could not be added; {failed[0]}")
                    if not place.exists():
                        (Path(shadow) / "new").rename(place)
            self._open[name] = cp.open(place, model=self.bundle)
        return self._open[name]

    def search(self, name: str, records: Callable[[], Iterable[cp.Record]], questions: Sequence[str]) -> list[Found]:
        """Return the first ten documents for each question, as shipped."""
        key = (name, len(questions), tuple(questions))
        if key not in self._searched:
            kb = self.collection(name, records)
            start = time.perf_counter()
            self._searched[key] = documents(kb.search(list(questions), k=2 * max(KS)))
            each = 1000 * (time.perf_counter() - start) / max(len(questions), 1)
            print(f"{self.label}, {name}: {len(questions)} questions, {each:.1f} ms each", flush=True)
        return self._searched[key]

    def close(self) -> None:
        for kb in self._open.values():
            kb.close()
        self._open.clear()


def remember(tower: Any) -> None:
    """Let a text tower encode each text once: several collections hold the same, and the same questions ask them."""
    encode, rows = tower.encode, {}

    def remembered(texts: Sequence[str], role: str = "document") -> NDArray[np.float32]:
        new = list(dict.fromkeys(text for text in texts if (text, role) not in rows))
        rows.update({(text, role): row for text, row in zip(new, encode(new, role), strict=True)})
        return np.array([rows[text, role] for text in texts], np.float32).reshape(-1, tower.dim)

    tower.encode = remembered


def documents(results: Iterable[cp.Hits] | Iterable[list[cp.Hit]]) -> list[Found]:
    """Return the first ten documents of each search; a near-duplicate stands where it is shown."""
    outcomes = []
    for hits in results:
        best: dict[str, float] = {}
        for hit in hits:
            for item in (hit.item, *hit.near_duplicates):
                best.setdefault(item.document.id, hit.confidence)
        ids = list(best)[: max(KS)]
        outcomes.append(Found(ids, [best[id_] for id_ in ids]))
    return outcomes


def work() -> Path:
    """Return the folder of the kept indexes (COMMONPLACE_WORK)."""
    return (
        Path(os.environ.get("COMMONPLACE_WORK") or Path(tempfile.gettempdir()) / "commonplace-languages") / "languages"
    )


def code_version() -> str:
    """Return a hash of the code that decides what an index holds."""
    digest = hashlib.sha256()
    for name in STORED_BY:
        path = ROOT / "src" / "commonplace" / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


# --- figures -------------------------------------------------------------------------------------------------


def bootstrap(values: Iterable[float], seed: int = 0) -> list[float]:
    """Return the mean and its 95% bootstrap interval over questions.

    Resampling n values that take few different ones is one multinomial draw of their counts.
    """
    different, counts = np.unique(np.fromiter(values, float), return_counts=True)
    n = int(counts.sum())
    if not n:
        return [float("nan")] * 3
    means = np.random.default_rng(seed).multinomial(n, counts / n, ROUNDS) @ different / n
    return [float(counts @ different / n), *(float(v) for v in np.quantile(means, (0.025, 0.975)))]


def recall(ranks: Sequence[int] | Ranks) -> Values:
    """Return the number of questions, and R@k in percent with its interval."""
    places = np.asarray(ranks)
    return {"questions": len(places)} | {f"R@{k}": bootstrap(100.0 * (places < k)) for k in KS}


def text_cosine_ranks(kb: cp.Collection, questions: Sequence[str], right: Sequence[str], partition: str) -> Ranks:
    """Return the rank of each question's document by the bare cosine of the joint space, best item of a document."""
    rows, owners = vectors_of(kb, partition)
    queries = kb.embed_texts(questions, role="query")
    return cosine_ranks(queries @ rows.T, owners, [{id_} for id_ in right])


def cosine_ranks(scores: NDArray[np.float32], owners: Sequence[str], right: Sequence[Collection[str]]) -> Ranks:
    """Return the rank of the best right document by scores (questions, items)."""
    names, column = np.unique(owners, return_inverse=True)
    best = np.full((len(scores), len(names)), -np.inf, np.float32)
    for item, at in enumerate(column):
        np.maximum(best[:, at], scores[:, item], out=best[:, at])
    place = {name: n for n, name in enumerate(names.tolist())}
    wanted = [max((best[q, place[id_]] for id_ in ids if id_ in place), default=-np.inf) for q, ids in enumerate(right)]
    ranks = (best > np.array(wanted)[:, None]).sum(1)
    return np.where(np.isfinite(wanted), ranks, MISSED)


def vectors_of(kb: cp.Collection, partition: str) -> tuple[NDArray[np.float32], list[str]]:
    """Return the vectors (n, dim) of a partition's items and the ids of their documents."""
    items = [item for document in kb for item in kb.items(document)]
    rows = kb.store.vectors(partition, [item.id for item in items])
    there = np.flatnonzero(np.abs(rows).sum(1) > 0)  # the model cannot read the others
    return rows[there], [items[n].document.id for n in there.tolist()]


def cell(value: Values, key: int) -> str:
    """Return R@1 / 5 / 10, the interval behind R@``key``."""
    shown = []
    for k in KS:
        mean, low, high = value[f"R@{k}"]
        shown.append(f"{mean:.1f}" + (f" ({low:.1f} to {high:.1f})" if k == key else ""))
    return " / ".join(shown)


def differences(ranks_of: Mapping[str, Ranks], key: int) -> str:
    """Return the last model's R@k less the first's, question by question, with its interval."""
    if len(ranks_of) < 2:
        return ""
    first, last = (np.asarray(list(ranks_of.values())[n]) < key for n in (0, -1))
    mean, low, high = bootstrap(100.0 * (last.astype(float) - first))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def sided(
    rows: Mapping[str, Mapping[str, Ranks]], shown: Sequence[str], what: str, measure: str = "R@1 / 5 / 10"
) -> tuple[str, Values]:
    """Return a table of recalls, a row for each key of ``rows`` and a column for each model, and its values."""
    lines, values = [], {}
    for name, ranks_of in rows.items():
        key, bar = BARS.get(name, (5, None))
        values[name] = {label: recall(ranks) for label, ranks in ranks_of.items()}
        lines.append(
            [
                name if "->" in name else name.replace("-", " -> "),
                len(next(iter(ranks_of.values()))),
                "" if bar is None else f"R@{key} {bar:g}",
                *(cell(values[name][label], key) for label in shown),
                differences({label: ranks_of[label] for label in shown}, key),
            ]
        )
    head = [what, "questions", "bar", *(f"{label}, {measure}" for label in shown), "last less first"]
    if len(shown) < 2:
        head, lines = head[:-1], [line[:-1] for line in lines]
    return table(head, lines), values


# --- XQuAD ---------------------------------------------------------------------------------------------------


def passages(*codes: str) -> Callable[[], Iterable[cp.Record]]:
    """Return what gives XQuAD's 240 paragraphs in these languages."""
    return lambda: [cp.Record(p["context"], id=f"{code}{i}") for code in codes for i, p in enumerate(xquad(code))]


def halves(turn: int) -> tuple[Callable[[], Iterable[cp.Record]], list[str]]:
    """Return what gives each paragraph in one language only, and the language of each; ``turn`` 1 has the others."""
    chinese = (np.random.default_rng(0).permutation(len(xquad("zh"))) % 2 == turn).tolist()
    codes = ["zh" if is_chinese else "en" for is_chinese in chinese]
    texts = {code: xquad(code) for code in ("zh", "en")}
    return lambda: [cp.Record(texts[code][i]["context"], id=f"{code}{i}") for i, code in enumerate(codes)], codes


def questions_of(code: str, half: Half) -> tuple[list[str], list[int]]:
    """Return the questions of a half's paragraphs (even: dev), and the number of the paragraph that answers each."""
    asked = half.sample(
        [(qa["question"], i) for i, p in enumerate(xquad(code)) if i % 2 == (not half.dev) for qa in p["qas"]]
    )
    return [question for question, _ in asked], [i for _, i in asked]


def measure_xquad(subjects: Sequence[Subject], half: Half) -> tuple[str, Values]:
    """Measure passages by language of question and passage, and in an index of two languages."""
    shipped: dict[str, dict[str, Ranks]] = {}
    cosine: dict[str, dict[str, Ranks]] = {}
    mixed: dict[str, dict[str, Ranks]] = {}
    own_share: dict[str, dict[str, float]] = {}
    pairs = (*PAIRS, *((code, code) for code in OTHERS), *(("en", code) for code in OTHERS))
    for subject in subjects:
        for asking, held in pairs:
            questions, numbers = questions_of(asking, half)
            right = [f"{held}{i}" for i in numbers]
            name = f"xquad-{held}"
            found = subject.search(name, passages(held), questions)
            ranks = np.array([one.rank({id_}) for one, id_ in zip(found, right, strict=True)])
            shipped.setdefault(f"{asking}-{held}", {})[subject.label] = ranks
            ranks = text_cosine_ranks(subject.collection(name, passages(held)), questions, right, "text")
            cosine.setdefault(f"{asking}-{held}", {})[subject.label] = ranks
        for asking, other in (("zh", "en"), ("en", "zh")):
            questions, numbers = questions_of(asking, half)
            found = subject.search("xquad-both", passages("zh", "en"), questions)
            for kind, right_of in (
                ("either version", lambda i: {f"zh{i}", f"en{i}"}),
                ("the other language's version", lambda i, other=other: {f"{other}{i}"}),
            ):
                ranks = np.array([one.rank(right_of(i)) for one, i in zip(found, numbers, strict=True)])
                mixed.setdefault(f"both: asked in {asking}, {kind}", {})[subject.label] = ranks
            own = np.mean([id_.startswith(asking) for one in found for id_ in one.ids])
            own_share.setdefault(f"asked in {asking}", {})[subject.label] = float(100 * own)
            by_place: dict[str, list[int]] = {"its own language": [], "the other language": []}
            for turn in (0, 1):
                records, codes = halves(turn)
                found = subject.search(f"xquad-half{turn}", records, questions)
                for one, i in zip(found, numbers, strict=True):
                    kind = "its own language" if codes[i] == asking else "the other language"
                    by_place[kind].append(one.rank({f"{codes[i]}{i}"}))
            for kind, places in by_place.items():
                mixed.setdefault(f"halves: asked in {asking}, the answer is in {kind}", {})[subject.label] = np.array(
                    places
                )
    labels = [subject.label for subject in subjects]
    one, values = sided(shipped, labels, "question -> passages")
    bare, bare_values = sided(cosine, labels, "question -> passages")
    two, two_values = sided(mixed, labels, "index, question, what counts")
    shares = table(
        ["of the first ten in the index of both", *labels],
        [
            [name, *(f"{by[label]:.0f}% in the question's own language" for label in labels)]
            for name, by in own_share.items()
        ],
    )
    text = "\n\n".join(
        [
            "**XQuAD**, 240 passages a language, as shipped (words and meaning together)",
            one,
            "The same by the bare cosine of the text tower",
            bare,
            "**Two languages in one index**. *both*: every passage in Chinese and in English. *halves*: every passage in one of the "
            "two only, each in turn.",
            two,
            shares,
        ]
    )
    return text, {"shipped": values, "cosine": bare_values, "mixed": two_values, "own language share": own_share}


# --- Flickr8k ------------------------------------------------------------------------------------------------


def chinese_captions(split: str) -> dict[str, list[str]]:
    """Return picture name -> its five Chinese captions, written by people."""
    captions: dict[str, list[str]] = {}
    for line in (data("flickr8k_cn") / "flickr8kzhc.caption.txt").read_text(encoding="utf-8").splitlines():
        key, text = line.split(maxsplit=1)
        captions.setdefault(key.split("#")[0], []).append(text.strip().removesuffix("。"))
    return {name: captions[name] for name in flickr8k(split)}


def captions_in(code: str, half: Half) -> dict[str, list[str]]:
    """Return the captions of a split in ``en`` or ``zh``."""
    return (flickr8k if code == "en" else chinese_captions)(half.split)


def photographs(half: Half) -> Callable[[], Iterable[cp.Record]]:
    """Return what gives the photographs of a split."""
    images = data("flickr8k") / "images"
    return lambda: [cp.Record(image=images / name, id=name) for name in flickr8k(half.split)]


def asked_pictures(half: Half) -> list[str]:
    """Return the pictures that are asked for; of dev those that no training saw."""
    names = list(flickr8k(half.split))
    return names[HELD] if half.dev else names


def measure_flickr(subjects: Sequence[Subject], half: Half) -> tuple[str, Values]:
    """Measure photographs asked with captions, and captions asked with photographs, in English and Chinese."""
    shipped: dict[str, dict[str, Ranks]] = {}
    cosine: dict[str, dict[str, Ranks]] = {}
    names = asked_pictures(half)
    images = data("flickr8k") / "images"
    for subject in subjects:
        shown = subject.collection(f"photographs-{half.split}", photographs(half))
        picture_rows, picture_ids = vectors_of(shown, "image")
        asking = picture_rows[[picture_ids.index(name) for name in names]]
        for code in ("en", "zh"):
            captions = captions_in(code, half)
            questions = [text for name in names for text in captions[name]]
            right = [name for name in names for _ in captions[name]]
            direction = f"{code} text->image"
            asked = half.sample(list(zip(questions, right, strict=True)), 2)
            found = subject.search(f"photographs-{half.split}", photographs(half), [text for text, _ in asked])
            ranks = np.array([one.rank({name}) for one, (_, name) in zip(found, asked, strict=True)])
            shipped.setdefault(direction, {})[subject.label] = ranks
            cosine.setdefault(direction, {})[subject.label] = text_cosine_ranks(shown, questions, right, "image")
            records = [
                cp.Record(text, id=f"{name}#{n}") for name, texts in captions.items() for n, text in enumerate(texts)
            ]
            kb = subject.collection(f"captions-{code}-{half.split}", lambda records=records: records)  # type: ignore[misc]
            direction = f"image->{code} text"
            of_picture = {name: {f"{name}#{n}" for n in range(5)} for name in names}
            pictures = half.sample(names)
            found = documents(kb.search(image=images / name, k=2 * max(KS)) for name in pictures)
            ranks = np.array([one.rank(of_picture[name]) for one, name in zip(found, pictures, strict=True)])
            shipped.setdefault(direction, {})[subject.label] = ranks
            rows, owners = vectors_of(kb, "text")
            ranks = cosine_ranks(asking @ rows.T, owners, list(of_picture.values()))
            cosine.setdefault(direction, {})[subject.label] = ranks
    labels = [subject.label for subject in subjects]
    one, values = sided(shipped, labels, "direction")
    bare, bare_values = sided(cosine, labels, "direction")
    text = "\n\n".join(
        [
            f"**Flickr8k {half.split}**, 1,000 photographs, as shipped. Chinese captions are those written by people.",
            one,
            "The same by the bare cosine of the joint space",
            bare,
        ]
    )
    return text, {"shipped": values, "cosine": bare_values}


# --- a folder in two languages -------------------------------------------------------------------------------

OUTCOMES = {
    "found": "file in the first 3",
    "first": "first",
    "answered": "answered rightly",
    "silent": "wrongly silent",
}


def measure_folder(subjects: Sequence[Subject], half: Half, failures: bool = False) -> tuple[str, Values]:
    """Measure a folder of documents in Chinese and English with photographs, by language of question and document."""
    values: dict[str, Values] = {}
    for subject in subjects:
        outcomes: list[dict[str, Any]] = []
        for turn in (0, 1):
            kb = subject.collection(f"folder{turn}-{half.split}", lambda turn=turn: household.records(turn, half.dev))  # type: ignore[misc]
            outcomes += household.outcomes_of(kb, turn, half.dev)
        for one in outcomes if failures else []:
            if not one["answered"] or not one.get("found", True):
                print(subject.label, json.dumps(one, ensure_ascii=False))
        values[subject.label] = {
            "cells": {
                f"{asked} -> {held}": {"questions": len(cell_)} | {
                    name: bootstrap(100.0 * one[name] for one in cell_) for name in OUTCOMES if name in cell_[0]
                }
                for asked in household.LANGUAGES
                for held in (*household.LANGUAGES, "photographs", "nothing")
                if (cell_ := [one for one in outcomes if (one["asked"], one["held"]) == (asked, held)])
            },
            "chinese over english": against_english(outcomes),
        }  # fmt: skip
    parts = [
        f"**A folder in two languages** ({half.split} half): 24 short documents of a household, a firm, a club and manuals, each in "
        f"Chinese or in English, in turn; {household.PHOTOGRAPHS} photographs. Percent, with 95% bootstrap intervals over questions. Of "
        "photographs *answered* means that *show me* shows it, of *nothing* that the answer abstains.",
    ]
    for label, value in values.items():
        lines = [
            [name, cell_["questions"], *(percent(cell_[kind]) if kind in cell_ else "" for kind in OUTCOMES)]
            for name, cell_ in value["cells"].items()
        ]
        parts.append(table([label, "questions", *OUTCOMES.values()], lines))
        lines = [[name, f"{100 * ratio:.0f}% ({100 * low:.0f} to {100 * high:.0f})"]
                 for name, (ratio, low, high) in value["chinese over english"].items()]  # fmt: skip
        parts.append(
            table([f"{label}: questions in Chinese, against the same in English (bar 85%, goal 95%)", "ratio"], lines)
        )
    return "\n\n".join(parts), values


def percent(value: Sequence[float]) -> str:
    mean, low, high = value
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"


def against_english(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return, by measure, the success of questions in Chinese over that of the same in English, with its interval."""
    measures = {
        "documents: file in the first 3": ("found", ("zh", "en")),
        "documents: answered rightly": ("answered", ("zh", "en")),
        "photographs: in the first 3": ("found", ("photographs",)),
        "photographs: shown when asked for": ("answered", ("photographs",)),
        "nothing: rightly silent": ("answered", ("nothing",)),
        "all of it: answered rightly, shown, or rightly silent": ("answered", ("zh", "en", "photographs", "nothing")),
    }
    draw = np.random.default_rng(0)
    ratios = {}
    for name, (measure, held) in measures.items():
        by = {
            code: np.array([one[measure] for one in outcomes if one["asked"] == code and one["held"] in held], float)
            for code in household.LANGUAGES
        }
        rows = draw.integers(0, len(by["zh"]), (ROUNDS, len(by["zh"])))  # the same questions in both languages
        means = {code: np.maximum(values[rows].mean(1), 1e-9) for code, values in by.items()}
        low, high = np.quantile(means["zh"] / means["en"], (0.025, 0.975))
        ratios[name] = [float(by["zh"].mean() / max(by["en"].mean(), 1e-9)), float(low), float(high)]
    return ratios


# --- confidences ---------------------------------------------------------------------------------------------


def chinese_gibberish(count: int) -> list[str]:
    """Return noise in Chinese: common characters (the first level of GB 2312) drawn at random."""
    draw = np.random.default_rng(0)

    def character() -> str:
        return bytes([draw.integers(0xB0, 0xD7), draw.integers(0xA1, 0xFF)]).decode("gb2312")

    return ["".join(character() for _ in range(draw.integers(4, 16))) for _ in range(count)]


def unanswerable(code: str, half: Half) -> dict[str, list[str]]:
    """Return questions that no passage of XQuAD answers, by kind."""
    noise = (gibberish if code == "en" else chinese_gibberish)(300)
    everyday = (ROOT / "benchmarks" / "labels" / f"everyday-{code}.txt").read_text(encoding="utf-8").splitlines()
    captions = captions_in(code, half)
    return {
        "gibberish": half.sample(noise[not half.dev :: 2]),
        "everyday questions": everyday[not half.dev :: 2],
        "captions": half.sample([captions[name][0] for name in asked_pictures(half)]),
    }


def trust_row(
    answered: Sequence[Found], right: Sequence[Collection[str]], others: Mapping[str, Sequence[Found]]
) -> Values:
    """Return AUROC by kind of unanswerable question, the calibration error of ten hits, and medians of the best hit."""
    best = np.array([one.best for one in answered])
    gains = [dict.fromkeys(ids, 1.0) for ids in right]
    row: Values = {
        "auroc": {kind: auroc(best, np.array([one.best for one in found])) for kind, found in others.items()},
        "error": calibration_error([Outcome(one.ids, one.confidences) for one in answered], gains),
        "mean confidence": float(np.mean([c for one in answered for c in one.confidences] or [0.0])),
        "relevant": float(
            np.mean([id_ in ids for one, ids in zip(answered, right, strict=True) for id_ in one.ids] or [0.0])
        ),
        "median": {"answered": float(np.median(best))},
    }
    row["median"] |= {kind: float(np.median([one.best for one in found])) for kind, found in others.items()}
    return row


def measure_trust(subjects: Sequence[Subject], half: Half) -> tuple[str, Values]:
    """Measure abstention and calibration by language of question and documents."""
    values: dict[str, Values] = {}
    for subject in subjects:
        rows: Values = {}
        for asking, held in PAIRS:
            questions, numbers = questions_of(asking, half)
            name, right = f"xquad-{held}", [{f"{held}{i}"} for i in numbers]
            found = subject.search(name, passages(held), questions)
            others = {
                kind: subject.search(name, passages(held), texts) for kind, texts in unanswerable(asking, half).items()
            }
            others["its passage removed"] = [one.without(ids) for one, ids in zip(found, right, strict=True)]
            rows[f"{asking} -> passages in {held}"] = trust_row(found, right, others)
        answered: list[Found] = []
        right = []
        others = {}
        for asking in ("zh", "en"):  # one threshold for both languages
            questions, numbers = questions_of(asking, half)
            found = subject.search("xquad-both", passages("zh", "en"), questions)
            mine = [{f"zh{i}", f"en{i}"} for i in numbers]
            for kind, texts in unanswerable(asking, half).items():
                others.setdefault(kind, []).extend(subject.search("xquad-both", passages("zh", "en"), texts))
            others.setdefault("its passage removed", []).extend(
                one.without(ids) for one, ids in zip(found, mine, strict=True)
            )
            answered += found
            right += mine
        rows["zh and en -> passages in both"] = trust_row(answered, right, others)
        for asking in ("zh", "en"):
            captions = captions_in(asking, half)
            pictures = half.sample(asked_pictures(half))
            questions = [captions[name][0] for name in pictures]
            found = subject.search(f"photographs-{half.split}", photographs(half), questions)
            texts_of = unanswerable(asking, half) | {"XQuAD's questions": questions_of(asking, half)[0]}
            del texts_of["captions"]
            others = {
                kind: subject.search(f"photographs-{half.split}", photographs(half), texts)
                for kind, texts in texts_of.items()
            }
            rows[f"{asking} -> photographs"] = trust_row(found, [{name} for name in pictures], others)
        values[subject.label] = rows
    kinds = list(dict.fromkeys(kind for rows in values.values() for row in rows.values() for kind in row["auroc"]))
    parts = [
        "**Abstention and calibration** by language (XQuAD's passages; Flickr8k's photographs). AUROC of the best hit's "
        "confidence, questions that have an answer against those that have none; bar .95 in Chinese, not where the passage was "
        "removed. Calibration: expected error of ten hits over ten bins; bar .05.",
    ]
    for label, rows in values.items():
        lines = [
            [
                name,
                *(f"{row['auroc'][kind]:.3f}" if kind in row["auroc"] else "" for kind in kinds),
                f"{row['error']:.3f}",
                f"{row['mean confidence']:.3f}",
                f"{row['relevant']:.3f}",
                f"{row['median']['answered']:.2f}",
                f"{row['median']['everyday questions']:.3f}",
            ]
            for name, row in rows.items()
        ]
        head = [label, *(f"AUROC, {kind}" for kind in kinds), "calibration error", "mean confidence", "share relevant",
                "best hit, median", "of everyday questions"]  # fmt: skip
        parts.append(table(head, lines))
    return "\n\n".join(parts), values


def measure_speed(subjects: Sequence[Subject], half: Half, baseline: str | None = None) -> tuple[str, Values]:
    """Measure the text towers; see tower_speed.py."""
    return tower_speed.measure({subject.label: subject.folder for subject in subjects}, work(), baseline)


# --- the whole -----------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[..., tuple[str, Values]]] = {
    "xquad": measure_xquad,
    "flickr": measure_flickr,
    "folder": measure_folder,
    "trust": measure_trust,
    "speed": measure_speed,
}


def main() -> None:
    """Measure, print and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="name or folder of a bundle; several are compared")
    parser.add_argument("--dev", action="store_true", help="the halves for choices; writes nothing")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--questions", type=int, help="of each kind, 0: all (default: 120 with --dev, else 300)")
    parser.add_argument("--baseline", help="speed: interpreter with torch, to compare with")
    parser.add_argument("--failures", action="store_true", help="folder: print what went wrong, question by question")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"--only {','.join(unknown)}: choose from {', '.join(PARTS)}")
    limit = options.questions if options.questions is not None else 120 if options.dev else 300
    half = Half(options.dev, limit or None)
    subjects = [Subject(name) for name in options.model or ["minilm-lite0"]]
    file = RESULTS / "languages.json"
    kept: Values = json.loads(file.read_text(encoding="utf-8")) if file.exists() and not options.dev else {}
    for name in names:
        start = time.perf_counter()
        extra = {"speed": {"baseline": options.baseline}, "folder": {"failures": options.failures}}.get(name, {})
        text, values = PARTS[name](subjects, half, **extra)
        kept[name] = {"measured on": machine(), "text": text, "values": values}
        print(f"\n{text}\n\n({name}: {time.perf_counter() - start:.0f} s)\n", flush=True)
    for subject in subjects:
        subject.close()
    if not options.dev:
        texts = [f"{kept[name]['text']}\n\nMeasured on {kept[name]['measured on']}." for name in PARTS if name in kept]
        keep("languages", "\n\n".join(texts), kept)


if __name__ == "__main__":
    main()
