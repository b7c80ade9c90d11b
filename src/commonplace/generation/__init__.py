"""Answers from evidence: every sentence and picture with the place it comes from, checked before it is shown."""

from commonplace.generation.chat import ChatGenerator
from commonplace.generation.citations import cite, description
from commonplace.generation.extractive import ExtractiveGenerator, fitting, subject, wants_pictures
from commonplace.generation.parts import Generator, Nothing, Part, Request, Shown, Statement, generated
from commonplace.generation.support import Judge, Verdict

__all__ = [
    "ChatGenerator",
    "ExtractiveGenerator",
    "Generator",
    "Judge",
    "Nothing",
    "Part",
    "Request",
    "Shown",
    "Statement",
    "Verdict",
    "cite",
    "description",
    "fitting",
    "generated",
    "subject",
    "wants_pictures",
]
