"""How fast each kind of encoder is here, against the same weights in PyTorch float32, in turns.

    python benchmarks/encoders.py            with torch, transformers and sentence-transformers (the extra export)

The models have the published sizes and random weights, which cost the same time: nothing here says how good they are.
Each is saved as a hub repository holds it, exported by `commonplace models export` and run as a bundle, from text or
from pixels of 640 x 480; PyTorch is given tokens and prepared pixels. Texts of 188 tokens (77 for CLIP).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    ConvNextImageProcessorPil,
    EfficientNetConfig,
    EfficientNetImageProcessorPil,
    EfficientNetModel,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetModel,
    RobertaConfig,
    RobertaModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from common import ROOT, keep, machine, table

sys.path.insert(0, str(ROOT))
from tests.encoders.tiny.make import bpe, enliven, wordpiece

from commonplace.encoders import Bundle
from commonplace.encoders.convert import Choice
from commonplace.export import export

TOKENS, BATCH, ROUNDS = 188, 8, 5


def of_bert(folder: Path, **shape: int) -> None:
    tokens = PreTrainedTokenizerFast(
        tokenizer_object=wordpiece(), cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]",
        model_max_length=512,
    )  # fmt: skip
    _save(folder, BertModel(BertConfig(vocab_size=30522, **shape)), tokens)


def roberta(folder: Path) -> None:
    tokens = PreTrainedTokenizerFast(
        tokenizer_object=bpe(["<s>", "<pad>", "</s>", "<unk>"], "<s>", "</s>", lower=False), bos_token="<s>",
        cls_token="<s>", eos_token="</s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>", model_max_length=512,
    )  # fmt: skip
    config = RobertaConfig(max_position_embeddings=514, pad_token_id=1, bos_token_id=0, eos_token_id=2)
    _save(folder, RobertaModel(config), tokens)


def clip(folder: Path) -> None:
    made = bpe(["<|startoftext|>", "<|endoftext|>"], "<|startoftext|>", "<|endoftext|>", lower=True)
    end = made.token_to_id("<|endoftext|>")
    tokens = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>",
        unk_token="<|endoftext|>", model_max_length=77,
    )  # fmt: skip
    config = CLIPConfig(text_config={"eos_token_id": end, "bos_token_id": 0, "pad_token_id": end})
    _save(folder, CLIPModel(config), tokens, CLIPImageProcessorPil())


def efficientnet(folder: Path) -> None:
    config = EfficientNetConfig(width_coefficient=1.0, depth_coefficient=1.0, image_size=224, hidden_dim=1280)
    net = EfficientNetModel(config)
    enliven(net, 224)
    _save(folder, net, EfficientNetImageProcessorPil(size={"height": 224, "width": 224}))


def _save(folder: Path, net: torch.nn.Module, *parts: object) -> None:
    for one in (net.eval(), *parts):
        one.save_pretrained(folder)


KINDS: dict[str, Callable[[Path], None]] = {
    "MiniLM, 6 layers of 384": lambda f: of_bert(
        f, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    ),
    "BERT base": of_bert,
    "RoBERTa base": roberta,
    "CLIP ViT-B/32": clip,
    "ViT-B/16": lambda f: _save(f, ViTModel(ViTConfig(), add_pooling_layer=False), ViTImageProcessorPil()),
    "ResNet-50": lambda f: _save(
        f, ResNetModel(ResNetConfig()), ConvNextImageProcessorPil(size={"shortest_edge": 224}, crop_pct=0.875)
    ),
    "EfficientNet-B0": efficientnet,
}


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def sides(bundle: Bundle, net: torch.nn.Module) -> Iterator[tuple[str, Callable[[], object], Callable[[], object]]]:
    """Yield what is measured, and how we and PyTorch do it with BATCH texts or pictures."""
    if (text := bundle.text) is not None:
        length = min(TOKENS, text.max_tokens)
        ids = torch.ones(BATCH, length, dtype=torch.int64)
        ids[:, -1] = net.config.text_config.eos_token_id if net.config.model_type == "clip" else 2
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        texts = [" ".join(["a"] * (length - 2))] * BATCH
        assert text.length(texts[0]) == length - 2  # one more, and they would be read in two windows
        run = getattr(net, "get_text_features", net)
        yield f"texts of {length} tokens", lambda: text.encode(texts), lambda: run(**given)
    if (image := bundle.image) is not None:
        shots = [np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)] * BATCH
        pixels = torch.randn(BATCH, 3, 224, 224)
        see = getattr(net, "get_image_features", net)
        yield "pictures", lambda: image.encode(shots), lambda: see(pixels)


def main() -> None:
    torch.set_grad_enabled(False)
    lines, values = [], []
    with tempfile.TemporaryDirectory() as work:
        for name, make in KINDS.items():
            folder = Path(work) / str(len(lines))
            make(folder / "hub")
            bundle = export(str(folder / "hub"), folder / "bundle", "random", Choice()).bundle
            net = transformers.AutoModel.from_pretrained(folder / "hub").eval()
            for what, ours, theirs in sides(bundle, net):
                ours(), theirs()
                times = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
                own, other = (BATCH / statistics.median(side) for side in zip(*times, strict=True))
                ratio = statistics.median(b / a for a, b in times)
                lines.append([name, what, f"{own:.1f}", f"{other:.1f}", f"{ratio:.1f}"])
                values.append({"model": name, "what": what, "ours": own, "torch": other, "ratio": ratio})
                print(lines[-1], flush=True)
    text = (
        f"Measured on {machine()}, PyTorch {torch.__version__}, {torch.get_num_threads()} threads; random weights of the "
        f"published sizes, batches of {BATCH}; medians of {ROUNDS} turns. Ours begins with words or pixels of 640 x 480 and, "
        "where the processor multiplies it, uses bfloat16; PyTorch is given tokens and prepared pixels, in float32.\n\n"
        + table(["model", "what", "ours, a second", "PyTorch float32", "ratio"], lines)
    )
    keep("encoders", text, values)


if __name__ == "__main__":
    main()
