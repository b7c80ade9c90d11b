"""Globs as SQLite's GLOB reads them: their parts, and matching in time that no pattern makes exponential."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

__all__ = ["Glob", "GlobPart", "compiled_glob"]


class GlobPart(NamedTuple):
    """A part of a glob.

    ``kind`` is ``text`` for literal text, ``character`` for ``?`` or a class such as ``[a-c]``, ``star`` for ``*``.
    ``text`` is the literal text, or the regular expression of the character; empty for a star.
    """

    kind: Literal["text", "character", "star"]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Glob:
    """A glob in parts: no two stars and no two texts are neighbours. ``parts`` is None if nothing matches."""

    parts: tuple[GlobPart, ...] | None
    segments: tuple[tuple[re.Pattern[str], int], ...]
    """What stands between the stars: a regular expression, and the number of characters that it matches."""

    def matches(self, text: str) -> bool:
        """Return whether the glob matches the whole of ``text``. The time is at most their lengths' product."""
        if self.parts is None:
            return False
        (first, start), *middle = self.segments
        if not middle:
            return len(text) == start and first.match(text) is not None
        last, length = middle.pop()
        end = len(text) - length
        if end < start or first.match(text) is None or last.match(text, end) is None:
            return False
        for segment, _ in middle:  # the leftmost place leaves most room for those that follow
            match = segment.search(text, start, end)
            if match is None:
                return False
            start = match.end()
        return True


@lru_cache(maxsize=512)
def compiled_glob(pattern: str) -> Glob:
    """Return ``pattern`` as a glob in the grammar of SQLite: ``*``, ``?``, ``[a-c]``, ``[^a-c]``.

    ``*`` also matches ``/``. A class without its ``]`` matches nothing. Upper and lower case differ.
    """
    parts = _parts(pattern)
    return Glob(parts, () if parts is None else tuple(_segments(parts)))


def _parts(pattern: str) -> tuple[GlobPart, ...] | None:
    parts: list[GlobPart] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        part = GlobPart("text", character)
        if character == "*":
            part = GlobPart("star")
        elif character == "?":
            part = GlobPart("character", ".")
        elif character == "[":
            end = _end_of_class(pattern, position)
            if end is None:
                return None
            part = _class(pattern[position : end - 1])
            position = end
        if parts and part.kind == parts[-1].kind != "character":
            part = GlobPart(part.kind, parts.pop().text + part.text)
        parts.append(part)
    return tuple(parts)


def _end_of_class(pattern: str, start: int) -> int | None:
    """Return the position after the class whose ``[`` stands before ``start``; None if it has no ``]``."""
    position = start + pattern.startswith("^", start)
    position += pattern.startswith("]", position)  # the first character of a class may be a bracket
    return pattern.find("]", position) + 1 or None


def _class(inside: str) -> GlobPart:
    """Return the part for a class, without its brackets."""
    inverted = inside.startswith("^")
    ranges = list(_ranges(inside[inverted:]))
    if not inverted and len(ranges) == 1:
        return GlobPart("text", ranges[0][0])
    members = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges)
    return GlobPart("character", f"[{'^' * inverted}{members}]")


def _ranges(members: str) -> Iterator[tuple[str, str]]:
    """Yield the first and the last character of each range in a class. The beginning of a range is one by itself."""
    position = 0
    before = ""  # the character with which a hyphen would make a range
    while position < len(members):
        character = members[position]
        following = members[position + 1 : position + 2]
        if character == "-" and before and following:
            if before <= following:
                yield before, following
            before = ""
            position += 1
        else:
            yield character, character
            before = "" if character == "]" else character
        position += 1


def _segments(parts: Sequence[GlobPart]) -> list[tuple[re.Pattern[str], int]]:
    segments = [("", 0)]
    for kind, text in parts:
        expression, length = segments[-1]
        if kind == "star":
            segments.append(("", 0))
        elif kind == "text":
            segments[-1] = (expression + re.escape(text), length + len(text))
        else:
            segments[-1] = (expression + text, length + 1)
    return [(re.compile(expression, re.DOTALL), length) for expression, length in segments]
