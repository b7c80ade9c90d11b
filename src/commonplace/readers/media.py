"""What videos and recordings of sound share: the container, its tags and chapters, and what is said at which second.

PyAV (the extra ``video``) reads both. The demuxer is chosen by the detected type, and can open no other file: a
playlist is never followed.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from typing import Any

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.formats import read_whole, subtitles_of
from commonplace.readers.parts import File, TextBlock
from commonplace.readers.subtitles import Cue, cues_of, dialogue_words, passages
from commonplace.readers.text import decode

__all__ = [
    "MAX_CUES",
    "MAX_SECONDS",
    "Chapters",
    "chapters_of",
    "clock",
    "cues_beside",
    "cues_in",
    "detail_of",
    "first_second",
    "note_if_cut_off",
    "note_tags",
    "opened",
    "texts",
    "title_at",
]

MAX_CUES = 200_000
MAX_SECONDS = 10**7  # a later time is damage
_BUFFER = 2**20  # bytes
_MAX_SUBTITLES = 16 * 2**20  # bytes of a file beside the recording
_MISSING = 2  # seconds at the end whose absence means that the file is cut off

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
    "audio/x-wav": "wav",
    "audio/mpeg": "mp3",
    "audio/flac": "flac",
    "audio/mp4": "mov",
    "audio/ogg": "ogg",
    "audio/aac": "aac",
    "audio/x-aiff": "aiff",
    "audio/x-ms-wma": "asf",
    "audio/x-matroska": "matroska",
}
_OWN_CLOCK = ("mpeg", "mpegts")  # streams out of broadcasts: their times begin anywhere
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

Chapters = list[tuple[float, float, str]]
"""Begin, finish (seconds) and title of the chapters that have a title."""


@contextmanager
def opened(file: File, *, missing: str, damaged: str) -> Iterator[tuple[Any, Any]]:
    """Open a file with PyAV, and yield the module and the container.

    Raises ReadError with ``missing`` where PyAV is not installed, and with ``damaged``, which has a field ``detail``,
    where the file cannot be opened.
    """
    try:
        av: Any = importlib.import_module("av")
    except ImportError:
        raise ReadError(missing) from None
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
            raise ReadError(damaged.format(detail=detail_of(error))) from None
        with container:
            yield av, container


def _refuse(*_arguments: object) -> None:
    raise PermissionError("a recording may not open other files")


def _demuxer(file: File) -> str:
    name = _DEMUXERS.get(file.media_type, "mov")
    if name == "mpeg":
        with file.open() as stream:
            if stream.read(4) == b"\0\0\x01\xb3":  # pictures without a container
                return "mpegvideo"
    return name


def detail_of(error: BaseException) -> str:
    """Return what FFmpeg says of an error, on one line."""
    text = str(getattr(error, "strerror", None) or error)
    return " ".join(text.split())[:120] or type(error).__name__


def first_second(av: Any, container: Any) -> Fraction:
    """Return the time in the container at which second 0 is."""
    if any(name in _OWN_CLOCK for name in container.format.name.split(",")) and container.start_time is not None:
        return Fraction(container.start_time, av.time_base)
    return Fraction(0)


def clock(second: Fraction | float) -> str:
    """Return a time for messages: ``1:02:03``."""
    seconds = int(second)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def note_if_cut_off(file: File, av: Any, container: Any, end: Fraction) -> None:
    """Note where a file is shorter than it says. ``end`` is the second up to which it was read."""
    duration = Fraction(container.duration, av.time_base) if container.duration else Fraction(0)
    if not file.problems and float(duration - end) > max(_MISSING, float(duration) / 100):
        file.problems.append(
            _("it is cut off: it ends at {time} of {duration}; save a new copy").format(
                time=clock(end), duration=clock(duration)
            )
        )


# --- tags and chapters ----------------------------------------------------------------------------------------------


def note_tags(file: File, container: Any) -> Mapping[str, str]:
    """Note title, authors, date, place and language, and return all tags, their names in lower case."""
    tags = {key.casefold(): value for key, value in container.metadata.items() if value.strip()}
    sound = [stream for stream in container.streams if stream.type == "audio"]
    for stream in sound if "ogg" in container.format.name else ():  # there the tags are those of the stream
        tags = {key.casefold(): value for key, value in stream.metadata.items() if value.strip()} | tags
    file.title = tags.get("title") or tags.get("com.apple.quicktime.title")
    for key, names in _METADATA.items():
        file.add_metadata(key, next((tags[name] for name in names if tags.get(name)), None))
    maker, model = (tags.get(f"com.apple.quicktime.{name}") or tags.get(name) or "" for name in ("make", "model"))
    file.add_metadata("camera", model if model.startswith(maker) else f"{maker} {model}".strip())
    for name, value in tags.items():
        if name.startswith("location") or name == "com.apple.quicktime.location.iso6709":
            file.add_metadata("place", _place(value))
            break
    languages = [stream.metadata.get("language", "und") for stream in sound] + [tags.get("language", "und")]
    file.add_metadata("language", *(language for language in languages if language != "und"))
    return tags


def _place(text: str) -> str | None:
    """Return latitude and longitude from ISO 6709, such as ``+48.1374+011.5755/``."""
    match = _PLACE.match(text.strip())
    if match is None:
        return None
    latitude, longitude = float(match[1]), float(match[2])
    if abs(latitude) > 90 or abs(longitude) > 180 or latitude == longitude == 0:
        return None
    return f"{latitude:.5f}, {longitude:.5f}"


def chapters_of(container: Any) -> Chapters:
    """Return begin, finish and title of the chapters that have a title."""
    chapters = []
    for chapter in container.chapters():
        title = " ".join((chapter.get("metadata") or {}).get("title", "").split())
        base = Fraction(chapter.get("time_base") or 0)
        begin, finish = float(chapter["start"] * base), float(chapter["end"] * base)
        if title and 0 <= begin < MAX_SECONDS:
            chapters.append((begin, min(max(begin, finish), float(MAX_SECONDS)), title))
    return sorted(chapters)


def title_at(chapters: Chapters, second: float) -> str | None:
    """Return the title of the chapter at a second."""
    titles = [title for begin, finish, title in chapters if begin <= second < finish]
    return titles[-1] if titles else None


# --- texts with times -----------------------------------------------------------------------------------------------


def texts(description: str, chapters: Chapters, tracks: Iterable[list[Cue]], *, start: int = 0) -> Iterator[TextBlock]:
    """Yield the description, the titles of the chapters, and what is said or sung, in passages with their times.

    Offsets count from ``start``.
    """
    offset = start
    if description.strip():
        yield TextBlock(description, offset)
        offset += len(description) + 1
    for begin, finish, title in chapters:
        yield TextBlock(title, offset, times=lambda _first, _last, times=(begin, finish): times)  # type: ignore[misc]
        offset += len(title) + 1
    present: set[str] = set()  # tracks and files often hold the same words
    for cues in tracks:
        ordered = sorted(cues, key=lambda cue: cue.begin)
        for block in passages(ordered, start=offset, title=lambda second: title_at(chapters, second)):
            if block.text not in present:
                present.add(block.text)
                yield block
            offset = block.start + len(block.text) + 1


def cues_in(av: Any, packet: Any, zero: Fraction) -> list[Cue]:
    """Return the cues in a packet of subtitles; none where it is damaged. ``zero`` is where second 0 is."""
    if packet.pts is None or packet.time_base is None:
        return []
    begin = float(packet.pts * packet.time_base - zero)
    finish = begin + float((packet.duration or 0) * packet.time_base)
    try:
        shown = [rect for subtitle in packet.decode() for rect in getattr(subtitle, "rects", [subtitle])]
    except (av.FFmpegError, ValueError, NotImplementedError):
        return []
    words = [text for rect in shown if (text := _words_of(rect)).strip() and 0 <= begin < MAX_SECONDS]
    return [Cue(begin, max(begin, finish), text) for text in words]


def _words_of(rect: Any) -> str:
    """Return the words of a decoded subtitle; none of a picture."""
    ass = getattr(rect, "ass", None)
    if ass:
        text = ass.decode("utf-8", "replace") if isinstance(ass, bytes) else str(ass)
        return dialogue_words(text.split(",", 8)[-1])
    plain = getattr(rect, "text", None) or b""
    return plain.decode("utf-8", "replace") if isinstance(plain, bytes) else str(plain)


def cues_beside(file: File) -> Iterator[list[Cue]]:
    """Yield the subtitles and lyrics in the files beside a recording that have its name."""
    if file.depth:
        return
    folder = file.path.parent
    for suffix in ("srt", "vtt", "ass", "lrc"):
        file.watch(folder / f"{file.path.stem}.{suffix}")  # also where it comes later
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


@lru_cache(maxsize=8)
def _names_in(folder: str, _changed: int) -> tuple[str, ...]:
    return tuple(os.listdir(folder))
