"""Answers from evidence: each sentence and picture has a citation and is checked before it is shown."""

from commonplace.generation.chat import ChatGenerator
from commonplace.generation.citations import cite, description
from commonplace.generation.conversation import Conversation, Rewriter, Turn
from commonplace.generation.extractive import ExtractiveGenerator
from commonplace.generation.follow_ups import rewrite_by_rule
from commonplace.generation.grounding import GroundingChecker, GroundingVerdict
from commonplace.generation.intent import subject, topic, wants_list, wants_pictures, wants_summary
from commonplace.generation.local import TransformersGenerator
from commonplace.generation.model import ModelGenerator
from commonplace.generation.outlines import wants_outline
from commonplace.generation.parts import Abstention, Generator, Part, Request, ShownImage, Statement, generated
from commonplace.generation.pictured import PictureGenerator
from commonplace.generation.question_parts import question_parts
from commonplace.generation.relevance import PICTURES, relevant_images
from commonplace.generation.selection import wanted_words
from commonplace.generation.settings import GeneratorSettings

__all__ = [
    "PICTURES",
    "Abstention",
    "ChatGenerator",
    "Conversation",
    "ExtractiveGenerator",
    "Generator",
    "GeneratorSettings",
    "GroundingChecker",
    "GroundingVerdict",
    "ModelGenerator",
    "Part",
    "PictureGenerator",
    "Request",
    "Rewriter",
    "ShownImage",
    "Statement",
    "TransformersGenerator",
    "Turn",
    "cite",
    "description",
    "generated",
    "question_parts",
    "relevant_images",
    "rewrite_by_rule",
    "subject",
    "topic",
    "wanted_words",
    "wants_list",
    "wants_outline",
    "wants_pictures",
    "wants_summary",
]
