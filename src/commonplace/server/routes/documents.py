"""Documents: listed, uploaded, fetched, removed; the jobs that add them; and their items."""

from __future__ import annotations

import base64
import binascii
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from commonplace.filters import parse_where
from commonplace.i18n import _
from commonplace.positions import place_of_item, shown_name
from commonplace.server.access import View, needs, state_of, view_of
from commonplace.server.jobs import Job, JobQueue, Upload
from commonplace.server.links import identifier
from commonplace.server.pictures import page_png, whole_or_range
from commonplace.server.problems import BadRequest, Conflict, NotFound
from commonplace.server.schemas import DocumentOut, DocumentsOut, ItemOut, ItemsOut, JobOut, JobsOut, RecordsIn
from commonplace.server.views import document_json, item_json, job_json, shown_path
from commonplace.types import Document, Item, Status, stable_id

__all__ = ["router"]

router = APIRouter(prefix="/v1/collections/{collection}")
Reader = Annotated[View, Depends(needs("read"))]
Writer = Annotated[View, Depends(needs("write"))]
MAX_FILES = 1_000  # of one upload


def existing_job(request: Request, view: Writer, job: str) -> Job:
    """Return a job of the key, with the right ``admin`` any job. Raises NotFound if there is none.

    A dependency, so that a stream has the status of this error: when its first event is made, 200 was sent.
    """
    state = _queue(request, view).get(job)
    if not view.shows_paths and state.key != view.key.name:
        raise NotFound(_("there is no job {job!r:.80}").format(job=job))
    return state


@router.get("/documents", tags=["documents"])
def list_documents(
    view: Reader,
    name: Annotated[list[str] | None, Query(description="A path, folder, id or pattern.", max_length=20)] = None,
    status: Status | None = None,
    where: Annotated[list[str] | None, Query(description="KEY=VALUE, KEY>=VALUE ...", max_length=20)] = None,
    contains: Annotated[str | None, Query(description="A part of the name, title or path.", max_length=500)] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, Query(max_length=4_000)] = None,
) -> DocumentsOut:
    """List documents by path, a page at a time."""
    documents = view.documents(name or (), parse_where(where or ()))
    matching = [document for document in documents if status in (None, document.status)]
    if contains is not None:
        matching = [document for document in matching if _is_named(view, document, contains)]
    start = 0
    if cursor is not None:
        after = identifier(cursor)
        start = next((n + 1 for n, document in enumerate(matching) if document.id == after), len(matching))
    page = matching[start : start + limit]
    more = start + limit < len(matching)
    return DocumentsOut(
        documents=[DocumentOut(**document_json(view, document)) for document in page],
        total=len(matching),
        next="~" + base64.urlsafe_b64encode(page[-1].id.encode()).decode().rstrip("=") if more else None,
    )


@router.post("/documents", tags=["documents"], status_code=202)
def upload_documents(
    request: Request, view: Writer, files: list[UploadFile], response: Response, paths: list[str] | None = None
) -> JobOut:
    """Upload files. A file replaces the document that was uploaded under the same name.

    The answer comes when the files are on the server's disk: they are read afterwards, by a job.
    """
    if len(files) > MAX_FILES:
        raise BadRequest(_("more than {count:,} files: send fewer at once").format(count=MAX_FILES))
    uploads: list[tuple[Upload, BinaryIO | None]] = []
    for file in files:
        name = _file_name(file.filename)
        uri = "upload:" + "".join(quote(letter) if letter.isspace() or letter in "%#?" else letter for letter in name)
        fields = {"name": PurePosixPath(name).name, "uri": uri, "metadata": view.metadata or None}
        id_ = stable_id("upload", name)
        uploads.append((Upload(name, id_, {"id": id_, **fields}), file.file))
    if (twin := _repeated(upload.name for upload, _content in uploads)) is not None:
        raise BadRequest(_("two files are called {name!r:.80}: give each a name of its own").format(name=twin))
    return _submitted(request, view, uploads, response)


@router.post("/records", tags=["documents"], status_code=202)
def add_records(request: Request, view: Writer, body: RecordsIn, response: Response) -> JobOut:
    """Add documents in JSON. A record replaces the document that has its id; in one request, each id stands once."""
    uploads: list[tuple[Upload, BinaryIO | None]] = []
    for number, record in enumerate(body.records, start=1):
        fields: dict[str, Any] = record.model_dump(exclude_none=True, exclude={"data"})
        fields["metadata"] = {**fields.get("metadata", {}), **view.metadata}
        content = None
        if record.data is not None:
            try:
                content = io.BytesIO(base64.b64decode(record.data, validate=True))
            except binascii.Error:
                raise BadRequest(_("record {number}: its data is no base64").format(number=number)) from None
        fields["id"] = id_ = record.id or stable_id("record", record.model_dump_json())
        name = record.title or record.name or id_
        uploads.append((Upload(name, id_, fields), content))
    if (twin := _repeated(record.id for record in body.records if record.id is not None)) is not None:
        raise BadRequest(_("two records have the id {id!r:.80}: give each record an id of its own").format(id=twin))
    hidden = [upload.document for upload, _content in uploads if _is_hidden(view, upload.document)]
    if hidden:
        raise Conflict(_("the id {id!r:.80} is taken: choose another").format(id=hidden[0]))
    return _submitted(request, view, uploads, response)


@router.get("/documents/{document}", tags=["documents"])
def get_document(view: Reader, document: str) -> DocumentOut:
    """Return a document."""
    return DocumentOut(**document_json(view, view.document(identifier(document))))


@router.delete("/documents/{document}", tags=["documents"], status_code=204)
def delete_document(view: Writer, document: str) -> Response:
    """Remove a document from the collection. A file of the server's disk stays where it is."""
    view.collection.remove(view.document(identifier(document)).id)
    return Response(status_code=204)


@router.post("/documents/{document}/retry", tags=["documents"])
def retry_document(view: Writer, document: str) -> DocumentOut:
    """Read a document again that failed, or that was not read whole."""
    target = view.document(identifier(document))
    if not target.is_file:
        raise Conflict(_("{name} is no file of the server's disk: upload it again").format(name=shown_name(target)))
    _present(target)
    view.collection.add(target.path, retry_failed=True, force=True, progress=False, workers=1)
    return DocumentOut(**document_json(view, view.document(target.id)))


@router.get("/documents/{document}/items", tags=["documents"])
def list_items(view: Reader, document: str) -> ItemsOut:
    """Return the items of a document, in reading order."""
    items = view.collection.items(view.document(identifier(document)))
    return ItemsOut(items=[ItemOut(**item_json(view, item)) for item in items])


@router.get("/documents/{document}/original", tags=["documents"], response_class=Response)
def get_original(request: Request, view: Reader, document: str) -> Response:
    """Return the original file; parts of it by a ``Range`` header. A browser saves it, and never runs it."""
    target = view.document(identifier(document))
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(shown_name(target))}"}
    if target.is_file:
        return FileResponse(_present(target).path, media_type=target.media_type, headers=headers)
    content = view.collection.store.original(target.id)
    if content is None:
        raise NotFound(_("{name} has no original here").format(name=shown_name(target)))
    return whole_or_range(content, target.media_type, headers, request.headers.get("range"))


@router.get("/documents/{document}/thumbnail", tags=["documents"], response_class=Response)
def get_document_thumbnail(request: Request, view: Reader, document: str) -> Response:
    """Return the first picture of a document, 320 pixels at most, as JPEG."""
    target = view.document(identifier(document))
    first = next((item.picture for item in view.collection.items(target) if item.picture is not None), None)
    picture = None if first is None else view.collection.store.thumbnail(first)
    if picture is None:
        raise NotFound(_("{name} shows no picture").format(name=shown_name(target)))
    return _cached(request, picture, "image/jpeg", first or "")


@router.get("/items/{item}", tags=["items"])
def get_item(view: Reader, item: str) -> ItemOut:
    """Return an item: a passage or a picture."""
    return ItemOut(**item_json(view, view.item(item)))


@router.get("/items/{item}/thumbnail", tags=["items"], response_class=Response)
def get_thumbnail(request: Request, collection: str, item: str) -> Response:
    """Return the picture of an item, 320 pixels at most, as JPEG. Takes a signed link in place of a key."""
    view, target = _signed_item(request, collection, item)
    picture = view.collection.store.thumbnail(target.picture) if target.picture is not None else None
    if picture is None:
        raise NotFound(_("the item {item} shows no picture").format(item=item))
    return _cached(request, picture, "image/jpeg", target.picture or "")


@router.get("/items/{item}/page", tags=["items"], response_class=Response)
def get_page(
    request: Request, collection: str, item: str, side: Annotated[int, Query(ge=100, le=3_000)] = 1_200
) -> Response:
    """Return the page or picture that an item stands on, with its box drawn, as PNG. Takes a signed link, too."""
    view, target = _signed_item(request, collection, item)
    with state_of(request).gate.turn():
        page = view.collection.page(target, side=side)
    return _cached(request, page_png(page), "image/png", f"{target.id}-{target.document.content_hash}-{side}")


@router.get("/items/{item}/text", tags=["items"], response_class=PlainTextResponse)
def get_text(request: Request, collection: str, item: str) -> PlainTextResponse:
    """Return the passage of an item as plain text, below the place where it stands. Takes a signed link, too."""
    _view, target = _signed_item(request, collection, item)
    if not target.text:
        raise NotFound(_("the item {item} has no text").format(item=item))
    return PlainTextResponse(f"{place_of_item(target)}\n\n{target.text}\n")


@router.get("/jobs", tags=["jobs"])
def list_jobs(request: Request, view: Writer) -> JobsOut:
    """List the jobs of the key (with the right ``admin``: of all keys), the newest first."""
    jobs = [job for job in _queue(request, view).jobs() if view.shows_paths or job.key == view.key.name]
    return JobsOut(jobs=[JobOut(**job_json(view, job)) for job in jobs])


@router.get("/jobs/{job}", tags=["jobs"])
def get_job(request: Request, view: Writer, job: str) -> JobOut:
    """Return a job, with what became of each file."""
    return JobOut(**job_json(view, existing_job(request, view, job)))


@router.get("/jobs/{job}/events", tags=["jobs"], response_class=EventSourceResponse)
def watch_job(request: Request, view: Writer, job: Annotated[Job, Depends(existing_job)]) -> Iterator[ServerSentEvent]:
    """Stream the job as events ``job`` whenever it changed, until it is finished."""
    for state in _queue(request, view).watch(job.id):
        yield ServerSentEvent(event="job", data=job_json(view, state))


@router.delete("/jobs/{job}", tags=["jobs"])
def cancel_job(request: Request, view: Writer, job: str) -> JobOut:
    """Cancel what a job has not done yet. What was added stays."""
    existing_job(request, view, job)
    return JobOut(**job_json(view, _queue(request, view).cancel(job)))


def _queue(request: Request, view: View) -> JobQueue:
    return state_of(request).jobs(view.name)


def _submitted(
    request: Request, view: View, uploads: list[tuple[Upload, BinaryIO | None]], response: Response
) -> JobOut:
    job = job_json(view, _queue(request, view).submit(uploads, view.key.name))
    response.headers["Location"] = job["href"]
    return JobOut(**job)


def _repeated(names: Iterable[str]) -> str | None:
    """Return the first name that is there twice; None if there is none. Of two documents, one would be lost."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _is_hidden(view: View, document: str) -> bool:
    """Return whether a document has this id that the key may not see, and so may not replace."""
    present = view.collection.get(document)
    return present is not None and not view.allows([present])


def _present(document: Document) -> Document:
    """Return a document whose file is on the server's disk. Raises NotFound if it was deleted since it was added."""
    if not os.path.isfile(document.path):
        raise NotFound(_("the file of {name} is gone from the server's disk").format(name=shown_name(document)))
    return document


def _is_named(view: View, document: Document, part: str) -> bool:
    names = (shown_name(document), document.title, shown_path(view, document))
    return any(part.casefold() in name.casefold() for name in names if name is not None)


def _file_name(name: str | None) -> str:
    """Return the name of an uploaded file, which may have folders in it, without ``..`` and without a root."""
    parts = [part for part in (name or "").replace("\\", "/").split("/") if part not in ("", ".", "..")]
    shown = "/".join("".join(letter for letter in part if letter.isprintable()) for part in parts)
    if not shown:
        raise BadRequest(_("a file has no name: give each file its name"))
    return shown[-255:]


def _signed_item(request: Request, collection: str, item: str) -> tuple[View, Item]:
    """Return an item for a key, or for a signed link. Raises NotFound if there is none."""
    state, query = state_of(request), request.query_params
    if state.signer.is_valid(request.url.path, query.get("expires"), query.get("signature")):
        from commonplace.server.access import OWNER

        view = View(collection, state.library.get(collection), OWNER)
    else:
        view = view_of(request, collection)
    return view, view.item(item)


def _cached(request: Request, content: bytes, media_type: str, tag: str) -> Response:
    """Return a picture with an entity tag, or 304 if the browser has it."""
    etag = f'"{stable_id(tag)}"'
    headers = {"ETag": etag, "Cache-Control": "private, max-age=3600"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
