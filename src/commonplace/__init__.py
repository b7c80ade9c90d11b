"""Commonplace: a folder of documents and pictures that answers questions, offline.

import commonplace as cp

kb = cp.open("my-notes")
kb.add("papers/", "photos/")
kb.add(cp.Record("Pump 3 needs the blue seal.", id="pump-3", metadata={"plant": "north"}))
hits = kb.search("a dog catching a frisbee", k=10, modality="image")
print(kb.ask("Which pump needs the blue seal?").markdown())
"""

from commonplace.collection import Collection, Hits, Record, Report
from commonplace.collection import open_collection as open
from commonplace.encoders import Model
from commonplace.errors import (
    CollectionError,
    CommonplaceError,
    GeneratorError,
    ModelError,
    ModelMismatch,
    QueryError,
    ReadError,
    SourceError,
    TrainingError,
    VersionError,
)
from commonplace.generation import ChatGenerator, Conversation, Generator, TransformersGenerator
from commonplace.pages import PageView
from commonplace.retrieval import HeatMap, Ranking, Reranker
from commonplace.types import Answer, Block, Citation, Document, Filter, Hit, Item, Note, Query, ScoreComponent, Span

__all__ = [
    "Answer",
    "Block",
    "ChatGenerator",
    "Citation",
    "Collection",
    "CollectionError",
    "CommonplaceError",
    "Conversation",
    "Document",
    "Filter",
    "Generator",
    "GeneratorError",
    "HeatMap",
    "Hit",
    "Hits",
    "Item",
    "Model",
    "ModelError",
    "ModelMismatch",
    "Note",
    "PageView",
    "Query",
    "QueryError",
    "Ranking",
    "ReadError",
    "Record",
    "Report",
    "Reranker",
    "ScoreComponent",
    "SourceError",
    "Span",
    "TrainingError",
    "TransformersGenerator",
    "VersionError",
    "open",
]

__version__ = "0.1.0"
