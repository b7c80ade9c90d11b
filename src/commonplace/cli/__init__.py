"""The ``commonplace`` command, with one verb for each method of a collection."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from commonplace import __version__
from commonplace.cli.parser import CommandParser
from commonplace.display import printable
from commonplace.i18n import _

__all__ = ["build_parser", "main"]

_GROUPS = {  # the module of each group of verbs, in the order of the help
    "documents": "add list show remove status",
    "watch": "watch",
    "search": "search",
    "answers": "ask chat",
    "read": "read",
    "evaluation": "eval label tune",
    "upkeep": "doctor backup restore copy vacuum compress migrate",
    "models": "models",
    "train": "train",
    "serve": "serve keys",
    "mcp": "mcp",
}
VERBS = {verb: module for module, verbs in _GROUPS.items() for verb in verbs.split()}
"""Every verb, and the module of this package that has it."""

COMMON = ("--collection", "--model", "--blobs", "--token")
"""The options of every verb; each takes a value."""

LONG_VERB = 4  # letters; a word that differs a little from a longer verb is hardly another word


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 success, 1 error (one line on standard error), 2 wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # for bytes in file names, and Chinese help
            stream.reconfigure(errors="backslashreplace")
    typed = list(sys.argv[1:] if arguments is None else arguments)
    complete = _with_verb(typed)
    parser = build_parser(next(iter(complete[_verb_place(complete) :]), None))
    near_verb = _near_verb(typed) if complete != typed else None
    options = parser.parse_args(complete, argparse.Namespace(near_verb=near_verb) if near_verb else None)
    import logging

    from commonplace.errors import CommonplaceError

    logging.getLogger("commonplace").addHandler(logging.NullHandler())  # the report contains the same information
    try:
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except CommonplaceError as problem:
        print(f"commonplace: {printable(str(problem))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(_("commonplace: interrupted; committed changes are kept; run it again to continue"), file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of the pipe has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _with_verb(arguments: list[str]) -> list[str]:
    """Put ``search`` before a bare query: ``commonplace "red seal"``."""
    start = _verb_place(arguments)
    if start >= len(arguments) or arguments[start] in (*VERBS, "-h", "--help", "--version"):
        return arguments
    return [*arguments[:start], "search", *arguments[start:]]


def _verb_place(arguments: Sequence[str]) -> int:
    """Return the position of the first argument that is no option of every verb."""
    start = 0
    while start < len(arguments):
        if arguments[start] in COMMON:
            start += 2
        elif arguments[start].startswith(tuple(f"{flag}=" for flag in COMMON)):
            start += 1
        else:
            break
    return start


def _near_verb(arguments: Sequence[str]) -> tuple[str, str] | None:
    """Return the first word of a bare query and the verb that it may stand for, if it is nearly one.

    Many short words are near a short verb (cat, task, snow): only those with all its letters count.
    """
    from difflib import get_close_matches

    word = next(iter(arguments[_verb_place(arguments) :]), "")
    letters = word.lower()
    near = [verb for verb in VERBS if len(verb) <= LONG_VERB and sorted(verb) == sorted(letters)]
    near += get_close_matches(letters, [verb for verb in VERBS if len(verb) > LONG_VERB], 1, cutoff=0.8)
    return (word, near[0]) if near else None


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the whole command, with a subparser for each verb.

    With a ``verb`` only this one has its options, and other modules are not imported. What is no verb, such as
    ``--help``, gives all verbs without their options.
    """
    common = CommandParser(add_help=False)
    group = common.add_argument_group(_("collection"))
    group.add_argument(
        "--collection",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help=_(
            "folder of the collection, or milvus://HOST:19530/NAME, or milvus-lite:///FOLDER/FILE.db (default: "
            "COMMONPLACE_COLLECTION, else ./.commonplace)"
        ),
    )
    group.add_argument(
        "--model",
        metavar="MODEL",
        default=argparse.SUPPRESS,
        help=_(
            "a pulled model, a bundle's folder, or text=MODEL,image=MODEL (default: COMMONPLACE_MODEL, else "
            "the collection's own model, else the shipped model)"
        ),
    )
    group.add_argument(
        "--blobs",
        metavar="URL",
        default=argparse.SUPPRESS,
        help=_(
            "where a collection in Milvus keeps pictures: s3://BUCKET/FOLDER or a folder (default: COMMONPLACE_BLOBS, "
            "else what the collection remembers)"
        ),
    )
    group.add_argument(
        "--token",
        metavar="TOKEN",
        default=argparse.SUPPRESS,
        help=_(
            "token of a Milvus server, or USER:PASSWORD; others see it in the list of processes: rather set "
            "COMMONPLACE_MILVUS_TOKEN"
        ),
    )
    parser = CommandParser(
        prog="commonplace",
        description=_("Search a folder of documents and pictures, and get answers from it."),
        epilog=_('Without a verb, the command searches: commonplace "red seal"'),
        parents=[common],
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"commonplace {__version__}",
        help=_("show program's version number and exit"),
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def add_verb(name: str, run: Any, what: str, example: str, add_options: Any = None) -> None:
        command = verbs.add_parser(
            name,
            help=what,
            description=_("{sentence}.").format(sentence=what[0].upper() + what[1:]),
            epilog=_("example:\n  {example}").format(example=example),
            parents=[common],
        )
        command.set_defaults(run=run)
        if add_options is not None and verb in (None, name):
            add_options(command)

    for module in [VERBS[verb]] if verb in VERBS else _GROUPS:
        import_module(f"commonplace.cli.{module}").verbs(add_verb)
    return parser
