"""File types: detected from the first bytes, and from the name only where the bytes do not decide."""

from __future__ import annotations

import errno
import importlib.util
import os
import re
import stat
from collections.abc import Container, Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from commonplace.errors import ReadError
from commonplace.i18n import _, system_reason

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "are_recordings_readable",
    "belongs_to_picture",
    "belongs_to_recording",
    "is_offered",
    "is_offered_name",
    "is_streamed",
    "load_reader",
    "looks_like_text",
    "media_type",
    "open_regular",
    "os_error_reason",
    "read_whole",
    "sidecars_of",
    "sniff",
    "subtitles_of",
    "suffix_of",
    "utf16",
]

HEAD = 4096  # bytes that are read to detect the type of a file

_GROUP = "commonplace.readers"

_OFFICE = "application/vnd.openxmlformats-officedocument."
_WORD, _SLIDES = _OFFICE + "wordprocessingml.document", _OFFICE + "presentationml.presentation"
_SHEETS = _OFFICE + "spreadsheetml.sheet"
_ODF = "application/vnd.oasis.opendocument."

#: Maps a media type (or ``major/*``) to its reader, as ``module:function``. Other packages add readers through the
#: entry point group ``commonplace.readers``: the entry point's name is the media type, or a suffix such as ``.recipe``.
FORMATS = {
    "text/*": "commonplace.readers.text:read_text",
    "text/markdown": "commonplace.readers.markdown:read_markdown",
    "text/x-python": "commonplace.readers.code:read_python",
    "text/x-c": "commonplace.readers.code:read_code",
    "text/x-java": "commonplace.readers.code:read_code",
    "text/javascript": "commonplace.readers.code:read_code",
    "text/typescript": "commonplace.readers.code:read_code",
    "text/x-source": "commonplace.readers.code:read_code",
    "text/x-rst": "commonplace.readers.rst:read_rst",
    "text/x-tex": "commonplace.readers.latex:read_latex",
    "text/asciidoc": "commonplace.readers.asciidoc:read_asciidoc",
    "text/org": "commonplace.readers.org:read_org",
    "application/x-subrip": "commonplace.readers.subtitles:read_subtitles",
    "text/vtt": "commonplace.readers.subtitles:read_subtitles",
    "text/x-ssa": "commonplace.readers.subtitles:read_subtitles",
    "text/x-lrc": "commonplace.readers.subtitles:read_subtitles",
    "text/vcard": "commonplace.readers.cards:read_contacts",
    "text/calendar": "commonplace.readers.cards:read_calendar",
    "application/json": "commonplace.readers.structured:read_json",
    "application/jsonl": "commonplace.readers.structured:read_json_lines",
    "application/xml": "commonplace.readers.structured:read_xml",
    "application/yaml": "commonplace.readers.structured:read_yaml",
    "application/toml": "commonplace.readers.text:read_text",
    "text/html": "commonplace.readers.html:read_html",
    "application/xhtml+xml": "commonplace.readers.html:read_html",
    "multipart/related": "commonplace.readers.mhtml:read_mhtml",
    "application/rss+xml": "commonplace.readers.feeds:read_feed",
    "application/atom+xml": "commonplace.readers.feeds:read_feed",
    "application/warc": "commonplace.readers.warc:read_warc",
    "text/csv": "commonplace.readers.sheets:read_csv",
    "text/tab-separated-values": "commonplace.readers.sheets:read_csv",
    "text/rtf": "commonplace.readers.rtf:read_rtf",
    "application/x-ipynb+json": "commonplace.readers.notebook:read_notebook",
    "message/rfc822": "commonplace.readers.mail:read_mail",
    "application/mbox": "commonplace.readers.mail:read_mailbox",
    "application/vnd.ms-outlook": "commonplace.readers.outlook:read_msg",
    "application/zip": "commonplace.readers.archive:read_zip",
    "application/x-tar": "commonplace.readers.archive:read_tar",
    "application/gzip": "commonplace.readers.archive:read_compressed",
    "application/x-bzip2": "commonplace.readers.archive:read_compressed",
    "application/x-xz": "commonplace.readers.archive:read_compressed",
    "application/x-7z-compressed": "commonplace.readers.archive:read_7z",
    "application/msword": "commonplace.readers.legacy:read_doc",
    "application/vnd.ms-powerpoint": "commonplace.readers.legacy:read_ppt",
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
    "image/avif": "commonplace.readers.pictures:read_picture",
    "image/heic": "commonplace.readers.pictures:read_picture",
    "image/svg+xml": "commonplace.readers.svg:read_svg",
    "video/*": "commonplace.readers.video:read_video",
    "audio/*": "commonplace.readers.sound:read_sound",
}

_EXTENSIONS = {
    "application/pdf": "pdf",
    "image/jpeg": "jpg jpeg jpe jfif",
    "image/png": "png apng",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/bmp": "bmp dib",
    "image/tiff": "tif tiff",
    "image/avif": "avif avifs",
    "image/heic": "heic heif hif",
    "image/svg+xml": "svg",
    "video/mp4": "mp4 m4v",
    "video/quicktime": "mov qt",
    "video/3gpp": "3gp 3g2",
    "video/x-matroska": "mkv",
    "video/webm": "webm",
    "video/x-msvideo": "avi",
    "video/mpeg": "mpg mpeg mpe vob m2v",
    "video/mp2t": "mts m2ts",
    "video/x-flv": "flv",
    "video/x-ms-wmv": "wmv asf",
    "video/ogg": "ogv",
    "audio/x-wav": "wav",
    "audio/mpeg": "mp3",
    "audio/flac": "flac",
    "audio/mp4": "m4a m4b",
    "audio/ogg": "ogg oga opus spx",
    "audio/aac": "aac",
    "audio/x-aiff": "aiff aif aifc",
    "audio/x-ms-wma": "wma",
    "audio/x-matroska": "mka",
    "text/markdown": "md markdown mdown mkd",
    "text/html": "html htm",
    "application/xhtml+xml": "xhtml xht",
    "application/rss+xml": "rss",
    "application/atom+xml": "atom",
    "application/warc": "warc",
    "text/rtf": "rtf",
    "application/x-ipynb+json": "ipynb",
    "message/rfc822": "eml",
    "multipart/related": "mht mhtml",
    "application/mbox": "mbox mbx",
    "application/vnd.ms-outlook": "msg",
    "application/zip": "zip",
    "application/x-tar": "tar",
    "application/gzip": "gz tgz",
    "application/x-bzip2": "bz2 tbz2 tbz",
    "application/x-xz": "xz txz",
    "application/x-7z-compressed": "7z",
    "application/msword": "doc dot",
    "application/vnd.ms-powerpoint": "ppt pps pot",
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
    "text/x-rst": "rst rest",
    "text/x-tex": "tex latex ltx",
    "text/asciidoc": "adoc asciidoc",
    "text/org": "org",
    "application/x-subrip": "srt",
    "text/vtt": "vtt",
    "text/x-ssa": "ass ssa",
    "text/x-lrc": "lrc",
    "text/vcard": "vcf vcard",
    "text/calendar": "ics ical ifb",
    "text/plain": "txt text log nfo textile wiki rtx me readme 1st cfg conf ini properties",
    "application/json": "json geojson",
    "application/jsonl": "jsonl ndjson",
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

#: Maps a file name suffix (with its dot, in lower case) to a media type: the files that a walk offers for reading.
SUFFIXES = MappingProxyType({f".{end}": kind for kind, ends in _EXTENSIONS.items() for end in ends.split()})

_SUBTITLES = tuple(end for end, kind in SUFFIXES.items() if FORMATS.get(kind, "").endswith("read_subtitles"))
_RECORDINGS = (*(end for end, kind in SUFFIXES.items() if kind.startswith(("video/", "audio/"))), ".ts")
_PICTURES = tuple(end for end, kind in SUFFIXES.items() if kind.startswith("image/"))
_SIDECAR = ".xmp"
_MAX_LANGUAGE = 12  # characters of what stands before the ending of subtitles: .en, .zh-Hans, .forced

#: Types whose files are never text. A text file with such a name gets a text type.
_ARCHIVES = {"application/zip", "application/x-tar", "application/gzip", "application/x-bzip2", "application/x-xz"}
_ARCHIVES |= {"application/x-7z-compressed"}
_BINARY = {kind for kind in FORMATS if kind.split("/")[0] == "image" or "vnd." in kind or kind.endswith("zip")}
_BINARY -= {"image/svg+xml"}
_BINARY |= _ARCHIVES | {"application/msword"} | {kind for kind in _EXTENSIONS if kind.startswith(("video/", "audio/"))}

#: Types that are text for the most part, with bytes of any kind inside. Their readers say where they are damaged.
_MIXED = {"message/rfc822", "application/mbox", "application/pdf"}

_MAGIC = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "image/tiff"),
    # A general brand (mif1, msf1) says only among the others what the picture is.
    (re.compile(rb".{4}ftyp(?:avi[fs]|m[is]f1.{4}(?:.{4}){0,8}?avi[fs])", re.DOTALL), "image/avif"),
    (re.compile(rb".{4}ftyp(?:hei[cmsx]|hev[cmsx]|m[is]f1)", re.DOTALL), "image/heic"),
    (re.compile(rb"\x1f\x8b\x08"), "application/gzip"),
    (re.compile(rb"BZh[1-9]1AY&SY"), "application/x-bzip2"),
    (re.compile(rb"\xfd7zXZ\0"), "application/x-xz"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "application/x-7z-compressed"),
    (re.compile(rb".{257}ustar", re.DOTALL), "application/x-tar"),
    # Many texts begin with "BM", so a valid header size is required too.
    (re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c\x10]\0\0\0", re.DOTALL), "image/bmp"),
)
_RECORDING_MAGIC = (
    (re.compile(rb".{4}ftypM4[ABP] ", re.DOTALL), "audio/mp4"),
    (re.compile(rb"(?:RIFF|RF64).{4}WAVE", re.DOTALL), "audio/x-wav"),
    (re.compile(rb"fLaC"), "audio/flac"),
    (re.compile(rb"OggS.{24,80}\x80theora", re.DOTALL), "video/ogg"),
    (re.compile(rb"OggS"), "audio/ogg"),
    (re.compile(rb"FORM.{4}AIF[FC]", re.DOTALL), "audio/x-aiff"),
    (re.compile(rb"ID3[\x02-\x04]"), "audio/mpeg"),
    (re.compile(rb".{4}ftyp(?:qt  )", re.DOTALL), "video/quicktime"),
    (re.compile(rb".{4}ftyp3g", re.DOTALL), "video/3gpp"),
    # Sound and still pictures have brands of their own.
    (re.compile(rb".{4}ftyp(?!M4[ABP]|hei[cmsx]|he[iv]|avi[fs]|mif1|msf1|jp2|jpx|crx )", re.DOTALL), "video/mp4"),
    (re.compile(rb".{4}(?:moov|mdat|wide)\0*.{0,8}", re.DOTALL), "video/quicktime"),
    (re.compile(rb"\x1aE\xdf\xa3.{0,60}webm", re.DOTALL), "video/webm"),
    (re.compile(rb"\x1aE\xdf\xa3"), "video/x-matroska"),
    (re.compile(rb"RIFF.{4}AVI ", re.DOTALL), "video/x-msvideo"),
    (re.compile(rb"\0\0\x01[\xba\xb3]"), "video/mpeg"),
    (re.compile(rb"G.{187}G.{187}G.{187}G|.{4}G.{191}G.{191}G", re.DOTALL), "video/mp2t"),
    (re.compile(rb"FLV\x01"), "video/x-flv"),
    (re.compile(rb"0&\xb2u\x8ef\xcf\x11"), "video/x-ms-wmv"),
)
#: Containers of sound whose first bytes may be those of a video. The name of the file decides between the two.
_SOUND_IN = {
    "audio/mp4": ("video/mp4", "video/quicktime", "video/3gpp"),
    "audio/x-matroska": ("video/x-matroska", "video/webm"),
    "audio/x-ms-wma": ("video/x-ms-wmv",),
    "audio/aac": ("audio/mpeg",),  # ID3 tags may stand before either
    "audio/flac": ("audio/mpeg",),
}
_MAILBOX = re.compile(rb"From \S+ +[^\r\n]*\d\d:\d\d[^\r\n]*\d{4}[^\r\n]*\r?\n[A-Za-z][A-Za-z-]*:")
_HTML = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html[\s>])", re.IGNORECASE | re.DOTALL
)
_FEED = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<[!?][^>]*>\s*)*<(?:(rss)[\s>]|feed\s[^>]*w3\.org/2005/Atom|"
    rb"(rdf:RDF)\s[^>]*purl\.org/rss/)",
    re.IGNORECASE,
)
_SVG = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*|<[!?][^>]*>\s*)*<(?:svg:)?svg[\s>]", re.DOTALL)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Types detected from the first member names in a ZIP, where the name of the file does not decide.
_PACKAGE_MAGIC = (
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
    """Return the plug-in readers by media type."""
    return {_type_of_entry(entry.name): entry for entry in entry_points(group=_GROUP)}


def _type_of_entry(name: str) -> str:
    """Return the media type for an entry point's name: a media type, or a suffix for which there is no media type."""
    return f"application/x-{name[1:].lower()}" if name.startswith(".") else name


def format_of(kind: str) -> EntryPoint | None:
    """Return the entry point of the reader for a media type. The exact type goes before ``major/*``, and of each a
    plug-in before the built-in reader."""
    for name in (kind, kind.split("/")[0] + "/*"):
        if name in _plugins():
            return _plugins()[name]
        if name in FORMATS:
            return EntryPoint(name, FORMATS[name], _GROUP)
    return None


def load_reader(entry: EntryPoint) -> Any:
    """Return the function of a reader. Raises ReadError that names the entry point if it cannot be imported."""
    try:
        return entry.load()
    except Exception as problem:  # the code of another package may raise anything
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())[:200]
        raise ReadError(
            _("the plug-in {name} of {group} ({value}) cannot be loaded ({reason}); correct or remove it").format(
                name=entry.name, group=_GROUP, value=entry.value, reason=reason
            )
        ) from problem


def _type_by_name(name: str) -> str | None:
    """Return the media type for the suffix of a file name."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix and _type_of_entry(suffix) in _plugins():
        return _type_of_entry(suffix)
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    if suffix and _plugins():
        import mimetypes

        guess = mimetypes.guess_type(name)[0]
        return guess if guess in _plugins() else None
    return None


def is_offered(path: Path) -> bool:
    """Return whether a walk should offer this file: it has a supported suffix, or no suffix and supported content."""
    if path.suffix or _type_by_name(path.name) is not None:
        return is_offered_name(path.name)
    try:
        return media_type(path) is not None
    except (OSError, ReadError):
        return False


def is_offered_name(name: str) -> bool:
    """Return whether a file of this name has a supported suffix."""
    kind = _type_by_name(name)
    return kind is not None and format_of(kind) is not None


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, without blocking on a pipe, device or socket.

    Raises:
        ReadError: the file is missing, unreadable, a circular link, or not a regular file.
    """
    try:
        # O_NONBLOCK: a pipe may have replaced the file since the walk
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        raise ReadError(os_error_reason(error)) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ReadError(_("not a regular file; add a file or a folder"))
    return os.fdopen(handle, "rb")


def read_whole(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        ReadError: the file cannot be opened or read, is empty, has more than ``max_bytes``, or changed meanwhile.
    """
    with open_regular(path) as stream:
        try:
            size = os.fstat(stream.fileno()).st_size
            if size > max_bytes:
                raise ReadError(
                    _("{size:.0f} MB, over the limit of {max_bytes:.0f} MB; split it").format(
                        size=size / 2**20, max_bytes=max_bytes / 2**20
                    )
                )
            data = stream.read(size + 1)  # not max_bytes: read() allocates all that is requested
        except OSError as error:
            raise ReadError(_("cannot be read: {reason}; check the disk").format(reason=system_reason(error))) from None
    if len(data) != size:
        raise ReadError(_("changed while it was read; add it again"))
    if not data:
        raise ReadError(_("is empty, so there is nothing to read; add another file"))
    return data


def os_error_reason(error: OSError | ValueError) -> str:
    """Return one line that says what failed in the file system and what to do."""
    reasons = {
        errno.ENOENT: _("no such file or folder; check the path"),
        errno.EACCES: _("permission denied; make it readable and add it again"),
        errno.EPERM: _("permission denied; make it readable and add it again"),
        errno.ELOOP: _("a circular link; remove or repair the link"),
        errno.ENAMETOOLONG: _("the name is too long for the file system; check the path"),
        errno.ENXIO: _("not a regular file; add a file or a folder"),
    }
    if isinstance(error, UnicodeError):
        return _("not a valid path (it contains half of a surrogate pair, which is no character); check the path")
    if isinstance(error, ValueError):
        return _("not a valid path (it contains a zero character); check the path")
    return reasons.get(
        error.errno or 0,
        _("cannot be opened ({reason}); check the file and add it again").format(reason=system_reason(error)),
    )


def media_type(path: str | Path) -> str | None:
    """Return the media type of a file, or None where it is not supported.

    Raises:
        ReadError: the file cannot be opened.
    """
    with open_regular(Path(path)) as stream:
        return sniff(stream.read(HEAD), Path(path).name)


def sniff(head: bytes, name: str) -> str | None:
    """Detect the media type from the first ``HEAD`` bytes of a file and, where they do not decide, its name."""
    for magic, kind in _MAGIC:
        if magic.match(head):
            return kind
    if b"%PDF-" in head[:1024]:
        return "application/pdf"
    type_by_name = _type_by_name(name)
    if not looks_like_text(head):
        for magic, kind in _RECORDING_MAGIC:
            if magic.match(head):
                return str(type_by_name) if kind in _SOUND_IN.get(type_by_name or "", ()) else kind
    if head.startswith(b"WARC/1."):
        return "application/warc"
    if type_by_name in (None, "text/plain", "application/xml") and (feed := _FEED.match(head.removeprefix(_BOMS[0]))):
        return "application/rss+xml" if feed[1] or feed[2] else "application/atom+xml"
    if type_by_name in (None, "text/plain", "application/xml") and _SVG.match(head.removeprefix(_BOMS[0])):
        return "image/svg+xml"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", _OLE)):
        return _type_of_package(head, type_by_name)
    if head.startswith(b"{\\rtf"):
        return "text/rtf"
    if type_by_name in (None, "text/plain", "message/rfc822") and _MAILBOX.match(head):
        return "application/mbox"
    if looks_like_text(head):
        if type_by_name is None or type_by_name in _BINARY:
            return "text/html" if _HTML.match(head) else "text/plain"
        if type_by_name in ("text/plain", "application/xml") and _HTML.match(head):
            return "text/html"
        if type_by_name == "application/pdf":  # its header may be damaged and the rest intact
            return type_by_name if b" obj" in head else "text/plain"
        return type_by_name
    # A damaged file goes to the reader that its name claims, which reports the damage. Binary data with a text suffix
    # is not read.
    if type_by_name in _BINARY or type_by_name in _MIXED or type_by_name in _plugins():
        return type_by_name
    return None


def suffix_of(kind: str) -> str | None:
    """Return the usual suffix, with its dot, of files of a media type; None for an unknown type."""
    suffixes = _EXTENSIONS.get(kind)
    return f".{suffixes.split()[0]}" if suffixes else None


def is_streamed(kind: str) -> bool:
    """Return whether files of a media type are read piece by piece: they may be larger than memory."""
    entry = format_of(kind)
    return entry is not None and entry.value in (FORMATS["video/*"], FORMATS["audio/*"])


def are_recordings_readable() -> bool:
    """Return whether the extra ``video`` is installed, which reads sound, too."""
    return importlib.util.find_spec("av") is not None


def subtitles_of(recording: str, names: Iterable[str]) -> list[str]:
    """Return which of the files beside a video or a recording hold what is said in it.

    These are ``film.srt`` and ``film.en.vtt`` of ``film.mp4``, and ``song.lrc`` of ``song.mp3``.
    """
    stem = os.path.splitext(recording)[0]
    return sorted(name for name in names if stem in _stems_of_subtitles(name))


def belongs_to_recording(name: str, names: Container[str]) -> bool:
    """Return whether a file holds the subtitles of one of the recordings beside it, which is read with them."""
    return any(stem + suffix in names for stem in _stems_of_subtitles(name) for suffix in _RECORDINGS) and (
        are_recordings_readable()
    )


def sidecars_of(picture: str) -> tuple[str, ...]:
    """Return the names that the XMP sidecar of a photograph may have: ``a.jpg.xmp`` and ``a.xmp`` of ``a.jpg``."""
    return f"{picture}{_SIDECAR}", f"{os.path.splitext(picture)[0]}{_SIDECAR}"


def belongs_to_picture(name: str, names: Container[str]) -> bool:
    """Return whether a file is the XMP sidecar of one of the pictures beside it, which is read with it."""
    stem, suffix = os.path.splitext(name)
    if suffix != _SIDECAR:
        return False
    return stem in names or any(stem + ending in names for end in _PICTURES for ending in (end, end.upper()))


def _stems_of_subtitles(name: str) -> tuple[str, ...]:
    """Return the names, without their endings, of recordings that a file may hold the subtitles of."""
    stem, suffix = os.path.splitext(name)
    if suffix.lower() not in _SUBTITLES:
        return ()
    shorter, language = os.path.splitext(stem)
    return (stem, shorter) if 1 < len(language) <= _MAX_LANGUAGE and shorter else (stem,)


def _type_of_package(head: bytes, type_by_name: str | None) -> str | None:
    """Return the type of a ZIP or OLE file: from its name if that is a package type, else from its first members."""
    if type_by_name in _plugins() or (type_by_name in _BINARY and not type_by_name.startswith("image/")):
        return type_by_name
    if head.startswith(_OLE):
        return None
    return next((kind for magic, kind in _PACKAGE_MAGIC if magic.match(head)), "application/zip")


def looks_like_text(head: bytes) -> bool:
    """Return whether the first bytes of a file may be text in some encoding."""
    if head.startswith(_BOMS):
        return True
    if utf16(head) is not None or len(head.translate(None, _CONTROLS)) >= 0.98 * len(head):
        return True
    from commonplace.readers.detection import east_asian_utf16

    return east_asian_utf16(head) is not None


def utf16(head: bytes) -> str | None:
    """Return the byte order of UTF-16 without a byte order mark: in western text every second byte is zero."""
    if len(head) < 4 or head.count(0) * 4 < len(head):
        return None
    for letters, encoding in ((head[::2], "utf-16-le"), (head[1::2], "utf-16-be")):
        if len(letters.translate(None, _CONTROLS)) >= 0.98 * len(letters):
            return encoding
    return None
