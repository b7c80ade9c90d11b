"""From a question's vectors to ranked items: arms searched side by side, fused by evidence, with a ledger."""

from commonplace.retrieval.evidence import LEXICAL, SCENE, Cosines, Curve, Evidence, significance
from commonplace.retrieval.fusion import METHODS, Fused, Ranking, Scored, fuse
from commonplace.retrieval.heatmap import HeatMap, locate, occlusion
from commonplace.retrieval.rerank import LateInteraction, Reranker, rerank
from commonplace.retrieval.search import Asked, Found, candidates, compose, search

__all__ = [
    "LEXICAL",
    "METHODS",
    "SCENE",
    "Asked",
    "Cosines",
    "Curve",
    "Evidence",
    "Found",
    "Fused",
    "HeatMap",
    "LateInteraction",
    "Ranking",
    "Reranker",
    "Scored",
    "candidates",
    "compose",
    "fuse",
    "locate",
    "occlusion",
    "rerank",
    "search",
    "significance",
]
