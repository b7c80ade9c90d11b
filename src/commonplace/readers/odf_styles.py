"""Styles of OpenDocument files: what is hidden or raised, and how lists and headings are numbered."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from commonplace.readers.numbering import format_number
from commonplace.readers.zipxml import attribute, first_child, local_name

__all__ = ["ListStyle", "OdfStyles"]

_MAX_PARENTS = 20  # styles that a style is derived from, one by one
_CAPTIONS = ("Caption", "Illustration", "Drawing", "Figure")


@dataclass(slots=True)
class _Level:
    kind: str = ""  # style:num-format; "-" for a bullet
    prefix: str = ""
    suffix: str = ""
    pattern: str = ""  # loext:num-list-format: %1%.%2%
    start: int = 1
    shown: int = 1  # levels whose numbers are shown


@dataclass(slots=True)
class ListStyle:
    """How the levels of a list, or of headings, are numbered."""

    levels: dict[int, _Level] = field(default_factory=dict)

    def start(self, level: int) -> int:
        """Return the first number of a level."""
        return self.levels[level].start if level in self.levels else 1

    def label(self, level: int, counters: dict[int, int]) -> str:
        """Return the number at ``level`` as it is shown: "-" for a bullet, "" for none."""
        style = self.levels.get(level)
        if style is None or style.kind in ("-", ""):
            return "-" if style is None or style.kind == "-" else ""

        def number(at: int) -> str:
            kind = self.levels[at].kind if at in self.levels else style.kind
            return format_number(counters.get(at, self.start(at)), kind) if kind not in ("", "-") else ""

        if style.pattern:
            text = re.sub(r"%(\d{1,2})%", lambda match: number(int(match[1])), style.pattern)
        else:
            numbers = [number(at) for at in range(max(1, level - style.shown + 1), level + 1)]
            text = style.prefix + ".".join(filter(None, numbers)) + style.suffix
        return " ".join(text.split())


@dataclass(slots=True)
class _Style:
    parent: str = ""
    position: str = ""
    is_hidden: bool = False
    is_displayed: bool = True


class OdfStyles:
    """The styles of a document, its own and the automatic ones."""

    def __init__(self, *roots: Element | None) -> None:
        self._styles: dict[str, _Style] = {}
        self._lists: dict[str, ListStyle] = {}
        self.outline = ListStyle()
        for root in roots:
            for element in root.iter() if root is not None else ():
                name = local_name(element)
                key = attribute(element, "name") or ""
                if name == "style":
                    self._styles.setdefault(key, _style(element))
                elif name == "list-style":
                    self._lists.setdefault(key, _list_style(element))
                elif name == "outline-style":
                    self.outline = _list_style(element)

    def list_style(self, name: str | None) -> ListStyle:
        """Return the list style; one of bullets where it is not known."""
        return self._lists.get(name or "", ListStyle())

    def _chain(self, name: str) -> list[tuple[str, _Style]]:
        """Return a style and those that it is derived from."""
        chain: list[tuple[str, _Style]] = []
        while name in self._styles and len(chain) < _MAX_PARENTS:
            chain.append((name, self._styles[name]))
            name = self._styles[name].parent
        return [*chain, (name, _Style())] if name else chain

    def position(self, name: str) -> str:
        """Return "super" or "sub" for a style that raises or lowers text."""
        return next((style.position for _, style in self._chain(name) if style.position), "")

    def is_hidden(self, name: str) -> bool:
        """Whether text of this style is not shown."""
        return any(style.is_hidden for _, style in self._chain(name))

    def is_displayed(self, name: str) -> bool:
        """Whether a sheet of this style is shown."""
        return all(style.is_displayed for _, style in self._chain(name))

    def title_level(self, name: str) -> int | None:
        """Return 1 for the style of titles, 2 for that of subtitles."""
        names = [key for key, _ in self._chain(name)]
        return 1 if "Title" in names else 2 if "Subtitle" in names else None

    def is_caption(self, name: str) -> bool:
        """Whether the style is that of captions of pictures."""
        return any(key in _CAPTIONS for key, _ in self._chain(name))


def _style(element: Element) -> _Style:
    text, table = first_child(element, "text-properties"), first_child(element, "table-properties")
    position = (attribute(text, "text-position") or "").split(" ")[0]
    if position.rstrip("%").lstrip("-").isdecimal():
        position = "" if position.strip("-0%") == "" else "sub" if position.startswith("-") else "super"
    return _Style(
        parent=attribute(element, "parent-style-name") or "",
        position=position if position in ("super", "sub") else "",
        is_hidden=attribute(text, "display") == "none",
        is_displayed=attribute(table, "display") != "false",
    )


def _list_style(element: Element) -> ListStyle:
    style = ListStyle()
    for level in element:
        name = local_name(level)
        number = attribute(level, "level") or ""
        if not number.isdecimal() or len(number) > 2:
            continue
        if name.endswith(("bullet", "image")):
            style.levels[int(number)] = _Level(kind="-")
        elif name.endswith(("number", "outline-level-style")):
            start, shown = attribute(level, "start-value") or "", attribute(level, "display-levels") or ""
            style.levels[int(number)] = _Level(
                kind=attribute(level, "num-format") or "",
                prefix=attribute(level, "num-prefix") or "",
                suffix=attribute(level, "num-suffix") or "",
                pattern=attribute(level, "num-list-format") or "",
                start=int(start) if start.isdecimal() and len(start) < 9 else 1,
                shown=int(shown) if shown.isdecimal() and len(shown) < 3 else 1,
            )
    return style
