"""A text tower behind a server that speaks OpenAI's embeddings API: OpenAI, vLLM, Ollama, text-embeddings-inference."""

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

__all__ = ["KEY", "RemoteText", "checked"]

KEY = "COMMONPLACE_EMBEDDINGS_API_KEY"
BATCH = 64  # texts of a request
RETRIES = 3
SECONDS = 60.0  # that a server may be silent
WAIT = 0.5  # seconds before the first retry, doubled for each further one
LONGEST_WAIT = 20.0
LARGEST = 256 << 20  # bytes of an answer


class RemoteText(TextTower):
    """Encodes texts by ``POST url/embeddings``, in batches.

    Texts go to that address and nowhere else: redirects are not followed. A text over the limit is sent in windows,
    measured by the tokenizer in the bundle, and the vectors are averaged. The key is read from
    ``COMMONPLACE_EMBEDDINGS_API_KEY`` and never stored. ``dim`` is the length of the server's vectors; 0: unknown.
    Raises ModelError: no server, a wrong key, vectors of another length.
    """

    def __init__(
        self, folder: Path, spec: dict[str, Any], dim: int, checksums: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(folder, spec, dim, checksums or {})
        self.url = checked(str(spec["remote"]["url"]))
        self.model = str(spec["remote"]["model"])

    def unknown_share(self, text: str) -> float:
        """Return 0: nothing is known of the server's tokenizer."""
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
        """Raise ModelError: a server gives no vectors of single tokens."""
        raise ModelError(f"{self.model} gives no vectors of single tokens: choose another reranker")

    def _windows_of(self, text: str) -> list[str]:
        """Return the text in windows of ``max_tokens`` tokens at most."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        starts = [start for start, _ in encoding.offsets[:: self.max_tokens]]
        ends = [*starts[1:], len(text)]
        return [text[start:end] for start, end in zip(starts, ends, strict=True)] or [text]

    def _post(self, texts: list[str]) -> NDArray[np.float32]:
        """Return the server's rows for a batch of texts; what may pass is tried again."""
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
                reason = f"no answer from {self.url} ({cause}): start the server, or check the address and the network"
            if attempt == RETRIES or wait > LONGEST_WAIT:
                raise ModelError(reason)
            time.sleep(wait)
        raise AssertionError  # the last try returned or raised

    def _refusal(self, problem: urllib.error.HTTPError) -> str:
        """Return what an HTTP error means, and what to do about it."""
        if problem.code in (401, 403):
            return f"{self.url} refuses the key ({problem.code}): set {KEY}"
        if problem.code == 404:
            return f"there is no embedding model {self.model} at {self.url} (404): check both names"
        if 300 <= problem.code < 400:
            return f"{self.url} redirects ({problem.code}), which is not followed: give the final address"
        try:
            body = " ".join(problem.read(500).decode("utf-8", "replace").split())[:200]
        except (OSError, HTTPException):
            body = ""
        return f"{self.url} answers {problem.code} ({body}): check the server"

    def _rows(self, content: bytes, count: int) -> NDArray[np.float32]:
        """Return the rows (count, dim) of an answer. Raises ModelError for an answer of another form."""
        try:
            entries = sorted(json.loads(content)["data"], key=lambda entry: int(entry["index"]))
            rows = np.array([entry["embedding"] for entry in entries], dtype=np.float32)
        except (ValueError, TypeError, KeyError, RecursionError) as problem:
            raise ModelError(
                f"the answer of {self.url} is no list of embeddings ({type(problem).__name__}): check that it speaks "
                "OpenAI's embeddings API"
            ) from problem
        if rows.ndim != 2 or len(rows) != count or not np.isfinite(rows).all():
            raise ModelError(f"{self.url} sent vectors of shape {rows.shape} for {count} texts: check the server")
        if self.dim and rows.shape[1] != self.dim:
            raise ModelError(
                f"{self.model} at {self.url} gives {rows.shape[1]} dimensions now, {self.dim} when it was pulled: "
                "pull it again under another name, and migrate"
            )
        return rows


def checked(url: str) -> str:
    """Return the address without its last slash. Raises ModelError where it is no http or https address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ModelError(f"the server's address is {url!r}: give an http or https URL such as http://localhost:8080/v1")
    return url.rstrip("/")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: texts and key go to the address that was given."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _retry_after(header: str | None, wait: float) -> float:
    """Return the seconds that a server asks to wait; ``wait`` where it does not say."""
    try:
        return max(float(header), 0.0) if header else wait
    except ValueError:
        return wait
