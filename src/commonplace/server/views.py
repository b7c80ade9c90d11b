"""Documents, items, hits and answers as JSON of the server: with addresses here instead of paths of this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from commonplace.display import escape_markdown, markdown_row
from commonplace.positions import position
from commonplace.server.access import View
from commonplace.server.jobs import Job
from commonplace.server.links import segment
from commonplace.types import Answer, Block, Document, Hit, Item

__all__ = [
    "answer_json",
    "block_json",
    "document_json",
    "hit_json",
    "item_json",
    "job_json",
    "shown_name",
    "shown_path",
]


def base(view: View) -> str:
    """Return the address of a collection."""
    return f"/v1/collections/{view.name}"


def shown_name(document: Document) -> str:
    """Return what to call a document: the last part of its path or address; of a record its title or id."""
    if document.is_record and document.uri.startswith("record:"):
        return document.title or document.id
    path = document.path if document.is_file else unquote(urlsplit(document.path).path)
    return os.path.basename(path.rstrip("/")) or document.path


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
    }


def item_json(view: View, item: Item) -> dict[str, Any]:
    """Return an item."""
    document, href = item.document, f"{base(view)}/items/{segment(item.id)}"
    has_page = item.picture is not None or item.span.page is not None
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
        "page": f"{href}/page" if has_page else None,
    }


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
        "markdown": markdown(view, answer, {}),
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


_SOURCE = re.compile(r"^\[(\d+)\] .*$", re.MULTILINE)


def markdown(view: View, answer: Answer, links: Mapping[int, str]) -> str:
    """Return an answer as Markdown whose sources and pictures are addresses of this server.

    ``links`` are the addresses of the citations by number; without one a citation has that of its item.
    """

    def link(number: int) -> str:
        citation = answer.citation(number)
        shown = item_json(view, citation.hit.item)
        return links.get(number) or shown["page"] or shown["href"]

    if answer.abstained:
        return escape_markdown(answer.reason or "")
    parts: list[str] = []
    table = False
    for block in answer.blocks:
        marks = "".join(f" [\\[{number}\\]](<{link(number)}>)" for number in block.citations)
        note = f" *{escape_markdown(block.support_note)}*" if block.support_note else ""
        if block.kind == "image":
            picture = link(block.citations[0]) if block.citations else ""
            parts.append(f"![{escape_markdown(block.shown)}](<{picture}>){marks}")
        elif block.kind == "code":
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
            parts.append("\n".join([fence, *block.lines, fence, marks.strip() + note]))
        elif block.kind == "row":
            row = markdown_row(block.text, marks + note, escape_markdown)
            if table:  # the rows of a table follow each other without an empty line
                parts[-1] += f"\n{row}"
            else:
                parts.append(row)
        else:
            parts.append(escape_markdown(block.text) + marks + note)
        table = block.kind == "row"
    sources = [
        f"[{citation.number}] [{escape_markdown(_place(citation.hit.item))}](<{link(citation.number)}>)  "
        for citation in answer.citations
    ]
    return "\n\n".join(parts) + ("\n\n" + "\n".join(sources) if sources else "")


def _place(item: Item) -> str:
    words = position(item.span, item.title, None)
    return f"{shown_name(item.document)}, {words}" if words else shown_name(item.document)


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
