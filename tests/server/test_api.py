"""The server as a client sees it: search, answers, documents, items, jobs and errors."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import commonplace
from commonplace.server import Library, ServerSettings, create_app
from commonplace.server.links import identifier, segment
from tests.server.conftest import Client, picture, serving

PLANT = "/v1/collections/plant"


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[Client]:
    """A client of a server whose collections can be created, with one empty collection ``new``."""
    with serving(create_app(Library(folder=tmp_path))) as address, Client(base_url=address, timeout=60) as client:
        assert client.post("/v1/collections", json={"name": "new"}).status_code == 201
        yield client


def finished(client: Client, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for a job and return it."""
    while (job := client.get(job["href"]).json())["finished"] is None:
        time.sleep(0.05)
    return job


def test_a_search_finds_a_passage_and_says_where_it_stands(client: Client) -> None:
    hits = client.post(f"{PLANT}/search", json={"query": "Which seal does the north pump need?", "k": 2}).json()["hits"]
    assert hits[0]["document"] == "pump"
    assert 0 < hits[0]["confidence"] <= 1
    assert {line["channel"] for line in hits[0]["breakdown"]} >= {"lexical", "prior"}
    assert client.get(hits[0]["href"]).json()["text"].startswith("The north pump")


def test_a_search_by_a_picture_finds_it_and_shows_it(client: Client) -> None:
    image = base64.b64encode(picture(1)).decode()
    for text in (image, f"data:image/jpeg;base64,{image}"):
        hits = client.post(f"{PLANT}/search", json={"image": text, "k": 1}).json()["hits"]
        assert hits[0]["document"] == "boat"
    thumbnail = client.get(hits[0]["thumbnail"])
    assert thumbnail.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(thumbnail.content)).size == (64, 64)
    assert client.get(hits[0]["thumbnail"], headers={"If-None-Match": thumbnail.headers["etag"]}).status_code == 304
    page = client.get(hits[0]["page"])
    assert page.headers["content-type"] == "image/png"


def test_a_picture_is_searched_with_as_an_uploaded_file(client: Client) -> None:
    upload = f"{PLANT}/search/upload"
    by_file = client.post(upload, data={"k": 3}, files={"image": ("boat.jpg", picture(1), "image/jpeg")})
    by_base64 = client.post(f"{PLANT}/search", json={"image": base64.b64encode(picture(1)).decode(), "k": 3})
    assert by_file.status_code == 200, by_file.text
    assert by_file.json() == by_base64.json()
    assert by_file.json()["hits"][0]["document"] == "boat"
    fields = {"query": "salaries", "where": ["team=office", "team=water"], "modality": "text"}
    beside_words = client.post(upload, data=fields, files={"image": ("", b"")})  # a form whose picture was not chosen
    assert beside_words.json()["hits"][0]["document"] == "pay"
    away = client.post(upload, data={"query": "boat"}, files={"negative_image": ("boat.jpg", picture(1), "image/jpeg")})
    score = {hit["document"]: hit["score"] for hit in away.json()["hits"]}
    (near,) = client.post(upload, data={"query": "boat", "k": 1}).json()["hits"]
    assert score.get(near["document"], 0) < near["score"]


@pytest.mark.parametrize(
    ("fields", "files", "status"),
    [
        ({}, {}, 400),
        ({"qeury": "x"}, {"image": ("a.jpg", picture(1))}, 422),
        ({"k": "0"}, {"image": ("a.jpg", picture(1))}, 422),
        ({"where": "team"}, {"image": ("a.jpg", picture(1))}, 400),
        ({"image": "no file"}, {}, 422),
        ({}, {"image": ("a.jpg", b"no picture")}, 422),
        ({}, {"image": ("a.jpg", bytes(17_000_000))}, 413),
    ],
)
def test_a_wrong_form_is_a_problem(client: Client, fields: Any, files: Any, status: int) -> None:
    response = client.post(f"{PLANT}/search/upload", data=fields, files=files)
    assert response.status_code == status, response.text
    assert response.json()["status"] == status


def test_a_picture_in_the_list_of_documents_has_a_thumbnail(client: Client) -> None:
    documents = {document["id"]: document for document in client.get(f"{PLANT}/documents").json()["documents"]}
    assert [id_ for id_, document in documents.items() if document["thumbnail"] is not None] == ["boat"]
    thumbnail = client.get(documents["boat"]["thumbnail"])
    assert Image.open(io.BytesIO(thumbnail.content)).size == (64, 64)
    assert client.get(f"{documents['pump']['href']}/thumbnail").status_code == 404


def test_json_that_the_client_has_is_not_sent_again(growing: Client) -> None:
    record = {"id": "note", "text": "The lamp in the yard is broken. " * 60}
    answers = [growing.get("/v1/collections/new/documents", headers={"If-None-Match": 'W/"other"'})]
    assert answers[0].status_code == 200 and answers[0].headers["etag"].startswith('W/"')
    again = growing.get("/v1/collections/new/documents", headers={"If-None-Match": answers[0].headers["etag"]})
    assert again.status_code == 304 and not again.content
    finished(growing, growing.post("/v1/collections/new/records", json={"records": [record]}).json())
    changed = growing.get("/v1/collections/new/documents", headers={"If-None-Match": answers[0].headers["etag"]})
    assert changed.status_code == 200 and changed.json()["total"] == 1


def test_more_like_an_item_and_not_like_it(client: Client) -> None:
    hits = client.post(f"{PLANT}/search", json={"query": "boat", "modality": "image"}).json()["hits"]
    like = client.post(f"{PLANT}/search", json={"like": hits[0]["id"], "k": 1}).json()["hits"]
    assert like[0]["id"] == hits[0]["id"]
    without = client.post(f"{PLANT}/search", json={"query": "boat", "unlike": hits[0]["id"]}).json()["hits"]
    score = {hit["id"]: hit["score"] for hit in without}
    assert score.get(hits[0]["id"], 0) < hits[0]["score"]


def test_filters_narrow_a_search(client: Client) -> None:
    body = {"query": "the month of payment", "where": {"team": "office"}}
    assert {hit["document"] for hit in client.post(f"{PLANT}/search", json=body).json()["hits"]} == {"pay"}


def test_an_answer_has_citations_that_lead_to_items(client: Client) -> None:
    answer = client.post(f"{PLANT}/ask", json={"query": "Which seal does the north pump need?"}).json()
    assert "4711" in answer["text"]
    assert not answer["abstained"]
    item = answer["citations"][0]["item"]
    assert item["href"] in answer["markdown"]
    assert client.get(item["href"]).json()["document"] == "pump"


def test_a_follow_up_is_understood_by_its_history(client: Client) -> None:
    history = [{"question": "Which seal does the north pump need?", "answer": "The seal 4711."}]
    answer = client.post(f"{PLANT}/ask", json={"query": "When was it changed?", "history": history}).json()
    assert "pump" in answer["searched_as"]
    assert answer["citations"][0]["item"]["document"] == "pump"


def test_a_streamed_answer_begins_with_the_evidence(client: Client) -> None:
    body = {"query": "Which seal does the north pump need?"}
    with client.stream("POST", f"{PLANT}/ask/stream", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = list(response.iter_lines())
    events = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert events[0] == "evidence"
    assert events[-1] == "answer"
    assert "block" in events
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert "4711" in data[-1]["text"]


def test_documents_are_listed_in_pages(client: Client) -> None:
    seen, cursor = [], None
    while True:
        page = client.get(f"{PLANT}/documents", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        assert page["total"] == 4
        seen += [document["id"] for document in page["documents"]]
        if (cursor := page["next"]) is None:
            break
    assert sorted(seen) == ["boat", "pay", "pump", "水泵/1"]


def test_a_document_is_found_by_its_address_whatever_its_id_is(client: Client) -> None:
    documents = client.get(f"{PLANT}/documents", params={"name": "水泵/1"}).json()["documents"]
    document = client.get(documents[0]["href"]).json()
    assert document["id"] == "水泵/1"
    assert client.get(document["original"]).text == "水泵每年春天更换密封圈。"
    part = client.get(document["original"], headers={"Range": "bytes=0-5"})
    assert (part.status_code, part.content) == (206, "水泵".encode())
    assert client.get(document["original"], headers={"Range": "bytes=900-"}).status_code == 416
    items = client.get(f"{document['href']}/items").json()["items"]
    assert [item["document"] for item in items] == ["水泵/1"]


@pytest.mark.parametrize("id_", ["a", "a b", "a/b/../c", "~x", "..", "水", "\ud800", "%2F"])
def test_segments_of_paths_stand_for_any_id(id_: str) -> None:
    assert "/" not in segment(id_)
    assert identifier(segment(id_)) == id_


def test_files_are_uploaded_read_and_replaced(growing: Client) -> None:
    new = "/v1/collections/new"
    files = [
        ("files", ("notes/a file.md", b"# Boiler\n\nThe boiler stands in the cellar.", "text/markdown")),
        ("files", ("../../etc/boat.jpg", picture(2), "image/jpeg")),
        ("files", ("broken.pdf", b"%PDF-1.4 broken", "application/pdf")),
    ]
    response = growing.post(f"{new}/documents", files=files)
    assert response.status_code == 202
    job = finished(growing, response.json())
    assert [upload["state"] for upload in job["uploads"]] == ["ok", "ok", "failed"]
    assert job["uploads"][2]["reason"]
    names = {document["name"] for document in growing.get(f"{new}/documents").json()["documents"]}
    assert names >= {"a file.md", "boat.jpg"}
    changed = [("files", ("notes/a file.md", b"# Boiler\n\nThe boiler stands in the attic.", "text/markdown"))]
    finished(growing, growing.post(f"{new}/documents", files=changed).json())
    answer = growing.post(f"{new}/ask", json={"query": "Where does the boiler stand?"}).json()
    assert "attic" in answer["text"]
    assert "cellar" not in answer["text"]
    again = finished(growing, growing.post(f"{new}/documents", files=changed).json())
    assert again["uploads"][0]["state"] == "unchanged"


def test_records_are_added_and_removed(growing: Client) -> None:
    new = "/v1/collections/new"
    body = {"records": [{"id": "a/b", "text": "The shed is red."}, {"id": "bad", "metadata": {"x": 1}}]}
    job = finished(growing, growing.post(f"{new}/records", json=body).json())
    assert [upload["state"] for upload in job["uploads"]] == ["ok", "failed"]
    document = growing.get(f"{new}/documents", params={"name": "a/b"}).json()["documents"][0]
    assert growing.delete(document["href"]).status_code == 204
    assert growing.get(document["href"]).status_code == 404


def test_the_progress_of_a_job_is_streamed_until_it_is_finished(growing: Client) -> None:
    records = [{"text": f"note number {n} on the weather"} for n in range(20)]
    job = growing.post("/v1/collections/new/records", json={"records": records}).json()
    with growing.stream("GET", job["events"]) as response:
        states = [json.loads(line.removeprefix("data: ")) for line in response.iter_lines() if line.startswith("data:")]
    assert states[-1]["state"] == "done"
    assert states[-1]["done"] == 20
    (listed,) = growing.get("/v1/collections/new/jobs").json()["jobs"]
    assert (listed["total"], listed["done"], listed["uploads"]) == (20, 20, [])
    assert growing.delete(job["href"]).status_code == 409  # nothing is left to cancel


def test_a_collection_is_removed_with_its_jobs(growing: Client) -> None:
    assert growing.post("/v1/collections", json={"name": "new"}).status_code == 409
    assert growing.delete("/v1/collections/new").status_code == 204
    assert growing.get("/v1/collections").json()["collections"] == []
    assert growing.get("/v1/collections/new").status_code == 404


def test_a_label_is_kept(place: Path, client: Client) -> None:
    item = client.post(f"{PLANT}/search", json={"query": "seal", "k": 1}).json()["hits"][0]["id"]
    assert client.post(f"{PLANT}/labels", json={"query": "seal", "item": item, "good": True}).status_code == 204
    with commonplace.open(place) as collection:
        assert ("seal", None, item, True) in collection.labels()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/collections/nothing", None, 404),
        ("GET", "/v1/collections/..%2F..", None, 404),
        ("GET", f"{PLANT}/items/nothing", None, 404),
        ("GET", f"{PLANT}/jobs/nothing", None, 404),
        ("GET", f"{PLANT}/documents?name=nothing", None, 404),
        ("GET", f"{PLANT}/jobs/nothing/events", None, 404),
        ("POST", f"{PLANT}/search", {}, 400),
        ("POST", f"{PLANT}/ask/stream", {"image": "no base64"}, 400),
        ("POST", f"{PLANT}/ask/stream", {"like": "nothing"}, 404),
        ("POST", "/v1/collections/nothing/ask/stream", {"query": "x"}, 404),
        ("POST", f"{PLANT}/search", {"query": "x", "k": 0}, 422),
        ("POST", f"{PLANT}/search", {"qeury": "x"}, 422),
        ("POST", f"{PLANT}/search", {"image": "no base64"}, 400),
        ("POST", f"{PLANT}/search", {"image": base64.b64encode(b"no picture").decode()}, 422),
        ("POST", f"{PLANT}/search", {"query": "x", "where": {"": 1}}, 400),
        ("POST", f"{PLANT}/records", {"records": [{"data": "***"}]}, 400),
        ("POST", "/v1/collections", {"name": "more"}, 409),
        ("DELETE", PLANT, None, 409),
        ("PUT", PLANT, None, 405),
    ],
)
def test_errors_are_problem_details(client: Client, method: str, path: str, body: Any, status: int) -> None:
    response = client.request(method, path, json=body)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert "Traceback" not in response.text


def test_a_large_body_is_refused_while_it_comes_in(place: Path) -> None:
    settings = ServerSettings(max_body=1_000, max_upload=5_000)
    app = create_app(Library({"plant": str(place)}), settings=settings)

    def without_length() -> Iterator[bytes]:
        yield b'{"query": "'
        for _block in range(100):
            yield b"x" * 100
        yield b'"}'

    with serving(app) as address, Client(base_url=address) as client:
        headers = {"Content-Type": "application/json"}
        assert client.post(f"{PLANT}/search", content=without_length(), headers=headers).status_code == 413
        assert client.post(f"{PLANT}/search", json={"query": "x" * 2_000}).status_code == 413
        upload = client.post(f"{PLANT}/documents", files={"files": ("a.txt", b"x" * 6_000)})
        assert upload.status_code == 413


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    script = (
        "import sys, uvicorn; from commonplace.server import Library, create_app; "
        "uvicorn.run(create_app(Library(folder=sys.argv[1])), port=int(sys.argv[2]), log_level='error')"
    )
    with commonplace.open(tmp_path / "new"):
        pass
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(port)])
    try:
        with Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            while True:
                try:
                    client.get("/health")
                    break
                except OSError:
                    time.sleep(0.05)
                except Exception as problem:  # httpx has errors of its own for a refused connection
                    assert "onnect" in type(problem).__name__ + str(problem)
                    time.sleep(0.05)
            records = [{"id": f"r{n}", "text": f"The box {n} holds {n} screws."} for n in range(40)]
            assert client.post("/v1/collections/new/records", json={"records": records}).status_code == 202
    finally:
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
    with serving(create_app(Library(folder=tmp_path))) as address, Client(base_url=address, timeout=60) as client:
        (job,) = client.get("/v1/collections/new/jobs").json()["jobs"]
        job = finished(client, job)
        assert {upload["state"] for upload in job["uploads"]} <= {"ok", "unchanged"}
        assert client.get("/v1/collections/new/documents").json()["total"] == 40
