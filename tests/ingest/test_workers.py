"""The pool: a bad file fails alone, no process is left running, and workers load no models."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import commonplace
from commonplace.errors import ReadError
from commonplace.ingest.walk import Source, walk
from commonplace.ingest.workers import Pool
from commonplace.readers import ReadOptions, formats, read
from commonplace.types import ParsedDocument
from tests.conftest import data

PACKAGE = Path(commonplace.__file__).parent
OPTIONS = ReadOptions(str(PACKAGE / "bundles" / "minilm-lite0" / "tokenizer.json"), 256)

# A reader that does on purpose what parsers do on bad bytes; installed as a plug-in for .dvi, as pip would.
EVIL = """
import ctypes, os, sys, time
from commonplace.readers import TextBlock

def read_dvi(file):
    order = file.data.decode().split()
    if order[0] == "after":
        for number in range(int(order[1])):
            yield TextBlock(f"part {number} of a long file")
        order = order[2:]
    if order[0] == "segv": ctypes.string_at(0)
    if order[0] == "exit": os._exit(3)
    if order[0] == "raise": raise KeyError("oops")
    if order[0] == "quit": sys.exit(2)
    if order[0] == "hang":
        while True: pass
    if order[0] == "sleep": time.sleep(float(order[1]))
    if order[0] == "memory": bytearray(10**12)
    if order[0] == "leave": sys.left = bytearray(int(order[1]))
    if order[0] == "needs" and hasattr(sys, "left"): raise ImportError("failed to map segment from shared object")
    if order[0] == "recurse": (lambda f: f(f))(lambda f: f(f))
    if order[0] == "noise":
        print("noise", flush=True); print("noise", file=sys.stderr, flush=True); os.system("echo noise >&2")
        os.write(1, b"noise")
    if order[0] == "modules": yield TextBlock(" ".join(sorted({name.split(".")[0] for name in sys.modules})))
    if order[0] == "environment":
        yield TextBlock(repr([os.environ.get("OMP_NUM_THREADS"), os.getsid(0) == os.getpid()]))
    yield TextBlock(f"{os.getpid()}")
"""


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    site = tmp_path / "site"
    info = site / "evil-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[commonplace.readers]\napplication/x-dvi = evil:read_dvi\n")
    (site / "evil.py").write_text(EVIL)
    monkeypatch.syspath_prepend(str(site))
    formats._plugins.cache_clear()
    folder = tmp_path / "files"
    folder.mkdir()
    yield folder
    formats._plugins.cache_clear()


def sources(folder: Path, *orders: str) -> list[Source]:
    file_sources = []
    for number, order in enumerate(orders):
        path = folder / f"{number:03}.dvi"
        path.write_text(order)
        file_sources.append(Source(path, folder))
    return file_sources


def gone(pid: int, within: float = 5.0) -> bool:
    """Return whether the process ends in time (a zombie has ended)."""
    stop = time.monotonic() + within
    while time.monotonic() < stop:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


def children(pid: int) -> list[int]:
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
        if parent == pid:
            pids.append(int(stat.parent.name))
    return pids


def text_of(outcome: ParsedDocument | ReadError) -> str:
    return str(outcome) if isinstance(outcome, ReadError) else " ".join(item.text or "" for item in outcome.items)


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_and_equal_reading_here(tmp_path: Path, workers: int) -> None:
    for number in range(40):
        (tmp_path / f"{number:02}.md").write_text(f"# Title {number}\n\n" + "words " * 50 * (number % 7))
    file_sources, *_ = walk([tmp_path])
    with Pool(OPTIONS, workers, ahead=5) as pool:
        results = list(pool.read(file_sources))
        assert [source for source, _ in results] == file_sources
        for source, result in results:
            assert isinstance(result, ParsedDocument)
            assert result.document == read(source.path, OPTIONS, source.root).document
            assert result.items == read(source.path, OPTIONS, source.root).items
        assert [text_of(result) for _, result in pool.read(file_sources[:3])]  # and it can be used again


def test_a_bad_file_costs_only_itself(evil: Path) -> None:
    orders = [
        "ok",
        "segv",
        "ok",
        "exit",
        "raise",
        "ok",
        "memory",
        "ok",
        "recurse",
        "hang",
        "quit",
        "ok",
        "segv",
        "segv",
        "ok",
    ]
    with Pool(replace(OPTIONS, seconds=1.0), 2) as pool:
        results = [result for _, result in pool.read(sources(evil, *orders))]
    expected = {
        "segv": "the reader crashed on it (signal 11)",
        "exit": "the reader crashed on it (exit 3)",
        "raise": "the reader failed on it (KeyError: 'oops'; evil.py, line ",
        "quit": "the reader failed on it (SystemExit: 2; evil.py, line ",
        "memory": "needed more than 2 GB of memory",
        "recurse": "its parts are nested too deeply",
        "hang": "took longer than 1 s",
    }
    for order, result in zip(orders, results, strict=True):
        if order == "ok":
            assert isinstance(result, ParsedDocument)
        else:
            assert isinstance(result, ReadError) and str(result).startswith(expected[order]), (order, result)
            assert "\n" not in str(result)


def test_what_was_read_before_a_failure_is_kept(evil: Path) -> None:
    """A hang, busy or asleep, and a crash cost what comes next, and nothing before it."""
    ends = {
        "hang": "the next part took longer than 1 s",
        "sleep 1000": "the next part took longer than 1 s",
        "segv": "the reader crashed on the next part (signal 11)",
    }
    with Pool(replace(OPTIONS, seconds=1.0), 2) as pool:
        results = [result for _, result in pool.read(sources(evil, *(f"after 3 {end}" for end in ends)))]
    for reason, result in zip(ends.values(), results, strict=True):
        assert isinstance(result, ParsedDocument)
        assert [item.text for item in result.items] == [f"part {number} of a long file" for number in range(3)]
        assert result.document.status == "partial"
        assert (result.document.error or "").startswith(f"only its beginning was read: {reason}")


def test_an_endless_file_is_read_up_to_its_time(evil: Path) -> None:
    with Pool(replace(OPTIONS, seconds=0.2), 1) as pool:
        ((_, result),) = pool.read(sources(evil, f"after {10**9} ok"))
    assert isinstance(result, ParsedDocument) and result.document.status == "partial" and len(result.items) > 10
    assert (result.document.error or "").startswith("only its beginning was read: the time limit of 0.2 s was reached")


def test_memory_is_limited_for_real_bytes(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("words of a long file\n" * 8_000_000)
    (tmp_path / "short.txt").write_text("words")
    file_sources, *_ = walk([tmp_path])
    with Pool(OPTIONS, 1, memory=300 * 2**20) as pool:
        long, short = (result for _, result in pool.read(file_sources))
    assert isinstance(short, ParsedDocument)
    assert isinstance(long, ReadError) and str(long).startswith("needed more than 0.293 GB of memory")


def test_a_file_is_retried_after_its_worker_died(evil: Path) -> None:
    """A file must not fail because an earlier file broke the worker."""
    with Pool(OPTIONS, 1) as pool:
        (_, first), *_ = list(pool.read(sources(evil, "ok")))
        os.kill(int(text_of(first)), signal.SIGKILL)
        (_, second), *_ = list(pool.read(sources(evil, "ok")))
    assert isinstance(second, ParsedDocument) and text_of(second) != text_of(first)


def test_what_another_file_left_in_a_worker_does_not_count(evil: Path) -> None:
    """A library may raise any error where an earlier file has used up the memory."""
    with Pool(OPTIONS, 1, ahead=1) as pool:
        (_, first), (_, second) = list(pool.read(sources(evil, "leave 10", "needs")))
    assert isinstance(second, ParsedDocument) and text_of(second) != text_of(first)


def test_a_worker_that_has_filled_up_is_replaced(evil: Path) -> None:
    with Pool(OPTIONS, 1, memory=2 * 1024**3, ahead=1) as pool:
        pids = [text_of(result) for _, result in pool.read(sources(evil, "ok", f"leave {1_600_000_000}", "ok"))]
    assert pids[0] == pids[1] != pids[2]


def test_a_hang_does_not_hold_the_others(evil: Path) -> None:
    file_sources = sources(evil, "sleep 1", *["ok"] * 20)
    with Pool(OPTIONS, 2, ahead=32) as pool:
        results = pool.read(file_sources)
        next(results)
        readers = Counter(text_of(result) for _, result in results)
    assert readers.total() == 20
    assert max(readers.values()) >= 10  # by the other worker, while the first one slept


def test_look_ahead_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    taken = []

    def endless() -> Iterator[Source]:
        while True:
            taken.append(1)
            yield Source(tmp_path / "a.txt", tmp_path)

    with Pool(OPTIONS, 2, ahead=6) as pool:
        results = pool.read(endless())
        for _ in range(10):
            next(results)
        assert len(taken) <= 10 + 6
        results.close()  # type: ignore[attr-defined]


@pytest.mark.timeout(50)  # less than the hanging files would be given
def test_closing_early_ends_what_runs(evil: Path) -> None:
    before = set(children(os.getpid()))  # other tests' servers
    with Pool(OPTIONS, 2) as pool:
        results = pool.read(sources(evil, "ok", "hang", "hang", "hang"))
        next(results)
        time.sleep(0.2)
        results.close()  # type: ignore[attr-defined]
        ((_, result),) = pool.read(sources(evil, "ok"))
        assert isinstance(result, ParsedDocument)
    assert all(gone(pid) for pid in set(children(os.getpid())) - before)


def test_a_closed_pool_says_so(tmp_path: Path) -> None:
    pool = Pool(OPTIONS, 1)
    pool.close()
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        list(pool.read([Source(tmp_path / "a", tmp_path)]))


def test_a_failed_start_of_a_worker_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('no numpy for you')")
    monkeypatch.syspath_prepend(str(tmp_path))
    pool = Pool(OPTIONS, 1)
    with pytest.raises(RuntimeError) as caught:
        list(pool.read([Source(tmp_path / "a.txt", tmp_path)] * 3))
    assert "no numpy for you" in str(caught.value.__cause__)
    pool.close()


def test_workers_load_no_model_and_nothing_of_the_main_process(evil: Path, tmp_path: Path) -> None:
    import faiss  # noqa: F401  the parent may hold what it likes

    (tmp_path / "a.md").write_text("# words\n\nwords")
    file_sources = [Source(tmp_path / "a.md", tmp_path), *sources(evil, "modules", "environment")]
    with Pool(OPTIONS, 1) as pool:
        _, modules, environment = (text_of(result) for _, result in pool.read(file_sources))
    loaded = set(modules.split())
    assert "numpy" in loaded and "markdown_it" in loaded
    assert loaded.isdisjoint({"openvino", "faiss", "torch", "onnxruntime", "sqlite3", "pytest"})
    assert environment.startswith("['1', True]")


def script(folder: Path, body: str) -> str:
    path = folder / "script.py"
    path.write_text(
        f"import sys\nsys.path[:] = {sys.path!r}\n"  # without `if __name__ == '__main__'`, as a user writes it
        "print('started', flush=True)\n"
        "from pathlib import Path\n"
        "from commonplace.ingest.walk import Source\nfrom commonplace.ingest.workers import Pool\n"
        f"from commonplace.readers import ReadOptions\noptions = {OPTIONS!r}\nfolder = Path({str(folder)!r})\n"
        "file_sources = [Source(path, folder) for path in sorted(folder.glob('*.dvi'))]\n" + textwrap.dedent(body)
    )
    return str(path)


def test_a_plain_script_works_and_stays_quiet(evil: Path) -> None:
    sources(evil, "noise", "ok")
    path = script(evil, "with Pool(options, 2) as pool:\n    print(len(list(pool.read(file_sources))))\n")
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60, cwd=evil)
    assert (done.stdout, done.stderr, done.returncode) == ("started\n2\n", "", 0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_worker_outlives_its_parent(evil: Path, how: signal.Signals) -> None:
    sources(evil, "ok", "hang", "hang")
    path = script(evil, "pool = Pool(options, 2)\nfor _ in pool.read(file_sources):\n    print('one', flush=True)\n")
    parent = subprocess.Popen(
        [sys.executable, path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    assert parent.stdout is not None and parent.stderr is not None
    try:
        assert [parent.stdout.readline(), parent.stdout.readline()] == ["started\n", "one\n"]
        workers = children(parent.pid)
        assert len(workers) == 2
        parent.send_signal(how)
        parent.wait(timeout=10)
        assert all(gone(pid) for pid in workers)
        errors = parent.stderr.read()
        assert errors.count("Traceback") == (how == signal.SIGINT)
    finally:
        parent.kill()
        parent.stdout.close()
        parent.stderr.close()


@pytest.mark.data
@pytest.mark.parametrize("name", ["pdf", "odd_images", "small_files", "exif_orientation", "docs_wsl", "office"])
def test_the_development_data_goes_through(name: str) -> None:
    folder = data(name)
    pattern = "**/*.txt" if name == "office" else "**/*"
    file_sources = [Source(path, folder) for path in sorted(folder.glob(pattern)) if path.is_file()]
    refused = 0
    with Pool(OPTIONS, 2) as pool:
        for source, result in pool.read(file_sources):
            if isinstance(result, ReadError):
                refused += 1
                assert str(result) and "\n" not in str(result)
                assert "report it" not in str(result) and "crashed" not in str(result), (source.path, result)
            else:
                assert result.document.items == len(result.items) == len({item.id for item in result.items})
                assert {item.picture for item in result.items if item.picture} == set(result.pictures)
    assert refused < len(file_sources) * {"pdf": 0.05, "docs_wsl": 0.01, "exif_orientation": 0.01}.get(name, 0.7)
