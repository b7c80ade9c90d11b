"""The words of Commonplace as frozen data: documents, items, spans, pictures, hits and answers.

Arrays are NumPy, pictures are RGB ``uint8`` of shape
(height, width, 3), vectors are float32 rows of unit length.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from commonplace.metadata import Metadata, MetadataType

__all__ = [
    "IMAGE",
    "MODALITIES",
    "TEXT",
    "Answer",
    "Block",
    "Box",
    "Citation",
    "Comparison",
    "Condition",
    "Content",
    "Document",
    "Filter",
    "Hit",
    "Item",
    "Modality",
    "Note",
    "Original",
    "ParsedDocument",
    "Picture",
    "Query",
    "ScoreComponent",
    "Span",
    "Status",
    "Support",
    "ViewVectors",
    "captions",
    "escape_markdown",
    "printable",
    "stable_id",
    "text_view",
]

TEXT, IMAGE = "text", "image"
MODALITIES = (TEXT, IMAGE, "video")
Modality = str
"""What an item is: one of MODALITIES, or a modality that an installed package adds (``commonplace.channels``)."""
Content = str | bytes | NDArray[Any]
"""What an encoder reads of an item or of a query: a text, pixels, or what the reader of another modality gives."""
Status = Literal["ok", "partial", "failed"]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom as fractions of the page or picture, each in [0, 1], origin at the top left."""


def stable_id(*parts: object) -> str:
    """Return 20 hexadecimal digits that depend on ``parts`` alone: the same on every machine and in every run."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def content_hash(modality: str, content: Content) -> str:
    """Return a hash that depends on a content and its modality alone."""
    if isinstance(content, np.ndarray):
        shape, data = f"{content.dtype} {content.shape}", np.ascontiguousarray(content).tobytes()
    else:
        shape, data = "", content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return stable_id(modality, shape, hashlib.blake2b(data, digest_size=20).hexdigest())


def text_view(text: str | None, title: str | None) -> str | None:
    """Return what is embedded and indexed of a text under its headings; None where there is no text."""
    if not text:
        return None
    return f"{title}\n{text}" if title else text


@dataclass(frozen=True, slots=True)
class Span:
    """Where in its document an item stands; a field that does not apply is None.

    ``start`` and ``end`` count characters (Python string indices) of the document's decoded text or, where
    ``page`` (from 1) is set, of that page's text; ``begin`` and ``finish`` are seconds of a video. ``member`` names
    the file inside the document that all this counts in: of an archive, or attached to a mail. ``ocr_start`` is the
    character of the item's text from which on nobody wrote it: it was read in pixels.
    """

    start: int | None = None
    end: int | None = None
    page: int | None = None
    box: Box | None = None
    begin: float | None = None
    finish: float | None = None
    member: str | None = None
    ocr_start: int | None = None

    def dict(self) -> dict[str, Any]:
        """Return the fields that are set, as plain JSON values."""
        names = ("member", "start", "end", "page", "box", "begin", "finish", "ocr_start")
        fields = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if "box" in fields:
            fields["box"] = list(fields["box"])
        return fields

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Span:
        """Return the span that ``dict()`` described."""
        fields = dict(values)
        if fields.get("box") is not None:
            left, top, right, bottom = fields["box"]
            fields["box"] = (float(left), float(top), float(right), float(bottom))
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Document:
    """One source: a file, or a record that was added from memory.

    ``id`` of a file hashes its canonical URI, so an edit keeps it; ``id`` of a record is the user's. ``content_hash``
    hashes the bytes. ``path`` is what to show: of a record its URI. ``status`` is ``ok``, ``partial`` (some of it
    could not be read: ``error`` says what) or ``failed``.
    ``stamp`` is the file system's word on the file and on those it shows (path, size, times), or a hash of the record,
    by which an unchanged document is recognised without reading it. ``metadata`` is what the file says of itself, see
    ``commonplace.readers.metadata``, and what the user gave with a record.
    """

    id: str
    uri: str
    path: str
    media_type: str
    content_hash: str = ""
    title: str | None = None
    status: Status = "ok"
    error: str | None = None
    stamp: str = ""
    items: int = 0
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def is_file(self) -> bool:
        """Whether the document is a file; a record is kept in the collection itself."""
        return self.uri.startswith("file:")


@dataclass(frozen=True, slots=True)
class Item:
    """The smallest thing that can be found and cited: a passage, a picture, a figure on a page.

    ``text`` is the passage or, for a picture, its caption (None where nobody wrote one); ``title`` the headings
    it stands under. ``picture`` names the pixels by their content hash, or is None.
    """

    id: str
    document: Document
    modality: Modality
    span: Span
    text: str | None = None
    title: str | None = None
    picture: str | None = None

    @property
    def text_view(self) -> str | None:
        """What the text tower reads of this item: its headings and its text; None where there is no text."""
        return text_view(self.text, self.title)


def captions(item: Item) -> tuple[str, str]:
    """Return what somebody wrote about a picture, and what was read in it; each on one line, or empty."""
    text, at = item.text or "", item.span.ocr_start
    caption, words = (text, "") if at is None else (text[:at].removesuffix(". "), text[at:])
    return " ".join(caption.split()), " ".join(words.split())


@dataclass(frozen=True, slots=True)
class Picture:
    """Decoded pixels, upright, at reading size, with a JPEG to show and the size of the original in pixels."""

    pixels: NDArray[np.uint8]  # (height, width, 3)
    thumbnail: bytes  # JPEG
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Original:
    """The content of a record as it was given: the bytes of a file, or UTF-8 text."""

    media_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """What a reader found in one file or record: the document, its items, the pictures by content hash, and the
    contents of items of other modalities by item id.

    ``original`` is the content of a record, to be kept with it; None for a file.
    """

    document: Document
    items: tuple[Item, ...] = ()
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    contents: Mapping[str, Content] = field(default_factory=dict)
    original: Original | None = None

    def content(self, item: Item, modality: str) -> tuple[str, Content | None] | None:
        """Return the hash of an item's content of a modality and the content itself, None where that is not at hand;
        None where the item has no such content."""
        if modality == TEXT:
            text = item.text_view
            return None if text is None else (stable_id(TEXT, text), text)
        if modality == IMAGE:
            picture = self.pictures.get(item.picture or "")
            return None if item.picture is None else (item.picture, None if picture is None else picture.pixels)
        content = self.contents.get(item.id) if item.modality == modality else None
        return None if content is None else (content_hash(modality, content), content)


@dataclass(frozen=True, slots=True)
class ViewVectors:
    """Vectors of one partition for the items of a batch: row ``i`` belongs to item ``item_ids[i]``.

    ``views`` holds the content hash of each view, by which a copy reuses a vector instead of encoding again.
    """

    partition: str
    item_ids: tuple[str, ...]
    views: tuple[str, ...]
    vectors: NDArray[np.float32]  # (rows, dim), unit length


Comparison = tuple[Literal["=", "glob", "<", "<=", ">", ">="], str | int | float]
"""An operator and the value to compare with, as ``commonplace.metadata.comparable`` makes it."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a filter asks of one metadata key: a value for which all comparisons of one alternative are true.

    ``key`` is in folded case; ``type`` is the type of the values that are compared.
    """

    key: str
    type: MetadataType
    alternatives: tuple[tuple[Comparison, ...], ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """What an item must be to be found; an empty field allows everything.

    ``modality`` is the item's own; ``path`` a glob over the document's path (``*`` crosses folders); without ``*``,
    ``?`` or ``[`` it names a file, or everything below a folder: that one where it is absolute, else any of that
    name. ``media_type`` is a glob such as ``image/*``. The document's date must not be earlier than ``after`` and must
    be earlier than ``before``, both ISO 8601 or a beginning of it (``2024``, ``2024-05``). ``metadata`` holds one
    condition a key; the document must meet all.
    """

    modality: Modality | None = None
    path: str | None = None
    media_type: str | None = None
    after: str | None = None
    before: str | None = None
    metadata: tuple[Condition, ...] = ()

    def __bool__(self) -> bool:
        return any((self.modality, self.path, self.media_type, self.after, self.before, self.metadata))


@dataclass(frozen=True, slots=True)
class Query:
    """What to search for: words, a picture, contents of other modalities (``others``, by modality), or several of
    these.

    A caller may give ``image`` as a path, the bytes of a picture file, a PIL image or RGB pixels (height, width, 3)
    uint8; inside the library it is always pixels.
    """

    text: str | None = None
    image: Any = None
    others: Mapping[str, Content] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, Content]:
        """The parts that there are, by name."""
        parts: dict[str, Content | None] = {TEXT: self.text or None, IMAGE: self.image, **self.others}
        return {name: content for name, content in parts.items() if content is not None}


@dataclass(frozen=True, slots=True)
class ScoreComponent:
    """One line of a hit's score breakdown: the channel's raw score and rank, its weight, and what it adds to the score.

    A rank counts from 1; 0 where the item was scored but is not on the channel's list, and for lines of the search as a
    whole: ``prior`` (the odds of any item before it was looked at), ``match_density`` (much else matches as well),
    ``modality_bias``, ``copy`` (it is the picture that was asked with), ``together`` (of words and a picture, both
    must fit).
    """

    channel: str
    score: float
    rank: int
    weight: float
    contribution: float

    def dict(self) -> dict[str, Any]:
        """Return the line as plain JSON values."""
        return {
            "channel": self.channel,
            "score": self.score,
            "rank": self.rank,
            "weight": self.weight,
            "contribution": self.contribution,
        }


@dataclass(frozen=True, slots=True)
class Hit:
    """An item with its score in [0, 1] and the score breakdown that made it.

    Under the default fusion the contributions are log-odds and sum to those of the score, which is the
    ``confidence``: the probability that the item is relevant. Under the others they sum to the score itself.
    ``near_duplicates`` are near-copies that were found as well and are shown as this one.
    """

    item: Item
    score: float
    breakdown: tuple[ScoreComponent, ...]
    image: str | None = None
    """Path of a picture file to show: the document itself, or the crop of a figure."""
    confidence: float = 0.0
    near_duplicates: tuple[Item, ...] = ()

    def dict(self) -> dict[str, Any]:
        """Return the hit as the documented JSON object."""
        return {
            "id": self.item.id,
            "document": self.item.document.id,
            "path": self.item.document.path,
            "modality": self.item.modality,
            "score": self.score,
            "confidence": self.confidence,
            "near_duplicates": [{"id": copy.id, "path": copy.document.path} for copy in self.near_duplicates],
            "span": self.item.span.dict(),
            "title": self.item.title,
            "metadata": self.item.document.metadata.dict(),
            "text": self.item.text,
            "image": self.image,
            "breakdown": [line.dict() for line in self.breakdown],
        }


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a claim comes from: the hit it rests on, the words quoted, and the span they stand at.

    ``crop`` is the JPEG of a picture as the collection keeps it: text and picture outlive the file they came from.
    """

    number: int  # the marker: from 1
    hit: Hit
    quote: str | None
    span: Span
    crop: bytes | None = field(default=None, repr=False)

    @property
    def place(self) -> str:
        """The document and the place in it, for people: ``guide.pdf, page 3``."""
        parts = [self.hit.item.document.path]
        if self.span.member is not None:
            parts.append(self.span.member)
        if self.span.page is not None:
            parts.append(f"page {self.span.page}")
        if self.span.box is not None and self.span.box != (0.0, 0.0, 1.0, 1.0):
            parts.append("box " + " ".join(f"{edge:.2f}" for edge in self.span.box))
        if self.span.start is not None and self.span.end is not None:
            parts.append(f"characters {self.span.start} to {self.span.end}")
        return ", ".join(parts)

    def dict(self) -> dict[str, Any]:
        """Return the citation as plain JSON values."""
        return {
            "number": self.number,
            "id": self.hit.item.id,
            "document": self.hit.item.document.id,
            "path": self.hit.item.document.path,
            "modality": self.hit.item.modality,
            "span": self.span.dict(),
            "quote": self.quote,
            "image": self.hit.image,
            "score": self.hit.score,
        }


Support = Literal["supported", "weak", "unsupported"]
"""How well a sentence is borne out by what it cites; see ``commonplace.generation.grounding``."""


_SHOWN = 200  # characters under a picture of what was read in it


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of an answer: a sentence, ``code`` line by line, or a picture with its description in ``text``;
    ``citations`` are numbers.

    A sentence has its ``support``, and a ``reason`` where that is not full. A picture's ``origin`` says where its
    description comes from: its ``caption``, the ``words`` read in it, a ``machine``, or only the ``name`` of its
    file; ``image`` is the path of the file to show. ``starts_paragraph`` begins a paragraph.
    """

    kind: Literal["text", "code", "image"]
    text: str
    citations: tuple[int, ...]
    support: Support | None = None
    reason: str | None = None
    origin: Literal["caption", "words", "machine", "name"] | None = None
    starts_paragraph: bool = False
    image: str | None = None

    @property
    def support_note(self) -> str:
        """What a reader is told of a sentence that is not fully supported; empty where it is."""
        if self.support not in ("weak", "unsupported"):
            return ""
        word = "weakly supported" if self.support == "weak" else "unsupported"
        return f"({word}: {self.reason})" if self.reason else f"({word})"

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of the block, fit for a terminal: tabs as spaces, no control characters."""
        return tuple(printable(line.expandtabs(4)) for line in self.text.split("\n"))

    @property
    def shown(self) -> str:
        """The words of the block; a description that nobody wrote for this picture says where it comes from.

        Of words that were read in it the first 200 characters, to the end of a word; ``text`` holds them all.
        """
        suffixes = {"machine": " (described by a machine)", "words": " (words read in the picture)"}
        text = self.text
        if self.origin == "words" and len(text) > _SHOWN:
            cut = text[: _SHOWN + 1]
            text = (cut.rpartition(" ")[0] or cut[:_SHOWN]).rstrip() + " …"
        return text + suffixes.get(self.origin or "", "")


@dataclass(frozen=True, slots=True)
class Answer:
    """Text and pictures in reading order with their citations; or, ``abstained``, the reason there is none.

    ``confidence`` in [0, 1] is the best confidence among the hits that are cited, times the share of sentences that
    are supported (a weak one counts half); 0 where it abstained. ``invalid_citations`` counts markers that named no
    evidence and were removed. ``searched_as``: the words that were searched for, where these are not the question.
    """

    question: str
    blocks: tuple[Block, ...]
    citations: tuple[Citation, ...]
    hits: tuple[Hit, ...]
    abstained: bool = False
    reason: str | None = None
    notes: tuple[str, ...] = ()
    """Which part of the question could not be searched, what went wrong, and why, in words."""
    confidence: float = 0.0
    invalid_citations: int = 0
    generator: str = "extractive"
    searched_as: str | None = None

    @property
    def unsupported(self) -> tuple[Block, ...]:
        """The sentences that nothing they cite bears out."""
        return tuple(block for block in self.blocks if block.support == "unsupported")

    @property
    def related(self) -> tuple[Hit, ...]:
        """The hits that were found but not cited, best first; where the answer abstained, the nearest ones."""
        cited = {citation.hit.item.id for citation in self.citations}
        return tuple(hit for hit in self.hits if hit.item.id not in cited)

    def citation(self, number: int) -> Citation:
        """Return the citation that the marker ``[number]`` stands for."""
        return self.citations[number - 1]

    def markdown(self) -> str:
        """Return the answer as Markdown: sentences with [n] markers, pictures, and the sources.

        The words of documents and of models are escaped, so that they show as they are and start no picture, tag or
        labelled link (a viewer may still link a bare web address), and hold no control characters.
        """
        if self.abstained:
            return escape_markdown(self.reason or "")
        lines: list[str] = []
        text: list[str] = []
        for block in self.blocks:
            marks = "".join(f" [{number}]" for number in block.citations)
            if text and (block.starts_paragraph or block.kind != "text"):
                lines += [" ".join(text), ""]
                text = []
            support_note = f" *{escape_markdown(block.support_note)}*" if block.support_note else ""
            if block.kind == "text":
                text.append(escape_markdown(block.text) + marks + support_note)
                continue
            if block.kind == "code":
                fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
                lines += [fence, *block.lines, fence, marks.strip() + support_note, ""]
                continue
            lines += [f"![{escape_markdown(block.shown)}](<{quote(os.fsencode(block.image or ''))}>){marks}", ""]
        if text:
            lines += [" ".join(text), ""]
        lines += [f"[{citation.number}] {escape_markdown(citation.place)}  " for citation in self.citations]
        return "\n".join(lines).rstrip() + "\n"

    def html(self) -> str:
        """Return the answer as one HTML page that needs nothing else and fetches nothing.

        Every word is escaped; pictures are the stored crops, as data URLs; links lead to ``#source-N`` on the page
        and nowhere else; a content security policy forbids scripts and loads, should anything have been overlooked.
        """
        body = [f"<h1>{_html(self.question)}</h1>"]
        if self.abstained:
            body.append(f'<p class="abstained">{_html(self.reason or "")}</p>')
        paragraph: list[str] = []

        def close() -> None:
            if paragraph:
                body.append(f"<p>{' '.join(paragraph)}</p>")
                paragraph.clear()

        for block in self.blocks:
            marks = "".join(f' <a href="#source-{number}">[{number}]</a>' for number in block.citations)
            support_note = f' <em class="doubt">{_html(block.support_note)}</em>' if block.support_note else ""
            if block.starts_paragraph or block.kind != "text":
                close()
            if block.kind == "code":
                code = "\n".join(map(_escaped, block.lines))
                body.append(
                    f'<pre class="{block.support or "said"}"><code>{code}</code></pre><p>{marks}{support_note}</p>'
                )
                continue
            if block.kind == "text":
                paragraph.append(
                    f'<span class="{block.support or "said"}">{_html(block.text)}</span>{marks}{support_note}'
                )
                continue
            crop = self.citation(block.citations[0]).crop
            picture = f'<img src="{_data_url(crop)}" alt="{_html(block.shown)}">' if crop else ""
            body.append(f"<figure>{picture}<figcaption>{_html(block.shown)}{marks}</figcaption></figure>")
        close()
        body += [f'<p class="note">{_html(note)}</p>' for note in self.notes]
        if self.citations:
            sources = "".join(
                f'<li id="source-{citation.number}" value="{citation.number}">{_html(citation.place)}'
                + (f"<blockquote>{_html(citation.quote)}</blockquote>" if citation.quote else "")
                + "</li>"
                for citation in self.citations
            )
            body.append(f"<h2>Sources</h2><ol>{sources}</ol>")
        return _PAGE.format(body="\n".join(body))

    def dict(self) -> dict[str, Any]:
        """Return the answer as the documented JSON object."""
        return {
            "question": self.question,
            "searched_as": self.searched_as,
            "abstained": self.abstained,
            "reason": self.reason,
            "notes": list(self.notes),
            "confidence": self.confidence,
            "generator": self.generator,
            "invalid_citations": self.invalid_citations,
            "unsupported": [block.text for block in self.unsupported],
            "blocks": [
                {
                    "kind": block.kind,
                    "text": block.text,
                    "citations": list(block.citations),
                    "support": block.support,
                    "reason": block.reason,
                    "origin": block.origin,
                    "starts_paragraph": block.starts_paragraph,
                    "image": block.image,
                }
                for block in self.blocks
            ],
            "citations": [citation.dict() for citation in self.citations],
            "related": [hit.dict() for hit in self.related],
        }


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the reader of an answer should know; ``restart`` takes back all that was said before it."""

    text: str
    restart: bool = False


_PAGE = """<!doctype html>
<html><head><meta charset="utf-8"><title>Answer</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>body{{font:1rem/1.6 sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}}h1{{font-size:1.3rem}}
pre{{overflow-x:auto;background:#f4f4f4}}
figure{{margin:1rem 0}}img{{max-width:100%}}figcaption,li,.note{{color:#555;font-size:.9rem}}
.weak{{background:#fff6d6}}.unsupported{{background:#ffe0e0}}blockquote{{margin:.2rem 0 .6rem 1rem}}</style>
</head><body>
{body}
</body></html>
"""


def _html(text: str) -> str:
    """Return ``text`` on one line as HTML shows it, good inside an attribute too."""
    return _escaped(printable(" ".join(text.split())))


def _escaped(line: str) -> str:
    return html.escape(line).encode("utf-8", "replace").decode()


def _data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#!|~<>&])")


def escape_markdown(text: str) -> str:
    """Return ``text`` on one line, so that Markdown shows its characters and obeys none of them."""
    return _MARKDOWN.sub(r"\\\1", printable(" ".join(text.split())))


def printable(text: str) -> str:
    """Return ``text`` with a space for each control character: a document must not drive a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)
