"""Paragraphs printed to PDF pages, clean and scanned: are they still found, and does the cited box show them?

python benchmarks/scans.py [--paragraphs N]

XQuAD's English paragraphs, four to a page, as text files, as PDF with text (one column and two), and as scans at 150
dpi: straight, turned by 1.5 degrees, and with two columns and noise. Where each paragraph stands is known from the printing. A
hit belongs to the paragraph that its box covers most. Box F1: shared area of the best hit's box and the right
paragraph's, twice, over the sum of both; a wrong page counts 0.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import commonplace
from common import data, interval, keep, machine, ndcg, table
from commonplace.types import Box

WIDTH, HEIGHT = 1240, 1754  # pixels: A4 at 150 dpi
EDGE, LINE, SIZE = 110, 34, 24
ON_PAGE = 4

Gold = dict[int, tuple[int, Box]]  # paragraph -> page (from 1), box


def paragraphs(count: int) -> tuple[list[str], list[tuple[str, int]]]:
    """Return the first paragraphs and the questions on them, with the paragraph's number."""
    articles = json.loads((data("xquad") / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    whole = [one for article in articles for one in article["paragraphs"]]
    step = max(1, len(whole) // count)
    chosen = whole[::step][:count]
    asked = [(question["question"], n) for n, one in enumerate(chosen) for question in one["qas"]]
    return [" ".join(one["context"].split()) for one in chosen], asked


def laid_out(texts: Sequence[str], columns: int) -> tuple[list[list[tuple[float, float, str]]], Gold]:
    """Return for each page its lines (left and top in pixels, words) and where each paragraph stands."""
    font = ImageFont.load_default(SIZE)
    wide = (WIDTH - 2 * EDGE - (columns - 1) * 60) / columns
    pages: list[list[tuple[float, float, str]]] = []
    gold: Gold = {}
    left, top, column, placed = float(EDGE), float(EDGE), 0, 0
    for number, text in enumerate(texts):
        lines, line = [], ""
        for word in text.split():
            if line and font.getlength(f"{line} {word}") > wide:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
        if pages and top + LINE * len(lines) > HEIGHT - EDGE and column + 1 < columns:
            left, top, column = left + wide + 60, float(EDGE), column + 1
        if not pages or placed == ON_PAGE * columns or top + LINE * len(lines) > HEIGHT - EDGE:
            pages.append([])
            left, top, column, placed = float(EDGE), float(EDGE), 0, 0
        reach = max(font.getlength(line) for line in lines)
        box = left / WIDTH, top / HEIGHT, (left + reach) / WIDTH, (top + LINE * len(lines)) / HEIGHT
        gold[number] = len(pages), box
        pages[-1] += [(left, top + LINE * at, line) for at, line in enumerate(lines)]
        top += LINE * len(lines) + LINE
        placed += 1
    return pages, gold


def typeset(pages: list[list[tuple[float, float, str]]]) -> bytes:
    """Return a PDF with the lines as text in Helvetica, each stretched to the width it has in print."""
    font = ImageFont.load_default(SIZE)
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    scale = 595 / WIDTH
    for lines in pages:
        content = []
        for left, top, words in lines:
            raw = words.encode("cp1252", "replace").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
            stretch = 100 * font.getlength(words) / max(1.0, 0.5 * SIZE * len(words))
            where = f"{left * scale:.2f} {842 - (top + SIZE) * scale:.2f}"
            content.append(
                f"BT /F {SIZE * scale:.2f} Tf {min(110, stretch):.1f} Tz {where} Td (".encode() + raw + b") Tj ET"
            )
        body = b"\n".join(content)
        objects.append(f"<< /Length {len(body)} >>\nstream\n".encode() + body + b"\nendstream")
        head = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F 3 0 R >> >>"
        objects.append(f"{head} /Contents {len(objects)} 0 R >>".encode())
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(kids)}] >>".encode()
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode() + b"".join(
        b"%010d 00000 n \n" % p for p in places
    )
    return bytes(out) + f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()


def scanned(pages: list[list[tuple[float, float, str]]], angle: float, noise: float) -> list[Image.Image]:
    """Return the pages as grey scans, turned by ``angle`` degrees, with blur and ``noise`` (grey levels)."""
    font, chance = ImageFont.load_default(SIZE), np.random.default_rng(0)
    found = []
    for lines in pages:
        image = Image.new("L", (WIDTH, HEIGHT), 245)
        draw = ImageDraw.Draw(image)
        for left, top, words in lines:
            draw.text((left, top), words, fill=30, font=font)
        image = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=245)
        grey = np.asarray(image, np.float32) + chance.normal(0, noise, (HEIGHT, WIDTH))
        found.append(Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)))
    return found


def shared(one: Box, other: Box) -> float:
    """Return the area that two boxes share."""
    return max(0.0, min(one[2], other[2]) - max(one[0], other[0])) * max(
        0.0, min(one[3], other[3]) - max(one[1], other[1])
    )


def area(box: Box) -> float:
    """Return the area of a box."""
    return (box[2] - box[0]) * (box[3] - box[1])


def judged(folder: Path, asked: list[tuple[str, int]], gold: Gold | None) -> tuple[list[float], list[float], str]:
    """Add a folder and ask; return nDCG@10 and box F1 by question, and what `add` said."""
    scores, boxes = [], []
    with tempfile.TemporaryDirectory() as work, commonplace.open(Path(work) / "kb") as kb:
        report = kb.add(folder, progress=False)
        for question, number in asked:
            order: list[str] = []
            best: float | None = None
            for hit in kb.search(question, k=30, modality="text"):
                span = hit.item.span
                if gold is None:
                    name = Path(hit.item.document.path).stem
                else:
                    here = {
                        n: shared(box, span.box) for n, (page, box) in gold.items() if page == span.page and span.box
                    }
                    name = str(max(here, key=lambda n: here[n])) if here else "none"
                    if best is None:
                        page, box = gold[number]
                        right = page == span.page and span.box is not None
                        best = 2 * shared(box, span.box) / (area(box) + area(span.box)) if right and span.box else 0.0
                if name not in order:
                    order.append(name)
            scores.append(ndcg(order, {str(number): 1.0}))
            boxes.append(best or 0.0)
        return scores, boxes, str(report)


def main() -> None:
    """Print, scan, ask, keep the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--paragraphs", type=int, default=120)
    texts, asked = paragraphs(parser.parse_args().paragraphs)
    rows, values = [], {}
    first: list[float] = []
    sides = ("text files", "PDF", "PDF, two columns", "scan", "scan, turned", "scan, two columns, noise")
    for name in sides:
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work)
            gold: Gold | None = None
            if name == "text files":
                for number, text in enumerate(texts):
                    (folder / f"{number}.txt").write_text(text)
            else:
                pages, gold = laid_out(texts, 2 if "two columns" in name else 1)
                if name.startswith("PDF"):
                    (folder / "all.pdf").write_bytes(typeset(pages))
                else:
                    images = scanned(pages, 1.5 if "turned" in name else 0.0, 25.0 if "noise" in name else 4.0)
                    images[0].save(folder / "all.pdf", save_all=True, append_images=images[1:], resolution=150)
            scores, boxes, said = judged(folder, asked, gold)
        first = first or scores
        mean, low, high = interval(scores)
        change, least, most = interval([a - b for a, b in zip(scores, first, strict=True)])
        cells = [
            f"{100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f})",
            f"{100 * change:+.1f} ({100 * least:+.1f} to {100 * most:+.1f})",
        ]
        box = interval(boxes)
        rows.append([name, *cells, f"{box[0]:.2f} ({box[1]:.2f} to {box[2]:.2f})" if gold else ""])
        values[name] = {"ndcg": mean, "change": change, "box_f1": box[0] if gold else None}
        print(name, rows[-1], said, flush=True)
    text = f"{len(texts)} paragraphs, {len(asked)} questions. {machine()}.\n\n"
    keep("scans", text + table(["", "nDCG@10", "against text files", "box F1 of the best hit"], rows), values)


if __name__ == "__main__":
    main()
