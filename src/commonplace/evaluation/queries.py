"""Labelled queries: read from JSON Lines, and turned into relevance judgments of one collection's items."""

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
from commonplace.i18n import _, ngettext
from commonplace.types import Item, stable_id

if TYPE_CHECKING:
    from commonplace.store import Store

__all__ = ["DIRECTIONS", "JudgedQuery", "LabelledQuery", "judge_queries", "load_queries"]

DIRECTIONS = ("text->text", "text->image", "image->text", "image->image", "composed", "mixed")
"""The modality of the query -> that of its relevant items. A ``composed`` query has words and a picture. A ``mixed``
query has relevant items of several modalities. Tables and plots keep this order."""

FIELDS = ("id", "text", "image", "relevant", "direction")
SHOWN = 5  # labels without an item that an error names; it counts the others
FRAGMENT = re.compile(r"#(text|image|video)(?:=|$)")
LARGEST = 1e9  # a larger grade is a mistake, and could overflow


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A query with the items that it should find.

    ``relevant`` maps labels to grades > 0; higher is better. A label is the id of an item, or the id or path of a
    document (all its items). ``#text`` or ``#image`` after it selects the items of that modality, ``#text=WORDS`` those
    whose text contains the words. Paths are relative to ``folder``. ``line`` is the line of the file, from 1.
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
        """The name of the query in messages: ``line 3``, or its id if it was not read from a file."""
        return _("line {line}").format(line=self.line) if self.line else _("query {id!r}").format(id=self.id)


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A query with its relevance judgments in one collection: grades by item id (qrels).

    ``best_modalities`` are the modalities of the items with the highest grade.
    """

    query: LabelledQuery
    grades: Mapping[str, float]
    direction: str
    best_modalities: frozenset[str]


def load_queries(path: str | os.PathLike[str]) -> list[LabelledQuery]:
    """Return the queries of a JSON Lines file (UTF-8) in its order; empty lines are skipped.

    Each line is an object: ``{"id": ..., "text": ..., "image": ..., "relevant": {LABEL: grade}, "direction": ...}``.
    ``relevant`` is required, and so is ``text`` or ``image`` (a path, relative to the file) or both. A query without
    an id gets one that depends on its words and picture.

    Raises QueryError with the line number for an invalid line, an absent picture or a repeated id, and for a file
    without queries. Raises ReadError if the file cannot be read.
    """
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except OSError as problem:
        raise ReadError(
            _("the queries {file} cannot be read ({reason}): check the name").format(file=file, reason=problem.strerror)
        ) from problem
    except UnicodeDecodeError as problem:
        raise ReadError(
            _("the queries {file} are not UTF-8 text (byte {start}): save them as UTF-8").format(
                file=file, start=problem.start
            )
        ) from None
    folder = Path(os.path.abspath(file)).parent
    queries: dict[str, LabelledQuery] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            query = _parse_line(line, folder, number)
        except QueryError as problem:
            raise QueryError(
                _("{name}, line {number}: {problem}").format(name=file.name, number=number, problem=problem)
            ) from None
        if query.id in queries:
            raise QueryError(
                _(
                    "{name}, line {number}: the query {id!r} is already in line {line}: give each query its own id"
                ).format(name=file.name, number=number, id=query.id, line=queries[query.id].line)
            )
        queries[query.id] = query
    if not queries:
        raise QueryError(_("{name} holds no queries: write one JSON object per line").format(name=file.name))
    return list(queries.values())


def _parse_line(line: str, folder: Path, number: int) -> LabelledQuery:
    try:
        values = json.loads(line, object_pairs_hook=_unique_names)
    except ValueError as problem:
        raise QueryError(_("this is not JSON ({problem}): write one object, {{...}}").format(problem=problem)) from None
    except RecursionError:
        raise QueryError(_("this is not JSON (nested too deeply): write one object, {...}")) from None
    if not isinstance(values, dict):
        raise QueryError(_("this is no JSON object: write one, {...}"))
    unknown = [repr(name) for name in values if name not in FIELDS]
    if unknown:
        raise QueryError(
            _("unknown field {unknown}: use {fields}").format(unknown=", ".join(unknown), fields=", ".join(FIELDS))
        )
    for name in ("id", "text", "image", "direction"):
        if values.get(name) is not None and not isinstance(values[name], str):
            raise QueryError(_("{name!r} is no string: put it in quotation marks").format(name=name))
    text = " ".join((values.get("text") or "").split()) or None
    image = values.get("image") or None
    if text is None and image is None:
        raise QueryError(_("the query is empty: give 'text', 'image' or both"))
    picture = folder / os.path.expanduser(image) if image else None
    if picture is not None and not os.path.isfile(picture):
        raise QueryError(_("there is no picture {image}: check the name").format(image=image))
    direction = values.get("direction")
    if direction is not None and direction not in DIRECTIONS:
        raise QueryError(
            _("'direction' is {direction!r}: choose one of {directions}, or leave it out").format(
                direction=direction, directions=", ".join(DIRECTIONS)
            )
        )
    name = values.get("id") or stable_id("query", text, image)
    return LabelledQuery(name, _relevant(values.get("relevant")), text, picture, direction, folder, number)


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; raises ValueError if a name occurs twice, because one of its values would be lost."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _value in pairs]
        raise ValueError(
            _("{names!r} occurs twice").format(names=next(name for name in names if names.count(name) > 1))
        )
    return values


def _relevant(values: Any) -> dict[str, float]:
    if not isinstance(values, dict) or not values:
        raise QueryError(_("nothing is relevant: give 'relevant' as {LABEL: grade, ...} with at least one label"))
    for label, grade in values.items():
        if isinstance(grade, bool) or not isinstance(grade, (int, float)) or not 0 < grade < math.inf:
            raise QueryError(
                _("the grade of {label!r} is {grade!r}: give a finite number above 0").format(label=label, grade=grade)
            )
        if grade > LARGEST:
            raise QueryError(
                _("the grade of {label!r} is over {largest:g}: give a smaller one").format(label=label, largest=LARGEST)
            )
    return {label: float(grade) for label, grade in values.items()}


# --- labels and items ----------------------------------------------------------------------------------------


def judge_queries(store: Store, queries: Sequence[LabelledQuery]) -> list[JudgedQuery]:
    """Return the queries with their relevance judgments for the items of a store.

    If labels give an item several grades, the highest counts. Raises QueryError if labels match nothing in the
    collection; it gives their number and the first of them.
    """
    labels = _Labels(store)
    judged = []
    unknown: list[str] = []
    for query in queries:
        grades: dict[str, float] = {}
        for label, grade in query.relevant.items():
            items = labels.items(label, query.folder)
            if not items:
                unknown.append(f"{label!r} ({query.place})")
            for item in items:
                grades[item] = max(grade, grades.get(item, 0.0))
        if grades:
            best = max(grades.values())
            best_modalities = frozenset(labels.modality(item) for item, grade in grades.items() if grade == best)
            modalities = {labels.modality(item) for item in grades}
            judged.append(JudgedQuery(query, grades, query.direction or _direction(query, modalities), best_modalities))
    if unknown:
        more = _(" and {count} more").format(count=len(unknown) - SHOWN) if len(unknown) > SHOWN else ""
        raise QueryError(
            ngettext(
                "{count} label matches nothing in this collection: "
                "{unknown}{more}; add those files, or correct the labels",
                "{count} labels match nothing in this collection: "
                "{unknown}{more}; add those files, or correct the labels",
                len(unknown),
            ).format(count=len(unknown), unknown=", ".join(unknown[:SHOWN]), more=more)
        )
    return judged


def _direction(query: LabelledQuery, modalities: set[str]) -> str:
    if query.text and query.image:
        return "composed"
    if len(modalities) > 1:
        return "mixed"
    return f"{'text' if query.text else 'image'}->{modalities.pop()}"


class _Labels:
    """Finds the items that labels name: by their own id, or by the id, path or URI of their document."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._items: dict[str, Item] = {}  # every item that was looked up, by id
        self._by_document: dict[str, list[str]] = {}  # item ids by the document's id

    def modality(self, item: str) -> str:
        """Return the modality of an item that a label named."""
        return self._items[item].modality

    def items(self, label: str, folder: Path) -> list[str]:
        """Return the ids of the items that a label names; an empty list if there are none."""
        items = self._named(label, folder)
        for fragment in FRAGMENT.finditer(label):  # a file name may contain a #, so the first match counts
            if items:
                break
            unfiltered = self._named(label[: fragment.start()], folder)
            items = [id_ for id_ in unfiltered if self.modality(id_) == fragment[1]]
            if fragment[0].endswith("="):
                words = " ".join(label[fragment.end() :].split())
                items = [id_ for id_ in items if words and words in " ".join((self._items[id_].text or "").split())]
        return items

    def _named(self, name: str, folder: Path) -> list[str]:
        if name not in self._items:
            self._items.update(self._store.items([name]))
        if name in self._items:
            return [name]
        if items := self._items_of(name):
            return items
        path = folder / os.path.expanduser(name)
        try:
            # A document shows the name that it was added by. Its id is made of its URI, in which links are resolved.
            by_uri = stable_id(Path(os.path.realpath(path)).as_uri())
        except ValueError:  # no file can have this name
            return []
        absolute = os.path.abspath(path)
        document = next(iter(self._store.documents(below=absolute)), None)  # a file comes before what is below it
        items = self._items_of(document.id) if document is not None and document.path == absolute else []
        return items or self._items_of(by_uri)

    def _items_of(self, document: str) -> list[str]:
        if document not in self._by_document:
            items = self._store.items_of(document)
            self._items.update((item.id, item) for item in items)
            self._by_document[document] = [item.id for item in items]
        return self._by_document[document]
