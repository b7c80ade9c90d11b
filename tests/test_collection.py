"""A collection of real files from end to end: add, change, move, remove, search by words and pictures, ask."""

from __future__ import annotations

import asyncio
import datetime
import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import commonplace as cp
from commonplace.errors import CommonplaceError, ModelError
from commonplace.types import Query
from tests.conftest import data
from tests.readers.make import Page, pdf
from tests.tiny import tiny_bundle

PUMP = """# Pumps

## The north pump

The north pump needs the blue seal. Change it every spring.

## The south pump

The south pump runs dry in August and has a brass valve.
"""


def draw(path: Path, colour: str, shape: str = "ellipse") -> Path:
    image = Image.new("RGB", (200, 160), "white")
    getattr(ImageDraw.Draw(image), shape)((40, 20, 160, 140), fill=colour)
    image.save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "notes"
    (root / "pictures").mkdir(parents=True)
    (root / "pumps.md").write_text(PUMP + "\n![A red ball on white](pictures/ball.png)\n", encoding="utf-8")
    (root / "weather.txt").write_text(
        "Snow fell on the mountains all night long. The road was closed.", encoding="utf-8"
    )
    (root / "zh.txt").write_text("北边的水泵需要蓝色的密封圈。南边的水泵八月会干转。", encoding="utf-8")
    draw(root / "pictures" / "ball.png", "red")
    draw(root / "pictures" / "box.png", "blue", "rectangle")
    return root


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def kb(tmp_path: Path, folder: Path) -> cp.Collection:
    collection = cp.open(tmp_path / "kb")
    report = collection.add(folder)
    assert not report.failed, report.failed
    return collection


def names(hits: list[cp.Hit]) -> list[str]:
    return [Path(hit.item.document.path).name for hit in hits]


def test_words_find_a_passage_with_the_same_meaning(kb: cp.Collection) -> None:
    assert names(kb.search("which gasket colour does the northern water pump take", k=1)) == ["pumps.md"]
    assert names(kb.search("winter storm blocks street", k=1)) == ["weather.txt"]


def test_chinese_is_found_by_full_text_with_a_note(kb: cp.Collection) -> None:
    hits = kb.search("蓝色密封圈", k=3)
    assert names(hits)[0] == "zh.txt"
    assert hits.notes and "full text only" in hits.notes[0]
    assert {channel.channel for hit in hits for channel in hit.breakdown if channel.rank} == {"lexical"}
    answer = kb.ask("北边的水泵需要什么")
    assert not answer.abstained and "密封圈" in answer.blocks[0].text


def test_the_hubness_of_a_text_is_subtracted_from_its_cosine(tmp_path: Path) -> None:
    captions = ["A man is standing in front of a building.", "A llama in a tuxedo signs the surrender.", "Some people."]
    for n, caption in enumerate(captions):
        (tmp_path / f"{n}.txt").write_text(caption)
    with cp.open(tmp_path / "kb") as kb:
        kb.add(*sorted(tmp_path.glob("*.txt")))
        asked = kb.space.encode_query(Query("a man in a suit before a house")).text
        hits = kb.search("a man in a suit before a house", k=3)
        output = {hit.item.text: line for hit in hits for line in hit.breakdown if line.channel == "text->text"}
        rows = kb.space.embed(captions)
    taken = kb.space.text_hubness(rows)
    scores = rows @ asked - taken
    assert taken.max() > 0.02
    assert np.allclose([output[caption].score for caption in captions], scores, atol=2e-3)  # rows are kept as float16
    assert [output[caption].rank for caption in captions] == (np.argsort(np.argsort(-scores)) + 1).tolist()


def test_a_picture_finds_itself_and_scores_stay_in_range(kb: cp.Collection, folder: Path) -> None:
    hits = kb.search(image=folder / "pictures" / "box.png", k=5)
    assert names(hits)[0] == "box.png"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(0 <= hit.score <= 1 for hit in hits)


def test_every_kind_of_query_has_breakdowns_that_add_up(kb: cp.Collection, folder: Path) -> None:
    picture = folder / "pictures" / "ball.png"
    for method in ("calibrated", "rrf"):
        for question in ("late", "sum", "slerp"):
            for views in ("separate", "fused", "concat"):
                ranking = cp.Ranking(method=method, question=question, views=views)  # type: ignore[arg-type]
                hits = kb.search("a red ball", image=picture, k=20, ranking=ranking)
                assert hits, ranking
                for hit in hits:
                    total = math.fsum(channel.contribution for channel in hit.breakdown)
                    score = 1 / (1 + math.exp(-total)) if method == "calibrated" else total
                    assert hit.score == pytest.approx(score, abs=1e-12)
                    assert 0 <= hit.confidence <= 1 and (method != "calibrated" or hit.confidence == hit.score)
                channels = {channel.channel for hit in hits for channel in hit.breakdown}
                assert ("changed->image" in channels) == ranking.fuses_late
                channels -= {"lexical", "match_density", "prior", "together", "image->semantic"}
                channels -= {"changed->image", "near_duplicate"}
                asked = {"text", "image"} if question == "late" else {"both"}
                result = {"text", "image"} if views == "separate" else {"item"}
                assert channels == {f"{a}->{f}" for a in asked for f in result}


def test_filters_work_inside_the_search(kb: cp.Collection, folder: Path) -> None:
    assert {hit.item.modality for hit in kb.search("pump", k=20, modality="image")} == {"image"}
    assert set(names(kb.search("pump", k=20, path=str(folder / "pictures")))) == {"ball.png", "box.png"}
    assert set(names(kb.search("pump", k=20, path="*.txt"))) == {"weather.txt"}
    assert set(names(kb.search("水泵", k=20, path="*.txt"))) == {"zh.txt"}
    assert set(names(kb.search("pump", k=20, media_type="text/markdown"))) == {"pumps.md"}
    assert kb.search("pump", path="/nowhere") == []


def test_a_folder_reached_by_a_link_is_filtered_and_removed_by_its_name(tmp_path: Path, folder: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder, target_is_directory=True)
    with cp.open(tmp_path / "linked-kb") as kb:
        assert kb.add(link).added == 5
        assert kb.add(folder).unchanged == 5  # the same files
        assert kb.search("snow", path=str(link), k=1)
        assert kb.remove(link / "weather.txt") == 1
        assert kb.remove(link) == 4


def test_results_are_the_same_every_time(kb: cp.Collection) -> None:
    first = [hit.dict() for hit in kb.search("a ball on the road", k=20)]
    assert first == [hit.dict() for hit in kb.search("a ball on the road", k=20)]
    json.dumps(first)


def test_adding_again_reads_only_new_files(kb: cp.Collection, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = kb.add(folder)
    assert (report.added, report.changed, report.unchanged) == (0, 0, 5)
    ids = {document.path: document.id for document in kb.documents()}
    (folder / "weather.txt").write_text("The sun shone on the beach all day. Everybody swam.", encoding="utf-8")
    report = kb.add(folder)
    assert (report.added, report.changed, report.unchanged) == (0, 1, 4)
    assert {document.path: document.id for document in kb.documents()} == ids
    assert names(kb.search("sunbathing", k=1)) == ["weather.txt"]
    assert "Snow" not in " ".join(hit.item.text or "" for hit in kb.search("snow on the mountains", k=20))


def test_a_changed_picture_changes_the_document_that_includes_it(kb: cp.Collection, folder: Path) -> None:
    draw(folder / "pictures" / "ball.png", "green", "rectangle")
    report = kb.add(folder)
    assert report.changed == 2  # the picture, and the Markdown page that includes it


def test_moved_and_copied_files_are_not_encoded_again(
    kb: cp.Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    for tower in (kb.space.bundle.text, kb.space.bundle.image):
        original = tower.encode

        def counting(views, *rest, original=original):  # type: ignore[no-untyped-def]
            encoded.append(len(views))
            return original(views, *rest)

        monkeypatch.setattr(tower, "encode", counting)
    shutil.move(folder / "weather.txt", folder / "renamed.txt")
    shutil.copy(folder / "pictures" / "box.png", folder / "pictures" / "copy.png")
    report = kb.add(folder)
    assert (report.moved, report.added, report.failed) == (1, 1, [])
    assert encoded == []
    paths = {Path(document.path).name for document in kb.documents()}
    assert "renamed.txt" in paths and "weather.txt" not in paths and {"box.png", "copy.png"} <= paths
    assert names(kb.search("snow on the road", k=1)) == ["renamed.txt"]


def test_remove_by_path_folder_and_id(kb: cp.Collection, folder: Path) -> None:
    assert kb.remove(folder / "weather.txt") == 1
    assert kb.remove(folder / "pictures") == 2
    page = next(document for document in kb.documents() if document.path.endswith("pumps.md"))
    assert kb.remove(page.id) == 1
    assert kb.search("snow pump ball", k=20) == []
    assert names(kb.search("水泵", k=20)) == ["zh.txt"]
    with pytest.raises(cp.CollectionError, match="no document"):
        kb.remove(folder / "weather.txt")
    (folder / "zh.txt").unlink()
    assert kb.remove(missing=True) == 1
    counts = kb.status()
    assert (counts["documents"], counts["items"], counts["vectors"]) == ({}, {}, {})
    assert not (kb.folder / "crops").exists()


def test_only_our_own_crops_are_removed(tmp_path: Path, folder: Path) -> None:
    """A collection may be in a folder with other files, which are not removed."""
    home = tmp_path / "home"
    for name in ("pictures", "crops"):
        (home / name).mkdir(parents=True)
        (home / name / "holiday.jpg").write_bytes(b"mine")
    with cp.open(home) as kb:
        kb.add(folder)
        (crop,) = {hit.image for hit in kb.search("red ball", k=20) if hit.image and "/crops/" in hit.image}
        (folder / "pumps.md").write_text(PUMP, encoding="utf-8")  # no longer includes a picture
        (folder / "pictures" / "ball.png").unlink()
        assert kb.add(folder).missing == 1
        assert Path(crop).exists()  # the missing picture file is still in the collection
        kb.remove(missing=True)
        assert not Path(crop).exists()
        kb.remove(folder)
    assert (home / "pictures" / "holiday.jpg").exists() and (home / "crops" / "holiday.jpg").exists()


def test_the_crop_of_a_picture_is_removed_before_its_document(
    kb: cp.Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed after the commit of a removal must not leave the picture behind."""
    (shown,) = {hit.image for hit in kb.search("red ball", k=20) if hit.image and "/crops/" in hit.image}
    monkeypatch.setattr(kb._session.parts.crops, "prune", lambda: None)
    kb.remove(folder / "pumps.md")
    assert Path(shown).exists()  # the picture is a document of its own too
    kb.remove(folder)
    assert not Path(shown).exists()


def test_an_assigned_generator_outlives_an_add(kb: cp.Collection, folder: Path) -> None:
    class Mine:
        name = "mine"
        fallback = False

        def generate(self, request: object) -> Sequence[object]:
            return []

    kb.generator = Mine()  # type: ignore[assignment]
    (folder / "new.txt").write_text("Something new.", encoding="utf-8")
    kb.add(folder)
    assert kb.generator.name == "mine"
    kb.generator = None  # type: ignore[assignment]
    assert kb.generator.name == "extractive"


def test_bad_files_are_listed_with_reasons_and_the_rest_is_added(tmp_path: Path, folder: Path) -> None:
    (folder / "empty.txt").write_bytes(b"")
    (folder / "truncated.jpg").write_bytes(_jpeg()[:400])
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing here")
    (folder / "binary.txt").write_bytes(bytes(range(256)) * 40)
    os.symlink(folder / "loop", folder / "loop")
    with cp.open(tmp_path / "kb") as kb:
        report = kb.add(folder, tmp_path / "absent")
        assert report.added == 5
        reasons = {Path(path).name: reason for path, reason in report.failed}
        assert {"empty.txt", "truncated.jpg", "broken.pdf", "binary.txt", "absent"} <= set(reasons)
        assert all("\n" not in reason and reason for reason in reasons.values())
        failed = kb.documents(failed=True)
        assert {Path(document.path).name for document in failed} >= {
            "empty.txt",
            "truncated.jpg",
            "broken.pdf",
            "binary.txt",
        }
        assert all(document.error and document.items == 0 for document in failed)
        again = kb.add(folder)
        assert (again.added, again.changed) == (0, 0)
        (folder / "empty.txt").write_text("no longer empty: the gauge reads nine bar")
        assert kb.add(folder).changed == 1
        assert names(kb.search("gauge", k=1)) == ["empty.txt"]


def test_a_link_to_an_added_file_is_not_a_second_document(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import commonplace.ingest as ingest

    walk = ingest.walk

    def swap(*arguments: object, **options: object) -> object:
        result = walk(*arguments, **options)  # type: ignore[arg-type]
        (folder / "weather.txt").unlink()
        (folder / "weather.txt").symlink_to("pumps.md")
        return result

    monkeypatch.setattr(ingest, "walk", swap)
    with cp.open(tmp_path / "kb") as kb:
        kb.add(folder)
        assert len(kb.documents()) == 4


def test_files_of_unsupported_types_are_counted(tmp_path: Path, folder: Path) -> None:
    (folder / "a.exe").write_bytes(b"MZ")
    with cp.open(tmp_path / "kb") as kb:
        report = kb.add(folder)
    assert report.skipped == {".exe": 1} and "1 of unsupported types (1 .exe)" in str(report)


def test_a_file_that_becomes_unreadable_keeps_its_earlier_content(kb: cp.Collection, folder: Path) -> None:
    (folder / "weather.txt").write_bytes(b"")
    report = kb.add(folder)
    assert [Path(path).name for path, _ in report.failed] == ["weather.txt"]
    assert names(kb.search("snow on the road", k=1)) == ["weather.txt"]
    (row,) = kb.documents(failed=True)
    assert "kept" in (row.error or "") and row.items == 1


DIE = """
import os, signal, sys
import commonplace as cp
from commonplace.space import Space
encode = Space.encode
def deadly(self, parsed, known):
    if any(one.document.path.endswith("poison.txt") for one in parsed):
        os.kill(os.getpid(), signal.SIGKILL)  # as the system does for want of memory
    return encode(self, parsed, known)
Space.encode = deadly
with cp.open(sys.argv[1]) as kb:
    print(kb.add(sys.argv[2], progress=False, workers=1, retry_failed=len(sys.argv) > 3).failed)
"""


def test_a_file_that_crashes_the_process_is_not_retried_forever(tmp_path: Path, tiny: Path, folder: Path) -> None:
    (folder / "poison.txt").write_text("The gauge reads nine bar.")
    with cp.open(tmp_path / "kb", model=tiny):
        pass

    def add(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", DIE, str(tmp_path / "kb"), str(folder), *more]
        return subprocess.run(command, capture_output=True, text=True)

    assert [add().returncode for _ in range(3)] == [-9] * 3  # in a batch with others; then twice alone, after them
    with cp.open(tmp_path / "kb") as kb:
        assert len(kb.documents()) == 5
    done = add()
    assert done.returncode == 0 and "crashed the process 3 times" in done.stdout and "poison.txt" in done.stdout
    with cp.open(tmp_path / "kb") as kb:
        assert [Path(document.path).name for document in kb.documents(failed=True)] == ["poison.txt"]
        again = kb.add(folder)
        assert again.unchanged == 5 and "crashed the process 3 times" in again.failed[0][1]
        assert not list(kb.folder.glob("*.flight"))
    assert add("retry").returncode == -9  # asked for
    with cp.open(tmp_path / "kb") as kb:
        assert kb.add(folder, retry_failed=True).changed == 1
        assert names(kb.search("The gauge reads nine bar", k=1)) == ["poison.txt"]


def test_a_failed_file_is_named_each_time_and_a_part_is_read_again(tmp_path: Path, tiny: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing else")
    (folder / "good.txt").write_text("The seal is blue.")
    (folder / "slow.pdf").write_bytes(pdf(*(Page([(50, 700, 12, f"Page {n} is read.")]) for n in range(1, 5))))
    with cp.open(tmp_path / "kb", model=tiny) as kb:
        first = kb.add(folder, time_limit=1e-6)
        assert (first.added, len(first.failed), len(first.partial)) == (2, 1, 1)
        assert first.partial[0][1].startswith("1 of 4 pages were read: the time limit of 1e-06 s was reached")
        second = kb.add(folder)
        assert (second.unchanged, second.failed) == (2, first.failed)
        assert "--retry-failed" in second.notes[-1]
        third = kb.add(folder, retry_failed=True)
        assert (third.changed, third.unchanged, third.failed, third.partial) == (1, 1, first.failed, [])
        assert [item.span.page for item in kb.items(kb.documents()[2])] == [1, 2, 3, 4]
        for limit in (0, -1, float("nan"), float("inf"), "a minute"):
            with pytest.raises(cp.QueryError, match="give seconds above 0"):
                kb.add(folder, time_limit=limit)  # type: ignore[arg-type]


def _jpeg() -> bytes:
    import io

    out = io.BytesIO()
    Image.effect_noise((200, 200), 50).convert("RGB").save(out, "JPEG")
    return out.getvalue()


def test_invalid_queries_are_refused_with_advice(kb: cp.Collection, folder: Path, tmp_path: Path) -> None:
    wrong_values: list[dict[str, object]] = [
        {"text": " "}, {"text": None}, {"text": "x" * 30_000}, {"text": "x", "modality": "sound"},
        {"text": "x", "path": ""}, {"text": "x", "media_type": ""},
        *({"text": "x", "k": k} for k in (0, -1, 10**9, 2.5, float("nan"), "3", None)),
    ]  # fmt: skip
    for wrong in wrong_values:
        with pytest.raises(cp.QueryError):
            kb.search(**wrong)  # type: ignore[arg-type]
    with pytest.raises(cp.QueryError, match="empty"):
        kb.remove("")
    with pytest.raises(cp.QueryError, match="workers"):
        kb.add(folder, workers=-1)
    with pytest.raises(cp.ReadError, match="no picture"):
        kb.search(image=tmp_path / "absent.png")
    with pytest.raises(cp.ReadError):
        kb.search(image=folder / "pumps.md")
    with pytest.raises(cp.QueryError, match="RGB uint8"):
        kb.search(image=np.zeros((4, 4), np.uint8))


def test_hostile_queries_break_nothing(kb: cp.Collection) -> None:
    for text in json.loads((data("blns") / "blns.json").read_text(encoding="utf-8")):
        if text.replace("\x00", " ").strip():
            kb.search(text, k=3)
    kb.search("lone surrogate \ud800", k=3)
    kb.search("word " * 3000, k=3)


def test_an_empty_collection_abstains(tmp_path: Path) -> None:
    with cp.open(tmp_path / "kb") as kb:
        assert kb.search("anything") == []
        answer = kb.ask("anything?")
        assert answer.abstained and "Nothing was found" in (answer.reason or "")


def test_answers_quote_the_text_of_their_span(kb: cp.Collection, folder: Path) -> None:
    answer = kb.ask("Which pump needs the blue seal?")
    assert not answer.abstained
    assert any("north pump needs the blue seal" in block.text for block in answer.blocks)
    for block in answer.blocks:
        for number in block.citations:
            citation = answer.citation(number)
            assert citation.number == number
            if block.kind == "text":
                text = Path(citation.hit.item.document.path).read_text(encoding="utf-8")
                assert " ".join(text[citation.span.start : citation.span.end].split()) == citation.quote
    assert "[1]" in answer.markdown()
    json.dumps(answer.dict())


def test_an_answer_can_be_a_picture(kb: cp.Collection) -> None:
    answer = kb.ask("a red ball on white")
    pictures = [block for block in answer.blocks if block.kind == "image"]
    assert pictures and "red ball" in pictures[0].text
    shown = answer.citation(pictures[0].citations[0]).hit.image
    assert shown and Path(shown).exists()
    assert f"](<{shown}>)" in answer.markdown()


def test_an_answer_repeats_no_text_and_no_picture(kb: cp.Collection, folder: Path) -> None:
    shutil.copy(folder / "weather.txt", folder / "copy.txt")
    shutil.copy(folder / "pumps.md", folder / "again.md")
    kb.add(folder)
    for question in ("When did the snow fall?", "a red ball on white"):
        blocks = kb.ask(question).blocks
        assert blocks and len({block.text for block in blocks}) == len(blocks)


def test_an_answer_invents_nothing(kb: cp.Collection) -> None:
    answer = kb.ask("Who won the chess championship in 1972?")
    assert answer.abstained and answer.reason and answer.blocks == () and answer.citations == ()


def test_a_code_in_the_question_must_be_in_the_answer(tmp_path: Path) -> None:
    (tmp_path / "errors.md").write_text(
        "# Errors\n\n## 0x80370102\n\nThe virtual machine could not be started.\n\n"
        "## 0x8000FFFF\n\nThe error means an unexpected failure of the machine.\n",
        encoding="utf-8",
    )
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path / "errors.md")
        answer = kb.ask("What does error 0x80370102 mean?")
        assert [block.text for block in answer.blocks] == ["The virtual machine could not be started."]
        assert kb.ask("What does error 0x80999999 mean?").abstained


def test_document_text_is_escaped_in_markdown(tmp_path: Path) -> None:
    evil = "The gauge reads ![x](http://evil.example/p.png) and <script>alert(1)</script> nine bar."
    (tmp_path / "evil.txt").write_text(evil, encoding="utf-8")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path / "evil.txt")
        shown = kb.ask("What does the gauge read?").markdown()
    assert "nine bar" in shown
    assert "![x]" not in shown and "<script>" not in shown


def test_collections_may_be_searched_while_another_process_adds(
    kb: cp.Collection, folder: Path, tmp_path: Path
) -> None:
    other = cp.open(kb.folder)
    (folder / "late.txt").write_text("A zeppelin landed in the garden.", encoding="utf-8")
    other.add(folder)
    assert names(kb.search("zeppelin", k=1)) == ["late.txt"]


def test_real_photographs_are_found_by_caption(tmp_path: Path) -> None:
    """A sanity check on real pictures; the figures are measured in benchmarks/quality.py."""
    folder = data("flickr8k")
    captions: dict[str, list[str]] = {}
    for line in (folder / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        name, caption = line.split("\t")
        captions.setdefault(name.split("#")[0], []).append(caption)
    chosen = (folder / "Flickr_8k.devImages.txt").read_text().split()[:40]
    with cp.open(tmp_path / "kb") as kb:
        assert kb.add(*(folder / "images" / name for name in chosen)).added == 40
        right = sum(names(kb.search(captions[name][0], k=5)).count(name) for name in chosen)
    assert right >= 24  # of 40; by chance 5


def test_negative_queries_lower_matching_hits(kb: cp.Collection, folder: Path) -> None:
    plain = {hit.item.id: hit for hit in kb.search("pump", k=20)}
    less = {hit.item.id: hit for hit in kb.search("pump", negative="dry in August", k=20)}
    assert set(plain) == set(less)
    (south,) = (id_ for id_, hit in plain.items() if "runs dry" in (hit.item.text or ""))
    assert less[south].score < plain[south].score
    assert any(channel.channel.startswith("not ") and channel.contribution < 0 for channel in less[south].breakdown)
    assert all(less[id_].score <= plain[id_].score for id_ in plain)
    ball = folder / "pictures" / "ball.png"
    hits = kb.search("a ball or a box", negative_image=ball, modality="image", k=5)  # two copies of the ball are one
    negative_weight = {
        names([hit])[0]: math.fsum(
            channel.contribution for channel in hit.breakdown if channel.channel.startswith("not ")
        )
        for hit in hits
    }
    near_duplicates = {names([hit])[0]: len(hit.near_duplicates) for hit in hits}
    (values,) = set(negative_weight) - {"box.png"}  # either of the two
    assert negative_weight[values] < 2 * negative_weight["box.png"] < 0 and near_duplicates == {values: 1, "box.png": 0}


def test_a_minimum_confidence_leaves_out_unlikely_hits(kb: cp.Collection) -> None:
    every = kb.search("Which seal does the north pump need?", k=20)
    assert 0 < every[-1].confidence < 0.1 < every[0].confidence
    some = kb.search("Which seal does the north pump need?", k=20, min_confidence=0.1)
    assert [hit.item.id for hit in some] == [hit.item.id for hit in every if hit.confidence >= 0.1]
    answer = kb.ask("quarterly revenue of the shipping division", min_confidence=0.5)
    assert answer.abstained and not answer.hits
    for wrong in (-0.1, 1.5, math.nan):
        with pytest.raises(cp.QueryError, match="min_confidence"):
            kb.search("pump", min_confidence=wrong)


def test_one_item_and_one_modality_work(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("The gauge reads nine bar.", encoding="utf-8")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(tmp_path / "one.txt")
        for method in ("calibrated", "rrf"):
            (hit,) = kb.search("gauge", ranking=cp.Ranking(method=method))  # type: ignore[arg-type]
            assert 0 <= hit.score <= 1 and math.isfinite(hit.confidence)
        assert kb.search("gauge")[0].confidence > kb.search("a herd of elephants")[0].confidence


def test_vectors_that_are_not_numbers_are_refused_with_the_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for name in ("fine", "cursed", "also"):
        (notes / f"{name}.txt").write_text(f"The {name} gauge reads nine bar.", encoding="utf-8")
    with cp.open(tmp_path / "kb") as kb:
        encode = kb.space.bundle.text.encode

        def broken(texts: Sequence[str], role: str = "document") -> np.ndarray:
            rows = encode(texts, role)  # type: ignore[arg-type]
            rows[["cursed" in text for text in texts]] = np.nan
            return rows

        monkeypatch.setattr(kb.space.bundle.text, "encode", broken)
        report = kb.add(notes, workers=1, progress=False)
        assert report.added == 2
        ((path, reason),) = report.failed
        assert path.endswith("cursed.txt") and "not numbers" in reason
        failed = {Path(document.path).name: document.status for document in kb.documents()}
        assert failed["cursed.txt"] == "failed" and not kb.store.counts()["documents"].keys() - {"ok", "failed"}
        assert {Path(hit.item.document.path).name for hit in kb.search("gauge")} == {"fine.txt", "also.txt"}
        with pytest.raises(ModelError, match="not numbers"):
            kb.search("a cursed question")


@pytest.mark.parametrize("method", ["calibrated", "rrf"])
def test_identical_items_and_filters_that_allow_nothing(tmp_path: Path, method: str) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for n in range(12):  # the same words and the same vector, twelve times: every score is equal
        (notes / f"{n:02d}.txt").write_text("The gauge reads nine bar.", encoding="utf-8")
    with cp.open(tmp_path / "kb") as kb:
        kb.add(notes, workers=1, progress=False)
        ranking = cp.Ranking(method=method, collapse=False)  # type: ignore[arg-type]
        hits = kb.search("gauge", k=20, ranking=ranking)
        assert len(hits) == 12 and len({hit.score for hit in hits}) == (12 if method == "rrf" else 1)
        assert all(0 <= hit.score <= 1 and math.isfinite(hit.confidence) for hit in hits)
        (hit,) = kb.search("gauge", k=20, ranking=cp.Ranking(method=method))  # type: ignore[arg-type]
        assert len(hit.near_duplicates) == 11
        for nothing in ({"modality": "image"}, {"path": "nowhere/*"}, {"media_type": "image/*"}):
            assert kb.search("gauge", ranking=ranking, **nothing) == []  # type: ignore[arg-type]
            assert kb.ask("gauge", ranking=ranking, **nothing).abstained  # type: ignore[arg-type]


def test_a_ranking_is_stored_with_the_collection(kb: cp.Collection) -> None:
    kb.ranking = cp.Ranking(method="rrf")
    with cp.open(kb.folder) as again:
        assert again.ranking.method == "rrf"
        assert again.search("pump")[0].score < 0.05  # reciprocal ranks, not probabilities
        again.ranking = None
    assert kb.ranking == cp.Ranking()


def test_filters_by_metadata_of_documents(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, author, date, language in (
        ("a.html", "Ann Lee", "2023-12-31T23:59", "en"),
        ("b.html", "Bo Ek", "2024-01-01", "en-GB"),
        ("c.html", "ANN LEE", "2024-05", "de"),
    ):
        head = f'<html lang="{language}"><meta name="author" content="{author}"><meta name="date" content="{date}">'
        (folder / name).write_text(f"{head}<p>The pump of {name} needs a seal.</p>")
    (folder / "d.txt").write_text("A pump without a date of its own.")
    os.utime(folder / "d.txt", (0, 1_700_000_000))  # November 2023
    with cp.open(tmp_path / "kb") as kb:
        assert kb.add(folder).added == 4

        def found(**allowed: object) -> list[str]:
            return sorted(names(kb.search("pump", k=9, **allowed)))  # type: ignore[arg-type]

        assert found(after="2024") == ["b.html", "c.html"]
        assert found(before="2024") == ["a.html", "d.txt"]
        assert found(after="2023-12-31", before=datetime.date(2024, 2, 1)) == ["a.html", "b.html"]
        assert found(after=datetime.datetime(2023, 12, 31, 23, 59, 1)) == ["b.html", "c.html"]
        assert found(where={"author": "ann lee"}) == ["a.html", "c.html"]
        assert found(where={"author": ["bo*", "nobody"], "language": ["de", "en-*"]}) == ["b.html"]
        assert found(where={"dated": "file"}, path="*.txt") == ["d.txt"]
        assert found(where={"author": "*"}, after="2025") == []
        answer = kb.ask("Which pump needs a seal?", where={"author": "bo ek"})
        assert {Path(citation.hit.item.document.path).name for citation in answer.citations} == {"b.html"}
        (hit,) = kb.search("pump", where={"language": "DE"})
        assert hit.dict()["metadata"] == {
            "author": ["ANN LEE"], "created": "2024-05", "language": "de", "date": "2024-05", "dated": "created",
        }  # fmt: skip
        for wrong in ({"after": "soon"}, {"before": "2024-13"}, {"where": {"author": ""}}, {"where": {"": "x"}},
                      {"where": {"author": []}}, {"after": "24"}):  # fmt: skip
            with pytest.raises(cp.QueryError, match=r"date|empty"):
                kb.search("pump", **wrong)  # type: ignore[arg-type]
        assert found(after=2024) == ["b.html", "c.html"]
        # Values on which SQLite or Python would fail are refused first.
        for wrong, why in (({"where": {"author": 5}}, "no text"), ({"where": {"author": ["x", None]}}, "no text"),
                           ({"where": {"author": "x" * 60_000}}, "60,000 characters"), ({"where": ["author"]}, "keys"),
                           ({"where": {f"k{n}": "x" for n in range(1500)}}, "1500 keys"), ({"where": {5: ""}}, "empty"),
                           ({"where": {"author": "\ud800"}}, "no character"), ({"path": "*" * 60_000}, "characters"),
                           ({"media_type": folder}, "no text"), ({"after": "x" * 60_000}, "no date")):  # fmt: skip
            with pytest.raises(cp.QueryError, match=why) as error:
                kb.search("pump", **wrong)  # type: ignore[arg-type]
            assert len(str(error.value)) < 300
        hits = kb.search("pump", where={"writer": "ann lee", "author": "nobody"})
        key, value = hits.notes
        assert (
            not hits and key == "no document has the key 'writer'; the keys are: date, dated, language, author, created"
        )
        assert kb.ask("pump", where={"writer": "x"}).notes == (key,)
        assert kb.search("pump", where={"author": "nobody"}).notes == (value,) and "'author'" in value


def test_unchanged_files_are_read_again_with_force(
    kb: cp.Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forced reading adds content that an older version did not store; nothing is embedded again."""
    before = {item.id for document in kb.documents() for item in kb.items(document)}
    assert kb.space.text is not None and kb.space.image is not None

    def never(*_: object) -> np.ndarray:
        raise AssertionError("nothing needs embedding")

    with monkeypatch.context() as patch:
        patch.setattr(type(kb.space.text), "encode", never)
        patch.setattr(type(kb.space.image), "encode", never)
        report = kb.add(folder, force=True)
    assert report.changed == len(kb.documents()) and not report.unchanged
    assert {item.id for document in kb.documents() for item in kb.items(document)} == before
    assert kb.add(folder).unchanged == report.changed


def test_damaged_settings_are_reported_without_a_traceback(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("The pump is in room 7.")
    with cp.open(tmp_path / "kb", model=tiny) as kb:
        kb.add(tmp_path / "files", workers=1, progress=False)
        kb.ranking = cp.Ranking(method="rrf")
    connection = sqlite3.connect(tmp_path / "kb" / "collection.db")
    notes = [name for (name,) in connection.execute("SELECT name FROM meta")]
    connection.close()
    assert {"generation", "setting:ranking"} <= set(notes)
    for note in [*notes, "setting:compression", "lost", "trimmed", "shadow:last", "shadow:space"]:
        kind = '{"text": {"kind": "float17", "recall": {"same": 1.0}, "rows": 9}}'
        for harm in (kind, "garbage", "\u00b2", "9" * 400, "[1", '{"text": 3}', b"\xff\x00"):
            shutil.rmtree(tmp_path / "near_duplicate", ignore_errors=True)
            shutil.copytree(tmp_path / "kb", tmp_path / "near_duplicate")
            connection = sqlite3.connect(tmp_path / "near_duplicate" / "collection.db", isolation_level=None)
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (note, harm))
            connection.close()
            named = True
            with suppress(CommonplaceError), cp.open(tmp_path / "near_duplicate") as kb:
                for call in (kb.status, partial(kb.search, "pump")):
                    with suppress(CommonplaceError):
                        call()
                named = bool(kb.maintenance.doctor())
                kb.maintenance.doctor(repair=True)
            assert named, (note, harm)


def test_a_crop_that_cannot_be_removed_keeps_its_document(tmp_path: Path, folder: Path, tiny: Path) -> None:
    with cp.open(tmp_path / "kb", model=tiny) as kb:
        kb.add(folder, workers=1, progress=False)
        (picture,) = kb.store.pictures(
            document.id for document in kb.store.documents() if document.path.endswith("box.png")
        )
        (tmp_path / "kb" / "crops" / f"{picture}.jpg").mkdir(parents=True)
        with pytest.raises(CommonplaceError, match="check its permissions"):
            kb.remove(folder)
        assert len(list(kb.store.documents())) == 5
        (tmp_path / "kb" / "gone").symlink_to(tmp_path / "nowhere")  # like a file that another process removes
        assert kb.status()["bytes"] > 0


def test_missing_files_are_counted_for_paths_in_a_list(folder: Path, tmp_path: Path) -> None:
    with cp.open(tmp_path / "kb", model=tiny_bundle(tmp_path / "tiny")) as kb:
        kb.add(folder)
        (folder / "zh.txt").unlink()
        assert kb.add(folder).missing == kb.add([folder]).missing == kb.add(iter([str(folder)])).missing == 1
        assert kb.add([folder / "pumps.md"]).missing == 0


@pytest.mark.parametrize("name", ["~\0x", "a\0b", "\ud800"])
def test_a_path_that_no_file_can_have_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = tiny_bundle(tmp_path / "tiny")
    (tmp_path / "a").write_text("The gauge reads nine bar.", encoding="utf-8")

    async def enter() -> None:
        async with cp.AsyncCollection(name, model=tiny):
            pass

    with cp.open(tmp_path / "kb", model=tiny) as kb:
        kb.add(cp.Record("The pump needs the blue seal.", id="pump"), "a")
        assert name not in kb and kb.get(name) is None
        calls = [
            (cp.CollectionError, lambda: kb.find(name)),
            (cp.CollectionError, lambda: kb.remove(name)),
            (cp.CollectionError, lambda: kb.page(name)),
            (cp.QueryError, lambda: kb.search("pump", path=name)),
            (cp.ModelError, lambda: kb.search("pump", rerank=name)),
            (cp.ReadError, lambda: kb.search(image=name)),
            (cp.CollectionError, lambda: kb.maintenance.backup(name)),
            (cp.CollectionError, lambda: kb.maintenance.restore(name, replace=True)),
            (cp.CollectionError, lambda: cp.open(name, model=tiny)),
            (cp.CollectionError, lambda: asyncio.run(enter())),
            (cp.ModelError, lambda: cp.open(tmp_path / "other", model=name)),
        ]
        for expected, call in calls:
            with pytest.raises(expected) as error:
                call()
            assert "\n" not in str(error.value) and "\0" not in str(error.value)
        assert len(kb) == 2
