"""Answers from evidence: every sentence and picture with the place it comes from, checked before it is shown."""

from commonplace.generation.chat import ChatGenerator
from commonplace.generation.citations import cite, description
from commonplace.generation.conversation import Conversation, Rewriter, Turn, rewrite_by_rule
from commonplace.generation.extractive import (
    PICTURES,
    ExtractiveGenerator,
    relevant_images,
)
from commonplace.generation.grounding import GroundingChecker, Verdict
from commonplace.generation.intent import subject, wants_pictures
from commonplace.generation.local import TransformersGenerator
from commonplace.generation.model import ModelGenerator
from commonplace.generation.parts import Generator, Nothing, Part, Request, Shown, Statement, generated
from commonplace.generation.settings import Settings

__all__ = [
    "PICTURES",
    "ChatGenerator",
    "Conversation",
    "ExtractiveGenerator",
    "Generator",
    "GroundingChecker",
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
    "cite",
    "description",
    "generated",
    "relevant_images",
    "rewrite_by_rule",
    "subject",
    "wants_pictures",
]
