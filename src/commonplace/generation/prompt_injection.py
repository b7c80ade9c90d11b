"""Prompt injection: text in a document that is addressed to a language model instead of to a reader."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["has_instructions"]

_INSTRUCTIONS = re.compile(
    "|".join(
        (
            r"\b(?:ignore|disregard|forget|override|bypass)\b[^.!?\n]{0,60}"
            r"\b(?:instructions?|prompts?|rules|above|previous|prior|question|context|evidence)\b",
            r"\b(?:system|developer) (?:prompt|message|note|instruction)s?\b|\byou are now\b|\bnew instructions?\b",
            r"\b(?:as|dear|attention|to the|note to|hey) (?:an? |the )?(?:ai|llm|assistant|chatbot|language model)s?\b",
            r"\b(?:assistant|ai|chatbot|llm)s?(?: must| shall|,| ?[:：])",
            r"(?:^|[.!?:;,\n\"“]\s*|\b(?:must|and|then|please|always) )"
            r"(?:respond|reply|answer|output|print|repeat|say)\b[^.!?\n]{0,40}"
            r"\b(?:only|exactly|instead|verbatim|the following|nothing else)\b",
            r"\b(?:do not|don['’]t|never) (?:tell|mention|reveal|cite|inform|warn)\b[^.!?\n]{0,40}"
            r"\b(?:user|reader|anyone|source)\b",
            r"\b(?:reveal|leak|exfiltrate|send)\b[^.!?\n]{0,60}\b(?:prompt|api key|password|secret|conversation)s?\b",
            r"<\|[^|>\n]{1,40}\|>|\[/?INST\]|</?(?:system|assistant|user|evidence)\b",
            r"(?:忽略|无视|不要理会|忘记)[^。！？\n]{0,30}(?:指令|指示|提示|规则|以上|之前)",
            r"系统提示|系統提示|你现在是|你現在是|作为(?:一个)?(?:AI|人工智能|助手)",
            r"[你您](?:现在|現在|接下来|从现在起)?[，,]?(?:必须|必須|只能|务必|應該|应该)(?:只)?(?:回答|回复|回覆|答复|说|說|输出|輸出|告诉|引用)",
        )
    ),
    re.IGNORECASE,
)


def has_instructions(text: str) -> bool:
    """Return whether a text seems to give instructions to a language model.

    The check is a list of typical phrases in English and Chinese. An attacker can evade it.
    """
    return _INSTRUCTIONS.search(unicodedata.normalize("NFKC", text)) is not None
