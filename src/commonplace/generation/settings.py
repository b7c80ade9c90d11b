"""Settings of the language model that answers, from flags, the environment and a file, in that order."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from commonplace.errors import GeneratorError
from commonplace.generation.chat import ChatGenerator
from commonplace.generation.model import ModelGenerator

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["FILE", "GeneratorSettings"]

FILE = "commonplace.toml"
KEY = "COMMONPLACE_LLM_API_KEY"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
EXTRACTIVE = ("", "none", "extractive")


@dataclass(frozen=True, slots=True)
class GeneratorSettings:
    """The settings in the table ``[llm]`` of ``commonplace.toml``. None stands for the default of the generator.

    ``model`` is ``openai:NAME`` (a server with OpenAI's chat API, at ``base_url``), ``transformers:FOLDER`` (a model
    in this process), or ``none``. The environment variable of a setting is ``COMMONPLACE_LLM_`` and its name in
    capitals; that of the model is ``COMMONPLACE_LLM``. The API key comes from the environment only. A file may name
    only a server on this machine: files travel with collections and folders, and must not decide where questions,
    evidence and key are sent.
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
        values: dict[str, Any] = {}
        for folder in reversed(folders):
            values |= _from_file(folder / FILE)
        file_url = values.get("base_url")
        for field in fields(cls):
            name = "COMMONPLACE_LLM" + ("" if field.name == "model" else f"_{field.name.upper()}")
            if (value := environment.get(name)) not in (None, ""):
                values[field.name] = _converted(field.name, value, name)
        values |= {name: value for name, value in flags.items() if value is not None}
        user_url = flags.get("base_url") or environment.get("COMMONPLACE_LLM_BASE_URL")
        if file_url is not None and not user_url and urlsplit(file_url).hostname not in LOOPBACK:
            raise GeneratorError(
                f"a {FILE} here names the server {file_url!r}, which is not on this machine: confirm it with "
                "--base-url or COMMONPLACE_LLM_BASE_URL, or remove it from the file"
            )
        return replace(cls(), **values)

    def generator(self, environment: Mapping[str, str] = os.environ) -> ModelGenerator | None:
        """Return the generator that the settings describe; None for the extractive one.

        The key in OPENAI_API_KEY is sent to OpenAI only, never to another server. Raises GeneratorError for a model
        of no known kind, and as the generators do.
        """
        if (self.model or "") in EXTRACTIVE:
            return None
        kind, _, name = (self.model or "").partition(":")
        options = {
            field.name: value
            for field in fields(self)
            if field.name not in ("model", "base_url") and (value := getattr(self, field.name)) is not None
        }
        if kind == "openai" and name:
            key = environment.get(KEY) or (environment.get("OPENAI_API_KEY") if self.base_url is None else None)
            return ChatGenerator(name, base_url=self.base_url, api_key=key, **options)
        if kind == "transformers" and name:
            from commonplace.generation.local import TransformersGenerator

            for server_option in ("timeout", "retries", "temperature"):  # settings of servers only
                options.pop(server_option, None)
            return TransformersGenerator(name, **options)
        raise GeneratorError(f"the language model is {self.model!r}: choose openai:NAME, transformers:FOLDER or none")


def _from_file(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            return {}
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("llm", {})
    except (OSError, ValueError, RecursionError) as problem:
        raise GeneratorError(f"{path} cannot be read ({problem}): correct it, or remove it") from problem
    if not isinstance(table, dict):
        raise GeneratorError(f"{path}: llm is not a table: write its settings below a line [llm]")
    if "api_key" in table:
        raise GeneratorError(
            f"{path} holds an API key: remove it from the file, and set the environment variable {KEY} instead"
        )
    return {name: _converted(name, value, f"{path}: {name}") for name, value in table.items()}


def _converted(name: str, value: Any, where: str) -> Any:
    """Return the value of a setting in its type; raises GeneratorError for an unknown setting or a wrong type."""
    kinds = {field.name: str(field.type).removesuffix(" | None") for field in fields(GeneratorSettings)}
    kind = kinds.get(name)
    if kind is None:
        raise GeneratorError(f"{where} is not a setting: choose from {', '.join(kinds)}")
    try:
        if kind == "bool":
            if isinstance(value, bool):
                return value
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[str(value).lower()]
        if isinstance(value, bool):
            raise ValueError
        return {"str": str, "int": int, "float": float}[kind](value)
    except (KeyError, TypeError, ValueError) as problem:
        raise GeneratorError(f"{where} is {value!r}: it must be of the type {kind}") from problem
