"""The JSON of OpenAI's API, as far as it means something here. Other fields of a request are ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from commonplace.server.schemas import AskIn, SearchIn

__all__ = [
    "ChatIn",
    "ChatOut",
    "EmbeddingsIn",
    "EmbeddingsOut",
    "ErrorOut",
    "MessageIn",
    "ModelOut",
    "ModelsOut",
    "PartIn",
    "PassagesIn",
    "PassagesOut",
    "ResponseIn",
    "ResponseOut",
]

Model = Annotated[str, Field(description="Name of a collection.", max_length=200, examples=["papers"])]
Text = Annotated[str, Field(max_length=2_000_000)]
EXTENSION = "Options of `/v1/collections/{collection}/ask`: filters, `k`, what to rank down. Our extension."


class FailureOut(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorOut(BaseModel):
    """An error, as clients of OpenAI read it."""

    error: FailureOut


class AddressIn(BaseModel):
    """The address of a picture: a data URL. Nothing is fetched from elsewhere."""

    url: str = Field(max_length=15_000_000)


class PartIn(BaseModel):
    """A part of a message: words or a picture."""

    type: str = Field(max_length=100, examples=["text", "image_url"])
    text: Text | None = None
    image_url: AddressIn | Annotated[str, Field(max_length=15_000_000)] | None = None


class MessageIn(BaseModel):
    """A message of a conversation."""

    role: str = Field("user", max_length=100)
    content: Text | list[PartIn] | None = None


class StreamOptionsIn(BaseModel):
    """Options of a stream."""

    include_usage: bool = False


class FormatIn(BaseModel):
    """The format of an answer."""

    type: str = Field("text", max_length=100)


class ChatIn(BaseModel):
    """A conversation. Its last user message is the question; those before it tell what a follow-up means."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "papers", "messages": [{"role": "user", "content": "Which seal does the north pump need?"}]}
            ]
        }
    )

    model: Model
    messages: list[MessageIn] = Field(min_length=1, max_length=2_000)
    stream: bool | None = False
    stream_options: StreamOptionsIn | None = None
    n: int | None = Field(1, ge=1, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    response_format: FormatIn | None = None
    commonplace: AskIn | None = Field(None, description=EXTENSION)


class UsageOut(BaseModel):
    """Tokens of the question and the answer, as the collection's own model splits them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatOut(BaseModel):
    """An answer as a chat completion."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: UsageOut


class InputIn(BaseModel):
    """An item of the input of a response: a message, or something else, which is ignored."""

    type: str | None = Field("message", max_length=100)
    role: str | None = Field(None, max_length=100)
    content: Text | list[PartIn] | None = None


class TextOptionsIn(BaseModel):
    """Options of the text of a response."""

    format: FormatIn | None = None


class ResponseIn(BaseModel):
    """A question, or a conversation whose last user message is the question."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "papers", "input": "Which seal does the north pump need?"}]}
    )

    model: Model
    input: Text | list[InputIn]
    instructions: Text | None = None
    stream: bool | None = False
    include: list[str] | None = Field(None, max_length=20)
    previous_response_id: str | None = Field(None, max_length=200)
    conversation: Any = None
    background: bool | None = False
    max_output_tokens: int | None = Field(None, ge=1)
    metadata: dict[str, str] | None = None
    text: TextOptionsIn | None = None
    commonplace: AskIn | None = Field(None, description=EXTENSION)


class ResponseOut(BaseModel):
    """An answer as a response."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["response"]
    created_at: int
    status: str
    model: str
    output: list[dict[str, Any]]


class ModelOut(BaseModel):
    """A collection as a model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "commonplace"


class ModelsOut(BaseModel):
    """The collections that the key may read."""

    object: Literal["list"] = "list"
    data: list[ModelOut]


class ContentIn(BaseModel):
    """What to embed: words, or a picture in base64 or as a data URL. Our extension."""

    model_config = ConfigDict(extra="forbid")

    text: Text | None = None
    image: str | None = Field(None, max_length=15_000_000)


class EmbeddingsIn(BaseModel):
    """Words and pictures to embed in the space of a collection."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "papers", "input": ["a dog in the snow", "a red seal"]}]}
    )

    model: Model
    input: Text | ContentIn | list[Text | ContentIn | int | list[int]]
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = Field(None, ge=1)
    input_type: Literal["query", "document"] = Field(
        "query", description="Whether the texts are searched for, or searched in; some models encode these differently."
    )


class VectorOut(BaseModel):
    """A vector: numbers, or their float32 bytes (little-endian) in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsageOut(BaseModel):
    """Tokens of the texts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsOut(BaseModel):
    """Unit vectors, in the order of the input."""

    object: Literal["list"] = "list"
    data: list[VectorOut]
    model: str
    usage: EmbeddingUsageOut


class RankingOptionsIn(BaseModel):
    """Options of the ranking."""

    score_threshold: float | None = Field(None, ge=0, le=1)


class PassagesIn(BaseModel):
    """A search of a vector store, which is a collection."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": "north pump seal", "max_num_results": 5}]})

    query: Annotated[str, Field(max_length=20_000)] | list[Annotated[str, Field(max_length=20_000)]]
    max_num_results: int | None = Field(10, ge=1, le=50)
    filters: dict[str, Any] | None = Field(None, examples=[{"type": "eq", "key": "author", "value": "Grace Hopper"}])
    ranking_options: RankingOptionsIn | None = None
    commonplace: SearchIn | None = Field(
        None, description="Options of `/v1/collections/{collection}/search`. Our extension."
    )


class PassageTextOut(BaseModel):
    """A text."""

    type: Literal["text"] = "text"
    text: str


class PassageOut(BaseModel):
    """A hit. ``commonplace`` is the hit in full, with where it stands and its score breakdown."""

    file_id: str
    filename: str
    score: float
    attributes: dict[str, str | float | bool]
    content: list[PassageTextOut]
    commonplace: dict[str, Any]


class PassagesOut(BaseModel):
    """Hits, best first."""

    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
    search_query: list[str]
    data: list[PassageOut]
    has_more: bool = False
    next_page: str | None = None
