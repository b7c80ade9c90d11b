r"""Equations of Office Open XML (``m:oMath``) and MathML as text in the manner of TeX: ``E=mc^2``, ``\frac{a}{b}``.

Letters and operators stay the characters that they are: a person who searches for π types π.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

from commonplace.readers.zipxml import attribute, local_name

__all__ = ["equation"]

_MAX_DEPTH = 40
_ACCENTS = {"̂": "hat", "̃": "tilde", "̅": "bar", "⃗": "vec", "̇": "dot", "̈": "ddot", "¯": "bar", "^": "hat",
            "~": "tilde", "→": "vec", "˙": "dot", "¨": "ddot"}  # fmt: skip
_OVER, _UNDER = {"⏞": "overbrace", "⏟": "underbrace"}, {"⏟": "underbrace", "⏞": "overbrace"}
_IGNORED = {"ctrlPr", "rPr", "pPr", "annotation-xml", "maligngroup", "malignmark", "mphantom", "phant"}


def equation(element: Element) -> str:
    """Return the equation below ``element`` on one line."""
    return " ".join(_text(element, 0).split())


def _text(element: Element | None, depth: int) -> str:
    if element is None or depth > _MAX_DEPTH:
        return ""
    name = local_name(element)
    if name in _IGNORED or name.endswith("Pr"):
        return ""
    if name in ("t", "mi", "mn", "mo", "mtext", "ms"):
        text = "".join(element.itertext())
        return f" {text.strip()} " if name == "mtext" else text
    if name == "semantics":
        tex = next((child for child in element if "tex" in (attribute(child, "encoding") or "")), None)
        return (tex.text or "") if tex is not None else _text(next(iter(element), None), depth + 1)
    if name == "annotation":
        return ""
    write = _STRUCTURES.get(name)
    return write(element, depth + 1) if write else _all(element, depth + 1)


def _all(element: Element, depth: int) -> str:
    return "".join(_text(child, depth) for child in element)


def _child(element: Element, name: str) -> Element | None:
    return next((child for child in element if local_name(child) == name), None)


def _part(element: Element, name: str, depth: int) -> str:
    child = _child(element, name)
    return _all(child, depth).strip() if child is not None else ""


def _setting(element: Element, name: str) -> str | None:
    """Return a property: of ``m:nary`` the ``m:val`` of ``m:naryPr/m:chr``; "" where it stands without a value."""
    for child in element:
        if local_name(child).endswith("Pr"):
            detail = _child(child, name)
            return None if detail is None else attribute(detail, "val") or ""
    return None


def _braced(text: str) -> str:
    return text if len(text) == 1 else f"{{{text}}}"


def _scripts(base: str, sub: str, sup: str) -> str:
    return base + (f"_{_braced(sub)}" if sub else "") + (f"^{_braced(sup)}" if sup else "")


def _fraction(element: Element, depth: int) -> str:
    over, under = _part(element, "num", depth), _part(element, "den", depth)
    kind = _setting(element, "type")
    if kind == "lin":
        return f"{over}/{under}"
    return f"\\binom{{{over}}}{{{under}}}" if kind == "noBar" else f"\\frac{{{over}}}{{{under}}}"


def _scripted(element: Element, depth: int) -> str:
    return _scripts(_part(element, "e", depth), _part(element, "sub", depth), _part(element, "sup", depth))


def _prescripted(element: Element, depth: int) -> str:
    return "{}" + _scripts("", _part(element, "sub", depth), _part(element, "sup", depth)) + _part(element, "e", depth)


def _root(element: Element, depth: int) -> str:
    degree = _part(element, "deg", depth)
    return f"\\sqrt{f'[{degree}]' if degree else ''}{{{_part(element, 'e', depth)}}}"


def _large_operator(element: Element, depth: int) -> str:
    sign = _setting(element, "chr")
    sign = "∫" if sign is None else sign
    return _scripts(sign, _part(element, "sub", depth), _part(element, "sup", depth)) + " " + _part(element, "e", depth)


def _delimited(element: Element, depth: int) -> str:
    begin, separator, end = (_setting(element, name) for name in ("begChr", "sepChr", "endChr"))
    inner = [_all(child, depth).strip() for child in element if local_name(child) == "e"]
    return (
        ("(" if begin is None else begin)
        + ("|" if separator is None else separator).join(inner)
        + (")" if end is None else end)
    )


def _function(element: Element, depth: int) -> str:
    return f"{_part(element, 'fName', depth)} {_part(element, 'e', depth)} "


def _limit(element: Element, depth: int) -> str:
    mark = "_" if local_name(element) == "limLow" else "^"
    return f"{_part(element, 'e', depth)}{mark}{_braced(_part(element, 'lim', depth))}"


def _accent(element: Element, depth: int) -> str:
    sign = _setting(element, "chr")
    name = _ACCENTS.get("̂" if sign is None else sign, "hat")
    return f"\\{name}{{{_part(element, 'e', depth)}}}"


def _bar(element: Element, depth: int) -> str:
    return f"\\{'overline' if _setting(element, 'pos') == 'top' else 'underline'}{{{_part(element, 'e', depth)}}}"


def _brace(element: Element, depth: int) -> str:
    sign = _setting(element, "chr")
    name = _UNDER.get("⏟" if sign is None else sign, "")
    inner = _part(element, "e", depth)
    return f"\\{name}{{{inner}}}" if name else inner


def _matrix(element: Element, depth: int) -> str:
    rows = [child for child in element if local_name(child) in ("mr", "mtr", "mlabeledtr")]
    lines = (" & ".join(_all(cell, depth).strip() for cell in row if local_name(cell) in ("e", "mtd")) for row in rows)
    return " \\\\ ".join(lines)


def _lines(element: Element, depth: int) -> str:
    return " \\\\ ".join(_all(child, depth).strip() for child in element if local_name(child) == "e")


def _parts(element: Element, depth: int) -> list[str]:
    """Return the arguments of a MathML element, which are its children in order."""
    return [*(_text(child, depth).strip() for child in element), "", "", ""]


def _mathml_fraction(element: Element, depth: int) -> str:
    over, under, *_ = _parts(element, depth)
    return f"\\frac{{{over}}}{{{under}}}"


def _mathml_scripts(element: Element, depth: int) -> str:
    name = local_name(element)
    base, first, second, *_ = _parts(element, depth)
    if name in ("msup", "mover"):
        accent = _ACCENTS.get(first) or _OVER.get(first)
        return f"\\{accent}{{{base}}}" if accent and name == "mover" else _scripts(base, "", first)
    return _scripts(base, first, second if name in ("msubsup", "munderover") else "")


def _mathml_root(element: Element, depth: int) -> str:
    if local_name(element) == "msqrt":
        return f"\\sqrt{{{_all(element, depth).strip()}}}"
    base, degree, *_ = _parts(element, depth)
    return f"\\sqrt[{degree}]{{{base}}}"


def _fenced(element: Element, depth: int) -> str:
    begin, end = element.get("open", "("), element.get("close", ")")
    return begin + ", ".join(_text(child, depth).strip() for child in element) + end


def _space(element: Element, depth: int) -> str:
    return " "


_STRUCTURES: dict[str, Callable[[Element, int], str]] = {
    "f": _fraction, "sSup": _scripted, "sSub": _scripted, "sSubSup": _scripted, "sPre": _prescripted, "rad": _root,
    "nary": _large_operator, "d": _delimited, "func": _function, "limLow": _limit, "limUpp": _limit, "acc": _accent,
    "bar": _bar, "groupChr": _brace, "m": _matrix, "eqArr": _lines,
    "mfrac": _mathml_fraction, "msup": _mathml_scripts, "msub": _mathml_scripts, "msubsup": _mathml_scripts,
    "mover": _mathml_scripts, "munder": _mathml_scripts, "munderover": _mathml_scripts, "msqrt": _mathml_root,
    "mroot": _mathml_root, "mfenced": _fenced, "mtable": _matrix, "mspace": _space,
}  # fmt: skip
