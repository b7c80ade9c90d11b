"""Another modality needs only a reader, encoders and a few specs: here tones, which the library does not contain."""

from __future__ import annotations

import re
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import commonplace as cp
from commonplace.channels import ChannelSpec, channels_of, forget_plugins, known_modalities, modality_of
from commonplace.errors import ModelError, ModelMismatch, QueryError
from commonplace.readers import formats
from commonplace.space import Space
from tests.encoders.toys import Colours, Words

PLUGIN = '''
import numpy as np
from commonplace.channels import ChannelSpec, ViewSpec

PITCHES = {"low": 100.0, "middle": 400.0, "high": 1600.0}

def read_tone(file):
    """A tone file is a header and one pitch, in hertz; the reader runs in a process of its own."""
    from commonplace.readers import ContentBlock
    caption = file.path.stem if file.path.stem.startswith("bell") else None
    yield ContentBlock("tone", np.frombuffer(file.data, "<f4", 1, 8), text=caption)

def place(pitch):
    return np.exp(-(np.arange(6.0, 12.0, 0.5) - np.log2(pitch)) ** 2)  # near pitches have near vectors

class Tones:
    dim, fingerprint = 12, "tones-VERSION"
    def encode(self, tones, role="document"):
        return np.array([place(float(tone[0])) for tone in tones])

class ToneWords:
    dim, fingerprint = 12, "tone-words-1"
    def can_encode(self, text):
        return any(word in text.split() for word in PITCHES)
    def encode(self, texts, role="document"):
        return np.array([place(next(PITCHES[word] for word in text.split() if word in PITCHES)) for text in texts])

SPECS = [
    ViewSpec("tone", "tone", "tone"),
    ChannelSpec("tone->tone", "tone", "tone", "tone"),
    ChannelSpec("text->tone", "tone", "tone-words", "text"),
]
'''
ENTRY_POINTS = """[commonplace.readers]
audio/basic = toneplugin:read_tone
[commonplace.encoders]
tone = toneplugin:Tones
tone-words = toneplugin:ToneWords
[commonplace.channels]
tone = toneplugin:SPECS
"""
PITCHES = {"hum": 90.0, "drone": 110.0, "voice": 420.0, "bell rings": 1500.0, "whistle": 1700.0}
PITCHES |= {f"engine {n}": 150.0 + 10 * n for n in range(12)}  # unrelated to what is asked below


def forget() -> None:
    forget_plugins()
    formats._plugins.cache_clear()
    sys.modules.pop("toneplugin", None)


def install(site: Path, version: str = "1") -> None:
    """Put the package where Python finds it, as an installer does."""
    info = site / "toneplugin-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toneplugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    # Another size too: a worker may have written bytecode, which Python takes for current within the same second.
    (site / "toneplugin.py").write_text(PLUGIN.replace("VERSION", version) + "#" * int(version) + "\n")
    forget()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    install(tmp_path / "site")
    yield tmp_path / "site"
    monkeypatch.undo()
    forget()


def tone(pitch: float) -> np.ndarray:
    return np.array([pitch], "<f4")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for name, pitch in PITCHES.items():
        (folder / f"{name}.au").write_bytes(b"\0tone\0\0\0" + tone(pitch).tobytes())
    (folder / "pump.txt").write_text("The north pump needs the blue seal. It makes a low noise.")
    Image.new("RGB", (64, 48), (240, 10, 10)).save(folder / "fire.png")
    return folder


def model() -> cp.Model:
    return cp.Model(text=Words(), image=Colours(), name="toy")


def names(hits: cp.Hits) -> list[str]:
    return [Path(hit.item.document.path).stem for hit in hits]


def test_no_file_of_the_library_names_the_modality() -> None:
    for path in Path(cp.__file__).parent.rglob("*.py"):
        assert not re.search(r"\btones?\b", path.read_text(encoding="utf-8")), path


def test_another_modality_is_indexed_and_found_by_words_and_by_content(site: Path, files: Path, tmp_path: Path) -> None:
    with cp.open(tmp_path / "kb", model=model()) as kb:
        report = kb.add(files, workers=1, progress=False)
        assert (report.added, report.failed) == (19, [])
        assert kb.status()["items"] == {"tone": 17, "text": 1, "image": 1} and kb.status()["vectors"]["tone"] == 17
        in_words = kb.search("high")
        assert set(names(in_words)[:2]) == {"whistle", "bell rings"} and in_words[0].item.modality == "tone"
        (line,) = [line for line in in_words[0].breakdown if line.channel == "text->tone"]
        assert line.rank == 1 and line.contribution > 0 and line.score > 0.9
        by_itself = kb.search(cp.Query(others={"tone": tone(430.0)}))
        assert names(by_itself)[0] == "voice" and by_itself[0].breakdown[0].channel == "tone->tone"
        assert {line.channel for line in by_itself[0].breakdown} <= {"tone->tone", "prior", "match_density"}
        both = kb.search(cp.Query("bell", others={"tone": tone(1600.0)}))
        assert names(both)[0] == "bell rings"
        assert {"lexical", "tone->tone"} <= {line.channel for line in both[0].breakdown}
        assert set(names(kb.search("low", k=20, modality="tone"))) == set(PITCHES)
        assert "pump" in names(kb.search("low noise"))
        biased = kb.search("low", ranking=cp.Ranking(modality_bias={"tone": 3.0}))
        assert any(line.channel == "modality_bias" for line in biased[0].breakdown)
        assert "seal" in kb.ask("Which seal does the north pump need?").markdown()


@pytest.mark.parametrize("early", [{"question": "slerp"}, {"views": "fused"}, {"views": "concat", "question": "sum"}])
def test_early_fusion_keeps_the_channel_of_another_modality(
    site: Path, files: Path, tmp_path: Path, early: dict[str, str]
) -> None:
    with cp.open(tmp_path / "kb", model=model()) as kb:
        kb.add(files, workers=1, progress=False)
        hits = kb.search("low red", image=files / "fire.png", ranking=cp.Ranking(**early))  # type: ignore[arg-type]
        assert {"fire", "hum", "drone"} <= set(names(hits))
        lines = {line.channel for hit in hits if hit.item.modality == "tone" for line in hit.breakdown}
        assert f"{'both' if 'question' in early else 'text'}->tone" in lines


def test_a_migration_reads_the_files_again(site: Path, files: Path, tmp_path: Path) -> None:
    with cp.open(tmp_path / "kb", model=model()) as kb:
        kb.add(files, workers=1, progress=False)
        (files / "hum.au").unlink()
        report = kb.maintenance.migrate(cp.Model(text=Words("2"), name="newer"), workers=1, progress=False)
        assert report.lost == 1 and kb.status()["vectors"]["tone"] == 16
        assert names(kb.search(cp.Query(others={"tone": tone(110.0)})))[0] == "drone"


def test_the_encoder_of_a_plug_in_is_checked_and_may_be_absent(site: Path, files: Path, tmp_path: Path) -> None:
    with cp.open(tmp_path / "kb", model=model()) as kb:
        kb.add(files, workers=1, progress=False)
    install(site, "2")
    with pytest.raises(ModelMismatch, match="tones-1"):
        cp.open(tmp_path / "kb", model=model())
    (site / "toneplugin-1.0.dist-info" / "entry_points.txt").write_text("")
    forget()
    with cp.open(tmp_path / "kb", model=model()) as kb:  # without the package the other channels are searched
        assert known_modalities() == ("text", "image", "audio")
        assert "bell rings" in names(kb.search("bell"))
        assert any("no tone tower" in note for note in kb.search(cp.Query("bell", others={"tone": tone(1)})).notes)
        for refused in (lambda: kb.search("low", modality="tone"), lambda: cp.Ranking(modality_bias={"tone": 1.0})):
            with pytest.raises(QueryError, match="tone"):
                refused()


def test_plug_ins_that_do_not_fit_are_refused_in_one_line(site: Path) -> None:
    assert modality_of("text->tone") == "tone" and "tone" in known_modalities()
    wrong = {
        'ViewSpec("tone", "tone", "tone")': 'ViewSpec("tone", "tone", "absent")',
        'ChannelSpec("tone->tone", "tone"': 'ChannelSpec("tone->tone", "nowhere"',
        'dim, fingerprint = 12, "tones-VERSION"': 'dim, fingerprint = 65, "large"',
        "SPECS = [": "SPECS = [1,",
        '"tone-words", "text"': '"tone", "text"',
        "import numpy as np\n": "import numpy as np\nraise OSError('no\\ndisk')\n",
        'ViewSpec("tone", "tone", "tone"),': 'ViewSpec("image", "tone", "tone"),',
    }
    for old, new in wrong.items():
        install(site)
        (site / "toneplugin.py").write_text(PLUGIN.replace(old, new, 1))
        forget()
        with pytest.raises(ModelError) as problem:
            Space(model())
        assert "\n" not in str(problem.value) and ": " in str(problem.value), new


def test_a_plug_in_encoder_does_not_replace_an_encoder_of_the_model(site: Path) -> None:
    (site / "toneplugin-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS.replace("tone-words", "text"))
    forget()
    with pytest.raises(ModelError, match="encoder text has the name"):
        Space(model())


def test_a_channel_is_named_after_its_query_part() -> None:
    for name in ("tone", "image->tone", "->tone", "text->item"):
        with pytest.raises(ModelError, match="PART->VIEW"):
            ChannelSpec(name, "tone", "tone", "text")


@pytest.mark.parametrize(
    ("encoders", "separate", "channels"),
    [
        ({"text"}, False, ["text->text"]),
        ({"image"}, False, ["image->image"]),
        ({"text", "image"}, False, ["text->text", "text->image", "image->text", "image->image"]),
        (
            {"text", "image", "visual"},
            False,
            ["text->text", "text->image", "image->text", "image->image", "image->semantic"],
        ),
        ({"text", "image"}, True, ["text->text", "image->image"]),
        ({"text", "text_crossmodal", "image"}, True, ["text->text", "text->image", "image->text", "image->image"]),
    ],
)
def test_the_channels_of_a_space_connect_its_views(encoders: set[str], separate: bool, channels: list[str]) -> None:
    specs = channels_of(encoders, separate_text=separate)
    assert [spec.name for spec in specs] == channels
    by_name = {spec.name: spec for spec in specs}
    if separate and "text->image" in by_name:
        assert by_name["text->image"].encoder == by_name["image->text"].view == "text_crossmodal"
    if "visual" in encoders:
        assert by_name["image->image"].view == "visual" and by_name["image->semantic"].beside == "text"


def test_the_documented_modality_works_as_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parent.parent / "docs" / "how-to" / "add-an-encoder.md").read_text(encoding="utf-8")
    page = page[page.index("## Add a modality") :]
    code, declared = (
        re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0] for kind in ("python", "toml")
    )
    site = tmp_path / "site"
    info = site / "sounds-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sounds\nVersion: 1.0\n")
    declared = re.sub(r'\[project\.entry-points\."(.+)"\]', r"[\1]", declared).replace('"', "")
    (info / "entry_points.txt").write_text(declared)
    (site / "sounds.py").write_text(code)
    monkeypatch.syspath_prepend(str(site))
    forget()
    files = tmp_path / "files"
    files.mkdir()
    for name, pitch in {"owl": 300, "dove": 450, "blackbird": 2500, "wren": 4060}.items():
        with wave.open(str(files / f"{name}.wav"), "wb") as sound:
            sound.setparams((1, 2, 16_000, 0, "NONE", ""))
            sound.writeframes(sine(pitch).tobytes())
    try:
        with cp.open(tmp_path / "kb", model=model()) as kb:
            assert kb.add(files, workers=1, progress=False).added == 4
            assert names(kb.search(cp.Query(others={"sound": sine(4080)})))[0] == "wren"
            assert names(kb.search(cp.Query(others={"sound": sine(310)}), modality="sound"))[0] == "owl"
    finally:
        monkeypatch.undo()
        sys.modules.pop("sounds", None)
        forget()


def sine(pitch: float) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * pitch * np.arange(4000) / 16_000)).astype("<i2")
