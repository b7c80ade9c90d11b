"""Recorded answers of a strong model, sent by a real server for our own folder: what is kept, dropped and cited.

The answers (transcripts.json) were written by hand as such a model writes them. A marker names a file and a word of the
passage; the server puts in the number which that passage has in the prompt, so that a prompt without it fails here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import commonplace as cp
from tests.generation.test_adversary import requests_to

TRANSCRIPTS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "transcripts.json").read_text(encoding="utf-8"))
FILES = {
    "pumps.md": "# Pumps\n\nThe north pump needs the blue seal and runs at 9 bar. "
    "The south pump needs the brass seal and runs at 6 bar. Neither may run dry.\n",
    "mill.txt": "Reuben Harrow built the mill in 1893. Harriet Lowe sold it on 4 May 1921 for 1,200 pounds.\n",
    "2023/minutes.md": "# Minutes of May 2023\n\nOtto Brandt paints the shed in June. The fee stays at 40 euros.",
    "2024/minutes.md": "# Minutes of May 2024\n\nThe shed is painted by Ilse Grote in June. The fee rises to 45 euros.",
    "wsl.md": "# Memory of WSL\n\nTo limit the memory of WSL, create the file `.wslconfig` in your user folder and "
    "write these lines into it:\n\n```ini\n[wsl2]\nmemory=4GB\n```\n\nRun `wsl --shutdown`, then start WSL again.\n",
    "水泵.txt": "北边的水泵需要蓝色的密封圈，压力为9巴。南边的水泵需要黄铜的密封圈，压力为6巴。\n",
    "garden.txt": "The garden has 14 apple trees, none of which was planted before 1950.\n",
}


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory, liar: str) -> Iterator[cp.Collection]:
    folder = tmp_path_factory.mktemp("folder")
    for name, text in FILES.items():
        (folder / "club" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "club" / name).write_text(text, encoding="utf-8")
    for n, colour in enumerate(("red", "green", "blue", "white", "black", "orange")):
        Image.new("RGB", (64, 48), colour).save(folder / "club" / f"IMG_{n}.png")
    generator = cp.ChatGenerator("recorded", base_url=liar, vision=False, fallback=False)
    with cp.open(folder / "kb", generator=generator) as collection:
        collection.add(folder / "club", progress=False)
        yield collection


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=[transcript["question"] for transcript in TRANSCRIPTS])
def test_a_recorded_answer(kb: cp.Collection, liar: str, transcript: dict[str, Any]) -> None:
    answer = kb.ask(transcript["question"], k=10)
    assert answer.abstained == transcript.get("abstained", False)
    support = {block.text: block.support for block in answer.blocks}
    assert list(support) == list(transcript["kept"]), support  # nothing is changed, nothing is lost
    for text, level in transcript["kept"].items():
        allowed = ("weak", "unsupported") if level == "*" else (level,)
        assert support[text] in allowed, (text, support[text])
    reasons = {block.text: block.reason or "" for block in answer.blocks}
    for text, part in transcript.get("reasons", {}).items():
        assert part in reasons[text], reasons[text]
    folder = str(kb.folder.parent / "club")
    cited = {Path(citation.hit.item.document.path).relative_to(folder).as_posix() for citation in answer.citations}
    assert cited == set(transcript["cited"]) and answer.invalid_citations == 0
    prompt = requests_to(liar)[-1]["messages"][1]["content"]
    assert not re.search(r"IMG_\d", prompt)  # pictures of nothing that was asked
    assert set(re.findall(r'path="([^"]*)"', prompt)) >= {f"club/{name}" for name in transcript["cited"]}
    assert folder not in prompt and re.search(r'(?:created|modified|file_modified)="20\d\d-\d\d-\d\d"', prompt)


def test_fewer_hits_are_less_evidence(kb: cp.Collection, liar: str) -> None:
    for k in (1, 2):
        kb.ask("What was decided in May 2024?", k=k)
        assert requests_to(liar)[-1]["messages"][1]["content"].count("<evidence ") == k
