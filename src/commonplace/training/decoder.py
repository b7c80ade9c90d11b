"""A small decoder that says what a picture shows: the caption loss of CoCa (Yu et al. 2022), thrown away afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Decoder"]


class Decoder(nn.Module):  # type: ignore[misc]
    """Transformer blocks over a caption so far, with attention to the picture's tokens; words in and out are tied.

    ``vocabulary``: the token ids that captions use, of the text tower's tokenizer; words that no caption holds need no
    row. ``channels``: those of the picture's tokens, by value.
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
        self.seen = nn.ModuleList([nn.Sequential(nn.LayerNorm(size), nn.Linear(size, width)) for size in channels])
        self.blocks = nn.ModuleList(
            [
                nn.TransformerDecoderLayer(width, heads, 4 * width, 0.1, F.gelu, batch_first=True, norm_first=True)
                for _ in range(blocks)
            ]
        )
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.words.weight, std=0.02)

    def forward(self, ids: Tensor, mask: Tensor, tokens: Sequence[Tensor]) -> Tensor:
        """Return the loss of saying each token after those before it: captions (B, T), tokens of pictures (B, P, C).

        The mean over the tokens of a caption, then over captions, so that chunks of a batch add up to the whole.
        """
        states = self.rows[ids]  # (B, T)
        visible = torch.cat(
            [project(feature) for project, feature in zip(self.seen, tokens, strict=True)], 1
        )  # (B, P, W)
        x = self.words(states[:, :-1]) + self.places[: ids.shape[1] - 1]  # (B, T-1, W)
        ahead = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        for block in self.blocks:
            x = block(x, visible, tgt_mask=ahead)
        targets = mask[:, 1:].bool()  # (B, T-1)
        logits = F.linear(self.norm(x[targets]), self.words.weight)  # (all tokens, V): padding costs nothing
        losses = x.new_zeros(targets.shape, dtype=torch.float32)
        losses = losses.masked_scatter(
            targets, F.cross_entropy(logits.float(), states[:, 1:][targets], reduction="none")
        )
        return (losses.sum(1) / targets.sum(1).clamp(min=1)).mean()
