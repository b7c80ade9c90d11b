"""What a program waits for before its first result: the modules that are imported for it, and no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import commonplace as cp
from commonplace.cli import VERBS, build_parser

SHOWS = ("cli", "display", "i18n", "positions")  # what a verb's help needs of the package


def loaded(code: str, *arguments: str) -> set[str]:
    """Return the modules that a program has imported when it ends, without those of the interpreter's own start."""
    report = "\nimport sys; print('LOADED', *sys.modules)"
    before = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    done = subprocess.run([sys.executable, "-c", code + report, *arguments], capture_output=True, text=True, check=True)
    return {*done.stdout.split("LOADED")[-1].split()} - {*before.stdout.split("LOADED")[-1].split()}


def command(*arguments: str) -> set[str]:
    """Return what the command imports."""
    code = "import sys\nfrom commonplace.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass"
    return loaded(code, *arguments)


def packages(names: set[str]) -> set[str]:
    """Return the packages of these modules that are not part of Python."""
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names


def test_importing_the_package_imports_nothing_else() -> None:
    names = loaded("import commonplace; dir(commonplace); commonplace.__all__")
    assert {name for name in names if name.startswith("commonplace")} == {"commonplace"}
    assert packages(names) == {"commonplace"}
    assert not names & {"asyncio", "inspect", "json", "logging", "pathlib", "sqlite3", "urllib"}


def test_a_star_import_gives_every_public_name() -> None:
    code = "from commonplace import *\nimport commonplace as c\nassert {*c.__all__} <= {*dir(c)} & {*globals()}"
    assert "commonplace.collection" in loaded(code)


@pytest.mark.parametrize("arguments", [("--help",), ("search", "--help"), ("serve", "--help"), ("--version",)])
def test_help_needs_the_parser_only(arguments: tuple[str, ...]) -> None:
    names = command(*arguments)
    assert packages(names) == {"commonplace"}
    assert {name.split(".")[1] for name in names if name.startswith("commonplace.")} == {*SHOWS}
    assert not names & {
        "asyncio",
        "dataclasses",
        "importlib.metadata",
        "inspect",
        "json",
        "logging",
        "pathlib",
        "socket",
    }
    modules = {name.split(".")[2] for name in names if name.startswith("commonplace.cli.")} - {
        "common",
        "parser",
        "printing",
    }
    assert modules == ({VERBS[arguments[0]]} if arguments[0] in VERBS else {*VERBS.values()})


def test_the_parser_of_one_verb_has_its_options_and_no_others() -> None:
    assert build_parser("search").parse_args(["search", "red", "-k", "3"]).k == 3
    with pytest.raises(SystemExit):
        build_parser("search").parse_args(["add", "notes.txt"])
    with pytest.raises(SystemExit):  # for `--help` the verbs are there without their options
        build_parser("--help").parse_args(["search", "red", "-k", "3"])
    assert build_parser().parse_args(["search", "red", "-k", "3"]).k == 3


def test_a_search_imports_no_index_generator_reader_or_server(tmp_path: Path) -> None:
    with cp.open(tmp_path / "kb") as kb:
        kb.add(cp.Record("The blue seal is at pump 3.", id="seal"), cp.Record("A red cart.", id="cart"))
    names = command("search", "blue seal", "--collection", str(tmp_path / "kb"))
    assert "commonplace.retrieval" in names and "openvino" in names
    parts = {name.split(".")[1] for name in names if name.startswith("commonplace.")}
    assert not parts & {"_answering", "_async", "copying", "evaluation", "generation", "indexer", "ingest"}
    assert not parts & {"committing", "distributed", "migrate", "pages", "readers", "records", "server", "training"}
    assert not {f"commonplace.store.milvus.{name}" for name in ("store", "connection", "searching")} & names
    needed = loaded("import numpy, openvino")
    assert packages(names) - packages(needed) == {"commonplace", "tokenizers"}
    assert not (names - needed) & {"asyncio", "difflib", "multiprocessing", "ssl", "tomllib"}


def test_an_answer_imports_no_model_client(tmp_path: Path) -> None:
    with cp.open(tmp_path / "kb") as kb:
        kb.add(cp.Record("The blue seal is at pump 3.", id="seal"))
    names = command("ask", "Where is the blue seal?", "--collection", str(tmp_path / "kb"))
    assert "commonplace.generation.extractive" in names
    assert not packages(names) & {"faiss", "openai", "PIL", "pypdfium2", "torch", "transformers"}
