"""The JSON of the server, as OpenAPI shows it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

from commonplace.types import Status

__all__ = [
    "AnswerOut",
    "AskIn",
    "BlockOut",
    "CitationOut",
    "CollectionIn",
    "CollectionOut",
    "CollectionsOut",
    "ComponentOut",
    "DocumentOut",
    "DocumentsOut",
    "HitOut",
    "ItemOut",
    "ItemsOut",
    "JobOut",
    "JobsOut",
    "LabelIn",
    "ProblemOut",
    "RecordIn",
    "RecordsIn",
    "SearchFields",
    "SearchForm",
    "SearchIn",
    "SearchOut",
    "StatusOut",
    "TurnIn",
    "UploadOut",
]

MAX_RECORDS = 1_000
Words = Annotated[str, Field(max_length=20_000)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", examples=["papers"])]
PictureData = Annotated[str, Field(description="A picture file in base64, or as a data URL.", max_length=15_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]


class In(BaseModel):
    """A body of a request: unknown fields are an error, so that a misspelt option is not ignored."""

    model_config = ConfigDict(extra="forbid")


class ProblemOut(BaseModel):
    """An error, as RFC 9457 says."""

    type: str = Field(examples=["urn:commonplace:problem:not-found"])
    title: str
    status: int
    detail: str


class CollectionIn(In):
    """A collection to create."""

    name: Name
    model: str | None = Field(
        None, description="Name of a model that was pulled (default: the server's).", max_length=200
    )


class WatchProblemOut(BaseModel):
    """A place that is not in step with the collection, and why."""

    path: str
    reason: str


class WatchOut(BaseModel):
    """Folders that the server keeps in step with a collection."""

    folders: list[str]
    in_step: bool = Field(description="Whether all reported changes are in the collection.")
    waiting: int = Field(description="Number of changed paths that are not.")
    problems: list[WatchProblemOut]


class CollectionOut(BaseModel):
    """A collection."""

    name: str
    documents: dict[str, int] = Field(description="Number of documents by status.")
    items: dict[str, int] = Field(description="Number of items by modality.")
    model: str
    can_write: bool
    watch: WatchOut | None = Field(default=None, description="The watched folders, if there are any.")


class CollectionsOut(BaseModel):
    """The collections that the key may read."""

    collections: list[str]
    can_create: bool


class DocumentOut(BaseModel):
    """A document. ``path`` is None without the right to see paths of the server; ``href`` is its address here."""

    id: str
    name: str
    path: str | None
    title: str | None
    media_type: str
    status: Status
    reason: str | None = Field(description="Why it could not be read, or not whole.")
    items: int
    metadata: dict[str, Any]
    href: str
    original: str = Field(description="Address of the original file.")
    thumbnail: str | None = Field(description="Address of a small picture of a picture or video; None for others.")


class DocumentsOut(BaseModel):
    """A page of documents, by path. ``next`` is the cursor of the next page."""

    documents: list[DocumentOut]
    total: int
    next: str | None


class ComponentOut(BaseModel):
    """A line of a score breakdown; contributions add up to the log-odds of the confidence."""

    channel: str
    score: float
    rank: int
    weight: float
    contribution: float


class ItemOut(BaseModel):
    """An item: a passage or a picture. The links are addresses here; None where there is nothing to show."""

    id: str
    document: str
    name: str
    path: str | None
    modality: str
    title: str | None
    text: str | None
    span: dict[str, Any] = Field(description="Where it stands: page, box, characters, line, row, seconds, member.")
    place: str = Field(description="The same in words.")
    metadata: dict[str, Any]
    href: str
    document_href: str
    thumbnail: str | None
    page: str | None = Field(description="The page or picture with the item's box drawn.")


class ItemsOut(BaseModel):
    """The items of a document, in reading order."""

    items: list[ItemOut]


class HitOut(ItemOut):
    """A hit. ``confidence`` is the probability that it is relevant."""

    score: float
    confidence: float
    breakdown: list[ComponentOut]
    near_duplicates: list[str] = Field(description="Items that are shown as this one.")


class SearchFields(In):
    """What a search takes in JSON and as a form alike."""

    query: Words | None = None
    like: str | None = Field(None, description="Id of an item whose like is searched.", max_length=200)
    k: int = Field(10, ge=1, le=200)
    modality: str | None = Field(None, max_length=50, examples=["image"])
    path: str | None = Field(None, max_length=4_000, examples=["*.pdf"])
    media_type: str | None = Field(None, max_length=200, examples=["image/*"])
    after: str | None = Field(None, max_length=40, examples=["2024-05"])
    before: str | None = Field(None, max_length=40)
    min_confidence: Share = 0.0
    rerank: Literal["maxsim"] | None = None
    negative: Words | None = Field(None, description="Words; what is similar to them is ranked down.")
    unlike: str | None = Field(None, description="Id of an item; what is similar to it is ranked down.", max_length=200)


class SearchIn(SearchFields):
    """A search by words, by a picture, by what is like an item, or by several of these."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"query": "a dog in the snow", "k": 5}]})

    image: PictureData | None = None
    negative_image: PictureData | None = None
    where: dict[str, Any] | None = Field(None, examples=[{"author": "*hopper*"}])


class SearchForm(SearchFields):
    """A search as a form: its pictures are files."""

    image: UploadFile | None = Field(None, description="A picture file.")
    negative_image: UploadFile | None = Field(None, description="A picture file; what is similar is ranked down.")
    where: list[str] = Field(
        default_factory=list, max_length=20, description="KEY=VALUE, KEY>=VALUE ...", examples=[["author=*hopper*"]]
    )


class SearchOut(BaseModel):
    """Hits, best first, and notes in words on what could not be searched."""

    hits: list[HitOut]
    notes: list[str]


class TurnIn(In):
    """A turn of a conversation."""

    question: Words
    answer: str = Field("", max_length=50_000)


class AskIn(SearchIn):
    """A question. ``history`` are the turns before it, oldest first: a follow-up is then understood."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"query": "Which seal does the north pump need?"}]}
    )

    k: int = Field(12, ge=1, le=100)
    history: list[TurnIn] = Field(default_factory=list, max_length=50)


class BlockOut(BaseModel):
    """A block of an answer: a sentence, code, a row of a table, or a picture."""

    kind: Literal["text", "code", "row", "image"]
    text: str
    citations: list[int]
    support: Literal["supported", "weak", "unsupported"] | None
    reason: str | None
    origin: str | None
    starts_paragraph: bool


class CitationOut(BaseModel):
    """A source of an answer: the number of its marker, the words that are quoted, and the item."""

    number: int
    quote: str | None
    language: str | None
    item: HitOut


class AnswerOut(BaseModel):
    """An answer with its sources, or an abstention with its reason."""

    question: str
    searched_as: str | None
    language: str | None
    abstained: bool
    reason: str | None
    text: str
    markdown: str
    notes: list[str]
    confidence: float
    generator: str
    blocks: list[BlockOut]
    citations: list[CitationOut]
    related: list[HitOut]


class RecordIn(In):
    """A document in JSON: a text, or the bytes of a file in base64 with its name."""

    id: str | None = Field(None, min_length=1, max_length=200, description="Default: derived from the content.")
    text: str | None = Field(None, max_length=20_000_000)
    data: str | None = Field(None, description="Bytes of a file in base64.")
    name: str | None = Field(None, max_length=255, examples=["report.pdf"])
    title: str | None = Field(None, max_length=1_000)
    uri: str | None = Field(None, max_length=2_000)
    metadata: dict[str, Any] | None = None


class RecordsIn(In):
    """Documents to add."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"records": [{"id": "note-1", "text": "The north pump needs seal 4711."}]}]},
    )

    records: list[RecordIn] = Field(min_length=1, max_length=MAX_RECORDS)


class UploadOut(BaseModel):
    """What became of one file."""

    name: str
    document: str
    state: Literal["waiting", "ok", "partial", "failed", "unchanged", "cancelled"]
    reason: str | None
    bytes: int


class JobOut(BaseModel):
    """A job that adds documents. Times are seconds since 1970; ``done`` of ``total`` uploads are finished."""

    id: str
    state: Literal["waiting", "running", "done", "cancelled"]
    created: float
    finished: float | None
    total: int
    done: int
    uploads: list[UploadOut]
    href: str
    events: str = Field(description="Address of its progress as server-sent events.")


class JobsOut(BaseModel):
    """Jobs, the newest first, without their uploads."""

    jobs: list[JobOut]


class LabelIn(In):
    """Feedback: whether an item answers a query."""

    query: Annotated[str, Field(min_length=1, max_length=20_000)]
    item: str = Field(max_length=200)
    good: bool


class StatusOut(BaseModel):
    """The state of the server."""

    version: str
    ready: bool
    collections: int
    generator: str
    needs_key: bool
    verbs: list[str] = Field(description="What the key of this request allows.")
