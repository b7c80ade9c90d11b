"""Source code by its structure: functions and classes as they stand, under the path of their names.

Python is taken apart by its own parser. Other languages by what they share: what begins at the margin after an empty
line is one thing with what is indented under it, and mostly says its name in its first line.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from commonplace.readers.chunks import chunker
from commonplace.readers.parts import File, Part, TextBlock
from commonplace.readers.text import decode

__all__ = ["read_code", "read_python"]

_DEEP = 4  # classes in classes
_LETTERS = 8  # of a token at most, in code
_DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_LINE = re.compile(r"\r\n|\r|\n")
_NAMED = re.compile(  # what most languages call a thing that has a name
    r"""^\s*(?:[\w@]+(?:\([\w:, ]*\))?\s+)*?(?:async\s+)?
    (?:class|struct|interface|trait|impl(?:<[^>]*>)?|enum|union|namespace|module|object|protocol|extension|record|package
    |function\*?|func|fun|fn|def|defn?|defmodule|defp|sub|proc|procedure|macro|type|contract|message|service
    |create\s+(?:or\s+replace\s+)?(?:table|view|function|procedure|trigger))
    \s+(?:\([^)]*\)\s*)?(?:if\s+not\s+exists\s+)?(?P<name>[\w$.:~-]*\w)""",
    re.IGNORECASE | re.VERBOSE,
)
_CALLED = re.compile(r"^[\w\s*&:<>,\[\]~.@?]*?(?<![\w$:~])(?P<name>[\w$:~]*\w)\s*\([^;=]*$")  # of C and its kin
_BOUND = re.compile(
    r"^\s*(?:export\s+)?(?:const|let|var|val)\s+(?P<name>\w+)\s*(?::[^=]*)?=\s*(?:async\b|function\b|\()"
)
_NO_NAME = {
    "if",
    "for",
    "while",
    "switch",
    "return",
    "else",
    "catch",
    "foreach",
    "elif",
    "do",
    "with",
    "using",
    "sizeof",
}
_REMARK = re.compile(r"\s*(//|#|--|;;|/\*|\*|%|@|\[)")  # comments and what is written over a definition


@dataclass(frozen=True, slots=True)
class _Unit:
    """Lines (from 0, end excluded) that belong together, their name, and those in it that have one of their own."""

    start: int
    end: int
    name: str | None = None
    inner: tuple[_Unit, ...] = ()


def read_python(file: File) -> Iterator[Part]:
    """Yield functions and classes; what this interpreter's parser does not take, as other code."""
    text, lines = _decoded(file)
    yield from _told(file, lines, _of_python(text, lines) or _of_lines(lines, 0, len(lines), 0))


def read_code(file: File) -> Iterator[Part]:
    """Yield what stands together, by empty lines and indentation."""
    _, lines = _decoded(file)
    yield from _told(file, lines, _of_lines(lines, 0, len(lines), 0))


def _decoded(file: File) -> tuple[str, list[str]]:
    text, problem = decode(file.data)
    if problem:
        file.problems.append(problem)
    file.title = _module(file)
    ends = [found.end() for found in _LINE.finditer(text)]
    return text, [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


def _told(file: File, lines: list[str], units: Sequence[_Unit]) -> Iterator[TextBlock]:
    """Yield a passage for each named unit that fits a chunk or holds no others, and for what stands between them."""
    cutter = chunker(file.options.tokenizer, file.options.max_tokens)
    places = [0, *accumulate(map(len, lines))]

    def passage(start: int, end: int, path: Sequence[str]) -> Iterator[TextBlock]:
        whole = "".join(lines[start:end])
        if whole.strip():
            yield TextBlock(whole, places[start], ".".join(path) or None, whole=True)

    def fits(unit: _Unit, title: str) -> bool:
        room = cutter.room(cutter.title(title))
        short = places[unit.end] - places[unit.start] <= _LETTERS * room  # counting is the slow part
        return short and cutter.count("".join(lines[unit.start : unit.end])) <= room

    def told(units: Sequence[_Unit], start: int, end: int, path: Sequence[str]) -> Iterator[TextBlock]:
        for unit in (unit for unit in units if unit.name):
            yield from passage(start, unit.start, path)
            own = [*path, unit.name or ""]
            if any(one.name for one in unit.inner) and not fits(unit, ".".join(own)):
                yield from told(unit.inner, unit.start, unit.end, own)
            else:
                yield from passage(unit.start, unit.end, own)
            start = unit.end
        yield from passage(start, end, path)

    yield from told(units, 0, len(lines), [file.title] if file.title else [])


def _module(file: File) -> str | None:
    """Return the file's name as code calls it: of Python with the packages that it is in."""
    if file.depth:
        return None  # it has no place of its own, and its archive names it
    names = [file.path.stem]
    folder = file.path.parent
    if file.media_type == "text/x-python":
        names = [] if names == ["__init__"] else names
        while (folder / "__init__.py").exists() and len(names) < 10:
            names.insert(0, folder.name)
            folder = folder.parent
    return ".".join(names) or file.path.stem


def _of_python(text: str, lines: Sequence[str]) -> tuple[_Unit, ...] | None:
    """Return the definitions of a Python text; None where it is none."""
    if "\f" in text or "\x1a" in text:
        return None  # the parser counts other line ends than these lines have
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return tuple(_defined(tree, lines, 0, 0))


def _defined(parent: ast.Module | ast.ClassDef, lines: Sequence[str], start: int, depth: int) -> Iterator[_Unit]:
    for node in parent.body:
        if not isinstance(node, _DEFINITION):
            continue
        first = min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1
        while first > start and lines[first - 1].lstrip().startswith("#"):
            first -= 1  # what is written over it
        end = node.end_lineno or first + 1
        if first < start:
            continue  # two of them on one line
        start = end
        inner = (
            tuple(_defined(node, lines, first + 1, depth + 1))
            if isinstance(node, ast.ClassDef) and depth < _DEEP
            else ()
        )
        yield _Unit(first, end, node.name, inner)


def _of_lines(lines: Sequence[str], start: int, end: int, depth: int) -> tuple[_Unit, ...]:
    """Return what stands together in ``lines[start:end]``: it begins at the least indent after an empty line or an end.

    Remarks belong to what follows them at once. A single line has no name: it goes with its neighbours.
    """
    indents = [len(line) - len(line.lstrip()) if line.strip() else -1 for line in lines[start:end]]
    least = min((indent for indent in indents if indent >= 0), default=0)
    heads = []
    for at, indent in enumerate(indents):
        if indent != least or _closes(lines[start + at]):
            continue
        above = lines[start + at - 1] if at else ""
        if not above.strip() or (_closes(above) and indents[at - 1] == least):
            heads.append(start + at)
    units = []
    for first, last in pairwise([*heads, end]):
        while last > first and not lines[last - 1].strip():
            last -= 1
        head = next((at for at in range(first, last) if not _REMARK.match(lines[at])), first)
        name = _name(lines[head]) if last - head > 1 else None
        body = next((at for at in range(head + 1, last) if lines[at].strip() and not lines[at].startswith("{")), last)
        inner: tuple[_Unit, ...] = ()
        if name and depth < _DEEP and last - body > 1:
            stop = last - 1 if _closes(lines[last - 1]) else last
            inner = _of_lines(lines, body, stop, depth + 1)
        units.append(_Unit(first, last, name, inner))
    return tuple(units)


def _closes(line: str) -> bool:
    return line.strip()[:1] in ("}", ")", "]") or line.strip().rstrip(";") in ("end", "endif", "fi", "done", "esac")


def _name(line: str) -> str | None:
    for pattern in (_NAMED, _BOUND, _CALLED):
        found = pattern.match(line.rstrip()[:200])
        if found and found["name"].lower() not in _NO_NAME:
            return found["name"].replace("::", ".").strip(".:")
    return None
