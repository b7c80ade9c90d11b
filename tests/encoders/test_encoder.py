"""One contract for three kinds of encoders (ONNX bundles, servers, Python objects); collections with own encoders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import commonplace as cp
from commonplace.encoders import DEFAULT_BUNDLE, Bundle, PythonEncoder
from commonplace.encoders.base import CAPTION_POWER, BaseModel, small_products
from commonplace.encoders.hub import pull_remote
from commonplace.errors import ModelError, ModelMismatch
from commonplace.migrate import migrate
from tests.encoders.contract import check_encoder, check_failure
from tests.encoders.test_remote import Server, server  # noqa: F401  # the fixture
from tests.encoders.toys import DIM, Colours, Words
from tests.tiny import tiny_bundle

TEXTS = ["a red door", "", "The north pump needs the blue seal.", "green " * 400, "北边的水泵", "two\nlines"]
PICTURES = [np.full((40, 60, 3), colour, np.uint8) for colour in ((250, 0, 0), (0, 250, 0), (20, 40, 250), (9, 9, 9))]


@pytest.mark.parametrize("name", ["text", "image", "visual"])
def test_the_encoders_of_the_shipped_bundle_keep_the_contract(name: str) -> None:
    noise = [np.random.default_rng(n).integers(0, 255, (50 + n, 60, 3), np.uint8) for n in range(3)]
    check_encoder(lambda: Bundle().encoders[name], TEXTS if name == "text" else [*PICTURES, *noise])


@pytest.mark.parametrize("name", ["text", "image"])
def test_the_encoders_of_another_bundle_keep_the_contract(name: str, tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "tiny")
    check_encoder(lambda: Bundle(folder).encoders[name], TEXTS[2:4] if name == "text" else PICTURES)
    assert Bundle(folder).encoders[name].fingerprint != Bundle(DEFAULT_BUNDLE).encoders[name].fingerprint


def test_a_broken_file_fails_in_one_line(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "tiny")
    (folder / "text.onnx").write_bytes(b"no graph")
    assert "text.onnx" in check_failure(Bundle(folder).encoders["text"], ["a"])


def test_an_encoder_behind_a_server_keeps_the_contract(server: Server) -> None:  # noqa: F811
    bundle = pull_remote("words", server.url)
    check_encoder(lambda: Bundle(bundle.folder).encoders["text"], [text for text in TEXTS if text])
    server.statuses = [403]
    assert server.url in check_failure(bundle.encoders["text"], ["a"])


@pytest.mark.parametrize("name", ["text", "image"])
def test_wrapped_python_objects_keep_the_contract(name: str) -> None:
    model = cp.Model(text=Words(), image=Colours(), name="toy")
    check_encoder(lambda: model.encoders[name], TEXTS if name == "text" else PICTURES, tolerance=1e-6)


def test_the_contract_refuses_an_unwrapped_object() -> None:
    class Batched(Words):  # centres each batch: a vector depends on its neighbours
        def encode(self, texts: Sequence[str], role: str = "document") -> np.ndarray:
            rows = super().encode(texts, role)
            return rows - rows.mean(axis=0)

    for wrong in (Words, lambda: PythonEncoder(Batched(), "batched")):  # the first returns float64 rows of any length
        with pytest.raises(AssertionError):
            check_encoder(wrong, TEXTS)


class Broken:
    dim = 4
    fingerprint = "broken"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def encode(self, views: Sequence[Any], role: str = "document") -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [RuntimeError("no\nmemory"), np.ones((3, 4)), np.ones((2, 5)), None, "rows"])
def test_an_object_that_fails_is_named_in_one_line(answer: Any) -> None:
    assert "text encoder of mine" in check_failure(PythonEncoder(Broken(answer), "text encoder of mine"), ["a", "b"])


def test_objects_that_are_not_encoders_are_refused() -> None:
    class NoFingerprint:
        dim = 4

        def encode(self, views: Sequence[Any], role: str = "document") -> np.ndarray:
            return np.ones((len(views), 4))

    class NoEncode:
        dim, fingerprint = 4, "x"

    class OtherSpace(Colours):
        dim = 8

    for wrong in ({}, {"text": NoFingerprint()}, {"image": NoEncode()}, {"text": Words(), "image": OtherSpace()}):
        with pytest.raises(ModelError) as problem:
            cp.Model(**wrong)  # type: ignore[arg-type]
        assert "\n" not in str(problem.value)
    with pytest.raises(ModelError, match="name"):
        cp.Model(text=Words(), name="")


def test_an_encoder_that_encodes_everything_alike_is_refused_in_one_line(tmp_path: Path) -> None:
    class Alike(Words):
        value = 1.0

        def encode(self, texts: Sequence[str], role: str = "document") -> np.ndarray:
            return np.full((len(texts), DIM), self.value, np.float32)

    class Zeros(Alike):
        value = 0.0

    for kind, encoder in (("text", Alike()), ("text", Zeros()), ("image", Alike())):
        with pytest.raises(ModelError, match=rf"the {kind} encoder of alike returns one vector for all"):
            cp.open(tmp_path / "kb", model=cp.Model(**{kind: encoder}, name="alike"))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"of type Alike: give a name, a folder, or encoders as commonplace.Model"):
        cp.open(tmp_path / "kb", model=Alike())  # type: ignore[arg-type]


def test_a_changed_encoder_is_refused_and_the_collection_can_be_migrated_to_it(tmp_path: Path) -> None:
    with cp.open(tmp_path / "kb", model=cp.Model(text=Words(), name="toy")) as kb:
        kb.add(cp.Record("The north pump needs the blue seal.", id="pump"), progress=False)
    encoder = Words()
    encoder.fingerprint = "changed"
    changed = cp.Model(text=encoder, name="toy")
    with pytest.raises(ModelMismatch, match=r"the model has changed: .*or change its model with `commonplace\.migrate"):
        cp.open(tmp_path / "kb", model=changed)
    migrate(tmp_path / "kb", changed, progress=False)
    with cp.open(tmp_path / "kb", model=changed) as kb:
        assert kb.search("blue seal")[0].item.text == "The north pump needs the blue seal."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "pump.txt").write_text("The north pump needs the blue seal and runs at nine bar.")
    (notes / "bread.txt").write_text("Yeast makes the dough rise before it is baked.")
    for name, colour in (("fire", (240, 10, 10)), ("sea", (10, 10, 240)), ("meadow", (10, 240, 10))):
        Image.new("RGB", (64, 48), colour).save(notes / f"{name}.png")
    return notes


def test_a_collection_is_made_and_searched_with_python_encoders(folder: Path, tmp_path: Path) -> None:
    model = cp.Model(text=Words(), image=Colours(), name="toy")
    with cp.open(tmp_path / "kb", model=model) as kb:
        report = kb.add(folder, workers=1, progress=False)
        assert (report.added, report.failed) == (5, [])
        assert kb.status()["model"] == {"name": "toy", "fingerprint": model.fingerprint, "dim": DIM}
        first = kb.search("dough that yeast makes")[0]
        assert Path(first.item.document.path).name == "bread.txt" and 0 < first.confidence <= 1
        assert {"lexical", "text->text"} <= {line.channel for line in first.breakdown}
        pictures = kb.search("red", modality="image")
        assert Path(pictures[0].item.document.path).name == "fire.png"
        assert pictures[0].breakdown[0].channel == "text->image"
        by_picture = kb.search(image=np.full((30, 30, 3), (0, 250, 0), np.uint8))
        assert Path(by_picture[0].item.document.path).name == "meadow.png"
        assert any("know most of these words" in note for note in kb.search("水泵").notes)
        assert "seal" in kb.ask("Which seal does the north pump need?").markdown()
    with cp.open(tmp_path / "kb", model=cp.Model(text=Words(), image=Colours(), name="toy")) as kb:  # other objects
        assert len(kb.search("red", modality="image")) == 3


def test_a_model_may_have_one_encoder_only(folder: Path, tmp_path: Path) -> None:
    with cp.open(tmp_path / "pictures", model=cp.Model(image=Colours(), name="colours")) as kb:
        assert kb.add(folder, workers=1, progress=False).added == 5 and kb.space.partitions == ("image",)
        assert Path(kb.search(image=folder / "sea.png")[0].item.document.path).name == "sea.png"
        words = kb.search("blue seal")
        assert Path(words[0].item.document.path).name == "pump.txt" and "cannot encode words" in words.notes[0]
    with cp.open(tmp_path / "texts", model=cp.Model(text=Words(), name="words")) as kb:
        assert kb.add(folder, workers=1, progress=False).added == 5 and kb.space.partitions == ("text",)
        assert "no image tower" in kb.search("dough", image=folder / "sea.png").notes[0]


def test_a_collection_refuses_encoders_with_another_fingerprint(folder: Path, tmp_path: Path) -> None:
    with cp.open(tmp_path / "kb", model=cp.Model(text=Words(), name="toy")) as kb:
        kb.add(folder / "pump.txt", workers=1, progress=False)
    with pytest.raises(ModelMismatch):
        cp.open(tmp_path / "kb", model=cp.Model(text=Words("2"), name="toy"))
    with pytest.raises(ModelError, match=r"Python encoders toy: open it with model=commonplace\.Model"):
        cp.open(tmp_path / "kb")
    with cp.open(tmp_path / "kb", model=cp.Model(text=Words(), name="toy")) as kb:
        kb.maintenance.migrate(cp.Model(text=Words("2"), image=Colours(), name="newer"), workers=1, progress=False)
        assert kb.search("blue seal")[0].item.text and kb.space.name == "newer"


def test_an_encoder_that_gives_nan_fails_only_the_files_concerned(folder: Path, tmp_path: Path) -> None:
    class Cursed(Words):
        def encode(self, texts: Sequence[str], role: str = "document") -> np.ndarray:
            rows = super().encode(texts, role)
            rows[["Yeast" in text for text in texts]] = np.nan
            return rows

    with cp.open(tmp_path / "kb", model=cp.Model(text=Cursed(), name="toy")) as kb:
        report = kb.add(folder / "pump.txt", folder / "bread.txt", workers=1, progress=False)
        assert report.added == 1 and "not numbers" in report.failed[0][1]
        with pytest.raises(ModelError, match="not numbers"):
            kb.search("Yeast")


def test_a_picture_is_weighted_by_what_captions_tell_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captions here differ along the first axis much more than along the second; pictures differ along both."""

    shown = BaseModel()
    shown.dim, shown.spec = 4, {"means": {"query": {"text": [0, 0, 1, 0], "image": [0, 0, 0, 1]}}}
    captions = np.array([[a, 0.1 * b, 1, 0] for a in (-1, 1) for b in (-1, 1)], np.float32)
    monkeypatch.setattr(BaseModel, "banks", {"image": captions})
    words, picture = shown.change(np.array([0, 1, 1, 0], np.float32), np.array([1, 1, 0, 1], np.float32))
    assert words.tolist() == [0, 1, 0, 0]
    assert np.isclose(picture[1] / picture[0], 0.01**CAPTION_POWER) and np.allclose(picture[2:], 0)
    monkeypatch.setattr(BaseModel, "banks", {})
    plain = BaseModel()
    plain.dim, plain.spec = shown.dim, shown.spec
    _, picture = plain.change(words, np.array([1, 1, 0, 1], np.float32))
    assert np.allclose(picture, [0.5**0.5, 0.5**0.5, 0, 0])


@pytest.mark.parametrize(("rows", "others"), [(0, 5), (1, 1), (33, 41), (64, 40)])
def test_small_products_are_the_inner_products(rows: int, others: int) -> None:
    left, right = (np.random.default_rng(n).normal(size=(n, 24)).astype(np.float32) for n in (rows, others))
    products = small_products(left, right)
    assert products.shape == (rows, others) and products == pytest.approx(left @ right.T, abs=1e-4)
