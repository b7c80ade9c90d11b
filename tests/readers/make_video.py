"""Videos made on the spot: scenes of known length, with times, subtitles, chapters and turns of one's choice."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tests.readers.make import photo

Pixels = NDArray[np.uint8]
SIZE = 128, 72


def scene(seed: int, frames: int, size: tuple[int, int] = SIZE) -> list[Pixels]:
    """Return frames of a picture that moves a little."""
    width, height = size
    picture = photo(width + frames, height, seed)
    return [np.asarray(picture.crop((n, 0, n + width, height)).convert("RGB")) for n in range(frames)]


def plain(level: int, frames: int, size: tuple[int, int] = SIZE) -> list[Pixels]:
    """Return frames of one grey."""
    return [np.full((size[1], size[0], 3), level, np.uint8)] * frames


def arrow(frames: int = 12) -> list[Pixels]:
    """Return frames whose upper half is white and whose lower half is dark, with a red left edge."""
    pixels = np.full((SIZE[1], SIZE[0], 3), 40, np.uint8)
    pixels[: SIZE[1] // 2] = 235
    pixels[:, : SIZE[0] // 6] = (220, 30, 30)
    return [pixels] * frames


def video(
    frames: Iterable[Pixels],
    kind: str = "mp4",
    codec: str = "mpeg4",
    *,
    ticks: Sequence[int] | None = None,
    rate: int = 25,
    options: dict[str, str] | None = None,
    subtitles: Sequence[tuple[float, float, str]] = (),
    are_pictures: bool = False,
    chapters: Sequence[tuple[float, float, str]] = (),
    metadata: dict[str, str] | None = None,
    rotation: int = 0,
    sound: bool | NDArray[np.float32] = False,
) -> bytes:
    """Return a video; ``ticks`` are the times of its frames in thousandths of a second.

    ``sound`` is a note, or samples in [-1, 1], 48,000 a second.
    """
    import av

    buffer = io.BytesIO()
    container: Any = av.open(buffer, "w", format={"mkv": "matroska", "ts": "mpegts"}.get(kind, kind))
    container.metadata.update(metadata or {})
    if chapters:
        base = Fraction(1, 1000)
        container.set_chapters(
            [
                {
                    "id": n,
                    "start": round(begin * 1000),
                    "end": round(finish * 1000),
                    "time_base": base,
                    "metadata": {"title": title},
                }
                for n, (begin, finish, title) in enumerate(chapters)
            ]
        )
    frames = iter(frames)
    first, stream = next(frames, None), None
    if first is not None:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"
        if ticks is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
    codec = "dvd_subtitle" if are_pictures else "mov_text" if kind == "mp4" else "subrip"
    words = container.add_mux_stream(codec) if subtitles else None
    audio = container.add_stream("aac" if kind == "mp4" else "mp2", rate=48000) if sound is not False else None
    packets = []
    for n, pixels in enumerate(chain([] if first is None else [first], frames)):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = n if ticks is None else ticks[n]
        frame.time_base = Fraction(1, rate) if ticks is None else Fraction(1, 1000)
        packets += stream.encode(frame)
    packets += stream.encode() if stream is not None else []
    if audio is not None:
        samples = 0.25 * np.tile(np.sin(np.arange(1152) / 20), 50) if isinstance(sound, bool) else sound
        for n in range(len(samples) // 1152):
            samples_16 = (32767 * samples[n * 1152 : (n + 1) * 1152]).astype(np.int16)[None]
            piece = av.AudioFrame.from_ndarray(samples_16, format="s16", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = 48000, n * 1152, Fraction(1, 48000)
            packets += audio.encode(piece)
        packets += audio.encode(None)
    for begin, finish, text in subtitles:
        data = len(text.encode()).to_bytes(2, "big") + text.encode() if kind == "mp4" else text.encode()
        packet = av.Packet(dvd_subtitle(text) if are_pictures else data)
        packet.stream, packet.time_base = words, Fraction(1, 1000)
        packet.pts = packet.dts = round(begin * 1000)
        packet.duration = round((finish - begin) * 1000)
        packets.append(packet)
    packets.sort(key=lambda packet: float((packet.dts or 0) * packet.time_base) if packet.time_base else 0.0)
    for packet in packets:
        container.mux(packet)
    container.close()
    return buffer.getvalue()


def dvd_subtitle(text: str) -> bytes:
    """Return a subtitle of a DVD: letters of colour 1, outlines of colour 2 on colour 0, in runs of equal pixels."""
    font = ImageFont.load_default(36)
    layers = []
    for stroke in (3, 0):
        image = Image.new("L", (24 * len(text), 60))
        ImageDraw.Draw(image).text((8, 6), text, 255, font, stroke_width=stroke)
        layers.append(np.asarray(image) > 100)
    pixels = np.where(layers[1], 1, np.where(layers[0], 2, 0))
    height, width = pixels.shape
    fields = b""
    offsets = []
    for first in (0, 1):
        offsets.append(4 + len(fields))
        for row in pixels[first::2]:
            nibbles = ""
            ends = [*(np.flatnonzero(np.diff(row)) + 1), width]
            for begin, end in zip([0, *ends], ends, strict=False):
                length = end - begin
                while length > 0:
                    run = min(length, 255)
                    digits = 1 if run < 4 else 2 if run < 16 else 3 if run < 64 else 4
                    nibbles += f"{run << 2 | int(row[begin]):0{digits}x}"
                    length -= run
            fields += bytes.fromhex(nibbles + "0" * (len(nibbles) % 2))
    control = 4 + len(fields)
    last = control + 24
    commands = (
        (0).to_bytes(2, "big") + last.to_bytes(2, "big")
        + b"\x01" + b"\x03\x32\x10" + b"\x04\xff\xf0"
        + b"\x05" + bytes.fromhex(f"{0:03x}{width - 1:03x}{0:03x}{height - 1:03x}")
        + b"\x06" + offsets[0].to_bytes(2, "big") + offsets[1].to_bytes(2, "big") + b"\xff"
    )  # fmt: skip
    commands += b"\xff" * (24 - len(commands))
    commands += (200).to_bytes(2, "big") + last.to_bytes(2, "big") + b"\x02\xff"
    return (control + len(commands)).to_bytes(2, "big") + control.to_bytes(2, "big") + fields + commands


def animation(frames: Sequence[Pixels], kind: str, milliseconds: Sequence[int]) -> bytes:
    """Return an animated GIF, WebP or PNG."""
    buffer = io.BytesIO()
    first, *rest = [Image.fromarray(pixels) for pixels in frames]
    first.save(buffer, kind, save_all=True, append_images=rest, duration=list(milliseconds), loop=0)
    return buffer.getvalue()
