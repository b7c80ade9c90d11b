"""A Whisper model in CTranslate2's format, made on the spot: it hears one sentence in whatever it reads.

It has the layout, vocabulary size and special tokens of a multilingual model. Its weights are written by hand: the
position of a token says which one follows, and attention says at which second it was said.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WIDTH, POSITIONS, FRAMES, MELS, WORDS = 64, 448, 1500, 80, 50_257
_ANGLES = 4  # dimensions that say a second; the others say a token
_TASKS = ("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>")

Weights = NDArray[np.float32]


def whisper(folder: Path, words: Sequence[tuple[str, float]], finish: float, language: str = "en") -> Path:
    """Write a model that hears these words, each with the second at which it begins, and return its folder."""
    from ctranslate2.specs import whisper_spec
    from faster_whisper.tokenizer import _LANGUAGE_CODES
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = [*alphabet, *dict.fromkeys(word.replace(" ", "Ġ") for word, _second in words if len(word) > 1)]
    vocabulary += [f"<unused {n}>" for n in range(WORDS - len(vocabulary) - 1)] + [""]  # "" marks a multilingual model
    tokenizer = Tokenizer(models.BPE({token: n for n, token in enumerate(vocabulary)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    languages = [f"<|{code}|>" for code in _LANGUAGE_CODES]
    special = ["<|endoftext|>", "<|startoftranscript|>", *languages, *_TASKS]
    tokenizer.add_special_tokens(special)
    ids = {token: n for n, token in enumerate([*vocabulary, *special])}
    stamps = len(ids)  # the first token of a time
    tokens = [*ids, *(f"<|{n * 0.02:.2f}|>" for n in range(FRAMES + 1))]

    follows = [ids[f"<|{language}|>"], ids["<|transcribe|>"], stamps]
    seconds = [0.0, 0.0, 0.0]
    for word, second in words:
        follows.append(ids[word.replace(" ", "Ġ")])
        seconds.append(second)
    follows += [stamps + round(finish / 0.02), ids["<|endoftext|>"]]
    seconds += [finish, finish]

    rng = np.random.default_rng(0)
    embeddings = np.zeros((len(tokens), WIDTH), np.float32)
    for token in set(follows):
        half = rng.standard_normal((WIDTH - _ANGLES) // 2)
        embeddings[token, _ANGLES:] = 4 * np.concatenate([half, -half]) / np.linalg.norm(half)
    positions = np.zeros((POSITIONS, WIDTH), np.float32)
    positions[: len(follows)] = 10 * embeddings[follows]
    positions[: len(seconds), :_ANGLES] = 20 * _angles(np.array(seconds))

    spec = whisper_spec.WhisperSpec(1, 1, 1, 1)
    encoder, decoder = spec.encoder, spec.decoder
    for convolution, channels in ((encoder.conv1, MELS), (encoder.conv2, WIDTH)):
        convolution.weight = np.zeros((WIDTH, channels, 3), np.float32)
        convolution.bias = np.zeros(WIDTH, np.float32)
    times = np.zeros((FRAMES, WIDTH), np.float32)
    times[:, :_ANGLES] = _angles(np.arange(FRAMES) / 50)
    encoder.position_encodings.encodings = times
    decoder.position_encodings.encodings = positions
    decoder.embeddings.weight, decoder.projection.weight = embeddings, embeddings.copy()
    zeros = np.zeros((WIDTH, WIDTH), np.float32)
    for layer in (*encoder.layer, *decoder.layer):
        _set(layer.self_attention, [np.tile(zeros, (3, 1)), zeros])
        layer.ffn.linear_0.weight, layer.ffn.linear_1.weight = np.tile(zeros, (4, 1)), np.tile(zeros, (1, 4))
        _normalise(layer.self_attention, layer.ffn)
    said, heard = zeros.copy(), np.tile(zeros, (2, 1))
    said[:2, :2], heard[:2, :2] = 100 * np.eye(2), 10 * np.eye(2)
    for layer in decoder.layer:
        _set(layer.attention, [said, heard, zeros])
        _normalise(layer.attention)
    for part in (encoder, decoder):
        part.layer_norm.gamma, part.layer_norm.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    spec.config.lang_ids = [ids[token] for token in languages]
    spec.config.suppress_ids, spec.config.suppress_ids_begin, spec.config.alignment_heads = [], [], [[0, 0]]
    spec.register_vocabulary(tokens)
    spec.validate()
    folder.mkdir(parents=True)
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _angles(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return seconds, up to 30, as places on half a circle, and their opposites, so that the mean is 0."""
    angle = seconds / 30 * np.pi
    place = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return np.concatenate([place, -place], axis=-1)


def _set(attention: object, weights: Sequence[Weights]) -> None:
    for linear, weight in zip(attention.linear, weights, strict=True):  # type: ignore[attr-defined]
        linear.weight = weight.copy()


def _normalise(*layers: object) -> None:
    for layer in layers:
        norm = layer.layer_norm  # type: ignore[attr-defined]
        norm.gamma, norm.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
