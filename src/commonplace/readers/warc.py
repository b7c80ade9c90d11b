"""Web archives (WARC): each page, document and text that was fetched, under its address."""

from __future__ import annotations

import codecs
import contextlib
import io
from collections.abc import Iterator
from typing import Any

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.archive import read_inside
from commonplace.readers.encodings import decode_as
from commonplace.readers.formats import HEAD, sniff
from commonplace.readers.parts import File, Part

__all__ = ["read_warc"]

_MAX_RECORDS = 100_000
_NOT_READ = ("image/", "audio/", "video/", "font/", "text/css", "text/javascript", "application/javascript")


def read_warc(file: File) -> Iterator[Part]:
    """Yield the parts of each response and resource; pictures, styles and scripts are left out."""
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    unreadable = 0
    records = iter(ArchiveIterator(io.BytesIO(file.data)))
    for number in range(_MAX_RECORDS):
        if file.quota.is_used_up:
            file.problems.append(_("not all records were read: {reason}").format(reason=file.quota.reason))
            return
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # the package prints its warnings
                record = next(records, None)
                content = _content(file, record) if record is not None else None
            if record is None:
                break
        except (ArchiveLoadFailed, ValueError, OSError, EOFError, LookupError, AttributeError):
            if not number:
                raise ReadError(_("a damaged web archive; save a new copy and add it again")) from None
            unreadable += 1
            break
        if content is not None:
            yield from read_inside(file, *content)
    if unreadable:
        file.problems.append(_("the web archive is damaged; what follows the damage was not read"))


def _content(file: File, record: Any) -> tuple[str, bytes] | None:
    """Return the address and the data of a record; None where it is no document that is read."""
    if record.rec_type not in ("response", "resource"):
        return None
    address = record.rec_headers.get_header("WARC-Target-URI") or "record"
    http = record.http_headers
    if http is not None and not (http.get_statuscode() or "").startswith("2"):
        return None
    declared = ((http or record.rec_headers).get_header("Content-Type") or "").lower()
    if declared.startswith(_NOT_READ):
        return None
    data = record.content_stream().read(file.quota.bytes + 1)
    if len(data) > file.quota.bytes:
        raise ReadError(_("its records are larger than the limit when unpacked; split it"))
    file.quota.bytes -= len(data)
    kind = sniff(data[:HEAD], "") if data else None
    if kind is None or kind.startswith("image/"):
        return None
    charset = declared.partition("charset=")[2].split(";")[0].strip("\"' ")
    if charset and kind.startswith("text/") and (decoded := decode_as(data, charset)) is not None and not decoded[1]:
        data = codecs.BOM_UTF8 + decoded[0].encode("utf-8", "replace")  # the server's word goes before the page's
    if declared.startswith("text/html") and kind == "text/plain":  # a page that does not begin like one
        mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
        data = mark + b"<!doctype html>" + data.removeprefix(mark)
    return address, data
