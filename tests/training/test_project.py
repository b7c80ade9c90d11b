"""Projection heads: from a table of pictures to a search that finds them; errors are one line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra train is not installed (make test-train)")

from commonplace import open as open_collection  # noqa: E402
from commonplace.cli import main  # noqa: E402
from commonplace.encoders import DEFAULT_BUNDLE, Bundle  # noqa: E402
from commonplace.encoders.base import unit  # noqa: E402
from commonplace.errors import CommonplaceError, ModelError, TrainingError  # noqa: E402
from commonplace.space import Space  # noqa: E402
from commonplace.training.heads import (  # noqa: E402
    Data,
    HeadRecipe,
    canonical,
    fit,
    infonce,
    linear_maps,
    ridge,
    sigmoid,
    triplet,
)
from commonplace.training.pairs import read_pairs  # noqa: E402
from commonplace.training.product import head_graph  # noqa: E402
from commonplace.training.project import project  # noqa: E402

torch.set_num_threads(1)  # the steps are small: a second thread waits more than it works
SMALL = HeadRecipe(steps=60, hidden=64, views=1)
FLAGS = ("--steps", "200", "--hidden", "128", "--views", "2", "--heads", "1")


def toy(pictures: int = 200, seed: int = 0) -> Data:
    """Return data in which captions are a noisy linear projection of features."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.rand(2, pictures, 40, generator=draw)
    way = torch.randn(40, 16, generator=torch.Generator().manual_seed(9))
    y = (x[0] - 0.5) @ way
    captions = torch.nn.functional.normalize(
        y.repeat_interleave(2, 0) + 0.3 * torch.randn(2 * pictures, 16, generator=draw), dim=-1
    )
    return Data(x, captions, 2 * torch.arange(pictures), torch.full((pictures,), 2))


def recall(data: Data):  # type: ignore[no-untyped-def]
    def score(head, text_head) -> float:  # type: ignore[no-untyped-def]
        with torch.no_grad():
            shown = head(data.views[0], None if data.base is None else data.base[0])
            texts = data.captions if text_head is None else text_head(data.captions)
        best = (texts @ shown.T).argmax(1)
        return float((best == torch.arange(len(shown)).repeat_interleave(2)).float().mean())

    return score


# --- the trainer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe",
    [
        HeadRecipe(hidden=0),
        HeadRecipe(hidden=64),
        HeadRecipe(hidden=64, loss="triplet"),
        HeadRecipe(hidden=64, loss="sigmoid", temperature=0.1),
        HeadRecipe(hidden=64, closed=True),
        HeadRecipe(hidden=64, structure=1.0, text_head=True),
    ],
    ids=["linear", "perceptron", "triplet", "sigmoid", "closed", "structure and text head"],
)
def test_every_recipe_learns_and_its_graph_gives_the_same_rows(recipe: HeadRecipe, tmp_path: Path) -> None:
    train, dev = toy(400), toy(100, seed=1)
    recipe = replace(recipe, steps=100, batch=100, input_dropout=0.0, dropout=0.1, mixup=0.2, learning_rate=1e-2)
    made = fit(recipe, train, 0, score=recall(dev))
    assert made.score > 0.25  # chance: .01
    from commonplace.encoders.runtime import Graph

    (tmp_path / "head.onnx").write_bytes(head_graph([linear_maps(made.head)], 40, 16))
    rows = Graph(tmp_path / "head.onnx", "embedding").map([{"features": dev.views[0].numpy()}])[0]
    with torch.no_grad():
        expected = made.head(dev.views[0]).numpy()
    assert (unit(rows) * expected).sum(1).min() > 0.99


def test_the_same_seed_gives_the_same_head() -> None:
    heads = [fit(HeadRecipe(steps=20, hidden=8), toy(), seed).head for seed in (0, 0, 1)]
    assert torch.equal(heads[0].wide.weight, heads[1].wide.weight)
    assert not torch.equal(heads[0].wide.weight, heads[2].wide.weight)


def test_closed_forms_recover_the_projection() -> None:
    train, dev = toy(400), toy(100, seed=1)
    means = train.captions.view(400, 2, 16).mean(1)
    for weights, bias in (ridge(train.views[0], means, 0.1), canonical(train.views[0], means, 16, 1e-3)):
        shown = torch.nn.functional.normalize(dev.views[0] @ weights + bias, dim=-1)
        best = (dev.captions @ shown.T).argmax(1)
        assert (best == torch.arange(100).repeat_interleave(2)).float().mean() > 0.5


def test_equal_captions_are_no_negatives() -> None:
    draw = torch.Generator().manual_seed(0)
    z, y = (torch.nn.functional.normalize(torch.randn(6, 4, generator=draw), dim=-1) for _ in range(2))
    equal = torch.zeros(6, 6, dtype=torch.bool)
    equal[0, 1] = equal[1, 0] = True
    scale, bias = torch.tensor(10.0), torch.tensor(-1.0)
    logits = 10 * z @ y.T
    logits[0, 1] = logits[1, 0] = -1e9
    target = torch.arange(6)
    cross = torch.nn.functional.cross_entropy
    assert infonce(z, y, equal, scale) == pytest.approx(float(cross(logits, target) + cross(logits.T, target)) / 2)
    scores = z @ y.T
    hinge = 0.0
    for i in range(6):
        others = [j for j in range(6) if j != i and not equal[i, j]]
        hinge += float(
            torch.relu(0.2 + scores[i, others].max() - scores[i, i])
            + torch.relu(0.2 + scores[others, i].max() - scores[i, i])
        )
    assert float(triplet(z, y, equal, 0.2)) == pytest.approx(hinge / 6, abs=1e-5)
    each = [
        -float(torch.nn.functional.logsigmoid((1 if i == j else -1) * (10 * scores[i, j] - 1)))
        for i in range(6) for j in range(6) if not equal[i, j]
    ]  # fmt: skip
    assert float(sigmoid(z, y, equal, scale, bias)) == pytest.approx(sum(each) / 6, rel=1e-5)
    assert float(infonce(z, y, equal, scale)) < float(infonce(z, y, None, scale))


def test_a_loss_that_is_not_finite_stops_and_keeps_the_best_head() -> None:
    with pytest.raises(TrainingError, match="lower --learning-rate"):
        fit(HeadRecipe(hidden=8, steps=50, learning_rate=1e30), toy(), 0)
    train, dev = toy(), toy(100, seed=1)
    made = fit(HeadRecipe(hidden=8, steps=50, learning_rate=1e30, closed=True), train, 0, score=recall(dev))
    assert made.broken is not None and "try a lower --learning-rate" in made.broken
    assert made.step == 0 and torch.isfinite(made.head(dev.views[0])).all() and made.score > 0.25


def test_the_best_step_is_kept_and_training_stops_without_gain() -> None:
    scores = iter([0.1, 0.5, *[0.2] * 100])
    made = fit(HeadRecipe(hidden=8, steps=200, patience=3, checks=100), toy(), 0, score=lambda *_: next(scores))
    assert made.score == 0.5 and made.step == 4 and next(scores) == 0.2
    assert len(list(scores)) == 102 - 6 - 1  # two good ones, four that waited


def test_too_little_memory_suggests_a_smaller_batch() -> None:
    def score(*_: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TrainingError, match=r"out of memory with 1000 pictures a step: try --batch 500"):
        fit(HeadRecipe(hidden=8, steps=20), toy(), 0, score=score)


# --- end to end -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(csv_file: Path, tiny: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that the command trained on MiniLM and the tiny image tower."""
    folder = tmp_path_factory.mktemp("made") / "my-model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMMONPLACE_CACHE", str(cache))
        assert main(["train", "project", str(csv_file), "--image-model", str(tiny), "--out", str(folder), *FLAGS]) == 0
    return folder


def test_a_model_trained_on_a_table_finds_its_pictures(csv_file: Path, model: Path, tmp_path: Path) -> None:
    with open_collection(tmp_path / "kb", model=model) as kb:
        kb.add(csv_file.parent / "pictures", progress=False)
        pairs = read_pairs(csv_file)
        right = 0
        for pair in pairs.part("test").pairs:
            hits = kb.search(pair.captions[0], k=3, modality="image")
            right += pair.picture.name in {Path(hit.item.document.path).name for hit in hits}
        assert right >= 8  # of 10 that it never saw, among 54; chance: .6
    spec = json.loads((model / "bundle.json").read_text())
    assert spec["training"]["pictures"] == {"train": 34, "dev": 10, "test": 10}
    assert not spec["score_stats"]["text->image"].get("estimated")
    assert spec["calibration"]["curves"]["text->text"] == Bundle().spec["calibration"]["curves"]["text->text"]
    Bundle(model).verify()
    card = (model / "README.md").read_text()
    assert "34 train, 10 dev, 10 test" in card and "| trained |" in card and "Apache-2.0" in card


def test_text_search_stays_as_good_as_the_text_model(model: Path, space: Space) -> None:
    made = Space(Bundle(model))
    assert made.text is not None and space.text is not None
    assert np.array_equal(made.text.encode(["a red square"]), space.text.encode(["a red square"]))


def test_a_better_model_is_not_replaced(
    csv_file: Path, tiny: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "my-model"
    shutil.copytree(model, target)
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    worse = [
        "train",
        "project",
        str(csv_file),
        "--image-model",
        str(tiny),
        "--out",
        str(target),
        *FLAGS,
        "--epochs",
        "1",
    ]
    worse = [word for word in worse if word not in ("--steps", "200")]
    assert main(worse) == 1
    out, err = capsys.readouterr()
    assert "| before (my-model) |" in out and "| trained |" in out and "difference -" in out
    assert err.count("\n") == 1 and "the model there was kept; to keep the new one all the same, use --force" in err
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["my-model"]
    assert main([*worse, "--force"]) == 0
    assert (target / "head.onnx").read_bytes() != before["head.onnx"]
    assert [path.name for path in tmp_path.iterdir()] == ["my-model"]


def test_the_head_is_added_to_the_model_if_both_towers_are_its_own(csv_file: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    made = project(
        csv_file, DEFAULT_BUNDLE, DEFAULT_BUNDLE, tmp_path / "more", recipe=SMALL, members=1, log_line=lines.append
    )
    first, *_, last = made.verdict.rows.values()
    assert list(made.verdict.rows) == ["before (minilm-lite0)", "closed form", "trained"]
    assert last.mean > first.mean + 0.1 and lines[0].startswith("54 pictures with 108 captions")
    # A picture unlike the training data nearly keeps its vector.
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    old, new = (Bundle(folder).image.encode([picture])[0] for folder in (DEFAULT_BUNDLE, made.folder))  # type: ignore[union-attr]
    assert float(old @ new) > 0.3


def test_texts_may_be_mapped_too(csv_file: Path, tiny: Path, tmp_path: Path, space: Space) -> None:
    recipe = HeadRecipe(steps=60, hidden=64, views=1, text_head=True)
    made = project(csv_file, DEFAULT_BUNDLE, tiny, tmp_path / "both", recipe=recipe, members=1)
    mapped = Space(Bundle(made.folder))
    assert mapped.text is not None and space.text is not None
    rows, old = mapped.text.encode(["a red square", "a lake"]), space.text.encode(["a red square", "a lake"])
    assert rows.shape == old.shape and np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-3)
    assert not np.allclose(rows, old, atol=1e-3) and (rows * old).sum(1).min() > 0.3
    assert len(mapped.text.encode([])) == 0


def test_two_files_with_the_same_name_are_both_kept(csv_file: Path, tiny: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tiny, tmp_path / "other")
    spec = json.loads((other / "bundle.json").read_text())
    (other / "image.onnx").rename(other / "text.onnx")  # the name of the text tower's file
    spec["towers"] = {"image": {**spec["towers"]["image"], "file": "text.onnx"}}
    spec["checksums"] = {"text.onnx": spec["checksums"]["image.onnx"]}
    (other / "bundle.json").write_text(json.dumps(spec))
    made = project(csv_file, DEFAULT_BUNDLE, other, tmp_path / "made", recipe=SMALL, members=1)
    Bundle(made.folder).verify()
    assert {"text.onnx", "image-text.onnx"} <= {path.name for path in made.folder.iterdir()}


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda f: (f / "bundle.json").unlink(), ModelError, "no bundle.json"),
        (lambda f: (f / "image.onnx").unlink(), ModelError, "is missing: install the model again"),
        (lambda f: (f / "image.onnx").write_bytes((f / "image.onnx").read_bytes()[:-9]), ModelError, "is damaged"),
        (lambda f: (f / "bundle.json").write_text((f / "bundle.json").read_text()[:200]), ModelError, "cannot be read"),
    ],
    ids=["absent", "incomplete", "altered", "truncated"],
)
def test_a_damaged_model_is_refused(  # type: ignore[no-untyped-def]
    csv_file: Path, tiny: Path, tmp_path: Path, change, kind: type[CommonplaceError], message: str
) -> None:
    broken = shutil.copytree(tiny, tmp_path / "broken")
    change(broken)
    with pytest.raises(kind, match=message):
        project(csv_file, DEFAULT_BUNDLE, broken, tmp_path / "made", recipe=SMALL)
    assert not (tmp_path / "made").exists()


def test_wrong_arguments_are_refused(csv_file: Path, tiny: Path, tmp_path: Path, model: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(TrainingError, match="exists and is not a model"):
        project(csv_file, DEFAULT_BUNDLE, tiny, tmp_path / "full")
    with pytest.raises(TrainingError, match="two pictures a step"):
        project(csv_file, DEFAULT_BUNDLE, tiny, tmp_path / "made", recipe=HeadRecipe(batch=1))
    with pytest.raises(ModelError, match="there is no model 'nothing'"):
        project(csv_file, "nothing", tiny, tmp_path / "made")
    damaged = shutil.copytree(model, tmp_path / "damaged")
    (damaged / "head.onnx").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"the model to beat cannot be used: .*head.onnx is damaged.*--force"):
        project(csv_file, DEFAULT_BUNDLE, tiny, damaged)
