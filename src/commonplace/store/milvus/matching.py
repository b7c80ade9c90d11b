"""Whether a filter allows an item: decided from its document, exactly as the local store decides it in SQL."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from commonplace.metadata import padded
from commonplace.paths import spellings
from commonplace.store.milvus.globs import compiled_glob
from commonplace.store.schema import metadata_rows
from commonplace.types import Condition, Document, Filter

__all__ = ["allows", "conditions_of", "is_glob", "is_uri"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "glob": lambda value, pattern: compiled_glob(pattern).matches(value),
}


def allows(where: Filter, modality: str, document: Document) -> bool:
    """Return whether ``where`` allows the items of this modality in a document."""
    if where.modality and where.modality != modality:
        return False
    if where.media_type and not compiled_glob(where.media_type).matches(document.media_type):
        return False
    if where.path and not any(_has_path(document.path, form) for form in spellings(where.path)):
        return False
    conditions = conditions_of(where)
    if not conditions:
        return True
    rows = metadata_rows(document.title, document.metadata.to_json())
    return all(any(_meets(condition, row) for row in rows) for condition in conditions)


def conditions_of(where: Filter) -> list[Condition]:
    """Return the conditions of a filter on metadata, with those on the date."""
    conditions = list(where.metadata)
    if where.after:
        conditions.append(Condition("date", "date", (((">=", padded(where.after)),),)))
    if where.before:
        conditions.append(Condition("date", "date", ((("<", padded(where.before)),),)))
    return conditions


def is_glob(path: str) -> bool:
    """Return whether the path of a filter is a glob, not the name of a file or folder."""
    return any(mark in path for mark in "*?[")


def is_uri(path: str) -> bool:
    """Return whether the path of a filter may be the URI of a record, or the beginning of one."""
    return _SCHEME.match(path) is not None


def _has_path(path: str, wanted: str) -> bool:
    """Return whether a document with this path meets the path of a filter."""
    anywhere = f"*/{wanted}"
    if is_glob(wanted):
        if is_uri(wanted):
            return compiled_glob(wanted).matches(path) or compiled_glob(anywhere).matches(path)
        return compiled_glob(wanted if wanted[0] in "/*" else anywhere).matches(path)
    inside = wanted.rstrip("/")
    below = path == inside or path.startswith(inside + "/")
    if wanted.startswith("/"):
        return below
    # A file may have a colon in its name, so a URI is looked for anywhere too.
    return (is_uri(wanted) and below) or f"/{inside}/" in path + "/"


def _meets(condition: Condition, row: tuple[str, str, Any]) -> bool:
    """Return whether a key, type and value of metadata meet a condition."""
    key, type_, value = row
    return (key, type_) == (condition.key, condition.type) and any(
        all(_COMPARE[comparison](value, wanted) for comparison, wanted in alternative)
        for alternative in condition.alternatives
    )
