"""Electronic books (EPUB 2 and 3): the chapters in the order of the spine, with their pictures."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from commonplace.errors import ReadError
from commonplace.readers.blocks import Block, lay_out
from commonplace.readers.html import Fetch, decode_html, embedded, html_blocks
from commonplace.readers.parts import File, Part
from commonplace.readers.zipxml import Package, attribute, describe, local

__all__ = ["read_epub"]

_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")  # fonts made unreadable, not text


def read_epub(file: File) -> Iterator[Part]:
    """Yield the book's parts; one that is locked to a reader's account is refused."""
    package = Package(file)
    locks = package.optional("META-INF/encryption.xml")
    for one in locks.iter() if locks is not None else ():
        if local(one) == "EncryptionMethod" and attribute(one, "Algorithm") not in _FONTS:
            raise ReadError("locked to a reader's account (DRM); there is nothing that can be read")
    container = package.xml("META-INF/container.xml")
    place = next((attribute(one, "full-path") for one in container.iter() if local(one) == "rootfile"), None)
    if not place:
        raise ReadError("a damaged book without a table of its parts; save it anew and add it again")
    root = package.xml(place)
    describe(file, root, subject=("keyword", ""), date=("created", ""))
    for one in root.iter():
        if local(one) == "meta" and attribute(one, "property") == "dcterms:modified":
            file.state("modified", one.text)
    folder = posixpath.dirname(place)
    listed = {}
    for one in root.iter():
        if local(one) == "item":
            kind = f"{attribute(one, 'media-type') or ''} {attribute(one, 'properties') or ''}"
            listed[attribute(one, "id") or ""] = package.resolve(folder, attribute(one, "href") or ""), kind.split()
    spine = [attribute(one, "idref") or "" for one in root.iter() if local(one) == "itemref"]
    chapters = [listed[one][0] for one in spine if one in listed and "nav" not in listed[one][1]]
    yield from lay_out(file, _chapters(file, package, chapters))


def _chapters(file: File, package: Package, chapters: list[str]) -> Iterator[Block]:
    bad = 0
    for name in chapters:
        try:
            text, problem = decode_html(package.read(name))
        except ReadError:
            bad += 1
            continue
        if problem:
            file.problems.append(f"{name}: {problem}")
        yield from html_blocks(file, text, _fetch(package, posixpath.dirname(name)), whole=True)
    if bad and bad == len(chapters):
        raise ReadError("a damaged book without a chapter that can be read; save it anew and add it again")
    if bad:
        file.problems.append(f"{bad} of {len(chapters)} chapters cannot be read")


def _fetch(package: Package, folder: str) -> Fetch:
    def fetch(target: str) -> bytes | None:
        if target[:5].lower() == "data:":
            return embedded(target)
        member = package.resolve(folder, target)
        if "://" in target or member not in package.names:
            return None
        try:
            return package.read(member)
        except ReadError:
            return None

    return fetch
