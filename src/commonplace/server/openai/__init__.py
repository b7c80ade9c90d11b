"""OpenAI's API over collections: a client of OpenAI asks a collection as if it were a model."""

from __future__ import annotations

from fastapi import APIRouter

from commonplace.server.openai import chat, responses, retrieval
from commonplace.server.openai.schemas import ErrorOut

__all__ = ["router"]

STATUSES = (400, 401, 403, 404, 409, 413, 415, 421, 422, 429, 500, 502, 503)

router = APIRouter(prefix="/v1", tags=["openai"], responses={status: {"model": ErrorOut} for status in STATUSES})
for module in (retrieval, chat, responses):
    router.include_router(module.router)
