"""Tables on a PDF page: with rules on all sides, with some, and with none.

Coordinates are points of the page as shown; y grows downwards.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from commonplace.readers.parts import bounding_box
from commonplace.readers.pdf_glyphs import Word
from commonplace.readers.pdf_layout import Segment, TextRow, fills, measure, rows_of, segment_of, segments_of
from commonplace.readers.pdf_vectors import Stroke, area, group_strokes
from commonplace.types import Box

__all__ = ["PageGrid", "PageTable", "find_grids", "open_tables", "table_of"]

_SNAP = 3.0  # points; rules nearer than this are one
_MAX_FRAME = 0.9  # share of the page; a larger frame is a border of the page
_MAX_COLUMNS, _MAX_ROWS = 60, 400
_CELL_GAP, _NUMBER_GAP = 0.8, 0.35  # times the size of the font: a wider gap parts two cells, or two numbers
_MAX_CELL_WORDS = 70  # mean words of a cell; above it the rules frame parts of the page
_NUMBER = re.compile(r"[(\-–+$€£¥]*\d[\d.,:/%\-–)]*")
_BULLET = re.compile(r"[•●▪■◦‣·–—*\-o§➢✓]|\(?[\divxlcIVXLC]{1,4}[.)]|\(?[A-Za-z][.)]")


@dataclass(frozen=True, slots=True)
class Rule:
    """A line at ``at`` from ``start`` to ``end``: across at a height, or down at a place across the page."""

    at: float
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class PageGrid:
    """Connected rules: the edges of columns and rows, and the rules themselves."""

    columns: tuple[float, ...]
    rows: tuple[float, ...]
    across: tuple[Rule, ...]
    down: tuple[Rule, ...]

    @property
    def box(self) -> Box:
        return self.columns[0], self.rows[0], self.columns[-1], self.rows[-1]


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table: the words of each cell of each row, and its box."""

    cells: list[list[list[Word]]]
    box: Box


def rules_of(strokes: Iterable[Stroke], width: float, height: float) -> tuple[list[Rule], list[Rule]]:
    """Return the rules across and down that strokes make, in points."""
    across: list[Rule] = []
    down: list[Rule] = []
    for stroke in strokes:
        left, top, right, bottom = stroke.box
        left, right, top, bottom = left * width, right * width, top * height, bottom * height
        if stroke.kind == "box":
            across += [Rule(top, left, right), Rule(bottom, left, right)]
            down += [Rule(left, top, bottom), Rule(right, top, bottom)]
        elif bottom - top > right - left:
            down.append(Rule((left + right) / 2, top, bottom))
        else:
            across.append(Rule((top + bottom) / 2, left, right))
    return across, down


def find_grids(strokes: list[Stroke], width: float, height: float) -> list[PageGrid]:
    """Return the groups of connected rules that have at least two columns or rows between them."""
    grids = []
    lines = [stroke for stroke in strokes if stroke.kind in ("rule", "box") and area(stroke.box) <= _MAX_FRAME]
    for members in group_strokes(lines):
        if len(members) < 2:
            continue
        across, down = rules_of(members, width, height)
        left, right = min(r.start for r in across) if across else 0.0, max((r.end for r in across), default=0.0)
        top, bottom = min((r.start for r in down), default=0.0), max((r.end for r in down), default=0.0)
        columns = _edges(down, 0.25 * (bottom - top))
        rows = _edges(across, 0.5 * (right - left))
        if len(columns) < 2 or len(rows) < 2:
            continue
        rows = _with_partial(rows, across, columns)
        if len(columns) + len(rows) - 2 >= 3 and len(columns) <= _MAX_COLUMNS and len(rows) <= _MAX_ROWS:
            grids.append(PageGrid(tuple(columns), tuple(rows), tuple(across), tuple(down)))
    return grids


def _clusters(rules: Sequence[Rule]) -> list[list[Rule]]:
    clusters: list[list[Rule]] = []
    for rule in sorted(rules, key=lambda rule: rule.at):
        if clusters and rule.at - clusters[-1][0].at < _SNAP:
            clusters[-1].append(rule)
        else:
            clusters.append([rule])
    return clusters


def _covered(rules: Sequence[Rule]) -> float:
    covered, reach = 0.0, float("-inf")
    for rule in sorted(rules, key=lambda rule: rule.start):
        covered += max(0.0, rule.end - max(rule.start, reach))
        reach = max(reach, rule.end)
    return covered


def _edges(rules: Sequence[Rule], length: float) -> list[float]:
    """Return the places at which rules cover ``length``."""
    return [
        sum(rule.at for rule in cluster) / len(cluster)
        for cluster in _clusters(rules)
        if _covered(cluster) >= max(length, 1.0)
    ]


def _with_partial(rows: list[float], across: Sequence[Rule], columns: Sequence[float]) -> list[float]:
    """Return the edges of rows, with those of rules from column to column, as under a head over several columns."""

    def is_edge(place: float) -> bool:
        return any(abs(place - column) < 1.5 * _SNAP for column in columns)

    extra = []
    for cluster in _clusters(across):
        at = sum(rule.at for rule in cluster) / len(cluster)
        if not rows[0] < at < rows[-1] or any(abs(at - row) < 2 * _SNAP for row in rows):
            continue
        if all(is_edge(rule.start) and is_edge(rule.end) for rule in cluster):
            extra.append(at)
    return sorted([*rows, *extra])


def _is_ruled(rules: Sequence[Rule], at: float, start: float, end: float) -> bool:
    """Return whether rules at ``at`` cover most of the way from ``start`` to ``end``."""
    near = [
        Rule(at, max(rule.start, start), min(rule.end, end))
        for rule in rules
        if abs(rule.at - at) < 1.5 * _SNAP and min(rule.end, end) > max(rule.start, start)
    ]
    return _covered(near) > 0.5 * (end - start)


def table_of(grid: PageGrid, words: Sequence[Word]) -> tuple[PageTable, set[int]] | None:
    """Return the table in a grid, with the first character of each word in it; None where the rules are no table's.

    Columns beside the grid belong to it where they stand on its rows.
    """
    left, top, right, bottom = grid.box
    level = [word for word in words if top - 1 <= (word.base - 0.3 * word.size) <= bottom + 1 and word.turn >= 0]
    inside = [word for word in level if left - 1 <= (word.left + word.right) / 2 <= right + 1]
    if len(inside) < 2:
        return None
    bands = list(zip(grid.rows, grid.rows[1:], strict=False))
    columns = _inner_columns(list(grid.columns), inside)
    columns, beside = _outer_columns(columns, bands, level, left, right)
    inside += beside
    if len(columns) < 3:
        return None
    count = len(columns) - 1
    by_cell: dict[tuple[int, int], list[Word]] = {}
    for row, (band_top, band_bottom) in enumerate(bands):
        members = [
            w
            for w in inside
            if (row == 0 or _middle(w) >= band_top) and (row == len(bands) - 1 or _middle(w) < band_bottom)
        ]
        ruled = [_is_ruled(grid.down, column, band_top, band_bottom) for column in columns]
        for column, word in _by_column(members, columns, ruled):
            by_cell.setdefault((row, column), []).append(word)
    owner = _owners(grid, columns, bands)
    merged: dict[tuple[int, int], list[Word]] = {}
    for cell, members in sorted(by_cell.items()):
        merged.setdefault(owner[cell], []).extend(members)
    rows: list[list[list[Word]]] = []
    lines_in_bands = [
        max((len(rows_of(segments_of(merged.get(owner[row, column], [])))) for column in range(count)), default=0)
        for row in range(len(bands))
    ]
    typical = median(lines_in_bands)
    for row in range(len(bands)):
        cells = []
        for column in range(count):
            first_row, first_column = owner[row, column]
            # a cell that is merged down is repeated on its rows; one that is merged across stands in its first column
            cells.append(merged.get((first_row, first_column), []) if first_column == column else [])
        heights = {owner[row, column][0] for column in range(count)}
        is_plain = len(heights) == 1 and all(
            sum(owner[other, column] == owner[row, column] for other in range(len(bands))) == 1
            for column in range(count)
        )
        rows += _text_rows(cells, len(bands), typical) if is_plain else [cells]
    filled = sum(bool(cell) for cells in rows for cell in cells)
    if sum(sum(map(bool, cells)) >= 2 for cells in rows) < 2 or filled < 0.3 * len(rows) * count:
        return None
    if len(inside) > _MAX_CELL_WORDS * filled:
        return None
    box = bounding_box([grid.box, *((w.left, w.base - w.size, w.right, w.base) for w in beside)])
    return PageTable(rows, box or grid.box), {word.first for word in inside}


def _middle(word: Word) -> float:
    return word.base - 0.3 * word.size


def _by_column(words: Sequence[Word], columns: Sequence[float], ruled: Sequence[bool]) -> Iterator[tuple[int, Word]]:
    """Yield words with their columns. A piece that crosses an edge without a rule stays in the column of its start."""
    last = len(columns) - 2
    before: Word | None = None
    column = 0
    for word in words:
        place = min(max(0, bisect(columns, (word.left + word.right) / 2) - 1), last)
        if before is not None and before.turn == word.turn and abs(before.base - word.base) < 0.3 * word.size:
            gap = max(word.left - before.right, before.left - word.right)
            if word.glued and gap < 0.35 * word.size:
                place = column  # a word that crosses a rule stays in one cell
            elif gap < 0.6 * word.size and place > column and not any(ruled[column + 1 : place + 1]):
                place = column
        yield place, word
        before, column = word, place


def _owners(
    grid: PageGrid, columns: Sequence[float], bands: Sequence[tuple[float, float]]
) -> dict[tuple[int, int], tuple[int, int]]:
    """Return for each cell the cell that it is merged with: the first without a rule between."""
    owner: dict[tuple[int, int], tuple[int, int]] = {}
    for row, (top, _) in enumerate(bands):
        for column in range(len(columns) - 1):
            cell = row, column
            left, right = columns[column], columns[column + 1]
            if (
                row
                and grid.columns[0] - 1 <= left
                and right <= grid.columns[-1] + 1
                and not _is_ruled(grid.across, top, left, right)
                and owner[row - 1, column][1] == column
            ):
                cell = owner[row - 1, column]
            owner[row, column] = cell
    return owner


def _inner_columns(columns: list[float], words: list[Word]) -> list[float]:
    """Return the edges of columns, with those inside a column where its rows leave a gap on one place."""
    edges = list(columns)
    for left, right in pairwise(columns):
        members = [word for word in words if left <= (word.left + word.right) / 2 < right]
        numbers = sum(_NUMBER.fullmatch(word.text) is not None for word in members)
        gap = _NUMBER_GAP if numbers > 0.6 * len(members) else _CELL_GAP
        rows = rows_of(segments_of(members, gap)) if len(members) >= 6 else []
        split = [row for row in rows if len(row.segments) > 1]  # a head over the columns has one piece
        if len(rows) < 3 or len(split) < 3:
            continue
        for start, end in _corridors(split, min_rows=3):
            before = [row for row in rows if row.left < start]
            both = [row for row in before if row.right > end]
            labels = sum(_BULLET.fullmatch(_text(_side(row, start))) is not None for row in both)
            crossing = sum(any(s.left < start and s.right > end for s in row.segments) for row in rows)
            if crossing > max(1, 0.2 * len(rows)):
                continue
            if len(both) >= max(3, 0.6 * len(rows)) and labels < 0.5 * len(both):
                edges.append((start + end) / 2)
    return sorted(edges)


def _side(row: TextRow, x: float) -> list[Word]:
    return [word for word in row.words if word.right <= x]


def _text(words: Iterable[Word]) -> str:
    return " ".join(word.text for word in words)


def _outer_columns(
    columns: list[float], bands: Sequence[tuple[float, float]], level: Sequence[Word], left: float, right: float
) -> tuple[list[float], list[Word]]:
    """Return the edges of columns with those beside the grid, and the words there."""
    edges = list(columns)
    beside: list[Word] = []
    reach = 2.5 * (right - left)
    for is_left in (True, False):
        side = [
            word
            for word in level
            if (left - reach <= word.left and word.right <= left + 1 if is_left else
                word.left >= right - 1 and word.right <= right + reach)
        ]  # fmt: skip
        if not side:
            continue
        rows = rows_of(segments_of(side))
        with_text = [(t, b) for t, b in bands if any(t - 1 <= row.base - 0.3 * row.size <= b + 1 for row in rows)]
        if len(with_text) < max(2, 0.6 * len(bands)) or len(rows) > 3 * len(bands):
            continue
        if len(rows) > 1.5 * len(bands) and sum(map(_is_number, rows)) < 0.6 * len(rows):
            continue
        if fills([segment for row in rows for segment in row.segments]):
            continue  # a column of running text beside the table
        corridors = _corridors(rows, min_rows=2)
        places = [(start + end) / 2 for start, end in corridors]
        edges += [*places, min(row.left for row in rows) - 1 if is_left else max(row.right for row in rows) + 1]
        beside += side
    return sorted(edges), beside


def _text_rows(cells: list[list[Word]], bands: int, typical: float) -> list[list[list[Word]]]:
    """Return the rows of text between two rules across: one, or several where no rule parts the rows of the table."""
    lines = [rows_of(segments_of(cell)) if cell else [] for cell in cells]
    most = max(map(len, lines), default=0)
    if most < 2 or sum(map(bool, lines)) < 2:
        return [cells]
    size = median(row.size for column in lines for row in column)
    numbers = [column for column in lines if len(column) == most and all(map(_is_number, column))]
    if len(numbers) >= 2:  # the numbers of several columns stand on common baselines
        levels = [row.base for row in numbers[0]]
    elif bands >= 3 and typical <= 2 and most <= 3:
        return [cells]
    else:
        levels = _levels([row.base for column in lines for row in column], 0.5 * size)
        shared = sum(
            sum(any(abs(row.base - level) <= 0.5 * size for row in column) for column in lines) >= 2 for level in levels
        )
        numeric = max(sum(map(_is_number, column)) for column in lines)
        if not (numeric >= max(2, 0.4 * len(levels)) or (shared >= 0.75 * len(levels) and len(levels) >= 3)):
            return [cells]
    rows: list[list[list[Word]]] = [[[] for _ in lines] for _ in levels]
    for place, column in enumerate(lines):
        if len(column) == 1 and len(numbers) >= 2 and column[0].base - levels[0] > 0.3 * size:
            for cells_of_row in rows:  # a label beside the middle of its rows
                cells_of_row[place] = column[0].words
            continue
        for row in column:
            nearest = min(range(len(levels)), key=lambda level: abs(levels[level] - row.base))
            rows[nearest][place] = rows[nearest][place] + row.words
    return _joined(rows)


def _levels(bases: Iterable[float], reach: float) -> list[float]:
    levels: list[float] = []
    for base in sorted(bases):
        if not levels or base - levels[-1] > reach:
            levels.append(base)
    return levels


def _is_number(row: TextRow) -> bool:
    return _NUMBER.fullmatch(_text(row.words).replace(" ", "")) is not None


def _joined(rows: list[list[list[Word]]]) -> list[list[list[Word]]]:
    """Return the rows with the continued lines of a cell joined to the row that they continue."""
    joined: list[list[list[Word]]] = []
    for cells in rows:
        filled = [index for index, cell in enumerate(cells) if cell]
        if joined and filled and not cells[0]:
            above = joined[-1]
            numeric = any(_NUMBER.fullmatch(_text(cells[index]).replace(" ", "")) for index in filled)
            if not numeric and all(above[index] for index in filled) and len(filled) < sum(map(bool, above)):
                size = cells[filled[0]][0].size
                if cells[filled[0]][0].base - max(word.base for word in above[filled[0]]) < 1.45 * size:
                    for index in filled:
                        above[index] = above[index] + cells[index]
                    continue
        elif joined and filled and sum(map(bool, joined[-1])) == 1 and joined[-1][0]:
            # a label of several lines, whose last line has the numbers
            above = joined[-1]
            first, last = cells[0][0], above[0][-1]
            if first.text[:1].islower() and first.base - last.base < 1.45 * first.size:
                joined[-1] = [above[0] + cells[0], *cells[1:]]
                continue
        joined.append(list(cells))
    return joined


def _corridors(rows: Sequence[TextRow], min_rows: int) -> list[tuple[float, float]]:
    """Return the gaps that (nearly) all rows leave on one place, from the left."""
    if len(rows) < min_rows:
        return []
    spans = sorted(
        (segment.left, segment.right) for row in rows for segment in row.segments if segment.right > segment.left
    )
    # the number of rows that cover each place
    events = sorted([(left, 1) for left, _ in spans] + [(right, -1) for _, right in spans])
    allowed = len(rows) // 12
    depth, since, found_text = 0, 0.0, False
    corridors = []
    for place, step in events:
        before, depth = depth, depth + step
        if before > allowed >= depth:
            since = place
            found_text = True
        elif before <= allowed < depth and found_text and place - since >= 2.0:
            corridors.append((since, place))
    return corridors


def open_tables(rows: Sequence[TextRow], across: Sequence[Rule]) -> list[tuple[int, int, PageTable]]:
    """Return the tables without a grid among the rows of a column: first row, end, and table."""
    merged, starts = _merged_rows(rows)
    tables = []
    start = 0
    while start < len(merged):
        if not _is_tabular(merged[start]):
            start += 1
            continue
        end = _run_end(merged, start)
        table = _open_table(merged[start:end], across)
        if table is not None:
            tables.append((starts[start], starts[end], table))
            start = end
        else:
            start = max(start + 1, end)
    return tables


def _merged_rows(rows: Sequence[TextRow]) -> tuple[list[TextRow], list[int]]:
    """Return the rows with those joined that stand beside each other between two lines, and the first of each.

    So stands a number beside the middle of a label of two lines.
    """
    merged: list[TextRow] = []
    starts: list[int] = []
    for number, row in enumerate(rows):
        if merged:
            above, last = merged[-1], rows[number - 1]
            beside = all(s.left > o.right or s.right < o.left for s in row.segments for o in last.segments)
            if row.base - last.base < 0.8 * min(row.size, last.size) and beside:
                joined = TextRow([*above.segments, *row.segments], row.base, row.size)
                measure(joined)
                joined.segments.sort(key=lambda segment: segment.base)
                joined.base = row.base
                merged[-1] = joined
                continue
        merged.append(row)
        starts.append(number)
    return merged, [*starts, len(rows)]


def _is_tabular(row: TextRow) -> bool:
    segments = row.segments
    if len(segments) < 2:
        return False
    return len(segments) > 2 or _BULLET.fullmatch(_text(segments[0].words)) is None


def _run_end(rows: Sequence[TextRow], start: int) -> int:
    """Return the end of the rows from ``start`` that may be a table: few have one piece, and none is far away."""
    end, last = start + 1, start
    left, right = rows[start].left, rows[start].right
    while end < len(rows):
        row, above = rows[end], rows[end - 1]
        if row.top - above.bottom > 2.2 * max(row.size, above.size):
            break
        if _is_tabular(row):
            last = end
            left, right = min(left, row.left), max(right, row.right)
        elif end - last > 2 or row.right - row.left > 0.62 * (right - left):
            break
        end += 1
    end = last + 1
    while end < len(rows) and _continues(rows[last], rows[end - 1], rows[end]):
        end += 1
    return end


def _continues(tabular: TextRow, above: TextRow, row: TextRow) -> bool:
    """Return whether a row is a further line of a cell of a row of a table, which is not in its first column."""
    if len(row.segments) > 1 or row.base - above.base > 1.3 * row.size or abs(row.size - tabular.size) > 0.5:
        return False
    return any(abs(row.left - segment.left) < _SNAP for segment in tabular.segments[1:])


def _numbers_apart(row: TextRow) -> TextRow:
    """Return the row with pieces of several numbers cut at the gaps between these."""
    segments: list[Segment] = []
    for segment in row.segments:
        parts = [[segment.words[0]]]
        for before, word in pairwise(segment.words):
            numbers = _NUMBER.fullmatch(before.text) and _NUMBER.fullmatch(word.text)
            if numbers and word.left - before.right > _NUMBER_GAP * word.size and not word.glued:
                parts.append([word])
            else:
                parts[-1].append(word)
        segments += [segment] if len(parts) == 1 else [segment_of(part) for part in parts]
    return replace(row, segments=segments)


def _open_table(rows: Sequence[TextRow], across: Sequence[Rule]) -> PageTable | None:
    rows = [_numbers_apart(row) for row in rows]
    tabular = [row for row in rows if _is_tabular(row)]
    most = max(len(row.segments) for row in tabular)
    if len(tabular) < (2 if most >= 3 else 3):
        return None
    typical = sorted(len(row.segments) for row in tabular)[len(tabular) // 2]
    wide = [row for row in tabular if len(row.segments) >= min(typical, 0.7 * most) or len(row.segments) >= 0.7 * most]
    corridors = _corridors(wide, min_rows=2)
    if not corridors:
        return None
    size = median(row.size for row in tabular)
    if len(tabular) < 5:  # gaps of few rows may stand below each other by chance
        corridors = [(start, end) for start, end in corridors if end - start > 0.5 * size]
    edges = [(start + end) / 2 for start, end in corridors]
    if not edges:
        return None
    count = len(edges) + 1
    cells_of_rows = [_cells(row, edges, corridors) for row in rows]
    full = [cells for cells in cells_of_rows if sum(map(bool, cells)) >= 2]
    if len(full) < (2 if count >= 3 else 3) or len(full) < (0.25 if _rules_between(rows, across) >= 2 else 0.4) * len(
        rows
    ):
        return None
    texts = [_text(cell) for cells in cells_of_rows for cell in cells if cell]
    numbers = sum(_NUMBER.fullmatch(text.replace(" ", "")) is not None for text in texts)
    if sum(len(text.split()) for text in texts) > 9 * len(texts) and numbers < 0.25 * len(texts):
        return None
    firsts = [_text(cells[0]) for cells in full if cells[0]]
    if count == 2 and 2 * sum(text.endswith((":", "：")) for text in firsts) > len(firsts):
        return None  # a form
    if firsts and 2 * sum(_BULLET.fullmatch(text) is not None for text in firsts) > len(firsts) and count == 2:
        return None  # a list
    box = bounding_box((row.left, row.top, row.right, row.bottom) for row in rows)
    assert box is not None
    return PageTable(_ruled_rows(rows, cells_of_rows, across, box), box)


def _rules_between(rows: Sequence[TextRow], across: Sequence[Rule]) -> int:
    """Return how many rules part the rows."""
    left, right = min(row.left for row in rows), max(row.right for row in rows)
    return sum(
        rows[0].base < rule.at < rows[-1].base and min(rule.end, right) - max(rule.start, left) > 0.6 * (right - left)
        for rule in across
    )


def _ruled_rows(
    rows: Sequence[TextRow], cells: list[list[list[Word]]], across: Sequence[Rule], box: Box
) -> list[list[list[Word]]]:
    """Return the rows: lines between two rules are one row where rules part most rows, else the lines themselves."""
    places = sorted(
        rule.at
        for rule in across
        if box[1] - 4 <= rule.at <= box[3] + 4
        and min(rule.end, box[2]) - max(rule.start, box[0]) > 0.6 * (box[2] - box[0])
    )
    bands = [bisect(places, row.base - 0.3 * row.size) for row in rows]
    if len(set(bands)) < max(3, 0.4 * len(rows)):
        return _joined(cells)
    merged: list[list[list[Word]]] = []
    for index, row_cells in enumerate(cells):
        if index and bands[index] == bands[index - 1]:
            merged[-1] = [above + cell for above, cell in zip(merged[-1], row_cells, strict=True)]
        else:
            merged.append(list(row_cells))
    return merged


def _cells(row: TextRow, edges: Sequence[float], corridors: Sequence[tuple[float, float]]) -> list[list[Word]]:
    """Return the words of a row by column; a piece over several columns without a gap between stays in its first."""
    cells: list[list[Word]] = [[] for _ in range(len(edges) + 1)]
    for segment in row.segments:
        for part in _cut(segment, corridors):
            left, right = min(word.left for word in part), max(word.right for word in part)
            first, last = bisect(edges, left), bisect(edges, right)
            column = first
            if last > first:
                # the column that it covers most; a head over several columns stands in the first of them
                shares = [
                    min(right, edges[n] if n < len(edges) else right) - max(left, edges[n - 1] if n else left)
                    for n in range(first, last + 1)
                ]
                small = [share < 0.2 * (right - left) for share in shares]
                column = first + next((n for n, is_small in enumerate(small) if not is_small), 0)
            cells[column] += part
    return cells


def _cut(segment: Segment, corridors: Sequence[tuple[float, float]]) -> list[list[Word]]:
    """Return a piece in parts, cut at the gaps between columns that it leaves."""
    words = sorted(segment.words, key=lambda word: word.left) if not segment.is_rtl else segment.words
    parts = [[words[0]]]
    for before, word in pairwise(words):
        gap = word.left - before.right
        crosses = any(start < word.left and before.right < end and gap > 0 for start, end in corridors)
        inside = any(before.right <= start + 1 and end - 1 <= word.left for start, end in corridors)
        if crosses and inside and gap > 0.3 * word.size and not word.glued:
            parts.append([word])
        else:
            parts[-1].append(word)
    return parts
