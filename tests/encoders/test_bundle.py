"""Bundles: vectors do not depend on the batch, no text is cut, and damage is reported with the file's name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commonplace.encoders import DEFAULT_BUNDLE, Bundle
from commonplace.errors import ModelError
from commonplace.space import Space
from commonplace.types import Query
from tests.conftest import data

TEXTS = ["a dog", "a cat on a mat", "the seal of the north pump is blue " * 20, "x", "Snow fell all night. " * 9]


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray((a * b).sum(axis=1))


def test_rows_are_unit_and_independent_of_the_batch(space: Space) -> None:
    tower = space.bundle.text
    together = tower.encode(TEXTS)
    assert together.shape == (len(TEXTS), space.dim) and together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([tower.encode([text]) for text in TEXTS])
    assert cosines(together, alone).min() > 0.999  # bf16 rounds a little differently in another batch
    backwards = tower.encode(TEXTS[::-1])[::-1]
    assert cosines(together, backwards).min() > 0.999


def test_similar_meaning_is_nearer_than_shared_words(space: Space) -> None:
    rows = space.embed(
        ["A puppy runs over the grass.", "A young dog is running on a lawn.", "The grass seed was sold."]
    )
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.1


def test_long_texts_are_read_to_their_end(space: Space) -> None:
    filler = "The weather in the valley was mild and nothing happened. " * 60
    plain, ending = space.embed([filler, filler + "A rocket was launched to the moon by the space agency. " * 12])
    rocket = space.embed(["a rocket launch to the moon"])[0]
    assert ending @ rocket > plain @ rocket + 0.1


def test_pictures_of_any_size_and_batch(space: Space) -> None:
    tower = space.bundle.image
    noise = np.random.default_rng(0).integers(0, 255, (224, 224, 3), dtype=np.uint8)
    large = np.asarray(Image.fromarray(noise).resize((900, 500)))
    odd = [np.zeros((1, 1, 3), np.uint8), np.full((1, 700, 3), 200, np.uint8), noise, large]
    rows = tower.encode(odd * 6)  # more than a batch
    assert rows.shape == (24, space.dim)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert cosines(rows[:4], rows[4:8]).min() > 0.999


def test_unknown_words_are_counted(space: Space) -> None:
    share = space.bundle.text.unknown_share
    assert share("a plain English sentence") == 0
    assert share("") == 0
    assert share("北边的水泵需要蓝色的密封圈") > 0.2
    assert not space.reads("北边的水泵需要蓝色的密封圈") and space.reads("ein englischer Satz")


def test_upright_photographs_embed_alike_in_all_eight_orientations(space: Space) -> None:
    from commonplace.readers import load_picture

    folder = data("exif_orientation")
    for name in ("Landscape", "Portrait"):
        pixels = [load_picture(path).pixels for path in sorted(folder.glob(f"{name}_[1-8].jpg"))]
        assert len(pixels) == 8
        rows = space.bundle.image.encode(pixels)
        # The files differ a little (each was compressed again); lying on its side the photograph is far from itself.
        assert (rows @ rows[0]).min() > 0.95, name
        (sideways,) = space.bundle.image.encode([np.ascontiguousarray(np.rot90(pixels[0]))])
        assert sideways @ rows[0] < 0.9, name


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, folder)
    return folder


def test_the_shipped_bundle_is_complete_and_small() -> None:
    bundle = Bundle()
    bundle.verify()
    assert sum(path.stat().st_size for path in DEFAULT_BUNDLE.iterdir()) < 60e6


def test_errors_name_the_damaged_file(copy: Path) -> None:
    before = Bundle(copy).fingerprint
    weights = bytearray((copy / "head.onnx").read_bytes())
    weights[len(weights) // 2] ^= 1
    (copy / "head.onnx").write_bytes(weights)
    with pytest.raises(ModelError, match=r"head\.onnx is damaged"):
        Bundle(copy).verify()
    (copy / "head.onnx").unlink()
    with pytest.raises(ModelError, match=r"head\.onnx is missing"):
        Bundle(copy).verify()
    (copy / "text.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="install the model again"):
        Bundle(copy).text.encode(["x"])
    assert Bundle(copy).fingerprint == before  # it depends on bundle.json, not on the files


def test_a_bundle_of_a_newer_format_or_a_damaged_one_is_refused(copy: Path, tmp_path: Path) -> None:
    spec = json.loads((copy / "bundle.json").read_text(encoding="utf-8"))
    (copy / "bundle.json").write_text(json.dumps({**spec, "format": 99}))
    with pytest.raises(ModelError, match="upgrade"):
        Bundle(copy)
    (copy / "bundle.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        Bundle(copy)
    with pytest.raises(ModelError, match="no model bundle"):
        Bundle(tmp_path / "absent")


def test_preprocessing_is_part_of_the_fingerprint_and_ranking_state_is_not(copy: Path) -> None:
    spec = json.loads((copy / "bundle.json").read_text(encoding="utf-8"))
    before = Bundle(copy).fingerprint
    (copy / "bundle.json").write_text(json.dumps({**spec, "score_stats": {}, "means": {}, "quality": {}}))
    assert Bundle(copy).fingerprint == before
    spec["towers"]["image"]["interpolation"] = "bilinear"
    (copy / "bundle.json").write_text(json.dumps(spec))
    assert Bundle(copy).fingerprint != before


def test_hubness_is_the_weighted_mean_of_the_nearest_bank_vectors(space: Space) -> None:
    bias = space.bundle.spec["hubness"]
    rows = space.embed(["a dog on a beach", "x y z", "the tax return form"])
    with np.load(DEFAULT_BUNDLE / bias["file"]) as file:
        for kind, settings in bias["banks"].items():
            cosines = np.sort(rows @ file[kind].astype(np.float32).T, axis=1)[:, -settings["neighbours"] :]
            offset = space.offset(kind, rows)
            assert offset is not None and np.allclose(
                offset, settings["weight"] * np.maximum(cosines.mean(axis=1), settings["floor"]), atol=1e-6
            )
    assert space.offset("sound", rows) is None and space.offset("visual", rows) is None


def test_every_partition_has_queries_to_measure_its_index(space: Space, copy: Path) -> None:
    for partition, other in (("text", False), ("text", True), ("image", False), ("image", True), ("visual", False)):
        queries = space.questions(partition, other)
        assert queries is not None and len(queries) >= 192
        assert np.allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-3)
    assert space.questions("visual", True) is None  # visual vectors are queried only with visual vectors
    with np.load(copy / "bank.npz") as file:
        np.savez(copy / "bank.npz", image=file["image"], text=file["text"])
    bundle = Bundle(copy)  # a bundle without visual vectors
    assert bundle.questions("visual", False) is None and bundle.questions("text", False) is not None


def test_ordinary_captions_are_corrected_for_hubness_and_passages_are_not(space: Space, copy: Path) -> None:
    ordinary, telling = "A man is standing in front of a building.", "A llama in a tuxedo signs the surrender."
    rows = space.embed([ordinary, telling, "The tax return is due by the end of May; later filings are charged."])
    correction = space.text_hubness(rows)
    assert correction is not None and correction[0] > correction[1] + 0.02 and correction[2] == 0
    settings = space.spec["calibration"]["text_hubness"]
    with np.load(DEFAULT_BUNDLE / space.bundle.spec["hubness"]["file"]) as file:
        bank = file["image"].astype(np.float32)[:: settings["step"]]
    near = np.sort(rows @ bank.T, axis=1)[:, -settings["neighbours"] :].mean(axis=1)
    assert np.allclose(correction, settings["weight"] * np.maximum(near - settings["floor"], 0), atol=1e-6)
    spec = json.loads((copy / "bundle.json").read_text())
    del spec["calibration"]["text_hubness"]
    (copy / "bundle.json").write_text(json.dumps(spec))
    assert Space(Bundle(copy)).text_hubness(rows) is None


def test_short_queries_lose_the_component_of_short_texts(space: Space) -> None:
    encode = space.bundle.text.encode
    words = encode(["dog", "bicycle", "snow", "crowd"], "query")
    headings = encode(["Cover", "Test", "Home", "Team", "Next steps"])
    passages = encode(["The committee met on the second of May and adopted the minutes without a vote."])
    less, query_shortness = space.bundle.without_shortness(words)
    assert (words @ headings.T).mean() > (words @ passages.T).mean() + 0.1  # the reason for the correction
    assert (less @ headings.T).mean() < (less @ passages.T).mean() + 0.03
    assert np.allclose(np.linalg.norm(less, axis=1), 1, atol=1e-5) and (query_shortness > 0.4).all()
    long = encode(["Which city lay closer to the border when the treaty was signed in the spring?"], "query")
    same, none = space.bundle.without_shortness(long)
    assert cosines(same, long).min() > 0.98 and none.max() < 0.2


def test_random_letters_are_no_short_query(space: Space) -> None:
    assert space.encode_query(Query("dog")).query_shortness > 0.4
    assert space.encode_query(Query("red bicycle")).query_shortness > 0.3
    assert space.encode_query(Query("gksslas qtqi ddkhljlla nmm")).query_shortness == 0


def test_queries_stay_without_a_shortness_direction_and_a_damaged_one_is_refused(copy: Path) -> None:
    rows = np.eye(2, Bundle(copy).dim, dtype=np.float32)
    spec = json.loads((copy / "bundle.json").read_text())
    for value in (None, [0.0] * 384, [1.0] * 3, "dog", [float("nan")] * 384):
        (copy / "bundle.json").write_text(json.dumps(spec | {"query_shortness": value}))
        if value is None:
            assert Bundle(copy).without_shortness(rows)[0] is rows
        else:
            with pytest.raises(ModelError, match="query_shortness"):
                Bundle(copy).without_shortness(rows)


def test_the_mean_of_the_token_vectors_is_the_text_vector(space: Space) -> None:
    tower = space.bundle.text
    text = "The north pump needs a blue seal, Überdruck 3."
    (tokens,) = tower.tokens([text])
    words = [text[start:end] for start, end in tokens.spans]
    assert words[:3] == ["The", "north", "pump"] and "".join(words) == text.replace(" ", "")
    assert tokens.vectors.shape == (len(words), space.dim)
    mean = tokens.vectors.mean(axis=0)  # without the two special tokens
    assert float(mean @ tower.encode([text])[0]) / np.linalg.norm(mean) > 0.98


def test_tokens_of_long_and_empty_texts(space: Space) -> None:
    long, empty, short = space.bundle.text.tokens(["blue seal " * 300, "", "a dog"])
    assert long.vectors.shape == (600, space.dim) and long.spans[-1].tolist() == [2995, 2999]
    assert empty.vectors.shape == (0, space.dim) and empty.spans.shape == (0, 2)
    alone = space.bundle.text.tokens(["a dog"])[0].vectors
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (short.vectors, alone)]
    assert cosines(*unit).min() > 0.99
