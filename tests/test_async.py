"""The asynchronous collection: the same methods and results, cancelled and used from many tasks."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import commonplace as cp
from commonplace._async import AsyncMaintenance, _awaitable
from tests.tiny import tiny_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("async")
    (root / "notes").mkdir()
    for number in range(6):
        (root / "notes" / f"{number}.txt").write_text(f"Pump {number} needs the blue seal of room {number}.")
    with cp.open(root / "kb", model=tiny_bundle(root / "tiny")) as kb:
        kb.add(root / "notes", workers=1, progress=False)
    return root


def test_every_method_is_there_with_its_signature_and_docstring() -> None:
    for sync, other in ((cp.Collection, cp.AsyncCollection), (cp.Maintenance, AsyncMaintenance)):
        for name, method in vars(sync).items():
            if not inspect.isfunction(method) or name.startswith("_"):
                continue
            made = getattr(other, name)
            if name in ("stream", "chat", "close"):  # not the same: they return something asynchronous
                assert inspect.getdoc(made)
                continue
            assert inspect.iscoroutinefunction(made), name
            assert inspect.signature(made) == inspect.signature(method) and made.__doc__ == method.__doc__


def test_results_equal_those_of_the_collection(folder: Path) -> None:
    async def use() -> tuple[Any, ...]:
        async with cp.AsyncCollection(folder / "kb") as kb:
            result = await asyncio.gather(*(kb.search(f"room {number}", k=2) for number in range(20)))
            answer = await kb.ask("Which seal does pump 3 need?")
            parts = [part async for part in kb.stream("Which seal does pump 3 need?")]
            conversation = await kb.chat(k=3)
            reply = await conversation.ask("Which seal does pump 3 need?")
            again = [part async for part in conversation.stream("And pump 4?")]
            ranking = await kb.run(lambda collection: collection.ranking)
            assert await kb.maintenance.doctor() == []
            with pytest.raises(cp.QueryError, match="did you mean"):
                await kb.search("x", kk=3)  # type: ignore[call-overload]
            return result, answer, parts, reply, again, ranking

    result, answer, parts, reply, again, ranking = asyncio.run(use())
    with cp.open(folder / "kb") as kb:
        for number, hits in enumerate(result):
            assert [hit.dict() for hit in hits] == [hit.dict() for hit in kb.search(f"room {number}", k=2)]
        assert answer == kb.ask("Which seal does pump 3 need?") and ranking == kb.ranking
    assert isinstance(parts[0], cp.Hits) and parts[-1] == answer
    assert reply.blocks and isinstance(again[-1], cp.Answer) and again[-1].searched_as


def test_a_closed_or_missing_collection_raises_an_error(folder: Path, tmp_path: Path) -> None:
    async def use() -> None:
        kb = cp.AsyncCollection(cp.open(folder / "kb"))
        assert await kb.search("seal", k=1)
        await kb.close()
        await kb.close()
        with pytest.raises(cp.CollectionError, match="closed"):
            await kb.search("seal")
        (tmp_path / "file").write_text("no folder")
        with pytest.raises(cp.CollectionError):
            async with cp.AsyncCollection(tmp_path / "file"):
                pass

    asyncio.run(use())


class Slow:
    """A generator that waits between its sentences, and records when it was closed."""

    name = "slow"
    fallback = False

    def __init__(self) -> None:
        self.begun, self.release, self.closed = threading.Event(), threading.Event(), threading.Event()

    def generate(self, request: object) -> Any:
        from commonplace.generation import Statement

        try:
            self.begun.set()
            self.release.wait(30)
            yield Statement("Pump 3 needs the blue seal of room 3.", (0,))
            yield Statement("Pump 3 needs the blue seal of room 3.", (0,))
        finally:
            self.closed.set()


def test_cancellation_leaves_the_collection_usable(folder: Path) -> None:
    async def use() -> None:
        slow = Slow()
        async with cp.AsyncCollection(folder / "kb", generator=slow, threads=2) as kb:  # type: ignore[arg-type]
            task = asyncio.create_task(kb.ask("Which seal does pump 3 need?"))
            await asyncio.to_thread(slow.begun.wait, 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(await kb.search("seal", k=3)) == 3  # while the cancelled call is still running
            slow.release.set()
            assert await asyncio.to_thread(slow.closed.wait, 30)
            slow.closed.clear()
            async for part in kb.stream("Which seal does pump 3 need?"):
                if isinstance(part, cp.Block):
                    break
            assert await asyncio.to_thread(slow.closed.wait, 30)  # leaving the loop closed the generator
            assert len(await kb.search("seal", k=3)) == 3

    asyncio.run(use())


def test_searches_work_while_documents_and_models_change(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for number in range(6, 12):
        (tmp_path / "more" / f"{number}.txt").write_text(f"Pump {number} needs the blue seal of room {number}.")
    other = tiny_bundle(tmp_path / "other", seed=1)

    async def use() -> None:
        async with cp.AsyncCollection(tmp_path / "kb", model=folder / "tiny") as kb:
            await kb.add(folder / "notes", workers=1, progress=False)
            done = asyncio.Event()
            counts: list[int] = []

            async def search() -> None:
                while not done.is_set():
                    counts.append(len(await kb.search("blue seal", k=20)))

            searching = [asyncio.create_task(search()) for _ in range(3)]
            reports = await asyncio.gather(
                kb.add(tmp_path / "more", workers=1, progress=False), kb.remove(folder / "notes" / "0.txt")
            )
            migrated = await kb.maintenance.migrate(other, workers=1, progress=False)
            assert len(await kb.search("blue seal", k=20)) == 11
            done.set()
            await asyncio.gather(*searching)
            assert reports[0].added == 6 and reports[1] == 1 and migrated.items == 11
            assert counts and all(5 <= count <= 12 for count in counts)
            assert await kb.maintenance.doctor() == []

    asyncio.run(use())


def test_two_writers_take_turns(folder: Path, tmp_path: Path) -> None:
    running: list[int] = []
    most: list[int] = []

    def slow(self: cp.Collection, number: int) -> int:
        """Do nothing for a moment."""
        running.append(number)
        most.append(len(running))
        time.sleep(0.05)
        running.remove(number)
        return number

    class Watched(cp.AsyncCollection):
        write = _awaitable(slow, exclusive=True)

    async def use() -> None:
        async with Watched(folder / "kb") as kb:
            assert await asyncio.gather(*(kb.write(number) for number in range(4))) == [0, 1, 2, 3]

    asyncio.run(use())
    assert most == [1] * 4
