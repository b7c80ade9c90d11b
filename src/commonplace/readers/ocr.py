"""Words in pictures (the extra ``ocr``): screenshots, scans, and pages of a PDF that hold no text.

RapidOCR's detector and recogniser (PP-OCR, Chinese and English, inside its wheel) on the runtime of the towers.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.readers.order import reading_order
from commonplace.readers.parts import File, ImageBlock, Part, TextBlock, union
from commonplace.types import Box

__all__ = ["Recognised", "are_readable", "recognise", "with_words"]

SIDE = 1600  # pixels; of the longer side of what is read

_LATE = "time was up before all pictures were searched for words; split it"
_FLAT = 0.35  # of neighbouring pixels equal: drawn by a program, not by light
_GATE = 480  # pixels; of the longer side in which a photograph is searched for any text at all
_SURE = 0.6  # a line that is less sure is dropped
_DOUBTFUL = 0.85  # the mean of a picture's lines; print is read at .95 and more, upside down at .7
_SHORT, _SURER = 4, 0.9  # letters of all that was read, and how sure these must be
_PASSAGE = 12  # words; more of them are passages of their own, each with its place
_WORD = re.compile(r"[^\W_]+")
_HAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def are_readable() -> bool:
    """Return whether the extra is installed."""
    return importlib.util.find_spec("rapidocr") is not None


@dataclass(frozen=True, slots=True)
class Recognised:
    """What was read in a picture: lines in reading order, and the box of each as fractions of the picture."""

    text: str
    places: tuple[tuple[int, int, Box], ...]

    def locate(self, start: int, end: int) -> Box | None:
        """Return the box around the lines that ``text[start:end]`` touches."""
        return union(box for first, last, box in self.places if first < end and last > start)

    @property
    def count(self) -> int:
        """How many words there are; a character of an unsegmented script counts as one."""
        return len(_WORD.findall(_HAN.sub("", self.text))) + len(_HAN.findall(self.text))


def with_words(
    file: File,
    figure: ImageBlock,
    larger: Callable[[int], NDArray[np.uint8] | None],
    *,
    start: int = 0,
    member: str | None = None,
    gated: bool = True,
) -> Iterator[Part]:
    """Yield ``figure`` with the words in it as (part of) its text view, and long ones as passages with their boxes.

    ``larger(side)`` returns the picture's RGB pixels with at most ``side`` on the longer side. Offsets of the passages
    count from ``start``; ``gated`` looks first whether a photograph holds any text.
    """
    found = recognise(file, figure.picture.pixels if gated else None, larger)
    if found is None:
        yield figure
        return
    words = " ".join(found.text.split())
    page = figure.span.page
    is_page = page is not None and figure.span.box == (0.0, 0.0, 1.0, 1.0)
    if found.count <= _PASSAGE or not is_page:  # a page's words are its passages
        figure = replace(figure, words=words)
    yield figure
    if found.count > _PASSAGE:
        around = figure.span.box if page is not None else (0.0, 0.0, 1.0, 1.0)

        def locate(first: int, last: int) -> Box | None:
            box = found.locate(first, last)
            return _within(box, around) if box and around else None

        flow = re.sub(r"(?<!\n)\n(?!\n)", " ", found.text)
        yield TextBlock(
            found.text, start, figure.title, page, split_as=flow, locate=locate, member=member, ocr_start=True
        )


def recognise(
    file: File, small: NDArray[np.uint8] | None, larger: Callable[[int], NDArray[np.uint8] | None]
) -> Recognised | None:
    """Return the words in a picture, None where there are none, the extra is missing, or time is up.

    ``small`` is the picture at reading size, by which a photograph without text is told; None skips that.
    """
    quota = file.quota
    if not file.options.words:
        return None
    if quota.words <= 0:
        if _LATE not in file.problems:
            file.problems.append(_LATE)
        return None
    start = monotonic()
    try:
        return _recognised(small, larger)
    finally:
        spent = monotonic() - start
        quota.words -= spent
        quota.until += spent


def _recognised(
    small: NDArray[np.uint8] | None, larger: Callable[[int], NDArray[np.uint8] | None]
) -> Recognised | None:
    if small is not None and (max(small.shape[:2]) < 64 or not (_is_drawn(small) or _has_text(small))):
        return None
    pixels = larger(SIDE)
    if pixels is None:
        return None
    lines = _lines(pixels)
    if lines and _sureness(lines) < _DOUBTFUL:  # upside down, perhaps; line by line that is told wrongly too often
        turned = _lines(np.ascontiguousarray(pixels[::-1, ::-1]))
        if turned and _sureness(turned) > _sureness(lines):
            lines = [replace(line, box=_turned(line.box)) for line in turned]
    lines = [line for line in lines if line.score >= _SURE and line.words]
    letters = sum(line.letters for line in lines)
    if letters == 0 or (letters < _SHORT and max(line.score for line in lines) < _SURER):
        return None
    return _joined([lines[at] for at in reading_order([line.box for line in lines])])


@dataclass(frozen=True, slots=True)
class _Line:
    words: str
    box: Box
    score: float

    @property
    def letters(self) -> int:
        return sum(map(str.isalnum, self.words))


def _lines(pixels: NDArray[np.uint8]) -> list[_Line]:
    height, width = pixels.shape[:2]
    found = _engine()(_bgr(pixels), use_det=True, use_cls=False, use_rec=True)
    if found.boxes is None or not found.txts:
        return []
    lines = []
    for corners, words, score in zip(found.boxes, found.txts, found.scores, strict=True):
        across, down = corners[:, 0] / width, corners[:, 1] / height
        edges = [min(1.0, max(0.0, float(edge))) for edge in (across.min(), down.min(), across.max(), down.max())]
        lines.append(_Line(" ".join(words.split()), (edges[0], edges[1], edges[2], edges[3]), float(score)))
    return lines


def _sureness(lines: list[_Line]) -> float:
    """Return the mean score of the lines, by their letters."""
    return sum(line.score * line.letters for line in lines) / max(1, sum(line.letters for line in lines))


def _turned(box: Box) -> Box:
    return 1 - box[2], 1 - box[3], 1 - box[0], 1 - box[1]


def _joined(lines: list[_Line]) -> Recognised:
    """Return the lines as one text; white between them, or another column, begins a paragraph."""
    text = ""
    places: list[tuple[int, int, Box]] = []
    above: Box | None = None
    for line in lines:
        words, box = line.words, line.box
        if above is not None:
            height = max(above[3] - above[1], box[3] - box[1])
            beside = box[1] < above[3] - 0.5 * height and box[0] >= above[2] - 0.01
            apart = box[1] - above[3] > 0.8 * height or box[1] < above[1] - height
            text += " " if beside else "\n\n" if apart else "\n"
        places.append((len(text), len(text) + len(words), box))
        text += words
        above = box
    return Recognised(text, tuple(places))


def _is_drawn(pixels: NDArray[np.uint8]) -> bool:
    """Return whether a picture is a screenshot or a drawing: most pixels equal their neighbour."""
    same = (pixels[:, 1:] == pixels[:, :-1]).all(axis=2)
    return bool(same.mean() > _FLAT)


def _has_text(pixels: NDArray[np.uint8]) -> bool:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((_GATE, _GATE), Image.Resampling.BILINEAR)
    found = _engine()(_bgr(np.asarray(image)), use_det=True, use_cls=False, use_rec=False)
    return found.boxes is not None and len(found.boxes) > 0


def _bgr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels[:, :, ::-1])


def _within(box: Box, around: Box) -> Box:
    width, height = around[2] - around[0], around[3] - around[1]
    left, top = around[0] + box[0] * width, around[1] + box[1] * height
    return left, top, around[0] + box[2] * width, around[1] + box[3] * height


@lru_cache(maxsize=1)
def _engine() -> Any:
    from rapidocr import EngineType, RapidOCR
    from rapidocr.inference_engine.openvino import main

    class Forgetful(main.CPUConfig):  # type: ignore[misc]
        """OpenVINO keeps its kernels for every width of a line, gigabytes, and RapidOCR has no setting for it."""

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "CPU_RUNTIME_CACHE_CAPACITY": "0"}

    main.CPUConfig = Forgetful
    runtime = {f"{step}.engine_type": EngineType.OPENVINO for step in ("Det", "Cls", "Rec")}
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Det.limit_type": "max",  # never enlarged
            "Det.limit_side_len": SIDE,
            "EngineConfig.openvino.inference_num_threads": 1,  # one worker a processor
            **runtime,
        }
    )
