"""Commonplace: a folder of documents and pictures that answers questions, offline.

import commonplace as cp

kb = cp.open("my-notes")
kb.add("papers/", "photos/")
kb.add(cp.Record("Pump 3 needs the blue seal.", id="pump-3", metadata={"plant": "north"}))
hits = kb.search("a dog catching a frisbee", k=10, modality="image")
print(kb.ask("Which pump needs the blue seal?").markdown())
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from commonplace._async import AsyncCollection
    from commonplace._maintenance import Maintenance
    from commonplace._searching import Hits
    from commonplace.collection import Collection
    from commonplace.encoders import Model
    from commonplace.errors import (
        ClusterError,
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
    from commonplace.indexer import Report
    from commonplace.opening import open_collection as open
    from commonplace.options import AddOptions, AskOptions, SearchOptions
    from commonplace.pages import PageView
    from commonplace.reading import read
    from commonplace.records import Record
    from commonplace.retrieval import HeatMap, Ranking, Reranker
    from commonplace.types import (
        Answer,
        Block,
        Citation,
        Document,
        Filter,
        Hit,
        Item,
        Note,
        ParsedDocument,
        Query,
        ScoreComponent,
        Span,
    )
    from commonplace.watching import Watcher, WatchState

__all__ = [
    "AddOptions",
    "Answer",
    "AskOptions",
    "AsyncCollection",
    "Block",
    "ChatGenerator",
    "Citation",
    "ClusterError",
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
    "Maintenance",
    "Model",
    "ModelError",
    "ModelMismatch",
    "Note",
    "PageView",
    "ParsedDocument",
    "Query",
    "QueryError",
    "Ranking",
    "ReadError",
    "Record",
    "Report",
    "Reranker",
    "ScoreComponent",
    "SearchOptions",
    "SourceError",
    "Span",
    "TrainingError",
    "TransformersGenerator",
    "VersionError",
    "WatchState",
    "Watcher",
    "open",
    "read",
]

__version__ = "0.1.0"

# Names are imported when they are first used: importing the package loads no library.
_NAMES = {
    "commonplace._async": "AsyncCollection",
    "commonplace._maintenance": "Maintenance",
    "commonplace._searching": "Hits",
    "commonplace.collection": "Collection",
    "commonplace.encoders": "Model",
    "commonplace.errors": "ClusterError CollectionError CommonplaceError GeneratorError ModelError ModelMismatch "
    "QueryError ReadError SourceError TrainingError VersionError",
    "commonplace.generation": "ChatGenerator Conversation Generator TransformersGenerator",
    "commonplace.indexer": "Report",
    "commonplace.options": "AddOptions AskOptions SearchOptions",
    "commonplace.pages": "PageView",
    "commonplace.reading": "read",
    "commonplace.records": "Record",
    "commonplace.retrieval": "HeatMap Ranking Reranker",
    "commonplace.types": "Answer Block Citation Document Filter Hit Item Note ParsedDocument Query ScoreComponent Span",
    "commonplace.watching": "WatchState Watcher",
}
_HOMES = {name: (module, name) for module, names in _NAMES.items() for name in names.split()}
_HOMES["open"] = ("commonplace.opening", "open_collection")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
