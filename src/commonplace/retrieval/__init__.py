"""From a question's vectors to ranked items: arms searched side by side, fused, with a ledger."""

from commonplace.retrieval.fusion import Ranking, fuse
from commonplace.retrieval.heatmap import HeatMap, locate, occlusion
from commonplace.retrieval.rerank import LateInteraction, Reranker, rerank
from commonplace.retrieval.search import Background, Cosines, Found, compose, search

__all__ = [
    "Background",
    "Cosines",
    "Found",
    "HeatMap",
    "LateInteraction",
    "Ranking",
    "Reranker",
    "compose",
    "fuse",
    "locate",
    "occlusion",
    "rerank",
    "search",
]
