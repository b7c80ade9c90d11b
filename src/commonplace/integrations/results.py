"""Hits as results of a framework: their metadata, and searches that go on until enough results are allowed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from commonplace.collection import Collection
from commonplace.filters import MAX_KEYS, MAX_TEXT, MAX_VALUES
from commonplace.integrations.records import metadata_of, rest_has_key
from commonplace.options import MAX_HITS
from commonplace.types import Hit

__all__ = ["Conditions", "best", "comparable_conditions", "every_record", "hit_metadata", "narrowed"]

T = TypeVar("T")
Conditions = list[tuple[str, str, Any]]
"""Comparisons that must all be met: metadata key, operator (``=``, ``<``, ``<=``, ``>``, ``>=``), and value or list."""

log = logging.getLogger("commonplace")

_DEEPER = 4  # by this factor a search is repeated where a filter left too few results
_HIT_KEYS = frozenset(
    (
        *("source", "document_id", "item_id", "modality", "media_type", "headings", "title", "member", "page", "line"),
        *("row", "box", "seconds", "image", "score", "confidence", "breakdown"),
    )
)
"""The metadata keys whose values may come from the hit and not from its document."""


def hit_metadata(hit: Hit) -> dict[str, Any]:
    """Return the metadata of a hit as JSON values: that of its document, and where the hit is and how it was found.

    A key without a value is absent. ``source`` of a record is the caller's own, where it has one.
    """
    item, span = hit.item, hit.item.span
    document = item.document
    values = {
        "source": document.path,
        "document_id": document.id,
        "item_id": item.id,
        "modality": item.modality,
        "media_type": document.media_type,
        "headings": item.title,
        "member": span.member,
        "page": span.page,
        "line": span.line,
        "row": span.row,
        "box": None if span.box is None else list(span.box),
        "seconds": None if span.begin is None else [span.begin, span.begin if span.finish is None else span.finish],
        "image": hit.image,
        "score": hit.score,
        "confidence": hit.confidence,
        "breakdown": [line.dict() for line in hit.breakdown],
    }
    stated = metadata_of(document, detected=True)
    if document.is_record:
        values["source"] = stated.get("source", document.path)
    else:  # what a file says of itself must not pass for what the search says
        stated = {key: value for key, value in stated.items() if key not in _HIT_KEYS}
    if document.title is not None:
        stated.setdefault("title", document.title)
    return stated | {key: value for key, value in values.items() if value is not None}


def every_record(collection: Collection) -> dict[str, Any]:
    """Return the options of a search that shows each record, also those that are near-duplicates of another."""
    return {"ranking": replace(collection.ranking, collapse=False)}


def best(
    collection: Collection,
    text: str | None,
    k: int,
    options: Mapping[str, Any],
    convert: Callable[[Hit], tuple[str, T] | None],
) -> list[T]:
    """Return the best ``k`` results of a search, best first.

    ``convert`` returns the id of a hit's result, and the result; or None where it is not wanted. Of results with equal
    ids the first counts. While there are too few, the search is repeated with more hits. ``options`` are those of
    ``Collection.search()``, with ``image`` or ``vector`` and ``channel``.
    """
    options = {name: value for name, value in options.items() if value is not None}
    depth = k
    while True:
        hits = collection.search(text, k=depth, **options)
        results: dict[str, T] = {}
        for hit in hits:
            converted = convert(hit)
            if converted is not None:
                results.setdefault(*converted)
        if len(results) >= k or len(hits) < depth:
            return list(results.values())[:k]
        if depth == MAX_HITS:
            log.warning("%d of %d results: a filter allowed no more of the first %d hits", len(results), k, MAX_HITS)
            return list(results.values())
        depth = min(MAX_HITS, depth * _DEEPER)


def narrowed(options: Mapping[str, Any], where: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
    """Return the options of a search with further conditions, which must be met beside those that are there."""
    others = options.get("where") or []
    conditions = [*([others] if isinstance(others, Mapping) else others), *(where or [])]
    return {**options, "where": conditions or None}


def comparable_conditions(collection: Collection, conditions: Conditions) -> list[dict[str, Any]] | None:
    """Return those conditions that filters of the collection can check, as the ``where`` of a search; None for none.

    The documents that they allow include all that meet the conditions as a framework understands them: it compares
    texts in their case, and knows dates that are texts. So the framework's own check must follow.
    """
    types = collection.store.metadata_types({key.casefold() for key, _operator, _value in conditions if key})
    where = []
    for key, operator, value in conditions:
        values = value if isinstance(value, list) else [value]
        type_ = types.get(key.casefold())
        is_list = isinstance(value, list) and operator != "="
        if is_list or not 0 < len(values) <= MAX_VALUES or key in _HIT_KEYS or key.casefold() == "language":
            continue  # languages are compared by their tags
        if type_ == "number":
            fits = all(map(_is_number, values))
        elif type_ == "boolean":
            fits = operator == "=" and all(isinstance(flag, bool) for flag in values)
        else:
            fits = type_ == "text" and operator == "=" and all(map(_is_plain, values))
        if fits and not rest_has_key(collection, key):
            where.append({key: {operator: value}})
    return where[:MAX_KEYS] or None


def _is_number(value: object) -> bool:
    """Return whether a value is a number that every store compares exactly."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**53


def _is_plain(text: object) -> bool:
    """Return whether a value is a text that no framework reads as a date, and that a filter can hold."""
    if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT:
        return False
    return not text[:4].isdigit() and text.isprintable()
