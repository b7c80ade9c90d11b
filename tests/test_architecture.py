"""The house stands as docs/design.md draws it: imports go downward, and the base needs no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import commonplace

SOURCE = Path(commonplace.__file__).parent
# What each room may import; a room may always import itself.
MAY = {
    "types": set(),
    "errors": set(),
    "text": set(),
    "atomic": {"errors"},
    "filters": {"types", "errors", "indexer"},
    "encoders": {"types", "errors"},
    "readers": {"types", "errors", "encoders"},
    "ingest": {"types", "errors", "readers"},
    "space": {"types", "errors", "encoders"},
    "store": {"types", "errors", "text"},
    "retrieval": {"types", "errors", "text", "atomic", "encoders", "space", "store"},
    "generation": {"types", "errors", "text", "encoders", "readers", "space", "store", "retrieval"},
    "migrate": {"types", "errors", "text", "encoders", "readers", "ingest", "space", "store", "retrieval"},
    "pages": {"types", "errors", "atomic", "readers", "ingest", "store"},
    "crops": {"types", "errors", "store"},
    "indexer": {"types", "errors", "encoders", "readers", "ingest", "space", "store", "crops"},
    "collection": {
        *("types", "errors", "encoders", "readers", "ingest", "space", "store", "retrieval", "generation", "migrate"),
        *("pages", "crops", "indexer", "filters"),
    },
    "evaluation": {"types", "errors", "atomic", "readers", "store", "retrieval", "collection"},
    "export": {"errors", "encoders"},
    "training": {"types", "errors", "encoders", "readers", "retrieval", "evaluation", "export"},
    "cli": {
        *("types", "errors", "atomic", "encoders", "retrieval", "generation", "collection", "evaluation", "migrate"),
        *("export", "training"),
    },
    "__main__": {"cli"},
    "__init__": {"types", "errors", "retrieval", "generation", "pages", "collection"},
}
TORCH = {"torch", "transformers", "sentence_transformers"}
HEAVY = {"export": TORCH, "training": TORCH}  # rooms that nothing imports at its head
FORBIDDEN = {"torch", "transformers", "sentence_transformers", "onnxruntime", "tensorflow", "fitz"}
LAZY = {"generation/local.py"}  # may import them inside a function: an extra that the user chose


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module)
    return found


def imports_at_head(path: Path) -> set[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    found = {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}
    return found | {node.module for node in body if isinstance(node, ast.ImportFrom) and node.module}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_downward(path: Path) -> None:
    own = room(path)
    for name in imports(path):
        head, *rest = name.split(".")
        lazy = path.relative_to(SOURCE).as_posix() in LAZY and name not in imports_at_head(path)
        assert head not in FORBIDDEN - HEAVY.get(own, set()) or lazy, f"{path} imports {name}"
        if head == "commonplace" and rest and rest[0] != own:
            assert rest[0] in MAY[own], f"{own} must not import {rest[0]} ({path})"


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_loads_no_model_index_or_reader() -> None:
    heavy = run("import commonplace, sys; print(*(m for m in ('openvino', 'faiss', 'PIL', 'tokenizers', "
                "'pypdfium2', 'torch', 'tqdm', 'sentencex', 'matplotlib', 'openai') if m in sys.modules))")  # fmt: skip
    assert heavy.split() == []


def test_help_loads_no_model() -> None:
    loaded = run(
        "import sys\nfrom commonplace.cli import main\n"
        "try:\n main(['--help'])\nexcept SystemExit: pass\n"
        "print('LOADED', *(m for m in ('openvino', 'faiss', 'PIL', 'tokenizers') if m in sys.modules))"
    )
    assert loaded.splitlines()[-1].split() == ["LOADED"]


def test_public_names_are_those_listed() -> None:
    for name in commonplace.__all__:
        assert getattr(commonplace, name) is not None
    public = {name for name in vars(commonplace) if not name.startswith("_")}
    modules = {name for name in public if type(getattr(commonplace, name)).__name__ == "module"}
    assert public - modules == set(commonplace.__all__)


def test_only_who_opens_or_maintains_a_store_names_the_local_one() -> None:
    named = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if room(path) != "store" and "LocalStore" in path.read_text(encoding="utf-8")
    }
    assert named == {"migrate.py"}  # which opens it, and changes its model


def test_no_class_of_the_store_has_more_than_25_methods() -> None:
    for path in (SOURCE / "store").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
                assert len(methods) <= 25, f"{path.name}: {node.name} has {len(methods)}"
