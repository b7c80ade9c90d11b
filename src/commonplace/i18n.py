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

__all__ = ["LANGUAGES", "N_", "_", "language", "language_name", "ngettext", "system_reason"]

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
    """Return a message in ``language_`` if there is a catalogue of it, else in the language of messages."""
    chosen = language_ if language_ in LANGUAGES else language()
    return message if chosen == LANGUAGES[0] else _catalogue(chosen).gettext(message)


def ngettext(singular: str, plural: str, count: int, language_: str | None = None) -> str:
    """Return a message about ``count`` things in ``language_``, or else in the language of messages."""
    chosen = language_ if language_ in LANGUAGES else language()
    if chosen == LANGUAGES[0]:
        return singular if count == 1 else plural
    return _catalogue(chosen).ngettext(singular, plural, count)


def N_(message: str) -> str:
    """Return a message as it is: it is only marked for the catalogue, and translated where it is shown."""
    return message


#: What operating systems say most often. What else they and other packages say is shown as it is.
SYSTEM_REASONS = (
    N_("No such file or directory"),
    N_("Permission denied"),
    N_("Operation not permitted"),
    N_("File exists"),
    N_("Not a directory"),
    N_("Is a directory"),
    N_("Directory not empty"),
    N_("No space left on device"),
    N_("Disk quota exceeded"),
    N_("Read-only file system"),
    N_("File name too long"),
    N_("Too many levels of symbolic links"),
    N_("Too many open files"),
    N_("Input/output error"),
    N_("Connection refused"),
    N_("Connection reset by peer"),
    N_("Network is unreachable"),
    N_("No route to host"),
)


def system_reason(problem: OSError) -> str:
    """Return what the operating system says about a problem, in the language of messages."""
    return _(problem.strerror or str(problem))


@lru_cache
def _catalogue(name: str) -> NullTranslations:
    """Return the catalogue of a language; an empty one for a language that has none."""
    from gettext import translation  # English needs none of it

    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "locale")
    return translation("commonplace", folder, [name], fallback=True)


_LANGUAGE_NAMES = {
    "ar": N_("Arabic"),
    "de": N_("German"),
    "el": N_("Greek"),
    "en": N_("English"),
    "es": N_("Spanish"),
    "fr": N_("French"),
    "he": N_("Hebrew"),
    "hi": N_("Hindi"),
    "it": N_("Italian"),
    "ja": N_("Japanese"),
    "ko": N_("Korean"),
    "nl": N_("Dutch"),
    "pl": N_("Polish"),
    "pt": N_("Portuguese"),
    "ru": N_("Russian"),
    "th": N_("Thai"),
    "tr": N_("Turkish"),
    "uk": N_("Ukrainian"),
    "vi": N_("Vietnamese"),
    "zh": N_("Chinese"),
}


def language_name(tag: str, language_: str | None = None) -> str:
    """Return the name of the language with a BCP 47 primary tag, as ``_`` does; the tag itself if it has none here."""
    return _(_LANGUAGE_NAMES.get(tag, tag), language_)
