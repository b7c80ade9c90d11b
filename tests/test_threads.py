"""Many threads search one collection, also during an ``add``: each gets the same results as a single thread."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import commonplace as cp
from tests.tiny import tiny_bundle

THREADS = 16
WORDS = ("pump", "snow", "brass", "road", "seal", "winter", "valve", "bread", "dough", "river")


@pytest.fixture(autouse=True)
def _often() -> Iterator[None]:
    """Switch between threads often, so that race conditions show."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "notes"
    (root / "pictures").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number, word in enumerate(WORDS):
        Image.fromarray(draw.integers(0, 255, (40, 40, 3), np.uint8)).save(root / "pictures" / f"{number}.png")
        shown = f"![{word}](pictures/{number}.png)"
        text = f"# The {word}\n\nThis is about the {word} and the {WORDS[number - 1]}.\n\n{shown}\n"
        (root / f"{number}.md").write_text(text)
    return root


def told(hits: cp.Hits) -> list[tuple[Any, ...]]:
    """Return all results of a search, with the paths of pictures."""
    return [(hit.item, hit.score, hit.confidence, hit.breakdown, hit.image, hit.near_duplicates) for hit in hits]


def searches(folder: Path) -> list[dict[str, Any]]:
    picture = folder / "pictures" / "3.png"
    result: list[dict[str, Any]] = [{"text": f"the {word}", "k": 5} for word in WORDS]
    result += [{"image": picture}, {"text": "snow", "image": picture}, {"text": "seal", "negative": "pump"}]
    return [*result, {"text": "road", "modality": "image"}, {"text": "road", "path": str(folder), "rerank": "maxsim"}]


def at_once(work: Callable[[int], Any], count: int = THREADS) -> list[Any]:
    """Run ``work`` for each number in all threads at the same time, and return the results."""
    begin = threading.Barrier(count)

    def run(number: int) -> Any:
        begin.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_many_threads_get_the_results_of_one_thread(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_bundle(tmp_path / "model")
    with cp.open(tmp_path / "kb", model=model) as kb:
        kb.add(*sorted(folder.glob("*.md")), workers=1, progress=False)
        asked = searches(folder)
        alone = [told(kb.search(**query)) for query in asked]
        assert all(alone) and any(hit[4] for hits in alone for hit in hits)
    for picture in (tmp_path / "kb" / "crops").iterdir():
        picture.unlink()
    with caplog.at_level(logging.WARNING), cp.open(tmp_path / "kb", model=model) as kb:  # nothing is loaded yet
        results = at_once(lambda n: [told(kb.search(**query)) for query in asked[n % 4 :] + asked[: n % 4]])
        for n, hits in enumerate(results):
            assert hits == alone[n % 4 :] + alone[: n % 4]
        encoders = at_once(lambda _: kb._searcher.cross_encoder(_cross(tmp_path)))
        assert len({id(encoder) for encoder in encoders}) == 1
    assert not caplog.records


def _cross(folder: Path) -> Path:
    """A folder that looks like a cross-encoder. It is not read before it is used."""
    made = folder / "cross"
    made.mkdir(exist_ok=True)
    for name in ("model.onnx", "tokenizer.json"):
        (made / name).touch()
    return made


def test_a_search_during_an_add_is_consistent(tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_bundle(tmp_path / "model")
    more = [folder / f"{number}.md" for number in range(4, 10)]
    with caplog.at_level(logging.WARNING), cp.open(tmp_path / "kb", model=model) as kb:
        kb.add(*(folder / f"{number}.md" for number in range(4)), workers=1, progress=False)
        asked, done = searches(folder), threading.Event()

        def work(number: int) -> int:
            if number == 0:
                try:
                    for file in (more[:2], more[2:]):
                        kb.add(*file, workers=1, progress=False)
                    return 0
                finally:
                    done.set()
            rounds = 0
            while not done.is_set():
                for hit in kb.search(**asked[(number + rounds) % len(asked)]):
                    assert 0 <= hit.score <= 1
                    if hit.item.picture is not None:
                        assert hit.image is not None and Path(hit.image).read_bytes()[:2] == b"\xff\xd8"
                rounds += 1
            return rounds

        assert all(at_once(work)[1:])
        after = [told(kb.search(**query)) for query in asked]
    assert not caplog.records
    with cp.open(tmp_path / "kb", model=model) as kb:
        assert [told(kb.search(**query)) for query in asked] == after


def test_two_collections_share_no_mutable_state(tmp_path: Path, folder: Path) -> None:
    """The learned statistics and the ranking of one collection do not affect the other."""
    model = tiny_bundle(tmp_path / "model")
    with cp.open(tmp_path / "one", model=model) as first, cp.open(tmp_path / "two", model=model) as two:
        for kb in (first, two):
            kb.add(*sorted(folder.glob("*.md")), workers=1, progress=False)
        asked = searches(folder)
        before = [[hit[:4] for hit in told(two.search(**query))] for query in asked]
        first.ranking = cp.Ranking(method="rrf")
        first.remove(folder / "3.md")
        assert [[hit[:4] for hit in told(two.search(**query))] for query in asked] == before


def test_two_threads_may_be_the_first_to_use_the_runtime() -> None:
    """Without care the two wait for each other without end, in most runs."""
    code = (
        "import sys, threading\n"
        "from commonplace.encoders.runtime import openvino\n"
        "sys.setswitchinterval(1e-6)\n"
        "barrier, runtime = threading.Barrier(2), openvino()\n"
        "def use():\n"
        "    barrier.wait()\n"
        "    runtime.Type.f32.to_dtype()\n"
        "threads = [threading.Thread(target=use) for _ in range(2)]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
