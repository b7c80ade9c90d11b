"""The package follows docs/explanation/design.md: imports follow the layers, interfaces stay small, no torch."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import commonplace

SOURCE = Path(commonplace.__file__).parent
BASE = {"types", "display", "positions", "errors", "i18n", "metadata", "paths", "settings", "text"}
# What each module or package may import; it may always import itself and BASE.
MAY: dict[str, set[str]] = {
    **{name: set() for name in BASE},
    "display": {"i18n", "types"},
    "positions": {"i18n", "types"},
    "types": {"display", "i18n", "metadata", "positions"},
    "paths": {"errors", "i18n", "types"},
    "settings": {"errors", "i18n"},
    "server": {
        *("atomic", "collection", "display", "encoders", "filters", "generation", "opening", "pages", "places"),
        *("mcp_server", "positions", "records", "watching"),
    },
    "mcp_server": {"collection", "positions", "records"},
    "integrations": {"collection", "filters", "opening", "options", "records"},
    "committing": {"crops", "deletion", "ingest", "readers", "space", "store"},
    "distributed": {"committing", "encoders", "ingest", "opening", "readers", "space", "store"},
    "atomic": set(),
    "encoders": {"atomic"},
    "images": {"readers"},
    "readers": {"encoders"},
    "ingest": {"readers"},
    "channels": {"encoders"},
    "space": {"encoders", "channels"},
    "store": {"atomic"},
    "retrieval": {"atomic", "encoders", "channels", "space", "store"},
    "generation": {"encoders", "readers", "channels", "space", "store", "retrieval"},
    "places": {"encoders", "space", "store"},
    "migrate": {"encoders", "readers", "ingest", "channels", "space", "store", "retrieval", "places"},
    "pages": {"atomic", "readers", "ingest", "store"},
    "crops": {"store"},
    "deletion": {"store"},
    "records": {"images", "readers"},
    "indexer": {
        "committing",
        "distributed",
        "encoders",
        "readers",
        "ingest",
        "channels",
        "space",
        "store",
        "crops",
        "deletion",
        "records",
        "images",
    },
    "filters": {"channels", "indexer"},
    "options": {"encoders", "filters", "retrieval"},
    "reading": {"encoders", "indexer", "ingest", "readers", "space"},
    "_session": {"crops", "generation", "retrieval", "space", "store"},
    "_searching": {"_session", "encoders", "images", "options", "retrieval", "space", "store"},
    "_answering": {"_session", "_searching", "generation", "options", "retrieval", "store"},
    "copying": {"_session", "places", "retrieval", "space", "store"},
    "_maintenance": {"_session", "copying", "encoders", "indexer", "migrate", "places", "space", "store"},
    "_showing": {"_documents", "_session", "_searching", "images", "options", "pages", "readers", "retrieval"},
    "_embedding": {"images", "space"},
    "_documents": {"_session", "deletion", "indexer", "retrieval"},
    "collection": {
        *(
            "_answering",
            "_documents",
            "_embedding",
            "_maintenance",
            "_searching",
            "_session",
            "_showing",
            "filters",
            "generation",
        ),
        *("filters", "generation", "indexer", "options", "pages", "places", "records", "retrieval", "space", "store"),
        "watching",
    },
    "watching": {"_documents", "_session", "indexer", "ingest"},
    "opening": {"collection", "encoders", "generation", "places", "space"},
    "_async": {"_answering", "_maintenance", "_searching", "collection", "generation", "opening", "options"},
    "evaluation": {"atomic", "readers", "images", "channels", "store", "retrieval", "collection", "options"},
    "export": {"encoders"},
    "training": {"encoders", "readers", "retrieval", "evaluation", "export"},
    "cli": {
        *("atomic", "encoders", "retrieval", "generation", "collection", "evaluation", "migrate", "export", "training"),
        *("filters", "indexer", "opening", "options", "places", "reading", "records"),
        *("mcp_server", "server", "watching"),
    },
    "__main__": {"cli"},
    "__init__": {
        "encoders",
        *("_async", "_maintenance", "_searching", "collection", "generation", "indexer", "opening", "options", "pages"),
        *("reading", "records", "retrieval", "watching"),
    },
}
TORCH = {"torch", "transformers", "sentence_transformers"}
HEAVY = {"export": TORCH, "training": TORCH}  # packages that no module imports at its top level
FORBIDDEN = {"torch", "transformers", "sentence_transformers", "onnxruntime", "tensorflow", "fitz"}
LAZY = {"generation/local.py"}  # may import them inside a function, because they are an optional extra
MAX_METHODS = 25  # of a class, without special methods such as __len__
MAX_PARAMETERS = 8  # of a function, without self
# Exceptions that are still larger, with their maximum size.

FILES = sorted(SOURCE.rglob("*.py"))
by_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))


def test_other_systems_than_unix_get_one_clear_error() -> None:
    code = "import sys; sys.modules['fcntl'] = None; sys.platform = 'win32'\nimport commonplace\ncommonplace.open"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode and last.startswith("ImportError: Commonplace runs on Linux and macOS, not on win32")
    assert "fcntl" not in last and "During handling" not in done.stderr


def top(path: Path) -> str:
    """Return the module or package directly below the root that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            names.add(node.module)
    return names


def imports_at_head(path: Path) -> set[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in body if isinstance(node, ast.ImportFrom) and node.module}


@by_file
def test_imports_follow_the_layers(path: Path) -> None:
    name = top(path)
    assert name in MAY, f"{name} is new: say in MAY what it may import"
    for imported in imports(path):
        head, *rest = imported.split(".")
        lazy = path.relative_to(SOURCE).as_posix() in LAZY and imported not in imports_at_head(path)
        assert head not in FORBIDDEN - HEAVY.get(name, set()) or lazy, f"{path} imports {imported}"
        if head == "commonplace" and rest and rest[0] != name:
            allowed = MAY[name] if name in BASE - {"metadata", "text"} else MAY[name] | BASE
            assert rest[0] in allowed, f"{name} must not import {rest[0]} ({path})"


@by_file
def test_only_its_adapter_imports_a_framework(path: Path) -> None:
    frameworks = {name.split(".")[0] for name in imports(path)} & {"langchain_core", "llama_index", "haystack"}
    assert not frameworks or path.parent == SOURCE / "integrations"


def functions(tree: ast.Module) -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Return each function with its name (``Class.method`` where it is one) and whether its first argument is self."""
    result = []
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                method = isinstance(node, ast.ClassDef)
                static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in child.decorator_list)
                name = f"{node.name}.{child.name}" if isinstance(node, ast.ClassDef) else child.name
                result.append((name, child, method and not static))
    return result


@by_file
def test_no_signature_has_too_many_parameters(path: Path) -> None:
    for name, function, method in functions(ast.parse(path.read_text(encoding="utf-8"))):
        arguments = function.args
        count = len([*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]) - method
        count += (arguments.vararg is not None) + (arguments.kwarg is not None)
        assert count <= MAX_PARAMETERS, f"{name} in {path} has {count} parameters"


@by_file
def test_no_class_has_too_many_methods(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
            names = {child.name for child in node.body if isinstance(child, kinds)}
            names = {name for name in names if not (name.startswith("__") and name.endswith("__"))}
            assert len(names) <= MAX_METHODS, f"{node.name} in {path} has {len(names)} methods"


def test_the_collection_is_a_short_module() -> None:
    assert len((SOURCE / "collection.py").read_text(encoding="utf-8").splitlines()) <= 350


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_loads_no_model_index_or_reader() -> None:
    heavy = run(
        "import commonplace, sys\nfor name in commonplace.__all__: getattr(commonplace, name)\n"
        "print(*(m for m in ('openvino', 'faiss', 'PIL', 'tokenizers', 'pypdfium2', 'torch', 'tqdm', 'sentencex', "
        "'matplotlib', 'openai', 'typing_extensions') if m in sys.modules))"
    )
    assert heavy.split() == []


def test_help_loads_no_collection() -> None:
    loaded = run(
        "import sys\nfrom commonplace.cli import main\n"
        "try:\n main(['--help'])\nexcept SystemExit: pass\n"
        "print('LOADED', *(m for m in ('openvino', 'faiss', 'PIL', 'tokenizers', 'sqlite3', 'commonplace.collection')"
        " if m in sys.modules))"
    )
    assert loaded.splitlines()[-1].split() == ["LOADED"]


def test_public_names_are_those_listed() -> None:
    assert set(commonplace.__all__) == set(commonplace._HOMES) and commonplace.__all__ == sorted(
        commonplace.__all__, key=lambda name: (name[0].islower(), name)
    )
    for name in commonplace.__all__:
        assert getattr(commonplace, name) is not None and name in dir(commonplace)
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        commonplace.absent  # noqa: B018
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))  # what type checkers see
    names = [alias.asname or alias.name for node in ast.walk(typed) if isinstance(node, ast.ImportFrom)
             for alias in node.names]  # fmt: skip
    assert sorted(names) == sorted(commonplace.__all__)


@pytest.mark.parametrize("name", commonplace.__all__)
def test_each_public_name_has_a_docstring(name: str) -> None:
    value = getattr(commonplace, name)
    assert (value.__doc__ or "").strip() and not (value.__doc__ or "").startswith(f"{name}("), name
    if inspect.isclass(value) and value.__module__.startswith("commonplace"):
        for attribute, member in vars(value).items():
            if not attribute.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                assert inspect.getdoc(member), f"{name}.{attribute}"


def test_only_opening_and_maintenance_code_names_the_local_store() -> None:
    named = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if top(path) != "store" and "LocalStore" in path.read_text(encoding="utf-8")
    }
    assert named == {"places.py"}
