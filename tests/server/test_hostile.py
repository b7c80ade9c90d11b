"""Requests that no client of ours would send: each is refused with a reason, and none is a bug in the server."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from commonplace.server import Library, create_app
from commonplace.server.links import segment
from tests.server.conftest import Client, serving, until
from tests.tiny import tiny_bundle

PLANT = "/v1/collections/plant"
NEW = "/v1/collections/new"
DIGITS = "9" * 5000
Locked = Callable[[str | None], Client]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def new(model: Path, tmp_path: Path) -> Iterator[tuple[Client, Path]]:
    """A client of a server with an empty collection, and a folder for its files."""
    import commonplace

    files = tmp_path / "files"
    files.mkdir()
    (files / "kept.txt").write_text("The north pump needs the seal 4711.")
    (files / "deleted.txt").write_text("The south pump needs the seal 815.")
    with commonplace.open(tmp_path / "all" / "new", model=str(model)) as collection:
        collection.add(files, progress=False, workers=1)
    app = create_app(Library(folder=tmp_path / "all"))
    with serving(app) as address, Client(base_url=address, timeout=120) as client:
        yield client, files


def test_an_origin_that_is_no_address_is_a_foreign_one(client: Client) -> None:
    for origin in ("http://[", "http://[::1", "http://]", "\u00e9", "http://\u2100"):
        response = client.post(f"{PLANT}/search", json={"query": "seal"}, headers={"Origin": origin.encode()})
        assert response.status_code == 403, origin
        assert response.json()["type"] == "urn:commonplace:problem:foreign-origin"
    for host in (b"[", b"[::1", b"\xc3\xa9", b"localhost:\xe9", b"127.0.0.1:" + DIGITS.encode()):
        response = client.get("/health", headers={"Host": host})
        assert response.status_code < 500, host


def test_a_signature_of_any_letters_is_only_a_wrong_one(locked: Locked) -> None:
    item = locked("reader").get(f"{PLANT}/documents/boat/items").json()["items"][0]["id"]
    for expires in ("99999999999", DIGITS, "\u00b2", "-1"):
        for signature in (
            "\u00e9",
            "\u0000",
            "A" * 24,
            "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        ):
            params = {"expires": expires, "signature": signature}
            response = locked(None).get(f"{PLANT}/items/{segment(item)}/thumbnail", params=params)
            assert response.status_code == 401, params


@pytest.mark.parametrize(
    "value",
    [
        f"bytes={DIGITS}-",
        f"bytes=-{DIGITS}",
        f"bytes=0-{DIGITS}",
        "bytes=\u00e9-",
        "\u00e9",
        "bytes=\u00b2-",
        "x=1-2",
        "bytes",
    ],
)
def test_a_range_that_makes_no_sense_is_no_bug(new: tuple[Client, Path], value: str) -> None:
    client, _files = new
    job = client.post(f"{NEW}/documents", files=[("files", ("up.txt", b"The well is deep."))]).json()
    until(lambda: client.get(job["href"]).json()["state"] == "done")
    for document in client.get(f"{NEW}/documents").json()["documents"]:
        for encoded in (value.encode(), value.encode("latin-1")):
            response = client.get(f"{NEW}/documents/{segment(document['id'])}/original", headers={"Range": encoded})
            assert response.status_code in (200, 206, 400, 416), (document, response.text)


def test_a_deleted_file_is_said_to_be_gone(new: tuple[Client, Path]) -> None:
    client, files = new
    documents = client.get(f"{NEW}/documents", params={"contains": "deleted"}).json()["documents"]
    address = f"{NEW}/documents/{segment(documents[0]['id'])}"
    (files / "deleted.txt").unlink()
    for response in (client.get(f"{address}/original"), client.post(f"{address}/retry")):
        assert response.status_code == 404, response.text
        assert "deleted.txt is gone from" in response.json()["detail"]
    (files / "deleted.txt").mkdir()
    for response in (client.get(f"{address}/original"), client.post(f"{address}/retry")):
        assert response.status_code == 404, response.text
    assert client.get(f"{NEW}/documents", params={"contains": "kept"}).json()["total"] == 1


def test_values_beyond_all_measure_are_refused(client: Client) -> None:
    surrogate = "~" + base64.urlsafe_b64encode("\ud800".encode("utf-8", "surrogatepass")).decode().rstrip("=")
    for path in (
        f"{PLANT}/items/{surrogate}",
        f"{PLANT}/items/~\u00e9",
        f"{PLANT}/documents/{surrogate}",
        f"{PLANT}/documents?cursor={surrogate}",
        f"{PLANT}/documents?limit={DIGITS}",
        f"{PLANT}/documents?where=year>{DIGITS}",
        f"{PLANT}/documents?name=%00",
        f"{PLANT}/items/x/page?side={DIGITS}",
        f"{PLANT}/search?query=x&k={DIGITS}",
        f"{PLANT}/jobs/%00",
    ):
        assert client.get(path).status_code < 500, path[:80]
    for name in ("If-None-Match", "Accept-Language", "Cookie", "X-Request-Id", "Accept-Encoding", "Authorization"):
        for value in (b"\xc3\xa9", b"\xff", DIGITS.encode()):
            assert client.get(f"{PLANT}/documents", headers={name: value}).status_code < 500, (name, value[:9])
    for body in (
        f'{{"query": "x", "k": {DIGITS}}}',
        f'{{"query": "x", "where": {{"year": {DIGITS}}}}}',
        '{"query": "x", "\\ud800": 1}',
        '{"query": "\\ud800"}',
        '{"query": "x", "where": {"\\ud800": "\\udfff"}}',
        '{"query": "x", "path": "\\ud800"}',
        '{"query": "x", "path": "\\u0000"}',
        '{"query": "x", "modality": "\\ud800"}',
        '{"query": "x", "like": "\\ud800"}',
        "[" * 100_000,
        "\xff",
    ):
        for path in (f"{PLANT}/search", f"{PLANT}/ask"):
            response = client.post(path, content=body.encode("latin-1"), headers={"Content-Type": "application/json"})
            assert response.status_code < 500, (body[:60], response.text)


def done(client: Client, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Wait for a job and return what became of its uploads."""
    until(lambda: client.get(job["href"]).json()["state"] == "done")
    uploads: list[dict[str, Any]] = client.get(job["href"]).json()["uploads"]
    return uploads


def huge_png() -> bytes:
    """Return a PNG that says it has 90000 x 100000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 90_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def test_each_bad_file_of_a_job_has_its_own_reason(new: tuple[Client, Path]) -> None:
    client, _files = new
    files = {
        "good.txt": b"The well is deep.",
        "empty.txt": b"",
        "nul.txt": b"a\0b\0c" * 50,
        "huge picture.png": huge_png(),
        "broken.pdf": b"%PDF-1.4 broken",
    }
    job = client.post(f"{NEW}/documents", files=[("files", pair) for pair in files.items()]).json()
    results = {upload["name"]: (upload["state"], upload["reason"]) for upload in done(client, job)}
    assert results.pop("good.txt") == ("ok", None)
    assert {state for state, _reason in results.values()} == {"failed"}
    words = {"empty.txt": "empty", "nul.txt": "type", "huge picture.png": "megapixels", "broken.pdf": "damaged PDF"}
    assert all(words[name] in reason for name, (_state, reason) in results.items()), results

    # What was read once and is broken now failed, too: the old content stays.
    job = client.post(f"{NEW}/documents", files=[("files", ("good.txt", b""))]).json()
    (upload,) = done(client, job)
    assert upload["state"] == "failed" and "empty" in upload["reason"]

    records = [{"id": "a\nb", "text": " "}, {"uri": "note:1", "text": ""}, {"name": "x.pdf", "data": "AAAA"}]
    uploads = done(client, client.post(f"{NEW}/records", json={"records": records}).json())
    assert [upload["state"] for upload in uploads] == ["failed"] * 3
    assert all(upload["reason"] for upload in uploads) and len({upload["reason"] for upload in uploads}) >= 2


def test_two_documents_of_one_name_are_refused_and_none_is_lost(new: tuple[Client, Path]) -> None:
    client, _files = new
    records = [{"id": "a", "text": "The first."}, {"id": "b", "text": "Another."}, {"id": "a", "text": "The second."}]
    response = client.post(f"{NEW}/records", json={"records": records})
    assert response.status_code == 400
    assert "two records have the id 'a'" in response.json()["detail"]
    pair = [("files", ("x/a.txt", b"The first.")), ("files", ("x\\a.txt", b"The second."))]
    response = client.post(f"{NEW}/documents", files=pair)
    assert response.status_code == 400
    assert "two files are called 'x/a.txt'" in response.json()["detail"]
    assert client.get(f"{NEW}/documents").json()["total"] == 2  # nothing of them was added

    # Records without an id that are the same are one document, as for the library.
    twice = [{"text": "The well is deep."}] * 2
    uploads = done(client, client.post(f"{NEW}/records", json={"records": twice}).json())
    assert [upload["state"] for upload in uploads] == ["ok", "ok"]
    assert client.get(f"{NEW}/documents").json()["total"] == 3
