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
        "learn from pictures and captions of your own (needs the extra train)",
        "commonplace train project pairs.csv --out my-model",
    )
    what = train.add_subparsers(metavar="WHAT", required=True)
    heads = what.add_parser("project", help="a head on towers that stay as they are: minutes on a laptop")
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
    length.add_argument("--epochs", type=int, metavar="N", help="times that all pictures are seen, instead of --steps")
    recipe.add_argument("--batch", type=int, metavar="N", help="pictures in a step (default: 1000)")
    recipe.add_argument("--learning-rate", type=float, metavar="R", help="at its peak (default: .001)")
    recipe.add_argument("--mixup", type=float, metavar="A", help="how much pictures are mixed, 0 for not (default: .5)")
    recipe.add_argument("--structure", type=float, metavar="W", help="weight of likenesses kept (default: 0)")
    recipe.add_argument(
        "--views", type=int, metavar="N", help="1: as they are; to 4: cropped and mirrored (default: 3)"
    )
    recipe.add_argument("--closed", action="store_true", default=None, help="start from canonical correlations")
    recipe.add_argument(
        "--text-head", action="store_true", default=None, help="map texts too; search among texts changes with it"
    )


def pairs_options(parser: argparse.ArgumentParser) -> None:
    """Add what every way of training takes: the pairs, where the model goes, and what it must beat."""
    parser.add_argument("pairs", metavar="PAIRS", help=".csv, .tsv, .jsonl, a folder of pictures, or a hub dataset")
    parser.add_argument("--pictures", metavar="DIR", help="folder of the pictures (default: that of PAIRS)")
    parser.add_argument("--out", metavar="DIR", required=True, help="the model's folder")
    parser.add_argument("--start", metavar="MODEL", help="the model to be beaten (default: the one in --out)")
    parser.add_argument("--force", action="store_true", help="keep what was trained, better or not")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the split and of chance (default: 0)")


def _project(options: argparse.Namespace) -> int:
    from commonplace.training.heads import Recipe
    from commonplace.training.project import project

    asked = ("loss", "hidden", "steps", "epochs", "batch", "learning_rate", "mixup", "structure", "views", "closed")
    given = {name: getattr(options, name) for name in (*asked, "text_head")}
    made = project(
        options.pairs,
        options.text_model,
        options.image_model,
        options.out,
        recipe=Recipe(**{name: value for name, value in given.items() if value is not None}),
        members=options.heads,
        pictures=options.pictures,
        start=options.start,
        force=options.force,
        seed=options.seed,
        told=print,
    )
    for note in made.notes:
        print(f"note: {note}")
    print(f"wrote {short(str(made.folder))}; use it with --model {short(str(made.folder))}")
    return 0
