"""What a PDF has beside the text of its pages: notes, form fields, the addresses of links, and attached files."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import POINTER, byref, c_uint8, c_ulong, c_ushort, cast, create_string_buffer
from typing import Any

import pypdfium2.raw as pdfium

from commonplace.i18n import _
from commonplace.readers.archive import read_inside
from commonplace.readers.parts import File, Part
from commonplace.readers.pdf_glyphs import PageGlyphs
from commonplace.readers.pdf_images import page_fractions
from commonplace.types import Box

__all__ = ["page_notes", "read_attachments"]

_NOTES = {
    pdfium.FPDF_ANNOT_TEXT, pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_HIGHLIGHT, pdfium.FPDF_ANNOT_UNDERLINE,
    pdfium.FPDF_ANNOT_SQUIGGLY, pdfium.FPDF_ANNOT_STRIKEOUT, pdfium.FPDF_ANNOT_CARET, pdfium.FPDF_ANNOT_STAMP,
    pdfium.FPDF_ANNOT_INK, pdfium.FPDF_ANNOT_SQUARE, pdfium.FPDF_ANNOT_CIRCLE, pdfium.FPDF_ANNOT_LINE,
    pdfium.FPDF_ANNOT_POLYGON, pdfium.FPDF_ANNOT_POLYLINE,
}  # fmt: skip
_MAX_NOTES = 500  # on one page
_MAX_ADDRESS = 2000  # characters
_MAX_ATTACHMENTS = 500
_OFF = ("Off", "/Off", "")


def page_notes(document: Any, page: Any, glyphs: PageGlyphs) -> list[tuple[str, Box | None]]:
    """Return the texts of a page's annotations and form fields, and the addresses of its links, each with its box.

    An address that the page shows is left out.
    """
    notes: list[tuple[str, Box | None]] = []
    shown = "".join(glyphs.text.split())
    addresses: set[str] = set()
    for number in range(min(_MAX_NOTES, max(0, pdfium.FPDFPage_GetAnnotCount(page)))):
        annotation = pdfium.FPDFPage_GetAnnot(page, number)
        if not annotation:
            continue
        try:
            kind = pdfium.FPDFAnnot_GetSubtype(annotation)
            text = ""
            box = _box(page, annotation)
            if kind == pdfium.FPDF_ANNOT_WIDGET:
                text = _field(annotation)
            elif kind == pdfium.FPDF_ANNOT_LINK:
                address = _address(document, annotation)
                if address and address not in addresses and address.rstrip("/").partition("://")[2] not in shown:
                    addresses.add(address)
                    name = _text_in(glyphs, box)
                    text = f"{name}: {address}" if name else address
            elif kind in _NOTES and (contents := _string(annotation, b"Contents")):
                text = f"Note: {contents}"
            if text:
                notes.append((text, box))
        finally:
            pdfium.FPDFPage_CloseAnnot(annotation)
    return notes


def _box(page: Any, annotation: Any) -> Box | None:
    rect = pdfium.FS_RECTF()
    if not pdfium.FPDFAnnot_GetRect(annotation, byref(rect)):
        return None
    return page_fractions(page, rect.left, rect.bottom, rect.right, rect.top)


def _field(annotation: Any) -> str:
    """Return the name and value of a form field; a box to tick says whether it is ticked."""
    name, value = _string(annotation, b"TU") or _string(annotation, b"T"), _string(annotation, b"V")
    state = _string(annotation, b"AS")
    if state and name and (value in _OFF or value == state or state in _OFF):
        return f"[{' ' if state in _OFF else 'x'}] {name}"
    return f"{name}: {value}" if name and value not in _OFF else value if value not in _OFF else ""


def _address(document: Any, annotation: Any) -> str:
    link = pdfium.FPDFAnnot_GetLink(annotation)
    action = pdfium.FPDFLink_GetAction(link) if link else None
    if not action or pdfium.FPDFAction_GetType(action) != pdfium.PDFACTION_URI:
        return ""
    length = pdfium.FPDFAction_GetURIPath(document, action, None, 0)
    if not 1 < length <= _MAX_ADDRESS:
        return ""
    buffer = create_string_buffer(length)
    pdfium.FPDFAction_GetURIPath(document, action, buffer, length)
    return " ".join(buffer.raw[: length - 1].decode("utf-8", "replace").split())


def _text_in(glyphs: PageGlyphs, box: Box | None) -> str:
    """Return the words whose middle lies in a box."""
    if box is None:
        return ""
    left, right = box[0] * glyphs.width, box[2] * glyphs.width
    top, bottom = box[1] * glyphs.height, box[3] * glyphs.height
    text = ""
    for word in glyphs.words:
        if left <= (word.left + word.right) / 2 <= right and top <= (word.top + word.bottom) / 2 <= bottom:
            text += word.text if word.glued else f" {word.text}"
    return " ".join(text.split())[:200]


def _string(annotation: Any, key: bytes) -> str:
    length = pdfium.FPDFAnnot_GetStringValue(annotation, key, None, 0)
    if not 2 < length < 100_000:
        return ""
    buffer = create_string_buffer(length)
    pdfium.FPDFAnnot_GetStringValue(annotation, key, cast(buffer, POINTER(c_ushort)), length)
    return " ".join(buffer.raw[: length - 2].decode("utf-16-le", "replace").replace("\0", " ").split())


def read_attachments(document: Any, file: File) -> Iterator[Part]:
    """Yield the parts of the files that are attached to a PDF, as its members."""
    for number in range(min(_MAX_ATTACHMENTS, max(0, pdfium.FPDFDoc_GetAttachmentCount(document)))):
        if file.quota.is_used_up:
            file.problems.append(_("not all attachments were read: {reason}").format(reason=file.quota.reason))
            return
        attachment = pdfium.FPDFDoc_GetAttachment(document, number)
        if not attachment:
            continue
        length = pdfium.FPDFAttachment_GetName(attachment, None, 0)
        name = "attachment"
        if 2 < length < 10_000:
            buffer = create_string_buffer(length)
            pdfium.FPDFAttachment_GetName(attachment, cast(buffer, POINTER(c_ushort)), length)
            name = buffer.raw[: length - 2].decode("utf-16-le", "replace")
        size = c_ulong()
        if not pdfium.FPDFAttachment_GetFile(attachment, None, 0, byref(size)) or not size.value:
            continue
        if size.value > min(file.quota.bytes, file.options.max_bytes):
            file.problems.append(_("{name}: too large to be unpacked; save it and add it").format(name=name))
            continue
        data = (c_uint8 * size.value)()
        if pdfium.FPDFAttachment_GetFile(attachment, data, size.value, byref(size)):
            file.quota.bytes -= size.value
            yield from read_inside(file, name, bytes(data))
