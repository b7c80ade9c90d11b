"""The documentation is correct: its commands and Python code run, and its links have existing targets."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

import commonplace
from commonplace.cli import main
from tests.conftest import ROOT
from tests.encoders.server import hub
from tests.readers.make_sound import note, sound
from tests.readers.make_video import scene, video
from tests.readers.make_whisper import whisper

EXTENDING = {
    "add-a-reader.md",
    "add-an-encoder.md",
    "add-a-store.md",
}  # tests/readers, tests/test_channels.py, tests/store
# tests/evaluation/test_docs.py, tests/training/test_docs.py, tests/ingest/test_ray.py, tests/server/test_docs.py,
# tests/integrations/test_docs.py
OWN_TESTS = {"evaluate.md", "train.md", "ray.md", "http-api.md", "frameworks.md"}
GUIDES = [page for page in sorted((ROOT / "docs" / "how-to").glob("*.md")) if not page.name.endswith(".zh.md")]
"""The guides in English. Those in Chinese have the same commands and code, so these need not run twice."""
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("tutorial*.md"))] + [
    page for page in GUIDES if page.name not in EXTENDING | OWN_TESTS
]
SERVER, MODEL = "http://localhost:8000/v1", "qwen3-vl"
OURS = re.compile(r"^commonplace .+$", re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


PULLED = {
    "clip": "Xenova/clip-vit-base-patch32",
    "bert": "Xenova/bge-small-zh-v1.5",
    "chinese_clip": "Xenova/chinese-clip-vit-base-patch16",
}
"""Tiny models by the repositories that the documents pull."""


@pytest.fixture
def models(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub on this machine with small versions of the models that the documents pull."""
    folder = tmp_path_factory.mktemp("hub")
    for kind, repo in PULLED.items():
        shutil.copytree(ROOT / "tests" / "encoders" / "tiny" / "models" / kind, folder / repo)
    monkeypatch.setenv("COMMONPLACE_HOME", str(tmp_path_factory.mktemp("home")))
    with hub(folder) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder of the documents' examples."""
    for name in ("papers", "photos/2019"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "papers" / "pumps.md").write_text("The north pump needs the blue seal.", encoding="utf-8")
    label = {"text": "Which seal does the north pump need?", "relevant": {"papers/pumps.md": 1}}
    labels = [json.dumps({"id": str(n), **label}) for n in range(10)]
    (tmp_path / "questions.jsonl").write_text("\n".join(labels), encoding="utf-8")
    for name, colour in (("dog.jpg", "brown"), ("2019/beach.jpg", "yellow")):
        image = Image.new("RGB", (120, 90), "white")
        ImageDraw.Draw(image).ellipse((20, 20, 100, 70), fill=colour)
        image.save(tmp_path / "photos" / name)
    (tmp_path / "films").mkdir()
    film = [*scene(1, 12), *scene(2, 12)]
    (tmp_path / "films" / "harbour.mp4").write_bytes(
        video(film, subtitles=[(0.1, 0.8, "The pump was repaired in March.")])
    )
    (tmp_path / "talks").mkdir()
    (tmp_path / "talks" / "talk.mp3").write_bytes(sound(note(440, 2), "mp3", tags={"title": "The harbour"}))
    (tmp_path / "talks" / "talk.srt").write_text("1\n00:00:00,500 --> 00:00:01,500\nThe pump was repaired.\n")
    return tmp_path


def commands(page: Path) -> list[str]:
    return [line for block in blocks(page, "sh") for line in OURS.findall(block)]


def python(page: Path) -> list[str]:
    return blocks(page, "python")


def run(*words: str) -> int:
    """Run a command in this process: a new one for each of a hundred commands would take minutes."""
    try:
        return main(words)
    except SystemExit as end:
        return int(end.code or 0)


def an_item(capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert run("search", "blue seal", "-k", "1", "--json") == 0
    return str(json.loads(capsys.readouterr().out)["hits"][0]["id"])


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
@pytest.mark.usefixtures("models")
def test_documented_commands_run(
    page: Path, place: Path, liar: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        if page.parent.name == "how-to":  # a guide to one thing starts from a collection
            assert run("add", "papers", "photos") == 0
        if page.name == "sound.md":
            whisper(place / "models" / "whisper-small", [(" Hello", 0.5), (".", 1.0)], 1.2)
        for command in commands(page):
            item = an_item(capsys) if "ITEM" in command else ""
            # The documents' server and model are ours here; tests/llm asks a real model.
            command = command.replace("ITEM", item).replace(SERVER, liar).replace(MODEL, "honest")
            status = run(*shlex.split(command, comments=True)[1:])
            errors = capsys.readouterr().err
            assert "gave no answer" not in errors, f"{command}: {errors}"
            assert status == 0, f"{command}: {errors}"


def test_the_command_itself_runs(place: Path) -> None:
    command = [sys.executable, "-m", "commonplace", "add", "papers"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    assert done.returncode == 0 and "1 added" in done.stdout, done.stderr


def test_the_documented_encoder_runs(place: Path) -> None:
    code = python(ROOT / "docs" / "how-to" / "add-an-encoder.md")[0]
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0 and "north pump" in done.stdout, done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if python(page)], ids=lambda page: page.name)
def test_documented_python_runs(page: Path, place: Path) -> None:
    for code in python(page):
        done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()  # each prints what it found


def without_comments(code: str) -> str:
    return re.sub(r"(^|\s+)# .*$", "", code, flags=re.MULTILINE)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_the_chinese_guide_has_the_commands_code_and_headings_of_the_english_one(page: Path) -> None:
    chinese = page.with_suffix(".zh.md")
    for language in ("sh", "python", "toml", "json"):
        codes = [[without_comments(code) for code in blocks(guide, language)] for guide in (page, chinese)]
        assert codes[0] == codes[1]
    headings = [
        re.findall(
            r"^(#+) ", re.sub(r"```.*?```", "", guide.read_text(encoding="utf-8"), flags=re.DOTALL), re.MULTILINE
        )
        for guide in (page, chinese)
    ]
    assert headings[0] == headings[1]


def test_links_have_existing_targets() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "models").glob("*.md"),
                 *(ROOT / "benchmarks").rglob("*.md")]:  # fmt: skip
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)[^)]*\)", text):
            if not target.startswith(("http", "#", "<")):
                assert (page.parent / target.split("#")[0]).exists(), f"{page.name} links to {target}"


def test_the_generated_reference_is_up_to_date() -> None:
    """The reference lists every command, flag and JSON field of the program."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "reference.py"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^::: commonplace\.(\w+)$", page, re.MULTILINE)) == set(commonplace.__all__)


def test_every_page_is_in_the_site() -> None:
    listed = set(re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert listed == pages


def test_the_demo_answers_from_the_folder_it_is_given(tmp_path: Path) -> None:
    """`make demo` does not print a fixed result: another folder gives another answer."""
    assert (ROOT / "examples" / "demo.py").exists()
    outputs = []
    for fact in ("This is a note about the lighthouse keeper of Skerry.", "This is a note about a bakery in Lyon."):
        folder = tmp_path / "docs"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "note.txt").write_text(fact, encoding="utf-8")
        command = [sys.executable, str(ROOT / "examples" / "demo.py"), str(folder), "--work", str(tmp_path / "work")]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert "lighthouse" in outputs[0] and "bakery" in outputs[1] and "lighthouse" not in outputs[1]
