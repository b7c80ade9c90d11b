"""The kinds of vector indexes of a server: how each is built, how broadly it is searched, and when it is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from commonplace.store.milvus.connection import Features

__all__ = ["KINDS", "IndexKind", "kind_for", "smaller_kinds"]

LARGE, HUGE = 5_000_000, 500_000_000
"""Numbers of rows from which on a graph takes too much memory, and from which on only a disk is large enough."""


@dataclass(frozen=True, slots=True)
class IndexKind:
    """A kind of index: its name in Milvus, and the parameter by which a search is broader or narrower.

    ``build`` and ``search`` are fixed parameters. ``breadths`` are the values of the parameter ``breadth``, narrow
    ones first; the last one is compared with. ``lists`` tells whether the index divides the rows into lists.
    """

    name: str
    breadth: str = ""
    breadths: tuple[int, ...] = ()
    build: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)
    lists: bool = False

    def build_parameters(self, rows: int) -> dict[str, Any]:
        """Return the parameters to build the index for a number of rows."""
        if not self.lists:
            return dict(self.build)
        return {**self.build, "nlist": min(65_536, max(128, 2 ** round(math.log2(4 * math.sqrt(max(rows, 1))))))}

    def search_parameters(self, breadth: int | None, k: int) -> dict[str, Any]:
        """Return the parameters of a search for ``k`` rows; ``breadth`` None takes a broad one."""
        if not self.breadth:
            return dict(self.search)
        value = breadth or self.breadths[2]
        # A graph returns at most as many rows as the search is broad.
        return {**self.search, self.breadth: value if self.lists else max(value, k)}


KINDS = {
    kind.name: kind
    for kind in (
        IndexKind("FLAT"),
        IndexKind("HNSW", "ef", (64, 128, 256, 512, 1024, 2048, 8192), {"M": 16, "efConstruction": 200}),
        IndexKind("IVF_SQ8", "nprobe", (16, 32, 64, 128, 256, 512, 1024), lists=True),
        IndexKind(
            "IVF_RABITQ",
            "nprobe",
            (16, 32, 64, 128, 256, 512, 1024),
            {"refine": True, "refine_type": "SQ8"},
            {"rbq_query_bits": 6, "refine_k": 2},
            lists=True,
        ),
        IndexKind("DISKANN", "search_list", (64, 100, 200, 400, 800, 1600)),
    )
}


def kind_for(rows: int, features: Features, *, exact: bool = False) -> IndexKind:
    """Return the kind of index that suits a number of rows on a server with these features."""
    if exact or features.lite:
        return KINDS["FLAT"]
    if rows < LARGE:
        return KINDS["HNSW"]
    if rows < HUGE:
        return KINDS["IVF_RABITQ" if features.rabitq else "IVF_SQ8"]
    return KINDS["DISKANN"]


def smaller_kinds(features: Features) -> list[IndexKind]:
    """Return the kinds that take less memory than a graph, the smallest first."""
    if features.lite:
        return []
    names = ["IVF_RABITQ", "IVF_SQ8"] if features.rabitq else ["IVF_SQ8"]
    return [KINDS[name] for name in names]
