"""Labelled questions: read from JSON Lines, and tied to the items of one collection."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonplace.errors import QueryError, ReadError
from commonplace.types import Item, stable_id

if TYPE_CHECKING:
    from commonplace.store import Store

__all__ = ["DIRECTIONS", "Bound", "LabelledQuery", "bind", "load_queries"]

DIRECTIONS = ("text->text", "text->image", "image->text", "image->image", "composed", "mixed")
"""What is asked with -> what is relevant; ``composed`` asks with words and a picture, ``mixed`` has relevant items of
more than one modality. Tables and plots keep this order."""

FIELDS = ("id", "text", "image", "relevant", "direction")
SHOWN = 5  # labels without an item that an error spells out; it counts the others
FRAGMENT = re.compile(r"#(text|image|video)(?:=|$)")
LARGEST = 1e9  # a grade above is a slip, and no number of ours should overflow


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A question with what it should find.

    ``relevant`` maps labels to grades > 0, higher is better. A label is an item's id, a document's id or path (every
    item of it), either followed by ``#text`` or ``#image`` (only its items of that modality) or by ``#text=WORDS``
    (only those whose text holds the words). Paths are relative to ``folder``. ``line`` is where it was read, from 1.
    """

    id: str
    relevant: Mapping[str, float]
    text: str | None = None
    image: Path | None = None
    direction: str | None = None
    folder: Path = Path()
    line: int = 0

    @property
    def place(self) -> str:
        """How messages name it: ``line 3``, or its id where it was not read from a file."""
        return f"line {self.line}" if self.line else f"question {self.id!r}"


@dataclass(frozen=True, slots=True)
class Bound:
    """A question tied to a collection: grades by item id, the direction, and the modalities of the best graded."""

    question: LabelledQuery
    grades: Mapping[str, float]
    direction: str
    wanted: frozenset[str]


def load_queries(path: str | os.PathLike[str]) -> list[LabelledQuery]:
    """Return the questions of a JSON Lines file (UTF-8), in its order; empty lines are skipped.

    One object a line: ``{"id": ..., "text": ..., "image": ..., "relevant": {LABEL: grade}, "direction": ...}``, where
    ``relevant`` and at least one of ``text`` and ``image`` (a path, relative to the file) must be there. A question
    without an id gets one made from its words and picture.

    Raises QueryError with the line's number for a line that is no such question, an absent picture, an id that
    comes twice, and for a file without questions; ReadError where the file cannot be read.
    """
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except OSError as problem:
        raise ReadError(f"the questions {file} cannot be read ({problem.strerror}): check the name") from problem
    except UnicodeDecodeError as problem:
        raise ReadError(f"the questions {file} are not UTF-8 text (byte {problem.start}): save them as UTF-8") from None
    folder = Path(os.path.abspath(file)).parent
    found: dict[str, LabelledQuery] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            question = _question(line, folder, number)
        except QueryError as problem:
            raise QueryError(f"{file.name}, line {number}: {problem}") from None
        if question.id in found:
            raise QueryError(
                f"{file.name}, line {number}: the question {question.id!r} is already in line "
                f"{found[question.id].line}: give each an id of its own"
            )
        found[question.id] = question
    if not found:
        raise QueryError(f"{file.name} holds no questions: write one JSON object a line")
    return list(found.values())


def _question(line: str, folder: Path, number: int) -> LabelledQuery:
    try:
        values = json.loads(line, object_pairs_hook=_once)
    except ValueError as problem:
        raise QueryError(f"this is not JSON ({problem})") from None
    except RecursionError:
        raise QueryError("this is not JSON (nested too deeply)") from None
    if not isinstance(values, dict):
        raise QueryError("a question is a JSON object, {...}")
    unknown = [repr(name) for name in values if name not in FIELDS]
    if unknown:
        raise QueryError(f"unknown field {', '.join(unknown)}: use {', '.join(FIELDS)}")
    for name in ("id", "text", "image", "direction"):
        if values.get(name) is not None and not isinstance(values[name], str):
            raise QueryError(f"{name!r} must be a string")
    text = " ".join((values.get("text") or "").split()) or None
    image = values.get("image") or None
    if text is None and image is None:
        raise QueryError("there is no question: give 'text', 'image' or both")
    where = folder / os.path.expanduser(image) if image else None
    if where is not None and not os.path.isfile(where):
        raise QueryError(f"there is no picture {image}: check the name")
    direction = values.get("direction")
    if direction is not None and direction not in DIRECTIONS:
        raise QueryError(f"'direction' is {direction!r}: choose one of {', '.join(DIRECTIONS)}, or leave it out")
    name = values.get("id") or stable_id("question", text, image)
    return LabelledQuery(name, _relevant(values.get("relevant")), text, where, direction, folder, number)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that has one name twice: one of the two values would be lost without a word."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} comes twice")
    return values


def _relevant(values: Any) -> dict[str, float]:
    if not isinstance(values, dict) or not values:
        raise QueryError("nothing is relevant: give 'relevant' as {LABEL: grade, ...} with at least one label")
    for label, grade in values.items():
        if isinstance(grade, bool) or not isinstance(grade, (int, float)) or not 0 < grade < math.inf:
            raise QueryError(f"the grade of {label!r} is {grade!r}: it must be a finite number above 0")
        if grade > LARGEST:
            raise QueryError(f"the grade of {label!r} is over {LARGEST:g}")
    return {label: float(grade) for label, grade in values.items()}


# --- labels and items ----------------------------------------------------------------------------------------


def bind(store: Store, questions: Sequence[LabelledQuery]) -> list[Bound]:
    """Return the questions tied to the items of a store; of several grades for one item the highest counts.

    Raises QueryError where labels name nothing in the collection: it counts them and spells out the first.
    """
    known = _Labels(store)
    bound = []
    unknown: list[str] = []
    for question in questions:
        grades: dict[str, float] = {}
        for label, grade in question.relevant.items():
            items = known.items(label, question.folder)
            if not items:
                unknown.append(f"{label!r} ({question.place})")
            for item in items:
                grades[item] = max(grade, grades.get(item, 0.0))
        if grades:
            best = max(grades.values())
            wanted = frozenset(known.modality(item) for item, grade in grades.items() if grade == best)
            found = {known.modality(item) for item in grades}
            bound.append(Bound(question, grades, question.direction or _direction(question, found), wanted))
    if unknown:
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        raise QueryError(
            f"{len(unknown)} label{'s name' if len(unknown) > 1 else ' names'} nothing in this collection: "
            f"{', '.join(unknown[:SHOWN])}{more}; add those files, or correct the labels"
        )
    return bound


def _direction(question: LabelledQuery, found: set[str]) -> str:
    if question.text and question.image:
        return "composed"
    if len(found) > 1:
        return "mixed"
    return f"{'text' if question.text else 'image'}->{found.pop()}"


class _Labels:
    """What labels name: items by their id, and by the id, path and URI of their document. Looked up as needed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._items: dict[str, Item] = {}  # every item that was looked up, by id
        self._of: dict[str, list[str]] = {}  # item ids by the document's id

    def modality(self, item: str) -> str:
        """Return the modality of an item that a label named."""
        return self._items[item].modality

    def items(self, label: str, folder: Path) -> list[str]:
        """Return the ids of the items that a label names; none where it names nothing."""
        items = self._whole(label, folder)
        for mark in FRAGMENT.finditer(label):  # a file's own name may hold a #: the first reading that fits counts
            if items:
                break
            named = self._whole(label[: mark.start()], folder)
            items = [id_ for id_ in named if self.modality(id_) == mark[1]]
            if mark[0].endswith("="):
                words = " ".join(label[mark.end() :].split())
                items = [id_ for id_ in items if words and words in " ".join((self._items[id_].text or "").split())]
        return items

    def _whole(self, name: str, folder: Path) -> list[str]:
        if name not in self._items:
            self._items.update(self._store.items([name]))
        if name in self._items:
            return [name]
        if items := self._items_of(name):
            return items
        path = folder / os.path.expanduser(name)
        try:
            # A document shows the name that it was added by; its id is made of its URI, which has every link resolved.
            by_uri = stable_id(Path(os.path.realpath(path)).as_uri())
        except ValueError:  # no file can have such a name
            return []
        shown = os.path.abspath(path)
        first = next(iter(self._store.documents(below=shown)), None)  # the file itself comes before what is below it
        by_path = self._items_of(first.id) if first is not None and first.path == shown else []
        return by_path or self._items_of(by_uri)

    def _items_of(self, document: str) -> list[str]:
        if document not in self._of:
            items = self._store.items_of(document)
            self._items.update((item.id, item) for item in items)
            self._of[document] = [item.id for item in items]
        return self._of[document]
