"""A language model behind a server that speaks OpenAI's chat API: OpenAI, vLLM, Ollama, llama.cpp and many others."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Generator, Iterator, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from commonplace.errors import GeneratorError
from commonplace.generation.model import ContextTooSmall, ModelGenerator, NoPictures
from commonplace.types import Note, printable

__all__ = ["ChatGenerator"]

OPENAI = "https://api.openai.com/v1"
CONNECT = 5.0  # seconds to reach a server
FIRST_WAIT = 0.5  # seconds before the first retry, doubled for each further one
LONGEST_WAIT = 20.0  # seconds that a server may ask to wait before a retry
_CONTEXT = re.compile(
    r"context.{0,20}(?:length|size|window|exceed)|too (?:long|many tokens)|maximum.{0,30}tokens"
    r"|exceeds?.{0,40}(?:context|tokens)",
    re.IGNORECASE,
)


class ChatGenerator(ModelGenerator):
    """Writes answers with the model ``model`` of the server at ``base_url`` (default: OpenAI's), by the openai client.

    ``api_key`` is sent to that server and nowhere else; redirects are not followed. ``timeout`` is how many seconds
    the server may be silent, ``deadline`` how many an answer may take in all; what fails before the first word is
    tried again ``retries`` times, with growing pauses. ``temperature`` 0 repeats itself best. Further keywords: see
    :class:`ModelGenerator`. Raises GeneratorError where the client is not installed (extra ``chat``).
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 60.0,
        deadline: float = 300.0,
        retries: int = 2,
        temperature: float | None = 0.0,
        **common: Any,
    ) -> None:
        url = base_url or OPENAI
        parts = urlsplit(url)
        if not model or parts.scheme not in ("http", "https") or not parts.hostname:
            raise GeneratorError(f"the server's address is {url!r}: it must be an http or https URL, and name a model")
        if not timeout > 0 or not deadline > 0 or retries < 0:
            raise GeneratorError("timeout and deadline must be over 0 seconds, retries at least 0")
        host = parts.hostname + (f":{parts.port}" if parts.port else "")
        super().__init__(f"{model} at {host}", **common)
        self.model = model
        self.base_url = url
        self.timeout = timeout
        self.deadline = deadline
        self.retries = retries
        self._key = api_key or "none"  # local servers want none; the client wants something
        self._settings: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
        self._limit = "max_tokens"

    @cached_property
    def _openai(self) -> Any:
        try:
            import openai
        except ImportError as problem:
            raise GeneratorError(
                "the openai client is not installed: install commonplace with the extra chat, or ask without a model"
            ) from problem
        return openai

    def write(self, messages: Sequence[dict[str, Any]], max_tokens: int) -> Generator[str | Note, None, None]:
        """Yield what the model writes; see :meth:`ModelGenerator.write`."""
        until = time.monotonic() + self.deadline
        tries = 0
        while True:
            begun = False
            try:
                for piece in self._once(messages, max_tokens, until):
                    begun = True
                    yield piece
                if begun:
                    return
                raise _Again(f"{self.name} sent an empty answer: ask again, or choose another model")
            except _Again as problem:
                wait = problem.wait if problem.wait is not None else FIRST_WAIT * 2**tries * random.uniform(0.75, 1)
                late = time.monotonic() + wait >= until
                if begun or tries >= self.retries or late or wait > LONGEST_WAIT:
                    raise GeneratorError(str(problem)) from problem
                tries += 1
                time.sleep(wait)

    def _once(self, messages: Sequence[dict[str, Any]], max_tokens: int, until: float) -> Iterator[str | Note]:
        """Yield what one request brings; raises _Again for what may pass, GeneratorError for what will not."""
        openai = self._openai
        import httpx2

        pictured = any(not isinstance(one["content"], str) for one in messages)
        # What a server sends without end, byte by byte, keeps every other clock from running out.
        hooks = {"response": [lambda response: _bound(response, until, 1_000_000 + 8_000 * max_tokens)]}
        patience = httpx2.Timeout(max(min(self.timeout, until - time.monotonic()), 0.001), connect=CONNECT)
        ended = False
        with (
            httpx2.Client(
                event_hooks=hooks,
                follow_redirects=False,
                timeout=patience,
                headers={"Accept-Encoding": "identity"},  # what is packed could not be bounded
            ) as http,
            openai.OpenAI(
                api_key=self._key, base_url=self.base_url, max_retries=0, http_client=http, timeout=patience
            ) as client,
        ):
            try:
                with self._start(client, messages, max_tokens) as stream:
                    for chunk in stream:
                        choice = chunk.choices[0] if chunk.choices else None
                        if choice is None:
                            continue
                        text = choice.delta.content if choice.delta is not None else None
                        if text:  # a lone half of a pair of surrogates is no text
                            yield str(text).encode("utf-8", "replace").decode()
                        ended = ended or choice.finish_reason is not None
                        if choice.finish_reason == "length":
                            yield Note(f"{self.name} was cut off after {max_tokens} tokens: allow more (max_tokens)")
                        elif choice.finish_reason == "content_filter":
                            yield Note(f"the server's content filter cut {self.name} off")
                if not ended:
                    raise _Again(f"the answer of {self.name} broke off: ask again, or look at the server")
            except openai.APIError as problem:
                raise self._explained(problem, pictured) from problem
            except (httpx2.HTTPError, _Late) as problem:
                raise self._explained(problem, pictured) from problem
            # A server may send anything: JSON that is none, fields of other types, text that is no UTF-8.
            except (
                *(ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError, openai.OpenAIError),
            ) as problem:
                raise _Again(
                    f"{self.name} sent what is no answer ({type(problem).__name__}): check that {self.base_url} "
                    "speaks OpenAI's chat API"
                ) from problem

    def _start(self, client: Any, messages: Sequence[dict[str, Any]], max_tokens: int) -> Any:
        """Open the stream; what newer models of OpenAI have renamed or do not take is put right, and remembered."""
        for _ in range(3):
            settings = {**self._settings, self._limit: max_tokens}
            try:
                return client.chat.completions.create(
                    model=self.model, messages=list(messages), stream=True, **settings
                )
            except self._openai.BadRequestError as problem:
                said = str(problem)
                if "max_completion_tokens" in said and self._limit == "max_tokens":
                    self._limit = "max_completion_tokens"
                elif "temperature" in said and self._settings:
                    self._settings = {}
                else:
                    raise
        raise GeneratorError(f"{self.name} takes neither max_tokens nor max_completion_tokens: choose another server")

    def _explained(self, problem: Exception, pictured: bool) -> GeneratorError:
        """Return a problem of the client as what happened and what to do; _Again where it may pass by itself."""
        openai = self._openai
        import httpx2

        status = getattr(problem, "status_code", None)
        said = self._said(problem)
        if isinstance(problem, _Late):
            return GeneratorError(f"{self.name} was not done after {self.deadline:g} seconds: {problem}")
        if isinstance(problem, (openai.APITimeoutError, httpx2.TimeoutException)):
            return _Again(f"{self.name} was silent for {self.timeout:g} seconds: allow it more (timeout), or ask again")
        if isinstance(problem, (openai.APIConnectionError, httpx2.HTTPError)):
            cause = problem.__cause__ or problem
            if isinstance(cause, _Late):
                return GeneratorError(f"{self.name} was not done after {self.deadline:g} seconds: {cause}")
            if isinstance(cause, (httpx2.ConnectError, httpx2.UnsupportedProtocol)):
                return _Again(f"no server answers at {self.base_url}: start it, or check the address")
            return _Again(f"the answer of {self.name} broke off: ask again, or look at the server")
        if status in (401, 403):
            return GeneratorError(f"{self.name} refuses the key ({status}): set COMMONPLACE_LLM_API_KEY")
        if status == 404:
            return GeneratorError(f"there is no {self.model} at {self.base_url} (404): check both names{said}")
        if status in (400, 413, 422, 500) and _CONTEXT.search(said):
            return ContextTooSmall(f"the prompt is too long for {self.name}{said}")
        if pictured and status in (400, 415, 422, 500, 501):
            return NoPictures(f"{self.name} takes no pictures ({status}): say so (vision = false){said}")
        if status == 429:
            return _Again(
                f"{self.name} has had enough for now (429): try later, or check your quota{said}", _retry_after(problem)
            )
        if status in (408, 409) or (status or 0) >= 500:
            return _Again(
                f"{self.name} failed ({status}): try again, or look at the server{said}", _retry_after(problem)
            )
        if status is not None:
            return GeneratorError(f"{self.name} refuses the request ({status}): check its settings{said}")
        return _Again(f"{self.name} broke off: look at the server{said}")

    def _said(self, problem: Exception) -> str:
        """Return what the server said, short, on one line, and without the key."""
        body = getattr(problem, "body", None)
        message = body.get("message") if isinstance(body, dict) else None
        text = str(message or getattr(problem, "message", "") or "")
        if self._key != "none":
            text = text.replace(self._key, "(key)")
        text = " ".join(printable(text).split())
        return f"; it says: {text[:200]}" if text else ""


class _Again(GeneratorError):
    """What may pass by itself; ``wait`` is how many seconds the server asks for."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class _Late(Exception):
    """An answer took too long, or too many bytes."""


def _retry_after(problem: Any) -> float | None:
    try:
        wait = float(problem.response.headers.get("retry-after"))
    except (AttributeError, TypeError, ValueError):
        return None
    return wait if 0 <= wait < 1e6 else None


def _bound(response: Any, until: float, most: int) -> None:
    """Let a response bring no byte after ``until`` (time.monotonic()) and no more than ``most``."""
    import httpx2

    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise _Late("it sent a packed answer, which was not asked for: look at the server")
    inner = response.stream

    class Bounded(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for piece in inner:
                size += len(piece)
                if time.monotonic() > until:
                    raise _Late("it was stopped; allow it more (deadline), or choose a faster model")
                if size > most:
                    raise _Late("it sent far more than an answer and was stopped")
                yield piece

        def close(self) -> None:
            inner.close()

    response.stream = Bounded()
