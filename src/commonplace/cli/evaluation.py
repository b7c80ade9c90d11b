"""The verbs ``eval``, ``label`` and ``tune``: measure and improve the ranking."""

from __future__ import annotations

import argparse
from typing import Any

from commonplace.cli.common import open_, ranking_of, ranking_options, refuse_own_file
from commonplace.i18n import _, ngettext


def verbs(verb: Any) -> None:
    """Add the verbs of this group to the command."""
    verb(
        "eval",
        _eval,
        _("measure the ranking with labelled queries, and compare it with an earlier run"),
        "commonplace eval questions.jsonl --json run.json --plots plots",
        _eval_options,
    )
    verb(
        "label",
        _label,
        _("label whether a hit answers a query, for `commonplace tune`"),
        'commonplace label "blue seal" 3f2a9c… --good',
        _label_options,
    )
    verb(
        "tune",
        _tune,
        _("tune the ranking to this collection with labelled queries, and keep the new ranking if it is better"),
        "commonplace tune questions.jsonl",
        _tune_options,
    )


def _eval_options(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument("questions", metavar="QUESTIONS", help=_("JSON Lines file, see docs/how-to/evaluate.md"))
    evaluate.add_argument(
        "-k", type=int, default=10, metavar="N", help=_("hits that count of each query (default: 10)")
    )
    ranking_options(evaluate)
    evaluate.add_argument("--json", metavar="FILE", help=_("write the run to this file"))
    evaluate.add_argument("--compare", metavar="FILE", help=_("compare with the run in this file"))
    evaluate.add_argument("--plots", metavar="DIR", help=_("write plots of the run to this folder (needs matplotlib)"))


def _label_options(label: argparse.ArgumentParser) -> None:
    label.add_argument("text", metavar="TEXT", help=_("the query"))
    label.add_argument("item", metavar="ITEM", help=_("id of the hit: see `search --json`"))
    label.add_argument("--image", metavar="FILE", help=_("the query's picture, if it has one"))
    verdict = label.add_mutually_exclusive_group(required=True)
    verdict.add_argument("--good", action="store_true", help=_("the hit answers the query"))
    verdict.add_argument("--bad", action="store_true", help=_("the hit does not answer the query"))


def _tune_options(tune: argparse.ArgumentParser) -> None:
    tune.add_argument("questions", metavar="QUESTIONS", nargs="?", help=_("JSON Lines file (default: your labels)"))
    tune.add_argument("-k", type=int, default=10, metavar="N", help=_("hits that count of each query (default: 10)"))
    tune.add_argument("--reset", action="store_true", help=_("go back to the default ranking"))


def _eval(options: argparse.Namespace) -> int:
    from commonplace.evaluation import Run, compare, evaluate, plot

    before = Run.load(options.compare) if options.compare else None
    with open_(options) as kb:
        refuse_own_file(kb, options.json)
        run = evaluate(kb, options.questions, k=options.k, ranking=ranking_of(kb, options))
        if options.json:
            run.save(options.json)
        print(run.table())
        if before is not None:
            print(f"\n{compare(before, run).table()}")
        if options.plots:
            for path in plot(run, options.plots, collection=kb):
                print(path)
    return 0


def _label(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        kb.label(options.text, options.item, options.good, image=options.image)
        count = len(kb.labels())
    print(ngettext("{count} label", "{count} labels", count).format(count=count))
    return 0


def _tune(options: argparse.Namespace) -> int:
    from commonplace.errors import QueryError
    from commonplace.evaluation import feedback_queries, tune

    if options.reset and options.questions:
        raise QueryError(_("a file of queries and --reset cannot be combined: give one of them"))
    with open_(options) as kb:
        if options.reset:
            kb.ranking = None
            print(_("the ranking was reset to the default"))
        else:
            print(tune(kb, options.questions or feedback_queries(kb), k=options.k))
    return 0
