"""A text tower on a server with OpenAI's embeddings API: OpenAI, vLLM, Ollama, text-embeddings-inference."""

from __future__ import annotations

import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from commonplace.encoders.base import Role, Tokens, unit
from commonplace.encoders.bundle import TextTower
from commonplace.errors import ModelError
from commonplace.i18n import _

__all__ = ["KEY", "RemoteText", "checked"]

KEY = "COMMONPLACE_EMBEDDINGS_API_KEY"
BATCH = 64  # most texts in a request
RETRIES = 3
SECONDS = 60.0  # timeout of a request
WAIT = 0.5  # seconds before the first retry, doubled for each further one
LONGEST_WAIT = 20.0
LARGEST = 256 << 20  # most bytes of an answer


class RemoteText(TextTower):
    """Encodes texts with ``POST url/embeddings``, in batches.

    Texts are sent to that address only: redirects are not followed. A text over the limit, measured with the bundle's
    tokenizer, is sent in windows whose vectors are averaged. The key is read from ``COMMONPLACE_EMBEDDINGS_API_KEY``
    and never stored. ``dim`` is the length of the server's vectors; 0: unknown. Raises ModelError if the server cannot
    be reached, refuses the key, or gives vectors of another length.
    """

    def __init__(
        self, folder: Path, spec: dict[str, Any], dim: int, checksums: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(folder, spec, dim, checksums or {})
        self.url = checked(str(spec["remote"]["url"]))
        self.model = str(spec["remote"]["model"])

    def unknown_share(self, text: str) -> float:
        """Return 0.0: the server's tokenizer is not known."""
        return 0.0

    def encode(self, texts: Sequence[str], role: Role = "document") -> NDArray[np.float32]:
        """Return one unit row for each text, shape (n, dim)."""
        prefix = self._spec["prefix"][role]
        pieces: list[str] = []
        owners: list[int] = []
        for owner, text in enumerate(texts):
            windows = self._windows_of(prefix + text) if len(text) > self.max_tokens else [prefix + text]
            pieces += windows
            owners += [owner] * len(windows)
        batches = [self._post([piece or " " for piece in pieces[i : i + BATCH]]) for i in range(0, len(pieces), BATCH)]
        rows = np.concatenate(batches) if batches else np.empty((0, self.dim), np.float32)
        total = np.zeros((len(texts), rows.shape[1]), dtype=np.float32)
        weights = np.array([max(len(piece), 1) for piece in pieces], dtype=np.float32)
        np.add.at(total, owners, unit(rows) * weights[:, None])
        return unit(total)

    def tokens(self, texts: Sequence[str], role: Role = "document") -> list[Tokens]:
        """Raise ModelError: a server gives no token vectors."""
        raise ModelError(_("{model} has no token vectors: choose another reranker").format(model=self.model))

    def _windows_of(self, text: str) -> list[str]:
        """Return the text divided into windows of at most ``max_tokens`` tokens."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        starts = [start for start, _ in encoding.offsets[:: self.max_tokens]]
        ends = [*starts[1:], len(text)]
        return [text[start:end] for start, end in zip(starts, ends, strict=True)] or [text]

    def _post(self, texts: list[str]) -> NDArray[np.float32]:
        """Return the server's rows for a batch of texts. After a temporary error, the request is repeated."""
        body = json.dumps({"model": self.model, "input": texts, "encoding_format": "float"}).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "commonplace"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        for attempt in range(RETRIES + 1):
            request = urllib.request.Request(f"{self.url}/embeddings", body, headers)
            wait = WAIT * 2**attempt * random.uniform(0.75, 1)
            try:
                with _OPENER.open(request, timeout=SECONDS) as answer:
                    content = answer.read(LARGEST + 1)
                return self._rows(content, len(texts))
            except urllib.error.HTTPError as problem:
                reason = self._refusal(problem)
                if problem.code not in (408, 409, 425, 429) and problem.code < 500:
                    raise ModelError(reason) from problem
                wait = _retry_after(problem.headers.get("Retry-After"), wait)
            except (OSError, HTTPException) as problem:
                cause = getattr(problem, "reason", problem)
                reason = _(
                    "no answer from {url} ({cause}): start the server, or check the address and the network"
                ).format(url=self.url, cause=cause)
            if attempt == RETRIES or wait > LONGEST_WAIT:
                raise ModelError(reason)
            time.sleep(wait)
        raise AssertionError  # the last attempt returned or raised

    def _refusal(self, problem: urllib.error.HTTPError) -> str:
        """Return the message for an HTTP error: what it means, and what to do."""
        if problem.code in (401, 403):
            return _("{url} refuses the key ({code}): set {key}").format(url=self.url, code=problem.code, key=KEY)
        if problem.code == 404:
            return _("there is no embedding model {model} at {url} (404): check both names").format(
                model=self.model, url=self.url
            )
        if 300 <= problem.code < 400:
            return _("{url} redirects ({code}), and redirects are not followed: give the final address").format(
                url=self.url, code=problem.code
            )
        try:
            body = " ".join(problem.read(500).decode("utf-8", "replace").split())[:200]
        except (OSError, HTTPException):
            body = ""
        return _("{url} answers {code} ({body}): check the server").format(url=self.url, code=problem.code, body=body)

    def _rows(self, content: bytes, count: int) -> NDArray[np.float32]:
        """Return the rows (count, dim) in an answer. Raises ModelError if the answer has another form."""
        try:
            entries = sorted(json.loads(content)["data"], key=lambda entry: int(entry["index"]))
            rows = np.array([entry["embedding"] for entry in entries], dtype=np.float32)
        except (ValueError, TypeError, KeyError, RecursionError) as problem:
            raise ModelError(
                _(
                    "the answer of {url} is not a list of embeddings ({type}): check that it has "
                    "OpenAI's embeddings API"
                ).format(url=self.url, type=type(problem).__name__)
            ) from problem
        if rows.ndim != 2 or len(rows) != count or not np.isfinite(rows).all():
            raise ModelError(
                _("{url} sent vectors of shape {shape} for {count} texts: check the server").format(
                    url=self.url, shape=rows.shape, count=count
                )
            )
        if self.dim and rows.shape[1] != self.dim:
            raise ModelError(
                _(
                    "{model} at {url} now gives {shape} dimensions, but {dim} when it was pulled: "
                    "pull it again under another name, and migrate"
                ).format(model=self.model, url=self.url, shape=rows.shape[1], dim=self.dim)
            )
        return rows


def checked(url: str) -> str:
    """Return the address without its last slash. Raises ModelError if it is not an http or https address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ModelError(
            _("the server's address is {url!r}: give an http or https URL such as http://localhost:8080/v1").format(
                url=url
            )
        )
    return url.rstrip("/")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirects: texts and the key go to the given address only."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _retry_after(header: str | None, wait: float) -> float:
    """Return the seconds to wait from the header ``Retry-After``; ``wait`` if it is absent or no number."""
    try:
        return max(float(header), 0.0) if header else wait
    except ValueError:
        return wait
