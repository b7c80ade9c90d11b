"""Address books (vCard, RFC 6350) and calendars (iCalendar, RFC 5545): each contact and event under its name."""

from __future__ import annotations

import quopri
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from commonplace.i18n import _
from commonplace.readers.blocks import Heading, LayoutBlock, Paragraph, lay_out
from commonplace.readers.mail_headers import decoded_bytes
from commonplace.readers.parts import File, Part
from commonplace.readers.text import decode, read_text

__all__ = ["read_calendar", "read_contacts"]

_FOLD = re.compile(r"\r?\n[ \t]")
_PARAMETER = re.compile(r';([\w-]+)(?:=("[^"]*"|[^;:,]*(?:,[^;:,]*)*))?')
_NAME = re.compile(r"(?:[\w-]+\.)?([\w-]+)((?:;[\w-]+(?:=(?:\"[^\"]*\"|[^;:\"]*))?)*):")
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)?(Z)?)?")
_ESCAPE = re.compile(r"\\(.)")
_EVENTS = {"VEVENT": "Event", "VTODO": "Task", "VJOURNAL": "Note"}
_SILENT = {  # what programs write for themselves
    *("BEGIN", "END", "VERSION", "PRODID", "UID", "REV", "N", "FN", "DTSTAMP", "SEQUENCE", "CREATED", "LAST-MODIFIED"),
    *("PHOTO", "LOGO", "SOUND", "KEY", "TRANSP", "CLASS", "SUMMARY", "CALSCALE", "METHOD", "RECURRENCE-ID", "ACTION"),
    *("TRIGGER", "TZID", "TZOFFSETFROM", "TZOFFSETTO", "SORT-STRING", "CLIENTPIDMAP", "PRIORITY"),
}
_LABELS = {
    "TEL": "Phone", "EMAIL": "E-mail", "ADR": "Address", "ORG": "Organisation", "TITLE": "Title", "ROLE": "Role",
    "BDAY": "Birthday", "ANNIVERSARY": "Anniversary", "NOTE": "Note", "URL": "URL", "NICKNAME": "Nickname",
    "CATEGORIES": "Categories", "DTSTART": "Begins", "DTEND": "Ends", "DUE": "Due", "COMPLETED": "Completed",
    "LOCATION": "Place", "DESCRIPTION": "Description", "ORGANIZER": "Organiser", "ATTENDEE": "Attendee",
    "RRULE": "Repeats", "EXDATE": "Except", "STATUS": "Status", "DURATION": "Duration", "COMMENT": "Comment",
    "CONTACT": "Contact", "ATTACH": "Attachment", "IMPP": "Messenger", "GEO": "Coordinates", "RELATED": "Related",
}  # fmt: skip
_WHEN = ("DTSTART", "DTEND", "DUE", "LOCATION")
_BINARY_SIZE = 1_000  # characters of a value without spaces: an encoded file


@dataclass(slots=True)
class _Field:
    name: str
    parameters: dict[str, str]
    value: str


@dataclass(slots=True)
class _Card:
    """A component between BEGIN and END, with its fields. Components inside it are cards of their own."""

    kind: str
    fields: list[_Field] = field(default_factory=list)


def read_contacts(file: File) -> Iterator[Part]:
    """Yield each contact, titled by its name."""
    yield from _read(file, lambda card: card.kind == "VCARD")


def read_calendar(file: File) -> Iterator[Part]:
    """Yield each event, task and note, titled by its summary."""
    yield from _read(file, lambda card: card.kind in _EVENTS)


def _read(file: File, is_shown: Callable[[_Card], bool]) -> Iterator[Part]:
    text, problem = decode(file.data)
    cards = [card for card in _cards(text) if is_shown(card)]
    if not cards:
        yield from read_text(file)
        return
    if problem:
        file.problems.append(problem)
    title = file.title
    yield from lay_out(file, _blocks(cards))
    file.title = title  # the first contact or event is no title of them all


def _cards(text: str) -> Iterator[_Card]:
    """Yield the components in the order of their ends."""
    stack: list[_Card] = []
    for line in _lines(text):
        match = _NAME.match(line)
        if match is None:
            continue
        name, value = match[1].upper(), line[match.end() :]
        if name == "BEGIN":
            stack.append(_Card(value.strip().upper()))
        elif name == "END":
            if stack:
                yield stack.pop()
        elif stack:
            parameters = {key.upper(): part.strip('"') for key, part in _PARAMETER.findall(match[2])}
            stack[-1].fields.append(_Field(name, parameters, _value(value, parameters)))
    yield from reversed(stack)  # the file is cut off


def _lines(text: str) -> Iterator[str]:
    """Yield the lines, unfolded. A line of vCard 2.1 that ends with = goes on in the next."""
    pending = ""
    for line in _FOLD.sub("", text).splitlines():
        if pending:
            line, pending = pending + line, ""
        if line.endswith("=") and "QUOTED-PRINTABLE" in line.upper().partition(":")[0]:
            pending = line[:-1]
            continue
        yield line
    if pending:
        yield pending


def _value(value: str, parameters: dict[str, str]) -> str:
    if "QUOTED-PRINTABLE" in (parameters.get("ENCODING", "").upper(), *(key.upper() for key in parameters)):
        value = decoded_bytes(quopri.decodestring(value.encode()), parameters.get("CHARSET") or "utf-8")
    return value


def _blocks(cards: list[_Card]) -> Iterator[LayoutBlock]:
    for card in cards:
        named = {entry.name: entry.value for entry in reversed(card.fields)}
        title = named.get("FN") or named.get("SUMMARY") or _person(named.get("N", "")) or named.get("ORG", "")
        title = _plain(title) or _(_EVENTS.get(card.kind, "Contact"))
        yield Heading(title)
        if when := _when_and_where(card):  # one sentence that says what it is of: "Begins: ..." alone answers nothing
            yield Paragraph(f"{title}: {when}")
        for entry in card.fields:
            if entry.name in _SILENT or entry.name.startswith("X-") or (when and entry.name in _WHEN):
                continue
            shown = _shown(entry)
            if shown:
                kind = entry.parameters.get("TYPE", "").lower().replace(",", ", ")
                label = _LABELS.get(entry.name, entry.name.capitalize())
                label = f"{label} ({kind})" if kind and kind not in ("pref", "internet") else label
                yield Paragraph(f"{label}: {shown}", list_item=True)


def _when_and_where(card: _Card) -> str:
    """Return from when to when an event or a task is, and where: *from 2026-03-28 11:00 to 13:00, at Hall 2*."""
    shown = {entry.name: _shown(entry) for entry in reversed(card.fields) if entry.name in _WHEN}
    begins, ends, due, place = (shown.get(name, "") for name in _WHEN)
    parts = [f"from {begins}" if ends else begins] if begins else []
    parts += [f"to {ends}"] if ends else []
    parts += [f"due {due}"] if due else []
    return ", at ".join(filter(None, (" ".join(parts), " ".join(place.split())))) if parts else ""


def _person(name: str) -> str:
    family, first, middle, before, after = [*name.split(";"), "", "", "", "", ""][:5]
    return " ".join(filter(None, (before, first, middle, family, after)))


def _shown(entry: _Field) -> str:
    value = entry.value.strip()
    if len(value) > _BINARY_SIZE and " " not in value:
        return ""
    if entry.name in ("ADR", "ORG", "N", "GEO"):
        return _plain(", ".join(filter(None, (part.strip() for part in re.split(r"(?<!\\);", value)))))
    if entry.name in ("ORGANIZER", "ATTENDEE"):
        address = re.sub(r"^mailto:", "", value, flags=re.IGNORECASE)
        name = entry.parameters.get("CN", "")
        return f"{name} <{address}>" if name and name != address else address
    if stamp := _STAMP.fullmatch(value):
        year, month, day, hour, minute, _second, is_utc = stamp.groups()
        clock = f" {hour}:{minute}" if hour else ""
        zone = " UTC" if is_utc else f" ({entry.parameters['TZID']})" if entry.parameters.get("TZID") else ""
        return f"{year}-{month}-{day}{clock}{zone}"
    if entry.name == "RRULE":
        return value.lower().replace(";", ", ").replace("=", " ")
    return _plain(value)


def _plain(value: str) -> str:
    return _ESCAPE.sub(lambda match: "\n" if match[1] in "nN" else match[1], value).strip()
