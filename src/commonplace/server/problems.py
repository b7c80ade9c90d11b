"""Errors of the server as RFC 9457 problem details, from one table."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from commonplace.errors import (
    ClusterError,
    CollectionError,
    CommonplaceError,
    GeneratorError,
    ModelError,
    QueryError,
    ReadError,
)
from commonplace.i18n import _

__all__ = [
    "TABLE",
    "BadRequest",
    "Busy",
    "Conflict",
    "Forbidden",
    "NotFound",
    "Problem",
    "Throttled",
    "TooLarge",
    "Unauthorized",
    "Unsupported",
    "error_response",
    "install",
    "openai_error",
    "problem_of",
]

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger("commonplace.server")


class Problem(CommonplaceError):
    """A request that cannot be served. Subclasses have a row in ``TABLE``."""

    headers: ClassVar[dict[str, str] | None] = None


class BadRequest(Problem):
    """The request makes no sense."""


class Unauthorized(Problem):
    """There is no key, or none that this server has."""

    headers: ClassVar[dict[str, str] | None] = {"WWW-Authenticate": "Bearer"}


class Forbidden(Problem):
    """The key does not allow this."""


class NotFound(Problem):
    """There is no such thing, or the key does not show it."""


class Conflict(Problem):
    """The state of the collection does not allow this."""


class TooLarge(Problem):
    """The body is larger than the server accepts."""


class Unsupported(Problem):
    """The body is of a type that the server does not read."""


class Throttled(Problem):
    """The key sent too many requests."""

    headers: ClassVar[dict[str, str] | None] = {"Retry-After": "60"}


class Busy(Problem):
    """Too many requests wait."""

    headers: ClassVar[dict[str, str] | None] = {"Retry-After": "1"}


#: Status, type and title of each error; the first class that fits counts.
TABLE: tuple[tuple[type[CommonplaceError], int, str, str], ...] = (
    (BadRequest, 400, "bad-request", "The request makes no sense"),
    (Unauthorized, 401, "unauthorized", "A key is needed"),
    (Forbidden, 403, "forbidden", "The key does not allow this"),
    (NotFound, 404, "not-found", "There is no such thing"),
    (Conflict, 409, "conflict", "The state does not allow this"),
    (TooLarge, 413, "too-large", "The body is too large"),
    (Unsupported, 415, "unsupported-type", "The type of the body is not supported"),
    (Throttled, 429, "too-many-requests", "Too many requests"),
    (Busy, 503, "busy", "The server is busy"),
    (QueryError, 400, "invalid-query", "The query or one of its options makes no sense"),
    (ReadError, 422, "unreadable", "A file or picture cannot be read"),
    (GeneratorError, 502, "language-model", "The language model gave no answer"),
    (ClusterError, 503, "cluster", "The cluster cannot be used"),
    (ModelError, 500, "model", "The model cannot be used"),
    (CollectionError, 503, "collection", "The collection cannot be used"),
    (CommonplaceError, 500, "error", "An error"),
)


def problem_of(error: CommonplaceError) -> dict[str, Any]:
    """Return the problem details of an error: type, title, status and detail."""
    for kind, status, slug, title in TABLE:
        if isinstance(error, kind):
            return _details(status, slug, title, str(error))
    raise AssertionError("the last row fits every error")


#: The paths of OpenAI's API: clients of these expect errors in its shape.
OPENAI_PATHS = ("/v1/models", "/v1/chat/", "/v1/responses", "/v1/embeddings", "/v1/vector_stores")
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def error_response(path: str, details: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the response for problem details, in the shape that clients of this path expect."""
    status = details["status"]
    if not path.startswith(OPENAI_PATHS):
        return JSONResponse(details, status, headers, media_type=MEDIA_TYPE)
    return JSONResponse(openai_error(details), 400 if status == 422 else status, headers)


def openai_error(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return problem details in the shape of OpenAI's errors."""
    status = details["status"]
    type_ = _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    parts = [problem["at"].removeprefix("body/") for problem in details.get("errors", ())]
    code = details["type"].rpartition(":")[2].replace("-", "_")
    error = {"message": details["detail"], "type": type_, "param": parts[0] if parts else None, "code": code}
    return {"error": error}


def install(app: FastAPI) -> None:
    """Let an app answer every error with problem details."""
    app.add_exception_handler(CommonplaceError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_anything)


def _details(status: int, slug: str, title: str, detail: str) -> dict[str, Any]:
    return {"type": f"urn:commonplace:problem:{slug}", "title": title, "status": status, "detail": detail}


async def _of_ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, CommonplaceError)
    details = problem_of(error)
    headers = error.headers if isinstance(error, Problem) else None
    return error_response(request.url.path, details, headers)


async def _of_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = [
        {"at": "/".join(str(part) for part in problem["loc"]), "problem": problem["msg"]} for problem in error.errors()
    ]
    first = problems[0] if problems else {"at": "body", "problem": ""}
    details = _details(
        422, "invalid-request", "The request does not fit its schema", f"{first['at']}: {first['problem']}"
    )
    return error_response(request.url.path, {**details, "errors": problems})


async def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    slugs = {status: (slug, title) for _kind, status, slug, title in reversed(TABLE)}
    slug, title = slugs.get(error.status_code, (f"http-{error.status_code}", str(error.detail)))
    details = _details(error.status_code, slug, title, str(error.detail))
    headers = dict(error.headers) if error.headers else None
    return error_response(request.url.path, details, headers)


async def _of_anything(request: Request, error: Exception) -> JSONResponse:
    log.error("a bug: %s", type(error).__name__, exc_info=error)
    details = _details(500, "bug", "A bug in the server", _("the server has a bug: its log has the details"))
    return error_response(request.url.path, details)
