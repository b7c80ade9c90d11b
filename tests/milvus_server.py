"""A real Milvus server for tests: the PyPI package ``milvus``, in a network namespace of its own.

The server listens on all interfaces, so it must not share the network of the machine. Its namespace has a loopback
and one end of a veth pair; the other end belongs to the test process. A process group inside a PID namespace holds
everything, so that the end of the test process ends the server, the namespaces and the data, even after ``kill -9``.

Making a namespace needs root. Without it, ``python -m tests.milvus_server COMMAND`` runs a whole test run in a user
namespace, in which the tests are root. ``make test-milvus`` does that.

- ``COMMONPLACE_MILVUS_SERVER``: the path of ``milvus-server``, usually in an environment of its own.
- ``COMMONPLACE_MILVUS``: the URI of a running server, which tests that neither stop nor kill it use instead.
"""

from __future__ import annotations

import ipaddress
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import pytest

__all__ = ["MilvusServer", "Unavailable", "milvus_server", "milvus_uri", "server_program"]

PORT, HEALTH_PORT = 19530, 9091
START_LIMIT = 90.0
"""Seconds until a start counts as failed; 3 to 15 are usual."""
STOP_LIMIT = 10.0
"""Seconds until a server that was asked to stop is killed."""

HOLD = """trap '' CHLD; mount -t tmpfs tmpfs /run; echo ready; read _; kill -9 -1; exec rm -rf -- "$1" """
"""The first process of the namespaces. It waits for the end of its input, then ends the others and removes the data.

Children whose parents died are its own; because CHLD is ignored, the kernel reaps them. The server locks a file in
``/run``, so each has one of its own.
"""
UNSHARE = ("unshare", "--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child")
USER_NAMESPACE = ("unshare", "--user", "--map-root-user", "--net", "--fork", "--kill-child")
PREPARE = """
import sys
from milvus import MilvusServerConfig, _initialize_data_files
MilvusServerConfig(data_dir=sys.argv[1]).resolve()
_initialize_data_files(sys.argv[1])
"""
"""Writes the configuration and unpacks the programs. Run by the interpreter that has the package."""


class Unavailable(Exception):
    """A real server cannot run here; the message is the reason for the skip."""


def server_program() -> Path:
    """Return the path of ``milvus-server``: from COMMONPLACE_MILVUS_SERVER, or beside this interpreter."""
    named = os.environ.get("COMMONPLACE_MILVUS_SERVER")
    program = Path(named) if named else Path(sys.executable).with_name("milvus-server")
    if program.exists():
        return program
    if named:
        raise FileNotFoundError(f"COMMONPLACE_MILVUS_SERVER: {program} does not exist")
    raise Unavailable("the PyPI package milvus is not here: run `make test-milvus`, or set COMMONPLACE_MILVUS_SERVER")


def _run(*command: str) -> str:
    """Return what a command printed. A failed or missing one raises Unavailable with its message."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise Unavailable(f"a network namespace needs the program {command[0]}") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["failed"])[-1]
        raise Unavailable(f"no network namespace for Milvus (needs root, or `make test-milvus`): {reason}")
    return done.stdout


def _free_network() -> ipaddress.IPv4Network:
    """Return a random /30 network below 10.0.0.0/8 that no route of this machine covers, default routes aside."""
    routes = []
    for line in _run("ip", "-4", "route", "show").splitlines():
        try:
            routes.append(ipaddress.IPv4Network(line.split()[0]))
        except ValueError:  # "default", "unreachable"
            continue
    draw = random.SystemRandom()
    while True:
        network = ipaddress.IPv4Network((0x0A000000 + 4 * draw.randrange(1 << 22), 30))
        if not any(network.overlaps(route) for route in routes if route.prefixlen > 8):
            return network


def _end(holder: subprocess.Popen[str], link: str, data: str) -> None:
    """End all processes of the namespaces, and remove the veth pair and the data."""
    assert holder.stdin is not None and holder.stdout is not None
    holder.stdin.close()  # the first process takes this as the order to end the others
    try:
        holder.wait(10)
    except subprocess.TimeoutExpired:
        holder.kill()
        holder.wait()
    holder.stdout.close()
    subprocess.run(["ip", "link", "delete", link], stderr=subprocess.DEVNULL, check=False)  # the kernel may be slower
    shutil.rmtree(data, ignore_errors=True)


class Namespace:
    """A network, mount and PID namespace, reachable at ``address`` through a veth pair. ``close`` removes all of it.

    ``data`` is a folder that is removed with it.
    """

    def __init__(self) -> None:
        self.data = tempfile.mkdtemp(prefix="commonplace-milvus-")
        token = os.urandom(4).hex()
        self.link = f"cpm{token}h"
        try:
            self._holder = subprocess.Popen(
                [*UNSHARE, "sh", "-c", HOLD, "sh", self.data],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        except FileNotFoundError:
            shutil.rmtree(self.data)
            raise Unavailable("a network namespace needs the program unshare") from None
        self.close = weakref.finalize(self, _end, self._holder, self.link, self.data)
        try:
            self.address = self._connect(token)
        except BaseException:
            self.close()
            raise

    def _connect(self, token: str) -> str:
        """Make the veth pair and return the address of its inner end."""
        assert self._holder.stdout is not None
        answer = self._holder.stdout.readline().strip()
        if answer != "ready":
            raise Unavailable(f"no network namespace for Milvus (needs root, or `make test-milvus`): {answer}")
        inner, network = f"cpm{token}s", _free_network()
        here, there = (f"{address}/30" for address in network.hosts())
        _run("ip", "link", "add", self.link, "type", "veth", "peer", "name", inner, "netns", str(self._holder.pid))
        _run("ip", "address", "add", here, "dev", self.link)
        _run("ip", "link", "set", self.link, "up")
        _run(*self.enter, "ip", "link", "set", "lo", "up")
        _run(*self.enter, "ip", "address", "add", there, "dev", inner)
        _run(*self.enter, "ip", "link", "set", inner, "up")
        return there.partition("/")[0]

    @property
    def enter(self) -> tuple[str, ...]:
        """The beginning of a command that runs inside."""
        folder = f"/proc/{self._holder.pid}/ns"
        return "nsenter", f"--net={folder}/net", f"--mount={folder}/mnt", f"--pid={folder}/pid_for_children"


class MilvusServer:
    """A standalone Milvus on a folder of its own. It is running after the constructor; use it as a context manager.

    ``program`` is the path of ``milvus-server``. Raises Unavailable where namespaces cannot be made.
    """

    def __init__(self, program: Path) -> None:
        self._namespace = Namespace()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            python = program.with_name("python")
            subprocess.run(
                [*self._namespace.enter, python, "-c", PREPARE, self._namespace.data], check=True, timeout=120
            )
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> MilvusServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def uri(self) -> str:
        """The address for ``MilvusClient``; the same after a restart."""
        return f"http://{self._namespace.address}:{PORT}"

    @property
    def data(self) -> Path:
        """The folder of the server's data."""
        return Path(self._namespace.data)

    @property
    def running(self) -> bool:
        """Whether a process of the server exists, paused or not."""
        return self._signal(0)

    def start(self) -> None:
        """Start the server on the data that it has, and wait until it is healthy."""
        if self.running:
            raise RuntimeError("the server is already running")
        settings = {
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(HEALTH_PORT),
            "MILVUS_RUN_DIR": str(self.data / "run"),
            "LD_LIBRARY_PATH": str(self.data / "bin"),
        }
        with (self.data / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._namespace.enter, "sh", "-c", 'cd "$1" && exec bin/milvus run standalone', "sh", self.data],
                env=os.environ | settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a group of its own, for signals
            )
        try:
            self._wait_until_healthy()
        except BaseException:
            self.kill()
            raise

    def _wait_until_healthy(self) -> None:
        """Return when every part of the server is healthy. Raises RuntimeError with the end of its log otherwise."""
        address = f"http://{self._namespace.address}:{HEALTH_PORT}/healthz"
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        limit = time.monotonic() + START_LIMIT
        while self.running and time.monotonic() < limit:
            try:
                with direct.open(address, timeout=5) as response:
                    if b"OK" in response.read():
                        return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.1)
        lines = (self.data / "server.log").read_text(encoding="utf-8", errors="replace").splitlines()
        raise RuntimeError("Milvus did not start; the end of its log:\n" + "\n".join(lines[-20:]))

    def stop(self) -> None:
        """Ask the server to stop, and wait; after STOP_LIMIT seconds it is killed."""
        self.resume()
        self._signal(signal.SIGTERM)
        limit = time.monotonic() + STOP_LIMIT
        while self.running and time.monotonic() < limit:
            time.sleep(0.05)
        self.kill()

    def kill(self) -> None:
        """Kill all processes of the server with SIGKILL. The data stay as they are."""
        while self._signal(signal.SIGKILL):
            time.sleep(0.01)

    def pause(self) -> None:
        """Freeze the server with SIGSTOP: connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on; no change for a running one."""
        self._signal(signal.SIGCONT)

    def ensure_running(self) -> None:
        """Resume or start the server, if a test left it frozen or dead."""
        self.resume()
        if not self.running:
            self.start()

    def close(self) -> None:
        """End the server and remove its namespaces, veth pair and data; no error if it was closed before."""
        self.kill()
        self._namespace.close()

    def _signal(self, number: int) -> bool:
        """Send a signal to the server's process group, and return whether the group has a process. 0 only looks."""
        if self._process is None:
            return False
        self._process.poll()  # nsenter; the server itself is reaped by the first process of its namespace
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            self._process = None
        return self._process is not None


@pytest.fixture(scope="session")
def _session_server() -> Iterator[MilvusServer]:
    try:
        server = MilvusServer(server_program())
    except Unavailable as reason:
        pytest.skip(str(reason))
    with server:
        yield server


@pytest.fixture
def milvus_server(_session_server: MilvusServer) -> Iterator[MilvusServer]:
    """A real server, shared by the tests of a process and running at the start of each. Skips with a reason."""
    _session_server.ensure_running()
    yield _session_server
    _session_server.resume()


@pytest.fixture
def milvus_uri(request: pytest.FixtureRequest) -> str:
    """The URI of a real server: COMMONPLACE_MILVUS, or that of ``milvus_server``."""
    named = os.environ.get("COMMONPLACE_MILVUS")
    if named:
        return named
    server: MilvusServer = request.getfixturevalue("milvus_server")
    return server.uri


def in_namespace(command: Sequence[str]) -> list[str]:
    """Return ``command``, in a user namespace if network namespaces need one and this machine has them."""
    if subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0:
        return list(command)
    if subprocess.run([*USER_NAMESPACE, *UNSHARE, "true"], capture_output=True, check=False).returncode == 0:
        return [*USER_NAMESPACE, "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command]
    return list(command)


if __name__ == "__main__":
    words = in_namespace(sys.argv[1:])
    os.execvp(words[0], words)
