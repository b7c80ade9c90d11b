"""How a sentence contradicts its source: opposite words, edited copies and negations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from commonplace.generation.claims import NUMBER_WORDS, PRONOUNS, clauses, content_words, facts, negations, words
from commonplace.generation.reasons import Reason, reason
from commonplace.text import terms

__all__ = ["changed_word", "opposite_meaning", "opposite_words", "overlapping_clauses", "words_in_order"]

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

_OPPOSITES_ZH = [
    tuple(pair.split("/"))
    for pair in """
    增加/减少 增长/下降 上升/下降 提高/降低 高于/低于 多于/少于 大于/小于 最高/最低 最大/最小 最多/最少 最早/最晚
    以上/以下 之前/之后 以前/以后 开始/结束 打开/关闭 开启/关闭 开门/关门 允许/禁止 可以/不得 必须/不必 南部/北部
    南边/北边 南侧/北侧 南方/北方 东部/西部 东边/西边 左侧/右侧 左边/右边 上午/下午 早上/晚上 白天/夜间 进口/出口
    购买/出售 成功/失败 接受/拒绝 公开/私有 合法/非法 安全/危险 更快/更慢 更高/更低 更多/更少 更大/更小 收入/支出
    盈利/亏损 男性/女性 正面/负面 相同/不同 免费/收费 内部/外部
    """.split()  # noqa: SIM905
]
_OPPOSITE_MEANINGS = [
    tuple(re.compile(side, re.IGNORECASE) for side in pair)
    for pair in (
        (
            r"增加|增长|增長|上升|提高|\b(?:increas|rose\b|ris(?:e|es|en|ing)\b|gr[eo]w)",
            r"减少|減少|下降|降低|\b(?:decreas|fell\b|fall(?:s|en|ing)?\b|drop|declin|reduc)",
        ),
        (
            r"高于|高於|超过|超過|以上|\b(?:above|exceed|more than|over)\b",
            r"低于|低於|不足|以下|\b(?:below|under|less than|fewer than)\b",
        ),
        (r"之前|以前|\bbefore\b", r"之后|之後|以后|以後|\bafter\b"),
        (
            r"最[高大多长長]|\b(?:highest|largest|biggest|longest|most|maximum)\b",
            r"最[低小少短]|\b(?:lowest|smallest|shortest|least|minimum)\b",
        ),
        (r"最早|\bearliest\b", r"最[晚迟遲]|\blatest\b"),
        (
            r"打开|打開|开启|開啟|\b(?:open(?:s|ed|ing)?|(?:turn|switch)(?:s|es|ed|ing)? on)\b",
            r"关闭|關閉|关掉|\b(?:clos(?:e|es|ed|ing)|(?:turn|switch)(?:s|es|ed|ing)? off)\b",
        ),
        (
            r"允许|允許|准许|\b(?:allow|permit)",
            r"禁止|不准|不得|不允许|\b(?:forb[ia]d|prohibit|bann?)|\bnot (?:allow|permit)",
        ),
        (r"北[部边邊侧側方面端]|\bnorth", r"南[部边邊侧側方面端]|\bsouth"),
        (r"东[部边侧方面端]|東[部邊側方面端]|\beast", r"西[部边邊侧側方面端]|\bwest"),
        (r"上午|早上|早晨|\bmorning", r"下午|晚上|傍晚|\b(?:afternoon|evening)"),
        (r"成功|\bsuc?ce", r"失败|失敗|\bfail"),
        (r"接受|\baccept", r"拒绝|拒絕|\b(?:reject|refus|declin)"),
        (r"进口|進口|\bimport(?!an)", r"出口|\bexport"),
        (r"购买|購買|买下|\b(?:buy|bought|purchas)", r"出售|售出|卖掉|卖出|賣|\b(?:sell|sold)"),
        (r"赢|贏|获胜|獲勝|\b(?:win|won)\b", r"输掉|輸掉|\b(?:lose|loses|lost)\b"),
        (r"增大|扩大|擴大|\b(?:enlarg|expand)", r"缩小|縮小|\b(?:shrink|shrank|shrunk)"),
    )
]
"""Opposites in English and Chinese, for a sentence whose source is in the other language."""


def overlapping_clauses(sentence: str, source: str) -> str:
    """Return the clauses of the source that share words with the sentence; a *not* in another clause is unrelated."""
    sentence_terms = terms(sentence)
    return " , ".join(clause for clause in clauses(source) if sentence_terms & terms(clause)) or source


def opposite_words(sentence: str, source: str, language: str | None = None) -> Reason | None:
    """Return the reason if one text says *increased* where the other says *decreased*; None otherwise.

    ``language`` is that of the reason, here and below.
    """
    sentence_words, source_words = set(words(sentence)), set(words(source))
    for pairs, ours, theirs in ((_OPPOSITES, sentence_words, source_words), (_OPPOSITES_ZH, sentence, source)):
        for pair in pairs:
            for word, opposite in (pair, pair[::-1]):
                if word in ours and word not in theirs and opposite in theirs and opposite not in ours:
                    return reason("opposite", language, word=word, opposite=opposite)
    return None


def opposite_meaning(sentence: str, source: str, language: str | None = None) -> Reason | None:
    """Return the reason if one text says *increased* where the other, in another language, says 减少; else None."""
    for pair in _OPPOSITE_MEANINGS:
        for side, other in (pair, pair[::-1]):
            word, opposite = side.search(sentence), other.search(source)
            if word and opposite and not side.search(source) and not other.search(sentence):
                return reason("opposite", language, word=word.group(), opposite=opposite.group())
    return None


def words_in_order(sentence_words: Sequence[str], source_words: Sequence[str]) -> int:
    """Return how many words of a sentence occur in the source in the same order."""
    matcher = SequenceMatcher(None, sentence_words, source_words, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks())


def changed_word(sentence: str, source: str, language: str | None = None) -> Reason | None:
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
            return reason("negated", language)
        new_content, old_content = content_words(new), content_words(old)
        if not new_content:
            continue
        if kind == "replace" and old_content:
            if not all(_same_word(word, old_content, sentence_facts) for word in new_content):
                return _replaced(new_content, old_content, sentence, source, language)
        elif not set(old) & PRONOUNS:
            for word in new_content:
                if word in sentence_facts or word in source_words or not terms(word) & terms(source):
                    return reason("added", language, word=word)
    return None


def _replaced(new: Sequence[str], old: Sequence[str], sentence: str, source: str, language: str | None) -> Reason:
    """Return the reason for words of the source that a sentence replaced by others."""
    if all(word[0].isdigit() for word in new):  # a number for a number, whatever stands around it
        old = [word for word in old if word[0].isdigit()] or old
    values = {"word": _as_written(new, sentence), "opposite": _as_written(old, source)}
    if facts(sentence) & set(new):
        return reason("other fact", language, **values)
    opposites = {frozenset(pair) for pair in _OPPOSITES}
    opposite = any(frozenset((ours, theirs)) in opposites for ours in new for theirs in old)
    return reason("opposite" if opposite else "other word", language, **values)


def _as_written(parts: Sequence[str], text: str) -> str:
    """Return words as a text has them, with its capitals; Chinese characters without spaces."""
    match = re.search(r"\W{1,3}".join(map(re.escape, parts)), text, re.IGNORECASE)
    if match:
        return match.group()
    return re.sub(r"(?<=[\u3040-\u30ff\u3400-\u9fff]) (?=[\u3040-\u30ff\u3400-\u9fff])", "", " ".join(parts))


def _same_word(word: str, old_content: Sequence[str], sentence_facts: frozenset[str]) -> bool:
    """Return whether a word replaces one of the source's words by another form of it; facts must be equal."""
    forms = set(old_content) | {NUMBER_WORDS.get(old, old) for old in old_content}
    if {word, NUMBER_WORDS.get(word, word)} & forms:
        return True
    exact = word in sentence_facts or word[0].isdigit()
    return not exact and bool(terms(word) & terms(" ".join(old_content)))
