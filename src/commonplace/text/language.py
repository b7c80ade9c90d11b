"""The language of a text: by its script first, and by pairs and triples of letters where several languages share one.

A language is the primary tag of BCP 47 ("zh", "en"), a script the code of ISO 15924 ("Hani", "Latn"). Where a text is
too short, or in a language that is not known here, the answer is None rather than a guess.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from commonplace.text import letters
from commonplace.text.patterns import pattern

__all__ = [
    "document_languages",
    "language_of",
    "languages_of",
    "normalised_tag",
    "primary_tag",
    "script_of",
    "script_shares",
    "scripts_of",
]

SHARE = 0.2  # the least share of a document's letters that makes it a document in a language, too
PIECE = 200  # characters that are looked at together
PIECES = 12  # the most pieces of a document
EVERY = 1000  # characters of a document for each piece
SAMPLE = 100  # the most characters by which the script of a text is told
DOCUMENT_SAMPLE = 300  # and about how many those of a document
KANA = 0.1  # the least share of kana in Japanese, of kana and Han
SURE = 300  # letters in other languages that contradict a declared one
LEAST_LETTERS = 2  # of a script other than Han; a single letter is a symbol (π)

_RANGES: tuple[tuple[int, int, str], ...] = (
    (0x41, 0x5A, "Latn"), (0x61, 0x7A, "Latn"), (0xC0, 0x24F, "Latn"), (0x370, 0x3FF, "Grek"), (0x400, 0x52F, "Cyrl"),
    (0x530, 0x58F, "Armn"), (0x590, 0x5FF, "Hebr"), (0x600, 0x6FF, "Arab"), (0x700, 0x74F, "Syrc"),
    (0x750, 0x77F, "Arab"), (0x780, 0x7BF, "Thaa"), (0x8A0, 0x8FF, "Arab"), (0x900, 0x97F, "Deva"),
    (0x980, 0x9FF, "Beng"), (0xA00, 0xA7F, "Guru"), (0xA80, 0xAFF, "Gujr"), (0xB00, 0xB7F, "Orya"),
    (0xB80, 0xBFF, "Taml"), (0xC00, 0xC7F, "Telu"), (0xC80, 0xCFF, "Knda"), (0xD00, 0xD7F, "Mlym"),
    (0xD80, 0xDFF, "Sinh"), (0xE00, 0xE7F, "Thai"), (0xE80, 0xEFF, "Laoo"), (0xF00, 0xFFF, "Tibt"),
    (0x1000, 0x109F, "Mymr"), (0x10A0, 0x10FF, "Geor"), (0x1100, 0x11FF, "Hang"), (0x1200, 0x139F, "Ethi"),
    (0x13A0, 0x13FF, "Cher"), (0x1400, 0x167F, "Cans"), (0x1780, 0x17FF, "Khmr"), (0x1800, 0x18AF, "Mong"),
    (0x1C80, 0x1C8F, "Cyrl"), (0x1C90, 0x1CBF, "Geor"), (0x1E00, 0x1EFF, "Latn"), (0x1F00, 0x1FFF, "Grek"),
    (0x2C60, 0x2C7F, "Latn"), (0x2D80, 0x2DDF, "Ethi"), (0x2E80, 0x2FDF, "Hani"), (0x3005, 0x3007, "Hani"),
    (0x3040, 0x30FF, "Kana"), (0x3100, 0x312F, "Hani"), (0x3130, 0x318F, "Hang"), (0x31A0, 0x31BF, "Hani"),
    (0x31F0, 0x31FF, "Kana"), (0x3400, 0x4DBF, "Hani"), (0x4E00, 0x9FFF, "Hani"), (0xA640, 0xA69F, "Cyrl"),
    (0xA720, 0xA7FF, "Latn"), (0xA960, 0xA97F, "Hang"), (0xAC00, 0xD7FF, "Hang"), (0xF900, 0xFAFF, "Hani"),
    (0xFB00, 0xFB06, "Latn"), (0xFB1D, 0xFB4F, "Hebr"), (0xFB50, 0xFDFF, "Arab"), (0xFE70, 0xFEFE, "Arab"),
    (0xFF21, 0xFF3A, "Latn"), (0xFF41, 0xFF5A, "Latn"), (0xFF66, 0xFF9F, "Kana"), (0x1D400, 0x1D6A5, "Latn"),
    (0x20000, 0x3FFFF, "Hani"),
)  # fmt: skip
_STARTS = [start for start, _, _ in _RANGES]
_WEIGHTS = {"Hani": 3, "Kana": 2, "Hang": 2}
"""A character of these scripts says as much as this many letters of others."""

_MAIN_LANGUAGE = {
    "Armn": "hy", "Beng": "bn", "Cher": "chr", "Ethi": "am", "Geor": "ka", "Grek": "el", "Gujr": "gu", "Guru": "pa",
    "Hani": "zh", "Hebr": "he", "Jpan": "ja", "Khmr": "km", "Knda": "kn", "Kore": "ko", "Laoo": "lo", "Mlym": "ml",
    "Mong": "mn", "Mymr": "my", "Orya": "or", "Sinh": "si", "Taml": "ta", "Telu": "te", "Thaa": "dv", "Thai": "th",
    "Tibt": "bo",
}  # fmt: skip
"""The language that nearly all texts in a script are in."""

_MAIN_SCRIPT = {
    **{language: script for script, language in _MAIN_LANGUAGE.items()},
    **dict.fromkeys(("ru", "uk", "bg", "mk", "be", "sr", "kk", "ky", "mn", "tg", "tt", "ab", "os", "cv"), "Cyrl"),
    **dict.fromkeys(("ar", "fa", "ur", "ps", "ug", "sd", "ckb", "ku"), "Arab"),
    **dict.fromkeys(("hi", "mr", "ne", "sa"), "Deva"),
    **dict.fromkeys(("yi",), "Hebr"), **dict.fromkeys(("ti",), "Ethi"), **dict.fromkeys(("as",), "Beng"),
    **dict.fromkeys(("dz",), "Tibt"), **dict.fromkeys(("yue", "wuu", "lzh", "nan"), "Hani"),
}  # fmt: skip
"""The usual script of a language; Latin, if it is not here."""
_OTHER_SCRIPTS = {
    "sr": {"Latn"}, "uz": {"Cyrl", "Arab"}, "az": {"Cyrl", "Arab"}, "kk": {"Latn", "Arab"}, "ky": {"Latn", "Arab"},
    "mn": {"Cyrl", "Mong"}, "tt": {"Latn"}, "tg": {"Arab"}, "ku": {"Latn", "Cyrl"}, "pa": {"Arab"}, "bs": {"Cyrl"},
    "ha": {"Arab"}, "ms": {"Arab"}, "tk": {"Cyrl", "Arab"}, "ks": {"Arab", "Deva"}, "sd": {"Deva"}, "ro": {"Cyrl"},
    "ja": {"Hani"}, "nan": {"Latn"}, "sh": {"Cyrl"}, "la": {"Grek"},
}  # fmt: skip

# Shapes of characters that only Japanese writes: it has neither the traditional nor the simplified form here.
_JAPANESE = pattern(
    "[気駅図売読実広検対県円続経済発変験価団囲歩毎単戦録帰権観関様応楽豊転伝悪覚軽継撃険厳鉱歯児従乗帯滞択沢鉄闘脳廃払仏辺満黙訳薬両緑塩込働枠畑辻榊峠]"
)
_JAPANESE_SHARE = 0.02  # the least share of them that makes a text in Han characters alone Japanese
_SERBIAN = pattern("[ђћЂЋ]")
_SERBIAN_SHARE = 0.003  # the least share of these letters in Serbian

_TAG = pattern(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*")
_SHORT_TAGS = dict(
    pair.split(":")
    for pair in """
    alb:sq amh:am ara:ar arm:hy aze:az baq:eu bel:be ben:bn bos:bs bul:bg bur:my cat:ca ces:cs chi:zh cmn:zh
    cym:cy cze:cs dan:da deu:de dut:nl ell:el eng:en est:et eus:eu fas:fa fin:fi fra:fr fre:fr geo:ka ger:de
    gle:ga glg:gl gre:el guj:gu hbs:sh heb:he hin:hi hrv:hr hun:hu hye:hy ice:is ind:id isl:is ita:it jpn:ja
    kan:kn kat:ka kaz:kk khm:km kor:ko lao:lo lat:la lav:lv lit:lt mac:mk mal:ml mar:mr may:ms mkd:mk mon:mn
    msa:ms mya:my nep:ne nld:nl nno:nn nob:nb nor:no pan:pa per:fa pol:pl por:pt ron:ro rum:ro rus:ru sin:si
    slk:sk slo:sk slv:sl som:so spa:es sqi:sq srp:sr swa:sw swe:sv tam:ta tel:te tgl:tl tha:th tib:bo tir:ti
    tur:tr ukr:uk urd:ur uzb:uz vie:vi wel:cy yid:yi zho:zh iw:he in:id ji:yi mo:ro jp:ja cn:zh
    """.split()  # noqa: SIM905
)
"""Tags of three letters, tags that were replaced, and common mistakes, each with the tag that BCP 47 has."""

_NO_LETTERS = {code: None for code in range(128) if not chr(code).isalpha()}


class _Scripts(dict[str, str]):
    """The script of a character: "" for what is no letter, "Zzzz" for a letter of a script that has no name here."""

    def __missing__(self, character: str) -> str:
        code = ord(character)
        start, end, script = _RANGES[max(bisect_right(_STARTS, code) - 1, 0)]
        if not character.isalpha():
            script = ""
        elif not start <= code <= end:
            script = "Zzzz"
        self[character] = script
        return script


_SCRIPT = _Scripts()


def script_shares(text: str) -> dict[str, float]:
    """Return the share of each script in the letters of ``text``, the largest first; empty where it has no letters.

    Han and kana together are "Jpan" where a tenth of them is kana; Hangul, with or without Han, is "Kore".
    """
    weights = _script_weights(text)
    total = sum(weights.values())
    return {script: weight / total for script, weight in weights.most_common()}


def script_of(text: str) -> str | None:
    """Return the script of most letters in ``text``, by a sample of these; None where it has none.

    Texts in one language have the same script, but for Japanese without kana ("Hani"). It takes 2 to 15 microseconds,
    however long the text is.
    """
    if len(text) > SAMPLE:
        text = text[:: -(-len(text) // SAMPLE)]
    weights = _script_weights(text)
    return max(weights, key=weights.__getitem__, default=None)


def language_of(text: str) -> str | None:
    """Return the language of most of ``text``; None where it does not tell."""
    votes = _by_language(_votes([text]))
    return max(votes, key=votes.__getitem__, default=None) or None


def languages_of(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the languages of a document with these texts: that of most of it first, and each with a fifth or more.

    Long documents are judged by pieces throughout. Empty where no language can be told.
    """
    return document_languages((), texts)


def document_languages(declared: Sequence[str], texts: Sequence[str]) -> tuple[str, ...]:
    """Return the languages of a document: the declared tags that fit its texts, and those that only the texts tell.

    The language of most of the texts comes first. A declared one is not believed if less than a fifth of the texts is
    in its script, or if they are long and surely in other languages of that script. ``declared`` are normalised tags.
    """
    votes = _document_votes(texts)
    total = sum(votes.values())
    if not total:
        return tuple(declared)
    weights: dict[str, int] = {}
    declared_scripts: set[str] = set()
    for tag in declared:
        primary = primary_tag(tag)
        scripts = scripts_of(tag)
        in_scripts = {key: weight for key, weight in votes.items() if key[0] in scripts}
        in_language = sum(weight for key, weight in in_scripts.items() if key[1] == primary)
        weight = sum(in_scripts.values())
        in_any_language = sum(weight for key, weight in in_scripts.items() if key[1])
        can_be_told = primary in letters.languages() or primary in ("ja", "zh")
        is_other = can_be_told and not in_language and in_any_language >= max(SURE, weight / 2)
        if weight >= SHARE * total and not is_other:
            weights[tag] = in_language or weight
            declared_scripts |= scripts
    for (script, language), weight in votes.items():
        if language and weight >= SHARE * total and script not in declared_scripts:
            weights[language] = weights.get(language, 0) + weight
    return tuple(sorted(weights, key=weights.__getitem__, reverse=True))


def primary_tag(tag: str) -> str:
    """Return the language of a tag without region and script."""
    return tag.split("-")[0].lower()


def scripts_of(tag: str) -> frozenset[str]:
    """Return the scripts in which texts in the language of a BCP 47 tag are written."""
    primary = primary_tag(tag)
    return frozenset(
        {
            _MAIN_SCRIPT.get(primary, "Latn"),
            *_OTHER_SCRIPTS.get(primary, ()),
            *(part.title() for part in tag.split("-")),
        }
    )


def normalised_tag(tag: str) -> str | None:
    """Return a language tag as BCP 47 writes it; None where it is none. "zh_cn" becomes "zh-CN", "chi" becomes "zh"."""
    if not _TAG.fullmatch(tag):
        return None
    first, *rest = re.split("[-_]", tag)
    first = _SHORT_TAGS.get(first.lower(), first.lower())
    if first in ("und", "zxx", "mul", "mis"):
        return None
    cases = {2: str.upper, 4: str.title}  # regions and scripts
    return "-".join([first, *(cases.get(len(subtag), str.lower)(subtag) for subtag in rest)])


def _script_weights(text: str) -> Counter[str]:
    if text.isascii():
        return +Counter({"Latn": len(text.translate(_NO_LETTERS))})
    weights = Counter(map(_SCRIPT.__getitem__, text))
    del weights[""]
    han, kana, hangul = weights["Hani"], weights["Kana"], weights["Hang"]
    for script in weights.keys() & _WEIGHTS.keys():
        weights[script] *= _WEIGHTS[script]
    if kana > KANA * (han + kana):
        weights["Jpan"] = weights.pop("Hani", 0) + weights.pop("Kana")
    elif hangul > KANA * (han + hangul):
        weights["Kore"] = weights.pop("Hani", 0) + weights.pop("Hang")
    return weights


def _pieces(texts: Sequence[str]) -> Iterable[str]:
    """Yield pieces of the texts, evenly spread."""
    total = sum(map(len, texts))
    if not total:
        return
    count = min(PIECES, max(1, -(-total // EVERY)))
    step = max(total - PIECE, 0) / max(count - 1, 1)
    position, start = 0, 0
    for number in range(count):
        at = int(number * step)
        while at >= start + len(texts[position]):
            start += len(texts[position])
            position += 1
        piece = texts[position][at - start : at - start + PIECE]
        following = position + 1
        while len(piece) < PIECE and following < len(texts):  # captions and cells are short
            piece += " " + texts[following][: PIECE - len(piece)]
            following += 1
        yield piece


def _document_votes(texts: Sequence[str]) -> Counter[tuple[str, str]]:
    """Return the like of ``_votes`` for a document of any length: scripts by single letters, languages by pieces."""
    of_pieces = _votes(_pieces(texts))
    step = max(1, sum(map(len, texts)) // DOCUMENT_SAMPLE)
    votes: Counter[tuple[str, str]] = Counter()
    for script, weight in _script_weights("".join(text[::step] for text in texts)).items():
        in_script = {key: share for key, share in of_pieces.items() if key[0] == script}
        total = sum(in_script.values())
        if not total:
            in_script, total = {(script, _language_in(script, "", weight) or ""): 1}, 1
        for key, share in in_script.items():
            votes[key] += round(weight * step * share / total)
    return votes


def _votes(texts: Iterable[str]) -> Counter[tuple[str, str]]:
    """Return how much of the texts is in each script and language, in letters; "" stands for no known language."""
    votes: Counter[tuple[str, str]] = Counter()
    for text in texts:
        text = unicodedata.normalize("NFC", text)
        weights = _script_weights(text)
        total = sum(weights.values())
        for script, weight in weights.items():
            language = _language_in(script, text, weight) if weight >= SHARE * total else None
            votes[script, language or ""] += weight
    return votes


def _by_language(votes: Mapping[tuple[str, str], int]) -> Counter[str]:
    by_language: Counter[str] = Counter()
    for (_, language), weight in votes.items():
        by_language[language] += weight
    return by_language


def _language_in(script: str, text: str, weight: int) -> str | None:
    """Return the language of what a text has in one script, with this weight; None where it cannot be told."""
    if script == "Hani":
        is_japanese = len(_JAPANESE.findall(text)) * _WEIGHTS[script] > _JAPANESE_SHARE * weight
        return "ja" if is_japanese else "zh"
    if script == "Cyrl" and len(_SERBIAN.findall(text)) > _SERBIAN_SHARE * weight:
        return "sr"
    if script in letters.WORDS:
        return letters.language_in(script, text)
    return _MAIN_LANGUAGE.get(script) if weight >= LEAST_LETTERS else None
