"""The audio tower of a bundle: sounds in the space of texts, for models that embed sound without words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders.base import Role, digest, unit
from commonplace.encoders.runtime import Graph
from commonplace.i18n import _

__all__ = ["AudioTower", "log_mel"]

Samples = NDArray[Any]

_BATCH = 8  # sounds in one run
_MOST_SECONDS, _MOST_RATE = 60, 96_000


class AudioTower:
    """Encodes sounds: samples (n,) of one channel, ``rate`` a second, int16 or floats in [-1, 1].

    A sound is cut off after ``seconds``, and a shorter one is followed by silence, or repeated where ``padding``
    says so. ``features`` of ``spec`` describes the log-mel spectrum that the graph takes (see ``log_mel()``); without
    it, the graph takes samples (batch, n). ``dim`` is the length of the vectors, ``checksums`` those of the bundle's
    files.
    """

    def __init__(self, folder: Path, spec: dict[str, Any], dim: int, checksums: Mapping[str, str]) -> None:
        self._folder = folder
        self._spec = spec
        self.dim = dim
        self.rate, self.seconds = int(spec["rate"]), float(spec["seconds"])
        if not (1000 <= self.rate <= _MOST_RATE and 0 < self.seconds <= _MOST_SECONDS):
            raise ValueError(
                _("its rate or seconds of sound ({rate}, {seconds})").format(rate=self.rate, seconds=self.seconds)
            )
        self.fingerprint = digest([spec, dim, checksums.get(spec["file"])])

    @cached_property
    def _graph(self) -> Graph:
        return Graph(self._folder / self._spec["file"], self._spec["output"], inputs=[self._spec["input"]])

    def encode(self, sounds: Sequence[Samples], role: Role = "document") -> NDArray[np.float32]:
        """Return one unit row for each sound, shape (n, dim), whatever its role."""
        if not len(sounds):
            return np.empty((0, self.dim), np.float32)
        inputs = [self._prepared(sound) for sound in sounds]
        batches = [
            {self._spec["input"]: np.stack(inputs[i : i + _BATCH]).astype(np.float32)}
            for i in range(0, len(inputs), _BATCH)
        ]
        rows = [np.asarray(output, np.float32).reshape(len(output), -1) for output in self._graph.map(batches)]
        return unit(np.concatenate(rows))

    def _prepared(self, sound: Samples) -> NDArray[np.float32]:
        samples = np.asarray(sound)
        samples = samples.astype(np.float32) / (32_768 if samples.dtype == np.int16 else 1)
        length = round(self.rate * self.seconds)
        samples = np.nan_to_num(samples.reshape(-1)[:length])
        if self._spec.get("padding") == "repeat" and len(samples):
            samples = np.tile(samples, length // len(samples))  # as often as it fits; silence follows
        samples = np.pad(samples, (0, length - len(samples)))
        features = self._spec.get("features")
        return samples if features is None else log_mel(samples, self.rate, features)


def log_mel(samples: NDArray[np.float32], rate: int, settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return the log-mel spectrum of samples: (frames, mels), or as ``layout`` says, such as ``1,mels,frames``.

    ``settings``: ``window``, ``fft`` and ``hop`` in samples; ``mels`` bands from ``low`` to ``high`` Hz on the
    ``scale`` ``htk`` or ``slaney``; ``power`` 1 (magnitudes) or 2; ``log`` ``ln``, ``log10`` or ``db``; the ``floor``
    of what it is taken of; ``mean`` and ``std`` of what is then subtracted and divided by; ``centred`` (half a window
    of the sound is reflected at both ends).
    """
    window, fft, hop = settings["window"], settings["fft"], settings["hop"]
    if settings.get("centred"):
        samples = np.pad(samples, fft // 2, mode="reflect")
    samples = np.pad(samples, (0, max(0, window - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)  # periodic
    spectrum = np.abs(np.fft.rfft(frames * hann, fft, axis=1)) ** settings.get("power", 2)
    mels = spectrum @ _bands(rate, fft, settings["mels"], settings["low"], settings["high"], settings["scale"])
    floor = settings.get("floor", 1e-10)
    shown = np.log(np.maximum(mels, floor)) / {"ln": 1.0, "log10": np.log(10), "db": np.log(10) / 10}[settings["log"]]
    shown = (shown - settings.get("mean", 0.0)) / settings.get("std", 1.0)
    layout = settings.get("layout", "frames,mels").split(",")
    shown = shown.T if layout[-2:] == ["mels", "frames"] else shown
    return np.asarray(shown[None] if layout[0] == "1" else shown, np.float32)


def _bands(rate: int, fft: int, count: int, low: float, high: float, scale: str) -> NDArray[np.float64]:
    """Return the weights (frequencies, count) of triangular bands of equal width for the ear."""
    edges = _hertz(np.linspace(_mel(low, scale), _mel(high, scale), count + 2), scale)
    at = np.fft.rfftfreq(fft, 1 / rate)[:, None]
    rising, falling = (at - edges[:-2]) / np.diff(edges[:-1]), (edges[2:] - at) / np.diff(edges[1:])
    bands = np.maximum(0, np.minimum(rising, falling))
    return bands * (2 / (edges[2:] - edges[:-2])) if scale == "slaney" else bands


def _mel(hertz: float, scale: str) -> float:
    if scale == "htk":
        return float(2595 * np.log10(1 + hertz / 700))
    return hertz * 3 / 200 if hertz < 1000 else float(15 + 27 * np.log(hertz / 1000) / np.log(6.4))


def _hertz(mels: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    if scale == "htk":
        return np.asarray(700 * (10 ** (mels / 2595) - 1))
    return np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
