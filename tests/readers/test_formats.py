"""Small formats: each keeps its words, headings, numbers, tables and order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from commonplace.errors import ReadError
from commonplace.positions import position
from commonplace.types import ParsedDocument
from tests.readers.make import encoded, photo

Reader = Callable[[str, str | bytes], ParsedDocument]


def shown(parsed: ParsedDocument) -> list[tuple[str | None, str | None]]:
    return [(item.title, item.text) for item in parsed.items]


def test_contacts_stand_under_their_names(reading: Reader) -> None:
    card = (
        "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ann Müller\r\nTEL;TYPE=WORK:+49 491 123\r\nADR;TYPE=HOME:;;Deichstr. 5;Leer;;"
        "26789;\r\nNOTE:Keys are\r\n  with\\, Jo\r\nPHOTO;ENCODING=b:" + "A" * 2000 + "\r\nEND:VCARD\r\n"
        "BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;J=C3=B6rg\r\n"
        "NOTE;ENCODING=QUOTED-PRINTABLE:one=\r\ntwo\r\nEND:VCARD\r\n"
    )
    assert shown(reading("a.vcf", card)) == [
        ("Ann Müller", "Phone (work): +49 491 123\nAddress (home): Deichstr. 5, Leer, 26789\nNote: Keys are with, Jo"),
        ("Jörg Müller", "Note: onetwo"),
    ]  # fmt: skip


def test_events_stand_under_their_summaries(reading: Reader) -> None:
    events = (
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:Boiler check\nDTSTART;TZID=Europe/Berlin:20240506T100000\n"
        'DTEND:20240506T090000Z\nATTENDEE;CN="Doe, Jo":mailto:jo@example.org\nDESCRIPTION:Bring the\n  key.\n'
        "BEGIN:VALARM\nTRIGGER:-PT5M\nEND:VALARM\nEND:VEVENT\nBEGIN:VTODO\nSUMMARY:Buy oil\nDUE:20240507\nEND:VTODO\n"
    )
    assert shown(reading("a.ics", events)) == [
        ("Boiler check", "Boiler check: from 2024-05-06 10:00 (Europe/Berlin) to 2024-05-06 09:00 UTC\n\n"
         "Attendee: Doe, Jo <jo@example.org>\nDescription: Bring the key."),
        ("Buy oil", "Buy oil: due 2024-05-07"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.srt", "1\n00:01:05,000 --> 00:01:07,000\n<i>We will now</i>\nopen the\n\n2\n00:01:07,500 --> 00:01:09,000\n"
         "valve.\n\n3\n01:02:00,000 --> 01:02:03,000\n- 2024.\n"),
        ("a.vtt", "WEBVTT\n\nNOTE x\n\n01:05.000 --> 01:07.000 align:start\nWe will now\nopen the\n\n01:07.500 --> "
         "01:09.000\nopen the\n<c>valve.</c>\n\nx\n01:02:00.000 --> 01:02:03.000\n- 2024.\n"),
        ("a.ass", "[Events]\nFormat: Layer, Start, End, Style, Text\nDialogue: 0,0:01:05.00,0:01:07.00,D,{\\an8}We "
         "will now\\Nopen the\nDialogue: 0,0:01:07.50,0:01:09.00,D,valve.\n"
         "Dialogue: 0,1:02:00.00,1:02:03.00,D,- 2024.\n"),
    ],
)  # fmt: skip
def test_subtitles_are_whole_sentences_with_their_time(reading: Reader, name: str, data: str) -> None:
    parsed = reading(name, data)
    assert shown(parsed) == [(None, "[0:01:05] We will now open the valve."), (None, "[1:02:00] - 2024.")]
    assert [(item.span.begin, item.span.finish) for item in parsed.items] == [(65, 69), (3720, 3723)]
    assert shown(reading(name, "No cue.")) == [(None, "No cue.")]


def test_what_is_said_together_is_one_passage_of_some_seconds(reading: Reader) -> None:
    lines = [f"{n}\n00:00:{3 * n:02},250 --> 00:00:{3 * n + 2:02},500\nPart {n} is red.\n" for n in range(1, 19)]
    parsed = reading("a.srt", "\n".join(reversed(lines)))  # in no order
    times = [(item.span.begin or 0, item.span.finish or 0) for item in parsed.items]
    assert times == [(3.25, 20.5), (21.25, 38.5), (39.25, 56.5)]
    assert position(parsed.items[0].span, None) == "0:03 to 0:20"
    assert position(replace(parsed.items[0].span, finish=3725.0), None) == "0:03 to 1:02:05"
    text = "".join(f"{item.text}\n" for item in parsed.items)
    assert all(text[item.span.start : item.span.end] == item.text for item in parsed.items)
    drawing = "[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,D,,0,0,0,,{\\p1}m 0 0 l 9 9\n"
    assert "m 0" not in str(shown(reading("b.ass", drawing + "Dialogue: 0,0:00:03.00,0:00:04.00,D,,0,0,0,,Hello.\n")))


def test_values_stand_as_they_are_written(reading: Reader) -> None:
    data = (
        '{"name":"Pumps","pumps":[{"id":1,"site":{"town":"Leer"},"tags":["a","b"]},{"id":2,"site":{"town":"Emden"}}],'
        '"deep":{"x":{"on":true}},"price":1.10}'
    )
    assert shown(reading("a.json", data)) == [
        (None, "name: Pumps\nprice: 1.10"),
        ("pumps", "| id | site.town | tags |\n|---|---|---|\n| 1 | Leer | a, b |\n| 2 | Emden |  |"),
        ("deep > x", "on: true"),
    ]
    lines = '{"a":1,"b":"x"}\n\n{"a":2,"b":"y"}\nno record\n'
    parsed = reading("a.jsonl", lines)
    assert shown(parsed)[0] == (None, "| a | b |\n|---|---|\n| 1 | x |\n| 2 | y |")
    assert "no record" in str(shown(parsed)) and "in line 4" in (parsed.document.error or "")
    assert shown(reading("b.json", "{damaged")) == [(None, "{damaged")]


def test_yaml_keeps_comments_and_values(reading: Reader) -> None:
    data = "on: yes\nport: 080\nitems:\n- name: x\n  size: 1.50\n- name: y\n  size: no\n"
    assert shown(reading("a.yaml", data)) == [
        (None, "on: yes\nport: 080"), ("items", "| name | size |\n|---|---|\n| x | 1.50 |\n| y | no |"),
    ]  # fmt: skip
    parsed = reading("b.yaml", "# Of the controller\nport: 80\nhosts:\n  - a  # the first\n")
    assert shown(parsed) == [("port", "# Of the controller\nport: 80"), ("hosts", "hosts:\n  - a  # the first")]
    assert [item.span.line for item in parsed.items] == [1, 3]
    bomb = "a: &a [x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
    )
    assert "&a [x,x]" in str(shown(reading("bomb.yaml", bomb)))


def test_elements_of_xml_are_paths_and_records(reading: Reader) -> None:
    data = (
        '<?xml version="1.0"?><shop town="Leer"><item id="1"><name>Pump</name></item><item id="2"><name>Valve</name>'
        "</item><about>Open <b>daily</b> from 9.</about></shop>"
    )
    assert shown(reading("a.xml", data)) == [
        ("shop", "town: Leer\nabout: Open daily from 9."),
        ("shop > item", "| id | name |\n|---|---|\n| 1 | Pump |\n| 2 | Valve |"),
    ]
    entity = '<!DOCTYPE a [<!ENTITY x "y">]><a>&x; words</a>'
    assert shown(reading("b.xml", entity)) == [(None, entity)]


LATEX = r"""\documentclass{article} \title{On \emph{Pumps}} \author{Ann M\"uller \and Jo}
\begin{document} \section{Prices} % no words
The pump\footnote{See page 2.} costs 50\% of $E=mc^2$, na\"{\i}ve \textbf{bold}.

\begin{enumerate} \item First \item Second \begin{itemize} \item inner \end{itemize} \end{enumerate}
\begin{tabular}{|l|r|} \hline Name & Price \\ \hline Pump & 12 \& more \\ \end{tabular}
\includegraphics[width=3cm]{pump}
\subsection{Code}
\begin{verbatim}
x = 1 % kept
\end{verbatim}
\[ a^2 \] \unknown{kept words}
\end{document}"""
RST = """Manual
======

The :ref:`pump <p>` is `here <http://example.org>`_.

Prices
------

#. First
#. Second

   - inner

.. versionadded:: 2.0
   A valve.

.. image:: pump.png
   :alt: The pump

====  =====
Name  Price
====  =====
Pump  12
====  =====

.. include:: secret.txt
"""
ASCIIDOC = """= Manual
:price: 12

Costs *{price}* at https://example.org[the shop].

== Prices

. First
. Second
* inner

[WARNING]
====
Hot water.
====

[cols="1,1"]
|===
|Name |Price
|Pump
|12
|===

----
x = 1
----
image::pump.png[The pump]
"""
ORG = """#+TITLE: Manual
* Prices :work:
:PROPERTIES:
:ID: secret
:END:
Costs *12*
at [[http://example.org][the shop]].

1. First
2. Second
   - inner
| Name | Price |
|------+-------|
| Pump | 12 |
#+BEGIN_SRC python
x = 1
#+END_SRC
[[file:pump.png]]
"""


@pytest.mark.parametrize(("name", "data"), [("a.tex", LATEX), ("a.rst", RST), ("a.adoc", ASCIIDOC), ("a.org", ORG)])
def test_markup_keeps_headings_lists_tables_and_pictures(reading: Reader, tmp_path: Path, name: str, data: str) -> None:
    (tmp_path / "pump.png").write_bytes(encoded(photo()))
    (tmp_path / "secret.txt").write_text("secret words")
    parsed = reading(name, data)
    text = "\n".join(item.text or "" for item in parsed.items)
    assert parsed.document.title in ("Manual", "On Pumps") and parsed.document.status == "ok"
    assert any("Prices" in (item.title or "") for item in parsed.items)
    assert "1. First\n2. Second" in text and "- inner" in text and "| Name | Price |\n|---|---|\n| Pump | 12" in text
    assert "secret" not in text and any(item.modality == "image" for item in parsed.items)


def test_marks_that_would_take_long_are_read_as_text(reading: Reader) -> None:
    assert len(reading("a.rst", "*a " * 10_000).items) > 10


@pytest.mark.parametrize("gap", ["", " "])
def test_a_header_of_a_simple_table_may_begin_with_an_empty_cell(reading: Reader, gap: str) -> None:
    """docutils drops such a header. One with words between its columns would make the table none."""
    table = f"""======= ==== ====
        {gap} Min {gap}Max
======= ==== ====
length: 4.3  7.9
width:  2.0  4.4
======= ==== ====
"""
    text = "\n".join(item.text or "" for item in reading("a.rst", f"Flowers\n-------\n\n{table}").items)
    assert "| width: | 2.0 | 4.4 |" in text
    assert ("|  | Min | Max |" in text) is (gap == "")


def test_latex_is_readable(reading: Reader) -> None:
    parsed = reading("a.tex", LATEX)
    text = "\n".join(item.text or "" for item in parsed.items)
    assert "The pump [See page 2.] costs 50% of $E=mc^2$, naïve bold." in text and "12 & more" in text
    assert "x = 1 % kept" in text and "a^2" in text and "kept words" in text and "no words" not in text
    assert parsed.document.metadata["author"] == ["Ann Müller", "Jo"]


def test_other_markup_is_readable(reading: Reader) -> None:
    for name, data, words in (
        ("a.rst", RST, ("The pump is here.", "2.0", "A valve.")),
        ("a.adoc", ASCIIDOC, ("Costs 12 at the shop.", "WARNING:", "Hot water.", "x = 1")),
        ("a.org", ORG, ("Costs 12 at the shop.", "Tags: work", "x = 1")),
    ):
        text = "\n".join(item.text or "" for item in reading(name, data).items)
        assert all(word in text for word in words), (name, text)


def test_old_office_files_are_converted_where_that_is_possible(
    reading: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.readers.make_office import docx, paragraph

    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ReadError, match="LibreOffice reads: install it, or save the file as DOCX"):
        reading("a.doc", old)
    (tmp_path / "bin").mkdir()
    (tmp_path / "new.docx").write_bytes(docx(paragraph("Old words.")))
    program = tmp_path / "bin" / "soffice"
    copy = f'#!/bin/sh\nwhile [ "$1" != --outdir ]; do shift; done\n/bin/cp "{tmp_path}/new.docx" "$2/source.docx"\n'
    program.write_text(copy)
    program.chmod(0o755)
    assert shown(reading("a.doc", old)) == [(None, "Old words.")]
    program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(ReadError, match="LibreOffice cannot read it"):
        reading("a.doc", old)
