"""Generator settings: flags over environment over file; the key comes from the environment, for one server only."""

from __future__ import annotations

from pathlib import Path

import pytest

from commonplace.errors import GeneratorError
from commonplace.generation import ChatGenerator, GeneratorSettings

TOML = """[llm]
model = "openai:from-file"
base_url = "http://localhost:1234/v1"
max_tokens = 300
vision = false
"""


def test_flags_over_environment_over_file(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    for folder in (near, far):
        folder.mkdir()
    (near / "commonplace.toml").write_text(TOML)
    (far / "commonplace.toml").write_text('[llm]\nmodel = "openai:far"\ntimeout = 9\n')
    environment = {"COMMONPLACE_LLM_MAX_TOKENS": "200", "COMMONPLACE_LLM_VISION": "yes", "COMMONPLACE_LLM_CONTEXT": ""}
    settings = GeneratorSettings.read({"model": "openai:flag", "base_url": None}, environment, (near, far))
    assert settings == GeneratorSettings("openai:flag", "http://localhost:1234/v1", 9.0, max_tokens=200, vision=True)
    generator = settings.generator({})
    assert isinstance(generator, ChatGenerator) and generator.model == "flag" and generator.timeout == 9
    assert generator.max_tokens == 200 and generator.vision is True
    assert GeneratorSettings.read({}, {"COMMONPLACE_LLM": "openai:env"}, (near,)).model == "openai:env"
    assert GeneratorSettings.read({}, {}).generator({}) is None
    assert GeneratorSettings.read({"model": "none"}, {}, (near,)).generator({}) is None


def test_a_key_goes_where_it_belongs() -> None:
    both = {"OPENAI_API_KEY": "of-openai", "COMMONPLACE_LLM_API_KEY": "ours"}
    theirs = {"OPENAI_API_KEY": "of-openai"}

    def key(environment: dict[str, str], url: str | None) -> str:
        generator = GeneratorSettings("openai:x", url).generator(environment)
        assert isinstance(generator, ChatGenerator)
        return generator._key

    assert key(both, None) == key(both, "http://localhost/v1") == "ours"
    assert key(theirs, None) == "of-openai" and key(theirs, "http://localhost/v1") == "none"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434/v1"),
        ("gpu", "http://gpu:11434/v1"),
        (":1234", "http://127.0.0.1:1234/v1"),
        (" '0.0.0.0:8080' ", "http://127.0.0.1:8080/v1"),
        ("https://gpu.example", "https://gpu.example:443/v1"),
        ("http://gpu:1/behind/", "http://gpu:1/behind/v1"),
        ("::1", "http://[::1]:11434/v1"),
        ("[::]:99", "http://[::1]:99/v1"),
    ],
)
def test_ollama_is_reached_where_its_own_client_reaches_it(host: str, url: str) -> None:
    generator = GeneratorSettings("ollama:qwen3-vl:8b").generator({"OLLAMA_HOST": host, "OPENAI_API_KEY": "secret"})
    assert isinstance(generator, ChatGenerator) and generator.model == "qwen3-vl:8b"
    assert generator.base_url == url and generator._key == "none"
    assert ChatGenerator.ollama("x", host=host).base_url == url


def test_ollama_has_the_context_that_it_runs_with() -> None:
    """Ollama cuts a longer prompt without a word."""
    settings = GeneratorSettings("ollama:x")
    contexts = [
        settings.generator({}),
        settings.generator({"OLLAMA_CONTEXT_LENGTH": "32768"}),
        GeneratorSettings("ollama:x", context=9000).generator({"OLLAMA_CONTEXT_LENGTH": "32768"}),
        GeneratorSettings("openai:x").generator({"OLLAMA_CONTEXT_LENGTH": "32768"}),
        ChatGenerator.ollama("x"),
    ]
    assert [generator.context for generator in contexts if generator] == [4096, 32768, 9000, 8192, 4096]
    assert GeneratorSettings("ollama:x", "http://there/v1").generator({"OLLAMA_HOST": "here"}).base_url == (
        "http://there/v1"
    )


def test_a_file_cannot_name_a_remote_server(tmp_path: Path) -> None:
    """A file may come with a collection; its author must not receive the key, the questions and the evidence."""
    text = '[llm]\nmodel = "openai:x"\nbase_url = "https://elsewhere.example/v1"\n'
    (tmp_path / "commonplace.toml").write_text(text)
    for flags in ({}, {"model": "openai:mine"}):
        with pytest.raises(GeneratorError, match="not on this machine"):
            GeneratorSettings.read(flags, {}, (tmp_path,))
    assert (
        GeneratorSettings.read({"base_url": "https://mine.example/v1"}, {}, (tmp_path,)).base_url
        == "https://mine.example/v1"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[llm]\napi_key = "x"\n', "holds an API key"),
        ("[llm]\nmodle = 1\n", "modle"),
        ("[llm]\nmax_tokens = 'many'\n", "max_tokens"),
        ("[llm]\nvision = 3\n", "vision"),
        ("[llm\n", "cannot be read"),
        ("llm = 3\n", "table"),
        ("x = " + "[" * 100_000, "cannot be read"),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "commonplace.toml").write_text(text)
    with pytest.raises(GeneratorError, match=why):
        GeneratorSettings.read({}, {}, (tmp_path,))


@pytest.mark.parametrize(
    "wrong",
    [
        GeneratorSettings("gpt"),
        GeneratorSettings("openai:"),
        GeneratorSettings("openai:x", "ftp://x"),
        GeneratorSettings("openai:x", "localhost:8000"),
        GeneratorSettings("openai:x", max_tokens=0),
        GeneratorSettings("openai:x", context=100, max_tokens=200),
        GeneratorSettings("openai:x", timeout=0.0),
        GeneratorSettings("transformers:/nowhere"),
    ],
)
def test_invalid_settings(wrong: GeneratorSettings) -> None:
    with pytest.raises(GeneratorError):
        wrong.generator({})
