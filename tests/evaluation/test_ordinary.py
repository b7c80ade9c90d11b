"""The ordinary folders of the benchmarks: labels that agree with the texts, files that can be read, honest scores."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import commonplace as cp

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def ordinary() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import ordinary

        yield ordinary
    finally:
        sys.path.remove(str(BENCHMARKS))


def texts(folder: str) -> dict[str, str]:
    """Return the sources by path; cells of tables stand apart, so that no two make one number."""
    import ordinary_files

    sources = ordinary_files.sources(folder)
    return {
        path: text.replace(",", " , ") if path.endswith((".csv", ".xlsx")) else text for path, text in sources.items()
    }


FOLDERS = "firm household manual album school vet shop archive landlord teahouse club lectures clinic research"


@pytest.mark.parametrize("folder", FOLDERS.split())
def test_labels_agree_with_the_texts(ordinary: ModuleType, folder: str) -> None:
    sources, rows = texts(folder), ordinary.questions([folder])
    assert len(rows) >= 40 and len(sources) >= 14
    assert len({row["id"] for row in rows}) == len(rows)
    assert 0.16 <= sum("absent" in row for row in rows) / len(rows) <= 0.25
    everything = ordinary.normalized("\n".join(sources.values()))
    for row in rows:
        assert ("absent" in row) != bool(row.get("files")), row["id"]
        assert {*row.get("files", ()), *([row["image"]] if "image" in row else [])} <= set(sources), row["id"]
        right = ordinary.normalized("\n".join(sources[path] for path in row.get("files", ())))
        for group in row.get("must", ()):
            assert any(ordinary.has(right, word) for word in group), (row["id"], group)
        for word in row.get("not", ()):
            assert ordinary.has(everything, word), (row["id"], word)
            must = [way for group in row.get("must", ()) for way in group]
            assert not any(ordinary.has(ordinary.normalized(way), word) for way in must), (row["id"], word)


def test_folders_of_the_halves_are_apart(ordinary: ModuleType) -> None:
    assert not set(ordinary.DEV) & set(ordinary.TEST)
    assert len(ordinary.questions(ordinary.DEV + ordinary.TEST)) >= 300


def test_made_files_say_what_their_sources_say(ordinary: ModuleType, tmp_path: Path) -> None:
    import ordinary_files

    for folder in ("firm", "manual"):
        assert ordinary_files.make(folder, tmp_path / folder, None) == []
    for path, words in {
        "firm/people/holiday rules.docx": "Up to five unused days may be carried into the next year.",
        "firm/people/staff list 2026.xlsx": "| Adaeze Okonjo | Design and drawings | 17 | 2020-11-02 | 25 |",
        "firm/people/apprentice handbook.pdf": "5. Fit the new blade with the teeth towards you",
        "firm/projects/Beaumaris Hotel handover.pptx": "Notes: The 18 mm came from the drawing of the architect",
        "firm/mail/hartmann anfrage.eml": "Jürgen Hartmann",
        "manual/internal/benchmarks.ipynb": "3.4 30.2",
    }.items():
        parsed = cp.read(tmp_path / path)
        assert parsed.document.status == "ok", path
        assert any(words in (item.text or "") for item in parsed.items), path


def test_words_are_found_whole(ordinary: ModuleType) -> None:
    def has(text: str, word: str) -> bool:
        return bool(ordinary.has(ordinary.normalized(text), word))

    assert has("It costs £7,200.", "7200") and not has("It costs £17,200.", "7200")
    assert has("31.00 or 31", "31") and has("a share of 12.50", "12.5") and not has("2.31 metres", "31")
    assert has("Due on 14 May 2026.", "date:2026-05-14") and has("5月14日交", "date:2026-05-14")
    assert not has("Due on 24 May 2026.", "date:2026-05-14") and has("two hazelnuts", "hazelnut")
    assert not has("a notch", "no") and not has("the shipyard", "yard")


def test_sentences_rows_and_items_are_counted(ordinary: ModuleType) -> None:
    def count(*texts: str, kind: str = "text") -> int:
        blocks = tuple(cp.Block(kind, text, ()) for text in texts)  # type: ignore[arg-type]
        return int(ordinary.sentences(cp.Answer("?", blocks, (), ())))

    assert count("Ask Dr. Thomsen at 7.30 in the morning. Then wait.", "It is 3.5 km.") == 3
    assert count("- one\n- two\n- three") == 3
    assert count("先关锅炉。再开阀门。") == 2
    assert count("wsl --list", kind="code") == 0
