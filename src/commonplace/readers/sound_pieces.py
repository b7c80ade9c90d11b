"""The sound of recordings and videos in pieces of some seconds, for models that embed sound itself."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from commonplace.i18n import _
from commonplace.readers.media import clock, opened
from commonplace.readers.parts import ContentBlock, File
from commonplace.readers.speech import Samples, sound_of
from commonplace.types import AUDIO, Span

__all__ = ["sound_pieces"]

MAX_PIECES = 1000
"""Pieces of one recording: all are in memory at once. In a longer one they are further apart."""
_SILENT = 0.001  # largest sample, in [0, 1], of a piece without sound
_LEAST = 0.25  # share of a piece that the last one has at least


def sound_pieces(file: File) -> Iterator[ContentBlock]:
    """Yield the sound in pieces with their seconds, if the model embeds sound: int16 samples (n,) of one channel."""
    rate, seconds = file.options.sound_rate, file.options.sound_seconds
    if not rate:
        return
    with opened(file, missing="", damaged="{detail}") as (av, container):
        if not container.streams.audio:
            return
        duration = float(Fraction(container.duration, av.time_base)) if container.duration else 0.0
        step = max(seconds, duration / MAX_PIECES)
        if step > seconds:
            file.problems.append(
                _("of its sound, {count} pieces of {seconds:g} seconds were read, one every {step:.0f} seconds").format(
                    count=MAX_PIECES, seconds=seconds, step=step
                )
            )
        count = 0
        for begin, samples in _cut(sound_of(file, av, container, rate), rate, seconds, step):
            quota = file.quota
            if quota.is_used_up or count >= MAX_PIECES:
                file.problems.append(
                    _("its sound was read up to {time} only: {reason}").format(time=clock(begin), reason=quota.reason)
                )
                return
            if np.abs(samples).max(initial=0) >= _SILENT:
                count += 1
                content = np.clip(samples * 32_767, -32_768, 32_767).astype(np.int16)
                yield ContentBlock(AUDIO, content, Span(begin=begin, finish=begin + len(samples) / rate))


def _cut(
    sound: Iterator[tuple[float, Samples]], rate: int, seconds: float, step: float
) -> Iterator[tuple[float, Samples]]:
    """Yield the second and the samples of a piece every ``step`` seconds; what is missing in the sound is left out."""
    length = round(seconds * rate)
    begin, held = 0.0, np.zeros(0, np.float32)
    for second, samples in sound:
        end = begin + len(held) / rate
        if second > end + seconds or (not len(held) and second > end):  # a gap, or between two pieces
            begin, held = max(begin, second), np.zeros(0, np.float32)
        skipped = max(0, round((begin - second) * rate)) if not len(held) else 0
        held = np.concatenate([held, samples[skipped:]])
        while len(held) >= length:
            yield begin, held[:length]
            rest = held[round(step * rate) :]
            begin, held = begin + step, rest
    if len(held) >= _LEAST * length or (begin == 0 and len(held)):
        yield begin, held
