"""Formulas of web pages as text: the TeX that they were written in, or else the letters of their MathML in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

__all__ = ["formula_text", "tex"]

_STYLE = re.compile(r"\{\\(?:displaystyle|textstyle)\s*(.*)\}", re.DOTALL)
_SIMPLE = re.compile(r"[^\W_]+|\S", re.DOTALL)
_SPACED = set("=<>≤≥≠≈≡→⇒⇔∈±+−-×·∪∩")
_MAX_DEPTH = 100


def formula_text(node: LexborNode) -> str:
    """Return a ``math`` element as text on one line."""
    annotation = next(
        (part for part in node.css("annotation") if "tex" in (part.attributes.get("encoding") or "").lower()), None
    )
    source = annotation.text() if annotation is not None else node.attributes.get("alttext")
    if source and source.strip():
        return tex(source)
    return " ".join(_linear(node, 0).split())


def tex(source: str) -> str:
    """Return TeX between dollar signs, without the style that programs put around it."""
    line = " ".join(source.split())
    styled = _STYLE.fullmatch(line)
    return f"${(styled[1] if styled else line).strip()}$"


def _elements(node: LexborNode) -> Iterator[LexborNode]:
    child = node.first_child
    while child is not None:
        if not (child.tag or "-").startswith("-"):
            yield child
        child = child.next


def _group(text: str) -> str:
    text = text.strip()
    return text if _SIMPLE.fullmatch(text) else f"({text})"


def _linear(node: LexborNode, depth: int) -> str:
    tag = node.tag or ""
    parts = list(_elements(node))
    if depth > _MAX_DEPTH or not parts:
        text = " ".join((node.text() or "").split())
        return f" {text} " if tag == "mo" and text in _SPACED else text
    if tag == "semantics":
        return _linear(parts[0], depth + 1)
    texts = [_linear(part, depth + 1) for part in parts if not (part.tag or "").startswith("annotation")]
    if len(texts) == 2 and tag in ("mfrac", "msup", "msub", "mroot", "mover", "munder"):
        first, second = texts
        if tag == "mfrac":
            return f"{_group(first)}/{_group(second)}"
        if tag == "mroot":
            return f"root({second.strip()}, {first.strip()})"
        if tag in ("mover", "munder") and len(second.strip()) == 1 and not second.strip().isalnum():
            return first  # an accent or a brace
        return f"{_group(first)}{'_' if tag in ('msub', 'munder') else '^'}{_group(second)}"
    if len(texts) == 3 and tag in ("msubsup", "munderover"):
        return f"{_group(texts[0])}_{_group(texts[1])}^{_group(texts[2])} "
    if tag == "msqrt":
        return f"√({''.join(texts).strip()})"
    if tag == "mfenced":
        inside = ", ".join(text.strip() for text in texts)
        return (node.attributes.get("open") or "(") + inside + (node.attributes.get("close") or ")")
    return {"mtable": "; ", "mtr": ", "}.get(tag, "").join(texts)
