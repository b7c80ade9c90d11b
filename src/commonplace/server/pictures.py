"""Pictures and files of responses and requests."""

from __future__ import annotations

import base64
import binascii
import io
import re

from fastapi import Response

from commonplace.i18n import _
from commonplace.pages import PageView
from commonplace.server.access import View
from commonplace.server.problems import BadRequest
from commonplace.types import Item

__all__ = ["item_picture", "page_png", "picture_of", "whole_or_range"]

_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def picture_of(text: str | None, name: str) -> bytes | None:
    """Return the bytes of a picture in base64, or of a data URL. Addresses are never fetched."""
    if text is None:
        return None
    start = _DATA_URL.match(text)
    try:
        return base64.b64decode(text[start.end() :] if start else text, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(_("{name} is no picture in base64, and no data URL").format(name=name)) from None


def item_picture(view: View, item: Item) -> bytes | None:
    """Return the stored picture of an item as JPEG; None if it shows none."""
    return None if item.picture is None else view.collection.store.thumbnail(item.picture)


def page_png(page: PageView) -> bytes:
    """Return a page as a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(page.pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def whole_or_range(content: bytes, media_type: str, headers: dict[str, str], wanted: str | None) -> Response:
    """Return bytes, or the range of them that a ``Range`` header asks for (RFC 9110, one range).

    A header of another form is ignored, as the RFC allows.
    """
    headers = {**headers, "Accept-Ranges": "bytes"}
    match = _RANGE.fullmatch(wanted or "")
    if match is None or not any(match.groups()):
        return Response(content, media_type=media_type, headers=headers)
    first, last = match.groups()
    start = int(first) if first else max(0, len(content) - int(last))
    end = min(int(last) if first and last else len(content) - 1, len(content) - 1)
    if start > end:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{len(content)}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
    return Response(content[start : end + 1], 206, headers, media_type)
