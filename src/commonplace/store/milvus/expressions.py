"""Filters as boolean expressions of Milvus, and the fields of a row that these expressions read.

An expression is evaluated by servers from version 2.3 on and by Milvus Lite, so it keeps to what all of them agree on:

- Literals use the escapes of a quote, a backslash, a newline, a return and a tab. Everything else stands for itself.
- A server does not unescape the key of a JSON path, so keys are reduced to letters, digits and ``_``.
- Prefixes are ranges of text. LIKE treats ``_``, ``%`` and ``\\`` differently in each version, so its patterns contain
  none of these, and version 2.3 has no LIKE but for prefixes.
- A range over a JSON list cannot be asked for. Such an expression selects all documents that have a list.
- NOT over a JSON path differs where a document lacks it, so it only narrows a condition on the same path.
- The largest and smallest integers have no literal on a server, and it rounds integers beyond 2**53.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from commonplace.metadata import MetadataType
from commonplace.paths import spellings
from commonplace.store.milvus.globs import GlobPart, compiled_glob
from commonplace.store.milvus.matching import conditions_of, is_glob, is_uri
from commonplace.store.schema import metadata_rows
from commonplace.types import Comparison, Condition, Document, Filter, Status

__all__ = [
    "ANY_ROW",
    "MAX_BYTES",
    "MAX_VALUES",
    "Compiled",
    "Dialect",
    "any_of",
    "compile_filter",
    "documents_expression",
    "filter_fields",
    "metadata_path",
    "quoted",
    "split_any_of",
    "storable",
]

MAX_BYTES, MAX_VALUES = 60_000, 1_000
"""The bytes of one expression, and the values of one list in it."""
MAX_FIELDS = 60_000
"""The bytes of a row's field ``filters``. A server allows 65,536."""
ANY_ROW, NO_ROW = 'path >= ""', 'path < ""'
"""Expressions that every row meets, and none. Servers have no literals for this."""
_INCOMPLETE = 'filters["*"] == true'
"""Selects the rows of documents whose metadata did not fit into the field ``filters``."""
_MAX_CONDITIONS = 50_000  # bytes; the rest is left for conditions that are replaced because they are too long
_MAX_LIKE = 200  # characters: long patterns with two wildcards take seconds in Lite
_EXACT = 2**53  # integers below are exact as float64

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_SURROGATES = {code: 0x10F000 + code - 0xD800 for code in range(0xD800, 0xE000)}
_KEY = re.compile(r"[a-z0-9_]{1,64}")
_PLAIN = re.compile(r"[A-Za-z0-9 /.,:;=@-]+")
"""Text that means the same in the LIKE of every version."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a server understands. ``infix_like``: LIKE takes ``%`` anywhere (2.4 and later, Lite), not only last."""

    infix_like: bool


@dataclass(frozen=True, slots=True)
class Compiled:
    """A filter as an expression: it selects every row that the filter allows, and possibly others.

    ``expression`` is empty if it selects all rows. ``doubtful`` is empty if the expression selects no others.
    Otherwise it is an expression that each of the others meets too: of the selected rows, only those that meet
    ``doubtful`` have to be checked. Often there are none, as with metadata that may be a list but rarely is.
    """

    expression: str
    doubtful: str = ""

    @property
    def exact(self) -> bool:
        """Whether the expression selects only rows that the filter allows."""
        return not self.doubtful


_EVERYTHING, _NOTHING, _UNKNOWN = Compiled(""), Compiled(NO_ROW), Compiled("", ANY_ROW)


# --- fields ------------------------------------------------------------------------------------------------------


def storable(text: str) -> str:
    """Return ``text`` as valid Unicode: lone surrogates become private characters (U+10F000 and later).

    Undecodable file names contain such surrogates. Stored values and literals are made alike, so they stay equal, and
    so do parts of them.
    """
    return text.translate(_SURROGATES) if not text.isascii() else text


def filter_fields(document: Document) -> dict[str, Any]:
    """Return the metadata and title of a document as the field ``filters`` of its rows, for JSON.

    The single value of a key is under ``TYPE:KEY``, several values are a list under ``TYPE:KEY[]``. Values are in the
    form of ``commonplace.metadata.comparable``. If this exceeds 60,000 bytes, all lists are empty, there are no single
    values, and ``*`` is true.
    """
    values: dict[tuple[Any, str], list[Any]] = {}
    for key, type_, value in metadata_rows(document.title, document.metadata.to_json()):
        values.setdefault((type_, key), []).append(storable(value) if isinstance(value, str) else value)
    fields: dict[str, Any] = {}
    for (type_, key), held in sorted(values.items()):
        is_list = len(held) > 1
        fields[_field_name(type_, key, is_list=is_list)] = sorted(held) if is_list else held[0]
    if len(json.dumps(fields, ensure_ascii=False).encode()) <= MAX_FIELDS:
        return fields
    return {**{_field_name(type_, key, is_list=True): [] for type_, key in sorted(values)}, "*": True}


def metadata_path(type_: MetadataType, key: str, *, is_list: bool = False) -> str:
    """Return the JSON path of a metadata key (in folded case) in the field ``filters``."""
    return f'filters["{_field_name(type_, key, is_list=is_list)}"]'


def _field_name(type_: MetadataType, key: str, *, is_list: bool) -> str:
    """Return the name of a key in ``filters``. A key with special characters is represented by its hash."""
    if not _KEY.fullmatch(key):  # a folded key has no upper case, so no key is the H and hash of another
        key = "H" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{type_}:{key}{'[]' * is_list}"


# --- literals ----------------------------------------------------------------------------------------------------


def quoted(text: str) -> str:
    """Return any text as a string literal, in the form of ``storable``."""
    return f'"{storable(text).translate(_ESCAPES)}"'


def any_of(field: str, values: Iterable[str]) -> str:
    """Return an expression for rows whose ``field`` has one of these values. See ``split_any_of`` for many."""
    return f"{field} in [{', '.join(map(quoted, values))}]"


def split_any_of(field: str, values: Iterable[str]) -> Iterator[str]:
    """Yield expressions that together select what ``any_of`` does; none if there are no values.

    Each has at most ``MAX_VALUES`` values and, unless one value is longer, ``MAX_BYTES`` bytes.
    """
    batch: list[str] = []
    overhead = size = len(any_of(field, ()).encode())
    for value in values:
        length = len(quoted(value).encode()) + len(", ")
        if batch and (len(batch) == MAX_VALUES or size + length > MAX_BYTES):
            yield any_of(field, batch)
            batch, size = [], overhead
        batch.append(value)
        size += length
    if batch:
        yield any_of(field, batch)


# --- filters -----------------------------------------------------------------------------------------------------


def documents_expression(
    *, below: str | None = None, content_hash: str | None = None, status: Status | None = None
) -> str:
    """Return an expression for documents: at or below a path, with this content hash and status; empty for all."""
    wanted = (("content_hash", content_hash), ("status", status))
    conditions = [Compiled(f"{field} == {quoted(value)}") for field, value in wanted if value is not None]
    if below is not None:
        path = below.rstrip("/")
        conditions.append(_either([Compiled(f"path == {quoted(path or '/')}"), _prefix("path", path + "/")]))
    return _all(conditions).expression


def compile_filter(where: Filter, dialect: Dialect) -> Compiled:
    """Return a filter as an expression over ``modality``, ``path``, ``media_type`` and ``filters``.

    It has at most ``MAX_BYTES`` bytes: conditions that do not fit are replaced by wider ones. A range over a list is
    doubtful where the document has a list under the key, and so is any condition on metadata where the document's
    fields are incomplete. A glob is doubtful unless it is a prefix, or ``*`` around or between simple ASCII text, and
    a relative path is without ``infix_like``.
    """
    conditions: list[tuple[Compiled, Compiled]] = []  # with what replaces it if it is too long
    if where.modality:
        conditions.append((Compiled(f"modality == {quoted(where.modality)}"), _UNKNOWN))
    if where.media_type:
        conditions.append((_glob("media_type", where.media_type, dialect), _UNKNOWN))
    if where.path:
        conditions.append((_either([_path(form, dialect) for form in spellings(where.path)]), _UNKNOWN))
    conditions += [(_metadata(condition, dialect), _has_key(condition)) for condition in conditions_of(where)]
    kept: list[Compiled] = []
    size = 0
    for compiled, wider in conditions:
        length = len(compiled.expression.encode())
        fits = size + length <= _MAX_CONDITIONS
        kept.append(compiled if fits else wider)
        size += length * fits
    return _all(kept)


def _all(conditions: Iterable[Compiled]) -> Compiled:
    """Return the expression for rows that meet all conditions."""
    conditions = list(conditions)
    parts = [condition.expression for condition in conditions if condition.expression]
    return Compiled(" and ".join(parts), _doubtful(conditions))


def _either(conditions: Iterable[Compiled]) -> Compiled:
    """Return the expression for rows that meet at least one condition."""
    conditions = list(conditions)
    if _EVERYTHING in conditions:
        return _EVERYTHING
    if any(not condition.expression for condition in conditions):
        return _UNKNOWN
    if len(conditions) == 1:
        return conditions[0]
    parts = dict.fromkeys(f"({condition.expression})" for condition in conditions)
    return Compiled(f"({' or '.join(parts)})", _doubtful(conditions))


def _doubtful(conditions: Iterable[Compiled]) -> str:
    parts = dict.fromkeys(condition.doubtful for condition in conditions if condition.doubtful)
    return ANY_ROW if ANY_ROW in parts else " or ".join(parts)


# --- text --------------------------------------------------------------------------------------------------------


def _path(path: str, dialect: Dialect) -> Compiled:
    """Return the condition on a path; ``commonplace.store.rows`` has the same in SQL."""
    if is_glob(path):
        anywhere = _glob("path", f"*/{path}", dialect)
        if is_uri(path):
            return _either([_glob("path", path, dialect), anywhere])
        return _glob("path", path, dialect) if path[0] in "/*" else anywhere
    inside = path.rstrip("/")
    below = _either([Compiled(f"path == {quoted(inside)}"), _prefix("path", inside + "/")])
    if path.startswith("/"):
        return below
    anywhere = _either([_glob("path", f"*{pattern}", dialect) for pattern in (f"/{inside}", f"/{inside}/*")])
    return _either([below, anywhere]) if is_uri(path) else anywhere


def _prefix(field: str, prefix: str) -> Compiled:
    """Return the condition that a text begins with ``prefix``, as a range."""
    if not prefix:
        return _EVERYTHING
    start = f"{field} >= {quoted(prefix)}"
    end = _text_after(storable(prefix))
    return Compiled(f"({start} and {field} < {quoted(end)})" if end else start)


def _text_after(prefix: str) -> str:
    """Return the smallest text that is greater than all texts with this prefix; empty if there is none."""
    prefix = prefix.rstrip("\U0010ffff")
    if not prefix:
        return ""
    following = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(0xE000 if following == 0xD800 else following)


def _glob(field: str, pattern: str, dialect: Dialect) -> Compiled:
    """Return the condition that a text matches a glob."""
    parts = compiled_glob(pattern).parts
    if parts is None:
        return _NOTHING
    texts = [text for kind, text in parts if kind == "text"]
    if len(texts) == len(parts):
        return Compiled(f"{field} == {quoted(''.join(texts))}")
    prefix = parts[0].text if parts[0].kind == "text" else ""
    if [kind for kind, _ in parts if kind != "text"] == ["star"] and parts[-1].kind == "star":
        return _prefix(field, prefix)
    if not dialect.infix_like:
        return Compiled(_prefix(field, prefix).expression, ANY_ROW)
    return _like(field, parts) or _all([_prefix(field, prefix), *_wider_like(field, parts), _UNKNOWN])


def _like(field: str, parts: Sequence[GlobPart]) -> Compiled | None:
    """Return a glob as one LIKE; None where that would mean something else, or cost too much."""
    pattern = "".join(text or "%" for _, text in parts)
    is_simple = all(kind == "star" or (kind == "text" and _PLAIN.fullmatch(text)) for kind, text in parts)
    if not is_simple or pattern.count("%") > 2 or len(pattern) > _MAX_LIKE:
        return None
    condition = f'{field} like "{pattern}"'
    if parts[-1].kind == "star":
        return Compiled(condition)
    # Lite ignores a newline at the end, in filters that also read JSON.
    return Compiled(f'({condition} and not ({field} like "%\\n"))')


def _wider_like(field: str, parts: Sequence[GlobPart]) -> Iterator[Compiled]:
    """Yield conditions that each text meets which matches the glob: its end, and the longest part before."""
    runs = [run for kind, text in parts[parts[0].kind == "text" :] if kind == "text" for run in _PLAIN.findall(text)]
    if runs and parts[-1].text.endswith(runs[-1]) and parts[-1].kind == "text":
        yield Compiled(f'{field} like "%{runs.pop()[-_MAX_LIKE:]}"')
    if runs:
        yield Compiled(f'{field} like "%{max(runs, key=len)[:_MAX_LIKE]}%"')


# --- metadata ----------------------------------------------------------------------------------------------------


def _metadata(condition: Condition, dialect: Dialect) -> Compiled:
    """Return the condition on one metadata key: on its single value, on its list, or because fields are incomplete."""
    single = metadata_path(condition.type, condition.key)
    several = metadata_path(condition.type, condition.key, is_list=True)
    alternatives = [
        _all(_compare(single, comparison, dialect) for comparison in comparisons)
        for comparisons in condition.alternatives
    ]
    values = [_equal_to(comparisons) for comparisons in condition.alternatives]
    if None in values or len(values) > MAX_VALUES:
        in_list = Compiled(f"exists {several}", f"(exists {several})")
    else:
        in_list = Compiled(f"json_contains_any({several}, [{', '.join(map(str, values))}])")
    return _either([_existing(_either(alternatives), single), in_list, Compiled(_INCOMPLETE, _INCOMPLETE)])


def _has_key(condition: Condition) -> Compiled:
    """Return the condition that a document has the key at all."""
    paths = [metadata_path(condition.type, condition.key, is_list=is_list) for is_list in (False, True)]
    return _either([*(Compiled(f"exists {path}", ANY_ROW) for path in paths), Compiled(_INCOMPLETE, _INCOMPLETE)])


def _existing(condition: Compiled, path: str) -> Compiled:
    """Return a condition on the value at a JSON path, which no value at all does not meet."""
    return condition if condition.expression else Compiled(f"exists {path}", condition.doubtful)


def _compare(path: str, comparison: Comparison, dialect: Dialect) -> Compiled:
    """Return the condition that the value at a JSON path meets a comparison."""
    sign, value = comparison
    if sign == "glob":
        return _glob(path, str(value), dialect)
    if isinstance(value, str) or _is_exact(value):
        return Compiled(f"{path} {'==' if sign == '=' else sign} {_literal(value)}")
    bounds = []
    if sign in ("=", ">", ">="):
        bounds.append((">=", math.nextafter(_float(value), -math.inf)))
    if sign in ("=", "<", "<="):
        bounds.append(("<=", math.nextafter(_float(value), math.inf)))
    return Compiled(
        " and ".join(f"{path} {limit} {bound!r}" for limit, bound in bounds if math.isfinite(bound)), ANY_ROW
    )


def _equal_to(comparisons: Sequence[Comparison]) -> str | None:
    """Return the literal of the only value that meets these comparisons; None if others may."""
    if len(comparisons) == 1 and comparisons[0][0] == "=":
        value = comparisons[0][1]
        if isinstance(value, str) or _is_exact(value):
            return _literal(value, in_list=True)
    return None


def _literal(value: str | float, *, in_list: bool = False) -> str:
    """Return the literal of a text or number. In lists a server finds 5.0 and 5 by the number 5.0, not by 5."""
    if isinstance(value, str):
        return quoted(value)
    return repr(float(value)) if in_list or isinstance(value, float) else str(int(value))


def _is_exact(number: float) -> bool:
    """Return whether servers compare a number exactly with all integers."""
    return -_EXACT < number < _EXACT


def _float(number: float) -> float:
    """Return a number as float64; an infinity if it is too large."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
