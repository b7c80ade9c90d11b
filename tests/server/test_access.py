"""Who may do what: keys, filters that no query widens, hosts, origins, signed links, addresses."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from commonplace.cli import main
from commonplace.errors import CommonplaceError
from commonplace.server import KeyFile, Library, ServerSettings, create_app
from commonplace.server.links import Signer
from tests.server.conftest import Client, serving

PLANT = "/v1/collections/plant"
Locked = Callable[[str | None], Client]


def test_without_a_key_only_health_answers(locked: Locked) -> None:
    client = locked(None)
    assert client.get("/health").status_code == 200
    for path in ("/v1/status", "/metrics", "/v1/collections", PLANT, f"{PLANT}/documents", f"{PLANT}/items/x/page"):
        response = client.get(path)
        assert response.status_code == 401, path
        assert response.headers["www-authenticate"] == "Bearer"
    assert client.get("/v1/status", headers={"Authorization": "Bearer cp_wrong"}).status_code == 401


def test_a_key_allows_its_verbs_and_collections_only(locked: Locked) -> None:
    assert locked("reader").get(PLANT).status_code == 200
    body = {"records": [{"text": "new"}]}
    assert locked("reader").post(f"{PLANT}/records", json=body).status_code == 403
    assert locked("elsewhere").get(PLANT).status_code == 404
    assert locked("elsewhere").get("/v1/collections").json()["collections"] == []
    assert locked("water").delete(PLANT).status_code == 403


def test_no_query_widens_the_filter_of_a_key(locked: Locked) -> None:
    client = locked("water")
    for where in (None, {"team": "office"}, {"team": ["office", "water"]}, {"team": "*"}):
        body = {"query": "When are salaries paid, and which seal?", "k": 50, "where": where}
        hits = client.post(f"{PLANT}/search", json=body).json()["hits"]
        assert "pay" not in {hit["document"] for hit in hits}
        answer = client.post(f"{PLANT}/ask", json={**body, "k": 10}).json()
        assert "Salaries" not in json.dumps(answer["blocks"]) + json.dumps(answer["related"])
    assert {document["id"] for document in client.get(f"{PLANT}/documents").json()["documents"]} == {
        "pump",
        "boat",
        "水泵/1",
    }
    assert client.get(f"{PLANT}/documents", params={"name": "pay"}).status_code == 404  # as for a name of nothing
    assert client.get(f"{PLANT}/documents/pay").status_code == 404
    assert client.get(f"{PLANT}/documents/pay/original").status_code == 404
    assert client.delete(f"{PLANT}/documents/pay").status_code == 404
    hidden = locked("boss").get(f"{PLANT}/documents/pay/items").json()["items"][0]["id"]
    for path in (f"{PLANT}/items/{hidden}", f"{PLANT}/items/{hidden}/page"):
        assert client.get(path).status_code == 404
    assert client.post(f"{PLANT}/search", json={"like": hidden}).status_code == 404
    label = {"query": "x", "item": hidden, "good": True}
    assert client.post(f"{PLANT}/labels", json=label).status_code == 404
    taken = {"records": [{"id": "pay", "text": "Salaries are never paid."}]}
    assert client.post(f"{PLANT}/records", json=taken).status_code == 409


def test_what_a_limited_key_adds_has_its_metadata(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    secret = keys.add("water", ["read", "write"], where=["team=water"])
    ranged = keys.add("recent", ["read", "write"], where=["year>=2020"])
    with serving(create_app(Library(folder=tmp_path / "all"), keys=keys)) as address:
        boss = keys.add("boss", ["read", "write", "admin"])
        with Client(base_url=address, timeout=60, headers={"Authorization": f"Bearer {boss}"}) as client:
            assert client.post("/v1/collections", json={"name": "new"}).status_code == 201
        new = "/v1/collections/new"
        with Client(base_url=address, timeout=60, headers={"Authorization": f"Bearer {secret}"}) as client:
            body = {"records": [{"id": "a", "text": "The well is deep.", "metadata": {"team": "office"}}]}
            job = client.post(f"{new}/records", json=body).json()
            while client.get(job["href"]).json()["finished"] is None:
                time.sleep(0.05)
            assert client.get(f"{new}/documents/a").json()["metadata"]["team"] == "water"
        with Client(base_url=address, timeout=60, headers={"Authorization": f"Bearer {ranged}"}) as client:
            assert client.post(f"{new}/records", json=body).status_code == 403


def test_a_removed_key_stops_working(tmp_path: Path, place: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    secret = keys.add("only")
    app = create_app(Library({"plant": str(place)}), keys=keys)
    with (
        serving(app) as address,
        Client(base_url=address, headers={"Authorization": f"Bearer {secret}"}) as client,
    ):
        assert client.get("/v1/status").status_code == 200
        KeyFile(tmp_path / "keys.json").remove("only")
        assert client.get("/v1/status").status_code == 401  # and the server without keys is not an open one


def test_a_key_file_holds_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    secret = KeyFile(path).add("a")
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(CommonplaceError, match="there is a key a"):
        KeyFile(path).add("a")
    with pytest.raises(CommonplaceError, match="no name of a key"):
        KeyFile(path).add("../a")
    path.write_text("{")
    with pytest.raises(CommonplaceError, match="cannot be read"):
        KeyFile(path).keys()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_other_addresses_than_loopback_need_a_key(tmp_path: Path, place: Path, host: str) -> None:
    library, settings = Library({"plant": str(place)}), ServerSettings(host=host)
    with pytest.raises(CommonplaceError, match="commonplace keys add"):
        create_app(library, settings=settings)
    with pytest.raises(CommonplaceError, match="commonplace keys add"):
        create_app(library, settings=settings, keys=KeyFile(tmp_path / "keys.json"))


@pytest.mark.parametrize("host", ["attacker.example", "127.0.0.1.nip.io", "localhost.example:8421", "", "[::1"])
def test_a_foreign_host_is_refused(client: Client, host: str) -> None:
    response = client.get("/v1/collections", headers={"Host": host})
    assert response.status_code in (400, 421)
    assert "collections" not in response.json()


def test_a_foreign_page_may_not_change_anything(client: Client) -> None:
    body = {"query": "x"}
    foreign = client.post(f"{PLANT}/search", json=body, headers={"Origin": "https://attacker.example"})
    assert foreign.status_code == 403
    assert "access-control-allow-origin" not in foreign.headers
    same = client.post(f"{PLANT}/search", json=body, headers={"Origin": str(client.base_url).rstrip("/")})
    assert same.status_code == 200
    assert client.post(f"{PLANT}/search", json=body, headers={"Origin": "null"}).status_code == 403


def test_responses_carry_security_headers_and_a_request_id(client: Client) -> None:
    response = client.get("/v1/status", headers={"X-Request-ID": "abc-1"})
    assert response.headers["x-request-id"] == "abc-1"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    odd = client.get("/v1/status", headers={"X-Request-ID": 'a"b c'})
    assert odd.headers["x-request-id"].isalnum()


def test_a_signed_link_shows_one_picture_for_a_while(locked: Locked) -> None:
    boat = locked("boss").get(f"{PLANT}/documents/boat/items").json()["items"][0]
    client = locked(None)
    assert client.get(boat["thumbnail"]).status_code == 401
    app_signer = Signer(b"another secret")
    assert client.get(app_signer.link(boat["thumbnail"], 60)).status_code == 401


def test_signatures_hold_for_their_path_and_time_only() -> None:
    signer = Signer(b"secret")
    path, _mark, query = signer.link("/a", 60).partition("?")
    expires, signature = (part.split("=", 1)[1] for part in query.split("&"))
    assert signer.is_valid(path, expires, signature)
    assert not signer.is_valid("/b", expires, signature)
    assert not signer.is_valid(path, str(int(expires) + 1), signature)
    assert not signer.is_valid(path, None, signature)
    assert not signer.is_valid(path, "1", signer.link("/a", 0).rpartition("=")[2])


def test_paths_of_the_server_are_shown_to_administrators_only(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("The well is deep.")
    (tmp_path / "docs" / "b.pdf").write_bytes(b"%PDF-1.4 broken")
    import commonplace

    with commonplace.open(tmp_path / "collection") as collection:
        collection.add(tmp_path / "docs", progress=False, workers=1)
    keys = KeyFile(tmp_path / "keys.json")
    reader, boss = keys.add("reader"), keys.add("boss", ["read", "admin"])
    with serving(create_app(Library({"plant": str(tmp_path / "collection")}), keys=keys)) as address:
        with Client(base_url=address, timeout=60, headers={"Authorization": f"Bearer {reader}"}) as client:
            for path in (f"{PLANT}/documents", f"{PLANT}/search?query=well"):
                text = client.get(path).text
                assert "a.txt" in text
                assert str(tmp_path) not in text
            answer = client.post(f"{PLANT}/ask", json={"query": "How deep is the well?"}).text
            assert str(tmp_path) not in answer
        with Client(base_url=address, timeout=60, headers={"Authorization": f"Bearer {boss}"}) as client:
            assert str(tmp_path / "docs" / "a.txt") in client.get(f"{PLANT}/documents").text


def test_too_many_requests_of_a_key_are_refused(tmp_path: Path, place: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    secret = keys.add("a")
    app = create_app(Library({"plant": str(place)}), keys=keys, settings=ServerSettings(rate=3))
    with serving(app) as address, Client(base_url=address, headers={"Authorization": f"Bearer {secret}"}) as client:
        statuses = [client.get("/v1/status").status_code for _attempt in range(5)]
    assert statuses == [200, 200, 200, 429, 429]


def test_an_address_in_use_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["--collection", str(tmp_path / "kb"), "serve", "--port", str(port)]) != 0
    errors = capsys.readouterr().err
    assert f"127.0.0.1:{port} cannot be opened" in errors and "--port" in errors and "serving" not in errors
