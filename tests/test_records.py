"""Records: documents from memory are found, shown, replaced, migrated and removed like files; bad ones are skipped."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import commonplace as cp
from commonplace import indexer
from commonplace.committing import Committer
from commonplace.metadata import Metadata
from commonplace.readers import ReadOptions, read_content
from commonplace.records import Checker
from commonplace.space import Space
from commonplace.types import Item
from tests.conftest import ROOT
from tests.readers.make import Page, pdf
from tests.test_cli import run
from tests.tiny import tiny_bundle


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def kb(tmp_path: Path, tiny: Path) -> Iterator[cp.Collection]:
    with cp.open(tmp_path / "kb", model=tiny) as collection:
        yield collection


def pixels(seed: int = 0, side: int = 700) -> np.ndarray:
    """Return a picture of coloured fields, larger than a thumbnail, with a unique shape."""
    fields = np.random.default_rng(seed).integers(0, 256, (7, 10, 3), np.uint8)
    return np.kron(fields, np.ones((side // 10, side // 10, 1), np.uint8))


def encoded(picture: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind)
    return buffer.getvalue()


def originals(kb: cp.Collection) -> int:
    return int(kb.store._database.all("SELECT count(*) FROM originals")[0][0])


def shown(kb: cp.Collection, id_: str) -> Item:
    document = kb.get(id_)
    assert document is not None
    return next(item for item in kb.items(document) if item.picture)


# --- results -----------------------------------------------------------------------------------------------------


def test_a_record_is_found_by_its_id_and_its_metadata_is_typed(kb: cp.Collection) -> None:
    metadata = {"plant": "north", "year": 2021, "share": 0.5, "seen": dt.date(2024, 5, 31), "active": True,
                "tags": ["a", "b"], "at": dt.datetime(2024, 5, 31, 9, 30), "none": []}  # fmt: skip
    record = cp.Record("Pump 3 needs the blue seal.", id="pump-3", title="Pumps", metadata=metadata)
    assert str(kb.add(record)) == "1 added"
    document = kb.get("pump-3")
    assert document is not None and document.id == "pump-3"
    assert document.metadata == {**metadata, "language": "en"}
    assert (document.path, document.uri, document.title, document.media_type) == (
        "record:pump-3", "record:pump-3", "Pumps", "text/plain",
    )  # fmt: skip
    (hit,) = kb.search("blue seal", where={"plant": "NORTH", "year": {">=": 2020, "<": 2025}, "tags": ["z", "a"]})
    assert hit.item.document == document and hit.item.text == "Pump 3 needs the blue seal."
    assert hit.item.title == "Pumps"
    assert hit.dict()["metadata"] == {
        **metadata, "seen": "2024-05-31", "at": "2024-05-31T09:30:00", "language": "en",
    }  # fmt: skip
    assert kb.store.original("pump-3") == b"Pump 3 needs the blue seal."
    assert kb.search("blue seal", where={"year": {"<": 2021}}).notes == (
        "no document has such a value under the key 'year'",
    )
    assert kb.get("pump-4") is None


def test_the_same_record_is_unchanged_and_another_of_its_id_replaces_it(kb: cp.Collection) -> None:
    def add(text: str = "The seal is blue.", **more: Any) -> str:
        return str(kb.add(cp.Record(text, id="seal", **more)))

    assert add() == "1 added" and add() == "1 unchanged"
    assert add(metadata={"n": 1}) == "1 changed" and add(metadata={"n": 1}) == "1 unchanged"
    assert add(metadata={"n": 1.5}) == add(metadata={"n": 1.5}, title="Seals") == add(uri="x:seal") == "1 changed"
    assert add("The seal is red.") == "1 changed"
    assert [item.text for item in kb.items(kb.get("seal"))] == ["The seal is red."]  # type: ignore[arg-type]
    assert len(kb) == originals(kb) == 1 and kb.get("seal").metadata.keys() == {"language"}  # type: ignore[union-attr]
    assert str(kb.add(cp.Record("The seal is red.", id="seal"), force=True)) == "1 changed"
    assert not kb.store.search_text("blue", 5, cp.Filter()).ids


def test_an_id_is_derived_from_content_and_name(kb: cp.Collection) -> None:
    picture = pixels()
    records = [cp.Record("one"), cp.Record("two"), cp.Record(image=picture), cp.Record(image=picture, text="one"),
               cp.Record(data=b"one", name="a.txt"), cp.Record(data=b"one", name="b.txt")]  # fmt: skip
    assert kb.add(records).added == 6
    ids = {document.id for document in kb}
    assert kb.add(records).unchanged == 6
    assert kb.add(cp.Record("one"), cp.Record("one")).unchanged == 2  # the same twice is the same
    (failed,) = kb.add(cp.Record("one"), cp.Record("one", metadata={"n": 1})).failed
    assert "same content" in failed[1] and {document.id for document in kb} == ids


def test_text_is_chunked_like_that_of_a_file(kb: cp.Collection, tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {n} on pumps.\r\n" + "Seals and valves of the plant. " * (n % 40) for n in range(60))
    text += "\u65e5\u672c \U0001f40d"
    (tmp_path / "a.txt").write_bytes(text.encode())
    assert kb.add(tmp_path / "a.txt", cp.Record(text, id="a")).added == 2
    (file,) = kb.documents(where={"dated": "file"})
    cuts = [
        [(item.text, item.span.start, item.span.end) for item in kb.items(document)] for document in (file, kb.get("a"))
    ]  # type: ignore[arg-type]
    assert cuts[0] == cuts[1] and len(cuts[0]) > 5
    assert all(text[start:end] == part for part, start, end in cuts[1])
    assert file.content_hash == kb.get("a").content_hash  # type: ignore[union-attr]
    (tmp_path / "a.txt").unlink()
    assert kb.remove(missing=True) == 1 and "a" in kb  # a record has no file that could be missing


@pytest.mark.parametrize("form", ["array", "PIL", "path", "bytes"])
def test_a_picture_needs_no_file_to_be_shown(kb: cp.Collection, tmp_path: Path, form: str) -> None:
    picture = pixels()
    file = tmp_path / "picture.png"
    file.write_bytes(encoded(picture))
    given = {"array": picture, "PIL": Image.fromarray(picture), "path": file, "bytes": encoded(picture, "BMP")}[form]
    kb.add(cp.Record("Something else.", id="else"))
    record = cp.Record(image=given, text="the seal from below", id="seal-7", uri="https://example.org/seals/7")
    assert str(kb.add(record)) == "1 added" and str(kb.add(record)) == "1 unchanged"
    file.unlink()
    (hit,) = kb.search("seal", modality="image")
    assert (hit.item.document.id, hit.item.text) == ("seal-7", "the seal from below")
    assert hit.item.document.path == "https://example.org/seals/7"
    view = kb.page(hit, side=700)
    assert view.note is None and (view.pixels == picture).all()
    assert hit.image is not None and max(Image.open(hit.image).size) == 320
    if form in ("path", "bytes"):  # as it was given
        assert kb.store.original("seal-7") == (encoded(picture) if form == "path" else given)
    assert kb.remove("seal-7") == 1
    assert originals(kb) == 1 and not Path(hit.image).exists() and kb.maintenance.doctor() == []


def test_a_picture_is_upright_and_its_own_caption_goes_first(kb: cp.Collection) -> None:
    image = Image.fromarray(pixels())
    exif = image.getexif()
    exif[0x0112], exif[0x010E] = 6, "A description in the file"
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    opened = Image.open(buffer)
    kb.add(cp.Record(image=opened, id="turned"), cp.Record(image=buffer.getvalue(), text="mine", id="mine"))
    assert shown(kb, "turned").text == "A description in the file" and shown(kb, "mine").text == "mine"
    for id_ in ("turned", "mine"):
        assert kb.page(shown(kb, id_), side=700).pixels.shape == (700, 490, 3)


def test_the_bytes_of_a_file_are_read_like_the_file(kb: cp.Collection) -> None:
    manual = pdf(
        Page(lines=[(60, 700, 14, "The north pump needs a blue seal.")]), title="Manual",
        info="/Author (Ann Lee) /CreationDate (D:20240531)",
    )  # fmt: skip
    page = b"# Valves\n\n![The valve](valve.png)\n\nThe south valve is iron.\n"
    table = b"pump;seal\nnorth;blue\nsouth;red\n"
    records = [
        cp.Record(data=manual, name="manual.pdf", id="manual", metadata={"plant": "north", "author": "me"}),
        cp.Record(data=page, name="folder/valves.md", id="valves"),
        cp.Record(data=table, name="pumps.csv", id="pumps", title="All pumps", metadata={"date": dt.date(2020, 1, 1)}),
        cp.Record(data=manual, id="unnamed"),
    ]
    assert str(kb.add(iter(records))) == "4 added"
    (hit,) = kb.search("north pump seal", where={"plant": "north"})
    assert hit.item.document.media_type == "application/pdf" and hit.item.span.page == 1
    assert hit.item.document.title == "Manual"
    assert hit.item.document.metadata == {
        "created": dt.date(2024, 5, 31), "date": dt.date(2024, 5, 31), "dated": "created", "plant": "north",
        "author": "me", "language": "en",
    }  # fmt: skip
    view = kb.page(hit, side=400)
    assert view.note is None and view.box == hit.item.span.box and view.pixels.shape[0] == 400
    assert kb.store.original("manual") == manual
    assert kb.get("valves").title == "Valves" and kb.get("valves").status == "ok"  # type: ignore[union-attr]
    assert kb.get("pumps").title == "All pumps" and kb.get("pumps").media_type == "text/csv"  # type: ignore[union-attr]
    assert [document.id for document in kb.documents(where={"date": "2020"})] == ["pumps"]
    assert "dated" not in kb.get("pumps").metadata  # type: ignore[union-attr]
    assert kb.get("unnamed").metadata["author"] == ["Ann Lee"]  # type: ignore[union-attr]


def test_links_of_a_record_open_no_file(kb: cp.Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.png").write_bytes(encoded(pixels()))
    for name in ("a.md", str(tmp_path / "a.md")):
        page = f"![](secret.png) ![]({tmp_path}/secret.png) ![](/secret.png) The seal is blue.".encode()
        assert kb.add(cp.Record(data=page, name=name, id="a"), force=True).failed == []
        assert [item.modality for item in kb.items(kb.get("a"))] == ["text"]  # type: ignore[arg-type]


# --- many ---------------------------------------------------------------------------------------------------------


def test_records_of_a_generator_are_committed_while_it_runs(kb: cp.Collection, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file.txt").write_text("A file among records.")
    seen = []
    count = 3 * indexer.LOOKED_UP

    def records() -> Iterator[Any]:
        for n in range(count):
            seen.append(len(kb)) if n % 100 == 0 else None
            yield cp.Record(f"Pump {n} needs seal {n % 7}.", id=f"pump-{n}", metadata={"n": n})
        yield tmp_path / "in"

    report = kb.add(records(), cp.Record("One more.", id="more"), [cp.Record("And more.", id="and")])
    assert str(report) == f"{count + 3} added" and len(kb) == count + 3
    assert seen[0] == 0 and seen[-1] > 0
    assert str(kb.add(records())) == f"{count + 1} unchanged"
    assert [document.metadata["n"] for document in kb.documents(where={"n": {">": 1497}})] == [1498, 1499]
    assert {"pump-0", "pump-1", "and"} < {document.id for document in kb}


def test_a_collection_is_a_container_of_documents(kb: cp.Collection, tmp_path: Path) -> None:
    assert len(kb) == 0 and list(kb) == [] and kb and "0 documents" in repr(kb)
    (tmp_path / "a.txt").write_text("A file.")
    kb.add(tmp_path / "a.txt", cp.Record("A record.", id="a", uri="https://example.org/a b".replace(" ", "%20")))
    file, record = kb
    assert len(kb) == 2 and {file.id, record.id} == {document.id for document in kb.documents()}
    for name in ("a", file.id, record.path, file.path, tmp_path / "a.txt", record):
        assert name in kb
    for name in ("b", tmp_path, tmp_path / "b.txt", "", 5, None, "https://example.org", "%", "record:a"):
        assert name not in kb
    assert str(kb.folder) in repr(kb) and "tiny-0" in repr(kb) and "2 documents, 2 items" in repr(kb)
    assert kb.find("a") == record == kb.find(record.path)
    for path in ("https://example.org", "https://example.org/*", "https:*", "example.org"):
        assert [hit.item.document.id for hit in kb.search("record", path=path)] == ["a"]
    assert kb.search("record", path="https://other.org") == []
    assert kb.remove(record.path) == 1 and len(kb) == 1
    kb.close()
    assert "tiny-0" in repr(kb)


# --- invalid records ----------------------------------------------------------------------------------------------

PICTURE = np.zeros((8, 8, 3), np.uint8)
WRONG: list[tuple[Any, str]] = [
    (cp.Record("a", data=b"b"), "both data and text"),
    (cp.Record(image=PICTURE, data=b"b"), "both image and data"),
    (cp.Record("a", image=PICTURE, data=b"b"), "both image and data"),
    (cp.Record(), "no content"),
    (cp.Record(title="a"), "no content"),
    (cp.Record(" \n"), "text is empty"),
    (cp.Record(5), "text is of type int"),  # type: ignore[arg-type]
    (cp.Record("a", name="a.txt"), "which only data can have"),
    (cp.Record("x" * 100_000_000), "95 MB, over the limit of 20 MB"),
    (cp.Record(data=b""), "data is empty"),
    (cp.Record(data="a"), "data is of type str"),  # type: ignore[arg-type]
    (cp.Record(data=bytes(range(256)) * 40), "no type of file that is read"),
    (cp.Record(data=b"%PDF-1.4 damaged", name="a.pdf"), "damaged PDF"),
    (cp.Record(image=b"no picture at all"), "no picture of a known format"),
    (cp.Record(image=encoded(pixels())[:500]), "damaged or truncated"),
    (cp.Record(image=b""), "image is empty"),
    (cp.Record(image=b"%PDF-1.4"), "no picture of a known format"),
    (cp.Record(image=PICTURE[:, :, 0]), "shape (8, 8)"),
    (cp.Record(image=PICTURE.astype(np.float32)), "type float32"),
    (cp.Record(image=PICTURE[:0]), "shape (0, 8, 3)"),
    (cp.Record(image="/nowhere/a.png"), "no such file"),
    (cp.Record(image=5), "image is of type int"),
    (cp.Record("a", id=""), "id is empty"),
    (cp.Record("a", id="  "), "id is empty"),
    (cp.Record("a", id="x" * 201), "201 characters"),
    (cp.Record("a", id="a\nb"), "control characters"),
    (cp.Record("a", id="\ud800"), "half of a surrogate pair"),
    (cp.Record("a", id=5), "id is 5"),  # type: ignore[arg-type]
    (cp.Record("a", uri="no scheme"), "begin it with a scheme"),
    (cp.Record("a", uri="/etc/passwd"), "begin it with a scheme"),
    (cp.Record("a", uri="FILE:///etc/passwd"), "add the file itself"),
    (cp.Record("a", uri="x:" + "y" * 2000), "2,002 characters"),
    (cp.Record("a", title="x" * 1001), "1,001 characters"),
    (cp.Record("a", metadata={"n": float("nan")}), "number nan"),
    (cp.Record("a", metadata={"n": [1, "a"]}), "mixes number and text"),
    (cp.Record("a", metadata={"k" * 101: 1}), "key of 101 characters"),
    (cp.Record("a", metadata={"n": object()}), "type object"),
    (cp.Record("a", metadata={"created": "soon"}), "this key holds dates"),
    (cp.Record("a", metadata={"author": 5}), "this key holds text"),
    (5, "give a path or a Record"),
    (None, "give a path or a Record"),
    (b"bytes", "give a path or a Record"),
    ({"text": "a"}, "give a path or a Record"),
    (["nested"], "give a path or a Record"),
]


def test_each_bad_record_is_reported_and_the_others_are_added(
    kb: cp.Collection, caplog: pytest.LogCaptureFixture
) -> None:
    kb.add(cp.Record("A good one.", id="first"))
    given: list[Any] = []
    for number, (record, _) in enumerate(WRONG):
        given += [record, cp.Record(f"Good {number}.", id=f"good-{number}")]
    caplog.clear()
    report = kb.add(given, progress=False)
    assert report.added == len(WRONG) and len(kb) == len(WRONG) + 1
    assert len(report.failed) == len(WRONG) == len([line for line in caplog.records if line.levelname == "WARNING"])
    reasons = " | ".join(reason for _, reason in report.failed)
    for _, why in WRONG:
        assert why in reasons, (why, reasons)
    assert all(name and "\n" not in reason and len(reason) < 300 for name, reason in report.failed)
    assert originals(kb) == len(kb) and kb.maintenance.doctor() == []


@pytest.mark.parametrize(("wrong", "why"), WRONG, ids=[why[:24] for _, why in WRONG])
def test_a_bad_record_is_refused_with_the_reason(wrong: Any, why: str, space: Space) -> None:
    """The reason belongs to this record, not to another one of the same call."""
    with pytest.raises(cp.ReadError) as error:
        content = Checker().content(wrong)
        assert content is not None
        read_content(content, ReadOptions(*space.measure))
    assert why in str(error.value)


def test_names_of_failed_sources(kb: cp.Collection) -> None:
    report = kb.add(
        cp.Record("a", id="x", metadata={"n": None}), cp.Record("", uri="https://example.org/1"), cp.Record(""),
        cp.Record("b", id="y"), cp.Record("c", id="y"),
    )  # fmt: skip
    assert [name for name, _ in report.failed] == [
        "record:x", "https://example.org/1", "record 3 of this call", "record:y",
    ]  # fmt: skip
    assert "given before in this call" in report.failed[-1][1] and report.added == 1
    assert kb.items(kb.get("y"))[0].text == "b"  # type: ignore[arg-type]


def test_a_record_that_becomes_unreadable_keeps_its_earlier_content(kb: cp.Collection) -> None:
    kb.add(cp.Record(image=pixels(), id="seal"))
    ((name, reason),) = kb.add(cp.Record(image=b"not a picture", id="seal")).failed
    assert name == "record:seal" and reason.endswith("the earlier content is kept")
    assert shown(kb, "seal").picture and kb.maintenance.doctor() == []


def test_an_iterable_that_raises_keeps_earlier_records(kb: cp.Collection) -> None:
    def records() -> Iterator[cp.Record]:
        for n in range(5):
            yield cp.Record(f"Pump {n}", id=f"pump-{n}")
        yield cp.Record("", id="empty")
        raise LookupError("row 6 is gone")

    with pytest.raises(cp.SourceError, match=r"LookupError.*row 6 is gone.*6 added, 1 failed") as error:
        kb.add(cp.Record("First.", id="first"), records(), cp.Record("Never reached.", id="last"))
    assert isinstance(error.value.__cause__, LookupError)
    assert error.value.report.added == 6 and len(kb) == 6 and "last" not in kb
    assert kb.search("pump", k=9, where={"n": 1}) == [] and len(kb.search("pump", modality="text", k=9)) >= 5


def test_a_key_has_one_type_in_a_collection(kb: cp.Collection) -> None:
    def add(id_: str, value: Any) -> list[tuple[str, str]]:
        return kb.add(cp.Record(f"The pump {id_}.", id=id_, metadata={"Level": value})).failed

    assert add("a", 5) == add("b", [1.5, 2]) == []
    ((name, reason),) = add("c", "high")
    assert name == "record:c" and "has text under 'level'" in reason and "holds numbers" in reason
    kb.remove("b")
    assert add("a", "high") == []  # it alone had the key
    assert "holds text" in add("c", 5)[0][1] and add("c", "low") == []
    kb.remove("a", "c")
    assert add("c", dt.date(2024, 1, 1)) == []
    failed = kb.add(cp.Record("x", id="d", metadata={"new": 1}), cp.Record("y", id="e", metadata={"new": "1"})).failed
    assert [name for name, _ in failed] == ["record:e"]
    with pytest.raises(cp.QueryError, match="'level' holds dates"):
        kb.search("pump", where={"level": 5})
    (note,) = kb.search("pump", where={"nothing": 5}).notes
    assert note == "no document has the key 'nothing'; the keys are: level, new"


def test_no_metadata_is_dropped_silently(kb: cp.Collection) -> None:
    kb.add(cp.Record("a", id="first", metadata={"w": "text"}))
    report = kb.add(
        cp.Record(image=b"junk", id="first", metadata={"w": 5}), cp.Record("other", id="second", metadata={"w": 7})
    )
    (second, first) = sorted(report.failed, reverse=True)
    assert (first[0], second[0]) == ("record:first", "record:second") and report.added == 0
    assert "has numbers under 'w', and this key holds text" in second[1] and "second" not in kb
    assert kb.get("first").metadata == {"w": "text"}  # type: ignore[union-attr]


def test_only_stored_records_give_a_key_its_type(kb: cp.Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    report = kb.add(cp.Record(image=b"junk", id="x", metadata={"q": 5}), cp.Record("ok", id="y", metadata={"q": "a"}))
    assert [name for name, _ in report.failed] == ["record:x"] and kb.get("y").metadata == {"q": "a"}  # type: ignore[union-attr]
    kb.remove("y")
    encode = Space.encode

    def broken_for_x(self, parsed, known):  # type: ignore[no-untyped-def]
        vectors = encode(self, parsed, known)
        first = {item.id for document in parsed if document.document.id == "x" for item in document.items}
        for rows in vectors:
            rows.vectors[[item in first for item in rows.item_ids]] = np.nan
        return vectors

    monkeypatch.setattr(Space, "encode", broken_for_x)
    report = kb.add(cp.Record("one", id="x", metadata={"q": 5}), cp.Record("two", id="y", metadata={"q": "a"}))
    assert [name for name, _ in report.failed] == ["record:x"] and kb.get("y").metadata == {"q": "a"}  # type: ignore[union-attr]


def test_records_of_one_call_change_the_type_of_a_key_together_or_not_at_all(kb: cp.Collection) -> None:
    def records(value: Any, **more: Any) -> list[cp.Record]:
        return [cp.Record(f"Pump {n}.", id=n, metadata={"w": value, **(more if n == "b" else {})}) for n in "ab"]

    assert str(kb.add(records("text"), cp.Record("c", id="c", metadata={"kept": 1}))) == "3 added"
    assert str(kb.add(records(5))) == "2 changed"
    report = kb.add(records("text", kept="text"))  # b is refused for `kept`, so that `w` holds numbers
    assert sorted(name for name, _ in report.failed) == ["record:a", "record:b"] and report.changed == 0
    assert all(reason.endswith("the earlier content is kept") for _, reason in report.failed)
    assert [kb.get(n).metadata["w"] for n in "ab"] == [5, 5]  # type: ignore[union-attr]
    first, second = records("text", n="text")  # b is refused for the `n` of another record of the same call
    report = kb.add(first, cp.Record("d", id="d", metadata={"n": 1}), second)
    assert sorted(name for name, _ in report.failed) == ["record:a", "record:b"] and report.added == 1
    assert [kb.get(n).metadata["w"] for n in "ab"] == [5, 5] and kb.maintenance.doctor() == []  # type: ignore[union-attr]


def test_a_file_loses_keys_of_another_type_and_the_report_names_them(
    kb: cp.Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of a plug-in may state any key, as text."""
    kb.add(cp.Record("a", id="a", metadata={"level": 5}))
    (tmp_path / "b.txt").write_text("The seal.")
    commit = Committer.commit

    def with_level(self: Committer, batch: Any) -> None:
        stated = Metadata.of_file([("level", "high"), ("phase", "two")])
        batch.parsed = [replace(one, document=replace(one.document, metadata=stated)) for one in batch.parsed]
        commit(self, batch)

    monkeypatch.setattr(Committer, "commit", with_level)
    report = kb.add(tmp_path / "b.txt")
    ((path, reason),) = report.partial
    assert path == str(tmp_path / "b.txt") and "'level' is left out" in reason and report.added == 1
    (document,) = kb.store.documents(below=path)
    assert document.metadata == {"phase": "two"} and document.status == "partial"


def test_two_calls_at_once_give_a_key_one_type(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call has checked the types before the first one commits."""
    with cp.open(tmp_path / "kb", model=tiny) as first, cp.open(tmp_path / "kb", model=tiny) as second:
        add = type(second.store).add

        def add_after_the_first(self, parsed, vectors, replaces=()):  # type: ignore[no-untyped-def]
            monkeypatch.setattr(type(second.store), "add", add)
            assert first.add(cp.Record("one", id="one", metadata={"w": 5})).added == 1
            add(self, parsed, vectors, replaces)

        monkeypatch.setattr(type(second.store), "add", add_after_the_first)
        report = second.add(cp.Record("two", id="two", metadata={"w": "text"}), cp.Record("three", id="three"))
        ((name, reason),) = report.failed
        assert name == "record:two" and "has text under 'w', and this key holds numbers" in reason
        assert report.added == 1 and "three" in first and "two" not in first
        assert second.maintenance.doctor() == []


def test_the_id_of_a_file_cannot_be_taken(kb: cp.Collection, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A file.")
    kb.add(tmp_path / "a.txt")
    (file,) = kb
    ((_, reason),) = kb.add(cp.Record("Mine now.", id=file.id)).failed
    assert "belongs to the file" in reason and [item.text for item in kb.items(file)] == ["A file."]


# --- stored content -----------------------------------------------------------------------------------------------


def test_migration_reads_pictures_of_records_from_stored_content(kb: cp.Collection, tmp_path: Path) -> None:
    figure = Image.fromarray(pixels(3))
    manual = pdf(Page(lines=[(60, 700, 14, "The north pump.")], pictures=[(60, 300, 300, 210, figure)]))
    kb.add(
        cp.Record("The seal is blue.", id="text"), cp.Record(image=pixels(1), text="a seal", id="picture"),
        cp.Record(data=manual, name="manual.pdf", id="manual"),
    )  # fmt: skip
    assert kb.status()["items"]["image"] == 2
    report = kb.maintenance.migrate(tiny_bundle(tmp_path / "other", dim=40, seed=1), progress=False)
    assert report.items == kb.store.count() and report.thumbnails == report.lost == 0
    assert kb.maintenance.doctor() == [] and kb.page(shown(kb, "picture"), side=700).note is None
    assert kb.status()["vectors"]["image"] == 2


def test_a_backup_contains_the_content_of_records(kb: cp.Collection, tmp_path: Path, tiny: Path) -> None:
    metadata = {"n": 1, "at": dt.datetime(2024, 5, 31, 9, 30, tzinfo=dt.timezone.utc)}
    kb.add(cp.Record(image=pixels(), id="seal", metadata=metadata), cp.Record("The seal.", id="text"))
    kb.maintenance.backup(tmp_path / "backup")
    with cp.open(tmp_path / "second", model=tiny) as second:
        second.maintenance.restore(tmp_path / "backup")
        assert second.store.original("seal") == kb.store.original("seal") and len(second) == 2
        assert second.get("seal").metadata == metadata  # type: ignore[union-attr]
        assert (second.page(shown(second, "seal"), side=700).pixels == pixels()).all()
        assert second.add(cp.Record("The seal.", id="text")).unchanged == 1


@pytest.mark.parametrize("harm", ["data = x'00'", "media_type = 'image/gif'", "data = 'text'", "checksum = 5"])
def test_damage_to_stored_content_is_reported_and_repaired_by_add(kb: cp.Collection, harm: str) -> None:
    record = cp.Record(image=pixels(), id="seal")
    kb.add(record, cp.Record("The seal is blue.", id="other"))
    with kb.store._database.write() as database:
        database.execute(f"UPDATE originals SET {harm} WHERE document = (SELECT key FROM documents WHERE id = 'seal')")
    assert kb.store.original("seal") is None and kb.store.original("other")
    view = kb.page(shown(kb, "seal"))
    assert view.note and max(view.pixels.shape) <= 320
    (finding,) = kb.maintenance.doctor(repair=True)
    assert "contents of the records" in finding.what and "record:seal" in finding.what and finding.count == 1
    assert kb.add(record, force=True).changed == 1 and kb.maintenance.doctor() == []
    assert kb.page(shown(kb, "seal")).note is None


DIE = """
import os, signal, sys
import commonplace as cp
from commonplace.space import Space
encode = Space.encode
def deadly(self, parsed, known):
    if any(one.document.id == "poison" for one in parsed):
        os.kill(os.getpid(), signal.SIGKILL)  # as the system does for want of memory
    return encode(self, parsed, known)
Space.encode = deadly
with cp.open(sys.argv[1]) as kb:
    print(kb.add((cp.Record(f"The gauge of {id_}.", id=id_) for id_ in ("a", "poison", "b")), workers=1).failed)
"""


def test_a_record_that_crashes_the_process_is_not_retried_forever(kb: cp.Collection) -> None:
    def add() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", DIE, str(kb.folder)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    assert [add().returncode for _ in range(3)] == [-9] * 3  # in a batch with others; then twice alone, after them
    assert {document.id for document in kb} == {"a", "b"}
    done = add()
    assert done.returncode == 0 and "crashed the process 3 times" in done.stdout and "record:poison" in done.stdout


def test_the_command_line_filters_and_lists_by_typed_metadata(kb: cp.Collection, tmp_path: Path) -> None:
    kb.add(
        cp.Record(f"Pump {year} needs a seal.", id=str(year), metadata={"year": year, "new": year > 2022})
        for year in range(2020, 2025)
    )
    folder = str(kb.folder)

    def ids(*where: str) -> list[str]:
        options = [part for condition in where for part in ("--where", condition)]
        done = run("--collection", folder, "search", "pump", "--json", *options, cwd=tmp_path)
        return sorted(hit["document"] for hit in json.loads(done.stdout)["hits"])

    assert ids("year>=2022", "year<2024") == ["2022", "2023"]
    assert ids("year=2020", "Year=2024") == ["2020", "2024"] and ids("new=true") == ["2023", "2024"]
    done = run("--collection", folder, "search", "pump", "--where", "year>=soon", cwd=tmp_path, ok=False)
    assert "'year' holds numbers" in done.stderr and done.stderr.count("\n") == 1
    out = run("--collection", folder, "show", "2021", cwd=tmp_path).stdout
    assert "record:2021" in out and "false" in out and "False" not in out


class BadPath(os.PathLike[str]):
    """A path whose text cannot be read, or is bytes."""

    def __init__(self, text: Any) -> None:
        self._text = text

    def __fspath__(self) -> str:
        if isinstance(self._text, Exception):
            raise self._text
        return str.__str__(self._text) if isinstance(self._text, str) else self._text  # type: ignore[no-any-return]


class BadMetadata(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("no items")


class BadSource:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


BAD_PATHS = ["\ud800", "a\0b", "~\0x", "", BadPath(RuntimeError("first line\nsecond line")), BadPath(b"bytes")]
BAD_ELEMENTS = [
    *BAD_PATHS,
    cp.Record(image=BadPath(RuntimeError("no path")), id="bad"),
    cp.Record(image=BadPath(b"bytes"), id="bad"),
    cp.Record("Text.", id="bad", metadata=BadMetadata(n=1)),
    BadSource(),
]


@pytest.mark.parametrize("bad", BAD_ELEMENTS, ids=range(len(BAD_ELEMENTS)))
@pytest.mark.parametrize("in_a_list", [False, True])
def test_a_bad_element_does_not_stop_the_others(kb: cp.Collection, bad: Any, in_a_list: bool) -> None:
    sources = [cp.Record("The first gauge.", id="first"), bad, cp.Record("The second gauge.", id="second")]
    report = kb.add(sources) if in_a_list else kb.add(*sources)
    assert {document.id for document in kb} == {"first", "second"} and report.added == 2
    ((name, reason),) = report.failed
    assert name and reason and "\n" not in reason


def test_an_empty_path_does_not_add_the_current_folder(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "note.txt").write_text("The gauge reads nine bar.", encoding="utf-8")
    done = run("--collection", "kb", "--model", str(tiny), "add", "", cwd=tmp_path, ok=False)
    assert done.returncode == 1 and "the path is empty" in done.stderr and "1 failed" in done.stdout


@pytest.mark.parametrize("force", [False, True])
def test_a_file_does_not_replace_a_record_with_its_id(kb: cp.Collection, tmp_path: Path, force: bool) -> None:
    file = tmp_path / "note.txt"
    file.write_text("The gauge reads nine bar.", encoding="utf-8")
    id_ = indexer.document_id(file)
    kb.add(cp.Record("The record.", id=id_))
    for sources in (file, [file]):
        report = kb.add(sources, force=force)
        assert str(report) == "1 failed" and "belongs to the record record:" in report.failed[0][1]
    document = kb.get(id_)
    assert document is not None and not document.is_file


def test_a_file_and_a_record_of_one_call_with_one_id(kb: cp.Collection, tmp_path: Path) -> None:
    file = tmp_path / "note.txt"
    file.write_text("The gauge reads nine bar.", encoding="utf-8")
    report = kb.add(cp.Record("The record.", id=indexer.document_id(file)), file)
    assert report.added == len(report.failed) == len(kb) == 1 and "its id belongs to the " in report.failed[0][1]


def test_the_error_of_an_iterable_is_reported_on_one_line(kb: cp.Collection) -> None:
    def sources() -> Iterator[cp.Record]:
        yield cp.Record("The first gauge.")
        raise ValueError("first line\nsecond line")

    with pytest.raises(cp.SourceError, match=r"ValueError \(first line second line\).*1 added") as error:
        kb.add(sources())
    assert "\n" not in str(error.value)


def test_a_surrogate_is_named_in_the_reason(kb: cp.Collection) -> None:
    report = kb.add(cp.Record("Text.", id="\ud800"), cp.Record(image="\ud800.png"), cp.Record(image="a\0b.png"))
    reasons = [reason for _, reason in report.failed]
    assert ["surrogate" in reason for reason in reasons] == [True, True, False]
    assert ["zero character" in reason for reason in reasons] == [False, False, True]
