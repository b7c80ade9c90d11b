"""How a sentence contradicts its source: opposite words, edited copies and negations."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from commonplace.generation.claims import NUMBER_WORDS, PRONOUNS, clauses, content_words, facts, negations, words
from commonplace.text import terms

__all__ = ["NEGATED", "changed_word", "opposite_words", "overlapping_clauses", "words_in_order"]

NEGATED = "its source negates what it affirms, or affirms what it negates"

_OPPOSITES = [
    tuple(pair.split("/"))
    for pair in """
    increase/decrease increases/decreases increased/decreased increasing/decreasing rise/fall rises/falls
    rose/fell rising/falling more/less more/fewer most/least higher/lower highest/lowest larger/smaller
    largest/smallest before/after above/below first/last always/never true/false open/closed opens/closes
    opened/closed hot/cold all/none allowed/forbidden allowed/prohibited maximum/minimum north/south
    northern/southern east/west eastern/western left/right early/late earlier/later earliest/latest start/end
    began/ended won/lost win/lose wins/loses inside/outside over/under up/down on/off accept/reject
    accepted/rejected legal/illegal possible/impossible safe/unsafe safe/dangerous buy/sell import/export
    faster/slower older/younger better/worse best/worst same/different male/female public/private major/minor
    success/failure succeeded/failed include/exclude includes/excludes included/excluded positive/negative
    """.split()  # noqa: SIM905
]


def overlapping_clauses(sentence: str, source: str) -> str:
    """Return the clauses of the source that share words with the sentence; a *not* in another clause is unrelated."""
    sentence_terms = terms(sentence)
    return " , ".join(clause for clause in clauses(source) if sentence_terms & terms(clause)) or source


def opposite_words(sentence: str, source: str) -> str | None:
    """Return the reason if one text says *increased* where the other says *decreased*; None otherwise."""
    sentence_words, source_words = set(words(sentence)), set(words(source))
    for pair in _OPPOSITES:
        for word, opposite in (pair, pair[::-1]):
            only_in_sentence = word in sentence_words and word not in source_words
            if only_in_sentence and opposite in source_words and opposite not in sentence_words:
                return f"it says {word} where its source says {opposite}"
    return None


def words_in_order(sentence_words: Sequence[str], source_words: Sequence[str]) -> int:
    """Return how many words of a sentence occur in the source in the same order."""
    matcher = SequenceMatcher(None, sentence_words, source_words, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks())


def changed_word(sentence: str, source: str) -> str | None:
    """Return the reason if a near-copy of the source changed a negation, a number, a name or a word; else None."""
    sentence_words, source_words = words(sentence), words(source)
    sentence_facts = facts(sentence)
    codes = SequenceMatcher(None, sentence_words, source_words, autojunk=False).get_opcodes()
    equal = [n for n, code in enumerate(codes) if code[0] == "equal"]
    for n, (kind, start, end, source_start, source_end) in enumerate(codes):
        if kind == "equal":
            continue
        new, old = sentence_words[start:end], source_words[source_start:source_end]
        # What the source says before and after the copied words is left out, not changed.
        left_out = not equal[0] < n < equal[-1]
        if bool(negations(" ".join(new))) != bool(negations("" if left_out else " ".join(old))):
            return NEGATED
        new_content, old_content = content_words(new), content_words(old)
        if not new_content:
            continue
        if kind == "replace" and old_content:
            if not all(_same_word(word, old_content, sentence_facts) for word in new_content):
                return f"it says {' '.join(new)} where its source says {' '.join(old)}"
        elif not set(old) & PRONOUNS:
            for word in new_content:
                if word in sentence_facts or word in source_words or not terms(word) & terms(source):
                    return f"its source does not say {word} there"
    return None


def _same_word(word: str, old_content: Sequence[str], sentence_facts: frozenset[str]) -> bool:
    """Return whether a word replaces one of the source's words by another form of it; facts must be equal."""
    forms = set(old_content) | {NUMBER_WORDS.get(old, old) for old in old_content}
    if {word, NUMBER_WORDS.get(word, word)} & forms:
        return True
    exact = word in sentence_facts or word[0].isdigit()
    return not exact and bool(terms(word) & terms(" ".join(old_content)))
