"""PDF: the text of each page with its boxes, its figures, and a picture of the page where it has no text.

``pdf_glyphs`` reads the characters, ``pdf_survey`` looks at all pages first, ``pdf_layout``, ``pdf_tables`` and
``pdf_text`` make paragraphs and tables of a page, ``pdf_headings`` finds the headings among them, ``pdf_vectors`` the
figures that are drawn with lines and shapes, and ``pdf_notes`` reads what is beside the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from ctypes import POINTER, c_ushort, cast, create_string_buffer
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from numpy.typing import NDArray

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import row_groups
from commonplace.readers.chunks import Chunker, shared_chunker
from commonplace.readers.metadata import split_names
from commonplace.readers.ocr import with_ocr
from commonplace.readers.parts import File, ImageBlock, Part, TextBlock, bounding_box
from commonplace.readers.pdf_glyphs import PageGlyphs
from commonplace.readers.pdf_headings import HeadingTracker, page_tags, read_outline
from commonplace.readers.pdf_images import PageFigure, page_figures, render_picture, render_pixels
from commonplace.readers.pdf_notes import page_notes, read_attachments
from commonplace.readers.pdf_survey import Survey
from commonplace.readers.pdf_text import PageParagraph, PageText, PlacedText
from commonplace.readers.pdf_vectors import Stroke, area, find_drawings, overlap_share, page_strokes
from commonplace.types import Box, Span

__all__ = ["page_pixels", "read_pdf"]

_FULL_PAGE: Box = (0.0, 0.0, 1.0, 1.0)
_MAX_FIGURE_AREA = 0.85  # share of the page; a larger figure behind text is a scan or a background
_FIGURES_FILL_PAGE = (
    0.4  # share of a page without text that its figures fill: above it the page needs no picture of its own
)
_MAX_STAMP_TEXT = (
    200  # characters; a scan with less text over it (a stamp, a filled-in name) is treated as having no text
)
_LETTERS = re.compile(r"[^\W_]+")
_TITLE_JUNK = re.compile(r"^(microsoft \w+ - )+|\.(docx?|pptx?|xlsx?|odt|tex|dvi|pdf|indd|rtf|qxd)$", re.IGNORECASE)
_NO_TITLE = re.compile(r"\W*|untitled.*|(document|title|unknown|slide|presentation|no title)\s*\d*", re.IGNORECASE)


def page_pixels(data: bytes, number: int, side: int) -> NDArray[np.uint8]:
    """Render page ``number`` (from 1) of a PDF as RGB pixels (height, width, 3).

    The longer side has about ``side`` pixels. Raises ReadError where there is no such page or it cannot be rendered.
    """
    with _open_document(data) as document:
        if not 1 <= number <= len(document):
            raise ReadError(_("has no page {number}, so the file has changed; add it again").format(number=number))
        try:
            return render_pixels(document[number - 1], _FULL_PAGE, side)
        except pypdfium2.PdfiumError:
            raise ReadError(
                _("page {number} cannot be rendered; save or print a new copy and add it again").format(number=number)
            ) from None


def _open_document(data: bytes) -> Any:
    with suppress(pypdfium2.PdfiumError):
        return pypdfium2.PdfDocument(data)
    with suppress(pypdfium2.PdfiumError):  # resets PDFium's error code, which may be left from another file
        pypdfium2.PdfDocument(b"no PDF")
    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == pdfium.FPDF_ERR_PASSWORD:
            raise ReadError(_("protected by a password; remove the password and add it again")) from None
        raise ReadError(_("a damaged PDF that cannot be opened; save or print a new copy and add it again")) from None


def read_pdf(file: File) -> Iterator[Part]:
    """Yield the parts of the pages in order; a page that cannot be read is reported as a problem."""
    with _open_document(file.data) as document:
        file.title = _title(document)
        _read_metadata(document, file)
        unreadable: list[int] = []
        count = len(document)
        openable = count if file.quota.last_page is None else min(count, file.quota.last_page)
        reader = _Reader(document, file, openable)
        file.has_pages = True
        read = 0
        try:
            for index in range(openable):
                if index and file.quota.is_used_up:
                    break
                try:
                    yield from reader.page(index)
                except MemoryError:
                    raise
                except Exception:  # one damaged page must not cost the others
                    unreadable.append(index + 1)
                read += 1
                file.quota.step()
            yield from reader.end()
        finally:  # also where the common code stops within a page
            if read < count:
                pages_read = _("{read} of {total} pages were read: {reason}")
                file.problems.append(pages_read.format(read=read, total=count, reason=file.quota.reason))
        if count == 0 or len(unreadable) == count:
            raise ReadError(_("a damaged PDF: no page can be read; save or print a new copy and add it again"))
        if unreadable:
            file.problems.append(
                _("{count} of {total} pages cannot be read (page {page_list}); save or print a new copy").format(
                    count=len(unreadable), total=count, page_list=_page_list(unreadable)
                )
            )
        if reader.incomplete:
            file.problems.append(
                _("{count} words of page {page_list} were left out; compare with the file").format(
                    count=sum(reader.incomplete.values()), page_list=_page_list(sorted(reader.incomplete))
                )
            )


def _page_list(pages: list[int]) -> str:
    return ", ".join(map(str, pages[:10])) + (_(" and more") if len(pages) > 10 else "")


def _title(document: Any) -> str | None:
    try:
        raw = " ".join(document.get_metadata_value("Title").split())
    except (pypdfium2.PdfiumError, UnicodeError):
        return None
    title = _TITLE_JUNK.sub("", raw).strip()
    return None if _NO_TITLE.fullmatch(title) else title


def _read_metadata(document: Any, file: File) -> None:
    """Add the metadata that the document declares."""
    list_keys = {"Author": ("author", ";"), "Keywords": ("keyword", ",;"), "Subject": ("subject", "")}
    for name, (key, separators) in {**list_keys, "CreationDate": ("created", ""), "ModDate": ("modified", "")}.items():
        with suppress(pypdfium2.PdfiumError, UnicodeError):
            value = document.get_metadata_value(name)
            file.add_metadata(key, *(split_names(value, separators) if separators else [value]))
    length = pdfium.FPDFCatalog_GetLanguage(document, None, 0)
    if 2 < length < 1000:
        buffer = create_string_buffer(length)
        pdfium.FPDFCatalog_GetLanguage(document, _as_utf16_buffer(buffer), length)
        file.add_metadata("language", buffer.raw[: length - 2].decode("utf-16-le", "replace"))


class _Reader:
    """Reads the pages of a document one after the other; ``incomplete`` counts the words that a page lost."""

    def __init__(self, document: Any, file: File, openable: int) -> None:
        self._document, self._file = document, file
        self._chunker: Chunker = shared_chunker(file.options.tokenizer, file.options.max_tokens)
        self._is_tagged = bool(pdfium.FPDFCatalog_IsTagged(document))
        self._survey = Survey()
        self._survey.read(document, openable, file.quota, self._is_tagged)
        self._headings = HeadingTracker(read_outline(document), self._survey)
        self._picture_keys: set[bytes] = set()
        self._pending: tuple[TextBlock, float] | None = None  # a heading without content yet, and its size
        self.incomplete: dict[int, int] = {}

    def end(self) -> Iterator[Part]:
        """Yield what comes after the pages: a last heading without content, and attached files."""
        yield from self._flush_heading()
        yield from read_attachments(self._document, self._file)

    def page(self, index: int) -> Iterator[Part]:
        """Yield the parts of a page: its text, its notes, its figures, and its picture where it has no text."""
        number = index + 1
        page = self._document[index]
        try:
            glyphs = self._survey.take(index)
            if glyphs is None:
                glyphs = PageGlyphs(page, page.get_textpage(), self._is_tagged)
                self._survey.add_page(index, glyphs)
            strokes = page_strokes(page)
            text = PageText(glyphs, strokes, self._survey.left_out(index), self._survey.vocabulary)
            text_length = len("".join(glyphs.text.split()))
            title_at_top = self._headings.title
            offset = 0
            for part in self._text(index, text, page_tags(page) if self._is_tagged else {}):
                offset = max(offset, part.start + len(part.text) + 2)
                yield part
            offset += 2
            for block_text, box in self._beside(index, page, glyphs):
                yield TextBlock(block_text, offset, None, number, locate=lambda *_, box=box: box)
                offset += len(block_text) + 2
            yield from self._figures(page, number, text, strokes, text_length, offset, title_at_top)
        finally:
            page.close()

    def _text(self, index: int, text: PageText, tags: dict[int, str]) -> Iterator[TextBlock]:
        """Yield the text of a page: a block for each section, and one for each group of rows of a table."""
        number = index + 1
        offset = 0
        waiting = PlacedText()
        written_out: list[str] = []
        largest = 0.0
        oblique: list[PageParagraph] = []

        def block(written: PlacedText, title: str | None) -> TextBlock:
            nonlocal offset
            start, offset = offset, offset + len(written.characters) + 2
            indices = written.indices
            written_out.append(written.text)

            def locate(first: int, last: int) -> Box | None:
                return text.box(indices[first:last])

            unwrapped = re.sub(r"(?<!\n)\n(?!\n)", " ", written.text)
            return TextBlock(written.text, start, title, number, split_as=unwrapped, locate=locate)

        paragraphs = text.paragraphs
        for position, paragraph in enumerate(paragraphs):
            if paragraph.is_oblique:
                oblique.append(paragraph)
                continue
            after = paragraphs[position + 1] if position + 1 < len(paragraphs) else None
            heading = " ".join(paragraph.text.split())
            is_heading = self._headings.is_heading(index, paragraph, after, tags)
            if is_heading and self._chunker.title(heading) == heading:
                if waiting.characters:
                    yield block(waiting, self._headings.title)
                    waiting = PlacedText()
                yield from self._flush_heading(paragraph.size)
                self._headings.begin_section(heading, paragraph)
                text.set_title(paragraph, self._headings.title)
                self._pending = block(paragraph.written, self._headings.title), paragraph.size
                if self._file.title is None or 0 < largest < 0.95 * paragraph.size:
                    self._file.title, largest = heading, paragraph.size
                continue
            self._pending = None
            if paragraph.cells is None:
                is_item = paragraph.is_list_item and waiting.characters and paragraph.gap < 1.6 * paragraph.size
                waiting.extend(paragraph.written, "" if not waiting.characters else "\n" if is_item else "\n\n")
                continue
            rows = _trimmed(paragraph.cells)
            while len(rows) > 2 and len(rows[0]) > 2 and sum(map(bool, (c.characters for c in rows[0]))) == 1:
                name = next(cell for cell in rows.pop(0) if cell.characters)  # the name of a table over its head
                waiting.extend(name, "\n\n" if waiting.characters else "")
            if waiting.characters:
                yield block(waiting, self._headings.title)
                waiting = PlacedText()
            title = self._headings.title
            for group, boxes in self._row_groups(rows, title, text):
                yield TextBlock(group, offset, title, number, locate=_locate_lines(group, boxes), keep_together=True)
                offset += len(group) + 2
                written_out.append(group)
        if waiting.characters:
            yield block(waiting, self._headings.title)
        for paragraph in oblique:
            yield block(paragraph.written, None)
        lost = _lost_words(text, written_out, self._survey.left_out(index))
        if lost:
            self.incomplete[number] = lost

    def _flush_heading(self, size: float = float("inf")) -> Iterator[TextBlock]:
        """Yield the last heading as text if it has no content and the next one is no smaller than it."""
        if self._pending is not None and (size == float("inf") or size > 0.96 * self._pending[1]):
            yield self._pending[0]
        self._pending = None

    def _row_groups(
        self, rows: list[list[PlacedText]], title: str | None, text: PageText
    ) -> Iterator[tuple[str, list[Box | None]]]:
        """Yield the rows of a table as Markdown in groups that fit a chunk, each with the boxes of its lines."""
        cells = [[" ".join(cell.text.split()) for cell in row] for row in rows]
        boxes = [text.box([index for cell in row for index in cell.indices]) for row in rows]
        if len(cells) < 2 or len(cells[0]) < 2:
            yield "\n".join(" | ".join(filter(None, row)) for row in cells), boxes
            return
        room = self._chunker.room(self._chunker.title(title))
        first = 1
        for group, count in row_groups(cells, room, self._chunker.count):
            head = [boxes[0], None] if group.startswith("|") else []
            yield group, head + boxes[first : first + count]
            first += count

    def _beside(self, index: int, page: Any, glyphs: PageGlyphs) -> Iterator[tuple[str, Box | None]]:
        """Yield what stands beside the text, with its box: running lines where they stand first, and notes."""
        for firsts in self._survey.shown_once(index):
            words = [word for word in glyphs.words if word.first in firsts]
            line = "".join(word.text if word.glued else f" {word.text}" for word in words).strip()
            yield line, glyphs.box([n for word in words for n in range(word.first, word.end)])
        notes = page_notes(self._document, page, glyphs)
        if notes:
            yield "\n".join(note for note, _ in notes), bounding_box(box for _, box in notes)

    def _figures(
        self,
        page: Any,
        number: int,
        text: PageText,
        strokes: list[Stroke],
        text_length: int,
        offset: int,
        title_at_top: str | None,
    ) -> Iterator[Part]:
        file = self._file
        figures = page_figures(page)
        tables = text.table_boxes
        for box in find_drawings(strokes, [figure.box for figure in figures], text.boxes()):
            if any(overlap_share(box, table) > 0.7 for table in tables):
                continue  # the rules and the shading of a table that was read
            # a picture that lies in a drawing is a part of it
            figures = [figure for figure in figures if overlap_share(figure.box, box) <= 0.8]
            figures.append(PageFigure(box))
        backgrounds = [figure for figure in figures if area(figure.box) > _MAX_FIGURE_AREA]
        figures = [figure for figure in figures if figure not in backgrounds]
        page_was_read = False  # OCR reads the whole page at most once
        if (not text_length and sum(area(figure.box) for figure in figures) < _FIGURES_FILL_PAGE) or (
            backgrounds and text_length < _MAX_STAMP_TEXT
        ):
            picture = render_picture(page, _FULL_PAGE, file, None)
            if picture is not None:
                page_image = ImageBlock(picture, Span(page=number, box=_FULL_PAGE), title=title_at_top)
                for part in with_ocr(
                    file,
                    page_image,
                    lambda side: render_pixels(page, _FULL_PAGE, side),
                    start=offset,
                    check_first=False,
                ):
                    offset += len(part.text) + 2 if isinstance(part, TextBlock) else 0
                    yield part
                page_was_read = True
        for figure in figures:
            if figure.key and figure.key in self._picture_keys:
                continue  # a logo that is repeated on pages counts once
            self._picture_keys.add(figure.key)
            picture = render_picture(page, figure.box, file, figure.size if any(figure.size) else None)
            if picture is not None:
                title = text.title_above(figure.box) or title_at_top
                block = ImageBlock(picture, Span(page=number, box=figure.box), text.caption_near(figure.box), title)
                if page_was_read or not any(figure.size):  # the text of a drawing is part of the page's text
                    yield block
                    continue

                def render_figure(side: int, box: Box = figure.box) -> NDArray[np.uint8]:
                    return render_pixels(page, box, side)

                for part in with_ocr(file, block, render_figure, start=offset):
                    offset += len(part.text) + 2 if isinstance(part, TextBlock) else 0
                    yield part


def _trimmed(rows: list[list[PlacedText]]) -> list[list[PlacedText]]:
    """Return the rows without those and without the columns that are empty."""
    rows = [row for row in rows if any(cell.characters for cell in row)]
    width = max((len(row) for row in rows), default=0)
    columns = [c for c in range(width) if any(row[c].characters for row in rows)]
    return [[row[column] for column in columns] for row in rows]


def _locate_lines(text: str, boxes: list[Box | None]) -> Callable[[int, int], Box | None]:
    """Return a function from offsets in ``text`` to the box around its lines there."""

    def locate(start: int, end: int) -> Box | None:
        first, last = text.count("\n", 0, start), text.count("\n", 0, end)
        return bounding_box(boxes[first : last + 1])

    return locate


def _lost_words(text: PageText, written: list[str], left_out: set[int]) -> int:
    """Return how many words of PDFium's text of a page are missing in what was written, apart from running lines.

    Letters and digits are counted first, which is fast, and words only where some are missing.
    """
    plain = text.plain(left_out)
    expected = Counter(plain)
    present: Counter[str] = Counter()
    for part in written:
        present.update(part)
    if all(present[letter] >= count for letter, count in expected.items() if letter.isalnum()):
        return 0
    normal = unicodedata.normalize
    everything = _LETTERS.findall(normal("NFKC", " ".join(written)))
    missing = Counter(_LETTERS.findall(normal("NFKC", plain))) - Counter(everything)
    joined = "".join(everything)
    return sum(count for word, count in missing.items() if joined.count(word) < count)


def _as_utf16_buffer(buffer: Any) -> Any:
    return cast(buffer, POINTER(c_ushort))
