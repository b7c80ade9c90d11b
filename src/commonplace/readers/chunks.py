"""Cutting text into chunks that fit the text encoder."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

__all__ = ["Chunker"]

# Chunks aim at this many tokens: about one thought, not a whole page.
_TARGET_TOKENS = 200
# Title lengths are rounded up to steps, so that few splitters are built (each copies the tokenizer).
_TITLE_STEP = 16
# An unknown word is one token, however long it is. This limit keeps chunks of such words short.
_CHARACTERS_PER_TOKEN = 8
# The splitter takes quadratic time on a text without spaces, so a long text is split in windows first.
_WINDOW = 16_000  # characters


class Chunker:
    """Cuts texts at the highest boundary that fits: headings, paragraphs, sentences or words.

    ``max_tokens`` limits the tokens of a text view (title, line end, text), special tokens included.
    """

    def __init__(self, tokenizer: str, max_tokens: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(tokenizer)
        # Many published tokenizer files truncate and pad at 128 tokens: counts would be wrong and text lost.
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
        path = " ".join((title or "").split())
        while path and self.count(path) > self._budget // 4:
            _, separator, rest = path.partition(" > ")
            path = rest if separator else path.partition(" ")[2]
        return path or None

    def room(self, title: str | None) -> int:
        """Return how many tokens a chunk under ``title`` may have, at most the target size."""
        title_tokens = self.count(f"{title}\n") if title else 0
        return max(1, min(_TARGET_TOKENS, self._budget - -(-title_tokens // _TITLE_STEP) * _TITLE_STEP))

    def caption(self, text: str | None, title: str | None) -> str | None:
        """Return ``text`` on one line, cut at a word boundary to fit under ``title``; a cut ends with an ellipsis."""
        line = " ".join((text or "").split())
        if not line or self._fits(line, title):
            return line or None
        low, high = 0, min(len(line), self._budget * _CHARACTERS_PER_TOKEN)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._fits(line[:middle] + " …", title) else (low, middle - 1)
        return (line[:low].rsplit(" ", 1)[0] + " …") if low else None

    def chunks(
        self,
        text: str,
        title: str | None = None,
        *,
        markdown: bool = False,
        split_as: str | None = None,
        keep_together: bool = False,
    ) -> Iterator[tuple[int, int]]:
        """Yield the (start, end) offsets of each chunk of ``text`` that has a token, in order and without overlap.

        ``split_as`` is a text of the same length whose boundaries are used instead. With ``keep_together`` a text that
        fits ``max_tokens`` is one chunk, even over the target size.
        """
        if (
            keep_together
            and len(text) <= self._budget * _CHARACTERS_PER_TOKEN
            and text.strip()
            and self._fits(text, title)
        ):
            yield len(text) - len(text.lstrip()), len(text.rstrip())
            return
        title_tokens = self.count(f"{title}\n") if title else 0
        capacity = self._budget - -(-title_tokens // _TITLE_STEP) * _TITLE_STEP
        boundaries = split_as or text
        for start, end in _text_windows(boundaries):
            yield from self._split(
                text[start:end], boundaries[start:end], start, title, title_tokens, capacity, markdown
            )

    def _split(
        self,
        text: str,
        boundaries: str,
        start: int,
        title: str | None,
        title_tokens: int,
        capacity: int,
        markdown: bool,
    ) -> Iterator[tuple[int, int]]:
        for offset, piece in self._splitter(capacity, markdown).chunk_indices(boundaries):
            begin, end = offset, offset + len(piece)
            if end - begin > self._budget * _CHARACTERS_PER_TOKEN:
                spans = [
                    (begin + index, begin + index + len(part))
                    for index, part in self._character_splitter().chunk_indices(piece)
                ]
            else:
                spans = [(begin, end)]
            for first, last in spans:
                tokens = self.count(f"{title}\n{text[first:last]}" if title else text[first:last])
                if tokens <= title_tokens:
                    continue  # only zero-width and control characters: nothing to search for
                # Token counts do not add up exactly for every tokenizer: a chunk over the limit is cut again.
                if tokens <= self._budget or last - first == 1 or capacity <= 1:
                    yield start + first, start + last
                else:
                    smaller = (
                        text[first:last],
                        boundaries[first:last],
                        start + first,
                        title,
                        title_tokens,
                        capacity * 3 // 4,
                    )
                    yield from self._split(*smaller, False)

    def _fits(self, text: str, title: str | None) -> bool:
        return self.count(f"{title}\n{text}" if title else text) <= self._budget

    def _splitter(self, capacity: int, markdown: bool) -> TextSplitter | MarkdownSplitter:
        splitter = self._splitters.get((capacity, markdown))
        if splitter is None:
            from semantic_text_splitter import MarkdownSplitter, TextSplitter

            kind = MarkdownSplitter if markdown else TextSplitter
            span = (min(_TARGET_TOKENS, max(1, capacity * 4 // 5)), max(1, capacity))
            splitter = self._splitters[capacity, markdown] = kind.from_huggingface_tokenizer(self._tokenizer, span)
        return splitter

    def _character_splitter(self) -> TextSplitter:
        from semantic_text_splitter import TextSplitter

        return TextSplitter(self._budget * _CHARACTERS_PER_TOKEN)


def _text_windows(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of windows of at most ``_WINDOW`` characters, cut at the best boundary in their last half."""
    start = 0
    while len(text) - start > _WINDOW:
        middle, end = start + _WINDOW // 2, start + _WINDOW
        for mark in ("\n\n", "\n", ". ", "。", " "):
            position = text.rfind(mark, middle, end)
            if position >= 0:
                end = position + len(mark)
                break
        yield start, end
        start = end
    yield start, len(text)


@lru_cache(maxsize=4)
def shared_chunker(tokenizer: str, max_tokens: int) -> Chunker:
    """Return the chunker of this process for these settings; it is built once."""
    return Chunker(tokenizer, max_tokens)
