"""Lookups: which items contain the words of a query as written, in their text or in the path of their document.

A query is either about something, and then items match by meaning, or it looks up what is written somewhere: a name, a
number, a code, a file. Of the second kind a rare word is evidence by itself, whatever the vectors say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from commonplace.store import RankedList
from commonplace.text import path_words, query_units, quotations, written_words
from commonplace.text.dates import dates, spellings
from commonplace.types import Item

__all__ = ["Lookup", "lookup"]

MIN_RARITY = 0.7
"""Rarity, in nats, that the words of a query must have together. Words that are in half of all items find none."""
NOT_THE_NAME = 0.9  # factor for the coverage of other items if the query is the name of a file
CODE_ALONE = 0.95  # coverage of an item that contains the query's codes, whatever else the query says
TIE = 1e-6

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a query finds as written: ``coverage`` (n,), the share in [0, 1] of its words that each candidate contains.

    Each word, code or quotation counts by its rarity. ``rivals`` (n,) is the number of candidates that contain as much
    and of which one is meant. It is 1 if all of them are: the files in a folder, the passages with a quotation.
    ``literal``: the query has a number, a code or a quotation, which vectors know nothing of. ``named`` (n,) are the
    candidates of files whose whole name is the query.
    """

    coverage: Floats
    rivals: Floats
    literal: bool = False
    named: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(1, bool))

    def of(self, chosen: NDArray[np.int64]) -> Lookup:
        """Return the lookup of the candidates at these indices (m,)."""
        named = np.broadcast_to(self.named, self.coverage.shape)[chosen]
        return Lookup(self.coverage[chosen], self.rivals[chosen], self.literal, named)

    def best(self) -> NDArray[np.bool_]:
        """Return which candidates (n,) contain the most of the query; none if no candidate contains any of it."""
        most = self.coverage.max(initial=0.0)
        return np.asarray((self.coverage >= most - TIE) & (self.coverage > 0), bool)


def lookup(
    query: str, by_words: RankedList, by_path: RankedList, ids: Sequence[str], items: Mapping[str, Item]
) -> Lookup:
    """Look up ``query`` in the candidates ``ids`` (n,).

    ``by_words`` and ``by_path`` are the ranked lists of a search in texts and in paths; only what they list is looked
    at, as given in ``items``. A path counts for the item that represents its document on the list ``by_path``.
    """
    units = query_units(query)
    spelled = {f'"{spelling}"' for day in dates(query) for spelling in spellings(day)}
    in_text, in_path = np.zeros((len(ids), len(units))), np.zeros((len(ids), len(units)))
    named = np.zeros(len(ids), np.int64)  # number of words of the file's name, if the query is that name
    listed, represented, asked_for = set(by_words.ids), set(by_path.ids), written_words(query)
    for n, id_ in enumerate(ids):
        if (item := items.get(id_)) is None:
            continue
        if id_ in listed and item.text_view:
            text = written_words(item.text_view)
            in_text[n] = [text.share(unit) for unit in units]
        if id_ in represented:
            path = PurePosixPath(item.document.path)
            words, in_name = written_words(path_words(item.document.path)), written_words(path_words(path.name))
            in_path[n] = [words.share(unit) for unit in units]
            if asked_for.share(f'"{path.stem}"') == 1.0 and all(in_name.share(unit) == 1.0 for unit in units):
                named[n] = len(written_words(path.stem))
    rarity = np.array([by_words.idf.get(unit, 0.0) for unit in units])
    path_rarity = np.array([by_path.idf.get(unit, 0.0) for unit in units])
    with_paths = np.where(in_path.any(0), np.minimum(rarity, path_rarity) if by_words.idf else path_rarity, rarity)
    by_text, by_both = _covered(in_text, rarity), _covered(np.maximum(in_text, in_path), with_paths)
    coverage = np.maximum(by_text, by_both)
    if named.any():  # of report.txt and report-final.txt the longer name that is all in the query
        coverage = np.where(named == named.max(), 1.0, NOT_THE_NAME * coverage)
    written = np.maximum(in_text, in_path)
    codes = np.array([with_paths[i] > 0 and _is_code(unit) for i, unit in enumerate(units)], bool)
    if codes.any():  # "what do we charge for DO-055 now": the code identifies, other words only say what is asked of it
        days = np.array([unit in spelled for unit in units], bool) & codes
        if days.any():  # one day in several spellings
            written[:, days] = written[:, days].max(axis=1, keepdims=True)
        coverage = np.maximum(coverage, CODE_ALONE * _covered(written[:, codes], with_paths[codes]))
    quoted = bool(quotations(query))
    all_meant = (by_both > by_text + TIE) | (named > 0) | quoted
    # of each candidate: how many have at least its coverage
    rivals = (len(ids) - np.searchsorted(np.sort(coverage), coverage - TIE)).astype(float)
    literal = quoted or any(" " in unit or any(map(str.isdigit, unit)) for unit in units)
    return Lookup(coverage, np.where(all_meant, 1.0, rivals), literal, (named > 0) & (named == named.max(initial=0)))


def _is_code(unit: str) -> bool:
    """Return whether a unit is a code such as DO-055, OX21 or 0x80370102: letters or signs, and digits."""
    word = unit.rstrip("*").strip('"')
    return any(map(str.isdigit, word)) and not word.isdigit()


def _covered(shares: Floats, rarity: Floats) -> Floats:
    """Return the share (n,) of a query's rarity that items with these shares (n, units) of its words contain."""
    total = float(rarity.sum())
    return shares @ rarity / total if total >= MIN_RARITY else np.zeros(len(shares))
