"""Rich text (RTF 1.9): text in the character sets of its fonts, headings, tables, notes, comments and pictures."""

from __future__ import annotations

import binascii
import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import EncodedPicture, Heading, LayoutBlock, Paragraph, lay_out
from commonplace.readers.docx import readable_picture
from commonplace.readers.grids import Grid, block_text
from commonplace.readers.metadata import split_names
from commonplace.readers.metafiles import as_bmp
from commonplace.readers.parts import File, Part
from commonplace.readers.runs import RunText, symbol

__all__ = ["read_rtf"]

_TOKEN = re.compile(
    rb"\\(?P<word>[a-zA-Z]{1,32})(?P<number>-?\d{1,10})?[ ]?|\\'(?P<code>[0-9a-fA-F]{2})|\\(?P<sign>[^a-zA-Z])"
    rb"|(?P<brace>[{}])|[\r\n]+|(?P<text>[^\\{}\r\n]+)|.",
    re.DOTALL,
)
_INFO_TIME = re.compile(rb"\{\\(creatim|revtim)\\yr(\d{4})\\mo(\d\d?)\\dy(\d\d?)(?:\\hr(\d\d?)\\min(\d\d?))?")
_TIMES = {b"creatim": "created", b"revtim": "modified"}
_HEADING = re.compile(
    r"(?:heading|überschrift|titre|标题|標題|título|titolo|nagłówek|заголовок|見出し)\s*([1-9])", re.IGNORECASE
)
_MAX_GROUPS = 5_000  # groups inside each other

_CHARSETS = {  # \fcharset -> code page
    77: "mac_roman", 78: "cp932", 128: "cp932", 129: "cp949", 130: "johab", 134: "gb18030", 136: "cp950", 161: "cp1253",
    162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874",
    238: "cp1250", 255: "cp437",
}  # fmt: skip
_SYMBOLS = 2  # \fcharset of fonts that draw signs instead of letters
_PAGES = {936: "gb18030", 10000: "mac_roman", 65001: "utf-8", 1361: "johab"}
_CHARACTERS = {
    "tab": "\t", "line": "\n", "lbr": "\n", "emdash": "—", "endash": "–", "lquote": "‘", "rquote": "’",
    "ldblquote": "“", "rdblquote": "”", "bullet": "•", "emspace": " ", "enspace": " ", "qmspace": " ",
}  # fmt: skip
_SIGNS = {b"~": " ", b"_": "-"}
_CAPTURED = {
    "title",
    "author",
    "subject",
    "keywords",
    "atnid",
    "atnauthor",
    "fldinst",
    "sn",
    "sv",
    "listtext",
    "pntext",
}
_STORIES = {
    "footnote",
    "annotation",
    "header",
    "headerl",
    "headerr",
    "headerf",
    "footer",
    "footerl",
    "footerr",
    "footerf",
}
_SKIPPED = {
    "colortbl", "listtable", "listoverridetable", "revtbl", "rsidtbl", "generator", "xe", "tc", "nonshppict",
    "nonesttables", "objdata", "themedata", "colorschememapping", "latentstyles", "datastore", "filetbl", "ftnsep",
    "ftnsepc", "aftnsep", "aftnsepc", "info", "template", "fontemb", "background", "do", "bkmkstart", "bkmkend",
}  # fmt: skip
_READ_THOUGH_MARKED = {  # destinations with \* that hold what is seen
    "shppict", "shpinst", "nesttableprops", "ud", "formfield", "picprop", "fldinst", "annotation", "atnid", "atnauthor",
}  # fmt: skip


def read_rtf(file: File) -> Iterator[Part]:
    """Yield headers and footers, each once, then the text in order with notes and comments where they stand."""
    for match in _INFO_TIME.finditer(file.data):
        year, month, day, hour, minute = (int(part or 0) for part in match.groups()[1:])
        file.add_metadata(_TIMES[match[1]], f"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}")
    if not re.match(rb"\s*\{\\rtf", file.data):
        raise ReadError(_("a damaged RTF file; save a new copy and add it again"))
    yield from lay_out(file, _Parser(file).blocks())


@dataclass(slots=True)
class _Font:
    codec: str = ""
    name: str = ""
    is_symbol: bool = False


@dataclass(slots=True)
class _StyleSheetEntry:
    name: str = ""
    outline: int | None = None
    base: int | None = None


@dataclass(slots=True)
class _State:
    """What a group inherits, and what is restored at its end."""

    destination: str = ""
    is_marked: bool = False  # \* came before
    font: int = -1
    east_asian_font: int = -1
    is_east_asian: bool = False
    unicode_skip: int = 1
    position: str = ""
    is_hidden: bool = False
    table_level: int = 0
    style: int = -1
    outline: int | None = None
    is_page_field: bool = False
    has_list: bool = False
    opens_story: bool = False
    opens_capture: bool = False


@dataclass(slots=True)
class _RtfTable:
    """An open table. ``edges`` and ``merges`` define the row that is being read, ``rows`` are those that are done."""

    cell: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    rows: list[tuple[list[str], list[int], list[str], bool]] = field(default_factory=list)


@dataclass(slots=True)
class _Story:
    """The body, a note, a comment, or a header: blocks, and the paragraph that is being read."""

    kind: str = "body"
    mark: str = ""
    blocks: list[LayoutBlock] = field(default_factory=list)
    text: RunText = field(default_factory=RunText)
    hanging: list[LayoutBlock] = field(default_factory=list)
    label: str = ""
    tables: list[_RtfTable] = field(default_factory=list)

    def end_paragraph(self, level: int, heading: int | None, *, is_list_item: bool) -> None:
        """Put the paragraph into the cell of the table at ``level``, or, at 0, among the blocks."""
        words, self.text = self.text.text, RunText()
        label, self.label = self.label, ""
        if not words and not self.hanging:
            return
        label = label or ("-" if is_list_item else "")
        if level:
            self._open(level)
            self.tables[level - 1].cell.append(f"{label} {words}" if label and words else words)
            self.blocks += [block for block in self.hanging if isinstance(block, EncodedPicture)]
            texts = [block_text(block) for block in self.hanging if not isinstance(block, EncodedPicture)]
            self.tables[level - 1].cell += texts
        else:
            self.close_tables(0)
            if words and heading is not None:
                self.blocks.append(Heading(f"{label} {words}" if label not in ("", "-") else words, heading))
            elif words:
                self.blocks.append(Paragraph(f"{label} {words}" if label else words, list_item=bool(label)))
            self.blocks += self.hanging
        self.hanging = []

    def _open(self, level: int) -> None:
        self.close_tables(level)
        while len(self.tables) < level:
            self.tables.append(_RtfTable())

    def end_cell(self, level: int) -> None:
        self._open(level)
        table = self.tables[level - 1]
        table.cells.append(" ".join(filter(None, table.cell)))
        table.cell = []

    def end_row(self, level: int, edges: list[int], merges: list[str], *, is_head: bool) -> None:
        self._open(level)
        table = self.tables[level - 1]
        if table.cell:
            self.end_cell(level)
        if table.cells:
            table.rows.append((table.cells, list(edges), list(merges), is_head))
        table.cells = []

    def close_tables(self, level: int) -> None:
        """End the tables deeper than ``level``: one inside a cell becomes a line of it."""
        while len(self.tables) > level:
            if self.tables[-1].cells or self.tables[-1].cell:
                self.end_row(len(self.tables), [], [], is_head=False)
            table = self.tables.pop()
            blocks = list(_grid(table).blocks(head_rows=_head_rows(table)))
            if self.tables:
                self.tables[-1].cell += [block_text(block) for block in blocks]
            else:
                self.blocks += blocks


def _head_rows(table: _RtfTable) -> int | None:
    count = 0
    for _cells, _edges, _merges, is_head in table.rows:
        if not is_head:
            break
        count += 1
    return count if count > 1 else None


def _grid(table: _RtfTable) -> Grid:
    """Place the cells by their right edges: a cell that reaches over an edge of another row is merged."""
    edges = sorted({edge for _, row_edges, _, _ in table.rows for edge in row_edges})
    columns: dict[int, int] = {}
    for number, edge in enumerate(edges):  # edges that are a hair apart are the same
        columns[edge] = (
            columns[edges[number - 1]] if number and edge - edges[number - 1] < 30 else len(set(columns.values()))
        )
    grid = Grid()
    for number, (cells, row_edges, merges, _head) in enumerate(table.rows):
        column = 0
        for index, text in enumerate(cells):
            last = columns.get(row_edges[index], column) if index < len(row_edges) else column
            merge = merges[index] if index < len(merges) else ""
            width = max(1, last - column + 1)
            if "down" in merge:
                grid.extend_down(number, column)
            elif "across" in merge and not text:
                grid.extend_across(number, column)
            else:
                grid.place(number, column, text, width=width)
            column += width
    return grid


class _Parser:
    def __init__(self, file: File) -> None:
        self._file = file
        self._data = file.data
        self._fonts: dict[int, _Font] = {}
        self._styles: dict[int, _StyleSheetEntry] = {}
        self._page = "cp1252"
        self._default_font = -1
        self._state = _State()
        self._stack: list[_State] = []
        self._stories = [_Story()]
        self._heads: dict[str, None] = {}
        self._captures: list[tuple[str, RunText]] = []
        self._decoder = codecs.getincrementaldecoder("cp1252")("replace")
        self._codec = "cp1252"
        self._skip = 0
        self._surrogate = 0
        self._edges: list[int] = []
        self._merges: list[str] = []
        self._merge = ""
        self._is_head_row = False
        self._picture: bytearray | None = None
        self._picture_kind = ""
        self._property = ""
        self._description = ""
        self._comment = ["", ""]  # initials and author of the next comment
        self._notes = 0
        self._form: dict[str, int] = {}

    def blocks(self) -> Iterator[LayoutBlock]:
        position = 0
        while position < len(self._data):
            match = _TOKEN.match(self._data, position)
            if match is None:
                break
            position = match.end()
            kind = match.lastgroup
            if kind in ("word", "number"):
                word, number = match["word"].decode(), int(match["number"]) if match["number"] else None
                if word == "bin" and number is not None and number > 0:
                    if self._picture is not None:
                        self._picture += binascii.hexlify(self._data[position : position + number])
                    position += number
                else:
                    self._word(word, number)
            elif kind == "code":
                self._byte(int(match["code"], 16))
            elif kind == "sign":
                self._sign(match["sign"])
            elif kind == "brace":
                if match["brace"] == b"{":
                    self._begin_group()
                else:
                    self._end_group()
            elif kind == "text":
                self._characters(match["text"])
        while self._stack:
            self._end_group()
        story = self._stories[0]
        self._end_paragraph()
        story.close_tables(0)
        yield from (Paragraph(text, list_item=True) for text in self._heads)
        yield from story.blocks

    # groups

    def _begin_group(self) -> None:
        self._end_bytes()
        self._skip = 0
        if len(self._stack) >= _MAX_GROUPS:
            raise ReadError(_("its parts are nested too deeply; save a simpler copy and add it again"))
        self._stack.append(self._state)
        self._state = replace(self._state, is_marked=False, opens_story=False, opens_capture=False)

    def _end_group(self) -> None:
        self._end_bytes()
        self._skip = 0
        state = self._state
        if state.opens_capture:
            name, text = self._captures.pop()
            self._captured(name, text.text)
        if state.opens_story:
            self._end_story()
        self._state = self._stack.pop() if self._stack else _State()
        if state.destination == "pict" and self._state.destination != "pict":
            self._end_picture()
        if state.destination == "field" and self._state.destination != "field":
            self._form = {}

    def _open_destination(self, word: str) -> bool:
        """Enter the destination that a word opens; False where it opens none."""
        state = self._state
        if word in _STORIES:
            state.opens_story, state.destination = True, ""
            state.table_level, state.style, state.outline, state.has_list = 0, -1, None, False
            mark = ""
            if word == "footnote":
                self._notes += 1
                mark = str(self._notes)
                self._stories[-1].text.note(mark)
            self._stories.append(_Story(word, mark))
        elif word in _CAPTURED:
            state.opens_capture, state.destination = True, word
            self._captures.append((word, RunText()))
        elif word in ("fonttbl", "stylesheet", "pict", "field"):
            state.destination = word
            if word == "pict":
                self._picture, self._picture_kind = bytearray(), ""
        elif word in _SKIPPED or (state.is_marked and word not in _READ_THOUGH_MARKED):
            state.destination = "skip"
        elif word in ("upr", "sp"):
            state.destination = word
        elif word in ("ud", "fldrslt", "result", "shptxt"):
            state.destination = "skip" if word == "fldrslt" and state.is_page_field else ""
        else:
            return False
        state.is_marked = False
        return True

    def _captured(self, name: str, text: str) -> None:
        """Use the text of a destination that is no part of the story."""
        if name == "title":
            self._file.title = self._file.title or text or None
        elif name in ("author", "subject", "keywords"):
            names = split_names(text, ",;" if name == "keywords" else ";")
            self._file.add_metadata("keyword" if name == "keywords" else name, *names)
        elif name in ("atnid", "atnauthor"):
            self._comment[name == "atnauthor"] = text
        elif name == "sn":
            self._property = text
        elif name == "sv":
            if self._property == "wzDescription":
                self._description = text
        elif name in ("listtext", "pntext"):
            label = text.strip()
            self._stories[-1].label = label if any(map(str.isalnum, label)) and label != "o" else "-"
        elif name == "fldinst":
            self._field(text)

    def _field(self, instruction: str) -> None:
        drawn = re.match(r'\s*SYMBOL\s+(\d{1,6}).*?\\f\s*"?([^"\\]*)', instruction)
        if drawn:
            self._add(symbol(drawn[2], int(drawn[1])))
        elif "FORMCHECKBOX" in instruction:
            result = self._form.get("ffres", 25)
            is_checked = self._form.get("ffdefres", 0) if result == 25 else result
            self._add("[x]" if is_checked else "[ ]")
        parent = self._stack[-1] if self._stack else self._state
        if re.match(r"\s*(PAGE|NUMPAGES|SECTIONPAGES)\b", instruction):
            for state in (parent, *self._stack[-2:]):
                state.is_page_field = state.destination == "field"

    def _end_story(self) -> None:
        self._end_paragraph()
        story = self._stories.pop()
        story.close_tables(0)
        texts = list(filter(None, map(block_text, story.blocks)))
        outer = self._stories[-1]
        if story.kind.startswith(("header", "footer")):
            text = f"{story.kind[:6].capitalize()}: {'; '.join(texts)}"
            if any(map(str.isalnum, text.partition(": ")[2])):
                self._heads[text] = None
        elif story.kind == "annotation" and texts:
            initials, author = self._comment
            signed = f" by {author}{f' ({initials})' if initials and initials != author else ''}" if author else ""
            outer.hanging.append(Paragraph(f"Comment{signed}: {' '.join(texts)}", list_item=True))
            self._comment = ["", ""]
        elif texts:
            outer.hanging.append(Paragraph(f"[{story.mark}] {' '.join(texts)}", list_item=True))
        outer.hanging += [block for block in story.blocks if isinstance(block, EncodedPicture)]

    # words

    def _word(self, word: str, number: int | None) -> None:
        self._end_bytes()
        state = self._state
        if word == "u":
            self._unicode(number or 0)
        elif self._open_destination(word):
            return
        elif state.destination == "pict":
            self._picture_kind = word if word in _PICTURES else self._picture_kind
        elif state.destination == "fonttbl":
            self._font_word(word, number)
        elif state.destination == "stylesheet":
            self._style_word(word, number)
        elif word in ("ffres", "ffdefres", "fftype"):
            self._form[word] = number or 0
        elif state.destination not in ("skip", "sp", "upr"):
            if word in _CHARACTERS:
                self._add(_CHARACTERS[word])
            elif not self._paragraph_word(word, number) and not self._table_word(word, number):
                self._character_word(word, number)

    def _font_word(self, word: str, number: int | None) -> None:
        if word == "f" and number is not None:
            self._state.font = number
            self._fonts.setdefault(number, _Font())
        elif word == "fcharset" and self._state.font in self._fonts:
            font = self._fonts[self._state.font]
            font.codec, font.is_symbol = _CHARSETS.get(number or 0, font.codec), number == _SYMBOLS
        elif word == "cpg" and self._state.font in self._fonts:
            self._fonts[self._state.font].codec = _code_page(number or 0)

    def _style_word(self, word: str, number: int | None) -> None:
        if word == "s" and number is not None:
            self._state.style = number
            self._styles[number] = _StyleSheetEntry()
        style = self._styles.get(self._state.style)
        if style is not None and word == "outlinelevel":
            style.outline = number
        elif style is not None and word == "sbasedon":
            style.base = number

    def _paragraph_word(self, word: str, number: int | None) -> bool:
        state = self._state
        if word in ("par", "sect", "page", "column"):
            self._end_paragraph()
        elif word == "pard":
            state.table_level, state.style, state.outline, state.has_list = 0, -1, None, False
        elif word == "s":
            state.style = -1 if number is None else number
        elif word == "outlinelevel":
            state.outline = number
        elif word == "intbl":
            state.table_level = max(1, state.table_level)
        elif word == "itap":
            state.table_level = max(0, min(number or 0, 20))
        elif word == "ls":
            state.has_list = bool(number)
        else:
            return False
        return True

    def _table_word(self, word: str, number: int | None) -> bool:
        story, level = self._stories[-1], self._state.table_level
        if word == "trowd":
            self._edges, self._merges, self._merge, self._is_head_row = [], [], "", False
        elif word == "trhdr":
            self._is_head_row = True
        elif word in ("clvmrg", "clmrg"):
            self._merge += "down" if word == "clvmrg" else "across"
        elif word == "cellx":
            self._edges.append(number or 0)
            self._merges.append(self._merge)
            self._merge = ""
        elif word in ("cell", "nestcell"):
            level = 1 if word == "cell" else max(2, min(level, len(story.tables) + 1))
            self._end_paragraph(level)
            story.end_cell(level)
        elif word in ("row", "nestrow"):
            level = 1 if word == "row" else max(2, len(story.tables))
            story.end_row(level, self._edges, self._merges, is_head=self._is_head_row)
        else:
            return False
        return True

    def _character_word(self, word: str, number: int | None) -> None:
        state = self._state
        is_on = number != 0
        if word == "f":
            state.font = -1 if number is None else number
        elif word == "af" and state.is_east_asian:
            state.east_asian_font = -1 if number is None else number
        elif word in ("loch", "hich", "dbch"):
            state.is_east_asian = word == "dbch"
        elif word == "uc":
            state.unicode_skip = max(0, min(number or 0, 20))
        elif word in ("v", "deleted"):
            state.is_hidden = is_on
        elif word in ("super", "sub", "nosupersub", "up", "dn"):
            raised = {"super": "super", "up": "super", "sub": "sub", "dn": "sub"}.get(word, "")
            state.position = raised if is_on else ""
        elif word == "plain":
            state.position, state.is_hidden, state.font, state.is_east_asian = "", False, self._default_font, False
        elif word == "deff":
            self._default_font = state.font = -1 if number is None else number
        elif word == "ansicpg":
            self._page = _code_page(number or 0)
        elif word in ("mac", "pc", "pca"):
            self._page = {"mac": "mac_roman", "pc": "cp437", "pca": "cp850"}[word]

    # characters

    def _sign(self, sign: bytes) -> None:
        if sign == b"*":
            self._state.is_marked = True
        elif sign in (b"\n", b"\r"):
            self._end_bytes()
            if self._state.destination == "":
                self._end_paragraph()
        elif self._skip:
            self._skip -= 1
        elif sign in (b"\\", b"{", b"}"):  # also the second half of a character of two bytes
            self._decode(sign)
        elif sign in _SIGNS:
            self._end_bytes()
            self._add(_SIGNS[sign])

    def _byte(self, code: int) -> None:
        if self._skip:
            self._skip -= 1
            return
        font = self._fonts.get(self._state.font)
        if font is not None and font.is_symbol:
            self._add(symbol(font.name or "symbol", code) or " ")
            return
        self._decode(bytes([code]))

    def _characters(self, data: bytes) -> None:
        if self._picture is not None and self._state.destination == "pict":
            self._picture += data
            return
        if self._skip:
            data, self._skip = data[self._skip :], max(0, self._skip - len(data))
        if self._state.destination == "fonttbl":
            font = self._fonts.get(self._state.font)
            if font is not None and data.strip(b" ;"):
                font.name = data.decode("latin-1").strip(" ;")
        elif self._state.destination == "stylesheet":
            style = self._styles.get(self._state.style)
            if style is not None and data.strip(b" ;"):
                style.name += data.decode("latin-1").strip(" ;")
        elif data:
            self._decode(data)

    def _decode(self, data: bytes) -> None:
        """Decode bytes in the character set of the font; a character of two bytes may come as two pieces."""
        state = self._state
        font = self._fonts.get(
            state.east_asian_font if state.is_east_asian and state.east_asian_font >= 0 else state.font
        )
        codec = (font.codec if font is not None else "") or self._page
        if codec != self._codec:
            self._end_bytes()
            self._codec, self._decoder = codec, codecs.getincrementaldecoder(codec)("replace")
        self._add(self._decoder.decode(data))

    def _end_bytes(self) -> None:
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        if rest:
            self._add(rest)

    def _unicode(self, number: int) -> None:
        code = number & 0xFFFF
        self._skip = self._state.unicode_skip
        if 0xD800 <= code < 0xDC00:
            self._surrogate = code
            return
        if 0xDC00 <= code < 0xE000:
            code = 0x10000 + ((self._surrogate - 0xD800) << 10) + code - 0xDC00 if self._surrogate else 0xFFFD
        font = self._fonts.get(self._state.font)
        if font is not None and font.is_symbol and 0xF000 <= code < 0xF100:
            self._add(symbol(font.name or "symbol", code) or " ")
        else:
            self._add(chr(code))
        self._surrogate = 0

    def _add(self, text: str) -> None:
        state = self._state
        if not text or state.destination in ("skip", "sp", "upr", "fonttbl", "stylesheet", "pict", "field"):
            return
        text = text.replace("\0", "\ufffd")
        if self._captures and state.destination in _CAPTURED:
            self._captures[-1][1].add(text)
        elif not state.is_hidden:
            self._stories[-1].text.add(text, state.position)

    def _end_paragraph(self, level: int | None = None) -> None:
        self._end_bytes()
        state = self._state
        if state.destination:
            return
        level = state.table_level if level is None else level
        self._stories[-1].end_paragraph(level, self._heading(), is_list_item=state.has_list)

    def _heading(self) -> int | None:
        """Return the level of a heading, by the paragraph's outline level or its style."""
        outline = self._state.outline
        number, steps = self._state.style, 0
        while outline is None and number in self._styles and steps < 20:
            style = self._styles[number]
            match = _HEADING.match(style.name)
            if match or style.name.lower() == "title":
                return int(match[1]) if match else 1
            outline, number, steps = style.outline, -1 if style.base is None else style.base, steps + 1
        return outline + 1 if outline is not None and 0 <= outline < 9 else None

    def _end_picture(self) -> None:
        data, self._picture = self._picture, None
        description, self._description = self._description, ""
        digits = re.sub(rb"[^0-9a-fA-F]", b"", bytes(data or b""))
        if len(digits) < 100:
            return
        content = binascii.unhexlify(digits[: len(digits) // 2 * 2])
        if self._picture_kind in ("dibitmap", "wbitmap"):
            content = as_bmp(content)
        story = self._stories[-1]
        picture = EncodedPicture(content, description, f"picture.{_PICTURES.get(self._picture_kind, 'png')}")
        story.hanging += readable_picture(self._file, picture)


_PICTURES = {"pngblip": "png", "jpegblip": "jpg", "emfblip": "emf", "wmetafile": "wmf", "dibitmap": "bmp",
             "wbitmap": "bmp", "macpict": "pict"}  # fmt: skip


def _code_page(number: int) -> str:
    name = _PAGES.get(number, f"cp{number}")
    try:
        codecs.lookup(name)
    except LookupError:
        return "cp1252"
    return name
