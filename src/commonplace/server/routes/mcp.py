"""The Model Context Protocol at ``/mcp``: the same keys, filters and limits as under ``/v1``."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from commonplace.i18n import _
from commonplace.server.access import View, key_of, state_of
from commonplace.server.keys import Key
from commonplace.server.problems import BadRequest, Conflict, Forbidden, NotFound, Problem, error_response, problem_of
from commonplace.server.routes.documents import add_records
from commonplace.server.schemas import RecordIn, RecordsIn
from commonplace.server.views import job_json

if TYPE_CHECKING:
    from commonplace.mcp_server import AddArguments

__all__ = ["router"]


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    """Run the sessions of the protocol while the app runs."""
    if importlib.util.find_spec("mcp") is None:
        yield
        return
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.server.transport_security import TransportSecuritySettings

    from commonplace.mcp_server import mcp_server

    manager = StreamableHTTPSessionManager(
        mcp_server(RequestShelf),
        stateless=True,  # so that several processes can serve one client
        max_request_body_size=app.state.server.settings.max_body,
        # The server checks host and origin itself.
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    async with manager.run():
        app.state.mcp = manager
        yield


class Endpoint:
    """Answers the requests to ``/mcp`` that have a valid key."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope)
        manager = getattr(request.app.state, "mcp", None)
        try:
            if manager is None:
                raise NotFound(_("there is no /mcp here: run `pip install 'commonplace-rag[mcp]'`"))
            request.state.mcp_key = key_of(request)
        except Problem as problem:
            await error_response(scope["path"], problem_of(problem), problem.headers)(scope, receive, send)
            return
        await manager.asgi_app(scope, receive, send)


router = APIRouter(lifespan=_running)
router.add_route("/mcp", Endpoint(), methods=["GET", "POST", "DELETE"], include_in_schema=False)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class RequestShelf:
    """The collections that the key of a request may read."""

    request: Request

    @property
    def _key(self) -> Key:
        key: Key = self.request.state.mcp_key
        return key

    @property
    def add_arguments(self) -> type[AddArguments] | None:
        """The arguments of the tool that adds documents; None without the right, or unless the server allows it."""
        from commonplace.mcp_server import AddArguments

        allowed = state_of(self.request).settings.mcp_add and "write" in self._key.verbs
        return AddArguments if allowed else None

    def names(self) -> list[str]:
        """Return the names of the collections that the key may read."""
        return [name for name in state_of(self.request).library.names() if self._key.allows("read", name)]

    def view(self, name: str) -> View:
        """Return a collection. Raises NotFound if there is none that the key may read."""
        if not self._key.allows("read", name):
            raise NotFound(_("there is no collection {name!r:.80}").format(name=name))
        return View(name, state_of(self.request).library.get(name), self._key)

    def turn(self) -> AbstractContextManager[None]:
        """Return a context in which one search or answer runs."""
        return state_of(self.request).gate.turn()

    def add(self, name: str, arguments: AddArguments) -> str:
        """Add a text or a file, and return what became of it."""
        view = self.view(name)
        if self.add_arguments is None or not self._key.allows("write", name):
            raise Forbidden(_("the key {key} does not allow to {verb} here").format(key=self._key.name, verb="write"))
        record: dict[str, Any] = arguments.model_dump(exclude_none=True, exclude={"collection"})
        job = add_records(self.request, view, RecordsIn(records=[RecordIn.model_validate(record)]), Response())
        for state in state_of(self.request).jobs(name).watch(job.id):
            if state.finished is not None:
                upload = job_json(view, state)["uploads"][0]
                if upload["state"] == "failed":
                    raise BadRequest(upload["reason"])
                return f"{upload['document']}: {upload['state']}"
        raise Conflict(_("the server ends: what was sent is added after its next start"))
