"""Subtitles (SubRip, WebVTT, SubStation Alpha): whole sentences, each after the time at which it begins."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from commonplace.readers.blocks import LayoutBlock, Paragraph, lay_out
from commonplace.readers.parts import File, Part
from commonplace.readers.text import decode, read_text

__all__ = ["read_subtitles"]

_CUE = re.compile(
    r"^[ \t]*(?:(\d+):)?(\d\d?):(\d\d)[.,]\d+[ \t]*-->[^\n]*\n((?:(?![^\n]*-->)[^\n]*\S[^\n]*(?:\n|\Z))*)", re.MULTILINE
)
_DIALOGUE = re.compile(r"^Dialogue:[ \t]*(.*)$", re.MULTILINE)
_FORMAT = re.compile(r"\[Events\]\s*^Format:[ \t]*(.*)$", re.MULTILINE | re.IGNORECASE)
_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d)")
_SPEAKER = re.compile(r"<v(?:\.[\w.-]*)?[ \t]+([^>]+)>")
_MARKUP = re.compile(r"<[^<>\n]{0,80}>|\{\\[^{}\n]*\}")
_SENTENCE_END = re.compile(r"[.!?…。！？♪\])][\"'”’»」』)]*$")
_NUMBER = re.compile(r"\n\d+\s*$")
_MAX_SENTENCE = 400  # characters that are joined at most

_Cue = tuple[int, str]
"""The second at which words are shown, and the words."""


def read_subtitles(file: File) -> Iterator[Part]:
    """Yield the sentences with their times; a file without any cue is read as text."""
    text, problem = decode(file.data)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    cues = list(_events(text) if "[Events]" in text else _cues(text))
    if not cues:
        yield from read_text(file)
        return
    if problem:
        file.problems.append(problem)
    yield from lay_out(file, _blocks(cues))


def _cues(text: str) -> Iterator[_Cue]:
    for match in _CUE.finditer(text):
        words = _NUMBER.sub("", "\n" + match[4].rstrip()) if not match[4].strip().isdigit() else match[4]
        yield int(match[1] or 0) * 3600 + int(match[2]) * 60 + int(match[3]), words


def _events(text: str) -> Iterator[_Cue]:
    form = _FORMAT.search(text)
    columns = [name.strip().lower() for name in form[1].split(",")] if form else []
    start, last = (columns.index("start"), len(columns) - 1) if "start" in columns else (1, 9)
    for match in _DIALOGUE.finditer(text):
        values = match[1].split(",", last)
        clock = _CLOCK.search(values[start]) if len(values) > last else None
        if clock:
            hours, minutes, seconds = map(int, clock.groups())
            words = values[last].replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
            yield hours * 3600 + minutes * 60 + seconds, words


def _blocks(cues: list[_Cue]) -> Iterator[LayoutBlock]:
    begin, sentence = 0, ""
    shown: list[str] = []  # lines of the cue before: some programs repeat them while they scroll
    for second, words in cues:
        words = html.unescape(_MARKUP.sub("", _SPEAKER.sub(r"\1: ", words)))
        lines = [" ".join(line.split()) for line in words.split("\n")]
        fresh = [line for line in lines if line and line not in shown]
        shown = [line for line in lines if line]
        if not fresh:
            continue
        if sentence and (_SENTENCE_END.search(sentence) or fresh[0].startswith("-") or len(sentence) > _MAX_SENTENCE):
            yield _block(begin, sentence)
            sentence = ""
        if not sentence:
            begin = second
        sentence = " ".join(filter(None, [sentence, *fresh]))
    if sentence:
        yield _block(begin, sentence)


def _block(second: int, sentence: str) -> Paragraph:
    return Paragraph(f"[{second // 3600}:{second // 60 % 60:02}:{second % 60:02}] {sentence}", list_item=True)
