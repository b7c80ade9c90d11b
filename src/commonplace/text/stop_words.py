"""The words of a question that ask but name nothing. They are not searched if the question has other words."""

from __future__ import annotations

from commonplace.text.folding import is_plain
from commonplace.text.patterns import pattern

__all__ = ["STOP_WORDS", "without_question_words"]

STOP_WORDS = frozenset(
    """a about an and are as at be been by can could did do does for from had has have he her his how i if in into
    is it its me my of on or our she should so than that the their them then there these they this those to up us
    was we were what when where which who whom whose why will with would you your""".split()  # noqa: SIM905
)
"""English stop words."""

# Question words and polite phrases in scripts without spaces, folded. Short words that are often parts of others are
# left out: a pair of characters with 的 or 在 is common, so it weighs little.
_CHINESE = (
    "是?(?:什么(?:时候|时间|地方|样子?|人)?|为(?:什么|何)|怎么(?:样|办|回事)?|怎样|如何|哪(?:一?[个些里儿位年种条家天月])|谁|多少"
    "|几(?=[个位名次种年月天点岁件条张])|何(?:时|处|地)|是否|能否|可否|是不是|有没有|能不能|可不可以)是?",
    r"多[大高长远久快重深宽](?=\W*$|的?时间)|(?:吗|呢|呀|啊)(?=\W*$)",
    "请问|(?<![申邀聘])请(?=[你您给帮告介解说列])|告诉我|(?:想|要)?(?:知道|了解|介绍|解释|说明|查|说)一下",
)
_JAPANESE = (
    "(?<!な)どの(?:ように|ような|くらい)?|どこ(?:ですか)?|いつ(?!も)|だれ|なぜ|どうして|どうやって|どうすれば|何(?:ですか|(?=[でがをに]))",
    r"何(?:时|人|个|年|回|本)(?=[にでがをか])|とは(?=\W*$|何|どう)|(?:です|でしょう|ます|ました|ません)か(?=\W*$)",
    r"(?:を|について)?教えて(?:ください)?|(?:て)?ください(?=\W*$)",
)
_KOREAN = (
    r"(?<![가-힣])(?:무엇|무슨|언제|어디|누구|누가|어떤|어떻게|얼마|몇|왜)(?:입니까|인가요?|[은는이가을를의로에서]*)(?![가-힣])",
    r"(?:입니까|습니까|인가요|나요|까요)(?=\W*$)|알려\s?주세요",
)
_ASKS = pattern("|".join([*_CHINESE, *_JAPANESE, *_KOREAN]))


def without_question_words(text: str) -> str:
    """Return a folded question with line ends in place of its Chinese, Japanese and Korean question words."""
    return text if is_plain(text) else _ASKS.sub("\n", text)
