"""Rich text: character sets of fonts, headings, tables, notes and comments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from commonplace.readers import ReadOptions, read
from commonplace.types import ParsedDocument

Reader = Callable[[str], ParsedDocument]


@pytest.fixture
def rtf(tmp_path: Path, options: ReadOptions) -> Reader:
    def read_text(text: str) -> ParsedDocument:
        path = tmp_path / "a.rtf"
        path.write_bytes((r"{\rtf1\ansi\ansicpg1252\deff0" + text + "}").encode("latin-1"))
        return read(path, options)

    return read_text


def text_of(parsed: ParsedDocument) -> str:
    return "\n".join(item.text or "" for item in parsed.items)


def escaped(text: str, codec: str) -> str:
    return "".join(rf"\'{byte:02x}" for byte in text.encode(codec))


FONTS = (
    r"{\fonttbl{\f0 Arial;}{\f1\fcharset134 SimSun;}{\f2\fcharset204 Cyr;}{\f3\fcharset2 Wingdings;}"
    r"{\f4\fcharset128 Mincho;}}"
)


def test_each_font_has_its_character_set(rtf: Reader) -> None:
    chinese, russian, japanese = (
        escaped(text, codec) for text, codec in (("水泵", "gbk"), ("насос", "cp1251"), ("表ソ", "cp932"))
    )
    japanese = japanese.replace(r"\'5c", r"\\")  # written as a character, as some programs do
    body = (
        rf"caf\'e9 \f1 {chinese}\f2  {russian}{{\f3\'fe}} \f0 sure\par \f4 {japanese}\par \uc1\u27700?\u-10179?\u-8704?"
    )
    assert text_of(rtf(FONTS + body)) == "café 水泵 насос[x] sure\n\n表ソ\n\n水😀"


def test_headings_by_style_and_by_outline_level(rtf: Reader) -> None:
    styles = r"{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 heading 1;}{\s7\sbasedon1 Mine;}}"
    body = r"\pard\s7 Pumps\par\pard Red.\par\pard\outlinelevel1 Seals\par\pard Blue.\par"
    parsed = rtf(styles + body)
    assert [(item.title, item.text) for item in parsed.items] == [("Pumps", "Red."), ("Pumps > Seals", "Blue.")]


def test_tables_with_merged_and_nested_cells(rtf: Reader) -> None:
    body = (
        r"\trowd\cellx100\cellx500\pard\intbl Engine\cell Part\cell\row"
        r"\trowd\clvmgf\cellx100\cellx500\pard\intbl Mower\cell Blade\cell\row"
        r"\trowd\clvmrg\cellx100\cellx500\pard\intbl\cell "
        r"\pard\intbl\itap2 Rye\nestcell 200\nestcell{\*\nesttableprops\trowd\cellx200\cellx300\nestrow}"
        r"{\nonesttables\par}\pard\intbl\trowd\clvmrg\cellx100\cellx500\cell\row"
        r"\trowd\cellx500\pard\intbl All of it\cell\row\pard After.\par"
    )
    assert text_of(rtf(body)).split("\n") == [
        "| Engine | Part |", "|---|---|", "| Mower | Blade |", "| Mower | Rye: 200 |", "| All of it |  |", "After.",
    ]  # fmt: skip


def test_notes_comments_headers_and_marks(rtf: Reader) -> None:
    body = (
        r"{\header\pard File QX-3\par}{\footer\pard{\field{\*\fldinst PAGE}{\fldrslt 7}}\par}"
        r"\pard Take 10{\super 4} cells.\chftn{\footnote\pard\chftn A note.\par} {\v secret}{\deleted gone}"
        r"{\*\atnid AL}{\*\atnauthor Ann Low}\chatn{\*\annotation\pard Why?\par}\par"
        r"{\listtext\pard 2.\tab}\ls1 Second.\par\pard{\field{\*\fldinst HYPERLINK x}{\fldrslt link}}\par"
    )
    assert text_of(rtf(body)) == (
        "Header: File QX-3\n\nTake 10^4 cells. [1]\n\n[1] A note.\nComment by Ann Low (AL): Why?\n2. Second.\n\nlink"
    )


def test_broken_files_keep_what_can_be_read(rtf: Reader) -> None:
    assert text_of(rtf(r"{\b Bold}} more \par }} {\pict\pngblip\bin ff")) == "Bold more"
    assert text_of(rtf(r"\trowd\cellx9\cellx20 a\cell b\cell")) == "a | b"
    assert text_of(rtf("{" * 300 + "deep")) == "deep"
