"""Answers from a collection: its best hits, what a generator writes from them, and the check of every sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from commonplace._searching import Hits, Searcher, query_of
from commonplace._session import Session
from commonplace.errors import ModelMismatch
from commonplace.generation import (
    PICTURES,
    Generator,
    GroundingChecker,
    Request,
    cite,
    generated,
    relevant_images,
    subject,
    wants_pictures,
)
from commonplace.options import AskRequest
from commonplace.store import thumbnail_if_reached
from commonplace.types import Answer, Block, Note, Query

__all__ = ["AnswerPart", "stream_answer"]

AnswerPart: TypeAlias = "Hits | Block | Note | Answer"


def stream_answer(
    session: Session, searcher: Searcher, generator: Generator | None, query: Query, request: AskRequest
) -> Iterator[AnswerPart]:
    """Yield the hits, then each checked block as it is written, and last the answer.

    ``generator`` None stands for the extractive one. See ``commonplace.Collection.stream()``.
    """
    with session.use() as parts:
        words = query_of(request.searched_as).text or query.text
        show = wants_pictures(words or "")
        nli = request.nli
        if isinstance(nli, (str, os.PathLike)):
            nli = searcher.cross_encoder(nli)
        try:
            (encoded,) = searcher.encode(parts, [Query(_subject(words, show), query.image)], request)
            hits = searcher.hits(parts, encoded, request)
            if show and request.where.modality is None:
                hits = _pictures_first(hits, searcher.hits(parts, encoded, _only_pictures(request)), request.k)
        except ModelMismatch:
            if not session.replaced(parts):
                raise
            yield from stream_answer(session, searcher, generator, query, request)  # by the new model
            return
        question = query.text or ""
        if hits.respelled is not None:
            question = hits.respelled
            (encoded,) = searcher.encode(parts, [Query(question)], request)
        yield hits
        images = relevant_images(parts.calibration, encoded.words or "", hits, show=show)
        evidence = Request(
            question,
            encoded.vectors,
            hits,
            images,
            query.image,
            partial(thumbnail_if_reached, parts.store),
            request.searched_as,
            tuple(request.history),
        )
        checker = GroundingChecker(
            parts.space,
            parts.calibration,
            hits,
            images=partial(parts.store.stored_vectors, "image"),
            nli=nli,
            language=evidence.language,
        )
        writer = generator or parts.extractive
        for part in cite(generated(writer, parts.extractive, evidence), evidence, checker, by=writer.name):
            if isinstance(part, Answer):
                part = replace(part, notes=(*hits.notes, *part.notes), searched_as=request.searched_as)
            yield part


def _subject(words: str | None, show: bool) -> str | None:
    """Return what to search for: of "show me a dog" the dog."""
    return subject(words) if words and show else words


def _only_pictures(request: AskRequest) -> AskRequest:
    return replace(request, k=PICTURES, where=replace(request.where, modality="image"), rerank=None)


def _pictures_first(hits: Hits, pictures: Hits, k: int) -> Hits:
    """Return ``k`` hits with the pictures first: they were asked for, even where passages score higher."""
    ids = {hit.item.id for hit in pictures}
    return Hits([*pictures, *(hit for hit in hits if hit.item.id not in ids)][:k], hits.notes, hits.respelled)
