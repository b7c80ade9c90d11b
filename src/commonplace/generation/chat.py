"""A language model on a server with OpenAI's chat API: OpenAI, vLLM, Ollama, llama.cpp and many others."""

from __future__ import annotations

import importlib.util
import logging
import random
import re
import time
from collections.abc import Generator, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from commonplace.errors import GeneratorError
from commonplace.generation.model import ContextTooSmall, ModelGenerator, NoPictures
from commonplace.i18n import N_, _
from commonplace.types import Note, printable

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ChatGenerator", "ollama_url"]

log = logging.getLogger("commonplace")
OPENAI = "https://api.openai.com/v1"
OLLAMA_PORT = 11434
OLLAMA_CONTEXT = 4096
"""Tokens of a model's context in Ollama on a machine with less than 24 GiB of graphics memory. Ollama cuts a longer
prompt without a word, so nothing larger may be assumed."""
CONNECT = 5.0  # seconds to reach a server
FIRST_WAIT = 0.5  # seconds before the first retry, doubled for each further one
LONGEST_WAIT = 20.0  # the most seconds that a server may ask to wait before a retry
_CONTEXT = re.compile(
    r"context.{0,20}(?:length|size|window|exceed)|too (?:long|many tokens)|maximum.{0,30}tokens"
    r"|exceeds?.{0,40}(?:context|tokens)",
    re.IGNORECASE,
)


class ChatGenerator(ModelGenerator):
    """Writes answers with ``model`` on the server at ``base_url`` (default: OpenAI), through the openai client.

    ``api_key`` is sent to that server and nowhere else; redirects are not followed. ``timeout`` is the number of
    seconds that the server may send nothing, ``deadline`` the number that a whole answer may take. A request that
    fails before the first word is sent again, up to ``retries`` times, with growing pauses. ``temperature`` 0 gives
    the most reproducible answers. Further keywords: see ``ModelGenerator``. Raises GeneratorError for settings
    out of range, and if the client is not installed (extra ``chat``): before anything is searched.
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
            raise GeneratorError(
                _(
                    "the server is {url!r} and the model {model!r}: the server must be an http or https "
                    "URL, and the model must have a name"
                ).format(url=url, model=model)
            )
        if not timeout > 0 or not deadline > 0 or retries < 0:
            raise GeneratorError(
                _("a limit is too small: timeout and deadline must be above 0 seconds, and retries at least 0")
            )
        if importlib.util.find_spec("openai") is None:
            raise GeneratorError(_(NO_CLIENT))
        host = parts.hostname + (f":{parts.port}" if parts.port else "")
        super().__init__(f"{model} at {host}", **common)
        self.model = model
        self.base_url = url
        self.timeout = timeout
        self.deadline = deadline
        self.retries = retries
        self._key = api_key or "none"  # local servers need no key, but the client does
        self._settings: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
        self._max_tokens_name = "max_tokens"

    @cached_property
    def _openai(self) -> Any:
        try:
            import openai
        except ImportError as problem:
            raise GeneratorError(_(NO_CLIENT)) from problem
        return openai

    @classmethod
    def ollama(cls, model: str, *, host: str | None = None, context: int | None = None, **settings: Any) -> Self:
        """Return a generator with ``model`` of the Ollama on this machine, or at ``host``.

        ``host`` is written as in OLLAMA_HOST: a host, a port (``:11434``), both, or a URL. ``context`` is the model's
        context as Ollama runs it (default: 4096 tokens, see OLLAMA_CONTEXT_LENGTH). Further keywords and errors as for
        ``ChatGenerator``.
        """
        return cls(model, base_url=ollama_url(host or ""), context=context or OLLAMA_CONTEXT, **settings)

    def write(self, messages: Sequence[dict[str, Any]], max_tokens: int) -> Generator[str | Note, None, None]:
        """Yield what the model writes; see ``ModelGenerator.write()``."""
        deadline = time.monotonic() + self.deadline
        retries = 0
        while True:
            started = False
            try:
                for piece in self._request(messages, max_tokens, deadline):
                    started = started or isinstance(piece, str)
                    yield piece
                if started:
                    return
                raise _TransientError(
                    _("{name} sent an empty answer: ask again, or choose another model").format(name=self.name)
                )
            except _TransientError as problem:
                wait = problem.wait if problem.wait is not None else FIRST_WAIT * 2**retries * random.uniform(0.75, 1)
                late = time.monotonic() + wait >= deadline
                if started or retries >= self.retries or late or wait > LONGEST_WAIT:
                    raise GeneratorError(str(problem)) from problem
                retries += 1
                log.warning("%s; retry %d of %d in %.1f s", problem, retries, self.retries, wait)
                yield Note(
                    _("asked {name} again (retry {retry} of {retries}): {problem}").format(
                        name=self.name, retry=retries, retries=self.retries, problem=problem
                    )
                )
                time.sleep(wait)

    def _request(self, messages: Sequence[dict[str, Any]], max_tokens: int, deadline: float) -> Iterator[str | Note]:
        """Yield the answer to one request; raises _TransientError if a retry may help, else GeneratorError."""
        openai = self._openai
        import httpx2

        has_pictures = any(not isinstance(message["content"], str) for message in messages)
        # A server that sends bytes forever never reaches a timeout, so time and size are limited as well.
        hooks = {"response": [lambda response: _limit_response(response, deadline, 1_000_000 + 8_000 * max_tokens)]}
        timeout = httpx2.Timeout(max(min(self.timeout, deadline - time.monotonic()), 0.001), connect=CONNECT)
        finished = False
        with (
            httpx2.Client(
                event_hooks=hooks,
                follow_redirects=False,
                timeout=timeout,
                headers={"Accept-Encoding": "identity"},  # the size of a compressed answer could not be limited
            ) as http,
            openai.OpenAI(
                api_key=self._key, base_url=self.base_url, max_retries=0, http_client=http, timeout=timeout
            ) as client,
        ):
            try:
                with self._start(client, messages, max_tokens) as stream:
                    if "html" in stream.response.headers.get("content-type", "").lower():
                        raise self._web_page()
                    for chunk in stream:
                        choice = chunk.choices[0] if chunk.choices else None
                        if choice is None:
                            continue
                        text = choice.delta.content if choice.delta is not None else None
                        if text:  # replaces a lone surrogate, which is no text
                            yield str(text).encode("utf-8", "replace").decode()
                        finished = finished or choice.finish_reason is not None
                        if choice.finish_reason == "length":
                            yield Note(
                                _("{name} was cut off after {max_tokens} tokens: allow more (max_tokens)").format(
                                    name=self.name, max_tokens=max_tokens
                                )
                            )
                        elif choice.finish_reason == "content_filter":
                            yield Note(
                                _(
                                    "the server's content filter cut off the answer of {name}: ask in other words"
                                ).format(name=self.name)
                            )
                if not finished:
                    raise _TransientError(
                        _("the answer of {name} broke off: ask again, or check the server").format(name=self.name)
                    )
            except openai.APIStatusError as problem:
                if "html" in problem.response.headers.get("content-type", "").lower() and problem.status_code < 500:
                    raise self._web_page() from problem
                raise self._translated(problem, has_pictures) from problem
            except openai.APIError as problem:
                raise self._translated(problem, has_pictures) from problem
            except (httpx2.HTTPError, _LimitExceeded) as problem:
                raise self._translated(problem, has_pictures) from problem
            # A server may send anything: invalid JSON, fields of other types, invalid UTF-8.
            except (
                *(ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError, openai.OpenAIError),
            ) as problem:
                raise _TransientError(
                    _("{name} sent an invalid answer ({type}): check that {base_url} has OpenAI's chat API").format(
                        name=self.name, type=type(problem).__name__, base_url=self.base_url
                    )
                ) from problem

    def _start(self, client: Any, messages: Sequence[dict[str, Any]], max_tokens: int) -> Any:
        """Open the stream. If the model rejects max_tokens or temperature, adapt the request and remember that."""
        for _attempt in range(3):
            settings = {**self._settings, self._max_tokens_name: max_tokens}
            try:
                return client.chat.completions.create(
                    model=self.model, messages=list(messages), stream=True, **settings
                )
            except self._openai.BadRequestError as problem:
                message = str(problem)
                if "max_completion_tokens" in message and self._max_tokens_name == "max_tokens":
                    self._max_tokens_name = "max_completion_tokens"
                elif "temperature" in message and self._settings:
                    self._settings = {}
                else:
                    raise
        raise GeneratorError(
            _("{name} accepts neither max_tokens nor max_completion_tokens: choose another server").format(
                name=self.name
            )
        )

    def _translated(self, problem: Exception, has_pictures: bool) -> GeneratorError:
        """Return the error for a problem of the client; a _TransientError if a retry may help."""
        openai = self._openai
        import httpx2

        status = getattr(problem, "status_code", None)
        server_message = self._server_message(problem)
        if isinstance(problem, _LimitExceeded):
            return GeneratorError(
                _("{name} was not done after {deadline:g} seconds: {problem}").format(
                    name=self.name, deadline=self.deadline, problem=problem
                )
            )
        if isinstance(problem, (openai.APITimeoutError, httpx2.TimeoutException)):
            return _TransientError(
                _("{name} was silent for {timeout:g} seconds: allow more (timeout), or ask again").format(
                    name=self.name, timeout=self.timeout
                )
            )
        if isinstance(problem, (openai.APIConnectionError, httpx2.HTTPError)):
            cause = problem.__cause__ or problem
            if isinstance(cause, _LimitExceeded):
                return GeneratorError(
                    _("{name} was not done after {deadline:g} seconds: {cause}").format(
                        name=self.name, deadline=self.deadline, cause=cause
                    )
                )
            if isinstance(cause, (httpx2.ConnectError, httpx2.UnsupportedProtocol)):
                return _TransientError(
                    _("no server answers at {base_url}: start it, or check the address").format(base_url=self.base_url)
                )
            return _TransientError(
                _("the answer of {name} broke off: ask again, or check the server").format(name=self.name)
            )
        if status in (401, 403):
            return GeneratorError(
                _("{name} refuses the API key ({status}): set COMMONPLACE_LLM_API_KEY").format(
                    name=self.name, status=status
                )
            )
        body = getattr(problem, "body", None)
        if status == 404 and self._lacks_v1 and not (isinstance(body, dict) and body.get("message")):
            return GeneratorError(
                _("there is no chat API at {base_url} (404): its address usually ends in /v1, try {corrected}").format(
                    base_url=self.base_url, corrected=self._with_v1
                )
            )
        if status == 404:
            return GeneratorError(
                _("there is no {model} at {base_url} (404): check both names{server_message}").format(
                    model=self.model, base_url=self.base_url, server_message=server_message
                )
            )
        if status in (400, 413, 422, 500) and _CONTEXT.search(server_message):
            return ContextTooSmall(
                _("the prompt is too long for {name}{server_message}").format(
                    name=self.name, server_message=server_message
                )
            )
        if has_pictures and status in (400, 415, 422, 500, 501):
            return NoPictures(
                _("{name} accepts no pictures ({status}): set vision = false{server_message}").format(
                    name=self.name, status=status, server_message=server_message
                )
            )
        if status == 429:
            return _TransientError(
                _("{name} has reached a rate limit (429): try later, or check your quota{server_message}").format(
                    name=self.name, server_message=server_message
                ),
                _retry_after(problem),
            )
        if status in (408, 409) or (status or 0) >= 500:
            return _TransientError(
                _("{name} failed ({status}): try again, or check the server{server_message}").format(
                    name=self.name, status=status, server_message=server_message
                ),
                _retry_after(problem),
            )
        if status is not None:
            return GeneratorError(
                _("{name} refuses the request ({status}): check its settings{server_message}").format(
                    name=self.name, status=status, server_message=server_message
                )
            )
        return _TransientError(
            _("{name} broke off: check the server{server_message}").format(
                name=self.name, server_message=server_message
            )
        )

    def _web_page(self) -> GeneratorError:
        """Return the error for a server that sends a web page: its address is that of a site, not of the API."""
        if self._lacks_v1:
            return GeneratorError(
                _(
                    "{base_url} sends a web page instead of an answer: the address of a chat API usually ends in /v1, "
                    "try {corrected}"
                ).format(base_url=self.base_url, corrected=self._with_v1)
            )
        return GeneratorError(
            _(
                "{base_url} sends a web page instead of an answer: check the address, and whether a proxy or a login "
                "page stands before the server"
            ).format(base_url=self.base_url)
        )

    @property
    def _lacks_v1(self) -> bool:
        return re.search(r"/v\d+\w*(?:/|$)", urlsplit(self.base_url).path) is None

    @property
    def _with_v1(self) -> str:
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/v1"

    def _server_message(self, problem: Exception) -> str:
        """Return the message of the server, at most 200 characters on one line, without the API key."""
        body = getattr(problem, "body", None)
        message = body.get("message") if isinstance(body, dict) else None
        text = str(message or getattr(problem, "message", "") or "")
        if self._key != "none":
            text = text.replace(self._key, "(key)")
        text = " ".join(printable(text).split())
        return _("; it says: {text}").format(text=text[:200]) if text else ""


NO_CLIENT = N_(
    "the openai client is not installed: run `pip install 'commonplace-rag[chat]'`, or ask without a language model"
)


def ollama_url(host: str) -> str:
    """Return the address of Ollama's OpenAI-compatible API for a value of OLLAMA_HOST; empty stands for the default.

    As Ollama's own client reads it: the port is 11434, or that of the scheme if one is given; a server that listens on
    all addresses (0.0.0.0) is reached on this machine.
    """
    scheme, separator, rest = host.strip().strip("\"'").rpartition("://")
    place, _slash, path = rest.partition("/")
    port = {"http": 80, "https": 443}.get(scheme, OLLAMA_PORT) if separator else OLLAMA_PORT
    name = place
    if match := re.fullmatch(r"(\[[^\]]*\]|[^:]*):(\d*)", place):
        name, port = match[1], int(match[2] or port)
    elif ":" in place:  # an IPv6 address without a port
        name = f"[{place.strip('[]')}]"
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(name, name)
    path = path.strip("/")
    return f"{scheme or 'http'}://{name}:{port}/{path + '/' if path else ''}v1"


class _TransientError(GeneratorError):
    """A failure that a retry may remedy. ``wait``: the seconds that the server asks to wait, or None."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class _LimitExceeded(Exception):
    """An answer took too much time or too many bytes."""


def _retry_after(problem: Any) -> float | None:
    try:
        wait = float(problem.response.headers.get("retry-after"))
    except (AttributeError, TypeError, ValueError):
        return None
    return wait if 0 <= wait < 1e6 else None


def _limit_response(response: Any, deadline: float, max_bytes: int) -> None:
    """Let a response raise _LimitExceeded after ``deadline`` (time.monotonic()) or ``max_bytes`` bytes."""
    import httpx2

    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise _LimitExceeded(_("it sent a compressed answer, which was not requested: check the server"))
    inner = response.stream

    class Bounded(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for piece in inner:
                size += len(piece)
                if time.monotonic() > deadline:
                    raise _LimitExceeded(_("it was stopped; allow more (deadline), or choose a faster model"))
                if size > max_bytes:
                    raise _LimitExceeded(_("it sent far more than an answer and was stopped; check the server"))
                yield piece

        def close(self) -> None:
            inner.close()

    response.stream = Bounded()
