"""What the command says of documents: missing collections, mistyped verbs, filters, lists and removals."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

import commonplace as cp
from commonplace.cli import main
from tests.tiny import tiny_bundle

Shown = tuple[int, str, str]
"""The exit status, and what the command wrote on standard output and standard error."""


@pytest.fixture
def run(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Shown]:
    """Run the command in an empty folder, with a small model."""
    model = tmp_path_factory.mktemp("models") / "tiny"
    monkeypatch.setenv("COMMONPLACE_MODEL", str(tiny_bundle(model)))
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments: str) -> Shown:
        status = main(arguments)
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run_command


@pytest.fixture
def full(run: Callable[..., Shown], tmp_path: Path) -> Callable[..., Shown]:
    """Run the command in a folder with a collection of five documents."""
    for name in ("new/d.md", "old/a.md", "old/b.txt", "old/deep/c.md", "odd[1].md"):
        path = tmp_path / "notes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"The valve of {path.stem} is made of brass.")
    assert run("add", "notes")[0] == 0
    return run


@pytest.mark.parametrize("verb", ["search cat", "ask cat", "list", "status", "remove x", "show x", "chat"])
def test_a_verb_without_a_collection_makes_nothing(run: Callable[..., Shown], tmp_path: Path, verb: str) -> None:
    status, out, err = run(*verb.split())
    assert (status, out) == (1, "") and err.count("\n") == 1 and "commonplace add PATH" in err
    assert not list(tmp_path.iterdir())


def test_adding_what_is_not_there_makes_nothing(run: Callable[..., Shown], tmp_path: Path) -> None:
    status, out, err = run("add", "absent", "gone/x.pdf", "")
    assert (status, out) == (1, "3 failed\n") and "absent: no such file" in err and "x.pdf: no such file" in err
    status, out, _ = run("add", "absent", "--json")
    assert status == 1 and json.loads(out)["failed"][0]["path"] == str(tmp_path / "absent")
    assert not list(tmp_path.iterdir())
    (tmp_path / "there.txt").write_text("The valve is made of brass.")
    status, out, err = run("add", "absent", "there.txt")
    assert (status, out) == (0, "1 added, 1 failed\n") and "absent: no such file" in err


def test_a_mistyped_verb_is_searched_with_a_hint(full: Callable[..., Shown]) -> None:
    for words, verb in (("serch brass", "search"), ("lsit", "list"), ("statu", "status"), ("aks brass", "ask")):
        status, _, err = full(*words.split())
        assert status == 0 and f"did you mean `commonplace {verb}`?" in err, words
    for words in ("brass valve", "cat", "task", "snow"):
        assert "did you mean" not in full(*words.split())[2], words
    Path("notes/serch.md").write_text("A serch is a word of its own.")
    full("add", "notes")
    assert "did you mean" not in full("serch", "word")[2]  # the documents know the word


def test_filters_that_no_document_matches_are_named(full: Callable[..., Shown]) -> None:
    cases = {
        "--path absent": ["the filter path=absent"],
        "--after 2090": ["the filter after=2090"],
        "--where author=x": ["no document has the key 'author'"],
        "--where dated=never --modality image": ["the filter modality=image", "such a value under the key 'dated'"],
        "--path d.md --media-type text/plain": ["all filters together"],
    }
    for filters, notes in cases.items():
        status, out, err = full("search", "brass", *filters.split())
        assert (status, out) == (0, "nothing found\n")
        assert [line for line, note in zip(err.splitlines(), notes, strict=True) if note not in line] == []
        found = json.loads(full("search", "brass", "--json", *filters.split())[1])
        assert found["hits"] == [] and len(found["notes"]) == len(notes)
    assert "path=absent" in full("ask", "Which valve is of brass?", "--path", "absent")[2]
    assert full("search", "brass", "--path", "d.md")[2] == ""
    full("remove", "notes")
    assert "no documents yet" in full("search", "brass")[2] and "no documents yet" in full("list")[2]


def test_lists_and_removals_take_folders_and_patterns(full: Callable[..., Shown]) -> None:
    def listed(*names: str) -> list[str]:
        _, out, _ = full("list", *names)
        head, *rows = out.splitlines()
        assert re.fullmatch(r"id +status +items +type +path", head)
        return [row.split()[-1].removeprefix("notes/") for row in rows]

    assert len(listed()) == 5
    assert listed("notes/old") == listed("notes/o?d") == ["old/a.md", "old/b.txt", "old/deep/c.md"]
    assert listed("notes/old/*.md") == ["old/a.md"]  # as a shell reads it, * stays in the folder
    assert listed("notes/**/?.md") == ["new/d.md", "old/a.md", "old/deep/c.md"]
    assert listed(str(Path("notes").absolute() / "n*" / "*.md"), "notes/old/b.txt") == ["new/d.md", "old/b.txt"]
    assert listed("notes/odd[1].md") == ["odd[1].md"]  # a name goes before a pattern
    assert json.loads(full("list", "notes/new", "--json")[1])["documents"][0]["path"].endswith("notes/new/d.md")
    for verb in ("list", "remove"):
        status, _, err = full(verb, "notes/*.pdf")
        assert status == 1 and "no document of this collection is notes/*.pdf" in err

    status, out, _ = full("remove", "notes/old/*", "--dry-run")
    assert status == 0 and out.endswith("would remove 3 documents\n") and "old/deep/c.md" in out
    assert len(listed()) == 5
    assert full("remove", "notes/old/*.md") == (0, "removed 1 document\n", "")
    Path("notes/new/d.md").unlink()
    assert "new/d.md" in full("remove", "--missing", "--dry-run")[1] and len(listed()) == 4
    with cp.open(".commonplace") as kb:
        assert [Path(document.path).name for document in kb.documents(missing=True)] == ["d.md"]


def test_an_answer_is_written_from_k_hits(full: Callable[..., Shown]) -> None:
    answer = json.loads(full("ask", "Which valve is made of brass?", "-k", "2", "--json")[1])
    assert len({hit["id"] for hit in (*answer["citations"], *answer["related"])}) == 2


def test_both_unicode_forms_name_a_file(run: Callable[..., Shown], tmp_path: Path) -> None:
    composed, decomposed = "Prüfung/Zürich.txt", unicodedata.normalize("NFD", "Prüfung/Zürich.txt")
    for kept, given in ((composed, decomposed), (decomposed, composed)):
        path = tmp_path / kept
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("The valve is made of brass.")
        assert run("add", kept)[0] == 0
        for verb in (("show", given), ("list", given), ("search", "valve", "--path", given), ("list", f"{given[:4]}*")):
            assert "rich.txt" in run(*verb)[1], verb
        path.unlink()
        name = str(Path(given).parent)
        assert "rich.txt" in run("search", "valve", "--path", name)[1]
        assert "brass" not in run("search", "zurich.txt valve", "--path", "elsewhere")[1]
        assert run("remove", given)[0] == 0
        assert "rich.txt" not in run("list")[1]
