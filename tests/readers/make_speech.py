"""Speech made on the spot, by the synthesiser eSpeak NG."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from tests.readers.make_sound import Samples

_SYNCHRONOUS, _UTF8 = 2, 1
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@cache
def _library() -> tuple[Any, int]:
    """Return eSpeak NG and the rate of its samples."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
    return library, rate


def spoken(text: str, voice: str = "en-us", rate: int = 16_000) -> Samples:
    """Return the samples of a text that a synthetic voice reads, in [-1, 1]."""
    library, native = _library()
    pieces: list[Samples] = []

    @_Callback
    def keep(wave: Any, count: int, _events: Any) -> int:
        if count > 0:
            pieces.append(np.ctypeslib.as_array(wave, (count,)).astype(np.float32) / 32768)
        return 0

    library.espeak_SetSynthCallback(keep)
    library.espeak_SetVoiceByName(voice.encode())
    data = text.encode() + b"\0"
    library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 1, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    samples = np.concatenate(pieces)
    at = np.arange(0, len(samples), native / rate)
    return np.interp(at, np.arange(len(samples)), samples).astype(np.float32)
