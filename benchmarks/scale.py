"""How large a collection in Milvus becomes, on paper: bytes, nodes, money and time of 10 million to 10 billion items.

    python benchmarks/scale.py            # from the sizes that are kept in results/scale.json
    python benchmarks/scale.py --measure  # reads the development data first and measures what an item weighs

Bytes of an item are measured by reading real files. Index sizes and nodes follow the rules of Milvus's own sizing tool, prices and
queries a second its articles (SOURCES). Everything else is arithmetic on these, and on the tables of this folder. Half of the items
are passages (a text vector), half pictures (an image and a look vector); a query in words searches the first two.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common import RESULTS, data, keep, machine, table

SIZES = {"10M": 10**7, "100M": 10**8, "1B": 10**9, "10B": 10**10}
DIM = 385  # [v, -offset]
M, DEGREE = 16, 56
"""HNSW's links of a row, as the Milvus store sets them; DISKANN's, as the sizing tool does."""
GIB = 1024**3
SECONDS_A_MONTH = 30 * 86_400
KEY_BYTES, PLACE_BYTES, WORD_BYTES = 20, 8, 16
"""A hash as text; an integer; a word of an item, in the sparse vector and in the list of words."""

SOURCES = {
    "tool": "https://milvus.io/tools/sizing",
    "rabitq": "https://milvus.io/blog/bring-vector-compression-to-the-extreme-how-milvus-serves-3%C3%97-more-queries-with-rabitq.md",
    "prices": "https://milvus.io/blog/milvus-tiered-storage-80-less-vector-search-cost-with-on-demand-hot%E2%80%93cold-data-loading.md",
}
MEMORY_PRICE, BUCKET_PRICE = 5.74, 0.023
"""Dollars for a GB and month: of a memory-optimized machine, its cores included, and of object storage (``prices``)."""
RABITQ_QPS, RABITQ_CORES, RABITQ_DIM = 864, 8, 768
"""Queries a second of IVF_RABITQ with SQ8 refinement, recall 94.7%, a million rows (``rabitq``)."""
USED = 0.7
"""The share of the cores that a cluster can spend on queries before they queue."""


@dataclass(frozen=True)
class Weights:
    """Mean bytes of what is stored of an item, and how many items a document has."""

    text: float
    span: float
    words: float
    path: float
    filters: float
    media_type: float
    thumbnail: float
    document: float
    items: float

    @property
    def fields(self) -> float:
        """The fields of filters and keys, which each row carries: id, document, generation, item, view, modality, place."""
        return 3 * KEY_BYTES + 4 * KEY_BYTES + 5 + PLACE_BYTES + self.path + self.media_type + self.filters

    @property
    def item_row(self) -> float:
        """A row of items: the fields, the text, and its words."""
        return self.fields + PLACE_BYTES + self.text + self.span + WORD_BYTES * self.words

    @property
    def vector_row(self) -> float:
        """A row of vectors, float32, with the fields."""
        return self.fields + 4 * DIM

    @property
    def document_row(self) -> float:
        """The share of an item in the row of its document."""
        return (self.fields + self.document) / self.items


VECTORS = 1.5
"""Vectors of an item, on average."""
PICTURES = 0.5
SEARCHED = 1.0
"""Vectors that a query in words searches, for each item."""


# --- what an item weighs -------------------------------------------------------------------------------------


def files() -> Iterator[Path]:
    """Yield documents and photographs of the development data, a sample that is the same every time."""
    draw = random.Random(0)
    for name, count in (("docs_wsl", 80), ("reports", 40), ("pdf", 60), ("office", 60), ("flickr8k", 300)):
        found = sorted(path for path in data(name).rglob("*") if path.is_file() and path.suffix != ".txt")
        yield from draw.sample(found, min(count, len(found)))


def measure() -> tuple[Weights, dict[str, int]]:
    """Read the sample as ``add`` does; return the mean bytes, and how much was read."""
    from commonplace import ReadError
    from commonplace.reading import read_files
    from commonplace.store.schema import metadata_rows
    from commonplace.text import terms

    documents, passages, pictures = [], [], []
    for _, parsed in read_files(files(), ocr=False):
        if isinstance(parsed, ReadError):
            continue
        document = parsed.document
        keys = metadata_rows(document.title, document.metadata.to_json())
        documents.append(
            {
                "path": len(document.path.encode()),
                "media_type": len(document.media_type),
                "filters": len(json.dumps({f"{type_}:{key}": value for key, type_, value in keys})),
                "document": len(document.metadata.to_json()) + len(f"{document.title}{document.stamp}{document.uri}"),
                "items": len(parsed.items),
            }
        )
        for item in parsed.items:
            view = item.text_view or ""
            row = {
                "text": len(view.encode()),
                "span": len(json.dumps(item.span.dict())),
                "words": len(set(terms(view))),
            }
            (pictures if item.picture else passages).append(row)
        thumbnails = [picture.thumbnail for picture in parsed.pictures.values()]
        documents[-1]["thumbnails"] = sum(map(len, thumbnails))
        documents[-1]["pictures"] = len(thumbnails)

    def mean(rows: Sequence[Mapping[str, float]], name: str) -> float:
        return math.fsum(row[name] for row in rows) / len(rows)

    halves = {name: (mean(passages, name) + mean(pictures, name)) / 2 for name in ("text", "span", "words")}
    count = sum(row["pictures"] for row in documents)
    weights = Weights(
        **halves,
        **{name: mean(documents, name) for name in ("path", "media_type", "filters", "document", "items")},
        thumbnail=sum(row["thumbnails"] for row in documents) / count,
    )
    return weights, {"documents": len(documents), "passages": len(passages), "pictures": len(pictures)}


# --- Milvus's own rules --------------------------------------------------------------------------------------


def loaded(rows: float, scalars: float, index: str) -> tuple[float, float]:
    """Return bytes of memory and of local disk of loaded rows: the index with its head-room, and the scalars by mmap."""
    raw = 4 * DIM * rows
    room = 2 * GIB  # two segments
    memory = {
        "HNSW": ((1 + 2 * M / DIM) * raw + room) * 1.15,
        "IVF_RABITQ + SQ8": ((1 / 32 + 8 / 32) * raw + room) * 1.15,
        "DISKANN": raw / 4 * 1.15,
    }[index]
    disk = (1 + DEGREE / DIM) * raw if index == "DISKANN" else 0.0
    return memory + scalars / 10, disk + scalars


def query_nodes(memory: float) -> tuple[int, int, int]:
    """Return number, cores and GiB of the query nodes that hold so many bytes."""
    size = memory / GIB
    for limit, cores, gib in ((8, 2, 8), (16, 4, 16), (96, 4, 16), (512, 8, 32), (2048, 16, 64), (math.inf, 32, 128)):
        if size < limit:
            return max(1, math.ceil(size / gib)), cores, gib
    raise AssertionError("unreachable")


def other_memory(memory: float, query_cores: int) -> int:
    """Return the GiB of the other parts of a cluster: proxy, coordinator, data nodes, streaming nodes, etcd."""
    size = memory / GIB
    steps = ((8, 16), (16, 32), (32, 48), (64, 48), (96, 80), (math.inf, 192))
    fixed = next(gib for limit, gib in steps if size < limit)
    units = math.ceil(query_cores / 16)
    small = {1: 8, 2: 16, 3: 32, 4: 32, 5: 64, 6: 64, 7: 64, 8: 64}
    streaming = small.get(units, 32 * math.ceil(units / 4))
    etcd = 3 * (8 if size >= 96 else 4)
    return fixed + streaming + etcd


# --- the arithmetic ------------------------------------------------------------------------------------------


def plan(weights: Weights, items: int, index: str) -> dict[str, float]:
    """Return what a collection of so many items needs with an index."""
    rows = VECTORS * items
    scalars = rows * weights.fields + items * (weights.item_row + weights.document_row)
    memory, disk = loaded(rows, scalars, index)
    nodes, cores, gib = query_nodes(memory)
    bucket = rows * weights.vector_row + items * (weights.item_row + weights.document_row) + memory
    pictures = PICTURES * items * weights.thumbnail
    work = RABITQ_CORES / RABITQ_QPS * DIM / RABITQ_DIM * SEARCHED * items / 1e6  # seconds of a core, a query
    cluster = nodes * gib + other_memory(memory, nodes * cores)
    month = cluster * MEMORY_PRICE + (bucket + pictures) / 1e9 * BUCKET_PRICE
    rate = USED * nodes * cores / work
    return {
        "rows": rows,
        "memory": memory,
        "disk": disk,
        "bucket": bucket,
        "pictures": pictures,
        "nodes": nodes,
        "cores": nodes * cores,
        "cluster": cluster,
        "alone": work / (nodes * cores),
        "gib": gib,
        "work": work,
        "queries a second": rate,
        "month": month,
        "an item": month / items,
        "a query": month / (rate * SECONDS_A_MONTH),
        "segments": math.ceil(rows * 4 * DIM / GIB),
    }


def short(count: float) -> str:
    """Return a number of bytes in words."""
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"


def money(dollars: float) -> str:
    """Return dollars in words."""
    return f"${dollars:,.0f}" if dollars >= 100 else f"${dollars:.2g}"


def duration(seconds: float) -> str:
    """Return a duration in words."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{1000 * seconds:,.0f} ms" if seconds < 1 else f"{seconds:.2g} s"


MEASURED, SIZING, COMPUTED = "measured here", "Milvus's own sizing", "computed"


def weights_table(weights: Weights) -> str:
    """Return the table of what an item weighs."""
    rows = [
        ["a vector, [v, -offset], float32 (float16)", f"{4 * DIM:,} ({2 * DIM:,})", COMPUTED],
        [
            "its index: HNSW, IVF_RABITQ + SQ8, DISKANN (memory / disk)",
            f"{4 * DIM + 8 * M:,}, {4 * DIM * 9 / 32:,.0f}, {DIM:,} / {4 * DIM + 4 * DEGREE:,}",
            SIZING,
        ],
        ["keys and fields of filters, in each row", f"{weights.fields:,.0f}", MEASURED],
        ["text, headings and span", f"{weights.text + weights.span:,.0f}", MEASURED],
        [f"words ({weights.words:.0f} different ones)", f"{WORD_BYTES * weights.words:,.0f}", MEASURED],
        [
            f"the share in its document's row ({weights.items:.1f} items a document)",
            f"{weights.document_row:,.0f}",
            MEASURED,
        ],
        ["a picture's thumbnail, in the bucket", f"{weights.thumbnail:,.0f}", MEASURED],
    ]
    return table(["of an item", "bytes", "from"], rows)


def plans_table(weights: Weights, node: Mapping[str, Any], encoded: Mapping[str, float]) -> str:
    """Return the table of the four sizes."""
    plans = {index: [plan(weights, items, index) for items in SIZES.values()] for index in INDEXES}
    compact = plans["IVF_RABITQ + SQ8"]
    rows = [
        ["rows of vectors", *(f"{one['rows']:,.0f}" for one in compact), COMPUTED],
        ["vectors as float32", *(short(4 * DIM * one["rows"]) for one in compact), COMPUTED],
        [
            "text, words, fields",
            *(short(one["bucket"] - one["memory"] - 4 * DIM * one["rows"]) for one in compact),
            MEASURED,
        ],
        ["thumbnails", *(short(one["pictures"]) for one in compact), MEASURED],
    ]
    for index, found in plans.items():
        rows.append([f"memory: {index}", *(short(one["memory"]) for one in found), SIZING])
    rows.append(["local disk: fields by mmap", *(short(one["disk"]) for one in compact), SIZING])
    rows.append(["local disk: DISKANN", *(short(one["disk"]) for one in plans["DISKANN"]), SIZING])
    for index, found in plans.items():
        rows.append([f"query nodes: {index}", *(f"{one['nodes']} x {one['gib']} GB" for one in found), SIZING])
    rows.append(["memory of the whole cluster (RABITQ)", *(f"{one['cluster']:,} GB" for one in compact), SIZING])
    for index in ("HNSW", "IVF_RABITQ + SQ8"):
        rows.append([f"a month: {index}", *(money(one["month"]) for one in plans[index]), COMPUTED])
    rows += [
        ["a million items, a month (RABITQ)", *(money(1e6 * one["an item"]) for one in compact), COMPUTED],
        ["core-time of a query in words (RABITQ)", *(duration(one["work"]) for one in compact), COMPUTED],
        [
            "a query alone, spread over all cores (RABITQ)",
            *(duration(one["alone"]) for one in compact),
            COMPUTED,
        ],
        [
            "queries a second, one replica (RABITQ)",
            *(f"{one['queries a second']:.0f}" for one in compact),
            COMPUTED,
        ],
        ["a thousand queries at that rate", *(money(1000 * one["a query"]) for one in compact), COMPUTED],
    ]
    core = math.fsum(1 / rate for rate in encoded.values()) / len(encoded)  # seconds of a core, an item
    rows += [
        ["encoding, on 16 cores", *(duration(items * core / 16) for items in SIZES.values()), MEASURED],
        [
            "upserts of vectors, one writer, 2.3.5",
            *(duration(VECTORS * items / node["rows_per_s"]) for items in SIZES.values()),
            MEASURED,
        ],
        ["segments of 1 GB", *(f"{one['segments']:,}" for one in compact), COMPUTED],
    ]
    return table(["", *SIZES, "from"], rows)


INDEXES = ("HNSW", "IVF_RABITQ + SQ8", "DISKANN")


def encoding() -> dict[str, float]:
    """Return passages and photographs a second and core, from results/ingest.md."""
    lines = (RESULTS / "ingest.md").read_text(encoding="utf-8").splitlines()
    rates = {}
    for line in lines:
        for kind, start in (("passages", "paragraphs"), ("photographs", "photographs, 2000")):
            if line.startswith("|") and start in line:
                rates[kind] = float(line.split("|")[3]) / 2  # two cores
    return rates


def main() -> None:
    """Measure if asked to, compute, keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="read the development data and measure an item first")
    if parser.parse_args().measure:
        weights, sample = measure()
        measured = {"weights": asdict(weights), "sample": sample, "machine": machine()}
    else:
        measured = json.loads((RESULTS / "scale.json").read_text())["measured"]
        weights = Weights(**measured["weights"])
    node = json.loads((RESULTS / "fanout.json").read_text())["node"]
    sample = measured["sample"]
    text = (
        f"An item, from {sample['documents']:,} real documents with {sample['passages']:,} passages and {sample['pictures']:,} pictures; half of the items "
        f"passages, half pictures:\n\n{weights_table(weights)}\n\n"
        f"Collections of such items, {VECTORS} vectors each:\n\n{plans_table(weights, node, encoding())}\n\n"
        f"Milvus's own: index sizes and nodes by its [sizing tool]({SOURCES['tool']}) for 2.6; {RABITQ_QPS} queries a second on {RABITQ_CORES} cores for a million rows of "
        f"{RABITQ_DIM} dimensions at recall .947 by its [measurement]({SOURCES['rabitq']}); ${MEMORY_PRICE} a GB and month of a memory-optimized machine and "
        f"${BUCKET_PRICE} of a bucket by its [article]({SOURCES['prices']})."
    )
    plans = {index: {name: plan(weights, items, index) for name, items in SIZES.items()} for index in INDEXES}
    keep("scale", text, {"measured": measured, "plans": plans})


if __name__ == "__main__":
    main()
