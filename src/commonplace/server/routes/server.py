"""Health, metrics, the state of the server, and its collections."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from commonplace import __version__
from commonplace.collection import Collection
from commonplace.i18n import _
from commonplace.server.access import View, key_of, needs, state_of
from commonplace.server.problems import Forbidden
from commonplace.server.schemas import CollectionIn, CollectionOut, CollectionsOut, StatusOut, WatchOut
from commonplace.server.state import ServerState

__all__ = ["router"]

router = APIRouter()


@router.get("/health", tags=["server"])
def health() -> dict[str, str]:
    """Say that the server runs. Needs no key."""
    return {"status": "ok"}


@router.get("/metrics", tags=["server"], response_class=Response)
def metrics(request: Request) -> Response:
    """Return counts and times for Prometheus."""
    key_of(request)
    return Response(state_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/status", tags=["server"])
def status(request: Request) -> StatusOut:
    """Return the state of the server, and what the key allows."""
    key, state = key_of(request), state_of(request)
    names = state.library.names()
    return StatusOut(
        version=__version__,
        ready=True,
        collections=sum(key.allows("read", name) for name in names),
        generator="extractive" if state.library.generator is None else type(state.library.generator).__name__,
        needs_key=state.has_keys,
        verbs=sorted(key.verbs),
    )


@router.get("/v1/collections", tags=["collections"])
def list_collections(request: Request) -> CollectionsOut:
    """List the collections that the key may read."""
    key, state = key_of(request), state_of(request)
    names = [name for name in state.library.names() if key.allows("read", name)]
    return CollectionsOut(collections=names, can_create=state.library.is_growing and key.allows("admin", None))


@router.post("/v1/collections", tags=["collections"], status_code=201)
def create_collection(request: Request, body: CollectionIn, response: Response) -> CollectionOut:
    """Create a collection."""
    key, state = key_of(request), state_of(request)
    if not key.allows("admin", body.name):
        raise Forbidden(_("the key {key} does not allow to {verb} here").format(key=key.name, verb="admin"))
    collection = state.library.create(body.name, body.model)
    response.headers["Location"] = f"/v1/collections/{body.name}"
    return _shown(state, View(body.name, collection, key))


@router.get("/v1/collections/{collection}", tags=["collections"])
def get_collection(request: Request, view: Annotated[View, Depends(needs("read"))]) -> CollectionOut:
    """Return a collection: its model, how much it holds, and whether its watched folders are in step."""
    return _shown(state_of(request), view)


@router.delete("/v1/collections/{collection}", tags=["collections"], status_code=204)
def delete_collection(request: Request, view: Annotated[View, Depends(needs("admin"))]) -> Response:
    """Remove a collection with everything in it. The files that it was made from stay."""
    state = state_of(request)
    state.forget(view.name)
    state.library.remove(view.name)
    return Response(status_code=204)


def _shown(state: ServerState, view: View) -> CollectionOut:
    collection: Collection = view.collection
    watch = state.jobs(view.name).watch_state
    counts = collection.store.counts("documents", "items")
    return CollectionOut(
        name=view.name,
        documents=dict(counts["documents"]),
        items=dict(counts["items"]),
        model=collection.space.name,
        can_write=view.key.allows("write", view.name),
        watch=None if watch is None else WatchOut.model_validate(watch.dict()),
    )
