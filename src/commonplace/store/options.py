"""The numbers that decide how a local store indexes and searches, each with the measurement behind it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT", "StoreOptions"]


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """When a local store writes index files, and how it searches them. Times are of two cores with AVX-512.

    The defaults suit collections from ten to a million items. Tests pass small numbers, so that few rows count as many.
    """

    memory_rows: int = 65_536
    """Rows of a partition that are held in memory beside its index file (100 MB at 384 dimensions). Further rows are
    streamed from the database at every search, until an index file holds them."""

    build_after: int = 8_192
    """Changes since the index file was written that are not worth writing another one: they cost a search less than
    1 ms."""

    codes_from: int = 50_000
    """Rows from which an index file gets binary codes. Below, a scan of the rows takes no longer than codes and their
    candidates do."""

    cells_from: int = 200_000
    """Codes from which they stand in IVF cells. There, cells save a tenth of the time of a search, and of a million
    codes two thirds (``benchmarks/results/lists.md``)."""

    probe_share: float = 0.3
    """Share of the codes, 0 to 1, above which all are read instead of the probed cells: reading all needs no copy."""

    codes_per_candidate: int = 4
    """Codes that are read for each candidate wanted, at the least: where the probed cells hold fewer, more cells are
    probed."""

    split_from: int = 2_000_000
    """Codes from which two threads read a half each. A million codes take one thread 2.4 ms, and on a busy machine the
    other thread would be waited for."""

    gather_rows: int = 4_096
    """Allowed rows up to which a filtered search scores all of them even where there are codes: exact, and about as
    fast."""

    hits: int = 100
    """Hits that a channel of a search asks for: codes must serve so many within an eighth of the rows, or projected
    vectors are tried."""

    code_margin: float = 8
    """Times more candidates than the measured queries need for a recall of .99. Those come from one collection of
    captions and pictures; queries of other kinds were seen to need up to fourteen times as many."""

    projected_margin: float = 2
    """The same for projected vectors: other queries were seen to need as many candidates as those measured with."""

    rescore_fraction: float = 1 / 4
    """Share of the candidates by codes that are scored exactly, 0 to 1. The measured queries need a twentieth, others
    an eighth."""

    migration_tail: int = 256
    """Items that a migration embeds under the write lock: no process that keeps adding can then put off its end."""


DEFAULT = StoreOptions()
