"""Messages in Chinese: the catalogue is complete, and no command, error, note or report shows an English sentence."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest
from babel.messages import Catalog, Message
from scripts.messages import catalogue, compiled, extracted, read, written

import commonplace
from commonplace.cli import build_parser, main
from commonplace.i18n import LANGUAGES, _, language, ngettext
from commonplace.types import columns
from tests.conftest import ROOT

SOURCE = ROOT / "src" / "commonplace"
CHINESE = "\u4e00-\u9fff"


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls that look up or mark a message, each with its place in the sources."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("_", "N_", "ngettext")
            ):
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", node


def messages() -> set[str | tuple[str, ...]]:
    """Return the messages in the sources, as the syntax tree has them."""
    ids: set[str | tuple[str, ...]] = set()
    for place, call in calls():
        texts = tuple(
            arg.value
            for arg in call.args[: 2 if call.func.id == "ngettext" else 1]
            if isinstance(arg, ast.Constant)  # type: ignore[attr-defined]
        )
        if not texts:  # the name of a marked constant, or a value that was stored in English
            assert not isinstance(call.args[0], ast.JoinedStr), f"{place}: an f-string is no message"
            continue
        ids.add(texts if call.func.id == "ngettext" else texts[0])  # type: ignore[attr-defined]
    return ids


@pytest.fixture(scope="module")
def chinese() -> Catalog:
    return read(catalogue("zh"))


def entries(catalog: Catalog) -> list[Message]:
    return [message for message in catalog if message.id]


def texts(message: Message) -> tuple[str, ...]:
    return message.string if isinstance(message.string, tuple) else (message.string,)


def fields(text: str, *, formatted: bool) -> list[str]:
    """Return the fields of a template with their formats, and the places of ``%``."""
    places = re.findall(r"%(?:\(\w+\))?[sr]", text)
    if not formatted:
        return places
    return sorted(f"{name}!{kind}:{spec}" for _text, name, spec, kind in Formatter().parse(text) if name) + places


def test_the_catalogue_has_each_message_of_the_sources_and_no_other(chinese: Catalog) -> None:
    ids = {message.id for message in entries(chinese)}
    assert ids == messages(), "run `make messages`"
    assert ids == {message.id for message in entries(extracted())}


def test_each_message_is_translated(chinese: Catalog) -> None:
    assert not [message.id for message in entries(chinese) if message.fuzzy or not all(texts(message))]


def test_a_translation_has_the_fields_of_its_message(chinese: Catalog) -> None:
    for message in entries(chinese):
        source = message.id[1] if isinstance(message.id, tuple) else message.id
        formatted = "python-brace-format" in message.flags or bool(re.search(r"\{\w+[^}]*\}", source))
        if "{LABEL:" in source or "{...}" in source.replace("{{...}}", ""):
            formatted = False  # shown as it is
        for text in texts(message):
            assert fields(text, formatted=formatted) == fields(source, formatted=formatted), message.id


def test_the_compiled_catalogue_is_the_one_in_the_repository(chinese: Catalog) -> None:
    path = catalogue("zh")
    assert path.with_suffix(".mo").read_bytes() == compiled(chinese), "run `make messages`"
    assert path.read_bytes() == written(chinese), "run `make messages`"


def test_translations_keep_to_the_rules_of_writing(chinese: Catalog) -> None:
    """Chinese has full-width punctuation, and a space between Chinese and Latin letters (docs/glossary.zh.md)."""
    for message in entries(chinese):
        for text in texts(message):
            plain = re.sub(r"`[^`]*`", "X", text)
            assert not re.search(rf"[{CHINESE}][A-Za-z0-9]|[A-Za-z0-9][{CHINESE}]", plain), text
            assert not re.search(rf"[{CHINESE}][,;:!?()]|[,;!?()][{CHINESE}]", plain), text
            assert not re.search(r" [，。；：！？）]|[，。；：！？（] ", plain.strip()), text


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "zh-Hant-TW"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "zha"}, "en"),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LC_MESSAGES": "zh_CN", "LC_ALL": "C"}, "en"),
        ({"LC_ALL": "zh_HK.Big5", "COMMONPLACE_LANG": "en"}, "en"),
        ({"LC_ALL": "en_US.UTF-8", "COMMONPLACE_LANG": "zh"}, "zh"),
        ({"LANG": "zh_CN", "COMMONPLACE_LANG": ""}, "zh"),
    ],
)
def test_the_language_is_that_of_the_environment(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COMMONPLACE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language() == expected and expected in LANGUAGES


def test_values_may_hold_braces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONPLACE_LANG", "zh")
    text = _("there is no backup {file}: check the name").format(file="{file} {x!r} 100%")
    assert text == "没有备份 {file} {x!r} 100%：请检查名称"
    assert _("there is no backup {file}: check the name", "en").startswith("there is no backup")
    assert (
        ngettext("{count} label", "{count} labels", 1)
        == ngettext("{count} label", "{count} labels", 2)
        == "{count} 条标注"
    )


def test_english_reads_no_catalogue() -> None:
    code = (
        "import sys, commonplace\nfor name in commonplace.__all__: getattr(commonplace, name)\n"
        "print('gettext' in sys.modules)\n"
        "from commonplace import i18n\nfrom commonplace.cli import main\n"
        "try:\n main(['search', '--help'])\nexcept SystemExit: pass\n"
        "print(i18n._catalogue.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("False", "0")


# --- the command line ----------------------------------------------------------------------------------------


def english(text: str) -> list[str]:
    """Return what looks like English sentences: three words in a row, outside of commands, options, names and paths."""
    text = re.sub(r"`[^`]*`|pip install \S+", "", text)  # commands
    text = re.sub(r"^ *commonplace .*$", "", text, flags=re.MULTILINE)  # examples
    text = re.sub(r"^用法：.*?(?=\n\n|\ncommonplace|\Z)", "", text, flags=re.DOTALL)
    text = re.sub(r"\{[^}\n]*\}|\[[^\]\n]*\]|--[\w-]+|\S*[/\\=._:]\S*", "", text)  # choices, options, paths, URLs
    return re.findall(r"\b[A-Z]?[a-z]+(?:(?: |\n +)[A-Z]?[a-z]+){2,}\b", text)


def verbs() -> list[list[str]]:
    """Return the words of each command."""
    commands: list[list[str]] = [[]]

    def walk(parser: object, words: list[str]) -> None:
        for action in parser._actions:  # type: ignore[attr-defined]
            for name, sub in (action.choices or {}).items() if hasattr(action, "_name_parser_map") else ():
                commands.append([*words, name])
                walk(sub, [*words, name])

    walk(build_parser(), [])
    return commands


@pytest.mark.parametrize("words", verbs(), ids=lambda words: " ".join(words) or "commonplace")
def test_help_is_chinese(words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMONPLACE_LANG", "zh")
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith("用法：") and not english(shown), english(shown)
    assert max(columns(line) for line in shown.splitlines() if not line.startswith("  commonplace ")) <= 100


def test_help_is_shown_where_the_terminal_has_no_chinese() -> None:
    command = [sys.executable, "-m", "commonplace", "list", "--help"]
    variables = {**os.environ, "COMMONPLACE_LANG": "zh", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert done.returncode == 0 and "--failed" in done.stdout, done.stderr


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a collection of one page and one picture, and a file that cannot be read."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("faces")
    (folder / "papers").mkdir()
    (folder / "papers" / "pumps.md").write_text("# 泵\n\nThe north pump needs the blue seal.", encoding="utf-8")
    (folder / "papers" / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    (folder / "papers" / "sound.xyz").write_bytes(b"\x00")
    Image.new("RGB", (90, 90), "brown").save(folder / "papers" / "dog.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COMMONPLACE_LANG", "zh")
        assert main(["add", "papers"]) == 0
    return folder


REPORTS = [
    ["add", "papers", "nothing-here"],
    ["search", "pump", "seal", "--explain"],
    ["红色密封圈"],
    ["search", "seal", "--where", "no-such-key=1"],
    ["ask", "Which pump needs the blue seal?", "--html", "page.html"],
    ["list", "--failed"],
    ["show", "papers/pumps.md"],
    ["read", "papers/pumps.md", "papers/broken.pdf"],
    ["status"],
    ["doctor"],
    ["compress"],
    ["vacuum"],
    ["backup", "kb.bak"],
    ["migrate"],
    ["models"],
    ["label", "pump", "none", "--good"],
    ["show", "nothing-here.md"],
    ["search", ""],
    ["search", "pump", "-k", "0"],
    ["search", "pump", "--where", "year"],
    ["search", "pump", "--after", "soon"],
    ["search", "pump", "--image", "nothing.png"],
    ["search", "pump", "--rerank", "nothing"],
    ["remove"],
    ["remove", "nothing-here.md"],
    ["tune"],
    ["eval", "nothing.jsonl"],
    ["restore", "nothing.bak"],
    ["backup", "kb.bak"],
    ["models", "pull", "nothing"],
    ["models", "remove", "nothing"],
    ["--collection", "elsewhere", "list"],
    ["--collection", "milvus://", "list"],
    ["ask", "pump", "--llm", "nothing"],
]


@pytest.mark.parametrize("words", REPORTS, ids=" ".join)
def test_reports_notes_and_errors_are_chinese(
    words: list[str], kb: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(kb)
    monkeypatch.setenv("COMMONPLACE_LANG", "zh")
    main(words)
    out, err = capsys.readouterr()
    shown = (out + err).replace("The north pump needs the blue seal.", "").replace("pump seal", "")
    assert re.search(f"[{CHINESE}]", shown) and not english(shown), (english(shown), shown)


@pytest.mark.parametrize("words", [["search", "-k", "x", "pump"], ["nothing", "--no-such-option"], ["show"], []])
def test_wrong_usage_is_told_in_chinese(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMONPLACE_LANG", "zh")
    with pytest.raises(SystemExit):
        main(words)
    shown = capsys.readouterr().err
    assert "错误：" in shown and not english(shown), shown


def test_what_a_program_reads_is_the_same(
    kb: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(kb)
    shown = []
    for name in LANGUAGES:
        monkeypatch.setenv("COMMONPLACE_LANG", name)
        assert main(["status", "--json"]) == 0 and main(["search", "pump", "--json"]) == 0
        assert main(["models", "--json"]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]


def test_errors_of_the_library_are_chinese(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COMMONPLACE_LANG", "zh")
    with commonplace.open(tmp_path / "kb") as collection, pytest.raises(commonplace.QueryError) as raised:
        collection.search("pump", k=0)
    assert re.fullmatch(r"k 是 0：请取 1 到 [\d,]+ 个结果", str(raised.value))
