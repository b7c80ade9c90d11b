"""Addresses of collections in Milvus, as URLs: a server or cluster, or a Milvus Lite file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from commonplace.errors import CollectionError
from commonplace.i18n import N_, _
from commonplace.paths import expanded_path
from commonplace.store.milvus.settings import StoreSettings

__all__ = ["MilvusAddress", "is_address"]

SERVER, LITE = "milvus", "milvus-lite"
PORT = 19530
DEFAULT_NAME = "commonplace"  # of a collection in a Milvus Lite file
_SCHEME = re.compile(rf"({SERVER}|{LITE}):", re.IGNORECASE)
_NAME = re.compile(r"(?!.*__)[A-Za-z_][A-Za-z0-9_]{0,63}")  # two underscores separate the parts of longer names
_TENANT = re.compile(r"[A-Za-z0-9_]{1,64}")
_FORMS = N_("write milvus://HOST:19530/NAME or milvus-lite:///FOLDER/FILE.db")


def is_address(text: object) -> bool:
    """Return whether a text is a URL of a collection in Milvus, and not the path of a folder."""
    return isinstance(text, str) and _SCHEME.match(text) is not None


@dataclass(frozen=True, slots=True)
class MilvusAddress:
    """The address of a collection in Milvus, and how to connect to it.

    ``uri`` is for pymilvus: ``http://HOST:PORT``, ``https://HOST:PORT`` (with TLS), or the path of a Milvus Lite file.
    ``name`` is the collection's name there. ``tenant`` restricts it to one tenant of a shared collection. ``ca`` is a
    file of certificates. ``timeout`` is the time limit of a call in seconds. ``token`` is never shown.
    """

    uri: str
    name: str = DEFAULT_NAME
    tenant: str | None = None
    token: str | None = field(default=None, repr=False)
    ca: str | None = None
    timeout: float = 10.0

    @property
    def is_lite(self) -> bool:
        """Whether the collection is in a Milvus Lite file."""
        return not self.uri.startswith(("http://", "https://"))

    @property
    def url(self) -> str:
        """The URL of the collection without secrets. The same collection always has the same URL."""
        if self.is_lite:
            name = "" if self.name == DEFAULT_NAME else f"?name={self.name}"
            return f"{LITE}://{quote(os.fsencode(self.uri))}{name}"
        tenant = f"?tenant={self.tenant}" if self.tenant else ""
        return f"{SERVER}://{self.uri.partition('://')[2]}/{self.name}{tenant}"

    @classmethod
    def parse(cls, url: str, settings: StoreSettings | None = None) -> MilvusAddress:
        """Return the address in a URL; ``settings`` has what a URL does not say.

        ``milvus://HOST[:PORT]/NAME[?tenant=TENANT]`` is a server. ``milvus-lite:///FOLDER/FILE.db[?name=NAME]`` is a
        file; a relative path follows the colon (``milvus-lite:FILE.db``), and ``~`` is the home folder. Raises
        CollectionError for any other text, and for a URL that contains a user, a password or a token.
        """
        settings = settings or StoreSettings()
        _refuse_secrets(url)
        shown = re.split(r"[?#]", url)[0]
        try:
            parts = urlsplit(url)
            port = parts.port or PORT
        except ValueError:
            raise CollectionError(
                _("{shown!r:.200} has no valid host and port: {forms}").format(shown=shown, forms=_(_FORMS))
            ) from None
        if parts.fragment:
            raise CollectionError(_("{shown!r:.200} has a part after #: {forms}").format(shown=shown, forms=_(_FORMS)))
        if parts.scheme == LITE:
            return _lite(parts, settings)
        host, name = parts.hostname, parts.path.removeprefix("/").removesuffix("/")
        if not host or not name:
            missing = _("host") if not host else _("name of a collection")
            raise CollectionError(
                _("{shown!r:.200} has no {missing}: {forms}").format(shown=shown, missing=missing, forms=_(_FORMS))
            )
        scheme = "https" if settings.tls or settings.ca else "http"
        return cls(
            f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}",
            _name(name),
            _tenant(_options(parts, "tenant").get("tenant")),
            settings.token,
            settings.ca,
            settings.timeout,
        )


def _refuse_secrets(url: str) -> None:
    """Raise CollectionError, which shows nothing of the URL, if it may contain a secret."""
    start, _mark, query = url.partition("?")
    names = {part.partition("=")[0].lower() for part in query.split("&")}
    if ("@" in start and not url.lower().startswith(f"{LITE}:")) or names & {"token", "password", "user", "api_key"}:
        raise CollectionError(
            _(
                "the URL of a Milvus collection contains a user, a password or a token, which would be shown and "
                "logged: "
                "set COMMONPLACE_MILVUS_TOKEN to USER:PASSWORD or the token instead"
            )
        )


def _lite(parts: SplitResult, settings: StoreSettings) -> MilvusAddress:
    """Return the address of a Milvus Lite file."""
    path = unquote(parts.path, errors="surrogateescape")
    if parts.netloc:
        raise CollectionError(
            _(
                "the URL of a Milvus Lite file names the host {netloc!r:.100}, but the file is on this machine: "
                "write {lite}:///FOLDER/FILE.db, with three slashes"
            ).format(netloc=parts.netloc, lite=LITE)
        )
    path = path.removeprefix("/") if path.startswith("/~") else path
    if not path.endswith(".db"):
        raise CollectionError(
            _("{path!r:.200} is no path of a Milvus Lite file: choose a name that ends in .db").format(path=path)
        )
    file = os.path.realpath(expanded_path(path, CollectionError))
    name = _options(parts, "name").get("name", DEFAULT_NAME)
    return MilvusAddress(file, _name(name), timeout=settings.timeout)


def _options(parts: SplitResult, known_option: str) -> dict[str, str]:
    """Return the options after the question mark of a URL."""
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    for key, _value in pairs:
        if key != known_option or len(pairs) > 1:
            raise CollectionError(
                _("{key!r:.100} is not an option of this URL: only one ?{known_option}=… may follow it").format(
                    key=key, known_option=known_option
                )
            )
    return dict(pairs)


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise CollectionError(
            _(
                "the name of the collection is {name!r:.100}: choose a letter and at most 63 letters, digits and "
                "single "
                "underscores"
            ).format(name=name)
        )
    return name


def _tenant(tenant: str | None) -> str | None:
    if tenant is not None and not _TENANT.fullmatch(tenant):
        raise CollectionError(
            _("the tenant is {tenant!r:.100}: choose at most 64 letters, digits and underscores").format(tenant=tenant)
        )
    return tenant
