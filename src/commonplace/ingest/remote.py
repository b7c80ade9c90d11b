"""Files behind URLs that fsspec reads, such as ``s3://bucket/reports``: listed, and fetched when they are read.

A URL of a local file (``file:///...``) is a path: see ``local_path``. Credentials come from the environment and the
configuration of fsspec's file systems, never from a URL, because documents show their URL.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from commonplace.errors import ReadError
from commonplace.i18n import N_, _
from commonplace.ingest.walk import NO_ENDING, is_vendored
from commonplace.readers import RecordContent, is_offered_name
from commonplace.types import REMOTE, Document, stable_id

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["RemoteFile", "RemoteWalk", "fetch", "is_url", "local_path", "walk_urls"]

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LOCAL = {"file", "local"}
_VERSIONS = ("ETag", "etag", "generation", "md5Hash", "content_md5", "checksum")
"""The keys of fsspec's info that name a content. They differ between file systems."""
_TIMES = ("mtime", "LastModified", "last_modified", "modified", "updated", "created")
_MAX_REASON = 200  # characters


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file behind a URL. ``size`` is in bytes, and ``modified`` in seconds since 1970; None if it is not known.

    ``stamp`` tells the state of the content: its size, and its version or time.
    """

    url: str
    size: int | None = None
    stamp: str = REMOTE
    modified: float | None = None

    @property
    def document(self) -> Document:
        """The document of this file, before it is read."""
        return Document(stable_id(self.url), self.url, self.url, "", stamp=self.stamp)

    def is_unchanged(self, document: Document) -> bool:
        """Return whether the document was made of this content. A file without version and time counts as changed."""
        return self.stamp != REMOTE and document.stamp == self.stamp

    def content(self, max_bytes: int) -> RecordContent:
        """Fetch the file and return its content. Raises ReadError as ``fetch`` does."""
        data = fetch(self, max_bytes)
        name = unquote(self.url.partition("?")[0].rpartition("/")[2])
        return RecordContent(self.document, data, name=name, modified=self.modified)


class RemoteWalk(NamedTuple):
    """The files to read, URLs that failed with the reason, and the number of unsupported files by suffix."""

    files: list[RemoteFile]
    problems: list[tuple[str, str]]
    skipped: Counter[str]


def is_url(text: str) -> bool:
    """Return whether a text is a URL, not a path."""
    return _URL.match(text) is not None


def local_path(url: str) -> str | None:
    """Return the path of a URL of a local file; None for any other URL."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in _LOCAL:
        return None
    return unquote(rest.removeprefix("localhost")) if scheme.lower() == "file" else rest


def walk_urls(urls: Iterable[str]) -> RemoteWalk:
    """Return the files at or below ``urls``, sorted and each once, and what was left out.

    Below a folder, hidden and vendored files are skipped, and files whose ending is not supported. A file that is
    given directly is never skipped.
    """
    files: dict[str, RemoteFile] = {}
    problems: dict[str, str] = {}
    skipped: Counter[str] = Counter()
    for url in urls:
        try:
            system, path = _open(url)
            for file in _listed(url, system, path, skipped):
                files[file.url] = file
        except ReadError as problem:
            problems[_without_password(url)] = str(problem)
    ordered = sorted(files.values(), key=lambda file: file.url)
    return RemoteWalk(ordered, sorted(problems.items()), skipped)


def fetch(file: RemoteFile, max_bytes: int) -> bytes:
    """Return the bytes of a file.

    Raises ReadError if it cannot be fetched, is empty, has more than ``max_bytes``, or changed since it was listed.
    """
    if file.size is not None and file.size > max_bytes:
        raise ReadError(_too_large(file.size, max_bytes))
    system, path = _open(file.url)
    try:
        if file.size is not None:
            data = bytes(system.cat_file(path))
        else:
            with system.open(path, "rb") as stream:
                data = bytes(stream.read(max_bytes + 1))
    except Exception as error:  # file systems of many packages raise anything
        raise ReadError(_reason(error, N_("fetched"))) from None
    if len(data) > max_bytes:
        raise ReadError(_too_large(len(data), max_bytes))
    if file.size is not None and len(data) != file.size:
        raise ReadError(_("changed while it was read; add it again"))
    if not data:
        raise ReadError(_("is empty, so there is nothing to read; add another file"))
    return data


def _open(url: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a URL, and the path in it. Raises ReadError if there is none."""
    match = _URL.match(url)
    scheme = match[1] if match else ""
    if "::" in url:
        raise ReadError(_("chained URLs (with ::) are not supported; give the URL of one file or folder"))
    if _password(url):
        raise ReadError(_("the URL contains a password, which the document would show; give it in the environment"))
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise ReadError(_("a URL needs fsspec: run `pip install 'commonplace-rag[ray]'`")) from None
    try:
        system, path = url_to_fs(url)
    except ImportError as error:
        raise ReadError(
            _("{scheme}:// needs another package ({error}); install it and add it again").format(
                scheme=scheme, error=_one_line(error)
            )
        ) from None
    except Exception as error:  # also ValueError for an unknown scheme, and what packages raise without credentials
        raise ReadError(_reason(error, N_("opened"))) from None
    return system, str(path)


def _listed(url: str, system: AbstractFileSystem, path: str, skipped: Counter[str]) -> Iterator[RemoteFile]:
    """Yield the file at ``url``, or the files below it."""
    try:
        system.invalidate_cache()
        info = system.info(path)
        if info["type"] != "directory":
            yield _file(url, info)
            return
        below: dict[str, Mapping[str, Any]] = system.find(path, detail=True)
    except ReadError:
        raise
    except Exception as error:  # file systems of many packages raise anything
        raise ReadError(_reason(error, N_("listed"))) from None
    for place, entry in below.items():
        inside = place[len(path.rstrip("/")) :].lstrip("/")
        if is_vendored(inside.split("/")):
            continue
        if is_offered_name(inside):
            yield _file(f"{url}{inside}" if url.endswith("/") else f"{url}/{inside}", entry)
        else:
            name = inside.rpartition("/")[2]
            skipped[f".{name.rpartition('.')[2].lower()}" if "." in name else NO_ENDING] += 1


def _file(url: str, info: Mapping[str, Any]) -> RemoteFile:
    """Return a file from what a file system says of it."""
    size = info.get("size")
    versions = [str(info[key]) for key in _VERSIONS if info.get(key)]
    times = [info[key] for key in _TIMES if info.get(key)]
    mark = (versions or [str(time) for time in times])[:1]
    stamp = REMOTE + json.dumps([size, *mark]) if mark else REMOTE
    return RemoteFile(url, size, stamp, _seconds(times[0]) if times else None)


def _seconds(time: object) -> float | None:
    """Return a time of a file system in seconds since 1970."""
    if isinstance(time, datetime):
        return time.timestamp()
    return float(time) if isinstance(time, (int, float)) else None


def _password(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:  # square brackets
        return None


def _without_password(url: str) -> str:
    """Return what a report may show of a URL."""
    return re.sub(r"://[^/@]*@", "://…@", url) if _password(url) else url


def _too_large(size: int, limit: int) -> str:
    return _("{size:.0f} MB, over the limit of {limit:.0f} MB; split it").format(size=size / 2**20, limit=limit / 2**20)


def _reason(error: Exception, verb: str) -> str:
    if isinstance(error, FileNotFoundError):
        return _("no such file or folder; check the URL")
    if isinstance(error, PermissionError):
        return _("permission denied; check the credentials in the environment")
    return _("cannot be {verb} ({type}: {error}); check the URL and the credentials").format(
        verb=_(verb), type=type(error).__name__, error=_one_line(error)
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_MAX_REASON]
