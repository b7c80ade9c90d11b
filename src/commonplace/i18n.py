"""Messages in the reader's language: English as the source has them, Chinese from the catalogue.

``_`` and ``ngettext`` look up the language at each call. A message is a template with named fields that is translated
first and formatted then, so values may hold braces: ``_("no model {name}").format(name=name)``. English reads no
catalogue. ``make messages`` renews the catalogue in ``locale/``.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gettext import NullTranslations

__all__ = ["LANGUAGES", "N_", "_", "language", "ngettext"]

#: The languages of the messages. The first is that of the source.
LANGUAGES = ("en", "zh")

#: The environment variables that choose the language. The first that is set wins.
VARIABLES = ("COMMONPLACE_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


def language() -> str:
    """Return the language of messages now, one of ``LANGUAGES``; English for all others.

    Every Chinese locale gets ``zh``, which is simplified Chinese: ``zh_CN.UTF-8``, ``zh-Hant``, ``zh_TW``.
    """
    for variable in VARIABLES:
        locale = os.environ.get(variable)
        if locale:
            primary = locale.replace("-", "_").replace(".", "_").partition("_")[0].lower()
            return primary if primary in LANGUAGES else LANGUAGES[0]
    return LANGUAGES[0]


def _(message: str, language_: str | None = None) -> str:
    """Return a message in the language of messages, or in ``language_``: its translation, else itself."""
    chosen = language_ or language()
    return message if chosen == LANGUAGES[0] else _catalogue(chosen).gettext(message)


def ngettext(singular: str, plural: str, count: int, language_: str | None = None) -> str:
    """Return a message about ``count`` things in the language of messages, or in ``language_``."""
    chosen = language_ or language()
    if chosen == LANGUAGES[0]:
        return singular if count == 1 else plural
    return _catalogue(chosen).ngettext(singular, plural, count)


def N_(message: str) -> str:
    """Return a message as it is: it is only marked for the catalogue, and translated where it is shown."""
    return message


@lru_cache
def _catalogue(name: str) -> NullTranslations:
    """Return the catalogue of a language; an empty one for a language that has none."""
    from gettext import translation  # English needs none of it

    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "locale")
    return translation("commonplace", folder, [name], fallback=True)
