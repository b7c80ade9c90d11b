"""Settings of the language model that answers, from flags, the environment and a file, in that order."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from commonplace.errors import GeneratorError
from commonplace.generation.chat import OLLAMA_CONTEXT, ChatGenerator, ollama_url
from commonplace.generation.model import ModelGenerator
from commonplace.i18n import N_, _
from commonplace.settings import FILE, SettingsTable

__all__ = ["GeneratorSettings"]

KEY = "COMMONPLACE_LLM_API_KEY"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
EXTRACTIVE = ("", "none", "extractive")


@dataclass(frozen=True, slots=True)
class GeneratorSettings:
    """The settings in the table ``[llm]`` of ``commonplace.toml``. None stands for the default of the generator.

    ``model`` is ``openai:NAME`` (a server with OpenAI's chat API, at ``base_url``), ``ollama:NAME`` (Ollama at
    ``base_url``, at OLLAMA_HOST, or on this machine), ``transformers:FOLDER`` (a model in this process), or ``none``.
    The environment variable of a setting is ``COMMONPLACE_LLM_`` and its name in capitals; that of the model is
    ``COMMONPLACE_LLM``. The API key comes from the environment only. A file may name only a server on this machine:
    files travel with collections and folders, and must not decide where questions, evidence and key are sent.
    """

    model: str | None = None
    base_url: str | None = None
    timeout: float | None = None
    deadline: float | None = None
    retries: int | None = None
    temperature: float | None = None
    context: int | None = None
    max_tokens: int | None = None
    pictures: int | None = None
    vision: bool | None = None
    fallback: bool | None = None

    @classmethod
    def read(
        cls, flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ, folders: Sequence[Path] = ()
    ) -> GeneratorSettings:
        """Return the settings. Flags that are not None come first, then the environment, then the first folder's file.

        Raises GeneratorError for a file that cannot be read, an unknown setting, a value of the wrong type, or a file
        that names a server on another machine.
        """
        values, from_files = _TABLE.read(flags, environment, folders)
        file_url = from_files.get("base_url")
        user_url = flags.get("base_url") or environment.get("COMMONPLACE_LLM_BASE_URL")
        if file_url is not None and not user_url and urlsplit(file_url).hostname not in LOOPBACK:
            raise GeneratorError(
                _(
                    "a {file} here names the server {file_url!r}, which is not on this machine: confirm it with "
                    "--base-url or COMMONPLACE_LLM_BASE_URL, or remove it from the file"
                ).format(file=FILE, file_url=file_url)
            )
        return replace(cls(), **values)

    def generator(self, environment: Mapping[str, str] = os.environ) -> ModelGenerator | None:
        """Return the generator that the settings describe; None for the extractive one.

        The key in OPENAI_API_KEY is sent to OpenAI only, never to another server. Raises GeneratorError for a model
        of no known kind, and as the generators do.
        """
        if (self.model or "") in EXTRACTIVE:
            return None
        kind, _colon, name = (self.model or "").partition(":")
        options = {
            field.name: value
            for field in fields(self)
            if field.name not in ("model", "base_url") and (value := getattr(self, field.name)) is not None
        }
        if kind == "openai" and name:
            key = environment.get(KEY) or (environment.get("OPENAI_API_KEY") if self.base_url is None else None)
            return ChatGenerator(name, base_url=self.base_url, api_key=key, **options)
        if kind == "ollama" and name:
            options.setdefault("context", _ollama_context(environment))
            url = self.base_url or ollama_url(environment.get("OLLAMA_HOST", ""))
            return ChatGenerator(name, base_url=url, api_key=environment.get(KEY), **options)
        if kind == "transformers" and name:
            from commonplace.generation.local import TransformersGenerator

            for server_option in ("timeout", "retries", "temperature"):  # settings of servers only
                options.pop(server_option, None)
            return TransformersGenerator(name, **options)
        raise GeneratorError(
            _("the language model is {model!r}: choose openai:NAME, ollama:NAME, transformers:FOLDER or none").format(
                model=self.model
            )
        )


def _ollama_context(environment: Mapping[str, str]) -> int:
    """Return the context with which Ollama runs its models, as far as the environment tells."""
    stated = environment.get("OLLAMA_CONTEXT_LENGTH", "")
    return int(stated) if stated.isdecimal() and int(stated) > 0 else OLLAMA_CONTEXT


_KINDS = {field.name: str(field.type).removesuffix(" | None") for field in fields(GeneratorSettings)}
_TABLE = SettingsTable(
    name="llm",
    kinds=_KINDS,
    variables={name: "COMMONPLACE_LLM" + ("" if name == "model" else f"_{name.upper()}") for name in _KINDS},
    error=GeneratorError,
    secrets={"api_key": (N_("an API key"), KEY)},
)
