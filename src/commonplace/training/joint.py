"""Joint training of both towers of a bundle on pictures and captions, with a contrastive and a caption loss."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders import Bundle
from commonplace.errors import TrainingError
from commonplace.i18n import _, system_reason

try:
    import onnx  # noqa: F401  (the modules below need it)
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from torch import Tensor, nn
    from torch.nn import functional as F
except ImportError as problem:
    raise TrainingError(
        _(
            "fine-tuning needs PyTorch and accelerate ({name} is not installed): run "
            "`pip install 'commonplace-rag[train]'`"
        ).format(name=problem.name)
    ) from problem

from commonplace.training.decoder import Decoder
from commonplace.training.graph import TrainableGraph
from commonplace.training.towers import Captions, Pictures, Rows, Shown, Texts

__all__ = ["JointModel", "JointRecipe", "Material", "Trainer"]

SAVED = 300.0  # seconds between two checkpoints; each epoch also ends with one

Floats = NDArray[np.float32]
Tick = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class JointRecipe:
    """Hyperparameters of fine-tuning."""

    epochs: int = 10
    batch: int = 256  # pictures in a batch: they are each other's negatives
    chunk: int = 256  # pictures in memory at once; the gradients are those of the whole batch (Gao et al. 2021)
    accumulate: int = 1  # batches in a step
    text_layers: int = 4  # how many of the last layers are trained; 0: none
    image_layers: int = 4  # the same for the image tower
    rank: int = 0  # of LoRA; 0: all weights of the layers are trained
    views: int = 2  # how many of the views (plain, then cropped) are used
    learning_rate: float = 5e-5  # of the towers and the head
    decoder_rate: float = 1e-3
    weight_decay: float = 0.01  # the decoder decays toward 0, the towers toward their start (L2-SP, Li et al. 2018)
    warmup: float = 0.1  # share of the steps with a rising learning rate
    clip: float = 1.0  # largest norm of the gradient
    temperature: float = 0.05  # the initial value; it is learned
    generation: float = 0.5  # weight of the caption loss; 0: no decoder
    width: int = 256  # of the decoder
    dropout: float = 0.5  # of the head's layers
    mixup: float = 0.5  # Beta(mixup, mixup) of two pictures' features and of their captions; 0: none
    mixed: str = "no"  # mixed precision: no, bf16 or fp16
    seed: int = 0


@dataclass(frozen=True)
class Material:
    """The frozen layers' outputs for one split. ``owner[j]`` is the row of the picture that caption ``j`` describes."""

    pictures: Shown
    captions: Captions
    owner: NDArray[np.int64]

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The rows of the pictures that have captions, in ascending order."""
        return np.unique(self.owner)


class JointModel(nn.Module):  # type: ignore[misc]
    """Both towers, the learned scale of their cosines (the inverse temperature), and the caption decoder."""

    def __init__(self, bundle: Bundle, recipe: JointRecipe, captions: Captions | None) -> None:
        super().__init__()
        torch.manual_seed(recipe.seed)
        self.texts = Texts(bundle, recipe.text_layers, recipe.rank)
        self.pictures = Pictures(bundle, recipe.image_layers, recipe.rank, recipe.dropout)
        self.scale = nn.Parameter(torch.tensor(math.log(1 / recipe.temperature)))
        self.decoder = None
        if recipe.generation and captions is not None:
            vocabulary = np.unique(np.concatenate([*captions.ids, np.array([self.texts.spec["pad_id"]])]))
            channels = _channels(self.pictures)
            self.decoder = Decoder(vocabulary, channels, max(self.texts.least, *map(len, captions.ids)), recipe.width)

    def caption_inputs(self, captions: Captions, rows: Rows, device: Any) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        ids, mask, values = captions.batch(rows, self.texts.spec["pad_id"], self.texts.least, self.texts.left)
        return ids.to(device), mask.to(device), {name: value.to(device) for name, value in values.items()}

    def layers(self) -> dict[str, int]:
        """Return how many layers of each tower are trained, by their names in the recipe."""
        return {"text_layers": self.texts.layers, "image_layers": self.pictures.layers}

    def save(self, folder: Path) -> None:
        """Write the graphs with their trained weights to a bundle's ``folder``, over the old graphs."""
        files: dict[str, list[TrainableGraph]] = {}
        for part in (self.texts, self.pictures):
            files.setdefault(part.file.name, []).append(part.graph)
            if part.head is not None:
                files.setdefault(part.spec["head"]["file"], []).append(part.head)
        for name, graphs in files.items():
            for old in folder.glob(f"{name}*"):  # its external weights as well
                old.unlink()
            graphs[0].save(folder / name, others=graphs[1:])


def _channels(pictures: Pictures) -> list[int]:
    feeds = {pictures.spec["input"]: torch.zeros(2, *pictures.shape)}
    with torch.no_grad():
        outputs = pictures.graph(feeds, pictures.token_values)
    return [output.shape[1] if output.ndim == 4 else output.shape[2] for output in outputs]


def contrast(x: Tensor, y: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Return the symmetric InfoNCE loss of pictures ``x`` and captions ``y``, unit rows (B, D) each.

    ``same`` (B, B) marks other pairs with an identical caption: they are not used as negatives.
    """
    logits = (scale.clamp(max=math.log(100)).exp() * x.float() @ y.float().T).masked_fill(same, float("-inf"))  # (B, B)
    target = torch.arange(len(x), device=x.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


class Trainer:
    """Trains a model on ``train`` (see ``run()``) and keeps checkpoints in ``folder``.

    Raises TrainingError if there are several processes, or if the recipe trains no layer of the towers.
    """

    def __init__(
        self, model: JointModel, recipe: JointRecipe, train: Material, folder: Path, device: str | None = None
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.train, self.folder = recipe, train, folder
        order = np.argsort(train.owner, kind="stable")
        self.of = np.split(order, np.flatnonzero(np.diff(train.owner[order])) + 1)  # captions of each of train.rows
        self.numbers = _numbered(train)
        self.steps_an_epoch = max(1, len(self.of) // (min(recipe.batch, len(self.of)) * recipe.accumulate))
        self.total = recipe.epochs * self.steps_an_epoch
        # The state is global to the process: an earlier training may have set another precision.
        AcceleratorState._reset_state(True)
        self.accelerator = Accelerator(mixed_precision=recipe.mixed, cpu=device == "cpu")
        if self.accelerator.num_processes > 1:
            raise TrainingError(_("training uses one process and one device: start it without `accelerate launch`"))
        self.device = self.accelerator.device
        self.model: JointModel = model.to(self.device)
        towers = [
            parameter
            for part in (model.texts, model.pictures)
            for parameter in part.parameters()
            if parameter.requires_grad
        ]
        if not towers:
            raise TrainingError(
                _("no layer of the towers is trained: set --text-layers or --image-layers to 1 or more")
            )
        decoder = list(model.decoder.parameters()) if model.decoder is not None else []
        self.start = [parameter.detach().clone() for parameter in towers]
        self.towers = towers
        groups = [
            {"params": [*towers, model.scale], "lr": recipe.learning_rate, "weight_decay": 0.0},
            {"params": decoder, "lr": recipe.decoder_rate, "weight_decay": recipe.weight_decay},
        ]
        optimiser = torch.optim.AdamW([group for group in groups if group["params"]])
        self.optimiser = self.accelerator.prepare(optimiser)
        self.step = 0
        self.losses: list[dict[str, float]] = []

    # --- the loop --------------------------------------------------------------------------------------------------

    def run(self, tick: Tick = lambda _: None, each: Callable[[int], bool] = lambda _: False) -> None:
        """Train from the current step to the end.

        ``each(epoch)`` is called after every epoch, when its checkpoint is written; training stops if it returns True.
        ``tick`` is called after every step with a text of the losses. Raises TrainingError if a loss is not finite or
        memory runs out; the last checkpoint is kept.
        """
        recipe, model = self.recipe, self.model
        drawn, order, saved = 0, list(self._batches(0)), time.monotonic()
        while self.step < self.total:
            epoch, at = divmod(self.step, self.steps_an_epoch)
            if epoch != drawn:
                drawn, order = epoch, list(self._batches(epoch))
            batches = order[at * recipe.accumulate : (at + 1) * recipe.accumulate]
            share = schedule(self.step, self.total, recipe.warmup)
            for group, rate in zip(
                self.optimiser.param_groups, (recipe.learning_rate, recipe.decoder_rate), strict=False
            ):
                group["lr"] = rate * share
            model.train()
            mean_losses = {"contrast": 0.0, "generation": 0.0}
            with _memory(recipe):
                for pictures, captions, views in batches:
                    losses = self.gradients(pictures, captions, views)
                    for name, value in losses.items():
                        mean_losses[name] += value / len(batches)
            mean_losses["loss"] = mean_losses["contrast"] + recipe.generation * mean_losses["generation"]
            if not math.isfinite(mean_losses["loss"]):
                raise TrainingError(
                    _(
                        "the loss is not finite at step {step} of {total}: try a lower --learning-rate "
                        "(now {learning_rate:g}); the last checkpoint is in {folder}"
                    ).format(
                        step=self.step + 1, total=self.total, learning_rate=recipe.learning_rate, folder=self.folder
                    )
                )
            nn.utils.clip_grad_norm_(
                [parameter for group in self.optimiser.param_groups for parameter in group["params"]], recipe.clip
            )
            self.optimiser.step()
            self.optimiser.zero_grad()
            self._pull(recipe.learning_rate * share * recipe.weight_decay)
            self.step += 1
            self.losses.append(mean_losses)
            tick(f"contrast {mean_losses['contrast']:.3f}, generation {mean_losses['generation']:.3f}")
            epoch_ends = self.step % self.steps_an_epoch == 0
            if epoch_ends or time.monotonic() - saved > SAVED:
                self.save()
                saved = time.monotonic()
            if epoch_ends and each(self.step // self.steps_an_epoch):
                return

    def gradients(self, pictures: Rows, captions: Rows, views: Rows) -> dict[str, float]:
        """Accumulate the gradients of one batch, computed in chunks, and return its losses by name.

        With several chunks this is gradient caching (Gao et al. 2021), and the gradients are those of the whole batch:
        first, all vectors are computed without gradients; then the contrastive loss and its gradient for each vector;
        then each chunk runs again with the same random numbers, and its vectors' gradients are propagated back.
        """
        recipe, model, device = self.recipe, self.model, self.device
        B, share = len(pictures), 1 / recipe.accumulate
        parts = [slice(at, min(at + recipe.chunk, B)) for at in range(0, B, recipe.chunk)]
        same = torch.from_numpy(_same(self.numbers[np.asarray(captions)])).to(device)  # (B, B)
        random: list[list[Tensor]] = []
        first: list[list[Tensor]] = [[], []]
        if len(parts) > 1:
            for part in parts:
                random.append(_random(device))
                with torch.no_grad(), self.accelerator.autocast():
                    u, v, *_ = self._vectors(pictures[part], captions[part], views[part])
                first[0].append(u)
                first[1].append(v)
            x, y = (torch.cat(rows).requires_grad_() for rows in first)  # (B, D)
            contrastive = contrast(x, y, model.scale, same)
            (contrastive * share).backward()
        caption_loss = 0.0
        for at, part in enumerate(parts):
            if random:
                _restore(random[at], device)
            with self.accelerator.autocast():
                u, v, tokens, ids, mask = self._vectors(pictures[part], captions[part], views[part])  # (b, D)
                if random:
                    loss = (u * x.grad[part]).sum() + (v * y.grad[part]).sum()
                else:
                    contrastive = contrast(u, v, model.scale, same)
                    loss = contrastive * share
                if model.decoder is not None:
                    # Weighted, so that the chunks add up to the mean of the batch.
                    decoder_loss = model.decoder(ids, mask, tokens) * (len(ids) / B)
                    loss = loss + recipe.generation * share * decoder_loss
                    caption_loss += float(decoder_loss.detach())
            self.accelerator.backward(loss)
        return {"contrast": float(contrastive.detach()), "generation": caption_loss}

    def _vectors(
        self, pictures: Rows, captions: Rows, views: Rows
    ) -> tuple[Tensor, Tensor, list[Tensor], Tensor, Tensor]:
        """Return the vectors (b, D) of pictures and captions, picture tokens, and the captions' ids and mask (b, T)."""
        model, mix = self.model, None
        if self.recipe.mixup and model.training:
            other = torch.randperm(len(pictures)).to(self.device)
            share = torch.distributions.Beta(self.recipe.mixup, self.recipe.mixup).sample((len(pictures), 1))
            mix = other, torch.maximum(share, 1 - share).to(self.device)  # (b,), (b, 1): the larger share is its own
        shown = {k: v.to(self.device) for k, v in self.train.pictures.batch(pictures, views).items()}
        x, tokens = model.pictures(shown, model.decoder is not None, mix)  # (b, D), (b, P, C) by value
        ids, mask, values = model.caption_inputs(self.train.captions, captions, self.device)  # (b, T)
        y = model.texts(ids, mask, values)
        return x, y if mix is None else F.normalize(torch.lerp(y[mix[0]], y, mix[1]), dim=-1), tokens, ids, mask

    def _batches(self, epoch: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the batches of an epoch: rows of pictures, a caption of each, and views. Only seed and epoch matter."""
        draw = np.random.default_rng([self.recipe.seed, epoch])
        order = draw.permutation(len(self.of))
        captions = np.array([self.of[row][draw.integers(len(self.of[row]))] for row in order])
        views = draw.integers(self.recipe.views, size=len(order))
        size = min(self.recipe.batch, len(order))
        for at in range(0, len(order) - size + 1, size):
            rows = slice(at, at + size)
            yield self.train.rows[order[rows]], captions[rows], views[rows]

    def _pull(self, share: float) -> None:
        """Move the towers' weights toward their start by this share of the distance (L2-SP)."""
        with torch.no_grad():
            torch._foreach_lerp_(self.towers, self.start, share)

    # --- vectors without training ----------------------------------------------------------------------------------

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def encode(self, material: Material, size: int = 256) -> tuple[Floats, Floats]:
        """Return the unit rows of a split's captions (C, D), and of its pictures that have captions (N, D)."""
        self.model.eval()
        texts, shown = [], []
        order = np.argsort([len(ids) for ids in material.captions.ids], kind="stable")
        for at in range(0, len(order), size):
            texts.append(
                self.model.texts(
                    *self.model.caption_inputs(material.captions, order[at : at + size], self.device)
                ).cpu()
            )
        for at in range(0, len(material.rows), size):
            rows = material.rows[at : at + size]
            values = material.pictures.batch(rows, [0] * len(rows))
            shown.append(self.model.pictures({k: v.to(self.device) for k, v in values.items()}, False)[0].cpu())
        text_rows = torch.cat(texts).numpy()
        back = np.empty_like(text_rows)
        back[order] = text_rows
        return back, torch.cat(shown).numpy()

    # --- checkpoints -----------------------------------------------------------------------------------------------

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the trained parameters on the CPU, by name."""
        return {
            name: parameter.detach().cpu().clone()
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in weights.items():
                parameters[name].copy_(value)

    def save(self) -> None:
        """Write the checkpoint to a temporary file and rename it: after a kill, the previous one is intact."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "recipe": asdict(self.recipe), "step": self.step, "losses": self.losses, "weights": self.weights(),
            "start": [parameter.cpu() for parameter in self.start], "optimiser": self.optimiser.state_dict(),
            "random": _random(self.device),
        }  # fmt: skip
        beside = self.folder / "checkpoint.part"
        try:
            with beside.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            beside.rename(self.folder / "checkpoint.pt")
        except OSError as problem:
            raise TrainingError(
                _("the checkpoint cannot be written to {folder} ({reason}): free space, then --resume").format(
                    folder=self.folder, reason=system_reason(problem)
                )
            ) from problem

    def resume(self) -> bool:
        """Load the checkpoint, so that training continues exactly where it stopped; return False if there is none.

        Raises TrainingError if the checkpoint is damaged or was written with other settings.
        """
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return False
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            recipe = state["recipe"]
        except Exception as problem:  # the library raises exceptions of any kind on damaged files
            raise TrainingError(
                _("the checkpoint {path} cannot be read ({type}): remove it").format(
                    path=path, type=type(problem).__name__
                )
            ) from problem
        if other := sorted(name for name, value in asdict(self.recipe).items() if recipe.get(name) != value):
            differences = ", ".join(f"{name} {recipe.get(name)}" for name in other)
            raise TrainingError(
                _(
                    "the checkpoint in {folder} was made with {differences}: use the same, or choose another --out"
                ).format(folder=self.folder, differences=differences)
            )
        try:
            self.load_weights(state["weights"])
            self.optimiser.load_state_dict(state["optimiser"])
            for start, saved in zip(self.start, state["start"], strict=True):
                start.copy_(saved)
            self.step, self.losses = state["step"], state["losses"]
            _restore(state["random"], self.device)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as problem:
            raise TrainingError(
                _("the checkpoint {path} belongs to another model or is damaged: remove it").format(path=path)
            ) from problem
        return True


def schedule(step: int, total: int, warmup: float) -> float:
    """Return the factor of the learning rate at ``step``, in [0, 1]: linear warm-up, then cosine decay to 0."""
    rising = max(1, round(warmup * total))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))


@contextlib.contextmanager
def _memory(recipe: JointRecipe) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as problem:
        text = str(problem).lower()
        if (
            isinstance(problem, (MemoryError, torch.OutOfMemoryError))
            or "allocate memory" in text
            or "out of memory" in text
        ):
            smaller = max(1, min(recipe.chunk, recipe.batch) // 2)
            raise TrainingError(
                _(
                    "out of memory with {batch} pictures at once: "
                    "try --chunk {smaller} (the result is the same), or train fewer layers"
                ).format(batch=min(recipe.chunk, recipe.batch), smaller=smaller)
            ) from problem
        raise


def _numbered(material: Material) -> NDArray[np.int64]:
    """Return a number for each caption (C,), equal for captions with equal tokens."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(ids.tobytes(), len(numbers)) for ids in material.captions.ids])


def _same(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.equal.outer(numbers, numbers) & ~np.eye(len(numbers), dtype=bool)


def _random(device: Any) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _restore(state: list[Tensor], device: Any) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda" and len(state) > 1:
        torch.cuda.set_rng_state(state[1], device)
