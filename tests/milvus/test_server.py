"""The real server of the tests: it survives what tests do to it, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.milvus_server import MilvusServer, Namespace, Unavailable, in_namespace, server_program

grpc = pytest.importorskip("grpc", reason="needs the extra milvus")
pymilvus = pytest.importorskip("pymilvus", reason="needs the extra milvus")

COLLECTION, ROWS, DIM = "fixture", 200, 8

HOLDING = """
import sys
from tests.milvus_server import Namespace
space = Namespace()
print(space.link, space.data, flush=True)
sys.stdin.read()
"""
"""A process that holds a namespace until its input ends or it is killed."""


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    try:
        made = Namespace()
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield made
    made.close()


def has_link(name: str) -> bool:
    return name in [link for _, link in socket.if_nameindex()]


def connect(server: MilvusServer) -> pymilvus.MilvusClient:
    return pymilvus.MilvusClient(server.uri, timeout=30)


def collections(server: MilvusServer, *, timeout: float = 30) -> list[str]:
    return list(connect(server).list_collections(timeout=timeout))


@pytest.fixture
def filled(milvus_server: MilvusServer) -> Iterator[MilvusServer]:
    """The server with a loaded collection of ROWS rows, none of them flushed."""
    client = connect(milvus_server)
    client.create_collection(COLLECTION, dimension=DIM, timeout=60)
    draw = np.random.default_rng(0)
    client.upsert(COLLECTION, [{"id": n, "vector": draw.normal(size=DIM).tolist()} for n in range(ROWS)], timeout=60)
    yield milvus_server
    milvus_server.ensure_running()
    connect(milvus_server).drop_collection(COLLECTION, timeout=60)


def test_rows_survive_a_kill(filled: MilvusServer) -> None:
    uri = filled.uri
    filled.kill()
    assert not filled.running
    filled.start()
    assert filled.uri == uri
    client = connect(filled)
    client.load_collection(COLLECTION, timeout=120)
    rows = client.query(COLLECTION, "id >= 0", ["count(*)"], consistency_level="Strong", timeout=60)
    assert rows[0]["count(*)"] == ROWS


def test_a_stopped_server_refuses_connections_and_starts_again(milvus_server: MilvusServer) -> None:
    milvus_server.stop()
    assert not milvus_server.running
    with pytest.raises(pymilvus.MilvusException):
        collections(milvus_server, timeout=2)
    milvus_server.start()
    assert collections(milvus_server) == []


def test_a_frozen_server_costs_a_timeout_and_goes_on(milvus_server: MilvusServer) -> None:
    client = connect(milvus_server)
    assert client.list_collections(timeout=30) == []
    milvus_server.pause()
    assert milvus_server.running
    with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):  # pymilvus passes it on as it is
        client.list_collections(timeout=2)
    milvus_server.resume()
    assert collections(milvus_server) == []


def test_a_second_start_is_refused(milvus_server: MilvusServer) -> None:
    with pytest.raises(RuntimeError, match="already running"):
        milvus_server.start()


def test_a_server_that_cannot_start_says_why(milvus_server: MilvusServer) -> None:
    program = milvus_server.data / "bin" / "milvus"
    milvus_server.kill()
    program.rename(program.with_name("elsewhere"))
    try:
        with pytest.raises(RuntimeError, match="bin/milvus: not found"):
            milvus_server.start()
    finally:
        program.with_name("elsewhere").rename(program)


def test_the_network_is_another(namespace: Namespace) -> None:
    inside = subprocess.run([*namespace.enter, "readlink", "/proc/self/ns/net"], capture_output=True, text=True)
    assert inside.stdout.startswith("net:")
    assert inside.stdout.strip() != os.readlink("/proc/self/ns/net")
    assert has_link(namespace.link)


def test_closing_removes_everything(namespace: Namespace) -> None:
    sleeper = subprocess.Popen([*namespace.enter, "sleep", "1000"])
    namespace.close()
    assert sleeper.wait(10) != 0
    assert not has_link(namespace.link)
    assert not Path(namespace.data).exists()
    namespace.close()


@pytest.mark.parametrize("end", ["kill", "exit"])
def test_the_end_of_the_process_removes_everything(namespace: Namespace, end: str) -> None:
    holding = subprocess.Popen(
        [sys.executable, "-c", HOLDING], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holding:
        assert holding.stdout is not None
        link, data = holding.stdout.readline().split()
        assert has_link(link) and Path(data).exists()
        if end == "kill":
            holding.kill()
    limit = time.monotonic() + 30
    while has_link(link) or Path(data).exists():
        assert time.monotonic() < limit, "the namespace outlived its process"
        time.sleep(0.05)


def test_a_program_that_is_named_must_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COMMONPLACE_MILVUS_SERVER", str(tmp_path / "milvus-server"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        server_program()


def test_without_the_package_the_reason_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("COMMONPLACE_MILVUS_SERVER", raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(Unavailable, match="make test-milvus"):
        server_program()


def test_a_run_of_tests_keeps_its_command() -> None:
    assert in_namespace(["pytest", "tests"])[-2:] == ["pytest", "tests"]
