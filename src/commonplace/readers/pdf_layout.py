"""The layout of a PDF page: words become pieces of lines, rows and columns, in the order in which a person reads them.

Coordinates are points of the page as shown; y grows downwards.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from commonplace.readers.pdf_glyphs import Word

__all__ = ["Segment", "TextRow", "fills", "measure", "regions", "rows_of", "segment_of", "segments_of", "upright"]

_PIECE_GAP = 0.8  # times the size of the font: a wider gap parts two pieces of a line
_ASCENT, _DESCENT = 0.75, 0.22  # of a line, in sizes of its font
_RAISED_SIZE = 0.85  # raised and lowered characters are smaller than this share of the line's
_MAX_DEPTH = 8  # levels of columns inside columns
_MIN_COLUMN_ROWS = 3
_EDGE = 3.0  # points; the edges of a column's lines differ by less
_MAX_EDGES = 40  # edges that are tried as those of a column


@dataclass(slots=True)
class Segment:
    """A piece of a line: words on one baseline without a wide gap, and its box. ``is_rtl``: it runs to the left."""

    words: list[Word]
    left: float
    top: float
    right: float
    bottom: float
    base: float
    size: float
    bold: bool
    length: int
    is_rtl: bool

    @property
    def width(self) -> float:
        return self.right - self.left


@dataclass(slots=True)
class TextRow:
    """Pieces on one baseline, in reading order."""

    segments: list[Segment]
    base: float
    size: float
    left: float = 0.0
    right: float = 0.0
    top: float = 0.0
    bottom: float = 0.0
    bold: bool = False
    length: int = 0

    @property
    def words(self) -> list[Word]:
        return [word for segment in self.segments for word in segment.words]


def upright(words: Iterable[Word], turn: int, width: float, height: float) -> list[Word]:
    """Return the words of a turned text, placed as they are on the page that is turned so that the text is upright."""
    if turn == 1:
        return [_placed(w, w.top, width - w.right, w.bottom, width - w.left, width - w.base) for w in words]
    if turn == 2:
        places = ((w, width - w.right, height - w.bottom, width - w.left, height - w.top) for w in words)
        return [_placed(w, left, top, right, bottom, height - w.base) for w, left, top, right, bottom in places]
    if turn == 3:
        return [_placed(w, height - w.bottom, w.left, height - w.top, w.right, w.base) for w in words]
    return list(words)


def _placed(word: Word, left: float, top: float, right: float, bottom: float, base: float) -> Word:
    return replace(word, left=left, top=top, right=right, bottom=bottom, base=base)


def _runs_left(text: str) -> bool:
    return any("\u0590" <= letter <= "\u08ff" or "\ufb1d" <= letter <= "\ufefc" for letter in text)


def segments_of(words: Sequence[Word], gap: float = _PIECE_GAP) -> list[Segment]:
    """Return the pieces of lines that the words make, in their order; ``gap`` times the size of the font parts two."""
    segments: list[Segment] = []
    current: list[Word] = []
    for word in words:
        if current and _parts(current[-1], word, gap):
            segments.append(segment_of(current))
            current = []
        current.append(word)
    if current:
        segments.append(segment_of(current))
    return segments


def _parts(before: Word, word: Word, widest: float) -> bool:
    size = max(before.size, word.size)
    gap = max(word.left - before.right, before.left - word.right)
    if gap > widest * size:
        return True
    overlap = min(before.base + _DESCENT * before.size, word.base + _DESCENT * word.size) - max(
        before.base - _ASCENT * before.size, word.base - _ASCENT * word.size
    )
    if overlap < 0.3 * min(before.size, word.size):
        return True
    if before.size > 1.8 * word.size and before.base > word.base + 0.3 * word.size:
        return True  # a letter that hangs over several lines
    if not word.breaks:
        return False
    return word.left < before.left and not (_runs_left(word.text) or _runs_left(before.text))


def segment_of(words: list[Word]) -> Segment:
    """Return a piece of a line of these words."""
    size, base, bold, length = _main(words)
    if len(words) > 1:
        for word in words:
            up = base - word.base
            if word.size < _RAISED_SIZE * size:
                word.shift = 1 if up > 0.12 * size else -1 if up < -0.05 * size else 0
            elif word.size < 1.1 * size and len(word.text) <= 4:
                word.shift = 1 if up > 0.25 * size else -1 if up < -0.2 * size else 0
    rtl = sum(len(word.text) for word in words if _runs_left(word.text))
    return Segment(
        words,
        min(word.left for word in words),
        base - _ASCENT * size,
        max(word.right for word in words),
        base + _DESCENT * size,
        base,
        size,
        bold,
        length,
        2 * rtl > length,
    )


def _main(words: list[Word]) -> tuple[float, float, bool, int]:
    """Return the size, baseline and weight of most characters, and their number."""
    if len(words) == 1:
        word = words[0]
        return word.size, word.base, word.bold, len(word.text)
    sizes: Counter[float] = Counter()
    bases: Counter[tuple[float, float]] = Counter()
    bold = total = 0
    for word in words:
        length = len(word.text)
        total += length
        sizes[round(word.size, 1)] += length
        bases[round(word.size, 1), round(word.base, 1)] += length
        bold += length if word.bold else 0
    # of two sizes with about as many characters the larger one: the smaller ones are raised or lowered
    most = max(sizes.values())
    size = max(size for size, count in sizes.items() if count >= 0.5 * most)
    base = max((count, base) for (other, base), count in bases.items() if other == size)[1]
    return size, base, bold > 0.85 * total, total


def rows_of(segments: Iterable[Segment]) -> list[TextRow]:
    """Return the rows that the pieces make, from the top; small raised pieces join the row that they touch."""
    rows: list[tuple[float, int, TextRow]] = []  # baseline, number, row
    for segment in sorted(segments, key=lambda segment: -segment.size):
        reach = 1.2 * segment.size if segment.size > 1 else 1.2
        start = bisect_left(rows, (segment.base - reach,))
        best: tuple[float, TextRow] | None = None
        for base, _, row in rows[start:]:
            if base > segment.base + 2 * reach:
                break
            distance = abs(base - segment.base)
            if segment.size > _RAISED_SIZE * row.size:
                fits = distance < 0.38 * row.size
            else:
                centre = segment.base - 0.3 * segment.size
                near = any(
                    segment.left - other.right < 0.5 * row.size and other.left - segment.right < 0.5 * row.size
                    for other in row.segments
                )
                fits = distance < 0.15 * row.size or (near and base - row.size * 0.95 < centre < base + row.size * 0.35)
            if fits and (best is None or distance < best[0]):
                best = distance, row
        if best is None:
            insort(rows, (segment.base, len(rows), TextRow([segment], segment.base, segment.size)))
            continue
        row = best[1]
        if segment.size < _RAISED_SIZE * row.size and segment.length <= 6:
            up = row.base - segment.base
            shift = 1 if up > 0.12 * row.size else -1 if up < -0.05 * row.size else 0
            for word in segment.words:
                word.shift = word.shift or shift
        row.segments.append(segment)
    for _, _, row in rows:
        measure(row)
    return [row for _, _, row in rows]


def measure(row: TextRow) -> None:
    """Put the pieces of a row in order, and set what it has in common."""
    segments = row.segments
    if 2 * sum(segment.length for segment in segments if segment.is_rtl) > sum(s.length for s in segments):
        segments.sort(key=lambda segment: -segment.right)
    else:
        segments.sort(key=lambda segment: segment.left)
    row.left, row.right = min(s.left for s in segments), max(s.right for s in segments)
    row.top, row.bottom = min(s.top for s in segments), max(s.bottom for s in segments)
    row.length = sum(segment.length for segment in segments)
    row.bold = sum(segment.length for segment in segments if segment.bold) > 0.85 * row.length
    sizes: Counter[float] = Counter()
    for segment in segments:
        sizes[segment.size] += segment.length
    most = max(sizes.values())
    row.size = max(size for size, count in sizes.items() if count >= 0.5 * most)


def regions(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Return the pieces in groups in reading order: one for each column, and for what is above or below columns."""
    rtl = 2 * sum(segment.length for segment in segments if segment.is_rtl) > sum(s.length for s in segments)
    return [group for group in _split(list(segments), rtl, 0) if group]


def _split(segments: list[Segment], rtl: bool, depth: int) -> list[list[Segment]]:
    gutter = _gutter(segments) if depth < _MAX_DEPTH and len(segments) >= 2 * _MIN_COLUMN_ROWS else None
    if gutter is None:
        return [segments]
    x, top, bottom = gutter
    above, left, right, below = [], [], [], []
    for segment in segments:
        if segment.base < top:
            above.append(segment)
        elif segment.base > bottom:
            below.append(segment)
        elif segment.right <= x + 0.5:
            left.append(segment)
        else:
            right.append(segment)
    if not left or not right:
        return [segments]
    columns = (right, left) if rtl else (left, right)
    return [group for part in (above, *columns, below) if part for group in _split(part, rtl, depth + 1)]


def _gutter(segments: list[Segment]) -> tuple[float, float, float] | None:
    """Return the place of a gutter between two columns of text, and the first and last baseline beside it.

    It stands where lines begin (or end, for text that runs to the left) below each other, with lines on both sides and
    none across. The one with the most lines beside it counts.
    """
    edges: Counter[int] = Counter()
    for segment in segments:
        edges[round(segment.left / _EDGE)] += 1
    first = min(segment.left for segment in segments)
    candidates = [
        edge * _EDGE
        for edge, count in edges.most_common(_MAX_EDGES)
        if count + edges[edge - 1] + edges[edge + 1] >= _MIN_COLUMN_ROWS and edge * _EDGE > first + _EDGE
    ]
    ordered = sorted(segments, key=lambda segment: segment.base)
    best: tuple[int, float, float, float] | None = None
    for edge in candidates:
        x = edge - 0.6 * _EDGE
        start = 0
        for index in range(len(ordered) + 1):
            if index < len(ordered) and not (ordered[index].left < x - 1 and ordered[index].right > x + 1):
                continue
            run = ordered[start:index]
            start = index + 1
            left = [segment for segment in run if segment.left < x - 1]
            right = [segment for segment in run if segment.left >= x - 1]
            fewer = min(len(left), len(right))
            if fewer < _MIN_COLUMN_ROWS or (best is not None and fewer <= best[0]):
                continue
            top = max(min(s.base for s in left), min(s.base for s in right))
            bottom = min(max(s.base for s in left), max(s.base for s in right))
            beside = [[s for s in side if top - s.size <= s.base <= bottom + s.size] for side in (left, right)]
            if min(map(len, beside)) < _MIN_COLUMN_ROWS or not _are_columns(*beside):
                continue
            best = min(map(len, beside)), x, run[0].base - 0.1, run[-1].base + 0.1
    return best[1:] if best else None


def _are_columns(left: list[Segment], right: list[Segment]) -> bool:
    """Return whether two groups of pieces are columns of running text, and no cells of a table or numbered items."""
    if min(_words_in(left), _words_in(right)) < 1.6:
        return False  # bullets, numbers, labels
    if max(_numbers_in(left), _numbers_in(right)) > 0.4:
        return False
    fewer, more = sorted((left, right), key=len)
    bases = sorted(segment.base for segment in more)
    shared = 0
    for segment in fewer:
        at = bisect_left(bases, segment.base - 0.2 * segment.size)
        shared += at < len(bases) and bases[at] < segment.base + 0.2 * segment.size
    if shared < 0.5 * len(fewer):
        return True
    return fills(left) and fills(right)


def _words_in(segments: list[Segment]) -> float:
    """Return the mean number of words; five characters of a script without spaces count as one."""
    count = sum(max(sum(not w.glued for w in s.words), s.length / 5) for s in segments)
    return count / len(segments)


def _numbers_in(segments: list[Segment]) -> float:
    """Return the share of pieces that are mostly digits."""
    digits = sum(
        2 * sum(character.isdigit() for word in segment.words for character in word.text) >= segment.length
        for segment in segments
    )
    return digits / len(segments)


def fills(segments: list[Segment]) -> bool:
    """Return whether most pieces reach across their column, as lines of running text do."""
    reach = max(segment.right for segment in segments) - min(segment.left for segment in segments)
    full = sum(segment.width > 0.75 * reach for segment in segments)
    # lines of running text begin in the middle of a sentence, cells of a table do not
    cased = [segment.words[0].text[0] for segment in segments if segment.words]
    cased = [letter for letter in cased if letter.islower() or letter.isupper()]
    if len(cased) >= 4 and sum(map(str.islower, cased)) < 0.2 * len(cased):
        return False
    return full > 0.5 * len(segments) and _words_in(segments) >= 3.3
