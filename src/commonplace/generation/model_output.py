"""Reads what a language model writes, piece by piece: sentences, the evidence that they cite, and loops."""

from __future__ import annotations

import re
from collections.abc import Iterator

from commonplace.generation.parts import Abstention, ShownImage, Statement
from commonplace.generation.prompt import NO_ANSWER
from commonplace.generation.sentences import segment
from commonplace.i18n import N_, _

__all__ = ["SentenceParser", "is_looping", "without_thoughts"]

NO_ANSWER_FOUND = N_("The language model found no answer in the evidence.")
LOOP_CHARS, LOOP_TIMES = 200, 4  # characters that a loop has at least, in all, and how often its text repeats
LONGEST_RANGE = 20  # citations in a range such as [1-5]; a longer range counts as its two ends

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_MARKER = re.compile(
    r"[\[【]\s{0,3}(?:\^|evidence|source|passage|picture|doc(?:ument)?)?\s{0,3}#?(\d{1,6}(?:\s{0,3}(?:[,;、]|and|-|–)\s{0,3}\d{1,6})*)"
    r"(?:\s{0,3}[†:][^\]】\n]{0,80})?\s{0,3}[\]】]",
    re.IGNORECASE,
)
_OPEN_BRACKET = re.compile(r"[\[【][^\]】\n]{0,100}$")
_ENCODED = re.compile(r"\ue000(\d+(?:,\d+)*)?\ue001")
_MARKER_AFTER_STOP = re.compile(r"([.!?。！？…][\"'”’)\]]*)([ \t]*(?:\ue000[\d,]*\ue001[ \t]*)+)")
_MARKDOWN = re.compile(r"^\s*(?:#{1,6}\s+|[-*•+]\s+|\d{1,2}[.)]\s+|>\s*)+|\*{1,3}|_{2,3}|`+")
_DESCRIPTION = re.compile(
    r"^\s*[-*]?\s*(?:picture|image|figure|图片?|圖)\s*\ue000(\d+)\ue001\s*[:：]\s*(.+)$", re.IGNORECASE
)


class SentenceParser:
    """Reads what a model writes, piece by piece, as sentences with the evidence that they cite.

    Markers may stand before or after the full stop, in square or Chinese brackets, several in one bracket. A marker
    with a number outside 1 to ``count`` is removed and counted as invalid. Markdown is removed, and so is the text
    between ``<think>`` and ``</think>``. A line ``Picture [n]: ...`` describes a picture. ``language`` is that of the
    question, in which an abstention gives its reason.
    """

    def __init__(self, count: int, language: str | None = None) -> None:
        self._count = count
        self._language = language
        self._text = ""
        self._starts_paragraph = False
        self._thinking = False
        self.abstained = False
        """Whether the model wrote that there is no answer."""

    def feed(self, piece: str) -> Iterator[Statement | ShownImage | Abstention]:
        """Yield the sentences that this piece completes."""
        self._text += "".join(c for c in piece if c not in "\ue000\ue001")
        self._skip_thoughts()
        if self._thinking or not any(c in ".!?。！？…\n" for c in self._text):
            return
        while "\n" in self._text:
            line, self._text = self._text.split("\n", 1)
            yield from self._line(line)
            self._starts_paragraph = True
        if _OPEN_BRACKET.search(self._text):
            return
        *complete, rest = self._split(self._text) or [""]
        # A sentence is complete once the next one has begun with something other than markers.
        if complete and re.search(r"\w{2}", _ENCODED.sub("", rest)):
            for sentence in complete:
                yield from self._sentence(sentence)
            self._text = _ENCODED.sub(lambda match: f"[{match[1]}]", rest)

    def end(self, *, complete: bool = True) -> Iterator[Statement | ShownImage | Abstention]:
        """Yield the rest; an unfinished last sentence only if the text is ``complete``, that is, not cut short."""
        if self._thinking:
            return
        sentences = self._split(self._text)
        if sentences and not complete:
            last = _ENCODED.sub("", sentences[-1])
            if not re.search(r"[.!?。！？…][\"'”’)\]]*\s*$", last):
                sentences.pop()
        self._text = ""
        for sentence in sentences:
            yield from self._sentence(sentence)

    def _skip_thoughts(self) -> None:
        if self._thinking or self._text.lstrip().startswith("<think>"):
            _, closed, rest = self._text.partition("</think>")
            self._thinking = not closed
            # A tag may arrive in two pieces, so keep what may be the beginning of one.
            self._text = rest if closed else "<think>" + self._text[-8:].removeprefix("<think>")

    def _line(self, line: str) -> Iterator[Statement | ShownImage | Abstention]:
        marked = _MARKER.sub(_encoded, line)
        if (match := _DESCRIPTION.match(marked)) and 1 <= int(match[1]) <= self._count:
            yield ShownImage(int(match[1]) - 1, _clean(_ENCODED.sub("", match[2])))
            return
        for sentence in self._split(line):
            yield from self._sentence(sentence)

    @staticmethod
    def _split(text: str) -> list[str]:
        """Return the sentences of a text, each with its markers before its end."""
        text = _MARKER.sub(_encoded, text)
        text = _MARKER_AFTER_STOP.sub(lambda match: match[2].strip() + match[1] + " ", text)
        return [sentence for sentence in segment(text) if sentence.strip()]

    def _sentence(self, sentence: str) -> Iterator[Statement | ShownImage | Abstention]:
        numbers = [int(n) for match in _ENCODED.finditer(sentence) for n in (match[1] or "").split(",") if n]
        text = _clean(_ENCODED.sub("", sentence))
        if not any(map(str.isalnum, text)):
            return
        if text.upper().startswith(NO_ANSWER):
            self.abstained = True
            yield Abstention(_(NO_ANSWER_FOUND, self._language))
            return
        cited = tuple(dict.fromkeys(n - 1 for n in numbers if 1 <= n <= self._count))
        invalid_citations = sum(not 1 <= n <= self._count for n in numbers)
        yield Statement(text, cited, invalid_citations=invalid_citations, starts_paragraph=self._starts_paragraph)
        self._starts_paragraph = False


def _encoded(match: re.Match[str]) -> str:
    """Return a marker as its numbers between two private characters, which no sentence splitter separates."""
    numbers: list[int] = []
    for part in re.split(r"\s*(?:[,;、]|and)\s*", match[1], flags=re.IGNORECASE):
        first, *last = (int(number) for number in re.split(r"\s*[-–]\s*", part))
        in_range = bool(last) and first <= last[0] <= first + LONGEST_RANGE
        numbers += range(first, last[0] + 1) if in_range else [first, *last]
    return f"\ue000{','.join(map(str, numbers))}\ue001"


def _clean(text: str) -> str:
    """Return a sentence on one line, without Markdown and without a space before its punctuation."""
    text = " ".join(_MARKDOWN.sub("", text).split())
    return re.sub(r"\s+([.,;:!?。，；：！？])", r"\1", text)


def without_thoughts(text: str) -> str:
    """Return what a model wrote without the text between ``<think>`` and ``</think>``."""
    return _THOUGHT.sub("", text)


def is_looping(text: str) -> bool:
    """Return whether a text ends in the same stretch four times in a row, at least 200 characters in all."""
    reverse = text[::-1]
    border = [0] * len(reverse)  # the longest border of each prefix (Knuth, Morris and Pratt 1977)
    length = 0
    for i in range(1, len(reverse)):
        while length and reverse[i] != reverse[length]:
            length = border[length - 1]
        length += reverse[i] == reverse[length]
        border[i] = length
        if i + 1 >= LOOP_CHARS and i + 1 >= LOOP_TIMES * (i + 1 - length):
            return True
    return False
