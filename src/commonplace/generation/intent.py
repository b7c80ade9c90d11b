"""The intent of a question, by its words, in English and in Chinese."""

from __future__ import annotations

import re

from commonplace.text import terms

__all__ = [
    "attribute",
    "chinese_content_words",
    "content_words",
    "is_chinese",
    "subject",
    "wants_listing",
    "wants_pictures",
    "wants_sources",
]

_POLITE = r"^\W*(?:(?:please|can|could|would|will|you|i|i['’]d|want|like|love|to|let|me) )*"
_SHOW = re.compile(
    rf"{_POLITE}(?:show|see|display|find me)\b"
    r"|\b(?:picture|photo|photograph|image|drawing|diagram|figure|chart|screenshot)s? (?:of|with|that|where|showing)\b"
    r"|what (?:does|do|did) .{1,80} look like|[图圖照相]片|图像|圖像|截图|截圖"
    r"|[给給让讓]我[看找]|我想看|看看|展示|长什么样|長什麼樣",
    re.IGNORECASE,
)
_OF = r"(?:(?:a|an|the|some|any|all|your) )?(?:picture|photo|photograph|image)s? (?:of|with|that|where|showing)\b"
_WORDS_OF_SHOW = re.compile(
    rf"{_POLITE}(?:show|see|display|find me)\b(?: me| us)?(?: {_OF})?\s*"
    rf"|^\W*(?:(?:is|are|there|do|you|have) )*{_OF}\s*",
    re.IGNORECASE,
)

_WORDS_OF_SHOW_ZH = re.compile(
    r"^\W*(?:[请請]|麻[烦煩]|能不能|能否|可以|可不可以|我想|想|你|[帮幫给給让讓]我|看一下|看看|看|[显顯]示|展示|找出|找"
    r"|有没有|有沒有|一下|所有|[一几幾两兩](?:些|[张張幅只隻条條头頭匹个個位辆輛座朵棵群]))*"
    r"(?P<what>.*?)的?(?:[照图圖相]片|图像|圖像|截图|截圖|[长長]什[么麼][样樣]|是什[么麼][样樣]子?)?(?:[吗嗎呢吧])?\W*$",
    re.DOTALL,
)
_LISTING = re.compile(
    r"\bhow (?:do|to|can|could|should|would|does|is|are)\b(?! (?:many|much|long|old|far|often|big)\b)"
    r"|\b(?:commands?|install(?:ing|ation)?|run|scripts?|code|snippets?|syntax|examples?|configur\w+|set ?up|usage)\b"
    r"|如何|怎么|怎样|命令|代码|安装|运行|配置|设置|示例|用法|语法",
    re.IGNORECASE,
)
_SOURCES = re.compile(
    r"\b(?:cit(?:e[sd]?|ing|ations?)|references?|bibliograph\w*|doi|isbn|arxiv|papers?|articles?|authors?|publications?"
    r"|publish(?:ed|ers?)?|wrote)\b|文献|文獻|论文|論文|作者|引用|出版",
    re.IGNORECASE,
)


def wants_listing(question: str) -> bool:
    """Return whether a question asks how something is done, or for a command or code: *how do I*, *which command*."""
    return _LISTING.search(question) is not None


def wants_pictures(question: str) -> bool:
    """Return whether a question asks for pictures: *show me*, *a photo of*, *what does it look like*."""
    return _SHOW.search(question) is not None


def subject(question: str) -> str:
    """Return a question without the words that only ask for a picture, such as *show me*; the rest is the query."""
    if (chinese := _WORDS_OF_SHOW_ZH.match(question)) and is_chinese(question):
        return chinese["what"] or question
    rest = _WORDS_OF_SHOW.sub("", question, count=1)
    return (rest.rstrip(" ?!.") if rest != question else rest.strip()) or question


_ATTRIBUTE = re.compile(
    r"\bwhat(?:['’]s| is| was| are| were) (?:the|his|her|its) (?:[\w'’-]+ ){0,2}(?P<of>[\w'’-]+)"
    r" (?:of|for|per|in|along|at|on)\b|\bhow many (?P<many>[\w'’-]+)",
    re.IGNORECASE,
)
_GENERIC = re.compile(
    r"(?:name|number|amount|year|date|day|month|type|kind|sort|part|term|word|thing|person|place|area|location|title"
    r"|meaning|reason|purpose|result|example|time|way)s?|people|other|one|some|main|role|many|of|called|used|known",
    re.IGNORECASE,
)


def attribute(question: str) -> frozenset[str]:
    """Return the term of what *what is the ... of* or *how many ...* asks for: GDP in *what is the GDP of Fresno*.

    The set is empty if there is none, or if it is a general word such as *name*, which an answer need not repeat.
    """
    match = _ATTRIBUTE.search(question)
    word = match and (match["of"] or match["many"])
    return terms(word) if word and not _GENERIC.fullmatch(word) else frozenset()


def wants_sources(question: str) -> bool:
    """Return whether a question asks for entries of a bibliography: who published what, and when."""
    return _SOURCES.search(question) is not None


# --- Chinese ------------------------------------------------------------------------------------------------------

_HAN = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_FUNCTION_WORDS = re.compile(
    r"什[么麼]|[为為]什[么麼]|怎[么麼样樣]?[样樣办辦]?|如何|哪[里裡些个個儿兒年]?|[谁誰]|[几幾][点點个個年月]?|多[少大长長高远遠久快重]|[为為]何|何[时時处處]"
    r"|[时時]候|需要|可以|能够|能夠|应该|應該|[请請]|告[诉訴]|[还還]有|另外|那[么麼]?|[这這][个個些]?|[它他她][们們]?"
    r"|[位属屬处處至由关關对對][于於]|[来來]自|[称稱作成][为為]"
    r"|[的是了吗嗎呢吧啊在有和与與要会會能被把将將從从到对對于於之其及或而也都就以由用]"
)
_COMPOUNDS = re.compile(
    r"[首成]都|都市|土耳其|埃及|[共饱飽温溫总總]和|和平|[社机機协協国國][会會]|[会會][议議员員]|[相绝絕反][对對]|[对對][数數象称稱]"
    r"|存在|[功性可核智]能|能[量源力]|[使应應作信]用|用[户戶途]|自由|理由|[主重]要|有限|[参參]与|目的|[将將][军軍]|成就|[达達]到"
)
"""Chinese content words that contain a character of a function word: 首都, 土耳其."""


def is_chinese(question: str) -> bool:
    """Return whether a question contains Chinese or Japanese characters."""
    return _HAN.search(question) is not None


def chinese_content_words(question: str) -> list[str]:
    """Return the parts of a Chinese question between its question words, pronouns and other function words."""
    between = _COMPOUNDS.split(question)
    compounds = [*_COMPOUNDS.findall(question), ""]
    text = "".join(_FUNCTION_WORDS.sub(" ", part) + word for part, word in zip(between, compounds, strict=True))
    return [run for run in re.split(r"\W+", text) if run]


def content_words(question: str) -> frozenset[str]:
    """Return the terms of a question (``commonplace.text.terms``) without its Chinese function words."""
    return terms(" ".join(chinese_content_words(question)) if is_chinese(question) else question) or terms(question)
