"""Measures the speed of a bundle's towers on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from commonplace.encoders.bundle import Bundle
from commonplace.encoders.runtime import threads
from commonplace.i18n import _

__all__ = ["speed"]

SECONDS = 2.0  # least duration of a measurement
PASSAGE = "The north pump runs at nine bar; its blue seal is changed every two years while the plant stands. "
QUESTION = "Which pump needs the blue seal?"


def speed(folder: Path) -> Iterator[str]:
    """Yield lines with the queries, full chunks and pictures that are encoded in a second, after a warm-up."""
    bundle = Bundle(folder)
    yield _("{name}, {count} processors").format(name=bundle.name, count=threads())
    if (text := bundle.text) is not None:
        chunk = (PASSAGE * 40)[: min(text.room, 256) * 4]
        rate = _rate(lambda n: text.encode([QUESTION] * n, "query"), 32)
        yield _("  questions   {rate:8.1f} a second").format(rate=rate)
        rate = _rate(lambda n: text.encode([chunk] * n), 8)
        yield _("  passages    {rate:8.1f} a second ({count} characters)").format(rate=rate, count=len(chunk))
    if (image := bundle.image) is not None:
        picture = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
        rate = _rate(lambda n: image.encode([picture] * n), 16)
        yield _("  pictures    {rate:8.1f} a second (640 x 480)").format(rate=rate)


def _rate(work: Callable[[int], object], batch: int) -> float:
    work(batch)
    done, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < SECONDS:
        work(batch)
        done += batch
    return done / passed
