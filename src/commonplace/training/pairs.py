"""Reads pictures and their captions from a table, JSON Lines, a folder or a hub dataset; checks and splits them."""

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
from commonplace.i18n import _
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
FILES = (
    ".csv",
    ".tsv",
    ".jsonl",
    ".ndjson",
    ".json",
    ".txt",
    ".parquet",
    ".zip",
    ".xlsx",
)  # not a hub dataset
LISTS = ("metadata.jsonl", "metadata.csv")  # the metadata files of hub datasets that are folders of pictures
LEAST = 16
"""The least number of pictures: with fewer, nothing can be learned or measured."""
LARGEST = 1 << 30  # bytes of a table
HELD = (0.1, 1000)
"""The share of pictures held out for dev, and again for test, if the source has no split; and their largest number."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture's file and its captions, at least one. ``digest`` is the hash of the file's bytes (hexadecimal)."""

    picture: Path
    captions: tuple[str, ...]
    split: Split = "train"
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Bad:
    """An entry that could not be used: its place in the source, and the reason."""

    where: str
    reason: str


@dataclass(frozen=True)
class Pairs:
    """Pictures with captions, each picture once, and the entries that could not be used (``bad``).

    ``captions`` is the list of all pictures' captions; ``owner[j]`` is the row of the picture that ``captions[j]``
    describes.
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
        """Hash of the training data: the pictures' bytes, the captions and the splits."""
        return stable_id(*(part for pair in self.pairs for part in (pair.digest, pair.split, *pair.captions)))

    def part(self, split: Split) -> Pairs:
        """Return the pairs of one split, without ``bad``."""
        return Pairs(self.name, tuple(pair for pair in self.pairs if pair.split == split))

    def rows(self, split: Split, most: int = 2**62) -> NDArray[np.int64]:
        """Return the rows of a split's pictures: at most ``most``, evenly spaced."""
        at = np.flatnonzero([pair.split == split for pair in self.pairs])
        return np.asarray(at[np.unique(np.linspace(0, len(at) - 1, min(most, len(at))).astype(int))])

    def without(self, reasons: Mapping[Path, str]) -> Pairs:
        """Return the pairs without the pictures in ``reasons``, as ``bad``. Raises TrainingError if few are left."""
        usable = tuple(pair for pair in self.pairs if pair.picture not in reasons)
        cleaned = replace(
            self, pairs=usable, bad=(*self.bad, *(Bad(_short(path), why) for path, why in reasons.items()))
        )
        _check(cleaned)
        return cleaned

    def report(self, most: int = 10) -> list[str]:
        """Return lines to show the user: the counts, then the first ``most`` unusable entries with place and reason."""
        counts = Counter(pair.split for pair in self.pairs)
        shares = ", ".join(f"{counts[split]} {split}" for split in ("train", "dev", "test"))
        lines = [
            _("{count} pictures with {total} captions ({shares})").format(
                count=len(self.pairs), total=len(self.captions), shares=shares
            )
        ]
        if self.bad:
            lines.append(_("{count} skipped:").format(count=len(self.bad)))
            lines += [f"  {printable(problem.where)}: {problem.reason}" for problem in self.bad[:most]]
            if len(self.bad) > most:
                rest = Counter(re.split(r" \(|（", problem.reason)[0] for problem in self.bad[most:])
                reasons = ", ".join(f"{count} x {reason}" for reason, count in rest.most_common(5))
                lines.append(_("  and {reasons}").format(reasons=reasons))
        return lines


def read_pairs(
    source: str | os.PathLike[str], *, pictures: str | os.PathLike[str] | None = None, seed: int = 0
) -> Pairs:
    """Return the pairs of ``source``: a CSV or TSV table, JSON Lines, a folder, or the name of a hub dataset.

    - A table has a column for the picture's file (``image``, ``file_name``, ``path`` ...), one or more for captions
      (``caption``, ``text``, ``caption_1`` ...), and optionally ``split``. A picture may have several rows.
    - In JSON Lines, a caption may be a list.
    - In a folder, the captions of ``x.jpg`` are the lines of ``x.txt`` (or ``x.caption``). Folders with the names
      ``train``, ``dev`` and ``test`` are splits.
    - The pictures of a hub dataset are stored beside the pulled models. A local copy (a folder with Parquet files, or
      one that the library ``datasets`` saved) needs no network.

    Paths are relative to the source's folder, or to ``pictures``, and must stay inside it. Files with equal bytes are
    one picture. If the source has no dev or no test split, or a single split, a tenth of the pictures is drawn for
    each. The draw depends on ``seed`` and the pictures' bytes, not on their order.

    Raises TrainingError if there is no such source, if the column for pictures or captions is missing, or if there are
    too few pairs.
    """
    name = os.fspath(source)
    path = Path(os.path.abspath(os.path.expanduser(name)))
    if not name:
        raise TrainingError(_("the source of the pairs is empty: give a table, JSON Lines, a folder, or a hub dataset"))
    root = Path(os.path.abspath(os.path.expanduser(pictures))) if pictures is not None else None
    if root is not None and not root.is_dir():
        raise TrainingError(_("there is no folder {root}: check --pictures").format(root=printable(str(root))))
    if path.is_dir() and not _is_dataset(path):
        rows, root = _folder(path, root), root or path
    elif path.exists() and not path.is_dir():
        rows, root = _rows(path), root or path.parent
    else:
        if not path.is_dir() and (path.suffix.lower() in FILES or not re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", name)):
            raise TrainingError(_("there is no file or folder {name}: check the path").format(name=printable(name)))
        root = home().parent / "datasets" / stable_id(path.resolve() if path.is_dir() else name)
        rows = _dataset(name, path if path.is_dir() else None, root)
    divided = _divide(_gather(path.name if path.exists() else name, rows, root), seed)
    _check(divided)
    return divided


def _check(pairs: Pairs) -> None:
    counts = Counter(pair.split for pair in pairs.pairs)
    if len(pairs) < LEAST:
        first = (
            _("; the first one skipped: {where}: {reason}").format(where=pairs.bad[0].where, reason=pairs.bad[0].reason)
            if pairs.bad
            else ""
        )
        raise TrainingError(
            _(
                "{name} has {count} usable pictures ({skipped} entries were skipped): training needs at "
                "least {least}{first}"
            ).format(name=pairs.name, count=len(pairs), skipped=len(pairs.bad), least=LEAST, first=first)
        )
    for split in ("train", "dev", "test"):
        if counts[split] < 2:
            raise TrainingError(
                _(
                    "{name} has {counts} pictures in the split {split}, at least 2 are needed: check the column split"
                ).format(name=pairs.name, counts=counts[split], split=split)
            )
    if len({caption.casefold() for caption in pairs.part("train").captions}) < 2:
        raise TrainingError(
            _("all pictures of {name} have the same caption: give each picture a caption of its own").format(
                name=pairs.name
            )
        )


# --- from a source to rows ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """One entry of a source: a picture's file or a ``problem``, its captions, and its split."""

    where: str
    picture: object = None
    captions: Sequence[object] = ()
    split: object = None
    problem: str | None = None


def _rows(path: Path) -> Iterator[_Row]:
    ending = path.suffix.lower()
    if ending not in (".csv", ".tsv", ".jsonl", ".ndjson"):
        raise TrainingError(
            _("{path} is not a table of pairs: give .csv, .tsv or .jsonl, a folder, or a hub dataset").format(
                path=printable(str(path))
            )
        )
    try:
        text, _problem = decode(read_whole(path, LARGEST))
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
            yield _Row(
                _("{name} line {number}").format(name=name, number=lines.line_num),
                problem=_("is not a valid table row ({error})").format(error=error),
            )
            continue
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        where = _("{name} line {number}").format(name=name, number=lines.line_num)
        if len(cells) != len(columns):
            yield _Row(
                where,
                problem=_("has {count} cells, the header has {header}: quote cells that hold commas").format(
                    count=len(cells), header=len(columns)
                ),
            )
            continue
        cell_captions = [caption for at in captions for caption in _cell(cells[at])]
        yield _Row(where, cells[picture], cell_captions, cells[split] if split is not None else None)


def _cell(text: str) -> list[object]:
    """Return a cell's captions: its text, or the elements of a JSON list."""
    if text.lstrip().startswith("["):
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            return [text]
        if isinstance(fields, list):
            return fields
    return [text] if text.strip() else []


def _columns(name: str, columns: Sequence[str]) -> tuple[int, list[int], int | None]:
    """Return the positions of the picture column, the caption columns and the split column (None: no such column)."""
    plain = [column.strip().casefold().replace(" ", "_") for column in columns]
    picture = next((plain.index(column) for column in PICTURE if column in plain), None)
    captions = [i for i, column in enumerate(plain) if re.sub(r"_?\d{1,2}$", "", column) in CAPTION and i != picture]
    if picture is None or not captions:
        lacking, names = ("picture", PICTURE[:5]) if picture is None else ("caption", CAPTION[:4])
        raise TrainingError(
            _("{name} has no {lacking} column (its columns: {columns}): name it one of {names}").format(
                name=name,
                lacking=lacking,
                columns=printable(", ".join(columns)[:200]) or _("none"),
                names=", ".join(names),
            )
        )
    return picture, captions, plain.index("split") if "split" in plain else None


def _lines(name: str, text: str) -> Iterator[_Row]:
    has_pairs = False
    for number, line in enumerate(text.split("\n"), start=1):
        where = _("{name} line {number}").format(name=name, number=number)
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            yield _Row(where, problem=_("is not JSON"))
            continue
        if not isinstance(fields, dict):
            yield _Row(where, problem=_("is not a JSON object"))
            continue
        try:
            yield _fields(where, name, fields)
            has_pairs = True
        except TrainingError:
            if not has_pairs:  # no line was usable yet: the whole file lacks the column
                raise
            yield _Row(where, problem=_("has no picture or no caption"))


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
            yield _Row(where, problem=_("has no caption file beside it ({stem}.txt)").format(stem=path.stem))
            continue
        try:
            lines = [line for file in texts for line in decode(read_whole(file, 1 << 20))[0].splitlines()]
        except ReadError as problem:
            yield _Row(where, problem=_("its caption cannot be read: {problem}").format(problem=problem))
            continue
        first = Path(where).parts[0].casefold()
        yield _Row(where, path, [line for line in lines if line.strip()], SPLITS.get(first) if "/" in where else None)


# --- hub datasets ---------------------------------------------------------------------------------------------


def _is_dataset(folder: Path) -> bool:
    saved = ("dataset_dict.json", "state.json")
    return any((folder / name).is_file() for name in saved) or next(folder.rglob("*.parquet"), None) is not None


def _dataset(name: str, folder: Path | None, into: Path) -> Iterator[_Row]:
    """Yield the rows of a dataset. Its pictures are written to ``into``, with their hash as file name."""
    try:
        import datasets
    except ImportError as problem:
        raise TrainingError(
            _(
                "there is no file or folder {name}, and hub datasets need the library datasets: run "
                "`pip install 'commonplace-rag[train]'`"
            ).format(name=printable(name))
        ) from problem
    try:
        saved = folder is not None and not next(folder.rglob("*.parquet"), None)
        dataset = datasets.load_from_disk(str(folder)) if saved else datasets.load_dataset(str(folder or name))
    except Exception as problem:  # the library raises errors of its client and its parsers, too
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]
        raise TrainingError(
            _(
                "there is no file, folder or hub dataset {name} that can be read ({reason}): check "
                "the name and the network, or give the folder of a local copy"
            ).format(name=printable(name), reason=printable(reason))
        ) from problem
    parts = dict(dataset) if isinstance(dataset, datasets.DatasetDict) else {None: dataset}
    into.mkdir(parents=True, exist_ok=True)
    for split, rows in parts.items():
        shown = [column for column, kind in rows.features.items() if isinstance(kind, datasets.Image)]
        if not shown:
            raise TrainingError(
                _("the dataset {name} has no picture column: choose another").format(name=printable(name))
            )
        rows = rows.cast_column(shown[0], datasets.Image(decode=False))
        for number, row in enumerate(rows):
            where = (
                _("{name} {split} row {number}").format(name=name, split=split or "", number=number).replace("  ", " ")
            )
            cell = row.pop(shown[0])
            picture = _kept(cell, into)
            if picture is None:
                yield _Row(where, problem=_("has no picture"))
                continue
            fields = {"image": picture} | {"split": split} | {k: v for k, v in row.items() if k not in PICTURE}
            yield _fields(where, name, fields)


def _kept(cell: Mapping[str, Any] | None, into: Path) -> Path | None:
    """Return the file of a dataset's picture, after writing it if necessary; None if there is no picture."""
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
    has_split: bool  # whether the source names the split


def _gather(name: str, rows: Iterable[_Row], root: Path) -> tuple[Pairs, set[str]]:
    """Return the pairs, with the unusable rows and their reasons, and the digests whose split the source names."""
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
                raise ReadError(_("its caption is empty") if row.captions else _("has no caption"))
            path = _inside(row.picture, root)
            if path not in digests:
                digests[path] = _digest(path)
        except ReadError as problem:
            bad.append(Bad(row.where, str(problem)))
            continue
        digest = digests[path]
        picture = pictures.setdefault(digest, _Picture(path, {}, split, stated))
        if picture.split != split and stated and picture.has_split:
            bad.append(
                Bad(row.where, _("the same picture is already in the split {split}").format(split=picture.split))
            )
            continue
        if stated and not picture.has_split:
            picture.split, picture.has_split = split, True
        picture.captions.update(dict.fromkeys(captions))
    pairs = tuple(
        Pair(picture.path, tuple(picture.captions), picture.split, digest) for digest, picture in pictures.items()
    )
    named = {digest for digest, picture in pictures.items() if picture.has_split}
    if len(named) == len(pairs) and len({pair.split for pair in pairs}) == 1:  # a dataset whose only split is "test"
        return Pairs(name, tuple(replace(pair, split="train") for pair in pairs), tuple(bad)), set()
    return Pairs(name, pairs, tuple(bad)), named


def _split(label: object) -> tuple[Split, bool]:
    if label is None or (isinstance(label, str) and not label.strip()):
        return "train", False
    split = SPLITS.get(str(label).strip().casefold())
    if split is None:
        raise ReadError(_("its split is {label!r}: use train, dev or test").format(label=printable(str(label)[:40])))
    return split, True


def _inside(picture: object, root: Path) -> Path:
    """Return a picture's file, which must lie in ``root``: a table from a stranger must not reach other files."""
    if not isinstance(picture, (str, Path)) or not str(picture).strip() or "\0" in str(picture):
        raise ReadError(_("names no picture"))
    if "://" in str(picture):
        raise ReadError(_("its picture is a URL: download it first"))
    relative = picture if isinstance(picture, Path) else Path(picture.strip().replace("\\", "/"))
    path = root / relative
    try:
        if not path.resolve().is_relative_to(root.resolve()):
            raise ReadError(_("its picture is outside the folder of the pairs"))
        kind = media_type(path)
    except (OSError, RuntimeError) as problem:
        raise ReadError(_("the path of its picture cannot be resolved")) from problem
    if kind is None or not kind.startswith("image/"):
        raise ReadError(_("its picture has a format that is not supported"))
    return path


def _digest(path: Path) -> str:
    return hashlib.blake2b(read_whole(path, LARGEST), digest_size=16).hexdigest()


def _divide(gathered: tuple[Pairs, set[str]], seed: int) -> Pairs:
    """Return the pairs with a dev and a test split: those of the source, or drawn from its training pictures."""
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
