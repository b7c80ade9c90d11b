"""Optical character recognition (the extra ``ocr``): screenshots, scans, and PDF pages without text.

Uses RapidOCR's detector and recogniser (PP-OCR, Chinese and English, shipped in its wheel) on OpenVINO.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from time import process_time, thread_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.i18n import N_, _
from commonplace.readers.order import reading_order
from commonplace.readers.parts import File, ImageBlock, Part, TextBlock, bounding_box
from commonplace.types import Box

__all__ = ["OcrResult", "are_readable", "is_drawn", "recognise", "text_boxes", "with_ocr"]

SIDE = 1600  # pixels; the longer side of the picture given to OCR

_OUT_OF_TIME = N_("time ran out before OCR had read all pictures; split it")
_MIN_EQUAL_NEIGHBOURS = 0.35  # share of equal neighbouring pixels: above it the picture is a drawing or screenshot
_TEXT_CHECK_SIDE = 480  # pixels; the longer side at which a photograph is checked for text first
_LEAST_SIDE = 64  # pixels of the longer side; smaller pictures have no words
_MIN_LINE_SCORE = 0.6  # minimum score of a line; others are dropped
_MIN_MEAN_SCORE = 0.85  # mean score of a picture's lines; print scores .95 and more, upside down .7
_SURE_SCORE = 0.95  # mean score at which no other turn of a picture is tried
_FEW_LETTERS, _MIN_SHORT_SCORE = 4, 0.9  # with fewer letters than the first, the best line must score the second
_MAX_CAPTION_WORDS = 12  # words; a longer text becomes a text block with boxes
_WORD = re.compile(r"[^\W_]+")
_HAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def are_readable() -> bool:
    """Return whether the extra ``ocr`` is installed."""
    return importlib.util.find_spec("rapidocr") is not None


@dataclass(frozen=True, slots=True)
class OcrResult:
    """The text in a picture: lines in reading order, each with its offsets and its box as fractions of the picture."""

    text: str
    line_boxes: tuple[tuple[int, int, Box], ...]

    def locate(self, start: int, end: int) -> Box | None:
        """Return the box around the lines that ``text[start:end]`` touches."""
        return bounding_box(box for first, last, box in self.line_boxes if first < end and last > start)

    @property
    def word_count(self) -> int:
        """The number of words; each character of a script without spaces counts as one."""
        return len(_WORD.findall(_HAN.sub("", self.text))) + len(_HAN.findall(self.text))


def with_ocr(
    file: File,
    block: ImageBlock,
    render: Callable[[int], NDArray[np.uint8] | None],
    *,
    start: int = 0,
    member: str | None = None,
    check_first: bool = True,
) -> Iterator[Part]:
    """Yield ``block`` with its OCR text, and a long OCR text as a text block with boxes too.

    ``render(side)`` returns the picture's RGB pixels with at most ``side`` on the longer side. Offsets of the text
    block count from ``start``. With ``check_first`` a photograph is first checked for any text, which is faster.
    """
    result = recognise(file, block.picture.pixels if check_first else None, render)
    if result is None:
        yield block
        return
    text = " ".join(result.text.split())
    page = block.span.page
    is_page = page is not None and block.span.box == (0.0, 0.0, 1.0, 1.0)
    if result.word_count <= _MAX_CAPTION_WORDS or not is_page:  # a page's OCR text is a text block of its own
        block = replace(block, ocr_text=text)
    yield block
    if result.word_count > _MAX_CAPTION_WORDS:
        outer = block.span.box if page is not None else (0.0, 0.0, 1.0, 1.0)

        def locate(first: int, last: int) -> Box | None:
            box = result.locate(first, last)
            return _within(box, outer) if box and outer else None

        unwrapped = re.sub(r"(?<!\n)\n(?!\n)", " ", result.text)
        yield TextBlock(
            result.text, start, block.title, page, split_as=unwrapped, locate=locate, member=member, from_ocr=True
        )


def recognise(
    file: File, small: NDArray[np.uint8] | None, render: Callable[[int], NDArray[np.uint8] | None]
) -> OcrResult | None:
    """Return the text in a picture; None where it has none, OCR is off, or the time for it is used up.

    ``small`` is the picture at reading size, used to skip photographs without text; None skips this check.
    """
    if not _has_time(file):
        return None
    with _timed(file):
        return _read_text(small, render)


def text_boxes(file: File, pixels: NDArray[np.uint8]) -> list[Box]:
    """Return the boxes of the lines of text in a small picture, unread and in no order, as fractions of the picture.

    Small print is not detected. Returns none where OCR is off, or the time for it is used up.
    """
    if not _has_time(file) or max(pixels.shape[:2]) < _LEAST_SIDE:
        return []
    with _timed(file):
        return _detect_boxes(pixels)


def _has_time(file: File) -> bool:
    """Return whether OCR may go on; where its time is used up, that is noted."""
    if not file.options.ocr_seconds:
        return False
    if file.quota.ocr_seconds <= 0:
        if _(_OUT_OF_TIME) not in file.problems:
            file.problems.append(_(_OUT_OF_TIME))
        return False
    return True


@contextmanager
def _timed(file: File) -> Iterator[None]:
    """Take the time that OCR needs from what the document has for it."""
    quota = file.quota
    start = process_time()  # of all threads
    own_start = thread_time()
    try:
        yield
    finally:
        spent = process_time() - start
        quota.ocr_seconds -= spent
        quota.deadline += thread_time() - own_start


def _read_text(small: NDArray[np.uint8] | None, render: Callable[[int], NDArray[np.uint8] | None]) -> OcrResult | None:
    if small is not None and (max(small.shape[:2]) < _LEAST_SIDE or not (is_drawn(small) or _has_text(small))):
        return None
    pixels = render(SIDE)
    if pixels is None:
        return None
    lines, turns = _upright_lines(pixels)
    lines = [line for line in lines if line.score >= _MIN_LINE_SCORE and line.text]
    letters = sum(line.letters for line in lines)
    if letters == 0 or (letters < _FEW_LETTERS and max(line.score for line in lines) < _MIN_SHORT_SCORE):
        return None
    result = _join_lines([lines[index] for index in reading_order([line.box for line in lines])])
    places = tuple((start, end, _turn_box(box, turns)) for start, end, box in result.line_boxes)
    return replace(result, line_boxes=places)


@dataclass(frozen=True, slots=True)
class _OcrLine:
    text: str
    box: Box
    score: float

    @property
    def letters(self) -> int:
        return sum(map(str.isalnum, self.text))


def _upright_lines(pixels: NDArray[np.uint8]) -> tuple[list[_OcrLine], int]:
    """Return the lines of a picture, and the quarters to the left by which it was turned to read them.

    Lines of a picture on its side are higher than wide. Upside down, lines score low; a classifier of single lines was
    wrong too often.
    """
    lines = _detect_lines(pixels)
    height, width = pixels.shape[:2]
    letters = sum(line.letters for line in lines)
    high = sum(
        line.letters
        for line in lines
        if line.letters > 1 and (line.box[3] - line.box[1]) * height > 1.5 * (line.box[2] - line.box[0]) * width
    )
    on_its_side = 2 * high > letters
    if not lines or not (on_its_side or _mean_score(lines) < _MIN_MEAN_SCORE):
        return lines, 0
    best, best_turns, best_score = lines, 0, 0.0 if on_its_side else _mean_score(lines)
    for turns in (1, 3) if on_its_side else (2,):
        turned = _detect_lines(np.ascontiguousarray(np.rot90(pixels, turns)))
        score = _mean_score(turned)
        # letters that stand below each other are no lines on their side: turned, they score low
        if turned and score > best_score and (turns == 2 or score >= _MIN_MEAN_SCORE):
            best, best_turns, best_score = turned, turns, score
        if best_score > _SURE_SCORE:
            break
    return best, best_turns


def _detect_lines(pixels: NDArray[np.uint8]) -> list[_OcrLine]:
    height, width = pixels.shape[:2]
    output = _engine()(_bgr(pixels), use_det=True, use_cls=False, use_rec=True)
    if output.boxes is None or not output.txts:
        return []
    lines = []
    for corners, text, score in zip(output.boxes, output.txts, output.scores, strict=True):
        lines.append(_OcrLine(" ".join(text.split()), _edges(corners, width, height), float(score)))
    return lines


def _mean_score(lines: list[_OcrLine]) -> float:
    """Return the mean score of the lines, weighted by their letters."""
    return sum(line.score * line.letters for line in lines) / max(1, sum(line.letters for line in lines))


def _turn_box(box: Box, turns: int) -> Box:
    """Return the place in a picture of a box in the same picture turned by ``turns`` quarters to the left."""
    left, top, right, bottom = box
    if turns == 0:
        return box
    if turns == 1:
        return 1 - bottom, left, 1 - top, right
    if turns == 2:
        return 1 - right, 1 - bottom, 1 - left, 1 - top
    return top, 1 - right, bottom, 1 - left


def _join_lines(lines: list[_OcrLine]) -> OcrResult:
    """Join the lines to one text; a vertical gap or a new column begins a paragraph."""
    text = ""
    line_boxes: list[tuple[int, int, Box]] = []
    above: Box | None = None
    for line in lines:
        line_text, box = line.text, line.box
        if above is not None:
            height = max(above[3] - above[1], box[3] - box[1])
            beside = box[1] < above[3] - 0.5 * height and box[0] >= above[2] - 0.01
            apart = box[1] - above[3] > 0.8 * height or box[1] < above[1] - height
            text += " " if beside else "\n\n" if apart else "\n"
        line_boxes.append((len(text), len(text) + len(line_text), box))
        text += line_text
        above = box
    return OcrResult(text, tuple(line_boxes))


def is_drawn(pixels: NDArray[np.uint8]) -> bool:
    """Return whether a picture is a screenshot or a drawing: most pixels equal their neighbour."""
    same = (pixels[:, 1:] == pixels[:, :-1]).all(axis=2)
    return bool(same.mean() > _MIN_EQUAL_NEIGHBOURS)


def _has_text(pixels: NDArray[np.uint8]) -> bool:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((_TEXT_CHECK_SIDE, _TEXT_CHECK_SIDE), Image.Resampling.BILINEAR)
    return bool(_detect_boxes(np.asarray(image)))


def _detect_boxes(pixels: NDArray[np.uint8]) -> list[Box]:
    output = _engine()(_bgr(pixels), use_det=True, use_cls=False, use_rec=False)
    height, width = pixels.shape[:2]
    return [] if output.boxes is None else [_edges(corners, width, height) for corners in output.boxes]


def _edges(corners: NDArray[Any], width: int, height: int) -> Box:
    """Return the box around the corners of a line, as fractions of the picture."""
    xs, ys = corners[:, 0] / width, corners[:, 1] / height
    left, top, right, bottom = (min(1.0, max(0.0, float(edge))) for edge in (xs.min(), ys.min(), xs.max(), ys.max()))
    return left, top, right, bottom


def _bgr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels[:, :, ::-1])


def _within(box: Box, outer: Box) -> Box:
    width, height = outer[2] - outer[0], outer[3] - outer[1]
    left, top = outer[0] + box[0] * width, outer[1] + box[1] * height
    return left, top, outer[0] + box[2] * width, outer[1] + box[3] * height


@lru_cache(maxsize=1)
def _engine() -> Any:
    from rapidocr import EngineType, RapidOCR
    from rapidocr.inference_engine.openvino import main

    class UncachedConfig(main.CPUConfig):  # type: ignore[misc]
        """Switches off OpenVINO's kernel cache, which keeps gigabytes (one kernel per line width).

        RapidOCR has no setting for it.
        """

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "CPU_RUNTIME_CACHE_CAPACITY": "0"}

    main.CPUConfig = UncachedConfig
    runtime = {f"{step}.engine_type": EngineType.OPENVINO for step in ("Det", "Cls", "Rec")}
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Det.limit_type": "max",  # pictures are never enlarged
            "Det.limit_side_len": SIDE,
            "EngineConfig.openvino.inference_num_threads": 1,  # there is one worker per processor
            **runtime,
        }
    )
