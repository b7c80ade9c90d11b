"""Cutting text into chunks that a text tower takes whole."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

__all__ = ["Chunker"]

# A chunk of this many tokens is full: one thought, not a page of them.
_FULL = 200
# Titles are measured in steps, so that few splitters are ever made (each costs a copy of the tokenizer).
_STEP = 16
# A word that a tokenizer gives up on is a single token however long it is; this keeps such chunks within reason.
_CHARACTERS_PER_TOKEN = 8
# The splitter's time grows with the square of a text without spaces: such a text is handed over in pieces.
_WINDOW = 16_000  # characters


class Chunker:
    """Cuts texts at headings, paragraphs, sentences or words, whichever is the highest that fits.

    ``max_tokens`` is the most that a text view (title, line end, text) may encode to, special tokens included.
    """

    def __init__(self, tokenizer: str, max_tokens: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(tokenizer)
        # As shipped, many files cut and pad at 128 tokens: counts would be wrong and text lost.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._special: int = self._tokenizer.num_special_tokens_to_add(False)
        self._budget = max_tokens - self._special
        self._splitters: dict[tuple[int, bool], TextSplitter | MarkdownSplitter] = {}

    def count(self, text: str) -> int:
        """Return the number of tokens of ``text``, without special tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def title(self, title: str | None) -> str | None:
        """Return ``title`` cut from the left ("A > B > C" -> "C") until it takes at most a quarter of the budget."""
        words = " ".join((title or "").split())
        while words and self.count(words) > self._budget // 4:
            _, found, rest = words.partition(" > ")
            words = rest if found else words.partition(" ")[2]
        return words or None

    def room(self, title: str | None) -> int:
        """Return how many tokens a text under ``title`` may have to be one chunk, and a full one at most."""
        taken = self.count(f"{title}\n") if title else 0
        return max(1, min(_FULL, self._budget - -(-taken // _STEP) * _STEP))

    def caption(self, text: str | None, title: str | None) -> str | None:
        """Return ``text`` on one line, cut at a word so that it fits under ``title``; the cut shows as an ellipsis."""
        words = " ".join((text or "").split())
        if not words or self._fits(words, title):
            return words or None
        low, high = 0, min(len(words), self._budget * _CHARACTERS_PER_TOKEN)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._fits(words[:middle] + " …", title) else (low, middle - 1)
        return (words[:low].rsplit(" ", 1)[0] + " …") if low else None

    def chunks(
        self,
        text: str,
        title: str | None = None,
        *,
        markdown: bool = False,
        split_as: str | None = None,
        whole: bool = False,
    ) -> Iterator[tuple[int, int]]:
        """Yield the (start, end) of each chunk of ``text`` that holds a token, in order and without overlap.

        With ``whole`` a text that the tower takes is one chunk, however full.
        """
        if whole and len(text) <= self._budget * _CHARACTERS_PER_TOKEN and text.strip() and self._fits(text, title):
            yield len(text) - len(text.lstrip()), len(text.rstrip())
            return
        taken = self.count(f"{title}\n") if title else 0
        capacity = self._budget - -(-taken // _STEP) * _STEP
        shape = split_as or text
        for start, end in _windows(shape):
            yield from self._split(text[start:end], shape[start:end], start, title, taken, capacity, markdown)

    def _split(
        self, text: str, shape: str, start: int, title: str | None, taken: int, capacity: int, markdown: bool
    ) -> Iterator[tuple[int, int]]:
        for offset, piece in self._splitter(capacity, markdown).chunk_indices(shape):
            begin, end = offset, offset + len(piece)
            if end - begin > self._budget * _CHARACTERS_PER_TOKEN:
                spans = [(begin + at, begin + at + len(part)) for at, part in self._cutter().chunk_indices(piece)]
            else:
                spans = [(begin, end)]
            for first, last in spans:
                tokens = self.count(f"{title}\n{text[first:last]}" if title else text[first:last])
                if tokens <= taken:
                    continue  # zero-width and control characters only: there is nothing to find
                # Counts are not strictly additive for every tokenizer: what exceeds the limit is cut again.
                if tokens <= self._budget or last - first == 1 or capacity <= 1:
                    yield start + first, start + last
                else:
                    again = (text[first:last], shape[first:last], start + first, title, taken, capacity * 3 // 4)
                    yield from self._split(*again, False)

    def _fits(self, text: str, title: str | None) -> bool:
        return self.count(f"{title}\n{text}" if title else text) <= self._budget

    def _splitter(self, capacity: int, markdown: bool) -> TextSplitter | MarkdownSplitter:
        found = self._splitters.get((capacity, markdown))
        if found is None:
            from semantic_text_splitter import MarkdownSplitter, TextSplitter

            kind = MarkdownSplitter if markdown else TextSplitter
            span = (min(_FULL, max(1, capacity * 4 // 5)), max(1, capacity))
            found = self._splitters[capacity, markdown] = kind.from_huggingface_tokenizer(self._tokenizer, span)
        return found

    def _cutter(self) -> TextSplitter:
        from semantic_text_splitter import TextSplitter

        return TextSplitter(self._budget * _CHARACTERS_PER_TOKEN)


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of stretches of at most ``_WINDOW`` characters, cut at the best place in their last half."""
    start = 0
    while len(text) - start > _WINDOW:
        middle, end = start + _WINDOW // 2, start + _WINDOW
        for mark in ("\n\n", "\n", ". ", "。", " "):
            found = text.rfind(mark, middle, end)
            if found >= 0:
                end = found + len(mark)
                break
        yield start, end
        start = end
    yield start, len(text)


@lru_cache(maxsize=4)
def chunker(tokenizer: str, max_tokens: int) -> Chunker:
    """Return the one chunker of this process for these settings."""
    return Chunker(tokenizer, max_tokens)
