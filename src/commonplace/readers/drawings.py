"""What Word, PowerPoint and Excel share: charts, SmartArt and paragraphs of DrawingML (ECMA-376 part 1, 20 and 21)."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from commonplace.readers.blocks import LayoutBlock, Paragraph, Table
from commonplace.readers.equations import equation
from commonplace.readers.number_formats import formatted
from commonplace.readers.runs import RunText
from commonplace.readers.zipxml import attribute, children_of, first_child, local_name
from commonplace.types import Box

__all__ = ["chart_blocks", "diagram_blocks", "drawing_paragraph"]

_MAX_POINTS = 20_000  # of a chart
_MAX_DEPTH = 30


def drawing_paragraph(paragraph: Element) -> str:
    """Return the text of an ``a:p``; numbers of slides are left out."""
    text = RunText()
    _runs(paragraph, text, 0)
    return text.text


def _runs(element: Element, text: RunText, depth: int) -> None:
    for child in element if depth < _MAX_DEPTH else ():
        name = local_name(child)
        if name == "r" or (name == "fld" and attribute(child, "type") != "slidenum"):
            baseline = attribute(first_child(child, "rPr"), "baseline") or "0"
            position = "" if baseline.strip("-").strip("0%") == "" else "sub" if baseline[0] == "-" else "super"
            words = first_child(child, "t")
            text.add(words.text or "" if words is not None else "", position)
        elif name == "br":
            text.add("\n")
        elif name in ("oMath", "oMathPara"):
            text.add(f" {equation(child)} ")
        elif name not in ("pPr", "endParaRPr", "Fallback", "fld"):
            _runs(child, text, depth + 1)


def diagram_blocks(root: Element, box: Box | None = None) -> Iterator[LayoutBlock]:
    """Yield the texts of a SmartArt diagram (its data part) as list items, each after the one that it belongs to."""
    texts: dict[str, str] = {}
    parents: dict[str, list[tuple[int, str]]] = {}
    for element in root.iter():
        name = local_name(element)
        if name == "pt" and attribute(element, "type") in (None, "node", "asst", "doc"):
            lines = [drawing_paragraph(line) for line in element.iter() if local_name(line) == "p"]
            texts[attribute(element, "modelId") or ""] = " ".join(filter(None, lines))
        elif name == "cxn" and attribute(element, "type") in (None, "parOf"):
            order = attribute(element, "srcOrd") or ""
            place = (int(order) if order.isdecimal() else 0, attribute(element, "destId") or "")
            parents.setdefault(attribute(element, "srcId") or "", []).append(place)
    below = {child for children in parents.values() for _, child in children}
    waiting = [key for key in reversed(texts) if key not in below]
    done: set[str] = set()
    while waiting:
        key = waiting.pop()
        if key in done:
            continue
        done.add(key)
        waiting += [child for _, child in sorted(parents.get(key, []), reverse=True)]
        if texts.get(key):
            yield Paragraph(f"- {texts[key]}", list_item=True, box=box)
    for key in texts.keys() - done:
        if texts[key]:
            yield Paragraph(f"- {texts[key]}", list_item=True, box=box)


def chart_blocks(root: Element, box: Box | None = None) -> Iterator[LayoutBlock]:
    """Yield a chart part: its kind and title with the titles of its axes, then the values that the file keeps of it."""
    chart = next((element for element in root.iter() if local_name(element) == "chart"), root)
    plot = next((element for element in chart.iter() if local_name(element) in ("plotArea", "plotAreaRegion")), chart)
    title_element = first_child(chart, "title")
    kinds = [local_name(child) for child in plot if local_name(child).endswith("Chart")]
    names = dict.fromkeys(kind.removesuffix("Chart").removesuffix("3D").capitalize() for kind in kinds)
    axes = [_rich_text(first_child(child, "title")) for child in plot.iter() if local_name(child) in _AXES]
    series = [_series(child) for child in root.iter() if local_name(child) == "ser"] or list(_newer_series(root))
    title = _rich_text(title_element)
    if not title and title_element is not None and len(series) == 1:
        title = series[0][0]
    caption = " and ".join(names) + " chart" if names else "Chart"
    caption += f": {title}" if title else ""
    described = [axis for axis in axes if axis]
    caption += f" (axes: {'; '.join(described)})" if described else ""
    if series or title:
        yield Paragraph(caption, box=box, caption=True)
    groups: dict[tuple[str, ...], list[tuple[str, dict[int, str]]]] = {}
    for name, labels, values in series:
        groups.setdefault(tuple(labels), []).append((name, values))
    for shared, columns in groups.items():
        count = min(_MAX_POINTS, max(len(shared), *(max(values, default=-1) + 1 for _, values in columns)))
        rows = [["", *(name for name, _ in columns)]]
        for number in range(count):
            label = shared[number] if number < len(shared) else ""
            rows.append([label, *(values.get(number, "") for _, values in columns)])
        yield Table(rows, box)


_AXES = {"catAx", "valAx", "dateAx", "serAx", "axis"}


def _rich_text(element: Element | None) -> str:
    """Return the text of a title or the name of a series: written there, or cached from a cell."""
    if element is None:
        return ""
    lines = [drawing_paragraph(line) for line in element.iter() if local_name(line) == "p"]
    if not any(lines):
        lines = [" ".join((line.text or "").split()) for line in element.iter() if local_name(line) == "v"]
    return " ".join(filter(None, lines))


def _series(element: Element) -> tuple[str, list[str], dict[int, str]]:
    parts = {local_name(child): child for child in element}
    labels = _points(parts.get("cat", parts.get("xVal")))
    values = _points(parts.get("val", parts.get("yVal")))
    for index, size in _points(parts.get("bubbleSize")).items():
        values[index] = f"{values.get(index, '')} ({size})"
    count = min(_MAX_POINTS, max(labels, default=-1) + 1)
    return _rich_text(parts.get("tx")), [labels.get(number, "") for number in range(count)], values


def _points(element: Element | None) -> dict[int, str]:
    """Return the cached values by index; of categories in several levels the inner ones with the outer before them."""
    points: dict[int, str] = {}
    levels = [child for child in element.iter() if local_name(child) == "lvl"] if element is not None else []
    for number, level in enumerate(levels):
        outer = ""
        inner = _cached(level)
        for index in sorted(points) if number else sorted(inner):
            outer = inner.get(index, outer)
            points[index] = f"{outer} {points[index]}".strip() if number else inner[index]
    return points or (_cached(element) if element is not None else {})


def _cached(element: Element) -> dict[int, str]:
    code = next((child.text or "" for child in element.iter() if local_name(child) == "formatCode"), "")
    points = {}
    for point in element.iter():
        index = attribute(point, "idx") or ""
        if local_name(point) == "pt" and index.isdecimal() and len(index) < 8:
            value = " ".join((_value(point)).split())
            points[int(index)] = shown_number(value, code)
    return points


def _value(point: Element) -> str:
    value = first_child(point, "v")
    return (value.text or "") if value is not None else (point.text or "")


def shown_number(value: str, code: str) -> str:
    """Return a cached number as its format shows it; what is no number as it is."""
    try:
        number = float(value)
    except ValueError:
        return value
    return (formatted(number, code) if code else None) or (f"{number:.10g}" if "." in value else value)


def _newer_series(root: Element) -> Iterator[tuple[str, list[str], dict[int, str]]]:
    """Yield the series of an extended chart (waterfall, funnel, treemap), whose data stand before the plot."""
    data: dict[str, tuple[list[str], dict[int, str]]] = {}
    for element in root.iter():
        if local_name(element) == "data":
            labels: list[str] = []
            values: dict[int, str] = {}
            for dimension in element:
                points = _points(dimension)
                if local_name(dimension) == "strDim":
                    labels = [points.get(number, "") for number in range(min(_MAX_POINTS, max(points, default=-1) + 1))]
                elif local_name(dimension) == "numDim" and not values:
                    values = points
            data[attribute(element, "id") or ""] = (labels, values)
    for element in root.iter():
        if local_name(element) == "series":
            key = next((attribute(child, "val") or "" for child in children_of(element, "dataId")), "")
            if key in data:
                yield _rich_text(first_child(element, "tx")), *data[key]
