"""Hits, answers and documents as results of tools: text for a model, pictures beside it, and the same as JSON.

Pictures are image blocks, few and small, and never part of the JSON: clients give that to their model as text.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

import mcp_types as types

from commonplace.mcp_server.shelf import CollectionView
from commonplace.positions import place_of_item, shown_name
from commonplace.types import Answer, Document, Hit, Item

__all__ = [
    "answer_result",
    "document_json",
    "document_uri",
    "hits_result",
    "item_uri",
    "original_uri",
    "resource",
    "text_result",
]

SCHEME = "commonplace"
MAX_TEXT = 1_500  # characters of a hit; get_document has the others


def document_uri(view: CollectionView, document: Document) -> str:
    """Return the address of a document's text as a resource."""
    return f"{SCHEME}://{view.name}/documents/{quote(document.id, safe='')}"


def original_uri(view: CollectionView, document: Document) -> str:
    """Return the address of a document's original file as a resource."""
    return f"{document_uri(view, document)}/original"


def item_uri(view: CollectionView, item: Item) -> str | None:
    """Return the address of the page or picture that an item stands on, as a resource; None if there is no picture."""
    is_page = item.span.page is not None and item.span.member is None
    if item.picture is None and not (is_page and item.document.media_type == "application/pdf"):
        return None
    return f"{SCHEME}://{view.name}/items/{quote(item.id, safe='')}/page"


def document_json(view: CollectionView, document: Document) -> dict[str, Any]:
    """Return a document as JSON."""
    return {
        "id": document.id,
        "name": shown_name(document),
        **({"path": document.path} if view.shows_paths or not document.is_file else {}),
        "title": document.title,
        "media_type": document.media_type,
        "status": document.status,
        "items": document.items,
        "metadata": document.metadata.dict(),
        "uri": document_uri(view, document),
    }


def resource(uri: str, content: bytes, media_type: str) -> types.TextResourceContents | types.BlobResourceContents:
    """Return bytes as a resource; text stays text."""
    if media_type.startswith("text/"):
        return types.TextResourceContents(uri=uri, text=content.decode("utf-8", "replace"), mime_type=media_type)
    return types.BlobResourceContents(uri=uri, blob=base64.b64encode(content).decode(), mime_type=media_type)


def text_result(text: str, structured: dict[str, Any]) -> types.CallToolResult:
    """Return a result without pictures."""
    return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=structured)


def hits_result(view: CollectionView, hits: Sequence[Hit], notes: Iterable[str], pictures: int) -> types.CallToolResult:
    """Return hits, best first."""
    lines = [f"Note: {note}" for note in notes]
    for number, hit in enumerate(hits, start=1):
        lines.append(
            f"{number}. {place_of_item(hit.item)} ({hit.confidence:.0%})\n"
            f"   item: {hit.item.id}, document: {hit.item.document.id}\n   {_cut(hit.item)}"
        )
    shown, blocks = _pictures(view, [hit.item for hit in hits], pictures)
    structured = {
        "hits": [{**_item_json(view, hit.item), "confidence": hit.confidence, "score": hit.score} for hit in hits],
        "notes": list(notes),
        "pictures": shown,
    }
    text = "\n\n".join(lines) or "Nothing was found."
    return types.CallToolResult(content=[types.TextContent(text=text), *blocks], structured_content=structured)


def answer_result(view: CollectionView, answer: Answer, pictures: int) -> types.CallToolResult:
    """Return an answer with its sources, or its reason for giving none."""
    sources = [
        f"[{citation.number}] {place_of_item(citation.hit.item)} (item: {citation.hit.item.id}, "
        f"document: {citation.hit.item.document.id})"
        for citation in answer.citations
    ]
    cited = [answer.citation(number).hit.item for block in answer.blocks for number in block.citations]
    shown, blocks = _pictures(view, cited, pictures)
    structured = {
        "answer": answer.text,
        "abstained": answer.abstained,
        "confidence": answer.confidence,
        "generator": answer.generator,
        "citations": [
            {"number": citation.number, "quote": citation.quote, **_item_json(view, citation.hit.item)}
            for citation in answer.citations
        ],
        "unsupported": [block.text for block in answer.unsupported],
        "notes": list(answer.notes),
        "pictures": shown,
    }
    text = "\n\n".join(part for part in (answer.text, "\n".join(sources), *answer.notes) if part)
    return types.CallToolResult(content=[types.TextContent(text=text), *blocks], structured_content=structured)


def _item_json(view: CollectionView, item: Item) -> dict[str, Any]:
    return {
        "item": item.id,
        "document": item.document.id,
        "name": shown_name(item.document),
        "place": place_of_item(item),
        "modality": item.modality,
        "text": _cut(item),
        "metadata": item.document.metadata.dict(),
        "uri": item_uri(view, item) or document_uri(view, item.document),
    }


def _cut(item: Item) -> str:
    text = item.text or ""
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT].rstrip() + " …"


def _pictures(
    view: CollectionView, items: Iterable[Item], most: int
) -> tuple[list[str], list[types.ImageContent | types.ResourceLink]]:
    """Return the ids of the items whose pictures are shown, and for each its picture and a link to the original."""
    ids: list[str] = []
    blocks: list[types.ImageContent | types.ResourceLink] = []
    known_pictures: set[str] = set()
    for item in items:
        if len(ids) == most:
            break
        if item.picture is None or item.picture in known_pictures:
            continue
        known_pictures.add(item.picture)
        jpeg = view.collection.store.thumbnail(item.picture)  # 320 pixels at most
        if jpeg is None:
            continue
        ids.append(item.id)
        blocks.append(types.ImageContent(data=base64.b64encode(jpeg).decode(), mime_type="image/jpeg"))
        blocks.append(_link(view, item))
    return ids, blocks


def _link(view: CollectionView, item: Item) -> types.ResourceLink:
    is_picture = item.document.media_type.startswith("image/")
    uri = original_uri(view, item.document) if is_picture else item_uri(view, item)
    media_type = item.document.media_type if is_picture else "image/png"
    return types.ResourceLink(uri=uri or "", name=place_of_item(item), mime_type=media_type)
