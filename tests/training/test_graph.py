"""A graph as a torch module gives the same output as the runtime, before and after training, for every exporter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from commonplace.encoders import DEFAULT_BUNDLE
from commonplace.encoders.runtime import openvino
from commonplace.errors import ModelError

torch = pytest.importorskip("torch", reason="training needs the extra train")
pytest.importorskip("accelerate", reason="training needs the extra train")
from commonplace.training.graph import TrainableGraph  # noqa: E402

TINY = Path(__file__).parents[1] / "encoders" / "tiny" / "models"
FILES = [DEFAULT_BUNDLE / "text.onnx", DEFAULT_BUNDLE / "head.onnx", *sorted(TINY.rglob("*.onnx"))]


def served(file: Path, feeds: dict[str, Any], output: str) -> Any:
    model = openvino().Core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = {name for port in model.inputs for name in port.names}
    return model({name: value.numpy() for name, value in feeds.items() if name in names})[output]


def example_inputs(file: Path) -> tuple[dict[str, Any], str]:
    """Return a batch of two inputs of a graph, and the name of its first output."""
    model = openvino().Core().read_model(str(file))
    torch.manual_seed(0)
    feeds = {}
    for port in model.inputs:
        name, shape = next(iter(port.names)), port.get_partial_shape()
        sides = [side.get_length() if side.is_static else 2 for side in shape]
        if name in ("input_ids", "attention_mask"):
            width = 64 if "siglip" in str(file) else 12
            feeds[name] = torch.randint(5, 90, (2, width)) if name == "input_ids" else torch.ones(2, width).long()
        else:
            feeds[name] = torch.rand(2, *sides[1:])
    return feeds, next(iter(model.outputs[0].names))


def near(ours: Any, theirs: Any) -> None:
    ours = ours.detach().numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-3 * max(1.0, float(np.abs(theirs).max())))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.parent.name}-{file.stem}")
def test_any_graph_is_run_trained_and_written(file: Path, tmp_path: Path) -> None:
    feeds, output = example_inputs(file)
    graph = TrainableGraph(file, output, 4)
    (output_rows,) = graph(feeds, [output])
    near(output_rows, served(file, feeds, output))
    output_rows.square().sum().backward()
    assert all(weight.grad is not None for weight in graph.weights.values())
    with torch.no_grad():
        for weight in graph.weights.values():
            weight.mul_(1.1)
    moved = graph(feeds, [output])[0]
    assert not torch.allclose(moved, output_rows, rtol=1e-2)
    graph.save(tmp_path / "trained.onnx")
    onnx.checker.check_model(str(tmp_path / "trained.onnx"))
    near(moved, served(tmp_path / "trained.onnx", feeds, output))
    TrainableGraph(tmp_path / "trained.onnx", output, 4).save(
        tmp_path / "again.onnx"
    )  # a model may be trained once more
    near(moved, served(tmp_path / "again.onnx", feeds, output))


@pytest.mark.parametrize("file", [DEFAULT_BUNDLE / "text.onnx", TINY / "siglip/onnx/vision_model.onnx",
                                  TINY / "resnet/onnx/model.onnx"], ids=["minilm", "siglip", "resnet"])  # fmt: skip
def test_frozen_layers_run_once_on_the_runtime(file: Path, tmp_path: Path) -> None:
    """The trained layers need only the outputs of the frozen layers and the shapes of the inputs."""
    feeds, output = example_inputs(file)
    graph = TrainableGraph(file, output, 3)
    frontier = graph.frontier([output])
    assert frontier
    graph.save(tmp_path / "prefix.onnx", frontier)
    kept = {name: torch.from_numpy(served(tmp_path / "prefix.onnx", feeds, name).copy()) for name in frontier}
    shapes = {
        name: value if name != "pixel_values" else torch.empty(1).expand(value.shape) for name, value in feeds.items()
    }
    near(graph({**shapes, **kept}, [output])[0], graph(feeds, [output])[0].detach().numpy())


def test_layers_are_counted_from_the_last() -> None:
    file = DEFAULT_BUNDLE / "text.onnx"
    counts = [
        sum(w.numel() for w in TrainableGraph(file, "last_hidden_state", n).weights.values()) for n in (0, 1, 2, 4, 8)
    ]
    assert counts[0] == 0
    assert 384 * 1536 < counts[1] < 2 * 384 * 1536 < counts[2]
    assert 12 * 384 * 384 < counts[3] < 12.1 * 384 * 384  # a transformer's block
    assert 24 * 384 * 384 < counts[4] < 24.1 * 384 * 384


def test_weights_that_were_not_trained_are_stored_unchanged(tmp_path: Path) -> None:
    file = DEFAULT_BUNDLE / "text.onnx"
    TrainableGraph(file, "last_hidden_state", 4).save(tmp_path / "text.onnx")
    old, new = (
        {weight.name: weight.raw_data for weight in onnx.load(str(path)).graph.initializer}
        for path in (file, tmp_path / "text.onnx")
    )
    table = max(old, key=lambda name: len(old[name]))  # the token embeddings, in 8 bits
    assert len(old[table]) == 30522 * 384
    same = [name for name in old if new.get(name) == old[name]]
    assert table in same
    assert len(same) > 0.8 * len(old)
    assert (tmp_path / "text.onnx").stat().st_size < 1.01 * file.stat().st_size


def test_a_classifier_before_a_discrete_choice_is_not_trained(tmp_path: Path) -> None:
    """The shipped head adds the names of the ten likeliest classes: no gradient passes through that choice."""
    graph = TrainableGraph(DEFAULT_BUNDLE / "head.onnx", "embedding", 99)
    shapes = [tuple(sorted(weight.shape)) for weight in graph.trained().values() if weight.ndim == 2]
    assert sorted(shapes) == [(384, 1280)] * 2 + [(1280, 3192)] * 2  # two perceptrons, no (1000, 2560)
    graph.save(tmp_path / "head.onnx")
    feeds = {"features": torch.rand(2, 3192)}
    for output in ("embedding", "look"):  # the output that was not trained is still there
        old, new = served(DEFAULT_BUNDLE / "head.onnx", feeds, output), served(tmp_path / "head.onnx", feeds, output)
        np.testing.assert_allclose(new, old, atol=1e-2 * np.abs(old).max())


def test_lora_changes_nothing_at_the_start_and_is_added_when_saved(tmp_path: Path) -> None:
    file = TINY / "clip/onnx/vision_model.onnx"
    feeds, output = example_inputs(file)
    whole, thin = TrainableGraph(file, output, 4), TrainableGraph(file, output, 4, rank=2)
    assert 0 < sum(w.numel() for w in thin.parameters()) < sum(w.numel() for w in whole.parameters())
    near(thin(feeds, [output])[0], whole(feeds, [output])[0].detach().numpy())
    with torch.no_grad():
        for adapter in thin.thin.values():
            adapter.up.normal_(0, 0.3)
    moved = thin(feeds, [output])[0]
    assert not torch.allclose(moved, whole(feeds, [output])[0], rtol=1e-2)
    thin.save(tmp_path / "thin.onnx")
    near(moved, served(tmp_path / "thin.onnx", feeds, output))


def test_an_unsupported_or_damaged_graph_is_refused(tmp_path: Path) -> None:
    model = onnx.load(str(TINY / "resnet/onnx/model.onnx"))
    model.graph.node[0].op_type = "Loop"
    onnx.save(model, str(tmp_path / "strange.onnx"))
    with pytest.raises(ModelError, match=r"strange\.onnx uses operators that cannot be trained \(Loop\)"):
        TrainableGraph(tmp_path / "strange.onnx", "pooler_output", 1)
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x09no model")
    with pytest.raises(ModelError, match="cannot be read"):
        TrainableGraph(tmp_path / "broken.onnx", "x", 1)
    with pytest.raises(ModelError, match="has no output nothing"):
        TrainableGraph(TINY / "resnet/onnx/model.onnx", "nothing", 1)
