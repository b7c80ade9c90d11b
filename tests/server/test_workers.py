"""Several processes serve the same collections: each sees what the others write, and one that ends is replaced."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import httpx
import pytest

from commonplace.cli import main
from commonplace.server.workers import end_processes
from tests.server.conftest import until
from tests.tiny import tiny_bundle

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
NEW = "/v1/collections/new"


class Served:
    """``commonplace serve --workers 2`` as processes of their own."""

    def __init__(self, folder: Path, model: Path) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "commonplace", "--model", str(model), "serve", "--collections", str(folder)]
        self.process = subprocess.Popen([*command, "--port", str(port), "--workers", "2"])
        until(lambda: len(self.workers()) == 2)

    def workers(self) -> list[int]:
        """Return the ids of the processes that serve."""
        parent = self.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request on a connection of its own, which any process may take."""
        return httpx.request(method, f"{self.url}{path}", timeout=120, **options)

    @contextmanager
    def only(self, worker: int) -> Iterator[None]:
        """Stop the other processes, so that this one answers."""
        others = [other for other in self.workers() if other != worker]
        for other in others:
            os.kill(other, signal.SIGSTOP)
        try:
            yield
        finally:
            for other in others:
                os.kill(other, signal.SIGCONT)

    def answers(self, worker: int) -> bool:
        """Return whether this process serves already."""
        with self.only(worker):
            try:
                return httpx.get(f"{self.url}/health", timeout=0.5).status_code == 200
            except httpx.TransportError:
                return False

    def add(self, id_: str, text: str) -> None:
        """Add a document and wait until it is there."""
        response = self.request("POST", f"{NEW}/records", json={"records": [{"id": id_, "text": text}]})
        assert response.status_code == 202, response.text
        until(lambda: self.request("GET", response.json()["href"]).json()["state"] == "done")

    def documents(self, worker: int) -> set[str]:
        """Return what a search by this process finds."""
        with self.only(worker):
            hits = self.request("POST", f"{NEW}/search", json={"query": "the pump in the cellar"}).json()["hits"]
            return {hit["document"] for hit in hits}


def is_gone(pid: int) -> bool:
    """Return whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_two_workers_serve_the_same_collections(tmp_path: Path) -> None:
    served = Served(tmp_path, tiny_bundle(tmp_path / "tiny"))
    try:
        first, second = served.workers()
        until(lambda: served.answers(first))
        until(lambda: served.answers(second))
        with served.only(first):
            assert served.request("POST", "/v1/collections", json={"name": "new"}).status_code == 201
        served.add("a", "The pump stands in the cellar.")
        assert served.documents(first) == served.documents(second) == {"a"}
        served.add("b", "The second pump stands in the cellar, too.")
        assert served.documents(first) == served.documents(second) == {"a", "b"}
        with served.only(second):
            assert served.request("DELETE", f"{NEW}/documents/a").status_code == 204
        assert served.documents(first) == {"b"}

        # A collection that one removes is gone for the other, and one of the same name is another one.
        with served.only(first):
            assert served.request("DELETE", NEW).status_code == 204
        with served.only(second):
            assert served.request("GET", NEW).status_code == 404
            assert served.request("POST", "/v1/collections", json={"name": "new"}).status_code == 201
        served.add("c", "The third pump stands in the cellar.")
        assert served.documents(first) == served.documents(second) == {"c"}

        # The counts of both are added up, and a killed one is replaced.
        line = 'commonplace_requests_total{method="DELETE",route="/v1/collections/{collection}",status="204"} 1.0'
        for worker in (first, second):
            with served.only(worker):
                assert line in served.request("GET", "/metrics").text
        os.kill(first, signal.SIGKILL)
        until(lambda: len(served.workers()) == 2 and first not in served.workers())
        (third,) = {*served.workers()} - {second}
        until(lambda: served.answers(third))
        assert served.documents(third) == {"c"}

        # The end is orderly, and what was acknowledged is not lost.
        records = [{"id": f"r{n}", "text": f"The box {n} holds {n} screws."} for n in range(40)]
        job = served.request("POST", f"{NEW}/records", json={"records": records}).json()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(120) == 0
        assert is_gone(second) and is_gone(third)
        served = Served(tmp_path, tmp_path / "tiny")
        until(lambda: served.answers(served.workers()[0]))
        until(lambda: served.request("GET", job["href"]).json()["state"] == "done")
        assert served.request("GET", f"{NEW}/documents").json()["total"] == 41

        # Without their parent they end, and leave the port.
        workers = served.workers()
        served.process.kill()
        until(lambda: all(map(is_gone, workers)))
    finally:
        served.process.kill()
        served.process.wait()


def deaf(is_deaf: Event) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    is_deaf.set()
    time.sleep(3600)


def test_a_worker_that_does_not_end_is_killed(capsys: pytest.CaptureFixture[str]) -> None:
    spawn = multiprocessing.get_context("spawn")
    is_deaf = spawn.Event()
    hung, orderly = spawn.Process(target=deaf, args=(is_deaf,)), spawn.Process(target=time.sleep, args=(3600,))
    hung.start()
    orderly.start()
    assert is_deaf.wait(120)
    end_processes([hung, orderly], 0.5)
    assert (hung.exitcode, orderly.exitcode) == (-signal.SIGKILL, -signal.SIGTERM)
    assert capsys.readouterr().err.count("is killed") == 1


def test_a_server_that_cannot_start_says_why_and_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--collection", str(tmp_path / "kb"), "serve", "--workers", "0"]) == 1
    assert "--workers is 0" in capsys.readouterr().err
