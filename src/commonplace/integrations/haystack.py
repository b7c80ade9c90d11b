"""A collection in Haystack: ``CommonplaceDocumentStore`` and ``CommonplaceHybridRetriever``. Needs the extra
``haystack``::

    store = CommonplaceDocumentStore("my-notes")
    store.write_documents([Document(content="Pump 3 needs the blue seal.")])
    pipeline.add_component("retriever", CommonplaceHybridRetriever(store, top_k=5))
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.dataclasses import ByteStream
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy, apply_filter_policy
from haystack.errors import FilterError
from haystack.utils.filters import document_matches_filter

from commonplace.collection import Collection
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
from commonplace.integrations.results import (
    Conditions,
    best,
    comparable_conditions,
    every_record,
    hit_metadata,
    narrowed,
)
from commonplace.types import Document as StoredDocument
from commonplace.types import Hit

__all__ = ["CommonplaceDocumentStore", "CommonplaceHybridRetriever"]

HaystackFilter = Mapping[str, Any]

_OPERATORS = {"==": "=", "in": "=", ">": ">", ">=": ">=", "<": "<", "<=": "<="}
_LOGIC = ("AND", "OR", "NOT")


class CommonplaceDocumentStore:
    """A collection as Haystack's document store.

    ``collection`` is a folder, the address of a collection in Milvus, or an open collection. A document that is written
    is a record of the collection, with its id and metadata: a text; a picture in ``blob`` with its caption in
    ``content``; or a file's bytes in ``blob`` (which are left out where there is a ``content``, too). What the
    collection holds otherwise are documents too: of a file the content is what was read of it.

    The collection embeds with its own model: the ``embedding`` of a document is not kept.
    """

    def __init__(self, collection: str | Collection) -> None:
        self._place = collection
        self._opening = threading.Lock()
        self._opened: Collection | None = None

    @property
    def collection(self) -> Collection:
        """The open collection; a folder or address is opened by the first use."""
        with self._opening:
            if self._opened is None:
                self._opened = opened(self._place)
            return self._opened

    def to_dict(self) -> dict[str, Any]:
        """Return the store as a dictionary: the folder or address of its collection."""
        place = self._place
        if isinstance(place, Collection):
            address = getattr(place.store, "address", None)
            place = str(place.folder) if address is None else address.url
        values: dict[str, Any] = default_to_dict(self, collection=str(place))
        return values

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CommonplaceDocumentStore:
        """Return the store from the result of ``to_dict()``."""
        store: CommonplaceDocumentStore = default_from_dict(cls, data)
        return store

    def count_documents(self) -> int:
        """Return the number of documents."""
        return len(self.collection)

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return the documents that meet Haystack's filters, by path. Raises FilterError for malformed filters."""
        filters = _checked(filters)
        where = comparable_conditions(self.collection, _conditions(filters))
        documents = map(self._document, self.collection.documents(where=where))
        return [document for document in documents if _is_met(filters, document)]

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Add documents as records, and return how many were written.

        The policy for ids that exist is FAIL by default. Raises DuplicateDocumentError, and writes nothing, where that
        is the case; ValueError for what is no list of documents; CollectionError with the reasons for the documents
        that could not be read, while the others are written.
        """
        if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
            raise ValueError(_("write_documents() takes a list of Haystack documents"))
        ids = [document.id for document in documents]
        existing: set[str] = set()
        if policy != DuplicatePolicy.OVERWRITE:
            existing = {document.id for document in self.collection.store.documents(ids=ids)}
        repeated = existing | {id_ for id_, count in Counter(ids).items() if count > 1}
        if repeated and policy in (DuplicatePolicy.NONE, DuplicatePolicy.FAIL):
            raise DuplicateDocumentError(
                _("there are two documents with the id {id}: leave one out, or use DuplicatePolicy.OVERWRITE").format(
                    id=min(repeated)
                )
            )
        chosen: dict[str, Document] = {}
        for document in documents:
            if document.id not in existing and (policy == DuplicatePolicy.OVERWRITE or document.id not in chosen):
                chosen[document.id] = document
        if chosen:
            add_entries(self.collection, [_entry(document) for document in chosen.values()])
        return len(documents) if policy == DuplicatePolicy.OVERWRITE else len(chosen)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Remove the documents with these ids. Ids of no document are no error."""
        remove_ids(self.collection, document_ids)

    async def count_documents_async(self) -> int:
        """Return the number of documents."""
        return await asyncio.to_thread(self.count_documents)

    async def filter_documents_async(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return the documents that meet Haystack's filters; see ``filter_documents()``."""
        return await asyncio.to_thread(self.filter_documents, filters)

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Add documents as records; see ``write_documents()``."""
        return await asyncio.to_thread(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """Remove the documents with these ids."""
        await asyncio.to_thread(self.delete_documents, document_ids)

    def search(
        self, query: str | None, k: int, filters: dict[str, Any] | None = None, options: Mapping[str, Any] | None = None
    ) -> list[Document]:
        """Return the best ``k`` documents and passages of files; see ``CommonplaceHybridRetriever``."""
        filters = _checked(filters)
        where = comparable_conditions(self.collection, _conditions(filters))
        options = narrowed({**every_record(self.collection), **(options or {})}, where)

        def convert(hit: Hit) -> tuple[str, Document] | None:
            document = self._result(hit)
            return (document.id, document) if _is_met(filters, document) else None

        return best(self.collection, query or None, k, options, convert) if k else []

    def _result(self, hit: Hit) -> Document:
        """Return a hit as a document: a text or picture that was written under its id, else a passage."""
        document, meta = hit.item.document, hit_metadata(hit)
        if hit.image is not None:
            meta["file_path"] = hit.image  # where Haystack's converters look for pictures
        if not is_single(document):
            return Document(id=hit.item.id, content=hit.item.text or "", meta=meta, score=hit.score)
        text = text_of(self.collection, document) if hit.item.picture is None else hit.item.text or ""
        return Document(id=document.id, content=text, meta=meta, score=hit.score)

    def _document(self, document: StoredDocument) -> Document:
        """Return a document of the collection: a record as it was written, a file with what was read of it."""
        meta = metadata_of(document)
        if not document.is_record:
            content = text_of(self.collection, document)
            return Document(id=document.id, content=content, meta={**meta, "source": document.path})
        original = None if document.media_type == "text/plain" else self.collection.store.original(document.id)
        if original is None:
            return Document(id=document.id, content=text_of(self.collection, document), meta=meta)
        caption = text_of(self.collection, document) if document.media_type.startswith("image/") else None
        blob = ByteStream(data=original, mime_type=document.media_type)
        return Document(id=document.id, content=caption or None, blob=blob, meta=meta)


@component
class CommonplaceHybridRetriever:
    """Finds documents of a ``CommonplaceDocumentStore`` by words, meaning and pictures at once.

    ``filters`` are Haystack's; ``filter_policy`` says whether those of a run replace or narrow them. ``options`` are
    further options of ``Collection.search()``, such as ``modality`` or ``rerank``.

    A text or picture that was written comes back under its own id; a passage of a file has the item's id. ``score`` is
    the probability that it is relevant. ``meta`` has that of the document and ``source``, ``document_id``, ``item_id``,
    ``modality``, ``score``, ``confidence``, ``breakdown`` and, where they apply, ``page``, ``box``, ``seconds``,
    ``headings``, ``line``, ``row`` and ``image`` (also as ``file_path``), the path of a picture file to show.
    """

    def __init__(
        self,
        document_store: CommonplaceDocumentStore,
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
        options: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(document_store, CommonplaceDocumentStore):
            raise TypeError(_("document_store must be a CommonplaceDocumentStore"))
        if top_k < 1:
            raise ValueError(_("top_k is {top_k}: it must be 1 or more").format(top_k=top_k))
        self.document_store = document_store
        self.filters = filters
        self.top_k = top_k
        self.filter_policy = filter_policy
        self.options = options

    def to_dict(self) -> dict[str, Any]:
        """Return the component as a dictionary."""
        values: dict[str, Any] = default_to_dict(
            self,
            document_store=self.document_store,
            filters=self.filters,
            top_k=self.top_k,
            filter_policy=self.filter_policy.value,
            options=self.options,
        )
        return values

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CommonplaceHybridRetriever:
        """Return the component from the result of ``to_dict()``."""
        parameters = data.get("init_parameters", {})
        if "filter_policy" in parameters:
            parameters["filter_policy"] = FilterPolicy.from_str(parameters["filter_policy"])
        retriever: CommonplaceHybridRetriever = default_from_dict(cls, data)
        return retriever

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    def run(
        self,
        query: str | None = None,
        image: Any = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Return the best documents for words, for a picture (a path, bytes or a ByteStream), or for both."""
        filters = apply_filter_policy(self.filter_policy, self.filters, filters)
        k = self.top_k if top_k is None else top_k
        if k < 0:
            raise ValueError(_("top_k is {top_k}: it must not be negative").format(top_k=k))
        picture = image.data if isinstance(image, ByteStream) else image
        options = {**(self.options or {}), "image": picture}
        return {"documents": self.document_store.search(query, k, filters, options)}

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    async def run_async(
        self,
        query: str | None = None,
        image: Any = None,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Return the best documents for words, for a picture (a path, bytes or a ByteStream), or for both."""
        return await asyncio.to_thread(self.run, query, image, filters, top_k)


def _entry(document: Document) -> FrameworkRecord:
    """Return a document as what is added to a collection."""
    blob = document.blob
    if blob is None:
        return FrameworkRecord(document.id, document.content, document.meta)
    if (blob.mime_type or "").startswith("image/"):
        return FrameworkRecord(document.id, document.content, document.meta, image=blob.data)
    if document.content is not None:
        return FrameworkRecord(document.id, document.content, document.meta)  # what was read of the bytes elsewhere
    name = document.meta.get("file_name") or document.meta.get("file_path") or ""
    return FrameworkRecord(document.id, None, document.meta, data=blob.data, name=str(name).rpartition("/")[2] or None)


def _checked(filters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return filters, None for empty ones. Raises FilterError where they are no filters at all."""
    if filters and "operator" not in filters and "conditions" not in filters:
        raise FilterError(_("a filter needs field, operator and value, or operator and conditions"))
    return filters or None


def _is_met(filters: dict[str, Any] | None, document: Document) -> bool:
    return filters is None or bool(document_matches_filter(filters, document))


def _conditions(filters: HaystackFilter | None) -> Conditions:
    """Return those comparisons that must all be met and that a collection may be able to check."""
    if filters is None:
        return []
    if filters.get("operator") == "AND" and isinstance(filters.get("conditions"), list):
        parts = [part for part in filters["conditions"] if isinstance(part, Mapping)]
        return [condition for part in parts for condition in _conditions(part)]
    field, operator, value = (filters.get(name) for name in ("field", "operator", "value"))
    if not isinstance(field, str) or not field.startswith("meta.") or operator not in _OPERATORS or value is None:
        return []
    if (operator == "in") != isinstance(value, list):
        return []
    return [(field.removeprefix("meta."), _OPERATORS[operator], value)]
