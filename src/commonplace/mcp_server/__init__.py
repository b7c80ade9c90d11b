"""A server of the Model Context Protocol: agents search and ask collections. Needs the extra ``mcp``."""

from __future__ import annotations

from commonplace.mcp_server.arguments import AddArguments
from commonplace.mcp_server.server import mcp_server
from commonplace.mcp_server.shelf import CollectionView, LocalShelf, Shelf

__all__ = ["AddArguments", "CollectionView", "LocalShelf", "Shelf", "mcp_server", "serve_stdio"]


def serve_stdio(shelf: Shelf) -> None:
    """Serve on standard input and output until the input ends."""
    import anyio
    from mcp.server.stdio import stdio_server

    async def run() -> None:
        server = mcp_server(lambda _request: shelf)
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    anyio.run(run)
