"""The verb ``search``: hits, score breakdowns and heat-maps."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from commonplace.cli.common import open_, query_options, ranking_of, ranking_options, search_options
from commonplace.cli.printing import confidence, fill, linked, padded, place, print_json, short
from commonplace.display import columns, printable
from commonplace.i18n import N_, _, ngettext
from commonplace.positions import file_link

if TYPE_CHECKING:
    from commonplace.collection import Collection
    from commonplace.types import Hit


def verbs(verb: Any) -> None:
    """Add the verb to the command."""
    verb(
        "search",
        _search,
        _("find passages and pictures by words, by a picture, or by both"),
        'commonplace search "the same, but in snow" --image dog.jpg -k 5',
        _search_options,
    )


def _search_options(find: argparse.ArgumentParser) -> None:
    find.add_argument("text", metavar="TEXT", nargs="*", help=_("the words to search for; quotes are not needed"))
    query_options(find)
    find.add_argument("-k", type=int, default=10, metavar="N", help=_("number of hits (default: 10)"))
    find.add_argument(
        "--heatmap", metavar="DIR", help=_("write a heat-map of each picture hit to this folder: where the words match")
    )
    find.add_argument("--explain", action="store_true", help=_("show the score breakdown of each hit"))
    find.add_argument(
        "--diversity",
        type=float,
        metavar="D",
        help=_("0 to 1: penalty for similarity to better hits (default: 0, or stored by tune)"),
    )
    ranking_options(find)


def _search(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        ranking = ranking_of(kb, options)
        text = " ".join(options.text)
        request = search_options(options)
        request["ranking"] = ranking
        hits = kb.search(text or None, image=options.image, **request)
        if options.heatmap:
            _heatmaps(kb, hits, text, options.heatmap)
        for note in hits.notes:
            print(_("note: {note}").format(note=printable(note)), file=sys.stderr)
    _hint_at_verb(options, hits)
    if options.json:
        print_json({"hits": [hit.dict() for hit in hits], "notes": list(hits.notes)})
        return 0
    if not hits:
        print(_("nothing found"))
    for number, hit in enumerate(hits, start=1):
        _print_hit(number, hit, options.explain, ranking.method)
    return 0


def _hint_at_verb(options: argparse.Namespace, hits: Sequence[Hit]) -> None:
    """Print a note if the first word, which no hit contains, is nearly a verb: ``commonplace serch cat``."""
    word, verb = getattr(options, "near_verb", (None, None))
    if word is None:
        return
    shown = (text for hit in hits for text in (hit.item.text, hit.item.title, hit.item.document.path) if text)
    if not any(word.casefold() in text.casefold() for text in shown):
        note = _("{word} is no verb and was searched for; did you mean `commonplace {verb}`?")
        print(_("note: {note}").format(note=note.format(word=printable(word), verb=verb)), file=sys.stderr)


def _heatmaps(kb: Collection, hits: Sequence[Hit], text: str, folder: str) -> None:
    """Write a heat-map of each picture hit to the folder. A picture that cannot be read is skipped with a note."""
    from commonplace.errors import QueryError, ReadError

    if not text:
        raise QueryError(_("a heat-map needs words: add words to the query"))
    if os.path.exists(folder) and not os.path.isdir(folder):  # fail before the search, not after it
        raise QueryError(_("heat-maps need a folder, but {folder} is a file: choose another").format(folder=folder))
    for number, hit in enumerate(hits, start=1):
        if hit.image:
            try:
                heat = kb.heatmap(hit, text)
            except ReadError as problem:
                print(_("note: no heat-map: {problem}").format(problem=printable(str(problem))), file=sys.stderr)
            else:
                print(
                    _("heat-map: {path}").format(path=short(str(heat.save_in(folder, number, hit.image)))),
                    file=sys.stderr,
                )


def _print_hit(number: int, hit: Hit, explain: bool, method: str) -> None:
    item = hit.item
    where = linked(short(item.document.path) + _place(hit), file_link(item.document, item.span))
    print(f"{number:2}  {confidence(hit)}  {item.modality:5}  {where}")
    if item.text:
        line = textwrap.shorten(printable(" ".join(item.text.split())), 220, placeholder=" …")
        print(fill(line, " " * 18))
    if hit.image and hit.image != item.document.path:
        print(" " * 18 + _("picture: {image}").format(image=short(hit.image)))
    if hit.near_duplicates:
        names = ", ".join(dict.fromkeys(short(copy.document.path) for copy in hit.near_duplicates[:3]))
        more = _(" and {count} more").format(count=len(hit.near_duplicates) - 3) if len(hit.near_duplicates) > 3 else ""
        count = len(hit.near_duplicates)
        print(
            " " * 18
            + ngettext(
                "shown for {count} near-duplicate: {names}{more}",
                "shown for {count} near-duplicates: {names}{more}",
                count,
            ).format(count=count, names=names, more=more)
        )
    if explain:
        _print_breakdown(hit, method)


_MEANINGS = {
    "lexical": N_("words of its text"),
    "text->text": N_("meaning of its text"),
    "text->image": N_("content of its picture"),
    "image->image": N_("look of its picture"),
    "image->semantic": N_("scene in its picture"),
    "image->text": N_("its text, by your picture"),
    "text->item": N_("text and picture as one"),
    "image->item": N_("text and picture, by your picture"),
    "both->text": N_("its text, by words and picture"),
    "both->image": N_("its picture, by words and picture"),
    "both->item": N_("both as one, by words and picture"),
    "changed->image": N_("your picture, as your words change it"),
    "near_duplicate": N_("it is your picture"),
    "as_written": N_("its words stand there as written"),
    "together": N_("words and picture must both fit"),
    "match_density": N_("how many items match"),
    "modality_bias": N_("your preference for its kind"),
    "prior": N_("prior odds"),
    "rerank:maxsim": N_("its words, read again"),
}
_GENERAL = (
    "near_duplicate",
    "as_written",
    "match_density",
    "modality_bias",
    "prior",
    "together",
)  # lines without a raw score


def _print_breakdown(hit: Hit, method: str) -> None:
    """Print the score breakdown: each channel's score, rank, weight and contribution."""
    unit = _("log-odds") if method == "calibrated" else _("adds")
    heads = ((_("raw score"), 10), (_("rank"), 7), (_("weight"), 8), (unit, 10))
    print(" " * 18 + padded(_("channel"), 20) + "".join(" " * (width - columns(head)) + head for head, width in heads))
    for line in hit.breakdown:
        description = _MEANINGS.get(line.channel.removeprefix("not "))
        meaning = _(description) if description else ""
        general = line.rank == 0 and line.channel in _GENERAL
        cells = f"{'':25}" if general else f"{line.score:10.3f}{line.rank or '-':>7}{line.weight:8.2f}"
        print(f"{'':18}{line.channel:20}{cells}{line.contribution:+10.2f}  {meaning}".rstrip())
    total = sum(line.contribution for line in hit.breakdown)
    if method == "calibrated":
        result = _("sum {total:+.2f}, a probability of {score:.0%}").format(total=total, score=hit.score)
    else:
        result = _("sum {total:.3f}").format(total=total)
    print(" " * 18 + result)


def _place(hit: Hit) -> str:
    position = place(hit.item)
    return f"  ({position})" if position else ""
