"""Reading pairs: every kind of source gives the same pairs, and unusable entries are listed with their reasons."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from commonplace.errors import TrainingError
from commonplace.training.pairs import LEAST, Bad, Pairs, read_pairs
from tests.training.make import lines, scenes


def captions_by_name(pairs: Pairs) -> dict[str, tuple[str, ...]]:
    return {pair.picture.name: pair.captions for pair in pairs.pairs}


def reasons(pairs: Pairs) -> dict[str, str]:
    return {entry.where: entry.reason for entry in pairs.bad}


def test_a_table_lines_and_a_folder_give_the_same_pairs(
    csv_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_table = read_pairs(csv_file)
    assert len(by_table) == 54 and len(by_table.captions) == 108 and not by_table.bad
    assert by_table.owner.tolist() == [i for i in range(54) for _ in range(2)]
    assert captions_by_name(read_pairs(lines(tmp_path / "a"))) == captions_by_name(by_table)
    for name, captions in scenes(tmp_path / "b"):
        (tmp_path / "b" / name).with_suffix(".txt").write_text("\n".join(captions))
    monkeypatch.chdir(tmp_path)
    by_folder = read_pairs("b")
    assert captions_by_name(by_folder) == captions_by_name(by_table)
    # The split depends on the pictures' bytes and the seed, not on the order or the kind of source.
    splits = {pair.picture.name: pair.split for pair in by_table.pairs}
    assert {pair.picture.name: pair.split for pair in by_folder.pairs} == splits
    assert Counter(splits.values()) == {"train": 34, "dev": 10, "test": 10}
    assert {pair.picture.name: pair.split for pair in read_pairs(csv_file, seed=1).pairs} != splits
    assert read_pairs(csv_file).digest == by_table.digest != read_pairs(csv_file, seed=1).digest


@pytest.mark.parametrize(
    ("head", "row", "delimiter"),
    [
        ("File Name;Description", "{};{}", ";"),
        ("path\ttext", "{}\t{}", "\t"),
        ("﻿photo,caption_1,caption_2", '{},{},"a second, longer one"', ","),
        ("caption,image", "{1},{0}", ","),
    ],
)
def test_columns_may_have_several_names(tmp_path: Path, head: str, row: str, delimiter: str) -> None:
    made = scenes(tmp_path)
    file = tmp_path / ("t.tsv" if delimiter == "\t" else "t.csv")
    rows = [row.format(name, captions[0]) for name, captions in made]
    file.write_text("\r\n".join([head, *rows]), encoding="utf-8")
    loaded = read_pairs(file)
    assert len(loaded) == 54 and not loaded.bad
    if "caption_2" in head:
        assert loaded.pairs[0].captions[1] == "a second, longer one"


def test_unusable_entries_are_listed_with_their_reasons(tmp_path: Path) -> None:
    made = scenes(tmp_path / "p")
    (tmp_path / "outside.png").write_bytes((tmp_path / "p" / made[0][0]).read_bytes())
    (tmp_path / "p" / "text.png").write_text("no picture at all")
    os.symlink(tmp_path / "outside.png", tmp_path / "p" / "link.png")
    rows = [json.dumps({"image": name, "caption": captions}) for name, captions in made]
    bad = {
        '{"image": "gone.png", "caption": "a dog"}': "no such file",
        '{"image": "../outside.png", "caption": "a dog"}': "outside the folder",
        f'{{"image": "{tmp_path}/outside.png", "caption": "a dog"}}': "outside the folder",
        '{"image": "link.png", "caption": "a dog"}': "outside the folder",
        '{"image": "text.png", "caption": "a dog"}': "format that is not supported",
        '{"image": "https://example.org/a.png", "caption": "a dog"}': "download it first",
        f'{{"image": "{made[1][0]}", "caption": "  "}}': "caption is empty",
        f'{{"image": "{made[1][0]}", "caption": null}}': "no caption",
        f'{{"image": "{made[1][0]}", "caption": 7}}': "caption is empty",
        '{"image": "", "caption": "a dog"}': "names no picture",
        '{"image": "a\\u0000.png", "caption": "a dog"}': "names no picture",
        f'{{"image": "{made[1][0]}", "caption": "a dog", "split": "holdout"}}': "its split is 'holdout'",
        "{broken": "is not JSON",
        "[1]": "is not a JSON object",
    }
    file = tmp_path / "p" / "pairs.jsonl"
    file.write_text("\n".join([*rows, *bad]))
    loaded = read_pairs(file)
    assert len(loaded) == 54
    for (line, reason), entry in zip(bad.items(), loaded.bad, strict=True):
        assert reason in entry.reason, line
    assert loaded.bad[0].where == "pairs.jsonl line 55"
    report = loaded.report(most=3)
    assert report[1] == f"{len(bad)} skipped:" and len(report) == 6 and "x " in report[-1]


def test_a_damaged_table_loses_only_the_damaged_rows(tmp_path: Path) -> None:
    made = scenes(tmp_path)
    rows = [f"{name},{captions[0]}" for name, captions in made]
    rows.insert(3, f"{made[0][0]},a dog, a cat")  # a comma without quotes
    (tmp_path / "t.csv").write_text("\n".join(["image,caption", *rows]), encoding="latin-1")
    loaded = read_pairs(tmp_path / "t.csv")
    assert len(loaded) == 54 and list(reasons(loaded)) == ["t.csv line 5"]
    assert "3 cells, the header has 2" in loaded.bad[0].reason


def test_splits_of_the_source_are_kept(tmp_path: Path) -> None:
    made = scenes(tmp_path)
    names = ["val"] * 8 + ["test"] * 6 + ["train"] * 40
    rows = [f"{name},{captions[0]},{split}" for (name, captions), split in zip(made, names, strict=True)]
    rows.append(f"{made[0][0]},once more,train")
    (tmp_path / "t.csv").write_text("\n".join(["image,caption,split", *rows]))
    loaded = read_pairs(tmp_path / "t.csv")
    assert Counter(pair.split for pair in loaded.pairs) == {"train": 40, "dev": 8, "test": 6}
    assert "already in the split dev" in loaded.bad[0].reason
    # Without a dev split in the source, it is drawn from the training pictures, not from the test pictures.
    (tmp_path / "t.csv").write_text("\n".join(["image,caption,split", *rows[8:-1]]))
    loaded = read_pairs(tmp_path / "t.csv")
    assert Counter(pair.split for pair in loaded.pairs) == {"train": 30, "dev": 10, "test": 6}


def test_equal_files_are_one_picture_in_one_split(tmp_path: Path) -> None:
    made = scenes(tmp_path)
    rows = [f"{name},{captions[0]}" for name, captions in made]
    for name, captions in made[:20]:
        shutil.copy(tmp_path / name, tmp_path / f"copy-{name}")
        rows.append(f"copy-{name},{captions[1]}")
    (tmp_path / "t.csv").write_text("\n".join(["image,caption", *rows]))
    loaded = read_pairs(tmp_path / "t.csv")
    assert len(loaded) == 54 and len(loaded.captions) == 74


def test_folders_may_be_splits(tmp_path: Path) -> None:
    made = scenes(tmp_path / "all")
    for i, (name, captions) in enumerate(made):
        folder = tmp_path / "f" / ("train", "validation", "test")[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(tmp_path / "all" / name, folder / name)
        if i:
            (folder / f"{name}.caption").write_text(captions[0])
    loaded = read_pairs(tmp_path / "f")
    assert Counter(pair.split for pair in loaded.pairs) == {"train": 17, "dev": 18, "test": 18}
    assert loaded.bad == (Bad(f"train/{made[0][0]}", f"has no caption file beside it ({made[0][0][:-4]}.txt)"),)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, "gone.csv", "there is no file or folder"),
        ("image,caption", "t.csv", f"0 usable pictures (0 entries were skipped): training needs at least {LEAST}"),
        ("a,b\n1,2", "t.csv", "no picture column (its columns: a, b)"),
        ('{"image": "x.png"}', "t.jsonl", "no caption column"),
        ("", "t.csv", "is empty"),
        ("image,caption\nx.png,a dog", "t.csv", "the first one skipped: t.csv line 2: no such file"),
        ("x", "t.xlsx", "is not a table of pairs"),
    ],
)
def test_an_empty_or_unreadable_source_is_refused_in_one_line(
    tmp_path: Path, content: str | None, name: str, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(TrainingError, match=r"^[^\n]+$") as caught:
        read_pairs(tmp_path / name)
    assert message in str(caught.value)


def test_the_same_caption_for_all_is_refused(tmp_path: Path) -> None:
    rows = [f"{name},a shape" for name, _ in scenes(tmp_path)]
    (tmp_path / "t.csv").write_text("\n".join(["image,caption", *rows]))
    with pytest.raises(TrainingError, match="have the same caption"):
        read_pairs(tmp_path / "t.csv")


def test_without_removes_pictures(csv_file: Path) -> None:
    pairs = read_pairs(csv_file)
    first = pairs.pairs[0].picture
    less = pairs.without({first: "truncated"})
    assert len(less) == 53 and less.bad == (Bad(f"pictures/{first.name}", "truncated"),)
    with pytest.raises(TrainingError, match="3 usable pictures"):
        pairs.without(dict.fromkeys(pairs.pictures[3:], "truncated"))


@pytest.mark.parametrize("saved", [True, False], ids=["saved", "parquet"])
def test_a_local_copy_of_a_dataset(
    csv_file: Path, tmp_path: Path, saved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra train is not installed")
    monkeypatch.setenv("COMMONPLACE_HOME", str(tmp_path / "home"))
    pairs = read_pairs(csv_file)

    def rows(split: str) -> dict[str, list]:
        part = pairs.part(split)  # type: ignore[arg-type]
        return {
            "image": [str(path) for path in part.pictures],
            "captions": [list(pair.captions) for pair in part.pairs],
        }

    features = datasets.Features({"image": datasets.Image(), "captions": datasets.List(datasets.Value("string"))})
    made = datasets.DatasetDict(
        {
            name: datasets.Dataset.from_dict(rows(split), features=features)
            for name, split in (("train", "train"), ("validation", "dev"), ("test", "test"))
        }
    )
    if saved:
        made.save_to_disk(str(tmp_path / "copy"))
    else:
        for name, part in made.items():
            part.to_parquet(str(tmp_path / "copy" / f"{name}-00000.parquet"))
    loaded = read_pairs(tmp_path / "copy")
    assert loaded.digest == pairs.digest or Counter(
        (pair.digest, pair.split, pair.captions) for pair in loaded.pairs
    ) == Counter((pair.digest, pair.split, pair.captions) for pair in pairs.pairs)
    assert not loaded.bad and all(path.is_relative_to(tmp_path / "home") for path in loaded.pictures)


def test_an_unknown_dataset_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets", reason="the extra train is not installed")
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(TrainingError, match=r"^there is no file, folder or hub dataset nobody/nothing[^\n]+$"):
        read_pairs("nobody/nothing")
