"""The JSON output of the command conforms to the package's schemas, and the schemas refuse other values."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry, Resource

import commonplace as cp
from commonplace.cli import main
from tests.collection.common import draw

SCHEMAS = {
    path.name: json.loads(path.read_text(encoding="utf-8"))
    for path in (Path(cp.__file__).parent / "schemas").glob("*.json")
}
REGISTRY = Registry().with_resources([(name, Resource.from_contents(schema)) for name, schema in SCHEMAS.items()])


def check(name: str, value: Any) -> None:
    """Raise ValidationError if a value does not conform to the schema of that name."""
    Draft202012Validator(SCHEMAS[f"{name}.json"], registry=REGISTRY).validate(value)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a collection of a page, a picture and a file that cannot be read."""
    root = tmp_path_factory.mktemp("schemas")
    (root / "docs").mkdir()
    (root / "docs" / "pumps.md").write_text("# Pumps\n\nThe north pump needs the blue seal.\n\n```\nx = 1\n```\n")
    (root / "docs" / "bad.pdf").write_bytes(b"%PDF-1.4 nothing")
    draw(root / "docs" / "ball.png", "red")
    with cp.open(root / "kb") as kb:
        kb.add(root / "docs", workers=1, progress=False)
    return root


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[Any]]:
    def call(*arguments: object) -> list[Any]:
        main(["--collection", str(place / "kb"), *map(str, arguments)])
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return call


def test_the_schemas_are_valid() -> None:
    assert SCHEMAS.keys() == {"hit.json", "search.json", "answer.json", "list.json", "read.json"}
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


def test_search(run: Callable[..., list[Any]], place: Path) -> None:
    (ranked,) = run("search", "blue", "seal", "--image", place / "docs" / "ball.png", "--json")
    check("search", ranked)
    assert {hit["modality"] for hit in ranked["hits"]} == {"text", "image"}
    for hit in ranked["hits"]:
        odds = math.fsum(line["contribution"] for line in hit["breakdown"])
        assert 1 / (1 + math.exp(-odds)) == pytest.approx(hit["score"], abs=1e-12) and hit["score"] == hit["confidence"]
    for harm in ({"span": {"page": 0}}, {"score": 1.5}, {"breakdown": []}, {"modality": 3}, {"path": None}):
        wrong = copy.deepcopy(ranked)
        wrong["hits"][0].update(harm)
        with pytest.raises(ValidationError):
            check("search", wrong)
    wrong = copy.deepcopy(ranked)
    del wrong["hits"][0]["title"]
    with pytest.raises(ValidationError):
        check("search", wrong)


@pytest.mark.parametrize("question", ["Which pump needs the blue seal?", "Show me a red ball", "Who won in 1972?"])
def test_answer(run: Callable[..., list[Any]], question: str) -> None:
    (answer,) = run("ask", question, "--json")
    check("answer", answer)
    assert answer["abstained"] == (question == "Who won in 1972?")
    cited = {citation["id"] for citation in answer["citations"]}
    related = [hit["id"] for hit in answer["related"]]
    assert not cited & set(related) and len(related) + len(cited) == len(run("search", question, "--json")[0]["hits"])
    with pytest.raises(ValidationError):
        check("answer", {**answer, "abstained": not answer["abstained"]})


def test_list_and_read(run: Callable[..., list[Any]], place: Path) -> None:
    (listed,) = run("list", "--json")
    check("list", listed)
    assert [document["status"] for document in listed["documents"]] == ["failed", "ok", "ok"]
    files = [document["path"] for document in listed["documents"]]
    lines = run("read", *files, "--json")
    for line in lines:
        check("read", line)
    assert [line["path"] for line in lines] == files
    assert [line["status"] for line in lines] == ["failed", "ok", "ok"]
    with pytest.raises(ValidationError):
        check("read", {**lines[0], "status": "fine"})


def test_a_span_of_a_video_counts_seconds() -> None:
    check("read", {"path": "a.mp4", "status": "ok", "error": None, "items": [
        {"modality": "video", "text": None, "title": None, "span": cp.Span(begin=1.5, finish=4.0).dict()}
    ]})  # fmt: skip
