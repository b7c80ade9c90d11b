"""Answers from evidence: every sentence and picture with the place it comes from."""

from commonplace.generation.citations import Draft, Shown, Statement, cite
from commonplace.generation.extractive import ExtractiveGenerator

__all__ = ["Draft", "ExtractiveGenerator", "Shown", "Statement", "cite"]
