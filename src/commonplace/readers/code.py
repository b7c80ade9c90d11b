"""Source code: each function and class is one text block, titled by its qualified name.

Python is parsed with ``ast``. Other languages are cut by layout: a unit begins at the left margin after an empty
line and includes the lines indented under it. Its first line usually contains its name.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from commonplace.readers.chunks import shared_chunker
from commonplace.readers.parts import File, Part, TextBlock
from commonplace.readers.text import decode

__all__ = ["read_code", "read_python"]

_MAX_DEPTH = 4  # levels of classes inside classes
_MAX_TOKEN_LENGTH = 8  # characters; a code token is rarely longer
_DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_LINE = re.compile(r"\r\n|\r|\n")
_KEYWORD_DEFINITION = re.compile(  # keywords that introduce a named definition in most languages
    r"""^\s*(?:[\w@]+(?:\([\w:, ]*\))?\s+)*?(?:async\s+)?
    (?:class|struct|interface|trait|impl(?:<[^>]*>)?|enum|union|namespace|module|object|protocol|extension|record|package
    |function\*?|func|fun|fn|def|defn?|defmodule|defp|sub|proc|procedure|macro|type|contract|message|service
    |create\s+(?:or\s+replace\s+)?(?:table|view|function|procedure|trigger))
    \s+(?:\([^)]*\)\s*)?(?:if\s+not\s+exists\s+)?(?P<name>[\w$.:~-]*\w)""",
    re.IGNORECASE | re.VERBOSE,
)
_C_FUNCTION = re.compile(
    r"^[\w\s*&:<>,\[\]~.@?]*?(?<![\w$:~])(?P<name>[\w$:~]*\w)\s*\([^;=]*$"
)  # in C and similar languages
_BOUND_FUNCTION = re.compile(
    r"^\s*(?:export\s+)?(?:const|let|var|val)\s+(?P<name>\w+)\s*(?::[^=]*)?=\s*(?:async\b|function\b|\()"
)
_NOT_NAMES = {
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
_COMMENT = re.compile(r"\s*(//|#|--|;;|/\*|\*|%|@|\[)")  # comments, annotations and attributes above a definition


@dataclass(frozen=True, slots=True)
class _Unit:
    """A range of lines (from 0, end excluded) with its name, and the named units inside it."""

    start: int
    end: int
    name: str | None = None
    inner: tuple[_Unit, ...] = ()


def read_python(file: File) -> Iterator[Part]:
    """Yield functions and classes; a file that this Python cannot parse is read like any other language."""
    text, lines = _decode_lines(file)
    yield from _text_blocks(file, lines, _python_units(text, lines) or _line_units(lines, 0, len(lines), 0))


def read_code(file: File) -> Iterator[Part]:
    """Yield units of code, found by empty lines and indentation."""
    _, lines = _decode_lines(file)
    yield from _text_blocks(file, lines, _line_units(lines, 0, len(lines), 0))


def _decode_lines(file: File) -> tuple[str, list[str]]:
    text, problem = decode(file.data)
    if problem:
        file.problems.append(problem)
    file.title = _module_name(file)
    ends = [match.end() for match in _LINE.finditer(text)]
    return text, [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


def _text_blocks(file: File, lines: list[str], units: Sequence[_Unit]) -> Iterator[TextBlock]:
    """Yield one text block for each named unit that fits a chunk or has no named units inside, and for the rest."""
    chunker = shared_chunker(file.options.tokenizer, file.options.max_tokens)
    offsets = [0, *accumulate(map(len, lines))]

    def text_block(start: int, end: int, path: Sequence[str]) -> Iterator[TextBlock]:
        text = "".join(lines[start:end])
        if text.strip():
            yield TextBlock(text, offsets[start], ".".join(path) or None, keep_together=True, line=start + 1)

    def fits(unit: _Unit, title: str) -> bool:
        room = chunker.room(chunker.title(title))
        short = offsets[unit.end] - offsets[unit.start] <= _MAX_TOKEN_LENGTH * room  # counting tokens is slow
        return short and chunker.count("".join(lines[unit.start : unit.end])) <= room

    def nested_blocks(units: Sequence[_Unit], start: int, end: int, path: Sequence[str]) -> Iterator[TextBlock]:
        for unit in (unit for unit in units if unit.name):
            yield from text_block(start, unit.start, path)
            unit_path = [*path, unit.name or ""]
            if any(inner.name for inner in unit.inner) and not fits(unit, ".".join(unit_path)):
                yield from nested_blocks(unit.inner, unit.start, unit.end, unit_path)
            else:
                yield from text_block(unit.start, unit.end, unit_path)
            start = unit.end
        yield from text_block(start, end, path)

    yield from nested_blocks(units, 0, len(lines), [file.title] if file.title else [])


def _module_name(file: File) -> str | None:
    """Return the module name of the file; for Python with the packages that contain it."""
    if file.depth:
        return None  # it is not on the disk, and its archive names it
    names = [file.path.stem]
    folder = file.path.parent
    if file.media_type == "text/x-python":
        names = [] if names == ["__init__"] else names
        while (folder / "__init__.py").exists() and len(names) < 10:
            names.insert(0, folder.name)
            folder = folder.parent
    return ".".join(names) or file.path.stem


def _python_units(text: str, lines: Sequence[str]) -> tuple[_Unit, ...] | None:
    """Return the definitions of a Python text; None where it cannot be parsed."""
    if "\f" in text or "\x1a" in text:
        return None  # the parser counts lines differently
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return tuple(_definitions(tree, lines, 0, 0))


def _definitions(parent: ast.Module | ast.ClassDef, lines: Sequence[str], start: int, depth: int) -> Iterator[_Unit]:
    for node in parent.body:
        if not isinstance(node, _DEFINITION):
            continue
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
        while first > start and lines[first - 1].lstrip().startswith("#"):
            first -= 1  # the comment above it belongs to it
        end = node.end_lineno or first + 1
        if first < start:
            continue  # two definitions on one line
        start = end
        inner = (
            tuple(_definitions(node, lines, first + 1, depth + 1))
            if isinstance(node, ast.ClassDef) and depth < _MAX_DEPTH
            else ()
        )
        yield _Unit(first, end, node.name, inner)


def _line_units(lines: Sequence[str], start: int, end: int, depth: int) -> tuple[_Unit, ...]:
    """Return the units in ``lines[start:end]``: each begins at the least indentation, after an empty or closing line.

    A comment belongs to the unit directly below it. A single line gets no name: it joins its neighbours.
    """
    indents = [len(line) - len(line.lstrip()) if line.strip() else -1 for line in lines[start:end]]
    least = min((indent for indent in indents if indent >= 0), default=0)
    starts = []
    for index, indent in enumerate(indents):
        if indent != least or _closes(lines[start + index]):
            continue
        above = lines[start + index - 1] if index else ""
        if not above.strip() or (_closes(above) and indents[index - 1] == least):
            starts.append(start + index)
    units = []
    for first, last in pairwise([*starts, end]):
        while last > first and not lines[last - 1].strip():
            last -= 1
        head = next((index for index in range(first, last) if not _COMMENT.match(lines[index])), first)
        name = _name(lines[head]) if last - head > 1 else None
        body = next(
            (index for index in range(head + 1, last) if lines[index].strip() and not lines[index].startswith("{")),
            last,
        )
        inner: tuple[_Unit, ...] = ()
        if name and depth < _MAX_DEPTH and last - body > 1:
            stop = last - 1 if _closes(lines[last - 1]) else last
            inner = _line_units(lines, body, stop, depth + 1)
        units.append(_Unit(first, last, name, inner))
    return tuple(units)


def _closes(line: str) -> bool:
    return line.strip()[:1] in ("}", ")", "]") or line.strip().rstrip(";") in ("end", "endif", "fi", "done", "esac")


def _name(line: str) -> str | None:
    for pattern in (_KEYWORD_DEFINITION, _BOUND_FUNCTION, _C_FUNCTION):
        match = pattern.match(line.rstrip()[:200])
        if match and match["name"].lower() not in _NOT_NAMES:
            return match["name"].replace("::", ".").strip(".:")
    return None
