"""Estimates the calibration of a model that was not measured on labelled data.

A cosine of .3 may mean "unrelated" in one model and "related" in another. A bundle that was measured on labelled data
holds its own calibration. For any other model it is estimated once, when it is pulled. The scores of related and
unrelated texts come from the pairs below, those of unrelated pictures from drawn ones. A collection with pictures
replaces the latter by its own (``commonplace.retrieval.background``). Estimates are marked, and notes explain them.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders.base import BaseModel, unit
from commonplace.encoders.bundle import DEFAULT_BUNDLE, Bundle
from commonplace.errors import ModelError
from commonplace.i18n import _

__all__ = ["BANK", "describe", "drawn", "line", "moments", "query_shortness", "spread"]

BANK = "neutral.npz"
ENOUGH = 0.5  # a language is supported if at least this share of its questions finds its own passage
RELATED = 3.3
"""The assumed mean of related pairs, in standard deviations above unrelated pairs, if no related pairs are available.
It lies between the 3 of the shipped model's texts and pictures and the 5 of larger towers."""
PRIOR_LINE = (-4.0, 11 / 6)
"""Intercept and slope of log-odds over z-scores: typical values of the channels that were measured."""
PRIOR_WEIGHT = 20.0  # the prior line has the weight of so many pairs

Floats = NDArray[np.float64]

PAIRS = {
    "en": [
        ("How often should tyres be rotated?", "Swap the wheels from front to back every ten thousand kilometres."),
        ("What does photosynthesis need?", "Green leaves turn light, water and carbon dioxide into sugar and oxygen."),
        ("Who signed the lease?", "The rental agreement was signed by the tenant, Mr Okafor, on the first of May."),
        ("Why is the sky blue?", "Air scatters short waves of sunlight more than long ones, so we see blue overhead."),
        ("When does the museum open?", "Visitors are admitted from ten in the morning; the galleries close at six."),
        ("How do I reset my password?", "Choose 'forgotten' on the login page and follow the link in the mail."),
        ("What causes rust?", "Iron reacts with oxygen in the presence of moisture and turns into a brown oxide."),
        (
            "Where do penguins breed?",
            "Colonies of these flightless birds nest on the ice and rocky coasts of the far south.",
        ),
        ("How is bread leavened?", "Yeast feeds on the dough's sugar and gives off gas, which makes the loaf rise."),
        ("What is the refund policy?", "Goods may be sent back within thirty days; the price is paid back in full."),
        ("Which organ makes insulin?", "The pancreas releases the hormone that lets cells take up glucose."),
        ("How long is a marathon?", "Runners cover a little over forty-two kilometres in this race."),
        ("What was the verdict?", "The jury found the defendant not guilty on all three counts."),
        ("How do bees communicate?", "A forager dances on the comb to show the others the way to the flowers."),
        ("What is the boiling point of water?", "At sea level it turns to steam at a hundred degrees Celsius."),
        ("Why did sales fall last quarter?", "Turnover dropped by eight percent because two large customers left."),
        (
            "How is an earthquake measured?",
            "Seismographs record the waves; their size is given on a logarithmic scale.",
        ),
        ("Who painted the chapel ceiling?", "The frescoes above the nave were done by Michelangelo over four years."),
        ("What instrument has 88 keys?", "A full-sized piano has fifty-two white and thirty-six black ones."),
        ("How do I descale a kettle?", "Fill it with diluted vinegar, boil it, and rinse it twice."),
        ("What is the speed limit in town?", "Within built-up areas cars must not go faster than fifty."),
        ("How does a vaccine work?", "It shows the immune system a harmless part of a germ, which it then remembers."),
        ("Where is the data stored?", "All records are kept in a database on two servers in the cellar."),
        ("What do pandas eat?", "The black-and-white bears live almost wholly on bamboo."),
        ("When was the bridge built?", "Work on the river crossing began in 1887 and ended four years later."),
        ("How tall is the tower?", "From the ground to the tip of the mast it measures three hundred metres."),
        ("Which crops grow in dry soil?", "Millet and sorghum need little water and stand long droughts."),
        ("What is the tenant's notice period?", "Either side may end the contract with three months' warning."),
        ("How are pearls formed?", "An oyster coats a grain that got into its shell with layer upon layer of nacre."),
        ("Why do leaves turn red?", "In autumn the green pigment breaks down and other colours show through."),
    ],
    "zh": [
        ("轮胎多久换一次位?", "每行驶一万公里,应将前后轮胎对调。"),
        ("光合作用需要什么?", "绿叶利用阳光、水和二氧化碳制造糖和氧气。"),
        ("博物馆几点开门?", "参观者上午十点入场,展厅下午六点关闭。"),
        ("怎样重设密码?", "在登录页面选择忘记密码,然后点击邮件中的链接。"),
        ("铁为什么会生锈?", "铁在潮湿的环境中与氧气反应,生成褐色的氧化物。"),
        ("退货政策是什么?", "商品可在三十天内退回,货款全额返还。"),
        ("哪个器官分泌胰岛素?", "胰腺释放使细胞吸收葡萄糖的激素。"),
        ("马拉松有多长?", "选手要跑四十二公里多一点。"),
        ("蜜蜂怎样交流?", "采蜜的工蜂在巢上跳舞,告诉同伴花在哪里。"),
        ("上季度销售额为什么下降?", "由于两个大客户离开,营业额减少了百分之八。"),
        ("大熊猫吃什么?", "这种黑白相间的熊几乎只以竹子为食。"),
        ("这座桥是什么时候建的?", "跨江工程一八八七年动工,四年后完成。"),
        ("疫苗怎样起作用?", "它让免疫系统认识病菌无害的一部分并记住它。"),
        ("地震怎样测量?", "地震仪记录地震波,强度用对数刻度表示。"),
        ("租约提前多久通知?", "任何一方提前三个月告知即可终止合同。"),
        ("树叶秋天为什么变红?", "秋天绿色素分解,其他颜色显露出来。"),
    ],
}
THINGS = [
    "a dog on a lawn", "a red car in a street", "a plate of food", "a woman with an umbrella",
    "two children on a beach", "a snowy mountain", "a boat on a lake", "a cat on a sofa", "a crowd at a concert",
    "a man riding a bicycle", "a bunch of flowers", "a bird on a branch", "an old church", "a city at night",
    "a train in a station", "a table with books", "a kitchen", "a football match", "a horse in a field",
    "a cup of coffee", "an aeroplane in the sky", "a bridge over a river", "a market stall with fruit",
    "a chart with bars", "a map", "a page of printed text", "a screenshot of a program", "a portrait of an old man",
    "a baby asleep", "a waterfall in a forest", "a desert under a blue sky", "a pair of shoes", "a wristwatch",
    "a dress on a hanger", "a machine in a factory", "a circuit board", "a diagram with arrows",
    "a hand holding a phone", "a glass of wine", "a birthday cake", "a bus at a stop", "a tall building",
    "a garden with a path", "sheep on a hill", "an elephant by the water", "a fish under water",
    "a butterfly on a leaf", "a painting", "a statue in a park", "a bathroom", "a bed with pillows",
    "a street sign", "people at a meeting", "a doctor with a patient", "a skier on a slope", "a surfer on a wave",
    "a tennis player", "a guitar player on a stage", "a fire at night", "clouds at sunset",
]  # fmt: skip


WORDS = {
    "en": "house tree river bird apple chair road king stone bread horse lamp shirt ship flower city knife bridge "
    "window cloud key bottle mountain wheel school garden paper island doctor farmer engine market time idea money "
    "reason history music law health energy price test plan language science safety design travel weather number "
    "method policy risk fear love power report team memory peace trade growth order summary",
    "zh": "房子 树 河流 鸟 苹果 椅子 道路 国王 石头 面包 马 灯 衬衫 船 花 城市 桥 窗户 云 钥匙 瓶子 山 学校 花园 "
    "时间 想法 金钱 原因 历史 音乐 法律 健康 能源 价格 计划 语言 科学 安全 设计 旅行 天气 方法 政策 风险 报告 "
    "团队 和平 贸易",
}  # things and ideas of many subjects
SHARED = 0.5
"""The least mean cosine of whole questions with their common direction at which a model's texts share one. It is .36 in
the shipped model, .64 in multilingual-e5."""
BRIEF = 0.2
"""The least mean cosine of single words with their common direction: below it, shortness has little effect."""


def query_shortness(bundle: BaseModel) -> list[float] | None:
    """Return the common direction of single words, a unit vector (dim,): ``query_shortness`` of ``bundle.json``.

    It is the mean over the languages that the text tower supports. If whole questions have a common direction, too, it
    is orthogonal to that: what all texts of a model share is not shortness. Return None without a text tower, or if
    single words have no such direction.
    """
    if bundle.text is None:
        return None
    means = []
    for code in _pairs(bundle)[2] or ["en"]:
        mean = bundle.text.encode(WORDS[code].split(), "query").mean(axis=0)
        shared = bundle.text.encode([question for question, _ in PAIRS[code]], "query").mean(axis=0)
        if np.linalg.norm(shared) >= SHARED:
            mean = mean - (mean @ unit(shared)) * unit(shared)
        length = float(np.linalg.norm(mean))  # also the words' mean cosine with it
        if length >= BRIEF:
            means.append(mean / length)
    if not means:
        return None
    common = np.mean(means, axis=0)
    direction: list[float] = np.round(common / np.linalg.norm(common), 5).tolist()
    return direction


def _is_constant(vectors: NDArray[np.float32]) -> bool:
    """Return whether all rows (n, dim) are equal, so that all scores are equal."""
    return bool((np.ptp(vectors, axis=0) < 1e-6).all())


def describe(bundle: BaseModel) -> tuple[dict[str, Any], dict[str, NDArray[np.float16]]]:
    """Return estimated entries of ``bundle.json``, and the arrays for the file BANK.

    The entries are ``score_stats``, ``calibration``, ``query_shortness`` and ``notes``. Raises ModelError if a tower
    encodes everything as one vector.
    """
    shipped = Bundle(DEFAULT_BUNDLE).spec["calibration"]
    # The lexical statistics, and the way lexical and dense evidence are combined, do not depend on the towers.
    evidence: dict[str, Any] = {name: shipped[name] for name in ("joint", "match_density", "expected_relevant")}
    evidence["curves"] = {"lexical": shipped["curves"]["lexical"]}
    notes = []
    background: dict[str, Any] = {}
    arrays: dict[str, NDArray[np.float16]] = {}
    texts: NDArray[np.float32] | None = None
    if (tower := bundle.text) is not None:
        queries, read, languages = _pairs(bundle)
        if not languages:
            notes.append(_("its text tower does not separate related from unrelated texts: its scores mean little"))
            languages = ["en"]
        questions = np.concatenate([queries[language] for language in languages])
        texts = np.concatenate([read[language] for language in languages])
        related = np.concatenate([(queries[language] * read[language]).sum(axis=1) for language in languages]).astype(
            np.float64
        )
        if _is_constant(texts):
            raise ModelError(
                _("the text encoder of {name} returns one vector for all texts: correct it").format(name=bundle.name)
            )
        # Texts in different languages are unrelated too, but their scores are distributed differently.
        other = np.concatenate([_unequal(queries[language] @ read[language].T) for language in languages])
        background["text->text"] = spread(other) | {"related": moments(related)}
        low, per = line((related - other.mean()) / other.std(), (other - other.mean()) / other.std())
        evidence["curves"]["text->text"] = {"at": [0.0, 6.0], "log_odds": [round(low, 3), round(low + 6 * per, 3)]}
        arrays["questions"] = questions.astype(np.float16)
        arrays["texts"] = texts.astype(np.float16)
        arrays["image"] = tower.encode(THINGS, "query").astype(np.float16)
    if (image := bundle.image) is not None:
        shown = image.encode(drawn())
        if _is_constant(shown):
            raise ModelError(
                _("the image encoder of {name} returns one vector for all pictures: correct it").format(
                    name=bundle.name
                )
            )
        visual = bundle.encoders["visual"].encode(drawn()) if "visual" in bundle.encoders else shown
        background["image->image"] = estimated(_unequal(visual @ visual.T))
        if texts is not None:
            background["text->image"] = estimated((arrays["image"].astype(np.float32) @ shown.T).ravel())
            background["image->text"] = estimated((shown @ texts.T).ravel())
    notes.append(
        _(
            "confidences are estimates: this model was not measured on labelled data (`commonplace tune` learns "
            "from yours)"
        )
    )
    # Channels without a tower are never searched. Their placeholders are never used.
    for channel in ("text->text", "text->image", "image->text", "image->image"):
        background.setdefault(channel, estimated(np.array([0.0, 0.2])))
    common = query_shortness(bundle)
    brief = {} if common is None else {"query_shortness": common}
    return {"score_stats": background, "calibration": evidence, "notes": notes, **brief}, arrays


def estimated(cosines: NDArray[Any]) -> dict[str, Any]:
    """Return the score statistics of a channel from ``cosines`` of unrelated pairs; those of related pairs are assumed.

    See RELATED.
    """
    statistics = spread(cosines)
    mean, std = statistics["unrelated"]["mean"], statistics["unrelated"]["std"]
    related = {"mean": round(mean + RELATED * std, 4), "std": round(std, 4)}
    return {**statistics, "related": related, "estimated": True}


def _pairs(bundle: BaseModel) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]], list[str]]:
    """Return the vectors of questions and of passages by language, and the languages that the tower supports.

    In a supported language, at least half of the questions find their own passage.
    """
    tower = bundle.text
    assert tower is not None
    queries = {code: tower.encode([question for question, _ in pairs], "query") for code, pairs in PAIRS.items()}
    read = {code: tower.encode([passage for _, passage in pairs]) for code, pairs in PAIRS.items()}
    readable = []
    for code, pairs in PAIRS.items():
        hits = (queries[code] @ read[code].T).argmax(axis=1) == np.arange(len(pairs))
        unknown = np.mean([tower.unknown_share(passage) for _, passage in pairs])
        if hits.mean() >= ENOUGH and unknown <= 0.2:
            readable.append(code)
    return queries, read, readable


def line(related: Floats, unrelated: Floats) -> tuple[float, float]:
    """Return intercept and slope of the log-likelihood ratio of "related", from z-scores (n,), (m,) of both classes.

    It is a logistic regression with equal weight of the classes, and a prior line with the weight of PRIOR_WEIGHT
    pairs. The slope is never negative.
    """
    from math import sqrt

    x = np.concatenate([related, unrelated])
    y = np.concatenate([np.ones(len(related)), np.zeros(len(unrelated))])
    weight = np.concatenate([np.full(len(related), 1.0), np.full(len(unrelated), len(related) / len(unrelated))])
    # The prior is added as data: points along the line, weighted by the probability that the line gives them.
    at = np.linspace(-1, 7, 17)
    p = 1 / (1 + np.exp(-(PRIOR_LINE[0] + PRIOR_LINE[1] * at)))
    x, y = np.concatenate([x, at, at]), np.concatenate([y, np.ones(17), np.zeros(17)])
    weight = np.concatenate([weight, p * PRIOR_WEIGHT / 17, (1 - p) * PRIOR_WEIGHT / 17])
    weights = np.array(PRIOR_LINE)
    design = np.stack([np.ones_like(x), x], axis=1)
    for _step in range(50):  # Newton's method
        p = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (weight * (y - p))
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        weights = weights + step * min(1.0, 2 / max(sqrt(float(step @ step)), 1e-9))
        if np.abs(step).max() < 1e-8:
            break
    return float(weights[0]), max(float(weights[1]), 0.05)


def _unequal(scores: NDArray[Any]) -> Floats:
    """Return the off-diagonal elements of a square matrix, shape (n * (n - 1),)."""
    return np.asarray(scores[~np.eye(len(scores), dtype=bool)], np.float64)


def moments(values: NDArray[Any]) -> dict[str, float]:
    """Return the mean and the standard deviation (at least .0001) of ``values``."""
    return {"mean": round(float(values.mean()), 4), "std": round(max(float(values.std()), 1e-4), 4)}


def spread(values: NDArray[Any]) -> dict[str, Any]:
    """Return the statistics of unrelated pairs: mean, standard deviation and 99% quantile of ``values``."""
    return {"unrelated": moments(values) | {"quantiles": {"0.99": round(float(np.quantile(values, 0.99)), 4)}}}


def drawn(count: int = 24) -> list[NDArray[np.uint8]]:
    """Return ``count`` drawn pictures (64, 64, 3), uint8: noise with the spectrum of photographs, shapes, stripes."""
    draw = np.random.default_rng(0)
    pictures = []
    y, x = np.mgrid[:64, :64] / 64.0
    waves = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])
    for n in range(count):
        kind = n % 3
        if kind == 0:  # the spectrum of photographs falls with the frequency (Field 1987)
            noise = np.fft.fft2(draw.normal(size=(3, 64, 64))) / np.maximum(waves, 1 / 64)
            plane = np.real(np.fft.ifft2(noise)).transpose(1, 2, 0)
        elif kind == 1:
            inside = (np.hypot(x - draw.uniform(0.3, 0.7), y - draw.uniform(0.3, 0.7)) < draw.uniform(0.15, 0.4))[
                ..., None
            ]
            plane = np.where(inside, draw.normal(size=3), draw.normal(size=3))
        else:
            stripes = np.sin(draw.uniform(5, 40) * (x * draw.normal() + y * draw.normal()))[..., None]
            plane = stripes * draw.normal(size=3) + draw.normal(size=3)
        low, high = plane.min(), plane.max()
        pictures.append(((plane - low) / max(high - low, 1e-9) * 255).astype(np.uint8))
    return pictures


def write(bundle: Bundle) -> Bundle:
    """Write the estimated calibration into a bundle that has none, and return the bundle loaded again."""
    from commonplace.encoders.bundle import sha256

    described, arrays = describe(bundle)
    spec = dict(bundle.spec)
    np.savez(bundle.folder / BANK, **arrays)  # type: ignore[arg-type]
    spec |= {**described, "notes": [*spec.get("notes", []), *described["notes"]], "neutral": BANK}
    spec["checksums"] = {**spec["checksums"], BANK: sha256(bundle.folder / BANK)}
    (bundle.folder / "bundle.json").write_text(json.dumps(spec, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Bundle(bundle.folder)
