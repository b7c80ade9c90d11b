"""Files that are a ZIP of XML: unpacked within limits, and parsed without entities or external references."""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from typing import Any
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.metadata import split_names
from commonplace.readers.parts import File
from commonplace.readers.zip_names import member_names

__all__ = [
    "MAX_RATIO",
    "Package",
    "UnpackLimitError",
    "attribute",
    "children_of",
    "first_child",
    "local_name",
    "parse_xml",
    "read_core_metadata",
    "text_of",
]

MAX_RATIO = 400  # unpacked to packed size; no regular member over a megabyte exceeds it
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


class UnpackLimitError(ReadError):
    """The limit on files or bytes that may be unpacked from one document was reached."""


class Package:
    """The members of a ZIP. Unpacked files and bytes are counted against ``file.quota``.

    Raises:
        ReadError: the file is not a ZIP, damaged, or protected by a password.
    """

    def __init__(self, file: File) -> None:
        self._file = file
        if file.data.startswith(_OLE):
            raise ReadError(_("protected by a password, or of an older format; save a new copy without a password"))
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(file.data))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError):
            raise ReadError(
                _("a damaged file whose parts cannot be listed; save a new copy and add it again")
            ) from None
        self._members = member_names(self._zip.infolist())

    @property
    def names(self) -> list[str]:
        """The names of the members, in stored order."""
        return list(self._members)

    def size(self, name: str) -> int:
        """Return the size of a member in bytes, as declared in the ZIP."""
        return self._members[name].file_size

    def read(self, name: str) -> bytes:
        """Return the bytes of a member.

        Raises:
            UnpackLimitError: the limit on unpacked files or bytes was reached.
            ReadError: the member is missing, damaged or encrypted.
        """
        member = self._members.get(name)
        if member is None:
            raise ReadError(
                _("a damaged file without its part {name}; save a new copy and add it again").format(name=name)
            )
        if member.flag_bits & 0x1:
            raise ReadError(_("protected by a password; remove the password and add it again"))
        quota = self._file.quota
        quota.files -= 1
        limit = min(quota.bytes, self._file.options.max_bytes)
        if member.file_size > 1_000_000 and member.file_size > MAX_RATIO * max(1, member.compress_size):
            raise ReadError(
                _("{name} unpacks to over {max_ratio} times its size; unpack it yourself if you trust it").format(
                    name=name, max_ratio=MAX_RATIO
                )
            )
        if quota.files < 0 or member.file_size > limit:
            raise UnpackLimitError(_("larger than the limit on unpacked data; unpack it and add the folder"))
        try:
            with self._zip.open(member) as stream:
                data = stream.read(member.file_size + 1)  # the declared size may be wrong
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, OSError, EOFError):
            raise ReadError(_("{name} in it is damaged; save a new copy and add it again").format(name=name)) from None
        if len(data) > member.file_size:
            raise ReadError(
                _("{name} in it is larger than declared; save a new copy and add it again").format(name=name)
            )
        quota.bytes -= len(data)
        return data

    def xml(self, name: str) -> Element:
        """Return the root of an XML member. Raises ReadError as ``read()`` does, and for damaged XML."""
        return parse_xml(self.read(name), name)

    def optional(self, name: str) -> Element | None:
        """Return the root of an XML member that the document can do without; None where it is missing or damaged.

        A damaged one is noted as a problem, as its text is missing.
        """
        try:
            return self.xml(name) if name in self._members else None
        except ReadError as error:
            if str(error) not in self._file.problems:
                self._file.problems.append(str(error))
            return None

    def related(self, part: str) -> dict[str, tuple[str, str]]:
        """Return a dict from relation id to (last word of its type, member name) for an Office part.

        External links are left out. See ECMA-376 part 2, section 9.3.
        """
        folder, name = posixpath.split(part)
        root = self.optional(posixpath.join(folder, "_rels", name + ".rels"))
        relations = {}
        for relation in root if root is not None else ():
            if relation.get("TargetMode") != "External":
                kind = (relation.get("Type") or "").rpartition("/")[2]
                relations[relation.get("Id") or ""] = kind, self.resolve(folder, relation.get("Target") or "")
        return relations

    def resolve(self, folder: str, target: str) -> str:
        """Return the member name of ``target``, relative to ``folder``."""
        path = unquote(target.partition("#")[0])
        return posixpath.normpath(posixpath.join("/", folder, path)).lstrip("/")


def parse_xml(data: bytes, name: str) -> Element:
    """Return the root of an XML text. Raises ReadError where it is damaged or declares entities."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Any = fromstring(data)
    except DefusedXmlException:
        raise ReadError(
            _("{name} declares XML entities, which are not safe to read; save a new copy without them").format(
                name=name
            )
        ) from None
    except (ParseError, ValueError, LookupError):
        raise ReadError(
            _("{name} is damaged: not well-formed XML; save a new copy and add it again").format(name=name)
        ) from None
    result: Element = root
    return result


def local_name(element: Element) -> str:
    """Return the tag without its namespace, the only difference between transitional and strict Office files."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def first_child(element: Element | None, name: str) -> Element | None:
    """Return the first child called ``name``; None where there is none."""
    return next((child for child in element if local_name(child) == name), None) if element is not None else None


def children_of(element: Element | None, name: str) -> list[Element]:
    """Return the children called ``name``."""
    return [child for child in element if local_name(child) == name] if element is not None else []


def attribute(element: Element | None, name: str) -> str | None:
    """Return an attribute by its name without the namespace."""
    if element is None:
        return None
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return value
    return None


def text_of(root: Element | None, name: str) -> str | None:
    """Return the text of the first element called ``name`` below ``root``, on one line."""
    for element in root.iter() if root is not None else ():
        if local_name(element) == name:
            return " ".join("".join(element.itertext()).split()) or None
    return None


_METADATA_KEYS = {  # element -> metadata key, and the separators of its values
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


def read_core_metadata(file: File, root: Element | None, **others: tuple[str, str]) -> None:
    """Set the title and add the metadata of Dublin Core and similar elements; ``others`` override the table."""
    if root is None:
        return
    file.title = text_of(root, "title")
    for element in root.iter():
        key, separators = others.get(local_name(element)) or _METADATA_KEYS.get(local_name(element), ("", ""))
        value = " ".join("".join(element.itertext()).split()) if key else ""
        if value:
            file.add_metadata(key, *(split_names(value, separators) if separators else [value]))
