"""The data types of Commonplace, as frozen data classes: documents, items, spans, pictures, hits and answers.

Arrays are NumPy arrays. Pictures are RGB ``uint8`` (height, width, 3); vectors are float32 (dim,) of unit length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.display import answer_html, answer_markdown, answer_text, columns, escape_markdown, printable
from commonplace.i18n import N_, _, language_name
from commonplace.metadata import Metadata, MetadataType
from commonplace.positions import file_link, position

__all__ = [
    "IMAGE",
    "MODALITIES",
    "REMOTE",
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
    "columns",
    "escape_markdown",
    "printable",
    "stable_id",
    "text_view",
]

TEXT, IMAGE, AUDIO = "text", "image", "audio"
REMOTE = "remote:"
"""The beginning of the stamp of a file behind a URL."""
MODALITIES = (TEXT, IMAGE, AUDIO)
Modality = str
"""The modality of an item: one of MODALITIES, or one that an installed package adds (``commonplace.channels``)."""
Content = str | bytes | NDArray[Any]
"""The input of an encoder for an item or a query: a text, pixels, or the content from a plug-in's reader."""
Status = Literal["ok", "partial", "failed"]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom as fractions of the page or picture, each in [0, 1]; the origin is at the top left."""


def stable_id(*parts: object) -> str:
    """Return a hash of ``parts``, 20 hexadecimal digits, that is the same on every machine and in every run."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def content_hash(modality: str, content: Content) -> str:
    """Return a hash of a content and its modality, 20 hexadecimal digits."""
    if isinstance(content, np.ndarray):
        shape, data = f"{content.dtype} {content.shape}", np.ascontiguousarray(content).tobytes()
    else:
        shape, data = "", content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return stable_id(modality, shape, hashlib.blake2b(data, digest_size=20).hexdigest())


def text_view(text: str | None, title: str | None) -> str | None:
    """Return the text that is embedded and indexed: the headings (``title``) and the text; None without a text."""
    if not text:
        return None
    return f"{title}\n{text}" if title else text


@dataclass(frozen=True, slots=True)
class Span:
    """The position of an item in its document. A field that does not apply is None.

    ``start`` and ``end`` are character offsets (Python string indices) in the document's decoded text. If ``page``
    (from 1) is set, they are offsets in that page's text. ``box`` is the item's box on the page or picture. ``begin``
    and ``finish`` are seconds of a video or a recording. ``member`` is the name of a file inside the document, such as
    a file of an archive or a mail attachment; the other fields then refer to that file. ``ocr_start`` is the offset in
    the item's text at which words read by OCR begin. ``line`` (from 1) is the line of a text file at which the item
    begins, and ``row`` the row of a sheet.
    """

    start: int | None = None
    end: int | None = None
    page: int | None = None
    box: Box | None = None
    begin: float | None = None
    finish: float | None = None
    member: str | None = None
    ocr_start: int | None = None
    line: int | None = None
    row: int | None = None

    def dict(self) -> dict[str, Any]:
        """Return the fields that are set, as plain JSON values."""
        names = ("member", "start", "end", "page", "box", "begin", "finish", "ocr_start", "line", "row")
        fields = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if "box" in fields:
            fields["box"] = list(fields["box"])
        return fields

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Span:
        """Return the span from the result of ``dict()``."""
        fields = dict(values)
        if fields.get("box") is not None:
            left, top, right, bottom = fields["box"]
            fields["box"] = (float(left), float(top), float(right), float(bottom))
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Document:
    """A document: a file, a file behind a URL, or a record that was added from memory.

    - ``id``: for a file the hash of its canonical URI, which an edit does not change; for a record the user's id.
    - ``path``: the path to show; for a file behind a URL its URL, for a record its URI.
    - ``content_hash``: the hash of the bytes.
    - ``status``: ``ok``, ``partial`` (a part could not be read; ``error`` has the reason) or ``failed``.
    - ``stamp``: path, size and times of the file and of the files that it includes, or a hash of the record. An
      unchanged stamp means an unchanged document, without reading it.
    - ``metadata``: the file's own metadata (see ``commonplace.readers.metadata``), or what the user gave with a record.
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
        """Whether the document is a file of this file system."""
        return self.uri.startswith("file:")

    @property
    def is_remote(self) -> bool:
        """Whether the document is a file behind a URL, such as ``s3://bucket/report.pdf``."""
        return self.stamp.startswith(REMOTE)

    @property
    def is_record(self) -> bool:
        """Whether the document is a record, whose content is stored in the collection."""
        return not self.is_file and not self.is_remote


@dataclass(frozen=True, slots=True)
class Item:
    """An item, the smallest unit of search and citation: a passage, a picture, a figure on a page.

    ``text`` is the passage or, for a picture, its caption (None without one). ``title`` are the headings above it.
    ``picture`` is the content hash of its pixels, or None.
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
        """The text that is embedded: the item's headings and its text; None without a text."""
        return text_view(self.text, self.title)


def captions(item: Item) -> tuple[str, str]:
    """Return a picture's caption, and the words read in it by OCR. Each is on one line, or empty."""
    text, at = item.text or "", item.span.ocr_start
    caption, words = (text, "") if at is None else (text[:at].removesuffix(". "), text[at:])
    return " ".join(caption.split()), " ".join(words.split())


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture, upright, with a JPEG thumbnail. ``width`` and ``height`` are the original size in pixels."""

    pixels: NDArray[np.uint8]  # (height, width, 3)
    thumbnail: bytes  # JPEG
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Original:
    """The original content of a record: the bytes of a file, or UTF-8 text."""

    media_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """The result of reading a file or record: the document and its items.

    ``pictures`` are by content hash. ``contents`` are the contents of items of other modalities, by item id.
    ``original`` is the content of a record, which is stored with it; None for a file.
    """

    document: Document
    items: tuple[Item, ...] = ()
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    contents: Mapping[str, Content] = field(default_factory=dict)
    original: Original | None = None

    def content(self, item: Item, modality: str) -> tuple[str, Content | None] | None:
        """Return the hash of an item's content of a modality, and the content itself.

        The content is None if only its hash is available. Returns None if the item has no content of this modality.
        """
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

    ``views`` are the content hashes of the views. Items with equal content share one vector through this hash.
    """

    partition: str
    item_ids: tuple[str, ...]
    views: tuple[str, ...]
    vectors: NDArray[np.float32]  # (rows, dim), unit length

    def only(self, items: Container[str]) -> ViewVectors:
        """Return the rows of these items."""
        kept = [row for row, item in enumerate(self.item_ids) if item in items]
        item_ids, views = (tuple(names[row] for row in kept) for names in (self.item_ids, self.views))
        return ViewVectors(self.partition, item_ids, views, self.vectors[kept])


Comparison = tuple[Literal["=", "glob", "<", "<=", ">", ">="], str | int | float]
"""An operator and the value to compare with, in the form of ``commonplace.metadata.comparable``."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of a filter on one metadata key.

    A document meets it if one of its values satisfies all comparisons of at least one alternative. ``key`` is
    case-folded. ``type`` is the type of the compared values.
    """

    key: str
    type: MetadataType
    alternatives: tuple[tuple[Comparison, ...], ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter on items. An empty field allows everything.

    - ``modality``: the modality of the item.
    - ``path``: a glob over the document's path, in which ``*`` also matches ``/``. Without ``*``, ``?`` or ``[`` it is
      the name of a file, or of a folder with everything below. A relative path matches every folder of that name.
    - ``media_type``: a glob such as ``image/*``.
    - ``after``, ``before``: the document's date is not earlier than ``after``, and earlier than ``before``. Both are
      ISO 8601 or a prefix of it (``2024``, ``2024-05``).
    - ``metadata``: one condition for each key; the document must meet all of them.
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
    """A query: words, a picture, contents of other modalities (``others``, by modality), or several of these.

    Callers may give ``image`` as a path, the bytes of a picture file, a PIL image, or RGB pixels (height, width, 3)
    uint8. Inside the library it is always pixels.
    """

    text: str | None = None
    image: Any = None
    others: Mapping[str, Content] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, Content]:
        """The non-empty parts of the query, by name."""
        parts: dict[str, Content | None] = {TEXT: self.text or None, IMAGE: self.image, **self.others}
        return {name: content for name, content in parts.items() if content is not None}


@dataclass(frozen=True, slots=True)
class ScoreComponent:
    """One line of a score breakdown: a channel's raw score, rank and weight, and its contribution to the score.

    Ranks count from 1. The rank is 0 if the item was scored but is not on the channel's list. It is also 0 for the
    general lines: ``prior`` (prior log-odds of any item), ``match_density`` (how many items match), ``modality_bias``,
    ``near_duplicate`` (the item is the query picture, which is wanted, or was to be changed), ``as_written`` (the words
    of the query stand there), ``together`` (words and picture must both match), and ``beside_picture`` (a passage that
    stands beside the query picture).
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
    """A search hit: an item with its score in [0, 1] and its score breakdown.

    ``confidence`` is the probability that the item is relevant. With calibrated fusion (the default) it equals the
    score, and the contributions of the breakdown add up to its log-odds. With ``rrf`` they add up to the score itself.
    ``near_duplicates`` are further hits that are shown as this one.
    """

    item: Item
    score: float
    breakdown: tuple[ScoreComponent, ...]
    image: str | None = None
    """The path of a picture file to show: the document itself, or the crop of a figure."""
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
    """The source of a claim: the cited hit, the quoted words, and their span.

    ``crop`` is the stored JPEG of a picture. Quoted text and crop stay available if the file is deleted. ``language``
    is the language of the quote (BCP 47) if the question is in another one. ``question_language`` is that of the
    question: ``place`` is written in it.
    """

    number: int  # the marker: from 1
    hit: Hit
    quote: str | None
    span: Span
    crop: bytes | None = field(default=None, repr=False)
    language: str | None = None
    question_language: str | None = None

    @property
    def place(self) -> str:
        """The document, the position in it and the language if it is another: ``guide.pdf, page 3, in Chinese``."""
        asked_in = self.question_language
        parts = [self.hit.item.document.path]
        if words := position(self.span, self.hit.item.title, asked_in):
            parts.append(words)
        if self.language is not None:
            parts.append(_("in {language}", asked_in).format(language=language_name(self.language, asked_in)))
        return _(", ", asked_in).join(parts)

    @property
    def link(self) -> str | None:
        """The URI of the cited file, at the cited page of a PDF; None for what is no file of this file system."""
        return file_link(self.hit.item.document, self.span)

    def dict(self) -> dict[str, Any]:
        """Return the citation as plain JSON values."""
        return {
            "number": self.number,
            "id": self.hit.item.id,
            "document": self.hit.item.document.id,
            "path": self.hit.item.document.path,
            "modality": self.hit.item.modality,
            "span": self.span.dict(),
            "place": self.place,
            "quote": self.quote,
            "language": self.language,
            "image": self.hit.image,
            "score": self.hit.score,
            "confidence": self.hit.confidence,
        }


Support = Literal["supported", "weak", "unsupported"]
"""How well the citations of a sentence support it; see ``commonplace.generation.grounding``."""


_SHOWN = 200  # maximum characters of OCR words under a picture


@dataclass(frozen=True, slots=True)
class Block:
    """A block of an answer: a sentence, lines of ``code``, a table's ``row`` as Markdown, or a picture with its
    description in ``text``. A row with a second line, a rule, holds the names of the columns.

    ``citations`` are citation numbers. ``support`` is None for pictures and for what only leads to the next block, such
    as the line before a list; ``reason`` is set if the support is not full.
    ``origin`` is the source of a picture's description: its ``caption``, the ``words`` read in it, a ``machine``, or
    only the ``name`` of its file. ``image`` is the path of the file to show. ``starts_paragraph`` tells that the block
    begins a paragraph. ``question_language`` is the language of the question (BCP 47): notes are written in it.
    ``cited`` are the hits of ``citations``, in the same order: a reader of a stream needs them before the answer ends.
    """

    kind: Literal["text", "code", "row", "image"]
    text: str
    citations: tuple[int, ...]
    support: Support | None = None
    reason: str | None = None
    origin: Literal["caption", "words", "machine", "name"] | None = None
    starts_paragraph: bool = False
    image: str | None = None
    question_language: str | None = None
    cited: tuple[Hit, ...] = field(default=(), repr=False, compare=False)

    @property
    def support_note(self) -> str:
        """The note for a sentence that is not fully supported; otherwise empty."""
        if self.support not in ("weak", "unsupported"):
            return ""
        word = _(N_("weakly supported") if self.support == "weak" else N_("unsupported"), self.question_language)
        template = N_("({word}: {reason})") if self.reason else N_("({word})")
        return _(template, self.question_language).format(word=word, reason=self.reason)

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of the block for a terminal: tabs become spaces, control characters are removed."""
        return tuple(printable(line.expandtabs(4)) for line in self.text.split("\n"))

    @property
    def shown(self) -> str:
        """The text of the block for display. A picture's description that is not its caption names its origin.

        Words that were read in the picture are shortened to 200 characters, at the end of a word. ``text`` has all of
        them.
        """
        suffixes = {"machine": N_(" (described by a machine)"), "words": N_(" (words read in the picture)")}
        text = self.text
        if self.origin == "words" and len(text) > _SHOWN:
            cut = text[: _SHOWN + 1]
            text = (cut.rpartition(" ")[0] or cut[:_SHOWN]).rstrip() + " …"
        suffix = suffixes.get(self.origin or "")
        return text + _(suffix, self.question_language) if suffix else text


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: text and pictures in reading order with their citations; or an abstention with its reason.

    ``confidence`` in [0, 1] is the best confidence among the cited hits, times the share of supported sentences. A
    weakly supported sentence counts as half. The confidence of an abstention is 0. ``invalid_citations`` is the number
    of removed markers that did not refer to a passage. ``searched_as`` are the searched words, if they differ from the
    question. ``language`` is that of the question (BCP 47), in which reasons and notes on sentences are written; None
    if the question does not tell.
    """

    question: str
    blocks: tuple[Block, ...]
    citations: tuple[Citation, ...]
    hits: tuple[Hit, ...]
    abstained: bool = False
    reason: str | None = None
    notes: tuple[str, ...] = ()
    """Notes on parts of the question that could not be searched, and on problems, with reasons."""
    confidence: float = 0.0
    invalid_citations: int = 0
    generator: str = "extractive"
    searched_as: str | None = None
    language: str | None = None

    @property
    def unsupported(self) -> tuple[Block, ...]:
        """The sentences that their citations do not support."""
        return tuple(block for block in self.blocks if block.support == "unsupported")

    @property
    def related(self) -> tuple[Hit, ...]:
        """The hits that are not cited, best first; if the answer abstained, the best hits of the search."""
        cited = {citation.hit.item.id for citation in self.citations}
        return tuple(hit for hit in self.hits if hit.item.id not in cited)

    def citation(self, number: int) -> Citation:
        """Return the citation of the marker ``[number]``."""
        return self.citations[number - 1]

    @property
    def text(self) -> str:
        """The whole answer as plain text: sentences and pictures with [n] markers; of an abstention its reason.

        A paragraph is one line, and an empty line follows it. Text is without control characters.
        """
        return answer_text(self)

    def markdown(self) -> str:
        """Return the answer as Markdown: sentences with [n] markers, pictures, and the sources.

        Text from documents and models is escaped: it cannot create a picture, tag or labelled link, and contains no
        control characters. A viewer may still turn a bare web address into a link. A source that is a file of this
        machine is a link to it.
        """
        return answer_markdown(self)

    def html(self) -> str:
        """Return the answer as one self-contained HTML page that loads nothing.

        All text is escaped. Pictures are the stored crops, as data URLs. Links lead only to ``#source-N`` on the page
        and to the cited files of this machine. As a second protection, a content security policy forbids scripts and
        loading.
        """
        return answer_html(self)

    def dict(self) -> dict[str, Any]:
        """Return the answer as the documented JSON object."""
        return {
            "question": self.question,
            "searched_as": self.searched_as,
            "language": self.language,
            "abstained": self.abstained,
            "reason": self.reason,
            "text": self.text,
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
    """A note for the reader of an answer. ``restart`` withdraws everything that was streamed before it."""

    text: str
    restart: bool = False
