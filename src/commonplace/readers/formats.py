"""What a file is: told by its first bytes, and by its name only where those leave it open."""

from __future__ import annotations

import errno
import os
import re
import stat
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from commonplace.errors import ReadError

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "is_offered",
    "looks_like_text",
    "media_type",
    "open_regular",
    "read_whole",
    "reason_of",
    "sniff",
    "utf16",
]

HEAD = 4096  # bytes that decide what a file is

_GROUP = "commonplace.readers"

_OFFICE = "application/vnd.openxmlformats-officedocument."
_WORD, _SLIDES = _OFFICE + "wordprocessingml.document", _OFFICE + "presentationml.presentation"
_SHEETS = _OFFICE + "spreadsheetml.sheet"
_ODF = "application/vnd.oasis.opendocument."

#: Media type (or ``major/*``) -> where its function is. Other packages add to it through the entry point group
#: ``commonplace.readers``: the entry point's name is the media type.
FORMATS = {
    "text/*": "commonplace.readers.text:read_text",
    "text/markdown": "commonplace.readers.markdown:read_markdown",
    "text/x-python": "commonplace.readers.code:read_python",
    "text/x-c": "commonplace.readers.code:read_code",
    "text/x-java": "commonplace.readers.code:read_code",
    "text/javascript": "commonplace.readers.code:read_code",
    "text/typescript": "commonplace.readers.code:read_code",
    "text/x-source": "commonplace.readers.code:read_code",
    "application/json": "commonplace.readers.text:read_text",
    "application/xml": "commonplace.readers.text:read_text",
    "application/yaml": "commonplace.readers.text:read_text",
    "application/toml": "commonplace.readers.text:read_text",
    "text/html": "commonplace.readers.html:read_html",
    "application/xhtml+xml": "commonplace.readers.html:read_html",
    "text/csv": "commonplace.readers.sheets:read_csv",
    "text/tab-separated-values": "commonplace.readers.sheets:read_csv",
    "text/rtf": "commonplace.readers.rtf:read_rtf",
    "application/x-ipynb+json": "commonplace.readers.notebook:read_notebook",
    "message/rfc822": "commonplace.readers.mail:read_mail",
    "application/vnd.ms-outlook": "commonplace.readers.mail:read_msg",
    "application/zip": "commonplace.readers.archive:read_zip",
    "application/epub+zip": "commonplace.readers.epub:read_epub",
    _WORD: "commonplace.readers.docx:read_docx",
    _SLIDES: "commonplace.readers.pptx:read_pptx",
    _SHEETS: "commonplace.readers.sheets:read_workbook",
    "application/vnd.ms-excel": "commonplace.readers.sheets:read_workbook",
    _ODF + "spreadsheet": "commonplace.readers.sheets:read_workbook",
    _ODF + "text": "commonplace.readers.odf:read_odf",
    _ODF + "presentation": "commonplace.readers.odf:read_odf",
    "application/pdf": "commonplace.readers.pdf:read_pdf",
    "image/jpeg": "commonplace.readers.pictures:read_picture",
    "image/png": "commonplace.readers.pictures:read_picture",
    "image/webp": "commonplace.readers.pictures:read_picture",
    "image/gif": "commonplace.readers.pictures:read_picture",
    "image/bmp": "commonplace.readers.pictures:read_picture",
    "image/tiff": "commonplace.readers.pictures:read_picture",
}

_NAMED = {
    "application/pdf": "pdf",
    "image/jpeg": "jpg jpeg jpe jfif",
    "image/png": "png apng",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/bmp": "bmp dib",
    "image/tiff": "tif tiff",
    "text/markdown": "md markdown mdown mkd",
    "text/html": "html htm",
    "application/xhtml+xml": "xhtml xht",
    "text/rtf": "rtf",
    "application/x-ipynb+json": "ipynb",
    "message/rfc822": "eml mht mhtml",
    "application/vnd.ms-outlook": "msg",
    "application/zip": "zip",
    "application/epub+zip": "epub",
    _WORD: "docx docm dotx dotm",
    _SLIDES: "pptx pptm ppsx ppsm potx",
    _SHEETS: "xlsx xlsm xltx xltm xlsb",
    "application/vnd.ms-excel": "xls",
    _ODF + "spreadsheet": "ods ots",
    _ODF + "text": "odt ott",
    _ODF + "presentation": "odp otp",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv tab",
    "text/x-rst": "rst",
    "text/x-tex": "tex",
    "text/plain": "txt text log nfo srt vtt adoc asciidoc org textile wiki rtx me readme 1st cfg conf ini properties",
    "application/json": "json jsonl ndjson geojson",
    "application/xml": "xml",
    "application/yaml": "yaml yml",
    "application/toml": "toml",
    "text/x-python": "py pyi",
    "text/x-c": "c h cc cpp cxx hpp hh cu",
    "text/x-java": "java",
    "text/javascript": "js mjs cjs jsx",
    "text/typescript": "ts tsx",
    "text/css": "css scss less",
    "text/x-source": "rs go rb php pl pm lua r jl kt kts scala swift cs fs hs ml clj ex exs erl dart m mm sql"
    " sh bash zsh fish ps1 bat cmd vue svelte proto graphql tf nix el lisp scm vim cmake gradle tcl pas f f90"
    " zig v vhd asm s",
}

#: File name suffix, with its dot and in lower case -> media type: the files that a walk offers.
SUFFIXES = MappingProxyType({f".{end}": kind for kind, ends in _NAMED.items() for end in ends.split()})

#: No text, whatever a file with their name begins with.
_BINARY = {kind for kind in FORMATS if kind.split("/")[0] == "image" or "vnd." in kind or kind.endswith("zip")}

_MAGIC = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "image/tiff"),
    # "BM" alone begins many a text: ask for a header size that exists as well
    (re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c\x10]\0\0\0", re.DOTALL), "image/bmp"),
)
_HTML = re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html[\s>])", re.IGNORECASE | re.DOTALL)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# What the first names in a ZIP tell, where the name of the file says nothing of the kind.
_PACKED = (
    (re.compile(rb"PK\x03\x04.{26}mimetypeapplication/epub\+zip", re.DOTALL), "application/epub+zip"),
    (re.compile(rb"PK\x03\x04.{26}mimetype" + re.escape(_ODF).encode() + rb"text", re.DOTALL), _ODF + "text"),
    (re.compile(rb"PK.*(_rels/|\[Content_Types\]).*word/", re.DOTALL), _WORD),
    (re.compile(rb"PK.*(_rels/|\[Content_Types\]).*ppt/", re.DOTALL), _SLIDES),
    (re.compile(rb"PK.*(_rels/|\[Content_Types\]).*xl/", re.DOTALL), _SHEETS),
)
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f\v\b\x1b")) + b"\x7f"


@cache
def _plugins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=_GROUP)}


def format_of(kind: str) -> EntryPoint | None:
    """Return the entry point of the function that reads the media type ``kind``; a plug-in goes before our own."""
    for name in (kind, kind.split("/")[0] + "/*"):
        if name in FORMATS and kind not in _plugins():
            return EntryPoint(name, FORMATS[name], _GROUP)
        if name in _plugins():
            return _plugins()[name]
    return None


def _named(name: str) -> str | None:
    """Return the media type that the file name alone suggests."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    if suffix and _plugins():
        import mimetypes

        guess = mimetypes.guess_type(name)[0]
        return guess if guess in _plugins() else None
    return None


def is_offered(path: Path) -> bool:
    """Return whether a walk should offer this file: a known suffix or, without any, content that we read."""
    kind = _named(path.name)
    if kind is not None:
        return format_of(kind) is not None
    if path.suffix:
        return False
    try:
        return media_type(path) is not None
    except (OSError, ReadError):
        return False


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; a pipe, device or socket is never waited for.

    Raises:
        ReadError: it is missing, unreadable, a link that leads in a circle, or no regular file.
    """
    try:
        # O_NONBLOCK: a file may become a pipe between the walk and now
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        raise ReadError(reason_of(error)) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ReadError("not a regular file; give a file or a folder")
    return os.fdopen(handle, "rb")


def read_whole(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        ReadError: it cannot be opened or read, is empty, has more than ``max_bytes``, or changed meanwhile.
    """
    with open_regular(path) as stream:
        try:
            size = os.fstat(stream.fileno()).st_size
            if size > max_bytes:
                raise ReadError(f"{size / 2**20:.0f} MB, over the limit of {max_bytes / 2**20:.0f} MB; split it")
            data = stream.read(size + 1)  # not the limit: all of what is asked for is set aside
        except OSError as error:
            raise ReadError(f"cannot be read: {error.strerror or error}; check the disk") from None
    if len(data) != size:
        raise ReadError("changed while it was read; add it again")
    if not data:
        raise ReadError("is empty: there is nothing to read")
    return data


def reason_of(error: OSError | ValueError) -> str:
    """Return one line that says why the file system refused."""
    known = {
        errno.ENOENT: "no such file or folder; check the path",
        errno.EACCES: "permission denied; make it readable and add it again",
        errno.EPERM: "permission denied; make it readable and add it again",
        errno.ELOOP: "a link that leads in a circle; remove or mend the link",
        errno.ENAMETOOLONG: "the name is too long for the file system; check the path",
        errno.ENXIO: "not a regular file; give a file or a folder",
    }
    if isinstance(error, ValueError):
        return "not a valid path (it holds a zero character); check the path"
    return known.get(error.errno or 0, f"cannot be opened: {error.strerror or error}")


def media_type(path: str | Path) -> str | None:
    """Return the media type of a file, or None where it is none that we read.

    Raises:
        ReadError: the file cannot be opened.
    """
    with open_regular(Path(path)) as stream:
        return sniff(stream.read(HEAD), Path(path).name)


def sniff(head: bytes, name: str) -> str | None:
    """Return the media type told by the first :data:`HEAD` bytes of a file and, where they leave it open, its name."""
    for magic, kind in _MAGIC:
        if magic.match(head):
            return kind
    if b"%PDF-" in head[:1024]:
        return "application/pdf"
    named = _named(name)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", _OLE)):
        return _packed(head, named)
    if head.startswith(b"{\\rtf"):
        return "text/rtf"
    if looks_like_text(head):
        if named is None or named in _BINARY:
            return "text/html" if _HTML.match(head) else "text/plain"
        if named in ("text/plain", "application/xml") and _HTML.match(head):
            return "text/html"
        if named == "application/pdf":  # its header may be damaged while the rest is whole
            return named if b" obj" in head else "text/plain"
        return named
    # A damaged file goes to the format it claims, which says what is wrong; text that is not text goes nowhere.
    if named in _BINARY or named == "application/pdf" or named in _plugins():
        return named
    return None


def _packed(head: bytes, named: str | None) -> str | None:
    """Return what a ZIP or an OLE file is: by its name where that is of its kind, else by the names it begins with."""
    if named in _BINARY and not named.startswith("image/"):
        return named
    if head.startswith(_OLE):
        return None
    return next((kind for magic, kind in _PACKED if magic.match(head)), "application/zip")


def looks_like_text(head: bytes) -> bool:
    """Return whether the first bytes of a file may be text in some encoding."""
    if head.startswith(_BOMS):
        return True
    return utf16(head) is not None or len(head.translate(None, _CONTROLS)) >= 0.98 * len(head)


def utf16(head: bytes) -> str | None:
    """Return which UTF-16 the first bytes are without saying so: western text has a zero in every second place."""
    if len(head) < 4 or head.count(0) * 4 < len(head):
        return None
    for letters, encoding in ((head[::2], "utf-16-le"), (head[1::2], "utf-16-be")):
        if len(letters.translate(None, _CONTROLS)) >= 0.98 * len(letters):
            return encoding
    return None
