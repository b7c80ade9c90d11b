"""What the towers themselves cost and lose: text length and quantisation, languages, picture geometry, speed.

    python models/sides.py     writes models/SIDES.md, and sides.json: delete a section there to have it again

Speed is measured with the instruction sets as they are and, in a process of its own, limited as on older machines.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import data
import evaluate
from bundle import BUNDLE, RESOLUTION, SHIPPED, embed
from features import (
    Floats,
    cached,
    compiled,
    encode_texts,
    lite_file,
    picture_features,
    text_vectors,
    tokenizer,
    unit,
)  # fmt: skip
from head import components
from towers import Lite, Lites, load_minilm

HERE = Path(__file__).parent
INSTRUCTIONS = {
    "all": {},
    "AVX-512, no bf16": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI", "ATEN_CPU_CAPABILITY": "avx512"},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
}


def published(texts: list[str], max_tokens: int = 256) -> Floats:
    """Return unit rows (N, 384) from the text tower as published: PyTorch, float32."""

    def make() -> Floats:
        model = load_minilm()

        def states(inputs: list[np.ndarray]) -> Floats:
            with torch.inference_mode():
                return model(*map(torch.from_numpy, inputs)).numpy()

        return unit(encode_texts(states, tokenizer(BUNDLE / "tokenizer.json"), texts, max_tokens))

    return cached("published", [max_tokens, *texts], make)


def text() -> dict[str, Any]:
    """Return Cranfield nDCG@10 by length and precision, and mean cosine to the published weights."""
    abstracts, questions, judgments = data.cranfield()
    abstracts = [abstract or "-" for abstract in abstracts]  # one is empty
    found = {}
    for tokens in (128, 256):
        towers: dict[str, Callable[[list[str]], Floats]] = {
            "PyTorch float32": partial(published, max_tokens=tokens),
            "shipped, f32": partial(text_vectors, BUNDLE, precision="f32", max_tokens=tokens),
            "shipped, bf16": partial(text_vectors, BUNDLE, precision="bf16", max_tokens=tokens),
        }
        for name, tower in towers.items():
            rows = tower(abstracts)
            cosine = float((rows * published(abstracts, tokens)).sum(1).mean())
            found[f"{name}, {tokens} tokens"] = [evaluate.ndcg(tower(questions) @ rows.T, judgments), round(cosine, 5)]
    return found


def languages() -> dict[str, Any]:
    """Return for each language recall@5 of the passage that answers, and the share of unknown question tokens."""
    tokens, found = tokenizer(BUNDLE / "tokenizer.json"), {}
    unknown = tokens.token_to_id("[UNK]")
    for language in ("en", "zh"):
        passages, questions, owner = data.xquad(language)
        scores = text_vectors(BUNDLE, questions) @ text_vectors(BUNDLE, passages).T
        ids = [e.ids for e in tokens.encode_batch(questions, add_special_tokens=False)]
        share = sum(i.count(unknown) for i in ids) / sum(map(len, ids))
        skipped = np.mean([i.count(unknown) > 0.2 * len(i) for i in ids])
        recall = evaluate.recall(evaluate.ranks(scores, owner), (5,))
        found[language] = [*recall, round(100 * share, 1), round(100 * float(skipped), 1)]
    return found


def geometry() -> dict[str, Any]:
    """Return how often a shop photo that is not square is nearest to the name of its own product, by geometry."""
    from PIL import Image

    shops = data.grocery()
    odd = [i for i, path in enumerate(shops.shop) if len(set(Image.open(path).size)) > 1]
    names = text_vectors(BUNDLE, [f"a photo of a {name}" for name in shops.names])
    owner = np.array(shops.shop_class)[odd]
    found = {}
    for how in ("squash", "crop", "pad"):
        pictures = embed(BUNDLE, picture_features(BUNDLE / "image.onnx", [shops.shop[i] for i in odd], geometry=how))
        found[how] = [*evaluate.recall(evaluate.ranks(pictures @ names.T, owner)), len(odd)]
    return found


def visual(name: str, file: Path, precision: str, embedded: bool) -> dict[str, Any]:
    """Return how often a shop photo's nearest other photo shows the same product, and the same kind of product."""
    shops, train = data.grocery(), data.flickr8k("train").paths
    last = 1280 if file == lite_file(0) else 1280 * len(SHIPPED)  # means of earlier maps follow
    seen, shop = (
        torch.from_numpy(np.array(picture_features(file, paths, precision=precision)[:, :last]))
        for paths in (train, shops.shop)
    )
    ways = {"raw": shop, "raw, centred": shop - seen.mean(0)}
    for whiten, how in ((0.0, ""), (0.5, ", half whitened"), (1.0, ", whitened")):
        rows = components(seen, 384, whiten)(shop)
        for dim in (64, 128, 256, 384):
            ways[f"{dim} components{how}"] = rows[:, :dim]
    named = {f"{name}, {how}": unit(rows.numpy()) for how, rows in ways.items()}
    if embedded:
        named[f"{name}, embedding"] = embed(BUNDLE, picture_features(file, shops.shop, precision=precision))
    return {
        how: [evaluate.same(rows, shops.shop_class), evaluate.same(rows, shops.shop_kind)]
        for how, rows in named.items()
    }


# ---------------------------------------------------------------- speed


def rate(run: Callable[[], object], items: int, seconds: float = 1.0) -> float:
    """Return items a second of processor time: the best of as many runs as fit, for others only ever add to it."""
    run()
    best, spent = np.inf, 0.0
    while spent < seconds:
        begun = time.process_time()
        run()
        took = time.process_time() - begun
        best, spent = min(best, took), spent + took
    return round(items / best, 1)


def speed() -> dict[str, float]:
    """Return texts of 188 tokens and pictures a second, in PyTorch float32 and as shipped, on one thread."""
    torch.set_num_threads(1)
    ids = np.random.default_rng(0).integers(1000, 20000, (16, 188))
    pictures, smaller = (np.zeros((16, 3, size, size), np.float32) for size in (RESOLUTION, 224))
    mask = np.ones_like(ids)
    minilm, lites, lite = load_minilm(), Lites(SHIPPED, RESOLUTION).eval(), Lite(0).eval()
    found = {}
    with torch.inference_mode():
        torch_ids = torch.from_numpy(ids)
        found["text, PyTorch float32"] = rate(lambda: minilm(torch_ids, torch.ones_like(torch_ids)), 16)
        found["pictures, PyTorch float32"] = rate(lambda: lites(torch.from_numpy(pictures)), 16)
        found["pictures, PyTorch float32, Lite0 alone"] = rate(lambda: lite(torch.from_numpy(smaller)), 16)
    # Without bf16 instructions OpenVINO serves f32; forced to bf16 under a limit it fails.
    limited = "ONEDNN_MAX_CPU_ISA" in os.environ
    for precision in ("f32",) if limited else ("f32", "bf16"):
        text_tower, image_tower = (compiled(BUNDLE / f"{kind}.onnx", precision, 1) for kind in ("text", "image"))
        found[f"text, shipped {precision}"] = rate(partial(text_tower, [ids, mask]), 16)
        found[f"pictures, shipped {precision}"] = rate(partial(image_tower, [pictures]), 16)
    return found


def speeds() -> dict[str, dict[str, float]]:
    """Return ``speed`` for each instruction set; the limit must stand before the libraries load."""
    found = {}
    for name, limits in INSTRUCTIONS.items():
        run = [sys.executable, __file__, "speed"]
        out = subprocess.run(run, env={**os.environ, **limits}, capture_output=True, text=True, check=True)
        found[name] = json.loads(out.stdout.splitlines()[-1])
    return found


def main() -> None:
    if sys.argv[1:] == ["speed"]:
        print(json.dumps(speed()))
        return
    file = HERE / "sides.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    sections: dict[str, Callable[[], dict[str, Any]]] = {
        "text": text,
        "languages": languages,
        "geometry": geometry,
        "looks, Lite0": lambda: visual("Lite0", lite_file(0), "f32", False),
        "looks": lambda: visual("as shipped", BUNDLE / "image.onnx", "bf16", True),
        "speed": speeds,
    }
    for name, measure in sections.items():
        if name not in found:
            found[name] = measure()
            file.write_text(json.dumps(found, indent=1) + "\n")

    lines = ["# The towers: length, precision, languages, geometry, looks, speed", ""]
    lines += ["Written by `python models/sides.py`.", "", "## Text: length and precision (Cranfield)", ""]
    lines += ["| tower | nDCG@10 | mean cosine to PyTorch float32 |", "|---|---|---|"]
    lines += [f"| {name} | {score} | {cosine} |" for name, (score, cosine) in found["text"].items()]
    lines += ["", "## Languages (XQuAD, 240 passages, 1,190 questions, dense text tower alone)", ""]
    lines += ["| language | recall@5 | unknown tokens, % | questions over 20% unknown, % |", "|---|---|---|---|"]
    lines += [f"| {name} | {' | '.join(map(str, row))} |" for name, row in found["languages"].items()]
    lines += ["", "## Geometry (grocery shop photos that are not square: which product is it, of 81 names)", ""]
    lines += ["| geometry | R@1 | R@5 | R@10 | photos |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {' | '.join(map(str, row))} |" for name, row in found["geometry"].items()]
    lines += ["", "## Pictures by a picture (900 shop photos: is the nearest other one the same?)", ""]
    lines += ["| features | same product@1 | same kind@1 |", "|---|---|---|"]
    rows = found["looks, Lite0"] | found["looks"]
    lines += [f"| {name} | {product} | {kind} |" for name, (product, kind) in rows.items()]
    rates = found["speed"]
    lines += ["", "## Speed: texts of 188 tokens and pictures a second of one core (batches of 16, model only)", ""]
    columns = list(next(iter(rates.values())))
    lines += ["| instructions | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(str(row.get(c, "-")) for c in columns) + " |" for name, row in rates.items()]
    (HERE / "SIDES.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
