"""Source code: each function is one chunk, titled by its qualified name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commonplace.readers import ReadOptions, media_type, read

Read = Callable[[str, str], list[tuple[str | None, str]]]


@pytest.fixture
def code(tmp_path: Path, options: ReadOptions) -> Read:
    def read_code_file(name: str, text: str) -> list[tuple[str | None, str]]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        items = read(path, options).items
        for item in items:
            assert item.span.start is not None and text[item.span.start : item.span.end] == item.text
        return [(item.title, item.text or "") for item in items]

    return read_code_file


LONG = "\n".join(f"        value_{n} = compute_the_next_value(value_{n - 1}, {n})" for n in range(1, 9))
PYTHON = f'''"""Pumps and valves."""
import os

LIMIT = 10


# What opens a valve
@cached
def open_valve(name):
    """Open it."""
    return os.open(name)


class Pump:
    """A pump."""

    size = 3

    def start(self, value_0):
{LONG}

    class Seal:
        colour = "blue"

        async def change(self, value_0):
{LONG.replace("        ", "            ")}


if __name__ == "__main__":
    Pump().start(0)
'''


def test_python_by_its_own_parser(code: Read, tmp_path: Path) -> None:
    (tmp_path / "works").mkdir()
    (tmp_path / "works" / "__init__.py").write_text("")
    blocks = code("works/pumps.py", PYTHON)
    assert [title for title, _ in blocks] == [
        "works.pumps",
        "works.pumps.open_valve",
        "works.pumps.Pump",
        "works.pumps.Pump.start",
        "works.pumps.Pump.Seal",
        "works.pumps",
    ]
    texts = [text for _, text in blocks]
    assert texts[0].startswith('"""Pumps') and "LIMIT" in texts[0] and "__main__" in texts[-1]
    assert texts[1].startswith("# What opens a valve\n@cached\ndef open_valve") and texts[1].endswith("os.open(name)")
    assert texts[3].startswith("def start") and texts[3].rstrip().endswith("8)")
    assert texts[4].startswith("class Seal") and "async def change" in texts[4]
    small = code(
        "works/small.py", "class Seal:\n    def a(self):\n        return 1\n\n    def b(self):\n        return 2\n"
    )
    assert [title for title, _ in small] == ["works.small.Seal"]  # it fits: kept whole


JAVA = """package org.pumps;

import java.util.List;

/** Opens and closes. */
public class Valve extends Part {
    private final String name;

    public Valve(String name) {
        this.name = name;
    }
%s
    @Override
    public boolean open(int times) throws Stuck {
        return turn(times);
    }
}

enum Colour {
    BLUE, RED
}
"""


OTHERS = {
    "a.js": ("a a.open a.close", "import x from 'x';\n", "// Opens.", "export async function open(n) {",
             "  return x(n);", "}\n", "const close = (n) => {", "  x(n);", "};"),
    "b.go": ("b b.Run b.Server", "package main\n", "// Run runs.", "func (s *Server) Run(n int) error {",
             "\treturn nil", "}\n", "type Server struct {", "\tname string", "}"),
    "c.c": ("c c.add c.main", "#include <stdio.h>\n", "static int add(int a, int b)", "{", "    return a + b;",
            "}\n", "int main(void) {", "    add(1, 2);", "}"),
    "d.rb": ("d d.Pumps", "require 'x'\n", "module Pumps", "  def start", "    1", "  end", "end"),
    "e.rs": ("e e.Seal e.Seal", "use std::io;\n", "#[derive(Debug)]", "pub struct Seal {", "    size: u8,", "}\n",
             "impl Seal {", "    fn new() -> Self {", "        Seal { size: 1 }", "    }", "}"),
    "f.sql": ("f.seals f", "CREATE TABLE IF NOT EXISTS seals (", "  id INT", ");\n", "SELECT 1;"),
    "g.py": ("g g.start", "print 'Python 2'\n", "def start(x):", "    print x"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_languages_by_empty_lines_and_indentation(code: Read, name: str) -> None:
    titles, *lines = OTHERS[name]
    assert [title for title, _ in code(name, "\n".join(lines) + "\n")] == titles.split()


def test_a_long_class_is_split_into_its_methods(code: Read) -> None:
    methods = "".join(
        f"\n    int part{n}(int a, int b) {{\n" + "        a = a * b + next(a, b);\n" * 8 + "    }\n" for n in range(5)
    )
    blocks = code("Valve.java", JAVA % methods)
    titles = [title for title, _ in blocks]
    assert titles[0] == "Valve" and titles[-1] == "Valve.Colour"
    assert {f"Valve.Valve.part{n}" for n in range(5)} | {"Valve.Valve", "Valve.Valve.open"} <= set(titles)
    open_ = next(text for title, text in blocks if title == "Valve.Valve.open")
    assert open_.startswith("@Override") and "turn(times)" in open_


@pytest.mark.parametrize("name", ["a.py", "a.c", "a.ts"])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(lines=st.lists(st.sampled_from(
    ["def f(x):", "    return 1", "class A {", "class A:", "}", "", "  };", "\tint f(int a) {", "# x", "\f", "\r", "f(",
     '"""', "if (a) {", "end", "@x", "é = '日本'", "x" * 400 + "("]), max_size=30))  # fmt: skip
def test_nothing_is_lost_or_repeated(code: Read, name: str, lines: list[str]) -> None:
    text = "\n".join(lines)
    if not text:
        return
    letters = "".join("".join(part.split()) for _, part in code(name, text))
    assert len(letters) <= len("".join(text.split()))
    assert sorted(filter(str.isalnum, letters)) == sorted(filter(str.isalnum, text))


def test_a_function_within_the_token_limit_is_one_chunk(code: Read, count: Callable[[str], int]) -> None:
    lines: list[str] = []
    while count("\n".join(lines)) < 225:
        lines.append(f"    total_{len(lines)} = first + second\n" if len(lines) % 3 == 2 else "    first = second")
    text = "def add(first, second):\n" + "\n".join(lines) + "\n"
    assert [title for title, _ in code("a.py", text)] == ["a.add"]
    assert len(code("a.py", text + "\n".join(lines))) > 1


def test_deep_nesting_is_read_as_lines(code: Read) -> None:
    assert code("deep.py", "x = " + "(" * 5000 + ")" * 5000 + "\n\ndef f(x):\n    return x\n")


def test_code_keeps_its_type(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    assert media_type(tmp_path / "a.py") == "text/x-python"
