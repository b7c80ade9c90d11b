"""The ``commonplace`` command: one verb for each method of a collection."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from commonplace.cli import answers, documents, evaluation, models, search, train, upkeep
from commonplace.types import printable

__all__ = ["main"]

VERBS = (
    *("add", "search", "ask", "chat", "list", "show", "remove", "status", "eval", "label", "tune"),
    *("doctor", "backup", "restore", "vacuum", "compress", "migrate", "models", "train"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status: 0 done, 1 an error (one line on standard error), 2 a wrong call."""
    parser = _parser()
    options = parser.parse_args(_with_verb(list(sys.argv[1:] if arguments is None else arguments)))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # file names may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    import logging

    from commonplace.errors import CommonplaceError

    logging.getLogger("commonplace").addHandler(logging.NullHandler())  # the report says what a log would
    try:
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except CommonplaceError as problem:
        print(f"commonplace: {printable(str(problem))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("commonplace: interrupted; what was committed stays, run it again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _with_verb(arguments: list[str]) -> list[str]:
    """Put ``search`` before a bare question: ``commonplace "red seal"``."""
    at = 0
    while at < len(arguments) and arguments[at] in ("--collection", "--model"):
        at += 2
    if at >= len(arguments) or arguments[at] in (*VERBS, "-h", "--help", "--version"):
        return arguments
    if arguments[at].startswith(("--collection=", "--model=")):
        return [arguments[at], *_with_verb(arguments[at + 1 :])]
    return [*arguments[:at], "search", *arguments[at:]]


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    where = common.add_argument_group("collection")
    where.add_argument(
        "--collection",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="folder of the collection (default: COMMONPLACE_COLLECTION, else ./.commonplace)",
    )
    where.add_argument(
        "--model",
        metavar="MODEL",
        default=argparse.SUPPRESS,
        help="a model that was pulled, a bundle's folder, or text=MODEL,image=MODEL (default: COMMONPLACE_MODEL, else "
        "the collection's own, else the one that is shipped)",
    )
    parser = argparse.ArgumentParser(
        prog="commonplace",
        description="Make a folder of documents and pictures answer questions.",
        epilog='A bare question is searched: commonplace "red seal"',
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=f"commonplace {_version()}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, run: Any, what: str, example: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(
            name,
            help=what,
            description=what[0].upper() + what[1:] + ".",
            epilog=f"example:\n  {example}",
            parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.set_defaults(run=run)
        return one

    for group in (documents, search, answers, evaluation, upkeep, models, train):
        group.verbs(verb)
    return parser


def _version() -> str:
    from importlib.metadata import version

    return version("commonplace")
