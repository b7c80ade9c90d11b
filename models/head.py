"""The shipped head: perceptrons by the library's own trainer, beside what the classifier would call the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from commonplace.training import heads
from commonplace.training.heads import Data, Perceptron, dropout, fit

__all__ = ["Head", "HeadRecipe", "Int8Linear", "Perceptron", "Shipped", "components", "dropout", "train"]


@dataclass(frozen=True, slots=True)
class HeadRecipe(heads.HeadRecipe):
    """Hyperparameters of one head. Each rung of the ladder changes one or two of them."""

    hidden: int = 2048
    epochs: int = 100
    views: int = 4  # how many of features.VIEWS are drawn from
    known: int = 0
    names: float = 0.45  # length of a sure class name's vector beside the perceptron's unit vector


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
        self.visual = Int8Linear(components(features[:, : self.known], head.class_vectors.shape[1]))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(features), self.visual(features[:, : self.known])


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
    recipe: heads.HeadRecipe, views: Tensor, captions: Tensor, class_vectors: Tensor, prototypes: Tensor, seed: int,
    learn_temperature: bool = True,
) -> Perceptron:  # fmt: skip
    """Return a trained perceptron.

    ``views`` (V, N, F): features of N pictures seen in V ways (plain, mirrored, cropped). ``captions`` (N, C, D):
    unit rows. ``prototypes`` (1000, F): a typical feature vector of each class, paired with ``class_vectors``.
    """
    N, C = captions.shape[:2]
    told = Data(
        views, captions.flatten(0, 1), C * torch.arange(N), torch.full((N,), C), extra=(prototypes, class_vectors)
    )
    return fit(replace(recipe, learn_temperature=learn_temperature), told, seed).head
