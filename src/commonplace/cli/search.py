"""``search``: hits, what made their scores, heat-maps."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from commonplace.cli.common import filters_of, open_, question_options, ranking_of, ranking_options
from commonplace.cli.printing import fill, place, print_json, short
from commonplace.types import printable

if TYPE_CHECKING:
    from commonplace.collection import Collection
    from commonplace.types import Hit


def verbs(verb: Any) -> None:
    """Add the verb to the command."""
    find = verb(
        "search",
        _search,
        "find passages and pictures by words, by a picture, or by both",
        'commonplace search "the same, but in snow" --image dog.jpg -k 5',
    )
    find.add_argument("text", metavar="TEXT", nargs="*", help="what to look for; quotes are not needed")
    question_options(find)
    find.add_argument("-k", type=int, default=10, metavar="N", help="number of hits (default: 10)")
    find.add_argument(
        "--heatmap", metavar="DIR", help="draw into this folder where in each picture that was found the words match"
    )
    find.add_argument("--explain", action="store_true", help="show how each score came about")
    find.add_argument(
        "--diversity",
        type=float,
        metavar="D",
        help="0 to 1: how much likeness to better hits costs a hit (default: 0, or what tune stored)",
    )
    ranking_options(find)


def _search(options: argparse.Namespace) -> int:
    with open_(options) as kb:
        ranking = ranking_of(kb, options)
        hits = kb.search(
            " ".join(options.text) or None,
            image=options.image,
            k=options.k,
            **filters_of(options),
            negative=options.negative,
            negative_image=options.not_image,
            min_confidence=options.min_confidence,
            ranking=ranking,
            rerank=options.rerank,
        )
        if options.heatmap:
            _heatmaps(kb, hits, " ".join(options.text), options.heatmap)
        for note in hits.notes:
            print(f"note: {note}", file=sys.stderr)
    if options.json:
        print_json({"hits": [hit.dict() for hit in hits]})
        return 0
    if not hits:
        print("nothing found")
    for number, hit in enumerate(hits, start=1):
        _print_hit(number, hit, options.explain, ranking.method)
    return 0


def _heatmaps(kb: Collection, hits: Sequence[Hit], text: str, folder: str) -> None:
    """Draw a heat-map of each picture hit into the folder; a picture that cannot be read is noted and left out."""
    from commonplace.errors import QueryError, ReadError

    if not text:
        raise QueryError("a heat-map shows where words match: ask with words")
    if os.path.exists(folder) and not os.path.isdir(folder):  # said before the work, not after
        raise QueryError(f"heat-maps are drawn into a folder, and {folder} is a file: name another")
    for number, hit in enumerate(hits, start=1):
        if hit.image:
            try:
                heat = kb.heatmap(hit, text)
            except ReadError as problem:
                print(f"note: no heat-map: {printable(str(problem))}", file=sys.stderr)
            else:
                print(f"heat-map: {short(str(heat.save_in(folder, number, hit.image)))}", file=sys.stderr)


def _print_hit(number: int, hit: Hit, explain: bool, method: str) -> None:
    item = hit.item
    print(f"{number:2}  {hit.score:.3f}  {item.modality:5}  {short(item.document.path)}{_place(hit)}")
    if item.text:
        line = textwrap.shorten(printable(" ".join(item.text.split())), 220, placeholder=" …")
        print(fill(line, " " * 18))
    if hit.image and hit.image != item.document.path:
        print(f"{'':18}picture: {short(hit.image)}")
    if hit.near_duplicates:
        names = ", ".join(dict.fromkeys(short(copy.document.path) for copy in hit.near_duplicates[:3]))
        more = f" and {len(hit.near_duplicates) - 3} more" if len(hit.near_duplicates) > 3 else ""
        count = len(hit.near_duplicates)
        print(f"{'':18}shown for {count} near-duplicate{'' if count == 1 else 's'}: {names}{more}")
    if explain:
        _print_ledger(hit, method)


_LINES = {
    "lexical": "its words",
    "text->text": "what its text says",
    "text->image": "what its picture shows",
    "image->image": "how like your picture it is",
    "image->semantic": "how like your picture its scene is",
    "image->text": "what its text says of your picture",
    "text->item": "its text and picture as one",
    "image->item": "its text and picture as one, by your picture",
    "both->text": "what its text says (words and picture as one)",
    "both->image": "what its picture shows (words and picture as one)",
    "both->item": "its text and picture as one (words and picture as one)",
    "near_duplicate": "it is your picture",
    "together": "both of what you ask for at once",
    "match_density": "how much else matches",
    "modality_bias": "your preference for its kind",
    "prior": "the odds before looking",
    "rerank:maxsim": "its words, read again",
}


def _print_ledger(hit: Hit, method: str) -> None:
    """Print how a score came about: what each line found, and what it adds."""
    unit = "log-odds" if method == "calibrated" else "adds"
    print(f"{'':18}{'what speaks for it':34}{'raw score':>10}{'place':>7}{'weight':>8}{unit:>10}")
    for line in hit.breakdown:
        name = _LINES.get(line.channel.removeprefix("not "), line.channel)
        name = f"not wanted: {name}" if line.channel.startswith("not ") else name
        whole = line.rank == 0 and line.channel in (
            "near_duplicate",
            "match_density",
            "modality_bias",
            "prior",
            "together",
        )
        cells = f"{'':25}" if whole else f"{line.score:10.3f}{line.rank or '-':>7}{line.weight:8.2f}"
        print(f"{'':18}{name:34}{cells}{line.contribution:+10.2f}")
    total = sum(line.contribution for line in hit.breakdown)
    meaning = f"{total:+.2f}, a probability of {hit.score:.0%}" if method == "calibrated" else f"{total:.3f}"
    print(f"{'':18}together {meaning}")


def _place(hit: Hit) -> str:
    said = place(hit.item)
    return f"  ({said})" if said else ""
