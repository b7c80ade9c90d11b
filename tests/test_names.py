"""Names are specific: the code binds no vague word, and each class name is unique."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

SOURCE = ROOT / "src" / "commonplace"

#: Words without a specific meaning. Use `hit`, `document`, `row`, `match`, `path` and so on instead.
VAGUE = {
    "one", "found", "own", "said", "told", "there", "asked", "here", "given", "made", "seen", "known", "some", "whole",
}  # fmt: skip

#: Number of vague names that each package or top-level module still has. Lower a number after each cleanup; never
#: raise one. A package that is not listed must have none.
ALLOWED_VAGUE = {
    "filters.py": 3, "metadata.py": 1, "training": 1,
}  # fmt: skip

#: Public class names that are still defined more than once. Remove a name after it is unique; never add one.
ALLOWED_DUPLICATES: set[str] = set()

NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)


def bindings(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each name that the code binds, with its line: variables, arguments, functions and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, NAMED) and node.name:
            yield node.name, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno


def vague(code: str) -> list[tuple[str, int]]:
    """Return the vague names that ``code`` binds, with or without underscores around them, and their lines."""
    return [(name, line) for name, line in bindings(ast.parse(code)) if name.strip("_") in VAGUE]


def sources() -> Iterator[tuple[str, str, str]]:
    """Yield package, path and text of each source file."""
    for path in sorted(SOURCE.rglob("*.py")):
        relative = path.relative_to(SOURCE)
        yield relative.parts[0], str(relative), path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "code",
    [
        "one = 1",
        "for found in rows: pass",
        "rows = [own for own in rows]",
        "def read(said): pass",
        "read(lambda told: told)",
        "with open(path) as there: pass",
        "if (asked := read()): pass",
        "def here(): pass",
        "self._seen = set()",
        "class Text:\n    whole: bool = False",
        "try: pass\nexcept OSError as known: pass",
        "import json as some",
    ],
)
def test_every_kind_of_binding_is_checked(code: str) -> None:
    assert len(vague(code)) == 1


def test_specific_names_pass() -> None:
    assert vague("for row in rows:\n    match = pattern.search(row)\n    read(one, found.whole)") == []


def test_no_vague_names() -> None:
    count: Counter[str] = Counter()
    places: dict[str, list[str]] = {}
    for package, path, text in sources():
        for name, line in vague(text):
            count[package] += 1
            places.setdefault(package, []).append(f"{path}:{line} {name}")
    over = {package: places[package] for package in count if count[package] > ALLOWED_VAGUE.get(package, 0)}
    assert not over, "rename these after what they hold:\n" + "\n".join("\n".join(lines) for lines in over.values())


def test_class_names_are_unique() -> None:
    places: dict[str, list[str]] = {}
    for _, path, text in sources():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(f"{path}:{node.lineno}")
    twice = {name: lines for name, lines in places.items() if len(lines) > 1 and name not in ALLOWED_DUPLICATES}
    assert not twice, f"rename one class of each name: {twice}"
