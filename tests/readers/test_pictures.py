"""Pictures: every format and mode gives the same upright RGB; damaged pictures give a reason."""

from __future__ import annotations

import base64
import contextlib
import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commonplace.errors import ReadError
from commonplace.ingest import walk
from commonplace.positions import place_of_item
from commonplace.readers import ReadOptions, load_picture, page_of, read
from commonplace.readers.formats import sniff
from tests.conftest import data
from tests.readers.make import encoded, photo

WIDE = photo(200, 120, 1)


def difference(pixels: np.ndarray, image: Image.Image) -> float:
    other = np.asarray(image.convert("RGB").resize((pixels.shape[1], pixels.shape[0])), int)
    return float(np.abs(pixels.astype(int) - other).mean())


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_formats(tmp_path: Path, options: ReadOptions, format: str) -> None:
    path = tmp_path / "photo.bin"  # told by its content
    path.write_bytes(encoded(WIDE, format))
    reading = read(path, options)
    assert reading.document.media_type == f"image/{format.lower()}"
    (item,) = reading.items
    assert item.modality == "image" and item.span.box == (0, 0, 1, 1) and item.text is None
    picture = reading.pictures[item.picture or ""]
    assert picture.pixels.dtype == np.uint8 and picture.pixels.shape == (120, 200, 3)
    assert (picture.width, picture.height) == (200, 120)
    assert difference(picture.pixels, WIDE) < 8
    assert Image.open(io.BytesIO(picture.thumbnail)).format == "JPEG"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"])
def test_modes_in_memory(mode: str) -> None:
    image = WIDE.convert("L").convert("I").point(lambda v: v * 257) if mode == "I;16" else WIDE
    if mode == "LAB":
        image = Image.new("LAB", WIDE.size, (128, 0, 0))
    picture = load_picture(image.convert(mode) if image.mode != mode else image)
    assert picture.pixels.shape == (120, 200, 3)
    if mode in ("RGB", "RGBA", "CMYK", "YCbCr", "HSV"):
        assert difference(picture.pixels, WIDE) < 3
    elif mode in ("L", "LA", "I", "I;16", "F"):
        grey = WIDE.convert("L")
        low, high = grey.getextrema()
        expected = grey.point(lambda v: round((v - low) * 255 / (high - low))) if mode == "F" else grey
        assert difference(picture.pixels, expected) < 3


def test_cmyk_jpeg_has_its_colours() -> None:
    assert difference(load_picture(encoded(WIDE.convert("CMYK"), "JPEG", quality=95)).pixels, WIDE) < 6


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(format: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None, :].repeat(40, 0)
    pixels = load_picture(encoded(Image.fromarray(ramp), format)).pixels
    assert np.abs(pixels[20, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_transparency_is_white() -> None:
    image = Image.new("RGBA", (100, 60), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 50, 60))
    for shown in (
        load_picture(image),
        load_picture(encoded(image)),
        load_picture(encoded(image, "WEBP", lossless=True)),
    ):
        assert shown.pixels[30, 90].tolist() == [255, 255, 255] and shown.pixels[30, 10].tolist() == [0, 0, 255]
    palette = Image.new("P", (100, 60), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(1, (0, 0, 50, 60))
    shown = load_picture(encoded(palette, "GIF", transparency=0))
    assert shown.pixels[30, 90].tolist() == [255, 255, 255] and shown.pixels[30, 10].tolist() == [0, 0, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_upright(orientation: int) -> None:
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)  # fmt: skip
    stored = WIDE.transpose(turn) if turn is not None else WIDE
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = load_picture(encoded(stored, "JPEG", quality=95, exif=exif))
    assert (picture.width, picture.height) == (200, 120)
    assert difference(picture.pixels, WIDE) < 4


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((2000, 1500), (640, 480)),
        ((1000, 10), (640, 6)),
        ((3, 5000), (1, 640)),
        ((640, 640), (640, 640)),
        ((9, 7), (9, 7)),
    ],
)
def test_reduced_never_enlarged(size: tuple[int, int], expected: tuple[int, int]) -> None:
    for source in (photo(*size), encoded(photo(*size), "JPEG"), encoded(photo(*size))):
        picture = load_picture(source)
        assert (picture.pixels.shape[1], picture.pixels.shape[0]) == expected
        assert (picture.width, picture.height) == size
        assert max(Image.open(io.BytesIO(picture.thumbnail)).size) <= 320


def test_a_question_picture_equals_the_stored_one(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(photo(1500, 900), "JPEG"))
    (stored,) = read(path, options).pictures.values()
    for source in (path, str(path), path.read_bytes()):
        assert np.array_equal(load_picture(source).pixels, stored.pixels)
    image = Image.open(path)
    assert np.abs(load_picture(image).pixels.astype(int) - stored.pixels).mean() < 1  # no draft mode: not bit for bit
    assert image.size == (1500, 900)  # and left as it was


def test_first_frame_of_an_animation() -> None:
    frames = [photo(80, 60, seed) for seed in (1, 2, 3)]
    for format in ("GIF", "WEBP", "PNG", "TIFF"):
        film = encoded(frames[0], format, save_all=True, append_images=frames[1:])
        assert difference(load_picture(film).pixels, frames[0]) < 10


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def test_bombs_are_refused_by_their_header() -> None:
    message = "a picture of 30000 x 30000 pixels is over the limit of 178 megapixels"
    with pytest.raises(ReadError, match=message):
        load_picture(bomb(30000, 30000))
    gif = encoded(WIDE, "GIF")
    with pytest.raises(ReadError, match=message):
        load_picture(gif[:6] + struct.pack("<HH", 30000, 30000) + gif[10:])
    webp = b"RIFF" + struct.pack("<I", 4000) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0"
    with pytest.raises(ReadError, match="16000 x 16000"):
        load_picture(webp + (15999).to_bytes(3, "little") * 2 + bytes(4000))
    bmp = encoded(WIDE, "BMP")
    with pytest.raises(ReadError, match="30000 x 30000"):
        load_picture(bmp[:18] + struct.pack("<ii", 30000, 30000) + bmp[26:])
    with pytest.raises(ReadError, match="limit of 0 megapixels"):
        load_picture(WIDE, max_pixels=100)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_truncated_is_refused_wherever_it_ends(format: str) -> None:
    intact = encoded(photo(300, 200), format)
    for end in [*range(0, 64, 3), len(intact) // 2, len(intact) * 3 // 4]:
        with pytest.raises(ReadError) as caught:
            load_picture(intact[:end])
        assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_bytes_raise_nothing_but_read_errors() -> None:
    random = np.random.default_rng(0)
    for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        intact = encoded(photo(60, 40), format)
        for _ in range(60):
            mutant = bytearray(intact)
            for place in random.integers(8, len(intact), 4):
                mutant[place] = int(random.integers(256))
            with contextlib.suppress(ReadError):
                assert load_picture(bytes(mutant), max_pixels=10**7).pixels.shape[2] == 3


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("A dog catches a frisbee", "A dog catches a frisbee"),
        ("青い封印のポンプ", "青い封印のポンプ"),
        ("OLYMPUS DIGITAL CAMERA", None),
        ("   ", None),
        ("DSC_0042", None),
        ('{"shape": [1, 2]}', None),
    ],
)
def test_descriptions_in_the_file(tmp_path: Path, options: ReadOptions, description: str, text: str | None) -> None:
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x010E] = description.encode()  # ASCII by the standard; programs write UTF-8
    path.write_bytes(encoded(WIDE, "JPEG", exif=exif))
    assert read(path, options).items[0].text == text


@pytest.mark.data
@pytest.mark.parametrize("photo_name", ["Landscape", "Portrait"])
def test_eight_orientations_of_real_photographs_agree(photo_name: str) -> None:
    folder = data("exif_orientation")
    shown = [load_picture(folder / f"{photo_name}_{n}.jpg") for n in range(1, 9)]
    assert len({(picture.width, picture.height) for picture in shown}) == 1
    for picture in shown[1:]:
        assert np.abs(picture.pixels.astype(int) - shown[0].pixels).mean() < 6


def frames(*seeds: int) -> list[Image.Image]:
    return [photo(120, 80, seed) for seed in seeds]


@pytest.mark.parametrize("format", ["TIFF", "GIF", "WEBP", "PNG"])
def test_every_page_and_frame_that_differs_is_read(tmp_path: Path, options: ReadOptions, format: str) -> None:
    first, *others = frames(1, 1, 2, 3)
    path = tmp_path / "pages.bin"
    first.save(path, format, save_all=True, append_images=others)
    reading = read(path, options)
    assert reading.document.status == "ok"
    expected = [1, 2, 3, 4] if format == "TIFF" else [1, 2, 3]
    assert len(reading.items) == len(expected)
    if format == "TIFF":  # other formats store equal frames as one
        assert [item.span.page for item in reading.items] == expected
    last = reading.pictures[reading.items[-1].picture or ""]
    assert difference(last.pixels, others[-1]) < 12
    page = reading.items[-1].span.page
    pixels, _content = page_of(path, page, 120, options)
    assert difference(pixels, others[-1]) < 12


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_a_film(tmp_path: Path, options: ReadOptions, format: str) -> None:
    first, *others = [picture for seed in (1, 2, 3) for picture in frames(seed, seed)]
    for picture, level in zip(others, (1, 2, 3, 4, 5), strict=True):
        picture.putpixel((3, 3), (level, 0, 0))  # equal frames would be stored as one
    path = tmp_path / "film.bin"
    first.save(path, format, save_all=True, append_images=others, duration=[500, 700, 400, 400, 1000, 20])
    reading = read(path, options)
    assert [(item.span.begin, item.span.finish) for item in reading.items] == [(0, 1.2), (1.2, 2), (2, 3.02)]
    pages = [item.span.page or 0 for item in reading.items]
    for page, expected in zip(pages, (first, others[1], others[3]), strict=True):
        assert difference(page_of(path, page, 120, options)[0], expected) < 12
    assert place_of_item(reading.items[1]) == "film.bin, 0:01 to 0:02"


def test_what_is_left_out_of_an_animation_is_noted(tmp_path: Path, options: ReadOptions) -> None:
    first, *others = frames(*range(40))
    first.save(tmp_path / "long.gif", save_all=True, append_images=others)
    reading = read(tmp_path / "long.gif", options)
    assert len(reading.items) == 24 and "24 of the " in (reading.document.error or "")
    first.save(tmp_path / "still.gif", save_all=True, append_images=[first])
    (item,) = read(tmp_path / "still.gif", options).items
    assert item.span.page is None


def test_a_damaged_page_costs_only_itself(tmp_path: Path, options: ReadOptions) -> None:
    first, *others = frames(1, 2, 3)
    buffer = io.BytesIO()
    first.save(buffer, "TIFF", save_all=True, append_images=others)
    (tmp_path / "cut.tif").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    reading = read(tmp_path / "cut.tif", options)
    assert reading.items and reading.document.status == "partial"


# 64 x 40, red and blue, turned by its EXIF; written by libheif, because no decoder can make one.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
    "ADRpbG9jAAAAAERAAAIAAQAAAAAB7AABAAAAAAAAAIcAAgAAAAACcwABAAAAAAAAAJ4AAAA4aWluZgAAAAAAAgAAABVpbmZlAgAA"
    "AAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABB2lwcnAAAADmaXBjbwAAAHZodmNDAQNwAAAA"
    "kAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq"
    "5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xh"
    "cAAAAEAAAAABAAAAKAAAAAEAAAAAAAAAAv///+gAAAACAAAAEHBpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEA"
    "AQaBAgMFhIYAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAS1tZGF0AAAAgygBrwngPfMi///yPzf//LDOy/vFxFe//8dbw7/U"
    "lg//5BV6YSgwK4fJZOV/OjuvTe0nzRSLF6VXROUsfyV5YE0dz5ScPKu0k7mrR5Zm03rO8lbypFTqxOw5etvY1hyVJ2YWxFMxWkiE"
    "CHU6E8t7/aXrC6g/pw39+aqK+UFz2Mj7hoeOAAAABkV4aWYAAE1NACoAAAAIAAUBDgACAAAAFQAAAEoBDwACAAAABQAAAGABEAAC"
    "AAAABwAAAGYBEgADAAAAAQAGAACHaQAEAAAAAQAAAG4AAAAAQSBsaWdodGhvdXNlIGF0IG5vb24AAEFjbWUAAExlbnMgMQAAAAGQ"
    "AwACAAAAFAAAAIAAAAAAMjAyMzowNTowNiAwNzowODowOQA="
)


def test_photographs_of_telephones(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(HEIC)
    reading = read(path, options)
    (item,) = reading.items
    picture = reading.pictures[item.picture or ""]
    assert reading.document.media_type == "image/heic" and item.text == "A lighthouse at noon"
    assert (picture.width, picture.height) == (40, 64)  # upright: red above blue
    assert difference(picture.pixels[:30], Image.new("RGB", (40, 30), "red")) < 8
    assert difference(picture.pixels[34:], Image.new("RGB", (40, 30), "blue")) < 8
    assert dict(reading.document.metadata)["created"].isoformat().startswith("2023-05-06")
    for end in (40, 300, 700):
        with pytest.raises(ReadError):
            load_picture(HEIC[:end])


def test_a_telephone_photograph_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(ReadError, match="needs the extra heic"):
        load_picture(HEIC)


@pytest.mark.parametrize("brands", [b"avif\0\0\0\0", b"mif1\0\0\0\0miafavif", b"heic\0\0\0\0mif1", b"mif1\0\0\0\0heic"])
def test_brands_tell_avif_from_heic(brands: bytes) -> None:
    head = (8 + len(brands)).to_bytes(4, "big") + b"ftyp" + brands
    assert sniff(head + bytes(100), "x") == ("image/avif" if b"avif" in brands else "image/heic")


XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:exif="http://ns.adobe.com/exif/1.0/">
 <rdf:Description rdf:about="" xmp:Rating="4" exif:DateTimeOriginal="2019-07-08T09:10:11">
  <dc:title><rdf:Alt><rdf:li xml:lang="de">Der Leuchtturm</rdf:li><rdf:li xml:lang="x-default">The lighthouse of Skerry
  </rdf:li></rdf:Alt></dc:title>
  <dc:subject><rdf:Bag><rdf:li>sea</rdf:li><rdf:li>coast</rdf:li></rdf:Bag></dc:subject>
 </rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


@pytest.mark.parametrize("name", ["photo.JPG.xmp", "photo.xmp"])
def test_a_sidecar_belongs_to_its_photograph(tmp_path: Path, options: ReadOptions, name: str) -> None:
    path = tmp_path / "photo.JPG"
    path.write_bytes(encoded(WIDE, "JPEG"))
    before = read(path, options).document
    (tmp_path / name).write_text(XMP, encoding="utf-8")
    reading = read(path, options)
    metadata = dict(reading.document.metadata)
    assert reading.items[0].text == "The lighthouse of Skerry" and reading.document.error is None
    assert (metadata["keyword"], metadata["rating"]) == (["sea", "coast"], "4")
    assert metadata["date"].isoformat() == "2019-07-08T09:10:11" and metadata["dated"] == "created"
    assert before.stamp != reading.document.stamp  # a sidecar that comes or changes lets the photograph be read again
    assert [str(source.path) for source in walk([tmp_path]).sources] == [str(path)]
    assert not walk([tmp_path]).skipped


@pytest.mark.parametrize(
    "text", ["<x", '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "<a>" * 100_000, "<a></a>"]
)
def test_a_bad_sidecar_costs_only_itself(tmp_path: Path, options: ReadOptions, text: str) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(WIDE))
    (tmp_path / "photo.xmp").write_text(text, encoding="utf-8")
    document = read(path, options).document
    assert (document.error is None) == (text == "<a></a>")
    assert text == "<a></a>" or "photo.xmp: a damaged XMP file" in (document.error or "")


def test_a_sidecar_outside_the_added_folder_is_not_read(tmp_path: Path, options: ReadOptions) -> None:
    (tmp_path / "outside.xmp").write_text(XMP, encoding="utf-8")
    folder = tmp_path / "added"
    folder.mkdir()
    (folder / "photo.png").write_bytes(encoded(WIDE))
    (folder / "photo.xmp").symlink_to(tmp_path / "outside.xmp")
    assert read(folder / "photo.png", options, root=folder).items[0].text is None
