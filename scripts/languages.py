"""Make ``src/commonplace/text/languages.npz``, the table by which ``commonplace.text.language`` tells languages apart.

    python scripts/languages.py          # fetches langdetect's source archive (1 MB) through pip; seconds

The table holds how frequent pairs and triples of letters are in each language. The frequencies are those of
langdetect 1.0.9 (Apache-2.0, after Cybozu Labs' language-detection), which were counted in Wikipedia.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np

ARCHIVE = "langdetect-1.0.9.tar.gz"
SHA256 = "cbc1fef89f8d062739774bd51eda3da3274006b3661d199c2655f6b3f6d605a0"
TARGET = Path(__file__).parent.parent / "src" / "commonplace" / "text" / "languages.npz"
LANGUAGES = (  # noqa: SIM905
    "af ca cs cy da de en es et fi fr hr hu id it lt lv nl no pl pt ro sk sl so sq sv sw tl tr vi "  # Latin
    "ru uk bg mk ar fa ur hi mr ne"  # Cyrillic, Arabic, Devanagari
).split()
MOST = 500  # pairs, and as many triples, of each language
FLOOR = 1e-5  # the least probability, which is also that of all other pairs and triples
STEP = 20  # log-probabilities are stored in steps of 1 / STEP


def counts(profiles: Path, language: str) -> dict[int, Counter[str]]:
    """Return how often each pair and each triple of letters occurs in a language; a space stands for a word's end."""
    by_size: dict[int, Counter[str]] = {2: Counter(), 3: Counter()}
    for gram, count in json.loads((profiles / language).read_text(encoding="utf-8"))["freq"].items():
        lower = gram.lower()  # "İ" becomes two characters
        if len(gram) == len(lower) in by_size and all(c == " " or unicodedata.category(c)[0] in "LM" for c in lower):
            by_size[len(lower)][lower] += count
    return by_size


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "-d", folder]
        subprocess.run([*command, "langdetect==1.0.9"], check=True, stdout=subprocess.DEVNULL)
        archive = Path(folder) / ARCHIVE
        if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
            sys.exit(f"{ARCHIVE} is not the file that was checked")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        profiles = Path(folder) / "langdetect-1.0.9" / "langdetect" / "profiles"
        by_language = {language: counts(profiles, language) for language in LANGUAGES}
    grams = sorted(
        {gram for by_size in by_language.values() for c in by_size.values() for gram, _ in c.most_common(MOST)}
    )
    table = np.empty((len(grams), len(LANGUAGES)))
    typical = np.zeros(len(LANGUAGES))
    for column, by_size in enumerate(by_language.values()):
        total = {size: sum(counter.values()) for size, counter in by_size.items()}
        shares = [by_size[len(gram)][gram] / total[len(gram)] for gram in grams]
        table[:, column] = np.log(np.maximum(shares, FLOOR))
        covered = sum(shares)  # of pairs and triples together, so at most 2
        typical[column] = (np.dot(shares, table[:, column]) + (2 - covered) * np.log(FLOOR)) / 2
    np.savez_compressed(
        TARGET,
        languages=np.array(LANGUAGES),
        grams=np.array([gram.ljust(3, "\0") for gram in grams]).view(np.uint32).reshape(-1, 3).astype(np.uint16),
        table=np.minimum(np.round(-table * STEP), 255).astype(np.uint8),
        typical=typical.astype(np.float32),
    )


if __name__ == "__main__":
    main()
