"""Settings from flags, the environment and the file ``commonplace.toml``, in that order."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commonplace.errors import CommonplaceError
from commonplace.i18n import _

__all__ = ["FILE", "SettingsTable"]

FILE = "commonplace.toml"
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class SettingsTable:
    """A table of ``commonplace.toml``, whose settings may also be flags and environment variables.

    ``kinds`` are the types of the settings by name: ``str``, ``int``, ``float`` or ``bool``. ``variables`` are their
    environment variables. ``secrets`` are the settings that the file may not have: what each is ("an API key"), and
    its environment variable. Errors are of the type ``error``, in one line, and never show a secret.
    """

    name: str
    kinds: Mapping[str, str]
    variables: Mapping[str, str]
    error: type[CommonplaceError]
    secrets: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def read(
        self, flags: Mapping[str, Any], environment: Mapping[str, str], folders: Sequence[Path]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the settings that have a value, and those that the files give.

        Flags that are not None come first, then the environment, then the first folder's file. Raises ``error`` for a
        file that cannot be read, an unknown setting, or a value of the wrong type.
        """
        from_files: dict[str, Any] = {}
        for folder in reversed(folders):
            from_files |= self._from_file(folder / FILE)
        values = dict(from_files)
        for name, variable in self.variables.items():
            if (value := environment.get(variable)) not in (None, ""):
                values[name] = self._converted(name, value, variable)
        return values | {name: value for name, value in flags.items() if value is not None}, from_files

    def _from_file(self, path: Path) -> dict[str, Any]:
        try:
            if not path.is_file():
                return {}
            if sys.version_info >= (3, 11):
                import tomllib
            else:
                import tomli as tomllib
            table = tomllib.loads(path.read_text(encoding="utf-8")).get(self.name, {})
        except (OSError, ValueError, RecursionError) as problem:
            raise self.error(
                _("{path} cannot be read ({problem}): correct it, or remove it").format(path=path, problem=problem)
            ) from problem
        if not isinstance(table, dict):
            raise self.error(
                _("{path}: {name} is not a table: write its settings below a line [{name}]").format(
                    path=path, name=self.name
                )
            )
        for name, (what, variable) in self.secrets.items():
            if name in table:
                raise self.error(
                    _(
                        "{path} holds {what}: remove it from the file, and set the environment variable "
                        "{variable} instead"
                    ).format(path=path, what=_(what), variable=variable)
                )
        return {name: self._converted(name, value, f"{path}: {name}") for name, value in table.items()}

    def _converted(self, name: str, value: Any, where: str) -> Any:
        """Return the value of a setting in its type."""
        kind = self.kinds.get(name)
        if kind is None:
            names = [name for name in self.kinds if name not in self.secrets]
            raise self.error(
                _("{where} is not a setting: choose from {names}").format(where=where, names=", ".join(names))
            )
        try:
            if kind == "bool":
                return value if isinstance(value, bool) else _BOOLEANS[str(value).lower()]
            if isinstance(value, bool):
                raise ValueError
            return {"str": str, "int": int, "float": float}[kind](value)
        except (KeyError, TypeError, ValueError):
            raise self.error(
                _("{where} is {value!r:.100}: it must be of the type {kind}").format(
                    where=where, value=value, kind=kind
                )
            ) from None
