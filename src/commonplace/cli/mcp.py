"""The verb ``mcp``: a server of the Model Context Protocol on standard input and output."""

from __future__ import annotations

import argparse
from typing import Any

from commonplace.cli.common import answer_options, open_
from commonplace.i18n import _


def verbs(verb: Any) -> None:
    """Add the verb to the command."""
    verb(
        "mcp",
        _mcp,
        _("let an agent search and ask the collection over MCP on standard input and output (needs the extra mcp)"),
        "commonplace mcp --collection ~/papers/.commonplace",
        _mcp_options,
    )


def _mcp_options(mcp: argparse.ArgumentParser) -> None:
    mcp.add_argument(
        "--allow-add", action="store_true", help=_("let the agent add documents, and files of this machine")
    )
    answer_options(mcp)


def _mcp(options: argparse.Namespace) -> int:
    from importlib.util import find_spec

    if find_spec("mcp") is None:
        from commonplace.errors import CommonplaceError

        raise CommonplaceError(_("mcp needs the extra mcp: run `pip install 'commonplace-rag[mcp]'`"))
    from commonplace.mcp_server import LocalShelf, serve_stdio

    with open_(options, make=options.allow_add) as collection:
        serve_stdio(LocalShelf(collection, may_add=options.allow_add))
    return 0
