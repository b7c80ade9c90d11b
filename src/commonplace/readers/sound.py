"""Recordings of sound (the extra ``video``): tags, cover, and what is said or sung, with its seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from commonplace.errors import ReadError
from commonplace.i18n import _
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
)
from commonplace.readers.parts import File, ImageBlock, Part, TextBlock
from commonplace.readers.pictures import picture_in
from commonplace.readers.sound_pieces import sound_pieces
from commonplace.readers.speech import speech_of
from commonplace.readers.subtitles import Cue, cues_of
from commonplace.types import Span

__all__ = ["read_sound"]

_LYRICS = re.compile(r"(?:unsynced|synced)?lyrics(?:-.*)?|uslt")
_SLICE = 600  # seconds of a recording that count as a page
_MAX_COVERS = 4
_MAX_TEXT = 1_000_000  # characters of lyrics


def read_sound(file: File) -> Iterator[Part]:
    """Yield the tags, chapters, lyrics, subtitles, speech and covers of a recording of sound."""
    file.has_pages = True
    missing = _(
        "a recording, which needs the extra video: run `pip install 'commonplace-rag[video]'`, and add it again"
    )
    damaged = _("a damaged or truncated recording ({detail}); save a new copy and add it again")
    with opened(file, missing=missing, damaged=damaged) as (av, container):
        if not container.streams.audio:
            raise ReadError(_("there is no sound in it; check that this is the right file"))
        yield from _parts(file, av, container)


def _parts(file: File, av: Any, container: Any) -> Iterator[Part]:
    tags = note_tags(file, container)
    file.add_metadata("album", tags.get("album"))
    file.add_metadata("author", *(tags.get(name) for name in ("album_artist", "composer", "performer")))
    tracks, covers = _contents(file, av, container)
    lyrics = "\n".join(dict.fromkeys(text for name, text in tags.items() if _LYRICS.fullmatch(name)))[:_MAX_TEXT]
    timed = cues_of(lyrics)
    about = _about(file, tags)
    offset = 0
    for words in (about, "" if timed else lyrics):
        if words.strip():
            yield TextBlock(words, offset, None if words is about else file.title)
            offset += len(words) + 1
    tracks += [timed, *cues_beside(file)]
    tracks.append(speech_of(file, [cue for cues in tracks for cue in cues]))
    yield from texts("", chapters_of(container), tracks, start=offset)
    yield from sound_pieces(file)
    for data in covers:
        try:
            picture = picture_in(file, data)
        except ReadError as problem:
            file.problems.append(_("its cover: {problem}").format(problem=problem))
            continue
        yield ImageBlock(picture, Span(box=(0.0, 0.0, 1.0, 1.0)), tags.get("album") or file.title)


def _about(file: File, tags: Mapping[str, str]) -> str:
    """Return what the tags say of a recording; without a title, the name of the file stands for it."""
    names = ("artist", "album", "composer", "genre", "description", "comment", "synopsis")
    title = tags.get("title") or ("" if file.depth else file.path.stem)
    return "\n".join(dict.fromkeys(filter(None, [title, *(tags.get(name, "").strip() for name in names)])))


def _contents(file: File, av: Any, container: Any) -> tuple[list[list[Cue]], list[bytes]]:
    """Return the subtitles of each track, and the files of the covers. Damage is noted."""
    cues: dict[int, list[Cue]] = {}
    covers: dict[int, bytes] = {}
    zero, end = first_second(av, container), Fraction(0)
    packets = container.demux()
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, ValueError, OSError) as error:
            file.problems.append(
                _("it is damaged after {time} ({detail}); save a new copy").format(
                    time=clock(end), detail=detail_of(error)
                )
            )
            break
        if packet is None:
            break
        kind, index = packet.stream.type, packet.stream.index
        if kind == "subtitle" and sum(map(len, cues.values())) < MAX_CUES:
            cues.setdefault(index, []).extend(cues_in(av, packet, zero))
        elif kind == "video" and packet.size and len(covers) < _MAX_COVERS:
            covers.setdefault(index, bytes(packet))
        elif kind == "audio" and packet.pts is not None and packet.time_base is not None:
            finish = (packet.pts + (packet.duration or 0)) * packet.time_base - zero
            if end // _SLICE < finish // _SLICE <= MAX_SECONDS:
                quota = file.quota
                quota.look()
                if quota.is_used_up or (quota.last_page is not None and quota.looked_at >= quota.last_page):
                    file.problems.append(
                        _("only its beginning was read, up to {time}: {reason}").format(
                            time=clock(end), reason=quota.reason
                        )
                    )
                    break
            end = max(end, finish) if finish <= MAX_SECONDS else end
    note_if_cut_off(file, av, container, end)
    return list(cues.values()), list(covers.values())
