"""The joint training loop: gradients do not depend on the chunk, a killed run continues, and errors are reported."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonplace.errors import TrainingError

torch = pytest.importorskip("torch", reason="training needs the extra train")
pytest.importorskip("accelerate", reason="training needs the extra train")
from commonplace.training import joint  # noqa: E402
from commonplace.training.decoder import Decoder  # noqa: E402
from tests.training.small import RECIPE, small  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("small")


def gradients(place: Path, **changed: Any) -> tuple[dict[str, float], dict[str, Any]]:
    trainer = small(place, replace(RECIPE, **changed))
    trainer.model.eval()  # no dropout: its random numbers depend on the chunk
    losses = trainer.gradients(*next(trainer._batches(0)))
    return losses, {n: weight.grad.clone() for n, weight in trainer.model.named_parameters() if weight.grad is not None}


def test_cached_gradients_are_those_of_the_whole_batch(place: Path) -> None:
    whole, expected = gradients(place, chunk=16)
    for chunk in (1, 5, 8):
        losses, cached = gradients(place, chunk=chunk)
        assert losses == pytest.approx(whole, rel=1e-5)
        assert cached.keys() == expected.keys()
        for name, gradient in expected.items():
            tolerance = 1e-5 * float(gradient.abs().max())
            torch.testing.assert_close(cached[name], gradient, rtol=1e-4, atol=tolerance)
    assert any("decoder" in name for name in expected)
    assert any("pictures.graph" in name for name in expected)
    assert any("texts.graph" in name for name in expected)


def test_a_cached_batch_sees_the_same_dropout_twice(place: Path) -> None:
    """In training mode the second pass must repeat the first: else the gradients belong to other vectors."""
    trainer = small(place, replace(RECIPE, chunk=8, dropout=0.5, generation=0.0))
    trainer.model.train()
    passes: list[Any] = []
    vectors = trainer._vectors
    trainer._vectors = lambda *rows: passes.append(vectors(*rows)) or passes[-1]  # type: ignore[method-assign, func-returns-value]
    trainer.gradients(*next(trainer._batches(0)))
    assert len(passes) == 4
    torch.testing.assert_close(passes[0][0], passes[2][0].detach())
    torch.testing.assert_close(passes[1][0], passes[3][0].detach())


def test_accumulated_batches_add_up(place: Path) -> None:
    trainer = small(place, replace(RECIPE, accumulate=2, generation=0.0))
    trainer.model.eval()
    a, b, *_ = trainer._batches(0)
    trainer.gradients(*a)
    trainer.gradients(*b)
    both = trainer.model.scale.grad.clone()
    alone = []
    for batch in (a, b):
        other = small(place, replace(RECIPE, generation=0.0))
        other.model.eval()
        other.gradients(*batch)
        alone.append(other.model.scale.grad)
    torch.testing.assert_close(both, sum(alone) / 2)


def test_both_losses_fall_and_are_reported(place: Path) -> None:
    trainer = small(place, replace(RECIPE, epochs=16, decoder_rate=3e-3), "falling")
    trainer.run()
    for name in ("contrast", "generation"):
        first, last = (np.mean([losses[name] for losses in part]) for part in (trainer.losses[:3], trainer.losses[-3:]))
        assert last < 0.85 * first
    for losses in trainer.losses:
        assert losses["loss"] == pytest.approx(losses["contrast"] + 0.5 * losses["generation"])


def test_without_a_caption_loss_there_is_no_decoder(place: Path) -> None:
    trainer = small(place, replace(RECIPE, generation=0.0, epochs=1))
    trainer.run()
    assert trainer.model.decoder is None
    assert {losses["generation"] for losses in trainer.losses} == {0.0}


def test_a_killed_run_continues_to_the_same_losses(place: Path) -> None:
    command = [sys.executable, "-m", "tests.training.small", str(place), "5"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "1"
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    whole = small(place, replace(RECIPE, epochs=5), "whole")
    whole.run()
    rest = small(place, replace(RECIPE, epochs=5), "killed")
    assert rest.resume()
    assert 0 < rest.step < rest.total
    rest.run()
    assert rest.losses == whole.losses
    for name, weight in whole.weights().items():
        assert torch.equal(rest.weights()[name], weight)


def test_a_run_continues_from_a_checkpoint_within_an_epoch(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "SAVED", 0.0)

    def stop(_: str) -> None:
        if trainer.step == 3:
            raise KeyboardInterrupt

    trainer = small(place, RECIPE, "within")
    with pytest.raises(KeyboardInterrupt):
        trainer.run(stop)
    whole = small(place, RECIPE, "unbroken")
    whole.run()
    rest = small(place, RECIPE, "within")
    assert rest.resume()
    assert rest.step == 2  # the interrupted step runs again
    rest.run()
    assert rest.losses == whole.losses


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(place: Path) -> None:
    trainer = small(place, RECIPE, "broken")
    trainer.run(each=lambda epoch: epoch == 2)
    kept = trainer.step
    with torch.no_grad():
        next(iter(trainer.model.texts.graph.weights.values())).fill_(math.nan)
    with pytest.raises(TrainingError, match=rf"not finite at step {kept + 1} of .*lower --learning-rate"):
        trainer.run()
    again = small(place, RECIPE, "broken")
    assert again.resume()
    assert again.step == kept
    assert all(torch.isfinite(weight).all() for weight in again.weights().values())


def test_too_little_memory_suggests_a_smaller_chunk(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = small(place)

    def full(*_: Any) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(trainer, "_vectors", full)
    with pytest.raises(TrainingError, match="out of memory with 16 pictures at once: try --chunk 8"):
        trainer.run()


def test_other_errors_are_not_taken_for_a_lack_of_memory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = small(place)
    monkeypatch.setattr(trainer, "_vectors", lambda *_: (_ for _ in ()).throw(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        trainer.run()


def test_a_checkpoint_of_other_settings_or_damaged_is_refused(place: Path) -> None:
    small(place, replace(RECIPE, epochs=1), "other").run()
    with pytest.raises(TrainingError, match=r"was made with learning_rate 0\.003: use the same"):
        small(place, replace(RECIPE, epochs=1, learning_rate=1e-4), "other").resume()
    path = place / "other" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"cannot be read .*remove it"):
        small(place, replace(RECIPE, epochs=1), "other").resume()
    assert not small(place, RECIPE, "nowhere").resume()


def test_only_the_requested_layers_are_trained(place: Path) -> None:
    trainer = small(place, replace(RECIPE, text_layers=0, generation=0.0, epochs=1), "locked")
    before = trainer.encode(trainer.train)
    trainer.run()
    after = trainer.encode(trainer.train)
    np.testing.assert_array_equal(after[0], before[0])
    assert np.abs(after[1] - before[1]).max() > 1e-3
    thin = small(place, replace(RECIPE, rank=2, generation=0.0, epochs=1), "thin")
    assert all(".up" in name or ".down" in name for name in thin.weights() if name != "scale")
    before = thin.encode(thin.train)
    thin.run()
    assert np.abs(thin.encode(thin.train)[0] - before[0]).max() > 1e-3


def test_identical_captions_are_no_negatives() -> None:
    torch.manual_seed(0)
    x, y = torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=-1)
    y[1] = y[0]
    scale = torch.tensor(2.0)
    same = torch.from_numpy(joint._same(np.array([7, 7, 1, 2])))
    counted, left_out = (joint.contrast(x, y, scale, mask) for mask in (torch.zeros_like(same), same))
    assert left_out < counted
    assert same.sum() == 2


def test_the_decoder_does_not_see_ahead() -> None:
    torch.manual_seed(0)
    decoder = Decoder(np.arange(50), [6], 12, width=16, heads=2).eval()
    tokens = [torch.randn(1, 9, 6)]
    ids = torch.randint(1, 50, (1, 8))
    mask = torch.ones_like(ids)
    other = ids.clone()
    other[0, -1] = (ids[0, -1] + 1) % 50
    first = mask.clone()
    first[0, -1] = 0  # the last token does not count
    torch.testing.assert_close(decoder(ids, first, tokens), decoder(other, first, tokens))
    assert not torch.allclose(decoder(ids, mask, tokens), decoder(other, mask, tokens))
    assert not torch.allclose(decoder(ids, mask, tokens), decoder(ids, mask, [torch.randn(1, 9, 6)]))


def test_the_rate_rises_and_falls() -> None:
    rates = [joint.schedule(step, 100, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01


def test_mixed_precision_trains(place: Path) -> None:
    trainer = small(place, replace(RECIPE, mixed="bf16", epochs=1), "bf16")
    trainer.run()
    assert all(math.isfinite(losses["loss"]) for losses in trainer.losses)
