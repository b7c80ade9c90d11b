"""A film in a collection: what is shown and said is found with its seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import commonplace as cp
from commonplace.cli import main
from commonplace.positions import file_link
from tests.collection.common import draw
from tests.readers.make_video import Pixels, video

pytest.importorskip("av", reason="needs the extra video")


def shown(path: Path, colour: str, shape: str, frames: int = 50) -> list[Pixels]:
    """Return a shot of a thing that comes nearer, so that several pictures stand for it."""
    image = Image.open(draw(path, colour, shape))
    return [np.asarray(image.crop((0, 0, 200 - n, 160 - n)).resize((192, 144))) for n in range(frames)]


def test_what_is_shown_and_said_is_found_with_its_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMONPLACE_OCR", "0")
    films = tmp_path / "films"
    films.mkdir()
    film = [*shown(tmp_path / "a.png", "red", "ellipse"), *shown(tmp_path / "b.png", "blue", "rectangle")]
    said = [(0.4, 1.6, "The harbour opens at nine."), (2.2, 3.6, "The pump was repaired in March.")]
    (films / "film.mp4").write_bytes(video(film, subtitles=said))
    with cp.open(tmp_path / "kb") as kb:
        report = kb.add(films, workers=1, progress=False)
        assert not report.failed
        pictures = [hit for hit in kb.search("a blue square", k=5) if hit.item.modality == "image"]
        assert [(hit.item.span.begin, hit.item.span.finish) for hit in pictures] == [
            (2, 4),
            (0, 2),
        ]  # a shot is one hit
        answer = kb.ask("When was the pump repaired?")
        (citation,) = answer.citations
        assert citation.span.dict()["begin"] == 2 and citation.place.endswith("film.mp4, 0:02 to 0:03")
        assert (file_link(citation.hit.item.document, citation.span) or "").endswith("film.mp4#t=2")
        hit = kb.search("when does the harbour open", k=1)[0]
        assert hit.dict()["span"]["begin"] == 0.4 and hit.dict()["span"]["finish"] == 3.6
    assert main(["--collection", str(tmp_path / "kb"), "search", "harbour"]) == 0
    assert "film.mp4  (0:00 to 0:03)" in capsys.readouterr().out
