"""Fine-tuning of both towers on pairs. The result is a bundle, kept only if it is better than the model before it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from commonplace.encoders import Bundle, find
from commonplace.encoders.hub import beside
from commonplace.errors import ModelError, TrainingError
from commonplace.i18n import _
from commonplace.readers import load_picture
from commonplace.training.calibrate import BANK
from commonplace.training.features import VIEWS, augmented, picture_features, text_vectors, unreadable
from commonplace.training.heads import canonical
from commonplace.training.joint import JointModel, JointRecipe, Material, Trainer
from commonplace.training.judge import Verdict, compare, judge, judge_bundle
from commonplace.training.options import FinetuneOptions, FinetuneSettings
from commonplace.training.pairs import Pairs, Split, read_pairs
from commonplace.training.product import Held, card, copy_towers, head_graph, measured, model_folder, save, seal
from commonplace.training.project import DEV, TEST, licence, to_be_beaten
from commonplace.training.towers import trainable_parameters
from commonplace.types import stable_id

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Finetuned", "finetune"]

Model_ = str | os.PathLike[str]
PARITY = 0.99
"""The least cosine between the vectors of the bundle and those of training; below it, the export is refused. The
runtime may round to bfloat16, so they are not equal."""


@dataclass(frozen=True, slots=True)
class Finetuned:
    """The result of fine-tuning: the bundle's folder, the verdict on the test split, and the losses of every step."""

    folder: Path
    verdict: Verdict
    losses: tuple[Mapping[str, float], ...]


def finetune(
    source: str | os.PathLike[str] | Pairs,
    out: str | os.PathLike[str],
    *,
    model: Model_ | None = None,
    text_model: Model_ | None = None,
    image_model: Model_ | None = None,
    recipe: JointRecipe | None = None,
    **options: Unpack[FinetuneOptions],
) -> Finetuned:
    """Train the last layers of both towers together on pairs, and write a bundle to ``out``.

    ``model`` is a model with both towers (default: the bundled one). Give ``text_model`` and ``image_model`` to join
    two models instead: canonical correlations of the pairs first map the pictures into the space of the texts. Each
    model is the name or folder of a bundle, or anything that `commonplace models export` accepts.

    The weights of the epoch with the best dev score are kept. The bundle is written only if it retrieves held-out
    pairs better, by a paired test, than the bundle in ``out``; if there is none, than the model that training started
    from. ``force`` writes it in any case. For ``options`` see ``commonplace.training.options.FinetuneOptions``.
    Checkpoints are kept in ``out``.training until the end. ``resume`` continues from the last one, to the same result.

    Raises TrainingError or ModelError, each with a message of one line.
    """
    run = FinetuneSettings(**options)
    recipe = recipe or JointRecipe()
    _check(recipe)
    folder = model_folder(out)
    named = to_be_beaten(run.start, folder, run.force)
    work = folder.with_name(f"{folder.name}.training")
    pairs = source if isinstance(source, Pairs) else read_pairs(source, pictures=run.pictures, seed=recipe.seed)
    for line in pairs.report():
        run.log_line(line)
    started = time.monotonic()
    _workplace(work, pairs, (model, text_model, image_model), run.resume)
    try:
        begun = _start(model, text_model, image_model, pairs, work)
    except (TrainingError, ModelError):
        if not (work / "checkpoint.pt").exists():
            _clear(work)
        raise
    recipe = replace(recipe, views=min(recipe.views, len(VIEWS)))
    with tqdm(total=len(pairs), desc=_("pictures"), unit="", disable=None) as bar:
        towers = JointModel(begun, replace(recipe, generation=0.0), None)
        train, bad = _material(towers, pairs.part("train"), recipe.views, work, bar.update)
        dev, more = _material(towers, pairs.part("dev"), 1, work, bar.update)
        test = _sample(pairs, "test", TEST)
        lost = unreadable(test, picture_features(begun, test, tick=bar.update))
        if bad := {**bad, **more, **lost}:
            pairs = pairs.without(bad)
            for path, reason in list(bad.items())[:10]:
                run.log_line(_("skipped {name}: {reason}").format(name=path.name, reason=reason))
        trainer = Trainer(JointModel(begun, recipe, train.captions), recipe, train, work, run.device)
        best = _train(trainer, dev, run.resume, bar)
    count = trainable_parameters(trainer.model.texts) + trainable_parameters(trainer.model.pictures)
    run.log_line(
        _("{count:,} parameters of the towers were trained; the best epoch on dev is {epoch} of {total}").format(
            count=count, epoch=best["epoch"], total=len(best["scores"]) - 1
        )
    )
    trainer.load_weights(best["weights"])
    facts = {
        "method": "both towers fine-tuned, "
        + ("contrastive and caption loss" if recipe.generation else "contrastive loss"),
        "data": pairs.name,
        "digest": pairs.digest,
        "seed": recipe.seed,
        "pictures": dict(sorted(Counter(pair.split for pair in pairs.pairs).items(), reverse=True)),
        "captions": len(pairs.captions),
        "left_out": len(pairs.bad),
        "recipe": asdict(recipe) | trainer.model.layers(),
        "epoch": best["epoch"],
        "dev": [round(100 * score, 2) for score in best["scores"]],
        "seconds": round(time.monotonic() - started),
        "device": torch.cuda.get_device_name() if trainer.device.type == "cuda" else str(trainer.device),
        "from": {"name": begun.name, "fingerprint": begun.fingerprint},
    }
    before = named or begun
    with beside(folder, folder.name) as draft:
        spec = _write(draft, folder.name, begun, trainer, pairs, dev, facts)
        test = Pairs(pairs.name, tuple(pair for pair in test.pairs if pair.picture not in lost))
        verdict = compare(
            {f"before ({before.name})": judge_bundle(before, test), "fine-tuned": judge_bundle(Bundle(draft), test)},
            recipe.seed,
        )
        spec["quality"] = {"test": verdict.dict()}
        save(draft, spec)
        (draft / "README.md").write_text(card(spec, verdict.table("en")), encoding="utf-8")
        for line in verdict.table():
            run.log_line(line)
        if not (verdict.better or run.force):
            how = _("worse than") if verdict.worse else _("not significantly better than")
            raise TrainingError(
                _(
                    "the trained model is {how} {name} on {count} held-out pictures "
                    "({mean:+.1f} points, p = {p:.2f}): nothing was replaced; to keep it "
                    "all the same, use --resume --force"
                ).format(
                    how=how,
                    name=before.name,
                    count=verdict.difference.count,
                    mean=100 * verdict.difference.mean,
                    p=verdict.p,
                )
            )
    _clear(work)
    return Finetuned(folder, verdict, tuple(trainer.losses))


def _check(recipe: JointRecipe) -> None:
    minimum = {"epochs": 1, "batch": 2, "chunk": 1, "accumulate": 1, "text_layers": 0, "image_layers": 0, "rank": 0,
             "views": 1, "width": 4}  # fmt: skip
    for name, least in minimum.items():
        if getattr(recipe, name) < least:
            raise TrainingError(
                _("--{name} is {value}: it must be at least {least}").format(
                    name=name.replace("_", "-"), value=getattr(recipe, name), least=least
                )
            )
    if not (0 < recipe.learning_rate < 1 and 0 < recipe.decoder_rate < 1):
        raise TrainingError(_("a learning rate must lie between 0 and 1: check --learning-rate"))
    if not (recipe.generation >= 0 and 0 <= recipe.dropout < 1 and recipe.mixup >= 0 and recipe.temperature > 0):
        raise TrainingError(_("--generation-weight and mixup must be at least 0, dropout below 1, temperature above 0"))


# --- the work folder --------------------------------------------------------------------------------------------------

MARK = "training.json"
OURS = ("checkpoint.pt", "checkpoint.part", "best.pt", "best.part", "frozen", "exported", "start", MARK)


def _workplace(work: Path, pairs: Pairs, models: tuple[Model_ | None, ...], resume: bool) -> None:
    """Create the work folder of a training, or reuse it; remove what is left of a training on other pairs or models.

    Raises TrainingError if the folder holds anything else, or if ``resume`` finds a training on other pairs or models.
    """
    fingerprint = {"pairs": pairs.digest, "models": [None if model is None else os.fspath(model) for model in models]}
    mark = work / MARK
    try:
        saved = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else None
        if saved is None and os.path.lexists(work) and (not work.is_dir() or work.is_symlink() or any(work.iterdir())):
            raise TrainingError(
                _("{work} exists and is no training folder: move it, or choose another --out").format(work=work)
            )
        if saved is not None and saved != fingerprint:
            if resume:
                raise TrainingError(
                    _("the training in {work} used other pairs or models: run it without --resume").format(work=work)
                )
            _clear(work)
        work.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps(fingerprint), encoding="utf-8")
    except (OSError, ValueError) as problem:
        raise TrainingError(
            _("{work} cannot be used ({problem}): choose another --out").format(work=work, problem=problem)
        ) from problem


def _clear(work: Path) -> None:
    """Remove a training's files, then the folder if it is empty."""
    for name in OURS:
        if (work / name).is_dir() and not (work / name).is_symlink():
            shutil.rmtree(work / name, ignore_errors=True)
        else:
            (work / name).unlink(missing_ok=True)
    with suppress(OSError):
        work.rmdir()


# --- the start model -----------------------------------------------------------------------------------------------


def _start(model: Model_ | None, text: Model_ | None, image: Model_ | None, pairs: Pairs, work: Path) -> Bundle:
    """Return the bundle whose towers will be trained. Raises TrainingError for a combination that is not possible."""
    if (text is None) != (image is None) or (model is not None and text is not None):
        raise TrainingError(_("give one --model with both towers, or both --text-model and --image-model"))
    if text is None or image is None:
        bundle = _bundle(model or "minilm-lite0", work)
        if bundle.text is None or bundle.image is None:
            lacks = "text" if bundle.text is None else "image"
            raise TrainingError(
                _("the model {name} has no {lacks} tower: give --text-model and --image-model").format(
                    name=bundle.name, lacks=lacks
                )
            )
        return bundle
    return _joined(_bundle(text, work), _bundle(image, work), pairs, work / "start")


def _bundle(model: Model_, work: Path) -> Bundle:
    """Return a bundle by name or folder. Any other model is exported to a bundle first, once."""
    name = os.fspath(model)
    try:
        loaded = Bundle(find(name))
    except ModelError:
        folder = Path(name).expanduser()
        if not (folder / "config.json").is_file() and not name.count("/") == 1:
            raise
        from commonplace.encoders.convert import Choice
        from commonplace.export import export

        target = work / "exported" / stable_id(name) / folder.name
        if (target / "bundle.json").is_file():
            return Bundle(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        return export(name, target, folder.name, Choice()).bundle
    loaded.verify()
    return loaded


def _joined(text: Bundle, image: Bundle, pairs: Pairs, folder: Path) -> Bundle:
    """Return a bundle of both towers, with a linear head from canonical correlations of the training pairs."""
    if text.text is None or image.image is None:
        lacking, kind = (text, "text") if text.text is None else (image, "image")
        raise TrainingError(
            _("the model {name} has no {kind} tower: choose another for --{kind}-model").format(
                name=lacking.name, kind=kind
            )
        )
    if (folder / "bundle.json").is_file():
        return Bundle(folder)
    folder.mkdir(parents=True, exist_ok=True)
    train = pairs.part("train")
    features, texts = picture_features(image, train)[0], text_vectors(text, train.captions)
    good = np.isfinite(features).all(1)
    means = np.zeros((len(train), texts.shape[1]), np.float32)
    np.add.at(means, train.owner, texts)
    means /= np.bincount(train.owner)[:, None]
    weights, bias = canonical(torch.from_numpy(features[good]), torch.from_numpy(means[good]))
    towers = copy_towers(folder, text, image)
    maps = {"wide": (weights.numpy(), bias.numpy()), "narrow": None, "straight": None}
    (folder / "head.onnx").write_bytes(head_graph([maps], features.shape[1], text.dim))
    towers["image"]["head"] = {"file": "head.onnx", "input": "features", "output": "embedding"}
    spec = {
        "name": f"{text.name}-{image.name}", "dim": text.dim, "towers": towers,
        "licence": licence(text, image),
        "languages": text.spec.get("languages", []), "notes": [],
    }  # fmt: skip
    save(folder, seal(folder, spec))
    return Bundle(folder)


# --- training -----------------------------------------------------------------------------------------------------


def _material(
    towers: JointModel, pairs: Pairs, views: int, work: Path, tick: Callable[[int], object]
) -> tuple[Material, dict[Path, str]]:
    """Return the outputs of the frozen layers for a split, and the pictures that cannot be decoded, with the reason."""

    def load(row: int) -> list[NDArray[np.uint8]]:
        pixels = load_picture(pairs.pairs[row].picture).pixels
        return [augmented(pixels, view, pairs.pairs[row].digest) for view in VIEWS[:views]]

    frozen = work / "frozen"
    shown = towers.pictures.freeze([pair.digest for pair in pairs.pairs], load, views, frozen, tick)
    good = [(text, int(row)) for text, row in zip(pairs.captions, pairs.owner, strict=True) if row not in shown.bad]
    captions = towers.texts.freeze([text for text, _ in good], frozen)
    bad = {pairs.pairs[row].picture: reason for row, reason in shown.bad.items()}
    return Material(shown, captions, np.array([row for _, row in good])), bad


def _train(trainer: Trainer, dev: Material, resume: bool, bar: Any) -> dict[str, Any]:
    """Train to the end. Return the weights of the best epoch on dev (0: before training) and all scores."""
    path = trainer.folder / "best.pt"

    def score() -> float:
        texts, shown = trainer.encode(dev)
        return judge(texts, shown, np.searchsorted(dev.rows, dev.owner)).mean

    def keep() -> None:
        beside = path.with_suffix(".part")
        torch.save(best, beside)
        beside.rename(path)

    if resume and trainer.resume():
        try:
            best: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            best["scores"] = best["scores"][: trainer.step // trainer.steps_an_epoch + 1]
        except Exception as problem:  # the library raises exceptions of any kind on damaged files
            raise TrainingError(
                _("{path} cannot be read ({type}): run it without --resume").format(
                    path=path, type=type(problem).__name__
                )
            ) from problem
    else:
        (trainer.folder / "checkpoint.pt").unlink(missing_ok=True)
        best = {"epoch": 0, "scores": [score()], "weights": trainer.weights()}
        keep()  # before the first checkpoint: a training killed in its first epoch can still resume
    bar.reset(trainer.total)
    bar.set_description("training")
    bar.update(trainer.step)

    def each(epoch: int) -> bool:
        dev_score = score()
        best["scores"] = [*best["scores"][:epoch], dev_score]
        if dev_score > max(best["scores"][:epoch]):
            best.update(epoch=epoch, weights=trainer.weights())
        keep()
        return False

    def tick(losses: str) -> None:
        bar.set_postfix_str(losses, refresh=False)
        bar.update()

    trainer.run(tick, each)
    return best


# --- the bundle ---------------------------------------------------------------------------------------------------


def _write(
    draft: Path, name: str, begun: Bundle, trainer: Trainer, pairs: Pairs, dev: Material, facts: dict[str, Any]
) -> dict[str, Any]:
    """Write the bundle, without its test figures, into ``draft``; return the content of its ``bundle.json``."""
    towers = json.loads(json.dumps(begun.spec["towers"]))
    for file in begun.spec["checksums"]:
        if ".onnx" in file or file == towers["text"]["tokenizer"]:
            shutil.copyfile(begun.folder / file, draft / file)
    trainer.model.save(draft)
    spec: dict[str, Any] = {
        "name": name,
        "dim": begun.dim,
        "description": f"{begun.name} with its last layers fine-tuned on {pairs.name}.",
        "licence": begun.spec.get("licence", "not stated"),
        "languages": begun.spec.get("languages", []),
        "towers": towers,
        "notes": [],
        "training": facts,
    }
    save(draft, seal(draft, spec))
    _parity(Bundle(draft), trainer, pairs, dev)
    bundle = Bundle(draft)
    assert bundle.image is not None
    train = _sample(pairs, "train", BANK)
    held = pairs.rows("dev", DEV)
    dev_pairs = _sample(pairs, "dev", DEV)
    encoded_dev = Held(pairs, held, text_vectors(bundle, dev_pairs.captions), _views(bundle, dev_pairs)["image"])
    stated_spec = {} if trainer.recipe.text_layers else begun.spec
    return measured(draft, spec, encoded_dev, text_vectors(bundle, train.captions), _views(bundle, train), stated_spec)


def _sample(pairs: Pairs, split: Split, most: int) -> Pairs:
    return Pairs(pairs.name, tuple(pairs.pairs[i] for i in pairs.rows(split, most)))


def _views(bundle: Bundle, pairs: Pairs) -> dict[str, NDArray[np.float32]]:
    assert bundle.image is not None
    return bundle.image.project(picture_features(bundle, pairs)[0])


def _parity(bundle: Bundle, trainer: Trainer, pairs: Pairs, dev: Material) -> None:
    """Compare the vectors of the bundle with those of training on dev inputs. Raises TrainingError if they differ."""
    texts, shown = trainer.encode(dev)
    dev_pairs = pairs.part("dev")
    count = min(32, len(dev_pairs))
    assert bundle.text is not None and bundle.image is not None
    image_vectors = bundle.image.encode([load_picture(pair.picture).pixels for pair in dev_pairs.pairs[:count]])
    text_vectors_ = bundle.text.encode(dev_pairs.captions[:count], "query")
    for kind, ours, theirs in (("image", image_vectors, shown[:count]), ("text", text_vectors_, texts[:count])):
        cosine = float((ours * theirs).sum(1).min())
        if cosine < PARITY:
            raise TrainingError(
                _(
                    "the written {kind} tower differs from the trained one (cosine {cosine:.4f}): please report "
                    "this bug"
                ).format(kind=kind, cosine=cosine)
            )
