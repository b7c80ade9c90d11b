"""A watch on the network: the tests of this process must reach no other machine, and ask for no name of one."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from typing import Any

REACHED: list[str] = []
"""What was tried to be reached since a test began: filled by an audit hook, emptied by the fixture that reads it."""


def is_here(host: object) -> bool:
    """Return whether an address or a name means this machine. A path of a Unix socket does."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def is_number(host: object) -> bool:
    """Return whether looking up ``host`` asks nobody, because it is an address already."""
    try:
        ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return True


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        endpoint, address = arguments
        # Connecting a datagram socket sends nothing: it is how a program asks for its own address.
        quiet = event == "socket.connect" and endpoint.type == socket.SOCK_DGRAM
        if isinstance(address, tuple) and not quiet and not is_here(address[0]):
            REACHED.append(f"{event} {address[0]}")
    elif (
        event in ("socket.getaddrinfo", "socket.gethostbyname")
        and not is_here(arguments[0])
        and not is_number(arguments[0])
    ):
        REACHED.append(f"{event} {arguments[0]}")


def watch() -> None:
    """Begin to fill REACHED. A test server in a network namespace of its own is reached on purpose."""
    if not {"COMMONPLACE_MILVUS", "COMMONPLACE_MILVUS_SERVER"} & set(os.environ):
        sys.addaudithook(_watch)
