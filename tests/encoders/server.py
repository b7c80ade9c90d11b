"""A local hub: serves folders on the endpoints that huggingface_hub uses, with faults on request."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """The content of the server, its faults, and the requests that it received."""

    root: Path
    extra: dict[str, bytes] = field(default_factory=dict)  # additional files by path
    large: tuple[str, ...] = (".onnx",)  # endings of files in large-file storage
    tamper: str = ""  # the ending of a file that is sent with changed content
    cut: str = ""  # the ending of a file whose first answer stops halfway
    down: bool = False
    url: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, range

    def files(self, repo: str) -> dict[str, bytes]:
        folder = self.root / repo
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return {**files, **self.extra}


def entry(path: str, content: bytes, large: bool) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    row: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": blob}
    if large:
        row["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return row


@contextmanager
def hub(root: Path) -> Iterator[Hub]:
    """Serve the repositories below ``root`` (owner/name) on a free local port."""
    state = Hub(root)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            state.requests.append((self.command, path, self.headers.get("Range", "")))
            if state.down:
                return self.answer(503, b"down")
            if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+)?", path):
                return self.model(match.group(1), (match.group(2) or "/revision/main").rsplit("/", 1)[1])
            if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path):
                files = state.files(match.group(1))
                rows = [entry(name, content, name.endswith(state.large)) for name, content in files.items()]
                return self.answer(200, json.dumps(rows).encode(), Content_Type="application/json")
            if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
                return self.file(*match.groups())
            return self.answer(404, b"")

        def model(self, repo: str, revision: str) -> None:
            if not (state.root / repo).is_dir():
                return self.answer(401, b"", X_Error_Code="RepoNotFound")
            if revision not in ("main", COMMIT):
                return self.answer(404, b"", X_Error_Code="RevisionNotFound")
            body = {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": [], "private": False}
            return self.answer(200, json.dumps(body).encode(), Content_Type="application/json")

        def file(self, repo: str, name: str) -> None:
            content = state.files(repo).get(name)
            if content is None:
                return self.answer(404, b"", X_Error_Code="EntryNotFound")
            row = entry(name, content, name.endswith(state.large))
            etag = row["lfs"]["oid"] if "lfs" in row else row["oid"]
            headers = {"ETag": f'"{etag}"', "X_Repo_Commit": COMMIT, "Accept_Ranges": "bytes"}
            if state.tamper and name.endswith(state.tamper):
                content = content[:-1] + bytes([content[-1] ^ 1])
            if self.command == "GET" and state.cut and name.endswith(state.cut):
                state.cut = ""
                self.send_response(200)
                for key, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(key.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                self.close_connection = True
                return None
            start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if start:
                at = int(start.group(1))
                span = f"bytes {at}-{len(content) - 1}/{len(content)}"
                return self.answer(206, content[at:], Content_Range=span, **headers)
            return self.answer(200, content, **headers)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
