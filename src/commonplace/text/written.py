"""What stands in a text as it is written: the words, codes and quotations of a query, found as wholes."""

from __future__ import annotations

from functools import lru_cache

from commonplace.text.folding import fold, without_accents
from commonplace.text.tokens import is_unsegmented, tokens

__all__ = ["WrittenWords", "written_words"]

INFLECTED = 0.8  # how much a word counts that stands there in another form, such as *Normans* for *Norman*
MIN_STEM, MAX_ENDING = 4, 3  # letters that two forms of a word share at least, and by which they differ at most


class WrittenWords:
    """A text in which the phrases of ``query_units()`` are looked up."""

    def __init__(self, text: str) -> None:
        self._plain = _plain(text)
        self._words = f" {' '.join(tokens(self._plain))} "

    def __len__(self) -> int:
        """Return the number of words."""
        return self._words.count(" ") - 1

    def share(self, phrase: str) -> float:
        """Return 1 if the text contains the FTS5 ``phrase`` as written, less if in another form, otherwise 0."""
        word, words, stem = _parts(phrase)
        if words is None:
            return float(word in self._plain)
        if f" {words} " in self._words:
            return 1.0
        start = self._words.find(f" {stem}") if stem else -1
        while start >= 0:
            end = self._words.find(" ", start + 1)
            if end - start - 1 <= len(words) + MAX_ENDING:
                return INFLECTED
            start = self._words.find(f" {stem}", end)
        return 0.0


@lru_cache(1024)  # queries of one collection look at the same passages again and again
def written_words(text: str) -> WrittenWords:
    """Return a text in which phrases are looked up."""
    return WrittenWords(text)


@lru_cache(256)  # a query's phrases are looked up in many texts
def _parts(phrase: str) -> tuple[str, str | None, str]:
    """Return a phrase as it is looked up: its plain text, its words and their stem.

    The words are None if any place in a text counts; the stem is empty if other forms do not count.
    """
    word = _plain(phrase.rstrip("*").strip('"'))
    if phrase.endswith("*") or is_unsegmented(word):
        return word, None, ""
    words = " ".join(tokens(word))
    has_forms = words.isalpha() and len(words) > MIN_STEM
    return word, words, words[: max(MIN_STEM, len(words) - MAX_ENDING)] if has_forms else ""


def _plain(text: str) -> str:
    """Return a text folded, in lower case and without accents."""
    return without_accents(fold(text).lower())
