"""LaTeX: headings, paragraphs, lists, tables, code, formulas as they are written, and local pictures.

No macro is run and no other file is included. An unknown command is left out, and what stands in its braces is kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from commonplace.readers.blocks import Heading, LayoutBlock, Paragraph, Table, lay_out
from commonplace.readers.markup import picture_blocks
from commonplace.readers.parts import File, Part
from commonplace.readers.text import decode

__all__ = ["read_latex"]

_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%.*(?:\n[ \t]*(?=\S))?")
_VERBATIM = re.compile(
    r"\\begin\{(verbatim\*?|lstlisting|minted|Verbatim|alltt|comment|filecontents\*?)\}(.*?)\\end\{\1\}", re.DOTALL
)
_LEVELS = {
    "part": 1,
    "chapter": 1,
    "section": 2,
    "subsection": 3,
    "subsubsection": 4,
    "paragraph": 5,
    "subparagraph": 6,
}
_STRUCTURE = re.compile(
    r"\\(?P<heading>part|chapter|section|subsection|subsubsection|paragraph|subparagraph)\*?\s*(?:\[[^\]]*\])?\s*(?=\{)"
    r"|\\begin\s*\{(?P<begin>[^{}]{1,40})\}|\\end\s*\{(?P<end>[^{}]{1,40})\}"
    r"|\\(?P<item>item)\b\s*(?:\[(?P<label>[^\]]*)\])?"
    r"|\\(?P<caption>caption)\*?\s*(?:\[[^\]]*\])?\s*(?=\{)"
    r"|\\includegraphics\s*(?:\[[^\]]*\])?\s*\{(?P<picture>[^{}]*)\}"
    r"|(?P<display>\\\[|\$\$)|(?P<code>\x00\d+\x00)|(?P<break>\n[ \t]*\n|\\par\b)"
)
_MATH = {"equation", "align", "gather", "multline", "eqnarray", "displaymath", "math", "alignat", "flalign", "cases"}
_LISTS = {"itemize", "enumerate", "description", "compactitem", "compactenum", "tasks"}
_TABLES = {"tabular", "tabularx", "tabulary", "longtable", "supertabular", "tabu", "longtabu", "array"}
_ARGUMENTS = {"tabularx": 2, "tabulary": 2, "tabular*": 2, "thebibliography": 1, "minipage": 1, "multicols": 1}
_SUFFIXES = ("", ".png", ".jpg", ".jpeg")
_ACCENTS = {
    "'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304", ".": "\u0307",
    "u": "\u0306", "v": "\u030c", "H": "\u030b", "c": "\u0327", "k": "\u0328", "r": "\u030a", "d": "\u0323",
}  # fmt: skip
_ACCENT = re.compile(
    r"\\(?:(?P<sign>['`^\"~=.])\s*(?:\{\s*(?P<a>\\?[A-Za-z])\s*\}|(?P<b>\\?[A-Za-z]))"
    r"|(?P<letter>[uvHckrd])(?:\{(?P<c>\\?[A-Za-z])\}|\s+(?P<d>[A-Za-z])))"
)
_SYMBOLS = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å", "l": "ł", "L": "Ł",
    "i": "i", "j": "j", "dots": "…", "ldots": "…", "textellipsis": "…", "LaTeX": "LaTeX", "TeX": "TeX", "S": "§",
    "euro": "€", "texteuro": "€", "pounds": "£", "copyright": "©", "textbackslash": "\\", "textasciitilde": "~",
    "textdegree": "°", "degree": "°", "textmu": "µ", "textendash": "–", "textemdash": "—", "quad": " ", "qquad": " ",
    "textbar": "|", "textless": "<", "textgreater": ">", "textquotedblleft": "“", "textquotedblright": "”",
}  # fmt: skip
_SILENT = re.compile(
    r"\\(?:label|vspace|hspace|bibliographystyle|bibliography|usepackage|documentclass|pagestyle|thispagestyle|setlength"
    r"|setcounter|addtolength|input|include|graphicspath|newcommand|renewcommand|definecolor|color|phantom|index"
    r"|hyphenation|pagenumbering|cmidrule|cline|selectlanguage)\*?(?:\([^)]*\))?(?:\[[^\]]*\])*(?:\{[^{}]*\})*"
)
_RULE = re.compile(r"\\(?:hline|toprule|midrule|bottomrule|endhead|endfirsthead|endfoot|endlastfoot|centering)\b")
_MULTI = re.compile(r"\\multicolumn\s*\{(\d+)\}\s*\{[^{}]*\}\s*")
_MULTIROW = re.compile(r"\\multirow\s*(?:\[[^\]]*\])?\{[^{}]*\}\s*(?:\[[^\]]*\])?\{[^{}]*\}\s*")
_FORMULA = re.compile(r"(?<!\\)\$[^$]*\$|\\\(.{0,2000}?\\\)", re.DOTALL)
_COMMAND = re.compile(r"\\([A-Za-z@]+)\*?")
_MAX_ARGUMENT = 20_000  # characters in braces
_FOOTNOTE = re.compile(r"\\(?:footnote|footnotetext|thanks)\s*(?:\[[^\]]*\])?\s*(?=\{)")
_LINK = re.compile(r"\\href\s*\{([^{}]*)\}\s*\{([^{}]*)\}")


def read_latex(file: File) -> Iterator[Part]:
    """Yield the text under its headings."""
    text, problem = decode(file.data)
    if problem:
        file.problems.append(problem)
    text = text.replace("\r\n", "\n").replace("\x00", "\ufffd")
    codes: list[str] = []

    def keep(match: re.Match[str]) -> str:
        codes.append(match[2].strip("\n") if match[1] not in ("comment",) else "")
        return f"\x00{len(codes) - 1}\x00"

    text = _COMMENT.sub(lambda match: match[1], _VERBATIM.sub(keep, text))
    file.title = _plain(_argument(text, "title")) or None
    file.add_metadata("author", *map(_plain, re.split(r"\\and\b|,", _argument(text, "author"))))
    file.add_metadata("created", _plain(_argument(text, "date")))
    start = text.find("\\begin{document}")
    body = text[start + len("\\begin{document}") :] if start >= 0 else text
    yield from lay_out(file, _Reader(file, codes).blocks(body.partition("\\end{document}")[0]))


class _Reader:
    """Yields the blocks of a body in one pass."""

    def __init__(self, file: File, codes: list[str]) -> None:
        self._file, self._codes = file, codes
        self._counters: list[int | None] = []  # of the lists around: None where items have no number
        self._mark = ""  # what stands before the text of the next paragraph
        self._is_item = False

    def blocks(self, text: str) -> Iterator[LayoutBlock]:
        place = 0
        while match := _STRUCTURE.search(text, place):
            yield from self._paragraph(text[place : match.start()])
            place = match.end()
            if match["heading"]:
                title, place = _braces(text, place)
                yield Heading(_plain(title), _LEVELS[match["heading"]])
            elif match["begin"]:
                blocks, place = self._begin(match["begin"], text, place)
                yield from blocks
            elif match["end"]:
                if match["end"].rstrip("*") in _LISTS and self._counters:
                    self._counters.pop()
                self._is_item = bool(self._counters)
            elif match["item"]:
                self._item(match["label"])
            elif match["caption"]:
                caption, place = _braces(text, place)
                yield Paragraph(_plain(caption), caption=True)
            elif match["picture"] is not None:
                yield from picture_blocks(self._file, [match["picture"].strip() + end for end in _SUFFIXES])
            elif match["display"]:
                close = "\\]" if match["display"] == "\\[" else "$$"
                end = text.find(close, place)
                end = end if end >= 0 else len(text)
                yield Paragraph(_formula(text[place:end]))
                place = end + len(close)
            elif match["code"]:
                yield Paragraph(self._codes[int(match["code"].strip("\x00"))])
        yield from self._paragraph(text[place:])

    def _begin(self, name: str, text: str, place: int) -> tuple[list[LayoutBlock], int]:
        """Return the blocks of an environment that is taken at once, and the place after it."""
        base = name.rstrip("*")
        if base in _LISTS:
            self._counters.append(0 if "enum" in base else None)
            return [], _after_brackets(text, place)
        if base not in _MATH and base not in _TABLES:
            place = _after_brackets(text, place)
            for _argument in range(_ARGUMENTS.get(base, 0)):
                place = _braces(text, place)[1]
            return [], place
        close = f"\\end{{{name}}}"
        end = text.find(close, place)
        end = end if end >= 0 else len(text)
        if base in _MATH:
            return [Paragraph(_formula(text[place:end]))], end + len(close)
        place = _after_brackets(text, place)
        for _argument in range(_ARGUMENTS.get(name, _ARGUMENTS.get(base, 1))):
            place = _braces(text, place)[1]
        return [Table(_rows(text[place:end]))], end + len(close)

    def _item(self, label: str | None) -> None:
        counter = self._counters[-1] if self._counters else None
        if counter is not None and label is None:
            counter += 1
            self._counters[-1] = counter
            self._mark = f"{counter}. "
        else:
            self._mark = f"{_plain(label)}: " if label else "- "
        self._is_item = True

    def _paragraph(self, text: str) -> Iterator[LayoutBlock]:
        words = _plain(text)
        if words:
            indent = "  " * (len(self._counters) - 1)
            yield Paragraph(f"{indent}{self._mark}{words}", list_item=self._is_item)
            self._mark = ""


def _argument(text: str, command: str) -> str:
    """Return what stands in the braces of the first command of this name; empty where there is none."""
    match = re.search(rf"\\{command}\s*(?:\[[^\]]*\])?\s*(?=\{{)", text)
    return _braces(text, match.end())[0] if match else ""


def _braces(text: str, place: int) -> tuple[str, int]:
    """Return what stands in the braces that begin at ``place``, and the place after them."""
    while place < len(text) and text[place].isspace():
        place += 1
    if text[place : place + 1] != "{":
        return "", place
    depth = 0
    end = min(len(text), place + _MAX_ARGUMENT)
    for index in range(place, end):
        if text[index] in "{}" and text[index - 1] != "\\":
            depth += 1 if text[index] == "{" else -1
            if depth == 0:
                return text[place + 1 : index], index + 1
    return text[place + 1 : end], end


def _after_brackets(text: str, place: int) -> int:
    match = re.compile(r"\s*\[[^\]]*\]").match(text, place)
    return match.end() if match else place


def _formula(text: str) -> str:
    return " ".join(re.sub(r"\\label\{[^{}]*\}", "", text).split())


def _rows(text: str) -> list[list[str]]:
    rows = []
    for row in re.split(r"\\\\(?:\[[^\]]*\])?|\\tabularnewline\b", _SILENT.sub("", _RULE.sub("", text))):
        cells: list[str] = []
        for cell in re.split(r"(?<!\\)&", row):
            span = _MULTI.search(cell)
            cells.append(_plain(_MULTIROW.sub("", _MULTI.sub("", cell))))
            cells += [""] * (min(int(span[1]), 100) - 1 if span else 0)
        if any(cells):
            rows.append(cells)
    return rows


def _plain(text: str | None) -> str:
    """Return a text on one line without its commands. Formulas stay as they are written."""
    formulas: list[str] = []

    def keep(match: re.Match[str]) -> str:
        formulas.append(" ".join(match[0].split()))
        return f"\x01{len(formulas) - 1}\x01"

    text = _FORMULA.sub(keep, text or "")
    text = _SILENT.sub(" ", text)
    text = _LINK.sub(r"\2", text)
    while match := _FOOTNOTE.search(text):
        note, end = _braces(text, match.end())
        text = f"{text[: match.start()]} [{note}]{text[end:]}"
    text = re.sub(r"\\(?:cite[a-z]*|ref|eqref|autoref|cref|pageref)\*?(?:\[[^\]]*\])*\{([^{}]*)\}", r"[\1]", text)
    text = _ACCENT.sub(_accented, text)
    text = re.sub(r"\\\\(?:\[[^\]]*\])?", " ", text)
    text = re.sub(r"\\([%&$#_{}])", lambda match: chr(0xE000 + ord(match[1])), text)  # not the signs of commands
    text = _COMMAND.sub(lambda match: _SYMBOLS.get(match[1], ""), text)
    text = re.sub(r"\\[,;:!/ @-]", " ", text).replace("~", " ")
    text = text.replace("---", "—").replace("--", "–").replace("``", "“").replace("''", "”")
    text = re.sub(r"[{}]", "", text)
    text = re.sub(r"[\ue000-\ue07f]", lambda match: chr(ord(match[0]) - 0xE000), text)
    text = re.sub(r"\x01(\d+)\x01", lambda match: formulas[int(match[1])], text)
    return " ".join(text.split())


def _accented(match: re.Match[str]) -> str:
    letter = next(filter(None, (match["a"], match["b"], match["c"], match["d"]))).lstrip("\\")
    return unicodedata.normalize("NFC", letter + _ACCENTS[match["sign"] or match["letter"]])
