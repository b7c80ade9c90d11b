"""Shots of a film, found while its frames go by: where they begin and finish, and the pictures that stand for each.

A cut is a frame that differs from the one before by much more than the frames around it differ from theirs. A flash,
after which the picture is as before, is no cut. A fade passes through an empty picture; in a dissolve each frame is
the mean of an earlier and a later one. All decisions wait for a second of frames, so that memory does not grow with
the film.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

__all__ = ["SMALL", "Frame", "KeyFrame", "Shot", "shots"]

SMALL = (64, 36)
"""Width and height of the small pictures that frames are compared as, whatever the shape of the film."""

Pixels = NDArray[np.uint8]

_LOOKAHEAD = 1.0  # seconds of frames that are known when a frame is judged
_MAX_AHEAD = 90  # frames; the same for films of many frames a second
_AROUND = 0.4  # seconds before and after a frame whose changes are compared with its own
_FLASH = 0.25  # seconds after which a picture that comes back was only interrupted
_BACK = 0.65  # share of a change, below which the picture before it counts as back: it may have moved meanwhile
_SHORTEST = 0.2  # seconds; a shorter shot is part of the next
_LEAST_CHANGE = 0.085  # change of a frame, above which it may be a cut
_RATIO = 1.7  # times the changes around it that a cut exceeds, on top of the least change
_NOISE = 24.0  # variance of grey levels that compression and grain add
_EMPTY = 3.5  # standard deviation of grey levels, below which a picture shows nothing
_DARK = 34  # grey level that 95% of the pixels of a dark picture stay below
_HALF_DISSOLVE = 0.4  # seconds between a frame and those that it is a mean of
_DISSOLVED = 0.22  # change over the whole of a dissolve
_SAME_STRUCTURE = 0.6  # correlation above which two frames show the same in another light
_BLENDED = 0.25  # largest difference from the mean, as a share of the change
_EVERY = 0.5  # seconds between two frames that may become pictures
_SLOW = 0.09  # seconds; of a film of fewer frames the first one after a change is taken, of others a later, clearer one
_NEAR_COPY = 0.045  # change up to which two frames of a shot show the same
_SHARPER = 1.15  # times that a near-copy must be sharper, to replace a picture
_BLURRED = 0.4  # share of the best sharpness, below which a picture is left out
MAX_PICTURES = 3
"""Pictures of a piece of a shot."""
_LEAST_PIECE, _LONG_PIECE = 10, 30  # seconds after which new content begins a new piece


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame and the seconds from which and until which it is shown.

    ``small`` are RGB pixels of the size SMALL. ``render(side)`` returns upright RGB pixels with at most ``side`` on the
    longer side; it is called before the next frame but one is requested.
    """

    begin: Fraction
    finish: Fraction
    small: Pixels
    render: Callable[[int], Pixels]


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A picture that stands for a shot, and its second."""

    time: Fraction
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Shot:
    """A shot, or a piece of a long one, and its pictures by time. One that shows nothing has no picture."""

    begin: Fraction
    finish: Fraction
    key_frames: tuple[KeyFrame, ...]
    is_new: bool = True  # it begins with a change of the picture, and does not go on with the shot before


def shots(frames: Iterable[Frame], side: int, *, most: int = MAX_PICTURES) -> Iterator[Shot]:
    """Yield the shots of a film in order, each or each piece with at most ``most`` pictures.

    These have at most ``side`` pixels on the longer side.
    """
    film = _Film(side, most)
    for frame in frames:
        yield from film.take(frame)
    yield from film.end()


@dataclass(slots=True, eq=False)
class _Record:
    """What is remembered of a frame until its shot is known."""

    begin: Fraction
    second: float  # the same, for quick comparisons
    small: NDArray[np.float32]
    variance: float
    is_empty: bool
    change: float = 0.0  # from the frame before
    candidate: _Candidate | None = None
    dissolve: float = 0.0  # change across the frame, where it is the mean of what comes before and after


@dataclass(slots=True, eq=False)
class _Candidate:
    """A frame that may become a picture of its shot."""

    record: _Record
    pixels: Pixels
    sharpness: float
    is_dark: bool


@dataclass(slots=True)
class _Piece:
    begin: Fraction
    most: int
    is_new: bool
    kept: list[_Candidate] = field(default_factory=list)
    dark: _Candidate | None = None

    def add(self, candidate: _Candidate) -> bool:
        """Take a candidate. Returns False where it shows something new and belongs to the next piece."""
        if candidate.is_dark:
            if self.dark is None or candidate.sharpness > self.dark.sharpness:
                self.dark = candidate
            return True
        for place, kept in enumerate(self.kept):
            if _is_near_copy(kept.record, candidate.record):
                if candidate.sharpness > _SHARPER * kept.sharpness:
                    self.kept[place] = candidate
                return True
        length = candidate.record.begin - self.begin
        if len(self.kept) < self.most and length < _LONG_PIECE:
            self.kept.append(candidate)
            return True
        return length < _LEAST_PIECE

    def shot(self, finish: Fraction) -> Shot:
        best = max((kept.sharpness for kept in self.kept), default=0.0)
        chosen = [kept for kept in self.kept if kept.sharpness >= _BLURRED * best]
        if not chosen and self.dark is not None:
            chosen = [self.dark]
        chosen.sort(key=lambda candidate: candidate.record.begin)
        pictures = (KeyFrame(kept.record.begin, kept.pixels) for kept in chosen)
        return Shot(self.begin, finish, tuple(pictures), self.is_new)


class _Film:
    def __init__(self, side: int, most: int) -> None:
        self._side, self._most = side, most
        self._records: deque[_Record] = deque()  # those that are judged, as long as they are compared, and those ahead
        self._judged = 0  # how many of the records were judged
        self._piece: _Piece | None = None
        self._finish = Fraction(0)
        self._next_candidate = 0.0
        self._since_change: int | None = None  # frames since one that may be a cut
        self._empty_since: Fraction | None = None
        self._boundary: Fraction | None = None  # the last one

    def take(self, frame: Frame) -> Iterator[Shot]:
        last = self._records[-1] if self._records else None
        small = frame.small.astype(np.float32)
        means = small.mean(axis=(0, 1))
        variance = float(np.square(small).mean() - small.mean() ** 2)
        is_empty = float(np.square(small).mean() - np.square(means).mean()) < _EMPTY**2
        record = _Record(frame.begin, float(frame.begin), small, variance, is_empty)
        if last is not None:
            record.change = _change(last, record)
        record.candidate = self._candidate(frame, record)
        self._finish = max(self._finish, frame.finish)
        self._records.append(record)
        self._note_dissolve()
        while record.second - self._records[self._judged].second >= _LOOKAHEAD or (
            len(self._records) - self._judged > _MAX_AHEAD
        ):
            yield from self._judge()

    def end(self) -> Iterator[Shot]:
        while self._judged < len(self._records):
            yield from self._judge()
        if self._piece is not None:
            yield self._piece.shot(self._finish)

    def _candidate(self, frame: Frame, record: _Record) -> _Candidate | None:
        """Return the frame as a candidate, some times a second and soon after each change; None for an empty one."""
        if record.change > _LEAST_CHANGE:
            self._since_change = 0
        elif self._since_change is not None:
            self._since_change += 1
        is_due = not self._records or record.second >= self._next_candidate
        is_due = is_due or self._since_change == (0 if frame.finish - frame.begin >= _SLOW else 2)
        if not is_due or record.is_empty:
            return None
        self._next_candidate = record.second + _EVERY
        pixels = frame.render(self._side)
        grey = pixels[..., 1].astype(np.int16)
        edges = np.abs(4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:])
        is_dark = bool(np.percentile(record.small.mean(axis=2), 95) < _DARK)
        return _Candidate(record, pixels, float(edges.mean()) if edges.size else 0.0, is_dark)

    def _note_dissolve(self) -> None:
        """Compare the frame half a dissolve ago with those before and after it."""
        records, after = self._records, self._records[-1]
        middle = before = None
        for record in reversed(records):
            if record.is_empty:
                return  # a fade
            if middle is None and after.second - record.second >= _HALF_DISSOLVE:
                middle = record
            if after.second - record.second >= 2 * _HALF_DISSOLVE:
                before = record
                break
        if middle is None or before is None or middle.dissolve:
            return
        change = _change(before, after)
        if change < _DISSOLVED or after.second - before.second > 3 * _HALF_DISSOLVE:
            return
        if min(before.variance, after.variance) < 4 * _NOISE or _correlation(before, after) > _SAME_STRUCTURE:
            return  # a fade, or light that changes
        difference = np.abs(before.small - after.small).mean()
        blend = np.abs(middle.small - (before.small + after.small) / 2).mean()
        if blend < _BLENDED * difference:
            middle.dissolve = change

    def _judge(self) -> Iterator[Shot]:
        """Decide for the next frame whether a shot begins with it."""
        record = self._records[self._judged]
        self._judged += 1
        if self._piece is None:
            self._piece = _Piece(record.begin, self._most, is_new=True)
            self._boundary = record.begin
        else:
            boundary = self._boundary_at(record)
            if boundary is not None and self._boundary is not None and boundary - self._boundary >= _SHORTEST:
                yield self._piece.shot(boundary)
                self._piece, self._boundary = _Piece(boundary, self._most, is_new=True), boundary
        if record.candidate is not None and not self._piece.add(record.candidate):
            yield self._piece.shot(record.begin)
            self._piece = _Piece(record.begin, self._most, is_new=False)
            self._piece.add(record.candidate)
        while record.second - self._records[0].second > _LOOKAHEAD or self._judged > _MAX_AHEAD:
            self._records.popleft()
            self._judged -= 1

    def _boundary_at(self, record: _Record) -> Fraction | None:
        """Return when a shot begins, if the change to it is complete with this frame."""
        is_cut = self._is_cut(record)
        since, is_empty = self._empty_since, record.is_empty
        if not is_empty:
            self._empty_since = None
        elif record.change <= 2 * _LEAST_CHANGE and not self._records[self._judged - 2].is_empty:
            self._empty_since = record.begin  # a more abrupt one is a cut or a flash
        if is_cut:
            return record.begin
        if since is not None and not is_empty:
            return (since + record.begin) / 2  # the middle of a fade
        return record.begin if self._is_middle_of_dissolve(record) else None

    def _is_cut(self, record: _Record) -> bool:
        if record.change <= _LEAST_CHANGE:
            return False
        place = self._judged - 1
        around = [other for other in self._near(place) if abs(other.second - record.second) <= _AROUND]
        sides = (
            [other.change for other in around if other.second < record.second],
            [other.change for other in around if other.second > record.second],
        )  # one may be at rest: the sides count alike
        usual = sum(float(np.quantile(side, 0.75)) for side in sides if side) / 2
        if record.change <= _LEAST_CHANGE + _RATIO * usual:
            return False
        neighbours = (self._records[n] for n in (place - 1, place + 1) if 0 <= n < len(self._records))
        if any(other.change > record.change and abs(other.second - record.second) <= _FLASH for other in neighbours):
            return False  # the change goes over several frames
        return not self._is_flash(place)

    def _is_flash(self, place: int) -> bool:
        """Return whether the picture before is back after a moment, or was only there for a moment."""
        before, record = self._records[place - 1], self._records[place]
        for n in range(place + 1, len(self._records)):
            after = self._records[n]
            if after.second - record.second > _FLASH:
                break
            if _change(before, after) < _BACK * record.change:
                return True
        for n in range(place - 2, -1, -1):
            earlier = self._records[n]
            if record.second - earlier.second > _FLASH:
                break
            if _change(earlier, record) < _BACK * record.change:
                return True
        return False

    def _is_middle_of_dissolve(self, record: _Record) -> bool:
        if not record.dissolve:
            return False
        around = [other for other in self._near(self._judged - 1) if abs(other.second - record.second) <= _LOOKAHEAD]
        if any(other.change > _LEAST_CHANGE for other in around if abs(other.second - record.second) <= _HALF_DISSOLVE):
            return False  # a cut with motion around it
        most = max(around, key=lambda other: other.dissolve)
        return most is record

    def _near(self, place: int) -> Iterator[_Record]:
        for n in range(max(0, place - _MAX_AHEAD), min(len(self._records), place + _MAX_AHEAD)):
            yield self._records[n]


def _change(first: _Record, second: _Record) -> float:
    """Return how much two frames differ, from 0 to about 1: by their levels, and by their structure.

    Structure does not change with brightness, so light that flickers counts little. Levels hardly change with noise in
    a dark picture, so this counts little too.
    """
    difference = first.small - second.small
    mean = float(difference.mean())
    spread = float(np.square(difference).mean()) - mean * mean
    structure = spread / (first.variance + second.variance + _NOISE)
    levels = float(np.abs(difference).mean()) / 255
    return math.sqrt(max(0.0, structure) * levels)


def _correlation(first: _Record, second: _Record) -> float:
    covariance = float((first.small * second.small).mean() - first.small.mean() * second.small.mean())
    return covariance / math.sqrt(max(1e-9, first.variance * second.variance))


def _is_near_copy(first: _Record, second: _Record) -> bool:
    """Return whether two frames of a shot show the same. The words of two slides on one ground differ."""
    difference = first.small - second.small
    details = sum(float((record.small - record.small.mean(axis=(0, 1))).var()) for record in (first, second))
    structure = min(1.0, float(difference.var()) / (details + _NOISE))
    return math.sqrt(structure * float(np.abs(difference).mean()) / 255) < _NEAR_COPY
