"""The collection for asynchronous programs: the same methods, each run in a thread."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import os
import threading
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from commonplace._answering import AnswerPart
from commonplace._maintenance import Maintenance
from commonplace.collection import Collection
from commonplace.errors import CollectionError
from commonplace.generation import Conversation, Generator
from commonplace.i18n import _
from commonplace.opening import open_collection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from commonplace._searching import Hits
    from commonplace.options import AskOptions, SearchOptions
    from commonplace.types import Query

__all__ = ["AsyncCollection", "AsyncConversation", "AsyncMaintenance"]

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")
_END = object()


class _Threads:
    """A thread pool that can be asked to finish its work and end."""

    def __init__(self, count: int) -> None:
        self.writing = threading.Lock()
        self._pool = ThreadPoolExecutor(count, "commonplace")

    async def run(self, function: Callable[[], R]) -> R:
        """Return what a function returns in a thread of the pool. Raises CollectionError after ``end()``."""
        try:
            future = self._pool.submit(contextvars.copy_context().run, function)
        except RuntimeError:
            raise CollectionError(_("the collection is closed: open it again")) from None
        return await asyncio.wrap_future(future)

    def start(self, function: Callable[[], object]) -> None:
        """Run a function in a thread of the pool without waiting for it."""
        with suppress(RuntimeError):  # the pool has ended
            self._pool.submit(function)

    def end(self) -> None:
        """Take no more calls, and wait for those that run."""
        self._pool.shutdown(wait=True)


class _Threaded(Generic[T]):
    """Runs methods of another object in threads."""

    def __init__(self, threads: _Threads) -> None:
        self._threads = threads

    @abstractmethod
    def _target(self) -> T:
        """Return the object; called in a thread."""

    async def run(self, function: Callable[Concatenate[T, P], R], *args: P.args, **options: P.kwargs) -> R:
        """Return ``function(object, *args, **options)``, called in a thread with the synchronous object.

        For what has no asynchronous form: ``await kb.run(lambda kb: kb.ranking)``.
        """
        return await self._threads.run(lambda: function(self._target(), *args, **options))


def _awaitable(
    method: Callable[Concatenate[T, P], R], *, exclusive: bool = False
) -> Callable[Concatenate[_Threaded[T], P], Coroutine[Any, Any, R]]:
    """Return a method as a coroutine function with the same signature and docstring.

    Of ``exclusive`` methods only one runs at a time.
    """

    @functools.wraps(method)
    async def call(self: _Threaded[T], /, *args: P.args, **options: P.kwargs) -> R:
        def run(target: T) -> R:
            if not exclusive:
                return method(target, *args, **options)
            with self._threads.writing:
                return method(target, *args, **options)

        return await self.run(run)

    return call


async def _iterate(threads: _Threads, start: Callable[[], Iterator[R]]) -> AsyncIterator[R]:
    """Yield what an iterator yields, each step in a thread. The iterator is closed in the end, between two steps."""
    lock = threading.Lock()
    iterators: list[Iterator[R]] = []

    def step() -> R | object:
        with lock:
            if not iterators:
                iterators.append(start())
            return next(iterators[0], _END)

    def close() -> None:
        with lock:
            for iterator in iterators:
                cast(Any, iterator).close()

    try:
        while (part := await threads.run(step)) is not _END:
            yield cast(R, part)
    finally:
        threads.start(close)  # not awaited: a cancelled task may not wait


class AsyncMaintenance(_Threaded[Maintenance]):
    """The methods of ``commonplace.Maintenance`` as coroutines."""

    def __init__(self, threads: _Threads, target: Callable[[], Collection]) -> None:
        super().__init__(threads)
        self._collection = target

    def _target(self) -> Maintenance:
        return self._collection().maintenance

    doctor = _awaitable(Maintenance.doctor, exclusive=True)
    backup = _awaitable(Maintenance.backup)
    copy_to = _awaitable(Maintenance.copy_to)
    restore = _awaitable(Maintenance.restore, exclusive=True)
    vacuum = _awaitable(Maintenance.vacuum, exclusive=True)
    compress = _awaitable(Maintenance.compress, exclusive=True)
    migrate = _awaitable(Maintenance.migrate, exclusive=True)


class AsyncConversation(_Threaded[Conversation]):
    """The methods of ``commonplace.Conversation`` as coroutines; ask one question at a time."""

    def __init__(self, threads: _Threads, conversation: Conversation) -> None:
        super().__init__(threads)
        self._conversation = conversation

    def _target(self) -> Conversation:
        return self._conversation

    ask = _awaitable(Conversation.ask)

    def stream(self, text: str, *, image: Any = None) -> AsyncIterator[AnswerPart]:
        """Yield what ``AsyncCollection.stream()`` yields; an unfinished answer is not remembered."""
        return _iterate(self._threads, lambda: self._conversation.stream(text, image=image))


class AsyncCollection(_Threaded[Collection]):
    """A ``commonplace.Collection`` whose methods are coroutines, run in a thread pool of its own:

        async with cp.AsyncCollection("my-notes") as kb:
            hits = await kb.search("a dog catching a frisbee", k=10)
            async for part in kb.stream("Which pump needs the blue seal?"):
                ...

    ``collection`` is a folder or URL (with the options of ``commonplace.open``; opened by the first call) or an open
    collection. ``threads`` calls run at once. Searches run beside each other and beside one call that
    writes. A cancelled call that has started goes on in its thread to the end, its result is dropped, and the
    collection stays usable. Errors are those of the methods, and CollectionError for a call after ``close()``.
    """

    def __init__(
        self,
        collection: str | os.PathLike[str] | Collection,
        *,
        model: str | os.PathLike[str] | None = None,
        generator: Generator | None = None,
        blobs: str | None = None,
        token: str | None = None,
        threads: int = 8,
    ) -> None:
        super().__init__(_Threads(threads))
        self._opening = threading.Lock()
        self._collection = collection if isinstance(collection, Collection) else None
        self._open = functools.partial(
            open_collection, cast(Any, collection), model=model, generator=generator, blobs=blobs, token=token
        )
        self.maintenance = AsyncMaintenance(self._threads, self._target)

    def _target(self) -> Collection:
        with self._opening:
            if self._collection is None:
                self._collection = self._open()
            return self._collection

    async def __aenter__(self) -> AsyncCollection:
        await self.run(lambda collection: None)  # a collection that cannot be opened fails here
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for the calls that run, and close the store. Further calls raise CollectionError."""
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._threads.end()
        if self._collection is not None:
            self._collection.close()

    def stream(
        self, text: str | None = None, *, image: Any = None, **options: Unpack[AskOptions]
    ) -> AsyncIterator[AnswerPart]:
        """Yield the hits, then each sentence and picture as soon as it is written and checked, last the answer.

        See ``commonplace.Collection.stream()``. Ending the loop early stops the generator after its current part.
        """
        return _iterate(self._threads, lambda: self._target().stream(text, image=image, **options))

    async def chat(self, **options: Unpack[AskOptions]) -> AsyncConversation:
        """Return a conversation whose methods are coroutines; see ``commonplace.Collection.chat()``."""
        conversation = await self.run(lambda collection: collection.chat(**options))
        return AsyncConversation(self._threads, conversation)

    if TYPE_CHECKING:

        @overload
        async def search(  # type: ignore[overload-overlap]  # a string is a sequence of strings, too
            self, text: str | Query | None = None, *, image: Any = None, **options: Unpack[SearchOptions]
        ) -> Hits: ...
        @overload
        async def search(self, text: Sequence[str | Query], **options: Unpack[SearchOptions]) -> list[Hits]: ...
        @overload
        async def search(self, *, vector: Any, channel: str, **options: Unpack[SearchOptions]) -> Hits: ...
        async def search(self, *arguments: Any, **options: Any) -> Any: ...

    # Named here for type checkers; the loop below adds what is missing.
    add = _awaitable(Collection.add, exclusive=True)
    remove = _awaitable(Collection.remove, exclusive=True)
    ask = _awaitable(Collection.ask)
    candidates = _awaitable(Collection.candidates)
    embed_texts = _awaitable(Collection.embed_texts)
    embed_images = _awaitable(Collection.embed_images)
    label = _awaitable(Collection.label)
    labels = _awaitable(Collection.labels)
    documents = _awaitable(Collection.documents)
    find = _awaitable(Collection.find)
    items = _awaitable(Collection.items)
    page = _awaitable(Collection.page)
    heatmap = _awaitable(Collection.heatmap)
    status = _awaitable(Collection.status)


for _name, _method in vars(Collection).items():
    if inspect.isfunction(_method) and not _name.startswith("_") and _name not in vars(AsyncCollection):
        setattr(AsyncCollection, _name, _awaitable(_method))
