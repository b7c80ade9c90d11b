"""Recordings made on the spot: noises and notes, with tags, chapters and a cover of one's choice."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE = 48_000
"""Samples a second of what is encoded here."""
CODECS = {"wav": "pcm_s16le", "mp3": "mp3", "flac": "flac", "m4a": "aac", "ogg": "flac", "opus": "libopus",
          "aac": "aac", "aiff": "pcm_s16be", "wma": "wmav2", "mka": "libopus"}  # fmt: skip
_FORMATS = {"m4a": "ipod", "opus": "ogg", "aac": "adts", "wma": "asf", "mka": "matroska"}

Samples = NDArray[np.float32]


def note(hertz: float, seconds: float, rate: int = RATE) -> Samples:
    """Return a note with two overtones that fades in and out."""
    at = np.arange(round(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * hertz * n * at) / n for n in (1, 2, 3))
    return np.asarray(0.2 * wave * np.minimum(1, 20 * np.minimum(at, seconds - at)), np.float32)


def melody(seed: int, shift: float = 0, rate: int = 16_000) -> Samples:
    """Return ten seconds of notes; ``shift`` is in semitones."""
    rng = np.random.default_rng(seed)
    length = rng.choice((0.2, 0.25, 0.4))
    pitches = 220 * 2 ** ((rng.choice(24, round(10 / length)) + shift) / 12)
    return np.concatenate([note(pitch, length, rate) for pitch in pitches])


def noise(seed: int, seconds: float, rate: int = RATE) -> Samples:
    """Return white noise."""
    return np.asarray(0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate)), np.float32)


def sound(
    samples: Samples,
    kind: str = "wav",
    *,
    rate: int = RATE,
    tags: dict[str, str] | None = None,
    chapters: Sequence[tuple[float, float, str]] = (),
    cover: bytes = b"",
    bit_rate: int = 96_000,
) -> bytes:
    """Return a file of sound with these samples, in [-1, 1]; ``cover`` is a JPEG."""
    import av

    buffer = io.BytesIO()
    container: Any = av.open(buffer, "w", format=_FORMATS.get(kind, kind))
    container.metadata.update(tags or {})
    if chapters:
        container.set_chapters(
            [
                {"id": n, "start": round(begin * 1000), "end": round(finish * 1000), "time_base": Fraction(1, 1000),
                 "metadata": {"title": title}}
                for n, (begin, finish, title) in enumerate(chapters)
            ]
        )  # fmt: skip
    stream = container.add_stream(CODECS[kind], rate=rate)
    stream.layout, stream.bit_rate = "mono", bit_rate
    if kind in ("ogg", "opus"):
        stream.metadata.update(tags or {})
    picture = None
    if cover:
        picture = container.add_stream("mjpeg", rate=1)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    resampler = av.AudioResampler(stream.format, "mono", rate, frame_size=stream.codec_context.frame_size or 4096)
    packets = []
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        packets += stream.encode(piece)
    packets += stream.encode(None)
    if picture is not None:
        packet: Any = av.Packet(cover)
        packet.stream, packet.pts, packet.dts, packet.time_base = picture, 0, 0, Fraction(1, 1000)
        packets.insert(0, packet)
    for packet in packets:
        container.mux(packet)
    container.close()
    return buffer.getvalue()
