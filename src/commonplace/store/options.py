"""The options that control indexing and search in a local store, each with the measurement behind its default."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT", "StoreOptions"]


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Controls when a local store writes index files and how it searches them.

    Times were measured on two cores with AVX-512. The defaults suit collections from ten to a million items. Tests use
    small numbers, so that few rows behave like many.
    """

    memory_rows: int = 65_536
    """Maximum number of rows of a partition in memory, in addition to its index file (100 MB at 384 dimensions). Every
    search streams further rows from the database, until a new index file contains them."""

    build_after: int = 8_192
    """Number of changes after which a new index file is written. Fewer changes cost a search less than 1 ms."""

    codes_from: int = 50_000
    """Number of rows from which an index file has binary codes. With fewer rows, a scan is as fast as a search by
    codes."""

    cells_from: int = 200_000
    """Number of codes from which they are grouped into IVF cells. At this number, cells save a tenth of the search
    time; at a million codes, two thirds (``benchmarks/results/lists.md``)."""

    probe_share: float = 0.3
    """If the probed cells contain more than this share (0 to 1) of the codes, all codes are read, without a copy."""

    codes_per_candidate: int = 4
    """Minimum number of codes read per wanted candidate. If the probed cells contain fewer, more cells are probed."""

    split_from: int = 2_000_000
    """Number of codes from which two threads read one half each. One thread reads a million codes in 2.4 ms. On a busy
    machine, waiting for a second thread would take longer."""

    gather_rows: int = 4_096
    """Up to this number of allowed rows, a filtered search scores all of them, even if there are codes. That is exact
    and about as fast."""

    hits: int = 100
    """Number of hits that a search channel requests. If the candidates by codes for this number exceed an eighth of the
    rows, projected vectors are tried."""

    code_margin: float = 8
    """Safety factor on the number of candidates by codes that the measured queries need for a recall of .99. Those
    queries come from one collection of captions and pictures. Other kinds of queries needed up to fourteen times as
    many candidates."""

    projected_margin: float = 2
    """Safety factor on the number of candidates by projected vectors. Other queries needed about as many candidates as
    the measured ones."""

    rescore_fraction: float = 1 / 4
    """Share (0 to 1) of the candidates by codes that are scored exactly. The measured queries need a twentieth, other
    queries an eighth."""

    migration_tail: int = 256
    """Maximum number of items that a migration embeds under the write lock. The lock keeps a process that adds items
    all the time from delaying the end of the migration."""


DEFAULT = StoreOptions()
