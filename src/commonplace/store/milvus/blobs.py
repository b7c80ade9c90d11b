"""Pictures and originals of a collection in a server, as files in a folder or in a bucket."""

from __future__ import annotations

import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic, time
from typing import Any, Literal, Protocol, TypeVar, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit

from commonplace.errors import CollectionError
from commonplace.i18n import N_, _, system_reason
from commonplace.paths import expanded_path

__all__ = ["BlobKind", "Blobs", "is_blob_name"]

T = TypeVar("T")

BlobKind = Literal["pictures", "originals"]
ENDINGS: dict[str, str] = {"pictures": ".jpg", "originals": ""}
TIMEOUT = 30.0  # seconds for one call to a bucket
UNFINISHED = 24 * 3600.0  # seconds after which a file that was not completed is removed
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 _-]{0,126}[A-Za-z0-9])?")
MARK = ".commonplace-blobs"
"""Name of the file that marks a folder of blobs."""
_PART = re.compile(r"\..+\.[0-9a-f]{32}\.part")
_COMPLETE = frozenset("s3 s3a gs gcs abfs abfss az oci oss memory".split())  # noqa: SIM905
"""The protocols whose new objects appear complete or not at all. Others get a temporary name first."""


class Blobs:
    """Blobs by kind and name. A name stands for one content, so that writing it twice changes nothing.

    A blob appears complete or not at all, also if its writer is killed. Many processes and machines may write at once.
    ``url`` is where they are, without user and password. Every method raises CollectionError if the folder or bucket
    cannot be used or does not answer in time.
    """

    def __init__(self, url: str, files: _Files) -> None:
        self.url, self._files = url, files

    @classmethod
    def open(cls, url: str, *, timeout: float = TIMEOUT) -> Blobs:
        """Return the blobs at a URL that fsspec can open, or in a folder.

        Nothing is created or connected to before the first call of another method. ``timeout`` is the time limit of
        one call to a bucket in seconds. Raises CollectionError for a URL that is not valid, and if the package that it
        needs is not installed.
        """
        if not url:
            raise CollectionError(_("the URL of the blobs is empty: give file:///FOLDER or s3://BUCKET/FOLDER"))
        parts = _split(url)
        if parts.scheme not in ("", "file", "local"):
            shown, secrets = _without_secrets(parts)
            _check_protocol(parts.scheme)
            return cls(shown, _Bucket(url.rstrip("/"), shown, secrets, timeout))
        if parts.netloc not in ("", "localhost"):
            raise CollectionError(_("the URL of the blobs names a host, but files are on this machine: file:///FOLDER"))
        path = unquote(parts.path, errors="surrogateescape") if parts.scheme else url
        folder = Path(os.path.realpath(expanded_path(path, CollectionError)))
        return cls("file://" + quote(os.fsencode(folder)), _Folder(folder))

    def below(self, folder: str) -> Blobs:
        """Return the blobs in a folder below these, so that several collections do not share any."""
        if not _NAME.fullmatch(folder):
            raise CollectionError(
                _("{folder!r:.100} is no name of a folder of blobs: choose letters and digits").format(folder=folder)
            )
        return Blobs(f"{self.url}/{folder}", self._files.below(folder))

    def mark(self) -> None:
        """Mark a folder as one of blobs, so that a collection may name it; a bucket needs no mark."""
        if self.folder is not None:
            self._files.write(MARK, b"pictures and contents of a collection of commonplace\n")

    @property
    def is_trusted(self) -> bool:
        """Whether blobs may be used because a server names them, and not the user of this machine.

        A server could name any folder. So a folder counts only if it was marked, by a user who gave it. Of buckets
        only those of known protocols count.
        """
        if self.folder is not None:
            return (self.folder / MARK).is_file()
        return urlsplit(self.url).scheme in _COMPLETE

    @property
    def folder(self) -> Path | None:
        """The folder of this machine that holds the blobs; None for a bucket."""
        return self._files.root if isinstance(self._files, _Folder) else None

    def put(self, kind: BlobKind, name: str, data: bytes) -> None:
        """Store a blob. A blob of this name with another content is replaced, because it is damaged."""
        self._files.write(_path(kind, name), data)

    def get(self, kind: BlobKind, name: str) -> bytes | None:
        """Return the content of a blob; None if there is none of this name."""
        return self._files.read(_path(kind, name))

    def has(self, kind: BlobKind, name: str) -> bool:
        """Return whether there is a blob of this name."""
        return self._files.exists(_path(kind, name))

    def delete(self, kind: BlobKind, name: str) -> None:
        """Delete a blob if there is one of this name."""
        self._files.delete(_path(kind, name))

    def list(self, kind: BlobKind) -> Iterator[str]:
        """Yield the names of all blobs of a kind."""
        ending = _ending(kind)
        for name in self._files.list(kind):
            if name.endswith(ending) and _NAME.fullmatch(name.removesuffix(ending)):
                yield name.removesuffix(ending)

    def sweep(self) -> int:
        """Delete files that were begun more than a day ago and never completed; return their number."""
        return self._files.sweep()


class _Files(Protocol):
    """Files below a root, by relative path."""

    def below(self, folder: str) -> _Files: ...
    def write(self, path: str, data: bytes) -> None: ...
    def read(self, path: str) -> bytes | None: ...
    def exists(self, path: str) -> bool: ...
    def delete(self, path: str) -> None: ...
    def list(self, folder: str) -> Iterator[str]: ...
    def sweep(self) -> int: ...


class _Folder:
    """Files in a folder of this machine, or of a network share."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def below(self, folder: str) -> _Folder:
        return _Folder(self.root / folder)

    def write(self, path: str, data: bytes) -> None:
        target = self.root / path
        if self.read(path) == data:
            return
        part = target.with_name(_part_of(target.name))
        with self._errors(N_("written to")):
            is_new = not target.parent.is_dir()
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(target)
            except BaseException:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
                raise
            for folder in (target.parent, target.parent.parent) if is_new else (target.parent,):
                _sync(folder)

    def read(self, path: str) -> bytes | None:
        with self._errors(N_("read")), suppress(FileNotFoundError, NotADirectoryError):
            return (self.root / path).read_bytes()
        return None

    def exists(self, path: str) -> bool:
        with self._errors(N_("read")):
            return (self.root / path).is_file()

    def delete(self, path: str) -> None:
        with self._errors(N_("written to")):
            (self.root / path).unlink(missing_ok=True)

    def list(self, folder: str) -> Iterator[str]:
        with self._errors(N_("read")):
            for _, _, names in os.walk(self.root / folder, onerror=_raise_unless_missing):
                yield from names

    def sweep(self) -> int:
        count = 0
        with self._errors(N_("written to")):
            for parent, _, names in os.walk(self.root, onerror=_raise_unless_missing):
                for path in (Path(parent, name) for name in names if _PART.fullmatch(name)):
                    with suppress(FileNotFoundError):
                        if path.stat().st_mtime < time() - UNFINISHED:
                            path.unlink()
                            count += 1
        return count

    @contextmanager
    def _errors(self, done: str) -> Iterator[None]:
        """Turn an error of the file system into one line that says what cannot be done."""
        try:
            yield
        except OSError as problem:
            raise CollectionError(
                _(
                    "the blobs in {root} cannot be {done} ({reason}): check the folder and its "
                    "permissions, or choose another with --blobs"
                ).format(root=self.root, done=_(done), reason=system_reason(problem))
            ) from problem


class _Bucket:
    """Files behind a protocol of fsspec. Every call ends within ``timeout`` seconds.

    After a call without an answer, calls fail at once for ``timeout`` seconds.
    """

    def __init__(self, url: str, shown: str, secrets: tuple[str, ...], timeout: float) -> None:
        self._url, self._shown, self._secrets, self._timeout = url, shown, secrets, timeout
        self._appears_complete = shown.partition(":")[0] in _COMPLETE
        self._opened: tuple[Any, str] | None = None
        self._silent_until = 0.0  # a search would otherwise wait for each of its pictures

    def below(self, folder: str) -> _Bucket:
        return _Bucket(f"{self._url}/{folder}", f"{self._shown}/{folder}", self._secrets, self._timeout)

    @property
    def _system(self) -> Any:
        """The file system; used inside of ``_call`` only, because opening it may take long."""
        return self._open()[0]

    @property
    def _root(self) -> str:
        return self._open()[1]

    def _open(self) -> tuple[Any, str]:
        if self._opened is None:
            self._opened = _file_system(self._url)
        return self._opened

    def write(self, path: str, data: bytes) -> None:
        if self._appears_complete:
            self._call(lambda: self._system.pipe_file(f"{self._root}/{path}", data), N_("written to"))
        elif self.read(path) != data:
            self._call(lambda: self._replace(f"{self._root}/{path}", data), N_("written to"))

    def _replace(self, target: str, data: bytes) -> None:
        """Write a file under a temporary name and rename it. Some servers rename only to a free name."""
        folder, _, name = target.rpartition("/")
        part = f"{folder}/{_part_of(name)}"
        self._system.makedirs(folder, exist_ok=True)
        self._system.pipe_file(part, data)
        try:
            self._system.mv(part, target)
        except Exception:
            existing = _unless_missing(lambda: self._system.cat_file(target))
            if existing is None:
                raise
            if existing == data:  # another writer was faster
                self._system.rm_file(part)
                return
            self._system.rm_file(target)
            self._system.mv(part, target)

    def read(self, path: str) -> bytes | None:
        return self._call(lambda: _unless_missing(lambda: self._system.cat_file(f"{self._root}/{path}")), N_("read"))

    def exists(self, path: str) -> bool:
        return self._call(lambda: bool(self._system.exists(f"{self._root}/{path}")), N_("read"))

    def delete(self, path: str) -> None:
        if self._appears_complete or self.exists(path):
            self._call(lambda: _unless_missing(lambda: self._system.rm_file(f"{self._root}/{path}")), N_("written to"))

    def list(self, folder: str) -> Iterator[str]:
        paths = self._call(
            lambda: _unless_missing(lambda: list(self._system.find(f"{self._root}/{folder}"))), N_("read")
        )
        yield from (str(path).rpartition("/")[2] for path in paths or ())

    def sweep(self) -> int:
        return 0  # an object of a bucket is complete; elsewhere the age of a file is not known

    def _call(self, function: Callable[[], T], done: str) -> T:
        """Return the result of a function. It runs in a thread, because some protocols have no time limit."""
        if monotonic() < self._silent_until:
            raise self._silence()
        results: SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = SimpleQueue()

        def run() -> None:
            try:
                results.put((function(), None))
            except BaseException as problem:
                results.put((None, problem))

        threading.Thread(target=run, name="commonplace-blobs", daemon=True).start()
        try:
            result, problem = results.get(timeout=self._timeout)
        except Empty:
            self._silent_until = monotonic() + self._timeout
            raise self._silence() from None
        if problem is not None:
            raise self._explained(problem, done) from None
        return cast(T, result)

    def _silence(self) -> CollectionError:
        return CollectionError(
            _(
                "the blobs at {shown} did not answer within {timeout:g} seconds: check that the server can be reached"
            ).format(shown=self._shown, timeout=self._timeout)
        )

    def _explained(self, problem: BaseException, done: str) -> CollectionError:
        """Return the error of a file system as one line without secrets."""
        if isinstance(problem, CollectionError):
            return problem
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())
        for secret in self._secrets:
            reason = reason.replace(secret, "…")
        return CollectionError(
            _(
                "the blobs at {shown} cannot be {done} ({reason}): check that the place exists, that the "
                "server can be reached, and your credentials"
            ).format(shown=self._shown, done=_(done), reason=reason[:300])
        )


def _check_protocol(protocol: str) -> None:
    """Raise CollectionError if fsspec does not know a protocol, or if the package for it is not installed."""
    try:
        from fsspec.registry import known_implementations, registry
    except ImportError:
        raise CollectionError(
            _("blobs in a bucket need the extra milvus: run `pip install 'commonplace-rag[milvus]'`")
        ) from None
    if protocol not in known_implementations and protocol not in registry:
        raise CollectionError(
            _("the protocol {protocol}:// of the blobs is not known: give file:///FOLDER or s3://BUCKET/FOLDER").format(
                protocol=protocol
            )
        )
    package = known_implementations.get(protocol, {"class": "fsspec"})["class"].partition(".")[0]
    if find_spec(package) is None:
        raise CollectionError(
            _("blobs at {protocol}:// need the package {package}: run `pip install {package}`").format(
                protocol=protocol, package=package
            )
        )


def _file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path of the URL in it."""
    from fsspec.core import url_to_fs

    system, root = url_to_fs(url, use_listings_cache=False)  # other machines write, too
    return system, str(root).rstrip("/")


def _split(url: str) -> SplitResult:
    """Return the parts of the URL of blobs. Raises CollectionError for what is no URL of a folder."""
    try:
        parts = urlsplit(url)
        valid = (not parts.scheme or not (parts.query or parts.fragment)) and "::" not in url
    except ValueError:
        valid = False
    if not valid:
        raise CollectionError(
            _("the URL of the blobs is not valid: give file:///FOLDER or s3://BUCKET/FOLDER, without options")
        )
    return parts


def _without_secrets(parts: SplitResult) -> tuple[str, tuple[str, ...]]:
    """Return a URL without user and password, and what of these an error must not show."""
    user, at, host = parts.netloc.rpartition("@")
    secrets = {part for name in user.split(":", 1) for part in (name, unquote(name)) if len(part) > 3}
    return f"{parts.scheme}://{host if at else parts.netloc}{parts.path}".rstrip("/"), tuple(sorted(secrets))


def _path(kind: str, name: str) -> str:
    """Return the path of a blob below the root. Raises CollectionError for a name that is no content hash."""
    if not _NAME.fullmatch(name):
        raise CollectionError(
            _("{name!r:.100} is no name of a blob: the collection is damaged; run `commonplace doctor`").format(
                name=name
            )
        )
    return f"{kind}/{name[:2]}/{name}{_ending(kind)}"


def _ending(kind: str) -> str:
    if kind not in ENDINGS:
        raise CollectionError(
            _("{kind!r:.100} is no kind of blob: choose from {endings}").format(kind=kind, endings=", ".join(ENDINGS))
        )
    return ENDINGS[kind]


def _part_of(name: str) -> str:
    """Return the temporary name of a file that is not complete yet; no other writer has the same."""
    return f".{name}.{uuid.uuid4().hex}.part"


def _sync(folder: Path) -> None:
    """Write the names in a folder to disk, so that a renamed file is there after a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _raise_unless_missing(problem: OSError) -> None:
    if not isinstance(problem, FileNotFoundError):
        raise problem


def _unless_missing(function: Callable[[], T]) -> T | None:
    """Return the result of a function; None if the file does not exist."""
    try:
        return function()
    except FileNotFoundError:
        return None


def is_blob_name(name: str) -> bool:
    """Return whether a blob can have this name."""
    return _NAME.fullmatch(name) is not None
