"""Pictures and their captions, from a table, JSON Lines, a folder or a hub dataset: checked, counted, divided."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders.presets import home
from commonplace.errors import ReadError, TrainingError
from commonplace.readers import SUFFIXES, media_type
from commonplace.readers.formats import read_whole
from commonplace.readers.text import decode
from commonplace.types import printable, stable_id

__all__ = ["Bad", "Pair", "Pairs", "Split", "read_pairs"]

Split = Literal["train", "dev", "test"]
SPLITS: Mapping[str, Split] = {
    **dict.fromkeys(("", "train", "training", "restval"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation", "development", "eval"), "dev"),
    **dict.fromkeys(("test", "testing"), "test"),
}
PICTURE = (
    *("image", "picture", "photo", "img", "file_name", "filename", "file", "image_path", "picture_path", "path"),
    *("filepath", "file_path", "image_name", "image_file"),
)
CAPTION = (
    *("caption", "captions", "text", "texts", "description", "descriptions", "sentence", "sentences", "title"),
    *("alt_text", "raw", "prompt"),
)
SIDECARS = (".txt", ".caption", ".captions")
FILES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt", ".parquet", ".zip", ".xlsx")  # no hub dataset's name
LISTS = ("metadata.jsonl", "metadata.csv")  # as hub datasets that are folders of pictures have them
LEAST = 16
"""Pictures below which nothing is learned and nothing can be measured."""
LARGEST = 1 << 30  # bytes of a table
HELD = (0.1, 1000)
"""The share of pictures held out as dev, and as test, where the source does not say; and how many at most."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture's file and what is said of it, once or more. ``digest`` is that of the file's bytes."""

    picture: Path
    captions: tuple[str, ...]
    split: Split = "train"
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Bad:
    """What could not be used: where it stands in the source, and why."""

    where: str
    reason: str


@dataclass(frozen=True)
class Pairs:
    """Pictures with captions, each picture once, and what was bad.

    ``captions`` are those of all pictures, one after the other; ``owner[j]`` is the row of the picture that
    ``captions[j]`` describes.
    """

    name: str
    pairs: tuple[Pair, ...]
    bad: tuple[Bad, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def pictures(self) -> list[Path]:
        return [pair.picture for pair in self.pairs]

    @cached_property
    def captions(self) -> list[str]:
        return [caption for pair in self.pairs for caption in pair.captions]

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self.pairs)), [len(pair.captions) for pair in self.pairs])

    @property
    def digest(self) -> str:
        """Hash of what is trained on: the pictures' bytes, the captions and the split."""
        return stable_id(*(part for pair in self.pairs for part in (pair.digest, pair.split, *pair.captions)))

    def part(self, split: Split) -> Pairs:
        """Return one split; ``bad`` stays with the whole."""
        return Pairs(self.name, tuple(pair for pair in self.pairs if pair.split == split))

    def rows(self, split: Split, most: int = 2**62) -> NDArray[np.int64]:
        """Return the rows of a split's pictures, evenly at most ``most`` of them."""
        at = np.flatnonzero([pair.split == split for pair in self.pairs])
        return np.asarray(at[np.unique(np.linspace(0, len(at) - 1, min(most, len(at))).astype(int))])

    def without(self, reasons: Mapping[Path, str]) -> Pairs:
        """Return the pairs less those pictures that turned out to be bad later. Raises TrainingError as read_pairs."""
        usable = tuple(pair for pair in self.pairs if pair.picture not in reasons)
        cleaned = replace(
            self, pairs=usable, bad=(*self.bad, *(Bad(_short(path), why) for path, why in reasons.items()))
        )
        _check(cleaned)
        return cleaned

    def report(self, most: int = 10) -> list[str]:
        """Return lines for a reader: the counts, then what was bad, the first ``most`` with their place and reason."""
        counts = Counter(pair.split for pair in self.pairs)
        shares = ", ".join(f"{counts[split]} {split}" for split in ("train", "dev", "test"))
        lines = [f"{len(self.pairs)} pictures with {len(self.captions)} captions ({shares})"]
        if self.bad:
            lines.append(f"{len(self.bad)} left out:")
            lines += [f"  {printable(problem.where)}: {problem.reason}" for problem in self.bad[:most]]
            if len(self.bad) > most:
                rest = Counter(problem.reason.split(" (")[0] for problem in self.bad[most:])
                lines.append("  and " + ", ".join(f"{count} x {reason}" for reason, count in rest.most_common(5)))
        return lines


def read_pairs(
    source: str | os.PathLike[str], *, pictures: str | os.PathLike[str] | None = None, seed: int = 0
) -> Pairs:
    """Return the pairs of ``source``: a CSV or TSV table, JSON Lines, a folder, or the name of a hub dataset.

    A table has a column for the picture's file (``image``, ``file_name``, ``path`` ...) and one or more for captions
    (``caption``, ``text``, ``caption_1`` ...); ``split`` is optional. A picture may stand in several rows. In JSON
    Lines a caption may be a list. Paths are relative to the source's folder, or to ``pictures``, and never lead out of
    it. In a folder ``x.jpg`` has its captions in ``x.txt`` (or ``x.caption``), one a line; folders called ``train``,
    ``dev`` and ``test`` are splits. Files of equal bytes are one picture. Where the source names no dev or test split,
    or one split for all, a tenth of the pictures each is drawn, by ``seed`` and the pictures' bytes, not by their
    order. A dataset's pictures are kept beside the pulled models; a local copy of a dataset (a folder with Parquet
    files, or one that its library saved) needs no network.

    Raises TrainingError where there is no such source, no column for one of the two, or too little to learn from.
    """
    name = os.fspath(source)
    path = Path(os.path.abspath(os.path.expanduser(name)))
    if not name:
        raise TrainingError("no pairs are named: give a table, a JSON Lines file, a folder, or a hub dataset")
    root = Path(os.path.abspath(os.path.expanduser(pictures))) if pictures is not None else None
    if root is not None and not root.is_dir():
        raise TrainingError(f"there is no folder {printable(str(root))}: check --pictures")
    if path.is_dir() and not _is_dataset(path):
        rows, root = _folder(path, root), root or path
    elif path.exists() and not path.is_dir():
        rows, root = _rows(path), root or path.parent
    else:
        if not path.is_dir() and (path.suffix.lower() in FILES or not re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", name)):
            raise TrainingError(f"there is no file or folder {printable(name)}: check the path")
        root = home().parent / "datasets" / stable_id(path.resolve() if path.is_dir() else name)
        rows = _dataset(name, path if path.is_dir() else None, root)
    divided = _divide(_gather(path.name if path.exists() else name, rows, root), seed)
    _check(divided)
    return divided


def _check(pairs: Pairs) -> None:
    counts = Counter(pair.split for pair in pairs.pairs)
    if len(pairs) < LEAST:
        first = f"; the first that was left out: {pairs.bad[0].where}: {pairs.bad[0].reason}" if pairs.bad else ""
        raise TrainingError(
            f"{pairs.name} has {len(pairs)} usable pictures, {len(pairs.bad)} were left out; {LEAST} is the least to "
            f"learn from{first}"
        )
    for split in ("train", "dev", "test"):
        if counts[split] < 2:
            raise TrainingError(f"{pairs.name} has {counts[split]} pictures for {split}: check its column split")
    if len({caption.casefold() for caption in pairs.part("train").captions}) < 2:
        raise TrainingError(
            f"all pictures of {pairs.name} have one and the same caption: nothing tells them apart; describe each"
        )


# --- from a source to rows ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """What one place of a source says: a picture's file or a ``problem``, its captions, and its split."""

    where: str
    picture: object = None
    captions: Sequence[object] = ()
    split: object = None
    problem: str | None = None


def _rows(path: Path) -> Iterator[_Row]:
    ending = path.suffix.lower()
    if ending not in (".csv", ".tsv", ".jsonl", ".ndjson"):
        raise TrainingError(
            f"{printable(str(path))} is no table of pairs: give .csv, .tsv or .jsonl, a folder, or a hub dataset"
        )
    try:
        text, _ = decode(read_whole(path, LARGEST))
    except ReadError as problem:
        raise TrainingError(f"{printable(str(path))}: {problem}") from None
    yield from _lines(path.name, text) if ending in (".jsonl", ".ndjson") else _table(path.name, text, ending)


def _table(name: str, text: str, ending: str) -> Iterator[_Row]:
    head = text.split("\n", 1)[0]
    delimiter = "\t" if ending == ".tsv" else max(",;\t|", key=head.count)
    csv.field_size_limit(1 << 24)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = next(lines, [])
    picture, captions, split = _columns(name, columns)
    while True:
        try:
            cells = next(lines, None)
        except csv.Error as error:
            yield _Row(f"{name} line {lines.line_num}", problem=f"is no row of the table ({error})")
            continue
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{name} line {lines.line_num}"
        if len(cells) != len(columns):
            yield _Row(
                where, problem=f"has {len(cells)} cells where the head has {len(columns)}: quote what has commas"
            )
            continue
        cell_captions = [caption for at in captions for caption in _cell(cells[at])]
        yield _Row(where, cells[picture], cell_captions, cells[split] if split is not None else None)


def _cell(text: str) -> list[object]:
    """Return a cell's captions: one, or those of a list in JSON."""
    if text.lstrip().startswith("["):
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            return [text]
        if isinstance(fields, list):
            return fields
    return [text] if text.strip() else []


def _columns(name: str, columns: Sequence[str]) -> tuple[int, list[int], int | None]:
    """Return which columns are the picture, the captions and the split."""
    plain = [column.strip().casefold().replace(" ", "_") for column in columns]
    picture = next((plain.index(column) for column in PICTURE if column in plain), None)
    captions = [i for i, column in enumerate(plain) if re.sub(r"_?\d{1,2}$", "", column) in CAPTION and i != picture]
    if picture is None or not captions:
        lacking, names = ("picture", PICTURE[:5]) if picture is None else ("caption", CAPTION[:4])
        raise TrainingError(
            f"{name} has no column for the {lacking} (it has {printable(', '.join(columns)[:200]) or 'none'}): call it "
            f"one of {', '.join(names)}"
        )
    return picture, captions, plain.index("split") if "split" in plain else None


def _lines(name: str, text: str) -> Iterator[_Row]:
    has_pairs = False
    for number, line in enumerate(text.split("\n"), start=1):
        where = f"{name} line {number}"
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            yield _Row(where, problem="is no JSON")
            continue
        if not isinstance(fields, dict):
            yield _Row(where, problem="is no JSON object")
            continue
        try:
            yield _fields(where, name, fields)
            has_pairs = True
        except TrainingError:
            if not has_pairs:  # the first line tells how the file is made
                raise
            yield _Row(where, problem="has no picture or no caption")


def _fields(where: str, name: str, fields: Mapping[str, Any]) -> _Row:
    columns = list(fields)
    picture, captions, split = _columns(name, columns)
    values: list[object] = []
    for at in captions:
        value = fields[columns[at]]
        values += value if isinstance(value, list) else [] if value is None else [value]
    return _Row(where, fields[columns[picture]], values, fields[columns[split]] if split is not None else None)


def _folder(folder: Path, root: Path | None) -> Iterator[_Row]:
    for name in LISTS:
        if (folder / name).is_file():
            yield from _rows(folder / name)
            return
    for path in sorted(folder.rglob("*")):
        if not SUFFIXES.get(path.suffix.lower(), "").startswith("image/") or path.name.startswith("."):
            continue
        where = path.relative_to(folder).as_posix()
        beside = [path.with_suffix(ending) for ending in SIDECARS] + [Path(f"{path}{ending}") for ending in SIDECARS]
        texts = [file for file in beside if file.is_file()]
        if not texts:
            yield _Row(where, problem=f"has no caption beside it ({path.stem}.txt)")
            continue
        try:
            lines = [line for file in texts for line in decode(read_whole(file, 1 << 20))[0].splitlines()]
        except ReadError as problem:
            yield _Row(where, problem=f"its caption: {problem}")
            continue
        first = Path(where).parts[0].casefold()
        yield _Row(where, path, [line for line in lines if line.strip()], SPLITS.get(first) if "/" in where else None)


# --- hub datasets ---------------------------------------------------------------------------------------------


def _is_dataset(folder: Path) -> bool:
    saved = ("dataset_dict.json", "state.json")
    return any((folder / name).is_file() for name in saved) or next(folder.rglob("*.parquet"), None) is not None


def _dataset(name: str, folder: Path | None, into: Path) -> Iterator[_Row]:
    """Yield the rows of a dataset; pictures are written once to ``into``, under their hash."""
    try:
        import datasets
    except ImportError as problem:
        raise TrainingError(
            f"there is no file or folder {printable(name)}; reading a hub dataset needs the library datasets: install "
            "commonplace with the extra train"
        ) from problem
    try:
        saved = folder is not None and not next(folder.rglob("*.parquet"), None)
        dataset = datasets.load_from_disk(str(folder)) if saved else datasets.load_dataset(str(folder or name))
    except Exception as problem:  # the library lets its client's, its parsers' and its own errors through
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]
        raise TrainingError(
            f"there is no file, folder or hub dataset {printable(name)} that can be read ({printable(reason)}): check "
            "the name and the network, or give a local copy's folder"
        ) from problem
    parts = dict(dataset) if isinstance(dataset, datasets.DatasetDict) else {None: dataset}
    into.mkdir(parents=True, exist_ok=True)
    for split, rows in parts.items():
        shown = [column for column, kind in rows.features.items() if isinstance(kind, datasets.Image)]
        if not shown:
            raise TrainingError(f"the dataset {printable(name)} has no column of pictures: choose another")
        rows = rows.cast_column(shown[0], datasets.Image(decode=False))
        for number, row in enumerate(rows):
            where = f"{name} {split or ''} row {number}".replace("  ", " ")
            cell = row.pop(shown[0])
            picture = _kept(cell, into)
            if picture is None:
                yield _Row(where, problem="has no picture")
                continue
            fields = {"image": picture} | {"split": split} | {k: v for k, v in row.items() if k not in PICTURE}
            yield _fields(where, name, fields)


def _kept(cell: Mapping[str, Any] | None, into: Path) -> Path | None:
    """Return the file of a dataset's picture, written where it is not there yet."""
    if not cell:
        return None
    data, path = cell.get("bytes"), cell.get("path")
    if data is None:
        try:
            data = read_whole(Path(path), LARGEST) if path else None
        except ReadError:
            return None
    if not data:
        return None
    ending = Path(path or "").suffix.lower()
    file = into / f"{hashlib.sha256(data).hexdigest()[:40]}{ending if ending in SUFFIXES else ''}"
    if not file.exists():
        beside = file.with_name(f".{file.name}.part")
        beside.write_bytes(data)
        beside.replace(file)
    return file


# --- from rows to pairs ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Picture:
    path: Path
    captions: dict[str, None]  # in order, each once
    split: Split
    said: bool  # whether the source names the split


def _gather(name: str, rows: Iterable[_Row], root: Path) -> tuple[Pairs, set[str]]:
    """Return the pairs of usable rows, all bad ones with their reasons, and the digests whose split was said."""
    pictures: dict[str, _Picture] = {}
    digests: dict[Path, str] = {}
    bad: list[Bad] = []
    for row in rows:
        try:
            if row.problem:
                raise ReadError(row.problem)
            split, stated = _split(row.split)
            captions = [
                " ".join(caption.split()) for caption in row.captions if isinstance(caption, str) and caption.strip()
            ]
            if not captions:
                raise ReadError("its caption is empty" if row.captions else "has no caption")
            path = _inside(row.picture, root)
            if path not in digests:
                digests[path] = _digest(path)
        except ReadError as problem:
            bad.append(Bad(row.where, str(problem)))
            continue
        digest = digests[path]
        picture = pictures.setdefault(digest, _Picture(path, {}, split, stated))
        if picture.split != split and stated and picture.said:
            bad.append(Bad(row.where, f"the same picture stands in the split {picture.split} already"))
            continue
        if stated and not picture.said:
            picture.split, picture.said = split, True
        picture.captions.update(dict.fromkeys(captions))
    pairs = tuple(
        Pair(picture.path, tuple(picture.captions), picture.split, digest) for digest, picture in pictures.items()
    )
    named = {digest for digest, picture in pictures.items() if picture.said}
    if len(named) == len(pairs) and len({pair.split for pair in pairs}) == 1:  # a dataset whose only split is "test"
        return Pairs(name, tuple(replace(pair, split="train") for pair in pairs), tuple(bad)), set()
    return Pairs(name, pairs, tuple(bad)), named


def _split(label: object) -> tuple[Split, bool]:
    if label is None or (isinstance(label, str) and not label.strip()):
        return "train", False
    split = SPLITS.get(str(label).strip().casefold())
    if split is None:
        raise ReadError(f"its split is {printable(str(label)[:40])!r}: train, dev or test")
    return split, True


def _inside(picture: object, root: Path) -> Path:
    """Return a picture's file, which must lie in ``root``: a list from elsewhere names no other file of the user's."""
    if not isinstance(picture, (str, Path)) or not str(picture).strip() or "\0" in str(picture):
        raise ReadError("names no picture")
    if "://" in str(picture):
        raise ReadError("its picture is an address: fetch it first")
    relative = picture if isinstance(picture, Path) else Path(picture.strip().replace("\\", "/"))
    path = root / relative
    try:
        if not path.resolve().is_relative_to(root.resolve()):
            raise ReadError("its picture lies outside of the folder of the pairs")
        kind = media_type(path)
    except (OSError, RuntimeError) as problem:
        raise ReadError("its picture's path leads nowhere") from problem
    if kind is None or not kind.startswith("image/"):
        raise ReadError("its picture is no picture that is read")
    return path


def _digest(path: Path) -> str:
    return hashlib.blake2b(read_whole(path, LARGEST), digest_size=16).hexdigest()


def _divide(gathered: tuple[Pairs, set[str]], seed: int) -> Pairs:
    """Return the pairs with a dev and a test split: those of the source, or some of its pictures for training."""
    pairs, stated = gathered
    split = {pair.digest: pair.split for pair in pairs.pairs}
    share, most = HELD
    count = min(max(round(share * len(pairs)), min(10, len(pairs) // 4)), most)
    lots = sorted(
        (pair.digest for pair in pairs.pairs if pair.split == "train"), key=lambda digest: stable_id(seed, digest)
    )
    free = [digest for digest in lots if digest not in stated] or lots
    part: Split
    for part in ("test", "dev"):
        if part not in split.values():
            drawn, free = free[:count], free[count:]
            split |= dict.fromkeys(drawn, part)
    return replace(pairs, pairs=tuple(replace(pair, split=split[pair.digest]) for pair in pairs.pairs))


def _short(path: Path) -> str:
    return "/".join(path.parts[-2:])
