"""Searches of a collection: queries are encoded in one batch, ranked, reranked and returned as hits."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace._session import Parts
from commonplace.encoders import CrossEncoder
from commonplace.encoders.runtime import threads as processors
from commonplace.errors import ModelError, QueryError
from commonplace.i18n import _
from commonplace.images import rgb_pixels
from commonplace.options import SearchRequest
from commonplace.paths import expanded_path
from commonplace.retrieval import (
    IN_TURN,
    EncodedQuery,
    LateInteraction,
    Ranking,
    Reranker,
    rerank,
    respelled,
    search,
    shared_reads,
    snapshot_of,
)
from commonplace.types import Content, Filter, Hit, Query, ScoreComponent

__all__ = ["RANKING", "Hits", "Searcher", "queries_of", "query_of", "sharing", "stored_ranking"]

RANKING = "ranking"  # the setting that holds how this collection is searched
MAX_CHARACTERS = 20_000  # of a query
FITS = 0.5  # confidence of the best hit below which the spelling of words that no text contains is mended
CAUTION = 0.7  # factor for the confidence of what the mended words find: the word may be right, and absent
_DIGIT = re.compile(r"\d")
_FILTER_FIELDS = ("modality", "path", "media_type", "after", "before")
MAX_KEYS = 20  # metadata keys that a note lists


class Hits(list[Hit]):
    """Hits, best first. ``notes`` says in words which part of the query could not be searched, and why.

    ``respelled`` are the words that were searched for, if the spelling of the query was mended; otherwise None.
    """

    def __init__(self, hits: Iterable[Hit] = (), notes: Sequence[str] = (), respelled: str | None = None) -> None:
        super().__init__(hits)
        self.notes, self.respelled = tuple(notes), respelled


def query_of(text: Any, image: Any = None) -> Query:
    """Return a query with its text on one line and its picture as pixels.

    Raises QueryError for what is no text or too long, or no picture, and ReadError for an unreadable picture.
    """
    others: Mapping[str, Content] = {}
    if isinstance(text, Query):
        text, image, others = text.text, text.image if image is None else image, text.others
        if not isinstance(others, Mapping):
            raise QueryError(
                _("others of the query is {others!r:.100}: give a mapping from modality to content").format(
                    others=others
                )
            )
    if text is not None and not isinstance(text, str):
        raise QueryError(
            _("the query is {text!r:.100}: give a string, a commonplace.Query, or a list of them").format(text=text)
        )
    if len(text or "") > MAX_CHARACTERS:
        raise QueryError(
            _("the query is longer than {max_characters:,} characters: shorten it").format(
                max_characters=MAX_CHARACTERS
            )
        )
    line = " ".join((text or "").encode("utf-8", "replace").decode().replace("\x00", " ").split())
    return Query(line or None, None if image is None else rgb_pixels(image), others)


def queries_of(queries: Any, image: Any = None) -> list[Query]:
    """Return the queries of a list of strings and queries. Raises what ``query_of`` raises."""
    if not isinstance(queries, Iterable) or isinstance(queries, (bytes, Mapping)):
        return [query_of(queries, image)]  # says what it is
    if image is not None:
        raise QueryError(_("a list of queries takes no image: give commonplace.Query(text, image) as elements"))
    return [query_of(query) for query in queries]


class Searcher:
    """Searches the parts of a collection that it is given. Safe for several threads."""

    def __init__(self) -> None:
        self._cross_encoders: dict[Path, CrossEncoder] = {}

    def search(self, parts: Parts, queries: Sequence[Query], request: SearchRequest) -> list[Hits]:
        """Return the hits of each query. All are encoded in one batch, and what they have in common is read once."""
        encoded = self.encode(parts, queries, request)
        parts = sharing(parts, request)
        hits_of = partial(self.hits, parts, request=request)
        if len(encoded) < 2:
            in_turn = True
        elif request.rerank is not None:  # one of others takes queries in turn
            in_turn = not isinstance(request.rerank, (str, os.PathLike))
        else:  # of few items little can run beside the rest
            in_turn = parts.store.capabilities.files and parts.store.count() <= IN_TURN
        if in_turn:
            return [hits_of(query) for query in encoded]
        with ThreadPoolExecutor(2 * processors(), "commonplace-queries") as threads:
            return list(threads.map(hits_of, encoded))

    def encode(self, parts: Parts, queries: Sequence[Query], request: SearchRequest) -> list[EncodedQuery]:
        """Return the queries with their vectors, and those of what the request ranks down.

        Raises QueryError for an empty query, ModelError for a damaged model.
        """
        for query in queries:
            if not query.parts:
                raise QueryError(_("the query is empty: give words, a picture, or both"))
        parts.space.check()  # in a thread, while the model is loaded and run
        negative = query_of(request.negative, request.negative_image)
        full_text = parts.store.capabilities.lexical
        vectors = parts.space.encode_queries(queries, full_text=full_text)
        # Not in the same batch: padding changes the last digits, and a negative query must not change the others.
        (negative_vectors,) = parts.space.encode_queries([negative], full_text=full_text)
        parts.space.check(wait=True)  # of a damaged model no vector is used
        return [
            EncodedQuery(
                query.text,
                vector,
                negative.text,
                negative_vectors,
                parts.query_means,
                parts.space.text_hubness,
                query.image,
            )
            for query, vector in zip(queries, vectors, strict=True)
        ]

    def hits(self, parts: Parts, query: EncodedQuery, request: SearchRequest) -> Hits:
        """Return the best ``request.k`` items for an encoded query."""
        return self.hits_and_query(parts, query, request)[0]

    def hits_and_query(self, parts: Parts, query: EncodedQuery, request: SearchRequest) -> tuple[Hits, EncodedQuery]:
        """Return what ``hits()`` returns, and the query that found them: the given one, or one in a mended spelling."""
        reranker = self._reranker(parts, request)
        notes = (*query.vectors.notes, *query.negative_vectors.notes)
        if reranker is not None and not (query.words and reranker.reads(query.words)):
            notes = (*notes, _("not reranked: {name} cannot read this query").format(name=reranker.name))
            reranker = None
        if (query.words or query.negative_text) and not parts.store.capabilities.lexical:
            notes = (*notes, _("no lexical search: this store cannot search words"))
        ranking = request.ranking or stored_ranking(parts)
        if query.vectors.separate_text and (ranking.question, ranking.views) != ("late", "separate"):
            raise QueryError(
                _("{name} are two spaces: words and picture make no one vector; leave out question and views").format(
                    name=parts.space.name
                )
            )
        depth = request.k if reranker is None else max(request.k, reranker.depth)
        mended = mended_words = None
        with snapshot_of(parts.store):
            ranked = search(parts.store, query, parts.calibration, k=depth, where=request.where, ranking=ranking)
            fits = max((result.confidence for result in ranked), default=0.0) >= FITS
            # Vectors know no codes: what they find for one is no reason to leave it as it is.
            if not fits or _DIGIT.search(query.words or ""):
                mended = _respelled(parts, query)
        if mended is not None:
            (mended_query,) = self.encode(parts, [Query(mended)], request)
            others = search(parts.store, mended_query, parts.calibration, k=depth, where=request.where, ranking=ranking)
            if others and (not ranked or CAUTION * others[0].confidence > ranked[0].confidence):
                notes = (
                    *notes,
                    _("no text contains {words!r}: searched for {respelled!r} instead").format(
                        words=query.words, respelled=mended
                    ),
                )
                query, ranked, mended_words = mended_query, others, mended
        hits = [
            Hit(
                result.item,
                result.score,
                result.breakdown,
                confidence=result.confidence,
                near_duplicates=result.near_duplicates,
            )
            for result in ranked
        ]
        if reranker is not None:
            hits = rerank(reranker, query.words or "", hits)
        if not hits:
            notes = (*notes, *_why_nothing(parts, request.where))
        kept = [hit for hit in hits[: request.k] if hit.confidence >= request.min_confidence]
        images = parts.crops.show_all([hit.item for hit in kept])
        shown = (replace(hit, image=image) for hit, image in zip(kept, images, strict=True))
        return Hits(shown, notes, mended_words), query

    def search_vector(self, parts: Parts, vector: Any, channel: str | None, request: SearchRequest) -> Hits:
        """Return the items of one vector index whose vectors have the highest cosine with ``vector``.

        See ``commonplace.Collection.search()``.
        """
        others = (request.ranking, request.rerank, request.negative, request.negative_image)
        if request.min_confidence or any(option is not None for option in others):
            raise QueryError(_("a search by a vector takes k and filters only: leave out the other options"))
        if channel not in parts.space.partitions:
            raise QueryError(
                _("channel is {channel!r:.100}: choose from {partitions}").format(
                    channel=channel, partitions=", ".join(parts.space.partitions)
                )
            )
        unit = _unit_vector(vector, parts.space.dim)
        with snapshot_of(parts.store):
            ranked = parts.store.search(channel, unit, request.k, request.where)
            items = parts.store.items(ranked.ids)
        hits = []
        for rank, (id_, cosine) in enumerate(zip(ranked.ids, ranked.scores.tolist(), strict=True), start=1):
            if id_ in items:  # it may have been removed since
                score = min(max((1 + cosine) / 2, 0.0), 1.0)
                line = ScoreComponent(f"vector->{channel}", cosine, rank, 1.0, score)
                hits.append(Hit(items[id_], score, (line,), parts.crops.show(items[id_])))
        return Hits(hits, () if hits else tuple(_why_nothing(parts, request.where)))

    def cross_encoder(self, name: str | os.PathLike[str]) -> CrossEncoder:
        """Return the cross-encoder in a folder, loaded once. Raises ModelError where there is none."""
        folder = Path(os.path.abspath(expanded_path(name, ModelError)))
        # Of two threads that come at once both get the same one; it reads its files when it is first used.
        return self._cross_encoders.get(folder) or self._cross_encoders.setdefault(folder, CrossEncoder(folder))

    def _reranker(self, parts: Parts, request: SearchRequest) -> Reranker | None:
        """Return the reranker that the request names or holds."""
        name = request.rerank
        if name is None or not isinstance(name, (str, os.PathLike)):
            return name
        if name == LateInteraction.name:
            return LateInteraction(parts.space)
        if not str(name) or not Path(expanded_path(name, ModelError)).is_dir():
            raise ModelError(
                _("there is no reranker {name!r}: give {maxsim}, or a cross-encoder's folder").format(
                    name=str(name), maxsim=LateInteraction.name
                )
            )
        return self.cross_encoder(name)


def sharing(parts: Parts, request: SearchRequest) -> Parts:
    """Return the parts for the searches of one call, which read each item once.

    A reranker may write to the store. With one they read as the parts do.
    """
    return parts if request.rerank is not None else replace(parts, store=shared_reads(parts.store))


def _respelled(parts: Parts, query: EncodedQuery) -> str | None:
    """Return the words of a query without a picture in the spelling of the collection; None if nothing is mended."""
    if not query.words or not query.words_only or not parts.store.capabilities.spelling:
        return None
    encoder = parts.space.text
    # A vocabulary has a language's common words in one token each.
    return respelled(parts.store, query.words, lambda word: encoder is not None and encoder.length(word) == 1)


def stored_ranking(parts: Parts) -> Ranking:
    """Return how the collection is searched where a search does not say."""
    return Ranking.from_json(parts.store.setting(RANKING))


def _unit_vector(vector: Any, dim: int) -> NDArray[np.float32]:
    """Return a caller's vector in unit length. Raises QueryError for another shape, NaN, infinity or zero."""
    if vector is None:
        raise QueryError(_("a channel is searched with a vector: give vector, or leave out channel"))
    try:
        row = np.asarray(vector, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise QueryError(
            _("the vector is {type}: give {dim} numbers").format(type=type(vector).__name__, dim=dim)
        ) from None
    if row.shape != (dim,):
        raise QueryError(
            _("the vector has shape {shape}: this collection's vectors have shape ({dim},)").format(
                shape=row.shape, dim=dim
            )
        )
    length = float(np.linalg.norm(row))
    if not np.isfinite(length) or length == 0:
        raise QueryError(_("the vector is zero or holds values that are not finite: no direction can be searched"))
    return np.asarray(row / length, dtype=np.float32)


def _why_nothing(parts: Parts, where: Filter) -> Iterator[str]:
    """Yield notes on a collection without documents, and on filters that no document matches."""

    def is_met(filter_: Filter) -> bool:
        return next(iter(parts.store.documents(where=filter_)), None) is not None

    if not is_met(Filter()):
        yield _("the collection has no documents yet: add some with `commonplace add PATH`")
        return
    if not where or is_met(where):
        return
    yield from _missing_keys(parts, (condition.key for condition in where.metadata))
    single = {name: value for name in _FILTER_FIELDS if (value := getattr(where, name))}
    unmet = [name for name, value in single.items() if not is_met(Filter(**{name: value}))]
    for name in unmet:
        yield _("no document matches the filter {name}={value}").format(name=name, value=single[name])
    keys = [condition.key for condition in where.metadata if not is_met(Filter(metadata=(condition,)))]
    existing = set(parts.store.metadata_keys()) if keys else set()
    for key in keys:
        if key in existing:
            yield _("no document has such a value under the key {key!r}").format(key=key)
    if not unmet and not keys:
        yield _("no document matches all filters together")


def _missing_keys(parts: Parts, keys: Iterable[str]) -> Iterator[str]:
    """Yield a note for each metadata key that no document has, with the keys that exist, the most common first."""
    existing = list(parts.store.metadata_keys())
    listed = ", ".join(existing[:MAX_KEYS])
    listed += _(" and {count} more").format(count=len(existing) - MAX_KEYS) if len(existing) > MAX_KEYS else ""
    for key in keys:
        if key not in existing:
            yield _("no document has the key {key!r}; the keys are: {listed}").format(
                key=key, listed=listed or _("none")
            )
