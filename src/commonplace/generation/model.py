"""Answers that a language model writes: prompted with evidence, read sentence by sentence while it writes."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

from commonplace.errors import GeneratorError
from commonplace.generation.extractive import NOTHING_FOUND
from commonplace.generation.intent import wants_pictures
from commonplace.generation.parts import Nothing, Part, Request, Shown, Statement
from commonplace.generation.prompt import NO_ANSWER, plain, prompt, rewriting
from commonplace.types import Note

__all__ = ["ContextTooSmall", "ModelGenerator", "NoPictures", "Sentences", "looping"]

SAYS_NOTHING = "The language model found no answer in the evidence."
LONGEST_REWRITE = 500  # characters of a rewritten question
REPEATS = 3  # sentences that were said before, after which a model is taken to go round in circles


class NoPictures(GeneratorError):
    """The model or its server takes no pictures."""


class ContextTooSmall(GeneratorError):
    """The server says that the prompt is longer than the model's context."""


class ModelGenerator(ABC):
    """What all language models have in common; a subclass says how to reach one.

    ``context`` is the model's, in tokens, of which ``max_tokens`` are kept for the answer; ``pictures`` is how many
    are sent at most; ``vision`` whether the model takes pictures (None: it is tried, and remembered); ``fallback``
    whether the extractive answer may stand in.
    """

    def __init__(
        self,
        name: str,
        *,
        context: int = 8192,
        max_tokens: int = 700,
        pictures: int = 4,
        vision: bool | None = None,
        fallback: bool = True,
    ) -> None:
        if not 0 < max_tokens < context:
            raise GeneratorError(
                f"max_tokens is {max_tokens} and context {context}: an answer takes at least one token, "
                "and must leave room for evidence"
            )
        self.name = name
        self.fallback = fallback
        self.context = context
        self.max_tokens = max_tokens
        self.pictures = max(pictures, 0)
        self.vision = vision

    @abstractmethod
    def write(self, messages: Sequence[dict[str, Any]], max_tokens: int) -> Generator[str | Note, None, None]:
        """Yield what the model writes, piece by piece; closing the iterator stops it.

        Raises NoPictures, ContextTooSmall, or GeneratorError for all else.
        """

    def generate(self, request: Request) -> Iterator[Part]:
        """Yield the parts of the answer while the model writes it, each sentence once its end and markers are there.

        Where the model takes no pictures it is asked again without; where its context is too small, with half the
        evidence, down to one piece. Raises GeneratorError where no answer can be had.
        """
        if not request.hits:
            yield Nothing(NOTHING_FOUND)
            return
        shown = set(request.relevant_images) if wants_pictures(request.question) else set()
        yield from (Shown(n) for n in request.relevant_images if n in shown)
        most: int | None = None
        while True:
            pictures = 0 if self.vision is False else self.pictures
            made = prompt(request, budget=self.context - self.max_tokens, most_pictures=pictures, most_hits=most)
            try:
                if made.kept < len(request.hits):
                    yield Note(
                        f"{made.kept} of {len(request.hits)} pieces of evidence were read: the context holds no more"
                    )
                with closing(self._parts(made.messages, made.kept, request)) as parts:
                    yield from parts
                return
            except NoPictures:
                if not made.pictures:
                    raise
                self.vision = False
                yield Note(f"{self.name} takes no pictures: it was given their captions", restart=False)
            except ContextTooSmall as problem:
                if made.kept == 1:
                    raise GeneratorError(
                        f"the context of {self.name} is too small for one piece of evidence: give it a larger one, "
                        "or choose another model"
                    ) from problem
                most = made.kept // 2

    def self_contained(self, question: str, history: Sequence[tuple[str, str]]) -> str:
        """Return a follow-up question in words that need no history; raises GeneratorError where it writes none."""
        text = ""
        with closing(self.write(rewriting(question, history), 120)) as pieces:
            for piece in pieces:
                text = (text + piece if isinstance(piece, str) else text)[: 4 * LONGEST_REWRITE + 1]
                if len(text) > 4 * LONGEST_REWRITE:
                    break
        lines = [line.strip(" \"'“”") for line in plain(_THOUGHT.sub("", text)).splitlines() if line.strip()]
        if not lines or len(lines[0]) > LONGEST_REWRITE:
            raise GeneratorError(f"{self.name} wrote no question that can be searched for")
        return lines[0]

    def _parts(self, messages: Sequence[dict[str, Any]], kept: int, request: Request) -> Generator[Part, None, None]:
        reader = Sentences(kept)
        said: set[str] = set()
        shown: set[str | None] = set()
        if wants_pictures(request.question):
            shown = {request.hits[n].item.picture for n in request.relevant_images}
        again = written = checked = 0
        tail = ""
        stopped = None
        with closing(self.write(messages, self.max_tokens)) as pieces:
            for piece in pieces:
                if isinstance(piece, Note):
                    yield piece
                    continue
                # A server may send all at once what would take hours to read.
                piece = piece[: 8 * self.max_tokens + 1 - written]
                written += len(piece)
                tail = (tail + piece)[-1600:]
                for part in reader.feed(piece):
                    again += isinstance(part, Statement) and part.text in said
                    yield from self._with_pictures(part, request, said, shown)
                if written > 8 * self.max_tokens:
                    stopped = f"{self.name} wrote more than {self.max_tokens} tokens: it was stopped"
                elif again >= REPEATS or (written - checked > 200 and looping(tail)):
                    stopped = f"{self.name} repeated itself: it was stopped"
                if written - checked > 200:
                    checked = written
                if stopped:
                    break
        # What was cut short in the middle of a sentence is no sentence.
        for part in reader.end(whole=stopped is None):
            yield from self._with_pictures(part, request, said, shown)
        if stopped:
            yield Note(stopped)
        if not written or (not said and not reader.silent and not stopped):
            raise GeneratorError(f"{self.name} wrote nothing: ask again, or choose another model")

    @staticmethod
    def _with_pictures(
        part: Statement | Shown | Nothing, request: Request, said: set[str], shown: set[str | None]
    ) -> Iterator[Part]:
        """Yield a sentence once, then the pictures that belong to it: those it cites, and those beside its passage."""
        if isinstance(part, Shown):
            if request.hits[part.hit].item.picture is not None:
                said.add(part.text or "")
                shown.add(request.hits[part.hit].item.picture)
                yield part
            return
        if isinstance(part, Nothing):
            yield part
            return
        if part.text in said:
            return
        said.add(part.text)
        yield part
        beside = [n for n in request.relevant_images for c in part.hits if _beside(request, n, c)]
        for n in (*part.hits, *beside):
            picture = request.hits[n].item.picture
            if picture is not None and picture not in shown:
                shown.add(picture)
                yield Shown(n)


def _beside(request: Request, picture: int, passage: int) -> bool:
    """Return whether a picture stands under the same heading, or on the same page, as a passage."""
    one, other = request.hits[picture].item, request.hits[passage].item
    same = one.document.id == other.document.id
    return same and one.title == other.title and one.span.page == other.span.page


def looping(text: str) -> bool:
    """Return whether a text ends in the same stretch four times over, at least 200 characters in all."""
    end = text[::-1]
    fail = [0] * len(end)  # longest border of each prefix (Knuth, Morris and Pratt 1977)
    k = 0
    for i in range(1, len(end)):
        while k and end[i] != end[k]:
            k = fail[k - 1]
        k += end[i] == end[k]
        fail[i] = k
        if i + 1 >= 200 and i + 1 >= 4 * (i + 1 - k):
            return True
    return False


_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_MARKER = re.compile(
    r"[\[【]\s{0,3}(?:\^|evidence|source|passage|picture|doc(?:ument)?)?\s{0,3}#?(\d{1,6}(?:\s{0,3}(?:[,;、]|and|-|–)\s{0,3}\d{1,6})*)"
    r"(?:\s{0,3}[†:][^\]】\n]{0,80})?\s{0,3}[\]】]",
    re.IGNORECASE,
)
_OPEN = re.compile(r"[\[【][^\]】\n]{0,100}$")
_MARKS = re.compile(r"\ue000(\d+(?:,\d+)*)?\ue001")
_AFTER = re.compile(r"([.!?。！？…][\"'”’)\]]*)([ \t]*(?:\ue000[\d,]*\ue001[ \t]*)+)")
_DRESS = re.compile(r"^\s*(?:#{1,6}\s+|[-*•+]\s+|\d{1,2}[.)]\s+|>\s*)+|\*{1,3}|_{2,3}|`+")
_DESCRIBED = re.compile(
    r"^\s*[-*]?\s*(?:picture|image|figure|图片?|圖)\s*\ue000(\d+)\ue001\s*[:：]\s*(.+)$", re.IGNORECASE
)


class Sentences:
    """Reads what a model writes, piece by piece, as sentences with the evidence they name.

    Markers may stand before or after the full stop, in square or Chinese brackets, several in one; one that names none
    of the ``count`` pieces of evidence is taken out and counted. Markdown, and what stands between ``<think>`` and
    ``</think>``, is taken off. A line ``Picture [n]: ...`` describes a picture.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._text = ""
        self._opens = False
        self._thinks = False
        self.silent = False
        """Whether the model said that there is no answer."""

    def feed(self, piece: str) -> Iterator[Statement | Shown | Nothing]:
        """Yield the sentences that are complete with this piece."""
        self._text += "".join(c for c in piece if c not in "\ue000\ue001")
        self._skip_thoughts()
        if self._thinks or not any(c in ".!?。！？…\n" for c in self._text):
            return
        while "\n" in self._text:
            line, self._text = self._text.split("\n", 1)
            yield from self._line(line)
            self._opens = True
        if _OPEN.search(self._text):
            return
        *done, rest = self._split(self._text) or [""]
        # A sentence is done once the next has begun with something else than its markers.
        if done and re.search(r"\w{2}", _MARKS.sub("", rest)):
            for sentence in done:
                yield from self._sentence(sentence)
            self._text = _MARKS.sub(lambda match: f"[{match[1]}]", rest)

    def end(self, *, whole: bool = True) -> Iterator[Statement | Shown | Nothing]:
        """Yield what is left; an unfinished sentence only where the text is ``whole``."""
        if self._thinks:
            return
        sentences = self._split(self._text)
        if not whole and sentences and not re.search(r"[.!?。！？…][\"'”’)\]]*\s*$", _MARKS.sub("", sentences[-1])):
            sentences.pop()
        self._text = ""
        for sentence in sentences:
            yield from self._sentence(sentence)

    def _skip_thoughts(self) -> None:
        if self._thinks or self._text.lstrip().startswith("<think>"):
            _, closed, rest = self._text.partition("</think>")
            self._thinks = not closed
            # A tag may come in two pieces: keep what may be the beginning of one.
            self._text = rest if closed else "<think>" + self._text[-8:].removeprefix("<think>")

    def _line(self, line: str) -> Iterator[Statement | Shown | Nothing]:
        marked = _MARKER.sub(self._mark, line)
        if (found := _DESCRIBED.match(marked)) and 1 <= int(found[1]) <= self._count:
            yield Shown(int(found[1]) - 1, _clean(_MARKS.sub("", found[2])))
            return
        for sentence in self._split(line):
            yield from self._sentence(sentence)

    def _mark(self, match: re.Match[str]) -> str:
        numbers: list[int] = []
        for part in re.split(r"\s*(?:[,;、]|and)\s*", match[1], flags=re.IGNORECASE):
            first, *last = (int(one) for one in re.split(r"\s*[-–]\s*", part))
            numbers += range(first, last[0] + 1) if last and first <= last[0] <= first + 20 else [first, *last]
        return f"\ue000{','.join(map(str, numbers))}\ue001"

    def _split(self, text: str) -> list[str]:
        """Return the sentences of a text, each with its markers before its end."""
        import sentencex

        text = _AFTER.sub(lambda match: match[2].strip() + match[1] + " ", _MARKER.sub(self._mark, text))
        return [one for one in sentencex.segment("en", text) if one.strip()]

    def _sentence(self, sentence: str) -> Iterator[Statement | Shown | Nothing]:
        numbers = [int(n) for match in _MARKS.finditer(sentence) for n in (match[1] or "").split(",") if n]
        text = _clean(_MARKS.sub("", sentence))
        if not any(map(str.isalnum, text)):
            return
        if text.upper().startswith(NO_ANSWER):
            self.silent = True
            yield Nothing(SAYS_NOTHING)
            return
        known = tuple(dict.fromkeys(n - 1 for n in numbers if 1 <= n <= self._count))
        invalid_citations = sum(not 1 <= n <= self._count for n in numbers)
        yield Statement(text, known, invalid_citations=invalid_citations, starts_paragraph=self._opens)
        self._opens = False


def _clean(text: str) -> str:
    """Return a sentence on one line without Markdown and without space before its end."""
    text = " ".join(_DRESS.sub("", text).split())
    return re.sub(r"\s+([.,;:!?。，；：！？])", r"\1", text)
