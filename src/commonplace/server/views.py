"""Documents, items, hits and answers as JSON of the server: with addresses here instead of paths of this machine."""

from __future__ import annotations

import re
from typing import Any

from commonplace.positions import position, shown_name
from commonplace.server.access import View
from commonplace.server.jobs import Job
from commonplace.server.links import segment
from commonplace.server.markdown import markdown
from commonplace.types import Answer, Block, Document, Hit, Item

__all__ = [
    "address_of",
    "answer_json",
    "block_json",
    "document_json",
    "hit_json",
    "item_json",
    "job_json",
    "shown_path",
]


PICTURED = ("image/", "video/")  # types of documents whose first item is a picture


def base(view: View) -> str:
    """Return the address of a collection."""
    return f"/v1/collections/{view.name}"


def shown_path(view: View, document: Document) -> str | None:
    """Return the path of a document; None for a file of this machine whose path the key may not see."""
    return document.path if view.shows_paths or not document.is_file else None


def document_json(view: View, document: Document) -> dict[str, Any]:
    """Return a document."""
    href = f"{base(view)}/documents/{segment(document.id)}"
    return {
        "id": document.id,
        "name": shown_name(document),
        "path": shown_path(view, document),
        "title": document.title,
        "media_type": document.media_type,
        "status": document.status,
        "reason": _without_paths(view, document.error),
        "items": document.items,
        "metadata": document.metadata.dict(),
        "href": href,
        "original": f"{href}/original",
        "thumbnail": f"{href}/thumbnail" if document.items and document.media_type.startswith(PICTURED) else None,
    }


def item_json(view: View, item: Item) -> dict[str, Any]:
    """Return an item."""
    document, href = item.document, item_href(view, item)
    return {
        "id": item.id,
        "document": document.id,
        "name": shown_name(document),
        "path": shown_path(view, document),
        "modality": item.modality,
        "title": item.title,
        "text": item.text,
        "span": item.span.dict(),
        "place": position(item.span, item.title, None),
        "metadata": document.metadata.dict(),
        "href": href,
        "document_href": f"{base(view)}/documents/{segment(document.id)}",
        "thumbnail": f"{href}/thumbnail" if item.picture is not None else None,
        "page": f"{href}/page" if _has_page(item) else None,
    }


def address_of(view: View, item: Item) -> str:
    """Return the address that shows an item to a person: its page or picture with its box, else its passage."""
    return f"{item_href(view, item)}/{'page' if _has_page(item) else 'text'}"


def item_href(view: View, item: Item) -> str:
    """Return the address of an item."""
    return f"{base(view)}/items/{segment(item.id)}"


def _has_page(item: Item) -> bool:
    """Return whether there is a picture of what the item stands on; pages other than those of PDF are not drawn."""
    is_drawn = item.span.page is not None and item.span.member is None
    return item.picture is not None or (is_drawn and item.document.media_type == "application/pdf")


def hit_json(view: View, hit: Hit) -> dict[str, Any]:
    """Return a hit: its item, its score and where that comes from."""
    return {
        **item_json(view, hit.item),
        "score": hit.score,
        "confidence": hit.confidence,
        "breakdown": [line.dict() for line in hit.breakdown],
        "near_duplicates": [copy.id for copy in hit.near_duplicates],
    }


def block_json(block: Block) -> dict[str, Any]:
    """Return a block of an answer."""
    return {
        "kind": block.kind,
        "text": block.shown,
        "citations": list(block.citations),
        "support": block.support,
        "reason": block.reason,
        "origin": block.origin,
        "starts_paragraph": block.starts_paragraph,
    }


def answer_json(view: View, answer: Answer) -> dict[str, Any]:
    """Return an answer. Its Markdown links to pages and pictures here."""
    return {
        "question": answer.question,
        "searched_as": answer.searched_as,
        "language": answer.language,
        "abstained": answer.abstained,
        "reason": answer.reason,
        "text": answer.text,
        "markdown": markdown(answer, lambda item: address_of(view, item)),
        "notes": list(answer.notes),
        "confidence": answer.confidence,
        "generator": answer.generator,
        "blocks": [block_json(block) for block in answer.blocks],
        "citations": [
            {
                "number": citation.number,
                "quote": citation.quote,
                "language": citation.language,
                "item": hit_json(view, citation.hit),
            }
            for citation in answer.citations
        ],
        "related": [hit_json(view, hit) for hit in answer.related],
    }


def job_json(view: View, job: Job) -> dict[str, Any]:
    """Return a job."""
    href = f"{base(view)}/jobs/{job.id}"
    return {
        "id": job.id,
        "state": job.state,
        "created": job.created,
        "finished": job.finished,
        "total": job.total,
        "done": job.done,
        "uploads": [{**upload, "reason": _without_paths(view, upload["reason"])} for upload in job.uploads],
        "href": href,
        "events": f"{href}/events",
    }


_PATH = re.compile(r"(?<![\w:/])/(?:[^\s:,;'\"()]+/)+")


def _without_paths(view: View, text: str | None) -> str | None:
    """Return a message without folders of this machine, unless the key may see them."""
    return text if text is None or view.shows_paths else _PATH.sub("…/", text)
