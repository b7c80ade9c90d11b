"""Answers from a collection: its best hits, what a generator writes from them, and the check of every sentence."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from commonplace._searching import Hits, Searcher, query_of, sharing
from commonplace._session import Parts, Session
from commonplace.errors import ModelMismatch
from commonplace.generation import (
    PICTURES,
    Generator,
    GroundingChecker,
    PictureGenerator,
    Request,
    cite,
    generated,
    question_parts,
    relevant_images,
    subject,
    topic,
    wanted_words,
    wants_list,
    wants_outline,
    wants_pictures,
    wants_summary,
)
from commonplace.options import AskRequest
from commonplace.retrieval import near_duplicates_of, passages_beside
from commonplace.store import Store, thumbnail_if_reached
from commonplace.text import path_words, terms
from commonplace.types import IMAGE, Answer, Block, Hit, Item, Note, Query, ScoreComponent, captions

__all__ = ["AnswerPart", "stream_answer"]

AnswerPart: TypeAlias = "Hits | Block | Note | Answer"
Pixels: TypeAlias = NDArray[np.uint8]
MIN_CHANGED = 0.15  # confidence from which a picture is shown as another one that words change
RELATIVE_CHANGED = 0.5  # share of the best confidence that further ones need
PASSAGES = 2  # passages beside a picture that are quoted
SECTION_HITS = 4  # text hits whose whole section is read, if the question asks for steps, a list or a summary
SECTION_PASSAGES = 16  # passages that are read in addition
FOLDER_DOCUMENTS = 20  # documents of a folder that are listed
SECTION_ITEMS = 2_000  # items of a document above which its passages are not listed


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
            (as_given,) = searcher.encode(parts, [Query(_subject(words, show), query.image)], request)
            searched = sharing(parts, request)
            hits, encoded = searcher.hits_and_query(searched, as_given, request)
            if show and request.where.modality is None:
                hits = _pictures_first(hits, searcher.hits(searched, as_given, _only_pictures(request)), request.k)
            elif query.image is None and len(several := question_parts(words or "")) > 1:
                of_parts = searcher.encode(parts, [Query(part) for part in several], request)
                hits = _in_turns([hits, *(searcher.hits(searched, part, request) for part in of_parts)])
        except ModelMismatch:
            if not session.replaced(parts):
                raise
            yield from stream_answer(session, searcher, generator, query, request)  # by the new model
            return
        question = hits.respelled or query.text or ""
        writer = generator or parts.extractive
        vectors = encoded.vectors
        if query.image is not None and (not words or (vectors.image is not None and vectors.crossmodal_text is None)):
            # Without words, or with words that the model cannot read, the picture is the question.
            hits, writer = _by_picture(parts, query.image, hits, request)
        yield hits
        if wants_outline(question):
            hits = _with_whole_sections(parts.store, hits, documents=wants_summary(question))
            hits = _with_folder(parts.store, question, hits) if wants_list(question) else hits
        images = relevant_images(parts.calibration, encoded.words or "", hits, show=show)
        if encoded.changes_picture:
            images = _changed(hits)
            writer = generator or PictureGenerator(parts.space, (), {})
        evidence = Request(
            question,
            vectors,
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
        for part in cite(generated(writer, parts.extractive, evidence), evidence, checker, by=writer.name):
            if isinstance(part, Answer):
                part = replace(part, notes=(*hits.notes, *part.notes), searched_as=request.searched_as)
            yield part


def _in_turns(rankings: Sequence[Hits]) -> Hits:
    """Return the hits of several searches in turns, each item once: those of a question and of each of its parts."""
    first, *_rest = rankings
    by_item: dict[str, Hit] = {}
    for hit in itertools.chain.from_iterable(itertools.zip_longest(*rankings)):
        if hit is not None:
            by_item.setdefault(hit.item.id, hit)
    return Hits(by_item.values(), first.notes, first.respelled)


def _with_whole_sections(store: Store, hits: Hits, *, documents: bool) -> Hits:
    """Return the hits, then the other passages under the headings of the best ones; of documents with ``documents``.

    Steps and lists go on across the edges of passages. Such a passage has the score of the hit that it belongs to.
    """
    added: list[Hit] = []
    known_ids = {hit.item.id for hit in hits}
    best = [hit for hit in hits if hit.item.modality == "text" and hit.item.document.items <= SECTION_ITEMS]
    for hit in best[: 2 if documents else SECTION_HITS]:
        for item in store.items_of(hit.item.document.id):
            beside = item.title == hit.item.title and item.span.member == hit.item.span.member
            if item.modality == "text" and item.id not in known_ids and (documents or beside):
                known_ids.add(item.id)
                added.append(replace(hit, item=item, image=None, near_duplicates=()))
    return Hits([*hits, *added[:SECTION_PASSAGES]], hits.notes, hits.respelled)


def _with_folder(store: Store, question: str, hits: Hits) -> Hits:
    """Return the hits, then the first passage of each other document in the folder that the question names."""
    wanted = wanted_words(question)
    folders = {str(PurePath(hit.item.document.path).parent) for hit in hits if hit.item.document.is_file}
    named = [folder for folder in folders if wanted <= terms(path_words(PurePath(folder).name))]
    if not named or not wanted:
        return hits
    added: list[Hit] = []
    known_ids = {hit.item.document.id for hit in hits}
    model = next(hit for hit in hits if str(PurePath(hit.item.document.path).parent) == named[0])
    for document in store.documents(below=named[0]):
        if len(added) < FOLDER_DOCUMENTS and document.id not in known_ids and (items := store.items_of(document.id)):
            added.append(replace(model, item=items[0], image=None, near_duplicates=()))
    return Hits([*hits, *added], hits.notes, hits.respelled)


def _by_picture(parts: Parts, picture: Pixels, hits: Hits, request: AskRequest) -> tuple[Hits, Generator]:
    """Return the hits of a picture without words, with what stands beside it in its documents, and their generator.

    A copy of the picture that has a caption comes before one that has none. What stands beside it is as relevant.
    """
    shown = [hit for hit in hits if hit.item.picture is not None]
    copied = set(near_duplicates_of(parts.store, picture, [hit.item for hit in shown]))
    copies = [_captioned(hit) for hit in shown if hit.item.id in copied]
    alike = [item for hit in copies for item in (hit.item, *hit.near_duplicates)]
    beside = [] if request.where.modality == IMAGE else passages_beside(parts.store, alike)[:PASSAGES]
    ids = {hit.item.id for hit in copies} | copied | {side.passage.id for side in beside}
    passages = [_equally_relevant(side.passage, copies[0]) for side in beside]
    ranked = [*copies, *passages, *(hit for hit in hits if hit.item.id not in ids)]
    places = {len(copies) + n: side.picture for n, side in enumerate(beside)}
    kept = max(request.k, len(copies) + len(passages))
    generator = PictureGenerator(parts.space, range(len(copies)), places)
    return Hits(ranked[:kept], hits.notes, hits.respelled), generator


def _changed(hits: Hits) -> tuple[int, ...]:
    """Return the numbers of the hits whose pictures show the question's picture as its words change it."""
    least = max(MIN_CHANGED, RELATIVE_CHANGED * max((hit.confidence for hit in hits), default=0.0))
    return tuple(n for n, hit in enumerate(hits) if hit.image is not None and hit.confidence >= least)


def _captioned(hit: Hit) -> Hit:
    """Return a hit as the first of its near-duplicates that has a caption, if it has none."""
    items = (hit.item, *hit.near_duplicates)
    first = next((item for item in items if captions(item)[0]), hit.item)
    return replace(hit, item=first, near_duplicates=tuple(item for item in items if item is not first))


def _equally_relevant(item: Item, picture: Hit) -> Hit:
    """Return the hit of a passage beside a picture."""
    odds = min(max(picture.confidence, 1e-9), 1 - 1e-9)
    log_odds = math.log(odds / (1 - odds))
    line = ScoreComponent("beside_picture", log_odds, 0, 1.0, log_odds)
    return Hit(item, picture.confidence, (line,), confidence=picture.confidence)


def _subject(words: str | None, show: bool) -> str | None:
    """Return what to search for: of "show me a dog" the dog, of "summarise the minutes" the minutes."""
    if not words:
        return words
    return subject(words) if show else topic(words) if wants_summary(words) else words


def _only_pictures(request: AskRequest) -> AskRequest:
    return replace(request, k=PICTURES, where=replace(request.where, modality="image"), rerank=None)


def _pictures_first(hits: Hits, pictures: Hits, k: int) -> Hits:
    """Return ``k`` hits with the pictures first: they were asked for, even where passages score higher."""
    ids = {hit.item.id for hit in pictures}
    by_id = {hit.item.id: hit for hit in hits}
    first = [by_id.get(hit.item.id, hit) for hit in pictures]
    return Hits([*first, *(hit for hit in hits if hit.item.id not in ids)][:k], hits.notes, hits.respelled)
