"""Videos (the extra ``video``): pictures of each shot, what is said, chapters and metadata.

PyAV decodes the frames one after the other. Only small copies of a second of them are kept, and the pictures that
stand for shots.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.bitmap_subtitles import BitmapSubtitles
from commonplace.readers.frame_text import FrameText, ShownWords
from commonplace.readers.media import (
    MAX_CUES,
    MAX_SECONDS,
    chapters_of,
    clock,
    cues_beside,
    cues_in,
    detail_of,
    first_second,
    note_if_cut_off,
    note_tags,
    opened,
    texts,
    title_at,
)
from commonplace.readers.parts import File, ImageBlock, Part, TextBlock
from commonplace.readers.pictures import picture_of
from commonplace.readers.shots import SMALL, Frame, Shot, shots
from commonplace.readers.sound_pieces import sound_pieces
from commonplace.readers.speech import speech_of
from commonplace.readers.subtitles import Cue
from commonplace.types import Span

__all__ = ["read_video"]

Pixels = NDArray[np.uint8]

SIDE = 480
"""Pixels of the longer side of a shot's picture: hundreds of them are in memory at once."""
_SLICE = 10  # seconds of a video that count as a page
_HURRY = 20.0  # seconds of processor time after which it is known whether the time will suffice
_MAX_DAMAGED = 100  # packets in a row that cannot be decoded, after which no more are tried
_FEW_WORDS = 12  # words of a shot that its picture has; more are a passage of their own
_NEAR = 0.6  # seconds by which words may come later or go earlier than the shot that they belong to

_DESCRIPTIONS = ("description", "com.apple.quicktime.description", "comment")
_PQ, _HLG = 16, 18  # transfer functions of high dynamic range (ITU-T H.273)


def read_video(file: File) -> Iterator[Part]:
    """Yield the description, chapters, subtitles, speech, pictures and the words in these of a video."""
    file.has_pages = True
    missing = _("a video, which needs the extra video: run `pip install 'commonplace-rag[video]'`, and add it again")
    damaged = _("a damaged or truncated video ({detail}); save a new copy and add it again")
    with opened(file, missing=missing, damaged=damaged) as (av, container):
        yield from _Video(av, container, file).parts()


class _Video:
    """One video that is read from its beginning to its end, once."""

    def __init__(self, av: Any, container: Any, file: File) -> None:
        self._av, self._container, self._file = av, container, file
        streams = [stream for stream in container.streams.video if not _is_cover(stream)]
        self._stream: Any = max(streams, key=_area, default=None)
        self._zero = first_second(av, container)
        self._chapters = chapters_of(container)
        self._cues: dict[int, list[Cue]] = {}
        self._bitmaps = BitmapSubtitles(av, file, self._zero)
        self._pictures: list[ImageBlock] = []
        self._left_out = 0
        self._text = FrameText(file, self._duration()) if file.options.ocr_seconds else None
        self._finish = Fraction(0)  # of all that was read
        self._second = Fraction(0)  # up to which frames were read
        self._is_whole = True
        self._small = av.video.reformatter.VideoReformatter()
        self._large = av.video.reformatter.VideoReformatter()

    def parts(self) -> Iterator[Part]:
        tags = note_tags(self._file, self._container)
        frames = self._frames()
        options = self._file.options
        for shot in shots(frames, min(SIDE, options.picture_side)):
            self._note_shot(shot)
        words = self._words()
        self._note_problems()
        description = next((tags[name] for name in _DESCRIPTIONS if tags.get(name)), "")
        tracks = [*self._cues.values(), self._bitmaps.end(), *cues_beside(self._file)]
        tracks.append(speech_of(self._file, [cue for cues in tracks for cue in cues]))
        offset = 0
        for block in texts(description, self._chapters, tracks):
            yield block
            offset = block.start + len(block.text) + 1
        yield from self._pictures
        for shown in words:
            yield _passage(shown, offset, title_at(self._chapters, shown.begin))
            offset += len(shown.text) + 1
        yield from sound_pieces(self._file)

    # --- frames -----------------------------------------------------------------------------------------------

    def _frames(self) -> Iterator[Frame]:
        """Yield the frames; subtitles that come by are noted."""
        stream = self._stream
        if stream is not None and (stream.codec_context is None or not _area(stream)):
            self._file.problems.append(_("its pictures are in a format that cannot be decoded; convert it"))
            stream = None
        elif stream is None:
            self._file.problems.append(
                _("it has sound but no pictures: only its subtitles, chapters and description were read")
            )
        elif _area(stream) > self._file.options.max_pixels:
            raise ReadError(
                _("a video of {width} x {height} pixels is over the limit; reduce it and add it again").format(
                    width=stream.codec_context.width, height=stream.codec_context.height
                )
            )
        if stream is not None:
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = 2
        clock = _Clock(stream, self._zero) if stream is not None else None
        damaged = 0
        for packet in self._packets():
            if packet.stream.type == "subtitle" and not self._bitmaps.take(packet):
                cues = self._cues.setdefault(packet.stream.index, [])
                if sum(map(len, self._cues.values())) < MAX_CUES:
                    cues.extend(cues_in(self._av, packet, self._zero))
            if clock is None or packet.stream is not stream:
                continue
            try:
                decoded = packet.decode()
                damaged = 0
            except (self._av.FFmpegError, ValueError):
                damaged += 1
                self._is_whole = False
                if damaged > _MAX_DAMAGED:
                    break
                continue
            for frame in decoded:
                times = clock.times(frame)
                if not self._may_go_on(times[0]):
                    return
                try:
                    small = self._small.reformat(frame, *SMALL, "rgb24", interpolation="AREA").to_ndarray()
                except (self._av.FFmpegError, ValueError):
                    self._is_whole = False
                    continue
                self._second = max(self._second, times[1])
                result = Frame(*times, small, lambda side, frame=frame: self._render(frame, side))  # type: ignore[misc]
                if self._text is not None:
                    self._text.take(result)
                yield result
        if damaged or not self._is_whole:
            self._file.problems.append(_("some of its pictures are damaged and were left out; save a new copy"))

    def _packets(self) -> Iterator[Any]:
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets, None)
            except (self._av.FFmpegError, ValueError, OSError) as error:
                self._file.problems.append(
                    _("it is damaged after {time} ({detail}); save a new copy").format(
                        time=clock(self._second), detail=detail_of(error)
                    )
                )
                return
            if packet is None:
                return
            if packet.pts is not None and packet.time_base is not None and packet.stream.type in ("video", "audio"):
                end = (packet.pts + (packet.duration or 0)) * packet.time_base - self._zero
                if end < MAX_SECONDS:
                    self._finish = max(self._finish, end)
            yield packet

    def _may_go_on(self, second: Fraction) -> bool:
        """Count the slices of the video, and note where the reader must stop.

        Where time would run out, only frames that depend on no other are decoded from there on.
        """
        if int(second // _SLICE) <= int(self._second // _SLICE):
            return True
        quota = self._file.quota
        quota.look()
        if quota.is_used_up or (quota.last_page is not None and quota.looked_at >= quota.last_page):
            self._file.problems.append(
                _("only its beginning was read, up to {time}: {reason}").format(
                    time=clock(self._second), reason=quota.reason
                )
            )
            return False
        used = (1 - quota.share_left) * quota.seconds if quota.seconds != float("inf") else 0.0
        duration = self._duration()
        if used > _HURRY and duration and used / float(second / duration) > quota.seconds * 0.9:
            self._stream.codec_context.skip_frame = "NONKEY"
        return True

    def _duration(self) -> Fraction | None:
        duration = self._container.duration
        return Fraction(duration, self._av.time_base) if duration and duration > 0 else None

    def _note_problems(self) -> None:
        file = self._file
        note_if_cut_off(file, self._av, self._container, max(self._finish, self._second))
        if self._left_out:
            file.problems.append(
                _("{dropped} pictures over the limit of {max_pictures} were left out; split it").format(
                    dropped=self._left_out, max_pictures=file.options.max_pictures
                )
            )

    # --- pictures ---------------------------------------------------------------------------------------------

    def _render(self, frame: Any, side: int) -> Pixels:
        """Return a frame upright, in the shape in which it is shown, as RGB for an ordinary screen."""
        width, height = self._shape(frame)
        ratio = min(1.0, side / max(width, height))
        width, height = max(1, round(width * ratio)), max(1, round(height * ratio))
        if frame.interlaced_frame and frame.height > 1:
            field = self._large.reformat(frame, width, frame.height, "rgb24", interpolation="AREA").to_ndarray()[::2]
            from PIL import Image

            pixels: Pixels = np.asarray(Image.fromarray(field).resize((width, height)))
        else:
            pixels = self._large.reformat(frame, width, height, "rgb24", interpolation="AREA").to_ndarray()
        if int(frame.color_trc) in (_PQ, _HLG):
            pixels = _tone_mapped(pixels, int(frame.color_trc))
        return np.ascontiguousarray(np.rot90(pixels, _quarters(frame)))

    def _shape(self, frame: Any) -> tuple[int, int]:
        """Return width and height as shown, before the frame is turned."""
        aspect = self._stream.sample_aspect_ratio
        if aspect and Fraction(1, 8) <= aspect <= 8:
            return round(frame.width * aspect), frame.height
        return frame.width, frame.height

    def _note_shot(self, shot: Shot) -> None:
        """Make pictures of a shot. Over the limit, those of shots with others and of short shots are left out."""
        file = self._file
        times = float(shot.begin), float(shot.finish)
        title = title_at(self._chapters, times[0])
        for key_frame in shot.key_frames:
            height, width = key_frame.pixels.shape[:2]
            picture = picture_of(key_frame.pixels, width, height, file.options.thumbnail_side)
            block = ImageBlock(picture, Span(box=(0.0, 0.0, 1.0, 1.0), begin=times[0], finish=times[1]), title=title)
            self._pictures.append(block)
        while len(self._pictures) > file.options.max_pictures:
            shown = [(block.span.begin, block.span.finish) for block in self._pictures]
            several = [n for n in range(1, len(shown)) if shown[n] == shown[n - 1]]
            lengths = [(finish or 0) - (begin or 0) for begin, finish in shown]
            del self._pictures[min(several or range(len(shown)), key=lengths.__getitem__)]
            self._left_out += 1

    def _words(self) -> list[ShownWords]:
        """Return the words in frames, but for a few that belong to one shot: its first picture has these."""
        passages = []
        if self._text is not None:
            self._text.end()
            for words in self._text.words():
                place = None if words.word_count > _FEW_WORDS else self._place_of_shot(words)
                if place is None:
                    passages.append(words)
                else:
                    block = self._pictures[place]
                    text = " ".join(filter(None, [block.ocr_text, *words.text.split()]))
                    self._pictures[place] = replace(block, ocr_text=text)
        return passages

    def _place_of_shot(self, words: ShownWords) -> int | None:
        """Return the place of the first picture of the shot in which words are shown from its begin to its end."""
        for place, block in enumerate(self._pictures):
            begin, finish = block.span.begin or 0.0, block.span.finish or 0.0
            if abs(begin - words.begin) <= _NEAR and abs(finish - words.finish) <= _NEAR:
                return place
        return None


def _passage(words: ShownWords, start: int, title: str | None) -> TextBlock:
    unwrapped = re.sub(r"(?<!\n)\n(?!\n)", " ", words.text)
    times = words.begin, words.finish
    return TextBlock(words.text, start, title, split_as=unwrapped, times=lambda _first, _last: times, from_ocr=True)


class _Clock:
    """The seconds of frames: as the file says, and where it says nothing that can be, one after the other."""

    def __init__(self, stream: Any, zero: Fraction) -> None:
        self._zero = zero
        rate = stream.average_rate or stream.guessed_rate
        self._usual = 1 / Fraction(rate) if rate and 0 < rate < 1000 else Fraction(1, 25)
        self._time_base: Fraction = stream.time_base or Fraction(1, 90_000)
        self._last: Fraction | None = None
        self._next = Fraction(0)

    def times(self, frame: Any) -> tuple[Fraction, Fraction]:
        """Return from which second and until which a frame is shown."""
        base = frame.time_base or self._time_base
        ticks = frame.pts if frame.pts is not None else frame.dts
        begin = None if ticks is None else ticks * base - self._zero
        if begin is None or not -MAX_SECONDS < begin < MAX_SECONDS:
            begin = self._next
        begin = max(begin, Fraction(0))
        if self._last is not None and begin <= self._last:
            begin = max(self._next, self._last + Fraction(1, 1000))
        length = (frame.duration or 0) * base
        finish = begin + (length if 0 < length < MAX_SECONDS else self._usual)
        self._last, self._next = begin, finish
        return begin, finish


def _area(stream: Any) -> int:
    context = stream.codec_context
    return 0 if context is None else (context.width or 0) * (context.height or 0)


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def _quarters(frame: Any) -> int:
    """Return how many quarters of a turn, against the clock, make a frame upright."""
    return round((frame.rotation or 0) / 90) % 4


def _tone_mapped(pixels: Pixels, transfer: int) -> Pixels:
    """Return pixels of high dynamic range (ITU-R BT.2100, colours of BT.2020) as sRGB."""
    signal = pixels.astype(np.float32) / 255
    if transfer == _PQ:
        power = np.power(signal, 1 / 78.84375)
        light = np.power(np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power), 1 / 0.1593017578125)
        light *= 10_000 / 203  # 1 is the white of paper
    else:
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        light = np.power(light, 1.2) * (1000 / 203)
    to_709 = np.array(((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)), np.float32)
    light = np.maximum(light @ to_709.T, 0)
    light = light * (1 + light / 16) / (1 + light)  # highlights are compressed
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)
    return np.asarray((np.clip(curve, 0, 1) * 255 + 0.5), np.uint8)
