"""E-books (EPUB 2 and 3): the chapters in the order of the spine, with their pictures."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.blocks import LayoutBlock, lay_out
from commonplace.readers.html import Fetch, decode_data_url, decode_html, html_blocks
from commonplace.readers.parts import File, Part
from commonplace.readers.zipxml import Package, attribute, local_name, read_core_metadata

__all__ = ["read_epub"]

_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")  # only the fonts are obfuscated


def read_epub(file: File) -> Iterator[Part]:
    """Yield the parts of the book. Raises ReadError where it is encrypted by DRM."""
    package = Package(file)
    locks = package.optional("META-INF/encryption.xml")
    for element in locks.iter() if locks is not None else ():
        if local_name(element) == "EncryptionMethod" and attribute(element, "Algorithm") not in _FONTS:
            raise ReadError(_("encrypted by DRM, so it cannot be read; add a copy without DRM"))
    container = package.xml("META-INF/container.xml")
    package_path = next(
        (attribute(element, "full-path") for element in container.iter() if local_name(element) == "rootfile"), None
    )
    if not package_path:
        raise ReadError(_("a damaged book without a package file; save a new copy and add it again"))
    root = package.xml(package_path)
    read_core_metadata(file, root, subject=("keyword", ""), date=("created", ""))
    for element in root.iter():
        if local_name(element) == "meta" and attribute(element, "property") == "dcterms:modified":
            file.add_metadata("modified", element.text)
    folder = posixpath.dirname(package_path)
    manifest = {}
    for element in root.iter():
        if local_name(element) == "item":
            kind = f"{attribute(element, 'media-type') or ''} {attribute(element, 'properties') or ''}"
            manifest[attribute(element, "id") or ""] = (
                package.resolve(folder, attribute(element, "href") or ""),
                kind.split(),
            )
    spine = [attribute(element, "idref") or "" for element in root.iter() if local_name(element) == "itemref"]
    chapters = [manifest[item_id][0] for item_id in spine if item_id in manifest and "nav" not in manifest[item_id][1]]
    yield from lay_out(file, _chapters(file, package, chapters))


def _chapters(file: File, package: Package, chapters: list[str]) -> Iterator[LayoutBlock]:
    unreadable = 0
    for name in chapters:
        try:
            text, problem = decode_html(package.read(name))
        except ReadError:
            unreadable += 1
            continue
        if problem:
            file.problems.append(f"{name}: {problem}")
        yield from html_blocks(file, text, _fetch(package, posixpath.dirname(name)), full_page=True)
    if unreadable and unreadable == len(chapters):
        raise ReadError(_("a damaged book: no chapter can be read; save a new copy and add it again"))
    if unreadable:
        file.problems.append(
            _("{unreadable} of {count} chapters cannot be read; save a new copy and add it again").format(
                unreadable=unreadable, count=len(chapters)
            )
        )


def _fetch(package: Package, folder: str) -> Fetch:
    def fetch(target: str) -> bytes | None:
        if target[:5].lower() == "data:":
            return decode_data_url(target)
        member = package.resolve(folder, target)
        if "://" in target or member not in package.names:
            return None
        try:
            return package.read(member)
        except ReadError:
            return None

    return fetch
