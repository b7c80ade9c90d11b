"""Paragraphs printed to PDF pages, clean and scanned: are they still found, and does the cited box show them?

python benchmarks/scans.py [--paragraphs N]

XQuAD's English paragraphs, four to a page, as text files, as PDF with text (one column and two), and as scans at 150
dpi: straight, turned by 1.5 degrees, and with two columns and noise. Where each paragraph stands is known from the printing. A
hit is right that covers half of the paragraph's box or lies with half of itself in it. Box F1: shared area of the best hit's box and the right
paragraph's, twice, over the sum of both; a wrong page counts 0.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import commonplace
from common import ROOT, data, interval, keep, machine, table
from commonplace.types import Box

sys.path.insert(0, str(ROOT))
from tests.readers.make import Page, pdf

WIDTH, HEIGHT = 1240, 1754  # pixels: A4 at 150 dpi
EDGE, LINE, SIZE = 110, 34, 24
ON_PAGE = 4

Lines = list[tuple[float, float, str]]  # of a page: left and top in pixels, words
Gold = dict[int, tuple[int, Box]]  # paragraph -> page (from 1), a file each, and box


def paragraphs(count: int) -> tuple[list[str], list[tuple[str, int]]]:
    """Return the first paragraphs and the questions on them, with the paragraph's number."""
    articles = json.loads((data("xquad") / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    whole = [one for article in articles for one in article["paragraphs"]]
    step = max(1, len(whole) // count)
    chosen = whole[::step][:count]
    asked = [(question["question"], n) for n, one in enumerate(chosen) for question in one["qas"]]
    return [" ".join(one["context"].split()) for one in chosen], asked


def laid_out(texts: Sequence[str], columns: int) -> tuple[list[Lines], Gold]:
    """Return for each page its lines and where each paragraph stands."""
    font = ImageFont.load_default(SIZE)
    wide = (WIDTH - 2 * EDGE - (columns - 1) * 60) / columns
    pages: list[Lines] = []
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


def typeset(pages: list[Lines], *, across: bool = False) -> bytes:
    """Return a PDF with the lines as text in Helvetica, each stretched to the width it has in print.

    ``text_crossmodal``: in rows over both columns, as some programs write their files.
    """
    font = ImageFont.load_default(SIZE)
    scale = 595 / WIDTH
    made = []
    for lines in pages:
        content = []
        for left, top, words in sorted(lines, key=lambda line: (line[1], line[0])) if across else lines:
            escaped = words.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
            stretch = min(110, 100 * font.getlength(words) / max(1.0, 0.5 * SIZE * len(words)))
            where = f"{left * scale:.2f} {842 - (top + SIZE) * scale:.2f}"
            content.append(f"BT /F {SIZE * scale:.2f} Tf {stretch:.1f} Tz {where} Td ({escaped}) Tj ET")
        made.append(Page(drawing="\n".join(content), size=(595, 842)))
    return pdf(*made)


def scanned(pages: list[Lines], angle: float, noise: float) -> list[Image.Image]:
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
            rank, found, best = 0, 0, None
            seen: set[str] = set()
            for hit in kb.search(question, k=30, modality="text"):
                span = hit.item.span
                if gold is None:
                    name = Path(hit.item.document.path).stem
                    rank += name not in seen
                    seen.add(name)
                    right = name == str(number)
                else:
                    rank += 1
                    page, box = gold[number]
                    same = page == int(Path(hit.item.document.path).stem)
                    here = shared(box, span.box) if same and span.box else 0.0
                    right = here >= 0.5 * min(area(box), area(span.box or box))
                    if best is None:
                        best = 2 * here / (area(box) + area(span.box or box))
                if right:
                    found = rank
                    break
            scores.append(1 / math.log2(found + 1) if 1 <= found <= 10 else 0.0)
            boxes.append(best or 0.0)
        return scores, boxes, str(report)


def main() -> None:
    """Print, scan, ask, keep the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--paragraphs", type=int, default=60)
    texts, asked = paragraphs(parser.parse_args().paragraphs)
    rows: list[list[str]] = []
    values: dict[str, dict[str, object]] = {}
    known: dict[str, list[float]] = {}
    sides = (
        "text files",
        "PDF",
        "PDF, two columns",
        "PDF, two columns, rows across",
        "scan",
        "scan, turned",
        "scan, two columns, noise",
    )
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
                    for at, page in enumerate(pages, 1):
                        (folder / f"{at}.pdf").write_bytes(typeset([page], across="text_crossmodal" in name))
                else:
                    noise = 25.0 if "noise" in name else 4.0
                    for at, image in enumerate(scanned(pages, 1.5 if "turned" in name else 0.0, noise), 1):
                        image.save(folder / f"{at}.pdf", resolution=150)
            scores, boxes, said = judged(folder, asked, gold)
        known[name] = scores
        mean, low, high = interval(scores)
        cells = [f"{100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f})"]
        values[name] = {"ndcg": mean, "box_f1": None}
        for other in ("text files", "PDF, two columns" if "two columns" in name else "PDF"):
            change = interval([a - b for a, b in zip(scores, known.get(other, scores), strict=True)])
            cells.append(
                ""
                if other == name or other not in known
                else "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * x for x in change))
            )
            values[name][f"against {other}"] = change
        box = interval(boxes)
        if gold:
            values[name]["box_f1"] = box[0]
        rows.append([name, *cells, f"{box[0]:.2f} ({box[1]:.2f} to {box[2]:.2f})" if gold else ""])
        print(name, rows[-1], said, flush=True)
    text = f"{len(texts)} paragraphs, {len(asked)} questions. {machine()}.\n\n"
    keep(
        "scans",
        text + table(["", "nDCG@10", "against text files", "against that page's PDF", "box F1 of the best hit"], rows),
        values,
    )


if __name__ == "__main__":
    main()
