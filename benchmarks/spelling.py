"""Which share of questions finds its paragraph by words alone (BM25), in several languages and in Chinese written in several ways.

    python benchmarks/spelling.py [--dev]

XQuAD: 240 paragraphs in each language; odd ones are test, even ones dev. OpenCC writes traditional characters: ``s2tw`` those of
Taiwan, ``s2hk`` those of Hong Kong. *Broken*: a line end after every 17 characters of the paragraph.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import time
from collections.abc import Callable

from common import data, interval, keep, machine, table
from commonplace.store.schema import LEXICON
from commonplace.text import index_words, query_words

KS = (1, 5, 10)


def as_is(text: str) -> str:
    return text


def broken(text: str) -> str:
    return "\n".join(text[n : n + 17] for n in range(0, len(text), 17))


def ranks(
    language: str, half: int, of_text: Callable[[str], str], of_question: Callable[[str], str]
) -> list[int | None]:
    """Return the rank (from 0) of the right paragraph for each question, None where it is not among the first ten."""
    articles = json.loads((data("xquad") / f"xquad.{language}.json").read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    database = sqlite3.connect(":memory:")
    database.execute(LEXICON.format("lexicon"))
    rows = ((n, index_words(of_text(paragraph["context"]))) for n, paragraph in enumerate(paragraphs))
    database.executemany("INSERT INTO lexicon (rowid, words) VALUES (?, ?)", rows)
    places: list[int | None] = []
    for n, paragraph in enumerate(paragraphs):
        for entry in paragraph["qas"] if n % 2 == half else []:
            expression = " OR ".join(query_words(of_question(entry["question"])))
            statement = "SELECT rowid FROM lexicon WHERE lexicon MATCH ? ORDER BY bm25(lexicon), rowid LIMIT 10"
            keys = [key for (key,) in database.execute(statement, (expression,))] if expression else []
            places.append(keys.index(n) if n in keys else None)
    return places


def speed(language: str) -> float:
    """Return how many million characters a second become words of the index, by processor time."""
    articles = json.loads((data("xquad") / f"xquad.{language}.json").read_text(encoding="utf-8"))["data"]
    texts = [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]
    best = float("inf")
    for _ in range(5):
        database = sqlite3.connect(":memory:")
        database.execute(LEXICON.format("lexicon"))
        begin = time.process_time()
        database.executemany("INSERT INTO lexicon (words) VALUES (?)", ((index_words(text),) for text in texts))
        best = min(best, time.process_time() - begin)
    return sum(map(len, texts)) / best / 1e6


def main() -> None:
    """Measure, print and keep the table."""
    from opencc import OpenCC

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="the even paragraphs; nothing is kept")
    dev = parser.parse_args().dev
    taiwan, hong_kong = OpenCC("s2tw").convert, OpenCC("s2hk").convert
    ways: dict[str, tuple[str, Callable[[str], str], Callable[[str], str]]] = {
        **{f"{language}": (language, as_is, as_is) for language in ("en", "de", "es", "ru", "ar", "zh")},
        "zh, question as in Taiwan": ("zh", as_is, taiwan),
        "zh, question as in Hong Kong": ("zh", as_is, hong_kong),
        "zh, paragraph as in Taiwan": ("zh", taiwan, as_is),
        "zh, paragraph broken": ("zh", broken, as_is),
    }
    rows, values = [], {}
    for name, (language, of_text, of_question) in ways.items():
        places = ranks(language, 0 if dev else 1, of_text, of_question)
        values[name] = [interval([100 * float(rank is not None and rank < k) for rank in places]) for k in KS]
        rows.append([name, *(f"{mean:.1f} ({low:.1f} to {high:.1f})" for mean, low, high in values[name])])
    speeds = {language: speed(language) for language in ("en", "zh")}
    text = (
        f"Measured on {machine()}. XQuAD {'dev' if dev else 'test'}, {len(places)} questions; means with 95% bootstrap intervals.\n\n"
        f"{table(['words alone', *(f'R@{k}' for k in KS)], rows)}\n\n"
        f"Indexed a second, one thread: {speeds['en']:.1f} million characters of English, {speeds['zh']:.2f} of Chinese."
    )
    if dev:
        print(text)
    else:
        keep("spelling", text, {"recall": values, "speed": speeds})


if __name__ == "__main__":
    main()
