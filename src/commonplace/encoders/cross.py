"""A cross-encoder: a model that reads a query and a passage together and scores how well they fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders.bundle import padded
from commonplace.encoders.runtime import Graph
from commonplace.errors import ModelError
from commonplace.i18n import _

__all__ = ["CrossEncoder"]

MODELS = ("model.onnx", "onnx/model.onnx")  # where hub repositories keep the graph
MAX_TOKENS = 512


class CrossEncoder:
    """A reranker from a folder with ``model.onnx`` or ``onnx/model.onnx``, ``tokenizer.json``, maybe ``config.json``.

    The graph takes ``input_ids``, ``attention_mask`` and, if it has such an input, ``token_type_ids`` (each int64,
    (pairs, tokens)). Its first output is one logit for each pair, (pairs,) or (pairs, 1) (monoBERT, Nogueira and Cho
    2019). If a pair exceeds the model's limit, the end of its longer text is cut. The limit is
    ``max_position_embeddings`` of ``config.json``, at most 512 tokens. Raises ModelError if the folder has no such
    model.
    """

    name = "cross-encoder"
    depth = 30
    share = 1.0  # it is trained to rank, so its scores alone decide the order

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        files = [self.folder / name for name in MODELS]
        self._model = next((file for file in files if file.is_file()), files[0])
        for file in (self._model, self.folder / "tokenizer.json"):
            if not file.is_file():
                raise ModelError(
                    _("there is no cross-encoder in {folder} (no {name}): check the name").format(
                        folder=self.folder, name=file.name
                    )
                )

    def reads(self, text: str) -> bool:
        """Return True: which words the model knows cannot be determined."""
        return True

    @cached_property
    def _config(self) -> dict[str, Any]:
        path = self.folder / "config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except (OSError, ValueError, RecursionError) as problem:
            raise ModelError(
                _("{path} cannot be read ({problem}): fetch the model again").format(path=path, problem=problem)
            ) from problem
        return config if isinstance(config, dict) else {}

    @cached_property
    def _limit(self) -> int:
        positions = self._config.get("max_position_embeddings")
        if not isinstance(positions, int) or positions < 8:
            return MAX_TOKENS
        # RoBERTa and similar models number positions from the padding id + 1 on.
        roberta = "roberta" in str(self._config.get("model_type"))
        return min(positions - self._pad - 1 if roberta else positions, MAX_TOKENS)

    @cached_property
    def _pad(self) -> int:
        token_id = self._config.get("pad_token_id")
        return token_id if isinstance(token_id, int) and token_id >= 0 else 0

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        path = self.folder / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(str(path))
            tokenizer.no_padding()
            tokenizer.enable_truncation(self._limit, strategy="longest_first")
        except Exception as problem:  # the library raises bare Exception
            raise ModelError(
                _("{path} is not a tokenizer ({problem}): fetch the model again").format(path=path, problem=problem)
            ) from problem
        return tokenizer

    @cached_property
    def _graph(self) -> Graph:
        graph = Graph(self._model, 0)
        required = {"input_ids", "attention_mask"}
        if not required <= graph.inputs or graph.inputs - required - {"token_type_ids"}:
            raise ModelError(
                _(
                    "{model} takes {inputs}: choose a cross-encoder, which takes "
                    "input_ids, attention_mask and token_type_ids"
                ).format(model=self._model, inputs=", ".join(sorted(graph.inputs)))
            )
        return graph

    def scores(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one logit for each text, shape (n,): higher means more relevant to ``question``.

        Raises ModelError if the model has several outputs for a pair.
        """
        logits = self._logits([(question, text) for text in texts])
        if len(logits) and logits.shape[1] != 1:
            raise ModelError(
                _(
                    "{model} gives {shape} values for each pair: "
                    "choose a cross-encoder trained to rank, which gives one"
                ).format(model=self._model, shape=logits.shape[1])
            )
        return logits.reshape(-1)

    def entailment(self, premise: str, claim: str) -> tuple[float, float]:
        """Return the probabilities that ``premise`` entails ``claim`` and that it contradicts it, each in [0, 1].

        The model must be trained on natural language inference, with its labels in ``config.json`` (``id2label``).
        Raises ModelError if no label is *entailment*. Without a label *contradiction*, its probability is 0.
        """
        names = self._config.get("id2label")
        labels = {str(name).lower(): int(number) for number, name in names.items()} if isinstance(names, dict) else {}
        (logits,) = self._logits([(premise, claim)])
        if labels.get("entailment", len(logits)) >= len(logits):
            raise ModelError(
                _("config.json in {folder} has no label entailment: choose a model trained on NLI").format(
                    folder=self.folder
                )
            )
        odds = np.exp(logits.astype(np.float64) - logits.max())
        probabilities = odds / odds.sum()
        contradiction = labels.get("contradiction")
        contradicts = 0.0 if contradiction is None else float(probabilities[contradiction])
        return float(probabilities[labels["entailment"]]), contradicts

    def _logits(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Return the logits of each pair, shape (n, labels)."""
        encodings = self._tokenizer.encode_batch(list(pairs))
        rows: dict[int, NDArray[np.float32]] = {}
        for group, ids, mask in padded([encoding.ids for encoding in encodings], self._pad, self._limit):
            inputs = {"input_ids": ids, "attention_mask": mask}
            if "token_type_ids" in self._graph.inputs:
                inputs["token_type_ids"] = types = np.zeros_like(ids)
                for row, i in enumerate(group):
                    types[row, : len(encodings[i].type_ids)] = encodings[i].type_ids
            (logits,) = self._graph.map([inputs])
            if not logits.size or logits.size % len(group):
                raise ModelError(
                    _(
                        "{model} gives an output of shape {shape} for {count} pairs: "
                        "choose a cross-encoder, which gives one value for each pair"
                    ).format(model=self._model, shape=logits.shape, count=len(group))
                )
            rows.update(zip(group, logits.reshape(len(group), -1), strict=True))
        return np.array([rows[i] for i in range(len(encodings))], dtype=np.float32)
