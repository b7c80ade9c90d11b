"""Jupyter notebooks: Markdown, code, and the output of cells as text and pictures."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from commonplace.errors import ReadError
from commonplace.i18n import _
from commonplace.readers.markdown import markdown_parts
from commonplace.readers.parts import File, Part
from commonplace.readers.text import decode

__all__ = ["read_notebook"]

_MAX_PRINTED = 4_000  # characters of the output of one cell; more is usually a log
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp")


def read_notebook(file: File) -> Iterator[Part]:
    """Yield the cells in order as one Markdown page; attachments and outputs are its pictures."""
    try:
        notebook = json.loads(decode(file.data)[0])
        cells = (
            notebook["cells"]
            if "cells" in notebook
            else [cell for sheet in notebook["worksheets"] for cell in sheet["cells"]]
        )
        for author in notebook.get("metadata", {}).get("authors", []):
            file.add_metadata("author", str(author.get("name", "")) if isinstance(author, dict) else str(author))
        language = str(notebook.get("metadata", {}).get("kernelspec", {}).get("language", ""))[:20]
        pages, pictures = [], {}
        for number, cell in enumerate(cells, 1):
            page, cell_pictures = _cell(cell, number, language)
            pages.append(page)
            pictures.update(cell_pictures)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ReadError(_("a damaged notebook: its cells cannot be read; save a new copy and add it again")) from None
    yield from markdown_parts(file, "\n\n".join(filter(None, pages)), pictures)


def _cell(cell: dict[str, Any], number: int, language: str) -> tuple[str, dict[str, bytes]]:
    source = _join_lines(cell.get("source", cell.get("input", "")))
    pictures: dict[str, bytes] = {}
    if cell["cell_type"] != "code":
        for name, kinds in cell.get("attachments", {}).items():
            for kind in _PICTURES:
                if kind in kinds:
                    key = f"attachment:{number}/{name}"
                    source = source.replace(f"(attachment:{name})", f"(<{key}>)")
                    _store_picture(pictures, key, kinds[kind])
        return source, pictures
    parts = [f"```{language}\n{source}\n```"] if source.strip() else []
    room = _MAX_PRINTED
    for index, output in enumerate(cell.get("outputs", [])):
        data = output.get("data", output)
        printed = _join_lines(output.get("text", data.get("text/plain", "")))
        if output.get("output_type") in ("error", "pyerr"):
            printed = f"{output.get('ename', 'error')}: {output.get('evalue', '')}"
        has_picture = False
        for kind in _PICTURES:
            if kind in data or kind.removeprefix("image/") in data:
                key = f"output:{number}.{index + 1}"
                has_picture = _store_picture(pictures, key, data.get(kind) or data.get(kind.removeprefix("image/")))
                if has_picture:
                    parts.append(f"![output of cell {number}](<{key}>)")
                break
        if printed.strip() and not has_picture and room > 0:
            cut = printed if len(printed) <= room else printed[:room] + " …"
            room -= len(printed)
            parts.append("```\n" + cut.replace("```", "'''").strip("\n") + "\n```")
    return "\n\n".join(parts), pictures


def _join_lines(text: Any) -> str:
    return "".join(map(str, text)) if isinstance(text, list) else str(text)


def _store_picture(pictures: dict[str, bytes], key: str, body: Any) -> bool:
    try:
        pictures[key] = base64.b64decode(_join_lines(body), validate=False)
    except (binascii.Error, ValueError):
        return False
    return True
