"""Metadata of documents: keys with typed values, as users see them, as they are stored, and as filters compare them.

A key holds text, a number, a date (``datetime.date`` or ``datetime``) or a boolean, or a list of one of these. Within a
collection a key has one type. Filters ignore the case of keys and texts.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from commonplace.errors import ReadError
from commonplace.i18n import N_, _

__all__ = [
    "FILE_KEYS",
    "TYPES",
    "UNREAD_SPEECH",
    "Metadata",
    "MetadataType",
    "MetadataValue",
    "comparable",
    "describe_type",
    "differing_types",
    "explain_differing",
    "padded",
    "period",
    "plain",
    "type_of",
]

MetadataType = Literal["text", "number", "date", "boolean"]
Scalar = str | int | float | bool | date
MetadataValue = Scalar | list[Scalar]
Stored = str | int | float | bool
"""A value as JSON holds it: a date is ISO 8601 text."""

MAX_KEYS, MAX_KEY, MAX_VALUES, MAX_TEXT = 200, 100, 1_000, 4_000
"""Of one document: its keys, the characters of one key, the values of one key, the characters of one value."""
INT64 = 2**63
MAX_CACHED = 2_000
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d)?)?)?)?")

UNREAD_SPEECH = "unread-speech"
"""The key that says where in a recording there is speech whose words were not read."""

FILE_KEYS: Mapping[str, MetadataType] = {
    **dict.fromkeys(("created", "modified", "date"), "date"),
    **dict.fromkeys(
        ("author", "camera", "dated", "from", "keyword", "language", "place", "publisher", "subject", "to", "url"),
        "text",
    ),
    UNREAD_SPEECH: "text",
}
"""The keys that files state, whose types are fixed in every collection."""
_ALWAYS_LISTS = {"author", "from", "keyword", "publisher", "subject", "to", UNREAD_SPEECH}

_NAMES = {
    "text": N_("text"),
    "number": N_("numbers"),
    "date": N_("dates"),
    "boolean": N_("booleans (true or false)"),
}
TYPES: tuple[MetadataType, ...] = ("text", "number", "date", "boolean")


def describe_type(type_: MetadataType) -> str:
    """Return the plural name of a type for error messages."""
    return _(_NAMES[type_])


@dataclass(frozen=True, slots=True)
class _Entry:
    """The values of one key. ``type`` is None for an empty list; ``is_list`` tells ``["a"]`` from ``"a"``."""

    type: MetadataType | None
    values: tuple[Stored, ...]
    is_list: bool

    def python(self) -> MetadataValue:
        """Return the values as a user sees them."""
        values: list[Scalar] = [_date(value) if self.type == "date" else value for value in self.values]
        return values if self.is_list else values[0]

    def json(self) -> Any:
        return list(self.values) if self.is_list else self.values[0]


class Metadata(Mapping[str, MetadataValue]):
    """What is known of a document besides its content: an immutable, hashable mapping from keys to typed values.

    Values are ``str``, ``int``, ``float``, ``bool``, ``date`` or ``datetime``, or a list of one of these types. A date
    that a file states only to the year or month is ISO 8601 text ("2024", "2024-05").

    Raises ReadError where a key or a value cannot be stored, or values of different types share a key.
    """

    __slots__ = ("_entries",)
    _entries: dict[str, _Entry]

    def __init__(self, values: Mapping[str, object] | None = None) -> None:
        if values is not None and not isinstance(values, Mapping):
            raise ReadError(
                _("its metadata is {type}: give a mapping of keys to values").format(type=type(values).__name__)
            )
        self._entries = {}
        if isinstance(values, Metadata):
            self._entries = dict(values._entries)
            return
        folded: dict[str, str] = {}
        for key, value in (values or {}).items():
            _check_key(key)
            if (other := folded.setdefault(key.casefold(), key)) != key:
                raise ReadError(
                    _("its metadata has the keys {other!r} and {key!r}, which differ only in case: keep one").format(
                        other=other, key=key
                    )
                )
            self._entries[key] = _entry(key, value)
        if len(self._entries) > MAX_KEYS:
            raise ReadError(
                _("its metadata has {count} keys: give {max_keys} at most").format(
                    count=len(self._entries), max_keys=MAX_KEYS
                )
            )

    def __getitem__(self, key: str) -> MetadataValue:
        return self._entries[key].python()

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __hash__(self) -> int:
        return hash(frozenset(self._entries))  # equal metadata has equal keys; values such as 1 and True may be equal

    def __repr__(self) -> str:
        return f"Metadata({dict(self)!r})"

    @classmethod
    def of_file(cls, pairs: Iterable[tuple[str, str]]) -> Metadata:
        """Return what a file states, from checked pairs; a repeated key becomes a list."""
        values: dict[str, list[str]] = {}
        for key, value in pairs:
            values.setdefault(key, []).append(value)
        metadata = cls()
        for key, texts in values.items():
            is_list = len(texts) > 1 or key in _ALWAYS_LISTS
            metadata._entries[key] = _Entry(FILE_KEYS.get(key, "text"), tuple(texts), is_list)
        return metadata

    @classmethod
    def from_json(cls, text: str) -> Metadata:
        """Return what ``to_json()`` wrote; empty where the text is damaged: the row's checksum reports that."""
        metadata = cls()
        metadata._entries = _entries_of(text) if len(text) > MAX_CACHED else _cached_entries_of(text)
        return metadata

    def to_json(self) -> str:
        """Return the metadata as it is stored: ``[[key, type, value or values], ...]``."""
        return json.dumps([[key, entry.type, entry.json()] for key, entry in self._entries.items()])

    def types(self) -> dict[str, MetadataType]:
        """Return the type of each key, in lower case; a key with an empty list has none."""
        return {key.casefold(): entry.type for key, entry in self._entries.items() if entry.type is not None}

    def dict(self) -> dict[str, Any]:
        """Return the metadata as JSON values: dates as ISO 8601 text, all else as it is."""
        return {key: entry.json() for key, entry in self._entries.items()}

    def merged(self, other: Metadata) -> Metadata:
        """Return this metadata with the keys of ``other``, whose values replace those here."""
        replaced = {key.casefold() for key in other}
        metadata = Metadata()
        metadata._entries = {key: entry for key, entry in self._entries.items() if key.casefold() not in replaced}
        metadata._entries.update(other._entries)
        return metadata

    def without(self, keys: Iterable[str]) -> Metadata:
        """Return this metadata without ``keys`` (in any case)."""
        gone = {key.casefold() for key in keys}
        metadata = Metadata()
        metadata._entries = {key: entry for key, entry in self._entries.items() if key.casefold() not in gone}
        return metadata

    def rows(self) -> set[tuple[str, str, str | int | float]]:
        """Return key, type and comparable value of everything that filters can ask for; see ``comparable``."""
        return {
            (_utf8(key.casefold()), entry.type, comparable(entry.type, value))
            for key, entry in self._entries.items()
            if entry.type is not None
            for value in entry.values
        }


def _entries_of(text: str) -> dict[str, _Entry]:
    """Return the entries that ``Metadata.to_json()`` wrote; none where the text is damaged."""
    entries: dict[str, _Entry] = {}
    with suppress(ValueError, TypeError, RecursionError):
        for key, type_, value in json.loads(text):
            if type_ not in _NAMES and (type_ is not None or value != []):
                return {}
            is_list = isinstance(value, list)
            values = tuple(value if is_list else [value])
            if not all(_is_stored_as(type_, element) for element in values):
                return {}
            entries[str(key)] = _Entry(type_, values, is_list)
    return entries


_cached_entries_of = lru_cache(2048)(_entries_of)
"""The same, for texts of up to MAX_CACHED characters: a search reads the documents of all its candidates. Metadata does
not change, so that several may share their entries."""


def differing_types(
    documents: Iterable[tuple[str, Metadata]], used: Mapping[str, MetadataType]
) -> Iterator[tuple[str, dict[str, MetadataType]]]:
    """Yield the id of each document that has keys of another type, and the type that these keys have.

    ``used`` are the types that keys have so far. A document that is not yielded adds its own types to them. Keys in
    ``FILE_KEYS`` are not checked.
    """
    used = dict(used)
    for id_, metadata in documents:
        types = {key: type_ for key, type_ in metadata.types().items() if key not in FILE_KEYS}
        if differing := {key: used[key] for key, type_ in types.items() if used.get(key, type_) != type_}:
            yield id_, differing
        else:
            used.update(types)


def explain_differing(metadata: Metadata, differing: Mapping[str, MetadataType]) -> str:
    """Return the reason why metadata cannot be stored, given the keys with another type, and the type they have."""
    key = min(differing)
    return _(
        "its metadata has {types} under {key!r}, and this key holds "
        "{differing} in the collection: give such a value, or use another key"
    ).format(types=describe_type(metadata.types()[key]), key=key, differing=describe_type(differing[key]))


def plain(value: object) -> object:
    """Return a NumPy scalar as the Python value that it holds; anything else as it is.

    NumPy returns times as whole numbers where Python has no such type; these stay as they are, and have no type here.
    """
    if isinstance(value, np.datetime64):
        moment = value.item() if isinstance(value.item(), date) else value.astype("datetime64[us]").item()
        return moment if isinstance(moment, date) else value
    return value.item() if isinstance(value, np.generic) and not isinstance(value, np.timedelta64) else value


def type_of(value: object) -> MetadataType | None:
    """Return the type of a single value, None where it has none of the four."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, date):
        return "date"
    return "text" if isinstance(value, str) else None


def comparable(type_: MetadataType, value: Stored) -> str | int | float:
    """Return a stored value as filters compare it.

    Text is in folded case, a boolean 0 or 1, a date the ISO 8601 text of its first second; a time with a zone is in
    UTC.
    """
    if type_ == "text":
        return _utf8(str(value).casefold())
    if type_ == "date":
        return _instant(str(value))
    return int(value) if isinstance(value, bool) else value


def padded(text: str) -> str:
    """Return the first second of a date, ISO 8601 or a beginning of it, so that dates compare as texts."""
    return text + "0001-01-01T00:00:00"[len(text) :]


def period(text: str) -> tuple[str, str | None]:
    """Return the first second of a date and the first second after it: of a year, month, day or minute.

    The end is None for a date that names a second or a fraction of one: it is one instant.
    """
    start = _instant(text)
    if len(text) >= 19:
        return start, None
    first = datetime.fromisoformat(start)
    try:
        if len(text) == 4:
            after = first.replace(year=first.year + 1)
        elif len(text) == 7:
            after = (first + timedelta(days=31)).replace(day=1)
        else:
            after = first + (timedelta(days=1) if len(text) == 10 else timedelta(minutes=1))
    except (OverflowError, ValueError):
        return start, "9999-99"  # later than every date
    return start, after.isoformat()


def _instant(text: str) -> str:
    if len(text) > 19:
        with suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is not None:
                return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat()
    return padded(text)


def _date(stored: Stored) -> Scalar:
    """Return a stored date as ``date`` or ``datetime``; one that is less exact than a day stays text."""
    text = str(stored)
    with suppress(ValueError):
        if len(text) == 10:
            return date.fromisoformat(text)
        if len(text) >= 16:
            return datetime.fromisoformat(text)
    return text


def _is_stored_as(type_: MetadataType | None, value: Any) -> bool:
    """Return whether a value from storage is of this type, and SQLite can hold it."""
    if type_of(value) != ("text" if type_ == "date" else type_):
        return False
    if isinstance(value, str):
        return True
    return -INT64 <= value < INT64 if isinstance(value, int) else math.isfinite(value)


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise ReadError(_("its metadata has the key {key!r:.100}, which is no text: give text").format(key=key))
    if not key.strip() or key != key.strip():
        raise ReadError(
            _("its metadata has the key {key!r:.100}, which is empty or begins or ends with a space").format(key=key)
        )
    if len(key) > MAX_KEY:
        raise ReadError(
            _("its metadata has a key of {count:,} characters ({key:.30}…): use {max_key} at most").format(
                count=len(key), key=key, max_key=MAX_KEY
            )
        )
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in key):
        raise ReadError(
            _("its metadata has the key {key!r}, which holds control characters: leave them out").format(key=key)
        )
    if key.casefold() == "title":
        raise ReadError(_("its metadata has the key 'title', which is kept for titles: give it as title"))


def _entry(key: str, given: object) -> _Entry:
    """Return the checked values of a key."""
    is_list = isinstance(given, (list, tuple, set, frozenset))
    values = list(given) if is_list else [given]  # type: ignore[call-overload]
    if isinstance(given, (set, frozenset)):
        values.sort(key=lambda value: (str(type_of(value)), str(value)))  # the same in every process
    if len(values) > MAX_VALUES:
        raise ReadError(
            _("its metadata has {count:,} values under {key!r}: give {max_values:,} at most").format(
                count=len(values), key=key, max_values=MAX_VALUES
            )
        )
    values = [plain(value) for value in values]
    types = {type_of(value) for value in values}
    if None in types:
        value = next(value for value in values if type_of(value) is None)
        raise ReadError(
            _(
                "its metadata has under {key!r} a value of type {type}: give text, a number, a date, a "
                "boolean, or a list of one of these; leave out a key without a value"
            ).format(key=key, type=type(value).__name__)
        )
    if len(types) > 1:
        raise ReadError(
            _("its metadata mixes {types} under {key!r}: give values of one type").format(
                types=_(" and ").join(sorted(str(type_) for type_ in types)), key=key
            )
        )
    stored = tuple(_stored(key, value) for value in values)
    if types == {"text"} and FILE_KEYS.get(key.casefold()) == "date" and all(map(_is_date, stored)):
        return _Entry("date", stored, is_list)  # "2024-05", as files state it
    return _Entry(types.pop() if types else None, stored, is_list)


def _is_date(text: Stored) -> bool:
    """Return whether a text is a date in ISO 8601, or the beginning of one down to the year."""
    with suppress(ValueError):
        if _DATE.fullmatch(str(text)):
            datetime.fromisoformat(padded(str(text)))
            return True
    return False


def _stored(key: str, value: object) -> Stored:
    """Return a value of one of the four types as JSON holds it."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -INT64 <= value < INT64:
            raise ReadError(
                _("its metadata has under {key!r} a whole number beyond 64 bits: give it as text").format(key=key)
            )
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ReadError(
                _("its metadata has under {key!r} the number {value}: leave the key out, or give a number").format(
                    key=key, value=value
                )
            )
        return float(value)
    if isinstance(value, date):
        if value != value:  # pandas' NaT is a datetime
            raise ReadError(
                _("its metadata has under {key!r} a date that is none: leave the key out, or give a date").format(
                    key=key
                )
            )
        return datetime.isoformat(value) if isinstance(value, datetime) else date.isoformat(value)
    text = str.__str__(value)  # the value of an Enum that is a str
    if len(text) > MAX_TEXT:
        raise ReadError(
            _("its metadata has under {key!r} {count:,} characters: give {max_text:,} at most").format(
                key=key, count=len(text), max_text=MAX_TEXT
            )
        )
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ReadError(_("its metadata has under {key!r} what is no character: leave it out").format(key=key))
    return text


def _utf8(text: str) -> str:
    """Return ``text`` without lone surrogates, which SQLite cannot hold."""
    return text.encode("utf-8", "replace").decode()
