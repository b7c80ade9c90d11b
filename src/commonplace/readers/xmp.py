"""XMP sidecars: what a photograph program notes beside a photograph (XMP specification, part 3, section 1.2)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.paths import is_inside
from commonplace.readers.formats import read_whole, sidecars_of
from commonplace.readers.metadata import parse_date
from commonplace.readers.parts import File

__all__ = ["read_sidecars"]

_MAX_BYTES = 1024**2
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_XMP = "{http://ns.adobe.com/xap/1.0/}"
_PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
_EXIF = "{http://ns.adobe.com/exif/1.0/}"
_DATES = (f"{_EXIF}DateTimeOriginal", f"{_PHOTOSHOP}DateCreated", f"{_XMP}CreateDate")
_DEFAULT = "x-default"  # the language of a text that has no other


def read_sidecars(file: File) -> str | None:
    """Add what the sidecars of a photograph say to its metadata; return its title and description, None without.

    A date or an author there goes before those in the photograph: somebody corrected them.
    """
    if file.depth:
        return None
    notes: list[str] = []
    for name in sidecars_of(file.path.name):
        path = file.path.with_name(name)
        file.watch(path)
        if not path.is_file() or not is_inside(os.path.realpath(path), os.path.realpath(file.root)):
            continue
        try:
            properties = _properties(read_whole(path, _MAX_BYTES))
        except ReadError as problem:
            file.problems.append(_("{name}: {problem}").format(name=name, problem=problem))
            continue
        notes += [text for key in ("title", "description") for text in properties.get(f"{_DC}{key}", ())[:1]]
        file.add_metadata("keyword", *properties.get(f"{_DC}subject", ()))
        file.add_metadata("author", *properties.get(f"{_DC}creator", ()))
        file.add_metadata("rating", *properties.get(f"{_XMP}Rating", ())[:1])
        dates = (parse_date(text) for key in _DATES for text in properties.get(key, ()))
        file.add_metadata("created", next(filter(None, dates), None))
    return ". ".join(dict.fromkeys(notes)) or None


def _properties(data: bytes) -> dict[str, list[str]]:
    """Return the values of each property, by its name in braces. Raises ReadError for what is no XMP."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        root = fromstring(data, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        raise ReadError(_("a damaged XMP file; save it again")) from None
    properties: dict[str, list[str]] = {}
    for description in root.iter(f"{_RDF}Description"):
        for name, value in description.attrib.items():
            properties.setdefault(name, []).append(value.strip())
        for child in description:
            properties.setdefault(child.tag, []).extend(_values(child))
    return {name: [value for value in values if value] for name, values in properties.items()}


def _values(element: Element) -> Iterator[str]:
    """Yield the text of an element or of the entries of its list; of several languages the default one first."""
    entries = list(element.iter(f"{_RDF}li"))
    language = "{http://www.w3.org/XML/1998/namespace}lang"
    entries.sort(key=lambda entry: entry.get(language, _DEFAULT) != _DEFAULT)
    for entry in entries or [element]:
        yield " ".join("".join(entry.itertext()).split())
