"""Which language model answers: settings from flags, the environment and a file, in that order."""

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

__all__ = ["FILE", "Settings"]

FILE = "commonplace.toml"
KEY = "COMMONPLACE_LLM_API_KEY"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
EXTRACTIVE = ("", "none", "extractive")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the table ``[llm]`` of ``commonplace.toml`` may say; what is None has the default of the generator.

    ``model`` is ``openai:NAME`` (a server that speaks OpenAI's chat API, at ``base_url``), ``transformers:FOLDER`` (a
    model in this process), or ``none``. In the environment each is ``COMMONPLACE_LLM_`` and its name in capitals,
    the model ``COMMONPLACE_LLM`` itself. The key stands in the environment only. A file may name a server of this
    machine only: it travels with a collection or a folder, and must not choose where questions, evidence and key go.
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
    ) -> Settings:
        """Return the settings: ``flags`` that are not None, else the environment, else the first folder's file.

        Raises GeneratorError for a file that cannot be read, an unknown name, a value of the wrong kind, or a file's
        server on another machine.
        """
        found: dict[str, Any] = {}
        for folder in reversed(folders):
            found |= _from_file(folder / FILE)
        carried = found.get("base_url")
        for field in fields(cls):
            name = "COMMONPLACE_LLM" + ("" if field.name == "model" else f"_{field.name.upper()}")
            if (value := environment.get(name)) not in (None, ""):
                found[field.name] = _converted(field.name, value, name)
        found |= {name: value for name, value in flags.items() if value is not None}
        given = flags.get("base_url") or environment.get("COMMONPLACE_LLM_BASE_URL")
        if carried is not None and not given and urlsplit(carried).hostname not in LOOPBACK:
            raise GeneratorError(
                f"a {FILE} here names the server {carried!r}, which is not on this machine: say it yourself with "
                "--base-url or COMMONPLACE_LLM_BASE_URL, or remove it from the file"
            )
        return replace(cls(), **found)

    def generator(self, environment: Mapping[str, str] = os.environ) -> ModelGenerator | None:
        """Return the generator that the settings describe; None for the extractive one.

        The key of OpenAI's own variable goes to OpenAI only, never to another server.
        """
        if (self.model or "") in EXTRACTIVE:
            return None
        kind, _, name = (self.model or "").partition(":")
        given = {
            field.name: value
            for field in fields(self)
            if field.name not in ("model", "base_url") and (value := getattr(self, field.name)) is not None
        }
        if kind == "openai" and name:
            key = environment.get(KEY) or (environment.get("OPENAI_API_KEY") if self.base_url is None else None)
            return ChatGenerator(name, base_url=self.base_url, api_key=key, **given)
        if kind == "transformers" and name:
            from commonplace.generation.local import TransformersGenerator

            for reached in ("timeout", "retries", "temperature"):  # of servers
                given.pop(reached, None)
            return TransformersGenerator(name, **given)
        raise GeneratorError(f"the language model is {self.model!r}: say openai:NAME, transformers:FOLDER or none")


def _from_file(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            return {}
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("llm", {})
    except (OSError, ValueError, RecursionError) as problem:
        raise GeneratorError(f"{path} cannot be read ({problem}): mend it, or remove it") from problem
    if not isinstance(table, dict):
        raise GeneratorError(f"{path}: llm must be a table, [llm]")
    if "api_key" in table:
        raise GeneratorError(f"{path} holds a key: keys stand in the environment only ({KEY}); remove it from the file")
    return {name: _converted(name, value, f"{path}: {name}") for name, value in table.items()}


def _converted(name: str, value: Any, where: str) -> Any:
    """Return a setting as the kind that it is; raises GeneratorError where it is none."""
    kinds = {field.name: str(field.type).removesuffix(" | None") for field in fields(Settings)}
    kind = kinds.get(name)
    if kind is None:
        raise GeneratorError(f"{where} is no setting: choose from {', '.join(kinds)}")
    try:
        if kind == "bool":
            if isinstance(value, bool):
                return value
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[str(value).lower()]
        if isinstance(value, bool):
            raise ValueError
        return {"str": str, "int": int, "float": float}[kind](value)
    except (KeyError, TypeError, ValueError) as problem:
        raise GeneratorError(f"{where} is {value!r}: it must be of the kind {kind}") from problem
