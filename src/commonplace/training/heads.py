"""Projection heads, which map a frozen tower's features to the joint space, and their training.

This code also trains the heads of the bundled model (`models/`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import TrainingError
from commonplace.i18n import _
from commonplace.training.judge import judge
from commonplace.training.pairs import Pairs

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F
except ImportError as problem:
    raise TrainingError(
        _("training needs PyTorch ({name} is not installed): run `pip install 'commonplace-rag[train]'`").format(
            name=problem.name
        )
    ) from problem

__all__ = [
    *("Data", "Fitted", "Perceptron", "HeadRecipe", "canonical", "closed_form", "device_name", "fit", "linear_maps"),
    *("ridge", "scorer"),
]

Floats = NDArray[np.float32]
Loss = Literal["infonce", "triplet", "sigmoid"]


@dataclass(frozen=True, slots=True)
class HeadRecipe:
    """Hyperparameters of one head; the defaults were chosen on Flickr8k's dev split (models/LADDER.md)."""

    hidden: int = 1280  # width of the hidden layer; 0: a linear map
    input_dropout: float = 0.5
    dropout: float = 0.5
    epochs: int = 0  # 0: as many as ``steps`` needs
    steps: int = 600
    batch: int = 1000  # pictures in a step
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    loss: Loss = "infonce"
    temperature: float = 0.03  # the initial value; it is learned
    learn_temperature: bool = True
    margin: float = 0.2  # of the triplet loss, a difference of cosines
    mixup: float = 0.5  # Beta(mixup, mixup) of two pictures' features and of their captions; 0: none
    blend: bool = True  # the target is interpolated between two captions of the picture
    views: int = 3  # how many of the views (plain, crops, mirrored) are used
    known: int = -1  # so many first features stay unscaled, and the others get their scale; -1: all are standardised
    closed: bool = False  # start from canonical correlations instead of random weights
    prototypes: int = 0  # pairs from ``Data.extra`` in each step
    structure: float = 0.0  # weight of the squared error between the pictures' cosines and their captions'
    text_head: bool = False  # train a linear map of the texts too; else the text tower's space stays as it is
    patience: int = 8  # checks on dev without a gain before training stops
    checks: int = 20  # checks on dev during the whole training

    def length(self, pictures: int) -> tuple[int, int, int]:
        """Return the epochs, the total steps, and the steps in an epoch, for training on ``pictures`` pictures."""
        batches = math.ceil(pictures / self.batch)
        epochs = self.epochs or math.ceil(self.steps / batches)
        return epochs, epochs * batches, batches


@dataclass(frozen=True, slots=True)
class Data:
    """The training data of heads; all values are float32.

    - ``views`` (V, N, F): features of N pictures in V views.
    - ``captions`` (M, D): unit rows of all captions. Picture i has the ``count[i]`` rows from ``first[i]`` on.
    - ``equal`` (M,): the same number for equal captions, which are not negatives of each other; None if all differ.
    - ``base`` (V, N, D): unit rows that an existing model gives these pictures. The head's output is added to them.
    - ``extra``: features (P, F) and unit rows (P, D) of additional pairs; see ``HeadRecipe.prototypes``.
    """

    views: Tensor
    captions: Tensor
    first: Tensor
    count: Tensor
    equal: Tensor | None = None
    base: Tensor | None = None
    extra: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(
        cls, pairs: Pairs, at: NDArray[np.int64], features: Floats, texts: Floats,
        base: Callable[[Floats], Floats] | None = None,
    ) -> Data:  # fmt: skip
        """Return the data of the pictures in rows ``at``; ``features`` (V, N, F) and ``texts`` (C, D) are of all pairs.

        ``base`` maps features (N, F) to the unit rows (N, D) that the heads' output is added to.
        """
        views, rows = features[:, at], np.isin(pairs.owner, at)
        count = np.array([len(pairs.pairs[i].captions) for i in at])
        words = [caption.casefold() for caption, selected in zip(pairs.captions, rows, strict=True) if selected]
        number = {word: i for i, word in enumerate(dict.fromkeys(words))}
        return cls(
            torch.from_numpy(views),
            torch.from_numpy(texts[rows]),
            torch.from_numpy(np.cumsum(count) - count),
            torch.from_numpy(count),
            torch.tensor([number[word] for word in words]) if len(number) < len(words) else None,
            None if base is None else torch.from_numpy(np.stack([base(view) for view in views])),
        )

    @property
    def means(self) -> Tensor:
        """The mean of each picture's captions, shape (N, D)."""
        return torch.stack([rows.mean(0) for rows in self.captions.split(self.count.tolist())])

    def to(self, where: str) -> Data:
        moved = {name: getattr(self, name) for name in ("views", "captions", "first", "count", "equal", "base")}
        extra = None if self.extra is None else (self.extra[0].to(where), self.extra[1].to(where))
        return replace(self, extra=extra, **{k: None if v is None else v.to(where) for k, v in moved.items()})


def dropout(x: Tensor, share: float, training: bool) -> Tensor:
    """Apply dropout with probability ``share``, rounded to 1/256. Takes a fifth of F.dropout's time here."""
    if not training or not share:
        return x
    draws = torch.randint(-(2**63), 2**63 - 1, ((x.numel() + 7) // 8,), device=x.device)
    return x * (draws.view(torch.uint8)[: x.numel()].view(x.shape) >= round(256 * share)).to(x.dtype) / (1 - share)


class Perceptron(nn.Module):  # type: ignore[misc]
    """Maps features (B, F) to unit rows (B, D), with one hidden layer or none.

    ``centre`` is subtracted from the features, and they are multiplied by ``scale``. ``straight`` is a linear map
    parallel to the hidden layer, for a start in closed form. ``base`` (B, D), the rows of an existing model, is added
    to the output before it is normalised.
    """

    def __init__(self, recipe: HeadRecipe, features: int, dim: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.centre, self.scale = nn.Buffer(torch.zeros(features)), nn.Buffer(torch.ones(features))
        self.wide = nn.Linear(features, recipe.hidden or dim)
        self.narrow = nn.Linear(recipe.hidden, dim) if recipe.hidden else nn.Identity()
        self.straight: nn.Linear | None = None
        self.temperature = recipe.temperature  # after training: the learned value

    def forward(self, features: Tensor, base: Tensor | None = None) -> Tensor:
        inputs = dropout((features - self.centre) * self.scale, self.recipe.input_dropout, self.training)
        x = self.wide(inputs)  # (B, H)
        if self.recipe.hidden:
            x = self.narrow(dropout(F.relu(x), self.recipe.dropout, self.training))
        if self.straight is not None:
            x = x + self.straight(inputs)
        return F.normalize(x if base is None else x + base, dim=-1)

    def standardise(self, features: Tensor) -> None:
        """Set ``centre`` and ``scale`` from ``features`` (N, F), as ``HeadRecipe.known`` specifies."""
        components, mean, spread = self.recipe.known, features.mean(0), features.std(0) + 1e-3
        if components < 0:
            self.centre.copy_(mean)
            self.scale.copy_(1 / (spread + 0.1 * spread.mean()))  # a feature of small variance is not amplified
        elif components:
            self.centre[components:] = mean[components:]
            self.scale[components:] = spread[:components].mean() / spread[components:]

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def begin(self, weights: Tensor | None, bias: Tensor | None) -> None:
        """Initialise to the linear map ``weights`` (F, D) and ``bias`` (D,) of the unscaled features; None: to zero."""
        last = self.wide if not self.recipe.hidden else self.narrow
        last.weight.zero_()
        last.bias.zero_()
        if weights is not None and bias is not None:
            if self.recipe.hidden:
                self.straight = nn.Linear(*weights.shape)
            into = self.straight if self.straight is not None else self.wide
            into.weight.copy_(weights.T / self.scale)
            into.bias.copy_(bias + self.centre @ weights)


# ---------------------------------------------------------------- closed forms


def ridge(x: Tensor, y: Tensor, penalty: float = 300.0) -> tuple[Tensor, Tensor]:
    """Return weights (F, D) and bias (D,) of ridge regression from features ``x`` (N, F) to rows ``y`` (N, D)."""
    centre, target = x.mean(0), y.mean(0)
    x, y = x - centre, y - target
    weights = torch.linalg.solve(x.T @ x + penalty * torch.eye(x.shape[1]), x.T @ y)  # (F, D)
    return weights, target - centre @ weights


def canonical(x: Tensor, y: Tensor, dim: int = 128, penalty: float = 0.05) -> tuple[Tensor, Tensor]:
    """Return weights (F, D) and bias (D,) that map features ``x`` (N, F) into the space of the rows ``y`` (N, D).

    The map is a regularised canonical correlation analysis (Hotelling 1936), followed by the way back to the space of
    ``y``. So the texts stay unchanged.
    """
    x, y = x.double(), y.double()
    centre, target = x.mean(0), y.mean(0)
    x, y = x - centre, y - target
    root_x = torch.linalg.cholesky(x.T @ x / len(x) + penalty * torch.eye(x.shape[1]))
    root_y = torch.linalg.cholesky(y.T @ y / len(y) + 1e-4 * torch.eye(y.shape[1]))
    solve = torch.linalg.solve_triangular
    white = solve(root_y, solve(root_x, x.T @ y / len(x), upper=False).T, upper=False).T  # (F, D)
    u, strength, v = torch.linalg.svd(white, full_matrices=False)
    into = solve(root_x.T, u[:, :dim], upper=True)  # features -> canonical variates
    weights = into @ ((strength[:dim, None] * v[:dim]) @ root_y.T)  # the prediction of the row
    return weights.float(), (target - centre @ weights).float()


def closed_form(data: Data) -> Callable[[Floats], Floats]:
    """Return a function that maps features (N, F) to unit rows (N, D) by canonical correlations alone."""
    weights, bias = canonical(data.views[0], data.means)
    return lambda features: np.asarray(F.normalize(torch.from_numpy(features) @ weights + bias, dim=-1).numpy())


# ---------------------------------------------------------------- losses


def infonce(z: Tensor, y: Tensor, equal: Tensor | None, scale: Tensor) -> Tensor:
    """Return the symmetric InfoNCE loss of unit rows ``z``, ``y`` (B, D).

    Source: van den Oord et al. 2018; CLIP, Radford et al. 2021. ``equal`` (B, B) masks pairs that are no negatives.
    """
    logits = scale * z @ y.T  # (B, B)
    if equal is not None:
        logits = logits.masked_fill(equal, -torch.inf)
    target = torch.arange(len(z), device=z.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def triplet(z: Tensor, y: Tensor, equal: Tensor | None, margin: float) -> Tensor:
    """Return the hinge loss on the hardest negative of the batch, in both directions (VSE++, Faghri et al. 2018)."""
    scores = z @ y.T  # (B, B)
    positives = scores.diag()
    off = torch.eye(len(z), dtype=torch.bool, device=z.device)
    other = scores.masked_fill(off if equal is None else off | equal, -torch.inf)
    return F.relu(margin + other.amax(1) - positives).mean() + F.relu(margin + other.amax(0) - positives).mean()


def sigmoid(z: Tensor, y: Tensor, equal: Tensor | None, scale: Tensor, bias: Tensor) -> Tensor:
    """Return the loss that classifies each pair by itself as related or not (SigLIP, Zhai et al. 2023)."""
    logits = scale * z @ y.T + bias  # (B, B)
    signs = 2 * torch.eye(len(z), device=z.device) - 1
    each = -F.logsigmoid(signs * logits)
    return (each if equal is None else each.masked_fill(equal, 0.0)).sum() / len(z)


# ---------------------------------------------------------------- the trainer


@dataclass(frozen=True, slots=True)
class Fitted:
    """The result of ``fit``: a head in evaluation mode and a text head (None: texts are not mapped).

    ``score`` is the best score on dev, in [0, 1], and ``step`` the step that reached it. ``broken`` is the error that
    stopped training early, or None.
    """

    head: Perceptron
    text_head: Perceptron | None
    score: float
    step: int
    steps: int
    broken: str | None = None


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name() -> str:
    """Return the name of the training device: the GPU if there is one, else "a CPU"."""
    return str(torch.cuda.get_device_name()) if _device() == "cuda" else "a CPU"


def scorer(dev: Data) -> Callable[[Perceptron, Perceptron | None], float]:
    """Return a function that scores a head (and a text head) by mean recall on ``dev``, [0, 1]; NaN if not finite."""
    owner, shown = np.repeat(np.arange(len(dev.count)), dev.count.numpy()), dev.to(_device())

    def score(head: Perceptron, text_head: Perceptron | None) -> float:
        with torch.no_grad():
            projected = head(shown.views[0], None if shown.base is None else shown.base[0])
            read = shown.captions if text_head is None else text_head(shown.captions)
        if not torch.isfinite(projected).all():
            return math.nan
        return judge(read.cpu().numpy(), projected.cpu().numpy(), owner).mean

    return score


def _multiplies_half() -> bool:
    capabilities: Any = getattr(torch.cpu, "get_capabilities", None)
    return bool(capabilities and capabilities().get("amx_bf16"))


def fit(
    recipe: HeadRecipe, data: Data, seed: int, *, score: Callable[[Perceptron, Perceptron | None], float] | None = None,
    tick: Callable[[int], object] = lambda _: None,
) -> Fitted:  # fmt: skip
    """Return a head trained on ``data``, on the GPU if there is one.

    With ``score`` (see ``scorer``), the head with the best score is kept. ``tick`` is called with the number of steps
    done. Raises TrainingError if memory runs out, or if the loss is not finite before the first check on dev.
    """
    try:
        return _fit(recipe, data.to(_device()), seed, score, _device(), tick)
    except (MemoryError, torch.OutOfMemoryError) as problem:
        raise _no_memory(recipe) from problem
    except RuntimeError as problem:
        if "memory" in str(problem).lower():  # PyTorch has several messages for this
            raise _no_memory(recipe) from problem
        raise


def _no_memory(recipe: HeadRecipe) -> TrainingError:
    return TrainingError(
        _("out of memory with {batch} pictures a step: try --batch {smaller}, or fewer --views").format(
            batch=recipe.batch, smaller=max(recipe.batch // 2, 8)
        )
    )


def _fit(
    recipe: HeadRecipe, data: Data, seed: int,
    score: Callable[[Perceptron, Perceptron | None], float] | None, where: str,
    tick: Callable[[int], object],
) -> Fitted:  # fmt: skip
    V, N, Fs = min(recipe.views, len(data.views)), len(data.first), data.views.shape[2]
    C = int(data.count.max()) if int(data.count.min()) == int(data.count.max()) else 1 << 30
    epochs, steps, batches = recipe.length(N)
    every = max(steps // recipe.checks, 1)
    half = where == "cuda" or _multiplies_half()  # on other processors bfloat16 is slower

    torch.manual_seed(seed)
    head = Perceptron(recipe, Fs, data.captions.shape[1])
    head.standardise(data.views[0].cpu())
    if data.base is not None:
        head.begin(None, None)
    elif recipe.closed:
        head.begin(*canonical(data.views[0].cpu(), data.means.cpu()))
    text_head = _text_head(recipe, data.captions.shape[1])
    log_scale = nn.Parameter(torch.tensor(math.log(1 / recipe.temperature)), requires_grad=recipe.learn_temperature)
    bias = nn.Parameter(torch.tensor(-10.0))  # of the sigmoid loss: nearly all pairs are unrelated
    towers = nn.ModuleList([head] if text_head is None else [head, text_head]).to(where)
    log_scale.data, bias.data = log_scale.data.to(where), bias.data.to(where)
    groups = [
        {"params": list(towers.parameters()), "weight_decay": recipe.weight_decay},
        {"params": [log_scale, bias], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, steps)
    step, best, best_step, state, broken, waited = 0, -math.inf, 0, copy.deepcopy(towers.state_dict()), None, 0
    if score is not None and (data.base is not None or recipe.closed):
        best = score(head.eval(), text_head)  # the start may be better than any later step

    def draw(rows: Tensor) -> Tensor:  # one caption of each picture
        return data.first[rows] + torch.randint(C, (len(rows),), device=where) % data.count[rows]

    for rows in (rows.to(where) for _epoch in range(epochs) for rows in torch.randperm(N).chunk(batches)):
        towers.train()
        view, caption = torch.randint(V, (len(rows),), device=where), draw(rows)
        x = data.views[view, rows]  # (B, F)
        y = data.captions[caption]  # (B, D)
        base = None if data.base is None else data.base[view, rows]  # (B, D)
        if recipe.blend:
            y = torch.lerp(y, data.captions[draw(rows)], torch.rand(len(rows), 1, device=where))
        same = None if data.equal is None or recipe.prototypes else data.equal[caption]  # (B,)
        if recipe.prototypes and data.extra is not None:
            which = torch.randint(len(data.extra[0]), (recipe.prototypes,), device=where)
            x, y = torch.cat([x, data.extra[0][which]]), torch.cat([y, data.extra[1][which]])
        if recipe.mixup:
            share = torch.distributions.Beta(recipe.mixup, recipe.mixup).sample((len(x), 1)).to(where)
            share = torch.maximum(share, 1 - share)  # the larger share is its own, so the targets stay the same
            other = torch.randperm(len(x), device=where)
            x, y = torch.lerp(x[other], x, share), torch.lerp(y[other], y, share)
            base = None if base is None else torch.lerp(base[other], base, share)
        with torch.autocast(where, torch.bfloat16, enabled=half):
            z = head(x, base).float()  # (B, D)
        y = F.normalize(y, dim=-1) if text_head is None else text_head(F.normalize(y, dim=-1))  # (B, D)
        equal = None if same is None else (same[:, None] == same) & ~torch.eye(len(x), dtype=torch.bool, device=where)
        if recipe.loss == "infonce":
            loss = infonce(z, y, equal, log_scale.exp())
        elif recipe.loss == "triplet":
            loss = triplet(z, y, equal, recipe.margin)
        else:
            loss = sigmoid(z, y, equal, log_scale.exp(), bias)
        if recipe.structure:
            loss = loss + recipe.structure * F.mse_loss(z @ z.T, (y @ y.T).detach())
        optimiser.zero_grad()
        loss.backward()
        if not torch.isfinite(loss):
            broken = _("the loss was not finite at step {step} of {steps}: try a lower --learning-rate").format(
                step=step + 1, steps=steps
            )
            break
        optimiser.step()
        schedule.step()
        step += 1
        tick(1)
        if score is not None and (step % every == 0 or step == steps):
            dev_score = score(head.eval(), text_head if text_head is None else text_head.eval())
            if not math.isfinite(dev_score):
                broken = _(
                    "the head's output was not finite at step {step} of {steps}: try a lower --learning-rate"
                ).format(step=step, steps=steps)
                break
            waited = 0 if dev_score > best else waited + 1
            if dev_score > best:
                best, best_step, state = dev_score, step, copy.deepcopy(towers.state_dict())
            if waited > recipe.patience:
                break
    if broken and best_step == 0 and not math.isfinite(best):
        raise TrainingError(broken)
    if score is not None:
        towers.load_state_dict(state)
    tick(steps - step)
    head.temperature = float((-log_scale.detach()).exp())
    towers.to("cpu").eval()
    return Fitted(head, text_head, best, best_step if score is not None else step, steps, broken)


def _text_head(recipe: HeadRecipe, dim: int) -> Perceptron | None:
    """Return a linear map of texts that is the identity at the start; None without ``HeadRecipe.text_head``."""
    if not recipe.text_head:
        return None
    head = Perceptron(replace(recipe, hidden=0, input_dropout=0.0, known=0), dim, dim)
    head.begin(torch.eye(dim), torch.zeros(dim))
    return head


def linear_maps(head: Perceptron) -> dict[str, Any]:
    """Return a head's linear maps as NumPy arrays, for unscaled features.

    The keys are ``wide``, ``narrow`` and ``straight``. Each value is weights (in, out) and bias (out,), or None.
    """

    def folded(layer: nn.Linear) -> tuple[Any, Any]:
        weights = layer.weight.detach() * head.scale  # (out, in)
        return weights.T.numpy(), (layer.bias.detach() - weights @ head.centre).numpy()

    narrow = (head.narrow.weight.detach().T.numpy(), head.narrow.bias.detach().numpy()) if head.recipe.hidden else None
    return {
        "wide": folded(head.wide),
        "narrow": narrow,
        "straight": None if head.straight is None else folded(head.straight),
    }
