"""Renews the catalogues in src/commonplace/locale from the messages in the sources, and compiles them.

New messages get an empty translation, and messages that are gone are removed; nothing is guessed. Run it again after
translating. It ends with status 1 while a translation is missing.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

SOURCE = Path(__file__).parent.parent / "src" / "commonplace"
KEYWORDS = {"_": None, "N_": None, "ngettext": (1, 2)}  # as commonplace.i18n defines them
LANGUAGES = ("zh",)


def extracted() -> Catalog:
    """Return the messages of the sources, each with the files that have it."""
    catalog = Catalog(project="commonplace", charset="utf-8")
    for name, line, message, _comments, _context in sorted(
        extract_from_dir(SOURCE, [("**.py", "python")], {}, KEYWORDS), key=lambda found: (found[0], found[1])
    ):
        catalog.add(message, locations=[(name, line)])
    return catalog


def catalogue(language: str) -> Path:
    """Return the path of a language's catalogue."""
    return SOURCE / "locale" / language / "LC_MESSAGES" / "commonplace.po"


def read(path: Path) -> Catalog:
    """Return the catalogue in a .po file."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parts[-3], abort_invalid=True)


def compiled(catalog: Catalog) -> bytes:
    """Return the content of the .mo file of a catalogue."""
    file = BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def written(catalog: Catalog) -> bytes:
    """Return the content of the .po file of a catalogue. It names no lines: they change with every commit."""
    file = BytesIO()
    write_po(file, catalog, width=120, include_lineno=False, ignore_obsolete=True)
    return file.getvalue()


def main() -> int:
    """Renew all catalogues."""
    missing = 0
    for language in LANGUAGES:
        path = catalogue(language)
        catalog = read(path)
        catalog.update(extracted(), no_fuzzy_matching=True, update_header_comment=False, update_creation_date=False)
        path.write_bytes(written(catalog))
        path.with_suffix(".mo").write_bytes(compiled(catalog))
        strings = [message.string for message in catalog if message.id]
        empty = [string for string in strings if not all(string if isinstance(string, tuple) else (string,))]
        missing += len(empty)
        report = f"{path.relative_to(SOURCE)}: {len(strings)} messages, {len(empty)} without a translation\n"
        sys.stdout.write(report)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
