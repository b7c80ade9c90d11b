"""The options that all training runs share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

__all__ = ["FinetuneOptions", "FinetuneSettings", "RunOptions", "RunSettings"]


class RunOptions(TypedDict, total=False):
    """The keywords of a training run; each may be left out."""

    pictures: str | os.PathLike[str] | None
    """The folder that the paths of the pairs are relative to (default: that of the file)."""
    start: str | os.PathLike[str] | None
    """The model that must be beaten (default: the bundle in the folder of the result; else the model that the training
    goes on from; else chance)."""
    force: bool
    """Take the new model even if it is not better."""
    log_line: Callable[[str], object]
    """Gets lines on the way (default: they are dropped)."""


class FinetuneOptions(RunOptions, total=False):
    """The keywords of fine-tuning: those of every run, and two more."""

    resume: bool
    """Go on from the last checkpoint, to the same result."""
    device: str | None
    """The device to train on (default: a GPU if there is one)."""


def _drop(line: str) -> None:
    """Take a line and do nothing."""


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
