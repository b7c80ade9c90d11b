"""Answers from evidence: every sentence and picture with the place it comes from, checked before it is shown."""

from commonplace.generation.chat import ChatGenerator
from commonplace.generation.citations import cite, description
from commonplace.generation.conversation import Conversation, Rewriter, Turn, carried_over
from commonplace.generation.extractive import (
    PICTURES,
    ExtractiveGenerator,
    fitting,
)
from commonplace.generation.local import TransformersGenerator
from commonplace.generation.model import ModelGenerator
from commonplace.generation.parts import Generator, Nothing, Part, Request, Shown, Statement, generated
from commonplace.generation.questions import subject, wants_pictures
from commonplace.generation.settings import Settings
from commonplace.generation.support import Judge, Verdict

__all__ = [
    "PICTURES",
    "ChatGenerator",
    "Conversation",
    "ExtractiveGenerator",
    "Generator",
    "Judge",
    "ModelGenerator",
    "Nothing",
    "Part",
    "Request",
    "Rewriter",
    "Settings",
    "Shown",
    "Statement",
    "TransformersGenerator",
    "Turn",
    "Verdict",
    "carried_over",
    "cite",
    "description",
    "fitting",
    "generated",
    "subject",
    "wants_pictures",
]
