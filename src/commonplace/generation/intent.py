"""The intent of a question, by its words, in English and in Chinese."""

from __future__ import annotations

import re

from commonplace.text import terms

__all__ = [
    "attribute",
    "chinese_content_words",
    "content_words",
    "is_chinese",
    "subject",
    "topic",
    "wants_documents",
    "wants_list",
    "wants_listing",
    "wants_pictures",
    "wants_sources",
    "wants_steps",
    "wants_summary",
    "without",
]

_POLITE = r"^\W*(?:(?:please|can|could|would|will|you|i|i['’]d|want|like|love|to|let|me) )*"
_SHOW = re.compile(
    rf"{_POLITE}(?:show|see|display|find me)\b"
    r"|\b(?:picture|photo|photograph|image|drawing|diagram|figure|chart|screenshot)s? (?:of|with|that|where|showing)\b"
    r"|what (?:does|do|did) .{1,80} look like",
    re.IGNORECASE,
)
_PICTURE_ZH = (
    r"(?:[照图圖相]片|图像|圖像|影像|截[图圖]|插[图圖]|[画畫]面|[写寫]真"
    r"|(?<=的)(?:示意|[结結][构構]|流程|平面|[电電]路|接[线線]|效果)?[图圖](?![书書表]))"
)
_SHOW_ZH = re.compile(
    rf"{_PICTURE_ZH}|[长長](?:什[么麼]|啥|怎[么麼]|何)[样樣]|(?:是|[长長]成)(?:什[么麼]|啥|怎[么麼])[样樣]子?的?\W*$"
)
_LET_SEE_ZH = re.compile(
    r"[给給让讓][我咱][看瞧找]|我想看|想看看|看看|看一[看下]|展示|[来來發发][我]?[一几幾两兩]?[张張幅]|^\W*[请請]?[显顯]示"
)
_QUESTION_WORD_ZH = re.compile(
    r"什[么麼啥]|怎|如何|哪|[谁誰]|[几幾](?![张張幅])|多[少大长長高远遠久快重]|[为為]何|是否|是不是"
)
_OF = r"(?:(?:a|an|the|some|any|all|your) )?(?:picture|photo|photograph|image)s? (?:of|with|that|where|showing)\b"
_WORDS_OF_SHOW = re.compile(
    rf"{_POLITE}(?:show|see|display|find me)\b(?: me| us)?(?: {_OF})?\s*"
    rf"|^\W*(?:(?:is|are|there|do|you|have) )*{_OF}\s*",
    re.IGNORECASE,
)

_WORDS_OF_SHOW_ZH = re.compile(
    r"^\W*(?:[请請]|麻[烦煩]|能不能|能否|可以|可不可以|我想|想|要|你|[帮幫给給让讓][我咱]|看一[看下]|看看|看|[显顯]示|展示|找出|找|搜索?"
    r"|[来來發发]我?|有没有|有沒有|有(?:什[么麼]|哪些)?|一下|所有|[一几幾两兩](?:些|[张張幅])|一[只隻条條头頭匹个個位辆輛座朵棵群])*(?:[张張幅])?"
    rf"(?P<what>.*?)的?(?:{_PICTURE_ZH}|[长長](?:什[么麼]|啥|怎[么麼])[样樣]|[长長]?是?(?:什[么麼]|啥)[样樣]子?的?)?(?:[吗嗎呢吧])?\W*$",
    re.DOTALL,
)
_LISTING = re.compile(
    r"\bhow (?:do|to|can|could|should|would|does|is|are)\b(?! (?:many|much|long|old|far|often|big)\b)"
    r"|\b(?:commands?|install(?:ing|ation)?|run|scripts?|code|snippets?|syntax|examples?|configur\w+|set ?up|usage)\b"
    r"|如何|怎[么麼](?![样樣了会會])|怎[样樣才]|命令|代[码碼]|指令|脚本|腳本|安[装裝]|[运運]行|配置|[设設][置定]|示例|用法|[语語]法|步[骤驟]|教程",
    re.IGNORECASE,
)
_SOURCES = re.compile(
    r"\b(?:cit(?:e[sd]?|ing|ations?)|references?|bibliograph\w*|doi|isbn|arxiv|papers?|articles?|authors?|publications?"
    r"|publish(?:ed|ers?)?|wrote)\b|文献|文獻|论文|論文|作者|引用|出版|[谁誰][写寫]|[发發]表",
    re.IGNORECASE,
)


_STEPS = re.compile(
    r"\bhow (?:do|to|can|could|should|would)\b(?! (?:many|much|long|old|far|often|big)\b)"
    r"|\bhow (?:is|are) (?!the\b.{0,30}\?$)|\bhow (?:does|do) .{1,40} go\W*$"
    r"|\bwhat (?:do|should|must|shall|can) (?:i|we|you|one|people|they) do\b|\bwhat to do\b|\bwas (?:ist zu tun|tun)\b"
    r"|\bwas (?:soll|muss|mach)\w* (?:ich|man|wir)\b(?: (?:tun|machen))?"
    r"|\bwhat (?:am|are) (?:i|we|you|people|they) (?:supposed|meant|expected|required) to do\b|\bwhat (?:now|next)\W*$"
    r"|\bstep(?:s| by step)\b|\binstructions?\b|\b(?:wie"
    r"|womit) (?:kann|könn\w+|soll\w*|mache?|muss|geht)\b"
    r"|如何|怎[么麼](?![样樣了会會])|怎[样樣才]|步[骤驟]|教程",
    re.IGNORECASE,
)
_LIST = re.compile(
    r"^\W*(?:please )?(?:list|name|enumerate|give me)\b(?: me)?(?: all| every| the)?"
    r"|\bwhich (?:of )?(?:the |my |our )?\w+(?<![su])s\b(?! (?:is|was|has)\b)"
    r"|\bwhich (?:[\w-]+ ){1,2}\w+(?<![su])s (?:are|were|have|do|did|can|need|must|should|will|may)\b"
    r"|\bwhat (?:do|does|should|must|shall|can|are|were) .{0,40}\b(?:bring|pack|need|buy|take|wear"
    r"|prepare|include|contain)\b"
    r"|\bwhat (?!kind|sort|type|colou?r)\w{3,}s (?:are|were|do|does|did|have|need)\b"
    r"|\bwhat(?:['’]s| is) (?:new|included|needed|left|missing|in)\b|\bwhat are (?:all |the )"
    r"|\bwho (?:are|were|all)\b|\ball (?:the )?\w+s\b"
    r"|哪些|列出|列一下|都有[什谁誰哪]|有什[么麼]|^\W*(?:liste|nenne|zähle)\b|\bwelche \w+(?:en|er|e|s)\b",
    re.IGNORECASE,
)
_SUMMARY = re.compile(
    r"\bsummar(?:y|i[sz]e\w*)\b|\boverview of\b|\bmain points\b|\bkey points\b|\bwhat (?:is"
    r"|was) .{1,80} about\W*$|\bgist of\b"
    r"|\bwhat(?:['’]s| is| does| do) (?:in |the )?(?:.{1,80} )?[\w-]+\.[a-z]{2,5}\b(?: (?:say|contain|about))?\W*$"
    r"|\bwas steht in\b"
    r"|(?:\.[a-z]{2,5}|文件|文档|报告|合同|通知|邮件|信|[记紀][录要]|纪要|手册)(?:里面?|中)?[都有写讲说了的是些]{0,4}什[么麼]"
    r"|\bzusammenfass\w*|\bfasse?\b.*\bzusammen\b|总结|總結|概括|摘要|概述|主要[内內]容|大意",
    re.IGNORECASE,
)


_SUMMARY_WORDS = re.compile(
    r"^\W*(?:(?:please|can you|could you|give me|write|make) )*(?:an? |the )?(?:short |brief )?"
    r"(?:summar\w+|overview|gist)(?: of)?(?: the)?"
    r"(?: (?:report|notes?|text|file|document|contents?) (?:of|on|about|from)"
    r"(?: the)?)?\s*"
    r"|^\W*what(?:['’]s| is) in (?:the )?|^\W*(?:bitte )?fasse? (?:bitte )?|\bzusammen\W*$"
    r"|^\W*[请請]?(?:[帮给][我]?)?(?:总结|總結|概括|概述)(?:一下)?",
    re.IGNORECASE,
)
_DOCUMENT = (
    r"(?:files?|documents?|pdfs?|spreadsheets?|sheets?|letters?|e-?mails?|mails?|presentations?|papers?|notes?|datei(?:en)?"
    r"|dokumente?|brief|tabelle|mail)"
)
_DOCUMENTS = re.compile(
    rf"\b(?:which|what|welche[rsnm]?) (?:(?!is|are|was|were|do|does|did)[\w-]+ )?{_DOCUMENT}\b"
    r"|\bwhere (?:is it (?:written|said)|does it say|can (?:i|we|one) (?:find|read|look)"
    r"|(?:do|did) (?:i|we) (?:write|note|save))\b"
    r"|\bwo (?:steht|finde|kann ich (?:finden|lesen))\b"
    r"|哪[个一]?[些份篇张封]?(?:文件|文档|资料|表格|邮件|信|表)|(?:在)?哪[里儿](?:写|记|有写|能查)",
    re.IGNORECASE,
)


def wants_documents(question: str) -> bool:
    """Return whether a question asks which file says something: *which file has the alarm code?*, 哪个文件."""
    return _DOCUMENTS.search(question) is not None


_WITHOUT = re.compile(
    r"\b(?:no|without(?: an?)?|lacks?|missing|ohne|kein\w*) (?P<of>[\w'’-]+)"
    r"|(?:没有|没|无|缺少?)(?P<zh>[^的吗呢？?]{1,8})",
    re.IGNORECASE,
)


def without(question: str) -> frozenset[str]:
    """Return the terms of what things shall lack: *qualification* in *which crew members have no qualification*."""
    match = _WITHOUT.search(question)
    return terms(match["of"] or match["zh"]) if match else frozenset()


def topic(question: str) -> str:
    """Return a question without the words that only ask for a summary; the rest is what to search for."""
    rest = _SUMMARY_WORDS.sub("", question).strip(" ?!.？。")
    return rest or question


def wants_steps(question: str) -> bool:
    """Return whether a question asks how something is done: *how do I*, *step by step*, 怎么."""
    return _STEPS.search(question) is not None


def wants_list(question: str) -> bool:
    """Return whether a question asks for all things of a kind: *list all*, *which plants*, *what should we bring*."""
    return _LIST.search(question) is not None


def wants_summary(question: str) -> bool:
    """Return whether a question asks for what a document says as a whole."""
    return _SUMMARY.search(question) is not None


def wants_listing(question: str) -> bool:
    """Return whether a question asks how something is done, or for a command or code: *how do I*, *which command*."""
    return _LISTING.search(question) is not None


def wants_pictures(question: str) -> bool:
    """Return whether a question asks for pictures: *show me*, *a photo of*, *what does it look like*, 给我看, ….的照片.

    帮我看看 with a question word after it (会议是哪天) asks for words.
    """
    if _SHOW.search(question) or _SHOW_ZH.search(question):
        return True
    see = _LET_SEE_ZH.search(question)
    return see is not None and not _QUESTION_WORD_ZH.search(question, see.end())


def subject(question: str) -> str:
    """Return a question without the words that only ask for a picture, such as *show me*; the rest is the query."""
    if (chinese := _WORDS_OF_SHOW_ZH.match(question)) and is_chinese(question):
        return chinese["what"] or question
    rest = _WORDS_OF_SHOW.sub("", question, count=1)
    return (rest.rstrip(" ?!.") if rest != question else rest.strip()) or question


_ATTRIBUTE = re.compile(
    r"\bwhat(?:['’]s| is| was| are| were) (?:the|his|her|its) (?:[\w'’-]+ ){0,2}(?P<of>[\w'’-]+)"
    r" (?:of|for|per|in|along|at|on)\b|\bhow many (?P<many>[\w'’-]+)",
    re.IGNORECASE,
)
_GENERIC = re.compile(
    r"(?:name|number|amount|year|date|day|month|type|kind|sort|part|term|word|thing|person|place|area|location|title"
    r"|meaning|reason|purpose|result|example|time|way)s?|people|other|one|some|main|role|many|of|called|used|known",
    re.IGNORECASE,
)


_ATTRIBUTE_ZH = re.compile(
    r"的(?P<of>[^的是在有，,、？?\s]{1,10})(?:都|分别)?(?:[是为為有叫]|等于|等於)(?:多少|什[么麼]|[几幾]|[谁誰]|哪)"
    r"|有(?:多少|[几幾])(?:[个個家所座名位棵株条條种種本台臺辆輛只隻张張间間件项項层層]|万|萬)?(?P<many>[^的是在有，,、？?\s\W]{1,8})"
)
_GENERIC_ZH = re.compile(
    r".*(?:名字|名称|名稱|全名|姓名|[数數]量|人[数數]|年份|日期|[时時][间間]|地[点點方]|[类類]型|[种種][类類]|部分|原因|目的|[结結]果|例子|意思|[含定][义義]"
    r"|作用|方法|方式|看法|[区區][别別]|[关關][系係]|特[点點征徵]|[结結][论論]|角色|影[响響]|名|人|者|[称稱]呼|[别別][称稱名]|[种種]|次|年|天|[个個]|部|章)[吗嗎呢]?"
)


def attribute(question: str) -> frozenset[str]:
    """Return the terms of what *what is the ... of* or *how many ...* asks for: GDP in *what is the GDP of Fresno*.

    The same for Fresno的GDP是多少 and Fresno有多少家医院. The set is empty if there is none, or if it is a general word
    such as *name*, which an answer need not repeat.
    """
    match, generic = _ATTRIBUTE.search(question), _GENERIC
    if match is None:
        match, generic = _ATTRIBUTE_ZH.search(question), _GENERIC_ZH
    word = match and (match["of"] or match["many"])
    return terms(word) if word and not generic.fullmatch(word) else frozenset()


def wants_sources(question: str) -> bool:
    """Return whether a question asks for entries of a bibliography: who published what, and when."""
    return _SOURCES.search(question) is not None


# --- Chinese ------------------------------------------------------------------------------------------------------

_HAN = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_FUNCTION_WORDS = re.compile(
    r"什[么麼]|[为為]什[么麼]|怎[么麼样樣]?[样樣办辦]?|如何|哪[里裡些个個儿兒年]?|[谁誰]|[几幾][点點个個年月]?|多[少大长長高远遠久快重]|[为為]何|何[时時处處]"
    r"|[时時]候|需要|可以|能够|能夠|应该|應該|[请請]|告[诉訴]|[还還]有|另外|那[么麼]?|[这這][个個些]?|[它他她][们們]?"
    r"|[位属屬处處至由关關对對][于於]|[来來]自|[称稱作成][为為]"
    r"|[的是了吗嗎呢吧啊在有和与與要会會能被把将將從从到对對于於之其及或而也都就以由用]"
)
_COMPOUNDS = re.compile(
    r"[首成]都|都市|土耳其|埃及|[共饱飽温溫总總]和|和平|[社机機协協国國][会會]|[会會][议議员員]|[相绝絕反][对對]|[对對][数數象称稱]"
    r"|存在|[功性可核智]能|能[量源力]|[使应應作信]用|用[户戶途]|自由|理由|[主重]要|有限|[参參]与|目的|[将將][军軍]|成就|[达達]到"
)
"""Chinese content words that contain a character of a function word: 首都, 土耳其."""


def is_chinese(question: str) -> bool:
    """Return whether a question contains Chinese or Japanese characters."""
    return _HAN.search(question) is not None


def chinese_content_words(question: str) -> list[str]:
    """Return the parts of a Chinese question between its question words, pronouns and other function words."""
    between = _COMPOUNDS.split(question)
    compounds = [*_COMPOUNDS.findall(question), ""]
    text = "".join(_FUNCTION_WORDS.sub(" ", part) + word for part, word in zip(between, compounds, strict=True))
    return [run for run in re.split(r"\W+", text) if run]


def content_words(question: str) -> frozenset[str]:
    """Return the terms of a question (``commonplace.text.terms``) without its Chinese function words."""
    return terms(" ".join(chinese_content_words(question)) if is_chinese(question) else question) or terms(question)
