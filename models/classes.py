"""What the image tower's classifier knows by name: vectors of the 1,000 names, and what each class looks like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import data
from features import Floats, text_vectors, unit

TEMPLATES = ["a photo of a {}", "{}", "a picture of a {}", "there is a {} in the photo"]


def class_vectors(bundle: Path, names: int = 3) -> Floats:
    """Return unit rows (1000, D): each class's first ``names`` names in several phrases, the first counting double."""
    known, _ = data.class_names()
    texts = [template.format(name) for every in known for name in every[:names] for template in TEMPLATES]
    vectors = iter(text_vectors(bundle, texts).reshape(-1, len(TEMPLATES), 384).sum(1))
    rows = [sum(next(vectors) * (1.0 if i == 0 else 0.5) for i in range(len(every[:names]))) for every in known]
    return unit(np.array(rows))


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
