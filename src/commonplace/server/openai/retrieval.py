"""Collections as models and as vector stores: their list, embeddings in their space, and searches."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError

from commonplace.i18n import _
from commonplace.positions import shown_name
from commonplace.server.access import View, key_of, state_of, view_of
from commonplace.server.openai.answers import tokens_of
from commonplace.server.openai.schemas import (
    ContentIn,
    EmbeddingsIn,
    EmbeddingsOut,
    EmbeddingUsageOut,
    ModelOut,
    ModelsOut,
    PassageOut,
    PassagesIn,
    PassagesOut,
    PassageTextOut,
    VectorOut,
)
from commonplace.server.pictures import picture_of
from commonplace.server.problems import BadRequest
from commonplace.server.routes.questions import question_of
from commonplace.server.schemas import SearchIn
from commonplace.server.views import hit_json
from commonplace.types import Hit

__all__ = ["router"]

router = APIRouter()
STARTED = int(time.time())
MAX_INPUTS = 2_048  # of one request for embeddings
MAX_ATTRIBUTES, MAX_KEY, MAX_VALUE = 16, 64, 512  # of a hit, as OpenAI limits them
_OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@router.get("/models")
def list_models(request: Request) -> ModelsOut:
    """List the collections that the key may read, as models."""
    key = key_of(request)
    names = [name for name in state_of(request).library.names() if key.allows("read", name)]
    return ModelsOut(data=[ModelOut(id=name, created=STARTED) for name in names])


@router.get("/models/{model}")
def get_model(request: Request, model: str) -> ModelOut:
    """Return a collection as a model."""
    return ModelOut(id=view_of(request, model).name, created=STARTED)


@router.post("/embeddings")
def create_embeddings(request: Request, body: EmbeddingsIn) -> EmbeddingsOut:
    """Return unit vectors of words and, as our extension, of pictures, in the space of a collection."""
    view = view_of(request, body.model)
    space = view.collection.space
    if body.dimensions not in (None, space.dim):
        raise BadRequest(_("the model {name} has {dim} dimensions only").format(name=space.name, dim=space.dim))
    contents = _contents(body)
    texts = {n: content for n, content in enumerate(contents) if isinstance(content, str)}
    pictures = {n: content for n, content in enumerate(contents) if isinstance(content, bytes)}
    with state_of(request).gate.turn():
        rows = dict(zip(texts, view.collection.embed_texts(list(texts.values()), role=body.input_type), strict=True))
        if pictures:
            rows |= zip(pictures, view.collection.embed_images(list(pictures.values())), strict=True)
    tokens = sum(tokens_of(view.collection, text) for text in texts.values())
    data = []
    for n in range(len(contents)):
        row = rows[n].astype("<f4")
        vector = base64.b64encode(row.tobytes()).decode() if body.encoding_format == "base64" else row.tolist()
        data.append(VectorOut(index=n, embedding=vector))
    return EmbeddingsOut(
        data=data, model=body.model, usage=EmbeddingUsageOut(prompt_tokens=tokens, total_tokens=tokens)
    )


@router.post("/vector_stores/{collection}/search")
def search_vector_store(request: Request, collection: str, body: PassagesIn) -> PassagesOut:
    """Search a collection, as OpenAI's search of a vector store."""
    view = view_of(request, collection)
    queries = [body.query] if isinstance(body.query, str) else body.query
    fields: dict[str, Any] = {"query": " ".join(queries) or None, "k": body.max_num_results or 10}
    if body.ranking_options is not None and body.ranking_options.score_threshold is not None:
        fields["min_confidence"] = body.ranking_options.score_threshold
    if body.commonplace is not None:
        fields |= body.commonplace.model_dump(exclude_unset=True)
    try:
        text, image, options = question_of(view, SearchIn.model_validate(fields))
    except ValidationError as problem:
        raise BadRequest(problem.errors()[0]["msg"]) from None
    filters = [] if body.filters is None else _where(body.filters)
    if filters:
        options["where"] = [*(options["where"] or ()), *filters]
    with state_of(request).gate.turn():
        hits = view.collection.search(text, image=image, **options)
    return PassagesOut(search_query=queries, data=[_passage(view, hit) for hit in hits])


def _contents(body: EmbeddingsIn) -> list[str | bytes]:
    """Return the texts, and the bytes of the pictures, to embed."""
    inputs = body.input if isinstance(body.input, list) else [body.input]
    if not 0 < len(inputs) <= MAX_INPUTS:
        raise BadRequest(_("input has {count:,} parts: send 1 to {most:,}").format(count=len(inputs), most=MAX_INPUTS))
    contents: list[str | bytes] = []
    for content in inputs:
        if isinstance(content, ContentIn):
            picture = picture_of(content.image, "image")
            if (picture is None) == (content.text is None):
                raise BadRequest(_("a part of input needs a text or an image, and not both"))
            contents.append(picture if picture is not None else content.text or "")
        elif isinstance(content, str):
            contents.append(content)
        else:
            raise BadRequest(_("input holds numbers of tokens, which other models count otherwise: send the text"))
    if "" in contents or b"" in contents:
        raise BadRequest(_("a part of input is empty"))
    return contents


def _where(filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a filter of OpenAI as filters on metadata, all of which a document must meet."""
    type_, key, value = filters.get("type"), filters.get("key"), filters.get("value")
    if type_ in ("and", "or"):
        parts = filters.get("filters")
        if not isinstance(parts, list) or not parts or not all(isinstance(part, Mapping) for part in parts):
            raise BadRequest(_("a filter {type!r} needs a list of filters").format(type=type_))
        if type_ == "and":
            return [where for part in parts for where in _where(part)]
        keys = {part.get("key") for part in parts}
        if len(keys) == 1 and all(part.get("type") == "eq" for part in parts):
            return [{_key(keys.pop()): [part.get("value") for part in parts]}]
        raise BadRequest(_("a filter 'or' may only name values of one key: search twice instead"))
    if type_ in ("eq", "in"):
        return [{_key(key): value}]
    if type_ in _OPERATORS:
        return [{_key(key): {_OPERATORS[type_]: value}}]
    raise BadRequest(_("a filter has the type {type!r:.40}: use eq, gt, gte, lt, lte, in, and, or").format(type=type_))


def _key(key: object) -> str:
    if not isinstance(key, str) or not key:
        raise BadRequest(_("a filter has no key"))
    return key


def _passage(view: View, hit: Hit) -> PassageOut:
    shown = hit_json(view, hit)
    document = hit.item.document
    return PassageOut(
        file_id=document.id,
        filename=shown_name(document),
        score=hit.score,
        attributes=_attributes(shown),
        content=[PassageTextOut(text=hit.item.text or "")],
        commonplace=shown,
    )


def _attributes(shown: Mapping[str, Any]) -> dict[str, str | float | bool]:
    """Return the metadata of a hit's document within OpenAI's limits, after its modality and page."""
    values = {"modality": shown["modality"], "page": shown["span"].get("page"), **shown["metadata"]}
    attributes: dict[str, str | float | bool] = {}
    for key, value in values.items():
        if isinstance(value, (list, tuple)):
            value = ", ".join(map(str, value))
        if isinstance(value, (str, int, float, bool)) and len(attributes) < MAX_ATTRIBUTES:
            attributes[key[:MAX_KEY]] = value[:MAX_VALUE] if isinstance(value, str) else value
    return attributes
