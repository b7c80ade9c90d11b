"""A collection: what the user holds. Add, remove, search, ask."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from commonplace.crops import Crops
from commonplace.encoders import CrossEncoder
from commonplace.errors import CollectionError, ModelError, ModelMismatch, QueryError, ReadError
from commonplace.filters import filter_of
from commonplace.generation import (
    PICTURES,
    Conversation,
    ExtractiveGenerator,
    Generator,
    GroundingChecker,
    Request,
    Rewriter,
    cite,
    generated,
    relevant_images,
    subject,
    wants_pictures,
)
from commonplace.indexer import Indexer, Report, canonical_path, display_path, document_id
from commonplace.migrate import Migrated, migrate, model_for, store_for
from commonplace.pages import PageView, page_view
from commonplace.retrieval import (
    Calibration,
    ChannelScores,
    EncodedQuery,
    HeatMap,
    LateInteraction,
    Ranking,
    Reranker,
    candidates,
    rerank,
    search,
)
from commonplace.retrieval.background import learn, learned
from commonplace.space import Space, open_space
from commonplace.store import Finding, Maintenance, Store
from commonplace.types import (
    Answer,
    Block,
    Citation,
    Document,
    Filter,
    Hit,
    Item,
    Modality,
    Note,
    Query,
)

if TYPE_CHECKING:
    pass

__all__ = ["Collection", "Hits", "Report", "open_collection"]

log = logging.getLogger("commonplace")

EVIDENCE = 12  # hits that an answer is made from
MOST_HITS = 10_000
LONGEST_QUESTION = 20_000  # characters
QUESTION_PIXELS = 64_000_000  # of a question's picture, which is decoded in this process
RANKING = "ranking"  # the setting that holds how this collection is searched
KEYS_NAMED = 20  # of those that documents state, where a filter asks for another


class Hits(list[Hit]):
    """Hits, best first. ``notes`` says in words which part of the question could not be searched, and why."""

    def __init__(self, hits: Iterable[Hit] = (), notes: Sequence[str] = ()) -> None:
        super().__init__(hits)
        self.notes = tuple(notes)


class Collection:
    """Documents, pictures and the space they are searched in; a context manager.

    Made by :func:`commonplace.open`. Safe to search from several threads.
    """

    def __init__(self, store: Store, space: Space, folder: Path, generator: Generator | None = None) -> None:
        self.folder = folder
        self._generator = generator
        self._cross_encoders: dict[Path, CrossEncoder] = {}
        self._use(store, space)

    def _use(self, store: Store, space: Space) -> None:
        self.store = store
        self.space = space
        self._crops = Crops(self.folder, store)
        self.evidence = Calibration.from_bundle(learned(space, store))
        self.extractive = ExtractiveGenerator(space, self.evidence)
        self._question_means = space.means("query")
        self._verified: Future[None] | None = None

    @property
    def generator(self) -> Generator:
        """What writes the answers: the one that was given or assigned, else sentences and pictures as they stand."""
        return self._generator or self.extractive

    @generator.setter
    def generator(self, generator: Generator | None) -> None:
        self._generator = generator

    def __enter__(self) -> Collection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    # --- the road in -----------------------------------------------------------------------------------------

    def add(
        self,
        *paths: str | os.PathLike[str],
        workers: int | None = None,
        retry_failed: bool = False,
        force: bool = False,
        progress: bool | None = None,
        ocr: bool | None = None,
    ) -> Report:
        """Add files and folders; what is unchanged is left alone, and a bad file never stops the rest.

        ``workers`` reader processes (default: one a processor); ``retry_failed`` reads files again that failed before,
        ``force`` all of them, unchanged ones too (what is whole is not embedded again);
        ``progress`` shows a bar (default: where standard error is a terminal). ``ocr`` reads the words in pictures
        (default: where the extra ``ocr`` is installed, and ``COMMONPLACE_OCR`` is not 0). Files that fail are in the
        report and logged as warnings. Whole documents are committed, many a transaction: what an interrupted ``add``
        had committed stays, and the next one goes on from there.
        Raises CollectionError where the collection cannot be written.
        """
        indexer = Indexer(self.store, self.space, self.folder, self._crops, retry_failed=retry_failed, force=force)
        report = indexer.run(paths, workers=workers, progress=progress, ocr=ocr)
        if report.added or report.changed or report.moved:
            learn(self.space, self.store)
            self._use(self.store, self.space)
            if self.store.maintenance is not None:
                self.store.maintenance.checkpoint()
        return report

    def remove(self, *names: str | os.PathLike[str], missing: bool = False) -> int:
        """Remove documents by path (a folder: everything below it) or id, with all that was theirs.

        ``missing`` removes those whose file is gone. Returns how many were removed; raises CollectionError for a
        name that matches none.
        """
        every = self.store.documents() if missing else ()
        ids = [document.id for document in every if not os.path.lexists(document.path)]
        for name in names:
            if not str(name):
                raise QueryError("a name to remove is empty: say which document or folder")
            ids += [document.id for document in _named(self.store, name)]
        self._crops.remove(ids)
        count = self.store.remove(dict.fromkeys(ids))
        self._crops.prune()
        return count

    # --- the road out ----------------------------------------------------------------------------------------

    def search(
        self,
        text: str | None = None,
        *,
        image: Any = None,
        negative: str | None = None,
        negative_image: Any = None,
        k: int = 10,
        modality: Modality | None = None,
        path: str | None = None,
        media_type: str | None = None,
        after: str | date | None = None,
        before: str | date | None = None,
        where: Mapping[str, str | Sequence[str]] | None = None,
        min_confidence: float = 0.0,
        ranking: Ranking | None = None,
        rerank: str | os.PathLike[str] | Reranker | None = None,
    ) -> Hits:
        """Return the ``k`` best items for words, a picture (path, PIL image or RGB array), or both; best first.

        ``negative`` (words) and ``negative_image`` push down what is like them. ``modality``, ``path`` (a file, folder
        or glob) and ``media_type`` (a glob) filter inside the search; so do ``after`` (from the beginning of that day,
        month or year on) and ``before`` (until it begins), dates or ISO 8601, which compare with the document's
        ``date``, and ``where``, what documents state of themselves: of each key any one of its values, in whatever
        case, ``*`` for any characters (``{"author": "*hopper*", "language": ["en", "en-*"]}``). ``min_confidence`` in
        [0, 1] leaves out hits that are less likely to be relevant. ``ranking``: default the collection's own, see
        :attr:`ranking`. Scores lie in [0, 1]; each hit's ``channels`` account for its score. ``rerank`` reads the best
        passages again and puts them in a new order, pictures keep their places: ``"maxsim"`` with the bundled model, a
        cross-encoder's folder, or any :class:`Reranker`. Raises QueryError for an empty question or an unusable
        filter, ReadError for an unreadable picture, ModelError for an unusable reranker.
        """
        asked = self._ask(text, image, negative, negative_image)
        allowed = filter_of(modality, path, media_type, after, before, where)
        return self._search(asked, k, allowed, min_confidence, ranking, self._reranker(rerank))

    def ask(
        self,
        text: str | None = None,
        *,
        image: Any = None,
        negative: str | None = None,
        negative_image: Any = None,
        modality: Modality | None = None,
        path: str | None = None,
        media_type: str | None = None,
        after: str | date | None = None,
        before: str | date | None = None,
        where: Mapping[str, str | Sequence[str]] | None = None,
        min_confidence: float = 0.0,
        ranking: Ranking | None = None,
        rerank: str | os.PathLike[str] | Reranker | None = None,
        nli: str | os.PathLike[str] | CrossEncoder | None = None,
        searched: str | None = None,
    ) -> Answer:
        """Answer from the collection: sentences and pictures with checked citations, or an abstention with its reason.

        ``nli`` is a cross-encoder trained on natural language inference, or its folder: it has a say in whether a
        sentence is supported. ``searched`` is what is searched for in place of ``text``. Other arguments and errors as
        for :meth:`search`; GeneratorError where the generator fails and the extractive answer is not wanted instead.
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "text")}
        for part in self.stream(text, **given):
            if isinstance(part, Answer):
                return part
        raise AssertionError("a stream ends with its answer")

    def stream(
        self,
        text: str | None = None,
        *,
        image: Any = None,
        negative: str | None = None,
        negative_image: Any = None,
        modality: Modality | None = None,
        path: str | None = None,
        media_type: str | None = None,
        after: str | date | None = None,
        before: str | date | None = None,
        where: Mapping[str, str | Sequence[str]] | None = None,
        min_confidence: float = 0.0,
        ranking: Ranking | None = None,
        rerank: str | os.PathLike[str] | Reranker | None = None,
        nli: str | os.PathLike[str] | CrossEncoder | None = None,
        searched: str | None = None,
    ) -> Iterator[Hits | Block | Note | Answer]:
        """Yield the evidence, then each sentence and picture as soon as it is written and checked, last the answer.

        Notes come where they arise; one with ``restart`` takes back the blocks before it. Closing the iterator stops
        the generator. Arguments and errors as for :meth:`ask`.
        """
        pixels = None if image is None else _pixels(image)
        words = searched or text
        show = wants_pictures(words or "")
        asked = self._ask(subject(words) if words and show else words, pixels, negative, negative_image)
        allowed = filter_of(modality, path, media_type, after, before, where)
        entailment = self._cross_encoder(nli) if isinstance(nli, (str, os.PathLike)) else nli
        hits = self._search(asked, EVIDENCE, allowed, min_confidence, ranking, self._reranker(rerank))
        if show and modality is None:  # pictures first, even where passages say more about it
            pictures = self._search(asked, PICTURES, replace(allowed, modality="image"), min_confidence, ranking, None)
            known = {hit.item.id for hit in pictures}
            hits = Hits([*pictures, *(hit for hit in hits if hit.item.id not in known)][:EVIDENCE], hits.notes)
        yield hits
        question = self._question(text, None).text or ""
        shown = relevant_images(self.evidence, asked.words or "", hits, show=show)
        request = Request(question, asked.vectors, hits, shown, pixels, self.store.thumbnail)
        judge = GroundingChecker(
            self.space, self.evidence, hits, images=partial(self.store.known, "image"), nli=entailment
        )
        parts = generated(self.generator, self.extractive, request)
        for part in cite(parts, request, judge, by=self.generator.name):
            if isinstance(part, Answer):
                part = replace(part, notes=(*hits.notes, *part.notes), searched=searched)
            yield part

    def chat(self, **settings: Any) -> Conversation:
        """Return a conversation: questions that build on each other.

        ``settings`` are keywords of :meth:`ask` for every question. A follow-up is put in full by the generator, where
        that is a language model, else by a rule: see :func:`commonplace.generation.rewrite_by_rule`.
        """
        rewriter = self.generator if isinstance(self.generator, Rewriter) else None
        return Conversation(partial(self.stream, **settings), rewriter)

    def candidates(
        self, text: str | None = None, *, image: Any = None, ranking: Ranking | None = None
    ) -> tuple[list[str], dict[str, ChannelScores], Calibration]:
        """Return what a search fuses: the ids of items that any channel lists, what each channel says of them, and
        what that is worth for this question.

        For those who fuse on their own, with :func:`commonplace.retrieval.fuse`. Errors as for :meth:`search`.
        """
        asked = self._ask(text, image, None, None)
        ids, channels = candidates(self.store, asked, k=1, where=Filter(), ranking=ranking or Ranking())
        return ids, channels, self.evidence.of(asked.vectors.query_shortness, self.store.count())

    def label(self, text: str | None, item: str, good: bool, *, image: str | os.PathLike[str] | None = None) -> None:
        """Keep a thumb up or down: whether the item with this id answers a question in words, a picture, or both.

        The last word on a question and an item counts. Raises QueryError for an item that is not there or an
        empty question.
        """
        question = self._question(text, None)
        if question.text is None and image is None:
            raise QueryError("the question is empty: say which question the item answers")
        if item not in self.store.items([item]):
            raise QueryError(f"no item of this collection has the id {item}: take it from `search --json`")
        self.store.label(question.text or "", display_path(image) if image is not None else "", item, good)

    def labels(self) -> list[tuple[str | None, str | None, str, bool]]:
        """Return the thumbs: words, path of the picture, item id, whether it was up; without items that are gone."""
        return [(text or None, image or None, item, good) for text, image, item, good in self.store.labels()]

    @property
    def ranking(self) -> Ranking:
        """How this collection is searched where a search does not say: what tuning stored, or the default.

        See :func:`commonplace.evaluation.tune`. Set it to None to go back to the default.
        """
        return Ranking.from_json(self.store.setting(RANKING))

    @ranking.setter
    def ranking(self, ranking: Ranking | None) -> None:
        self.store.set_setting(RANKING, None if ranking is None else ranking.json())

    def _ask(self, text: str | None, image: Any, negative: str | None, negative_image: Any) -> EncodedQuery:
        question = self._question(text, image)
        if question.text is None and question.image is None:
            raise QueryError("the question is empty: ask with words, with a picture, or with both")
        unwanted = self._question(negative, negative_image)
        verified = self._verify()
        asked = EncodedQuery(
            question.text,
            self.space.ask(question),
            unwanted.text,
            self.space.ask(unwanted),
            self._question_means,
            self.space.text_hubness,
            question.image if question.text is None else None,
        )
        verified.result()
        return asked

    def _verify(self) -> Future[None]:
        """Compare the model's files with their checksums, once and beside other work: a flipped weight would lie."""
        if self._verified is None:
            pool = ThreadPoolExecutor(1)
            self._verified = pool.submit(self.space.verify)
            pool.shutdown(wait=False)
        return self._verified

    @staticmethod
    def _question(text: str | None, image: Any) -> Query:
        if len(text or "") > LONGEST_QUESTION:
            raise QueryError(f"the question is longer than {LONGEST_QUESTION:,} characters: shorten it")
        words = " ".join((text or "").encode("utf-8", "replace").decode().replace("\x00", " ").split()) or None
        return Query(words, None if image is None else _pixels(image))

    def _search(
        self,
        asked: EncodedQuery,
        k: int,
        where: Filter,
        least: float,
        ranking: Ranking | None,
        reranker: Reranker | None,
    ) -> Hits:
        if not isinstance(k, int) or not 1 <= k <= MOST_HITS:
            raise QueryError(f"k is {k}: ask for 1 to {MOST_HITS:,} hits")
        if not isinstance(least, (int, float)) or not 0 <= least <= 1:
            raise QueryError(f"min_confidence is {least}: it must be a number from 0 to 1")
        notes = (*asked.vectors.notes, *asked.negative_vectors.notes)
        if (asked.words or asked.negative_text) and not self.store.capabilities.lexical:
            notes = (*notes, "no lexical search: this store cannot search words")
        if reranker is not None and not (asked.words and reranker.reads(asked.words)):
            notes = (*notes, f"not reranked: {reranker.name} cannot read this question")
            reranker = None
        depth = k if reranker is None else max(k, reranker.depth)
        ranking = ranking or self.ranking
        if asked.vectors.separate_text and (ranking.question, ranking.views) != ("late", "separate"):
            raise QueryError(
                f"{self.space.name} are two spaces: words and picture make no one vector; leave out question and views"
            )
        found = search(self.store, asked, self.evidence, k=depth, where=where, ranking=ranking)
        hits = [
            Hit(
                one.item,
                one.score,
                one.breakdown,
                confidence=one.confidence,
                near_duplicates=one.near_duplicates,
            )
            for one in found
        ]
        if reranker is not None:
            hits = rerank(reranker, asked.words or "", hits)
        if not hits and where.stated:
            notes = (*notes, *self._unstated(key for key, _ in where.stated))
        return Hits(
            (replace(hit, image=self._crops.show(hit.item)) for hit in hits[:k] if hit.confidence >= least), notes
        )

    def _unstated(self, keys: Iterable[str]) -> Iterator[str]:
        """Yield a note for each key that no document states, with those that there are, the commonest first."""
        known = list(self.store.metadata_keys())
        there_are = ", ".join(known[:KEYS_NAMED]) + (f" and {len(known) - KEYS_NAMED} more" * (len(known) > KEYS_NAMED))
        for key in keys:
            if key not in known:
                yield f"no document states {key!r}; what documents state: {there_are or 'nothing'}"

    def _reranker(self, asked: str | os.PathLike[str] | Reranker | None) -> Reranker | None:
        """Return the reranker by name, the cross-encoder in a folder (loaded once), or the one that was given."""
        if asked is None:
            return None
        if asked == LateInteraction.name:
            return LateInteraction(self.space)
        if not isinstance(asked, (str, os.PathLike)):
            return asked
        if not str(asked) or not Path(os.path.expanduser(asked)).is_dir():
            raise ModelError(
                f"there is no reranker {str(asked)!r}: say {LateInteraction.name}, or a cross-encoder's folder"
            )
        return self._cross_encoder(asked)

    def _cross_encoder(self, name: str | os.PathLike[str]) -> CrossEncoder:
        """Return the cross-encoder in a folder, loaded once."""
        folder = Path(os.path.abspath(os.path.expanduser(name)))
        if folder not in self._cross_encoders:
            self._cross_encoders[folder] = CrossEncoder(folder)
        return self._cross_encoders[folder]

    def heatmap(self, hit: Hit, text: str) -> HeatMap:
        """Return where in the picture of ``hit`` the words ``text`` match; see :class:`HeatMap` for what it can say.

        The picture is read from the file that ``hit.image`` names. Raises QueryError where the hit shows no
        picture or the model knows too few of the words, ReadError where the picture cannot be read.
        """
        asked = self._ask(text, None, None, None)
        if hit.image is None:
            raise QueryError(f"{hit.item.document.path} is shown by no picture: choose a hit that has an image")
        if asked.words is None:
            raise QueryError("a heat-map shows where words match: ask with words")
        if self.space.image is None:
            raise QueryError(f"no heat-map: the model {self.space.name} has no image tower")
        shown = asked.vectors.shown
        if shown is None:
            raise QueryError(f"no heat-map: {'; '.join(asked.vectors.notes)}")
        return HeatMap.of(_pixels(hit.image), asked.words, shown[: self.space.bundle.dim], self.space.image.encode)

    # --- what there is ---------------------------------------------------------------------------------------

    def documents(self, *, failed: bool = False) -> list[Document]:
        """Return the documents by path; with ``failed`` only those that could not be read."""
        return list(self.store.documents(status="failed" if failed else None))

    def document(self, path: str | os.PathLike[str]) -> Document | None:
        """Return the document that was made of the file at ``path``, whichever of its names that is; None for none."""
        return next(iter(self.store.documents(ids=[document_id(Path(path))])), None)

    def find(self, name: str | os.PathLike[str]) -> Item | Document:
        """Return the item with this id, or the one document with this id or path. Raises CollectionError for none."""
        items = self.store.items([str(name)])
        if items:
            return items[str(name)]
        found = _named(self.store, name)
        if len(found) > 1:
            raise CollectionError(f"{len(found)} documents of this collection are below {name}: name one of them")
        return found[0]

    def items(self, document: Document) -> list[Item]:
        """Return what the collection holds of a document, in reading order."""
        return self.store.items_of(document.id)

    def page(self, cited: Hit | Citation | Item | str, *, side: int = 1600) -> PageView:
        """Return the page of a PDF or the picture that an item (or its id) stands on, with its box drawn.

        The file is read in a worker; ``side`` (100 to 5000) is about its pixels on the longer side. Where it is gone or
        has changed since, the picture that the collection keeps stands in for it (320 pixels; ``note`` says so): of a
        figure, a photograph or a scanned page there is one. Raises ReadError where there is none, CollectionError for
        an id that is none, QueryError for another ``side``.
        """
        if not 100 <= side <= 5000:
            raise QueryError(f"side is {side}: choose 100 to 5000 pixels")
        item = self.find(cited) if isinstance(cited, str) else cited if isinstance(cited, Item) else None
        if isinstance(cited, (Hit, Citation)):
            item = cited.item if isinstance(cited, Hit) else cited.hit.item
        if not isinstance(item, Item):
            raise CollectionError(f"no item of this collection is {cited}: see `commonplace show DOCUMENT`")
        from commonplace.readers import ReadOptions

        return page_view(item, self.store, ReadOptions(*self.space.measure), side)

    def status(self) -> dict[str, Any]:
        """Return counts, model, size on disk and the indexes as plain values; bytes for the size."""
        size = self._size()
        model = {"name": self.space.name, "fingerprint": self.space.fingerprint, "dim": self.space.dim}
        found = {"collection": str(self.folder), "model": model, "bytes": size, **self.store.counts()}
        return {**found, **({} if self.store.maintenance is None else self.store.maintenance.status())}

    # --- upkeep ----------------------------------------------------------------------------------------------

    def compress(self, recall: float | None = 0.99) -> dict[str, dict[str, Any]]:
        """Search the smallest kind of row (int8, float16, float32) that finds ``recall``, .5 to 1, of the ten best.

        Recall is measured on this collection, with real queries of each direction; None: rows as they are. Returns
        type, recall and measured rows by partition, of those with 50,000 rows or more: others gain nothing. The vectors
        in the database stay as they are. Raises QueryError for another recall.
        """
        if recall is not None and not 0.5 <= recall <= 1:
            raise QueryError(f"recall is {recall}: choose .5 to 1")
        chosen = self._maintenance().compress(recall)
        return {name: {"type": one.kind, "recall": one.recall, "rows": one.rows} for name, one in chosen.items()}

    def doctor(self, *, repair: bool = False) -> list[Finding]:
        """Return what is wrong with the collection's files, the gravest first; ``repair`` rebuilds what is derived.

        What cannot be rebuilt is left out of searches; the finding says how to get it back.
        """
        findings = [] if self.store.maintenance is None else self.store.maintenance.doctor(repair=repair)
        try:
            self.space.verify()
        except ModelError as problem:
            what, _, remedy = str(problem).rpartition(": ")
            findings.insert(0, Finding(what, 1, remedy))
        return [*findings, *self._crops.check(repair=repair)]

    def backup(self, file: str | os.PathLike[str]) -> int:
        """Write the collection into one new file, while it is used; return its bytes."""
        return self._maintenance().backup(canonical_path(file))

    def restore(self, file: str | os.PathLike[str], *, replace: bool = False) -> None:
        """Take the contents of a backup; where there are documents already, ``replace`` must say so."""
        self._crops.remove(document.id for document in self.store.documents())
        self._maintenance().restore(canonical_path(file), replace=replace)
        self._crops.prune()

    def vacuum(self) -> int:
        """Give back the room of what was removed, and leave no trace of it; return the bytes gained.

        The vectors that :meth:`migrate` kept for an undo go too.
        """
        before = self._size()
        self._maintenance().vacuum()
        return before - self._size()

    def migrate(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        undo: bool = False,
        workers: int | None = None,
        progress: bool | None = None,
    ) -> Migrated:
        """Change the collection to another model (a bundle's folder; default: the shipped one), or ``undo`` that.

        Searches go on with the old vectors until the new ones are complete; interrupted, the next call goes on. See
        :func:`commonplace.migrate.migrate` for what is embedded from what, what is kept and what is raised.
        """
        report = migrate(self.folder, model, undo=undo, workers=workers, progress=progress)
        before = self.store
        space = open_space(model_for(self.folder, None))
        self._use(store_for(self.folder, space), space)
        before.close()
        return report

    def _maintenance(self) -> Maintenance:
        if self.store.maintenance is None:
            raise CollectionError("a server keeps this collection's store: use the server's own tools for that")
        return self.store.maintenance

    def _size(self) -> int:
        """Return the bytes of its files; what another process takes away meanwhile counts nothing."""
        found = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):
                    found += os.stat(os.path.join(folder, name)).st_size
        return found


def open_collection(
    folder: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    generator: Generator | None = None,
) -> Collection:
    """Open the collection in ``folder``, made if absent.

    ``model`` is a bundle's folder, the name of a model that was pulled, or ``text=NAME,image=NAME``: one model for
    texts and another for pictures. Default: the one that the collection was last used with, else the one shipped.

    ``generator`` writes the answers (default: extractive, sentences and pictures as they stand).

    Raises CollectionError where the folder cannot be used, ModelMismatch where the collection was made with another
    model, VersionError where it was made by a newer version, ModelError where there is no such model or its bundle
    cannot be read.
    """
    path = canonical_path(folder)
    chosen = model_for(path, model)
    space = open_space(chosen)
    try:
        return Collection(store_for(path, space), space, path, generator)
    except ModelMismatch:
        if model_for(path, model) == chosen:
            raise
    return open_collection(folder, model=model, generator=generator)  # it was migrated between the two looks at it


def _named(store: Store, name: str | os.PathLike[str]) -> list[Document]:
    """Return the documents with this path or id, or below this folder. Raises CollectionError where there are none."""
    matches = [*store.documents(ids=[str(name)]), *store.documents(below=display_path(name))]
    if not matches:
        raise CollectionError(f"no document of this collection is {name}: see `commonplace list`")
    return list({document.id: document for document in matches}.values())


def _pixels(image: Any) -> NDArray[np.uint8]:
    """Return a question's picture as RGB pixels, read as a stored picture is."""
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise QueryError(
                f"the picture is an array of shape {image.shape} and type {image.dtype}: "
                "give RGB uint8, (height, width, 3)"
            )
        return image
    from commonplace.readers import load_picture

    if isinstance(image, (str, os.PathLike)):
        path = Path(image)
        if not path.is_file():
            raise ReadError(f"there is no picture {path}: check the name")
        try:
            return load_picture(path, max_pixels=QUESTION_PIXELS).pixels
        except ReadError as problem:
            raise ReadError(f"{path}: {problem}") from problem
    return load_picture(image, max_pixels=QUESTION_PIXELS).pixels
