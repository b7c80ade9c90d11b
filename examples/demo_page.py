"""The page of the demo: each question with what was found, as one file that loads nothing."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

import commonplace as cp
from commonplace.errors import CommonplaceError

__all__ = ["POLICY", "Entry", "page"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"

_COUNTS = {1: "One", 2: "Two", 3: "Three", 4: "Four", 8: "Eight"}
TEMPLATE = Path(__file__).with_suffix(".html")
# The fonts and colours are those of the program's page.
STATIC = Path(cp.__file__).parent / "server" / "page" / "static"


@dataclass(frozen=True)
class Entry:
    """A question with its answer or its hits."""

    title: str
    text: str | None
    image: Path | None
    answer: cp.Answer | None = None
    hits: tuple[cp.Hit, ...] = ()


def page(kb: cp.Collection, entries: Sequence[Entry], folder: Path, server: str | None) -> str:
    """Return the page as HTML; every word of a document is escaped.

    ``server`` is the address of the running program, for a link to it; None if it does not run.
    """
    documents = kb.documents()
    pictures = [Path(document.path) for document in documents if document.media_type.startswith("image/")]
    small = filter(None, (_picture(path, 150, square=True) for path in pictures[:18]))
    strip = "".join(f'<img src="{picture}" alt="">' for picture in small)
    cards = "".join(_card(kb, number, entry, folder) for number, entry in enumerate(entries, 1))
    link = f'<a class="go" href="{html.escape(server)}">Ask your own question</a>' if server else ""
    texts = len(documents) - len(pictures)
    return TEMPLATE.read_text(encoding="utf-8").format(
        policy=POLICY,
        count=_COUNTS.get(len(entries), len(entries)),
        folder=f"{_number(len(pictures), 'picture')} and {_number(texts, 'document')}",
        strip=f'<div class="strip" aria-hidden="true">{strip}</div>' if strip else "",
        cards=cards,
        link=link,
        sans=_font("figtree"),
        serif=_font("newsreader"),
    )


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _card(kb: cp.Collection, number: int, entry: Entry, folder: Path) -> str:
    words = f"<h2>{_text(entry.text)}</h2>" if entry.text else "<h2>More like this</h2>"
    query = (
        f'<img class="query" src="{_picture(entry.image, 240)}" alt="the picture asked with">' if entry.image else ""
    )
    body = _answer(kb, entry.answer, folder) if entry.answer is not None else _hits(entry.hits, folder)
    return (
        f'<article><p class="kind"><b>{number}</b> {_text(entry.title)}</p>'
        f'<div class="question">{query}{words}</div>{body}</article>'
    )


def _hits(hits: Sequence[cp.Hit], folder: Path) -> str:
    """Return hits: the best one large, with its picture if it has one."""
    if not hits:
        return '<p class="silent">Nothing that is likely to be it.</p>'
    parts = []
    for marker, hit in enumerate(hits, 1):
        shown = _shown(hit)
        mark = f'<span class="mark">[{marker}]</span>'
        caption = f"<figcaption>{mark} {_text(_place(hit.item, folder))}{_pill(hit)}</figcaption>"
        if not shown:
            words = " ".join((hit.item.text or "").split())
            cut = words[:280].rpartition(" ")[0] + " …" if len(words) > 280 else words
            parts.append(f"<figure><blockquote>{_text(cut)}</blockquote>{caption}</figure>")
        else:
            parts.append(f'<figure><img src="{shown}" alt="{_text(_name(hit))}">{caption}</figure>')
    more = f'<div class="more">{"".join(parts[1:])}</div>' if parts[1:] else ""
    return f'<div class="hits">{parts[0]}{more}</div>'


def _answer(kb: cp.Collection, answer: cp.Answer, folder: Path) -> str:
    """Return an answer with a marker after each sentence, its pictures, and the sources below."""
    if answer.abstained:
        return f'<p class="silent">{_text(answer.reason or "")}</p>'
    body = "".join(_blocks(answer))
    sources = []
    for citation in answer.citations:
        place = citation.place.replace(citation.hit.item.document.path, _path(citation.hit.item, folder), 1)
        sources.append(
            f'<li><span class="mark">[{citation.number}]</span><span>{_text(place)}</span>{_pill(citation.hit)}</li>'
        )
    view = _page_of_pdf(kb, answer)
    return f'<div class="answer">{body}</div><ul class="sources">{"".join(sources)}</ul>{view}'


def _blocks(answer: cp.Answer) -> Iterator[str]:
    language = f' lang="{_text(answer.language)}"' if answer.language else ""
    paragraph: list[str] = []
    rows: list[str] = []

    def close() -> str:
        text = f"<p{language}>{' '.join(paragraph)}</p>" if paragraph else ""
        text += f'<div class="wide"><table>{"".join(rows)}</table></div>' if rows else ""
        paragraph.clear()
        rows.clear()
        return text

    for block in answer.blocks:
        marks = "".join(f' <span class="mark">[{number}]</span>' for number in block.citations)
        note = f" <em>{_text(block.support_note)}</em>" if block.support_note else ""
        if block.kind == "row":
            lines = [line for line in block.lines if line.strip(" |:-")]
            tag = "th" if len(block.lines) > 1 else "td"
            for line in lines:
                cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
                rows.append("<tr>" + "".join(f"<{tag}>{_text(cell.strip())}</{tag}>" for cell in cells) + "</tr>")
            rows[-1] = rows[-1].removesuffix(f"</{tag}></tr>") + f"{marks}{note}</{tag}></tr>"
            continue
        if block.starts_paragraph or block.kind != "text" or rows:
            yield close()
        if block.kind == "text":
            paragraph.append(_text(block.text) + marks + note)
        elif block.kind == "code":
            code = _text("\n".join(block.lines))
            yield f"<pre>{code}</pre><p>{marks}{note}</p>"
        else:
            crop = answer.citation(block.citations[0]).crop
            source = _picture(Path(block.image), 900) if block.image else _data(crop or b"")
            image = f'<img src="{source}" alt="{_text(block.shown)}">' if source else ""
            yield f"<figure>{image}<figcaption>{_text(block.shown)}{marks}</figcaption></figure>"
    yield close()


def _page_of_pdf(kb: cp.Collection, answer: cp.Answer) -> str:
    """Return the page of the first citation that leads to a PDF, with the place framed; empty if there is none."""
    for citation in answer.citations:
        if citation.hit.item.document.media_type == "application/pdf":
            try:
                view = kb.page(citation, side=1200)
            except CommonplaceError:
                return ""
            image = Image.fromarray(view.pixels)
            if view.box is not None:  # the framed place, and a little of what is around it
                height, (_, top, _, bottom) = image.height, view.box
                upper, lower = max(0.0, top - 0.13), min(1.0, max(bottom + 0.06, top + 0.2))
                image = image.crop((0, round(upper * height), image.width, round(lower * height)))
            return f'<figure class="sheet"><img src="{_jpeg(image)}" alt="the cited page, the place framed"></figure>'
    return ""


def _shown(hit: cp.Hit) -> str:
    return _picture(Path(hit.image), 900) if hit.image else ""


def _picture(path: Path, side: int, *, square: bool = False) -> str:
    """Return a picture file as a small data address; empty where Pillow alone cannot read it."""
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    if square:
        return _jpeg(ImageOps.fit(image, (side, side)))
    image.thumbnail((side, side))
    return _jpeg(image)


def _jpeg(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return _data(buffer.getvalue())


def _data(content: bytes, kind: str = "image/jpeg") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _font(name: str) -> str:
    return _data((STATIC / "fonts" / f"{name}.woff2").read_bytes(), "font/woff2")


def _pill(hit: cp.Hit) -> str:
    percent = round(100 * hit.confidence)
    return f'<span class="pill">{percent if percent < 100 else "&gt; 99"} %</span>'


def _path(item: cp.Item, folder: Path) -> str:
    return item.document.path.removeprefix(str(folder.resolve()) + "/")


def _place(item: cp.Item, folder: Path) -> str:
    from commonplace.positions import position

    return ", ".join(filter(None, [_path(item, folder), position(item.span, item.title)]))


def _name(hit: cp.Hit) -> str:
    if hit.image == hit.item.document.path:
        return Path(hit.image).stem
    return " ".join((hit.item.text or "a figure").split())[:200]


def _text(text: str) -> str:
    return html.escape(text)
