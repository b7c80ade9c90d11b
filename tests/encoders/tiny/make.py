"""Makes the tiny models that the tests convert: `python -m tests.encoders.tiny.make FOLDER`, with torch, transformers
and sentence-transformers (`make test-models` does it in an environment of its own).

Each is of a configuration class of transformers, with random weights. It is saved in the layout of a hub repository,
and exported to ONNX in the layout of the hub's ONNX repositories. ``reference.npz`` holds the library's own vectors of
tests.encoders.tiny.inputs. Random weights can test code, not quality.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    ChineseCLIPConfig,
    ChineseCLIPImageProcessorPil,
    ChineseCLIPModel,
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
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from commonplace.export import _Tower, write_graphs
from tests.encoders.tiny.inputs import TEXTS, pictures

HERE = Path(__file__).parent
CORPUS = [*TEXTS, "photo of a cat on the mat", "blue red green seal pump", "it is 9 bar", "abcdefghijklmnopqrstuvwxyz"]
WIDE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = {**WIDE, "image_size": 32, "patch_size": 8}
VOCABULARY = 300


def bpe(specials: list[str], first: str | None, last: str, lower: bool) -> Tokenizer:
    """Return a byte-level BPE tokenizer like those of CLIP and RoBERTa."""
    made = Tokenizer(models.BPE(unk_token=None))
    made.normalizer = normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] if lower else [])])
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(CORPUS, trainer)
    ends = [(token, made.token_to_id(token)) for token in (first, last) if token]
    made.post_processor = processors.TemplateProcessing(
        single=" ".join(([first] if first else []) + ["$A", last]), special_tokens=ends
    )
    return made


def wordpiece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=specials, show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def save(folder: Path, net: Any, tokenizer: Any = None, processor: Any = None, **card: str) -> None:
    """Save in the layout of a hub repository, with weights large enough that every input changes the vectors."""
    with torch.no_grad():
        for weight in net.parameters():
            if weight.ndim > 1:
                weight.normal_(0, weight[0].numel() ** -0.5 * 2)
    net.eval().save_pretrained(folder)
    for part in (tokenizer, processor):
        if part is not None:
            part.save_pretrained(folder)
    head = "".join(f"{name}: {value}\n" for name, value in card.items())
    (folder / "README.md").write_text(f"---\n{head}---\n# tiny, random weights: tests code, not quality\n")


def clip(folder: Path) -> None:
    """openai/clip-vit-base-patch32 in small."""
    made = bpe(["<|startoftext|>", "<|endoftext|>"], "<|startoftext|>", "<|endoftext|>", lower=True)
    end = made.token_to_id("<|endoftext|>")
    # As published: the end token has the highest id, and is used for padding.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>",
        unk_token="<|endoftext|>", model_max_length=77,
    )  # fmt: skip
    text = {**WIDE, "vocab_size": made.get_vocab_size(), "max_position_embeddings": 77, "eos_token_id": end,
            "bos_token_id": 0, "pad_token_id": end}  # fmt: skip
    net = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=12))
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    save(folder, net, tokenizer, CLIPImageProcessorPil(**size), license="mit", language="en")


def chinese_clip(folder: Path) -> None:
    """OFA-Sys/chinese-clip-vit-base-patch16 in small, with BERT for text."""
    made = wordpiece()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_max_length=52,
    )
    text = {**WIDE, "vocab_size": made.get_vocab_size(), "max_position_embeddings": 64, "pad_token_id": 0}
    net = ChineseCLIPModel(ChineseCLIPConfig(text_config=text, vision_config=VISION, projection_dim=12))
    size = {"size": {"height": 32, "width": 32}, "do_center_crop": False}
    save(folder, net, tokenizer, ChineseCLIPImageProcessorPil(**size), license="apache-2.0", language="zh")


def siglip(folder: Path) -> None:
    """google/siglip2-base-patch16-224 in small: 64 tokens without a mask, and the last one is used."""
    made = bpe(["<pad>", "<eos>", "<bos>", "<unk>"], None, "<eos>", lower=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        model_max_length=64,
        padding_side="right",
    )
    text = {**WIDE, "vocab_size": made.get_vocab_size(), "max_position_embeddings": 64, "projection_size": 16,
            "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}  # fmt: skip
    net = SiglipModel(SiglipConfig(text_config=text, vision_config=VISION))
    processor = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    save(folder, net, tokenizer, processor, license="apache-2.0", language="multilingual")


def bert(folder: Path) -> None:
    """A plain BERT, like its ONNX conversions on the hub: without a pooling setting."""
    made = wordpiece()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_max_length=32,
    )
    config = BertConfig(**WIDE, vocab_size=made.get_vocab_size(), max_position_embeddings=40)
    save(folder, BertModel(config), tokenizer, license="apache-2.0", language="en")


def roberta(folder: Path) -> None:
    """A sentence-transformers repository with RoBERTa, pooling by the first token, and a prompt for queries."""
    made = bpe(["<s>", "<pad>", "</s>", "<unk>"], "<s>", "</s>", lower=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", cls_token="<s>", eos_token="</s>", sep_token="</s>", pad_token="<pad>",
        unk_token="<unk>", model_max_length=64,
    )  # fmt: skip
    config = RobertaConfig(
        **WIDE,
        vocab_size=made.get_vocab_size(),
        max_position_embeddings=68,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    with tempfile.TemporaryDirectory() as plain:
        save(Path(plain), RobertaModel(config), tokenizer)
        from sentence_transformers import models as parts

        word = parts.Transformer(plain)
        pooling = parts.Pooling(word.get_embedding_dimension(), pooling_mode="cls")
        whole = SentenceTransformer(
            modules=[word, pooling, parts.Normalize()], device="cpu", prompts={"query": "query: ", "document": ""}
        )
        whole.save(str(folder), create_model_card=False)


def vit(folder: Path) -> None:
    net = ViTModel(ViTConfig(**VISION), add_pooling_layer=False)
    save(folder, net, None, ViTImageProcessorPil(size={"height": 32, "width": 32}), license="apache-2.0")


def resnet(folder: Path) -> None:
    net = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"))
    processor = ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.875)
    save(folder, net, None, processor, license="apache-2.0")


def enliven(net: Any, side: int) -> None:
    """Set the statistics of batch normalisation from noise: with random weights, outputs would be near zero."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        net.train()(torch.randn(16, 3, side, side))
    net.eval()


def efficientnet(folder: Path) -> None:
    """google/efficientnet-b0 in small, with the image processor that its repository names."""
    config = EfficientNetConfig(
        image_size=32, width_coefficient=0.1, depth_coefficient=0.1, hidden_dim=128, depth_divisor=8,
        in_channels=[8, 8], out_channels=[8, 8], kernel_sizes=[3, 3], strides=[1, 2],
        num_block_repeats=[1, 1], expand_ratios=[1, 2],
    )  # fmt: skip
    processor = EfficientNetImageProcessorPil(size={"height": 32, "width": 32})
    net = EfficientNetModel(config)
    save(folder, net, None, processor, license="apache-2.0")
    enliven(net, 32)
    net.save_pretrained(folder)


KINDS = {
    "clip": clip,
    "chinese_clip": chinese_clip,
    "siglip": siglip,
    "bert": bert,
    "roberta": roberta,
    "vit": vit,
    "resnet": resnet,
    "efficientnet": efficientnet,
}


def own_vectors(folder: Path) -> dict[str, np.ndarray]:
    """Return the library's own vectors (n, dim) by role, computed as its documentation says."""
    path = str(folder)
    if (folder / "modules.json").exists():
        whole = SentenceTransformer(path, device="cpu")
        return {role: whole.encode(TEXTS, prompt_name=role) for role in ("query", "document")}
    net = transformers.AutoModel.from_pretrained(path).eval()
    vectors = {}
    with torch.inference_mode():
        if (folder / "tokenizer.json").exists():
            tokenizer = transformers.AutoTokenizer.from_pretrained(path)
            rows = []
            for text in TEXTS:  # one by one: padding must not matter
                siglip = net.config.model_type == "siglip"
                feeds = tokenizer(
                    [text], padding="max_length" if siglip else False, return_tensors="pt", truncation=True
                )
                feeds = {name: feeds[name] for name in (["input_ids"] if siglip else ["input_ids", "attention_mask"])}
                if hasattr(net, "get_text_features"):
                    rows.append(net.get_text_features(**feeds).pooler_output[0])
                else:
                    rows.append(net(**feeds).last_hidden_state[0].mean(dim=0))
            vectors["document"] = torch.stack(rows).numpy()
        if (folder / "preprocessor_config.json").exists():
            processor = transformers.AutoImageProcessor.from_pretrained(path, backend="pil")
            rows = []
            for picture in pictures():
                pixels = processor(images=picture, return_tensors="pt")["pixel_values"]
                if hasattr(net, "get_image_features"):
                    rows.append(net.get_image_features(pixels).pooler_output[0])
                elif net.config.model_type == "vit":
                    rows.append(net(pixels).last_hidden_state[0, 0])
                else:
                    rows.append(net(pixels).pooler_output[0].flatten())
            vectors["image"] = torch.stack(rows).numpy()
    return vectors


def one_file(source: Path, folder: Path) -> None:
    """Write the tiny CLIP again in the layout of jinaai/jina-clip-v2: both towers in one graph."""
    net = transformers.AutoModel.from_pretrained(str(source), attn_implementation="eager").eval()

    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text, self.image = _Tower(net, "text", True), _Tower(net, "image", True)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor, pixels: torch.Tensor) -> Any:
            return self.text(ids, mask), self.image(pixels)

    (folder / "onnx").mkdir(parents=True)
    ids = torch.ones(2, 16, dtype=torch.int64)
    ids[:, -1] = net.config.text_config.eos_token_id
    dim = torch.export.Dim
    program = torch.onnx.export(
        Both(), (ids, torch.ones_like(ids), torch.zeros(3, 3, 32, 32)), dynamo=True, verbose=False,
        input_names=["input_ids", "attention_mask", "pixel_values"],
        output_names=["text_embeddings", "image_embeddings"],
        dynamic_shapes=({0: dim("texts"), 1: dim("tokens")}, {0: dim("texts"), 1: dim("tokens")}, {0: dim("pictures")}),
    )  # fmt: skip
    proto = program.model_proto
    del proto.graph.value_info[:]
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    (folder / "onnx" / "model.onnx").write_bytes(proto.SerializeToString(deterministic=True))
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "README.md"):
        shutil.copy(source / name, folder)
    settings = json.loads((source / "preprocessor_config.json").read_text())
    jina = {
        "image_processor_type": "JinaCLIPImageProcessor",
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "size": 32,
        "mean": settings["image_mean"],
        "std": settings["image_std"],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(jina))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the repositories go, each with its ONNX graphs")
    parser.add_argument("--weights", action="store_true", help="keep the library's own weights as well")
    options = parser.parse_args()
    reference = {}
    for n, (kind, make) in enumerate(KINDS.items()):
        torch.manual_seed(n)
        folder = options.folder / kind
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        with tempfile.TemporaryDirectory() as work:
            write_graphs(str(folder), Path(work))
            shutil.copytree(Path(work) / "onnx", folder / "onnx")
        reference |= {f"{kind}.{role}": rows.astype(np.float32) for role, rows in own_vectors(folder).items()}
    shutil.rmtree(options.folder / "one_file", ignore_errors=True)
    one_file(options.folder / "clip", options.folder / "one_file")
    if not options.weights:
        for path in [*options.folder.rglob("*.safetensors")]:
            path.unlink()
    np.savez(options.folder / "reference.npz", **reference)
    sys.stdout.write(f"{sum(path.stat().st_size for path in options.folder.rglob('*') if path.is_file())} bytes\n")


if __name__ == "__main__":
    main()
