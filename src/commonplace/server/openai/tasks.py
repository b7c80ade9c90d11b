"""Prompts that a chat program writes by itself: for a title, tags, follow-up questions. No document answers these."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Literal

from commonplace.errors import GeneratorError
from commonplace.generation import Generator, ModelGenerator
from commonplace.generation.model_output import without_thoughts
from commonplace.i18n import _
from commonplace.text import language_of

if TYPE_CHECKING:
    from commonplace.server.openai.messages import Message

__all__ = ["Task", "question_in", "reply_to", "task_of"]

Task = Literal["title", "tags", "follow_ups", "queries", "emoji", "text", "prompt", "tool_calls", "summary", "other"]
MAX_TOKENS = 300  # of a reply by a language model
TITLE_WORDS = 8
CHAT = r"(?:chat|conversation|dialog(?:ue)?|discussion|thread|exchange|session|message|query)"

#: What tells the kind of a task, in its first lines. The first that fits counts.
_KINDS: tuple[tuple[Task, str], ...] = (
    ("follow_ups", r"follow[- ]?ups?\b|(?:next|further) (?:questions|prompts)|追问|后续问题"),
    ("tags", r"\btags?\b|标签"),
    ("queries", r"search quer|\bqueries\b|搜索(?:查询|词)"),
    ("prompt", r"prompt for (?:an? )?image|image (?:generation )?prompt"),
    ("text", r"auto-?complet"),
    ("tool_calls", r"\btools?\b"),
    ("title", r"\btitles?\b|\bnam(?:e|ing)\b|标题|標題"),
    ("emoji", r"\bemojis?\b|表情"),
    ("summary", r"summar|总结|總結|概括"),
)
_HEADING = re.compile(r"\s*#{2,4} ?Task:", re.IGNORECASE)
_TOOLS = re.compile(r"\s*Available Tools:.*\b(?:choose|return|select)\b", re.IGNORECASE | re.DOTALL)
_MAKE = r"(?:generate|create|write|provide|give|suggest|make|come up with|return|reply with|produce|name|propose)"
_ABOUT = rf"\b(?:(?:this|our|the|a|that|following|above|entire|user'?s?|chat)\W+){{1,3}}(?:\w+\W+)?{CHAT}"
_THING = r"(?:title|name|tags?|follow[- ]?ups?|emoji)"
#: "Generate a concise title for the conversation", "give this conversation a name", "summarize our chat in 10 words"
_ORDERS = re.compile(
    rf"(?:^|[.,:;!\n]\s*|\b(?:please|you|should|will|need to|must|task is to|and|then)\s+){_MAKE}\b[^.?\n]{{0,120}}?"
    rf"(?:\b{_THING}\b[^?\n]{{0,160}}?{_ABOUT}|{_ABOUT}[^?\n]{{0,60}}?\b{_THING}\b)"
    rf"|(?:^|[.,:;!\n]\s*|\b(?:please|you|to)\s+)summari[sz]e\b[^.?\n]{{0,40}}{_ABOUT}"
    r"[^?]{0,200}?(?:\btitle\b|\bwords\b|\bprompt\b)"
    r"|^\s*summari[sz]e in (?:an? )?\d+[- ]words? title\b"
    rf"|^\s*analy[sz]e\b[^.?\n]{{0,20}}{_ABOUT}[^?]{{0,200}}?\b{_THING}\b"
    rf"|\b{_MAKE}\b[^.?\n]{{0,40}}\b(?:chat|conversation)[ -](?:title|name)s?\b"
    r"|^\s*your task is to\b[^?]{0,160}\bemoji\b"
    r"|(?:生成|总结|總結|概括|起|写|寫|给出|擬|拟)[^。？?\n]{0,40}(?:对话|對話|会话|會話|聊天)[^。？?\n]{0,40}(?:标题|標題)"
    r"|(?:对话|對話|会话|會話|聊天)[^。？?\n]{0,30}(?:生成|总结|總結|概括|起|写|寫|拟|擬)[^。？?\n]{0,30}(?:标题|標題)"
    r"|(?:四到五个字|字以内)[^？?\n]{0,40}(?:主题|標題|标题)",
    re.IGNORECASE,
)
MAX_ORDER = 4_000  # characters at both ends of a prompt in which the order is looked for
_CONTEXT = re.compile(r"</context>", re.IGNORECASE)
_QUERY = re.compile(r"<(user_query|query|question)>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_HISTORY_USER = re.compile(r"^\s*(?:USER|Human|User|Q|用户)\s*[:：]\s*(\S.*)$", re.MULTILINE)


def task_of(messages: Sequence[Message]) -> Task | None:
    """Return what a chat program wants for itself; None for the question of a person."""
    last = messages[-1]
    if last.images:
        return None
    instructions = [message.text for message in messages if message.role in ("system", "developer")]
    if any(_TOOLS.match(text) for text in instructions):
        return "tool_calls"
    if _is_task(last.text):
        return _kind(last.text)
    # Some programs put the order into the instructions, and the conversation into one message.
    if len(messages) <= 3 and any(_ORDERS.search(text[:MAX_ORDER]) for text in instructions):
        return _kind(" ".join(instructions))
    return None


def question_in(text: str) -> str:
    """Return the person's question of a prompt that a chat program put around it, with passages of its own."""
    if not _HEADING.match(text) or not (end := list(_CONTEXT.finditer(text))):
        return text
    question = _QUERY.search(text[end[-1].end() :])
    return question[2].strip() if question else text[end[-1].end() :].strip() or text


def reply_to(task: Task, messages: Sequence[Message], generator: Generator | None, max_tokens: int | None) -> str:
    """Return the reply of the language model; without one, or if it fails, a short and fixed one."""
    if isinstance(generator, ModelGenerator):
        chat = [{"role": message.role, "content": message.text} for message in messages if message.text]
        try:
            with closing(generator.write(chat, min(max_tokens or MAX_TOKENS, generator.max_tokens))) as pieces:
                reply = without_thoughts("".join(piece for piece in pieces if isinstance(piece, str))).strip()
            if reply:
                return reply
        except GeneratorError:
            pass
    if task == "other":
        return _("No language model is configured, so this prompt of the chat program was not carried out.")
    if task == "emoji":
        return "💬"
    if task in ("title", "summary"):
        title = _title(_first_question(messages))
        return json.dumps({task: title}, ensure_ascii=False) if "JSON" in messages[-1].text else title
    return json.dumps({task: "" if task in ("text", "prompt") else []})


def _is_task(text: str) -> bool:
    if _HEADING.match(text):
        return question_in(text) == text
    ends = text if len(text) <= 2 * MAX_ORDER else f"{text[:MAX_ORDER]}\n{text[-MAX_ORDER:]}"
    return _ORDERS.search(ends) is not None


def _kind(text: str) -> Task:
    start = _HEADING.sub("", text).strip()[:300] if _HEADING.match(text) else (_ORDERS.search(text) or [text])[0]
    return next((kind for kind, words in _KINDS if re.search(words, start, re.IGNORECASE)), "other")


def _first_question(messages: Sequence[Message]) -> str:
    """Return the first thing that the person wrote: in a message of its own, or in a transcript inside the prompt."""
    for message in messages:
        if message.role == "user":
            if message is not messages[-1] and not _is_task(message.text):
                return message.text
            if match := _HISTORY_USER.search(message.text):
                return match[1]
            if message is not messages[-1] or not _is_task(message.text):
                return message.text
    return ""


def _title(question: str) -> str:
    """Return the first words of a question as a title."""
    words = " ".join(question.split())
    if not words:
        return _("New chat")
    if language_of(words) in ("zh", "ja"):
        return words[:20].rstrip("，。？！,.?! ")
    return " ".join(words.split(" ")[:TITLE_WORDS])[:80].rstrip(",.;:?! ")
