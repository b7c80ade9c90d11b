"""The encoding of a text that does not say it: by what stands outside ASCII, however little that is.

chardetng, the detector of Firefox, names an encoding for each part of the world. Which of its answers is right is
decided by how likely the characters are that each one gives: by common characters of Chinese, Japanese and Korean,
and by the letters of languages with an alphabet. Where two readings are about as likely, both are named.
"""

from __future__ import annotations

import unicodedata
from functools import cache

from commonplace.readers.encodings import codec_of, decode_as
from commonplace.text import letters
from commonplace.text.folding import fold
from commonplace.text.language import script_of

__all__ = ["detect", "east_asian_utf16"]

_SAMPLE = 64 * 1024  # bytes of lines that are not ASCII
_SCANNED = 8 * 1024 * 1024  # bytes in which these lines are looked for
_SCORED = 3000  # characters whose likelihood is computed
_REGIONS = (b"cn", b"tw", b"jp", b"kr", b"ru", b"ua", b"pl", b"de", b"tr", b"lt")
_FAMILIES = (
    {"gb18030", "big5hkscs", "cp932", "euc-jp", "cp949"},
    {"windows-1250", "windows-1252", "windows-1254", "windows-1257", "iso-8859-2", "iso-8859-4"},
    {"windows-1251", "koi8-u", "koi8-r", "ibm866", "iso-8859-5", "x-mac-cyrillic"},
)
_DOUBT = 1.5
"""Two readings are doubtful where the likelihoods of a byte differ by less than this, over the root of their number."""
_DEFAULT_LEAD = (0.0, 0.3, 0.8, 0.8)  # what the detector's answer is worth in each family, per byte

_COMMON_HAN = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多"
    "经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性"
    "知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次"
    "度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务"
    "做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南"
    "品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运号码编价单位型备装置泵阀压温温度检查修理库存连接超"
    "时错误试验测量客户订货款账期付收支银行卡户名称地址姓电话邮箱日本語会社株式製品番号部門書類資料確認連絡先年度予算請求書見積納期"
    "東京大阪都道府県市町村区駅前店員料金無料使用方法注意事項説明取扱会議室時間場所参加者申込受付開始終了予定変更中止案内送信"
    "省县镇乡街路室楼层图表章节页版本系统文件夹数据网络用户密码登录注册服务器程序软件硬件接口参数配置安装更新删除添加修改查询"
    "报告项目工程设计施工质量安全生产材料技术标准合同公司部门经理职务工资奖金保险医疗健康教育培训学校学生老师课程考试成绩"
    "香港澳台湾英法俄韩印亚非欧洲岛群约旦乌克兰尼加拉坡泰缅越柬埔寨语文简繁体阿斯伊达维罗普鲁萨摩洛哥莫桑"
)
_COMMON_HANGUL = (
    "이다는의에가을고하지은로한를도어나사기있그리자서대아시으인만스들여게해라일정장보수부주전상성소니면원구조무신마동세제유안거내"
    "과오비공국교연화우분위생요관경치선식용물중모미저실간방려었던까와년적말발음단계반재업체립학운결터력문권산진명민품행등할될"
    "없않같때습합점검압격설매달볼트십월회사드티렇러래크트프키카타파바노누느두부더머버퍼저처커허혀져쳐셔니늘날낮밤"
)
_EAST_ASIAN = 1  # the number of this family
_ALL_COMMON = -2.6
_COSTS = (5.0, 7.5, 10.5)
_SYMBOLS = frozenset(
    "“”‘’„‚«»‹›–—…•·°§©®™€£¥×±½¼¾²³¿¡´¨ªº№、。，．・：；？！「」『』（）【】《》～〜‐／　・ー％＋－＝①②③④⑤"
)


def detect(data: bytes) -> tuple[str, str | None]:
    """Return the codec of ``data``, which is not UTF-8, and another one that is about as likely, or None."""
    from chardetng_py import EncodingDetector

    wide = east_asian_utf16(data[:_SAMPLE])
    if wide is not None:
        return wide, None
    sample = _telling_lines(data)
    detector = EncodingDetector()
    detector.feed(sample, last=True)
    default = _codec(detector.guess(tld=None, allow_utf8=False))
    family = _family(default)
    readings: dict[str, tuple[str, float]] = {}  # text -> codec, likelihood
    for codec in dict.fromkeys([default, *(_codec(detector.guess(tld=tld, allow_utf8=False)) for tld in _REGIONS)]):
        text, invalid = decode_as(sample, codec) or ("", 1)
        if text in readings or (invalid and codec != default):
            continue
        likelihood = _likelihood(text[:_SCORED]) - invalid
        if codec == default:
            readings[text] = codec, likelihood + _DEFAULT_LEAD[family]
        elif family and _family(codec) == family:
            readings[text] = codec, likelihood
        elif _family(codec) == _EAST_ASIAN and likelihood > _ALL_COMMON and sum(map("\u3000".__lt__, text)) > 1:
            return codec, default  # a word of common characters, too short for the detector
    ranked = sorted(readings.values(), key=lambda reading: -reading[1])
    size = sum(byte > 0x7F for byte in sample[:_SCORED])
    if len(ranked) > 1 and ranked[0][1] - ranked[1][1] < _DOUBT / max(1, size) ** 0.5:
        return ranked[0][0], ranked[1][0]
    return ranked[0][0], None


def east_asian_utf16(data: bytes) -> str | None:
    """Return the byte order of UTF-16 without a mark, by common characters of Chinese, Japanese or Korean."""
    if len(data) % 2:
        return None
    return next((codec for codec in ("utf-16-le", "utf-16-be") if _is_east_asian(data.decode(codec, "replace"))), None)


def _codec(name: str) -> str:
    return codec_of(name) or "windows-1252"


def _family(codec: str) -> int:
    """Return the number of the encodings among which languages decide; 0 where the detector alone does."""
    return next((number for number, codecs in enumerate(_FAMILIES, start=1) if codec.lower() in codecs), 0)


def _is_east_asian(text: str) -> bool:
    """Return whether most of a text are common characters of Chinese, Japanese or Korean."""
    common = wide = 0
    for character in text[:_SCORED]:
        if character >= "\x80":
            wide += 1
            common += "\u3000" <= character <= "\u30ff" or _folded(character) in _common() or character in _SYMBOLS
        elif character < " " and character not in "\t\r\n":
            return False
    return wide >= 4 and common >= 0.6 * wide


def _telling_lines(data: bytes) -> bytes:
    """Return the lines that are not ASCII, as many as a sample holds."""
    lines: list[bytes] = []
    room = _SAMPLE
    for line in data[:_SCANNED].split(b"\n"):
        if not line.isascii():
            lines.append(line[:_SAMPLE])
            room -= len(line)
            if room < 0:
                break
    return b"\n".join(lines) or data[:_SAMPLE]


def _likelihood(text: str) -> float:
    """Return the mean log-probability of a byte outside ASCII, if it stands for ``text``."""
    total, size = 0.0, 0
    positions: dict[str, list[int]] = {}
    for index, character in enumerate(text):
        if character <= "\x7f":
            if character < " " and character not in "\t\n\r\f":
                total, size = total - 12, size + 1
            continue
        before, after = text[index - 1 : index], text[index + 1 : index + 2]
        script = script_of(character) or ""
        if script in ("Hani", "Kore", "Jpan"):
            is_inside = before.isascii() and before.islower() and after.isascii() and after.islower()
            size += 2
            if "\uff66" <= character <= "\uff9f":  # half-width kana take one byte
                total, size = total - 6.5, size - 1
            elif script == "Jpan":
                total -= 4.4
            else:
                total -= _COSTS[_rarity(character)]
            total -= 8 if is_inside else 0
        elif script in letters.WORDS and script != "Deva":
            positions.setdefault(script, []).append(index)
            size += 1
            total += _shape(character, before, after, script)
        elif character.isalpha():  # Greek, Hebrew, Thai and others
            is_inside = character == "ς" and after.isalpha()  # it only ends a word
            total, size = total - 3.3 - (5 if is_inside else 0), size + 1
            total += _shape(character, before, after, script)
        elif unicodedata.category(character) in ("Mn", "Mc"):
            total, size = total - 3.5, size + 1
        else:
            kind = unicodedata.category(character)
            cost = 3.5 if character in _SYMBOLS else 12 if kind[0] == "C" else 7.5
            cost += 4 if before.isalpha() and after.isalpha() and character not in "’´·" else 0
            wide = 2 if character >= "\u2e80" else 1
            total, size = total - cost * wide, size + wide
    for places in positions.values():
        total += len(places) * letters.plausibility(text, places)
    return total / max(1, size)


def _shape(character: str, before: str, after: str, script: str) -> float:
    """Return what a letter loses for its neighbours: a capital inside a word, or a word in two scripts."""
    cost = 0.0
    if character.isupper() and before.islower():
        cost += 5
    if script != "Latn" and any(side.isascii() and side.isalpha() for side in (before, after)):
        cost += 5
    return -cost


@cache
def _common() -> frozenset[str]:
    return frozenset(fold(_COMMON_HAN)) | frozenset(_COMMON_HANGUL)


@cache
def _rarity(character: str) -> int:
    """Return 0 for the commonest Chinese characters and Korean syllables, 1 for common ones, 2 for the others."""
    folded = _folded(character)
    if folded in _common():
        return 0
    try:
        return 1 if 0xB0 <= folded.encode("gb2312")[0] <= 0xD7 else 2  # the first level of the standard
    except UnicodeEncodeError:
        return 2


@cache
def _folded(character: str) -> str:
    return fold(character)
