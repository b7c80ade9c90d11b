"""What a passage holds that can be quoted: its sentences as plain words with true offsets, and its listings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from commonplace.types import Item

__all__ = ["Sentence", "listing", "quotable", "split", "verbatim"]

LONGEST = 600  # characters of a sentence; a longer one is a table or a listing
LINES = 40  # of a listing; a longer one is a program to read, not a command to type
ENTRIES = 3  # lines that begin like entries of a bibliography, from which the whole passage is one
PROSE = 6  # words of a line without a full stop, from which it is a piece of a sentence where its passage ends


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of hit number ``hit`` in plain words, and the characters of the item's text that it stands at.

    ``listing`` are those of the fenced code that belongs to its paragraph. Code that belongs to none is a sentence by
    itself: its ``text`` is the code, and its offsets are the listing's. ``paragraph`` is where its paragraph begins.
    """

    hit: int
    start: int
    end: int
    text: str
    listing: tuple[int, int] | None = None
    paragraph: int = 0


def split(hit: int, item: Item) -> list[Sentence]:
    """Return the sentences of a passage with their offsets; paragraphs, headings and list items end one too."""
    # A line that leads to a list, and a question, are no answers.
    return [one for one in map(_unmarked, _pieces(hit, item)) if one.text[-1] not in ":?：？"]


def verbatim(hit: int, item: Item) -> list[Sentence]:
    """Return everything in a passage that may be quoted word by word, leads and questions too, in order."""
    return [_unmarked(one) for one in _pieces(hit, item)]


def quotable(hit: int, item: Item, *, listings: bool = False, references: bool = False) -> list[Sentence]:
    """Return the sentences of a passage that say something by themselves.

    That leaves out headings, the heads of tables, what was cut off where the passage begins or ends and, without
    ``references``, the entries of a bibliography. With ``listings`` fenced code goes with the paragraph just before it
    (which may lead to it with a colon), or else just after it.
    """
    if not references and _is_bibliography(item):
        return []
    found = [one for one in _pieces(hit, item) if not _is_part(one, item)]
    if not references:
        found = [one for one in found if not _ENTRY.search(one.text)]
    if listings:
        found = _with_listings(hit, item, found)
    return [_unmarked(one) for one in found if _says(one, item, listings)]


def _says(one: Sentence, item: Item, listings: bool) -> bool:
    """Return whether a sentence says something, or leads to a listing with which the next passage may begin."""
    if one.listing is not None or one.text[-1] not in ":?：？":
        return True
    return listings and one.text[-1] in ":：" and not (item.text or "")[one.end :].strip()


def listing(text: str, where: tuple[int, int]) -> str:
    """Return the lines of the fenced code at ``where``, without the fences, their indentation and quotation marks.

    One of the fences may be missing, where the edge of the passage cuts the code.
    """
    lines = text[where[0] : where[1]].split("\n")
    fences = [line for line in (lines[0], lines[-1]) if _FENCE_LINE.match(line)]
    if _FENCE_LINE.match(lines[0]):
        lines.pop(0)
    if lines and _CLOSES.fullmatch(lines[-1]):
        lines.pop()
    quoted = any(line.lstrip().startswith(">") for line in fences)
    if quoted:
        lines = [re.sub(r"^[ \t]*> ?", "", line) for line in lines]
    indent = 0 if quoted or not fences else min(len(line) - len(line.lstrip()) for line in fences)
    return "\n".join(line[min(indent, len(line) - len(line.lstrip())) :].rstrip() for line in lines).strip("\n")


def _pieces(hit: int, item: Item) -> Iterator[Sentence]:
    """Yield everything that stands between full stops or in a line of its own."""
    import sentencex

    text = item.text or ""
    for start, end in _fenced(item):
        text = text[:start] + _blank(text[start:end]) + text[end:]
    markdown = item.document.media_type == "text/markdown"
    if markdown or _RULE.search(text):  # tables of other formats are read as Markdown
        text = _ROW.sub(_cells, text)
    if markdown:
        text = _MARKUP.sub(lambda match: _veil(match.group(), match.group("label") or match.group("code")), text)
    for paragraph in _PARAGRAPH.finditer(text):
        at = paragraph.start()
        for sentence in sentencex.segment("en", paragraph.group()):
            start = text.index(sentence, at)
            at = start + len(sentence)
            start += len(sentence) - len(sentence.lstrip(_SPACE))
            end = start + len(sentence.strip(_SPACE))
            words = " ".join(text[start:end].replace(_VEIL, "").split()).replace(" ;", ";")
            if 2 <= len(words) <= LONGEST and any(c.isalnum() for c in words):
                yield Sentence(hit, start, end, words, paragraph=paragraph.start())


def _unmarked(one: Sentence) -> Sentence:
    """Return a sentence without its source's own marks of footnotes, which look like those of an answer, and without
    the quotes of a docstring."""
    words = _QUOTES.sub("", _MARKS.sub("", one.text)).strip()
    return replace(one, text=words) if any(map(str.isalnum, words)) else one


_MARKS = re.compile(r"^(?:\[\d{1,3}\]\s*)+(?=\S)|(?:(?<=[.!?。！？\"”’)])|\s)\s*(?:\[\d{1,3}\]\s*)+(?=[.!?。！？]?$)")
_QUOTES = re.compile(r"^[rRbBuUfF]?(?:\"{3}|'{3})|(?:\"{3}|'{3})$")


# --- what is no sentence ------------------------------------------------------------------------------------------

_NAME = r"[A-Z][\w'’-]+,\s(?:[A-Z]\.[\s,-]*)+"
_BEGINS_ENTRY = re.compile(rf"^[ \t]*(?:\[\d{{1,3}}\]|\d{{1,3}}\.)\s+(?:{_NAME}|[A-Z]\.\s?[A-Z])|^[ \t]*{_NAME}", re.M)
_ENTRY = re.compile(
    r"\bdoi:\s?10\.|\bdoi\.org/10\.|\barXiv:\d{4}\.\d|\bISBN\b[\s:-]*\d|\bpp?\.\s?\d+\s?[-–]\s?\d+"
    r"|^\W*\[\d{1,3}\]\s.*(?:19|20)\d\d|[\[［][JMDCN][\]］]"  # [J]: the kind of a source in Chinese lists
    rf"|^{_NAME}.*\b(?:19|20)\d\d\b|^\W*\[\d{{1,3}}\]\s+(?:{_NAME}|[A-Z]\.\s?[A-Z])"
)
_REFERENCES = re.compile(
    r"(?:\d+\.?\s*)?(?:references|bibliography|works cited|literature(?: cited)?|参考文献|參考文獻|参考资料|引用文献)",
    re.IGNORECASE,
)


def _is_bibliography(item: Item) -> bool:
    heading = (item.title or "").rsplit(" > ", 1)[-1]
    return bool(_REFERENCES.fullmatch(heading.strip())) or len(_BEGINS_ENTRY.findall(item.text or "")) >= ENTRIES


def _is_part(one: Sentence, item: Item) -> bool:
    """Return whether a piece is a heading, the head of a table, or cut off by the edge of its passage."""
    text = item.text or ""
    begin = text.rfind("\n", 0, one.start) + 1
    line, _, rest = text[begin:].partition("\n")
    if item.document.media_type == "text/markdown" and re.match(r"[ \t]*#{1,6}[ \t]", line):
        return True
    if _RULE.match(rest.partition("\n")[0]) and line.lstrip().startswith("|"):
        return True
    if one.text.casefold() in [part.casefold() for part in (item.title or "").split(" > ")]:
        return True
    row = line.lstrip().startswith("|")
    goes_on = not text[: one.start].strip() and (bool(item.span.start) or (item.span.page or 1) > 1)
    if goes_on and not row and (one.text[0].islower() or one.text[0] in ",;)，。；、）"):
        return True
    ends = not row and not text[one.end :].strip() and one.text[-1] not in _ENDS
    # The last line of a page, or of a passage as long as they get, is whole only where a full stop says so.
    full = item.span.page is not None or len(text) >= 600
    listed = re.match(r"[ \t]*(?:[-*+•]|\d+[.)])[ \t]", line)
    return ends and (one.text[-1] in ",，、-–" or (full and not listed and len(one.text.split()) >= PROSE))


_ENDS = ".!?:。！？：…\"'”’)）」』】]"

# --- listings -----------------------------------------------------------------------------------------------------


def _fenced(item: Item) -> list[tuple[int, int]]:
    """Return where the fenced code of a passage stands; the first of it may have begun before the passage did."""
    text = item.text or ""
    fences = list(_FENCE_LINE.finditer(text))
    if not item.span.start or item.span.page is not None or not _begins_inside(text, fences):
        return [match.span() for match in _FENCE.finditer(text)]
    end = fences[0].end() if fences else len(text)
    return [(0, end), *(match.span() for match in _FENCE.finditer(text, end))]


def _begins_inside(text: str, fences: list[re.Match[str]]) -> bool:
    """Return whether a passage begins inside of a listing: by its fences, else by the look of its lines."""
    if not fences:
        lines = [line for line in text.split("\n") if line.strip()]
        return len(lines) >= 3 and sum(bool(_CODE.search(line)) for line in lines) >= 0.8 * len(lines)
    starts_paragraph = [bool(match["info"].strip()) for match in fences]  # only what opens a listing names its language
    if any(starts_paragraph[1::2]) != any(starts_paragraph[::2]):
        return any(starts_paragraph[1::2])
    before, after = text[: fences[0].start()].rpartition("\n")[0], text[fences[0].end() :]
    stuck = bool(before.rpartition("\n")[2].strip()) and not after.partition("\n")[2].partition("\n")[0].strip()
    return not starts_paragraph[0] and len(fences) % 2 == 1 and stuck


def _with_listings(hit: int, item: Item, sentences: list[Sentence]) -> list[Sentence]:
    """Return the sentences with the listings that belong to them, and the listings that belong to none."""
    found, text = list(sentences), item.text or ""
    for where in _fenced(item):
        code = listing(text, where)
        if not code or code.count("\n") >= LINES:
            continue
        before = [i for i, one in enumerate(found) if one.end <= where[0] and _is_empty(text[one.end : where[0]])]
        after = [i for i, one in enumerate(found) if one.start >= where[1] and _is_empty(text[where[1] : one.start])]
        owner = next((i for i in (*before[-1:], *after[:1]) if found[i].listing is None), None)
        if owner is None:
            found.append(Sentence(hit, *where, " ".join(code.split())[:LONGEST], where))
            continue
        beside = found[owner].paragraph
        found = [
            replace(one, listing=where) if one.paragraph == beside and one.listing is None else one for one in found
        ]
    return found


def _is_empty(text: str) -> bool:
    """Return whether a stretch between a sentence and a listing holds no words."""
    return not any(c.isalnum() for c in text)


# --- Markdown -----------------------------------------------------------------------------------------------------

_VEIL = "\u2060"  # a word joiner: it ends no word and no sentence, and keeps the offsets right
_SPACE = f" \t\r\n;{_VEIL}"
_FENCE = re.compile(r"^[ \t>]*(```|~~~)(?s:.*?)(?:^[ \t>]*\1[`~]*[ \t]*$|\Z)", re.MULTILINE)
_FENCE_LINE = re.compile(r"^[ \t>]*(?:`{3,}|~{3,})(?P<info>[^`\n]*)$", re.MULTILINE)
_CLOSES = re.compile(r"[ \t>]*(?:`{3,}|~{3,})[ \t]*")
_CODE = re.compile(r"^\s*(?:#|//|--|\$ |\[\w+\]$|[\w.-]+ ?=)|[;{}\\]\s*$")
_ROW = re.compile(r"^[ \t]*\|[^\n]*$", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*\|[ \t]*:?-{3,}[-:| \t]*$", re.MULTILINE)
_TAGS = "a|abbr|b|br|center|code|del|details|div|em|figcaption|figure|font|h[1-6]|hr|i|img|ins|kbd|li|mark|ol|p|pre|s"
_TAGS += "|small|span|strong|sub|summary|sup|table|tbody|td|th|thead|tr|u|ul|video"
_MARKUP = re.compile(
    r"`+(?P<code>[^`\n]+)`+|!\[[^\]\n]*\]\([^)\n]*\)|\[(?P<label>[^\]\n]+)\]\([^)\n]*\)|<!--(?s:.*?)(?:-->|\Z)"
    rf"|</?(?:{_TAGS})\b[^>\n]*>|\*{{1,3}}|(?<!\w)_{{1,2}}(?=\w)|(?<=\w)_{{1,2}}(?!\w)|:::[^\n]*"
    r"|^[ \t]*(?:#{1,6}|>|[-*+]|\d+[.)])[ \t]+(?:\[(?:[xX ]|![^\]\n]*)\])?",
    re.MULTILINE,
)
_PARAGRAPH = re.compile(r"\S[^\n]*(?:\n(?!\s*(?:[-*+#>|;]|\d+[.)]|\n))[^\n]+)*")


def _blank(text: str) -> str:
    """Return lines of nothing, as long as the text: a listing holds no sentences."""
    return "".join(c if c == "\n" else " " for c in text)


def _cells(row: re.Match[str]) -> str:
    """Return a table's row as words with semicolons between the cells; a row of rules as nothing."""
    if not any(c.isalnum() for c in row.group()):
        return _blank(row.group())
    return row.group().replace("|", ";")


def _veil(markup: str, words: str | None) -> str:
    """Return the markup unseen, with the words of a link or of code in their place."""
    if words is None:
        return "".join(c if c == "\n" else _VEIL for c in markup)
    before = markup.index(words)
    return _VEIL * before + words + _VEIL * (len(markup) - len(words) - before)
