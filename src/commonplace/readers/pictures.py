"""Pictures: decoded to upright RGB at reading size from any mode and orientation."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.formats import HEAD, read_whole, sniff
from commonplace.readers.metadata import parse_coordinates, parse_date
from commonplace.readers.ocr import with_ocr
from commonplace.readers.parts import (
    MAX_BYTES,
    MAX_PIXELS,
    PICTURE_SIDE,
    THUMBNAIL_SIDE,
    File,
    ImageBlock,
    Part,
)
from commonplace.readers.shots import SMALL, Frame, shots
from commonplace.readers.xmp import read_sidecars
from commonplace.types import Box, Picture, Span, printable

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["load_picture", "picture_of", "read_picture", "size_of_picture"]

# Opened by class, not by Image.open: no other decoder (EPS, PDF) sees the bytes, and the size is known before decoding.
_PLUGINS = {
    "image/jpeg": "PIL.JpegImagePlugin:JpegImageFile",
    "image/png": "PIL.PngImagePlugin:PngImageFile",
    "image/webp": "PIL.WebPImagePlugin:WebPImageFile",
    "image/gif": "PIL.GifImagePlugin:GifImageFile",
    "image/bmp": "PIL.BmpImagePlugin:BmpImageFile",
    "image/tiff": "PIL.TiffImagePlugin:TiffImageFile",
    "image/avif": "PIL.AvifImagePlugin:AvifImageFile",
    "image/heic": "pi_heif:HeifImageFile",
}
_MAX_FRAMES = 24  # frames that are read of an animation
_MAX_PAGES = 2_000  # frames or pages that are looked at
_FRAME_SIDE = 160  # pixels of the frames of an animation when the sharpest are chosen
_QUICKEST = 10  # milliseconds; browsers show what names no more for a tenth of a second
_USUAL_DURATION = Fraction(1, 10)
_ALL: Box = (0.0, 0.0, 1.0, 1.0)
_SUBFILE_TYPE = 0x00FE
_ORIENTATION = 0x0112
_DESCRIPTION = 0x010E
# Placeholders that cameras, scanners and programs write instead of a description.
_JUNK = re.compile(
    r"^\W*$|^(olympus|sony|nikon|canon|minolta|kodak|samsung|konica|dcim|dsc|img|image|picture|photo|untitled|default"
    r"|created with|imagej|screenshot$|\{|<)",
    re.IGNORECASE,
)


def load_picture(
    source: str | Path | bytes | Image,
    *,
    side: int = PICTURE_SIDE,
    thumbnail_side: int = THUMBNAIL_SIDE,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    frame: int = 0,
) -> Picture:
    """Return a picture from a path, from the bytes of a picture file, or from a PIL image, at reading size.

    Takes the frame or page with this number (from 0) and applies its EXIF orientation. Transparency becomes white, 16
    bits become 8, and colour profiles are ignored. The longer side is reduced to at most ``side`` pixels with
    antialiasing, never enlarged.

    Raises:
        ReadError: the picture is missing, truncated, not a supported picture, or has more than ``max_pixels`` pixels.
    """
    return _load(source, side, thumbnail_side, max_pixels, max_bytes, frame)[0]


def picture_in(file: File, source: Path | bytes) -> Picture:
    """Return a picture that belongs to a file's content, with the sizes and limits of the file's options.

    Raises:
        ReadError: as `load_picture`.
    """
    options = file.options
    return load_picture(
        source,
        side=options.picture_side,
        thumbnail_side=options.thumbnail_side,
        max_pixels=options.max_pixels,
        max_bytes=options.max_bytes,
    )


def size_of_picture(data: bytes) -> tuple[int, int]:
    """Return width and height in pixels, undecoded, from the bytes of a picture file that is no drawing.

    Raises:
        ReadError: it is damaged, or not a supported picture.
    """
    if sniff(data[:HEAD], "") not in _PLUGINS:
        raise ReadError(_("not a picture of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC); convert it"))
    try:
        return _open(data, MAX_PIXELS).size
    except (ReadError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds of errors on damaged bytes
        raise ReadError(str(error)) from None


def read_picture(file: File) -> Iterator[Part]:
    """Yield the picture, with the description stored in its sidecar or metadata as caption.

    Of a file with several pages each is a picture with its number (from 1). An animation is a film: pictures stand for
    its shots, with the number of their frame and the seconds of the shot.
    """
    options = file.options
    places = _places(file)
    noted: str | None = None
    for place in places:
        frame = (place.page or 1) - 1
        if file.quota.is_used_up:
            file.problems.append(
                _("only pages up to {page} were read: {reason}").format(page=frame, reason=file.quota.reason)
            )
            return
        try:
            picture, description, metadata = _load(
                file.data, options.picture_side, options.thumbnail_side, options.max_pixels, options.max_bytes, frame
            )
        except ReadError as error:
            if len(places) == 1:
                raise
            file.problems.append(_("page {page}: {error}").format(page=frame + 1, error=error))
            continue
        if place is places[0]:
            noted = read_sidecars(file)
            for key, value in metadata:
                file.add_metadata(key, value)
        block = ImageBlock(picture, place, caption=noted or description)

        def render(side: int, frame: int = frame) -> NDArray[np.uint8]:
            return load_picture(file.data, side=side, frame=frame).pixels

        yield from with_ocr(file, block, render)


def _places(file: File) -> list[Span]:
    """Return the places of the pictures in a file. A problem says what is left out, and what is damaged."""
    only = [Span(box=_ALL)]
    if file.media_type in ("image/jpeg", "image/bmp", "image/heic"):  # a HEIC file says which of its pictures is meant
        return only
    if file.media_type == "image/tiff" and not _has_whole_directory(file.data):
        file.problems.append(_("pages at its end are cut off or damaged; save a new copy and add it again"))
    try:
        image = _open(file.data, file.options.max_pixels)
        count = getattr(image, "n_frames", 1)
    except ReadError:
        raise
    except Exception:  # Pillow's decoders raise many kinds of errors; loading the first frame says which
        return only
    if count == 1:
        return only
    if count > _MAX_PAGES:
        file.problems.append(
            _("only the first {max_pages:,} of its {count:,} pages were read; split it").format(
                max_pages=_MAX_PAGES, count=count
            )
        )
    numbers = _frame_numbers(file, image, min(count, _MAX_PAGES))
    if file.media_type == "image/tiff":
        places = [Span(page=n + 1, box=_ALL) for n in numbers if n == 0 or not _is_reduced(image)]
    else:
        places = _moments(file, image, numbers)
    return places if len(places) > 1 else [replace(place, page=None) for place in places] or only


def _frame_numbers(file: File, image: Image, count: int) -> Iterator[int]:
    """Yield the numbers (from 0) of the pages or frames to which ``image`` could be moved."""
    for number in range(count):
        if number and file.quota.share_left < 0.5:  # the other half is for reading them
            file.problems.append(
                _("its pages after number {page} were not read: {reason}").format(page=number, reason=file.quota.reason)
            )
            return
        try:
            image.seek(number)
            _check_size(*image.size, file.options.max_pixels)
            if file.media_type != "image/tiff":
                image.load()
        except Exception as error:
            if number:
                detail = " ".join(str(error).split())[:120] or type(error).__name__
                file.problems.append(
                    _("its pages from number {page} on are damaged ({detail}); save a new copy").format(
                        page=number + 1, detail=detail
                    )
                )
            return
        yield number


def _moments(file: File, image: Image, numbers: Iterator[int]) -> list[Span]:
    """Return the places of the pictures that stand for the shots of an animation."""
    frame_at: dict[Fraction, int] = {}

    def frames() -> Iterator[Frame]:
        begin = Fraction(0)
        for number in numbers:
            milliseconds = image.info.get("duration", 0)
            is_slow = isinstance(milliseconds, (int, float)) and _QUICKEST < milliseconds < 10**9
            finish = begin + (Fraction(milliseconds) / 1000 if is_slow else _USUAL_DURATION)
            picture = _rgb(_displayable(image))
            small = np.asarray(picture.resize(SMALL))
            frame_at[begin] = number
            yield Frame(begin, finish, small, lambda side, picture=picture: _pixels(picture, side))  # type: ignore[misc]
            begin = finish

    places = [
        Span(page=frame_at[key_frame.time] + 1, box=_ALL, begin=float(shot.begin), finish=float(shot.finish))
        for shot in shots(frames(), _FRAME_SIDE, most=_MAX_PAGES)
        for key_frame in shot.key_frames
    ]
    if len(places) > _MAX_FRAMES:
        file.problems.append(
            _("{read} of the {count} different pictures of an animation were read").format(
                read=_MAX_FRAMES, count=len(places)
            )
        )
        places = [places[round(n * (len(places) - 1) / (_MAX_FRAMES - 1))] for n in range(_MAX_FRAMES)]
    return places


def _pixels(picture: Image, side: int) -> NDArray[np.uint8]:
    return np.asarray(_shrink(picture, _reduced_size(*picture.size, side)))


def _has_whole_directory(data: bytes) -> bool:
    """Return whether the chain of page directories of a TIFF ends within the file (TIFF 6.0, section 2)."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    is_big = data[2:4] in (b"+\0", b"\0+")
    count_size, entry_size, offset_size = (8, 20, 8) if is_big else (2, 12, 4)
    place = 8 if is_big else 4
    for _page in range(_MAX_PAGES):
        offset = int.from_bytes(data[place : place + offset_size], order)
        if offset == 0:
            return True
        entries = int.from_bytes(data[offset : offset + count_size], order)
        place = offset + count_size + entries * entry_size
        if place + offset_size > len(data):
            return False
    return True


def _is_reduced(image: Image) -> bool:
    """Return whether a page of a TIFF is a smaller version, or a mask, of another page."""
    tags: Any = getattr(image, "tag_v2", {})
    return bool(int(tags.get(_SUBFILE_TYPE, 0) or 0) & 0b101)


def picture_of(pixels: NDArray[np.uint8], width: int, height: int, thumbnail_side: int) -> Picture:
    """Return a Picture of RGB ``pixels`` (height, width, 3) at reading size, and with ``width`` and ``height`` of its
    original.
    """
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((thumbnail_side, thumbnail_side), Image.Resampling.BILINEAR, reducing_gap=1.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return Picture(pixels, buffer.getvalue(), width, height)


_TRANSPOSITIONS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def _load(
    source: str | Path | bytes | Image,
    side: int,
    thumbnail_side: int,
    max_pixels: int,
    max_bytes: int,
    frame: int = 0,
) -> tuple[Picture, str | None, list[tuple[str, object]]]:
    if isinstance(source, (str, Path)):
        source = read_whole(Path(source), max_bytes)
    try:
        image = _open(source, max_pixels) if isinstance(source, bytes) else source
        if frame:
            image.seek(frame)
        width, height = image.size
        _check_size(width, height, max_pixels)
        if isinstance(source, bytes):
            image.draft("RGB", _reduced_size(width, height, side))  # JPEG at 1/2, 1/4 or 1/8: several times faster
        image.load()
        orientation, description = _orientation_and_description(image)
        metadata = _exif_metadata(image)
        reduced = _rgb(_shrink(_displayable(image), _reduced_size(width, height, side)))
        if orientation in _TRANSPOSITIONS:
            from PIL.Image import Transpose

            reduced = reduced.transpose(Transpose[_TRANSPOSITIONS[orientation]])
        if orientation >= 5:
            width, height = height, width
        return picture_of(np.asarray(reduced), width, height, thumbnail_side), description, metadata
    except (ReadError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds of errors on damaged bytes
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise ReadError(
            _("a damaged or truncated picture ({detail}); save a new copy and add it again").format(detail=detail)
        ) from None


def _open(data: bytes, max_pixels: int) -> Image:
    if not data:
        raise ReadError(_("is empty, so there is nothing to read; add another file"))
    kind = sniff(data[:HEAD], "")
    if kind == "image/svg+xml":
        from commonplace.readers.svg import draw_svg

        return draw_svg(data)
    if kind not in _PLUGINS:
        raise ReadError(_("not a picture of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC); convert it"))
    if kind == "image/webp":
        _check_size(*_webp_size(data), max_pixels)  # its decoder allocates the full canvas on opening
    module, _colon, name = _PLUGINS[kind].partition(":")
    try:
        plugin = getattr(importlib.import_module(module), name)
    except ImportError:
        raise ReadError(
            _("a HEIC picture, which needs the extra heic: run `pip install 'commonplace-rag[heic]'`, and add it again")
        ) from None
    image: Image = plugin(io.BytesIO(data))
    return image


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ReadError(
            _(
                "a picture of {width} x {height} pixels is over the limit of {max_pixels:.0f} megapixels; "
                "reduce it and add it again"
            ).format(width=width, height=height, max_pixels=max_pixels / 1e6)
        )
    if width < 1 or height < 1:
        raise ReadError(_("a picture without pixels; save a new copy and add it again"))


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return width and height from a WebP header (RFC 9649, sections 2.5 to 2.7); (1, 1) where it is truncated."""
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        return 1, 1
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _reduced_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Return the size with the longer side at most ``side``, the aspect ratio kept, and no side under one pixel."""
    ratio = min(1.0, side / max(width, height))
    return max(1, round(width * ratio)), max(1, round(height * ratio))


def _orientation_and_description(image: Image) -> tuple[int, str | None]:
    """Return the EXIF orientation (1 to 8), and the description, or None where it is empty or a placeholder."""
    try:
        exif = image.getexif()
        orientation, exif_description = exif.get(_ORIENTATION, 1), exif.get(_DESCRIPTION)
    except Exception:  # damaged EXIF does not spoil the pixels
        orientation, exif_description = 1, None
    candidates = [exif_description, *(image.info.get(key) for key in ("Description", "Title", "Caption", "comment"))]
    for text in map(_clean_note, candidates):
        if len(text) >= 4 and not _JUNK.match(text) and sum(map(str.isalpha, text)) * 2 > len(text):
            return _valid_orientation(orientation), text
    return _valid_orientation(orientation), None


def _clean_note(value: object) -> str:
    """Return a text from EXIF or other metadata on one line; empty where ``value`` is not a text."""
    if isinstance(value, str) and not value.isascii():
        with contextlib.suppress(UnicodeError):  # Pillow decodes as Latin-1 what programs store as UTF-8
            value = value.encode("latin-1").decode("utf-8")
    if isinstance(value, bytes):
        value = value.decode("utf-8", "ignore")
    return " ".join(printable(value).split()) if isinstance(value, str) else ""


def _exif_metadata(image: Image) -> list[tuple[str, object]]:
    """Return author, dates, camera and place from EXIF 2.32, as (key, value) pairs."""
    try:
        exif = image.getexif()
        capture_tags, gps_tags = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
        make, model = _clean_note(exif.get(0x010F)), _clean_note(exif.get(0x0110))
        camera = model if model.casefold().startswith(make.casefold()) else f"{make} {model}".strip()
        capture_dates = [
            _clean_note(value)
            for value in (capture_tags.get(0x9003), capture_tags.get(0x9004), image.info.get("Creation Time"))
        ]
        return [
            ("author", _clean_note(exif.get(0x013B)) or _clean_note(image.info.get("Author"))),
            ("created", next((date for date in map(parse_date, capture_dates) if date), None)),
            ("modified", _clean_note(exif.get(0x0132))),
            ("camera", camera),
            ("place", parse_coordinates(gps_tags.get(2), gps_tags.get(1), gps_tags.get(4), gps_tags.get(3))),
        ]
    except Exception:  # damaged EXIF does not spoil the pixels
        return []


def _valid_orientation(value: Any) -> int:
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _displayable(image: Image) -> Image:
    """Return the picture in a mode that can be resized and shown: L, RGB, RGBA or CMYK."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(image)))
    if image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode in ("L", "RGB", "RGBA", "CMYK"):
        return image
    return image.convert("RGB")


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale grey values of more than 8 bits to 0..255, without clipping.

    Integers are taken as 8, 12 or 16 bits, the smallest that holds their maximum. Floats and negative values are
    scaled by their own minimum and maximum.
    """
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    if values.dtype.kind != "f" and low >= 0 and high <= 65535:
        top = next(limit for limit in (255, 4095, 65535) if high <= limit)
        table = (np.arange(top + 1) * (255 / top) + 0.5).astype(np.uint8)
        scaled: NDArray[np.uint8] = table[values]
        return scaled
    span = float(high) - float(low)
    scaled_range: NDArray[np.uint8] = ((values - low) * (255.0 / span if span else 0.0) + 0.5).astype(np.uint8)
    return scaled_range


def _shrink(image: Image, size: tuple[int, int]) -> Image:
    from PIL.Image import Resampling

    return image if image.size == size else image.resize(size, Resampling.BILINEAR, reducing_gap=2.0)


def _rgb(image: Image) -> Image:
    from PIL import Image

    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
