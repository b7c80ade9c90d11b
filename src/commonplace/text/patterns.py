"""Regular expressions that are compiled when they are first used.

Classes of Han, kana and Hangul characters take milliseconds to compile, and most programs never need them.
"""

from __future__ import annotations

import re
from typing import Any, cast

__all__ = ["pattern"]

_METHODS = ("search", "match", "fullmatch", "findall", "finditer", "sub")


class _Pattern:
    """Stands in for a compiled pattern, whose methods it takes over when the first of them is used."""

    def __init__(self, expression: str, flags: int) -> None:
        self._expression, self._flags = expression, flags

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:
            raise AttributeError(f"a pattern has no method {name!r} here")
        compiled = re.compile(self._expression, self._flags)
        vars(self).update((method, getattr(compiled, method)) for method in _METHODS)
        return vars(self)[name]


def pattern(expression: str, flags: int = 0) -> re.Pattern[str]:
    """Return a regular expression with the methods ``search`` to ``sub`` of a compiled one."""
    return cast("re.Pattern[str]", _Pattern(expression, flags))
