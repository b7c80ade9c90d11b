"""Numbers, dates and measures in one spelling, whatever the script: 一百二十, 120 and *a hundred and twenty* are equal.

A Chinese numeral counts as a number only where it surely is one: several characters that form a number, or one that
stands before a measure word or after 第. So 三明治, 万一 and 一起 stay words.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from functools import lru_cache

from commonplace.text.numerals import DIGITS, MYRIADS, TIMES, value_of
from commonplace.text.patterns import pattern

__all__ = ["MONTHS", "WEEKDAYS", "in_digits", "measures"]

MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()  # noqa: SIM905


@lru_cache(maxsize=4096)
def in_digits(text: str) -> str:
    """Return ``text`` (NFKC) with its numbers, dates and times of day in one spelling.

    - Numerals become digits: 一百二十 and *a hundred and twenty* 120, 3.5万 and *35 thousand* 35000, 百分之五 5%.
    - A date becomes day, month and year: 2024年3月5日, 二〇二四年三月五日 and 2024-03-05 become 5 March 2024.
    - A weekday gets its English name: 星期一 becomes Monday.
    - A time of day gets 24 hours if the text says which half of the day: 下午三点半 and *3:30 pm* become 15:30.
    - A space parts Latin letters and digits from Han, kana and Hangul.
    """
    text = unicodedata.normalize("NFKC", text)
    text = _SEPARATORS.sub("", text)
    text = _ENGLISH.sub(_english, text)
    if _EAST_ASIAN.search(text):
        text = _NUMERAL.sub(_numeral, text)
        text = _PERCENT.sub(lambda match: f"{_percent(match)}%", text)
        text = _SCALED.sub(_scaled, text)
        text = _WEEKDAY.sub(lambda match: f" {WEEKDAYS['一二三四五六日天123456'.find(match[1]) % 7]} ", text)
        text = _DECADE.sub(lambda match: f" {(int(match[1]) - 1) * 100 + int(match[2])}s ", text)
        text = _DATE.sub(_date, text)
        text = _CLOCK.sub(_clock, text)
    text = _SCALED_ENGLISH.sub(lambda match: _product(match[1], _SCALES[match[2].casefold()]), text)
    text = _ISO_DATE.sub(_date, text)
    text = _CLOCK_ENGLISH.sub(_clock_english, text)
    return _BORDER.sub(" ", text) if _EAST_ASIAN.search(text) else text


def _product(number: str, scale: int) -> str:
    value = Decimal(number) * scale
    return str(int(value)) if value == int(value) else format(value.normalize(), "f")


# --- Chinese numerals ---------------------------------------------------------------------------------------------

_HAN = "\u3005\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_EAST_ASIAN = pattern(f"[{_HAN}]")
_BORDER = pattern(f"(?<=[{_HAN}])(?=[A-Za-z0-9])|(?<=[A-Za-z0-9])(?=[{_HAN}])")
_SEPARATORS = pattern(r"(?<=\d),(?=\d{3}(?!\d))(?<![\d.,]\d{4},)")

_SIMPLIFIED = str.maketrans("両兩貳參陸○萬億", "两两贰叁陆〇万亿")
_SIMPLE = "".join(DIGITS) + "両兩貳參陸○"
_CHARACTERS = _SIMPLE + "".join(TIMES) + "".join(MYRIADS) + "萬億"
_COUNTED = (
    r"(?:个|個|只|隻|条|條|张|張|本|台|臺|件|位|名|人|次|种|種|项|項|家|座|棵|株|辆|輛|层|層|间|間|枚|颗|顆|匹|头|頭|岁|歲|年|月|日|号|號|天|周|週"
    r"|点|點|时|時|分|秒|小时|小時|钟|鐘|元|块|塊|角|美元|欧元|英镑|公斤|千克|克|吨|噸|斤|米|公里|厘米|毫米|升|毫升|度|瓦|伏|巴|倍|成|届|屆|章"
    r"|节|節|页|頁|段|句|组|組|队|隊|场|場|批|份|套|双|雙|对|對|排|行|列|级|級|期|局|轮|輪|票|亩|畝|平方|立方|大|所|支|门|門|口|代|世纪|世紀|国|國)"
)
_NUMERAL = pattern(
    rf"(?<![{_CHARACTERS}几幾数數])(?P<ordinal>第)?(?P<number>[{_CHARACTERS}]+(?:点[{_SIMPLE}]+(?![刻分十{_SIMPLE}]))?)"
    rf"(?![几幾{_CHARACTERS}])(?=(?P<counted>{_COUNTED})?)"
)
_PERCENT = pattern(r"(百|千)分之\s*(\d+(?:\.\d+)?)|(?<![\d.])(\d(?:\.\d+)?)成(?![为為立功员員本交长長果就])")
_SCALED = pattern(
    r"(\d+(?:\.\d+)?)\s*([十百千]?[万萬亿億兆]|[百千](?=[多余餘]?[个個名人元美公万吨]))[多余餘]?(?:(\d+)([千百])?(?!\d))?"
)
# 星期1: the numeral is a digit by then.
_WEEKDAY = pattern(r"(?:星期|礼拜|禮拜|(?<![\d一])[周週])([一二三四五六日天1-6])(?![\d个個天期年])")
_DECADE = pattern(r"(\d{1,2})\s*世[纪紀]\s*(\d0)\s*年代")


def _numeral(match: re.Match[str]) -> str:
    number, counted = match["number"], match["counted"]
    tail = match.string[match.end("number") : match.end("number") + 1]
    unit = ""
    if len(number) > 1 and number[-1] == "千" and tail and tail in "克瓦":  # 五千克 is 5 kg
        number, unit, counted = number[:-1], "千", "千克"
    lone = len(number) == 1
    before = match.string[: match.start("number")]
    after_percent = before.endswith("分之")
    if lone and not (
        match["ordinal"] or after_percent or (counted and (number != "一" or counted in "月日号號点點时時"))
    ):
        return match.group()
    if number[0] in "万萬亿億兆百千佰仟":
        return match.group()
    if (
        counted == "分"
        and not re.match("[钟鐘之]", match.string[match.end() + 1 :])
        and before[-1:] not in (*"点點时時",)
    ):
        return match.group()  # 十分 is "very"
    value = _value(number)
    if value is None or (value == "1" and match["ordinal"]):  # 第一, like "first", is rarely a number to check
        return match.group()
    return f"{match['ordinal'] or ''}{value}{unit}"


def _value(number: str) -> str | None:
    """Return the digits of a Chinese numeral; None if it is none, such as 三四 (three or four) or 千万."""
    integer, _point, fraction = number.translate(_SIMPLIFIED).partition("点")
    value = value_of(integer)
    if value is None or not fraction:
        return value
    return f"{value}.{''.join(str(DIGITS[c]) for c in fraction)}"


def _percent(match: re.Match[str]) -> str:
    if match[3]:
        return _product(match[3], 10)
    return match[2] if match[1] == "百" else format((Decimal(match[2]) / 10).normalize(), "f")


def _scaled(match: re.Match[str]) -> str:
    scale = 1
    for c in match[2]:
        scale *= TIMES.get(c) or MYRIADS[c.translate(_SIMPLIFIED)]
    rest = 0
    if match[3]:  # 1万2千, 1亿3000
        rest = int(match[3]) * (TIMES[match[4]] if match[4] else 1)
    return _product(match[1], scale) if not rest else str(int(Decimal(match[1]) * scale) + rest)


# --- English number words -----------------------------------------------------------------------------------------

_ONES = {
    word: n
    for n, word in enumerate(
        """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
        eighteen nineteen""".split(),  # noqa: SIM905
        1,
    )
}
_TIES = {
    word: 10 * n
    for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)  # noqa: SIM905
}
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WORD = "|".join([*_ONES, *_TIES, *_SCALES])
_ENGLISH = pattern(
    rf"\b(?:a[ ](?=(?:hundred|thousand|million|billion)\b))?(?:{_WORD})(?:(?:[ -]|[ ]and[ ])(?:{_WORD}))+\b"
    rf"|\ba[ ](?:hundred|thousand|million|billion)\b",
    re.IGNORECASE,
)
_SCALED_ENGLISH = pattern(r"(?<![\d.,])(\d+(?:\.\d+)?)[ -](hundred|thousand|million|billion|trillion)\b", re.IGNORECASE)


def _english(match: re.Match[str]) -> str:
    total = section = last = 0
    for word in re.findall(r"[a-z]+", match.group().casefold()):
        if word in _ONES or word in _TIES:
            value = _ONES.get(word) or _TIES[word]
            # "Nineteen ninety" and "two three" are no sums.
            if last and not (last >= 100 or (last >= 20 and value < 10)):
                return match.group()
            section, last = section + value, value
        elif word in _SCALES:
            scale = _SCALES[word]
            if scale == 100:
                section, last = (section or 1) * scale, scale
            else:
                total, section, last = total + (section or 1) * scale, 0, scale
    return str(total + section)


# --- dates and times ----------------------------------------------------------------------------------------------

_DATE = pattern(
    r"(?:(?P<year>[12]\d{3})\s*[年년]\s*)?(?<![\d.])(?P<month>1[0-2]|0?[1-9])\s*[月월](?![个個])"
    r"(?:\s*(?:份|(?P<day>3[01]|[12]\d|0?[1-9])\s*[日号號일]))?"
    r"|(?<!\d)(?P<alone>[12]\d{3})\s*[年년](?!级|級)"
)
_ISO_DATE = pattern(
    r"(?<![\d./-])(?P<year>[12]\d{3})(?P<sign>[-/.])(?P<month>1[0-2]|0?[1-9])(?P=sign)(?P<day>3[01]|[12]\d|0?[1-9])"
    r"(?![\d/-]|\.\d)"
)
_HALF = "凌晨|清晨|早上|早晨|上午|中午|下午|傍晚|晚上|午前|午後|今晚|夜里|夜裡"
_CLOCK = pattern(
    # 两点 may be two points: a time of day says which half of the day, or what happens then.
    rf"(?:(?P<half>{_HALF})\s*)?(?<![\d.:])(?P<hour>2[0-4]|1\d|0?\d)\s*"
    r"(?:[点點]|時(?=\d)|时(?=\d))(?:钟|鐘|整|\s*(?P<minute>[0-5]?\d)\s*分|(?P<part>半|[一1三3]刻)|(?P<bare>(?![\d之建要意])))"
    rf"|(?P<half2>{_HALF})\s*(?P<hour2>2[0-4]|1\d|0?\d):(?P<minute2>[0-5]\d)"
)
_CLOCK_ENGLISH = pattern(
    r"(?<![\d.:])(?P<hour>1[0-2]|0?[1-9])(?::(?P<minute>[0-5]\d))?\s?(?P<half>[ap])\.?m\b\.?", re.IGNORECASE
)
_HAPPENS = pattern("[开開关關闭閉起到至前后後准準左出]")
_LATE = frozenset("下午 傍晚 晚上 午後 今晚 夜里".split())  # noqa: SIM905
_PARTS = {"半": 30, "一刻": 15, "1刻": 15, "三刻": 45, "3刻": 45}


def _date(match: re.Match[str]) -> str:
    named = match.groupdict()
    if named.get("alone"):
        return f" {named['alone']} "
    parts = [named["day"] and str(int(named["day"])), MONTHS[int(named["month"]) - 1], named["year"]]
    return f" {' '.join(part for part in parts if part)} "


def _clock(match: re.Match[str]) -> str:
    half = match["half"] or match["half2"]
    hour = int(match["hour"] or match["hour2"])
    if match["bare"] is not None and match.group()[0].isdigit() and not _HAPPENS.match(match.string, match.end()):
        before = match.string[: match.start()]
        if not before.endswith(("每天", "每日", *"日号從从到至在于於~-")):
            return match.group()
    minute = int(match["minute"] or match["minute2"] or _PARTS.get(match["part"] or "", 0))
    if half in _LATE and hour < 12:
        hour += 12
    return f"{half or ''} {_time(hour, minute)} "


def _clock_english(match: re.Match[str]) -> str:
    hour = int(match["hour"]) % 12 + (12 if match["half"] in "pP" else 0)
    return _time(hour, int(match["minute"] or 0)) + (" " if match.group().endswith(" ") else "")


def _time(hour: int, minute: int) -> str:
    return f"{hour}:{minute:02}"


# --- measures -----------------------------------------------------------------------------------------------------

_UNITS = {
    "kg": "kg kgs kilo kilos kilogram kilograms kilogramme kilogrammes 公斤 千克",
    "g": "g gram grams gramme grammes 克",
    "t": "tonne tonnes ton tons 吨 噸",
    "m": "m metre metres meter meters 米 公尺",
    "km": "km kilometre kilometres kilometer kilometers 公里 千米",
    "cm": "cm centimetre centimetres centimeter centimeters 厘米 公分",
    "mm": "mm millimetre millimetres millimeter millimeters 毫米",
    "mile": "mile miles 英里",
    "foot": "foot feet ft 英尺",
    "inch": "inch inches 英寸",
    "l": "l litre litres liter liters 升 公升",
    "ml": "ml millilitre millilitres milliliter milliliters 毫升",
    "hour": "hour hours h hrs 小时 小時 个小时 個小時 钟头",
    "minute": "minute minutes min mins 分钟 分鐘",
    "second": "second seconds sec secs 秒 秒钟",
    "day": "day days 天",
    "week": "week weeks 周 个星期 個星期 星期 個禮拜 个礼拜",
    "month": "month months 个月 個月",
    "year": "year years 年 岁 歲",  # not 年级: see _MEASURE
    "bar": "bar bars 巴",
    "%": "% percent 百分点",
    "degree": "degree degrees ° °C ℃ 度 摄氏度",
    "dollar": "dollar dollars 美元 美金",
    "euro": "euro euros 欧元 歐元",
    "pound": "pound pounds 英镑 英鎊 磅",
    "yuan": "yuan 元 人民币 块钱 塊錢",
    "watt": "watt watts w 瓦",
    "kw": "kw kilowatt kilowatts 千瓦",
    "volt": "volt volts v 伏 伏特",
    "person": "person persons people 人 名 位",
}
_UNIT_OF = {
    unicodedata.normalize("NFKC", word).casefold(): unit for unit, words in _UNITS.items() for word in words.split()
}
_LATIN_UNITS = sorted((word for word in _UNIT_OF if word.isascii()), key=len, reverse=True)
_HAN_UNITS = sorted((word for word in _UNIT_OF if not word.isascii()), key=len, reverse=True)
_MEASURE = pattern(
    r"(?<![\w.:])(?P<number>\d+(?:\.\d+)?)[ -]?(?:"
    rf"(?P<latin>{'|'.join(map(re.escape, _LATIN_UNITS))})(?!\w)"
    rf"|(?P<han>{'|'.join(map(re.escape, _HAN_UNITS))})(?![级級代]))",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def measures(text: str) -> frozenset[tuple[str, str]]:
    """Return the numbers of a text that have a unit, as (number, unit): 5公斤 and *five kilos* are ("5", "kg").

    The unit is that of the text: 1 km and 1000 m are different measures.
    """
    return frozenset(
        (_without_zeros(match["number"]), _UNIT_OF[(match["latin"] or match["han"]).casefold()])
        for match in _MEASURE.finditer(_SMALL.sub(_small, in_digits(text)))
    )


_SMALL = pattern(rf"\b(?:{'|'.join([*_ONES, *_TIES])})(?=[ -])", re.IGNORECASE)


def _small(match: re.Match[str]) -> str:
    word = match.group().casefold()
    return str(_ONES.get(word) or _TIES[word])


def _without_zeros(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else str(int(number))
