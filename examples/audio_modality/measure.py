"""Measures how well recordings are found by a clip of them, and by a like sound. Writes RESULTS.md.

    pip install '.[video]' ./examples/audio_modality && python examples/audio_modality/measure.py

The recordings are made here, so that anyone gets the same figures: of six kinds, 30 each, fifteen seconds long. A clip
is five seconds out of the middle of one, beginning anywhere, and something is done to it.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from commonplace_sounds import RATE, listen
from numpy.typing import NDArray

import commonplace as cp

Array = NDArray[np.float32]
EACH, SECONDS, CLIP, CLIPS = 30, 15, 5, 60


def melody(rng: np.random.Generator) -> Array:
    length, base = rng.uniform(0.15, 0.5), rng.uniform(110, 440)
    overtones = 1 / np.arange(1, 9) ** rng.uniform(0.8, 2.5)
    return np.concatenate([_note(base * 2 ** (rng.integers(0, 20) / 12), length, overtones) for _ in range(110)])


def bells(rng: np.random.Generator) -> Array:
    sound, partials = np.zeros(RATE * (SECONDS + 4)), np.array([0.5, 1, 1.19, 1.5, 2, 2.74, 3.76])
    for start in np.arange(0, SECONDS, rng.uniform(0.6, 2)):
        at = np.arange(3 * RATE) / RATE
        pitch = rng.uniform(300, 1200)
        stroke = sum(np.sin(2 * np.pi * pitch * p * at) * np.exp(-at * p * rng.uniform(0.8, 2)) for p in partials)
        sound[int(start * RATE) :][: len(at)] += stroke
    return sound


def engine(rng: np.random.Generator) -> Array:
    at = np.arange(SECONDS * RATE) / RATE
    speed = rng.uniform(25, 90) * (1 + 0.1 * np.sin(2 * np.pi * at * rng.uniform(0.05, 0.6)))
    phase = 2 * np.pi * np.cumsum(speed) / RATE
    sound = sum(rng.uniform(0.2, 1) / n * np.sin(n * phase) for n in range(1, 25))
    return np.asarray(sound + 0.3 * _filtered(rng, rng.uniform(300, 2000)))


def rain(rng: np.random.Generator) -> Array:
    drops = (rng.random(SECONDS * RATE) < rng.uniform(0.001, 0.02)) * rng.exponential(1, SECONDS * RATE)
    ring = np.exp(-np.arange(200) / rng.uniform(5, 40)) * np.sin(np.arange(200) * rng.uniform(0.5, 2.5))
    return np.convolve(drops, ring, "same") + 0.2 * _filtered(rng, rng.uniform(1000, 5000))


def birds(rng: np.random.Generator) -> Array:
    sound = np.zeros((SECONDS + 2) * RATE)
    low, high, length = rng.uniform(1500, 3000), rng.uniform(3500, 7000), rng.uniform(0.05, 0.3)
    for start in np.cumsum(rng.exponential(rng.uniform(0.2, 0.8), 80)):
        if start < SECONDS:
            at = np.linspace(0, 1, int(length * RATE))
            sweep = low + (high - low) * (at if rng.random() < 0.6 else 1 - at)
            sound[int(start * RATE) :][: len(at)] += np.sin(2 * np.pi * np.cumsum(sweep) / RATE) * np.sin(np.pi * at)
    return sound


def drums(rng: np.random.Generator) -> Array:
    sound, beat = np.zeros((SECONDS + 2) * RATE), rng.uniform(0.12, 0.3)
    pattern, at = rng.integers(0, 4, 16), np.arange(int(0.2 * RATE)) / RATE
    hits = [
        np.sin(2 * np.pi * rng.uniform(50, 90) * at) * np.exp(-at * 20),
        rng.standard_normal(len(at)) * np.exp(-at * 30),
        np.diff(rng.standard_normal(len(at) + 1)) * np.exp(-at * 80),
    ]
    for n in range(int(SECONDS / beat)):
        if pattern[n % 16] < 3:
            sound[int(n * beat * RATE) :][: len(at)] += hits[pattern[n % 16]]
    return sound


def _note(pitch: float, length: float, overtones: Array) -> Array:
    at = np.arange(int(length * RATE)) / RATE
    wave = sum(weight * np.sin(2 * np.pi * pitch * (n + 1) * at) for n, weight in enumerate(overtones))
    return np.asarray(wave * np.minimum(1, 50 * at) * np.exp(-at * 3))


def _filtered(rng: np.random.Generator, cut: float) -> Array:
    spectrum = np.fft.rfft(rng.standard_normal(SECONDS * RATE))
    spectrum /= 1 + (np.fft.rfftfreq(SECONDS * RATE, 1 / RATE) / cut) ** 2
    return np.asarray(np.fft.irfft(spectrum))


KINDS: tuple[Callable[[np.random.Generator], Array], ...] = (melody, bells, engine, rain, birds, drums)


def noisy(decibels: float) -> Callable[[Array], Array]:
    """Add white noise, so many decibels below the clip."""
    rng = np.random.default_rng(9)
    return lambda clip: clip + rng.standard_normal(len(clip)) * clip.std() * 10 ** (-decibels / 20)


def shifted(semitones: float) -> Callable[[Array], Array]:
    """Play faster: pitch and speed change together, as with a tape."""
    factor = 2 ** (semitones / 12)
    return lambda clip: np.interp(np.arange(0, len(clip) - 1, factor), np.arange(len(clip)), clip)


CONDITIONS: dict[str, tuple[Callable[[Array], Array], str, int]] = {
    "as it is": (lambda clip: clip, "wav", 0),
    "a tenth as loud": (lambda clip: 0.1 * clip, "wav", 0),
    "white noise, 20 dB below": (noisy(20), "wav", 0),
    "white noise, 10 dB below": (noisy(10), "wav", 0),
    "white noise, as loud": (noisy(0), "wav", 0),
    "half a semitone higher": (shifted(0.5), "wav", 0),
    "a semitone higher": (shifted(1), "wav", 0),
    "two semitones higher": (shifted(2), "wav", 0),
    "MP3, 24 kbit/s": (lambda clip: clip, "mp3", 24_000),
    "Opus, 12 kbit/s": (lambda clip: clip, "opus", 12_000),
    "two seconds of it": (lambda clip: clip[: 2 * RATE], "wav", 0),
}


def write(path: Path, samples: Array, kind: str = "wav", bit_rate: int = 0) -> Path:
    """Write samples as a file of sound."""
    import av

    buffer = io.BytesIO()
    container: Any = av.open(buffer, "w", format="ogg" if kind == "opus" else kind)
    stream = container.add_stream({"wav": "pcm_s16le", "mp3": "mp3", "opus": "libopus"}[kind], rate=RATE)
    stream.layout = "mono"
    if bit_rate:
        stream.bit_rate = bit_rate
    frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
    resampler = av.AudioResampler(stream.format, "mono", RATE, frame_size=stream.codec_context.frame_size or 4096)
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(piece))
    container.mux(stream.encode(None))
    container.close()
    path.write_bytes(buffer.getvalue())
    return path


def main() -> None:
    rng = np.random.default_rng(2)  # RANGE was chosen with another seed
    recordings = {}
    for kind in KINDS:
        for number in range(EACH):
            samples = kind(rng)[: SECONDS * RATE]
            recordings[f"{kind.__name__} {number}"] = 0.3 * samples / np.abs(samples).max()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "files").mkdir()
        for title, samples in recordings.items():
            write(work / "files" / f"{title}.wav", samples)
        chosen = rng.choice(list(recordings), CLIPS, replace=False)
        starts = rng.uniform(2, SECONDS - CLIP - 2, CLIPS)
        with cp.open(work / "kb") as kb:
            kb.add(work / "files", progress=False, speech_model="none")
            for condition, (change, kind, bit_rate) in CONDITIONS.items():
                first = five = place = like = 0.0
                for title, start in zip(chosen, starts, strict=True):
                    clip = change(recordings[title][int(start * RATE) :][: CLIP * RATE])
                    query = cp.Query(others={"sound": listen(write(work / f"clip.{kind}", clip, kind, bit_rate))})
                    hits = kb.search(query, k=30, modality="sound")
                    found = list(dict.fromkeys(hit.item.title or Path(hit.item.document.path).stem for hit in hits))
                    first += found[0] == title
                    five += title in found[:5]
                    place += found[0] == title and abs((hits[0].item.span.begin or 0) - start) <= 1.3
                    others = [other for other in found if other != title][:5]
                    like += sum(other.split()[0] == title.split()[0] for other in others) / max(1, len(others))
                rows.append((condition, first / CLIPS, five / CLIPS, place / CLIPS, like / CLIPS))
                print(*rows[-1], sep="\t", flush=True)
    lines = [
        "# Sound by sound, measured",
        "",
        f"{len(recordings)} recordings of {SECONDS} seconds, made by `measure.py`: melodies, bells, engines, rain,",
        f"birds, drums. {CLIPS} clips of {CLIP} seconds.",
        "*First*, *in five*: the recording is the first, or among the first five. *At its second*: the first hit is",
        "the recording, and begins within 1.3 seconds of the clip. *Like*: share of the five next recordings that are",
        "of the same kind (by chance: .16).",
        "",
        "| clip | first | in five | at its second | like |",
        "|---|---|---|---|---|",
        *("| " + " | ".join([row[0], *(f"{value:.2f}" for value in row[1:])]) + " |" for row in rows),
    ]
    Path(__file__).with_name("RESULTS.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
