"""Install each extra in an environment of its own, use what it brings, and keep a table of sizes.

python scripts/extras.py [EXTRA ...]     default: all but those with PyTorch

Run `make dist` first: the wheel in dist/ is installed. The table is benchmarks/results/extras.md.
"""

from __future__ import annotations

import datetime
import json
import sys
import tempfile
from pathlib import Path

from environments import ROOT, environment, packages, run, size

RESULTS = ROOT / "benchmarks" / "results"
TORCH = ("export", "train", "transformers")
"""Extras with PyTorch: gigabytes."""

SERVE = """
import subprocess, sys, time, urllib.request
server = subprocess.Popen([sys.argv[1], "serve", "--port", "8473"], stderr=-3, stdout=-3)  # -3: DEVNULL
try:
    for _ in range(600):
        try:
            print(urllib.request.urlopen("http://127.0.0.1:8473/health").status)
            break
        except OSError:
            time.sleep(0.2)
finally:
    server.terminate()
    server.wait()
"""
VIDEO = """
import av
with av.open("film.mp4", "w") as film:
    stream = film.add_stream("mpeg4", rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for _ in range(20):
        film.mux(stream.encode(av.VideoFrame(64, 48, "rgb24").reformat(format="yuv420p")))
    film.mux(stream.encode())
"""
OCR = """
from PIL import Image, ImageDraw, ImageFont
picture = Image.new("RGB", (600, 120), "white")
ImageDraw.Draw(picture).text((20, 30), "BLUE SEAL", fill="black", font=ImageFont.load_default(48))
picture.save("words.png")
"""
SEVEN = """
import py7zr
with py7zr.SevenZipFile("papers.7z", "w") as archive:
    archive.writestr("The north pump needs the blue seal.", "pumps.txt")
"""
MCP = """
import asyncio, sys
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client
async def main():
    async with stdio_client(StdioServerParameters(command=sys.argv[1], args=["mcp"])) as (reader, writer):
        async with ClientSession(reader, writer) as session:
            await session.initialize()
            print(*(tool.name for tool in (await session.list_tools()).tools))
asyncio.run(main())
"""
LABEL = '{"text": "Which seal?", "relevant": {"pumps.md": 1}}'

#: For each extra: Python that prepares (COMMAND is its argument), words of the command, what one of both must show.
PROBES: dict[str, tuple[str, list[str], str]] = {
    "models": ("import huggingface_hub", ["models"], "clip-b32"),
    "ocr": (OCR, ["read", "words.png"], "BLUE SEAL"),
    "video": (VIDEO, ["read", "film.mp4"], "film.mp4"),
    "7z": (SEVEN, ["read", "papers.7z"], "blue seal"),
    "eval": (f"open('q.jsonl', 'w').write('''{LABEL}''')", ["eval", "q.jsonl", "--plots", "plots"], "plots"),
    "chat": ("", ["ask", "Which seal?", "--llm", "openai:m", "--base-url", "http://127.0.0.1:9/v1"], "127.0.0.1"),
    "milvus": ("", ["--collection", "milvus-lite://{folder}/lite.db", "add", "pumps.md"], "1 added"),
    "serve": (SERVE, [], "200"),
    "mcp": (MCP, [], "search"),
    "ray": ("import ray, fsspec", ["add", "--help"], "--ray"),
    "langchain": ("import commonplace.integrations.langchain as m; print(m.__name__)", [], "langchain"),
    "llama-index": ("import commonplace.integrations.llama_index as m; print(m.__name__)", [], "llama_index"),
    "haystack": ("import commonplace.integrations.haystack as m; print(m.__name__)", [], "haystack"),
    "export": ("import commonplace.export as m; print(m.__name__)", [], "export"),
    "train": ("import commonplace.training as m; print(m.__name__)", [], "training"),
    "transformers": ("import transformers, torch; print(torch.__version__)", [], "."),
}


def probe(python: Path, folder: Path, extra: str) -> str:
    """Return an empty text if the extra does what it is for, and otherwise what was shown."""
    prepare, words, expected = PROBES[extra]
    command = python.parent / "commonplace"
    folder.mkdir()
    (folder / "pumps.md").write_text("The north pump needs the blue seal.", encoding="utf-8")
    run(command, "add", "pumps.md", cwd=folder)
    shown = run(python, "-c", prepare, command, cwd=folder, check=False)
    if words:
        shown += run(command, *(word.format(folder=folder) for word in words), cwd=folder, check=False)
    return "" if expected in shown and "Traceback" not in shown else shown


def main(extras: list[str]) -> None:
    """Try each extra and renew its row of the table."""
    (wheel,) = (ROOT / "dist").glob("commonplace_rag-*.whl")
    kept = RESULTS / "extras.json"
    rows: dict[str, dict[str, object]] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for extra in extras:
        with tempfile.TemporaryDirectory() as work:
            requirement = str(wheel) if extra == "none" else f"{wheel}[{extra}]"
            python = environment(Path(work) / "environment", requirement)
            shown = probe(python, Path(work) / "folder", extra) if extra in PROBES else ""
            rows[extra] = {
                "packages": len(packages(python)),
                "MB": round(size(python)),
                "works": not shown,
                "date": datetime.date.today().isoformat(),
            }
            print(extra, rows[extra], shown, flush=True)
        kept.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    base = int(str(rows["none"]["MB"]))
    lines = [
        f"Each extra in a fresh environment, installed from the wheel and used once. Without extras: {base} MB.",
        "",
        "| extra | packages | MB | more than without | works | tried on |",
        "|---|---|---|---|---|---|",
    ]
    for extra, row in sorted(rows.items()):
        more, works = int(str(row["MB"])) - base, "yes" if row["works"] else "no"
        lines.append(f"| `{extra}` | {row['packages']} | {row['MB']} | {more} | {works} | {row['date']} |")
    missing = [f"`{extra}`" for extra in PROBES if extra not in rows]
    if missing:
        lines += ["", f"Not tried in this way: {', '.join(missing)} (gigabytes of PyTorch)."]
    (RESULTS / "extras.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if not all(row["works"] for row in rows.values()):
        raise SystemExit("an extra does not do what it is for")


if __name__ == "__main__":
    main(sys.argv[1:] or ["none", *(extra for extra in PROBES if extra not in TORCH)])
