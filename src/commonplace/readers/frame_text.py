"""Words in the frames of a video: read once while they stay, with the seconds from which and until which they do.

Every frame is compared with the one before, in a small copy. A picture that has come to rest is examined once, so the
words of a slide begin with its first frame. Of pictures that move, one is examined about every second. To examine is
to detect lines of text in a reduced picture: only where such a line is new, the words are read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from commonplace.readers.ocr import OcrResult, is_drawn, recognise, text_boxes
from commonplace.readers.parts import File
from commonplace.readers.shots import Frame
from commonplace.types import Box

__all__ = ["FrameText", "ShownWords"]

Grey = NDArray[np.float32]

READ_SIDE = 1280
"""Pixels of the longer side of a frame whose words are read."""
_CHECK_SIDE = 480  # pixels of the longer side of a frame in which lines are detected
_MOVED = 8.0  # grey levels that a cell of the small copy changes by, where something moves or words change
_REST = Fraction(3, 10)  # seconds without change after which a picture is at rest
_SOONEST, _LATEST = Fraction(1, 2), Fraction(1)  # seconds between two frames that are examined
_BEFORE, _MOST_BEFORE = Fraction(3, 2), 90  # seconds and frames before one that is examined, whose words may be its
_SAME_CELLS, _SAME_CELL = 4.0, 20.0  # differences of grey levels (mean, most), up to which a line was there before
_GAP = Fraction(5, 2)  # seconds for which words may be misread or covered, and still are the same
_BLOCK = 6  # pixels; the side of the squares in which two pictures of a line are compared
_SAME_BLOCK = 25.0  # mean difference of grey levels in a square, up to which a line is the same
_OVERLAP = 0.5  # intersection over union from which on two boxes may be one line
_ALIKE = 0.75  # ratio of common letters from which on a line in motion is one that was read before
_AHEAD = 0.1  # share of the time for OCR that pictures in motion may use before their turn
_FEW_LETTERS = 8  # letters; fewer count only where the picture was at rest, or where they were read twice


class ShownWords(NamedTuple):
    """Lines that appeared together, and the seconds from which and until which they are shown."""

    begin: float
    finish: float
    text: str

    @property
    def word_count(self) -> int:
        return OcrResult(self.text, ()).word_count


@dataclass(slots=True, eq=False)
class _Line:
    """A line of text, from the first frame in which it was read to the last."""

    text: str
    begin: Fraction
    finish: Fraction
    box: Box
    patch: Grey | None  # its place in the picture that was last examined; None where it has gone
    is_sure: bool  # it was read in a picture at rest
    readings: int = 1

    @property
    def counts(self) -> bool:
        return self.is_sure or self.readings > 1 or sum(map(str.isalnum, self.text)) >= _FEW_LETTERS


@dataclass(slots=True)
class _Reading:
    """The new lines of a frame, each with what separates it from the one before."""

    lines: list[tuple[str, _Line]] = field(default_factory=list)


class FrameText:
    """Reads the words in the frames of one video, which it takes in order. ``duration`` is in seconds, if known."""

    def __init__(self, file: File, duration: Fraction | None) -> None:
        self._file, self._duration = file, duration
        self._readings: list[_Reading] = []
        self._active: list[_Line] = []  # those that were shown not long ago
        self._shown: list[_Line] = []  # those in the picture that was last examined, while it is at rest
        self._last: Frame | None = None
        self._reference: Grey | None = None  # small copy of the first frame of a picture at rest
        self._begin = Fraction(0)  # of that picture
        self._moving_since = Fraction(0)  # since when no picture has come to rest
        self._is_examined = False
        self._examined_at: Fraction | None = None
        self._boxes: list[Box] = []  # lines that were detected in the frame that was last examined
        self._grey: Grey | None = None  # that frame, reduced
        self._before: deque[tuple[Fraction, Grey]] = deque()  # begin and small copy of the last frames

    def take(self, frame: Frame) -> None:
        """Take the next frame."""
        small = frame.small.mean(axis=2, dtype=np.float32)
        if self._reference is None or np.abs(small - self._reference).max() > _MOVED:
            self._end_rest(frame.begin)
            if frame.begin - self._begin >= _REST or self._reference is None:
                self._moving_since = frame.begin
            self._reference, self._begin, self._is_examined = small, frame.begin, False
        self._before.append((frame.begin, small))
        while frame.begin - self._before[0][0] > _BEFORE or len(self._before) > _MOST_BEFORE:
            self._before.popleft()
        if not self._is_examined and self._is_due(frame):
            self._examine(frame, is_at_rest=frame.finish - self._begin >= _REST)
        self._last = frame

    def end(self) -> None:
        """Take the end of the video."""
        if self._last is not None:
            if not self._is_examined and self._has_waited(self._last.begin, _SOONEST):
                self._examine(self._last, is_at_rest=self._last.finish - self._begin >= _REST)
            self._end_rest(self._last.finish)
            self._last = None

    def words(self) -> Iterator[ShownWords]:
        """Yield what was read, by the time at which it appears."""
        for reading in self._readings:
            lines = [(separator, line) for separator, line in reading.lines if line.counts]
            if lines:
                text = lines[0][1].text + "".join(separator + line.text for separator, line in lines[1:])
                begin, finish = min(line.begin for _, line in lines), max(line.finish for _, line in lines)
                yield ShownWords(float(begin), float(finish), text)

    def _is_due(self, frame: Frame) -> bool:
        """Return whether a frame is at rest, or shows what has been moving for long."""
        if frame.finish - self._begin >= _REST:
            return self._has_waited(frame.begin, _SOONEST)
        is_late = frame.begin - self._moving_since >= _LATEST and self._has_waited(frame.begin, _LATEST)
        return is_late and self._may_read(frame.begin)

    def _has_waited(self, second: Fraction, seconds: Fraction) -> bool:
        return self._examined_at is None or second - self._examined_at >= seconds

    def _may_read(self, second: Fraction) -> bool:
        """Return whether pictures in motion leave enough of the time for OCR to the rest of the video."""
        total, duration = self._file.options.ocr_seconds, self._duration
        if not duration or second >= duration:
            return True
        used = 1 - self._file.quota.ocr_seconds / total
        return used <= _AHEAD + (1 - _AHEAD) * float(second / duration)

    def _end_rest(self, second: Fraction) -> None:
        if self._last is not None and not self._is_examined and second - self._begin >= _REST:
            self._examine(self._last, is_at_rest=True)  # one long frame
        for line in self._shown:
            line.finish = max(line.finish, second)
        self._shown = []

    def _examine(self, frame: Frame, is_at_rest: bool) -> None:
        pixels = frame.render(_CHECK_SIDE)
        grey = pixels.mean(axis=2, dtype=np.float32)
        boxes = text_boxes(self._file, pixels)
        for line in self._active:
            if frame.begin - line.finish > _GAP:
                line.patch = None
        self._active = [line for line in self._active if line.patch is not None]
        staying = [line for line in self._active if _is_same(_patch(grey, line.box), line.patch)]
        if any(self._is_new(box, grey) for box in boxes) or (
            not boxes and is_drawn(pixels) and not _is_same(grey, self._grey)  # small print that was not detected
        ):
            result = recognise(self._file, None, lambda _side: frame.render(READ_SIDE))
            if result is not None:
                staying += self._note(result, grey, self._begin if is_at_rest else frame.begin, is_at_rest, staying)
        for line in staying:
            line.finish = max(line.finish, frame.finish)
        self._shown = staying
        self._boxes, self._grey = boxes, grey
        self._is_examined, self._examined_at = True, frame.begin

    def _is_new(self, box: Box, grey: Grey) -> bool:
        """Return whether a line was not there, or showed something else, in the frame that was examined before."""
        if self._grey is None or self._grey.shape != grey.shape:
            return True
        near = (other for other in self._boxes if _overlap(box, other) >= _OVERLAP)
        return not any(_is_same(_patch(grey, other), _patch(self._grey, other)) for other in near)

    def _note(
        self, result: OcrResult, grey: Grey, begin: Fraction, is_at_rest: bool, staying: Sequence[_Line]
    ) -> list[_Line]:
        """Note the lines that were read. Returns those that are shown and not among those that stay."""
        reading, shown = _Reading(), []
        free = [line for line in self._active if line not in staying]
        end = 0
        for first, last, box in result.line_boxes:
            text, separator = result.text[first:last], result.text[end:first]
            end = last
            if any(_overlap(box, line.box) >= _OVERLAP for line in staying):
                continue
            known_line = next((line for line in free if _is_alike(text, line, is_at_rest)), None)
            if known_line is None:
                line = _Line(text, self._begin_of(box, begin), begin, box, _patch(grey, box), is_at_rest)
                reading.lines.append((separator or "\n", line))
                self._active.append(line)
            else:
                line = known_line
                free.remove(line)
                if is_at_rest and not line.is_sure:
                    line.text, line.is_sure = text, True
                line.box, line.patch, line.readings = box, _patch(grey, box), line.readings + 1
            shown.append(line)
        if reading.lines:
            self._readings.append(reading)
        return shown

    def _begin_of(self, box: Box, begin: Fraction) -> Fraction:
        """Return the begin of the first frame that shows the line in a box, among those just before ``begin``.

        Compression adds detail to a picture that is at rest already, and what is beside the line may move.
        """
        cells = None
        for second, small in reversed(self._before):
            if second > begin:
                continue
            if self._examined_at is not None and second <= self._examined_at:
                break
            patch = _patch(small, box)
            difference = np.abs(patch - (patch if cells is None else cells))
            if difference.mean() > _SAME_CELLS or difference.max() > _SAME_CELL:
                break
            cells = patch if cells is None else cells
            begin = second
        return begin


def _is_alike(text: str, line: _Line, is_at_rest: bool) -> bool:
    """Return whether a text is a line that was read before. In motion both may be misread."""
    first, second = _letters(text), _letters(line.text)
    if first == second:
        return True
    if is_at_rest and line.is_sure:
        return False
    digits = [[letter for letter in letters if letter.isdigit()] for letters in (first, second)]
    return digits[0] == digits[1] and SequenceMatcher(None, first, second, autojunk=False).ratio() >= _ALIKE


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _patch(grey: Grey, box: Box) -> Grey:
    """Return a copy of the part of a picture in a box, at least one pixel."""
    height, width = grey.shape
    left, top = min(int(box[0] * width), width - 1), min(int(box[1] * height), height - 1)
    right, bottom = max(round(box[2] * width), left + 1), max(round(box[3] * height), top + 1)
    return grey[top:bottom, left:right].copy()


def _is_same(first: Grey, second: Grey | None) -> bool:
    """Return whether two pictures of a place differ in none of its squares."""
    if second is None or first.shape != second.shape:
        return False
    difference = np.abs(first - second)
    rows, columns = (range(0, side, _BLOCK) for side in difference.shape)
    sums = np.add.reduceat(np.add.reduceat(difference, rows, axis=0), columns, axis=1)
    heights, widths = (np.diff([*edges, side]) for edges, side in ((rows, first.shape[0]), (columns, first.shape[1])))
    return bool((sums / np.outer(heights, widths)).max() <= _SAME_BLOCK)


def _overlap(first: Box, second: Box) -> float:
    """Return the intersection of two boxes over their union."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / (sum(areas) - width * height)
