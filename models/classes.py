"""What the image tower's classifier knows by name: vectors of the 1,000 names, and what each class looks like."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from features import Floats, unit

TEMPLATES = ["a photo of a {}", "{}", "a picture of a {}", "there is a {} in the photo"]
CHINESE_TEMPLATES = ["一张{}的照片", "{}", "{}的图片", "照片里有{}"]


def class_vectors(
    encode: Callable[[list[str]], Floats], known: Sequence[Sequence[str]], templates: Sequence[str] = TEMPLATES
) -> Floats:  # fmt: skip
    """Return unit rows (1000, D): each class's first three names in several phrases, the first counting double.

    ``known`` are the names of each class; ``encode`` returns unit rows of texts.
    """
    names = [every[:3] for every in known]
    texts = [template.format(name) for every in names for name in every for template in templates]
    vectors = iter(encode(texts).reshape(-1, len(templates), 384).sum(1))
    return unit(np.array([sum(next(vectors) * (0.5 if i else 1.0) for i in range(len(every))) for every in names]))


def prototypes(features: Tensor, classifier: nn.Linear, strength: float = 1.0) -> Tensor:
    """Return typical features (1000, F) of each class, without a picture of it.

    If the classifier were a linear discriminant with covariance S, its weights would be w = S^-1 (m - m0): so the
    class's mean is m = m0 + S w, with m0 and S from any ``features`` (N, F) of photographs.
    """
    centre = features.mean(0)
    covariance = (features - centre).T @ (features - centre) / len(features)  # (F, F)
    weights = classifier.weight.detach() - classifier.weight.detach().mean(0)
    moved = weights @ covariance
    moved = moved * (strength * (features - centre).norm(dim=1).mean() / moved.norm(dim=1, keepdim=True))
    return torch.clamp(centre + moved, 0, 6)
