"""Files that are a ZIP of XML: opened within bounds, parsed without entities, nothing outside asked for."""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from typing import Any
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError

from commonplace.errors import ReadError
from commonplace.readers.metadata import names_in
from commonplace.readers.parts import File

__all__ = ["Package", "attribute", "describe", "local", "parse_xml", "words_of"]

_RATIO = 400  # times smaller than it unpacks to: nothing honest above a megabyte is
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


class Package:
    """The members of a ZIP; what is unpacked is counted against ``file.quota``.

    Raises:
        ReadError: it is no ZIP, damaged, or protected by a password.
    """

    def __init__(self, file: File) -> None:
        self._file = file
        if file.data.startswith(_OLE):
            raise ReadError("protected by a password, or of an older format; save it anew without one")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(file.data))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError):
            raise ReadError("a damaged file whose parts cannot be listed; save it anew and add it again") from None
        self._members = {one.filename: one for one in self._zip.infolist() if one.filename and not one.is_dir()}

    @property
    def names(self) -> list[str]:
        """The names of the files in it, in stored order."""
        return list(self._members)

    def size(self, name: str) -> int:
        """Return how many bytes the member says it has."""
        return self._members[name].file_size

    def read(self, name: str) -> bytes:
        """Return the bytes of a member.

        Raises:
            ReadError: it is not there, damaged, encrypted, or more than may be unpacked.
        """
        found = self._members.get(name)
        if found is None:
            raise ReadError(f"a damaged file without its part {name}; save it anew and add it again")
        if found.flag_bits & 0x1:
            raise ReadError("protected by a password; remove the password and add it again")
        quota = self._file.quota
        quota.files -= 1
        most = min(quota.bytes, self._file.options.max_bytes)
        if found.file_size > 1_000_000 and found.file_size > _RATIO * max(1, found.compress_size):
            raise ReadError(f"{name} unpacks to over {_RATIO} times its size; unpack it yourself if you trust it")
        if quota.files < 0 or found.file_size > most:
            raise ReadError("more than may be unpacked of one file; unpack it and add the folder")
        try:
            with self._zip.open(found) as stream:
                data = stream.read(found.file_size + 1)  # what the header says is no more than a promise
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, OSError, EOFError):
            raise ReadError(f"{name} in it is damaged; save it anew and add it again") from None
        if len(data) > found.file_size:
            raise ReadError(f"{name} in it is larger than it says; save it anew and add it again")
        quota.bytes -= len(data)
        return data

    def xml(self, name: str) -> Element:
        """Return the root of a member that is XML; ReadError as for :meth:`read`, or where it is none."""
        return parse_xml(self.read(name), name)

    def optional(self, name: str) -> Element | None:
        """Return the root of an XML member, None where it is missing or damaged: its document can do without."""
        try:
            return self.xml(name) if name in self._members else None
        except ReadError:
            return None

    def related(self, part: str) -> dict[str, tuple[str, str]]:
        """Return relation id -> (last word of its type, name of the member) of an Office part.

        Links that lead outward are left out. ECMA-376 part 2, section 9.3.
        """
        folder, name = posixpath.split(part)
        root = self.optional(posixpath.join(folder, "_rels", name + ".rels"))
        found = {}
        for one in root if root is not None else ():
            if one.get("TargetMode") != "External":
                kind = (one.get("Type") or "").rpartition("/")[2]
                found[one.get("Id") or ""] = kind, self.resolve(folder, one.get("Target") or "")
        return found

    def resolve(self, folder: str, target: str) -> str:
        """Return the member that ``target`` means when it is said in ``folder``."""
        path = unquote(target.partition("#")[0])
        return posixpath.normpath(posixpath.join("/", folder, path)).lstrip("/")


def parse_xml(data: bytes, name: str) -> Element:
    """Return the root of an XML text; one that declares entities, inside or outside, is refused."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Any = fromstring(data)
    except DefusedXmlException:
        raise ReadError(f"{name} declares entities, which is not safe to read; save it anew") from None
    except (ParseError, ValueError, LookupError):
        raise ReadError(f"{name} is damaged: no well-formed XML; save it anew and add it again") from None
    result: Element = root
    return result


def local(element: Element) -> str:
    """Return the tag without its namespace: transitional and strict Office files differ in nothing else."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: Element | None, name: str) -> str | None:
    """Return an attribute by its name without a namespace."""
    if element is None:
        return None
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return value
    return None


def words_of(root: Element | None, name: str) -> str | None:
    """Return the text of the first element called ``name`` below ``root``, on one line."""
    for element in root.iter() if root is not None else ():
        if local(element) == name:
            return " ".join("".join(element.itertext()).split()) or None
    return None


_STATED = {  # element -> key, and what parts several values in it
    "creator": ("author", ";"),
    "initial-creator": ("author", ";"),
    "created": ("created", ""),
    "creation-date": ("created", ""),
    "modified": ("modified", ""),
    "language": ("language", ""),
    "subject": ("subject", ""),
    "keywords": ("keyword", ",;"),
    "keyword": ("keyword", ",;"),
    "publisher": ("publisher", ""),
}


def describe(file: File, root: Element | None, **others: tuple[str, str]) -> None:
    """Set the title and state what Dublin Core and its kin say; ``others`` go before the usual elements."""
    if root is None:
        return
    file.title = words_of(root, "title")
    for element in root.iter():
        key, marks = others.get(local(element)) or _STATED.get(local(element), ("", ""))
        words = " ".join("".join(element.itertext()).split()) if key else ""
        if words:
            file.state(key, *(names_in(words, marks) if marks else [words]))
