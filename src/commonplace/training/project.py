"""Projection heads on frozen towers: from pairs to a bundle that searches, if it is better than what was there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from commonplace.encoders import Bundle, find
from commonplace.encoders.hub import beside
from commonplace.encoders.neutral import describe
from commonplace.errors import ModelError, TrainingError
from commonplace.training.calibrate import bank, evidence, hubness
from commonplace.training.features import VIEWS, picture_features, text_vectors, tower_key, unreadable
from commonplace.training.heads import Data, Fitted, Perceptron, Recipe, canonical, device, fit, linear_maps
from commonplace.training.judge import Judged, Verdict, chance, compare, judge, judge_bundle
from commonplace.training.pairs import Pairs, Split, read_pairs
from commonplace.training.product import card, components, copy_towers, head_graph, save, seal

__all__ = ["Held", "Project", "data_of", "licence", "measured", "project", "rows_of", "to_be_beaten"]

Floats = NDArray[np.float32]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
DEV, TEST = 1000, 2000  # pictures of each that are judged, at most: ranking grows with their square


@dataclass(frozen=True, slots=True)
class Project:
    """What came of a training: the bundle's folder, the verdict on the hold-out, and what went wrong on the way."""

    folder: Path
    verdict: Verdict
    notes: tuple[str, ...]


def project(
    source: str | os.PathLike[str] | Pairs,
    text_model: str | os.PathLike[str],
    image_model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    recipe: Recipe | None = None,
    members: int = 2,
    pictures: str | os.PathLike[str] | None = None,
    start: str | os.PathLike[str] | None = None,
    force: bool = False,
    seed: int = 0,
    told: Callable[[str], object] = lambda _: None,
) -> Project:
    """Train heads that map pictures of ``image_model`` into the space of ``text_model``; write a bundle to ``out``.

    The towers stay as they are; with ``Recipe.text_head`` texts are mapped too. Where both towers are of one model,
    what is learned is added to what that model makes of a picture. ``members`` heads are averaged. The bundle takes its
    place only if held-out pairs are found better, by a paired test, than by ``start`` (a model; default: the bundle in
    ``out``; else the model that it goes on from; else chance), or with ``force``. ``told`` gets lines on the way.

    Raises TrainingError and ModelError in one line.
    """
    recipe = recipe or Recipe()
    if members < 1 or recipe.batch < 2 or recipe.views < 1 or recipe.hidden < 0 or not recipe.learning_rate > 0:
        raise TrainingError(
            "a recipe needs one head or more, two pictures a step, one view, and a learning rate over 0"
        )
    folder = Path(out).expanduser().absolute()
    if folder.exists() and not (folder / "bundle.json").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise TrainingError(f"{folder} is there and no model: give another folder with --out")
    text, image = _open(text_model, "text"), _open(image_model, "image")
    before = to_be_beaten(start, folder, force)
    pairs = source if isinstance(source, Pairs) else read_pairs(source, pictures=pictures, seed=seed)
    started = time.monotonic()
    with tqdm(total=len(pairs), desc="pictures", unit="", disable=None) as bar:
        features = picture_features(image, pairs, VIEWS[: recipe.views], bar.update)
        if bad := unreadable(pairs, features):
            good = np.array([path not in bad for path in pairs.pictures])
            pairs, features = pairs.without(bad), features[:, good]
        texts = text_vectors(text, pairs.captions)
        bar.reset(members * recipe.length(len(pairs.part("train")))[1])
        bar.set_description("training")
        base = _base(text, image)
        data, dev = data_of(pairs, features, texts, base)
        heads = [_one(recipe, data, dev, seed + i, bar.update) for i in range(members)]
    for line in pairs.report():
        told(line)
    notes = [f"head {i}: {one.broken}; the best before that was kept" for i, one in enumerate(heads) if one.broken]
    facts = {
        "method": "projection heads on frozen towers",
        "data": pairs.name,
        "digest": pairs.digest,
        "seed": seed,
        "pictures": {split: len(pairs.part(split)) for split in SPLITS},
        "captions": len(pairs.captions),
        "left_out": len(pairs.bad),
        "recipe": asdict(recipe) | {"members": members},
        "best_steps": [one.step for one in heads],
        "seconds": round(time.monotonic() - started),
        "device": torch.cuda.get_device_name() if device() == "cuda" else "a CPU",
        "text_model": _facts(text),
        "image_model": _facts(image),
    }
    with beside(folder, folder.name) as made:
        spec = _write(made, folder.name, text, image, base, heads, pairs, features, facts)
        first = before or (image if base is not None else None)
        test = Pairs(pairs.name, tuple(pairs.pairs[i] for i in rows_of(pairs, "test", TEST)))
        rows = (
            {"chance": chance(test.owner)} if first is None else {f"before ({first.name})": judge_bundle(first, test)}
        )
        rows |= {"closed form": _closed(pairs, features, texts), "trained": judge_bundle(Bundle(made), test)}
        verdict = compare(rows, seed)
        spec["quality"] = {"test": verdict.dict()}
        spec["notes"] = [*spec["notes"], *notes]
        save(made, spec)
        (made / "README.md").write_text(card(spec, verdict.table()), encoding="utf-8")
        for line in verdict.table():
            told(line)
        if not (verdict.better or force):
            raise TrainingError(_refusal(verdict, folder, next(iter(rows))))
    return Project(folder, verdict, tuple(notes))


def data_of(
    pairs: Pairs, features: Floats, texts: Floats, base: Callable[[Floats], Floats] | None = None
) -> tuple[Data, Data]:
    """Return the training and the dev split as tensors, of the ``pairs``' features (V, N, F) and texts (C, D).

    ``base`` makes of features the unit rows that heads add to.
    """
    found = []
    for split in SPLITS[:2]:
        at = rows_of(pairs, split, DEV if split == "dev" else len(pairs))
        views = features[: None if split == "train" else 1][:, at]
        count = np.array([len(pairs.pairs[i].captions) for i in at])
        rows = np.isin(pairs.owner, at)
        words = [caption.casefold() for caption, one in zip(pairs.captions, rows, strict=True) if one]
        number = {word: i for i, word in enumerate(dict.fromkeys(words))}
        equal = torch.tensor([number[word] for word in words]) if len(number) < len(words) else None
        own = None if base is None else torch.from_numpy(np.stack([base(view) for view in views]))
        first = torch.from_numpy(np.cumsum(count) - count)
        found.append(
            Data(torch.from_numpy(views), torch.from_numpy(texts[rows]), first, torch.from_numpy(count), equal, own)
        )
    return found[0], found[1]


def _one(recipe: Recipe, data: Data, dev: Data, seed: int, tick: Callable[[int], object]) -> Fitted:
    owner = torch.repeat_interleave(torch.arange(len(dev.count)), dev.count).numpy()
    where = device()
    shown = dev.to(where)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def score(head: Perceptron, text_head: Perceptron | None) -> float:
        found = head(shown.views[0], None if shown.base is None else shown.base[0])
        read = shown.captions if text_head is None else text_head(shown.captions)
        if not torch.isfinite(found).all():
            return float("nan")
        return judge(read.cpu().numpy(), found.cpu().numpy(), owner).mean

    return fit(recipe, data, seed, score=score, where=where, tick=tick)


def _write(
    made: Path, name: str, text: Bundle, image: Bundle, base: Callable[[Floats], Floats] | None, heads: list[Fitted],
    pairs: Pairs, features: Floats, facts: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Write everything but the figures into ``made``; return what its ``bundle.json`` says."""
    towers = copy_towers(made, text, image)
    old = image.spec["towers"]["image"].get("head") if base is not None else None
    train = np.array([pair.split == "train" for pair in pairs.pairs])
    look = None if old and old.get("look") else components(features[0, train], text.dim)
    graph = head_graph(
        [linear_maps(one.head) for one in heads], features.shape[2], text.dim,
        base=image.folder / old["file"] if old else None, base_spec=old, on_features=base is not None and not old,
        look=look,
    )  # fmt: skip
    (made / "head.onnx").write_bytes(graph)
    towers["image"]["head"] = {"file": "head.onnx", "input": "features", "output": "embedding", "look": "look"}
    if heads[0].text_head is not None:
        if "head" in towers["text"]:
            raise TrainingError(f"the model {text.name} has a text head already: train without --text-head")
        maps = [linear_maps(one.text_head) for one in heads if one.text_head is not None]
        (made / "text-head.onnx").write_bytes(head_graph(maps, text.dim, text.dim))
        towers["text"]["head"] = {"file": "text-head.onnx", "input": "features", "output": "embedding"}
    spec: dict[str, Any] = {
        "name": name,
        "dim": text.dim,
        "description": f"{text.name} for text, {image.name} for pictures, and a head trained on {pairs.name} that maps "
        "pictures into the text tower's space.",
        "licence": licence(text, image),
        "languages": text.spec.get("languages", []),
        "towers": towers,
        "notes": [],
        "training": facts,
    }
    save(made, seal(made, spec))
    bundle = Bundle(made)
    assert bundle.image is not None
    shown = bundle.image.project(features[0])["image"]
    asked = text_vectors(bundle, pairs.captions)
    dev = rows_of(pairs, "dev", DEV)
    of_dev, of_train = np.isin(pairs.owner, dev), np.isin(pairs.owner, np.flatnonzero(train))
    held = Held(pairs, dev, asked[of_dev], shown[dev])
    # What is known of its texts stays true where they have no head.
    return measured(made, spec, held, asked[of_train], shown[train], {} if "head" in towers["text"] else text.spec)


@dataclass(frozen=True)
class Held:
    """Dev pictures (rows ``at`` of ``pairs``) as a model sees them: unit rows ``asked`` (C, D) of their captions as
    questions, ``shown`` (N, D) of themselves."""

    pairs: Pairs
    at: NDArray[np.int64]
    asked: Floats
    shown: Floats


def measured(
    made: Path, spec: dict[str, Any], held: Held, asked: Floats, shown: Floats, known: dict[str, Any]
) -> dict[str, Any]:
    """Return ``spec`` with what the scores of the bundle in ``made`` are worth, sealed; its banks are written.

    ``asked`` and ``shown`` are unit rows of training captions and pictures, ``known`` the spec whose knowledge of texts
    stays true, or nothing.
    """
    found, _ = describe(Bundle(made))
    of_dev = np.isin(held.pairs.owner, held.at)
    owner = np.searchsorted(held.at, held.pairs.owner[of_dev])
    of_texts, of_pictures = bank(asked), bank(shown)
    np.savez(made / "bank.npz", image=of_texts.astype(np.float16), text=of_pictures.astype(np.float16))
    spec["bias"] = hubness(held.asked, held.shown, owner, of_texts, of_pictures)
    save(made, seal(made, spec))
    bundle = Bundle(made)
    captions = [caption for caption, one in zip(held.pairs.captions, of_dev, strict=True) if one]
    read = text_vectors(bundle, captions, "document")
    less, text_less = bundle.hubness("image", held.shown), bundle.hubness("text", read)
    assert less is not None and text_less is not None
    background, chances, curves = evidence(held.asked, read, held.shown, owner, less, text_less)
    learned = found["evidence"]
    spec["background"] = found["background"] | background
    spec["evidence"] = {**learned, "chance": chances, "curves": learned["curves"] | curves}
    spec |= {name: found[name] for name in ("brevity",) if name in found}
    _keep_texts(spec, known)
    means = {"text": asked.mean(0).round(5).tolist(), "image": shown.mean(0).round(5).tolist()}
    spec["means"] = {"query": means, "document": means}
    note = f"scores between words and pictures were measured on {len(held.at)} held-out pictures of {held.pairs.name}"
    spec["notes"] = [*spec["notes"], note]
    return seal(made, spec)


def _keep_texts(spec: dict[str, Any], known: dict[str, Any]) -> None:
    arm = "text->text"
    if arm in known.get("background", {}):
        spec["background"][arm] = known["background"][arm]
    for name in ("chance", "curves"):
        if arm in (known.get("evidence") or {}).get(name, {}):
            spec["evidence"][name][arm] = known["evidence"][name][arm]


def _closed(pairs: Pairs, features: Floats, texts: Floats) -> Judged:
    """Return how canonical correlations, without any training, rank the test pictures."""
    train, _ = data_of(pairs, features[:1], texts)
    means = torch.stack([rows.mean(0) for rows in train.captions.split(train.count.tolist())])  # (N, D)
    weights, bias = canonical(train.views[0], means)
    test = rows_of(pairs, "test", TEST)
    shown = torch.nn.functional.normalize(torch.from_numpy(features[0, test]) @ weights + bias, dim=-1)
    own = np.isin(pairs.owner, test)
    return judge(texts[own], shown.numpy(), np.searchsorted(test, pairs.owner[own]))


def rows_of(pairs: Pairs, split: Split, most: int) -> NDArray[np.int64]:
    """Return the rows of a split's pictures, evenly at most ``most``."""
    at = np.flatnonzero([pair.split == split for pair in pairs.pairs])
    return np.asarray(at[np.unique(np.linspace(0, len(at) - 1, min(most, len(at))).astype(int))])


def _open(model: str | os.PathLike[str], kind: Literal["text", "image"]) -> Bundle:
    bundle = Bundle(find(model))
    if getattr(bundle, kind) is None:
        raise ModelError(f"the model {bundle.name} has no {kind} tower: choose another for --{kind}-model")
    bundle.verify()
    return bundle


def to_be_beaten(start: str | os.PathLike[str] | None, folder: Path, force: bool) -> Bundle | None:
    """Return the model that is to be beaten, if one is named or stands in ``folder``."""
    if start is None and not (folder / "bundle.json").is_file():
        return None
    try:
        bundle = Bundle(folder if start is None else find(start))
        bundle.verify()
    except ModelError as problem:
        if start is None and force:
            return None
        raise TrainingError(f"the model to be beaten: {problem}; or replace it unseen with --force") from problem
    if bundle.text is None or bundle.image is None:
        raise TrainingError(f"the model {bundle.name} has not both towers: name another with --start")
    return bundle


def _base(text: Bundle, image: Bundle) -> Callable[[Floats], Floats] | None:
    """Return what places features in the text tower's space already: the image model's own way, where it has the same
    text tower."""
    tower = image.image
    if tower is None or image.text is None or tower_key(text, "text") != tower_key(image, "text"):
        return None
    return lambda features: tower.project(features)["image"]


def licence(text: Bundle, image: Bundle) -> str:
    said = [str(one.spec.get("licence", "not stated")) for one in (text, image)]
    return said[0] if said[0] == said[1] else f"text tower: {said[0]}; image tower: {said[1]}"


def _facts(bundle: Bundle) -> dict[str, str]:
    return {"name": bundle.name, "fingerprint": bundle.fingerprint}


def _refusal(verdict: Verdict, folder: Path, before: str) -> str:
    how = "worse than" if verdict.worse else "not surely better than"
    left = "the model there stays" if (folder / "bundle.json").is_file() else "nothing was written"
    return (
        f"what was trained is {how} {before} on {verdict.difference.count} held-out pictures "
        f"({100 * verdict.difference.mean:+.1f} points, p = {verdict.p:.2f}): {left}; --force takes it all the same"
    )
