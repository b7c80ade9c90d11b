"""The verb ``train``: trains models on the user's own pictures and captions."""

from __future__ import annotations

import argparse
from typing import Any

from commonplace.cli.printing import short
from commonplace.i18n import _


def verbs(verb: Any) -> None:
    """Add the verb with its subcommands to the command."""
    verb(
        "train",
        None,
        _("train on your own pictures and captions (needs the extra train)"),
        "commonplace train project pairs.csv --out my-model",
        _train_options,
    )


def _train_options(train: argparse.ArgumentParser) -> None:
    what = train.add_subparsers(metavar="WHAT", required=True)
    heads = what.add_parser("project", help=_("train a head on frozen towers: minutes on a laptop"))
    heads.set_defaults(run=_project)
    pairs_options(heads)
    heads.add_argument(
        "--text-model",
        metavar="MODEL",
        default="minilm-lite0",
        help=_("model of the text tower (default: the shipped model)"),
    )
    heads.add_argument(
        "--image-model",
        metavar="MODEL",
        default="minilm-lite0",
        help=_("model of the image tower (default: the shipped model)"),
    )
    recipe = heads.add_argument_group(_("recipe"))
    recipe.add_argument("--loss", choices=("infonce", "triplet", "sigmoid"), help=_("loss function (default: infonce)"))
    recipe.add_argument(
        "--hidden", type=int, metavar="N", help=_("width of the hidden layer; 0 for no hidden layer (default: 1280)")
    )
    recipe.add_argument("--heads", type=int, metavar="N", default=2, help=_("number of averaged heads (default: 2)"))
    length = recipe.add_mutually_exclusive_group()
    length.add_argument(
        "--steps", type=int, metavar="N", help=_("maximum number of training steps of a head (default: 600)")
    )
    length.add_argument(
        "--epochs", type=int, metavar="N", help=_("number of passes over all pictures, instead of --steps")
    )
    recipe.add_argument("--batch", type=int, metavar="N", help=_("number of pictures in a step (default: 1000)"))
    recipe.add_argument("--learning-rate", type=float, metavar="R", help=_("peak learning rate (default: .001)"))
    recipe.add_argument("--mixup", type=float, metavar="A", help=_("strength of mixup; 0 for no mixup (default: .5)"))
    recipe.add_argument("--structure", type=float, metavar="W", help=_("weight of the similarity loss (default: 0)"))
    recipe.add_argument(
        "--views",
        type=int,
        metavar="N",
        help=_("1: original pictures only; up to 4: also cropped and mirrored (default: 3)"),
    )
    recipe.add_argument(
        "--closed", action="store_true", default=None, help=_("initialise by canonical correlation analysis")
    )
    recipe.add_argument(
        "--text-head", action="store_true", default=None, help=_("also map texts; this changes search among texts")
    )
    _finetune_options(
        what.add_parser("finetune", help=_("train the last layers of both towers: takes an hour, or a GPU"))
    )


def _finetune_options(towers: argparse.ArgumentParser) -> None:
    towers.set_defaults(run=_finetune)
    pairs_options(towers)
    towers.add_argument("--model", metavar="MODEL", help=_("a model with both towers (default: the shipped model)"))
    towers.add_argument("--text-model", metavar="MODEL", help=_("model of the text tower, together with --image-model"))
    towers.add_argument(
        "--image-model", metavar="MODEL", help=_("model of the image tower, together with --text-model")
    )
    towers.add_argument("--resume", action="store_true", help=_("continue an interrupted training"))
    recipe = towers.add_argument_group(_("recipe"))
    for tower in ("text", "image"):
        recipe.add_argument(
            f"--{tower}-layers",
            type=_layers,
            metavar="N",
            help=_(
                "number of trained layers of the {tower} tower, from the last: 0 for none, or all (default: 4)"
            ).format(tower=tower),
        )
    recipe.add_argument("--lora", type=int, metavar="R", dest="rank", help=_("train LoRA matrices of rank R instead"))
    recipe.add_argument(
        "--generation-weight",
        type=float,
        metavar="W",
        dest="generation",
        help=_("weight of the caption loss (default: .5)"),
    )
    recipe.add_argument("--epochs", type=int, metavar="N", help=_("number of passes over all pictures (default: 10)"))
    recipe.add_argument(
        "--batch", type=int, metavar="N", help=_("number of pictures that are contrasted in a step (default: 256)")
    )
    recipe.add_argument(
        "--chunk", type=int, metavar="N", help=_("number of these pictures in memory at once (default: 256)")
    )
    recipe.add_argument("--accumulate", type=int, metavar="N", help=_("number of batches in a step (default: 1)"))
    recipe.add_argument("--learning-rate", type=float, metavar="R", help=_("peak learning rate (default: .00005)"))
    recipe.add_argument(
        "--views", type=int, metavar="N", help=_("1: original pictures only; up to 4: also cropped (default: 2)")
    )
    recipe.add_argument("--mixed", choices=("no", "bf16", "fp16"), help=_("mixed precision (default: no)"))


def _layers(text: str) -> int:
    if text == "all":
        return 1 << 16
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(
            _("{text} is not a number of layers: give a whole number, or all").format(text=text)
        )
    return int(text)


def pairs_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every training: the pairs, the model's folder, and the model to compare with."""
    parser.add_argument("pairs", metavar="PAIRS", help=_(".csv, .tsv, .jsonl, a folder of pictures, or a hub dataset"))
    parser.add_argument("--pictures", metavar="DIR", help=_("folder of the pictures (default: the folder of PAIRS)"))
    parser.add_argument("--out", metavar="DIR", required=True, help=_("folder for the trained model"))
    parser.add_argument("--start", metavar="MODEL", help=_("the model to compare with (default: the one in --out)"))
    parser.add_argument("--force", action="store_true", help=_("keep the trained model even if it is not better"))
    parser.add_argument("--seed", type=int, default=0, metavar="N", help=_("random seed (default: 0)"))


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
        print(_("note: {note}").format(note=note))
    print(_("wrote {folder}; use it with --model {folder}").format(folder=short(str(trained.folder))))
    return 0


def _finetune(options: argparse.Namespace) -> int:
    from commonplace.training.joint import JointRecipe  # first, because it reports a missing package

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
    print(_("wrote {folder}; use it with --model {folder}").format(folder=short(str(tuned.folder))))
    return 0
