"""A text tower on a server: real HTTP to a local server with OpenAI's embeddings API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import commonplace as cp
from commonplace.encoders import Bundle, find, remote
from commonplace.encoders.hub import pull_remote
from commonplace.errors import ModelError


@dataclass
class Server:
    """The settings of the server (``dim``, required ``key``, first ``statuses``), and the texts that were ``sent``."""

    url: str = ""
    dim: int = 32
    key: str = ""
    statuses: list[int] = field(default_factory=list)
    body: bytes | None = None
    sent: list[list[str]] = field(default_factory=list)


def vector(text: str, dim: int) -> list[float]:
    """Return a bag of words as a vector: texts that share words are near."""
    total = np.full(dim, 0.01)
    for word in text.lower().replace("?", "").replace(".", "").split():
        total += np.random.default_rng(sum(word.encode()) * 31 + len(word)).standard_normal(dim)
    return [float(value) for value in total]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("COMMONPLACE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(remote.KEY, raising=False)
    monkeypatch.setattr(remote, "WAIT", 0.01)
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            state.sent.append(request.get("input", [self.path]))
            if state.key and self.headers.get("Authorization") != f"Bearer {state.key}":
                return self.answer(401, b"{}")
            if state.statuses:
                return self.answer(state.statuses.pop(0), b'{"error": "busy"}')
            if self.path != "/v1/embeddings" or request["model"] != "words":
                return self.answer(404, b"{}")
            rows = [{"index": i, "embedding": vector(text, state.dim)} for i, text in enumerate(request["input"])]
            return self.answer(200, state.body or json.dumps({"data": rows[::-1]}).encode())

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{made.server_address[1]}/v1"
    yield state
    made.shutdown()
    made.server_close()
    thread.join()


def test_texts_are_sent_in_batches_and_come_back_in_order(server: Server) -> None:
    bundle = pull_remote("words", server.url + "/")
    tower = bundle.text
    assert tower is not None and bundle.image is None and bundle.dim == 32
    server.sent.clear()
    texts = [f"text number {n}" for n in range(150)]
    rows = tower.encode(texts)
    assert [len(batch) for batch in server.sent] == [64, 64, 22]
    expected = np.array([vector(text, 32) for text in texts])
    assert np.allclose(rows, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    long = tower.encode(["blue seal " * 2000])
    assert all(len(piece) < 3000 for piece in server.sent[-1]) and "".join(server.sent[-1]) == "blue seal " * 2000
    assert np.isfinite(long).all()


def test_temporary_errors_are_retried_and_others_are_raised(server: Server) -> None:
    tower = pull_remote("words", server.url).text
    assert tower is not None
    server.statuses = [503, 429]
    assert tower.encode(["x"]).shape == (1, 32)
    server.statuses = [500] * 9
    with pytest.raises(ModelError, match="500"):
        tower.encode(["x"])
    assert len(server.statuses) == 9 - 1 - remote.RETRIES
    for status, words in ((400, "400"), (404, "no embedding model words"), (302, "not followed")):
        server.statuses = [status]
        server.sent.clear()
        with pytest.raises(ModelError, match=words):
            tower.encode(["x"])
        assert server.sent == [["x"]]  # once, and nowhere else
    for body in (
        b"{",
        b"[]",
        b'{"data": [{"index": 0}]}',
        b'{"data": []}',
        b'{"data": [{"index":0,"embedding":[NaN]}]}',
    ):
        server.body = body
        with pytest.raises(ModelError, match=r"check the server|embeddings API"):
            tower.encode(["x"])
    server.body, server.dim = None, 48
    with pytest.raises(ModelError, match="now gives 48 dimensions, but 32 when"):
        tower.encode(["x"])


def test_a_wrong_key_no_server_and_a_wrong_address(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.key = "k-4711-xyz"
    with pytest.raises(ModelError, match=remote.KEY):
        pull_remote("words", server.url)
    monkeypatch.setenv(remote.KEY, "k-4711-xyz")
    bundle = pull_remote("words", server.url)
    assert all("k-4711-xyz" not in path.read_text(errors="replace") for path in bundle.folder.iterdir())
    with pytest.raises(ModelError, match="no answer"):
        pull_remote("words", "http://127.0.0.1:9/v1", name="none")
    for url in ("ftp://x/y", "file:///etc/passwd", "x", "http://user:key@host/v1"):
        with pytest.raises(ModelError, match="address"):
            pull_remote("words", url, name="none")
    with pytest.raises(ModelError, match="is used"):
        pull_remote("words", server.url.replace("127.0.0.1", "localhost"))
    assert [path.name for path in (tmp_path / "home" / "models").iterdir()] == ["words"]


def test_a_server_that_is_too_slow_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = pull_remote("words", server.url).text
    assert tower is not None
    monkeypatch.setattr(remote, "RETRIES", 0)
    monkeypatch.setattr(remote, "SECONDS", 0.2)
    gate = threading.Event()
    monkeypatch.setattr("tests.encoders.test_remote.vector", lambda *_: gate.wait(5) or [0.0] * 32)
    with pytest.raises(ModelError, match="no answer"):
        tower.encode(["x"])
    gate.set()


def test_a_collection_is_searched_by_meaning_through_the_server(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "commonplace"]
    (tmp_path / "a.txt").write_text("The north pump needs the blue seal.")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, env=os.environ)

    assert "--base-url" in run("models", "pull", "openai:words").stderr and server.sent == []
    done = run("models", "pull", "openai:words", "--base-url", server.url)
    assert done.returncode == 0 and f"sent to {server.url}" in done.stderr
    assert isinstance(Bundle(find("words")).text, remote.RemoteText)
    assert run("--model", "words", "add", "a.txt").returncode == 0
    hits = json.loads(run("search", "blue seal", "--json").stdout)["hits"]
    assert {channel["channel"] for channel in hits[0]["breakdown"]} >= {"lexical", "text->text"}
    (tmp_path / "b.txt").write_text("The south pump needs the red seal.")
    with cp.open(tmp_path / "kb", model="words") as kb:
        kb.add(tmp_path / "a.txt", tmp_path / "b.txt", progress=False)
        with pytest.raises(ModelError, match="no token vectors"):
            kb.search("blue seal", rerank="maxsim")
