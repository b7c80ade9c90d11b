"""What a question asks for, by its words, in English and in Chinese."""

from __future__ import annotations

import re

from commonplace.store.segment import terms

__all__ = ["is_chinese", "pieces", "subject", "telling", "wants_listing", "wants_pictures", "wants_sources"]

_SHOW = re.compile(
    r"^\W*(?:(?:please|can|could|would|will|you|i|want|would like|to|let|me) )*(?:show|see|display|find me)\b"
    r"|\b(?:picture|photo|photograph|image|drawing|diagram|figure|chart|screenshot)s? (?:of|with|that|where|showing)\b"
    r"|what (?:does|do|did) .{1,80} look like|图片|照片|图像|截图|给我看|看看|长什么样",
    re.IGNORECASE,
)
_WORDS_OF_SHOW = re.compile(
    r"^\W*(?:(?:please|can|could|would|will|you|i|want|would like|to|let|me) )*"
    r"(?:show|see|display|find me)\b(?: me| us)?"
    r"(?: (?:a|an|the|some|any|all|your)? ?(?:picture|photo|photograph|image)s? (?:of|with|that|where|showing))?\b\s*",
    re.IGNORECASE,
)


_WORDS_OF_SHOW_ZH = re.compile(
    r"^\W*(?:请|麻烦|能不能|能否|可以|可不可以|我想|想|你|帮我|给我|让我|看一下|看看|显示|展示|找出|找|一下|一些|一张|几张|所有)*"
    r"(?P<what>.*?)的?(?:照片|图片|图像|截图|相片|长什么样|是什么样子?)?(?:吗|呢|吧)?\W*$",
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
    """Return whether a question asks to be shown something: *show me*, *a photo of*, *what does it look like*."""
    return _SHOW.search(question) is not None


def subject(question: str) -> str:
    """Return a question without the words that only ask to be shown something; what is left is what to look for."""
    if (chinese := _WORDS_OF_SHOW_ZH.match(question)) and is_chinese(question):
        return chinese["what"] or question
    return _WORDS_OF_SHOW.sub("", question).strip() or question


def wants_sources(question: str) -> bool:
    """Return whether a question asks for what stands in a bibliography: who published what, and when."""
    return _SOURCES.search(question) is not None


# --- Chinese ------------------------------------------------------------------------------------------------------

_HAN = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_FORM = re.compile(
    r"什[么麼]|[为為]什[么麼]|怎[么麼样樣]?[样樣办辦]?|如何|哪[里裡些个個儿兒年]?|[谁誰]|[几幾][点點个個年月]?|多[少大长長高远遠久快重]|[为為]何|何[时時处處]"
    r"|[时時]候|需要|可以|能够|能夠|应该|應該|[请請]|告[诉訴]|[还還]有|另外|那[么麼]?|[这這][个個些]?|[它他她][们們]?"
    r"|[的是了吗嗎呢吧啊在有和与與要会會能被把将將从從到对對于於之其及或而也都就以由用]"
)
"""Words of Chinese that ask, point or join; what stands between them tells."""


def is_chinese(question: str) -> bool:
    """Return whether a question is in Chinese or Japanese characters, if only in part."""
    return _HAN.search(question) is not None


def pieces(question: str) -> list[str]:
    """Return what tells in a question in Chinese, between the words that ask, point or join."""
    return [piece for piece in re.split(r"\W+", _FORM.sub(" ", question)) if piece]


def telling(question: str) -> frozenset[str]:
    """Return the words of a question as :func:`commonplace.store.segment.terms` does, without those that only ask."""
    return terms(" ".join(pieces(question)) if is_chinese(question) else question) or terms(question)
