"""The Model Context Protocol, by the SDK's own client: over stdio with a real process, and over HTTP."""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

import commonplace as cp
from commonplace.mcp_server import LocalShelf, mcp_server
from commonplace.server import KeyFile, Library, ServerSettings, create_app
from tests.server.conftest import serving
from tests.server.pumps import picture

SEAL = "Which seal does the north pump need?"


def over_stdio(folder: Path, *options: str) -> StdioServerParameters:
    arguments = ["-m", "commonplace", "mcp", "--collection", str(folder), *options]
    environment = {name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "COMMONPLACE"))}
    return StdioServerParameters(command=sys.executable, args=arguments, env=environment)


@asynccontextmanager
async def over_http(url: str, key: str | None = None, mode: str = "auto") -> AsyncIterator[Client]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def url(pump_folder: Path) -> Iterator[str]:
    with serving(create_app(Library({"pumps": str(pump_folder)}))) as address:
        yield address


def text_of(result: Any) -> str:
    return "\n".join(block.text for block in result.content if block.type == "text")


async def drive(client: Client) -> None:
    """Do what an agent does: look for the tools, search, read on, ask, and open the sources."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {"search", "ask", "get_document", "list_documents"}
    assert all(tool.annotations.read_only_hint for tool in tools.values())
    assert "evidence, not instructions" in client.instructions

    listed = await client.call_tool("list_documents", {"where": {"team": "north"}})
    assert {document["id"] for document in listed.structured_content["documents"]} == {"north", "disc"}

    found = await client.call_tool("search", {"query": "seal of the north pump", "k": 2})
    hit = found.structured_content["hits"][0]
    assert hit["document"] == "north" and "4711" in hit["text"] and hit["item"] in text_of(found)
    document = await client.call_tool("get_document", {"id": hit["document"], "limit": 20})
    assert len(document.structured_content["text"]) == 20 and document.structured_content["next_offset"] == 20
    assert "4711" in (await client.read_resource(hit["uri"])).contents[0].text

    answer = await client.call_tool("ask", {"question": SEAL})
    assert "4711" in text_of(answer) and "[1] North pump" in text_of(answer) and not answer.is_error
    assert answer.structured_content["citations"][0]["document"] == "north"
    nothing = await client.call_tool("ask", {"question": "Who won the chess championship of 1972?"})
    assert nothing.structured_content["abstained"] and not nothing.is_error

    wrong = await client.call_tool("search", {"query": "seal", "modalty": "text"})
    assert wrong.is_error and "modalty" in text_of(wrong)
    assert (await client.call_tool("get_document", {"id": "../etc"})).is_error
    with pytest.raises(MCPError):
        await client.read_resource("commonplace://pumps/documents/absent")


async def look_at_pictures(client: Client) -> None:
    """Search by a picture, and open the original of a hit."""
    image = base64.b64encode(picture()).decode()
    result = await client.call_tool("search", {"image": image, "k": 3})
    shown = [block for block in result.content if block.type == "image"]
    assert len(shown) == 1 and max(Image.open(io.BytesIO(base64.b64decode(shown[0].data))).size) <= 320
    assert shown[0].data not in str(result.structured_content)
    (link,) = (block for block in result.content if block.type == "resource_link")
    original = (await client.read_resource(link.uri)).contents[0]
    assert original.mime_type == "image/png" and base64.b64decode(original.blob) == picture()
    (item,) = result.structured_content["pictures"]
    page = await client.read_resource(link.uri.partition("/documents")[0] + f"/items/{item}/page")
    assert Image.open(io.BytesIO(base64.b64decode(page.contents[0].blob))).size[0] > 320
    none = await client.call_tool("search", {"image": image, "pictures": 0})
    assert [block.type for block in none.content] == ["text"]


def test_an_agent_works_over_stdio(pump_folder: Path) -> None:
    async def run() -> None:
        async with Client(over_stdio(pump_folder), read_timeout_seconds=120) as client:
            await drive(client)
            await look_at_pictures(client)
            resources = (await client.list_resources()).resources
            assert {resource.name for resource in resources} == {"North pump", "South pump", "Red disc"}
            templates = (await client.list_resource_templates()).resource_templates
            assert {template.name for template in templates} == {"document", "original", "page"}

    anyio.run(run)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_an_agent_works_over_http_in_both_eras(url: str, mode: str) -> None:
    async def run() -> None:
        async with over_http(url, mode=mode) as client:
            assert (client.protocol_version >= "2026") == (mode == "auto")
            await drive(client)

    anyio.run(run)


def test_keys_and_their_filters_hold_at_mcp(pump_folder: Path, tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    south = keys.add("south", ["read"], None, ["team=south"])
    elsewhere = keys.add("elsewhere", ["read"], ["other"])

    async def run(url: str) -> None:
        async with over_http(url, south) as client:
            found = await client.call_tool("search", {"query": "seal 4711 of the north pump", "where": {"team": "*"}})
            assert {hit["document"] for hit in found.structured_content["hits"]} == {"south"}
            assert (await client.call_tool("get_document", {"id": "north"})).is_error
            assert [resource.name for resource in (await client.list_resources()).resources] == ["South pump"]
            for place in ("documents/north", "documents/north/original", "documents/disc/original"):
                with pytest.raises(MCPError):
                    await client.read_resource(f"commonplace://pumps/{place}")
        async with over_http(url, elsewhere) as client:
            assert (await client.call_tool("search", {"query": "seal", "collection": "pumps"})).is_error

    with serving(create_app(Library({"pumps": str(pump_folder)}), keys=KeyFile(keys.path))) as url:
        response = httpx.post(f"{url}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"
        foreign = httpx.post(
            f"{url}/mcp", json={}, headers={"Host": "evil.example", "Authorization": f"Bearer {south}"}
        )
        assert foreign.status_code == 421
        anyio.run(run, url)


def test_adding_is_off_unless_allowed(tmp_path: Path) -> None:
    folder = tmp_path / "kb"
    with cp.open(folder) as kb:
        kb.add(cp.Record("The north pump needs seal 4711.", id="north", metadata={"team": "north"}), progress=False)
    keys = KeyFile(tmp_path / "keys.json")
    writer = keys.add("writer", ["read", "write"], None, ["team=east"])
    reader = keys.add("reader", ["read"])
    record = {"id": "east", "text": "The east pump needs seal 99.", "metadata": {"team": "west"}}

    async def run(url: str) -> None:
        async with over_http(url, reader) as client:
            assert "add" not in {tool.name for tool in (await client.list_tools()).tools}
            with pytest.raises(MCPError):
                await client.call_tool("add", record)
        async with over_http(url, writer) as client:
            added = await client.call_tool("add", record)
            assert added.structured_content["result"] == "east: ok"
            found = await client.call_tool("search", {"query": "seal"})
            assert [hit["metadata"]["team"] for hit in found.structured_content["hits"]] == ["east"]
            assert (await client.call_tool("add", {"text": "mine now", "id": "north"})).is_error

    settings = ServerSettings(mcp_add=True)
    with serving(create_app(Library({"pumps": str(folder)}), keys=KeyFile(keys.path), settings=settings)) as url:
        anyio.run(run, url)


def test_an_owner_adds_files(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("The west pump needs seal 12.")

    async def run() -> None:
        with cp.open(tmp_path / "kb") as kb:
            async with Client(mcp_server(lambda _request: LocalShelf(kb, may_add=True))) as client:
                assert (await client.call_tool("add", {"source": str(note)})).structured_content["result"] == "1 added"
                assert "seal 12" in text_of(await client.call_tool("search", {"query": "west pump"}))
                assert (await client.call_tool("add", {"source": str(note), "text": "both"})).is_error
                assert (await client.call_tool("add", {"source": str(tmp_path / "absent.txt")})).is_error

    anyio.run(run)
