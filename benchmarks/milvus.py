"""A collection of 100,000 texts and photographs in a folder, in Milvus Lite and in a Milvus server, in one run.

    python benchmarks/milvus.py [--items 100000] [--work DIR] [--server PATH] [--baseline PYTHON] [--parts NAME ...]

``--server`` is the ``milvus-server`` of the PyPI package ``milvus`` (2.3.5); it runs in a network namespace of its own
(needs root). ``--baseline`` is an interpreter with ``langchain-milvus`` and this package. ``--work`` keeps what was
embedded. ``--parts`` selects among search, filters, ingest, concurrent, kinds and baseline.

The items are Flickr8k's photographs and captions (English and Chinese) and XQuAD's paragraphs. They are embedded once
into a folder, and copied. Questions are captions and photographs of the test split. Each time is one that a user waits:
``Collection.search`` with the encoding of the question, in a process that is warm. The raw calls are those that a
search makes of the server, made again all at once by pymilvus alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import commonplace as cp
from common import data, flickr8k, interval, keep, machine, table
from commonplace.collection import Collection
from commonplace.copying import copy
from commonplace.places import space_of
from commonplace.space import Space, open_space
from commonplace.store import Store
from commonplace.types import Document, Filter, ParsedDocument, Picture

sys.path.insert(0, str(Path(__file__).parent.parent))

K, WARM = 10, 5
QUESTIONS = 30  # of each kind
SHARES = {"10 %": 100, "1 %": 10, "0.1 %": 1}
WRITERS, SEARCHERS = (1, 2, 4), (1, 2, 4, 8)
INGESTED = 4000  # items


# --- what is stored ------------------------------------------------------------------------------------------


def texts(count: int) -> Iterator[str]:
    """Yield different texts, in an order that is the same in every run."""
    test = set(flickr8k("test"))
    lines = (data("flickr8k") / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines()
    captions = [line.split("\t")[1].strip() for line in lines if line.split("#")[0] not in test]
    for name in ("zhb", "zhc", "zhg"):
        lines = (data("flickr8k_cn") / f"flickr8k{name}.caption.txt").read_text(encoding="utf-8").splitlines()
        captions += [line.split(maxsplit=1)[1] for line in lines if line.split("#")[0] not in test and " " in line]
    for language in ("en", "zh", "de", "es", "ru", "ar"):
        articles = json.loads((data("xquad") / f"xquad.{language}.json").read_text(encoding="utf-8"))["data"]
        captions += [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]
    unique = list(dict.fromkeys(captions))
    random.Random(0).shuffle(unique)
    yield from unique[:count]


def build(folder: Path, items: int, source: Path | None = None) -> None:
    """Embed photographs and texts into a folder, once; or take a part of ``source``, which is embedded."""
    if source is not None and not (folder / "collection.db").exists():
        take(source, folder, items)
    with cp.open(folder) as kb:
        if len(kb) >= 0.98 * items:
            return
        pictures = sorted((data("flickr8k") / "images").glob("*.jpg"))
        count = items - len(pictures[: items // 10])
        start = time.perf_counter()
        kb.add(*pictures[: items // 10], progress=False)
        records = (
            cp.Record(text, id=f"t{n}", metadata={"bucket": n % 1000, "group": f"g{n % 10}"})
            for n, text in enumerate(texts(count))
        )
        kb.add(records, progress=False)
        print(f"embedded {len(kb):,} items in {time.perf_counter() - start:.0f} s", flush=True)


def take(source: Path, folder: Path, items: int) -> None:
    """Copy the first tenth of ``items`` photographs and texts of a folder."""
    with cp.open(source) as whole, cp.open(folder) as kb:
        documents = list(whole.documents())
        pictures = [document.id for document in documents if document.is_file][: items // 10]
        records = [document.id for document in documents if not document.is_file][: items - len(pictures)]
        for ids in (pictures, records):
            for start in range(0, len(ids), 500):
                batch = list(whole.store.documents(ids=ids[start : start + 500]))
                parsed = [taken(whole.store, document) for document in batch]
                kb.store.add(parsed, whole.store.views_of([item.id for d in parsed for item in d.items]))
        kb.store.maintenance.checkpoint()


def taken(store: Store, document: Document) -> ParsedDocument:
    items = tuple(store.items_of(document.id))
    names = {item.picture for item in items if item.picture}
    pictures = {name: Picture(np.zeros((0, 0, 3), np.uint8), store.thumbnail(name) or b"", 1, 1) for name in names}
    return ParsedDocument(document, items, pictures)


# --- collections ---------------------------------------------------------------------------------------------


def milvus_store(url: str, space: Space, folder: Path, *, exact: bool = False) -> Store:
    from commonplace.store.milvus.address import MilvusAddress
    from commonplace.store.milvus.blobs import Blobs
    from commonplace.store.milvus.store import MilvusStore

    address = MilvusAddress.parse(url)
    address = type(address)(address.uri, address.name, address.tenant, timeout=120)
    return MilvusStore(address, space_of(space), blobs=Blobs.open(f"file://{folder}/blobs"), exact=exact)


def opened(url: str, space: Space, folder: Path, *, exact: bool = False) -> Collection:
    folder.mkdir(exist_ok=True, parents=True)
    return Collection(milvus_store(url, space, folder, exact=exact), space, folder)


# --- questions -----------------------------------------------------------------------------------------------


def questions(kind: str) -> list[dict[str, Any]]:
    """Return searches by words, by a picture or by both, from photographs of the test split."""
    names = list(flickr8k("test").items())
    asked = []
    for name, captions in names[:QUESTIONS]:
        search: dict[str, Any] = {}
        if kind != "a picture":
            search["text"] = captions[0]
        if kind != "words":
            search["image"] = data("flickr8k") / "images" / name
        asked.append(search)
    return asked


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU milliseconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


def in_turns(
    collections: dict[str, Collection], searches: Sequence[dict[str, Any]]
) -> dict[str, list[tuple[float, float]]]:
    """Return wall and CPU milliseconds of each search in each collection, the collections taking turns."""
    for kb in collections.values():
        for search in searches[:WARM]:
            kb.search(**search, k=K)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in collections}
    for search in searches[WARM:]:
        for name, kb in collections.items():
            times[name].append(timed(lambda kb=kb, search=search: kb.search(**search, k=K)))
    return times


@contextmanager
def recorded(calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]]) -> Iterator[None]:
    """Write down the calls that are made of a server."""
    from commonplace.store.milvus.connection import Connection

    call = Connection.call

    def noting(self: Connection, method: str, *values: Any, **options: Any) -> Any:
        calls.append((method, values, options))
        return call(self, method, *values, **options)

    Connection.call = noting  # type: ignore[method-assign]
    try:
        yield
    finally:
        Connection.call = call  # type: ignore[method-assign]


def raw(kb: Collection, searches: Sequence[dict[str, Any]]) -> tuple[list[float], list[float], list[int]]:
    """Return milliseconds of searches, of their encoding and raw calls made at once, and the numbers of calls."""
    client = kb.store._connection._connected()  # type: ignore[attr-defined]
    ours, theirs, numbers = [], [], []
    with ThreadPoolExecutor(max_workers=16) as pool:
        for search in searches:
            calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
            with recorded(calls):
                ours.append(timed(lambda search=search: kb.search(**search, k=K))[0])
            numbers.append(len(calls))

            def again(search: dict[str, Any] = search, calls: list[Any] = calls) -> None:
                kb.space.encode_query(cp_query(search))
                futures = [pool.submit(getattr(client, m), *values, timeout=60, **o) for m, values, o in calls]
                for future in futures:
                    list(future.result())

            theirs.append(timed(again)[0])
    return ours, theirs, numbers


def cp_query(search: dict[str, Any]) -> Any:
    from commonplace._searching import query_of

    return query_of(search.get("text"), search.get("image"))


# --- parts ---------------------------------------------------------------------------------------------------


def part_search(collections: dict[str, Collection]) -> tuple[str, Any]:
    rows, values = [], {}
    for kind in ("words", "a picture", "both"):
        times = in_turns(collections, questions(kind))
        for name, measured in times.items():
            walls = sorted(wall for wall, _ in measured)
            cpu = statistics.median(cpu for _, cpu in measured)
            p95 = walls[int(0.95 * len(walls))]
            rows.append([kind, name, f"{statistics.median(walls):.0f}", f"{p95:.0f}", f"{cpu:.0f}"])
            values[f"{kind}, {name}"] = {"p50": statistics.median(walls), "p95": p95, "cpu": cpu}
    text = table(["question", "store", "p50 ms", "p95 ms", "CPU ms of the client"], rows)
    rows = []
    for name, kb in collections.items():
        if name.startswith("folder"):
            continue
        for kind in ("words", "a picture", "both"):
            ours, theirs, numbers = raw(kb, questions(kind)[WARM:])
            ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
            _, low, high = interval(ratios)
            rows.append(
                [name, kind, f"{statistics.median(ours):.0f}", f"{statistics.median(theirs):.0f}",
                 f"{statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})", f"{statistics.median(numbers):.0f}"]
            )  # fmt: skip
            values[f"raw {kind}, {name}"] = {"ours": statistics.median(ours), "raw": statistics.median(theirs),
                                             "ratio": statistics.median(ratios)}  # fmt: skip
    head = ["store", "question", "search ms", "encoding and raw calls at once ms", "ratio (mean's 95 %)", "calls"]
    return text + "\n" + table(head, rows), values


def part_filters(collections: dict[str, Collection], space: Space) -> tuple[str, Any]:
    """Filters that allow a tenth, a hundredth and a thousandth of the texts: time, and recall@10 against the folder."""
    captions = [captions[0] for captions in flickr8k("test").values()][:QUESTIONS]
    vectors = [space.encode_queries([cp_query({"text": caption})])[0].by_encoder["text"] for caption in captions]
    rows, values = [], {}
    for share, most in {"all": 1001, **SHARES}.items():
        where = {"bucket": {"<": most}} if most < 1001 else None
        truth: list[set[str]] = []
        for name, kb in collections.items():
            filter_ = Filter() if where is None else _filter(kb, where)
            walls, recalls = [], []
            for n, vector in enumerate(vectors):
                start = time.perf_counter()
                best = set(kb.store.search("text", vector, K, filter_).ids)
                walls.append(1000 * (time.perf_counter() - start))
                if name.startswith("folder"):
                    truth.append(best)
                recalls.append(len(best & truth[n]) / max(len(truth[n]), 1))
            searched = [timed(lambda c=c, kb=kb, where=where: kb.search(c, k=K, where=where))[0] for c in captions[:20]]
            rows.append([share, name, f"{statistics.median(walls[WARM:]):.1f}", f"{np.mean(recalls):.3f}",
                         f"{statistics.median(searched):.0f}"])  # fmt: skip
            values[f"{share}, {name}"] = {"index": statistics.median(walls), "recall": float(np.mean(recalls)),
                                          "search": statistics.median(searched)}  # fmt: skip
    return table(["allowed", "store", "one index ms", "recall@10", "whole search ms"], rows), values


def _filter(kb: Collection, where: dict[str, Any]) -> Filter:
    from commonplace.filters import filter_of

    return filter_of(None, None, None, None, None, where, types=kb.store.metadata_types)


def part_concurrent(collections: dict[str, Collection]) -> tuple[str, Any]:
    searches = questions("words")
    rows, values = [], {}
    for name, kb in collections.items():
        row: list[object] = [name]
        for count in SEARCHERS:
            start = time.perf_counter()
            with ThreadPoolExecutor(max_workers=count) as pool:
                list(pool.map(lambda search, kb=kb: kb.search(**search, k=K), searches))
            rate = len(searches) / (time.perf_counter() - start)
            row.append(f"{rate:.1f}")
            values[f"{name}, {count}"] = rate
        rows.append(row)
    return table(["searches a second", *(f"{count} at once" for count in SEARCHERS)], rows), values


# --- ingest --------------------------------------------------------------------------------------------------


def part_ingest(base: Path, space: Space, url: str, lite: str, work: Path, *, no_lite: bool) -> tuple[str, Any]:
    """Write what is embedded already, by 1, 2 and 4 processes, each its part."""
    rows, values = [], {}
    for name, target, writers in (("server", url, WRITERS), *(() if no_lite else (("Lite", lite, (1,)),))):
        for count in writers:
            to = f"{target}{count}" if name == "server" else target.replace("x.db", f"i{count}.db")
            milvus_store(to, space, work / "ingest").close()
            start = time.perf_counter()
            processes = [
                subprocess.Popen([sys.executable, __file__, "--write", to, str(base), str(work), f"{part}/{count}"],
                                 env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
                for part in range(count)
            ]  # fmt: skip
            codes = [process.wait() for process in processes]
            wall = time.perf_counter() - start
            store = milvus_store(to, space, work / "ingest")
            documents = sum(store.counts("documents")["documents"].values())
            assert codes == [0] * count and documents == INGESTED, (codes, documents)
            store.close()
            rows.append([name, count, f"{INGESTED / wall:.0f}"])
            values[f"{name}, {count}"] = INGESTED / wall
    return table(["store", "writers", "documents a second (with starting the processes)"], rows), values


def write(to: str, base: Path, work: Path, part: str) -> None:
    """Copy a part of the folder's documents to a store, as an ``add`` writes what it has embedded."""
    from commonplace.migrate import store_for
    from commonplace.places import FolderPlace

    number, count = map(int, part.split("/"))
    space = open_space("")
    source, target = store_for(FolderPlace(base), space), milvus_store(to, space, work / "ingest")
    ids = [document.id for document in source.documents() if not document.is_file][:INGESTED][number::count]
    for start in range(0, len(ids), 256):
        documents = list(source.documents(ids=ids[start : start + 256]))
        parsed = [ParsedDocument(document, tuple(source.items_of(document.id))) for document in documents]
        target.add(parsed, source.views_of([item.id for document in parsed for item in document.items]))
    target.close()
    source.close()


# --- langchain-milvus ----------------------------------------------------------------------------------------

BASELINE = """
import sys, time, json, statistics
import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_milvus import Milvus
from commonplace.space import open_space
from commonplace._searching import query_of
uri, vectors, texts, captions = sys.argv[1], np.load(sys.argv[2]), json.load(open(sys.argv[3])), json.load(open(sys.argv[4]))
space = open_space("")
class Ours(Embeddings):
    def embed_documents(self, texts): raise NotImplementedError
    def embed_query(self, text): return space.encode_queries([query_of(text, None)])[0].by_encoder["text"].tolist()
store = Milvus(Ours(), connection_args={"uri": uri}, collection_name="baseline", drop_old=True, auto_id=True,
               index_params={"index_type": "HNSW" if "://" in uri else "FLAT", "metric_type": "IP", "params": {"M": 16, "efConstruction": 200}},
               search_params={"metric_type": "IP", "params": {"ef": 128}}, consistency_level="Bounded")
start = time.perf_counter()
for n in range(0, len(texts), 1000):
    store.add_embeddings(texts[n:n+1000], vectors[n:n+1000].tolist())
added = len(texts) / (time.perf_counter() - start)
retriever = store.as_retriever(search_kwargs={"k": 10})
times = []
for caption in captions:
    start = time.perf_counter(); retriever.invoke(caption); times.append(1000 * (time.perf_counter() - start))
times = sorted(times[5:])
print("RESULT", json.dumps([added, statistics.median(times), times[int(.95 * len(times))]]))
"""


def part_baseline(base: Path, space: Space, uris: dict[str, str], python: str, work: Path) -> tuple[str, Any]:
    """langchain-milvus with its own retriever on the same texts and vectors: one channel, no fusion, no explanation."""
    from commonplace.migrate import store_for
    from commonplace.places import FolderPlace

    source = store_for(FolderPlace(base), space)
    documents = [document for document in source.documents() if not document.is_file]
    items, vectors = [], []
    for start in range(0, len(documents), 500):
        batch = [item for d in documents[start : start + 500] for item in source.items_of(d.id)]
        items += [item.text for item in batch]
        vectors.append(source.vectors("text", [item.id for item in batch]))
    source.close()
    np.save(work / "vectors.npy", np.concatenate(vectors))
    (work / "texts.json").write_text(json.dumps(items))
    captions = [captions[0] for captions in flickr8k("test").values()][:QUESTIONS]
    (work / "captions.json").write_text(json.dumps(captions))
    rows, values = [], {}
    for name, uri in uris.items():
        files = [str(work / file) for file in ("vectors.npy", "texts.json", "captions.json")]
        run = subprocess.run([python, "-c", BASELINE, uri, *files], capture_output=True, text=True, check=False)
        line = next((line for line in run.stdout.splitlines() if line.startswith("RESULT")), None)
        if line is None:
            raise SystemExit(run.stderr[-2000:])
        added, p50, p95 = json.loads(line.removeprefix("RESULT "))
        rows.append([name, f"{added:.0f}", f"{p50:.0f}", f"{p95:.0f}"])
        values[name] = {"added": added, "p50": p50, "p95": p95}
    return table(["langchain-milvus, texts alone", "texts a second written", "p50 ms", "p95 ms"], rows), values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--source", type=Path, help="a folder that is embedded already, to take a part of")
    parser.add_argument("--no-lite", action="store_true", help="leave Milvus Lite out")
    parser.add_argument("--server")
    parser.add_argument("--uri", help="a running server instead of --server")
    parser.add_argument("--baseline")
    parser.add_argument("--parts", nargs="*", default=["search", "filters", "ingest", "concurrent", "baseline"])
    parser.add_argument("--write", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        to, base, work, part = options.write
        write(to, Path(base), Path(work), part)
        return
    work = options.work or Path(tempfile.mkdtemp(prefix="commonplace-milvus-"))
    work.mkdir(exist_ok=True, parents=True)
    if options.uri:
        run(options, work, options.uri)
        return
    from tests.milvus_server import MilvusServer, server_program

    if options.server:
        os.environ["COMMONPLACE_MILVUS_SERVER"] = options.server
    with MilvusServer(server_program()) as server:
        run(options, work, server.uri)


def run(options: argparse.Namespace, work: Path, uri: str) -> None:
    base = work / f"folder{options.items}"
    build(base, options.items, options.source)
    space = open_space("")
    host = uri.partition("://")[2]
    name = f"bench{options.items}"
    lite = f"milvus-lite://{work}/x.db"
    from commonplace.migrate import store_for
    from commonplace.places import FolderPlace

    folder = Collection(store_for(FolderPlace(base), space), space, base)
    collections = {
        "folder (SQLite, FAISS)": folder,
        **({} if options.no_lite else {"Milvus Lite 3.2": opened(lite, space, work / "lite")}),
        "Milvus 2.3.5": opened(f"milvus://{host}/{name}", space, work / "server"),
    }
    copied = []
    for title, kb in list(collections.items())[1:]:
        missing = len(folder) - len(kb)
        start = time.perf_counter()
        if missing:
            copy(folder.store, kb.store, space, progress=False)
            copied.append([title, f"{missing / (time.perf_counter() - start):.0f}"])
            print(title, "copied", f"{time.perf_counter() - start:.0f} s", flush=True)
        if kb.store.maintenance is not None:
            kb.store.maintenance.checkpoint()
    print({title: len(kb) for title, kb in collections.items()}, flush=True)
    parts: dict[str, Callable[[], tuple[str, Any]]] = {
        "search": lambda: part_search(collections),
        "filters": lambda: part_filters(collections, space),
        "concurrent": lambda: part_concurrent(collections),
        "ingest": lambda: part_ingest(base, space, f"milvus://{host}/{name}w", lite, work, no_lite=options.no_lite),
        "baseline": lambda: part_baseline(
            base,
            space,
            {"Milvus 2.3.5": uri}
            if options.no_lite
            else {"Milvus 2.3.5": uri, "Milvus Lite 3.2": str(work / "baseline.db")},
            options.baseline,
            work,
        ),
    }
    text, values = [f"# Milvus\n\n{machine()}; {len(folder):,} items.\n"], {}
    if copied:
        text.append(table(["copied into", "items a second"], copied))
    for title, part in parts.items():
        if title in options.parts and (title != "baseline" or options.baseline):
            start = time.perf_counter()
            lines, values[title] = part()
            text.append(f"## {title}\n\n{lines}")
            print(f"## {title} ({time.perf_counter() - start:.0f} s)\n{lines}", flush=True)
    indexes = {title: kb.status()["indexes"] for title, kb in collections.items()}
    text.append(f"## indexes\n\n```json\n{json.dumps(indexes, indent=1)}\n```\n")
    keep("milvus" if not options.no_lite else f"milvus{options.items}", "\n".join(text), values)


if __name__ == "__main__":
    main()
