"""The options that all training runs share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

__all__ = ["FinetuneOptions", "FinetuneSettings", "RunOptions", "RunSettings"]


class RunOptions(TypedDict, total=False):
    """The keyword arguments of a training run; all are optional."""

    pictures: str | os.PathLike[str] | None
    """The folder that the pairs' paths are relative to (default: the folder of the file)."""
    start: str | os.PathLike[str] | None
    """The model that the new one must beat. Default: the bundle in the output folder; else the model that training
    starts from; else a random ranking."""
    force: bool
    """Keep the new model even if it is not better."""
    log_line: Callable[[str], object]
    """Called with each line of progress (default: lines are dropped)."""


class FinetuneOptions(RunOptions, total=False):
    """The keyword arguments of fine-tuning: those of every run, and two more."""

    resume: bool
    """Continue from the last checkpoint; the result is the same as without a break."""
    device: str | None
    """The device to train on (default: a GPU if there is one)."""


def _drop(line: str) -> None:
    """Ignore a line."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The options of one run; see ``RunOptions``."""

    pictures: str | os.PathLike[str] | None = None
    start: str | os.PathLike[str] | None = None
    force: bool = False
    log_line: Callable[[str], object] = _drop


@dataclass(frozen=True, slots=True)
class FinetuneSettings(RunSettings):
    """The options of fine-tuning; see ``FinetuneOptions``."""

    resume: bool = False
    device: str | None = None
