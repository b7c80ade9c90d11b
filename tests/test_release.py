"""What strangers install: the name of the package, its version in every place, and what the wheels hold."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import commonplace
from tests.conftest import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME = "commonplace-rag"
#: On PyPI `commonplace` is another program. A command that installs or runs a package must not name it.
OTHER = re.compile(
    r"""(?: pip3?\ (?:install|download|wheel) | pipx\ (?:install|run|inject)
          | uv\ (?:pip\ install|add|tool\ \w+) | uvx | version\( )
        [^\n`]*? (?<![\w./-]) commonplace (?= \[ | ["'`\s,;)=<>~!] | $ )""",
    re.VERBOSE | re.MULTILINE,
)
#: These run the command of our package.
OURS = re.compile(r"--from commonplace-rag\S* commonplace\b")
#: Texts whose words are data.
DATA = (".jsonl", ".json", ".po", ".mo", ".lock")


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("not a clone")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name]


def texts() -> dict[str, str]:
    """Return every text of the repository by its path, but for this file and for data."""
    found = {}
    for path in tracked():
        if path.is_file() and path != Path(__file__) and path.suffix not in DATA and path.stat().st_size < 1_000_000:
            content = path.read_bytes()
            if b"\0" not in content:
                found[str(path.relative_to(ROOT))] = content.decode("utf-8", "replace")
    return found


def project(folder: Path) -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def foreign(text: str) -> list[str]:
    """Return the commands in ``text`` that would install the other program."""
    return [match[0] for match in OTHER.finditer(OURS.sub("", text))]


@pytest.mark.parametrize(
    "line",
    [
        "pip install commonplace",
        "pip install 'commonplace[ocr]'",
        'python -m pip install --quiet "commonplace>=0.1"',
        "pipx install commonplace",
        "uvx commonplace search x",
        "uvx --from commonplace commonplace search x",
        "uv tool install commonplace",
        'version("commonplace")',
    ],
)
def test_commands_that_install_the_other_program_are_noticed(line: str) -> None:
    assert foreign(line) and foreign(f"see `{line}`.")


@pytest.mark.parametrize(
    "line",
    [
        "pip install 'commonplace-rag[ocr]'",
        "uvx --from commonplace-rag commonplace search x",
        "pip install ./packages/multilingual",
        "commonplace search pip",
    ],
)
def test_commands_that_install_this_program_are_not(line: str) -> None:
    assert not foreign(line)


def test_nothing_installs_the_other_program() -> None:
    bad = {path: foreign(text) for path, text in texts().items()}
    assert {path: lines for path, lines in bad.items() if lines} == {}


def test_every_extra_that_is_named_exists() -> None:
    extras = set(project(ROOT)["optional-dependencies"])  # type: ignore[call-overload]
    for path, text in texts().items():
        for match in re.finditer(r"commonplace-rag\[([\w,-]+)\]", text):
            assert set(match[1].split(",")) <= extras, f"{path}: {match[0]}"


def test_both_packages_have_their_names() -> None:
    assert project(ROOT)["name"] == NAME
    assert project(ROOT / "packages" / "multilingual")["name"] == f"{NAME}-multilingual"


def test_the_version_is_the_same_everywhere() -> None:
    version = commonplace.__version__
    assert "version" in project(ROOT)["dynamic"]  # type: ignore[operator]
    assert f"image: commonplace:{version}" in (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    assert re.search(rf"^## {re.escape(version)} \(", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_command_is_commonplace() -> None:
    assert project(ROOT)["scripts"] == {"commonplace": "commonplace.cli:main"}
    done = subprocess.run([sys.executable, "-m", "commonplace", "--version"], capture_output=True, text=True)
    assert done.stdout.split() == ["commonplace", commonplace.__version__]


def test_the_threats_name_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/.]+\.py)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(named) > 10 and [name for name in named if not (ROOT / name).is_file()] == []


def test_the_lock_file_names_no_host_and_fits_the_bounds() -> None:
    lines = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    locked = {}
    for line in lines:
        match = re.fullmatch(r"([a-z0-9._-]+)==([\w.+!]+)(?: ; (.+))?", line)
        assert match, line
        locked.setdefault(match[1], []).append(match[2])
    table = project(ROOT)
    asked = [Requirement(line) for line in [*table["dependencies"], *table["optional-dependencies"]["dev"]]]  # type: ignore[call-overload, index, misc]
    for requirement in asked:
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert any(requirement.specifier.contains(version) for version in versions), str(requirement)
