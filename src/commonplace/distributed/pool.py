"""The actor pool: one actor on each machine of a Ray cluster, and a bounded window of batches on their way to them.

Each batch is done at least once. A batch whose actor dies is sent to another one, last of all. If it ends a second
actor it is cut in half, until the source that does it is alone; that source fails with the reason.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

from commonplace import __version__
from commonplace.distributed.actor import ActorSpec, IngestActor, Started, Written
from commonplace.distributed.connection import connected, last_line
from commonplace.errors import ClusterError, CommonplaceError, ModelError, ModelMismatch, ReadError
from commonplace.i18n import _
from commonplace.ingest import AnySource, Batch
from commonplace.space import Space

__all__ = ["ActorPool"]

log = logging.getLogger("commonplace")

AHEAD = 2
"""Number of batches that one actor has at once: it works on one while the result of the other is fetched."""
DEATHS = 2
"""How many actors a batch may end before it is cut in half, or given up if it is one source."""
START_SECONDS = 120.0
"""How long to wait for the first actor; loading a model from a cold disk is slow."""
LOOK_SECONDS = 10.0
"""Time between two looks for machines that have joined the cluster."""
POLL_SECONDS = 1.0
STARTS = 2  # how often an actor may fail to start on a machine before that machine is left out

Answer = Batch | Written | ReadError


@dataclass(eq=False, slots=True)
class _Task:
    """A batch of sources, and how many actors have died with it.

    A suspect is alone with its actor. Otherwise the death is not sure to be its own: what an actor did last may be lost
    with the actor, too.
    """

    sources: list[AnySource]
    deaths: int = 0
    is_suspect: bool = False


@dataclass(eq=False, slots=True)
class _Actor:
    """An actor with its node, the reference of its start (None once it has started), and its tasks by reference."""

    handle: Any
    node: str
    start: Any
    tasks: dict[Any, _Task] = field(default_factory=dict)

    @property
    def has_room(self) -> bool:
        """Whether another task may wait behind those that it has."""
        return len(self.tasks) < AHEAD and not any(task.is_suspect for task in self.tasks.values())


class ActorPool:
    """Actors on the Ray cluster at ``address``. A context manager: the actors end with it.

    Raises QueryError and ClusterError as ``connected`` does, and ModelError if the model cannot be sent.
    """

    def __init__(self, address: str, spec: ActorSpec, space: Space) -> None:
        self._address, self._spec, self._space = address, spec, space
        self._stack = ExitStack()
        self._ray: Any = None
        self._sent: Any = None  # the reference of the specification
        self._actors: list[_Actor] = []
        self._failed_starts: Counter[str] = Counter()  # by node
        self._reason = ""  # why the last actor did not start
        self._again: deque[_Task] = deque()
        self._suspects: deque[_Task] = deque()
        self._is_exhausted = False
        self._deadline = self._next_look = 0.0

    def __enter__(self) -> ActorPool:
        self._ray = self._stack.enter_context(connected(self._address))
        try:
            self._sent = self._ray.put(self._spec)
            self._deadline = monotonic() + START_SECONDS
            self._hire()
        except BaseException as error:
            self.__exit__()
            if isinstance(error, TypeError | AttributeError):  # what pickling raises
                raise ModelError(
                    _("the encoders of {name} cannot be sent to another machine ({error}): make them picklable").format(
                        name=self._space.name, error=last_line(error)
                    )
                ) from None
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for actor in list(self._actors):
            self._retire(actor)
        self._stack.close()

    def __len__(self) -> int:
        return len(self._actors)

    def run(self, batches: Iterable[list[AnySource]]) -> Iterator[tuple[list[AnySource], Answer]]:
        """Yield each batch with what came of it, as soon as it is done; batches that ended an actor in parts.

        ReadError is for a single source that ends every actor. Raises ClusterError if no machine can work, and errors
        of the model or of the collection as they were raised in an actor.
        """
        waiting = iter(batches)
        while True:
            self._hand_out(waiting)
            if self._is_done:
                return
            yield from self._collect()

    @property
    def _is_done(self) -> bool:
        in_flight = any(actor.tasks for actor in self._actors)
        return self._is_exhausted and not (self._again or self._suspects or in_flight)

    def _hand_out(self, waiting: Iterator[list[AnySource]]) -> None:
        """Fill the window of each actor that has started, the least busy one first. Suspects come last, each alone."""
        started = [actor for actor in self._actors if actor.start is None]
        while free := [actor for actor in started if actor.has_room]:
            task = self._next(waiting)
            if task is None:
                break
            self._send(min(free, key=lambda actor: len(actor.tasks)), task)
        if self._is_exhausted and not self._again:
            for actor in started:
                if self._suspects and not actor.tasks:
                    self._send(actor, self._suspects.popleft())

    def _next(self, waiting: Iterator[list[AnySource]]) -> _Task | None:
        """Return the next task without a suspicion: first those whose actor died with another task."""
        if self._again:
            return self._again.popleft()
        sources = None if self._is_exhausted else next(waiting, None)
        self._is_exhausted = sources is None
        return None if sources is None else _Task(sources)

    def _send(self, actor: _Actor, task: _Task) -> None:
        actor.tasks[actor.handle.ingest.remote(task.sources)] = task

    def _collect(self) -> Iterator[tuple[list[AnySource], Answer]]:
        """Wait for actors that start and for tasks that end; yield what came of the tasks, in the order they began."""
        actors = {
            ref: actor for actor in self._actors for ref in (actor.tasks if actor.start is None else [actor.start])
        }
        ready: set[Any] = set()
        if actors:
            ready.update(self._ray.wait(list(actors), num_returns=1, timeout=POLL_SECONDS)[0])
            ready.update(self._ray.wait(list(actors), num_returns=len(actors), timeout=0)[0])
        else:
            sleep(POLL_SECONDS)
        for ref, actor in actors.items():
            if ref in ready and ref == actor.start:
                self._end_start(actor)
            elif ref in ready and ref in actor.tasks:  # not so if its actor died with an earlier task
                yield from self._end_task(actor, ref)
        if monotonic() >= self._next_look:
            self._hire()
        if any(actor.start is None for actor in self._actors):
            self._deadline = monotonic() + START_SECONDS
        elif monotonic() > self._deadline:
            raise ClusterError(
                _(
                    "no machine of the Ray cluster at {address} had {workers} processors "
                    "free within {start_seconds:g} s: wait for other work, or take fewer of each with --workers"
                ).format(address=self._address, workers=self._spec.workers or _("all its"), start_seconds=START_SECONDS)
            )

    def _end_start(self, actor: _Actor) -> None:
        """Take an actor into use. Raises ClusterError or ModelMismatch if it has another version or model."""
        try:
            started = self._ray.get(actor.start)
        except self._ray.exceptions.RayError as error:
            self._reason = last_line(error)
            log.warning("a worker did not start on a machine of the Ray cluster: %s", self._reason)
            self._failed_starts[actor.node] += 1
            self._retire(actor)
            self._hire()
            return
        if isinstance(started, CommonplaceError):
            raise started
        self._check(started)
        actor.start, self._reason = None, ""

    def _check(self, started: Started) -> None:
        if started.version != __version__:
            raise ClusterError(
                _(
                    "{host} has Commonplace {version}, and this machine has {here}: install the "
                    "same version on every machine"
                ).format(host=started.host, version=started.version, here=__version__)
            )
        expected = (self._space.fingerprint, self._space.plugin_fingerprints)
        if (started.fingerprint, started.plugins) != expected:
            raise ModelMismatch(
                _(
                    "{host} has another model than {name} ({fingerprint}), or other "
                    "encoders of installed packages: install the same ones on every machine"
                ).format(host=started.host, name=self._space.name, fingerprint=self._space.fingerprint)
            )

    def _end_task(self, actor: _Actor, ref: Any) -> Iterator[tuple[list[AnySource], Answer]]:
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(ref)
        except errors.RayTaskError as error:  # the code of an encoder raised it
            raise error.cause from error
        except errors.RayError as error:
            yield from self._end_actor(actor, ref, last_line(error))
            return
        if isinstance(answer, CommonplaceError):
            raise answer
        yield actor.tasks.pop(ref).sources, answer

    def _end_actor(self, actor: _Actor, ref: Any, reason: str) -> Iterator[tuple[list[AnySource], ReadError]]:
        """Replace an actor that died. The first of its tasks becomes a suspect, the others are only sent again."""
        log.info("a worker of the Ray cluster ended: %s", reason)
        task = actor.tasks.pop(ref)
        self._again.extend(actor.tasks.values())
        self._retire(actor)
        self._hire()
        half = len(task.sources) // 2
        if task.deaths + 1 < DEATHS:
            self._suspects.append(_Task(task.sources, task.deaths + 1, is_suspect=True))
        elif half:
            # A source that is alone for the first time is tried as often as a whole batch: its neighbours did no harm.
            parts = (task.sources[:half], task.sources[half:])
            deaths = [DEATHS - 1 if len(part) > 1 else 0 for part in parts]
            self._suspects.extend(_Task(*part, is_suspect=True) for part in zip(parts, deaths, strict=True))
        else:
            problem = _(
                "reading or embedding it ended {deaths} workers of the Ray cluster; split it, or use --retry-failed"
            ).format(deaths=DEATHS)
            yield task.sources, ReadError(problem)

    def _hire(self) -> None:
        """Start an actor on each machine that has none. Raises ClusterError if no machine can start one."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._next_look = monotonic() + LOOK_SECONDS
        busy = {actor.node for actor in self._actors}
        for node in self._ray.nodes():
            name, processors = node["NodeID"], int(node["Resources"].get("CPU", 0))
            if not node["Alive"] or not processors or name in busy or self._failed_starts[name] >= STARTS:
                continue
            count = min(processors, self._spec.workers or processors)
            options = {
                "num_cpus": count,
                "max_restarts": 0,
                "scheduling_strategy": NodeAffinitySchedulingStrategy(name, soft=False),
            }
            handle = self._ray.remote(**options)(IngestActor).remote()
            self._actors.append(_Actor(handle, name, handle.start.remote(self._sent, count)))
        if not self._actors and self._reason:
            raise ClusterError(
                _(
                    "no worker can start on the Ray cluster at {address} ({reason}): install the same version "
                    "of Commonplace on every machine"
                ).format(address=self._address, reason=self._reason)
            )

    def _retire(self, actor: _Actor) -> None:
        self._actors.remove(actor)
        actor.tasks.clear()
        with suppress(Exception):  # it is dead already, or the cluster is
            self._ray.kill(actor.handle)
