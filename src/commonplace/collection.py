"""A collection: documents and pictures that are added, searched and asked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from commonplace._documents import add, contains, describe, documents, find, label, remove
from commonplace._embedding import Role, embed_images, embed_texts
from commonplace._maintenance import Maintenance, status
from commonplace._searching import RANKING, Hits, Searcher, queries_of, query_of, stored_ranking
from commonplace._session import Session, check_fingerprint
from commonplace._showing import heatmap_of, page_of
from commonplace.errors import QueryError
from commonplace.filters import Where, filter_of
from commonplace.i18n import _
from commonplace.options import AddOptions, AskOptions, AskRequest, SearchOptions, SearchRequest
from commonplace.places import FolderPlace, Place
from commonplace.retrieval import Calibration, ChannelScores, HeatMap, Ranking, candidates
from commonplace.space import Space
from commonplace.store import Store
from commonplace.types import Answer, Citation, Document, Filter, Hit, Item, Query
from commonplace.watching import EVERY, Watcher

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from commonplace._answering import AnswerPart
    from commonplace.generation import Conversation, Generator
    from commonplace.indexer import Report
    from commonplace.pages import PageView
    from commonplace.records import Source

__all__ = ["Collection"]


class Collection:
    """Documents and pictures, and the vector space they are searched in. A context manager.

    Made by ``commonplace.open``. Safe to search from several threads. ``maintenance`` checks, backs up, shrinks
    and migrates its files: see ``commonplace.Maintenance``. ``folder`` is its folder here, also if a server has it.
    """

    def __init__(self, store: Store, space: Space, home: Path | Place[Store], generator: Generator | None = None):
        check_fingerprint(store, space)
        place = FolderPlace(home) if isinstance(home, Path) else home
        self.folder = place.folder
        self._session = Session(place.name, place.folder, store, space)
        self._searcher = Searcher()
        self._generator = generator
        self.maintenance = Maintenance(self._session, place)

    @property
    def store(self) -> Store:
        """The store that holds documents, items and vectors."""
        return self._session.parts.store

    @property
    def space(self) -> Space:
        """The joint space of texts and pictures: the model that the collection uses."""
        return self._session.parts.space

    @property
    def calibration(self) -> Calibration:
        """What turns raw scores into probabilities, for this model and this collection."""
        return self._session.parts.calibration

    @property
    def generator(self) -> Generator:
        """What writes the answers: the one that was given, else the extractive one, which quotes sentences."""
        return self._generator or self._session.parts.extractive

    @generator.setter
    def generator(self, generator: Generator | None) -> None:
        self._generator = generator

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def add(
        self,
        *sources: Source | Iterable[Source],
        retry_failed: bool = False,
        force: bool = False,
        progress: bool | None = None,
        **reading: Unpack[AddOptions],
    ) -> Report:
        """Add files, folders and records. What is unchanged is skipped, and a bad source never stops the others.

        Each of ``sources`` is a path, a URL that fsspec reads, a ``commonplace.Record``, or an iterable of these, which
        may be a generator of any length. A record replaces the document that has its id.

        ``retry_failed`` reads files again that failed or were read in part, ``force`` all of them. ``progress`` shows a
        bar (default: on a terminal). ``reading``: see ``AddOptions``. Failures are in the report with the reason, and
        logged.

        Raises CollectionError if the collection cannot be written, ClusterError if the cluster cannot be used, and
        SourceError (with the report) if an iterable raises an error. The next call continues an interrupted one.
        """
        options = {"progress": progress, **reading}
        return add(self._session, sources, options, retry_failed=retry_failed, force=force)

    def watch(self, *folders: str | os.PathLike[str], every: float = EVERY, **reading: Unpack[AddOptions]) -> Watcher:
        """Keep folders and the collection in step while the block ``with kb.watch("papers"):`` runs; see ``Watcher``.

        All is compared after ``every`` seconds, too. Needs the extra ``watch``. Raises QueryError for a missing folder.
        """
        return Watcher(self._session, folders, reading, every)

    def remove(self, *names: str | os.PathLike[str], missing: bool = False) -> int:
        """Remove documents by path (a folder: everything below it; a pattern: ``old/*.md``) or id, with their items.

        ``missing`` removes those whose file is gone. Returns how many were removed. Raises CollectionError for a name
        that matches none, and for ``missing`` on a server. Raises QueryError for an empty name.
        """
        return remove(self._session.parts, names, missing)

    @overload
    def search(  # type: ignore[overload-overlap]  # a string is a sequence of strings, too
        self, text: str | Query | None = None, *, image: Any = None, **options: Unpack[SearchOptions]
    ) -> Hits: ...
    @overload
    def search(self, text: Sequence[str | Query], **options: Unpack[SearchOptions]) -> list[Hits]: ...
    @overload
    def search(self, *, vector: Any, channel: str, **options: Unpack[SearchOptions]) -> Hits: ...
    def search(
        self,
        text: str | Query | Sequence[str | Query] | None = None,
        *,
        image: Any = None,
        vector: Any = None,
        channel: str | None = None,
        **options: Unpack[SearchOptions],
    ) -> Hits | list[Hits]:
        """Return the best items for words, for a picture, or for both, best first.

        ``image`` is a path, the bytes of a picture file, a PIL image or an RGB array (height, width, 3) uint8. A list
        of strings and ``commonplace.Query`` objects is encoded in one batch and gives a list of hits for each.

        Options:
          k               how many hits, 1 to 10,000 (default: 10)
          modality        only items of this modality: text, image, or one that a package adds
          path            only documents with this path, below this folder, or matching this glob
          media_type      only documents whose media type matches this glob, such as image/*
          after, before   only documents dated from then on, or before then: a date, or 2024, 2024-05, 2024-05-31
          where           only documents with this metadata: {"author": "*hopper*", "language": ["en", "en-*"],
                          "year": {">=": 2020, "<": 2025}, "active": True}
          min_confidence  leave out hits with a lower confidence, in [0, 1] (default: 0)
          ranking         a commonplace.Ranking (default: the collection's own)
          rerank          "maxsim", a cross-encoder's folder or a commonplace.Reranker: reorders the best passages
          negative        words; what is similar to them is ranked down
          negative_image  a picture; what is similar to it is ranked down

        Scores lie in [0, 1]. Under the default ranking a hit's score is its probability of being relevant, and the
        contributions in its ``breakdown`` sum to the log-odds of that.

        ``vector`` (dim,) searches one vector index, ``channel`` (``text``, ``image``, ...), by cosine alone; see
        ``embed_texts()``. It takes ``k`` and filters only. A hit's score is then (1 + cosine) / 2, and its
        confidence is 0, because a bare vector is not calibrated.

        Raises QueryError for an empty query or an unusable option, ReadError for an unreadable picture, ModelError for
        an unusable reranker or a vector that the model cannot compute.
        """
        request = SearchRequest.of(options, self.store.metadata_types)
        if vector is not None or channel is not None:
            if text is not None or image is not None:
                raise QueryError(_("a search by a vector takes no text and no image"))
            return self._session.run(lambda parts: self._searcher.search_vector(parts, vector, channel, request))
        if text is None or isinstance(text, (str, Query)):
            query = query_of(text, image)
            return self._session.run(lambda parts: self._searcher.search(parts, [query], request))[0]
        queries = queries_of(text, image)
        return self._session.run(lambda parts: self._searcher.search(parts, queries, request))

    def ask(self, text: str | None = None, *, image: Any = None, **options: Unpack[AskOptions]) -> Answer:
        """Answer a question with sentences and pictures of the collection, each cited and checked; or abstain.

        Options: all those of ``search()`` (``k``, default 12, is how many hits the answer is written from), and

          nli          a cross-encoder for natural language inference, or its folder: helps to check each sentence
          searched_as  the words to search for; ``history``: earlier (question, answer) pairs, for a language model

        Raises what ``search()`` raises, and GeneratorError where the generator fails and the extractive answer may
        not take its place.
        """
        for part in self.stream(text, image=image, **options):
            if isinstance(part, Answer):
                return part
        raise AssertionError("a stream ends with its answer")

    def stream(
        self, text: str | None = None, *, image: Any = None, **options: Unpack[AskOptions]
    ) -> Iterator[AnswerPart]:
        """Yield the hits, then each sentence and picture as soon as it is written and checked, last the answer.

        A note with ``restart`` takes back the blocks before it. Closing the iterator stops the generator. Options and
        errors as for ``ask()``.
        """
        from commonplace._answering import stream_answer

        request = AskRequest.of(options, self.store.metadata_types)
        return stream_answer(self._session, self._searcher, self._generator, query_of(text, image), request)

    def chat(self, **options: Unpack[AskOptions]) -> Conversation:
        """Return a conversation, in which a question may refer to the ones before it.

        ``options`` are those of ``ask()`` and hold for every question. A language model rewrites a follow-up question
        in full; without one a rule does: see ``commonplace.generation.rewrite_by_rule``.
        """
        from commonplace.generation import Conversation, Rewriter

        AskRequest.of(options, self.store.metadata_types)
        rewriter = self.generator if isinstance(self.generator, Rewriter) else None
        return Conversation(partial(self.stream, **options), rewriter)

    def candidates(
        self, text: str | None = None, *, image: Any = None, ranking: Ranking | None = None
    ) -> tuple[list[str], dict[str, ChannelScores], Calibration]:
        """Return what a search fuses: the ids of the items that any channel lists, the scores of each channel, and
        the calibration for this query (see ``commonplace.retrieval.fuse``). Errors as for ``search()``.
        """
        with self._session.use() as parts:
            (query,) = self._searcher.encode(parts, [query_of(text, image)], SearchRequest())
            ids, channels = candidates(parts.store, query, k=1, where=Filter(), ranking=ranking or Ranking())
            return ids, channels, parts.calibration.for_vectors(query.vectors, parts.store.count())

    def embed_texts(
        self, texts: Sequence[str], *, role: Role = "query", channel: Literal["text", "image"] = "text"
    ) -> NDArray[np.float32]:
        """Return one unit vector for each text, float32 (n, dim), in the space that the collection is searched in.

        ``role``: whether the texts are queries or documents; models may encode these differently. ``channel`` matters
        for a pair of models (``text=...,image=...``) only: ``image`` gives vectors that compare with pictures.
        Raises QueryError for what is no list of strings, ModelError where the model has no text tower.
        """
        return embed_texts(self.space, texts, role, channel)

    def embed_images(self, images: Sequence[Any]) -> NDArray[np.float32]:
        """Return one unit vector for each picture, float32 (n, dim), in the joint space.

        Pictures are paths, bytes of picture files, PIL images or RGB arrays. Raises QueryError for what is no picture,
        ReadError for an unreadable one, ModelError where the model has no image tower.
        """
        return embed_images(self.space, images)

    def label(self, text: str | None, item: str, good: bool, *, image: str | os.PathLike[str] | None = None) -> None:
        """Store whether the item with this id answers a query in words, a picture (its path), or both.

        The last label of a query and an item counts. Raises QueryError for an unknown item or an empty query.
        """
        label(self._session.parts, query_of(text), item, good, image)

    def labels(self) -> list[tuple[str | None, str | None, str, bool]]:
        """Return the labels: words, path of the picture, item id, whether it answers; without items that are gone."""
        return [(text or None, image or None, item, good) for text, image, item, good in self.store.labels()]

    @property
    def ranking(self) -> Ranking:
        """How this collection is searched by default: what tuning stored, or ``Ranking()``.

        See ``commonplace.evaluation.tune``. Set it to None to go back to the default.
        """
        return stored_ranking(self._session.parts)

    @ranking.setter
    def ranking(self, ranking: Ranking | None) -> None:
        self.store.set_setting(RANKING, None if ranking is None else ranking.json())

    def documents(
        self, *names: Path | str, missing: bool = False, failed: bool = False, where: Where | None = None
    ) -> list[Document]:
        """Return the documents by path: all, or those that ``remove()`` would remove for ``names`` and ``missing``.
        ``failed``: only those that could not be read. ``where``: only those with this metadata (see ``search()``).
        Raises what ``remove()`` raises, and QueryError for an unusable filter.
        """
        allowed = filter_of(None, None, None, None, None, where, self.store.metadata_types)
        return documents(self._session.parts, names, missing, "failed" if failed else None, allowed)

    def get(self, id_: str) -> Document | None:
        """Return the document with this id (of a record the id that it was given), or None."""
        return next(iter(self.store.documents(ids=[id_])), None)

    def __len__(self) -> int:
        """Return the number of documents."""
        return sum(self.store.counts("documents")["documents"].values())

    def __bool__(self) -> bool:
        """Return True: a collection without documents is a collection."""
        return True

    def __iter__(self) -> Iterator[Document]:
        """Yield the documents by path, some at a time."""
        return iter(self.store.documents())

    def __contains__(self, name: object) -> bool:
        """Return whether there is a document with this id, this path or this URI."""
        return contains(self._session.parts, name)

    def __repr__(self) -> str:
        """Return the folder or URL, the model, and how much the collection holds."""
        return describe(self._session.parts)

    def find(self, name: str | os.PathLike[str]) -> Item | Document:
        """Return the item with this id, or the document with this id or path.

        Raises CollectionError where there is none, or where several documents lie below that path.
        """
        return find(self._session.parts, name)

    def items(self, document: Document) -> list[Item]:
        """Return the items of a document, in reading order."""
        return self.store.items_of(document.id)

    def page(self, cited: Hit | Citation | Item | str, *, side: int = 1600) -> PageView:
        """Return the page of a PDF or the picture that an item (or its id) stands on, with its box drawn.

        A worker process reads the file; ``side``, 100 to 5000, is about the pixels of the longer side. Where the file
        is gone or has changed, the thumbnail (320 pixels) that the collection keeps stands in, and ``note`` says so.
        Raises ReadError where there is no picture at all, CollectionError for an unknown id, QueryError for another
        ``side``.
        """
        return page_of(self._session.parts, cited, side)

    def heatmap(self, hit: Hit, text: str) -> HeatMap:
        """Return where in the picture of ``hit`` the words ``text`` match; see ``HeatMap`` for its limits.

        The picture is read from the file that ``hit.image`` names. Raises QueryError where the hit has no picture or
        the model knows too few of the words, ReadError where the picture cannot be read.
        """
        return heatmap_of(self._session.parts, self._searcher, hit, text)

    def status(self) -> dict[str, Any]:
        """Return counts, model, size of a folder in bytes and the indexes, as plain JSON values."""
        return status(self._session.parts)
