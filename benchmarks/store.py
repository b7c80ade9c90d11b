"""The local store from 10,000 to 1,000,000 items of 384 dimensions, beside others, in one run.

    python benchmarks/store.py [--sizes 10000 100000 1000000] [--cache DIR] [--encode N] [--baseline PYTHON]

The others: SQLite with FAISS (flat, HNSW) by hand; and, with ``--baseline``, an interpreter that has ``lancedb``,
``pymilvus[milvus_lite]`` and ``usearch`` (numpy and faiss-cpu too), LanceDB, Milvus Lite and SQLite with usearch.

Vectors: real sentences (Flickr8k captions without the test pictures', Cranfield, XQuAD, the documentation pages), then
halves of two sentences of one source put together and encoded, ``--encode`` of them at the most; what is missing to
the size is made from two real vectors each (.8 and .2, normalised) and said so in the table. They are kept in
``--cache``. Questions: captions of the test pictures and XQuAD's questions, none of them stored or used to choose an
index. Each size runs in processes of its own, so that memory is that of the store.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common import RESULTS, data, flickr8k, keep, machine, table

DIM = 384
EACH = 10  # items a document
COMMIT = 2000  # items a transaction


# --- what is stored and asked --------------------------------------------------------------------------------


def sentences(most: int) -> tuple[list[str], list[str]]:
    """Return real sentences, and others put together from halves of two: ``most`` in all."""

    def split(text: str) -> list[str]:
        return [s.strip() for s in re.split(r"(?<=[.!?])\s+", " ".join(text.split())) if 30 < len(s) < 400]

    test = set(flickr8k("test"))
    lines = [line.split("\t") for line in (data("flickr8k") / "Flickr8k.token.txt").read_text().splitlines()]
    captions = [caption.strip() for name, caption in lines if name.split("#")[0] not in test]
    cranfield = split(re.sub(r"\n\.[A-Z].*?\n", ". ", (data("cranfield") / "cran.all.1400").read_text()))
    articles = json.loads((data("xquad") / "xquad.en.json").read_text())["data"]
    xquad = [s for article in articles for paragraph in article["paragraphs"] for s in split(paragraph["context"])]
    pages = [s for f in sorted(data("docs_wsl").rglob("*.md")) for s in split(f.read_text(errors="ignore"))]
    sources = [captions, cranfield, xquad, pages]
    draw = random.Random(0)
    real = sorted({text for source in sources for text in source})
    draw.shuffle(real)
    seen, mixed = set(real), []
    while len(real) + len(mixed) < most:
        (source,) = draw.choices(sources, [0.7, 0.12, 0.1, 0.08])
        one, other = draw.choice(source).split(), draw.choice(source).split()
        text = " ".join(one[: max(2, len(one) // 2)] + other[len(other) // 2 :])
        if text not in seen:
            seen.add(text)
            mixed.append(text)
    return real, mixed


def prepare(cache: Path, most: int, encode: int) -> dict[str, int]:
    """Make the vectors, texts and questions in ``cache`` unless they are there; return how they were made."""
    from commonplace.encoders import Bundle

    cache.mkdir(parents=True, exist_ok=True)
    bundle = Bundle()
    if not (cache / "texts.json").exists():
        real, mixed = sentences(most)
        (cache / "texts.json").write_text(json.dumps({"real": real, "mixed": mixed}))
    texts = json.loads((cache / "texts.json").read_text())
    if not (cache / "asked.npy").exists():
        draw = random.Random(0)
        captions = [caption for many in flickr8k("test").values() for caption in many]
        articles = json.loads((data("xquad") / "xquad.en.json").read_text())["data"]
        questions = [q["question"] for a in articles for p in a["paragraphs"] for q in p["qas"]]
        np.save(cache / "asked.npy", bundle.text.encode(draw.sample(captions, 100) + draw.sample(questions, 100)))
    for name, wanted in (("real", len(texts["real"])), ("mixed", min(encode, len(texts["mixed"])))):
        path = cache / f"{name}.npy"
        rows = np.load(path) if path.exists() else np.empty((0, DIM), np.float32)
        while len(rows) < wanted:  # goes on where it was interrupted
            more = bundle.text.encode(texts[name][len(rows) : min(len(rows) + 20_000, wanted)])
            rows = np.concatenate([rows, more])
            np.save(path, rows)
        if not path.exists():
            np.save(path, rows)
    real, mixed = np.load(cache / "real.npy"), np.load(cache / "mixed.npy", mmap_mode="r")
    if not (cache / "rows.npy").exists() or len(np.load(cache / "rows.npy", mmap_mode="r")) != most:
        found = [real, np.asarray(mixed)]
        missing = most - len(real) - len(mixed)
        if missing > 0:
            draws = np.random.default_rng(0)
            known = np.concatenate(found)
            made = (
                0.8 * known[draws.integers(0, len(known), missing)]
                + 0.2 * known[draws.integers(0, len(known), missing)]
            )
            found.append(made / np.linalg.norm(made, axis=1, keepdims=True))
        np.save(cache / "rows.npy", np.concatenate(found)[:most].astype(np.float32))
    return {"real": len(real), "mixed": len(mixed), "made": max(0, most - len(real) - len(mixed))}


def texts_of(cache: Path, size: int) -> list[str]:
    """Return so many texts, from the first again where they run out."""
    texts = json.loads((cache / "texts.json").read_text())
    known = texts["real"] + texts["mixed"]
    return [known[n % len(known)] for n in range(size)]


def documents(cache: Path, size: int) -> Iterator[tuple[list[str], np.ndarray, int]]:
    """Yield texts and vectors of ``COMMIT`` items, with the number of the first."""
    words = texts_of(cache, size)
    rows = np.load(cache / "rows.npy", mmap_mode="r")
    for start in range(0, size, COMMIT):
        yield words[start : start + COMMIT], np.ascontiguousarray(rows[start : start + COMMIT]), start


def path_of(number: int) -> str:
    """Spread documents over folders, so that /docs/x0/ holds a tenth, /docs/x00/ ... : digits of the number reversed."""
    digits = f"{number // EACH:06}"[::-1]
    return f"/docs/{digits[0]}/{digits[1]}/{digits[2]}/{number}.txt"


WHERE = {"all": None, "10%": "/docs/3", "1%": "/docs/3/7", "0.1%": "/docs/3/7/1"}


def allowed(number: int, name: str) -> bool:
    """Return whether an item passes the filter ``name``."""
    prefix = WHERE[name]
    return prefix is None or path_of(number // EACH * EACH).startswith(prefix + "/")


def resident() -> dict[str, float]:
    """Return this process's resident memory in MB: all, and that which no file stands behind."""
    found = Path("/proc/self/status").read_text()
    return {
        name: int(re.search(rf"{field}:\s+(\d+)", found)[1]) / 1e3  # type: ignore[index]
        for name, field in (("resident", "VmRSS"), ("anonymous", "RssAnon"))
    }


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Return the median and the 95th percentile in milliseconds."""
    return {"p50": statistics.median(seconds) * 1e3, "p95": float(np.quantile(seconds, 0.95)) * 1e3}


def timed(call: Callable[[Any], Any], asked: list[Any]) -> tuple[dict[str, float], list[Any]]:
    """Return quantiles over one call a question, after three that warm up, and the answers."""
    for one in asked[:3]:
        call(one)
    seconds, spent, answers = [], [], []
    for one in asked:
        begin, cpu = time.perf_counter(), time.process_time()
        answers.append(call(one))
        seconds.append(time.perf_counter() - begin)
        spent.append(time.process_time() - cpu)
    return {**quantiles(seconds), "cpu": statistics.median(spent) * 1e3}, answers


def exact(cache: Path, size: int) -> dict[str, list[list[int]]]:
    """Return for each filter the item numbers of the exact best ten of each question."""
    rows = np.load(cache / "rows.npy", mmap_mode="r")
    asked = np.load(cache / "asked.npy")
    found = {}
    for name in WHERE:
        at = np.array([n for n in range(0, size, EACH) if allowed(n, name)])
        at = (at[:, None] + np.arange(EACH)).ravel()
        best: list[tuple[np.ndarray, np.ndarray]] = []
        for start in range(0, len(at), 50_000):
            piece = at[start : start + 50_000]
            scores = asked @ np.asarray(rows[piece]).T
            top = np.argpartition(-scores, 9, axis=1)[:, :10]
            best.append((np.take_along_axis(scores, top, 1), piece[top]))
        scores, numbers = (np.concatenate([one[i] for one in best], axis=1) for i in (0, 1))
        order = np.argsort(-scores, axis=1)[:, :10]
        found[name] = np.take_along_axis(numbers, order, 1).tolist()
    return found


def recall(answers: list[list[int]], truth: list[list[int]]) -> float:
    """Return the share of the exact best ten that was found."""
    return float(np.mean([len(set(a) & set(t)) / len(t) for a, t in zip(answers, truth, strict=True)]))


# --- the sides; each runs in a process of its own ------------------------------------------------------------


def three_words(cache: Path, size: int) -> list[str]:
    """Return questions of three words that stand together in a stored sentence."""
    words, draw = texts_of(cache, size), random.Random(3)
    found = []
    while len(found) < 60:
        telling = re.findall(r"[a-z]{4,}", draw.choice(words).lower())
        if len(telling) >= 3:
            found.append(" ".join(draw.sample(telling, 3)))
    return found


def ours_write(cache: Path, folder: Path, size: int) -> dict[str, Any]:
    """Fill a store."""
    from commonplace.types import Document, Item, ParsedDocument, Span, ViewVectors

    store = open_ours(folder)
    spent = 0.0
    for words, rows, start in documents(cache, size):
        parsed, ids, views = [], [], []
        for first in range(0, len(words), EACH):
            path = path_of(start + first)
            document = Document(f"d{start + first}", f"file://{path}", path, "text/plain", "h", items=EACH)
            items = tuple(
                Item(f"i{start + first + n}", document, "text", Span(n, n + 1), words[first + n]) for n in range(EACH)
            )
            parsed.append(ParsedDocument(document, items))
            ids += [item.id for item in items]
            views += [f"{start + first + n:020}" for n in range(EACH)]
        vectors = ViewVectors("text", tuple(ids), tuple(views), rows)
        begin = time.perf_counter()
        store.add(parsed, [vectors])
        spent += time.perf_counter() - begin
    begin = time.perf_counter()
    store.maintenance.checkpoint()
    settled = time.perf_counter() - begin
    sizes = {file.name: file.stat().st_size / 1e6 for file in folder.rglob("*") if file.is_file()}
    store.close()
    return {
        "ingest": size / spent,
        "with index": size / (spent + settled),
        "snapshot_s": settled,
        "disk": sum(sizes.values()),
    }


def open_ours(folder: Path, target: float = 0.99) -> Any:
    from commonplace.encoders import Bundle
    from commonplace.store import LocalStore, StoreSpace

    bundle = Bundle()
    return LocalStore(
        folder,
        StoreSpace("bench", "bench", DIM, state=f"recall {target}", questions=bundle.questions),
        recall=target,
    )


def ours_read(cache: Path, folder: Path, size: int, target: float = 0.99) -> dict[str, Any]:
    """Ask a store that was filled."""
    import commonplace.store  # noqa: F401
    from commonplace.types import Document, Filter, Item, ParsedDocument, Span, ViewVectors

    asked = list(np.load(cache / "asked.npy"))
    truth = json.loads((cache / f"truth{size}.json").read_text())
    words = three_words(cache, size)
    found: dict[str, Any] = {"before": resident()}
    begin = time.perf_counter()
    store = open_ours(folder, target)
    store.search("text", asked[0], 10, Filter())
    found["open_s"] = time.perf_counter() - begin
    for name, path in WHERE.items():
        where = Filter(path=path)
        begin = time.perf_counter()
        store.search("text", asked[0], 10, where)
        first = time.perf_counter() - begin
        spent, answers = timed(lambda one, where=where: store.search("text", one, 10, where).ids, asked)
        found[name] = {
            **spent,
            "first": first * 1e3,
            "recall": recall([[int(id_[1:]) for id_ in ids] for ids in answers], truth[name]),
        }
    found["k=100"], _ = timed(lambda one: store.search("text", one, 100, Filter()), asked)
    found["memory"] = resident()
    found["words"], _ = timed(lambda one: store.search_text(one, 10, Filter()), words)
    found["memory with words"] = resident()
    found["index"] = store.maintenance.indexes()["text"]
    if target == 0.99:
        rows = np.ascontiguousarray(np.load(cache / "rows.npy", mmap_mode="r")[:EACH])
        spent = {"update": [], "search after update": [], "delete": [], "search after delete": []}  # type: ignore[var-annotated]

        def clock(name: str, call: Callable[[], Any]) -> None:
            begin = time.perf_counter()
            call()
            spent[name].append(time.perf_counter() - begin)

        for n in range(5):
            document = Document(f"d{n * EACH}", "file:///new", path_of(n * EACH), "text/plain", "h", items=EACH)
            items = tuple(Item(f"i{n * EACH + m}", document, "text", Span(m, m + 1), "a new text") for m in range(EACH))
            views = tuple(f"new{n}.{m}" for m in range(EACH))
            vectors = ViewVectors("text", tuple(item.id for item in items), views, rows)
            clock("update", lambda d=document, i=items, v=vectors: store.add([ParsedDocument(d, i)], [v]))
            clock("search after update", lambda: store.search("text", asked[0], 10, Filter()))
        for n in range(5):
            clock("delete", lambda n=n: store.remove([f"d{n * EACH}"]))
            clock("search after delete", lambda: store.search("text", asked[0], 10, Filter()))
        found["changes"] = {name: statistics.median(values) * 1e3 for name, values in spent.items()}
    store.close()
    return found


def ours_again(cache: Path, folder: Path, size: int) -> dict[str, Any]:
    """Make the snapshot anew for a recall of .999."""
    store = open_ours(folder, 0.999)
    begin = time.perf_counter()
    store.maintenance.checkpoint()
    store.close()
    return {"snapshot_s": time.perf_counter() - begin}


def hand_write(cache: Path, folder: Path, size: int, kind: str = "flat") -> dict[str, Any]:
    """Fill SQLite with texts and vectors, durably, and a FAISS index beside it, as is usual by hand."""
    import faiss

    folder.mkdir()
    database = sqlite3.connect(folder / "kb.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE items (key INTEGER PRIMARY KEY, path TEXT, text TEXT, vector BLOB)")
    database.execute("CREATE VIRTUAL TABLE lexicon USING fts5 (words, content='', tokenize='porter')")
    index = faiss.IndexFlatIP(DIM) if kind == "flat" else faiss.IndexHNSWFlat(DIM, 32, faiss.METRIC_INNER_PRODUCT)
    begin = time.perf_counter()
    built = 0.0
    for words, rows, start in documents(cache, size):
        database.execute("BEGIN")
        values = [
            (start + n, path_of((start + n) // EACH * EACH), text, row.tobytes())
            for n, (text, row) in enumerate(zip(words, rows, strict=True))
        ]
        database.executemany("INSERT INTO items VALUES (?, ?, ?, ?)", values)
        database.executemany(
            "INSERT INTO lexicon (rowid, words) VALUES (?, ?)", [(key, text) for key, _, text, _ in values]
        )
        database.execute("COMMIT")
        now = time.perf_counter()
        index.add(rows)
        built += time.perf_counter() - now
    spent = time.perf_counter() - begin
    faiss.write_index(index, str(folder / "index.faiss"))
    database.close()
    sizes = [file.stat().st_size / 1e6 for file in folder.rglob("*")]
    return {"ingest": size / (spent - built), "with index": size / spent, "disk": sum(sizes)}


def hand_read(cache: Path, folder: Path, size: int, kind: str = "flat") -> dict[str, Any]:
    """Ask it: filters by a selector over the keys that SQL finds, kept between questions."""
    import faiss

    every = max(1, size // 250_000)  # a scan of a million takes long
    asked = list(np.load(cache / "asked.npy"))[::every]
    truth = {name: best[::every] for name, best in json.loads((cache / f"truth{size}.json").read_text()).items()}
    found: dict[str, Any] = {}
    begin = time.perf_counter()
    database = sqlite3.connect(folder / "kb.db")
    index = faiss.read_index(str(folder / "index.faiss"))
    if kind == "hnsw":
        index.hnsw.efSearch = 64
    index.search(asked[0][None], 10)
    found["open_s"] = time.perf_counter() - begin
    for name, path in WHERE.items():
        parameters: Any = None
        if path:
            keys = np.array(
                [row[0] for row in database.execute("SELECT key FROM items WHERE path GLOB ?", (path + "/*",))]
            )
            chosen = faiss.IDSelectorBatch(keys)
            parameters = (
                faiss.SearchParameters(sel=chosen)
                if kind == "flat"
                else faiss.SearchParametersHNSW(sel=chosen, efSearch=64)
            )
        spent, answers = timed(lambda one, p=parameters: index.search(one[None], 10, params=p)[1][0], asked)
        found[name] = {**spent, "recall": recall([a.tolist() for a in answers], truth[name])}
    found["memory"] = resident()
    question = "SELECT rowid FROM lexicon WHERE lexicon MATCH ? ORDER BY rank LIMIT 10"
    words = [" OR ".join(one.split()) for one in three_words(cache, size)]
    found["words"], _ = timed(lambda one: database.execute(question, (one,)).fetchall(), words)
    return found


def usearch_write(cache: Path, folder: Path, size: int) -> dict[str, Any]:
    """Fill a usearch graph; texts and truth would stand in SQLite, as with FAISS by hand: not measured again."""
    from usearch.index import IndexView

    folder.mkdir()
    index = IndexView(ndim=DIM, metric="ip", dtype="f32")
    begin = time.perf_counter()
    for words, rows, start in documents(cache, size):
        index.add(np.arange(start, start + len(words), dtype=np.uint64), rows)
    index.save(str(folder / "index.usearch"))
    return {"with index": size / (time.perf_counter() - begin), "disk": disk(folder)}


def usearch_read(cache: Path, folder: Path, size: int) -> dict[str, Any]:
    """Ask it; its Python package has no filters."""
    from usearch.index import IndexView

    asked = list(np.load(cache / "asked.npy"))
    truth = json.loads((cache / f"truth{size}.json").read_text())
    begin = time.perf_counter()
    index = IndexView.restore(str(folder / "index.usearch"), view=True)
    index.search(asked[0], 10)
    found: dict[str, Any] = {"open_s": time.perf_counter() - begin}
    spent, answers = timed(lambda one: [int(key) for key in index.search(one, 10).keys], asked)
    found["all"] = {**spent, "recall": recall(answers, truth["all"])}
    return {**found, "memory": resident()}


def lancedb_write(cache: Path, folder: Path, size: int) -> dict[str, Any]:
    """Fill a LanceDB table, with its indexes for vectors (IVF_PQ, as it chooses) and for words."""
    import lancedb
    import pyarrow as pa

    folder.mkdir()
    kinds = [("key", pa.int64()), ("path", pa.string()), ("text", pa.string()), ("vector", pa.list_(pa.float32(), DIM))]
    table = lancedb.connect(str(folder)).create_table("kb", schema=pa.schema(kinds))
    begin = time.perf_counter()
    for words, rows, start in documents(cache, size):
        keys = np.arange(start, start + len(words))
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), DIM)
        paths = [path_of(int(key) // EACH * EACH) for key in keys]
        table.add(pa.table({"key": keys, "path": paths, "text": words, "vector": vectors}))
    spent = time.perf_counter() - begin
    table.create_index(metric="dot", vector_column_name="vector", index_type="IVF_PQ")
    table.create_fts_index("text")
    return {"ingest": size / spent, "with index": size / (time.perf_counter() - begin), "disk": disk(folder)}


def lancedb_read(cache: Path, folder: Path, size: int) -> dict[str, Any]:
    """Ask it, with the best ten lists' codes refined tenfold."""
    import lancedb

    every = max(1, size // 100_000)
    asked = list(np.load(cache / "asked.npy"))[::every]
    truth = {name: best[::every] for name, best in json.loads((cache / f"truth{size}.json").read_text()).items()}
    begin = time.perf_counter()
    table = lancedb.connect(str(folder)).open_table("kb")

    def ask(one: np.ndarray, path: str | None = None) -> list[int]:
        question = table.search(one).distance_type("dot").nprobes(20).refine_factor(10).limit(10).select(["key"])
        question = question.where(f"path LIKE '{path}/%'", prefilter=True) if path else question
        return [int(key) for key in question.to_arrow()["key"].to_pylist()]

    ask(asked[0])
    found: dict[str, Any] = {"open_s": time.perf_counter() - begin}
    for name, path in WHERE.items():
        spent, answers = timed(lambda one, path=path: ask(one, path), asked)
        found[name] = {**spent, "recall": recall(answers, truth[name])}
    found["memory"] = resident()
    words = three_words(cache, size)
    found["words"], _ = timed(
        lambda one: table.search(one, query_type="fts").limit(10).select(["key"]).to_arrow(), words
    )
    return found


def milvus_write(cache: Path, folder: Path, size: int) -> dict[str, Any]:
    """Fill a collection of Milvus Lite."""
    from pymilvus import DataType, MilvusClient

    folder.mkdir()
    client = MilvusClient(str(folder / "kb.db"))
    schema = client.create_schema()
    schema.add_field("key", DataType.INT64, is_primary=True)
    schema.add_field("path", DataType.VARCHAR, max_length=64)
    schema.add_field("text", DataType.VARCHAR, max_length=4000)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="AUTOINDEX", metric_type="IP")
    client.create_collection("kb", schema=schema, index_params=index)
    begin = time.perf_counter()
    for words, rows, start in documents(cache, size):
        keys = range(start, start + len(words))
        values = zip(keys, words, rows, strict=True)
        made = [{"key": k, "path": path_of(k // EACH * EACH), "text": text, "vector": row} for k, text, row in values]
        client.insert("kb", made)
    client.flush("kb")
    client.close()
    return {"ingest": size / (time.perf_counter() - begin), "disk": disk(folder)}


def milvus_read(cache: Path, folder: Path, size: int) -> dict[str, Any]:
    """Ask it."""
    from pymilvus import MilvusClient

    asked = list(np.load(cache / "asked.npy"))[::4]
    truth = {name: best[::4] for name, best in json.loads((cache / f"truth{size}.json").read_text()).items()}
    begin = time.perf_counter()
    client = MilvusClient(str(folder / "kb.db"))
    client.load_collection("kb")

    def ask(one: np.ndarray, path: str | None = None) -> list[int]:
        only = f'path like "{path}/%"' if path else ""
        return [int(hit["key"]) for hit in client.search("kb", [one], limit=10, filter=only)[0]]

    ask(asked[0])
    found: dict[str, Any] = {"open_s": time.perf_counter() - begin}
    for name, path in WHERE.items():
        spent, answers = timed(lambda one, path=path: ask(one, path), asked)
        found[name] = {**spent, "recall": recall(answers, truth[name])}
    found["memory"] = resident()
    client.close()
    return found


def disk(folder: Path) -> float:
    """Return what a folder holds in MB."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


OTHERS = ("lancedb", "usearch", "milvus")
PATIENCE = 1800  # seconds for one step of another
STEPS = {f.__name__: f for f in (ours_write, ours_read, ours_again, hand_write, hand_read)}
STEPS |= {f.__name__: f for f in (usearch_write, usearch_read, lancedb_write, lancedb_read, milvus_write, milvus_read)}


def step(
    name: str, cache: Path, folder: Path, size: int, *more: object, python: str = sys.executable
) -> dict[str, Any]:
    """Run one step in a process of its own and return what it says."""
    command = [python, __file__, "--step", name, str(cache), str(folder), str(size), *map(str, more)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(name, size, *more, json.dumps(found), file=sys.stderr, flush=True)
    return found


def ours(cache: Path, folder: Path, size: int) -> dict[str, Any]:
    """Return the figures of this store for one size, with the second of its recalls where there are codes."""
    write, read = (step(f"ours_{part}", cache, folder, size) for part in ("write", "read"))
    found = {f"ours {size}": {"write": write, "read": read}}
    if read["index"]["type"] != "exact":
        again = step("ours_again", cache, folder, size)
        found[f"ours .999 {size}"] = {"write": again, "read": step("ours_read", cache, folder, size, 0.999)}
    shutil.rmtree(folder)
    return found


def line(name: str, size: int, write: dict[str, Any], read: dict[str, Any]) -> list[object]:
    """Return one line of the table."""

    def pair(values: dict[str, float] | None) -> str:
        return f"{values['p50']:.3g} / {values['p95']:.3g}" if values else ""

    return [
        f"{size:,}",
        name,
        f"{write['ingest']:,.0f}" if "ingest" in write else "",
        *(f"{pair(read[where])} ({read[where]['recall']:.3f})" if where in read else "" for where in WHERE),
        f"{read['all']['cpu']:.3g}",
        pair(read.get("words")),
        f"{read['words']['cpu']:.3g}" if "words" in read else "",
        f"{read['open_s']:.2g}",
        f"{read['memory']['resident']:.0f} ({read['memory']['anonymous']:.0f})",
        f"{write['disk']:.0f}" if "disk" in write else "",
    ]


NAMES = {
    "ours": "commonplace, recall .99",
    "ours .999": "commonplace, recall .999",
    "flat": "SQLite + FAISS flat by hand",
    "hnsw": "SQLite + FAISS HNSW by hand",
    "usearch": "usearch (index alone)",
    "lancedb": "LanceDB",
    "milvus": "Milvus Lite",
}


def report(values: dict[str, Any]) -> None:
    """Keep the tables of what was measured so far."""
    made, sides = values["vectors"], values["sides"]
    text = (
        f"Measured on {values['machine']}, in {['one run', 'two runs', 'three runs'][values['runs'] - 1]}; beside it ran: {values['beside']}. Vectors: {made['real']:,} of real "
        f"sentences, {made['mixed']:,} of sentences put together from two halves, {made['made']:,} made from two vectors each. "
        "200 questions (captions, XQuAD), none used to choose an index. Milliseconds: p50 / p95 (recall@10); CPU is the "
        "median of the processor's time, all threads together: what an idle machine comes near to. Memory: resident MB (of which "
        "no file stands behind).\n\n"
    )
    head = ["items", "side", "durable ingest, items/s", "all", "10% filter", "1%", "0.1%", "all: CPU", "3 words"]
    head += ["3 words: CPU", "open to answer, s", "memory", "disk, MB"]
    order = sorted(sides, key=lambda one: (int(one.split()[-1]), list(NAMES).index(one.rsplit(" ", 1)[0])))
    rows = [
        line(NAMES[one.rsplit(" ", 1)[0]], int(one.split()[-1]), sides[one]["write"], sides[one]["read"])
        for one in order
    ]
    text += table(head, rows)
    text += "\n\nChanges of a document of ten items, and the index (milliseconds):\n\n"
    changes = []
    for one in order:
        write, read = sides[one]["write"], sides[one]["read"]
        if "changes" in read:
            index = read["index"]
            spent = [f"{ms:.3g}" for ms in read["changes"].values()]
            made_in = [f"{write['snapshot_s']:.3g}", f"{write['with index']:,.0f}"]
            kind = [f"{read['k=100']['p50']:.3g}", index["type"], index["oversampling"].get("same", "")]
            changes.append([f"{int(one.split()[-1]):,}", *spent, *made_in, *kind])
    head = ["items", "update", "next search", "delete", "next search", "snapshot, s", "ingest with snapshot, items/s"]
    text += table([*head, "100 hits, p50", "index", "candidates a hit"], changes)
    if "failed" in values:
        text += "\n\nNot measured: " + "; ".join(values["failed"]) + "."
    if len({one.split()[-1] for one in sides}) > 1:
        curves(sides)
        text += "\n\n![Milliseconds and recall from the smallest to the largest size](store.svg)"
    keep("store", text, values)


def curves(sides: dict[str, Any]) -> None:
    """Draw how each side grows."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "store"  # the same drawing for the same figures
    from matplotlib import pyplot

    drawing, axes = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    drawn = [("search, ms (p50)", lambda read: read["all"]["p50"])]
    drawn.append(("search under a 1% filter, ms (p50)", lambda read: read["1%"]["p50"] if "1%" in read else None))
    drawn.append(("three words, ms (p50)", lambda read: read["words"]["p50"] if "words" in read else None))
    for axis, (title, value) in zip(axes, drawn, strict=True):
        for kind, name in NAMES.items():
            found = {int(one.split()[-1]): side["read"] for one, side in sides.items() if one.rsplit(" ", 1)[0] == kind}
            points = [(size, value(read)) for size, read in sorted(found.items()) if value(read) is not None]
            if points:
                axis.plot(*zip(*points, strict=True), marker="o", label=name)
        axis.set(xscale="log", yscale="log", xlabel="items", title=title)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    drawing.savefig(RESULTS / "store.svg", metadata={"Date": None})


def main() -> None:
    """Run every size and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "commonplace-store-benchmark")
    parser.add_argument("--encode", type=int, default=950_000, help="put-together sentences that are encoded")
    parser.add_argument("--baseline", help="interpreter with lancedb, pymilvus, milvus-lite, usearch")
    parser.add_argument("--most", type=int, default=1_000_000, help="the largest size that the others are filled with")
    parser.add_argument(
        "--again", action="store_true", help="go on with the table that is kept: what it lacks is measured"
    )
    parser.add_argument("--beside", default="nothing", help="what else ran on the machine, for the table")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        name, cache, folder, size, *more = options.step
        values = [float(one) if one[0] == "0" else one for one in more]
        print(json.dumps(STEPS[name](Path(cache), Path(folder), int(size), *values)))
        return
    made = prepare(options.cache, max(options.sizes), options.encode)
    values: dict[str, Any] = {"machine": machine(), "beside": options.beside, "vectors": made, "runs": 1, "sides": {}}
    if options.again:
        values |= json.loads((RESULTS / "store.json").read_text())
        values["runs"] += 1
    sides: dict[str, Any] = values["sides"]
    for size in options.sizes:
        (options.cache / f"truth{size}.json").write_text(json.dumps(exact(options.cache, size)))
        with tempfile.TemporaryDirectory(dir=options.cache) as work:
            if f"ours {size}" not in sides:
                sides |= ours(options.cache, Path(work) / "ours", size)
                report(values)  # what there is, should a later step fail
            others = [(kind, "hand", sys.executable, [kind]) for kind in ("flat", "hnsw")]
            others += [(kind, kind, options.baseline, []) for kind in OTHERS if options.baseline]
            for kind, step_of, python, more in others if size <= options.most else ():
                folder = Path(work) / kind
                if f"{kind} {size}" in sides:
                    continue
                try:
                    parts = {
                        part: step(f"{step_of}_{part}", options.cache, folder, size, *more, python=python)
                        for part in ("write", "read")
                    }
                    sides[f"{kind} {size}"] = parts
                    report(values)
                except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as problem:
                    failed = "no answer in time" if isinstance(problem, subprocess.TimeoutExpired) else "failed"
                    values.setdefault("failed", []).append(f"{NAMES[kind]} with {size:,} items ({failed})")
                shutil.rmtree(folder, ignore_errors=True)
    report(values)


if __name__ == "__main__":
    main()
