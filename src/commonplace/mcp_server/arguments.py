"""The arguments of the tools, as their JSON schemas show them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AddArguments",
    "AddFileArguments",
    "AskArguments",
    "DocumentArguments",
    "ListArguments",
    "SearchArguments",
]

MAX_PICTURES = 3
Words = Annotated[str, Field(max_length=20_000)]


class Arguments(BaseModel):
    """Arguments of a tool. Unknown ones are an error, so that a misspelt filter is not ignored."""

    model_config = ConfigDict(extra="forbid")

    collection: str | None = Field(None, description="Name of the collection, if there are several.", max_length=200)


class Filtered(Arguments):
    """What narrows a search."""

    modality: str | None = Field(None, description="Only text, or only image.", max_length=50)
    path: str | None = Field(None, description="Only this file or folder, or a pattern: *.pdf", max_length=4_000)
    media_type: str | None = Field(None, description="Only this type: image/*", max_length=200)
    after: str | None = Field(None, description="Only documents from then on: 2024, 2024-05, 2024-05-31", max_length=40)
    before: str | None = Field(None, description="Only documents from before then.", max_length=40)
    where: dict[str, Any] | None = Field(
        None, description='Only documents with this metadata: {"author": "*hopper*", "year": {">=": 2020}}'
    )
    min_confidence: float = Field(0.0, ge=0, le=1, description="Leave out less certain hits.")
    pictures: int = Field(
        MAX_PICTURES, ge=0, le=MAX_PICTURES, description="How many pictures the result may show, small."
    )


class SearchArguments(Filtered):
    """Arguments of ``search``."""

    query: Words | None = Field(None, description="What to look for, in words.")
    k: int = Field(8, ge=1, le=50, description="How many hits.")
    image: str | None = Field(None, description="A picture to look for: base64 or a data URL.", max_length=15_000_000)
    like: str | None = Field(None, description="Id of an item: find what is like it.", max_length=200)
    negative: Words | None = Field(None, description="Rank down what is similar to these words.")


class AskArguments(Filtered):
    """Arguments of ``ask``."""

    question: Annotated[str, Field(min_length=1, max_length=20_000)]
    k: int = Field(12, ge=1, le=50, description="How many hits the answer is written from.")
    image: str | None = Field(None, description="A picture that the question is about.", max_length=15_000_000)


class DocumentArguments(Arguments):
    """Arguments of ``get_document``."""

    id: str = Field(description="Id of the document.", max_length=1_000)
    offset: int = Field(0, ge=0, description="First character of its text.")
    limit: int = Field(20_000, ge=1, le=100_000, description="How many characters.")


class ListArguments(Arguments):
    """Arguments of ``list_documents``."""

    name: str | None = Field(None, description="A path, folder, id or pattern: old/*.md", max_length=4_000)
    where: dict[str, Any] | None = Field(None, description="Only documents with this metadata.")
    limit: int = Field(50, ge=1, le=500)
    offset: int = Field(0, ge=0)


class AddArguments(Arguments):
    """Arguments of ``add``: a text, or the bytes of a file with its name."""

    text: str | None = Field(None, max_length=5_000_000)
    data: str | None = Field(None, description="Bytes of a file in base64.", max_length=15_000_000)
    name: str | None = Field(None, description="Name of the file: report.pdf", max_length=255)
    id: str | None = Field(None, min_length=1, max_length=200, description="Replaces the document with this id.")
    title: str | None = Field(None, max_length=1_000)
    metadata: dict[str, Any] | None = None


class AddFileArguments(AddArguments):
    """Arguments of ``add`` on this machine: also a file or folder."""

    source: str | None = Field(None, description="Path of a file or folder.", max_length=4_000)
