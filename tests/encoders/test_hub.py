"""Pulling, over real HTTP, from a local hub that answers like the real one; never an incomplete bundle."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import commonplace as cp
from commonplace.encoders import Bundle, find, presets
from commonplace.encoders.hub import pull, remove
from commonplace.errors import ModelError, ModelMismatch
from tests.encoders.server import COMMIT, Hub, hub
from tests.encoders.test_convert import TINY

CLIP = "tiny-owner/clip"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the tiny models, and an empty folder for pulled models."""
    for kind in ("clip", "siglip", "roberta", "vit"):
        shutil.copytree(TINY / kind, tmp_path / "hub" / "tiny-owner" / kind)
    monkeypatch.setenv("COMMONPLACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with hub(tmp_path / "hub") as state:
        monkeypatch.setenv("HF_ENDPOINT", state.url)
        yield state


def left(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "models").iterdir()) if (home / "models").exists() else []


def test_a_repository_is_fetched_once_and_then_works_offline(served: Hub, tmp_path: Path) -> None:
    served.extra = {"pytorch_model.bin": b"pickle", "more.py": b"import os", "onnx/model_q4.onnx": b"other"}
    bundle = pull(CLIP)
    assert bundle.folder == tmp_path / "home" / "models" / "clip" == find("clip") == find(CLIP)
    assert bundle.spec["source"] == {"repo": CLIP, "revision": COMMIT}
    fetched = {path.rsplit("/", 1)[1] for method, path, _ in served.requests if "/resolve/" in path}
    assert {"text_model.onnx", "vision_model.onnx", "tokenizer.json", "config.json"} <= fetched
    assert not {"pytorch_model.bin", "more.py", "model_q4.onnx"} & fetched
    assert {path.suffix for path in bundle.folder.iterdir()} == {".onnx", ".json", ".npz"}
    served.down = True
    bundle.verify()
    assert Bundle(find("clip")).text.encode(["a dog"]).shape == (1, 12)  # type: ignore[union-attr]


def test_an_interruption_leaves_no_bundle_and_fetching_continues(
    served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)  # the tiny file must be larger than one piece
    served.cut = "vision_model.onnx"
    bundle = pull(CLIP)  # the library requests the rest by itself
    ranges = [span for method, path, span in served.requests if path.endswith("vision_model.onnx") and span]
    assert ranges and all(int(span.removeprefix("bytes=").removesuffix("-")) > 0 for span in ranges)
    bundle.verify()
    remove("clip")
    served.tamper = "vision_model.onnx"
    with pytest.raises(ModelError, match=r"vision_model\.onnx of tiny-owner/clip|could not be fetched"):
        pull(CLIP)
    assert "clip" not in left(tmp_path / "home")
    served.tamper, served.requests = "", []
    pull(CLIP).verify()
    again = {path.rsplit("/", 1)[1] for method, path, _ in served.requests if method == "GET" and "/resolve/" in path}
    assert "vision_model.onnx" in again and "text_model.onnx" not in again  # complete files are kept
    assert left(tmp_path / "home") in (["clip"], [".fetched", "clip"])


@pytest.mark.parametrize("name", ["../../evil.json", "/etc/evil", "a\\..\\b.json", "onnx/../../x.onnx"])
def test_a_path_outside_the_repository_is_refused(name: str, served: Hub, tmp_path: Path) -> None:
    served.extra = {name: b"{}"}
    with pytest.raises(ModelError, match="leads outside its folder"):
        pull(CLIP)
    assert left(tmp_path / "home") == []


def test_errors_of_fetching_are_one_line(served: Hub, tmp_path: Path) -> None:
    for what, words in (
        ("tiny-owner/none", "no repository tiny-owner/none"),
        ("no-such-name", "no model 'no-such-name'"),
        ("a/b/c", "no model"),
        ("../x", "no model"),
        ("", "no model|not a valid name"),
        ("minilm-lite0", "shipped"),
    ):
        with pytest.raises(ModelError, match=words) as caught:
            pull(what, name=None)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="no revision 'v9'"):
        pull(CLIP, revision="v9")
    with pytest.raises(ModelError, match="not a valid name"):
        pull(CLIP, name="../evil")
    (served.root / "tiny-owner" / "bare").mkdir()
    (served.root / "tiny-owner" / "bare" / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match="models export"):
        pull("tiny-owner/bare")
    served.down = True
    with pytest.raises(ModelError, match="HF_ENDPOINT"):
        pull("tiny-owner/siglip")
    assert [name for name in left(tmp_path / "home") if not name.startswith(".")] == []


def test_a_preset_gives_settings_that_its_repository_lacks(served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = presets.Preset("tiny-owner/bert", "text", 1, 16, "English", "none", "-", "-", pooling="cls", query="ask: ")
    shutil.copytree(TINY / "bert", served.root / "tiny-owner" / "bert")
    monkeypatch.setitem(presets.PRESETS, "tiny", preset)
    with pytest.raises(ModelError, match="models pull tiny"):
        find("tiny")
    text = pull("tiny").spec["towers"]["text"]
    assert (text["pooling"], text["prefix"]["query"]) == ("cls", "ask: ")
    assert find("tiny") == find("tiny-owner/bert")


def test_a_folder_can_be_pulled_and_a_name_is_not_used_twice(served: Hub, tmp_path: Path) -> None:
    folder = served.root / "tiny-owner" / "roberta"
    first = pull(str(folder), name="mine")
    assert first.spec["source"] == {"folder": str(folder)} and served.requests == []
    with pytest.raises(ModelError, match="name mine is used"):
        pull(CLIP, name="mine")
    copy = pull(str(first.folder), name="copied")  # a bundle is copied unchanged
    assert copy.fingerprint == first.fingerprint
    (first.folder / "text.onnx").write_bytes(b"") if (first.folder / "text.onnx").exists() else None
    graph = next(first.folder.glob("*.onnx"))
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="damaged"):
        pull(str(first.folder), name="third")
    remove("copied")
    with pytest.raises(ModelError, match="no model 'copied'"):
        find("copied")
    with pytest.raises(ModelError, match="no pulled model"):
        remove("copied")


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "commonplace", *arguments], cwd=place, capture_output=True, text=True, env=os.environ
    )


def test_from_the_command_line_to_a_search(served: Hub, tmp_path: Path) -> None:
    place = tmp_path / "place"
    (place / "photos").mkdir(parents=True)
    (place / "notes.md").write_text("The north pump needs the blue seal.\n\nA dog runs home in the snow.")
    for n, colour in enumerate(("red", "blue", "white")):
        Image.new("RGB", (64, 48), colour).save(place / "photos" / f"{n}.png")
    done = run(place, "models", "pull", CLIP)
    assert done.returncode == 0 and "--model clip" in done.stdout, done.stderr
    listed = json.loads(run(place, "models", "--json").stdout)
    assert listed["pulled"] == ["clip"] and len(listed["models"]) >= 12
    assert "clip" in run(place, "models").stdout
    added = run(place, "--model", "clip", "add", "notes.md", "photos")
    assert added.returncode == 0, added.stderr
    results = run(place, "--model", "clip", "search", "blue seal", "--json")
    assert results.returncode == 0 and json.loads(results.stdout)["hits"][0]["path"].endswith("notes.md")
    kinds = {channel["channel"] for hit in json.loads(results.stdout)["hits"] for channel in hit["breakdown"]}
    assert {"lexical", "text->text", "text->image"} <= kinds
    by_picture = run(place, "--model", "clip", "search", "--image", "photos/1.png", "--json")
    assert json.loads(by_picture.stdout)["hits"][0]["path"].endswith("1.png")
    assert run(place, "--model", "clip", "ask", "Which seal does the pump need?").returncode == 0
    without_model = run(place, "search", "blue seal", "--json")  # a collection remembers its model
    assert json.loads(without_model.stdout) == json.loads(results.stdout)
    other = run(place, "--model", "minilm-lite0", "search", "blue seal")
    assert other.returncode == 1 and "--model clip" in other.stderr and other.stderr.count("\n") == 1
    missing = run(place, "--model", "siglip2-base", "search", "x")
    assert missing.returncode == 1 and "models pull siglip2-base" in missing.stderr
    assert run(place, "models", "remove", "clip").returncode == 0
    assert "no model" in run(place, "--model", "clip", "search", "x").stderr


def test_a_model_with_one_tower_has_the_channels_of_that_tower(served: Hub, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The north pump needs the blue seal.")
    Image.new("RGB", (64, 48), "red").save(tmp_path / "b.png")
    pull("tiny-owner/roberta")
    with cp.open(tmp_path / "texts", model="roberta") as kb:
        assert kb.space.partitions == ("text",)
        assert kb.add(tmp_path / "a.txt", tmp_path / "b.png", progress=False).added == 2
        hits = kb.search("blue seal")
        assert {channel.channel for hit in hits for channel in hit.breakdown} >= {"lexical", "text->text"}
        by_picture = kb.search(image=tmp_path / "b.png")
        assert not by_picture and "no image tower" in by_picture.notes[0]
        assert "no image tower" in kb.ask("blue seal", image=tmp_path / "b.png").notes[0]
    pull("tiny-owner/vit")
    with cp.open(tmp_path / "pictures", model="vit") as kb:
        assert kb.space.partitions == ("image",)
        assert kb.add(tmp_path / "a.txt", tmp_path / "b.png", progress=False).added == 2
        assert [hit.item.modality for hit in kb.search(image=tmp_path / "b.png")] == ["image"]
        hits = kb.search("blue seal")
        assert hits[0].item.modality == "text" and "cannot encode words" in hits.notes[0]
        assert kb.ask("Which seal does the north pump need?").blocks


def test_two_towers_for_text_each_with_its_own_partition(served: Hub, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The north pump needs the blue seal.")
    Image.new("RGB", (64, 48), "red").save(tmp_path / "b.png")
    for name in ("roberta", "clip", "vit"):
        pull(f"tiny-owner/{name}")
    both = "text=roberta,image=clip"
    with cp.open(tmp_path / "kb", model=both) as kb:
        assert kb.space.partitions == ("text", "image", "text_crossmodal") and kb.space.dim == 16
        kb.add(tmp_path / "a.txt", tmp_path / "b.png", progress=False)
        hits = kb.search("blue seal", image=tmp_path / "b.png")
        assert {channel.channel for hit in hits for channel in hit.breakdown} >= {
            "lexical", "text->text", "text->image", "image->image", "image->text",
        }  # fmt: skip
        clip, roberta = kb.space.bundle, kb.space.words
        assert clip.text and clip.image and roberta and roberta.text
        line = {(hit.item.modality, channel.channel): channel.score for hit in hits for channel in hit.breakdown}
        pixels = clip.image.encode([np.asarray(Image.open(tmp_path / "b.png"))])[0]
        text = "The north pump needs the blue seal."
        (query,), _ = roberta.without_shortness(roberta.text.encode(["blue seal"], "query"))
        assert line["text", "text->text"] == pytest.approx(float(query @ roberta.text.encode([text])[0]), abs=0.02)
        offset = kb.space.offset("text_crossmodal", np.pad(clip.text.encode([text]), ((0, 0), (0, 4))))
        expected = float(pixels @ clip.text.encode([text])[0]) - (0.0 if offset is None else float(offset[0]))
        assert line["text", "image->text"] == pytest.approx(expected, abs=0.02)
        assert kb.ask("Which seal does the pump need?")
        with pytest.raises(cp.QueryError, match="two spaces"):
            kb.search("x", ranking=cp.Ranking(views="fused"))
    for other in ("text=clip,image=roberta", "text=vit,image=clip", "text=clip", "image=clip,text=clip,text=vit,x=y"):
        with pytest.raises(ModelError):
            cp.open(tmp_path / "other", model=other)
    for single in ("roberta", "clip", "text=clip,image=clip"):
        with pytest.raises(ModelMismatch, match="text=roberta,image=clip"):
            cp.open(tmp_path / "kb", model=single)
    with cp.open(tmp_path / "unaligned", model="text=roberta,image=vit") as kb:
        kb.add(tmp_path / "a.txt", tmp_path / "b.png", progress=False)
        hits = kb.search("blue seal", image=tmp_path / "b.png")
        channels: Any = {channel.channel for hit in hits for channel in hit.breakdown}
        assert {"text->text", "image->image"} <= channels and not {"text->image", "image->text"} & channels
        assert "cannot compare" in hits.notes[0]


def test_only_a_model_and_nothing_else_is_replaced(tmp_path: Path) -> None:
    from commonplace.encoders.hub import replaceable

    replaceable(tmp_path / "absent")
    model = tmp_path / "model"
    model.mkdir()
    replaceable(model)
    (model / "bundle.json").write_text('{"entries": ["app.js"]}')
    with pytest.raises(cp.ModelError, match="exists and is not a model"):
        replaceable(model)
    (model / "bundle.json").write_text('{"towers": {"text": {}}, "checksums": {"a.onnx": "0"}}')
    (model / "a.onnx").write_bytes(b"")
    replaceable(model)
    (model / "thesis.tex").write_text("mine")
    with pytest.raises(cp.ModelError, match=r"thesis\.tex"):
        replaceable(model)
    (tmp_path / "link").symlink_to(model)
    with pytest.raises(cp.ModelError, match="is a symbolic link"):
        replaceable(tmp_path / "link")
    with pytest.raises(cp.ModelError, match="cannot hold a model"):
        replaceable(tmp_path / ("x" * 300))
