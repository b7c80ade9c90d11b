"""Fixtures of the reader tests: read options and a token counter with the tokenizer of the bundled model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

import commonplace
from commonplace.readers import ParsedDocument, ReadOptions, read

TOKENIZER = Path(commonplace.__file__).parent / "bundles" / "minilm-lite0" / "tokenizer.json"


@pytest.fixture(scope="session")
def options() -> ReadOptions:
    return ReadOptions(str(TOKENIZER), 256)


@pytest.fixture
def reading(tmp_path: Path, options: ReadOptions) -> Callable[[str, str | bytes], ParsedDocument]:
    """Return what is read of a file with this name and content."""

    def read_file(name: str, content: str | bytes) -> ParsedDocument:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return read(tmp_path / name, options)

    return read_file


@pytest.fixture(scope="session")
def count() -> Callable[[str], int]:
    """Count tokens as the text encoder does, special tokens included, with a tokenizer separate from the reader's."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text).ids)
