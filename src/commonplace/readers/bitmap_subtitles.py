"""Subtitles that are pictures (PGS of Blu-rays, DVD and DVB): their words, by OCR.

PyAV gives the index of each pixel's colour, but not the colours. The background is the index at the edges. Of the
others, those of the letters lie further inside than those of their outlines, and are drawn darker.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.i18n import _
from commonplace.readers.media import MAX_CUES, MAX_SECONDS
from commonplace.readers.ocr import recognise
from commonplace.readers.parts import File
from commonplace.readers.subtitles import Cue

__all__ = ["BitmapSubtitles"]

_CODECS = ("hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle", "xsub")
_MAX_SIDE = 8192  # pixels; larger pictures are damage
_MARGIN = 16  # pixels around the letters, which the detector of lines needs
_DEEPEST = 12  # pixels from the background, at which the inside of a letter is reached
_LONGEST = 10.0  # seconds that words are shown, where the file does not say for how long
_ENDLESS = 2**32 - 1  # display time in milliseconds that means: until the next


class BitmapSubtitles:
    """Reads one track of subtitles that are pictures: the first that a video has. Further tracks are noted."""

    def __init__(self, av: Any, file: File, zero: Fraction) -> None:
        self._av, self._file, self._zero = av, file, zero
        self._track: int | None = None
        self._others: set[int] = set()
        self._is_unread = False
        self._cues: list[Cue] = []
        self._is_open = False  # the last words are shown until the next packet
        self._last: tuple[bytes, str] = (b"", "")  # a picture and its words: programs repeat them

    def take(self, packet: Any) -> bool:
        """Take a packet of subtitles. Returns whether it is one of pictures."""
        context = packet.stream.codec_context
        if context is None or context.codec.canonical_name not in _CODECS:
            return False
        index = packet.stream.index
        self._track = index if self._track is None else self._track
        if index != self._track:
            self._others.add(index)
        elif not self._file.options.ocr_seconds:
            self._is_unread = True
        elif packet.pts is not None and packet.time_base is not None and len(self._cues) < MAX_CUES:
            self._read(packet)
        return True

    def end(self) -> list[Cue]:
        """Return the words with their times; what was not read is noted as problems of the file."""
        if self._is_unread:
            self._file.problems.append(
                _("its subtitles are pictures, whose words were not read: add it again with the extra ocr")
            )
        elif self._others:
            self._file.problems.append(
                _("{count} further tracks of subtitles are pictures, and were not read").format(count=len(self._others))
            )
        return [cue for cue in self._cues if cue.words]

    def _read(self, packet: Any) -> None:
        begin = float(packet.pts * packet.time_base - self._zero)
        try:
            shown = packet.stream.codec_context.decode2(packet)
        except (self._av.FFmpegError, ValueError, NotImplementedError):
            return
        if shown is None or not 0 <= begin < MAX_SECONDS:
            return
        if self._is_open:
            last = self._cues[-1]
            self._cues[-1] = last._replace(finish=min(max(last.begin, begin), last.begin + _LONGEST))
        pictures = [pixels for rect in shown.rects if (pixels := _pixels(rect)) is not None]
        length = float((packet.duration or 0) * packet.time_base)
        if not length and 0 < shown.end_display_time < _ENDLESS:
            length = shown.end_display_time / 1000
        words = "\n".join(filter(None, (self._words(pixels) for pixels in pictures)))
        self._is_open = bool(words) and not length
        if words:
            self._cues.append(Cue(begin, begin + (min(length, MAX_SECONDS) or _LONGEST), words))

    def _words(self, pixels: NDArray[np.uint8]) -> str:
        key = pixels.tobytes()
        if self._last[0] != key:
            result = recognise(self._file, None, lambda _side: drawn(pixels))
            self._last = key, result.text.replace("\n\n", "\n") if result is not None else ""
        return self._last[1]


def _pixels(rect: Any) -> NDArray[np.uint8] | None:
    """Return the indices of colours of a decoded subtitle (height, width); None where it is no picture."""
    width, height = getattr(rect, "width", 0), getattr(rect, "height", 0)
    planes = getattr(rect, "planes", ())
    if not planes or not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        return None
    return np.frombuffer(memoryview(planes[0]), np.uint8)[: width * height].reshape(height, width).copy()


def drawn(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return indices of colours as black letters on white, with a margin: RGB pixels."""
    padded = np.pad(pixels, 1, mode="edge")
    edges = np.concatenate([padded[0], padded[-1], padded[:, 0], padded[:, -1]])
    background = int(np.bincount(edges, minlength=256).argmax())
    inside = pixels != background
    depth = np.zeros(pixels.shape, np.int32)
    for _step in range(_DEEPEST):
        depth += inside
        around = np.pad(inside, 1)
        inside = around[1:-1, 1:-1] & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
        if not inside.any():
            break
    counts = np.bincount(pixels.ravel(), minlength=256)
    means = np.bincount(pixels.ravel(), depth.ravel(), minlength=256) / np.maximum(counts, 1)
    means[background] = 0
    shallow = 1.0 if (means > 1).any() else 0.0  # what touches the background everywhere is an outline
    darkness = np.clip((means - shallow) / max(float(means.max()) - shallow, 1e-6), 0, 1)
    grey = np.pad((255 * (1 - darkness[pixels])).astype(np.uint8), _MARGIN, constant_values=255)
    return np.repeat(grey[..., None], 3, axis=2)
