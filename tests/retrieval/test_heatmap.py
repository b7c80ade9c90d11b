"""Heat-maps: they locate the words, are written only to their folder, and report when there is nothing to show."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import commonplace as cp
from commonplace.errors import CommonplaceError, QueryError, ReadError
from commonplace.retrieval import HeatMap, locate, occlusion
from commonplace.retrieval.heatmap import CELLS, _viridis
from commonplace.space import Space
from tests.conftest import data
from tests.readers.make import Page, pdf

ASKED = np.array([1.0, 0.0], dtype=np.float32)


def redness(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Encode pictures so that the cosine with ASKED is the share of pure red."""
    shares = np.array([(picture == (255, 0, 0)).all(axis=2).mean() for picture in pictures])
    return np.stack([shares, np.sqrt(1 - shares**2)], axis=1).astype(np.float32)


def block(height: int, width: int, top: float, left: float, bottom: float, right: float) -> np.ndarray:
    """Return a blue picture with a red block, whose edges are fractions of the sides."""
    pixels = np.full((height, width, 3), (0, 0, 255), dtype=np.uint8)
    pixels[round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = (255, 0, 0)
    return pixels


@pytest.mark.parametrize("shape", [(240, 240), (90, 700), (900, 400)])
@pytest.mark.parametrize(("top", "left"), [(0.0, 0.0), (0.0, 0.7), (0.35, 0.35), (0.7, 0.1)])
def test_the_peak_is_on_the_matching_region(shape: tuple[int, int], top: float, left: float) -> None:
    pixels = block(*shape, top, left, top + 0.3, left + 0.3)
    before = pixels.copy()
    values, cosine = occlusion(pixels, ASKED, redness)
    assert (pixels == before).all()
    assert values.shape == (CELLS, CELLS) and values.dtype == np.float32
    assert cosine == pytest.approx(0.09, abs=0.02)
    y, x = ((i + 0.5) / CELLS for i in np.unravel_index(int(values.argmax()), values.shape))
    assert top <= y <= top + 0.3 and left <= x <= left + 0.3
    result = locate(values)
    assert result is not None
    (x0, y0, x1, y1), share = result
    middle = ((x0 + x1) / 2 - left - 0.15, (y0 + y1) / 2 - top - 0.15)
    assert np.abs(middle).max() < 0.1 and share > 0.5


def test_the_values_are_the_mean_of_occlusion_and_part_maps() -> None:
    half, _ = occlusion(block(240, 240, 0, 0, 1, 0.5), ASKED, redness)  # the left half is red
    left, right = half[:, 0].mean(), half[:, -1].mean()
    assert half.std(axis=0).max() < 1e-4  # rows are alike
    # At the left edge: hidden, up to .25 of .5 is lost; alone, a part is all red, against .5 on average.
    assert (0.25 + 0.5) / 2 * 0.9 < left < (0.25 + 0.5) / 2
    assert -0.5 / 2 <= right < -0.5 / 2 * 0.8


def test_at_most_fifty_pictures_are_encoded_in_one_call() -> None:
    asked: list[int] = []

    def count(pictures: Sequence[np.ndarray]) -> np.ndarray:
        asked.append(len(pictures))
        assert max(max(picture.shape[:2]) for picture in pictures) <= 320
        return redness(pictures)

    occlusion(block(1000, 800, 0, 0, 1, 1), ASKED, count)
    assert asked == [46]


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (500, 2)])
def test_tiny_and_narrow_pictures(shape: tuple[int, int], tmp_path: Path, space: Space) -> None:
    pixels = np.full((*shape, 3), 200, np.uint8)
    (question,) = space.embed(["a grey wall"])
    heat = HeatMap.of(pixels, "a grey wall", question, space.bundle.image.encode)
    assert np.isfinite(heat.values).all()
    assert Image.open(heat.save(tmp_path / "map.png")).width >= 260


def test_the_box_bounds_the_region_connected_to_the_peak() -> None:
    values = np.full((10, 10), -0.1, np.float32)
    values[2:5, 1:4] = 0.6
    values[3, 2] = 1.0
    values[8, 8] = 0.9  # high, but elsewhere
    values[2, 4] = 0.49  # under half the peak
    box, share = locate(values) or pytest.fail("nothing was found")
    assert box == (0.1, 0.2, 0.4, 0.5)
    assert share == pytest.approx((8 * 0.6 + 1) / (8 * 0.6 + 1 + 0.9 + 0.49))
    assert locate(np.zeros((4, 4), np.float32)) is None
    assert locate(np.full((4, 4), -1, np.float32)) is None


def test_lightness_rises_with_the_value() -> None:
    colours = _viridis(np.linspace(0, 1, 101)) / 255
    luminance = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4) @ (
        0.2126, 0.7152, 0.0722
    )  # fmt: skip
    lightness = 116 * np.cbrt(luminance) - 16  # CIE L*
    steps = np.diff(lightness)
    assert steps.min() > 0 and steps.max() < 2 * steps.mean()


def heat_map(text: str = "a red block", peak: float = 0.2) -> HeatMap:
    values = np.zeros((CELLS, CELLS), np.float32)
    values[:20, :20] = peak
    return HeatMap(text, block(200, 300, 0, 0, 0.4, 0.4), values, 0.3, (0.0, 0.0, 0.4, 0.4), 1.0)


def test_the_drawing_is_bright_where_the_map_is_high_and_a_faint_map_stays_dark() -> None:
    page = np.asarray(heat_map().draw().convert("L"), dtype=float)
    high, low = page[20:120, 20:160].mean(), page[300:400, 400:600].mean()
    assert high > low + 60
    faint = np.asarray(heat_map(peak=0.005).draw().convert("L"), dtype=float)
    assert faint[20:120, 20:160].mean() < high - 40


@pytest.mark.parametrize("text", ["x" * 5000, "水泵 🌊", "\x1b[31m\n", ""])
def test_the_legend_accepts_any_words(text: str, tmp_path: Path) -> None:
    assert Image.open(heat_map(text).save(tmp_path / "map.jpg")).format == "JPEG"
    json.dumps(heat_map(text).dict())


def test_names_stay_in_the_folder_and_links_are_replaced(tmp_path: Path) -> None:
    folder, outside = tmp_path / "maps", tmp_path / "outside.png"
    outside.write_bytes(b"mine")
    for name in ("../../etc/passwd", "/tmp/a b;rm.jpg", "", "..", "水.png", "x" * 300 + ".png", "a\x00b\n.jpg"):
        saved = heat_map().save_in(folder, 3, name)
        assert saved.parent == folder and saved.name.startswith("03-") and Image.open(saved).format == "PNG"
    (folder / "01-link.png").symlink_to(outside)
    saved = heat_map().save_in(folder, 1, "link.jpg")
    assert outside.read_bytes() == b"mine" and not saved.is_symlink()
    assert {path.suffix for path in folder.iterdir()} == {".png"}  # nothing unfinished is left
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps", "outside.png"]


def test_a_folder_that_cannot_be_written_is_an_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CommonplaceError, match="choose another"):
        heat_map().save_in(tmp_path / "file", 1, "a.png")
    with pytest.raises(CommonplaceError, match="choose another"):
        heat_map().save(tmp_path / "nowhere" / "a.png")


def test_the_model_points_at_the_photograph_that_a_caption_describes(space: Space) -> None:
    folder = data("flickr8k")
    captions: dict[str, str] = {}
    for line in (folder / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        name, caption = line.split("\t")
        captions.setdefault(name.split("#")[0], caption)
    names = (folder / "Flickr_8k.testImages.txt").read_text().split()[:32]
    right = 0
    for number in range(0, 32, 4):
        tiles = [np.asarray(Image.open(folder / "images" / name).resize((112, 112))) for name in names[number:][:4]]
        target = number // 4 % 4
        pixels = np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])
        (question,) = space.embed([captions[names[number + target]]])
        values, _ = occlusion(pixels, question, space.bundle.image.encode)
        y, x = np.unravel_index(int(values.argmax()), values.shape)
        right += (y >= CELLS // 2) * 2 + (x >= CELLS // 2) == target
    assert right >= 5  # of 8; chance is 2


@pytest.fixture
def kb(tmp_path: Path) -> cp.Collection:
    notes = tmp_path / "notes"
    notes.mkdir()
    Image.fromarray(block(160, 240, 0.5, 0.5, 1, 1)).save(notes / "block.png")
    figure = Image.fromarray(block(200, 200, 0, 0, 1, 0.5))
    (notes / "paper.pdf").write_bytes(pdf(Page([(50, 700, 12, "The red half")], [(100, 300, 200, 200, figure)])))
    (notes / "text.txt").write_text("A red block stands on a blue ground.")
    collection = cp.open(tmp_path / "kb")
    assert not collection.add(notes, workers=1).failed
    return collection


def test_a_hit_is_mapped_from_its_file_or_its_crop(kb: cp.Collection) -> None:
    hits = [hit for hit in kb.search("a red block", k=10) if hit.item.modality == "image"]
    assert len(hits) == 2
    for hit in hits:
        heat = kb.heatmap(hit, " a red \n block ")
        assert heat.text == "a red block" and heat.pixels.ndim == 3
        assert set(heat.dict()) == {"text", "cosine", "peak", "box", "share", "values"}


def test_a_hit_without_a_heat_map_is_an_error_in_one_line(kb: cp.Collection, tmp_path: Path) -> None:
    hits = kb.search("a red block", k=10)
    passage = next(hit for hit in hits if hit.item.modality == "text" and hit.image is None)
    picture = next(hit for hit in hits if (hit.image or "").endswith("block.png"))
    with pytest.raises(QueryError, match="no picture"):
        kb.heatmap(passage, "a red block")
    with pytest.raises(QueryError, match="empty"):
        kb.heatmap(picture, "  ")
    with pytest.raises(QueryError, match="no heat-map"):
        kb.heatmap(picture, "红色方块")
    (tmp_path / "notes" / "block.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(ReadError, match=r"block\.png"):
        kb.heatmap(picture, "a red block")
    (tmp_path / "notes" / "block.png").unlink()
    with pytest.raises(ReadError, match="there is no picture"):
        kb.heatmap(picture, "a red block")


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "commonplace", "--collection", str(folder / "kb"), "search", *arguments]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_command_writes_one_map_a_picture(kb: cp.Collection, tmp_path: Path) -> None:
    done = command(tmp_path, "a red block", "--heatmap", "maps", "--rerank", "maxsim", "--json")
    assert done.returncode == 0, done.stderr
    pictures = [hit for hit in json.loads(done.stdout)["hits"] if hit["image"]]
    maps = sorted((tmp_path / "maps").iterdir())
    assert len(maps) == len(pictures) == 2 and done.stderr.count("heat-map: maps/") == 2
    assert all(Image.open(path).format == "PNG" for path in maps)
    (tmp_path / "notes" / "block.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    again = command(tmp_path, "a red block", "--heatmap", "again")
    assert again.returncode == 0 and "no heat-map: " in again.stderr and len(list((tmp_path / "again").iterdir())) == 1
    by_picture = command(tmp_path, "--image", str(maps[0]), "--heatmap", "maps")
    assert by_picture.returncode == 1 and by_picture.stderr.count("\n") == 1


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions bind nobody here")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut").chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(CommonplaceError, match="choose another"):
        heat_map().save_in(tmp_path / "shut", 1, "a.png")
