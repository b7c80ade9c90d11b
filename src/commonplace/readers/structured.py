"""Structured data (JSON, JSON Lines, YAML, XML) as text that people read: values under their paths, records as tables.

Numbers and dates stay as they are written. What cannot be parsed, and what is very large, is read as plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import Heading, LayoutBlock, Paragraph, Table, lay_out
from commonplace.readers.parts import File, Part, TextBlock
from commonplace.readers.text import decode, read_text
from commonplace.readers.zipxml import local_name, parse_xml

__all__ = ["read_json", "read_json_lines", "read_xml", "read_yaml"]

_MAX_SIZE = 20_000_000  # bytes; a larger file is read as text
_MAX_VALUES = 1_000_000  # values; aliases of YAML may repeat a few endlessly
_MAX_LEVEL = 6  # headings; deeper values are written with their path
_MAX_CELL = 400  # characters; records with longer texts are no table
_MAX_INLINE = 200  # characters of a list on one line
_NAMES = ("title", "name", "label", "subject", "id", "key")
_COMMENT = re.compile(r"(?:^|[ \t])#[ \t]*[^\W\d_]", re.MULTILINE)
_TOP_KEY = re.compile(r"^([^\s#'\"{}\[\]&*!|>%@`-][^:#\n]*):(?=\s)", re.MULTILINE)

_Value = Any
"""A text, a list of values, or a dictionary of values: what all these formats hold."""


def read_json(file: File) -> Iterator[Part]:
    """Yield the values of a JSON text."""
    yield from _read(file, _parsed_json)


def read_json_lines(file: File) -> Iterator[Part]:
    """Yield the records of JSON Lines, as one table where they are alike. A line that is no JSON stays as text."""

    def parse(text: str) -> _Value:
        values, bad = [], []
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            try:
                values.append(_parsed_json(line))
            except ValueError:
                values.append(line)
                bad.append(number)
        if len(bad) * 2 > len(values):
            raise ValueError
        if bad:
            listed = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
            file.problems.append(_("no JSON in line {lines}: read as text").format(lines=listed))
        return values

    yield from _read(file, parse)


def read_yaml(file: File) -> Iterator[Part]:
    """Yield the values of a YAML text. One with comments is read as text, as comments belong to what they stand by."""
    import yaml

    def parse(text: str) -> _Value:
        loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # every value stays a text, and nothing is built
        try:
            documents = list(yaml.load_all(text, Loader=loader))
        except (yaml.YAMLError, AttributeError, TypeError):
            raise ValueError from None
        return documents[0] if len(documents) == 1 else documents

    text, problem = decode(file.data)
    if _COMMENT.search(text):
        if problem:
            file.problems.append(problem)
        yield from _sections(text)
    else:
        yield from _read(file, parse)


def read_xml(file: File) -> Iterator[Part]:
    """Yield the texts of an XML file under the names of its elements."""

    def parse(_text: str) -> _Value:
        try:
            root = parse_xml(file.data, file.path.name)
        except ReadError:
            raise ValueError from None
        return {local_name(root): _element(root)}

    yield from _read(file, parse)


def _read(file: File, parse: Callable[[str], _Value]) -> Iterator[Part]:
    noted = len(file.problems)
    try:
        text, problem = decode(file.data)
        if len(file.data) > _MAX_SIZE:
            raise ValueError
        value = parse(text)
        if not isinstance(value, (dict, list)) or _count(value) > _MAX_VALUES:
            raise ValueError
        blocks = list(_blocks(value, (), 1))
    except (ValueError, RecursionError):
        del file.problems[noted:]
        yield from read_text(file)
        return
    if problem:
        file.problems.append(problem)
    titles = [_text_or_none(value.get(key)) for key in ("title", "name")] if isinstance(value, dict) else []
    file.title = next(filter(None, titles), None)
    yield from lay_out(file, blocks)


def _parsed_json(text: str) -> _Value:
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


def _count(value: _Value) -> int:
    """Count the values in a value, up to somewhat above the limit."""
    count, stack = 0, [value]
    while stack and count <= _MAX_VALUES:
        inner = stack.pop()
        count += 1
        if isinstance(inner, dict):
            stack += inner.values()
        elif isinstance(inner, list):
            stack += inner
    return count


def _is_text(value: _Value) -> bool:
    return not isinstance(value, (dict, list))


def _text(value: _Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _blocks(value: _Value, path: tuple[str, ...], level: int) -> Iterator[LayoutBlock]:
    """Yield a value: lines of keys and texts, tables of records, and what is nested under headings."""
    if isinstance(value, dict):
        # Texts come first, because a heading below them would seem to hold those that follow it.
        for key, inner in sorted(value.items(), key=lambda entry: _inline(entry[1]) is None):
            yield from _entry(str(key), inner, path, level)
    elif isinstance(value, list):
        yield from _list(value, path, level)
    else:
        yield Paragraph(_text(value))


def _entry(key: str, value: _Value, path: tuple[str, ...], level: int) -> Iterator[LayoutBlock]:
    inline = _inline(value)
    name = ".".join((*path, key))
    if inline is not None:
        if inline:
            yield Paragraph(f"{name}: {inline}" if name else inline, list_item="\n" not in inline)
    elif level > _MAX_LEVEL:
        yield from _blocks(value, (*path, key), level)
    else:
        yield Heading(name, level)
        yield from _blocks(value, (), level + 1)


def _inline(value: _Value) -> str | None:
    """Return a value that stands on one line: a text or a short list of texts; None for any other."""
    if _is_text(value):
        return _text(value)
    if isinstance(value, dict):
        return "" if not value else None
    if all(map(_is_text, value)):
        line = ", ".join(map(_text, value))
        return line if len(line) <= _MAX_INLINE else None
    if all(isinstance(inner, list) and all(map(_is_text, inner)) for inner in value):  # coordinates
        return json.dumps(value, ensure_ascii=False).replace('"', "")
    return None


def _list(values: Sequence[_Value], path: tuple[str, ...], level: int) -> Iterator[LayoutBlock]:
    records = [_flat(value) for value in values if isinstance(value, dict)]
    others = [value for value in values if not isinstance(value, dict)]
    if len(records) >= 2 and None not in records and all(map(_is_text, others)):
        rows = _table([record for record in records if record is not None])
        if rows:
            yield Table(rows)
            yield from (Paragraph(_text(value), list_item=True) for value in others)
            return
    for number, value in enumerate(values, 1):
        if isinstance(value, dict):
            named = next((_text(value[key]) for key in _NAMES if _text_or_none(value.get(key))), "")
            name = " ".join(named.split())[:80] or str(number)
            if level <= _MAX_LEVEL:
                yield Heading(name, level)
                yield from _blocks(value, (), level + 1)
            else:
                yield from _blocks(value, (*path, name), level)
        elif isinstance(value, list):
            yield from _entry(str(number), value, path, level)
        else:
            yield Paragraph(_text(value), list_item=True)


def _text_or_none(value: _Value) -> str | None:
    return (_text(value) or None) if _is_text(value) else None


def _flat(record: dict[Any, _Value], prefix: str = "") -> dict[str, str] | None:
    """Return a record with the keys of nested records as paths; None where it holds lists of records."""
    flat: dict[str, str] = {}
    for key, value in record.items():
        name = f"{prefix}{key}".rstrip(".")
        if isinstance(value, dict):
            inner = _flat(value, f"{name}.")
            if inner is None:
                return None
            flat.update(inner)
        else:
            text = _inline(value)
            if text is None:
                return None
            flat[name] = text
    return flat


def _table(records: Sequence[dict[str, str]]) -> list[list[str]] | None:
    """Return records as rows under their keys; None where they differ too much, or have long texts."""
    columns = list(dict.fromkeys(key for record in records for key in record))
    cells = sum(map(len, records))
    if not columns or cells < 0.5 * len(columns) * len(records):
        return None
    if any(len(text) > _MAX_CELL for record in records for text in record.values()):
        return None
    return [columns, *([record.get(column, "") for column in columns] for record in records)]


def _element(element: Any) -> _Value:
    """Return an element as a text, or as a dictionary of its attributes and of the elements in it."""
    attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    children = [child for child in element if isinstance(child.tag, str)]
    mixed = any((child.tail or "").strip() for child in element)
    if mixed or not children or (element.text or "").strip():
        text = " ".join("".join(element.itertext()).split())
        return {**attributes, "": text} if attributes else text
    values: dict[str, _Value] = dict(attributes)
    repeated: dict[str, list[_Value]] = {}
    for child in children:
        repeated.setdefault(local_name(child), []).append(_element(child))
    for name, inner in repeated.items():
        values[name if name not in values else f"{name} "] = inner[0] if len(inner) == 1 else inner
    return values


def _sections(text: str) -> Iterator[Part]:
    """Yield a YAML text in sections, each titled by its key at the left margin, with the comments above it."""
    starts = [0]
    titles: list[str | None] = [None]
    for match in _TOP_KEY.finditer(text):
        start = match.start()
        while start and (comment := text[text.rfind("\n", 0, start - 1) + 1 : start]).startswith("#"):
            start -= len(comment)
        starts.append(start)
        titles.append(match[1].strip())
    line = 1
    for title, (start, end) in zip(titles, pairwise([*starts, len(text)]), strict=True):
        if text[start:end].strip():
            yield TextBlock(text[start:end], start, title, line=line)
        line += text.count("\n", start, end)
