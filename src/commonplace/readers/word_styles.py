"""Styles and automatic numbers of Word files (ECMA-376 part 1, 17.7 and 17.9)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from commonplace.readers.numbering import format_number
from commonplace.readers.zipxml import attribute, children_of, first_child

__all__ = ["Numbers", "Style", "read_styles"]

_HEADING = re.compile(
    r"(?:heading|überschrift|titre|标题|標題|título|titolo|nagłówek|заголовок|見出し)\s*([1-9])", re.IGNORECASE
)
_MAX_BASES = 20  # styles that a style may be based on, one by one
_LEVELS = 9


@dataclass(slots=True)
class Style:
    """What a style says of a paragraph or a run: heading level, caption, hidden, raised, and its number."""

    base: str = ""
    level: int | None = None
    is_caption: bool = False
    is_hidden: bool = False
    position: str = ""
    number_id: str | None = None
    number_level: int | None = None


def read_styles(root: Element | None) -> dict[str, Style]:
    """Return the styles by id; "" is the default style of paragraphs. A style inherits from its base style."""
    styles: dict[str, Style] = {}
    default = ""
    for element in children_of(root, "style"):
        style, key = Style(), attribute(element, "styleId") or ""
        styles[key] = style
        kind = attribute(element, "type")
        if kind == "paragraph" and attribute(element, "default") in ("1", "true", "on"):
            default = key
        name = attribute(first_child(element, "name"), "val") or ""
        style.base = attribute(first_child(element, "basedOn"), "val") or ""
        if kind == "paragraph":
            heading = _HEADING.match(name)
            outline = attribute(first_child(first_child(element, "pPr"), "outlineLvl"), "val") or ""
            if heading or name.lower() == "title":
                style.level = int(heading[1]) if heading else 1
            elif outline in tuple("012345678"):
                style.level = int(outline) + 1
            style.is_caption = name.lower() == "caption"
            number = first_child(first_child(element, "pPr"), "numPr")
            style.number_id = attribute(first_child(number, "numId"), "val")
            level = attribute(first_child(number, "ilvl"), "val") or ""
            style.number_level = int(level) if level.isdecimal() and len(level) < 3 else None
        run = first_child(element, "rPr")
        vanish = first_child(run, "vanish")
        style.is_hidden = vanish is not None and attribute(vanish, "val") not in ("0", "false", "off")
        style.position = attribute(first_child(run, "vertAlign"), "val") or ""
    for style in styles.values():
        _inherit(style, styles)
    if default:
        styles.setdefault("", styles[default])
    return styles


def _inherit(style: Style, styles: dict[str, Style]) -> None:
    base, steps = style.base, 0
    while base in styles and steps < _MAX_BASES:
        ancestor = styles[base]
        style.level = ancestor.level if style.level is None else style.level
        style.is_caption = style.is_caption or ancestor.is_caption
        style.is_hidden = style.is_hidden or ancestor.is_hidden
        style.position = style.position or ancestor.position
        style.number_id = ancestor.number_id if style.number_id is None else style.number_id
        style.number_level = ancestor.number_level if style.number_level is None else style.number_level
        base, steps = ancestor.base, steps + 1


@dataclass(slots=True)
class _Level:
    kind: str = "decimal"
    text: str = ""
    start: int = 1
    restart: int | None = None  # the level (from 1) after which it begins anew; 0: never
    is_legal: bool = False
    style: str = ""


@dataclass(slots=True)
class _List:
    """A list as its paragraphs name it: levels, and the counters that it may share with other lists."""

    shared: str
    levels: dict[int, _Level] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)  # levels that begin anew with this list


class Numbers:
    """Counts the numbered paragraphs of a document, in its order."""

    def __init__(self, root: Element | None, styles: dict[str, Style]) -> None:
        self._lists: dict[str, _List] = {}
        self._counters: dict[str, dict[int, int]] = {}
        self._begun: set[tuple[str, int]] = set()
        self._read(root)
        self._style_ids = {id(style): key for key, style in styles.items() if key}

    def _read(self, root: Element | None) -> None:
        abstract: dict[str, dict[int, _Level]] = {}
        links: dict[str, str] = {}  # abstract list -> the style that holds its levels
        styled: dict[str, str] = {}  # that style -> abstract list
        for element in children_of(root, "abstractNum"):
            key = attribute(element, "abstractNumId") or ""
            abstract[key] = dict(_level(level) for level in children_of(element, "lvl"))
            link = attribute(first_child(element, "numStyleLink"), "val")
            style = attribute(first_child(element, "styleLink"), "val")
            if link:
                links[key] = link
            if style:
                styled[style] = key
        for element in children_of(root, "num"):
            key = attribute(first_child(element, "abstractNumId"), "val") or ""
            key = styled.get(links.get(key, ""), key)
            numbered = _List(key, dict(abstract.get(key, {})))
            for override in children_of(element, "lvlOverride"):
                text = attribute(override, "ilvl") or "0"
                number = int(text) if text.isdecimal() and len(text) < 3 else 0
                level = first_child(override, "lvl")
                if level is not None:
                    numbered.levels[number] = _level(level)[1]
                start = attribute(first_child(override, "startOverride"), "val") or ""
                if start.isdecimal() and len(start) < 9:
                    numbered.starts[number] = int(start)
            self._lists[attribute(element, "numId") or ""] = numbered

    def label(self, properties: Element | None, style: Style) -> str:
        """Return the number of the next paragraph, "-" for a bullet, "" where it has none."""
        direct = first_child(properties, "numPr")
        number_id = attribute(first_child(direct, "numId"), "val") or style.number_id
        text = attribute(first_child(direct, "ilvl"), "val") or ""
        number = int(text) if text.isdecimal() and len(text) < 3 else style.number_level
        numbered = self._lists.get(number_id or "")
        if numbered is None or number_id == "0":
            return "-" if direct is not None and number_id not in (None, "0") else ""
        if number is None:  # a style's place among the levels is told by the level
            name = self._style_ids.get(id(style), "")
            number = next((index for index, level in numbered.levels.items() if level.style == name != ""), 0)
        return self._count(number_id or "", numbered, min(number, _LEVELS - 1))

    def _count(self, number_id: str, numbered: _List, number: int) -> str:
        level = numbered.levels.get(number, _Level())
        counters = self._counters.setdefault(numbered.shared, {})
        if number in numbered.starts and (number_id, number) not in self._begun:
            counters[number] = numbered.starts[number]
        elif number in counters:
            counters[number] += 1
        else:
            counters[number] = level.start
        self._begun.add((number_id, number))
        for deeper in list(counters):
            restart = numbered.levels.get(deeper, _Level()).restart
            if deeper > number and restart != 0 and (restart is None or number < restart):
                del counters[deeper]
        if level.kind == "bullet":
            return "-"
        for above in range(number):  # a level that was skipped counts from its start
            counters.setdefault(above, numbered.levels.get(above, _Level()).start)

        def value(match: re.Match[str]) -> str:
            index = int(match[1]) - 1
            kind = numbered.levels.get(index, _Level()).kind
            return (
                format_number(counters.get(index, 1), "decimal" if level.is_legal else kind) if kind != "none" else ""
            )

        return " ".join(re.sub(r"%([1-9])", value, level.text).split())


def _level(element: Element) -> tuple[int, _Level]:
    def setting(name: str) -> str:
        return attribute(first_child(element, name), "val") or ""

    number, start, restart = attribute(element, "ilvl") or "0", setting("start"), setting("lvlRestart")
    legal = first_child(element, "isLgl")
    return int(number) if number.isdecimal() and len(number) < 3 else 0, _Level(
        kind=setting("numFmt") or "decimal",
        text=setting("lvlText"),
        start=int(start) if start.isdecimal() and len(start) < 9 else 0 if start else 1,
        restart=int(restart) if restart.isdecimal() and len(restart) < 3 else None,
        is_legal=legal is not None and attribute(legal, "val") not in ("0", "false", "off"),
        style=setting("pStyle"),
    )
