"""Text made safe and shaped for terminals, Markdown and web pages."""

from __future__ import annotations

import base64
import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "PAGE",
    "columns",
    "data_url",
    "escape_markdown",
    "escaped_html",
    "html_row",
    "html_text",
    "markdown_row",
    "printable",
    "with_tables",
]

PAGE = """<!doctype html>
<html{language}><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>body{{font:1rem/1.6 sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}}h1{{font-size:1.3rem}}
pre{{overflow-x:auto;background:#f4f4f4}}
td,th{{text-align:left;padding:0 .8rem .2rem 0;vertical-align:top}}
figure{{margin:1rem 0}}img{{max-width:100%}}figcaption,li,.note{{color:#555;font-size:.9rem}}
.weak{{background:#fff6d6}}.unsupported{{background:#ffe0e0}}blockquote{{margin:.2rem 0 .6rem 1rem}}</style>
</head><body>
{body}
</body></html>
"""


def html_text(text: str) -> str:
    """Return ``text`` on one line, escaped for HTML text and attributes."""
    return escaped_html(printable(" ".join(text.split())))


def escaped_html(line: str) -> str:
    return html.escape(line).encode("utf-8", "replace").decode()


def data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#!|~<>&])")


def escape_markdown(text: str) -> str:
    """Return ``text`` on one line, escaped so that Markdown shows its characters literally."""
    return _MARKDOWN.sub(r"\\\1", printable(" ".join(text.split())))


def columns(text: str) -> int:
    """Return the width of a text in terminal columns."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def printable(text: str) -> str:
    """Return ``text`` with a space for each control character, so that a document cannot control a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


_BORDER = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"[ \t]*\|?[-:| \t]*-[-:| \t]*$")


def markdown_row(text: str, note: str, escape: Callable[[str], str]) -> str:
    """Return the lines of a row with its cells escaped; ``note``, which is Markdown, stands in the last cell."""
    lines = [
        "|" + "|".join(f" {cell} " for cell in _cells(line, escape)) + "|" if not _RULE.match(line) else line.strip()
        for line in text.split("\n")
    ]
    return "\n".join([lines[0].removesuffix("|") + f"{note.lstrip()} |" if note else lines[0], *lines[1:]])


def html_row(text: str, note: str, escape: Callable[[str], str], css: str) -> str:
    """Return the row as HTML; ``note``, which is HTML, stands in a cell of its own. Names of columns have a rule."""
    first, _, rest = text.partition("\n")
    tag = "th" if rest else "td"
    cells = "".join(f"<{tag}>{cell}</{tag}>" for cell in _cells(first, escape))
    return f'<tr class="{css}">{cells}<td>{note}</td></tr>'


def _cells(line: str, escape: Callable[[str], str]) -> list[str]:
    cells = _BORDER.split(line.strip())[1:]
    cells = cells[:-1] if cells and not cells[-1].strip() else cells
    return [escape(cell.replace("\\|", "|")) for cell in cells]


def with_tables(body: Sequence[str]) -> Iterator[str]:
    """Yield the parts of a page with a table around each series of rows."""
    inside = False
    for part in [*body, ""]:
        row = part.startswith("<tr")
        if row != inside:
            yield "<table>" if row else "</table>"
        inside = row
        if part:
            yield part
