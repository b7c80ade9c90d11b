"""The argument parser in the language of messages: argparse's own words, and lines broken by their width."""

from __future__ import annotations

import argparse
from typing import Any

from commonplace.cli.printing import fill
from commonplace.display import columns
from commonplace.i18n import N_, _, ngettext

__all__ = ["CommandParser"]

#: What argparse says to users, of all supported versions of Python. What it says to programmers is not translated.
ARGPARSE_MESSAGES = (
    N_("usage: "),
    N_("options"),
    N_("positional arguments"),
    N_("%(heading)s:"),
    N_("show this help message and exit"),
    N_("%(prog)s: error: %(message)s\n"),
    N_("argument %(argument_name)s: %(message)s"),
    N_("the following arguments are required: %s"),
    N_("one of the arguments %s is required"),
    N_("unrecognized arguments: %s"),
    N_("ambiguous option: %(option)s could match %(matches)s"),
    N_("not allowed with argument %s"),
    N_("ignored explicit argument %r"),
    N_("expected one argument"),
    N_("expected at most one argument"),
    N_("expected at least one argument"),
    N_("invalid %(type)s value: %(value)r"),
    N_("invalid choice: %(value)r (choose from %(choices)s)"),
)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Breaks lines with Chinese characters, which take two columns, and between which no space stands."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        if columns(text) == len(text):
            return super()._split_lines(text, width)
        return fill(" ".join(text.split()), width=width).split("\n")

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = super()._fill_text(text, width, indent).split("\n")
        return "\n".join(fill(line, indent, width) if columns(line) > max(len(line), width) else line for line in lines)


class CommandParser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that finds its words in the catalogue of Commonplace."""

    def __init__(self, **settings: Any) -> None:
        for name, function in (("_", _), ("ngettext", ngettext)):
            setattr(argparse, name, function)  # argparse looks its words up by these names
        super().__init__(**{"formatter_class": HelpFormatter, **settings})
