"""Page views: the page or picture that a citation refers to, with a line around the cited box."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from commonplace.atomic import atomic_write
from commonplace.errors import CommonplaceError, ReadError
from commonplace.i18n import _
from commonplace.readers import ReadOptions
from commonplace.store import Store
from commonplace.types import Box, Item

__all__ = ["PageView", "page_view"]

_FULL: Box = (0.0, 0.0, 1.0, 1.0)
_INK = (214, 39, 40)
_CLEAR = 0.004  # distance between the line and the box, as a share of the longer side


_KINDS = {"": "PNG", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


@dataclass(frozen=True, slots=True)
class PageView:
    """A page or picture as RGB pixels (height, width, 3), with a line around ``box``.

    ``box`` is in fractions of the page (0 to 1); None means the full page. ``note`` is the reason if the page was not
    drawn from the file; otherwise None.
    """

    pixels: NDArray[np.uint8]
    box: Box | None = None
    note: str | None = None

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save the page as a picture file and return its path. The ending is .png, .jpg, .jpeg or .webp.

        An existing file is replaced only after the new one is completely written. Raises CommonplaceError if the file
        cannot be written, or has another ending.
        """
        from PIL import Image

        place = Path(path)
        kind = _KINDS.get(place.suffix.lower())
        if kind is None:
            raise CommonplaceError(
                _("{place} does not have the ending of a picture file: use .png").format(place=place)
            )
        with atomic_write(place, _("the picture")) as file:
            Image.fromarray(self.pixels).save(file, kind)
        return place


def page_view(item: Item, store: Store, options: ReadOptions, side: int) -> PageView:
    """Return the page or picture that contains ``item``; see ``commonplace.Collection.page()``.

    ``side`` is the length of the longer side in pixels. Raises ReadError if neither the file nor a stored picture can
    be drawn.
    """
    from commonplace.ingest import draw_page

    document, span = item.document, item.span
    is_picture = document.media_type.startswith("image/")
    why = _("only pages of PDF files and pictures can be drawn")
    if span.member is not None:
        why = _("the item is in {member}, inside the file").format(member=span.member)
    elif is_picture or (document.media_type == "application/pdf" and span.page is not None):
        why = _("its file is missing")
        for source in _sources(item, store, options.max_bytes):
            try:
                pixels, content = draw_page(source, span.page, side, options)
            except ReadError as problem:
                why = _("its file cannot be drawn: {problem}").format(problem=problem)
                continue
            if content == document.content_hash:
                return PageView(_framed(pixels, span.box), _part(span.box))
            why = _("its file has changed since: add it again")
    for jpeg, box in _kept(item, store):
        pixels = _decoded(jpeg)
        return PageView(_framed(pixels, box), _part(box), _("drawn from the stored picture: {why}").format(why=why))
    raise ReadError(
        _("{path}: {why}, and the collection has no stored picture of it").format(path=document.path, why=why)
    )


def _sources(item: Item, store: Store, max_bytes: int) -> Iterator[Path | bytes]:
    """Yield possible sources of the document: the content of a record, its file, and other files with its content."""
    from commonplace.ingest import RemoteFile, fetch

    document = item.document
    if document.is_record and (original := store.original(document.id)) is not None:
        yield original
    if document.is_remote:
        with suppress(ReadError):  # other files may have its content
            yield fetch(RemoteFile(document.path), max_bytes)
    same = store.documents(content_hash=document.content_hash) if document.content_hash else ()
    files = [other.path for other in (document, *same) if other.is_file]
    for path in dict.fromkeys(files):
        if os.path.exists(path):
            yield Path(path)


def _kept(item: Item, store: Store) -> Iterator[tuple[bytes, Box | None]]:
    """Yield the stored pictures that contain the item, its own picture first, with the item's box in each."""
    box = item.span.box
    place = (item.span.page, item.span.member)
    around = [item] if item.picture else []
    around += [
        other
        for other in store.items_of(item.document.id)
        if other.picture and (other.span.page, other.span.member) == place and other != item
    ]
    for shown in around:
        outer = shown.span.box or _FULL
        inside = None if shown == item else _relative(box, outer) if box else None
        jpeg = store.thumbnail(shown.picture or "") if shown == item or inside else None
        if jpeg is not None:
            yield jpeg, inside


def _relative(box: Box, outer: Box) -> Box | None:
    """Return ``box`` in fractions of the box ``outer`` that contains it; None if it does not contain it."""
    near = 0.005
    if box[0] < outer[0] - near or box[1] < outer[1] - near or box[2] > outer[2] + near or box[3] > outer[3] + near:
        return None
    width, height = outer[2] - outer[0], outer[3] - outer[1]
    if min(width, height) <= 0:
        return None
    edges = [
        min(1.0, max(0.0, (edge - start) / size))
        for edge, start, size in zip(box, outer[:2] * 2, (width, height) * 2, strict=True)
    ]
    return edges[0], edges[1], edges[2], edges[3]


def _part(box: Box | None) -> Box | None:
    return None if box == _FULL else box


def _decoded(jpeg: bytes) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def _framed(pixels: NDArray[np.uint8], box: Box | None) -> NDArray[np.uint8]:
    """Return the pixels with a line around ``box``, just outside the box."""
    if _part(box) is None:
        return pixels
    from PIL import Image, ImageDraw

    assert box is not None
    height, width = pixels.shape[:2]
    line = max(2, round(max(height, width) / 400))
    clear = max(2, round(_CLEAR * max(height, width))) + line
    image = Image.fromarray(pixels)
    left, top = max(0, round(box[0] * width) - clear), max(0, round(box[1] * height) - clear)
    right, bottom = min(width - 1, round(box[2] * width) + clear), min(height - 1, round(box[3] * height) + clear)
    ImageDraw.Draw(image).rectangle((left, top, max(left, right), max(top, bottom)), outline=_INK, width=line)
    return np.asarray(image)
