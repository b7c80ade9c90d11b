"""A small caption decoder for the caption loss of CoCa (Yu et al. 2022). It is discarded after training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Decoder"]


class Decoder(nn.Module):  # type: ignore[misc]
    """A causal transformer over a caption, with cross-attention to the picture's tokens.

    Input and output embeddings are tied. ``vocabulary``: the token ids of the text tower's tokenizer that occur in the
    captions; only these have an embedding. ``channels``: the number of channels of each tensor of picture tokens.
    ``longest``: the most tokens that a caption has.
    """

    def __init__(
        self, vocabulary: NDArray[np.int64], channels: Sequence[int], longest: int, width: int = 256, blocks: int = 2,
        heads: int = 4,
    ) -> None:  # fmt: skip
        super().__init__()
        rows = np.zeros(int(vocabulary.max()) + 1, np.int64)
        rows[vocabulary] = np.arange(len(vocabulary))
        self.rows = nn.Buffer(torch.from_numpy(rows), persistent=False)
        self.words = nn.Embedding(len(vocabulary), width)
        self.places = nn.Parameter(torch.zeros(longest, width))
        self.projections = nn.ModuleList(
            [nn.Sequential(nn.LayerNorm(size), nn.Linear(size, width)) for size in channels]
        )
        self.blocks = nn.ModuleList(
            [
                nn.TransformerDecoderLayer(width, heads, 4 * width, 0.1, F.gelu, batch_first=True, norm_first=True)
                for _ in range(blocks)
            ]
        )
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.words.weight, std=0.02)

    def forward(self, ids: Tensor, mask: Tensor, tokens: Sequence[Tensor]) -> Tensor:
        """Return the cross-entropy of each next token: captions (B, T), picture tokens (B, P, C) for each tensor.

        It is averaged over the tokens of a caption, then over captions. So the losses of a batch's chunks add up.
        """
        states = self.rows[ids]  # (B, T)
        visible = torch.cat(
            [project(feature) for project, feature in zip(self.projections, tokens, strict=True)], 1
        )  # (B, P, W)
        x = self.words(states[:, :-1]) + self.places[: ids.shape[1] - 1]  # (B, T-1, W)
        ahead = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        for block in self.blocks:
            x = block(x, visible, tgt_mask=ahead)
        targets = mask[:, 1:].bool()  # (B, T-1)
        logits = F.linear(self.norm(x[targets]), self.words.weight)  # (all tokens, V): padding is left out
        losses = x.new_zeros(targets.shape, dtype=torch.float32)
        losses = losses.masked_scatter(
            targets, F.cross_entropy(logits.float(), states[:, 1:][targets], reduction="none")
        )
        return (losses.sum(1) / targets.sum(1).clamp(min=1)).mean()
