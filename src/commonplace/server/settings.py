"""Settings of the server, and the check of the address that it listens on."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from commonplace.errors import CommonplaceError
from commonplace.i18n import _

__all__ = ["ServerSettings", "check_address", "is_loopback"]

MB = 1024**2


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How the server behaves. The defaults suit one machine.

    - ``host``, ``port``: the address that it listens on.
    - ``hosts``: names under which clients may reach it, besides ``host`` and, on loopback, ``localhost``. A request
      with another ``Host`` header is refused, because a web page could otherwise reach it by DNS rebinding.
    - ``origins``: web origins (``https://app.example.org``) whose pages may call it. Default: only its own.
    - ``max_upload``: largest request body with files, in bytes. ``max_body``: largest JSON body.
    - ``concurrency``: searches and answers that run at once. ``waiting``: how many more may wait for their turn;
      beyond that a request gets the status 503.
    - ``link_seconds``: how long the links to pictures in chat answers work.
    - ``rate``: requests a minute for each key; 0 is without a limit.
    - ``watched``: pairs of a collection's name and a folder that is kept in step with it.
    - ``mcp_add``: whether agents may add documents over ``/mcp``, with a key that allows to write.
    """

    host: str = "127.0.0.1"
    port: int = 8421
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    max_upload: int = 200 * MB
    max_body: int = 16 * MB
    concurrency: int = 4
    waiting: int = 64
    link_seconds: int = 3600
    rate: int = 0
    mcp_add: bool = False
    watched: tuple[tuple[str, str], ...] = ()

    @property
    def host_names(self) -> frozenset[str]:
        """The values of the ``Host`` header that are accepted, without the port."""
        names = {self.host, *self.hosts}
        if is_loopback(self.host):
            names |= {"localhost", "127.0.0.1", "::1"}
        return frozenset(name.strip("[]").casefold() for name in names)


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_address(settings: ServerSettings, *, has_keys: bool) -> None:
    """Raise CommonplaceError if other machines could reach the server without a key."""
    if not has_keys and not is_loopback(settings.host):
        raise CommonplaceError(
            _(
                "{host} can be reached from other machines, and there is no key: make one with `commonplace keys add "
                "NAME`, or leave out --host"
            ).format(host=settings.host)
        )
