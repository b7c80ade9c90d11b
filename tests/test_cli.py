"""The command line as a user types it: real processes, exit codes, JSON as documented, help with examples."""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from commonplace.cli import VERBS, main
from commonplace.cli.printing import size


def run(*arguments: object, cwd: Path, ok: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "commonplace", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
    )
    assert (done.returncode == 0) is ok, done.stderr
    return done


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a collection in ``.commonplace``."""
    root = tmp_path_factory.mktemp("cli")
    (root / "papers").mkdir()
    (root / "papers" / "pumps.md").write_text("# Pumps\n\nThe north pump needs the blue seal.\n", encoding="utf-8")
    (root / "papers" / "bad.pdf").write_bytes(b"%PDF-1.4 nothing")
    Image.new("RGB", (64, 64), "red").save(root / "papers" / "red.png")
    done = run("add", "papers", cwd=root)
    assert done.stdout.startswith("2 added") and "bad.pdf" in done.stderr
    return root


def test_add_prints_progress_lines_in_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(70):  # more than one batch
        (tmp_path / "in" / f"{number}.md").write_text(f"# Pump {number}\n\nThe pump needs seal {number}.\n")
    monkeypatch.setattr("commonplace.indexer.EVERY", 0.0)
    assert main(["--collection", str(tmp_path / "kb"), "add", str(tmp_path / "in")]) == 0
    shown = capsys.readouterr()
    *lines, last = shown.err.splitlines()
    counts = [int(line.removesuffix(" of 70 files")) for line in (*lines, last)]
    assert counts == sorted(counts) and len(counts) > 1 and counts[-1] <= 70 and shown.out == "70 added\n"
    assert not logging.getLogger("commonplace.progress").handlers  # a later command writes to its own standard error


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 kB"), (4_321, "4 kB"), (1_250_000, "1.2 MB"), (3 * 10**9, "3.0 GB")]
)
def test_sizes_have_readable_units(count: int, shown: str) -> None:
    assert size(count) == shown


def test_a_bare_question_is_searched(place: Path) -> None:
    out = run("blue seal", cwd=place).stdout
    assert "papers/pumps.md" in out.splitlines()[0] and "blue seal" in out
    assert run("blue", "seal", cwd=place).stdout == out
    assert run("--collection", ".commonplace", "blue seal", cwd=place).stdout == out
    assert run("blue seal", cwd=place.parent, COMMONPLACE_COLLECTION=str(place / ".commonplace")).stdout


def test_filters(place: Path) -> None:
    def paths(*filters: str) -> set[str]:
        ranked = json.loads(run("search", "blue seal", "--json", *filters, cwd=place).stdout)["hits"]
        return {Path(hit["path"]).name for hit in ranked}

    assert paths("--after", "2020") == paths("--where", "dated=file") == {"pumps.md", "red.png"}
    assert paths("--before", "2020-01") == set()
    assert paths("--where", "title=nothing", "--where", "Title=PUMP*") == {"pumps.md"}
    assert paths("--where", "title=Pumps", "--where", "dated=sent") == set()
    assert "no answer" not in run("ask", "Which seal?", "--where", "title=pumps", cwd=place).stdout
    for wrong, why in (
        (("--after", "soon"), "say a year"),
        (("--where", "title"), "KEY=VALUE"),
        (("--where", "=x"), "empty"),
    ):
        done = run("search", "seal", *wrong, cwd=place, ok=False)
        assert done.stderr.count("\n") == 1 and why in done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "commonplace", "chat", "--where", "title=none"], cwd=place, input="Which seal?\n",
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0 and "blue seal" not in done.stdout


def test_search_by_picture_and_by_both(place: Path) -> None:
    for words in ((), ("what", "is", "this")):
        first = run("search", *words, "--image", "papers/red.png", cwd=place).stdout.splitlines()[0]
        assert "red.png" in first and "image" in first
    (own,) = (line for line in run("search", "but in blue", "--image", "papers/red.png", cwd=place).stdout.splitlines()
              if "red.png" in line)  # fmt: skip
    assert "0.001" in own  # it was to be changed


def test_explain_shows_the_channels(place: Path) -> None:
    out = run("search", "blue seal", "--explain", cwd=place).stdout
    assert "words of its text" in out and "meaning of its text" in out and "log-odds" in out
    assert "prior odds" in out and "a probability of" in out
    others = run("search", "blue seal", "--explain", "--fusion", "rrf", cwd=place).stdout
    assert "words of its text" in others and "probability" not in others


def test_ask_shows_sources_and_its_json_resolves(place: Path) -> None:
    out = run("ask", "Which pump needs the blue seal?", cwd=place).stdout
    assert "[1]" in out and "papers/pumps.md" in out
    answer = json.loads(run("ask", "Which pump needs the blue seal?", "--json", cwd=place).stdout)
    numbers = {citation["number"] for citation in answer["citations"]}
    assert {n for block in answer["blocks"] for n in block["citations"]} == numbers != set()


def test_ask_with_a_language_model(place: Path, tmp_path: Path, liar: str) -> None:
    question = ["ask", "Which seal does the north pump need?"]
    done = run(*question, "--llm", "openai:honest", "--base-url", liar, "--html", tmp_path / "a.html", cwd=place)
    assert done.stdout.splitlines()[0] == "The north pump needs the blue seal. [1]" and "papers/pumps.md" in done.stdout
    assert "honest at 127.0.0.1" in done.stderr and "source-1" in (tmp_path / "a.html").read_text()
    done = run(*question, cwd=place, COMMONPLACE_LLM="openai:invents", COMMONPLACE_LLM_BASE_URL=liar)
    assert "1847" in done.stdout and "(unsupported: " in done.stdout
    settings = place / ".commonplace" / "commonplace.toml"
    settings.write_text(f'[llm]\nmodel = "openai:500"\nbase_url = "{liar}"\nretries = 0\n')
    try:
        done = run(*question, cwd=place)
        assert "the blue seal. [1]" in done.stdout and "failed (500)" in done.stderr
        done = run(*question, "--no-fallback", cwd=place, ok=False)
        assert "failed (500)" in done.stderr and "Traceback" not in done.stderr and not done.stdout
        assert "[1]" in run(*question, "--llm", "none", cwd=place).stdout
        assert "blue seal. [1]" in run(*question, "--llm", "openai:breaks-off", cwd=place).stdout
    finally:
        settings.unlink()
    assert "must be an http" in run(*question, "--llm", "openai:x", "--base-url", "nowhere", cwd=place, ok=False).stderr
    assert "cannot be written" in run(*question, "--html", tmp_path / "no" / "a.html", cwd=place, ok=False).stderr
    for name, why in (
        ("papers/pumps.md", "is a document"),
        (".commonplace/collection.db", "belongs to the collection itself"),
    ):
        before = (place / name).read_bytes()
        assert why in run(*question, "--html", place / name, cwd=place, ok=False).stderr
        assert (place / name).read_bytes() == before


def test_an_answer_streams(place: Path, liar: str) -> None:
    command = [sys.executable, "-m", "commonplace", "ask", "Which seal?", "--llm", "openai:slow-lines"]
    with subprocess.Popen([*command, "--base-url", liar], cwd=place, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert "blue seal" in running.stdout.readline()
        first = time.monotonic()
        running.stdout.read()
        assert time.monotonic() - first > 0.5  # the first sentence was printed long before the last


def test_chat_is_a_conversation(place: Path) -> None:
    lines = ["Which seal does the north pump need?", "", "what about its colour?", "/image absent.png", "and this?"]
    lines += ["/image papers/red.png", "and this?", "/quit"]
    done = subprocess.run(
        [sys.executable, "-m", "commonplace", "chat"],
        cwd=place,
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and done.stdout.count("The north pump needs the blue seal.") >= 2
    assert "searched for: what about its colour? (" in done.stderr and "absent.png is no file" in done.stderr


def test_list_and_status(place: Path) -> None:
    documents = json.loads(run("list", "--json", cwd=place).stdout)["documents"]
    assert {Path(document["path"]).name for document in documents} == {"pumps.md", "bad.pdf", "red.png"}
    assert all(
        set(document) == {"id", "path", "media_type", "status", "items", "error", "title", "metadata"}
        for document in documents
    )
    (failed,) = json.loads(run("list", "--failed", "--json", cwd=place).stdout)["documents"]
    assert failed["path"].endswith("bad.pdf") and failed["status"] == "failed" and failed["error"]
    assert "bad.pdf" in run("list", "--failed", cwd=place).stdout
    status = json.loads(run("status", "--json", cwd=place).stdout)
    assert status["documents"] == {"failed": 1, "ok": 2}
    assert re.search(r"\.commonplace  [1-9]\d* kB$", run("status", cwd=place).stdout, re.MULTILINE)


def test_eval_measures_compares_and_draws(place: Path) -> None:
    questions = [
        {"id": "seal", "text": "Which seal does the north pump need?", "relevant": {"papers/pumps.md": 1}},
        {"id": "red", "image": "papers/red.png", "relevant": {"papers/red.png": 1}},
    ]
    (place / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)), encoding="utf-8")
    out = run("eval", "questions.jsonl", "-k", 3, "--json", "run.json", "--plots", "plots", cwd=place).stdout
    assert "recall@3" in out and "text->text" in out and "image->image" in out
    assert (place / "plots" / "recall.svg").exists()
    again = run("eval", "questions.jsonl", "-k", 3, "--fusion", "rrf", "--compare", "run.json", cwd=place).stdout
    assert "change" in again
    (place / "wrong.jsonl").write_text('{"text": "x", "relevant": {"absent.md": 1}}', encoding="utf-8")
    assert "absent.md" in run("eval", "wrong.jsonl", cwd=place, ok=False).stderr


def test_errors_are_one_line_and_say_what_to_do(place: Path, tmp_path: Path) -> None:
    cases: list[tuple[list[Any], Path, str]] = [
        (["search", "x"], tmp_path, "there is no collection"),
        (["remove", "absent.txt"], place, "no document"),
        (["remove"], place, "nothing to remove"),
        (["search", " "], place, "the query is empty"),
        (["search", "--image", "absent.png"], place, "no picture"),
        (["search", "--image", "papers/bad.pdf"], place, "bad.pdf"),
        (["--model", tmp_path, "search", "x"], place, "no model bundle"),
        (["add", "absent"], place, "absent"),
    ]
    for arguments, cwd, expected in cases:
        done = run(*arguments, cwd=cwd, ok=False)
        assert expected in done.stderr and "Traceback" not in done.stderr, done.stderr
        assert len([line for line in done.stderr.splitlines() if line.startswith("commonplace:")]) <= 1


def test_documents_cannot_control_the_terminal(place: Path, tmp_path: Path) -> None:
    evil = "The gauge \x1b[31mreads\x07 nine bar \x1b]0;owned\x07 today. " + "It is a calm day at sea. " * 30
    (tmp_path / "evil.txt").write_text(evil, encoding="utf-8")
    run("add", "evil.txt", cwd=tmp_path)
    for arguments in (["search", "gauge"], ["ask", "What does the gauge read?"], ["list"]):
        out = run(*arguments, cwd=tmp_path).stdout
        assert "\x1b" not in out and "\x07" not in out


def test_unusual_file_names_are_added_and_printed(tmp_path: Path) -> None:
    odd = [b"new\nline.txt", "emoji \U0001f600.txt".encode(), b"latin-\xe9.txt", b"-dash.txt", b"[x]*?.txt"]
    (tmp_path / "odd").mkdir()
    for name in odd:
        path = os.path.join(os.fsencode(tmp_path / "odd"), name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"The gauge reads nine bar. Number {odd.index(name)}.")
    assert run("add", "odd", cwd=tmp_path).stdout.startswith(f"{len(odd)} added")
    hits = json.loads(run("search", "gauge", "--json", cwd=tmp_path).stdout)["hits"]
    assert {os.fsencode(os.path.basename(hit["path"])) for hit in hits} == set(odd)
    run("search", "gauge", cwd=tmp_path)
    assert run("add", "odd", cwd=tmp_path).stdout.startswith(f"{len(odd)} unchanged")


def test_an_add_killed_at_any_moment_is_consistent_and_resumes(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for n in range(1200):
        (tmp_path / "docs" / f"{n}.txt").write_text(f"Document {n} speaks of topic {n * 7919 % 1000}.")
    command = [sys.executable, "-m", "commonplace", "add", "docs"]
    held = 0
    for seconds in (1.0, 1.7, 2.4):
        running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        running.kill()
        running.wait()
        if not (tmp_path / ".commonplace" / "collection.db").exists():
            continue
        database = sqlite3.connect(tmp_path / ".commonplace" / "collection.db")
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        counts = [database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("items", "views")]
        database.close()
        assert counts[0] == counts[1] >= held  # only complete documents, and no earlier document is lost
        held = counts[0]
    run("add", "docs", cwd=tmp_path)
    documents = json.loads(run("status", "--json", cwd=tmp_path).stdout)["documents"]
    assert documents == {"ok": 1200}


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example_that_parses(verb: str, tmp_path: Path) -> None:
    out = run(verb, "--help", cwd=tmp_path).stdout
    example = re.search(r"example:\n\s+(commonplace .+)", out)
    assert example and verb in example[1]


def test_help_and_version(tmp_path: Path) -> None:
    assert all(verb in run("--help", cwd=tmp_path).stdout for verb in VERBS)
    assert run("--version", cwd=tmp_path).stdout.startswith("commonplace 0.")


def test_line_widths_equal_terminal_columns() -> None:
    from commonplace.cli.printing import columns, fill

    chinese, english = "北边的水泵需要蓝色的密封圈。" * 20, "the north pump needs the blue seal " * 20
    for text in (chinese, english, f"{english}{chinese}", "x" * 500):
        lines = fill(text, "    ").splitlines()
        assert all(60 < columns(line) <= 100 for line in lines[:-1])
        assert "".join("".join(lines).split()) == "".join(text.split())
