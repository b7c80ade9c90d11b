"""Sound by sound: a modality of its own for Commonplace, in one module that touches no file of the library.

A reader yields the log-mel spectrum of each five seconds of a recording, an encoder makes a vector of it, and two specs
say what is stored and which part of a query searches it. NumPy does the rest: no model is needed.

    hits = kb.search(cp.Query(others={"sound": listen("clip.wav")}))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.channels import ChannelSpec, ViewSpec

__all__ = ["SPECS", "Sounds", "listen", "read_sounds", "spectrum"]

RATE = 16_000  # samples a second
HOP, WINDOW = 640, 1024  # samples between two frames of a spectrum, and in one
MELS = 64  # bands, from 50 Hz to 8 kHz
FRAMES = RATE // HOP  # frames a second
SECONDS, STEP = 5, 2.5  # of sound that are one item, and between the beginnings of two items
RANGE = 2.0  # powers of ten below the loudest that are heard (20 dB): noise lies below
GROUPS, RHYTHMS = 16, 8  # groups of bands, and frequencies at which their loudness changes

Array = NDArray[np.float32]

SPECS = (
    ViewSpec("sound", modality="sound", encoder="sounds"),  # what is stored: one vector for each item
    ChannelSpec("sound->sound", view="sound", encoder="sounds", asked_by="sound"),  # a sound searches sounds
    # Words search sounds with a model that has both in one space, such as CLAP. Register its text encoder, and add:
    # ChannelSpec("text->sound", view="clap", encoder="clap-text", asked_by="text", cross_modal=True)
)


def read_sounds(file: Any) -> Iterator[Any]:
    """Yield what Commonplace reads of a recording (tags, lyrics, speech), and its sound in pieces of five seconds."""
    from commonplace.readers import ContentBlock
    from commonplace.readers.sound import read_sound
    from commonplace.types import Span

    yield from read_sound(file)
    for second, piece in _pieces(file):
        yield ContentBlock("sound", piece, Span(begin=second, finish=second + len(piece) / FRAMES))


class Sounds:
    """The encoder: how loud each band is, how much that changes, and in which rhythms.

    None of these depends on when a clip begins, or on how loud it is as a whole.
    """

    dim = 2 * MELS + GROUPS * RHYTHMS
    fingerprint = "sounds-1"

    def encode(self, sounds: Sequence[Array], role: str = "document") -> Array:
        return np.array([_vector(np.asarray(sound, np.float32)) for sound in sounds], np.float32)


def listen(source: str | Path) -> Array:
    """Return the first seconds of a file of sound, as the part ``sound`` of a query."""
    with open(source, "rb") as stream:
        return next(_spectra(_samples(stream)))[1]


def spectrum(samples: Array) -> Array:
    """Return the log-mel spectrum of samples in [-1, 1], ``RATE`` a second: an array (frames, ``MELS``)."""
    samples = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=1)) ** 2
    return np.log10(power @ _BANDS + 1e-8).astype(np.float16).astype(np.float32)


def _bands() -> Array:
    """Return the weights (frequencies, ``MELS``) of triangular bands of equal width for the ear."""
    mels = np.linspace(*(2595 * np.log10(1 + np.array([50, RATE / 2]) / 700)), MELS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    at = np.fft.rfftfreq(WINDOW, 1 / RATE)[:, None]
    rising, falling = (at - edges[:-2]) / np.diff(edges[:-1]), (edges[2:] - at) / np.diff(edges[1:])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


_BANDS = _bands()


def _vector(sound: Array) -> Array:
    sound = np.maximum(sound, np.percentile(sound, 99) - RANGE)
    sound = sound - sound.mean()
    sound = (np.roll(sound, 1, 1) + 2 * sound + np.roll(sound, -1, 1))[:, 1:-1] / 4  # a little pitch does no harm
    sound = np.pad(sound, ((0, 0), (1, 1)), mode="edge")
    level, change = sound.mean(axis=0), sound.std(axis=0)
    level = level - np.polyval(np.polyfit(np.arange(MELS), level, 1), np.arange(MELS))  # without the usual slope
    groups = sound.reshape(len(sound), GROUPS, -1).mean(axis=2)
    length = SECONDS * FRAMES
    rhythms = np.abs(np.fft.rfft(groups - groups.mean(axis=0), length, axis=0))[1:]
    edges = np.geomspace(1, len(rhythms), RHYTHMS + 1).round().astype(int)
    edges[1:] = np.maximum(edges[1:], edges[:-1] + 1)
    bins = [rhythms[first - 1 : last].mean(axis=0) for first, last in pairwise(edges)]
    rhythm = np.log1p(np.array(bins)).ravel()
    parts = (level, change - change.mean(), rhythm - rhythm.mean())
    return np.concatenate([part / (np.linalg.norm(part) + 1e-9) for part in parts])


def _pieces(file: Any) -> Iterator[tuple[float, Array]]:
    with file.open() as stream:
        yield from _spectra(_samples(stream))


def _spectra(samples: Iterator[Array]) -> Iterator[tuple[float, Array]]:
    """Yield the second and the spectrum of each five seconds; only these are in memory."""
    waiting, second, is_first = np.zeros(0, np.float32), 0.0, True
    for piece in samples:
        waiting = np.concatenate([waiting, piece])
        while len(waiting) >= SECONDS * RATE:
            yield second, spectrum(waiting[: SECONDS * RATE])
            waiting, second, is_first = waiting[int(STEP * RATE) :], second + STEP, False
    if is_first or len(waiting) > (SECONDS - STEP + 1) * RATE:  # what no piece before has held
        yield second, spectrum(waiting)


def _samples(stream: Any) -> Iterator[Array]:
    """Yield the sound of a file in pieces: one channel, ``RATE`` samples a second. What is damaged is left out."""
    import av

    with av.open(stream) as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        try:
            for frame in container.decode(audio=0):
                yield from (np.nan_to_num(piece.to_ndarray()[0]) for piece in resampler.resample(frame))
        except av.FFmpegError:
            return
