"""Whether words ask about something, or name it: *what breed is this?* against *but in red*."""

from __future__ import annotations

from commonplace.text.folding import fold
from commonplace.text.patterns import pattern
from commonplace.text.stop_words import without_question_words

__all__ = ["asks"]

_POLITE = r"^\W*(?:(?:and|so|but|please|tell|me|say|do|can|could|would|you|know|i|want|to|wonder)\W+)*?"
_QUESTION = pattern(
    _POLITE + r"(?:what(?!\W+about)|how(?!\W+about)|which|who|whom|whose|why"
    r"|(?:when|where)\W+(?:is|are|was|were|do|does|did|has|have|can|could|will|would|should))\b"
)
_SUGGESTS = pattern(
    r"^\W*(?:and\W+|but\W+|so\W+)?(?:(?:what|how) about|(?:is|are|were|was) there"
    r"|(?:do|does|did|have|has) (?:you|we|i|they)"
    r"|(?:can|could|may|would|will) (?:i|we|you)|any)\b"
)
_SUGGESTS_ZH = pattern("如果|要是|换成|有没有|有.{0,30}吗|能不能|能否|可不可以|可以.{0,30}吗")
_ENDS = pattern(r"[?؟]\W*$")


def asks(words: str) -> bool:
    """Return whether the words are a question about something, in any language.

    A wish in the form of a question asks for things, not about them: *do you have it in red?*, 有没有红色的.
    """
    text = " ".join(fold(words).lower().split())
    if _QUESTION.match(text):
        return True
    if _SUGGESTS.match(text) or _SUGGESTS_ZH.search(text):
        return False
    return _ENDS.search(text) is not None or "\n" in without_question_words(text)
