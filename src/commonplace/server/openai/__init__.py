"""OpenAI's API over collections: a client of OpenAI asks a collection as if it were a model."""

from __future__ import annotations

from fastapi import APIRouter

from commonplace.server.openai import chat, responses, retrieval

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["openai"])
for module in (retrieval, chat, responses):
    router.include_router(module.router)
