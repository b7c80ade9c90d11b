"""A collection in LangChain: ``CommonplaceRetriever``, ``CommonplaceVectorStore`` and ``CommonplaceEmbeddings``.

Needs the extra ``langchain``::

    retriever = CommonplaceRetriever(collection="my-notes", k=4)
    documents = retriever.invoke("Which pump needs the blue seal?")
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from pydantic import Field, field_validator

from commonplace.collection import Collection
from commonplace.errors import QueryError
from commonplace.i18n import _
from commonplace.integrations.records import (
    FrameworkRecord,
    add_entries,
    is_single,
    metadata_of,
    opened,
    remove_ids,
    text_of,
)
from commonplace.integrations.results import best, every_record, hit_metadata, narrowed
from commonplace.types import Hit

__all__ = ["CommonplaceEmbeddings", "CommonplaceRetriever", "CommonplaceVectorStore"]

_OPERATORS = {"$eq": "=", "$in": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}

DocumentFilter = Mapping[str, Any] | Sequence[Mapping[str, Any]] | Callable[[Document], bool]
"""Conditions on metadata, as ``Collection.search(where=...)`` takes them or with operators such as ``$gte``; or a
function of a document."""


class CommonplaceEmbeddings(Embeddings):  # type: ignore[misc]  # LangChain is not installed where types are checked
    """The text tower of a collection as LangChain's embeddings: unit vectors in the collection's space."""

    def __init__(self, collection: str | Collection) -> None:
        self.collection = opened(collection)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text of a document."""
        vectors: list[list[float]] = self.collection.embed_texts(texts, role="document").tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query."""
        vector: list[float] = self.collection.embed_texts([text], role="query")[0].tolist()
        return vector


class CommonplaceRetriever(BaseRetriever):  # type: ignore[misc]
    """Finds passages and pictures of a collection.

    ``collection`` is an open collection, a folder, or the address of one in Milvus. ``k`` is the number of results.
    ``options`` are further options of ``Collection.search()``, such as ``modality`` or ``where``. ``invoke()`` takes
    ``k``, these options and ``image`` too: ``retriever.invoke("the same in red", image="boat.jpg")``. An empty text
    with ``image`` searches by the picture alone.

    A result's ``id`` is the item's id. ``page_content`` is the passage or a picture's caption. ``metadata`` has that of
    the document and ``source``, ``document_id``, ``item_id``, ``modality``, ``score``, ``confidence``, ``breakdown``
    and, where they apply, ``page``, ``box``, ``seconds``, ``headings``, ``line``, ``row`` and ``image``, the path of a
    picture file to show.
    """

    collection: Any
    k: int = 10
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("collection")
    @classmethod
    def _open(cls, value: Any) -> Collection:
        return opened(value)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun | None = None, **options: Any
    ) -> list[Document]:
        options = self.options | options
        return best(self.collection, query or None, options.pop("k", self.k), options, _passage)


class CommonplaceVectorStore(VectorStore):  # type: ignore[misc]
    """A collection as LangChain's vector store.

    A text that is added is a record of the collection: a search returns it as a whole, with its id and metadata, as it
    was added. Passages of files, and pictures, have an id and metadata as from ``CommonplaceRetriever``; with
    ``details=True`` the added texts have this metadata too.

    The collection embeds with its own model, so no ``Embeddings`` are passed; ``embeddings`` returns that model. A
    search is a whole search of the collection, by words, meaning and pictures, and its scores are probabilities.
    """

    def __init__(self, collection: str | Collection, *, details: bool = False) -> None:
        self.collection = opened(collection)
        self.details = details

    @property
    def embeddings(self) -> CommonplaceEmbeddings:
        """The text tower of the collection."""
        return CommonplaceEmbeddings(self.collection)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        collection: str | Collection | None = None,
        **options: Any,
    ) -> CommonplaceVectorStore:
        """Add texts to ``collection``, which is opened or created, and return it as a vector store.

        ``embedding`` must be None or ``CommonplaceEmbeddings``: a collection embeds with its own model.
        """
        if embedding is not None and not isinstance(embedding, CommonplaceEmbeddings):
            raise QueryError(
                _("a collection embeds with its own model: pass embedding=None, and choose a model with {open}").format(
                    open="commonplace.open(..., model=...)"
                )
            )
        if collection is None:
            raise QueryError(_("say which collection to add to: collection=..."))
        store = cls(collection, **options)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    # --- adding, reading and removing --------------------------------------------------------------------------

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **options: Any,
    ) -> list[str]:
        """Add texts as records, and return their ids; a text with the id of a document replaces it.

        Metadata comes back as it was given, with dates as ISO 8601 text. Filters see texts, numbers, dates, booleans
        and lists of these, under keys that hold this type in the whole collection. Raises CollectionError with the
        reasons for the texts that could not be added; the others are.
        """
        texts = list(texts)
        pairs = _aligned(len(texts), metadatas, ids)
        return self._add(
            FrameworkRecord(id_, text, metadata) for text, (id_, metadata) in zip(texts, pairs, strict=True)
        )

    def add_images(
        self,
        uris: Sequence[Any],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        captions: Sequence[str | None] | None = None,
        ids: Sequence[str | None] | None = None,
    ) -> list[str]:
        """Add pictures (paths, bytes, PIL images or RGB arrays) as records, with their captions; return their ids."""
        pairs = _aligned(len(uris), metadatas, ids)
        if captions is not None and len(captions) != len(uris):
            raise ValueError(
                _("captions has {count} elements for {wanted}").format(count=len(captions), wanted=len(uris))
            )
        texts = captions or [None] * len(uris)
        return self._add(
            FrameworkRecord(id_, text, metadata, image=image)
            for image, text, (id_, metadata) in zip(uris, texts, pairs, strict=True)
        )

    def _add(self, entries: Iterable[FrameworkRecord]) -> list[str]:
        entries = list(entries)
        if entries:
            add_entries(self.collection, entries)
        return [entry.id for entry in entries]

    def delete(self, ids: list[str] | None = None, **options: Any) -> bool:
        """Remove the documents with these ids, None all documents of the collection. Unknown ids are no error.

        Raises QueryError for the id of a passage: its whole file can be removed, under its ``document_id``.
        """
        if ids is None:
            ids = [document.id for document in self.collection]
        if items := self.collection.store.items(list(ids)):
            item = next(iter(items.values()))
            raise QueryError(
                _("{id} is a passage of {path}: to remove all of it, give its document_id {document}").format(
                    id=item.id, path=item.document.path, document=item.document.id
                )
            )
        remove_ids(self.collection, ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the texts and pictures that were added under these ids, and the passages that have them."""
        store = self.collection.store
        documents = {
            document.id: Document(
                id=document.id, page_content=text_of(self.collection, document), metadata=metadata_of(document)
            )
            for document in store.documents(ids=list(ids))
        }
        items = store.items([id_ for id_ in ids if id_ not in documents])
        for id_, item in items.items():
            _id, documents[id_] = _passage(Hit(item, 0.0, ()))
            for name in ("score", "confidence", "breakdown"):  # nothing was searched
                del documents[id_].metadata[name]
        return [documents[id_] for id_ in dict.fromkeys(ids) if id_ in documents]

    # --- searching ---------------------------------------------------------------------------------------------

    def similarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        """Return the best ``k`` results for words.

        ``filter`` are conditions on metadata, such as ``{"year": {"$gte": 2020}, "author": "*hopper*"}``, or a function
        of a document. ``options`` are further options of ``Collection.search()``.
        """
        return [document for document, _score in self.similarity_search_with_score(query, k, **options)]

    def similarity_search_with_score(self, query: str, k: int = 4, **options: Any) -> list[tuple[Document, float]]:
        """Return the best ``k`` results with their scores in [0, 1], the probability of being relevant."""
        return self._search(query or None, k, {**every_record(self.collection), **options})

    def similarity_search_by_image(self, uri: Any, k: int = 4, *, query: str = "", **options: Any) -> list[Document]:
        """Return the best ``k`` results for a picture (a path, bytes, PIL image or RGB array), or for it and words."""
        results = self._search(query or None, k, {**every_record(self.collection), **options, "image": uri})
        return [document for document, _score in results]

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **options: Any) -> list[Document]:
        """Return the ``k`` results whose text vectors have the highest cosine with a vector of the same space.

        ``channel="image"`` compares with pictures.
        """
        results = self._search(None, k, {"channel": "text", **options, "vector": embedding})
        return [document for document, _score in results]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        """Return ``k`` results that are relevant and differ from each other.

        ``lambda_mult`` from 0 (most different) to 1 (most relevant). The collection chooses among all that it found, so
        ``fetch_k`` has no effect.
        """
        diversity = min(max(1 - lambda_mult, 0.0), 0.999)
        ranking = replace(options.pop("ranking", None) or self.collection.ranking, diversity=diversity)
        return [document for document, _score in self._search(query or None, k, {**options, "ranking": ranking})]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda score: score

    def _search(self, text: str | None, k: int, options: dict[str, Any]) -> list[tuple[Document, float]]:
        allowed: DocumentFilter | None = options.pop("filter", None)
        if allowed is not None and not callable(allowed):
            options = narrowed(options, _where(allowed))

        def convert(hit: Hit) -> tuple[str, tuple[Document, float]] | None:
            id_, document = self._document(hit)
            if callable(allowed) and not allowed(document):
                return None
            return id_, (document, hit.score)

        return best(self.collection, text, k, options, convert)

    def _document(self, hit: Hit) -> tuple[str, Document]:
        document = hit.item.document
        if not is_single(document):
            return _passage(hit)
        is_text = hit.item.picture is None
        text = text_of(self.collection, document) if is_text else hit.item.text or ""
        metadata = metadata_of(document) if is_text and not self.details else hit_metadata(hit)
        return document.id, Document(id=document.id, page_content=text, metadata=metadata)


def _passage(hit: Hit) -> tuple[str, Document]:
    """Return the id of an item, and the item as a document."""
    id_ = hit.item.id
    return id_, Document(id=id_, page_content=hit.item.text or "", metadata=hit_metadata(hit))


def _aligned(
    count: int, metadatas: Sequence[Mapping[str, Any] | None] | None, ids: Sequence[str | None] | None
) -> list[tuple[str, Mapping[str, Any]]]:
    """Return an id and metadata for each text. Raises ValueError where their numbers differ, as LangChain asks."""
    for name, values in (("metadatas", metadatas), ("ids", ids)):
        if values and len(values) != count:
            raise ValueError(
                _("{name} has {count} elements for {wanted}").format(name=name, count=len(values), wanted=count)
            )
    return [
        (id_ or str(uuid.uuid4()), metadata or {})
        for id_, metadata in zip(ids or [None] * count, metadatas or [None] * count, strict=True)
    ]


def _where(conditions: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return conditions with operators such as ``$gte`` as those of a collection, all of which must be met."""
    if not isinstance(conditions, Mapping):
        return [where for part in conditions for where in _where(part)]
    where = []
    for key, value in conditions.items():
        if key == "$and" and isinstance(value, Sequence):
            where += _where(value)
        elif key.startswith("$"):
            raise _unknown(key)
        elif isinstance(value, Mapping):
            for operator in value:
                if operator.startswith("$") and operator not in _OPERATORS:
                    raise _unknown(operator)
            where.append({key: {_OPERATORS.get(operator, operator): compared for operator, compared in value.items()}})
        else:
            where.append({key: value})
    return where


def _unknown(operator: str) -> QueryError:
    return QueryError(
        _("a filter has {operator!r:.40}, which a collection cannot check: use {operators}, or a function").format(
            operator=operator, operators=", ".join(["$and", *_OPERATORS])
        )
    )
