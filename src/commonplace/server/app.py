"""The application: its operations, what guards them, and what they share."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from commonplace import __version__
from commonplace.server import problems
from commonplace.server.guards import BodyLimit, EntityTags, Gate, HostGuard, Metrics, RateLimit, RequestLog
from commonplace.server.keys import KeyFile
from commonplace.server.library import Library
from commonplace.server.links import Signer
from commonplace.server.openai import router as openai_router
from commonplace.server.page import router as page_router
from commonplace.server.routes import documents, mcp, questions, server
from commonplace.server.schemas import ProblemOut
from commonplace.server.settings import ServerSettings, check_address
from commonplace.server.state import ServerState
from commonplace.server.streams import Streams

__all__ = ["create_app"]

ERRORS = {
    status: {"model": ProblemOut, "content": {problems.MEDIA_TYPE: {}}}
    for status in (400, 401, 403, 404, 409, 413, 415, 421, 422, 429, 500, 502, 503)
}


def create_app(
    library: Library,
    *,
    keys: KeyFile | None = None,
    settings: ServerSettings | None = None,
    secret: bytes | None = None,
    needs_key: bool | None = None,
) -> FastAPI:
    """Return an ASGI application that serves the collections of a library.

    ``keys`` are the keys that requests need; without any, everybody may do everything, which is allowed on loopback
    only. ``secret`` signs links to pictures (default: random). ``needs_key`` says whether requests need a key (default:
    whether there is one now). All processes of a server need the same two.

    Raises CommonplaceError if other machines could reach it without a key.
    """
    settings = settings or ServerSettings()
    has_keys = (keys is not None and bool(keys.keys())) if needs_key is None else needs_key
    check_address(settings, has_keys=has_keys)
    metrics = Metrics()
    state = ServerState(
        settings,
        library,
        keys,
        Signer(secret or secrets.token_bytes(32)),
        metrics,
        Gate(settings.concurrency, settings.waiting, metrics),
        RateLimit(settings.rate),
        has_keys,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # A request that waits for its turn holds a thread; more come only to be refused, or for something small.
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = settings.concurrency + settings.waiting + 16
        for name in library.names():
            state.jobs(name)  # uploads that were acknowledged before a crash are read now
        yield
        await anyio.to_thread.run_sync(state.close)

    app = FastAPI(
        title="Commonplace",
        version=__version__,
        description="Search documents and pictures, and get answers from them, with sources.",
        lifespan=lifespan,
        responses=ERRORS,  # type: ignore[arg-type]
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    app.state.server = state
    problems.install(app)
    for router in (server.router, documents.router, questions.router, openai_router, mcp.router, page_router):
        app.include_router(router)
    app.add_middleware(EntityTags)
    app.add_middleware(GZipMiddleware, minimum_size=1024)
    app.add_middleware(BodyLimit, settings=settings)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["*"],
            allow_headers=["*"],  # clients of OpenAI and of MCP send headers of their own
        )
    app.add_middleware(HostGuard, settings=settings)
    app.add_middleware(Streams)
    app.add_middleware(RequestLog, metrics=metrics)
    return app
