"""Nothing leaves the machine: not from this process, and not from the command with its workers."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from tests import network

ADDRESS = re.compile(r"sa_family=AF_INET6?,.*?(?:inet_addr\(\"([^\"]+)\"\)|inet_pton\(AF_INET6, \"([^\"]+)\")")
NOWHERE = "192.0.2.1"
"""An address that is set aside for documents: no machine has it."""


@pytest.mark.parametrize(
    ("reach", "event"),
    [
        (lambda: socket.create_connection((NOWHERE, 9), timeout=0.01), f"socket.connect {NOWHERE}"),
        (lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"", (NOWHERE, 9)), f"socket.sendto {NOWHERE}"),
        (lambda: socket.getaddrinfo("nowhere.invalid", 80), "socket.getaddrinfo nowhere.invalid"),
    ],
    ids=["connect", "send", "name"],
)
def test_whatever_reaches_out_is_noticed(reach: Callable[[], object], event: str) -> None:
    with suppress(OSError):
        reach()
    assert event in network.REACHED
    network.REACHED.clear()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "", b"127.0.0.2"])
def test_this_machine_may_be_reached(host: object) -> None:
    assert network.is_here(host)


def connections(trace: str) -> set[str]:
    """Return the addresses in what strace wrote."""
    return {first or second for first, second in ADDRESS.findall(trace)}


def test_a_line_of_a_connection_is_understood() -> None:
    line = '7 connect(3, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("192.0.2.1")}, 16) = 0\n'
    six = '7 connect(3, {sa_family=AF_INET6, sin6_port=htons(9), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr)}, 28)\n'
    assert connections(line + six) == {"192.0.2.1", "2001:db8::1"}


def test_add_search_and_ask_connect_to_nothing(tmp_path: Path) -> None:
    """The system calls of the command, its threads, its workers and every library: none connects elsewhere.

    The last line of the program does, so that a trace that shows nothing fails.
    """
    tracer = shutil.which("strace")
    if tracer is None:
        pytest.skip("strace is not installed")
    (tmp_path / "pumps.md").write_text("The north pump needs the blue seal.", encoding="utf-8")
    Image.new("RGB", (90, 60), "red").save(tmp_path / "red.png")
    trace = tmp_path / "trace"
    command = [tracer, "-f", "--seccomp-bpf", "-o", str(trace), "-e", "trace=connect,sendto,sendmsg,sendmmsg"]
    code = (
        "import commonplace as cp\nwith cp.open('notes') as kb:\n    print(kb.add('pumps.md', 'red.png'))\n"
        "    kb.search('blue seal', image='red.png')\n    print(kb.ask('Which seal does the north pump need?').text)\n"
        f"import socket\ntry:\n    socket.create_connection(('{NOWHERE}', 9), timeout=0.01)\nexcept OSError: pass"
    )
    done = subprocess.run([*command, sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert "2 added" in done.stdout and "blue seal" in done.stdout, done.stderr
    assert {address for address in connections(trace.read_text()) if not network.is_here(address)} == {NOWHERE}
