"""What can be quoted from a passage: its sentences as plain text with exact offsets, and its listings."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from commonplace.generation.tables import Row, rows_of
from commonplace.types import Item

__all__ = ["Sentence", "listing", "passage_parts", "quotable", "segment", "split", "verbatim"]

LONGEST = 600  # characters of a sentence; a longer one is a table or a listing
LINES = 40  # lines of a listing; a longer one is a program to read, not a command to type
ENTRIES = 3  # lines that look like entries of a bibliography, from which the whole passage counts as one
HEADING_SHARE = 0.6  # share of the longest line of its paragraph below which a Chinese line may be a heading
SHORT_LINE = 45  # characters of the lines that may stand each for itself
RAGGED_LINES, RAGGED_SHARE = 3, 0.7
"""Lines that may stand each for itself if all begin anew, and the share of the longest that the shortest is below."""
COLUMNS_SHARE = 0.7  # of the lines of a paragraph with gaps, from which its lines are rows of a table of blanks
PROSE = 6  # words of a last line without a full stop, from which it counts as an unfinished sentence


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of hit number ``hit`` as plain text, with its characters ``start`` to ``end`` in the item's text.

    ``listing`` holds the characters (start, end) of the fenced code that belongs to its paragraph. Code that belongs
    to no paragraph is a sentence by itself: its ``text`` is the code, and its offsets are those of the listing.
    ``paragraph`` is the offset at which its paragraph begins. Of a table's row, ``row`` is that row. ``answered`` is
    the question that stands just before it, which it answers; an empty text if there is none.
    """

    hit: int
    start: int
    end: int
    text: str
    listing: tuple[int, int] | None = None
    paragraph: int = 0
    row: Row | None = None
    answered: str = ""


def segment(text: str) -> list[str]:
    """Return the sentences of a text in any script, each with its white space; joined they are the text.

    A quotation in Japanese or Chinese does not end the sentence around it (「はい。」と言った), nor does the stop of a
    Latin abbreviation before a Chinese character (U.S.的).
    """
    import sentencex

    sentences: list[str] = []
    for sentence in sentencex.segment("en", text):
        if sentences and _CONTINUES.search(sentences[-1] + "\0" + sentence):
            sentences[-1] += sentence
        else:
            sentences.append(sentence)
    return sentences


_EAST_ASIAN = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_CONTINUES = re.compile(
    rf"[」』”’][\0](?:[、，,的]|[とはがのをにで]|って)|(?:^|[^a-z])[A-Za-z][a-z]?\.[\0][{_EAST_ASIAN}A-Z]"
    r"|\b\d{1,2}\.\s*[\0]\s*(?:[a-zäöüß]|Jan|Feb|März|Apr|Mai|Jun|Jul|Aug|Sept|Okt|Nov|Dez|[A-ZÄÖÜ]\w*(?:klasse|tag)\b)"
)
"""Matches two sentences, with a zero character between them, that are one: also at the point of a German ordinal."""


def split(hit: int, item: Item) -> list[Sentence]:
    """Return the sentences of a passage; the end of a paragraph, heading or list item ends a sentence, too."""
    # A question, or a line that introduces a list, is no answer.
    return [
        sentence for sentence in map(_without_marks, _all_sentences(hit, item)) if sentence.text[-1] not in ":?：？"
    ]


def verbatim(hit: int, item: Item) -> list[Sentence]:
    """Return all sentences of a passage in order, with questions and lines that introduce a list."""
    return [_without_marks(sentence) for sentence in _all_sentences(hit, item)]


def quotable(hit: int, item: Item, *, listings: bool = False, references: bool = False) -> list[Sentence]:
    """Return the sentences of a passage that make sense by themselves.

    Headings, the header rows of tables and sentences that the edge of the passage cuts off are left out. So are the
    entries of a bibliography, unless ``references``. With ``listings``, fenced code belongs to the paragraph just
    before it (which may introduce it with a colon), or else to the one just after it.
    """
    if not references and _is_bibliography(item):
        return []
    sentences = [sentence for sentence in _answering(_all_sentences(hit, item)) if not _is_fragment(sentence, item)]
    if not references:
        sentences = [sentence for sentence in sentences if not _ENTRY.search(sentence.text)]
    if listings:
        sentences = _with_listings(hit, item, sentences)
    return [_without_marks(sentence) for sentence in sentences if _is_complete(sentence, item, listings)]


def _answering(sentences: Iterable[Sentence]) -> Iterator[Sentence]:
    """Yield the sentences, each that follows a question with that question."""
    question = ""
    for sentence in sentences:
        yield replace(sentence, answered=question) if question and sentence.row is None else sentence
        question = sentence.text if sentence.text[-1] in "?？" else ""


def passage_parts(hit: int, item: Item) -> list[tuple[int, list[Sentence]]]:
    """Return the paragraphs and list items of a passage in order: where each begins, and its sentences.

    Headings and sentences that the edge of the passage cuts off are left out. Fenced code belongs to the sentence
    before it. The rows of tables are no paragraphs.
    """
    sentences = [
        sentence for sentence in _all_sentences(hit, item) if sentence.row is None and not _is_fragment(sentence, item)
    ]
    text = item.text or ""
    parts: dict[int, list[Sentence]] = {}
    begin, paragraph = -1, -1
    for sentence in sorted(_with_listings(hit, item, sentences), key=lambda sentence: sentence.start):
        line = text.rfind("\n", 0, sentence.start) + 1
        if _LIST_ITEM.match(text, line):
            begin = line
        elif sentence.paragraph != paragraph or "\n\n" in text[begin : sentence.start]:
            begin = sentence.start
        paragraph = sentence.paragraph
        parts.setdefault(begin, []).append(_without_marks(sentence))
    return list(parts.items())


def _is_complete(sentence: Sentence, item: Item, listings: bool) -> bool:
    """Return whether a sentence is a statement, or introduces a listing with which the next passage may begin."""
    if sentence.listing is not None or sentence.text[-1] not in ":?：？":
        return True
    return listings and sentence.text[-1] in ":：" and not (item.text or "")[sentence.end :].strip()


def listing(text: str, span: tuple[int, int]) -> str:
    """Return the lines of the fenced code at ``span`` without its fences, indentation and quotation marks.

    One of the fences may be missing, if the edge of the passage cuts the code.
    """
    lines = text[span[0] : span[1]].split("\n")
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


def _all_sentences(hit: int, item: Item) -> Iterator[Sentence]:
    """Yield all text between full stops or line ends, with Markdown markup removed."""
    text = item.text or ""
    for start, end in _fenced(item):
        text = text[:start] + _blank(text[start:end]) + text[end:]
    markdown = item.document.media_type == "text/markdown"
    rows = {}
    if markdown or _RULE.search(text):  # readers write the tables of other formats as Markdown
        rows = {row.start: row for row in rows_of(text)}
        text = _ROW.sub(_marked_row, text)
    if markdown:
        text = _MARKUP.sub(lambda match: _hide_markup(match.group(), match.group("label") or match.group("code")), text)
    for paragraph in _PARAGRAPH.finditer(text):
        if paragraph.group().startswith(_ROW_MARK):
            at, row = paragraph.start(), rows.get(paragraph.start())
            if row is not None:
                yield Sentence(hit, row.start, row.end, _plain_row(row, markdown), paragraph=at, row=row)
            elif any(map(str.isalnum, paragraph.group())):  # the names of the columns
                names = "; ".join(cell for cell in map(str.strip, paragraph.group()[1:].split("|")) if cell)
                yield Sentence(hit, at, at + len(paragraph.group().rstrip()), names, paragraph=at)
            continue
        for first, part in _lines_apart(paragraph):
            position = first
            for sentence in _with_yes_or_no(segment(part)):
                start = text.index(sentence, position)
                position = start + len(sentence)
                start += len(sentence) - len(sentence.lstrip(_SPACE))
                end = start + len(sentence.strip(_SPACE))
                unwrapped = _WRAPPED.sub("", text[start:end].replace(_JOINER, ""))
                plain = " ".join(unwrapped.split()).replace(" ;", ";")
                if 2 <= len(plain) <= LONGEST and any(c.isalnum() for c in plain):
                    yield Sentence(hit, start, end, plain, paragraph=first)


def _with_yes_or_no(sentences: Sequence[str]) -> list[str]:
    """Return the sentences, each *No.* with the one after it: alone it says nothing, and without it the other lies."""
    joined: list[str] = []
    for sentence in sentences:
        if joined and _YES_OR_NO.fullmatch(joined[-1].strip(_SPACE)):
            joined[-1] += sentence
        else:
            joined.append(sentence)
    return joined


_YES_OR_NO = re.compile(
    r"(?:yes|no|not (?:yet|always|really)|ja|nein|noch nicht"
    r"|是的?|不是|不[可能会行用需要]以?|可以|没有|有的?|能|对)[.!,。！，]",
    re.IGNORECASE,
)


def _lines_apart(paragraph: re.Match[str]) -> Iterator[tuple[int, str]]:
    """Yield the parts of a paragraph, each with its offset: some lines are not wrapped, but lines of their own.

    They are the lines of a form (*Phone: 555 0147*), if there are two; the lines of a verse or of a list without marks,
    of which none ends like a sentence; lines of which each begins with a capital letter or a number, as in a chronicle;
    lines with gaps, as of columns; and a heading in Chinese or Japanese. A heading is much shorter than the longest
    line and has no punctuation at its end.
    """
    start, lines = 0, paragraph.group().splitlines(keepends=True)
    longest = max(len(line) for line in lines)
    is_form = sum(_LABEL.match(line) is not None for line in lines) > 1
    apart = len(lines) > 2 and longest <= SHORT_LINE and not any(_ENDS_LINE.search(line.rstrip()) for line in lines)
    # The lines of a wrapped paragraph are nearly equally long, and most begin with a small letter.
    ragged = min(len(line) for line in lines[:-1] or lines) < RAGGED_SHARE * longest
    apart = apart or (len(lines) >= RAGGED_LINES and ragged and all(_BEGINS_LINE.match(line) for line in lines))
    apart = apart or sum(_COLUMNS.search(line) is not None for line in lines) >= max(2, COLUMNS_SHARE * len(lines))
    end = 0
    for line, following in itertools.pairwise(lines):
        end += len(line)
        bare = line.rstrip()
        heading = _ENDS_HAN.search(bare) and len(bare) < HEADING_SHARE * longest
        if heading or apart or (is_form and (_LABEL.match(following) or _LABEL.match(line))):
            yield paragraph.start() + start, paragraph.group()[start:end]
            start = end
    yield paragraph.start() + start, paragraph.group()[start:]


_LABEL = re.compile(r"[ \t]*[^\s:：][^:：\n]{0,24}?\s?[:：](?!//)\s*\S")
_BEGINS_LINE = re.compile(r"[ \t]*[A-ZÄÖÜ\d]")
_COLUMNS = re.compile(r"[^\s.!?](?: {3,}|\t)\S")  # justified lines have two blanks, and so has the end of a sentence
_ENDS_LINE = re.compile(r"[.,;!?。，；！？、…-]$")
_ENDS_HAN = re.compile(rf"[{_EAST_ASIAN}]$")
_WRAPPED = re.compile(rf"(?<=[{_EAST_ASIAN}，。、；：！？])[ \t]*\n[ \t]*(?=[{_EAST_ASIAN}])")
"""Matches a line break inside a Chinese or Japanese sentence, where no space belongs."""


def _without_marks(sentence: Sentence) -> Sentence:
    """Return a sentence without footnote marks and the quotes of a docstring.

    The footnote marks of a source look like the citation markers of an answer.
    """
    plain = _QUOTES.sub("", _FOOTNOTES.sub("", sentence.text)).strip()
    return replace(sentence, text=plain) if any(map(str.isalnum, plain)) else sentence


_FOOTNOTES = re.compile(
    r"^(?:\[\d{1,3}\]\s*)+(?=\S)|(?:(?<=[.!?。！？\"”’)])|\s)\s*(?:\[\d{1,3}\]\s*)+(?=[.!?。！？]?$)"
)
_QUOTES = re.compile(r"^[rRbBuUfF]?(?:\"{3}|'{3})|(?:\"{3}|'{3})$")


_ITEM_ZH = (
    r"(?:[•·●○■□◆◇▪※]|\d{1,2}[、．]|[一二三四五六七八九十]{1,3}[、．.]|[（(](?:[一二三四五六七八九十]{1,3}|\d{1,2})[）)]|[①-⑳]"
    r"|第[一二三四五六七八九十百零〇\d]{1,5}[章节節条條款部])"
)
"""The beginning of a numbered item or heading in Chinese and Japanese."""
_LIST_ITEM = re.compile(rf"[ \t]*(?:(?:[-*+•]|\d+[.)])[ \t]|{_ITEM_ZH})")

# --- fragments and bibliographies ---------------------------------------------------------------------------------

_NAME = r"[A-Z][\w'’-]+,\s(?:[A-Z]\.[\s,-]*)+"
_BEGINS_ENTRY = re.compile(rf"^[ \t]*(?:\[\d{{1,3}}\]|\d{{1,3}}\.)\s+(?:{_NAME}|[A-Z]\.\s?[A-Z])|^[ \t]*{_NAME}", re.M)
_ENTRY = re.compile(
    r"\bdoi:\s?10\.|\bdoi\.org/10\.|\barXiv:\d{4}\.\d|\bISBN\b[\s:-]*\d|\bpp?\.\s?\d+\s?[-–]\s?\d+"
    r"|^\W*\[\d{1,3}\]\s.*(?:19|20)\d\d|[\[［][JMDCN][\]］]"  # [J]: the type of a source in Chinese bibliographies
    rf"|^{_NAME}.*\b(?:19|20)\d\d\b|^\W*\[\d{{1,3}}\]\s+(?:{_NAME}|[A-Z]\.\s?[A-Z])"
)
_REFERENCES = re.compile(
    r"(?:\d+\.?\s*)?(?:references|bibliography|works cited|literature(?: cited)?|参考文献|參考文獻|参考资料|引用文献)",
    re.IGNORECASE,
)


def _is_bibliography(item: Item) -> bool:
    heading = (item.title or "").rsplit(" > ", 1)[-1]
    return bool(_REFERENCES.fullmatch(heading.strip())) or len(_BEGINS_ENTRY.findall(item.text or "")) >= ENTRIES


def _is_fragment(sentence: Sentence, item: Item) -> bool:
    """Return whether a sentence is a heading, the header row of a table, or cut off by the edge of its passage."""
    if sentence.row is not None:
        return False
    text = item.text or ""
    begin = text.rfind("\n", 0, sentence.start) + 1
    line = text[begin:].partition("\n")[0]
    if line.lstrip().startswith("|"):  # the names of a table's columns
        return True
    if item.document.media_type == "text/markdown" and re.match(r"[ \t]*#{1,6}[ \t]", line):
        return True
    headings = [*(item.title or "").split(" > "), item.document.title or "", PurePath(item.document.path).stem]
    if sentence.text.casefold() in map(str.casefold, headings):
        return True
    continues = not text[: sentence.start].strip() and (bool(item.span.start) or (item.span.page or 1) > 1)
    if continues and (sentence.text[0].islower() or sentence.text[0] in ",;)，。；、）"):
        return True
    is_cut = not text[sentence.end :].strip() and sentence.text[-1] not in _ENDS
    # The last line of a page, or of a passage of full length, is complete only if it ends with a full stop.
    may_be_cut = item.span.page is not None or len(text) >= 600
    list_item = _LIST_ITEM.match(line)
    return is_cut and (
        sentence.text[-1] in ",，、-–" or (may_be_cut and not list_item and _word_count(sentence.text) >= PROSE)
    )


def _word_count(text: str) -> int:
    """Return the number of words of a text; two Chinese or Japanese characters count as one."""
    characters = sum("\u3040" <= c <= "\u9fff" for c in text)
    return len(text.split()) + max(characters - 1, 0) // 2


_ENDS = ".!?:。！？：…\"'”’)）」』】]"

# --- listings -----------------------------------------------------------------------------------------------------


def _fenced(item: Item) -> list[tuple[int, int]]:
    """Return the spans of fenced code in a passage; the first may have begun before the passage."""
    text = item.text or ""
    fences = list(_FENCE_LINE.finditer(text))
    if not item.span.start or item.span.page is not None or not _begins_inside(text, fences):
        return [match.span() for match in _FENCE.finditer(text)]
    end = fences[0].end() if fences else len(text)
    return [(0, end), *(match.span() for match in _FENCE.finditer(text, end))]


def _begins_inside(text: str, fences: list[re.Match[str]]) -> bool:
    """Return whether a passage begins inside a listing: by its fences, or without fences by its lines."""
    if not fences:
        lines = [line for line in text.split("\n") if line.strip()]
        return len(lines) >= 3 and sum(bool(_CODE.search(line)) for line in lines) >= 0.8 * len(lines)
    opens = [bool(match["info"].strip()) for match in fences]  # only an opening fence names a language
    if any(opens[1::2]) != any(opens[::2]):
        return any(opens[1::2])
    before, after = text[: fences[0].start()].rpartition("\n")[0], text[fences[0].end() :]
    follows_text = bool(before.rpartition("\n")[2].strip()) and not after.partition("\n")[2].partition("\n")[0].strip()
    return not opens[0] and len(fences) % 2 == 1 and follows_text


def _with_listings(hit: int, item: Item, sentences: list[Sentence]) -> list[Sentence]:
    """Return the sentences with their listings, then the listings that belong to no sentence."""
    result, text = list(sentences), item.text or ""
    for span in _fenced(item):
        code = listing(text, span)
        if not code or code.count("\n") >= LINES:
            continue
        before = [
            i
            for i, sentence in enumerate(result)
            if sentence.end <= span[0] and _has_no_words(text[sentence.end : span[0]])
        ]
        after = [
            i
            for i, sentence in enumerate(result)
            if sentence.start >= span[1] and _has_no_words(text[span[1] : sentence.start])
        ]
        owner = next((i for i in (*before[-1:], *after[:1]) if result[i].listing is None), None)
        if owner is None:
            result.append(Sentence(hit, *span, " ".join(code.split())[:LONGEST], span, span[0]))
            continue
        paragraph = result[owner].paragraph
        result = [
            replace(sentence, listing=span)
            if sentence.paragraph == paragraph and sentence.listing is None
            else sentence
            for sentence in result
        ]
    return result


def _has_no_words(text: str) -> bool:
    """Return whether the text between a sentence and a listing has no words."""
    return not any(c.isalnum() for c in text)


# --- Markdown -----------------------------------------------------------------------------------------------------

_ROW_MARK = "\ufdd0"  # a code point that is no character
_JOINER = "\u2060"  # a word joiner: it ends no word and no sentence, so that offsets stay right
_SPACE = f" \t\r\n;{_JOINER}"
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
_PARAGRAPH = re.compile(rf"\S[^\n]*(?:\n(?!\s*(?:[-*+#>|;{_ROW_MARK}]|\d+[.)]|{_ITEM_ZH}|\n))[^\n]+)*")


def _blank(text: str) -> str:
    """Return blank lines as long as the text: a listing has no sentences."""
    return "".join(c if c == "\n" else " " for c in text)


def _marked_row(row: re.Match[str]) -> str:
    """Return a table row of the same length that begins with a mark instead of its first bar."""
    return row.group().replace("|", _ROW_MARK, 1)


def _plain_row(row: Row, markdown: bool) -> str:
    """Return a row as text, without the markup of its cells."""
    if not markdown:
        return row.text
    cells = (_MARKUP.sub(lambda match: match.group("label") or match.group("code") or "", cell) for cell in row.cells)
    return replace(row, cells=tuple(" ".join(cell.split()) for cell in cells)).text


def _hide_markup(markup: str, words: str | None) -> str:
    """Return markup as joiners of the same length; the words of a link or of inline code stay in place."""
    if words is None:
        return "".join(c if c == "\n" else _JOINER for c in markup)
    before = markup.index(words)
    return _JOINER * before + words + _JOINER * (len(markup) - len(words) - before)
