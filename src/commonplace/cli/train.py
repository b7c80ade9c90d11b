"""``train``: models from pictures and captions of the user's own."""

from __future__ import annotations

import argparse
from typing import Any

from commonplace.cli.printing import short


def verbs(verb: Any) -> None:
    """Add the verb, with what it can do, to the command."""
    train = verb(
        "train",
        None,
        "train on pictures and captions of your own (needs the extra train)",
        "commonplace train project pairs.csv --out my-model",
    )
    what = train.add_subparsers(metavar="WHAT", required=True)
    heads = what.add_parser("project", help="train a head on frozen towers: minutes on a laptop")
    heads.set_defaults(run=_project)
    pairs_options(heads)
    heads.add_argument(
        "--text-model", metavar="MODEL", default="minilm-lite0", help="whose text tower (default: the one shipped)"
    )
    heads.add_argument(
        "--image-model", metavar="MODEL", default="minilm-lite0", help="whose image tower (default: the one shipped)"
    )
    recipe = heads.add_argument_group("recipe")
    recipe.add_argument(
        "--loss", choices=("infonce", "triplet", "sigmoid"), help="what is minimised (default: infonce)"
    )
    recipe.add_argument("--hidden", type=int, metavar="N", help="width of the hidden layer, 0 for none (default: 1280)")
    recipe.add_argument("--heads", type=int, metavar="N", default=2, help="heads that are averaged (default: 2)")
    length = recipe.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, metavar="N", help="steps of a head's training at most (default: 600)")
    length.add_argument("--epochs", type=int, metavar="N", help="passes over all pictures, instead of --steps")
    recipe.add_argument("--batch", type=int, metavar="N", help="pictures in a step (default: 1000)")
    recipe.add_argument("--learning-rate", type=float, metavar="R", help="at its peak (default: .001)")
    recipe.add_argument("--mixup", type=float, metavar="A", help="strength of mixup, 0 for none (default: .5)")
    recipe.add_argument("--structure", type=float, metavar="W", help="weight of the similarity loss (default: 0)")
    recipe.add_argument(
        "--views", type=int, metavar="N", help="1: as they are; to 4: cropped and mirrored (default: 3)"
    )
    recipe.add_argument("--closed", action="store_true", default=None, help="start from canonical correlations")
    recipe.add_argument(
        "--text-head", action="store_true", default=None, help="map texts too; search among texts changes with it"
    )
    _finetune_options(what.add_parser("finetune", help="train the last layers of both towers: an hour, or a GPU"))


def _finetune_options(towers: argparse.ArgumentParser) -> None:
    towers.set_defaults(run=_finetune)
    pairs_options(towers)
    towers.add_argument("--model", metavar="MODEL", help="a model with both towers (default: the one shipped)")
    towers.add_argument("--text-model", metavar="MODEL", help="whose text tower, with --image-model")
    towers.add_argument("--image-model", metavar="MODEL", help="whose image tower, with --text-model")
    towers.add_argument("--resume", action="store_true", help="continue an interrupted training")
    recipe = towers.add_argument_group("recipe")
    for tower in ("text", "image"):
        recipe.add_argument(
            f"--{tower}-layers",
            type=_layers,
            metavar="N",
            help=f"layers of the {tower} tower that are trained, from the last: 0 for none, all (default: 4)",
        )
    recipe.add_argument("--lora", type=int, metavar="R", dest="rank", help="train LoRA matrices of rank R instead")
    recipe.add_argument(
        "--generation-weight", type=float, metavar="W", dest="generation", help="of the caption loss (default: .5)"
    )
    recipe.add_argument("--epochs", type=int, metavar="N", help="passes over all pictures (default: 10)")
    recipe.add_argument("--batch", type=int, metavar="N", help="pictures that compete in a step (default: 256)")
    recipe.add_argument("--chunk", type=int, metavar="N", help="of those in memory at once (default: 256)")
    recipe.add_argument("--accumulate", type=int, metavar="N", help="batches in a step (default: 1)")
    recipe.add_argument("--learning-rate", type=float, metavar="R", help="at its peak (default: .00005)")
    recipe.add_argument(
        "--views", type=int, metavar="N", help="1: pictures as they are; to 4: also cropped (default: 2)"
    )
    recipe.add_argument("--mixed", choices=("no", "bf16", "fp16"), help="mixed precision (default: no)")


def _layers(text: str) -> int:
    if text == "all":
        return 1 << 16
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no number of layers: give a whole number, or all")
    return int(text)


def pairs_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every training: the pairs, the folder of the model, and the model to beat."""
    parser.add_argument("pairs", metavar="PAIRS", help=".csv, .tsv, .jsonl, a folder of pictures, or a hub dataset")
    parser.add_argument("--pictures", metavar="DIR", help="folder of the pictures (default: that of PAIRS)")
    parser.add_argument("--out", metavar="DIR", required=True, help="the model's folder")
    parser.add_argument("--start", metavar="MODEL", help="the model to be beaten (default: the one in --out)")
    parser.add_argument("--force", action="store_true", help="keep the trained model even if it is no better")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed (default: 0)")


def _project(options: argparse.Namespace) -> int:
    from commonplace.training.heads import HeadRecipe
    from commonplace.training.project import project

    names = ("loss", "hidden", "steps", "epochs", "batch", "learning_rate", "mixup", "structure", "views", "closed")
    settings = {name: getattr(options, name) for name in (*names, "text_head")}
    trained = project(
        options.pairs,
        options.text_model,
        options.image_model,
        options.out,
        recipe=HeadRecipe(**{name: value for name, value in settings.items() if value is not None}),
        members=options.heads,
        pictures=options.pictures,
        start=options.start,
        force=options.force,
        seed=options.seed,
        log_line=print,
    )
    for note in trained.notes:
        print(f"note: {note}")
    print(f"wrote {short(str(trained.folder))}; use it with --model {short(str(trained.folder))}")
    return 0


def _finetune(options: argparse.Namespace) -> int:
    from commonplace.training.joint import JointRecipe  # first: it says what is not installed

    from commonplace.training.finetune import finetune  # isort: skip

    names = ("text_layers", "image_layers", "rank", "generation", "epochs", "batch", "chunk", "accumulate")
    settings = {name: getattr(options, name) for name in (*names, "learning_rate", "views", "mixed", "seed")}
    tuned = finetune(
        options.pairs,
        options.out,
        model=getattr(options, "model", None),
        text_model=options.text_model,
        image_model=options.image_model,
        recipe=JointRecipe(**{name: value for name, value in settings.items() if value is not None}),
        pictures=options.pictures,
        start=options.start,
        resume=options.resume,
        force=options.force,
        log_line=print,
    )
    print(f"wrote {short(str(tuned.folder))}; use it with --model {short(str(tuned.folder))}")
    return 0
