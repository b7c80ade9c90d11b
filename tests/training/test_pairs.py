"""Pairs: every way in gives the same, and what is bad is counted with its place and reason."""

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


def told(pairs: Pairs) -> dict[str, tuple[str, ...]]:
    return {pair.picture.name: pair.captions for pair in pairs.pairs}


def reasons(pairs: Pairs) -> dict[str, str]:
    return {one.where: one.reason for one in pairs.bad}


def test_a_table_lines_and_a_folder_say_the_same(
    csv_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_table = read_pairs(csv_file)
    assert len(by_table) == 54 and len(by_table.captions) == 108 and not by_table.bad
    assert by_table.owner.tolist() == [i for i in range(54) for _ in range(2)]
    assert told(read_pairs(lines(tmp_path / "a"))) == told(by_table)
    for name, captions in scenes(tmp_path / "b"):
        (tmp_path / "b" / name).with_suffix(".txt").write_text("\n".join(captions))
    monkeypatch.chdir(tmp_path)
    by_folder = read_pairs("b")
    assert told(by_folder) == told(by_table)
    # By the pictures' bytes and the seed, not by the order or the way in.
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
def test_columns_go_by_many_names(tmp_path: Path, head: str, row: str, delimiter: str) -> None:
    made = scenes(tmp_path)
    file = tmp_path / ("t.tsv" if delimiter == "\t" else "t.csv")
    rows = [row.format(name, captions[0]) for name, captions in made]
    file.write_text("\r\n".join([head, *rows]), encoding="utf-8")
    found = read_pairs(file)
    assert len(found) == 54 and not found.bad
    if "caption_2" in head:
        assert found.pairs[0].captions[1] == "a second, longer one"


def test_what_is_bad_is_counted_and_told(tmp_path: Path) -> None:
    made = scenes(tmp_path / "p")
    (tmp_path / "outside.png").write_bytes((tmp_path / "p" / made[0][0]).read_bytes())
    (tmp_path / "p" / "text.png").write_text("no picture at all")
    os.symlink(tmp_path / "outside.png", tmp_path / "p" / "link.png")
    rows = [json.dumps({"image": name, "caption": captions}) for name, captions in made]
    bad = {
        '{"image": "gone.png", "caption": "a dog"}': "no such file",
        '{"image": "../outside.png", "caption": "a dog"}': "outside of the folder",
        f'{{"image": "{tmp_path}/outside.png", "caption": "a dog"}}': "outside of the folder",
        '{"image": "link.png", "caption": "a dog"}': "outside of the folder",
        '{"image": "text.png", "caption": "a dog"}': "no picture",
        '{"image": "https://example.org/a.png", "caption": "a dog"}': "fetch it first",
        f'{{"image": "{made[1][0]}", "caption": "  "}}': "caption is empty",
        f'{{"image": "{made[1][0]}", "caption": null}}': "no caption",
        f'{{"image": "{made[1][0]}", "caption": 7}}': "caption is empty",
        '{"image": "", "caption": "a dog"}': "names no picture",
        '{"image": "a\\u0000.png", "caption": "a dog"}': "names no picture",
        f'{{"image": "{made[1][0]}", "caption": "a dog", "split": "holdout"}}': "its split is 'holdout'",
        "{broken": "is no JSON",
        "[1]": "is no JSON object",
    }
    file = tmp_path / "p" / "pairs.jsonl"
    file.write_text("\n".join([*rows, *bad]))
    found = read_pairs(file)
    assert len(found) == 54
    for (line, reason), one in zip(bad.items(), found.bad, strict=True):
        assert reason in one.reason, line
    assert found.bad[0].where == "pairs.jsonl line 55"
    report = found.report(most=3)
    assert report[1] == f"{len(bad)} left out:" and len(report) == 6 and "x " in report[-1]


def test_a_torn_table_loses_only_the_torn_rows(tmp_path: Path) -> None:
    made = scenes(tmp_path)
    rows = [f"{name},{captions[0]}" for name, captions in made]
    rows.insert(3, f"{made[0][0]},a dog, a cat")  # a comma that nobody quoted
    (tmp_path / "t.csv").write_text("\n".join(["image,caption", *rows]), encoding="latin-1")
    found = read_pairs(tmp_path / "t.csv")
    assert len(found) == 54 and list(reasons(found)) == ["t.csv line 5"]
    assert "3 cells where the head has 2" in found.bad[0].reason


def test_splits_of_the_source_stand(tmp_path: Path) -> None:
    made = scenes(tmp_path)
    names = ["val"] * 8 + ["test"] * 6 + ["train"] * 40
    rows = [f"{name},{captions[0]},{split}" for (name, captions), split in zip(made, names, strict=True)]
    rows.append(f"{made[0][0]},once more,train")
    (tmp_path / "t.csv").write_text("\n".join(["image,caption,split", *rows]))
    found = read_pairs(tmp_path / "t.csv")
    assert Counter(pair.split for pair in found.pairs) == {"train": 40, "dev": 8, "test": 6}
    assert "stands in the split dev already" in found.bad[0].reason
    # A source that knows no dev split gives some of its training pictures, none of its test pictures.
    (tmp_path / "t.csv").write_text("\n".join(["image,caption,split", *rows[8:-1]]))
    found = read_pairs(tmp_path / "t.csv")
    assert Counter(pair.split for pair in found.pairs) == {"train": 30, "dev": 10, "test": 6}


def test_equal_files_are_one_picture_and_leak_into_no_other_split(tmp_path: Path) -> None:
    made = scenes(tmp_path)
    rows = [f"{name},{captions[0]}" for name, captions in made]
    for name, captions in made[:20]:
        shutil.copy(tmp_path / name, tmp_path / f"copy-{name}")
        rows.append(f"copy-{name},{captions[1]}")
    (tmp_path / "t.csv").write_text("\n".join(["image,caption", *rows]))
    found = read_pairs(tmp_path / "t.csv")
    assert len(found) == 54 and len(found.captions) == 74


def test_folders_may_be_splits(tmp_path: Path) -> None:
    made = scenes(tmp_path / "all")
    for i, (name, captions) in enumerate(made):
        folder = tmp_path / "f" / ("train", "validation", "test")[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(tmp_path / "all" / name, folder / name)
        if i:
            (folder / f"{name}.caption").write_text(captions[0])
    found = read_pairs(tmp_path / "f")
    assert Counter(pair.split for pair in found.pairs) == {"train": 17, "dev": 18, "test": 18}
    assert found.bad == (Bad(f"train/{made[0][0]}", f"has no caption beside it ({made[0][0][:-4]}.txt)"),)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, "gone.csv", "there is no file or folder"),
        ("image,caption", "t.csv", f"0 usable pictures, 0 were left out; {LEAST} is the least"),
        ("a,b\n1,2", "t.csv", "no column for the picture (it has a, b)"),
        ('{"image": "x.png"}', "t.jsonl", "no column for the caption"),
        ("", "t.csv", "is empty"),
        ("image,caption\nx.png,a dog", "t.csv", "the first that was left out: t.csv line 2: no such file"),
        ("x", "t.xlsx", "is no table of pairs"),
    ],
)
def test_a_source_of_nothing_is_refused_in_one_line(
    tmp_path: Path, content: str | None, name: str, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(TrainingError, match=r"^[^\n]+$") as caught:
        read_pairs(tmp_path / name)
    assert message in str(caught.value)


def test_one_caption_for_all_is_refused(tmp_path: Path) -> None:
    rows = [f"{name},a shape" for name, _ in scenes(tmp_path)]
    (tmp_path / "t.csv").write_text("\n".join(["image,caption", *rows]))
    with pytest.raises(TrainingError, match="one and the same caption"):
        read_pairs(tmp_path / "t.csv")


def test_pictures_that_turn_out_bad_leave(csv_file: Path) -> None:
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
        return {"image": [str(one) for one in part.pictures], "captions": [list(one.captions) for one in part.pairs]}

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
    found = read_pairs(tmp_path / "copy")
    assert found.digest == pairs.digest or Counter(
        (pair.digest, pair.split, pair.captions) for pair in found.pairs
    ) == Counter((pair.digest, pair.split, pair.captions) for pair in pairs.pairs)
    assert not found.bad and all(path.is_relative_to(tmp_path / "home") for path in found.pictures)


def test_an_unknown_dataset_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets", reason="the extra train is not installed")
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(TrainingError, match=r"^there is no file, folder or hub dataset nobody/nothing[^\n]+$"):
        read_pairs("nobody/nothing")
