"""The kind of answer that a question asks for, such as a date or a person, and whether a text contains one."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from commonplace.generation.intent import wants_pictures, wants_steps

__all__ = [
    "AnswerKind",
    "answer_kind",
    "asks_in_words",
    "contains",
    "defines",
    "is_yes_no",
    "says_relation",
    "subject_defined",
]

AnswerKind = Literal["date", "duration", "amount", "person", "place", "code", "time"]

_MONTHS = (
    r"jan(?:uary|uar)?|feb(?:ruary|ruar)?|mar(?:ch)?|märz|apr(?:il)?|may|mai|june?|juni|july?|juli|aug(?:ust)?"
    r"|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?|janvier|février|mars|avril|juin|juillet|août"
)
_WEEKDAYS = (
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?|montags?|dienstags?|mittwochs?|donnerstags?|freitags?|samstags?"
    r"|sonntags?|sonnabends?"
)
_DIGITS_ZH = "〇零一二三四五六七八九十百两\\d"
_DATE = re.compile(
    rf"(?<!\d)(?:1\d|20)\d\d(?!\d)|\b(?:{_MONTHS})\b|\b(?:{_WEEKDAYS})\b|\b\d{{1,2}}[./]\d{{1,2}}[./]"
    r"|\b(?:today|tomorrow|yesterday|daily|weekly|monthly|yearly|every|each|morning|noon|afternoon|evening|night|spring|summer|autumn|winter|easter|christmas)\b"
    r"|\b(?:heute|morgen|gestern|täglich|jede[nrs]?|frühling|sommer|herbst|weihnachten|ostern)\b"
    rf"|[{_DIGITS_ZH}]+[ ]?(?:年|月|日|号|號|世[纪紀])|[星礼禮]期[一二三四五六日天]|周[一二三四五六日末]|每[天周月年]"
    rf"|[春夏秋冬][天季]"
    rf"|世纪"
    r"|\b\d{1,2}(?:st|nd|rd|th) century|\b(?:century|BC|AD|Jahrhundert)\b",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"\b\d{1,2}[:.]\d\d\b|\b\d{1,2} ?(?:am|pm|o['’]clock|uhr)\b|noon|midnight|[点點][半整钟鐘]?|mittags?", re.I
)
_NUMBER_WORDS = (
    r"\b(?:zero|no|none|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen"
    r"|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundreds?|thousands?|millions?"
    r"|billions?|dozens?|half|twice|once|free|kein\w*|eine?[nrms]?|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf"
    r"|halbe?|hundert|tausend|millionen)\b|[一二三四五六七八九十百千万萬亿億两兩半]|免费|没有"
)
_AMOUNT = re.compile(rf"(?<!\d)(?!(?:1[5-9]|20)\d\d(?:年|\b))\d|{_NUMBER_WORDS}", re.IGNORECASE)
_DURATION = re.compile(
    r"\b(?:seconds?|minutes?|mins?|hours?|days?|weeks?|months?|years?|centur\w+|decades?|forever|nights?|secs?|hrs?)\b"
    r"|\b(?:sekunden?|minuten?|stunden?|tagen?|tage?s?|wochen?|monate?n?|jahre?n?)\b|[秒分时時天日周週月年]|小时|星期",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"(?!(?:19|20)\d\d(?!\d))(?<!\d)(?:[A-Za-z]*\d[\dA-Za-z./-]{2,}|\d[\d \-/.]{2,}\d|\d{2,})|[\w.+-]+@[\w-]+\.\w"
    r"|(?:pass\w*|pin|code|key|密码|口令)\W{1,3}\S{4}",
    re.IGNORECASE,
)
_CAPITAL = r"[A-ZÀ-ÖØ-ÞŁŚŻČŠŽ]"
_PERSON = re.compile(
    rf"(?<![.!?] )(?<!^){_CAPITAL}[\w'’-]+|^{_CAPITAL}[\w'’-]+ {_CAPITAL}|[\u4e00-\u9fff]{{2}}"
    rf"|\b(?:Mrs?|Ms|Dr|Herr|Frau)\b"
    r"|\b(?:the|our|my|an?|by|der|die|vom) [a-zäöü-]*(?:[a-z]er|or|lord|ant|ist|man|woman|ess|ian|ee"
    r"|ent|in|team|firm|company|board)s?\b"
)
_PLACE = re.compile(
    rf"(?<![.!?] )(?<!^){_CAPITAL}[\w'’-]+|\b(?:in|at|on|under|behind|near|above|below|from|to|beside"
    rf"|next|between|bei|im|am"
    r"|auf|unter|hinter|neben|aus|nach)\b|[\u4e00-\u9fff]{2}",
)
_PRESENT: dict[AnswerKind, re.Pattern[str]] = {
    "date": _DATE,
    "time": re.compile(f"{_TIME.pattern}|{_DATE.pattern}", re.IGNORECASE),
    "duration": _DURATION,
    "amount": _AMOUNT,
    "person": _PERSON,
    "place": _PLACE,
    "code": _CODE,
}

_ASKED: list[tuple[AnswerKind, str]] = [
    (
        "code",
        r"\b(?:passwords?|passphrase|pin\b|pin code|(?:phone|telephone|serial|account|customer|policy"
        r"|extension|registration|tax|licen[cs]e"
        r"|order|invoice|part|article|room|flight|mobile|fax|insurance|model) (?:number|no\b)|extension"
        r"|iban|e-?mail(?: address)?"
        r"|codes?\b|telefon\w*|kundennummer|kontonummer|passwort|vertragsnummer)|[密口]码|密碼|号码|號碼|电话|電話|编号|編號|序列号|[账帐證证单單卡工学學牌]号",
    ),
    (
        "duration",
        r"\bhow (?:long|soon|quickly)\b(?! is the| are the)|\bwie lange\b"
        r"|多久|多[长長][时時][间間]|几(?:天|年|个?小时|分钟|个月"
        r"|周)(?!是)",
    ),
    ("time", r"\b(?:at )?what time\b|\bum wie ?viel uhr\b|[几幾][点點](?:[钟鐘])?(?!是)"),
    (
        "date",
        r"\bwhen\b|\bwhen['’]s\b|\b(?:what|which) (?:date|day|year|month|weekday)\b|\b(?:since|until|till|by) when\b"
        r"|\b(?:date|birthday|deadline)\b(?= of|\?|$)|\b(?:seit |bis )?wann\b|[geb]*geburtstag"
        r"|welche[smn]? (?:tag|jahr|datum)"
        r"|什[么麼][时時]候|何[时時]|哪[一]?[天年日]|[几幾]月|[几幾][号號]|哪个月|日期|生日",
    ),
    (
        "amount",
        r"\bhow (?:much|many|old|tall|high|far|deep|wide|heavy|big|large|fast|often)\b|\bwie ?viele?\b"
        r"|\bkoste(?:t|n|te|ten)\b"
        r"|\bwie (?:alt|hoch|weit|tief|breit|schwer|gro[sß]+|teuer|oft)\b"
        r"|\bwhat (?:does|did|do|is|was|are|were|['’]s) .{0,60}\b(?:cost|price|fee|rent|deposit|weigh"
        r"|temperature|percentage|population|distance|speed|pressure|amount)s?\b"
        r"|\b(?:price|cost|fee) (?:of|for)\b|\bwhat percent\w*|多少"
        r"|[几幾](?=[个個只隻名位本棵张張台臺辆輛次口层層公米岁歲块塊])"
        r"|多[高大远遠深重宽]|价格|价钱|費用|费用",
    ),
    (
        "person",
        r"\bwh(?:o|om|ose|o['’]s)\b|\bwer\b|\bwem\b|\bwen\b|\bwessen\b|[谁誰]|哪[个個位](?:人|老[师師]|同[学學])|何人",
    ),
    (
        "place",
        r"\bwhere\b|\b(?:in )?(?:which|what) (?:city|town|country|place|room|street|state|county"
        r"|village)\b|\bwo(?:hin|her)?\b|哪[里裡儿兒]|在哪|何[处處地]|什么地方",
    ),
]
_ASKS = [(kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _ASKED]
_COMMAND = re.compile(
    r"\b(?:commands?|install\w*|scripts?|snippets?|syntax|configur\w+|usage)\b|命令|指令|脚本|腳本|[语語]法", re.I
)
_WHO_IS = re.compile(r"^\W*(?:who(?:['’]s| is| was)|wer (?:ist|war))\b|是[谁誰]\W*$", re.IGNORECASE)
_YES_NO = re.compile(
    r"^\W*(?:is|are|was|were|do|does|did|can|could|may|must|should|shall|has|have|had|am|will|would"
    r"|isn['’]t|aren['’]t|don['’]t)\b(?! you (?:tell|show|explain|give|list))"
    r"|^\W*(?:ist|sind|war|waren|darf|dürfen|kann|können|hat|haben|gibt|muss|müssen|soll)\b|[吗嗎]\W*$|是否|是不是|能不能|可不可以|有没有|有沒有",
    re.IGNORECASE,
)
_DEFINITION = re.compile(
    r"^\W*(?:(?:please |can you |could you )?(?:explain|define|describe"
    r"|tell me about)\b(?: to (?:an? )?[\w-]+)?(?: what)?"
    r"|what (?:exactly )?(?:is|are) meant by|what(?:['’]s| is| are| was| were| exactly is)(?! (?:the"
    r"|my|our|his|her|your|their)\b.* (?:of|for|in|on|at|to)\b)"
    r"|who(?:['’]s| is| was| are| were)|was (?:ist|sind|bedeutet)|wer (?:ist|war)"
    r"|what do(?:es)?(?= .*\b(?:mean|stand for)\b(?! to\b))(?: [\w ]{1,30} mean by)?"
    r"|what (?:exactly )?do (?:we|you|they|people|i) mean by"
    r"|(?:the )?(?:meaning|definition) of)\s+(?P<subject>.+?)"
    r"(?: (?:mean|stand for|is|are))?\W*$|^\W*(?:[什么啥]*[叫是]?)?(?P<zh>.{1,20}?)"
    r"(?:是什[么麼](?:意思|东西|[\u4e00-\u9fff]{1,2})?|是[谁誰]|指的?是什[么麼])\W*$|^\W*(?:什[么麼]|啥)(?:是|叫做?)(?P<what>.{1,20}?)\W*$",
    re.IGNORECASE,
)
_NUMBERING = re.compile(r"^\d+(?:\.\d+)*[.)]?\s+")
_ARTICLES = re.compile(r"^(?:(?:an?|the|this|that|counts as|ein[e]?|d[eria][erst]?)\s+)+", re.IGNORECASE)
_COPULA = re.compile(
    r"^[^.;:!?]{0,40}?(?:\([^)]*\))?,?\s*(?:is|are|was|were|means|stands for|refers to|denotes|arises"
    r"|ist|sind|war|bedeutet|heißt|[—–]|:\s|\s-\s|，?(?:是|指|为|即|意[为指]))",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)
def answer_kind(question: str) -> AnswerKind | None:
    """Return the kind of answer that a question asks for; None if its words do not tell."""
    if wants_steps(question) or _COMMAND.search(question):
        return None
    matches = [(match.start(), kind) for kind, pattern in _ASKS if (match := pattern.search(question)) is not None]
    codes = [kind for _, kind in matches if kind == "code"]
    if codes and not any(kind in ("date", "person", "place") for _, kind in matches):
        return "code"
    others = [(at, kind) for at, kind in matches if kind != "code"]
    return min(others)[1] if others else None


def contains(kind: AnswerKind, text: str) -> bool:
    """Return whether a text contains an answer of this kind; where that cannot be told, true."""
    return _PRESENT[kind].search(text) is not None


def is_yes_no(question: str) -> bool:
    """Return whether a question is answered by yes or no."""
    return _YES_NO.search(question) is not None and not question.lstrip().startswith(('"', "“", "„", "「"))


_IN_WORDS = re.compile(
    r"^\W*(?:and |und )?(?:what|who|whom|whose|when|where|which|how|why|was|wer|wen|wem|wann|wo|wie|warum"
    r"|welche[rsnm]?)\b|什[么麼]|[谁誰]|多[少久]|[几幾]|怎|[为為]何|哪",
    re.IGNORECASE,
)


def asks_in_words(question: str) -> bool:
    """Return whether a question has a question word and asks for no picture: its answer has to be said."""
    return _IN_WORDS.search(question) is not None and not wants_pictures(question)


def subject_defined(question: str) -> str | None:
    """Return what a question wants defined: WSL in *What is WSL?*; None for another question."""
    match = _DEFINITION.match(question)
    if match is None:
        return None
    words = _ARTICLES.sub("", (match["subject"] or match["zh"] or match["what"] or "").strip())
    return words if 0 < len(words) <= 60 and len(words.split()) <= 6 else None


def defines(question: str, text: str) -> bool:
    """Return whether a text begins as the definition of what the question asks about: *WSL is a feature of ...*."""
    wanted = subject_defined(question)
    if wanted is None:
        return False
    start = _ARTICLES.sub("", _NUMBERING.sub("", text.lstrip("\"'“*_- ")))
    lowered, name = start.casefold(), wanted.casefold()
    # "What is a vault in Quillon?" is defined by "A vault is ...".
    heads = [name, *[name.split(word)[0].strip() for word in (" in ", " of ", " for ") if word in name]]
    for head in heads:
        stem = head[:-1] if len(head) > 4 and head.endswith("s") else head
        if head and (at := lowered.find(stem)) in range(24) and _COPULA.match(start[at + len(stem) :]):
            return True
    return False


_UNTIL = r"\buntil\b|\btill\b|\bto \d|\bbis\b|\d\s*(?:-|–|—|to|bis|至|到)\s*\d|[至到]"
_RELATIONS = [
    (re.compile(asks, re.IGNORECASE), re.compile(says, re.IGNORECASE))
    for asks, says in (
        (
            r"\bborn\b|\bbirthday\b|\bdate of birth\b|\bgeburtstag\b|\bgeboren\b|出生|生日|诞生",
            r"\bborn\b|\bbirth|\bb\. |\bgeb\w*|geburt|\*\s?\d|出生|生日|诞生|生于|大寿|\bturn(?:s|ed) \d",
        ),
        (
            r"\b(?:did|does|do|will|to)\b.{0,60}\bdie\b|\b(?:died|death|dead)\b|\bgestorben\b|\bstarb\b|[去逝]世|死",
            r"\b(?:die[ds]?|death|dead|killed|buried|late)\b|†|gestorben|starb|\btod|[去逝]世|死|亡|卒",
        ),
        (
            r"\bmarr(?:y|ied|iage)\b|\bwedding\b|\bwife\b|\bhusband\b|\bspouse\b|\behe(?:frau|mann)\b|\bheirat\w*|\bhochzeit\b|结婚|婚礼|妻子|丈夫|老婆|老公|太太",
            r"\bmarr|\bwed(?:ding|s)?\b|\bwife\b|\bhusband\b|\bbride|\bspouse\b|\bmrs\b|heirat|hochzeit|\behe|婚|娶|嫁|妻|夫|太太|老公|老婆",
        ),
        (
            r"\b(?:earns?|salary|wages?)\b|\bgehalt\b|\bverdien\w*|工资|薪",
            r"\b(?:earn|salar|wage|paid|pay)|gehalt|verdien|lohn|工资|薪|收入",
        ),
        (
            r"\bwhen\b.{0,60}\bclos(?:es?|ed|ing)\b|\bclosing (?:time|hour)|(?:几点|什么时候|何时)(?:关门|打烊)",
            rf"\bclos|\bshut|{_UNTIL}|关|打烊",
        ),
        (
            r"\bwhen\b.{0,60}\b(?:end|finish|stop)(?:s|ed)?\b|(?:几点|什么时候|何时)(?:结束|下班)",
            rf"\bend(?:s|ed)?\b|\bfinish|\bstop|\bover\b|{_UNTIL}|结束|下班",
        ),
        (
            r"\bwhen\b.{0,60}\bopens?\b|\bopening (?:time|hour)|(?:几点|什么时候|何时)(?:开门|营业)",
            r"\bopen|\bfrom\b|\bhours?\b|\d\s*(?:-|–|—|to|bis|至|到)\s*\d|开|营业",
        ),
    )
]
"""What a question may ask of a person or a place, and the words of which a sentence that says it has one."""


def says_relation(question: str, text: str) -> bool:
    """Return whether a text has a word for what a question asks, such as *born* or *closes*; else any text has."""
    return all(says.search(text) for asks, says in _RELATIONS if asks.search(question))
