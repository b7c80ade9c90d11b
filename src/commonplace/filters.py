"""What a search is narrowed to, checked: filters as a user writes them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from itertools import product
from typing import Any, TypeAlias

from commonplace.channels import known_modalities
from commonplace.errors import QueryError
from commonplace.i18n import N_, _
from commonplace.metadata import MetadataType, comparable, describe_type, period, plain, type_of
from commonplace.paths import display_path, expanded_path
from commonplace.text.language import normalised_tag
from commonplace.types import Comparison, Condition, Filter, Modality

__all__ = ["Types", "Where", "filter_of", "parse_where"]

Where: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""Conditions on metadata by key; of several mappings, a document must meet each."""

Types = Callable[[Iterable[str]], Mapping[str, MetadataType]]
"""Returns the type of each of these keys (in folded case) that a document of the collection has."""

MAX_KEYS, MAX_VALUES, MAX_TEXT = 20, 100, 4_000  # of a filter: its keys, the values of one, their characters
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d)?)?)?)?")
_WRITTEN = re.compile(r"([^<>=]*)(>=|<=|=|>|<)(.*)", re.DOTALL)
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_RANGES = (">", ">=", "<", "<=")
_EXAMPLES = {"text": N_("text"), "number": N_("a number"), "date": N_("a date"), "boolean": N_("true or false")}


class _Written(str):
    """A value from the command line: it is read as the type that its key has in the collection."""

    __slots__ = ()


def filter_of(
    modality: Modality | None,
    path: str | None,
    media_type: str | None,
    after: str | date | None,
    before: str | date | None,
    where: Where | None,
    types: Types | None = None,
) -> Filter:
    """Return what a search is narrowed to; ``types`` tells which type a metadata key has in the collection.

    Raises QueryError for what no document could be compared with.
    """
    names = known_modalities()
    if modality is not None and not (isinstance(modality, str) and modality in names):
        raise QueryError(
            _("modality is {modality!r:.100}: choose {names} or {last}").format(
                modality=modality, names=", ".join(names[:-1]), last=names[-1]
            )
        )
    if path == "" or media_type == "":
        raise QueryError(_("a filter is empty: leave it out, or say what it allows"))
    for name, value in (("path", path), ("media_type", media_type)):
        if value is not None:
            _check_text(name, value)
    if path and not any(mark in path for mark in "*?["):
        expanded = expanded_path(path, QueryError)
        # A name that exists here is that file or folder; any other is looked for anywhere in a path.
        path = display_path(path) if os.path.lexists(expanded) else path.strip(os.sep)
    several = where if isinstance(where, (list, tuple)) else [where]
    conditions = tuple(condition for mapping in several for condition in _conditions(mapping, types))
    return Filter(modality, path, media_type, _day(after), _day(before), conditions)


def parse_where(written: Iterable[str]) -> dict[str, Any] | None:
    """Return conditions such as ``KEY=VALUE``, ``KEY>=VALUE`` or ``KEY<VALUE`` as the ``where`` of a search.

    Several values of one key with ``=`` are alternatives. Values take the type of their key in the collection. Returns
    None where there are no conditions. Raises QueryError for a condition without an operator.
    """
    where: dict[str, dict[str, Any]] = {}
    for text in written:
        parts = _WRITTEN.fullmatch(text)
        if parts is None:
            raise QueryError(
                _("--where {text} has no value: write KEY=VALUE, such as author=*hopper*, or year>=2020").format(
                    text=text
                )
            )
        key, operator, value = parts[1].strip().casefold(), parts[2], _Written(parts[3].strip())
        if key.endswith("!") or value.startswith(("=", "<", ">")):
            raise QueryError(_("--where {text} has no known operator: use =, <, <=, > or >=").format(text=text))
        comparisons = where.setdefault(key, {})
        if operator == "=":
            comparisons.setdefault("=", []).append(value)
        elif operator in comparisons:
            raise QueryError(_("--where has {key}{operator} twice: give it once").format(key=key, operator=operator))
        else:
            comparisons[operator] = value
    return where or None


def _conditions(where: Any, types: Types | None) -> tuple[Condition, ...]:
    """Return one condition for each key of ``where``, the keys in folded case and sorted."""
    if where is not None and not isinstance(where, Mapping):
        raise QueryError(
            _("where is {where!r:.100}: give keys with their values, such as {{'author': '*hopper*'}}").format(
                where=where
            )
        )
    comparisons: dict[str, dict[str, list[Any]]] = {}
    for key, value in (where or {}).items():
        by_operator = _by_operator(key, value)
        if key.casefold() in comparisons:
            raise QueryError(_("the filter names {key!r:.100} twice, in different case: name it once").format(key=key))
        comparisons[key.casefold()] = by_operator
    if len(comparisons) > MAX_KEYS:
        raise QueryError(
            _("the filter names {count} keys: name {max_keys} at most").format(
                count=len(comparisons), max_keys=MAX_KEYS
            )
        )
    key_types = types(comparisons) if types is not None and comparisons else {}
    return tuple(_condition(key, by_operator, key_types.get(key)) for key, by_operator in sorted(comparisons.items()))


def _by_operator(key: object, given: Any) -> dict[str, list[Any]]:
    """Return the values that a filter compares a key with, by operator; the values of ``=`` are alternatives."""
    if isinstance(given, Mapping):
        by_operator = {operator: _values(value) for operator, value in given.items()}
        for operator in by_operator:
            if operator not in ("=", *_RANGES):
                raise QueryError(
                    _("the filter on {key!r:.100} has the operator {operator!r:.40}: use =, <, <=, > or >=").format(
                        key=key, operator=operator
                    )
                )
            if operator != "=" and len(by_operator[operator]) > 1:
                raise QueryError(
                    _("the filter on {key!r:.100} has a list after {operator}: give one value").format(
                        key=key, operator=operator
                    )
                )
    else:
        by_operator = {"=": _values(given)}
    values = [value for some in by_operator.values() for value in some]
    if not key or not values or any(isinstance(value, str) and not value for value in values):
        raise QueryError(
            _("the filter on {key!r:.100} is empty: leave it out, or say what it allows").format(
                key=key or _("nothing")
            )
        )
    if not all(by_operator.values()):
        raise QueryError(
            _("the filter on {key!r:.100} has an empty list: leave it out, or give a value").format(key=key)
        )
    if len(values) > MAX_VALUES:
        raise QueryError(
            _("the filter on {key!r:.100} names {count} values: name {max_values} at most").format(
                key=key, count=len(values), max_values=MAX_VALUES
            )
        )
    for text in (key, *(value for value in values if isinstance(value, str))):
        _check_text(_("the filter on {key!r:.100}").format(key=key), text)
    return by_operator


def _values(given: Any) -> list[Any]:
    is_list = isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping))
    if not is_list:
        return [plain(given)]
    try:
        return [plain(value) for value in given]
    except Exception as problem:  # an iterable of the caller, or an array without dimensions
        kind = type(given).__name__
        raise QueryError(
            _("the filter has a value of type {kind} that cannot be listed: give a list").format(kind=kind)
        ) from problem


def _condition(key: str, by_operator: Mapping[str, list[Any]], key_type: MetadataType | None) -> Condition:
    """Return the condition on one key; ``known`` is the type of its values in the collection, None without any."""
    type_ = key_type or _common_type(key, by_operator)
    values = by_operator.get("=", ())
    if key == "language" and type_ == "text":
        values = [tag for value in values for tag in _language_range(value)]
    alternatives = [_equal(key, type_, value) for value in values] or [()]
    ranges = tuple(
        _range(key, type_, operator, by_operator[operator][0]) for operator in _RANGES if operator in by_operator
    )
    return Condition(key, type_, tuple(equal + ranges for equal, ranges in product(alternatives, [ranges])))


def _language_range(value: Any) -> list[Any]:
    """Return the patterns of a language tag and of its narrower tags: "zh" also allows "zh-CN" (RFC 4647)."""
    tag = normalised_tag(value) if isinstance(value, str) else None
    return [value] if tag is None else [tag, f"{tag}-*"]


def _common_type(key: str, by_operator: Mapping[str, list[Any]]) -> MetadataType:
    types = {type_of(value) for values in by_operator.values() for value in values}
    if types == {"text", "date"}:
        return "date"  # a date may be written as text
    if len(types) > 1 or None in types:
        raise QueryError(
            _("the filter on {key!r:.100} must name text, numbers, dates or booleans, all of one type").format(key=key)
        )
    (type_,) = types
    assert type_ is not None
    return type_


def _equal(key: str, type_: MetadataType, value: Any) -> tuple[Comparison, ...]:
    """Return the comparisons that are true where a key has this value."""
    value = _typed(key, type_, value)
    if type_ == "text":
        text = str(comparable("text", value))
        if "*" in text or "?" in text:
            return (("glob", text.replace("[", "[[]")),)
        return (("=", text),)
    if type_ == "date":
        start, end = period(value)
        return (("=", start),) if end is None else ((">=", start), ("<", end))
    return (("=", comparable(type_, value)),)


def _range(key: str, type_: MetadataType, operator: Any, value: Any) -> Comparison:
    value = _typed(key, type_, value)
    if type_ == "boolean":
        raise QueryError(
            _("the key {key!r} holds booleans: compare it with true or false, not with {operator}").format(
                key=key, operator=operator
            )
        )
    if type_ == "date":
        start, end = period(value)
        if end is not None and operator in (">", "<="):  # later than 2024 begins where 2024 ends
            return (">=" if operator == ">" else "<", end)
        return (operator, start)
    return (operator, comparable(type_, value))


def _typed(key: str, type_: MetadataType, value: Any) -> Any:
    """Return a value of a filter as one of its key's type, a date as ISO 8601 text. Raises QueryError."""
    if isinstance(value, _Written):
        return _read(key, type_, value)
    if type_ == "date" and isinstance(value, (str, date)):
        return _date_text(key, value)
    if type_of(value) != type_:
        raise QueryError(
            _(
                "the key {key!r} holds {type}, and the filter compares it with {value}, no {kind}: give {examples}"
            ).format(key=key, type=describe_type(type_), value=_shown(value), kind=type_, examples=_(_EXAMPLES[type_]))
        )
    if type_ == "number":
        try:
            is_finite = math.isfinite(value)
        except OverflowError:
            raise QueryError(
                _("the filter on {key!r} has a number that is too large: give a smaller one").format(key=key)
            ) from None
        if not is_finite:
            raise QueryError(_("the filter on {key!r} is {value}: give a number").format(key=key, value=value))
        return value if -(2**63) <= value < 2**63 else float(value)
    return value


def _read(key: str, type_: MetadataType, text: str) -> Any:
    """Return text from the command line as a value of this type."""
    if type_ == "text":
        return str(text)
    if type_ == "date":
        return _date_text(key, str(text))
    if type_ == "boolean" and text.casefold() in _BOOLEANS:
        return _BOOLEANS[text.casefold()]
    if type_ == "number":
        try:
            number = int(text) if re.fullmatch(r"[-+]?\d{1,18}", text) else float(text)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    raise QueryError(
        _("the key {key!r} holds {type}, and {text:.60} is no {kind}: give {examples}").format(
            key=key, type=describe_type(type_), text=text, kind=type_, examples=_(_EXAMPLES[type_])
        )
    )


def _shown(value: object) -> str:
    """Return the beginning of ``repr(value)``, also of a number with too many digits for it."""
    try:
        return f"{value!r:.60}"
    except Exception:  # __repr__ may be code of the caller
        return _("a value of type {type}").format(type=type(value).__name__)


def _date_text(key: str, value: str | date) -> str:
    try:
        text = _day(value, seconds=False)
    except QueryError as problem:
        raise QueryError(_("the key {key!r} holds dates: {problem}").format(key=key, problem=problem)) from None
    assert text is not None
    return text


def _check_text(what: str, value: object) -> None:
    """Raise QueryError where a part of a filter is no text that a document could be compared with."""
    if not isinstance(value, str):
        raise QueryError(_("{what} is {value!r:.100}, no text: write it in quotes").format(what=what, value=value))
    if len(value) > MAX_TEXT:
        raise QueryError(
            _("{what} has {count:,} characters: ask for {max_text:,} at most").format(
                what=what, count=len(value), max_text=MAX_TEXT
            )
        )
    try:
        os.fsencode(value)
    except UnicodeError:
        raise QueryError(_("{what} holds what is no character: leave it out").format(what=what)) from None


def _day(when: str | date | None, *, seconds: bool = True) -> str | None:
    """Return a date of a filter in ISO 8601, as exact as given; ``seconds`` cuts off what is smaller."""
    if when is None:
        return None
    if isinstance(when, date):
        return when.isoformat()[:19] if seconds else when.isoformat()
    text = " ".join(str(when).split()).replace(" ", "T")
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        datetime.fromisoformat(text + "0001-01-01"[len(text) :])
    except ValueError:
        raise QueryError(
            _("{text:.40} is no date: say a year (2024), a month (2024-05) or a day (2024-05-31)").format(text=text)
        ) from None
    return text
