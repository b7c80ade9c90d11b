"""A collection in LlamaIndex: ``CommonplaceMultiModalRetriever``. Needs the extra ``llama-index``::

retriever = CommonplaceMultiModalRetriever("my-notes", similarity_top_k=5)
nodes = retriever.retrieve(QueryBundle("the same, but in snow", image_path="dog.jpg"))
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from llama_index.core.base.base_multi_modal_retriever import MultiModalRetriever
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from commonplace.collection import Collection
from commonplace.errors import QueryError
from commonplace.i18n import _
from commonplace.integrations.records import opened
from commonplace.integrations.results import Conditions, best, comparable_conditions, hit_metadata, narrowed
from commonplace.types import IMAGE, TEXT, Hit

__all__ = ["CommonplaceMultiModalRetriever"]

NodeQuery: TypeAlias = "str | QueryBundle | ImageNode | ImageDocument"

_OPERATORS = {
    FilterOperator.EQ: "=",
    FilterOperator.IN: "=",
    FilterOperator.GT: ">",
    FilterOperator.GTE: ">=",
    FilterOperator.LT: "<",
    FilterOperator.LTE: "<=",
}
_FOR_PROGRAMS = ("document_id", "item_id", "media_type", "box", "image", "score", "confidence", "breakdown")
"""Metadata that neither a language model nor an embedding needs to read."""


@dataclass
class PictureQuery(QueryBundle):  # type: ignore[misc]  # LlamaIndex is not installed where types are checked
    """A query whose picture may also be the bytes of a picture file."""

    image: bytes | None = None


class CommonplaceMultiModalRetriever(MultiModalRetriever):  # type: ignore[misc]
    """Finds passages and pictures of a collection for words, a picture, or both.

    ``collection`` is an open collection, a folder, or the address of one in Milvus. ``similarity_top_k`` is the number
    of results. ``filters`` are LlamaIndex's filters on the metadata of the results. ``options`` are further options of
    ``Collection.search()``, such as ``modality``, ``where`` or ``rerank``.

    A query is a string, a ``QueryBundle``, which may have an ``image_path``, or an ``ImageNode`` or ``ImageDocument``:
    its picture and its text are searched together. An ``image_url`` is never fetched.

    A result is a ``TextNode``, or an ``ImageNode`` with ``image_path`` where there is a picture. Its ``id_`` is the
    item's id, its source node the document. ``metadata`` has that of the document and ``source``, ``document_id``,
    ``item_id``, ``modality``, ``score``, ``confidence``, ``breakdown`` and, where they apply, ``page``, ``box``,
    ``seconds``, ``headings``, ``line``, ``row`` and ``image``.
    """

    def __init__(
        self,
        collection: str | Collection,
        similarity_top_k: int = 10,
        *,
        filters: MetadataFilters | None = None,
        options: Mapping[str, Any] | None = None,
        callback_manager: Any = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(callback_manager=callback_manager, verbose=verbose)
        self.collection = opened(collection)
        self.similarity_top_k = similarity_top_k
        self.filters = filters
        self.options = dict(options or {})

    def retrieve(self, str_or_query_bundle: NodeQuery) -> list[NodeWithScore]:
        """Return the best results for a query."""
        results: list[NodeWithScore] = super().retrieve(_bundle(str_or_query_bundle))
        return results

    async def aretrieve(self, str_or_query_bundle: NodeQuery) -> list[NodeWithScore]:
        """Return the best results for a query."""
        results: list[NodeWithScore] = await super().aretrieve(_bundle(str_or_query_bundle))
        return results

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._search(query_bundle, {})

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)

    # --- by modality, as LlamaIndex's multi-modal query engines ask --------------------------------------------

    def text_retrieve(self, str_or_query_bundle: NodeQuery) -> list[NodeWithScore]:
        """Return the best passages for a query."""
        return self._search(_bundle(str_or_query_bundle), {"modality": TEXT})

    def text_to_image_retrieve(self, str_or_query_bundle: NodeQuery) -> list[NodeWithScore]:
        """Return the best pictures for a query."""
        return self._text_to_image_retrieve(_bundle(str_or_query_bundle))

    def image_to_image_retrieve(self, str_or_query_bundle: NodeQuery) -> list[NodeWithScore]:
        """Return the pictures that are most similar to one: a path, or a query with a picture."""
        is_path = isinstance(str_or_query_bundle, str)
        bundle = QueryBundle("", image_path=str_or_query_bundle) if is_path else _bundle(str_or_query_bundle)
        return self._image_to_image_retrieve(bundle)

    async def atext_retrieve(self, str_or_query_bundle: NodeQuery) -> list[NodeWithScore]:
        """Return the best passages for a query."""
        return await asyncio.to_thread(self.text_retrieve, str_or_query_bundle)

    async def atext_to_image_retrieve(self, str_or_query_bundle: NodeQuery) -> list[NodeWithScore]:
        """Return the best pictures for a query."""
        return await asyncio.to_thread(self.text_to_image_retrieve, str_or_query_bundle)

    async def aimage_to_image_retrieve(self, str_or_query_bundle: NodeQuery) -> list[NodeWithScore]:
        """Return the pictures that are most similar to one: a path, or a query with a picture."""
        return await asyncio.to_thread(self.image_to_image_retrieve, str_or_query_bundle)

    def _text_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._search(query_bundle, {"modality": IMAGE})

    async def _atext_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._text_to_image_retrieve, query_bundle)

    def _image_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._search(query_bundle, {"modality": IMAGE})

    async def _aimage_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._image_to_image_retrieve, query_bundle)

    def _search(self, query: QueryBundle, options: Mapping[str, Any]) -> list[NodeWithScore]:
        picture = getattr(query, "image", None) or query.image_path
        where = comparable_conditions(self.collection, _conditions(self.filters))
        options = narrowed({**self.options, **options, "image": picture}, where)

        def convert(hit: Hit) -> tuple[str, NodeWithScore] | None:
            metadata = hit_metadata(hit)
            allowed: Callable[[str], bool] = build_metadata_filter_fn(lambda _id: metadata, self.filters)
            try:
                if not allowed(hit.item.id):
                    return None
            except TypeError:  # a text was compared with a number: no match
                return None
            return hit.item.id, NodeWithScore(node=self._node(hit, metadata), score=hit.score)

        return best(self.collection, query.query_str or None, self.similarity_top_k, options, convert)

    def _node(self, hit: Hit, metadata: dict[str, Any]) -> TextNode:
        """Return a hit as a node; one with a picture is an ImageNode."""
        item = hit.item
        fields = {
            "id_": item.id,
            "text": item.text or "",
            "metadata": metadata,
            "excluded_embed_metadata_keys": list(_FOR_PROGRAMS),
            "excluded_llm_metadata_keys": list(_FOR_PROGRAMS),
            "relationships": {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=item.document.id)},
        }
        if item.picture is None:
            return TextNode(start_char_idx=item.span.start, end_char_idx=item.span.end, **fields)
        if hit.image is not None:
            return ImageNode(image_path=hit.image, **fields)
        thumbnail = self.collection.store.thumbnail(item.picture)  # its file could not be written
        encoded = None if thumbnail is None else base64.b64encode(thumbnail).decode()
        return ImageNode(image=encoded, image_mimetype="image/jpeg", **fields)


def _bundle(query: NodeQuery) -> QueryBundle:
    """Return a query as a bundle. Raises QueryError for a picture that would have to be fetched."""
    if isinstance(query, str):
        return QueryBundle(query)
    if isinstance(query, QueryBundle):
        return query
    node = query.node if isinstance(query, NodeWithScore) else query
    if not isinstance(node, (ImageNode, ImageDocument)):
        raise QueryError(
            _("the query is {query!r:.100}: give a string, a QueryBundle or an ImageNode").format(query=query)
        )
    text = node.get_content()
    if node.image is not None:
        try:
            return PictureQuery(text, image=base64.b64decode(node.image, validate=True))
        except ValueError:
            raise QueryError(_("the picture of the query is no base64")) from None
    if node.image_path is None:
        raise QueryError(_("the query has no picture here: give image_path, or the picture itself in base64"))
    return QueryBundle(text, image_path=node.image_path)


def _conditions(filters: MetadataFilters | None) -> Conditions:
    """Return those filters that must all be met and that a collection may be able to check."""
    if filters is None or filters.condition not in (None, FilterCondition.AND):
        return []
    return [
        (part.key, _OPERATORS[part.operator], part.value)
        for part in filters.filters
        if isinstance(part, MetadataFilter) and part.operator in _OPERATORS and part.value is not None
    ]
