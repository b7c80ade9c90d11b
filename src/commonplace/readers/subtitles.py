"""Subtitles and lyrics (SubRip, WebVTT, SubStation Alpha, LRC): sentences, each with the time at which it is said."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from commonplace.readers.parts import File, Part, TextBlock
from commonplace.readers.text import decode, read_text

__all__ = ["Cue", "cues_of", "dialogue_words", "passages", "read_subtitles"]

_CUE = re.compile(
    r"^[ \t]*(?:(\d{1,4}):)?(\d\d?):(\d\d[.,]\d{1,9})[ \t]*-->[ \t]*(?:(\d{1,4}):)?(\d\d?):(\d\d[.,]\d{1,9})[^\n]*\n"
    r"((?:(?![^\n]*-->)[^\n]*\S[^\n]*(?:\n|\Z))*)",
    re.MULTILINE,
)
_DIALOGUE = re.compile(r"^Dialogue:[ \t]*(.*)$", re.MULTILINE)
_FORMAT = re.compile(r"\[Events\]\s*^Format:[ \t]*(.*)$", re.MULTILINE | re.IGNORECASE)
_CLOCK = re.compile(r"(\d{1,4}):(\d\d):(\d\d(?:[.,]\d{1,9})?)")
_SPEAKER = re.compile(r"<v(?:\.[\w.-]*)?[ \t]+([^>]+)>")
_DRAWING = re.compile(r"\{[^{}\n]*\\p[1-9][^{}\n]*\}")
_MARKUP = re.compile(r"<[^<>\n]{0,80}>|\{\\[^{}\n]*\}")
_SENTENCE_END = re.compile(r"[.!?…。！？♪\])][\"'”’»」』)]*$")
_NUMBER = re.compile(r"\n\d+\s*$")
_LYRIC = re.compile(r"^[ \t]*((?:\[\d{1,4}:\d\d(?:[.:]\d{1,3})?\][ \t]*)+)([^\n]*)$", re.MULTILINE)
_LYRIC_TIME = re.compile(r"[\[<](\d{1,4}):(\d\d)(?:[.:](\d{1,3}))?[\]>]")
_LYRIC_OFFSET = re.compile(r"^\[offset:[ \t]*([+-]?\d{1,7})[ \t]*\]", re.MULTILINE | re.IGNORECASE)
_MAX_LINE = 10.0  # seconds that a line of lyrics lasts, where the next one comes later
_MAX_SENTENCE = 400  # characters that are joined at most
_MAX_PASSAGE = 20.0  # seconds that a passage lasts, so that a hit leads to what was said and not to a long stretch
_PAUSE = 5.0  # seconds of silence that end a passage


class Cue(NamedTuple):
    """Words that are shown together, and the seconds from which and until which they are.

    ``is_whole``: they are joined with no other cue, as they are a sentence or a line of their own.
    """

    begin: float
    finish: float
    words: str
    is_whole: bool = False


def read_subtitles(file: File) -> Iterator[Part]:
    """Yield the sentences as passages with their times; a file without any cue is read as text."""
    text, problem = decode(file.data)
    cues = cues_of(text)
    if not cues:
        yield from read_text(file)
        return
    if problem:
        file.problems.append(problem)
    yield from passages(cues)


def cues_of(text: str) -> list[Cue]:
    """Return the cues in the text of a file of subtitles or lyrics, by the time at which they begin."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    cues = _events(text) if "[Events]" in text else _cues(text)
    return sorted(cues, key=lambda cue: cue.begin) or _lyrics(text)


def dialogue_words(text: str) -> str:
    """Return the words of a SubStation Alpha event; none of a drawing."""
    return "" if _DRAWING.search(text) else text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")


def passages(
    cues: Iterable[Cue], *, start: int = 0, title: Callable[[float], str | None] = lambda second: None
) -> Iterator[TextBlock]:
    """Yield passages of some seconds, of whole sentences, each on a line that begins with its time.

    Offsets count from ``start``. ``title`` returns the title of what is shown at a second.
    """
    passage: list[Cue] = []
    for sentence in _sentences(cues):
        if passage and (
            sentence.finish - passage[0].begin > _MAX_PASSAGE
            or sentence.begin - passage[-1].finish > _PAUSE
            or title(sentence.begin) != title(passage[0].begin)
        ):
            block = _block(passage, start, title(passage[0].begin))
            start += len(block.text) + 1
            yield block
            passage = []
        passage.append(sentence)
    if passage:
        yield _block(passage, start, title(passage[0].begin))


def _block(sentences: Sequence[Cue], start: int, title: str | None) -> TextBlock:
    lines = [f"[{_clock(sentence.begin)}] {sentence.words}" for sentence in sentences]
    ends = [sum(len(line) + 1 for line in lines[: number + 1]) for number in range(len(lines))]

    def times(first: int, last: int) -> tuple[float, float]:
        shown = [
            sentence
            for sentence, line, end in zip(sentences, lines, ends, strict=True)
            if first < end and last > end - len(line) - 1
        ]
        return shown[0].begin, max(sentence.finish for sentence in shown)

    return TextBlock("\n".join(lines), start, title, times=times)


def _clock(seconds: float) -> str:
    second = int(seconds)
    return f"{second // 3600}:{second // 60 % 60:02}:{second % 60:02}"


def _seconds(hours: str | None, minutes: str, seconds: str) -> float:
    return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))


def _cues(text: str) -> Iterator[Cue]:
    for match in _CUE.finditer(text):
        words = _NUMBER.sub("", "\n" + match[7].rstrip()) if not match[7].strip().isdigit() else match[7]
        begin, finish = _seconds(*match.group(1, 2, 3)), _seconds(*match.group(4, 5, 6))
        yield Cue(begin, max(begin, finish), words)


def _events(text: str) -> Iterator[Cue]:
    form = _FORMAT.search(text)
    columns = [name.strip().lower() for name in form[1].split(",")] if form else []
    start, end, last = 1, 2, 9
    if "start" in columns and "end" in columns:
        start, end, last = columns.index("start"), columns.index("end"), len(columns) - 1
    for match in _DIALOGUE.finditer(text):
        values = match[1].split(",", last)
        if len(values) <= last:
            continue
        first, final = _CLOCK.search(values[start]), _CLOCK.search(values[end])
        if first:
            begin = _seconds(*first.groups())
            yield Cue(begin, max(begin, _seconds(*final.groups()) if final else begin), dialogue_words(values[last]))


def _lyrics(text: str) -> list[Cue]:
    """Return the lines of lyrics (LRC). A line lasts until the next; one without words is a pause."""
    offset = _LYRIC_OFFSET.search(text)
    earlier = int(offset[1]) / 1000 if offset else 0.0
    lines = sorted(
        (max(0.0, int(minutes) * 60 + int(seconds) + float(f"0.{fraction or 0}") - earlier), match[2])
        for match in _LYRIC.finditer(text)
        for minutes, seconds, fraction in _LYRIC_TIME.findall(match[1])
    )
    ends = [*(begin for begin, _words in lines), float("inf")][1:]
    return [
        Cue(begin, min(end, begin + _MAX_LINE), words, is_whole=True)
        for (begin, line), end in zip(lines, ends, strict=True)
        if (words := _LYRIC_TIME.sub("", line).strip())
    ]


def _sentences(cues: Iterable[Cue]) -> Iterator[Cue]:
    begin = finish = 0.0
    sentence = ""
    shown: list[str] = []  # lines of the cue before: some programs repeat them while they scroll
    for cue in cues:
        words = html.unescape(_MARKUP.sub("", _SPEAKER.sub(r"\1: ", cue.words)))
        lines = [" ".join(line.split()) for line in words.split("\n")]
        fresh = [line for line in lines if line and (cue.is_whole or line not in shown)]
        shown = [line for line in lines if line]
        if not fresh:
            continue
        if sentence and (
            cue.is_whole
            or _SENTENCE_END.search(sentence)
            or fresh[0].startswith("-")
            or len(sentence) > _MAX_SENTENCE
            or cue.begin - finish > _PAUSE
        ):
            yield Cue(begin, finish, sentence)
            sentence = ""
        if not sentence:
            begin = finish = cue.begin
        sentence, finish = " ".join(filter(None, [sentence, *fresh])), max(finish, cue.finish)
    if sentence:
        yield Cue(begin, finish, sentence)
