"""The projection head: from the image tower's features to the text tower's space, and its training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyperparameters of one head. Each rung of the ladder changes one or two of them."""

    hidden: int = 2048  # 0: a linear map
    input_dropout: float = 0.5
    dropout: float = 0.5
    epochs: int = 100
    batch: int = 1000  # pictures in a step
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    temperature: float = 0.03  # at the start; learned
    mixup: float = 0.5  # Beta(mixup, mixup) of two pictures' features and of their captions; 0: none
    blend: bool = True  # the target is a point between two captions of the picture, not one caption
    views: int = 4  # plain, crops and mirrored: how many of features.VIEWS are drawn from
    known: int = 0  # the first features, taken as they are; later ones are put on one scale with them; 0: all are
    prototypes: int = 0  # class prototypes in a step, paired with their names
    structure: float = 0.0  # weight of the squared error between the pictures' cosines and their captions'
    names: float = 0.45  # length of a sure class name's vector beside the perceptron's unit vector


def dropout(x: Tensor, share: float, training: bool) -> Tensor:
    """Drop ``share`` of the numbers, to the nearest 1/256: one random byte each, a fifth of F.dropout's time here."""
    if not training or not share:
        return x
    draws = torch.randint(-(2**63), 2**63 - 1, ((x.numel() + 7) // 8,)).view(torch.uint8)[: x.numel()].view(x.shape)
    return x * (draws >= round(256 * share)).to(x.dtype) / (1 - share)


class Perceptron(nn.Module):
    """Features (B, F) in, unit rows (B, D) out: one hidden layer, or none.

    Features are taken less ``centre`` and times ``scale``: means of different maps differ tenfold in size.
    """

    def __init__(self, recipe: Recipe, features: int, dim: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.centre, self.scale = nn.Buffer(torch.zeros(features)), nn.Buffer(torch.ones(features))
        self.wide = nn.Linear(features, recipe.hidden or dim)
        self.narrow = nn.Linear(recipe.hidden, dim) if recipe.hidden else nn.Identity()
        self.temperature = recipe.temperature  # at the end of training

    def forward(self, features: Tensor) -> Tensor:
        x = (features - self.centre) * self.scale
        x = self.wide(dropout(x, self.recipe.input_dropout, self.training))  # (B, H)
        if self.recipe.hidden:
            x = self.narrow(dropout(F.relu(x), self.recipe.dropout, self.training))
        return F.normalize(x, dim=-1)


class Head(nn.Module):
    """Perceptrons, averaged, joined by what the tower's own classifier would call the picture.

    The second part needs no training: the names of the ten likeliest classes, weighted by their probabilities
    (Norouzi et al. 2014, convex combination of semantic embeddings). Its length grows with the classifier's
    confidence, up to ``names``, so a picture of nothing the classifier knows is left to the perceptrons. The mean
    of all names is taken off: it says nothing but "a photo of a", and would make sure pictures everybody's answer.
    """

    def __init__(
        self, perceptrons: Sequence[nn.Module], classifier: nn.Linear, class_vectors: Tensor, names: float,
        sharpness: float = 1.4,
    ) -> None:  # fmt: skip
        super().__init__()
        self.perceptrons = nn.ModuleList(perceptrons)
        self.classifier = classifier.requires_grad_(False)
        self.class_vectors = nn.Buffer(class_vectors - class_vectors.mean(0))  # (1000, D)
        self.names = names
        self.sharpness = sharpness  # of the classifier's scores: it was trained to be less sure than it is right

    def forward(self, features: Tensor) -> Tensor:
        """Return unit rows (B, D) for features (B, F)."""
        x = sum(perceptron(features) for perceptron in self.perceptrons) / len(self.perceptrons)
        if self.names:
            known = features[:, : self.classifier.weight.shape[1]]  # earlier maps follow: it knows nothing of those
            likely, which = (self.sharpness * self.classifier(known)).softmax(1).topk(10)  # (B, 10)
            x = x + self.names * torch.einsum("bk,bkd->bd", likely, self.class_vectors[which])
        return F.normalize(x, dim=-1)


class Int8Linear(nn.Module):
    """A linear map with its weights as int8 and one scale a row: half of float16, for the file; runtimes widen it."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.scale = nn.Buffer(weight.abs().amax(1, keepdim=True) / 127)  # (out, 1)
        self.weight = nn.Buffer((weight / self.scale).round().to(torch.int8))
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.float() * self.scale, self.bias)


class Shipped(nn.Module):
    """``head`` and, beside it, how pictures look: the features' principal components, which words have not reshaped.

    Every linear map in ``head`` becomes int8, in place.
    """

    def __init__(self, head: Head, features: Tensor) -> None:
        super().__init__()
        for perceptron in head.perceptrons:
            perceptron.wide, perceptron.narrow = Int8Linear(perceptron.wide), Int8Linear(perceptron.narrow)
        head.classifier = Int8Linear(head.classifier)
        self.head = head
        self.known = head.classifier.weight.shape[1]
        self.look = Int8Linear(components(features[:, : self.known], head.class_vectors.shape[1]))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(features), self.look(features[:, : self.known])


def components(features: Tensor, dim: int, whiten: float = 0.0) -> nn.Linear:
    """Return the map from features to their ``dim`` first principal components, about the mean of ``features``.

    Each is divided by its standard deviation to the power of ``whiten``.
    """
    centre = features.mean(0)
    _, spreads, axes = torch.linalg.svd(features - centre, full_matrices=False)
    axes = axes[:dim] * axes[:dim].sum(1, keepdim=True).sign()  # (dim, F): an axis has no sign of its own
    axes = axes * (spreads[:dim, None] / len(features) ** 0.5) ** -whiten
    found = nn.Linear(features.shape[1], dim).requires_grad_(False)
    found.weight.copy_(axes)
    found.bias.copy_(-axes @ centre)
    return found


def train(
    recipe: Recipe, views: Tensor, captions: Tensor, class_vectors: Tensor, prototypes: Tensor, seed: int,
    learn_temperature: bool = True,
) -> Perceptron:  # fmt: skip
    """Return a trained perceptron.

    ``views`` (V, N, F): features of N pictures seen in V ways (plain, mirrored, cropped). ``captions`` (N, C, D):
    unit rows. ``prototypes`` (1000, F): a typical feature vector of each class, paired with ``class_vectors``.
    The loss is InfoNCE both ways, a picture against all captions of the step and a caption against all pictures.
    """
    torch.manual_seed(seed)
    perceptron = Perceptron(recipe, views.shape[2], captions.shape[2])
    if recipe.known:
        spread = views[0].std(0) + 1e-3
        perceptron.centre[recipe.known :] = views[0, :, recipe.known :].mean(0)
        perceptron.scale[recipe.known :] = spread[: recipe.known].mean() / spread[recipe.known :]
    log_scale = nn.Parameter(torch.tensor(math.log(1 / recipe.temperature)), requires_grad=learn_temperature)
    groups = [
        {"params": perceptron.parameters(), "weight_decay": recipe.weight_decay},
        {"params": [log_scale], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
    V, N, C = min(recipe.views, len(views)), len(captions), captions.shape[1]
    batches = math.ceil(N / recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, recipe.epochs * batches)
    for _ in range(recipe.epochs):
        for rows in torch.randperm(N).chunk(batches):
            x = views[torch.randint(V, (len(rows),)), rows]  # (B, F)
            y = captions[rows, torch.randint(C, (len(rows),))]  # (B, D)
            if recipe.blend:
                y = torch.lerp(y, captions[rows, torch.randint(C, (len(rows),))], torch.rand(len(rows), 1))
            if recipe.prototypes:
                which = torch.randint(len(prototypes), (recipe.prototypes,))
                x, y = torch.cat([x, prototypes[which]]), torch.cat([y, class_vectors[which]])
            if recipe.mixup:
                share = torch.distributions.Beta(recipe.mixup, recipe.mixup).sample((len(x), 1))
                share = torch.maximum(share, 1 - share)
                other = torch.randperm(len(x))
                x, y = torch.lerp(x[other], x, share), torch.lerp(y[other], y, share)
            with torch.autocast("cpu", torch.bfloat16):
                z = perceptron(x)  # (B, D)
            logits = log_scale.exp() * z.float() @ F.normalize(y, dim=-1).T  # (B, B)
            target = torch.arange(len(x))
            loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
            if recipe.structure:
                y = F.normalize(y, dim=-1)
                loss = loss + recipe.structure * F.mse_loss(z.float() @ z.float().T, y @ y.T)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    perceptron.temperature = float((-log_scale).exp())
    return perceptron.eval()
