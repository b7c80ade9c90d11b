"""The same folder and questions through Commonplace and through others, each in an environment of its own.

    python benchmarks/peers.py --envs DIR [--split dev|test] [--system NAME ...]

The folder is made here and may be redistributed: ordinary folders (ordinary/*.txt, texts of ours in a dozen formats)
in one, and the demo's photographs (examples/library/photographs). Questions are those of ordinary/questions.jsonl that
have an answer and stand alone, a description of each photograph (labels/peers.jsonl), and a grey, mirrored part of each.
``dev`` was used to make the programs run (results/peers_dev.md); ``test`` is kept for the report (results/peers.md). ``DIR/NAME`` is the environment of a system:

    lancedb      lancedb, markitdown[pdf,docx,pptx,xlsx]
    llamaindex   llama-index-core, llama-index-readers-file
    txtai        txtai, torch, markitdown[pdf,docx,pptx,xlsx]
    commonplace  commonplace-rag

Those three also need commonplace-rag, for the vectors: models of their own come from a hub, which cannot be reached
where this was run. Their sizes are measured without it (``--sizes``, before it is installed); Commonplace's is that of
results/size.md.

A file counts at the rank of its first passage. A citation is right if the first passage is of a right file and has the
words that an answer must have, however much else it has.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from common import RESULTS, ROOT, interval, keep, machine, ndcg, table
from ordinary import questions as ordinary_questions
from ordinary import spellings
from ordinary_files import make

SPLITS = {"dev": ("household",), "test": ("club", "research")}
PHOTOGRAPHS = ROOT / "examples" / "library" / "photographs"
LABELS = Path(__file__).resolve().parent / "labels" / "peers.jsonl"
NAMES = {
    "commonplace": "Commonplace",
    "lancedb": "markitdown + LanceDB, hybrid",
    "llamaindex": "LlamaIndex, vectors",
    "txtai": "txtai, hybrid",
}
TABLES = ("row", "number", "comparison")
Question = dict[str, Any]


def make_folder(split: str, to: Path) -> list[Question]:
    """Write the folder below ``to``, and parts of its photographs beside it; return the questions."""
    asked = []
    for name in SPLITS[split]:
        missing = set(make(name, to / name, None))
        for row in ordinary_questions((name,)):
            files = [f"{name}/{file}" for file in row.get("files", []) if file not in missing]
            if not files or "before" in row or "image" in row or row["kind"].startswith("absent"):
                continue
            asked.append({**row, "files": files, "group": _group(row)})
    (to / "photographs").mkdir()
    for line in LABELS.read_text(encoding="utf-8").splitlines():
        label = json.loads(line)
        source = PHOTOGRAPHS / label["file"]
        # A file's name must not give it away.
        name = f"photographs/IMG_{sum(map(ord, label['file'])) % 10_000:04}.jpg"
        assert not (to / name).exists()
        (to / name).write_bytes(source.read_bytes())
        asked.append(
            {"id": f"words-{name}", "question": label["question"], "files": [name], "group": "photograph, words"}
        )
        part = to.parent / f"part-{source.name}"
        with Image.open(source) as image:
            width, height = image.size
            box = int(0.15 * width), int(0.15 * height), int(0.8 * width), int(0.8 * height)
            ImageOps.mirror(ImageOps.grayscale(image.crop(box))).save(part)
        asked.append({"id": f"part-{name}", "image": str(part), "files": [name], "group": "photograph, picture"})
    return asked


def _group(row: Question) -> str:
    """Return the kind of a question in the table."""
    if row["language"] != "en":
        return {"zh": "Chinese", "de": "German"}[row["language"]]
    if row["kind"] in TABLES:
        return "rows and numbers"
    return "drawing" if row["kind"].startswith("picture") else "facts and instructions"


def run(system: str, python: Path, folder: Path, asked: list[Question]) -> dict[str, Any] | None:
    """Return what a system answered; None if it failed, with the reason printed."""
    questions, out = folder.parent / "questions.jsonl", folder.parent / f"{system}.json"
    keys = ("id", "question", "image")
    lines = [json.dumps({key: row[key] for key in keys if key in row}, ensure_ascii=False) for row in asked]
    questions.write_text("\n".join(lines), encoding="utf-8")
    script = Path(__file__).with_name("peers_run.py")
    done = subprocess.run(
        [python, script, system, folder, questions, out], capture_output=True, text=True, cwd=folder.parent
    )
    if done.returncode:
        print(f"{system}: {done.stderr.strip().splitlines()[-1]}")
        return None
    result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    result["unread"] = sorted(line for line in done.stderr.splitlines() if line.startswith("markitdown:"))
    return result


def _holds(text: str, groups: list[list[str]]) -> bool:
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return all(any(spelling in folded for word in group for spelling in spellings(word)) for group in groups)


def judged(result: dict[str, Any], folder: Path, asked: list[Question]) -> Iterator[dict[str, Any]]:
    """Yield for each question its group, recall@5, nDCG@10 and whether the first passage is a right citation."""
    answers = {row["id"]: row["passages"] for row in result["answered"]}
    for row in asked:
        passages = [
            (str(Path(path).resolve().relative_to(folder.resolve())), text) for path, text in answers[row["id"]]
        ]
        files = list(dict.fromkeys(path for path, _ in passages))
        gains = dict.fromkeys(row["files"], 1.0)
        needed = set(row["files"]) if row.get("every") else None
        found = set(files[:5]) & set(row["files"])
        cited = None
        if row.get("must"):
            cited = bool(passages) and passages[0][0] in gains and _holds(passages[0][1], row["must"])
        yield {
            "group": row["group"],
            "recall": len(found) / len(needed) if needed else float(bool(found)),
            # any of the files answers, unless every one is needed
            "ndcg": ndcg(files, gains) if needed else _first_gain(files, gains),
            "cited": cited,
        }


def _first_gain(files: list[str], gains: dict[str, float]) -> float:
    """Return nDCG@10 where one right file is enough: that of the first of them."""
    first = next((file for file in files if file in gains), None)
    return ndcg(files, {first: 1.0}) if first is not None else 0.0


def size(env: Path) -> int:
    """Return the megabytes of an environment's packages, without pip and setuptools."""
    total = 0
    for path in (env / "lib").rglob("*"):
        if path.is_file() and not path.is_symlink() and not {"pip", "setuptools"} & set(path.parts):
            total += path.stat().st_size
    return round(total / 1e6)


def main() -> None:
    """Run the systems one after the other, and keep the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--envs", type=Path, required=True, help="folder of the environments")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--system", choices=NAMES, action="append", help="only these (default: all that are there)")
    parser.add_argument("--sizes", action="store_true", help="only measure the environments, and keep that")
    options = parser.parse_args()
    sizes_file = RESULTS / "peers_sizes.json"
    if options.sizes:
        sizes = {env.name: size(env) for env in sorted(options.envs.iterdir()) if (env / "bin" / "python").exists()}
        sizes_file.write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf-8")
        print(sizes)
        return
    sizes = json.loads(sizes_file.read_text(encoding="utf-8")) if sizes_file.exists() else {}
    sizes["commonplace"] = round(json.loads((RESULTS / "size.json").read_text(encoding="utf-8"))["total"])
    systems = [name for name in options.system or NAMES if (options.envs / name / "bin" / "python").exists()]
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "folder"
        asked = make_folder(options.split, folder)
        results = {name: run(name, options.envs / name / "bin" / "python", folder, asked) for name in systems}
        values = {
            name: {**_costs(result), "size": sizes.get(name), "questions": list(judged(result, folder, asked))}
            for name, result in results.items()
            if result is not None
        }
    keep("peers" if options.split == "test" else "peers_dev", report(values, asked, options.split), values)


def _costs(result: dict[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in ("indexed", "first", "cpu", "memory", "worker_memory", "unread")}


def report(values: dict[str, Any], asked: list[Question], split: str) -> str:
    """Return the tables in Markdown."""
    groups = sorted({row["group"] for row in asked})

    def mean(name: str, key: str, group: str | None = None) -> str:
        rows = [row for row in values[name]["questions"] if group in (None, row["group"]) and row[key] is not None]
        if not rows:
            return "-"
        middle, low, high = interval([100 * row[key] for row in rows])
        return f"{middle:.0f} ({low:.0f} to {high:.0f})" if group is None else f"{middle:.0f}"

    head = ["", *(NAMES[name] for name in values)]
    line: Callable[[str, str, str | None], list[str]] = lambda title, key, group: [  # noqa: E731
        title,
        *(mean(name, key, group) for name in values),
    ]
    count = {group: sum(row["group"] == group for row in asked) for group in groups}
    found = [line("all, recall@5", "recall", None), line("all, nDCG@10", "ndcg", None)]
    found.append(line("right citation first", "cited", None))
    kinds = [line(f"{group} ({count[group]}), recall@5", "recall", group) for group in groups]
    kinds += [line(f"{group}, nDCG@10", "ndcg", group) for group in groups]
    costs = [
        ["installed, MB", *(values[name]["size"] or "-" for name in values)],
        ["from start to first answer, s", *(f"{values[name]['first']:.0f}" for name in values)],
        ["processor time of everything, s", *(f"{values[name]['cpu']:.0f}" for name in values)],
        [
            "memory, MB (workers: the largest)",
            *(f"{values[name]['memory']:.0f} ({values[name]['worker_memory']:.0f})" for name in values),
        ],
        ["files not read", *(len(values[name]["unread"]) for name in values)],
    ]
    return "\n\n".join(
        [
            f"Measured on {machine()}. Split {split}, {len(asked)} questions; means with 95% bootstrap intervals. The machine was shared: "
            "times are rough.",
            table(head, found),
            "By kind of question (how many):\n\n" + table(head, kinds),
            "What it costs:\n\n" + table(head, costs),
            NOTES,
        ]
    )


NOTES = """The others got the vectors of Commonplace's shipped encoders, words and pictures in one space, by their own doors for
vectors: an index of LanceDB with BM25 and reciprocal ranks, LlamaIndex's `VectorStoreIndex` with `ImageNode`s and its default
splitter, txtai's hybrid embeddings with an external transform. A system without a column was not run yet. With models from a hub they may find more or less. The
memory of each has the encoders in it. Commonplace was run without OCR.

Not run: **rclip** and **anygrep** load their models from a hub, which could not be reached. RAGFlow, RAG-Anything, Morphik and
Marqo need services or language models."""


if __name__ == "__main__":
    main()
