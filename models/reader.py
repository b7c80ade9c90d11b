"""The reader: a small cross-encoder that tells whether a sentence answers a question.

    COMMONPLACE_QUESTIONS=FOLDER python models/reader.py                        # train, measure, export
    COMMONPLACE_QUESTIONS=FOLDER python models/reader.py --weights reader.pt    # measure and export

It is MiniLM as the text tower has it, and reads question and sentence as one text. All but its table of words is
trained, as is a small perceptron on the mean of the last states.

The questions are described in models/questions.py. First come those of SQuAD, whose wrong sentences are similar ones
from nearby. Then come questions in other words than the text, on sections of Wikipedia (SelQA) and on tales
(FairytaleQA), whose wrong sentences are the others of the section. Of some questions the right one is left out, so that
no sentence is right.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

import questions as sets
from bundle import BUNDLE
from data import WORK
from questions import Pair, Question
from towers import MiniLM, export, load_minilm, mean_pool, minilm_folder

FOLDER = BUNDLE.parent / "reader"
LONGEST = 112  # tokens of a pair
ROUNDS = ((3000, 1e-4), (6000, 1e-4))  # questions, rate at its highest; each begins again from a small rate
WRONG, NEAR, HARD, BESIDE = 4, 30, 6, 3  # wrong sentences of a question, how far they stand, of how many similar ones
WITHOUT = 0.15  # of the questions, without their answer
TALES, WRONG_SECTION, WRONG_TALE, RATE_WORDS = 3500, 7, 5, 8e-5  # of the third round, which has SelQA whole
AGAIN, RATE_NOTES = 700, 5e-5  # of the fourth round: questions of each set that come again
BATCH, DECAY, DROPOUT, WARM, LEAST_RATE = 32, 0.01, 0.1, 0.06, 0.02
HELD, HELD_WRONG, HELD_WORDS = 400, 6, 200  # questions that are not trained on: of SQuAD, wrong sentences; of others
SEED = 0
BRACKETS = {"-lrb- ": "(", " -rrb-": ")", "-lsb- ": "[", " -rsb-": "]", "`` ": '"', " ''": '"', "$ ": "$", " --": "-"}
GLUED = (" 's", " n't", " ,", " .", " ?", " :", " ;", " %")


def joined(tokens: str) -> str:
    """Return a tokenized line as people write it."""
    for written, mark in BRACKETS.items():
        tokens = tokens.replace(written, mark)
    for mark in GLUED:
        tokens = tokens.replace(mark, mark[1:])
    return tokens.strip()


class Reader(nn.Module):
    """Scores pairs of a question (token type 0) and a sentence (1): one logit a pair."""

    def __init__(self, tower: MiniLM, second: Tensor) -> None:
        super().__init__()
        self.tower = tower
        self.second = nn.Parameter(second)  # (D,): what the second token type adds to the first one's vector
        self.out = nn.Sequential(nn.Linear(384, 384), nn.Tanh(), nn.Dropout(DROPOUT), nn.Linear(384, 1))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the logits (B, 1) of token ids, their 0/1 mask and their types, all (B, T) int64."""
        tower = self.tower
        words = tower.words[input_ids]
        if tower.int8:
            words = words.float() * tower.scale[input_ids]
        types = token_type_ids[..., None].float() * self.second
        x = tower.norm(words + tower.places[: input_ids.shape[1]] + types)  # (B, T, D)
        hidden = (1.0 - attention_mask[:, None, None, :].float()) * -10000.0
        B, T, D = x.shape
        for layer in tower.layers:
            q, k, v = layer["qkv"](x).view(B, T, 3, tower.heads, D // tower.heads).permute(2, 0, 3, 1, 4)
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=hidden).transpose(1, 2).reshape(B, T, D)
            x = layer["norm1"](x + F.dropout(layer["out"](a), DROPOUT, self.training))
            x = layer["norm2"](x + F.dropout(layer["down"](F.gelu(layer["up"](x))), DROPOUT, self.training))
        mask = attention_mask[..., None].float()
        return self.out((x * mask).sum(1) / mask.sum(1))


def new_reader(int8: bool = False) -> Reader:
    """Return a reader with the tower's weights; its own are random. With ``int8``, its table of words is rounded."""
    types = load_file(minilm_folder() / "model.safetensors")["embeddings.token_type_embeddings.weight"].float()
    return Reader(load_minilm(int8=int8), types[1] - types[0])


# ---------------------------------------------------------------- data


class Squad:
    """Questions, the number of the sentence that answers each, and the sentences in the order of their articles."""

    def __init__(self, folder: Path) -> None:
        right = [joined(line) for line in (folder / "src-test.txt").read_text(encoding="utf-8").splitlines()]
        self.questions = [joined(line) for line in (folder / "tgt-test.txt").read_text(encoding="utf-8").splitlines()]
        self.sentences = list(dict.fromkeys(right))
        number = {sentence: n for n, sentence in enumerate(self.sentences)}
        self.right = [number[sentence] for sentence in right]
        order = list(range(len(self.questions)))
        random.Random(SEED).shuffle(order)
        self.trained, self.held = order[:-HELD], order[-HELD:]

    def embed(self, tokenizer: Tokenizer) -> None:
        """Compute the vectors by which similar sentences are found."""
        self.of_questions, self.of_sentences = (tower_vectors(tokenizer, t) for t in (self.questions, self.sentences))

    def wrong(self, question: int, count: int, draw: random.Random) -> list[int]:
        """Return ``count`` sentences nearby that do not answer: similar ones, and one beside it or from anywhere."""
        right = self.right[question]
        near = [n for n in range(max(0, right - NEAR), min(len(self.sentences), right + NEAR + 1)) if n != right]
        similarity = self.of_sentences[near] @ self.of_questions[question]
        hard = [near[i] for i in np.argsort(-similarity)[:HARD]]
        beside = [n for n in near if abs(n - right) <= BESIDE]
        others = draw.sample(hard, min(count - 1, len(hard)))
        return [*others, draw.choice([*beside, draw.randrange(len(self.sentences))])]

    def pairs(self, part: Sequence[int], draw: random.Random) -> list[tuple[Pair, float]]:
        """Return pairs of a question and a sentence, 1 if it answers, else 0, for the questions ``part``."""
        pairs: list[tuple[Pair, float]] = []
        for i in part:
            wrong = self.wrong(i, WRONG, draw)
            right = [] if draw.random() < WITHOUT else [self.right[i]]
            labels = [1.0] * len(right) + [0.0] * len(wrong)
            sentences = [self.sentences[n] for n in [*right, *wrong]]
            pairs += [((self.questions[i], text), label) for text, label in zip(sentences, labels, strict=True)]
        return pairs


def minilm_tokenizer() -> Tokenizer:
    """Return the text tower's tokenizer for pairs of at most LONGEST tokens."""
    tokenizer = Tokenizer.from_file(str(BUNDLE / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST, strategy="longest_first")
    return tokenizer


def tower_vectors(tokenizer: Tokenizer, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return the unit vectors (n, 384) of texts by the text tower."""
    tower = load_minilm()
    vectors = np.zeros((len(texts), 384), np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    with torch.no_grad():
        for start in range(0, len(order), 64):
            group = order[start : start + 64]
            ids, mask, _ = tensors(tokenizer, [texts[i] for i in group])
            vectors[group] = mean_pool(tower(ids, mask), mask).numpy()
    return vectors


def tensors(tokenizer: Tokenizer, texts: Sequence[str | Pair]) -> tuple[Tensor, Tensor, Tensor]:
    """Return token ids, mask and token types of texts or pairs, (n, T) int64."""
    encodings = tokenizer.encode_batch(list(texts))
    longest = max(len(encoding.ids) for encoding in encodings)
    ids, mask, types = (torch.zeros(len(encodings), longest, dtype=torch.int64) for _ in range(3))
    for row, encoding in enumerate(encodings):
        count = len(encoding.ids)
        ids[row, :count] = torch.tensor(encoding.ids)
        mask[row, :count] = 1
        types[row, :count] = torch.tensor(encoding.type_ids)
    return ids, mask, types


# ---------------------------------------------------------------- training


def train(squad: Squad, tales: Sequence[Question], sections: Sequence[Question], tokenizer: Tokenizer) -> Reader:
    """Return the trained reader; prints its loss.

    After two rounds of SQuAD comes one with questions in other words, then one with questions on notes. The last one
    costs a little in what the third taught. The mean of the weights after both has what each taught.
    """
    torch.manual_seed(SEED)
    draw = random.Random(SEED)
    reader = new_reader()
    reader.tower.requires_grad_(True)
    order = squad.trained
    for count, rate in ROUNDS:
        part, order = order[:count], order[count:]
        train_on(reader, squad.pairs(part, draw), tokenizer, tensors, rate, draw)
    pairs = sets.pairs(sections, WRONG_SECTION, draw) + sets.pairs(tales, WRONG_TALE, draw) + squad.pairs(order, draw)
    train_on(reader, pairs, tokenizer, tensors, RATE_WORDS, draw)
    before = {name: value.clone() for name, value in reader.state_dict().items()}
    pairs = sets.pairs([*sets.notes()], WRONG_TALE, draw) + sets.pairs(sections[:AGAIN], WRONG_SECTION, draw)
    pairs += sets.pairs(tales[:AGAIN], WRONG_TALE, draw) + squad.pairs(order[:AGAIN], draw)
    train_on(reader, pairs, tokenizer, tensors, RATE_NOTES, draw)
    reader.load_state_dict({name: (value + before[name]) / 2 for name, value in reader.state_dict().items()})
    return reader


def measured(reader: Reader, squad: Squad, held: Mapping[str, Sequence[Question]], tokenizer: Tokenizer) -> str:
    """Return a table: how often the right sentence is before the wrong ones, for questions that were left out."""
    draw = random.Random(SEED)
    by_reader, by_cosine = [], []
    for i in squad.held:
        choice = [squad.right[i], *squad.wrong(i, HELD_WRONG, draw)]
        logits = logits_of(reader, [(squad.questions[i], squad.sentences[n]) for n in choice], tokenizer)
        by_reader.append(int(logits.argmax()) == 0)
        by_cosine.append(int((squad.of_sentences[choice] @ squad.of_questions[i]).argmax()) == 0)
    rows = [("SQuAD, right sentence and six similar ones", len(squad.held), np.mean(by_reader), np.mean(by_cosine))]
    for name, questions in held.items():
        by_reader, by_cosine = [], []
        for one in questions:
            logits = logits_of(reader, [(one.text, sentence) for sentence in one.sentences], tokenizer)
            by_reader.append(int(logits.argmax()) in one.right)
            vectors = tower_vectors(tokenizer, [one.text, *one.sentences])
            by_cosine.append(int((vectors[1:] @ vectors[0]).argmax()) in one.right)
        rows.append((f"{name}, all sentences of the section", len(questions), np.mean(by_reader), np.mean(by_cosine)))
    lines = [f"| {name} | {count} | {first:.1%} | {cosine:.1%} |" for name, count, first, cosine in rows]
    title = (
        "| the right sentence is first, questions that were left out | questions | reader | cosine of the text tower |"
    )
    return "\n".join([title, "|---|---|---|---|", *lines])


def logits_of(reader: Reader, pairs: Sequence[Pair], tokenizer: Tokenizer) -> NDArray[np.float32]:
    """Return the logit (n,) of each pair."""
    with torch.no_grad():
        parts = [reader(*tensors(tokenizer, pairs[at : at + BATCH]))[:, 0] for at in range(0, len(pairs), BATCH)]
    return torch.cat(parts).numpy()


def train_on(
    reader: nn.Module,
    pairs: Sequence[tuple[Pair, float]],
    tokenizer: Tokenizer,
    inputs: Callable[[Tokenizer, Sequence[Pair]], tuple[Tensor, ...]],
    rate: float,
    draw: random.Random,
) -> None:
    """Train a reader on each pair once; prints its loss. ``inputs`` makes the reader's inputs of pairs."""
    reader.train()
    trained = [*reader.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=DECAY)
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch([pair for pair, _ in pairs])]
    groups = batches(lengths, draw)
    steps = len(groups)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / (WARM * steps)) * max(LEAST_RATE, 1 - step / steps)
    )
    begun, losses = time.perf_counter(), []
    for group in groups:
        logits = reader(*inputs(tokenizer, [pairs[i][0] for i in group]))[:, 0]
        loss = F.binary_cross_entropy_with_logits(logits, torch.tensor([pairs[i][1] for i in group]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        if len(losses) % 100 == 0:
            print(f"{len(losses)} of {steps}: {np.mean(losses[-100:]):.3f}, {time.perf_counter() - begun:.0f} s")
    reader.eval()


def batches(lengths: Sequence[int], draw: random.Random) -> list[list[int]]:
    """Return the numbers of the pairs in batches of about equal length, in a random order."""
    order = list(range(len(lengths)))
    draw.shuffle(order)
    cut: list[list[int]] = []
    for start in range(0, len(order), BATCH * BATCH):
        block = sorted(order[start : start + BATCH * BATCH], key=lengths.__getitem__)
        groups = [block[i : i + BATCH] for i in range(0, len(block), BATCH)]
        draw.shuffle(groups)
        cut += groups
    return cut


# ---------------------------------------------------------------- export


def write(reader: Reader, quality: str) -> None:
    """Write the folder of the reader: graph, tokenizer, configuration, and its card with a table of its quality."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    shipped = new_reader(int8=True).eval()
    weights = {name: value for name, value in reader.state_dict().items() if name != "tower.words"}
    shipped.load_state_dict(weights, strict=False)
    ids = torch.ones(2, 16, dtype=torch.int64)
    types = torch.tensor([[0] * 8 + [1] * 8] * 2)
    axes = {0: "batch", 1: "tokens"}
    file = FOLDER / "model.onnx"
    names = ["input_ids", "attention_mask", "token_type_ids"]
    export(shipped, (ids, ids.clone(), types), file, names, ["logits"], [axes, axes, axes])
    model = onnx.load_model(file)
    shrink(model)
    onnx.checker.check_model(model)
    file.write_bytes(model.SerializeToString(deterministic=True))
    (FOLDER / "tokenizer.json").write_bytes((BUNDLE / "tokenizer.json").read_bytes())
    configuration = {"max_position_embeddings": LONGEST, "pad_token_id": 0}
    (FOLDER / "config.json").write_text(json.dumps(configuration, indent=1) + "\n")
    card = Path(__file__).with_name("CARD.reader.md").read_text(encoding="utf-8")
    (FOLDER / "README.md").write_text(card.replace("<!-- quality -->", quality), encoding="utf-8")


def shrink(model: onnx.ModelProto, least: int = 100_000) -> None:
    """Store every float16 matrix of ``least`` numbers or more as int8, with one scale for each row or column."""
    casts = {node.input[0]: node for node in model.graph.node if node.op_type == "Cast"}
    for weight in [*model.graph.initializer]:
        cast = casts.get(weight.name)
        if cast is None or weight.data_type != TensorProto.FLOAT16 or np.prod(weight.dims) < least:
            continue
        values = numpy_helper.to_array(weight).astype(np.float32)
        tries = [rounded(values, axis) for axis in (0, 1)]
        whole, scale = min(tries, key=lambda pair: float(np.abs(pair[0] * pair[1] - values).mean()))
        weight.CopyFrom(numpy_helper.from_array(whole, weight.name))
        model.graph.initializer.append(numpy_helper.from_array(scale, f"{weight.name}.scale"))
        result = cast.output[0]
        cast.output[0] = f"{result}.whole"
        product = helper.make_node("Mul", [cast.output[0], f"{weight.name}.scale"], [result])
        model.graph.node.insert([*model.graph.node].index(cast) + 1, product)


def rounded(values: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return a matrix as int8 and what to multiply it with; its largest value along ``axis`` becomes 127."""
    scale = np.maximum(np.abs(values).max(axis, keepdims=True), 1e-12) / 127
    return np.round(values / scale).astype(np.int8), scale.astype(np.float32)


def main() -> None:
    """Train or load a reader, and write its folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="of an earlier training: only export them")
    options = parser.parse_args()
    folder = Path(os.environ["COMMONPLACE_QUESTIONS"])
    tokenizer = minilm_tokenizer()
    squad = Squad(folder / "squad")
    squad.embed(tokenizer)
    held_sections, sections = sets.apart([*sets.selqa(folder / "selqa")], HELD_WORDS, random.Random(SEED))
    held_tales, tales = sets.apart([*sets.fairytale(folder / "fairytale")], HELD_WORDS, random.Random(SEED))
    held = {"SelQA": held_sections, "FairytaleQA": held_tales}
    if options.weights:
        reader = new_reader()
        reader.load_state_dict(torch.load(options.weights))
    else:
        reader = train(squad, tales[:TALES], sections, tokenizer)
        WORK.mkdir(parents=True, exist_ok=True)
        torch.save(reader.state_dict(), WORK / "reader.pt")
    reader.eval()
    write(reader, measured(reader, squad, held, tokenizer))


if __name__ == "__main__":
    main()
