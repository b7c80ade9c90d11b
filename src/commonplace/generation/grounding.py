"""Is a sentence borne out by what it cites? Each is read against its evidence before it is shown.

Three levels. *Supported*: the evidence says it, and every number, date and name of the sentence stands in the evidence,
in the same company. *Weak*: the evidence speaks of it, but something is not as the sentence has it. *Unsupported*: the
rest.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders import CrossEncoder
from commonplace.generation.sentences import split, verbatim
from commonplace.retrieval import Calibration
from commonplace.space import Space
from commonplace.text import terms
from commonplace.types import Hit, Support

__all__ = ["GroundingChecker", "Verdict", "facts", "negations", "orders"]

SUPPORTED = 0.55  # score from which a sentence is supported, tuned on dev (benchmarks/answers.py)
WEAK = 0.3  # and from which it is weak
SEEN = 0.8  # nearness of a sentence to a picture's pixels from which the picture bears it out
COPY = 0.7  # share of words in one row with the evidence from which a sentence counts as a copy, changes and all
READ = 10  # windows of the evidence whose vectors are compared: those that share most words
CONTRADICTED = 0.5  # probability of contradiction, by an NLI model, over which nothing is supported
ORDERS = "its source gives orders to language models"

ImageRows = Callable[[Sequence[str]], Mapping[str, NDArray[np.float32]]]
"""Returns the stored image vectors (dim,) by the pictures' content hashes."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How well a sentence is borne out: a level, a score in [0, 1], the reason where it is not full.

    ``spans`` holds, for each hit that speaks of it, the characters of the item's text that do, (start, end).
    """

    level: Support
    score: float
    reason: str | None
    spans: Mapping[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Window:
    """A sentence of the evidence, or two neighbours, with what it holds."""

    hit: int
    start: int
    end: int
    text: str
    title: str
    single: bool
    terms: frozenset[str]
    facts: frozenset[str]


class GroundingChecker:
    """Reads sentences against the evidence of one answer.

    The score is the mean of nearness (the text tower's cosine with the best matching sentence or pair of sentences of
    the evidence, on the scale of :meth:`Calibration.nearness`) and of the share of its telling words that the evidence
    holds; with an NLI model (a cross-encoder with the labels *entailment* and *contradiction*), the mean of that and
    the probability of entailment. A score is not enough: see the rules in :meth:`judge`.
    """

    def __init__(
        self,
        space: Space,
        evidence: Calibration,
        hits: Sequence[Hit],
        *,
        images: ImageRows | None = None,
        nli: CrossEncoder | None = None,
    ) -> None:
        self._space = space
        self._evidence = evidence
        self._hits = hits
        self._images = images
        self._nli = nli
        self._windows: dict[int, list[_Window]] = {}
        self._pieces: dict[int, list[tuple[int, int, tuple[str, ...]]]] = {}
        self._rows: dict[str, NDArray[np.float32] | None] = {}

    def judge(self, sentence: str, cited: Sequence[int]) -> Verdict:
        """Return how well the hits numbered ``cited`` bear out ``sentence``.

        It is supported where it stands in the evidence word by word, from the beginning of a sentence to the end of
        one, or where all of these hold: the
        score is high enough; its numbers, dates and names stand in the evidence, each in the company of the same
        words; where it is a copy of a sentence with changes, no telling word, negation or order was changed; negations
        and opposites agree with those of the sentence it matches; its source gives no orders to language models.
        """
        if not cited:
            return Verdict("unsupported", 0.0, "it names no source", {})
        windows = [window for n in dict.fromkeys(cited) for window in self._read(n)]
        tainted = self._tainted(cited)
        words = _words(sentence)
        for n in dict.fromkeys(cited):
            if words and (place := self._stands(words, n)):
                return Verdict("weak" if tainted else "supported", 1.0, ORDERS if tainted else None, {n: place})
        if not windows or not words:
            return self._seen(sentence, cited) or Verdict("unsupported", 0.0, "its source has no words to check", {})
        said = terms(sentence)
        shares = np.array([_share(said, one.terms) for one in windows])
        likely = np.argsort(-shares, kind="stable")[:READ]
        near = np.zeros(len(windows))
        near[likely] = self._near(sentence, [windows[i] for i in likely])
        worth = (near + shares) / 2
        best = int(worth.argmax())
        # A sentence may put together what several say, each clause from one of them.
        covered = frozenset().union(*(said & _home(clause, windows)[1].terms for clause in _clauses(sentence)))
        score = float((near[best] + _share(said, covered | windows[best].terms)) / 2)
        spans = self._spans(windows, worth)
        reason = None
        if self._nli is not None:
            entailed, contradicted = self._entailment(sentence, windows[best])
            score = (score + entailed) / 2
            if contradicted >= CONTRADICTED:
                reason = "its source says otherwise"
        reason = reason or self._differs(sentence, windows, worth)
        if tainted:
            reason = reason or ORDERS
        if score >= SUPPORTED and reason is None:
            return Verdict("supported", score, None, spans)
        if seen := self._seen(sentence, cited):
            return seen
        if score >= WEAK:
            return Verdict("weak", score, reason or "its source says something like it, not this", spans)
        return Verdict("unsupported", score, "its source does not say this", {})

    def copied(self, cited: Sequence[int]) -> tuple[Support, str | None]:
        """Return the level of what was copied from the hits numbered ``cited`` by this program, and the reason."""
        return ("weak", ORDERS) if self._tainted(cited) else ("supported", None)

    def trace(self, sentence: str) -> tuple[int, Verdict] | None:
        """Return the hit that bears out a sentence without a marker, and how; None where none supports it."""
        said = terms(sentence)
        likely = sorted(range(len(self._hits)), key=lambda n: -_share(said, terms(self._hits[n].item.text_view or "")))
        for n in likely[:3]:
            verdict = self.judge(sentence, [n])
            if verdict.level == "supported" and verdict.spans:
                return n, verdict
        return None

    def _tainted(self, cited: Sequence[int]) -> bool:
        return any(orders(self._hits[n].item.text_view or "") for n in cited)

    # --- reading the evidence --------------------------------------------------------------------------------

    def _read(self, n: int) -> list[_Window]:
        """Return the sentences of a hit and each two neighbours; its whole text where it has no sentences."""
        if n not in self._windows:
            item = self._hits[n].item
            text, title = item.text or "", item.title or ""
            spans = [(one.start, one.end, one.text) for one in split(n, item)]
            if not spans and any(c.isalnum() for c in text):
                spans = [(0, len(text), " ".join(text.split()))]
            single = [_window(n, *one, title, True) for one in spans]
            # What *it* is stands in the sentence before.
            pairs = [
                _window(n, a[0], b[1], f"{a[2]} {b[2]}", title, False)
                for a, b in itertools.pairwise(spans)
                if _REFERS.match(b[2])
            ]
            self._windows[n] = single + pairs
        return self._windows[n]

    def _stands(self, words: tuple[str, ...], n: int) -> tuple[int, int] | None:
        """Return where in a hit's text these words stand as a whole sentence, or as several in a row; None: nowhere."""
        if n not in self._pieces:
            pieces = verbatim(n, self._hits[n].item)
            self._pieces[n] = [(one.start, one.end, _words(one.text)) for one in pieces]
        found = self._pieces[n]
        for i, (start, _, _) in enumerate(found):
            said: tuple[str, ...] = ()
            for _, end, more in found[i:]:
                said += more
                if said == words:
                    return start, end
                if said != words[: len(said)]:
                    break
        return None

    def _near(self, sentence: str, windows: Sequence[_Window]) -> NDArray[np.float64]:
        """Return the nearness (n,) of a sentence to windows, alone or under their headings; 0 where not readable."""
        views = [(one.text, f"{one.title}\n{one.text}" if one.title else one.text) for one in windows]
        asked = self._embed([sentence])[0]
        if asked is None:
            return np.zeros(len(windows))
        alone, under = (self._embed([view[i] for view in views]) for i in (0, 1))
        cosines = [
            max((float(row @ asked) for row in rows if row is not None), default=-1.0)
            for rows in zip(alone, under, strict=True)
        ]
        return self._evidence.nearness("text->text", np.array(cosines, np.float32))

    def _embed(self, texts: Sequence[str]) -> list[NDArray[np.float32] | None]:
        missing = [one for one in dict.fromkeys(texts) if one not in self._rows]
        known = [one for one in missing if self._space.reads(one)]
        self._rows.update(dict.fromkeys(missing))
        rows = self._space.embed(known) if known else None
        if rows is not None:
            self._rows.update(zip(known, rows, strict=True))
        return [self._rows[one] for one in texts]

    def _entailment(self, sentence: str, window: _Window) -> tuple[float, float]:
        """Return the NLI model's probabilities of entailment and of contradiction."""
        assert self._nli is not None
        return self._nli.entailment(window.text, sentence)

    def _seen(self, sentence: str, cited: Sequence[int]) -> Verdict | None:
        """Return the verdict of the cited pictures' pixels, where they bear the sentence out and nothing else could.

        Pixels bear out what can be seen: never a number, a date, a name or a negation.
        """
        pictures = [p for n in cited if (p := self._hits[n].item.picture) is not None]
        row = self._embed([sentence])[0] if pictures and self._images is not None else None
        if row is None or self._images is None or facts(sentence) or negations(sentence):
            return None
        vectors = list(self._images(pictures).values())
        if not vectors:
            return None
        near = float(self._evidence.nearness("text->image", np.array([v @ row for v in vectors], np.float32)).max())
        if near < 0.5:
            return None
        level: Support = "supported" if near >= SEEN else "weak"
        return Verdict(level, near, None if level == "supported" else "by the look of the picture alone", {})

    # --- the rules -------------------------------------------------------------------------------------------

    def _differs(self, sentence: str, windows: Sequence[_Window], worth: NDArray[np.float64]) -> str | None:
        """Return what the sentence says that its evidence does not, or None."""
        plain = frozenset().union(*(_plain(f"{one.title} {one.text}") for one in windows))
        for fact in sorted(facts(sentence)):
            if fact not in plain and not any(fact in one.facts for one in windows):
                return f"{fact} is not in its source"
        single = [i for i, one in enumerate(windows) if one.single]
        match = windows[max(single, key=lambda i: worth[i])]
        words = _words(sentence)
        common = {i: _common(words, _words(windows[i].text)) for i in single}
        copied = max(single, key=lambda i: common[i])
        if common[copied] >= COPY * len(words):
            match = windows[copied]
            if changed := _changed(sentence, match.text):
                return changed
        elif bool(negations(sentence)) != bool(negations(_overlapping(sentence, match.text))):
            return "it says yes where its source says no, or the other way round"
        if opposite := _opposite(sentence, match.text):
            return opposite
        for clause in _clauses(sentence):
            missing, _ = _home(clause, windows)
            if missing:
                return f"{sorted(missing)[0]} stands elsewhere in its source"
            if misplaced := _misplaced(clause, windows, facts(sentence)):
                return misplaced
        return None

    @staticmethod
    def _spans(windows: Sequence[_Window], worth: NDArray[np.float64]) -> dict[int, tuple[int, int]]:
        """Return the best window of each hit that has one of any worth."""
        found: dict[int, tuple[int, int]] = {}
        # A single sentence before a pair that adds little to it.
        order = sorted(range(len(windows)), key=lambda i: -worth[i] - (0.05 if windows[i].single else 0.0))
        for i in order:
            if worth[i] >= WEAK / 2:
                found.setdefault(windows[i].hit, (windows[i].start, windows[i].end))
        return found


def _share(asked: frozenset[str], found: frozenset[str]) -> float:
    return len(asked & found) / len(asked) if asked else 0.0


# --- words, facts, negations -----------------------------------------------------------------------------------

_TOKEN = re.compile(r"\d+(?:[.,:/]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)?|\w", re.UNICODE)


@lru_cache(maxsize=4096)
def _words(text: str) -> tuple[str, ...]:
    """Return the words and numbers of a text in order, case folded, Han and kana one by one."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub(r"([\u3040-\u30ff\u3400-\u9fff])", r" \1 ", text)
    return tuple(_number(one) for one in _TOKEN.findall(text))


def _number(word: str) -> str:
    """Return a number without its thousands separators: 1,000 and 1000 are one."""
    return word.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", word) else word


_NUMBERS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen""".split()  # noqa: SIM905
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()  # noqa: SIM905
_COUNT = {
    **{name: str(n) for n, name in enumerate(_NUMBERS)},
    **{name: str(10 * n) for n, name in enumerate(_TENS, 2)},
    **{name: str(n) for n, name in enumerate(_ORDINALS, 1)},
    "hundred": "100",
    "thousand": "1000",
    "million": "1000000",
    "billion": "1000000000",
    "dozen": "12",
    **{name: str(n) for n, name in enumerate("一二三四五六七八九十", 1)},
}
_MONTH = """january february march april may june july august september october november
    december""".split()  # noqa: SIM905
_MONTHS = {name: full for full in _MONTH for name in (full, full[:3])}
_DATE = re.compile(r"\b(\d{4})-(\d{1,2})-(\d{1,2})\b")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)\b", re.IGNORECASE)
_NAME = re.compile(r"(?<![\w'’])[A-Z][\w'’.&-]*[\w]|(?<![\w'’])[A-Z](?![\w'’])")
_CODE = re.compile(r"(?=\w*\d)(?=\w*[^\W\d])\w+")
_STARTERS = frozenset(
    """a about after all also although among an and another any around as at because before being both but by can
    despite do does during each either every few finally first for from further given he her here hers his how however
    i if in indeed instead into is it its just later like many more most much my neither next no none nor not now of
    on once one only or other our out over overall perhaps several she should since so some such than that the their
    then there therefore these they this those though through thus to today together two under unlike until up upon
    we what when where whereas whether which while who whose why with within without would yes yet you your""".split()  # noqa: SIM905
)


def facts(text: str) -> frozenset[str]:
    """Return the numbers, dates and names in a text, in one spelling each.

    Numbers lose their thousands separators and number words (one, third, dozen) become digits; months have their full
    names; a date such as 2020-03-01 is its year, month and day. Names are capitalised words, but for the common words
    that begin sentences; the first word of a sentence counts where it is written so inside a sentence as well, or is
    unusual: all capitals, or with digits. Codes (M6, 0x8037) are facts.
    """
    return _facts(text)


@lru_cache(maxsize=4096)
def _facts(text: str) -> frozenset[str]:
    text = unicodedata.normalize("NFKC", text)
    found: set[str] = set()

    def date(match: re.Match[str]) -> str:
        year, month, day = (int(part) for part in match.groups())
        if not 1 <= month <= 12:
            return match.group()
        found.update((str(year), _MONTH[month - 1], str(day)))
        return " "

    text = _DATE.sub(date, text)
    text = _ORDINAL.sub(r"\1", text)
    for word in _CODE.findall(text):
        found.add(word.casefold())
    text = _CODE.sub(lambda match: " " if not match.group().isalpha() else match.group(), text)
    for number in _NUMBER.findall(text):
        found.add(_plain_number(number))
    for match in _NAME.finditer(text):
        word = match.group().rstrip(".'’")
        word = re.sub(r"['’]s$", "", word)
        lower = word.casefold()
        if lower in _MONTHS and (lower != "may" or re.search(rf"\d\s*{word}|{word}\s*\d", text)):
            found.add(_MONTHS[lower])
        elif lower in _COUNT:
            found.add(_COUNT[lower])
        elif lower not in _STARTERS and not _opens(text, match.start(), word):
            # Of "Chinese-style" the name is Chinese.
            parts = [part for part in re.split(r"[-&.]", word) if part and not part[0].islower()]
            found.update(_stem(part.casefold()) for part in parts)
    for word in re.findall(r"[^\W\d_]+", text):
        if word.casefold() in _COUNT and word.casefold() not in ("one", "second", "first", "一"):
            found.add(_COUNT[word.casefold()])
    return frozenset(found)


def _plain_number(number: str) -> str:
    number = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", number).rstrip(".,")
    return number.lstrip("0") or "0" if number.isdigit() else number


def _stem(word: str) -> str:
    """Return a name without the endings that do not change who it is: Huguenots', Huguenots, Huguenot."""
    word = word.removesuffix("'").removesuffix("’")
    plural = len(word) >= 5 and word.isalpha() and word[-1] == "s" and word[-2] not in "siu"
    return word[:-1] if plural else word


def _opens(text: str, at: int, word: str) -> bool:
    """Return whether a capital may be there only because a sentence begins."""
    before = text[:at].rstrip(" \"'“‘(")
    if before and before[-1] not in ".!?:;。！？\n":
        return False
    return not (word.isupper() and len(word) > 1) and not any(c.isupper() for c in word[1:])


@lru_cache(maxsize=4096)
def _plain(text: str) -> frozenset[str]:
    """Return every word of a text in the spellings in which :func:`facts` would name it."""
    words = _words(text)
    found = (
        set(words) | {_COUNT[one] for one in words if one in _COUNT} | {_MONTHS[one] for one in words if one in _MONTHS}
    )
    found |= {_plain_number(one) for one in words if one[0].isdigit()}
    found |= {part for one in words for part in re.split(r"[.:/,'’]", one) if part}
    found |= {one.removesuffix("'s").removesuffix("’s") for one in words}
    return frozenset(found | {_stem(one) for one in found})


_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|nowhere|neither|nor|without|cannot|hardly|barely|scarcely|lacks?|lacked"
    r"|fails? to|failed to|unable|refus(?:e|es|ed) to|rather than|instead of|except|unless|deny|denies|denied|false)\b"
    r"|n['’]t\b|(?:^|(?<=[^\w]))non-|[不没沒无無非未勿莫别別]",
    re.IGNORECASE,
)


def negations(text: str) -> list[str]:
    """Return the cues by which a text says no: *not*, *never*, *without*, 不, 没 and their kind."""
    return [match.group().casefold() for match in _NEGATION.finditer(text.replace("no longer", "not"))]


_CLAUSE = re.compile(r"[,;:—–，；：、]|\b(?:and|but|while|whereas|although|though|because|which|who)\b", re.IGNORECASE)


def _clauses(text: str) -> list[str]:
    return [one for one in _CLAUSE.split(text) if one and any(c.isalnum() for c in one)] or [text]


def _overlapping(sentence: str, source: str) -> str:
    """Return the clauses of the source that share words with the sentence: a *not* elsewhere is another's."""
    said = terms(sentence)
    return " , ".join(one for one in _clauses(source) if said & terms(one)) or source


_OPPOSITES = [
    tuple(pair.split("/"))
    for pair in [
        "increase/decrease",
        "increases/decreases",
        "increased/decreased",
        "increasing/decreasing",
        "rise/fall",
        "rises/falls",
        "rose/fell",
        "rising/falling",
        "more/less",
        "more/fewer",
        "most/least",
        "higher/lower",
        "highest/lowest",
        "larger/smaller",
        "largest/smallest",
        "before/after",
        "above/below",
        "first/last",
        "always/never",
        "true/false",
        "open/closed",
        "opens/closes",
        "opened/closed",
        "hot/cold",
        "all/none",
        "allowed/forbidden",
        "allowed/prohibited",
        "maximum/minimum",
        "north/south",
        "northern/southern",
        "east/west",
        "eastern/western",
        "left/right",
        "early/late",
        "earlier/later",
        "earliest/latest",
        "start/end",
        "began/ended",
        "won/lost",
        "win/lose",
        "wins/loses",
        "inside/outside",
        "over/under",
        "up/down",
        "on/off",
        "accept/reject",
        "accepted/rejected",
        "legal/illegal",
        "possible/impossible",
        "safe/unsafe",
        "safe/dangerous",
        "buy/sell",
        "import/export",
        "faster/slower",
        "older/younger",
        "better/worse",
        "best/worst",
        "same/different",
        "male/female",
        "public/private",
        "major/minor",
        "success/failure",
        "succeeded/failed",
        "include/exclude",
        "includes/excludes",
        "included/excluded",
        "positive/negative",
    ]
]


def _opposite(sentence: str, source: str) -> str | None:
    """Return where one says *increased* and the other *decreased*, or None."""
    said, held = set(_words(sentence)), set(_words(source))
    for a, b in _OPPOSITES:
        for one, other in ((a, b), (b, a)):
            if one in said and one not in held and other in held and other not in said:
                return f"it says {one} where its source says {other}"
    return None


def _common(words: Sequence[str], source: Sequence[str]) -> int:
    """Return how many words of a sentence stand in the source in the same order."""
    matcher = SequenceMatcher(None, words, source, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks())


def _changed(sentence: str, source: str) -> str | None:
    """Return what a near-copy changed that matters: a *not*, a number, a name, a word for another; or None."""
    words, held = _words(sentence), _words(source)
    own = facts(sentence)
    codes = SequenceMatcher(None, words, held, autojunk=False).get_opcodes()
    inside = [n for n, code in enumerate(codes) if code[0] == "equal"]
    for n, (kind, a, b, c, d) in enumerate(codes):
        if kind == "equal":
            continue
        here, there = words[a:b], held[c:d]
        # What the source says before and after the words that were taken is left out, not changed.
        left_out = not inside[0] < n < inside[-1]
        if bool(negations(" ".join(here))) != bool(negations("" if left_out else " ".join(there))):
            return "it says yes where its source says no, or the other way round"
        content_words, instead = _content_words(here), _content_words(there)
        if not content_words:
            continue
        if kind == "replace" and instead:
            forms = set(instead) | {_COUNT.get(one, one) for one in instead}
            stems = terms(" ".join(instead))
            for one in content_words:
                exact = one in own or one[0].isdigit()
                same = {one, _COUNT.get(one, one)} & forms or (not exact and terms(one) & stems)
                if not same:
                    return f"it says {' '.join(here)} where its source says {' '.join(there)}"
        elif not set(there) & _PRONOUNS:
            for one in content_words:
                if one in own or one in held or not terms(one) & terms(source):
                    return f"{one} is not said so in its source"
    return None


_PRONOUNS = frozenset("he she it they his her its their him them this that these those who which there".split())  # noqa: SIM905
_REFERS = re.compile(
    r"(?:[\w,]+ ){0,3}?(?:he|she|it|they|his|her|its|their|this|that|these|those|there|such|both|the latter)\b"
    r"|[它他她这那其该此]",
    re.IGNORECASE,
)


def _content_words(words: Sequence[str]) -> list[str]:
    """Return the words that say something about the subject."""
    return [one for one in words if one not in _PRONOUNS and not _FILLER.fullmatch(one) and any(map(str.isalnum, one))]


_FILLER = re.compile(
    r"an?|the|and|or|but|of|to|in|on|at|by|for|from|with|as|is|are|was|were|be|been|being|has|had|have|do|does|did|will"
    r"|would|also|then|so|than|into|that|which|s|t|的|了|是|在|和|与|也|就|都|而|及"
)


def _window(hit: int, start: int, end: int, text: str, title: str, single: bool) -> _Window:
    return _Window(hit, start, end, text, title, single, terms(f"{title} {text}"), facts(f"{title}. {text}"))


def _home(clause: str, windows: Sequence[_Window]) -> tuple[frozenset[str], _Window]:
    """Return the evidence that a clause comes from, and which of its facts do not stand there.

    That is the sentence (or two, where the second says *it*) that holds most of its facts, then most of its words.
    """
    held, said = facts(clause), terms(clause)

    def fit(one: _Window) -> tuple[int, int, bool]:
        known = one.facts | _plain(f"{one.title} {one.text}")
        return len(held & known), len(said & one.terms), one.single

    home = max(windows, key=fit)
    return held - home.facts - _plain(f"{home.title} {home.text}"), home


def _misplaced(clause: str, windows: Sequence[_Window], whole: frozenset[str]) -> str | None:
    """Return a fact of a clause that stands in other company in the evidence, or None.

    The clause's other words must not fit a place that states another fact of the same kind (a number, a name) better
    than any place that states this one: else a number was taken from one thing and given to another.
    """
    places = [(facts(text), terms(text)) for one in windows if one.single for text in {one.text, *_clauses(one.text)}]
    held = facts(clause)
    context = frozenset(word for word in terms(clause) if word not in {fact[:6] for fact in held})
    for fact in sorted(held) if context else ():
        numeric = fact[0].isdigit()
        with_it = [len(context & words) for found, words in places if fact in found]
        others = [
            len(context & words)
            for found, words in places
            if fact not in found and any(one[0].isdigit() == numeric and one not in whole for one in found)
        ]
        if with_it and others and max(others) > max(with_it) + (0 if numeric else 1):
            return f"{fact} stands elsewhere in its source"
    return None


# --- orders to the model ---------------------------------------------------------------------------------------

_ORDERS = re.compile(
    "|".join(
        (
            r"\b(?:ignore|disregard|forget|override|bypass)\b[^.!?\n]{0,60}"
            r"\b(?:instructions?|prompts?|rules|above|previous|prior|question|context|evidence)\b",
            r"\b(?:system|developer) (?:prompt|message|note|instruction)s?\b|\byou are now\b|\bnew instructions?\b",
            r"\b(?:as|dear|attention|to the|note to|hey) (?:an? |the )?(?:ai|llm|assistant|chatbot|language model)s?\b",
            r"\b(?:assistant|ai|chatbot|llm)s?(?: must| shall|,| ?[:：])",
            r"(?:^|[.!?:;,\n\"“]\s*|\b(?:must|and|then|please|always) )"
            r"(?:respond|reply|answer|output|print|repeat|say)\b[^.!?\n]{0,40}"
            r"\b(?:only|exactly|instead|verbatim|the following|nothing else)\b",
            r"\b(?:do not|don['’]t|never) (?:tell|mention|reveal|cite|inform|warn)\b[^.!?\n]{0,40}"
            r"\b(?:user|reader|anyone|source)\b",
            r"\b(?:reveal|leak|exfiltrate|send)\b[^.!?\n]{0,60}\b(?:prompt|api key|password|secret|conversation)s?\b",
            r"<\|[^|>\n]{1,40}\|>|\[/?INST\]|</?(?:system|assistant|user|evidence)\b",
            r"(?:忽略|无视|不要理会|忘记)[^。！？\n]{0,30}(?:指令|指示|提示|规则|以上|之前)",
            r"系统提示|系統提示|你现在是|你現在是|作为(?:一个)?(?:AI|人工智能|助手)",
            r"[你您](?:现在|現在|接下来|从现在起)?[，,]?(?:必须|必須|只能|务必|應該|应该)(?:只)?(?:回答|回复|回覆|答复|说|說|输出|輸出|告诉|引用)",
        )
    ),
    re.IGNORECASE,
)


def orders(text: str) -> bool:
    """Return whether a text seems to give orders to a language model. A list of turns of speech: it can be evaded."""
    return _ORDERS.search(unicodedata.normalize("NFKC", text)) is not None
