"""Answers from a collection of real files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import commonplace as cp


def test_an_assigned_generator_outlives_an_add(kb: cp.Collection, folder: Path) -> None:
    class Mine:
        name = "mine"
        fallback = False

        def generate(self, request: object) -> Sequence[object]:
            return []

    kb.generator = Mine()  # type: ignore[assignment]
    (folder / "new.txt").write_text("Something new.", encoding="utf-8")
    kb.add(folder)
    assert kb.generator.name == "mine"
    kb.generator = None  # type: ignore[assignment]
    assert kb.generator.name == "extractive"


def test_an_empty_collection_abstains(tmp_path: Path) -> None:
    with cp.open(tmp_path / "kb") as kb:
        assert kb.search("anything") == []
        answer = kb.ask("anything?")
        assert answer.abstained and "Nothing was found" in (answer.reason or "")


def test_answers_quote_the_text_of_their_span(kb: cp.Collection, folder: Path) -> None:
    answer = kb.ask("Which pump needs the blue seal?")
    assert not answer.abstained
    assert any("north pump needs the blue seal" in block.text for block in answer.blocks)
    for block in answer.blocks:
        for number in block.citations:
            citation = answer.citation(number)
            assert citation.number == number
            if block.kind == "text":
                text = Path(citation.hit.item.document.path).read_text(encoding="utf-8")
                assert " ".join(text[citation.span.start : citation.span.end].split()) == citation.quote
    assert "[1]" in answer.markdown()
    json.dumps(answer.dict())


def test_an_answer_can_be_a_picture(kb: cp.Collection) -> None:
    answer = kb.ask("a red ball on white")
    pictures = [block for block in answer.blocks if block.kind == "image"]
    assert pictures and "red ball" in pictures[0].text
    shown = answer.citation(pictures[0].citations[0]).hit.image
    assert shown and Path(shown).exists()
    assert f"](<{shown}>)" in answer.markdown()


def test_an_answer_repeats_no_text_and_no_picture(kb: cp.Collection, folder: Path) -> None:
    shutil.copy(folder / "weather.txt", folder / "copy.txt")
    shutil.copy(folder / "pumps.md", folder / "again.md")
    kb.add(folder)
    for question in ("When did the snow fall?", "a red ball on white"):
        blocks = kb.ask(question).blocks
        assert blocks and len({block.text for block in blocks}) == len(blocks)


def test_an_answer_invents_nothing(kb: cp.Collection) -> None:
    answer = kb.ask("Who won the chess championship in 1972?")
    assert answer.abstained and answer.reason and answer.blocks == () and answer.citations == ()


def test_a_code_in_the_question_must_be_in_the_answer(tmp_path: Path) -> None:
    (tmp_path / "errors.md").write_text(
        "# Errors\n\n## 0x80370102\n\nThe virtual machine could not be started.\n\n"
        "## 0x8000FFFF\n\nThe error means an unexpected failure of the machine.\n",
        encoding="utf-8",
    )
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path / "errors.md")
        answer = kb.ask("What does error 0x80370102 mean?")
        assert [block.text for block in answer.blocks] == ["The virtual machine could not be started."]
        assert kb.ask("What does error 0x80999999 mean?").abstained


def test_document_text_is_escaped_in_markdown(tmp_path: Path) -> None:
    evil = "The gauge reads ![x](http://evil.example/p.png) and <script>alert(1)</script> nine bar."
    (tmp_path / "evil.txt").write_text(evil, encoding="utf-8")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path / "evil.txt")
        shown = kb.ask("What does the gauge read?").markdown()
    assert "nine bar" in shown
    assert "![x]" not in shown and "<script>" not in shown
