"""Retrieval: searches all channels of a query in parallel, fuses their ranked lists, and explains each score."""

from commonplace.retrieval.beside import Beside, passages_beside
from commonplace.retrieval.calibration import LEXICAL, SEMANTIC, Calibration, Curve, ScoreStats, z_score
from commonplace.retrieval.diversify import near_duplicates_of
from commonplace.retrieval.fusion import METHODS, ChannelScores, Fused, Ranking, fuse
from commonplace.retrieval.heatmap import HeatMap, locate, occlusion
from commonplace.retrieval.lookups import Lookup, lookup
from commonplace.retrieval.rerank import LateInteraction, Reranker, rerank
from commonplace.retrieval.respelling import respelled
from commonplace.retrieval.search import IN_TURN, EncodedQuery, RankedItem, candidates, compose, search
from commonplace.retrieval.shared import shared_reads, snapshot_of

__all__ = [
    "IN_TURN",
    "LEXICAL",
    "METHODS",
    "SEMANTIC",
    "Beside",
    "Calibration",
    "ChannelScores",
    "Curve",
    "EncodedQuery",
    "Fused",
    "HeatMap",
    "LateInteraction",
    "Lookup",
    "RankedItem",
    "Ranking",
    "Reranker",
    "ScoreStats",
    "candidates",
    "compose",
    "fuse",
    "locate",
    "lookup",
    "near_duplicates_of",
    "occlusion",
    "passages_beside",
    "rerank",
    "respelled",
    "search",
    "shared_reads",
    "snapshot_of",
    "z_score",
]
