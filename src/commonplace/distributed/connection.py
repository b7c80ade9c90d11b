"""The connection to a Ray cluster: attached to or started here, with one line for each way in which that fails."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from commonplace.errors import ClusterError, QueryError
from commonplace.i18n import _, system_reason

__all__ = ["check_address", "connected", "last_line"]

LOCAL, AUTO = "local", "auto"
SECONDS = 10.0
"""How long a machine may take to answer before it counts as unreachable."""
_ADDRESS = re.compile(r"(?P<host>[^\s:/@]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})")

# Read by Ray when it is imported or started. It reports nothing, and what it would print would mix with our output.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "RAY_NUM_REDIS_GET_RETRIES": "5",  # of a server that is not Ray's, with a second between them
}
# This setting, meant for other systems, keeps all ports of a cluster that is started here on 127.0.0.1.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

# The start of HTTP/2, with an empty frame of settings. A server of gRPC answers with its own settings at once.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
_FRAME, _SETTINGS = 9, 4  # bytes of a frame's head, and the type of a frame of settings


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to a Ray cluster and yield the module ``ray``; disconnect in the end.

    ``address`` is HOST:PORT, ``auto`` (the cluster of this machine) or ``local``, which starts one on 127.0.0.1 and
    stops it in the end. If the program is already connected to a cluster, that connection is used and kept.

    Raises QueryError for another kind of address or without the extra ray, and ClusterError if the cluster does not
    answer or runs other versions.
    """
    check_address(address)
    with _environment({**_QUIET, **(_LOOPBACK if address == LOCAL else {})}):
        try:
            import ray
        except ImportError:
            raise QueryError(_("ray=ADDRESS needs Ray: run `pip install 'commonplace-rag[ray]'`")) from None
        is_ours = not ray.is_initialized()
        if is_ours:
            _connect(ray, _cluster_here() if address == AUTO else address)
    try:
        yield ray
    finally:
        if is_ours:
            ray.shutdown()


def last_line(error: BaseException) -> str:
    """Return the last line of an error of Ray, which comes with the traceback of another machine above it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]


def check_address(address: object) -> None:
    """Raise QueryError for what is no address of a Ray cluster."""
    if address not in (LOCAL, AUTO):
        _host_and_port(address)


def _host_and_port(address: object) -> tuple[str, int]:
    """Return host and port of an address. Raises QueryError for what is no address."""
    match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    if match is None or int(match["port"]) > 65535:
        raise QueryError(
            _("the Ray address {address!r:.100} is not valid: give HOST:PORT, auto or local").format(address=address)
        )
    return match["host"].strip("[]"), int(match["port"])


def _cluster_here() -> str:
    """Return the address of this machine's cluster, from RAY_ADDRESS or from what Ray has written down.

    Raises ClusterError if there is none.
    """
    from ray._private.services import get_ray_address_from_environment

    try:
        return str(get_ray_address_from_environment(AUTO, None))
    except ConnectionError:
        raise ClusterError(_("no Ray cluster runs on this machine: give its address, or run `ray start`")) from None


def _check_answers(address: str) -> None:
    """Raise ClusterError if nothing answers there in time: Ray itself would try for ten minutes."""
    host, port = _host_and_port(address)
    hint = _("check the address, and that `ray start` runs there")
    try:
        with socket.create_connection((host, port), timeout=SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return
            connection.sendall(_HELLO)
            frame = connection.makefile("rb").read(_FRAME)
    except OSError as error:
        reason = (
            _("no answer within {seconds:g} s").format(seconds=SECONDS)
            if isinstance(error, TimeoutError)
            else system_reason(error)
        )
        raise ClusterError(
            _("the Ray cluster at {address} cannot be reached ({reason}): {hint}").format(
                address=address, reason=reason, hint=hint
            )
        ) from None
    if len(frame) < _FRAME or frame[3] != _SETTINGS:
        raise ClusterError(_("what answers at {address} is no Ray cluster: {hint}").format(address=address, hint=hint))


def _connect(ray: Any, address: str) -> None:
    """Start or attach to a cluster. Raises ClusterError."""
    if address != LOCAL:
        _check_answers(address)
    dashboard = {"include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="CRITICAL", **dashboard)
    except Exception as error:  # Ray raises RuntimeError, ValueError, ConnectionError and its own
        ray.shutdown()
        text = " ".join(str(error).split())[:400]
        if "ersion mismatch" in text:
            raise ClusterError(
                _(
                    "the Ray cluster at {address} runs other versions ({text}): install the same ones on every machine"
                ).format(address=address, text=text)
            ) from None
        hint = _("see `ray status`") if address != LOCAL else _("see the folder /tmp/ray")
        raise ClusterError(
            _("no connection to the Ray cluster at {address} ({text}): {hint}").format(
                address=address, text=text, hint=hint
            )
        ) from None


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment that the user did not set, until the end of the context."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
