"""Training of projection heads on frozen towers. The result is a bundle, kept only if it beats the model before it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from commonplace.encoders import Bundle, find
from commonplace.encoders.hub import beside
from commonplace.errors import ModelError, TrainingError
from commonplace.i18n import _
from commonplace.training.features import VIEWS, picture_features, text_vectors, tower_key, unreadable
from commonplace.training.heads import Data, Fitted, HeadRecipe, closed_form, device_name, fit, linear_maps, scorer
from commonplace.training.judge import Verdict, chance, compare, judge, judge_bundle
from commonplace.training.options import RunOptions, RunSettings
from commonplace.training.pairs import Pairs, Split, read_pairs
from commonplace.training.product import (
    Held,
    card,
    components,
    copy_towers,
    head_graph,
    measured,
    model_folder,
    save,
    seal,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["DEV", "TEST", "Project", "licence", "project", "to_be_beaten"]

Floats = NDArray[np.float32]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
DEV, TEST = 1000, 2000  # most pictures of a split that are evaluated: the cost of ranking is quadratic


@dataclass(frozen=True, slots=True)
class Project:
    """The result of a training: the bundle's folder, the verdict on the test split, and notes on problems."""

    folder: Path
    verdict: Verdict
    notes: tuple[str, ...]


def project(
    source: str | os.PathLike[str] | Pairs,
    text_model: str | os.PathLike[str],
    image_model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    recipe: HeadRecipe | None = None,
    members: int = 2,
    seed: int = 0,
    **options: Unpack[RunOptions],
) -> Project:
    """Train heads that map pictures of ``image_model`` into the space of ``text_model``; write a bundle to ``out``.

    The towers are not changed. With ``HeadRecipe.text_head``, one more head maps the texts. If both towers belong to
    one model, the head's output is added to that model's vector of a picture. The outputs of ``members`` heads are
    averaged; ``seed`` also draws the splits. The bundle is written only if it retrieves held-out pairs better, by a
    paired test, than the model ``start``; ``force`` writes it in any case. For ``options`` see
    ``commonplace.training.options.RunOptions``.

    Raises TrainingError or ModelError, each with a message of one line.
    """
    run = RunSettings(**options)
    recipe = recipe or HeadRecipe()
    if members < 1 or recipe.batch < 2 or recipe.views < 1 or recipe.hidden < 0 or not recipe.learning_rate > 0:
        raise TrainingError(
            _("a recipe needs at least one head, two pictures a step and one view, and a learning rate above 0")
        )
    folder = model_folder(out)
    text, image = _open(text_model, "text"), _open(image_model, "image")
    before = to_be_beaten(run.start, folder, run.force)
    if recipe.text_head and "head" in text.spec["towers"]["text"]:
        raise TrainingError(
            _("the model {name} already has a text head: train without --text-head").format(name=text.name)
        )
    members = 1 if recipe.text_head else members  # a text head fits only the head it was trained with
    pairs = source if isinstance(source, Pairs) else read_pairs(source, pictures=run.pictures, seed=seed)
    for line in pairs.report():
        run.log_line(line)
    started = time.monotonic()
    with tqdm(total=len(pairs), desc=_("pictures"), unit="", disable=None) as bar:
        features = picture_features(image, pairs, VIEWS[: recipe.views], bar.update)
        if bad := unreadable(pairs, features):
            good = np.array([path not in bad for path in pairs.pictures])
            pairs, features = pairs.without(bad), features[:, good]
            run.log_line(
                _("{count} more skipped: {name}: {bad}").format(
                    count=len(bad), name=next(iter(bad)).name, bad=next(iter(bad.values()))
                )
                + " ..." * (len(bad) > 1)
            )
        texts = text_vectors(text, pairs.captions)
        bar.reset(members * recipe.length(len(pairs.part("train")))[1])
        bar.set_description(_("training"))
        base = _base(text, image)
        data = Data.of(pairs, pairs.rows("train"), features, texts, base)
        dev = Data.of(pairs, pairs.rows("dev", DEV), features[:1], texts, base)
        heads = [fit(recipe, data, seed + i, score=scorer(dev), tick=bar.update) for i in range(members)]
    notes = [
        _("head {number}: {broken}; its best state was kept").format(number=i, broken=head.broken)
        for i, head in enumerate(heads)
        if head.broken
    ]
    facts = {
        "method": "projection heads on frozen towers",
        "data": pairs.name,
        "digest": pairs.digest,
        "seed": seed,
        "pictures": {split: len(pairs.part(split)) for split in SPLITS},
        "captions": len(pairs.captions),
        "left_out": len(pairs.bad),
        "recipe": asdict(recipe) | {"members": members},
        "best_steps": [head.step for head in heads],
        "seconds": round(time.monotonic() - started),
        "device": device_name(),
        "text_model": _facts(text),
        "image_model": _facts(image),
    }
    with beside(folder, folder.name) as draft:
        spec = _write(draft, (text, image), base, heads, pairs, features, {**facts, "name": folder.name})
        first = before or (image if base is not None else None)
        held = pairs.rows("test", TEST)
        test = Pairs(pairs.name, tuple(pairs.pairs[i] for i in held))
        rows = (
            {"chance": chance(test.owner)} if first is None else {f"before ({first.name})": judge_bundle(first, test)}
        )
        rows["closed form"] = judge(texts[np.isin(pairs.owner, held)], closed_form(data)(features[0, held]), test.owner)
        rows["trained"] = judge_bundle(Bundle(draft), test)
        verdict = compare(rows, seed)
        spec["quality"] = {"test": verdict.dict()}
        spec["notes"] += notes
        save(draft, spec)
        (draft / "README.md").write_text(card(spec, verdict.table("en")), encoding="utf-8")
        for line in verdict.table():
            run.log_line(line)
        if not (verdict.better or run.force):
            raise TrainingError(_refusal(verdict, folder, next(iter(rows))))
    return Project(folder, verdict, tuple(notes))


def _write(
    draft: Path, towers: tuple[Bundle, Bundle], base: Callable[[Floats], Floats] | None, heads: list[Fitted],
    pairs: Pairs, features: Floats, facts: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Write the bundle, without its test figures, into ``draft``; return the content of its ``bundle.json``."""
    text, image = towers
    draft_name = facts.pop("name")
    copied = copy_towers(draft, text, image)
    old = image.spec["towers"]["image"].get("head") if base is not None else None
    train = np.array([pair.split == "train" for pair in pairs.pairs])
    visual = None if old and old.get("visual") else components(features[0, train], text.dim)
    graph = head_graph(
        [linear_maps(head.head) for head in heads], features.shape[2], text.dim,
        base=image.folder / old["file"] if old else None, base_spec=old, on_features=base is not None and not old,
        visual=visual,
    )  # fmt: skip
    (draft / "head.onnx").write_bytes(graph)
    copied["image"]["head"] = {"file": "head.onnx", "input": "features", "output": "embedding", "visual": "visual"}
    if (text_head := heads[0].text_head) is not None:
        (draft / "text-head.onnx").write_bytes(head_graph([linear_maps(text_head)], text.dim, text.dim))
        copied["text"]["head"] = {"file": "text-head.onnx", "input": "features", "output": "embedding"}
    spec: dict[str, Any] = {
        "name": draft_name,
        "dim": text.dim,
        "description": f"{text.name} for text, {image.name} for pictures; a head trained on {pairs.name} maps "
        "pictures into the text tower's space.",
        "licence": licence(text, image),
        "languages": text.spec.get("languages", []),
        "towers": copied,
        "notes": [],
        "training": facts,
    }
    save(draft, seal(draft, spec))
    bundle = Bundle(draft)
    assert bundle.image is not None
    views = bundle.image.project(features[0])
    queries = text_vectors(bundle, pairs.captions)
    dev = pairs.rows("dev", DEV)
    of_dev, of_train = np.isin(pairs.owner, dev), np.isin(pairs.owner, np.flatnonzero(train))
    held = Held(pairs, dev, queries[of_dev], views["image"][dev])
    # A note of a remote text tower says where all texts are sent, so it must stay.
    spec["notes"] = text.spec.get("notes", []) if "remote" in copied["text"] else []
    train_views = {name: rows[train] for name, rows in views.items()}
    # Without a text head, the calibration of text search still holds.
    return measured(draft, spec, held, queries[of_train], train_views, {} if "head" in copied["text"] else text.spec)


def _open(model: str | os.PathLike[str], kind: Literal["text", "image"]) -> Bundle:
    bundle = Bundle(find(model))
    if getattr(bundle, kind) is None:
        raise ModelError(
            _("the model {name} has no {kind} tower: choose another for --{kind}-model").format(
                name=bundle.name, kind=kind
            )
        )
    bundle.verify()
    return bundle


def to_be_beaten(start: str | os.PathLike[str] | None, folder: Path, force: bool) -> Bundle | None:
    """Return the model that the new one must beat: ``start``, else the bundle in ``folder``; None if there is neither.

    Raises TrainingError if it cannot be read or lacks a tower.
    """
    if start is None and not (folder / "bundle.json").is_file():
        return None
    try:
        bundle = Bundle(folder if start is None else find(start))
        bundle.verify()
    except ModelError as problem:
        if start is None and force:
            return None
        raise TrainingError(
            _("the model to beat cannot be used: {problem}; or replace it without a comparison, with --force").format(
                problem=problem
            )
        ) from problem
    if bundle.text is None or bundle.image is None:
        raise TrainingError(
            _("the model {name} lacks a text or an image tower: choose another with --start").format(name=bundle.name)
        )
    return bundle


def _base(text: Bundle, image: Bundle) -> Callable[[Floats], Floats] | None:
    """Return the image model's own map of features (N, F) to unit rows (N, D) of the joint space.

    Return None unless both models have the same text tower.
    """
    tower = image.image
    if tower is None or image.text is None or tower_key(text, "text") != tower_key(image, "text"):
        return None
    return lambda features: tower.project(features)["image"]


def licence(text: Bundle, image: Bundle) -> str:
    """Return the licence of a bundle made of two towers."""
    licences = [str(bundle.spec.get("licence", "not stated")) for bundle in (text, image)]
    return licences[0] if licences[0] == licences[1] else f"text tower: {licences[0]}; image tower: {licences[1]}"


def _facts(bundle: Bundle) -> dict[str, str]:
    return {"name": bundle.name, "fingerprint": bundle.fingerprint}


def _refusal(verdict: Verdict, folder: Path, before: str) -> str:
    how = _("worse than") if verdict.worse else _("not significantly better than")
    left = _("the model there was kept") if (folder / "bundle.json").is_file() else _("nothing was written")
    return _(
        "the trained model is {how} {before} on {count} held-out pictures "
        "({mean:+.1f} points, p = {p:.2f}): {left}; to keep the new one all the "
        "same, use --force"
    ).format(
        how=how,
        before=before,
        count=verdict.difference.count,
        mean=100 * verdict.difference.mean,
        p=verdict.p,
        left=left,
    )
