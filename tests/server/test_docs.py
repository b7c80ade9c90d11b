"""The guide to the HTTP API is right: its commands run against a server that the command starts."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import commonplace
from commonplace.cli import build_parser, main
from tests.conftest import ROOT
from tests.server.conftest import picture

GUIDE = ROOT / "docs" / "how-to" / "http-api.md"
LINES = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """The port of ``commonplace serve`` in a folder with a collection, which ends without an error."""
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "pumps.md").write_text("The north pump needs the blue seal.", encoding="utf-8")
    (tmp_path / "seal.jpg").write_bytes(picture(1))
    with commonplace.open(tmp_path / ".commonplace") as collection:
        collection.add(tmp_path / "papers", progress=False, workers=1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        number = int(listener.getsockname()[1])
    command = [sys.executable, "-m", "commonplace", "serve", "--port", str(number)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        while server.poll() is None:
            try:
                httpx.get(f"http://127.0.0.1:{number}/health")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield number
        server.terminate()
        _output, errors = server.communicate()
        assert f"serving at http://127.0.0.1:{number}/" in errors
        assert "Traceback" not in errors


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_documented_requests_are_answered(port: int, tmp_path: Path) -> None:
    requests = [line for line in LINES if line.startswith("curl") and "localhost" in line]
    assert len(requests) > 8
    for line in requests:
        words = shlex.split(line.replace("localhost:8421", f"127.0.0.1:{port}"))
        done = subprocess.run([*words, "--fail-with-body"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}: {done.stdout} {done.stderr}"
        while words[2].endswith("/records"):  # until it is read, it cannot be removed
            job = httpx.get(f"http://127.0.0.1:{port}/v1/collections/default/jobs").json()["jobs"]
            if all(one["finished"] for one in job):
                break
            time.sleep(0.05)


def test_documented_commands_are_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONPLACE_KEYS", str(tmp_path / "keys.json"))
    parser = build_parser()
    for line in LINES:
        if line.startswith("commonplace keys"):
            assert main(shlex.split(line)[1:]) == 0, line
        elif line.startswith("commonplace"):
            assert parser.parse_args(shlex.split(line)[1:]).run
