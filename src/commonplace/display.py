"""Text and answers made safe and shaped for terminals, Markdown and web pages."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from commonplace.i18n import _

if TYPE_CHECKING:
    from commonplace.types import Answer, Citation

__all__ = ["answer_html", "answer_markdown", "answer_text", "columns", "escape_markdown", "markdown_row", "printable"]

_PAGE = """<!doctype html>
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


def _html_text(text: str) -> str:
    """Return ``text`` on one line, escaped for HTML text and attributes."""
    return _escaped_html(printable(" ".join(text.split())))


def _escaped_html(line: str) -> str:
    import html

    return html.escape(line).encode("utf-8", "replace").decode()


def _data_url(jpeg: bytes) -> str:
    import base64

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


def _html_row(text: str, note: str, escape: Callable[[str], str], css: str) -> str:
    """Return the row as HTML; ``note``, which is HTML, stands in a cell of its own. Names of columns have a rule."""
    first, _, rest = text.partition("\n")
    tag = "th" if rest else "td"
    cells = "".join(f"<{tag}>{cell}</{tag}>" for cell in _cells(first, escape))
    return f'<tr class="{css}">{cells}<td>{note}</td></tr>'


def _cells(line: str, escape: Callable[[str], str]) -> list[str]:
    cells = _BORDER.split(line.strip())[1:]
    cells = cells[:-1] if cells and not cells[-1].strip() else cells
    return [escape(cell.replace("\\|", "|")) for cell in cells]


def _with_tables(body: Sequence[str]) -> Iterator[str]:
    """Yield the parts of a page with a table around each series of rows."""
    inside = False
    for part in [*body, ""]:
        row = part.startswith("<tr")
        if row != inside:
            yield "<table>" if row else "</table>"
        inside = row
        if part:
            yield part


def answer_text(answer: Answer) -> str:
    """Return an answer as plain text; see ``commonplace.Answer.text``."""
    if answer.abstained:
        return printable(answer.reason or "")
    paragraphs: list[str] = []
    goes_on = False  # whether the next sentence may stand in the same paragraph
    for block in answer.blocks:
        marks = "".join(f" [{number}]" for number in block.citations)
        support_note = f" {printable(block.support_note)}" if block.support_note else ""
        text = "\n".join(block.lines) if block.kind == "code" else printable(" ".join(block.shown.split()))
        if block.kind == "image":
            text = _("[picture] {text}", answer.language).format(text=text)
        text += marks + support_note
        if goes_on and block.kind == "text" and not block.starts_paragraph:
            paragraphs[-1] += f" {text}"
        else:
            paragraphs.append(text)
        goes_on = block.kind == "text"
    return "\n\n".join(paragraphs)


def answer_markdown(answer: Answer) -> str:
    """Return an answer as Markdown; see ``commonplace.Answer.markdown()``."""
    from urllib.parse import quote

    if answer.abstained:
        return escape_markdown(answer.reason or "")
    lines: list[str] = []
    text: list[str] = []
    for block in answer.blocks:
        marks = "".join(f" [{number}]" for number in block.citations)
        if text and (block.starts_paragraph or block.kind != "text"):
            lines += [" ".join(text), ""]
            text = []
        if block.kind != "row" and lines and lines[-1].startswith("|"):
            lines.append("")
        support_note = f" *{escape_markdown(block.support_note)}*" if block.support_note else ""
        if block.kind == "text":
            text.append(escape_markdown(block.text) + marks + support_note)
            continue
        if block.kind == "row":
            lines.append(markdown_row(block.text, marks + support_note, escape_markdown))
            continue
        if block.kind == "code":
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
            lines += [fence, *block.lines, fence, marks.strip() + support_note, ""]
            continue
        lines += [f"![{escape_markdown(block.shown)}](<{quote(os.fsencode(block.image or ''))}>){marks}", ""]
    if text or (lines and lines[-1]):
        lines += [" ".join(text), ""]
    for citation in answer.citations:
        place = escape_markdown(citation.place)
        place = f"[{place}](<{citation.link}>)" if citation.link else place
        lines.append(f"[{citation.number}] {place}  ")
    return "\n".join(lines).rstrip() + "\n"


def answer_html(answer: Answer) -> str:
    """Return an answer as a page; see ``commonplace.Answer.html()``."""
    body = [f"<h1>{_html_text(answer.question)}</h1>"]
    if answer.abstained:
        body.append(f'<p class="abstained">{_html_text(answer.reason or "")}</p>')
    paragraph: list[str] = []

    def close() -> None:
        if paragraph:
            body.append(f"<p>{' '.join(paragraph)}</p>")
            paragraph.clear()

    for block in answer.blocks:
        marks = "".join(f' <a href="#source-{number}">[{number}]</a>' for number in block.citations)
        support_note = f' <em class="doubt">{_html_text(block.support_note)}</em>' if block.support_note else ""
        if block.starts_paragraph or block.kind != "text":
            close()
        if block.kind == "row":
            body.append(_html_row(block.text, marks + support_note, _html_text, block.support or "said"))
            continue
        if block.kind == "code":
            code = "\n".join(map(_escaped_html, block.lines))
            body.append(f'<pre class="{block.support or "said"}"><code>{code}</code></pre><p>{marks}{support_note}</p>')
            continue
        if block.kind == "text":
            paragraph.append(
                f'<span class="{block.support or "said"}">{_html_text(block.text)}</span>{marks}{support_note}'
            )
            continue
        crop = answer.citation(block.citations[0]).crop
        picture = f'<img src="{_data_url(crop)}" alt="{_html_text(block.shown)}">' if crop else ""
        body.append(f"<figure>{picture}<figcaption>{_html_text(block.shown)}{marks}</figcaption></figure>")
    close()
    body += [f'<p class="note">{_html_text(note)}</p>' for note in answer.notes]
    if answer.citations:
        heading = _("Sources", answer.language)
        sources = "".join(map(_source_html, answer.citations))
        body.append(f"<h2>{heading}</h2><ol>{sources}</ol>")
    language = f' lang="{_html_text(answer.language)}"' if answer.language else ""
    return _PAGE.format(language=language, title=_("Answer", answer.language), body="\n".join(_with_tables(body)))


def _source_html(citation: Citation) -> str:
    place = _html_text(citation.place)
    place = f'<a href="{_html_text(citation.link)}">{place}</a>' if citation.link else place
    quotation = f"<blockquote>{_html_text(citation.quote)}</blockquote>" if citation.quote else ""
    return f'<li id="source-{citation.number}" value="{citation.number}">{place}{quotation}</li>'
