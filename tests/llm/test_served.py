"""A real vision-language model behind a real server (`transformers serve`), and the same in this process.

Run by `make test-llm`, in a separate environment. The model is tiny and its weights are random, so the tests check the
connection and the processing, not what the model writes.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import commonplace as cp
from commonplace.errors import GeneratorError
from commonplace.generation import ModelGenerator
from commonplace.generation.model import ContextTooSmall, NoPictures
from tests.conftest import ROOT
from tests.test_docs import MODEL, PAGES, SERVER, blocks

pytest.importorskip("transformers", reason="run by make test-llm")
QUESTION = "Which seal does the north pump need?"
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."}]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.llm.model import make

    folder = tmp_path_factory.mktemp("tiny")
    make(folder)
    return folder


@pytest.fixture(scope="module")
def served(model: Path) -> Iterator[str]:
    """The address of the served model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(model)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"], env=environment
    ) as server:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except (urllib.error.URLError, OSError):
                assert server.poll() is None, "the server did not start"
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
        server.terminate()


@pytest.fixture(params=["server", "process"])
def generator(request: pytest.FixtureRequest, model: Path) -> ModelGenerator:
    if request.param == "process":
        return cp.TransformersGenerator(model, device="cpu", context=30_000, max_tokens=60)
    served = request.getfixturevalue("served")
    return cp.ChatGenerator(str(model), base_url=served, context=30_000, max_tokens=60, fallback=False)


@pytest.fixture
def kb(tmp_path: Path) -> Iterator[cp.Collection]:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "pumps.txt").write_text("The north pump needs the blue seal.", encoding="utf-8")
    Image.new("RGB", (300, 200), "blue").save(tmp_path / "docs" / "seal.png")
    with cp.open(tmp_path / "kb") as collection:
        collection.add(tmp_path / "docs")
        yield collection


def test_it_streams(generator: ModelGenerator) -> None:
    began = time.monotonic()
    times = []
    text = ""
    for piece in generator.write(ASKED, 60):
        if isinstance(piece, str):
            times.append(time.monotonic() - began)
            text += piece
    assert len(times) >= 3 and times[0] < times[-1] and text.strip()


def test_pictures_go_in_and_change_the_answer(generator: ModelGenerator) -> None:
    from commonplace.generation.prompt import _picture, _scaled

    answers = []
    for colour in ("white", "black"):
        picture = _picture(_scaled(Image.new("RGB", (200, 100), colour)))
        message = {"role": "user", "content": [{"type": "text", "text": "Look:"}, picture]}
        answers.append("".join(piece for piece in generator.write([ASKED[0], message], 20) if isinstance(piece, str)))
    assert all(answers) and generator.vision is not False


def test_the_whole_pipeline(kb: cp.Collection, generator: ModelGenerator) -> None:
    kb.generator = generator
    answer = kb.ask(QUESTION)
    assert answer.generator == generator.name and generator.vision is not False
    assert all(block.support != "supported" for block in answer.blocks if block.kind == "text")
    assert {n for block in answer.blocks for n in block.citations} <= {citation.number for citation in answer.citations}
    assert "<script" not in answer.html()


def test_it_can_be_stopped_and_asked_again(generator: ModelGenerator) -> None:
    began = time.monotonic()
    writing = generator.write(ASKED, 20_000)
    assert next(writing)
    writing.close()
    stopped = time.monotonic() - began
    assert any(isinstance(piece, str) for piece in generator.write(ASKED, 5))
    assert stopped < 60


def test_a_deadline_holds(model: Path, served: str) -> None:
    for generator in (
        cp.ChatGenerator(str(model), base_url=served, deadline=1.0),
        cp.TransformersGenerator(model, device="cpu", deadline=1.0),
    ):
        began = time.monotonic()
        with pytest.raises(GeneratorError, match=r"not done after 1|silent"):
            list(generator.write(ASKED, 20_000))
        assert time.monotonic() - began < 30


def test_a_looping_answer_is_stopped(kb: cp.Collection, generator: ModelGenerator) -> None:
    generator.max_tokens = 5000
    kb.generator = generator
    answer = kb.ask(QUESTION)
    assert any("repeated itself" in note or "cut off" in note or "more than" in note for note in answer.notes)


def test_broken_pictures_are_an_error_or_left_out(model: Path, served: str) -> None:
    bad = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AAAA"}}
    message = {"role": "user", "content": [{"type": "text", "text": "Look:"}, bad]}
    with pytest.raises(GeneratorError):
        list(cp.ChatGenerator(str(model), base_url=served, retries=0).write([message], 5))


def test_a_server_that_is_gone_leaves_the_extractive_answer(kb: cp.Collection, model: Path) -> None:
    kb.generator = cp.ChatGenerator(str(model), base_url="http://127.0.0.1:9/v1", retries=0)
    answer = kb.ask(QUESTION)
    assert answer.blocks[0].text == "The north pump needs the blue seal." and "no server" in answer.notes[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_documents_commands_work_with_it(page: Path, kb: cp.Collection, model: Path, served: str) -> None:
    place = kb.folder.parent
    kb.folder.rename(place / ".commonplace")
    commands = [
        command for block in blocks(page, "sh") for command in re.findall(r"^commonplace .*--llm .*$", block, re.M)
    ]
    for command in commands:
        words = shlex.split(command.replace(SERVER, served).replace(MODEL, str(model)), comments=True)
        done = subprocess.run(
            [sys.executable, "-m", "commonplace", *words[1:], "--no-fallback", "--max-tokens", "40"],
            cwd=place,
            capture_output=True,
            text=True,
            input="Which seal?\n",
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"


def test_errors_of_a_local_model(model: Path, tmp_path: Path) -> None:
    local = cp.TransformersGenerator(model, device="cpu")
    long = [{"role": "user", "content": "word " * 10_000}]
    with pytest.raises(ContextTooSmall):
        list(local.write(long, 10))
    with pytest.raises(GeneratorError, match="no model in"):
        cp.TransformersGenerator(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    (broken / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(GeneratorError, match="cannot be loaded"):
        list(cp.TransformersGenerator(broken).write(ASKED, 5))


def test_a_model_without_vision_gets_no_pictures(model: Path, tmp_path: Path, kb: cp.Collection) -> None:
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "words")
    AutoTokenizer.from_pretrained(model).save_pretrained(tmp_path / "words")
    local = cp.TransformersGenerator(tmp_path / "words", device="cpu", max_tokens=30, context=30_000)
    pictured = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]}]
    with pytest.raises(NoPictures):
        list(local.write(pictured, 5))
    assert any(isinstance(piece, str) for piece in local.write(ASKED, 20))
