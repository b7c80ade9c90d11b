"""What a search waits for when it asks many query nodes: it is as slow as the slowest, unless it hedges.

    python benchmarks/fanout.py                    # simulates from the node that is kept in results/fanout.json
    python benchmarks/fanout.py --server PROGRAM   # measures a node first: `milvus-server` of the PyPI package milvus

The node is one real Milvus 2.3.5 with 100,000 rows as the Milvus store lays them out: [v, -offset] of 385 dimensions and the
fields of filters; HNSW, the best hundred. Its latencies are drawn again for each of N nodes, independently; a query takes the
largest. A hedged query asks a replica as well once a node has taken longer than its 95th percentile, and takes the faster
answer. The second model is a lognormal with the same median and 95th percentile; the third is that lognormal with a stall, ten
medians long, in one of a hundred answers (compaction, a load of segments, a busy neighbour).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import RESULTS, ROOT, keep, machine, table

Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]
"""Returns latencies in medians of a node, of the given shape."""

NODES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
QUERIES, SEEDS = 20_000, 5
QUANTILES = (50, 95, 99)
ROWS, DIM, HITS, SEARCHES, BATCH = 100_000, 385, 100, 4_000, 1_000
STALLS, STALL = 0.01, 10.0
PLOT = ROOT / "docs" / "images" / "fanout.png"


# --- the simulation ------------------------------------------------------------------------------------------


def models(latencies: NDArray[np.float64]) -> dict[str, Draw]:
    """Return the distributions of a node's latency, in its medians: as measured, and two smooth ones."""
    sample = latencies / np.median(latencies)
    sigma = float(np.log(np.quantile(sample, 0.95)) / 1.6449)

    def measured(draw: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
        return draw.choice(sample, size=shape)

    def lognormal(draw: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
        return draw.lognormal(0.0, sigma, size=shape)

    def stalling(draw: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
        return lognormal(draw, shape) + STALL * (draw.random(shape) < STALLS)

    return {"as measured": measured, "lognormal": lognormal, "lognormal with stalls": stalling}


def fan_out(
    node: Draw, nodes: int, draw: np.random.Generator, *, hedge_after: float | None = None, queries: int = QUERIES
) -> NDArray[np.float64]:
    """Return the time of each query (queries,): the largest of ``nodes`` latencies.

    With ``hedge_after`` a replica is asked after that time too, and the faster answer counts.
    """
    slowest = np.zeros(queries)
    for _ in range(nodes):
        answer = node(draw, (1, queries))[0]
        if hedge_after is not None:
            late = np.flatnonzero(answer > hedge_after)
            answer[late] = np.minimum(answer[late], hedge_after + node(draw, (1, len(late)))[0])
        np.maximum(slowest, answer, out=slowest)
    return slowest


def quantiles(node: Draw, nodes: int, *, is_hedged: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return p50, p95 and p99 of a query, each the mean over seeds, and half of their range."""
    found = []
    for seed in range(SEEDS):
        draw = np.random.default_rng([seed, nodes])
        after = float(np.quantile(node(draw, (1, 100_000)), 0.95)) if is_hedged else None
        found.append(np.percentile(fan_out(node, nodes, draw, hedge_after=after), QUANTILES))
    values = np.array(found)
    return values.mean(axis=0), (values.max(axis=0) - values.min(axis=0)) / 2


def simulate(latencies: NDArray[np.float64]) -> dict[str, Any]:
    """Return the quantiles by model, number of nodes, and whether queries are hedged."""
    result: dict[str, Any] = {}
    for name, node in models(latencies).items():
        result[name] = {}
        for nodes in NODES:
            plain, spread = quantiles(node, nodes, is_hedged=False)
            hedged, hedged_spread = quantiles(node, nodes, is_hedged=True)
            result[name][str(nodes)] = {
                "plain": plain.round(3).tolist(),
                "plain spread": spread.round(3).tolist(),
                "hedged": hedged.round(3).tolist(),
                "hedged spread": hedged_spread.round(3).tolist(),
            }
    return result


def report(values: dict[str, Any]) -> str:
    """Return the tables of a simulation."""
    node = values["node"]
    p50, p95, p99 = np.percentile(node["latencies_ms"], QUANTILES)
    node_max = max(node["latencies_ms"]) / p50
    spread = max(
        max(cell[f"{kind} spread"][at] / cell[kind][at] for at in range(3))
        for cells in values["simulated"].values()
        for cell in cells.values()
        for kind in ("plain", "hedged")
    )
    text = (
        f"One node, measured on {node['machine']} (shared with other work; load average {node['load']:.1f}): Milvus {node['version']}, {node['rows']:,} rows of {DIM} "
        f"dimensions, HNSW, {len(node['latencies_ms']):,} searches for {HITS} hits one after the other: "
        f"**{p50:.1f} ms p50, {p95:.1f} p95, {p99:.1f} p99**. One writer upserted {node['rows_per_s']:,.0f} rows a second "
        f"(batches of {BATCH:,}). The server's memory: {node['idle_mb']:,.0f} MB empty, {node['mb']:,.0f} MB with the rows and their index.\n\n"
        f"Simulated: {QUERIES:,} queries, {SEEDS} seeds (they differ by at most {100 * spread:.0f}%), in medians of a node. A hedged query asks a "
        f"replica after a node's p95, so 5% more requests are made. The measured sample ends at {node_max:.0f} medians; no larger value can be drawn.\n\n![p99 over the number of nodes](../../docs/images/fanout.png)"
    )
    heads = [cell for name in values["simulated"] for cell in (f"p99, {name}", "hedged")]
    lines = [
        [
            nodes,
            *(f"{cells[nodes][kind][2]:.1f}" for cells in values["simulated"].values() for kind in ("plain", "hedged")),
        ]
        for nodes in map(str, NODES[::2])
    ]
    text += f"\n\n{table(['nodes', *heads], lines)}"
    head = ["nodes", "p50", "p95", "p99", "hedged p50", "p95", "p99"]
    for name, cells in values["simulated"].items():
        rows = [[nodes, *(f"{value:.2f}" for value in cell["plain"] + cell["hedged"])] for nodes, cell in cells.items()]
        text += f"\n\n**{name[0].upper() + name[1:]}**\n\n{table(head, rows)}"
    return text


def plot(simulated: dict[str, Any]) -> None:
    """Draw p50 and p99 over the number of nodes, plain and hedged, a panel a model."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(simulated), figsize=(12, 4), layout="constrained", sharey=True)
    for axis, (name, cells) in zip(axes, simulated.items(), strict=True):
        nodes = [int(count) for count in cells]
        for kind, colour in (("plain", "#d55e00"), ("hedged", "#0072b2")):
            for at, style in ((2, "-"), (0, ":")):
                label = f"p{QUANTILES[at]}" + (", hedged" if kind == "hedged" else "")
                axis.plot(nodes, [cell[kind][at] for cell in cells.values()], style, color=colour, label=label)
        axis.set(
            xscale="log", yscale="log", title=f"latency of a node: {name}", xlabel="query nodes that a search asks"
        )
        axis.set_xticks(NODES[::2], [str(count) for count in NODES[::2]])
        axis.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("time of a search, in medians of a node")
    axes[0].legend(fontsize=8)
    figure.savefig(PLOT, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


# --- the node ------------------------------------------------------------------------------------------------


def measure(program: Path) -> dict[str, Any]:
    """Start a server, fill it, and return its figures: latencies in ms, rows a second, memory in MB."""
    sys.path.insert(0, str(ROOT))
    from pymilvus import DataType, MilvusClient
    from tests.milvus_server import MilvusServer

    with MilvusServer(program) as server:
        client = MilvusClient(server.uri, timeout=60)
        idle = resident(server.data)
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=1024)
        for name in ("document", "generation", "item", "view", "modality", "media_type", "path"):
            schema.add_field(name, DataType.VARCHAR, max_length=1024)
        schema.add_field("filters", DataType.JSON)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
        indexes = client.prepare_index_params()
        indexes.add_index("vector", index_type="HNSW", metric_type="IP", params={"M": 16, "efConstruction": 200})
        client.create_collection("node", schema=schema, index_params=indexes, timeout=60)
        draw = np.random.default_rng(0)
        centres = draw.normal(size=(500, DIM))
        spent = 0.0
        for start in range(0, ROWS, BATCH):
            batch = rows(draw, centres, start)
            begun = time.perf_counter()
            client.upsert("node", batch, timeout=60)
            spent += time.perf_counter() - begun
        client.flush("node", timeout=300)
        while client.describe_index("node", "vector", timeout=60)["pending_index_rows"]:
            time.sleep(1)
        client.load_collection("node", timeout=300)
        questions = vectors(draw, centres, SEARCHES + 500)
        latencies = []
        for question in questions:
            begun = time.perf_counter()
            hits = client.search(
                "node", [question.tolist()], limit=HITS, search_params={"params": {"ef": 200}}, timeout=60
            )
            latencies.append(1000 * (time.perf_counter() - begun))
            assert len(hits[0]) == HITS
        return {
            "machine": machine(),
            "load": os.getloadavg()[1],
            "version": client.get_server_version(),
            "rows": ROWS,
            "rows_per_s": ROWS / spent,
            "idle_mb": idle,
            "mb": resident(server.data),
            "latencies_ms": [round(value, 3) for value in latencies[500:]],  # the first warm up
        }


def vectors(draw: np.random.Generator, centres: NDArray[np.float64], count: int) -> NDArray[np.float32]:
    """Return made unit vectors around some centres (count, DIM)."""
    found = centres[draw.integers(len(centres), size=count)] + draw.normal(size=(count, DIM))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def rows(draw: np.random.Generator, centres: NDArray[np.float64], start: int) -> list[dict[str, Any]]:
    """Return a batch of rows with vectors and the fields of filters."""
    return [
        {
            "id": f"{number:060d}",
            **dict.fromkeys(("document", "generation", "item", "view"), f"{number:020d}"),
            "modality": "text",
            "media_type": "text/markdown",
            "path": f"/archive/{number % 1000:04d}/{number:08d}.md",
            "filters": {"text:title": f"Report {number}", "number:pages": number % 40},
            "vector": vector.tolist(),
        }
        for number, vector in enumerate(vectors(draw, centres, BATCH), start)
    ]


def resident(data: Path) -> float:
    """Return the resident MB of the processes whose program lies below ``data``."""
    pages = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "exe").readlink().is_relative_to(data):
                pages += int((process / "statm").read_text().split()[1])
        except OSError:  # ended meanwhile, or another user's
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Measure a node if asked to, simulate, keep tables and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", type=Path, help="path of milvus-server: measure a node first")
    server = parser.parse_args().server
    kept = RESULTS / "fanout.json"
    if server is None and not kept.exists():
        raise SystemExit("no node is kept in benchmarks/results/fanout.json: measure one with --server")
    node = measure(server) if server else json.loads(kept.read_text())["node"]
    values = {"node": node, "simulated": simulate(np.array(node["latencies_ms"]))}
    plot(values["simulated"])
    keep("fanout", report(values), values)


if __name__ == "__main__":
    main()
