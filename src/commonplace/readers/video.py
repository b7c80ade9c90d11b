"""Videos (the extra ``video``): pictures of each shot with their seconds, subtitles, chapters and metadata.

PyAV decodes the frames one after the other. Only small copies of a second of them are kept, and the pictures that
stand for shots. The demuxer is chosen by the detected type, and can open no other file: a playlist is never followed.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.formats import read_whole, subtitles_of
from commonplace.readers.ocr import recognise
from commonplace.readers.parts import File, ImageBlock, Part, TextBlock
from commonplace.readers.pictures import picture_of
from commonplace.readers.shots import SMALL, Frame, Shot, shots
from commonplace.readers.subtitles import Cue, cues_of, dialogue_words, passages
from commonplace.readers.text import decode
from commonplace.types import Span

__all__ = ["read_video"]

Pixels = NDArray[np.uint8]

SIDE = 480
"""Pixels of the longer side of a shot's picture: hundreds of them are in memory at once."""
_OCR_SIDE = 1280
_SLICE = 10  # seconds of a video that count as a page
_HURRY = 20.0  # seconds of processor time after which it is known whether the time will suffice
_BUFFER = 2**20  # bytes
_MAX_SECONDS = 10**7  # a later time is damage
_MAX_DAMAGED = 100  # packets in a row that cannot be decoded, after which no more are tried
_MISSING = 2  # seconds at the end whose absence means that the file is cut off
_MAX_SUBTITLES = 16 * 2**20  # bytes of a file beside the video
_MAX_CUES = 200_000
_SAME_WORDS = 0.7  # share of common words from which on the words in a picture are those of the picture before
_FEW_WORDS = 12  # words; more are a passage of their own

_DEMUXERS = {
    "video/mp4": "mov",
    "video/quicktime": "mov",
    "video/3gpp": "mov",
    "video/x-matroska": "matroska",
    "video/webm": "matroska",
    "video/x-msvideo": "avi",
    "video/mpeg": "mpeg",
    "video/mp2t": "mpegts",
    "video/x-flv": "flv",
    "video/x-ms-wmv": "asf",
    "video/ogg": "ogg",
}
_OWN_CLOCK = ("mpeg", "mpegts")  # streams out of broadcasts: their times begin anywhere
_PQ, _HLG = 16, 18  # transfer functions of high dynamic range (ITU-T H.273)
_PLACE = re.compile(r"([+-]\d{1,2}(?:\.\d+)?)([+-]\d{1,3}(?:\.\d+)?)(?![\d.])")  # ISO 6709, in degrees
_METADATA = {
    "author": ("artist", "author", "album_artist", "com.apple.quicktime.author", "director"),
    "created": ("com.apple.quicktime.creationdate", "date_recorded", "creation_time", "date", "year"),
    "summary": ("synopsis", "summary"),
    "publisher": ("publisher", "network"),
    "keyword": ("keywords",),
    "subject": ("genre",),
    "url": ("purl",),
}


def read_video(file: File) -> Iterator[Part]:
    """Yield the description, chapters, subtitles, pictures and the words in these of a video."""
    try:
        av: Any = importlib.import_module("av")
    except ImportError:
        raise ReadError(
            _("a video, which needs the extra video: install commonplace with the extra video, and add it again")
        ) from None
    file.has_pages = True
    with file.open() as stream:
        try:
            container = av.open(
                stream,
                format=_demuxer(file),
                metadata_errors="replace",
                buffer_size=_BUFFER,
                io_open=_refuse,
            )
        except (av.FFmpegError, ValueError, OSError, UnicodeError) as error:
            raise ReadError(
                _("a damaged or truncated video ({detail}); save a new copy and add it again").format(
                    detail=_detail(error)
                )
            ) from None
        with container:
            yield from _Video(av, container, file).parts()


def _refuse(*_arguments: object) -> None:
    raise PermissionError("a video may not open other files")


def _demuxer(file: File) -> str:
    name = _DEMUXERS.get(file.media_type, "mov")
    if name == "mpeg":
        with file.open() as stream:
            if stream.read(4) == b"\0\0\x01\xb3":  # pictures without a container
                return "mpegvideo"
    return name


def _detail(error: BaseException) -> str:
    text = str(getattr(error, "strerror", None) or error)
    return " ".join(text.split())[:120] or type(error).__name__


class _Video:
    """One video that is read from its beginning to its end, once."""

    def __init__(self, av: Any, container: Any, file: File) -> None:
        self._av, self._container, self._file = av, container, file
        streams = [stream for stream in container.streams.video if not _is_cover(stream)]
        self._stream: Any = max(streams, key=_area, default=None)
        self._zero = Fraction(0)
        if any(name in _OWN_CLOCK for name in container.format.name.split(",")) and container.start_time is not None:
            self._zero = Fraction(container.start_time, av.time_base)
        self._chapters = _chapters(container)
        self._cues: dict[int, list[Cue]] = {}
        self._pictures: list[ImageBlock] = []
        self._left_out = 0
        self._words: list[_Words] = []
        self._finish = Fraction(0)  # of all that was read
        self._second = Fraction(0)  # up to which frames were read
        self._is_whole = True
        self._small = av.video.reformatter.VideoReformatter()
        self._large = av.video.reformatter.VideoReformatter()

    def parts(self) -> Iterator[Part]:
        description = self._note_metadata()
        frames = self._frames()
        options = self._file.options
        large_side = _OCR_SIDE if options.ocr_seconds else None
        for shot in shots(frames, min(SIDE, options.picture_side), large_side=large_side):
            self._note_shot(shot)
        self._note_problems()
        offset = 0
        for block in self._texts(description):
            yield block
            offset = block.start + len(block.text) + 1
        yield from self._pictures
        for words in self._words:
            if words.is_passage:
                yield words.block(offset, self._title(words.begin))
                offset += len(words.text) + 1

    # --- metadata ---------------------------------------------------------------------------------------------

    def _note_metadata(self) -> str:
        """Note title, date, author and place, and return the description."""
        file = self._file
        values = {key.casefold(): value for key, value in self._container.metadata.items()}
        file.title = values.get("title") or values.get("com.apple.quicktime.title") or None
        for key, names in _METADATA.items():
            file.add_metadata(key, next((values[name] for name in names if values.get(name)), None))
        maker, model = (
            values.get(f"com.apple.quicktime.{name}") or values.get(name) or "" for name in ("make", "model")
        )
        file.add_metadata("camera", model if model.startswith(maker) else f"{maker} {model}".strip())
        for name, value in values.items():
            if name.startswith("location") or name == "com.apple.quicktime.location.iso6709":
                file.add_metadata("place", _place(value))
                break
        for stream in self._container.streams:
            if stream.type == "audio" and stream.metadata.get("language", "und") != "und":
                file.add_metadata("language", stream.metadata["language"])
        return values.get("description") or values.get("com.apple.quicktime.description") or values.get("comment") or ""

    def _title(self, second: float) -> str | None:
        """Return the title of the chapter at a second."""
        titles = [title for begin, finish, title in self._chapters if begin <= second < finish]
        return titles[-1] if titles else None

    # --- texts ------------------------------------------------------------------------------------------------

    def _texts(self, description: str) -> Iterator[TextBlock]:
        offset = 0
        if description.strip():
            yield TextBlock(description)
            offset = len(description) + 1
        for begin, finish, title in self._chapters:
            yield TextBlock(title, offset, times=lambda _first, _last, times=(begin, finish): times)  # type: ignore[misc]
            offset += len(title) + 1
        present: set[str] = set()  # tracks and files often hold the same words
        for cues in [*self._cues.values(), *self._cues_beside()]:
            for block in passages(sorted(cues, key=lambda cue: cue.begin), start=offset, title=self._title):
                if block.text not in present:
                    present.add(block.text)
                    yield block
                offset = block.start + len(block.text) + 1

    def _cues_beside(self) -> Iterator[list[Cue]]:
        """Yield the subtitles in the files beside the video that have its name."""
        file = self._file
        if file.depth:
            return
        folder = file.path.parent
        for name in (f"{file.path.stem}.srt", f"{file.path.stem}.vtt", f"{file.path.stem}.ass"):
            file.watch(folder / name)  # also where it comes later
        try:
            names = subtitles_of(file.path.name, _names_in(str(folder), os.stat(folder).st_mtime_ns))
        except OSError:
            return
        for name in names:
            path = folder / name
            file.watch(path)
            try:
                text, problem = decode(read_whole(path, min(_MAX_SUBTITLES, file.options.max_bytes)))
            except ReadError as error:
                file.problems.append(_("subtitles {name}: {error}").format(name=name, error=error))
                continue
            if problem:
                file.problems.append(_("subtitles {name}: {error}").format(name=name, error=problem))
            yield cues_of(text)

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
            if packet.stream.type == "subtitle":
                self._note_cue(packet)
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
                yield Frame(*times, small, lambda side, frame=frame: self._render(frame, side))  # type: ignore[misc]
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
                        time=_clock(self._second), detail=_detail(error)
                    )
                )
                return
            if packet is None:
                return
            if packet.pts is not None and packet.time_base is not None and packet.stream.type in ("video", "audio"):
                end = (packet.pts + (packet.duration or 0)) * packet.time_base - self._zero
                if end < _MAX_SECONDS:
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
                    time=_clock(self._second), reason=quota.reason
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
        duration, file = self._duration(), self._file
        end = max(self._finish, self._second)
        if not file.problems and duration is not None and float(duration - end) > max(_MISSING, float(duration) / 100):
            file.problems.append(
                _("it is cut off: it ends at {time} of {duration}; save a new copy").format(
                    time=_clock(end), duration=_clock(duration)
                )
            )
        if self._left_out:
            file.problems.append(
                _("{dropped} pictures over the limit of {max_pictures} were left out; split it").format(
                    dropped=self._left_out, max_pictures=file.options.max_pictures
                )
            )

    def _note_cue(self, packet: Any) -> None:
        if packet.pts is None or packet.time_base is None or sum(map(len, self._cues.values())) > _MAX_CUES:
            return
        begin = float(packet.pts * packet.time_base - self._zero)
        finish = begin + float((packet.duration or 0) * packet.time_base)
        try:
            shown = [rect for subtitle in packet.decode() for rect in getattr(subtitle, "rects", [subtitle])]
        except (self._av.FFmpegError, ValueError, NotImplementedError):
            return
        for rect in shown:
            words = _words_of(rect)
            if words.strip() and 0 <= begin < _MAX_SECONDS:
                self._cues.setdefault(packet.stream.index, []).append(Cue(begin, max(begin, finish), words))

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
        title = self._title(times[0])
        for key_frame in shot.key_frames:
            height, width = key_frame.pixels.shape[:2]
            picture = picture_of(key_frame.pixels, width, height, file.options.thumbnail_side)
            block = ImageBlock(picture, Span(box=(0.0, 0.0, 1.0, 1.0), begin=times[0], finish=times[1]), title=title)
            if file.options.ocr_seconds:
                block = self._with_words(block, key_frame.pixels, key_frame.large)
            self._pictures.append(block)
        while len(self._pictures) > file.options.max_pictures:
            shown = [(block.span.begin, block.span.finish) for block in self._pictures]
            several = [n for n in range(1, len(shown)) if shown[n] == shown[n - 1]]
            lengths = [(finish or 0) - (begin or 0) for begin, finish in shown]
            del self._pictures[min(several or range(len(shown)), key=lengths.__getitem__)]
            self._left_out += 1

    def _with_words(self, block: ImageBlock, pixels: Pixels, large: Pixels) -> ImageBlock:
        """Note the words in a picture, once while they stay."""
        result = recognise(self._file, pixels, lambda _side: large)
        begin, finish = float(block.span.begin or 0), float(block.span.finish or 0)
        if result is None:
            return block
        last = self._words[-1] if self._words else None
        if last is not None and last.is_alike(result.text):
            last.finish = max(last.finish, finish)
            return block
        words = _Words(result.text, begin, finish, result.word_count > _FEW_WORDS)
        self._words.append(words)
        if words.is_passage:
            return block
        return ImageBlock(block.picture, block.span, title=block.title, ocr_text=" ".join(result.text.split()))


class _Words:
    """Words in pictures, from the first picture that shows them to the last."""

    def __init__(self, text: str, begin: float, finish: float, is_passage: bool) -> None:
        self.text, self.begin, self.finish, self.is_passage = text, begin, finish, is_passage
        self._set = set(text.casefold().split())

    def is_alike(self, text: str) -> bool:
        """Return whether a text says the same, but for what was misread."""
        words = set(text.casefold().split())
        return len(words & self._set) >= _SAME_WORDS * max(len(words), len(self._set), 1)

    def block(self, start: int, title: str | None) -> TextBlock:
        unwrapped = re.sub(r"(?<!\n)\n(?!\n)", " ", self.text)
        times = self.begin, self.finish
        return TextBlock(self.text, start, title, split_as=unwrapped, times=lambda _first, _last: times, from_ocr=True)


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
        if begin is None or not -_MAX_SECONDS < begin < _MAX_SECONDS:
            begin = self._next
        begin = max(begin, Fraction(0))
        if self._last is not None and begin <= self._last:
            begin = max(self._next, self._last + Fraction(1, 1000))
        length = (frame.duration or 0) * base
        finish = begin + (length if 0 < length < _MAX_SECONDS else self._usual)
        self._last, self._next = begin, finish
        return begin, finish


def _area(stream: Any) -> int:
    context = stream.codec_context
    return 0 if context is None else (context.width or 0) * (context.height or 0)


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def _chapters(container: Any) -> list[tuple[float, float, str]]:
    """Return begin, finish and title of the chapters that have a title."""
    chapters = []
    for chapter in container.chapters():
        title = " ".join((chapter.get("metadata") or {}).get("title", "").split())
        base = Fraction(chapter.get("time_base") or 0)
        begin, finish = float(chapter["start"] * base), float(chapter["end"] * base)
        if title and 0 <= begin < _MAX_SECONDS:
            chapters.append((begin, min(max(begin, finish), float(_MAX_SECONDS)), title))
    return sorted(chapters)


def _words_of(rect: Any) -> str:
    """Return the words of a decoded subtitle; none of a picture."""
    ass = getattr(rect, "ass", None)
    if ass:
        text = ass.decode("utf-8", "replace") if isinstance(ass, bytes) else str(ass)
        return dialogue_words(text.split(",", 8)[-1])
    plain = getattr(rect, "text", None) or b""
    return plain.decode("utf-8", "replace") if isinstance(plain, bytes) else str(plain)


def _place(text: str) -> str | None:
    """Return latitude and longitude from ISO 6709, such as ``+48.1374+011.5755/``."""
    match = _PLACE.match(text.strip())
    if match is None:
        return None
    latitude, longitude = float(match[1]), float(match[2])
    if abs(latitude) > 90 or abs(longitude) > 180 or latitude == longitude == 0:
        return None
    return f"{latitude:.5f}, {longitude:.5f}"


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


@lru_cache(maxsize=8)
def _names_in(folder: str, _changed: int) -> tuple[str, ...]:
    return tuple(os.listdir(folder))


def _clock(second: Fraction) -> str:
    seconds = int(second)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
